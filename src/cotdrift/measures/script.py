"""Script: writing other than Latin."""

import numpy as np
from numpy.typing import NDArray

from cotdrift.measure import measure
from cotdrift.measures.share import share
from cotdrift.text import words
from cotdrift.tokens import Batch
from cotdrift.trace import Trace

LATIN = (
    (0x0000, 0x02AF),
    (0x1D00, 0x1DBF),
    (0x1E00, 0x1EFF),
    (0x2100, 0x214F),  # letterlike symbols, as in ℝ
    (0x2C60, 0x2C7F),
    (0xA720, 0xA7FF),
    (0xAB30, 0xAB6F),
    (0xFB00, 0xFB06),
    (0xFF21, 0xFF5A),
    (0x1D400, 0x1D7FF),  # mathematical alphabets
)
GREEK = ((0x0370, 0x03FF), (0x1F00, 0x1FFF))


@measure(unit="share of letters")
def non_latin_share(trace: Trace) -> float | None:
    """Share of the letters that belong to another script than Latin.

    A Greek letter that stands alone is a symbol, not writing, and so are mathematical alphabets. Says nothing of other languages written in
    Latin letters, which `function_word_share` and `unknown_word_share` see.

    >>> non_latin_share(Trace.example("so θ is 那么"))
    0.2857142857142857
    """
    letters = foreign = 0
    for word in words(trace.reasoning):
        in_word, foreign_in_word = _letters(word)
        letters += in_word
        foreign += foreign_in_word
    return foreign / letters if letters else None


@non_latin_share.batch
def _(batch: Batch) -> NDArray[np.float64]:
    tokens = batch.tokens
    counts = np.array([_letters(word) for word in tokens.vocabulary], dtype=np.int64).reshape(-1, 2)
    letters, foreign = (batch.sums(count[tokens.ids]) for count in counts.T)
    return share(foreign, letters)


def _letters(word: str) -> tuple[int, int]:
    """How many letters the word has, and how many of them belong to another script."""
    if word.isascii():
        return sum(map(str.isalpha, word)), 0
    letters = [ord(char) for char in word if char.isalpha()]
    foreign = [letter for letter in letters if not _within(letter, LATIN)]
    symbol = len(foreign) == 1 and _within(foreign[0], GREEK)
    return len(letters), 0 if symbol else len(foreign)


def _within(letter: int, blocks: tuple[tuple[int, int], ...]) -> bool:
    return any(first <= letter <= last for first, last in blocks)
