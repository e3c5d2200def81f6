import pytest

from robolearn.control.watchdog import State, Watchdog
from robolearn.core.errors import ConfigError


def run(watchdog: Watchdog, ticks: list[tuple[float, bool]]) -> list[State]:
    return [watchdog.update(has_action, now) for now, has_action in ticks]


def test_it_begins_in_holding_and_waiting_is_no_safety_stop():
    watchdog = Watchdog(stale_s=0.1, stop_after_s=2.0)
    watchdog.start(5.0)
    assert run(watchdog, [(5.0, False), (6.9, False), (7.1, False)]) == [State.HOLDING, State.HOLDING, State.STOPPED]
    assert watchdog.safety_stops == 0


def test_states_follow_the_table_in_the_docstring():
    watchdog = Watchdog(stale_s=0.1, stop_after_s=2.0)
    watchdog.start(0.0)
    ticks = [
        (0.00, True, State.RUNNING),
        (0.10, False, State.RUNNING),  # a gap of 0.1 s is bridged
        (0.11, False, State.HOLDING),  # a longer one is not
        (0.20, True, State.RUNNING),  # fresh actions: it goes on
        (0.31, False, State.HOLDING),
        (2.30, False, State.HOLDING),
        (2.32, False, State.STOPPED),
        (9.00, False, State.STOPPED),
        (9.01, True, State.RUNNING),
    ]
    assert run(watchdog, [(t, has) for t, has, _ in ticks]) == [state for _, _, state in ticks]
    assert watchdog.safety_stops == 2


def test_start_counts_anew():
    watchdog = Watchdog(stale_s=0.1)
    run(watchdog, [(0.0, True), (1.0, False)])
    watchdog.start(1.0)
    assert (watchdog.safety_stops, watchdog.state) == (0, State.HOLDING)


def test_times_must_be_positive():
    with pytest.raises(ConfigError, match="stale_s 0"):
        Watchdog(stale_s=0)
