"""CSV and TSV: one record a row, under a row of names."""

import csv
from collections.abc import Callable, Iterator
from pathlib import Path

from cotdrift.format import Format, Reading
from cotdrift.opening import LONGEST_RECORD, BrokenOff, bare_name, chunks
from cotdrift.records import SURROGATE, Found, read_records, reject
from cotdrift.trace import Rejected, Trace


def _matches(path: Path, first: bytes) -> int:
    return int(bool(first) and bare_name(path).lower().endswith((".csv", ".tsv")))


def _read(path: Path, reading: Reading, note: Callable[[str], None]) -> Iterator[Trace | Rejected]:
    return read_records(path, reading, note, _rows(path))


def _rows(path: Path) -> Iterator[Found | Rejected]:
    csv.field_size_limit(LONGEST_RECORD)  # the limit is the module's, and a long chain of thought is no fault
    table = csv.reader(_lines(path), delimiter="\t" if bare_name(path).lower().endswith(".tsv") else ",")
    names: list[str] = []
    while True:
        place = str(table.line_num + 1)
        try:
            row = next(table, None)
        except BrokenOff as fault:
            yield reject(path, place, f"{fault}; the rows before are read, what follows is lost", "Fetch or write the file anew", b"")
            return
        except csv.Error as fault:
            yield reject(path, place, f"the row is no CSV ({fault})", "Quote fields that hold commas, quotes or line ends", b"")
            continue
        if row is None:
            return
        if not any(row):
            continue
        text = ",".join(row)
        if SURROGATE.search(text):
            yield reject(path, place, "the row is no UTF-8", "Write the file as UTF-8", text.encode("utf-8", "surrogateescape"))
        elif not names:
            names = row
        elif len(row) > len(names):
            yield reject(
                path,
                place,
                f"the row has {len(row)} fields, and there are {len(names)} names",
                "Quote fields that hold commas, quotes or line ends",
                text,
            )
        else:
            yield Found(place, {name: value or None for name, value in zip(names, row, strict=False)})


def _lines(path: Path) -> Iterator[str]:
    """The lines with their ends, which may stand inside a field; bytes that are no UTF-8 come as lone surrogates."""
    begun: list[bytes] = []
    first = True
    for chunk in chunks(path):
        head, *others = chunk.split(b"\n")
        begun.append(head)
        for other in others:
            line = b"".join(begun)
            yield (line.removeprefix(b"\xef\xbb\xbf") if first else line).decode("utf-8", "surrogateescape") + "\n"
            begun, first = [other], False
    if any(begun):
        yield b"".join(begun).removeprefix(b"\xef\xbb\xbf" if first else b"").decode("utf-8", "surrogateescape")


CSV = Format(name="csv", looks_for="a file called .csv or .tsv", matches=_matches, read=_read)
