"""How fast every word is counted, with document frequency per checkpoint, beside what one would write otherwise.

    python benchmarks/words.py 100 500 --memory 1000

The numbers are megabytes of text. Each pass runs in a process of its own, contenders in turn, so that a busy moment hits all of them.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import Any

CHECKPOINTS = 8
THREADS = 2
TRACES_A_GROUP = 500
SYMBOLS = "= + * - ( ) ≤ → ∑ – — `len(xs)` x_1 f(x) n² \\frac{a}{b} if(i==0){ it’s don’t that’s naïve café 日本語 √2 ... ### ✓ 3/4".split()
LOOP = " so we check it again, and then"
NOTEBOOK = r"[a-z']+"
CHECKED = ("the", "because", "number", "again", "then")
"""Words on which all must agree."""

Passed = dict[int, dict[str, tuple[int, int]]]
"""By checkpoint and word: how often, in how many traces."""


def write_corpus(folder: Path, megabytes: float) -> list[Path]:
    """Made-up reasoning in parquet, a file a checkpoint, written by processes of their own."""
    jobs = [
        [sys.executable, "-P", __file__, "--write", str(folder), str(step), str(megabytes / CHECKPOINTS)] for step in range(CHECKPOINTS)
    ]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(lambda job: subprocess.run(job, check=True), jobs))
    return sorted(folder.glob("*.parquet"))


def write_checkpoint(folder: Path, step: int, megabytes: float) -> None:
    """One checkpoint: Zipfian words in sentences, coined words, numbers, code, other scripts, and now and then a loop."""
    import numpy as np
    import polars as pl
    import pyarrow.parquet as pq
    import wordfreq

    rng, chance = np.random.default_rng(step), Random(0)
    common = [word for word in wordfreq.top_n_list("en", 25_000) if word.isascii() and word.isalpha()]
    coined = ["".join(chance.choices("aeioulnrst", k=chance.randint(5, 14))) for _ in range(40_000)]
    numbers = [str(chance.randint(0, 999)) for _ in range(200)] + [f"{chance.random():.3f}" for _ in range(200)]
    plain = [*common, *coined, *numbers, *SYMBOLS]
    pieces = [*plain, *(f"{word}," for word in plain), *(f"{word}." for word in plain), *(word.capitalize() for word in plain)]
    likely = [share / (np.arange(len(kind)) + 3) for kind, share in ((common, 1.0), (coined, 0.01), (numbers, 0.05), (SYMBOLS, 0.08))]
    cumulative = np.cumsum(np.concatenate(likely))

    writer, written = None, 0.0
    while written < megabytes:
        lengths = np.clip(rng.lognormal(6.6, 0.7, TRACES_A_GROUP).astype(int), 20, 20_000)
        chosen = np.searchsorted(cumulative, rng.random(lengths.sum()) * cumulative[-1])
        chosen[rng.random(len(chosen)) < 0.06] += len(plain)
        ends = np.cumsum(rng.integers(5, 25, len(chosen) // 20))
        chosen[ends] = chosen[ends] % len(plain) + 2 * len(plain)
        chosen[ends + 1] = chosen[ends + 1] % len(plain) + 3 * len(plain)
        texts = []
        for trace in np.split(chosen, np.cumsum(lengths)[:-1]):
            text = " ".join([pieces[piece] for piece in trace.tolist()])
            text = text.replace(". ", ".\n\n") if rng.random() < 0.2 else text
            texts.append(text + LOOP * int(rng.integers(5, 40)) if rng.random() < 0.01 else text)
        frame = pl.DataFrame({"reasoning": texts}).with_columns(step=pl.lit(step, pl.Int64)).to_arrow()
        writer = writer or pq.ParquetWriter(folder / f"step-{step}.parquet", frame.schema, compression="zstd")
        writer.write_table(frame)
        written += sum(len(text.encode()) for text in texts) / 1e6
    if writer:
        writer.close()


def ours(files: list[Path]) -> Passed:
    """`count_words`, which also finds the loops."""
    from cotdrift.tokens import count_words

    table, _ = count_words(files, by=("step",), threads=THREADS)
    return _by_step(table.select("step", "word", "n", "traces"))


def notebook(files: list[Path]) -> Passed:
    """What a notebook does."""
    import pyarrow.parquet as pq

    found: Passed = {}
    for step, file in enumerate(files):
        said: Counter[str] = Counter()
        traces: Counter[str] = Counter()
        for text in pq.read_table(file, columns=["reasoning"])["reasoning"].to_pylist():
            words = re.findall(NOTEBOOK, text.lower())
            said.update(words)
            traces.update(set(words))
        found[step] = {word: (said[word], traces[word]) for word in CHECKED}
    return found


def polars(files: list[Path]) -> Passed:
    """Polars, streaming: words to a list, counted within the list, then exploded."""
    import polars as pl

    words = pl.col("reasoning").str.to_lowercase().str.extract_all(NOTEBOOK)
    counted = words.list.eval(pl.element().value_counts()).alias("counted")
    rows = pl.scan_parquet(files).select("step", counted).explode("counted", empty_as_null=False).unnest("counted")
    table = (
        rows.rename({"reasoning": "word"}, strict=False)
        .group_by("step", pl.nth(1).alias("word"))
        .agg(n=pl.col("count").sum(), traces=pl.len())
    )
    return _by_step(table.collect(engine="streaming"))


def duckdb(files: list[Path]) -> Passed:
    """DuckDB: extract, unnest, group twice."""
    import duckdb as duck

    paths = ", ".join(f"'{file}'" for file in files)
    words = "unnest(regexp_extract_all(lower(reasoning), '[a-z'']+')) as word"
    rows = f"select step, file_row_number as trace, {words} from read_parquet([{paths}], file_row_number=true)"
    traces = f"select step, trace, word, count(*) as n from ({rows}) group by all"
    duck.sql(f"set threads = {THREADS}")
    return _by_step(duck.sql(f"select step, word, sum(n)::bigint as n, count(*) as traces from ({traces}) group by all").pl())


def sklearn(files: list[Path]) -> Passed:
    """scikit-learn's CountVectorizer, a checkpoint at a time."""
    import pyarrow.parquet as pq
    from sklearn.feature_extraction.text import CountVectorizer

    found: Passed = {}
    for step, file in enumerate(files):
        vectorizer = CountVectorizer(token_pattern=NOTEBOOK)
        matrix = vectorizer.fit_transform(pq.read_table(file, columns=["reasoning"])["reasoning"].to_pylist())
        said, traces = matrix.sum(axis=0).A1, matrix.getnnz(axis=0)
        found[step] = {word: (int(said[at]), int(traces[at])) for word in CHECKED for at in [vectorizer.vocabulary_[word]]}
    return found


def floor(files: list[Path]) -> Passed:
    """Reading the column and touching every byte, and nothing else."""
    import numpy as np
    import pyarrow.parquet as pq

    def touch(file: Path) -> None:
        for batch in pq.ParquetFile(file).iter_batches(columns=["reasoning"], use_threads=False):
            np.frombuffer(batch["reasoning"].buffers()[2], np.uint8).max()

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(touch, files))
    return {}


def _by_step(table: Any) -> Passed:
    import polars as pl

    found: Passed = {step: {} for step in range(CHECKPOINTS)}
    for step, word, n, traces in table.filter(pl.col("word").is_in(CHECKED)).select("step", "word", "n", "traces").iter_rows():
        found[step][word] = (n, traces)
    return found


CONTENDERS: dict[str, Callable[[list[Path]], Passed]] = {
    "ours": ours,
    "notebook": notebook,
    "polars": polars,
    "duckdb": duckdb,
    "sklearn": sklearn,
    "floor": floor,
}


def one_pass(contender: str, folder: Path) -> None:
    """Warm up on one small file, then time one pass over all; prints seconds, peak memory and the counts checked."""
    files = sorted(folder.glob("*.parquet"))
    run = CONTENDERS[contender]
    run(sorted((folder / "warm").glob("*.parquet")))
    before = time.perf_counter()
    found = run(files)
    seconds = time.perf_counter() - before
    print(json.dumps([seconds, peak_mb(), found]))


def peak_mb() -> float:
    """Most memory this process ever held; not `getrusage`, which a process inherits from the one that started it."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]


def race(contenders: list[str], folder: Path, rounds: int) -> dict[str, tuple[float, float]]:
    """Median seconds and peak memory of each, run in turn."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    memory: dict[str, list[float]] = {name: [] for name in contenders}
    found: dict[str, Passed] = {}
    for _ in range(rounds):
        for name in contenders:
            done = subprocess.run([sys.executable, "-P", __file__, "--pass", name, str(folder)], check=True, capture_output=True, text=True)
            took, peak, found[name] = json.loads(done.stdout.splitlines()[-1])
            seconds[name].append(took)
            memory[name].append(peak)
    for name, counts in found.items():
        if counts and counts != found["ours"]:
            print(f"bench: words_{name} counts otherwise than ours")
    return {name: (statistics.median(seconds[name]), statistics.median(memory[name])) for name in contenders}


def cold_seconds(folder: Path) -> float:
    """The first pass of all, when every kernel has to be compiled."""
    command = [sys.executable, "-P", __file__, "--pass", "ours", str(folder / "warm")]
    (folder / "warm" / "warm").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as cache:
        before = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, env=os.environ | {"NUMBA_CACHE_DIR": cache})
        return time.perf_counter() - before


def main() -> None:
    """Write a corpus of each size, run everyone over it, and say how they did."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("megabytes", nargs="*", type=int, default=[100, 500])
    parser.add_argument("--memory", type=int, default=1_000, help="megabytes to hold our peak memory at the first size against; 0 for none")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    installed = [name for name in CONTENDERS if name not in ("duckdb", "sklearn") or find_spec(name)]
    first = 0.0
    for megabytes in asked.megabytes:
        with tempfile.TemporaryDirectory() as temporary:
            folder = made(Path(temporary), megabytes)
            results = race(installed, folder, asked.rounds)
            took, peak = results["ours"]
            first = first or peak
            for name in installed[1:]:
                other, others_peak = results[name]
                line = f"bench: words_{megabytes}mb_{name} ratio={other / took:.2f} ours={took:.2f}s other={other:.2f}s"
                print(f"{line} rss_mb={peak:.0f} other_rss_mb={others_peak:.0f}", flush=True)
            if megabytes == asked.megabytes[0]:
                print(f"bench: words_cold ours={cold_seconds(folder):.1f}s", flush=True)
    if asked.memory:
        with tempfile.TemporaryDirectory() as temporary:
            took, peak = race(["ours"], made(Path(temporary), asked.memory), 1)["ours"]
        line = f"bench: words_memory_{asked.memory}mb ratio={first / peak:.2f} ours={peak:.0f}mb other={first:.0f}mb"
        print(f"{line} rss_mb={peak:.0f} seconds={took:.2f}")


def made(folder: Path, megabytes: float) -> Path:
    """A corpus of that size, with a small one beside it to warm up on."""
    (folder / "warm").mkdir()
    write_corpus(folder, megabytes)
    write_corpus(folder / "warm", 1)
    return folder


if __name__ == "__main__":
    if sys.argv[1:2] == ["--write"]:
        write_checkpoint(Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
    elif sys.argv[1:2] == ["--pass"]:
        one_pass(sys.argv[2], Path(sys.argv[3]))
    else:
        main()
