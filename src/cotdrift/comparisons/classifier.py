"""The classifier two-sample test: how well it can be told of a use from which checkpoint it is (Lopez-Paz and Oquab, 2017).

A ridge regression of the checkpoint on the vectors, tried on prompts that it has not seen: the share of pairs, one use of each checkpoint,
that it puts in the right order (AUC, 0.5 by chance). Where the energy distance sees the mean alone, it may also see a sense that was added.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from cotdrift.comparisons.energy import Sides
from cotdrift.estimate import Floats, Ints

FOLDS = 5
DRAWS = 199


class Told(NamedTuple):
    """How well the two are told apart."""

    auc: float
    p: float


def told_apart(sides: Sides, *, draws: int = DRAWS, seed: int = 0) -> Told:
    """The cross-validated AUC, and how often swapped or exchanged prompts give one as high."""
    first, second = sides.clouds
    vectors = np.concatenate([first.vectors, second.vectors]).astype(np.float64)
    is_second = np.arange(len(vectors)) >= len(first.prompts)
    labels = np.stack([is_second, *sides.labels(draws, seed)], axis=1)
    folds = _folds([*first.prompts, *second.prompts], is_second, paired=sides.paired, seed=seed)
    centred = vectors - vectors.mean(axis=0)
    gram = centred @ centred.T
    ridge = float(np.trace(gram)) / len(gram)
    total, pairs = np.zeros(labels.shape[1]), np.zeros(labels.shape[1])
    for fold in range(FOLDS):
        held = folds == fold
        known = gram[np.ix_(~held, ~held)]
        told = labels[~held].astype(np.float64)
        solved = np.linalg.solve(known + ridge * np.eye(len(known)), told - told.mean(axis=0))
        right, possible = _ordered(gram[np.ix_(held, ~held)] @ solved, labels[held])
        total, pairs = total + right, pairs + possible
    aucs = np.divide(total, pairs, out=np.full_like(total, 0.5), where=pairs > 0)
    return Told(float(aucs[0]), float((1 + (aucs[1:] >= aucs[0] - 1e-12).sum()) / aucs.size))


def _ordered(scores: Floats, labels: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """How many pairs are in the right order, and how many there are, for each column."""
    ones = labels.sum(axis=0).astype(np.float64)
    ranks = rankdata(scores, axis=0)
    return (ranks * labels).sum(axis=0) - ones * (ones + 1) / 2, ones * (len(labels) - ones)


def _folds(prompts: list[tuple[str, str]], is_second: NDArray[np.bool_], *, paired: bool, seed: int) -> Ints:
    """Which fold each use is in: whole prompts, and of two sides with prompts of their own as many of each in every fold."""
    rng = np.random.default_rng(seed)
    found: dict[tuple[str, str], int] = {}
    groups = [prompts] if paired else [[p for p, late in zip(prompts, is_second, strict=True) if late == side] for side in (False, True)]
    for group in groups:
        order = sorted(set(group))
        found |= {order[at]: turn % FOLDS for turn, at in enumerate(rng.permutation(len(order)))}
    return np.array([found[prompt] for prompt in prompts], np.int64)
