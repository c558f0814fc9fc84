"""Rewarded: what the rubrics that checkpoints write give marks for, and whether their framing of the same tasks goes with it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import polars as pl
from msgspec import Struct
from scipy.special import stdtrit
from scipy.stats import rankdata

from cotdrift.arms import ARM
from cotdrift.declared import Declared
from cotdrift.estimate import Estimate, Floats, Ints
from cotdrift.trend import Trend, trend_of

ACT, RUBRIC = "act", "rubric"
GRADER = "rubric_point"
KINDS = ("instruction", "honesty", "success", "cunning", "format", "other")
"""What a point may reward, as the grader has it."""
MEANT = "what is tested"
UNIT = "share of points"
BESIDE = {
    ("alignment test", ("instruction", "honesty")): ("framing.alignment_test",),
    ("capability puzzle", ("success", "cunning")): ("framing.capability_puzzle", "framing.game_or_simulation"),
}
"""A view of the task, the points that would go with it, and the framing grader's scores that make it up."""
VIEWS = tuple(score for scores in BESIDE.values() for score in scores)
FEWEST = 6
"""Prompts that it takes to say whether two things go together."""
SUREST = 0.9999


class Together(Struct, frozen=True, kw_only=True):
    """How far a view of the task goes with points of its kind: over prompts and checkpoints, by ranks."""

    run: str
    view: str
    points: tuple[str, ...]
    within: bool
    """Whether each prompt is held against itself at other checkpoints; else prompts are held against each other as well."""
    correlation: Estimate
    """Spearman's; none where one of the two never differs."""


class Rewarded(Struct, frozen=True, kw_only=True):
    """What rubrics reward, over the steps of each run."""

    declared: Declared
    meant: Sequence[Trend]
    """The share of points that reward what the environment really tests, a trend a run."""
    kinds: Mapping[str, Sequence[Trend]]
    """The share of points of each kind."""
    by_tested: Mapping[str, Sequence[Trend]]
    """The share that rewards what is tested, in the environments that test each thing."""
    together: Sequence[Together]
    rubrics: int
    without: int
    """Rubrics of which nothing could be judged: no points, or no judgment."""


def is_of_rubrics(declared: Declared) -> bool:
    """Whether an experiment has rubrics written."""
    return set(declared.arms) == {ACT, RUBRIC}


def tested(declared: Declared, environment: str) -> str:
    """What an environment of the experiment really tests, as its name says.

    >>> told = Declared(name="rubrics", summary="", arms=(), outcomes={}, contrasts=(), environments=())
    >>> tested(told, "rubrics (honesty)")
    'honesty'
    """
    said = re.fullmatch(rf"{re.escape(declared.name)} \((.*)\)", environment)
    return said[1] if said else ""


def rewarded(
    traces: pl.DataFrame, points: Mapping[str, pl.DataFrame], views: Mapping[str, pl.DataFrame], declared: Declared, *, seed: int = 0
) -> Rewarded | None:
    """What rubrics reward; None where none of them was judged.

    `traces` has a row a trace: transcript_id, run, step, environment, prompt_id and condition_arm; `points` for each kind what the grader
    of points gives (transcript_id, value, missing_reason), `views` the same for the scores of the framing grader.
    """
    ours = traces.filter(pl.col("environment").is_in(declared.environments))
    written = ours.filter(pl.col(ARM) == RUBRIC)
    of_kind = {kind: written.join(points[kind].select(*VALUED), on="transcript_id", how="left") for kind in KINDS if kind in points}
    if not of_kind or all(rows["value"].is_null().all() for rows in of_kind.values()):
        return None
    aim = {environment: tested(declared, environment) for environment in declared.environments}
    parts = [of_kind[kind].filter(pl.col("environment").replace_strict(aim) == kind) for kind in sorted(set(aim.values()) & of_kind.keys())]
    meant = pl.concat(parts) if parts else next(iter(of_kind.values())).clear()
    some = next(iter(of_kind.values()))
    return Rewarded(
        declared=declared,
        meant=list(_trends(meant, MEANT, seed)),
        kinds={kind: list(_trends(rows, kind, seed)) for kind, rows in of_kind.items()},
        by_tested={
            kind: list(_trends(part, MEANT, seed)) for kind, part in ((aim[rows["environment"][0]], rows) for rows in parts if rows.height)
        },
        together=list(_together(ours, of_kind, views)),
        rubrics=some.height,
        without=int(some["value"].is_null().sum()),
    )


VALUED = ("transcript_id", "value", "missing_reason")


def _trends(rows: pl.DataFrame, named: str, seed: int) -> Iterator[Trend]:
    for run in rows["run"].unique().sort():
        of_run = rows.filter(pl.col("run") == run).with_columns(pl.col("missing_reason").fill_null("its points were not judged"))
        yield trend_of(of_run, run=run, measure=named, unit=UNIT, version=1, ends=(0.0, 1.0), seed=seed)


def _together(ours: pl.DataFrame, of_kind: Mapping[str, pl.DataFrame], views: Mapping[str, pl.DataFrame]) -> Iterator[Together]:
    acted = ours.filter(pl.col(ARM) == ACT)
    for (view, kinds), scores in BESIDE.items():
        if not (set(kinds) <= of_kind.keys() and set(scores) <= views.keys()):
            continue
        seen = _cells([acted.join(views[score].select(*VALUED), on="transcript_id") for score in scores])
        paid = _cells([of_kind[kind] for kind in kinds])
        both = seen.join(paid, on=CELL, suffix="_paid").drop_nulls()
        for run in both["run"].unique().sort():
            of_run = both.filter(pl.col("run") == run).sort(CELL)
            for within in (False, True):
                found = correlation(of_run, within=within)
                yield Together(run=run, view=view, points=kinds, within=within, correlation=found)


CELL = ["run", "environment", "prompt_id", "step"]


def _cells(parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Of each prompt at each checkpoint the mean of each part, added up."""
    means = [part.group_by(CELL).agg(pl.col("value").mean()) for part in parts]
    return pl.concat(means).group_by(CELL).agg(pl.when(pl.col("value").count() == len(means)).then(pl.col("value").sum()).alias("value"))


def correlation(cells: pl.DataFrame, *, within: bool) -> Estimate:
    """Spearman's correlation of two columns (value, value_paid) over prompts and steps, with prompts as clusters.

    `within` takes from each rank its prompt's mean, so that only how a prompt changes over the steps counts.
    """
    prompts = np.unique((cells["environment"] + "\0" + cells["prompt_id"]).to_numpy(), return_inverse=True)[1]
    many = int(prompts.max(initial=-1)) + 1
    columns = np.stack([rankdata(cells[name].to_numpy()) for name in ("value", "value_paid")])
    if within:
        columns = np.stack([column - (np.bincount(prompts, column) / np.bincount(prompts))[prompts] for column in columns])
    value = float(_pearson(columns, prompts, np.ones((1, many)))[0]) if many else np.nan
    kind = "Spearman's rank correlation, within prompts" if within else "Spearman's rank correlation"
    if not np.isfinite(value):
        return Estimate(value=None, traces=cells.height, prompts=many, method=f"{kind}; one of the two never differs")
    if many < FEWEST:
        return Estimate(value=value, traces=cells.height, prompts=many, method=f"{kind}; too few prompts for an interval")
    without = np.arctanh(np.clip(_pearson(columns, prompts, 1 - np.eye(many)), -SUREST, SUREST))
    told = f"{kind}; jackknife over prompts, on Fisher's scale"
    if not np.isfinite(without).all():
        return Estimate(value=value, traces=cells.height, prompts=many, method=f"{kind}; it rests on one prompt, so no interval")
    error = float(((without - without.mean()) ** 2).sum() * (many - 1) / many) ** 0.5
    middle, half = float(np.arctanh(np.clip(value, -SUREST, SUREST))), float(stdtrit(many - 1, 0.975)) * error
    low, high = (float(end) for end in np.tanh([middle - half, middle + half]))
    return Estimate(value=value, low=low, high=high, traces=cells.height, prompts=many, method=told)


def _pearson(columns: Floats, prompts: Ints, weights: Floats) -> Floats:
    """Of each row of weights (one a prompt) the correlation of the two columns; NaN where one never differs."""
    each = weights[:, prompts]
    total = each.sum(axis=1)
    one, other = columns
    mean_one, mean_other = each @ one / total, each @ other / total
    together = each @ (one * other) / total - mean_one * mean_other
    spread = (each @ one**2 / total - mean_one**2) * (each @ other**2 / total - mean_other**2)
    found: Floats = np.divide(together, np.sqrt(np.clip(spread, 0, None)), out=np.full(len(total), np.nan), where=spread > 1e-9)
    return found
