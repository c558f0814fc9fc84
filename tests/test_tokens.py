"""Many texts at once say the same as each by itself."""

import re
from collections import Counter
from itertools import pairwise

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cotdrift.text import loops, spans, words
from cotdrift.tokens import Batch, Counts, Vocabulary, count_words

TRICKY = "aZ9'’_-. \néÉΣςİßſKÅȺⅧ²½ª日か〇ー😀❤𝐀𠮷اमन" + "\u0301\u3099\u200d\ufe0f\u00ad\u094d\U000e0100\0"
"""One of each sort of character that has a rule."""
TEXT = st.one_of(st.text(TRICKY), st.text())
LOOPING = st.lists(
    st.tuples(st.lists(st.sampled_from(["a", "b", "né", "日"]), min_size=1, max_size=30), st.integers(1, 14)),
    max_size=5,
).map(lambda parts: " ".join(word for copied, times in parts for word in copied * times))
TEXTS = st.lists(st.one_of(TEXT, LOOPING), max_size=6)


def said(batch: Batch) -> list[list[str]]:
    vocabulary, tokens = batch.tokens.vocabulary, batch.tokens
    return [[vocabulary[word] for word in tokens.ids[start:end]] for start, end in pairwise(tokens.offsets)]


@given(TEXTS)
def test_every_text_has_the_words_it_has_alone(texts):
    batch = Batch(texts)
    assert said(batch) == [list(words(text)) for text in texts]
    assert batch.n_words.tolist() == [len(words(text)) for text in texts]


@given(TEXTS)
def test_places_are_in_characters(texts):
    batch = Batch(texts)
    places = list(zip(batch.tokens.starts.tolist(), batch.tokens.ends.tolist(), strict=True))
    assert places == [(start, end) for text in texts for _, start, end in spans(text)]


def test_every_character_is_what_it_is_alone():
    texts = [f"a{chr(code)}b {chr(code)}" for code in range(0x40000) if not 0xD800 <= code < 0xE000]
    texts += [f"a{chr(code)}b {chr(code)}" for code in (0x40000, 0xE0001, 0xE0100, 0xE01EF, 0xE01F0, 0x10FFFF)]
    whole = " . ".join(texts)
    assert said(Batch([whole]))[0] == list(words(whole))


@given(st.lists(LOOPING, max_size=4))
def test_loops_are_those_of_each_text(texts):
    batch = Batch(texts)
    looped, longest = [], []
    for text in texts:
        told, found = spans(text), loops(words(text))
        inside = {word for start, end, period in found for word in range(start + period, end)}
        looped += [word in inside for word in range(len(told))]
        start, end, _ = min(found, key=lambda loop: (loop[0] - loop[1], loop[0], loop[2]), default=(0, 0, 0))
        longest.append((told[start][1], told[end - 1][2], end - start) if end else (-1, -1, 0))
    assert batch.looped.tolist() == looped
    assert list(zip(*(column.tolist() for column in batch.longest_loop()), strict=True)) == longest


@pytest.mark.parametrize("seed", range(30))
def test_planted_loops_of_any_period_are_found(seed):
    rng = np.random.default_rng(seed)
    vocabulary = [f"w{letter}" for letter in "abcdefghij"[: rng.integers(2, 10)]]
    parts: list[str] = []
    for _ in range(4):
        parts += rng.choice(vocabulary, rng.integers(0, 60)).tolist()
        parts += rng.choice(vocabulary, rng.integers(1, 257)).tolist() * int(rng.integers(1, 6))
    batch = Batch([" ".join(parts)])
    inside = {word for start, end, period in loops(parts) for word in range(start + period, end)}
    assert np.flatnonzero(batch.looped).tolist() == sorted(inside)


@given(TEXTS, st.sampled_from([1, 2, 3, 4, 8]))
def test_repeated_runs_are_counted_as_sets_would(texts, n):
    for text, share in zip(texts, Batch(texts).repeated_ngrams(n), strict=True):
        runs = [words(text)[start : start + n] for start in range(len(words(text)) - n + 1)]
        assert share == pytest.approx(1 - len(set(runs)) / len(runs)) if runs else np.isnan(share)


@given(TEXTS, st.integers(1, 8))
def test_mattr_is_the_mean_over_all_windows(texts, window):
    for text, mean in zip(texts, Batch(texts).mattr(window), strict=True):
        shares = [len(set(words(text)[start : start + window])) / window for start in range(len(words(text)) - window + 1)]
        assert mean == pytest.approx(np.mean(shares)) if shares else np.isnan(mean)


def test_words_are_counted_in_exact_forms():
    batch = Batch(["Disclaim! disclaimers, I disclaim", None, "a disclaimer"])
    assert batch.count(frozenset({"disclaim"})).tolist() == [2, 0, 0]
    assert batch.count(frozenset({"disclaim", "a"})).tolist() == [2, 0, 1]
    assert batch.count(frozenset()).tolist() == [0, 0, 0]
    assert batch.texts == ["Disclaim! disclaimers, I disclaim", "", "a disclaimer"]


@pytest.mark.parametrize(
    "made", [pl.Series, pa.array, lambda texts: pa.array(texts, pa.large_string()), lambda texts: pa.chunked_array([texts[:1], texts[1:]])]
)
def test_any_column_of_text_will_do(made):
    texts = ["so it is", None, "", "日本 so"]
    batch = Batch(made(texts))
    assert said(batch) == [["so", "it", "is"], [], [], ["日", "本", "so"]]
    assert batch.texts == ["so it is", "", "", "日本 so"]


def test_a_part_of_a_column_is_only_that_part():
    column = pa.array(["one", "two", None, "four five", "six"])
    assert said(Batch(column[1:4])) == [["two"], [], ["four", "five"]]
    assert said(Batch(pl.Series(["one", "two", "three"])[1:2])) == [["two"]]


@pytest.mark.parametrize("texts", [[], [""], [None], ["", None, "1 2"]])
def test_nothing_to_read_is_no_fault(texts):
    batch = Batch(texts)
    assert batch.n_words.tolist() == [0] * len(texts)
    assert batch.count(frozenset({"a"})).tolist() == [0] * len(texts)
    assert len(batch.looped) == 0
    assert [column.tolist() for column in batch.longest_loop()] == [[-1] * len(texts), [-1] * len(texts), [0] * len(texts)]
    assert np.isnan(batch.repeated_ngrams(4)).all()
    assert np.isnan(batch.mattr()).all()


def test_bytes_that_are_no_text_do_no_harm():
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, 100_000, dtype=np.uint8).tobytes()
    offsets = np.sort(rng.integers(0, len(noise), 100)).astype(np.int64)
    column = pa.LargeStringArray.from_buffers(99, pa.py_buffer(offsets), pa.py_buffer(noise))
    assert Batch(column).n_words.sum() > 0
    assert said(Batch(["half a pair \ud800 here"])) == [["half", "a", "pair", "here"]]


def test_a_single_word_may_be_very_long():
    batch = Batch(["Ⱥ" * 1_000_000, "x" * 3_000_000])
    assert [len(word) for word in batch.tokens.vocabulary] == [1_000_000, 3_000_000]


def test_words_alike_in_their_first_bytes_are_told_apart():
    numbered = [f"abcdefghijkl{number}xyz" for number in range(40_000)]
    batch = Batch([" ".join(numbered)], vocabulary=Vocabulary())
    assert batch.tokens.vocabulary == numbered
    assert batch.vocabulary.numbers(numbered[::-1]).tolist() == list(range(40_000))[::-1]


def test_words_keep_their_numbers_as_the_vocabulary_grows():
    vocabulary = Vocabulary()
    first = Batch(["so it is"], vocabulary=vocabulary)
    assert first.tokens.ids.tolist() == [0, 1, 2]
    Batch([" ".join(f"w{number}" for number in range(20_000))], vocabulary=vocabulary).tokens  # noqa: B018
    assert Batch(["is it so"], vocabulary=vocabulary).tokens.ids.tolist() == [2, 1, 0]
    assert first.count(frozenset({"it"})).tolist() == [1]


def plain_counts(texts: list[str], codes: list[int]) -> tuple[Counter, Counter, Counter]:
    n, kept, traces = Counter(), Counter(), Counter()
    for text, code in zip(texts, codes, strict=True):
        inside = {word for start, end, period in loops(words(text)) for word in range(start + period, end)}
        n.update((code, word) for word in words(text))
        kept.update((code, word) for place, word in enumerate(words(text)) if place not in inside)
        traces.update((code, word) for word in set(words(text)))
    return n, kept, traces


@given(st.lists(st.lists(st.tuples(st.one_of(TEXT, LOOPING), st.integers(0, 3)), max_size=4), min_size=1, max_size=4), st.booleans())
def test_counts_are_those_of_counters_however_they_were_gathered(parts, own_vocabulary):
    whole, other = Counts(), Counts()
    for place, part in enumerate(parts):
        counts = (whole, other)[place % 2]
        batch = Batch([text for text, _ in part], vocabulary=counts.vocabulary if own_vocabulary else None)
        counts.add(batch, np.array([code for _, code in part], np.int64))
    whole.merge(other)
    texts, codes = [text for part in parts for text, _ in part], [code for part in parts for _, code in part]
    n, kept, traces = plain_counts(texts, codes)
    rows = whole.table()
    assert {(code, word): counted for code, word, *counted in rows.iter_rows()} == {pair: [n[pair], kept[pair], traces[pair]] for pair in n}
    totals = {code: [0, 0, codes.count(code)] for code in codes}
    for code, word in n:
        totals[code][0] += n[code, word]
        totals[code][1] += kept[code, word]
    assert {code: counted for code, *counted in whole.totals().iter_rows()} == totals


def test_a_large_table_is_the_table_of_its_parts():
    rng = np.random.default_rng(1)
    texts = [" ".join(f"w{number}" for number in rng.integers(0, 3_000, 200)) for _ in range(300)]
    codes = rng.integers(0, 50, 300)
    n, kept, traces = plain_counts(texts, codes.tolist())
    counts, other = Counts(), Counts()
    counts.add(Batch(texts[:200]), codes[:200])
    other.add(Batch(texts[200:]), codes[200:])
    counts.merge(other)
    assert counts.table().height == len(n) > 40_000
    assert {(code, word): counted for code, word, *counted in counts.table().iter_rows()} == {
        pair: [n[pair], kept[pair], traces[pair]] for pair in n
    }


@pytest.fixture
def files(tmp_path):
    rng = np.random.default_rng(2)
    paths = []
    for step in range(3):
        texts = [" ".join(f"w{number}" for number in rng.integers(0, 50, 30)) + " so it is" * (step * 4) for _ in range(40)]
        frame = pl.DataFrame({"step": step, "reasoning": [*texts[:-1], None], "task_set": ["a", "b"] * 20})
        frame.write_parquet(path := tmp_path / f"{step}.parquet", row_group_size=16)
        paths.append(path)
    return paths


@pytest.mark.parametrize("threads", [1, 3])
def test_files_are_counted_by_file_or_by_columns(files, threads):
    table, totals = count_words(files, threads=threads)
    assert table.columns == ["file", "word", "n", "kept", "traces"]
    assert totals.sort("file")["words"].to_list() == [1_170, 1_170 + 39 * 12, 1_170 + 39 * 24]
    assert totals.sort("file")["kept"].to_list() == [1_170, 1_170 + 39 * 12, 1_170 + 39 * 3]
    by_step, _ = count_words(files, by=("step",), threads=threads)
    named = table.with_columns(step=pl.col("file").str.extract(r"(\d)\.parquet").cast(pl.Int32)).drop("file")
    assert by_step.sort("step", "word").rows() == named.select(by_step.columns).sort("step", "word").rows()
    both, sums = count_words(files, by=("step", "task_set"), threads=threads)
    assert (
        both.group_by("step", "word").agg(pl.sum("n", "kept", "traces")).sort("step", "word").rows() == by_step.sort("step", "word").rows()
    )
    assert sums["traces"].to_list() == [20] * 6


def test_no_files_give_empty_tables():
    table, totals = count_words([])
    assert table.is_empty()
    assert totals.is_empty()


def test_counts_agree_with_a_notebook_on_plain_english(tmp_path):
    texts = ["The cat can't see the mat; it's the cat's.", "So: the answer is the sum."] * 50
    pl.DataFrame({"reasoning": texts}).write_parquet(tmp_path / "texts.parquet")
    table, _ = count_words([tmp_path / "texts.parquet"])
    notebook = Counter(word for text in texts for word in re.findall(r"[a-z']+", text.lower()))
    assert dict(table.select("word", "n").iter_rows()) == dict(notebook)
