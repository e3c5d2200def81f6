"""Everything a session needs, opened in the right order and closed whatever happens: scene, operator, clock, screen."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from robolearn.core.clock import Clock, MonotonicClock, VirtualClock
from robolearn.core.errors import ConfigError
from robolearn.core.interrupt import StopRequest
from robolearn.core.registry import SignatureError
from robolearn.hardware.input.protocol import InputDevice
from robolearn.hardware.robot import make_robot
from robolearn.sim import make_env
from robolearn.sim.env import SimEnv
from robolearn.teleop.operators import make_operator
from robolearn.teleop.robot_target import COMMAND_RATE_HZ, RobotTarget
from robolearn.teleop.status import Status, make_status
from robolearn.teleop.target import SimTarget, TeleopTarget
from robolearn.teleop.viewer import SceneViewer, open_viewer

Speed = Literal["auto", "max", "real"]
ROBOT_RATE_HZ = 20.0


@dataclass(frozen=True)
class StationConfig:
    """Who drives what.

    Attributes:
        env, operator: names, as on the command line.
        robot: name of a robot to drive in place of `env`, in real time, as for `make_robot`.
        fps: ticks per second; the environment's own rate when None, 20 for a robot.
        cameras, image_size: pictures in the observations; none by default.
        seed: of whatever is random in the operator.
        speed: `real` time, as fast as possible (`max`), or `auto`: real time exactly when a person holds the device.
        viewer: whether to show the scene in a window when the session runs in real time.
        action: what the actions of `env` mean: a dialect (`robolearn.core.action_dialect`); its own when None.
    """

    env: str | None
    operator: str
    robot: str | None = None
    fps: float | None = None
    cameras: tuple[str, ...] = ()
    image_size: int = 96
    seed: int = 0
    speed: Speed = "auto"
    viewer: bool = True
    action: str | None = None


@dataclass
class Station:
    """What `open_station` gives: a connected operator in front of a scene."""

    target: TeleopTarget
    device: InputDevice
    clock: Clock
    rate_hz: float
    status: Status
    stop: StopRequest
    viewer: SceneViewer | None

    def should_stop(self) -> bool:
        """Refresh the viewer; True when a signal asked to stop or the window was closed. Called once a tick."""
        return self.stop() or (self.viewer is not None and not self.viewer.sync())


@contextmanager
def open_station(config: StationConfig) -> Iterator[Station]:
    """Open a station and close it again, with the terminal as it was found.

    Raises ConfigError for unknown names, DeviceError when the operator's device is not there, and
    MissingDependencyError when cameras are asked for where nothing can render.
    """
    with ExitStack() as stack:
        stop = stack.enter_context(StopRequest())
        target, rate_hz = _open_target(config, stack)
        clock, device = make_clock_and_device(config, rate_hz)
        stack.callback(device.disconnect)
        device.connect()
        viewer, words = None, ""
        if config.viewer and isinstance(clock, MonotonicClock) and target.env is not None:
            viewer, words = open_viewer(target.env)
            if viewer is not None:
                stack.callback(viewer.close)
        if target.env is not None:
            target.start_episode(0)  # what cannot be observed (no GL for a camera) must fail before a dataset is made
        status = make_status()
        stack.callback(status.close)
        status.say(device.describe())
        if words:
            status.say(words)
        yield Station(target, device, clock, rate_hz, status, stop, viewer)


def _open_target(config: StationConfig, stack: ExitStack) -> tuple[TeleopTarget, float]:
    """What is driven, and at which rate. Raises ConfigError, DeviceError."""
    if config.robot is None:
        env = open_env(config)
        stack.callback(env.close)
        return SimTarget(env), env.control_hz
    if config.action is not None:
        raise ConfigError("--action is for --env; an arm is told absolute poses, found both --robot and --action.")
    if config.cameras:
        raise ConfigError("--camera is for --env; a robot's cameras are part of it, found both --robot and --camera.")
    if config.speed == "max":
        raise ConfigError("A robot runs in real time, found --speed max; leave --speed out.")
    rate_hz = ROBOT_RATE_HZ if config.fps is None else config.fps
    if not 1 <= rate_hz <= COMMAND_RATE_HZ:
        raise ConfigError(f"--fps must be 1 to {COMMAND_RATE_HZ:g} for a robot, found {rate_hz:g}.")
    robot = make_robot(config.robot)
    robot.connect()
    stack.callback(robot.disconnect)
    target = RobotTarget(robot, rate_hz)
    stack.callback(target.end_episode)
    return target, rate_hz


def make_clock_and_device(config: StationConfig, rate_hz: float) -> tuple[Clock, InputDevice]:
    """Simulated time for those who need no real time, real time for people. Raises ConfigError."""
    real = MonotonicClock()
    # the expert of a scripted operator is that of the scene: `put_on_plate` in `sim:put_on_plate`
    scene = config.env or (config.robot or "").partition(":")[2]
    device = make_operator(config.operator, scene, real, rate_hz, config.seed)
    if config.speed == "max" and not device.autonomous:
        raise ConfigError(f"A person at the {device.name} needs real time, found --speed max; leave --speed out.")
    in_real_time = config.speed == "real" or config.robot is not None or not device.autonomous
    return (real if in_real_time else VirtualClock()), device


def open_env(config: StationConfig) -> SimEnv:
    """The environment at the rate asked for. Raises ConfigError when it has only another rate."""
    options: dict[str, Any] = {"cameras": config.cameras, "image_size": config.image_size, "action": config.action}
    if config.env is None:
        raise ConfigError("Nothing to drive: give --env or --robot.")
    env = make_env(config.env, **options)
    if config.fps is None or config.fps == env.control_hz:
        return env
    env.close()
    try:
        return make_env(config.env, **options, control_hz=config.fps)
    except SignatureError as error:
        raise ConfigError(
            f"Environment {config.env!r} runs at {env.control_hz:g} Hz only, found --fps {config.fps:g}; "
            "leave --fps out."
        ) from error
