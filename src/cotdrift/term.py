"""A term: what is looked for word by word, in its exact form, and the passages that use it."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from cotdrift.errors import InputError
from cotdrift.text import spans, words


@dataclass(frozen=True)
class Term:
    """A word, or several that follow one another.

    >>> Term.parse("Craft  illusions").words, Term.parse("disclaim").cased
    (('Craft', 'illusions'), False)
    """

    words: tuple[str, ...]
    cased: bool
    """Whether only this case counts: so for a term written with a capital letter."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """The term written like this; `disclaim` never stands for `disclaimer`."""
        exact = words(text, cased=True)
        if not exact:
            raise InputError(f"The term {text!r} holds no word. Write a word, or several with spaces between.")
        cased = exact != words(text)
        return cls(exact, cased)

    @property
    def text(self) -> str:
        """The term as it stands in tables."""
        return " ".join(self.words)

    def is_said(self, text: str) -> bool:
        """Whether this is the term, and nothing else."""
        return words(text, cased=self.cased) == self.words

    @property
    def in_vocabulary(self) -> bool:
        """Whether a count of lower-cased single words already holds it."""
        return len(self.words) == 1 and not self.cased

    def places(self, said: Sequence[str]) -> list[int]:
        """Where the term begins among these words, which keep their case if the term does."""
        first, length = self.words[0], len(self.words)
        return [at for at, word in enumerate(said) if word == first and (length == 1 or tuple(said[at : at + length]) == self.words)]


def watch_list(path: Path | None = None) -> list[Term]:
    """The terms of a watch-list, a term a line, `#` before comments; without a file those reported for o3."""
    source = path or files("cotdrift.references") / "watch_o3.txt"
    try:
        lines = source.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as fault:
        raise InputError(f"{path}: the watch-list cannot be read ({fault}). Give a text file with a term a line.") from fault
    said = [line.partition("#")[0].strip() for line in lines]
    terms = list(dict.fromkeys(Term.parse(line) for line in said if line))
    if not terms:
        raise InputError(f"{path}: the watch-list names no term. Write a term a line; what follows a # is a comment.")
    return terms


def count_terms(texts: Iterable[str], terms: Sequence[Term]) -> NDArray[np.int64]:
    """How often each text uses each term: a row a text, a column a term.

    >>> count_terms(["A disclaimer. I disclaim it; Disclaim!"], [Term.parse("disclaim"), Term.parse("Disclaim")]).tolist()
    [[2, 1]]
    """
    found = [_counts_in(text, terms) for text in texts]
    return np.array(found, np.int64).reshape(len(found), len(terms))


def _counts_in(text: str, terms: Sequence[Term]) -> list[int]:
    if not any(_may_hold(text, term) for term in terms):
        return [0] * len(terms)
    said = {False: words(text), True: words(text, cased=True)}
    single = {cased: Counter(of) for cased, of in said.items()}
    return [single[term.cased][term.words[0]] if len(term.words) == 1 else len(term.places(said[term.cased])) for term in terms]


def _may_hold(text: str, term: Term) -> bool:
    """Whether it is worth splitting the text into words; never False for a text that uses the term."""
    if not term.text.isascii():
        return True  # some letters change their number or kind with their case
    written = text if term.cased else text.lower()
    return all(part in written for word in term.words for part in word.split("'"))


class Hit(NamedTuple):
    """One use of a term: its place in characters, and what stands around it on one line."""

    start: int
    end: int
    before: str
    hit: str
    after: str


def concordance(text: str, term: Term, *, width: int = 60) -> Iterator[Hit]:
    """Every use of the term in its context, in the order of the text.

    >>> [tuple(hit) for hit in concordance("We may disclaim the result.", Term.parse("disclaim"), width=4)]
    [(7, 15, 'may ', 'disclaim', ' the')]
    """
    for start, end in uses(text, [term])[0]:
        around = text[max(0, start - width) : start], text[start:end], text[end : end + width]
        yield Hit(start, end, *(" ".join(part.split("\n")) for part in around))


def uses(text: str, terms: Sequence[Term]) -> list[list[tuple[int, int]]]:
    """Where a text uses each term, in characters, in the order of the text.

    >>> uses("I disclaim it; Disclaim!", [Term.parse("disclaim"), Term.parse("Disclaim")])
    [[(2, 10), (15, 23)], [(15, 23)]]
    """
    if not any(_may_hold(text, term) for term in terms):
        return [[] for _ in terms]
    at = spans(text)
    said = {False: [word for word, _, _ in at], True: words(text, cased=True)}
    return [[(at[place][1], at[place + len(term.words) - 1][2]) for place in term.places(said[term.cased])] for term in terms]
