"""Behaviours: which traces of a study show one, by an outcome, a measure or a grader, and where in them it begins."""

from __future__ import annotations

from math import inf
from pathlib import Path
from typing import NamedTuple

import msgspec
import polars as pl

from cotdrift.corpus import Corpus
from cotdrift.errors import UnknownName
from cotdrift.judgment import Judgments, Quote
from cotdrift.measurement import Measurements


class Seen(NamedTuple):
    """What is known of one trace."""

    shows: bool
    start: int | None = None
    """The character of the reasoning at which it begins; None where nothing says it."""


def seen_in(folder: Path, name: str, *, least: float, most: float = inf) -> dict[str, Seen]:
    """The traces of a study of which something is known, by id: a trace shows the behaviour where its value is from `least` to `most`.

    Of several judges one that says so is enough. A trace without a value is left out.
    """
    rows = Corpus(folder / "corpus").scan()
    if f"outcome_{name}" in rows.collect_schema().names():
        known = rows.select("transcript_id", pl.col(f"outcome_{name}").is_between(least, most)).drop_nulls().collect()
        return {trace: Seen(shows) for trace, shows in known.iter_rows()}
    measured = Measurements(folder / "measurements").scan().filter(pl.col("measure") == name).drop_nulls("value")
    if (found := measured.select("transcript_id", pl.col("value").is_between(least, most), "start").collect()).height:
        return {trace: Seen(shows, start) for trace, shows, start in found.iter_rows()}
    judged = Judgments(folder / "judgments.sqlite").frame(name).filter(pl.col("level") == 0)
    if not judged.height:
        raise UnknownName("outcome, measure or grader of this study", name, _names(folder))
    seen: dict[str, Seen] = {}
    for trace, value, quotes in judged.drop_nulls("value").select("transcript_id", "value", "quotes").iter_rows():
        before, shows = seen.get(trace, Seen(False)), least <= value <= most
        quoted = msgspec.json.decode(quotes, type=list[Quote]) if shows else []
        known_starts = [start for start in (*(one.start for one in quoted if one.where == "reasoning"), before.start) if start is not None]
        seen[trace] = Seen(before.shows or shows, min(known_starts, default=None))
    return seen


def _names(folder: Path) -> list[str]:
    outcomes = [name.removeprefix("outcome_") for name in Corpus(folder / "corpus").scan().collect_schema().names() if "outcome_" in name]
    measures = Measurements(folder / "measurements").scan().select("measure").unique().collect()["measure"].to_list()
    return [*outcomes, *sorted(measures), *Judgments(folder / "judgments.sqlite").graders()]
