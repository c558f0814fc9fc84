"""Word counts: how often each prompt's traces use each word, checkpoint by checkpoint, on disk."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from cotdrift import tokens
from cotdrift.corpus import Checkpoint, Corpus, whole_file

Said = Literal["reasoning", "answer"]
VERSION = 1
"""Raise it when the same text would now give other words."""
PROMPT = ["environment", "prompt_id"]


class WordCounts:
    """Counts in a folder: for each checkpoint those of its raw reasoning, and those of the answers of the same traces."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def tables(self, checkpoint: Checkpoint, said: Said = "reasoning") -> tuple[pl.DataFrame, pl.DataFrame]:
        """The counts and the totals of one checkpoint, empty when there was not a word."""
        counts, totals = (pl.read_parquet(path) for path in _files(self.folder / checkpoint.name, said))
        return counts, totals

    def uses(self, checkpoint: Checkpoint, word: str) -> pl.DataFrame:
        """The counts of one word in the reasoning of one checkpoint."""
        return pl.scan_parquet(_files(self.folder / checkpoint.name, "reasoning")[0]).filter(pl.col("word") == word).collect()


def count_corpus(corpus: Corpus, into: WordCounts, *, threads: int = 2, done: Callable[[int], None] = lambda _traces: None) -> None:
    """Count the words of every checkpoint that was not counted yet."""

    def count(checkpoint: Checkpoint) -> None:
        _count_checkpoint(checkpoint, into.folder / checkpoint.name, done=done)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(count, corpus.missing(into.folder, lambda place, _: not _files(place, "answer")[1].exists())))


def _files(place: Path, said: Said) -> tuple[Path, Path]:
    return place / f"{said}-{VERSION}.parquet", place / f"{said}-totals-{VERSION}.parquet"


def _count_checkpoint(checkpoint: Checkpoint, place: Path, *, done: Callable[[int], None]) -> None:
    codes: dict[tuple[str, str], int] = {}
    counts: dict[Said, tokens.Counts] = {"reasoning": tokens.Counts(), "answer": tokens.Counts()}
    for rows in checkpoint.batches(["task_set", "task_id", "reasoning_kind", "reasoning", "answer"]):
        raw = rows.filter(pl.col("reasoning_kind") == "raw")
        prompts = np.array([codes.setdefault(prompt, len(codes)) for prompt in raw.select("task_set", "task_id").iter_rows()], np.int64)
        for said, counted in counts.items():
            counted.add(tokens.Batch(raw[said], vocabulary=counted.vocabulary), prompts)
        done(rows.height)
    named = (
        pl.DataFrame(list(codes), schema=dict.fromkeys(PROMPT, pl.String), orient="row")
        .with_row_index("code")
        .with_columns(pl.col("code").cast(pl.Int64))
    )
    for said, counted in counts.items():  # the totals of the answers come last: with them the checkpoint is done
        tables = counted.table(), counted.totals().rename({"kept": "kept_words"})
        for table, place_of_table in zip(tables, _files(place, said), strict=True):
            with whole_file(place_of_table) as path:
                named.join(table, on="code").drop("code").write_parquet(path, compression="zstd", compression_level=3)
