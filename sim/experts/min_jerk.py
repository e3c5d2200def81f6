"""`MinJerk`: motion of least jerk to a goal that may move."""

from __future__ import annotations

import numpy as np

_LEAST_PERIODS = 3  # a goal that moves at the last moment is still met smoothly


class MinJerk:
    """A point that comes to rest at its goal along the quintic of least jerk, planned anew at every step.

    Towards a goal that stays this is the minimum-jerk movement (Flash and Hogan 1985); one that moves is followed as
    people do (Hoff and Arbib 1993).

    Args:
        start: (D,) where it rests at first.
        period_s: between steps.

    Attributes:
        position: (D,) now.
        goal: (D,) may be set at any time.
        remaining_s: until it should be there; negative afterwards.
    """

    def __init__(self, start: np.ndarray, period_s: float):
        self.position = np.array(start, dtype=np.float64)
        self.goal = self.position.copy()
        self.remaining_s = 0.0
        self._velocity, self._acceleration = np.zeros_like(self.position), np.zeros_like(self.position)
        self._period_s = period_s

    def go(self, goal: np.ndarray, duration_s: float) -> None:
        """Be at `goal` after `duration_s`."""
        self.goal, self.remaining_s = np.array(goal, dtype=np.float64), duration_s

    def step(self) -> np.ndarray:
        """(D,) the position one period later."""
        t = self._period_s
        rest = max(self.remaining_s, _LEAST_PERIODS * t)
        x, v, a = self.position, self._velocity, self._acceleration
        way = self.goal - x
        c3 = 10 * way / rest**3 - 6 * v / rest**2 - 1.5 * a / rest
        c4 = -15 * way / rest**4 + 8 * v / rest**3 + 1.5 * a / rest**2
        c5 = 6 * way / rest**5 - 3 * v / rest**4 - 0.5 * a / rest**3
        self.position = x + v * t + a * t**2 / 2 + c3 * t**3 + c4 * t**4 + c5 * t**5
        self._velocity = v + a * t + 3 * c3 * t**2 + 4 * c4 * t**3 + 5 * c5 * t**4
        self._acceleration = a + 6 * c3 * t + 12 * c4 * t**2 + 20 * c5 * t**3
        self.remaining_s -= t
        return self.position
