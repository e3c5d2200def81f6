import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robolearn.core.errors import DatasetError
from robolearn.datasets.format.alignment import align, nearest_earlier

# milliseconds, so that sums are exact enough for an oracle in integers
rising = st.lists(st.integers(0, 5000), min_size=1, max_size=60, unique=True).map(sorted)


def test_the_table_of_the_module_holds():
    camera = np.array([0.00, 0.10, 0.31])
    force = np.array([0.05, 0.10, 0.15, 0.20, 0.25, 0.30, 0.35])
    grid = align({"camera": camera, "force": force}, 10)
    assert np.allclose(grid.times, [0.05, 0.15, 0.25, 0.35])
    assert grid.at_step["camera"].tolist() == [0, 1, 1, 2]
    assert grid.at_step["force"].tolist() == [0, 2, 4, 6]


@given(streams=st.lists(rising, min_size=1, max_size=4), period_ms=st.sampled_from([10, 20, 33, 50, 100]))
@settings(max_examples=200, deadline=None)
def test_every_step_shows_the_newest_sample_that_is_not_later(streams, period_ms):
    grid = align({str(k): np.array(s) / 1000 for k, s in enumerate(streams)}, 1000 / period_ms)
    first, last = max(s[0] for s in streams), max(s[-1] for s in streams)
    ticks = list(range(first, last + 1, period_ms))
    assert np.allclose(grid.times, np.array(ticks) / 1000, atol=1e-9)
    for k, stream in enumerate(streams):
        expected = [max(row for row, stamp in enumerate(stream) if stamp <= tick) for tick in ticks]
        assert grid.at_step[str(k)].tolist() == expected


@given(stamps=rising, times=st.lists(st.integers(-100, 6000), max_size=20))
def test_nearest_earlier_is_minus_one_before_the_first_sample(stamps, times):
    found = nearest_earlier(np.array(stamps, float), np.array(times, float))
    assert found.tolist() == [max((r for r, s in enumerate(stamps) if s <= t), default=-1) for t in times]


def test_a_dead_camera_shows_its_last_frame_and_a_late_one_delays_the_grid():
    state = np.arange(100) / 100
    grid = align({"state": state, "dead": np.array([0.0, 0.1, 0.2]), "late": np.arange(50, 100) / 100}, 10)
    assert np.allclose(grid.times, [0.5, 0.6, 0.7, 0.8, 0.9])
    assert grid.at_step["dead"].tolist() == [2, 2, 2, 2, 2]
    assert grid.at_step["late"].tolist() == [0, 10, 20, 30, 40]


def test_a_stream_without_a_sample_is_named():
    with pytest.raises(DatasetError, match="'left' brought no sample"):
        align({"state": np.zeros(1), "left": np.zeros(0)}, 10)


def test_ticks_in_a_pause_are_left_out():
    stamps = {"a": np.array([0.0, 0.1, 0.2, 0.8, 0.9])}
    grid = align(stamps, 10, [(0.25, 0.5)])
    assert np.allclose(grid.times, [0.0, 0.1, 0.2, 0.8, 0.9])
    with pytest.raises(DatasetError, match="only while recording is paused"):
        align(stamps, 10, [(-1.0, 5.0)])
