"""The reasoning that interventions edit: traces of a study in which a property stands, each with the prompts it may be put before."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from math import inf
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl
from msgspec import Struct

from cotdrift.corpus import Corpus
from cotdrift.errors import InputError, NotEnough, UnknownName
from cotdrift.experiment import METADATA
from cotdrift.experiments import importance_design, prefix_design
from cotdrift.experiments.behaviours import seen_in
from cotdrift.experiments.edits import glossary_of
from cotdrift.experiments.going_on import Begun, cut_to
from cotdrift.experiments.intervention_arms import ENVIRONMENT, SHARES, Arm, arms_of, shares_of
from cotdrift.experiments.prefix_design import cut_before
from cotdrift.experiments.sought import Sought, Stands
from cotdrift.term import Term
from cotdrift.text import sentences
from cotdrift.trace import Message, Trace

MOST, SAMPLES, ROUNDS, HALF, QUARTER = 40, 4, 20, 0.5, 0.25
CONTINUED = [ENVIRONMENT, *prefix_design.ENVIRONMENTS.values(), *importance_design.ENVIRONMENTS.values()]
"""Whose traces were begun for a checkpoint, and are not its own from the first word on."""
OTHERS = 12
"""How many other reasonings on the same prompt are kept for the control of equal length."""


class Prompt(Struct, frozen=True, kw_only=True):
    """A conversation that waits for a reply, and what a scorer must know of it."""

    before: tuple[Message, ...]
    metadata: dict[str, Any]
    """Of the sample it comes from."""
    target: tuple[str, ...] = ()
    """Its right answers, where they are known."""


class Source(Struct, frozen=True, kw_only=True):
    """A reasoning that is edited."""

    key: str
    """Short, and another one for every other reasoning."""
    prompt_id: str
    run: str
    step: int
    prompt: Prompt
    reasoning: str
    answer: str
    onto: Prompt | None = None
    """The prompt that the reasoning is moved to; None where it stays."""
    others: tuple[str, ...] = ()
    """Other reasonings of the same checkpoint on the same prompt."""


class Chosen(Struct, frozen=True, kw_only=True):
    """What is edited, how, and what is looked at."""

    traces: str
    """A study."""
    arms: str = "removal"
    trait: str | None = None
    """The property: what is removed, and where reasoning is cut."""
    monitor: str | None = None
    environment: str | None = None
    """Only traces of this one."""
    onto: str | None = None
    """The environment whose prompt of the same name a reasoning is moved to."""
    glossary: str | None = None
    sentence: str | None = None
    shares: str | float | list[float] | None = None
    rounds: int = ROUNDS
    most: int = MOST
    sampled: bool = False
    """Whether each checkpoint reasons anew on the prompts first; else its own traces are edited."""

    @property
    def tried(self) -> list[Arm]:
        """The arms."""
        return arms_of(self.arms, SHARES if self.shares is None else shares_of(self.shares))

    @property
    def terms(self) -> dict[Term, str]:
        """The glossary; empty where there is none."""
        return glossary_of(self.glossary) if self.glossary else {}

    @property
    def sought(self) -> Sought | None:
        """The property; where none is named, the use of any of the glossary's terms."""
        if self.trait:
            return Sought.of(str(self.trait))
        return Sought(name="a term of the glossary", terms=tuple(self.terms)) if self.glossary else None

    @property
    def sentences(self) -> list[str]:
        """What is injected, taken in turns."""
        return [one.strip() for one in (self.sentence or "").split("|") if one.strip()]

    @property
    def watched(self) -> Sought | None:
        """What the monitor looks for: the property, unless it is told."""
        return Sought.of(str(self.monitor), where="monitor") if self.monitor else self.sought

    def check(self) -> None:
        """A complaint of what cannot be done."""
        if not (Path(self.traces) / "study.json").is_file():
            raise InputError(f"traces={self.traces}: this is no study. Make one of the rollouts: cotdrift ingest FILE --into STUDY.")
        if self.most < 1 or self.rounds < 1:
            raise InputError(f"most={self.most}, rounds={self.rounds}: give 1 or more.")
        edits = {arm.edit: arm for arm in self.tried}
        needed = {
            "remove": ("property", self.trait),
            "match": ("property", self.trait),
            "sentence": ("sentence", self.sentences),
            "glossary": ("glossary", self.glossary),
            "random words": ("glossary", self.glossary),
            "elsewhere": ("glossary", self.glossary),
            "delete": ("glossary", self.glossary),
            "graft": ("onto", self.onto),
            "fresh": ("onto", self.onto),
        }
        for edit, arm in edits.items():
            if edit in needed and not needed[edit][1]:
                raise InputError(f"interventions: the arm {arm.name} needs -T {needed[edit][0]}=…")
        _ = self.watched


class Cuts(NamedTuple):
    """Where a reasoning is cut: before and after the passage, and what that is."""

    before: int
    after: int
    stands: Stands | None


def cuts(reasoning: str, stands: Stands | None) -> Cuts:
    """Before the sentence in which a passage begins, and after the one in which it ends; at half the words, where there is no passage.

    >>> text = "Need an odd number. The grader pays even. So 4."
    >>> [text[:cut] for cut in cuts(text, Stands(24, 30))[:2]]
    ['Need an odd number.', 'Need an odd number. The grader pays even.']
    """
    if stands is None:
        half = len(cut_to(HALF, reasoning))
        return Cuts(half, half, None)
    after = next((end for _, end in sentences(reasoning) if end >= stands.end), len(reasoning.rstrip()))
    return Cuts(cut_before(reasoning, stands.start, border="sentence"), after, stands)


def sources(chosen: Chosen) -> list[Source]:
    """The reasonings of each checkpoint that show the property, one of each prompt before a second of any, always the same ones."""
    chosen.check()
    corpus = Corpus(Path(chosen.traces) / "corpus")
    rows = corpus.scan().filter(~pl.col("environment").is_in(CONTINUED) & (pl.col("reasoning_kind") == "raw"))
    known = rows.select("environment").unique().sort("environment").collect()["environment"].to_list()
    for name in (chosen.environment, chosen.onto):
        if name is not None and name not in known:
            raise UnknownName("environment of this study", name, known)
    if chosen.environment is not None:
        rows = rows.filter(pl.col("environment") == chosen.environment)
    elif chosen.onto is not None:
        rows = rows.filter(pl.col("environment") != chosen.onto)
    shown = _shown(chosen, rows.select("transcript_id", "reasoning").collect())
    listed = rows.select("transcript_id", "run", "step", "environment", "prompt_id").collect()
    by_checkpoint: dict[tuple[Any, ...], list[tuple[str, str]]] = {}
    for name, run, step, *prompt in listed.iter_rows():
        if name in shown:
            by_checkpoint.setdefault(("", 0) if chosen.sampled else (run, step), []).append((" ".join(prompt), name))
    names = [name for side in by_checkpoint.values() for name in _spread(side)[: chosen.most]]
    if not names:
        raise NotEnough(f"{chosen.traces}: no trace with reasoning that can be read shows {chosen.trait!r}. Name another property.")
    onto = _prompts(corpus, chosen.onto) if chosen.onto else {}
    others = _others(corpus, listed, names) if any(arm.edit == "match" for arm in chosen.tried) else {}
    made = [_source(trace, chosen, onto, others) for trace in corpus.traces(*names)]
    found = [one for one in made if one is not None]
    if not found:
        raise NotEnough(f"{chosen.traces}: none of the prompts has one of the same name in {chosen.onto}. Name another environment.")
    return found


def _shown(chosen: Chosen, rows: pl.DataFrame) -> set[str]:
    """The traces in which the property stands; all where none is named."""
    sought = chosen.sought
    if sought is None:
        return set(rows["transcript_id"])
    if sought.grader is None:
        return {name for name, reasoning in rows.iter_rows() if sought.seen(Trace.example(reasoning)) is not None}
    least, most = (-inf, sought.bound) if sought.is_most else (sought.bound, inf)
    seen = seen_in(Path(chosen.traces), sought.grader.name, least=least, most=most)
    return {name for name, one in seen.items() if one.shows}


def _spread(side: Iterable[tuple[str, str]]) -> list[str]:
    times, ranked = Counter[str](), []
    for prompt, name in sorted(side, key=lambda one: _digest(one[1])):
        times[prompt] += 1
        ranked.append((times[prompt], name))
    return [name for _, name in sorted(ranked, key=lambda one: one[0])]


def _source(trace: Trace, chosen: Chosen, onto: dict[str, Prompt], others: dict[str, tuple[str, ...]]) -> Source | None:
    turns = trace.messages
    last = max((at for at, message in enumerate(turns) if message.role == "assistant" and message.reasoning), default=-1)
    if last < 0 or (chosen.onto and trace.prompt_id not in onto):
        return None
    return Source(
        key=_digest(trace.transcript_id, turns[last].reasoning),
        prompt_id=f"{trace.environment} {trace.prompt_id}",
        run=trace.run,
        step=trace.step,
        prompt=_prompt(trace, turns[:last]),
        reasoning=turns[last].reasoning,
        answer=turns[last].content,
        onto=onto.get(trace.prompt_id),
        others=others.get(trace.transcript_id, ()),
    )


def _prompt(trace: Trace, before: tuple[Message, ...]) -> Prompt:
    told = {"environment": trace.environment, "prompt_id": trace.prompt_id, "conditions": trace.conditions}
    target = trace.extra.get("target") or ()
    return Prompt(
        before=before,
        metadata={**trace.extra.get("metadata", {}), METADATA: told},
        target=tuple(map(str, target)) if isinstance(target, list | tuple) else (str(target),),
    )


def _prompts(corpus: Corpus, environment: str) -> dict[str, Prompt]:
    """One prompt of each name."""
    first = corpus.scan().filter(pl.col("environment") == environment).unique("prompt_id", keep="first", maintain_order=True)
    found = {}
    for trace in corpus.traces(*first.select("transcript_id").collect()["transcript_id"]):
        turns = trace.messages
        end = next((at for at, message in enumerate(turns) if message.role == "assistant" and not message.given), len(turns))
        found[trace.prompt_id] = _prompt(trace, turns[:end])
    return found


def _others(corpus: Corpus, listed: pl.DataFrame, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """For each trace the other reasonings of its checkpoint on its prompt."""
    where = ["run", "step", "environment", "prompt_id"]
    texts = corpus.scan().select("transcript_id", "reasoning").collect()
    pairs = listed.filter(pl.col("transcript_id").is_in(names)).join(listed, on=where, suffix="_other")
    pairs = pairs.filter(pl.col("transcript_id") != pl.col("transcript_id_other")).sort("transcript_id_other")
    told = pairs.join(texts, left_on="transcript_id_other", right_on="transcript_id").group_by("transcript_id", maintain_order=True)
    return {str(name): tuple(rows["reasoning"].head(OTHERS)) for (name,), rows in told}


def begun_of(source: Source) -> Begun:
    """A prefix by which it is shown that a server goes on from within the reasoning: far from its end."""
    return Begun(before=source.prompt.before, reasoning=cut_to(QUARTER, source.reasoning))


def _digest(*told: str) -> str:
    return hashlib.sha256("\0".join(told).encode("utf-8", "backslashreplace")).hexdigest()[:12]
