"""Whether the numbers of two features mean the same."""

from dataclasses import replace

import pytest

from robolearn.core.action import ActionLayout, Part
from robolearn.core.feature import Feature
from robolearn.core.meaning import layout_difference, meaning_difference, means_the_same
from robolearn.core.rotation import POSE_NAMES

POSE, GRIPPER = Part("pose"), Part("gripper")
ARM = ActionLayout((POSE, GRIPPER))


def action(layout):
    return Feature("action", (layout.size,), kind="action", layout=layout)


def test_the_same_parts_mean_the_same_whether_or_not_the_robot_is_named():
    named = ActionLayout((POSE, GRIPPER), (("", "panda"),))
    assert layout_difference(ARM, named) is None and layout_difference(named, ARM) is None
    assert layout_difference(named, replace(named, robots=(("", "ur5e"),))) == ("robot 'panda'", "robot 'ur5e'")


def test_poses_of_two_robots_may_count_as_the_same_and_joints_never_do():
    joints = ActionLayout((Part("joints", ("a", "b")), GRIPPER))
    for layout, same in ((ARM, True), (joints, False)):
        ours, theirs = (action(replace(layout, robots=(("", robot),))) for robot in ("panda", "fr3"))
        assert (meaning_difference(ours, theirs, whose_poses=False) is None) == same
        assert meaning_difference(ours, theirs) == ("robot 'panda'", "robot 'fr3'")


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ((replace(POSE, reference="target"), GRIPPER), "pose relative to the last target (base axes, rot6d)"),
        ((POSE,), "pose (rot6d)"),
        ((POSE, Part("gripper", scale=(0.5,), offset=(0.5,))), "gripper (scaled)"),
        ((POSE, Part("gripper", ("opening",))), "gripper, names ['opening']"),
        ((Part("joints", ("a", "b")), GRIPPER), "joints"),
    ],
)
def test_the_first_part_that_differs_is_named(other, told):
    ours, theirs = layout_difference(ARM, ActionLayout(other))
    assert theirs == told and ours != theirs


def test_arms_are_told_apart():
    left, right = (ActionLayout((Part("pose", arm=arm),)) for arm in ("left", "right"))
    assert layout_difference(left, right) == ("left pose (rot6d)", "right pose (rot6d)")


def test_a_feature_without_a_layout_means_what_its_names_say():
    old = Feature("action", (10,), kind="action", names=(*POSE_NAMES, "gripper"))
    assert means_the_same(old, action(ARM)) and meaning_difference(old, action(ARM)) is None
    moved = action(ActionLayout((replace(POSE, reference="current"), GRIPPER)))
    assert meaning_difference(old, moved) is not None and not means_the_same(old, moved)


def test_where_nothing_is_said_nothing_differs_and_nothing_is_the_same():
    silent = Feature("action", (10,), kind="action")
    assert meaning_difference(silent, action(ARM)) is None and not means_the_same(silent, action(ARM))
