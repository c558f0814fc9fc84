"""Tokens: the words of many texts at once, as numbers, straight from the bytes of a column."""

import os
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from cotdrift import kernels, text

BATCH_BYTES = 8 * 2**20
"""How much text a thread holds at once."""

Texts: TypeAlias = pl.Series | Sequence[str | None] | Any
"""A column of Polars or of Arrow (which ships no types), or a list; what is missing is empty."""


class Vocabulary:
    """The words met so far, each with its number. One thread at a time may add to it."""

    def __init__(self) -> None:
        room = 1 << 14
        self.table: tuple[Any, ...] = (
            np.zeros(2 * room, np.int32),
            np.empty(room, np.uint64),
            np.empty(room, np.int64),
            np.empty(8 * room, np.uint8),
            0,
        )

    def __len__(self) -> int:
        return int(self.table[4])

    @property
    def column(self) -> pl.Series:
        """The words in the order of their numbers, as a column."""
        ends = np.concatenate(([0], self.table[2][: len(self)]))
        array = pa.LargeStringArray.from_buffers(len(self), pa.py_buffer(ends), pa.py_buffer(self.table[3]))
        return pl.Series("word", pl.from_arrow(array), dtype=pl.String)

    @property
    def words(self) -> list[str]:
        """The words in the order of their numbers."""
        return self.column.to_list()

    def numbers(self, words: Sequence[str]) -> NDArray[np.int32]:
        """The number of each of these words; a new one is added."""
        return Batch(words, vocabulary=self).tokens.ids


@dataclass(frozen=True)
class Tokens:
    """Every word of every text, in order."""

    known: Vocabulary
    ids: NDArray[np.int32]
    """Each word's number in the vocabulary."""
    offsets: NDArray[np.int64]
    """Where each text's words begin, and the last one's end."""
    starts: NDArray[np.uint32]
    """Where each word begins in its text, in characters."""
    ends: NDArray[np.uint32]

    @property
    def vocabulary(self) -> list[str]:
        """The words in the order of their numbers."""
        return self.known.words


class Batch:
    """Many texts, and what there is to say of their words.

    >>> batch = Batch(["No, no!", "", "Maybe not"])
    >>> batch.n_words.tolist(), batch.count(frozenset({"no", "not"})).tolist()
    ([2, 0, 2], [2, 0, 1])
    """

    def __init__(self, texts: Texts, *, vocabulary: Vocabulary | None = None) -> None:
        self.given = texts
        self.vocabulary = Vocabulary() if vocabulary is None else vocabulary
        self.data, self.offsets = _bytes_of(texts)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @cached_property
    def texts(self) -> list[str]:
        """The texts; one that is missing is empty."""
        given = (
            self.given
            if isinstance(self.given, Sequence)
            else self.given.to_list()
            if isinstance(self.given, pl.Series)
            else self.given.to_pylist()
        )
        return [one or "" for one in given]

    @cached_property
    def tokens(self) -> Tokens:
        """The words, numbered."""
        ids, starts, ends, cuts, *table = kernels.split(self.data, self.offsets, *_characters(), *self.vocabulary.table)
        self.vocabulary.table = tuple(table)
        return Tokens(self.vocabulary, ids, cuts, starts, ends)

    @property
    def n_words(self) -> NDArray[np.int64]:
        """How many words each text has."""
        return np.diff(self.tokens.offsets)

    def sums(self, values: NDArray[Any]) -> NDArray[Any]:
        """One value a word, added up for each text."""
        running = np.concatenate(([0], np.cumsum(values)))
        return running[self.tokens.offsets[1:]] - running[self.tokens.offsets[:-1]]

    def count(self, words: frozenset[str]) -> NDArray[np.int64]:
        """How many of each text's words are among these."""
        wanted = self.vocabulary_of_texts.is_in(list(words)).to_numpy()
        return self.sums(wanted[self.tokens.ids])

    @cached_property
    def vocabulary_of_texts(self) -> pl.Series:
        """The words in the order of their numbers, as they stand when these texts have been read."""
        return self.tokens.known.column

    @cached_property
    def _loops(self) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        looped, longest = kernels.find_loops(self.tokens.ids, self.tokens.offsets)
        return looped, longest

    @property
    def looped(self) -> NDArray[np.bool_]:
        """Whether each word stands in a loop, after its first copy."""
        return self._loops[0]

    def longest_loop(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Each text's longest loop: where it begins and ends, in characters, and its number of words; -1, -1 and 0 where there is none."""
        first, last, _ = self._loops[1].T
        there = last > 0
        begin = self.tokens.offsets[:-1]
        starts, ends = np.full(len(self), -1), np.full(len(self), -1)
        starts[there] = self.tokens.starts[(begin + first)[there]]
        ends[there] = self.tokens.ends[(begin + last - 1)[there]]
        return starts, ends, last - first

    def repeated_ngrams(self, n: int) -> NDArray[np.float64]:
        """Share of each text's runs of n words that stood in it before (Welleck et al., 2020); NaN with fewer than n words."""
        shares: NDArray[np.float64] = kernels.repeated(self.tokens.ids, self.tokens.offsets, n)
        return shares

    def mattr(self, window: int = 50) -> NDArray[np.float64]:
        """Mean share of different words over all windows of so many words; NaN with fewer words, as shorter windows have higher shares."""
        means: NDArray[np.float64] = kernels.moving_variety(self.tokens.ids, self.tokens.offsets, window, len(self.vocabulary))
        return means


class Counts:
    """How often each word is said, for each group of texts: how often in all and outside loops, and in how many texts.

    A group is a whole number from 0 on, chosen by whoever adds the texts. Memory grows with the pairs of group and word, not with the text.
    """

    def __init__(self) -> None:
        self.vocabulary = Vocabulary()
        self.pairs: tuple[Any, ...] = (np.zeros(1 << 14, np.uint64), np.zeros((1 << 14, 3), np.uint32), 0)
        self.sums = np.zeros((0, 3), np.int64)

    def add(self, batch: Batch, codes: NDArray[np.int64]) -> None:
        """Count texts, each in the group of its code. Fastest for a batch made with this vocabulary."""
        ids, cuts = batch.tokens.ids, batch.tokens.offsets
        if batch.vocabulary is not self.vocabulary:
            ids = self.vocabulary.numbers(batch.tokens.vocabulary)[ids]
        codes = np.ascontiguousarray(codes, np.int64)
        self.pairs = kernels.tally(ids, cuts, batch.looped, codes, len(self.vocabulary), *self.pairs)
        self._room_for(int(codes.max(initial=-1)) + 1)
        np.add.at(self.sums, codes, np.stack((batch.n_words, batch.sums(~batch.looped), np.ones_like(codes)), axis=1))

    def merge(self, other: "Counts") -> None:
        """Take over what another counted."""
        numbers = self.vocabulary.numbers(other.vocabulary.words)
        keys, counts, _ = other.pairs
        self.pairs = kernels.merge(keys, counts, numbers, *self.pairs)
        self._room_for(len(other.sums))
        self.sums[: len(other.sums)] += other.sums

    def table(self) -> pl.DataFrame:
        """One row a group and word: `code, word, n, kept, traces`; `kept` is `n` without loops."""
        keys, counts, _ = self.pairs
        used = np.flatnonzero(keys)
        codes, ids = (keys[used] >> np.uint64(32)).astype(np.int64) - 1, (keys[used] & np.uint64(0xFFFFFFFF)).astype(np.uint32)
        columns = {name: counts[used, place].astype(np.int64) for place, name in enumerate(("n", "kept", "traces"))}
        return pl.DataFrame({"code": codes, "word": self.vocabulary.column.gather(ids), **columns})

    def totals(self) -> pl.DataFrame:
        """One row a group: `code, words, kept, traces`."""
        codes = np.flatnonzero(self.sums[:, 2])
        columns = {name: self.sums[codes, place] for place, name in enumerate(("words", "kept", "traces"))}
        return pl.DataFrame({"code": codes, **columns})

    def _room_for(self, groups: int) -> None:
        more = np.zeros((max(0, groups - len(self.sums)), 3), np.int64)
        self.sums = np.concatenate((self.sums, more))


def count_words(
    files: Iterable[Path | str], *, column: str = "reasoning", by: Sequence[str] = (), threads: int = 2
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Every word of a column of parquet files, counted for each value of other columns, or for each file.

    Returns two tables: `word, n, kept, traces` for each word and group, and `words, kept, traces` for each group, under the columns of `by`
    (`file` when there are none). `kept` leaves out what stands in a loop after its first copy.
    """
    groups: dict[tuple[Any, ...], int] = {}
    own, lock = threading.local(), threading.Lock()
    parts: list[Counts] = []

    def count(path: str, row_group: int) -> None:
        if not hasattr(own, "counts"):
            own.counts = Counts()
            parts.append(own.counts)
        counts: Counts = own.counts
        with pq.ParquetFile(path, pre_buffer=False, buffer_size=2**20) as file:
            place = file.schema_arrow.names.index(column)
            told = file.metadata.row_group(row_group)
            rows = max(1, told.num_rows * BATCH_BYTES // max(1, told.column(place).total_uncompressed_size))
            for batch in file.iter_batches(batch_size=rows, row_groups=[row_group], columns=[column, *by], use_threads=False):
                values = zip(*(batch[name].to_pylist() for name in by), strict=True) if by else [(path,)] * batch.num_rows
                with lock:
                    codes = np.array([groups.setdefault(value, len(groups)) for value in values], np.int64)
                counts.add(Batch(batch[column], vocabulary=counts.vocabulary), codes)

    paths = [os.fspath(path) for path in files]
    work = [(path, row_group) for path in paths for row_group in range(pq.read_metadata(path).num_row_groups)]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(count, *zip(*work, strict=True)) if work else ())
    counts = parts[0] if parts else Counts()
    for other in parts[1:]:
        counts.merge(other)
    names = list(by) or ["file"]
    named = pl.DataFrame(list(groups), schema=names, orient="row") if groups else pl.DataFrame(schema=dict.fromkeys(names, pl.String))
    named = named.with_columns(code=pl.int_range(pl.len(), dtype=pl.Int64))
    return tuple(named.join(frame, on="code").drop("code") for frame in (counts.table(), counts.totals()))  # type: ignore[return-value]


def _bytes_of(texts: Texts) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The bytes of all texts, and where each begins, without a copy where the column allows it."""
    if isinstance(texts, pl.Series):
        texts = texts.to_arrow()
    if isinstance(texts, Sequence):
        try:
            texts = pa.array(texts, pa.large_string())
        except UnicodeEncodeError:  # half a surrogate pair, which no file can hold
            texts = pa.array([one and one.encode(errors="replace").decode() for one in texts], pa.large_string())
    if isinstance(texts, pa.ChunkedArray):
        texts = texts.combine_chunks()
    if not (pa.types.is_large_string(texts.type) or pa.types.is_string(texts.type)):
        texts = texts.cast(pa.large_string())
    if texts.null_count:
        texts = texts.fill_null("")
    _, ends, data = texts.buffers()
    width = np.int64 if pa.types.is_large_string(texts.type) else np.int32
    offsets = np.frombuffer(ends, width)[texts.offset :][: len(texts) + 1] if len(texts) else np.zeros(1, width)
    return _fixed(np.frombuffer(data or b"\0", np.uint8)), _fixed(offsets.astype(np.int64))


def _fixed(array: NDArray[Any]) -> NDArray[Any]:
    array = array.view()
    array.flags.writeable = False  # always, as kernels are compiled anew for arrays that can be written
    return array


@cache
def _characters() -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.int32]]:
    """What the kernels know of characters: a table of ASCII (separators and lower case), every code point's kind, and its lower case."""
    points = "".join(map(chr, range(kernels.TABLED)))
    kinds = np.zeros(kernels.TABLED, np.uint8)
    kinds[np.fromiter(map(str.isalnum, points), bool)] = kernels.NUMBER
    kinds[np.fromiter(map(str.isalpha, points), bool)] = kernels.LETTER
    for first, last in text.SOLO_BLOCKS:
        block = kinds[first : last + 1]
        block[block == kernels.LETTER] = kernels.SOLO
    kinds[[mark for mark in text.marks() if mark < kernels.TABLED]] = kernels.MARK
    lower = np.frombuffer(text.folded(points).encode("utf-32-le", "surrogatepass"), np.int32)
    small = np.full(256, kernels.LOOK, np.uint8)
    small[:128] = np.where(kinds[:128] > 0, lower[:128], kernels.SEPARATOR)
    small[kernels.APOSTROPHE] = kernels.LOOK
    return small, kinds, lower
