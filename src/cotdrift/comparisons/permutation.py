"""Permutation tests of thousands of words at once: whole prompts change sides, and all words see the same changes.

The prompt is what is permuted, because what is said in answer to one prompt is not independent. Both statistics compare a word's uses
with what they would be if both sides used it at one rate, given the words written there, so neither mistakes longer reasoning for more
of a word.

Two sides that answered the same prompts are compared prompt by prompt: uses on the focal side less those expected there, which has the
opposite sign when the sides are swapped. A swap changes no word's sum of squares, so the plain sum is as good as studentised, and the
test is a matrix product.

Two sides with prompts of their own exchange prompts within each environment, and the difference is studentised anew in each exchange:
without that a word said in one prompt would look significant whenever its side has few prompts, and a side would look different for
being burstier.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
Blocks = Callable[[Ints], Floats]
"""The counts of these words: a row a word, a column a prompt."""

STAGES = ((2_000, 1.0), (20_000, 0.01), (100_000, 0.0005))
"""How many exchanges there are in the end, and for which p so far: small ones must be known well, to be adjusted for many words."""

FOUND = 0.05
"""Words whose adjusted p is this small, whatever more exchanges would say, need none."""

ROWS = 2_000
CELLS = 1_000_000
"""How many numbers a matrix holds at most: 4 MB, which a processor keeps at hand."""

TIE = 1e-5
"""Sums of single-precision numbers this close, measured by the word's spread, are the same."""


@dataclass(frozen=True)
class Tested:
    """What a test says of each word."""

    p: NDArray[np.float64]
    direction: NDArray[np.int8]
    """1 where the focal side uses the word more, -1 where it uses it less, 0 where neither."""


def paired(focal: Blocks, other: Blocks, focal_words: Floats, other_words: Floats, *, n_words: int, seed: int) -> Tested:
    """Swap the sides within each prompt: all ways where they are 4096 at most, else a sample of them."""
    prompts = len(focal_words)
    both = focal_words + other_words
    share = np.divide(focal_words, both, out=np.full(prompts, 0.5, np.float32), where=both > 0)

    def scores(words: Ints) -> Floats:
        said = focal(words)
        difference: Floats = said - (said + other(words)) * share
        return difference

    def beyond(signs: Floats, words: Ints) -> Ints:
        scored = scores(words)
        seen = np.abs(scored.sum(axis=1)) - TIE * np.sqrt((scored**2).sum(axis=1))
        sums = scored @ signs
        hits: Ints = np.count_nonzero(np.abs(sums, out=sums) >= seen[:, None], axis=1)
        return hits

    def swap(rng: np.random.Generator, size: int) -> Floats:
        return 1 - 2 * rng.integers(0, 2, (prompts, size)).astype(np.float32)

    direction = _by_block(n_words, prompts, lambda words: np.sign(scores(words).sum(axis=1)))
    if prompts <= 12:
        every = np.arange(2**prompts) >> np.arange(prompts)[:, None] & 1
        hits = _by_block(n_words, max(prompts, 2**prompts), lambda words: beyond(1 - 2 * every.astype(np.float32), words))
        return Tested(hits / 2**prompts, direction.astype(np.int8))
    p = _staged(swap, beyond, n_words, prompts, seed)
    return Tested(p, direction.astype(np.int8))


def unpaired(counts: Blocks, exposure: Floats, is_focal: NDArray[np.bool_], strata: Ints, *, n_words: int, seed: int) -> Tested:
    """Exchange whole prompts between the sides, within strata."""
    members = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
    prompts, shares = len(exposure), exposure / exposure.sum()
    within = [exposure[member] / exposure[member].sum() for member in members]

    def scores(words: Ints) -> Floats:
        said = counts(words)
        for member, part in zip(members, within, strict=True):
            here = said[:, member]
            said[:, member] = here - here.sum(axis=1, keepdims=True) * part
        return said

    def squared(sides: Floats, scored: Floats) -> tuple[Floats, Floats]:
        """The square of the difference, and its variance."""
        squares, words = scored**2, shares @ sides
        variance, difference = squares @ sides, scored @ sides
        variance *= (1 - words) ** 2 - words**2
        variance += squares.sum(axis=1, keepdims=True) * words**2
        return np.square(difference, out=difference), variance

    def beyond(sides: Floats, words: Ints) -> Ints:
        scored = scores(words)
        seen, error = squared(is_focal[:, None].astype(np.float32), scored)
        difference, variance = squared(sides, scored)
        variance *= np.divide(seen, error, out=np.zeros_like(seen), where=error > 0) * (1 - TIE)
        hits: Ints = np.count_nonzero(difference >= variance, axis=1)
        return hits

    def exchange(rng: np.random.Generator, size: int) -> Floats:
        sides = np.empty((prompts, size), np.float32)
        for member in members:
            wanted = np.full(size, int(is_focal[member].sum()))
            for left, prompt in zip(range(len(member), 0, -1), member, strict=True):  # each prompt by the chance that is left for it
                chosen = rng.random(size) * left < wanted
                sides[prompt] = chosen
                wanted -= chosen
        return sides

    direction = _by_block(n_words, prompts, lambda words: np.sign(scores(words)[:, is_focal].sum(axis=1)))
    p = _staged(exchange, beyond, n_words, prompts, seed)
    return Tested(p, direction.astype(np.int8))


def _staged(
    draw: Callable[[np.random.Generator, int], Floats], beyond: Callable[[Floats, Ints], Ints], n_words: int, prompts: int, seed: int
) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    hits, seen, alive = np.zeros(n_words, np.int64), np.zeros(n_words, np.int64), np.arange(n_words)
    so_far = 0
    for draws, below in STAGES:
        if so_far:
            alive = alive[1 + hits[alive] <= below * (1 + so_far)]
            if n_words * below <= FOUND * len(alive):
                break
        if not len(alive):
            break
        for start in range(so_far, draws, ROWS):
            drawn = draw(rng, min(ROWS, draws - start))
            for block in blocks(alive, max(drawn.shape)):
                hits[block] += beyond(drawn, block)
        seen[alive] = so_far = draws
    result: NDArray[np.float64] = (1 + hits) / (1 + seen)
    return result


def blocks(words: Ints, width: int) -> Iterator[Ints]:
    """The words a few at a time, so that a row of this width for each of them fits into memory."""
    step = max(1, CELLS // max(width, 1))
    return (words[start : start + step] for start in range(0, len(words), step))


def _by_block(n_words: int, width: int, each: Callable[[Ints], NDArray[Any]]) -> NDArray[np.float64]:
    found = [each(block) for block in blocks(np.arange(n_words), width)]
    return np.concatenate(found).astype(np.float64) if found else np.zeros(0)
