"""A dataset that nothing was recorded into goes again; one that holds anything stays."""

from __future__ import annotations

import numpy as np
import pytest

from robolearn.core.feature import Feature, features
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.write.creation import gone_when_empty
from robolearn.datasets.write.writer import DatasetWriter

FEATURES = features([Feature("action", (1,), kind="action")])


class UnpluggedError(Exception):
    pass


def record(path, steps: int, save: bool, fail: bool = True) -> None:
    with gone_when_empty(path), DatasetWriter.create(path, FEATURES, 10.0) as writer:
        writer.start_episode()
        for step in range(steps):
            writer.append(step / 10, {"action": np.zeros(1, np.float32)})
        if save:
            writer.commit({})
        if fail:
            raise UnpluggedError


def test_what_failed_before_its_first_step_leaves_nothing(tmp_path):
    with pytest.raises(UnpluggedError):
        record(tmp_path / "lab" / "today" / "x.zarr", steps=0, save=False)
    assert list(tmp_path.iterdir()) == []


def test_one_that_ended_without_an_episode_leaves_nothing_either(tmp_path):
    record(tmp_path / "x.zarr", steps=0, save=False, fail=False)
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_that_was_there_stays_and_is_empty(tmp_path):
    (tmp_path / "x.zarr").mkdir()
    with pytest.raises(UnpluggedError):
        record(tmp_path / "x.zarr", steps=0, save=False)
    assert list(tmp_path.rglob("*")) == [tmp_path / "x.zarr"]


def test_a_saved_episode_and_the_beginning_of_one_are_kept(tmp_path):
    with pytest.raises(UnpluggedError):
        record(tmp_path / "saved.zarr", steps=2, save=True)
    with pytest.raises(UnpluggedError):
        record(tmp_path / "begun.zarr", steps=2, save=False)
    assert Dataset(tmp_path / "saved.zarr").num_episodes == 1
    assert list((tmp_path / "begun.zarr" / "pending").glob("*/*.bin"))


def test_an_empty_dataset_that_was_there_before_stays(tmp_path):
    DatasetWriter.create(tmp_path / "x.zarr", FEATURES, 10.0).close()
    with gone_when_empty(tmp_path / "x.zarr"):
        DatasetWriter.append_to(tmp_path / "x.zarr").close()
    assert Dataset(tmp_path / "x.zarr").num_episodes == 0


def test_one_that_another_process_records_into_stays(tmp_path):
    with gone_when_empty(tmp_path / "x.zarr"):
        writer = DatasetWriter.create(tmp_path / "x.zarr", FEATURES, 10.0)
    assert (tmp_path / "x.zarr").is_dir()
    writer.close()
