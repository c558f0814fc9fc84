"""Telegraphic style: reasoning in notes rather than sentences."""

import numpy as np
from numpy.typing import NDArray

from cotdrift.measure import measure
from cotdrift.measures.code import prose, prose_of
from cotdrift.measures.function_words import FUNCTION_WORDS
from cotdrift.measures.sentence_count import count_sentences
from cotdrift.measures.share import share
from cotdrift.text import sentences, words
from cotdrift.tokens import Batch
from cotdrift.trace import Trace


@measure(unit="share of words")
def function_word_share(trace: Trace) -> float | None:
    """Share of the prose's words that only hold sentences together: the, of, it, because.

    Speeches and reviews have about 0.48. It falls when reasoning turns into notes, and also when it turns to another language or to
    lists of names.

    >>> function_word_share(Trace.example("Check the sum of both"))
    0.6
    >>> function_word_share(Trace.example("Check sum both"))
    0.3333333333333333
    """
    said = words(prose(trace.reasoning))
    if not said:
        return None
    return sum(word in FUNCTION_WORDS for word in said) / len(said)


@function_word_share.batch
def _(batch: Batch) -> NDArray[np.float64]:
    read = prose_of(batch)
    return share(read.count(FUNCTION_WORDS), read.n_words)


@measure(unit="words per sentence")
def words_per_sentence(trace: Trace) -> float | None:
    """Mean length of the prose's sentences, of which a line break ends one unless the next line goes on in lower case.

    A full stop before a lower-case word does not end a sentence, so what is written without capitals has very long ones.

    >>> words_per_sentence(Trace.example("Let me see. It is four, so far."))
    4.0
    """
    read = prose(trace.reasoning)
    said = words(read)
    return len(said) / len(sentences(read)) if said else None


@words_per_sentence.batch
def _(batch: Batch) -> NDArray[np.float64]:
    read = prose_of(batch)
    return np.where(read.n_words > 0, share(read.n_words, count_sentences(read.texts)), np.nan)
