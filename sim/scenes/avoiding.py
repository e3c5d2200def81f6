"""avoiding: move a rod over a table between three rows of posts and across the goal line, without touching any.

After the Avoiding task of D3IL (Jia et al., ICLR 2024), without the arm: what matters is that there are 24 ways.

Lengths in metres, x to the right, y forward, start at the origin:

    y = 0.64   --------------- goal line ---------------
    y = 0.52        o          o          o                posts at x = -0.15, 0, 0.15    passages 0 1 2 3
    y = 0.32             o          o                      posts at x = -0.075, 0.075     passages 0 1 2
    y = 0.12                  o                            post at x = 0                  passages 0 1
    y = 0                     S

Posts: radius 25 mm; rod: radius 10 mm, so that 40 mm are free on either side in the middle of a gap of 150 mm.
The rod slides in the plane, pulled by a soft servo towards the commanded position (mass 1 kg, critically damped,
20 rad/s: it lags a moving command by 0.1 s).
Start state: always the same. Success: the rod's centre crosses the goal line. Any touch of a post ends the episode.
Behaviour mode: the passage taken in each row, counted from the left, "0-2-3" for example; 2 x 3 x 4 = 24.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import mujoco
import numpy as np

from robolearn.core.errors import ConfigError, unknown_name
from robolearn.core.feature import Feature, features
from robolearn.sim.env import SimEnv
from robolearn.sim.physics_state import physics_state, set_physics_state
from robolearn.sim.rendering import SceneRenderer

ROWS_M: tuple[tuple[float, tuple[float, ...]], ...] = (  # y of the row, x of its posts
    (0.12, (0.0,)),
    (0.32, (-0.075, 0.075)),
    (0.52, (-0.15, 0.0, 0.15)),
)
GOAL_Y_M = 0.64
GAP_M = 0.15  # between the centres of neighbouring posts of a row
POST_RADIUS_M, ROD_RADIUS_M = 0.025, 0.01
AREA_LOW_M, AREA_HIGH_M = np.array([-0.35, -0.05]), np.array([0.35, 0.70])  # of commands
MAX_STEP_M = 0.015  # longest change of the command in one action, an axis
MODES = tuple("-".join(map(str, path)) for path in product(*(range(len(posts) + 1) for _, posts in ROWS_M)))

CAMERA = "top"
_TIMESTEP_S, _SUBSTEPS = 0.005, 7  # 28.6 actions per second
_MASS_KG, _SERVO_RAD_S = 1.0, 20.0
_NAMES = ("command_x", "command_y", "x", "y")


class Avoiding(SimEnv):
    """See the module's text.

    Observations: `observation.state` (4,) commanded and measured position of the rod [m]; `observation.images.top`
    when the camera "top" is asked for. Action (2,): change of the commanded position [m], at most `MAX_STEP_M`.
    `info["score"]` is the share of the rows and the goal line that were passed, `info["contact"]` whether a post was
    touched.
    """

    name = "avoiding"
    scene_version = "avoiding-1"
    control_hz = 1.0 / (_TIMESTEP_S * _SUBSTEPS)
    max_steps = 250
    modes = len(MODES)
    video_camera = CAMERA

    def __init__(self, cameras: tuple[str, ...] = (), image_size: int = 96):
        for camera in cameras:
            self._check_camera(camera)
        self.cameras = tuple(cameras)
        self.image_size = image_size
        images = [
            Feature(f"observation.images.{camera}", (image_size, image_size, 3), "uint8", "image")
            for camera in self.cameras
        ]
        state = Feature("observation.state", (4,), names=_NAMES, unit="m", frame="world", rate_hz=self.control_hz)
        action = Feature("action", (2,), "float32", "action", ("x", "y"), "m", "world", self.control_hz)
        self._declare(features([state, *images]), action)
        self._spec = _compose()
        self.model: mujoco.MjModel = self._spec.compile()
        self.data = mujoco.MjData(self.model)
        self._pictures = SceneRenderer(self.model, mujoco.MjvOption())
        self._steps = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Every start state is the same; its number tells rollouts of a policy apart. Raises ConfigError."""
        init_state = self.init_state_of(seed, options)
        super().reset(seed=seed)
        mujoco.mj_resetData(self.model, self.data)
        mujoco.mj_forward(self.model, self.data)
        self._steps = 0
        return self._observe(), {**self.task_info(), "init_state": init_state}

    def step(self, action: Any) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        """Move the command and let 35 ms pass. Reward is the score. Raises FeatureError for a bad action."""
        change = np.clip(self.check_action(action), -MAX_STEP_M, MAX_STEP_M)
        model, data = self.model, self.data
        data.ctrl[:] = np.clip(data.ctrl + change, AREA_LOW_M, AREA_HIGH_M)
        contact = data.userdata[0]
        before = data.qpos[1]
        for _ in range(_SUBSTEPS):  # one by one: a touch may be over before the next action
            mujoco.mj_step(model, data)
            if data.ncon:
                contact = 1.0
        data.userdata[0] = contact
        x, y = data.qpos
        for row, (row_y, posts) in enumerate(ROWS_M):
            if before < row_y <= y:
                data.userdata[1 + row] = 1 + np.searchsorted(posts, x)
        self._steps += 1
        info = self.task_info()
        ended = info["success"] or info["contact"]
        return self._observe(), info["score"], ended, self._steps >= self.max_steps, info

    def task_info(self) -> dict[str, Any]:
        """`mode` is None until all rows are passed."""
        contact, *passages = self.data.userdata
        crossed = bool(self.data.qpos[1] >= GOAL_Y_M)
        success = crossed and not contact
        mode = "-".join(f"{passage - 1:.0f}" for passage in passages) if all(passages) else None
        passed = sum(passage > 0 for passage in passages) + success
        return {
            "success": success, "mode": mode, "score": passed / (len(ROWS_M) + 1), "contact": bool(contact),
        }  # fmt: skip

    def sim_state(self) -> np.ndarray:
        """What MuJoCo integrates, with the command, whether a post was touched and the passages taken."""
        return physics_state(self.model, self.data)

    def set_sim_state(self, state: np.ndarray) -> dict[str, np.ndarray]:
        """Raises ConfigError for a state of another size."""
        set_physics_state(self.model, self.data, state, self.name)
        self._steps = round(self.data.time * self.control_hz)
        return self._observe()

    def model_xml(self) -> str:
        return self._spec.to_xml()

    def render_camera(self, camera: str, width: int, height: int) -> np.ndarray:
        """The table from above, forward is up; `contact` shows nowhere."""
        self._check_camera(camera)
        return self._pictures.render(self.data, camera, width, height)

    def close(self) -> None:
        self._pictures.close()

    def _observe(self) -> dict[str, np.ndarray]:
        observation = {"observation.state": np.concatenate([self.data.ctrl, self.data.qpos]).astype(np.float32)}
        for camera in self.cameras:
            # mj_step leaves positions of bodies one step behind qpos
            mujoco.mj_kinematics(self.model, self.data)
            observation[f"observation.images.{camera}"] = self.render_camera(camera, self.image_size, self.image_size)
        return observation

    @staticmethod
    def _check_camera(camera: str) -> None:
        if camera != CAMERA:
            raise ConfigError(unknown_name("camera of the environment 'avoiding'", camera, (CAMERA,)))


def _compose() -> mujoco.MjSpec:
    spec = mujoco.MjSpec()
    spec.modelname = Avoiding.name
    spec.option.timestep = _TIMESTEP_S
    spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    spec.option.gravity = [0.0, 0.0, 0.0]  # the rod stays in its plane
    spec.nuserdata = 1 + len(ROWS_M)  # touched; passage taken in each row, from 1, or 0
    spec.visual.headlight.ambient, spec.visual.headlight.diffuse = [0.5] * 3, [0.4] * 3
    spec.visual.headlight.specular = [0.0] * 3
    world = spec.worldbody
    cylinder, box = mujoco.mjtGeom.mjGEOM_CYLINDER, mujoco.mjtGeom.mjGEOM_BOX
    shown = {"contype": 0, "conaffinity": 0}
    world.add_geom(type=box, size=[0.4, 0.42, 0.01], pos=[0, 0.32, -0.01], rgba=[0.93, 0.93, 0.91, 1], **shown)
    world.add_geom(type=box, size=[0.4, 0.003, 0.001], pos=[0, GOAL_Y_M, 0], rgba=[0.25, 0.6, 0.3, 1], **shown)
    for y, posts in ROWS_M:
        for x in posts:
            world.add_geom(type=cylinder, size=[POST_RADIUS_M, 0.04, 0], pos=[x, y, 0.04], rgba=[0.75, 0.3, 0.25, 1])
    rod = world.add_body(name="rod", pos=[0, 0, 0.05])
    rod.add_geom(type=cylinder, size=[ROD_RADIUS_M, 0.05, 0], mass=_MASS_KG, rgba=[0.2, 0.35, 0.65, 1])
    stiffness, damping = _MASS_KG * _SERVO_RAD_S**2, 2 * _MASS_KG * _SERVO_RAD_S
    for axis, direction in (("x", [1, 0, 0]), ("y", [0, 1, 0])):
        rod.add_joint(name=axis, type=mujoco.mjtJoint.mjJNT_SLIDE, axis=direction)
        servo = spec.add_actuator(name=axis, target=axis, trntype=mujoco.mjtTrn.mjTRN_JOINT)
        servo.gainprm[0] = stiffness
        servo.biastype = mujoco.mjtBias.mjBIAS_AFFINE
        servo.biasprm[1], servo.biasprm[2] = -stiffness, -damping
    world.add_camera(name=CAMERA, pos=[0, 0.32, 1.6], fovy=29)
    return spec
