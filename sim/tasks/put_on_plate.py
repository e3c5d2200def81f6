"""put_on_plate: grasp the carrot-coloured bar, place it on the plate, let go and move away.

Objects: bar 70 x 28 x 28 mm, 60 g, free; plate 130 x 130 x 10 mm, fixed where it starts.
Start states: bar centre in x 0.42..0.58 m, y -0.20..0.20 m, turned by up to 50 degrees; plate in the same area,
at least 0.15 m away from the bar; arm near its home posture.
Object state: pose of the bar and position of the plate, and both positions seen from the TCP, all along the base
frame's axes (networks learn a reach from differences far better than from two absolute positions).
Success: the bar rests on the plate (its centre over the plate, slow), the gripper is open and 40 mm away.
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
from robolearn.sim.worlds.tabletop import Tabletop
from robolearn.sim.worlds.things import Bar, Plate

MAX_TURN_RAD = np.deg2rad(50)
MIN_DISTANCE_M = 0.15


@dataclass(frozen=True)
class Setup:
    """The task for one robot.

    Attributes:
        robot: its name.
        scene_version: see `SimEnv`.
        area_low_m, area_high_m: where bar and plate start (x, y).
    """

    robot: str
    scene_version: str
    area_low_m: tuple[float, float] = (0.42, -0.20)
    area_high_m: tuple[float, float] = (0.58, 0.20)
    bar: Bar = field(default_factory=Bar)
    plate: Plate = field(default_factory=Plate)
    scene_ik: bool = False


SETUPS = {"": Setup("panda", "put_on_plate-1", scene_ik=True)}
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

    def __init__(self, variant: str = ""):
        super().__init__(variant)
        self.setup = setup = SETUPS[variant]
        self.scene_version = setup.scene_version
        arms = [MountedRobot(robot(setup.robot))]
        self.world = Tabletop(self.name, arms, (setup.bar, setup.plate), scene_ik=setup.scene_ik)

    def bind(self, sim: Simulation) -> None:
        super().bind(sim)
        self._bar, self._plate = sim.body("bar"), sim.body("plate")

    def start(self, rng: np.random.Generator) -> None:
        low, high = self.setup.area_low_m, self.setup.area_high_m
        while True:
            bar, plate = rng.uniform(low, high, size=(2, 2))
            if np.linalg.norm(bar - plate) >= MIN_DISTANCE_M:
                break
        turn = rng.uniform(-MAX_TURN_RAD, MAX_TURN_RAD)
        height = self.setup.bar.half_m[2]
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
        opening = self.sim.arm.opening()
        away, height = float(np.linalg.norm(reach)), float(bar[2])
        grasped = away < 0.03 and 0.2 < opening < 0.6
        lifted = height > 0.05
        above = bool((np.abs(bar[:2] - plate[:2]) < half).all())
        low = self.setup.plate.height_m
        on_plate = above and low < height < low + 0.03
        speed = float(np.linalg.norm(self._bar.velocity_m_s))
        success = on_plate and speed < 0.02 and opening > 0.6 and away > 0.04
        score = 1.0 if success else 0.75 if on_plate else 0.5 if grasped and lifted else 0.25 if grasped else 0.0
        return {
            "success": success, "mode": None, "score": score,
            "grasped": grasped, "lifted": lifted, "on_plate": on_plate,
        }  # fmt: skip
