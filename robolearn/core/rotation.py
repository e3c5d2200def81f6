"""Conversions between rotation matrix, unit quaternion (w, x, y, z), axis-angle, roll-pitch-yaw and 6-d rotation.

All functions are vectorised over leading axes: quaternions `(..., 4)`, matrices `(..., 3, 3)`, axis-angle and
roll-pitch-yaw `(..., 3)` in rad, 6-d `(..., 6)`. Roll, pitch and yaw turn about the fixed axes x, y and z, in this
order: R = Rz(yaw) Ry(pitch) Rx(roll). The 6-d form is the first two *rows* of the matrix (Zhou et al. 2019,
"On the Continuity of Rotation Representations in Neural Networks"); it is what networks see.
"""

from __future__ import annotations

import numpy as np

ROT6D_NAMES = tuple(f"rot6d_{i}" for i in range(6))
POSE_NAMES = ("x", "y", "z", *ROT6D_NAMES)  # elements of a pose as networks see it

_EPS = 1e-12


def normalize(vector: np.ndarray) -> np.ndarray:
    """Scale to unit length along the last axis; a zero vector stays zero."""
    norm = np.linalg.norm(vector, axis=-1, keepdims=True)
    return vector / np.maximum(norm, _EPS)


def quaternion_to_matrix(quaternion: np.ndarray) -> np.ndarray:
    """(..., 4) wxyz -> (..., 3, 3). Normalises its input."""
    q = normalize(np.asarray(quaternion, dtype=np.float64))
    w, x, y, z = np.moveaxis(q, -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def matrix_to_quaternion(matrix: np.ndarray) -> np.ndarray:
    """(..., 3, 3) -> (..., 4) wxyz with w >= 0.

    The four products of each component pair give four candidates; the one with the largest norm is free of
    cancellation (Shepperd 1978).
    """
    m = np.asarray(matrix, dtype=np.float64)
    m00, m11, m22 = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    a, b, c = m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]
    d, e, f = m[..., 1, 0] + m[..., 0, 1], m[..., 0, 2] + m[..., 2, 0], m[..., 2, 1] + m[..., 1, 2]
    candidates = np.stack(
        [
            np.stack([1 + m00 + m11 + m22, a, b, c], axis=-1),
            np.stack([a, 1 + m00 - m11 - m22, d, e], axis=-1),
            np.stack([b, d, 1 - m00 + m11 - m22, f], axis=-1),
            np.stack([c, e, f, 1 - m00 - m11 + m22], axis=-1),
        ],
        axis=-2,
    )
    best = np.argmax(np.linalg.norm(candidates, axis=-1), axis=-1)
    q = np.take_along_axis(candidates, best[..., None, None], axis=-2)[..., 0, :]
    q = normalize(q)
    return np.where(q[..., :1] < 0, -q, q)


def axis_angle_to_matrix(axis_angle: np.ndarray) -> np.ndarray:
    """(..., 3) rotation vector in rad -> (..., 3, 3) (Rodrigues)."""
    return quaternion_to_matrix(axis_angle_to_quaternion(axis_angle))


def axis_angle_to_quaternion(axis_angle: np.ndarray) -> np.ndarray:
    """(..., 3) rotation vector in rad -> (..., 4) wxyz."""
    v = np.asarray(axis_angle, dtype=np.float64)
    angle = np.linalg.norm(v, axis=-1, keepdims=True)
    # sin(angle / 2) / angle, smooth at zero: numpy's sinc is sin(pi x) / (pi x)
    scale = 0.5 * np.sinc(angle / (2 * np.pi))
    return np.concatenate([np.cos(angle / 2), scale * v], axis=-1)


def quaternion_to_axis_angle(quaternion: np.ndarray) -> np.ndarray:
    """(..., 4) wxyz -> (..., 3) rotation vector with angle in [0, pi] rad."""
    q = normalize(np.asarray(quaternion, dtype=np.float64))
    q = np.where(q[..., :1] < 0, -q, q)
    sine = np.linalg.norm(q[..., 1:], axis=-1, keepdims=True)
    angle = 2 * np.arctan2(sine, q[..., :1])
    scale = np.where(sine > 1e-9, angle / np.maximum(sine, _EPS), 2.0)
    return scale * q[..., 1:]


def matrix_to_axis_angle(matrix: np.ndarray) -> np.ndarray:
    """(..., 3, 3) -> (..., 3) rotation vector with angle in [0, pi] rad."""
    return quaternion_to_axis_angle(matrix_to_quaternion(matrix))


def rpy_to_matrix(rpy: np.ndarray) -> np.ndarray:
    """(..., 3) roll, pitch, yaw in rad -> (..., 3, 3)."""
    angles = np.asarray(rpy, dtype=np.float64)
    (cr, cp, cy), (sr, sp, sy) = np.moveaxis(np.cos(angles), -1, 0), np.moveaxis(np.sin(angles), -1, 0)
    rows = [
        [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
        [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
        [-sp, cp * sr, cp * cr],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def matrix_to_rpy(matrix: np.ndarray) -> np.ndarray:
    """(..., 3, 3) -> (..., 3) roll, pitch, yaw in rad, the pitch in [-pi/2, pi/2].

    At a pitch of +-pi/2 only yaw -+ roll is determined: the roll is 0 there.
    """
    m = np.asarray(matrix, dtype=np.float64)
    level = np.hypot(m[..., 0, 0], m[..., 1, 0])
    upright = level < 1e-9
    roll = np.where(upright, 0.0, np.arctan2(m[..., 2, 1], m[..., 2, 2]))
    pitch = np.arctan2(-m[..., 2, 0], level)
    yaw = np.where(upright, np.arctan2(-m[..., 0, 1], m[..., 1, 1]), np.arctan2(m[..., 1, 0], m[..., 0, 0]))
    return np.stack([roll, pitch, yaw], axis=-1)


def matrix_to_rot6d(matrix: np.ndarray) -> np.ndarray:
    """(..., 3, 3) -> (..., 6): first row, then second row."""
    m = np.asarray(matrix)
    return np.concatenate([m[..., 0, :], m[..., 1, :]], axis=-1)


def rot6d_to_matrix(rot6d: np.ndarray) -> np.ndarray:
    """(..., 6) -> (..., 3, 3) by Gram-Schmidt, so any two non-parallel rows give a rotation."""
    r = np.asarray(rot6d, dtype=np.float64)
    first = normalize(r[..., :3])
    second = r[..., 3:] - np.sum(first * r[..., 3:], axis=-1, keepdims=True) * first
    second = normalize(second)
    return np.stack([first, second, np.cross(first, second)], axis=-2)


def angle_between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Angle in rad, in [0, pi], of the rotation that takes matrix `a` to matrix `b`; shapes (..., 3, 3)."""
    relative = np.swapaxes(np.asarray(a, dtype=np.float64), -1, -2) @ np.asarray(b, dtype=np.float64)
    return np.linalg.norm(matrix_to_axis_angle(relative), axis=-1)


def slerp(a: np.ndarray, b: np.ndarray, fraction: float) -> np.ndarray:
    """Rotation matrix (3, 3) at `fraction` of the shortest path from matrix `a` to matrix `b`."""
    a = np.asarray(a, dtype=np.float64)
    return a @ axis_angle_to_matrix(fraction * matrix_to_axis_angle(a.T @ np.asarray(b, dtype=np.float64)))
