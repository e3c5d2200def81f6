"""What one part of an action does to an arm: its tool's pose, its joints, their speeds, its gripper."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from robolearn.core.action import Part
from robolearn.kinematics.pose import Pose, pose_of, values_of
from robolearn.sim.engine.pose_solver import FAR_M, PoseSolver
from robolearn.sim.robots.arm import Arm


class Motion(Protocol):
    def follow(self, numbers: np.ndarray) -> None:
        """Set the targets that the numbers (n,) of the part stand for."""
        ...


@dataclass(frozen=True)
class Workspace:
    """The box [m] that TCPs may be commanded to, each in the frame of its own base."""

    low_m: tuple[float, float, float]
    high_m: tuple[float, float, float]


class PoseMotion:
    """Joints for a pose of the tool, absolute, or relative to where it is or to where it was told to be.

    Where it was told to be is where the servos' targets would have it, so that nothing needs to be remembered.
    `outside` counts poses that were asked for, since it was 0, outside of the workspace.
    """

    def __init__(self, part: Part, arm: Arm, solver: PoseSolver, workspace: Workspace):
        self._part, self._arm, self._solver = part, arm, solver
        self._low, self._high = np.array(workspace.low_m), np.array(workspace.high_m)
        self._whole = part.reference == "absolute" and part.rotation != "none" and bool(part.coordinates)
        self.outside = 0

    def follow(self, numbers: np.ndarray) -> None:
        arm = self._arm
        pose = pose_of(self._part, numbers, None if self._whole else self._reference())
        assert pose.rotation is not None
        position = np.minimum(np.maximum(pose.position_m, self._low), self._high)
        self.outside += bool(np.abs(position - pose.position_m).max() > FAR_M)
        arm.set_targets(self._solver.solve(arm.targets_rad, position, pose.rotation))

    def _reference(self) -> Pose:
        if self._part.reference == "current":
            return Pose(*self._arm.tcp_pose())
        return Pose(*self._solver.forward(self._arm.targets_rad))


class JointMotion:
    """The joints themselves, absolute, or relative to where they are or to where they were told to be."""

    def __init__(self, part: Part, arm: Arm):
        self._part, self._arm = part, arm

    def follow(self, numbers: np.ndarray) -> None:
        arm, values = self._arm, values_of(self._part, numbers)
        if self._part.reference != "absolute":
            values = values + (arm.joints_rad if self._part.reference == "current" else arm.targets_rad)
        arm.set_targets(np.clip(values, arm.low_rad, arm.high_rad))


class VelocityMotion:
    """How fast each joint's target moves until the next action, at most as fast as the joint can."""

    def __init__(self, part: Part, arm: Arm, period_s: float):
        self._part, self._arm, self._period_s = part, arm, period_s
        self._fastest = np.array(arm.mounted.robot.velocity, dtype=np.float64)

    def follow(self, numbers: np.ndarray) -> None:
        arm = self._arm
        speed = np.clip(values_of(self._part, numbers), -self._fastest, self._fastest)
        arm.set_targets(np.clip(arm.targets_rad + self._period_s * speed, arm.low_rad, arm.high_rad))


class OpeningMotion:
    """How far the gripper opens."""

    def __init__(self, part: Part, arm: Arm):
        self._part, self._arm = part, arm

    def follow(self, numbers: np.ndarray) -> None:
        self._arm.set_opening(min(max(float(values_of(self._part, numbers)[0]), 0.0), 1.0))
