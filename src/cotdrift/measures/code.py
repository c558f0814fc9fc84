"""Code: how much of the reasoning is code, formulas and addresses, and the prose that is left without them.

Word by word, code is not prose: a page of Python has few function words and many that no dictionary knows. Measures of how the model
writes therefore read the prose only, and `code_share` says how much they left out.
"""

import re
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from cotdrift.measure import measure
from cotdrift.measures.share import share
from cotdrift.tokens import Batch
from cotdrift.trace import Trace

SIGNS = ("`", "$", "\\", "://")
CODE = re.compile(
    r"```.*?(?:```|\Z)"  # a fence that is never closed runs to the end
    r"|`[^`\n]+`"
    r"|\$\$.+?\$\$|\\\[.+?\\\]|\\\(.+?\\\)"
    r"|\\begin\{(\w+\*?)\}.*?\\end\{\1\}"
    r"|\$(?=\S)[^$\n]{0,300}?(?<=\S)\$(?!\d)"  # as in Pandoc, so that "$5 or $10" are sums of money
    r"|https?://[^\s<>]+",
    re.DOTALL,
)

_read: WeakKeyDictionary[Batch, tuple[Batch | None, NDArray[np.int64]]] = WeakKeyDictionary()
"""What is left of each text of a batch (None: all of it), and how many characters were not."""


def prose(text: str) -> str:
    """The text without code, formulas and addresses.

    >>> prose("The call `len(x)` gives $n$, which costs $5 or $10.")
    'The call   gives  , which costs $5 or $10.'
    """
    return _set_apart(text)[0]


def prose_of(batch: Batch) -> Batch:
    """The prose of each text, made once for all measures that read it."""
    return _set_all_apart(batch)[0] or batch


@measure(unit="share of characters")
def code_share(trace: Trace) -> float | None:
    """Share of the reasoning that is code, formulas or addresses: fenced and quoted code, LaTeX, URLs.

    Code that nothing marks as code is taken for prose.

    >>> code_share(Trace.example("Try `f(2)`"))
    0.6
    """
    if not trace.reasoning:
        return None
    return _set_apart(trace.reasoning)[1] / len(trace.reasoning)


@code_share.batch
def _(batch: Batch) -> NDArray[np.float64]:
    lengths = np.fromiter(map(len, batch.texts), np.int64, len(batch))
    return share(_set_all_apart(batch)[1], lengths)


def _set_apart(text: str) -> tuple[str, int]:
    """The prose, and how many characters are none."""
    if not any(sign in text for sign in SIGNS):
        return text, 0
    left, times = CODE.subn(" ", text)
    return left, len(text) - len(left) + times


def _set_all_apart(batch: Batch) -> tuple[Batch | None, NDArray[np.int64]]:
    found = _read.get(batch)
    if found is None:
        apart = [_set_apart(text) for text in batch.texts]
        code = np.array([characters for _, characters in apart], dtype=np.int64)
        found = _read[batch] = (Batch([left for left, _ in apart]) if code.any() else None, code)
    return found
