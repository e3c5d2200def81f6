"""robosuite behind our interface: determinism, absolute pose control, states in and out, clear mistakes."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

if importlib.util.find_spec("robosuite") is None:
    pytest.skip("robosuite is not installed", allow_module_level=True)

from robolearn.core.errors import ConfigError, FeatureError, MissingDependencyError
from robolearn.core.rotation import angle_between, axis_angle_to_matrix, matrix_to_rot6d, rot6d_to_matrix
from robolearn.sim import make_env
from robolearn.sim.adapters.robosuite import RobosuiteEnv
from robolearn.sim.adapters.robosuite_import import check_mujoco
from robolearn.sim.rendering import choose_backend

pytestmark = pytest.mark.slow

REPO = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def lift() -> Iterator[RobosuiteEnv]:
    env = make_env("robosuite/Lift")
    yield env
    env.close()


def wander(env: RobosuiteEnv, init_state: int, steps: int = 15) -> np.ndarray:
    """(steps + 1, S) states of an episode with seeded small moves and a closing gripper."""
    rng = np.random.default_rng(0)
    observation, _ = env.reset(options={"init_state": init_state})
    action, states = observation["observation.state"].copy(), [env.sim_state()]
    for step in range(steps):
        action[:3] += rng.uniform(-0.02, 0.02, 3).astype(np.float32)
        action[9] = float(step < steps // 2)
        env.step(action)
        states.append(env.sim_state())
    return np.array(states)


def test_an_episode_does_not_depend_on_earlier_ones(lift):
    first = wander(lift, 3)
    other = wander(lift, 5)
    assert not np.array_equal(first, other)
    np.testing.assert_array_equal(wander(lift, 3), first)


def test_two_processes_agree(lift):
    code = (
        "import json, importlib.util, sys\n"
        f"spec = importlib.util.spec_from_file_location('shared', {str(Path(__file__))!r})\n"
        "shared = importlib.util.module_from_spec(spec); spec.loader.exec_module(shared)\n"
        "print(json.dumps(shared.wander(shared.make_env('robosuite/Lift'), 7, 5)[-1].tolist()))"
    )
    environment = os.environ | {"PYTHONPATH": str(REPO)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=REPO, env=environment, timeout=120, check=True
    )
    assert json.loads(done.stdout) == wander(lift, 7, 5)[-1].tolist()
    assert "robosuite" not in done.stderr, "robosuite's own warnings must not reach the terminal"


def test_importing_robosuite_leaves_the_gl_choice_alone():
    code = "import os; from robolearn.sim.adapters.robosuite_import import import_robosuite as i; i()\n"
    environment = {k: v for k, v in os.environ.items() if k != "MUJOCO_GL"} | {"PYTHONPATH": str(REPO)}
    done = subprocess.run(
        [sys.executable, "-c", code + "print(os.environ.get('MUJOCO_GL'))"],
        capture_output=True, text=True, cwd=REPO, env=environment, timeout=120, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "None"
    assert done.stderr == ""


def test_the_tcp_goes_to_an_absolute_target_in_the_base_frame(lift):
    observation, _ = lift.reset(options={"init_state": 0})
    start = observation["observation.state"].astype(np.float64)
    turn = axis_angle_to_matrix(np.array([0.0, 0.0, 0.3]))
    rotation = turn @ rot6d_to_matrix(start[3:9])
    target = np.concatenate([start[:3] + [0.05, -0.06, 0.04], matrix_to_rot6d(rotation), [1.0]])
    for _ in range(40):
        observation, *_ = lift.step(target)
    reached = observation["observation.state"].astype(np.float64)
    np.testing.assert_allclose(reached[:3], target[:3], atol=2e-3)
    assert angle_between(rot6d_to_matrix(reached[3:9]), rotation) < 0.02


def test_the_gripper_opens_at_one_and_closes_at_zero(lift):
    observation, _ = lift.reset(options={"init_state": 0})
    hold = observation["observation.state"].copy()
    openings = []
    for opening in (1.0, 0.0):
        hold[9] = opening
        for _ in range(25):
            observation, *_ = lift.step(hold)
        openings.append(observation["observation.state"][9])
    assert openings[0] > 0.95
    assert openings[1] < 0.1


def test_a_cube_that_is_lifted_is_a_success(lift):
    lift.reset(options={"init_state": 0})
    state = lift.sim_state()
    cube_z = 1 + 9 + 2  # time, 7 joints, 2 fingers, then the cube's x, y, z
    assert not lift.task_info()["success"]
    state[cube_z] += 0.1
    lift.set_sim_state(state)
    assert lift.task_info() == {"success": True, "mode": None, "score": 1.0}
    _, reward, terminated, _, _ = lift.step(lift._observe()["observation.state"])
    assert terminated
    assert reward == 1.0


def test_a_state_survives_the_round_trip(lift):
    states = wander(lift, 2)
    lift.reset(options={"init_state": 2})
    lift.set_sim_state(states[9])
    np.testing.assert_array_equal(lift.sim_state(), states[9])


def test_the_observation_is_a_function_of_the_state(lift):
    lift.reset(options={"init_state": 2})
    action = lift._observe()["observation.state"] + np.float32(0.01)
    for _ in range(5):
        observation, *_ = lift.step(action)
    restored = lift.set_sim_state(lift.sim_state())
    for name, value in observation.items():
        np.testing.assert_allclose(restored[name], value, atol=1e-6, err_msg=name)


def test_start_states_differ_in_shape_and_place_of_the_cube(lift):
    rows = []
    for k in range(3):
        lift.reset(options={"init_state": k})
        model = lift._suite.sim.model
        rows.append([*model.geom_size[model.geom_name2id("cube_g0")], *lift.sim_state()[10:12]])
    assert len({tuple(row) for row in rows}) == 3


def test_object_shapes_can_be_given(lift):
    geoms = {"cube_g0": {"size": "0.03 0.02 0.01"}}
    lift.reset(options={"init_state": 0, "geoms": geoms})
    model = lift._suite.sim.model
    assert model.geom_size[model.geom_name2id("cube_g0")].tolist() == [0.03, 0.02, 0.01]
    lift.reset(options={"init_state": 0})
    model = lift._suite.sim.model
    assert model.geom_size[model.geom_name2id("cube_g0")][0] < 0.023, "the next episode has its own shapes"


def test_observations_match_the_declared_features(lift):
    observation, _ = lift.reset(options={"init_state": 1})
    assert set(observation) == set(lift.observation_features)
    for name, feature in lift.observation_features.items():
        assert observation[name].shape == feature.shape
        assert observation[name].dtype == feature.dtype
    assert lift.action_feature.names == ("x", "y", "z", *(f"rot6d_{i}" for i in range(6)), "gripper")


@pytest.mark.parametrize(
    ("task", "action_size"),
    [("Stack", 10), ("NutAssemblySquare", 10), ("Door", 10), ("Wipe", 9), ("TwoArmHandover", 20)],
)
def test_other_tasks_run(task, action_size):
    env = make_env(f"robosuite/{task}")
    observation, info = env.reset(options={"init_state": 0})
    assert env.action_feature.shape == observation["observation.state"].shape == (action_size,)
    hold = observation["observation.state"].copy()
    for _ in range(3):
        observation, *_ = env.step(hold)
    np.testing.assert_allclose(observation["observation.state"][:9], hold[:9], atol=0.01)
    assert info["success"] is False
    env.close()


def test_cameras_are_upright_rgb():
    if choose_backend().backend is None:
        pytest.skip("nothing here can render")
    env = make_env("robosuite/Lift", cameras=("frontview",), image_size=64)
    env.reset(options={"init_state": 0})
    state = env.sim_state()
    image = env.set_sim_state(state)["observation.images.frontview"].astype(int)
    reddest = np.argmax(image[..., 0] - image[..., 1:].max(axis=-1))
    state[12] += 0.15
    raised = env.set_sim_state(state)["observation.images.frontview"].astype(int)
    redder = np.argmax(raised[..., 0] - raised[..., 1:].max(axis=-1))
    env.close()
    assert image.shape == (64, 64, 3)
    assert redder // 64 < reddest // 64, "a raised red cube is seen higher up"


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda _: make_env("robosuite"), "Name the robosuite task"),
        (lambda _: make_env("robosuite/lift"), "Did you mean 'Lift'"),
        (lambda _: make_env("robosuite/Lift", cameras=("agentviw",)), "Did you mean 'agentview'"),
        (lambda env: env.set_sim_state(np.zeros(5)), "another task or robot"),
        (lambda env: env.reset(options={"geoms": {"cube_g1": {"size": "1 1 1"}}}), "Did you mean 'cube_g0'"),
    ],
)
def test_mistakes_are_explained(lift, call, words):
    with pytest.raises(ConfigError, match=words):
        call(lift)


def test_a_wrong_action_is_refused(lift):
    lift.reset(options={"init_state": 0})
    with pytest.raises(FeatureError, match=r"shape \(7,\), expected \(10,\)"):
        lift.step(np.zeros(7))
    with pytest.raises(FeatureError, match="non-finite"):
        lift.step(np.full(10, np.nan))


@pytest.mark.parametrize("version", ["3.10.0", "3.15.1", "4.0.0", "3.2.7"])
def test_a_mujoco_that_robosuite_cannot_run_on_is_named_with_the_way_out(version):
    with pytest.raises(MissingDependencyError, match=rf"mujoco {version} .* 3\.3 to 3\.9.*pip install"):
        check_mujoco(version)


@pytest.mark.parametrize("version", ["3.3.0", "3.8.1", "3.9.0"])
def test_a_fitting_mujoco_passes(version):
    check_mujoco(version)
