"""From scheduled actions to commands for an arm: watchdog, setpoint, safety limits. Shared by policies and people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from robolearn.control.safety import SafetyLimiter, SafetyLimits
from robolearn.control.watchdog import State, Watchdog
from robolearn.core.errors import FeatureError
from robolearn.execution.command import Command
from robolearn.execution.interpolation import setpoint
from robolearn.execution.scheduler import Scheduled

STATE = "observation.state"
_LONGEST_STEP_TICKS = 4  # after a late tick the setpoint moves on by at most this many periods at full speed


class CommandedRobot(Protocol):
    """The part of `Robot` that is commanded."""

    def command(self, command: Command) -> None: ...
    def stop(self) -> None: ...


class Commander:
    """Sends one command a tick.

    Call `start` once an episode, then `tick` with the action that is valid now (None where there is none), and
    `brake` until the arm is `at_rest`.

    Args:
        robot: connected.
        limits: for the safety limiter.
        dt_s: time between actions.
        rate_hz: ticks per second, as far as none is late.
        stale_s, stop_after_s: see `Watchdog`.

    Attributes:
        limiter: its counts say how often commands were held back.
        watchdog: its count says how often actions stopped coming.
    """

    def __init__(
        self,
        robot: CommandedRobot,
        limits: SafetyLimits,
        dt_s: float,
        rate_hz: float,
        stale_s: float = 0.1,
        stop_after_s: float = 2.0,
    ):
        self._robot = robot
        self._limits = limits
        self._dt_s = dt_s
        self._longest_step_s = _LONGEST_STEP_TICKS / rate_hz
        self.watchdog = Watchdog(stale_s, stop_after_s)

    def start(self, values: Mapping[str, np.ndarray], now_s: float) -> None:
        """The arm is at rest where the observation `values` says."""
        self.limiter = SafetyLimiter(self._limits, self._longest_step_s)
        self.limiter.reset(pose_of(values))
        self.watchdog.start(now_s)
        self._last_s = now_s
        self._last_target: Command | None = None
        self._was_stopped = False

    def tick(self, scheduled: Scheduled | None, values: Mapping[str, np.ndarray], now_s: float) -> State:
        """Command the arm; `values` is the newest observation."""
        step_s = self._passed_s(now_s)
        state = self.watchdog.update(scheduled is not None, now_s)
        if state is State.STOPPED:
            if not self._was_stopped:
                self._robot.stop()
            self._was_stopped = True
            return state
        if self._was_stopped:
            # the arm has held by itself since: go on from where it is
            self.limiter.reset(pose_of(values))
            self._was_stopped = False
        command: Command | None = None
        if state is State.RUNNING:
            if scheduled is not None:
                self._last_target = setpoint(scheduled, now_s, self._dt_s)
            if self._last_target is not None:
                command = self.limiter.limit(self._last_target, step_s)
        self._robot.command(command if command is not None else self.limiter.brake(step_s))
        return state

    @property
    def at_rest(self) -> bool:
        """Whether the commanded motion has ended."""
        return self.limiter.at_rest

    def brake(self, now_s: float) -> None:
        """Slow down by one tick."""
        self._robot.command(self.limiter.brake(self._passed_s(now_s)))

    def _passed_s(self, now_s: float) -> float:
        """Time since the last tick, as it was: a late tick must not pass for a short one, else the arm jerks."""
        passed_s, self._last_s = now_s - self._last_s, now_s
        return passed_s


def pose_of(values: Mapping[str, np.ndarray]) -> Command:
    """The measured TCP pose of an observation. Raises FeatureError without `observation.state`."""
    if STATE not in values:
        raise FeatureError(f"The robot gives no {STATE!r}; every arm must. It gives: {', '.join(sorted(values))}.")
    return Command.from_action(values[STATE])
