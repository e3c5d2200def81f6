"""What a recorder of streams keeps of the samples it is given, and what it refuses."""

import os
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from robolearn.core.clock import VirtualClock
from robolearn.core.errors import DatasetError, FeatureError
from robolearn.core.feature import Feature, features
from robolearn.datasets.format.layout import Metadata
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.repair.read_journal import read_journal
from robolearn.datasets.repair.run import repair
from robolearn.datasets.write.recorder import StreamRecorder
from robolearn.datasets.write.writer import DatasetWriter

sys.path.append(str(Path(__file__).parents[1]))
from stream_recordings import CAMERA, STREAMS, create, feed, record_of


@pytest.fixture
def path(tmp_path):
    return tmp_path / "streams.zarr"


def read_rows(path, key, dtype=None):
    """An array without the reader: chunks joined."""
    info = Metadata.read(path).arrays[key]
    chunks = [(path / key / info.chunk_name(k)).read_bytes() for k in range(-(-info.length // info.chunk_rows))]
    return np.frombuffer(b"".join(chunks), info.dtype).reshape(-1, *info.row_shape)[: info.length]


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
