"""Designs: which combinations of factor levels to try, and how many prompts and samples show a difference."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from math import prod, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec import Struct

from cotdrift.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Rows = NDArray[np.int64]
    """A row a combination, a column a factor; the numbers are levels, from 0 on."""

SWEEPS = 2
"""How often every column is gone over again; more gains next to nothing."""
MENDED = 2_000
"""How many swaps are tried to tell equal rows apart."""
DIFFERENCE = 0.10
"""What a design is to find between two levels that share its prompts evenly."""


def full(levels: Sequence[int]) -> Rows:
    """Every combination of the levels.

    >>> full([2, 2]).tolist()
    [[0, 0], [0, 1], [1, 0], [1, 1]]
    """
    return np.indices(tuple(levels), dtype=np.int64).reshape(len(levels), -1).T


def fraction(levels: Sequence[int], cells: int, *, seed: int = 0) -> Rows:
    """So many different combinations, in which the main effects can be told apart.

    The levels of every factor are balanced: their counts differ by one at most. Each pair of factors is as near to independent as swapping
    levels within a column gets it (least chi-squared, the criterion of Yamada and Lin, 1999). Orthogonal arrays would be exact, but for
    levels as mixed as these they exist only at sizes that nobody can pay.
    """
    every = prod(levels)
    least = max(levels, default=1)
    if not least <= cells <= every:
        raise InputError(
            f"cells={cells}: here a balanced fraction has from {least} (each level once) to {every} (all combinations) of them."
        )
    rng = np.random.default_rng(seed)
    if 2 * cells > every:  # what is left out is the smaller part, and the rest of a balanced whole is balanced
        rest = full(levels)
        left_out = fraction_of_half(levels, every - cells, rng)
        kept = np.ones(every, dtype=bool)
        kept[np.ravel_multi_index(tuple(left_out.T), tuple(levels))] = False
        return rng.permutation(rest[kept])
    return fraction_of_half(levels, cells, rng)


def fraction_of_half(levels: Sequence[int], cells: int, rng: np.random.Generator) -> Rows:
    """A fraction of at most half of the combinations."""
    rows = np.stack([rng.permutation(np.resize(rng.permutation(many), cells)) for many in levels], axis=1)
    if cells < 2:
        return rows
    for column in np.argsort([-many for many in levels], kind="stable"):
        _improve(rows, [column], levels)
    for _ in range(SWEEPS):
        _improve(rows, range(len(levels)), levels)
    _mend(rows, rng)
    return rows


def _improve(rows: Rows, columns: Iterable[int], levels: Sequence[int]) -> None:
    """Swap the levels of two rows wherever that makes a column more nearly independent of the others."""
    cells, many = rows.shape
    deepest = max(levels)
    shares = np.zeros((many, deepest))
    for factor in range(many):
        shares[factor, : levels[factor]] = 1 / np.bincount(rows[:, factor], minlength=levels[factor]).clip(min=1)
    for column in columns:
        others = np.array([factor for factor in range(many) if factor != column])
        if not len(others):
            return
        beside = rows[:, others].T
        place = np.arange(len(others))[:, None]
        counts = np.zeros((len(others), deepest, deepest))
        for at in range(cells):
            counts[place[:, 0], rows[at, column], beside[:, at]] += 1
        weight = shares[column][None, :, None] * shares[others][:, None, :]
        for row in range(cells):
            here, there = rows[row, column], rows[:, column]
            mine, theirs = beside[:, row : row + 1], beside
            change = (
                weight[place, here, mine] * (1 - 2 * counts[place, here, mine])
                + weight[place, there, mine] * (1 + 2 * counts[place, there, mine])
                + weight[place, there, theirs] * (1 - 2 * counts[place, there, theirs])
                + weight[place, here, theirs] * (1 + 2 * counts[place, here, theirs])
            )
            change[mine == theirs] = 0
            gain = change.sum(axis=0)
            gain[there == here] = 0
            best = int(gain.argmin())
            if gain[best] > -1e-9:
                continue
            for at, step in ((row, -1), (best, -1)):
                counts[place[:, 0], rows[at, column], beside[:, at]] += step
            rows[[row, best], column] = rows[[best, row], column]
            for at in (row, best):
                counts[place[:, 0], rows[at, column], beside[:, at]] += 1


def _mend(rows: Rows, rng: np.random.Generator) -> None:
    """Make all rows different, by swaps that keep every column balanced."""
    for _ in range(MENDED):
        _, first, times = np.unique(rows, axis=0, return_index=True, return_counts=True)
        doubles = first[times > 1]
        if not len(doubles):
            return
        before = rows.copy()
        here, there, column = int(rng.choice(doubles)), int(rng.integers(len(rows))), int(rng.integers(rows.shape[1]))
        rows[[here, there], column] = rows[[there, here], column]
        if len(np.unique(rows, axis=0)) < len(first):
            rows[:] = before
    raise InputError(
        f"cells={len(rows)}: no balanced fraction of this size without doubles was found. Give another number, or design=full."
    )


def dependence(rows: Rows) -> float:
    """The largest Cramér's V between two factors: 0 where every pair is independent.

    >>> dependence(full([2, 3, 4]))
    0.0
    """
    from scipy.stats.contingency import association, crosstab

    varied = [column for column in rows.T if len(np.unique(column)) > 1]
    tables = (crosstab(one, other).count for one, other in combinations(varied, 2))
    return max((float(association(table, method="cramer")) for table in tables), default=0.0)


class Power(Struct, frozen=True, kw_only=True):
    """What a power calculation assumes; prompts are the clusters, and each is sampled several times."""

    rate: float = 0.25
    """The share of answers that show the behaviour."""
    correlation: float = 0.2
    """Between two answers to one prompt: the share of the variance that lies between prompts."""
    kept: float = 0.5
    """Of what lies between prompts, the share that is the same on both sides of a paired comparison."""
    alpha: float = 0.05
    power: float = 0.8

    def spread(self, samples: float, *, paired: bool = False) -> float:
        """The standard deviation of a prompt's share over so many samples; of the difference of two such shares, when paired.

        >>> round(Power().spread(1), 3), round(Power().spread(1, paired=True), 3)
        (0.433, 0.581)
        """
        between, within = self.correlation, (1 - self.correlation) / samples
        parts = 2 * (between * (1 - self.kept) + within) if paired else between + within
        return sqrt(self.rate * (1 - self.rate) * parts)

    def prompts(self, difference: float, samples: float) -> float:
        """How many prompts each of two levels needs for this difference to be found."""
        return float(
            self._test(paired=False).solve_power(effect_size=difference / self.spread(samples), alpha=self.alpha, power=self.power)
        )

    def smallest(self, prompts: float, samples: float, *, paired: bool = False) -> float | None:
        """The smallest difference that is found with so many prompts on each side; None when they are too few for any."""
        if prompts < 2:
            return None
        sides = {"nobs": prompts} if paired else {"nobs1": prompts}
        effect = self._test(paired=paired).solve_power(effect_size=None, alpha=self.alpha, power=self.power, **sides)
        found = float(np.ravel(effect)[0]) * self.spread(samples, paired=paired)
        return found if found < 1 else None

    def _test(self, *, paired: bool) -> Any:
        from statsmodels.stats.power import TTestIndPower, TTestPower

        return TTestPower() if paired else TTestIndPower()


def smallest_differences(
    power: Power, prompts: int, samples: float, *, paired: str, behaviour: str, kept_from: str, by_size: Mapping[int, Sequence[str]]
) -> list[str]:
    """How small a difference a design finds, in sentences.

    `paired` says what is compared on the same prompts, `behaviour` what answers do, `by_size` the factors by how many levels share the
    prompts.
    """
    found = [(paired, power.smallest(prompts, samples, paired=True))]
    for size, names in sorted(by_size.items()):
        share = prompts // size
        each = f"{share} prompt{'s' * (share != 1)} each"
        found.append((f"level against level of {', '.join(names)} ({each})", power.smallest(share, samples)))
    needed = round(2 * power.prompts(DIFFERENCE, samples) + 0.5)
    assumed = (
        f"if {power.rate:.0%} of answers {behaviour}, two answers to one prompt correlate by {power.correlation:g}, and prompts keep "
        f"{power.kept:.0%} of their differences from {kept_from}"
    )
    return [
        f"Smallest differences found with {power.power:.0%} power at the {power.alpha:.0%} level, prompts as clusters, {assumed}:",
        *(f"  {what}: {'none' if least is None else f'{100 * least:.0f} points'}" for what, least in found),
        f"To find {100 * DIFFERENCE:.0f} points between two halves of the prompts takes {needed} of them at {samples:g} samples.",
    ]
