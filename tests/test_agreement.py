"""Agreement: equal to the published tables and to other people's code, and the same whatever the order of raters and items."""

import math
from collections.abc import Sequence
from itertools import permutations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from cotdrift.agreement import Agreement, Scale, agreement
from cotdrift.errors import InputError, NotEnough
from cotdrift.estimate import bootstrap
from cotdrift.panel import dawid_skene, majority

NO = math.nan
KRIPPENDORFF = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, NO, NO, NO],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NO, 3],
    [NO, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NO],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NO],
]
"""Four observers and twelve units, of Krippendorff's "Computing Krippendorff's alpha-reliability"; Gwet's raw4raters is the same."""
FLEISS = [
    [0, 0, 0, 0, 14],
    [0, 2, 6, 4, 2],
    [0, 0, 3, 5, 6],
    [0, 3, 9, 2, 0],
    [2, 2, 8, 1, 1],
    [7, 7, 0, 0, 0],
    [3, 2, 6, 3, 0],
    [2, 5, 3, 2, 2],
    [6, 5, 2, 1, 0],
    [0, 2, 2, 3, 7],
]
"""How many of fourteen raters gave each of five answers to ten items: the worked example of Fleiss' kappa."""

SCALES: tuple[Scale, ...] = ("nominal", "ordinal", "interval", "ratio")

answers = st.sampled_from([1.0, 2.0, 3.0, 4.0, NO])
tables = st.integers(2, 4).flatmap(
    lambda raters: st.lists(st.lists(answers, min_size=raters, max_size=raters), min_size=2, max_size=10)
)  # items, each with all raters


def of(table: list[list[float]], *, scale: Scale = "nominal") -> Agreement:
    return agreement(np.array(table).T, scale=scale, resamples=20)


def random_ratings(seed: int, *, raters: int = 4, items: int = 60) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 5, items)
    ratings = np.clip(truth + rng.integers(-1, 2, (raters, items)) * (rng.random((raters, items)) < 0.6), 0, 4).astype(np.float64)
    ratings[rng.random(ratings.shape) < 0.2] = NO
    return ratings


@pytest.mark.parametrize(("scale", "published"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849), ("ratio", 0.797)])
def test_alpha_of_the_published_table(scale: Scale, published: float) -> None:
    found = agreement(KRIPPENDORFF, scale=scale)
    assert found.alpha.value is not None
    assert round(found.alpha.value, 3) == published
    assert (found.items, found.raters, found.missing) == (11, 4, 7)


@pytest.mark.parametrize("scale", ["nominal", "ordinal", "interval"])
@pytest.mark.parametrize("seed", range(5))
def test_alpha_is_that_of_inspect(scale: Scale, seed: int) -> None:
    scorer = pytest.importorskip("inspect_ai.scorer")
    ratings = random_ratings(seed)
    items = [[value for value in column if not math.isnan(value)] for column in ratings.T.tolist()]
    scores = [scorer.SampleScore(score=scorer.Score(value=item)) for item in items if len(item) > 1]
    alpha = agreement(ratings, scale=scale, resamples=2).alpha.value
    assert alpha == pytest.approx(scorer.krippendorff_alpha(level=scale)(scores), rel=1e-12)


def test_fleiss_kappa_of_the_published_table() -> None:
    ratings = np.array([np.repeat([1, 2, 3, 4, 5], counts) for counts in FLEISS], np.float64).T
    found = agreement(ratings)
    assert found.fleiss is not None
    assert round(found.fleiss, 3) == 0.210
    assert found.alpha.value == pytest.approx(1 - (1 - found.fleiss) * 139 / 140)  # alpha is Fleiss' kappa, corrected for few ratings


def test_ac1_of_the_published_table() -> None:
    value = agreement(KRIPPENDORFF).ac1.value
    assert value is not None
    assert round(value, 5) == 0.77544
    weighted = agreement(KRIPPENDORFF, scale="ordinal").ac2
    assert weighted is not None
    assert weighted.value == pytest.approx(0.89894, abs=5e-6)  # irrCAC 0.4.4


@pytest.mark.parametrize("seed", range(3))
def test_ac2_is_what_pairs_of_raters_say(seed: int) -> None:
    ratings = random_ratings(seed)
    ends = 4 * 5 / 2

    def near(one: float, other: float) -> float:
        return 1 - abs(one - other) * (abs(one - other) + 1) / 2 / ends

    items = [[value for value in column if not math.isnan(value)] for column in ratings.T.tolist()]
    seen = np.mean([np.mean([near(*pair) for pair in permutations(item, 2)]) for item in items if len(item) > 1])
    shares = np.mean([[item.count(answer) / len(item) for answer in range(5)] for item in items if item], axis=0)
    whole = sum(near(one, other) for one in range(5) for other in range(5))
    chance = whole * (shares * (1 - shares)).sum() / (5 * 4)
    found = agreement(ratings, scale="ordinal", resamples=2).ac2
    assert found is not None
    assert found.value == pytest.approx((seen - chance) / (1 - chance))


@pytest.mark.parametrize("scale", SCALES)
def test_the_interval_is_that_of_items_drawn_again_by_prompt(scale: Scale) -> None:
    ratings, prompts = random_ratings(3) + 1, np.arange(60) // 3
    asked: Sequence[float] = (1, 2, 3, 4, 5)
    found = agreement(ratings, prompts, scale=scale, answers=asked, resamples=40, seed=5)
    weights = bootstrap(20, lambda weights: weights, resamples=40, seed=5).astype(int)
    drawn = [agreement(np.repeat(ratings, np.repeat(times, 3), axis=1), scale=scale, answers=asked, resamples=2) for times in weights]
    for ours, theirs in ((found.alpha, [one.alpha.value for one in drawn]), (found.ac1, [one.ac1.value for one in drawn])):
        assert (ours.low, ours.high) == pytest.approx(tuple(np.quantile(np.array(theirs, np.float64), [0.025, 0.975])), abs=1e-9)


def test_items_of_one_prompt_count_as_one() -> None:
    ratings = random_ratings(1)
    once, four = agreement(ratings), agreement(np.repeat(ratings, 4, axis=1), np.repeat(np.arange(60), 4))
    assert None not in (once.alpha.low, once.alpha.high, four.alpha.low, four.alpha.high)
    assert (four.alpha.low, four.alpha.high) == pytest.approx((once.alpha.low, once.alpha.high), abs=0.02)
    alone = agreement(np.repeat(ratings, 4, axis=1)).alpha
    assert alone.high - alone.low < 0.6 * (four.alpha.high - four.alpha.low)  # type: ignore[operator]


def test_a_rare_answer_makes_raw_agreement_high_and_alpha_low() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random(40_000) < 0.02
    ratings = np.where(rng.random((2, 40_000)) < 0.98, truth, ~truth).astype(np.float64)
    found = agreement(ratings, np.arange(40_000) // 400, resamples=100)
    assert found.raw.value == pytest.approx(0.961, abs=0.005)
    assert found.alpha.value == pytest.approx(0.48, abs=0.05)
    assert found.ac1.value == pytest.approx(0.96, abs=0.01)
    assert found.prevalence["1"] == pytest.approx(0.02 * 0.98 + 0.98 * 0.02, abs=0.003)
    assert "cannot be relied on" in found.sentence()


def test_each_rater_is_left_out_in_turn() -> None:
    ratings = random_ratings(2)
    ratings[3] = np.random.default_rng(9).integers(0, 5, 60)
    found = agreement(ratings, scale="ordinal", raters=["ann", "ben", "cat", "dice"], resamples=50)
    assert found.without["dice"] == pytest.approx(agreement(ratings[:3], scale="ordinal", resamples=2).alpha.value)
    assert max(found.without, key=lambda name: found.without[name] or -1) == "dice"
    assert found.range == (min(found.without.values()), found.without["dice"])  # type: ignore[type-var]
    assert agreement(ratings[:2], resamples=2).without == {}


def test_where_all_give_one_answer_nothing_is_known_of_alpha() -> None:
    found = agreement(np.zeros((3, 20)), answers=[0, 1])
    assert (found.raw.value, found.alpha.value, found.ac1.value, found.fleiss) == (1.0, None, 1.0, None)
    assert "nothing is known" in found.sentence()


def test_an_answer_too_rare_to_resample_has_no_interval() -> None:
    ratings = np.zeros((2, 50))
    ratings[:, 0] = 1
    found = agreement(ratings).alpha
    assert (found.value, found.low) == (pytest.approx(1.0), None)
    assert "too rare" in found.method


def test_no_item_with_two_answers_has_no_agreement() -> None:
    for ratings in ([[1, NO], [NO, 2]], [[1, 2, 3]], np.empty((2, 0)), [[NO], [NO]]):
        found = agreement(ratings)
        assert (found.items, found.raw.value, found.alpha.value) == (0, None, None)
        assert "nothing is known" in found.sentence()


def test_what_cannot_be_is_said() -> None:
    with pytest.raises(InputError, match="not among the answers"):
        agreement([[1, 2], [1, 3]], answers=[1, 2])
    with pytest.raises(InputError, match="too many"):
        agreement(np.random.default_rng(0).random((2, 30)))
    with pytest.raises(NotEnough):
        dawid_skene([[NO, NO]])


def test_measured_numbers_have_an_alpha_on_their_own_scale() -> None:
    rng = np.random.default_rng(4)
    truth = rng.normal(size=300)
    found = agreement(truth + rng.normal(size=(3, 300)) * 0.5, scale="interval", resamples=50)
    assert found.alpha.value == pytest.approx(0.8, abs=0.04)  # the share of variance between items: 1 / (1 + 1/4)


@pytest.mark.parametrize("seed", range(3))
def test_raters_are_as_good_as_they_were_made(seed: int) -> None:
    rng, planted = np.random.default_rng(seed), np.array([0.80, 0.73, 0.76, 0.60, 0.51])
    truth = rng.integers(0, 2, 4000)
    ratings = np.where(rng.random((5, 4000)) < planted[:, None], truth, 1 - truth).astype(np.float64)
    audit = dawid_skene(ratings)
    assert audit.accuracy == pytest.approx(planted, abs=0.05)
    assert audit.prevalence == pytest.approx([0.5, 0.5], abs=0.08)
    assert audit.confusion.sum(axis=2) == pytest.approx(np.ones((5, 2)))
    right, by_majority = (audit.likeliest == truth).mean(), (majority(ratings) == truth).mean()
    assert right > by_majority - 0.02


def test_what_a_rater_takes_for_what_is_found_with_ratings_missing() -> None:
    rng = np.random.default_rng(8)
    truth = rng.choice(3, 3000, p=[0.6, 0.3, 0.1])
    ratings = np.stack([np.where(rng.random(3000) < 0.85, truth, rng.integers(0, 3, 3000)) for _ in range(4)]).astype(np.float64)
    ratings[3] = np.where((truth == 2) & (rng.random(3000) < 0.7), 1, ratings[3])  # takes most of what is 2 for 1
    ratings[rng.random(ratings.shape) < 0.3] = NO
    audit = dawid_skene(ratings)
    assert audit.confusion[3, 2, 1] == pytest.approx(0.7 + 0.3 * 0.05, abs=0.08)
    assert audit.confusion[0, 2, 2] == pytest.approx(0.9, abs=0.05)


def test_the_majority_is_clear_or_none() -> None:
    assert majority([[0, 1, 2], [0, 2, NO], [1, NO, NO], [0, NO, NO]]).tolist() == [0, pytest.approx(NO, nan_ok=True), 2]
    assert np.isnan(majority([[NO, NO]])).all()


@given(tables, st.sampled_from(SCALES), st.randoms(use_true_random=False))
def test_the_order_of_raters_and_items_changes_nothing(table: list[list[float]], scale: Scale, random: np.random.Generator) -> None:
    order, whose = list(table), list(range(len(table[0])))
    random.shuffle(order)
    random.shuffle(whose)
    one, other = of(table, scale=scale), of([[item[rater] for rater in whose] for item in order], scale=scale)
    for ours, theirs in ((one.raw, other.raw), (one.alpha, other.alpha), (one.ac1, other.ac1)):
        assert (ours.value is None) == (theirs.value is None)
        assert ours.value is None or theirs.value == pytest.approx(ours.value)
    assert one.prevalence == pytest.approx(other.prevalence)


@given(tables, st.sampled_from(SCALES))
def test_coefficients_are_at_most_one_and_inside_their_intervals(table: list[list[float]], scale: Scale) -> None:
    found = of(table, scale=scale)
    for estimate in (found.raw, found.alpha, found.ac1, *([found.ac2] if found.ac2 else [])):
        assert estimate.value is None or (math.isfinite(estimate.value) and estimate.value <= 1 + 1e-12)
        assert estimate.low is None or estimate.low <= estimate.value <= estimate.high  # type: ignore[operator]


@given(st.lists(st.sampled_from([1.0, 2.0, 3.0]), min_size=2, max_size=12), st.integers(2, 4), st.sampled_from(SCALES))
def test_perfect_agreement_is_one(said: list[float], raters: int, scale: Scale) -> None:
    assume(len(set(said)) > 1)
    found = of([[answer] * raters for answer in said], scale=scale)
    assert (found.raw.value, found.alpha.value, found.ac1.value) == (1.0, pytest.approx(1.0), pytest.approx(1.0))


@given(tables, st.sampled_from(SCALES))
def test_who_says_nothing_and_what_one_alone_says_change_no_alpha(table: list[list[float]], scale: Scale) -> None:
    more = [[*item, NO] for item in table] + [[2.0, *[NO] * len(table[0])]]
    one, other = of(table, scale=scale).alpha.value, of(more, scale=scale).alpha.value
    assert (one is None) == (other is None)
    assert one is None or other == pytest.approx(one)


@given(tables)
def test_each_scale_means_what_it_says(table: list[list[float]]) -> None:
    def same(scale: Scale, change: dict[float, float]) -> bool:
        one, other = of(table, scale=scale), of([[change.get(value, value) for value in item] for item in table], scale=scale)
        return (one.alpha.value is None) == (other.alpha.value is None) and (
            one.alpha.value is None or math.isclose(one.alpha.value, other.alpha.value or 0, abs_tol=1e-9)
        )

    assert same("nominal", {1.0: 4.0, 4.0: 1.0, 2.0: 9.0})
    assert same("ordinal", {3.0: 50.0, 4.0: 51.0})
    assert same("interval", {value: 7 * value - 3 for value in (1.0, 2.0, 3.0, 4.0)})
    assert same("ratio", {value: 5 * value for value in (1.0, 2.0, 3.0, 4.0)})
