"""The store of labels: every answer a person gave, with its time; nothing in it is ever changed or deleted.

It is one SQLite file, `labels.sqlite` in the study. What is taken back is taken back by a row of its own.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from typing import Any, Literal, Self

import msgspec
import polars as pl
from msgspec import Struct

from cotdrift.errors import InputError
from cotdrift.labelling.draw import Case, Design

FILE = "labels.sqlite"
WAITED_SECONDS = 30
"""How long one annotator's write waits for another's."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (
  place INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, undoes TEXT, annotator TEXT NOT NULL, question TEXT NOT NULL, sha TEXT NOT NULL,
  transcript_id TEXT NOT NULL, "start" INTEGER, "end" INTEGER, repeat INTEGER NOT NULL, label TEXT, value REAL, details TEXT NOT NULL,
  quote TEXT NOT NULL, note TEXT NOT NULL, seconds REAL, probability REAL, split TEXT NOT NULL, time TEXT NOT NULL,
  CHECK ((kind = 'label') = (label IS NOT NULL)), CHECK ((kind = 'undo') = (undoes IS NOT NULL))
);
CREATE INDEX IF NOT EXISTS entries_of ON entries (question, annotator, sha);
CREATE TABLE IF NOT EXISTS draws (
  place INTEGER PRIMARY KEY AUTOINCREMENT,
  annotator TEXT NOT NULL, question TEXT NOT NULL, sha TEXT NOT NULL, design TEXT NOT NULL, cases TEXT NOT NULL, time TEXT NOT NULL
);
CREATE TRIGGER IF NOT EXISTS entries_stay BEFORE DELETE ON entries BEGIN SELECT RAISE(ABORT, 'labels are never deleted'); END;
CREATE TRIGGER IF NOT EXISTS entries_stand BEFORE UPDATE ON entries BEGIN SELECT RAISE(ABORT, 'labels are never changed'); END;
CREATE TRIGGER IF NOT EXISTS draws_stay BEFORE DELETE ON draws BEGIN SELECT RAISE(ABORT, 'draws are never deleted'); END;
CREATE TRIGGER IF NOT EXISTS draws_stand BEFORE UPDATE ON draws BEGIN SELECT RAISE(ABORT, 'draws are never changed'); END;
"""

COLUMNS: dict[str, Any] = {
    "transcript_id": pl.String,
    "question": pl.String,
    "sha": pl.String,
    "start": pl.Int64,
    "end": pl.Int64,
    "label": pl.String,
    "value": pl.Float64,
    "annotator": pl.String,
    "note": pl.String,
    "time": pl.Datetime("us", "UTC"),
    "seconds": pl.Float64,
    "repeat": pl.Boolean,
    "probability": pl.Float64,
    "quote": pl.String,
    "details": pl.String,
    "split": pl.String,
    "id": pl.String,
}
"""The columns of the frame of labels; `details` is JSON."""

Seen = tuple[str, int | None, int | None, bool]
"""What an answer is about: the trace, where its window begins and ends, and whether it is the repeat."""
Chances = dict[tuple[str, str, str], dict[tuple[str, int | None, int | None], float]]


class Entry(Struct, frozen=True, kw_only=True):
    """One thing an annotator did: gave a label, skipped a case, or took back the last of these."""

    id: str = msgspec.field(default_factory=lambda: token_hex(8))
    """The same wherever the labels are carried, so that none is counted twice."""
    kind: Literal["label", "skip", "undo"] = "label"
    undoes: str | None = None
    """The id of what is taken back; None for a label and a skip."""
    annotator: str
    question: str
    """The grader's name."""
    sha: str
    """The grader's fingerprint: a label answers the question as it was then."""
    transcript_id: str
    start: int | None = None
    """Where the reasoning that was shown begins, in characters; None where a file that was read in does not say."""
    end: int | None = None
    repeat: bool = False
    """Whether the case was asked for the second time."""
    label: str | None = None
    """The answer; None for a skip and an undo."""
    value: float | None = None
    """The number the answer counts as; None for a category that is none."""
    details: dict[str, str] = {}
    """What was answered besides, by the detail's name."""
    quote: str = ""
    """The words that show it, as the annotator marked them."""
    note: str = ""
    seconds: float | None = None
    """How long the case was on the screen; None where it is not known."""
    probability: float | None = None
    """The chance the case had of being drawn; None where it was not drawn by chance."""
    split: str = ""
    """The part of a validation set it belongs to, where one was read in."""
    time: datetime = msgspec.field(default_factory=lambda: datetime.now(UTC))

    @property
    def seen(self) -> Seen:
        """What it is about."""
        return self.transcript_id, self.start, self.end, self.repeat


FIELDS = Entry.__struct_fields__
_NAMES = ", ".join(f'"{name}"' for name in FIELDS)
_PLACES = ", ".join("?" * len(FIELDS))


class Labels:
    """The labels in one file; several people may write to it at once."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        if not self.path.parent.is_dir():
            raise InputError(f"{self.path.parent}: there is no such folder. Name the one of a study.")
        self._database = sqlite3.connect(self.path, timeout=WAITED_SECONDS, isolation_level=None, check_same_thread=False)
        self._set_up()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *fault: object) -> None:
        self._database.close()

    def add(self, *entries: Entry) -> int:
        """Keep entries, all or none; returns how many were not there already."""
        with self._at_once():
            return sum(self._insert(entry) for entry in entries)

    def undo(self, annotator: str, question: str, sha: str, *, among: Iterable[Seen]) -> Entry | None:
        """Take back the last label or skip on one of these cases, and return it; None where there is none."""
        cases = set(among)
        with self._at_once():
            last = next((entry for entry in reversed(self.standing(annotator, question, sha)) if entry.seen in cases), None)
            if last is not None:
                undo = Entry(
                    kind="undo",
                    undoes=last.id,
                    annotator=annotator,
                    question=question,
                    sha=sha,
                    transcript_id=last.transcript_id,
                    start=last.start,
                    end=last.end,
                    repeat=last.repeat,
                )
                self._insert(undo)
        return last

    def entries(self, question: str | None = None) -> list[Entry]:
        """Everything that was done, in the order in which it was written down."""
        return self._read("question = ?" if question is not None else "1", () if question is None else (question,))

    def entry(self, name: str) -> Entry | None:
        """The entry with this id, if there is one."""
        return next(iter(self._read("id = ?", (name,))), None)

    def standing(self, annotator: str, question: str, sha: str) -> list[Entry]:
        """One annotator's labels and skips that were not taken back."""
        told = self._read("annotator = ? AND question = ? AND sha = ?", (annotator, question, sha))
        undone = {entry.undoes for entry in told}
        return [entry for entry in told if entry.kind != "undo" and entry.id not in undone]

    def frame(self, question: str | None = None) -> pl.DataFrame:
        """The labels that stand, a row for each annotator, question and case; of several for one case the last.

        `probability` is that of the annotator's last draw, so that a draw that was enlarged is weighted as a whole; null for a case that
        is not in it. Where nothing was drawn here it is what the label was read in with.
        """
        told = self.entries(question)
        undone = {entry.undoes for entry in told}
        standing = [entry for entry in told if entry.kind == "label" and entry.id not in undone]
        chances = self._chances()
        rows = [
            msgspec.structs.asdict(entry)
            | {"details": msgspec.json.encode(entry.details, order="sorted").decode(), "probability": _chance(entry, chances)}
            for entry in sorted(standing, key=lambda entry: entry.time)
        ]
        frame = pl.DataFrame([{name: row[name] for name in COLUMNS} for row in rows], schema=COLUMNS, orient="row")
        case = ["annotator", "question", "sha", "transcript_id", "start", "end", "repeat"]
        return frame.unique(case, keep="last", maintain_order=True)

    def keep_draw(self, question: str, sha: str, design: Design, cases: Sequence[Case]) -> None:
        """Keep a draw; from now on it is the annotator's last."""
        told = (design.annotator, question, sha, _json(design), _json(cases), datetime.now(UTC).isoformat())
        with self._at_once():
            names = "annotator, question, sha, design, cases, time"
            self._database.execute(f"INSERT INTO draws ({names}) VALUES (?, ?, ?, ?, ?, ?)", told)

    def drawn(self, question: str, sha: str, design: Design | None = None, *, annotator: str | None = None) -> list[Case] | None:
        """The cases of the last draw, or the last of this design; None where there is none."""
        told = {"question": question, "sha": sha, "annotator": design.annotator if design else annotator}
        if design is not None:
            told["design"] = _json(design)
        where = " AND ".join(f"{name} = ?" for name in told)
        found = self._database.execute(f"SELECT cases FROM draws WHERE {where} ORDER BY place DESC LIMIT 1", tuple(told.values()))
        row = found.fetchone()
        return None if row is None else msgspec.json.decode(row[0], type=list[Case])

    def _set_up(self) -> None:
        end = time.monotonic() + WAITED_SECONDS
        while True:
            try:
                self._database.execute("PRAGMA journal_mode = WAL")
                break
            except sqlite3.OperationalError:  # another sets the same file up, and for this SQLite does not wait by itself
                if time.monotonic() > end:
                    raise
                time.sleep(0.02)
        self._database.execute("PRAGMA synchronous = FULL")  # a label is on the disk before the next case is shown
        self._database.executescript(f"BEGIN IMMEDIATE;{SCHEMA}COMMIT;")

    def _chances(self) -> Chances:
        """Each annotator's last draw of each question: the chance of each of its cases."""
        last = "SELECT max(place) FROM draws GROUP BY annotator, question, sha"
        found = self._database.execute(f"SELECT annotator, question, sha, cases FROM draws WHERE place IN ({last})")
        return {
            (annotator, question, sha): {
                (case.transcript_id, case.start, case.end): case.probability for case in msgspec.json.decode(cases, type=list[Case])
            }
            for annotator, question, sha, cases in found
        }

    def _insert(self, entry: Entry) -> int:
        row = msgspec.structs.asdict(entry) | {"details": _json(entry.details), "time": entry.time.astimezone(UTC).isoformat()}
        values = tuple(row[name] for name in FIELDS)
        return self._database.execute(f"INSERT INTO entries ({_NAMES}) VALUES ({_PLACES}) ON CONFLICT (id) DO NOTHING", values).rowcount

    def _read(self, where: str, told: tuple[str, ...]) -> list[Entry]:
        found = self._database.execute(f"SELECT {_NAMES} FROM entries WHERE {where} ORDER BY place", told)
        return [_entry(dict(zip(FIELDS, row, strict=True))) for row in found]

    @contextmanager
    def _at_once(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")


def _entry(row: dict[str, Any]) -> Entry:
    return Entry(
        **row
        | {
            "repeat": bool(row["repeat"]),
            "details": msgspec.json.decode(row["details"], type=dict[str, str]),
            "time": datetime.fromisoformat(row["time"]),
        }
    )


def _chance(entry: Entry, chances: Chances) -> float | None:
    drawn = chances.get((entry.annotator, entry.question, entry.sha))
    return entry.probability if drawn is None else drawn.get((entry.transcript_id, entry.start, entry.end))


def _json(told: object) -> str:
    return msgspec.json.encode(told, order="sorted").decode()
