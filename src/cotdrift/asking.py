"""What a grader is asked, one thing at a time: a part of a trace, or summaries of parts; and what of it is known already."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from cotdrift.grader import Grader, Part, Reason
from cotdrift.judgment import TRIED_AGAIN, Child, Judgment, Known, Where, children_told
from cotdrift.seen import Place, drawn, is_readable, places, scenario_of, shown, text_of, unmarked
from cotdrift.summaries import grouped, summaries
from cotdrift.trace import Trace

REPEATED = 0.05
"""The share of judgments asked for a second time, to hold a judge against itself."""

READABLE = {"summary": "a summary alone", "redacted": "a redacted block alone", "none": "none"}


class Asking(Struct, frozen=True, kw_only=True):
    """One thing to ask a judge."""

    trace: Trace
    judge: str
    start: int
    end: int
    stands_for: float = 1.0
    repeat: int = 0
    attempt: int = 0
    level: int = 0
    children: tuple[Judgment, ...] = ()
    """What is to be summed up, where that is asked."""

    def told(self, grader: Grader) -> tuple[str, dict[Where, tuple[str, int]]]:
        """What a judge reads, and the parts that a quote may be from."""
        if not self.level:
            return asked_of(grader, self.trace, self.start, self.end)
        said = summaries(self.children)
        return grader.asked_together(scenario=scenario_of(self.trace, alone=True), summaries=said), {"summaries": (said, 0)}

    def lack(self, grader: Grader) -> tuple[Reason, str] | None:
        """Why it cannot be asked, where there is nothing to judge."""
        if self.level:
            return ("empty", "There is no summary to judge.") if all(child.missing for child in self.children) else None
        if not is_readable(grader, self.trace):
            return "redacted", f"Of reasoning there is {READABLE[self.trace.reasoning_kind]}."
        if grader.around is not None and self.start == self.end:
            return "unused", "The reasoning uses none of the terms."
        if grader.reads_reasoning and not text_of(grader, self.trace)[self.start : self.end].strip():
            return "empty", "There is no reasoning to judge."
        return None


class Past(NamedTuple):
    """What a grader was asked before, under these settings."""

    grader: Grader
    settings: str
    known: dict[tuple[Any, ...], Known]

    def of(self, transcript_id: str, judge: str, level: int, start: int, end: int, repeat: int = 0) -> Known | None:
        """What became of it; None where it was never asked."""
        return self.known.get((transcript_id, self.grader.name, self.grader.sha, judge, self.settings, level, start, end, repeat))

    def asks(self, trace: Trace, judges: Iterable[str]) -> Iterator[tuple[Asking, bool]]:
        """All that is to be known of a trace itself, and whether it is."""
        for start, end, stands_for in places(self.grader, trace) or [Place(0, 0)]:
            again = drawn("again", trace.transcript_id, start) / 2**64 < REPEATED
            for judge in judges:
                one = Asking(trace=trace, judge=judge, start=start, end=end, stands_for=stands_for)
                for repeat in range(1 + (again and one.lack(self.grader) is None)):
                    before = self.of(trace.transcript_id, judge, 0, start, end, repeat)
                    yield replace(one, repeat=repeat, attempt=before.attempts if before else 0), is_there(before)

    def sums(
        self, transcript_id: str, judge: str, level: int, below: Sequence[Child]
    ) -> Iterator[tuple[Sequence[Child], Known | None, bool]]:
        """The groups that are summed up on this level, what became of each before, and whether it is known of just these."""
        for group in grouped(below, self.grader.groups or len(below)):
            before = self.of(transcript_id, judge, level, group[0].start, group[-1].end)
            yield group, before, is_there(before) and before is not None and before.children == children_told(group)

    def below(self, ids: Iterable[str], judges: Iterable[str], level: int) -> dict[tuple[str, str], list[Child]]:
        """By trace and judge what stands one level below, where that is more than one and so is to be summed up."""
        found: dict[tuple[str, str], list[Child]] = {(transcript_id, judge): [] for transcript_id in ids for judge in judges}
        for (transcript_id, _, _, judge, settings, at, start, end, repeat), was in self.known.items():
            if (settings, at, repeat) == (self.settings, level - 1, 0) and (transcript_id, judge) in found:
                found[transcript_id, judge].append(as_child(start, end, was))
        return {who: sorted(children, key=lambda child: child.start) for who, children in found.items() if len(children) > 1}


def is_there(before: Known | None) -> bool:
    """Whether it was asked, and need not be asked again."""
    return before is not None and before.missing not in TRIED_AGAIN


def as_child(start: int, end: int, was: Known | None) -> Child:
    """As what sums it up remembers it; not like anything remembered, where it is yet to come."""
    return Child(start, end, -1) if was is None else Child(start, end, None if was.missing else was.attempts - 1, was.missing)


def asked_of(grader: Grader, trace: Trace, start: int, end: int) -> tuple[str, dict[Where, tuple[str, int]]]:
    """What a judge reads of a trace, and the parts that a quote may be from."""
    seen = shown(grader, trace, start, end)
    told = grader.asked(**{part: text for part, (text, _) in seen.items()})
    order: tuple[Part, ...] = ("record", "reasoning", "answer", "scenario")  # what the model said comes before what it was told
    plain = {part: (unmarked(text), offset) for part, (text, offset) in seen.items()} if grader.around is not None else seen
    return told, {where: plain[where] for where in order if where in plain}
