"""Anchors: traces that one judge judged and another judged again, which tell a change of judges from a change of the model.

A judge is another one with another model, version or setting, and with another wording of the question. What the two say of the same traces
is held together trace by trace, as two forms of a test are by the items they have in common (Kolen and Brennan 2014).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import NamedTuple

import numpy as np
import polars as pl
from msgspec import Struct
from msgspec.structs import replace

from cotdrift.agreement import Agreement, agreement
from cotdrift.estimate import Contrast, Estimate, Floats, Sums, mean, paired_difference
from cotdrift.grader import Grader
from cotdrift.scores import Score, scores_of
from cotdrift.trend import Trend

RATER = ("sha", "judge", "settings")
PLACE = ("run", "step")
STEPS_OF_A_SCALE = 500
"""Values of a score are told apart so finely when agreement is computed."""
DRIFTED = 0.05
"""The p below which a shift is said to have changed over training."""
BETWEEN = "The first and the last step have the same ones; what lies between is not to be compared with them."


class Rater(NamedTuple):
    """Who judged: a model under its settings, asked in one wording."""

    sha: str
    judge: str
    settings: str

    def __str__(self) -> str:
        return f"{self.judge} ({self.settings})" if self.settings else self.judge


Panel = tuple[Rater, ...]


class Shift(Struct, frozen=True, kw_only=True):
    """How far what one judge says is from what the one before it said, of the traces that both judged."""

    old: str
    new: str
    unit: str
    traces: int
    """With a value from both."""
    lost: int
    """Traces of which the old one's judgment is there and the new one's is missing."""
    gained: int
    """Traces of which only the new one's is there."""
    before: Estimate
    after: Estimate
    difference: Contrast | None
    """New minus old, each trace against itself, prompts as clusters; None without a trace that both have a value of."""
    kept: Estimate | None
    """Of what the old one said yes to, the share that the new one says yes to; None where values are no yes or no, or there is none."""
    turned: Estimate | None
    """Of what the old one said no to, the share that the new one says yes to."""
    agreement: Agreement | None
    later: Contrast | None
    """The difference at the later half of the steps minus that at the earlier; None where these share no prompt."""
    at_most: float | None
    """The largest shift, either way, that the anchors do not exclude; None where they exclude none."""

    @property
    def is_steady(self) -> bool:
        """Whether nothing shows that the shift itself changed over training."""
        return self.later is None or self.later.p is None or self.later.p >= DRIFTED

    def sentence(self) -> str:
        """How far the two are apart, in sentences with numbers."""
        who = f"{self.new} beside {self.old}"
        if self.difference is None:
            return f"{who}: no trace has a value from both, so nothing is known of the change."
        both = f"{who}, {self.traces:,} traces of {self.difference.prompts:,} prompts that both judged"
        change = f"{_signed(self.difference.value, self.unit)}{_bounds(self.difference, self.unit)}"
        told = [f"{both}: {change}, from {_plain(self.before, self.unit)} to {_plain(self.after, self.unit)}"]
        if self.agreement is not None and self.agreement.raw.value is not None:
            alpha = self.agreement.alpha.value
            told.append(f"the same of {100 * self.agreement.raw.value:.1f} %{'' if alpha is None else f', alpha {alpha:.2f}'}")
        yes = [
            f"of the old one's {which} the new one calls {100 * one.value:.1f} % yes"
            for which, one in (("yes", self.kept), ("no", self.turned))
            if one is not None and one.value is not None
        ]
        told += [", ".join(yes)] if yes else []
        if self.lost or self.gained:
            told.append(f"{self.lost:,} judgments lost, {self.gained:,} gained")
        if not self.is_steady and self.later is not None:
            told.append(f"not the same throughout: {_signed(self.later.value, self.unit)} at the later steps against the earlier")
        end = "nothing bounds the shift" if self.at_most is None else f"up to {_amount(self.at_most, self.unit)} may be the judge's"
        return f"{'; '.join(told)}. Of a change across the two, {end}."


def shift_of(
    old: pl.DataFrame, new: pl.DataFrame, who: pl.DataFrame, score: Score, *, names: tuple[str, str], seed: int = 0
) -> Shift | None:
    """The shift from one judge's values to another's; None where they judged no trace in common.

    `old` and `new` have transcript_id and value (null where it is missing); `who` transcript_id, step and prompt.
    """
    both = old.select("transcript_id", old="value").join(new.select("transcript_id", new="value"), on="transcript_id")
    both = both.join(who.select("transcript_id", "step", "prompt"), on="transcript_id").sort("step", "transcript_id")
    if not both.height:
        return None
    told = both.drop_nulls(["old", "new"])
    first, second = told["old"].to_numpy(), told["new"].to_numpy()
    prompts = np.unique(told["prompt"].to_numpy(), return_inverse=True)[1].astype(np.int64)
    share = score.unit.startswith("share") and bool(np.isin([first, second], (0.0, 1.0)).all())
    found = paired_difference(Sums.of(first, prompts), Sums.of(second, prompts), seed=seed) if told.height else None
    steps = told["step"].unique().sort().to_list()
    late = told["step"].to_numpy() >= steps[len(steps) // 2] if len(steps) > 1 else np.zeros(told.height, np.bool_)
    many = int(prompts.max(initial=-1)) + 1
    halves = [Sums.of((second - first)[half], prompts[half], n_prompts=many) for half in (~late, late)]
    ratings = [first, second] if share else [_coarse(values, score) for values in (first, second)]
    of_yes, of_no = (mean(second[kind], np.unique(prompts[kind], return_inverse=True)[1]) for kind in (first == 1, first == 0))
    return Shift(
        old=names[0],
        new=names[1],
        unit=score.unit,
        traces=told.height,
        lost=both.filter(pl.col("old").is_not_null() & pl.col("new").is_null()).height,
        gained=both.filter(pl.col("old").is_null() & pl.col("new").is_not_null()).height,
        before=mean(first, prompts, share=share),
        after=mean(second, prompts, share=share),
        difference=found,
        kept=of_yes if share and of_yes.value is not None else None,
        turned=of_no if share and of_no.value is not None else None,
        agreement=agreement(ratings, prompts, scale="nominal" if share else "interval", raters=names, seed=seed) if told.height else None,
        later=paired_difference(*halves, seed=seed) if late.any() else None,
        at_most=None if found is None else _at_most(found, score),
    )


def _coarse(values: Floats, score: Score) -> Floats:
    """Values on a scale of so many steps; as they are, where it has no end."""
    if score.ends is None:
        return values
    step = (score.high - score.low) / STEPS_OF_A_SCALE
    return np.round((values - score.low) / step) * step + score.low


def _at_most(found: Contrast, score: Score) -> float | None:
    """The interval's farther end; where no prompt differs from another, what so many of a kind exclude (Clopper and Pearson 1934)."""
    if found.low is not None and found.high is not None:
        return max(abs(found.low), abs(found.high))
    if found.prompts < 2 or score.ends is None:
        return None
    gap = 1 - ((1 - found.level) / 2) ** (1 / found.prompts)
    return float(abs(found.value) + gap * (score.high - score.low))


def raters_of(judgments: pl.DataFrame) -> dict[Rater, pl.DataFrame]:
    """Who judged, in the order in which they began, each with their judgments."""
    begun = judgments.filter(pl.col("repeat") == 0).group_by(RATER).agg(first=pl.col("at").min()).sort("first", *RATER)
    parts = judgments.filter(pl.col("repeat") == 0).partition_by(RATER, as_dict=True)
    return {Rater(*row[:3]): parts[row[:3]] for row in begun.iter_rows()}


def shifts(name: str, judgments: pl.DataFrame, wordings: Callable[[str], Grader], who: pl.DataFrame, *, seed: int = 0) -> list[Shift]:
    """Each judge beside every one before it, on the traces that both judged; `wordings` gives the grader of a fingerprint.

    Wordings on another scale are left out: nothing is to be subtracted there.
    """
    raters = raters_of(judgments)
    wordings_differ = len({rater.sha for rater in raters}) > 1
    said = []
    for rater, theirs in raters.items():
        grader = wordings(rater.sha)
        if score := scores_of(grader).get(name):
            told = f"{rater}, wording {rater.sha}" if wordings_differ else str(rater)
            said.append((told, score, score.of(grader, theirs)))
    pairs = [(old, new) for old, new in combinations(said, 2) if (old[1].low, old[1].high) == (new[1].low, new[1].high)]
    found = [shift_of(old[2], new[2], who, new[1], names=(old[0], new[0]), seed=seed) for old, new in pairs]
    return [shift for shift in found if shift is not None]


def heard(judgments: pl.DataFrame, who: pl.DataFrame) -> pl.DataFrame:
    """The judgments that count towards a trace's value.

    Those who judged all checkpoints of a run most fully are heard alone; where nobody did, those are heard who judged the checkpoint most
    fully, so that a second judge of some anchors does not become half of a panel there. A trace that only others judged keeps them.
    """
    rows = judgments.join(who.select("transcript_id", *PLACE), on="transcript_id")
    judged = rows.select("transcript_id", *PLACE, *RATER).unique().group_by(*PLACE, *RATER).len()
    judged = judged.with_columns(most=pl.col("len") == pl.col("len").max().over(*PLACE))
    everywhere = pl.col("most").sum().over("run", *RATER) == pl.struct(*PLACE).n_unique().over("run")
    judged = judged.with_columns(everywhere=everywhere)
    fullest = judged.with_columns(heard=pl.when(pl.col("everywhere").any().over("run")).then("everywhere").otherwise("most"))
    rows = rows.join(fullest.select(*PLACE, *RATER, "heard"), on=[*PLACE, *RATER])
    return rows.filter(pl.col("heard") | ~pl.col("heard").any().over("transcript_id")).select(judgments.columns)


def who_judged(rows: pl.DataFrame) -> pl.DataFrame:
    """Who is heard of each trace: transcript_id, and judges, a list of raters."""
    each = rows.select("transcript_id", *RATER).unique().sort("transcript_id", *RATER)
    return each.group_by("transcript_id", maintain_order=True).agg(judges=pl.struct(RATER))


def across(trend: Trend, here: pl.DataFrame, between: Callable[[Panel, Panel], Shift | None]) -> Trend:
    """A trend with what is to be said where its checkpoints were not judged by the same judges.

    `here` has its traces, with step and judges; `between` gives the shift from one panel to another.
    """
    heard = here.explode("judges").drop_nulls("judges").select("step", "judges").unnest("judges").unique().sort("step", *RATER)
    panels: dict[int, Panel] = {}
    for step, *rater in heard.iter_rows():
        panels[step] = (*panels.get(step, ()), Rater(*rater))
    parts = dict.fromkeys(panels.values())
    if len(parts) < 2:
        return trend
    told = "; ".join(f"{_steps([step for step in panels if panels[step] == panel], list(panels))}: {named(panel)}" for panel in parts)
    said = f"Not all checkpoints were judged by the same judges ({told})."
    first, last = panels[min(panels)], panels[max(panels)]
    verdict = BETWEEN if first == last else _verdict(trend, between(first, last))
    return replace(trend, warnings=(*trend.warnings, f"{said} {verdict}"))


def _verdict(trend: Trend, shift: Shift | None) -> str:
    """Whether a difference between two steps is more than what their judges differ by."""
    if shift is None or shift.difference is None:
        return "No trace was judged by both, so nothing tells the judges' change from the model's: grade old ones with --anchors."
    unit, seen, moved = trend.unit, trend.contrast, shift.difference
    said = f"On {shift.traces:,} traces that both judged, the later say {_signed(moved.value, unit)}{_bounds(moved, unit)}"
    steady = "" if shift.is_steady else ", which is not the same throughout"
    if seen is None or seen.low is None or seen.high is None or moved.low is None or moved.high is None:
        most = "" if shift.at_most is None else f": of a change across them up to {_amount(shift.at_most, unit)} may be the judges'"
        return f"{said}{steady}{most}."
    left = seen.value - moved.value
    below = ((seen.value - seen.low) ** 2 + (moved.high - moved.value) ** 2) ** 0.5
    above = ((seen.high - seen.value) ** 2 + (moved.value - moved.low) ** 2) ** 0.5
    holds = (left - below > 0 or left + above < 0) and shift.is_steady
    ends = f"{_signed(left, unit)} [{_signed(left - below, unit)}, {_signed(left + above, unit)}]"
    rest = f"without that, step {seen.step} is {ends} from step {seen.since}"
    return f"{said}{steady}; {rest}: the change is {'more than the judges’' if holds else 'not to be trusted'}."


def all_of(judgments: pl.DataFrame, panel: Panel) -> pl.DataFrame:
    """The judgments of a panel, of the traces that all of it judged."""
    theirs = pl.DataFrame(panel, schema=list(RATER), orient="row")
    rows = judgments.filter(pl.col("repeat") == 0).join(theirs, on=list(RATER))
    return rows.filter(pl.struct(RATER).n_unique().over("transcript_id") == len(panel))


def named(panel: Panel) -> str:
    """A panel by its judges."""
    return " and ".join(map(str, panel))


def _steps(steps: list[int], of: list[int]) -> str:
    if len(steps) == 1:
        return f"step {steps[0]}"
    together = of.index(steps[-1]) - of.index(steps[0]) == len(steps) - 1
    return f"steps {steps[0]} to {steps[-1]}" if together else f"steps {', '.join(map(str, steps))}"


def _amount(value: float, unit: str) -> str:
    return f"{100 * value:.1f} points" if unit.startswith("share") else f"{value:.2g} {unit}"


def _signed(value: float, unit: str) -> str:
    return f"{100 * value:+.1f} points" if unit.startswith("share") else f"{value:+.2g}"


def _bounds(found: Contrast, unit: str) -> str:
    if found.low is None or found.high is None:
        return ""
    return f" [{_signed(found.low, unit)}, {_signed(found.high, unit)}]"


def _plain(estimate: Estimate, unit: str) -> str:
    if estimate.value is None:
        return "unknown"
    return f"{100 * estimate.value:.1f} %" if unit.startswith("share") else f"{estimate.value:.2f}"
