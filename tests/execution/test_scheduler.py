import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robolearn.core.errors import ConfigError, FeatureError
from robolearn.execution.scheduler import ActionScheduler


def chunk(first: int, length: int) -> np.ndarray:
    """(length, 1) actions numbered from `first`."""
    return np.arange(first, first + length, dtype=float)[:, None]


def value(scheduler: ActionScheduler, now_s: float) -> int | None:
    action = scheduler.action_at(now_s)
    return None if action is None else int(action[0])


def test_actions_follow_the_table_in_the_docstring():
    scheduler = ActionScheduler(0.1)
    assert scheduler.place(chunk(10, 4), t_obs_s=0.0, now_s=0.0) == 4  # a0 .. a3
    assert value(scheduler, 0.00) == 10
    assert value(scheduler, 0.15) == 11
    assert scheduler.place(chunk(20, 4), t_obs_s=0.1, now_s=0.25) == 3  # b1 .. b3
    assert value(scheduler, 0.25) == 21
    assert value(scheduler, 0.45) == 23
    assert value(scheduler, 0.50) is None
    assert scheduler.place(chunk(30, 2), t_obs_s=0.3, now_s=0.55) == 0
    assert value(scheduler, 0.55) is None
    assert scheduler.place(chunk(40, 1), t_obs_s=0.52, now_s=0.55) == 1
    assert value(scheduler, 0.55) == 40


def test_each_control_step_of_a_simulated_episode_gets_its_own_action():
    """Due times accumulate as floats at 20 Hz; none may be skipped or repeated, far from time zero too."""
    dt, start = 0.05, 123456.7
    scheduler = ActionScheduler(dt)
    executed = []
    for step in range(200):
        now = start + sum([dt] * step)
        if scheduler.remaining_s(now) < 1e-3:
            scheduler.place(chunk(step, 8), t_obs_s=now, now_s=now)
        executed.append(value(scheduler, now))
    assert executed == list(range(200))


def test_the_old_chunk_runs_on_until_the_new_one_begins():
    scheduler = ActionScheduler(0.1)
    scheduler.place(chunk(0, 4), t_obs_s=0.0, now_s=0.0)
    scheduler.place(chunk(10, 4), t_obs_s=0.25, now_s=0.2)  # begins half-way through action 2
    assert [value(scheduler, t) for t in (0.20, 0.24, 0.26, 0.34, 0.36)] == [2, 2, 10, 10, 11]


def test_neighbours_are_those_next_in_time():
    scheduler = ActionScheduler(0.1)
    scheduler.place(chunk(0, 3), t_obs_s=0.0, now_s=0.0)
    first, middle, last = (scheduler.around(t) for t in (0.05, 0.15, 0.25))
    assert first.previous is None and first.following[1] == 1
    assert (middle.previous[1], middle.action, middle.following[1]) == (0, 1, 2)
    assert middle.due_s == pytest.approx(0.1) and middle.following[0] == pytest.approx(0.2)
    assert last.following is None
    assert scheduler.around(0.31) is None


def test_an_action_from_before_a_gap_is_no_neighbour():
    scheduler = ActionScheduler(0.1)
    scheduler.place(chunk(0, 1), t_obs_s=0.0, now_s=0.0)
    scheduler.place(chunk(5, 2), t_obs_s=1.0, now_s=1.0)
    assert scheduler.around(1.05).previous is None


def test_clear_leaves_nothing():
    scheduler = ActionScheduler(0.1)
    scheduler.place(chunk(0, 3), t_obs_s=0.0, now_s=0.0)
    scheduler.clear()
    assert scheduler.action_at(0.05) is None and scheduler.remaining_s(0.05) == 0.0


@given(
    horizon=st.integers(1, 12),
    latencies=st.lists(st.floats(0.0, 0.6), min_size=1, max_size=8),
    probe=st.floats(0.0, 1.0),
)
def test_every_executed_action_belongs_to_its_due_time(horizon, latencies, probe):
    """The reference is one sentence: of the newest chunk that has an executable action for now, take it."""
    dt, observed = 0.1, 0.0
    scheduler = ActionScheduler(dt)
    answers = []  # (arrival, t_obs)
    arrival = 0.0
    for latency in latencies:
        arrival = max(arrival, observed) + latency
        answers.append((arrival, observed))
        observed = arrival
    for arrival, t_obs in answers:
        # an action is named by its due time, so what is executed can be checked against the clock
        due = t_obs + dt * np.arange(horizon)
        usable = scheduler.place(due[:, None], t_obs_s=t_obs, now_s=arrival)
        assert usable == int(np.sum(due + dt > arrival + 1e-6)) or abs((arrival - t_obs) / dt % 1) < 1e-4
    now = arrival + probe
    action = scheduler.action_at(now)
    if action is not None:
        assert -2e-6 <= now - action[0] < dt
        assert scheduler.remaining_s(now) > 0
    else:
        assert scheduler.remaining_s(now) <= 2e-6 or scheduler.remaining_s(arrival) == 0


def test_a_chunk_must_be_a_matrix():
    with pytest.raises(FeatureError, match=r"shape \(3,\), expected \(horizon"):
        ActionScheduler(0.1).place(np.zeros(3), 0.0, 0.0)


def test_a_step_of_no_time_is_refused():
    with pytest.raises(ConfigError, match="positive, found 0"):
        ActionScheduler(0)
