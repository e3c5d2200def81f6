"""Which numbers of an arm's motion become those of another layout, and how; or why they do not.

The one place where it is decided what is exact. Reasons name the part, and which conversion would do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from robolearn.core.action import Part
from robolearn.core.errors import LayoutError
from robolearn.kinematics.arm_conversion import How, arm_name
from robolearn.kinematics.pose import Pose


def motion_conversion(
    have: Part,
    want: Part,
    robot: str | None,
    mount: Pose | None,
    dt_s: float | None,
    joint_names: Callable[[str], tuple[str, ...]] | None,
) -> How:
    """How the numbers of one motion part become those of another. Raises LayoutError where they do not."""
    if replace(have, arm=want.arm) == want:
        return "as they are"
    unscaled: dict[str, Any] = {"arm": "", "scale": None, "offset": None, "limit": None}
    if replace(have, **unscaled) == replace(want, **unscaled):
        return "scaled"
    why = f"{part_words(have)} cannot be converted to {part_words(want)}"
    if want.reference == "observation":
        raise LayoutError(
            f"{why}: what an action is relative to the newest observation depends on the chunk that it is in, and is "
            "formed in training. Absolute pose or joints can be stored and carried out."
        )
    if have.reference == "observation":
        raise LayoutError(
            f"{why}: what it stands for depends on the observation that its chunk was computed from, which is not at "
            "hand. A policy's chunks are made absolute first (docs/policies.md: anchored); absolute ones are converted."
        )
    if have.kind == "pose" and want.kind == "pose":
        _same_pose(have, want, why)
    elif "pose" in (have.kind, want.kind):
        _whole_pose(have if have.kind == "pose" else want, want, why)
        if robot is None:
            raise LayoutError(f"{why} where it is not known which robot {arm_name(want.arm)} is; say it with --robot.")
        joints = have if have.kind != "pose" else want
        if joint_names is not None and joints.names != (names := joint_names(robot)):
            raise LayoutError(f"{why}: the joints are {list(joints.names)}, those of {robot} are {list(names)}.")
    elif have.names != want.names:
        raise LayoutError(f"{why}: the joints are {list(have.names)} of the one, {list(want.names)} of the other.")
    elif robot is not None and joint_names is not None and len(names := joint_names(robot)) != have.size:
        raise LayoutError(f"{why}: the joints are {list(have.names)}, those of {robot} are {list(names)}.")
    if "velocity" in (have.kind, want.kind) and dt_s is None:
        raise LayoutError(f"{why} without the time between two actions.")
    frames = [part.frame if part.kind == "pose" else "base" for part in (have, want)]
    if frames[0] != frames[1] and (mount is None or not {"base", "world"}.issuperset(frames)):
        raise LayoutError(
            f"{why}: the frames are {frames[0]!r} and {frames[1]!r}, and where the arm stands is not known."
        )
    return "through its goal"


def _whole_pose(pose: Part, want: Part, why: str) -> None:
    """Raise LayoutError where a pose is not that of a tool in space, which joints have."""
    if pose.coordinates != "xyz" or (pose.rotation == "none" and pose is want):
        raise LayoutError(f"{why}: joints give a whole pose, position and rotation; the layout 'pose' holds it.")
    if pose.unit not in (None, "m"):
        raise LayoutError(f"{why}: its positions are in {pose.unit}; those of joints are in m.")


def _same_pose(have: Part, want: Part, why: str) -> None:
    """Raise LayoutError where two pose parts do not speak of the same."""
    if have.coordinates != want.coordinates:
        raise LayoutError(
            f"{why}: positions are {have.coordinates or 'not given'!r} of the one, "
            f"{want.coordinates or 'not given'!r} of the other."
        )
    if want.rotation == "none" and have.rotation != "none":
        raise LayoutError(f"{why}: its rotation would be lost; a layout that has one could be converted.")
    if (have.unit or "m") != (want.unit or "m"):
        raise LayoutError(f"{why}: positions are in {have.unit or 'm'} of the one, {want.unit or 'm'} of the other.")
    if have.free != want.free:
        raise LayoutError(
            f"{why}: {have.free or want.free} tilt is left free by {'the first' if have.free else 'the second'} one "
            "and given by the other: one of the two arms has a joint less."
        )


def part_words(part: Part) -> str:
    """Of a part in messages."""
    arm = f" of {arm_name(part.arm)}" if part.arm else ""
    frame = f" in the frame {part.frame!r}" if part.kind == "pose" and part.frame != "base" else ""
    return f"{part.describe()}{frame}{arm}"
