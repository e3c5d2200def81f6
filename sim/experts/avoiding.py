"""Expert for avoiding: one of the 24 ways, through the middle of its passages, the way a hand would move.

Start state k is shown way k mod 24, so that any 96 start states in a row give four demonstrations of each. What
differs between them is drawn from k: where in each passage the way goes through, where it turns, how fast the hand
is, and how it wanders about the way and back.

The way is made of straight lines: ahead between the posts of a row, then slantwise to the next passage. The hand
follows a point that moves along it evenly, averaged over a Hann window in time, so that it starts from rest, rounds
the corners and is slower there.
"""

from __future__ import annotations

import numpy as np

from robolearn.sim.tasks.avoiding import MODES, Avoiding
from robolearn.sim.worlds.posts import AREA_HIGH_M, GAP_M, ROWS_M

_SPEED_M_S = (0.19, 0.25)  # uniform
_AIM_M, _MAX_AIM_M = 0.006, 0.010  # where in a passage: normal, cut off
_TURN_M = (0.040, 0.055)  # straight ahead from so far before a row to so far behind it: uniform
_WANDER_M, _WANDER_HZ = 0.0015, (0.3, 1.0)  # amplitude and rates of three sines an axis
_WINDOW_S = 0.35


class AvoidingExpert:
    """Plans the whole episode at its start; an action moves the command to the next point of the plan."""

    def start_episode(self, init_state: int) -> None:
        self._plan = iter(plan(init_state))

    def action(self, observation: dict[str, np.ndarray]) -> np.ndarray | None:
        goal = next(self._plan, None)
        return None if goal is None else goal - observation["observation.state"][:2]


def plan(init_state: int) -> np.ndarray:
    """(T, 2) commanded positions [m], one an action, from the start to some way behind the goal line."""
    rng = np.random.default_rng([init_state, *b"avoiding"])
    way = corners(MODES[init_state % len(MODES)], rng)
    lengths = np.linalg.norm(np.diff(way, axis=0), axis=1)
    passed_s = np.concatenate([[0.0], np.cumsum(lengths)]) / rng.uniform(*_SPEED_M_S)
    window = np.hanning(round(_WINDOW_S * Avoiding.control_hz) + 2)[1:-1]
    window /= window.sum()
    # the point rests before and after, so that the window is full at the first action and the hand comes to the end
    t = np.arange(2 - len(window), passed_s[-1] * Avoiding.control_hz + len(window)) / Avoiding.control_hz
    point = np.stack([np.interp(t, passed_s, axis) for axis in way.T], axis=1)
    hand = np.stack([np.convolve(axis, window, mode="valid") for axis in point.T], axis=1)
    rate_hz, phase = rng.uniform(*_WANDER_HZ, (2, 3)), rng.uniform(0, 2 * np.pi, (2, 3))
    t = np.arange(1, len(hand) + 1)[:, None, None] / Avoiding.control_hz
    waves = np.sin(2 * np.pi * rate_hz * t + phase).sum(axis=2)
    return hand + _WANDER_M * np.minimum(1.0, t[:, :, 0]) * waves


def corners(mode: str, rng: np.random.Generator) -> np.ndarray:
    """(K, 2) corners of a way through the passages of `mode`, the start first."""
    points = [(0.0, 0.0)]
    for passage, (row_y, posts) in zip(map(int, mode.split("-")), ROWS_M, strict=True):
        x = posts[0] + GAP_M * (passage - 0.5) + np.clip(rng.normal(0.0, _AIM_M), -_MAX_AIM_M, _MAX_AIM_M)
        before, behind = rng.uniform(*_TURN_M, 2)
        points += [(x, row_y - before), (x, row_y + behind)]
    return np.array([*points, (points[-1][0], AREA_HIGH_M[1])])
