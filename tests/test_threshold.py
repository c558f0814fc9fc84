"""The threshold: planted curves and shifts are recovered, intervals hold what they promise, and no curve is drawn through none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import check_grad, minimize
from scipy.special import ndtr

from cotdrift import threshold as thresholds
from cotdrift.threshold import STARTS, WIDTH, Counts, Threshold, fit, places, shift, threshold

LEVELS, SCENARIOS = 7, 12


def rates(midpoint: Any, *, floor: float = 0.04, ceiling: float = 0.92, width: float = 0.6) -> Any:
    """The curve at each level, written out."""
    return floor + (ceiling - floor) * ndtr((places(LEVELS) - np.asarray(midpoint)[..., None]) * WIDTH / width)


def answered(rng: np.random.Generator, own: Any, *, asked: int = 8, **curve: float) -> Counts:
    """What scenarios with midpoints of their own are answered."""
    p = rates(own, **curve)
    return Counts(rng.binomial(asked, p).astype(np.float64), np.full(p.shape, float(asked)))


def pair(seed: int, moved: float, *, spread: float = 0.1) -> tuple[Counts, Counts]:
    """The same scenarios at two checkpoints, the midpoint of each moved alike."""
    rng = np.random.default_rng(seed)
    own = 0.7 + rng.normal(0, spread, SCENARIOS)
    return answered(rng, own), answered(rng, own + moved)


@pytest.fixture
def fewer_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that many studies can be simulated."""
    monkeypatch.setattr(thresholds, "RESAMPLES", 200)


def test_a_curve_that_was_planted_is_found() -> None:
    own = np.full(40, 0.55)
    found = threshold(answered(np.random.default_rng(1), own, asked=60)).curve
    assert found is not None
    assert found.midpoint.value == pytest.approx(0.55, abs=0.02)
    assert found.floor.value == pytest.approx(0.04, abs=0.02) and found.ceiling.value == pytest.approx(0.92, abs=0.03)
    assert found.width.value == pytest.approx(0.6, abs=0.08)
    slope = 0.88 * WIDTH / 0.6 / np.sqrt(2 * np.pi) / (LEVELS - 1)
    assert found.slope.value == pytest.approx(slope, rel=0.15)
    assert found.half == pytest.approx(float(np.interp(0.5, rates(0.55), places(LEVELS))), abs=0.03)
    np.testing.assert_allclose(found.band.rate, np.interp(found.band.x, places(LEVELS), rates(0.55)), atol=0.05)


def test_a_midpoint_that_moves_by_a_third_of_the_ladder_is_within_its_interval(fewer_resamples: None) -> None:
    found = [shift(*pair(seed, -0.35), seed=seed).midpoint for seed in range(24)]
    held = [one is not None and one.low is not None and one.high is not None and one.low <= -0.35 <= one.high for one in found]
    assert sum(held) >= 20, "19 of 20 are promised; fewer than 20 of 24 come by chance once in a hundred"
    assert all(one is not None and one.high is not None and one.high < 0 for one in found)
    assert np.mean([one.value for one in found if one]) == pytest.approx(-0.35, abs=0.03)


def test_a_midpoint_that_stays_is_not_found_to_move(fewer_resamples: None) -> None:
    found = [shift(*pair(100 + seed, 0.0), seed=seed).midpoint for seed in range(24)]
    apart = [one is not None and one.low is not None and one.high is not None and not one.low <= 0 <= one.high for one in found]
    assert sum(apart) <= 4


def test_the_floor_is_told_apart_from_the_midpoint() -> None:
    rng = np.random.default_rng(3)
    own = 0.7 + rng.normal(0, 0.05, SCENARIOS)
    found = shift(answered(rng, own, floor=0.02), answered(rng, own, floor=0.3))
    assert found.floor is not None and found.floor.low is not None and found.floor.p is not None
    assert found.floor.low > 0.1 and found.floor.p < 0.01
    assert found.whole is not None and found.whole.value > 0.1


@pytest.mark.parametrize(
    ("counts", "why"),
    [
        (Counts(np.zeros((0, 7)), np.zeros((0, 7))), "nothing was asked"),
        (Counts(np.zeros((9, 7)), np.full((9, 7), 4.0)), "no answer exploits it"),
        (Counts(np.full((9, 7), 4.0), np.full((9, 7), 4.0)), "every answer exploits it"),
        (Counts(np.ones((9, 4)), np.full((9, 4), 4.0)), "4 levels, and a curve takes 5"),
        (Counts(np.tile(np.arange(7.0), (5, 1)), np.full((5, 7), 8.0)), "5 scenarios, and a rise is clear from 6 on"),
        (Counts(np.tile([0, 1, 2, 3, 4, 5, 0], (9, 1)).astype(float), np.tile([8.0] * 6 + [0.0], (9, 1))), "a level was not asked"),
        (Counts(np.tile(np.arange(7.0)[::-1], (9, 1)), np.full((9, 7), 8.0)), "the rate falls as the levels rise"),
    ],
)
def test_where_there_is_no_curve_it_says_why(counts: Counts, why: str) -> None:
    found = threshold(counts)
    assert found.curve is None and found.why.startswith(why)
    assert len(found.levels) == counts.yes.shape[1]
    moved = shift(counts, counts, names=("step 0", "step 9"))
    assert moved.midpoint is None and moved.why.startswith(f"step 0: {why}") and f"step 9: {why}" in moved.why


def test_rates_that_only_scatter_have_no_curve() -> None:
    drawn = [np.random.default_rng(seed).binomial(8, 0.4, (SCENARIOS, LEVELS)).astype(np.float64) for seed in range(60)]
    found = [threshold(Counts(yes, np.full(yes.shape, 8.0)), resamples=2) for yes in drawn]
    assert sum(one.curve is not None for one in found) <= 5, "half of the one in twenty that seem to rise or fall seem to fall"
    assert 0.15 < np.mean([one.rise is not None and one.rise < 0.3 for one in found]) < 0.45


def test_scenarios_that_differ_widen_the_interval() -> None:
    rng = np.random.default_rng(5)
    alike = threshold(answered(rng, np.full(SCENARIOS, 0.6), asked=12)).curve
    apart = threshold(answered(rng, 0.6 + rng.normal(0, 0.25, SCENARIOS), asked=12)).curve
    assert alike is not None and apart is not None
    assert apart.midpoint.high - apart.midpoint.low > 2 * (alike.midpoint.high - alike.midpoint.low)


def test_a_shift_rests_on_the_scenarios_that_both_have() -> None:
    before, after = pair(7, -0.3)
    dropped = Counts(after.yes.copy(), after.asked.copy())
    dropped.yes[:3], dropped.asked[:3] = 0.0, 0.0
    found = shift(before, dropped)
    assert found.midpoint is not None and found.midpoint.prompts == SCENARIOS - 3
    other = shift(Counts(before.yes[3:], before.asked[3:]), Counts(after.yes[3:], after.asked[3:]))
    assert other.midpoint is not None and other.midpoint.value == pytest.approx(found.midpoint.value)


counts_of_any_kind = st.integers(1, 9).flatmap(
    lambda scenarios: st.integers(2, 8).flatmap(
        lambda levels: st.tuples(
            arrays(np.int64, (scenarios, levels), elements=st.integers(0, 6)),
            arrays(np.int64, (scenarios, levels), elements=st.integers(0, 6)),
        )
    )
)


@settings(max_examples=40)
@given(drawn=counts_of_any_kind)
def test_whatever_is_counted_every_number_is_finite_and_within_its_interval(drawn: tuple[Any, Any]) -> None:
    yes, no = drawn
    found: Threshold = threshold(Counts(yes.astype(np.float64), (yes + no).astype(np.float64)), resamples=20)
    assert (found.curve is None) is bool(found.why)
    for rate in (*found.levels, found.whole):
        assert rate.low is None or rate.value is None or rate.high is None or 0 <= rate.low <= rate.value <= rate.high <= 1
    if found.curve is None:
        return
    for name in ("midpoint", "floor", "ceiling", "width", "slope"):
        place = getattr(found.curve, name)
        assert np.isfinite([place.low, place.value, place.high]).all() and place.low <= place.value <= place.high
    assert 0 <= found.curve.floor.value <= found.curve.ceiling.value <= 1
    assert (np.diff(found.curve.band.rate) >= -1e-12).all()


def test_the_gradient_is_that_of_the_posterior_and_the_fit_is_its_top() -> None:
    rng = np.random.default_rng(2)
    x, yes, asked = places(LEVELS), rng.binomial(20, rates(0.4)).astype(np.float64)[None], np.full((1, LEVELS), 20.0)

    def score(at: Any) -> float:
        return -float(thresholds._posterior(x, yes, asked, np.asarray(at)[None])[0][0])

    def slope(at: Any) -> Any:
        return -thresholds._posterior(x, yes, asked, np.asarray(at)[None])[1][0]

    for at in ([0.4, -0.5, -2.0, -2.0], [-0.2, 0.3, -1.0, 0.5], [1.3, -2.0, 0.2, -3.0]):
        assert check_grad(score, slope, np.array(at)) < 1e-3
    begun = np.array([[middle, np.log(wide), -2.0, -2.0] for middle, wide in STARTS])
    fits = fit(x, np.repeat(yes, len(begun), axis=0), np.repeat(asked, len(begun), axis=0), begun)
    known = min(
        (minimize(score, at, method="Nelder-Mead", options={"maxiter": 8000, "xatol": 1e-7, "fatol": 1e-10}) for at in begun),
        key=lambda one: one.fun,
    )
    assert -fits.score.max() == pytest.approx(known.fun, abs=1e-6)
    assert fits.midpoint[fits.score.argmax()] == pytest.approx(known.x[0], abs=1e-3)


def test_psignifit_finds_the_same_curve() -> None:
    psignifit = pytest.importorskip("psignifit")
    rng = np.random.default_rng(4)
    for midpoint in (0.35, 0.6):
        yes, asked = rng.binomial(240, rates(midpoint)), np.full(LEVELS, 240)
        theirs = psignifit.psignifit(np.column_stack([places(LEVELS), yes, asked]).astype(float), experiment_type="yes/no", sigmoid="norm")
        ours = threshold(Counts(np.tile(yes / 12, (12, 1)), np.tile(asked / 12, (12, 1)).astype(np.float64))).curve
        assert ours is not None
        assert ours.midpoint.value == pytest.approx(theirs.parameter_estimate["threshold"], abs=0.02)
        assert ours.floor.value == pytest.approx(theirs.parameter_estimate["gamma"], abs=0.03)
