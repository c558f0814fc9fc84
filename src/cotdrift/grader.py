"""A grader: a question that a model, or a person, answers about a trace; and the answer, with the quote that shows it.

A grader is one Markdown file: a head in YAML that says what may be answered and what is seen, and under it the prompt. A person who labels
by hand answers the same question, from the same file.
"""

from __future__ import annotations

import hashlib
import math
import re
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from cotdrift.errors import InputError

Part = Literal["scenario", "reasoning", "answer"]
"""What can be shown: the prompt and what came before; the reasoning; what was said and done outside it."""
Reason = Literal["refusal", "unparsable", "truncated", "empty", "redacted", "over budget", "failed"]
"""Why a judgment could not be had."""

Count = Annotated[int, Meta(le=10**9)]

NAME = re.compile(r"[a-z][a-z0-9_]*")
PLACE = re.compile(r"\{(scenario|reasoning|answer)\}")


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
    how: Literal["mean", "worst decile", "at most", "start to end", "snap back"]
    """`at most` is the share of windows with at most `bound`; `worst decile` their lowest tenth's highest value (the highest where a high
    value is bad); `start to end` the last third's mean minus the first's; `snap back` the last window minus the mean of those before it."""
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
    """Words of reasoning judged at a time; None judges all of it at once."""
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
        told = f"{self.asked(scenario='', reasoning='', answer='')}\n{self.prompt}\n{self.window}"
        return hashlib.sha256(told.encode()).hexdigest()[:16]

    def asked(self, *, scenario: str, reasoning: str, answer: str) -> str:
        """What a judge reads of one trace. Each part stands between marks that the text between them cannot know, and so cannot close."""
        parts = {"scenario": scenario, "reasoning": reasoning, "answer": answer}
        shown = PLACE.sub(lambda place: _marked(place[1], parts[place[1]]), self.prompt)
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


def _marked(part: str, text: str) -> str:
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
    worse: Literal["high", "low"] = "high"
    reads: list[Read] = []
    source: str = ""


def read_grader(path: Path, *, name: str | None = None) -> Grader:
    """The grader in a Markdown or YAML file. A YAML file has its prompt under `prompt`.

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
        prompt = prompt or str(told.pop("prompt", ""))
        made = msgspec.convert(told, Head)
        answers = _answers(made.answers)
    except msgspec.MsgspecError as fault:
        raise InputError(f"{path}: {fault}. A grader's head has: {', '.join(Head.__struct_fields__)}.") from None
    return _checked(path, name or path.stem, made, answers, prompt.strip())


def _checked(path: Path, name: str, head: Head, answers: tuple[Answer, ...], prompt: str) -> Grader:
    def wrong(fault: str, way_out: str) -> InputError:
        return InputError(f"{path}: {fault}. {way_out}")

    if not NAME.fullmatch(name):
        raise wrong(f"{name!r} is no name of a grader", "Use small letters, digits and underscores.")
    if not PLACE.search(prompt):
        raise wrong("the prompt shows nothing of a trace", "Write {scenario}, {reasoning} or {answer} where it goes.")
    if len({answer.label.casefold() for answer in answers}) < max(2, len(answers)):
        raise wrong("there are fewer than two answers, or two of one label", "Name at least two different ones under `answers`.")
    if head.window is not None and (head.window < 20 or "{reasoning}" not in prompt):
        raise wrong("`window` splits the reasoning into parts of at least 20 words", "Show {reasoning}, or leave `window` out.")
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
    return Grader(
        name=name,
        question=head.question,
        prompt=prompt,
        answers=answers,
        details=tuple(head.details),
        version=head.version,
        window=head.window,
        worse=head.worse,
        reads=tuple(head.reads),
        source=head.source,
    )


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
