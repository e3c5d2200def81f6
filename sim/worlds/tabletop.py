"""Arms at a table whose top is the plane z = 0 of the world, a wall behind them, cameras in front and at each wrist.

Physics runs at 500 Hz. Pictures are drawn from convex hulls of the meshes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import mujoco

from robolearn.core.action import Part
from robolearn.kinematics.mounted import MountedRobot, require_prefixes
from robolearn.kinematics.robot import TCP_SITE
from robolearn.sim.engine.arms_world import ArmsWorld
from robolearn.sim.engine.pose_solver import PoseSolver
from robolearn.sim.engine.scene_ik import PoseIK
from robolearn.sim.engine.simulation import Simulation
from robolearn.sim.robots.arm import Arm
from robolearn.sim.robots.attach import attach
from robolearn.sim.worlds.things import FIRST_ARM_BIT, SOLID, Thing

FRONT_CAMERA = "front"


@dataclass(frozen=True)
class View:
    """Where a fixed camera stands.

    Attributes:
        position_m: in the world.
        right, up: axes of the picture, in the world.
        height_deg: angle that a picture is high.
    """

    position_m: tuple[float, float, float] = (1.30, 0.0, 0.62)
    right: tuple[float, float, float] = (0.0, 1.0, 0.0)
    up: tuple[float, float, float] = (-0.50, 0.0, 0.866)
    height_deg: float = 46.0


FRONT = View()


class Tabletop(ArmsWorld):
    """See the module's text.

    Args:
        name: of the model.
        arms: on their bases.
        things: on the table.
        workspace_low_m, workspace_high_m: corners of the box that TCPs may be commanded to, each in its base's frame.
        front: what the camera "front" sees.
        scene_ik: solve absolute poses as the scene version put_on_plate-1 does.
        table_half_m: half the table's sides; its middle is at x = 0.4 m.
        arms_touch: whether one arm stops another; by default each touches the table and things only.
    """

    timestep_s: ClassVar[float] = 0.002
    shows_hulls: ClassVar[bool] = True

    def __init__(
        self,
        name: str,
        arms: Sequence[MountedRobot],
        things: Sequence[Thing],
        workspace_low_m: tuple[float, float, float] = (0.25, -0.35, 0.01),
        workspace_high_m: tuple[float, float, float] = (0.75, 0.35, 0.45),
        front: View = FRONT,
        scene_ik: bool = False,
        table_half_m: tuple[float, float] = (0.45, 0.6),
        arms_touch: bool = False,
    ):
        require_prefixes(arms)
        self.name, self.arms, self.things = name, tuple(arms), tuple(things)
        self.workspace_low_m, self.workspace_high_m = workspace_low_m, workspace_high_m
        self.front, self.scene_ik = front, scene_ik
        self.table_half_m, self.arms_touch = table_half_m, arms_touch

    def compose(self) -> mujoco.MjSpec:
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
            name="table", type=mujoco.mjtGeom.mjGEOM_BOX, size=[*self.table_half_m, 0.02], pos=[0.4, 0.0, -0.02],
            rgba=[0.55, 0.44, 0.34, 1.0], friction=[1.0, 0.005, 0.0001], **SOLID,
        )  # fmt: skip
        world.add_geom(
            name="wall", type=mujoco.mjtGeom.mjGEOM_BOX, size=[0.01, 2.0, 1.5], pos=[-0.9, 0.0, 0.5],
            rgba=[0.72, 0.76, 0.80, 1.0], contype=0, conaffinity=0,
        )  # fmt: skip
        view = self.front
        world.add_camera(name=FRONT_CAMERA, pos=view.position_m, xyaxes=[*view.right, *view.up], fovy=view.height_deg)
        for arm in self.arms:
            attach(spec, arm)
        if self.arms_touch:
            _let_touch(spec, self.arms)
        for thing in self.things:
            thing.add(spec)
        return spec

    def solver(self, arm: Arm, part: Part, simulation: Simulation) -> PoseSolver:
        if not self.scene_ik or part.reference != "absolute":
            return super().solver(arm, part, simulation)
        robot = arm.mounted.robot
        return PoseIK(simulation.model, TCP_SITE, robot.joints, robot.home_rad)


def _let_touch(spec: mujoco.MjSpec, arms: Sequence[MountedRobot]) -> None:
    """Give each arm a bit of its own that the other arms' geoms collide with, and its own do not."""
    bits = [FIRST_ARM_BIT << number for number in range(len(arms))]
    for arm, bit in zip(arms, bits, strict=True):
        for body in spec.bodies:
            for geom in body.geoms if body.name.startswith(arm.named("")) else ():
                if geom.contype:
                    geom.contype |= bit
                    geom.conaffinity |= sum(bits) - bit
