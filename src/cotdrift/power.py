"""Power: how many prompts, traces, raters and labels a question needs, worked out before any of them is paid for.

Prompts are the clusters throughout: `correlation` is that between two traces of one prompt.
"""

from collections.abc import Callable
from math import ceil, comb, isfinite, log, log1p

import numpy as np
from msgspec import Struct
from scipy.special import betaln, ndtri, stdtrit

from cotdrift.errors import InputError
from cotdrift.estimate import Floats

LARGEST = 100_000_000
"""More of anything is not to be had."""
NO_CORRELATION = 1e-6
"""Below this alpha answers are taken for independent: beta functions are too large to be told apart there."""
FEW = 20
"""Labelled positives below which intervals are exact, and wider than told here."""


class Pairs(Struct, frozen=True, kw_only=True):
    """What it takes to tell two checkpoints' rates apart, both sampled on the same prompts."""

    before: float
    after: float
    samples: int
    """Traces a prompt and checkpoint."""
    prompts: int
    traces: int
    """On both checkpoints together."""


class Labels(Struct, frozen=True, kw_only=True):
    """What it takes to correct a grader's rate to a width."""

    rate: float
    width: float
    """Of the whole interval."""
    alone: int | None
    """Labels on random traces of these prompts, were there no grader; None where the prompts are too few for the width."""
    corrected: int | None
    """Labels on a random part of the graded traces (PPI++); None where even labelling all of them leaves a wider interval."""
    separate: int | None
    """Labels on traces from elsewhere, of the same rate (Rogan-Gladen); None where the graded traces are too few for the width."""
    positives: float | None
    """Labels that say yes, of the corrected number; below 20 the interval is exact, and wider than asked. None where that number is."""


class Items(Struct, frozen=True, kw_only=True):
    """What it takes to measure agreement (alpha on yes and no) to a width."""

    alpha: float
    rate: float
    width: float
    raters: int
    items: int
    ratings: int
    """All raters together."""


class Clean(Struct, frozen=True, kw_only=True):
    """What it takes to exclude a rate, if nothing is found."""

    rate: float
    labels: int


def tell_apart(
    before: float, after: float, *, samples: int = 8, correlation: float = 0.2, kept: float = 0.5, alpha: float = 0.05, power: float = 0.8
) -> Pairs:
    """How many prompts tell two checkpoints' rates apart, each prompt paired with itself.

    `kept` is how much of what lies between prompts is the same at both checkpoints. Miller (2024), equation for paired prompts with several
    samples each; t quantiles, as prompts may be few.

    >>> tell_apart(0.2, 0.3, samples=8).prompts, tell_apart(0.2, 0.3, samples=1).prompts
    (61, 264)
    """
    _check(before=before, after=after, kept=kept)
    if before == after:
        raise InputError("Rates that are the same cannot be told apart: give two different ones.")
    first, last = before * (1 - before), after * (1 - after)
    between = correlation * (first + last - 2 * kept * (first * last) ** 0.5)
    within = (1 - correlation) * (first + last) / samples
    prompts = paired_prompts(after - before, between + within, alpha=alpha, power=power)
    return Pairs(before=before, after=after, samples=samples, prompts=prompts, traces=2 * prompts * samples)


def paired_prompts(difference: float, variance: float, *, alpha: float = 0.05, power: float = 0.8) -> int:
    """How many prompts find a mean difference, when a prompt's own difference has this variance; by t quantiles (Guenther 1981).

    >>> paired_prompts(0.03, 1 / 9)
    971
    """
    squared = variance / difference**2
    prompts = max(ceil((ndtri(1 - alpha / 2) + ndtri(power)) ** 2 * squared), 2)
    while prompts < LARGEST and (stdtrit(prompts - 1, 1 - alpha / 2) + stdtrit(prompts - 1, power)) ** 2 * squared > prompts:
        prompts += 1
    return prompts


def correct(
    rate: float,
    width: float,
    *,
    sensitivity: float = 0.8,
    specificity: float = 0.97,
    traces: int = 10_000,
    prompts: int | None = None,
    correlation: float = 0.2,
    level: float = 0.95,
) -> Labels:
    """How many labels correct a grader's rate to an interval of this width.

    By the variance of PPI++ (Angelopoulos et al. 2023) with the best weight: a grader explains R² of the labels' variance, and labels pay
    for the rest. For separate labels by that of Rogan and Gladen (1978). `prompts` are those of the graded traces; None has each trace
    its own.

    >>> correct(0.05, 0.0322, traces=20_000).corrected
    400
    """
    _check(rate=rate, sensitivity=sensitivity, specificity=specificity)
    if sensitivity + specificity <= 1:
        raise InputError("A grader with sensitivity + specificity of at most 1 is no better than chance, and corrects nothing.")
    target = (width / (2 * float(ndtri((1 + level) / 2)))) ** 2
    said = rate * sensitivity + (1 - rate) * (1 - specificity)
    better, truth, graded = sensitivity + specificity - 1, rate * (1 - rate), said * (1 - said)
    explained = better**2 * truth / graded
    errors = rate * sensitivity * (1 - sensitivity) + (1 - rate) * specificity * (1 - specificity)
    shared = truth * correlation * max(traces / (prompts or traces) - 1, 0) / traces  # random labels pay for prompts as all traces do

    def counted(one: float, rest: float, most: int = LARGEST) -> int | None:
        return _least(lambda n: one / n + rest <= target, most)

    corrected = counted(truth * (1 - explained), truth * explained / traces + shared, traces)
    return Labels(
        rate=rate,
        width=width,
        alone=counted(truth, shared),
        corrected=corrected,
        separate=counted(errors / better**2, graded / better**2 / traces + shared),
        positives=None if corrected is None else corrected * rate,
    )


def agree(
    alpha: float,
    width: float,
    *,
    rate: float = 0.2,
    raters: int = 3,
    correlation: float = 0.2,
    prompts: int | None = None,
    level: float = 0.95,
) -> Items:
    """How many items measure Krippendorff's alpha of yes and no to an interval of this width.

    By its large-sample variance when raters' yes on an item follow the common-correlation model, of which Bloch and Kraemer (1989) give the
    formula for two raters. `prompts` are those of the items; None has each item its own.

    >>> agree(0.6, 0.2, rate=0.5, raters=2).items, agree(0.6, 0.2, rate=0.5, raters=5).items
    (246, 95)
    """
    _check(rate=rate, alpha=alpha)
    if raters < 2:
        raise InputError("One rater agrees with nobody: give two or more.")
    target, variance = (width / (2 * float(ndtri((1 + level) / 2)))) ** 2, alpha_variance(alpha, rate=rate, raters=raters)
    items = _least(lambda n: variance * _effect(n, prompts or n, correlation) / n <= target, LARGEST) or LARGEST
    return Items(alpha=alpha, rate=rate, width=width, raters=raters, items=items, ratings=items * raters)


def exclude(rate: float, *, traces_per_prompt: float = 1.0, correlation: float = 0.2, level: float = 0.95) -> Clean:
    """How many labelled traces exclude a rate if none of them says yes (Clopper and Pearson's bound), prompts making them count for less.

    >>> exclude(0.001).labels
    3688
    """
    _check(rate=rate)
    effect = 1 + max(traces_per_prompt - 1, 0) * correlation
    return Clean(rate=rate, labels=ceil(effect * log((1 - level) / 2) / log1p(-rate)))


def alpha_variance(alpha: float, *, rate: float, raters: int) -> float:
    """The variance of alpha times the number of items, many of them; the same as that of Fleiss' kappa.

    >>> kappa, pq = 0.6, 0.25
    >>> two = (1 - kappa) * ((1 - kappa) * (1 - 2 * kappa) + kappa * (2 - kappa) / (2 * pq))  # Bloch and Kraemer's
    >>> round(alpha_variance(kappa, rate=0.5, raters=2) / two, 9)
    1.0
    """
    yes = np.arange(raters + 1)
    chance = _yes_counts(alpha, rate, raters)
    apart = 2 * yes * (raters - yes) / (raters * (raters - 1))
    by_chance, seen = 2 * rate * (1 - rate), float(chance @ apart)
    moved = -(apart - seen) / by_chance + seen * 2 * (1 - 2 * rate) * (yes / raters - rate) / by_chance**2
    return float(chance @ moved**2)


def _yes_counts(alpha: float, rate: float, raters: int) -> Floats:
    """How likely each number of yes is: beta-binomial, in which two answers to one item correlate by alpha."""
    if alpha < NO_CORRELATION or alpha == 1:
        alone = [comb(raters, many) * rate**many * (1 - rate) ** (raters - many) for many in range(raters + 1)]
        return np.array(alone) if alpha < 1 else np.array([1 - rate, *[0.0] * (raters - 1), rate])
    yes, a, b = np.arange(raters + 1), rate * (1 - alpha) / alpha, (1 - rate) * (1 - alpha) / alpha
    ways = np.array([comb(raters, int(many)) for many in yes], np.float64)
    return np.asarray(ways * np.exp(betaln(yes + a, raters - yes + b) - betaln(a, b)))


def _effect(traces: float, prompts: float, correlation: float) -> float:
    """How many times wider a variance is for traces' sharing prompts (Kish 1965)."""
    return 1 + max(traces / prompts - 1, 0) * correlation


def _least(enough: Callable[[int], bool], most: int) -> int | None:
    """The least number that is enough; None where the most is not."""
    if not enough(most):
        return None
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _check(**shares: float) -> None:
    for name, share in shares.items():
        if not (isfinite(share) and 0 <= share <= 1) or (name in ("rate", "before", "after") and share in (0, 1)):
            raise InputError(f"{name}={share:g}: it is a share between 0 and 1.")
