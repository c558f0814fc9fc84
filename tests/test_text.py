"""What a word, a sentence, a chunk and a loop are."""

import time
import unicodedata
from difflib import SequenceMatcher

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cotdrift.text import SOLO_BLOCKS, chunks, folded, loops, sentences, spans, words

TRICKY = "aZ9'’_-. \néÉΣςİßſKÅȺⅧ²½ª日か〇ー😀❤𝐀𠮷اमन" + "\u0301\u3099\u200d\ufe0f\u00ad\u094d\U000e0100"
"""One of each sort of character that has a rule."""
TEXTS = st.one_of(st.text(TRICKY), st.text())
LOOPING = st.lists(
    st.tuples(st.lists(st.sampled_from("abc"), min_size=1, max_size=20), st.integers(1, 12)),
    max_size=5,
).map(lambda parts: [word for copied, times in parts for word in copied * times])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("He DIDN'T disclaim; a disclaimer did.", ["he", "didn't", "disclaim", "a", "disclaimer", "did"]),
        ("It’s the dogs' bowl, 'tis rock'n'roll", ["it's", "the", "dogs", "bowl", "tis", "rock'n'roll"]),
        ("x_1 = y2 + 3.14 - 1e5 and 1980's", ["x", "y2", "1e5", "and", "1980's"]),
        ("don''t o' 'a '", ["don", "t", "o", "a"]),
        ("well-known/unknown—maybe…so", ["well", "known", "unknown", "maybe", "so"]),
        ("ΟΔΟΣ ΣΑΣ οδος", ["οδοσ", "σασ", "οδος"]),
        ("İSTANBUL Straße K", ["İstanbul", "straße", "k"]),
        ("答えは4です", ["答", "え", "は", "で", "す"]),
        ("cafe\u0301 हिन्दी عربي", ["cafe\u0301", "हिन्दी", "عربي"]),
        ("❤️love 👍🏽 2² ½ 〇", ["love"]),
        ("", []),
        ("42 ... 17", []),
    ],
)
def test_words_are_what_a_reader_would_call_words(text, said):
    assert list(words(text)) == said


def test_case_is_kept_when_asked_for():
    assert words("Myself, I’d say ÉTÉ", cased=True) == ("Myself", "I'd", "say", "ÉTÉ")


def plain_words(text: str) -> list[str]:
    """The rule read character by character."""
    found, run, index = [], "", 0

    def kind(place: int) -> str:
        if place >= len(text):
            return " "
        if any(first <= ord(text[place]) <= last for first, last in SOLO_BLOCKS):
            return "solo" if text[place].isalpha() else "M" if unicodedata.category(text[place])[0] == "M" else " "
        return unicodedata.category(text[place])[0]

    while index <= len(text):
        here = kind(index)
        low = text[index : index + 1].lower()
        inside = here in "LN" or (here == "M" and run)
        if inside:
            run += low if len(low) == 1 else text[index]
        elif run and text[index : index + 1] in ("'", "’") and kind(index + 1) in "LN":
            run += "'"
        else:
            found += [run, text[index] if here == "solo" else ""]
            run = ""
        index += 1
    return [word for word in found if any(unicodedata.category(letter)[0] == "L" for letter in word)]


@given(TEXTS)
def test_words_follow_the_rule_on_any_text(text):
    assert list(words(text)) == plain_words(text)


@given(TEXTS)
def test_a_word_is_itself(text):
    assert all(words(word) == (word,) for word in words(text))


@given(TEXTS)
def test_spans_point_at_the_words(text):
    found = spans(text)
    assert [word for word, _, _ in found] == list(words(text))
    assert all(words(text[start:end]) == (word,) for word, start, end in found)


@given(TEXTS)
def test_folding_keeps_the_length(text):
    assert len(folded(text)) == len(text)


PROSE = """
The old lighthouse hadn't been painted in years, and nobody in the village could say who'd last climbed its stairs. “It’s the wind,”
Mrs. Alder told the children whenever they asked about the sound; she didn't quite believe it herself. On the 3rd of May, at half past
four, a well-dressed stranger arrived with two suitcases (one of them empty), paid £40 for a week's lodging, and asked – rather too
casually – whether the lamp still worked. By Friday everyone's guess was different: he was a surveyor; he was a poet; he'd come to buy it.

Let's think about what he could've wanted. If he were a surveyor, he'd need instruments, and nobody saw any: no tripod, no chain, not even
a notebook. If he were a poet, well... poets don't usually ask about voltage and/or fuses! So that leaves buying. But why would anyone pay
for a tower that hasn't got a road, a roof, or a working door? Wait, maybe it isn't the tower that matters at all. The café owner's cousin
mentioned the rock beneath it: grey-green, heavy, "like old copper", she'd said. That’s 300 tonnes of ore, more or less, under Alder’s feet.
"""


def test_words_of_english_prose_are_those_of_wordfreq():
    import wordfreq

    ours = list(words(PROSE))
    theirs = [word.replace("’", "'") for word in wordfreq.tokenize(PROSE, "en") if any(letter.isalpha() for letter in word)]
    same = sum(block.size for block in SequenceMatcher(None, ours, theirs, autojunk=False).get_matching_blocks())
    assert same / max(len(ours), len(theirs)) >= 0.99


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("It is so. Is it? Yes!", ["It is so.", "Is it?", "Yes!"]),
        ("Pi is 3.14, e.g. here. Dr. Who said so.", ["Pi is 3.14, e.g. here.", "Dr. Who said so."]),
        ("1. Read it\n2. Sum it\n\nthen stop", ["1. Read it", "2. Sum it", "then stop"]),
        ("a line that\ngoes on. And ends", ["a line that\ngoes on.", "And ends"]),
        ('He said "no." Then left', ['He said "no."', "Then left"]),
        ("これは文です。次の文。", ["これは文です。", "次の文。"]),
        ("So x = 4.\n----", ["So x = 4.\n----"]),
        ("Hmm... wait", ["Hmm...", "wait"]),
        ("", []),
        ("12.", []),
    ],
)
def test_sentences_end_where_a_reader_would_end_them(text, pieces):
    assert [text[start:end] for start, end in sentences(text)] == pieces


@given(TEXTS)
def test_sentences_stand_in_order_and_hold_every_word(text):
    found = sentences(text)
    edges = [edge for pair in found for edge in pair]
    assert edges == sorted(edges)
    assert sum(len(words(text[start:end])) for start, end in found) == len(words(text))


@given(TEXTS, st.integers(1, 5))
def test_chunks_are_the_whole_text(text, size):
    pieces = [text[start:end] for start, end in chunks(text, size)]
    counts = [len(words(piece)) for piece in pieces]
    assert "".join(pieces) == text
    assert all(count == size for count in counts[:-1])
    assert sum(counts) == len(words(text))


def plain_loops(said: list[str]) -> tuple[set[int], int]:
    """Which words are looped, and the length of the longest loop, by trying everything."""
    looped: set[int] = set()
    longest = 0
    for period in range(1, 257):
        for start in range(len(said)):
            end = start + period
            while end < len(said) and said[end] == said[end - period]:
                end += 1
            if end - start >= max(3 * period, period + 12):
                looped |= set(range(start + period, end))
                longest = max(longest, end - start)
    return looped, longest


@given(LOOPING)
def test_loops_are_those_found_by_trying_everything(said):
    found = loops(said)
    looped = {word for start, end, period in found for word in range(start + period, end)}
    assert (looped, max((end - start for start, end, _ in found), default=0)) == plain_loops(said)


def test_a_loop_needs_three_copies_and_twelve_words():
    assert loops(["wait", "no"] * 6) == []
    assert loops(["wait", "no"] * 7) == [(0, 14, 2)]
    long = [f"w{number}" for number in range(200)]
    assert loops(long * 2) == []
    assert loops(["so", *long * 3, "end"]) == [(1, 601, 200)]
    assert loops([f"w{number}" for number in range(257)] * 4) == []


def test_a_megabyte_takes_no_more_than_moments():
    text = "Let us see whether the naïve sum – so far – is right. " * 20_000
    before = time.perf_counter()
    assert len(words(text)) == 220_000
    assert time.perf_counter() - before < 5
