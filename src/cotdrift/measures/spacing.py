"""Spacing: words run together, and how much of the page is blank."""

from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray

from cotdrift.measure import measure
from cotdrift.measures.code import prose, prose_of
from cotdrift.measures.function_words import FUNCTION_WORDS
from cotdrift.measures.rarity import RARE, listed, zipf
from cotdrift.measures.share import share
from cotdrift.text import words
from cotdrift.tokens import Batch
from cotdrift.trace import Trace

BLANKS = "".join(filter(str.isspace, map(chr, range(0x3001))))
SHORTEST = 8
COMMON = 4.0
LONGEST_PIECE = 15
FORMING = """
an as at be by in on up out off over under down through with within for after about per or like us her his one any every some all no do does
doing done
"""
"""Function words that also begin or end ordinary words (overdone, withholds, netherworld), so that they do not give a gluing away."""


@measure(unit="share of words")
def glued_words(trace: Trace) -> float | None:
    """Share of the prose's words that are several words run together, as in `thereforewe`.

    Counted is a rare word (Zipf below 3) of 8 letters or more that falls apart into function words and common words of 4 letters or more
    (Zipf from 4): with a function word among them that forms no ordinary compounds, or into three or more with none of 2 letters. English
    prose has 1 in 10,000 by chance (`partisanship`: part is an ship). It misses two content words run together (`kingqueen`), which cannot
    be told from a compound (`timestep`), short ones (`itis`), and any with a rare word in it.

    >>> glued_words(Trace.example("thereforewe takethesecond king"))
    0.6666666666666666
    """
    said = words(prose(trace.reasoning))
    return sum(map(_glued, said)) / len(said) if said else None


@glued_words.batch
def _(batch: Batch) -> NDArray[np.float64]:
    read = prose_of(batch)
    joined = np.array([_glued(word) for word in read.tokens.vocabulary], dtype=bool)
    return share(read.sums(joined[read.tokens.ids]), read.n_words)


@measure(unit="share of characters")
def whitespace_ratio(trace: Trace) -> float | None:
    """Share of the characters that are spaces, line breaks or other blanks.

    English prose has about 0.17. It falls when words are run together and rises with lists and indented code.

    >>> whitespace_ratio(Trace.example("so be it"))
    0.25
    """
    if not trace.reasoning:
        return None
    return _blanks(trace.reasoning) / len(trace.reasoning)


@whitespace_ratio.batch
def _(batch: Batch) -> NDArray[np.float64]:
    lengths = np.fromiter(map(len, batch.texts), np.int64, len(batch))
    return share(np.fromiter(map(_blanks, batch.texts), np.int64, len(batch)), lengths)


def _blanks(text: str) -> int:
    return sum(map(text.count, BLANKS))


def _glued(word: str) -> bool:
    return len(word) >= SHORTEST and word.isalpha() and zipf(word) < RARE and _falls_apart(word)


@lru_cache(maxsize=1 << 18)
def _falls_apart(word: str) -> bool:
    pieces = _pieces()
    fewest: list[tuple[str, ...] | None] = [(), *[None] * len(word)]
    for end in range(2, len(word) + 1):
        for start in range(max(0, end - LONGEST_PIECE), end - 1):
            before, known = fewest[start], fewest[end]
            if before is not None and (known is None or len(before) + 1 < len(known)) and word[start:end] in pieces:
                fewest[end] = (*before, word[start:end])
    parts = fewest[-1]
    if parts is None:
        return False
    return not FUNCTION_WORDS.intersection(parts).issubset(FORMING.split()) or (len(parts) > 2 and min(map(len, parts)) > 2)


@cache
def _pieces() -> frozenset[str]:
    common = (word for word in listed() if 3 < len(word) <= LONGEST_PIECE and zipf(word) >= COMMON)
    return FUNCTION_WORDS.union(common)
