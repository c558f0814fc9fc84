"""Summaries of summaries: what a judge said of a trace's windows, put together level by level, and the way back down to the passages.

The recursion is that of Wu et al. (2021), Recursively Summarizing Books with Human Feedback, arXiv 2109.10862. To rate each summary of
what a model did in training for how surprising or concerning it is comes from the Mythos system card, section 6.2.2.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TypeVar

from msgspec import Struct

from cotdrift.grader import Grader, Reason
from cotdrift.judgment import Judgment, Quote

T = TypeVar("T")
CITED = re.compile(r"\s?\[\d+(?:[,;–-] ?\d+)*\]")
"""How a summary names those that it sums up; one level higher these numbers would name others."""


class Node(Struct, frozen=True, kw_only=True):
    """A judgment of a trace with those that it sums up, the worst first."""

    judge: str
    settings: str
    level: int
    start: int
    """In characters of the reasoning, or of the record where that is judged."""
    end: int
    marked: str
    label: str | None
    value: float | None
    details: dict[str, str]
    reason: str
    """The summary, where the grader asks for one."""
    missing: Reason | None
    quotes: tuple[Quote, ...]
    children: tuple[Node, ...] = ()


def grouped(items: Sequence[T], most: int) -> list[Sequence[T]]:
    """Neighbours together, in as few groups of at most so many as there can be, and these as even as can be.

    >>> [len(group) for group in grouped(range(11), 10)]
    [5, 6]
    """
    many = -(-len(items) // most)
    return [items[first:last] for first, last in pairwise(len(items) * edge // many for edge in range(many + 1))]


def summaries(children: Iterable[Judgment]) -> str:
    """What a judge who sums up is shown: each summary on a line, with its number; what is missing is said to be."""
    return "\n".join(f"[{number}] {_summary(child)}" for number, child in enumerate(children, start=1))


def _summary(child: Judgment) -> str:
    if child.missing:
        return f"(missing: {child.missing})"
    said = " ".join(child.reason.split())
    return (CITED.sub("", said) if child.level else said) or "(no summary)"


def trees(grader: Grader, judgments: Sequence[Judgment]) -> list[Node]:
    """Each judge's tree of what it said of one trace, the worst first; a judgment that nothing sums up is a tree of its own."""
    made: dict[tuple[str, str, int, int, int], Node] = {}
    for one in sorted(judgments, key=lambda one: one.level):
        below = [made.pop((one.judge, one.settings, one.level - 1, child.start, child.end)) for child in one.children]
        made[one.judge, one.settings, one.level, one.start, one.end] = Node(
            **{name: getattr(one, name) for name in Node.__struct_fields__ if name != "children"}, children=_worst_first(grader, below)
        )
    return list(_worst_first(grader, made.values()))


def _worst_first(grader: Grader, nodes: Iterable[Node]) -> tuple[Node, ...]:
    sign = -1 if grader.worse == "high" else 1
    return tuple(sorted(nodes, key=lambda node: (node.value is None, sign * (node.value or 0.0), node.judge, node.start)))
