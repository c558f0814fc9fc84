"""Semantic drift: how far what a term stands among at one checkpoint is from what it stood among at the first, and as how much that counts.

The energy distance between the vectors of its uses says how far; what it amounts to is said as a dose. Uses of other words, as frequent
at the first checkpoint, are read with the term in their word's place: had a share a of the term's uses been replaced by such uses, the
distance would be a² times theirs. So the dose is the root of the distance over theirs: "like replacing 35 % of its uses by another
word's". After Rosenfeld and Erk (2018) and Shoemark et al. (2019), who plant changes of sense by donor words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from msgspec import Struct

from cotdrift.comparisons.classifier import told_apart
from cotdrift.comparisons.energy import Cloud, Sides, held_against
from cotdrift.estimate import Floats

FEW_USES, FEW_PROMPTS = 50, 30
"""Below these numbers of uses on a side, or of prompts, a small change is missed."""
RESAMPLES = 2000
LEVEL = 0.95
LEAST_DONORS = 3


class Dose(Struct, frozen=True, kw_only=True):
    """The share of a term's uses whose replacement by another word's would move it as far; above 1 it is further than another word."""

    value: float
    low: float
    high: float
    donors: int
    """How many other words it is measured by."""


class Apart(Struct, frozen=True, kw_only=True):
    """A term's uses at one checkpoint against those at another."""

    energy: float
    """The energy distance: nought where the mean vectors agree, slightly below by chance."""
    low: float
    high: float
    p: float
    p_adjusted: float | None = None
    """Over the terms that were asked about together, after Benjamini and Hochberg."""
    dose: Dose | None = None
    """None where too few other words are used, or the term's uses are no nearer to each other than to theirs."""
    auc: float
    """How well a classifier tells the two apart on prompts that it has not seen; 0.5 by chance."""
    auc_p: float
    within_first: float
    """The mean distance of two uses at the first checkpoint: how many things the term is used for."""
    within: float
    """The same at this one."""
    across: float
    uses_first: int
    uses: int
    prompts: int
    paired: bool
    """Whether both answered the same prompts; else whole prompts are exchanged."""
    warnings: tuple[str, ...] = ()


class Donor(Struct, frozen=True, kw_only=True):
    """Another word, whose uses were read with the term in its place."""

    word: str
    energy: float
    """How far they are from the term's own uses at the first checkpoint."""
    uses: int


def apart(first: Cloud, second: Cloud, *, donors: Mapping[str, Cloud] | None = None, seed: int = 0) -> tuple[Apart, list[Donor]] | None:
    """How far two sets of uses are apart; `donors` are the planted uses of other words. None where too few prompts use the term."""
    sides = held_against(first, second)
    if sides is None:
        return None
    energy, spread = sides.energy(), sides.spread()
    drawn = sides.drawn(resamples=RESAMPLES, seed=seed)
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    told = told_apart(sides, seed=seed)
    planted = planted_energies(first, donors or {})
    return (
        Apart(
            energy=energy,
            low=min(float(low), energy),
            high=max(float(high), energy),
            p=sides.p(draws=1999, seed=seed),
            dose=dose_of(energy, drawn, [donor.energy for donor in planted], seed=seed),
            auc=told.auc,
            auc_p=told.p,
            within_first=spread.first,
            within=spread.second,
            across=spread.across,
            uses_first=len(sides.clouds[0].prompts),
            uses=len(sides.clouds[1].prompts),
            prompts=sides.prompts,
            paired=sides.paired,
            warnings=tuple(_warnings(sides)),
        ),
        planted,
    )


def planted_energies(first: Cloud, donors: Mapping[str, Cloud]) -> list[Donor]:
    """How far the planted uses of each other word are from the term's own; those with too few prompts are left out."""
    found = ((word, cloud, held_against(first, cloud)) for word, cloud in donors.items())
    return [Donor(word=word, energy=sides.energy(), uses=len(cloud.prompts)) for word, cloud, sides in found if sides is not None]


def dose_of(energy: float, drawn: Floats, planted: Sequence[float], *, seed: int = 0) -> Dose | None:
    """The dose, with an interval over prompts (`drawn`: the distance in each draw of them) and over the words that were planted."""
    of_words = np.array(planted, np.float64)
    if len(of_words) < LEAST_DONORS or of_words.mean() <= 0:
        return None
    rng = np.random.default_rng(seed)
    whole = of_words[rng.integers(0, len(of_words), (len(drawn), len(of_words)))].mean(axis=1)
    doses = np.sqrt(np.maximum(drawn, 0) / np.maximum(whole, of_words.mean() / 10))
    low, high = np.quantile(doses, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    value = float(np.sqrt(max(energy, 0.0) / of_words.mean()))
    return Dose(value=value, low=min(float(low), value), high=max(float(high), value), donors=len(of_words))


def _warnings(sides: Sides) -> list[str]:
    said, fewest = [], min(len(cloud.prompts) for cloud in sides.clouds)
    if fewest < FEW_USES or sides.prompts < FEW_PROMPTS:
        said.append(f"{fewest} uses over {sides.prompts} prompts are few: a small change would be missed.")
    if not sides.paired:
        said.append("The two checkpoints use it in answer to different prompts: what differs may be the prompts.")
    return said
