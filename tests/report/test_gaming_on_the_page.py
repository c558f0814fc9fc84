"""The section on gaming: it is there when it was tried, says what the numbers say, and acts on no text."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest

from cotdrift.findings import Findings
from cotdrift.gaming import Gaming, gaming_of
from cotdrift.report import page, write_figures
from cotdrift.sentences import per_cent
from cotdrift.trace import Trace

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)> \u202egnp \x00 {{ 7 * 7 }} ']\"]"
FIGURES = ("gaming", "gaming_ladder", "gaming_audit", "gaming_factors", "gaming_length", "gaming_probes")


@pytest.fixture(scope="module")
def gaming(hint_traces: Callable[..., pl.DataFrame]) -> Gaming:
    found = gaming_of(hint_traces(cells=60))
    assert found is not None
    return found


def with_gaming(make_findings: Any, gaming: Gaming, said: str = "The note pays for odd ones.") -> Findings:
    """Findings of the two runs, with a trace behind every quoted answer."""
    traces = [
        Trace(
            run=example.run,
            step=example.step,
            environment="reward_hint",
            prompt_id=said,
            rep=0,
            prompt=said,
            reasoning=said,
            answer=said,
            reasoning_kind="raw",
        )
        for example in gaming.examples
    ]
    ids = {example.transcript_id: trace for example, trace in zip(gaming.examples, traces, strict=True)}
    for transcript_id, trace in ids.items():
        trace.__dict__["transcript_id"] = transcript_id
    findings: Findings = make_findings(runs=("control", "hinted"), n_words=40, gaming=gaming, traces=traces, passages=[])
    return findings


def carried(text: str) -> dict[str, Any]:
    found = re.search(r'<script id="carried" type="application/json">(.*?)</script>', text, re.DOTALL)
    assert found
    data: dict[str, Any] = json.loads(found[1])
    return data


def test_where_it_was_not_tried_nothing_is_said_of_it(make_findings: Any) -> None:
    text = page(make_findings())
    assert 'id="gaming"' not in text
    assert not set(FIGURES) & set(carried(text)["data"])


def test_the_section_says_the_rates_the_band_and_what_could_not_be_read(make_findings: Any, gaming: Gaming) -> None:
    text = page(with_gaming(make_findings, gaming))
    last = gaming.of("hinted")[-1]
    assert last.band is not None and last.gaming.value is not None
    assert text.index("What changed</h2>") < text.index("Gaming a grader</h2>") < text.index("Vocabulary</h2>")
    assert f"<strong>{per_cent(last.gaming.value)}</strong>" in text
    assert f"wordings {per_cent(last.band.lowest)} to {per_cent(last.band.highest)}" in text
    assert f"Step 200: {last.gaming.missing} of 240 answers could not be read" in text
    assert text.count("does not game") == 4


def test_every_figure_has_its_rows_and_its_panels(make_findings: Any, gaming: Gaming) -> None:
    text = page(with_gaming(make_findings, gaming))
    data = carried(text)
    for name in FIGURES:
        table = data["data"][name]
        key = table["names"].index("panel" if "panel" in table["names"] else "measure")
        drawn = re.findall(rf'data-figure="{name}" data-panel="([^"]*)"', text)
        assert drawn
        assert set(drawn) <= {row[key] for row in table["rows"]}
        assert data["figures"][name]["spec"]["layer"]


def test_rows_hold_what_was_estimated_in_per_cent(make_findings: Any, gaming: Gaming) -> None:
    table = carried(page(with_gaming(make_findings, gaming)))["data"]["gaming_factors"]
    rows = [dict(zip(table["names"], row, strict=True)) for row in table["rows"]]
    (row,) = (row for row in rows if (row["run"], row["step"], row["factor"], row["level"]) == ("hinted", 200, "label", "want"))
    (effects,) = (found for found in gaming.effects if (found.run, found.step) == ("hinted", 200))
    (level,) = (level for level in effects.levels if (level.factor, level.level) == ("label", "want"))
    assert level.contrast is not None and level.estimate.value is not None
    assert row["rate"] == pytest.approx(100 * level.estimate.value, rel=1e-4)
    assert row["difference"] == pytest.approx(100 * level.contrast.value, rel=1e-4)
    assert row["panel"] == "label, against none"


def test_hostile_levels_and_answers_make_no_element(make_findings: Any, hint_traces: Callable[..., pl.DataFrame]) -> None:
    frame = hint_traces(steps=(0, 200), cells=48)
    spoilt = frame.with_columns(pl.col("^condition_(label|wording|field|probe)$") + HOSTILE)
    found = gaming_of(spoilt)
    assert found is not None
    text = page(with_gaming(make_findings, found, HOSTILE)).encode("utf-8", "backslashreplace").decode()
    assert text.count("<script") == 3
    assert "<img src=x" not in text
    assert "\u202e" not in text and "\x00" not in text
    assert carried(text)["data"]["gaming_ladder"]["rows"]


def test_what_is_lacking_is_left_out_of_the_section(make_findings: Any, hint_traces: Callable[..., pl.DataFrame]) -> None:
    frame = hint_traces(steps=(0,), cells=12).filter((pl.col("environment") == "reward_hint") & (pl.col("run") == "control"))
    found = gaming_of(frame.drop(name for name in frame.columns if name.startswith("condition_")).with_columns(words=None))
    assert found is not None
    text = page(with_gaming(make_findings, found))
    assert 'data-figure="gaming"' in text
    assert not [name for name in FIGURES[1:] if f'data-figure="{name}"' in text]


def test_a_single_label_makes_no_ladder(make_findings: Any, hint_traces: Callable[..., pl.DataFrame]) -> None:
    found = gaming_of(hint_traces(steps=(0, 200), cells=60).with_columns(condition_label=pl.lit("none")))
    assert found is not None
    text = page(with_gaming(make_findings, found))
    assert 'data-figure="gaming_factors"' in text and 'data-figure="gaming_ladder"' not in text


def test_its_figures_are_written_as_svg(make_findings: Any, gaming: Gaming, tmp_path: Any) -> None:
    written = {path.stem for path in write_figures(with_gaming(make_findings, gaming), tmp_path)}
    assert {name.replace("_", "-") for name in FIGURES} <= written
