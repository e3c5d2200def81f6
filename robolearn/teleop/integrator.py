"""From an operator's velocities to an absolute target pose of the TCP.

    position <- clip(position + v dt, workspace)        rotation <- exp(w dt) rotation

The twist (v, w) is in the base frame. A leash keeps the target near the measured pose: an arm that is blocked or
slow is not pulled by a target that has run away, and reversing the motion acts at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robolearn.core.rotation import axis_angle_to_matrix, matrix_to_axis_angle
from robolearn.execution.command import Command
from robolearn.hardware.input.protocol import Motion


@dataclass(frozen=True)
class Leash:
    """How far the target may be from the measured pose."""

    distance_m: float = 0.08
    angle_rad: float = 0.5


class TargetIntegrator:
    """Holds the target pose of one episode.

    Args:
        low_m, high_m: (3,) workspace box of the TCP in the base frame. A target that starts outside may move
            inwards but not further out, so that nothing jumps.
        leash: limits on the distance between target and measured pose.
    """

    def __init__(self, low_m: np.ndarray, high_m: np.ndarray, leash: Leash | None = None):
        self._low = np.asarray(low_m, dtype=np.float64)
        self._high = np.asarray(high_m, dtype=np.float64)
        self._leash = leash or Leash()

    def start(self, measured: Command) -> None:
        """Begin an episode with the target at the measured pose."""
        self.target = measured

    def step(self, motion: Motion, measured: Command, dt_s: float) -> Command:
        """The target after `motion` has acted for `dt_s`."""
        twist = np.asarray(motion.twist, dtype=np.float64)
        position, rotation = self.target.position_m, self.target.rotation
        moved = position + twist[:3] * dt_s
        moved = np.clip(moved, np.minimum(self._low, position), np.maximum(self._high, position))
        lead = moved - measured.position_m
        distance = float(np.sqrt(lead @ lead))
        if distance > self._leash.distance_m:
            moved = measured.position_m + lead * (self._leash.distance_m / distance)
        if twist[3:].any():
            rotation = axis_angle_to_matrix(twist[3:] * dt_s) @ rotation
        rotation = self._leashed(rotation, measured.rotation)
        gripper = self.target.gripper if motion.gripper is None else float(np.clip(motion.gripper, 0.0, 1.0))
        self.target = Command(moved, rotation, gripper)
        return self.target

    def _leashed(self, rotation: np.ndarray, measured: np.ndarray) -> np.ndarray:
        # the trace gives the cosine of the angle without taking a logarithm every tick
        cosine = 0.5 * (float(np.sum(rotation * measured)) - 1.0)
        if cosine >= np.cos(self._leash.angle_rad):
            return rotation
        lead = matrix_to_axis_angle(rotation @ measured.T)
        return axis_angle_to_matrix(lead * (self._leash.angle_rad / np.linalg.norm(lead))) @ measured
