"""The engine under all table-top scenes of our own: a Panda at a table, pose control, two cameras, state in and out.

One control step is one IK solve and one `mj_step(nstep=...)` call; the servo loop runs inside MuJoCo. State-only
operation never touches GL. A scene subclasses `TabletopEnv` and says which objects there are, where they start and
when the task is done.
"""

from __future__ import annotations

import abc
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

import mujoco
import numpy as np

from robolearn.core.errors import ConfigError, unknown_name
from robolearn.core.feature import Feature, features
from robolearn.core.rotation import POSE_NAMES, matrix_to_rot6d, rot6d_to_matrix
from robolearn.kinematics.specs import ROBOT_BIT, WORLD_BIT
from robolearn.sim.controllers import PoseIK
from robolearn.sim.env import SimEnv
from robolearn.sim.physics_state import physics_state, set_physics_state
from robolearn.sim.rendering import SceneRenderer
from robolearn.sim.robots import panda

ARM_NAMES = (*POSE_NAMES, "gripper")
FRONT_CAMERA = "front"
_UNNAMED_CLASSES = re.compile(r" *<default>\s*(<default>\s*<default/>\s*</default>|<default/>)\s*</default>\n+")


class TabletopEnv(SimEnv):
    """A Panda at a table whose top is the plane z = 0 of the base frame (= world frame).

    Action (10,) float32: absolute TCP target, position (m) and 6-d rotation in the base frame, gripper opening
    in [0, 1]. Observations: `observation.state` (the same layout, measured), `observation.environment_state`
    (the scene's objects), `observation.joint_position`, and `observation.images.<camera>` for each camera asked for.

    Args:
        cameras: which of `available_cameras` to put into observations.
        image_size: pixels of a square image.
        control_hz: actions per second; must divide the physics rate of 500 Hz.
    """

    robots: Mapping[str, str] = MappingProxyType({panda.PANDA.name: panda.VERSION})
    available_cameras: ClassVar[tuple[str, ...]] = (FRONT_CAMERA, panda.WRIST_CAMERA)
    workspace_low_m: ClassVar[tuple[float, float, float]] = (0.25, -0.35, 0.01)
    workspace_high_m: ClassVar[tuple[float, float, float]] = (0.75, 0.35, 0.45)
    timestep_s: ClassVar[float] = 0.002

    def __init__(self, cameras: tuple[str, ...] = (), image_size: int = 96, control_hz: float = 20.0):
        for camera in cameras:
            if camera not in self.available_cameras:
                raise ConfigError(unknown_name("camera", camera, self.available_cameras))
        substeps = 1.0 / (control_hz * self.timestep_s) if control_hz > 0 else 0.0
        if round(substeps) < 1 or abs(substeps - round(substeps)) > 1e-6:
            raise ConfigError(
                f"A control rate of {control_hz} Hz does not divide the physics rate of {1 / self.timestep_s:g} Hz; "
                "try 20, 25, 50 or 100."
            )
        self.control_hz = float(control_hz)
        self.cameras = tuple(cameras)
        self.image_size = image_size
        self._substeps = round(substeps)
        self._steps = 0
        self._declare(
            features(
                [
                    Feature("observation.state", (10,), "float32", "state", ARM_NAMES, frame="base"),
                    self.objects_feature(),
                    Feature("observation.joint_position", (7,), "float32", "state", panda.JOINTS, unit="rad"),
                    *(
                        Feature(f"observation.images.{c}", (image_size, image_size, 3), "uint8", "image")
                        for c in cameras
                    ),
                ]
            ),
            Feature("action", (10,), "float32", "action", ARM_NAMES, frame="base", rate_hz=self.control_hz),
        )
        self._spec = self._compose()
        self.model: mujoco.MjModel = self._spec.compile()
        self.data = mujoco.MjData(self.model)
        shown = mujoco.MjvOption()
        # hulls instead of meshes: link 1's collision mesh alone has 12,500 triangles
        shown.flags[mujoco.mjtVisFlag.mjVIS_CONVEXHULL] = True
        self._pictures = SceneRenderer(self.model, shown)
        self._tcp = self.model.site(panda.TCP_SITE).id
        self._ik = PoseIK(self.model, panda.TCP_SITE, panda.JOINTS, panda.HOME_RAD)
        self._arm_qpos = np.array([self.model.joint(j).qposadr[0] for j in panda.JOINTS])
        self._finger_qpos = np.array([self.model.joint(j).qposadr[0] for j in panda.FINGERS])

    @abc.abstractmethod
    def objects_feature(self) -> Feature:
        """The feature `observation.environment_state` of this scene."""

    @abc.abstractmethod
    def add_objects(self, spec: mujoco.MjSpec) -> None:
        """Put the scene's objects into the model."""

    @abc.abstractmethod
    def place_objects(self, rng: np.random.Generator) -> None:
        """Set the start state's object poses in `self.data`."""

    @abc.abstractmethod
    def objects_state(self) -> np.ndarray:
        """Value of `observation.environment_state` now."""

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        init_state = self.init_state_of(seed, options)
        super().reset(seed=seed)
        rng = np.random.default_rng([init_state, *self.scene_version.encode()])
        mujoco.mj_resetData(self.model, self.data)
        start = panda.HOME_RAD + rng.uniform(-0.02, 0.02, size=7)
        self.data.qpos[self._arm_qpos] = start
        self.data.qpos[self._finger_qpos] = [panda.MAX_OPENING_M / 2, -panda.MAX_OPENING_M / 2]
        self._set_servos(start, 1.0)
        self.place_objects(rng)
        mujoco.mj_forward(self.model, self.data)
        self._steps = 0
        return self.observe(), {**self.task_info(), "init_state": init_state}

    def step(self, action: Any) -> tuple[dict[str, np.ndarray], float, bool, bool, dict[str, Any]]:
        self.set_target(self.check_action(action))
        self.advance(self._substeps)
        self._steps += 1
        info = self.task_info()
        return self.observe(), float(info["success"]), bool(info["success"]), self._steps >= self.max_steps, info

    def set_target(self, action: np.ndarray) -> None:
        """Command a TCP pose and gripper opening: one IK solve gives the servos' joint targets."""
        action = np.asarray(action, dtype=np.float64)
        position = np.clip(action[:3], self.workspace_low_m, self.workspace_high_m)
        joints = self._ik.solve(self.data.ctrl[:7], position, rot6d_to_matrix(action[3:9]))
        self._set_servos(joints, float(np.clip(action[9], 0.0, 1.0)))

    def _set_servos(self, joints_rad: np.ndarray, opening: float) -> None:
        half = opening * panda.MAX_OPENING_M / 2
        self.data.ctrl[:7] = joints_rad
        self.data.ctrl[7:9] = half, -half

    def advance(self, substeps: int) -> None:
        """Let `substeps` physics steps of `timestep_s` pass."""
        mujoco.mj_step(self.model, self.data, nstep=substeps)
        # mj_step leaves positions of bodies and sites one step behind qpos
        mujoco.mj_kinematics(self.model, self.data)

    @property
    def time_s(self) -> float:
        """Simulated time since the reset."""
        return float(self.data.time)

    def tcp_pose(self) -> tuple[np.ndarray, np.ndarray]:
        """Position (3,) and rotation (3, 3) of the tool centre point in the base frame."""
        return self.data.site_xpos[self._tcp].copy(), self.data.site_xmat[self._tcp].reshape(3, 3).copy()

    def gripper_opening(self) -> float:
        """Opening in [0, 1], 1 = open."""
        left, right = self.data.qpos[self._finger_qpos]
        return float(np.clip((left - right) / panda.MAX_OPENING_M, 0.0, 1.0))

    def observe(self) -> dict[str, np.ndarray]:
        position, rotation = self.tcp_pose()
        state = np.concatenate([position, matrix_to_rot6d(rotation), [self.gripper_opening()]])
        observation = {
            "observation.state": state.astype(np.float32),
            "observation.environment_state": self.objects_state().astype(np.float32),
            "observation.joint_position": self.data.qpos[self._arm_qpos].astype(np.float32),
        }
        for camera in self.cameras:
            image = self.render_camera(camera, self.image_size, self.image_size)
            observation[f"observation.images.{camera}"] = image
        return observation

    def sim_state(self) -> np.ndarray:
        return physics_state(self.model, self.data)

    def set_sim_state(self, state: np.ndarray) -> dict[str, np.ndarray]:
        set_physics_state(self.model, self.data, state, self.name)
        self._steps = round(self.time_s * self.control_hz)
        return self.observe()

    def model_xml(self) -> str:
        # MuJoCo 3 writes the classes of attached specifications without their names, and refuses to read that
        return _UNNAMED_CLASSES.sub("", self._spec.to_xml())

    def render_camera(self, camera: str, width: int, height: int) -> np.ndarray:
        if camera not in self.available_cameras:
            raise ConfigError(unknown_name("camera", camera, self.available_cameras))
        # mj_step leaves cameras one step behind the bodies that carry them, like sites
        mujoco.mj_camlight(self.model, self.data)
        return self._pictures.render(self.data, camera, width, height)

    def close(self) -> None:
        self._pictures.close()

    def _compose(self) -> mujoco.MjSpec:
        spec = mujoco.MjSpec()
        spec.modelname = self.name
        spec.compiler.degree = False
        spec.option.timestep = self.timestep_s
        spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
        spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
        spec.option.impratio = 10
        spec.visual.global_.offwidth, spec.visual.global_.offheight = 1280, 960
        spec.visual.quality.offsamples = 0
        spec.visual.map.znear = 0.01
        spec.visual.headlight.ambient, spec.visual.headlight.diffuse = [0.35] * 3, [0.45] * 3
        spec.visual.headlight.specular = [0.05] * 3
        world = spec.worldbody
        world.add_light(pos=[0.3, -0.6, 1.6], dir=[0.1, 0.5, -1.0], diffuse=[0.5] * 3, castshadow=False)
        world.add_geom(
            name="table", type=mujoco.mjtGeom.mjGEOM_BOX, size=[0.45, 0.6, 0.02], pos=[0.4, 0.0, -0.02],
            rgba=[0.55, 0.44, 0.34, 1.0], friction=[1.0, 0.005, 0.0001],
            contype=WORLD_BIT, conaffinity=ROBOT_BIT | WORLD_BIT,
        )  # fmt: skip
        world.add_geom(
            name="wall", type=mujoco.mjtGeom.mjGEOM_BOX, size=[0.01, 2.0, 1.5], pos=[-0.9, 0.0, 0.5],
            rgba=[0.72, 0.76, 0.80, 1.0], contype=0, conaffinity=0,
        )  # fmt: skip
        world.add_camera(name=FRONT_CAMERA, pos=[1.30, 0.0, 0.62], xyaxes=[0, 1, 0, -0.50, 0, 0.866], fovy=46)
        panda.add_panda(spec)
        self.add_objects(spec)
        return spec
