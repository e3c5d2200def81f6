"""A world small enough to solve by hand: a point on a line has to reach the goal at x = 1, or where it is asked to.

Importing this module registers the environment `tiny_line`, also in worker processes. Start state k puts the
point at -k / 10. An action is the next step, clipped to 0.1, so a policy that always goes right needs exactly
ceil((1 - x0 - 0.05) / 0.1) = 10 + k steps to come within 0.05 of the goal.
"""

from __future__ import annotations

import os
import signal
import time
from typing import ClassVar

import numpy as np

from robolearn.core.errors import MissingDependencyError
from robolearn.core.feature import Feature, features
from robolearn.datasets.write.writer import DatasetWriter
from robolearn.execution.policy_spec import PolicySpec
from robolearn.sim.env import SimEnv
from robolearn.sim.registry import ENVIRONMENTS

STATE = Feature("observation.state", (1,), names=("x",), unit="m")
ACTION = Feature("action", (2,), kind="action", names=("step", "unused"))
CONTROL_HZ = 20.0


class TinyLine(SimEnv):
    accepts_goal = True
    robots: ClassVar = {"rod": "tiny-1"}

    def __init__(self, max_steps: int = 40, can_render: bool = True, jams_at: int | None = None):
        self.jams_at = jams_at
        self.can_render = can_render
        self.name = "tiny_line"
        self.scene_version = "1"
        self.control_hz = CONTROL_HZ
        self.max_steps = max_steps
        self._declare(features([STATE]), ACTION)

    def reset(self, *, seed=None, options=None):
        self._x = -self.init_state_of(seed, options) / 10
        self._steps = 0
        self.actions = []
        goal = self.goal_of(options)
        self._goal = 1.0 if goal is None else float(goal[STATE.name][-1, 0])
        return self._observe(), self.task_info()

    def step(self, action):
        action = self.check_action(action)
        self.actions.append(action)
        if self.jams_at is not None and self._x <= -self.jams_at / 10:
            raise RuntimeError("the gripper is stuck")
        self._x += float(np.clip(action[0], -0.1, 0.1))
        self._steps += 1
        info = self.task_info()
        return self._observe(), info["score"], info["success"], self._steps >= self.max_steps, info

    def _observe(self):
        return {STATE.name: np.array([self._x], np.float32)}

    def task_info(self):
        return {"success": abs(self._x - self._goal) < 0.051, "mode": None, "score": float(np.clip(self._x, 0, 1))}

    def sim_state(self):
        return np.array([self._x])

    def set_sim_state(self, state):
        self._x = float(state[0])
        return self._observe()

    def model_xml(self):
        return None

    def render_camera(self, camera, width, height):
        if not self.can_render:
            raise MissingDependencyError("Nothing can render images.")
        picture = np.full((height, width, 3), 230, np.uint8)
        column = int(np.clip((self._x + 1) / 2, 0, 0.99) * width)
        picture[:, max(0, column - 2) : column + 3] = (30, 60, 200)
        return picture


if "tiny_line" not in ENVIRONMENTS:
    ENVIRONMENTS.register("tiny_line", "tiny_world:TinyLine")


class LinePolicy:
    """Goes right with noise of `noise` in its steps; `fault` makes it misbehave from start state `fault_at` on."""

    def __init__(self, noise=0.0, horizon=4, obs_horizon=2, fault=None, fault_at=0, control_hz=CONTROL_HZ, state=STATE):
        self.spec = PolicySpec(features([state]), ACTION, obs_horizon, horizon, control_hz)
        self.noise, self.fault, self.fault_at = noise, fault, fault_at
        self.windows = []

    def predict_chunk(self, observations, goal=None, executed=None, generator=None):
        import torch

        window = observations[STATE.name]
        assert window.shape == (self.spec.obs_horizon, 1)
        self.windows.append(window)
        noise = torch.randn((self.spec.action_horizon, 2), generator=generator).numpy()
        chunk = np.array([0.1, 0.0]) + self.noise * noise
        if self.fault and window[-1, 0] <= -self.fault_at / 10:
            if self.fault == "nan":
                chunk[1, 0] = np.nan
            if self.fault == "eof":
                raise EOFError("the log ended")
            if self.fault == "bug":
                raise KeyError("no such layer")
            if self.fault == "die":
                os._exit(9)
            if self.fault == "hang":
                time.sleep(60)
        return chunk.astype(np.float32)


class SeekPolicy:
    """Steps of 0.1 towards the last sample of its goal; keeps what it was given."""

    def __init__(self, obs_horizon=3, goal_horizon=2, goal_feature=STATE):
        goals = features([goal_feature])
        self.spec = PolicySpec(features([STATE]), ACTION, obs_horizon, 2, CONTROL_HZ, goals, goal_horizon)
        self.goals, self.executed = [], []

    def predict_chunk(self, observations, goal=None, executed=None, generator=None):
        self.goals.append(goal)
        self.executed.append(executed)
        way = goal[STATE.name][-1, 0] - observations[STATE.name][-1, 0]
        return np.tile(np.array([0.1 * np.sign(way), len(self.goals)], np.float32), (2, 1))


def write_ends(path, ends, steps=5, feature=STATE):
    """A dataset whose episode i moves to x = ends[i] in steps of 0.01."""
    with DatasetWriter.create(path, features([feature, ACTION]), CONTROL_HZ) as writer:
        for end in ends:
            writer.start_episode()
            for k in range(steps):
                x = np.full(feature.shape, end - 0.01 * (steps - 1 - k), np.float32)
                writer.append(k / CONTROL_HZ, {feature.name: x, ACTION.name: np.zeros(2, np.float32)})
            writer.commit({"success": True})
    return path


def make_seeker(**options):
    return SeekPolicy(**options)


def make_policy(**options):
    return LinePolicy(**options)


def make_once(marker):
    """A policy that kills its worker at start state 1, and cannot be loaded a second time."""
    with open(marker, "x"):
        return LinePolicy(fault="die", fault_at=1)


def killed():
    os.kill(os.getpid(), signal.SIGKILL)
