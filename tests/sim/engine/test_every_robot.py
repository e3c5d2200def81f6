"""Every robot in every kind of action: its servos are told what the action means, and the tool gets there."""

import numpy as np
import pytest

from robolearn.core.rotation import angle_between, axis_angle_to_matrix, matrix_to_axis_angle, matrix_to_rot6d
from robolearn.kinematics.arm import ArmKinematics
from robolearn.sim import make_env
from robolearn.sim.tasks.put_on_plate import SETUPS

POSES = ("pose", "pose.current", "pose.target", "pose.target.tool", "pose.current.tool.axis_angle")
JOINTS = ("joints", "joints.current", "joints.target", "velocity")
STEPS = 8
SHIFT_M, TURN = np.array([0.0015, 0.001, -0.001]), axis_angle_to_matrix(np.array([0.0, 0.0, 0.01]))
DOWN = np.array([1.0, 1.0, -1.0])  # the tool's z points down
BEND_RAD = 0.004


@pytest.fixture(scope="module", params=SETUPS)
def robot(request, require_robot):
    """An environment's name, and its arm's kinematics."""
    require_robot(SETUPS[request.param].robot)
    name = f"put_on_plate/{request.param}".rstrip("/")
    return name, ArmKinematics(make_env(name).mounted[0].robot)


def numbers(part, position, rotation):
    """Of a pose part whose position and rotation are these."""
    write = {"rot6d": matrix_to_rot6d, "axis_angle": matrix_to_axis_angle}[part.rotation]
    return np.concatenate([position, write(rotation)])


def told(env):
    """What the servos of the joints are told."""
    return env.data.ctrl[: len(env.mounted[0].robot.joints)].copy()


def carry_out(env, values):
    env.step(np.append(values, 1.0).astype(np.float32))


@pytest.mark.parametrize("dialect", POSES)
def test_the_tool_follows_a_small_motion(robot, dialect):
    """It moves a little and turns about the vertical in each step, which even an arm of five joints can."""
    name, kinematics = robot
    env = make_env(name, action=dialect)
    env.reset(options={"init_state": 0})
    part = env.action_feature.layout.parts[0]
    start = env.arm_state()[""]
    upright = start.rotation.copy()
    goal, turned = start.position_m, upright
    for _ in range(STEPS):
        if part.reference == "current":
            measured = env.arm_state()[""]
            goal, turned = measured.position_m, measured.rotation
        elif part.reference == "target":
            goal, turned = kinematics.forward(told(env))
        if part.axes == "tool":
            goal, turned = goal + turned @ (DOWN * SHIFT_M), turned @ TURN
        else:
            goal, turned = goal + SHIFT_M, TURN @ turned
        shift = DOWN * SHIFT_M if part.axes == "tool" else SHIFT_M
        carry_out(env, numbers(part, *((goal, turned) if part.reference == "absolute" else (shift, TURN))))
        position, rotation = kinematics.forward(told(env))
        assert np.abs(position - goal).max() < 2e-4
        assert np.abs(off(rotation, turned, env)).max() < 2e-3
    env.advance(500)
    end = env.arm_state()[""]
    assert np.abs(end.position_m - goal).max() < 5e-4
    assert np.abs(off(end.rotation, turned, env)).max() < 5e-3
    # each step from where a lagging arm is gets less far
    least = STEPS * (0.2 if part.reference == "current" else 0.95)
    assert np.linalg.norm(end.position_m - start.position_m) > least * np.linalg.norm(SHIFT_M)
    assert angle_between(end.rotation, upright) > least * 0.01 * 0.9
    assert env.controller.out_of_reach == 0


def off(rotation, wanted, env):
    """Rotation vector from one to the other, without what the robot's layout leaves free: about the radial axis."""
    turn = matrix_to_axis_angle(wanted @ rotation.T)
    if env.mounted[0].free == "sideways":
        x, y, _ = env.arm_state()[""].position_m
        radial = np.array([x, y, 0.0]) / np.hypot(x, y)
        turn = turn - (turn @ radial) * radial
    return turn


@pytest.mark.parametrize("dialect", JOINTS)
def test_the_joints_follow_a_small_motion(robot, dialect):
    name, _ = robot
    env = make_env(name, action=dialect)
    env.reset(options={"init_state": 0})
    part = env.action_feature.layout.parts[0]
    bend = BEND_RAD * np.resize([1.0, -1.0], part.size)
    goal = env.arm_state()[""].joints
    for _ in range(STEPS):
        goal = (env.arm_state()[""].joints if part.reference == "current" else goal) + bend
        values = bend * env.control_hz if part.kind == "velocity" else goal if part.reference == "absolute" else bend
        carry_out(env, values)
        assert np.abs(told(env) - goal).max() < 1e-6
    env.advance(500)
    assert np.abs(env.arm_state()[""].joints - goal).max() < 1e-3


@pytest.mark.parametrize("openings", [(1.0, 0.75, 0.5, 0.25, 0.0), (0.2, 0.9)])
def test_the_gripper_opens_as_far_as_it_is_told(robot, openings):
    env = make_env(robot[0], action="joints")
    env.reset(options={"init_state": 0})
    joints = told(env)
    gripper = env.mounted[0].robot.gripper
    for opening in openings:
        for _ in range(30):
            env.step(np.append(joints, opening).astype(np.float32))
        assert env.arm_state()[""].opening == pytest.approx(opening, abs=0.02)
        assert env.simulation.arm.fingers_apart_m() == pytest.approx(gripper.apart_m(opening), abs=0.003)
