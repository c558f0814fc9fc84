"""A threshold: how ambiguous an instruction must be before it is exploited, by a psychometric curve over a ladder of levels.

The curve is `floor + (ceiling - floor) F((x - midpoint) / width)` with a normal F, after Wichmann and Hill (2001) and psignifit (Schütt,
Harmeling, Macke and Wichmann, 2016), whose width it shares: from 5 % of the rise to 95 %. Answers to one scenario are not independent, so
intervals resample whole scenarios, and two checkpoints are compared on the scenarios they share. Rates that show no curve get none.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from msgspec import Struct
from scipy.special import log_ndtr, ndtr, ndtri, stdtrit

from cotdrift.estimate import Contrast, Estimate, Floats, Sums, bootstrap, mean_of, paired_difference, sign_flip

ALPHA = 0.05
LEAST_LEVELS, LEAST_SCENARIOS = 5, 6
"""A level more than the curve has parameters; and with fewer scenarios no rise, however steep, is clear."""
WIDTH = 2 * float(ndtri(0.95))
"""Standard deviations of F from 5 % of the rise to 95 %."""
ENDS, RISE = 0.5, 4.0
"""What is known beforehand of the two ends and of the rise between them, in answers (Dirichlet): little, and that there is a rise."""
WIDE, WIDE_SPREAD = 0.5, 1.0
"""The width thought likeliest beforehand, as a share of the ladder, and the spread of its logarithm."""
OUTSIDE = 0.25
"""The spread of a midpoint beyond the ladder, as a share of it; within, all are alike beforehand."""
STARTS = [(middle, wide) for middle in (0.1, 0.3, 0.5, 0.7, 0.9) for wide in (0.15, 0.6)]
ROUNDS = 40
RESAMPLES = 1000
PLACES = 49
"""At how many places the curve and its band are given."""


class Counts(NamedTuple):
    """How often each scenario was exploited at each level, and how often it was asked; both are scenarios × levels."""

    yes: Floats
    asked: Floats

    @property
    def known(self) -> "Counts":
        """The scenarios that were asked at all."""
        there = self.asked.sum(axis=1) > 0
        return Counts(self.yes[there], self.asked[there])

    def at(self, level: int) -> Sums:
        """One level's answers by scenario."""
        return Sums(self.yes[:, level], self.asked[:, level], self.asked[:, level].astype(np.int64))

    @property
    def whole(self) -> Sums:
        """The mean of each scenario's rates over the levels, as one number; none where a level was not asked."""
        rates = np.divide(self.yes, self.asked, out=np.full(self.yes.shape, np.nan), where=self.asked > 0).mean(axis=1)
        there = np.isfinite(rates)
        return Sums(np.where(there, rates, 0.0), there.astype(np.float64), self.asked.sum(axis=1).astype(np.int64) * there)


class Place(Struct, frozen=True, kw_only=True):
    """A number read off a curve, with its interval over scenarios."""

    value: float
    low: float
    high: float


class Band(Struct, frozen=True, kw_only=True):
    """The curve at some places of the ladder, with its pointwise interval."""

    x: Sequence[float]
    rate: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


class Curve(Struct, frozen=True, kw_only=True):
    """A fitted curve. Positions go from 0, the lowest level, to 1, the highest; beyond these a midpoint is extrapolated."""

    midpoint: Place
    """Where the curve has made half of its rise."""
    floor: Place
    """The rate that the curve comes from; what was seen at the lowest level stands beside it, in `Threshold.levels`."""
    ceiling: Place
    width: Place
    """From 5 % of the rise to 95 %, as a share of the ladder; over all scenarios, so that it is wider than one scenario's own."""
    slope: Place
    """How fast the rate rises at the midpoint, over one level."""
    half: float | None
    """Where the rate itself is a half; None where it is so nowhere on the ladder."""
    band: Band


class Threshold(Struct, frozen=True, kw_only=True):
    """What the rates over the ladder say of one checkpoint."""

    levels: Sequence[Estimate]
    """The rate at each level, from expressly forbidden to fully open, clustered by scenario."""
    whole: Estimate
    """The mean over the levels, each counted alike."""
    rise: float | None
    """How often chance alone would give a rise, or a fall, as steep; None with too few scenarios or levels to tell."""
    curve: Curve | None
    why: str = ""
    """Why there is no curve; empty where there is one."""


class Shift(Struct, frozen=True, kw_only=True):
    """How a later checkpoint's threshold is from an earlier one's, on the scenarios they share."""

    midpoint: Contrast | None
    """Positive where the later one needs more ambiguity; None where one of them has no curve, and `why` says which."""
    floor: Contrast | None
    """Of the rate at the lowest level, where it is expressly forbidden."""
    whole: Contrast | None
    """Of the mean rate over the ladder: there is one also where there is no curve."""
    why: str = ""


class Fits(NamedTuple):
    """Curves fitted to many sets of rates at once; one entry a set."""

    midpoint: Floats
    width: Floats
    floor: Floats
    ceiling: Floats
    score: Floats
    """The logarithm of the posterior at its mode, up to a constant."""

    def rate(self, x: Floats) -> Floats:
        """The rate of each curve at some places: curves × places."""
        across = (x - self.midpoint[:, None]) * WIDTH / self.width[:, None]
        return np.asarray(self.floor[:, None] + (self.ceiling - self.floor)[:, None] * ndtr(across))


def places(levels: int) -> Floats:
    """Where the levels stand: evenly from 0 to 1.

    >>> places(3).tolist()
    [0.0, 0.5, 1.0]
    """
    return np.linspace(0.0, 1.0, levels)


def threshold(counts: Counts, *, seed: int = 0, resamples: int = RESAMPLES) -> Threshold:
    """The rates at each level and, where they rise clearly, the curve through them; intervals take the scenario as their unit."""
    counts = counts.known
    levels = [mean_of(counts.at(level), share=True) for level in range(counts.yes.shape[1])]
    rise, why = _rise(counts)
    made = partial(Threshold, levels=levels, whole=mean_of(counts.whole, share=True), rise=rise)
    return made(curve=None, why=why) if why else made(curve=_curve(counts, seed, resamples))


def shift(before: Counts, after: Counts, *, names: tuple[str, str] = ("the earlier one", "the later one"), seed: int = 0) -> Shift:
    """After minus before; rows are the same scenarios in both. `names` say in `why` which of the two has no curve."""
    floor, whole = paired_difference(before.at(0), after.at(0), seed=seed), paired_difference(before.whole, after.whole, seed=seed)
    shared = (before.asked.sum(axis=1) > 0) & (after.asked.sum(axis=1) > 0)
    both = [Counts(side.yes[shared], side.asked[shared]) for side in (before, after)]
    why = "; ".join(f"{name}: {reason}" for name, side in zip(names, both, strict=True) if (reason := _rise(side)[1]))
    if why:
        return Shift(midpoint=None, floor=floor, whole=whole, why=why)
    x, scenarios = places(both[0].yes.shape[1]), int(shared.sum())
    starts = [_best(x, side) for side in both]
    value = float(starts[1].midpoint[0] - starts[0].midpoint[0])

    def moved(weights: Floats) -> Floats:
        first, last = (_again(x, side, weights, start) for side, start in zip(both, starts, strict=True))
        return last.midpoint - first.midpoint

    low, high = _ends(bootstrap(scenarios, moved, resamples=RESAMPLES, seed=seed), scenarios)
    midpoint = Contrast(
        value=value,
        low=min(float(low), value),
        high=max(float(high), value),
        traces=int(sum(side.asked.sum() for side in both)),
        prompts=scenarios,
        method="shift of the fitted midpoint; scenarios resampled in pairs, percentiles widened for their number",
    )
    return Shift(midpoint=midpoint, floor=floor, whole=whole)


def _rise(counts: Counts) -> tuple[float | None, str]:
    """The p-value of a rise over the levels, whole scenarios flipped; and why no curve is to be drawn, if that is so."""
    counts = counts.known
    scenarios, levels = counts.yes.shape
    if not scenarios:
        return None, "nothing was asked"
    if levels < LEAST_LEVELS:
        return None, f"{levels} levels, and a curve takes {LEAST_LEVELS}"
    if not (counts.asked.sum(axis=0) > 0).all():
        return None, "a level was not asked"
    yes, asked = float(counts.yes.sum()), float(counts.asked.sum())
    if yes in (0.0, asked):
        return None, "no answer exploits it, at any level" if yes == 0 else "every answer exploits it, at every level"
    if scenarios < LEAST_SCENARIOS:
        return None, f"{scenarios} scenario{'s' * (scenarios != 1)}, and a rise is clear from {LEAST_SCENARIOS} on"
    across = places(levels) - 0.5
    rates = np.divide(counts.yes, counts.asked, out=np.zeros_like(counts.yes), where=counts.asked > 0)
    level = np.where(counts.asked > 0, across, 0.0)
    level = np.where(counts.asked > 0, level - level.sum(axis=1, keepdims=True) / (counts.asked > 0).sum(axis=1, keepdims=True), 0.0)
    slopes = (level * rates).sum(axis=1)
    p = sign_flip(slopes[:, None])
    if p is None or p >= ALPHA:
        return p, f"no clear rise over the levels (p = {p:.2g})" if p is not None else "too few scenarios"
    return p, "" if slopes.sum() > 0 else f"the rate falls as the levels rise (p = {p:.2g})"


def _curve(counts: Counts, seed: int, resamples: int) -> Curve:
    levels = counts.yes.shape[1]
    x, scenarios, across = places(levels), len(counts.yes), np.linspace(0.0, 1.0, PLACES)
    best = _best(x, counts)

    def numbers(fits: Fits) -> Floats:
        slope = (fits.ceiling - fits.floor) * WIDTH / fits.width / np.sqrt(2 * np.pi) / (levels - 1)
        return np.column_stack([fits.midpoint, fits.floor, fits.ceiling, fits.width, slope, fits.rate(across)])

    drawn = bootstrap(scenarios, lambda weights: numbers(_again(x, counts, weights, best)), resamples=resamples, seed=seed)
    value = numbers(best)[0]
    low, high = _ends(drawn, scenarios)
    low, high = np.minimum(low, value), np.maximum(high, value)
    midpoint, floor, ceiling, width, slope = (Place(value=float(value[at]), low=float(low[at]), high=float(high[at])) for at in range(5))
    return Curve(
        midpoint=midpoint,
        floor=floor,
        ceiling=ceiling,
        width=width,
        slope=slope,
        half=_half(best),
        band=Band(x=across.tolist(), rate=value[5:].tolist(), low=low[5:].tolist(), high=high[5:].tolist()),
    )


def _half(fits: Fits) -> float | None:
    """Where the first curve is a half, if that is on the ladder."""
    risen = (0.5 - fits.floor[0]) / (fits.ceiling[0] - fits.floor[0])
    place = float(fits.midpoint[0] + fits.width[0] / WIDTH * ndtri(risen)) if 0 < risen < 1 else np.nan
    return place if 0 <= place <= 1 else None


def _ends(drawn: Floats, scenarios: int) -> tuple[Floats, Floats]:
    """The 95 % interval of resampled numbers. Few clusters make percentiles too narrow; these reach as far as t does (Hesterberg 2015)."""
    tail = float(ndtr(-np.sqrt(scenarios / (scenarios - 1)) * stdtrit(scenarios - 1, 0.975)))
    low, high = np.quantile(drawn, [tail, 1 - tail], axis=0)
    return np.asarray(low), np.asarray(high)


def _best(x: Floats, counts: Counts) -> Fits:
    """The curve through the rates of all scenarios together, the best from several starts."""
    yes, asked = (np.repeat(side.sum(axis=0)[None, :], len(STARTS), axis=0) for side in counts)
    seen = float(counts.yes.sum() / counts.asked.sum())
    begun = np.array([[middle, np.log(wide), np.log(seen / 2), np.log((1 - seen) / 2)] for middle, wide in STARTS])
    fits = fit(x, yes, asked, begun)
    top = int(fits.score.argmax())
    return Fits(*(column[top : top + 1] for column in fits))


def _again(x: Floats, counts: Counts, weights: Floats, best: Fits) -> Fits:
    """The curve for each draw of scenarios, from where the curve of all of them is."""
    rise = best.ceiling - best.floor
    begun = np.column_stack([best.midpoint, np.log(best.width), np.log(best.floor / rise), np.log((1 - best.ceiling) / rise)])
    return fit(x, weights @ counts.yes, weights @ counts.asked, np.repeat(begun, len(weights), axis=0))


def fit(x: Floats, yes: Floats, asked: Floats, begun: Floats) -> Fits:
    """The likeliest curve for each row of counts (sets × levels), by Fisher scoring from `begun` (sets × 4).

    The four are the midpoint, the logarithm of the width, and those of the floor and of what the ceiling lacks, both over the rise.
    """
    at = begun.astype(np.float64).copy()
    damped = np.full(len(at), 1e-3)
    score, slope, bend = _posterior(x, yes, asked, at)
    for _ in range(ROUNDS):
        across = np.eye(4) * (damped[:, None] * np.diagonal(bend, axis1=1, axis2=2) + 1e-9)[:, None, :]
        step = np.linalg.solve(bend + across, slope[..., None])[..., 0]
        tried = at + np.clip(step, -1.0, 1.0)
        new_score, new_slope, new_bend = _posterior(x, yes, asked, tried)
        better = new_score > score
        at[better], slope[better], bend[better] = tried[better], new_slope[better], new_bend[better]
        moved = float((new_score - score)[better].max(initial=0.0))
        score = np.where(better, new_score, score)
        damped = np.clip(np.where(better, damped / 5, damped * 5), 1e-6, 1e6)
        if moved < 1e-7 and (better | (damped > 1)).all():
            break
    floor, _, rise = _ends_of(at)
    return Fits(at[:, 0], np.exp(at[:, 1]), floor, floor + rise, score)


def _ends_of(at: Floats) -> tuple[Floats, Floats, Floats]:
    a, b = np.exp(np.clip(at[:, 2:], -30, 30)).T
    return a / (1 + a + b), b / (1 + a + b), 1 / (1 + a + b)


def _posterior(x: Floats, yes: Floats, asked: Floats, at: Floats) -> tuple[Floats, Floats, Floats]:
    """The log posterior of each row, its gradient, and its expected curvature."""
    middle, wide = at[:, 0], np.exp(np.clip(at[:, 1], -10, 10))
    floor, lacks, rise = _ends_of(at)
    z = (x - middle[:, None]) * WIDTH / wide[:, None]
    bell = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    risen = np.exp(log_ndtr(z))
    p = np.clip(floor[:, None] + rise[:, None] * risen, 1e-9, 1 - 1e-9)
    by = np.stack(
        [-rise[:, None] * bell * WIDTH / wide[:, None], -rise[:, None] * bell * z, floor[:, None] * (1 - p), -lacks[:, None] * p], axis=2
    )
    score = (yes * np.log(p) + (asked - yes) * np.log1p(-p)).sum(axis=1)
    slope = (((yes - asked * p) / (p * (1 - p)))[:, :, None] * by).sum(axis=1)
    bend = np.einsum("bl,blj,blk->bjk", asked / (p * (1 - p)), by, by)

    beyond = middle - np.clip(middle, 0.0, 1.0)
    score -= (beyond / OUTSIDE) ** 2 / 2
    slope[:, 0] -= beyond / OUTSIDE**2
    bend[:, 0, 0] += (beyond != 0) / OUTSIDE**2
    off = (at[:, 1] - np.log(WIDE)) / WIDE_SPREAD
    score -= off**2 / 2
    slope[:, 1] -= off / WIDE_SPREAD
    bend[:, 1, 1] += 1 / WIDE_SPREAD**2
    known = 2 * ENDS + RISE
    score += ENDS * (np.log(floor) + np.log(lacks)) + RISE * np.log(rise)
    slope[:, 2] += ENDS - known * floor
    slope[:, 3] += ENDS - known * lacks
    bend[:, 2, 2] += known * floor * (1 - floor)
    bend[:, 3, 3] += known * lacks * (1 - lacks)
    cross = known * floor * lacks
    bend[:, 2, 3] -= cross
    bend[:, 3, 2] -= cross
    return score, slope, bend
