"""Diversity: how many different words the reasoning uses."""

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from cotdrift.measure import measure
from cotdrift.text import words
from cotdrift.tokens import Batch
from cotdrift.trace import Trace

WINDOW = 50


@measure(unit="share of words")
def mattr(trace: Trace) -> float | None:
    """Share of different words among 50 in a row, averaged over all such stretches (moving-average type-token ratio).

    From Covington and McFall (2010). Unlike the plain type-token ratio it does not fall with length. None below 50 words.

    >>> mattr(Trace.example("the same four words " * 20))
    0.08
    """
    said = words(trace.reasoning)
    if len(said) < WINDOW:
        return None
    inside = Counter(said[:WINDOW])
    different = len(inside)
    for left, entered in zip(said, said[WINDOW:], strict=False):
        inside[entered] += 1
        inside[left] -= 1
        if not inside[left]:
            del inside[left]
        different += len(inside)
    return different / (WINDOW * (len(said) - WINDOW + 1))


@mattr.batch
def _(batch: Batch) -> NDArray[np.float64]:
    return batch.mattr(WINDOW)
