"""Motive: what the arms of the experiment `motive` say of each checkpoint, whether it is confused or motivated, and how silently."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from msgspec import Struct

from cotdrift.errors import NotEnough
from cotdrift.estimate import Contrast, Estimate, Sums, mean_of, paired_difference
from cotdrift.signature import ARMS, BASELINE, Counts, Signature, signature

PREFIX = "motive_"
"""How the environments of the experiment begin."""
FLIPPED = "flipped"
QUOTED_ARMS = (BASELINE, "clarified", "removed", FLIPPED)
"""Arms from which answers are quoted."""


class ArmRate(Struct, frozen=True, kw_only=True):
    """One arm at one checkpoint."""

    arm: str
    rate: Estimate
    """The share of answers that show the behaviour; missing are those that could not be read."""
    against: Contrast | None
    """This arm minus the baseline, each prompt against itself; None for the baseline."""


class Sensitivity(Struct, frozen=True, kw_only=True):
    """How far the behaviour follows the incentive: the baseline minus the flipped arm, with what the reasoning speaks of.

    `spoken` and `silent` are answers that show the behaviour and whose reasoning speaks of the incentive, or does not: together they are
    the whole, and chance alone decided which arm a prompt was in. `among_spoken` and `among_silent` hold the two arms against each other
    among answers that speak, and among those that do not: these chose themselves, so that they may differ for other reasons.
    """

    whole: Contrast | None
    spoken: Contrast | None
    silent: Contrast | None
    among_spoken: Contrast | None
    among_silent: Contrast | None
    speaks: Estimate
    """The share of the baseline's answers whose reasoning speaks of the incentive; missing are those without reasoning."""
    by: str
    """How it is told: `a rule of words`, or the grader's name."""


class AtStep(Struct, frozen=True, kw_only=True):
    """One checkpoint in one environment."""

    environment: str
    """Its name without `motive_`."""
    run: str
    step: int
    arms: Sequence[ArmRate]
    signature: Signature | None
    """None when no arm but the baseline could be read."""
    sensitivity: Sensitivity | None
    """None where the flipped arm was not asked, or no reasoning can be read."""

    def rate(self, arm: str) -> Estimate | None:
        """The rate in an arm, where it was asked."""
        return next((found.rate for found in self.arms if found.arm == arm), None)


class Example(Struct, frozen=True, kw_only=True):
    """An answer of middling length, of those of its checkpoint and arm that show the behaviour, or that do not."""

    environment: str
    run: str
    step: int
    arm: str
    behaves: bool
    transcript_id: str


class Motive(Struct, frozen=True, kw_only=True):
    """What the experiment says of the runs it was put to."""

    steps: Sequence[AtStep]
    examples: Sequence[Example]

    def series(self) -> dict[tuple[str, str], list[AtStep]]:
        """The checkpoints of each environment and run."""
        found: dict[tuple[str, str], list[AtStep]] = {}
        for at in self.steps:
            found.setdefault((at.environment, at.run), []).append(at)
        return found


def motive_of(frame: pl.DataFrame, *, by: str = "a rule of words") -> Motive | None:
    """What the traces of the experiment say; None where there are none.

    `frame` has a row a trace: transcript_id, run, step, environment, prompt_id, words, condition_arm, outcome_behaves, and where there are
    any outcome_extracted and outcome_speaks_of_incentive (or what a grader said of it, which `by` then names).
    """
    needed = {"condition_arm", "outcome_behaves"}
    if not needed <= set(frame.columns):
        return None
    speaks = pl.col("outcome_speaks_of_incentive") if "outcome_speaks_of_incentive" in frame.columns else pl.lit(None)
    read = pl.col("outcome_extracted").fill_null(1) != 0 if "outcome_extracted" in frame.columns else pl.lit(True)
    ours = (
        frame.filter(pl.col("environment").str.starts_with(PREFIX) & pl.col("condition_arm").is_in(list(ARMS)))
        .with_columns(
            environment=pl.col("environment").str.strip_prefix(PREFIX),
            arm=pl.col("condition_arm"),
            value=pl.when(read).then(pl.col("outcome_behaves").cast(pl.Float64)),
            speaks=speaks.cast(pl.Float64),
        )
        .sort("transcript_id")
    )
    groups = ours.filter(pl.col("arm") == BASELINE).select("environment", "run", "step").unique().sort("environment", "run", "step").rows()
    if not groups:
        return None
    found = [(group, _checkpoint(ours, *group)) for group in groups]
    last = {(environment, run): step for environment, run, step in groups}
    return Motive(
        steps=[_at_step(part, *group, by=by) for group, part in found],
        examples=[example for group, part in found if last[group[0], group[1]] == group[2] for example in _examples(part, *group)],
    )


def _checkpoint(ours: pl.DataFrame, environment: str, run: str, step: int) -> pl.DataFrame:
    return ours.filter((pl.col("environment") == environment) & (pl.col("run") == run) & (pl.col("step") == step))


def _at_step(part: pl.DataFrame, environment: str, run: str, step: int, *, by: str) -> AtStep:
    prompts = part.select(pl.col("prompt_id").unique().sort()).with_row_index("cell")
    arms = [arm for arm in ARMS if (part["arm"] == arm).any()]
    by_arm = {arm: part.filter(pl.col("arm") == arm) for arm in arms}
    sums = {arm: _sums(of_arm, "value", prompts) for arm, of_arm in by_arm.items()}
    rates = [
        ArmRate(
            arm=arm,
            rate=mean_of(sums[arm], share=True, missing=by_arm[arm]["value"].null_count()),
            against=None if arm == BASELINE else paired_difference(sums[BASELINE], sums[arm]),
        )
        for arm in arms
    ]
    counts = {arm: Counts(np.rint(of.total).astype(np.int64), of.traces) for arm, of in sums.items()}
    try:
        found = signature(counts, among=arms)
    except NotEnough:
        found = None
    return AtStep(
        environment=environment,
        run=run,
        step=step,
        arms=rates,
        signature=found,
        sensitivity=_sensitivity(by_arm[BASELINE], by_arm[FLIPPED], prompts, by) if FLIPPED in by_arm else None,
    )


def _sums(part: pl.DataFrame, of: str, prompts: pl.DataFrame) -> Sums:
    """What the traces of each prompt add up to, in the order of the prompts of all arms."""
    valued = part.select("prompt_id", value=pl.col(of)).drop_nulls("value").join(prompts, on="prompt_id")
    return Sums.of(valued["value"].to_numpy(), valued["cell"].to_numpy(), n_prompts=prompts.height)


def _sensitivity(baseline: pl.DataFrame, flipped: pl.DataFrame, prompts: pl.DataFrame, by: str) -> Sensitivity | None:
    if not (baseline["speaks"].is_not_null().any() and flipped["speaks"].is_not_null().any()):
        return None
    speaks = pl.col("speaks") == 1

    def apart(value: pl.Expr, among: pl.Expr) -> Contrast | None:
        sides = (
            side.filter(pl.col("speaks").is_not_null() & among).with_columns(counted=value.cast(pl.Float64)) for side in (flipped, baseline)
        )
        return paired_difference(*(_sums(side, "counted", prompts) for side in sides))

    behaves, every = pl.col("value"), pl.lit(True)
    return Sensitivity(
        whole=apart(behaves, every),
        spoken=apart(behaves * speaks, every),
        silent=apart(behaves * ~speaks, every),
        among_spoken=apart(behaves, speaks),
        among_silent=apart(behaves, ~speaks),
        speaks=mean_of(_sums(baseline, "speaks", prompts), share=True, missing=baseline["speaks"].null_count()),
        by=by,
    )


def _examples(part: pl.DataFrame, environment: str, run: str, step: int) -> list[Example]:
    found = []
    for arm in QUOTED_ARMS:
        for behaves in (True, False):
            such = part.filter((pl.col("arm") == arm) & (pl.col("value") == float(behaves)))
            if such.height:
                lengths: Any = such["words"].cast(pl.Float64).fill_null(0.0).to_numpy()
                place = int(np.argsort(lengths, kind="stable")[such.height // 2])
                transcript_id = such["transcript_id"][place]
                found.append(Example(environment=environment, run=run, step=step, arm=arm, behaves=behaves, transcript_id=transcript_id))
    return found
