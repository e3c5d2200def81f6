"""What teleoperation drives: a simulated scene that waits between ticks, or a robot (`robot_target`) that does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from robolearn.core.action import ActionLayout
from robolearn.core.earlier_layouts import layout_of
from robolearn.core.errors import LayoutError
from robolearn.core.feature import Feature, Features
from robolearn.execution.command import COMMAND_LAYOUT, Command
from robolearn.hardware.robot import Robot
from robolearn.kinematics.conversion_counts import Counts
from robolearn.sim.env import SimEnv
from robolearn.teleop.env_actions import env_converter

STATE = "observation.state"


class TeleopTarget(Protocol):
    """An arm with its cameras and its task. `observation.state` is the measured pose of its TCP, in the layout of a
    `Command`; actions may be in another one.
    """

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

    def action(self, command: Command) -> np.ndarray:
        """What is recorded and applied so that the arm does what the hand commands now, as `action_feature` has it."""
        ...

    def apply(self, action: np.ndarray) -> None:
        """Carry out an action for one control period."""
        ...

    def success(self) -> bool | None:
        """Whether the task is done now; None where nothing measures it."""
        ...

    def sim_state(self) -> np.ndarray | None:
        """(S,) float64 simulator state behind the newest observation; None for a robot."""
        ...

    def inexact(self) -> str:
        """What of the hand's commands the actions of this episode do not say exactly, in one line; else empty."""
        ...

    def end_episode(self) -> None:
        """The operator has finished: come to rest and hold."""
        ...


class SimTarget:
    """A `SimEnv` as a teleoperation target: one `apply` is one control step, so between ticks time stands still.

    The hand's poses become actions of the environment's own layout (joints, steps, ...).

    Raises LayoutError for an environment that a hand cannot drive: of several arms, without a measured pose of the
    TCP, or whose actions do not follow from one.
    """

    robot = None

    def __init__(self, env: SimEnv):
        self.env = env
        self._actions = env_converter(env, hand_layout(env))
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
        self._actions.counts = Counts()
        self._actions.start(self._observation)

    def observe(self) -> dict[str, np.ndarray]:
        return self._observation

    def action(self, command: Command) -> np.ndarray:
        return self._actions.convert(command.to_action(), self._observation).astype(self.action_feature.dtype)

    def apply(self, action: np.ndarray) -> None:
        # the operator ends an episode, not the environment's own termination or step limit
        self._observation, _, _, _, self._info = self.env.step(action)

    def success(self) -> bool | None:
        success = self._info.get("success")
        return None if success is None else bool(success)

    def sim_state(self) -> np.ndarray | None:
        return self.env.sim_state()

    def inexact(self) -> str:
        return " ".join(filter(None, [self._actions.counts.describe(), self.env.inexact()]))

    def end_episode(self) -> None:
        """Nothing to do: time stands still."""


def hand_layout(env: SimEnv) -> ActionLayout:
    """`COMMAND_LAYOUT` of the environment's arm, whose free rotation a hand leaves free, too.

    Raises LayoutError for an environment that one hand cannot drive.
    """
    state = env.observation_features.get(STATE)
    found = layout_of(state) if state is not None else None
    actions = layout_of(env.action_feature)
    arms = (actions or found or COMMAND_LAYOUT).arms
    if len(arms) > 1:
        raise LayoutError(
            f"Environment {env.name!r} has the arms {' and '.join(map(repr, arms))}, and an operator's hand moves one. "
            "An expert that gives the actions of all of them drives it, where there is one: robolearn record --env "
            f"{env.name} --operator scripted."
        )
    if actions is None:
        raise LayoutError(
            f"Environment {env.name!r} does not say what its actions, of shape {env.action_feature.shape}, mean, and a "
            "hand needs to know: give its action feature a layout (docs/packages.md shows one), or try --env "
            "put_on_plate."
        )
    told = actions.motion(arms[0])
    in_space = told is not None and (told.kind != "pose" or told.coordinates == "xyz")
    if state is None or state.shape != (COMMAND_LAYOUT.size,) or not in_space:
        raise LayoutError(
            f"Environment {env.name!r} has no arm that a hand could drive: its actions are of shape "
            f"{env.action_feature.shape} ({actions.describe()}), and a TCP pose with gripper "
            f"is needed, and measured in {STATE!r}. Try --env put_on_plate, or record this one with --operator "
            "scripted if it has a script."
        )
    pose, gripper = COMMAND_LAYOUT.parts
    motion = found.motion(found.arms[0]) if found is not None else None
    arm = arms[0]
    free = motion.free if motion is not None else ""
    return ActionLayout((replace(pose, arm=arm, free=free), replace(gripper, arm=arm)))
