"""The number in an answer: certain when the answer is nothing else, a flagged guess when it holds numbers among other things."""

from __future__ import annotations

import re

from msgspec import Struct

NUMBER = re.compile(r"(?<![\w.])[-+−]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?!\w)")
ALONE = re.compile(r"[-+−]?\d{1,300}")
MADE_MUCH_OF = re.compile(r"\\boxed\{\s*([-+−]?\d{1,300})\s*\}|\*\*\s*([-+−]?\d{1,300})\s*\*\*")
WRAPPED = [(mark, mark) for mark in ("**", "__", "*", "_", "`", "$$", "$", '"', "'")]
WRAPPED += [("\\(", "\\)"), ("\\[", "\\]"), ("\\boxed{", "}"), ("“", "”")]


class Extracted(Struct, frozen=True):
    """What was found in an answer."""

    number: int | None
    """None when there is no number, or none that could be meant."""
    unsure: bool
    """Whether a person should look: there are digits, but the answer is not one whole number alone."""


def extract(answer: str) -> Extracted:
    r"""The number that an answer gives.

    >>> extract("42."), extract("**4**"), extract("\\boxed{4}")
    (Extracted(number=42, unsure=False), Extracted(number=4, unsure=False), Extracted(number=4, unsure=False))
    >>> extract("I choose 42, please."), extract("I would rather not."), extract("4.5")
    (Extracted(number=42, unsure=True), Extracted(number=None, unsure=False), Extracted(number=None, unsure=True))
    """
    alone = _unwrapped(answer)
    if ALONE.fullmatch(alone):
        return Extracted(_whole(alone), unsure=False)
    if not any(sign.isdecimal() for sign in answer):
        return Extracted(None, unsure=False)
    return Extracted(_guess(answer), unsure=True)


def _unwrapped(answer: str) -> str:
    """The answer without blanks, markup and a full stop around it."""
    text = answer.strip()
    while True:
        before = text
        text = text.removesuffix(".").strip()
        for opens, closes in WRAPPED:
            if text.startswith(opens) and text.endswith(closes) and len(text) > len(opens) + len(closes):
                text = text[len(opens) : len(text) - len(closes)].strip()
                break
        if text == before:
            return text


def _guess(answer: str) -> int | None:
    """The number in a box or in bold, if there is one, else the last one; None where that is no whole number."""
    marked = MADE_MUCH_OF.findall(answer)
    said = ["".join(groups) for groups in marked] or NUMBER.findall(answer)
    return _whole(said[-1]) if said else None


def _whole(text: str) -> int | None:
    digits, _, decimals = text.replace(",", "").replace("−", "-").partition(".")
    return int(digits) if len(digits) <= 301 and not decimals.strip("0") else None
