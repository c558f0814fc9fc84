"""How often a threshold's interval holds the planted one, and how often a shift, or a curve, is found where there is none."""

import time
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from cotdrift.estimate import Contrast
from cotdrift.threshold import WIDTH, Counts, Place, places, shift, threshold

SIMULATIONS = 1_000
SCENARIOS, LEVELS, ASKED = 12, 7, 8
FLOOR, CEILING, STEEP = 0.04, 0.92, 0.6
MOVED = -0.35

Floats = NDArray[np.float64]


def rates(midpoints: Floats) -> Floats:
    """Each scenario's curve at each level."""
    return np.asarray(FLOOR + (CEILING - FLOOR) * ndtr((places(LEVELS) - midpoints[:, None]) * WIDTH / STEEP))


def answered(rng: np.random.Generator, p: Floats) -> Counts:
    """What is answered at these rates."""
    return Counts(rng.binomial(ASKED, p).astype(np.float64), np.full(p.shape, float(ASKED)))


def holds(found: Contrast | Place | None, truth: float) -> bool:
    """Whether there is an interval and the truth is in it."""
    return found is not None and found.low is not None and found.high is not None and found.low <= truth <= found.high


def told(kind: str, name: str, held: Iterable[bool], nominal: float, method: str) -> None:
    """Say how often, beside how often it should be."""
    print(f"bench: {kind}_{name} value={np.mean(list(held)):.3f} nominal={nominal:g} method={method!r}", flush=True)


def main() -> None:
    """Simulate studies whose scenarios differ by little, and by much."""
    start = time.perf_counter()
    for spread in (0.05, 0.2):
        moved: list[bool] = []
        still: list[bool] = []
        own_midpoint: list[bool] = []
        for seed in range(SIMULATIONS):
            rng = np.random.default_rng(seed)
            own = 0.7 + rng.normal(0, spread, SCENARIOS)
            before = answered(rng, rates(own))
            moved.append(holds(shift(before, answered(rng, rates(own + MOVED)), seed=seed).midpoint, MOVED))
            at_rest = shift(before, answered(rng, rates(own)), seed=seed).midpoint
            still.append(at_rest is not None and not holds(at_rest, 0.0))
            curve = threshold(before, seed=seed).curve
            own_midpoint.append(holds(curve.midpoint if curve else None, 0.7))
        what = f"{SCENARIOS} scenarios that differ by {spread:g} of the ladder, {ASKED} answers at each of {LEVELS} levels"
        told("coverage", f"threshold_shift_{spread:g}", moved, 0.95, what)
        told("false_positives", f"threshold_shift_{spread:g}", still, 0.05, what)
        told("coverage", f"threshold_{spread:g}", own_midpoint, 0.95, what)
    flat = [threshold(answered(np.random.default_rng(seed), np.full((SCENARIOS, LEVELS), 0.4)), resamples=2) for seed in range(SIMULATIONS)]
    told("false_positives", "threshold_rise", (one.rise is not None and one.rise < 0.05 for one in flat), 0.05, "rates that only scatter")
    print(f"bench: threshold_seconds value={time.perf_counter() - start:.0f}")


if __name__ == "__main__":
    main()
