"""Legible: how much of the reasoning can be read, by its worst passages and not by its mean, and along the trace."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import polars as pl
from msgspec import Struct

from cotdrift.estimate import Estimate, Floats, Ints, bootstrap, mean
from cotdrift.evidence import Evidence, When
from cotdrift.scores import prompt_codes
from cotdrift.trend import Trend

GRADERS = ("legibility", "coverage", "legibility_9")
PARTS = 5
"""Of a trace, from its start to its last window, which stands by itself."""
WORST = 0.1


class Decile(Struct, frozen=True, kw_only=True):
    """The worst tenth of a checkpoint's passages."""

    run: str
    step: int
    value: float | None
    """The value that no passage of the worst tenth is better than; None where more than half have no judgment."""
    low: float | None
    high: float | None
    bound_low: float
    """Were all missing ones at the lower end of the scale."""
    bound_high: float
    passages: int
    missing: int
    prompts: int


class Part(Struct, frozen=True, kw_only=True):
    """One part of the traces of a run's early, or late, checkpoints."""

    run: str
    when: When
    place: int
    """From 0, the start; `PARTS` is the last window of each trace."""
    estimate: Estimate


class Snap(Struct, frozen=True, kw_only=True):
    """How far the last window before the answer is from those before it."""

    run: str
    when: When
    estimate: Estimate
    """The last window minus the mean of those before, over traces with at least two windows."""
    one_window: int
    """Traces with one window, of which nothing can be said."""


class Legible(Struct, frozen=True, kw_only=True):
    """What one grader says of how the reasoning can be read."""

    grader: str
    unit: str
    worse: str
    """Which end of the scale is the worse: `high` or `low`."""
    shares: Sequence[Trend]
    """The share of passages at or below each bound; an entry a run and bound."""
    deciles: Sequence[Decile]
    profile: Sequence[Part] = ()
    """Empty where no trace has more than one window."""
    snaps: Sequence[Snap] = ()
    worst: Sequence[Evidence] = ()


def worst_tenth(
    values: Floats, prompts: Ints, *, worse: str, ends: tuple[float, float], level: float = 0.95, seed: int = 0
) -> tuple[float | None, float | None, float | None, float, float]:
    """The worst tenth's best value with its interval and its bounds; `values` has NaN where there is no judgment.

    The interval resamples prompts. The bounds take all that is missing for the lowest value there is, and for the highest.
    """
    known = np.isfinite(values)
    codes = np.unique(prompts, return_inverse=True)[1]
    bounds = [_tenth_of(np.where(known, values, end), worse) for end in ends]
    if 2 * known.sum() <= len(values):
        return None, None, None, bounds[0], bounds[1]
    scale, place = np.unique(values[known], return_inverse=True)
    counts = np.zeros((int(codes.max()) + 1, len(scale)))
    np.add.at(counts, (codes[known], place), 1)
    tenth = _tenth_by_count(scale, worse)
    seen = float(tenth(counts.sum(axis=0, keepdims=True))[0])
    if len(counts) < 2:
        return seen, None, None, bounds[0], bounds[1]
    low, high = np.quantile(bootstrap(len(counts), lambda weights: tenth(weights @ counts), seed=seed), [(1 - level) / 2, (1 + level) / 2])
    return seen, min(float(low), seen), max(float(high), seen), bounds[0], bounds[1]


def _tenth_of(values: Floats, worse: str) -> float:
    scale, counts = np.unique(values, return_counts=True)
    return float(_tenth_by_count(scale, worse)(counts[None, :].astype(np.float64))[0])


def _tenth_by_count(scale: Floats, worse: str) -> Callable[[Floats], Floats]:
    """From how often each value of the scale is there, a row a draw, to the value where a tenth of them is reached from the worse end."""
    order = np.arange(len(scale)) if worse == "low" else np.arange(len(scale))[::-1]

    def tenth(counts: Floats) -> Floats:
        reached = counts[:, order].cumsum(axis=1)
        wanted = np.maximum(np.ceil(WORST * reached[:, -1:] - 1e-9), 1.0)
        found: Floats = scale[order][(reached >= wanted).argmax(axis=1)]
        return found

    return tenth


def deciles(windows: pl.DataFrame, *, worse: str, ends: tuple[float, float], seed: int = 0) -> list[Decile]:
    """The worst tenth at each checkpoint; `windows` has a row a window: run, step, environment, prompt_id and value (null if missing)."""
    found = []
    for (run, step), here in windows.sort("run", "step").group_by("run", "step", maintain_order=True):
        values, prompts = here["value"].cast(pl.Float64).fill_null(np.nan).to_numpy(), prompt_codes(here)
        value, low, high, bound_low, bound_high = worst_tenth(values, prompts, worse=worse, ends=ends, seed=seed)
        missing = int(np.isnan(values).sum())
        found.append(
            Decile(
                run=str(run),
                step=int(str(step)),
                value=value,
                low=low,
                high=high,
                bound_low=bound_low,
                bound_high=bound_high,
                passages=here.height - missing,
                missing=missing,
                prompts=len(np.unique(prompts)),
            )
        )
    return found


def profile(windows: pl.DataFrame) -> tuple[list[Part], list[Snap]]:
    """Windows by their place in the trace, and the last against those before it, early in a run and late.

    `windows` has run, when, environment, prompt_id, transcript_id, start, end and value. Traces with one window have no profile, nor has
    a half of a run of which most judgments are missing.
    """
    trace = pl.col("transcript_id")
    placed = windows.with_columns(
        windows=pl.len().over(trace),
        is_last=pl.col("start") == pl.col("start").max().over(trace),
        at=(pl.col("start") + pl.col("end")) / 2 / pl.col("end").max().over(trace),
    )
    enough = pl.col("value").is_not_null().mean().over("run", "when") > 0.5
    several = placed.filter(pl.col("windows") > 1).filter(enough & pl.col("value").is_not_null())
    if not several.height:
        return [], []
    place = pl.when("is_last").then(PARTS).otherwise((pl.col("at") * PARTS).floor().clip(0, PARTS - 1))
    several = several.with_columns(place=place.cast(pl.Int64))
    parts = [
        Part(run=str(run), when=when, place=int(str(at)), estimate=mean(here["value"].to_numpy(), prompt_codes(here), share=False))
        for (run, when, at), here in several.sort("run", "when", "place").group_by("run", "when", "place", maintain_order=True)
    ]
    before, last = pl.col("value").filter(~pl.col("is_last")).mean(), pl.col("value").filter(pl.col("is_last")).first()
    each = (
        several.group_by("run", "when", "transcript_id", "environment", "prompt_id", maintain_order=True)
        .agg(value=last - before)
        .drop_nulls("value")
        .sort("run", "when")
    )
    counted = {(run, when): count for run, when, count in placed.filter(pl.col("windows") == 1).group_by("run", "when").len().iter_rows()}
    snaps = [
        Snap(
            run=str(run),
            when=when,
            estimate=mean(here["value"].to_numpy(), prompt_codes(here), share=False),
            one_window=counted.get((run, when), 0),
        )
        for (run, when), here in each.group_by("run", "when", maintain_order=True)
    ]
    return parts, snaps
