"""put_on_plate on every robot: start states in reach, predicates that mean what they say, an operator who succeeds."""

import dataclasses

import mujoco
import numpy as np
import pytest

from robolearn.core.clock import VirtualClock
from robolearn.core.errors import ConfigError
from robolearn.core.rotation import rot6d_to_matrix
from robolearn.kinematics.arm import ArmKinematics
from robolearn.kinematics.ik import SCENE
from robolearn.kinematics.mounted import MountedRobot
from robolearn.sim import make_env
from robolearn.sim.experts import expert_class
from robolearn.sim.experts.put_on_plate import grasp_rotation
from robolearn.sim.tasks.put_on_plate import SETUPS
from robolearn.teleop.operators import make_operator
from robolearn.teleop.session import TeleopSession
from robolearn.teleop.target import SimTarget


@pytest.fixture(scope="module", params=SETUPS)
def env(request, require_robot):
    require_robot(SETUPS[request.param].robot)
    return make_env(f"put_on_plate/{request.param}".rstrip("/"))


def test_grasp_carry_and_release_of_200_start_states_are_in_reach(env):
    arm, grip = ArmKinematics(env.mounted[0].robot), expert_class(env.name).grip
    low, high = arm.limits_rad.T
    for init_state in range(200):
        objects = env.reset(options={"init_state": init_state})[0]["observation.environment_state"].astype(float)
        bar, plate, rotation = objects[:3], objects[9:12], grasp_rotation(rot6d_to_matrix(objects[3:9]))
        taken = bar + grip.beside_m * rotation[:, 0]
        joints = env.arm_state()[""].joints
        for place, height in (
            (taken, bar[2] + grip.approach_m), (taken, grip.grasp_m), (bar, grip.carry_m),
            (plate, grip.carry_m), (plate, grip.release_m), (plate, grip.retreat_m),
        ):  # fmt: skip
            goal = np.array([*place[:2], height])
            assert (goal >= env.workspace_low_m).all() and (goal <= env.workspace_high_m).all(), (init_state, goal)
            found = arm.solve(joints, goal, rotation, SCENE)
            assert found.reached, (init_state, goal, found)
            joints = found.joints
            assert (joints >= low).all() and (joints <= high).all()


def test_the_scripted_operator_passes_every_partial_flag_and_succeeds(env):
    passed = set()

    def look(episode, measured, target):
        info = env.task_info()
        passed.update(flag for flag in ("grasped", "lifted", "on_plate") if info[flag])

    clock = VirtualClock()
    operator = make_operator("scripted", env.name, clock, env.control_hz)
    episode = TeleopSession(SimTarget(env), operator, clock, env.control_hz, on_tick=look).run_episode(0)
    assert episode.success and passed == {"grasped", "lifted", "on_plate"}
    assert env.task_info()["score"] == 1.0 and env.controller.out_of_reach == 0


def test_the_fingers_are_as_far_apart_as_is_said(env):
    """Where the task asks: when they hold something as wide as the bar, and when they have let go of it."""
    width, arm = 2 * env.task.setup.bar.half_m[1], env.simulation.arm
    closed, opened = (env.mounted[0].robot.gripper.apart_m(opening) for opening in (0.0, 1.0))
    for apart in (width, width + 0.02):
        env.reset(options={"init_state": 0})
        arm.set_opening((apart - closed) / (opened - closed))
        env.advance(1000)
        mujoco.mj_forward(env.model, env.data)
        assert gap_through_tcp(env) == pytest.approx(apart, abs=0.004)
        assert arm.fingers_apart_m() == pytest.approx(apart, abs=0.004)


def gap_through_tcp(env):
    """From the TCP along the line that the fingers open along, to what is there, both ways."""
    site, hit = env.data.site("tcp"), np.zeros(1, np.int32)
    along = site.xmat.reshape(3, 3)[:, 0]
    ways = (along, -along)
    return sum(mujoco.mj_ray(env.model, env.data, site.xpos, way, None, 1, -1, hit) for way in ways)


@pytest.mark.parametrize("opening", [0.0, 1.0])
def test_a_bar_at_closed_or_open_fingers_is_not_grasped(env, opening):
    env.reset(options={"init_state": 0})
    arm = env.simulation.arm
    arm.set_opening(opening)
    env.advance(500)
    env.simulation.body("bar").place(arm.tcp_position_in_world() + [0.0, 0.0, -0.001])
    env.simulation.forward()
    assert not env.task_info()["grasped"]


def test_a_joint_out_of_its_limits_at_a_start_state_is_an_error(env, monkeypatch):
    robot = env.mounted[0].robot
    bent = tuple(np.where(np.arange(len(robot.joints)) == 1, 9.0, robot.home))
    arm = env.simulation.arm
    monkeypatch.setattr(arm, "mounted", MountedRobot(dataclasses.replace(robot, home=bent)))
    with pytest.raises(ConfigError, match=f"Start state 3 of '{env.name}' has the joint '{robot.joints[1]}' .* limits"):
        env.reset(options={"init_state": 3})


def test_a_bar_on_the_plate_counts_once_the_fingers_have_let_go(env):
    env.reset(options={"init_state": 0})
    plate, setup = env.simulation.body("plate"), env.task.setup
    env.simulation.body("bar").place(plate.position_m + [0.0, 0.0, setup.plate.height_m + setup.bar.half_m[2]])
    outcomes = {}
    for opening in (0.0, expert_class(env.name).grip.opening):
        env.simulation.arm.set_opening(opening)
        env.advance(500)
        outcomes[opening > 0] = env.task_info()
    assert outcomes[False]["on_plate"] and not outcomes[False]["success"]
    assert outcomes[True]["success"] and outcomes[True]["score"] == 1.0
