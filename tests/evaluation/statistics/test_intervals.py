import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from robolearn.core.errors import ConfigError
from robolearn.evaluation.statistics.intervals import behaviour_entropy, bootstrap_mean, wilson_interval


@pytest.mark.parametrize(
    ("successes", "low", "high"),
    [(45, 0.786, 0.957), (50, 0.929, 1.0), (0, 0.0, 0.071)],
)
def test_wilson_interval_of_50_trials_matches_published_values(successes, low, high):
    estimate = wilson_interval(successes, 50)
    assert estimate.value == successes / 50
    assert round(estimate.low, 3) == low
    assert round(estimate.high, 3) == high
    assert estimate.interval == (estimate.low, estimate.high)


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_bounds_solve_the_score_equation(counts):
    successes, trials = counts
    z = 1.959963984540054
    estimate = wilson_interval(successes, trials)
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1
    for bound in (estimate.low, estimate.high):
        assert trials * (estimate.value - bound) ** 2 == pytest.approx(z**2 * bound * (1 - bound), abs=1e-9)


@given(st.integers(0, 40))
def test_wilson_interval_of_failures_mirrors_that_of_successes(successes):
    a, b = wilson_interval(successes, 40), wilson_interval(40 - successes, 40)
    assert a.low == pytest.approx(1 - b.high, abs=1e-12)


def test_more_confidence_widens_the_wilson_interval():
    narrow, wide = wilson_interval(30, 50, 0.8), wilson_interval(30, 50, 0.99)
    assert wide.low < narrow.low < 0.6 < narrow.high < wide.high


@pytest.mark.parametrize(("successes", "trials"), [(1, 0), (-1, 5), (6, 5)])
def test_impossible_counts_are_refused(successes, trials):
    with pytest.raises(ConfigError, match=f"{successes} successes of {trials} trials"):
        wilson_interval(successes, trials)


def test_bootstrap_interval_agrees_with_the_normal_approximation_for_many_values():
    values = np.random.default_rng(7).normal(0.7, 0.2, size=400)
    estimate = bootstrap_mean(values)
    half = 1.96 * values.std() / np.sqrt(400)
    assert estimate.value == pytest.approx(values.mean())
    assert estimate.low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert estimate.high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_bootstrap_of_two_values_ends_at_those_values():
    # a quarter of the resamples hold only one of the values, so both are beyond the 2.5 % tails
    estimate = bootstrap_mean([0.0, 1.0])
    assert (estimate.low, estimate.value, estimate.high) == (0.0, 0.5, 1.0)


def test_bootstrap_depends_on_its_seed_only():
    values = np.linspace(0, 1, 23) ** 2
    assert bootstrap_mean(values, seed=3) == bootstrap_mean(list(values), seed=3)
    assert bootstrap_mean(values, seed=3) != bootstrap_mean(values, seed=4)


@pytest.mark.parametrize(
    ("values", "words"),
    [([0.19], "(no interval: 1 value only)"), ([0.19] * 3, "(no interval: all 3 values are equal)")],
)
def test_values_that_do_not_spread_have_no_interval(values, words):
    estimate = bootstrap_mean(values)
    assert estimate.value == pytest.approx(0.19)
    assert (estimate.interval, estimate.to_dict()["interval"], estimate.bounds()) == (None, None, words)


def test_bounds_are_printed_as_the_value_is():
    estimate = bootstrap_mean([-1.0, 1.0])
    assert (estimate.bounds(), estimate.bounds("+.1f")) == ("[-1.000, 1.000]", "[-1.0, +1.0]")


@pytest.mark.parametrize("values", [[], [0.2, float("nan")], [[0.1]]])
def test_bootstrap_refuses_what_has_no_mean(values):
    with pytest.raises(ConfigError, match="at least one value and finite"):
        bootstrap_mean(values)


def test_confidence_outside_zero_to_one_is_refused():
    with pytest.raises(ConfigError, match=r"between 0 and 1, found 95"):
        wilson_interval(1, 2, confidence=95)


def test_all_modes_equally_often_have_entropy_one_and_a_single_mode_has_none():
    uniform = behaviour_entropy([str(i % 24) for i in range(480)], 24)
    assert uniform.value == pytest.approx(1.0) and uniform.high == 1.0 and uniform.n == 480
    single = behaviour_entropy(["left"] * 480, 24)
    assert (single.value, single.low, single.high, single.n) == (0.0, 0.0, 0.0, 480)


@pytest.mark.parametrize(
    ("counts", "base", "value"),
    [
        ([1, 1], 4, 0.5),
        ([3, 1], 2, 2 - 0.75 * np.log2(3)),
        ([2, 1, 1], 8, 0.5),
        ([5] * 12, 24, np.log(12) / np.log(24)),
    ],
)
def test_entropy_of_few_modes_is_that_of_the_formula(counts, base, value):
    modes = [str(i) for i, count in enumerate(counts) for _ in range(count)]
    assert behaviour_entropy(modes, base).value == pytest.approx(value)


def test_entropy_is_over_successes_and_without_any_nothing_is_known():
    assert behaviour_entropy(["a", None, "b", None, None], 2).value == 1.0
    assert behaviour_entropy(["a", None, "b", None, None], 2).n == 2
    nothing = behaviour_entropy([None, None], 24)
    assert (nothing.value, nothing.low, nothing.high, nothing.n) == (0.0, 0.0, 1.0, 0)


@pytest.mark.parametrize(
    ("share", "base", "n"),
    [
        ([0.35, 0.2, 0.15, 0.1, 0.1, 0.05, 0.05], 24, 200),
        ([1.3 / 24, 0.7 / 24] * 12, 24, 480),  # the percentile interval alone: 0.1
        ([0.6, 0.4], 2, 50),  # the basic interval alone: 0.65
    ],
    ids=["some modes", "many modes", "two modes"],
)
def test_the_entropy_interval_holds_the_truth_at_least_as_often_as_it_says(share, base, n):
    rng = np.random.default_rng(0)
    truth = stats.entropy(share, base=base)
    held = 0
    for _ in range(150):
        estimate = behaviour_entropy([str(mode) for mode in rng.choice(len(share), n, p=share)], base, resamples=400)
        held += estimate.low <= truth <= estimate.high
    assert held / 150 >= 0.93


@pytest.mark.parametrize("often", [25, 30, 44, 49], ids=["equally often", "ends at 1", "inside", "ends at 0"])
def test_the_entropy_interval_holds_the_quantiles_of_resampling_and_their_mirror_images_at_the_value(often):
    """Resampling two modes draws a binomial count: its entropies and their quantiles are known."""
    count = np.arange(51)
    entropy = stats.entropy([count, 50 - count], base=2)
    order = entropy.argsort()
    reached = stats.binom.pmf(count, 50, often / 50)[order].cumsum()
    first, last = entropy[order][np.searchsorted(reached, [0.025, 0.975])]
    estimate = behaviour_entropy(["left"] * often + ["right"] * (50 - often), 2)
    mirrored = 2 * entropy[often] - np.array([last, first])
    low, high = max(0.0, min(first, mirrored[0])), min(1.0, max(last, mirrored[1]))
    assert (estimate.low, estimate.high) == pytest.approx((low, high))


@pytest.mark.parametrize(("modes", "base"), [(["a", "b", "c"], 2), (["a"], 1)])
def test_entropy_of_more_modes_than_there_are_is_refused(modes, base):
    with pytest.raises(ConfigError, match=f"found {len(modes)} of {base}"):
        behaviour_entropy(modes, base)
