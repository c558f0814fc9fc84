"""What graders say of a trace: one number, out of its windows and its judges."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

import msgspec
import numpy as np
import polars as pl

from cotdrift.estimate import Floats, Ints
from cotdrift.grader import Grader, Read

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
    """From judgments (transcript_id, window, judge, label, value, details, missing) to transcript_id, value and missing_reason."""


def scores_of(grader: Grader) -> dict[str, Score]:
    """Everything that can be read off a grader's judgments, by name: the grader's own, and after a dot each label and each detail's level.

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
            found.append(Score(_dotted(grader, read.name), read.unit, *ends, _read_by(read)))
        if all(read.name for read in reads):
            found.insert(0, found[0]._replace(name=grader.name))
    if grader.window is None and (not grader.is_number or (grader.is_yes_or_no and len(grader.answers) > 2)):
        found += [_share(_dotted(grader, answer.label), _labelled(answer.label)) for answer in grader.answers]
    found += [_share(_dotted(grader, level), _detailed(detail.name, level)) for detail in grader.details for level in detail.levels]
    return {score.name: score for score in found}


def prompt_codes(frame: pl.DataFrame) -> Ints:
    """A number for the prompt of each row; a prompt's name means another prompt in another environment."""
    told = frame["environment"].fill_null("") + "\x00" + frame["prompt_id"].fill_null("")
    codes: Ints = np.unique(told.to_numpy(), return_inverse=True)[1].astype(np.int64)
    return codes


def _dotted(grader: Grader, name: str) -> str:
    return f"{grader.name}.{re.sub(r'[^a-z0-9]+', '_', name.casefold()).strip('_')}" if name else grader.name


def _share(name: str, of: Callable[[Grader, pl.DataFrame], pl.DataFrame]) -> Score:
    return Score(name, "share of traces", 0.0, 1.0, of)


def _read_by(read: Read) -> Callable[[Grader, pl.DataFrame], pl.DataFrame]:
    def of(grader: Grader, judgments: pl.DataFrame) -> pl.DataFrame:
        panel = _panel(judgments, pl.col("value"), share=grader.is_yes_or_no)
        if grader.window is None and read.how == "mean":
            return panel.drop("window")
        return _over_windows(panel, lambda values: _windowed(read, grader.worse, values))

    return of


def _labelled(label: str) -> Callable[[Grader, pl.DataFrame], pl.DataFrame]:
    def of(_grader: Grader, judgments: pl.DataFrame) -> pl.DataFrame:
        said = pl.when(pl.col("label").is_not_null()).then((pl.col("label") == label).cast(pl.Float64))
        return _panel(judgments, said, share=True).drop("window")

    return of


def _detailed(detail: str, level: str) -> Callable[[Grader, pl.DataFrame], pl.DataFrame]:
    def of(grader: Grader, judgments: pl.DataFrame) -> pl.DataFrame:
        named = pl.Series([msgspec.json.decode(told).get(detail) == level for told in judgments["details"]], dtype=pl.Float64)
        said = pl.when(pl.col("label").is_not_null()).then("named")
        panel = _panel(judgments.with_columns(named=named), said, share=True)
        return panel.drop("window") if grader.window is None else _over_windows(panel, np.max)

    return of


def _panel(judgments: pl.DataFrame, said: pl.Expr, *, share: bool) -> pl.DataFrame:
    """What the judges say together of each window: a yes or no by strict majority of all who were asked, a number by its mean."""
    votes = judgments.filter(pl.col("repeat") == 0).with_columns(said=said)
    asked, mean, answered = pl.len(), pl.col("said").mean(), pl.col("said").count()
    value: pl.Expr
    if share:
        yes = pl.col("said").sum()
        no = answered - yes
        value = pl.when(2 * yes > asked).then(1.0).when(2 * no > asked).then(0.0)
    else:
        value = pl.when(2 * answered > asked).then(mean)
    why = pl.col("missing").drop_nulls().mode().sort().first()
    together = votes.group_by("transcript_id", "window").agg(value=value, why=why).sort("transcript_id", "window")
    reason = pl.when(pl.col("value").is_null()).then(pl.col("why").fill_null(NO_MAJORITY))
    return together.select("transcript_id", "window", "value", missing_reason=reason)


def _over_windows(panel: pl.DataFrame, how: Callable[[Floats], float]) -> pl.DataFrame:
    """One number of a trace's windows, in order; none where half of them or more have no judgment."""
    parts = panel.group_by("transcript_id", maintain_order=True).agg("value", why=pl.col("missing_reason").drop_nulls().first())
    rows = []
    for transcript_id, listed, why in parts.iter_rows():
        values = np.array([value for value in listed if value is not None], np.float64)
        enough = 2 * len(values) > len(listed)
        rows.append((transcript_id, float(how(values)) if enough else None, None if enough else why))
    return pl.DataFrame(rows, schema={"transcript_id": pl.String, "value": pl.Float64, "missing_reason": pl.String}, orient="row")


def _windowed(read: Read, worse: str, values: Floats) -> float:
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
    return float(values.mean())
