"""A panel: what several raters make of an item together, and how good each of them is with no truth to hold them against.

Ratings come as an array: a row a rater, a column an item, NaN where a rater gave no answer.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp

from cotdrift.errors import InputError, NotEnough
from cotdrift.estimate import Floats

SMOOTHING = 0.01
"""Of an answer: so often every rater is taken to have given every answer, beside those really given, so that no chance is nought."""


class Audit(NamedTuple):
    """What Dawid and Skene's model makes of a panel: for auditing raters, as five of them hardly gain over their majority."""

    answers: Floats
    """The values that are answered."""
    prevalence: Floats
    """How often each is true."""
    confusion: Floats
    """Raters × true answers × answers given; rows sum to 1."""
    chances: Floats
    """Items × answers: how likely each is the true one."""

    @property
    def accuracy(self) -> Floats:
        """How often each rater is right."""
        right: Floats = np.einsum("rkk,k->r", self.confusion, self.prevalence)
        return right

    @property
    def likeliest(self) -> Floats:
        """The likeliest answer of each item."""
        likeliest: Floats = self.answers[self.chances.argmax(axis=1)]
        return likeliest


def rows_of(ratings: ArrayLike) -> Floats:
    """Ratings as an array, with NaN for whatever is no number."""
    table = np.atleast_2d(np.asarray(ratings, np.float64))
    return np.where(np.isfinite(table), table, np.nan)


def count_answers(ratings: Floats, answers: Sequence[float] | None = None) -> tuple[Floats, Floats]:
    """The answers in order, and how many raters gave each to each item (items × answers)."""
    given = np.unique(ratings[np.isfinite(ratings)])
    values = given if answers is None else np.unique(np.asarray(answers, np.float64))
    if not np.isin(given, values).all():
        raise InputError(f"{set(given.tolist()) - set(values.tolist())} is rated, and not among the answers {values.tolist()}.")
    counts = np.zeros((ratings.shape[1], len(values)))
    for place, value in enumerate(values):
        counts[:, place] = (ratings == value).sum(axis=0)
    return values, counts


def majority(ratings: ArrayLike) -> Floats:
    """The answer that most raters give of each item; NaN where none is, or where two are given as often.

    >>> majority([[1, 0, 1], [1, 0, 0], [0, float("nan"), float("nan")]]).tolist()
    [1.0, 0.0, nan]
    """
    table = rows_of(ratings)
    values, counts = count_answers(table)
    most = counts.max(axis=1, keepdims=True, initial=0)
    clear = (most[:, 0] > 0) & ((counts == most).sum(axis=1) == 1)
    return np.where(clear, values[counts.argmax(axis=1)], np.nan) if len(values) else np.full(table.shape[1], np.nan)


def dawid_skene(ratings: ArrayLike, *, answers: Sequence[float] | None = None, steps: int = 500) -> Audit:
    """How often each rater is right and what they take for what, with no truth known (Dawid and Skene 1979, by EM).

    It holds that raters err independently once the truth is given: two judges that share a fault are taken for right.
    """
    table = rows_of(ratings)
    values, counts = count_answers(table, answers)
    said = (table[:, :, None] == values).astype(np.float64)
    rated = counts.any(axis=1)
    if not rated.any():
        raise NotEnough("No item has an answer, so there is no rater to audit.")
    chances = np.full(counts.shape, 1 / len(values))
    chances[rated] = counts[rated] / counts[rated].sum(axis=1, keepdims=True)
    before = -np.inf
    for _ in range(steps):
        prevalence = chances[rated].mean(axis=0)
        confusion = np.einsum("ik,ril->rkl", chances, said) + SMOOTHING
        confusion /= confusion.sum(axis=2, keepdims=True)
        joint = np.log(np.maximum(prevalence, 1e-300)) + np.einsum("ril,rkl->ik", said, np.log(confusion))
        whole = logsumexp(joint, axis=1, keepdims=True)
        chances = np.exp(joint - whole)
        likelihood = float(whole[rated].sum())
        if likelihood - before < 1e-9 * abs(likelihood):
            break
        before = likelihood
    return Audit(values, prevalence, confusion, chances)
