"""`ActionConverter`: a conversion along an episode, which knows what was observed and what was told last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from robolearn.core.errors import LayoutError
from robolearn.core.feature import Feature
from robolearn.kinematics.arm_conversion import ArmConversion, arm_name
from robolearn.kinematics.conversion import Conversion
from robolearn.kinematics.conversion_counts import Counts
from robolearn.kinematics.part_match import part_words
from robolearn.kinematics.pose import Pose
from robolearn.kinematics.state import ArmState, state_of, state_parts


class ArmStates(Protocol):
    """Who knows exactly where arms are, by prefix and in the frames of their own bases; `SimEnv` is one. Nothing is
    said of arms where only observations tell.
    """

    def arm_state(self) -> Mapping[str, ArmState]:
        """What is measured now."""
        ...

    def arm_targets(self) -> Mapping[str, ArmState]:
        """What arms are told to do now, after all that was clipped or not reached."""
        ...


class ActionConverter:
    """Turns actions of one layout into those of another, step by step, each when it is carried out: what is relative
    to what is measured, or to the last target, can only be converted then.

    Args:
        conversion: what becomes what.
        observation_features: of what observations hold.
        exact: who carries the actions out, where it tells what is measured and what was told last. Elsewhere the one
            follows from observations, and the other from what was converted.

    Attributes:
        features: of the observations.
        counts: what was not exact, since the converter was made.

    Raises LayoutError where observations do not say what actions are relative to.
    """

    def __init__(
        self, conversion: Conversion, observation_features: Mapping[str, Feature], exact: ArmStates | None = None
    ):
        self.conversion = conversion
        self.counts = Counts()
        self.features = dict(observation_features)
        self._exact = exact
        self._mounts: dict[str, Pose] = {}
        self._asked: list[tuple[ArmConversion, set[str]]] = []
        for arm in conversion.arms:
            names = {arm.target, arm.source or ""}
            self._mounts |= {name: arm.mount for name in names if arm.mount is not None}
            self._asked.append((arm, names))
        if exact is None:
            self._require_observed({})
        self._target: dict[str, ArmState] | None = None

    def start(self, observation: Mapping[str, np.ndarray]) -> None:
        """An episode begins: what the arms were told before is where they are measured.

        Raises LayoutError where nobody says what actions are relative to.
        """
        if self._exact is not None:
            self._require_observed(self._exact.arm_state())
        self._target = self.measured(observation)

    def convert(self, action: np.ndarray, observation: Mapping[str, np.ndarray]) -> np.ndarray:
        """One action (A,), carried out now, when `observation` is the newest: (B,).

        Raises LayoutError as `Conversion.convert`, and where no episode has begun.
        """
        if self._target is None:
            raise LayoutError("Actions are converted along an episode, and none has begun: call `start` first.")
        measured = self.measured(observation)
        told = (self._exact.arm_targets() if self._exact is not None else None) or self._target
        converted, self._target = self.conversion.convert(action, measured, told, self.counts)
        return converted

    def measured(self, observation: Mapping[str, np.ndarray]) -> dict[str, ArmState]:
        """Where each arm is, exactly or as the observation says it, by the prefixes of the conversion's target."""
        if self._exact is not None and (known := self._exact.arm_state()):
            return dict(known)
        states = state_of(observation, self.features, self._mounts)
        renamed = {arm.source: arm.target for arm in self.conversion.arms if arm.source is not None}
        if set(states) & {arm.target for arm in self.conversion.arms}:
            return states
        return {renamed.get(prefix, prefix): state for prefix, state in states.items()}

    def _require_observed(self, known: Mapping[str, ArmState]) -> None:
        for arm, names in self._asked:
            if arm.target not in known:
                _require_observed(arm, names, self.features)


def _require_observed(arm: ArmConversion, names: set[str], features: Mapping[str, Feature]) -> None:
    """Raise LayoutError where what the arm's conversion starts from is not observed, or in an unknown frame."""
    relative = arm.relative
    if relative is None:
        return
    said = {name: [p for p in parts if p.arm in names] for name, parts in state_parts(features).items()}
    places = [part for parts in said.values() for part in parts if part.kind in ("pose", "joints")]
    if not any(part.kind == "pose" or arm.robot is not None or relative.kind != "pose" for part in places):
        seen = ", ".join(features) or "nothing"
        raise LayoutError(
            f"Actions are {part_words(relative)}, and no observation says where {arm_name(arm.target)} is; there is "
            f"{seen}. It takes 'observation.state' with the pose, or 'observation.joint_position'; `robolearn dataset "
            "features --layout` says what an observation means."
        )
    frames = {part.frame for part in places if part.kind == "pose"}
    if relative.kind == "pose" and frames and arm.mount is None and relative.frame not in frames:
        raise LayoutError(
            f"The {relative.name} is in the frame {relative.frame!r}, and the pose of {arm_name(arm.target)} is "
            f"observed in {', '.join(sorted(frames))}; where the arm stands is not known."
        )
