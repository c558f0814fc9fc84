"""Corrected rates: equal to the published estimators, unmoved by a bad grader, and as wide as they claim also where yes is rare."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from statsmodels.stats.proportion import proportion_confint

from cotdrift.contrast import bounds
from cotdrift.corrected import Corrected, corrected_mean, missing_bounds, pseudo_outcomes, rogan_gladen
from cotdrift.errors import InputError
from cotdrift.estimate import Sums, bootstrap, mean, paired_difference

NO = np.nan
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def study(
    rng: np.random.Generator, rate: float, *, n_prompts: int = 200, reps: int = 10, sensitivity: float = 0.8, specificity: float = 0.97
) -> tuple[Floats, Floats, Ints]:
    """Judgments, truth and prompts of traces, some prompts likelier to be yes than others (intraclass correlation 1/10)."""
    prompts = np.repeat(np.arange(n_prompts), reps)
    truth = rng.random(len(prompts)) < rng.beta(9 * rate, 9 * (1 - rate), n_prompts)[prompts]
    judged = rng.random(len(prompts)) < np.where(truth, sensitivity, 1 - specificity)
    return judged.astype(np.float64), truth.astype(np.float64), prompts


def some(rng: np.random.Generator, truth: Floats, labels: int) -> Floats:
    told = np.full(len(truth), NO)
    chosen = rng.choice(len(truth), labels, replace=False)
    told[chosen] = truth[chosen]
    return told


def held(found: list[Corrected], truth: float) -> float:
    return float(np.mean([one.low is not None and one.high is not None and one.low <= truth <= one.high for one in found]))


def width(found: list[Corrected]) -> float:
    return float(np.mean([one.high - one.low for one in found if one.high is not None and one.low is not None]))


def published(labels: Floats, judged: Floats, others: Floats, weight: float) -> tuple[float, float]:
    """PPI++'s mean and standard error for independent traces, as in Angelopoulos et al. (2023)."""
    value = weight * others.mean() + (labels - weight * judged).mean()
    return value, (weight**2 * others.var() / len(others) + (labels - weight * judged).var() / len(labels)) ** 0.5


def test_the_mean_is_that_of_ppi_when_traces_are_independent() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(2, 1, 3000)
    judged = truth + rng.normal(0.4, 0.7, 3000)
    told = some(rng, truth, 300)
    known = np.isfinite(told)
    among = corrected_mean(judged, told, np.arange(3000))
    best = np.cov(told[known], judged[known])[0, 1] / judged.var() / (1 + 300 / 2700)
    value, error = published(told[known], judged[known], judged[~known], best)
    assert among.value == pytest.approx(value, abs=0.25 * error)
    assert among.low is not None
    assert among.high is not None
    assert (among.high - among.low) / (2 * 1.968) == pytest.approx(error, rel=0.02)
    assert among.weight == pytest.approx(best * 3000 / 2700, abs=0.1)
    for weight in (0.0, 0.5, 1.0):
        fixed = corrected_mean(judged, told, np.arange(3000), weight=weight * 3000 / 2700)
        value, error = published(told[known], judged[known], judged[~known], weight)
        assert fixed.value == pytest.approx(value)
        assert (fixed.high - fixed.low) / (2 * 1.968) == pytest.approx(error, rel=0.02)  # type: ignore[operator]


def test_a_share_is_that_of_ppi_python() -> None:
    """Beside ppi-python 0.2.3 on the same data, whose intervals are symmetric and by normal quantiles."""
    rng = np.random.default_rng(0)
    truth = (rng.random(5000) < 0.3).astype(float)
    judged = (rng.random(5000) < np.where(truth == 1, 0.8, 0.03)).astype(float)
    told = some(rng, truth, 500)
    plain = corrected_mean(judged, told, np.arange(5000), weight=5000 / 4500)  # of all traces, where theirs is of the unlabelled
    assert plain.value == pytest.approx(0.30244444, abs=5e-9)
    assert (plain.low, plain.high) == pytest.approx((0.27289673, 0.33199216), abs=0.0015)
    tuned = corrected_mean(judged, told, np.arange(5000))
    assert tuned.value == pytest.approx(0.29810107, abs=0.001)
    assert (tuned.low, tuned.high) == pytest.approx((0.27071438, 0.32548777), abs=0.0015)


def test_no_weight_is_labels_alone() -> None:
    rng = np.random.default_rng(1)
    judged, truth, prompts = study(rng, 0.3)
    told = some(rng, truth, 200)
    known = np.isfinite(told)
    ours, alone = corrected_mean(judged, told, prompts, weight=0), mean(told[known], prompts[known], share=True)
    assert ours.value == pytest.approx(alone.value)
    assert (ours.low, ours.high) == pytest.approx((alone.low, alone.high), abs=0.002)


def test_a_published_simulation_is_reproduced() -> None:
    """Truth 5 %, sensitivity .8, specificity .97, 400 labels, 20,000 graded: widths .032 for PPI++ and .043 for labels alone."""
    corrected, alone, separate = [], [], []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        truth = (rng.random(20_000) < 0.05).astype(np.float64)
        judged = (rng.random(20_000) < np.where(truth == 1, 0.8, 0.03)).astype(np.float64)
        told = some(rng, truth, 400)
        known = np.isfinite(told)
        corrected.append(corrected_mean(judged, told, np.arange(20_000)))
        alone.append(corrected_mean(judged, told, np.arange(20_000), weight=0))
        apart = {"labels": told[known], "label_judged": judged[known], "label_prompts": np.arange(400)}
        separate.append(rogan_gladen(judged[~known], np.arange(19_600), **apart))
    assert width(corrected) == pytest.approx(0.032, abs=0.004)
    assert width(alone) == pytest.approx(0.043, abs=0.003)
    assert 0.045 <= width(separate) <= 0.062
    for found in (corrected, separate):
        assert np.mean([one.value for one in found]) == pytest.approx(0.05, abs=0.005)  # type: ignore[arg-type]
        assert held(found, 0.05) >= 0.87
        assert all(one.judged.low > 0.05 for one in found)  # type: ignore[operator]


def test_a_grader_that_knows_nothing_does_no_harm() -> None:
    rng = np.random.default_rng(2)
    _, truth, prompts = study(rng, 0.3)
    told = some(rng, truth, 300)
    guessed = rng.random(2000)
    ours, alone = (corrected_mean(guessed, told, prompts, weight=weight) for weight in (None, 0.0))
    assert abs(ours.weight or 0) < 0.3
    assert width([ours]) < 1.03 * width([alone])
    assert width([corrected_mean(3 * guessed, told, prompts, weight=1)]) > 1.5 * width([alone])


def test_the_scale_of_the_grader_does_not_matter() -> None:
    rng = np.random.default_rng(3)
    judged, truth, prompts = study(rng, 0.3)
    told = some(rng, truth, 300)
    one, other = corrected_mean(judged, told, prompts), corrected_mean(4 - 4 * judged, told, prompts)
    assert (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high))


def test_the_interval_agrees_with_prompts_drawn_again() -> None:
    rng = np.random.default_rng(4)
    judged, truth, prompts = study(rng, 0.3, n_prompts=120)
    told = some(rng, truth, 500)
    ours = corrected_mean(judged, told, prompts)
    known = np.isfinite(told)
    columns = [np.where(known, told, 0), np.where(known, judged, 0), known.astype(np.float64), judged, np.ones(1200)]
    sums = np.stack([np.bincount(prompts, column) for column in columns], axis=1)

    def statistic(weights: Floats) -> Floats:
        labels, on_labelled, many, on_all, n = (weights @ sums).T
        return np.asarray(labels / many + (ours.weight or 0) * (on_all / n - on_labelled / many))

    low, high = np.quantile(bootstrap(120, statistic, resamples=4000), [0.025, 0.975])
    assert (ours.low, ours.high) == pytest.approx((low, high), abs=0.12 * (high - low))


def test_pseudo_outcomes_are_averaged_to_the_corrected_mean_and_paired_between_checkpoints() -> None:
    rng = np.random.default_rng(5)
    differences = []
    for _ in range(60):
        rates = rng.beta(3, 7, 100)
        sides = []
        for shift in (0.0, 0.1):
            prompts = np.repeat(np.arange(100), 10)
            truth = (rng.random(1000) < np.clip(rates + shift, 0, 1)[prompts]).astype(np.float64)
            judged = (rng.random(1000) < np.where(truth == 1, 0.8, 0.03 + shift)).astype(np.float64)  # a grader that changes too
            told = some(rng, truth, 400)
            pseudo = pseudo_outcomes(judged, told, prompts)
            assert pseudo.values.mean() == pytest.approx(corrected_mean(judged, told, prompts).value)
            sides.append(Sums.of(pseudo.values, prompts))
        differences.append(paired_difference(*sides))
    told_apart = [one for one in differences if one is not None and one.low is not None and one.high is not None]
    assert np.mean([one.value for one in told_apart]) == pytest.approx(0.1, abs=0.015)
    assert np.mean([one.low <= 0.1 <= one.high for one in told_apart]) >= 0.87  # type: ignore[operator]


def test_equal_chances_are_no_chances() -> None:
    rng = np.random.default_rng(6)
    judged, truth, prompts = study(rng, 0.3)
    told = some(rng, truth, 300)
    one, other = corrected_mean(judged, told, prompts), corrected_mean(judged, told, prompts, chances=np.full(2000, 0.15))
    assert (one.value, one.low, one.high) == pytest.approx((other.value, other.low, other.high))


def test_labels_drawn_by_the_graders_word_are_undone() -> None:
    corrected, ignored = [], []
    for seed in range(80):
        rng = np.random.default_rng(seed)
        judged, truth, prompts = study(rng, 0.2)
        chances = np.where(judged == 1, 0.6, 0.1)
        told = np.where(rng.random(2000) < chances, truth, NO)
        corrected.append(corrected_mean(judged, told, prompts, chances=chances))
        ignored.append(corrected_mean(judged, told, prompts, weight=0))
    assert np.mean([one.value for one in corrected]) == pytest.approx(0.2, abs=0.01)  # type: ignore[arg-type]
    assert held(corrected, 0.2) >= 0.88
    assert held(ignored, 0.2) < 0.1


def test_scores_are_corrected_on_their_own_scale() -> None:
    rng = np.random.default_rng(7)
    truth = rng.integers(0, 5, 4000).astype(np.float64)
    judged = np.clip(truth + 1, 0, 4)
    found = corrected_mean(judged, some(rng, truth, 400), np.arange(4000) // 4)
    assert found.positives is None
    assert found.judged.value == pytest.approx(2.8, abs=0.1)
    assert found.low is not None
    assert found.high is not None
    assert found.low < truth.mean() < found.high
    assert "%" not in found.sentence()


def test_judgments_missing_where_the_truth_is_yes_are_made_up_for_by_labels() -> None:
    found = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        judged, truth, prompts = study(rng, 0.3)
        judged[(truth == 1) & (rng.random(2000) < 0.5)] = NO  # refuses where it matters
        found.append(corrected_mean(judged, some(rng, truth, 400), prompts))
    assert held(found, 0.3) >= 0.88
    assert np.mean([one.value for one in found]) == pytest.approx(0.3, abs=0.01)  # type: ignore[arg-type]
    assert all(one.missing > 0 and (one.bound_low, one.bound_high) == (one.low, one.high) for one in found)


def test_judgments_missing_where_nobody_labelled_leave_bounds() -> None:
    rng = np.random.default_rng(8)
    judged, truth, prompts = study(rng, 0.3)
    told = some(rng, truth, 400)
    judged[np.isnan(told) & (rng.random(2000) < 0.25)] = NO
    found = corrected_mean(judged, told, prompts)
    missing = np.isnan(judged).mean()
    assert found.low is not None
    assert found.high is not None
    assert found.bound_low == pytest.approx(found.low * (1 - missing))
    assert found.bound_high == pytest.approx(found.high * (1 - missing) + missing)
    assert "whatever they hold" in found.sentence()


@pytest.mark.parametrize("say", [0.0, 1.0])
def test_labels_that_all_say_the_same_have_an_exact_interval(say: float) -> None:
    told = np.where(np.arange(1000) < 100, say, NO)
    found = corrected_mean(np.full(1000, say), told, np.arange(1000))
    assert found.value == say
    low, high = proportion_confint(100 * say, 100, method="beta")
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.002)


def test_a_miss_that_was_not_seen_is_not_taken_for_none() -> None:
    judged = np.r_[np.ones(40), np.zeros(960)]
    told = np.full(1000, NO)
    told[:8], told[40:240] = [1, 1, 1, 0, 0, 0, 0, 0], 0
    found = corrected_mean(judged, told, np.arange(1000), chances=np.where(judged == 1, 0.2, 200 / 960))
    assert found.value == pytest.approx(0.04 * 3 / 8)
    assert found.high is not None
    assert found.high > 0.96 * (1 - 0.05 ** (1 / 200))


def test_one_label_or_none_gives_no_false_certainty() -> None:
    none = corrected_mean([1, 0, 1], [NO, NO, NO], [0, 1, 2])
    assert (none.value, none.low, none.judged.value) == (None, None, pytest.approx(2 / 3))
    assert "no labels" in none.sentence()
    one = corrected_mean([1, 0, 1, 0], [1, NO, NO, NO], range(4))
    assert one.low is not None
    assert one.high == 1.0
    assert one.low < 0.05
    few = corrected_mean([1.0, 2.0, 3.0], [1.5, 2.5, NO], range(3))
    assert few.low is None
    assert "too few prompts" in few.method


def test_chances_that_cannot_be_are_refused() -> None:
    with pytest.raises(InputError, match="chance"):
        corrected_mean([1, 0], [1, NO], [0, 1], chances=[1.5, 0.5])


def test_rogan_and_gladen_invert_the_graders_errors() -> None:
    apart = {
        "labels": np.repeat([1, 0], 400),
        "label_judged": np.tile(np.r_[np.ones(320), np.zeros(80)], 2),
        "label_prompts": np.arange(800),
    }
    apart["label_judged"][400:] = np.r_[np.ones(12), np.zeros(388)]
    judged = np.r_[np.ones(684), np.zeros(9316)]
    found = rogan_gladen(judged, np.arange(10_000), **apart)
    assert found.value == pytest.approx((0.0684 + 0.97 - 1) / 0.77)
    assert found.judged.value == pytest.approx(0.0684)
    a, se, fp = 0.0684, 0.8, 0.03
    error = (a * (1 - a) / 10_000 + found.value**2 * se * (1 - se) / 400 + (1 - found.value) ** 2 * fp * (1 - fp) / 400) ** 0.5 / 0.77
    assert (found.high - found.low) / (2 * 1.96) == pytest.approx(error, rel=0.06)  # type: ignore[operator]


def test_the_errors_of_both_samples_are_in_the_interval() -> None:
    apart = {"labels": np.repeat([1, 0], 50), "label_judged": np.r_[np.ones(40), np.zeros(58), np.ones(2)], "label_prompts": np.arange(100)}
    few, many = (rogan_gladen(np.arange(n) < 0.3 * n, np.arange(n), **apart) for n in (100, 100_000))
    more = {name: np.repeat(column, 100) for name, column in apart.items()}
    more["label_prompts"] = np.arange(10_000)
    sure = rogan_gladen(np.arange(100_000) < 30_000, np.arange(100_000), **more)
    assert width([few]) > 1.3 * width([many]) > 4 * width([sure])


def test_a_grader_no_better_than_chance_leaves_everything_possible() -> None:
    apart = {"labels": np.repeat([1, 0], 10), "label_judged": np.tile([1, 0], 10), "label_prompts": np.arange(20)}
    found = rogan_gladen([1, 0, 0, 1], range(4), **apart)
    assert (found.value, found.low, found.high) == (None, None, None)
    assert "no better than chance" in found.method
    apart["label_judged"][0:2] = 1
    hardly = rogan_gladen(np.tile([1, 0], 50), range(100), **apart)
    assert hardly.low == 0.0
    assert hardly.high == 1.0


def test_bounds_of_missing_judgments_are_those_of_all_no_and_all_yes() -> None:
    judged = np.array([1, 0, NO, NO, 1, 0, 0, 0.0])
    found = missing_bounds(judged, np.arange(8))
    assert bounds(mean(judged[[0, 1, 4, 5, 6, 7]], np.arange(6), missing=2)) == (found.lowest.value, found.highest.value)
    assert (found.lowest.missing, found.lowest.traces) == (2, 8)
    assert found.lowest.low < found.lowest.value < found.highest.value < found.highest.high  # type: ignore[operator]
    scores = missing_bounds([0, 4, NO, 2], range(4), ends=(0, 4))
    assert (scores.lowest.value, scores.highest.value) == (1.5, 2.5)


def test_a_judge_that_refuses_nine_times_of_ten_is_shown_as_one_that_says_little() -> None:
    judged = np.full(1000, NO)
    judged[:100] = np.arange(100) % 2
    found = missing_bounds(judged, np.arange(1000))
    assert (found.lowest.value, found.highest.value) == (0.05, 0.95)


rows = st.lists(
    st.tuples(st.sampled_from([0.0, 1.0, 0.3, NO]), st.sampled_from([0.0, 1.0, NO, NO]), st.integers(0, 7), st.floats(0.05, 1)),
    min_size=1,
    max_size=60,
)


@given(rows)
def test_any_share_is_inside_its_interval_and_both_are_shares(table: list[tuple[float, float, int, float]]) -> None:
    judged, labels, prompts, chances = (np.array(column) for column in zip(*table, strict=True))
    apart = {"labels": labels, "label_judged": judged, "label_prompts": prompts}
    for found in (
        corrected_mean(judged, labels, prompts),
        corrected_mean(judged, labels, prompts, chances=chances),
        corrected_mean(judged, labels, prompts, weight=1),
        rogan_gladen(judged, prompts, **apart, draws=500),
    ):
        numbers = [found.low, found.value, found.high, found.bound_low, found.bound_high]
        assert all(number is None or 0 <= number <= 1 for number in numbers)
        assert found.value is None or found.low is None or found.low <= found.value <= found.high  # type: ignore[operator]
        if None not in (found.low, found.bound_low):
            assert found.bound_low <= found.low + 1e-12  # type: ignore[operator]
            assert found.high <= found.bound_high + 1e-12  # type: ignore[operator]
        assert found.sentence()


@given(st.lists(st.tuples(st.floats(-100, 100), st.one_of(st.none(), st.floats(-100, 100)), st.integers(0, 5)), min_size=1, max_size=40))
def test_any_mean_is_finite_and_inside_its_interval(table: list[tuple[float, float | None, int]]) -> None:
    judged, labels, prompts = (list(column) for column in zip(*table, strict=True))
    found = corrected_mean(judged, labels, prompts)
    numbers = [number for number in (found.value, found.low, found.high, found.weight) if number is not None]
    assert all(math.isfinite(number) for number in numbers)
    assert found.low is None or found.low <= found.value <= found.high  # type: ignore[operator]


@pytest.mark.slow
@pytest.mark.parametrize("rate", [0.01, 0.05, 0.3])
def test_corrected_intervals_cover_and_the_graders_own_do_not(rate: float) -> None:
    corrected, separate, by_design, naive = [], [], [], []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        judged, truth, prompts = study(rng, rate)
        corrected.append(corrected_mean(judged, some(rng, truth, 300), prompts))
        there, truth_there, prompts_there = study(rng, rate)
        chosen = rng.choice(2000, 300, replace=False)
        apart = {"labels": truth_there[chosen], "label_judged": there[chosen], "label_prompts": prompts_there[chosen]}
        separate.append(rogan_gladen(judged, prompts, **apart))
        chances = np.where(judged == 1, min(150 / judged.sum(), 1), 150 / (2000 - judged.sum()))
        told = np.where(rng.random(2000) < chances, truth, NO)
        by_design.append(corrected_mean(judged, told, prompts, chances=chances))
        own = corrected[-1].judged
        naive.append(own.low <= rate <= own.high)  # type: ignore[operator]
    assert 0.91 <= held(corrected, rate) <= 0.995
    assert 0.91 <= held(by_design, rate) <= 0.995
    assert held([one for one in separate if one.low is not None], rate) >= 0.91
    assert np.mean(naive) < 0.35


def test_labels_from_elsewhere_count_by_their_chances() -> None:
    values, held_by, draws = [], 0, 60
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        judged, _, prompts = study(rng, 0.3)
        graded, truth, where = study(rng, 0.3)
        chances = np.where(graded == 1, 0.6, 0.15)
        told = np.where(rng.random(len(truth)) < chances, truth, NO)
        given = {"labels": told, "label_judged": graded, "label_prompts": where}
        found = rogan_gladen(judged, prompts, **given, label_chances=chances, draws=4000)
        values.append((found.value, rogan_gladen(judged, prompts, **given, draws=4000).value))
        assert found.low is not None and found.high is not None
        held_by += found.low <= 0.3 <= found.high
    by_chance, plain = np.mean(values, axis=0)
    assert by_chance == pytest.approx(0.3, abs=0.01) and abs(plain - 0.3) > 0.02
    assert held_by >= 0.9 * draws
