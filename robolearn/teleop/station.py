"""Everything a session needs, opened in the right order and closed whatever happens: scene, operator, clock, screen."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from robolearn.core.clock import Clock, MonotonicClock, VirtualClock
from robolearn.core.errors import ConfigError
from robolearn.core.interrupt import StopRequest
from robolearn.hardware.input.protocol import InputDevice
from robolearn.sim import make_env
from robolearn.sim.env import SimEnv
from robolearn.teleop.operators import make_operator
from robolearn.teleop.status import Status, make_status
from robolearn.teleop.target import SimTarget
from robolearn.teleop.viewer import SceneViewer, open_viewer

Speed = Literal["auto", "max", "real"]


@dataclass(frozen=True)
class StationConfig:
    """Who drives what.

    Attributes:
        env, operator: names, as on the command line.
        fps: ticks per second; the environment's own rate when None.
        cameras, image_size: pictures in the observations; none by default.
        seed: of whatever is random in the operator.
        speed: `real` time, as fast as possible (`max`), or `auto`: real time exactly when a person holds the device.
        viewer: whether to show the scene in a window when the session runs in real time.
    """

    env: str
    operator: str
    fps: float | None = None
    cameras: tuple[str, ...] = ()
    image_size: int = 96
    seed: int = 0
    speed: Speed = "auto"
    viewer: bool = True


@dataclass
class Station:
    """What `open_station` gives: a connected operator in front of a scene."""

    target: SimTarget
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
        env = open_env(config)
        stack.callback(env.close)
        target = SimTarget(env)
        clock, device = make_clock_and_device(config, env.control_hz)
        stack.callback(device.disconnect)
        device.connect()
        viewer, words = None, ""
        if config.viewer and isinstance(clock, MonotonicClock):
            viewer, words = open_viewer(env)
            if viewer is not None:
                stack.callback(viewer.close)
        target.start_episode(0)  # what cannot be observed (no GL for a camera) must fail before a dataset is made
        status = make_status()
        stack.callback(status.close)
        status.say(device.describe())
        if words:
            status.say(words)
        yield Station(target, device, clock, env.control_hz, status, stop, viewer)


def make_clock_and_device(config: StationConfig, rate_hz: float) -> tuple[Clock, InputDevice]:
    """Simulated time for those who need no real time, real time for people. Raises ConfigError."""
    real = MonotonicClock()
    device = make_operator(config.operator, config.env, real, rate_hz, config.seed)
    if config.speed == "max" and not device.autonomous:
        raise ConfigError(f"A person at the {device.name} needs real time, found --speed max; leave --speed out.")
    in_real_time = config.speed == "real" or not device.autonomous
    return (real if in_real_time else VirtualClock()), device


def open_env(config: StationConfig) -> SimEnv:
    """The environment at the rate asked for. Raises ConfigError when it has only another rate."""
    options: dict[str, Any] = {"cameras": config.cameras, "image_size": config.image_size}
    env = make_env(config.env, **options)
    if config.fps is None or config.fps == env.control_hz:
        return env
    env.close()
    try:
        return make_env(config.env, **options, control_hz=config.fps)
    except TypeError as error:
        raise ConfigError(
            f"Environment {config.env!r} runs at {env.control_hz:g} Hz only, found --fps {config.fps:g}; "
            "leave --fps out."
        ) from error
