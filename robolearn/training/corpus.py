"""`Corpus`: the episodes that a run trains and validates on, and what a policy has to know of them."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from robolearn.core.errors import ConfigError, DatasetError, unknown_name
from robolearn.core.feature import Feature, Features, features
from robolearn.core.meaning import without_differing_robots
from robolearn.datasets.loader import ActionView, Source, select_episodes
from robolearn.datasets.loader.collection import Collection
from robolearn.datasets.loader.sampler import split_episodes
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.tools.start_states import init_states
from robolearn.execution.policy_spec import PolicySpec
from robolearn.kinematics.observed import ObservedReference

ACTION = "action"


class Corpus:
    """Episodes of one dataset or several, some of them held out: whole episodes, never single windows.

    Args:
        paths: of the datasets.
        masks: only episodes in all of these take part.
        weights: shares of the datasets; none = by their sizes.
        val_ratio, seed: which episodes of each dataset validate, see `split_episodes`.
        action: layout of the actions that are learnt, see `ActionView`; None = as they are stored.

    Attributes:
        views: of the actions of each dataset, where a layout is asked for.
        train: sources of the windows to train on.
        val: of those to validate on; empty where nothing is held out.
        num_train, num_val: episodes in them.

    Raises DatasetError for datasets that are missing, damaged, empty or have no usable episode.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        masks: Sequence[str],
        weights: Sequence[float],
        val_ratio: float,
        seed: int,
        action: str | None = None,
    ):
        self.datasets = [Dataset(path) for path in paths]
        for dataset in self.datasets:
            if ACTION not in dataset.features:
                raise DatasetError(
                    f"{dataset.name} has no feature 'action'; it has: {', '.join(sorted(dataset.features))}."
                )
        self.views = [None if action is None else ActionView(dataset, action, ACTION) for dataset in self.datasets]
        self._usable = [_usable_episodes(dataset, masks) for dataset in self.datasets]
        self.train: list[Source] = []
        self.val: list[Source] = []
        self.num_train = self.num_val = 0
        for number, (dataset, usable) in enumerate(zip(self.datasets, self._usable, strict=True)):
            train, val = split_episodes(len(usable), val_ratio, seed)
            weight, view = weights[number] if weights else None, self.views[number]
            self.train.append(Source(dataset, usable[train], weight, view))
            if len(val):
                self.val.append(Source(dataset, usable[val], action=view))
            self.num_train += len(train)
            self.num_val += len(val)

    @property
    def name(self) -> str:
        return " + ".join(dataset.name for dataset in self.datasets)

    @property
    def sim_env(self) -> dict[str, Any] | None:
        """The environment that all of it was recorded in, if it was."""
        first, *others = (dataset.sim_env for dataset in self.datasets)
        return first if all(other == first for other in others) else None

    @functools.cached_property
    def start_states(self) -> list[dict[str, Any]]:
        """From which states the episodes that are trained on began, an entry for each dataset.

        `environment` is a name or None, `ranges` are [first, last] of states in a row, `unknown` counts the episodes
        that do not say.
        """
        found = []
        for source in self.train:
            episodes = np.arange(source.dataset.num_episodes) if source.episodes is None else source.episodes
            states = init_states(source.dataset.recorded_episodes[episode] for episode in episodes)
            found.append(
                {"environment": _environment(source.dataset), "ranges": _ranges(states),
                 "unknown": len(episodes) - len(states)}
            )  # fmt: skip
        return found

    def identity(self) -> dict[str, Any]:
        """What decides the order of the batches, beside the seed."""
        checksums = [dataset.checksum() for dataset in self.datasets]
        chosen = hashlib.sha256()  # masks are edited in place, and no checksum of the data tells
        for usable in self._usable:
            chosen.update(len(usable).to_bytes(8, "little") + usable.astype("<i8").tobytes())
        return {
            "dataset_checksum": checksums[0] if len(checksums) == 1 else checksums,
            "episodes_used": sum(map(len, self._usable)),
            "episodes_checksum": chosen.hexdigest(),
        }

    def spec(self, policy_config: Any) -> PolicySpec:
        """The data contract of a policy with this configuration. Raises ConfigError for features there are not."""
        tables = [source.features for source in self.train]
        available = {
            name: without_differing_robots([table[name] for table in tables if name in table]) for name in tables[0]
        }
        goals = tuple(getattr(policy_config, "goals", ()))
        observations = _chosen(self.name, available, policy_config.observations, "observations")
        if (layout := available[ACTION].layout) is not None:
            ObservedReference(layout, observations)  # says what is missing, before anything is read
        return PolicySpec(
            observations,
            available[ACTION],
            policy_config.obs_horizon,
            policy_config.action_horizon,
            self.datasets[0].fps,
            _chosen(self.name, available, goals, "goals"),
            policy_config.goal_horizon if goals else 0,
        )

    def rows(self) -> list[int]:
        """How many rows of `vectors` come from each dataset."""
        steps = [np.diff(dataset.episode_ends, prepend=0) for dataset in self.datasets]
        return [int(found[usable].sum()) for found, usable in zip(steps, self._usable, strict=True)]

    def vectors(self, spec: PolicySpec) -> dict[str, np.ndarray]:
        """Feature -> `(N, *shape)`: what a policy reads and writes, as stored, of training and validation episodes.

        Actions relative to the newest observation are those of all windows, and have other rows.

        Raises DatasetError for numbers that are not finite and for episodes that are all shorter than a window.
        """
        used = _features_of(spec)
        whole = zip(self.datasets, self._usable, self.views, strict=True)
        sources = [Source(dataset, usable, action=view) for dataset, usable, view in whole]
        collection = Collection(sources, used)
        ends = collection.episode_ends
        longest = int(np.diff(ends, prepend=0)[collection.episodes].max())
        needed = spec.obs_horizon + spec.action_horizon - 1
        if longest < needed:
            raise DatasetError(
                f"{self.name}: the longest episode has {longest} steps, shorter than a window of {needed} "
                f"(--policy.obs-horizon {spec.obs_horizon}, --policy.action-horizon {spec.action_horizon}); "
                "choose smaller horizons."
            )
        found = {name: collection.stored_array(name) for name in vector_features(spec)}
        relative = collection.relative_actions(ACTION, spec.observation_features)
        if relative is not None:
            offsets = range(1 - spec.obs_horizon, spec.action_horizon)
            found[ACTION] = relative.samples(ends, collection.episodes, offsets)
        return found


def vector_features(spec: PolicySpec) -> Features:
    """What a policy reads and writes but images."""
    return {name: feature for name, feature in _features_of(spec).items() if feature.kind in ("state", "action")}


def _features_of(spec: PolicySpec) -> Features:
    return {**spec.observation_features, **spec.goal_features, ACTION: spec.action_feature}


def _chosen(dataset: str, available: dict[str, Feature], wanted: Sequence[str], option: str) -> dict[str, Feature]:
    if isinstance(wanted, str):
        raise ConfigError(f"{option} is the text {wanted!r}, expected a list of features: a field tuple[str, ...].")
    for name in wanted:
        if name not in available:
            raise ConfigError(
                f"{dataset} does not have all that the policy reads ({', '.join(wanted)}): "
                f"{unknown_name('feature', name, available)} Choose with --policy.{option} FEATURE..."
            )
    return features([available[name] for name in wanted])


def _environment(dataset: Dataset) -> str | None:
    """Name of the environment that a dataset was recorded in: stepped, or in real time as the robot `sim:NAME`."""
    if dataset.sim_env is not None:
        return dataset.sim_env.get("name")
    kind, _, name = str(dataset.attributes.get("metadata", {}).get("robot") or "").partition(":")
    return name if kind == "sim" and name else None


def _ranges(numbers: Sequence[int]) -> list[list[int]]:
    """`[3, 1, 2, 7]` -> `[[1, 3], [7, 7]]`."""
    ordered = np.unique(np.asarray(numbers, np.int64))
    parts = np.split(ordered, np.flatnonzero(np.diff(ordered) > 1) + 1) if len(ordered) else []
    return [[int(part[0]), int(part[-1])] for part in parts]


def _usable_episodes(dataset: Dataset, masks: Sequence[str]) -> np.ndarray:
    """Indices of the episodes to train and validate on. Raises DatasetError when there are none."""
    if dataset.num_episodes == 0:
        raise DatasetError(f"{dataset.name} holds no episode yet; record some first.")
    usable = np.intersect1d(select_episodes(dataset, masks), dataset.intact_episodes)
    if not len(usable):
        raise DatasetError(f"{dataset.name}: every episode chosen is broken; see: robolearn dataset validate.")
    return usable
