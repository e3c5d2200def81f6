"""What arms say of themselves: where their tools and grippers are, and their joints."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from robolearn.core.action import ActionLayout, Part
from robolearn.core.feature import Feature
from robolearn.core.rotation import matrix_to_rot6d
from robolearn.sim.observables.observable import Observable
from robolearn.sim.robots.arm import Arm


def arms_state(arms: Sequence[Arm]) -> Observable:
    """`observation.state`: of each arm the pose of its TCP in the frame of its own base, and its gripper's opening."""
    parts: list[Part] = []
    for arm in arms:
        parts.append(Part("pose", arm=arm.prefix, free=arm.mounted.free))
        parts += [Part("gripper", arm=arm.prefix)] if arm.has_gripper else []
    layout = ActionLayout(tuple(parts), _robots(arms))

    def read() -> np.ndarray:
        found: list[np.ndarray | list[float]] = []
        for arm in arms:
            position, rotation = arm.tcp_pose()
            found += [position, matrix_to_rot6d(rotation)]
            if arm.has_gripper:
                found.append([arm.opening()])
        return np.concatenate(found)

    return Observable(Feature("observation.state", (layout.size,), frame="base", layout=layout), read)


def joint_positions(arms: Sequence[Arm]) -> Observable:
    """`observation.joint_position`: rad (m of sliding joints), one arm after the other."""
    parts = tuple(Part("joints", arm.mounted.joint_names, arm.prefix) for arm in arms)
    layout = ActionLayout(parts, _robots(arms))

    def read() -> np.ndarray:
        return np.concatenate([arm.joints_rad for arm in arms])

    return Observable(Feature("observation.joint_position", (layout.size,), unit="rad", layout=layout), read)


def _robots(arms: Sequence[Arm]) -> tuple[tuple[str, str], ...]:
    return tuple((arm.prefix, arm.mounted.robot_name) for arm in arms)
