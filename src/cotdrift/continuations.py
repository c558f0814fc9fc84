"""Continuations: how often checkpoints go on from the same prefixes with a behaviour, over the steps, and from which prefixes.

What is particular to the results of `prefixes` stands here.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

import numpy as np
import polars as pl
from msgspec import Struct
from scipy.special import betainc, betaln

from cotdrift.estimate import Floats, Ints, benjamini_hochberg, holm
from cotdrift.experiments.prefix_design import ENVIRONMENTS
from cotdrift.trend import Trend, trend_of

SHARED, OWN = ENVIRONMENTS["shared"], ENVIRONMENTS["own"]
ALPHA = 0.05
PATTERN = "shows"
"""The outcome that says whether the pattern of the behaviour is in what is new."""
DRAWS = 9999
MEANS, SIZES = (np.arange(24) + 0.5) / 24, np.geomspace(0.3, 1000, 16)
"""What is averaged over: the mean of the prefixes' rates, and how alike these are (as if so many answers were known of each beforehand)."""
RATES = np.linspace(0, 1, 201)
LIGHTEST = 1e-3
"""Of the likeliest mean and size, the weight below which others are left out."""


class Pooled(Struct, frozen=True, kw_only=True):
    """How often one prefix is gone on with in this way at one step, drawn towards the others as far as these are alike."""

    yes: int
    answers: int
    value: float
    low: float
    high: float


class OfPrefix(Struct, frozen=True, kw_only=True):
    """What one run makes of the prefixes of one prompt."""

    run: str
    prompt_id: str
    ends: str
    """The end of its shortest-cut prefix."""
    first: Pooled | None
    """None where the behaviour is no matter of yes and no, or was not looked for there."""
    last: Pooled | None
    p: float | None
    """Of a trend over the steps, were its answers dealt out to them by chance; None where all are alike, or there is one step."""
    holm: float | None
    """The same, adjusted over the prefixes of the run so that the chance of any false one is kept."""
    bh: float | None
    """The same, adjusted so that the share of false ones among those found is kept (Benjamini and Hochberg)."""
    rises: bool


class Example(Struct, frozen=True, kw_only=True):
    """A continuation that is shown."""

    run: str
    step: int
    shows: bool
    transcript_id: str


class Continued(Struct, frozen=True, kw_only=True):
    """What the experiment says of one behaviour."""

    behaviour: str
    shared: Sequence[Trend]
    """From the same prefixes for every checkpoint, a trend a run."""
    own: Sequence[Trend]
    """From the checkpoint's own reasoning on the same prompts, cut as far in; empty where it was not asked."""
    margins: dict[int, Sequence[Trend]]
    """From the shared prefixes that end so many words before the behaviour; empty where there is one margin."""
    prefixes: Sequence[OfPrefix]
    examples: Sequence[Example]

    def of(self, run: str) -> list[OfPrefix]:
        """The prefixes of one run."""
        return [prefix for prefix in self.prefixes if prefix.run == run]


def pooled(yes: Ints, answers: Ints, *, level: float = 0.95) -> list[Pooled]:
    """Each prefix's rate with the others' help, by the hierarchical beta-binomial model of Gelman et al. (Bayesian Data Analysis, 5.3).

    Rates come from one beta distribution, whose mean and size (how alike prefixes are) are averaged over, with that book's prior. The value
    is the posterior median.
    """
    mean, size = (axis.ravel() for axis in np.meshgrid(MEANS, SIZES))
    a, b = (mean * size)[:, None], ((1 - mean) * size)[:, None]
    # the book's prior, (a + b)^-5/2 for a and b, is size^-3/2 for mean and size, and size^-1/2 on a grid that is even in its logarithm
    weight = (betaln(yes + a, answers - yes + b) - betaln(a, b)).sum(axis=1) - 0.5 * np.log(size)
    weight = np.exp(weight - weight.max())
    kept = weight > LIGHTEST
    weight, a, b = weight[kept] / weight[kept].sum(), a[kept], b[kept]
    ends = (1 - level) / 2, 0.5, (1 + level) / 2
    rates: dict[tuple[int, int], Pooled] = {}
    each = list(zip(yes.tolist(), answers.tolist(), strict=True))
    for said, many in set(each):
        low, middle, high = np.interp(ends, weight @ betainc(a + said, b + many - said, RATES), RATES)
        rates[said, many] = Pooled(yes=said, answers=many, value=float(middle), low=float(low), high=float(high))
    return [rates[counted] for counted in each]


def dealt_out(values: Floats, steps: Ints, *, draws: int = DRAWS, seed: int = 0) -> tuple[float | None, bool]:
    """How often chance, dealing a prefix's answers out to the steps, gives as strong a trend on log(1 + step); and whether it goes up."""
    heights = np.log1p((steps - steps.min(initial=0)).astype(np.float64))
    heights -= heights.mean() if len(heights) else 0.0
    seen = float(values @ heights)
    if not np.ptp(heights) or not np.ptp(values):
        return None, seen > 0
    rng = np.random.default_rng(seed)
    dealt = rng.permuted(np.broadcast_to(values, (draws, len(values))), axis=1) @ heights
    return (1 + int((np.abs(dealt) >= abs(seen) - 1e-9).sum())) / (1 + draws), seen > 0


def continued(frame: pl.DataFrame, behaviour: str, unit: str, *, ends: dict[str, str] | None = None, seed: int = 0) -> Continued | None:
    """What the traces of the experiment say of a behaviour; None where it has no value in any of them.

    `frame` has a row a trace: transcript_id, run, step, environment, prompt_id, value (null where there is none), missing_reason, and
    condition_margin. `ends` says how the prefixes of each prompt end.
    """
    ours = frame.filter(pl.col("environment").is_in([SHARED, OWN])).sort("transcript_id")
    if not ours["value"].drop_nulls().len():
        return None
    shared, own = (ours.filter(pl.col("environment") == arm) for arm in (SHARED, OWN))
    trend = partial(_trends, behaviour=behaviour, unit=unit, seed=seed)
    margins = sorted(shared["condition_margin"].drop_nulls().unique().cast(pl.Int64)) if "condition_margin" in shared.columns else []
    cut = {margin: shared.filter(pl.col("condition_margin") == str(margin)) for margin in margins} if len(margins) > 1 else {}
    runs = shared["run"].unique().sort()
    return Continued(
        behaviour=behaviour,
        shared=trend(shared),
        own=trend(own),
        margins={margin: trend(part) for margin, part in cut.items()},
        prefixes=[prefix for run in runs for prefix in _prefixes(shared.filter(pl.col("run") == run), run, ends or {}, seed)],
        examples=[example for run in runs for example in _examples(shared.filter(pl.col("run") == run), run)],
    )


def _trends(frame: pl.DataFrame, *, behaviour: str, unit: str, seed: int) -> list[Trend]:
    runs = frame["run"].unique().sort()
    return [trend_of(frame.filter(pl.col("run") == run), run=run, measure=behaviour, unit=unit, version=1, seed=seed) for run in runs]


def _prefixes(frame: pl.DataFrame, run: str, ends: dict[str, str], seed: int) -> list[OfPrefix]:
    valued = frame.drop_nulls("value").with_columns(pl.col("value").cast(pl.Float64))
    steps = frame["step"].unique().sort().to_list()
    is_share = bool(valued["value"].is_in([0.0, 1.0]).all())
    at = [_pooled_at(valued.filter(pl.col("step") == step)) if is_share else {} for step in (steps[0], steps[-1])]
    names, tested = valued["prompt_id"].unique().sort().to_list(), []
    for name in names:
        rows = valued.filter(pl.col("prompt_id") == name)
        tested.append(dealt_out(rows["value"].to_numpy(), rows["step"].to_numpy().astype(np.int64), seed=seed))
    p = [found for found, _ in tested]
    return [
        OfPrefix(
            run=run,
            prompt_id=name,
            ends=ends.get(name, ""),
            first=at[0].get(name),
            last=at[1].get(name),
            p=chance,
            holm=kept,
            bh=found,
            rises=up,
        )
        for name, (chance, up), kept, found in zip(names, tested, holm(p), benjamini_hochberg(p), strict=True)
    ]


def _pooled_at(valued: pl.DataFrame) -> dict[str, Pooled]:
    if not valued.height:
        return {}
    counted = valued.group_by("prompt_id").agg(yes=pl.col("value").sum().cast(pl.Int64), answers=pl.len().cast(pl.Int64)).sort("prompt_id")
    return dict(zip(counted["prompt_id"], pooled(counted["yes"].to_numpy(), counted["answers"].to_numpy()), strict=True))


def _examples(frame: pl.DataFrame, run: str) -> list[Example]:
    """At the first checkpoint and at the last, one continuation that shows the behaviour and one that does not."""
    steps: list[int] = frame["step"].unique().sort().to_list()
    found = []
    for step in dict.fromkeys((steps[0], steps[-1])):
        here = frame.filter((pl.col("step") == step) & pl.col("value").is_not_null())
        for shows in (True, False):
            such = here.filter((pl.col("value") > 0) == shows)
            if such.height:
                found.append(Example(run=run, step=step, shows=shows, transcript_id=such["transcript_id"][0]))
    return found


Verdict = Literal["rise", "fall"]


def clear(prefixes: Sequence[OfPrefix], adjusted: Literal["holm", "bh"]) -> dict[Verdict, int]:
    """How many prefixes change clearly by themselves, up or down."""
    sure = [prefix for prefix in prefixes if (p := getattr(prefix, adjusted)) is not None and p < ALPHA]
    return {"rise": sum(prefix.rises for prefix in sure), "fall": sum(not prefix.rises for prefix in sure)}
