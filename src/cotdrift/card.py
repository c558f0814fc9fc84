"""A grader's card: what it is, who judged, what is missing, how good it is and on what labels, and where it was wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec
import polars as pl
from msgspec import Struct

from cotdrift.calibration import Calibration
from cotdrift.evidence import Evidence, evidence
from cotdrift.grader import Grader
from cotdrift.judgment import Quote
from cotdrift.trend import Trend

if TYPE_CHECKING:
    from cotdrift.trusted import Trusted

NOT_TOLD = "where more than half are, only bounds are told"
SHOWN_ERRORS = 4
"""Passages of each kind of error, early and late each."""


class Rater(Struct, frozen=True, kw_only=True):
    """One judge of a grader, under one setting."""

    judge: str
    settings: str
    judgments: int
    """With and without an answer; second answers are not among them."""
    missing: Mapping[str, int]
    """How many have none, by reason."""
    quoting: int
    """How many give a quote."""
    misquoted: int
    """How many of those quote words that are not in what the judge was shown."""
    repeats: int
    """Second answers, by which the judge is held against itself."""


class Rates(Struct, frozen=True, kw_only=True):
    """What a grader says of one run, what is left of that once corrected, and the truth where it is known."""

    judged: Trend
    """With its bounds, and corrected where there are labels."""
    truth: Trend | None
    """Of the same traces; None where no outcome is known to be the truth."""


class Card(Struct, frozen=True, kw_only=True):
    """What is to be known of a grader before its numbers are believed."""

    grader: Grader
    raters: Sequence[Rater]
    traces: int
    """Traces that were judged, or tried."""
    missing: Mapping[str, int]
    """How many of them have no value that the judges agree on, by reason."""
    other_wordings: int
    """Judgments in the study under another wording of the same grader, which count for nothing here."""
    rates: Sequence[Rates]
    """An entry a run; empty where the answers are no numbers."""
    trusted: Trusted
    calibrations: Mapping[str, Calibration]
    """What is read off the grader → what it is worth, against people's labels."""
    annotators: Sequence[str]
    outcome: str
    """The outcome that is the truth; empty where none is known to be."""
    against_outcome: Calibration | None
    missed: Sequence[Evidence]
    """Where the truth is yes and the judges say no."""
    wrongly_found: Sequence[Evidence]

    @property
    def lacking(self) -> float:
        """The share of traces without a value."""
        return sum(self.missing.values()) / self.traces if self.traces else 0.0

    @property
    def lacking_sentence(self) -> str:
        """How much is missing, and why."""
        why = ", ".join(f"{reason} {count:,}" for reason, count in self.missing.items())
        every = sum(self.missing.values())
        return f"Judgments of “{self.grader.name}” are missing for {every:,} of {self.traces:,} traces ({why}): {NOT_TOLD}."


def raters_of(judgments: pl.DataFrame) -> list[Rater]:
    """The judges of one wording of a grader; `judgments` has the columns of the store."""
    quotes = [msgspec.json.decode(told, type=list[Quote]) for told in judgments["quotes"]]
    told = judgments.with_columns(
        quoting=pl.Series([bool(given) for given in quotes], dtype=pl.Boolean),
        misquoted=pl.Series([any(quote.found == "absent" for quote in given) for given in quotes], dtype=pl.Boolean),
    )
    found = []
    for (judge, settings), rows in told.sort("judge", "settings").group_by("judge", "settings", maintain_order=True):
        first = rows.filter(pl.col("repeat") == 0)
        found.append(
            Rater(
                judge=str(judge),
                settings=str(settings),
                judgments=first.height,
                missing=counted(first["missing"]),
                quoting=int(first["quoting"].sum()),
                misquoted=int(first["misquoted"].sum()),
                repeats=rows.height - first.height,
            )
        )
    return found


def counted(reasons: pl.Series) -> dict[str, int]:
    """How often each reason is given, the most frequent first; null is none."""
    counts = reasons.drop_nulls().alias("why").value_counts().sort("count", "why", descending=[True, False])
    return {str(why): int(count) for why, count in counts.iter_rows()}


def errors(judgments: pl.DataFrame, frame: pl.DataFrame, *, cut: float, names: Mapping[bool, str]) -> tuple[list[Evidence], list[Evidence]]:
    """What the judges missed, and what they wrongly found, as passages to read.

    `frame` has a row a trace: transcript_id, run, step, when, value and truth; from `cut` on either says yes. `names` are what the truth is
    called where it says yes, and no.
    """
    known = frame.drop_nulls(["value", "truth"]).select("transcript_id", "run", "step", "when", "value", "truth")
    judged = judgments.filter((pl.col("repeat") == 0) & pl.col("label").is_not_null())
    sides = []
    for is_yes in (True, False):
        wrong = known.filter(((pl.col("truth") >= cut) == is_yes) & ((pl.col("value") >= cut) != is_yes))
        at_fault = (pl.col("value") >= cut).fill_null(not is_yes) != is_yes  # of several judges, one that went along
        rows = judged.filter(at_fault).join(wrong.drop("value", "truth"), on="transcript_id")
        sides.append(evidence(rows.with_columns(rank=0, truth=pl.lit(names[is_yes])), most=SHOWN_ERRORS))
    return sides[0], sides[1]
