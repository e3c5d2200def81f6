import mujoco
import numpy as np
import pytest

from robolearn.core.errors import ConfigError, FeatureError
from robolearn.sim import make_env
from robolearn.sim.experts.block_push import BlockPushExpert
from robolearn.sim.tasks import block_push as scene
from robolearn.sim.worlds import pushing_plane as world

CUBES = "observation.environment_state"


@pytest.fixture(scope="module")
def env():
    return make_env("block_push")


def place(env, cubes_m: np.ndarray, yaw_rad: float = 0.0) -> dict[str, np.ndarray]:
    """Put the cubes somewhere and let one step pass that moves nothing."""
    env.data.qpos[:8].reshape(2, 4)[:, :2] = cubes_m
    env.data.qpos[[3, 7]] = yaw_rad
    mujoco.mj_forward(env.model, env.data)
    observation, *_ = env.step(np.zeros(2, np.float32))
    return observation


def goal(*cubes_m: np.ndarray) -> dict[str, np.ndarray]:
    return {CUBES: np.concatenate(cubes_m)[None].astype(np.float32)}


def play(env, init_state: int, options: dict | None = None) -> tuple[list[np.ndarray], dict[str, np.ndarray], dict]:
    """Actions of the expert, the last observation before the end, and the last info."""
    expert = BlockPushExpert()
    observation, info = env.reset(options={"init_state": init_state, **(options or {})})
    expert.start_episode(init_state)
    actions, ended, seen = [], False, observation
    while not ended and (action := expert.action(observation)) is not None:
        actions.append(action)
        seen = observation
        observation, _, terminated, truncated, info = env.step(action)
        ended = terminated or truncated
    return actions, seen, info


def test_start_states_keep_the_declared_places_and_differ(env):
    starts = np.array([env.reset(options={"init_state": k})[0][CUBES] for k in range(100)]).reshape(-1, 2, 2)
    assert (starts >= scene.CUBES_LOW_M - 1e-6).all() and (starts <= scene.CUBES_HIGH_M + 1e-6).all()
    assert (np.abs(starts[:, 0, 0] - starts[:, 1, 0]) > scene.MIN_LATERAL_GAP_M - 1e-6).all()
    assert len(np.unique(starts.reshape(100, 4), axis=0)) == 100


def test_no_start_state_is_a_success_or_touches_the_effector(env):
    for k in range(50):
        observation, info = env.reset(options={"init_state": k})
        assert info["score"] == 0.0 and info["mode"] is None
        distance = np.hypot(*(observation[CUBES].reshape(2, 2) - scene.EFFECTOR_START_M).T)
        assert (distance > world.CUBE_HALF_M * np.sqrt(2) + world.EFFECTOR_RADIUS_M).all()


def test_cubes_at_rest_stay_where_they_are(env):
    before, _ = env.reset(options={"init_state": 4})
    for _ in range(100):
        after, *_ = env.step(np.zeros(2, np.float32))
    np.testing.assert_allclose(after[CUBES], before[CUBES], atol=1e-5)
    np.testing.assert_allclose(after["observation.state"], np.tile(scene.EFFECTOR_START_M, 2), atol=1e-6)


def test_the_command_moves_by_the_action_and_no_further_than_a_step_or_the_workspace(env):
    observation, _ = env.reset(options={"init_state": 0})
    shift = np.array([-0.02, 0.01], np.float32)
    after, *_ = env.step(shift)
    np.testing.assert_allclose(after["observation.state"][2:] - observation["observation.state"][2:], shift, atol=1e-6)
    far, *_ = env.step(np.array([3.0, 4.0], np.float32))
    moved = far["observation.state"][2:] - after["observation.state"][2:]
    np.testing.assert_allclose(moved, world.MAX_STEP_M * np.array([0.6, 0.8]), atol=1e-6)
    for _ in range(40):
        far, *_ = env.step(np.array([0.1, 0.0], np.float32))
    assert far["observation.state"][2] == pytest.approx(world.WORKSPACE_HIGH_M[0])


def test_the_effector_follows_its_command_and_pushes_a_cube_ahead_of_it(env):
    env.reset(options={"init_state": 0})
    observation = place(env, np.array([[0.40, -0.30], [0.55, -0.10]]))
    for _ in range(10):
        observation, *_ = env.step(np.array([0.0, 0.02], np.float32))
    for _ in range(10):
        observation, *_ = env.step(np.zeros(2, np.float32))
    state, cubes = observation["observation.state"], observation[CUBES].reshape(2, 2)
    np.testing.assert_allclose(state[:2], state[2:], atol=2e-3)
    touching = state[1] + world.EFFECTOR_RADIUS_M + world.CUBE_HALF_M
    assert cubes[0] == pytest.approx([0.40, touching], abs=4e-3)
    np.testing.assert_allclose(cubes[1], [0.55, -0.10], atol=1e-5)


def test_cubes_are_also_seen_from_the_effector(env):
    observation, _ = env.reset(options={"init_state": 3})
    for action in ([0.03, 0.01], [0.0, 0.02]):
        observation, *_ = env.step(np.array(action, np.float32))
    seen = observation["observation.block_from_effector"].reshape(2, 2) + observation["observation.state"][:2]
    np.testing.assert_allclose(seen, observation[CUBES].reshape(2, 2), atol=1e-6)


def test_a_cube_looks_the_same_after_a_quarter_turn(env):
    env.reset(options={"init_state": 0})
    cubes = np.array([[0.35, -0.2], [0.5, -0.1]])
    looks = [place(env, cubes, yaw)["observation.block_yaw"] for yaw in (0.3, 0.3 + np.pi / 2, 0.3 + np.pi / 4)]
    np.testing.assert_allclose(looks[0], np.tile([np.cos(1.2), np.sin(1.2)], 2), atol=1e-4)
    np.testing.assert_allclose(looks[1], looks[0], atol=1e-4)
    np.testing.assert_allclose(looks[2], -looks[0], atol=1e-4)


def test_without_a_goal_the_first_cube_gives_049_and_both_in_different_targets_051_more(env):
    left, right = world.TARGETS_M
    away = np.array([0.4, -0.2])
    env.reset(options={"init_state": 0})
    place(env, np.array([away, left + [0.0, -0.06]]))
    assert env.task_info()["score"] == 0.0
    place(env, np.array([away, left + [0.0, -0.045]]))
    assert env.task_info()["score"] == scene.FIRST_REWARD
    place(env, np.array([left + [0.02, 0.02], left - [0.03, 0.03]]))
    assert env.task_info()["score"] == scene.FIRST_REWARD
    place(env, np.array([right, left]))
    info = env.task_info()
    assert info["success"] and info["score"] == 1.0
    assert info["mode"] == "1>0 0>1" and info["reached"] == ((1, 0), (0, 0), (0, 1))


def test_with_a_goal_the_score_is_the_share_of_the_pairs_it_asks_for(env):
    left, right = world.TARGETS_M
    away = np.array([0.4, -0.2])
    env.reset(options={"init_state": 0, "goal": goal(right, left)})
    place(env, np.array([left, away]))
    assert env.task_info()["score"] == 0.0
    place(env, np.array([away, left]))
    assert env.task_info()["score"] == 0.5
    place(env, np.array([right, away]))
    assert env.task_info()["score"] == 1.0 and env.task_info()["success"]

    env.reset(options={"init_state": 0, "goal": goal(away, right)})
    place(env, np.array([left, away]))
    assert env.task_info()["score"] == 0.0
    place(env, np.array([left, right]))
    assert env.task_info()["success"]


def test_a_cube_that_is_moved_out_again_keeps_its_score_but_leaves_no_success_without_a_goal(env):
    left, right = world.TARGETS_M
    away = np.array([0.4, -0.2])
    for asked, success in ({}, False), ({"goal": goal(left, right)}, True):
        env.reset(options={"init_state": 0, **asked})
        place(env, np.array([left, away]))
        place(env, np.array([away, right]))
        info = env.task_info()
        assert (info["score"], info["mode"], info["success"]) == (1.0, "0>0 1>1", success)


def test_the_reward_is_what_the_score_gains(env):
    env.reset(options={"init_state": 0, "goal": goal(*world.TARGETS_M)})
    env.data.qpos[:2] = world.TARGETS_M[0]
    rewards = [env.step(np.zeros(2, np.float32))[1] for _ in range(3)]
    assert rewards == [0.5, 0.0, 0.0]


@pytest.mark.parametrize(
    ("asked", "error", "words"),
    [
        (goal(np.zeros(2), np.ones(2)), FeatureError, "cube in a target"),
        ({"observation.state": np.zeros((1, 4), np.float32)}, FeatureError, CUBES),
        ({"observation.cubes": np.zeros((1, 4), np.float32)}, FeatureError, "observation.cubes"),
        ({CUBES: np.zeros((1, 3), np.float32)}, FeatureError, r"\(1, 4\)"),
        ({CUBES: np.zeros((0, 4), np.float32)}, FeatureError, r"\(0, 4\)"),
        ({CUBES: np.full((1, 4), np.nan, np.float32)}, FeatureError, "non-finite"),
        ({CUBES: np.zeros((1, 4)), "observation.state": np.zeros((2, 4))}, FeatureError, "same number of steps"),
        ([0.0], FeatureError, "maps features"),
    ],
)
def test_a_goal_of_the_wrong_kind_is_refused(env, asked, error, words):
    with pytest.raises(error, match=words) as caught:
        env.reset(options={"init_state": 0, "goal": asked})
    assert "\n" not in str(caught.value)


def test_an_environment_without_goals_says_so():
    with pytest.raises(ConfigError, match="takes no goals"):
        make_env("pusht").goal_of({"goal": goal(*world.TARGETS_M)})


def test_an_episode_does_not_depend_on_what_ran_before(env):
    actions, _, _ = play(env, 5)
    states = []
    for before in (2, 11):
        play(env, before, {"goal": goal(*world.TARGETS_M)})
        env.reset(options={"init_state": 5})
        for action in actions:
            env.step(action)
        states.append(env.sim_state())
    np.testing.assert_array_equal(states[0], states[1])


def test_a_restored_state_goes_on_like_the_original(env):
    actions, _, _ = play(env, 7)
    env.reset(options={"init_state": 7})
    middle = len(actions) * 3 // 4
    for action in actions[:middle]:
        env.step(action)
    saved, reached = env.sim_state(), env.task_info()["reached"]
    for action in actions[middle:]:
        env.step(action)
    end, info = env.sim_state(), env.task_info()
    env.reset(options={"init_state": 1})
    env.set_sim_state(saved)
    assert env.task_info()["reached"] == reached and len(reached) == 1
    for action in actions[middle:]:
        env.step(action)
    np.testing.assert_array_equal(env.sim_state(), end)
    assert env.task_info() == info
    with pytest.raises(ConfigError, match="another environment"):
        env.set_sim_state(saved[:-1])


@pytest.mark.slow
def test_the_expert_solves_the_task_in_all_four_ways(env):
    """Every cube reaches its target; which second pushes move the first cube out again depends on MuJoCo's contacts."""
    infos = [play(env, k)[2] for k in range(30)]
    assert all(info["score"] == 1.0 for info in infos)
    solved = [info for info in infos if info["success"]]
    assert len(solved) >= 29
    assert {info["mode"] for info in solved} == {"0>0 1>1", "1>1 0>0", "0>1 1>0", "1>0 0>1"}
    assert env.modes == 4


def test_the_expert_is_a_function_of_the_start_state(env):
    first, _, _ = play(env, 12)
    play(env, 3)
    second, _, _ = play(env, 12)
    np.testing.assert_array_equal(first, second)
    assert max(np.hypot(*np.array(first).T)) <= world.MAX_STEP_M + 1e-6


def test_the_last_observation_of_a_demonstration_asks_for_what_it_did(env):
    for k in (0, 1, 2):
        _, seen, info = play(env, k)
        asked = {CUBES: seen[CUBES][None]}
        _, _, again = play(env, k, {"goal": asked})
        assert again["success"] and again["reached"] == info["reached"]
        left, right = seen[CUBES][2:], seen[CUBES][:2]
        assert play(env, k, {"goal": goal(left, right)})[2]["score"] == 0.0


def test_a_demonstration_that_pushes_a_cube_out_again_is_no_success(env):
    _, _, info = play(env, 10_045)
    assert info["score"] == 1.0 and not info["success"]
