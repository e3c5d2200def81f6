"""Intervals for what an evaluation reports: a success rate and the mean of a score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from robolearn.core.errors import ConfigError


@dataclass(frozen=True)
class Estimate:
    """A mean with its two-sided confidence interval: `value` in [`low`, `high`], from `n` episodes."""

    value: float
    low: float
    high: float
    n: int
    confidence: float
    method: str

    @property
    def interval(self) -> tuple[float, float]:
        return self.low, self.high

    def to_dict(self) -> dict[str, Any]:
        return {
            "value": self.value,
            "interval": [self.low, self.high],
            "n": self.n,
            "confidence": self.confidence,
            "method": self.method,
        }


def wilson_interval(successes: int, trials: int, confidence: float = 0.95) -> Estimate:
    """Success rate with the score interval of Wilson (1927).

    It holds its coverage for few trials and at 0 % and 100 %, where the textbook p +- z sqrt(p(1-p)/n)
    collapses to a point. Raises ConfigError for counts that are impossible.
    """
    if not 0 <= successes <= trials or trials < 1:
        raise ConfigError(f"{successes} successes of {trials} trials: expected 0 <= successes <= trials, trials >= 1.")
    z = _two_sided_z(confidence)
    p = successes / trials
    spread = 1 + z**2 / trials
    center = (p + z**2 / (2 * trials)) / spread
    half = z * np.sqrt(p * (1 - p) / trials + z**2 / (4 * trials**2)) / spread
    # at the ends the bound is exact; without this it is off by rounding
    low = 0.0 if successes == 0 else float(center - half)
    high = 1.0 if successes == trials else float(center + half)
    return Estimate(p, low, high, trials, confidence, "wilson")


def bootstrap_mean(
    values: Sequence[float] | np.ndarray, confidence: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> Estimate:
    """Mean of `values` (N,) with the percentile bootstrap interval (Efron 1979) over episodes.

    The same values and seed give the same interval. One value gives an interval of zero width: it says
    nothing about spread. Raises ConfigError for no values or non-finite ones.
    """
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1 or sample.size == 0 or not np.isfinite(sample).all():
        raise ConfigError(f"A bootstrap needs at least one value and finite ones, found {sample.tolist()!r}.")
    tail = _tail(confidence)
    picks = np.random.default_rng(seed).integers(0, sample.size, size=(resamples, sample.size))
    low, high = np.quantile(sample[picks].mean(axis=1), [tail, 1 - tail])
    return Estimate(
        float(sample.mean()), float(low), float(high), sample.size, confidence,
        f"percentile bootstrap, {resamples} resamples, seed {seed}",
    )  # fmt: skip


def _two_sided_z(confidence: float) -> float:
    return NormalDist().inv_cdf(1 - _tail(confidence))


def _tail(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ConfigError(f"A confidence level lies between 0 and 1, found {confidence}.")
    return (1 - confidence) / 2
