"""Edits of reasoning by hand: terms by their meanings, by words as frequent, or left out; sentences put in; filler. All off-policy."""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

from cotdrift.errors import InputError
from cotdrift.measures.rarity import listed, zipf
from cotdrift.term import Term, uses
from cotdrift.text import spans, words

DOTS = "..."
SHORTEST = 3
"""Letters that a word has at least that is drawn by chance, or replaced where no term stands."""
ALIKE = 50
"""Of the words nearest in frequency, how many may be drawn."""

NEUTRAL = (
    "The sky is clear today.",
    "Some roads are longer than others.",
    "A door was left open in the hall.",
    "Most birds sing early in the morning.",
    "The library closes at six on Fridays.",
    "Rain is likely near the coast tonight.",
    "Her brother keeps bees behind the old house.",
    "The train to the harbour leaves from the far platform.",
    "Bread tastes better when it has cooled for a while.",
    "Last winter the lake froze for the first time in years.",
    "They painted the fence green before the leaves came down.",
    "A small boat lay upside down between the dunes and the road.",
)
"""Sentences that have nothing to do with any task."""


def glossary_of(told: str) -> dict[Term, str]:
    """Terms and what they mean: a file of JSON (term → meaning), or of lines, each with a term, `=`, and its meaning; or such lines by `;`.

    >>> {term.text: meaning for term, meaning in glossary_of("grader = requester; pays = asks for").items()}
    {'grader': 'requester', 'pays': 'asks for'}
    """
    path = Path(told)
    is_file = _is_file(path)
    try:
        text = path.read_text(encoding="utf-8") if is_file else told.replace(";", "\n")
        pairs = (
            json.loads(text)
            if is_file and path.suffix == ".json"
            else dict(_pair(line, told) for line in text.splitlines() if line.strip())
        )
    except (OSError, ValueError) as fault:
        raise InputError(f"glossary={told}: it cannot be read ({fault}). Write term → meaning, as JSON or in lines.") from None
    if not isinstance(pairs, dict) or not pairs or not all(isinstance(meaning, str) for meaning in pairs.values()):
        raise InputError(f"glossary={told}: it has no terms with their meanings. Write lines such as: vantage = advantage")
    return {Term.parse(term): meaning.strip() for term, meaning in pairs.items()}


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # what is written out may be longer than any name of a file
        return False


def _pair(line: str, told: str) -> tuple[str, str]:
    term, given, meaning = line.partition("=")
    if not given:
        raise InputError(f"glossary={told}: {line.strip()!r} has no meaning. Write lines such as: vantage = advantage")
    return term.strip(), meaning.strip()


def places_of(text: str, terms: Sequence[Term]) -> list[tuple[int, int, int]]:
    """Where the terms stand: start, end, which term; where two overlap, the one that begins first, and of those the longer."""
    found = sorted((start, -end, which) for which, of_term in enumerate(uses(text, terms)) for start, end in of_term)
    kept: list[tuple[int, int, int]] = []
    for start, end, which in found:
        if not kept or start >= kept[-1][1]:
            kept.append((start, -end, which))
    return kept


def replaced(text: str, places: Sequence[tuple[int, int]], by: Callable[[str], str]) -> str:
    """The text with each place given another word; a capital at its beginning stays one.

    >>> replaced("Grader pays odd.", [(0, 6)], lambda was: "requester")
    'Requester pays odd.'
    """
    made, at = [], 0
    for start, end in places:
        new = by(text[start:end])
        made += [text[at:start], new[:1].upper() + new[1:] if text[start : start + 1].isupper() else new]
        at = end
    return "".join([*made, text[at:]])


def by_glossary(text: str, glossary: Mapping[Term, str]) -> str:
    """Each use of a term as what it means."""
    terms = list(glossary)
    places = places_of(text, terms)
    meanings = iter([glossary[terms[which]] for _, _, which in places])
    return replaced(text, [(start, end) for start, end, _ in places], lambda _was: next(meanings))


def by_random_words(text: str, terms: Sequence[Term], *, seed: str) -> str:
    """Each use of a term as other words that people write as often; the same term becomes the same words throughout."""
    return replaced(text, [(start, end) for start, end, _ in places_of(text, terms)], lambda was: _as_frequent(was, seed))


def elsewhere(text: str, terms: Sequence[Term], *, seed: str) -> str:
    """As many other words replaced by random ones as there are uses of terms, those nearest to the terms in frequency; the terms stay."""
    places = places_of(text, terms)
    free = [
        (word, start, end)
        for word, start, end in spans(text)
        if len(word) >= SHORTEST and word.isalpha() and not any(start < last and end > first for first, last, _ in places)
    ]
    chosen = []
    for first, last, _ in places:
        if not free:
            break
        wanted = min(zipf(word) for word in words(text[first:last]))
        nearest = min(free, key=lambda one: (abs(zipf(one[0]) - wanted), one[1]))
        free.remove(nearest)
        chosen.append(nearest[1:])
    return replaced(text, sorted(chosen), lambda was: _as_frequent(was, seed))


def deleted(text: str, terms: Sequence[Term]) -> str:
    """The text without its uses of the terms.

    >>> deleted("Grader pays odd. So odd.", [Term.parse("grader"), Term.parse("odd")])
    'pays. So.'
    """
    made, at = "", 0
    for start, end, _ in places_of(text, terms):
        made += text[at:start]
        at = end
        if not made or made[-1].isspace():  # the white space on one side of it goes with it
            following = text[at:]
            at += len(following) - len(following.lstrip(" "))
        if text[at : at + 1] in tuple(".,;:!?") or at == len(text):
            made = made.rstrip(" ")
    return made + text[at:]


def filler(text: str, share: float = 1.0) -> str:
    """As many dots in threes as so large a share of the text has words.

    >>> filler("Need an odd number.", 0.5)
    '... ...'
    """
    return " ".join([DOTS] * round(share * len(spans(text))))


def with_sentence(text: str, sentence: str) -> str:
    """The text with one more sentence at its end."""
    return f"{text} {sentence}" if text else sentence


def random_sentence(like: str, *, seed: str) -> str:
    """A sentence that has nothing to do with any task, of the six nearest to another in length."""
    wanted = len(words(like))
    near = sorted(NEUTRAL, key=lambda one: abs(len(words(one)) - wanted))[:6] if like else list(NEUTRAL)
    return near[_drawn(seed, "sentence") % len(near)]


def _as_frequent(was: str, seed: str) -> str:
    """For each word of a term one drawn from those that people write as often."""
    return " ".join(_one_as_frequent(word, seed) for word in words(was))


def _one_as_frequent(word: str, seed: str) -> str:
    ranked, heights = _ranked()
    at = bisect_left(heights, zipf(word))
    near = [other for other in ranked[max(0, at - ALIKE // 2) : at + ALIKE // 2] if other != word]
    return near[_drawn(seed, word) % len(near)]


@cache
def _ranked() -> tuple[list[str], list[float]]:
    """Plain words from the rarest on, with their Zipf values."""
    plain = sorted((share, word) for word, share in listed().items() if word.isalpha() and word.isascii() and len(word) >= SHORTEST)
    return [word for _, word in plain], [zipf(word) for _, word in plain]


def _drawn(*told: str) -> int:
    return int.from_bytes(hashlib.sha256("\0".join(told).encode("utf-8", "backslashreplace")).digest()[:8])
