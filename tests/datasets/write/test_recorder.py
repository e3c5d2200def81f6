import json
import os
import re
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest

from robolearn.core.clock import VirtualClock
from robolearn.core.errors import DatasetError, FeatureError
from robolearn.core.feature import Feature, features
from robolearn.datasets.format.codecs import JpegCodec
from robolearn.datasets.format.layout import Metadata
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.repair.read_journal import read_journal
from robolearn.datasets.repair.run import repair
from robolearn.datasets.write import commit
from robolearn.datasets.write import recorder as recorder_module
from robolearn.datasets.write.chunk_staging import RecordLog
from robolearn.datasets.write.recorder import StreamRecorder
from robolearn.datasets.write.writer import DatasetWriter

CAMERA = "observation.images.front"
STREAMS = features(
    [
        Feature("observation.state", (2,), rate_hz=100),
        Feature("action", (1,), kind="action", rate_hz=10),
        Feature(CAMERA, (24, 32, 3), "uint8", "image", rate_hz=20),
        Feature("button", (1,), "int64", "event"),
    ]
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "streams.zarr"


def create(path, **options):
    return DatasetWriter.create(path, STREAMS, 10, recorded="streams", durable=False, **options)


def feed(recorder, clock, world, seconds=1.0, dead_camera_after=None):
    """Samples of all devices at their rates, in the order of time, on a clock that is moved along."""
    start = clock.now()
    samples = [(k / 100, "observation.state", k) for k in range(round(100 * seconds))]
    samples += [(k / 10 + 0.001, "action", k) for k in range(round(10 * seconds))]
    last = seconds if dead_camera_after is None else dead_camera_after
    samples += [(k / 20 + 0.002, CAMERA, k) for k in range(round(20 * last))]
    samples += [(0.5, "button", 1)]
    for time_s, name, k in sorted(samples):
        clock.sleep_until(start + time_s)
        value = world.image(k) if name == CAMERA else np.full(STREAMS[name].shape, k)
        assert recorder.add(name, value, start + time_s, 100 + time_s, k if name != "button" else None)


def read_rows(path, key, dtype=None):
    """An array without the reader: chunks joined."""
    info = Metadata.read(path).arrays[key]
    chunks = [(path / key / info.chunk_name(k)).read_bytes() for k in range(-(-info.length // info.chunk_rows))]
    return np.frombuffer(b"".join(chunks), info.dtype).reshape(-1, *info.row_shape)[: info.length]


def record_of(path):
    return RecordLog.read(path, Metadata.read(path)).last


def test_every_stream_is_kept_at_its_own_rate_and_the_grid_follows(path, world):
    clock = VirtualClock(1000.0)
    with create(path) as writer, StreamRecorder(writer, clock) as recorder:
        for _ in range(2):
            recorder.start_episode()
            feed(recorder, clock, world)
            recorder.commit({"task": "count"})
            clock.advance(5.0)
    dataset = Dataset(path)
    assert dataset.num_episodes == 2
    assert set(dataset.features) == set(STREAMS) - {"button"}
    stamps = read_rows(path, "streams/observation.state/timestamp")
    assert np.allclose(stamps, np.tile(np.arange(100) / 100, 2), atol=1e-9)
    assert np.allclose(read_rows(path, "streams/observation.state/device_time")[:100], 100 + stamps[:100])
    assert read_rows(path, f"streams/{CAMERA}/sequence").tolist() == [*range(20)] * 2
    assert read_rows(path, "streams/button/value").tolist() == [[1], [1]]
    assert read_rows(path, "streams/button/episode_ends").tolist() == [1, 2]
    # ticks at 0.002 + k / 10, until the last sample at 0.99: 10 of them
    steps = np.arange(10)
    assert np.allclose(dataset.timestamps, np.tile(0.002 + steps / 10, 2))
    assert dataset.array("observation.state")[:, 0].tolist() == (10 * steps).tolist() * 2
    assert dataset.array("action")[:, 0].tolist() == steps.tolist() * 2
    at_step = read_rows(path, f"streams/{CAMERA}/at_step")
    assert at_step.tolist() == (2 * steps).tolist() + (20 + 2 * steps).tolist()
    for step in (0, 7, 12):
        row = int(at_step[step])
        assert np.abs(dataset.image(CAMERA, step).astype(int) - world.image(row % 20)).max() < 12
        grid, stream = (path / key / "{}.0.0.0" for key in (f"data/{CAMERA}", f"streams/{CAMERA}/value"))
        assert os.path.samefile(str(grid).format(step), str(stream).format(row))
    for episode in range(2):
        dataset.verify_episode(episode)
    counts = record_of(path)["streams"]
    assert counts[CAMERA] == {
        "expected": 20, "received": 20, "dropped": 0, "late": 0, "spooled": 0,
        "device_clock_steps": 0, "rate_hz": 20.0, "repeats": 0,
    }  # fmt: skip


def test_a_camera_that_dies_is_repeated_marked_and_counted(path, world):
    clock = VirtualClock()
    with create(path) as writer, StreamRecorder(writer, clock) as recorder:
        recorder.start_episode()
        feed(recorder, clock, world, dead_camera_after=0.5)
        assert recorder.counts()[CAMERA].dropped == 10
        recorder.commit({})
    assert read_rows(path, f"streams/{CAMERA}/at_step").tolist() == [0, 2, 4, 6, 8, 9, 9, 9, 9, 9]
    assert record_of(path)["streams"][CAMERA]["repeats"] == 4
    Dataset(path).verify_episode(0)


def test_samples_of_many_threads_all_arrive_in_order(path):
    signals = features([Feature(f"s{k}", (3,), "int64", rate_hz=1000) for k in range(6)])
    with DatasetWriter.create(path, signals, 10, recorded="streams", durable=False) as writer:
        recorder = StreamRecorder(writer)
        recorder.start_episode()
        start = time.monotonic()

        def device(name):
            for k in range(2000):
                recorder.add(name, [k, k, k], start + (k + 1) * 1e-6, sequence=k)

        threads = [threading.Thread(target=device, args=(name,)) for name in signals]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        recorder.commit({})
    for name in signals:
        assert (read_rows(path, f"streams/{name}/value")[:, 2] == np.arange(2000)).all()


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


@pytest.mark.parametrize(
    ("name", "value", "times", "message"),
    [
        ("observation.state", [1.0, np.nan], {}, r"'observation\.state' holds a non-finite value"),
        ("observation.state", [1.0], {}, r"'observation\.state' has shape \(1,\), expected \(2,\)"),
        ("action", ["x"], {}, "'action' has dtype"),
        (CAMERA, np.zeros((24, 32, 3)), {}, r"front' has dtype float64, expected uint8"),
        (CAMERA, np.zeros((24, 31, 3), np.uint8), {}, r"front' has shape"),
        ("acton", [1.0], {}, "Did you mean 'action'"),
        ("action", [1.0], {"host_time_s": 10.5}, r"'action': a sample at 0\.5.* does not come after"),
        ("action", [1.0], {"host_time_s": 1.8e9}, r"'action'.* in the future; expected a host_time_s of the recorder"),
        ("action", [1.0], {"host_time_s": np.nan}, r"'action': host_time_s is nan"),
        ("action", [1.0], {"device_time_s": np.inf}, r"'action': device_time_s is inf"),
    ],
)
def test_a_bad_sample_is_refused_by_name_and_the_episode_goes_on(path, world, name, value, times, message):
    clock = VirtualClock(10.0)
    with create(path) as writer, StreamRecorder(writer, clock) as recorder:
        recorder.start_episode()
        feed(recorder, clock, world)
        clock.advance(0.1)
        with pytest.raises(FeatureError, match=message):
            recorder.add(name, value, **times)
        assert recorder.add("observation.state", [1, 2])
        recorder.commit({})
    assert record_of(path)["streams"]["observation.state"]["received"] == 101
    assert record_of(path)["streams"]["action"]["received"] == 10


def test_samples_outside_an_episode_are_not_recorded(path, world):
    clock = VirtualClock(50.0)
    with create(path) as writer, StreamRecorder(writer, clock) as recorder:
        assert recorder.add("action", [1.0]) is False
        recorder.start_episode()
        assert recorder.add("action", [1.0], host_time_s=49.99) is False
        feed(recorder, clock, world)
        recorder.commit({})
        assert recorder.add("action", [1.0]) is False
        recorder.start_episode()
        recorder.discard()
    assert record_of(path)["streams"]["action"]["received"] == 10
    assert [p.name for p in (path / "pending").iterdir() if p.name[0] != "."] == []


def test_a_pause_is_no_gap_and_has_no_steps(path, world):
    """Half a second, a pause of two seconds in which the devices go on counting, and half a second again."""
    clock = VirtualClock()
    with create(path) as writer, StreamRecorder(writer, clock) as recorder:
        recorder.start_episode()
        for k in range(300):
            clock.sleep_until(k / 100)
            if k == 50:
                recorder.pause()
                recorder.pause()
            if k == 250:
                recorder.resume()
                recorder.resume()
            taken = recorder.add("observation.state", [k, k], sequence=k)
            assert taken == (not 50 <= k < 250)
            if k % 10 == 0:
                assert recorder.add("action", [k]) == taken
            if k % 5 == 0:
                assert recorder.add(CAMERA, world.image(0), sequence=k // 5) == taken
        assert recorder.add("button", [1], host_time_s=1.5) is False
        journal = writer.active_journal
        recorder._pool.finish()
        recorder._end_threads()
        recorder._drain()
        salvaged = read_journal(journal)
        recorder.commit({})
    record = record_of(path)
    assert record["pauses"] == [[0.5, 2.0]]
    for name, received in (("observation.state", 100), ("action", 10), (CAMERA, 20)):
        counts = record["streams"][name]
        assert (counts["expected"], counts["received"], counts["dropped"], counts["late"]) == (received, received, 0, 0)
        assert counts["rate_hz"] == pytest.approx(STREAMS[name].rate_hz, rel=0.15)
    times = [0, 0.1, 0.2, 0.3, 0.4, 2.5, 2.6, 2.7, 2.8, 2.9]
    assert np.allclose(read_rows(path, "data/timestamp"), times)
    assert read_rows(path, "data/action")[:, 0].tolist() == [0, 10, 20, 30, 40, 250, 260, 270, 280, 290]
    assert np.allclose(salvaged.data.timestamps, times)
    assert salvaged.data.record["pauses"] == [[0.5, 2.0]]
    for name, stream in salvaged.data.streams.items():
        assert {**stream.counts, "repeats": 0} == {**record["streams"][name], "repeats": 0}


def test_a_device_clock_that_steps_is_stored_as_it_is_and_counted(path, world):
    clock = VirtualClock()
    with create(path) as writer, StreamRecorder(writer, clock) as recorder:
        recorder.start_episode()
        feed(recorder, clock, world)
        for device_time_s in (7.0, 8.0, 2.0, 3.0):
            clock.advance(0.01)
            recorder.add("button", [2], device_time_s=device_time_s)
        recorder.commit({})
    assert read_rows(path, "streams/button/device_time").tolist() == [100.5, 7.0, 8.0, 2.0, 3.0]
    assert record_of(path)["streams"]["button"]["device_clock_steps"] == 2


def test_a_wall_clock_that_steps_changes_nothing(tmp_path):
    """In a process of its own, whose wall clock jumps by an hour back and forth at every reading."""
    path = tmp_path / "stepping.zarr"
    code = textwrap.dedent(f"""
        import time
        real, jumps = time.time, [0]
        def stepping():
            jumps[0] += 1
            return real() + (3600 if jumps[0] % 2 else -3600)
        time.time = stepping
        from pathlib import Path
        from robolearn.core.feature import Feature, features
        from robolearn.datasets.write.recorder import StreamRecorder
        from robolearn.datasets.write.writer import DatasetWriter
        signals = features([Feature("state", (1,), "int64", rate_hz=500)])
        with DatasetWriter.create(Path({str(path)!r}), signals, 50, recorded="streams") as writer:
            recorder = StreamRecorder(writer)
            for episode in range(2):
                recorder.start_episode()
                for k in range(200):
                    time.sleep(0.002)
                    time.time()
                    recorder.add("state", [k])
                recorder.commit({{}})
    """)
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    stamps = read_rows(path, "streams/state/timestamp").reshape(2, 200)
    assert (np.diff(stamps, axis=1) >= 0.002).all()
    assert (stamps[:, -1] < 30).all()
    assert (read_rows(path, "streams/state/value").reshape(2, 200) == np.arange(200)).all()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 4 MB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip(f"cannot mount a tmpfs: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


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


def test_streams_and_steps_are_not_mixed(path, make_dataset):
    with pytest.raises(FeatureError, match="'action' has rate_hz None; a stream needs its rate"):
        DatasetWriter.create(path, features([Feature("action", (1,))]), 10, recorded="streams")
    with pytest.raises(FeatureError, match="found events only"):
        DatasetWriter.create(path, features([STREAMS["button"]]), 10, recorded="streams")
    with create(path) as writer, pytest.raises(DatasetError, match="record into it with StreamRecorder"):
        writer.start_episode()
    with DatasetWriter.append_to(make_dataset(1)) as writer, pytest.raises(DatasetError, match="step by step"):
        StreamRecorder(writer)


def test_a_second_recorder_is_refused_with_the_pid_of_the_first(path, world):
    code = f"from robolearn.datasets.write.writer import DatasetWriter; DatasetWriter.append_to({str(path)!r})"
    clock = VirtualClock()
    with create(path) as writer, StreamRecorder(writer, clock) as recorder:
        recorder.start_episode()
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert f"is being written by process {os.getpid()}" in other.stderr
        feed(recorder, clock, world)
        assert recorder.commit({}) == 0


def test_what_is_known_at_the_start_is_in_the_record_committed_or_salvaged(path, world):
    clock = VirtualClock()
    with create(path) as writer:
        recorder = StreamRecorder(writer, clock)
        with pytest.raises(DatasetError, match="may not set 'num_steps'"):
            recorder.start_episode({"num_steps": 1})
        recorder.start_episode({"task": "push", "seed": 3})
        feed(recorder, clock, world)
        recorder.commit({"seed": 4})
        recorder.start_episode({"task": "pull"})
        feed(recorder, clock, world)
        recorder._pool.finish()
        recorder.close()
    repair(path)
    committed, salvaged = Dataset(path).recorded_episodes
    assert (committed["task"], committed["seed"]) == ("push", 4)
    assert (salvaged["task"], salvaged["salvaged"]) == ("pull", True)


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


def test_episodes_without_an_event_follow_one_with(path, world):
    clock = VirtualClock()
    with create(path) as writer, StreamRecorder(writer, clock) as recorder:
        for presses in (1, 0, 1):
            recorder.start_episode()
            for k in range(20):
                clock.advance(0.05)
                for name in ("observation.state", "action"):
                    recorder.add(name, np.full(STREAMS[name].shape, k))
                recorder.add(CAMERA, world.image(k))
            for _ in range(presses):
                recorder.add("button", [7])
            recorder.commit({})
    assert read_rows(path, "streams/button/value").tolist() == [[7], [7]]
    assert read_rows(path, "streams/button/episode_ends").tolist() == [1, 1, 2]
    for episode in range(3):
        Dataset(path).verify_episode(episode)


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
