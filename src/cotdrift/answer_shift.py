"""How far two sets of answers are apart, with what chance does taken off, and many such numbers drawn towards nought together.

Answers are counted by category. Distances are in nats; a set of answers is independent draws after one and the same beginning.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from scipy.special import gammaln

from cotdrift.estimate import Floats, Ints

PSEUDO = 0.5
"""Added to the count of each category, so that one that was never seen is not held impossible."""
DRAWS = 9_999
MOST_DRAWS = 200_000
BEYOND = 5
"""Where fewer draws of chance than these came as far, more are drawn if a smaller p-value would count."""
NULL_WEIGHT = 10.0
"""Of the prior over the sizes of effects, the weight of none, as Stephens (2017) has it: few numbers cannot say that all differ."""
STEPS, GRID = 400, 400
LEAST = 1e-6
"""Less than this is no spread."""


class Shift(Struct, frozen=True, kw_only=True):
    """How far answers are apart that were given without something and with it."""

    kl: float
    """Kullback and Leibler's divergence of the answers without it from those with it, less its mean under chance. Can be below nought."""
    tv: float
    """Total variation, a share of the answers, less its mean under chance."""
    error: float
    """The standard error of `kl`: what chance alone makes of it, and what sampling makes of a difference that is there."""
    chance: float
    """The mean of the divergence under chance, which was taken off."""
    spread: float
    """The standard deviation of the divergence under chance."""
    band: float
    """What `kl` stays below in 95 of 100 under chance."""
    p: float
    """How often chance, dealing the answers out to the two sets, brings them as far apart."""
    without: int
    """Answers."""
    kept: int


class Shrunk(Struct, frozen=True, kw_only=True):
    """A number, drawn towards nought by as much as all of its kind are noise."""

    value: float
    low: float
    high: float
    nought: float
    """The posterior chance that it is nought."""


def divergence(one: Ints, other: Ints) -> Floats:
    """Kullback and Leibler's divergence of one distribution from another, in nats, from counts (… × categories) with 0.5 added to each.

    >>> round(float(divergence(np.array([9, 1]), np.array([1, 9]))), 3)
    1.342
    """
    p, q = _smoothed(one), _smoothed(other)
    found: Floats = (p * np.log(p / q)).sum(axis=-1)
    return np.maximum(found, 0.0)  # rounding may take it below


def variation(one: Ints, other: Ints) -> Floats:
    """Total variation: half of what the shares of all categories differ by, smoothed in the same way."""
    found: Floats = 0.5 * np.abs(_smoothed(one) - _smoothed(other)).sum(axis=-1)
    return found


def shift_of(without: Ints, kept: Ints, *, draws: int = DRAWS, tests: int = 1, alpha: float = 0.05, seed: int = 0) -> Shift:
    """How far the answers without something are from those with it; each argument has a count for every category.

    After Bogdan et al. (2025), with the chance level taken off: the plug-in divergence of two equal distributions is above nought.
    Chance deals all answers out to two sets of these sizes, which only the counts matter for. `tests` is for how many this is one of:
    where hardly any draw comes as far, there are more draws, so that the smallest p-value can be found among so many.
    """
    one, other = np.asarray(without, np.int64), np.asarray(kept, np.int64)
    rng = np.random.default_rng(seed)
    seen = float(divergence(one, other))
    dealt = _dealt(one, other, draws, rng)
    null = divergence(*dealt)
    beyond = int((null >= seen - 1e-12).sum())
    more = min(int(20 * tests / alpha), MOST_DRAWS) - draws
    if beyond < BEYOND and more > 0:
        beyond += int((divergence(*_dealt(one, other, more, rng)) >= seen - 1e-12).sum())
        draws += more
    chance = float(null.mean())
    beside_chance = float(_sampling_variance(one, other)) - float(_sampling_variance(*dealt).mean())
    return Shift(
        kl=seen - chance if abs(seen - chance) > 1e-12 else 0.0,
        tv=float(variation(one, other)) - float(variation(*dealt).mean()),
        error=float(np.sqrt(null.var() + max(beside_chance, 0.0))),
        chance=chance,
        spread=float(null.std()),
        band=float(np.quantile(null, 0.95)) - chance,
        p=(1 + beyond) / (1 + draws),
        without=int(one.sum()),
        kept=int(other.sum()),
    )


def shrunk(shifts: Sequence[Shift], *, level: float = 0.95) -> list[Shrunk]:
    """Each divergence's posterior mean and interval, by empirical Bayes with adaptive shrinkage (Stephens 2017).

    True divergences are nought, or come from a mixture of half-normals whose weights are found from all shifts together. So a large one
    that is sure hardly moves, and noise goes to nought, also where few are large: their mean is no sentence's value. Where there is no
    effect a divergence is gamma distributed, with the mean and spread that chance gave it; where there is one, normal around it, with a
    variance that grows from that under chance to the one seen in proportion to the effect.
    """
    if not shifts:
        return []
    seen, error, spread = (np.array([getattr(shift, name) for shift in shifts]) for name in ("kl", "error", "spread"))
    error, spread = np.maximum(error, LEAST), np.maximum(spread, LEAST)
    most = 2 * float((np.maximum(seen, 0) + 2 * error).max())
    grid = np.concatenate([[0.0], np.geomspace(most / 10_000, most, GRID)])
    part = np.minimum(grid / np.maximum(seen, LEAST)[:, None], 1.0)  # of each shift's error, beyond chance, what such an effect would have
    variance = spread[:, None] ** 2 + part * np.maximum(error**2 - spread**2, 0.0)[:, None]
    logged = -0.5 * (seen[:, None] - grid) ** 2 / variance - 0.5 * np.log(2 * np.pi * variance)
    logged[:, 0] = _under_chance(shifts)
    likelihood = np.exp(logged - logged.max(axis=1, keepdims=True))
    priors = _priors(grid, float(np.median(spread)))
    weight = _weights(likelihood @ priors.T)
    posterior = likelihood * (weight @ priors)
    posterior /= posterior.sum(axis=1, keepdims=True)
    means, below = posterior @ grid, posterior.cumsum(axis=1)
    low, high = (grid[(below < end - 1e-12).sum(axis=1).clip(max=GRID)] for end in ((1 - level) / 2, (1 + level) / 2))
    rows = zip(means, low, high, posterior[:, 0], strict=True)
    return [Shrunk(value=float(mean), low=float(least), high=float(top), nought=float(none)) for mean, least, top, none in rows]


def _priors(grid: Floats, least: float) -> Floats:
    """The parts of the mixture (parts × grid): nought, and half-normals of growing spread, each √2 times the one before."""
    many = 1 + max(int(np.ceil(2 * np.log2(grid[-1] / least))), 0)
    spreads = least * 2 ** (0.5 * np.arange(many))
    parts = np.exp(-0.5 * (grid / spreads[:, None]) ** 2) * np.gradient(grid)
    parts[:, 0] = 0.0
    return np.concatenate([np.eye(1, len(grid)), parts / parts.sum(axis=1, keepdims=True)])


def _weights(likelihood: Floats) -> Floats:
    """How much of the mixture each part is, from the likelihood of each shift under each part; the first part weighs more beforehand."""
    prior = np.ones(likelihood.shape[1])
    prior[0] = NULL_WEIGHT
    weight: Floats = prior / prior.sum()
    for _ in range(STEPS):
        of_each = weight * likelihood
        counted = (of_each / of_each.sum(axis=1, keepdims=True)).sum(axis=0) + prior - 1
        weight = counted / counted.sum()
    return weight


def _under_chance(shifts: Sequence[Shift]) -> Floats:
    """The logarithm of the density of each divergence were there no effect; where chance never moves it, as good as certain."""
    chance = np.array([max(shift.chance, LEAST) for shift in shifts])
    spread = np.array([max(shift.spread, LEAST) for shift in shifts])
    seen = np.maximum(np.array([shift.kl for shift in shifts]) + chance, 0.05 * chance)  # at nought itself the density may have no end
    shape, rate = (chance / spread) ** 2, chance / spread**2
    found: Floats = shape * np.log(rate) + (shape - 1) * np.log(seen) - rate * seen - gammaln(shape)
    return found


def _smoothed(counts: Ints) -> Floats:
    given = np.asarray(counts, np.float64) + PSEUDO
    shares: Floats = given / given.sum(axis=-1, keepdims=True)
    return shares


def _dealt(one: Ints, other: Ints, draws: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Two sets of the same sizes (draws × categories), all answers dealt out to them by chance."""
    pool = one + other
    first = rng.multivariate_hypergeometric(pool, int(one.sum()), size=draws, method="marginals")
    return first, pool - first


def _sampling_variance(one: Ints, other: Ints) -> Floats:
    """Of the divergence, by the delta method: how far it varies between samples of two distributions as different as these."""
    p, q = _smoothed(one), _smoothed(other)
    ratio = np.log(p / q)
    of_one = (p * ratio**2).sum(axis=-1) - (p * ratio).sum(axis=-1) ** 2
    of_other = (p**2 / q).sum(axis=-1) - 1
    found: Floats = np.maximum(of_one, 0) / one.sum(axis=-1).clip(1) + np.maximum(of_other, 0) / other.sum(axis=-1).clip(1)
    return found
