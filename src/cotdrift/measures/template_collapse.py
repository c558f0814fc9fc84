"""Template collapse: a checkpoint that reasons the same way whatever it is asked."""

from hashlib import blake2b

import numpy as np
from numba import njit
from numpy.typing import NDArray

from cotdrift.measure import measure
from cotdrift.text import words
from cotdrift.tokens import Batch
from cotdrift.trace import Trace

FACTOR = 0x9E3779B97F4A7C15
"""Odd, so that multiplying by it loses nothing."""


def repeated(fingerprints: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 for each trace whose fingerprint another one shares, 0 for the others, NaN where there is none.

    >>> repeated(np.array([7.0, 8.0, 7.0, np.nan]))
    array([ 1.,  0.,  1., nan])
    """
    _, which, times = np.unique(fingerprints, return_inverse=True, return_counts=True, equal_nan=False)
    return np.where(np.isnan(fingerprints), np.nan, times[which] > 1)


@measure(unit="share of traces", pool=repeated)
def template_collapse(trace: Trace) -> float | None:
    """Share of traces whose words, numbers dropped, are those of another trace of the same checkpoint.

    Of one trace by itself it gives the fingerprint that is compared. Several samples of one question at temperature 0 are copies for
    another reason.

    >>> template_collapse(Trace.example("So 2 + 2 is 4.")) == template_collapse(Trace.example("so 3 + 4 is 7"))
    True
    """
    said = words(trace.reasoning)
    if not said:
        return None
    fingerprint = 0
    for word in said:
        fingerprint = (fingerprint * FACTOR + _word_hash(word)) % 2**64
    return float(fingerprint >> 11)


@template_collapse.batch
def _(batch: Batch) -> NDArray[np.float64]:
    tokens = batch.tokens
    hashes = np.array([_word_hash(word) for word in tokens.vocabulary], dtype=np.uint64)
    fingerprints = _fingerprints(hashes, tokens.ids, tokens.offsets, np.uint64(FACTOR)) >> np.uint64(
        11
    )  # 53 bits, as many as a float holds exactly
    return np.where(batch.n_words > 0, fingerprints, np.nan)


def _word_hash(word: str) -> int:
    return int.from_bytes(blake2b(word.encode(errors="replace"), digest_size=8).digest())


@njit(cache=True, nogil=True)
def _fingerprints(hashes: NDArray[np.uint64], ids: NDArray[np.int32], offsets: NDArray[np.int64], factor: np.uint64) -> NDArray[np.uint64]:
    fingerprints = np.zeros(len(offsets) - 1, np.uint64)
    for text in range(len(offsets) - 1):
        for at in range(offsets[text], offsets[text + 1]):
            fingerprints[text] = fingerprints[text] * factor + hashes[ids[at]]
    return fingerprints
