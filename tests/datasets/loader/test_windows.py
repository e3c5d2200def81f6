"""The arithmetic of the loader: windows, the order of batches, goals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robolearn.core.errors import ConfigError
from robolearn.datasets.loader import FinalGoal, FutureGoal, WindowSpec
from robolearn.datasets.loader.order import BatchOrder


def test_the_table_of_the_window_specification():
    spec = WindowSpec({"s": (-1, 0), "a": range(-1, 3)}, pad_masks=("a",))
    sampler = spec.sampler(np.array([10, 13]), np.array([1]))
    steps = sampler.steps(np.arange(len(sampler)))
    assert steps[:, spec.columns("s")].tolist() == [[10, 10], [10, 11], [11, 12]]
    assert steps[:, spec.columns("a")].tolist() == [[10, 10, 11, 12], [10, 11, 12, 12], [11, 12, 12, 12]]
    assert spec.padding("a", steps).astype(int).tolist() == [[1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 1]]


@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    offsets=st.lists(st.sets(st.integers(-5, 5), min_size=1, max_size=4).map(sorted), min_size=1, max_size=3),
    data=st.data(),
)
def test_windows_are_those_of_a_naive_loop_over_current_steps(lengths, offsets, data):
    first, last = min(0, *(o[0] for o in offsets)), max(0, *(o[-1] for o in offsets))
    before, after = data.draw(st.integers(0, -first)), data.draw(st.integers(0, last))
    spec = WindowSpec({str(k): o for k, o in enumerate(offsets)}, before, after)
    ends = np.cumsum(lengths)
    sampler = spec.sampler(ends, np.arange(len(lengths)))
    steps = sampler.steps(np.arange(len(sampler)))
    expected = []
    for low, stop in zip(ends - lengths, ends, strict=True):
        for t in range(low, stop):
            if t + first >= low - before and t + last < stop + after:
                expected.append([[min(max(t + k, low), stop - 1) for k in o] for o in offsets])
    found = [[steps[w, spec.columns(str(k))].tolist() for k in range(len(offsets))] for w in range(len(steps))]
    assert found == expected
    for k, o in enumerate(offsets):
        current = steps[:, -first, None]
        assert (spec.padding(str(k), steps) == (steps[:, spec.columns(str(k))] != current + np.array(o))).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: WindowSpec({}), "at least one feature"),
        (lambda: WindowSpec({"a": (0, 0)}), r"'a' must be whole numbers that rise, found \[0, 0\]"),
        (lambda: WindowSpec({"a": (-1, 0)}, pad_before=2), "pad_before must be 0 to 1 with these offsets, found 2"),
        (lambda: WindowSpec({"a": (0,)}, pad_masks=("b",)), "Unknown feature 'b'"),
        (
            lambda: WindowSpec.chunks(["a"], ("action",), 1, 2),
            r"names of features, such as 'action', found \('action',\)",
        ),
        (lambda: WindowSpec.chunks("a", "action", 1, 2), r"a list of observations, such as \['a'\]"),
    ],
)
def test_wrong_windows_are_explained(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


@given(
    counts=st.lists(st.integers(1, 30), min_size=1, max_size=3),
    batch=st.integers(1, 12),
    seed=st.integers(0, 5),
    data=st.data(),
)
def test_epochs_share_out_by_weight_and_repeat_no_window_before_all_of_its_source_came(counts, batch, seed, data):
    weights = [data.draw(st.sampled_from([0.3, 1.0, 2.5])) for _ in counts]
    order = BatchOrder(counts, weights, 1, seed)
    total, starts = sum(counts), np.cumsum([0, *counts])
    shares = np.array(weights) / sum(weights) * total
    epochs = [np.concatenate([order.at(e * total + i) for i in range(total)]) for e in range(4)]
    for source, count in enumerate(counts):
        drawn = [[w - starts[source] for w in epoch if starts[source] <= w < starts[source + 1]] for epoch in epochs]
        assert all(abs(len(part) - shares[source]) < 1 for part in drawn)
        times = np.bincount(np.concatenate([np.array(part, int) for part in drawn]), minlength=count)
        assert times.max() - times.min() <= 1
    large = BatchOrder(counts, weights, batch, seed)
    again = BatchOrder(counts, weights, batch, seed)
    for step in (5, 0, 3):
        assert (large.at(step) == again.at(step)).all()


@given(counts=st.lists(st.integers(1, 40), min_size=1, max_size=3), batch=st.integers(1, 50), seed=st.integers(0, 3))
def test_without_weights_an_epoch_is_a_permutation_that_depends_on_seed_and_epoch(counts, batch, seed):
    order, total = BatchOrder(counts, None, batch, seed), sum(counts)
    for epoch in (0, 1, 7):
        whole = np.random.default_rng([seed, epoch]).permutation(total)
        first = epoch * order.per_epoch
        found = np.concatenate([order.at(first + k) for k in range(order.per_epoch)])
        assert (found == whole[: len(found)]).all()
        assert total - len(found) < order.batch_size


def test_a_source_of_tiny_weight_is_seen_in_every_epoch():
    order = BatchOrder([50, 50, 3], [1.0, 1e-9, 1.0], 103, 0)
    for epoch in range(3):
        windows = order.at(epoch)
        assert ((windows >= 50) & (windows < 100)).sum() == 1


def test_wrong_orders_are_explained():
    for counts, weights, batch, shards, message in (
        ([4], None, 0, 1, "positive multiple of 1, found 0"),
        ([4], None, 3, 2, "positive multiple of 2, found 3"),
        ([1], None, 4, 2, "1 windows for 2 processes"),
        ([4, 4], [1.0, 0.0], 2, 1, "positive numbers"),
        ([4, 4], [1.0, float("nan")], 2, 1, "positive numbers"),
    ):
        with pytest.raises(ConfigError, match=message):
            BatchOrder(counts, weights, batch, 0, shards)
    with pytest.raises(ConfigError, match="numbered from 0, found -1"):
        BatchOrder([4], None, 2, 0).at(-1)


@given(
    length=st.integers(1, 12),
    horizon=st.integers(1, 4),
    within=st.none() | st.integers(1, 5),
    data=st.data(),
)
def test_future_goals_lie_ahead_within_the_episode(length, horizon, within, data):
    first, position = data.draw(st.integers(0, 5)), data.draw(st.integers(0, length - 1))
    uniform = np.linspace(0, 1, 200, endpoint=False)
    shape = np.ones(200, np.int64)
    current, last = first + position, first + length - 1
    goal = FutureGoal(("s",), horizon, within).steps(current * shape, first * shape, last * shape, uniform)
    assert goal.shape == (200, horizon) and goal.min() >= first and goal.max() <= last
    possible = [s for s in range(current + 1, last + 2 - horizon) if within is None or s <= current + within]
    if possible:
        assert sorted(set(goal[:, 0].tolist())) == possible
    else:
        assert (goal[:, -1] == last).all()
    assert (
        FinalGoal(("s",), horizon).steps(current * shape, first * shape, last * shape, uniform)[:, -1] == last
    ).all()
