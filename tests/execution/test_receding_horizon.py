import numpy as np
import pytest

from robolearn.core.errors import ConfigError, FeatureError
from robolearn.core.feature import Feature, features
from robolearn.execution.policy_spec import PolicySpec
from robolearn.execution.receding_horizon import RecedingHorizon, actions_per_chunk

STATE = "observation.state"


def spec(action_horizon: int = 4, obs_horizon: int = 2, hz: float = 10.0, action: tuple[int, ...] = (1,)) -> PolicySpec:
    return PolicySpec(features([Feature(STATE, (1,))]), Feature("action", action), obs_horizon, action_horizon, hz)


def seen(value: float) -> dict[str, np.ndarray]:
    return {STATE: np.array([value], np.float32)}


def chunk(letter: str, length: int = 4) -> np.ndarray:
    """(length, 1) numbers: tens say of which chunk, ones which action."""
    return 10.0 * (ord(letter) - ord("A")) + np.arange(length)[:, None]


def test_requests_and_actions_follow_the_table_in_the_docstring():
    horizon, letters = RecedingHorizon(spec(), 2), iter("ABCD")
    horizon.begin()
    left, asked, acted, late = [], [], [], None
    for step in range(8):
        now_s = 0.1 * step
        left.append(round(horizon.scheduler.remaining_s(now_s) / 0.1))
        request = horizon.observe(seen(step), now_s, awaited=late is not None)
        asked.append(next(letters) if request else "-")
        if asked[-1] == "C":
            late = now_s
        elif request:
            horizon.scheduler.place(chunk(asked[-1]), request.t_obs_s, now_s)
        acted.append(int(horizon.scheduler.action_at(now_s)[0]))
        if late is not None and step == 5:
            assert horizon.scheduler.place(chunk("C"), late, 0.55) == 3
            late = None
    assert left == [0, 3, 2, 3, 2, 1, 2, 3]
    assert asked == ["A", "-", "B", "-", "C", "-", "D", "-"]
    assert acted == [0, 1, 10, 11, 12, 13, 30, 31]


@pytest.mark.parametrize("length", [1, 2, 5, 16])
def test_with_answers_at_once_every_execute_th_step_asks_far_from_time_zero_too(length):
    for execute in range(1, length + 1):
        for hz, start in ((20.0, 0), (30.0, 10**6), (0.7, 3)):
            horizon = RecedingHorizon(spec(length, hz=hz), execute)
            asked = []
            for step in range(40):
                now_s = (start + step) / hz
                if horizon.observe(seen(step), now_s):
                    asked.append(step)
                    horizon.scheduler.place(chunk("A", length), now_s, now_s)
                assert horizon.scheduler.action_at(now_s)[0] == step % execute
            assert asked == list(range(0, 40, execute))


def test_a_request_shows_the_window_and_the_actions_within_it():
    horizon, goal = RecedingHorizon(spec(obs_horizon=3, action=(2, 1)), 2), {STATE: np.ones((1, 1))}
    horizon.begin(goal)
    requests = []
    for step in range(5):
        request = horizon.observe(seen(step), 0.1 * step)
        if request:
            requests.append(request)
            placed = np.repeat(chunk("A") + 100 * step, 2, axis=1)
            horizon.scheduler.place(placed, request.t_obs_s, 0.1 * step)
    assert [r.t_obs_s for r in requests] == pytest.approx([0.0, 0.2, 0.4])
    assert [r.observations[STATE][:, 0].tolist() for r in requests] == [[0, 0, 0], [0, 1, 2], [2, 3, 4]]
    assert requests[0].executed is None
    assert requests[1].executed.shape == (2, 2, 1)
    assert [r.executed[:, 0, 0].tolist() for r in requests[1:]] == [[0, 1], [200, 201]]
    assert all(r.goal is goal for r in requests)


def test_a_new_episode_remembers_nothing_of_the_one_before():
    horizon = RecedingHorizon(spec(), 2)
    horizon.begin({STATE: np.ones((1, 1))})
    horizon.observe(seen(1), 0.0)
    horizon.scheduler.place(chunk("A"), 0.0, 0.0)
    horizon.begin()
    request = horizon.observe(seen(7), 0.1)
    assert request.observations[STATE].tolist() == [[7], [7]]
    assert (request.executed, request.goal) == (None, None)


def test_half_of_the_chunk_is_used_by_default_and_at_least_one_action():
    assert [actions_per_chunk(spec(length), None) for length in (1, 2, 5, 16)] == [1, 1, 2, 8]


@pytest.mark.parametrize("execute", [0, 5])
def test_executing_nothing_or_more_than_the_chunk_is_refused_with_the_option(execute):
    with pytest.raises(ConfigError, match=rf"^--eval-execute is {execute}; .* chunks of 4 actions, so give 1 to 4.$"):
        actions_per_chunk(spec(), execute, "--eval-execute")


def test_an_observation_that_lacks_a_feature_is_refused():
    with pytest.raises(FeatureError, match="lacks"):
        RecedingHorizon(spec()).observe({}, 0.0)
