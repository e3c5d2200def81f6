"""A robot as a teleoperation target, in real time.

The session's loop sets targets at its own rate (20 Hz or so); a thread here carries them out at the arm's rate,
through the same scheduler, safety limits and watchdog as a policy's actions. When targets stop coming, because the
session hangs, the arm brakes and holds.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np

from robolearn.control.commander import STATE, Commander
from robolearn.control.safety import SafetyLimits
from robolearn.core.clock import MonotonicClock, Ticker
from robolearn.core.earlier_layouts import layout_of
from robolearn.core.errors import DeviceError, FeatureError
from robolearn.core.feature import Feature, Features
from robolearn.execution.command import COMMAND_LAYOUT, Command, check_measured
from robolearn.execution.scheduler import ActionScheduler
from robolearn.hardware.robot import Robot

COMMAND_RATE_HZ = 200.0
_STOP_TIMEOUT_S = 5.0


class RobotTarget:
    """See `robolearn.teleop.target.TeleopTarget`. The robot must be connected.

    Args:
        robot: what is driven.
        rate_hz: of the session's loop, and so of the actions.
        max_speed_m_s: lower speed limit than the arm's own.

    Raises FeatureError for a robot without `observation.state`, or whose state is not the pose of one arm.
    """

    env = None

    def __init__(self, robot: Robot, rate_hz: float, max_speed_m_s: float | None = None):
        if STATE not in robot.observation_features:
            raise FeatureError(f"Robot {robot.name!r} gives no {STATE!r}; every arm must.")
        check_measured(robot.observation_features[STATE], f"Robot {robot.name!r}")
        self.robot = robot
        self._clock = MonotonicClock()
        self._limits = SafetyLimits.from_capabilities(robot.capabilities, max_speed_m_s)
        self._rate_hz = rate_hz
        self._follower: _Follower | None = None

    @property
    def name(self) -> str:
        return self.robot.name

    @property
    def observation_features(self) -> Features:
        return self.robot.observation_features

    @property
    def action_feature(self) -> Feature:
        """Absolute TCP targets in the layout of `observation.state`, of the same robot, at the session's rate."""
        layout = layout_of(self.robot.observation_features[STATE]) or COMMAND_LAYOUT
        frame = layout.parts[0].frame
        return Feature("action", (layout.size,), "float32", "action", frame=frame, rate_hz=self._rate_hz, layout=layout)

    @property
    def workspace_m(self) -> tuple[np.ndarray, np.ndarray]:
        return np.array(self._limits.workspace_low_m), np.array(self._limits.workspace_high_m)

    def start_episode(self, init_state: int) -> None:
        """Put the scene into a start state; from here on the arm is commanded. Raises DeviceError."""
        self.end_episode()
        self.robot.prepare(init_state)
        rate_hz = min(COMMAND_RATE_HZ, self.robot.capabilities.command_rate_hz)
        commander = Commander(self.robot, self._limits, 1.0 / self._rate_hz, rate_hz)
        self._follower = _Follower(self.robot, commander, self._clock, self._rate_hz, rate_hz)

    def observe(self) -> dict[str, np.ndarray]:
        """The newest sample of every device. Raises DeviceError when the robot or its command thread has failed."""
        if self._follower is not None:
            self._follower.check()
        return self.robot.read().values

    def action(self, command: Command) -> np.ndarray:
        return command.to_action().astype(np.float32)

    def apply(self, action: np.ndarray) -> None:
        if self._follower is None:
            raise DeviceError(f"Robot {self.name!r} is not in an episode; call start_episode first.")
        self._follower.follow(action)

    def success(self) -> bool | None:
        return self.robot.outcome().success

    def sim_state(self) -> None:
        return None

    def inexact(self) -> str:
        return ""

    def end_episode(self) -> None:
        """Brake, and stop commanding the arm: it holds by itself. Does nothing when it is at rest already."""
        follower, self._follower = self._follower, None
        if follower is not None:
            follower.close()


class _Follower:
    """The thread that commands the arm."""

    def __init__(self, robot: Robot, commander: Commander, clock: MonotonicClock, action_hz: float, rate_hz: float):
        self._robot = robot
        self._commander = commander
        self._clock = clock
        self._ticker = Ticker(clock, rate_hz)
        self._scheduler = ActionScheduler(1.0 / action_hz)
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._error: Exception | None = None
        commander.start(robot.read().values, clock.now())
        self._thread = threading.Thread(target=self._run, name="arm commands", daemon=True)
        self._thread.start()

    def follow(self, action: np.ndarray) -> None:
        """Carry out `action` from now on, for one period of the session's loop."""
        now_s = self._clock.now()
        with self._lock:
            self._scheduler.place(np.asarray(action)[None], now_s, now_s)

    def check(self) -> None:
        """Raise what has ended the thread."""
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            self._guarded(self._follow)
        finally:
            self._guarded(self._robot.stop)

    def _guarded(self, act: Callable[[], None]) -> None:
        try:
            act()
        except Exception as error:  # also a driver's bug: the session must hear that nobody commands the arm
            self._error = self._error or error

    def _follow(self) -> None:
        while not self._ending.is_set():
            self._ticker.wait()
            values = self._robot.read().values
            now_s = self._clock.now()
            with self._lock:
                scheduled = self._scheduler.around(now_s)
            self._commander.tick(scheduled, values, now_s)
        while not self._commander.at_rest:
            self._ticker.wait()
            self._commander.brake(self._clock.now())

    def close(self) -> None:
        """Brake, stop, end. Raises DeviceError when the thread does not end, and what it failed with."""
        self._ending.set()
        self._thread.join(_STOP_TIMEOUT_S)
        if self._thread.is_alive():
            raise DeviceError(f"The arm's driver does not answer for {_STOP_TIMEOUT_S:g} s; switch the arm off.")
        self.check()
