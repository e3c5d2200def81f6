"""Absolute poses of whole episodes in another way to write poses: the same as step by step, in one go.

Most datasets store absolute poses, and most of what is asked of them are differences of these: what is told does not
depend on what was computed for the step before, so all steps are computed at once.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from robolearn.core.action import Part
from robolearn.core.earlier_layouts import layout_of
from robolearn.core.feature import Feature
from robolearn.core.rotation import angle_between
from robolearn.kinematics.arm_conversion import ArmConversion, can_follow
from robolearn.kinematics.conversion import Conversion
from robolearn.kinematics.conversion_counts import FASTEST_M_S, FASTEST_RAD_S, Counts
from robolearn.kinematics.pose import Pose, numbers_of, pose_of, scaled_back, values_of
from robolearn.kinematics.state import ArmState


def convert_poses(
    conversion: Conversion,
    actions: np.ndarray,
    observations: Mapping[str, np.ndarray],
    features: Mapping[str, Feature],
    counts: Counts,
) -> np.ndarray | None:
    """Actions (T, A) of one episode -> (T, B), float64; None where it has to be done step by step.

    See `robolearn.kinematics.episode.convert_episode`.
    """
    if not len(actions) or not np.isfinite(actions).all() or not all(map(_independent, conversion.arms)):
        return None
    measured = [_measured(arm, observations, features) for arm in conversion.arms]
    if any(pose is None and _relative(arm) for pose, arm in zip(measured, conversion.arms, strict=True)):
        return None
    out, numbers = np.empty((len(actions), conversion.target.size)), np.asarray(actions, np.float64)
    for arm, here in zip(conversion.arms, measured, strict=True):
        for part, where in arm.target_parts:
            source, at = next((p, s) for p, s in arm.source_parts if (p.kind == "gripper") == (part.kind == "gripper"))
            how, goals = arm.gripper if part.kind == "gripper" else arm.motion, None
            if how == "as they are":
                out[:, where] = numbers[:, at]
            elif how == "scaled":
                out[:, where] = scaled_back(part, values_of(source, numbers[:, at]))
            else:
                goals = pose_of(source, numbers[:, at])
                out[:, where] = numbers_of(part, goals, _reference(part, goals, here))
            through = how == "through its goal"
            if part.kind == "pose" and arm.dt_s is not None and (through or can_follow(source, ArmState())):
                told = pose_of(source, numbers[:, at]) if goals is None else goals
                path = told if here is None else _before(told, here, whole=True)
                counts.jumps += _jumps(path, arm.dt_s, not through and bool(part.free))
    counts.steps += len(actions)
    return out


def _independent(arm: ArmConversion) -> bool:
    """Whether each number follows from those of its own step, and of what was told before it from what is stored."""
    if arm.source is None or any(part.limit is not None for part, _ in arm.target_parts):
        return False
    if arm.motion != "through its goal":
        return True
    parts = [part for part, _ in (*arm.source_parts, *arm.target_parts) if part.kind != "gripper"]
    whole = all(part.kind == "pose" and part.coordinates and part.rotation != "none" for part in parts)
    in_base = arm.mount is None or all(part.frame == "base" for part in parts)
    return whole and in_base and parts[0].reference == "absolute" and not any(part.free for part in parts)


def _relative(arm: ArmConversion) -> bool:
    return any(part.kind != "gripper" and part.reference != "absolute" for part, _ in arm.target_parts)


def _reference(part: Part, goals: Pose, measured: Pose | None) -> Pose | None:
    if part.reference == "absolute":
        return None
    assert measured is not None  # asked for before
    return measured if part.reference == "current" else _before(goals, measured, whole=False)


def _before(goals: Pose, measured: Pose, whole: bool) -> Pose:
    """What was told before each goal, what was measured before the first; `whole`: and the last goal behind them."""
    first, end = slice(0, 1), None if whole else -1
    start, told = (measured.position_m[first], measured.turn()[first]), (goals.position_m[:end], goals.turn()[:end])
    return Pose(*(np.concatenate(pair) for pair in zip(start, told, strict=True)))


def _jumps(poses: Pose, dt_s: float, free: bool) -> int:
    """Steps from one of these to the next that are farther than an arm moves in one, see `jumps`; `free`: whatever
    their rotations.
    """
    if poses.position_m.shape[-1] != 3:
        return 0
    far = np.linalg.norm(np.diff(poses.position_m, axis=0), axis=-1) > FASTEST_M_S * dt_s
    if free:
        return int(far.sum())
    turn = poses.turn()
    return int((far | (angle_between(turn[:-1], turn[1:]) > FASTEST_RAD_S * dt_s)).sum())


def _measured(
    arm: ArmConversion, observations: Mapping[str, np.ndarray], features: Mapping[str, Feature]
) -> Pose | None:
    """Poses that observations say of an arm, the first as `state_of` looks for them; None where they do not."""
    layouts = {name: layout_of(feature) for name, feature in features.items() if feature.kind == "state"}
    known = {prefix for layout in layouts.values() if layout is not None for prefix in layout.arms}
    prefix = arm.target if arm.target in known else arm.source
    for name, layout in layouts.items():
        if name not in observations or layout is None:
            continue
        for part, where in zip(layout.parts, layout.slices, strict=True):
            if part.arm == prefix and part.kind == "pose" and part.reference == "absolute" and part.coordinates:
                whole = part.rotation != "none" and (part.frame == "base" or arm.mount is None)
                return pose_of(part, np.asarray(observations[name], np.float64)[:, where]) if whole else None
    return None
