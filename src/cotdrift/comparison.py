"""A comparison: what one set of traces is held against, another set or what people write."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cotdrift.errors import InputError

COUNTED = ("environment", "prompt_id", "word", "n", "kept", "traces")
TOTALLED = ("environment", "prompt_id", "words", "kept_words", "traces")


@dataclass(frozen=True, eq=False)
class Counts:
    """How often each word stands in one set of traces, prompt by prompt."""

    counts: pl.DataFrame
    """environment, prompt_id, word, n (its uses), kept (those outside degenerate loops), traces (how many use it)."""
    totals: pl.DataFrame
    """environment, prompt_id, words (all of them), kept_words (those outside degenerate loops), traces."""
    name: str = "these traces"
    """What sentences call this set: `step 0 of toy`, `the answers`."""

    def __post_init__(self) -> None:
        for table, wanted in ((self.counts, COUNTED), (self.totals, TOTALLED)):
            if lacking := [column for column in wanted if column not in table.columns]:
                raise InputError(f"A table of counts needs the columns {', '.join(wanted)}; {', '.join(lacking)} is not there.")


@dataclass(frozen=True)
class Reference:
    """How often a word is used elsewhere, known without traces and therefore without prompts."""

    name: str
    rates: Callable[[Sequence[str]], NDArray[np.float64]]
    """Uses per million words; 0 for a word that is rarer than the floor, NaN for a term of which the reference can say nothing."""
    floor: float
    """The rate under which a word is not listed."""
    rounding: float
    """By how much a listed rate may be off through rounding, as a share of it."""
    error: float
    """Standard deviation of the logarithm of a rate, for all else that may be wrong with it."""
