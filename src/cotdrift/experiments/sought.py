"""What is sought in reasoning, such as talk of the grader: a pattern, terms, a measure's or a grader's value, and where it stands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from msgspec import Struct

from cotdrift.asking import asked_of
from cotdrift.errors import InputError, UnknownName
from cotdrift.grader import Grader
from cotdrift.graders import graders
from cotdrift.judgment import locate, read_reply
from cotdrift.measure import Found, Measure
from cotdrift.shelf import collect
from cotdrift.term import Term, uses
from cotdrift.text import chunks, sentences
from cotdrift.trace import Trace

BOUNDED = re.compile(r"([a-z]\w*)\s*(?:(>=|<=)\s*(-?\d+(?:\.\d+)?))?")
GRADER = "grader"
"""The role of the model that answers a grader's question."""


class Unjudged(Exception):
    """The judge's reply answers nothing, so that it is not known whether the property is there."""


class Stands(NamedTuple):
    """A passage, in characters of the reasoning."""

    start: int
    end: int


class Sought(Struct, frozen=True, kw_only=True):
    """A property of reasoning, by one of four ways to tell it."""

    name: str
    """As the user gave it."""
    pattern: re.Pattern[str] | None = None
    measure: Measure | None = None
    grader: Grader | None = None
    terms: tuple[Term, ...] = ()
    bound: float = 1.0
    """The value of the measure or grader from which on the property is there."""
    is_most: bool = False
    """Whether it is there up to that value instead."""

    @classmethod
    def of(cls, told: str, *, where: str = "property") -> Sought:
        """A measure or a grader with its bound, as `legibility<=2` or `metagaming` (from 1 on); anything else is a regular expression.

        >>> Sought.of("unknown_word_share>=0.3").bound, Sought.of("grader|pays").seen(Trace.example("It pays."))
        (0.3, Stands(start=3, end=7))
        """
        bounded = BOUNDED.fullmatch(told)
        name, bound = (bounded[1], float(bounded[3] or 1)) if bounded else (told, 1.0)
        is_most = bool(bounded and bounded[2] == "<=")
        measures = collect("measures", Measure)
        if name in measures:
            return cls(name=told, measure=measures[name], bound=bound, is_most=is_most)
        if name in graders():
            grader = graders()[name]
            if grader.marks or not grader.reads_reasoning or any(answer.value is None for answer in grader.answers):
                raise InputError(f"{where}={told}: this grader does not rate stretches of reasoning by numbers. Name another.")
            return cls(name=told, grader=grader, bound=bound, is_most=is_most)
        if bounded and bounded[2]:
            raise UnknownName("measure or grader", name, [*measures, *graders()])
        try:
            return cls(name=told, pattern=re.compile(told))
        except re.error as fault:
            raise InputError(f"{where}={told}: this is no regular expression, measure or grader ({fault}). Mend it.") from None

    def holds(self, value: float) -> bool:
        """Whether a value of the measure or grader says that the property is there."""
        return value <= self.bound if self.is_most else value >= self.bound

    def seen(self, trace: Trace, start: int = 0) -> Stands | None:
        """Where it first stands in the reasoning from a character on; None where it does not. Not for a grader's answer."""
        if self.pattern:
            found = self.pattern.search(trace.reasoning, start)
            return Stands(*found.span()) if found else None
        if self.terms:
            places = [use for of_term in uses(trace.reasoning, self.terms) for use in of_term if use[0] >= start]
            return Stands(*min(places)) if places else None
        assert self.measure
        for first, last in sentences(trace.reasoning):
            if last > start:
                told = self.measure(Trace.example(trace.reasoning[max(first, start) : last]))
                value = told.value if isinstance(told, Found) else told
                if value is not None and self.holds(value):
                    return Stands(max(first, start), last)
        return None

    async def first(self, trace: Trace, start: int = 0) -> Stands | None:
        """The same, by asking the role `grader` where that is needed; Unjudged where a reply says neither."""
        if self.grader is None:
            return self.seen(trace, start)
        for first, last in self._windows(trace, start):
            if (place := await self._judged(trace, first, last)) is not None:
                return place
        return None

    def _windows(self, trace: Trace, start: int) -> Iterator[Stands]:
        assert self.grader
        text = trace.reasoning[start:]
        if self.grader.window is None and text.strip():
            yield Stands(start, len(trace.reasoning))
        elif text.strip():
            yield from (Stands(start + first, start + last) for first, last in chunks(text, self.grader.window or 1))

    async def _judged(self, trace: Trace, start: int, end: int) -> Stands | None:
        from inspect_ai.model import get_model  # whoever gets here has it

        assert self.grader
        told, parts = asked_of(self.grader, trace, start, end)
        reply = (await get_model(role=GRADER, required=True).generate(told)).completion
        said = read_reply(self.grader, reply)
        if said is None or said.value is None:
            raise Unjudged(f"{self.name}: the judge's reply answers nothing. Take another judge, or a pattern.")
        if not self.holds(said.value):
            return None
        quotes = [locate(quote, parts) for quote in said.quotes]
        starts = [quote.start for quote in quotes if quote.where == "reasoning" and quote.start is not None and start <= quote.start < end]
        return Stands(min(starts, default=start), end)
