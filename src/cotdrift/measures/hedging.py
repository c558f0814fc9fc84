"""Hedging: words that hold back from saying so."""

import numpy as np
from numpy.typing import NDArray

from cotdrift.measure import measure
from cotdrift.measures.code import prose, prose_of
from cotdrift.measures.share import share
from cotdrift.text import words
from cotdrift.tokens import Batch
from cotdrift.trace import Trace

HYLAND = """
apparently appear appears appeared approximately arguably conceivably could doubt doubtful fairly generally guess likely may maybe might
mostly often perhaps plausible plausibly possible possibly potentially presumably probable probably roughly seem seems seemed seemingly
sometimes somewhat suggest suggests suggested supposedly suspect tend tends typically uncertain uncertainty unclear unlikely unsure usually
"""
"""After Hyland (2005), single words only; without `would`, `assume` and `about`, which in reasoning mostly set up a case or a sum."""

HEDGES = frozenset(HYLAND.split())


@measure(unit="hedges per 100 words")
def hedging(trace: Trace) -> float | None:
    """Hedging words per hundred words of prose.

    Counts words whatever they mean in their place, the month of May among them, and no phrases ("I think").

    >>> hedging(Trace.example("Maybe it is four, perhaps."))
    40.0
    """
    said = words(prose(trace.reasoning))
    if not said:
        return None
    return 100 * sum(word in HEDGES for word in said) / len(said)


@hedging.batch
def _(batch: Batch) -> NDArray[np.float64]:
    read = prose_of(batch)
    return share(100 * read.count(HEDGES), read.n_words)
