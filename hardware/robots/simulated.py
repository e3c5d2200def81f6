"""`--robot sim:ENV`: the arm, the object tracker and the scene of one simulated cell."""

from __future__ import annotations

from robolearn.core.errors import ConfigError
from robolearn.hardware.arms.simulated import SimulatedArm
from robolearn.hardware.robot import Robot
from robolearn.hardware.simulated_cell import SimulatedCell
from robolearn.hardware.trackers.simulated import SimulatedObjectTracker


def make_robot(env: str) -> Robot:
    """A robot in environment `env`. Raises ConfigError when none is named."""
    if not env:
        raise ConfigError("The simulated robot needs an environment; write --robot sim:put_on_plate or add --env.")
    cell = SimulatedCell(env)
    return Robot(f"sim:{env}", SimulatedArm(cell), (SimulatedObjectTracker(cell),), cell)
