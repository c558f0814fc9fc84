"""The energy distance between two sets of vectors, with prompts as the unit of every interval and test.

Szekely and Rizzo's distance for the cosine: twice the mean distance across the sets, less the mean distances within each. It is the squared
distance between the two mean vectors, and nought where the means agree. Two uses in answer to one prompt are not independent, so pairs of
the same prompt are left out everywhere: what is left has no bias, however many uses a prompt has.

Two sets that answered the same prompts are compared prompt by prompt, and tested by swapping the sets within prompts. Two sets with prompts
of their own exchange whole prompts within environments.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from cotdrift.estimate import Floats, Ints, bootstrap

Prompt = tuple[str, str]

LEAST_PROMPTS = 10
"""So many prompts two sets must share to be compared prompt by prompt; and so many each needs to be compared at all."""
DRAWS = 1999
TIE = 1e-9


class Cloud(NamedTuple):
    """The vectors of a term's uses at one checkpoint."""

    vectors: Floats
    """A row a use, of length one."""
    prompts: Sequence[Prompt]
    """Of each use: environment and prompt."""

    def only(self, kept: NDArray[np.bool_]) -> Cloud:
        """These uses alone."""
        return Cloud(self.vectors[kept], [prompt for prompt, is_kept in zip(self.prompts, kept, strict=True) if is_kept])

    def by_prompt(self, order: Sequence[Prompt]) -> tuple[Floats, Floats]:
        """The sum of each prompt's vectors (prompts × width), and how many they are."""
        codes = _codes(self.prompts, order)
        sums = np.zeros((len(order), self.vectors.shape[1]))
        np.add.at(sums, codes, self.vectors)
        return sums, np.bincount(codes, minlength=len(order)).astype(np.float64)


class Spread(NamedTuple):
    """Mean cosine distances between uses in answer to different prompts."""

    first: float
    second: float
    across: float


class Sides(Protocol):
    """Two sets of vectors that can be compared."""

    clouds: tuple[Cloud, Cloud]
    """The uses that are compared."""
    prompts: int
    """Compared; of two sets with prompts of their own, the smaller number of the two."""
    paired: bool

    def energy(self) -> float:
        """The distance; slightly below nought by chance where there is none."""

    def spread(self) -> Spread:
        """The mean distances it is made of."""

    def p(self, *, draws: int, seed: int) -> float:
        """How often chance alone would give a distance as large."""

    def drawn(self, *, resamples: int, seed: int) -> Floats:
        """The distance in each of so many draws of whole prompts."""

    def labels(self, draws: int, seed: int) -> Iterator[NDArray[np.bool_]]:
        """For each draw of the test, which uses (those of the first set, then those of the second) count as the second's."""


def held_against(first: Cloud, second: Cloud) -> Sides | None:
    """The two as what can be compared; None where too few prompts use the term.

    They are paired where they share ten prompts or more. Else each prompt counts on the side that has more of its uses.
    """
    shared = sorted(set(first.prompts) & set(second.prompts))
    if len(shared) >= LEAST_PROMPTS:
        one, other = (cloud.only(_codes(cloud.prompts, shared) >= 0) for cloud in (first, second))
        return Paired(one, other, shared)
    more = {prompt: list(first.prompts).count(prompt) >= list(second.prompts).count(prompt) for prompt in shared}
    both = {environment for environment, _ in first.prompts} & {environment for environment, _ in second.prompts}
    kept = [
        cloud.only(np.array([prompt[0] in both and more.get(prompt, is_first) == is_first for prompt in cloud.prompts], np.bool_))
        for cloud, is_first in ((first, True), (second, False))
    ]
    if min(len(set(cloud.prompts)) for cloud in kept) < LEAST_PROMPTS:
        return None
    return Exchanged(*kept)


class Paired:
    """Two sets that answered the same prompts. A prompt weighs as much as its uses on both sides tell together: n·m/(n+m)."""

    paired = True

    def __init__(self, first: Cloud, second: Cloud, shared: Sequence[Prompt]) -> None:
        self.clouds, self.prompts = (first, second), len(shared)
        (one, n), (other, m) = first.by_prompt(shared), second.by_prompt(shared)
        self.weights = n * m / (n + m)
        self.first, self.second = (sums * (self.weights / many)[:, None] for sums, many in ((one, n), (other, m)))
        difference = self.first - self.second
        self.gram = difference @ difference.T
        self.of_use = _codes([*first.prompts, *second.prompts], shared)
        self.is_second = np.arange(len(self.of_use)) >= len(first.prompts)

    def energy(self) -> float:
        """The distance."""
        return float(_over_pairs(self.gram, self.weights))

    def spread(self) -> Spread:
        """The mean distances it is made of."""
        one, other = self.first, self.second
        means = (_over_pairs(gram, self.weights) for gram in (one @ one.T, other @ other.T, one @ other.T))
        return Spread(*(1 - float(mean) for mean in means))

    def p(self, *, draws: int = DRAWS, seed: int = 0) -> float:
        """Swap the sides within prompts: all ways where they are few, else a sample."""
        seen = float(self.gram.sum())  # a swap changes nothing but the sign of a prompt's difference
        signs = self._signs(draws, seed)
        sums = np.einsum("dp,pq,dq->d", signs, self.gram, signs, optimize=True)
        hits = int((sums >= seen - TIE * abs(seen)).sum())
        return hits / len(signs) if self._few(draws) else (1 + hits) / (1 + len(signs))

    def drawn(self, *, resamples: int, seed: int) -> Floats:
        """The distance in each draw of whole prompts; a prompt drawn twice is no pair with itself."""
        own, squares = np.diag(self.gram), self.weights**2

        def statistic(weights: Floats) -> Floats:
            over = np.einsum("dp,dp->d", weights @ self.gram, weights) - weights**2 @ own
            under = (weights @ self.weights) ** 2 - weights**2 @ squares
            made: Floats = np.divide(over, under, out=np.zeros_like(over), where=under > 0)
            return made

        return bootstrap(self.prompts, statistic, resamples=resamples, seed=seed)

    def labels(self, draws: int, seed: int) -> Iterator[NDArray[np.bool_]]:
        """Which uses count as the second's in each swap."""
        for signs in self._signs(draws, seed):
            yield self.is_second ^ (signs[self.of_use] < 0)

    def _few(self, draws: int) -> bool:
        return self.prompts <= 30 and 1 << (self.prompts - 1) <= draws

    def _signs(self, draws: int, seed: int) -> Floats:
        if self._few(draws):
            bits = (np.arange(1 << (self.prompts - 1))[:, None] >> np.arange(self.prompts)) & 1
        else:
            bits = np.random.default_rng(seed).integers(0, 2, (draws, self.prompts))
        return 1.0 - 2.0 * bits.astype(np.float64)


class Exchanged:
    """Two sets with prompts of their own. A prompt weighs as much as it has uses."""

    paired = False

    def __init__(self, first: Cloud, second: Cloud) -> None:
        one, other = (list(dict.fromkeys(cloud.prompts)) for cloud in (first, second))
        self.clouds, self.prompts = (first, second), min(len(one), len(other))
        (sums, n), (more, m) = first.by_prompt(one), second.by_prompt(other)
        self.weights = np.concatenate([n, m])
        vectors = np.concatenate([sums, more])
        self.gram = vectors @ vectors.T
        self.is_second = np.arange(len(self.weights)) >= len(one)
        self.environment = np.unique([environment for environment, _ in (*one, *other)], return_inverse=True)[1]
        self.of_use = np.concatenate([_codes(first.prompts, one), len(one) + _codes(second.prompts, other)])

    def energy(self) -> float:
        """The distance."""
        return float(self._energies(self.is_second[None].astype(np.float64), np.ones((1, len(self.weights))))[0])

    def spread(self) -> Spread:
        """The mean distances it is made of."""
        return Spread(
            *(1 - float(mean[0]) for mean in self._means(self.is_second[None].astype(np.float64), np.ones((1, len(self.weights)))))
        )

    def p(self, *, draws: int = DRAWS, seed: int = 0) -> float:
        """Exchange whole prompts between the sides, within environments."""
        seen = self.energy()
        energies = self._energies(self._exchanges(draws, seed), np.ones((1, len(self.weights))))
        return float((1 + (energies >= seen - TIE * abs(seen)).sum()) / (1 + draws))

    def drawn(self, *, resamples: int, seed: int) -> Floats:
        """The distance in each draw of whole prompts, within each side."""
        side = self.is_second[None].astype(np.float64)

        def statistic(weights: Floats) -> Floats:
            return self._energies(side, weights)

        return bootstrap(len(self.weights), statistic, strata=self.is_second, resamples=resamples, seed=seed)

    def labels(self, draws: int, seed: int) -> Iterator[NDArray[np.bool_]]:
        """Which uses count as the second's in each exchange."""
        for sides in self._exchanges(draws, seed):
            yield sides[self.of_use] > 0

    def _exchanges(self, draws: int, seed: int) -> Floats:
        rng = np.random.default_rng(seed)
        sides = np.repeat(self.is_second[None].astype(np.float64), draws, axis=0)
        for environment in np.unique(self.environment):
            here = np.flatnonzero(self.environment == environment)
            sides[:, here] = rng.permuted(sides[:, here], axis=1)
        return sides

    def _energies(self, second: Floats, weights: Floats) -> Floats:
        one, other, across = self._means(second, weights)
        made: Floats = one + other - 2 * across
        return made

    def _means(self, second: Floats, weights: Floats) -> tuple[Floats, Floats, Floats]:
        """The mean cosines within the first side, within the second and across, for each draw (a row)."""
        own, squares = np.diag(self.gram), self.weights**2
        on_first, on_second = (1 - second) * weights, second * weights
        towards_first, towards_second = on_first @ self.gram, on_second @ self.gram

        def within(on: Floats, towards: Floats) -> Floats:
            over = np.einsum("dp,dp->d", towards, on) - on**2 @ own
            under = (on @ self.weights) ** 2 - on**2 @ squares
            made: Floats = np.divide(over, under, out=np.ones_like(over), where=under > 0)
            return made

        across = np.einsum("dp,dp->d", towards_first, on_second) / ((on_first @ self.weights) * (on_second @ self.weights))
        return within(on_first, towards_first), within(on_second, towards_second), across


def _codes(prompts: Sequence[Prompt], order: Sequence[Prompt]) -> Ints:
    """The place of each prompt in an order; -1 where it has none."""
    place = {prompt: at for at, prompt in enumerate(order)}
    return np.array([place.get(prompt, -1) for prompt in prompts], np.int64)


def _over_pairs(gram: Floats, weights: Floats) -> float:
    """The weighted mean over pairs of different prompts."""
    return float((gram.sum() - np.trace(gram)) / (weights.sum() ** 2 - (weights**2).sum()))


def halves(cloud: Cloud, *, draws: int = 200, seed: int = 0) -> Floats:
    """The distance between random halves of one checkpoint's prompts: what there is without any change."""
    order = list(dict.fromkeys(cloud.prompts))
    rng, found = np.random.default_rng(seed), []
    for _ in range(draws):
        chosen = {order[at] for at in rng.permutation(len(order))[: len(order) // 2]}
        is_chosen = np.array([prompt in chosen for prompt in cloud.prompts], np.bool_)
        found.append(Exchanged(cloud.only(is_chosen), cloud.only(~is_chosen)).energy())
    return np.array(found)
