"""What each measure counts, and what it leaves alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cotdrift.measure import Found, Measure
from cotdrift.measures.code import code_share, prose
from cotdrift.measures.compression import compression_ratio
from cotdrift.measures.diversity import mattr
from cotdrift.measures.hedging import hedging
from cotdrift.measures.length import reasoning_chars, reasoning_words
from cotdrift.measures.rarity import rare_word_share, unknown_word_share
from cotdrift.measures.repetition import longest_loop, repeated_ngrams
from cotdrift.measures.script import non_latin_share
from cotdrift.measures.sentence_count import count_sentences
from cotdrift.measures.spacing import glued_words, whitespace_ratio
from cotdrift.measures.telegraphic import function_word_share, words_per_sentence
from cotdrift.measures.template_collapse import repeated, template_collapse
from cotdrift.shelf import collect
from cotdrift.text import sentences
from cotdrift.trace import Trace

MEASURES = collect("measures", Measure)


def number(measure: Measure, text: str) -> float:
    found = measure(Trace.example(text))
    found = found.value if isinstance(found, Found) else found
    return np.nan if found is None else float(found)


@pytest.mark.parametrize("name", sorted(set(MEASURES) - {"reasoning_chars", "whitespace_ratio", "code_share"}))
def test_reasoning_without_a_word_has_no_number(name: str) -> None:
    assert MEASURES[name](Trace.example("12² + 30 = 174 … ?")) is None


def read(measure: Measure, text: str) -> float:
    found = number(measure, text)
    assert not np.isnan(found)
    return found


def test_numbers_are_no_words() -> None:
    assert read(reasoning_words, "2 + 2 is 4, isn't it?") == 3


def test_characters_are_counted_not_bytes() -> None:
    assert read(reasoning_chars, "θ≈2") == 3


def test_an_abbreviated_note_has_few_function_words() -> None:
    assert read(function_word_share, "check sum, divide, done") < read(
        function_word_share, "I check the sum, then I divide, and it is done"
    )


def test_code_is_not_read_as_prose() -> None:
    said = "We call the function and see.\n"
    code = "```python\nfor zqx in qwv:\n    zqx.frobnicate()\n```"
    for measure in (function_word_share, unknown_word_share, rare_word_share, hedging, words_per_sentence, glued_words):
        assert read(measure, said + code) == read(measure, said)
    assert read(code_share, said + code) == len(code) / len(said + code)


@pytest.mark.parametrize(
    "code", ["`x`", "```\nx = 1", "$x+1$", "$$x\n+1$$", r"\(x\)", r"\[x\]", r"\begin{align}x\end{align}", "https://a.org/b?c=d"]
)
def test_code_formulas_and_addresses_are_set_apart(code: str) -> None:
    assert prose(f"so {code}") == "so  "


def test_sums_of_money_are_no_formula() -> None:
    assert read(code_share, "It costs $5 or $10, not $20.") == 0


def test_a_list_has_as_many_sentences_as_lines() -> None:
    assert read(words_per_sentence, "Check the sum\nTry again\nDone now then") == pytest.approx(8 / 3)


@given(st.lists(st.sampled_from([*".!?…。\"')*_ \n(aB1²é", "e.g", "Mr", "vs", "\u2028"]), max_size=30).map("".join))
def test_sentences_are_counted_as_they_are_found(text: str) -> None:
    assert count_sentences([text]).tolist() == [len(sentences(text))]


def test_repeated_sequences_are_counted_after_their_first_time() -> None:
    assert read(repeated_ngrams, "a b c d e f g h") == 0
    assert read(repeated_ngrams, "a b c d " * 3) == pytest.approx(5 / 9)


def test_the_longest_loop_is_shown_where_it_stands() -> None:
    before, loop = "First I add the numbers. ", "Wait, let me check again. "
    found = longest_loop(Trace.example(before + loop * 6 + "Done at last."))
    assert isinstance(found, Found)
    assert found.value == 30
    assert (before + loop * 6)[found.start : found.end] == (loop * 6).rstrip(". ")


def test_saying_something_twice_is_no_loop() -> None:
    assert read(longest_loop, "Let me check this again from the start and then decide. " * 2) == 0


def test_repetition_compresses_better() -> None:
    varied = " ".join(
        f"{a}{b}{c}"
        for a in "bdfgklm"
        for b in ("ar", "ei", "ou", "il", "ent")
        for c in ("a", "ing", "o", "est", "us", "er", "le", "ut", "an", "y")
    )
    assert read(compression_ratio, "wait, no. " * 300) > 10 > read(compression_ratio, varied * 2)


def test_compression_does_not_depend_on_how_often_a_window_is_repeated() -> None:
    window = ("To see whether it holds, take any two of them and compare. " * 40)[:2000]
    assert read(compression_ratio, window) == read(compression_ratio, window * 3 + "and a rest")


def test_lexical_diversity_does_not_fall_with_length() -> None:
    different = " ".join(f"w{chr(97 + i // 26)}{chr(97 + i % 26)}" for i in range(60))
    assert read(mattr, different) == read(mattr, different + " " + different) == 1


def test_rare_and_unknown_words_are_told_apart() -> None:
    assert read(rare_word_share, "the overshadowing") == 0.5
    assert read(unknown_word_share, "the overshadowing") == 0
    assert read(unknown_word_share, "the overshadowment") == 0.5


def test_names_with_digits_are_neither_rare_nor_unknown() -> None:
    assert read(unknown_word_share, "the utf8 and x1") == 0


@pytest.mark.parametrize(
    ("text", "share"),
    [("it is", 0), ("naïve façade", 0), ("да нет", 1), ("所以 no", 0.5), ("θ and Δx", 0), ("ℝ 𝑥", 0), ("και ab", 0.6), ("हम", 1)],
)
def test_other_scripts_are_seen_and_symbols_are_not(text: str, share: float) -> None:
    assert read(non_latin_share, text) == share


@pytest.mark.parametrize("word", ["thereforewe", "checkwhether", "theopponent", "taketheking"])
def test_words_run_together_are_found(word: str) -> None:
    assert read(glued_words, word) == 1


@pytest.mark.parametrize(
    "word", ["nevertheless", "timestep", "backtracking", "overdone", "withholds", "subproblem", "counterargument", "frobnicate"]
)
def test_compounds_and_derived_words_are_not_taken_for_words_run_together(word: str) -> None:
    assert read(glued_words, word) == 0


def test_every_kind_of_blank_is_whitespace() -> None:
    assert read(whitespace_ratio, "a\u202fb\n\tc\u00a0") == 4 / 7


def test_hedges_are_whole_words() -> None:
    assert read(hedging, "mighty likelihood") == 0


def test_traces_that_differ_only_in_numbers_are_copies() -> None:
    said = ["We add 2 and 2, so 4.", "We add 3 and 5, so 8!", "We subtract 2 from 4, so 2.", "So we add 2 and 2: 4"]
    assert template_collapse.pool is repeated
    fingerprints = np.array([read(template_collapse, text) for text in said] + [np.nan])
    np.testing.assert_array_equal(repeated(fingerprints), [1, 1, 0, 0, np.nan])
