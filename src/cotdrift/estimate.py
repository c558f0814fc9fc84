"""An estimate: a number about many traces, with an interval that counts prompts, not traces.

Answers to one question are not independent, so every interval here takes the prompt as its unit (Cameron and Miller 2015, Miller 2024).
Traces come as arrays: a value each, and an integer code of its prompt each.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache, partial
from typing import NamedTuple, Self

import numpy as np
from msgspec import Struct
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

from cotdrift.errors import InputError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BATCH_CELLS = 4_000_000
"""How many resampling weights are held at once: 32 MB."""


class Estimate(Struct, frozen=True, kw_only=True):
    """A value, its interval, and what stands behind them."""

    value: float | None
    """None when there is no trace to tell it from."""
    low: float | None = None
    """None when no interval can be had; the method then says why."""
    high: float | None = None
    traces: int
    prompts: int
    missing: int = 0
    """Traces that should have had a value and have none."""
    method: str
    level: float = 0.95


class Contrast(Struct, frozen=True, kw_only=True):
    """How far two sets of traces are apart, on the prompts they share."""

    value: float
    low: float | None = None
    """None when no interval can be had; the method then says why."""
    high: float | None = None
    p: float | None = None
    """How often chance alone would give a difference this large; None with fewer than two prompts."""
    traces: int
    prompts: int
    method: str
    level: float = 0.95


class Sums(NamedTuple):
    """What the traces of each prompt add up to; one entry a prompt."""

    total: Floats
    size: Floats
    """What the total is divided by: the traces, or the words in them."""
    traces: Ints

    @classmethod
    def of(cls, values: ArrayLike, prompts: ArrayLike, *, exposure: ArrayLike | None = None, n_prompts: int = 0) -> Self:
        """Add up values by prompt code, over `exposure` when that is given and over traces when it is not."""
        codes = np.asarray(prompts, np.int64)
        traces = np.bincount(codes, minlength=n_prompts)
        total = np.bincount(codes, np.asarray(values, np.float64), minlength=n_prompts)
        size = traces if exposure is None else np.bincount(codes, np.asarray(exposure, np.float64), minlength=n_prompts)
        return cls(total.astype(np.float64), size.astype(np.float64), traces)

    @property
    def sampled(self) -> "Sums":
        """Only the prompts that have any traces."""
        kept = self.size > 0
        return Sums(self.total[kept], self.size[kept], self.traces[kept])

    @property
    def means(self) -> Floats:
        """Each prompt's own mean; NaN for a prompt without traces."""
        means: Floats = np.divide(self.total, self.size, out=np.full(len(self.size), np.nan), where=self.size > 0)
        return means


def mean(values: ArrayLike, prompts: ArrayLike, *, share: bool | None = None, missing: int = 0, level: float = 0.95) -> Estimate:
    """The mean over traces. `share` says that the values are yes and no (1 and 0); None looks.

    >>> estimate = mean([1, 0, 1, 1, 0, 0], [0, 0, 1, 1, 2, 2])
    >>> estimate.value, round(estimate.low, 2), round(estimate.high, 2), estimate.prompts
    (0.5, 0.04, 0.96, 3)
    """
    numbers = np.asarray(values, np.float64)
    if share is None:
        share = bool(np.isin(numbers, (0, 1)).all())
    return mean_of(Sums.of(numbers, prompts), share=share, missing=missing, level=level)


def mean_of(sums: Sums, *, share: bool, missing: int = 0, level: float = 0.95) -> Estimate:
    """The mean over traces, from what each prompt's traces add up to."""
    sums = sums.sampled
    n, prompts = float(sums.size.sum()), len(sums.size)
    made = partial(Estimate, traces=int(sums.traces.sum()), prompts=prompts, missing=missing, level=level)
    if not prompts:
        return made(value=None, method="no traces")
    value = float(sums.total.sum() / n)
    if share and value in (0.0, 1.0):
        low, high = _never_or_always(value, n * n / float(sums.size @ sums.size), level)
        return made(value=value, low=low, high=high, method="share; exact, with each prompt's traces counted as one")
    kind = "share" if share else "mean"
    if prompts == 1:
        return made(value=value, method=f"{kind}; one prompt, so no interval")
    variance = _variance(sums, value)
    if share:
        low, high = wilson(value, variance, n, prompts - 1, level)
        return made(value=value, low=low, high=high, method="share; Wilson interval, clustered by prompt")
    if not variance:
        return made(value=value, method="mean; no prompt differs from another, so no interval")
    if (
        value > 0 and sums.total.min() >= 0
    ):  # lengths and the like are skewed: plain t covers 89 % where this covers 91, and can fall below zero
        factor = _factor(value, variance, prompts - 1, level)
        return made(value=value, low=value / factor, high=value * factor, method="mean; log interval, clustered by prompt")
    half = _t(level, prompts - 1) * variance**0.5
    return made(value=value, low=value - half, high=value + half, method="mean; t interval, clustered by prompt")


def rate(
    counts: ArrayLike,
    exposure: ArrayLike,
    prompts: ArrayLike,
    *,
    per: float = 1e6,
    design_effect: float | None = None,
    level: float = 0.95,
) -> Estimate:
    """Occurrences per million words: all counts over all exposure.

    `design_effect` widens the bound for a word that never occurred; None takes the traces per prompt, the most it can be when a word stands
    in all of a prompt's traces or in none.
    """
    return rate_of(Sums.of(counts, prompts, exposure=np.asarray(exposure, np.float64) / per), design_effect=design_effect, level=level)


def rate_of(sums: Sums, *, design_effect: float | None = None, missing: int = 0, level: float = 0.95) -> Estimate:
    """The rate per one of what the counts are divided by, from what each prompt's traces add up to."""
    sums = sums.sampled
    total, words, n = float(sums.total.sum()), float(sums.size.sum()), len(sums.size)
    made = partial(Estimate, traces=int(sums.traces.sum()), prompts=n, missing=missing, level=level)
    if not n:
        return made(value=None, method="no words")
    value = total / words
    if not total:
        effect = design_effect or float(sums.traces @ sums.traces / sums.traces.sum())
        high = float(-np.log((1 - level) / 2) * effect / words)
        return made(value=0.0, low=0.0, high=high, method=f"rate; exact bound for none seen, design effect {effect:.1f}")
    if n == 1:
        return made(value=value, method="rate; one prompt, so no interval")
    variance = _variance(sums, value) or value / words  # no spread at all: Poisson's is the least there is
    factor = _factor(value, variance, n - 1, level)
    return made(value=value, low=value / factor, high=value * factor, method="rate; log interval, clustered by prompt")


def poststratified(
    values: ArrayLike,
    prompts: ArrayLike,
    environments: ArrayLike,
    weights: ArrayLike,
    *,
    exposure: ArrayLike | None = None,
    share: bool = False,
    level: float = 0.95,
) -> Estimate:
    """The mean that a declared mix of environments would give, or with `exposure` the rate; `weights` has one entry an environment code."""
    codes, where = np.asarray(environments, np.int64), np.asarray(prompts, np.int64)
    pairs, prompt = np.unique(codes * (int(where.max(initial=0)) + 1) + where, return_inverse=True)
    strata = pairs // (int(where.max(initial=0)) + 1)
    return poststratified_of(
        Sums.of(values, prompt, exposure=exposure), strata, weights, share=share, rate=exposure is not None, level=level
    )


def poststratified_of(
    sums: Sums, strata: ArrayLike, weights: ArrayLike, *, share: bool = False, rate: bool = False, level: float = 0.95
) -> Estimate:
    """The post-stratified mean, from what each prompt's traces add up to; `rate` says that the totals are counts."""
    environment, mix = np.asarray(strata, np.int64), np.asarray(weights, np.float64)
    mix = mix / mix.sum()
    inside = (mix[environment] > 0) & (sums.size > 0)
    made = partial(Estimate, traces=int(sums.traces[inside].sum()), prompts=int(inside.sum()), level=level)
    value, parts, degrees, least = 0.0, [], [], np.inf
    for code in np.flatnonzero(mix > 0):
        part = Sums(*(column[environment == code] for column in sums)).sampled
        if not len(part.size):
            return made(value=None, method="post-stratified; an environment has no traces here")
        here = float(part.total.sum() / part.size.sum())
        value += float(mix[code]) * here
        parts.append(float(mix[code]) ** 2 * _variance(part, here) if len(part.size) > 1 else np.nan)
        degrees.append(len(part.size) - 1)
        effect = float(part.traces @ part.traces / part.traces.sum())
        least = min(least, float(part.size.sum()) / effect / float(mix[code]))
    kind = f"post-stratified {'share' if share else 'rate' if rate else 'mean'}"
    if (value == 0 and (share or rate)) or (value >= 1 and share):
        gap = float(-np.log((1 - level) / 2) / least)
        low, high = (0.0, gap) if value == 0 else (1 - gap, 1.0)
        bounds = (max(low, 0.0), min(high, 1.0)) if share else (low, high)
        return made(value=value, low=bounds[0], high=bounds[1], method=f"{kind}; exact bound, the worst environment's")
    variance = float(np.sum(parts))
    if np.isnan(variance):
        return made(value=value, method=f"{kind}; an environment has one prompt, so no interval")
    if not variance:
        return made(value=value, method=f"{kind}; no prompt differs from another, so no interval")
    freedom = variance**2 / sum(part**2 / degree for part, degree in zip(parts, degrees, strict=True))
    if share:
        low, high = wilson(value, variance, np.inf, freedom, level)
    elif value > 0 and sums.total.min() >= 0:
        low, high = value / (factor := _factor(value, variance, freedom, level)), value * factor
    else:
        half = _t(level, freedom) * variance**0.5
        low, high = value - half, value + half
    return made(value=value, low=low, high=high, method=f"{kind}; clustered by prompt within environment")


def paired_difference(before: Sums, after: Sums, *, level: float = 0.95, seed: int = 0) -> Contrast | None:
    """After minus before: the mean over shared prompts of each prompt's own difference. None when no prompt is shared."""
    differences = after.means - before.means
    shared = np.isfinite(differences)
    if not shared.any():
        return None
    differences, prompts = differences[shared], int(shared.sum())
    differences[np.abs(differences) <= 1e-12 * np.abs(before.means[shared]).max()] = 0.0  # rounding is no difference
    value = float(differences.mean())
    made = partial(Contrast, traces=int((before.traces + after.traces)[shared].sum()), prompts=prompts, level=level)
    if prompts == 1:
        return made(value=value, method="paired difference; one shared prompt, so no interval")
    error = float(differences.std(ddof=1)) / prompts**0.5
    p = sign_flip(differences[:, None], seed=seed)
    if error <= 1e-12 * abs(value):
        return made(value=value, p=p, method="paired difference; all prompts differ alike, so no interval")
    half = _t(level, prompts - 1) * error
    return made(value=value, low=value - half, high=value + half, p=p, method="paired by prompt; t interval, sign-flip p")


def paired_ratio(before: Sums, after: Sums, *, level: float = 0.95, seed: int = 0) -> Contrast | None:
    """After over before: the ratio of the two means over shared prompts. None when none is shared, or a mean is not above zero."""
    shared = np.isfinite(after.means - before.means)
    first, last = before.means[shared], after.means[shared]
    if not shared.any() or first.mean() <= 0 or last.mean() <= 0:
        return None
    prompts, value = len(first), float(last.mean() / first.mean())
    made = partial(Contrast, traces=int((before.traces + after.traces)[shared].sum()), prompts=prompts, level=level)
    influence = last / last.mean() - first / first.mean()
    error = float(np.sqrt(influence @ influence / (prompts * max(prompts - 1, 1))))
    if prompts == 1 or error <= 1e-12:
        return made(value=value, method="paired ratio; no prompt differs from another, so no interval")
    factor = float(np.exp(_t(level, prompts - 1) * error))
    p = sign_flip((last - first)[:, None], seed=seed)
    return made(value=value, low=value / factor, high=value * factor, p=p, method="paired by prompt; log interval, sign-flip p")


def sign_flip(scores: Floats, *, draws: int = 9999, seed: int = 0) -> float | None:
    """How often flipping whole prompts gives a sum as far from zero as the one seen; all flips when they are few, `draws` of them else.

    `scores` has a row a prompt. With several columns it is the largest of their studentised sums that is compared, so that the test keeps
    its size however many columns it looks at. None with fewer than two prompts.
    """
    prompts = len(scores)
    if prompts < 2:
        return None
    spread = np.sqrt((scores**2).sum(axis=0))
    scaled = np.divide(scores, spread, out=np.zeros_like(scores), where=spread > 1e-9 * spread.max(initial=0.0))
    seen = float(np.abs(scaled.sum(axis=0)).max(initial=0.0)) * (1 - 1e-9)
    if exact := 2 ** (prompts - 1) <= draws:  # the last prompt need not flip: a flip of all changes no absolute value
        draws = 2 ** (prompts - 1)
    signs = _every_sign(prompts) if exact else _drawn_signs(draws, prompts, seed)
    beyond = sum(int((np.abs(some @ scaled).max(axis=1, initial=0.0) >= seen).sum()) for some in signs)
    return beyond / draws if exact else (1 + beyond) / (1 + draws)


def _every_sign(prompts: int) -> Iterable[Floats]:
    bits = (np.arange(2 ** (prompts - 1))[:, None] >> np.arange(prompts)) & 1
    return [1.0 - 2.0 * bits.astype(np.float64)]


def _drawn_signs(draws: int, prompts: int, seed: int) -> Iterable[Floats]:
    """The same signs whenever they are drawn; kept where they are few, as a report asks for the same ones hundreds of times."""
    return [_kept_signs(draws, prompts, seed)] if draws * prompts <= BATCH_CELLS else _new_signs(draws, prompts, seed)


@lru_cache(maxsize=4)
def _kept_signs(draws: int, prompts: int, seed: int) -> Floats:
    return next(iter(_new_signs(draws, prompts, seed)))


def _new_signs(draws: int, prompts: int, seed: int) -> Iterator[Floats]:
    rng, rows = np.random.default_rng(seed), max(1, BATCH_CELLS // prompts)
    for start in range(0, draws, rows):
        yield 1.0 - 2.0 * rng.integers(0, 2, (min(rows, draws - start), prompts), np.int8)


def bootstrap(
    prompts: int, statistic: Callable[[Floats], Floats], *, strata: ArrayLike | None = None, resamples: int = 1000, seed: int = 0
) -> Floats:
    """The statistic of each of `resamples` draws of whole prompts, with replacement, within strata.

    `statistic` takes weights (draws × prompts: how often each prompt was drawn) and gives a row a draw, so that anything linear in prompts
    is one matrix product. It is called on a batch of draws at a time.
    """
    rng, groups = np.random.default_rng(seed), np.zeros(prompts, np.int64) if strata is None else np.asarray(strata)
    members = [np.flatnonzero(groups == group) for group in np.unique(groups)]
    rows, done = max(1, BATCH_CELLS // max(prompts, 1)), []
    for start in range(0, resamples, rows):
        size = min(rows, resamples - start)
        weights = np.zeros((size, prompts))
        for member in members:
            drawn = rng.integers(0, len(member), (size, len(member))) + len(member) * np.arange(size)[:, None]
            weights[:, member] = np.bincount(drawn.ravel(), minlength=size * len(member)).reshape(size, len(member))
        done.append(np.asarray(statistic(weights), np.float64))
    return np.concatenate(done)


def holm(p: Sequence[float | None]) -> list[float | None]:
    """Holm's adjustment: the chance of any false finding in the family is kept. None stays None and counts for nothing."""

    def step_down(given: Floats) -> Floats:
        order = np.argsort(given, kind="stable")
        adjusted = np.empty_like(given)
        adjusted[order] = np.minimum(np.maximum.accumulate(given[order] * np.arange(len(given), 0, -1)), 1.0)
        return adjusted

    return _adjusted(p, step_down)


def benjamini_hochberg(p: Sequence[float | None]) -> list[float | None]:
    """Benjamini and Hochberg's: the share of false findings among all findings is kept. None stays None and counts for nothing."""
    from scipy.stats import false_discovery_control  # a second of import that only this should cost

    return _adjusted(p, false_discovery_control)


def benjamini_yekutieli(p: Sequence[float | None]) -> list[float | None]:
    """Benjamini and Yekutieli's: the same, however the tests depend on one another. None stays None and counts for nothing."""
    from scipy.stats import false_discovery_control  # a second of import that only this should cost

    return _adjusted(p, partial(false_discovery_control, method="by"))


def _adjusted(p: Sequence[float | None], method: Callable[[Floats], Floats]) -> list[float | None]:
    given = np.array([value for value in p if value is not None], np.float64)
    adjusted = iter(method(given) if len(given) else ())
    return [None if value is None else float(next(adjusted)) for value in p]


def checked_chances(chances: ArrayLike, labelled: ArrayLike) -> Floats:
    """The chances that labelled traces had of being labelled."""
    given = np.asarray(chances, np.float64)[np.asarray(labelled, np.bool_)]
    if not ((given > 0) & (given <= 1)).all():
        raise InputError("A labelled trace had a chance to be labelled: above 0, and at most 1. Say what it was for each.")
    return given


def _variance(sums: Sums, value: float) -> float:
    """The variance of a ratio of sums over prompts, with the small-sample factor that Stata and statsmodels call CR1."""
    prompts, size = len(sums.size), float(sums.size.sum())
    residuals = sums.total - value * sums.size
    variance = float(prompts / (prompts - 1) * (residuals @ residuals) / size**2)
    return variance if variance > (1e-12 * value) ** 2 else 0.0


def _t(level: float, freedom: float) -> float:
    return float(stdtrit(freedom, (1 + level) / 2))


def _factor(value: float, variance: float, freedom: float, level: float) -> float:
    return float(np.exp(min(_t(level, freedom) * variance**0.5 / value, 500.0)))  # a bound beyond e^500 is as good as none, and finite


def effective_size(sums: Sums) -> float:
    """As how many independent traces the share of yes counts: fewer, the more alike each prompt's traces are.

    It lies between all of them and one a prompt. Where few say yes, or few no, it is drawn towards one a prompt, as if one more had been
    seen whose prompt agrees with it throughout: so few cannot show that traces are independent.
    """
    sums = sums.sampled
    n = float(sums.size.sum())
    if not n:
        return 0.0
    most, value = float(sums.size @ sums.size) / n, float(sums.total.sum()) / n
    seen = n * min(value, 1 - value)
    if len(sums.size) < 2 or seen <= 0:
        return n / most
    effect = min(max(_variance(sums, value) * n / (value * (1 - value)), 1.0), most)
    return n * (1 + seen) / (most + seen * effect)


def wilson(value: float, variance: float, most: float, freedom: float, level: float) -> tuple[float, float]:
    """Wilson's interval for as many independent traces as would have this variance, and never more than there are."""
    n = min(most, value * (1 - value) / variance) if variance else most
    t2 = _t(level, freedom) ** 2
    middle = (value + t2 / (2 * n)) / (1 + t2 / n)
    half = (t2 * (value * (1 - value) / n + t2 / (4 * n * n))) ** 0.5 / (1 + t2 / n)
    return max(0.0, min(middle - half, value)), min(1.0, max(middle + half, value))


def _never_or_always(value: float, n: float, level: float) -> tuple[float, float]:
    """Clopper and Pearson's interval when none or all of n independent traces said yes."""
    gap = 1 - ((1 - level) / 2) ** (1 / n)
    return (0.0, gap) if value == 0 else (1 - gap, 1.0)
