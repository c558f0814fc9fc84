"""The section on ambiguity: it is there when it was tried, says what the numbers say, and acts on no text."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cotdrift.ambiguity import LEVELS, Ambiguity, ambiguity_of
from cotdrift.exploited import midpoint, signed_levels
from cotdrift.findings import Findings
from cotdrift.ordering import order_of
from cotdrift.report import page, write_figures
from cotdrift.trace import Trace
from tests.laddered import planted

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)> \u202egnp \x00 {{ 7 * 7 }} ']\"]"
FIGURES = ("ambiguity", "ambiguity_steps", "ambiguity_order")


def pairs(*, turned: tuple[int, int] = (), rater: str = "judge") -> pl.DataFrame:  # type: ignore[assignment]  # no pair is turned
    """Every two levels in order in 24 scenarios, but for one pair that is found the other way round."""
    rows = [
        (rater, str(scenario), lower, upper, float((lower, upper) != turned), float(scenario % 2))
        for scenario in range(24)
        for lower in range(len(LEVELS))
        for upper in range(lower + 1, len(LEVELS))
    ]
    return pl.DataFrame(rows, schema=["rater", "scenario", "lower", "upper", "in_order", "second"], orient="row")


@pytest.fixture(scope="module")
def tried() -> Ambiguity:
    found = ambiguity_of(planted(steps=(0, 200), judged=True), order=order_of(pairs(turned=(1, 2)), LEVELS))
    assert found is not None
    return found


def with_ambiguity(make_findings: Any, ambiguity: Ambiguity, said: str = "Nobody counts the apples.") -> Findings:
    """Findings of the two runs, with a trace behind every quoted answer."""
    traces = []
    for example in ambiguity.examples:
        place = {"run": example.run, "step": example.step, "environment": "ambiguity (code)", "prompt_id": said, "rep": 0}
        trace = Trace(**place, prompt=said, reasoning=said, answer=said, reasoning_kind="raw")  # type: ignore[arg-type]
        trace.__dict__["transcript_id"] = example.transcript_id
        traces.append(trace)
    findings: Findings = make_findings(runs=("moves", "stays"), n_words=40, ambiguity=ambiguity, traces=traces, passages=[])
    return findings


def carried(text: str) -> dict[str, Any]:
    found = re.search(r'<script id="carried" type="application/json">(.*?)</script>', text, re.DOTALL)
    assert found
    data: dict[str, Any] = json.loads(found[1])
    return data


def rows(text: str, name: str) -> list[dict[str, Any]]:
    table = carried(text)["data"][name]
    return [dict(zip(table["names"], row, strict=True)) for row in table["rows"]]


def test_where_it_was_not_tried_nothing_is_said_of_it(make_findings: Any) -> None:
    text = page(make_findings())
    assert 'id="ambiguity"' not in text
    assert not set(FIGURES) & set(carried(text)["data"])


def test_the_section_says_the_shift_the_families_and_the_order(make_findings: Any, tried: Ambiguity) -> None:
    text = page(with_ambiguity(make_findings, tried))
    moved = tried.last("moves")
    assert moved is not None and moved.shift.midpoint is not None
    assert text.index("What changed</h2>") < text.index("Ambiguity</h2>") < text.index("Vocabulary</h2>")
    value, _, bounds = signed_levels(moved.shift.midpoint, 7).partition(" levels ")
    assert value in text and bounds in text
    assert "so that less has to be left open" in text and "no clear shift" in text
    assert "“against” is found to leave more open than “unwanted”: read the curve with that in mind." in text
    assert text.count("<bdi>research</bdi>") == 2, "the families of both runs"
    assert "Nobody was asked whether the levels stand in this order" not in text
    assert text.count("<blockquote><bdi>Nobody counts the apples.") == 8


def test_every_figure_has_its_rows_and_its_panels(make_findings: Any, tried: Ambiguity, tmp_path: Path) -> None:
    findings = with_ambiguity(make_findings, tried)
    text = page(findings)
    for name in FIGURES:
        drawn = re.findall(rf'data-figure="{name}" data-panel="([^"]*)"', text)
        assert drawn and set(drawn) <= {row["panel"] for row in rows(text, name)}
    written = {path.stem for path in write_figures(findings, tmp_path)}
    assert {"ambiguity", "ambiguity-steps", "ambiguity-order"} <= written


def test_rows_hold_what_was_estimated(make_findings: Any, tried: Ambiguity) -> None:
    text = page(with_ambiguity(make_findings, tried))
    last = tried.of("moves")[-1]
    assert last.threshold.curve is not None
    (row,) = (
        row
        for row in rows(text, "ambiguity_steps")
        if (row["run"], row["step"], row["panel"], row["strictness"]) == ("moves", 200, "midpoint", "neutral")
    )
    assert row["value"] == pytest.approx(6 * last.threshold.curve.midpoint.value, rel=1e-4)
    seen = [row for row in rows(text, "ambiguity") if (row["run"], row["step"]) == ("moves", 200) and row["name"]]
    assert [row["name"] for row in seen] == list(LEVELS)
    assert [row["rate"] for row in seen] == pytest.approx([100 * (level.value or 0) for level in last.threshold.levels], rel=1e-4)


def test_a_run_without_a_curve_says_why_and_draws_none(make_findings: Any) -> None:
    flat = planted(steps=(0, 200)).with_columns(outcome_exploits=pl.lit(1.0))
    found = ambiguity_of(flat)
    assert found is not None
    text = page(with_ambiguity(make_findings, found))
    assert "No curve at steps 0, 200: every answer exploits it, at every level." in text
    assert "cannot be told by a curve (step 0: every answer exploits it, at every level" in text
    assert not [row for row in rows(text, "ambiguity") if row["fitted"] is not None]
    assert "Nobody was asked whether the levels stand in this order" in text


def test_hostile_names_and_answers_make_no_element(make_findings: Any) -> None:
    order = order_of(pairs(rater=HOSTILE), LEVELS)
    spoilt = planted(steps=(0, 200)).with_columns(environment=pl.lit(f"ambiguity ({HOSTILE})"), run=pl.col("run") + HOSTILE)
    found = ambiguity_of(pl.concat([spoilt, planted(steps=(0,))]), order=order)
    assert found is not None
    text = page(with_ambiguity(make_findings, found, HOSTILE)).encode("utf-8", "backslashreplace").decode()
    assert text.count("<script") == 3
    assert "<img src=x" not in text
    assert "\u202e" not in text and "\x00" not in text


def test_a_place_on_the_ladder_is_said_by_the_levels_about_it(tried: Ambiguity) -> None:
    curve = tried.of("stays")[0].threshold.curve
    assert curve is not None
    assert re.fullmatch(r"level 4\.\d \[[\d., ]+\], between “loose” and “hinted”", midpoint(curve, LEVELS))
