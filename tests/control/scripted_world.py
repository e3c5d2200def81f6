"""A robot and a policy server of a few lines, on a virtual clock: every time in a test is exact."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from robolearn.control.loop import EpisodeLoop, EpisodeRecord, LoopOptions
from robolearn.control.requester import RequestCounts
from robolearn.control.safety import SafetyLimits
from robolearn.core.clock import VirtualClock
from robolearn.core.device import Sample
from robolearn.core.errors import ServerError
from robolearn.core.feature import Feature, features
from robolearn.core.rotation import matrix_to_rot6d
from robolearn.execution.chunk import Chunk, actions_of
from robolearn.execution.chunk_request import ChunkRequest
from robolearn.execution.command import COMMAND_LAYOUT, Command
from robolearn.execution.policy_spec import PolicySpec
from robolearn.hardware.arms.protocol import ArmCapabilities
from robolearn.hardware.robot import Outcome

HOME = np.array([0.5, 0.0, 0.2])
SPEC = PolicySpec(
    features([Feature("observation.state", (10,))]),
    Feature("action", (10,), kind="action", layout=COMMAND_LAYOUT),
    obs_horizon=2,
    action_horizon=8,
    control_hz=20.0,
)
CAPABILITIES = ArmCapabilities(250.0, (0.0, -0.5, 0.0), (2.0, 0.5, 0.5), 1.0, 3.0, True, 0.2)


class ScriptedRobot:
    """The arm is where it was last told to be. Solved once x passes `goal_x`."""

    capabilities = CAPABILITIES

    def __init__(self, clock: VirtualClock, goal_x: float = np.inf):
        self.clock = clock
        self.goal_x = goal_x
        self.pose = Command(HOME, np.eye(3), 1.0)
        self.commands: list[tuple[float, Command]] = []
        self.stops: list[float] = []
        self.on_read: Callable[[float], None] = lambda now_s: None

    def read(self) -> Sample:
        now = self.clock.now()
        self.on_read(now)
        return Sample({"observation.state": self.pose.to_action().astype(np.float32)}, now, now)

    def command(self, command: Command) -> None:
        self.commands.append((self.clock.now(), command))
        self.pose = command

    def stop(self) -> None:
        self.stops.append(self.clock.now())

    def outcome(self) -> Outcome:
        return Outcome(bool(self.pose.position_m[0] > self.goal_x), 0.5)

    def x_at(self, time_s: float) -> float:
        """Commanded x at a time."""
        return next(c.position_m[0] for t, c in reversed(self.commands) if t <= time_s + 1e-9)

    def track(self) -> tuple[np.ndarray, np.ndarray]:
        """Times (N,) and commanded positions (N, 3)."""
        return np.array([t for t, _ in self.commands]), np.array([c.position_m for _, c in self.commands])


class ScriptedServer:
    """Answers after `latency_s` with `policy(t_obs)`, a finite (H, 10); is silent while `down(now)`."""

    def __init__(
        self,
        clock: VirtualClock,
        policy: Callable[[float], np.ndarray],
        latency_s: float = 0.0,
        down: Callable[[float], bool] = lambda now_s: False,
    ):
        self.clock = clock
        self.policy = policy
        self.latency_s = latency_s
        self.down = down
        self.counts = RequestCounts()
        self.connected, self.gone = True, False
        self.last_error: str | None = None
        self.asked: list[float] = []
        self.executed: list[np.ndarray | None] = []
        self.goals: list[object] = []
        self._pending: tuple[float, float] | None = None

    @property
    def in_flight(self) -> bool:
        return self._pending is not None

    def begin(self) -> None:
        self.counts, self._pending = RequestCounts(), None

    def submit(self, request: ChunkRequest) -> None:
        assert request.observations["observation.state"].shape == (2, 10)
        self.asked.append(request.t_obs_s)
        self.executed.append(request.executed)
        self.goals.append(request.goal)
        if not self.down(self.clock.now()):
            self.counts.sent += 1
            self._pending = (request.t_obs_s, self.clock.now() + self.latency_s)

    def poll(self) -> Chunk | None:
        now = self.clock.now()
        if self._pending is None or now < self._pending[1] - 1e-9:
            return None
        (t_obs, _), self._pending = self._pending, None
        try:
            actions = actions_of({"actions": self.policy(t_obs)}, SPEC)
        except ServerError as error:
            self.last_error = str(error)
            self.counts.failed += 1
            return None
        self.counts.answered += 1
        return Chunk(actions, t_obs, t_obs, now, 1.0, 2.0)


def straight_line(speed_m_s: float = 0.1) -> Callable[[float], np.ndarray]:
    """Action i of a chunk is where x(t) = x0 + v t is in the middle of the action's time: no interpolation error."""

    def policy(t_obs_s: float) -> np.ndarray:
        chunk = np.zeros((8, 10))
        chunk[:, :3] = HOME
        chunk[:, 0] += speed_m_s * (t_obs_s + (np.arange(8) + 0.5) / SPEC.control_hz)
        chunk[:, 3:9] = matrix_to_rot6d(np.eye(3))
        chunk[:, 9] = 1.0
        return chunk

    return policy


def run(
    robot: ScriptedRobot, server: ScriptedServer, time_limit_s: float, execute: int = 4, **options: float
) -> EpisodeRecord:
    limits = SafetyLimits.from_capabilities(CAPABILITIES)
    loop = EpisodeLoop(robot, server, SPEC, LoopOptions(execute=execute, **options), limits, robot.clock)
    return loop.run(time_limit_s)
