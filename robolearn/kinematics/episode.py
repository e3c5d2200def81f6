"""Whole recorded episodes in another layout, and how far what the copy says is from what the original said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from robolearn.core.action import ActionLayout, Free, Part, Rotation
from robolearn.core.errors import LayoutError
from robolearn.core.feature import Feature
from robolearn.core.rotation import angle_between, matrix_to_axis_angle
from robolearn.kinematics.conversion import Conversion
from robolearn.kinematics.converter import ActionConverter
from robolearn.kinematics.state import ArmState, state_of, state_parts
from robolearn.kinematics.whole_episode import convert_poses


@dataclass
class GoalErrors:
    """How far targets are from those that they were made of: the largest of all, over arms and steps.

    Attributes:
        position_m, rotation_rad, joints, opening: None where the targets do not say it. Joints in rad, or m of a
            sliding joint.
    """

    position_m: float | None = None
    rotation_rad: float | None = None
    joints: float | None = None
    opening: float | None = None

    def add(self, asked: ArmState, told: ArmState, free: Free = "") -> None:
        """`free`: a rotation that the arm cannot follow, and that does not count."""
        if asked.position_m is not None and told.position_m is not None:
            self._add("position_m", float(np.linalg.norm(asked.position_m - told.position_m)))
        if asked.rotation is not None and told.rotation is not None:
            self._add("rotation_rad", _turned(asked, told, free))
        if asked.joints is not None and told.joints is not None and asked.position_m is None:
            self._add("joints", float(np.abs(asked.joints - told.joints).max()))
        if asked.opening is not None and told.opening is not None:
            self._add("opening", abs(asked.opening - told.opening))

    def _add(self, name: str, error: float) -> None:
        setattr(self, name, max(error, getattr(self, name) or 0.0))

    def describe(self) -> str:
        """Such as "0.002 mm and 0.0001 deg"; empty where nothing was compared."""
        said = []
        if self.position_m is not None:
            said.append(f"{1000 * self.position_m:.2g} mm")
        if self.rotation_rad is not None:
            said.append(f"{np.degrees(self.rotation_rad):.2g} deg")
        if self.joints is not None:
            said.append(f"{self.joints:.2g} rad")
        return " and ".join(said)


def convert_episode(
    converter: ActionConverter, actions: np.ndarray, observations: Mapping[str, np.ndarray]
) -> np.ndarray:
    """Actions (T, A) of one episode -> (T, B), float64, in order: along the way, from the first observation.

    `observations`: name -> (T, *shape), what was observed when each action was carried out; features that say nothing
    of an arm are not needed. What is not exact is counted by the converter. Raises LayoutError, which names the step,
    for numbers that are not finite.
    """
    at_once = convert_poses(converter.conversion, actions, observations, converter.features, converter.counts)
    if at_once is not None:
        return at_once
    converted = np.empty((len(actions), converter.conversion.target.size))
    for step, action in enumerate(actions):
        observation = {name: rows[step] for name, rows in observations.items()}
        if step == 0:
            converter.start(observation)
        try:
            converted[step] = converter.convert(action, observation)
        except LayoutError as error:
            raise LayoutError(f"step {step}: {error}") from error
    return converted


def observed_parts(features: Mapping[str, Feature]) -> list[str]:
    """Names of the features that say something of an arm."""
    return [name for name, parts in state_parts(features).items() if parts]


def compare_goals(
    made: Conversion,
    features: Mapping[str, Feature],
    actions: np.ndarray,
    converted: np.ndarray,
    observations: Mapping[str, np.ndarray],
    errors: GoalErrors,
) -> None:
    """Add to `errors` how far the targets of `converted` (T, B), as stored, are from those of `actions` (T, A).

    Both are followed along the episode, from the same observations, each by what its own layout says.
    """
    goal = _goals(made)
    asked, told = (
        convert_episode(ActionConverter(made.between(layout, goal), features), numbers, observations)
        for layout, numbers in ((made.source, actions), (made.target, converted))
    )
    feature = {"goal": Feature("goal", (goal.size,), layout=goal)}
    for pair in zip(asked, told, strict=True):
        want, have = (state_of({"goal": row}, feature) for row in pair)
        for arm in goal.arms:
            motion = goal.motion(arm)
            errors.add(want[arm], have[arm], motion.free if motion is not None else "")


def _goals(made: Conversion) -> ActionLayout:
    """What the targets of both layouts are compared in: absolute poses where one of the two has some, else joints."""
    parts: list[Part] = []
    for arm in made.arms:
        motions = [made.source.motion(arm.source or ""), made.target.motion(arm.target)]
        pose = next((part for part in motions if part is not None and part.kind == "pose"), None)
        if pose is not None:
            rotation: Rotation = "none" if pose.rotation == "none" else "rot6d"
            plain = Part("pose", arm=arm.target, rotation=rotation, coordinates=pose.coordinates)
            parts.append(replace(plain, unit=pose.unit, frame=pose.frame, free=pose.free))
        elif motions[1] is not None:
            parts.append(Part("joints", motions[1].names, arm.target))
        if made.target.gripper(arm.target) is not None:
            parts.append(Part("gripper", arm=arm.target))
    return replace(made.target, parts=tuple(parts))


def _turned(asked: ArmState, told: ArmState, free: Free) -> float:
    """Angle in rad between two rotations, without what is free; see `robolearn.core.action.Part.free`."""
    assert asked.rotation is not None and told.rotation is not None and asked.position_m is not None
    if not free:
        return float(angle_between(asked.rotation, told.rotation))
    turn = matrix_to_axis_angle(asked.rotation @ told.rotation.T)
    x, y = asked.position_m[:2]
    far = float(np.hypot(x, y))
    across = np.array([-y, x, 0.0]) / far if far > 1e-6 else np.array([0.0, 1.0, 0.0])
    return float(np.hypot(across @ turn, asked.rotation[:, 2] @ turn))
