"""Where the tool of each arm went in an episode: from measured poses, or measured joints where the robot's files are on
this machine; in the world where the mounts are known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from robolearn.core.earlier_layouts import layout_of
from robolearn.core.errors import RobolearnError
from robolearn.core.rotation import quaternion_to_matrix
from robolearn.datasets.format.layout import Json
from robolearn.datasets.read.reader import Dataset
from robolearn.kinematics.pose import Pose, pose_of, values_of
from robolearn.kinematics.robots import robot

MAX_POINTS = 2000


@dataclass(frozen=True)
class ToolPath:
    """Of one arm.

    Attributes:
        arm: prefix, empty where there is one only.
        robot: its name; None where it is not known.
        source: the feature that it was read from.
        frame: that the points are in.
        points_m: (T, 3); of what moves in a plane z is 0.
        opening: (T,) of the gripper, in [0, 1]; None where it is not measured.
    """

    arm: str
    robot: str | None
    source: str
    frame: str
    points_m: np.ndarray
    opening: np.ndarray | None = None

    def to_dict(self, steps: np.ndarray) -> Json:
        """Json-ready, with the points at `steps` only."""
        return {
            "arm": self.arm, "robot": self.robot, "source": self.source, "frame": self.frame,
            "points": np.round(self.points_m[steps], 5).tolist(),
            "opening": None if self.opening is None else np.round(self.opening[steps], 3).tolist(),
        }  # fmt: skip


def describe_paths(dataset: Dataset, episode: int) -> Json:
    """Json-ready: `arms`, one `ToolPath` each, and `times` in seconds of their points, at most `MAX_POINTS`."""
    steps = dataset.episode_slice(episode)
    shown = np.unique(np.linspace(0, steps.stop - steps.start - 1, MAX_POINTS).astype(int))
    paths = tool_paths(dataset, episode)
    times = dataset.rows("timestamp", steps.start, steps.stop)[shown]
    return {"arms": [path.to_dict(shown) for path in paths], "times": times.tolist()}


def tool_paths(dataset: Dataset, episode: int) -> list[ToolPath]:
    """Of each arm whose pose, or else whose joints are measured, in the order of its first mention."""
    steps = dataset.episode_slice(episode)
    found: dict[str, ToolPath] = {}
    joints: dict[str, ToolPath] = {}
    openings: dict[str, np.ndarray] = {}
    mounts = _mounts(dataset.sim_env or {})
    for name, feature in dataset.features.items():
        layout = layout_of(feature) if feature.kind == "state" else None
        if layout is None:
            continue
        rows = dataset.rows(name, steps.start, steps.stop)
        for part, where in zip(layout.parts, layout.slices, strict=True):
            if part.reference != "absolute":
                continue
            if part.kind == "gripper":
                openings.setdefault(part.arm, values_of(part, rows[:, where])[:, 0])
            elif part.kind == "pose" and part.coordinates and part.arm not in found:
                position = pose_of(replace(part, rotation="none", names=()), rows[:, where][:, : len(part.coordinates)])
                points, frame = _placed(position.position_m, part.frame, mounts.get(part.arm))
                found[part.arm] = ToolPath(part.arm, layout.robot(part.arm), name, frame, points)
            elif part.kind == "joints" and part.arm not in joints:
                known = layout.robot(part.arm) or _only_robot(dataset)
                reached = _by_joints(known, part.names, values_of(part, rows[:, where]))
                if reached is not None:
                    points, frame = _placed(reached, "base", mounts.get(part.arm))
                    joints[part.arm] = ToolPath(part.arm, known, name, frame, points)
    found = joints | found
    return [replace(path, opening=openings.get(arm)) for arm, path in found.items()]


def _by_joints(name: str | None, names: tuple[str, ...], joints: np.ndarray) -> np.ndarray | None:
    """(T, 3) in the arm's base; None for a robot that is not known, has other joints, or whose files are not here."""
    try:
        known = robot(name or "")
        if not known.is_present or known.joints != names:
            return None
        from robolearn.kinematics.arm import ArmKinematics

        arm = ArmKinematics(known)
    except (RobolearnError, ImportError):
        return None
    return np.array([arm.forward(row)[0] for row in joints])


def _only_robot(dataset: Dataset) -> str | None:
    """The robot of a simulated environment that has one; files without layouts name it there."""
    names = list((dataset.sim_env or {}).get("robots") or ())
    return str(names[0]) if len(names) == 1 else None


def _placed(points: np.ndarray, frame: str, mount: Pose | None) -> tuple[np.ndarray, str]:
    """Points with a third coordinate, in the world where it is known how the arm stands in it."""
    if points.shape[1] == 2:
        return np.pad(points, ((0, 0), (0, 1))), frame
    if mount is None or frame != "base":
        return points, frame
    return Pose(points).within(mount).position_m, "world"


def _mounts(sim_env: Mapping[str, Any]) -> dict[str, Pose]:
    """Pose of each arm's base in the world, by prefix, as the simulated environment of a dataset was recorded with.

    What is no pose is left out: nothing is known then of where that arm stands.
    """
    found = {}
    items = sim_env.get("mounts")
    for item in items if isinstance(items, list) else ():
        try:
            position, quaternion = np.array(item["position_m"], float), np.array(item["quaternion"], float)
            prefix = str(item["prefix"])
        except (KeyError, TypeError, ValueError, OverflowError):
            continue
        numbers = np.concatenate([position.ravel(), quaternion.ravel()])
        if position.shape == (3,) and quaternion.shape == (4,) and np.isfinite(numbers).all() and quaternion.any():
            found[prefix] = Pose(position, quaternion_to_matrix(quaternion))
    return found
