"""Chains of reasoning cut between their sentences, so that a checkpoint can go on after each: what a sentence does is in the difference."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from math import asin, pi, sin
from pathlib import Path

import msgspec
import numpy as np
import yaml
from msgspec import Struct
from scipy.special import ndtri

from cotdrift.corpus import Corpus
from cotdrift.errors import InputError, NotEnough
from cotdrift.experiments.behaviours import seen_in
from cotdrift.experiments.prefix_design import pattern_of, traces_in_file
from cotdrift.text import sentences
from cotdrift.trace import Message, Trace

ENVIRONMENTS = {"open": "importance", "forced": "importance_forced"}
"""Whether the checkpoint goes on with the reasoning, or has to answer at once."""
MOST, PIECES, SAMPLES = 8, 24, 50
POWER = 0.8
OTHER = "other"
"""The kind of a sentence that no pattern is in."""
NOTHING, ANOTHER = "no answer", "another answer"
"""The categories of an answer that says nothing, and of one that the pattern is not in."""
SHOWN = ("without the behaviour", "with the behaviour")
"""The categories where answers are told apart by that alone."""


class Chosen(Struct, frozen=True, kw_only=True):
    """Which traces are taken apart, and what is read off answers."""

    traces: str
    """A file of traces, or a study."""
    behaviour: str | None = None
    """An outcome, measure or grader by which traces are chosen; None takes all."""
    least: float = 1.0
    """The least value of it that makes a trace one of them."""
    environment: str | None = None
    answers: str | None = None
    """A regular expression that sorts answers into categories."""
    shows: str | None = None
    """What the behaviour looks like in an answer, as a regular expression; where there is none, it is the trace's own answer again."""
    kinds: str | None = None
    """A YAML file: kinds of sentences by name, each with a regular expression."""
    most: int = MOST
    """Traces of each checkpoint."""
    pieces: int = PIECES


class Chain(Struct, frozen=True, kw_only=True):
    """The reasoning of one trace, cut into its sentences."""

    trace: Trace
    before: tuple[Message, ...]
    """What it is an answer to."""
    reasoning: str
    ends: tuple[int, ...]
    """Where each sentence ends, in characters; a piece of several sentences, where there are more than may be cut."""
    kinds: tuple[str, ...]
    """Of each sentence its kind; empty where kinds are not told apart."""
    shows: str
    """What the behaviour looks like, as a regular expression; empty where it is the own answer again."""
    own: str
    """The category of the trace's own answer."""

    @property
    def id(self) -> str:
        """Another one for every other trace, reasoning or cut."""
        told = [self.trace.transcript_id, self.reasoning, *map(str, self.ends), *self.kinds, self.shows, self.own]
        return hashlib.sha256("\0".join(told).encode("utf-8", "backslashreplace")).hexdigest()[:8]

    @property
    def prompt_id(self) -> str:
        """The cluster: what was asked, and where."""
        return f"{self.trace.environment} {self.trace.prompt_id}"

    def kept(self, many: int) -> str:
        """The reasoning up to the end of its first so many sentences."""
        return self.reasoning[: self.ends[many - 1]] if many else ""


class Chains(Struct, frozen=True, kw_only=True):
    """The chains, and what became of the traces."""

    chains: tuple[Chain, ...]
    chosen: Chosen
    found: int
    """Traces that were to be had."""
    short: int
    """Of these, how many have fewer than two sentences of reasoning that can be read."""

    def sentences(self, *, samples: int, forced: bool) -> list[str]:
        """What is asked, what it costs, and how small a difference it finds."""
        of: dict[tuple[str, int], list[int]] = {}
        for chain in self.chains:
            of.setdefault((chain.trace.run, chain.trace.step), []).append(len(chain.ends))
        many = [len(cut) for cut in of.values()]
        cut = max(map(sum, of.values()))
        places = max(sum(cut) + len(cut) for cut in of.values())
        beside = ", and from each place as many answers at once (forced=false leaves these out)" if forced else ""
        short = f"; {self.short:,} of them have fewer than two sentences" if self.short else ""
        once = "What is said after a sentence is held against what is said before it, so that each answer serves two sentences."
        least = f"{100 * smallest_shift(samples, cut):.0f} points"
        return [
            (
                f"{self.found:,} traces of {len(of)} checkpoint{'s' * (len(of) != 1)} were to be had{short}. "
                f"Of each {_range(many)} are taken apart, into {_range([sum(one) for one in of.values()])} sentences."
            ),
            (
                f"A checkpoint goes on with its own, before the first sentence and after each, {samples} times{beside}: "
                f"{places * samples * (1 + forced):,} answers a checkpoint, at most. {once}"
            ),
            f"Smallest shift of a share, from 50%, that is found for one sentence among {cut:,} with {POWER:.0%} power: {least}.",
        ]


def _range(counts: Sequence[int]) -> str:
    least, most = min(counts), max(counts)
    return f"{least:,}" if least == most else f"{least:,} to {most:,}"


def smallest_shift(samples: int, tests: int, *, alpha: float = 0.05, power: float = POWER) -> float:
    """The smallest shift of a share from one half that so many answers on either side show, as the only one among so many tests.

    By the arcsine transformation (Cohen 1988), at the level that the first finding has under Benjamini and Yekutieli.

    >>> round(smallest_shift(50, 1), 2), round(smallest_shift(50, 60), 2)
    (0.27, 0.4)
    """
    level = alpha / tests / sum(1 / at for at in range(1, tests + 1))
    effect = float(ndtri(1 - level / 2) + ndtri(power)) * (2 / samples) ** 0.5
    return sin(min(asin(0.5**0.5) + effect / 2, pi / 2)) ** 2 - 0.5


def make_chains(chosen: Chosen) -> Chains:
    """Read the traces and cut their reasoning; as many prompts as possible are among those kept, always the same ones."""
    if chosen.most < 1 or chosen.pieces < 2:
        raise InputError(f"most={chosen.most}, pieces={chosen.pieces}: give 1 or more traces, and 2 or more pieces.")
    answers, shows = pattern_of("answers", chosen.answers), pattern_of("shows", chosen.shows)
    kinds = read_kinds(Path(chosen.kinds)) if chosen.kinds else {}
    found = list(_traces(chosen))
    cut = [chain for trace in found if (chain := _cut(trace, chosen.pieces, kinds, answers, shows))]
    if not cut:
        why = "there are none" if not found else f"none of {len(found):,} has two sentences of reasoning that can be read"
        raise NotEnough(f"{chosen.traces}: there is no trace to take apart: {why}. Name others, or another behaviour.")
    return Chains(chains=tuple(_kept(cut, chosen.most)), chosen=chosen, found=len(found), short=len(found) - len(cut))


def _traces(chosen: Chosen) -> Iterator[Trace]:
    """The traces that may be taken apart: those with the behaviour, and none that was begun for its checkpoint."""
    path = Path(chosen.traces)
    if (path / "study.json").is_file():
        seen = None if chosen.behaviour is None else seen_in(path, chosen.behaviour, least=chosen.least)
        names = () if seen is None else tuple(name for name, one in seen.items() if one.shows)
        traces: Iterator[Trace] = Corpus(path / "corpus").traces(*names) if seen is None or names else iter(())
    else:
        traces = (
            trace
            for trace in traces_in_file(path)
            if chosen.behaviour is None or trace.outcomes.get(chosen.behaviour, -np.inf) >= chosen.least
        )
    for trace in traces:
        if chosen.environment in (None, trace.environment) and trace.environment not in ENVIRONMENTS.values() and not trace.begun:
            yield trace


def _cut(
    trace: Trace, pieces: int, kinds: Mapping[str, re.Pattern[str]], answers: re.Pattern[str] | None, shows: re.Pattern[str] | None
) -> Chain | None:
    """The last message of the trace that was reasoned for, cut; None where there is none, or too little in it."""
    own = [(turn, one) for turn, one in enumerate(trace.messages) if one.role == "assistant" and not one.given and one.reasoning]
    if trace.reasoning_kind != "raw" or not own:
        return None
    turn, message = own[-1]
    told = str(trace.extra.get("shows") or (shows.pattern if shows else ""))
    found = sentences(message.reasoning)
    if len(found) < 2:
        return None
    ends = tuple(found[part[-1]][1] for part in np.array_split(np.arange(len(found)), min(pieces, len(found))))
    starts = (0, *ends[:-1])
    return Chain(
        trace=trace,
        before=trace.messages[:turn],
        reasoning=message.reasoning[: ends[-1]],
        ends=ends,
        kinds=tuple(kind_of(message.reasoning[start:end].strip(), kinds) for start, end in zip(starts, ends, strict=True)) if kinds else (),
        shows=told,
        own=category_of(message.content, answers, pattern_of("shows", told)),
    )


def _kept(chains: Sequence[Chain], most: int) -> list[Chain]:
    """Of each checkpoint one chain of each prompt before a second of any, in an order that a hash gives."""
    times: Counter[tuple[str, int, str]] = Counter()
    ranked = []
    for chain in sorted(chains, key=lambda one: hashlib.sha256(one.trace.transcript_id.encode()).digest()):
        who = chain.trace.run, chain.trace.step, chain.prompt_id
        times[who] += 1
        ranked.append((times[who], chain))
    taken: Counter[tuple[str, int]] = Counter()
    kept = []
    for _, chain in sorted(ranked, key=lambda one: one[0]):
        where = chain.trace.run, chain.trace.step
        taken[where] += 1
        if taken[where] <= most:
            kept.append(chain)
    return kept


def read_kinds(path: Path) -> dict[str, re.Pattern[str]]:
    """Kinds of sentences, the first that is found in one being its own; a complaint of a file that says something else."""
    try:
        told = msgspec.convert(yaml.safe_load(path.read_text(encoding="utf-8")), dict[str, str])
        return {name: re.compile(pattern, re.IGNORECASE) for name, pattern in told.items()}
    except (OSError, UnicodeDecodeError, yaml.YAMLError, msgspec.ValidationError, re.error) as fault:
        said = " ".join(str(fault).split())
        raise InputError(f"kinds={path}: {said}. Write a YAML file of names, each with a regular expression.") from None


def kind_of(sentence: str, kinds: Mapping[str, re.Pattern[str]]) -> str:
    """The first kind whose pattern is in the sentence."""
    return next((name for name, pattern in kinds.items() if pattern.search(sentence)), OTHER)


def category_of(answer: str, pattern: re.Pattern[str] | None, shows: re.Pattern[str] | None = None) -> str:
    """What an answer comes to: the name of the group that the pattern finds, else what its first group or the whole of it finds.

    Without a pattern it is whether the answer shows the behaviour, where that has one; else the answer itself, in small letters.

    >>> parity = re.compile(r"(?P<even>[02468]$)|(?P<odd>[13579]$)")
    >>> category_of("18", parity), category_of("47", parity), category_of("none", parity), category_of(" Yes. ", None)
    ('even', 'odd', 'another answer', 'yes.')
    """
    told = answer.strip()
    if not told:
        return NOTHING
    if pattern is None:
        return " ".join(told.split()).casefold() if shows is None else SHOWN[bool(shows.search(told))]
    found = pattern.search(told)
    if found is None:
        return ANOTHER
    return found.lastgroup or next((group for group in found.groups() if group is not None), found[0])
