"""put_on_plate: grasp the carrot-coloured bar, place it on the plate, let go and move away.

Objects: bar 70 x 28 x 28 mm, 60 g, free; plate 130 x 130 x 10 mm, fixed where it starts. Small arms have smaller ones.
Start states: bar centre and plate in an area in reach of the arm, the bar turned; the plate some way from the bar; arm
near its home posture. The Panda's: x 0.42..0.58 m, y -0.20..0.20 m, up to 50 degrees, at least 0.15 m.
Object state: pose of the bar and position of the plate, and both positions seen from the TCP, all along the base
frame's axes (networks learn a reach from differences far better than from two absolute positions).
Grasped: the bar is at the TCP, and the fingers are as far apart as the bar is wide, 12 mm less to 20 mm more.
Success: the bar rests on the plate (its centre over the plate, slow), the fingers are further apart than that, and the
TCP is 40 mm away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from robolearn.core.feature import Feature
from robolearn.core.rotation import ROT6D_NAMES, axis_angle_to_quaternion, matrix_to_rot6d
from robolearn.kinematics.mounted import MountedRobot
from robolearn.kinematics.robots import robot
from robolearn.sim.engine.simulation import Simulation
from robolearn.sim.engine.task import Task
from robolearn.sim.observables.observable import Observable
from robolearn.sim.worlds.tabletop import FRONT, Tabletop, View
from robolearn.sim.worlds.things import Bar, Plate

_NARROWER_M, _WIDER_M = 0.012, 0.020  # than the bar, between fingers that hold it


@dataclass(frozen=True)
class Setup:
    """The task for one robot.

    Attributes:
        robot: its name.
        scene_version: see `SimEnv`.
        area_low_m, area_high_m: where bar and plate start (x, y).
        max_turn_rad: of the bar, either way.
        min_distance_m: between the centres of bar and plate.
        workspace_low_m, workspace_high_m: corners of the box that the TCP may be commanded to.
        front: what the camera "front" sees.
        scene_ik: see `Tabletop`.
    """

    robot: str
    scene_version: str
    area_low_m: tuple[float, float] = (0.42, -0.20)
    area_high_m: tuple[float, float] = (0.58, 0.20)
    max_turn_rad: float = float(np.deg2rad(50))
    min_distance_m: float = 0.15
    workspace_low_m: tuple[float, float, float] = (0.25, -0.35, 0.01)
    workspace_high_m: tuple[float, float, float] = (0.75, 0.35, 0.45)
    bar: Bar = field(default_factory=Bar)
    plate: Plate = field(default_factory=Plate)
    front: View = FRONT
    scene_ik: bool = False


SETUPS = {
    "": Setup("panda", "put_on_plate-1", scene_ik=True),
    "ur5e": Setup("ur5e", "put_on_plate/ur5e-1"),
    "xarm7": Setup(
        "xarm7", "put_on_plate/xarm7-1", (0.36, -0.20), (0.52, 0.20), workspace_low_m=(0.20, -0.35, 0.0),
        workspace_high_m=(0.65, 0.35, 0.40),
    ),
    "vx300s": Setup(
        "vx300s", "put_on_plate/vx300s-1", (0.26, -0.18), (0.40, 0.18), workspace_low_m=(0.15, -0.30, 0.01),
        workspace_high_m=(0.50, 0.30, 0.35), front=View((1.05, 0.0, 0.55)),
    ),
    "so100": Setup(
        "so100", "put_on_plate/so100-1", (0.13, -0.10), (0.21, 0.10), float(np.deg2rad(30)), 0.11,
        (0.08, -0.20, 0.005), (0.30, 0.20, 0.25), Bar((0.025, 0.010, 0.010), 0.02), Plate(0.04),
        View((0.62, 0.0, 0.34)),
    ),
}  # fmt: skip
"""Variant -> what it is for."""

_FEATURE = Feature(
    "observation.environment_state", (18,),
    names=(
        *(f"bar_{a}" for a in "xyz"), *ROT6D_NAMES, *(f"plate_{a}" for a in "xyz"),
        *(f"bar_from_tcp_{a}" for a in "xyz"), *(f"plate_from_tcp_{a}" for a in "xyz"),
    ),
    frame="base",
)  # fmt: skip


class PutOnPlate(Task):
    """See the module's text. `info` adds the partial flags `grasped`, `lifted` and `on_plate`."""

    name = "put_on_plate"
    language = "put the bar on the plate"
    variants = tuple(SETUPS)
    plain = SETUPS[""].robot

    def __init__(self, variant: str = ""):
        super().__init__(variant)
        self.setup = setup = SETUPS[variant]
        self.scene_version = setup.scene_version
        arms = [MountedRobot(robot(setup.robot))]
        self.world = Tabletop(
            self.name, arms, (setup.bar, setup.plate), setup.workspace_low_m, setup.workspace_high_m, setup.front,
            setup.scene_ik,
        )  # fmt: skip

    def bind(self, sim: Simulation) -> None:
        super().bind(sim)
        self._bar, self._plate = sim.body("bar"), sim.body("plate")

    def start(self, rng: np.random.Generator) -> None:
        setup = self.setup
        while True:
            bar, plate = rng.uniform(setup.area_low_m, setup.area_high_m, size=(2, 2))
            if np.linalg.norm(bar - plate) >= setup.min_distance_m:
                break
        turn = rng.uniform(-setup.max_turn_rad, setup.max_turn_rad)
        height = setup.bar.half_m[2]
        self._bar.place([*bar, height], axis_angle_to_quaternion(np.array([0.0, 0.0, turn])))
        self._plate.place([*plate, 0.0])

    def observables(self) -> Sequence[Observable]:
        return (Observable(_FEATURE, self._objects),)

    def _objects(self) -> np.ndarray:
        bar, plate = self._bar.position_m, self._plate.position_m
        tcp = self.sim.arm.tcp_position_in_world()
        return np.concatenate([bar, matrix_to_rot6d(self._bar.rotation), plate, bar - tcp, plate - tcp])

    def info(self) -> dict[str, Any]:
        bar, plate = self._bar.position_m, self._plate.position_m
        reach, half = self.sim.arm.tcp_position_in_world() - bar, self.setup.plate.half_m
        apart = self.sim.arm.fingers_apart_m() - 2 * self.setup.bar.half_m[1]
        away, height = float(np.linalg.norm(reach)), float(bar[2])
        grasped = away < 0.03 and -_NARROWER_M < apart < _WIDER_M
        lifted = height > 0.05
        above = bool((np.abs(bar[:2] - plate[:2]) < half).all())
        low = self.setup.plate.height_m
        on_plate = above and low < height < low + 0.03
        speed = float(np.linalg.norm(self._bar.velocity_m_s))
        success = on_plate and speed < 0.02 and apart > _WIDER_M and away > 0.04
        score = 1.0 if success else 0.75 if on_plate else 0.5 if grasped and lifted else 0.25 if grasped else 0.0
        return {
            "success": success, "mode": None, "score": score,
            "grasped": grasped, "lifted": lifted, "on_plate": on_plate,
        }  # fmt: skip
