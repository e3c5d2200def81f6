"""Collect episodes into a dataset: who drives what, which episodes are kept, and what is said about each."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from robolearn.core.clock import Clock, VirtualClock
from robolearn.core.errors import DatasetError, DeviceError, FeatureError
from robolearn.core.feature import Features, require
from robolearn.core.lock import holder_of
from robolearn.core.output import check_output
from robolearn.core.provenance import git_revision, package_versions
from robolearn.datasets.format import layout
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.read.store import refuse_url
from robolearn.datasets.tools.start_states import next_init_state
from robolearn.datasets.write.writer import DatasetWriter
from robolearn.execution.command import Command
from robolearn.execution.outcome import outcome_word
from robolearn.hardware.input.protocol import Event, InputDevice
from robolearn.teleop.pace import describe_slow
from robolearn.teleop.session import Episode, Recorder, TeleopSession
from robolearn.teleop.status import Status
from robolearn.teleop.target import TeleopTarget

MAX_FAILURES_IN_A_ROW = 10
IMAGES = "observation.images."


@dataclass
class RecordSummary:
    """What a recording session did.

    Attributes:
        dataset: path.
        recorded, steps: episodes and steps added by this session.
        total_episodes: in the dataset now.
        discarded: attempts the operator threw away, gave up or stopped in.
        failed: attempts of an autonomous operator that missed the task; they were done again.
        late_ticks, skipped_ticks: over the recorded episodes.
        rate_hz: measured, over the recorded episodes.
        recorded_s, wall_s: length of the recorded episodes without pauses, on their own clock, and of the session.
        stopped: "operator" or "signal" when the session ended early, else None.
    """

    dataset: str
    recorded: int = 0
    steps: int = 0
    total_episodes: int = 0
    discarded: int = 0
    failed: int = 0
    late_ticks: int = 0
    skipped_ticks: int = 0
    rate_hz: float = 0.0
    recorded_s: float = 0.0
    wall_s: float = 0.0
    stopped: str | None = None


class EpisodeRecorder(Recorder, ABC):
    """Where episodes go: a dataset, step by step, or as streams (`robolearn.teleop.streaming`)."""

    @property
    @abstractmethod
    def num_episodes(self) -> int:
        """Committed episodes."""

    @abstractmethod
    def start_episode(self, facts: Mapping[str, Any] | None = None) -> None:
        """Begin an episode.

        Args:
            facts: what is known of it already, json-ready; an episode that is never committed has them, too.
        """

    @abstractmethod
    def commit(self, metadata: Mapping[str, Any]) -> int: ...

    @abstractmethod
    def discard(self) -> None: ...

    @abstractmethod
    def describe_episode(self, episode: Episode) -> str:
        """How many samples were expected and came in the episode saved last, in one line for the operator."""


class StepRecorder(EpisodeRecorder):
    """Steps of a session go into a dataset's pending episode."""

    def __init__(self, writer: DatasetWriter):
        self._writer = writer

    @property
    def num_episodes(self) -> int:
        return self._writer.num_episodes

    def start_episode(self, facts: Mapping[str, Any] | None = None) -> None:
        self._writer.start_episode(facts)

    def step(self, time_s: float, values: dict[str, np.ndarray], sim_state: np.ndarray | None) -> None:
        self._writer.append(time_s, values, sim_state)

    def commit(self, metadata: Mapping[str, Any]) -> int:
        return self._writer.commit(metadata)

    def discard(self) -> None:
        self._writer.discard()

    def describe_episode(self, episode: Episode) -> str:
        expected = episode.steps + episode.skipped_ticks
        return f"steps {episode.steps}/{expected}, {episode.skipped_ticks} dropped, {episode.late_ticks} late"


def recorded_features(target: TeleopTarget) -> Features:
    """What every recorded step holds."""
    return {**target.observation_features, target.action_feature.name: target.action_feature}


def check_dataset_path(path: Path, resume: bool, command: str) -> None:
    """Refuse, before a robot moves: a URL, a folder that cannot be made, a dataset that another process writes, an
    existing one without `--resume` and a missing one with it. Raises ConfigError or DatasetError.

    Args:
        command: the command line that was typed, to be shown with `--resume` added.
    """
    refuse_url(path, "recording needs a local folder")
    check_output(path, "--dataset")
    if (writer := holder_of(path / layout.LOCK)) is not None:
        raise DatasetError(f"{path} is being written by {writer}; {writer.remedy}")
    exists = path.exists() and (not path.is_dir() or any(path.iterdir()))
    if exists and not resume:
        count = Dataset(path).num_episodes
        raise DatasetError(
            f"{path} exists already, with {count} episodes. Record more into it with: {command} --resume "
            "(or give another --dataset)."
        )
    if resume and not exists:
        raise DatasetError(f"There is no dataset {path} to go on with; leave out --resume to start it.")


def open_writer(
    path: Path,
    target: TeleopTarget,
    fps: float,
    metadata: dict[str, Any],
    recorded: Literal["steps", "streams"] = "steps",
) -> DatasetWriter:
    """The dataset at `path`, new or checked to hold the same features, at the same rate, recorded in the same way.

    Raises DatasetError or FeatureError saying what differs.
    """
    features = recorded_features(target)
    if not path.exists() or not any(path.iterdir()):
        return DatasetWriter.create(path, features, fps, metadata, recorded=recorded)
    writer = DatasetWriter.append_to(path)
    try:
        if writer.recorded != recorded:
            here = {"steps": "in simulated steps, by --env", "streams": "from a robot in real time, by --robot"}
            raise DatasetError(
                f"{path} was recorded {here[writer.recorded]}; found {here[recorded]}; use a new --dataset."
            )
        _check_same(path, writer.features, features)
        if abs(writer.fps - fps) > 1e-6:
            raise DatasetError(
                f"{path} was recorded at {writer.fps:g} steps per second, found {fps:g}; use --fps {writer.fps:g}."
            )
    except BaseException:
        writer.close()
        raise
    return writer


def _check_same(path: Path, stored: Features, offered: Features) -> None:
    """Raises FeatureError naming the first difference and the option that mends it."""
    for names, problem, remedy in (
        (stored.keys() - offered.keys(), "holds {!r}, which this session lacks", "add --camera {}"),
        (offered.keys() - stored.keys(), "does not hold {!r}, which this session has", "leave out --camera {}"),
    ):
        for name in sorted(names):
            is_image = name.startswith(IMAGES)
            hint = remedy.format(name.removeprefix(IMAGES)) if is_image else "use the same --env, or a new --dataset"
            raise FeatureError(f"{path} {problem.format(name)}; {hint}.")
    require(stored, offered, f"Dataset {path}", "this session")


def episode_record(episode: Episode, device: InputDevice, task: str, seed: int, simulated_time: bool) -> dict[str, Any]:
    """What is stored with an episode besides its steps."""
    return {
        "task": task,
        "success": episode.succeeded,
        "success_env": episode.success,
        "success_operator": episode.mark,
        "operator": device.name,
        "seed": seed,
        "init_state": episode.init_state,
        "started_at": episode.started_at,
        "clock": "simulated" if simulated_time else "host monotonic",
        "late_ticks": episode.late_ticks,
        "skipped_ticks": episode.skipped_ticks,
        "rate_hz": round(episode.rate_hz, 4),
        "slowed_by": episode.slowed_by,
        "pauses": [list(pause) for pause in episode.pauses],
        "software": {"git_revision": git_revision(), "versions": package_versions()},
    }


class RecordingSession:
    """Runs episodes until enough are kept.

    Args:
        target, device, clock, rate_hz: as for `TeleopSession`; the device must be connected.
        recorder: takes the episodes.
        path: of its dataset.
        status: shows what happens.
        stop: asked once a tick; True ends the session.
        task, seed: stored with each episode.
    """

    def __init__(
        self,
        target: TeleopTarget,
        device: InputDevice,
        clock: Clock,
        rate_hz: float,
        recorder: EpisodeRecorder,
        path: Path,
        status: Status,
        stop: Callable[[], bool] = lambda: False,
        task: str = "",
        seed: int = 0,
    ):
        self._device = device
        self._recorder = recorder
        self._path = path
        self._status = status
        self._stop = stop
        self._task = task
        self._seed = seed
        self._simulated_time = isinstance(clock, VirtualClock)
        self._heading = ""
        self._announced = False
        self._rate_hz = rate_hz
        self._slow_told = False
        self._session = TeleopSession(target, device, clock, rate_hz, recorder, self._tick, stop)

    def run(self, num_episodes: int) -> RecordSummary:
        """Record `num_episodes` more. What is committed is safe whatever happens later.

        Raises DeviceError when an autonomous operator fails again and again.
        """
        summary = RecordSummary(str(self._path))
        started = time.monotonic()
        state = next_init_state(self._path)
        failures = 0
        while summary.recorded < num_episodes and summary.stopped is None:
            self._heading = f"episode {summary.recorded + 1}/{num_episodes}"
            self._recorder.start_episode(self._known(state))
            self._announced = self._device.autonomous
            episode = self._session.run_episode(state)
            state += 1
            missed = self._device.autonomous and episode.success is False
            if episode.ending is Event.SAVE and not missed:
                self._commit(episode, summary)
                failures = 0
                continue
            self._recorder.discard()
            if episode.ending is Event.STOP:
                summary.stopped = "signal" if self._stop() else "operator"
                if episode.steps:
                    self._status.say(f"{self._heading} dropped after {episode.steps} steps: it was not saved")
                break
            summary.failed += missed
            summary.discarded += not missed
            failures += 1
            self._status.say(f"{self._heading} {'missed the task' if missed else 'discarded'}; doing it again")
            if self._device.autonomous and failures >= MAX_FAILURES_IN_A_ROW:
                raise DeviceError(
                    f"The {self._device.name} operator failed {failures} times in a row, last from start state "
                    f"{state - 1}; {self._recorder.num_episodes} episodes are saved in {self._path}."
                )
        summary.total_episodes = self._recorder.num_episodes
        summary.wall_s = time.monotonic() - started
        return summary

    def _known(self, state: int) -> dict[str, Any]:
        """What is known of an episode before it begins."""
        return {"task": self._task, "operator": self._device.name, "seed": self._seed, "init_state": state}

    def _tick(self, episode: Episode, measured: Command, target: Command) -> None:
        if not self._announced:
            self._status.say(f"{self._heading} is ready; it begins when you move")
            self._announced = True
        if episode.slowed_by and not self._slow_told:
            self._slow_told = True
            self._status.say(describe_slow("recording", episode.rate_hz, self._rate_hz, episode.slowed_by))
        self._status.tick(self._heading, episode, measured)

    def _commit(self, episode: Episode, summary: RecordSummary) -> None:
        record = episode_record(episode, self._device, self._task, self._seed, self._simulated_time)
        self._recorder.commit(record)
        counts = self._recorder.describe_episode(episode)
        summary.recorded += 1
        summary.steps += episode.steps
        summary.late_ticks += episode.late_ticks
        summary.skipped_ticks += episode.skipped_ticks
        summary.recorded_s += episode.recorded_s
        if summary.recorded_s > 0:
            summary.rate_hz = (summary.steps - summary.recorded) / summary.recorded_s
        outcome = outcome_word(episode.succeeded)
        self._status.say(
            f"{self._heading} saved: {episode.steps} steps, {episode.duration_s:.1f} s at {episode.rate_hz:.2f} Hz, "
            f"{outcome}; {counts}"
        )
        if episode.slowed_by:
            self._status.say("  " + describe_slow("recorded", episode.rate_hz, self._rate_hz, episode.slowed_by))
