"""Rare events: labels go where they tell most, bounds hold, and what was not looked at is not taken for nothing."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from statsmodels.stats.proportion import proportion_confint

from cotdrift.errors import InputError, NotEnough
from cotdrift.rare import Rare, neyman, score_strata, two_phase

NO = np.nan


def sampled(
    rng: np.random.Generator, strata: NDArray[np.int64], truth: NDArray[np.bool_], counts: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Labels of so many traces of each stratum."""
    labels = np.full(len(truth), NO)
    for stratum, many in enumerate(counts):
        chosen = rng.choice(np.flatnonzero(strata == stratum), many, replace=False)
        labels[chosen] = truth[chosen]
    return labels


def test_a_stratum_has_clopper_and_pearsons_bounds() -> None:
    labels = np.r_[np.ones(3), np.zeros(57), np.full(940, NO)]
    found = two_phase(np.zeros(1000), labels, np.arange(1000))
    low, high = proportion_confint(3, 60, method="beta")
    assert found.value == pytest.approx(3 / 60)
    assert (found.at_least, found.at_most) == pytest.approx((low, high), rel=0.06)  # t for normal quantiles, as there are 60 prompts
    assert found.at_least < (found.low or 0) < (found.high or 0) < found.at_most


def test_none_of_three_thousand_leaves_an_upper_bound() -> None:
    found = two_phase(np.zeros(3000), np.zeros(3000), np.arange(3000))
    assert (found.value, found.low) == (0.0, 0.0)
    assert found.at_most == pytest.approx(0.00123, abs=5e-6)
    assert found.high == pytest.approx(found.at_most)


def test_prompts_make_labels_count_for_less() -> None:
    found = two_phase(np.zeros(3000), np.zeros(3000), np.arange(3000) // 10)
    assert found.at_most == pytest.approx(0.0123, abs=1e-4)


@pytest.mark.slow
def test_a_flag_alone_gives_no_upper_bound_to_speak_of() -> None:
    """A rate of 300 per million among 200,000 traces, a grader of sensitivity .7 and specificity .998, and 1,500 labels."""
    found: list[Rare] = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        truth = rng.random(200_000) < 300e-6
        flagged = np.where(truth, rng.random(200_000) < 0.7, rng.random(200_000) < 0.002)
        counts = np.array([1500 - flagged.sum(), flagged.sum()])
        labels = sampled(rng, flagged.astype(np.int64), truth, counts)
        found.append(two_phase(flagged, labels, np.arange(200_000)))
    truth_held = [one.at_least <= 300e-6 <= one.at_most for one in found]
    assert np.mean(truth_held) >= 0.95
    assert np.mean([one.confirmed for one in found]) == pytest.approx(211e-6, rel=0.06)
    assert np.median([one.at_least for one in found]) == pytest.approx(146e-6, rel=0.1)
    assert np.median([one.at_most for one in found]) == pytest.approx(4427e-6, rel=0.03)
    assert np.mean([one.low <= 300e-6 <= one.high for one in found]) >= 0.93  # type: ignore[operator]
    assert all(one.widest == 0 for one in found)
    assert "of the upper bound comes from" in found[0].sentence()


@pytest.mark.slow
def test_strata_of_scores_tell_a_rare_rate_better_than_a_flag() -> None:
    in_two, in_five, held = [], [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        truth = rng.random(50_000) < 0.002
        scores = np.where(truth, rng.beta(4, 2, 50_000), rng.beta(1, 12, 50_000))
        flagged, strata = (scores > 0.6).astype(np.int64), score_strata(scores, strata=5)
        for codes, rates, found in ((flagged, [0.001, 0.5], in_two), (strata, [1e-4, 1e-4, 2e-4, 1e-3, 0.05], in_five)):
            labels = sampled(rng, codes, truth, neyman(np.bincount(codes), rates, 1000))
            one = two_phase(codes, labels, np.arange(50_000))
            found.append(one.value)
            held.append(one.at_least <= 0.002 <= one.at_most)
    assert np.std(in_five) < 0.75 * np.std(in_two)  # type: ignore[arg-type]
    assert np.mean(in_five) == pytest.approx(0.002, abs=0.0003)  # type: ignore[arg-type]
    assert np.mean(held) >= 0.96


@pytest.mark.slow
def test_intervals_cover_a_rare_rate_by_strata() -> None:
    held, bounded = [], []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        prompts = np.repeat(np.arange(400), 10)
        truth = rng.random(4000) < rng.beta(0.01 * 9, 0.99 * 9, 400)[prompts]
        scores = np.where(truth, rng.beta(4, 2, 4000), rng.beta(1, 8, 4000))
        strata = score_strata(scores, strata=4)
        labels = sampled(rng, strata, truth, neyman(np.bincount(strata), [0.001, 0.005, 0.05, 0.4], 400))
        found = two_phase(strata, labels, prompts)
        held.append(found.low <= 0.01 <= found.high)  # type: ignore[operator]
        bounded.append(found.at_least <= 0.01 <= found.at_most)
    assert 0.92 <= np.mean(held) <= 0.995
    assert np.mean(bounded) >= 0.96


def test_a_stratum_without_labels_has_no_rate_and_every_bound() -> None:
    found = two_phase([0] * 90 + [1] * 10, [0.0] * 50 + [NO] * 50, range(100))
    assert (found.value, found.low) == (None, None)
    assert found.at_most > 0.1
    assert found.strata[1].high == 1.0
    assert found.widest == 1


def test_unequal_chances_within_a_stratum_are_undone() -> None:
    rng, means = np.random.default_rng(1), []
    for _ in range(200):
        truth = rng.random(2000) < 0.2
        chances = np.where(truth, 0.3, 0.1)
        labels = np.where(rng.random(2000) < chances, truth, NO)
        means.append(two_phase(np.zeros(2000), labels, np.arange(2000), chances=chances).value)
    assert np.mean(means) == pytest.approx(0.2, abs=0.006)  # type: ignore[arg-type]


def test_labels_and_chances_that_cannot_be_are_refused() -> None:
    with pytest.raises(InputError, match="1, 0, or NaN"):
        two_phase([0, 0], [0.5, NO], [0, 1])
    with pytest.raises(InputError, match="chance"):
        two_phase([0, 0], [1, NO], [0, 1], chances=[0, 0.5])


def test_no_traces_have_no_rate() -> None:
    found = two_phase([], [], [])
    assert (found.value, found.at_least, found.at_most, found.widest) == (None, 0.0, 1.0, None)


def test_neyman_is_size_times_spread() -> None:
    counts = neyman([5000, 3000, 2000], [0.1, 0.2, 0.5], 600, least=0)
    wanted = np.array([5000 * 0.3, 3000 * 0.4, 2000 * 0.5])
    assert counts == pytest.approx(600 * wanted / wanted.sum(), abs=1)
    assert counts.sum() == 600


def test_moving_a_label_elsewhere_makes_the_rate_less_certain() -> None:
    sizes, rates = np.array([4000, 300, 80, 40]), np.array([0.002, 0.05, 0.3, 0.6])
    counts = neyman(sizes, rates, 250, least=5)

    def variance(labels: NDArray[np.int64]) -> float:
        return float((sizes**2 * rates * (1 - rates) / labels).sum())

    for give, take in itertools.permutations(range(4), 2):
        moved = counts.copy()
        moved[give] -= 1
        moved[take] += 1
        if moved[give] >= 5 and moved[take] <= sizes[take]:
            assert variance(moved) >= 0.999 * variance(counts)


def test_too_few_labels_for_the_strata_are_refused() -> None:
    with pytest.raises(NotEnough, match="too few"):
        neyman([100, 100, 100], [0.1, 0.1, 0.1], 20, least=10)


def test_strata_are_in_the_order_of_scores_and_fine_where_scores_are_rare() -> None:
    scores = np.random.default_rng(0).beta(0.5, 10, 20_000)
    strata = score_strata(scores, strata=5)
    assert set(strata) == set(range(5))
    sizes = np.bincount(strata)
    assert (np.diff(sizes) < 0).all()
    tops = [scores[strata == stratum].max() for stratum in range(5)]
    assert all(top <= scores[strata == stratum + 1].min() for stratum, top in enumerate(tops[:-1]))


@given(st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6)), max_size=60), st.integers(1, 6))
def test_any_scores_have_strata(scores: list[float | None], strata: int) -> None:
    given_scores = np.array(scores, np.float64)
    codes = score_strata(given_scores, strata=strata)
    known = np.isfinite(given_scores)
    assert len(codes) == len(scores)
    assert len(set(codes[known])) <= strata
    assert not set(codes[known]) & set(codes[~known])
    order = np.argsort(given_scores[known], kind="stable")
    assert (np.diff(codes[known][order]) >= 0).all()


@given(st.lists(st.tuples(st.integers(0, 2_000), st.floats(0, 1)), min_size=1, max_size=6), st.integers(0, 3_000), st.integers(0, 20))
def test_every_label_is_placed_and_no_stratum_has_more_than_its_traces(strata: list[tuple[int, float]], labels: int, least: int) -> None:
    sizes, rates = (np.array(column) for column in zip(*strata, strict=True))
    floor = np.minimum(sizes, least)
    if labels < floor.sum():
        with pytest.raises(NotEnough):
            neyman(sizes, rates, labels, least=least)
        return
    counts = neyman(sizes, rates, labels, least=least)
    assert counts.sum() == min(labels, sizes.sum())
    assert (counts <= sizes).all()
    assert (counts >= floor).all()


@given(
    st.lists(st.tuples(st.integers(0, 2), st.sampled_from([0.0, 1.0, NO]), st.integers(0, 6), st.floats(0.05, 1)), min_size=1, max_size=50)
)
def test_any_rate_is_inside_its_interval_and_its_bounds(rows: list[tuple[int, float, int, float]]) -> None:
    strata, labels, prompts, chances = (np.array(column) for column in zip(*rows, strict=True))
    for found in (two_phase(strata, labels, prompts), two_phase(strata, labels, prompts, chances=chances)):
        assert 0 <= found.at_least <= found.at_most <= 1
        assert found.confirmed <= 1
        if found.value is not None:
            assert 0 <= found.low <= found.value <= found.high <= 1  # type: ignore[operator]
            assert found.at_least <= found.value + 1e-12
            assert found.value <= found.at_most + 1e-12
            assert found.low < found.high  # type: ignore[operator]
        assert found.sentence()
