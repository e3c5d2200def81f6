"""Push-T: a round agent pushes a T-shaped block onto a goal pose, in two dimensions (gym-pusht 0.1.8, pymunk 6).

Lengths are pixels of the 512 x 512 world (x right, y down), angles are rad. Start state k is what the human
demonstrations and the diffusion-policy protocol draw from `numpy.random.RandomState(k)`: k = episode index starts
like that human episode, and k = 100000..100049 are the usual 50 evaluation starts.
"""

from __future__ import annotations

import os
import warnings
from typing import Any

import numpy as np

from robolearn.core.action import ActionLayout, Part
from robolearn.core.errors import ConfigError, unknown_name
from robolearn.core.feature import Feature, features
from robolearn.sim.env import SimEnv

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    warnings.simplefilter("ignore", UserWarning)  # pygame's note about pkg_resources
    from gym_pusht.envs.pusht import PushTEnv

SUCCESS_COVERAGE = 0.95
CAMERAS = ("top",)
VARIANTS = ("keypoints",)
SIM_STATE_SIZE = 10
_AGENT = ActionLayout((Part("pose", arm="agent", coordinates="xy", rotation="none", unit="px", frame="world"),))
_STATE = Feature("observation.state", (2,), unit="px", frame="world", rate_hz=10.0, layout=_AGENT)
_KEYPOINTS = Feature("observation.environment_state", (16,), unit="px", frame="world", rate_hz=10.0)
_ACTION = Feature("action", (2,), kind="action", unit="px", frame="world", rate_hz=10.0, layout=_AGENT)


def start_pose(init_state: int) -> np.ndarray:
    """(5,) agent x, y, block x, y [px] and angle [rad] that seed `init_state` draws (legacy generator and order)."""
    rng = np.random.RandomState(init_state)
    agent = [rng.randint(50, 450), rng.randint(50, 450)]
    block = [rng.randint(100, 400), rng.randint(100, 400)]
    return np.array([*agent, *block, rng.randn() * 2 * np.pi - np.pi], dtype=np.float64)


class PushT(SimEnv):
    """Push-T with keypoint observations.

    Observations: `observation.state` (2,) agent position [px]; `observation.environment_state` (16,) the corners of
    the two bars of the T, x0, y0, x1, y1, ... [px]; `observation.images.top` when the camera "top" is asked for.
    Action (2,): where the agent should go [px, 0..512], held for 0.1 s. `info["coverage"]` is the share of the goal
    that the block covers now; success above 0.95; `score` = min(coverage / 0.95, 1).

    Args:
        variant: "keypoints", the only one.
        cameras: () or ("top",).
        image_size: pixels on a side.
        max_steps: actions until truncation.
    """

    evaluation_start = 100_000  # as in the published evaluations
    demonstrated = range(206)  # episode k of the human demonstrations begins from k

    def __init__(
        self,
        variant: str = "keypoints",
        cameras: tuple[str, ...] = (),
        image_size: int = 96,
        max_steps: int = 300,
    ):
        if variant not in VARIANTS:
            raise ConfigError(unknown_name("variant of the environment 'pusht'", variant, VARIANTS))
        for camera in cameras:
            self._check_camera(camera)
        self.name = "pusht"
        self.scene_version = "gym-pusht-0.1.8"
        self.control_hz = 10.0
        self.max_steps = max_steps
        self.cameras = tuple(cameras)
        self.video_camera = "top"
        self.image_size = image_size
        self._world = PushTEnv(obs_type="state", render_mode="rgb_array")
        self._world._setup()
        self._steps = 0
        images = [
            Feature(f"observation.images.{camera}", (image_size, image_size, 3), "uint8", "image", rate_hz=10.0)
            for camera in self.cameras
        ]
        self._declare(features([_STATE, _KEYPOINTS, *images]), _ACTION)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Start state k: see `start_pose`. Raises ConfigError for a negative or non-integer k."""
        init_state = self.init_state_of(seed, options)
        super().reset(seed=seed)
        self._world._setup()  # a new space: no contact of an earlier episode is remembered
        self._world._last_action = None
        self._world._set_state(start_pose(init_state))
        self._steps = 0
        return self._observe(), {**self.task_info(), "init_state": init_state}

    def step(self, action: Any) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Hold one target for 0.1 s. Reward is the score. Raises FeatureError for a bad action."""
        target = self.check_action(action).astype(np.float64)
        self._world.step(target)
        self._steps += 1
        info = self.task_info()
        return self._observe(), info["score"], info["success"], self._steps >= self.max_steps, info

    def sim_state(self) -> np.ndarray:
        """(10,): agent x, y, vx, vy; block x, y, angle, vx, vy, angular velocity [px, rad, s].

        Contact impulses that the solver remembers between steps are not part of it: going on from a restored state
        in contact can differ from the original by a fraction of a pixel.
        """
        agent, block = self._world.agent, self._world.block
        return np.array(
            [
                *agent.position, *agent.velocity,
                *block.position, block.angle, *block.velocity, block.angular_velocity,
            ]
        )  # fmt: skip

    def set_sim_state(self, state: np.ndarray) -> dict[str, np.ndarray]:
        """Go to a state from `sim_state`, in a new space. Raises ConfigError for a state of another size."""
        state = np.asarray(state, dtype=np.float64)
        if state.shape != (SIM_STATE_SIZE,):
            raise ConfigError(
                f"pusht has simulator states of shape ({SIM_STATE_SIZE},), found {state.shape}: the state comes from "
                "another environment."
            )
        values = state.tolist()
        self._world._setup()
        agent, block = self._world.agent, self._world.block
        agent.position, agent.velocity = tuple(values[0:2]), tuple(values[2:4])
        block.angle = values[6]  # turns about the centre of mass, so the position of the T's origin comes after it
        block.position = tuple(values[4:6])
        block.velocity, block.angular_velocity = tuple(values[7:9]), values[9]
        for body in (agent, block):
            self._world.space.reindex_shapes_for_body(body)
        return self._observe()

    def task_info(self) -> dict[str, Any]:
        """`success`, `score` and `coverage` now; `mode` None."""
        coverage = float(self._world._get_coverage())
        return {
            "success": coverage > SUCCESS_COVERAGE,
            "mode": None,
            "score": min(coverage / SUCCESS_COVERAGE, 1.0),
            "coverage": coverage,
        }

    def model_xml(self) -> str | None:
        return None

    def render_camera(self, camera: str, width: int, height: int) -> np.ndarray:
        """The world from above, in the middle of a white picture; drawn in memory, without a window or GL."""
        self._check_camera(camera)
        side = min(width, height)
        picture = np.full((height, width, 3), 255, dtype=np.uint8)
        top, left = (height - side) // 2, (width - side) // 2
        drawn = self._world._get_img(self._world._draw(), width=side, height=side)
        picture[top : top + side, left : left + side] = drawn
        return picture

    def _observe(self) -> dict[str, np.ndarray]:
        observation = {
            "observation.state": np.array(self._world.agent.position, dtype=np.float32),
            "observation.environment_state": self._keypoints(),
        }
        for camera in self.cameras:
            observation[f"observation.images.{camera}"] = self.render_camera(camera, self.image_size, self.image_size)
        return observation

    def _keypoints(self) -> np.ndarray:
        """(16,) float32 corners of both bars in gym-pusht's order."""
        return PushTEnv.get_keypoints(self._world._block_shapes).astype(np.float32).reshape(-1)

    @staticmethod
    def _check_camera(camera: str) -> None:
        if camera not in CAMERAS:
            raise ConfigError(unknown_name("camera of the environment 'pusht'", camera, CAMERAS))
