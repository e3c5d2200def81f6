"""Collect episodes into a dataset: who drives what, which episodes are kept, and what is said about each."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from robolearn.core.clock import Clock, VirtualClock
from robolearn.datasets.tools.start_states import next_init_state
from robolearn.execution.command import Command
from robolearn.execution.outcome import outcome_word
from robolearn.hardware.input.protocol import Event, InputDevice
from robolearn.teleop.attempts import Attempts
from robolearn.teleop.episode import Episode, episode_record
from robolearn.teleop.pace import describe_slow
from robolearn.teleop.session import TeleopSession
from robolearn.teleop.sink import EpisodeSink
from robolearn.teleop.status import Status
from robolearn.teleop.target import TeleopTarget


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
        modes: behaviour mode -> episodes added, where the scene tells modes apart.
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
    modes: dict[str, int] = field(default_factory=dict)
    stopped: str | None = None


class RecordingSession:
    """Runs episodes until enough are kept.

    Args:
        target, device, clock, rate_hz: as for `TeleopSession`; the device must be connected.
        sink: takes the episodes.
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
        sink: EpisodeSink,
        path: Path,
        status: Status,
        stop: Callable[[], bool] = lambda: False,
        task: str = "",
        seed: int = 0,
    ):
        self._device = device
        self._sink = sink
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
        self._session = TeleopSession(target, device, clock, rate_hz, sink, self._tick, stop)

    def run(self, num_episodes: int) -> RecordSummary:
        """Record `num_episodes` more. What is committed is safe whatever happens later.

        Raises RobolearnError when an autonomous operator fails again and again.
        """
        summary = RecordSummary(str(self._path))
        started = time.monotonic()
        states = itertools.count(next_init_state(self._path))
        attempts = Attempts(num_episodes, states, f"{self._device.name} operator", self._path)
        for state in attempts:
            self._heading = f"episode {summary.recorded + 1}/{num_episodes}"
            self._sink.start_episode(self._known(state))
            self._announced = self._device.autonomous
            episode = self._session.run_episode(state)
            missed = self._device.autonomous and episode.success is False
            if episode.ending is Event.SAVE and not missed:
                self._commit(episode, summary)
                attempts.keep()
                continue
            self._sink.discard()
            if episode.ending is Event.STOP:
                summary.stopped = "signal" if self._stop() else "operator"
                if episode.steps:
                    self._status.say(f"{self._heading} dropped after {episode.steps} steps: it was not saved")
                break
            summary.failed += missed
            summary.discarded += not missed
            self._status.say(f"{self._heading} {'missed the task' if missed else 'discarded'}; doing it again")
            if self._device.autonomous:
                attempts.miss(self._sink.num_episodes)
        summary.total_episodes = self._sink.num_episodes
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
        self._sink.commit(record)
        counts = self._sink.describe_episode(episode)
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
        if episode.inexact:
            self._status.say("  " + episode.inexact)
        if episode.slowed_by:
            self._status.say("  " + describe_slow("recorded", episode.rate_hz, self._rate_hz, episode.slowed_by))
