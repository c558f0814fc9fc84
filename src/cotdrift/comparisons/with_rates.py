"""A set of traces against listed rates, word by word: how odd is what it says, for whoever the list was made from."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from cotdrift.comparison import Reference
from cotdrift.comparisons import keyness
from cotdrift.comparisons.permutation import Ints, Tested, blocks
from cotdrift.comparisons.sides import Side
from cotdrift.comparisons.two_sides import OUTSIDE_LOOPS, disagrees, over, told

Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class WithRates:
    """One set of traces, and what a reference lists for the same words."""

    focal: Side
    reference: Reference
    listed: Numbers
    """The reference's rates per million words: 0 under its floor, NaN where it can say nothing."""

    @property
    def prompts(self) -> int:
        """How many prompts there are."""
        return len(self.focal.words)

    def halves(self) -> tuple[Self, Self]:
        """The comparison on one half of the prompts, and on the other."""
        return replace(self, focal=self.focal.half(0)), replace(self, focal=self.focal.half(1))

    @property
    def _at_most(self) -> Numbers:
        """The listed rate, and for a word under the floor the floor."""
        return np.where(self.listed == 0, self.reference.floor, self.listed)

    @cached_property
    def _own(self) -> tuple[keyness.Interval, Numbers]:
        """Bounds of the traces' own rates, and the error of their logarithms."""
        side = self.focal
        error = np.empty(side.n_words)
        for block in blocks(np.arange(side.n_words), self.prompts):
            error[block] = keyness.clustered_error(side.uses(block), side.words)
        together = float(side.traces @ side.traces / side.traces.sum())
        exact = keyness.exact_rate(side.counts, float(side.words.sum(dtype=np.float64)), side.in_prompts, together)
        often = side.often & (error > 1e-6)
        factor = keyness.factor(error, self.prompts)
        bounds = (np.where(often, side.rate / factor, exact.low * 1e6), np.where(often, side.rate * factor, exact.high * 1e6))
        return keyness.Interval(*bounds), error

    def tested(self, words: Ints, seed: int) -> Tested:
        """A two-sided z test of the log ratio, with the reference's own error in it; for an unlisted word, of its ratio to the floor.

        A word said in one prompt only has p = 1, for it tells of that prompt; so has an unlisted word that may be as rare here as there.
        """
        own, rate, at_most = self._own[0], self.focal.rate, self._at_most
        used, above = rate > 0, rate >= at_most
        bound = np.where(above, own.low, own.high)
        error = np.abs(np.log(over(bound, rate))) / keyness.NORMAL
        z = np.abs(np.log(np.where(used, rate, np.nan) / at_most)) / np.hypot(
            error, np.hypot(self.reference.error, self.reference.rounding)
        )
        expected = self.listed * np.exp(-keyness.NORMAL * self.reference.error) / own.high * -np.log((1 - keyness.LEVEL) / 2)
        p = np.where(used, 2 * ndtr(-z), np.minimum(1, 2 * np.exp(-expected)))
        undecided = (self.focal.in_prompts == 1) | (self.listed == 0) & ~above
        p = np.where(np.isnan(self.listed), np.nan, np.where(undecided, 1.0, p))
        return Tested(p[words], np.where(above, 1, -1).astype(np.int8)[words])

    def columns(self, *, resamples: int, seed: int) -> dict[str, Numbers]:
        """What is known of each word but its p."""
        side, (own, error) = self.focal, self._own
        rate, listed = side.rate, np.where(self.listed > 0, self.listed, np.nan)
        chance, slack = keyness.NORMAL * self.reference.error, 1 + self.reference.rounding
        used = rate > 0
        down = np.where(used, np.exp(-np.hypot(np.log(over(rate, own.low)), chance)) / slack, 0.0)
        up = np.hypot(np.where(used, np.log(over(own.high, rate)), 0.0), chance)
        odds = self._log_odds()
        prior = keyness.PRIOR_SHARE * self._at_most * float(side.words.sum(dtype=np.float64)) / 1e6
        odds_error = error * side.counts / (side.counts + prior)
        return {
            "rate": rate,
            "reference": listed,
            "ratio": rate / listed,
            "low": rate * down / self._at_most,
            "high": np.where(used, rate, own.high) * np.exp(up) * slack / listed,
            "spread": np.concatenate(
                [keyness.dispersion(side.uses(block), side.words) for block in blocks(np.arange(side.n_words), self.prompts)]
            ),
            **side.use,
            "log_odds": odds,
            "z": np.divide(odds, odds_error, out=np.full(len(odds), np.nan), where=odds_error > 1e-6),
            "rate_without_loops": side.kept_rate,
            "ratio_without_loops": side.kept_rate / listed,
            "ratio_crude": np.full(side.n_words, np.nan),
            "ratio_poststratified": np.full(side.n_words, np.nan),
        }

    def _log_odds(self) -> Numbers:
        """The word's log-odds here, pulled towards those listed, less those listed."""
        words = float(self.focal.words.sum(dtype=np.float64))
        share = self._at_most / 1e6
        prior_words = keyness.PRIOR_SHARE * words
        return keyness.log_odds(self.focal.counts, words, prior_words * share, prior_words) - np.log(share / (1 - share))

    def warnings(self, columns: dict[str, Numbers]) -> list[list[str]]:
        """For each word what a reader should know before trusting its ratio."""
        ratio = columns["ratio_without_loops"]
        return [
            [told(OUTSIDE_LOOPS, ratio[word], columns["ratio"][word])] if apart else []
            for word, apart in enumerate(disagrees(ratio, columns))
        ]
