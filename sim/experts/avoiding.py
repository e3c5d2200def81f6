"""Expert for avoiding: one of the 24 ways, drawn through the middle of its passages the way a hand would.

Start state k is shown way k mod 24, so that any 96 start states in a row give four demonstrations of each. What
differs between them is drawn from k: where in each passage the way goes through, how fast the hand is, its tremor.

The way is a cubic Hermite curve (straight ahead in every passage). The hand follows it at v = v0 (1 + k / k0)^(-1/3),
k the curvature: the two-thirds power law of drawing (Lacquaniti, Terzuolo and Viviani 1983) for tight curves, an even
speed on straight lines.
"""

from __future__ import annotations

import numpy as np

from robolearn.sim.scenes.avoiding import AREA_HIGH_M, GAP_M, MODES, ROWS_M, Avoiding

_SPEED_M_S, _SPEED_SPREAD = 0.22, 0.15  # v0 of a demonstration: uniform within 15 % of the first
_BEND_1_M = 10.0  # k0
_START_S = 0.3  # time to gather speed
_AIM_M, _MAX_AIM_M = 0.006, 0.012  # where in a passage: normal, cut off
_TREMOR_M, _TREMOR_HZ = 0.001, (0.3, 1.2)
_AHEAD = 1.8  # how long the curve runs straight ahead at a passage, in units that keep y rising up to 3


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
    passages = map(int, MODES[init_state % len(MODES)].split("-"))
    knots = [(0.0, 0.0)]
    for passage, (row_y, posts) in zip(passages, ROWS_M, strict=True):
        middle = posts[0] + GAP_M * (passage - 0.5)
        knots.append((middle + np.clip(rng.normal(0.0, _AIM_M), -_MAX_AIM_M, _MAX_AIM_M), row_y))
    knots.append((knots[-1][0] + rng.normal(0.0, _AIM_M), AREA_HIGH_M[1]))
    curve = hermite(np.array(knots))
    steps = np.diff(curve, axis=0)
    length = np.linalg.norm(steps, axis=1)
    heading = np.unwrap(np.arctan2(steps[:, 1], steps[:, 0]))
    bend = np.abs(np.gradient(heading)) / length
    speed = _SPEED_M_S * rng.uniform(1 - _SPEED_SPREAD, 1 + _SPEED_SPREAD) * (1 + bend / _BEND_1_M) ** (-1 / 3)
    time_s = np.concatenate([[0.0], np.cumsum(length / speed)])
    # at the start the hand's own time runs slower: t^2 / 2 T until T, so that speed rises from rest
    t = np.arange(1, int((time_s[-1] + _START_S / 2) * Avoiding.control_hz)) / Avoiding.control_hz
    t_own = np.where(t < _START_S, t**2 / (2 * _START_S), t - _START_S / 2)
    along = np.stack([np.interp(t_own, time_s, column) for column in curve.T], axis=1)
    tremor_hz, phase = rng.uniform(*_TREMOR_HZ, (2, 3)), rng.uniform(0, 2 * np.pi, (2, 3))
    waves = np.sin(2 * np.pi * tremor_hz * t[:, None, None] + phase).sum(axis=2)
    steady = np.minimum(1.0, t / _START_S)[:, None]
    return along + _TREMOR_M * steady * waves


def hermite(knots: np.ndarray, samples: int = 200) -> np.ndarray:
    """(N, 2) points of a curve through `knots` (K, 2) that heads straight ahead (+y) at each of them."""
    s = np.linspace(0.0, 1.0, samples, endpoint=False)[:, None]
    pieces = []
    for start, end in zip(knots[:-1], knots[1:], strict=True):
        ahead = np.array([0.0, _AHEAD * (end[1] - start[1])])
        pieces.append(
            start * (1 + 2 * s) * (1 - s) ** 2 + ahead * s * (1 - s) ** 2 + end * s**2 * (3 - 2 * s)
            - ahead * s**2 * (1 - s)
        )  # fmt: skip
    return np.concatenate([*pieces, knots[-1:]])
