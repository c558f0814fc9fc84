"""Figures: what is drawn is what was estimated."""

import json
import math

import pytest

from cotdrift.figures.environments import OVERALL, by_environment, environment_rows
from cotdrift.figures.sparkline import sparkline
from cotdrift.figures.trends import small_multiples, trend_rows
from cotdrift.figures.volcano import label_terms, place, volcano
from cotdrift.findings import Findings
from cotdrift.report import write_figures


def test_a_row_stands_for_a_checkpoint_and_shares_are_per_cent(findings: Findings) -> None:
    rows = trend_rows(findings.trends)
    assert len(rows) == sum(len(trend.points) for trend in findings.trends)
    share = next(trend for trend in findings.trends if trend.unit == "share of words")
    row = next(row for row in rows if row["measure"] == share.measure)
    assert row["unit"] == "% of words"
    assert row["value"] == pytest.approx(100 * share.points[0].value)  # type: ignore[operator]


def test_the_onset_is_marked_once_with_its_interval(findings: Findings) -> None:
    marked = [row for row in trend_rows(findings.trends[:1]) if row["onset"] is not None]
    assert [(row["step"], row["onset_low"], row["onset_high"]) for row in marked] == [(200, 100, 300)]


def test_small_multiples_keep_the_order_of_the_rows(findings: Findings) -> None:
    rows = trend_rows(findings.trends)
    order = small_multiples(rows).to_dict()["facet"]["sort"]
    assert order[0] == "reasoning words, words"
    assert len(order) == len({row["measure"] for row in rows})


def test_overall_leads_and_the_worst_environment_follows(findings: Findings) -> None:
    rows = [row for row in environment_rows(findings.trends[:1], findings.environments) if row["measure"] == "reasoning_words"]
    assert [row["environment"] for row in rows[:2]] == [OVERALL, "coding"]
    changes = [row["change"] for row in rows[1:]]
    assert changes == sorted(changes)


def test_a_term_never_said_before_stands_at_its_lower_bound() -> None:
    row = {"ratio": None, "low": 4.0, "high": None}
    assert place(row) == 2.0
    assert place({"ratio": 0.0, "low": 0.0, "high": 0.5}) == -1.0
    assert place({"ratio": None, "low": None, "high": None}) is None


def test_names_in_the_volcano_do_not_run_into_each_other(findings: Findings) -> None:
    rows = [row for row in findings.terms["start"] if row["step"] == 1200]
    labels = label_terms(rows)
    assert any(abs(label) == 2 for label in labels)
    assert all(row["p_adjusted"] < 0.05 for row, label in zip(rows, labels, strict=True) if label)
    crowd = [row | {"ratio": 4.0, "spread": 0.5, "p_adjusted": 0.001} for row in rows[:50]]
    assert sum(label != 0 for label in label_terms(crowd)) <= 2  # one to the right of the heap, one to the left


def test_a_figure_of_nothing_is_still_a_figure() -> None:
    assert volcano([]).to_dict()["layer"]
    assert small_multiples([]).to_dict()["spec"]
    assert by_environment([]).to_dict()["spec"]
    assert label_terms([]) == []


def test_a_sparkline_is_made_of_numbers(findings: Findings) -> None:
    drawn = sparkline(findings.trends[0])
    assert drawn.startswith("<svg")
    assert "reasoning" not in drawn


def test_every_figure_is_written_as_svg(findings: Findings, tmp_path) -> None:  # type: ignore[no-untyped-def]
    written = write_figures(findings, tmp_path / "figures")
    assert {path.name for path in written} == {
        "surface.svg",
        "surface-change.svg",
        "terms-over-steps.svg",
        "environments.svg",
        "volcano.svg",
    }
    for path in written:
        assert path.read_text(encoding="utf-8").startswith("<svg")


def test_no_number_drawn_is_infinite(findings: Findings) -> None:
    numbers = [value for row in trend_rows(findings.trends) for value in row.values() if isinstance(value, float)]
    assert all(map(math.isfinite, numbers))
    json.dumps(trend_rows(findings.trends), allow_nan=False)
