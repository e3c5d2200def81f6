"""put_on_plate: grasp the carrot-coloured bar, place it on the plate, let go and move away.

Objects: bar 70 x 28 x 28 mm, 60 g, free; plate 130 x 130 x 10 mm, fixed where it starts.
Start states: bar centre in x 0.42..0.58 m, y -0.20..0.20 m, turned by up to 50 degrees; plate in the same area,
at least 0.15 m away from the bar; arm near its home posture.
Object state: pose of the bar and position of the plate, and both positions seen from the TCP, all along the base
frame's axes (networks learn a reach from differences far better than from two absolute positions).
Success: the bar rests on the plate (its centre over the plate, slow), the gripper is open and 40 mm away.
"""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np

from robolearn.core.feature import Feature
from robolearn.core.rotation import ROT6D_NAMES, axis_angle_to_quaternion, matrix_to_rot6d
from robolearn.kinematics.specs import ROBOT_BIT, WORLD_BIT
from robolearn.sim.tabletop import TabletopEnv

BAR_HALF_M = (0.035, 0.014, 0.014)
PLATE_HALF_M, PLATE_HEIGHT_M = 0.065, 0.01
AREA_LOW_M, AREA_HIGH_M = np.array([0.42, -0.20]), np.array([0.58, 0.20])
MAX_TURN_RAD = np.deg2rad(50)
MIN_DISTANCE_M = 0.15


class PutOnPlate(TabletopEnv):
    """See the module's text. `info` adds the partial flags `grasped`, `lifted` and `on_plate`."""

    name = "put_on_plate"
    scene_version = "put_on_plate-1"
    max_steps = 300

    def objects_feature(self) -> Feature:
        names = (
            *(f"bar_{a}" for a in "xyz"),
            *ROT6D_NAMES,
            *(f"plate_{a}" for a in "xyz"),
            *(f"bar_from_tcp_{a}" for a in "xyz"),
            *(f"plate_from_tcp_{a}" for a in "xyz"),
        )
        return Feature("observation.environment_state", (18,), "float32", "state", names, frame="base")

    def add_objects(self, spec: mujoco.MjSpec) -> None:
        solid = {"contype": WORLD_BIT, "conaffinity": ROBOT_BIT | WORLD_BIT}
        bar = spec.worldbody.add_body(name="bar", pos=[0.5, 0.0, BAR_HALF_M[2]])
        bar.add_freejoint(name="bar")
        bar.add_geom(
            name="bar", type=mujoco.mjtGeom.mjGEOM_BOX, size=BAR_HALF_M, mass=0.06, rgba=[0.93, 0.45, 0.13, 1.0],
            friction=[1.0, 0.01, 0.0001], condim=4, **solid,
        )  # fmt: skip
        bar.add_geom(  # the green end shows which way the bar points; it does not collide
            name="bar_end", type=mujoco.mjtGeom.mjGEOM_BOX, size=[0.006, 0.0145, 0.0145], pos=[0.0295, 0.0, 0.0],
            mass=0.0, rgba=[0.25, 0.60, 0.25, 1.0], contype=0, conaffinity=0,
        )  # fmt: skip
        plate = spec.worldbody.add_body(name="plate", pos=[0.5, 0.2, 0.0], mocap=True)
        # a box, not a cylinder: MuJoCo gives box on box up to 8 contact points, box on cylinder one, on which it rocks
        plate.add_geom(
            name="plate", type=mujoco.mjtGeom.mjGEOM_BOX, size=[PLATE_HALF_M, PLATE_HALF_M, PLATE_HEIGHT_M / 2],
            pos=[0.0, 0.0, PLATE_HEIGHT_M / 2], rgba=[0.93, 0.94, 0.97, 1.0], friction=[1.0, 0.005, 0.0001], **solid,
        )  # fmt: skip
        inner = 0.75 * PLATE_HALF_M
        plate.add_geom(
            name="plate_inner", type=mujoco.mjtGeom.mjGEOM_BOX, size=[inner, inner, 0.0002],
            pos=[0.0, 0.0, PLATE_HEIGHT_M + 0.0002], rgba=[0.35, 0.50, 0.78, 1.0], contype=0, conaffinity=0,
        )  # fmt: skip

    def place_objects(self, rng: np.random.Generator) -> None:
        while True:
            bar, plate = rng.uniform(AREA_LOW_M, AREA_HIGH_M, size=(2, 2))
            if np.linalg.norm(bar - plate) >= MIN_DISTANCE_M:
                break
        turn = rng.uniform(-MAX_TURN_RAD, MAX_TURN_RAD)
        address = self.model.joint("bar").qposadr[0]
        self.data.qpos[address : address + 3] = [*bar, BAR_HALF_M[2]]
        self.data.qpos[address + 3 : address + 7] = axis_angle_to_quaternion(np.array([0.0, 0.0, turn]))
        self.data.mocap_pos[0] = [*plate, 0.0]

    def objects_state(self) -> np.ndarray:
        body = self.model.body("bar").id
        bar, plate = self.data.xpos[body], self.data.mocap_pos[0]
        rotation = matrix_to_rot6d(self.data.xmat[body].reshape(3, 3))
        tcp, _ = self.tcp_pose()
        return np.concatenate([bar, rotation, plate, bar - tcp, plate - tcp])

    def task_info(self) -> dict[str, Any]:
        body = self.model.body("bar").id
        bar, plate = self.data.xpos[body], self.data.mocap_pos[0]
        tcp, _ = self.tcp_pose()
        opening = self.gripper_opening()
        dof = self.model.joint("bar").dofadr[0]
        speed = float(np.linalg.norm(self.data.qvel[dof : dof + 3]))
        near = float(np.linalg.norm(tcp - bar)) < 0.03
        grasped = near and 0.2 < opening < 0.6
        lifted = bool(bar[2] > 0.05)
        above = bool((np.abs(bar[:2] - plate[:2]) < PLATE_HALF_M).all())
        on_plate = bool(above and PLATE_HEIGHT_M < bar[2] < PLATE_HEIGHT_M + 0.03)
        away = float(np.linalg.norm(tcp - bar)) > 0.04
        success = bool(on_plate and speed < 0.02 and opening > 0.6 and away)
        score = 1.0 if success else 0.75 if on_plate else 0.5 if grasped and lifted else 0.25 if grasped else 0.0
        return {
            "success": success, "mode": None, "score": score,
            "grasped": bool(grasped), "lifted": lifted, "on_plate": on_plate,
        }  # fmt: skip
