"""An ordering: whether levels stand in the order they were written in, by judgments of two of them at a time.

Strengths after Bradley and Terry (1952): the log-odds that one level is found to leave more open than another is the difference of theirs.
Scenarios are the clusters.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from msgspec import Struct
from numpy.typing import ArrayLike

from cotdrift.estimate import Contrast, Estimate, Floats, bootstrap, mean

PRIOR = 3.0
"""The spread of strengths thought likely beforehand, in log-odds: wide, and enough that levels which were never confused stay finite."""
ROUNDS = 50
RESAMPLES = 1000


class Order(Struct, frozen=True, kw_only=True):
    """What was found of the order of some levels."""

    levels: Sequence[str]
    """As they were written, from the lowest up."""
    strengths: Sequence[Contrast]
    """Of each level over the lowest, in log-odds, with intervals over scenarios; the lowest is 0."""
    agreed: Estimate
    """The share of pairs that were found in the order they were written in."""
    by_rater: dict[str, Estimate]
    neighbours: Sequence[Estimate]
    """The same of each level and the next; an entry fewer than there are levels."""
    second: Estimate
    """How often the one shown second was found to leave more open: far from a half, it is the place that was judged."""

    @property
    def inverted(self) -> list[tuple[str, str]]:
        """Neighbours that were clearly found the other way round."""
        pairs = zip(self.levels, self.levels[1:], self.neighbours, strict=False)
        return [(lower, upper) for lower, upper, found in pairs if found.high is not None and found.high < 0.5]


def order_of(pairs: pl.DataFrame, levels: Sequence[str], *, seed: int = 0, resamples: int = RESAMPLES) -> Order | None:
    """What the judgments of pairs say; None where there are none.

    `pairs` has a row a judgment: rater, scenario, lower and upper (places in `levels`), in_order (1 where upper was found to leave more
    open, 0 where lower was), and second (1 where the one shown second was).
    """
    if not pairs.height:
        return None
    codes = pairs["scenario"].rank("dense").cast(pl.Int64).to_numpy() - 1
    lower, upper, won = (pairs[name].to_numpy() for name in ("lower", "upper", "in_order"))
    scenarios, many = int(codes.max()) + 1, len(levels)
    wins = np.zeros((scenarios, many, many))
    np.add.at(wins, (codes, upper, lower), won.astype(np.float64))
    np.add.at(wins, (codes, lower, upper), 1.0 - won)
    best = strengths(wins.sum(axis=0)[None])[0]
    drawn = bootstrap(scenarios, lambda weights: strengths(np.einsum("ds,sij->dij", weights, wins), best), resamples=resamples, seed=seed)
    relative, value = drawn - drawn[:, :1], best - best[0]
    low, high = np.quantile(relative, [0.025, 0.975], axis=0)
    said = pairs.with_columns(code=codes)
    return Order(
        levels=list(levels),
        strengths=[
            Contrast(
                value=float(value[at]),
                low=min(float(low[at]), float(value[at])),
                high=max(float(high[at]), float(value[at])),
                traces=pairs.height,
                prompts=scenarios,
                method="Bradley-Terry, scenarios resampled",
            )
            for at in range(many)
        ],
        agreed=_share(said, "in_order"),
        by_rater={
            str(rater): _share(rows, "in_order") for (rater,), rows in sorted(said.group_by("rater"), key=lambda named: str(named[0]))
        },
        neighbours=[_share(said.filter((pl.col("lower") == at) & (pl.col("upper") == at + 1)), "in_order") for at in range(many - 1)],
        second=_share(said, "second"),
    )


def strengths(wins: Floats, begun: ArrayLike | None = None) -> Floats:
    """The strengths of each set of wins (sets × levels × levels: how often the one was chosen over the other), by Newton's method.

    They sum to nought. The prior of each strength is normal, `PRIOR` wide.

    >>> strengths(np.array([[[0.0, 1.0], [1.0, 0.0]]])).round(6).tolist()
    [[0.0, 0.0]]
    """
    sets, many, _ = wins.shape
    at = np.zeros((sets, many)) if begun is None else np.repeat(np.asarray(begun, np.float64)[None], sets, axis=0)
    met = wins + wins.transpose(0, 2, 1)
    for _ in range(ROUNDS):
        chance = 1 / (1 + np.exp(-np.clip(at[:, :, None] - at[:, None, :], -30, 30)))
        slope = (wins - met * chance).sum(axis=2) - at / PRIOR**2
        bend = -met * chance * (1 - chance)
        bend[:, range(many), range(many)] -= bend.sum(axis=2) - 1 / PRIOR**2
        step = np.clip(np.linalg.solve(bend, slope[..., None])[..., 0], -2.0, 2.0)
        at += step
        if np.abs(step).max(initial=0.0) < 1e-8:
            break
    return np.asarray(at - at.mean(axis=1, keepdims=True))


def _share(rows: pl.DataFrame, column: str) -> Estimate:
    return mean(rows[column].to_numpy(), rows["code"].to_numpy(), share=True)
