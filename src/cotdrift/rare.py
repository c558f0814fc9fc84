"""Rare events: everything is graded, traces are labelled by the stratum of their score, and the rate is told with what it may hide.

A grader that only says yes or no gives no upper bound for something rare: one miss among the few labelled of all it said no to stands for
hundreds. Scores in several strata do better, as those just below the grader's yes are where its misses are.
"""

from functools import partial

import numpy as np
from msgspec import Struct
from numpy.typing import ArrayLike
from scipy.special import betainc, betaincinv, ndtri, stdtrit

from cotdrift.errors import InputError, NotEnough
from cotdrift.estimate import Estimate, Floats, Ints, checked_chances

FINE = 100
"""Bins of the histogram by which scores are cut into strata."""


class Stratum(Struct, frozen=True, kw_only=True):
    """Traces of like scores, of which some were labelled."""

    traces: int
    labels: int
    positives: int
    """Labelled traces whose label says yes."""
    value: float | None
    """The share that says yes; None where none is labelled."""
    low: float
    """Clopper and Pearson's bounds, which hold for all strata together."""
    high: float


class Rare(Estimate, frozen=True, kw_only=True):
    """The rate of something rare, with what is confirmed and what cannot be excluded told apart."""

    labels: int
    positives: int
    confirmed: float
    """Labelled traces that say yes, over all traces: these traces have at least so many."""
    at_least: float
    """The rate is no lower: every stratum at its lower bound. Wider than the interval, and never too narrow."""
    at_most: float
    """The rate is no higher: every stratum at its upper bound."""
    strata: tuple[Stratum, ...]

    @property
    def widest(self) -> int | None:
        """The stratum that most of the upper bound comes from, where more labels would lower it most; None without traces."""
        told = [stratum.traces * stratum.high for stratum in self.strata]
        return int(np.argmax(told)) if told else None

    def sentence(self) -> str:
        """What is confirmed, and what cannot be excluded, per million traces."""
        if self.widest is None:
            return "There are no traces."
        widest = self.strata[self.widest]
        estimate = "" if self.value is None else f", estimated at {1e6 * self.value:,.0f}"
        share = widest.traces * widest.high / (self.at_most * self.traces)
        return (
            f"Confirmed {1e6 * self.confirmed:,.0f} per million of {self.traces:,} traces{estimate}; at least {1e6 * self.at_least:,.0f} "
            f"and at most {1e6 * self.at_most:,.0f}. {100 * share:.0f} % of the upper bound comes from {widest.traces:,} traces of which "
            f"{widest.labels:,} are labelled, {widest.positives:,} of them yes."
        )


def score_strata(scores: ArrayLike, *, strata: int = 5) -> Ints:
    """The stratum of each trace, from the lowest scores on; those without a score (NaN) are the last.

    Cut where the square root of the scores' density adds up to equal parts (Dalenius and Hodges 1959): rare high scores are cut finely.

    >>> score_strata([0.1, 0.9, 0.1, float("nan"), 0.5], strata=3).tolist()
    [0, 2, 0, 3, 1]
    """
    values = np.asarray(scores, np.float64)
    known = np.isfinite(values)
    distinct = np.unique(values[known])
    if len(distinct) <= strata:
        cuts = distinct[1:]
    else:
        edges = np.linspace(distinct[0], distinct[-1], FINE + 1)
        places = np.searchsorted(edges, values[known], side="right").clip(1, FINE) - 1
        rooted = np.sqrt(np.bincount(places, minlength=FINE)).cumsum()
        cuts = edges[1 + np.searchsorted(rooted, rooted[-1] * np.arange(1, strata) / strata)]
    codes = np.searchsorted(np.unique(cuts), np.where(known, values, 0.0), side="right")
    codes[~known] = len(cuts) + 1
    return np.unique(codes, return_inverse=True)[1].astype(np.int64)


def neyman(sizes: ArrayLike, rates: ArrayLike, labels: int, *, least: int = 10) -> Ints:
    """How many of so many labels go to each stratum, so that the rate is told best (Neyman 1934).

    In proportion to size × √(rate × (1 − rate)), by rates that are guessed, or were seen in a first round; at least `least` each, and never
    more than there are. A guess of none is taken for half a trace. This makes the rate surer; a lower upper bound takes more labels in the
    large strata where none is expected.

    >>> neyman([9_000, 900, 100], [0.001, 0.05, 0.5], 300).tolist()
    [161, 111, 28]
    """
    size, guessed = np.asarray(sizes, np.int64), np.asarray(rates, np.float64)
    floor = np.minimum(size, least)
    if labels < floor.sum():
        raise NotEnough(f"{labels} labels are too few for {len(size)} strata of at least {least} each. Take more labels, or fewer strata.")
    if labels >= size.sum():
        return size
    edge = 0.5 / (size + 1)
    guessed = np.clip(guessed, edge, 1 - edge)
    wanted = size * np.sqrt(guessed * (1 - guessed))
    low, high = 0.0, float((size[size > 0] / wanted[size > 0]).max())
    for _ in range(200):  # the factor at which all shares, none below its floor or above its size, add up
        middle = (low + high) / 2
        low, high = (middle, high) if np.clip(middle * wanted, floor, size).sum() <= labels else (low, middle)
    exact = np.clip(low * wanted, floor, size)
    whole: Ints = np.floor(exact + 1e-9).astype(np.int64)
    order = np.argsort(np.where(whole < size, whole - exact, np.inf), kind="stable")
    whole[order[: labels - int(whole.sum())]] += 1
    return whole


def two_phase(strata: ArrayLike, labels: ArrayLike, prompts: ArrayLike, *, chances: ArrayLike | None = None, level: float = 0.95) -> Rare:
    """The rate over all traces, from labels (1, 0, NaN where there is none) that are random within each stratum.

    Each stratum's labels stand for all its traces (Horvitz and Thompson 1952). `chances` say how likely each trace was to be labelled,
    where that differs within a stratum. The interval puts together the strata's own by their distances from the rate (Zou and Donner 2008),
    each of as many independent labels as the prompts leave of them (Korn and Graubard 1998), so that none seen is not taken for none there.

    >>> found = two_phase([1] * 40 + [0] * 960, [1] * 15 + [0] * 25 + [0] * 200 + [float("nan")] * 760, range(1000))
    >>> found.value, round(found.low, 4), round(found.high, 4), round(found.at_most, 4)
    (0.015, 0.0081, 0.0345, 0.0436)
    """
    told, given = np.asarray(labels, np.float64), np.asarray(strata)
    where = np.unique(given, return_inverse=True)[1]
    codes = np.unique(np.asarray(prompts), return_inverse=True)[1]
    labelled = np.isfinite(told)
    if not np.isin(told[labelled], (0, 1)).all():
        raise InputError("Labels of something rare are 1, 0, or NaN where there is none.")
    n, n_prompts, kinds = len(told), int(codes.max(initial=-1)) + 1, int(where.max(initial=-1)) + 1
    made = partial(Rare, traces=n, prompts=n_prompts, missing=0, labels=int(labelled.sum()), positives=int(np.nansum(told)), level=level)
    if not n:
        return made(value=None, method="no traces", confirmed=0.0, at_least=0.0, at_most=1.0, strata=())
    weights = np.where(labelled, 1.0, 0.0)
    if chances is not None:
        weights[labelled] = 1 / checked_chances(chances, labelled)
    yes = np.where(labelled, told, 0.0)
    share, total = np.bincount(where, minlength=kinds) / n, np.bincount(where, weights).astype(np.float64)
    known = total > 0
    rates = np.divide(np.bincount(where, weights * yes), total, out=np.zeros(kinds), where=known)
    rate = min(float(share @ rates), 1.0)
    sizes, first = _independent(where, weights, yes, codes, share=share, total=total, rates=rates, level=level)
    exact = [
        _clopper_pearson(p, size, 1 - (1 - level) / kinds) if size else (0.0, 1.0) for p, size in zip(rates.tolist(), sizes, strict=True)
    ]
    lows, highs = (np.array(column) for column in zip(*exact, strict=True))
    counts = np.stack([np.bincount(where, minlength=kinds), np.bincount(where, labelled), np.bincount(where, yes)], axis=1).astype(int)
    made = partial(
        made,
        confirmed=float(np.nansum(told)) / n,
        at_least=float(share @ lows),
        at_most=min(float(share @ highs), 1.0),
        strata=tuple(
            Stratum(traces=size, labels=many, positives=said, value=p if many else None, low=low, high=high)
            for (size, many, said), p, (low, high) in zip(counts.tolist(), rates.tolist(), exact, strict=True)
        ),
    )
    if not known.all():
        return made(value=None, method="two-phase; a stratum has no labels, so there are bounds and no rate")
    parts = [_mid_p(p, size, level) for p, size in zip(rates.tolist(), sizes, strict=True)]
    below = sum((w * (p - low)) ** 2 for w, p, (low, _) in zip(share, rates, parts, strict=True))
    above = sum((w * (high - p)) ** 2 for w, p, (_, high) in zip(share, rates, parts, strict=True))
    if first:  # what is not known of how many traces each stratum has
        low, high = _mid_p(rate, rate * (1 - rate) / first, level)
        below, above = below + (rate - low) ** 2, above + (high - rate) ** 2
    return made(
        value=rate,
        low=max(rate - float(below) ** 0.5, 0.0),
        high=min(rate + float(above) ** 0.5, 1.0),
        method="two-phase; strata's intervals put together, clustered by prompt",
    )


def _independent(
    where: Ints, weights: Floats, yes: Floats, codes: Ints, *, share: Floats, total: Floats, rates: Floats, level: float
) -> tuple[list[float], float]:
    """As how many independent labels each stratum's count, and the variance that the strata's own sizes bring.

    Prompts make labels count for less: by as much as the variance over prompts is above that of independent labels. Few yes cannot show
    that, so it is drawn towards each prompt's labels' counting as one, as if one more yes had been seen.
    """
    n, rate = len(where), float(share @ rates)
    n_prompts = int(codes.max()) + 1
    scale = n_prompts / max(n_prompts - 1, 1)
    sizes = np.bincount(codes, rates[where] - rate) / n
    drawn = np.divide(share, total, out=np.zeros(len(share)), where=total > 0)[where] * weights * (yes - rates[where])
    sums = sizes + np.bincount(codes, drawn)
    first, whole = scale * float(sizes @ sizes), scale * float(sums @ sums)
    squared = np.bincount(where, weights**2)
    independent = np.divide(total**2, squared, out=np.zeros(len(total)), where=squared > 0)
    alone = float((share**2 * rates * (1 - rates) / np.where(independent > 0, independent, np.inf)).sum()) + first
    pairs, place = np.unique(where * n_prompts + codes, return_inverse=True)
    together = np.bincount(pairs // n_prompts, np.bincount(place, weights) ** 2)
    most = np.divide(together, squared, out=np.ones(len(total)), where=squared > 0)
    effect = max(whole / alone, 1.0) if alone else 1.0
    weighted = weights * yes
    seen = float(weighted.sum() ** 2 / (weighted @ weighted)) if weighted.any() else 0.0
    effects = (most + seen * np.clip(effect, 1, most)) / (1 + seen)
    asked = len(np.unique(codes[weights > 0]))
    fewer = float(ndtri((1 + level) / 2) / stdtrit(max(asked - 1, 1), (1 + level) / 2)) ** 2
    return (independent / effects * fewer).tolist(), first * max(effect, 1.0)


def _mid_p(rate: float, n: float, level: float) -> tuple[float, float]:
    """Clopper and Pearson's interval with half of the chance of just so many, which covers as it says on average (Berry and Armitage 1995).

    Where none or all said yes it is Clopper and Pearson's own.
    """
    if rate in (0.0, 1.0):
        return _clopper_pearson(rate, n, level)
    yes, tail = rate * n, (1 - level) / 2

    def root(chance: float, low: float, high: float) -> float:
        for _ in range(60):
            middle = (low + high) / 2
            more = (betainc(yes, n - yes + 1, middle) + betainc(yes + 1, n - yes, middle)) / 2
            low, high = (middle, high) if more < chance else (low, middle)
        return (low + high) / 2

    return root(tail, 0.0, rate), root(1 - tail, rate, 1.0)


def _clopper_pearson(rate: float, n: float, level: float) -> tuple[float, float]:
    """Clopper and Pearson's interval, also for a number of labels that is not whole."""
    tail, yes = (1 - level) / 2, rate * n
    low = 0.0 if rate <= 0 else float(betaincinv(yes, n - yes + 1, tail))
    high = 1.0 if rate >= 1 else float(betaincinv(yes + 1, n - yes, 1 - tail))
    return low, high
