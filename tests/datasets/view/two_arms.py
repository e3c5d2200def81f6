"""A dataset of two arms whose tools go around on circles, made for looking at."""

from pathlib import Path

import numpy as np

from robolearn.core.action import ActionLayout, Part
from robolearn.core.feature import Feature, features
from robolearn.core.rotation import matrix_to_rot6d
from robolearn.datasets.format.episode import EpisodeData
from robolearn.datasets.write.writer import DatasetWriter

STEPS, RADIUS_M = 80, 0.1
MOUNTS = [
    {"prefix": "left", "robot": "panda", "position_m": [0.0, 0.5, 0.0], "quaternion": [1.0, 0.0, 0.0, 0.0]},
    # turned about z by 180 degrees: what is ahead of it is behind the other
    {"prefix": "right", "robot": "ur5e", "position_m": [1.0, 0.0, 0.2], "quaternion": [0.0, 0.0, 0.0, 1.0]},
]
LAYOUT = ActionLayout(
    tuple(Part(kind, arm=arm) for arm in ("left", "right") for kind in ("pose", "gripper")),
    (("left", "panda"), ("right", "ur5e")),
)


def circle(turn: float) -> np.ndarray:
    """(T, 3) around (0.5, 0, 0.3), seen from above, in the base of the arm."""
    angle = np.linspace(0.0, turn, STEPS)
    return np.stack([0.5 + RADIUS_M * np.cos(angle), RADIUS_M * np.sin(angle), np.full(STEPS, 0.3)], axis=1)


def record(path: Path, mounts: object = True, **env: object) -> Path:
    """`mounts`: True those of `MOUNTS`, False no simulated environment; `env`: more of what is said of that."""
    state = Feature("observation.state", (20,), layout=LAYOUT)
    action = Feature("action", (20,), kind="action", layout=LAYOUT)
    turned = np.tile(matrix_to_rot6d(np.diag([1.0, -1.0, -1.0])), (STEPS, 1))
    opening = np.linspace(1.0, 0.0, STEPS)[:, None]
    rows = np.concatenate([circle(6.0), turned, opening, circle(-3.0), turned, 1 - opening], axis=1).astype(np.float32)
    with DatasetWriter.create(path, features([state, action]), 20, durable=False) as writer:
        if mounts:
            described = {"name": "two", "scene_version": "1", "mounts": MOUNTS if mounts is True else mounts, **env}
            writer.set_sim_model("<mujoco/>", described)
        states = np.zeros((STEPS, 1)) if mounts else None
        values = {"observation.state": rows, "action": rows}
        record = {"task": "go around", "success": True}
        writer.write_episode(EpisodeData(np.arange(STEPS) / 20, values, {}, record, states))
    return path
