"""A machine whose kinematics are closed forms: three slides along x, y, z, and roll, pitch, yaw of the tool."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robolearn.core.rotation import matrix_to_rpy, rpy_to_matrix

JOINTS = ("slide_x", "slide_y", "slide_z", "roll", "pitch", "yaw")


@dataclass(frozen=True)
class Reached:
    joints: np.ndarray
    position_error_m: float
    rotation_error_rad: float
    reached: bool


class Gantry:
    """Joints are metres and then radians. It reaches a cube of one metre to each side of its base."""

    home_rad = np.array([0.2, 0.0, 0.3, 0.0, 0.0, 0.0])
    limits_rad = np.array([[-1.0, 1.0]] * 3 + [[-2 * np.pi, 2 * np.pi]] * 3)
    speeds_rad_s = np.array([1.0] * 3 + [3.0] * 3)

    def __init__(self) -> None:
        self.starts: list[np.ndarray] = []

    def forward(self, joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.array(joints[:3]), rpy_to_matrix(joints[3:])

    def solve(self, start: np.ndarray, position_m: np.ndarray, rotation: np.ndarray) -> Reached:
        """The one solution whose pitch is within a quarter turn, roll and yaw nearest to those of the start."""
        self.starts.append(np.array(start))
        angles = matrix_to_rpy(rotation)
        angles = angles + 2 * np.pi * np.round((np.asarray(start)[3:] - angles) / (2 * np.pi))
        held = np.clip(position_m, -1.0, 1.0)
        error = float(np.linalg.norm(held - position_m))
        return Reached(np.concatenate([held, angles]), error, 0.0, error < 1e-9)

    def search(self, position_m: np.ndarray, rotation: np.ndarray) -> Reached:
        return self.solve(self.home_rad, position_m, rotation)
