"""The absolute target that a state and an action of robosuite's OSC_POSE controller stand for.

Its recorded actions are pose increments relative to where the arm was, so playing them back drifts, and across
robosuite's versions it fails. Added to the recorded pose they give back the target that the controller was commanded:

    target position = position + output_max[:3] * clip(a[:3], -1, 1)
    target rotation = exp(output_max[3:] * clip(a[3:6], -1, 1)) @ rotation

Demonstrations made with another controller get the pose measured `LEAD_STEPS` later instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from robolearn.core.rotation import POSE_NAMES, axis_angle_to_matrix, matrix_to_rot6d, rot6d_to_matrix

POSE_SIZE = len(POSE_NAMES)
# OSC_POSE (kp 150, critically damped) trails a moving target by 2 / sqrt(150) = 0.163 s, and a target that is held for
# 0.05 s is half of that late: 0.19 s, 4 steps of 20 Hz
LEAD_STEPS = 4


@dataclass(frozen=True)
class DeltaControl:
    """How a source's actions move the controller's target.

    Attributes:
        scale: (6,) metres and radians of an action of 1.
        in_base: increments are along the axes of the arm's base; else along the world's.
    """

    scale: np.ndarray
    in_base: bool


def delta_control(config: Any) -> DeltaControl | None:
    """The controller's settings, of robosuite 1.0 to 1.4 (flat) or 1.5 (by body part); None for other controllers."""
    if isinstance(config, list):
        config = config[0]
    if not isinstance(config, Mapping):
        return None
    arm = config.get("body_parts", {}).get("right", config)
    is_delta = arm.get("control_delta", True) and arm.get("input_type", "delta") == "delta"
    scale = np.asarray(arm.get("output_max", ()), dtype=np.float64)
    if arm.get("type") != "OSC_POSE" or arm.get("impedance_mode") != "fixed" or not is_delta or scale.shape != (6,):
        return None
    return DeltaControl(scale, in_base=arm.get("input_ref_frame") == "base")


def relabel(
    measured: np.ndarray, raw: np.ndarray, control: DeltaControl | None, bases: np.ndarray, size: int
) -> np.ndarray:
    """Absolute targets from what was measured and commanded.

    Args:
        measured: (T, arms * size) `observation.state`.
        raw: (T, arms * g) recorded actions: increments of the pose, then -1 (open) or 1 (close) for a gripper.
        control: meaning of the increments; None takes the pose measured `LEAD_STEPS` later.
        bases: (arms, 3, 3) rotations from each base frame to the world.
        size: elements of one arm's vector: 10, or 9 without a gripper.

    Returns:
        (T, arms * size) float32 in the layout of `measured`.
    """
    steps, arms = len(measured), len(bases)
    poses = measured.reshape(steps, arms, size)
    commands = raw.reshape(steps, arms, -1)
    targets = poses.copy()
    if control is None:
        targets = poses[np.minimum(np.arange(steps) + LEAD_STEPS, steps - 1)]
    else:
        moves = np.clip(commands[..., :6], -1.0, 1.0) * control.scale
        for arm, base in enumerate(np.eye(3)[None].repeat(arms, 0) if control.in_base else bases):
            turn = axis_angle_to_matrix(moves[:, arm, 3:] @ base)
            targets[:, arm, :3] += moves[:, arm, :3] @ base
            targets[:, arm, 3:POSE_SIZE] = matrix_to_rot6d(turn @ rot6d_to_matrix(poses[:, arm, 3:POSE_SIZE]))
    if size > POSE_SIZE:
        targets[..., POSE_SIZE] = (1.0 - np.sign(commands[..., -1])) / 2
    return targets.reshape(steps, arms * size).astype(np.float32)
