"""`ActionConverter`: a conversion along an episode, which knows what was observed and what was told last."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from robolearn.core.errors import LayoutError
from robolearn.core.feature import Feature
from robolearn.kinematics.conversion import Conversion
from robolearn.kinematics.conversion_counts import Counts
from robolearn.kinematics.pose import Pose
from robolearn.kinematics.state import ArmState, state_of


class ActionConverter:
    """Turns actions of one layout into those of another, step by step.

        observation at  0        1        2        3
        start           (0)
        chunk           (A, 0)                     (B, 3)
        convert         (A0, 0)  (A1, 1)  (A2, 2)  (B0, 3)

    What is relative to the newest observation becomes absolute in `chunk`; what is relative to what is measured, or to
    the last target, can only be converted when it is carried out, in `convert`.

    Args:
        conversion: what becomes what.
        observation_features: of what observations hold.
        mounts: pose of each arm's base in the world, for states that are given there.

    Attributes:
        counts: what was not exact, since the converter was made.
    """

    def __init__(
        self,
        conversion: Conversion,
        observation_features: Mapping[str, Feature],
        mounts: Mapping[str, Pose] | None = None,
    ):
        self.conversion = conversion
        self.counts = Counts()
        self._features = dict(observation_features)
        self._mounts = mounts
        self._target: dict[str, ArmState] | None = None

    def start(self, observation: Mapping[str, np.ndarray], target: Mapping[str, ArmState] | None = None) -> None:
        """An episode begins; `target`: what the arms were told before, what is measured by default."""
        self._target = dict(self.measured(observation) if target is None else target)

    def chunk(self, chunk: np.ndarray, observation: Mapping[str, np.ndarray]) -> np.ndarray:
        """A chunk (H, A) that was computed from `observation`, made ready for `convert`: (H, A)."""
        if not self.conversion.by_chunk:
            return chunk
        return self.conversion.ground(chunk, self.measured(observation))

    def convert(self, action: np.ndarray, observation: Mapping[str, np.ndarray]) -> np.ndarray:
        """One action (A,) of a chunk, carried out now, when `observation` is the newest: (B,).

        Raises LayoutError as `Conversion.convert`, and where no episode has begun.
        """
        if self._target is None:
            raise LayoutError("Actions are converted along an episode, and none has begun: call `start` first.")
        measured = {} if self.conversion.identity else self.measured(observation)
        converted, self._target = self.conversion.convert(action, measured, self._target, self.counts)
        return converted

    def measured(self, observation: Mapping[str, np.ndarray]) -> dict[str, ArmState]:
        """What an observation says of each arm, by the prefixes of the conversion's target."""
        states = state_of(observation, self._features, self._mounts)
        renamed = {arm.source: arm.target for arm in self.conversion.arms if arm.source is not None}
        if set(states) & {arm.target for arm in self.conversion.arms}:
            return states
        return {renamed.get(prefix, prefix): state for prefix, state in states.items()}
