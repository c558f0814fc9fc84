"""The section on an experiment of the frame: what each arm does, how far arms are apart, and what became of predictions; no text acts."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from cotdrift.arms import Tried, tried
from cotdrift.declared import Declared
from cotdrift.findings import Findings
from cotdrift.foretold import Foretold, Verdict
from cotdrift.report import page, write_figures, write_report

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)> \u202egnp \x00 {{ 7 * 7 }} ']\"]"
ARMS = ("alone", "paid", "told what is wanted")


def declared(**changed: Any) -> Declared:
    told: dict[str, Any] = {
        "name": "paid_for",
        "summary": "Does a grader in view decide which number is chosen?",
        "arms": ARMS,
        "factors": {"field": ("reward", "points"), "fixed": ("one",)},
        "outcomes": {"disobeys": "The number is not of the kind that was asked for.", "words": "How many words the answer has."},
        "contrasts": ((ARMS[1], ARMS[0]), (ARMS[2], ARMS[1])),
        "environments": ("paid_for (even)", "paid_for (odd)"),
    }
    return Declared(**told | changed)


def answers(*, runs: tuple[str, ...] = ("hinted", "control"), steps: tuple[int, ...] = (0, 60, 160)) -> pl.DataFrame:
    """In `hinted` the arm `paid` disobeys by up to 0.7 more at the end, the last arm by half of that; in `control` none does."""
    rng = np.random.default_rng(2)
    return pl.DataFrame(
        [
            {
                "run": run,
                "step": step,
                "environment": f"paid_for ({('even', 'odd')[prompt % 2]})",
                "prompt_id": f"p{prompt}",
                "condition_arm": arm,
                "outcome_disobeys": float(rng.random() < 0.1 + prompt / 100 + more) if rng.random() > 0.03 else None,
                "outcome_words": float(rng.poisson(6 + 4 * (arm == ARMS[2]))),
            }
            for run in runs
            for step in steps
            for arm, effect in zip(ARMS, (0, 0.7, 0.35), strict=True)
            for more in [effect * step / 160 if run == "hinted" else 0.0]
            for prompt in range(20)
            for _ in range(4)
        ]
    )


@pytest.fixture(scope="module")
def found() -> Tried:
    made = tried(answers(), declared())
    assert made is not None
    return made


def verdict(name: str, became: Any, **more: Any) -> Verdict:
    return Verdict(
        name=name,
        claim="At its end, the run hinted disobeys more when a grader pays for it.",
        verdict=became,
        predicted="above 0.2",
        estimate=0.62,
        low=0.51,
        high=0.73,
        what="disobeys at step 160, paid minus alone",
        method="paired by prompt; t interval, sign-flip p",
        traces=160,
        prompts=20,
        registered="2026-01-01T10:00:00+00:00",
        sha256="0123456789abcdef" * 4,
        **more,
    )


FORETOLD = Foretold(
    verdicts=(
        verdict("hinted_is_bought", "held"),
        verdict("control_is_bought", "failed"),
        verdict("it_begins_early", "undecided", after_data="480 traces it speaks of were in the study, at step 0"),
        verdict("was_changed", "altered", faults=("What stands in the study is not what was registered.",)),
    ),
    faults=("predictions.jsonl:4: a prediction was taken out, put in or moved before 'was_changed'.",),
)


def carried(text: str) -> dict[str, Any]:
    shown = re.search(r'<script id="carried" type="application/json">(.*?)</script>', text, re.DOTALL)
    assert shown
    data: dict[str, Any] = json.loads(shown[1])
    return data


def whole(make_findings: Any, found: Tried) -> Findings:
    findings: Findings = make_findings(runs=("control", "hinted"), n_words=40, tried=[found], foretold=FORETOLD)
    return findings


def test_where_nothing_was_tried_or_foretold_nothing_is_said_of_it(make_findings: Any) -> None:
    text = page(make_findings(n_words=40))
    assert 'id="experiment-' not in text
    assert 'id="predictions"' not in text


def test_every_outcome_has_a_panel_a_run_and_every_tested_distance_a_row(make_findings: Any, found: Tried) -> None:
    text = page(whole(make_findings, found))
    data = carried(text)["data"]
    for name in ("paid_for_arms", "paid_for_apart"):
        drawn = re.findall(rf'data-figure="{name}" data-panel="([^"]*)"', text)
        assert sorted(drawn) == ["disobeys, control", "disobeys, hinted", "words, control", "words, hinted"]
        assert set(drawn) == {row[data[name]["names"].index("panel")] for row in data[name]["rows"]}
    section = text[text.index('id="experiment-paid_for"') : text.index('id="vocabulary"')]
    assert "The number is not of the kind that was asked for." in section
    assert "reward, points" in section and "one" not in re.findall(r"<dd><bdi>(\w+)</bdi>", section)
    assert section.count("<tr>") - 1 == len(found.at_the_end()) == 2 * 2 * 2 * (1 + 1 + 2)  # runs, outcomes, contrasts; end, change, kinds


def test_what_is_clear_is_strong_and_what_was_not_planted_is_not(make_findings: Any, found: Tried) -> None:
    section = page(whole(make_findings, found))
    rows = re.findall(r"<tr>\s*<td><bdi>(\w+)</bdi></td>\s*<th scope=\"row\"><bdi>(\w+)</bdi></th>.*?</tr>", section, re.DOTALL)
    assert set(rows) == {(run, outcome) for run in ("hinted", "control") for outcome in ("disobeys", "words")}
    by_run = {run: [one for one in found.at_the_end() if one.run == run and one.outcome == "disobeys"] for run in ("hinted", "control")}
    assert all((one.p_adjusted or 0) < 0.05 for one in by_run["hinted"] if not one.environment)
    assert not [one for one in by_run["control"] if (one.p_adjusted or 0) < 0.05]


def test_rows_hold_what_was_estimated(make_findings: Any, found: Tried) -> None:
    table = carried(page(whole(make_findings, found)))["data"]["paid_for_apart"]
    rows = [dict(zip(table["names"], row, strict=True)) for row in table["rows"]]
    [row] = [
        row
        for row in rows
        if (row["panel"], row["step"], row["arm"], row["environment"], row["since"]) == ("disobeys, hinted", 160, "paid", "", None)
    ]
    [one] = [
        one
        for one in found.at_the_end()
        if (one.run, one.outcome, one.arm, one.environment, one.since) == ("hinted", "disobeys", "paid", "", None)
    ]
    assert row["difference"] == pytest.approx(100 * one.contrast.value, rel=1e-4)
    assert (row["low"], row["high"]) == pytest.approx((100 * (one.contrast.low or 0), 100 * (one.contrast.high or 0)), rel=1e-4)
    assert row["unit"] == "percentage points"


def test_predictions_come_first_and_say_what_became_of_them(make_findings: Any, found: Tried) -> None:
    text = page(whole(make_findings, found))
    assert text.index('id="predictions"') < text.index('id="changes"')
    assert re.findall(r'<li class="(\w+)">', text[text.index('id="predictions"') :])[:4] == ["held", "failed", "undecided", "altered"]
    assert "Registered after data.</strong> <bdi>480 traces it speaks of were in the study, at step 0.</bdi>" in text
    assert "was taken out, put in or moved" in text


def test_hostile_names_and_claims_make_no_element(make_findings: Any) -> None:
    arms = tuple(arm + HOSTILE for arm in ARMS)
    spoilt = declared(
        summary=HOSTILE,
        arms=arms,
        factors={"field": (HOSTILE, "b")},
        outcomes={"disobeys": HOSTILE},
        contrasts=((arms[1], arms[0]),),
        environments=(f"a{HOSTILE}", f"b{HOSTILE}"),
    )
    frame = answers(runs=(f"hinted{HOSTILE}", "control"), steps=(0, 160)).with_columns(
        pl.col("condition_arm") + HOSTILE,
        environment=pl.col("environment").str.contains("even").replace_strict({True: f"a{HOSTILE}", False: f"b{HOSTILE}"}),
    )
    found = tried(frame, spoilt)
    assert found is not None
    foretold = Foretold(verdicts=(verdict("held", "held", after_data=HOSTILE),), faults=(HOSTILE,))
    text = page(make_findings(n_words=40, tried=[found], foretold=foretold))
    assert text.count("<script") == 3
    assert "<img src=x" not in text
    assert "\u202e" not in text and "\x00" not in text


def test_one_run_one_arm_and_one_checkpoint_are_enough_for_a_section(make_findings: Any) -> None:
    alone = answers(runs=("hinted",), steps=(0,)).filter(pl.col("condition_arm") == "alone")
    found = tried(alone, declared(arms=("alone",), contrasts=()))
    assert found is not None
    text = page(make_findings(n_words=40, tried=[found]))
    assert 'data-figure="paid_for_arms" data-panel="disobeys"' in text
    assert 'data-figure="paid_for_apart"' not in text
    assert tried(alone.drop("outcome_disobeys", "outcome_words"), declared()) is None


def test_its_figures_are_written_as_svg(make_findings: Any, found: Tried, tmp_path: Path) -> None:
    written = {path.stem for path in write_figures(whole(make_findings, found), tmp_path)}
    assert {"paid-for-arms", "paid-for-apart"} <= written


@pytest.mark.browser
@pytest.mark.parametrize("width", [320, 400, 1200])
def test_it_is_drawn_and_nothing_sticks_out(browser: Any, make_findings: Any, found: Tried, tmp_path: Path, width: int) -> None:
    from tests.chromium import complaints, show, until

    written = write_report(whole(make_findings, found), tmp_path / "report.html")
    show(browser, written.as_uri(), width=width)
    until(browser, "[...document.querySelectorAll('#experiment-paid_for [data-figure]')].every(holder => holder.querySelector('svg'))")
    assert browser.execute_script("return document.querySelectorAll('#experiment-paid_for [data-figure] svg').length") == 8
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert complaints(browser) == []
