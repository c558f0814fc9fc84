"""A grader: a question that a model, or a person, answers about a trace; and the answer, with the quote that shows it.

A grader is one Markdown file: a head in YAML that says what may be answered and what is seen, and under it the prompt. A person who labels
by hand answers the same question, from the same file.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from cotdrift.errors import InputError
from cotdrift.term import Term

Part = Literal["scenario", "reasoning", "answer", "record"]
"""What can be shown: the prompt and what came before; the reasoning; what was said and done outside it; all of the last two, in order."""
Reason = Literal["refusal", "unparsable", "truncated", "empty", "redacted", "over budget", "failed", "unused"]
"""Why a judgment could not be had.

`redacted`: there is no raw reasoning to read, or a provider's summary of it alone. `unused`: the trace has none of the words, or
of the points, that are asked about, so that there is nothing to judge.
"""
UNASKED: frozenset[Reason | None] = frozenset({"redacted", "unused"})
"""Reasons for which nobody was asked: they say nothing of a judge."""

Count = Annotated[int, Meta(le=10**9)]

NAME = re.compile(r"[a-z][a-z0-9_]*")
PLACE = re.compile(r"\{(scenario|reasoning|answer|record|summaries)\}")


class Answer(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One thing that may be answered."""

    label: str
    """As the judge writes it: `yes`, `3`, `alignment test`."""
    value: float | None = None
    """The number it counts as; None for a category that is none."""
    meaning: str = ""
    """What it says of a trace, in the words shown to judges and people."""


class Detail(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something asked besides: of which kind, and whether it was used for anything."""

    name: str
    asked: str
    levels: dict[str, str]
    """Label → meaning. `none` is always understood."""


class Read(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A number that is read off all judgments of one trace, one for each of its windows."""

    name: str
    """What follows the grader's name and a dot; empty for the grader's name alone."""
    how: Literal["mean", "sum", "worst decile", "at most", "start to end", "snap back", "whole"]
    """`at most` is the share of windows with at most `bound`; `worst decile` their lowest tenth's highest value (the highest where a high
    value is bad); `start to end` the last third's mean minus the first's; `snap back` the last window minus the mean of those before it;
    `whole` the rating of the summary of all of them."""
    bound: float | None = None
    unit: str


class Grader(Struct, frozen=True, kw_only=True):
    """A question about a trace, with all that a judge is told."""

    name: str
    question: str
    """In one sentence, as a person who labels reads it."""
    prompt: str
    """What a judge is told, with {scenario}, {reasoning} and {answer} where those go."""
    answers: tuple[Answer, ...]
    details: tuple[Detail, ...] = ()
    version: int = 1
    window: int | None = None
    """Words of reasoning, or of the record, judged at a time; None judges all of it at once."""
    around: int | None = None
    """Words shown on each side of a use of one of the terms, where each use is judged by itself; None where uses are not looked for."""
    points: bool = False
    """Whether each point of the answer is judged by itself, as those of a rubric are."""
    terms: tuple[str, ...] = ()
    """The terms whose uses are judged, in their exact forms. They are no part of the fingerprint: a use is judged alone."""
    groups: int | None = None
    """How many summaries are put together in one, level by level up to one of the whole trace; None where nothing is summed up."""
    together: str = ""
    """What a judge of {summaries} is told; its reason is the summary."""
    worse: Literal["high", "low"] = "high"
    """Which end of the values is the one to worry about."""
    reads: tuple[Read, ...] = ()
    """Numbers made of a trace's windows; empty where a trace has one judgment, which is its own."""
    source: str = ""
    """The paper or post whose method this is."""

    @property
    def sees(self) -> frozenset[str]:
        """The parts of a trace that are shown."""
        return frozenset(PLACE.findall(self.prompt))

    @property
    def sha(self) -> str:
        """A fingerprint of all that a judge is told: another one is another instrument."""
        told = f"{self.asked()}\n{self.prompt}\n{self.window}"
        told += f"\n{self.around}" if self.around else ""
        told += "\neach point" if self.points else ""
        told += f"\n{self.groups}\n{self.together}" if self.groups else ""
        return hashlib.sha256(told.encode()).hexdigest()[:16]

    @property
    def is_of_whole(self) -> bool:
        """Whether a trace is asked about once; else each of its windows, of its uses of the terms, or of its points is."""
        return self.window is None and not self.marks

    @property
    def marks(self) -> bool:
        """Whether what is asked about is marked in what stands around it, and may be found nowhere in a trace: a use, or a point."""
        return self.around is not None or self.points

    @property
    def reads_reasoning(self) -> bool:
        """Whether reasoning is shown, alone or in the record: then only what is raw can be judged."""
        return bool(self.sees & {"reasoning", "record"})

    def asked(self, **parts: str) -> str:
        """What a judge reads of one trace. Each part stands between marks that the text between them cannot know, and so cannot close."""
        return self._told(self.prompt, parts)

    def asked_together(self, **parts: str) -> str:
        """What a judge reads of the scenario and the summaries of one trace."""
        return self._told(self.together, parts)

    def _told(self, prompt: str, parts: dict[str, str]) -> str:
        shown = PLACE.sub(lambda place: marked(place[1], parts.get(place[1], "")), prompt)
        return f"{shown}\n\n{self._reply_wanted}"

    @property
    def _reply_wanted(self) -> str:
        fields = {
            "quotes": '["words copied exactly from the text above, which show it"]',
            "reason": '"one sentence, unless told otherwise above"',
        }
        fields |= {detail.name: " or ".join(f'"{level}"' for level in [*detail.levels, "none"]) for detail in self.details}
        fields["answer"] = " or ".join(f'"{answer.label}"' for answer in self.answers)
        lines = [
            "Reply with one JSON object and nothing else:",
            "{" + ", ".join(f'"{name}": {what}' for name, what in fields.items()) + "}",
        ]
        lines += [f'"answer" is "{answer.label}": {answer.meaning}' for answer in self.answers if answer.meaning]
        for detail in self.details:
            lines.append(f'"{detail.name}": {detail.asked}')
            lines += [f'  "{level}": {meaning}' for level, meaning in detail.levels.items()]
        return "\n".join(lines)

    @property
    def is_number(self) -> bool:
        """Whether every answer counts as a number."""
        return all(answer.value is not None for answer in self.answers)

    @property
    def is_yes_or_no(self) -> bool:
        """Whether it is a question of yes or no."""
        return {answer.value for answer in self.answers} == {0.0, 1.0}

    def answer(self, label: str) -> Answer | None:
        """The answer of this label, in whatever case it is written."""
        wanted = " ".join(label.split()).casefold()
        return next((answer for answer in self.answers if answer.label.casefold() == wanted), None)


def marked(part: str, text: str) -> str:
    """A text between marks that it cannot know, and so cannot close."""
    mark = f"{part}-{hashlib.sha256(text.encode('utf-8', 'backslashreplace')).hexdigest()[:8]}"
    return f"<{mark}>\n{text}\n</{mark}>"


class Head(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The head of a grader's file."""

    question: str
    answers: Any
    """A list of answers, or label → meaning; YAML reads yes and no as true and false, so it is taken as it comes."""
    details: list[Detail] = []
    version: Count = 1
    window: Count | None = None
    around: Count | None = None
    points: bool = False
    terms: list[str] = []
    groups: Count | None = None
    worse: Literal["high", "low"] = "high"
    reads: list[Read] = []
    source: str = ""


def read_grader(path: Path, *, name: str | None = None) -> Grader:
    """The grader in a Markdown or YAML file. A YAML file has its prompt under `prompt`, and one for summaries under `together`.

    `answers` may be written short, as `{yes: what it means, no: what it means}` (1 and 0), or `{0: gibberish, …, 4: clear}` (numbers).
    """
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        _, mark, rest = text.partition("---\n")
        head, end, prompt = rest.partition("\n---\n")
        if not (mark and end):
            raise InputError(f"{path}: a grader begins with a head between two lines of '---'. See docs/graders.md for one.")
    else:
        head, prompt = text, ""
    try:
        told = msgspec.yaml.decode(head.encode())
        if not isinstance(told, dict):
            raise msgspec.ValidationError("it holds no fields")
        prompt, together = prompt or str(told.pop("prompt", "")), str(told.pop("together", "")) if path.suffix != ".md" else ""
        made = msgspec.convert(told, Head)
        if made.groups is not None and path.suffix == ".md":
            prompt, _, together = prompt.partition("\n---\n")
        answers = _answers(made.answers)
    except msgspec.MsgspecError as fault:
        raise InputError(f"{path}: {fault}. A grader's head has: {', '.join(Head.__struct_fields__)}.") from None
    return _checked(path, name or path.stem, made, answers, prompt.strip(), together.strip())


def with_terms(grader: Grader, terms: Iterable[str]) -> Grader:
    """The same question about the uses of these terms."""
    named = tuple(dict.fromkeys(Term.parse(term).text for term in terms))
    others = [answer.label for answer in grader.answers] + [read.name for read in grader.reads]
    others += [level for detail in grader.details for level in detail.levels]
    if taken := {term.casefold() for term in named} & {other.casefold() for other in others}:
        raise InputError(f"The term {min(taken)!r} is the name of another number of {grader.name}. Ask for other terms.")
    return replace(grader, terms=named)


def _checked(path: Path, name: str, head: Head, answers: tuple[Answer, ...], prompt: str, together: str) -> Grader:
    def wrong(fault: str, way_out: str) -> InputError:
        return InputError(f"{path}: {fault}. {way_out}")

    if not NAME.fullmatch(name):
        raise wrong(f"{name!r} is no name of a grader", "Use small letters, digits and underscores.")
    shown, summed = set(PLACE.findall(prompt)), set(PLACE.findall(together))
    if not shown:
        raise wrong("the prompt shows nothing of a trace", "Write {scenario}, {reasoning}, {answer} or {record} where it goes.")
    if "summaries" in shown or {"record", "reasoning"} <= shown:
        raise wrong("the prompt shows {summaries}, or {record} beside {reasoning}", "Show one of the trace's own texts, and once.")
    if len({answer.label.casefold() for answer in answers}) < max(2, len(answers)):
        raise wrong("there are fewer than two answers, or two of one label", "Name at least two different ones under `answers`.")
    if head.window is not None and (head.window < 20 or not shown & {"reasoning", "record"}):
        raise wrong("`window` splits the reasoning into parts of at least 20 words", "Show {reasoning} or {record}, or leave `window` out.")
    if (head.around is None) == bool(head.terms) or (
        head.around is not None and (head.around < 1 or head.window is not None or "reasoning" not in shown)
    ):
        raise wrong(
            "`around` shows so many words on each side of every use of `terms` in the reasoning",
            "Give both, without `window`, and show {reasoning}.",
        )
    if head.points and (head.window is not None or head.around is not None or "answer" not in shown):
        raise wrong("`points` has each point of the answer judged by itself", "Show {answer}, and leave `window` and `around` out.")
    if head.groups is None and any(read.how == "whole" for read in head.reads):
        raise wrong("`whole` reads the summary of all windows, and nothing is summed up", "Give `groups`, or leave that read out.")
    if head.groups is not None and (head.groups < 3 or head.window is None or not {"summaries"} <= summed <= {"scenario", "summaries"}):
        raise wrong(
            "`groups` puts so many summaries of windows together, by a second prompt that shows them",
            "Give 3 or more, a `window`, and under the prompt, after a line of '---', another one with {summaries}.",
        )
    if head.reads and not all(answer.value is not None for answer in answers):
        raise wrong("`reads` makes numbers, and an answer counts as none", "Give every answer a value, or leave `reads` out.")
    endless = next((answer for answer in answers if answer.value is not None and not math.isfinite(answer.value)), None)
    if endless is not None:
        raise wrong(f"the answer {endless.label!r} counts as {endless.value}, which is no number", "Give it a finite value, or none.")
    for read in head.reads:
        if read.bound is not None and not math.isfinite(read.bound):
            raise wrong(f"the bound of the read {read.name!r} is {read.bound}, which is no number", "Give it a finite one.")
        if (read.how == "at most") != (read.bound is not None):
            raise wrong(f"the read {read.name!r} is {read.how!r}", "Only `at most` has a `bound`, and it needs one.")
    made = Grader(
        name=name,
        question=head.question,
        prompt=prompt,
        answers=answers,
        details=tuple(head.details),
        version=head.version,
        window=head.window,
        around=head.around,
        points=head.points,
        groups=head.groups,
        together=together,
        worse=head.worse,
        reads=tuple(head.reads),
        source=head.source,
    )
    try:
        return with_terms(made, head.terms)
    except InputError as fault:
        raise InputError(f"{path}: {fault}") from None


def _answers(told: Any) -> tuple[Answer, ...]:
    if isinstance(told, dict):
        return tuple(Answer(label=_label(key), value=_value(key), meaning=str(meaning or "")) for key, meaning in told.items())
    return tuple(msgspec.convert(told, list[Answer]))


def _label(key: object) -> str:
    return ("yes" if key else "no") if isinstance(key, bool) else str(key)


def _value(key: object) -> float | None:
    label = _label(key)
    if label in ("yes", "no"):
        return float(label == "yes")
    try:
        return float(label)
    except ValueError:
        return None
