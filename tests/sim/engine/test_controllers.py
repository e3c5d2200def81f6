"""Every layout that an arm takes moves it as the layout says: against what its words mean, in closed form."""

import numpy as np
import pytest

from robolearn.core.action import ActionLayout, Part
from robolearn.core.errors import LayoutError
from robolearn.core.rotation import (
    angle_between,
    axis_angle_to_matrix,
    matrix_to_axis_angle,
    matrix_to_quaternion,
    matrix_to_rot6d,
    matrix_to_rpy,
    rpy_to_matrix,
)
from robolearn.sim import make_env

DOWN_AND_ASIDE = np.array([0.02, -0.03, -0.04])
TURN = axis_angle_to_matrix(np.array([0.05, -0.1, 0.2]))
WRITTEN = {
    "rot6d": matrix_to_rot6d,
    "axis_angle": matrix_to_axis_angle,
    "rpy": matrix_to_rpy,
    "quaternion": matrix_to_quaternion,
}


def settle(env, action, opening=1.0, steps=1):
    """Carry an action out for some steps, and stay where it leads until the arm has come to rest."""
    full = np.append(action, opening).astype(np.float32)
    for _ in range(steps):
        env.step(full)
    env.advance(500)
    return env.arm_state()[""]


@pytest.mark.parametrize("rotation", WRITTEN)
def test_an_absolute_pose_is_where_the_tool_goes(rotation):
    env = make_env("put_on_plate", action=f"pose.{rotation}")
    env.reset(options={"init_state": 0})
    start = env.arm_state()[""]
    position, turned = start.position_m + DOWN_AND_ASIDE, TURN @ start.rotation
    end = settle(env, [*position, *WRITTEN[rotation](turned)])
    assert np.abs(end.position_m - position).max() < 5e-4
    assert angle_between(end.rotation, turned) < 2e-3


@pytest.mark.parametrize("rotation", WRITTEN)
@pytest.mark.parametrize("axes", ["base", "tool"])
@pytest.mark.parametrize("reference", ["current", "target"])
def test_a_relative_pose_moves_the_tool_by_its_numbers(reference, axes, rotation):
    env = make_env("put_on_plate", action=f"pose.{reference}.{axes}.{rotation}")
    env.reset(options={"init_state": 0})
    start = env.arm_state()[""]
    end = settle(env, [*DOWN_AND_ASIDE, *WRITTEN[rotation](TURN)])
    if axes == "tool":
        position, turned = start.position_m + start.rotation @ DOWN_AND_ASIDE, start.rotation @ TURN
    else:
        position, turned = start.position_m + DOWN_AND_ASIDE, TURN @ start.rotation
    assert np.abs(end.position_m - position).max() < 5e-4
    assert angle_between(end.rotation, turned) < 2e-3


def test_euler_axes_add_to_roll_pitch_and_yaw():
    env = make_env("put_on_plate", action="pose.target.euler.rpy")
    env.reset(options={"init_state": 0})
    start, change = env.arm_state()[""], np.array([0.05, -0.1, 0.2])
    end = settle(env, [*DOWN_AND_ASIDE, *change])
    assert angle_between(end.rotation, rpy_to_matrix(matrix_to_rpy(start.rotation) + change)) < 2e-3


def test_calvins_numbers_are_fiftieths_of_a_metre_and_its_gripper_closes_at_minus_one():
    env = make_env("put_on_plate", action="calvin")
    env.reset(options={"init_state": 0})
    start = env.arm_state()[""]
    end = settle(env, [0.5, 0.0, -7.0, 0.0, 0.0, 0.4], opening=-1.0)
    assert np.abs(end.position_m - start.position_m - [0.01, 0.0, -0.02]).max() < 5e-4, "what is beyond 1 is cut off"
    assert angle_between(end.rotation, axis_angle_to_matrix(np.array([0.0, 0.0, 0.02])) @ start.rotation) < 2e-3
    assert end.opening < 0.02


def test_steps_from_the_last_target_add_up_while_the_arm_lags_behind():
    """Ten steps from the target come to ten steps, ten from where the arm is to fewer, since it lags behind."""
    reached = {}
    for reference in ("target", "current"):
        env = make_env("put_on_plate", action=f"pose.{reference}.axis_angle")
        env.reset(options={"init_state": 0})
        start = env.arm_state()[""].position_m
        reached[reference] = (settle(env, [0, 0, -0.008, 0, 0, 0], steps=10).position_m - start)[2]
    assert reached["target"] == pytest.approx(-0.08, abs=1e-3)
    assert -0.075 < reached["current"] < -0.01


def test_joints_go_where_they_are_told_and_stop_at_their_limits():
    env = make_env("put_on_plate", action="joints")
    env.reset(options={"init_state": 0})
    goal = env.arm_state()[""].joints + [0.1, -0.1, 0.1, 0.1, 0.1, -0.1, 0.2]
    assert settle(env, goal).joints == pytest.approx(goal, abs=2e-3)
    far = np.array([0.0, 0.0, 0.0, -2.0, 0.0, 2.0, 5.0])
    arm = env.simulation.arm
    env.set_target(np.append(far, 1.0))
    assert arm.targets_rad[6] == arm.high_rad[6] < 5.0 and arm.targets_rad[3] == -2.0


@pytest.mark.parametrize("reference", ["current", "target"])
def test_relative_joints_are_added(reference):
    env = make_env("put_on_plate", action=f"joints.{reference}")
    env.reset(options={"init_state": 0})
    start, change = env.arm_state()[""].joints, np.array([0.1, -0.1, 0.1, 0.1, 0.1, -0.1, 0.2])
    assert settle(env, change).joints == pytest.approx(start + change, abs=3e-3)


def test_joint_speeds_last_for_one_control_period_each_and_are_those_that_the_joints_have():
    env = make_env("put_on_plate", action="velocity")
    env.reset(options={"init_state": 0})
    start, speed = env.arm_state()[""].joints, np.array([0.5, 0.0, 0.0, 0.2, 0.0, 0.0, -100.0])
    fastest = env.mounted[0].robot.velocity[6]
    moved = settle(env, speed, steps=4).joints - start
    assert moved == pytest.approx([4 * 0.05 * v for v in (0.5, 0, 0, 0.2, 0, 0, -fastest)], abs=4e-3)


@pytest.mark.parametrize("opening", [0.0, 0.3, 1.0, 7.0])
def test_the_gripper_opens_as_far_as_it_is_told(opening):
    env = make_env("put_on_plate")
    observation, _ = env.reset(options={"init_state": 0})
    end = settle(env, observation["observation.state"][:9], opening)
    assert end.opening == pytest.approx(min(opening, 1.0), abs=0.02)


@pytest.mark.parametrize(
    ("layout", "reason"),
    [
        ("pose.observation", "relative to the newest observation, of which an environment knows nothing"),
        (ActionLayout((Part("pose"),)), "it says nothing of the gripper of the arm"),
        (ActionLayout((Part("gripper"),)), "it does not say where the arm goes"),
        (
            ActionLayout((Part("pose", arm="left"),)),
            r"speaks of the arm .left., and there is one arm without",
        ),
        (ActionLayout((Part("joints", ("a", "b")), Part("gripper"))), r"its joints are \['a', 'b'\], and the arm has"),
        (
            ActionLayout((Part("joints", tuple(f"joint{i}" for i in range(1, 8))), Part("gripper")), (("", "fr3"),)),
            "its joints are those of the robot 'fr3', and the arm is 'panda'",
        ),
        (ActionLayout((Part("pose", free="sideways"), Part("gripper"))), "leaves 'sideways' free"),
        (ActionLayout((Part("pose", frame="world"), Part("gripper"))), "in the frame 'world'"),
    ],
)
def test_what_an_arm_cannot_be_told_is_refused_with_the_reason(layout, reason):
    with pytest.raises(LayoutError, match=rf"'put_on_plate' takes no actions .*{reason}.* It takes .*pose"):
        make_env("put_on_plate", action=layout)
