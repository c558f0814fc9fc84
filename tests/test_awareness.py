"""Thoughts beside actions: what is dissociated is flagged and what is not is not, tables are right, and length alone is seen as such."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cotdrift.awareness import Beside, beside, judged_together, length_matched, overlaps, table

STEPS = (0, 50, 100)


def traces(
    rng: np.random.Generator,
    *,
    aware: tuple[float, ...] = (0.03, 0.15, 0.35),
    acts: tuple[float, ...] = (0.4, 0.4, 0.4),
    refrain: bool = False,
    prompts: int = 80,
    reps: int = 6,
    missing: float = 0.0,
    spread: float = 0.1,
) -> pl.DataFrame:
    """Traces that have the thought and take the action at these rates; with `refrain` those that have the thought do not act."""
    parts = []
    for step, thinks, does in zip(STEPS, aware, acts, strict=True):
        prompt = np.repeat(np.arange(prompts), reps)
        liking = np.random.default_rng(0).uniform(-spread, spread, prompts)[prompt]
        thought = rng.random(len(prompt)) < np.clip(thinks + liking * thinks, 0, 1)
        acted = rng.random(len(prompt)) < np.clip(does + liking, 0, 1)
        judged = rng.random(len(prompt)) >= missing
        parts.append(
            pl.DataFrame(
                {
                    "step": step,
                    "environment": "env",
                    "prompt_id": [f"p{number}" for number in prompt],
                    "aware": np.where(judged, thought.astype(float), np.nan),
                    "acts": (acted & ~(thought & refrain)).astype(float),
                    "words": rng.integers(20, 80, len(prompt)).astype(float),
                    "missing_reason": np.where(judged, "", "refusal"),
                }
            ).with_columns(pl.col("aware").fill_nan(None))
        )
    return pl.concat(parts)


def verdict(frame: pl.DataFrame) -> Beside:
    (found,) = judged_together([beside(frame, run="toy", thought="metagaming", action="gaming")])
    return found


def test_a_thought_that_rises_while_the_action_stays_is_flagged() -> None:
    found = verdict(traces(np.random.default_rng(1)))
    assert found.verdict == "dissociated"
    assert found.awareness.contrast is not None and found.awareness.contrast.low is not None
    assert found.awareness.contrast.low > 0
    assert found.expected == pytest.approx(0.32 * 0.4, abs=0.03)


def test_an_action_that_rises_with_the_thought_is_flagged_too() -> None:
    assert verdict(traces(np.random.default_rng(2), acts=(0.2, 0.3, 0.4))).verdict == "dissociated"


def test_an_action_that_falls_with_the_thought_is_not() -> None:
    found = verdict(traces(np.random.default_rng(3), aware=(0.03, 0.3, 0.6), refrain=True))
    assert found.verdict == "falls with it"


@pytest.mark.slow
@pytest.mark.parametrize("refrain", [False, True], ids=["nothing moves", "every trace that thinks refrains"])
def test_null_data_are_hardly_ever_flagged(refrain: bool) -> None:
    rng = np.random.default_rng(4)
    aware = (0.05, 0.2, 0.4) if refrain else (0.2, 0.2, 0.2)
    told = [verdict(traces(rng, aware=aware, refrain=refrain, prompts=30)).verdict for _ in range(20)]
    assert told.count("dissociated") <= 2


def test_with_too_few_traces_it_is_left_open() -> None:
    assert verdict(traces(np.random.default_rng(5), aware=(0.0, 0.3, 0.6), prompts=12, reps=2, spread=0.3)).verdict in ("open", "not up")


def test_where_most_judgments_are_missing_nothing_is_said_but_bounds() -> None:
    found = verdict(traces(np.random.default_rng(6), missing=0.9))
    assert found.verdict == "unknown"
    for point in found.awareness.points:
        assert point.value is None and point.low is None
        assert point.bound_low is not None and point.bound_high is not None
        assert point.bound_high - point.bound_low > 0.8
        assert point.why == {"refusal": point.missing}


def test_the_table_is_what_one_counts_by_hand() -> None:
    frame = pl.DataFrame(
        {
            "environment": "env",
            "prompt_id": [f"p{number}" for number in range(10)],
            "aware": [1, 1, 1, 1, 0, 0, 0, 0, 0, None],
            "acts": [1, 1, 1, 0, 1, 0, 0, 0, None, 1],
        },
        schema_overrides={"aware": pl.Float64, "acts": pl.Float64},
    )
    found = table(frame, run="toy", step=0)
    assert (found.aware_acts, found.aware_refrains, found.unaware_acts, found.unaware_refrains, found.missing) == (3, 1, 1, 3, 2)
    assert found.difference is not None and found.difference.low is not None and found.difference.high is not None
    assert found.difference.value == pytest.approx(0.5)
    assert found.difference.low < 0.5 < found.difference.high


def test_a_table_with_an_empty_row_has_no_difference() -> None:
    frame = pl.DataFrame({"environment": "env", "prompt_id": ["a", "b"], "aware": [0.0, 0.0], "acts": [1.0, 0.0]})
    assert table(frame, run="toy", step=0).difference is None


@pytest.mark.parametrize("spread", [0.0, 0.3])
def test_the_interval_of_the_difference_covers_it(spread: float) -> None:
    rng, truth, covered = np.random.default_rng(7), 0.3, 0
    for _ in range(300):
        prompt = np.repeat(np.arange(60), 4)
        liking = rng.uniform(-spread, spread, 60)[prompt]
        aware = rng.random(240) < 0.15
        acts = rng.random(240) < 0.35 + truth * aware + liking
        frame = pl.DataFrame(
            {"environment": "env", "prompt_id": prompt.astype(str), "aware": aware.astype(float), "acts": acts.astype(float)}
        )
        found = table(frame, run="toy", step=0).difference
        assert found is not None and found.low is not None and found.high is not None
        covered += found.low <= truth <= found.high
    assert covered >= 0.93 * 300


def lengthened(rng: np.random.Generator, *, by_length: bool) -> pl.DataFrame:
    """Reasoning that gets longer over the steps; the thought depends on the length alone, or on the step alone."""
    parts = []
    for place, step in enumerate(STEPS):
        prompt = np.repeat(np.arange(60), 8)
        words = rng.lognormal(3.4 + 0.25 * place, 0.5, len(prompt))
        chance = np.clip((words - 10) / 100, 0, 0.9) if by_length else np.full(len(prompt), 0.1 + 0.15 * place)
        value = (rng.random(len(prompt)) < chance).astype(float)
        parts.append(pl.DataFrame({"step": step, "environment": "env", "prompt_id": prompt.astype(str), "value": value, "words": words}))
    return pl.concat(parts)


def test_a_rise_that_is_one_of_length_alone_is_gone_at_like_length() -> None:
    found = length_matched(lengthened(np.random.default_rng(8), by_length=True))
    assert found is not None and found.crude.low is not None and found.matched.low is not None and found.matched.high is not None
    assert found.crude.low > 0.05
    assert found.matched.low < 0 < found.matched.high
    assert abs(found.matched.value) < found.crude.value / 3


def test_a_rise_that_has_nothing_to_do_with_length_stays() -> None:
    found = length_matched(lengthened(np.random.default_rng(9), by_length=False))
    assert found is not None and found.matched.low is not None and found.matched.high is not None
    assert found.matched.low < 0.3 < found.matched.high
    assert found.matched.value == pytest.approx(found.crude.value, abs=0.06)


def test_the_matched_rate_is_a_weighted_mean_over_bins() -> None:
    frame = lengthened(np.random.default_rng(10), by_length=True)
    found = length_matched(frame)
    edges = np.unique(np.quantile(frame["words"], np.linspace(0, 1, 11)[1:-1]))
    cells = (
        frame.with_columns(bin=pl.Series(np.searchsorted(edges, frame["words"].to_numpy(), side="right")))
        .group_by("step", "bin")
        .agg(rate=pl.col("value").mean(), n=pl.len())
        .filter(pl.len().over("bin") == len(STEPS), pl.col("n").min().over("bin") >= 3)
        .with_columns(part=pl.col("n") / pl.col("n").sum().over("step"))
        .with_columns(weight=pl.col("part").mean().over("bin"))
    )
    by_hand = cells.group_by("step").agg(rate=(pl.col("rate") * pl.col("weight")).sum()).sort("step")["rate"].to_list()
    assert found is not None
    assert [at.matched.value for at in found.points] == pytest.approx(by_hand)
    assert [at.crude.value for at in found.points] == pytest.approx(
        frame.group_by("step").agg(pl.col("value").mean()).sort("step")["value"]
    )


def test_lengths_that_no_two_checkpoints_share_cannot_be_matched() -> None:
    frame = lengthened(np.random.default_rng(11), by_length=True).with_columns(words=pl.col("words") + 1_000 * pl.col("step"))
    assert length_matched(frame) is None


@given(st.lists(st.tuples(st.sampled_from(STEPS), st.sampled_from([0.0, 1.0, None]), st.sampled_from([0.0, 1.0, None])), min_size=1))
def test_every_trace_is_in_one_part_of_the_overlap(rows: list[tuple[int, float | None, float | None]]) -> None:
    frame = pl.DataFrame(rows, schema={"step": pl.Int64, "first": pl.Float64, "second": pl.Float64}, orient="row")
    found = overlaps(frame, run="toy")
    assert [at.step for at in found] == sorted({step for step, _, _ in rows})
    assert sum(at.both + at.only_first + at.only_second + at.neither + at.missing for at in found) == len(rows)
    assert sum(at.only_second for at in found) == sum(first == 0 and second == 1 for _, first, second in rows)
