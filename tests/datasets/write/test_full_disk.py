"""Recording onto a disk that is full, and then is not."""

import os
import re
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from robolearn.core.clock import VirtualClock
from robolearn.core.errors import DatasetError
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.write.recorder import StreamRecorder

sys.path.append(str(Path(__file__).parents[1]))
from stream_recordings import CAMERA, create, feed, record_of


@pytest.fixture
def path(tmp_path):
    return tmp_path / "streams.zarr"


@pytest.fixture
def small_disk(disk_of):
    return disk_of("4m")


def fill(disk, recorder, leave):
    """Leave so many bytes free, when everything recorded has been written."""
    while any(stream.rows or stream.frames for stream in recorder._streams.values()):
        time.sleep(0.005)
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    (disk / "filler").write_bytes(bytes(free - leave))


def add_until_refused(recorder, clock, name, values, message):
    """Returns how many samples were taken before one was refused with `message`."""
    for k in range(5000):
        clock.advance(0.01)
        try:
            assert recorder.add(name, values[k % len(values)])
        except DatasetError as error:
            found = str(error)
            break
        time.sleep(0.0005)
    assert re.search(message, found)
    return k


def test_a_full_disk_is_told_and_recording_goes_on_when_there_is_space(small_disk, world, path):
    rng, clock = np.random.default_rng(0), VirtualClock()
    noise = [rng.integers(0, 256, (24, 32, 3), np.uint8) for _ in range(20)]
    filler = small_disk / "filler"
    with create(small_disk / "full.zarr") as writer, StreamRecorder(writer, clock) as recorder:
        recorder.start_episode()
        feed(recorder, clock, world)
        fill(small_disk, recorder, leave=40_000)
        message = r"Recording failed: No space left on device.*is kept; free space"
        taken = add_until_refused(recorder, clock, CAMERA, noise, message)
        with pytest.raises(DatasetError, match=r"No space left on device.*free space and save again"):
            recorder.commit({})
        filler.unlink()
        recorder.commit({"task": "went on"})
        recorder.start_episode()
        feed(recorder, clock, world, seconds=0.5)
        recorder.commit({})
    dataset = Dataset(small_disk / "full.zarr")
    assert dataset.num_episodes == 2
    for episode in range(2):
        dataset.verify_episode(episode)
    assert dataset.episodes[0]["streams"][CAMERA]["received"] == 20 + taken


def test_recording_goes_on_after_a_full_disk_within_the_episode(small_disk, world):
    clock, filler = VirtualClock(), small_disk / "filler"
    with create(small_disk / "full.zarr") as writer, StreamRecorder(writer, clock) as recorder:
        recorder.start_episode()
        feed(recorder, clock, world)
        fill(small_disk, recorder, leave=20_000)
        values = np.arange(10_000).reshape(-1, 2)
        taken = add_until_refused(recorder, clock, "observation.state", values, "No space left on device")
        filler.unlink()
        while True:  # the rows that waited are written meanwhile
            try:
                clock.advance(0.01)
                recorder.add("observation.state", [0, 0])
                break
            except DatasetError:
                time.sleep(0.01)
        recorder.commit({})
    assert record_of(small_disk / "full.zarr")["streams"]["observation.state"]["received"] == 100 + taken + 1
    Dataset(small_disk / "full.zarr").verify_episode(0)
