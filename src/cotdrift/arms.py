"""Arms: what each arm of an experiment does over the steps of a run, and how far arms are apart on the same prompts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import polars as pl
from msgspec import Struct
from msgspec.structs import replace

from cotdrift.declared import Declared
from cotdrift.estimate import Contrast, Floats, Sums, holm, paired_difference
from cotdrift.trend import Trend, trend_of

ARM = "condition_arm"


class ArmTrend(Struct, frozen=True, kw_only=True):
    """One outcome of one arm over the steps of a run."""

    arm: str
    trend: Trend
    """Its measure is the outcome."""


class Apart(Struct, frozen=True, kw_only=True):
    """How far an arm is from its base at one checkpoint, each prompt against itself."""

    run: str
    step: int
    since: int | None = None
    """Where this is a change of the distance: the checkpoint it is counted from. None where it is the distance itself."""
    environment: str = ""
    """Empty for all of them together."""
    outcome: str
    is_share: bool
    arm: str
    base: str
    contrast: Contrast
    p_adjusted: float | None = None
    """Holm's, over all outcomes and contrasts of the run: at its last checkpoint with their changes since the first, or in each
    environment; None at other checkpoints, which are not tested."""


class Tried(Struct, frozen=True, kw_only=True):
    """What an experiment says of the runs it was put to."""

    declared: Declared
    trends: Sequence[ArmTrend]
    apart: Sequence[Apart]
    """At every checkpoint, with the change from the first to the last; then the last in each environment, where there are several."""

    def at_the_end(self) -> list[Apart]:
        """The contrasts that were tested."""
        return [one for one in self.apart if one.p_adjusted is not None]


def tried(frame: pl.DataFrame, declared: Declared, *, seed: int = 0) -> Tried | None:
    """What the traces of an experiment say; None where there are none with an arm and an outcome. `frame` as `distances` takes it."""
    trends: list[ArmTrend] = []
    for valued, run, outcome in _valued(frame, declared):
        unit = "share of answers" if _is_share(valued) else "mean"
        for arm in declared.arms:
            of_arm = valued.filter(pl.col(ARM) == arm)
            if of_arm.height:
                trends.append(ArmTrend(arm=arm, trend=trend_of(of_arm, run=run, measure=outcome, unit=unit, version=1, seed=seed)))
    return Tried(declared=declared, trends=trends, apart=distances(frame, declared, seed=seed)) if trends else None


def distances(frame: pl.DataFrame, declared: Declared, *, seed: int = 0) -> list[Apart]:
    """How far arms are apart at every checkpoint, with the change from the first to the last; then the last in each environment.

    `frame` has a row a trace: run, step, environment, prompt_id, condition_arm, and a column `outcome_*` for each outcome.
    """
    overall: dict[str, list[Apart]] = {}
    within: dict[str, list[Apart]] = {}
    for valued, run, outcome in _valued(frame, declared):
        overall.setdefault(run, []).extend(_apart(valued, declared, run, outcome, seed))
        kinds = valued["environment"].unique().sort().to_list()
        for kind in kinds if len(kinds) > 1 else ():
            last = valued.filter((pl.col("environment") == kind) & (pl.col("step") == valued["step"].max()))
            within.setdefault(run, []).extend(replace(one, environment=kind) for one in _apart(last, declared, run, outcome, seed))
    found: list[Apart] = []
    for run, ours in overall.items():
        last_step = max((one.step for one in ours), default=0)
        found += [one for one in ours if one.step != last_step]
        found += _adjusted(one for one in ours if one.step == last_step) + _adjusted(within.get(run, ()))
    return found


def precision(apart: Iterable[Apart]) -> list[str]:
    """How narrow the intervals became at the last checkpoint, a sentence a run and contrast."""
    said = []
    for one in apart:
        contrast = one.contrast
        if one.environment or one.since is not None or one.p_adjusted is None or contrast.low is None or contrast.high is None:
            continue
        scale, unit = (100, " points") if one.is_share else (1, "")
        low, high = scale * contrast.low, scale * contrast.high
        said.append(
            f"{one.run}, step {one.step}: {one.outcome}, {one.arm} minus {one.base}: {scale * contrast.value:+.3g}{unit} "
            f"[{low:+.3g}, {high:+.3g}]: known to {(high - low) / 2:.2g}{unit} either way, by {contrast.prompts} prompts."
        )
    return said


def _valued(frame: pl.DataFrame, declared: Declared) -> Iterator[tuple[pl.DataFrame, str, str]]:
    """The experiment's traces with the value of an outcome, for each run and outcome."""
    if ARM not in frame.columns:
        return
    ours = frame.filter(pl.col("environment").is_in(declared.environments) & pl.col(ARM).is_in(declared.arms))
    for run in ours["run"].unique().sort():
        for outcome in declared.outcomes:
            if f"outcome_{outcome}" in frame.columns:
                value = {"value": pl.col(f"outcome_{outcome}"), "missing_reason": pl.lit("it could not be told")}
                yield ours.filter(pl.col("run") == run).with_columns(**value), run, outcome


def _apart(valued: pl.DataFrame, declared: Declared, run: str, outcome: str, seed: int) -> list[Apart]:
    """Each contrast at every step, and last its change from the first step to the last."""
    steps = valued["step"].unique().sort().to_list()
    prompts = valued.select("environment", "prompt_id").unique().sort("environment", "prompt_id").with_row_index("place")
    coded = valued.drop_nulls("value").join(prompts, on=["environment", "prompt_id"], how="left")
    sums = {
        (arm, step): Sums.of(rows["value"].to_numpy(), rows["place"].to_numpy(), n_prompts=prompts.height)
        for (arm, step), rows in coded.group_by(ARM, "step")
    }
    is_share, found = _is_share(valued), []
    for arm, base in declared.contrasts:
        distances: list[tuple[int, Floats, Sums]] = []
        for step in steps:
            if (arm, step) not in sums or (base, step) not in sums:
                continue
            before, after = sums[base, step], sums[arm, step]
            if contrast := paired_difference(before, after, seed=seed):
                found.append(Apart(run=run, step=step, outcome=outcome, is_share=is_share, arm=arm, base=base, contrast=contrast))
                distances.append((step, after.means - before.means, Sums(before.total, before.size, before.traces + after.traces)))
        if len(distances) > 1:
            (since, first, at_first), (until, last, at_last) = distances[0], distances[-1]
            shift = paired_difference(_as_sums(first, at_first), _as_sums(last, at_last), seed=seed)
            if shift:
                change = Apart(run=run, step=until, since=since, outcome=outcome, is_share=is_share, arm=arm, base=base, contrast=shift)
                found.append(change)
    return found


def _as_sums(distances: Floats, of: Sums) -> Sums:
    """Each prompt's distance as one entry; none for a prompt that lacks an arm."""
    there = np.isfinite(distances)
    return Sums(np.where(there, distances, 0.0), there.astype(np.float64), np.where(there, of.traces, 0))


def _adjusted(family: Iterable[Apart]) -> list[Apart]:
    tested = list(family)
    adjusted = holm([one.contrast.p for one in tested])
    return [replace(one, p_adjusted=p) for one, p in zip(tested, adjusted, strict=True)]


def _is_share(valued: pl.DataFrame) -> bool:
    return bool(valued["value"].drop_nulls().is_in([0.0, 1.0]).all())
