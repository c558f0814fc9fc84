"""Estimates: equal to other people's code where there is any, and as wide as they claim."""

import math

import numpy as np
import pytest
import scipy.stats
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from statsmodels.stats.proportion import proportion_confint

from cotdrift.estimate import (
    Estimate,
    Sums,
    benjamini_hochberg,
    bootstrap,
    effective_size,
    holm,
    mean,
    paired_difference,
    paired_ratio,
    poststratified,
    rate,
    sign_flip,
)

RNG = np.random.default_rng(7)
PROMPTS = RNG.integers(0, 25, 160)
VALUES = RNG.normal(size=25)[PROMPTS] + RNG.normal(size=160)
COUNTS = RNG.poisson(RNG.gamma(1.5, 1, 25)[PROMPTS])
WORDS = RNG.integers(200, 900, 160)

traces = st.lists(st.tuples(st.floats(-1e9, 1e9), st.integers(0, 6), st.integers(0, 2)), min_size=1, max_size=40)
counted = st.lists(st.tuples(st.integers(0, 50), st.integers(1, 10_000), st.integers(0, 6)), min_size=1, max_size=40)


def assert_sound(estimate: Estimate) -> None:
    numbers = [number for number in (estimate.value, estimate.low, estimate.high) if number is not None]
    assert all(type(number) is float and math.isfinite(number) for number in numbers)
    assert (estimate.low is None) == (estimate.high is None)
    if estimate.value is not None and estimate.low is not None and estimate.high is not None:
        assert estimate.low <= estimate.value <= estimate.high
    assert "no interval" in estimate.method or "no traces" in estimate.method or estimate.low is not None


def test_a_mean_is_that_of_a_regression_with_errors_clustered_by_prompt() -> None:
    oracle = sm.OLS(VALUES, np.ones(160)).fit(cov_type="cluster", cov_kwds={"groups": PROMPTS}, use_t=True)
    ours = mean(VALUES, PROMPTS)
    assert [ours.value, ours.low, ours.high] == pytest.approx([oracle.params[0], *oracle.conf_int()[0]], rel=1e-9)
    assert (ours.traces, ours.prompts) == (160, len(set(PROMPTS)))


def test_a_mean_that_cannot_be_negative_has_no_interval_below_zero() -> None:
    lengths = np.exp(2 * VALUES)
    ours = mean(lengths, PROMPTS)
    oracle = sm.OLS(lengths, np.ones(160)).fit(cov_type="cluster", cov_kwds={"groups": PROMPTS}, use_t=True)
    assert ours.low is not None
    assert ours.low > 0
    assert ours.value is not None
    width = (oracle.conf_int()[0][1] - oracle.params[0]) / oracle.params[0]
    assert ours.low == pytest.approx(ours.value / np.exp(width))


def test_a_rate_is_that_of_a_poisson_regression_with_errors_clustered_by_prompt() -> None:
    model = sm.GLM(COUNTS, np.ones(160), family=sm.families.Poisson(), exposure=WORDS)
    oracle = model.fit(cov_type="cluster", cov_kwds={"groups": PROMPTS}, use_t=True)
    ours = rate(COUNTS, WORDS, PROMPTS)
    assert [ours.value, ours.low, ours.high] == pytest.approx(np.exp([oracle.params[0], *oracle.conf_int()[0]]) * 1e6, rel=1e-6)


def test_a_share_of_independent_traces_is_wilson_with_t() -> None:
    yes = np.arange(40) < 11
    ours = mean(yes, np.arange(40))
    alpha = 2 * scipy.stats.norm.sf(scipy.stats.t.isf(0.025, 39))
    assert (ours.low, ours.high) == pytest.approx(proportion_confint(11 * 39 / 40, 39, alpha, method="wilson"))


def test_traces_that_repeat_their_prompt_count_once() -> None:
    yes = np.arange(40) < 11
    once, eight_times = mean(yes, np.arange(40)), mean(np.repeat(yes, 8), np.repeat(np.arange(40), 8))
    assert (eight_times.low, eight_times.high) == pytest.approx((once.low, once.high))


@pytest.mark.parametrize("said", [0, 1])
def test_a_share_of_none_or_all_has_an_exact_interval_over_prompts(said: int) -> None:
    ours = mean(np.full(120, said), np.repeat(np.arange(30), 4))
    assert (ours.low, ours.high) == pytest.approx(proportion_confint(30 * said, 30, method="beta"))


def test_a_word_never_seen_has_an_upper_bound() -> None:
    nothing = rate(np.zeros(200), np.full(200, 500), np.arange(200))
    assert nothing.low == 0
    assert nothing.high == pytest.approx(3.689 / 100_000 * 1e6, rel=1e-3)
    assert rate(np.zeros(200), np.full(200, 500), np.arange(200) // 4).high == pytest.approx(4 * nothing.high)
    assert rate(np.zeros(200), np.full(200, 500), np.arange(200) // 4, design_effect=1.5).high == pytest.approx(1.5 * nothing.high)


def test_one_prompt_has_no_interval_and_says_so() -> None:
    for estimate in (mean([2.0, 3.0], [0, 0]), rate([1, 2], [10, 10], [0, 0]), mean([1, 0], [0, 0])):
        assert estimate.low is None
        assert "one prompt" in estimate.method


def test_no_traces_have_no_value() -> None:
    assert mean([], []).value is None
    assert rate([], [], []).value is None


def test_a_paired_difference_is_the_paired_t_test_on_prompt_means() -> None:
    before = Sums.of(VALUES, PROMPTS, n_prompts=30)
    after = Sums.of(VALUES[::-1] + 0.3, PROMPTS + 3, n_prompts=30)
    ours = paired_difference(before, after)
    shared = np.isfinite(before.means - after.means)
    oracle = scipy.stats.ttest_rel(after.means[shared], before.means[shared])
    interval = oracle.confidence_interval()
    assert ours is not None
    assert (ours.low, ours.high) == pytest.approx((interval.low, interval.high))
    assert ours.prompts == shared.sum()
    assert ours.p == pytest.approx(oracle.pvalue, abs=0.03)


def test_few_prompts_are_flipped_in_every_way() -> None:
    differences = np.array([0.4, 1.1, -0.2, 0.9, 0.7, 0.3, 0.5])
    oracle = scipy.stats.permutation_test((differences,), np.sum, permutation_type="samples", n_resamples=np.inf)
    assert sign_flip(differences[:, None]) == pytest.approx(oracle.pvalue)


def test_a_paired_ratio_is_the_ratio_of_means_over_shared_prompts() -> None:
    before, after = Sums.of([2, 4, 9], [0, 1, 2], n_prompts=4), Sums.of([1, 2, 70], [0, 1, 3], n_prompts=4)
    ours = paired_ratio(before, after)
    assert ours is not None
    assert (ours.value, ours.prompts, ours.low) == (0.5, 2, None)
    assert paired_ratio(before, Sums.of([0, 0], [0, 1], n_prompts=4)) is None
    assert paired_ratio(before, Sums.of([5], [3], n_prompts=4)) is None


def test_poststratifying_undoes_a_changed_mix() -> None:
    environment = np.repeat([0, 1], [80, 20])
    words = np.full(100, 10_000.0)
    counts = np.random.default_rng(3).poisson(np.where(environment == 0, 20, 200) * words / 1e6 * 5) / 5
    ours = poststratified(counts, np.arange(100), environment, [1, 1], exposure=words / 1e6)
    assert ours.value == pytest.approx(np.mean([counts[:80].mean(), counts[80:].mean()]) * 100)
    assert_sound(ours)
    assert poststratified(counts, np.arange(100), np.zeros(100), [1, 1]).value is None


def test_poststratifying_by_the_mix_there_is_changes_nothing() -> None:
    crude, ours = mean(VALUES, PROMPTS), poststratified(VALUES, PROMPTS, np.zeros(160), [3.0])
    assert (ours.value, ours.low, ours.high) == pytest.approx((crude.value, crude.low, crude.high))


def test_a_share_counts_as_many_traces_as_are_independent() -> None:
    prompts = np.arange(400) // 4
    yes = np.random.default_rng(5).random(400) < 0.3
    assert effective_size(Sums.of(yes, np.arange(400))) == pytest.approx(400)
    many = np.random.default_rng(5).random(40_000) < 0.3
    assert effective_size(Sums.of(many, np.arange(40_000) // 4)) == pytest.approx(40_000, rel=0.05)
    assert effective_size(Sums.of(np.repeat(yes[:100], 4), prompts)) == pytest.approx(100, rel=0.02)
    assert effective_size(Sums.of(np.zeros(400), prompts)) == effective_size(Sums.of(np.ones(400), prompts)) == 100
    one = effective_size(Sums.of(np.arange(400) == 0, prompts))  # which cannot show that traces are independent
    assert 100 < one < effective_size(Sums.of(np.arange(400) % 40 == 0, prompts)) < 400
    assert effective_size(Sums.of([], [])) == 0


def test_the_bootstrap_agrees_with_the_closed_form() -> None:
    sums = Sums.of(VALUES, PROMPTS).sampled
    draws = bootstrap(len(sums.size), lambda weights: (weights @ sums.total) / (weights @ sums.size), resamples=4000)
    ours = mean(VALUES, PROMPTS)
    assert ours.low is not None
    assert ours.high is not None
    assert np.quantile(draws, [0.025, 0.975]) == pytest.approx([ours.low, ours.high], abs=0.15 * (ours.high - ours.low))


def test_the_bootstrap_draws_within_strata_and_again_from_the_same_seed() -> None:
    strata = np.array([0, 0, 0, 1, 1, 2])
    weights = bootstrap(6, lambda weights: weights, strata=strata, resamples=50, seed=3)
    assert weights.shape == (50, 6)
    for code, size in enumerate((3, 2, 1)):
        assert (weights[:, strata == code].sum(axis=1) == size).all()
    assert (weights == bootstrap(6, lambda weights: weights, strata=strata, resamples=50, seed=3)).all()


def test_adjusting_leaves_out_what_was_not_tested() -> None:
    assert holm([0.01, None, 0.04]) == [pytest.approx(0.02), None, pytest.approx(0.04)]
    assert benjamini_hochberg([None, 0.03, 0.04]) == [None, pytest.approx(0.04), pytest.approx(0.04)]
    assert holm([None]) == [None]
    assert benjamini_hochberg([]) == []


@given(traces)
def test_any_mean_is_finite_and_inside_its_interval(rows: list[tuple[float, int, int]]) -> None:
    values, prompts, environments = (list(column) for column in zip(*rows, strict=True))
    assert_sound(mean(values, prompts))
    ours = poststratified(values, prompts, environments, [0.2, 0.5, 0.3])
    assert ours.value is None or (math.isfinite(ours.value) and (ours.low is None or ours.low <= ours.value <= ours.high))


@given(traces, st.randoms(use_true_random=False))
def test_the_order_of_traces_changes_nothing(rows: list[tuple[float, int, int]], random: np.random.Generator) -> None:
    shuffled = rows.copy()
    random.shuffle(shuffled)
    one, other = (mean([row[0] > 0 for row in order], [row[1] for row in order]) for order in (rows, shuffled))
    assert one == other


@given(counted)
def test_any_rate_is_finite_and_inside_its_interval(rows: list[tuple[int, int, int]]) -> None:
    counts, words, prompts = (list(column) for column in zip(*rows, strict=True))
    assert_sound(rate(counts, words, prompts))


@given(st.lists(st.booleans(), min_size=1, max_size=30), st.integers(1, 5))
def test_any_share_stays_between_none_and_all(said: list[bool], reps: int) -> None:
    ours = mean(said, np.arange(len(said)) // reps)
    assert_sound(ours)
    assert ours.low is None or (ours.low >= 0 and ours.high is not None and ours.high <= 1)


def covered(estimates: list[Estimate], truth: float) -> float:
    held = [estimate.low <= truth <= estimate.high for estimate in estimates if estimate.low is not None and estimate.high is not None]
    return float(np.mean(held))


def bursty(rng: np.random.Generator, n_prompts: int, reps: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Counts, words and prompts of a word at 120 per million that some prompts and some traces like more than others."""
    prompts = np.repeat(np.arange(n_prompts), reps)
    words = rng.integers(500, 3000, n_prompts * reps)
    liking = rng.gamma(2, 1 / 2, n_prompts)[prompts] * rng.gamma(1, 1, n_prompts * reps)
    return rng.poisson(liking * words * 120e-6), words, prompts


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    rates, means, shares = [], [], []
    for _ in range(300):
        counts, words, prompts = bursty(rng, 60, 8)
        rates.append(rate(counts, words, prompts))
        means.append(mean(rng.normal(size=30)[prompts % 30] + rng.normal(size=480), prompts % 30))
        shares.append(mean(rng.random(480) < rng.beta(0.5, 4.5, 60)[prompts], prompts))
    assert 0.91 <= covered(rates, 120) <= 0.98
    assert 0.92 <= covered(means, 0) <= 0.98
    assert 0.92 <= covered(shares, 0.1) <= 0.98


def test_chance_alone_is_called_a_difference_as_seldom_as_promised() -> None:
    rng = np.random.default_rng(1)
    p = [sign_flip(rng.standard_t(4, (30, 5)), draws=499, seed=seed) for seed in range(400)]
    assert 0.02 <= np.mean([value is not None and value <= 0.05 for value in p]) <= 0.08


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_adjusted_p_values_are_those_of_statsmodels(p: list[float]) -> None:
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    assert holm(p) == pytest.approx(multitest.multipletests(p, method="holm")[1].tolist())
    assert benjamini_hochberg(p) == pytest.approx(multitest.multipletests(p, method="fdr_bh")[1].tolist())
