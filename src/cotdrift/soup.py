"""Soup: what a broken server, or its template, does to text; seen in the text alone, in any language."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import pairwise
from typing import Literal

import numpy as np
from msgspec import Struct
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from cotdrift.measure import FoundInBatch
from cotdrift.measures.code import prose_of
from cotdrift.measures.function_words import FUNCTION_WORDS
from cotdrift.measures.rarity import listed
from cotdrift.measures.repetition import longest_loop
from cotdrift.measures.spacing import glued_words
from cotdrift.tokens import Batch
from cotdrift.trace import Trace

Kind = Literal["bytes", "tokens", "scripts", "non-words", "word salad", "glued words", "loop", "echo"]

MADE_OF: tuple[Kind, ...] = ("scripts", "non-words", "word salad", "glued words", "loop")
"""What makes a text soup."""

WINDOW = 40
"""Words that are looked at together: soup often begins in the middle of a text."""
PROMPT_WORDS, PROMPT_KNOWN = 8, 0.6
"""Words that tell a prompt's language, and the share of them that its list has at the least."""
LEAST_SWITCHES = 3
SWITCHES_A_WORD = 0.01
OWN_SCRIPT = 0.1
LEAST_KNOWN = 0.4
MOST_FUNCTION_WORDS = 2
LEAST_GLUED = 0.05
LEAST_LOOPED = 30
ECHOED = 100
"""Characters of the prompt that a text begins with, to be an echo of it."""
LOOPED_SHARE = 1 / 3
CONTEXT = 80
LONGEST_HIT = 240

TOKENS = re.compile(
    r"(?<![\"'`])"  # code that names one quotes it
    r"(?:<\|[A-Za-z][^|<>\s]{0,40}\|>|<｜[^｜<>\s]{1,40}｜>|</?think(?:ing)?>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>"
    r"|<(?:pad|unk|bos|eos)>|</s>|\[(?:PAD|UNK)\]|<(?:extra_id|reserved_special_token)_\d+>)"
)
CONTINUES = "\u0122-\u0143¡-¬®-¿"
"""The bytes 0x80 to 0xBF as the byte-level alphabet of GPT-2's tokenizer writes them."""
BYTES = re.compile(
    "\ufffd(?!\\s*\\Z)"  # a text that is cut off in the middle of a character ends in one
    "|(?<=[a-z.,:;!?)])[ĠĊ]|(?:Ġ\\S{1,40}\\s{1,4}){2}Ġ|▁(?=[^\\W\\d_]{2})|<0x[0-9A-F]{2}>"
    f"|Ã[{CONTINUES}]|[à-ï][{CONTINUES}]{{2}}|[ð-ô][{CONTINUES}]{{3}}"
    "|â€[™œ˜“”¦\x80-\x9f]|[ÂÃ][\x80-\xa0]|Â[£°·§©®±»«]|ï¿½"
)
"""Tokens that were never turned into text, UTF-8 read as another encoding, and replacement characters."""
FREE = re.compile(r"(?<!\S)([^\W\d_]+(?:['’-][^\W\d_]+)*)([.,;!?…]*)(?!\S)")
"""A word with nothing but white space around it, or a stop after it: no part of a formula, a path or code."""
LETTERS = re.compile(r"[^\W\d_]{2,}")

EUROPEAN = frozenset({"LATIN", "GREEK", "CYRILLIC", "ARMENIAN", "GEORGIAN"})
"""Scripts whose words are not written together with those of another; the others take in a Latin word without a space."""
EAST_ASIAN = dict.fromkeys(("HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "BOPOMOFO", "HANGUL", "IDEOGRAPHIC"), "CJK")
SYMBOLS = frozenset(
    "MATHEMATICAL MODIFIER SUPERSCRIPT SUBSCRIPT FEMININE MASCULINE MICRO ANGSTROM DOUBLE-STRUCK SCRIPT BLACK-LETTER OHM KELVIN ALEF"
    " PLANCK EULER INFORMATION TURNED ROTATED".split()
)


class Sign(Struct, frozen=True):
    """One sign of a broken server in a text, and the passage that shows it."""

    kind: Kind
    before: str
    hit: str
    after: str


def signs(texts: Sequence[str], prompts: Sequence[str]) -> list[list[Sign]]:
    """The signs in each text, at most one of a kind; tokens that the prompt itself holds are no sign.

    Sees no soup made of a language's own words with punctuation between them. Ordinary text in Latin letters, in a language that wordfreq
    has no list of, reads as non-words, unless the prompt is in such a language too.

    >>> " ".join(sign.kind for sign in signs(["The answer<|im_end|> is thatâ€™s four."], [""])[0])
    'bytes tokens'
    """
    batch = Batch(texts)
    read = prose_of(batch)
    found: list[list[Sign]] = [
        list(_marks(text, prose, prompt)) for text, prose, prompt in zip(batch.texts, read.texts, prompts, strict=True)
    ]
    for kind, at, start, end in (*_scripts(read), *_words(read, prompts), *_glued(batch, read), *_loops(batch)):
        text = batch.texts[at] if kind == "loop" else read.texts[at]
        if kind not in {sign.kind for sign in found[at]}:
            found[at].append(_sign(kind, text, start, end))
    return found


Place = tuple[Kind, int, int, int]
"""A kind of sign, which text, and where in it."""


def _sign(kind: Kind, text: str, start: int, end: int) -> Sign:
    end = min(end, start + LONGEST_HIT)
    return Sign(kind, text[max(0, start - CONTEXT) : start], text[start:end], text[end : end + CONTEXT])


def _marks(text: str, prose: str, prompt: str) -> Iterator[Sign]:
    if not text.isascii() or "<0x" in text:
        for hit in BYTES.finditer(text):
            if hit[0] not in prompt:
                yield _sign("bytes", text, *hit.span())
                break
    if "<" in prose or "[" in prose:
        for hit in TOKENS.finditer(prose):
            if hit[0] not in prompt:
                yield _sign("tokens", prose, *hit.span())
                break
    begins = " ".join(prompt[: 2 * ECHOED].split())[:ECHOED]
    if len(begins) == ECHOED and " ".join(text[: 2 * ECHOED].split()).startswith(begins):
        yield _sign("echo", text, 0, LONGEST_HIT)


def _scripts(read: Batch) -> Iterator[Place]:
    foreign = np.array([_is_foreign(word) for word in read.tokens.vocabulary], dtype=bool)
    for at in np.flatnonzero(read.sums(foreign[read.tokens.ids])):
        switches = _switches(read.texts[at])
        if len(switches) >= max(LEAST_SWITCHES, SWITCHES_A_WORD * int(read.n_words[at])):
            yield "scripts", int(at), *switches[0]


def _switches(text: str) -> list[tuple[int, int]]:
    """Where letters of two scripts stand together that are not written so."""
    found = []
    for run in LETTERS.finditer(text):
        scripts = [script_of(letter) for letter in run[0]]
        if scripts.count("GREEK") == 1:  # a symbol, as in Δx
            scripts = ["" if script == "GREEK" else script for script in scripts]
        changes = [{one, other} for one, other in pairwise(filter(None, scripts)) if one != other]
        if changes:
            around = Counter(map(script_of, filter(str.isalpha, text[max(0, run.start() - CONTEXT) : run.end() + CONTEXT])))
            found += [run.span() for pair in changes if not _is_usual(pair, around)]
    return found


def _is_usual(pair: set[str], around: Counter[str]) -> bool:
    """Whether a Latin word stands within writing that takes it in without a space."""
    return "LATIN" in pair and any(script not in EUROPEAN and around[script] >= OWN_SCRIPT * around.total() for script in pair)


@cache
def script_of(letter: str) -> str:
    """The script of a letter, as Unicode's names have it; empty for a symbol. Chinese, Japanese and Korean writing count as one."""
    first, _, rest = unicodedata.name(letter, "").partition(" ")
    if first in ("FULLWIDTH", "HALFWIDTH"):
        first = rest.partition(" ")[0]
    return "" if first in SYMBOLS else EAST_ASIAN.get(first, first)


def _is_foreign(word: str) -> bool:
    return not word.isascii() and any(script_of(letter) not in ("", "LATIN") for letter in word if letter.isalpha())


def _words(read: Batch, prompts: Sequence[str]) -> Iterator[Place]:
    """Windows full of words that no language has, or of English ones in no order."""
    tokens = read.tokens
    vocabulary = tokens.vocabulary
    english = listed()
    unknown = np.array([word not in english for word in vocabulary], dtype=bool)[tokens.ids]
    holding = np.array([word in FUNCTION_WORDS for word in vocabulary], dtype=bool)[tokens.ids]
    for at, (begin, end) in enumerate(pairwise(tokens.offsets.tolist())):
        if end - begin < WINDOW:
            continue
        starts, ends = tokens.starts[begin:end].astype(np.int64), tokens.ends[begin:end].astype(np.int64)
        strange = _rolling(unknown[begin:end])
        place = int(strange.argmax())
        window = read.texts[at][starts[place] : ends[place + WINDOW - 1]]
        is_strange = strange[place] >= WINDOW / 4 and _no_language(window, WINDOW // 2, LEAST_KNOWN)
        if is_strange and not _no_language(prompts[at], PROMPT_WORDS, PROMPT_KNOWN):
            yield "non-words", at, int(starts[place]), int(ends[place + WINDOW - 1])
        close = _rolling(starts[1:] - ends[:-1] == 1, WINDOW - 1) == WINDOW - 1
        for place in np.flatnonzero(close & (_rolling(holding[begin:end]) <= MOST_FUNCTION_WORDS))[:1].tolist():
            text = read.texts[at][starts[place] : ends[place + WINDOW - 1]]
            words = text.split(" ")
            known = _known(words) if len(words) == WINDOW and all(map(str.isalpha, words)) else {}
            if known and known["en"] == max(known.values()) >= WINDOW / 2:
                yield "word salad", at, int(starts[place]), int(ends[place + WINDOW - 1])


def _rolling(flags: NDArray[np.bool_], window: int = WINDOW) -> NDArray[np.int64]:
    """How many are true in each window."""
    counted: NDArray[np.int64] = sliding_window_view(flags, window).sum(axis=1)
    return counted


def _no_language(text: str, fewest: int, known: float) -> bool:
    """Whether most of the words that stand free are in no language's list; names with commas between them are a list of their own."""
    free = _free(text)
    commas = sum(stop == "," for _, stop in free)
    return len(free) >= fewest and commas <= len(free) / 4 and max(_known([word for word, _ in free]).values()) < known * len(free)


def _free(text: str) -> list[tuple[str, str]]:
    """The words in Latin letters that stand free, without those of mixed case, and the stop after each."""
    found = ((word, stop) for word, stop in FREE.findall(text) if script_of(word[0]) == "LATIN" and word[1:].islower())
    return [(word.lower().replace("’", "'"), stop) for word, stop in found]


def _known(words: Sequence[str]) -> dict[str, int]:
    """How many of these words each language's list has; of a word with an apostrophe what follows it is enough."""
    return {language: sum(word in known or word.partition("'")[2] in known for word in words) for language, known in _languages().items()}


@cache
def _languages() -> dict[str, frozenset[str]]:
    """The words of each language in Latin letters that people write at least once in a million (Speer 2022)."""
    from wordfreq import available_languages, get_frequency_dict  # slow to import, and only needed where something looks wrong

    lists = {language: frozenset(get_frequency_dict(language, wordlist="small")) for language in sorted(available_languages("small"))}
    return {language: words for language, words in lists.items() if _in_latin(words)}


def _in_latin(words: Iterable[str]) -> bool:
    some = [word for word, _ in zip(words, range(200), strict=False)]
    return sum(script_of(word[0]) == "LATIN" for word in some) > len(some) / 2


def _glued(batch: Batch, read: Batch) -> Iterator[Place]:
    assert glued_words.of_batch is not None
    shares = glued_words.of_batch(batch)
    assert not isinstance(shares, FoundInBatch)
    for at in np.flatnonzero(shares >= LEAST_GLUED).tolist():
        free = [word for word, _ in _free(read.texts[at])]
        share = glued_words(Trace.example(" ".join(free)))
        if len(free) >= WINDOW / 2 and isinstance(share, float) and share >= LEAST_GLUED:
            yield "glued words", at, 0, LONGEST_HIT


def _loops(batch: Batch) -> Iterator[Place]:
    assert longest_loop.of_batch is not None
    found = longest_loop.of_batch(batch)
    assert isinstance(found, FoundInBatch)
    stuck = (found.values >= LEAST_LOOPED) & (found.values >= LOOPED_SHARE * batch.n_words)
    for at in np.flatnonzero(stuck).tolist():
        yield "loop", at, int(found.starts[at]), int(found.ends[at])
