"""Words whose neighbours changed: discovery of changed senses over a whole vocabulary, without an encoder.

Each word's vector at a checkpoint is made of the words it stands near (positive pointwise mutual information, reduced by a singular value
decomposition: Levy et al., 2015). What is compared are a word's nearest words there, which needs no alignment of two spaces and can be
shown (Gonen et al., 2020). Neighbours differ by noise too, above all of rare words: so halves of the two checkpoints are held against
halves of one, and what chance does to the difference is measured by swapping the checkpoints within prompts. Where even halves of one
checkpoint hardly agree, there is too little text to say anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import svds

from cotdrift.comparisons.energy import Prompt
from cotdrift.errors import NotEnough
from cotdrift.estimate import Floats, Ints, benjamini_hochberg

NEAR = 5
"""Words on each side that count as a word's surroundings."""
LEAST_USES = 50
"""Of a word on each side."""
LEAST_WORDS = 50
"""Of the vocabulary that is compared."""
MOST_WORDS = 1000
WIDTH = 50
NEIGHBOURS = 20
SWAPS = 20
SPLITS = 2
"""How often the prompts are halved, for each comparison."""
ALIKE = 100
"""How many words of about the same frequency say together what noise does to one."""
LEAST_AGREEMENT = 0.2
"""The share of neighbours that halves of one checkpoint must have in common for anything to be said."""
SMOOTHED = 0.75
SHOWN = 6

Nearness: TypeAlias = sparse.csr_array


class Moved(Struct, frozen=True, kw_only=True):
    """A word, and what became of its neighbours."""

    word: str
    uses_first: int
    uses: int
    within: float
    """The share of its nearest words that two halves of one side have in common."""
    across: float
    """The same for a half of each side."""
    p: float
    p_adjusted: float
    near_first: tuple[str, ...]
    """Nearest words on the first side that are not on the second."""
    near: tuple[str, ...]


def near_each_other(ids: NDArray[np.integer[Any]], offsets: Ints, place: Ints, size: int) -> Nearness:
    """How often each pair of words stands within five words, in some texts; `place` numbers the words that count, -1 for the rest."""
    text = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    at = place[ids]
    pairs = []
    for apart in range(1, NEAR + 1):
        kept = (text[apart:] == text[:-apart]) & (at[apart:] >= 0) & (at[:-apart] >= 0)
        pairs.append((at[:-apart][kept], at[apart:][kept]))
    one, other = (np.concatenate([pair[side] for pair in pairs]) for side in range(2))
    counted = sparse.coo_array((np.ones(2 * len(one)), (np.concatenate([one, other]), np.concatenate([other, one]))), shape=(size, size))
    return sparse.csr_array(counted)


def moved_neighbours(
    first: Mapping[Prompt, Nearness], second: Mapping[Prompt, Nearness], words: Sequence[str], uses: tuple[Ints, Ints], *, seed: int = 0
) -> list[Moved]:
    """The words in the order of how surely their neighbours changed; sides are given prompt by prompt, on the prompts that both have."""
    prompts = sorted(set(first) & set(second))
    if len(words) < LEAST_WORDS or len(prompts) < 2:
        raise NotEnough(
            f"{len(words)} words are used {LEAST_USES} times on both sides, on {len(prompts)} shared prompts; {LEAST_WORDS} are needed. "
            "There are too few words to look for changed senses in: name terms instead."
        )
    rng = np.random.default_rng(seed)
    within, across = _halved(first, second, prompts, rng, seed)
    if within.mean() < LEAST_AGREEMENT:
        raise NotEnough(
            f"Words have {within.mean():.0%} of their neighbours in common between halves of one checkpoint: little but noise. "
            "There are too few words to look for changed senses in: name terms instead."
        )
    null = []
    for _ in range(SWAPS):
        swapped = {prompt for prompt, swap in zip(prompts, rng.integers(0, 2, len(prompts)), strict=True) if swap}
        sides = [
            {prompt: (two if prompt in swapped else one)[prompt] for prompt in prompts} for one, two in ((first, second), (second, first))
        ]
        null.append(np.subtract(*_halved(sides[0], sides[1], prompts, rng, seed)))
    spread = _spread(np.array(null), np.minimum(*uses))
    by_noise = np.sort((np.array(null) / spread).ravel())  # of all words together, so that p can be as small as many words ask for
    lost = within - across
    p = (1 + len(by_noise) - np.searchsorted(by_noise, lost / spread - 1e-9)) / (1 + len(by_noise))
    adjusted = benjamini_hochberg(p.tolist())
    near = [_nearest(_sum([side[prompt] for prompt in prompts]), seed) for side in (first, second)]
    found = [
        Moved(
            word=word,
            uses_first=int(uses[0][at]),
            uses=int(uses[1][at]),
            within=float(within[at]),
            across=float(across[at]),
            p=float(p[at]),
            p_adjusted=float(adjusted[at] or 0.0),
            near_first=_alone(near[0][at], near[1][at], words),
            near=_alone(near[1][at], near[0][at], words),
        )
        for at, word in enumerate(words)
    ]
    return sorted(found, key=lambda one: (one.p, one.across - one.within, one.word))


def _halved(
    first: Mapping[Prompt, Nearness], second: Mapping[Prompt, Nearness], prompts: Sequence[Prompt], rng: np.random.Generator, seed: int
) -> tuple[Floats, Floats]:
    """For each word the share of neighbours that halves of one side have in common, and halves of different sides, on different prompts."""
    within, across = [], []
    for _ in range(SPLITS):
        order = [prompts[at] for at in rng.permutation(len(prompts))]
        parts = order[: len(order) // 2], order[len(order) // 2 :]
        (one, two), (three, four) = (
            [_nearest(_sum([side[prompt] for prompt in part]), seed) for part in parts] for side in (first, second)
        )
        within += [_overlap(one, two), _overlap(three, four)]
        across += [_overlap(one, four), _overlap(three, two)]
    return np.mean(within, axis=0), np.mean(across, axis=0)


def _spread(null: Floats, uses: Ints) -> Floats:
    """How far chance moves each word: the deviation of all words of about its frequency."""
    spread, order = np.zeros(len(uses)), np.argsort(uses, kind="stable")
    for rank, at in enumerate(order):
        start = min(max(0, rank - ALIKE // 2), max(0, len(uses) - ALIKE))
        spread[at] = max(float(null[:, order[start : start + ALIKE]].std()), 1e-3)
    return spread


def _sum(parts: Sequence[Nearness]) -> Nearness:
    total = sparse.csr_array(parts[0].shape)
    for part in parts:
        total = total + part
    return total


def _nearest(counts: Nearness, seed: int) -> NDArray[np.int64]:
    """Each word's nearest words, the nearest first."""
    total = counts.sum()
    rows, columns = counts.sum(axis=1), counts.sum(axis=0) ** SMOOTHED
    told = counts.tocoo()
    at, beside = told.coords
    expected = rows[at] * columns[beside] / columns.sum()
    information = np.log(np.maximum(told.data / np.maximum(expected, 1e-12), 1e-12))
    kept = information > 0
    positive = sparse.csr_array(sparse.coo_array((information[kept], (at[kept], beside[kept])), shape=counts.shape))
    if not total or positive.nnz == 0:
        return np.zeros((counts.shape[0], NEIGHBOURS), np.int64)
    wide = min(WIDTH, counts.shape[0] - 1)
    left, size, _ = svds(positive, k=wide, random_state=seed)
    vectors: Floats = left * np.sqrt(size)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    near = vectors @ vectors.T
    np.fill_diagonal(near, -np.inf)
    most = min(NEIGHBOURS, len(near) - 1)
    return np.argsort(-near, axis=1, kind="stable")[:, :most].astype(np.int64)


def _overlap(one: NDArray[np.int64], other: NDArray[np.int64]) -> Floats:
    common: Floats = np.array([len(np.intersect1d(a, b)) for a, b in zip(one, other, strict=True)], np.float64)
    made: Floats = common / one.shape[1]
    return made


def _alone(near: NDArray[np.int64], other: NDArray[np.int64], words: Sequence[str]) -> tuple[str, ...]:
    there = set(other.tolist())
    return tuple(words[at] for at in near.tolist() if at not in there)[:SHOWN]
