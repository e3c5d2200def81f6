"""Settings and results of inverse kinematics; the solver is `robolearn.kinematics.arm.ArmKinematics.solve`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from robolearn.core.errors import ConfigError


@dataclass(frozen=True)
class IKSettings:
    """When a solution is good enough, and how far the solver goes for it.

    Attributes:
        position_m, rotation_rad: largest errors of a pose that counts as reached.
        iterations: steps of the joints at most, from each start.
        damping: lambda of damped least squares, at least: where the arm can hardly move in some direction, steps in it
            are smaller than the pose asks for. Large, the joints move smoothly past singular postures and the tool
            lags; small, the tool is exact.
        rest_gain: part of the way to the home posture that the first step goes, as far as the tool stays where it is.
        restarts: further starts, spread over the joints' ranges, that are tried where the pose is not reached. None for
            an arm that moves: another start may be another posture.
    """

    position_m: float
    rotation_rad: float
    iterations: int
    damping: float
    rest_gain: float = 0.05
    restarts: int = 0

    def __post_init__(self) -> None:
        if not (self.position_m > 0 and self.rotation_rad > 0 and self.iterations >= 1 and self.damping >= 0):
            raise ConfigError(f"Tolerances and iterations of {self} must be above 0, and its damping not below.")


SCENE = IKSettings(1e-4, 1e-3, iterations=8, damping=0.01)
"""An arm that follows a moving target, one solve a control step."""
CONVERSION = IKSettings(1e-7, 1e-7, iterations=100, damping=1e-4)
"""Exact: layouts are converted with it."""
SEARCH = IKSettings(1e-7, 1e-7, iterations=60, damping=1e-4, rest_gain=0.0, restarts=40)
"""From anywhere: start states and tests are found with it."""


class Solution(NamedTuple):
    """What the solver found.

    Attributes:
        joints: (J,) rad, within the limits.
        position_error_m, rotation_error_rad: of the pose they give; a rotation that the arm is free of does not count.
        reached: whether both are within the tolerance. Where not, the pose is the nearest that was found, the metre and
            the radian weighing the same.
    """

    joints: np.ndarray
    position_error_m: float
    rotation_error_rad: float
    reached: bool
