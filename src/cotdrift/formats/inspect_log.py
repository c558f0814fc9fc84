"""Inspect logs: .eval archives, finished or not, and .json files. Each sample is a trace, its epoch the rep."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from cotdrift.fields import Unfit
from cotdrift.format import Format, Reading
from cotdrift.inspect_sample import LoggedMessage, Sample, SampleReader
from cotdrift.members import LOCAL, Archive
from cotdrift.opening import BrokenOff, bare_name, field_names, json_values
from cotdrift.records import lenient, reject
from cotdrift.trace import Rejected, Trace

HEADERS = ("header.json", "_journal/start.json")
"""Where an archive says what was run; one whose run never ended has only the second."""

SAMPLE = re.compile(r"samples/(?:[^/]+|.+_epoch_\d+)\.json", re.DOTALL)
"""What the member of a sample is called; its id may hold slashes, as in HumanEval/0."""

MESSAGES = msgspec.json.Decoder(list[LoggedMessage])


def _matches(path: Path, first: bytes) -> int:
    if bare_name(path).lower().endswith(".eval"):
        return 2
    if first.startswith(LOCAL):
        return 2 if any(name.encode() in first[:100] for name in (*HEADERS, "samples/")) else 0
    return 2 if first[:1] == b"{" and {"eval", "version"} <= field_names(first) else 0


def _read(path: Path, reading: Reading, note: Callable[[str], None]) -> Iterator[Trace | Rejected]:
    with path.open("rb") as opened:
        mark = opened.read(len(LOCAL))
    if mark == LOCAL or bare_name(path).lower().endswith(".eval"):
        return _read_archive(path, reading, note) if mark else iter([reject(path, "1", "the file is empty", "Copy the log anew", b"")])
    return _read_json(path, reading, note)


def _read_archive(path: Path, reading: Reading, note: Callable[[str], None]) -> Iterator[Trace | Rejected]:
    with Archive(path) as archive:
        header: dict[str, Any] = {}
        for name in HEADERS:
            if not header and name in archive.members:
                try:
                    header = _object(archive.read(name))
                except (BrokenOff, ValueError, RecursionError) as fault:
                    yield reject(path, name, str(fault), "Copy the log anew; its samples are read without what it says of the run", b"")
        samples = SampleReader(path, reading, note, header)
        place = ""
        chunked = _chunked(archive)
        for name in archive.members:
            if name in chunked or SAMPLE.fullmatch(name):
                place = name
                try:
                    content = archive.read(name)
                except BrokenOff as fault:
                    yield reject(path, name, str(fault), "Copy the log anew, or leave the sample out", b"")
                    continue
                yield _sample(path, name, content, samples, archive, chunked.get(name))
        if archive.broken:
            yield reject(
                path, place or "1", f"{archive.broken}; the samples before are read, what follows is lost", "Copy the log anew", b""
            )
        elif place:
            samples.finish()


def _read_json(path: Path, reading: Reading, note: Callable[[str], None]) -> Iterator[Trace | Rejected]:
    header: dict[str, Any] = {}
    for name, piece in json_values(path, within="samples"):
        if name == "samples" and "eval" in header:
            break
        if name in ("eval", "plan") and not piece.fault:
            try:
                header[name] = _object(piece.content)
            except (ValueError, RecursionError) as fault:
                yield reject(path, name, f"this is no JSON ({fault})", "Write the log anew", piece.content)
    samples = SampleReader(path, reading, note, header)
    some = False
    for name, piece in json_values(path, within="samples"):
        if piece.fault:
            yield reject(path, f"sample {piece.number}", piece.fault, "Copy the log anew", piece.content)
        elif name == "samples":
            some = True
            yield _sample(path, f"sample {piece.number}", piece.content, samples)
    if some:
        samples.finish()


def _sample(
    path: Path,
    place: str,
    content: bytes,
    samples: SampleReader,
    archive: Archive | None = None,
    chunks: dict[str, list[str]] | None = None,
) -> Trace | Rejected:
    field, way_out = "", "Leave the sample out, or write the log anew"
    try:
        try:
            sample = samples.decode(content)
        except (msgspec.DecodeError, UnicodeDecodeError):
            sample = samples.decode(msgspec.json.encode(lenient(content)))
        if archive is not None and chunks is not None:
            _put_together(archive, place, sample, chunks)
        return samples.trace(sample, place)
    except Unfit as unfit:
        field, fault, way_out = unfit.field, unfit.fault, unfit.way_out
    except RecursionError:
        fault = "the sample is nested too deep"
    except (BrokenOff, ValueError) as wrong:  # msgspec's and JSON's faults are ValueErrors
        fault = f"this is no sample ({wrong})"
    return reject(path, place, fault, way_out, content, field=field)


def _object(content: bytes) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(content)
    except msgspec.DecodeError:
        value = lenient(content)
    return value if isinstance(value, dict) else {}


def _chunked(archive: Archive) -> dict[str, dict[str, list[str]]]:
    """The samples that are kept in chunks: the name of each one's shell to its chunks, in order, by what they hold."""
    shells: dict[str, dict[str, list[tuple[int, str]]]] = {
        name: {} for name in archive.members if name.startswith("samples/") and name.endswith("/sample.json")
    }
    for name in archive.members if shells else ():
        folder, _, chunk = name.rpartition("/")
        owner, _, kind = folder.rpartition("/")
        start = chunk.removesuffix(".json")
        if kind in ("messages", "attachments") and start.isdigit() and f"{owner}/sample.json" in shells:
            shells[f"{owner}/sample.json"].setdefault(kind, []).append((int(start), name))
    return {shell: {kind: [name for _, name in sorted(chunks)] for kind, chunks in kinds.items()} for shell, kinds in shells.items()}


def _put_together(archive: Archive, shell: str, sample: Sample, chunks: dict[str, list[str]]) -> None:
    """Fill in what a sample in chunks keeps beside its shell."""
    messages = [message for name in chunks.get("messages", ()) for message in MESSAGES.decode(archive.read(name))]
    sample.messages = [message for start, end in sample.message_refs or () for message in messages[start:end]]
    texts = [text for name in chunks.get("attachments", ()) for text in msgspec.json.decode(archive.read(name))]
    sample.attachments = msgspec.Raw(msgspec.json.encode(texts))
    metadata = shell.removesuffix("sample.json") + "metadata.json"
    if metadata in archive.members:
        sample.metadata = _object(archive.read(metadata))


INSPECT_LOG = Format(
    name="inspect_log", looks_for="a .eval archive, or JSON with the fields version and eval", matches=_matches, read=_read
)
