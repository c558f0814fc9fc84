"""Contrasts between conditions: they find what was planted, claim nothing where nothing was, and say what a design cannot tell."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
import scipy.linalg
from hypothesis import given
from hypothesis import strategies as st

from cotdrift.contrast import band_over, bounds, by_level, difference, fit, main_effects, slope
from cotdrift.estimate import Estimate, Sums, mean, paired_difference

TONES = {"tone": ("kind", "plain", "curt")}


def asked(
    *, prompts: int = 60, reps: int = 4, effect: float = 0.0, rate: float = 0.4, seed: int = 0, **factors: tuple[str, ...]
) -> pl.DataFrame:
    """Answers to prompts at random levels; the last level of the first factor is said yes to more often by `effect`."""
    rng = np.random.default_rng(seed)
    factors = factors or TONES
    levels = {factor: rng.permutation(np.resize(np.array(named), prompts)) for factor, named in factors.items()}
    first = next(iter(factors))
    chance = rate + rng.uniform(-0.15, 0.15, prompts) + effect * (levels[first] == factors[first][-1])
    return pl.DataFrame(
        {
            "prompt_id": np.repeat([f"prompt {prompt}" for prompt in range(prompts)], reps),
            "value": (rng.random((prompts, reps)) < chance[:, None]).ravel().astype(float),
            **{f"condition_{factor}": np.repeat(named, reps) for factor, named in levels.items()},
        }
    )


def test_the_rate_at_a_level_is_that_of_its_traces_alone() -> None:
    frame = asked()
    here = frame.filter(pl.col("condition_tone") == "curt")
    alone = mean(here["value"], here["prompt_id"].rank("dense").to_numpy() - 1)
    assert by_level(frame, "tone", levels=TONES["tone"])["curt"] == alone
    assert list(by_level(frame, "tone", levels=TONES["tone"])) == ["kind", "plain", "curt"]
    assert by_level(frame, "colour") == {}


def test_values_that_are_missing_are_counted_at_their_level() -> None:
    frame = asked().with_columns(value=pl.when(pl.col("condition_tone") != "kind").then(pl.col("value")))
    found = by_level(frame, "tone")
    assert found["kind"].value is None
    assert [found[level].missing for level in ("curt", "kind")] == [0, 80]


def test_errors_are_those_of_statsmodels_where_a_prompt_has_one_row() -> None:
    linear_model = pytest.importorskip("statsmodels.regression.linear_model")
    rng = np.random.default_rng(0)
    design = np.column_stack([np.ones(50), rng.integers(0, 2, (50, 6))])
    values = rng.random(50)
    model = fit(design, values, np.arange(50))
    oracle = linear_model.OLS(values, design).fit(cov_type="HC2")
    assert model.coefficients == pytest.approx(oracle.params)
    assert np.sqrt((model.influence**2).sum(axis=0)) == pytest.approx(oracle.bse)
    assert model.freedom == 43
    assert model.known.all() and model.shared.all()


def test_errors_are_those_of_bell_and_mccaffrey_where_it_has_several() -> None:
    rng = np.random.default_rng(1)
    prompts = np.repeat(np.arange(15), 4)
    design = np.column_stack([np.ones(60), rng.integers(0, 2, (60, 3))]).astype(float)
    values = rng.random(60) + rng.random(15)[prompts]
    bread = np.linalg.inv(design.T @ design)
    residual = values - design @ (bread @ design.T @ values)
    meat = np.zeros((4, 4))
    for prompt in range(15):
        rows = design[prompts == prompt]
        root = scipy.linalg.fractional_matrix_power(np.eye(4) - rows @ bread @ rows.T, -0.5)
        score = rows.T @ root @ residual[prompts == prompt]
        meat += np.outer(score, score)
    ours = fit(design, values, prompts)
    assert (ours.influence**2).sum(axis=0) == pytest.approx(np.diag(bread @ meat @ bread))


def test_where_every_prompt_has_every_level_the_contrast_is_the_paired_difference() -> None:
    rng = np.random.default_rng(2)
    liking = rng.random(30)
    frame = pl.DataFrame(
        {
            "prompt_id": np.tile([f"{prompt}" for prompt in range(30)], 2),
            "condition_tone": ["kind"] * 30 + ["curt"] * 30,
            "value": np.concatenate([liking, liking + rng.normal(0.3, 0.1, 30)]),
        }
    )
    found = difference(frame, "tone", "kind", "curt", {})
    numbers = frame["prompt_id"].rank("dense").to_numpy() - 1
    oracle = paired_difference(Sums.of(frame["value"][:30], numbers[:30]), Sums.of(frame["value"][30:], numbers[30:]))
    assert found is not None and oracle is not None and found.low is not None
    assert found.value == pytest.approx(oracle.value)
    assert found.low == pytest.approx(oracle.low, abs=0.01)  # prompts are no blocks of the model, which counts its freedom otherwise


def test_an_effect_is_held_apart_from_one_that_goes_with_it() -> None:
    frame = asked(prompts=240, tone=("plain", "curt"), topic=("sea", "hills"), effect=0.3)
    both = (pl.col("condition_tone") == "curt") & (pl.int_range(pl.len()) % 3 > 0)
    frame = frame.with_columns(condition_topic=pl.when(both).then(pl.lit("hills")).otherwise(pl.lit("sea")))
    crude = by_level(frame, "topic")
    (found,) = (level for level in main_effects(frame, {"tone": ("plain",), "topic": ("sea",)}) if level.level == "hills")
    assert found.contrast is not None and found.contrast.low is not None and found.contrast.high is not None
    assert crude["hills"].value - crude["sea"].value > 0.15  # type: ignore[operator]
    assert found.contrast.low < 0 < found.contrast.high


def test_what_the_design_cannot_tell_apart_has_no_contrast() -> None:
    frame = asked().with_columns(condition_twin=pl.col("condition_tone").str.to_uppercase(), condition_size=pl.lit("same"))
    found = main_effects(frame, {"tone": TONES["tone"], "twin": (), "size": ()})
    assert {level.factor for level in found} == {"tone", "twin"}
    assert [level.contrast for level in found] == [None] * 6


def test_a_level_that_one_prompt_alone_has_gets_no_interval() -> None:
    one = pl.col("prompt_id") == "prompt 7"
    frame = asked().with_columns(condition_tone=pl.when(one).then(pl.lit("rare")).otherwise("condition_tone"))
    (rare,) = (level for level in main_effects(frame, TONES) if level.level == "rare")
    assert rare.contrast is not None
    assert (rare.contrast.low, rare.contrast.p, rare.p_adjusted) == (None, None, None)
    assert "one prompt" in rare.contrast.method


def test_with_few_prompts_each_factor_is_looked_at_alone_and_that_is_said() -> None:
    frame = asked(prompts=12, tone=("kind", "plain"), topic=tuple("abcdef"), time=tuple("uvwxyz"))
    found = [level.contrast for level in main_effects(frame, {"tone": (), "topic": (), "time": ()}) if level.contrast]
    assert len(found) == 11
    assert all("too few" in contrast.method for contrast in found)


def test_nothing_moves_where_every_answer_is_the_same() -> None:
    found = main_effects(asked(rate=-1.0), TONES)
    assert [(level.estimate.value, level.p_adjusted) for level in found] == [(0.0, None)] * 3
    assert [level.contrast.value for level in found if level.contrast] == [0.0, 0.0]
    assert main_effects(asked().clear(), TONES) == []


def test_a_line_over_numbers_leaves_out_the_level_that_has_none() -> None:
    doses = {"0": 0.0, "50": 0.5, "100": 1.0}
    levels = np.resize(["none", *doses], 80)
    values = np.array([0.9 if level == "none" else 0.6 - 0.4 * doses[level] for level in levels])
    frame = pl.DataFrame({"prompt_id": np.arange(80).astype(str), "condition_dose": levels, "value": values + np.tile([0.01, -0.01], 40)})
    found = slope(frame, "dose", doses, {"dose": ("none",)})
    assert found is not None and found.p is not None
    assert found.value == pytest.approx(-0.4, abs=0.02)
    assert found.p < 1e-6
    assert slope(frame.filter(pl.col("condition_dose") == "none"), "dose", doses, {}) is None


def test_a_band_takes_the_level_as_its_unit() -> None:
    frame = asked(prompts=120, wording=tuple(f"wording {number}" for number in range(12)), effect=0.4)
    band = band_over(frame, "wording")
    by_prompt = mean(frame["value"], frame["prompt_id"].rank("dense").to_numpy() - 1)
    assert band is not None and band.between.low is not None and by_prompt.low is not None
    assert band.highest_at == "wording 11"
    assert band.lowest < by_prompt.low < band.highest
    assert band.between.value == pytest.approx(by_prompt.value)
    assert band.between.low < by_prompt.low
    assert (band.between.prompts, band.between.method) == (12, "share; Wilson interval, clustered by wording")
    assert band_over(frame.with_columns(value=None), "wording") is None


def test_missing_answers_bound_a_share() -> None:
    assert bounds(Estimate(value=None, traces=0, prompts=0, missing=3, method="")) == (0.0, 1.0)
    assert bounds(Estimate(value=None, traces=0, prompts=0, method="")) is None


@given(st.lists(st.tuples(st.text(max_size=3), st.text(max_size=3), st.integers(0, 5), st.sampled_from([0.0, 1.0, None])), max_size=40))
def test_whatever_levels_are_called_numbers_stay_numbers(rows: list[tuple[str, str, int, float | None]]) -> None:
    named = {"condition_a": pl.String, "condition_b": pl.String, "prompt_id": pl.Int64, "value": pl.Float64}
    frame = pl.DataFrame(rows, schema=named, orient="row")
    for level in main_effects(frame, {"a": (), "b": ()}):
        contrast = level.contrast
        assert contrast is None or contrast.low is None or (contrast.high is not None and contrast.low <= contrast.value <= contrast.high)


@pytest.mark.slow
def test_planted_effects_are_covered_and_nothing_is_claimed_where_there_is_none(hint_traces: Callable[..., pl.DataFrame]) -> None:
    from cotdrift.gaming import AUDITED, FACTORS, HELD

    factors = {factor: levels for factor, levels in FACTORS.items() if factor != "channel"}
    planted = {"hacking": 0.2, "violate": 0.05, "misaligned": -0.15, "want": -0.3, "unexpected": 0.25}
    covered, sloped, claimed, called = [], [], [], []
    for seed in range(40):
        frame = hint_traces(steps=(0, 200), cells=126, seed=seed, wordings=0.05, audit=-0.1, unread=0.0)
        frame = frame.filter((pl.col("environment") == "reward_hint") & (pl.col("step") == 200)).with_columns(value="outcome_gaming")
        hinted, control = (frame.filter(pl.col("run") == run) for run in ("hinted", "control"))
        ladder = [level for level in main_effects(hinted, factors, held=HELD) if level.factor == "label"]
        told = [(level.contrast, planted[level.level]) for level in ladder if level.contrast]
        covered += [seen.low <= truth <= seen.high for seen, truth in told if seen.low is not None and seen.high is not None]
        found = slope(hinted, "audit_rate", AUDITED, factors)
        assert found is not None and found.low is not None and found.high is not None
        sloped.append(found.low <= -0.1 <= found.high)
        null = [level for level in main_effects(control, factors, held=HELD) if level.contrast and level.contrast.p is not None]
        claimed.append(any(level.p_adjusted is not None and level.p_adjusted < 0.05 for level in null))
        called += [level.contrast.p < 0.05 for level in null if level.contrast and level.contrast.p is not None]
    assert 0.90 <= np.mean(covered) <= 0.99
    assert np.mean(sloped) >= 0.85
    assert np.mean(claimed) <= 0.15  # 2 of 40 expected
    assert 0.02 <= np.mean(called) <= 0.07
