"""lift: grasp the bar and hold it 100 mm above the table.

In the world of put_on_plate, without its plate. Start states: bar centre in x 0.42..0.58 m, y -0.20..0.20 m, turned by
up to 50 degrees. Success: the bar's centre is 100 mm over the table, and slow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from robolearn.core.feature import Feature
from robolearn.core.rotation import axis_angle_to_quaternion
from robolearn.kinematics.mounted import MountedRobot
from robolearn.kinematics.robots import robot
from robolearn.sim.engine.simulation import Simulation
from robolearn.sim.engine.task import Task
from robolearn.sim.observables.observable import Observable
from robolearn.sim.worlds.tabletop import Tabletop
from robolearn.sim.worlds.things import Bar

_NAMES = tuple(f"bar_{a}" for a in "xyz")
_PLACE = Feature("observation.environment_state", (3,), names=_NAMES, unit="m", frame="world")


class Lift(Task):
    """See the module's text. `info["height_m"]` is that of the bar's centre."""

    name = "lift"
    language = "lift the bar"
    scene_version = "lift-1"
    max_steps = 200

    def __init__(self, variant: str = ""):
        super().__init__(variant)
        self.world = Tabletop(self.name, [MountedRobot(robot("panda"))], [Bar()])

    def bind(self, sim: Simulation) -> None:
        super().bind(sim)
        self._bar = sim.body("bar")

    def start(self, rng: np.random.Generator) -> None:
        x, y = rng.uniform((0.42, -0.20), (0.58, 0.20))
        turn = rng.uniform(-np.deg2rad(50), np.deg2rad(50))
        self._bar.place([x, y, 0.014], axis_angle_to_quaternion(np.array([0.0, 0.0, turn])))

    def observables(self) -> Sequence[Observable]:
        return (Observable(_PLACE, lambda: self._bar.position_m),)

    def info(self) -> dict[str, Any]:
        height = float(self._bar.position_m[2])
        success = height > 0.1 and float(np.linalg.norm(self._bar.velocity_m_s)) < 0.05
        score = 1.0 if success else 0.9 * min(max(height / 0.1, 0.0), 1.0)
        return {"success": success, "mode": None, "score": score, "height_m": height}
