"""What is shown of a trace: each use of a term once, marked, with the words around it; and the record of thoughts and deeds."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter

from hypothesis import assume, example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from cotdrift.asking import asked_of
from cotdrift.grader import Answer, Grader
from cotdrift.graders import grader
from cotdrift.judgment import locate
from cotdrift.seen import MARKS, UNMARKED, USES, places, shown
from cotdrift.term import Term, count_terms
from cotdrift.text import spans
from cotdrift.trace import Message, ToolCall, Trace

ANSWERS = (Answer(label="yes", value=1), Answer(label="no", value=0))
WORDS = [
    "reward",
    "Reward",
    "rewards",
    "reward's",
    "watchers",
    "WATCHERS",
    "the",
    "报酬",
    "наблюдатели",
    "İstanbul",
    "e\u0301te\u0301",
    "⟦",
    "⟧",
    "42",
]
GAPS = [" ", "\n", ", ", "—", " ⟦", "⟧ ", ".", "\u00a0", "\u200b", "💥"]
WRITTEN = st.one_of(
    st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(GAPS)), max_size=60).map(lambda parts: "".join(map("".join, parts))),
    st.text(max_size=80),
)
TERMS = st.lists(
    st.sampled_from(["reward", "Reward", "watchers", "the reward", "reward reward", "报酬", "наблюдатели", "İstanbul", "é"]),
    min_size=1,
    max_size=4,
    unique=True,
)


def of_uses(*terms: str, around: int = 3) -> Grader:
    return Grader(name="refers", question="?", prompt="{reasoning}", answers=ANSWERS, around=around, terms=terms)


@given(text=WRITTEN, terms=TERMS)
@example(text="reward " * 30, terms=["reward", "reward reward"])
def test_every_use_of_a_term_is_shown_once_and_of_many_a_few_stand_for_all(text: str, terms: list[str]) -> None:
    trace = replace(Trace.example(text), reasoning_kind="raw")
    found = places(of_uses(*terms), trace)
    assert len({(place.start, place.end) for place in found}) == len(found)
    assert found == sorted(found)
    counts = count_terms([text], [Term.parse(term) for term in terms])[0]
    for term, count in zip(terms, counts, strict=True):
        of_term = places(of_uses(term), trace)
        assert len(of_term) == min(count, USES)
        assert abs(sum(place.stands_for for place in of_term) - count) < 1e-9
        assert all(Term.parse(term).is_said(text[place.start : place.end]) for place in of_term)
        assert {place[:2] for place in of_term} <= {place[:2] for place in found}, "another term beside it changes nothing"


@given(text=WRITTEN, terms=TERMS, around=st.integers(1, 8))
def test_a_use_is_marked_among_the_words_around_it_and_everything_keeps_its_place(text: str, terms: list[str], around: int) -> None:
    asked, trace = of_uses(*terms, around=around), Trace.example(text)
    starts = [start for _, start, _ in spans(text)]
    for start, end, _ in places(asked, trace):
        [(passage, first)] = shown(asked, trace, start, end).values()
        assert Counter(passage)[MARKS[0]] == Counter(passage)[MARKS[1]] == 1
        before, _, rest = passage.partition(MARKS[0])
        use, _, after = rest.partition(MARKS[1])
        here = text.translate(UNMARKED)
        assert (before, use, after) == (here[first:start], here[start:end], here[end : first + len(passage) - 2])
        assert len(spans(text[first:start])) == min(around, bisect_left(starts, start))
        assert len(spans(text[end : end + len(after)])) == min(around, len(starts) - bisect_left(starts, end))


@given(text=WRITTEN, data=st.data())
def test_a_quote_from_around_a_use_is_found_in_the_trace(text: str, data: st.DataObject) -> None:
    text = f"{text} the reward {text}"
    asked, trace = of_uses("reward", around=4), Trace.example(text)
    start, end, _ = data.draw(st.sampled_from(places(asked, trace)))
    _, parts = asked_of(asked, trace, start, end)
    passage, _ = parts["reasoning"]
    quote = passage[data.draw(st.integers(0, len(passage) - 1)) :][: data.draw(st.integers(1, 30))]
    assume(quote.strip())
    found = locate(quote, parts)
    assert found.start is not None and found.end is not None
    assert text[found.start : found.end].translate(UNMARKED) == quote


def test_a_trace_without_a_use_has_nothing_to_ask_about() -> None:
    assert places(of_uses("watchers"), Trace.example("Nobody is watching.")) == []


def test_the_shelf_asks_about_the_use_that_it_marks() -> None:
    trace = Trace.example("A ⟦fake⟧ mark. " + "So they say. " * 40 + "The watchers see it.", prompt="Guard the room.")
    [place] = places(grader("referent"), trace)
    told, _ = asked_of(grader("referent"), trace, place.start, place.end)
    passage = told[told.index("\n<reasoning-") :]
    assert "The ⟦watchers⟧ see it." in passage
    assert passage.count("⟦") == 2  # there, and where the quotes are asked for
    assert "fake" not in passage


# --- the record

TURNS = (
    Message(role="system", content="Be brief."),
    Message(role="user", content="Mend it."),
    Message(
        role="assistant", reasoning="I look.", content="Looking.", tool_calls=(ToolCall(id="1", function="cat", arguments={"of": "a.py"}),)
    ),
    Message(role="tool", content="def four(): return 5", tool_call_id="1"),
    Message(role="assistant", reasoning="Wrong.", content="Mended."),
)


def test_the_record_tells_in_order_what_was_thought_said_and_done_once_the_model_was_asked() -> None:
    trace = Trace.example("I look.\n\nWrong.", answer="Looking.\n\nMended.", turns=TURNS)
    assert trace.record.split("\n\n") == [
        "[thinks] I look.",
        "[says] Looking.",
        '[calls cat] {"of": "a.py"}',
        "[result] def four(): return 5",
        "[thinks] Wrong.",
        "[says] Mended.",
    ]
    assert Trace.example("Two and two.", answer="4", prompt="Add.").record == "[thinks] Two and two.\n\n[says] 4"


def test_who_sees_the_record_is_not_shown_in_the_scenario_what_came_after_it() -> None:
    trace = Trace.example("I look.\n\nWrong.", answer="Looking.\n\nMended.", turns=TURNS)
    [(start, end, _)] = places(grader("review"), trace)
    seen = shown(grader("review"), trace, start, end)
    assert seen["scenario"][0] == "[system] Be brief.\n\n[user] Mend it."
    assert seen["record"] == (trace.record, 0)


@given(thoughts=st.lists(st.text(max_size=40), min_size=1, max_size=4), words=st.integers(20, 30))
def test_windows_of_a_record_are_all_of_it(thoughts: list[str], words: int) -> None:
    turns = tuple(Message(role="assistant", reasoning=thought, content=thought * 5) for thought in thoughts)
    trace = Trace.example("\n\n".join(thoughts) or "x", turns=turns)
    asked = Grader(name="reviews", question="?", prompt="{record}", answers=ANSWERS, window=words)
    cut = [shown(asked, trace, start, end)["record"] for start, end, _ in places(asked, trace)]
    assert "".join(text for text, _ in cut) == trace.record
    assert all(trace.record[first : first + len(text)] == text for text, first in cut)
