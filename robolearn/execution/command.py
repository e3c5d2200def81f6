"""What an arm is told: where its TCP should be, and how far its gripper should be open."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robolearn.core.rotation import rot6d_to_matrix


@dataclass(frozen=True)
class Command:
    """Cartesian target of the TCP in the base frame.

    Attributes:
        position_m: (3,).
        rotation: (3, 3) matrix.
        gripper: opening in [0, 1], 1 = open.
    """

    position_m: np.ndarray
    rotation: np.ndarray
    gripper: float

    def to_action(self) -> np.ndarray:
        """(10,) position, 6-d rotation, gripper: the action layout policies are trained on."""
        return np.concatenate([self.position_m, self.rotation[0], self.rotation[1], [self.gripper]])

    @classmethod
    def from_action(cls, action: np.ndarray) -> Command:
        """The inverse of `to_action`; the rotation is made orthonormal and the gripper clipped to [0, 1]."""
        action = np.asarray(action, dtype=np.float64)
        return cls(action[:3], rot6d_to_matrix(action[3:9]), float(np.clip(action[9], 0.0, 1.0)))
