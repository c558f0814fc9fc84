"""Evidence: what judges quoted and why, as passages to read, early in a run beside late."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import polars as pl
from msgspec import Struct

from cotdrift.judgment import Quote

When = Literal["early", "late"]


class Evidence(Struct, frozen=True, kw_only=True):
    """One judgment to read, with the trace it is of."""

    run: str
    step: int
    when: When
    transcript_id: str
    judge: str
    label: str
    quote: Quote | None
    """The words it rests on, the first that are there; None where it quotes nothing."""
    reason: str
    start: int = 0
    """Of the window that was judged, in characters of the reasoning."""
    end: int = 0
    truth: str = ""
    """What people, or the outcome that is the truth, say of it; empty where that is not what it is shown for."""


def halves(traces: pl.DataFrame) -> pl.DataFrame:
    """The traces with `when`: early in the first half of their run's checkpoints, late in the second."""
    place = pl.col("step").rank("dense").over("run")
    is_early = place <= pl.max_horizontal(1, place.max().over("run") // 2)
    return traces.with_columns(when=pl.when(is_early).then(pl.lit("early")).otherwise(pl.lit("late")))


def evidence(judgments: pl.DataFrame, *, most: int) -> list[Evidence]:
    """Up to `most` passages early in each run and as many late, a trace once: the highest `rank` first, then the nearest to the run's end.

    `judgments` has the columns of judgments, and run, step, when, rank, and truth where that is to be shown.
    """
    outward = pl.when(pl.col("when") == "late").then(-pl.col("step")).otherwise(pl.col("step"))
    ordered = judgments.sort("run", "when", pl.col("rank").neg(), outward, "transcript_id", "judge")
    kept = ordered.unique("transcript_id", keep="first", maintain_order=True).group_by("run", "when", maintain_order=True).head(most)
    return [_evidence(row) for row in kept.iter_rows(named=True)]


def _evidence(row: dict[str, Any]) -> Evidence:
    quotes = msgspec.json.decode(row["quotes"], type=list[Quote])
    there = [quote for quote in quotes if quote.found != "absent"]
    return Evidence(
        run=row["run"],
        step=row["step"],
        when=row["when"],
        transcript_id=row["transcript_id"],
        judge=row["judge"],
        label=row["label"],
        quote=next(iter([*there, *quotes]), None),
        reason=row["reason"],
        start=row["start"],
        end=row["end"],
        truth=row.get("truth") or "",
    )
