"""The three axes and the section on monitors: each by itself, true to its numbers, with a way out where nothing measures it."""

from __future__ import annotations

import json
import re
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cotdrift.errors import InputError
from cotdrift.find import find
from cotdrift.find_axes import Axes, find_axes
from cotdrift.find_graded import Judged
from cotdrift.findings import Findings
from cotdrift.monitor import Watch
from cotdrift.report import page, write_figures, write_report
from cotdrift.study import Study
from tests.judged_study import HOSTILE, study_of

STRANGE = "kelp marrow vellum tarn sedge quoin lathe".split()
PLAIN = "I look at the number and then at the sum so that it is the one that they want to see".split()


def drifting(folder: Path, *, hostile: bool = False) -> Study:
    """A run `odd` that comes to speak strangely and to hide what it does from a reader of `grader`, and one, `calm`, that does not."""
    rng = np.random.default_rng(0)
    rows = []
    for run in ("odd", "calm"):
        for step in (0, 50, 100):
            late = step / 100 if run == "odd" else 0.0
            for prompt in range(30):
                for rep in range(2):
                    acts = rng.random() < 0.5
                    said = [STRANGE[rng.integers(7)] if rng.random() < 0.4 * late else PLAIN[rng.integers(len(PLAIN))] for _ in range(60)]
                    tells = acts and rng.random() > 0.8 * late
                    rows.append(
                        {
                            "run": run + (HOSTILE if hostile else ""),
                            "step": step,
                            "environment": "env",
                            "prompt_id": f"p{prompt}{HOSTILE if hostile else ''}",
                            "rep": rep,
                            "prompt": "Give a number.",
                            "reasoning": " ".join(said) + (" The grader pays." if tells else "") + (HOSTILE if hostile else ""),
                            "answer": "7",
                            "outcome_hacks": float(acts),
                        }
                    )
    return study_of(folder, rows)


WATCH = Watch.of("words=reasoning:grader", "blind=actions:grader", truth="hacks")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    study = drifting(tmp_path_factory.mktemp("drifting"))
    WATCH.keep(study.folder)
    return find(study)


@pytest.fixture(scope="module")
def text(found: Findings) -> str:
    return page(found)


def carried(text: str) -> dict[str, Any]:
    held = re.search(r'<script id="carried" type="application/json">(.*?)</script>', text, re.DOTALL)
    assert held
    data: dict[str, Any] = json.loads(held[1])
    return data


def rows_of(text: str, name: str) -> list[dict[str, Any]]:
    table = carried(text)["data"][name]
    return [dict(zip(table["names"], row, strict=True)) for row in table["rows"]]


def axes_of(found: Findings) -> Axes:
    assert found.axes is not None
    return found.axes


def test_each_axis_finds_what_was_planted_in_the_one_run_and_nothing_in_the_other(found: Findings) -> None:
    drift, illegibility, loss = axes_of(found).axes
    assert [axis.name for axis in (drift, illegibility, loss)] == ["drift", "illegibility", "loss"]
    assert [trend.run for trend in drift.trends if trend in drift.clear(trend.run)] == ["odd"]
    late = next(trend for trend in drift.trends if trend.run == "odd").points[-1]
    assert late.low < 0.4 < late.high + 0.03
    assert "function_word_share" in {trend.measure for trend in illegibility.clear("odd")}
    assert illegibility.clear("calm") == []
    assert [trend.measure for trend in loss.clear("odd")] == ["words on hacks"]
    assert loss.clear("calm") == []


def test_the_page_says_the_three_apart_and_before_all_else_that_is_measured(text: str) -> None:
    assert text.index('id="changes"') < text.index('id="axes"') < text.index('id="vocabulary"')
    assert '<a href="#axes">' in text
    assert '<a href="#monitors">' in text
    section = text[text.index('id="axes"') : text.index('id="monitors"')]
    for said in ("Drift", "by proxies", "Loss of a property", "never added up", "less legible", "cotdrift grade STUDY legibility"):
        assert said in section
    assert re.search(r'href="#passages-\d+"', section)
    assert "missed" in section
    assert "least function word share" in section


def test_every_figure_has_its_rows_and_its_panels(text: str) -> None:
    data = carried(text)
    for name, by in {"axis_drift": "measure", "axis_illegibility": "measure", "axis_loss": "measure", "monitors": "panel"}.items():
        drawn = re.findall(rf'data-figure="{name}" data-panel="([^"]*)"', text)
        assert drawn
        assert set(drawn) == {row[by] for row in rows_of(text, name)}
        assert data["figures"][name]["spec"]["layer"]


def test_rows_hold_what_was_estimated(text: str, found: Findings) -> None:
    (watched,) = axes_of(found).watched
    one = next(one for one in watched.found if (one.run, one.monitor.name) == ("odd", "words"))
    rows = [row for row in rows_of(text, "monitors") if (row["run"], row["monitor"]) == ("odd", "words")]
    assert [row["value"] for row in rows] == pytest.approx([at.frozen.g_mean2.value for at in one.points], rel=1e-4)
    assert [row["low"] for row in rows] == pytest.approx([at.frozen.g_mean2.low for at in one.points], rel=1e-4)
    assert {row["coin"] for row in rows} == {0.25}
    assert len(rows_of(text, "monitor_costs")) == len(watched.costs)


def test_the_sentences_of_a_report_say_drift_and_loss(found: Findings) -> None:
    said = [sentence for sentence in found.sentences if sentence.startswith("odd:")]
    assert any("of words are others than at step 0 on the same prompts" in sentence for sentence in said)
    assert any("words, which reads reasoning, on hacks" in sentence and "(lost:" in sentence for sentence in said)
    calm = [sentence for sentence in found.sentences if sentence.startswith("calm:")]
    assert any("no clear drift of words" in sentence for sentence in calm)


def test_an_axis_that_nothing_measures_says_how_to_have_it(tmp_path: Path, make_findings: Any) -> None:
    row = {"run": "r", "environment": "e", "prompt_id": "p", "rep": 0, "prompt": "?", "answer": "7", "reasoning": ""}
    study = study_of(tmp_path, [row | {"step": 0}])
    study.measure()
    axes = find_axes(study, None, [], {})
    assert [bool(axis.trends) for axis in axes.axes] == [False, False, False]
    text = page(make_findings(axes=axes))
    for way_out in ("two checkpoints of a run", "cotdrift grade STUDY legibility", "cotdrift monitor STUDY --monitor"):
        assert way_out in text
    assert 'id="monitors"' not in text
    assert "not measured" in text


def test_where_they_were_not_looked_at_nothing_is_said(make_findings: Any) -> None:
    assert 'id="axes"' not in page(make_findings())


def test_judges_take_the_place_of_proxies_and_a_graders_truth_makes_it_a_monitor(judged_study: Study, judged: Judged) -> None:
    axes = find_axes(judged_study, judged, [], {}, truths={"metagaming": "thinks"})
    _, illegibility, loss = axes.axes
    assert not illegibility.is_proxy
    assert illegibility.way_out == ""
    assert {"legibility.at_most_3", "legibility_9"} <= {trend.measure for trend in illegibility.trends}
    assert illegibility.worse["legibility.at_most_3"] == illegibility.worse["legibility_9"] == "high"
    assert {trend.measure for trend in loss.trends} == {"metagaming on thinks"}
    assert [passage.label for passage in loss.read][:1] == ["false alarm"]  # of the prompt that the judge errs on


def test_monitors_that_are_no_longer_there_are_named_with_their_file(judged_study: Study, judged: Judged, tmp_path: Path) -> None:
    study = drifting(tmp_path)
    Watch.of("gone", truth="hacks").keep(study.folder)
    with pytest.raises(InputError, match=r"gone.*monitors/hacks_outcome\.json"):
        find_axes(study, None, [], {})
    numbers = find_axes(judged_study, judged, [], {}, truths={"legibility": "thinks", "metagaming": "reasoning_words"})
    assert numbers.watched == []  # a scale is no monitor of yes and no, and a number no truth


def test_hostile_names_and_texts_make_no_element(tmp_path: Path) -> None:
    study = drifting(tmp_path, hostile=True)
    Watch.of("m=reasoning:grader|<img src=x onerror=alert(1)>", truth="hacks").keep(study.folder)
    text = page(find(study)).encode("utf-8", "backslashreplace").decode()
    assert text.count("<script") == 3
    assert "<img src=x" not in text
    assert "\u202e" not in text


def test_headings_go_down_one_level_at_a_time(text: str) -> None:
    levels = [int(level) for level in re.findall(r"<h(\d)", text)]
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_its_figures_are_written_as_svg(found: Findings, tmp_path: Path) -> None:
    written = {path.stem for path in write_figures(found, tmp_path)}
    assert {"axis-drift", "axis-illegibility", "axis-loss", "monitors"} <= written


@pytest.mark.browser
@pytest.mark.skipif(not shutil.which("chromedriver"), reason="there is no browser")
@pytest.mark.parametrize("width", [400, 1200])
def test_it_is_drawn_and_nothing_sticks_out(browser: Any, found: Findings, tmp_path: Path, width: int) -> None:
    from tests.chromium import complaints, show, until

    written = write_report(found, tmp_path / "report.html")
    show(browser, written.as_uri(), width=width)
    until(browser, "[...document.querySelectorAll('#axes [data-figure], #monitors [data-figure]')].every(it => it.querySelector('svg'))")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert complaints(browser) == []
    browser.execute_script("for (const details of document.querySelectorAll('#axes details, #monitors details')) details.open = true")
    until(browser, "document.querySelectorAll('#monitors details[data-table] table').length == 2")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    browser.execute_script("document.querySelector('#axes button.step').click()")
    assert browser.execute_script("return document.querySelector('#trace').open")
