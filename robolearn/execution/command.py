"""What an arm is told: where its TCP should be, and how far its gripper should be open. One layout, one arm.

Other layouts are refused at the border, by `check_commands` and `check_measured`, before anything moves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robolearn.core.action import ActionLayout, Part
from robolearn.core.earlier_layouts import layout_of
from robolearn.core.errors import LayoutError
from robolearn.core.feature import Feature
from robolearn.core.meaning import layout_difference
from robolearn.core.rotation import rot6d_to_matrix

COMMAND_LAYOUT = ActionLayout((Part("pose"), Part("gripper")))
"""(10,): absolute position [m] and 6-d rotation of the TCP in the arm's base frame, gripper opening in [0, 1]."""


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
        """(10,) in `COMMAND_LAYOUT`."""
        return np.concatenate([self.position_m, self.rotation[0], self.rotation[1], [self.gripper]])

    @classmethod
    def from_action(cls, action: np.ndarray) -> Command:
        """The inverse of `to_action`; the rotation is made orthonormal and the gripper clipped to [0, 1].

        Raises LayoutError for what are not 10 numbers.
        """
        action = np.asarray(action, dtype=np.float64)
        if action.shape != (COMMAND_LAYOUT.size,):
            raise LayoutError(f"An arm is told {_PLAINLY}, 10 numbers; found an action of shape {action.shape}.")
        return cls(action[:3], rot6d_to_matrix(action[3:9]), float(np.clip(action[9], 0.0, 1.0)))


_PLAINLY = "an absolute TCP pose with gripper (x, y, z, rot6d, gripper)"
_OTHERWISE = (
    "train it on such actions with: robolearn train ... --action pose, or make a copy of its dataset that has them "
    "with: robolearn dataset relabel DATASET --action pose --output COPY"
)


def check_commands(action: Feature, whose: str, taker: str) -> None:
    """Raise LayoutError unless the numbers of `action` say that they are in `COMMAND_LAYOUT`, of whichever robot.

    Args:
        whose: who gives such actions, for messages, such as "the policy".
        taker: who would carry them out.
    """
    found = layout_of(action)
    if found is None:
        raise LayoutError(
            f"{whose} does not say what the {_shape(action)} numbers of its actions mean, and {taker} takes {_PLAINLY} "
            "alone; say it in a copy of its dataset with: robolearn dataset features DATASET --layout action=LAYOUT "
            "--output COPY, and train on that."
        )
    if len(found.arms) > 1:
        arms = " and ".join(repr(arm) for arm in found.arms)
        raise LayoutError(
            f"{whose} moves the arms {arms} ({found.size} numbers), and {taker} has one arm, which takes {_PLAINLY}; "
            "it acts in simulation with: robolearn eval."
        )
    if (difference := layout_difference(COMMAND_LAYOUT, found)) is not None:
        raise LayoutError(
            f"{whose} answers {difference[1]} ({found.size} numbers), and {taker} takes {_PLAINLY} alone; {_OTHERWISE}."
        )


def check_measured(state: Feature, whose: str) -> None:
    """Raise LayoutError for a measured state that is not, or says that it is not, in `COMMAND_LAYOUT`."""
    found = layout_of(state)
    if found is None and state.shape == (COMMAND_LAYOUT.size,):
        return
    if found is None or layout_difference(COMMAND_LAYOUT, found) is not None:
        told = found.describe() if found is not None else f"{_shape(state)} numbers"
        raise LayoutError(f"{whose} measures {told} in {state.name!r}; expected the pose of one arm: {_PLAINLY}.")


def _shape(feature: Feature) -> str:
    return "x".join(map(str, feature.shape))
