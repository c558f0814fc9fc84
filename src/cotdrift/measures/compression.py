"""Compression: how predictable the reasoning is, byte by byte."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from zstandard import ZstdCompressor

from cotdrift.measure import measure
from cotdrift.tokens import Batch
from cotdrift.trace import Trace

WINDOW = 2_000
LEVEL = 3


@measure(unit="bytes per compressed byte")
def compression_ratio(trace: Trace) -> float | None:
    """How many times smaller the reasoning gets when each stretch of 2,000 bytes is compressed by itself.

    English prose has about 1.9, more is more repetitive. Whisper (Radford et al. 2022) takes 2.4 for degenerate, by zlib, which packs a
    little tighter than the zstd used here. Longer text always compresses better, hence the fixed windows; what is left after the last whole
    one is not read. None below 2,000 bytes.

    >>> compression_ratio(Trace.example("wait " * 400)) > 50
    True
    """
    compressor = ZstdCompressor(level=LEVEL)
    return _ratio(memoryview(trace.reasoning.encode(errors="replace")), compressor)


@compression_ratio.batch
def _(batch: Batch) -> NDArray[np.float64]:
    compressor = ZstdCompressor(level=LEVEL)
    data = batch.data.data
    ratios = (_ratio(data[start:end], compressor) for start, end in pairwise(batch.offsets.tolist()))
    return np.array([np.nan if ratio is None else ratio for ratio in ratios], dtype=np.float64)


def _ratio(data: memoryview, compressor: ZstdCompressor) -> float | None:
    starts = range(0, len(data) - WINDOW + 1, WINDOW)
    if not starts:
        return None
    return WINDOW * len(starts) / sum(len(compressor.compress(data[start : start + WINDOW])) for start in starts)
