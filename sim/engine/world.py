"""`World`: arms on their bases, things and cameras, before there is a task."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import ClassVar

import mujoco
import numpy as np

from robolearn.core.action import ActionLayout
from robolearn.kinematics.mounted import MountedRobot
from robolearn.sim.engine.controller import Controller
from robolearn.sim.engine.simulation import Simulation


class World(abc.ABC):
    """See the module's text.

    Attributes:
        name: of the model that is made of it.
        arms: in the order of their parts of an action.
        timestep_s: simulated seconds of a physics step.
        workspace_low_m, workspace_high_m: corners of the box that each TCP may be commanded to, in its base's frame.
        settles: whether what is observed needs positions of bodies and sites, which `mj_step` leaves one step behind.
        shows_hulls: draw hulls in place of meshes.
    """

    name: str
    arms: tuple[MountedRobot, ...] = ()
    timestep_s: ClassVar[float]
    workspace_low_m: tuple[float, float, float] = (-np.inf, -np.inf, -np.inf)
    workspace_high_m: tuple[float, float, float] = (np.inf, np.inf, np.inf)
    settles: ClassVar[bool] = True
    shows_hulls: ClassVar[bool] = False

    @property
    def robots(self) -> Mapping[str, str]:
        """Name of each robot -> version of its model."""
        return {arm.robot_name: arm.robot.version for arm in self.arms}

    @abc.abstractmethod
    def compose(self) -> mujoco.MjSpec:
        """The model with everything in it."""

    @abc.abstractmethod
    def layout(self, action: str | None = None) -> ActionLayout:
        """What actions mean: by default, or as a dialect says. Raises LayoutError for what is no dialect."""

    @abc.abstractmethod
    def refusal(self, layout: ActionLayout) -> str | None:
        """Why actions of this layout cannot be carried out here; None where they can."""

    @abc.abstractmethod
    def controller(self, layout: ActionLayout, simulation: Simulation, control_hz: float) -> Controller:
        """What carries out actions of a layout that is not refused."""
