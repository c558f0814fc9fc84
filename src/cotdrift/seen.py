"""What a judge or a person is shown of a trace."""

import hashlib
from bisect import bisect_left
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from cotdrift.grader import Grader, Part
from cotdrift.points import points
from cotdrift.term import Term, uses
from cotdrift.text import chunks, spans
from cotdrift.trace import Message, Trace

USES = 5
"""How many uses of each term are asked about in one trace. Which ones, a hash of the reasoning and the place says: always the same."""
POINTS = 20
"""How many points of an answer are asked about, chosen alike."""
MARKS = "⟦⟧"
"""What stands around the use or the point that is asked about."""
UNMARKED = str.maketrans(MARKS, "[]")
"""What a text that has marks of its own is shown with, so that only one place is marked, and every character keeps its own."""


class Place(NamedTuple):
    """One thing to ask about: a stretch of the reasoning or of the record, one use of a term, or one point of the answer."""

    start: int
    """In characters of the text that it is cut from."""
    end: int
    stands_for: float = 1.0
    """How many uses of its term, or points, this one stands for, where not all are asked about."""


def places(grader: Grader, trace: Trace) -> list[Place]:
    """All that is asked about in a trace, one at a time: its windows, its uses of terms or its points, which may be none, or the whole."""
    text = text_of(grader, trace)
    if not is_readable(grader, trace):
        return [Place(0, 0)]
    if grader.around is not None:
        return _uses(grader, trace)
    if grader.points:
        every = points(text)
        return [Place(*point, len(every) / min(len(every), POINTS)) for point in sorted(_some(every, drawn(text), POINTS))]
    if grader.window is None:
        return [Place(0, len(text))]
    return [Place(*window) for window in chunks(text, grader.window) or [(0, 0)]]


def is_readable(grader: Grader, trace: Trace) -> bool:
    """Whether a trace has what the grader reads: a summary, or a block that is redacted, is no reasoning."""
    return trace.reasoning_kind == "raw" or not grader.reads_reasoning


def _uses(grader: Grader, trace: Trace) -> list[Place]:
    found: dict[tuple[int, int], float] = {}
    seed = drawn(trace.reasoning)
    for of_term in uses(trace.reasoning, [Term.parse(term) for term in grader.terms]):
        some = _some(of_term, seed, USES)
        found |= dict.fromkeys(some, len(of_term) / max(len(some), 1))
    return [Place(*use, stands_for) for use, stands_for in sorted(found.items())]


def _some(places: list[tuple[int, int]], seed: int, many: int) -> list[tuple[int, int]]:
    return sorted(places, key=lambda place: drawn(seed, *place))[:many]


def drawn(*told: object) -> int:
    """A number from 0 up to 2**64 that looks random and is the same everywhere."""
    return int.from_bytes(hashlib.sha256("\0".join(map(str, told)).encode("utf-8", "backslashreplace")).digest()[:8])


def text_of(grader: Grader, trace: Trace) -> str:
    """What places are cut from: the answer where its points are asked about, the record where that is shown, else the reasoning."""
    if grader.points:
        return trace.answer
    return trace.record if "record" in grader.sees else trace.reasoning


def shown(grader: Grader, trace: Trace, start: int, end: int) -> dict[Part, tuple[str, int]]:
    """The parts of a trace that are shown when this place is asked about, and at which character of the trace's own text each begins.

    Of a use it is the words around it, of a point the whole answer, with ⟦ and ⟧ around the use or the point.
    """
    cut: Part = "answer" if grader.points else "record" if "record" in grader.sees else "reasoning"
    text, first = text_of(grader, trace), start
    if grader.marks:
        first, last = _around(text, start, end, grader.around) if grader.around is not None else (0, len(text))
        before, use, after = (part.translate(UNMARKED) for part in (text[first:start], text[start:end], text[end:last]))
        passage = f"{before}{MARKS[0]}{use}{MARKS[1]}{after}"
    else:
        passage = text[start:end]
    parts: dict[Part, tuple[str, int]] = {
        "scenario": (scenario_of(trace, alone="record" in grader.sees), 0),
        "reasoning": (trace.reasoning, 0),
        "answer": (said_and_done(trace), 0),
        cut: (passage, first),
    }
    return {name: part for name, part in parts.items() if name in grader.sees}


@lru_cache(maxsize=2)  # each use of a trace is shown after the other
def _spans(text: str) -> list[tuple[str, int, int]]:
    return spans(text)


def _around(text: str, start: int, end: int, words: int) -> tuple[int, int]:
    """From where to where so many words stand on each side."""
    at = _spans(text)
    before = bisect_left(at, start, key=lambda word: word[1]) - words
    after = bisect_left(at, end, key=lambda word: word[1]) + words - 1
    return at[before][1] if before > 0 else 0, at[after][2] if after < len(at) - 1 else len(text)


def unmarked(text: str) -> str:
    """The text without the marks around a use."""
    return text.replace(MARKS[0], "").replace(MARKS[1], "")


def scenario_of(trace: Trace, *, alone: bool = False) -> str:
    """What the model was told: the prompt, and in a conversation all that others said in it; `alone`, only before it first spoke.

    What was put into its mouth is told too, and said to be given: it is no part of what is asked about.
    """
    if not trace.turns:
        return trace.prompt
    own = (at for at, message in enumerate(trace.turns) if message.role == "assistant" and not message.given)
    first = next(own, 0) if alone else len(trace.turns)
    return "\n\n".join(said for message in trace.turns[:first] for said in _told(message))


def _told(message: Message) -> Iterator[str]:
    if message.role != "assistant":
        yield f"[{message.role}] {message.content}"
    elif message.given:
        told = ("thinks", message.reasoning), ("says", message.content)
        yield from (f"[assistant {how}, in words given to it] {said}" for how, said in told if said)


def said_and_done(trace: Trace) -> str:
    """What the model said outside its reasoning, and the tools that it called."""
    return trace.answer + "".join(f"\n[{call.function} {call.arguments}]" for call in trace.actions)
