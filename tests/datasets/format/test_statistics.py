import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from robolearn.core.feature import Feature
from robolearn.datasets.format.statistics import (
    array_statistics,
    episode_statistics,
    histogram_statistics,
    merge_statistics,
    pixel_histogram,
)

episode = st.integers(1, 40).flatmap(lambda n: arrays(np.float64, (n, 3), elements=st.floats(-1e3, 1e3, width=32)))


@given(rows=episode)
def test_statistics_of_an_episode_are_numpys(rows):
    found = episode_statistics(rows)
    quantiles = np.quantile(rows, [0.01, 0.1, 0.5, 0.9, 0.99], axis=0)
    expected = [rows.min(0), rows.max(0), rows.mean(0), rows.std(0), *quantiles]
    assert np.allclose(found, expected, rtol=1e-12, atol=1e-9)


@given(episodes=st.lists(episode, min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_merging_episodes_equals_looking_at_all_steps(episodes):
    merged = merge_statistics(np.stack([episode_statistics(e) for e in episodes]), np.array([len(e) for e in episodes]))
    everything = np.concatenate(episodes)
    assert merged.count == len(everything)
    assert (merged.min == everything.min(0)).all() and (merged.max == everything.max(0)).all()
    assert np.allclose(merged.mean, everything.mean(0), atol=1e-9)
    assert np.allclose(merged.std, everything.std(0), atol=1e-6)
    assert (merged.quantiles is None) == (len(episodes) > 1)


def test_merging_keeps_a_small_spread_far_from_zero():
    """Sums of squares would lose it: 1e8 squared has no room for 1e-2 squared."""
    rng = np.random.default_rng(0)
    parts = [1e8 + rng.normal(0, 1e-2, (500, 1)) for _ in range(20)]
    merged = merge_statistics(np.stack([episode_statistics(p) for p in parts]), np.full(20, 500))
    assert merged.std[0] == pytest.approx(np.std(np.concatenate(parts)), rel=1e-3)


@given(value=st.floats(-1e15, 1e15), lengths=st.lists(st.integers(1, 60), min_size=1, max_size=5))
def test_what_never_moves_has_its_own_value_as_mean_and_no_deviation(value, lengths):
    parts = np.stack([episode_statistics(np.full((length, 1), value)) for length in lengths])
    merged = merge_statistics(parts, np.array(lengths))
    assert (merged.mean[0], merged.std[0]) == (value, 0.0)


def test_times_of_day_keep_microseconds_of_jitter():
    jitter = np.random.default_rng(0).integers(-8, 9, 40_000) / 2**22  # 1.7e9 has room for it
    found = array_statistics((1.7e9 + jitter)[:, None])
    assert found.std[0] == pytest.approx(jitter.std(), rel=1e-9)
    assert found.mean[0] - 1.7e9 == pytest.approx(jitter.mean(), abs=2.4e-7)


def test_images_booleans_and_integers_have_one_element_a_number():
    assert array_statistics(np.array([[[1, 2], [3, 4]], [[5, 6], [7, 8]]])).mean.tolist() == [3, 4, 5, 6]
    assert array_statistics(np.array([[True], [False]])).mean.tolist() == [0.5]


def test_the_histogram_of_a_constant_picture_is_one_bin():
    colour = np.zeros((48, 64, 3), np.uint8)
    colour[:] = (10, 20, 255)
    histogram = pixel_histogram(Feature("a", (48, 64, 3), "uint8", "image"), colour)
    assert histogram.shape == (3, 256)
    assert [np.flatnonzero(row).tolist() for row in histogram] == [[10], [20], [255]]
    assert histogram.sum(1).tolist() == [6 * 8] * 3
    depth = pixel_histogram(Feature("d", (48, 64), "uint16", "depth"), np.full((48, 64), 1000, np.uint16))
    assert np.flatnonzero(depth[0]).tolist() == [1000 >> 8]


def test_statistics_of_a_histogram_are_those_of_its_pixels():
    values = np.random.default_rng(0).integers(0, 256, 5000)
    found = histogram_statistics(np.bincount(values, minlength=256)[None].astype(np.uint32))
    assert (found.count, found.min[0], found.max[0]) == (5000, values.min(), values.max())
    assert found.mean[0] == pytest.approx(values.mean())
    assert found.std[0] == pytest.approx(values.std())
    assert np.abs(found.quantiles[:, 0] - np.quantile(values, [0.01, 0.1, 0.5, 0.9, 0.99])).max() <= 1
    with pytest.raises(ValueError, match="empty"):
        histogram_statistics(np.zeros((1, 256), np.uint32))
