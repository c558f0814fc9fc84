"""Text: what a word, a sentence, a chunk and a loop are, the same way everywhere."""

import re
import unicodedata
from collections.abc import Sequence
from functools import cache, lru_cache
from itertools import groupby, pairwise

import numpy as np

SOLO_BLOCKS = (
    (0x3005, 0x3006),
    (0x3041, 0x30FF),
    (0x31F0, 0x31FF),
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),
    (0xF900, 0xFAFF),
    (0xFF66, 0xFF9F),
    (0x1AFF0, 0x1B16F),
    (0x20000, 0x3FFFF),
)
"""Where Han, Hiragana and Katakana stand: scripts written without spaces, in which each letter counts as a word."""

MARK_PLANES = ((0, 0x20000), (0xE0100, 0xE01F0))
"""Where combining marks stand; the rest of Unicode has none, and looking there would take a quarter of a second."""

LONGEST_PERIOD = 256
LEAST_COPIES = 3
LEAST_LOOPED = 12

WORD_ASCII = re.compile(r"[^\W_]+(?:'[^\W_]+)*", re.ASCII)
LETTER = re.compile(r"[^\W\d_]")
SENTENCE_END = re.compile(r"""(?P<dot>[.!?…]+)["'”’»)\]*_]*(?=\s|$)|[。！？]+[」』”）]*|\n\s*""")
ABBREVIATIONS = frozenset({"cf", "dr", "e.g", "eg", "eq", "fig", "i.e", "ie", "mr", "mrs", "ms", "prof", "vs"})


@lru_cache(maxsize=4)  # several measures ask for the words of the same trace, one after the other
def words(text: str, cased: bool = False) -> tuple[str, ...]:
    """The words of a text, in lower case unless `cased`.

    A word is a run of letters, digits and combining marks with a letter in it; an apostrophe inside belongs to it, and is written straight.
    Each Han, Hiragana or Katakana letter is a word of its own.

    >>> words("It doesn’t disclaim_it: 42 x2")
    ('it', "doesn't", 'disclaim', 'it', 'x2')
    """
    return tuple(word for word in _word(text).findall(folded(text, cased)) if _has_letter(word))


def spans(text: str) -> list[tuple[str, int, int]]:
    """Each word with where it begins and ends, in characters.

    >>> spans("Wait, no")
    [('wait', 0, 4), ('no', 6, 8)]
    """
    return [(found[0], *found.span()) for found in _word(text).finditer(folded(text)) if _has_letter(found[0])]


def sentences(text: str) -> list[tuple[int, int]]:
    """Where each sentence begins and ends, in characters.

    It ends at a full stop, question or exclamation mark before white space, and at the end of a line unless the next goes on in lower case.
    What has no letter (a list's number, a rule) belongs to the sentence after it, or at the end of the text to the one before.

    >>> text = "1. It is 3.5, e.g. four. Is it?"
    >>> [text[start:end] for start, end in sentences(text)]
    ['1. It is 3.5, e.g. four.', 'Is it?']
    """
    found: list[tuple[int, int]] = []
    start, letter = 0, LETTER.search(text)
    for stop in SENTENCE_END.finditer(text):
        if letter and letter.start() < stop.start() and _ends_sentence(text, stop):
            found.append(_stripped(text, start, stop.end()))
            start = stop.end()
            letter = LETTER.search(text, start)
    if letter:
        found.append(_stripped(text, start, len(text)))
    elif found:
        found[-1] = _stripped(text, found[-1][0], len(text))
    return found


def chunks(text: str, words: int = 300) -> list[tuple[int, int]]:
    """Stretches of so many words, the last of them shorter; together they are the whole text.

    >>> chunks("one two three.", words=2)
    [(0, 8), (8, 14)]
    """
    starts = [start for _, start, _ in spans(text)][::words][1:]
    edges = [0, *starts, len(text)]
    return list(pairwise(edges)) if text else []


def loops(words: Sequence[str]) -> list[tuple[int, int, int]]:
    """Where the same words come again and again: (first word, one past the last, period), of the shortest period that tells of it.

    That is, up to 256 words stand at least three times in a row, at least twelve words of it after the first copy.

    >>> loops("so it is " .split() * 6)
    [(0, 18, 3)]
    """
    numbers = {word: number for number, word in enumerate(dict.fromkeys(words))}
    ids = np.array([numbers[word] for word in words], dtype=np.int64)
    fours = ids[3:] + 65_537 * (
        ids[2:-1] + 65_537 * (ids[1:-2] + 65_537 * ids[:-3])
    )  # most periods repeat no four words, and are soon done
    found: list[tuple[int, int, int]] = []
    for period in range(1, min(LONGEST_PERIOD, len(ids) // LEAST_COPIES) + 1):
        if not (fours[period:] == fours[:-period]).any():
            continue
        edges = np.concatenate(([-1], np.flatnonzero(ids[period:] != ids[:-period]), [len(ids) - period]))
        for run in np.flatnonzero(np.diff(edges) > max(LEAST_LOOPED, (LEAST_COPIES - 1) * period)):
            start, end = int(edges[run]) + 1, int(edges[run + 1]) + period
            if not any(first <= start and end <= last for first, last, _ in found):
                found.append((start, end, period))
    return sorted(found)


def folded(text: str, cased: bool = False) -> str:
    """The text with straight apostrophes, and in lower case unless `cased`, as words are written: as many characters as before."""
    if not cased:
        # a final sigma is lowered by what surrounds it, and a dotted capital I to two characters: neither may happen here
        text = "İ".join("σ".join(part.lower() for part in piece.split("Σ")) for piece in text.split("İ"))
    return text.replace("’", "'")


@cache
def marks() -> tuple[int, ...]:
    """Every combining mark."""
    return tuple(code for first, last in MARK_PLANES for code in range(first, last) if unicodedata.category(chr(code))[0] == "M")


def _ends_sentence(text: str, stop: re.Match[str]) -> bool:
    after = text[stop.end() :][:1] if stop["dot"] is None else text[stop.end() : stop.end() + 200].lstrip()[:1]
    if stop["dot"] is None and stop[0][0] == "\n":
        return stop[0].count("\n") > 1 or not after.islower()
    if stop["dot"] != ".":
        return True
    before = text[max(0, stop.start() - 20) : stop.start()].split()[-1:] or [""]
    return not after.islower() and before[0].lstrip("(").lower() not in ABBREVIATIONS


def _stripped(text: str, start: int, end: int) -> tuple[int, int]:
    piece = text[start:end]
    return start + len(piece) - len(piece.lstrip()), end - len(piece) + len(piece.rstrip())


def _has_letter(word: str) -> bool:
    return word.isalpha() or any(map(str.isalpha, word))


def _word(text: str) -> re.Pattern[str]:
    return WORD_ASCII if text.isascii() else _word_unicode()


@cache
def _word_unicode() -> re.Pattern[str]:
    solo = "".join(_range(*block) for block in SOLO_BLOCKS)
    mark = "".join(_range(*block) for block in _blocks(marks()))
    ascii_part, other = "[A-Za-z0-9]+", rf"[^\W_{solo}]+"
    rest = rf"(?:{ascii_part}|(?![\0-\x7f])(?:{other}|[{mark}]+))*"  # most of a text is ASCII: the large sets are tried last
    run = rf"(?:{ascii_part}|{other}){rest}"
    return re.compile(rf"{run}(?:'{run})*|[{solo}]")


def _blocks(codes: Sequence[int]) -> list[tuple[int, int]]:
    together = [[code for _, code in group] for _, group in groupby(enumerate(codes), lambda pair: pair[1] - pair[0])]
    return [(block[0], block[-1]) for block in together]


def _range(first: int, last: int) -> str:
    return f"\\U{first:08x}-\\U{last:08x}"
