import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robolearn.core.errors import ConfigError, DatasetError
from robolearn.datasets.loader.sampler import WindowSampler, split_episodes


def naive_windows(ends: list[int], horizon: int, before: int, after: int, episodes: list[int]) -> list[list[int]]:
    """Every window by hand: walk over start offsets, repeat the edge steps."""
    before, after = min(before, horizon - 1), min(after, horizon - 1)
    windows = []
    for episode in episodes:
        first, stop = ([0, *ends])[episode], ends[episode]
        for start in range(first - before, stop + after - horizon + 1):
            windows.append([min(max(k, first), stop - 1) for k in range(start, start + horizon)])
    return windows


@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=6),
    horizon=st.integers(1, 8),
    before=st.integers(0, 10),
    after=st.integers(0, 10),
    data=st.data(),
)
def test_windows_are_those_of_a_naive_loop(lengths, horizon, before, after, data):
    ends = np.cumsum(lengths)
    episodes = data.draw(st.lists(st.sampled_from(range(len(lengths))), unique=True))
    sampler = WindowSampler(ends, horizon, before, after, episodes)
    expected = naive_windows(ends.tolist(), horizon, before, after, episodes)
    assert [sampler.window(i).tolist() for i in range(len(sampler))] == expected
    array = np.random.default_rng(0).normal(size=(ends[-1], 3))
    index = np.arange(len(sampler))[::-1]
    gathered = sampler.gather({"a": array}, index)["a"]
    assert gathered.shape == (len(sampler), horizon, 3)
    assert all((gathered[k] == array[expected[i]]).all() for k, i in enumerate(index))


@pytest.mark.parametrize(("length", "horizon", "before", "after"), [(100, 16, 1, 7), (5, 16, 1, 7), (3, 4, 9, 9)])
def test_number_of_windows_follows_the_formula(length, horizon, before, after):
    before_clipped, after_clipped = min(before, horizon - 1), min(after, horizon - 1)
    expected = max(0, length + before_clipped + after_clipped - horizon + 1)
    assert len(WindowSampler(np.array([length]), horizon, before, after)) == expected


def test_the_table_of_the_docstring():
    sampler = WindowSampler(np.array([10, 13]), horizon=3, pad_before=1, pad_after=1, episodes=[1])
    assert sampler.steps(np.arange(3)).tolist() == [[10, 10, 11], [10, 11, 12], [11, 12, 12]]


def test_a_length_takes_the_first_steps_of_the_window():
    sampler = WindowSampler(np.array([20]), horizon=8)
    arrays = {"observation": np.arange(20.0)[:, None], "action": np.arange(20)}
    batch = sampler.gather(arrays, np.array([0, 5]), lengths={"observation": 2})
    assert batch["observation"][:, :, 0].tolist() == [[0, 1], [5, 6]]
    assert batch["action"].tolist() == [list(range(8)), list(range(5, 13))]


def test_windows_know_their_episode():
    sampler = WindowSampler(np.array([4, 6, 9]), horizon=2, episodes=[2, 0])
    assert sampler.episode_of(np.arange(len(sampler))).tolist() == [2, 2, 0, 0, 0]


def test_wrong_arguments_are_explained():
    with pytest.raises(ConfigError, match="horizon=0"):
        WindowSampler(np.array([4]), 0)
    with pytest.raises(ConfigError, match="Episodes must be 0 to 0, found 1 to 1"):
        WindowSampler(np.array([4]), 2, episodes=[1])
    sampler = WindowSampler(np.array([4]), 2)
    with pytest.raises(ConfigError, match="'acton'.*Did you mean 'action'"):
        sampler.gather({"action": np.zeros(4)}, np.array([0]), {"acton": 1})
    with pytest.raises(DatasetError, match="action 3 steps, need 4"):
        sampler.gather({"action": np.zeros(3)}, np.array([2]))
    with pytest.raises(IndexError):
        sampler.gather({"action": np.zeros(4)}, np.array([-1]))


def test_the_split_is_that_of_diffusion_policy():
    train, val = split_episodes(206, 0.02, seed=42)
    assert val.tolist() == sorted(np.random.default_rng(42).choice(206, size=4, replace=False).tolist())
    assert sorted([*train, *val]) == list(range(206))
    assert len(split_episodes(3, 0.01, seed=0)[1]) == 1
    assert len(split_episodes(1, 0.5, seed=0)[1]) == 0
    assert len(split_episodes(10, 0.0, seed=0)[1]) == 0
    with pytest.raises(ConfigError, match=r"found 1\.5"):
        split_episodes(10, 1.5, seed=0)
