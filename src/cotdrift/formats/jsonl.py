"""JSON lines: one record a line, its fields mapped or guessed."""

from collections.abc import Callable, Iterator
from pathlib import Path

from cotdrift.format import Format, Reading
from cotdrift.opening import bare_name, lines, starts_with_lines
from cotdrift.records import decoded, read_records
from cotdrift.trace import Rejected, Trace


def _matches(path: Path, first: bytes) -> int:
    return int(bare_name(path).lower().endswith((".jsonl", ".ndjson")) or starts_with_lines(first))


def _read(path: Path, reading: Reading, note: Callable[[str], None]) -> Iterator[Trace | Rejected]:
    return read_records(path, reading, note, decoded(path, lines(path)))


JSONL = Format(name="jsonl", looks_for="a JSON object on each line", matches=_matches, read=_read)
