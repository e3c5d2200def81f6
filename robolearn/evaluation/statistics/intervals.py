"""Intervals for what an evaluation reports: a success rate, the mean of a score, how varied the behaviour is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from robolearn.core.errors import ConfigError


@dataclass(frozen=True)
class Estimate:
    """A mean with its two-sided confidence interval: `value` in [`low`, `high`], from `n` episodes.

    A bootstrap of one value, or of equal ones, knows nothing of their spread: `low` and `high` are the value then, and
    that is no interval.
    """

    value: float
    low: float
    high: float
    n: int
    confidence: float
    method: str

    @property
    def interval(self) -> tuple[float, float] | None:
        return (self.low, self.high) if self.low < self.high else None

    def bounds(self, form: str = ".3f") -> str:
        """The interval as text, or why there is none."""
        if self.interval is None:
            return f"(no interval: {'1 value only' if self.n == 1 else f'all {self.n} values are equal'})"
        return f"[{self.low:{form}}, {self.high:{form}}]"

    def to_dict(self) -> dict[str, Any]:
        return {
            "value": self.value,
            "interval": list(self.interval) if self.interval else None,
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

    The same values and seed give the same interval. Raises ConfigError for no values or non-finite ones.
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


def behaviour_entropy(
    modes: Sequence[str | None], base: int, confidence: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> Estimate:
    """Behaviour entropy H = -sum_b p(b) log_base p(b) of D3IL (Jia et al., ICLR 2024), for one fixed start state.

    0 is always the same mode, 1 all modes equally often. The plug-in estimate; the interval holds both
    the basic bootstrap's and the percentile bootstrap's (Davison and Hinkley 1997). With many modes only the basic one
    is right: resampling lowers this entropy by about as much as sampling did, so the interval must reach above the
    value. With few modes that are about equally frequent only the percentile one is: the value is near its maximum.
    Without any success the value is 0 and the interval says nothing: [0, 1].

    Args:
        modes: of the successful episodes; None (no success) is left out.
        base: number of modes that exist.

    Raises ConfigError for fewer than two modes, or more in the episodes than there are.
    """
    counts = np.array(list(Counter(mode for mode in modes if mode is not None).values()), dtype=np.float64)
    if base < 2 or len(counts) > base:
        raise ConfigError(
            f"Behaviour entropy needs at least 2 modes, and all that were seen; found {len(counts)} of {base}."
        )
    tail = _tail(confidence)
    method = f"wider of basic and percentile bootstrap, {resamples} resamples, seed {seed}"
    if not len(counts):
        return Estimate(0.0, 0.0, 1.0, 0, confidence, method)
    n = int(counts.sum())

    def entropy(share: np.ndarray) -> np.ndarray:
        # + 0.0: minus the empty sum is -0.0
        return -(share * np.log(share, out=np.zeros_like(share), where=share > 0)).sum(axis=-1) / np.log(base) + 0.0

    value = float(entropy(counts / n))
    drawn = entropy(np.random.default_rng(seed).multinomial(n, counts / n, size=resamples) / n)
    lowest, highest = np.quantile(drawn, [tail, 1 - tail])
    low, high = min(lowest, 2 * value - highest, value), max(highest, 2 * value - lowest, value)
    return Estimate(value, float(max(0.0, low)), float(min(1.0, high)), n, confidence, method)


def _two_sided_z(confidence: float) -> float:
    return NormalDist().inv_cdf(1 - _tail(confidence))


def _tail(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise ConfigError(f"A confidence level lies between 0 and 1, found {confidence}.")
    return (1 - confidence) / 2
