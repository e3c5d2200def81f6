"""`PoseSolver`: joints for a pose of an arm's tool, in the frame of its own base."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from robolearn.kinematics.arm import ArmKinematics
from robolearn.kinematics.robot import Robot

FAR_M, FAR_RAD = 1e-3, 1e-2
"""Farther than this from what it was told, an arm does not do it."""


class PoseSolver(Protocol):
    """What a controller asks for.

    Attributes:
        out_of_reach: how many poses were asked for, since this was 0, that no posture reaches.
    """

    out_of_reach: int

    def forward(self, joints_rad: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Position (3,) [m] and rotation (3, 3) of the tool at (J,) joints."""
        ...

    def solve(self, start_rad: np.ndarray, position_m: np.ndarray, rotation: np.ndarray) -> np.ndarray:
        """(J,) joints within their limits that bring the tool there, or as near as was found, from (J,) `start_rad`."""
        ...


class ArmSolver:
    """`ArmKinematics` with its tight tolerances: relative targets that are added up do not drift."""

    def __init__(self, robot: Robot):
        self._arm = ArmKinematics(robot)
        self.out_of_reach = 0

    def forward(self, joints_rad: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self._arm.forward(joints_rad)

    def solve(self, start_rad: np.ndarray, position_m: np.ndarray, rotation: np.ndarray) -> np.ndarray:
        found = self._arm.solve(start_rad, position_m, rotation)
        self.out_of_reach += found.position_error_m > FAR_M or found.rotation_error_rad > FAR_RAD
        return found.joints
