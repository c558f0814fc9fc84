"""JSON: a list of records, or several records one after the other, read without loading the file."""

from collections.abc import Callable, Iterator
from pathlib import Path

from cotdrift.format import Format, Reading
from cotdrift.opening import bare_name, json_values, starts_with_lines
from cotdrift.records import decoded, read_records
from cotdrift.trace import Rejected, Trace


def _matches(path: Path, first: bytes) -> int:
    text = first.removeprefix(b"\xef\xbb\xbf").lstrip()
    if bare_name(path).lower().endswith((".jsonl", ".ndjson")) or starts_with_lines(first):
        return 0
    return int(text[:1] in (b"[", b"{") or (bool(text) and bare_name(path).lower().endswith(".json")))


def _read(path: Path, reading: Reading, note: Callable[[str], None]) -> Iterator[Trace | Rejected]:
    pieces = (piece for _, piece in json_values(path))
    return read_records(path, reading, note, decoded(path, pieces, unit="element "))


JSON = Format(name="json", looks_for="a list of JSON objects", matches=_matches, read=_read)
