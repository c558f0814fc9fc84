"""Calibration: a grader is worth what it was made to be, and a change over training is found where there is one, and seldom elsewhere."""

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from cotdrift.calibration import auroc, calibrate, placements
from cotdrift.estimate import bootstrap, mean

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

RNG = np.random.default_rng(11)
PROMPTS = np.repeat(np.arange(40), 5)
LABELS = (RNG.random(200) < RNG.beta(1, 2, 40)[PROMPTS]).astype(np.float64)
SCORES = 1.2 * LABELS + RNG.normal(size=40)[PROMPTS] * 0.7 + RNG.normal(size=200)


def graded(
    rng: np.random.Generator, sensitivities: tuple[float, ...], *, specificity: float = 0.9, n_prompts: int = 40
) -> tuple[Floats, Floats, Ints, Ints]:
    """Judgments, labels, prompts and groups: the same prompts in every group, and graders that do better on some prompts than on others."""
    groups, prompts = (index.ravel() for index in np.indices((len(sensitivities), n_prompts * 4)))
    prompts //= 4
    labels = rng.random(len(prompts)) < rng.beta(2, 4, n_prompts)[prompts]
    ease = rng.beta(8, 8, (2, n_prompts))[:, prompts]  # a half on average
    right = np.where(labels, 1 - 2 * (1 - np.array(sensitivities)[groups]) * ease[0], 1 - 2 * (1 - specificity) * ease[1])
    judged = np.where(rng.random(len(prompts)) < right, labels, ~labels)
    return judged.astype(np.float64), labels.astype(np.float64), prompts, groups


def test_sensitivity_and_specificity_are_shares_with_prompts_as_clusters() -> None:
    found = calibrate(SCORES, LABELS, PROMPTS, cut=0.5).every
    yes = LABELS == 1
    assert found.sensitivity == mean(SCORES[yes] >= 0.5, PROMPTS[yes], share=True)
    assert found.specificity == mean(SCORES[~yes] < 0.5, PROMPTS[~yes], share=True)
    assert (found.labels, found.positives) == (200, int(yes.sum()))


def test_the_cut_holds_for_labels_that_are_scores_too() -> None:
    found = calibrate([4, 3, 2, 1, 0], [3, 4, 3, 1, 2], range(5), cut=3)
    assert found.every.sensitivity.value == pytest.approx(2 / 3)
    assert found.every.specificity.value == 1.0
    assert found.prevalence.value == pytest.approx(3 / 5)


def test_auroc_is_that_of_mann_and_whitney() -> None:
    rounded = SCORES.round(1)
    oracle = scipy.stats.mannwhitneyu(rounded[LABELS == 1], rounded[LABELS == 0]).statistic / (LABELS.sum() * (1 - LABELS).sum())
    assert auroc(rounded, LABELS, PROMPTS).value == pytest.approx(oracle)


def test_the_variance_of_auroc_is_delongs_when_every_trace_is_a_prompt() -> None:
    rounded = SCORES.round(1)
    yes, no = rounded[LABELS == 1], rounded[LABELS == 0]
    wins = (yes[:, None] > no) + 0.5 * (yes[:, None] == no)
    delong = wins.mean(axis=1).var(ddof=1) / len(yes) + wins.mean(axis=0).var(ddof=1) / len(no)
    found = placements(rounded, LABELS == 1)
    assert found is not None
    assert found.influence @ found.influence == pytest.approx(delong, rel=0.02)
    assert found.influence.sum() == pytest.approx(0, abs=1e-12)


def test_the_interval_of_auroc_is_as_wide_as_prompts_drawn_again_make_it() -> None:
    def areas(weights: Floats) -> Floats:
        drawn = [np.repeat(np.arange(200), times.astype(int)[PROMPTS]) for times in weights]
        return np.array([found.area for rows in drawn if (found := placements(SCORES[rows], LABELS[rows] == 1))])

    low, high = np.quantile(bootstrap(40, areas, resamples=600), [0.025, 0.975])
    ours = auroc(SCORES, LABELS, PROMPTS)
    assert (ours.low, ours.high) == pytest.approx((low, high), abs=0.15 * (high - low))


def test_a_perfect_grader_still_has_an_interval() -> None:
    found = calibrate(np.repeat([1, 0], 30), np.repeat([1, 0], [30, 30]), np.arange(60)).every
    assert found.auroc.value == found.sensitivity.value == found.specificity.value == 1.0
    assert found.auroc.low == pytest.approx(0.025 ** (1 / 30))
    assert found.auroc.high == 1.0


def test_labels_of_one_kind_leave_the_other_unknown() -> None:
    found = calibrate([1, 0, 1], [1, 1, 1], [0, 1, 2])
    assert found.every.specificity.value is None
    assert found.every.auroc.value is None
    assert "unknown" in found.sentence()


def test_missing_judgments_are_counted_and_unlabelled_traces_are_not() -> None:
    found = calibrate([1, np.nan, 0, 1, 1], [1, 1, 0, 0, np.nan], range(5))
    assert (found.every.labels, found.judged.missing) == (4, 1)
    assert (found.every.sensitivity.value, found.every.sensitivity.missing) == (1.0, 1)
    assert "1 have no judgment" in found.sentence()


def test_groups_are_told_apart_by_name() -> None:
    judged, labels, prompts, groups = graded(np.random.default_rng(0), (0.9, 0.9))
    found = calibrate(judged, labels, prompts, groups=groups, names=["early", "late"])
    assert [group.name for group in found.groups] == ["early", "late"]
    early = groups == 0
    assert found.groups[0].sensitivity == calibrate(judged[early], labels[early], prompts[early]).every.sensitivity
    assert [change.what for change in found.changes] == ["sensitivity", "specificity", "AUROC"]
    assert calibrate(judged, labels, prompts).changes == ()


def test_a_grader_that_gets_worse_is_found_out() -> None:
    found = [
        calibrate(*graded(np.random.default_rng(seed), (0.9, 0.85, 0.6), n_prompts=60)[:3], groups=np.repeat([0, 1, 2], 240), seed=seed)
        for seed in range(20)
    ]
    assert sum(one.is_stable is False for one in found) >= 18
    assert all(change.what != "specificity" or (change.p or 0) > 0.001 for one in found for change in one.changes)
    assert "sensitivity differs" in next(one for one in found if not one.is_stable).sentence()


def test_a_grader_that_is_always_right_in_one_group_is_tested_too() -> None:
    labels, prompts = np.ones(80), np.tile(np.arange(40), 2)
    judged = np.where((np.arange(80) < 40) | (prompts % 3 > 0), 1.0, 0.0)
    found = calibrate(judged, labels, prompts, groups=np.repeat([0, 1], 40))
    assert found.changes[0].p is not None
    assert found.changes[0].p < 0.01


@pytest.mark.slow
def test_a_grader_that_stays_the_same_is_called_changed_as_seldom_as_promised() -> None:
    p: dict[str, list[float]] = {"sensitivity": [], "specificity": [], "AUROC": []}
    any_change = []
    for seed in range(300):
        judged, labels, prompts, groups = graded(np.random.default_rng(seed), (0.85, 0.85, 0.85))
        found = calibrate(judged, labels, prompts, groups=groups, seed=seed)
        any_change.append(found.is_stable is False)
        for change in found.changes:
            assert change.p is not None
            p[change.what].append(change.p)
    for what, values in p.items():
        assert 0.02 <= np.mean(np.array(values) <= 0.05) <= 0.09, what
    assert np.mean(any_change) <= 0.08


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans(), st.integers(0, 5), st.integers(0, 2)), min_size=1, max_size=40))
def test_any_calibration_is_between_nought_and_one(rows: list[tuple[float, bool, int, int]]) -> None:
    judged, labels, prompts, groups = (np.array(column, np.float64) for column in zip(*rows, strict=True))
    found = calibrate(judged, labels, prompts, groups=groups)
    for group in (found.every, *found.groups):
        for estimate in (group.sensitivity, group.specificity, group.auroc):
            assert estimate.value is None or 0 <= estimate.value <= 1
            assert estimate.low is None or 0 <= estimate.low <= estimate.value <= estimate.high <= 1  # type: ignore[operator]
    assert all(change.p is None or 0 <= change.p <= 1 for change in found.changes)
    assert found.sentence()


def test_weights_are_as_many_traces_of_the_same_kind() -> None:
    weights = RNG.integers(1, 4, 200)
    many = np.repeat(np.arange(200), weights)
    ours, theirs = placements(SCORES.round(1), LABELS == 1, weights.astype(float)), placements(SCORES.round(1)[many], LABELS[many] == 1)
    assert ours is not None and theirs is not None
    assert ours.area == pytest.approx(theirs.area)
    assert np.bincount(PROMPTS, ours.influence) == pytest.approx(np.bincount(PROMPTS[many], theirs.influence))
    found = calibrate(SCORES, LABELS, PROMPTS, chances=1 / (2 * weights), cut=0.5).every
    again = calibrate(SCORES[many], LABELS[many], PROMPTS[many], cut=0.5).every
    for what in ("sensitivity", "specificity", "auroc"):
        assert getattr(found, what).value == pytest.approx(getattr(again, what).value)
    assert (found.auroc.low, found.auroc.high) == pytest.approx((again.auroc.low, again.auroc.high))


def test_equal_chances_are_no_chances() -> None:
    groups = np.arange(200) % 3
    one, other = (calibrate(SCORES, LABELS, PROMPTS, groups=groups, chances=chances) for chances in (None, np.full(200, 0.5)))
    assert one == other


def test_labels_made_where_the_grader_said_yes_do_not_flatter_it() -> None:
    """Verification bias: of what the grader says no to, few are looked at, and so few of its misses are seen."""
    covered, plain, draws = np.zeros(3), [], 150
    for seed in range(draws):
        rng = np.random.default_rng(seed)
        prompts = np.repeat(np.arange(150), 8)
        truth = rng.random(1200) < rng.beta(1.5, 4.5, 150)[prompts]
        judged = (rng.random(1200) < np.where(truth, 0.7, 0.1)).astype(float)
        chances = np.where(judged == 1, 0.8, 0.2)
        labels = np.where(rng.random(1200) < chances, truth, np.nan)
        found = calibrate(judged, labels, prompts, chances=chances).every
        for place, (estimate, real) in enumerate(((found.sensitivity, 0.7), (found.specificity, 0.9), (found.auroc, 0.8))):
            assert estimate.low is not None and estimate.high is not None
            covered[place] += estimate.low <= real <= estimate.high
        plain.append(calibrate(judged, labels, prompts).every.sensitivity.value)
    assert np.mean(plain) > 0.85  # without chances
    assert (covered >= 0.91 * draws).all()


def test_a_change_in_who_is_labelled_is_no_change_of_the_grader() -> None:
    found = []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        groups, prompts = (index.ravel() for index in np.indices((2, 800)))
        prompts = prompts // 8
        truth = rng.random(1600) < 0.3
        judged = (rng.random(1600) < np.where(truth, 0.7, 0.1)).astype(float)
        chances = np.where(judged == 1, 0.8, np.where(groups == 0, 0.1, 0.7))
        labels = np.where(rng.random(1600) < chances, truth, np.nan)
        found.append([calibrate(judged, labels, prompts, groups=groups, chances=given).is_stable for given in (chances, None)])
    weighted, plain = np.mean(found, axis=0)
    assert weighted >= 0.9 and plain < 0.2
