"""The commit of an episode of streams: a crash leaves all of it or nothing, a refusal can be repeated."""

import json
import os
import sys
import threading
from pathlib import Path

import pytest

from robolearn.core.clock import VirtualClock
from robolearn.core.errors import DatasetError
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.repair.read_journal import read_journal
from robolearn.datasets.write import commit
from robolearn.datasets.write import recorder as recorder_module
from robolearn.datasets.write.recorder import StreamRecorder
from robolearn.datasets.write.writer import DatasetWriter

sys.path.append(str(Path(__file__).parents[1]))
from stream_recordings import create, feed


@pytest.fixture
def path(tmp_path):
    return tmp_path / "streams.zarr"


def test_a_commit_that_is_refused_can_be_repeated_and_nothing_comes_in_between(path, world):
    clock = VirtualClock()
    with create(path) as writer, StreamRecorder(writer, clock) as recorder:
        recorder.start_episode()
        with pytest.raises(DatasetError, match="'observation.state' brought no sample"):
            recorder.commit({})
        recorder.discard()
        recorder.start_episode()
        feed(recorder, clock, world)
        with pytest.raises(DatasetError, match="may not set 'streams'"):
            recorder.commit({"streams": {}})
        with pytest.raises(DatasetError, match="cannot be stored as json"):
            recorder.commit({"note": object()})
        assert recorder.add("action", [1.0]) is False
        with pytest.raises(DatasetError, match="is being recorded already"):
            recorder.start_episode()
        assert recorder.commit({}) == 0
        with pytest.raises(DatasetError, match="no episode to commit"):
            recorder.commit({})


class Crash(BaseException):
    """Stands for a process that ends at this very point."""


def crash_at_call(monkeypatch, call):
    """Make the `call`-th change of the file system from now on raise Crash instead. Returns the counter."""
    count = [0]

    def guarded(original, counts=lambda *args: True):
        def wrapper(*args, **kwargs):
            if counts(*args) and threading.current_thread() is threading.main_thread():
                count[0] += 1
                if count[0] == call:
                    raise Crash
            return original(*args, **kwargs)

        return wrapper

    for name in ("link", "replace", "unlink", "fsync"):
        monkeypatch.setattr(os, name, guarded(getattr(os, name)))
    monkeypatch.setattr(os, "open", guarded(os.open, lambda path, flags, *rest: flags & os.O_CREAT))
    return count


def commit_with_crash(path, world, monkeypatch, call):
    """One committed episode of half a second, and one of a second whose commit ends at the `call`-th change."""
    clock = VirtualClock()
    writer = create(path)
    recorder = StreamRecorder(writer, clock)
    recorder.start_episode()
    feed(recorder, clock, world, seconds=0.5)
    recorder.commit({})
    recorder.start_episode()
    feed(recorder, clock, world)
    journal = writer.active_journal
    with monkeypatch.context() as patch:
        patch.setattr(recorder_module.StreamRecorder, "_end_episode", lambda self, remove: None)
        patch.setattr(writer, "durable", True)
        patch.setattr(commit, "sync_file_system", lambda path: None)  # waits for what others write to the disk, too
        count = crash_at_call(patch, call)
        try:
            recorder.commit({})
        except Crash:
            pass
    recorder._pool.stop()
    writer._lock.release()  # the kernel does this when a process dies
    return journal, count[0]


@pytest.mark.slow
def test_a_crash_anywhere_in_the_commit_of_streams_leaves_all_or_nothing(tmp_path, world, monkeypatch):
    _, calls = commit_with_crash(tmp_path / "whole.zarr", world, monkeypatch, -1)
    outcomes = []
    for call in sorted({*range(1, calls, 25), *range(calls - 9, calls + 1, 3)}):
        path = tmp_path / f"{call}.zarr"
        journal, _ = commit_with_crash(path, world, monkeypatch, call)
        dataset = Dataset(path)
        outcomes.append(dataset.num_episodes)
        for episode in range(dataset.num_episodes):
            dataset.verify_episode(episode)
        with DatasetWriter.append_to(path, durable=False) as writer:
            assert (journal in writer.leftover_journals) == (dataset.num_episodes == 1)
            if journal.exists():
                salvaged = read_journal(journal)
                assert salvaged.losses == []
                writer.write_episode(salvaged.data)
        dataset = Dataset(path)
        assert [len(dataset.timestamps[dataset.episode_slice(k)]) for k in range(2)] == [5, 10]
        dataset.verify_episode(1)
        length = json.loads((path / "streams/action/value/.zarray").read_bytes())["shape"][0]
        assert length == 15
    assert outcomes == sorted(outcomes) and set(outcomes) == {1, 2}
