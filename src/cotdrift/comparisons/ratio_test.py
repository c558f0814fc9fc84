"""Ratio tests: a second opinion on each word, for when two sides differ in how much they wrote.

An exchange of prompts takes for granted that the sides are alike but for what is tested. When reasoning grows shorter they are not:
fewer words hold fewer rare ones, and vary more, so that exchanges call too many of them changed. What follows does not exchange. A
frequent word has the logarithm of its ratio over its clustered error. Of a rare one it is asked how the prompts that use it would fall
on as many words as each side wrote. A word is only as telling as the less sure of both opinions.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, ndtr

from cotdrift.comparisons.keyness import Reals, unbiased, uses_a_prompt
from cotdrift.comparisons.permutation import Floats, Ints

Numbers = NDArray[np.float64]


def paired(uses: Floats, other: Floats, words: Floats, other_words: Floats, often: NDArray[np.bool_]) -> Numbers:
    """What chance alone would do, prompt by prompt; `often` says where the clustered error can be trusted."""
    share = words / (words + other_words)
    here, there = uses * (1 - share), other * share
    total, other_total = here.sum(axis=1, dtype=np.float64), there.sum(axis=1, dtype=np.float64)
    spread = over(here, total) - over(there, other_total)
    error = np.sqrt((spread**2).sum(axis=1)) * unbiased(len(words))
    said = (uses + other > 0).astype(np.float64)
    rare = exact(uses, other, said @ words / np.maximum(said @ other_words, 1))
    return np.where(often, _frequent(total, other_total, error), rare)


def unpaired(uses: Floats, other: Floats, words: tuple[Floats, Floats], strata: tuple[Ints, Ints], often: NDArray[np.bool_]) -> Numbers:
    """What chance alone would do, stratum by stratum."""
    member, other_member = (np.equal.outer(codes, np.unique(np.concatenate(strata))).astype(np.float64) for codes in strata)
    size, other_size = words[0] @ member, words[1] @ other_member
    said, other_said = uses @ member, other @ other_member
    rate = (said + other_said) / (size + other_size)
    weight, other_weight = member @ (other_size / (size + other_size)), other_member @ (size / (size + other_size))
    total, other_total = (uses @ weight), (other @ other_weight)
    strayed = np.sqrt((((uses - rate @ member.T * words[0]) * weight) ** 2).sum(axis=1))
    other_strayed = np.sqrt((((other - rate @ other_member.T * words[1]) * other_weight) ** 2).sum(axis=1))
    error = np.hypot(over(strayed[:, None], total)[:, 0], over(other_strayed[:, None], other_total)[:, 0])
    where = (said + other_said > 0).astype(np.float64)
    rare = exact(uses, other, where @ size / np.maximum(where @ other_size, 1))
    return np.where(often, _frequent(total, other_total, error * unbiased(min(len(words[0]), len(words[1])))), rare)


def exact(uses: Reals, other: Reals, odds: Numbers) -> Numbers:
    """Two-sided binomial p for how the prompts that use a word fall on the sides; `odds` are the words of one side over the other's."""
    n, other_n = (uses > 0).sum(axis=1), (other > 0).sum(axis=1)
    expected = odds / uses_a_prompt(uses.sum(axis=1, dtype=np.float64), other.sum(axis=1, dtype=np.float64), n, other_n)
    share = expected / (1 + expected)
    at_least = np.where(n > 0, betainc(np.maximum(n, 1), other_n + 1, share), 1.0)
    at_most = np.where(other_n > 0, 1 - betainc(n + 1, np.maximum(other_n, 1), share), 1.0)
    p: Numbers = np.minimum(1.0, 2 * np.minimum(at_least, at_most))
    return p


def over(by_prompt: Reals, total: Numbers) -> Numbers:
    """Shares of a total, 0 of nothing."""
    shares: Numbers = np.divide(by_prompt, total[:, None], out=np.zeros(by_prompt.shape), where=total[:, None] > 0)
    return shares


def _frequent(total: Numbers, other_total: Numbers, error: Numbers) -> Numbers:
    there = (total > 0) & (other_total > 0) & (error > 0)
    ratio = np.log(np.where(there, total, 1) / np.where(there, other_total, 1))
    reach: Numbers = np.divide(-np.abs(ratio), error, out=np.zeros(len(ratio)), where=there)
    p: Numbers = 2 * ndtr(reach)
    return p
