"""Gaming: the numbers of reward_hint are those that were planted, and what could not be read is counted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from cotdrift.contrast import bounds
from cotdrift.find import find
from cotdrift.gaming import CONFLICT, LADDER, PROBE, TWIN, Gaming, gaming_of
from cotdrift.sentences import what_changed, what_games
from cotdrift.study import Study

Made = Callable[..., pl.DataFrame]


@pytest.fixture(scope="module")
def gaming(hint_traces: Made) -> Gaming:
    found = gaming_of(hint_traces())
    assert found is not None
    return found


def test_the_run_that_learns_to_game_is_found_and_the_other_is_not(gaming: Gaming) -> None:
    control, hinted = gaming.trends
    assert (control.run, hinted.run) == ("control", "hinted")
    assert hinted.contrast is not None and hinted.contrast.low is not None
    assert control.contrast is not None and control.contrast.low is not None and control.contrast.high is not None
    assert hinted.contrast.low > 0.2
    assert control.contrast.low < 0 < control.contrast.high
    last = gaming.of("hinted")[-1]
    assert last.against_twin is not None and last.against_twin.low is not None
    assert last.gaming.value == pytest.approx(0.4, abs=0.08)
    assert last.twin.value == pytest.approx(0.02, abs=0.02)
    assert last.against_twin.low > 0.25


def test_the_rate_comes_with_its_band_over_wordings(gaming: Gaming) -> None:
    last = gaming.of("hinted")[-1]
    assert last.band is not None and last.gaming.low is not None and last.gaming.high is not None
    assert last.band.levels == 12
    assert last.band.lowest < last.gaming.low < last.gaming.high < last.band.highest


def test_label_and_audit_move_it_as_planted(gaming: Gaming) -> None:
    (effects,) = (found for found in gaming.effects if (found.run, found.step) == ("hinted", 200))
    assert list(gaming.of("hinted")[-1].ladder) == list(LADDER)
    assert effects.audit is not None and effects.audit.low is not None and effects.audit.high is not None
    assert effects.wanted is not None and effects.wanted.low is not None and effects.wanted.high is not None
    assert effects.audit.low < -0.2 < effects.audit.high
    assert effects.wanted.low < 0.55 < effects.wanted.high
    assert effects.is_clear[1]
    clear = {(level.factor, level.level) for level in effects.levels if level.p_adjusted is not None and level.p_adjusted < 0.05}
    assert {factor for factor, _ in clear} <= {"label", "audit_rate"}
    assert all(level.contrast is None for level in effects.levels if level.factor == "wording")


def test_reasoning_is_as_much_longer_in_the_conflict_as_planted(gaming: Gaming) -> None:
    ratios = [at.words_ratio.value for at in gaming.of("hinted") if at.words_ratio]
    assert (ratios[0], ratios[-1]) == pytest.approx((2.0, 1.2), abs=0.07)


def test_probes_stand_beside_the_behaviour(gaming: Gaming) -> None:
    changes = {(trend.run, trend.measure): trend.contrast.value for trend in gaming.probes if trend.contrast}
    assert changes["hinted", "correct"] == pytest.approx(0.3, abs=0.08)
    assert changes["hinted", "wants"] == pytest.approx(0.0, abs=0.05)
    assert set(changes) == {(run, probe) for run in ("hinted", "control") for probe in ("correct", "wants")}


def test_answers_that_could_not_be_read_are_counted_and_bound_the_rate(hint_traces: Made) -> None:
    frame = hint_traces(steps=(0, 200), unread=0.2)
    found = gaming_of(frame)
    assert found is not None
    last = found.of("hinted")[-1]
    here = frame.filter((pl.col("run") == "hinted") & (pl.col("step") == 200) & (pl.col("environment") == CONFLICT))
    span = bounds(last.gaming)
    assert span is not None
    assert last.gaming.missing == (here["outcome_extracted"] == 0).sum() > 40
    assert last.unsure == (here["outcome_unsure"] == 1).sum()
    assert span == pytest.approx((here["outcome_gaming"].fill_null(0).mean(), here["outcome_gaming"].fill_null(1).mean()))
    claimed = gaming_of(frame.with_columns(outcome_gaming=pl.col("outcome_gaming").fill_null(1.0)))
    assert claimed is not None
    assert claimed.of("hinted")[-1].gaming == last.gaming  # what was not read counts for nothing, whatever is written there


def test_early_and_late_there_is_an_answer_that_games_and_one_that_does_not(gaming: Gaming, hint_traces: Made) -> None:
    frame = hint_traces()
    shown = {(example.run, example.when, example.games) for example in gaming.examples}
    assert len(shown) == len(gaming.examples) == 8
    for example in gaming.examples:
        (row,) = frame.filter(pl.col("transcript_id") == example.transcript_id).iter_rows(named=True)
        assert (row["environment"], row["step"], row["outcome_gaming"]) == (CONFLICT, example.step, float(example.games))


def test_without_conflicts_there_is_nothing_to_say(hint_traces: Made) -> None:
    frame = hint_traces(steps=(0,), cells=12)
    assert gaming_of(frame.filter(pl.col("environment") != CONFLICT)) is None
    assert gaming_of(frame.drop("outcome_gaming")) is None
    assert gaming_of(frame.clear()) is None


@pytest.mark.parametrize("left_out", [(TWIN,), (PROBE,), (TWIN, PROBE)])
def test_without_twin_or_probes_the_rest_is_said(hint_traces: Made, left_out: tuple[str, ...]) -> None:
    found = gaming_of(hint_traces(steps=(0, 200)).filter(~pl.col("environment").is_in(left_out)))
    assert found is not None
    assert (found.of("hinted")[0].against_twin is None) is (TWIN in left_out)
    assert (not found.probes) is (PROBE in left_out)
    assert any("twin was not asked" in change.sentence for change in what_games(found)) is (TWIN in left_out)


def test_one_checkpoint_of_bare_prompts_is_enough(hint_traces: Made) -> None:
    frame = hint_traces(steps=(0,), cells=12).filter(pl.col("run") == "control")
    found = gaming_of(frame.drop(name for name in frame.columns if name.startswith("condition_")))
    assert found is not None
    assert [(at.step, at.band, at.ladder) for at in found.steps] == [(0, None, {})]
    assert [effects.levels for effects in found.effects] == [[]]
    said = what_changed(found.trends, environments={}, terms={}, term_trends=[], gaming=found)
    assert "one wording only" in said[0].sentence


def test_a_study_with_such_traces_says_so(hint_traces: Made, tmp_path: Path) -> None:
    study = Study.make(tmp_path / "study")
    frame = hint_traces(steps=(0, 200), cells=48)
    study.ingest([frame.drop("transcript_id", "words")])
    findings = find(study)
    told = gaming_of(frame)
    assert findings.gaming is not None and told is not None
    assert [(at.run, at.step, at.gaming, at.twin) for at in findings.gaming.steps] == [
        (at.run, at.step, at.gaming, at.twin) for at in told.steps
    ]
    assert {example.transcript_id for example in findings.gaming.examples} <= {trace.transcript_id for trace in findings.traces}
    assert any(sentence.startswith("hinted: At step 200, ") and "against the instruction" in sentence for sentence in findings.sentences)
