"""What actions and states mean in files that were written before layouts were: by their elements' names, or not at all.

Names are the only thing that such files say. Where they do not decide, `layout_of` gives None: the numbers can be
trained on and compared with others of the same names as before, but not converted.
"""

from __future__ import annotations

from robolearn.core.action import ActionLayout, Part
from robolearn.core.feature import Feature
from robolearn.core.rotation import POSE_NAMES

_ARM_NAMES = (*POSE_NAMES, "gripper")
_AGENT = Part("pose", arm="agent", coordinates="xy", rotation="none", unit="px", frame="world")


def layout_of(feature: Feature) -> ActionLayout | None:
    """The layout of an action or a state: its own, else what its names say; None where they do not say it."""
    if feature.layout is not None:
        return feature.layout
    names, arms = _of_each(feature.names or ())
    if names in (_ARM_NAMES, POSE_NAMES):  # put_on_plate, and tasks of robosuite, Wipe without a gripper
        return ActionLayout(tuple(part for arm in arms for part in _pose(names, arm)))
    if feature.name == "observation.joint_position" and names and feature.unit == "rad":
        return ActionLayout(tuple(Part("joints", names, arm) for arm in arms))
    if feature.unit == "px" and names == _AGENT.labels:  # Push-T
        return ActionLayout((_AGENT,))
    if (
        feature.kind == "action"
        and feature.unit == "m"
        and feature.frame == "world"
        and names in (("x", "y"), ("dx", "dy"))
    ):
        # the scenes avoiding and block_push move their last command
        return ActionLayout((Part("pose", reference="target", coordinates="xy", rotation="none", frame="world"),))
    return None


def _pose(names: tuple[str, ...], arm: str) -> tuple[Part, ...]:
    pose = Part("pose", arm=arm)
    return (pose, Part("gripper", arm=arm)) if names == _ARM_NAMES else (pose,)


def _of_each(names: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of one arm's elements, and prefixes of arms: robosuite's two-armed tasks ended names with the robot's."""
    arms = ("robot0", "robot1")
    one = tuple(name.removesuffix(f"_{arms[0]}") for name in names[: len(names) // 2])
    return (one, arms) if one and names == tuple(f"{name}_{arm}" for arm in arms for name in one) else (names, ("",))
