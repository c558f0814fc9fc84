"""g-mean²: what a monitor's yes is worth at every threshold, in the three forms of Guan et al. (arXiv 2512.18311).

Counts come with a row a resample and, along the last axis, a column a threshold: how much of a kind of trace the monitor says yes to. The
kinds are traces with the property and without it; of an intervention X and a behaviour Y they are x1y1, x1y0, x0y1 and x0y0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from cotdrift.estimate import Floats, Ints

if TYPE_CHECKING:
    from cotdrift.monitor import Archetype


def worth(yes: Sequence[Floats], size: Sequence[Floats], archetype: Archetype) -> tuple[Floats, Floats, Floats]:
    """g-mean², TPR and TNR, from how many of each kind there are and how many of them it says yes to; NaN where they cannot be told.

    A process has no traces to pass, so that its TNR is 1. Of an intervention only what it brought about must be found:

        TE = P(Y|X=1) − P(Y|X=0), R = TE / P(Y|X=1), TPR = min(1, P(yes|X=1,Y=1) / R), TNR = √(P(no|X=1,Y=0) · P(no|X=0)),

    where TE is above nought. Where all that is treated shows the behaviour, P(no|X=0) alone is the TNR.

    >>> [float(found) for found in worth([np.array(30.0), np.array(8.0)], [np.array(40.0), np.array(80.0)], "outcome")]
    [0.675, 0.75, 0.9]
    """
    if archetype == "intervention":
        return _of_effect(yes, size)
    tpr = ratio(yes[0], size[0])
    tnr = np.where(np.isfinite(tpr), 1.0, np.nan) if archetype == "process" else 1 - ratio(yes[1], size[1])
    return tpr * tnr, tpr, tnr


def _of_effect(yes: Sequence[Floats], size: Sequence[Floats]) -> tuple[Floats, Floats, Floats]:
    x1y1, x1y0, x0y1, x0y0 = size
    treated = ratio(x1y1, x1y1 + x1y0)
    effect = treated - ratio(x0y1, x0y1 + x0y0)
    raises = effect > 0
    share = np.where(raises, ratio(effect, treated), np.nan)
    tpr = np.minimum(1.0, ratio(ratio(yes[0], x1y1), share))
    passed = 1 - ratio(yes[2] + yes[3], x0y1 + x0y0)
    spared = 1 - ratio(yes[1], x1y0)
    tnr = np.where(raises, np.where(np.isfinite(spared), np.sqrt(np.where(np.isfinite(spared), spared, 1.0) * passed), passed), np.nan)
    return tpr * tnr, tpr, tnr


def area_under(positive: Floats, negative: Floats) -> Floats:
    """The AUROC, ties by half: the trapezoids under the curve of counts from each threshold on."""
    tpr, fpr = ratio(positive, positive[..., :1]), ratio(negative, negative[..., :1])
    area: Floats = ((tpr[..., :-1] + tpr[..., 1:]) / 2 * (fpr[..., :-1] - fpr[..., 1:])).sum(axis=-1)
    return area


def best_place(kinds: Sequence[Floats], archetype: Archetype) -> Ints:
    """At which threshold g-mean² is highest; −1 where it can be told at none."""
    value = worth(kinds, [kind[..., :1] for kind in kinds], archetype)[0]
    place: Ints = np.nan_to_num(value, nan=-1.0).argmax(axis=-1)
    return np.where(np.isfinite(value).any(axis=-1), place, -1)


def strict_place(negatives: Floats, fpr: float) -> Ints:
    """The first threshold with at most this share of false alarms, which the last one always has; −1 where there is nothing to alarm."""
    few = ratio(negatives, negatives[..., :1]) <= fpr + 1e-12
    few[..., -1] = True
    place: Ints = few.argmax(axis=-1)
    return np.where(negatives[..., 0] > 0, place, -1)


def from_each_cut(counts: Floats) -> Floats:
    """From counts in bins to counts from each threshold on: the first has all of them, and one more than there are bins has none.

    >>> from_each_cut(np.array([[2.0, 0.0, 1.0]])).tolist()
    [[3.0, 1.0, 1.0, 0.0]]
    """
    summed: Floats = np.pad(counts[..., ::-1].cumsum(axis=-1)[..., ::-1], [(0, 0)] * (counts.ndim - 1) + [(0, 1)])
    return summed


def ratio(part: Floats, whole: Floats) -> Floats:
    """Part over whole; NaN where there is no whole."""
    part, whole = np.broadcast_arrays(part, whole)
    found: Floats = np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
    return found
