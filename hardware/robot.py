"""A robot: an arm, the sensors that look at it, and the scene they stand in, as one thing to the control loop."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Protocol

from robolearn.core.device import Sample
from robolearn.core.errors import ConfigError
from robolearn.core.feature import Features, features
from robolearn.core.registry import Registry
from robolearn.execution.command import Command
from robolearn.hardware.arms.protocol import Arm, ArmCapabilities


class Sensor(Protocol):
    """A camera, tracker or other device that only observes."""

    @property
    def observation_features(self) -> Features: ...

    def connect(self) -> None: ...

    def read(self) -> Sample:
        """The newest sample; never waits for the next one."""
        ...

    def read_after(self, sequence: int) -> list[Sample]:
        """The samples after number `sequence` that the driver still has, oldest first: what recording takes."""
        ...

    def disconnect(self) -> None: ...


@dataclass(frozen=True)
class Outcome:
    """How an episode stands. None where nothing can measure it."""

    success: bool | None = None
    score: float | None = None


class Scene(Protocol):
    """What stands around the arm, and who puts it into a start state: a simulator, or a person."""

    @property
    def time_limit_s(self) -> float: ...

    def prepare(self, init_state: int) -> None:
        """Return when the scene is in start state `init_state`."""
        ...

    def outcome(self) -> Outcome: ...


class Robot:
    """Arm, sensors and scene together."""

    def __init__(self, name: str, arm: Arm, sensors: Sequence[Sensor], scene: Scene):
        self.name = name
        self.arm = arm
        self.sensors = tuple(sensors)
        self.scene = scene

    @property
    def capabilities(self) -> ArmCapabilities:
        return self.arm.capabilities

    @property
    def observation_features(self) -> Features:
        parts = (self.arm, *self.sensors)
        return features(feature for part in parts for feature in part.observation_features.values())

    def connect(self) -> None:
        """Connect every part; when one fails, those before it are disconnected again."""
        with ExitStack() as undo:
            for part in (self.arm, *self.sensors):
                part.connect()
                undo.callback(part.disconnect)
            undo.pop_all()

    def read(self) -> Sample:
        """The newest sample of every part, merged.

        Its `host_time_s` is that of the oldest part: the observation as a whole is not newer than that. Device
        time and sequence are the arm's.
        """
        sample = self.arm.read()
        values, host_time_s = dict(sample.values), sample.host_time_s
        for sensor in self.sensors:
            seen = sensor.read()
            values.update(seen.values)
            host_time_s = min(host_time_s, seen.host_time_s)
        return Sample(values, sample.device_time_s, host_time_s, sample.sequence)

    def command(self, command: Command) -> None:
        self.arm.command(command)

    def stop(self) -> None:
        self.arm.stop()

    def prepare(self, init_state: int) -> None:
        self.scene.prepare(init_state)

    def outcome(self) -> Outcome:
        return self.scene.outcome()

    @property
    def time_limit_s(self) -> float:
        return self.scene.time_limit_s

    def disconnect(self) -> None:
        """Disconnect every part, in reverse order, also when one of them fails."""
        with ExitStack() as undo:
            for part in (self.arm, *self.sensors):
                undo.callback(part.disconnect)


# name -> function (variant: str) -> Robot; the variant is what follows the colon in `--robot sim:put_on_plate`
ROBOTS = Registry("robot", {"sim": "robolearn.hardware.robots.simulated:make_robot"}, group="robolearn.robots")


def make_robot(name: str) -> Robot:
    """The robot called `NAME` or `NAME:VARIANT`. Raises ConfigError for an unknown name."""
    base, _, variant = name.partition(":")
    robot = ROBOTS.make(base, variant)
    if not isinstance(robot, Robot):
        raise ConfigError(f"Robot {base!r} is registered wrongly: its builder gave {type(robot).__name__}.")
    return robot
