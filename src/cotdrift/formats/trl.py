"""TRL's logged completions: `completions/completions_STEP.parquet`, with a column for each reward function."""

from collections.abc import Callable, Iterator
from pathlib import Path

from cotdrift.fields import Shape
from cotdrift.format import Format, Reading
from cotdrift.records import read_records
from cotdrift.tables import columns, is_table, rows
from cotdrift.trace import Rejected, Trace

COLUMNS = frozenset({"step", "prompt", "completion", "advantage"})
SHAPE = Shape(
    fields={"prompt": "prompt", "answer": "completion", "step": "step"},
    outcome=lambda name: name not in COLUMNS,
    nan_is_missing=True,  # a reward function that gives None for an answer is logged as NaN
)


def _matches(path: Path, first: bytes) -> int:
    return 2 if is_table(first) and columns(path) >= COLUMNS else 0


def _read(path: Path, reading: Reading, note: Callable[[str], None]) -> Iterator[Trace | Rejected]:
    return read_records(path, reading, note, rows(path), SHAPE)


TRL = Format(name="trl", looks_for="a parquet file with step, prompt, completion and advantage", matches=_matches, read=_read)
