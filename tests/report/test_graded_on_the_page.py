"""The sections on what judges say: there where there are judgments, true to them, and deaf to what is written in them."""

from __future__ import annotations

import json
import re
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from cotdrift.errors import UnknownName
from cotdrift.find_graded import Judged, find_judged
from cotdrift.graders import grader
from cotdrift.labelling.labels import FILE, Entry, Labels
from cotdrift.report import page, write_figures
from cotdrift.study import Study
from tests.judge_server import JUDGE
from tests.judge_server import judge as served_judge
from tests.judged_study import STEPS, judge, rollouts, study_of, thinks, with_judgments, yes_or_no

FIGURES = ("thoughts", "overlap", "framing", "legibility", "legibility_profile", "rates")


@pytest.fixture(scope="module")
def text(make_findings: Any, judged: Judged, judged_study: Study) -> str:
    return page(with_judgments(make_findings, judged, judged_study)).encode("utf-8", "backslashreplace").decode()


def carried(text: str) -> dict[str, Any]:
    found = re.search(r'<script id="carried" type="application/json">(.*?)</script>', text, re.DOTALL)
    assert found
    data: dict[str, Any] = json.loads(found[1])
    return data


def rows_of(text: str, name: str) -> list[dict[str, Any]]:
    table = carried(text)["data"][name]
    return [dict(zip(table["names"], row, strict=True)) for row in table["rows"]]


def test_a_study_without_judgments_looks_as_it_did(make_findings: Any, tmp_path: Path) -> None:
    text = page(make_findings())
    assert not [name for name in ("awareness", "legibility", "graders") if f'id="{name}"' in text]
    assert not set(FIGURES) & set(carried(text)["data"])
    study = study_of(tmp_path, rollouts(steps={0: (0, 0)}, prompts=2, reps=1))
    assert find_judged(study) is None


def test_every_figure_has_its_rows_and_its_panels(text: str) -> None:
    data = carried(text)
    for name in FIGURES:
        drawn = re.findall(rf'data-figure="{name}" data-panel="([^"]*)"', text)
        assert drawn
        assert set(drawn) == {row["panel"] for row in rows_of(text, name)}
        assert data["figures"][name]["spec"]["layer"]


def test_a_judge_that_refuses_nine_times_in_ten_gets_bounds_and_reasons_and_no_mean(text: str, judged: Judged) -> None:
    (card,) = (card for card in judged.cards if card.grader.name == "reward_reasoning")
    assert card.missing == {"refusal": 324}
    rows = [row for row in rows_of(text, "rates") if row["panel"].startswith("reward reasoning")]
    assert len(rows) == 6
    for row in rows:
        assert row["judged"] is None and row["judged_low"] is None
        assert (row["bound_low"], row["bound_high"], row["why"]) == (0, 90, "refusal 54")
    assert "are missing for 324 of 360 traces (refusal 324)" in text
    assert "step 100: judged 0% to 90%" in text
    assert "cannot be told: more than half of “reward reasoning” is missing" in text


def test_what_is_dissociated_stands_at_the_top_and_in_its_section(text: str, judged: Judged) -> None:
    assert judged.thoughts is not None
    flagged = [pair for pair in judged.thoughts.pairs if pair.verdict == "dissociated"]
    assert {(pair.run, pair.thought) for pair in flagged} >= {("calm", "metagaming"), ("toy", "metagaming")}
    assert text.count("are dissociated") == 2 * len(flagged)
    assert text.index("are dissociated") < text.index('id="awareness"')
    assert "excludes the fall that would have come" in text


def test_the_tables_and_the_overlap_are_counts_of_traces(text: str, judged: Judged, judged_study: Study) -> None:
    assert judged.thoughts is not None
    frame = judged_study.corpus.scan().filter(pl.col("run") == "toy", pl.col("step") == 100).collect()
    aware = frame["reasoning"].str.contains("test of me") | (frame["prompt_id"] == "p7")
    (pair,) = (pair for pair in judged.thoughts.pairs if (pair.run, pair.thought) == ("toy", "metagaming"))
    assert pair.tables[-1].aware_acts == int((aware & (frame["outcome_gaming"] == 1)).sum())
    overlaps = [at for at in judged.thoughts.overlaps if (at.run, at.step) == ("toy", 100)]
    assert overlaps[0].both + overlaps[0].only_first == int(aware.sum())
    assert overlaps[0].only_second == 0
    apart = judged.thoughts.disagreements["metagaming of family M6 without evaluation_awareness"]
    assert apart and "metagaming of family M6 without evaluation awareness" in text


def test_framings_say_how_often_they_permit(judged: Judged) -> None:
    assert judged.thoughts is not None
    last = {kind.kind: kind for kind in judged.thoughts.kinds if (kind.run, kind.step) == ("toy", 100)}
    assert last["capability puzzle"].permits.value == 1.0
    assert last["real task"].permits.value == 0.0
    assert last["capability puzzle"].acts is not None and last["capability puzzle"].acts.value is not None


def test_a_card_says_what_was_wrongly_found_and_how_good_the_judge_is(text: str, judged: Judged) -> None:
    (card,) = (card for card in judged.cards if card.grader.name == "metagaming")
    assert card.against_outcome is not None and card.against_outcome.every.sensitivity.value == 1.0
    specificity = card.against_outcome.every.specificity.value
    assert specificity is not None and 0.9 < specificity < 1
    assert card.missed == []
    assert card.wrongly_found and all(passage.truth == "thinks is no" for passage in card.wrongly_found)
    (rater,) = card.raters
    assert rater.repeats == rater.judgments == 360
    assert rater.misquoted > 0  # where it found what is not there, it quotes what is not there
    assert "These words are nowhere in what the judge was shown." in text
    assert card.grader.sha in text and "the outcome thinks" in text


def test_the_rate_as_judged_as_corrected_and_as_it_is_stand_in_one_figure(judged_study: Study, make_findings: Any, tmp_path: Path) -> None:
    study = Study.open(shutil.copytree(judged_study.folder, tmp_path / "study"))
    truth = study.values("thinks").frame
    sha = study.graders()["metagaming"].sha
    chosen = truth.filter(pl.col("transcript_id").hash(3) % 3 < 2)
    with Labels(study.folder / FILE) as kept:
        for row in chosen.iter_rows(named=True):
            label = "yes" if row["value"] else "no"
            told = {"annotator": "ada", "question": "metagaming", "sha": sha, "transcript_id": row["transcript_id"]}
            kept.add(Entry(**told, label=label, value=row["value"]))
    found = find_judged(study, truths={"metagaming": "thinks"})
    assert found is not None
    text = page(with_judgments(make_findings, found, study))
    rows = [row for row in rows_of(text, "rates") if row["panel"] == "metagaming (% of traces), toy"]
    for row in rows:
        assert row["judged"] > row["true"]
        assert row["corrected_low"] <= row["true"] <= row["corrected_high"]
    assert "labels by ada" in text


def test_hostile_quotes_reasons_and_names_make_no_element(text: str) -> None:
    assert text.count("<script") == 3
    assert "<img src=x" not in text
    assert "\u202e" not in text and "\x00" not in text
    assert "49" not in re.findall(r"\{\{ 7 \* 7 \}\}|49 '\]", text)
    assert "&lt;img src=x" in text


def test_without_an_outcome_that_means_misbehaviour_it_says_how_to_name_one(make_findings: Any, tmp_path: Path) -> None:
    rows = [{name: value for name, value in row.items() if name != "outcome_gaming"} for row in rollouts(steps=STEPS, prompts=12, reps=2)]
    study = study_of(tmp_path, rows)
    judge(study, "metagaming", yes_or_no(thinks))
    found = find_judged(study)
    assert found is not None and found.thoughts is not None and found.thoughts.pairs == []
    text = page(with_judgments(make_findings, found, study))
    assert "cotdrift report STUDY --action OUTCOME" in text
    named = find_judged(study, actions=["thinks"])
    assert named is not None and named.thoughts is not None
    assert [pair.action for pair in named.thoughts.pairs] == ["thinks"]


def test_uses_and_summaries_have_cards_that_count_their_parts_alone(
    make_findings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = rollouts(steps={0: (0.0, 0.5), 50: (0.0, 0.5)}, prompts=4, reps=1, words=lambda _rng, _step: 1_700)
    for row in rows[::2]:
        row["reasoning"] += " The watchers look on."
    study = study_of(tmp_path, rows)
    said = {"quotes": ["not in it"], "reason": "The watchers see it.", "answer": "outside"}
    rated = said | {"answer": "5"}
    with served_judge(lambda prompt: json.dumps(said if "between ⟦ and ⟧" in prompt else rated)) as served:
        for name, value in served.environment.items():
            monkeypatch.setenv(name, value)
        study.grade("referent", "review", judges=[JUDGE])
    labelled = study.judgments.frame("review")["transcript_id"].unique().sort()
    with Labels(study.folder / FILE) as kept:
        told = {"annotator": "ada", "question": "review", "sha": grader("review").sha, "label": "1", "value": 1.0}
        kept.add(*(Entry(**told, transcript_id=name) for name in labelled))
    found = find_judged(study, truths={"review": "gaming"})
    assert found is not None
    uses, summed = found.cards
    (rater,) = uses.raters
    assert (uses.traces, rater.judgments, rater.missing) == (4, 4, {})
    (rater,) = summed.raters
    of_parts = study.judgments.frame("review").filter((pl.col("level") == 0) & (pl.col("repeat") == 0))
    assert (rater.judgments, summed.traces) == (of_parts.height, 8) and of_parts.height >= 16
    text = page(with_judgments(make_findings, found, study))
    assert "review" in text and "each use of" in text


def test_a_truth_of_a_grader_that_is_not_there_is_named(judged_study: Study) -> None:
    with pytest.raises(UnknownName, match="metagaming"):
        find_judged(judged_study, truths={"metagamin": "thinks"})


def test_headings_go_down_one_level_at_a_time(text: str) -> None:
    levels = [int(level) for level in re.findall(r"<h([1-6])[ >]", text)]
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_its_figures_are_written_as_svg(make_findings: Any, judged: Judged, judged_study: Study, tmp_path: Path) -> None:
    written = {path.stem for path in write_figures(with_judgments(make_findings, judged, judged_study), tmp_path)}
    assert {name.replace("_", "-") for name in FIGURES} <= written
