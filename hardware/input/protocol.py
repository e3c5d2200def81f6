"""The input-device protocol: what an operator's device tells the teleoperation loop each tick."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np


class Event(enum.Enum):
    """Things an operator says besides moving."""

    SAVE = "save"  # end the episode and keep it
    DISCARD = "discard"  # throw the episode away and do it again
    SUCCESS = "success"  # mark the episode as a success
    FAILURE = "failure"  # mark the episode as a failure
    CLUTCH = "clutch"  # toggle: while paused, motion is ignored and nothing is recorded
    STOP = "stop"  # end the session


@dataclass(frozen=True)
class Motion:
    """What the operator wants, at one moment.

    Attributes:
        twist: (6,) linear velocity (m/s) and angular velocity (rad/s) of the TCP, in the base frame.
        gripper: wanted opening in [0, 1], 1 = open; None = leave it as it is.
        events: what was pressed since the last read, in order.
        host_time_s: when the device was read, on the host's monotonic clock.
        sequence: counts up by one per read.
    """

    twist: np.ndarray = field(default_factory=lambda: np.zeros(6))
    gripper: float | None = None
    events: tuple[Event, ...] = ()
    host_time_s: float = 0.0
    sequence: int = 0


class InputDevice(Protocol):
    """An operator's device.

    `observe` is called before each `read` with the current observation (feature name -> array) and the seconds
    since the episode began; devices held by people ignore it, the scripted operator looks at it.
    """

    @property
    def name(self) -> str:
        """Short name, stored with each episode as its operator."""
        ...

    @property
    def autonomous(self) -> bool:
        """True when nobody holds it: it needs no real time, and its failures are not worth keeping."""
        ...

    def describe(self) -> str:
        """What the operator should read before starting: the back end in use and what its controls do."""
        ...

    def connect(self) -> None: ...

    def start_episode(self, attempt: int) -> None:
        """A new episode begins. `attempt` is unique to it; whatever is random must be drawn from it."""
        ...

    def observe(self, observation: dict[str, np.ndarray], time_s: float) -> None: ...

    def read(self) -> Motion: ...

    def disconnect(self) -> None: ...
