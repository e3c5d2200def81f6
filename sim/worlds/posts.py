"""A rod in the plane between three rows of posts, without an arm.

Lengths in metres, x to the right, y forward, the rod starts at the origin:

    y = 0.64   --------------- goal line ---------------
    y = 0.52        o          o          o                posts at x = -0.15, 0, 0.15    passages 0 1 2 3
    y = 0.32             o          o                      posts at x = -0.075, 0.075     passages 0 1 2
    y = 0.12                  o                            post at x = 0                  passages 0 1
    y = 0                     S

Posts: radius 25 mm; rod: radius 10 mm, so that 40 mm are free on either side in the middle of a gap of 150 mm.
The rod slides in the plane, pulled by a soft servo towards the commanded position (mass 1 kg, critically damped,
20 rad/s: it lags a moving command by 0.1 s).
"""

from __future__ import annotations

from typing import ClassVar

import mujoco
import numpy as np

from robolearn.core.action import ActionLayout
from robolearn.sim.engine.planar import PlanarController
from robolearn.sim.engine.planar_world import PlanarWorld
from robolearn.sim.engine.simulation import Simulation

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
CAMERA = "top"

_MASS_KG, _SERVO_RAD_S = 1.0, 20.0
_MAX_STEP = float(np.float32(MAX_STEP_M))  # as actions are


class Posts(PlanarWorld):
    """See the module's text. `userdata` has 1 + 3 numbers for a task to remember things in."""

    name = "avoiding"
    timestep_s: ClassVar[float] = 0.005
    settles: ClassVar[bool] = False

    def compose(self) -> mujoco.MjSpec:
        spec = mujoco.MjSpec()
        spec.modelname = self.name
        spec.option.timestep = self.timestep_s
        spec.option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
        spec.option.gravity = [0.0, 0.0, 0.0]  # the rod stays in its plane
        spec.nuserdata = 1 + len(ROWS_M)
        spec.visual.headlight.ambient, spec.visual.headlight.diffuse = [0.5] * 3, [0.4] * 3
        spec.visual.headlight.specular = [0.0] * 3
        world = spec.worldbody
        cylinder, box = mujoco.mjtGeom.mjGEOM_CYLINDER, mujoco.mjtGeom.mjGEOM_BOX
        shown = {"contype": 0, "conaffinity": 0}
        world.add_geom(type=box, size=[0.4, 0.42, 0.01], pos=[0, 0.32, -0.01], rgba=[0.93, 0.93, 0.91, 1], **shown)
        world.add_geom(type=box, size=[0.4, 0.003, 0.001], pos=[0, GOAL_Y_M, 0], rgba=[0.25, 0.6, 0.3, 1], **shown)
        for y, posts in ROWS_M:
            for x in posts:
                world.add_geom(
                    type=cylinder, size=[POST_RADIUS_M, 0.04, 0], pos=[x, y, 0.04], rgba=[0.75, 0.3, 0.25, 1]
                )
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

    def controller(self, layout: ActionLayout, simulation: Simulation, control_hz: float) -> PlanarController:
        command = simulation.data.ctrl

        def shift(change: np.ndarray) -> None:
            change = np.minimum(np.maximum(change, -_MAX_STEP), _MAX_STEP)
            np.minimum(np.maximum(command + change, AREA_LOW_M), AREA_HIGH_M, out=command)

        return PlanarController(layout, command, simulation.data.qpos, shift)
