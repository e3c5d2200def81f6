"""What teleoperation drives: a simulated scene that waits between ticks, or a robot (`robot_target`) that does not."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from robolearn.core.errors import ConfigError
from robolearn.core.feature import Feature, Features
from robolearn.hardware.robot import Robot
from robolearn.sim.env import SimEnv

ACTION_SIZE = 10  # position, 6-d rotation, gripper: see `Command.to_action`


class TeleopTarget(Protocol):
    """An arm with its cameras and its task. Observations hold at least `observation.state` in the action's layout."""

    @property
    def name(self) -> str: ...

    @property
    def observation_features(self) -> Features: ...

    @property
    def action_feature(self) -> Feature: ...

    @property
    def workspace_m(self) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest corner, (3,) each, of the box the TCP may be commanded to, in the base frame."""
        ...

    @property
    def env(self) -> SimEnv | None:
        """The scene behind it, which is recorded step by step; None for a robot."""
        ...

    @property
    def robot(self) -> Robot | None:
        """The robot behind it, whose devices are recorded at their own rates; None for a scene."""
        ...

    def start_episode(self, init_state: int) -> None:
        """Get ready for an episode; `init_state` picks the start state where that can be picked."""
        ...

    def observe(self) -> dict[str, np.ndarray]:
        """The newest observation."""
        ...

    def apply(self, action: np.ndarray) -> None:
        """Command `(10,)` float32 for one control period."""
        ...

    def success(self) -> bool | None:
        """Whether the task is done now; None where nothing measures it."""
        ...

    def sim_state(self) -> np.ndarray | None:
        """(S,) float64 simulator state behind the newest observation; None for a robot."""
        ...

    def end_episode(self) -> None:
        """The operator has finished: come to rest and hold."""
        ...


class SimTarget:
    """A `SimEnv` as a teleoperation target: one `apply` is one control step, so between ticks time stands still.

    Raises ConfigError for an environment whose action is not a TCP pose with a gripper.
    """

    robot = None

    def __init__(self, env: SimEnv):
        if env.action_feature.shape != (ACTION_SIZE,) or "observation.state" not in env.observation_features:
            raise ConfigError(
                f"Environment {env.name!r} takes actions of shape {env.action_feature.shape}; teleoperation needs "
                f"a TCP pose with gripper, shape ({ACTION_SIZE},), and its measured value in observation.state. "
                "Try --env put_on_plate, or record this one with --operator scripted if it has a script."
            )
        self.env = env
        self._observation: dict[str, np.ndarray] = {}
        self._info: dict[str, Any] = {}

    @property
    def name(self) -> str:
        return self.env.name

    @property
    def observation_features(self) -> Features:
        return self.env.observation_features

    @property
    def action_feature(self) -> Feature:
        return self.env.action_feature

    @property
    def workspace_m(self) -> tuple[np.ndarray, np.ndarray]:
        return np.array(self.env.workspace_low_m, np.float64), np.array(self.env.workspace_high_m, np.float64)

    def start_episode(self, init_state: int) -> None:
        self._observation, self._info = self.env.reset(options={"init_state": init_state})

    def observe(self) -> dict[str, np.ndarray]:
        return self._observation

    def apply(self, action: np.ndarray) -> None:
        # the operator ends an episode, not the environment's own termination or step limit
        self._observation, _, _, _, self._info = self.env.step(action)

    def success(self) -> bool | None:
        success = self._info.get("success")
        return None if success is None else bool(success)

    def sim_state(self) -> np.ndarray | None:
        return self.env.sim_state()

    def end_episode(self) -> None:
        """Nothing to do: time stands still."""
