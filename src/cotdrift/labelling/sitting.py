"""A sitting: one annotator before one question; which case is next, how far they are, and what becomes of an answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain, repeat
from statistics import median
from typing import Annotated, Any

import polars as pl
from msgspec import Meta, Struct

from cotdrift.corpus import Corpus
from cotdrift.errors import InputError
from cotdrift.grader import Answer, Detail, Grader
from cotdrift.labelling.draw import Case, Design, draw
from cotdrift.labelling.labels import Entry, Labels, Seen
from cotdrift.seen import shown
from cotdrift.trace import Trace

DIGITS = "123456789"
LETTERS = "abcdefghijklprtvwz"
"""Keys for what has no digit left; the others have meanings of their own."""
NONE = "none"
LONGEST_NOTE = 20_000

Seconds = Annotated[float, Meta(ge=0, le=7 * 24 * 3600)]


class Option(Struct, frozen=True, kw_only=True):
    """One thing that can be chosen, and the key that chooses it."""

    key: str
    """Empty for what comes after the last key there is."""
    label: str
    meaning: str
    ends: bool = True
    """Whether nothing else is asked after it."""


class Group(Struct, frozen=True, kw_only=True):
    """What is chosen among: the answers, or the levels of a detail."""

    name: str
    """The detail's; empty for the answers."""
    asked: str
    options: tuple[Option, ...]


class Question(Struct, frozen=True, kw_only=True):
    """All that stays the same from case to case."""

    name: str
    question: str
    told: str
    """What a judge is told, with the places where the trace goes."""
    groups: tuple[Group, ...]
    annotator: str


class Part(Struct, frozen=True, kw_only=True):
    """A stretch of the trace, as it stands there."""

    name: str
    text: str


class Shown(Struct, frozen=True, kw_only=True):
    """A case as the annotator sees it: nothing says which checkpoint it is of, nor what others said of it."""

    place: int
    parts: tuple[Part, ...]
    quote: str
    """What judges quoted of these parts; empty where they are not to be seen."""
    is_again: bool
    """Whether it was skipped before."""


class Progress(Struct, frozen=True, kw_only=True):
    """How far an annotator is."""

    annotator: str
    question: str
    cases: int
    labelled: int
    skipped: int
    """Cases that were skipped, and come again after the others."""
    seconds: float
    """Spent on what is labelled."""
    seconds_each: float | None
    """The median; None before the first."""
    gone: int = 0
    """Cases that were drawn and whose traces are no longer in the study."""


class Given(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An answer as it comes from the page."""

    place: int
    label: str
    details: dict[str, str] = {}
    quote: str = ""
    note: Annotated[str, Meta(max_length=LONGEST_NOTE)] = ""
    seconds: Seconds = 0.0


class Skipped(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A case that the annotator would rather see later."""

    place: int
    seconds: Seconds = 0.0


class Now(Struct, frozen=True, kw_only=True):
    """What is on the screen."""

    case: Shown | None
    """None when everything is labelled."""
    progress: Progress
    before: Given | None = None
    """What was just taken back, so that it need not be written again; None otherwise."""


class Sitting:
    """One annotator before one question. All it knows is in the store: killed, it goes on where it was."""

    def __init__(self, labels: Labels, grader: Grader, annotator: str, cases: Sequence[Case], traces: Mapping[str, Trace]) -> None:
        self.labels = labels
        self.grader = grader
        self.annotator = annotator
        self.cases = [case for case in cases if case.transcript_id in traces]
        self.gone = len(cases) - len(self.cases)
        self._traces = traces
        self._who = (annotator, grader.name, grader.sha)

    @property
    def question(self) -> Question:
        """What stays the same from case to case."""
        grader = self.grader
        return Question(
            name=grader.name,
            question=grader.question,
            told=grader.prompt,
            groups=(answers_of(grader), *(_levels(detail) for detail in grader.details)),
            annotator=self.annotator,
        )

    @property
    def progress(self) -> Progress:
        """How far the annotator is."""
        return self._progress(self._standing())

    def now(self, before: Given | None = None) -> Now:
        """The case that is next: one not labelled yet, the least often skipped of them first."""
        standing = self._standing()
        labelled = {entry.seen for entry in standing if entry.kind == "label"}
        skips = Counter(entry.seen for entry in standing if entry.kind == "skip")
        left = [place for place, case in enumerate(self.cases) if _seen(case) not in labelled]
        place = min(left, key=lambda place: (skips[_seen(self.cases[place])], place), default=None)
        if before is not None:
            place = before.place
        return Now(case=None if place is None else self._shown(place, skips), progress=self._progress(standing), before=before)

    def label(self, given: Given) -> Now:
        """Keep an answer; one to a case that has one already changes nothing."""
        case = self._case(given.place)
        answer = self.grader.answer(given.label)
        if answer is None:
            known = ", ".join(answer.label for answer in self.grader.answers)
            raise InputError(f"{given.label!r} is no answer of {self.grader.name}. Its answers: {known}.")
        if not any(given.quote in part.text for part in self._parts(case)):
            raise InputError("The quote is not in what is shown. Mark it there anew.")
        told = {"label": answer.label, "value": answer.value, "details": self._details(answer, given.details)}
        return self._keep(case, seconds=given.seconds, quote=given.quote, note=given.note.strip(), **told)

    def skip(self, given: Skipped) -> Now:
        """Leave a case for later."""
        return self._keep(self._case(given.place), kind="skip", seconds=given.seconds)

    def undo(self) -> Now:
        """Take back the last answer or skip; its case is on the screen again."""
        places = {_seen(case): place for place, case in enumerate(self.cases)}
        last = self.labels.undo(*self._who, among=places)
        if last is None:
            raise InputError("There is nothing to take back.")
        place, seconds = places[last.seen], last.seconds or 0.0
        given = Given(place=place, label=last.label or "", details=last.details, quote=last.quote, note=last.note, seconds=seconds)
        return self.now(given)

    def _keep(self, case: Case, **told: Any) -> Now:
        if all(entry.seen != _seen(case) for entry in self._standing() if entry.kind == "label"):
            annotator, question, sha = self._who
            entry = Entry(
                annotator=annotator,
                question=question,
                sha=sha,
                transcript_id=case.transcript_id,
                start=case.start,
                end=case.end,
                repeat=case.repeat,
                probability=case.probability,
                **told,
            )
            self.labels.add(entry)
        return self.now()

    def _details(self, answer: Answer, given: Mapping[str, str]) -> dict[str, str]:
        if _ends(self.grader, answer):
            return {detail.name: NONE for detail in self.grader.details}
        for detail in self.grader.details:
            if given.get(detail.name) not in {NONE, *detail.levels}:
                raise InputError(f"{detail.name}: {given.get(detail.name)!r} is none of {', '.join([*detail.levels, NONE])}. Choose one.")
        return {detail.name: given[detail.name] for detail in self.grader.details}

    def _standing(self) -> list[Entry]:
        cases: set[Seen] = {_seen(case) for case in self.cases}
        return [entry for entry in self.labels.standing(*self._who) if entry.seen in cases]

    def _progress(self, standing: Sequence[Entry]) -> Progress:
        last = {entry.seen: entry for entry in standing if entry.kind == "label"}
        spent = [entry.seconds for entry in last.values() if entry.seconds is not None]
        return Progress(
            annotator=self.annotator,
            question=self.grader.name,
            cases=len(self.cases),
            labelled=len(last),
            skipped=len({entry.seen for entry in standing} - last.keys()),
            seconds=sum(spent),
            seconds_each=median(spent) if spent else None,
            gone=self.gone,
        )

    def _case(self, place: int) -> Case:
        if not 0 <= place < len(self.cases):
            raise InputError(f"There is no case {place}. Load the page anew.")
        return self.cases[place]

    def _shown(self, place: int, skips: Counter[Seen]) -> Shown:
        case = self.cases[place]
        parts = self._parts(case)
        quote = case.quote if any(case.quote in part.text for part in parts) else ""
        return Shown(place=place, parts=parts, quote=quote, is_again=bool(skips[_seen(case)]))

    def _parts(self, case: Case) -> tuple[Part, ...]:
        trace = self._traces[case.transcript_id]
        return tuple(Part(name=name, text=text) for name, (text, _) in shown(self.grader, trace, case.start, case.end).items())


def sit(corpus: Corpus, labels: Labels, grader: Grader, design: Design, *, judgments: pl.DataFrame | None = None) -> Sitting:
    """A sitting that goes on with the annotator's draw of this design, or begins with a new one."""
    cases = labels.drawn(grader.name, grader.sha, design)
    if cases is None:
        cases = draw(corpus, grader, design, judgments=judgments)
    if cases != labels.drawn(grader.name, grader.sha, annotator=design.annotator):
        labels.keep_draw(grader.name, grader.sha, design, cases)
    traces = {trace.transcript_id: trace for trace in corpus.traces(*{case.transcript_id for case in cases})}
    return Sitting(labels, grader, design.annotator, cases, traces)


def answers_of(grader: Grader) -> Group:
    """The answers with their keys: y and n, the label where it is one digit, or else 1, 2, 3 …"""
    labels = [answer.label for answer in grader.answers]
    keys = list(DIGITS + LETTERS)
    if all(len(label) == 1 and label in "0123456789" for label in labels):
        keys = labels
    elif {label.casefold() for label in labels} == {"yes", "no"}:
        keys = [label[0].casefold() for label in labels]
    options = [
        Option(key=key, label=answer.label, meaning=answer.meaning, ends=_ends(grader, answer))
        for key, answer in zip(chain(keys, repeat("")), grader.answers, strict=False)
    ]
    return Group(name="", asked="Answer", options=tuple(options))


def _levels(detail: Detail) -> Group:
    levels = {level: meaning for level, meaning in detail.levels.items() if level != NONE}
    keys = chain(DIGITS + LETTERS, repeat(""))
    named = [Option(key=key, label=level, meaning=meaning) for key, (level, meaning) in zip(keys, levels.items(), strict=False)]
    none = Option(key="0", label=NONE, meaning=detail.levels.get(NONE, "None of these."))
    return Group(name=detail.name, asked=detail.asked, options=(*named, none))


def _ends(grader: Grader, answer: Answer) -> bool:
    """Whether an answer leaves nothing to ask: there are no details, or it says that there is nothing of which they could be."""
    return not grader.details or (grader.is_yes_or_no and answer.value == 0)


def _seen(case: Case) -> Seen:
    return case.transcript_id, case.start, case.end, case.repeat
