"""Recording a robot at the rates of its devices."""

from __future__ import annotations

import time
from types import SimpleNamespace

import numpy as np
import pytest

from robolearn.core.clock import MonotonicClock
from robolearn.core.device import Sample
from robolearn.core.errors import DeviceError
from robolearn.core.feature import Feature, features
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.repair.read_journal import read_journal
from robolearn.datasets.write.journal import find_journals
from robolearn.datasets.write.recorder import StreamRecorder
from robolearn.datasets.write.writer import DatasetWriter
from robolearn.teleop.episode import Episode
from robolearn.teleop.streaming import StreamSink

FORCE = Feature("observation.force", (3,), rate_hz=500.0, unit="N")
ACTION = Feature("action", (2,), kind="action", rate_hz=20.0)


class ForceSensor:
    """Keeps what the test lets it measure, like a driver with a buffer."""

    observation_features = features([FORCE])

    def __init__(self):
        self.samples: list[Sample] = []
        self.broken = False

    def measure(self, value: float, skip: int = 0) -> None:
        number = (self.samples[-1].sequence if self.samples else 0) + 1 + skip
        values = {FORCE.name: np.full(3, value, np.float32)}
        self.samples.append(Sample(values, 100.0 + number / 500, time.monotonic(), number))

    def read_after(self, sequence: int) -> list[Sample]:
        if self.broken:
            raise DeviceError("The force sensor was unplugged.")
        return [sample for sample in list(self.samples) if sample.sequence > sequence]


@pytest.fixture
def sensor() -> ForceSensor:
    return ForceSensor()


@pytest.fixture
def recorder(tmp_path, sensor):
    robot = SimpleNamespace(arm=sensor, sensors=())
    with (
        DatasetWriter.create(tmp_path / "d.zarr", features([FORCE, ACTION]), 20.0, recorded="streams") as writer,
        StreamRecorder(writer, MonotonicClock()) as streams,
    ):
        made = StreamSink(robot, streams)
        yield made
        made.end()


def act(recorder: StreamSink, value: float) -> None:
    recorder.step(0.0, {"action": np.full(2, value, np.float32)}, None)


def wait_until(condition) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def received(recorder: StreamSink) -> int:
    return recorder._recorder.counts()[FORCE.name].received


@pytest.mark.realtime
def test_samples_come_in_with_their_own_times_and_numbers_from_the_first_step_on(recorder, sensor, tmp_path):
    recorder.start_episode()
    sensor.measure(-1.0)  # before the operator has moved
    time.sleep(0.05)
    act(recorder, 0.0)
    for i in range(10):
        sensor.measure(float(i), skip=2 if i == 5 else 0)
        time.sleep(0.002)
    act(recorder, 1.0)
    wait_until(lambda: received(recorder) == 10)
    words = recorder.describe_episode(Episode(0))
    assert "observation.force 10/12, 2 dropped" in words
    assert "action 2/" in words
    recorder.commit({"task": "push"})
    dataset = Dataset(tmp_path / "d.zarr")
    stream = dataset.stream(FORCE.name)
    assert stream.values[:, 0].tolist() == list(range(10))
    assert stream.sequence.tolist() == [2, 3, 4, 5, 6, 9, 10, 11, 12, 13]
    assert stream.device_time == pytest.approx(100.0 + stream.sequence / 500)
    assert dataset.episodes[0]["streams"][FORCE.name]["dropped"] == 2


@pytest.mark.realtime
def test_nothing_is_recorded_while_the_operator_has_paused(recorder, sensor, tmp_path):
    recorder.start_episode()
    act(recorder, 0.0)
    sensor.measure(1.0)
    wait_until(lambda: received(recorder) == 1)
    recorder.pause()
    sensor.measure(2.0)
    time.sleep(0.05)
    act(recorder, 1.0)
    sensor.measure(3.0)
    wait_until(lambda: received(recorder) == 2)
    assert ", 0 dropped, 0 late" in recorder.describe_episode(Episode(0)).split(";")[0]
    recorder.commit({"pauses": []})
    dataset = Dataset(tmp_path / "d.zarr")
    assert dataset.stream(FORCE.name).values[:, 0].tolist() == [1.0, 3.0]
    assert len(dataset.episodes[0]["pauses"]) == 1


def test_a_device_that_fails_ends_the_episode_with_its_own_words(recorder, sensor):
    recorder.start_episode()
    act(recorder, 0.0)
    sensor.broken = True

    def fails() -> bool:
        try:
            act(recorder, 1.0)
        except DeviceError as error:
            return str(error) == "The force sensor was unplugged."
        return False

    wait_until(fails)
    recorder.discard()
    assert recorder.num_episodes == 0


def test_a_driver_that_breaks_its_promises_ends_the_episode_too(recorder, sensor):
    recorder.start_episode()
    act(recorder, 0.0)
    sensor.samples.append(Sample({}, None, time.monotonic(), 1))
    with pytest.raises(KeyError, match=FORCE.name):
        wait_until(lambda: act(recorder, 1.0))


def test_an_episode_that_is_never_saved_has_what_was_known_when_it_began(recorder, sensor, tmp_path):
    recorder.start_episode({"task": "push", "init_state": 7})
    act(recorder, 0.0)
    sensor.measure(1.0)
    wait_until(lambda: received(recorder) == 1)
    act(recorder, 1.0)
    recorder._recorder.close()
    (journal,) = find_journals(tmp_path / "d.zarr" / "pending")
    record = read_journal(journal).data.record
    assert (record["task"], record["init_state"]) == ("push", 7)


def test_an_empty_episode_can_be_discarded(recorder):
    recorder.start_episode()
    recorder.discard()
    assert recorder.num_episodes == 0
