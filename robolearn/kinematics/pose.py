"""`Pose`, and what the numbers of a pose part say of it: vectorised over leading axes.

The arithmetic of `robolearn.core.action`'s table, both ways: `pose_of` reads numbers, `numbers_of` writes them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robolearn.core import rotation as rot
from robolearn.core.action import Part
from robolearn.core.errors import LayoutError


@dataclass(frozen=True)
class Pose:
    """Where something is, in a frame that its user names.

    Attributes:
        position_m: (..., 3), or (..., 2) of what moves in a plane, whose unit may be another one (`Part.unit`).
        rotation: (..., 3, 3); None where nothing turns.
    """

    position_m: np.ndarray
    rotation: np.ndarray | None = None

    def within(self, frame: Pose) -> Pose:
        """The same, given in what `frame` is given in, where this pose is given in `frame`."""
        turn = frame.turn()
        return Pose(
            self.position_m @ turn.T + frame.position_m, None if self.rotation is None else turn @ self.rotation
        )

    def seen_from(self, frame: Pose) -> Pose:
        """The inverse of `within`."""
        turn = frame.turn()
        rotation = None if self.rotation is None else turn.T @ self.rotation
        return Pose((self.position_m - frame.position_m) @ turn, rotation)

    def turn(self) -> np.ndarray:
        """The rotation. Raises LayoutError where there is none."""
        if self.rotation is None:
            raise LayoutError("A rotation is needed of what has none: its pose is a position alone.")
        return self.rotation


def values_of(part: Part, numbers: np.ndarray) -> np.ndarray:
    """(..., n) numbers of a part -> (..., n) values in its unit, float64, after what its limit does to them."""
    values = np.asarray(numbers, dtype=np.float64)
    if part.limit is not None:
        values = np.clip(values, *part.limit)
    if part.scale is not None:
        values = values * np.array(part.scale)
    return values if part.offset is None else values + np.array(part.offset)


def scaled_back(part: Part, values: np.ndarray) -> np.ndarray:
    """The inverse of `values_of`; what is outside of the part's limit stays there."""
    numbers = np.asarray(values, dtype=np.float64)
    if part.offset is not None:
        numbers = numbers - np.array(part.offset)
    return numbers if part.scale is None else numbers / np.array(part.scale)


def pose_of(part: Part, numbers: np.ndarray, reference: Pose | None = None) -> Pose:
    """The pose that the numbers (..., n) of a pose part stand for, in the part's frame.

    `reference`, in the same frame: what a relative part is relative to; for an absolute one, where the position or the
    rotation that it does not give is taken from.
    """
    values = values_of(part, numbers)
    moved, written = values[..., : len(part.coordinates)], values[..., len(part.coordinates) :]
    if part.reference == "absolute":
        here = moved if part.coordinates else _needed(part, reference).position_m
        turned = None if reference is None else reference.rotation
        return Pose(here, turned if part.rotation == "none" else matrix_of(part.rotation, written))
    start = _needed(part, reference)
    if not part.coordinates:
        position = start.position_m
    elif part.axes == "tool":
        position = start.position_m + np.squeeze(start.turn() @ moved[..., None], -1)
    else:
        position = start.position_m + moved
    if part.rotation == "none":
        return Pose(position, start.rotation)
    if part.axes == "euler":
        return Pose(position, rot.rpy_to_matrix(rot.matrix_to_rpy(start.turn()) + written))
    turn = matrix_of(part.rotation, written)
    return Pose(position, start.turn() @ turn if part.axes == "tool" else turn @ start.turn())


def numbers_of(part: Part, pose: Pose, reference: Pose | None = None) -> np.ndarray:
    """The inverse of `pose_of`: (..., n), not yet clipped to the part's limit."""
    if part.reference == "absolute":
        position, turn = pose.position_m, None if part.rotation == "none" else pose.turn()
        written = None if turn is None else written_as(part.rotation, turn)
    else:
        start = _needed(part, reference)
        position = pose.position_m - start.position_m
        if part.axes == "tool":
            position = np.squeeze(np.swapaxes(start.turn(), -1, -2) @ position[..., None], -1)
        written = None if part.rotation == "none" else _turned(part, start.turn(), pose.turn())
    values = [*([position] if part.coordinates else []), *([] if written is None else [written])]
    return scaled_back(part, np.concatenate(values, axis=-1))


def matrix_of(rotation: str, written: np.ndarray) -> np.ndarray:
    """(..., n) a rotation as a layout writes it -> (..., 3, 3). Any numbers give a rotation."""
    return _READ[rotation](written)


def written_as(rotation: str, matrix: np.ndarray) -> np.ndarray:
    """(..., 3, 3) -> (..., n), the inverse of `matrix_of`."""
    return _WRITTEN[rotation](matrix)


_READ = {
    "rot6d": rot.rot6d_to_matrix,
    "axis_angle": rot.axis_angle_to_matrix,
    "rpy": rot.rpy_to_matrix,
    "quaternion": rot.quaternion_to_matrix,
}
_WRITTEN = {
    "rot6d": rot.matrix_to_rot6d,
    "axis_angle": rot.matrix_to_axis_angle,
    "rpy": rot.matrix_to_rpy,
    "quaternion": rot.matrix_to_quaternion,
}


def _turned(part: Part, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """The rotation numbers that take `start` to `end`."""
    if part.axes == "euler":
        return _least_step(rot.matrix_to_rpy(start), rot.matrix_to_rpy(end))
    back = np.swapaxes(start, -1, -2)
    return written_as(part.rotation, back @ end if part.axes == "tool" else end @ back)


def _least_step(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """(..., 3) the smallest change of roll, pitch and yaw to the rotation `end`, which has two ways to be written."""
    other = np.stack([end[..., 0] + np.pi, np.pi - end[..., 1], end[..., 2] + np.pi], axis=-1)
    steps = [(way - start + np.pi) % (2 * np.pi) - np.pi for way in (end, other)]
    sizes = [np.abs(step).max(axis=-1, keepdims=True) for step in steps]
    return np.where(sizes[1] < sizes[0], steps[1], steps[0])


def _needed(part: Part, reference: Pose | None) -> Pose:
    if reference is None:
        raise LayoutError(
            f"The {part.name} is {part.describe()}: where the arm is, or was told to go, must be known, and is not."
        )
    return reference
