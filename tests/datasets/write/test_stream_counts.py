import numpy as np
import pytest

from robolearn.datasets.write.stream_counts import Counter


def counted(times, rate_hz, numbers=None, device=None, end_s=None, start_s=None):
    counter = Counter(rate_hz)
    for k, time_s in enumerate(times):
        counter.add(time_s, None if numbers is None else numbers[k], None if device is None else device[k])
    return counter.counts(times[0] if start_s is None else start_s, times[-1] if end_s is None else end_s)


def test_skipped_numbers_are_dropped_samples():
    numbers = [7, 8, 9, 12, 13]
    counts = counted([0.00, 0.10, 0.20, 0.50, 0.60], 10, numbers)
    assert (counts.expected, counts.received, counts.dropped, counts.late) == (7, 5, 2, 0)


def test_a_long_gap_without_a_skipped_number_is_a_late_sample():
    counts = counted([0.0, 0.1, 0.26, 0.3, 0.4], 10, range(5))
    assert (counts.expected, counts.dropped, counts.late) == (5, 0, 1)


def test_without_numbers_the_rate_says_what_was_expected():
    times = [k / 10 for k in range(20) if k not in (7, 8, 9)]
    counts = counted(times, 10)
    assert (counts.expected, counts.received, counts.dropped, counts.late) == (20, 17, 3, 1)


@pytest.mark.parametrize("rate_hz", [29.99, 30.01])
def test_a_device_that_is_a_little_off_its_nominal_rate_drops_nothing(rate_hz):
    counts = counted(np.arange(9000) / rate_hz, 30)
    assert (counts.dropped, counts.late) == (0, 0)
    assert counts.rate_hz == pytest.approx(rate_hz)


@pytest.mark.parametrize("numbers", [None, range(10)])
def test_a_device_that_falls_silent_is_missed_until_the_end(numbers):
    counts = counted([k / 10 for k in range(10)], 10, numbers, end_s=1.9)
    assert (counts.expected, counts.received, counts.dropped) == (20, 10, 10)


@pytest.mark.parametrize("numbers", [None, range(10)])
def test_a_device_that_comes_up_late_is_missed_from_the_start(numbers):
    counts = counted([2.0 + k / 10 for k in range(10)], 10, numbers, start_s=0.0)
    assert (counts.expected, counts.received, counts.dropped) == (30, 10, 20)


@pytest.mark.parametrize("numbers", [None, range(10)])
def test_latency_at_either_end_is_no_loss(numbers):
    assert counted([0.1 + k / 30 for k in range(10)], 30, numbers, start_s=0.0, end_s=0.5).dropped == 0


def test_a_restarted_device_is_judged_by_time():
    """Numbers 5 6 7, half a second of nothing at 10 Hz, then 0 1: four samples are missing."""
    counts = counted([0.0, 0.1, 0.2, 0.7, 0.8], 10, [5, 6, 7, 0, 1])
    assert (counts.expected, counts.received, counts.dropped) == (9, 5, 4)


def test_steps_of_the_device_clock_are_counted():
    assert counted([0.0, 0.1, 0.2, 0.3], 10, device=[5.0, 5.1, 3.0, 3.1]).device_clock_steps == 1


def test_events_are_expected_when_they_come():
    counts = counted([0.0, 3.0, 3.1], None)
    assert (counts.expected, counts.received, counts.dropped, counts.late) == (3, 3, 0, 0)
    assert counted([0.0, 3.0], None, [1, 4]).dropped == 2


@pytest.mark.parametrize("numbered", [True, False])
def test_what_a_pause_hides_is_neither_dropped_nor_late(numbered):
    counter = Counter(10)
    for k in [*range(10), *range(30, 40)]:
        if k == 30:
            counter.pause(2.0)
        counter.add(k / 10, k if numbered else None, None)
    counts = counter.counts(0.0, 3.9)
    assert (counts.expected, counts.received, counts.dropped, counts.late) == (20, 20, 0, 0)
    assert counts.rate_hz == pytest.approx(10)
