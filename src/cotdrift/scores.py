"""What graders say of a trace: one number, out of its windows and its judges."""

from __future__ import annotations

import re
from collections.abc import Callable
from math import inf
from typing import NamedTuple

import msgspec
import numpy as np
import polars as pl

from cotdrift.estimate import Floats, Ints
from cotdrift.grader import Grader, Read
from cotdrift.term import Term

NO_MAJORITY = "no majority of the judges"
THIRD = 3


class Score(NamedTuple):
    """One number of a trace that a grader's judgments give."""

    name: str
    unit: str
    low: float
    """The lowest that it can be; with `high` it bounds what missing judgments might have said."""
    high: float
    of: Callable[[Grader, pl.DataFrame], pl.DataFrame]
    """From judgments, as a table, to transcript_id, value and missing_reason."""
    labelled: bool = True
    """Whether it can be read off labels, which are of one part of a trace each."""

    @property
    def ends(self) -> tuple[float, float] | None:
        """The lowest and the highest that it can be, where there is a highest."""
        return (self.low, self.high) if self.high < inf else None


def scores_of(grader: Grader) -> dict[str, Score]:
    """Everything that can be read off a grader's judgments, by name: the grader's own, and after a dot each label, detail's level and term.

    >>> from cotdrift.grader import Answer
    >>> asked = (Answer(label="yes", value=1), Answer(label="no", value=0))
    >>> list(scores_of(Grader(name="talks", question="?", prompt="{reasoning}", answers=asked)))
    ['talks']
    """
    found: list[Score] = []
    values = [answer.value for answer in grader.answers if answer.value is not None]
    if grader.is_number:
        low, high = min(values), max(values)
        share = grader.is_yes_or_no
        reads = grader.reads or (
            Read(name="", how="mean", unit=f"share of {'windows' if grader.window else 'traces'}" if share else "points"),
        )
        for read in reads:
            apart = read.how in ("start to end", "snap back")
            ends = (0.0, 1.0) if read.how == "at most" else (low - high, high - low) if apart else (low, high)
            if read.how == "sum":
                ends = (-inf if low < 0 else 0.0, inf)
            labelled = read.how not in ("sum", "whole")
            found.append(Score(_dotted(grader, read.name), read.unit, *ends, _read_by(read), labelled))
        if all(read.name for read in reads):
            found.insert(0, found[0]._replace(name=grader.name))
    if grader.window is None and (not grader.is_number or (grader.is_yes_or_no and len(grader.answers) > 2)):
        unit = "share of traces" if grader.is_of_whole else "share of uses"
        found += [_share(_dotted(grader, answer.label), unit, _labelled(answer.label)) for answer in grader.answers]
    found += [
        _share(_dotted(grader, level), "share of traces", _detailed(detail.name, level))
        for detail in grader.details
        for level in detail.levels
    ]
    if grader.is_number:
        found += [found[0]._replace(name=f"{grader.name}.{'_'.join(term.words)}", of=_used(term)) for term in map(Term.parse, grader.terms)]
    return {score.name: score for score in found}


def prompt_codes(frame: pl.DataFrame) -> Ints:
    """A number for the prompt of each row; a prompt's name means another prompt in another environment."""
    told = frame["environment"].fill_null("") + "\x00" + frame["prompt_id"].fill_null("")
    codes: Ints = np.unique(told.to_numpy(), return_inverse=True)[1].astype(np.int64)
    return codes


def _dotted(grader: Grader, name: str) -> str:
    return f"{grader.name}.{re.sub(r'[^a-z0-9]+', '_', name.casefold()).strip('_')}" if name else grader.name


def _share(name: str, unit: str, of: Callable[[Grader, pl.DataFrame], pl.DataFrame]) -> Score:
    return Score(name, unit, 0.0, 1.0, of)


def _read_by(read: Read) -> Callable[[Grader, pl.DataFrame], pl.DataFrame]:
    def of(grader: Grader, judgments: pl.DataFrame) -> pl.DataFrame:
        asked = _summed_up(judgments) if read.how == "whole" else judgments
        panel = _panel(asked, pl.col("value"), share=grader.is_yes_or_no)
        found = _of_trace(panel, lambda values, weights: _windowed(read, grader.worse, values, weights))
        if read.how == "sum":
            without = panel.filter(pl.col("missing_reason") == "unused").select("transcript_id").unique(maintain_order=True)
            nought = without.join(found, on="transcript_id", how="anti").with_columns(value=pl.lit(0.0))
            found = pl.concat([found, nought], how="diagonal")
        return found

    return of


def _used(term: Term) -> Callable[[Grader, pl.DataFrame], pl.DataFrame]:
    def of(grader: Grader, judgments: pl.DataFrame) -> pl.DataFrame:
        of_term = judgments.filter(pl.Series([term.is_said(marked) for marked in judgments["marked"]], dtype=pl.Boolean))
        return _of_trace(_panel(of_term, pl.col("value"), share=grader.is_yes_or_no), _mean)

    return of


def _labelled(label: str) -> Callable[[Grader, pl.DataFrame], pl.DataFrame]:
    def of(_grader: Grader, judgments: pl.DataFrame) -> pl.DataFrame:
        said = pl.when(pl.col("label").is_not_null()).then((pl.col("label") == label).cast(pl.Float64))
        return _of_trace(_panel(judgments, said, share=True), _mean)

    return of


def _detailed(detail: str, level: str) -> Callable[[Grader, pl.DataFrame], pl.DataFrame]:
    def of(_grader: Grader, judgments: pl.DataFrame) -> pl.DataFrame:
        named = pl.Series([msgspec.json.decode(told).get(detail) == level for told in judgments["details"]], dtype=pl.Float64)
        said = pl.when(pl.col("label").is_not_null()).then("named")
        return _of_trace(_panel(judgments.with_columns(named=named), said, share=True), lambda values, _: float(values.max()))

    return of


def _summed_up(judgments: pl.DataFrame) -> pl.DataFrame:
    """The summary of each whole trace, as the part that it is itself where there was one part; none where it was not come to yet."""
    top = judgments.filter(pl.col("level") == pl.col("level").max().over("transcript_id"))
    one = pl.col("window").n_unique().over("transcript_id") == 1
    return top.with_columns(
        level=pl.lit(0),
        window=pl.lit(0),
        value=pl.when(one).then("value"),
        missing=pl.when(one).then("missing").otherwise(pl.lit("not summed up yet")),
    )


def _panel(judgments: pl.DataFrame, said: pl.Expr, *, share: bool) -> pl.DataFrame:
    """What the judges say together of each window: a yes or no by strict majority of all who were asked, a number by its mean."""
    votes = judgments.filter((pl.col("repeat") == 0) & (pl.col("level") == 0)).with_columns(said=said)
    asked, mean, answered = pl.len(), pl.col("said").mean(), pl.col("said").count()
    value: pl.Expr
    if share:
        yes = pl.col("said").sum()
        no = answered - yes
        value = pl.when(2 * yes > asked).then(1.0).when(2 * no > asked).then(0.0)
    else:
        value = pl.when(2 * answered > asked).then(mean)
    why = pl.col("missing").drop_nulls().mode().sort().first()
    parts = votes.group_by("transcript_id", "window")
    together = parts.agg(pl.col("stands_for").first(), value=value, why=why).sort("transcript_id", "window")
    reason = pl.when(pl.col("value").is_null()).then(pl.col("why").fill_null(NO_MAJORITY))
    return together.select("transcript_id", "stands_for", "value", missing_reason=reason)


def _of_trace(panel: pl.DataFrame, how: Callable[[Floats, Floats], float]) -> pl.DataFrame:
    """One number of what was asked of a trace, in order; none where half of it or more has no judgment, and no trace where nothing was."""
    asked = panel.filter(pl.col("missing_reason").ne_missing("unused"))
    values, weights, reasons = asked["value"].to_numpy(), asked["stands_for"].to_numpy(), asked["missing_reason"].to_list()
    rows: list[tuple[str, float | None, str | None]] = []
    first = 0
    for many, transcript_id in asked["transcript_id"].rle().struct.unnest().iter_rows():
        part, first = slice(first, first + many), first + many
        answered = np.isfinite(values[part])
        if 2 * answered.sum() <= many:
            rows.append((transcript_id, None, next(reason for reason in reasons[part] if reason)))
            continue
        known = weights[part][answered]
        rows.append((transcript_id, how(values[part][answered], known * weights[part].sum() / known.sum()), None))
    return pl.DataFrame(rows, schema={"transcript_id": pl.String, "value": pl.Float64, "missing_reason": pl.String}, orient="row")


def _mean(values: Floats, weights: Floats) -> float:
    return float(np.average(values, weights=weights))


def _windowed(read: Read, worse: str, values: Floats, weights: Floats) -> float:
    if read.how == "sum":
        return float(values @ weights)
    if read.how == "at most":
        return float((values <= (read.bound or 0.0)).mean())
    if read.how == "worst decile":
        ordered = np.sort(values) if worse == "low" else np.sort(values)[::-1]
        return float(ordered[max(0, -(-len(values) // 10) - 1)])
    if read.how == "start to end":
        third = max(1, len(values) // THIRD)
        return float(values[-third:].mean() - values[:third].mean())
    if read.how == "snap back":
        return float(values[-1] - values[:-1].mean()) if len(values) > 1 else 0.0
    return _mean(values, weights)
