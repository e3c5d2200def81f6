"""Forward and inverse kinematics of every robot that is there, against closed forms and finite differences."""

import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robolearn.core.errors import ConfigError
from robolearn.core.rotation import angle_between, axis_angle_to_matrix, matrix_to_axis_angle
from robolearn.kinematics.arm import ArmKinematics
from robolearn.kinematics.ik import CONVERSION, SCENE, SEARCH, IKSettings
from robolearn.kinematics.models import RobotModel
from robolearn.kinematics.robot import Robot, Servo

LENGTHS = (0.4, 0.3, 0.2)


def planar(reach: float = 3.1) -> ArmKinematics:
    """Three links in the plane z = 0, whose poses everybody can write down."""
    first, second, third = LENGTHS
    joint = f'type="hinge" axis="0 0 1" limited="true" range="{-reach} {reach}"'
    text = f"""
    <mujoco><compiler angle="radian"/><worldbody><body><joint name="a" {joint}/><geom size=".01"/>
    <body pos="{first} 0 0"><joint name="b" {joint}/><geom size=".01"/>
    <body pos="{second} 0 0"><joint name="c" {joint}/><geom size=".01"/><site name="tcp" pos="{third} 0 0"/></body>
    </body></body></worldbody></mujoco>"""
    return ArmKinematics(
        Robot(
            "planar", "three links", RobotModel("planar", "1", (), ()), ("a", "b", "c"), (0.3, 0.3, 0.3), (1.0,) * 3,
            (1.0,) * 3, (1.0,) * 3, lambda _: mujoco.MjSpec.from_string(text),
            servos=dict.fromkeys("abc", Servo(1.0, 1.0, 1.0)),
        )
    )  # fmt: skip


PLANAR = planar()
ANGLES = st.lists(st.floats(-2.5, 2.5), min_size=3, max_size=3).map(np.array)


@given(ANGLES)
def test_a_planar_chain_is_where_its_closed_form_says(q):
    position, rotation = PLANAR.forward(q)
    turned = np.cumsum(q)
    np.testing.assert_allclose(position, [LENGTHS @ np.cos(turned), LENGTHS @ np.sin(turned), 0.0], atol=1e-12)
    np.testing.assert_allclose(rotation, axis_angle_to_matrix(np.array([0, 0, turned[-1]])), atol=1e-12)


@given(ANGLES)
def test_joints_of_a_planar_chain_are_found_again_in_closed_form(q):
    """Where the wrist is, the law of cosines gives the elbow: one angle and its opposite."""
    elbow = abs(q[1])
    if elbow < 0.05 or abs(np.sum(q)) > 3.0:
        return  # stretched out, or the last joint's range decides
    solved = PLANAR.solve(q + 0.1, *PLANAR.forward(q))
    assert solved.reached
    assert min(abs(solved.joints[1] - elbow), abs(solved.joints[1] + elbow)) < 1e-5
    assert abs(np.sin((np.sum(solved.joints) - np.sum(q)) / 2)) < 1e-6


@given(st.floats(-3.0, 3.0), st.floats(0.95, 3.0))
def test_out_of_reach_the_arm_stretches_towards_the_target_and_says_so(direction, far):
    towards = np.array([np.cos(direction), np.sin(direction), 0.0])
    solved = PLANAR.solve(
        np.array([direction - 0.2, 0.3, -0.05]), far * towards, axis_angle_to_matrix(np.array([0, 0, direction]))
    )
    position, _ = PLANAR.forward(solved.joints)
    assert not solved.reached
    np.testing.assert_allclose(position, sum(LENGTHS) * towards, atol=2e-3)
    assert solved.position_error_m == pytest.approx(far - sum(LENGTHS), abs=1e-4)


def test_joints_at_the_ends_of_their_ranges_stay_there_and_the_others_do_the_rest():
    """Each may turn by 0.2 rad: the nearest they come to a point far to the side is at their ends."""
    stiff = planar(reach=0.2)
    solved = stiff.solve(np.zeros(3), np.array([0.0, 0.9, 0.0]), axis_angle_to_matrix(np.array([0, 0, 1.5])))
    assert not solved.reached
    np.testing.assert_allclose(solved.joints, [0.2, 0.2, 0.2], atol=1e-9)


def postures(kinematics: ArmKinematics, count: int, seed: int = 0) -> np.ndarray:
    low, high = np.clip(kinematics.limits_rad.T, -np.pi, np.pi)
    return np.random.default_rng(seed).uniform(low, high, size=(count, len(low)))


def test_the_jacobian_is_what_small_steps_of_the_joints_do(kinematics):
    step = 1e-6
    for q in postures(kinematics, 10):
        jacobian = kinematics.jacobian(q)
        for joint, turn in enumerate(np.eye(len(q)) * step):
            (before, start), (after, end) = kinematics.forward(q - turn), kinematics.forward(q + turn)
            np.testing.assert_allclose(jacobian[:3, joint], (after - before) / (2 * step), atol=1e-8)
            turned = matrix_to_axis_angle(end @ start.T) / (2 * step)
            np.testing.assert_allclose(jacobian[3:, joint], turned, atol=1e-6)


def test_reachable_poses_are_found_from_anywhere_within_the_limits(kinematics):
    low, high = kinematics.limits_rad.T
    for q in postures(kinematics, 25):
        position, rotation = kinematics.forward(q)
        solved = kinematics.solve(kinematics.home_rad, position, rotation, SEARCH)
        assert solved.reached
        found, turned = kinematics.forward(solved.joints)
        assert np.linalg.norm(found - position) < 1e-6
        if not kinematics.robot.free:  # else there is more than one answer
            assert angle_between(turned, rotation) < 1e-6
        assert (low <= solved.joints).all() and (solved.joints <= high).all()


def test_following_a_path_through_the_joints_every_pose_is_reached_and_nothing_jumps(kinematics):
    """As an arm is driven: each solve starts where the last one ended."""
    low, high = kinematics.limits_rad.T
    toward = kinematics.home_rad + 0.5 * np.cos(np.arange(len(low)))
    path = np.linspace(kinematics.home_rad, np.clip(toward, low + 0.05, high - 0.05), 30)
    q = path[0]
    for posture in path:
        position, rotation = kinematics.forward(posture)
        solved = kinematics.solve(q, position, rotation, SCENE)
        assert solved.reached
        assert np.abs(solved.joints - q).max() < 0.15
        q = solved.joints


def test_a_redundant_arm_drifts_home_while_its_tool_moves(present):
    """The elbow swings back to the home posture's, whatever it was."""
    kinematics = ArmKinematics(present("panda"))
    home = kinematics.home_rad
    position, rotation = kinematics.forward(home)
    swung = kinematics.solve(home + [0.4, 0, -0.5, 0, 0.3, 0, 0], position, rotation).joints
    q = swung
    for sign in [1, -1] * 60:
        q = kinematics.solve(q, position + [0, 0, sign * 0.005], rotation, SCENE).joints
    assert np.abs(swung - home).max() > 0.3
    assert np.abs(q - home).max() < 0.05


def test_a_target_that_moves_out_of_reach_and_back_is_followed_without_jumps():
    """Stretched out an elbow may go either way. The tool is back with the target at once."""
    arm = ArmKinematics(PLANAR.robot, SCENE)
    q = arm.solve(np.array([-0.4, 0.6, -0.2]), np.array([0.85, 0.0, 0.0]), np.eye(3)).joints
    for far in [*np.arange(0.85, 1.2, 0.005), *np.arange(1.2, 0.85, -0.005)]:
        solved = arm.solve(q, np.array([far, 0.0, 0.0]), np.eye(3))
        assert np.abs(solved.joints - q).max() < 0.3  # the last 5 mm of stretching take 0.2 rad of the elbow
        assert solved.reached == (far < 0.9 - 1e-9) or abs(far - 0.9) < 0.02
        q = solved.joints


def test_numbers_that_are_not_finite_are_refused():
    with pytest.raises(ConfigError, match="'planar' needs finite numbers, found the position .*nan"):
        PLANAR.solve(np.zeros(3), np.array([0.1, np.nan, 0.0]), np.eye(3))
    with pytest.raises(ConfigError, match="finite"):
        PLANAR.solve(np.array([0.0, np.inf, 0.0]), np.array([0.1, 0.1, 0.0]), np.eye(3))


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(ConfigError, match="above 0"):
        IKSettings(0.0, 1e-3, 5, 0.1)


def test_a_robot_whose_joints_are_not_its_models_is_refused():
    wrong = Robot(
        "crooked", "", RobotModel("crooked", "1", (), ()), ("a", "b"), (0.0,) * 2, (1.0,) * 2, (1.0,) * 2, (1.0,) * 2,
        PLANAR.robot.build, servos=dict.fromkeys("ab", Servo(1.0, 1.0, 1.0)),
    )  # fmt: skip
    with pytest.raises(ConfigError, match=r"'crooked' is moved by the joints \['a', 'b', 'c'\].*names \['a', 'b'\]"):
        ArmKinematics(wrong)


@settings(max_examples=30)
@given(ANGLES, ANGLES)
def test_what_is_found_does_not_depend_on_what_was_asked_before(q, other):
    pose = PLANAR.forward(q)
    first = PLANAR.solve(q + 0.05, *pose, CONVERSION)
    PLANAR.solve(other, *PLANAR.forward(other + 0.3), SCENE)
    again = PLANAR.solve(q + 0.05, *pose, CONVERSION)
    np.testing.assert_array_equal(first.joints, again.joints)
