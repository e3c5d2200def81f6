"""`ArmState`: where an arm is, or is told to be, and how observations say it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from robolearn.core.action import Part
from robolearn.core.earlier_layouts import layout_of
from robolearn.core.feature import Feature
from robolearn.kinematics.pose import Pose, pose_of, values_of


@dataclass(frozen=True)
class ArmState:
    """What is known of one arm; None is not known.

    Attributes:
        joints: (J,) rad, or m of a sliding joint.
        position_m: (3,) of the TCP in the arm's own base frame, or (2,) of what moves in a plane.
        rotation: (3, 3) of the TCP in the arm's own base frame.
        opening: of the gripper, in [0, 1], 1 = open.
    """

    joints: np.ndarray | None = None
    position_m: np.ndarray | None = None
    rotation: np.ndarray | None = None
    opening: float | None = None

    @property
    def pose(self) -> Pose | None:
        return None if self.position_m is None else Pose(self.position_m, self.rotation)

    def at(self, pose: Pose) -> ArmState:
        """This state with another pose."""
        return replace(self, position_m=pose.position_m, rotation=pose.rotation)


def state_parts(features: Mapping[str, Feature]) -> dict[str, tuple[Part, ...]]:
    """What observations of these features say of arms: name of the feature -> its absolute parts."""
    layouts = {name: layout_of(feature) for name, feature in features.items() if feature.kind == "state"}
    return {
        name: tuple(part for part in layout.parts if part.reference == "absolute" and part.kind != "velocity")
        for name, layout in layouts.items()
        if layout is not None
    }


def state_of(
    observation: Mapping[str, np.ndarray], features: Mapping[str, Feature], mounts: Mapping[str, Pose] | None = None
) -> dict[str, ArmState]:
    """What an observation says of each arm, by prefix.

    Of several features that say the same the first one is taken. `mounts` (prefix -> pose of the arm's base in the
    world) brings poses that are given in the world into the arm's base; without, they stay as they are given.
    """
    found: dict[str, ArmState] = {}
    for name, feature in features.items():
        if name not in observation or feature.kind != "state" or (layout := layout_of(feature)) is None:
            continue
        numbers = np.asarray(observation[name], dtype=np.float64)
        for part, where in zip(layout.parts, layout.slices, strict=True):
            if part.reference == "absolute" and part.kind != "velocity":
                mount = (mounts or {}).get(part.arm)
                found[part.arm] = _with(found.get(part.arm, ArmState()), part, numbers[where], mount)
    return found


def _with(state: ArmState, part: Part, numbers: np.ndarray, mount: Pose | None) -> ArmState:
    if part.kind == "gripper":
        return replace(state, opening=float(values_of(part, numbers)[0])) if state.opening is None else state
    if part.kind == "joints":
        return replace(state, joints=values_of(part, numbers)) if state.joints is None else state
    if state.position_m is not None or not part.coordinates:
        return state
    pose = pose_of(part, numbers)
    in_base = mount is None or part.frame != "world" or part.coordinates != "xyz"
    return state.at(pose if in_base or mount is None else pose.seen_from(mount))
