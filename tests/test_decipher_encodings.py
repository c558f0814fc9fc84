"""Encodings change what they say, as far as they say, and whoever knows the tongue reads them."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cotdrift.decipher.encodings import ENCODINGS, ODD, TURNS, WORD, Codebook, codebook, decode, encoding_called
from cotdrift.decipher.items import PLANTED, book_of
from cotdrift.decipher.planted import ACTIONS, FACTS, KINDS, planted
from cotdrift.errors import InputError, UnknownName
from cotdrift.measures.function_words import FUNCTION_WORDS

BOOK = book_of([], seed=0)[PLANTED]
ANY = st.text(alphabet=st.characters(codec="utf-8"), max_size=300)
PROSE = st.lists(
    st.sampled_from("the price of it Alder decides, and we wait. 17 noise; weight! so I'd check (maybe) x_y".split()), max_size=40
).map(" ".join)
DOSES = st.floats(0, 1)
every = pytest.mark.parametrize("encoding", ENCODINGS.values(), ids=ENCODINGS)


@every
@given(text=ANY | PROSE, seed=st.text(max_size=5))
@settings(max_examples=60, deadline=None)
def test_no_dose_changes_nothing(encoding, text: str, seed: str) -> None:
    made = encoding.encode(text, 0.0, BOOK, seed=seed)
    assert (made.text, made.changed, made.meanings) == (text, 0, {})


@every
@given(text=ANY | PROSE, dose=DOSES)
@settings(max_examples=60, deadline=None)
def test_a_dose_is_the_share_that_is_changed(encoding, text: str, dose: float) -> None:
    made = encoding.encode(text, dose, BOOK)
    assert 0 <= made.changed <= made.changeable
    assert abs(made.changed - dose * made.changeable) <= 0.5 * len(encoding.find) + 1e-9
    assert made == encoding.encode(text, dose, BOOK), "the same each time"


@every
def test_a_dose_means_as_much_in_every_passage(encoding) -> None:
    for place in range(20):
        text = planted(str(place)).text
        assert encoding.encode(text, 1.0, BOOK, seed=str(place)).text != text
        changed = [encoding.encode(text, dose, BOOK, seed=str(place)).changed for dose in (0.2, 0.4, 0.6, 0.8, 1.0)]
        assert changed == sorted(changed)
        assert changed[-1] == encoding.encode(text, 1.0, BOOK, seed=str(place)).changeable


@pytest.mark.parametrize("name", ["glossary", "swapped", "abbreviated"])
@given(place=st.integers(0, 500), dose=DOSES)
@settings(max_examples=60, deadline=None)
def test_who_knows_what_words_stand_for_reads_the_source(name: str, place: int, dose: float) -> None:
    text = planted(str(place)).text
    made = ENCODINGS[name].encode(text, dose, BOOK, seed=str(place))
    assert decode(made.text, made.meanings) == text


@given(dose=DOSES, higher=DOSES, place=st.integers(0, 100))
@settings(max_examples=40, deadline=None)
def test_what_is_changed_at_a_dose_is_changed_at_every_higher_one(dose: float, higher: float, place: int) -> None:
    text = planted(str(place)).text
    low, high = sorted((dose, higher))
    for name in ("glossary", "swapped", "abbreviated"):
        some, more = (ENCODINGS[name].encode(text, at, BOOK, seed="s").meanings for at in (low, high))
        assert some.items() <= more.items()
    for name in ("telegraphic", "loops", "scripts"):
        left, fewer = (ENCODINGS[name].encode(text, at, BOOK, seed="s") for at in (low, high))
        assert left.changed <= fewer.changed
        if name != "loops":
            assert set(WORD.findall(fewer.text)) <= set(WORD.findall(left.text))


@given(st.lists(st.text(alphabet="abcdefgh ", max_size=80), min_size=1, max_size=8), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_a_tongue_has_one_word_for_each_and_none_of_the_texts(texts: list[str], seed: int) -> None:
    book = codebook(texts, seed=seed)
    said = {word for text in texts for word in text.split()}
    for meanings in (book.odd, book.swapped, book.short):
        assert len(set(meanings.values())) == len(meanings)
    assert not said & {*book.odd.values(), *book.short.values()}
    assert all(book.swapped[other] == word != other for word, other in book.swapped.items())
    assert not FUNCTION_WORDS & {*book.odd, *book.swapped, *book.short}


def test_the_tongue_has_a_word_for_every_planted_one_that_matters() -> None:
    words = {word for kind in KINDS for word in kind}
    assert words <= BOOK.odd.keys()
    assert BOOK.swapped.keys() == words
    assert len(set(ODD)) == len(ODD)
    for kind in KINDS:
        assert {BOOK.swapped[word] for word in kind} == set(kind), "what is swapped is still among the answers offered"


@given(place=st.integers(0, 300), dose=DOSES)
@settings(max_examples=40, deadline=None)
def test_encodings_that_stand_for_nothing_keep_every_content_word_in_order(place: int, dose: float) -> None:
    text = planted(str(place)).text
    left = ENCODINGS["telegraphic"].encode(text, dose, BOOK, seed="s").text
    contents = [[word for word in re.findall(r"\w+", told.lower()) if word not in FUNCTION_WORDS] for told in (text, left)]
    assert contents[0] == contents[1]
    round_and_round = ENCODINGS["loops"].encode(text, dose, BOOK, seed="s").text
    for sentence in re.findall(r"[^.]*\.", text):
        tail = " ".join(sentence.split()[-4:])
        round_and_round = round_and_round.replace(f" {tail}" * TURNS, "", 1) if f"{tail} {tail}" in round_and_round else round_and_round
    assert round_and_round == text


@every
@given(place=st.integers(0, 300), dose=DOSES)
@settings(max_examples=20, deadline=None)
def test_names_and_numbers_stay(encoding, place: int, dose: float) -> None:
    text = planted(str(place)).text
    made = encoding.encode(text, dose, BOOK, seed="s").text
    for name in re.findall(r"\b\d+\b|(?<=[a-z] )[A-Z][a-z]+\b", text):
        assert name in made or name.lower() in FUNCTION_WORDS


@given(st.integers(0, 10_000))
@settings(max_examples=100, deadline=None)
def test_how_often_a_fact_is_named_does_not_tell_which_decides(place: int) -> None:
    passage = planted(str(place))
    assert set(passage.facts) in map(set, FACTS)
    assert set(passage.actions) in map(set, ACTIONS)
    words = WORD.findall(passage.text)
    assert {words.count(fact) for fact in passage.facts} == {2}
    assert {words.count(action) for action in passage.actions} == {2}


def test_where_it_stands_does_not_tell_which_decides() -> None:
    places = [planted(str(place)).facts.index(planted(str(place)).decided) for place in range(800)]
    assert all(160 < places.count(place) < 240 for place in range(4))


def test_an_encoding_and_a_dose_that_there_are_not() -> None:
    with pytest.raises(UnknownName, match=r"glosary.*'glossary'"):
        encoding_called("glosary")
    with pytest.raises(InputError, match="from 0 to 1"):
        ENCODINGS["glossary"].encode("text", 1.5, Codebook(odd={}, swapped={}, short={}))
