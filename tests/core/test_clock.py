import re
import time

import pytest

from robolearn.core.clock import MonotonicClock, Ticker, VirtualClock
from robolearn.core.errors import ConfigError


def documented_ticks() -> list[tuple[float, float, float]]:
    """(due, returned at, lateness) of each line of the table in Ticker's docstring."""
    lines = re.findall(r"^\s+\d\s+(\d\.\d{3})\s+(\d\.\d{3})\s+(\d\.\d{3})", Ticker.__doc__ or "", re.MULTILINE)
    return [tuple(map(float, line)) for line in lines]  # type: ignore[misc]


def test_ticker_follows_the_table_in_its_docstring():
    clock = VirtualClock()
    ticker = Ticker(clock, rate_hz=10.0)
    work_s = [0.0, 0.250, 0.0, 0.0]
    table = documented_ticks()
    assert len(table) == 4
    for (due, returned_at, lateness), work in zip(table, work_s, strict=True):
        measured = ticker.wait()
        assert clock.now() == pytest.approx(returned_at)
        assert measured == pytest.approx(lateness)
        assert clock.now() - measured == pytest.approx(due)
        clock.advance(work)
    assert (ticker.late, ticker.skipped) == (1, 1)


def test_a_tick_within_tolerance_is_not_late():
    clock = VirtualClock()
    ticker = Ticker(clock, rate_hz=10.0, tolerance_s=0.02)
    ticker.wait()
    clock.advance(0.115)
    assert ticker.wait() == pytest.approx(0.015)
    clock.advance(0.110)
    assert ticker.wait() == pytest.approx(0.025)
    assert ticker.late == 1
    assert ticker.skipped == 0


def test_ten_thousand_ticks_do_not_drift():
    clock = VirtualClock(start_s=5.0)
    ticker = Ticker(clock, rate_hz=30.0)
    for _ in range(10_001):
        ticker.wait()
        clock.advance(0.001)
    assert clock.now() == pytest.approx(5.0 + 10_000 / 30 + 0.001)
    assert ticker.late == 0


def test_reset_starts_a_new_grid_and_new_counts():
    clock = VirtualClock()
    ticker = Ticker(clock, rate_hz=10.0)
    ticker.wait()
    clock.advance(1.0)
    ticker.wait()
    ticker.reset()
    clock.advance(0.033)
    assert ticker.wait() == 0.0
    assert ticker.statistics().lateness_s.tolist() == [0.0]
    assert (ticker.late, ticker.skipped) == (0, 0)


def test_statistics_have_the_lateness_of_every_tick():
    clock = VirtualClock()
    ticker = Ticker(clock, rate_hz=10.0)
    for lateness in (0.0, 0.010, 0.020, 0.030, 0.040):
        clock.advance(lateness if ticker._next_due is None else ticker._next_due + lateness - clock.now())
        ticker.wait()
    assert ticker.statistics().lateness_s == pytest.approx([0.0, 0.010, 0.020, 0.030, 0.040])


@pytest.mark.parametrize("rate", [0, -1, float("nan")])
def test_a_rate_that_is_not_positive_is_refused(rate):
    with pytest.raises(ConfigError, match="must be positive"):
        Ticker(VirtualClock(), rate_hz=rate)


def test_a_virtual_clock_never_goes_back():
    clock = VirtualClock(2.0)
    clock.sleep_until(1.0)
    assert clock.now() == 2.0
    with pytest.raises(ConfigError, match="cannot go back"):
        clock.advance(-0.1)


@pytest.mark.realtime
def test_the_monotonic_clock_is_the_system_one_and_sleeps_long_enough():
    clock = MonotonicClock()
    assert abs(clock.now() - time.monotonic()) < 0.1
    due = clock.now() + 0.02
    clock.sleep_until(due)
    assert clock.now() >= due
