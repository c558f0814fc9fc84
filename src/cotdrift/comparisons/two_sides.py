"""Two sets of traces, word by word: rates, ratios and their intervals, on the prompts or environments they share."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from cotdrift.comparisons import keyness, permutation, ratio_test
from cotdrift.comparisons.permutation import Ints, Tested, blocks
from cotdrift.comparisons.sides import Side

Numbers = NDArray[np.float64]

FEW_PROMPTS = 10
"""Below so many shared prompts every row says so; sides that share fewer, and not half of the smaller's, are not paired."""

NOTABLE = 1.2
"""Two ratios within this factor of one another do not disagree."""

OUTSIDE_LOOPS = "Outside degenerate loops the ratio is {}."


@dataclass(frozen=True, eq=False)
class TwoSides:
    """What is compared of two sets of traces, beside all there is of them."""

    focal: Side
    other: Side
    all_focal: Side
    all_other: Side
    is_paired: bool
    shared: int
    """How many prompts both sets answered."""

    @classmethod
    def of(cls, focal: Side, other: Side) -> Self:
        """Compare on shared prompts where there are enough of them, else within shared environments, else as a whole."""
        ours, theirs = np.isin(focal.keys, other.keys), np.isin(other.keys, focal.keys)
        shared = int(ours.sum())
        is_paired = shared >= FEW_PROMPTS or shared * 2 >= min(len(ours), len(theirs))
        if not is_paired:
            ours, theirs = np.isin(focal.environments, other.environments), np.isin(other.environments, focal.environments)
            if not ours.any():
                ours, theirs = np.ones_like(ours), np.ones_like(theirs)
        return cls(focal.only(ours), other.only(theirs), focal, other, is_paired, shared)

    @property
    def prompts(self) -> int:
        """How many prompts the smaller side has."""
        return min(len(self.focal.words), len(self.other.words))

    def halves(self) -> tuple[Self, Self]:
        """The comparison on one half of the prompts, and on the other."""
        one, two = (type(self).of(self.focal.half(which), self.other.half(which)) for which in (0, 1))
        return one, two

    def tested(self, words: Ints, seed: int) -> Tested:
        """What chance alone would do, by the less sure of two opinions; a p of NaN for a word that neither side uses.

        A word said in one prompt only has p = 1: it tells of that prompt.
        """
        a, b = self.focal, self.other
        if self.is_paired:
            exchanged = permutation.paired(
                lambda at: a.uses(words[at]), lambda at: b.uses(words[at]), a.words, b.words, n_words=len(words), seed=seed
            )
        else:
            exchanged = permutation.unpaired(
                lambda at: np.concatenate((a.uses(words[at]), b.uses(words[at])), axis=1),
                np.concatenate((a.words, b.words)),
                np.repeat([True, False], [len(a.words), len(b.words)]),
                np.concatenate(self._strata),
                n_words=len(words),
                seed=seed,
            )
        return Tested(np.maximum(exchanged.p, self._by_ratio(words)), exchanged.direction)

    def _by_ratio(self, words: Ints) -> Numbers:
        a, b, often, p = self.focal, self.other, self._often, np.empty(len(words))
        for at in blocks(np.arange(len(words)), max(len(a.words), len(b.words))):
            chosen = words[at]
            uses, other = a.uses(chosen), b.uses(chosen)
            if self.is_paired:
                told, using = ratio_test.paired(uses, other, a.words, b.words, often[chosen]), uses + other
            else:
                told = ratio_test.unpaired(uses, other, (a.words, b.words), self._strata, often[chosen])
                using = np.concatenate((uses, other), axis=1)
            prompts = np.count_nonzero(using, axis=1)
            p[at] = np.select([prompts == 0, prompts == 1], [np.nan, 1.0], told)
        return p

    @property
    def _strata(self) -> tuple[Ints, Ints]:
        """The environments, or one for all where none is shared."""
        a, b = self.focal.environments, self.other.environments
        return (a, b) if np.isin(a, b).any() else (np.zeros_like(a), np.zeros_like(b))

    @property
    def _often(self) -> NDArray[np.bool_]:
        return self.focal.often & self.other.often

    def columns(self, *, resamples: int, seed: int) -> dict[str, Numbers]:
        """What is known of each word but its p."""
        a, b = self.focal, self.other
        rate, reference = a.rate, b.rate
        low, high, odds, z = self._intervals(resamples, seed)
        return {
            "rate": rate,
            "reference": reference,
            "ratio": over(rate, reference),
            "low": low,
            "high": high,
            "spread": _spread(a, b),
            **a.use,
            "log_odds": odds,
            "z": z,
            "rate_without_loops": a.kept_rate,
            "ratio_without_loops": over(a.kept_rate, b.kept_rate),
            "ratio_crude": over(self.all_focal.rate, self.all_other.rate),
            "ratio_poststratified": _poststratified(self.all_focal, self.all_other),
        }

    def warnings(self, columns: dict[str, Numbers]) -> list[list[str]]:
        """For each word what a reader should know before trusting its ratio."""
        every = [self._about_prompts] if self.shared < FEW_PROMPTS else []
        found = [list(every) for _ in columns["ratio"]]
        others = {
            "Over all traces, also of prompts that only one side answered, the ratio is {}.": columns["ratio_crude"],
            "With the same mix of environments on both sides the ratio is {}.": columns["ratio_poststratified"],
            OUTSIDE_LOOPS: columns["ratio_without_loops"],
        }
        if self.is_paired:
            weight = self.focal.words / (self.focal.words + self.other.words)
            expected = (
                self.focal.total(self.focal.n * (1 - weight)[self.focal.prompt]),
                self.other.total(self.other.n * weight[self.other.prompt]),
            )
            others["Prompt by prompt the ratio is {}: the two sides spread their words over the prompts differently."] = over(*expected)
        for sentence, ratio in others.items():
            for word in np.flatnonzero(disagrees(ratio, columns)):
                found[word].append(told(sentence, ratio[word], columns["ratio"][word]))
        return found

    @property
    def _about_prompts(self) -> str:
        if self.is_paired:
            return f"Only {self.shared} prompts are shared: the interval and p rest on little."
        return f"The two sides share {self.shared or 'no'} prompts, so they are compared within environments and not prompt by prompt."

    def _intervals(self, resamples: int, seed: int) -> tuple[Numbers, Numbers, Numbers, Numbers]:
        """Bounds of the ratio, and the log-odds with its z."""
        a, b = self.focal, self.other
        count, other = a.counts, b.counts
        together = count + other
        prior = keyness.PRIOR_SHARE * np.maximum(together, 1)
        sizes = float(a.words.sum(dtype=np.float64)), float(b.words.sum(dtype=np.float64))
        prior_words = keyness.PRIOR_SHARE * sum(sizes)
        weights = a.resampled(resamples, seed, whole=self.is_paired)
        other_weights = weights if self.is_paired else b.resampled(resamples, seed + 1, whole=False)
        words, other_words = weights @ a.words, other_weights @ b.words
        error, odds_error = np.empty((2, len(count)))
        for block in blocks(np.arange(len(count)), max(resamples, len(a.words), len(b.words))):
            uses, other_uses = a.uses(block), b.uses(block)
            drawn, other_drawn = uses @ weights.T, other_uses @ other_weights.T
            error[block] = _deviation(np.maximum(drawn, 0.5) / words / (np.maximum(other_drawn, 0.5) / other_words))
            pull = prior[block, None].astype(np.float32)
            here = (drawn + pull) / (words + prior_words - drawn - pull)
            odds_error[block] = _deviation(here / ((other_drawn + pull) / (other_words + prior_words - other_drawn - pull)))
        exact = keyness.exact_ratio(count, other, a.in_prompts, b.in_prompts, sizes[1] / sizes[0])
        factor = keyness.factor(error * keyness.unbiased(self.prompts), self.prompts)
        ratio = over(a.rate, b.rate)
        often = self._often & (error > 1e-6)  # prompts that all agree say nothing of chance
        odds = keyness.log_odds(count, sizes[0], prior, prior_words) - keyness.log_odds(other, sizes[1], prior, prior_words)
        said = together > 0
        low, high = np.where(often, ratio / factor, exact.low), np.where(often, ratio * factor, exact.high)
        z = np.divide(odds, odds_error, out=np.full(len(odds), np.nan), where=said & (odds_error > 1e-6))
        return np.where(said, low, np.nan), np.where(said, high, np.nan), np.where(said, odds, np.nan), z


def over(rate: Numbers, reference: Numbers) -> Numbers:
    """The ratio, NaN where the reference has none."""
    ratio: Numbers = np.divide(rate, reference, out=np.full(len(rate), np.nan), where=reference > 0)
    return ratio


def disagrees(ratio: Numbers, columns: dict[str, Numbers]) -> NDArray[np.bool_]:
    """Where another ratio is notably different, and outside the interval of the one reported."""
    told, low, high = columns["ratio"], columns["low"], columns["high"]
    factor = np.abs(np.log(np.where(ratio > 0, ratio, np.nan) / np.where(told > 0, told, np.nan)))
    apart: NDArray[np.bool_] = (factor > np.log(NOTABLE)) & ((ratio < low) | (ratio > high))
    return apart


def told(sentence: str, ratio: float, reported: float) -> str:
    """A warning with both ratios in it."""
    return sentence.format(f"{ratio:.3g}, not {reported:.3g}")


def _deviation(drawn: keyness.Reals) -> Numbers:
    spread: Numbers = np.log(drawn).std(axis=1, dtype=np.float64, ddof=1)
    return spread


def _spread(focal: Side, other: Side) -> Numbers:
    """Dispersion over the prompts of the side that says the word more."""
    more = focal.rate >= other.rate
    spread = np.empty(len(more))
    for side, chosen in ((focal, np.flatnonzero(more)), (other, np.flatnonzero(~more))):
        for block in blocks(chosen, len(side.words)):
            spread[block] = keyness.dispersion(side.uses(block), side.words)
    return spread


def _poststratified(focal: Side, other: Side) -> Numbers:
    """The ratio that both sides' average mix of environments would give, by words; over the environments they share."""
    environments = int(max(focal.environments.max(), other.environments.max())) + 1
    words = [np.bincount(side.environments, side.words, environments) for side in (focal, other)]
    shared = (words[0] > 0) & (words[1] > 0)
    if not shared.any():
        return np.full(focal.n_words, np.nan)
    mix = sum(size[shared] / size[shared].sum() for size in words)
    rates = [side.by_environment(environments)[:, shared] / size[shared] for side, size in zip((focal, other), words, strict=True)]
    return over(rates[0] @ mix, rates[1] @ mix)
