"""What is saved of an episode of streams that was never committed."""

import os
import sys
import time
from pathlib import Path

import pytest

from robolearn.core.clock import VirtualClock
from robolearn.core.errors import DatasetError
from robolearn.datasets.format.codecs import JpegCodec
from robolearn.datasets.format.layout import Metadata
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.repair.read_journal import read_journal
from robolearn.datasets.write.recorder import StreamRecorder
from robolearn.datasets.write.writer import DatasetWriter

sys.path.append(str(Path(__file__).parents[1]))
from stream_recordings import CAMERA, create, feed


@pytest.fixture
def path(tmp_path):
    return tmp_path / "streams.zarr"


def test_spooled_frames_are_salvaged_after_a_crash(path, world, monkeypatch):
    monkeypatch.setattr("robolearn.datasets.write.encoders.OVERDUE_S", 3600.0)
    clock = VirtualClock()
    with create(path) as writer:
        recorder = StreamRecorder(writer, clock, encoders=0, queue_bytes=5 * 24 * 32 * 3, tell=lambda line: None)
        recorder.start_episode()
        feed(recorder, clock, world)
        journal = writer.active_journal
        while recorder.counts()[CAMERA].spooled < 15:
            time.sleep(0.005)
        for _ in range(5):  # an encoder comes that far
            recorder._pool._encode(recorder._pool._waiting.popleft())
        recorder.close()
        assert len(list((journal / CAMERA).glob("*.raw"))) == 15
        salvaged = read_journal(journal)
        frames = salvaged.data.streams[CAMERA].frames
        assert list(frames) == [JpegCodec().encode(world.image(k)) for k in range(20)]
        assert salvaged.data.streams[CAMERA].counts["spooled"] == 15


def test_of_streams_with_a_damaged_header_the_dataset_tells_what_they_hold(path, world):
    clock = VirtualClock()
    with create(path) as writer:
        recorder = StreamRecorder(writer, clock)
        recorder.start_episode({"task": "push"})
        feed(recorder, clock, world)
        recorder._pool.finish()
        recorder.close()
        (left,) = writer.leftover_journals
    whole = read_journal(left).data
    (left / "header.json").write_bytes(b"{}")
    with pytest.raises(DatasetError, match=r"header\.json is damaged"):
        read_journal(left)
    found = read_journal(left, Metadata.read(path))
    assert "header.json" in found.losses[0] and len(found.losses) == 1
    assert found.data.timestamps.tolist() == whole.timestamps.tolist()
    assert list(found.data.streams[CAMERA].frames) == list(whole.streams[CAMERA].frames)


def test_a_closed_recorder_leaves_an_episode_that_can_be_salvaged_whole(path, world):
    clock = VirtualClock()
    with create(path) as writer:
        recorder = StreamRecorder(writer, clock)
        recorder.start_episode()
        feed(recorder, clock, world)
        recorder._pool.finish()
        recorder.close()
    with DatasetWriter.append_to(path) as writer:
        (left,) = writer.leftover_journals
        salvaged = read_journal(left)
        assert salvaged.losses == []
        assert writer.write_episode(salvaged.data) == 0
        recorder = StreamRecorder(writer, clock)
        recorder.start_episode()
        feed(recorder, clock, world)
        recorder.commit({})
    dataset = Dataset(path)
    first, second = dataset.episodes
    # positions of rows differ between episodes, histograms sample other frames; everything recorded is the same
    skipped = ("at_step", "episode_ends", "histograms/")
    for key, crc in first["checksums"].items():
        if not any(part in key for part in skipped) and "timestamp" not in key and "device_time" not in key:
            assert crc == second["checksums"][key], key
    assert first["streams"] == second["streams"]


@pytest.mark.parametrize("damage", ["row", "frame", "half a row", "no frame"])
def test_salvage_leaves_out_what_is_damaged_and_says_so(path, world, damage):
    clock = VirtualClock()
    with create(path) as writer:
        recorder = StreamRecorder(writer, clock)
        recorder.start_episode()
        feed(recorder, clock, world)
        recorder._pool.finish()
        journal = writer.active_journal
        recorder.close()
    rows = journal / "observation.state.bin"
    if damage == "row":
        data = bytearray(rows.read_bytes())
        data[5 * (len(data) // 100) + 30] ^= 1
        rows.write_bytes(data)
    elif damage == "half a row":
        os.truncate(rows, rows.stat().st_size - 7)
    elif damage == "frame":
        (journal / CAMERA / "3").write_bytes(b"\xff\xd8 nothing \xff\xd9")
    else:
        (journal / CAMERA / "19").unlink()
    salvaged = read_journal(journal)
    (loss,) = salvaged.losses
    lengths = {name: len(stream.timestamp) for name, stream in salvaged.data.streams.items()}
    state, camera, place = {
        "row": (99, 20, "rows 5 "),
        "half a row": (99, 20, "beginning of a row"),
        "frame": (100, 19, "rows 3 "),
        "no frame": (100, 19, "rows 19 "),
    }[damage]
    assert (lengths["observation.state"], lengths[CAMERA]) == (state, camera)
    assert place in loss
    with DatasetWriter.append_to(path) as writer:
        writer.write_episode(salvaged.data)
    Dataset(path).verify_episode(0)
