"""Lexical drift: which words one checkpoint's reasoning uses more, or less, than another text does.

A row a term: its rate on both sides, their ratio, and what chance alone would do. The prompt is the unit throughout. Two sides that
answered the same prompts are compared on those, else within the environments they share; people's text is compared with by its listed
rates alone.

There are two families. Watched terms are tested however rare they are, and adjusted by Holm's method: in 19 of 20 comparisons none of
them is found by mistake. All other words are tested from twenty uses on, and adjusted by Benjamini and Hochberg's: of those found one
in twenty may be a mistake. A finding is confirmed when it is made in half of the prompts, after adjustment, and p < 0.05 the same way
in the other half.
"""

from collections.abc import Callable, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cotdrift.comparison import Counts, Reference
from cotdrift.comparisons.permutation import Tested
from cotdrift.comparisons.sides import sides
from cotdrift.comparisons.two_sides import TwoSides
from cotdrift.comparisons.with_rates import WithRates
from cotdrift.errors import NotEnough
from cotdrift.estimate import benjamini_hochberg, holm
from cotdrift.term import Term, concordance, count_terms, watch_list

__all__ = ["COLUMNS", "Term", "concordance", "count_terms", "terms", "watch_list"]

COLUMNS: dict[str, pl.DataType | type[pl.DataType]] = {
    "term": pl.String,
    "rate": pl.Float64,
    "reference": pl.Float64,
    "ratio": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "p": pl.Float64,
    "p_adjusted": pl.Float64,
    "family": pl.String,
    "spread": pl.Float64,
    "traces": pl.Int64,
    "prompts": pl.Int64,
    "count": pl.Int64,
    "trace_share": pl.Float64,
    "prompt_share": pl.Float64,
    "log_odds": pl.Float64,
    "z": pl.Float64,
    "rate_without_loops": pl.Float64,
    "ratio_without_loops": pl.Float64,
    "ratio_crude": pl.Float64,
    "ratio_poststratified": pl.Float64,
    "confirmed": pl.Boolean,
    "warnings": pl.List(pl.String),
}

Adjustment = Callable[[Sequence[float | None]], list[float | None]]

LEAST_USES = 20
"""A word that is on no watch-list is tested from so many uses on, both sides together."""

LEAST_IN_HALF = 8
"""Prompts in each half without which nothing can be confirmed or not."""

FOUND = 0.05


def terms(
    focal: Counts, reference: Counts | Reference, *, watch: Sequence[Term] = (), resamples: int = 2000, seed: int = 0
) -> pl.DataFrame:
    """Every watched term and every word with twenty uses, from the most telling to the least (by the size of `z`).

    Rates are per million words. `traces`, `prompts`, their shares and `count` are those of the focal side that use the term; `spread`
    (Gries' DPnorm: 0 even, 1 in few prompts) is that of the side that says it more. `ratio` is `rate` over `reference` on the prompts
    compared, while `p` goes prompt by prompt. Null says that there is nothing to say: no ratio to a reference without the term, no
    bound where none can be had, no p for a term that nobody uses.
    """
    both = [focal] if isinstance(reference, Reference) else [focal, reference]
    for counts in both:
        if not counts.totals["words"].sum():
            raise NotEnough(
                f"There is not one word in {counts.name}, so nothing can be compared. Choose traces with text that can be read."
            )
    watched = list(dict.fromkeys(term.text for term in watch))
    vocabulary = watched + _frequent(both, watched)
    arrays = sides(both, vocabulary)
    rated = WithRates(arrays[0], reference, reference.rates(vocabulary)) if isinstance(reference, Reference) else None
    compared = rated or TwoSides.of(*arrays)
    columns = compared.columns(resamples=resamples, seed=seed)
    families = _families(len(watched), len(vocabulary))
    tested = [compared.tested(family, seed) for family in families]
    p = np.concatenate([test.p for test in tested])
    frame = pl.DataFrame(
        {
            "term": vocabulary,
            **columns,
            "p": p,
            "p_adjusted": np.concatenate([_adjusted(tested[0].p, holm), _adjusted(tested[1].p, benjamini_hochberg)]),
            "family": ["watch"] * len(watched) + ["discovered"] * (len(vocabulary) - len(watched)),
            "confirmed": [None if np.isnan(value) else held for value, held in zip(p, _confirmed(compared, families, seed), strict=True)],
            "warnings": compared.warnings(columns),
        },
        schema=COLUMNS,
        strict=False,
    )
    order = pl.col("z").abs()
    return frame.with_columns(pl.col(pl.Float64).fill_nan(None)).sort(order, "term", descending=[True, False], nulls_last=True)


def _frequent(counts: Sequence[Counts], watched: Sequence[str]) -> list[str]:
    said = pl.concat([one.counts.select(pl.col("word").cast(pl.String), pl.col("n").cast(pl.Int64)) for one in counts])
    often = said.group_by("word").agg(pl.col("n").sum()).filter(pl.col("n") >= LEAST_USES, ~pl.col("word").is_in(watched))
    return often["word"].sort().to_list()


def _families(watched: int, words: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return np.arange(watched), np.arange(watched, words)


def _adjusted(p: NDArray[np.float64], method: Adjustment) -> NDArray[np.float64]:
    return np.array(method([None if np.isnan(value) else float(value) for value in p]), np.float64)


def _holds(found: Tested, again: Tested, method: Adjustment) -> NDArray[np.bool_]:
    alike = found.direction == again.direction
    holds: NDArray[np.bool_] = alike & (_adjusted(found.p, method) < FOUND) & (again.p < FOUND)
    return holds


def _confirmed(compared: TwoSides | WithRates, families: Sequence[NDArray[np.int64]], seed: int) -> list[bool | None]:
    """Whether each word is found in one half of the prompts, after adjustment, and holds the same way in the other."""
    halves = compared.halves()
    if min(half.prompts for half in halves) < LEAST_IN_HALF:
        return [None] * sum(map(len, families))
    confirmed = []
    for family, method in zip(families, (holm, benjamini_hochberg), strict=True):
        one, other = (half.tested(family, seed) for half in halves)
        confirmed += (_holds(one, other, method) | _holds(other, one, method)).tolist()
    return confirmed
