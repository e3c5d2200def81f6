"""Two arms of one kind at one table, face to face, left and right as the camera "front" sees them; they can collide.

The arms look at each other along the world's y axis; half-way between them is x = `MIDDLE_M`. ViperX 300s stand as far
apart as those of ALOHA.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from robolearn.kinematics.mounted import MountedRobot
from robolearn.kinematics.pairs import ALOHA_APART_M
from robolearn.kinematics.robots import robot
from robolearn.sim.worlds.tabletop import Tabletop, View
from robolearn.sim.worlds.things import Thing

MIDDLE_M = 0.40
LEFT, RIGHT = "left", "right"


@dataclass(frozen=True)
class Pair:
    """Two arms of one kind.

    Attributes:
        robot: name in the registry of robots.
        apart_m: between their bases.
        workspace_low_m, workspace_high_m: corners of the box that each TCP may be commanded to, in its base's frame.
        front: what the camera "front" sees.
    """

    robot: str
    apart_m: float
    workspace_low_m: tuple[float, float, float]
    workspace_high_m: tuple[float, float, float]
    front: View

    def arms(self) -> tuple[MountedRobot, MountedRobot]:
        """The left one and the right one."""
        half, turned = self.apart_m / 2, float(np.sqrt(0.5))
        kind = robot(self.robot)
        return (
            MountedRobot(kind, LEFT, (MIDDLE_M, -half, 0.0), (turned, 0.0, 0.0, turned)),
            MountedRobot(kind, RIGHT, (MIDDLE_M, half, 0.0), (turned, 0.0, 0.0, -turned)),
        )

    def world(self, name: str, things: Sequence[Thing]) -> Tabletop:
        """Both at a table with `things` on it."""
        return Tabletop(
            name, self.arms(), things, self.workspace_low_m, self.workspace_high_m, self.front,
            table_half_m=(0.75, self.apart_m / 2 + 0.20), arms_touch=True,
        )  # fmt: skip


PAIRS = {
    "panda": Pair(
        "panda",
        1.24,
        (0.15, -0.40, 0.005),
        (0.80, 0.40, 0.60),
        View((1.90, 0.0, 0.95), up=(-0.438, 0.0, 0.899), height_deg=44.0),
    ),
    "vx300s": Pair(
        "vx300s",
        ALOHA_APART_M,
        (0.12, -0.35, 0.005),
        (0.62, 0.35, 0.50),
        View((1.60, 0.0, 0.75), up=(-0.448, 0.0, 0.894), height_deg=44.0),
    ),
}
