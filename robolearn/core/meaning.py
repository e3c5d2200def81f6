"""Whether the numbers of two features mean the same: what is recorded into one dataset, or merged into one, must."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from robolearn.core.action import ActionLayout, Part
from robolearn.core.earlier_layouts import layout_of
from robolearn.core.feature import Feature


def layout_difference(ours: ActionLayout, theirs: ActionLayout, whose_poses: bool = True) -> tuple[str, str] | None:
    """What the first part, or robot, in which two layouts differ is in each, in words; None where they are the same.

    A robot that only one of them names is no difference. `whose_poses`: whether another robot is one where its part is
    a pose, which says the same of every robot.
    """
    for mine, other in zip(ours.parts, theirs.parts, strict=False):
        if mine != other:
            return _told(mine, other)
    if len(ours.parts) != len(theirs.parts):
        return ours.describe(), theirs.describe()
    for arm in ours.arms:
        motion = ours.motion(arm)
        if not whose_poses and (motion is None or motion.kind == "pose"):
            continue
        robot, other_robot = ours.robot(arm), theirs.robot(arm)
        if robot and other_robot and robot != other_robot:
            return f"robot {robot!r}", f"robot {other_robot!r}"
    return None


def _told(mine: Part, other: Part) -> tuple[str, str]:
    words, others = (" ".join(filter(None, (part.arm, part.describe()))) for part in (mine, other))
    if words != others:
        return words, others
    # the same in words: names, frames, or the numbers of a scale
    fields, theirs = mine.to_dict(), other.to_dict()
    name = next(key for key in {**fields, **theirs} if fields.get(key) != theirs.get(key))
    return f"{words}, {name} {fields.get(name)}", f"{words}, {name} {theirs.get(name)}"


def meaning_difference(ours: Feature, theirs: Feature, whose_poses: bool = True) -> tuple[str, str] | None:
    """In what the meaning of two features' numbers differs, see `layout_difference`; None where it does not, or one of
    them does not say.

    What was written before layouts were stored says it by its names, see `layout_of`.
    """
    mine, other = layout_of(ours), layout_of(theirs)
    return None if mine is None or other is None else layout_difference(mine, other, whose_poses)


def means_the_same(ours: Feature, theirs: Feature) -> bool:
    """Whether both say what their numbers mean, and it is the same: their elements may then have other names."""
    mine, other = layout_of(ours), layout_of(theirs)
    return mine is not None and other is not None and layout_difference(mine, other) is None


def without_differing_robots(alike: Sequence[Feature]) -> Feature:
    """The first of features whose numbers mean the same, without the robot of each arm that others call another one."""
    first, told = alike[0], [layout for layout in map(layout_of, alike) if layout is not None]
    if first.layout is None:
        return first
    robots = tuple(
        (arm, robot) for arm, robot in first.layout.robots if all(other.robot(arm) in (None, robot) for other in told)
    )
    return first if robots == first.layout.robots else replace(first, layout=replace(first.layout, robots=robots))
