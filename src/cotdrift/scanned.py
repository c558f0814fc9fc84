"""A Scout scan read as judgments: what a scanner found in each transcript, or why it found nothing.

The results are read as the files they are; Scout itself is not needed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
from msgspec import Struct
from msgspec.structs import replace

from cotdrift.asking import Asking, is_there
from cotdrift.corpus import Corpus
from cotdrift.errors import InputError, UnknownName
from cotdrift.grader import Answer, Grader, Reason, with_terms
from cotdrift.judging import READ_AT_ONCE, settings_of
from cotdrift.judgment import KEY, TRIED_AGAIN, Child, Judgment, Known, Quote, Writer, locate, why_missing
from cotdrift.seen import Place, places
from cotdrift.trace import Trace

SPEC = "_scan.json"
COLUMNS = (
    "transcript_id",
    "scanner_name",
    "scanner_version",
    "scanner_params",
    "label",
    "value",
    "value_type",
    "answer",
    "explanation",
    "metadata",
    "message_references",
    "scan_error",
    "scan_error_type",
    "scan_model_usage",
    "scan_events",
    "timestamp",
)
MARK = re.compile(r"\[[ME]\d+\]")
"""How Scout names a message or an event, where it quotes none."""
LONGEST_FAULT = 400


class Scanned(Struct, frozen=True, kw_only=True):
    """What became of a scan that was read in."""

    grader: str
    scanner: str
    """With its version."""
    judgments: int
    """With an answer."""
    missing: dict[Reason, int]
    misquoted: int
    """Judgments that rest on words which are not in the trace."""
    had: int
    """Results that were there already."""
    strange: int
    """Transcripts that are not in the study."""
    unlike: int
    """Transcripts whose text is not the study's, by the places that were asked about."""
    loose: int
    """Summaries of other judgments than those that are kept here."""
    unused: int
    """Transcripts that use none of the terms, of which nothing was asked."""
    set_aside: int
    """Transcripts whose reasoning cannot be read: a summary, redacted, or none."""
    faults: tuple[str, ...]
    """What the failed ones failed of, and what was no answer, each once."""

    def sentence(self) -> str:
        """What came of it, in one sentence with numbers."""
        missing = ", ".join(f"{many:,} {reason}" for reason, many in sorted(self.missing.items(), key=lambda one: -one[1]))
        left = [
            f"{many:,} {what}"
            for many, what in (
                (self.had, "were there already"),
                (self.strange, "are of transcripts that are not in the study"),
                (self.unlike, "are of transcripts whose text is another in the study"),
                (self.loose, "sum up other judgments than those that are kept"),
                (self.unused, "are of transcripts that use none of the terms"),
                (self.set_aside, "are set aside, as their reasoning cannot be read"),
            )
            if many
        ]
        return (
            f"{self.grader}, as Scout's {self.scanner} asked it: {self.judgments:,} judgments; missing: {missing or 'none'}; "
            f"{self.misquoted:,} rest on words that are not there{''.join(f'; {one}' for one in left)}."
        )


class Reference(Struct):
    """What a result refers to."""

    cite: str | None = None


class Result(Struct):
    """One result, as Scout keeps it."""

    value: Any = None
    label: str | None = None
    answer: str | None = None
    explanation: str | None = None
    metadata: dict[str, Any] | None = None
    references: list[Reference] = []


class Ours(Struct):
    """What our own scanners keep with a result."""

    sha: str
    judge: str
    window: tuple[int, int]
    quotes: list[Quote]
    details: dict[str, str]
    missing: Reason | None
    reply: str
    level: int = 0
    children: list[Child] = []


class Params(Struct):
    """What a scanner was told."""

    terms: str | list[str] = []

    @property
    def named(self) -> list[str]:
        """The terms one by one; Scout makes a list of a,b, and leaves a as it is."""
        return self.terms if isinstance(self.terms, list) else self.terms.split(",")


class Usage(Struct):
    """What one model was paid for."""

    input_tokens: int = 0
    output_tokens: int = 0
    total_cost: float | None = None


class Block(Struct):
    """A part of a message."""

    text: str = ""


class Message(Struct):
    """What a model replied."""

    content: str | list[Block] = ""


class Choice(Struct):
    """A reply, and why it ended."""

    message: Message
    stop_reason: str = "stop"


class Output(Struct):
    """The replies to one request."""

    choices: list[Choice] = []


class Event(Struct):
    """Something that happened while a transcript was scanned."""

    event: str = ""
    output: Output | None = None


class Model(Struct):
    """A model of a scan, and how it was told to sample."""

    model: str = ""
    config: dict[str, Any] = {}


class Spec(Struct):
    """What a scan says of itself."""

    model: Model | None = None
    model_roles: dict[str, Model | list[Model]] | None = None

    def settings(self, judge: str) -> str:
        """How this model was told to sample."""
        models = [self.model] if self.model else []
        for some in (self.model_roles or {}).values():
            models += some if isinstance(some, list) else [some]
        return next((settings_of(model.config) for model in models if model.model == judge), "")


class Row(Struct, frozen=True, kw_only=True):
    """What a scanner found in one transcript."""

    transcript_id: str
    results: list[Result]
    ours: list[Ours | None]
    """What our own scanner keeps beside each result."""
    error: str | None
    refused: bool
    usage: dict[str, Usage]
    reply: str
    """What the model said last."""
    stop: str
    at: str


class Scan:
    """The results of the scanner that bears a grader's name."""

    def __init__(self, folder: Path, grader: Grader) -> None:
        self.folder = _one_scan(folder)
        self.file = self.folder / f"{grader.name}.parquet"
        if not self.file.is_file():
            raise UnknownName(f"scanner of {self.folder}", grader.name, [path.stem for path in self.folder.glob("*.parquet")])
        try:
            self.spec = msgspec.json.decode((self.folder / SPEC).read_bytes(), type=Spec)
            table = pl.scan_parquet(self.file)
            there = set(table.collect_schema().names())
            told = [pl.col(name) if name in there else pl.lit(None).alias(name) for name in COLUMNS]
            frame = table.select(column.cast(pl.String) for column in told).collect()
            self.rows = [_row(row) for row in frame.iter_rows(named=True)]
            first = frame.row(0, named=True) if frame.height else dict.fromkeys(COLUMNS)
            params = first["scanner_params"] or "{}"
            terms = msgspec.json.decode(params, type=Params).named if grader.around is not None else ()
        except (OSError, msgspec.MsgspecError, pl.exceptions.PolarsError, ValueError) as fault:
            raise InputError(f"{self.file}: these are no results of Scout ({' '.join(str(fault).split())}). Scan again.") from None
        self.scanner = f"{first['scanner_name']} version {first['scanner_version']}"
        self.grader, self.is_ours = self._instrument(with_terms(grader, terms) if terms else grader, params)
        judges = Counter(judge for row in self.rows if (judge := _judge(row)))
        self.judge = judges.most_common(1)[0][0] if judges else f"scout:{self.scanner}"

    def _instrument(self, grader: Grader, params: str) -> tuple[Grader, bool]:
        """The grader as it was asked: as it is, where the scan says so, and else a wording of its own whose words are not known."""
        shas = {ours.sha if ours else None for row in self.rows if row.error is None for ours in row.ours}
        if shas <= {grader.sha}:
            return grader, True
        if not grader.is_of_whole or any(len(row.results) > 1 for row in self.rows):
            raise InputError(
                f"{self.file}: a transcript has several results here, or should have, and only those of {grader.name} as it is worded "
                f"now can be told apart. Scan for one thing at a time, and name a grader that is asked of a trace once."
            )
        wording = "".join(f", wording {sha}" for sha in sorted(filter(None, shas)))
        return replace(grader, prompt=f"{grader.prompt}\n\n[Asked by Scout's scanner {self.scanner}, {params}{wording}.]"), False

    def read(self, corpus: Corpus, writer: Writer) -> Scanned:
        """Add what the scan found to the judgments, all of it or nothing; what is there already stays as it is."""
        ids = corpus.ids()
        known_rows = [row for row in self.rows if row.transcript_id in ids]
        if self.rows and not known_rows:
            raise InputError(f"{self.folder}: none of its {len(self.rows):,} transcripts is in the study. Ingest those that were scanned.")
        known, new, count, faults = writer.known(self.grader), list[Judgment](), Counter[str](), dict[str, None]()
        for trace, row in _with_traces(corpus, known_rows, ids):
            if self.grader.reads_reasoning and trace.reasoning_kind != "raw":
                count["set aside"] += 1
                continue
            found = self._judgments(row, trace, faults)
            if found is None:
                count["unlike"] += 1
                continue
            kept = dict[tuple[int, int, int], Judgment]()
            for judgment in found:
                key = tuple(getattr(judgment, name) for name in KEY)
                was = known.get(key)
                if is_there(was) or (was and judgment.missing in TRIED_AGAIN):
                    count["had"] += 1
                    continue
                below = [kept.get((judgment.level - 1, child.start, child.end)) for child in judgment.children]
                children = tuple(child.as_child for child in below if child)
                if len(children) < len(below):
                    count["loose"] += 1
                    continue
                attempt = was.attempts if was else 0
                judgment = replace(judgment, attempt=attempt, children=children)
                known[key] = Known(attempt + 1, judgment.missing, "")
                kept[judgment.level, judgment.start, judgment.end] = judgment
                new.append(judgment)
        if faults and not count["had"] and not any(judgment.label for judgment in new):
            raise InputError(f"{self.file}: {next(iter(faults))}. Name a grader with the answers that the scanner gives.")
        writer.add(new)
        missing = Counter(judgment.missing for judgment in new if judgment.missing is not None)
        return Scanned(
            grader=self.grader.name,
            scanner=self.scanner,
            judgments=sum(judgment.label is not None for judgment in new),
            unused=missing.pop("unused", 0),
            missing=dict(missing),
            misquoted=sum(judgment.misquoted for judgment in new),
            had=count["had"],
            strange=len(self.rows) - len(known_rows),
            unlike=count["unlike"],
            loose=count["loose"],
            set_aside=count["set aside"],
            faults=tuple(faults | dict.fromkeys(judgment.reason for judgment in new if judgment.missing == "failed")),
        )

    def _judgments(self, row: Row, trace: Trace, faults: dict[str, None]) -> list[Judgment] | None:
        """What was found in one transcript, each after what it sums up; None where that is not about the text of the trace."""
        grader, judge = self.grader, _judge(row) or self.judge
        begun = Judgment(
            transcript_id=trace.transcript_id,
            grader=grader.name,
            version=grader.version,
            sha=grader.sha,
            judge=judge,
            settings=self.spec.settings(judge),
            at=row.at,
        )
        of_parts = {}
        for start, end, stands_for in places(grader, trace) or [Place(0, 0)]:
            marked = trace.reasoning[start:end] if grader.around is not None else ""
            of_parts[start, end] = replace(begun, start=start, end=end, stands_for=stands_for, marked=marked)
        if row.error is not None:
            reason: Reason = "refusal" if row.refused else "failed"
            told = " ".join(row.error.split())[:LONGEST_FAULT]
            return _paid_for([replace(judgment, missing=reason, reason=told) for judgment in of_parts.values()], row.usage)
        found = dict[tuple[int, int, int], Judgment]()
        for result, ours in zip(row.results, row.ours, strict=True):
            children: tuple[Judgment, ...] = ()
            if ours is None or not self.is_ours:
                judgment = next(iter(of_parts.values()))
            elif ours.level == 0 and ours.window in of_parts:
                judgment = of_parts[ours.window]
            else:
                below = [found.get((ours.level - 1, child.start, child.end)) for child in ours.children]
                children = tuple(child for child in below if child)
                if not children or len(children) < len(below):
                    return None
                of_children = tuple(child.as_child for child in children)
                judgment = replace(begun, level=ours.level, start=children[0].start, end=children[-1].end, children=of_children)
            found[judgment.level, judgment.start, judgment.end] = self._said(judgment, children, result, ours, row, trace, faults)
        there = {(start, end) for level, start, end in found if level == 0}
        return _paid_for(list(found.values()), row.usage) if there == of_parts.keys() else None

    def _said(
        self,
        judgment: Judgment,
        children: tuple[Judgment, ...],
        result: Result,
        ours: Ours | None,
        row: Row,
        trace: Trace,
        faults: dict[str, None],
    ) -> Judgment:
        """A judgment with what a result says."""
        judgment = replace(judgment, reason=result.explanation or "", reply=ours.reply if ours else row.reply)
        answer = None if ours and ours.missing else self._answer(result, row, faults)
        if answer is None:
            return replace(judgment, missing=(ours and ours.missing) or why_missing(row.reply, row.stop))
        asked = Asking(trace=trace, judge=judgment.judge, start=judgment.start, end=judgment.end, level=judgment.level, children=children)
        _, shown = asked.told(self.grader)
        told = [quote.text for quote in ours.quotes] if ours else [one.cite for one in result.references if one.cite]
        near = judgment.start if self.grader.around is not None else 0
        quotes = tuple(locate(quote, shown, near=near) for quote in told if not MARK.fullmatch(quote))
        return replace(judgment, label=answer.label, value=answer.value, details=ours.details if ours else {}, quotes=quotes)

    def _answer(self, result: Result, row: Row, faults: dict[str, None]) -> Answer | None:
        """What of the grader's answers a result is; None where the reply could not be read, which Scout takes for a no."""
        told = result.answer if result.answer is not None else result.value
        if told is None or (told is False and result.explanation and result.explanation.strip() == row.reply.strip()):
            return None
        found = self.grader.answer(_label(told))
        if found is None and isinstance(result.value, bool | int | float | str):
            found = self.grader.answer(_label(result.value)) or next(
                (one for one in self.grader.answers if one.value == result.value), None
            )
        if found is None:
            answers = ", ".join(answer.label for answer in self.grader.answers)
            faults[f"{str(told)[:60]!r} is no answer of {self.grader.name} ({answers})"] = None
        return found


def _one_scan(folder: Path) -> Path:
    if (folder / SPEC).is_file():
        return folder
    found = sorted(path.parent for path in folder.glob(f"*/{SPEC}"))
    if len(found) == 1:
        return found[0]
    names = f"{len(found)} scans are in it, such as {found[-1].name}" if found else f"there is no {SPEC} in it"
    raise InputError(f"{folder}: this is no scan of Scout's; {names}. Name the folder of one scan, scan_id=…")


def _with_traces(corpus: Corpus, rows: list[Row], ids: dict[str, str]) -> Iterator[tuple[Trace, Row]]:
    for at in range(0, len(rows), READ_AT_ONCE):
        some = rows[at : at + READ_AT_ONCE]
        traces = {trace.transcript_id: trace for trace in corpus.traces(*{ids[row.transcript_id] for row in some})}
        yield from ((traces[ids[row.transcript_id]], row) for row in some)


def _paid_for(judgments: list[Judgment], usage: dict[str, Usage]) -> list[Judgment]:
    """Judgments of one transcript, the first of which bears what all of them cost: that is told only of all together."""
    first, *others = judgments
    costs = [one.total_cost for one in usage.values() if one.total_cost is not None]
    paid = replace(
        first,
        input_tokens=sum(one.input_tokens for one in usage.values()),
        output_tokens=sum(one.output_tokens for one in usage.values()),
        cost=sum(costs) if costs else None,
    )
    return [paid, *others]


def _row(told: dict[str, str | None]) -> Row:
    if told["value_type"] == "resultset":
        results = msgspec.json.decode(told["value"] or "[]", type=list[Result]) or [Result()]
    else:
        results = [
            Result(
                value=_value(told["value"], told["value_type"]),
                label=told["label"],
                answer=told["answer"],
                explanation=told["explanation"],
                metadata=msgspec.json.decode(told["metadata"] or "{}"),
                references=msgspec.json.decode(told["message_references"] or "[]", type=list[Reference]),
            )
        ]
    events = msgspec.json.decode(told["scan_events"] or "[]", type=list[Event])
    replies = [choice for event in events if event.event == "model" and event.output for choice in event.output.choices[:1]]
    content = replies[-1].message.content if replies else ""
    return Row(
        transcript_id=told["transcript_id"] or "",
        results=results,
        ours=[_ours(result) for result in results],
        error=told["scan_error"],
        refused=told["scan_error_type"] == "refusal",
        usage=msgspec.json.decode(told["scan_model_usage"] or "{}", type=dict[str, Usage]),
        reply=content if isinstance(content, str) else "\n".join(block.text for block in content),
        stop=replies[-1].stop_reason if replies else "stop",
        at=datetime.fromisoformat(told["timestamp"] or "").astimezone(UTC).isoformat(timespec="seconds"),
    )


def _ours(result: Result) -> Ours | None:
    try:
        return msgspec.convert(result.metadata, Ours)
    except msgspec.ValidationError:
        return None  # another scanner keeps there what it likes


def _judge(row: Row) -> str:
    """The model that answered; empty where none did."""
    return next((ours.judge for ours in row.ours if ours), "+".join(sorted(row.usage)))


def _value(told: str | None, kind: str | None) -> Any:
    if told is None or kind == "string":
        return told
    return msgspec.json.decode(told.lower() if kind == "boolean" else told)


def _label(told: object) -> str:
    if isinstance(told, bool):
        return "yes" if told else "no"
    return f"{told:g}" if isinstance(told, int | float) else str(told)
