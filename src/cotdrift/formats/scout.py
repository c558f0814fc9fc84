"""Scout's transcripts: a database folder or one of its parquet files; a corpus of ours is one too."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec

from cotdrift.corpus import COLUMNS, Corpus, trace_of
from cotdrift.fields import OUTCOMES, Shape
from cotdrift.format import Format, Reading
from cotdrift.inspect_sample import GRADES
from cotdrift.records import Found, read_records, reject
from cotdrift.tables import columns, is_table, rows
from cotdrift.trace import Rejected, Trace

MARKS = frozenset({"transcript_id", "messages"})
RESULTS = frozenset({"scan_id", "scanner_key", "transcript_id"})
SHAPE = Shape(
    fields={
        "messages": "messages",
        "environment": "task_set",
        "prompt_id": "task_id",
        "rep": "task_repeat",
        "model": "model",
        "truncated": "truncated",
    },
    outcome=lambda name: name in OUTCOMES,
)


def _matches(path: Path, first: bytes) -> int:
    """Scout's results are taken too, so that they can be turned away: what a judge said is no trace."""
    if path.is_dir():
        return 2 if _is_ours(path) or any(columns(part) >= MARKS for part in sorted(path.glob("*.parquet"))[:1]) else 0
    names = columns(path) if is_table(first) else frozenset()
    return 2 if names >= MARKS or names >= RESULTS else 0


def _is_ours(folder: Path) -> bool:
    return (folder / "study.json").is_file() or any(folder.glob("*/source.json"))


def _parts(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    if _is_ours(path):
        return Corpus(path / "corpus" if (path / "study.json").is_file() else path).files
    return sorted(part for part in path.rglob("*.parquet") if not any(name.startswith((".", "_")) for name in part.relative_to(path).parts))


def _read(path: Path, reading: Reading, note: Callable[[str], None]) -> Iterator[Trace | Rejected]:
    parts = _parts(path)
    if len(parts) == 1 and columns(parts[0]) >= RESULTS:
        yield reject(path, "1", "these are the results of a Scout scan, not transcripts", "Ingest the transcripts that were scanned", b"")
        return
    ours = [part for part in parts if columns(part) >= frozenset(COLUMNS)]
    for part in ours:
        for one in rows(part, kept_as=path):
            yield one if isinstance(one, Rejected) else _our_trace(path, one, reading)
    others = [part for part in parts if part not in ours]
    if others or not ours:
        yield from read_records(path, reading, note, _plain(one for part in others for one in rows(part, kept_as=path)), SHAPE)


def _our_trace(path: Path, row: Found, reading: Reading) -> Trace | Rejected:
    try:
        trace = trace_of(row.fields)
    except (ValueError, KeyError, TypeError) as fault:
        return reject(path, row.place, f"this row is no trace ({fault})", "Ingest its source anew", b"")
    told = {"run": reading.run, "step": reading.step, "environment": reading.environment}
    return msgspec.structs.replace(
        trace, source=f"{path}:{row.place}", **{name: value for name, value in told.items() if value is not None}
    )


def _plain(found: Iterable[Found | Rejected]) -> Iterator[Found | Rejected]:
    """Rows without their empty columns, with the metadata opened and Inspect's letters as numbers."""
    for one in found:
        if isinstance(one, Rejected):
            yield one
            continue
        row = {name: value for name, value in one.fields.items() if value is not None}
        for name in ("metadata", "score"):
            if isinstance(row.get(name), str):
                try:
                    row[name] = msgspec.json.decode(row[name])
                except (msgspec.DecodeError, RecursionError):
                    continue
        if isinstance(row.get("score"), str):
            row["score"] = GRADES.get(row["score"], row["score"])
        if row.get("error") or row.get("limit"):
            row["truncated"] = True
        metadata = row.pop("metadata", None)
        yield one._replace(fields=(metadata if isinstance(metadata, dict) else {}) | row)


SCOUT = Format(name="scout", looks_for="parquet with transcript_id and messages, or a folder of it", matches=_matches, read=_read)
