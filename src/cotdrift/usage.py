"""A usage: one use of a term in the words around it, and which uses of a checkpoint are looked at."""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec
import polars as pl
from msgspec import Struct

from cotdrift.corpus import Checkpoint
from cotdrift.term import Term, uses
from cotdrift.text import spans

AROUND = 40
"""Words on each side of a use, as `text.words` counts them."""
A_PROMPT = 5
"""How many uses of a term are looked at in the traces of one prompt at one checkpoint."""

Item = TypeVar("Item")


class Window(NamedTuple):
    """A use in its context: all that an encoder sees of it."""

    text: str
    start: int
    """Where the term begins in that text, in characters."""
    end: int

    @property
    def key(self) -> str:
        """A fingerprint: the same context has the same vector."""
        return hashlib.sha256(f"{self.start} {self.end} {self.text}".encode("utf-8", "backslashreplace")).hexdigest()

    @property
    def term(self) -> str:
        """The term as it is written here."""
        return self.text[self.start : self.end]

    def with_term(self, other: str) -> Window:
        """The same context with another word in the place of this one, in upper case where this one begins so.

        >>> Window("Maybe it is four", 0, 5).with_term("perhaps")
        Window(text='Perhaps it is four', start=0, end=7)
        """
        written = other[:1].upper() + other[1:] if self.term[:1].isupper() else other
        return Window(self.text[: self.start] + written + self.text[self.end :], self.start, self.start + len(written))


class Use(Struct, frozen=True, kw_only=True):
    """Where a use stands, and what is around it."""

    transcript_id: str
    environment: str
    prompt_id: str
    start: int
    """In characters of the reasoning."""
    window: Window

    @property
    def prompt(self) -> tuple[str, str]:
        """The prompt, which is the unit of every interval and test."""
        return self.environment, self.prompt_id


def windows(text: str, terms: Sequence[Term], *, around: int = AROUND) -> list[list[tuple[int, Window]]]:
    """Every use of each term in a text: where it begins, and its window.

    >>> windows("We may disclaim the result.", [Term.parse("disclaim")], around=1)
    [[(7, Window(text='may disclaim the', start=4, end=12))]]
    """
    found = uses(text, terms)
    if not any(found):
        return [[] for _ in terms]
    words = spans(text)
    starts = [start for _, start, _ in words]
    return [[(start, _window(text, words, starts, start, end, around)) for start, end in of_term] for of_term in found]


def _window(text: str, words: list[tuple[str, int, int]], starts: list[int], start: int, end: int, around: int) -> Window:
    first = max(0, bisect_left(starts, start) - around)
    last = min(len(words), bisect_left(starts, end) + around) - 1
    begin, stop = words[first][1], words[last][2]
    return Window(text[begin:stop], start - begin, end - begin)


def collect_uses(
    checkpoint: Checkpoint, terms: Sequence[Term], *, environment: str | None = None, a_prompt: int = A_PROMPT, around: int = AROUND
) -> list[list[Use]]:
    """The uses of each term in a checkpoint's raw reasoning that are looked at.

    They are at most `a_prompt` of one prompt, of as many of its traces as can be, chosen by a hash of the window: the same ones each
    time. A window that comes again word for word, as in a loop, counts once.
    """
    chosen: list[dict[tuple[str, str], dict[str, tuple[str, int, Window]]]] = [{} for _ in terms]
    for rows in checkpoint.batches(["transcript_id", "task_set", "task_id", "reasoning_kind", "reasoning"]):
        raw = rows.filter(pl.col("reasoning_kind") == "raw")
        raw = raw if environment is None else raw.filter(pl.col("task_set") == environment)
        for transcript_id, task_set, task_id, reasoning in raw.select("transcript_id", "task_set", "task_id", "reasoning").iter_rows():
            for known, found in zip(chosen, windows(reasoning, terms, around=around), strict=True):
                of_prompt = known.setdefault((task_set, task_id), {}) if found else {}
                for start, window in found:
                    of_prompt.setdefault(window.text, (transcript_id, start, window))
    return [
        [
            Use(transcript_id=transcript_id, environment=environment, prompt_id=prompt_id, start=start, window=window)
            for (environment, prompt_id), of_prompt in sorted(of_term.items())
            for transcript_id, start, window in _some(of_prompt.values(), a_prompt)
        ]
        for of_term in chosen
    ]


def _some(found: Iterable[tuple[str, int, Window]], many: int) -> list[tuple[str, int, Window]]:
    """So many: a use of each trace before a second of any."""
    turns: dict[str, int] = {}
    ordered: list[tuple[int, int, tuple[str, int, Window]]] = []
    for one in sorted(found, key=lambda one: one[2].key):
        turns[one[0]] = turns.get(one[0], -1) + 1
        ordered.append((turns[one[0]], len(ordered), one))
    return [one for _, _, one in sorted(ordered, key=lambda told: told[:2])[:many]]


def fingerprint(*told: Any) -> str:
    """A short name for all of this together."""
    return hashlib.sha256(msgspec.json.encode(told)).hexdigest()[:16]


def corpus_name(checkpoints: Iterable[Checkpoint]) -> str:
    """A name for what these checkpoints hold."""
    return fingerprint([checkpoint.name for checkpoint in checkpoints])
