"""How to hold a cube from above: fingers along two of its faces."""

from __future__ import annotations

import numpy as np

from robolearn.core.rotation import quaternion_to_matrix

_REACH_M = 0.10  # an open finger and its width come so far from the middle of the cube


def cube_rotation(xyzw: np.ndarray) -> np.ndarray:
    """(3, 3) of robosuite's quaternion, whose real part is last."""
    return quaternion_to_matrix(np.roll(xyzw, 1))


def grasp_rotation(cube: np.ndarray, to_obstacle: np.ndarray | None = None) -> np.ndarray:
    """TCP rotation (3, 3) that holds a cube, turned least from straight ahead.

    The fingers open along the TCP's x axis, which is put across the line to the obstacle where they would hit it.

    Args:
        cube: (3, 3) its rotation.
        to_obstacle: (3,) from the cube to what is beside it.
    """
    yaw = np.arctan2(cube[1, 0], cube[0, 0])
    yaw -= np.round(yaw / (np.pi / 2)) * (np.pi / 2)  # four ways to hold a cube; within 45 degrees of ahead
    if to_obstacle is not None and np.linalg.norm(to_obstacle[:2]) < _REACH_M:
        fingers = np.array([-np.sin(yaw), np.cos(yaw)])
        if abs(fingers @ to_obstacle[:2]) > np.linalg.norm(to_obstacle[:2]) * np.sqrt(0.5):
            yaw -= np.copysign(np.pi / 2, yaw)
    ahead, down = np.array([np.cos(yaw), np.sin(yaw), 0.0]), np.array([0.0, 0.0, -1.0])
    return np.stack([np.cross(ahead, down), ahead, down], axis=1)
