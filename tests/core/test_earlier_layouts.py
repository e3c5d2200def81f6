"""What features without a layout mean, by their names alone."""

import pytest

from robolearn.core.action import ActionLayout, Part
from robolearn.core.earlier_layouts import layout_of
from robolearn.core.feature import Feature
from robolearn.core.rotation import POSE_NAMES

MOVED = ActionLayout((Part("pose", reference="target", coordinates="xy", rotation="none", frame="world"),))


@pytest.mark.parametrize("kind", ["action", "state"])
def test_a_pose_and_a_gripper_are_told_by_their_names(kind):
    feature = Feature("any", (10,), kind=kind, names=(*POSE_NAMES, "gripper"))
    assert layout_of(feature) == ActionLayout((Part("pose"), Part("gripper")))


def test_observed_joints_are_told_by_their_feature_and_unit():
    named = Feature("observation.joint_position", (2,), names=("a", "b"), unit="rad")
    assert layout_of(named) == ActionLayout((Part("joints", ("a", "b")),))
    assert layout_of(Feature("observation.joint_position", (2,), names=("a", "b"))) is None
    assert layout_of(Feature("observation.other", (2,), names=("a", "b"), unit="rad")) is None


@pytest.mark.parametrize("names", [("x", "y"), ("dx", "dy")])
def test_actions_of_scenes_in_the_plane_move_their_last_target(names):
    said = {"kind": "action", "names": names, "unit": "m", "frame": "world"}
    assert layout_of(Feature("action", (2,), **said)) == MOVED
    for missing in ("unit", "frame"):
        assert layout_of(Feature("action", (2,), **{**said, missing: None})) is None
    assert layout_of(Feature("observation.state", (2,), **{**said, "kind": "state"})) is None


def test_other_numbers_mean_what_nobody_says():
    assert layout_of(Feature("action", (7,), kind="action")) is None
    assert layout_of(Feature("action", (7,), kind="action", names=tuple("abcdefg"))) is None


def test_what_a_feature_says_itself_counts():
    own = ActionLayout((Part("joints", ("x", "y")),))
    assert layout_of(Feature("action", (2,), kind="action", unit="m", frame="world", layout=own)) is own
