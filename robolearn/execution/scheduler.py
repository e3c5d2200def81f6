"""When each action of a chunk is carried out: by the time of the observation it was computed from.

Simulated evaluation, the real-time loop and a slow policy server all use this one rule, so a chunk that
arrives late loses its first actions instead of shifting all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from robolearn.core.errors import ConfigError, FeatureError

# Due times are sums of floats: a microsecond decides no motion, but keeps `3 * 0.1` on the right side of 0.3
_TOLERANCE_S = 1e-6


@dataclass(frozen=True)
class Scheduled:
    """The action that is valid now, with its neighbours in time (None where there are none).

    `previous` and `following` are (due time in s, action (A,)).
    """

    due_s: float
    action: np.ndarray
    previous: tuple[float, np.ndarray] | None
    following: tuple[float, np.ndarray] | None


class ActionScheduler:
    """Actions placed on the time axis.

    Action `i` of a chunk is due at `t_obs + i * dt` and valid for `dt`, or until a later action is due. A new
    chunk replaces everything from the first of its own actions that can still be executed, that is whose
    validity has not passed; the actions before that one are dropped. With dt = 0.1 s:

        now    call                                placed: due time and action         action_at(now)
        0.00   place([a0 a1 a2 a3], t_obs=0.00)    0.0 a0, 0.1 a1, 0.2 a2, 0.3 a3      a0
        0.15                                                                           a1
        0.25   place([b0 b1 b2 b3], t_obs=0.10)    0.0 a0, 0.1 a1, 0.2 b1, 0.3 b2,     b1 (b0 is dropped)
                                                   0.4 b3
        0.45                                                                           b3
        0.50                                                                           None: nothing is valid
        0.55   place([c0 c1], t_obs=0.30)          unchanged: both are in the past     None
        0.55   place([d0], t_obs=0.52)             0.52 d0                             d0

    Times are seconds on one monotonic clock; nothing here reads a clock.
    """

    def __init__(self, dt_s: float):
        if not dt_s > 0:
            raise ConfigError(f"The time between actions must be positive, found {dt_s} s.")
        self.dt_s = dt_s
        self.clear()

    def clear(self) -> None:
        """Forget all actions."""
        self._due: list[float] = []
        self._actions: list[np.ndarray] = []

    def place(self, actions: np.ndarray, t_obs_s: float, now_s: float) -> int:
        """Schedule a chunk (H, A) computed from the observation taken at `t_obs_s`.

        Returns how many of its actions are executable at `now_s` or later; the others came too late.
        Raises FeatureError when `actions` is not (H, A).
        """
        actions = np.asarray(actions)
        if actions.ndim != 2:
            raise FeatureError(f"A chunk has shape {actions.shape}, expected (horizon, action elements).")
        horizon = len(actions)
        elapsed = int((now_s - t_obs_s + _TOLERANCE_S) // self.dt_s)
        first = min(max(elapsed, 0), horizon)
        if first == horizon:
            return 0
        first_due = t_obs_s + first * self.dt_s
        kept = sum(due < first_due - _TOLERANCE_S for due in self._due)
        # the one before the current action is kept: interpolation starts from it
        oldest = max(0, self._index_at(now_s) - 1)
        self._due = self._due[oldest:kept] + [t_obs_s + i * self.dt_s for i in range(first, horizon)]
        self._actions = self._actions[oldest:kept] + list(actions[first:])
        return horizon - first

    def action_at(self, now_s: float) -> np.ndarray | None:
        """The action (A,) valid at `now_s`, or None."""
        index = self._index_at(now_s)
        return self._actions[index] if self._is_valid(index, now_s) else None

    def around(self, now_s: float) -> Scheduled | None:
        """The action valid at `now_s` and its neighbours, or None when none is valid.

        A neighbour more than 1.5 dt away belongs to another motion and is left out.
        """
        index = self._index_at(now_s)
        if not self._is_valid(index, now_s):
            return None
        return Scheduled(
            self._due[index], self._actions[index], self._neighbour(index, index - 1), self._neighbour(index, index + 1)
        )

    def remaining_s(self, now_s: float) -> float:
        """For how long after `now_s` there are actions, in s; 0 when there are none."""
        return max(0.0, self._due[-1] + self.dt_s - now_s) if self._due else 0.0

    def _index_at(self, now_s: float) -> int:
        """Index of the last action due at or before `now_s`, or -1."""
        index = len(self._due) - 1
        while index >= 0 and self._due[index] > now_s + _TOLERANCE_S:
            index -= 1
        return index

    def _is_valid(self, index: int, now_s: float) -> bool:
        return index >= 0 and now_s < self._due[index] + self.dt_s - _TOLERANCE_S

    def _neighbour(self, index: int, other: int) -> tuple[float, np.ndarray] | None:
        if not 0 <= other < len(self._due) or abs(self._due[other] - self._due[index]) > 1.5 * self.dt_s:
            return None
        return self._due[other], self._actions[other]
