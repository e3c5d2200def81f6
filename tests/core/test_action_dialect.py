"""`Dialect`: words on a command line, and what they become for arms."""

import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from robolearn.core.action import ActionLayout, Part
from robolearn.core.action_dialect import DIALECTS, Dialect, dialect_of
from robolearn.core.errors import LayoutError


def arm(prefix: str = "", gripper: bool = True, free: str = "") -> SimpleNamespace:
    return SimpleNamespace(prefix=prefix, robot_name="panda", joint_names=("j1", "j2"), has_gripper=gripper, free=free)


def test_words_may_come_in_any_order():
    one, other = (Dialect.parse(text).layout([arm()]) for text in ("pose.target.tool.rpy", "tool.rpy.target.pose"))
    assert one == other
    assert one.parts[0] == Part("pose", reference="target", axes="tool", rotation="rpy")


def test_each_arm_has_its_motion_and_its_gripper_behind_it():
    layout = Dialect.parse("joints.target").layout([arm("left"), arm("right", gripper=False)])
    assert layout.names == ("left_j1", "left_j2", "left_gripper", "right_j1", "right_j2")
    assert layout.robots == (("left", "panda"), ("right", "panda"))
    assert [part.reference for part in layout.parts] == ["target", "absolute", "target"]


@pytest.mark.parametrize(
    "text",
    ["pose", "joints", "velocity", "joints.target", "pose.target.tool.axis_angle", "pose.current.euler", "calvin",
     "umi", "pose.quaternion", "robosuite"],
)  # fmt: skip
def test_a_layout_tells_its_words(text):
    layout = Dialect.parse(text).layout([arm("left", free="sideways"), arm("right", gripper=False)])
    found = dialect_of(layout)
    assert found.layout([arm("left", free="sideways"), arm("right", gripper=False)]) == layout
    assert found.name == ("pose.observation.tool" if text == "umi" else text)
    assert dialect_of(ActionLayout((replace(layout.parts[0], scale=(2.0,) * layout.parts[0].size),))) is None


def test_what_an_arm_cannot_follow_is_part_of_its_poses_and_of_nothing_else():
    assert Dialect.parse("pose").layout([arm(free="sideways")]).parts[0].free == "sideways"
    assert Dialect.parse("joints").layout([arm(free="sideways")]).parts[0].free == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "pose.targt",
            "Unknown word 'targt' in the action layout 'pose.targt'. Did you mean 'target'? Known: calvin, ",
        ),
        (
            "",
            "Unknown word '' in the action layout ''. Known: calvin, robosuite, umi, pose, joints, velocity, absolute",
        ),
        ("pose.target.current", "says both 'target' and 'current'; give one of them."),
        ("target.tool", "says nothing of what an arm is told: pose, joints or velocity?"),
        ("joints.rpy", "The action layout 'joints.rpy': joints have no 'rpy'; leave it out."),
        ("umi.base", "'umi' stands alone, found 'umi.base': its words are settled."),
        ("pose.tool", "'tool' axes are those of a relative pose; add 'current', 'target' or 'observation'."),
        ("velocity.target", "a velocity is no more than absolute"),
    ],
)
def test_words_that_say_nothing_are_refused(text, words):
    with pytest.raises(LayoutError, match=re.escape(words)):
        Dialect.parse(text)


def test_words_that_contradict_each_other_are_refused_for_the_arms():
    with pytest.raises(LayoutError, match="they need the rotation 'rpy', not 'rot6d'"):
        Dialect.parse("pose.target.euler.rot6d").layout([arm()])
    assert Dialect.parse("pose.target.euler").layout([arm()]).parts[0].rotation == "rpy"


@pytest.mark.parametrize(
    ("name", "one", "opened"),
    [
        # calvin_env: 2 cm and 0.05 rad for 1, added to the last target's Euler angles; 1 = open
        ("calvin", [0.02, 0.02, 0.02, 0.05, 0.05, 0.05], 1.0),
        # robosuite's OSC_POSE: 5 cm and 0.5 rad for 1; 1 = closed
        ("robosuite", [0.05, 0.05, 0.05, 0.5, 0.5, 0.5], 0.0),
    ],
)
def test_the_number_one_of_a_dialect_is(name, one, opened):
    pose, gripper = DIALECTS[name].layout([arm()]).parts
    np.testing.assert_allclose(pose.scale, one)
    assert pose.limit == gripper.limit == (-1.0, 1.0)
    assert gripper.offset[0] + gripper.scale[0] == pytest.approx(opened)
    assert gripper.offset[0] - gripper.scale[0] == pytest.approx(1.0 - opened)


def test_umi_is_relative_to_the_newest_observation_in_the_axes_of_the_tool():
    assert DIALECTS["umi"].layout([arm()]).parts[0] == Part("pose", reference="observation", axes="tool")


@pytest.mark.parametrize("text", ["x" * 10**6, "pose." * 10**5])
def test_a_long_text_is_not_repeated(text):
    with pytest.raises(LayoutError, match="An action layout is a few words joined by dots") as refused:
        Dialect.parse(text)
    assert len(str(refused.value)) < 200
