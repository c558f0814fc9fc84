"""Keyness: how much a word sets two sets of traces apart, with intervals that count prompts."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, gammaincinv, ndtr, stdtrit

Floats = NDArray[np.float64]

LEVEL = 0.95
PRIOR_SHARE = 0.05
"""Words in the prior, as a share of all words counted: twenty uses pull a word's log-odds as hard as one use of the prior does."""


class Interval(NamedTuple):
    """Bounds, NaN where there is none on that side."""

    low: Floats
    high: Floats


def bunches(by_prompt: Floats) -> Floats:
    """How many independent uses a word's uses are worth when those in one prompt may all have one cause: (Σn)² / Σn².

    >>> bunches(np.array([[3.0, 3.0, 3.0], [9.0, 0.0, 0.0]])).tolist()
    [3.0, 1.0]
    """
    squares = (by_prompt**2).sum(axis=1)
    return np.divide(by_prompt.sum(axis=1) ** 2, squares, out=np.zeros(len(squares)), where=squares > 0)


def exact_rate(uses: Floats, words: float, independent: Floats, traces_together: float) -> Interval:
    """Exact Poisson bounds of uses per word, for as many uses as are independent.

    For none at all the upper one is 3.69 over the words, times `traces_together`: how many traces of a prompt could have spoken as one.
    """
    tail = (1 - LEVEL) / 2
    rate = uses / words
    some = uses > 0
    least = np.where(some, independent, 1.0)
    low = np.where(some, rate * gammaincinv(least, tail) / least, 0.0)
    high = np.where(some, rate * gammaincinv(least + 1, 1 - tail) / least, -np.log(tail) * traces_together / words)
    return Interval(low, high)


def exact_ratio(uses: Floats, other_uses: Floats, words: float, other_words: float, independent: Floats) -> Interval:
    """Exact bounds of a ratio of two rates, given how often both sides say the word together (Clopper and Pearson's for the focal side's share).

    Without a use on the other side there is no upper bound, without one on the focal side the lower is 0.
    """
    tail = (1 - LEVEL) / 2
    both = np.maximum(uses + other_uses, 1e-300)
    n = np.maximum(independent, 1e-300)
    here = np.clip(uses / both * n, 0, n)
    low = np.where(uses > 0, betaincinv(np.maximum(here, 1e-9), n - here + 1, tail), 0.0)
    high = np.where(other_uses > 0, betaincinv(here + 1, np.maximum(n - here, 1e-9), 1 - tail), np.nan)
    scale = other_words / words
    certain = high >= 1  # a bound that rounds to everything is no bound
    return Interval(low / (1 - low) * scale, np.where(certain, np.nan, high / np.where(certain, 1, 1 - high)) * scale)


def tail_of(prompts: int) -> float:
    """Which quantile of a bootstrap over so many prompts bounds 95 %: further out the fewer they are (Hesterberg 2015, expanded percentiles)."""
    if prompts < 2:
        return 0.0
    reach = (prompts / (prompts - 1)) ** 0.5 * stdtrit(prompts - 1, (1 + LEVEL) / 2)
    return float(ndtr(-reach))


def quantiles(draws: NDArray[np.float32], tail: float) -> Interval:
    """The draws that leave this share of them outside, on either side; a row a word."""
    last = draws.shape[1] - 1
    at = int(tail * last)
    part = np.partition(draws, (at, last - at), axis=1)
    return Interval(part[:, at].astype(np.float64), part[:, last - at].astype(np.float64))


def log_odds(uses: NDArray[np.floating], words: NDArray[np.floating], prior: Floats, prior_words: float) -> Floats:
    """The logarithm of a word's odds, with so many uses of a prior added (Monroe, Colaresi and Quinn 2008)."""
    result: Floats = np.log((uses + prior) / (words + prior_words - uses - prior))
    return result


def dispersion(by_prompt: Floats, words: Floats) -> Floats:
    """Gries' DPnorm: 0 for a word spread over prompts as all words are, 1 for one that stands in the smallest only. NaN for a word not said.

    Gries (2008) with the norm of Lijffijt and Gries (2012).

    >>> dispersion(np.array([[1.0, 2, 3, 4, 5]]), np.array([9.0, 10, 10, 10, 11])).round(4).tolist()
    [0.2195]
    """
    some = words > 0
    expected = words[some] / words[some].sum()
    uses = by_prompt.sum(axis=1, keepdims=True)
    shares = np.divide(by_prompt[:, some], uses, out=np.full((len(by_prompt), int(some.sum())), np.nan), where=uses > 0)
    distance = 0.5 * np.abs(shares - expected).sum(axis=1)
    return distance / (1 - expected.min()) if len(expected) > 1 else np.where(np.isnan(distance), np.nan, 0.0)
