"""The long table: one row for each trace and measure, on disk."""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cotdrift.corpus import SPOKEN, Checkpoint, Corpus, trace_of, whole_file
from cotdrift.measure import Found, FoundInBatch, Measure
from cotdrift.tokens import Batch

COLUMNS: dict[str, Any] = {
    "transcript_id": pl.String,
    "run": pl.String,
    "step": pl.Int64,
    "environment": pl.String,
    "prompt_id": pl.String,
    "rep": pl.Int64,
    "conditions": pl.String,
    "measure": pl.String,
    "version": pl.Int64,
    "value": pl.Float64,
    "label": pl.String,
    "unit": pl.String,
    "missing_reason": pl.String,
    "quote": pl.String,
    "start": pl.Int64,
    "end": pl.Int64,
    "grader": pl.String,
    "grader_prompt_sha": pl.String,
    "cost": pl.Float64,
}
"""One row a trace and measure, or a judgment. A number is finite or null; a null has its `missing_reason`."""

VALUE: dict[str, Any] = {"value": pl.Float64}
PLACE: dict[str, Any] = {"quote": pl.String, "start": pl.Int64, "end": pl.Int64}
LONGEST_QUOTE = 400
DOES_NOT_APPLY = "does not apply"
WHO = ["transcript_id", "run", "step", "task_set", "task_id", "task_repeat", "reasoning_kind"]


class Measurements:
    """Measurements in a folder: one file for each checkpoint and pass."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def scan(self) -> pl.LazyFrame:
        """All rows, lazily."""
        files = sorted(self.folder.glob("*/*.parquet"))
        return pl.scan_parquet(files, hive_partitioning=False) if files else pl.LazyFrame(schema=COLUMNS)


def measure_corpus(
    corpus: Corpus, measures: Iterable[Measure], into: Measurements, *, threads: int = 2, done: Callable[[int], None] = lambda _traces: None
) -> int:
    """Measure every checkpoint that lacks a measure, a checkpoint at a time; returns how many traces were read.

    A checkpoint's rows are written at once, when all are there: a killed pass goes on with the checkpoints it had not finished.
    A checkpoint whose files changed is measured anew.
    """
    asked = sorted(measures, key=lambda measure: measure.name)

    def lacking(place: Path) -> list[Measure]:
        measured = {name for path in place.glob("*.parquet") for name in pq.read_metadata(path).metadata[b"measures"].decode().split()}
        return [measure for measure in asked if _versioned(measure) not in measured]

    def measure_one(checkpoint: Checkpoint) -> int:
        place = into.folder / checkpoint.name
        return _measure_checkpoint(checkpoint, lacking(place), place, done=done)

    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(measure_one, corpus.missing(into.folder, lambda place, _: bool(lacking(place)))))


def _versioned(measure: Measure) -> str:
    return f"{measure.name}-{measure.version}"


def _measure_checkpoint(checkpoint: Checkpoint, measures: list[Measure], place: Path, *, done: Callable[[int], None]) -> int:
    parts: list[list[pl.DataFrame]] = []
    who: list[pl.DataFrame] = []
    for rows in checkpoint.batches([*WHO, "prompt", "answer", "reasoning", *_condition_columns(checkpoint.files)]):
        texts = Batch(rows["reasoning"])
        raw = (rows["reasoning_kind"] == "raw").to_numpy()
        parts.append([_column(measure, rows, texts, raw) for measure in measures])
        who.append(_who(rows))
        done(rows.height)
    everyone = pl.concat(who)
    frames = []
    for measure, columns in zip(measures, zip(*parts, strict=True), strict=True):
        found = pl.concat(columns)
        if measure.pool is not None:
            found = found.with_columns(value=_nullable(measure.pool(found["value"].fill_null(np.nan).to_numpy())))
        frames.append(_rows(everyone, found, measure))
    names = " ".join(_versioned(measure) for measure in measures)
    with whole_file(place / f"{hashlib.sha256(names.encode()).hexdigest()[:16]}.parquet") as path:
        pl.concat(frames).write_parquet(path, compression="zstd", compression_level=3, metadata={"measures": names})
    return everyone.height


def _condition_columns(files: Iterable[Path]) -> list[str]:
    names = [set(pl.read_parquet_schema(file)) for file in files]
    return sorted(name for name in set.intersection(*names) if name.startswith("condition_"))


def _who(rows: pl.DataFrame) -> pl.DataFrame:
    factors = [name for name in rows.columns if name.startswith("condition_")]
    levels = (
        [
            msgspec.json.encode({name.removeprefix("condition_"): level for name, level in row.items() if level is not None}).decode()
            for row in rows.select(factors).iter_rows(named=True)
        ]
        if factors
        else ["{}"] * rows.height
    )
    return (
        rows.select(WHO)
        .rename({theirs: ours for theirs, ours in SPOKEN.items() if theirs in WHO})
        .with_columns(conditions=pl.Series(levels, dtype=pl.String))
    )


def _column(measure: Measure, rows: pl.DataFrame, texts: Batch, raw: NDArray[np.bool_]) -> pl.DataFrame:
    """One measure of these traces: value, and the passage that shows it."""
    if measure.of_batch is not None:
        return _placed(measure.of_batch(texts), texts, raw)
    found = [_read(measure, row) if kept else (None, None, None, None) for row, kept in zip(rows.iter_rows(named=True), raw, strict=True)]
    return pl.DataFrame(found, schema=VALUE | PLACE, orient="row")


def _placed(found: NDArray[np.float64] | FoundInBatch, texts: Batch, raw: NDArray[np.bool_]) -> pl.DataFrame:
    if not isinstance(found, FoundInBatch):
        return pl.DataFrame({"value": _nullable(np.where(raw, found, np.nan))}, schema=VALUE).with_columns(_nothing(PLACE))
    there = raw & (found.starts >= 0)
    quotes = [texts.texts[at][found.starts[at] : found.ends[at]][:LONGEST_QUOTE] if there[at] else None for at in range(len(texts))]
    places = {
        name: pl.Series(at, dtype=pl.Int64).set(pl.Series(~there), None) for name, at in (("start", found.starts), ("end", found.ends))
    }
    return pl.DataFrame({"value": _nullable(np.where(raw, found.values, np.nan)), "quote": quotes, **places}, schema=VALUE | PLACE)


def _nothing(columns: Mapping[str, Any]) -> list[pl.Expr]:
    return [pl.lit(None, dtype=dtype).alias(name) for name, dtype in columns.items()]


def _read(measure: Measure, row: dict[str, Any]) -> tuple[float | None, str | None, int | None, int | None]:
    trace = trace_of(row)
    found = measure(trace)
    if isinstance(found, Found):
        return float(found.value), trace.reasoning[found.start : found.end][:LONGEST_QUOTE], found.start, found.end
    return (None if found is None else float(found)), None, None, None


def _nullable(values: NDArray[np.float64]) -> pl.Series:
    return pl.Series(values, dtype=pl.Float64).fill_nan(None)


def _rows(who: pl.DataFrame, found: pl.DataFrame, measure: Measure) -> pl.DataFrame:
    kind = pl.col("reasoning_kind")
    reason = (
        pl.when(pl.col("value").is_not_null())
        .then(None)
        .when(kind == "raw")
        .then(pl.lit(DOES_NOT_APPLY))
        .otherwise(pl.lit("reasoning is ") + kind)
    )
    told = {"measure": measure.name, "version": measure.version, "unit": measure.unit}
    frame = who.hstack(found).with_columns(missing_reason=reason, **{name: pl.lit(value) for name, value in told.items()})
    absent = {name: dtype for name, dtype in COLUMNS.items() if name not in frame.columns}
    return frame.with_columns(_nothing(absent)).select([pl.col(name).cast(dtype) for name, dtype in COLUMNS.items()])
