"""Edits of reasoning: what is replaced, what is left as it was, and where a reasoning is cut."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cotdrift.errors import InputError
from cotdrift.experiments.edits import (
    NEUTRAL,
    by_glossary,
    by_random_words,
    deleted,
    elsewhere,
    filler,
    glossary_of,
    places_of,
    random_sentence,
)
from cotdrift.experiments.intervention_arms import ALONE, CURVES, PRESETS, arm_called, arms_of, declared_of, shares_of
from cotdrift.experiments.intervention_design import cuts
from cotdrift.experiments.sought import Sought, Stands
from cotdrift.measures.rarity import zipf
from cotdrift.term import Term, count_terms
from cotdrift.text import sentences, spans, words
from cotdrift.trace import Trace

WORDS = ("grader", "the", "pays", "vantage", "odd", "it", "Grader", "reward", "it's", "7", "—", "sure.", "So", "ones,", "\n")
TEXTS = st.lists(st.sampled_from(WORDS), max_size=30).map(" ".join)
TERMS = st.lists(st.sampled_from(["grader", "vantage", "the grader", "pays", "reward"]), unique=True, max_size=4).map(
    lambda names: [Term.parse(name) for name in names]
)


@given(TEXTS, TERMS)
def test_places_are_uses_of_the_terms_and_do_not_overlap(text: str, terms: list[Term]) -> None:
    places = places_of(text, terms)
    assert all(terms[which].is_said(text[start:end]) for start, end, which in places)
    assert all(one[1] <= other[0] for one, other in pairwise(places))
    if len(terms) == 1:
        assert len(places) == count_terms([text], terms)[0, 0]


@given(TEXTS, TERMS)
def test_a_term_that_means_itself_changes_nothing_but_case(text: str, terms: list[Term]) -> None:
    assert by_glossary(text, {term: term.text for term in terms}).casefold() == text.casefold()


@given(TEXTS, TERMS, st.text(max_size=3))
def test_random_words_stand_for_the_terms_alone_and_are_as_frequent(text: str, terms: list[Term], seed: str) -> None:
    made = by_random_words(text, terms, seed=seed)
    assert by_random_words(text, terms, seed=seed) == made
    before, after = words(text), words(made)
    assert len(before) == len(after)
    replaced = {
        place for start, end, _ in places_of(text, terms) for place, (_, at, last) in enumerate(spans(text)) if start <= at and last <= end
    }
    for place, (was, now) in enumerate(zip(before, after, strict=True)):
        if place in replaced:
            assert now != was and (abs(zipf(now) - zipf(was)) < 0.35 or zipf(was) > 6)
        else:
            assert now == was


@given(TEXTS, TERMS, st.text(max_size=3))
def test_other_words_are_as_many_and_leave_the_terms(text: str, terms: list[Term], seed: str) -> None:
    made = elsewhere(text, terms, seed=seed)
    assert count_terms([made], terms).sum() >= count_terms([text], terms).sum()
    changed = sum(was != now for was, now in zip(words(text), words(made), strict=True))
    assert changed <= len(places_of(text, terms))


@given(TEXTS, TERMS)
def test_what_is_deleted_is_gone_and_nothing_else_is(text: str, terms: list[Term]) -> None:
    made = deleted(text, terms)
    gone = {
        place for start, end, _ in places_of(text, terms) for place, (_, at, last) in enumerate(spans(text)) if start <= at and last <= end
    }
    assert words(made) == tuple(word for place, word in enumerate(words(text)) if place not in gone)
    if not gone:
        assert made == text


@given(TEXTS, st.floats(0, 1))
def test_filler_is_as_long_as_what_it_stands_for(text: str, share: float) -> None:
    assert filler(text, share).split() == ["..."] * round(share * len(spans(text)))


def test_a_random_sentence_is_about_as_long_as_the_one_it_is_held_against() -> None:
    short = {random_sentence("It pays four.", seed=str(seed)) for seed in range(60)}
    long = {random_sentence(NEUTRAL[-1], seed=str(seed)) for seed in range(60)}
    assert len(short) == len(long) == 6
    assert max(len(words(one)) for one in short) <= min(len(words(one)) for one in long)


@pytest.mark.parametrize("told", ["grader", "grader = asker; pays", " ", "[1, 2]"])
def test_a_glossary_without_meanings_is_refused(told: str) -> None:
    with pytest.raises(InputError, match="glossary="):
        glossary_of(told)


def test_a_glossary_may_be_a_file(tmp_path: Any) -> None:
    lines, told = tmp_path / "terms.txt", tmp_path / "terms.json"
    lines.write_text("vantage = advantage\nthe grader = whoever marks it\n")
    told.write_text('{"vantage": "advantage", "the grader": "whoever marks it"}')
    assert (
        glossary_of(str(lines))
        == glossary_of(str(told))
        == {Term.parse("vantage"): "advantage", Term.parse("the grader"): "whoever marks it"}
    )


@given(TEXTS)
def test_cuts_lie_between_sentences_around_the_passage(text: str) -> None:
    stands = Sought.of("(?i)grader").seen(Trace.example(text))
    before, after, found = cuts(text, stands)
    assert 0 <= before <= after <= len(text) and found == stands
    if stands:
        assert before <= stands.start < stands.end <= after
        assert Sought.of("(?i)grader").seen(Trace.example(text[:before])) is None
        assert not any(start < before < end for start, end in sentences(text))


@given(TEXTS, st.integers(0, 60))
def test_a_pattern_terms_and_a_measure_are_found_from_a_place_on(text: str, start: int) -> None:
    pattern, terms = Sought.of("vantage|grader"), Sought(name="t", terms=(Term.parse("vantage"), Term.parse("grader")))
    found, used = pattern.seen(Trace.example(text), start), terms.seen(Trace.example(text), start)
    assert found is None or (found.start >= start and text[found.start : found.end] in ("vantage", "grader"))
    assert (used is None) or (used.start >= start and text[used.start : used.end].lower() in ("vantage", "grader"))
    measured = Sought.of("unknown_word_share>=0.5").seen(Trace.example(text), start)
    assert measured is None or measured.end > start


def test_a_measure_is_asked_of_each_sentence() -> None:
    text = "It is four. Vantix orbulate sprongle. It is five."
    assert Sought.of("unknown_word_share>=0.5").seen(Trace.example(text)) == Stands(12, 37)


def test_every_arm_of_every_preset_is_known_by_its_name_and_held_against_one_that_is_tried() -> None:
    for told in (*PRESETS, *CURVES, *ALONE):
        made = arms_of(told)
        assert [arm_called(arm.name) for arm in made] == made
        names = {arm.name for arm in made}
        for arm in made:
            assert not arm.against or names & set(arm.against), arm.name
        kept = declared_of(names, ["behaves"])
        assert set(kept.arms) == names and all({arm, base} <= names for arm, base in kept.contrasts)


@pytest.mark.parametrize("told", ["", "a", "0,2", "-1", "0.501,0.502"])
def test_shares_are_whole_per_cents(told: str) -> None:
    with pytest.raises(InputError, match="shares="):
        shares_of(told)


def test_a_glossary_may_be_longer_than_the_name_of_a_file() -> None:
    told = "; ".join(f"{word} = meaning of {word}" for word in ("vantage", "overshadow", "disclaim", "marinade", "illusion") * 3)
    assert len(told) > 255 and len(glossary_of(told)) == 5


def test_a_glossary_that_is_no_text_is_named(tmp_path: Any) -> None:
    (tmp_path / "terms").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read"):
        glossary_of(str(tmp_path / "terms"))
