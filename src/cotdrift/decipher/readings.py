"""What readers made of the items: answers of models and of people, with their confidence, and who of them rewrote what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import polars as pl

from cotdrift.decipher.bench import Bench
from cotdrift.decipher.items import LETTERS, REWRITTEN, Item
from cotdrift.grader import Grader
from cotdrift.graders import grader as grader_called
from cotdrift.judgment import TRIED_AGAIN
from cotdrift.trace import Trace

QUESTION, REWRITING = "decipher", "plain_words"
"""The graders that ask readers."""
PERSON = "{} (person)"
COLUMNS: dict[str, Any] = {
    "transcript_id": pl.String,
    "reader": pl.String,
    "label": pl.String,
    "confidence": pl.Float64,
    "missing": pl.String,
}
ITEM: dict[str, Any] = {
    "transcript_id": pl.String,
    "part": pl.String,
    "material": pl.String,
    "run": pl.String,
    "step": pl.Int64,
    "prompt": pl.String,
    "question": pl.String,
    "encoding": pl.String,
    "dose": pl.Float64,
    "options": pl.Int64,
    "of": pl.String,
    "by": pl.String,
    "truth": pl.String,
}


def question() -> Grader:
    """What readers are asked of each item."""
    return grader_called(QUESTION)


def answers(bench: Bench, truths: Mapping[str, str]) -> pl.DataFrame:
    """A row a reader and item whose truth is known: the item's fields, label, confidence (0 to 1), missing, and `right`, from 0 to 1.

    An answer that could not be had counts as a guess, and so does one that is not among those offered.
    """
    known = [msgspec.structs.asdict(item) | {"truth": truths[item.transcript_id]} for item in bench.items if item.transcript_id in truths]
    items = pl.DataFrame([{name: item[name] for name in ITEM} for item in known], schema=ITEM)
    said = pl.concat([_of_models(bench), _of_people(bench)]).join(items, on="transcript_id")
    offered = pl.col("label").replace_strict({letter: place for place, letter in enumerate(LETTERS)}, default=99) < pl.col("options")
    given = pl.col("label").is_not_null() & offered
    right = pl.when(given).then((pl.col("label") == pl.col("truth")).cast(pl.Float64)).otherwise(1 / pl.col("options"))
    return said.with_columns(right=right, given=given).sort("reader", "transcript_id")


NAMED = pl.when(pl.col("settings") == "").then(pl.col("judge")).otherwise(pl.format("{} [{}]", "judge", "settings"))
"""A model as a reader: under other settings it is another one."""


def _of_models(bench: Bench) -> pl.DataFrame:
    """First answers under the wording of today; what was not asked yet, for want of money or a server, is no answer."""
    rows = bench.study.judgments.frame(QUESTION, sha=question().sha).filter((pl.col("level") == 0) & (pl.col("repeat") == 0))
    rows = rows.filter(~pl.col("missing").is_in(TRIED_AGAIN, nulls_equal=True))
    confidence = pl.col("details").str.json_path_match("$.confidence").cast(pl.Float64, strict=False) / 100
    return rows.select("transcript_id", reader=NAMED, label="label", confidence=confidence, missing="missing").cast(COLUMNS)  # type: ignore[arg-type]


def _of_people(bench: Bench) -> pl.DataFrame:
    rows = bench.study.labels(QUESTION).filter((pl.col("sha") == question().sha) & ~pl.col("repeat"))
    confidence = pl.col("details").str.json_path_match("$.confidence").cast(pl.Float64, strict=False) / 100
    reader = pl.format(PERSON, "annotator")
    return rows.select("transcript_id", reader=reader, label="label", confidence=confidence, missing=pl.lit(None, pl.String)).cast(COLUMNS)  # type: ignore[arg-type]


def rewritten(bench: Bench) -> int:
    """Make items of the rewritings that have none yet: the question of the passage, put to whoever reads the rewriting alone.

    Gives how many there are new. A passage that its rewriter could make nothing of is not asked about again.
    """
    rows = _rewritings(bench).filter(pl.col("label").is_in(["all", "part"]) & (pl.col("reason").str.strip_chars() != ""))
    by_id = {item.transcript_id: item for item in bench.items}
    made: list[Item] = []
    traces: list[Trace] = []
    said = {(name, reader): text for name, reader, text in rows.select("transcript_id", "reader", "reason").iter_rows()}
    wanted = {name for name, _ in said}
    originals = {trace.transcript_id: trace for trace in bench.study.corpus.traces(*wanted)} if wanted else {}
    for (name, reader), text in sorted(said.items()):
        item, trace = by_id[name], originals[name]
        conditions = {**trace.conditions, "of": item.encoding, "encoding": REWRITTEN, "by": reader}
        new = msgspec.structs.replace(trace, reasoning=text, conditions=conditions)
        if new.transcript_id not in by_id:
            traces.append(new)
            told = {"transcript_id": new.transcript_id, "encoding": REWRITTEN, "of": name, "by": reader}
            made.append(msgspec.structs.replace(item, **told))
    if made:
        bench.add(made, traces)
    return len(made)


def given_up(bench: Bench) -> dict[tuple[str, str], int]:
    """Rewriter and encoding → of how many passages it could make out nothing."""
    rows = _rewritings(bench).filter(pl.col("label") == "nothing")
    of = {item.transcript_id: item.encoding for item in bench.items}
    found: dict[tuple[str, str], int] = {}
    for name, reader in rows.select("transcript_id", "reader").iter_rows():
        key = (reader, of[name])
        found[key] = found.get(key, 0) + 1
    return found


def _rewritings(bench: Bench) -> pl.DataFrame:
    rows = bench.study.judgments.frame(REWRITING, sha=grader_called(REWRITING).sha)
    return rows.filter(pl.col("repeat") == 0).with_columns(reader=NAMED)
