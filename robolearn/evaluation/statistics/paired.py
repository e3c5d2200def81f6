"""Two policies on the same start states: exact tests of "neither is better", and intervals of the difference.

Pairing takes the difficulty of the start states out of the comparison. Both tests are exact for any number of pairs:
their distributions are counted, not approximated.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from robolearn.core.errors import ConfigError
from robolearn.evaluation.statistics.intervals import Estimate, wilson_interval

Outcomes = Sequence[bool] | Sequence[float] | np.ndarray
_EQUAL = 1e-9  # scores that differ by less are the same but for rounding


@dataclass(frozen=True)
class Discordant:
    """McNemar's test (1947) in its exact form: of the start states that only one of two solved, was it mostly the same?

    Attributes:
        only_first, only_second: how many start states only one of them solved.
        p: two-sided probability of a split at least as uneven if each were equally likely to be the one.
    """

    only_first: int
    only_second: int
    p: float


def mcnemar(first: Outcomes, second: Outcomes) -> Discordant:
    """Exact test on the successes of two policies, in the order of the same start states.

    p = min(1, 2 sum_{i <= min(b, c)} C(b + c, i) / 2^(b + c)) with b and c the two counts. Raises ConfigError unless
    both are of one length, at least 1.
    """
    a, b = (x.astype(bool) for x in _pairs(first, second))
    only_first, only_second = int((a & ~b).sum()), int((b & ~a).sum())
    n, fewer = only_first + only_second, min(only_first, only_second)
    tail = sum(math.comb(n, i) for i in range(fewer + 1)) / 2**n
    return Discordant(only_first, only_second, min(1.0, 2 * tail))


def signed_rank(first: Outcomes, second: Outcomes) -> float:
    """Wilcoxon's signed-rank test (1945): two-sided p of the differences between paired scores.

    Pairs without a difference are left out and equal differences share their mean rank. The distribution of the rank
    sum is counted over all 2^n signs, one rank after the other. On successes it gives McNemar's p. Raises ConfigError
    unless both are of one length, at least 1, and finite.
    """
    a, b = _pairs(first, second)
    difference = np.round((a - b) / _EQUAL) * _EQUAL
    difference = difference[difference != 0]
    if not len(difference):
        return 1.0
    _, group, count = np.unique(np.abs(difference), return_inverse=True, return_counts=True)
    # twice the mean rank of each group of equals: a whole number
    ranks = (2 * np.cumsum(count) - count + 1)[group]
    share = np.ones(1)  # of the signs, by rank sum
    for rank in ranks:
        longer = np.zeros(len(share) + rank)
        longer[: len(share)] = share / 2
        longer[rank:] += share / 2
        share = longer
    positive = int(ranks[difference > 0].sum())
    smaller = min(positive, int(ranks.sum()) - positive)
    return min(1.0, 2 * float(share[: smaller + 1].sum()))


def paired_rates(first: Outcomes, second: Outcomes, confidence: float = 0.95) -> Estimate:
    """Difference of two success rates on the same start states, with the score interval of Newcombe (1998, method 10).

    Built from both Wilson intervals and the correlation of the outcomes, so it keeps a width where all succeed. Raises
    ConfigError like `mcnemar`.
    """
    a, b = (x.astype(bool) for x in _pairs(first, second))
    n = len(a)
    one, two = (wilson_interval(int(x.sum()), n, confidence) for x in (a, b))
    both, neither = int((a & b).sum()), int((~a & ~b).sum())
    only_one, only_two = int((a & ~b).sum()), int((b & ~a).sum())
    product = both * neither - only_one * only_two
    spread = math.sqrt(math.prod(x.sum() * (n - x.sum()) for x in (a, b)))
    # corrected for continuity when positive
    correlation = (max(product - n / 2, 0) if product > 0 else product) / spread if spread else 0.0

    def reach(down: float, up: float) -> float:
        return math.sqrt(max(0.0, down**2 - 2 * correlation * down * up + up**2))

    difference = one.value - two.value
    low = difference - reach(one.value - one.low, two.high - two.value)
    high = difference + reach(one.high - one.value, two.value - two.low)
    return Estimate(difference, max(-1.0, low), min(1.0, high), n, confidence, "newcombe")


def _pairs(first: Outcomes, second: Outcomes) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if a.shape != b.shape or a.ndim != 1 or not len(a) or not (np.isfinite(a) & np.isfinite(b)).all():
        raise ConfigError(f"Pairs need finite numbers of as many episodes each, found shapes {a.shape} and {b.shape}.")
    return a, b
