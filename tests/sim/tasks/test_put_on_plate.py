import subprocess
import sys

import numpy as np
import pytest

from robolearn.core.errors import ConfigError, FeatureError
from robolearn.core.rotation import angle_between, axis_angle_to_matrix, rot6d_to_matrix, slerp
from robolearn.sim import make_env
from robolearn.sim.engine.environment import MujocoEnv
from robolearn.sim.experts import EXPERTS
from robolearn.sim.tasks.put_on_plate import SETUPS

SETUP = SETUPS[""]
EXPERT_SPEED_M, EXPERT_TURN_RAD = 0.0125, 0.06  # per control step


@pytest.fixture(scope="module")
def env():
    return make_env("put_on_plate")


def follow_expert(env: MujocoEnv, init_state: int, steps: int = 250) -> tuple[list[np.ndarray], dict]:
    """Actions of an expert followed at a constant speed, and the last info."""
    expert = EXPERTS.resolve("put_on_plate")()
    observation, info = env.reset(options={"init_state": init_state})
    arm = env.simulation.arm
    position, rotation = arm.tcp_pose()
    actions, held, passed = [], 0, set()
    for _ in range(steps):
        waypoint = expert.waypoint(observation)
        if waypoint is None:
            break
        gap = waypoint.position_m - position
        position = position + gap * min(1.0, EXPERT_SPEED_M / max(np.linalg.norm(gap), 1e-9))
        angle = angle_between(rotation, waypoint.rotation)
        rotation = slerp(rotation, waypoint.rotation, min(1.0, EXPERT_TURN_RAD / max(angle, 1e-9)))
        near = np.linalg.norm(arm.tcp_pose()[0] - waypoint.position_m) < waypoint.tolerance_m and angle < 0.1
        held = held + 1 if near else 0
        if near and held >= waypoint.hold_s * env.control_hz:
            expert.reached()
            held = 0
        action = np.concatenate([position, rotation[0], rotation[1], [waypoint.gripper]]).astype(np.float32)
        actions.append(action)
        observation, _, terminated, _, info = env.step(action)
        passed |= {flag for flag in ("grasped", "lifted", "on_plate") if info[flag]}
        if terminated:
            break
    return actions, {**info, "passed": passed}


@pytest.mark.parametrize("init_state", [0, 7, 23])
def test_the_expert_solves_the_task_and_passes_every_partial_flag(env, init_state):
    _, info = follow_expert(env, init_state)
    assert info["success"] and info["score"] == 1.0
    assert info["passed"] == {"grasped", "lifted", "on_plate"}


def test_doing_nothing_is_no_success(env):
    observation, info = env.reset(options={"init_state": 3})
    assert not info["success"]
    for _ in range(20):
        _, reward, terminated, truncated, info = env.step(observation["observation.state"])
    assert not info["success"] and not terminated and not truncated and reward == 0.0


def test_an_episode_does_not_depend_on_what_ran_before(env):
    actions, _ = follow_expert(env, 5, steps=60)
    states = []
    for disturbance in (2, 11):
        env.reset(options={"init_state": disturbance})
        for action in actions[:disturbance]:
            env.step(action)
        env.reset(options={"init_state": 5})
        for action in actions:
            env.step(action)
        states.append(env.sim_state())
    assert np.array_equal(states[0], states[1])


def test_start_states_lie_in_the_declared_area_and_differ(env):
    seen = []
    for k in range(50):
        objects = env.reset(options={"init_state": k})[0]["observation.environment_state"]
        bar, plate = objects[:2], objects[9:11]
        for xy in (bar, plate):
            assert (xy >= np.array(SETUP.area_low_m) - 1e-6).all() and (xy <= np.array(SETUP.area_high_m) + 1e-6).all()
        assert np.linalg.norm(bar - plate) >= SETUP.min_distance_m - 1e-6
        seen.append(objects)
    assert len(np.unique(np.array(seen).round(6), axis=0)) == 50


def test_a_restored_state_goes_on_bit_for_bit(env):
    actions, _ = follow_expert(env, 1, steps=80)
    env.reset(options={"init_state": 1})
    for action in actions[:40]:
        env.step(action)
    middle = env.sim_state()
    for action in actions[40:]:
        env.step(action)
    end = env.sim_state()
    env.reset(options={"init_state": 9})
    env.set_sim_state(middle)
    for action in actions[40:]:
        env.step(action)
    assert np.array_equal(env.sim_state(), end)


def test_the_tool_reaches_a_commanded_pose(env):
    observation, _ = env.reset(options={"init_state": 0})
    turn = axis_angle_to_matrix(np.array([0.0, 0.0, 0.4]))
    rotation = turn @ rot6d_to_matrix(observation["observation.state"][3:9])
    action = np.concatenate([[0.45, 0.15, 0.2], rotation[0], rotation[1], [0.5]]).astype(np.float32)
    for _ in range(40):
        observation, *_ = env.step(action)
    reached = observation["observation.state"]
    assert np.linalg.norm(reached[:3] - action[:3]) < 0.002
    assert angle_between(rot6d_to_matrix(reached[3:9]), rotation) < 0.01
    assert abs(reached[9] - 0.5) < 0.05


def test_targets_outside_the_workspace_are_held_at_its_border(env):
    observation, _ = env.reset(options={"init_state": 0})
    action = observation["observation.state"].copy()
    action[:3] = 2.0, 0.0, -1.0
    for _ in range(60):
        observation, *_ = env.step(action)
    position = observation["observation.state"][:3]
    assert position[2] > -0.005 and position[0] < env.workspace_high_m[0] + 0.01


def test_a_nan_action_is_refused_by_name(env):
    observation, _ = env.reset(options={"init_state": 0})
    action = observation["observation.state"].copy()
    action[1] = np.nan
    with pytest.raises(FeatureError, match="'action' holds a non-finite value .* at y"):
        env.step(action)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (np.zeros(7, np.float32), r"shape \(7,\), expected \(10,\)"),
        (np.zeros(10, complex), "dtype complex128, expected float32"),
        (["0.1"] * 10, "expected float32"),
        ([[0.1], [0.1, 0.2]], r"ragged, expected shape \(10,\)"),
    ],
)
def test_an_action_of_a_wrong_shape_or_type_is_refused(env, action, message):
    env.reset(options={"init_state": 0})
    with pytest.raises(FeatureError, match=message):
        env.step(action)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cameras": ("frnt",)}, "Did you mean 'front'"),
        ({"control_hz": 33.0}, "does not divide the physics rate"),
        ({"control_hz": 0.0}, "does not divide the physics rate"),
        ({"control_hz": float("nan")}, "does not divide the physics rate"),
        ({"control_hz": 1e9}, "does not divide the physics rate"),
    ],
)
def test_wrong_options_are_explained(options, message):
    with pytest.raises(ConfigError, match=message):
        make_env("put_on_plate", **options)


def test_cameras_show_the_scene_and_move_with_the_wrist():
    env = make_env("put_on_plate", cameras=("front", "wrist"), image_size=96)
    first, _ = env.reset(options={"init_state": 0})
    assert first["observation.images.front"].shape == (96, 96, 3)
    orange = np.array([0.93, 0.45, 0.13]) * 255
    distance = np.abs(first["observation.images.front"].astype(float) - orange).sum(axis=-1)
    assert (distance < 120).any(), "the bar must be visible from the front"
    action = first["observation.state"].copy()
    action[0] -= 0.08
    for _ in range(20):
        later, *_ = env.step(action)
    change = np.abs(later["observation.images.wrist"].astype(int) - first["observation.images.wrist"])
    assert change.mean() > 2.0
    # the wrist camera is where the wrist is now: a restored state shows the very same picture
    again = env.set_sim_state(env.sim_state())
    assert np.array_equal(again["observation.images.wrist"], later["observation.images.wrist"])
    env.close()


def test_pictures_may_be_larger_than_the_usual_buffer():
    env = make_env("put_on_plate")
    env.reset(options={"init_state": 0})
    assert env.render_camera("front", 1300, 970).shape == (970, 1300, 3)
    env.close()


def test_state_only_use_loads_no_gl():
    code = (
        "import sys; from robolearn.sim import make_env; e = make_env('put_on_plate'); e.reset(); "
        "e.step(e.observe()['observation.state']); "
        "assert not [m for m in sys.modules if m.startswith('OpenGL') or m == 'mujoco.osmesa']"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"PATH": "", "MUJOCO_GL": ""}
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("turn", [0.0, 0.3, 1.2])
def test_a_bar_dropped_on_the_plate_comes_to_rest_flat(env, turn):
    env.reset(options={"init_state": 0})
    address, dof = env.model.joint("bar").qposadr[0], env.model.joint("bar").dofadr[0]
    plate = env.data.mocap_pos[0]
    env.data.qpos[address : address + 7] = [*(plate + [0.01, -0.02, 0.05]), np.cos(turn / 2), 0, 0, np.sin(turn / 2)]
    env.advance(500)
    objects = env.observe()["observation.environment_state"]
    resting_m = SETUP.plate.height_m + SETUP.bar.half_m[2]
    assert objects[2] == pytest.approx(resting_m, abs=1e-3)
    assert objects[:2] == pytest.approx(plate[:2] + [0.01, -0.02], abs=2e-3)
    assert np.abs(env.data.qvel[dof : dof + 6]).max() < 1e-3
    assert env.task_info()["on_plate"] and env.task_info()["success"], "the gripper is open and far away"


def test_positions_seen_from_the_tool_are_differences(env):
    observation, _ = env.reset(options={"init_state": 4})
    tcp, objects = observation["observation.state"][:3], observation["observation.environment_state"]
    assert objects[12:15] == pytest.approx(objects[:3] - tcp, abs=1e-6)
    assert objects[15:18] == pytest.approx(objects[9:12] - tcp, abs=1e-6)
