"""Rarity: words that people seldom write, or never.

How often people write a word is taken from wordfreq (Speer 2022), English, as its Zipf value: the logarithm of its uses in a thousand
million words. `the` has 7.7, `vantage` 3.3, and a word that wordfreq does not list 0. Words with a digit in them are left out.
"""

from collections.abc import Callable
from functools import cache
from math import log10

import numpy as np
from numpy.typing import NDArray

from cotdrift.measure import measure
from cotdrift.measures.code import prose, prose_of
from cotdrift.measures.share import share
from cotdrift.text import words
from cotdrift.tokens import Batch
from cotdrift.trace import Trace

RARE = 3.0


@measure(unit="share of words")
def rare_word_share(trace: Trace) -> float | None:
    """Share of the prose's words that people write less than once in a million words, unknown ones among them.

    >>> rare_word_share(Trace.example("We disclaim the overshadowing vantage"))
    0.4
    """
    return _share(trace, lambda word: zipf(word) < RARE)


@rare_word_share.batch
def _(batch: Batch) -> NDArray[np.float64]:
    return _shares(batch, lambda word: zipf(word) < RARE)


@measure(unit="share of words")
def unknown_word_share(trace: Trace) -> float | None:
    """Share of the prose's words that wordfreq's English list of 320,000 does not have.

    Invented words, but also names, slips of the pen and other languages.

    >>> unknown_word_share(Trace.example("We disclaimulate the vantage"))
    0.25
    """
    return _share(trace, lambda word: not zipf(word))


@unknown_word_share.batch
def _(batch: Batch) -> NDArray[np.float64]:
    return _shares(batch, lambda word: not zipf(word))


def zipf(word: str) -> float:
    """The word's Zipf value in English, 0 when wordfreq does not list it. A possessive that is not listed counts as its noun.

    >>> round(zipf("the"), 1), zipf("disclaimulate")
    (7.7, 0.0)
    """
    frequencies = listed()
    frequency = frequencies.get(word) or frequencies.get(word.removesuffix("'s"))
    return log10(frequency) + 9 if frequency else 0.0


@cache
def listed() -> dict[str, float]:
    """Every word of wordfreq's English list, and its share of all words."""
    from wordfreq import get_frequency_dict  # slow to import, and only these measures need it

    return get_frequency_dict("en", wordlist="best")


def _spelt(word: str) -> bool:
    return word.isalpha() or not any(map(str.isdigit, word))


def _share(trace: Trace, counts: Callable[[str], bool]) -> float | None:
    said = [word for word in words(prose(trace.reasoning)) if _spelt(word)]
    return sum(map(counts, said)) / len(said) if said else None


def _shares(batch: Batch, counts: Callable[[str], bool]) -> NDArray[np.float64]:
    read = prose_of(batch)
    tokens = read.tokens
    spelt = np.array([_spelt(word) for word in tokens.vocabulary], dtype=bool)
    counted = spelt & np.array([counts(word) for word in tokens.vocabulary], dtype=bool)
    return share(read.sums(counted[tokens.ids]), read.sums(spelt[tokens.ids]))
