"""Distance: how much of the words would have to be others, for two sets of traces to have said alike on the same prompts."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from scipy.sparse import csr_matrix

from cotdrift.comparison import Counts
from cotdrift.estimate import Floats, Ints

if TYPE_CHECKING:
    from cotdrift.trend import Trend

FOLDS, SWAPS = 5, 100
ROUNDED = 1e-12
PROMPT = ["environment", "prompt_id"]


def words_apart(first: Counts, last: Counts, *, seed: int = 0) -> pl.DataFrame:
    """For each prompt that both sides answered, the share of words that are others: environment, prompt_id, value, missing_reason.

    The mean over prompts is the total variation distance between what both sides say, but for chance: which words are said more often, and
    which less, is told by four fifths of the prompts, and how much more by the fifth that had no say in it. So it is nought on average
    where nothing changed, however few words there are, and may fall below; and it is a lower bound, the closer the more prompts there are.
    Degenerate loops are left out, and every prompt counts alike however long its traces are. Without two prompts there is no row.

    The folds have a say in each other's direction, so that their prompts' values are less independent than they look. How far the mean
    moves by chance is told by swapping the two sides in random prompts; where that is more than the values' spread gives, they are spread
    about their mean until it does.
    """
    shared = _totals(first).join(_totals(last), on=PROMPT, suffix="_last", nulls_equal=True).sort(PROMPT)
    if shared.height < 2:
        return pl.DataFrame(schema={"environment": pl.String, "prompt_id": pl.String, "value": pl.Float64, "missing_reason": pl.String})
    shared = shared.with_row_index("row")
    both = pl.concat([_shares(last, shared, "kept_words_last", 1.0), _shares(first, shared, "kept_words", -1.0)])
    words = both["word"].rank("dense").to_numpy().astype(np.int64) - 1
    shape = (shared.height, int(words.max()) + 1)
    change = csr_matrix((both["share"].to_numpy(), (both["row"].to_numpy(), words)), shape=shape)  # what stands twice is added up
    folds = _folds(shared)
    value = _told_by_others(change, folds, np.ones((1, shared.height)))[0]
    swaps = np.random.default_rng(seed).choice([-1.0, 1.0], size=(SWAPS, shared.height))
    by_chance = float(_told_by_others(change, folds, swaps).mean(axis=1).std())
    error = float(value.std(ddof=1)) / shared.height**0.5
    wider = max(1.0, by_chance / error) if error > 0 else 1.0
    value = value.mean() + wider * (value - value.mean())
    return shared.select(PROMPT).with_columns(value=pl.Series(value), missing_reason=pl.lit(None, pl.String))


def said_of(trend: Trend) -> str:
    """How much of the words is others at the last checkpoint, in a sentence; `trend` is over the mean of `words_apart`."""
    first, last = trend.points[0], trend.points[-1]
    if last.value is None:
        return "Too little is said at the last checkpoint on prompts of the first for its words to be held against them."
    bounds = "" if last.low is None or last.high is None else f" [{100 * last.low:.1f}, {100 * last.high:.1f}]".replace("-", "−")
    share, since = f"{100 * last.value:.1f}%{bounds}", f"step {first.step:,}"
    if last.low is None or last.low <= 0:
        return f"On the same prompts no clear drift of words is seen from {since} to {last.step:,}: {share} are others."
    return f"At step {last.step:,} at least {share} of words are others than at {since} on the same prompts."


def _told_by_others(change: csr_matrix, folds: Ints, signs: Floats) -> Floats:
    """For each row of signs, which swap the sides of some prompts, how much each prompt changes in the way that the other folds do."""
    found = np.zeros(signs.shape)
    for fold in range(int(folds.max()) + 1):
        inside, others = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
        way = np.asarray(signs[:, others] @ change[others])
        way = np.where(np.abs(way) > ROUNDED, np.sign(way), 0.0)
        found[:, inside] = signs[:, inside] * (change[inside] @ way.T).T / 2
    return found


def _totals(counts: Counts) -> pl.DataFrame:
    return counts.totals.filter(pl.col("kept_words") > 0).select(pl.col(PROMPT).cast(pl.String), pl.col("kept_words").cast(pl.Float64))


def _shares(counts: Counts, shared: pl.DataFrame, total: str, sign: float) -> pl.DataFrame:
    """Each word's share of a prompt's words."""
    said = counts.counts.filter(pl.col("kept") > 0).select(pl.col(PROMPT).cast(pl.String), pl.col("word").cast(pl.String), "kept")
    placed = said.join(shared.select("row", *PROMPT, total), on=PROMPT, nulls_equal=True)
    return placed.select("row", "word", share=sign * pl.col("kept") / pl.col(total))


def _folds(prompts: pl.DataFrame) -> Ints:
    """The fold of each prompt, by its name alone."""
    keys = [
        blake2b(f"{environment}\0{name}".encode("utf-8", "backslashreplace")).hexdigest()
        for environment, name in prompts.select(PROMPT).iter_rows()
    ]
    folds = np.empty(len(keys), np.int64)
    folds[np.argsort(keys, kind="stable")] = np.arange(len(keys)) % min(FOLDS, len(keys))
    return folds
