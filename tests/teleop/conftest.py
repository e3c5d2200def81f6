"""A world small enough to predict: a free TCP that is wherever the last action put it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from robolearn.core.feature import Feature, features
from robolearn.core.rotation import axis_angle_to_matrix, matrix_to_rot6d
from robolearn.execution.command import COMMAND_LAYOUT
from robolearn.hardware.input.protocol import Motion
from robolearn.sim.env import SimEnv

HOME = np.concatenate([[0.5, 0.0, 0.3], matrix_to_rot6d(axis_angle_to_matrix(np.array([np.pi, 0.0, 0.0]))), [1.0]])


class PointEnv(SimEnv):
    """Observation = last action, exactly. Success: TCP below z = 0.1."""

    name, scene_version, control_hz, max_steps = "point", "point-1", 20.0, 5
    workspace_low_m, workspace_high_m = (0.2, -0.4, 0.0), (0.8, 0.4, 0.5)

    def __init__(self) -> None:
        self._declare(
            features([Feature("observation.state", (10,), frame="base", layout=COMMAND_LAYOUT)]),
            Feature("action", (10,), kind="action", layout=COMMAND_LAYOUT),
        )
        self.actions: list[np.ndarray] = []
        self.init_states: list[int] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None):
        self.state = HOME.astype(np.float32)
        self.actions.clear()
        self.init_states.append(self.init_state_of(seed, options))
        return self._observation(), self.task_info()

    def step(self, action):
        self.state = self.check_action(action)
        self.actions.append(self.state)
        info = self.task_info()
        return self._observation(), info["score"], info["success"], False, info

    def task_info(self) -> dict[str, Any]:
        success = bool(self.state[2] < 0.1)
        return {"success": success, "mode": None, "score": float(success)}

    def _observation(self) -> dict[str, np.ndarray]:
        return {"observation.state": self.state.copy()}

    def sim_state(self) -> np.ndarray:
        return self.state.astype(np.float64)

    def set_sim_state(self, state: np.ndarray) -> dict[str, np.ndarray]:
        self.state = state.astype(np.float32)
        return self._observation()

    def model_xml(self) -> None:
        return None

    def render_camera(self, camera: str, width: int, height: int) -> np.ndarray:
        raise NotImplementedError


class PlayedDevice:
    """An operator that plays a list of motions, tick by tick, in every episode; after the list it does nothing."""

    name = "played"

    def __init__(self, motions: list[Motion], autonomous: bool = True):
        self.motions, self.autonomous = motions, autonomous
        self.attempts: list[int] = []
        self.times: list[float] = []

    def describe(self) -> str:
        return "played"

    def connect(self) -> None: ...

    def disconnect(self) -> None: ...

    def start_episode(self, attempt: int) -> None:
        self.attempts.append(attempt)
        self._left = list(self.motions)

    def observe(self, observation: dict[str, np.ndarray], time_s: float) -> None:
        self.times.append(time_s)

    def read(self) -> Motion:
        return self._left.pop(0) if self._left else Motion()


@pytest.fixture
def point_env() -> PointEnv:
    return PointEnv()


@pytest.fixture
def played() -> type[PlayedDevice]:
    return PlayedDevice
