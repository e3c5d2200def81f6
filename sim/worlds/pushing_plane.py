"""A plane with two cubes, two marked targets and a round effector that pushes, without an arm.

Two cubes of 40 mm and 10 g with three times a cube's moment of inertia, which slide and turn on the table but do not
tip; two targets at (0.28, 0.20) and (0.52, 0.20) m, 0.24 m apart, only marked; effector: an upright cylinder, 20 mm
across, hanging 0.06 m above the table and moved by a servo.
"""

from __future__ import annotations

from typing import ClassVar

import mujoco
import numpy as np

from robolearn.core.action import ActionLayout
from robolearn.sim.engine.planar import PlanarController
from robolearn.sim.engine.planar_world import PlanarWorld
from robolearn.sim.engine.simulation import Simulation

CUBE_HALF_M = 0.02
EFFECTOR_RADIUS_M, EFFECTOR_HEIGHT_M = 0.01, 0.06
WORKSPACE_LOW_M, WORKSPACE_HIGH_M = np.array([0.10, -0.50]), np.array([0.70, 0.35])
TARGETS_M = np.array([[0.28, 0.20], [0.52, 0.20]])
TOLERANCE_M = 0.05  # of a cube's centre to be in a target
MAX_STEP_M = 0.035  # longest change of the command in one action
CAMERA = "top"

_KP, _KV = 1600.0, 80.0  # N/m and N s/m on 1 kg: critically damped, 25 ms
_XY = ("x", "y")


class PushingPlane(PlanarWorld):
    """See the module's text.

    qpos: (x, y, z, yaw) of each cube, then x, y of the effector; act: the effector's commanded x, y.
    """

    name = "block_push"
    timestep_s: ClassVar[float] = 0.01
    settles: ClassVar[bool] = False

    def compose(self) -> mujoco.MjSpec:
        spec = mujoco.MjSpec()
        spec.modelname = self.name
        spec.compiler.degree = False
        spec.option.timestep = self.timestep_s
        spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
        spec.visual.quality.offsamples = 0
        spec.visual.headlight.ambient, spec.visual.headlight.diffuse = [0.5] * 3, [0.4] * 3
        slide, hinge = mujoco.mjtJoint.mjJNT_SLIDE, mujoco.mjtJoint.mjJNT_HINGE
        box, cylinder = mujoco.mjtGeom.mjGEOM_BOX, mujoco.mjtGeom.mjGEOM_CYLINDER
        world = spec.worldbody
        world.add_geom(
            name="table", type=mujoco.mjtGeom.mjGEOM_PLANE, size=[1.0, 1.0, 0.1], rgba=[0.86, 0.84, 0.80, 1.0],
            contype=1, conaffinity=2,
        )  # fmt: skip
        world.add_camera(name="top", pos=[0.40, -0.075, 1.05], fovy=46)
        colours = ([0.85, 0.30, 0.20, 1.0], [0.20, 0.42, 0.75, 1.0])
        for i, target in enumerate(TARGETS_M):
            world.add_geom(
                name=f"target{i}", type=cylinder, size=[TOLERANCE_M, 0.0005, 0], pos=[*target, 0.0005],
                rgba=[0.45, 0.70, 0.45, 1.0], contype=0, conaffinity=0,
            )  # fmt: skip
        for i, colour in enumerate(colours):
            cube = world.add_body(name=f"cube{i}")
            # slides and a hinge in place of a free joint: what the policy sees is the whole pose
            for axis, name in enumerate("xyz"):
                cube.add_joint(name=f"cube{i}_{name}", type=slide, axis=np.eye(3)[axis])
            cube.add_joint(name=f"cube{i}_yaw", type=hinge, axis=[0, 0, 1])
            cube.explicitinertial = True
            cube.mass = 0.01
            cube.inertia = [3 * 0.01 * (2 * CUBE_HALF_M) ** 2 / 6] * 3
            cube.add_geom(
                name=f"cube{i}", type=box, size=[CUBE_HALF_M] * 3, pos=[0, 0, CUBE_HALF_M], rgba=colour,
                friction=[1.0, 0.005, 0.0001], contype=2, conaffinity=3,
            )  # fmt: skip
            cube.ipos = [0, 0, CUBE_HALF_M]
        effector = world.add_body(name="effector", pos=[0, 0, EFFECTOR_HEIGHT_M])
        effector.add_geom(
            name="effector", type=cylinder, size=[EFFECTOR_RADIUS_M, EFFECTOR_HEIGHT_M - 0.005, 0], mass=1.0,
            rgba=[0.25, 0.25, 0.28, 1.0], contype=1, conaffinity=2,
        )  # fmt: skip
        for axis, name in enumerate(_XY):
            effector.add_joint(name=f"effector_{name}", type=slide, axis=np.eye(3)[axis])
            servo = spec.add_actuator(name=f"effector_{name}", target=f"effector_{name}")
            servo.trntype = mujoco.mjtTrn.mjTRN_JOINT
            # the control is a speed, the activation the commanded place
            servo.set_to_intvelocity(kp=_KP, kv=_KV)
            servo.actlimited = True
            servo.actrange = [WORKSPACE_LOW_M[axis], WORKSPACE_HIGH_M[axis]]
        return spec

    def controller(self, layout: ActionLayout, simulation: Simulation, control_hz: float) -> PlanarController:
        data = simulation.data

        def shift(way: np.ndarray) -> None:
            """As far as MAX_STEP_M; the servo's input is a speed."""
            way = way * min(1.0, MAX_STEP_M / max(float(np.hypot(*way)), 1e-9))
            data.ctrl[:] = way * control_hz

        return PlanarController(layout, data.act, data.qpos[8:], shift)
