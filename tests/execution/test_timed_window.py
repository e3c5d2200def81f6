import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robolearn.core.errors import FeatureError
from robolearn.execution.timed_window import TimedWindow


def push(window: TimedWindow, time_s: float) -> list[float] | None:
    """The times in the window after a sample at `time_s`; None when it is refused."""
    window.push(time_s, {"t": np.array([time_s])})
    try:
        return window.window()["t"][:, 0].tolist()
    except FeatureError:
        return None


def test_the_table_of_the_docstring():
    window = TimedWindow(horizon=3, step_s=0.1)
    assert push(window, 0.0) == [0.0, 0.0, 0.0]
    assert push(window, 0.11) == [0.0, 0.0, 0.11]
    assert push(window, 0.2) == [0.0, 0.11, 0.2]
    assert push(window, 0.6) is None
    assert push(window, 0.7) is None
    assert push(window, 0.8) == [0.6, 0.7, 0.8]
    assert push(window, 0.0) == [0.0, 0.0, 0.0]


def test_a_refused_window_says_what_is_missing_and_what_to_send():
    window = TimedWindow(horizon=2, step_s=0.05)
    window.push(0.0, {"t": np.zeros(1)})
    window.push(0.4, {"t": np.zeros(1)})
    message = (
        r"taken 0.05 s before the newest; .* 2 observations, 0.05 s apart. Send one every step, or windows of shape"
    )
    with pytest.raises(FeatureError, match=message):
        window.window()


def test_the_same_observation_sent_again_replaces_itself():
    window = TimedWindow(horizon=2, step_s=0.1)
    assert [push(window, t) for t in (0.0, 0.1, 0.1, 0.2)] == [[0.0, 0.0], [0.0, 0.1], [0.0, 0.1], [0.1, 0.2]]


def test_clear_begins_an_episode():
    window = TimedWindow(horizon=2, step_s=0.1)
    push(window, 0.0)
    window.clear()
    assert push(window, 0.1) == [0.1, 0.1]


def test_arrays_are_copied():
    window, sample = TimedWindow(horizon=1, step_s=0.1), np.zeros(1)
    window.push(0.0, {"t": sample})
    sample[0] = 5
    assert window.window()["t"] == 0


@given(
    st.integers(1, 6),
    st.floats(0.01, 1.0),
    st.lists(st.floats(0.001, 3.0), min_size=1, max_size=60),
)
def test_every_place_is_within_half_a_step_or_the_first_of_the_episode(horizon, step_s, gaps):
    window, now, first = TimedWindow(horizon, step_s), 0.0, gaps[0] * step_s
    for gap in gaps:
        now += gap * step_s
        found = push(window, now)
        for place, time_s in enumerate(found or []):
            due = now - (horizon - 1 - place) * step_s
            assert abs(time_s - due) <= step_s * 0.501 or (time_s == first and due < first)
        assert len(window._samples) <= 4 * horizon + 2


@given(st.integers(1, 4), st.integers(5, 12))
def test_samples_that_come_faster_than_the_steps_are_thinned_by_time(horizon, per_step):
    window = TimedWindow(horizon, 1.0)
    for number in range(4 * horizon * per_step):
        found = push(window, number / per_step)
        assert found is not None
    assert np.abs(np.diff(found) - 1.0).max(initial=0) <= 0.51
