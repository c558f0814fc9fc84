"""A judgment: what one judge said of one trace, or why nothing could be had; kept as it comes, in one file of the study."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
import polars as pl
from msgspec import Struct

from cotdrift.grader import Grader, Reason

Where = Literal["reasoning", "answer", "record", "scenario", "summaries"]
"""The part of the trace that a quote is from; `summaries` are those that a judge of summaries was shown."""

COLUMNS: dict[str, Any] = {
    "transcript_id": pl.String,
    "grader": pl.String,
    "version": pl.Int64,
    "sha": pl.String,
    "judge": pl.String,
    "settings": pl.String,
    "level": pl.Int64,
    "repeat": pl.Int64,
    "attempt": pl.Int64,
    "start": pl.Int64,
    "end": pl.Int64,
    "marked": pl.String,
    "stands_for": pl.Float64,
    "children": pl.String,
    "label": pl.String,
    "value": pl.Float64,
    "details": pl.String,
    "quotes": pl.String,
    "reason": pl.String,
    "missing": pl.String,
    "reply": pl.String,
    "input_tokens": pl.Int64,
    "output_tokens": pl.Int64,
    "cost": pl.Float64,
    "at": pl.String,
}
KEY = ("transcript_id", "grader", "sha", "judge", "settings", "level", "start", "end", "repeat")
"""What is asked once; another attempt at it is another row, and the last one counts."""
TRIED_AGAIN: frozenset[Reason] = frozenset({"over budget", "failed"})
"""Reasons that say nothing of the trace or the judge: the next pass asks again."""
LONGEST_OBJECT = 20_000
DECLINES = re.compile(
    r"\b(?:I(?: am|['’]m)? (?:sorry|unable|not able|cannot|can['’]?t|won['’]?t)|I (?:must|have to) decline|as an AI\b)", re.IGNORECASE
)


class Quote(Struct, frozen=True, kw_only=True):
    """Words that a judge gave as evidence, and where they stand."""

    text: str
    found: Literal["exact", "folded", "absent"]
    """`folded`: but for case and white space. `absent`: nowhere in what the judge was shown."""
    where: Where | None = None
    start: int | None = None
    """In characters of that part of the trace."""
    end: int | None = None


class Child(Struct, frozen=True):
    """A judgment that another one sums up, or one that was missing when it did."""

    start: int
    end: int
    attempt: int | None
    """None where it is missing."""
    missing: Reason | None = None


class Judgment(Struct, frozen=True, kw_only=True):
    """One judge's answer about one trace, a part of it, or summaries of parts; without a label it is missing, and says why."""

    transcript_id: str
    grader: str
    version: int
    sha: str
    judge: str
    """The model, as Inspect names it."""
    settings: str = ""
    """Effort, temperature and the like, as `name=value`: another setting is another judge."""
    level: int = 0
    """0 for a part of the trace itself; above it summaries of what stands one level below."""
    start: int = 0
    """Of the window, of the use, or of all that is summed up, in characters of the reasoning, or of the record where that is judged."""
    end: int = 0
    marked: str = ""
    """The use that was asked about, as it is written; empty where none was."""
    stands_for: float = 1.0
    """How many uses of the trace this one was drawn for."""
    children: tuple[Child, ...] = ()
    """What was summed up."""
    repeat: int = 0
    """0, or 1 where the same was asked a second time, to hold the judge against itself."""
    attempt: int = 0
    label: str | None = None
    value: float | None = None
    details: dict[str, str] = {}
    quotes: tuple[Quote, ...] = ()
    reason: str = ""
    """Why, in the judge's words; for a judgment that failed, the fault."""
    missing: Reason | None = None
    reply: str = ""
    """All that the judge said."""
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = None
    """In dollars; None where the price is not known."""
    at: str = ""

    @property
    def as_child(self) -> Child:
        """As what sums it up remembers it."""
        return Child(self.start, self.end, None if self.missing else self.attempt, self.missing)

    @property
    def misquoted(self) -> bool:
        """Whether it rests on words that are not there."""
        return any(quote.found == "absent" for quote in self.quotes)


class Said(Struct, frozen=True, kw_only=True):
    """A reply, read."""

    label: str
    value: float | None
    details: dict[str, str] = {}
    quotes: tuple[str, ...] = ()
    reason: str = ""


def read_reply(grader: Grader, reply: str) -> Said | None:
    """What a reply says: its last JSON object with an answer of the grader's, or the bare answer; None when it says neither."""
    for told in _objects(reply):
        answer = grader.answer(_text(told.get("answer")))
        if answer is not None:
            quotes = told.get("quotes") or told.get("quote") or []
            quotes = [quotes] if isinstance(quotes, str) else quotes if isinstance(quotes, list) else []
            return Said(
                label=answer.label,
                value=answer.value,
                details=_details(grader, told),
                quotes=tuple(text for quote in quotes if isinstance(quote, str) and (text := quote.strip())),
                reason=_text(told.get("reason")),
            )
    bare = grader.answer(reply.strip().strip("\"'`*.!"))
    return Said(label=bare.label, value=bare.value) if bare else None


def why_missing(reply: str, stop: str) -> Reason:
    """Why a reply that could not be read says nothing. `stop` is what Inspect gives as the reason it ended."""
    if stop == "content_filter":
        return "refusal"
    if not reply.strip():
        return "empty" if stop not in ("max_tokens", "model_length") else "truncated"
    if stop in ("max_tokens", "model_length"):
        return "truncated"
    return "refusal" if DECLINES.search(reply[:160]) else "unparsable"


def locate(quote: str, parts: Mapping[Where, tuple[str, int]], *, near: int = 0) -> Quote:
    """Where a quote stands in the parts shown: text, and at which character of the trace's own text it begins.

    Of several places it is the one nearest to a character of that text: the first, if none is named.

    >>> locate("Pays ODD", {"reasoning": ("the grader  pays\\nodd ones", 100)})
    Quote(text='Pays ODD', found='folded', where='reasoning', start=112, end=120)
    """
    found: Literal["exact", "folded"]
    for found, pattern in (("exact", re.escape(quote)), ("folded", r"\s+".join(map(re.escape, quote.split())))):
        sought = re.compile(pattern or r"(?!)", re.IGNORECASE if found == "folded" else re.NOFLAG)
        for where, (text, offset) in parts.items():
            hits = [(offset + hit.start(), offset + hit.end()) for hit in sought.finditer(text)]
            if hits:
                start, end = min(hits, key=lambda hit: abs(hit[0] - near))
                return Quote(text=quote, found=found, where=where, start=start, end=end)
    return Quote(text=quote, found="absent")


def _objects(reply: str) -> Iterator[dict[str, Any]]:
    """The JSON objects in a text, the last first."""
    decoder, end = json.JSONDecoder(), len(reply)
    for at in (found.start() for found in reversed(list(re.finditer(r"\{", reply[-LONGEST_OBJECT:])))):
        at += max(0, end - LONGEST_OBJECT)
        try:
            told, _ = decoder.raw_decode(reply, at)
        except (ValueError, RecursionError):
            continue
        if isinstance(told, dict):
            yield told


def _text(told: Any) -> str:
    if isinstance(told, bool):
        return "yes" if told else "no"
    if isinstance(told, int | float):
        return f"{told:g}"
    return told if isinstance(told, str) else ""


def _details(grader: Grader, told: Mapping[str, Any]) -> dict[str, str]:
    found = {}
    for detail in grader.details:
        said = _text(told.get(detail.name)).strip().casefold()
        level = next((level for level in [*detail.levels, "none"] if level.casefold() == said), None)
        if level is not None:
            found[detail.name] = level
    return found


class Judgments:
    """Every judgment of a study, in one SQLite file; each is on disk before the next is asked for."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def writing(self) -> Iterator[Writer]:
        """A place to add judgments to."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(self.path, timeout=60, isolation_level=None)) as opened:
            opened.execute("PRAGMA journal_mode=WAL")
            opened.execute("PRAGMA synchronous=NORMAL")
            opened.execute(f"CREATE TABLE IF NOT EXISTS judgments ({', '.join(COLUMNS)}, PRIMARY KEY ({', '.join(KEY)}, attempt))")
            yield Writer(opened)

    def frame(self, grader: str | None = None, *, sha: str | None = None, every_attempt: bool = False) -> pl.DataFrame:
        """The judgments as a table, the last attempt of each; of one grader, or of one wording of it.

        `window` numbers what was asked about in a trace, in order of the text, and after that what sums it up.
        """
        if not self.path.exists():
            return pl.DataFrame(schema=COLUMNS | {"window": pl.Int64})
        told = {name: value for name, value in (("grader", grader), ("sha", sha)) if value is not None}
        where = " AND ".join(f"{name} = ?" for name in told) or "1"
        with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, timeout=60)) as opened:
            rows = opened.execute(f"SELECT {', '.join(COLUMNS)} FROM judgments WHERE {where}", list(told.values())).fetchall()
        place = pl.struct("level", "start", "end").rank("dense").over("transcript_id", "grader", "sha").cast(pl.Int64) - 1
        found = pl.DataFrame(rows, schema=COLUMNS, orient="row").sort(*KEY, "attempt").with_columns(window=place)
        return found if every_attempt else found.unique(KEY, keep="last", maintain_order=True)

    def of_trace(self, grader: Grader, transcript_id: str) -> list[Judgment]:
        """What judges last said of one trace, first answers only, in the order of the text; and after it what sums it up."""
        if not self.path.exists():
            return []
        with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, timeout=60)) as opened:
            return Writer(opened).said(grader, transcript_id)

    def in_other_words(self, grader: Grader) -> int:
        """How many judgments there are under another wording of this grader."""
        if not self.path.exists():
            return 0
        with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, timeout=60)) as opened:
            told = opened.execute("SELECT count(*) FROM judgments WHERE grader = ? AND sha != ?", (grader.name, grader.sha))
            return int(told.fetchone()[0])

    def graders(self) -> dict[str, str]:
        """The graders that have judged anything here, each with the fingerprint of the wording that was used last."""
        if not self.path.exists():
            return {}
        with closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, timeout=60)) as opened:
            rows = opened.execute("SELECT grader, sha, max(at || '/' || rowid) FROM judgments GROUP BY grader ORDER BY grader")
            return {name: sha for name, sha, _ in rows}


class Known(NamedTuple):
    """What became of something that was asked."""

    attempts: int
    missing: Reason | None
    """Why the last attempt gave nothing."""
    children: str
    """What it summed up, as it is kept."""


class Writer:
    """Adds judgments, each whole or not at all."""

    def __init__(self, opened: sqlite3.Connection) -> None:
        self.opened = opened

    def known(self, grader: Grader) -> dict[tuple[Any, ...], Known]:
        """What was asked of this wording of a grader already."""
        rows = self.opened.execute(
            f"SELECT {', '.join(KEY)}, max(attempt), missing, children FROM judgments WHERE grader = ? AND sha = ? "
            f"GROUP BY {', '.join(KEY)}",
            (grader.name, grader.sha),
        )
        return {tuple(row[: len(KEY)]): Known(row[-3] + 1, *row[-2:]) for row in rows}

    def said(self, grader: Grader, transcript_id: str) -> list[Judgment]:
        """The last attempt at each first answer about one trace, the parts before what sums them up."""
        rows = self.opened.execute(
            f"SELECT {', '.join(COLUMNS)}, max(attempt) FROM judgments WHERE transcript_id = ? AND grader = ? AND sha = ? AND repeat = 0 "
            f"GROUP BY {', '.join(KEY)} ORDER BY level, start, end",
            (transcript_id, grader.name, grader.sha),
        )
        return [_judgment(row) for row in rows]

    def add(self, judgments: Iterable[Judgment]) -> None:
        """Put these on disk."""
        rows = [[_column(getattr(judgment, name)) for name in COLUMNS] for judgment in judgments]
        marks = ", ".join("?" * len(COLUMNS))
        self.opened.execute("BEGIN")
        self.opened.executemany(f"INSERT INTO judgments VALUES ({marks})", rows)
        self.opened.execute("COMMIT")


def _judgment(row: Sequence[Any]) -> Judgment:
    told = dict(zip(COLUMNS, row, strict=False))
    return msgspec.convert(told | {name: json.loads(told[name]) for name in ("details", "quotes", "children")}, Judgment)


def children_told(children: Sequence[Child]) -> str:
    """These as they are kept."""
    return str(_column(tuple(children)))


def _column(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()  # half a surrogate pair is no text
    return value if value is None or isinstance(value, int | float) else json.dumps(msgspec.to_builtins(value))
