"""`RelativeActions`: actions of windows, relative to what was measured at each window's current step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from robolearn.kinematics.observed import ObservedReference, Place
from robolearn.kinematics.pose import Pose

MOST_ROWS = 1 << 20
"""Of `samples`; more are thinned out."""


class RelativeActions:
    """Where the actions of all steps lead and what is measured there is kept; a window takes differences.

    Args:
        reference: what actions are relative to.
        actions: (N, A) of all steps, absolute.
        states: feature -> (N, *shape) of all steps, those that `reference` needs.
        shift: (A,) that is subtracted from what is relative, see `Loader`.

    Attributes:
        size: A.
    """

    def __init__(
        self,
        reference: ObservedReference,
        actions: np.ndarray,
        states: Mapping[str, np.ndarray],
        shift: np.ndarray | None = None,
    ):
        self._reference, self._actions, self._shift = reference, actions, shift
        self.size = actions.shape[1]
        self._goals = [_single(place) for place in reference.goals(actions)]
        self._measured = [_single(place) for place in reference.references(states)]

    def windows(self, steps: np.ndarray, current: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """(B, T, A) float32: actions of the steps (B, T), relative to what is measured at the steps `current` (B,)."""
        out = np.empty((*steps.shape, self.size), np.float32) if out is None else out
        np.take(self._actions, steps, axis=0, out=out, mode="clip")
        goals = [_at(place, steps) for place in self._goals]
        self._reference.relative(out, goals, [_at(place, current[:, None]) for place in self._measured])
        if self._shift is not None:
            out -= self._shift
        return out

    def samples(self, episode_ends: np.ndarray, episodes: np.ndarray, offsets: Sequence[int]) -> np.ndarray:
        """(M, A) actions of all windows of these episodes, for what is fitted to them, at `offsets` from each step.

        Where that is more than `MOST_ROWS`, it is some of them, and the least and largest number of each element.
        """
        starts = np.concatenate([[0], episode_ends])
        total = int((starts[episodes + 1] - starts[episodes]).sum()) * len(offsets)
        every = -(-total // MOST_ROWS)
        found, least, largest = [], [], []
        for episode in episodes:
            first, last = int(starts[episode]), int(starts[episode + 1]) - 1
            current = np.arange(first, last + 1)
            steps = np.clip(current[:, None] + np.asarray(offsets), first, last)
            rows = self.windows(steps, current).reshape(-1, self.size)
            found.append(rows[::every])
            if every > 1 and len(rows):
                least.append(rows.min(axis=0))
                largest.append(rows.max(axis=0))
        ends = [np.min(least, axis=0)[None], np.max(largest, axis=0)[None]] if least else []
        return np.concatenate(found + ends)


def _single(place: Place) -> Place:
    """In single precision, which is what batches have."""
    if not isinstance(place, Pose):
        return place.astype(np.float32)
    turn = place.rotation
    return Pose(place.position_m.astype(np.float32), None if turn is None else turn.astype(np.float32))


def _at(place: Place, steps: np.ndarray) -> Place:
    if not isinstance(place, Pose):
        return np.take(place, steps, axis=0)
    turn = None if place.rotation is None else np.take(place.rotation, steps, axis=0)
    return Pose(np.take(place.position_m, steps, axis=0), turn)
