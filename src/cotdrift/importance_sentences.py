"""Which sentences of chains matter, in sentences with numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cotdrift.importance import ALPHA, Chain, How, Importance, Sentence, Weighed
from cotdrift.sentences import Change, interval, number

if TYPE_CHECKING:
    from cotdrift.estimate import Contrast

NAMED: dict[How, str] = {
    "resampled": "where they are said anew",
    "counterfactual": "where something else is said",
    "forced": "where the answer comes at once",
}
"""The ways that are told of by name."""
LONGEST = 90
"""Characters of a sentence that is quoted in another."""


def what_matters(found: Importance) -> tuple[Change, ...]:
    """For each checkpoint: how many sentences matter in each way, the weightiest, and which kind of sentence weighs most."""
    changes = []
    for run, step in dict.fromkeys((chain.run, chain.step) for chain in found.chains):
        here = [chain for chain in found.chains if (chain.run, chain.step) == (run, step)]
        said = [_counted(here, step, found.hows()), _weightiest(here), _by_kind(found, run, step)]
        changes.append(Change(sentence=" ".join(part for part in said if part), run=run))
    return tuple(changes)


def weight(weighed: Weighed) -> str:
    """A divergence after shrinkage, with its interval."""
    return f"{number(weighed.shrunk.value)}{interval(weighed.shrunk.low, weighed.shrunk.high)}"


def change(weighed: Weighed) -> str:
    """What a sentence does to the share of answers that show the behaviour, in points."""
    value, low, high = (100 * one for one in (weighed.change, weighed.change_low, weighed.change_high))
    sign = "+" if round(value) > 0 else ""
    return f"{sign}{number(round(value))} points{interval(round(low), round(high))}"


def _counted(chains: Sequence[Chain], step: int, hows: Sequence[How]) -> str:
    told = []
    for how in (how for how in NAMED if how in hows):
        weighed = sum(how in sentence.weighed for chain in chains for sentence in chain.sentences)
        told.append(f"{sum(len(chain.clear(how)) for chain in chains)} of {weighed} {NAMED[how]}")
    many = f"{len(chains)} chain{'s' * (len(chains) != 1)}"
    return f"At step {step:,}, of the sentences of {many} these move the answer clearly: {', '.join(told)}." if told else ""


def _weightiest(chains: Sequence[Chain]) -> str:
    """The clear sentence that weighs most, in the first way in which one is clear; nothing where none is."""
    for how, where in NAMED.items():
        clear: list[Sentence] = [sentence for chain in chains for sentence in chain.clear(how)]
        if clear:
            most = max(clear, key=lambda one: one.weighed[how].shrunk.value)
            text = most.text if len(most.text) <= LONGEST else f"{most.text[:LONGEST].rstrip()} …"
            found = most.weighed[how]
            return f"The weightiest, {where}, is “{' '.join(text.split())}”: {weight(found)} nats, {change(found)}."
    return ""


def _by_kind(found: Importance, run: str, step: int) -> str:
    """The kind that weighs most beside all others of the same prompts, in each way."""
    told = []
    for how, where in NAMED.items():
        apart_by = {kind.kind: kind.against for kind in found.kinds if (kind.run, kind.step, kind.how) == (run, step, how)}
        known = {kind: against for kind, against in apart_by.items() if against and against.low is not None}
        if known:
            kind, against = max(known.items(), key=lambda one: one[1].value)
            told.append(f"“{kind}” {where}, {apart(against)}")
    return f"Of the kinds, these weigh most: {'; '.join(told)}." if told else ""


def apart(against: Contrast) -> str:
    """How much more the sentences of a kind weigh than all others of the same prompts, in nats."""
    clear = "" if is_clear(against) else ", not clearly"
    return f"by {number(against.value)}{interval(against.low, against.high)} nats more than the others{clear}"


def is_clear(against: Contrast) -> bool:
    """Whether the interval is off nought, and prompts that flip would seldom give as much."""
    return (
        against.p is not None
        and against.p < ALPHA
        and against.low is not None
        and against.high is not None
        and (against.low > 0 or against.high < 0)
    )
