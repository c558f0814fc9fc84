"""Repetition: reasoning that says the same again, or is stuck in a loop."""

import numpy as np
from numpy.typing import NDArray

from cotdrift.measure import Found, FoundInBatch, measure
from cotdrift.text import loops, spans, words
from cotdrift.tokens import Batch
from cotdrift.trace import Trace


@measure(unit="share of 4-grams")
def repeated_ngrams(trace: Trace) -> float | None:
    """Share of the sequences of four words that are not there for the first time.

    From Welleck et al. (2020), as seq-rep-4. It rises with length, so read it beside `reasoning_words`. None below four words.

    >>> repeated_ngrams(Trace.example("It is even. It is even. It is even."))
    0.5
    """
    said = words(trace.reasoning)
    grams = list(zip(said, said[1:], said[2:], said[3:], strict=False))
    return 1 - len(set(grams)) / len(grams) if grams else None


@repeated_ngrams.batch
def _(batch: Batch) -> NDArray[np.float64]:
    return batch.repeated_ngrams(4)


@measure(unit="words")
def longest_loop(trace: Trace) -> Found | float | None:
    """Words in the longest degenerate loop, 0 when there is none.

    A degenerate loop is the same words standing three times or more in a row, with at least 12 words after the first copy.

    >>> longest_loop(Trace.example("So I check again. " + "Wait, is it even? " * 5))
    Found(value=20, start=18, end=106)
    """
    said = spans(trace.reasoning)
    if not said:
        return None
    found = loops([word for word, _, _ in said])
    if not found:
        return 0
    first, last, _ = max(found, key=lambda loop: loop[1] - loop[0])
    return Found(last - first, said[first][1], said[last - 1][2])


@longest_loop.batch
def _(batch: Batch) -> FoundInBatch:
    starts, ends, lengths = batch.longest_loop()
    return FoundInBatch(np.where(batch.n_words > 0, lengths, np.nan), starts, ends)
