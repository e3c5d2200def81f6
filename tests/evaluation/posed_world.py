"""`PosedArm`: an arm without a simulator that is where it was told to be one step ago; `Led` leads it along a way."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from robolearn.core.action import ActionLayout, Part
from robolearn.core.feature import Feature, features
from robolearn.core.rotation import axis_angle_to_matrix, matrix_to_axis_angle, matrix_to_rot6d, rot6d_to_matrix
from robolearn.execution.policy_spec import PolicySpec
from robolearn.sim.env import SimEnv

STATE, HORIZON, RATE_HZ = "observation.state", 4, 10.0
POSES = ActionLayout((Part("pose"), Part("gripper")))
TURNS = Part("pose", rotation="axis_angle", reference="current")


def transform(twist) -> np.ndarray:
    """(6,) position and rotation vector -> (4, 4)."""
    found = np.eye(4)
    found[:3, :3], found[:3, 3] = axis_angle_to_matrix(np.asarray(twist[3:], float)), twist[:3]
    return found


def way(step: int) -> np.ndarray:
    """(4, 4) where the arm is told to be in a step."""
    return transform(np.array([0.02, -0.01, 0.03, 0.1, 0.2, -0.1]) * step)


def state_features(layout: ActionLayout = POSES):
    return features([Feature(STATE, (layout.size,), layout=layout)])


class PosedArm(SimEnv):
    """Takes absolute poses, or moves from where it is, about the base's axes (`TURNS`). `told` is all it was told."""

    def __init__(self, layout: ActionLayout = POSES, max_steps: int = 6):
        self.name, self.scene_version, self.control_hz, self.max_steps = "posed_arm", "posed_arm-1", RATE_HZ, max_steps
        self._declare(state_features(), Feature("action", (layout.size,), kind="action", layout=layout))
        self._layout, self.told = layout, []

    def reset(self, *, seed=None, options=None):
        self.pose, self.opening, self.told = way(0), 1.0, []
        return self._observation(), self.task_info()

    def step(self, action):
        action = self.check_action(action).astype(float)
        self.opening, motion = action[-1], action[:-1]
        if self._layout == POSES:
            self.pose = np.eye(4)
            self.pose[:3, :3], self.pose[:3, 3] = rot6d_to_matrix(motion[3:]), motion[:3]
        else:
            moved = self.pose.copy()
            moved[:3, :3] = axis_angle_to_matrix(motion[3:]) @ moved[:3, :3]
            moved[:3, 3] += motion[:3]
            self.pose = moved
        self.told.append(self.pose)
        return self._observation(), 0.0, False, len(self.told) >= self.max_steps, self.task_info()

    def _observation(self):
        numbers = np.concatenate([self.pose[:3, 3], matrix_to_rot6d(self.pose[:3, :3]), [self.opening]])
        return {STATE: numbers.astype(np.float32)}

    def task_info(self):
        return {"success": False, "score": 0.0, "mode": None}

    def sim_state(self):
        return self.pose.ravel()

    def set_sim_state(self, state):
        self.pose = np.reshape(state, (4, 4))
        return self._observation()

    def model_xml(self):
        return None

    def render_camera(self, camera, width, height):
        return np.zeros((height, width, 3), np.uint8)


class Led:
    """Leads the arm along `way`, one step after the other, in whichever of these layouts it was made for.

    `absolute`, `current` (base axes, axis-angle), `target` (tool axes, axis-angle) or `observation` (tool axes, rot6d).
    It counts its questions itself: `execute` steps lie between two of them.
    """

    PARTS: ClassVar = {
        "absolute": Part("pose"),
        "current": TURNS,
        "target": Part("pose", rotation="axis_angle", reference="target", axes="tool"),
        "observation": Part("pose", reference="observation", axes="tool"),
    }

    def __init__(self, reference: str, execute: int):
        part = self.PARTS[reference]
        layout = ActionLayout((part, Part("gripper")))
        action = Feature("action", (layout.size,), kind="action", layout=layout)
        self.spec = PolicySpec(state_features(), action, 1, HORIZON, RATE_HZ)
        self.reference, self.execute, self.asked = reference, execute, 0

    def predict_chunk(self, observations, goal=None, executed=None, generator=None):
        first = self.asked * self.execute
        self.asked += 1
        return np.stack([self._numbers(first, first + i) for i in range(HORIZON)]).astype(np.float32)

    def _numbers(self, newest: int, step: int) -> np.ndarray:
        # the arm has not been told anything before step 0: it stands where it is led to then
        before = way(max(step - 1, 0))
        if self.reference == "absolute":
            move = way(step)
            written = matrix_to_rot6d(move[:3, :3])
        elif self.reference == "current":
            move = np.eye(4)
            move[:3, :3], move[:3, 3] = way(step)[:3, :3] @ before[:3, :3].T, way(step)[:3, 3] - before[:3, 3]
            written = matrix_to_axis_angle(move[:3, :3])
        elif self.reference == "target":
            move = np.linalg.inv(before) @ way(step)
            written = matrix_to_axis_angle(move[:3, :3])
        else:
            move = np.linalg.inv(way(max(newest - 1, 0))) @ way(step)
            written = matrix_to_rot6d(move[:3, :3])
        return np.concatenate([move[:3, 3], written, [0.25]])
