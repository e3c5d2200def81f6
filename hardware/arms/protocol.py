"""The arm protocol: what the control loop needs from any arm, simulated or physical.

A driver converts to the vendor's units and conventions at its border and nowhere else. It has no thread or
process code of its own. A missing command must stop the arm: the driver (or the vendor's controller) holds
position when no command arrives within `capabilities.command_timeout_s`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from robolearn.core.device import Sample
from robolearn.core.feature import Features
from robolearn.execution.command import Command


@dataclass(frozen=True)
class ArmCapabilities:
    """What an arm can do; loops read this and never the arm's name.

    Attributes:
        command_rate_hz: highest rate at which commands are accepted.
        workspace_low_m, workspace_high_m: (3,) box for the TCP in the base frame.
        max_speed_m_s, max_rotation_rad_s: Cartesian limits the arm should be commanded within.
        has_gripper: whether `Command.gripper` is used.
        command_timeout_s: without a command for this long the arm holds its position by itself.
    """

    command_rate_hz: float
    workspace_low_m: tuple[float, float, float]
    workspace_high_m: tuple[float, float, float]
    max_speed_m_s: float
    max_rotation_rad_s: float
    has_gripper: bool
    command_timeout_s: float


class Arm(Protocol):
    """One arm with its gripper.

    `read` returns a Sample whose values are keyed by `observation_features` (at least `observation.state`:
    (10,) = TCP position (3, m, base), 6-d rotation (6), gripper opening (1)).
    """

    @property
    def capabilities(self) -> ArmCapabilities: ...

    @property
    def observation_features(self) -> Features: ...

    def connect(self) -> None: ...

    def read(self) -> Sample:
        """The newest sample; never waits for the next one."""
        ...

    def read_after(self, sequence: int) -> list[Sample]:
        """The samples after number `sequence` that the driver still has, oldest first: what recording takes."""
        ...

    def command(self, command: Command) -> None: ...

    def stop(self) -> None:
        """Come to rest smoothly and hold; commands are accepted again afterwards."""
        ...

    def disconnect(self) -> None: ...
