"""How fast repeated n-grams and loops are measured, beside plain Python.

python benchmarks/repetition.py 40
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from words import THREADS, peak_mb, write_corpus

from cotdrift.text import loops, words
from cotdrift.tokens import Batch

LENGTHS = (1, 2, 3, 4, 8)
TRACES_AT_ONCE = 1_000


def ours(column: pa.ChunkedArray) -> list[list[float]]:
    """All lengths and the longest loop, for thousand texts at a time."""

    def measured(start: int) -> list[list[float]]:
        batch = Batch(column[start : start + TRACES_AT_ONCE])
        shares = [batch.repeated_ngrams(n).tolist() for n in LENGTHS]
        return [list(of_text) for of_text in zip(*shares, batch.longest_loop()[2].tolist(), strict=True)]

    with ThreadPoolExecutor(THREADS) as pool:
        return [of_text for part in pool.map(measured, range(0, len(column), TRACES_AT_ONCE)) for of_text in part]


def plain(column: pa.ChunkedArray) -> list[list[float]]:
    """Sets of tuples, and for the loops the plain way that `text.py` has."""
    found = []
    for text in column.to_pylist():
        said = words(text)
        shares = []
        for n in LENGTHS:
            grams = [said[start : start + n] for start in range(len(said) - n + 1)]
            shares.append(1 - len(set(grams)) / len(grams))
        found.append([*shares, max((end - start for start, end, _ in loops(said)), default=0)])
    return found


def timed(run: Callable[[], Any], rounds: int) -> tuple[float, Any]:
    """Median seconds of several runs, and what the last returned."""
    seconds = []
    for _ in range(rounds):
        before = time.perf_counter()
        found = run()
        seconds.append(time.perf_counter() - before)
    return statistics.median(seconds), found


def main() -> None:
    """Write made-up reasoning, and measure it both ways."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("megabytes", nargs="?", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        files = write_corpus(Path(temporary), asked.megabytes)
        column = pa.chunked_array([chunk for file in files for chunk in pq.read_table(file, columns=["reasoning"])["reasoning"].chunks])
    megabytes = column.nbytes / 1e6
    ours(column[:TRACES_AT_ONCE])  # warm up
    took, found = timed(lambda: ours(column), asked.rounds)
    peak = peak_mb()
    other, expected = timed(lambda: plain(column), asked.rounds)
    same = all(abs(one - two) < 1e-9 for mine, theirs in zip(found, expected, strict=True) for one, two in zip(mine, theirs, strict=True))
    print(f"bench: repetition_{asked.megabytes}mb ratio={other / took:.1f} ours={took:.2f}s other={other:.2f}s rss_mb={peak:.0f}", end=" ")
    print(f"ours_mb_per_s={megabytes / took:.0f} other_mb_per_s={megabytes / other:.1f} same={same}")


if __name__ == "__main__":
    main()
