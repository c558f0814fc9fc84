"""Human text: how often people write a word, from wordfreq.

wordfreq 3 (Robyn Speer, 2022) blends Wikipedia, subtitles, news, books, the web, Twitter and Reddit up to 2021, before much of the web
was written by models; it will not be renewed. It tells what is odd for people, never what training changed. Its code is under
Apache-2.0, its data under CC BY-SA 4.0: whoever hands on a table of its rates names wordfreq and keeps that licence.

What it cannot say is kept apart. It lists nothing rarer than 0.0102 uses per million words, so an unlisted word has a rate below that,
not of zero. Its rates come in steps of 2.33 %. For several words in a row its figure is a guess from the single ones, far too high, and
it knows no upper case: of phrases and cased terms it says nothing here, nor of words with digits, which it lumps together.
"""

from collections.abc import Sequence
from functools import cache
from math import log

import numpy as np
from numpy.typing import NDArray

from cotdrift.comparison import Reference


@cache
def _listed() -> dict[str, float]:
    from wordfreq import get_frequency_dict  # reads 320,000 words: half a second that only this comparison should cost

    return get_frequency_dict("en", wordlist="best")


def rates(terms: Sequence[str]) -> NDArray[np.float64]:
    """Uses per million words of human English; 0 where it is below the floor, NaN for phrases, cased terms and words with digits in them.

    >>> rates(["disclaim", "overshadowingly", "craft illusions"]).round(3).tolist()
    [0.269, 0.0, nan]
    """
    return np.array([_listed().get(term, 0.0) * 1e6 if _may_be_listed(term) else np.nan for term in terms], np.float64)


def _may_be_listed(term: str) -> bool:
    return term == term.lower() and " " not in term and not any(map(str.isdigit, term))


human = Reference("human text", rates, floor=0.0102, rounding=0.0116, error=log(1.2))
"""wordfreq's English. The error of a factor 1.2 is a choice: its sources differ by about that much for common words."""
