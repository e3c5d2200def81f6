"""`ObservedReference`: actions relative to the newest observation, and the absolute ones they stand for.

A whole window or chunk is relative to one observation (UMI: Chi et al. 2024), so this conversion belongs to windows in
training and to chunks in acting, not to steps. Both go through here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from robolearn.core.action import ActionLayout, Part
from robolearn.core.earlier_layouts import layout_of
from robolearn.core.errors import LayoutError
from robolearn.core.feature import Feature
from robolearn.kinematics.conversion import absolute
from robolearn.kinematics.part_match import part_words
from robolearn.kinematics.pose import Pose, numbers_of, pose_of, scaled_back, values_of

Place = Pose | np.ndarray
"""Of a tool, or of joints."""


@dataclass(frozen=True)
class _Link:
    """A relative part, the absolute one that it becomes, and where an observation says what it is relative to."""

    part: Part
    into: Part
    where: slice
    feature: str
    measured: Part
    at: slice

    def read(self, part: Part, numbers: np.ndarray, reference: Place | None = None) -> Place:
        if part.kind == "pose":
            assert reference is None or isinstance(reference, Pose)
            return pose_of(part, numbers, reference)
        values = values_of(part, numbers)
        return values if reference is None else reference + values  # type: ignore[operator]

    def write(self, goal: Place, reference: Place) -> np.ndarray:
        """(..., n) numbers of the relative part."""
        if isinstance(goal, Pose) and isinstance(reference, Pose):
            return numbers_of(self.part, goal, reference)
        return scaled_back(self.part, goal - reference)  # type: ignore[operator]


class ObservedReference:
    """
    Args:
        layout: of actions; parts that are relative to something else are left as they are.
        features: of the observations, in the order in which they are asked: the first that says where an arm is counts.
        whose: who has these observations, for messages.

    Attributes:
        absolute: the layout with what is relative to the newest observation made absolute, of as many numbers.
        needs: features that an observation must have.

    Raises LayoutError, naming the part, where no feature says what it is relative to.
    """

    def __init__(self, layout: ActionLayout, features: Mapping[str, Feature], whose: str = "the policy"):
        self.layout, self.absolute = layout, absolute(layout)
        parts = zip(layout.parts, self.absolute.parts, layout.slices, strict=True)
        self._links = [
            _Link(part, into, where, *_measured(part, features, whose))
            for part, into, where in parts
            if part.reference == "observation"
        ]
        self.needs = tuple(dict.fromkeys(link.feature for link in self._links))

    def to_absolute(self, actions: np.ndarray, observation: Mapping[str, np.ndarray]) -> np.ndarray:
        """(..., T, A) relative to `observation` (name -> (..., *shape)) -> (..., T, A) float64 in `absolute`."""
        out = np.array(actions, np.float64)
        for link, reference in zip(self._links, self.references(observation), strict=True):
            goal = link.read(link.part, out[..., link.where], _of_each_step(reference))
            out[..., link.where] = numbers_of(link.into, goal) if isinstance(goal, Pose) else goal
        return out

    def to_relative(self, actions: np.ndarray, observation: Mapping[str, np.ndarray]) -> np.ndarray:
        """The inverse of `to_absolute`."""
        references = [_of_each_step(reference) for reference in self.references(observation)]
        return self.relative(np.array(actions, np.float64), self.goals(actions), references)

    def goals(self, actions: np.ndarray) -> list[Place]:
        """Of actions (..., A) in `absolute`: where each relative part leads."""
        return [link.read(link.into, np.asarray(actions)[..., link.where]) for link in self._links]

    def references(self, observation: Mapping[str, np.ndarray]) -> list[Place]:
        """What each relative part is relative to, by observations (..., *shape)."""
        return [link.read(link.measured, observation[link.feature][..., link.at]) for link in self._links]

    def relative(self, out: np.ndarray, goals: Sequence[Place], references: Sequence[Place]) -> np.ndarray:
        """Write into `out` (..., A) what leads from `references` to `goals`; the numbers of other parts stay."""
        for link, goal, reference in zip(self._links, goals, references, strict=True):
            out[..., link.where] = link.write(goal, reference)
        return out


def relative_to_observation(layout: ActionLayout | None) -> bool:
    """Whether any part of a layout is."""
    return layout is not None and any(part.reference == "observation" for part in layout.parts)


def _measured(part: Part, features: Mapping[str, Feature], whose: str) -> tuple[str, Part, slice]:
    """Feature, part and slice that say where an arm is, in the terms of `part`."""
    frames, jointed = set(), False
    for name, feature in features.items():
        if feature.kind != "state" or (layout := layout_of(feature)) is None:
            continue
        found = layout.motion(part.arm)
        jointed = jointed or (part.kind == "pose" and found is not None and found.kind == "joints")
        if found is None or found.reference != "absolute" or found.kind != part.kind:
            continue
        if part.kind == "joints" and found.names == part.names:
            return name, found, layout.slice_of(found)
        turns = part.rotation != "none" or (part.axes == "tool" and part.coordinates)
        if part.kind == "pose" and found.coordinates == part.coordinates and (found.rotation != "none" or not turns):
            if found.frame == part.frame:
                return name, found, layout.slice_of(found)
            frames.add(found.frame)
    what = f"actions are {part_words(part)}"
    if frames:
        raise LayoutError(
            f"{what}, in the frame {part.frame!r}; {whose} observes where that arm is in {', '.join(sorted(frames))}."
        )
    needed = "observation.joint_position" if part.kind == "joints" else "observation.state"
    seen = ", ".join(features) or "nothing"
    raise LayoutError(
        f"{what}, and no observation of {whose} says where that arm is (it has {seen}); add the feature that does, "
        f"such as {needed}: --policy.observations."
        + (" Of joints, which are observed, 'joints.observation' can be formed." if jointed else "")
    )


def _of_each_step(reference: Place) -> Place:
    """With an axis for the steps of a chunk."""
    if not isinstance(reference, Pose):
        return reference[..., None, :]
    turn = reference.rotation
    return Pose(reference.position_m[..., None, :], None if turn is None else turn[..., None, :, :])
