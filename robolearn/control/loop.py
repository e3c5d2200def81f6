"""One episode of a robot under a policy server, at a fixed rate. Written once, for every robot."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from robolearn.control.commander import STATE, Commander
from robolearn.control.requester import RequestCounts
from robolearn.control.safety import LimiterCounts, SafetyLimits
from robolearn.control.watchdog import State
from robolearn.core.clock import Clock, Ticker, TickStatistics
from robolearn.core.device import Sample
from robolearn.core.earlier_layouts import layout_of
from robolearn.core.errors import ConfigError
from robolearn.execution.chunk import Chunk
from robolearn.execution.chunk_request import ChunkRequest
from robolearn.execution.command import Command, check_commands, check_measured
from robolearn.execution.match import Offer, check_match
from robolearn.execution.policy_spec import PolicySpec
from robolearn.execution.receding_horizon import RecedingHorizon
from robolearn.hardware.arms.protocol import ArmCapabilities
from robolearn.hardware.robot import Outcome, Robot

_OUTCOME_EVERY_S = 0.02


class Requester(Protocol):
    """Where chunks come from; `ChunkRequester` in earnest, a scripted one in tests."""

    counts: RequestCounts
    last_error: str | None

    @property
    def in_flight(self) -> bool: ...
    @property
    def connected(self) -> bool: ...
    @property
    def gone(self) -> bool: ...
    def begin(self) -> None: ...
    def submit(self, request: ChunkRequest) -> None: ...
    def poll(self) -> Chunk | None: ...


class LoopRobot(Protocol):
    """The part of `Robot` the loop uses."""

    @property
    def capabilities(self) -> ArmCapabilities: ...
    def read(self) -> Sample: ...
    def command(self, command: Command) -> None: ...
    def stop(self) -> None: ...
    def outcome(self) -> Outcome: ...


@dataclass(frozen=True)
class LoopOptions:
    """How an episode is run.

    Attributes:
        rate_hz: commands per second.
        execute: actions used of a chunk before the next one is asked for; None is half of the chunk.
        stale_s: longest gap between actions before a safety stop.
        stop_after_s: how long a pose is held by commands before the arm is left to hold by itself.
        success_hold_s: the task must stay solved for this long.
        still_s: the scene has stood still when the newest observation is older than this.
    """

    rate_hz: float = 200.0
    execute: int | None = None
    stale_s: float = 0.1
    stop_after_s: float = 2.0
    success_hold_s: float = 0.25
    still_s: float = 1.0


@dataclass
class EpisodeRecord:
    """What happened in one episode. Times in s on the loop's clock; ages and latencies in ms.

    Attributes:
        success: None where nothing measured it, or the episode was aborted.
        aborted: what other than the policy kept the episode from being judged, as `KIND: what happened`.
        usable_chunks: chunks with an action that was not too late.
    """

    success: bool | None = None
    aborted: str | None = None
    score: float | None = None
    duration_s: float = 0.0
    safety_stops: int = 0
    dropped_actions: int = 0
    usable_chunks: int = 0
    late_chunks: int = 0
    requests: RequestCounts = field(default_factory=RequestCounts)
    limiter: LimiterCounts = field(default_factory=LimiterCounts)
    ticks: TickStatistics = field(default_factory=lambda: TickStatistics(np.zeros(0), 0, 0, 0.0))
    states: dict[State, int] = field(default_factory=lambda: dict.fromkeys(State, 0))
    chunks: list[Chunk] = field(default_factory=list)
    observation_age_ms: list[float] = field(default_factory=list)


def check_robot(spec: PolicySpec, robot: Robot, options: LoopOptions) -> None:
    """Raise FeatureError or ConfigError when policy, robot and options do not fit."""
    source = f"robot {robot.name!r}"
    check_measured(robot.observation_features[STATE], source)
    check_commands(spec.action_feature, "the policy", source)
    # its actions fit by now, whatever dtype they have and however their elements are called
    check_match(spec, Offer(source, robot.observation_features, spec.action_feature))
    if options.rate_hz < spec.control_hz:
        raise ConfigError(
            f"The loop rate of {options.rate_hz:g} Hz is below the policy's {spec.control_hz:g} Hz; raise --rate-hz."
        )
    if options.rate_hz > robot.capabilities.command_rate_hz:
        raise ConfigError(
            f"The loop rate of {options.rate_hz:g} Hz is above what {source} accepts "
            f"({robot.capabilities.command_rate_hz:g} Hz); lower --rate-hz."
        )


def other_robot(spec: PolicySpec, robot: Robot) -> str | None:
    """A note where the policy's poses were another robot's than this one; None where they are its own, or nothing says
    whose they are."""
    told, measured = layout_of(spec.action_feature), layout_of(robot.observation_features[STATE])
    meant, here = (None if layout is None else layout.robot(layout.arms[0]) for layout in (told, measured))
    if not meant or not here or meant == here:
        return None
    return f"note: poses that are meant for the robot {meant} are those of {here}"


class EpisodeLoop:
    """Reads, asks, schedules, limits and commands, `rate_hz` times a second.

    Every policy period the newest sample joins the history, and `RecedingHorizon` says whether a chunk is asked for.
    Its actions are placed by the time of the observation they came from, so what arrives late is dropped and never
    shifted.

    Args:
        robot: connected and prepared.
        requester: started.
        spec: of the policy, see `check_robot`.
        limits: for the safety limiter.

    Raises ConfigError for `options.execute` that the policy's chunks do not allow.
    """

    def __init__(
        self,
        robot: LoopRobot,
        requester: Requester,
        spec: PolicySpec,
        options: LoopOptions,
        limits: SafetyLimits,
        clock: Clock,
    ):
        self.robot = robot
        self.requester = requester
        self.options = options
        self.clock = clock
        self._horizon = RecedingHorizon(spec, options.execute)
        self._scheduler, self._dt_s = self._horizon.scheduler, self._horizon.dt_s
        self._commander = Commander(robot, limits, self._dt_s, options.rate_hz, options.stale_s, options.stop_after_s)
        self._ticker = Ticker(clock, options.rate_hz)

    def run(
        self,
        time_limit_s: float,
        goal: dict[str, np.ndarray] | None = None,
        record: EpisodeRecord | None = None,
    ) -> EpisodeRecord:
        """Run until the task has stayed solved, or the time is over; the arm is then brought to rest.

        It also ends, aborted, when the arm has stopped because the server is gone, and when the scene stands still. It
        is aborted, too, when the time is over while the arm holds because the server is gone, and when the policy gave
        no action that could be used, whatever has become of the task. An answer that the arm waits for when the time
        is over is awaited, as only then the server shows whether it is there.

        Every request carries the goal, feature name -> (goal_horizon, *shape), for goal-conditioned policies.
        What is measured goes into `record`, which is also returned. Raises DeviceError when the robot fails. Whatever
        ends the episode, the arm is told to stop.
        """
        self.record = EpisodeRecord() if record is None else record
        self._begin(goal)
        try:
            self._run(time_limit_s)
            self.record.aborted = self.record.aborted or self._unused()
            if self.record.aborted is not None:
                self.record.success = None
            while not self._commander.at_rest:
                self._ticker.wait()
                self._commander.brake(self.clock.now())
        finally:
            self.record.safety_stops = self._commander.watchdog.safety_stops
            self.record.requests = self.requester.counts
            self.record.limiter = self._commander.limiter.counts
            self.record.ticks = self._ticker.statistics()
            self.robot.stop()
        return self.record

    def _begin(self, goal: dict[str, np.ndarray] | None) -> None:
        self._horizon.begin(goal)
        self.requester.begin()
        self._start_s = self.clock.now()
        self._commander.start(self.robot.read().values, self._start_s)
        self._t_obs_s = self._start_s
        self._ticker.reset()

    def _run(self, time_limit_s: float) -> None:
        next_policy_s = next_outcome_s = self._start_s
        solved_since_s: float | None = None
        asked_last = False
        while True:
            self._ticker.wait()
            now_s = self.clock.now()
            sample = self.robot.read()
            self.record.duration_s = now_s - self._start_s
            self.record.aborted = self._interrupted(now_s - sample.host_time_s)
            if self.record.aborted is not None:
                return
            if now_s >= next_policy_s and not asked_last:
                next_policy_s += self._dt_s * (1 + int((now_s - next_policy_s) / self._dt_s))
                request = self._horizon.observe(sample.values, sample.host_time_s, self.requester.in_flight)
                if request is not None:
                    self.requester.submit(request)
            self._take_answer(now_s)
            self._command(sample)
            if now_s >= next_outcome_s:
                next_outcome_s = now_s + _OUTCOME_EVERY_S
                outcome = self.robot.outcome()
                self.record.score = outcome.score
                # measured, and no success until it has stayed solved
                self.record.success = None if outcome.success is None else False
                solved_since_s = None if not outcome.success else now_s if solved_since_s is None else solved_since_s
            if solved_since_s is not None and now_s - solved_since_s >= self.options.success_hold_s:
                self.record.success = True
                return
            asked_last = self.record.duration_s >= time_limit_s
            if asked_last and not self._silent:
                if self._commander.watchdog.state is not State.RUNNING:
                    self.record.aborted = self._server_gone()
                return

    def _take_answer(self, now_s: float) -> None:
        chunk = self.requester.poll()
        if chunk is None:
            return
        usable = self._scheduler.place(chunk.actions, chunk.t_obs_s, now_s)
        self.record.dropped_actions += len(chunk.actions) - usable
        self.record.chunks.append(chunk)
        if usable:
            self._t_obs_s = chunk.t_obs_s
            self.record.usable_chunks += 1
        else:
            self.record.late_chunks += 1

    def _command(self, sample: Sample) -> None:
        now_s = self.clock.now()  # not the tick's: a driver may have taken its time to read
        scheduled = self._scheduler.around(now_s)
        state = self._commander.tick(scheduled, sample.values, now_s)
        self.record.states[state] += 1
        if state is State.RUNNING and scheduled is not None:
            self.record.observation_age_ms.append((now_s - self._t_obs_s) * 1e3)

    def _interrupted(self, observation_age_s: float) -> str | None:
        """Why nothing of the policy can be measured any more, or None."""
        if observation_age_s > self.options.still_s:
            return f"scene stood still: the newest observation is {observation_age_s:.1f} s old"
        return self._server_gone() if self._commander.watchdog.state is State.STOPPED else None

    @property
    def _silent(self) -> bool:
        """Whether the arm holds and it is open why: a server that is gone, or a policy that takes its time."""
        if self._commander.watchdog.state is State.RUNNING or not self.record.usable_chunks or self.requester.gone:
            return False
        return self.requester.in_flight or not self.requester.connected

    def _server_gone(self) -> str | None:
        if not self.requester.gone:
            return None
        return f"server gone: {self.requester.last_error or 'the connection was lost'}"

    def _unused(self) -> str | None:
        """Why no action of the policy could be used in the whole episode, or None where one was."""
        record, counts = self.record, self.requester.counts
        if record.usable_chunks:
            return None
        error = self.requester.last_error
        if self.requester.gone:
            return self._server_gone()
        if counts.failed:
            return f"no usable answer: {counts.failed} of {counts.sent} requests failed, the last with: {error}"
        if record.late_chunks:
            wait_s = float(np.median([chunk.received_s - chunk.t_obs_s for chunk in record.chunks]))
            return f"no usable answer: all {record.late_chunks} came too late, {wait_s:.2f} s after the observation"
        return f"no usable answer: none came within {record.duration_s:.1f} s"
