import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from robolearn.core.errors import ConfigError
from robolearn.evaluation.statistics.paired import mcnemar, paired_rates, signed_rank

OUTCOMES = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40)
SCORES = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=9)


def split(pairs):
    return [a for a, _ in pairs], [b for _, b in pairs]


def table(both, only_first, only_second, neither):
    """Outcomes of two policies with these counts."""
    first = [True] * (both + only_first) + [False] * (only_second + neither)
    second = [True] * both + [False] * only_first + [True] * only_second + [False] * neither
    return first, second


def test_mcnemar_is_twice_the_smaller_tail_of_a_fair_coin():
    found = mcnemar(*table(both=30, only_first=8, only_second=1, neither=5))
    assert (found.only_first, found.only_second) == (8, 1)
    assert found.p == pytest.approx(2 * (1 + 9) / 2**9)


@given(OUTCOMES)
def test_mcnemar_is_the_binomial_test_of_the_discordant_pairs(pairs):
    found = mcnemar(*split(pairs))
    n = found.only_first + found.only_second
    assert found.p == pytest.approx(stats.binomtest(found.only_first, n).pvalue if n else 1.0)


def test_policies_that_solve_the_same_start_states_cannot_be_told_apart():
    assert mcnemar(*table(both=3, only_first=0, only_second=0, neither=2)).p == 1.0
    assert signed_rank([0.1, 0.7], [0.1, 0.7]) == 1.0


def test_five_better_scores_of_five_have_p_of_two_in_32():
    assert signed_rank([1, 2, 3, 4, 5], [0, 0, 0, 0, 0]) == pytest.approx(2 / 2**5)


@given(st.integers(5, 30), st.integers(0, 1000))
@pytest.mark.slow
def test_without_ties_the_signed_rank_test_is_scipys_exact_one(n, seed):
    first, second = np.random.default_rng(seed).normal(size=(2, n))
    assert signed_rank(first, second) == pytest.approx(stats.wilcoxon(first, second, method="exact").pvalue)


@given(SCORES)
def test_with_ties_it_counts_all_signs(pairs):
    """Against the definition: all 2^n signs of the mean ranks of the differences that are there."""
    first, second = split(pairs)
    difference = np.subtract(first, second)
    difference = difference[difference != 0]
    ranks = stats.rankdata(np.abs(difference)) if len(difference) else np.zeros(0)
    sums = np.array([np.dot(signs, ranks) for signs in itertools.product((0, 1), repeat=len(ranks))])
    seen = ranks[difference > 0].sum()
    tails = min((sums <= seen + 1e-9).mean(), (sums >= seen - 1e-9).mean())
    assert signed_rank(first, second) == pytest.approx(min(1.0, 2 * tails))


@given(OUTCOMES)
def test_on_successes_the_signed_rank_test_is_mcnemars(pairs):
    first, second = split(pairs)
    assert signed_rank(np.array(first, float), np.array(second, float)) == pytest.approx(mcnemar(first, second).p)


@given(SCORES)
def test_the_tests_do_not_care_which_policy_comes_first(pairs):
    first, second = split(pairs)
    assert signed_rank(first, second) == pytest.approx(signed_rank(second, first))


def test_differences_of_rounding_are_none():
    assert signed_rank([0.3, 0.7], [0.1 + 0.2, 0.7]) == 1.0


def test_many_pairs_keep_small_probabilities():
    assert signed_rank(np.arange(1, 201), np.zeros(200)) == pytest.approx(2 * 0.5**200, rel=1e-9)
    assert mcnemar([True] * 1100, [False] * 1100).p == pytest.approx(2 * 0.5**1100, abs=1e-300)


@pytest.mark.parametrize(
    ("counts", "interval"),
    [
        ((36, 12, 2, 0), (0.0569, 0.3404)),  # negative correlation: as it is
        ((20, 12, 2, 16), (0.0562, 0.3292)),  # positive: corrected for continuity
        ((35, 14, 0, 1), (0.1461, 0.4175)),
        ((1, 98, 0, 1), (0.9171, 0.9916)),  # smaller than the correction: none
        ((53, 0, 0, 1), (-0.0729, 0.0729)),
    ],
)
def test_paired_rates_give_the_intervals_that_newcombe_printed(counts, interval):
    """Statistics in Medicine 17 (1998), 2635-2650, table III, method 10, its cells e, f, g and h."""
    found = paired_rates(*table(*counts))
    assert found.value == pytest.approx((counts[1] - counts[2]) / sum(counts))
    assert found.interval == pytest.approx(interval, abs=5e-5)


@given(OUTCOMES)
def test_paired_rates_turn_around_with_the_policies(pairs):
    first, second = split(pairs)
    there, back = paired_rates(first, second), paired_rates(second, first)
    assert there.low <= there.value <= there.high
    assert (there.low, there.high) == (pytest.approx(-back.high), pytest.approx(-back.low))


def test_fifty_of_fifty_each_still_leaves_room_for_a_difference():
    found = paired_rates([True] * 50, [True] * 50)
    edge = 1 - 50 / (50 + stats.norm.ppf(0.975) ** 2)
    assert found.interval == pytest.approx((-edge, edge))


@pytest.mark.parametrize("pair", [([], []), ([1.0], [1.0, 2.0]), ([math.nan], [0.0])])
def test_what_is_not_paired_is_refused(pair):
    for test in (signed_rank, mcnemar):
        with pytest.raises(ConfigError, match="as many episodes each"):
            test(*pair)
