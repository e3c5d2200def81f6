import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robolearn.control.history import ObservationHistory
from robolearn.core.errors import ConfigError, FeatureError


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
