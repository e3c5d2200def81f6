"""The avoiding scene and its expert: 24 ways, no contact forgiven, the same numbers again."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from robolearn.core.errors import ConfigError, FeatureError, MissingDependencyError
from robolearn.sim import make_env
from robolearn.sim.engine.environment import MujocoEnv
from robolearn.sim.experts.avoiding import AvoidingExpert, corners, plan
from robolearn.sim.tasks.avoiding import MODES
from robolearn.sim.worlds.posts import (
    AREA_HIGH_M,
    AREA_LOW_M,
    GOAL_Y_M,
    MAX_STEP_M,
    POST_RADIUS_M,
    ROD_RADIUS_M,
    ROWS_M,
)

POSTS_M = np.array([(x, y) for y, posts in ROWS_M for x in posts])
STATE = "observation.state"


@pytest.fixture
def env() -> MujocoEnv:
    return make_env("avoiding")


def steer(env: MujocoEnv, *points: tuple[float, float]) -> dict:
    """Move the command in straight lines from the start to each of `points` and rest there; the last info."""
    observation, info = env.reset()
    for point in points:
        for _ in range(60):
            change = np.clip(point - observation[STATE][:2], -0.008, 0.008)
            observation, _, terminated, _, info = env.step(change)
            if terminated:
                return info
    return info


def demonstrate(env: MujocoEnv, init_state: int) -> tuple[np.ndarray, dict]:
    """(T, 4) observations of the expert's episode, and the last info."""
    expert = AvoidingExpert()
    observation, info = env.reset(options={"init_state": init_state})
    expert.start_episode(init_state)
    seen, ended = [observation[STATE]], False
    while not ended:
        observation, _, ended, truncated, info = env.step(expert.action(observation))
        assert not truncated
        seen.append(observation[STATE])
    return np.array(seen), info


def test_the_expert_shows_every_mode_and_succeeds(env):
    modes = []
    for init_state in range(len(MODES)):
        seen, info = demonstrate(env, init_state)
        assert info["success"] and info["score"] == 1.0
        clearance = np.linalg.norm(seen[:, None, 2:] - POSTS_M, axis=2).min() - POST_RADIUS_M - ROD_RADIUS_M
        assert clearance > 0.01
        modes.append(info["mode"])
    assert modes == list(MODES)
    assert len(set(MODES)) == env.modes == 2 * 3 * 4


def test_demonstrations_of_one_mode_differ_and_each_can_be_made_again():
    first, again, other = plan(3), plan(3), plan(3 + len(MODES))
    assert np.array_equal(first, again)
    length = min(len(first), len(other))
    assert np.abs(first[:length] - other[:length]).max() > 0.003


def test_plans_start_from_rest_and_move_smoothly():
    for init_state in range(0, 240, 7):
        steps = np.diff(np.concatenate([[[0.0, 0.0]], plan(init_state)]), axis=0)
        assert np.linalg.norm(steps[0]) < 0.001
        assert np.abs(steps).max() < MAX_STEP_M
        assert np.linalg.norm(np.diff(steps, axis=0), axis=1).max() < 0.003


def test_ways_run_straight_ahead_between_the_posts_of_a_row():
    way = corners("1-0-3", np.random.default_rng(0))
    assert way[0].tolist() == [0.0, 0.0]
    for row, (row_y, middle) in enumerate([(0.12, 0.075), (0.32, -0.15), (0.52, 0.225)]):
        before, behind = way[1 + 2 * row : 3 + 2 * row]
        assert before[0] == behind[0] == pytest.approx(middle, abs=0.01)
        assert 0.04 <= row_y - before[1] <= 0.055 and 0.04 <= behind[1] - row_y <= 0.055
    assert way[-1][1] > GOAL_Y_M


@pytest.mark.parametrize(
    ("points", "mode"),
    [
        ([(-0.07, 0.12), (0.0, 0.32), (0.225, 0.42), (0.225, 0.66)], "0-1-3"),
        ([(0.07, 0.12), (0.15, 0.22), (0.15, 0.32), (0.075, 0.42), (0.075, 0.66)], "1-2-2"),
        # back over a row and through another passage: what counts is where it went at last
        (
            [
                (0.07, 0.12),
                (0.0, 0.22),
                (0.0, 0.36),
                (0.0, 0.22),
                (0.15, 0.22),
                (0.15, 0.42),
                (0.225, 0.44),
                (0.225, 0.66),
            ],
            "1-2-3",
        ),
    ],
)
def test_the_mode_is_the_passage_taken_in_each_row(env, points, mode):
    info = steer(env, *points)
    assert info["success"] and info["mode"] == mode


def test_a_touch_ends_the_episode_as_a_failure(env):
    info = steer(env, (0.0, 0.12))  # straight into the first post
    assert info["contact"] and not info["success"] and info["mode"] is None
    y = env.data.qpos[1]
    assert y == pytest.approx(ROWS_M[0][0] - POST_RADIUS_M - ROD_RADIUS_M, abs=0.002)
    for _ in range(20):  # and it stays one when the rod has moved away
        _, _, terminated, _, info = env.step(np.array([0.0, -0.01]))
        assert terminated and info["contact"] and not info["success"]
    assert env.data.ncon == 0


def test_rows_passed_are_partial_credit(env):
    env.reset()
    info = steer(env, (0.07, 0.12), (0.07, 0.2))
    assert (info["score"], info["mode"], info["success"]) == (0.25, None, False)


def test_the_rod_lags_a_moving_command_by_a_tenth_of_a_second(env):
    # critically damped at w = 20 rad/s: x'' = w^2 (u - x) - 2 w x' follows a ramp of speed v at a distance of 2 v / w;
    # a staircase of period T is that ramp half a period late
    observation, _ = env.reset()
    for _ in range(40):
        observation, *_ = env.step(np.array([0.005, 0.0]))
    command, x = observation[STATE][0], observation[STATE][2]
    assert command - x == pytest.approx((2 / 20 - 0.035 / 2) * 0.005 / 0.035, rel=0.05)


def test_commands_stay_in_the_area_and_long_actions_are_shortened(env):
    observation, _ = env.reset()
    observation, *_ = env.step(np.array([1.0, -1.0]))
    np.testing.assert_allclose(observation[STATE][:2], [MAX_STEP_M, -MAX_STEP_M], atol=1e-6)
    for _ in range(60):
        observation, *_ = env.step(np.array([1.0, -1.0]))
    np.testing.assert_allclose(observation[STATE][:2], [AREA_HIGH_M[0], AREA_LOW_M[1]], atol=1e-6)


def test_a_state_taken_out_and_put_back_goes_on_the_same(env):
    env.reset()
    for _ in range(20):
        env.step(np.array([0.004, 0.006]))
    state, steps = env.sim_state(), env._steps
    onward = [env.step(np.array([-0.002, 0.008])) for _ in range(30)]
    other = make_env("avoiding")
    observation = other.set_sim_state(state)
    assert other._steps == steps
    assert observation[STATE].shape == (4,)
    for expected in onward:
        found = other.step(np.array([-0.002, 0.008]))
        assert np.array_equal(found[0][STATE], expected[0][STATE])
        assert found[4] == expected[4]


def test_the_episode_is_cut_off_after_250_steps(env):
    env.reset()
    for step in range(1, 251):
        *_, terminated, truncated, info = env.step(np.zeros(2))
        assert not terminated and truncated == (step == 250)
    assert not info["success"]


def test_every_start_state_is_the_same(env):
    first, _ = env.reset(options={"init_state": 0})
    second, info = env.reset(options={"init_state": 479})
    assert np.array_equal(first[STATE], second[STATE]) and info["init_state"] == 479


def test_bad_input_is_refused(env):
    env.reset()
    with pytest.raises(FeatureError, match=r"shape \(3,\), expected \(2,\)"):
        env.step(np.zeros(3))
    with pytest.raises(ConfigError, match="found shape"):
        env.set_sim_state(np.zeros(3))
    with pytest.raises(ConfigError, match="Unknown camera .* 'side'"):
        make_env("avoiding", cameras=("side",))


def test_the_model_compiles_from_its_text(env):
    model = mujoco.MjModel.from_xml_string(env.model_xml())
    assert (model.nq, model.nu, model.nuserdata) == (2, 2, 1 + len(ROWS_M))


def test_the_picture_shows_the_rod_where_it_is():
    env = make_env("avoiding", cameras=("top",), image_size=64)
    try:
        observation, _ = env.reset()
    except MissingDependencyError as error:
        pytest.skip(str(error))
    before = observation["observation.images.top"].astype(int)
    for _ in range(20):
        observation, *_ = env.step(np.array([-0.01, 0.0]))
    after = observation["observation.images.top"].astype(int)
    blue = [np.argwhere(picture[..., 2] - picture[..., 0] > 40).mean(axis=0) for picture in (before, after)]
    assert before.shape == (64, 64, 3)
    assert abs(blue[1][0] - blue[0][0]) < 1 and blue[1][1] < blue[0][1] - 3  # it went left
    assert blue[0][0] > 40  # and starts at the bottom
    env.close()
