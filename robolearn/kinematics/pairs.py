"""Where the two arms of a pair stand."""

from __future__ import annotations

import math

from robolearn.kinematics.mounted import MountedRobot
from robolearn.kinematics.robot import Robot
from robolearn.kinematics.robots import robot

ALOHA_APART_M = 0.938
"""Between the two bases of ALOHA (Zhao et al. 2023): 0.469 m to each side of the middle of its table."""


def facing(left: Robot, right: Robot, apart_m: float) -> tuple[MountedRobot, MountedRobot]:
    """Two arms that look at each other along the world's x axis, the origin in the middle between their bases."""
    half, turned = apart_m / 2, (math.cos(math.pi / 2), 0.0, 0.0, math.sin(math.pi / 2))
    return MountedRobot(left, "left", (-half, 0.0, 0.0)), MountedRobot(right, "right", (half, 0.0, 0.0), turned)


def side_by_side(left: Robot, right: Robot, apart_m: float) -> tuple[MountedRobot, MountedRobot]:
    """Two arms that both look along the world's x axis, the origin in the middle between their bases."""
    half = apart_m / 2
    return MountedRobot(left, "left", (0.0, half, 0.0)), MountedRobot(right, "right", (0.0, -half, 0.0))


def aloha() -> tuple[MountedRobot, MountedRobot]:
    """Two ViperX 300s as ALOHA stands."""
    arm = robot("vx300s")
    return facing(arm, arm, ALOHA_APART_M)
