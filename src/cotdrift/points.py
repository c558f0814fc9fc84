"""Points: what a list in a text lists, such as a rubric's, each with where it begins and ends."""

import re

from cotdrift.text import sentences

ITEM = re.compile(
    r"(?P<indent>[ \t]*(?:>[ \t]?)*)"
    r"(?:[-*+•‣◦▪–—·●○✓✔☐☑■□][ \t]+(?:\[[ xX]?\][ \t]+)?|\[[ xX]?\][ \t]+"
    r"|(?:\*\*|__)?\(?(?:\d{1,4}|[a-zA-Z]|[ivxIVX]{1,5})[.):](?:\*\*|__)?[ \t]+)"
    r"(?=\S)"
)
"""The beginning of a line that is an item of a list: a bullet, a box to tick, or a number, letter or Roman number with a mark after it."""
ROW = re.compile(r"[ \t]*\|.*\|[ \t]*")
"""A row of a table."""
RULE = re.compile(r"[|:\-+= \t]{3,}+|[-*_=~`]{3,}+\w*")
"""A line that only divides: a rule, the line under a table's head, a fence."""
HEAD = re.compile(r"#{1,6}[ \t].*|(?:\*\*|__)[^*_\n]{1,200}(?:\*\*|__):?|<[^<>\n]{1,60}>")
TAB = 4


def points(text: str) -> list[tuple[int, int]]:
    """Where each point begins and ends, in characters, without the mark before it.

    The items of a list are points, and what stands under an item, further in or on the lines after it, belongs to it; an item that ends in
    a colon and has items further in is a heading, and those are the points. Without a list the rows of a table are, but for its head, and
    without either the sentences. Headings, rules, and what stands before the list are no points; nor is what was said word for word before,
    as by a model that goes round in circles.

    >>> text = "The rubric:\\n1. Even.\\n2. Honest:\\n   - says so\\n   - and how"
    >>> [text[start:end] for start, end in points(text)]
    ['Even.', 'says so', 'and how']
    """
    lines = _lines(text)
    found = _items(text, lines) or _rows(text, lines) or [place for place in sentences(text) if not _only(HEAD, text, *place)]
    first: dict[str, tuple[int, int]] = {}
    for start, end in found:
        first.setdefault(" ".join(text[start:end].casefold().split()), (start, end))
    return list(first.values())


def _lines(text: str) -> list[tuple[int, int]]:
    """Where each line begins and ends, without its end."""
    found, start = [], 0
    for line in text.splitlines(keepends=True):
        found.append((start, start + len(line.rstrip("\r\n\v\f\x1c\x1d\x1e\x85\u2028\u2029"))))
        start += len(line)
    return found


def _items(text: str, lines: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """The items of the lists: (start, end) each."""
    items: list[tuple[int, int, int]] = []
    goes_on = False
    for start, end in lines:
        mark = ITEM.match(text, start, end)
        if _only(RULE, text, start, end) or _only(HEAD, text, start, end):
            goes_on = False
        elif mark:
            items.append((_depth(mark["indent"]), mark.end(), end))
            goes_on = True
        elif not text[start:end].strip():
            goes_on = goes_on and bool(items)
        elif goes_on and (text[start] in " \t" or not _is_apart(text, items[-1][2], start)):
            items[-1] = (items[-1][0], items[-1][1], end)
        else:
            goes_on = False
    return _leaves(text, items)


def _leaves(text: str, items: list[tuple[int, int, int]]) -> list[tuple[int, int]]:
    """Points of items at their depths: what is further in belongs to the item above it, or is points itself under one that is a heading."""
    found: list[tuple[int, int]] = []
    deepest = -1
    """How far in the point is that is being told; what is further in belongs to it."""
    for place, (depth, start, end) in enumerate(items):
        if found and depth > deepest >= 0:
            found[-1] = (found[-1][0], end)
            continue
        further_in = place + 1 < len(items) and items[place + 1][0] > depth
        if further_in and text[start:end].rstrip().rstrip("*_").endswith(":"):
            deepest = -1
            continue
        found.append((start, end))
        deepest = depth
    return [_stripped(text, start, end) for start, end in found]


def _rows(text: str, lines: list[tuple[int, int]]) -> list[tuple[int, int]]:
    rows = [line for line in lines if ROW.fullmatch(text, *line)]
    kept = [row for row in rows if not _only(RULE, text, *row)]
    headed = len(kept) < len(rows) and len(kept) > 1
    return [_stripped(text, *row) for row in kept[headed:]]


def _only(what: re.Pattern[str], text: str, start: int, end: int) -> bool:
    return what.fullmatch(text, *_stripped(text, start, end)) is not None


def _is_apart(text: str, end: int, start: int) -> bool:
    """Whether an empty line lies between two places."""
    return text.count("\n", end, start) > 1


def _depth(indent: str) -> int:
    return sum(TAB if sign == "\t" else 1 for sign in indent)


def _stripped(text: str, start: int, end: int) -> tuple[int, int]:
    piece = text[start:end]
    return start + len(piece) - len(piece.lstrip()), end - len(piece) + len(piece.rstrip())
