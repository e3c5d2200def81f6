"""Push-T behind our interface, against the human demonstrations and the recipe that rebuilt them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("gym_pusht", reason="gym-pusht is not installed")

from robolearn.core.errors import ConfigError, FeatureError
from robolearn.sim import make_env
from robolearn.sim.adapters.pusht import PushT, start_pose

REPO = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("ROBOLEARN_SHARED_DATA", REPO.parent / "shared" / "data"))


@pytest.fixture(scope="module")
def human() -> dict[str, np.ndarray]:
    path = SHARED / "pusht.zarr"
    if not path.is_dir():
        pytest.skip(f"{path} is not here")
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(str(path), mode="r")
    arrays = {name: np.asarray(group["data"][name][:]) for name in ("state", "action", "keypoint", "coverage")}
    return arrays | {"ends": np.asarray(group["meta"]["episode_ends"][:])}


@pytest.fixture
def env() -> PushT:
    return make_env("pusht")


def run(env: PushT, init_state: int, actions: np.ndarray) -> np.ndarray:
    env.reset(options={"init_state": init_state})
    trajectory = []
    for action in actions:
        env.step(action)
        trajectory.append(env.sim_state())
    return np.array(trajectory)


def some_actions(length: int = 40) -> np.ndarray:
    return np.random.default_rng(0).uniform(100, 400, (length, 2)).astype(np.float32)


@pytest.mark.parametrize("episode", [0, 3, 50, 205])
def test_recorded_actions_reproduce_the_human_episode(env, human, episode):
    start = 0 if episode == 0 else human["ends"][episode - 1]
    observation, _ = env.reset(options={"init_state": episode})
    for t in range(start, human["ends"][episode]):
        np.testing.assert_allclose(observation["observation.state"], human["state"][t, :2], atol=1e-4)
        np.testing.assert_allclose(
            observation["observation.environment_state"].reshape(8, 2), human["keypoint"][t], atol=1e-3
        )
        observation, _, _, _, info = env.step(human["action"][t])
        assert info["coverage"] == pytest.approx(human["coverage"][t], abs=1e-6)


def test_keypoints_are_the_corners_of_the_posed_block(env, human):
    for t in (0, 1234, 25_000):
        agent, block = human["state"][t, :2], human["state"][t, 2:]
        observation = env.set_sim_state(np.array([*agent, 0, 0, *block, 0, 0, 0]))
        np.testing.assert_allclose(
            observation["observation.environment_state"].reshape(8, 2), human["keypoint"][t], atol=1e-3
        )


def test_first_keypoint_follows_from_the_pose_by_hand(env):
    # gym-pusht's first listed vertex of a bar is a corner of the 120 x 30 bar; at angle 0 all corners are offsets
    observation = env.set_sim_state(np.array([50.0, 60, 0, 0, 200, 300, 0, 0, 0, 0]))
    corners = observation["observation.environment_state"].reshape(8, 2) - [200, 300]
    bar, stem = sorted(map(tuple, corners[:4])), sorted(map(tuple, corners[4:]))
    assert bar == [(-60, 0), (-60, 30), (60, 0), (60, 30)]
    assert stem == [(-15, 30), (-15, 120), (15, 30), (15, 120)]


def test_start_states_are_the_legacy_draws():
    rng = np.random.RandomState(100_000)
    expected = [rng.randint(50, 450), rng.randint(50, 450), rng.randint(100, 400), rng.randint(100, 400)]
    pose = start_pose(100_000)
    assert pose[:4].tolist() == expected
    assert pose[4] == rng.randn() * 2 * np.pi - np.pi


def test_a_block_on_the_goal_is_a_success(env):
    env.set_sim_state(np.array([50.0, 60, 0, 0, 256, 256, np.pi / 4, 0, 0, 0]))
    info = env.task_info()
    assert info["success"]
    assert info["score"] == 1.0
    assert info["coverage"] == pytest.approx(1.0)


def test_success_ends_the_episode(env):
    env.set_sim_state(np.array([50.0, 60, 0, 0, 256, 256, np.pi / 4, 0, 0, 0]))
    _, reward, terminated, truncated, info = env.step(np.array([50.0, 60.0]))
    assert terminated
    assert not truncated
    assert reward == info["score"] == 1.0


def test_an_episode_does_not_depend_on_earlier_ones(env):
    actions = some_actions()
    first = run(env, 3, actions)
    run(env, 5, actions[::-1])
    np.testing.assert_array_equal(run(env, 3, actions), first)


def test_two_processes_agree(env):
    code = (
        "import json, numpy as np; from robolearn.sim import make_env\n"
        "env = make_env('pusht'); env.reset(options={'init_state': 100003})\n"
        "actions = np.random.default_rng(0).uniform(100, 400, (40, 2)).astype(np.float32)\n"
        "for a in actions: env.step(a)\n"
        "print(json.dumps(env.sim_state().tolist()))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPO, timeout=60)
    assert json.loads(out.stdout) == run(env, 100_003, some_actions())[-1].tolist()


def test_a_restored_state_goes_on_as_the_original_away_from_contact(env):
    env.reset(options={"init_state": 1})
    env.step(env.sim_state()[:2] + np.array([5.0, 0.0]))
    state = env.sim_state()
    target = state[:2] + np.array([3.0, 1.0])
    env.step(target)
    expected = env.sim_state()
    env.set_sim_state(state)
    np.testing.assert_array_equal(env.sim_state(), state)
    env.step(target)
    np.testing.assert_allclose(env.sim_state(), expected, atol=1e-9)


def test_truncation_after_max_steps():
    env = make_env("pusht/keypoints", max_steps=2)
    env.reset(options={"init_state": 0})
    hold = np.array([30.0, 30.0])
    assert [env.step(hold)[3] for _ in range(2)] == [False, True]


def test_the_top_camera_is_upright_rgb():
    env = make_env("pusht", cameras=("top",), image_size=96)
    env.reset(options={"init_state": 0})
    observation = env.set_sim_state(np.array([480.0, 30, 0, 0, 256, 400, 0, 0, 0, 0]))
    image = observation["observation.images.top"]
    assert image.shape == (96, 96, 3)
    assert image.dtype == np.uint8
    # the agent is blue and stands at the right, near the top; the opposite corner is empty
    red, green, blue = image[6, 90].astype(int)
    assert blue > red + 100
    assert blue > green + 50
    assert image[80, 6].tolist() == [255, 255, 255]


def test_wide_pictures_keep_the_world_square():
    env = make_env("pusht")
    env.reset(options={"init_state": 0})
    wide, square = env.render_camera("top", 320, 240), env.render_camera("top", 240, 240)
    assert wide.shape == (240, 320, 3)
    np.testing.assert_array_equal(wide[:, 40:280], square)


def test_observations_match_the_declared_features():
    env = make_env("pusht", cameras=("top",), image_size=32)
    observation, _ = env.reset(options={"init_state": 2})
    assert set(observation) == set(env.observation_features)
    for name, feature in env.observation_features.items():
        assert observation[name].shape == feature.shape
        assert observation[name].dtype == feature.dtype


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: make_env("pusht/keypoint"), "Did you mean 'keypoints'?"),
        (lambda: make_env("pusht", cameras=("front",)), "Known: top"),
        (lambda: make_env("pusht").set_sim_state(np.zeros(4)), "another environment"),
        (lambda: make_env("pusht").reset(options={"init_state": -1}), "at least 0"),
    ],
)
def test_mistakes_are_explained(call, words):
    with pytest.raises(ConfigError, match=words.replace("?", r"\?")):
        call()


def test_a_nan_action_is_refused(env):
    env.reset()
    with pytest.raises(FeatureError, match="non-finite"):
        env.step(np.array([np.nan, 1.0]))
