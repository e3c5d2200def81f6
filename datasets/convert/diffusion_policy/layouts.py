"""Replay buffers whose keys are known: what a key is, and the rate and task, which buffers do not store."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from robolearn.core.feature import Feature, Kind

POSE = ("agent_x", "agent_y", "block_x", "block_y", "block_angle")


@dataclass(frozen=True)
class Column:
    """One feature and where it comes from: elements `first` to `stop` of the flattened rows of `keys`, side by side."""

    keys: tuple[str, ...]
    feature: Feature
    first: int = 0
    stop: int | None = None
    fixed: bool = True  # the name is known, and not a default

    def read(self, arrays: Mapping[str, Any], start: int, stop: int) -> np.ndarray:
        """`(stop - start, *shape)` of a feature of numbers."""
        parts = [np.asarray(arrays[key][start:stop]).reshape(stop - start, -1) for key in self.keys]
        rows = (parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1))[:, self.first : self.stop]
        return rows.reshape(stop - start, *self.feature.shape).astype(self.feature.dtype, copy=False)

    def size(self, arrays: Mapping[str, Any]) -> int:
        """Elements a row."""
        width = sum(math.prod(arrays[key].shape[1:]) for key in self.keys)
        return len(range(width)[self.first : self.stop])


@dataclass(frozen=True)
class Layout:
    """A set of keys whose meaning is known."""

    name: str
    fps: float
    task: str | None
    columns: tuple[Column, ...]
    notes: tuple[str, ...] = ()

    def fits(self, arrays: Mapping[str, Any]) -> bool:
        """Whether the arrays have all its keys with the right number of elements; other keys may be there too."""
        return all(
            all(key in arrays for key in c.keys) and c.size(arrays) == math.prod(c.feature.shape) for c in self.columns
        )


def find_layout(arrays: Mapping[str, Any]) -> Layout | None:
    """The layout that the arrays have, if it is a known one."""
    if PUSHT.fits(arrays):
        return PUSHT
    return _umi(arrays)


def _px(name: str, size: int, **fields: Any) -> Feature:
    return Feature(name, (size,), unit="px", frame="world", **fields)


PUSHT = Layout(
    "pusht",
    fps=10.0,
    task="Push the T-shaped block onto the T-shaped target.",
    columns=(
        Column(("keypoint",), _px("observation.environment_state", 16)),
        Column(("state",), _px("observation.state", 2, names=POSE[:2]), stop=2),
        Column(("state",), Feature("observation.full_state", (5,), names=POSE, frame="world")),
        Column(("action",), _px("action", 2, names=POSE[:2], kind="action")),
        Column(("img",), Feature("observation.images.top", (96, 96, 3), "uint8", "image")),
    ),
)

_GRIPPER_POSE = ("eef_pos", "eef_rot_axis_angle", "gripper_width")
_GRIPPER_LABELS = ("x", "y", "z", "rx", "ry", "rz", "width")


def _umi(arrays: Mapping[str, Any]) -> Layout | None:
    """UMI's buffer: a pose and a width for each hand-held gripper, a wrist camera for each, at the camera's rate.

    Positions are metres in the map of the tracker, rotations axis-angle vectors in rad, widths metres. There is no
    command: UMI trains on later poses as actions, so the action of a step is the pose of that step.
    """
    robots = sorted(m[1] for key in arrays if (m := re.fullmatch(r"(robot\d+)_eef_pos", key)))
    poses = [f"{robot}_{part}" for robot in robots for part in _GRIPPER_POSE]
    if not robots or any(key not in arrays for key in poses):
        return None
    labels = tuple(f"{robot}_{label}" for robot in robots for label in _GRIPPER_LABELS)
    size = len(labels)
    columns = [
        Column(tuple(poses), Feature("observation.state", (size,), names=labels, frame="world")),
        Column(tuple(poses), Feature("action", (size,), kind="action", names=labels, frame="world")),
    ]
    for key, array in arrays.items():
        if re.fullmatch(r"camera\d+_rgb", key) and len(array.shape) == 4:
            name = f"observation.images.{key.removesuffix('_rgb')}"
            columns.append(Column((key,), Feature(name, tuple(array.shape[1:]), "uint8", "image")))
    note = "UMI stores no commands: the action of a step is the pose of that step, as UMI trains on later poses"
    found = Layout("umi", 60.0, None, tuple(columns), (note,))
    return found if found.fits(arrays) else None


def default_column(key: str, array: Any) -> Column:
    """What becomes of a key that no layout knows, where its name, shape and type do not tell more."""
    name = key if key in ("action", "coverage") else f"observation.{key}"
    kind: Kind = "action" if key == "action" else "state"
    return Column((key,), Feature(name, tuple(array.shape[1:]) or (1,), array.dtype.name, kind), fixed=False)
