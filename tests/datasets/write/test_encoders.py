"""Encoding while recording: frames that encoders cannot keep up with are spooled, and encoded at the end."""

import sys
import threading
import time
from pathlib import Path

import pytest

from robolearn.core.clock import VirtualClock
from robolearn.core.errors import DatasetError
from robolearn.datasets.format.codecs import JpegCodec
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.repair.read_journal import read_journal
from robolearn.datasets.write.recorder import StreamRecorder

sys.path.append(str(Path(__file__).parents[1]))
from stream_recordings import CAMERA, create, feed, record_of


@pytest.fixture
def path(tmp_path):
    return tmp_path / "streams.zarr"


class SlowCodec(JpegCodec):
    """Encodes nothing until it is allowed to."""

    def __init__(self):
        super().__init__()
        self.allowed = threading.Event()

    def encode(self, image):
        self.allowed.wait()
        return super().encode(image)


def test_frames_that_encoders_cannot_keep_up_with_are_spooled_and_none_is_lost(path, world, monkeypatch):
    monkeypatch.setattr("robolearn.datasets.write.encoders.OVERDUE_S", 3600.0)
    clock, told, slow = VirtualClock(), [], SlowCodec()
    with create(path) as writer:
        writer._codecs[CAMERA] = slow
        recorder = StreamRecorder(writer, clock, queue_bytes=5 * 24 * 32 * 3, tell=told.append)
        recorder.start_episode()
        feed(recorder, clock, world, seconds=1.0)
        folder = writer.active_journal / CAMERA
        while len(list(folder.glob("*.raw"))) < 15 or recorder.counts()[CAMERA].spooled != 15:
            time.sleep(0.005)
        assert len(told) == 1 and CAMERA in told[0] and "nothing is lost" in told[0]
        slow.allowed.set()
        recorder.commit({})
        recorder.close()
    found = record_of(path)["streams"][CAMERA]
    assert (found["received"], found["dropped"], found["spooled"]) == (20, 0, 15)
    for row in range(20):
        data = (path / "streams" / CAMERA / "value" / f"{row}.0.0.0").read_bytes()
        assert data == JpegCodec().encode(world.image(row))
    Dataset(path).verify_episode(0)


def test_a_frame_waits_half_a_second_for_an_encoder_then_it_is_spooled(path, world):
    """So that kill -9 costs no more, however slow the encoders are."""
    clock = VirtualClock()
    with create(path) as writer:
        recorder = StreamRecorder(writer, clock, encoders=0, tell=lambda line: None)
        recorder.start_episode()
        began_s = time.monotonic()
        feed(recorder, clock, world)
        while recorder._journal.num_rows[CAMERA] < 20:
            assert time.monotonic() - began_s < 5
            time.sleep(0.005)
        assert time.monotonic() - began_s > 0.5
        kept = read_journal(writer.active_journal).data.streams[CAMERA]
        assert len(kept.timestamp) == kept.counts["spooled"] == 20
        recorder.close()


def test_too_much_for_encoders_and_disk_is_refused_by_name(path, world, monkeypatch):
    clock = VirtualClock()
    blocked = threading.Event()
    monkeypatch.setattr("robolearn.datasets.write.encoders.write_raw", lambda *args: blocked.wait())
    with create(path) as writer:
        recorder = StreamRecorder(writer, clock, encoders=0, queue_bytes=24 * 32 * 3)
        recorder.start_episode()
        for k in range(6):
            clock.advance(0.1)
            recorder.add(CAMERA, world.image(k))
            if k == 4:
                break
        clock.advance(0.1)
        with pytest.raises(DatasetError, match=rf"'{CAMERA}': a frame is lost: .* wait for the disk"):
            recorder.add(CAMERA, world.image(9))
        blocked.set()
        recorder.discard()


def test_closing_keeps_the_frames_that_wait_for_an_encoder(path, world):
    clock = VirtualClock()
    with create(path) as writer:
        recorder = StreamRecorder(writer, clock, encoders=0)
        recorder.start_episode()
        feed(recorder, clock, world)
        journal = writer.active_journal
        recorder.close()
    salvaged = read_journal(journal)
    assert salvaged.losses == []
    assert list(salvaged.data.streams[CAMERA].frames) == [JpegCodec().encode(world.image(k)) for k in range(20)]


class BrokenCodec(JpegCodec):
    def encode(self, image):
        raise ValueError("no such table")


def test_an_encoder_that_fails_is_told_and_nobody_waits_for_it(path, world):
    clock = VirtualClock()
    with create(path) as writer, StreamRecorder(writer, clock, tell=lambda line: None) as recorder:
        writer._codecs[CAMERA] = BrokenCodec()
        recorder.start_episode()
        clock.advance(0.1)
        recorder.add(CAMERA, world.image(0))
        with pytest.raises(DatasetError, match=rf"'{CAMERA}': a frame cannot be encoded \(ValueError: no such table\)"):
            recorder.commit({})
        recorder.discard()
