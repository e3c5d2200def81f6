"""By how many steps the robot's state follows the action, from their cross-correlation."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from robolearn.core.feature import Feature
from robolearn.datasets.checks.check import Check
from robolearn.datasets.checks.finding import Finding, Severity
from robolearn.datasets.checks.survey import EpisodeView, Survey
from robolearn.datasets.checks.values import listed

LONGEST_S = 1.0  # lags up to this are looked for
SLOW_S = 0.5  # a robot that follows later than this is not under the control of these actions
CLEAR = 0.3  # correlation below which nothing is said
MARGIN = 0.02  # by which a negative lag must be better to be believed


@dataclass
class _Pair:
    """An action and the observation that it moves.

    Attributes:
        elements: matching elements, of the action and of the state.
        absolute: correlation sums of the changes of both, for actions that are targets, per lag.
        relative: of the action itself with the changes of the state, for actions that are steps or velocities.
        samples: number of terms.
        largest_difference: between action and state of the same step, over the range of the state.
    """

    action: str
    state: str
    elements: tuple[np.ndarray, np.ndarray]
    absolute: np.ndarray
    relative: np.ndarray
    samples: int = 0
    largest_difference: float = 0.0


def matching(action: Feature, state: Feature) -> tuple[np.ndarray, np.ndarray] | None:
    """Elements of the same name; without names, all of two vectors of one shape. The shape alone is enough only for
    `observation.state`, which is by convention what the action commands."""
    if len(action.shape) != 1 or len(state.shape) != 1:
        return None
    if action.names and state.names:
        shared = [name for name in action.names if name in state.names]
        if shared:
            return np.array([action.names.index(n) for n in shared]), np.array([state.names.index(n) for n in shared])
        return None
    if action.shape == state.shape and state.name == "observation.state":
        return np.arange(action.shape[0]), np.arange(action.shape[0])
    return None


class ActionLag(Check):
    name = "lag"

    def __init__(self) -> None:
        self._pairs: list[_Pair] = []
        self._reach = 0

    def start(self, survey: Survey) -> Iterator[Finding]:
        grid = survey.grid.values()
        self._reach = int(min(max(2, round(LONGEST_S * survey.fps)), 1000))
        for action in (f for f in grid if f.kind == "action" and f.dtype.startswith("float")):
            for state in (f for f in grid if f.kind == "state" and f.name.startswith("observation.")):
                elements = matching(action, state)
                if elements is not None:
                    zeros = np.zeros(2 * self._reach + 1)
                    self._pairs.append(_Pair(action.name, state.name, elements, zeros, zeros.copy()))
        return iter(())

    def episode(self, view: EpisodeView) -> Iterator[Finding]:
        for pair in self._pairs:
            action, state = view.rows(f"data/{pair.action}"), view.rows(f"data/{pair.state}")
            if action is None or state is None or len(action) != len(state) or len(action) < 4 * self._reach:
                continue
            a, s = action[:, pair.elements[0]].astype(np.float64), state[:, pair.elements[1]].astype(np.float64)
            if not (np.isfinite(a).all() and np.isfinite(s).all()):
                continue
            spread = np.maximum(s.max(0) - s.min(0), 1e-12)
            pair.largest_difference = max(pair.largest_difference, float((np.abs(a - s) / spread).max()))
            da, ds = np.diff(a, axis=0), np.diff(s, axis=0)
            pair.absolute += _correlation(da, ds, self._reach)
            pair.relative += _correlation(a[:-1] - a[:-1].mean(0), ds, self._reach)
            pair.samples += len(da)
        return iter(())

    def finish(self, survey: Survey) -> Iterator[Finding]:
        for pair in self._pairs:
            if not pair.samples:
                continue
            sums = max((pair.absolute, pair.relative), key=lambda c: float(c.max()))
            peak = _peak(sums, self._reach, pair.samples)
            correlation, lag = float(sums[peak] / pair.samples), peak - self._reach
            if correlation < CLEAR:
                continue
            lag_s = lag / survey.fps
            elements = listed(survey.features[pair.state], pair.elements[1])
            told = f"{pair.state} ({elements}) follows it by {_steps(lag)} ({1e3 * lag_s:.0f} ms)"
            yield self._finding(pair, "info", f"{told}, correlation {correlation:.2f}")
            if pair.largest_difference < 1e-6:
                message = f"equals {pair.state} of the same step: a policy learns to copy what it sees"
                yield self._finding(pair, "warning", message)
            elif lag < 0:
                message = (
                    f"{pair.state} moves {_steps(-lag)} ({-1e3 * lag_s:.0f} ms) before it: are the action's times late?"
                )
                yield self._finding(pair, "warning", message)
            elif lag_s > SLOW_S:
                message = f"{pair.state} follows it only after {lag_s:.2f} s: are their times from the same clock?"
                yield self._finding(pair, "warning", message)

    def _finding(self, pair: _Pair, severity: Severity, message: str) -> Finding:
        return Finding(
            severity=severity, check=self.name, message=message, feature=pair.action, file=f"data/{pair.action}"
        )


def _steps(count: int) -> str:
    return f"{count} step{'s' * (count != 1)}"


def _peak(sums: np.ndarray, reach: int, samples: int) -> int:
    """Index of the lag. One at which the state comes first has to be clearly better than all others: a target that is
    computed from the measured pose changes with it at once, without being late."""
    peak, later = int(np.argmax(sums)), reach + int(np.argmax(sums[reach:]))
    return peak if sums[peak] - sums[later] > MARGIN * samples else later


def _correlation(a: np.ndarray, s: np.ndarray, reach: int) -> np.ndarray:
    """`(2 reach + 1,)`: mean over elements of sum over t of a[t] s[t + lag], both standardised; lag from -reach."""
    moving = (a.std(0) > 1e-12) & (s.std(0) > 1e-12)
    if not moving.any():
        return np.zeros(2 * reach + 1)
    a, s = ((x[:, moving] - x[:, moving].mean(0)) / x[:, moving].std(0) for x in (a, s))
    size = 1 << (len(a) + reach).bit_length()
    product = np.fft.irfft(np.conj(np.fft.rfft(a, size, axis=0)) * np.fft.rfft(s, size, axis=0), size, axis=0).mean(1)
    return np.concatenate([product[-reach:], product[: reach + 1]])
