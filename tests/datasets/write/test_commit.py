"""The commit of an episode: whatever stops it leaves all or nothing, and it can be repeated."""

import json
import os

import pytest

from robolearn.core.errors import DatasetError
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.write import chunk_staging as staging
from robolearn.datasets.write import commit, journal
from robolearn.datasets.write.writer import DatasetWriter


class Crash(BaseException):
    """Stands for a process that ends at this very point."""


def crash_at(monkeypatch, function, call):
    """Make the `call`-th use of a file operation in the writer raise Crash instead of happening."""
    owner = os if function == "replace" else staging if function == "link_or_copy" else commit
    original, count = getattr(owner, function), [0]

    def wrapper(*args, **kwargs):
        count[0] += 1
        if count[0] == call:
            raise Crash
        return original(*args, **kwargs)

    monkeypatch.setattr(owner, function, wrapper)


# a commit of the small world does 10 renames (9 chunks of rows or records, 1 of .zmetadata) before copies of .zarray
@pytest.mark.parametrize(
    ("function", "call", "survives"),
    [("link_or_copy", 2, False), ("sync_file_system", 1, False), ("sync_file_system", 2, False)]
    + [("replace", call, False) for call in range(1, 11)]
    + [("sync_directory", 1, True), ("replace", 11, True), ("replace", 13, True)],
)
def test_a_crash_anywhere_in_commit_leaves_all_or_nothing(
    make_dataset, world, monkeypatch, caplog, function, call, survives
):
    path = make_dataset(3, 2)
    reference = Dataset(path).checksum()
    crashed = DatasetWriter.append_to(path)
    world.start(crashed, 4, first=5)
    with monkeypatch.context() as patch:
        crash_at(patch, function, call)
        with pytest.raises(Crash):
            commit.commit_episode(path, crashed._metadata, crashed._log, crashed._journal, {})
    crashed._lock.release()  # the kernel does this when a process dies; nothing else of it runs

    dataset = Dataset(path)
    assert dataset.num_episodes == (3 if survives else 2)
    for episode in range(dataset.num_episodes):
        dataset.verify_episode(episode)
    assert (dataset.checksum() == reference) is not survives
    with DatasetWriter.append_to(path) as w:
        assert len(w.leftover_journals) == (0 if survives else 1)
        assert ("kept in" in caplog.text) is not survives
        w.start_episode()
        w.append(0.0, world.values(5))
        w.commit({})
    dataset = Dataset(path)
    assert dataset.num_steps == (10 if survives else 6)
    for episode in range(dataset.num_episodes):
        dataset.verify_episode(episode)
    for key, length in [("data/action", dataset.num_steps), ("meta/episodes", dataset.num_episodes)]:
        assert json.loads((path / key / ".zarray").read_bytes())["shape"][0] == length


@pytest.mark.parametrize("call", [1, 2])
def test_a_crash_in_a_commit_that_does_not_wait_for_the_disk_leaves_nothing_visible(
    make_dataset, world, monkeypatch, call
):
    """It writes behind the visible rows, and renames the records and then the metadata."""
    path = make_dataset(3, 2)
    reference = Dataset(path).checksum()
    crashed = DatasetWriter.append_to(path, durable=False)
    world.start(crashed, 4, first=5)
    with monkeypatch.context() as patch:
        crash_at(patch, "replace", call)
        with pytest.raises(Crash):
            commit.commit_episode(path, crashed._metadata, crashed._log, crashed._journal, {}, flush=False)
    crashed._lock.release()
    dataset = Dataset(path)
    assert (dataset.num_episodes, dataset.checksum()) == (2, reference)
    for episode in range(2):
        dataset.verify_episode(episode)
    with DatasetWriter.append_to(path, durable=False) as w:
        world.record(w, 3, first=5)
    dataset = Dataset(path)
    assert dataset.array("action")[:, 0].tolist() == [k + 0.5 for k in range(8)]
    dataset.verify_episode(2)
    for key, length in [("data/action", 8), ("meta/episodes", 3)]:
        assert json.loads((path / key / ".zarray").read_bytes())["shape"][0] == length


@pytest.mark.parametrize(("durable", "flushes"), [(True, 2), (False, 0)])
def test_a_commit_waits_for_the_disk_unless_told_otherwise(tmp_path, world, monkeypatch, durable, flushes):
    calls = []
    with DatasetWriter.create(tmp_path / "d.zarr", world.features, fps=10, durable=durable) as w:
        monkeypatch.setattr(commit, "sync_file_system", calls.append)
        world.record(w, 2)
    assert len(calls) == flushes
    Dataset(tmp_path / "d.zarr").verify_episode(0)


def test_a_failed_commit_can_be_repeated(make_dataset, world, monkeypatch):
    path = make_dataset(3)
    with DatasetWriter.append_to(path) as w:
        world.start(w, 2, first=3)

        def disk_full(*args):
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(commit, "stage_rows", disk_full)
            with pytest.raises(DatasetError, match=r"No space left on device.*free space and save again"):
                w.commit({})
        assert w.num_pending_steps == 2
        w.append(0.5, world.values(5))
        assert w.commit({}) == 1
    assert Dataset(path).array("observation.state")[:, 0].tolist() == [0, 1, 2, 3, 4, 5]


def test_an_interrupt_right_after_the_commit_point_keeps_the_episode(make_dataset, world, monkeypatch):
    path = make_dataset(3)
    with DatasetWriter.append_to(path) as w:
        world.start(w, 2, first=3)
        with monkeypatch.context() as patch:
            patch.setattr(commit, "sync_directory", lambda path: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                w.commit({})
        assert (w.num_episodes, w.num_pending_steps) == (2, 0)
        assert world.record(w, 1, first=5) == 2
    assert Dataset(path).num_steps == 6


@pytest.mark.parametrize("gone", ["header.json", "steps.bin"])
def test_a_journal_whose_removal_was_cut_short_is_not_taken_for_a_lost_episode(
    make_dataset, world, monkeypatch, caplog, gone
):
    path = make_dataset(3)
    with DatasetWriter.append_to(path) as w:
        world.start(w, 2, first=3)
        with monkeypatch.context() as patch:
            patch.setattr(journal.shutil, "rmtree", lambda folder, ignore_errors: (folder / gone).unlink())
            w.commit({})
    assert len(list((path / "pending").glob("[!.]*"))) == 1
    with DatasetWriter.append_to(path) as w:
        assert w.leftover_journals == [] and not caplog.records
    assert list((path / "pending").glob("[!.]*")) == []
