"""Ingest: files become part of a corpus, each wholly or not at all."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Literal

import msgspec
import polars as pl

from cotdrift.corpus import Corpus, Source, SourceWriter
from cotdrift.errors import DuplicateId
from cotdrift.format import Format, Reading
from cotdrift.trace import Rejected, Trace

Which = tuple[str, int, str, str, str, str]


class Ingested(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one file."""

    path: str
    status: Literal["ingested", "already there", "read again"]
    """`read again`: the file, or the way it is read, changed since it was ingested, and its traces were replaced."""
    format: str
    traces: int
    rejected: int
    guessed: tuple[str, ...]
    faults: tuple[str, ...] = ()
    """The first few rejected records, a sentence each; all of them are in the study's `rejected.jsonl`."""


NAMED_FAULTS = 5


def ingest_file(
    corpus: Corpus, path: Path, kind: Format, reading: Reading, *, done: Callable[[int], None] = lambda _traces: None
) -> Ingested:
    """Read one file into the corpus; a file that is already there, read the same way, is left as it is."""
    content = _content(path)
    key = _key(path, content, kind, reading)
    others = []
    status: Literal["ingested", "read again"] = "ingested"
    for source in corpus.sources:
        if source.key == key:
            return Ingested(
                path=str(path),
                status="already there",
                format=kind.name,
                traces=source.traces,
                rejected=source.rejected,
                guessed=source.guessed,
            )
        if source.path == str(path.resolve()):
            status = "read again"
        else:
            others.append(source)
    guessed: list[str] = []
    faults: list[str] = []
    source = Source(key=key, path=str(path.resolve()), content=content, format=kind.name, bytes=_bytes(path), fields=reading.fields)
    known = Known(corpus, others)
    with SourceWriter(corpus, source) as writer:
        for record in kind.read(path, reading, guessed.append):
            made = record if isinstance(record, Rejected) else known.number(record)
            if isinstance(made, Rejected):
                writer.refuse(made)
                if len(faults) < NAMED_FAULTS:
                    faults.append(str(made))
            else:
                writer.add(made)
                done(1)
        for other in others:
            if other.content == content and writer.by_run in ({}, other.by_run):
                raise DuplicateId(f"{path} holds the same traces as {other.path}, which is in the corpus already. Leave one of them out.")
        written = writer.commit(tuple(guessed))
    return Ingested(
        path=str(path),
        status=status,
        format=kind.name,
        traces=written.traces,
        rejected=written.rejected,
        guessed=written.guessed,
        faults=tuple(faults),
    )


class Known:
    """The ids that are taken, so that a trace is numbered where its source does not, and told apart from its double."""

    def __init__(self, corpus: Corpus, sources: Iterable[Source]) -> None:
        keys = [source.key for source in sources]
        here = corpus.scan().filter(pl.col("source_id").is_in(keys)).select("transcript_id", "source").collect() if keys else None
        self.places: dict[str, str] = dict(here.iter_rows()) if here is not None else {}
        self.numbered: Counter[str] = Counter()

    def number(self, trace: Trace) -> Trace | Rejected:
        """The trace with its `rep`, or why it cannot be one more."""
        if trace.rep is None:
            series = msgspec.structs.replace(trace, rep=-1).transcript_id
            while (numbered := msgspec.structs.replace(trace, rep=self.numbered[series])).transcript_id in self.places:
                self.numbered[series] += 1
            self.numbered[series] += 1
            trace = numbered
        place = self.places.get(trace.transcript_id)
        if place is None:
            self.places[trace.transcript_id] = trace.source
            return trace
        file, _, line = trace.source.rpartition(":")
        return Rejected(
            source=file,
            place=line,
            field="transcript_id",
            fault=f"{trace.transcript_id!r} is the id of a trace from {place} too",
            way_out="Leave one of them out, or tell them apart by --run, --map rep=FIELD or --map condition_NAME=FIELD",
            record=msgspec.json.encode(trace).decode(),
        )


def rejected_records(corpus: Corpus) -> Iterator[bytes]:
    """All records that could not be read, a line of JSON each."""
    for source in corpus.sources:
        with (corpus.folder / source.key / "rejected.jsonl").open("rb") as kept:
            yield from kept


def _key(path: Path, content: str, kind: Format, reading: Reading) -> str:
    """The same content may stand for other checkpoints under another name: run and step are read off the path."""
    told = msgspec.json.encode([path.resolve().parts[-2:], content, kind.name, reading], order="deterministic")
    return hashlib.sha256(told).hexdigest()[:20]


def _files(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]


def _bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in _files(path))


def _content(path: Path) -> str:
    digest = hashlib.sha256()
    for file in _files(path):
        with file.open("rb") as opened:
            digest.update(hashlib.file_digest(opened, "sha256").digest())
    return digest.hexdigest()
