"""What every measure and format on a shelf owes its users, tested once for all of them."""

import doctest
import inspect
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cotdrift.format import Format
from cotdrift.measure import Found, FoundInBatch, Measure, Measured
from cotdrift.shelf import collect
from cotdrift.tokens import Batch
from cotdrift.trace import Trace

MEASURES = collect("measures", Measure)
FORMATS = collect("formats", Format)

every_measure = pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)
every_format = pytest.mark.parametrize("kind", FORMATS.values(), ids=FORMATS)

PIECES = st.sampled_from(
    [
        "wait, ",
        "maybe ",
        "the ",
        "answer is four. ",
        "Therefore ",
        "itisso ",
        "x = 2\n",
        "那么",
        "`f(x)`",
        "$n$",
        "\n\n",
        "disclaim ",
        "ß",
        "İ",
        "I’m ",
        "42 ",
        "é",
        "\x00",
        "🙂",
    ]
)
LOOP = st.builds(lambda pieces, times: "".join(pieces) * times, st.lists(PIECES, max_size=8), st.integers(1, 30))
TEXT = st.one_of(st.text(), LOOP, st.builds(lambda a, b, c: a + b + c, st.text(), LOOP, LOOP))


def number(measured: Measured) -> float | None:
    return measured.value if isinstance(measured, Found) else measured


def test_the_shelves_are_not_empty() -> None:
    assert "reasoning_words" in MEASURES
    assert "inspect_log" in FORMATS


@every_measure
def test_a_measure_says_what_it_is_in_a_sentence_with_its_unit(measure: Measure) -> None:
    assert measure.summary[:1].isupper()
    assert measure.summary.endswith("."), measure.summary
    assert measure.unit
    assert measure.version >= 1


@every_measure
def test_the_worked_example_of_a_measure_holds(measure: Measure) -> None:
    names = vars(inspect.getmodule(measure.of_trace))
    found = doctest.DocTestParser().get_doctest(inspect.getdoc(measure.of_trace) or "", dict(names), measure.name, None, None)
    assert found.examples, f"{measure.name} has no example"
    wrong: list[str] = []
    doctest.DocTestRunner(verbose=False).run(found, out=wrong.append)
    assert not wrong, "".join(wrong)


@every_measure
@given(text=TEXT)
def test_any_text_gives_a_finite_number_or_none_and_the_same_twice(measure: Measure, text: str) -> None:
    trace = Trace.example(text)
    found = measure(trace)
    value = number(found)
    assert value is None or math.isfinite(value)
    assert measure(trace) == found
    if isinstance(found, Found):
        assert 0 <= found.start <= found.end <= len(text)


@every_measure
def test_no_reasoning_is_no_number(measure: Measure) -> None:
    assert measure(Trace.example("")) is None


@every_measure
@given(texts=st.lists(TEXT, max_size=6))
def test_the_fast_way_gives_the_same_numbers(measure: Measure, texts: list[str]) -> None:
    if measure.of_batch is None:
        return
    fast = measure.of_batch(Batch(texts))
    slow = [measure(Trace.example(text)) for text in texts]
    values = fast.values if isinstance(fast, FoundInBatch) else fast
    assert values.shape == (len(texts),)
    np.testing.assert_allclose(values, np.array([number(found) for found in slow], dtype=np.float64), rtol=1e-12)
    if isinstance(fast, FoundInBatch):
        places = [(found.start, found.end) if isinstance(found, Found) else (-1, -1) for found in slow]
        assert list(zip(fast.starts.tolist(), fast.ends.tolist(), strict=True)) == places


@every_format
def test_a_format_says_what_it_looks_for(kind: Format) -> None:
    assert kind.looks_for
    assert not kind.looks_for.endswith("."), "it is a part of a sentence"
