"""Hedging: words that hold back from saying so."""

import numpy as np
from numpy.typing import NDArray

from cotdrift.measure import measure
from cotdrift.measures.code import prose, prose_of
from cotdrift.measures.share import share
from cotdrift.text import words
from cotdrift.tokens import Batch
from cotdrift.trace import Trace

HEDGES = frozenset(
    """
    maybe perhaps possibly probably presumably conceivably plausibly supposedly apparently seemingly arguably potentially likely unlikely
    possible probable plausible might may could seem seems seemed appear appears appeared suggest suggests suggested guess suspect
    doubt doubtful unsure uncertain unclear uncertainty roughly approximately somewhat fairly mostly usually often sometimes generally
    typically tend tends
    """.split()
)
"""Single words from Hyland's (2005) list of hedges, with those of reasoning aloud (maybe, unsure, guess); `would`, `assume` and `about` are left out, for
in reasoning they mostly set up a case or a sum."""


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
