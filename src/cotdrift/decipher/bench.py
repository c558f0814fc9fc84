"""A benchmark in a folder: its items, a sealed part whose truth is committed to by hash, and how often that was looked at."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import shutil
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from cotdrift.corpus import whole_file
from cotdrift.decipher.encodings import ENCODINGS, encoding_called
from cotdrift.decipher.items import Drafted, Item, Part, Source, Traces, book_of, draft, frame_of, planted_sources, trace_sources
from cotdrift.errors import InputError
from cotdrift.study import Study
from cotdrift.trace import Trace

FOLDER = "decipher"
"""Where a study keeps its benchmark: a study of its own, whose traces are the passages that readers get."""
MADE, ITEMS, SEALED, LOOKS = "benchmark.json", "items.jsonl", "sealed.json", "looks.jsonl"
DOSES = (0.2, 0.4, 0.6, 0.8, 1.0)
VERSION = 1
"""Raised when the same seed would give other items."""


class Settings(Struct, frozen=True, kw_only=True):
    """What a benchmark is made of; the same settings give the same open items."""

    passages: int = 60
    """Planted passages, the sealed ones among them."""
    encodings: tuple[str, ...] = tuple(ENCODINGS)
    doses: tuple[float, ...] = DOSES
    traces: Traces | None = None
    """Which traces of the study are asked about besides; None for none."""
    sealed: float = 0.2
    """The share of prompts whose truth is sealed."""
    seed: int = 0

    def check(self) -> None:
        """Complain of what cannot be made."""
        for name in self.encodings:
            encoding_called(name)
        if not self.encodings or len(set(self.encodings)) < len(self.encodings):
            raise InputError("--encoding: name one or more, each once.")
        if not 0 <= self.sealed < 1:
            raise InputError(f"--sealed {self.sealed:g}: give a share from 0 up to, and without, 1.")
        if self.traces is None and self.passages < 2:
            raise InputError(f"--passages {self.passages}: give 2 or more, or name a --truth of traces.")


class Made(Struct, frozen=True, kw_only=True):
    """How a benchmark came about."""

    settings: Settings
    version: int
    cotdrift: str
    open_sha256: str
    """Of the open items with their truths and texts: whoever has the same has the same open part."""
    sealed_sha256: str
    """Of the sealed items with their commitments and texts."""
    open: int
    sealed: int
    notes: tuple[str, ...] = ()
    """What could not be asked about."""
    made: str


class Look(Struct, frozen=True, kw_only=True):
    """One time that the sealed truths were compared with what readers said."""

    at: str
    readers: tuple[str, ...]
    before: str = ""
    """The seal of the look before; empty for the first."""
    seal: str = ""

    @property
    def sealed(self) -> str:
        """The seal it ought to have."""
        return hashlib.sha256(msgspec.json.encode(replace(self, seal=""), order="deterministic")).hexdigest()


class Secret(Struct, frozen=True, kw_only=True):
    """What stands in the file that is not to be published: the key that the sealed passages are made from, and what is right of them."""

    key: str
    right: dict[str, str]
    """Item → letter."""


class Bench:
    """The benchmark in a folder, which is a study too."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.study = Study(folder)
        try:
            self.made = msgspec.json.decode((folder / MADE).read_bytes(), type=Made)
            self.items = msgspec.json.Decoder(Item).decode_lines((folder / ITEMS).read_bytes())
        except (OSError, msgspec.MsgspecError) as fault:
            raise InputError(f"{folder}: the benchmark cannot be read ({fault}). Remove the folder and make it anew.") from None
        many = [sum(item.part == part and not item.of for item in self.items) for part in ("open", "sealed")]
        if many != [self.made.open, self.made.sealed]:
            raise InputError(
                f"{folder / ITEMS}: there are {many[0]:,} open and {many[1]:,} sealed items, and {self.made.open:,} and "
                f"{self.made.sealed:,} were made. Put the file back."
            )

    @classmethod
    def is_in(cls, study: Path) -> bool:
        """Whether a study has a benchmark."""
        return (study / FOLDER / MADE).is_file()

    @property
    def looks(self) -> list[Look]:
        """Every time that the sealed part was looked at; a complaint where that file was changed."""
        path = self.folder / LOOKS
        try:
            found = msgspec.json.Decoder(Look).decode_lines(path.read_bytes()) if path.exists() else []
        except msgspec.MsgspecError as fault:
            raise InputError(f"{path}: this is not as it was written ({fault}). Put the file back: it counts the looks.") from None
        before = ""
        for number, look in enumerate(found, 1):
            if look.before != before or look.seal != look.sealed:
                raise InputError(f"{path}:{number}: this is not as it was written. Put the file back: it counts the looks.")
            before = look.seal
        return list(found)

    def check(self, part: Part) -> None:
        """Complain where the items of a part are not those that were made, as what is said under their sha256 would be of others."""
        items = [item for item in self.items if item.part == part and not item.of]
        traces = self.study.corpus.traces(*(item.transcript_id for item in items)) if items else ()
        texts = {trace.transcript_id: (trace.prompt, trace.reasoning) for trace in traces}
        as_made = self.made.open_sha256 if part == "open" else self.made.sealed_sha256
        if texts.keys() != {item.transcript_id for item in items} or _fingerprint(items, texts) != as_made:
            raise InputError(f"{self.folder}: the {part} items are not as they were made: their sha256 is another one. Put the files back.")

    def truths(self) -> dict[str, str]:
        """Open item → the letter that is right."""
        return {item.transcript_id: item.right for item in self.items if item.right}

    def look(self, readers: Sequence[str]) -> dict[str, str]:
        """Sealed item → the letter that is right, held against what was committed to; that it was looked at is written down first."""
        secret = self._secret()
        found: dict[str, str] = {}
        for item in self.items:
            if item.part == "sealed" and not item.of:
                right = secret.right.get(item.transcript_id, "")
                if commitment(secret.key, item.transcript_id, right) != item.commitment:
                    raise InputError(f"{self.folder / SEALED}: {item.transcript_id}: this truth is not the one that was committed to.")
                found[item.transcript_id] = right
        found |= {item.transcript_id: found[item.of] for item in self.items if item.of in found}
        if not found:
            raise InputError(f"{self.folder}: no item is sealed, so there is nothing to look at. Leave --look out.")
        looks = self.looks
        look = Look(at=_now(), readers=tuple(readers), before=looks[-1].seal if looks else "")
        with whole_file(self.folder / LOOKS) as path:
            path.write_bytes(msgspec.json.Encoder().encode_lines([*looks, replace(look, seal=look.sealed)]))
        return found

    def add(self, items: Sequence[Item], traces: Iterable[Trace]) -> None:
        """More items, such as rewritings, with their traces."""
        there = set(self.study.corpus.scan().select("transcript_id").collect()["transcript_id"])  # some, where it was killed in between
        new = [trace for trace in traces if trace.transcript_id not in there]
        if new:
            self.study.ingest([frame_of(new)])
        self.items = [*self.items, *items]
        with whole_file(self.folder / ITEMS) as path:
            path.write_bytes(msgspec.json.Encoder().encode_lines(self.items))

    def _secret(self) -> Secret:
        path = self.folder / SEALED
        try:
            return msgspec.json.decode(path.read_bytes(), type=Secret)
        except (OSError, msgspec.MsgspecError):
            raise InputError(
                f"{path}: the sealed truths are not here. Whoever made the benchmark has them. Leave --look out: the open part is scored."
            ) from None


def make(study: Study, settings: Settings) -> Bench:
    """The benchmark of a study; one that is there already is taken as it is, and must have been made with the same settings."""
    folder = study.folder / FOLDER
    settings.check()
    if not (folder / MADE).exists() and (answered := sorted([*folder.glob("*.sqlite"), *folder.glob(LOOKS)])):
        raise InputError(f"{answered[0]}: this belongs to a benchmark whose {MADE} is gone. Put that back, or move the folder away.")
    if Bench.is_in(study.folder):
        there = Bench(folder)
        if there.made.settings != settings:
            raise InputError(
                f"{folder}: there is a benchmark here that was made otherwise. Give the same options, or none; or another study."
            )
        return there
    if not Study.is_one(study.folder):
        study.ingest([])
    key = secrets.token_hex(32)
    many = round(settings.sealed * settings.passages)
    seeds = [f"{settings.seed} {VERSION} {place}" for place in range(settings.passages - many)]
    sources = {
        "open": planted_sources(seeds),
        "sealed": planted_sources(f"{key} {place}" for place in range(many)),
    }
    notes: list[str] = []
    if settings.traces is not None:
        found, notes = trace_sources(study.corpus, settings.traces, seed=settings.seed)
        for source in found:
            sources["sealed" if _is_sealed(source, settings) else "open"].append(source)
    book = book_of([*sources["open"], *sources["sealed"]], seed=settings.seed)
    drafts: dict[Part, list[Drafted]] = {"open": [], "sealed": []}
    for part, material, some in _parts(sources):
        drafts[part] += draft(some, settings.encodings, settings.doses, seed=settings.seed, book=book[material])
    items = [_item(one, part, key) for part, listed in drafts.items() for one in listed]
    right = {one.trace.transcript_id: one.right for one in drafts["sealed"]}
    shutil.rmtree(folder, ignore_errors=True)  # one that was killed before it was whole
    bench_study = Study.make(folder)
    bench_study.ingest([frame_of(one.trace for listed in drafts.values() for one in listed)])
    texts = {one.trace.transcript_id: (one.trace.prompt, one.trace.reasoning) for listed in drafts.values() for one in listed}
    made = Made(
        settings=settings,
        version=VERSION,
        cotdrift=version("cotdrift"),
        open_sha256=_fingerprint((item for item in items if item.part == "open"), texts),
        sealed_sha256=_fingerprint((item for item in items if item.part == "sealed"), texts),
        open=len(drafts["open"]),
        sealed=len(drafts["sealed"]),
        notes=tuple(notes),
        made=_now(),
    )
    with whole_file(folder / ITEMS) as path:
        path.write_bytes(msgspec.json.Encoder().encode_lines(items))
    with whole_file(folder / SEALED) as path:
        path.write_bytes(msgspec.json.encode(Secret(key=key, right=right)))
        path.chmod(0o600)
    with whole_file(folder / MADE) as path:  # the last: a benchmark that was killed before is made anew
        path.write_bytes(msgspec.json.format(msgspec.json.encode(made)))
    return Bench(folder)


def commitment(key: str, item: str, right: str) -> str:
    """What is published of a sealed truth: it tells nothing of it, and no other truth has the same."""
    nonce = hmac.new(key.encode(), item.encode(), hashlib.sha256).hexdigest()
    return hashlib.sha256(f"{nonce}\0{item}\0{right}".encode()).hexdigest()


def _is_sealed(source: Source, settings: Settings) -> bool:
    """By the prompt, so that nothing of a sealed prompt is open; which ones these are is no secret."""
    told = f"{settings.seed}\0{source.environment}\0{source.prompt_id}".encode("utf-8", "backslashreplace")
    return int.from_bytes(hashlib.sha256(told).digest()[:8]) < settings.sealed * 2**64


def _parts(sources: Mapping[str, Sequence[Source]]) -> Iterable[tuple[Part, str, list[Source]]]:
    parts: tuple[Part, ...] = ("open", "sealed")
    for part in parts:
        for material in dict.fromkeys(source.material for source in sources[part]):
            yield part, material, [source for source in sources[part] if source.material == material]


def _item(one: Drafted, part: Part, key: str) -> Item:
    name = one.trace.transcript_id
    return Item(
        transcript_id=name,
        part=part,
        material=one.source.material,
        run=one.source.run,
        step=one.source.step,
        prompt=f"{one.source.environment} {one.source.prompt_id}",
        question=one.trace.conditions["question"],
        encoding=one.encoding,
        dose=one.dose,
        options=one.trace.prompt.count("\n"),
        right=one.right if part == "open" else "",
        commitment="" if part == "open" else commitment(key, name, one.right),
    )


def _fingerprint(items: Iterable[Item], texts: Mapping[str, tuple[str, str]]) -> str:
    told = sorted((item.transcript_id, item.right, item.commitment, *texts[item.transcript_id]) for item in items)
    return hashlib.sha256(msgspec.json.encode(told)).hexdigest()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
