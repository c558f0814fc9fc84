"""Keyness: how much a word sets two sets of traces apart, with intervals that count prompts."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, gammaincinv, ndtri, stdtrit

Floats = NDArray[np.float64]
Reals = NDArray[np.floating[Any]]
Ints = NDArray[np.int64]

LEVEL = 0.95
NORMAL = float(ndtri((1 + LEVEL) / 2))
PRIOR_SHARE = 0.05
"""Words in the prior, as a share of all words counted: twenty uses pull a word's log-odds as hard as one use of the prior does."""


class Interval(NamedTuple):
    """Bounds, NaN where there is none on that side."""

    low: Floats
    high: Floats


def exact_rate(uses: Floats, words: float, prompts: Ints, traces_together: float) -> Interval:
    """Exact Poisson bounds of uses per word, the uses in one prompt counted as one; `prompts` are those that use the word.

    For none at all the upper one is 3.69 over the words, times `traces_together`: how many traces of a prompt could have spoken as one.
    """
    tail = (1 - LEVEL) / 2
    rate = uses / words
    some = uses > 0
    least = np.where(some, prompts, 1.0)
    low = np.where(some, rate * gammaincinv(least, tail) / least, 0.0)
    high = np.where(some, rate * gammaincinv(least + 1, 1 - tail) / least, -np.log(tail) * traces_together / words)
    return Interval(low, high)


def exact_ratio(uses: Floats, other_uses: Floats, prompts: Ints, other_prompts: Ints, scale: float) -> Interval:
    """Exact bounds of a ratio of two rates, given how often both sides use the word together (Clopper and Pearson's for one side's share).

    The uses in one prompt are counted as one; `prompts` are those that use the word, and `scale` makes a ratio of uses one of rates.
    Without a use on the other side there is no upper bound, without one on the focal side the lower is 0.
    """
    tail = (1 - LEVEL) / 2
    a, b = prompts, other_prompts
    each = uses_a_prompt(uses, other_uses, a, b) * scale
    low = np.where(a > 0, betaincinv(np.where(a > 0, a, 1), b + 1, tail), 0.0)
    high = np.where(b > 0, betaincinv(a + 1, np.where(b > 0, b, 1), 1 - tail), np.nan)
    return Interval(low / (1 - low) * each, high / (1 - high) * each)


def uses_a_prompt(uses: Floats, other_uses: Floats, prompts: Ints, other_prompts: Ints) -> Floats:
    """Uses in a prompt that uses the word, one side's over the other's; a side without any would have as many as the other."""
    here, there = (of / np.maximum(in_prompts, 1) for of, in_prompts in ((uses, prompts), (other_uses, other_prompts)))
    ratio: Floats = np.divide(here, there, out=np.ones(len(here)), where=(here > 0) & (there > 0))
    return ratio


def clustered_error(by_prompt: Reals, words: Reals) -> Floats:
    """Standard error of the logarithm of each word's rate, clustered by prompt; NaN with one prompt, 0 for a word that is not said."""
    uses = by_prompt.sum(axis=1, keepdims=True, dtype=np.float64)
    strayed = by_prompt - uses * (words / words.sum(dtype=np.float64))
    spread = np.sqrt((strayed**2).sum(axis=1)) * unbiased(len(words))
    error: Floats = np.divide(spread, uses[:, 0], out=np.zeros(len(spread)), where=uses[:, 0] > 0)
    return error


def unbiased(prompts: int) -> float:
    """What makes up for the spread over a sample of prompts being smaller than over all there could be; NaN with one prompt."""
    return float((prompts / (prompts - 1)) ** 0.5) if prompts > 1 else float("nan")


def factor(error: Floats, prompts: int) -> Floats:
    """By what to multiply and divide a ratio, for an interval on the log scale; NaN with one prompt."""
    reach = float(stdtrit(prompts - 1, (1 + LEVEL) / 2)) if prompts > 1 else float("nan")
    return np.exp(np.minimum(reach * error, 500.0))  # a bound beyond e^500 is as good as none, and finite


def log_odds(uses: Floats, words: float, prior: Floats, prior_words: float) -> Floats:
    """The logarithm of a word's odds, with so many uses of a prior added (Monroe, Colaresi and Quinn 2008)."""
    result: Floats = np.log((uses + prior) / (words + prior_words - uses - prior))
    return result


def dispersion(by_prompt: Reals, words: Reals) -> Floats:
    """Gries' DPnorm: 0 for a word spread over prompts as all words are, 1 for one that stands in the smallest only; NaN if not said.

    Gries (2008) with the norm of Lijffijt and Gries (2012).

    >>> dispersion(np.array([[1.0, 2, 3, 4, 5]]), np.array([9.0, 10, 10, 10, 11])).round(4).tolist()
    [0.2195]
    """
    some = words > 0
    expected = words[some] / words[some].sum()
    uses = by_prompt.sum(axis=1, keepdims=True)
    shares = np.divide(by_prompt[:, some], uses, out=np.full((len(by_prompt), int(some.sum())), np.nan), where=uses > 0)
    distance: Floats = 0.5 * np.abs(shares - expected).sum(axis=1)
    return distance / (1 - expected.min()) if len(expected) > 1 else np.where(np.isnan(distance), np.nan, 0.0)
