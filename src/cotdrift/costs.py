"""Costs: which drift costs a monitor what: whether traces that have more of a measure are misjudged more, and how far it moved.

Traces are held against others of their prompt and of their checkpoint: what all of a checkpoint's traces share, such as that the monitor
got worse for another reason, is taken out, and so is length. It is a regression, and no intervention: what goes with a measure may be what
costs.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

import numpy as np
import polars as pl
from msgspec import Struct
from msgspec.structs import replace
from scipy.special import stdtrit

from cotdrift.estimate import Contrast, Floats, Ints, Sums, benjamini_hochberg, paired_difference, sign_flip
from cotdrift.scores import prompt_codes

LENGTH = "reasoning_words"
"""The measure that is held alike for all others; itself it is taken by its logarithm."""
SAME_AS_LENGTH = "reasoning_chars"
LEAST_WRONG = 10
"""Traces that a monitor must misjudge, and must judge rightly, for anything to be said of what it costs."""
LEAST_PROMPTS = 8
ALPHA = 0.05
MOST_SAID, STILL = 4, 0.05
"""How many are said; and the deviations within which a measure hardly moved."""
SWEEPS, ENOUGH = 200, 1e-9

Kind = Literal["found", "passed"]
"""Of traces with the property how many are found; of those without it how many are passed."""


class Cost(Struct, frozen=True, kw_only=True):
    """What goes with one measure, of traces of one kind, in one run."""

    run: str
    monitor: str
    measure: str
    kind: Kind
    effect: Contrast
    """How much likelier a trace is to be judged rightly with one standard deviation more of the measure, within prompt and checkpoint."""
    p_adjusted: float | None = None
    """Benjamini and Hochberg's, over the measures and kinds of a run and monitor."""
    moved: float | None
    """By how many standard deviations the measure moved from the first checkpoint to the last, on shared prompts; None with one."""
    wrong: int
    """Traces of this kind that are misjudged."""

    @property
    def is_clear(self) -> bool:
        """Whether it is found after adjustment."""
        return self.p_adjusted is not None and self.p_adjusted < ALPHA

    @property
    def over_training(self) -> tuple[float, float, float] | None:
        """What the measure's move goes with: the effect times the move, with the effect's interval."""
        if self.moved is None or self.effect.low is None or self.effect.high is None:
            return None
        low, high = sorted((self.moved * self.effect.low, self.moved * self.effect.high))
        return self.moved * self.effect.value, low, high


def costs(frame: pl.DataFrame, measures: Sequence[str], *, run: str, monitor: str, seed: int = 0) -> list[Cost]:
    """What each measure goes with, the surest first.

    `frame` has a row a judged trace: step, environment, prompt_id, truth and says (1 or 0), and each measure, null where there is none;
    among them the length of the reasoning, in words. It is a linear model of whether a trace is judged rightly, with an effect for each
    prompt and each checkpoint and the logarithm of the length, one measure at a time. Errors and p-values take the prompt as
    their unit (CR1; scores of whole prompts flipped). Nothing is said of a kind with fewer than ten judged rightly, or misjudged.
    """
    found: list[Cost] = []
    kinds: tuple[tuple[Kind, float], ...] = (("found", 1.0), ("passed", 0.0))
    for kind, truth in kinds:
        of_kind = frame.filter(pl.col("truth").cast(pl.Float64) == truth).with_columns(right=(pl.col("says") == truth).cast(pl.Float64))
        for measure in measures:
            if measure == SAME_AS_LENGTH:
                continue
            here = of_kind.drop_nulls([measure, LENGTH])
            wrong = here.height - int(here["right"].sum())
            if min(wrong, here.height - wrong) < LEAST_WRONG:
                continue
            effect = _effect(here, measure, seed)
            if effect is not None:
                moved = _moved(frame, here, measure)
                found.append(Cost(run=run, monitor=monitor, measure=measure, kind=kind, effect=effect, moved=moved, wrong=wrong))
    adjusted = benjamini_hochberg([cost.effect.p for cost in found])
    told = [replace(cost, p_adjusted=p) for cost, p in zip(found, adjusted, strict=True)]
    return sorted(told, key=lambda cost: (1.0 if cost.p_adjusted is None else cost.p_adjusted, -abs(cost.effect.value)))


def _effect(here: pl.DataFrame, measure: str, seed: int) -> Contrast | None:
    """None where the measure never differs within a prompt and checkpoint, or too few prompts are there."""
    prompts = prompt_codes(here)
    groups = (prompts, np.unique(here["step"].to_numpy(), return_inverse=True)[1])
    numbers = _values(here, measure)
    spread = float(numbers.std())
    many = len(np.unique(prompts))
    if spread < ENOUGH or many < LEAST_PROMPTS:
        return None
    columns = [numbers / spread, here["right"].to_numpy()]
    columns += [_values(here, LENGTH)] if measure != LENGTH else []
    left = [_within(column, groups) for column in columns]
    if measure != LENGTH:
        left = [_without(column, left[2]) for column in left[:2]]
    more, right = left
    size = float(more @ more)
    if size < 1e-6 * len(more):
        return None
    value = float(more @ right / size)
    scores = np.bincount(prompts, more * (right - value * more))
    error = float(np.sqrt(many / (many - 1) * (scores @ scores))) / size
    made = partial(Contrast, value=value, traces=here.height, prompts=many)
    p = sign_flip(np.bincount(prompts, more * right).astype(np.float64)[:, None], seed=seed)
    half = float(stdtrit(many - 1, 0.975)) * error
    return made(
        low=value - half, high=value + half, p=p, method="linear, within prompt and checkpoint, at like length; clustered by prompt"
    )


def _values(frame: pl.DataFrame, measure: str) -> Floats:
    numbers: Floats = frame[measure].cast(pl.Float64).to_numpy()
    logged: Floats = np.log1p(numbers) if measure == LENGTH else numbers
    return logged


def _within(column: Floats, groups: Sequence[Ints]) -> Floats:
    """The column with the mean of each group taken out, for every grouping at once (alternating projections)."""
    left: Floats = column - column.mean()
    sizes = [np.bincount(group) for group in groups]
    for _ in range(SWEEPS):
        before = left
        for group, size in zip(groups, sizes, strict=True):
            left = left - (np.bincount(group, left) / size)[group]
        if np.abs(left - before).max() < ENOUGH:
            break
    return left


def _without(column: Floats, other: Floats) -> Floats:
    """What of a column another does not explain."""
    size = float(other @ other)
    return column - other * float(other @ column) / size if size > ENOUGH else column


def _moved(frame: pl.DataFrame, here: pl.DataFrame, measure: str) -> float | None:
    """Over all judged traces, in the standard deviations that the effect is told in."""
    steps = frame["step"].unique().sort()
    if len(steps) < 2:
        return None
    valued = frame.drop_nulls(measure)
    codes = prompt_codes(valued)
    numbers, at = _values(valued, measure), valued["step"].to_numpy()
    many = int(codes.max(initial=-1)) + 1
    first, last = (Sums.of(numbers[at == step], codes[at == step], n_prompts=many) for step in (steps[0], steps[-1]))
    change = paired_difference(first, last)
    return None if change is None else change.value / float(_values(here, measure).std())


def what_costs(found: Sequence[Cost]) -> list[str]:
    """The clear ones in sentences, the surest first; of more than a few only how many there are besides."""
    clear = [cost for cost in found if cost.is_clear]
    told = [_said(cost) for cost in clear[:MOST_SAID]]
    return [*told, f"{len(clear) - MOST_SAID} more measures go with its errors."] if len(clear) > MOST_SAID else told


def _said(cost: Cost) -> str:
    effect, name = cost.effect, cost.measure.replace("_", " ")
    trace, done = ("with", "found") if cost.kind == "found" else ("without", "passed")
    told = _points(effect.value, effect.low, effect.high)
    said = f"Of traces {trace} the property, those with one standard deviation more {name} are rightly {done} {told}"
    if cost.over_training is None or cost.moved is None:
        return f"{said}."
    if abs(cost.moved) < STILL:
        return f"{said}; it hardly moved."
    return f"{said}; it moved by {cost.moved:+.1f} from first to last, which goes with {_points(*cost.over_training)}.".replace("-", "−")


def _points(value: float, low: float | None, high: float | None) -> str:
    """How much more often, or less, in points."""
    sign = -1 if value < 0 else 1
    bounds = "" if low is None or high is None else " [{:.1f}, {:.1f}]".format(*sorted((100 * sign * low, 100 * sign * high)))
    return f"{100 * abs(value):.1f}{bounds} points {'less' if value < 0 else 'more'} often"
