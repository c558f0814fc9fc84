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
    r"|\w+://[^\s<>]+",
    re.DOTALL,
)

_prose_of: WeakKeyDictionary[Batch, Batch] = WeakKeyDictionary()


def prose(text: str) -> str:
    """The text without code, formulas and addresses.

    >>> prose("The call `len(x)` gives $n$, which costs $5 or $10.")
    'The call   gives  , which costs $5 or $10.'
    """
    return CODE.sub(" ", text) if any(sign in text for sign in SIGNS) else text


def prose_of(batch: Batch) -> Batch:
    """The prose of each text, made once for all measures that read it."""
    found = _prose_of.get(batch)
    if found is None:
        texts = [prose(text) for text in batch.texts]
        if all(text is whole for text, whole in zip(texts, batch.texts, strict=True)):
            return batch
        found = _prose_of[batch] = Batch(texts)
    return found


@measure(unit="share of characters")
def code_share(trace: Trace) -> float | None:
    """Share of the reasoning that is code, formulas or addresses: fenced and quoted code, LaTeX, URLs.

    Code that nothing marks as code is taken for prose.

    >>> code_share(Trace.example("Try `f(2)`"))
    0.6
    """
    if not trace.reasoning:
        return None
    return _code(trace.reasoning) / len(trace.reasoning)


@code_share.batch
def _(batch: Batch) -> NDArray[np.float64]:
    lengths = np.fromiter(map(len, batch.texts), np.int64, len(batch))
    return share(np.fromiter(map(_code, batch.texts), np.int64, len(batch)), lengths)


def _code(text: str) -> int:
    if not any(sign in text for sign in SIGNS):
        return 0
    return sum(found.end() - found.start() for found in CODE.finditer(text))
