"""Which episodes of which datasets a loader shows, and what must be alike in them."""

import sys
from pathlib import Path

import numpy as np
import pytest

from robolearn.core.errors import ConfigError, DatasetError, FeatureError
from robolearn.datasets.loader import Loader, Source, WindowSpec, select_episodes
from robolearn.datasets.read.edits import QUARANTINE
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.write.edits import set_mask

sys.path.append(str(Path(__file__).parent))
from small_datasets import ACTION, STATE, VECTORS, write_vectors


def test_a_mixture_shows_each_dataset_in_proportion_to_its_weight(tmp_path):
    small = write_vectors(tmp_path / "small.zarr", [6, 4], first=0)
    large = write_vectors(tmp_path / "large.zarr", [30, 40], first=1000)
    spec = WindowSpec.chunks([STATE], ACTION, 1, 2)
    loader = Loader([Source(small, weight=3), Source(large, weight=1)], spec, 8, seed=2)
    assert loader.per_epoch == 10
    seen = np.concatenate([loader.at(step)[STATE][:, 0, 0] for step in range(loader.per_epoch)])
    assert (seen < 1000).sum() == 60 and (seen >= 1000).sum() == 20
    assert np.bincount(seen[seen < 1000].astype(int)).tolist() == [6] * 10
    assert len(set(seen[seen >= 1000])) == 20
    by_size = Loader([Source(small), Source(large)], spec, 8, seed=2)
    assert len({float(v) for step in range(10) for v in by_size.at(step)[STATE][:, 0, 0]}) == 80


def test_datasets_that_do_not_fit_together_are_named(tmp_path, dataset):
    a = write_vectors(tmp_path / "a.zarr", [4])
    spec = WindowSpec.chunks([STATE], ACTION, 1, 2)
    faster = write_vectors(tmp_path / "faster.zarr", [4], fps=20.0)
    with pytest.raises(DatasetError, match=r"a\.zarr has 10 steps a second, .*faster\.zarr 20; .*dataset resample"):
        Loader([Source(a), Source(faster)], spec, 2)
    millimetres = write_vectors(tmp_path / "mm.zarr", [4], unit="mm")
    with pytest.raises(FeatureError, match=r"'observation\.state' has unit m in .*a\.zarr but mm in .*mm\.zarr"):
        Loader([Source(a), Source(millimetres)], spec, 2)
    with pytest.raises(FeatureError, match=r"'observation\.state' has shape \(1,\) in .* but \(2,\)"):
        Loader([Source(a), Source(dataset)], spec, 2)
    with pytest.raises(ConfigError, match="to all 2 datasets or to none, found 1"):
        Loader([Source(a, weight=1.0), Source(a)], spec, 2)
    with pytest.raises(FeatureError, match=r"a\.zarr: Unknown feature 'acton'.*'action'"):
        Loader(a, WindowSpec({"acton": (0,)}), 2)


def test_episodes_in_quarantine_are_left_out_by_default(tmp_path):
    write_vectors(tmp_path / "d.zarr", [4, 5, 3])
    set_mask(tmp_path / "d.zarr", QUARANTINE, [1])
    set_mask(tmp_path / "d.zarr", "train", [1, 2])
    dataset = Dataset(tmp_path / "d.zarr")
    assert select_episodes(dataset).tolist() == [0, 2]
    assert select_episodes(dataset, ["train"]).tolist() == [2]
    assert select_episodes(dataset, successful=True).tolist() == [0]
    assert select_episodes(dataset, [QUARANTINE]).tolist() == [1]
    spec = WindowSpec.chunks([STATE], ACTION, 1, 1)
    loader = Loader(dataset, spec, 100)
    assert sorted(loader.at(0)[STATE][:, 0, 0].tolist()) == [0, 1, 2, 3, 9, 10, 11]
    loader = Loader([Source(dataset, select_episodes(dataset, ["train"]))], spec, 100)
    assert sorted(loader.at(0)[STATE][:, 0, 0].tolist()) == [9, 10, 11]


def test_a_choice_that_leaves_nothing_is_explained(tmp_path):
    write_vectors(tmp_path / "d.zarr", [2, 3])
    set_mask(tmp_path / "d.zarr", "train", [0])
    dataset = Dataset(tmp_path / "d.zarr")
    with pytest.raises(DatasetError, match=r"none of its 2 episodes is in mask 'train' and successful"):
        select_episodes(dataset, ["train"], successful=True)
    with pytest.raises(DatasetError, match="Unknown mask 'trian'.*'train'"):
        select_episodes(dataset, ["trian"])
    with pytest.raises(DatasetError, match="no episode was chosen"):
        Loader([Source(dataset, [])], VECTORS, 4)
    with pytest.raises(ConfigError, match="has episodes 0 to 1; found 2 to 2"):
        Loader([Source(dataset, [2])], VECTORS, 4)
    with pytest.raises(DatasetError, match="no episode is long enough for one window of 5 steps"):
        Loader(dataset, WindowSpec({ACTION: range(5)}, pad_after=0), 4)


def test_non_finite_numbers_are_refused_where_they_are_used(tmp_path):
    dataset = write_vectors(tmp_path / "d.zarr", [2, 3])
    damaged = dataset.array(STATE).copy()
    damaged[3] = np.nan
    whole = dataset.array
    dataset.array = lambda name: damaged if name == STATE else whole(name)
    place = r"'observation\.state' holds a non-finite number in episode 1 at its step 1 \(step 3 of all\)"
    with pytest.raises(DatasetError, match=place):
        Loader(dataset, VECTORS, 2)
    assert len(Loader([Source(dataset, [0])], VECTORS, 2)) == 2
