"""Two sides of a comparison as arrays: words by prompts, a few words at a time."""

from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cotdrift.comparison import Counts
from cotdrift.comparisons.permutation import Floats, Ints

PROMPT = ("environment", "prompt_id")


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

    def total(self, column: NDArray[np.generic]) -> NDArray[np.float64]:
        """A column of uses, summed for each word."""
        sums = np.concatenate(([0.0], np.cumsum(column, dtype=np.float64)))
        return sums[self.starts[1:]] - sums[self.starts[:-1]]

    @property
    def counts(self) -> NDArray[np.float64]:
        """All uses of each word."""
        return self.total(self.n)

    @property
    def in_prompts(self) -> Ints:
        """In how many prompts each word is used."""
        return np.diff(self.starts)

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
        counts.counts.with_columns(named)
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
