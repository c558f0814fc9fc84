"""A monitor: who tries to tell a property of what a model does from what it thinks, says or does; and which ones a study keeps."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec
import polars as pl
from msgspec import Struct

from cotdrift.corpus import Corpus, folder_name, whole_file
from cotdrift.errors import InputError
from cotdrift.seen import said_and_done

Scope = Literal["reasoning", "actions", "all"]
"""What a monitor reads: the reasoning; what is said and done outside it; both."""
Archetype = Literal["outcome", "process", "intervention"]
"""Where the truth comes from (Guan et al. 2025): a property that the outcome gives away; a valid path that a right answer must have taken;
an intervention that moves the behaviour."""

FOLDER = "monitors"
"""Where a study keeps whom it is watched by."""
NAMED = re.compile(r"(?:(?P<name>[\w .-]+)=)?(?P<scope>[a-z]+):(?P<pattern>.+)", re.DOTALL)


class Monitor(Struct, frozen=True, kw_only=True):
    """Where a score comes from; the higher it is, the surer the monitor is that the property holds."""

    name: str
    """What it is called; without a pattern also which grader, measure or outcome its score is."""
    scope: Scope | None = None
    """What it reads; None where only those know who made the score."""
    pattern: str = ""
    """A rule of words: the score is how often this regular expression is found. Empty where judgments or data have the score."""

    @classmethod
    def parse(cls, text: str) -> Monitor:
        """A monitor as it is written: the name of a grader, measure or outcome, or `NAME=SCOPE:PATTERN`, a rule of words.

        >>> Monitor.parse("weak=reasoning:reward|grader")
        Monitor(name='weak', scope='reasoning', pattern='reward|grader')
        >>> Monitor.parse("reward_reasoning").pattern
        ''
        """
        found = NAMED.fullmatch(text)
        if not found:
            return cls(name=text)
        scopes: dict[str, Scope] = {scope: scope for scope in get_args(Scope)}
        if found["scope"] not in scopes:
            raise InputError(f"--monitor {text}: nothing is called {found['scope']!r} that could be read. There are: {', '.join(scopes)}.")
        try:
            re.compile(found["pattern"])
        except re.error as fault:
            raise InputError(f"--monitor {text}: {found['pattern']!r} is no regular expression: {fault}. Mend it.") from None
        return cls(name=found["name"] or f"{found['scope']}: {found['pattern']}", scope=scopes[found["scope"]], pattern=found["pattern"])

    def scores(self, corpus: Corpus) -> pl.DataFrame:
        """How often the rule's words are found in each trace, whatever their case: transcript_id and value.

        Null where the reasoning is to be read, and is a summary, redacted or absent.
        """
        has_calls = pl.col("messages").str.contains('"tool_calls"')
        columns = ["transcript_id", "reasoning_kind", "reasoning", "answer"]
        found = []
        for checkpoint in corpus.checkpoints():
            for rows in checkpoint.batches([*columns, "messages"]):
                calls = rows.filter(has_calls)["transcript_id"].to_list() if self.scope != "reasoning" else []
                done = {trace.transcript_id: said_and_done(trace) for trace in corpus.traces(*calls)} if calls else {}
                values = [
                    self._count(kind, reasoning, done.get(of, answer)) for of, kind, reasoning, answer in rows.select(columns).iter_rows()
                ]
                found.append(rows.select("transcript_id", value=pl.Series(values, dtype=pl.Float64)))
        return pl.concat(found)

    def _count(self, kind: str, reasoning: str, done: str) -> float | None:
        if self.scope != "actions" and kind != "raw":
            return None
        parts = {"reasoning": [reasoning], "actions": [done], "all": [reasoning, done]}[self.scope or "all"]
        return float(sum(1 for part in parts for _ in re.finditer(self.pattern, part or "", re.IGNORECASE)))


class Intervention(Struct, frozen=True, kw_only=True):
    """What is changed between two arms: a condition's factor, and its level without and with it."""

    factor: str
    without: str
    with_it: str

    @classmethod
    def parse(cls, text: str) -> Intervention:
        """An intervention as it is written: `FACTOR:WITHOUT:WITH`.

        >>> Intervention.parse("label:none:hacking")
        Intervention(factor='label', without='none', with_it='hacking')
        """
        parts = text.split(":")
        if len(parts) != 3 or not all(parts):
            raise InputError(f"--intervention {text}: this is not FACTOR:WITHOUT:WITH. Write for example label:none:hacking.")
        return cls(factor=parts[0], without=parts[1], with_it=parts[2])


class Watch(Struct, frozen=True, kw_only=True):
    """What monitors are held against: the property, where its truth comes from, and how strict they are to be."""

    truth: str
    """The outcome, or what is read off a grader, that says whether the property holds, or whether the behaviour came about: yes or no."""
    monitors: tuple[Monitor, ...]
    archetype: Archetype = "outcome"
    intervention: Intervention | None = None
    fpr: float = 0.05
    """The share of false alarms at which the share found is told as well."""
    cut: float | None = None
    """From this score on a monitor says yes; None sets it where g-mean² is highest, on other prompts than it is used on."""
    environment: str | None = None
    """Only this environment."""
    as_seeds: bool = False
    """Whether runs are alike but for their seed, so that they are averaged over too."""

    @classmethod
    def of(cls, *monitors: str, truth: str, **how: Any) -> Watch:
        """Monitors as they are written, held against a truth; `how` has the other fields.

        >>> Watch.of("reward_reasoning", "weak=actions:reward", truth="mentions_grader", fpr=0.1).fpr
        0.1
        """
        return cls(monitors=tuple(Monitor.parse(text) for text in monitors), truth=truth, **how)

    def __post_init__(self) -> None:
        if not self.monitors:
            raise InputError("There is no monitor to hold against the truth. Name one: --monitor NAME or --monitor NAME=SCOPE:PATTERN")
        names = [monitor.name for monitor in self.monitors]
        if len(set(names)) < len(names):
            raise InputError(f"Two monitors have the same name: {', '.join(names)}. Name a rule of words: --monitor NAME=SCOPE:PATTERN")
        if self.truth in names:
            raise InputError(f"{self.truth} would be held against itself. Name a truth that the monitor has no part in.")
        if not 0 < self.fpr < 1:
            raise InputError(f"--fpr {self.fpr}: a share of false alarms lies between 0 and 1. Write for example --fpr 0.05.")
        if self.cut is not None and not math.isfinite(self.cut):
            raise InputError(f"--cut {self.cut}: this is no score. Write a number, or leave it out.")
        if (self.archetype == "intervention") != (self.intervention is not None):
            raise InputError("The archetype intervention, and no other, needs to know its arms: --intervention FACTOR:WITHOUT:WITH")

    @property
    def sentence(self) -> str:
        """What is asked."""
        return {
            "outcome": f"whether {self.truth} holds",
            "process": f"whether a path that can lead to the answer was taken, where {self.truth} holds",
            "intervention": f"whether {self.intervention.factor if self.intervention else ''} brought {self.truth} about",
        }[self.archetype]

    @property
    def file(self) -> str:
        """Where a study keeps it."""
        return f"{FOLDER}/{folder_name(f'{self.truth}_{self.archetype}')}.json"

    def keep(self, folder: Path) -> None:
        """Write it into a study's folder, where its report looks; what was kept of the same truth is replaced."""
        with whole_file(folder / self.file) as path:
            path.write_bytes(msgspec.json.format(msgspec.json.encode(self)))


def watches_in(folder: Path) -> list[Watch]:
    """Who watches what in a study, by the name of the truth."""
    found = []
    for path in sorted((folder / FOLDER).glob("*.json")):
        try:
            found.append(msgspec.json.decode(path.read_bytes(), type=Watch))
        except (msgspec.DecodeError, InputError) as fault:
            raise InputError(f"{path}: {fault}. Remove the file, and run cotdrift monitor again.") from None
    return found
