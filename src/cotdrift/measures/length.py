"""Length: how much reasoning there is."""

import numpy as np
from numpy.typing import NDArray

from cotdrift.measure import measure
from cotdrift.text import words
from cotdrift.tokens import Batch
from cotdrift.trace import Trace


@measure(unit="words")
def reasoning_words(trace: Trace) -> float | None:
    """Words of reasoning; numbers are no words.

    >>> reasoning_words(Trace.example("That is 2 plus 2, so four."))
    5
    """
    return len(words(trace.reasoning)) or None


@reasoning_words.batch
def _(batch: Batch) -> NDArray[np.float64]:
    return np.where(batch.n_words > 0, batch.n_words, np.nan)


@measure(unit="characters")
def reasoning_chars(trace: Trace) -> float | None:
    """Characters of reasoning, spaces and all.

    >>> reasoning_chars(Trace.example("It is 4."))
    8
    """
    return len(trace.reasoning) or None


@reasoning_chars.batch
def _(batch: Batch) -> NDArray[np.float64]:
    lengths = np.fromiter(map(len, batch.texts), np.int64, len(batch))
    return np.where(lengths > 0, lengths, np.nan)
