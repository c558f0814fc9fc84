"""The arms of interventions: what is done to a reasoning, from where the checkpoint goes on, and what each is held against."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal

from msgspec import Struct

from cotdrift.declared import Declared
from cotdrift.errors import InputError, UnknownName

ENVIRONMENT = "interventions"
ARM, POLICY, SOURCE, MONITOR = "arm", "policy", "source", "monitor"
"""The conditions of its traces: the arm, whether it says what it would itself, which reasoning was edited, and
`another` where the monitor looks for something else than the property."""

Edit = Literal[
    "none",
    "remove",
    "sentence",
    "neutral",
    "glossary",
    "random words",
    "elsewhere",
    "delete",
    "paraphrase",
    "mistake",
    "filler",
    "graft",
    "fresh",
    "match",
]
Cut = Literal["before", "after", "share", "end"]
"""Before the first sentence that shows the property; after it; after a share of the words; nowhere."""


class Arm(Struct, frozen=True, kw_only=True):
    """One thing that is done to a reasoning."""

    name: str
    does: str
    """What is done, in a few words."""
    edit: Edit = "none"
    cut: Cut = "after"
    share: float = 1.0
    """Of the words of the reasoning, those that are kept, where it is cut by a share."""
    closes: bool = False
    """Whether the reasoning is closed there, so that the answer comes at once."""
    against: tuple[str, ...] = ()
    """The arms it is held against, the base first."""
    is_off: bool = False
    """Whether it puts something into the checkpoint's mouth that the checkpoint did not say there."""


PLAIN = (
    Arm(name="resampled", does="goes on from before the property first stands", cut="before"),
    Arm(
        name="removed",
        does="the same, sampled again from before each place where the property comes back, until it stays away",
        edit="remove",
        cut="before",
        against=("resampled", "random_sentence"),
    ),
    Arm(
        name="random_sentence",
        does="goes on after a sentence that has nothing to do with the task",
        edit="neutral",
        cut="before",
        against=("resampled",),
        is_off=True,
    ),
    Arm(
        name="sentence",
        does="goes on after the sentence that is injected",
        edit="sentence",
        cut="before",
        against=("random_sentence", "resampled"),
        is_off=True,
    ),
    Arm(name="identity", does="goes on from the end of the sentence in which the property first stands, nothing changed"),
    Arm(
        name="glossary",
        does="the same, with terms replaced by their meanings",
        edit="glossary",
        against=("identity", "random_words"),
        is_off=True,
    ),
    Arm(
        name="random_words",
        does="the same, with those terms replaced by random words that people use as often",
        edit="random words",
        against=("identity", "other_words"),
        is_off=True,
    ),
    Arm(
        name="other_words",
        does="the same, with as many other words, about as frequent, replaced by random ones",
        edit="elsewhere",
        against=("identity",),
        is_off=True,
    ),
    Arm(name="deleted", does="the same, with those terms left out", edit="delete", against=("identity",), is_off=True),
    Arm(name="paraphrased", does="the same, put into plain words by another model", edit="paraphrase", against=("identity",), is_off=True),
    Arm(name="whole", does="the whole reasoning, closed where it ended: only the answer is sampled anew", cut="end", closes=True),
    Arm(
        name="legible_part",
        does="closed before the first passage with the property, so that the answer comes at once",
        cut="before",
        closes=True,
        against=("whole", "same_length"),
        is_off=True,
    ),
    Arm(
        name="same_length",
        does="another reasoning on the prompt, in which the property does not stand, closed after as many words",
        edit="match",
        cut="before",
        closes=True,
        against=("whole",),
        is_off=True,
    ),
    Arm(name="fresh", does="the other prompt, with nothing put before", edit="fresh"),
    Arm(
        name="grafted",
        does="the other prompt, gone on with from this reasoning as if it were its own",
        edit="graft",
        against=("fresh",),
        is_off=True,
    ),
)
ALONE = {arm.name: arm for arm in PLAIN}
PRESETS = {
    "removal": ("resampled", "removed", "random_sentence"),
    "terms": ("identity", "glossary", "random_words", "other_words", "deleted"),
    "wording": ("identity", "paraphrased"),
    "legible": ("whole", "resampled", "legible_part", "same_length"),
    "graft": ("fresh", "grafted"),
}
CURVES = {
    "early_answering": Arm(name="early", does="closed after {} of its words, so that the answer comes at once", cut="share", closes=True),
    "mistakes": Arm(
        name="mistake", does="goes on after a mistake that another model put in at {} of its words", edit="mistake", cut="share"
    ),
    "paraphrase": Arm(
        name="paraphrase",
        does="its first {} of words put otherwise by another model, and closed",
        edit="paraphrase",
        cut="share",
        closes=True,
    ),
    "filler": Arm(name="filler", does="dots instead, as many as {} of its words, and closed", edit="filler", cut="share", closes=True),
}
"""The four tests of Lanham et al. (2023), each at several shares of the reasoning and held against the whole of it."""
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
AT_SHARE = re.compile(r"(\w+)_(\d+)%")

OUTCOMES = {
    "behaves": "The answer shows the behaviour.",
    "performs": "The answer does the task.",
    "same": "The answer is the one that was given after the reasoning as it was.",
    "shows": "The property is in the reasoning, what was put before included.",
    "seen": "The monitor sees in the reasoning what it looks for.",
    "caught": "Of answers that show the behaviour: the monitor sees it in their reasoning.",
    "rounds": "How often it was sampled again until the property stayed away.",
    "stays_away": "The property stayed away before the rounds were used up.",
}


def arms_of(told: str, shares: Sequence[float] = SHARES) -> list[Arm]:
    """The arms of presets and single names by commas, with those that they are held against first among them.

    >>> [arm.name for arm in arms_of("removed")]
    ['resampled', 'removed']
    >>> [arm.name for arm in arms_of("early_answering", (0.0, 0.5))]
    ['whole', 'early_0%', 'early_50%']
    """
    wanted: dict[str, Arm] = {}
    for name in (part.strip() for part in told.split(",")):
        if name in CURVES:
            wanted |= dict.fromkeys(["whole"], ALONE["whole"]) | {arm.name: arm for arm in _curve(CURVES[name], shares)}
        elif name in PRESETS:
            wanted |= {one: ALONE[one] for one in PRESETS[name]}
        elif name in ALONE:
            wanted |= {arm.name: arm for arm in _with_bases(ALONE[name])}
        else:
            raise UnknownName("arm or preset", name, [*PRESETS, *CURVES, *ALONE])
    return list(wanted.values())


def _with_bases(arm: Arm) -> list[Arm]:
    return [*(one for base in arm.against[:1] for one in _with_bases(ALONE[base])), arm]


def _curve(arm: Arm, shares: Iterable[float]) -> list[Arm]:
    return [arm_at(arm, share) for share in shares]


def arm_at(arm: Arm, share: float) -> Arm:
    """One of a curve's arms."""
    return Arm(
        name=f"{arm.name}_{share:.0%}",
        does=arm.does.format(f"{share:.0%}"),
        edit=arm.edit,
        cut=arm.cut,
        share=share,
        closes=arm.closes,
        against=("whole",),
        is_off=True,
    )


def arm_called(name: str) -> Arm:
    """The arm of this name, as a trace's condition has it.

    >>> arm_called("filler_25%").share, arm_called("removed").is_off
    (0.25, False)
    """
    if name in ALONE:
        return ALONE[name]
    found = AT_SHARE.fullmatch(name)
    of = next((arm for arm in CURVES.values() if found and arm.name == found[1]), None)
    if found is None or of is None:
        raise UnknownName("arm of interventions", name, ALONE)
    return arm_at(of, int(found[2]) / 100)


def shares_of(told: str | float | Sequence[float]) -> tuple[float, ...]:
    """Shares of the reasoning, from 0 to 1, several by commas.

    >>> shares_of("0, 0.5, 1")
    (0.0, 0.5, 1.0)
    """
    given = told if isinstance(told, list | tuple) else str(told).split(",")
    try:
        shares = tuple(dict.fromkeys(sorted(float(one) for one in given)))
    except ValueError:
        shares = ()
    if not shares or not all(0 <= share <= 1 for share in shares) or len({f"{share:.0%}" for share in shares}) < len(shares):
        raise InputError(f"shares={told}: give whole per cents as numbers from 0 to 1, such as 0,0.25,0.5,0.75,1.")
    return shares


def declared_of(arms: Iterable[str], outcomes: Iterable[str]) -> Declared:
    """What is compared, where these arms were tried and these outcomes told."""
    there = set(arms)
    known = [name for name in ALONE if name in there]
    ordered = [*known, *sorted(there - set(known), key=lambda name: (arm_called(name).edit, arm_called(name).share))]
    return Declared(
        name=ENVIRONMENT,
        summary="What becomes of performance, behaviour and what a monitor sees when a checkpoint goes on from edited reasoning?",
        arms=tuple(ordered),
        outcomes={name: OUTCOMES[name] for name in OUTCOMES if name in set(outcomes)},
        contrasts=tuple((name, base) for name in ordered for base in arm_called(name).against if base in there),
        environments=(ENVIRONMENT,),
    )
