"""Small datasets of arms that are moved by poses, and the arithmetic of their layouts written out for one pose."""

from pathlib import Path

import numpy as np

from robolearn.core.action import ActionLayout, Part
from robolearn.core.feature import Feature, features
from robolearn.core.rotation import axis_angle_to_matrix, matrix_to_rot6d, rot6d_to_matrix
from robolearn.datasets.read.reader import Dataset
from robolearn.datasets.write.writer import DatasetWriter

STATE, ACTION = "observation.state", "action"


def poses(*arms: str) -> ActionLayout:
    """Absolute pose and gripper of each arm."""
    return ActionLayout(tuple(part for arm in arms for part in (Part("pose", arm=arm), Part("gripper", arm=arm))))


def write_poses(
    path: Path,
    lengths: list[int],
    arms: tuple[str, ...] = ("",),
    declared: bool = True,
    seed: int = 0,
    robots: tuple[tuple[str, str], ...] = (),
) -> Dataset:
    """Each arm is told a pose along a smooth way and lags behind it; layouts are stored where `declared`."""
    rng, layout = np.random.default_rng(seed), ActionLayout(poses(*arms).parts, robots)
    more = {"layout": layout} if declared else {"names": layout.names}
    table = features([
        Feature(STATE, (layout.size,), **more), Feature("observation.environment_state", (2,)),
        Feature(ACTION, (layout.size,), kind="action", **more),
    ])  # fmt: skip
    with DatasetWriter.create(path, table, 10.0, durable=False) as writer:
        for length in lengths:
            writer.start_episode()
            start, speed = rng.uniform(-0.3, 0.3, (len(arms), 6)), rng.uniform(-0.03, 0.03, (len(arms), 6))
            for k in range(length):
                told, measured = (
                    np.concatenate([_numbers(start[i] + t * speed[i], 0.5 + 0.4 * np.sin(t)) for i in range(len(arms))])
                    for t in (k + 1.0, k + 0.3)
                )
                values = {STATE: measured, ACTION: told, "observation.environment_state": rng.uniform(-1, 1, 2)}
                writer.append(k / 10.0, {name: value.astype(np.float32) for name, value in values.items()})
            writer.commit({"task": "move", "success": True})
    return Dataset(path)


def write_joints(
    path: Path, lengths: list[int], arms: tuple[str, ...] = ("",), robots: tuple[tuple[str, str], ...] = ()
) -> Dataset:
    """Each arm of three joints is told joints along a smooth way and lags behind it; it has a gripper."""
    rng, names = np.random.default_rng(1), ("shoulder", "elbow", "wrist")
    told = ActionLayout(
        tuple(p for arm in arms for p in (Part("joints", names, arm), Part("gripper", arm=arm))), robots
    )
    measured = ActionLayout(tuple(Part("joints", names, arm) for arm in arms), robots)
    table = features([
        Feature("observation.joint_position", (measured.size,), layout=measured), Feature(STATE, (1,)),
        Feature(ACTION, (told.size,), kind="action", layout=told),
    ])  # fmt: skip
    with DatasetWriter.create(path, table, 10.0, durable=False) as writer:
        for length in lengths:
            writer.start_episode()
            start, speed = rng.uniform(-1, 1, (len(arms), 3)), rng.uniform(-0.1, 0.1, (len(arms), 3))
            for k in range(length):
                asked = [np.append(start[i] + (k + 1.0) * speed[i], rng.uniform()) for i in range(len(arms))]
                values = {"observation.joint_position": (start + (k + 0.3) * speed).ravel(), STATE: rng.normal(size=1),
                          ACTION: np.concatenate(asked)}  # fmt: skip
                writer.append(k / 10.0, {name: value.astype(np.float32) for name, value in values.items()})
            writer.commit({"task": "move", "success": True})
    return Dataset(path)


def _numbers(twist: np.ndarray, opening: float) -> np.ndarray:
    return np.concatenate([twist[:3], matrix_to_rot6d(axis_angle_to_matrix(twist[3:])), [opening]])


def homogeneous(numbers: np.ndarray) -> np.ndarray:
    """(9,) position and 6-d rotation -> (4, 4) T."""
    found = np.eye(4)
    found[:3, :3], found[:3, 3] = rot6d_to_matrix(numbers[3:9]), numbers[:3]
    return found
