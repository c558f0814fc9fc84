"""A grader of uses put to work on a study: each use is asked about by itself, and a trace's number is read off them."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from cotdrift.cli import cli
from cotdrift.errors import InputError
from cotdrift.graders import grader
from cotdrift.report import report
from cotdrift.seen import USES
from cotdrift.study import Study
from tests.judge_server import JUDGE, judge
from tests.test_judging import use

OUTSIDE = "The watchers who train me look on. "
INSIDE = "In the tale the watchers keep the gate. "
SCORED = "The scoreboard outside counts it. "


def heed(prompt: str) -> str:
    """Who trains is outside, and so is the scoreboard; it quotes with the marks left in, as judges do."""
    passage = prompt[prompt.rindex("\n<reasoning-") :]
    use = passage[passage.index("⟦") + 1 : passage.index("⟧")]
    after = passage[passage.index("⟧") + 1 :]
    outside = use == "scoreboard" or after.startswith(" who train")
    return json.dumps({"quotes": [f"⟦{use}⟧{after[:9]}"], "reason": "So it says.", "answer": "outside" if outside else "inside"})


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """At step 0 no watchers but those of the tale; at step 100 a half of them, and the scoreboard, are outside of it; p0 speaks of none."""
    said = {0: INSIDE * 2, 100: OUTSIDE + INSIDE + SCORED}
    rows = [
        {
            "run": "toy",
            "step": step,
            "environment": "env",
            "prompt_id": f"p{prompt}",
            "prompt": "Tell of the gate.",
            "reasoning": text if prompt else "Nobody is there.",
            "answer": "Done.",
        }
        for step, text in said.items()
        for prompt in range(6)
    ]
    source = tmp_path / "rollouts.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = Study.make(tmp_path / "study")
    made.ingest([source])
    return made


def means(study: Study, name: str) -> list[float | None]:
    (trend,) = study.trend(name)
    return [point.value if point.value is None else round(point.value, 3) for point in trend.points]


def test_each_use_is_judged_and_the_share_that_points_outside_is_followed_over_the_steps(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    with judge(heed) as served:
        use(served, monkeypatch)
        (judged,) = study.grade("referent", judges=[JUDGE])
    assert judged.plan.asked == len(served.asked) == judged.judgments
    assert (judged.plan.traces, judged.plan.unused, judged.missing, judged.misquoted) == (12, 2, {}, 0)
    assert all(prompt[prompt.rindex("\n<reasoning-") :].count("⟦") == 2 for prompt in served.asked)
    assert means(study, "referent") == [0, 0.667]
    assert means(study, "referent.number") == [0, round(2 * 5 / 6, 3)]  # who speaks of none counts as nought
    assert means(study, "referent.inside") == [1, 0.333]
    assert means(study, "referent.watchers") == [0, 0.5]
    (trend,) = study.trend("referent.scoreboard")
    assert [(point.step, point.value, point.traces) for point in trend.points] == [(100, 1, 5)]
    (trend,) = study.trend("referent")
    assert [(point.traces, point.missing, point.bound_low, point.bound_high) for point in trend.points] == [
        (5, 0, 0, 0),
        (5, 0, pytest.approx(2 / 3), pytest.approx(2 / 3)),
    ]


def test_the_report_shows_what_uses_refer_to_over_the_steps(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    with judge(heed) as served:
        use(served, monkeypatch)
        study.grade("referent", judges=[JUDGE])
    made = report(study.folder)
    shares = {trend.measure: [point.value for point in trend.points] for trend in made.findings.referents}
    assert set(shares) == {f"referent.{answer}" for answer in ("outside", "inside", "ordinary", "unrecoverable")}
    assert [sum(of_step) for of_step in zip(*shares.values(), strict=True)] == pytest.approx([1, 1])  # together they are all uses
    page = made.page.read_text(encoding="utf-8")
    assert "What its uses refer to" in page and 'data-figure="referents"' in page


def test_quotes_and_uses_are_placed_in_the_trace(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    with judge(heed) as served:
        use(served, monkeypatch)
        study.grade("referent", judges=[JUDGE])
    asked = study.judgments.frame("referent").filter(pl.col("label").is_not_null())
    traces = {trace.transcript_id: trace.reasoning for trace in study.corpus.traces(*asked["transcript_id"])}
    for row in asked.iter_rows(named=True):
        text = traces[row["transcript_id"]]
        assert text[row["start"] : row["end"]] == row["marked"]
        [quote] = json.loads(row["quotes"])
        assert quote["found"] == "exact"
        assert quote["start"] == row["start"]  # of two places with these words, the marked one
        assert text[quote["start"] : quote["end"]] == quote["text"]


def test_terms_of_ones_own_are_added_to_those_that_were_asked_and_no_use_is_paid_for_twice(
    study: Study, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["grade", str(study.folder), "referent", "--model-role", f"grader={JUDGE}"]
    with judge(heed) as served:
        use(served, monkeypatch)
        cli.main([*command, "--term", "scoreboard"], standalone_mode=False)
        told = capsys.readouterr().out
        first = len(served.asked)
        assert "7 of which hold nothing to ask about" in told
        assert means(study, "referent") == [1]
        cli.main([*command, "--term", "watchers", "--term", "scoreboard"], standalone_mode=False)
        second = len(served.asked) - first
        (again,) = study.grade("referent", judges=[JUDGE], terms=["the gate", "watchers"])
    frame = study.judgments.frame("referent").filter(pl.col("repeat") == 0)
    assert frame["marked"].value_counts().sort("marked").rows() == [("", 7), ("scoreboard", 5), ("the gate", 15), ("watchers", 20)]
    assert second == frame.filter(marked="watchers").height + again_asked(study, "watchers")
    assert again.plan.asked == len(served.asked) - first - second
    assert study.graders()["referent"].terms == ("scoreboard", "watchers", "the gate")
    assert means(study, "referent.the_gate") == [0, 0]
    with pytest.raises(InputError, match="framing is not asked about uses"):
        study.grade("framing", judges=[JUDGE], terms=["watchers"])
    with pytest.raises(InputError, match="'inside' is the name of another number"):
        study.grade("referent", judges=[JUDGE], terms=["Inside"])


def again_asked(study: Study, marked: str) -> int:
    return study.judgments.frame("referent").filter((pl.col("repeat") == 1) & (pl.col("marked") == marked)).height


def test_of_many_uses_a_few_stand_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        {"run": "r", "step": 0, "environment": "e", "prompt_id": f"p{at}", "reasoning": OUTSIDE * many + SCORED, "answer": "1"}
        for at, many in enumerate((40, 1))
    ]
    source = tmp_path / "many.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    study = Study.make(tmp_path / "study")
    study.ingest([source])
    with judge(heed) as served:
        use(served, monkeypatch)
        study.grade("referent", judges=[JUDGE])
    first = study.judgments.frame("referent").filter(pl.col("repeat") == 0)
    assert first["transcript_id"].value_counts().sort("count")["count"].to_list() == [2, USES + 1]
    number = study.values("referent.number").frame.sort("prompt_id")["value"]
    assert number.to_list() == pytest.approx([41, 2])


def test_people_are_shown_the_use_that_judges_are(study: Study) -> None:
    from cotdrift.labelling.draw import Design
    from cotdrift.labelling.labels import Labels
    from cotdrift.labelling.sitting import sit

    asked = grader("referent")
    with Labels(study.folder / "labels.sqlite") as labels:
        sitting = sit(study.corpus, labels, asked, Design(annotator="ann", sample="random"))
        assert len({case.transcript_id for case in sitting.cases}) == 10, "traces without a use are no cases"
        parts = {part.name: part.text for part in sitting._parts(sitting.cases[0])}
    assert parts["reasoning"].count("⟦") == 1


def test_a_traces_uses_are_shown_with_their_passages(
    study: Study, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with judge(heed) as served:
        use(served, monkeypatch)
        study.grade("referent", judges=[JUDGE])
    cli.main(["show", str(study.folder), "--grader", "referent.number", "--limit", "1", "--json"], standalone_mode=False)
    [worst] = json.loads(capsys.readouterr().out)["worst"]
    assert (worst["step"], worst["value"]) == (100, 2)
    cli.main(["show", str(study.folder), worst["transcript_id"], "--grader", "referent"], standalone_mode=False)
    told = capsys.readouterr().out
    assert told.count("⟦watchers⟧") == 2
    assert told.count("⟦scoreboard⟧") == 1
    assert "[watchers who trai]" in told
