"""Goals for goal-conditioned policies: the ends of recorded episodes, best of ones that were not trained on.

Start state k is given the end of episode k mod n of the n chosen episodes, whatever runs before or beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from robolearn.core.errors import ConfigError
from robolearn.core.feature import require
from robolearn.datasets.loader import FinalGoal, select_episodes
from robolearn.datasets.read.reader import Dataset

if TYPE_CHECKING:
    from robolearn.execution.policy_spec import PolicySpec


@dataclass(frozen=True)
class GoalSource:
    """Where goals come from: episodes of `dataset` (a path or URL), of one `mask` of it or all."""

    dataset: Path | str
    mask: str | None = None


def goal_source(dataset: Path | str | None, mask: str | None) -> GoalSource | None:
    """What `--goals DATASET --goal-mask NAME` asks for. Raises ConfigError for a mask of no dataset."""
    if dataset is None and mask is not None:
        raise ConfigError(f"--goal-mask {mask} selects episodes of a dataset; give it with --goals DATASET.zarr.")
    return None if dataset is None else GoalSource(dataset, mask)


class Goals:
    """The goals a policy asks for, one for each start state.

    Raises ConfigError when the policy takes no goals, FeatureError when the dataset holds others than it was trained
    on, DatasetError for a mask that is unknown or selects nothing.

    Attributes:
        episodes: (n,) indices of the episodes that goals are taken from.
    """

    def __init__(self, source: GoalSource, spec: PolicySpec, policy_name: str = "the policy"):
        if not spec.goal_horizon:
            raise ConfigError(f"{policy_name} takes no goals; leave out --goals.")
        self._dataset = Dataset(source.dataset)
        require(spec.goal_features, self._dataset.features, f"the goal of {policy_name}", self._dataset.name)
        self._features = spec.goal_features
        self._ends = FinalGoal(tuple(spec.goal_features), spec.goal_horizon)
        self._mask = source.mask
        self.episodes = select_episodes(self._dataset, () if source.mask is None else (source.mask,))

    def episode(self, init_state: int) -> int:
        """Index of the episode whose end is the goal for this start state."""
        return int(self.episodes[init_state % len(self.episodes)])

    def goal(self, init_state: int) -> dict[str, np.ndarray]:
        """Feature name -> (goal_horizon, *shape), the last step last. Raises DatasetError for damaged data."""
        span = self._dataset.episode_slice(self.episode(init_state))
        first, last = np.array([span.start]), np.array([span.stop - 1])
        steps = self._ends.steps(last, first, last, np.zeros(1))[0]
        return {name: self._samples(name, steps) for name in self._features}

    def _samples(self, name: str, steps: np.ndarray) -> np.ndarray:
        feature = self._features[name]
        if feature.kind == "image":
            samples = np.stack([self._dataset.image(name, int(step)) for step in steps])
        else:
            samples = self._dataset.rows(name, int(steps[0]), int(steps[-1]) + 1)[steps - steps[0]]
        where = f"{self._dataset.name}, step "
        return np.stack([feature.check(sample, f"{where}{k}") for k, sample in zip(steps, samples, strict=True)])

    def to_dict(self) -> dict[str, Any]:
        """What identifies them, ready for json."""
        return {
            "dataset": self._dataset.name,
            "checksum": self._dataset.checksum(),
            "mask": self._mask,
            "episodes": len(self.episodes),
        }


def make_goals(source: GoalSource | None, spec: PolicySpec, policy_name: str = "the policy") -> Goals | None:
    """The goals for a policy; None when it takes none and none are given.

    Raises ConfigError when one of the two is missing, and otherwise like `Goals`.
    """
    if source is not None:
        return Goals(source, spec, policy_name)
    if spec.goal_horizon:
        raise ConfigError(
            f"{policy_name} wants goals ({', '.join(spec.goal_features)}); give demonstrations to take them from: "
            "--goals DATASET.zarr"
        )
    return None
