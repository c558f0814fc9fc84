"""Parquet: one record a row, its columns mapped or guessed."""

from collections.abc import Callable, Iterator
from pathlib import Path

from cotdrift.format import Format, Reading
from cotdrift.records import read_records
from cotdrift.tables import is_table, rows
from cotdrift.trace import Rejected, Trace


def _matches(path: Path, first: bytes) -> int:
    return int(is_table(first))


def _read(path: Path, reading: Reading, note: Callable[[str], None]) -> Iterator[Trace | Rejected]:
    return read_records(path, reading, note, rows(path))


PARQUET = Format(name="parquet", looks_for="a parquet file", matches=_matches, read=_read)
