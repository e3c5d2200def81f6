"""`MountedRobot`: a robot at a place, one of several where it has a prefix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from robolearn.core.action import Free
from robolearn.core.errors import ConfigError
from robolearn.core.rotation import normalize, quaternion_to_matrix
from robolearn.kinematics.robot import Robot


@dataclass(frozen=True)
class MountedRobot:
    """A robot, and where its base stands in the world.

    Attributes:
        prefix: of its names and of its parts of an action, "left"; empty where there is one arm.
        position_m: (3,) of the base.
        quaternion: (4,) w x y z, turns from the base's frame into the world's.
    """

    robot: Robot
    prefix: str = ""
    position_m: tuple[float, float, float] = (0.0, 0.0, 0.0)
    quaternion: tuple[float, float, float, float] = (1.0, 0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        position, quaternion = np.asarray(self.position_m, np.float64), np.asarray(self.quaternion, np.float64)
        if position.shape != (3,) or not np.isfinite(position).all():
            raise ConfigError(f"A robot stands at three finite numbers, found {self.position_m}.")
        if quaternion.shape != (4,) or not np.isfinite(quaternion).all() or not quaternion.any():
            raise ConfigError(f"A robot is turned by a quaternion w x y z, found {self.quaternion}.")
        object.__setattr__(self, "position_m", tuple(position.tolist()))
        object.__setattr__(self, "quaternion", tuple(normalize(quaternion).tolist()))

    @property
    def robot_name(self) -> str:
        return self.robot.name

    @property
    def joint_names(self) -> tuple[str, ...]:
        """Without prefix."""
        return self.robot.joints

    @property
    def has_gripper(self) -> bool:
        return self.robot.gripper is not None

    @property
    def free(self) -> Free:
        return self.robot.free

    @property
    def rotation(self) -> np.ndarray:
        """(3, 3) `quaternion` as a matrix."""
        return quaternion_to_matrix(np.array(self.quaternion))

    def named(self, name: str) -> str:
        """What a joint, site or body of the robot is called in a model of all arms."""
        return f"{self.prefix}_{name}" if self.prefix else name

    def to_world(self, position_m: np.ndarray, rotation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A pose (3,), (3, 3) of the base's frame, in the world's."""
        return np.array(self.position_m) + self.rotation @ position_m, self.rotation @ rotation

    def from_world(self, position_m: np.ndarray, rotation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The inverse of `to_world`."""
        back = self.rotation.T
        return back @ (np.asarray(position_m) - np.array(self.position_m)), back @ rotation


def require_prefixes(arms: Sequence[MountedRobot]) -> None:
    """Raises ConfigError where two arms have one prefix, or one of several has none."""
    prefixes = [arm.prefix for arm in arms]
    for arm in arms:
        if prefixes.count(arm.prefix) > 1 or (len(arms) > 1 and not arm.prefix):
            raise ConfigError(
                f"Two arms have the prefix {arm.prefix!r}: each of several needs one of its own, such as 'left' and "
                f"'right'; found {prefixes}."
                if prefixes.count(arm.prefix) > 1
                else f"Of several arms each needs a prefix, such as 'left' and 'right'; found {prefixes}."
            )
