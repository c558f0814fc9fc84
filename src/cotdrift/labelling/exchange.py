"""Labels as files: CSV, JSONL and Scout's validation CSV, written and read back.

CSV has the labels that stand, a row each. JSONL has all that was done, skips and what was taken back too. Scout's has one target a
transcript.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from io import StringIO
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
from msgspec import Struct
from msgspec.structs import replace

from cotdrift.corpus import whole_file
from cotdrift.errors import InputError
from cotdrift.grader import Answer, Grader
from cotdrift.labelling.labels import FIELDS, Entry, Labels
from cotdrift.opening import LONGEST_RECORD

SCOUT = ["id", "target", "split"]
ENDINGS = "labels.csv, labels.jsonl, or labels.scout.csv for Scout's validation sets"
FORMULA = re.compile(r"'*[=+\-@\t\r]")
"""How a cell begins that a spreadsheet would run, or that begins like one made harmless; an apostrophe before it makes it text."""
YES_AND_NO = {"true": "yes", "false": "no"}
"""What Scout calls them."""

Row = tuple[int, dict[str, Any]]
"""The line where a record begins, and its fields."""


class Taken(Struct, frozen=True, kw_only=True):
    """What became of a file that was read in."""

    file: str
    added: int
    known: int
    """Labels that were there already."""
    strange: int = 0
    """Labels of transcripts that are not in the study."""
    ignored: tuple[str, ...] = ()
    """Fields that labels have no place for."""

    def sentence(self) -> str:
        """What became of it, in a sentence or some."""
        strange = f" {self.strange} are of transcripts that are not in the study." if self.strange else ""
        ignored = f" Labels have no place for {', '.join(self.ignored)}; that was left in the file." if self.ignored else ""
        return f"{self.file}: {self.added} labels read in, {self.known} were there already.{strange}{ignored}"


class Written(Struct, frozen=True, kw_only=True):
    """What became of labels that were written to a file."""

    file: str
    written: int
    undecided: int = 0
    """Transcripts left out of a validation set, as their annotators are split evenly."""


def write_labels(labels: Labels, grader: Grader, path: Path) -> Written:
    """Write the labels of a question to a file; its name's ending says of which kind."""
    frame, undecided = labels.frame(grader.name), 0
    if path.suffix == ".jsonl":
        chances = dict(frame.select("id", "probability").iter_rows())
        told = [replace(entry, probability=chances.get(entry.id, entry.probability)) for entry in labels.entries(grader.name)]
        content, written = b"".join(msgspec.json.encode(entry) + b"\n" for entry in told), len(told)
    elif path.name.endswith(".scout.csv"):
        cases, undecided = _validation(frame, grader, path)
        content, written = _csv(SCOUT, cases), len(cases)  # as they are: Scout would not know an id with an apostrophe before it
    elif path.suffix == ".csv":
        rows = [{name: _harmless(value) for name, value in row.items()} for row in frame.iter_rows(named=True)]
        content, written = _csv(frame.columns, rows), len(rows)
    else:
        raise InputError(f"{path}: labels are not written to such a file. Name it {ENDINGS}.")
    with whole_file(path) as unfinished:
        unfinished.write_bytes(content)
    return Written(file=str(path), written=written, undecided=undecided)


def read_labels(labels: Labels, grader: Grader, path: Path, *, annotator: str, ids: Mapping[str, str]) -> Taken:
    """Read the labels of a question from a file, all or none; `annotator` gave those that name nobody.

    `ids` are the corpus's: a transcript may be called as Scout calls it. Read twice, a file adds nothing the second time. Nothing that is
    there is changed: a label unlike the one of its id is a fault.
    """
    entries: dict[str, Entry] = {}
    seen: Counter[str] = Counter()
    ignored: dict[str, None] = {}
    for line, row in _rows(path):
        try:
            entry, others = _entry(row, grader, annotator, seen)
            entry = replace(entry, transcript_id=ids.get(entry.transcript_id, entry.transcript_id))
            known = entries.get(entry.id) or labels.entry(entry.id)
            if known is not None and row.get("id") and _fixed(known) != _fixed(entry):
                raise ValueError(f"the label {entry.id} is there already, and says something else. Leave the line out, or give it no id")
        except (ValueError, msgspec.ValidationError) as fault:
            raise InputError(f"{path}:{line}: {fault}. Nothing was read in.") from None
        entries[entry.id] = entry
        ignored |= dict.fromkeys(others)
    added = labels.add(*entries.values())
    strange = sum(entry.transcript_id not in ids for entry in entries.values())
    return Taken(file=str(path), added=added, known=len(entries) - added, strange=strange, ignored=tuple(ignored))


def _fixed(entry: Entry) -> Entry:
    """What of a label can never change; its chance grows with its annotator's draw."""
    return replace(entry, probability=None)


def _entry(row: Mapping[str, Any], grader: Grader, annotator: str, seen: Counter[str]) -> tuple[Entry, list[str]]:
    """The entry that a record is, and the fields it has besides."""
    told = {name: value for name, value in row.items() if name in FIELDS and value is not None and value != ""}
    others = [name for name in row if name not in FIELDS]
    if isinstance(told.get("details"), str):
        told["details"] = json.loads(told["details"])
    if "id" not in told:
        same = json.dumps([annotator, grader.name, grader.sha, told], sort_keys=True, default=str)
        seen[same] += 1
        told["id"] = hashlib.sha256(f"{same}{seen[same]}".encode()).hexdigest()[:16]
    entry = msgspec.convert({"annotator": annotator, "question": grader.name, "sha": grader.sha} | told, Entry, strict=False)
    if entry.question != grader.name:
        raise ValueError(f"this is a label of {entry.question!r}, not of {grader.name!r}. Read it in under that question")
    if any(number is not None and not math.isfinite(number) for number in (entry.value, entry.seconds, entry.probability)):
        raise ValueError("a number is not finite. Leave the field empty")
    if entry.time.tzinfo is None:
        raise ValueError(f"time: {entry.time.isoformat()} is in no time zone. Write it as {entry.time.isoformat()}Z, if it is in UTC")
    if (entry.kind == "label") != (entry.label is not None) or (entry.kind == "undo") != (entry.undoes is not None):
        raise ValueError("a label needs `label`, an undo needs `undoes`, and neither has the other's. Mend the line")
    if entry.label is not None and entry.sha == grader.sha:
        answer = _answer(entry.label, grader)
        entry = replace(entry, label=answer.label, value=answer.value)
    return entry, others


def _answer(told: str, grader: Grader) -> Answer:
    """The answer of this label, or that counts as this number; true and false are yes and no."""
    answer = grader.answer(told) or grader.answer(YES_AND_NO.get(told.casefold(), ""))
    if answer is None:
        with suppress(ValueError):
            answer = next((one for one in grader.answers if one.value == float(told)), None)
    if answer is None:
        raise ValueError(f"{told!r} is no answer of {grader.name}. Its answers: {', '.join(one.label for one in grader.answers)}")
    return answer


def _rows(path: Path) -> Iterator[Row]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file. Name one that is there.") from None
    except UnicodeDecodeError as fault:
        line = path.read_bytes()[: fault.start].count(b"\n") + 1
        raise InputError(f"{path}:{line}: this is no UTF-8. Write the file as UTF-8.") from None
    kinds: dict[str, Callable[[Path, str], Iterator[Row]]] = {".jsonl": _json_rows, ".csv": _csv_rows}
    if path.suffix not in kinds:
        raise InputError(f"{path}: labels are not read from such a file. Name it {ENDINGS}.")
    return kinds[path.suffix](path, text)


def _json_rows(path: Path, text: str) -> Iterator[Row]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = msgspec.json.decode(line)
        except msgspec.DecodeError as fault:
            raise InputError(f"{path}:{number}: this is no JSON: {fault}. Nothing was read in.") from None
        if not isinstance(row, dict):
            raise InputError(f"{path}:{number}: this is no object. Write one label a line, as {{…}}. Nothing was read in.")
        yield number, row


def _csv_rows(path: Path, text: str) -> Iterator[Row]:
    csv.field_size_limit(LONGEST_RECORD)  # the limit is the module's, and a quote may be long
    table = csv.reader(StringIO(text, newline=""), strict=True)
    names: list[str] = []
    while True:
        line = table.line_num + 1
        try:
            row = next(table, None)
        except csv.Error as fault:
            raise InputError(f"{path}:{line}: the row is no CSV ({fault}). Quote fields that hold commas or quotes.") from None
        if row is None:
            return
        if not row:
            continue
        if not names:
            names = [name.strip() for name in row]
            if "label" not in names and "target" not in names:
                raise InputError(f"{path}:{line}: no column is called 'label', or 'target' as in Scout's validation sets. Name them.")
            continue
        if len(row) != len(names):
            raise InputError(f"{path}:{line}: the row has {len(row)} fields, and there are {len(names)} names. Nothing was read in.")
        told = dict(zip(names, row, strict=True))
        if "label" in names:
            yield line, {name: _bare(value) for name, value in told.items()}
        else:
            yield line, _of_scout(path, line, told)


def _of_scout(path: Path, line: int, told: dict[str, str]) -> dict[str, Any]:
    """A case of a validation set as a label."""
    if told.get("id", "").startswith("["):
        raise InputError(f"{path}:{line}: the case is of several transcripts, and a label is of one. Leave it out.")
    rest = {name: value for name, value in told.items() if name not in SCOUT}
    return {"transcript_id": told.get("id", ""), "label": told["target"], "split": told.get("split", ""), **rest}


def _validation(frame: pl.DataFrame, grader: Grader, path: Path) -> tuple[list[dict[str, Any]], int]:
    """One target a transcript: what most annotators answered; and how many transcripts have no such answer."""
    if not grader.is_of_whole:
        raise InputError(f"{path}: Scout has one target a transcript, and {grader.name} is asked of windows or uses. Export CSV or JSONL.")
    cases, undecided = [], 0
    now = frame.filter(~pl.col("repeat") & (pl.col("sha") == grader.sha))
    for (name,), rows in now.group_by("transcript_id", maintain_order=True):
        most = Counter(rows["label"].to_list()).most_common(2)
        if len(most) == 2 and most[0][1] == most[1][1]:
            undecided += 1
            continue
        split = next((split for split in rows["split"] if split), "")
        cases.append({"id": name, "target": _target(_answer(most[0][0], grader), grader), "split": split})
    return cases, undecided


def _target(answer: Answer, grader: Grader) -> bool | int | float | str:
    if grader.is_yes_or_no:
        return bool(answer.value)
    if not grader.is_number or answer.value is None:
        return answer.label
    return int(answer.value) if answer.value.is_integer() else answer.value


def _csv(names: list[str], rows: list[dict[str, Any]]) -> bytes:
    written = StringIO(newline="")
    table = csv.writer(written)
    table.writerow(names)
    table.writerows([_cell(row[name]) for name in names] for row in rows)
    return written.getvalue().encode()


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat() if isinstance(value, datetime) else value


def _harmless(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and FORMULA.match(value) else value


def _bare(value: str) -> str:
    return value[1:] if value.startswith("'") and FORMULA.match(value) else value
