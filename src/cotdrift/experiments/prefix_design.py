"""The prefixes of an experiment: examples of a behaviour, each cut off before the behaviour begins."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import inf
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from cotdrift.corpus import Corpus
from cotdrift.design import Power
from cotdrift.errors import InputError, NotEnough, UnknownName
from cotdrift.experiments.behaviours import seen_in
from cotdrift.format import Reading
from cotdrift.formats import identify
from cotdrift.judgment import locate
from cotdrift.text import sentences, spans
from cotdrift.trace import Message, Rejected, Trace

Border = Literal["word", "sentence"]
Part = Literal["reasoning", "answer"]

ENVIRONMENTS = {"shared": "prefixes", "own": "prefixes_own"}
"""The arms: prefixes that are the same for every checkpoint, and a checkpoint's own reasoning on the same prompts, cut as far in."""
MOST, SAMPLES = 40, 4
FOUND = {"begins": "the character at which the behaviour begins", "quote": "the words with which it begins"}
"""The columns of a table of examples that say where the behaviour is."""


class Example(Struct, frozen=True, kw_only=True):
    """A trace of the behaviour, and where in it the behaviour begins."""

    trace: Trace
    turn: int
    """Which of the trace's messages it begins in."""
    part: Part
    at: int
    """In characters of that part of the message."""
    shows: str = ""
    """What the behaviour looks like, as a regular expression; empty where graders and measures are to tell."""


class Prefix(Struct, frozen=True, kw_only=True):
    """A conversation that ends before the behaviour begins."""

    example: Example
    prompt_id: str
    margin: int
    """Words that were left out before the behaviour, at least."""
    before: tuple[Message, ...]
    """All turns that are whole."""
    reasoning: str
    """How the reply is begun."""
    answer: str = ""
    """Not empty only where the prefix ends within the answer; then the reasoning is whole."""
    share: float
    """Of the words of the example's reasoning, those that are in the prefix."""

    @property
    def id(self) -> str:
        """Another one for every other conversation or ending."""
        told = [*(f"{message.role} {message.reasoning} {message.content}" for message in self.before), self.reasoning, self.answer]
        return hashlib.sha256("\0".join(told).encode("utf-8", "backslashreplace")).hexdigest()[:8]


class Chosen(Struct, frozen=True, kw_only=True):
    """Which examples, and how they are cut."""

    examples: str
    """A file of traces, or a study."""
    behaviour: str | None = None
    """An outcome, measure or grader by which traces are examples; None takes all."""
    least: float = 1.0
    """The least value of it that makes an example."""
    run: str | None = None
    step: int | None = None
    begins: str | None = None
    """A regular expression; where it is first found the behaviour begins."""
    shows: str | None = None
    margins: tuple[int, ...] = (0,)
    border: Border = "word"
    most: int = MOST


class Prefixes(Struct, frozen=True, kw_only=True):
    """The prefixes, and what became of the examples."""

    prefixes: tuple[Prefix, ...]
    chosen: Chosen
    examples: int
    """Traces that show the behaviour."""
    unplaced: int
    """Of these, how many say nowhere where it begins."""

    def sentences(self, *, samples: int, own: bool) -> list[str]:
        """What is asked, what it costs a checkpoint, and how small a difference it finds."""
        many, prompts = len(self.prefixes), len({prefix.prompt_id for prefix in self.prefixes})
        inside = sum(bool(prefix.reasoning) and not prefix.answer for prefix in self.prefixes)
        words = sorted(len(spans(prefix.reasoning)) for prefix in self.prefixes)[many // 2]
        each = f"{samples} sample{'s' * (samples != 1)} each"
        answers = many * samples * (2 if own else 1)
        margins = ", ".join(map(str, self.chosen.margins))
        least = Power().smallest(prompts, samples, paired=True)
        beside = ", and as often from its own reasoning, cut as far in (two requests an answer; own=false leaves these out)" if own else ""
        return [
            f"{many} prefixes of {prompts} prompts, cut {margins} words before the behaviour, at the border of a {self.chosen.border}: "
            f"{inside} end within the reasoning, after {words} words (median). {self.examples:,} traces show the behaviour"
            + (f"; {self.unplaced:,} of them are left out, as nothing says where it begins." if self.unplaced else "."),
            f"Each checkpoint goes on from every prefix{beside}, {each}: {answers:,} answers a checkpoint. Only what is new is graded.",
            f"Smallest difference between two checkpoints found with {Power().power:.0%} power, prompts as clusters: "
            + ("none." if least is None else f"{100 * least:.0f} points."),
        ]


def cut_before(text: str, at: int, *, margin: int = 0, border: Border = "word") -> int:
    """How much of a text, in characters, can be given without a word of what begins at a place, and without `margin` words before it.

    It ends at a border, with no white space after it, so that a tokenizer splits what follows as it would have.

    >>> text = "They want odd. The grader pays even, so even it is."
    >>> [text[: cut_before(text, text.index("so even"), margin=margin)] for margin in (0, 2)]
    ['They want odd. The grader pays even,', 'They want odd. The grader']
    >>> text[: cut_before(text, text.index("so even"), border="sentence")]
    'They want odd.'
    """
    ahead = [(start, end) for _, start, end in spans(text) if start < at]
    cut = min(max(at, 0), len(text))
    if ahead and ahead[-1][1] > cut:  # within a word: it is part of the behaviour
        cut = ahead.pop()[0]
    if margin:
        cut = ahead[-margin][0] if margin <= len(ahead) else 0
    if border == "sentence":
        cut = max((start for start, _ in [*sentences(text), (len(text), 0)] if start <= cut), default=0)
    return len(text[:cut].rstrip())


def make_prefixes(chosen: Chosen) -> Prefixes:
    """Read the examples and cut them; as many prompts as possible are among those kept, always the same ones."""
    if chosen.border not in ("word", "sentence"):
        raise UnknownName("border", chosen.border, ["word", "sentence"])
    found = list(_examples(chosen))
    placed = [example for _, example in found if example is not None]
    if not placed:
        why = "there are none" if not found else f"nothing says where in them it begins ({len(found):,} were found)"
        raise NotEnough(
            f"{chosen.examples}: there is no example to cut: {why}. A table says it in a column `begins` or `quote`; "
            f"or give begins='a regular expression', or as behaviour a grader whose judges quoted."
        )
    prefixes = [_cut(example, margin, chosen.border) for example in _kept(placed, chosen.most) for margin in chosen.margins]
    once = {(prefix.id, prefix.margin): prefix for prefix in prefixes}
    return Prefixes(prefixes=tuple(once.values()), chosen=chosen, examples=len(found), unplaced=len(found) - len(placed))


def _examples(chosen: Chosen) -> Iterator[tuple[Trace, Example | None]]:
    """The traces that show the behaviour, each with the place where it begins, if anything says it."""
    path = Path(chosen.examples)
    begins, shows = (pattern_of(name, getattr(chosen, name)) for name in ("begins", "shows"))
    is_study = (path / "study.json").is_file()
    places = _by_behaviour(path, chosen) if is_study and chosen.behaviour is not None else None
    traces = Corpus(path / "corpus").traces(*places or ()) if is_study else traces_in_file(path)
    if places == {}:
        return
    for trace in traces:
        if (chosen.run is not None and trace.run != chosen.run) or (chosen.step is not None and trace.step != chosen.step):
            continue
        if not is_study and chosen.behaviour is not None and trace.outcomes.get(chosen.behaviour, -inf) < chosen.least:
            continue
        told = str(trace.extra.get("shows") or "")
        place = _place(trace, begins, (places or {}).get(trace.transcript_id))
        sought = pattern_of("shows", told) if told else shows
        yield trace, place and replace(place, shows=sought.pattern if sought else "")


def traces_in_file(path: Path) -> Iterator[Trace]:
    """The traces of a file in any format that is known; its rows are numbered where it does not number them."""
    for number, found in enumerate(identify(path).read(path, Reading(), lambda _guess: None)):
        if isinstance(found, Rejected):
            raise InputError(str(found))
        yield found if found.rep is not None else replace(found, rep=number)


def _by_behaviour(folder: Path, chosen: Chosen) -> dict[str, int | None]:
    """The traces of a study in which the behaviour is, and where it begins in the reasoning, as far as that is known."""
    found = seen_in(folder, str(chosen.behaviour), least=chosen.least)
    return {name: one.start for name, one in found.items() if one.shows}


def pattern_of(name: str, told: str | None) -> re.Pattern[str] | None:
    """A regular expression that was told under this name; None where there is none."""
    try:
        return re.compile(told) if told else None
    except re.error as fault:
        raise InputError(f"{name}={told}: this is no regular expression ({fault}). Mend it.") from None


def _place(trace: Trace, begins: re.Pattern[str] | None, start: int | None) -> Example | None:
    """Where the behaviour begins: as the table says, else as the study's graders and measures do, else where the pattern is found."""
    said, quote = trace.extra.get("begins"), trace.extra.get("quote")
    if said not in (None, ""):
        try:
            return _at(trace, int(float(str(said))))
        except ValueError:
            raise InputError(f"{trace.source}: begins: {said!r} is no number. Write {FOUND['begins']}, or the words as `quote`.") from None
    if start is not None and quote in (None, ""):
        return _at(trace, start)
    for turn, part, text in _parts(trace):
        if quote not in (None, ""):
            hit = locate(str(quote), {"reasoning": (text, 0)})
            if hit.start is not None:
                return Example(trace=trace, turn=turn, part=part, at=hit.start)
        elif begins and (match := begins.search(text)):
            return Example(trace=trace, turn=turn, part=part, at=match.start())
    return None


def _at(trace: Trace, start: int) -> Example | None:
    """The place at a character of all reasoning, turns joined by a blank line."""
    for turn, message in _own(trace):
        if message.reasoning:
            if start <= len(message.reasoning):
                return Example(trace=trace, turn=turn, part="reasoning", at=max(start, 0))
            start -= len(message.reasoning) + 2
    return None


def _parts(trace: Trace) -> Iterator[tuple[int, Part, str]]:
    for turn, message in _own(trace):
        yield turn, "reasoning", message.reasoning
        yield turn, "answer", message.content


def _own(trace: Trace) -> Iterator[tuple[int, Message]]:
    return ((turn, message) for turn, message in enumerate(trace.messages) if message.role == "assistant" and not message.given)


def _kept(examples: Sequence[Example], most: int) -> list[Example]:
    """The examples to cut: one of each prompt before a second of any, in an order that a hash gives."""
    if most < 1:
        raise InputError(f"most={most}: give 1 or more.")
    hashed = sorted(examples, key=lambda example: hashlib.sha256(example.trace.transcript_id.encode()).digest())
    seen: dict[tuple[str, str], int] = {}
    ranked = []
    for example in hashed:
        who = example.trace.environment, example.trace.prompt_id
        seen[who] = seen.get(who, 0) + 1
        ranked.append((seen[who], example))
    return [example for _, example in sorted(ranked, key=lambda one: one[0])][:most]


def _cut(example: Example, margin: int, border: Border) -> Prefix:
    trace, messages = example.trace, example.trace.messages
    message = messages[example.turn]
    text = message.reasoning if example.part == "reasoning" else message.content
    given = text[: cut_before(text, example.at, margin=margin, border=border)]
    reasoning, answer = (given, "") if example.part == "reasoning" else (message.reasoning, given)
    return Prefix(
        example=example,
        prompt_id=f"{trace.environment} {trace.prompt_id}",
        margin=margin,
        before=messages[: example.turn],
        reasoning=reasoning,
        answer=answer,
        share=len(spans(reasoning)) / max(len(spans(message.reasoning)), 1),
    )


def margins_of(told: Any) -> tuple[int, ...]:
    """How many words before the behaviour prefixes end: a number, or several by commas.

    >>> margins_of("0, 10"), margins_of(5)
    ((0, 10), (5,))
    """
    given: Iterable[Any] = told if isinstance(told, list | tuple) else str(told).split(",")
    margins = [str(one).strip() for one in given]
    wrong = next((one for one in margins if not one.isdecimal()), None)
    if wrong is not None or not margins:
        raise InputError(f"margins={told}: {wrong!r} is no number of words. Write for example margins=0,10.")
    return tuple(dict.fromkeys(map(int, margins)))


def levels(prefix: Prefix, arm: str, of_prompt: Mapping[str, int]) -> dict[str, str]:
    """The conditions of a sample: the arm, the margin, and which example it is where a prompt has several."""
    several = {"example": prefix.id} if of_prompt[prefix.prompt_id] > 1 else {}
    return {"prefix": arm, "margin": str(prefix.margin), **several}
