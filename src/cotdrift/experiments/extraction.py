"""What an answer gives: a number, certain when the answer is nothing else and a flagged guess when it is among other things; yes or no."""

from __future__ import annotations

import re

from msgspec import Struct

from cotdrift.conversation import split_reply

NUMBER = re.compile(r"(?<![\w.])[-+−]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?!\w)")
YES_OR_NO = re.compile(r"(?i)\b(yes|no)\b")
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


def yes_or_no(reply: str) -> bool | None:
    """What a reply comes to that was to be yes or no; None where it says neither, or both.

    >>> yes_or_no("Yes."), yes_or_no("no, it did not"), yes_or_no("<think>No? Hm.</think>**Yes**")
    (True, False, True)
    >>> yes_or_no("42") is yes_or_no("Yes and no.") is None
    True
    """
    said = {word.lower() for word in YES_OR_NO.findall(split_reply(reply).answer)}
    return said == {"yes"} if len(said) == 1 else None
