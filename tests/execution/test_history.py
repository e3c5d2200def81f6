import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robolearn.core.errors import ConfigError, FeatureError
from robolearn.execution.history import ExecutedActions, ObservationHistory


def observation(value: float) -> dict[str, np.ndarray]:
    return {"observation.state": np.full(2, value, np.float32), "unused": np.zeros(1)}


def test_windows_follow_the_table_in_the_docstring():
    history = ObservationHistory(["observation.state"], 3)
    seen = []
    for k in range(4):
        history.push(observation(k))
        seen.append([int(v) for v in history.window()["observation.state"][:, 0]])
    assert seen == [[0, 0, 0], [0, 0, 1], [0, 1, 2], [1, 2, 3]]


@given(horizon=st.integers(1, 6), count=st.integers(1, 20))
def test_window_is_the_last_pushes_with_the_oldest_repeated(horizon, count):
    history = ObservationHistory(["observation.state"], horizon)
    for k in range(count):
        history.push(observation(k))
    expected = [max(0, k) for k in range(count - horizon, count)]
    window = history.window()["observation.state"]
    assert window.shape == (horizon, 2) and window.dtype == np.float32
    assert window[:, 0].tolist() == expected


def test_clear_starts_a_new_episode():
    history = ObservationHistory(["observation.state"], 2)
    history.push(observation(1))
    history.clear()
    with pytest.raises(FeatureError, match="no observation yet"):
        history.window()


def test_pushed_arrays_are_copied():
    history = ObservationHistory(["observation.state"], 1)
    buffer = observation(1)
    history.push(buffer)
    buffer["observation.state"][:] = 9
    assert history.window()["observation.state"].max() == 1


def test_a_missing_feature_is_named():
    with pytest.raises(FeatureError, match=r"lacks \['observation.state'\]; it has: state"):
        ObservationHistory(["observation.state"], 1).push({"state": np.zeros(1)})


def test_a_horizon_below_one_is_refused():
    with pytest.raises(ConfigError, match="at least 1, found 0"):
        ObservationHistory(["observation.state"], 0)


def test_executed_actions_follow_the_table_in_the_docstring():
    executed = ExecutedActions(2)
    seen = [executed.window()]
    for k in (0, 1, 2, None, 4):
        executed.push(None if k is None else np.full(3, k, np.float32))
        known = executed.window()
        seen.append(None if known is None else known[:, 0].tolist())
    executed.clear()
    assert seen == [None, [0], [0, 1], [1, 2], None, [4]]
    assert executed.window() is None


@given(horizon=st.integers(0, 4), steps=st.lists(st.one_of(st.none(), st.integers(0, 99)), max_size=12))
def test_what_is_known_is_the_unbroken_end_of_what_was_executed(horizon, steps):
    executed = ExecutedActions(horizon)
    for step in steps:
        executed.push(None if step is None else np.array([step]))
    unbroken = []
    for step in reversed(steps):
        if step is None or len(unbroken) == horizon:
            break
        unbroken.insert(0, step)
    known = executed.window()
    assert ([] if known is None else known[:, 0].tolist()) == unbroken


def test_pushed_actions_are_copied():
    executed, action = ExecutedActions(1), np.zeros(2)
    executed.push(action)
    action[:] = 9
    assert executed.window().max() == 0


def test_a_negative_horizon_of_executed_actions_is_refused():
    with pytest.raises(ConfigError, match="at least 0, found -1"):
        ExecutedActions(-1)
