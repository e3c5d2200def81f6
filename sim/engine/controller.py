"""`Controller`: carries out actions of one layout by telling actuators where to go."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np

from robolearn.core.action import ActionLayout, Part
from robolearn.kinematics.mounted import MountedRobot
from robolearn.sim.engine.motions import JointMotion, Motion, OpeningMotion, PoseMotion, VelocityMotion, Workspace
from robolearn.sim.engine.pose_solver import PoseSolver
from robolearn.sim.robots.arm import Arm


class Controller(Protocol):
    """What `MujocoEnv` asks of one.

    Attributes:
        layout: of its actions.
        out_of_reach: targets since the reset that no posture of the arm reaches; it goes to the nearest one found.
        outside_workspace: those that were moved into the workspace first.
    """

    layout: ActionLayout

    @property
    def out_of_reach(self) -> int: ...

    @property
    def outside_workspace(self) -> int: ...

    def reset(self) -> None:
        """An episode begins."""
        ...

    def set_target(self, action: np.ndarray) -> None:
        """Command (A,) an action; it holds until the next one."""
        ...


class ArmsController:
    """Each part of a layout to the servos of its arm.

    Args:
        layout: that `arms_refusal` has nothing against.
        arms: by prefix.
        solver: makes what finds joints for the poses of an arm.
        workspace: that TCPs may be commanded to.
        period_s: between two actions.
    """

    def __init__(
        self,
        layout: ActionLayout,
        arms: Mapping[str, Arm],
        solver: Callable[[Arm, Part], PoseSolver],
        workspace: Workspace,
        period_s: float,
    ):
        self.layout = layout
        self._solvers: list[PoseSolver] = []
        self._poses: list[PoseMotion] = []
        self._motions: list[tuple[slice, Motion]] = []
        for part, where in zip(layout.parts, layout.slices, strict=True):
            arm = arms[part.arm]
            motion: Motion
            if part.kind == "pose":
                self._solvers.append(solver(arm, part))
                self._poses.append(motion := PoseMotion(part, arm, self._solvers[-1], workspace))
            elif part.kind == "joints":
                motion = JointMotion(part, arm)
            elif part.kind == "velocity":
                motion = VelocityMotion(part, arm, period_s)
            else:
                motion = OpeningMotion(part, arm)
            self._motions.append((where, motion))

    @property
    def out_of_reach(self) -> int:
        return sum(solver.out_of_reach for solver in self._solvers)

    @property
    def outside_workspace(self) -> int:
        return sum(pose.outside for pose in self._poses)

    def reset(self) -> None:
        for solver in self._solvers:
            solver.out_of_reach = 0
        for pose in self._poses:
            pose.outside = 0

    def set_target(self, action: np.ndarray) -> None:
        numbers = np.asarray(action, dtype=np.float64)
        for where, motion in self._motions:
            motion.follow(numbers[where])


def arms_refusal(layout: ActionLayout, arms: Sequence[MountedRobot]) -> str | None:
    """Why actions of a layout cannot be carried out by these arms; None where they can."""
    there = {arm.prefix: arm for arm in arms}
    for prefix in layout.arms:
        if prefix not in there:
            words = "one arm without a prefix" if list(there) == [""] else f"the arms {list(there)}"
            return f"it speaks of the arm {prefix!r}, and there is {words}"
    for prefix, arm in there.items():
        who = f"arm {prefix!r}" if prefix else "the arm"
        motion = layout.motion(prefix)
        if motion is None:
            return f"it does not say where {who} goes"
        if arm.has_gripper and layout.gripper(prefix) is None:
            return f"it says nothing of the gripper of {who}"
        if not arm.has_gripper and layout.gripper(prefix) is not None:
            return f"{who} ({arm.robot_name}) has no gripper"
        if (reason := _motion_refusal(motion, arm, layout.robot(prefix))) is not None:
            return reason
    return None


def _motion_refusal(motion: Part, arm: MountedRobot, robot: str | None) -> str | None:
    name, kinds = motion.name, arm.robot.action_kinds
    if motion.reference == "observation":
        words = "of which an environment knows nothing; training forms such actions from absolute ones (train --action)"
        return f"its {name} {'is' if motion.kind == 'pose' else 'are'} relative to the newest observation, {words}"
    if motion.kind not in kinds:
        return f"the robot {arm.robot_name} takes {', '.join(kinds)}, not {motion.kind}"
    if motion.kind != "pose":
        if robot not in (None, arm.robot_name):
            return f"its {name} are those of the robot {robot!r}, and the arm is {arm.robot_name!r}"
        if motion.names != arm.joint_names:
            return f"its {name} are {list(motion.names)}, and the arm has {list(arm.joint_names)}"
        return None
    if motion.free != arm.free:
        said, has = (f"{free!r}" if free else "no rotation" for free in (motion.free, arm.free))
        return f"its {name} leaves {said} free, and the robot {arm.robot_name} {has}"
    if motion.frame != "base":
        return f"its {name} is in the frame {motion.frame!r}, and arms are told in that of their own base"
    if motion.unit not in (None, "m") or motion.coordinates == "xy":
        return f"its {name} is one in a plane or in {motion.unit}, and arms are told in m and in space"
    return None
