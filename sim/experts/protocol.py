"""Two kinds of experts: one says where the hand should go next, the other gives every action itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np


@dataclass(frozen=True)
class Waypoint:
    """Where the TCP should be next.

    Attributes:
        name: of the phase, for status lines.
        position_m, rotation: (3,) and (3, 3), base frame.
        gripper: wanted opening in [0, 1] on the way there.
        tolerance_m: how near counts as reached.
        hold_s: how long to stay before going on, for example while the fingers close.
    """

    name: str
    position_m: np.ndarray
    rotation: np.ndarray
    gripper: float
    tolerance_m: float = 0.005
    hold_s: float = 0.0


class Expert(Protocol):
    def start_episode(self) -> None: ...

    def waypoint(self, observation: dict[str, np.ndarray]) -> Waypoint | None:
        """The next waypoint given the current observation; None when the task is done."""
        ...

    def reached(self) -> None:
        """The operator has arrived at the last waypoint and held it: go on to the next phase."""
        ...


@runtime_checkable
class ActionExpert(Protocol):
    """Solves a scene by itself, action by action; see `robolearn.teleop.demonstrations`.

    Made without arguments. An episode is a function of its start state: the same one always gives the same actions.
    """

    def start_episode(self, init_state: int) -> None: ...

    def action(self, observation: dict[str, np.ndarray]) -> np.ndarray | None:
        """(A,) the next action; None when the expert is done."""
        ...
