"""How often intervals hold the truth, and how often chance is called change: large simulations with a planted truth."""

import time
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cotdrift.estimate import Contrast, Estimate, Sums, bootstrap, mean, paired_difference, paired_ratio, poststratified, rate, sign_flip
from cotdrift.trend import Trend, trend_of

SIMULATIONS = 2_000
TRENDS = 300
"""A trend takes a hundred times as long as an estimate."""

Interval = tuple[float, float]
Floats = NDArray[np.float64]


def interval(estimate: Estimate | Contrast | None) -> Interval:
    """The bounds; an estimate without any covers nothing."""
    return (np.inf, -np.inf) if estimate is None or estimate.low is None or estimate.high is None else (estimate.low, estimate.high)


def coverage(name: str, truth: float, intervals: Iterable[Interval], *, method: str) -> None:
    """Say how often the intervals hold the truth, beside how often they should."""
    bounds = np.array(list(intervals))
    held = float(((bounds[:, 0] <= truth) & (truth <= bounds[:, 1])).mean())
    print(f"bench: coverage_{name} value={held:.3f} nominal=0.95 width={np.median(bounds[:, 1] - bounds[:, 0]):.3g} method={method!r}")


def positives(name: str, found: Iterable[bool], *, method: str) -> None:
    """Say how often something was found where there is nothing."""
    print(f"bench: false_positives_{name} value={np.mean(list(found)):.3f} nominal=0.05 method={method!r}")


def bursty(rng: np.random.Generator, n_prompts: int = 60, reps: int = 8) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Counts, million words and prompts of a word at 120 per million that some prompts and some traces like more than others."""
    prompts = np.repeat(np.arange(n_prompts), reps)
    words = rng.integers(500, 3000, n_prompts * reps) / 1e6
    liking = rng.gamma(2, 1 / 2, n_prompts)[prompts] * rng.gamma(1, 1, n_prompts * reps)
    return rng.poisson(liking * words * 120).astype(np.float64), words, prompts


def poisson(counts: Floats, words: Floats) -> Interval:
    """What one gets who takes every occurrence for independent."""
    half = 1.96 * counts.sum() ** 0.5
    return (counts.sum() - half) / words.sum(), (counts.sum() + half) / words.sum()


def resampled(counts: Floats, words: Floats, prompts: NDArray[np.int64], seed: int) -> Interval:
    """The percentile interval of the prompt bootstrap."""
    sums = Sums.of(counts, prompts, exposure=words)
    draws = bootstrap(len(sums.size), lambda weights: (weights @ sums.total) / (weights @ sums.size), resamples=500, seed=seed)
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(low), float(high)


def simulate(one: Callable[[np.random.Generator], Estimate | Contrast | None], *, times: int = SIMULATIONS) -> Iterator[Interval]:
    """The intervals of many simulated data sets."""
    rng = np.random.default_rng(0)
    return (interval(one(rng)) for _ in range(times))


def skewed(rng: np.random.Generator, n_prompts: int) -> Estimate:
    """Reasoning lengths: log-normal over prompts and over traces; the mean is e."""
    prompts = np.repeat(np.arange(n_prompts), 8)
    return mean(np.exp(rng.normal(size=n_prompts)[prompts] + rng.normal(size=len(prompts))), prompts)


def flagged(rng: np.random.Generator, share: float, n_prompts: int = 60) -> Estimate:
    """Traces flagged yes or no, alike within prompts (intraclass correlation 1/6)."""
    prompts = np.repeat(np.arange(n_prompts), 8)
    return mean(rng.random(len(prompts)) < rng.beta(5 * share, 5 * (1 - share), n_prompts)[prompts], prompts, share=True)


def twice(rng: np.random.Generator, n_prompts: int, factor: float) -> tuple[Sums, Sums]:
    """The same prompts at two checkpoints, gamma values that differ by a factor that itself varies with the prompt."""
    prompts = np.repeat(np.arange(n_prompts), 8)
    base = rng.gamma(3, 1, n_prompts)
    before, after = (base * rng.gamma(9, 1 / 9, n_prompts) * scale for scale in (1, factor))
    return tuple(Sums.of(rng.gamma(2, level[prompts] / 2), prompts) for level in (before, after))  # type: ignore[return-value]


def mixed(rng: np.random.Generator) -> Estimate:
    """Two environments at 20 and 200 per million, sampled 80 to 20, wanted half and half: 110."""
    counts, words, prompts = bursty(rng)
    where = (prompts >= 48).astype(np.int64)
    counts = rng.poisson(words * np.where(where, 200, 20) * rng.gamma(2, 1 / 2, 60)[prompts]).astype(np.float64)
    return poststratified(counts, prompts, where, [1, 1], exposure=words)


def run_of(values: Floats) -> Trend:
    """The trend of one trace a prompt (row) and step (column)."""
    prompt, step = (index.ravel() for index in np.indices(values.shape))
    frame = pl.DataFrame({"step": 100 * step, "environment": "one", "prompt_id": prompt.astype(str), "value": values.ravel()})
    return trend_of(frame, run="run", measure="simulated", unit="words", version=1, resamples=400)


def trends(planted: Floats, *, drift: float = 0.0, n_prompts: int = 60) -> list[Trend]:
    """Many runs with the same planted change, prompts that differ, and prompts that each drift their own way."""
    rng, n_steps = np.random.default_rng(1), planted.shape[-1]
    found = []
    for _ in range(TRENDS):
        own = drift * rng.normal(size=(n_prompts, n_steps)).cumsum(axis=1)
        found.append(run_of(10 + 2 * rng.normal(size=(n_prompts, 1)) + rng.normal(size=(n_prompts, n_steps)) + own + planted))
    return found


def onsets(name: str, truth: int, found: list[Trend]) -> None:
    """Say how often an onset was found, and held the true one."""
    told = [trend.onset for trend in found if trend.onset]
    held = np.mean([onset.low <= truth <= onset.high for onset in told]) if told else float("nan")
    width = np.median([(onset.high - onset.low) / 100 for onset in told]) if told else float("nan")
    print(f"bench: onset_{name} found={len(told) / len(found):.3f} coverage={held:.3f} checkpoints_wide={width:.0f}")


def main() -> None:
    """Print a line for each method."""
    start = time.perf_counter()
    data = [bursty(np.random.default_rng(seed)) for seed in range(SIMULATIONS)]
    coverage("rate", 120, (interval(rate(*one, per=1)) for one in data), method="log interval, clustered by prompt")
    coverage("rate_bootstrap", 120, (resampled(*one, seed) for seed, one in enumerate(data)), method="percentiles, prompts resampled")
    coverage("rate_naive", 120, (poisson(counts, words) for counts, words, _ in data), method="Poisson, for comparison")
    for n_prompts in (12, 60, 240):
        coverage(
            f"mean_{n_prompts}_prompts", np.e, simulate(lambda rng, n=n_prompts: skewed(rng, n)), method="log interval, clustered by prompt"
        )  # type: ignore[misc]
    for share in (0.01, 0.1, 0.5):
        method = "Wilson, clustered by prompt; exact at none"
        coverage(f"share_{share}", share, simulate(lambda rng, share=share: flagged(rng, share)), method=method)  # type: ignore[misc]
    for n_prompts in (12, 60):
        coverage(
            f"paired_difference_{n_prompts}_prompts",
            0.0,
            simulate(lambda rng, n=n_prompts: paired_difference(*twice(rng, n, 1.0)), times=400),
            method="paired t",
        )  # type: ignore[misc]
        coverage(
            f"paired_ratio_{n_prompts}_prompts",
            2.0,
            simulate(lambda rng, n=n_prompts: paired_ratio(*twice(rng, n, 2.0)), times=400),
            method="log interval, paired by prompt",
        )  # type: ignore[misc]
    coverage("poststratified", 110, simulate(mixed), method="log interval, clustered by prompt within environment")

    rng = np.random.default_rng(2)
    flips = (sign_flip(rng.standard_t(4, (30, 20)), draws=999, seed=seed) for seed in range(SIMULATIONS))
    positives("sign_flip", (p is not None and p <= 0.05 for p in flips), method="largest of 20 sums, whole prompts flipped")
    for name, drift in (("", 0.0), ("_own_drift", 0.5)):
        null = trends(np.zeros((1, 12)), drift=drift)
        positives(f"trend{name}", (trend.trend.p is not None and trend.trend.p <= 0.05 for trend in null), method=null[0].trend.method)
        positives(f"contrast{name}", (trend.contrast is not None and (trend.contrast.p or 1) <= 0.05 for trend in null), method="sign flip")
        positives(
            f"change{name}",
            (not trend.onset_note.startswith("no change") for trend in null),
            method="best of all ramps, whole prompts flipped",
        )
        positives(f"onset{name}", (trend.onset is not None for trend in null), method="as above, and no straight line")
    half = np.arange(60)[:, None] % 2
    onsets("step_in_half_the_prompts", 600, trends(2.0 * half * (np.arange(12) >= 6)))
    onsets("step_with_own_drift", 600, trends(2.0 * half * (np.arange(12) >= 6), drift=0.3))
    onsets("hinge", 600, trends(0.4 * np.clip(np.arange(12) - 5, 0, None)))
    onsets("straight_line", 100, trends(0.2 * np.arange(12)))
    print(f"bench: coverage_seconds value={time.perf_counter() - start:.0f}")


if __name__ == "__main__":
    main()
