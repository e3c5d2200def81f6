"""hand_over: the left arm picks the bar up, the right arm takes it from it in the air and keeps it.

World: two arms of one kind at a table, face to face; they touch each other. Variants are the arms: `panda`, and
`vx300s`, which stand as those of ALOHA do. Left and right are as the front camera sees them.
Start states: the bar on the left arm's half of the table, in its reach and out of the other's way, turned by up to 30
degrees; both arms near their homes, grippers open.
Object state, in the world frame: pose of the bar, then what lies between each TCP and its own gripping place on the
bar, 60 mm left and right of the middle (networks learn a reach from differences far better than from two positions).
Success, after the transfer tasks of ALOHA and robosuite: the right gripper holds the bar in the air, at least 0.10 m
up, and the left one is open and 0.10 m away from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from robolearn.core.feature import Feature
from robolearn.core.rotation import ROT6D_NAMES, axis_angle_to_matrix, matrix_to_quaternion, matrix_to_rot6d
from robolearn.sim.engine.simulation import Simulation
from robolearn.sim.engine.task import Task
from robolearn.sim.observables.observable import Observable
from robolearn.sim.worlds.face_to_face import PAIRS
from robolearn.sim.worlds.things import Bar

BAR_HALF_M, BAR_KG = (0.09, 0.014, 0.014), 0.06
GRIP_M = 0.06  # from the bar's middle to where each gripper holds it
MAX_TURN_RAD = np.deg2rad(30)
LIFTED_M, HIGH_M, CLEAR_M = 0.05, 0.10, 0.10
HELD_M = 0.02  # a TCP so near the bar's middle line has it between its fingers


@dataclass(frozen=True)
class Setting:
    """What differs between robots.

    Attributes:
        bar_low_m, bar_high_m: (forward, aside) where the bar's middle may lie, in the frame of the left arm's base.
        open_beyond: opening above which a gripper does not hold the bar.
    """

    bar_low_m: tuple[float, float]
    bar_high_m: tuple[float, float]
    open_beyond: float


SETTINGS = {
    "panda": Setting((0.40, -0.15), (0.54, 0.15), 0.6),
    "vx300s": Setting((0.25, -0.12), (0.37, 0.12), 0.5),
}


class HandOver(Task):
    """See the module's text. `info` adds the partial flags `grasped` (by the left gripper), `lifted`, `both_hold` and
    `taken` (the right one holds it alone)."""

    name = "hand_over"
    language = "hand the bar over from the left arm to the right arm"
    variants = tuple(SETTINGS)
    max_steps = 300

    def __init__(self, variant: str = ""):
        super().__init__(variant)
        self.scene_version = f"hand_over/{variant}-1"
        self.world = PAIRS[variant].world(f"{self.name}/{variant}", (Bar(BAR_HALF_M, BAR_KG),))
        self._setting = SETTINGS[variant]

    def bind(self, sim: Simulation) -> None:
        super().bind(sim)
        self._bar = sim.body("bar")
        self._left, self._right = sim.arms

    def start(self, rng: np.random.Generator) -> None:
        forward, aside = rng.uniform(self._setting.bar_low_m, self._setting.bar_high_m)
        turn = axis_angle_to_matrix(np.array([0.0, 0.0, rng.uniform(-MAX_TURN_RAD, MAX_TURN_RAD)]))
        place, rotation = self.world.arms[0].to_world(np.array([forward, aside, BAR_HALF_M[2]]), turn)
        self._bar.place(place, matrix_to_quaternion(rotation))

    def observables(self) -> Sequence[Observable]:
        names = (
            *(f"bar_{a}" for a in "xyz"), *ROT6D_NAMES,
            *(f"left_end_from_left_tcp_{a}" for a in "xyz"), *(f"right_end_from_right_tcp_{a}" for a in "xyz"),
        )  # fmt: skip
        feature = Feature("observation.environment_state", (15,), "float32", "state", names, frame="world")
        return (Observable(feature, self._objects),)

    def _objects(self) -> np.ndarray:
        middle, along = self._bar.position_m, self._bar.rotation[:, 0]
        return np.concatenate(
            [
                middle, matrix_to_rot6d(self._bar.rotation),
                middle - GRIP_M * along - self._left.tcp_position_in_world(),
                middle + GRIP_M * along - self._right.tcp_position_in_world(),
            ]
        )  # fmt: skip

    def info(self) -> dict[str, Any]:
        height, arms = float(self._bar.position_m[2]), (self._left, self._right)
        left_m, right_m = (self._from_bar(arm.tcp_position_in_world()) for arm in arms)
        left_open, right_open = (arm.opening() > self._setting.open_beyond for arm in arms)
        grasped, right_holds = left_m < HELD_M and not left_open, right_m < HELD_M and not right_open
        lifted = height > LIFTED_M
        both_hold = grasped and right_holds and lifted
        taken = right_holds and lifted and left_open
        success = taken and height > HIGH_M and left_m > CLEAR_M
        score = 1.0 if success else 0.75 if both_hold or taken else 0.5 if grasped and lifted else 0.25 * grasped
        return {
            "success": success, "mode": None, "score": score,
            "grasped": grasped, "lifted": lifted, "both_hold": both_hold, "taken": taken,
        }  # fmt: skip

    def _from_bar(self, point: np.ndarray) -> float:
        """Distance [m] of a point from the bar's middle line."""
        away = point - self._bar.position_m
        on_line = min(max(float(away @ self._bar.rotation[:, 0]), -BAR_HALF_M[0]), BAR_HALF_M[0])
        return float(np.linalg.norm(away - on_line * self._bar.rotation[:, 0]))
