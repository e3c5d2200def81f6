"""Recording a robot at native rates: one thread a device hands every new sample to the recorder, with its own times."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from robolearn.core.clock import MonotonicClock
from robolearn.core.device import Sample
from robolearn.core.feature import Features
from robolearn.datasets.write.recorder import StreamRecorder
from robolearn.hardware.robot import Robot
from robolearn.teleop.episode import Episode
from robolearn.teleop.sink import EpisodeSink

# after so long devices are asked for what came since; they keep samples for longer than this
_POLL_EVERY_S = 0.01


class Device(Protocol):
    """An arm or a sensor, as far as it is recorded."""

    @property
    def observation_features(self) -> Features: ...

    def read_after(self, sequence: int) -> list[Sample]: ...


class StreamSink(EpisodeSink):
    """Records the devices of a robot while a session runs.

    Samples are recorded from the first recorded step of an episode on, and not while the operator has paused.
    A device that fails ends the episode at the next step, with its own words.

    Args:
        robot: connected.
        recorder: of a dataset that holds the robot's features, each with its rate, and `action`.
    """

    def __init__(self, robot: Robot, recorder: StreamRecorder):
        self._recorder = recorder
        self._begun = False
        self._facts: Mapping[str, Any] | None = None
        self._clock = MonotonicClock()
        self._pumps = [_Pump(device, recorder) for device in (robot.arm, *robot.sensors) if device.observation_features]

    @property
    def num_episodes(self) -> int:
        return self._recorder.num_episodes

    def start_episode(self, facts: Mapping[str, Any] | None = None) -> None:
        """Nothing yet: time counts from the first step, as the operator's hand is not ready before."""
        self._begun, self._facts = False, facts

    def step(self, time_s: float, values: Mapping[str, np.ndarray], sim_state: np.ndarray | None) -> None:
        """Record the action that was given now; the devices' samples come by themselves."""
        if not self._begun:
            self._recorder.start_episode(self._facts)
            self._begun = True
        self._recorder.resume()
        for pump in self._pumps:
            pump.check()
            pump.open()
        self._recorder.add("action", values["action"], host_time_s=self._clock.now())

    def pause(self) -> None:
        """Nothing is recorded until the next step."""
        for pump in self._pumps:
            pump.close()
        self._recorder.pause()

    def commit(self, metadata: Mapping[str, Any]) -> None:
        self.pause()
        # the recorder's own pauses are those of its streams
        self._recorder.commit({key: value for key, value in metadata.items() if key != "pauses"})

    def discard(self) -> None:
        self.pause()
        self._recorder.discard()

    def describe_episode(self, episode: Episode) -> str:
        return describe_counts(self._recorder.counts())

    def end(self) -> None:
        """End the threads."""
        for pump in self._pumps:
            pump.end()


class _Pump:
    """The thread of one device."""

    def __init__(self, device: Device, recorder: StreamRecorder):
        self._device = device
        self._recorder = recorder
        self._names = tuple(device.observation_features)
        self._clock = MonotonicClock()
        self._opened_s = np.inf
        self._ending = threading.Event()
        self._error: Exception | None = None
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name=f"recording {self._names[0]}", daemon=True)
        self._thread.start()

    def open(self) -> None:
        """Record samples taken from now on; does nothing when that is so already."""
        if self._opened_s == np.inf:
            self._opened_s = self._clock.now()

    def close(self) -> None:
        """Record nothing more; samples that are being handed over are waited for."""
        with self._lock:
            self._opened_s = np.inf

    def check(self) -> None:
        """Raise what the device failed with."""
        if self._error is not None:
            raise self._error

    def end(self) -> None:
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        newest = 0
        try:
            while not self._ending.wait(_POLL_EVERY_S):
                with self._lock:
                    for sample in self._device.read_after(newest):
                        newest = sample.sequence
                        if sample.host_time_s >= self._opened_s:
                            self._hand_over(sample)
        except Exception as error:  # also a driver's bug: the stream must not end unnoticed
            self._error = error

    def _hand_over(self, sample: Sample) -> None:
        for name in self._names:
            self._recorder.add(name, sample.values[name], sample.host_time_s, sample.device_time_s, sample.sequence)


def describe_counts(counts: Mapping[str, Any]) -> str:
    """`name received/expected, n dropped, n late` of every stream, in one line."""
    return "; ".join(_describe(name, count) for name, count in counts.items())


def _describe(name: str, count: Any) -> str:
    parts: Sequence[str] = (
        f"{name} {count.received}" + (f"/{count.expected}" if count.rate_hz else ""),
        f"{count.dropped} dropped",
        f"{count.late} late",
        *([f"{count.spooled} written raw"] if count.spooled else []),
    )
    return ", ".join(parts)
