"""Conversions between layouts, on a machine whose kinematics are closed forms."""

import re
import sys
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robolearn.core.action import ActionLayout, Part
from robolearn.core.action_dialect import DIALECTS, Dialect
from robolearn.core.errors import LayoutError
from robolearn.core.rotation import angle_between, axis_angle_to_matrix, matrix_to_rot6d, rpy_to_matrix
from robolearn.kinematics.conversion import Conversion, absolute, conversion
from robolearn.kinematics.conversion_counts import Counts
from robolearn.kinematics.state import ArmState

sys.path.append(str(Path(__file__).parent))

from gantry import JOINTS, Gantry

DT_S = 0.05
DIALECT_TEXTS = (
    "pose", "pose.axis_angle", "pose.rpy", "pose.quaternion", "joints", "joints.current", "joints.target", "velocity",
    *(f"pose.{r}.{a}.{w}" for r, a, w in product(("current", "target"), ("base", "tool"), ("rot6d", "axis_angle"))),
    "pose.current.euler.rpy", "pose.target.euler.rpy", "pose.target.tool.quaternion",
)  # fmt: skip


def arm(prefix: str = "", robot: str = "gantry", free: str = "") -> SimpleNamespace:
    return SimpleNamespace(prefix=prefix, robot_name=robot, joint_names=JOINTS, has_gripper=True, free=free)


def layout(text: str, *prefixes: str, robot: str = "gantry") -> ActionLayout:
    return Dialect.parse(text).layout([arm(prefix, robot) for prefix in prefixes or ("",)])


def planned(source: str | ActionLayout, target: str | ActionLayout, arm: str | None = None, **options) -> Conversion:
    options = {"dt_s": DT_S, "kinematics": lambda name: Gantry(), **options}
    pair = [layout(text) if isinstance(text, str) else text for text in (source, target)]
    return conversion(*pair, arm, **options)


def state(position, rpy, opening=1.0, joints=True) -> ArmState:
    q = np.array([*position, *rpy], dtype=float)
    return ArmState(q if joints else None, q[:3], rpy_to_matrix(q[3:]), opening)


coordinate = st.floats(-0.8, 0.8)
angle = st.floats(-1.2, 1.2)
states = st.builds(state, st.tuples(*[coordinate] * 3), st.tuples(*[angle] * 3), st.floats(0, 1))


@given(st.sampled_from(DIALECT_TEXTS), st.sampled_from(DIALECT_TEXTS), states, states, states)
def test_there_and_back_again(there, back, measured, target, goal):
    """Whatever the pair of layouts: the numbers that say `goal` in the one become those that say it in the other."""
    says = {
        text: planned("pose", text).convert(pose_numbers(goal), {"": measured}, {"": target})[0]
        for text in (there, back)
    }
    converted, reached = planned(there, back).convert(says[there], {"": measured}, {"": target})
    np.testing.assert_allclose(converted, says[back], atol=1e-7)
    if there != back:
        back_again, _ = planned(back, there).convert(converted, {"": measured}, {"": target})
        np.testing.assert_allclose(back_again, says[there], atol=1e-7)
        assert reached[""].opening == pytest.approx(goal.opening)


def pose_numbers(goal: ArmState) -> np.ndarray:
    return np.concatenate([goal.position_m, matrix_to_rot6d(goal.rotation), [goal.opening]])


@settings(max_examples=50)
@given(states, states)
def test_numbers_of_relative_layouts_are_those_of_the_closed_forms(start, goal):
    """Position and rotation of the table in `robolearn.core.action`, worked out here."""
    p, r = start.position_m, start.rotation
    for text, move in (
        ("pose.target.base.axis_angle", lambda d, v: (p + d, axis_angle_to_matrix(v) @ r)),
        ("pose.target.tool.axis_angle", lambda d, v: (p + r @ d, r @ axis_angle_to_matrix(v))),
        ("pose.target.euler.rpy", lambda d, v: (p + d, rpy_to_matrix(start.joints[3:] + v))),
    ):
        numbers, _ = planned("pose", text).convert(pose_numbers(goal), {}, {"": start})
        position, rotation = move(numbers[:3], numbers[3:6])
        np.testing.assert_allclose(position, goal.position_m, atol=1e-9)
        assert angle_between(rotation, goal.rotation) < 1e-7


def test_a_scale_is_a_change_of_numbers_only():
    """CALVIN's 1 is 2 cm and 0.05 rad; its gripper is -1 closed, 1 open."""
    source = layout("pose.target.euler.rpy")
    metres, _ = planned("calvin", source).convert(np.array([1.0, -0.5, 0, 0, 0, 1.0, -1.0]), {}, {})
    np.testing.assert_allclose(metres, [0.02, -0.01, 0, 0, 0, 0.05, 0.0], atol=1e-12)
    numbers, _ = planned(source, "calvin").convert(metres, {}, {})
    np.testing.assert_allclose(numbers, [1.0, -0.5, 0, 0, 0, 1.0, -1.0], atol=1e-12)


def test_what_the_source_limits_is_limited_and_what_the_target_cannot_say_is_clipped_and_counted():
    counts = Counts()
    metres, _ = planned("calvin", "pose.target.euler.rpy").convert(np.array([3.0, 0, 0, 0, 0, 0, 1.0]), {}, {}, counts)
    assert metres[0] == pytest.approx(0.02) and counts.clipped == 0 and counts.exact
    start, goal = state((0, 0, 0), (0, 0, 0)), state((0.05, 0, 0), (0, 0, 0))
    numbers, reached = planned("pose", "calvin").convert(pose_numbers(goal), {}, {"": start}, counts)
    assert numbers[0] == 1.0 and counts.clipped == 1 and not counts.exact
    np.testing.assert_allclose(reached[""].position_m, [0.02, 0, 0])  # where the clipped number leads to
    assert "1 clipped to the layout's limit" in counts.describe()


def test_the_same_layout_is_passed_through_to_the_bit_whatever_the_states_are():
    same = planned("robosuite", "robosuite")
    action = np.array([0.1, 0.2, 3.0, 0.1, 0.2, 0.3, -1.0], np.float32)
    assert same.identity and same.convert(action, {}, {})[0] is not None
    np.testing.assert_array_equal(same.convert(action, {}, {})[0], action)
    assert same.convert(action, {}, {})[0].dtype == np.float32


def test_a_pose_out_of_reach_is_held_at_the_nearest_one_and_counted():
    far = state((1.3, 0.0, 0.2), (0, 0, 0))
    counts = Counts()
    joints, reached = planned("pose", "joints").convert(
        pose_numbers(far), {"": state((0, 0, 0), (0, 0, 0))}, {"": state((0.9, 0, 0.2), (0, 0, 0))}, counts
    )
    np.testing.assert_allclose(joints[:3], [1.0, 0.0, 0.2])
    np.testing.assert_allclose(reached[""].position_m, [1.0, 0.0, 0.2])
    assert counts.out_of_reach == 1 and counts.farthest_m == pytest.approx(0.3)
    assert "1 out of reach, held at the nearest pose found (up to 300 mm and 0 deg away)" in counts.describe()


def test_inverse_kinematics_start_from_the_last_target_and_not_from_where_the_arm_lags():
    robot = Gantry()
    plan = planned("pose", "joints", kinematics=lambda name: robot)
    measured, target = state((0, 0, 0), (0, 0, 0)), state((0.1, 0, 0), (0, 0, 3.0))
    plan.convert(pose_numbers(state((0.12, 0, 0), (0, 0, 3.3))), {"": measured}, {"": target})
    np.testing.assert_array_equal(robot.starts[0], target.joints)


def test_joints_beyond_limits_and_jumps_are_counted():
    counts, start = Counts(), state((0.9, 0, 0), (0, 0, 0))
    plan = planned("joints", "pose")
    plan.convert(np.array([1.01, 0, 0, 0, 0, 0, 1.0]), {"": start}, {"": start}, counts)
    assert (counts.beyond_limits, counts.jumps) == (1, 1)  # 11 cm in 50 ms at 1 m/s
    plan.convert(np.array([0.95, 0, 0, 0, 0, 0, 1.0]), {"": start}, {"": start}, counts)
    assert (counts.beyond_limits, counts.jumps) == (1, 1)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_numbers_that_are_none_are_refused_by_name(bad):
    with pytest.raises(LayoutError, match=r"holds (nan|inf) at rot6d_0; expected finite numbers. It is not converted."):
        planned("pose", "joints").convert(np.array([0, 0, 0, bad, 0, 0, 0, 1, 0, 1.0]), {}, {})


@pytest.mark.parametrize("target", ["pose", "joints", "pose.current"])
def test_what_is_relative_to_the_newest_observation_is_not_converted_without_it(target):
    with pytest.raises(LayoutError, match=r"depends on the observation that its chunk.*absolute ones are converted"):
        planned("umi", target)
    assert planned("umi", "umi").identity


def test_frames_are_converted_where_it_is_known_where_the_arm_stands():
    world = ActionLayout((Part("pose", frame="world"), Part("gripper")), (("", "gantry"),))
    mount = SimpleNamespace(
        prefix="", robot_name="gantry", position_m=(1.0, 0.0, 0.5), quaternion=(np.sqrt(0.5), 0, 0, np.sqrt(0.5))
    )
    goal = state((0.2, 0.3, 0.1), (0, 0, 0))
    numbers, _ = planned("pose", world, mounted=[mount]).convert(pose_numbers(goal), {}, {})
    np.testing.assert_allclose(numbers[:3], [1.0 - 0.3, 0.2, 0.6], atol=1e-12)  # a quarter turn to the left
    back, _ = planned(world, "pose", mounted=[mount]).convert(numbers, {}, {})
    np.testing.assert_allclose(back, pose_numbers(goal), atol=1e-12)
    with pytest.raises(LayoutError, match="the frames are 'base' and 'world', and where the arm stands is not known"):
        planned("pose", world)


def test_one_arm_becomes_part_of_two_and_the_other_holds_its_last_target():
    left, right = state((0.1, 0, 0), (0, 0, 0.1)), state((0.3, 0, 0), (0, 0, 0.2), 0.25)
    goal = state((0.2, 0, 0), (0, 0, 0.3))
    for text in ("pose", "joints", "pose.current.tool.axis_angle", "velocity"):
        two = layout(text, "left", "right")
        numbers, reached = planned("pose", two, "left").convert(
            pose_numbers(goal),
            {"left": left, "right": state((0.29, 0, 0), (0, 0, 0.2))},
            {"left": left, "right": right},
        )
        assert reached["right"].opening == 0.25 and numbers[-1] == 0.25
        again, _ = planned(two, layout("pose", "left", "right")).convert(
            numbers,
            {"left": left, "right": state((0.29, 0, 0), (0, 0, 0.2))},
            {"left": left, "right": right},
        )
        np.testing.assert_allclose(again, [*pose_numbers(goal), *pose_numbers(right)], atol=1e-9)


def test_an_arm_that_has_the_prefix_of_one_of_two_is_that_one():
    named, two = layout("pose", "right"), layout("pose", "left", "right")
    assert planned(named, two).description.endswith("the arm 'left' holds its last target")
    with pytest.raises(LayoutError, match="Say with --arm"):  # what is said to the other is not dropped unasked
        planned(two, named)


def test_of_two_arms_one_is_dropped_only_where_it_is_asked_for():
    two = layout("pose", "left", "right")
    with pytest.raises(
        LayoutError, match=r"Actions are of the arms \['left', 'right'\], taken are those of one arm. Say"
    ):
        planned(two, "pose")
    plan = planned(two, "pose", "right")
    assert plan.description.endswith("the arm 'left' of the actions is dropped")
    left, right = pose_numbers(state((0, 0, 0), (0, 0, 0))), pose_numbers(state((0.5, 0, 0), (0, 0, 0.5)))
    np.testing.assert_allclose(plan.convert(np.concatenate([left, right]), {}, {})[0], right, atol=1e-12)


def test_poses_are_any_robot_s_and_it_is_said_whose_they_were():
    plan = planned(layout("pose", robot="panda"), layout("pose.quaternion", robot="ur5e"))
    assert plan.description.endswith("; poses that are meant for the robot panda are those of ur5e")
    same = planned(layout("pose", robot="panda"), layout("pose", robot="ur5e"))
    assert same.identity and same.description.endswith("meant for the robot panda are those of ur5e")


PX = ActionLayout((Part("pose", coordinates="xy", rotation="none", unit="px"),))
BARE = ActionLayout((Part("pose"),))
BARE_JOINTS = ActionLayout((Part("joints", JOINTS),))
PLANE = ActionLayout((Part("pose", coordinates="xy", rotation="none"),))


@pytest.mark.parametrize(
    ("source", "target", "arm", "words"),
    [
        ("pose", layout("pose", "left", "right"), "middle", "--arm middle is none of the arms ['left', 'right']."),
        ("pose", "pose", "left", "--arm left says which of several arms one is: actions are of one arm, taken are"),
        (layout("joints", robot="panda"), layout("pose", robot="ur5e"), None,
         "joints of the robot panda cannot be converted for the robot ur5e: joints are another robot's."),
        ("pose", "umi", None, "depends on the chunk that it is in, and is formed in training. Absolute pose or joints"),
        (PX, PLANE, None, "positions are in px of the one, m of the other"),
        (PLANE, BARE_JOINTS, None, "joints give a whole pose, position and rotation; the layout 'pose' holds it."),
        ("pose", ActionLayout((Part("pose", rotation="none"), Part("gripper"))), None, "its rotation would be lost"),
        ("pose", BARE, None, "Of the arm the actions say how far its gripper opens, what takes them does not ask it."),
        (BARE, "pose", None, "Of the arm the actions do not say how far its gripper opens, what takes them asks it."),
        (BARE, ActionLayout((Part("pose", free="sideways"),)), None, "sideways tilt is left free by the second one"),
        (BARE, BARE_JOINTS, None, "where it is not known which robot the arm is; say it with --robot."),
        (BARE_JOINTS, ActionLayout((Part("joints", ("a",), reference="target"),)), None,
         "the joints are ['slide_x', 'slide_y', 'slide_z', 'roll', 'pitch', 'yaw'] of the one, ['a'] of the other"),
    ],
)  # fmt: skip
def test_what_is_not_exact_is_refused_with_the_reason(source, target, arm, words):
    with pytest.raises(LayoutError, match=re.escape(words)):
        planned(source, target, arm)


def test_a_velocity_needs_the_time_of_a_step():
    with pytest.raises(
        LayoutError, match="velocity cannot be converted to joints without the time between two actions"
    ):
        planned("velocity", "joints", dt_s=None)
    start = state((0.1, 0, 0), (0, 0, 0))
    joints, _ = planned("velocity", "joints").convert(np.array([1.0, 0, 0, 0, 0, 2.0, 1.0]), {}, {"": start})
    np.testing.assert_allclose(joints[:6], [0.15, 0, 0, 0, 0, 0.1])


def test_what_an_action_is_relative_to_must_be_known():
    with pytest.raises(LayoutError, match="where the arm is, or was told to go, must be known|are known here"):
        planned("pose.current.tool", "pose").convert(np.zeros(10), {}, {})


def test_every_dialect_has_a_conversion_to_poses_and_joints():
    for text in DIALECTS:
        for target in ("pose", "joints"):
            assert planned(absolute(layout(text)), target).description.startswith("actions are ")
