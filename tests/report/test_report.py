"""The report: what the page says, what it leaves out and says so, and that no text in it is acted on."""

from __future__ import annotations

import itertools
import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cotdrift.findings import Findings
from cotdrift.page.carried import MOST_TEXT, chosen_terms, columns, script_json, visible, whole_traces
from cotdrift.report import page, write_report
from cotdrift.sentences import change_in_words, number, what_changed
from cotdrift.trace import Trace

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)> ]]> javascript:alert(1) \u202egnp \x00 {{ 7 * 7 }} \ud800"


class Elements(HTMLParser):
    """Every element of a page with its attributes, and the text of the one that carries the data."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.carried = ""
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self._inside = tag == "script" and dict(attrs).get("id") == "carried"

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.carried += data

    def handle_endtag(self, tag: str) -> None:
        self._inside = False


@pytest.fixture(scope="module")
def written(findings: Findings, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = write_report(findings, tmp_path_factory.mktemp("report") / "report.html")
    return path.read_text(encoding="utf-8")


def read(text: str) -> Elements:
    elements = Elements()
    elements.feed(text)
    return elements


def test_the_page_opens_with_what_changed(written: str) -> None:
    main = written[written.index("<main>") :]
    assert main.index("What changed") < main.index("Vocabulary") < main.index("Surface") < main.index("Environments")
    assert main.index("Environments") < main.index("Passages") < main.index("Methods") < main.index("Exclusions") < main.index("Versions")


def test_a_change_is_a_sentence_with_its_onset_and_interval(findings: Findings) -> None:
    assert re.fullmatch(
        r"From step 200 \[100, 300\] on, reasoning is shorter: by 6\d% \[5\d, 6\d\] at step 1200 against step 0, on 77 shared prompts\.",
        findings.sentences[0],
    )
    assert "of 5 environments that change is largest in coding" in findings.sentences[1].lower()
    assert any("is said" in sentence and "times as often" in sentence for sentence in findings.sentences)


def test_a_null_result_says_what_could_have_been_found(findings: Findings) -> None:
    still = [trend for trend in findings.trends if trend.measure in ("compression", "moving_average_ttr")]
    (said,) = what_changed(still, environments={}, terms={}, term_trends=[])
    assert said.sentence.startswith("Of 2 surface measures and outcomes, none changed clearly")
    assert "the data allow a change of" in said.sentence


def test_one_checkpoint_gives_a_page_that_says_so(make_findings: Any) -> None:
    bare = make_findings(trends=[], environments={}, terms={}, term_trends=[], passages=[], traces=[], exclusions=[])
    assert "no two checkpoints to compare" in page(bare)


def test_a_term_refuted_by_the_other_half_is_not_named(findings: Findings) -> None:
    rows = [row | {"confirmed": False} for row in findings.terms["start"]]
    told = what_changed([], environments={}, terms={"start": rows}, term_trends=[])
    assert not any("is said" in change.sentence for change in told)


def test_every_excluded_trace_is_counted(findings: Findings, written: str) -> None:
    for left in findings.exclusions:
        assert left.reason in written
    assert "3 records could not be read" in written
    assert "200: 12" in written


def test_headings_go_down_one_level_at_a_time(written: str) -> None:
    levels = [int(tag[1]) for tag, _ in read(written).found if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_every_drawing_has_a_name_and_every_field_a_label(written: str) -> None:
    found = read(written).found
    ids = {attributes["id"] for _, attributes in found if "id" in attributes}
    drawings = [attributes for _, attributes in found if "data-figure" in attributes]
    assert len(drawings) > 20
    assert all(attributes["role"] == "img" and attributes["aria-labelledby"] in ids for attributes in drawings)
    assert len(ids) == sum("id" in attributes for _, attributes in found)


def test_nothing_is_fetched_and_only_our_own_scripts_run(written: str) -> None:
    found = read(written).found
    assert not [attributes for tag, attributes in found if tag in ("link", "img", "iframe") or "src" in attributes or "style" in attributes]
    (policy,) = [attributes["content"] for _, attributes in found if attributes.get("http-equiv") == "Content-Security-Policy"]
    assert policy is not None
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_hostile_text_makes_no_element_and_no_attribute(make_findings: Any, written: str) -> None:
    trace = Trace(run=HOSTILE, step=0, environment=HOSTILE, prompt_id=HOSTILE, rep=0, prompt=HOSTILE, reasoning=HOSTILE, answer=HOSTILE)
    calm = make_findings()
    hostile = make_findings(
        title=HOSTILE,
        traces=[trace],
        warnings=[HOSTILE],
        methods=[HOSTILE],
        versions={HOSTILE: HOSTILE},
        terms={against: [row | {"term": HOSTILE + row["term"]} for row in rows] for against, rows in calm.terms.items()},
    )
    text = page(hostile).encode("utf-8", "backslashreplace").decode()
    elements = read(text)
    assert {tag for tag, _ in elements.found} <= {tag for tag, _ in read(written).found}
    assert not [name for _, attributes in elements.found for name in attributes if name.startswith("on")]
    assert text.count("<script") == written.count("<script") == 3
    assert "\u202e" not in text
    assert "\x00" not in text
    assert json.loads(elements.carried)["traces"]


@given(
    st.recursive(
        st.text() | st.floats(allow_nan=False, allow_infinity=False) | st.none(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_json_in_a_script_comes_back_as_it_was_and_cannot_end_it(data: Any) -> None:
    text = str(script_json(data))
    assert json.loads(text) == data
    assert not re.search("[<>&\u2028\u2029]", text)


@given(st.text())
def test_what_is_made_visible_hides_nothing_and_stays(text: str) -> None:
    shown = visible(text)
    assert visible(shown) == shown
    assert not re.search("[\x00-\x08\u202a-\u202e\u2066-\u2069]", shown)


@settings(max_examples=30)
@given(st.lists(st.integers(0, 3_000_000), max_size=8))
def test_long_traces_are_cut_alike_and_every_character_is_accounted_for(lengths: list[int]) -> None:
    traces = [Trace.example("x" * length, rep=place) for place, length in enumerate(lengths)]  # type: ignore[arg-type]
    carried = whole_traces(traces, {})
    assert sum(len(trace["reasoning"]) for trace in carried.values()) <= MOST_TEXT
    for trace in traces:
        told = carried[trace.transcript_id]
        assert told["before"] + len(told["reasoning"]) + told["after"] == len(trace.reasoning)


def test_a_cut_trace_keeps_the_passage_in_sight() -> None:
    trace = Trace.example("a " * 1_000_000 + "overshadow" + " b" * 1_000_000)
    (told,) = whole_traces([trace], {trace.transcript_id: "overshadow"}).values()
    assert "overshadow" in told["reasoning"]
    assert told["before"] > 0 < told["after"]


def test_what_is_watched_or_significant_is_kept_when_rows_are_left_out(make_findings: Any) -> None:
    many = make_findings(n_words=3_000, trends=[], environments={}).terms
    rows, left_out = chosen_terms(many)
    every = [row for listed in many.values() for row in listed]
    assert len(rows) + left_out == len(every)
    assert left_out > 0
    assert sum(row["family"] == "watch" for row in rows) == sum(row["family"] == "watch" for row in every)


def test_a_table_says_its_names_once() -> None:
    assert columns([{"a": float("nan"), "b": 2.0}, {"a": 1 / 3, "b": [1, "x"]}]) == {
        "names": ["a", "b"],
        "rows": [[None, 2], [0.33333, "1; x"]],
    }
    assert columns([]) == {"names": [], "rows": []}


def test_a_page_is_replaced_only_when_the_new_one_is_whole(findings: Findings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.html"
    path.write_text("the old page")
    monkeypatch.setattr(sys.modules[write_report.__module__], "page", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_report(findings, path)
    assert path.read_text() == "the old page"
    assert list(tmp_path.iterdir()) == [path]


def test_numbers_are_told_to_two_digits_and_large_ones_whole(findings: Findings) -> None:
    assert [number(value) for value in (0.0, 0.0456, 7.25, -31.4, 12345.6)] == ["0", "0.046", "7.2", "−31", "12,346"]
    assert re.fullmatch(r"6\d% \[5\d, 6\d\]", change_in_words(findings.trends[0]))


def test_a_large_study_gives_a_page_under_five_megabytes(make_findings: Any) -> None:
    large = make_findings(n_words=3_000, n_traces=400)
    assert len(page(large).encode()) < 5_000_000
