"""A corrected rate: a grader's rate over all traces, with its errors taken out by the traces that are labelled too.

A grader's own rate has an interval that is narrow around the wrong number. Where labels are a random part of the graded traces, the
correction holds whatever the grader is worth; a good grader only makes it narrower.
"""

from functools import partial
from typing import NamedTuple

import numpy as np
from msgspec import Struct
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

from cotdrift.errors import InputError
from cotdrift.estimate import Estimate, Floats, Ints, Sums, checked_chances, effective_size, mean, wilson
from cotdrift.rare import score_strata, two_phase

Kept = NDArray[np.bool_]

FEW = 20
"""Labels of either kind below which the normal approximation covers too seldom, and strata are counted exactly."""
STRATA = 4
"""Strata of the grader's values that are counted then."""
SAME_IN_ALL = 1e-12
"""Relative variance that is rounding."""


class Corrected(Estimate, frozen=True, kw_only=True):
    """A rate, or a mean score, with the grader's errors taken out."""

    labels: int
    positives: int | None
    """Labels that say yes; None where labels are scores."""
    weight: float | None = None
    """How much of the grader's values is used: 0 is labels alone, 1 is all of them; None where they only make strata or are inverted."""
    judged: Estimate
    """What the grader says, uncorrected."""
    bound_low: float | None = None
    """The interval's lower end if all traces without a judgment were the lowest there is; the same as `low` where labels tell of them too.
    None where scores have no stated ends."""
    bound_high: float | None = None

    def sentence(self) -> str:
        """The corrected number beside the grader's own."""
        show = _percent if self.positives is not None else _plain
        if self.value is None:
            return f"No corrected rate: {self.method}."
        bounds = "" if self.low is None or self.high is None else f" [{show(self.low)}, {show(self.high)}]"
        uncorrected = "nothing" if self.judged.value is None else show(self.judged.value)
        yes = "" if self.positives is None else f", {self.positives:,} of them yes"
        told = f"Corrected {show(self.value)}{bounds}, where the grader says {uncorrected} ({self.labels:,} labels{yes})"
        if self.missing and self.bound_low is not None and self.bound_high is not None:
            told += f"; {self.missing:,} traces have no judgment, so {show(self.bound_low)} to {show(self.bound_high)} whatever they hold"
        return f"{told}."


class Bounds(Struct, frozen=True, kw_only=True):
    """What a rate can be, whatever the traces without a judgment hold."""

    lowest: Estimate
    """Were all of them at the low end."""
    highest: Estimate
    """Were all of them at the high end."""


class Pseudo(NamedTuple):
    """A value for every trace, labelled or not, whose mean is the corrected mean; to be averaged or paired by prompt like any other."""

    values: Floats
    weight: float
    freedom: int
    """Of the t distribution: prompts that have labels, less what was read off them."""


def corrected_mean(
    judged: ArrayLike,
    labels: ArrayLike,
    prompts: ArrayLike,
    *,
    chances: ArrayLike | None = None,
    weight: float | None = None,
    ends: tuple[float, float] | None = None,
    level: float = 0.95,
) -> Corrected:
    """The mean of the labels that all traces would have, from a grader's value for each and the labels of some (NaN elsewhere).

    Labels must be a random part of these traces; where some were likelier to be labelled than others, `chances` say how likely each was, up
    to a factor that all share; they may be NaN where there is no label (Egami et al. 2023). The estimate is PPI++ (Angelopoulos et al.
    2023), tuned so that a bad grader does no harm; prompts are clusters. Where fewer than 20 labels say yes, or no, strata of the grader's
    values are counted exactly. Give `weight` to have neither: 1 is plain PPI, 0 is labels alone. `ends` are the scale's, for the bounds of
    scores; shares have 0 and 1.

    >>> found = corrected_mean([1, 1, 0, 0, 0, 0, 1, 0], [1, 0, 0, 0, None, None, None, None], range(8), weight=1)
    >>> found.value, found.labels, found.judged.value
    (0.125, 4, 0.375)
    """
    seen, told, codes = _column(judged), _column(labels), np.unique(np.asarray(prompts), return_inverse=True)[1].astype(np.int64)
    silent, labelled = ~np.isfinite(seen), np.isfinite(told)
    given = None if chances is None else np.asarray(chances, np.float64)
    share = bool(np.isin(told[labelled], (0, 1)).all())
    apart = silent if not (silent & labelled).any() else np.zeros_like(silent)
    made = partial(
        Corrected,
        traces=int((~apart).sum()),
        prompts=len(np.unique(codes[~apart])),
        missing=int(silent.sum()),
        level=level,
        labels=int(labelled.sum()),
        positives=int(told[labelled].sum()) if share else None,
        judged=mean(seen[~silent], codes[~silent], missing=int(silent.sum()), level=level),
    )
    if not labelled.any():
        return made(value=None, method="no labels")
    kept = [None if column is None else column[~apart] for column in (seen, told, codes, given)]
    value, low, high, tuned, method = _told(*kept, share=share, weight=weight, level=level)  # type: ignore[arg-type]  # only chances are None
    scale = (0.0, 1.0) if share else ends
    return made(
        value=value,
        low=low,
        high=high,
        weight=tuned,
        method=method,
        bound_low=_bound(low, scale, 0, float(apart.mean())),
        bound_high=_bound(high, scale, 1, float(apart.mean())),
    )


def pseudo_outcomes(
    judged: ArrayLike, labels: ArrayLike, prompts: ArrayLike, *, chances: ArrayLike | None = None, weight: float | None = None
) -> Pseudo:
    """The grader's value for every trace, times a weight; on labelled ones plus how far that was off, times the traces each stands for.

    Their mean is the corrected mean, and their spread over prompts its variance. To compare two checkpoints, take each one's and pair them
    by prompt. A missing judgment counts as the mean of the others. The weight is that of the least variance over prompts, unless given.

    >>> pseudo_outcomes([1, 0, 1, 0], [1, 0, None, None], [0, 1, 2, 3], weight=1).values.tolist()
    [1.0, 0.0, 1.0, 0.0]
    """
    seen, told = _column(judged), _column(labels)
    codes = np.unique(np.asarray(prompts), return_inverse=True)[1]
    labelled = np.isfinite(told)
    stands = _stands(labelled, chances)
    known = np.isfinite(seen)
    graded = np.where(known, seen, seen[known].mean() if known.any() else 0.0)
    truth = np.where(labelled, told, 0.0)
    n = len(seen)
    if weight is None:
        off = np.bincount(codes, stands * (truth - stands @ truth)) if n else np.zeros(0)
        moved = np.bincount(codes, stands * (graded - stands @ graded)) - np.bincount(codes, (graded - graded.mean()) / n)
        spread = float(moved @ moved)
        weight, used = float(off @ moved) / spread if spread > SAME_IN_ALL * float(np.abs(graded).max(initial=0.0)) ** 2 else 0.0, 2
    else:
        used = 1
    residual = truth - weight * graded
    average = float(stands @ residual)
    values = weight * graded + average + n * stands * (residual - average)
    return Pseudo(values, weight, len(np.unique(codes[labelled])) - used)


def rogan_gladen(
    judged: ArrayLike,
    prompts: ArrayLike,
    *,
    labels: ArrayLike,
    label_judged: ArrayLike,
    label_prompts: ArrayLike,
    label_chances: ArrayLike | None = None,
    cut: float = 0.5,
    level: float = 0.95,
    draws: int = 20_000,
    seed: int = 0,
) -> Corrected:
    """The true share, from the grader's share and its sensitivity and specificity on traces from elsewhere (Rogan and Gladen 1978).

    For labels that are no part of the graded traces. It holds only if the grader errs as often on both; `label_chances` say how likely each
    trace there was to be labelled, where that differs. The interval has the errors of both samples in it (as Lang and Reiczigel 2014 ask),
    by draws from Jeffreys' posteriors of as many independent traces as the prompts leave.

    >>> calibration = {"labels": [1] * 50 + [0] * 50, "label_judged": [1] * 40 + [0] * 60, "label_prompts": range(100)}
    >>> found = rogan_gladen([1] * 24 + [0] * 76, range(100), **calibration)
    >>> round(found.value, 3), round(found.judged.value, 3)
    (0.3, 0.24)
    """
    seen, codes = _column(judged), np.asarray(prompts)
    silent = ~np.isfinite(seen)
    told, graded, where = _column(labels), _column(label_judged), np.asarray(label_prompts)
    both = np.isfinite(told) & np.isfinite(graded)
    weights = np.ones(int(both.sum())) if label_chances is None else 1 / checked_chances(label_chances, both)
    says, truth, where = graded[both] >= cut, told[both] >= cut, where[both]
    whole = _summed(seen[~silent] >= cut, codes[~silent], np.ones(int((~silent).sum())))
    hit, false = (_summed(says[kind], where[kind], weights[kind]) for kind in (truth, ~truth))
    made = partial(
        Corrected,
        traces=int((~silent).sum()),
        prompts=len(whole.size),
        missing=int(silent.sum()),
        level=level,
        labels=int(both.sum()),
        positives=int(truth.sum()),
        judged=mean(
            seen[~silent] >= cut, np.unique(codes[~silent], return_inverse=True)[1], share=True, missing=int(silent.sum()), level=level
        ),
    )
    if not (len(whole.size) and len(hit.size) and len(false.size)):
        return made(value=None, method="Rogan-Gladen; there are no labels of one kind, or no judgments")
    rng = np.random.default_rng(seed)
    drawn, sensitivity, alarm = (_posterior(sums, rng, draws) for sums in (whole, hit, false))
    better = sensitivity > alarm
    shares = np.divide(drawn - alarm, sensitivity - alarm, out=np.zeros(draws), where=better).clip(0, 1)
    low = float(np.quantile(np.where(better, shares, 0.0), (1 - level) / 2))  # a grader no better than chance leaves everything possible
    high = float(np.quantile(np.where(better, shares, 1.0), (1 + level) / 2))
    missing = float(silent.mean())
    made = partial(made, bound_low=_bound(low, (0.0, 1.0), 0, missing), bound_high=_bound(high, (0.0, 1.0), 1, missing))
    rate, true, wrong = (float(sums.total.sum() / sums.size.sum()) for sums in (whole, hit, false))
    if true <= wrong:
        return made(value=None, method="Rogan-Gladen; on these labels the grader is no better than chance")
    value = min(max((rate - wrong) / (true - wrong), 0.0), 1.0)
    return made(value=value, low=min(low, value), high=max(high, value), method="Rogan-Gladen; errors of both samples, clustered by prompt")


def missing_bounds(judged: ArrayLike, prompts: ArrayLike, *, ends: tuple[float, float] = (0.0, 1.0), level: float = 0.95) -> Bounds:
    """The rate were every trace without a judgment (NaN) at one end of the scale, and at the other; each with its interval.

    >>> found = missing_bounds([1, 0, 1, None], [0, 1, 2, 3])
    >>> found.lowest.value, found.highest.value
    (0.5, 0.75)
    """
    seen, codes = _column(judged), np.unique(np.asarray(prompts), return_inverse=True)[1]
    silent = ~np.isfinite(seen)
    lowest, highest = (mean(np.where(silent, end, seen), codes, missing=int(silent.sum()), level=level) for end in ends)
    return Bounds(lowest=lowest, highest=highest)


def _told(
    seen: Floats, told: Floats, codes: Ints, chances: Floats | None, *, share: bool, weight: float | None, level: float
) -> tuple[float | None, float | None, float | None, float | None, str]:
    """Value, low, high, weight and method."""
    labelled = np.isfinite(told)
    if share and weight is None and _fewest(told, chances) < FEW:
        counted = two_phase(_labelled_strata(seen, labelled, chances), told, codes, chances=chances, level=level)
        return counted.value, counted.low, counted.high, None, "share; few labels of one kind, so strata of the grader's values are counted"
    pseudo = pseudo_outcomes(seen, told, codes, chances=chances, weight=weight)
    value, kind = float(pseudo.values.mean()), "share" if share else "mean"
    how = "PPI++" if chances is None else "design-based"
    if pseudo.freedom < 1:
        return _inside(value, share), None, None, pseudo.weight, f"{kind}; {how}, too few prompts have labels for an interval"
    sums = Sums.of(pseudo.values - value, codes).total / len(seen)
    asked = len(np.unique(codes[labelled]))
    variance = float(sums @ sums) * asked / pseudo.freedom
    if variance <= SAME_IN_ALL * value * value:
        return _inside(value, share), None, None, pseudo.weight, f"{kind}; {how}, no prompt differs from another, so no interval"
    if share and 0 < value < 1:
        low, high = wilson(value, variance, np.inf, pseudo.freedom, level)
        return value, low, high, pseudo.weight, f"share; {how}, Wilson interval, clustered by prompt"
    half = float(stdtrit(pseudo.freedom, (1 + level) / 2)) * variance**0.5
    low, high = _inside(value - half, share), _inside(value + half, share)
    return _inside(value, share), low, high, pseudo.weight, f"{kind}; {how}, t interval, clustered by prompt"


def _stands(labelled: Kept, chances: ArrayLike | None) -> Floats:
    """The share of all traces that each labelled one stands for."""
    weights = np.where(labelled, 1.0, 0.0)
    if chances is not None:
        weights[labelled] = 1 / checked_chances(chances, labelled)
    return weights / max(float(weights.sum()), 1.0)


def _fewest(told: Floats, chances: Floats | None) -> int:
    """The fewest labels of either kind among labels of like chances: a kind not seen where few were labelled may well be there."""
    known = np.isfinite(told)
    strata = np.zeros(int(known.sum()), np.int64) if chances is None else score_strata(chances[known], strata=STRATA)
    return min(int(np.bincount(strata, told[known] == kind, minlength=int(strata.max()) + 1).min()) for kind in (0, 1))


def _labelled_strata(seen: Floats, labelled: Kept, chances: Floats | None) -> Ints:
    """Strata of the grader's values, and of the chances where all have one; one without labels is part of the nearest with some."""
    strata = score_strata(seen, strata=STRATA)
    if chances is not None and np.isfinite(chances).all():
        strata = np.unique(np.stack([score_strata(chances, strata=STRATA), strata], axis=1), axis=0, return_inverse=True)[1].ravel()
    have = np.unique(strata[labelled])
    if len(have) == 0:
        raise InputError("None of these traces is labelled.")
    nearest: Ints = have[np.abs(have[:, None] - strata).argmin(axis=0)]
    return nearest


def _summed(yes: Kept, prompts: NDArray[np.generic], weights: Floats) -> Sums:
    each = weights / (weights.mean() if len(weights) else 1.0)
    return Sums.of(yes * each, np.unique(prompts, return_inverse=True)[1], exposure=each)


def _posterior(sums: Sums, rng: np.random.Generator, draws: int) -> Floats:
    n, share = effective_size(sums), float(sums.total.sum() / sums.size.sum())
    return rng.beta(share * n + 0.5, (1 - share) * n + 0.5, draws)


def _bound(end: float | None, scale: tuple[float, float] | None, which: int, missing: float) -> float | None:
    if end is None or not missing:
        return end
    return None if scale is None else (1 - missing) * end + missing * scale[which]


def _inside(value: float, share: bool) -> float:
    return min(max(value, 0.0), 1.0) if share else value


def _column(values: ArrayLike) -> Floats:
    """Numbers, with NaN for None."""
    return np.asarray(values, np.float64)


def _percent(value: float) -> str:
    return f"{100 * value:.3g} %"


def _plain(value: float) -> str:
    return f"{value:.3g}"
