"""Two sides of a comparison as arrays: words by prompts, a few words at a time."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import blake2b
from typing import Any, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cotdrift.comparison import Counts
from cotdrift.comparisons.permutation import Floats, Ints
from cotdrift.estimate import bootstrap

Numbers = NDArray[np.float64]

PROMPT = ("environment", "prompt_id")

RARELY_MISSED = 1e-4
"""A bootstrap interval is given where a resample misses the word no more often than this; else an exact one."""

SMALL_STRATUM = 5
"""Environments with fewer prompts are resampled together."""


@dataclass(frozen=True, eq=False)
class Side:
    """One set of traces: its words by prompt. Prompts and words have the numbers that both sides share."""

    words: Floats
    """How many words each prompt's traces hold."""
    kept_words: Floats
    """Those outside degenerate loops."""
    traces: Ints
    environments: Ints
    keys: Ints
    """A stable number of each prompt, from its names alone."""
    starts: Ints
    """Where the uses of each word begin in the columns below; one more than there are words."""
    prompt: Ints
    n: Floats
    kept: Floats
    using: Ints
    """How many of the prompt's traces use the word."""
    n_words: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "n_words", len(self.starts) - 1)

    def uses(self, words: Ints) -> Floats:
        """Uses by prompt: a row a word."""
        first, last = self.starts[words], self.starts[words + 1]
        lengths = last - first
        rows = np.repeat(np.arange(len(words)), lengths)
        at = np.arange(len(rows)) + np.repeat(first - np.concatenate(([0], np.cumsum(lengths)[:-1])), lengths)
        found = np.zeros((len(words), len(self.words)), np.float32)
        found[rows, self.prompt[at]] = self.n[at]
        return found

    def total(self, column: NDArray[Any]) -> Numbers:
        """A column of uses, summed for each word."""
        sums = np.concatenate(([0.0], np.cumsum(column, dtype=np.float64)))
        total: Numbers = sums[self.starts[1:]] - sums[self.starts[:-1]]
        return total

    @cached_property
    def counts(self) -> Numbers:
        """All uses of each word."""
        return self.total(self.n)

    @property
    def rate(self) -> Numbers:
        """Uses per million words."""
        rate: Numbers = self.counts / self.words.sum(dtype=np.float64) * 1e6
        return rate

    @property
    def kept_rate(self) -> Numbers:
        """Uses per million words, loops left out of both."""
        rate: Numbers = self.total(self.kept) / self.kept_words.sum(dtype=np.float64) * 1e6
        return rate

    @property
    def in_prompts(self) -> Ints:
        """In how many prompts each word is used."""
        return np.diff(self.starts)

    @property
    def often(self) -> NDArray[np.bool_]:
        """Whether each word stands in so many prompts that a resample of them hardly ever misses it altogether."""
        prompts = len(self.words)
        return (1 - self.in_prompts / prompts) ** prompts < RARELY_MISSED

    @property
    def use(self) -> dict[str, Numbers]:
        """How many traces and prompts use each word, how often, and what shares of all these are."""
        traces, prompts = self.total(self.using), self.in_prompts
        shares = {"trace_share": traces / self.traces.sum(), "prompt_share": prompts / len(self.words)}
        return {"traces": traces, "prompts": prompts, "count": self.counts, **shares}

    def by_environment(self, environments: int) -> Numbers:
        """All uses of each word in each environment."""
        word = np.repeat(np.arange(self.n_words), np.diff(self.starts))
        cells = np.bincount(word * environments + self.environments[self.prompt], self.n, self.n_words * environments)
        return cells.reshape(self.n_words, environments).astype(np.float64)

    def resampled(self, resamples: int, seed: int, *, whole: bool) -> Floats:
        """How often each prompt is drawn in each resample: from all prompts as a whole, or from each environment as many as it has."""
        prompts = len(self.words)
        strata = np.zeros(prompts, np.int64) if whole else _large_enough(self.environments)
        return bootstrap(prompts, lambda weights: weights, strata=strata, resamples=resamples, seed=seed).astype(np.float32)

    def only(self, prompts: NDArray[np.bool_]) -> Self:
        """The same words, in some of the prompts."""
        numbers = np.cumsum(prompts) - 1
        kept = prompts[self.prompt]
        starts = np.concatenate(([0], np.cumsum(kept)))[self.starts]
        by_prompt = {name: getattr(self, name)[prompts] for name in ("words", "kept_words", "traces", "environments", "keys")}
        by_use = {name: getattr(self, name)[kept] for name in ("n", "kept", "using")}
        return replace(self, starts=starts, prompt=numbers[self.prompt[kept]], **by_prompt, **by_use)

    def half(self, which: int) -> Self:
        """Every other prompt, in an order that neither the traces nor their number have a say in."""
        rank = np.empty(len(self.keys), np.int64)
        rank[np.argsort(self.keys, kind="stable")] = np.arange(len(self.keys))
        return self.only(rank % 2 == which)


def _large_enough(environments: Ints) -> Ints:
    """The environments, the small ones taken together."""
    sizes = np.bincount(environments)
    small = sizes[environments] < SMALL_STRATUM
    return np.zeros_like(environments) if 0 < small.sum() < SMALL_STRATUM else np.where(small, -1, environments)


def sides(counts: list[Counts], vocabulary: list[str]) -> list[Side]:
    """Each set of counts as arrays over this vocabulary; environments have the same code everywhere."""
    names = sorted({str(name) for one in counts for name in one.totals["environment"].unique()})
    codes = pl.DataFrame({"environment": names, "environment_code": np.arange(len(names))}, schema_overrides={"environment": pl.String})
    words = pl.DataFrame({"word": vocabulary, "word_code": np.arange(len(vocabulary))}, schema_overrides={"word": pl.String})
    return [_side(one, codes, words) for one in counts]


def _side(counts: Counts, codes: pl.DataFrame, words: pl.DataFrame) -> Side:
    named = [pl.col(name).cast(pl.String) for name in PROMPT]
    totals = (
        counts.totals.with_columns(named)
        .filter(pl.col("words") > 0)
        .sort(PROMPT)
        .join(codes, on="environment", how="left", maintain_order="left")
    )
    prompts = totals.select(PROMPT).with_columns(prompt=pl.int_range(pl.len(), dtype=pl.Int64))
    rows = (
        counts.counts.with_columns(*named, pl.col("word").cast(pl.String))
        .filter(pl.col("n") > 0)
        .join(words, on="word")
        .join(prompts, on=PROMPT)
        .sort("word_code", "prompt")
    )
    keys = [int.from_bytes(blake2b(f"{a}\0{b}".encode(), digest_size=7).digest(), "big") for a, b in totals.select(PROMPT).iter_rows()]
    return Side(
        words=totals["words"].cast(pl.Float32).to_numpy(),
        kept_words=totals["kept_words"].cast(pl.Float32).to_numpy(),
        traces=totals["traces"].cast(pl.Int64).to_numpy(),
        environments=totals["environment_code"].cast(pl.Int64).to_numpy(),
        keys=np.array(keys, np.int64),
        starts=np.searchsorted(rows["word_code"].to_numpy(), np.arange(words.height + 1)),
        prompt=rows["prompt"].to_numpy(),
        n=rows["n"].cast(pl.Float32).to_numpy(),
        kept=rows["kept"].cast(pl.Float32).to_numpy(),
        using=rows["traces"].cast(pl.Int64).to_numpy(),
    )
