"""Trends: what was planted is found, what was not is not, and odd runs are told, not guessed."""

import math
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
import scipy.stats
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from polars.testing import assert_frame_equal

from cotdrift.estimate import Sums
from cotdrift.event_study import Cells, event_study, grid_of, onset
from cotdrift.trend import Trend, trend_of

STEPS = 100 * np.arange(12)


def run_of(values: NDArray[np.float64], *, reps: int = 1, environments: int = 1, seed: int = 0) -> pl.DataFrame:
    """Traces of prompts (rows) at steps (columns), with noise of their own when there are several."""
    rng = np.random.default_rng(seed)
    n_prompts, n_steps = values.shape
    prompt, step, _ = (index.ravel() for index in np.indices((n_prompts, n_steps, reps)))
    return pl.DataFrame(
        {
            "step": 100 * step,
            "environment": [f"environment {code % environments}" for code in prompt],
            "prompt_id": [f"prompt {code}" for code in prompt],
            "value": np.repeat(values.ravel(), reps) + (rng.normal(size=len(step)) if reps > 1 else 0),
        }
    )


def told(frame: pl.DataFrame, *, unit: str = "words", **options: Any) -> Trend:
    return trend_of(frame, run="run", measure="measured", unit=unit, version=1, **({"resamples": 200} | options))


def noise(rng: np.random.Generator, n_prompts: int = 40, n_steps: int = 12) -> NDArray[np.float64]:
    return 10 + 2 * rng.normal(size=(n_prompts, 1)) + rng.normal(size=(n_prompts, n_steps))


def grid_cells(values: NDArray[np.float64]) -> Cells:
    n_prompts, n_steps = values.shape
    prompt, step = (index.ravel() for index in np.indices(values.shape))
    once = np.ones(values.size)
    sums = Sums(values.ravel(), once, once.astype(np.int64))
    return Cells(100 * np.arange(n_steps), ["environment"], step, prompt, sums, np.zeros(n_prompts, np.int64))


def test_a_step_change_in_half_the_prompts_is_found_where_it_is() -> None:
    rng = np.random.default_rng(0)
    found = []
    for seed in range(40):
        planted = 2 * (np.arange(12) >= 5) * (np.arange(40) % 2 == 0)[:, None]
        cells = grid_cells(noise(rng) + planted)
        began, _ = onset(cells, grid_of(cells), level=0.95, resamples=200, seed=seed)
        found.append(began)
    assert sum(began is not None for began in found) >= 38
    assert sum(began is not None and began.low <= 500 <= began.high for began in found) >= 36
    assert np.median([began.step for began in found if began]) == 500


def test_a_hinge_is_found_where_it_bends() -> None:
    rng = np.random.default_rng(1)
    found = []
    for seed in range(40):
        cells = grid_cells(noise(rng) + 0.6 * np.clip(np.arange(12) - 5, 0, None))
        found.append(onset(cells, grid_of(cells), level=0.95, resamples=200, seed=seed)[0])
    assert sum(began is not None and began.low <= 600 <= began.high for began in found) >= 36


def test_no_change_is_called_none() -> None:
    rng = np.random.default_rng(2)
    calm, restless = [], []
    for seed in range(120):
        cells = grid_cells(noise(rng))
        calm.append(onset(cells, grid_of(cells), level=0.95, resamples=100, seed=seed)[1].startswith("no change"))
        cells = grid_cells(noise(rng) + 0.5 * rng.normal(size=(40, 12)).cumsum(axis=1))
        restless.append(onset(cells, grid_of(cells), level=0.95, resamples=100, seed=seed)[1].startswith("no change"))
    assert np.mean(calm) >= 0.91
    assert np.mean(restless) >= 0.91


def test_a_straight_line_has_no_onset() -> None:
    line = told(run_of(noise(np.random.default_rng(3)) + 0.3 * np.arange(12)))
    assert line.onset is None
    assert "straight line" in line.onset_note
    assert line.trend.p is not None
    assert line.trend.p < 0.001


def test_the_event_study_is_a_regression_on_steps_and_prompts() -> None:
    rng = np.random.default_rng(4)
    values = noise(rng, 15, 5)
    frame = run_of(values).filter(pl.Series(rng.random(75) > 0.2))
    prompts = frame["prompt_id"].cast(pl.Categorical).to_physical().to_numpy()
    steps = frame["step"].to_numpy()
    kept = np.isin(prompts, np.flatnonzero(np.bincount(prompts) > 1))
    prompts, steps, y = np.unique(prompts[kept], return_inverse=True)[1], steps[kept], frame["value"].to_numpy()[kept]
    design = np.column_stack([steps == step for step in (100, 200, 300, 400)] + [prompts == code for code in range(prompts.max() + 1)])
    oracle = sm.OLS(y, design.astype(float)).fit(cov_type="cluster", cov_kwds={"groups": prompts, "use_correction": False})
    for point, effect, error in zip(told(frame).points[1:], oracle.params[:4], oracle.bse[:4], strict=True):
        assert point.paired is not None
        assert point.paired.value == pytest.approx(effect)
        both = point.paired.prompts
        half = scipy.stats.t.isf(0.025, both - 1) * error * math.sqrt(both / (both - 1))
        assert point.paired.high == pytest.approx(effect + half)


def test_the_last_paired_point_is_the_contrast_when_every_prompt_is_everywhere() -> None:
    trend = told(run_of(noise(np.random.default_rng(5))))
    last = trend.points[-1].paired
    assert trend.contrast is not None
    assert last is not None
    assert (trend.contrast.value, trend.contrast.low) == pytest.approx((last.value, last.low))
    assert trend.contrast.value == pytest.approx(trend.points[-1].value - trend.points[0].value)  # type: ignore[operator]
    assert trend.points[0].paired is None


def test_the_trend_test_keeps_its_size_when_prompts_drift_each_their_own_way() -> None:
    rng = np.random.default_rng(6)
    p = []
    for _ in range(60):
        drift = rng.normal(size=(20, 1)) * np.arange(4)
        p.append(told(run_of(noise(rng, 20, 4) + drift), resamples=2).trend.p)
    assert np.mean([value is not None and value < 0.05 for value in p]) <= 0.12


def test_shares_are_tested_on_the_log_odds_scale() -> None:
    rng = np.random.default_rng(7)
    frame = run_of(np.full((40, 5), 0.1) + 0.1 * np.arange(5), reps=1)
    frame = pl.concat([frame] * 4).with_columns(value=pl.Series((rng.random(800) < 0.1 + 0.1 * np.tile(np.arange(5), 160)) * 1.0))
    trend = told(frame, unit="share of traces")
    assert "logit" in trend.trend.method
    assert trend.trend.p is not None
    assert trend.trend.p < 0.001
    assert "percentage points higher at step 400" in trend.sentence()
    assert trend.contrast is not None
    assert trend.contrast.ratio is None


def test_a_sentence_says_how_much_and_from_when() -> None:
    values = np.full((40, 6), 200.0) + np.random.default_rng(8).normal(size=(40, 6))
    values[:, 3:] *= 0.4
    assert told(run_of(values)).sentence() == "measured: 60 % lower at step 500 than at step 0 [60, 60], from step 300 on [300, 300]"
    values[:, 3:] *= 10
    assert "4.0 times as high" in told(run_of(values)).sentence().replace("4 times", "4.0 times")
    assert "no clear difference" in told(run_of(noise(np.random.default_rng(9)))).sentence()


def test_a_term_is_a_rate_over_its_exposure() -> None:
    rng = np.random.default_rng(10)
    frame = run_of(np.zeros((50, 6)))
    frame = frame.with_columns(exposure=pl.lit(0.002), value=pl.Series(rng.poisson(0.4 + 0.8 * (frame["step"] >= 300)).astype(float)))
    trend = told(frame, unit="uses per million words")
    assert trend.points[0].value == pytest.approx(frame.filter(pl.col("step") == 0)["value"].sum() / 0.1)
    assert trend.onset is not None
    assert trend.onset.low <= 300 <= trend.onset.high
    never = told(frame.with_columns(value=pl.when(pl.col("step") > 0).then("value").otherwise(0.0)), unit="uses per million words")
    assert never.points[0].low == 0
    assert never.points[0].high is not None
    assert never.points[0].high > 0


def test_checkpoints_that_share_no_prompts_are_compared_within_environments() -> None:
    rng = np.random.default_rng(11)
    n = 600
    environment, step = np.arange(n) % 2, 100 * (np.arange(n) // 2 % 6)
    hard = 5.0 * environment + (step >= 300) * 1.5
    frame = pl.DataFrame(
        {
            "step": step,
            "environment": [f"environment {code}" for code in environment],
            "prompt_id": [f"prompt {code}" for code in range(n)],
            "value": 10 + hard + rng.normal(size=n),
        }
    )
    trend = told(frame)
    assert trend.contrast is not None
    assert trend.contrast.value == pytest.approx(1.5, abs=0.5)
    assert trend.contrast.p is not None
    assert trend.contrast.p < 0.01
    assert trend.onset is not None
    assert trend.onset.low <= 300 <= trend.onset.high
    assert any("share hardly any prompts" in warning for warning in trend.warnings)


def test_bundles_of_prompts_that_never_come_back_say_what_the_prompts_would(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(18)
    n, each = 1200, np.ones(1200)
    sums = Sums(rng.normal(size=n) + np.arange(n) % 2, each, each.astype(np.int64))
    cells = Cells([0, 1, 2], ["one", "other"], np.arange(n) // 2 % 3, np.arange(n), sums, np.arange(n) % 2)
    alone = event_study(cells, grid_of(cells), 0.95)[2]
    monkeypatch.setattr("cotdrift.event_study.MOST_BUNDLES", 300)
    bundled = event_study(cells, grid_of(cells), 0.95)[2]
    assert alone is not None
    assert bundled is not None
    assert bundled.value == pytest.approx(alone.value)
    assert bundled.low == pytest.approx(alone.low, abs=0.05)


def test_a_moving_mix_of_environments_is_no_drift_once_poststratified() -> None:
    rng = np.random.default_rng(12)
    parts = []
    for code, step in enumerate((0, 100, 200, 300)):
        for prompt in range(40):
            environment = prompt % 2
            reps = 2 + 2 * code if environment else 8 - 2 * code
            parts += [(step, f"environment {environment}", f"prompt {prompt}", 10 + 20 * environment + rng.normal()) for _ in range(reps)]
    trend = told(pl.DataFrame(parts, schema=["step", "environment", "prompt_id", "value"], orient="row"))
    first, last = trend.points[0], trend.points[-1]
    assert first.value is not None
    assert last.value is not None
    assert last.value - first.value > 10
    assert first.poststratified is not None
    assert last.poststratified is not None
    assert last.poststratified.value == pytest.approx(first.poststratified.value, abs=0.5)
    assert trend.onset is None
    assert sum("crude" in warning for warning in trend.warnings) == 2


def test_missing_and_set_aside_traces_are_counted_by_reason() -> None:
    frame = run_of(noise(np.random.default_rng(13), 20, 3)).with_columns(missing_reason=pl.lit(None, pl.String))
    reason = pl.when(pl.col("step") == 200, pl.col("prompt_id").str.ends_with("1")).then(pl.lit("reasoning is summary"))
    reason = reason.when(pl.col("step") == 200, pl.col("prompt_id").str.ends_with("2")).then(pl.lit("does not apply"))
    frame = frame.with_columns(missing_reason=reason).with_columns(value=pl.when(pl.col("missing_reason").is_null()).then("value"))
    trend = told(frame)
    last = trend.points[-1]
    assert (last.traces, last.missing, last.set_aside) == (16, 2, 2)
    assert last.why == {"does not apply": 2, "reasoning is summary": 2}
    assert any("20 % of traces have no value at step 200, 0 % at step" in warning for warning in trend.warnings)
    assert any("are not at every checkpoint" in warning for warning in trend.warnings)


def test_two_checkpoints_at_one_step_are_named() -> None:
    frame = run_of(noise(np.random.default_rng(14), 12, 3), reps=2)
    frame = frame.with_columns(checkpoint=pl.when(pl.col("step") == 100).then(pl.Series(["a", "b"] * 36)).otherwise(pl.lit("c")))
    assert "Step 100 has 2 checkpoints (a, b); they are pooled." in told(frame).warnings


def test_few_shared_prompts_are_warned_of() -> None:
    warned = told(run_of(noise(np.random.default_rng(15), 8, 3))).warnings
    assert any("Only 8 prompts are shared" in warning for warning in warned)


@pytest.mark.parametrize(
    "values",
    [np.full((12, 5), 0.1), np.full((1, 5), 3.0), np.ones((12, 1)), np.arange(5.0)[None, :], np.zeros((3, 2)), np.full((12, 5), 1 / 3)],
    ids=["constant", "one prompt", "one checkpoint", "one prompt that moves", "two checkpoints of nothing", "thirds"],
)
@pytest.mark.parametrize("unit", ["words", "share of traces"])
def test_a_run_with_nothing_to_tell_says_so(values: NDArray[np.float64], unit: str) -> None:
    trend = told(pl.concat([run_of(values)] * 3), unit=unit)
    assert trend.onset is None
    assert trend.onset_note
    assert trend.trend.p is None or trend.trend.p > 0.05
    assert trend.contrast is None or trend.contrast.p is None or trend.contrast.p > 0.05
    assert trend.sentence()


def test_a_run_without_any_value_has_points_without_values() -> None:
    frame = run_of(np.full((5, 3), np.nan)).with_columns(missing_reason=pl.lit("reasoning is none"))
    trend = told(frame)
    assert [(point.value, point.set_aside) for point in trend.points] == [(None, 5)] * 3
    assert trend.contrast is None
    assert told(frame.head(0)).points == ()


def test_a_checkpoint_that_cannot_be_joined_to_the_first_has_no_paired_value() -> None:
    values = noise(np.random.default_rng(16), 30, 4)
    frame = run_of(values).filter((pl.col("step") < 200) == (pl.col("prompt_id").str.extract(r"(\d+)").cast(pl.Int64) < 15))
    trend = told(frame)
    assert trend.points[1].paired is not None
    assert trend.points[3].paired is None
    assert trend.contrast is None


def test_every_number_is_finite_and_becomes_json_and_back() -> None:
    trend = told(run_of(noise(np.random.default_rng(17)), reps=2, environments=3))
    assert msgspec.json.decode(msgspec.json.encode(trend), type=Trend) == trend
    assert {"run", "points", "onset", "contrast", "trend", "onset_note", "warnings"} <= set(msgspec.to_builtins(trend))


rows = st.lists(
    st.tuples(
        st.sampled_from([0, 10, 300]), st.integers(0, 1), st.integers(0, 4), st.none() | st.floats(0, 1e6) | st.sampled_from([0.0, 1.0])
    ),
    min_size=1,
    max_size=40,
)


@given(rows, st.sampled_from(["words", "share of words"]))
def test_any_run_gives_finite_numbers_inside_their_intervals_whatever_the_order(
    traces: list[tuple[int, int, int, float | None]], unit: str
) -> None:
    schema = {"step": pl.Int64, "environment": pl.Int64, "prompt_id": pl.Int64, "value": pl.Float64}
    frame = pl.DataFrame(traces, schema=schema, orient="row").with_columns(pl.col("environment", "prompt_id").cast(pl.String))
    before = frame.clone()
    trend = told(frame, unit=unit, resamples=20)
    assert_frame_equal(frame, before)
    assert b"NaN" not in msgspec.json.encode(trend)
    for point in trend.points:
        for estimate in (point, point.paired, point.poststratified):
            if estimate is None or estimate.value is None:
                continue
            assert math.isfinite(estimate.value)
            if estimate.low is not None and estimate.high is not None:
                assert math.isfinite(estimate.low)
                assert math.isfinite(estimate.high)
                assert estimate.low <= estimate.value <= estimate.high
    assert sum(point.traces + point.missing + point.set_aside for point in trend.points) == len(traces)
    again = told(frame.reverse(), unit=unit, resamples=20)
    assert (again.warnings, again.onset, again.sentence()) == (trend.warnings, trend.onset, trend.sentence())


def test_an_event_study_of_one_step_has_nothing_to_say() -> None:
    cells = grid_cells(np.ones((4, 1)))
    assert event_study(cells, grid_of(cells), 0.95) == [None]
