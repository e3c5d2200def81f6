"""Things that lie on tables, to be put into a world's model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import mujoco

from robolearn.kinematics.specs import ROBOT_BIT, WORLD_BIT

FIRST_ARM_BIT = 4
"""The first of those that arms which touch each other have besides, one each."""
SOLID = {"contype": WORLD_BIT, "conaffinity": ROBOT_BIT | WORLD_BIT}
SHOWN = {"contype": 0, "conaffinity": 0}

_BOX = mujoco.mjtGeom.mjGEOM_BOX


class Thing(Protocol):
    def add(self, spec: mujoco.MjSpec) -> None: ...


@dataclass(frozen=True)
class Bar:
    """A free bar, long along its x axis, with a green end that shows which way it points and does not collide.

    Attributes:
        half_m: half its sides.
        mass_kg: of all of it.
    """

    half_m: tuple[float, float, float] = (0.035, 0.014, 0.014)
    mass_kg: float = 0.06
    name: str = "bar"
    rgba: Sequence[float] = (0.93, 0.45, 0.13, 1.0)

    def add(self, spec: mujoco.MjSpec) -> None:
        bar = spec.worldbody.add_body(name=self.name, pos=[0.5, 0.0, self.half_m[2]])
        bar.add_freejoint(name=self.name)
        bar.add_geom(
            name=self.name, type=_BOX, size=self.half_m, mass=self.mass_kg, rgba=self.rgba,
            friction=[1.0, 0.01, 0.0001], condim=4, **SOLID,
        )  # fmt: skip
        length, width, height = self.half_m
        bar.add_geom(
            name=f"{self.name}_end", type=_BOX, size=[0.006, width + 0.0005, height + 0.0005],
            pos=[round(length - 0.0055, 9), 0.0, 0.0], mass=0.0, rgba=[0.25, 0.60, 0.25, 1.0], **SHOWN,
        )  # fmt: skip


@dataclass(frozen=True)
class Plate:
    """A square plate that stays where it is put, its blue middle only painted.

    Attributes:
        half_m, height_m: half its side, and how high it is.
    """

    half_m: float = 0.065
    height_m: float = 0.01
    name: str = "plate"

    def add(self, spec: mujoco.MjSpec) -> None:
        plate = spec.worldbody.add_body(name=self.name, pos=[0.5, 0.2, 0.0], mocap=True)
        # a box, not a cylinder: MuJoCo gives box on box up to 8 contact points, box on cylinder one, on which it rocks
        plate.add_geom(
            name=self.name, type=_BOX, size=[self.half_m, self.half_m, self.height_m / 2],
            pos=[0.0, 0.0, self.height_m / 2], rgba=[0.93, 0.94, 0.97, 1.0], friction=[1.0, 0.005, 0.0001], **SOLID,
        )  # fmt: skip
        inner = 0.75 * self.half_m
        plate.add_geom(
            name=f"{self.name}_inner", type=_BOX, size=[inner, inner, 0.0002],
            pos=[0.0, 0.0, self.height_m + 0.0002], rgba=[0.35, 0.50, 0.78, 1.0], **SHOWN,
        )  # fmt: skip
