"""A judge with planted errors: what calibration says of it, what its rates are once corrected, and how far judges and people agree."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cotdrift.cli import cli
from cotdrift.corrected import corrected_mean
from cotdrift.errors import NotEnough, UnknownName
from cotdrift.grader import Grader, read_grader
from cotdrift.judgment import Judgment
from cotdrift.labelling.draw import Design, How, _drawn
from cotdrift.labelling.labels import Entry, Labels
from cotdrift.study import Study
from cotdrift.trusted import chances_of

GRADER = """---
question: Does it talk of a grader?
answers: {yes: it does, no: it does not}
details:
  - {name: kind, asked: which, levels: {watch: watching, pay: paying}}
---
{reasoning}
"""
CATEGORIES = """---
question: What is this?
answers: {a test: one, real work: another, other: else}
---
{reasoning}
"""
SENSITIVITY, SPECIFICITY = 0.8, 0.95
TRUE = {0: 0.1, 50: 0.3, 100: 0.6}
PROMPTS, REPS = 100, 4


class Planted:
    """A study whose truth is known, judged by a judge that errs as it is told to."""

    def __init__(self, folder: Path, *, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        rows = [
            {
                "run": "toy",
                "step": step,
                "environment": "env",
                "prompt_id": f"p{prompt}",
                "reasoning": f"Thought {prompt} {rep}.",
                "answer": "1",
                "outcome_truth": float(rng.random() < rate),
            }
            for step, rate in TRUE.items()
            for prompt in range(PROMPTS)
            for rep in range(REPS)
        ]
        source = folder / "rollouts.jsonl"
        source.write_text("".join(json.dumps(row) + "\n" for row in rows))
        self.study = Study.make(folder / "study")
        self.study.ingest([source])
        self.path = folder / "talks.md"
        self.path.write_text(GRADER)
        self.grader = read_grader(self.path)
        self.study._keep_grader(self.grader)
        self.truth = (
            self.study.corpus.scan().select("transcript_id", "step", "prompt_id", truth="outcome_truth").collect().sort("transcript_id")
        )
        self.rng = rng

    def judge(self, name: str = "judge", *, sensitivity: float = SENSITIVITY, missing: float = 0.0, repeats: bool = False) -> None:
        """Judge every trace, with these errors."""
        found = []
        for row in self.truth.iter_rows(named=True):
            for repeat in range(2 if repeats else 1):
                yes = self.rng.random() < (sensitivity if row["truth"] else 1 - SPECIFICITY)
                told = {"transcript_id": row["transcript_id"], "grader": "talks", "version": 1, "sha": self.grader.sha, "judge": name}
                if self.rng.random() < missing:
                    found.append(Judgment(**told, repeat=repeat, missing="refusal"))
                else:
                    details = {"kind": "pay" if yes else "none"}
                    found.append(Judgment(**told, repeat=repeat, label="yes" if yes else "no", value=float(yes), details=details))
        with self.study.judgments.writing() as writer:
            writer.add(found)

    def label(self, per_step: int, folder: Path, *, steps: tuple[int, ...] = tuple(TRUE)) -> Path:
        """A file of true labels, of so many traces at random."""
        chosen = pl.concat([self.truth.filter(pl.col("step") == step).sample(per_step, seed=step) for step in steps])
        path = folder / "labels.csv"
        label = pl.when(pl.col("truth") == 1).then(pl.lit("yes")).otherwise(pl.lit("no"))
        chosen.select("transcript_id", label=label).write_csv(path)
        return path


@pytest.fixture
def planted(tmp_path: Path) -> Planted:
    return Planted(tmp_path)


def calibrate(planted: Planted, labels: Path) -> None:
    cli.main(["calibrate", str(planted.study.folder), "talks", "--labels", str(labels), "--json"], standalone_mode=False)


def test_calibration_finds_the_errors_that_were_planted(planted: Planted, tmp_path: Path) -> None:
    planted.judge()
    calibrate(planted, planted.label(200, tmp_path))
    found = planted.study.calibrate("talks")
    for estimate, truth in ((found.every.sensitivity, SENSITIVITY), (found.every.specificity, SPECIFICITY)):
        assert estimate.low is not None and estimate.high is not None
        assert estimate.low < truth < estimate.high
    assert [group.name for group in found.groups] == ["step 0", "step 50", "step 100"]
    assert found.is_stable


def test_a_corrected_trend_is_true_where_the_judges_own_is_not(planted: Planted, tmp_path: Path) -> None:
    planted.judge()
    calibrate(planted, planted.label(150, tmp_path))
    (trend,) = planted.study.trend("talks")
    for point in trend.points:
        truth = planted.truth.filter(pl.col("step") == point.step)["truth"].mean()
        assert isinstance(truth, float)
        assert point.corrected_low is not None and point.corrected_high is not None
        assert point.corrected_low < truth < point.corrected_high
    assert trend.frame["corrected"].to_list() == [point.corrected for point in trend.points]
    assert "bound_low" not in trend.frame.columns  # no judgment is missing
    last = trend.points[-1]
    assert last.high is not None and last.high < TRUE[100]  # a judge that misses one in five says too little


def test_labels_drawn_where_judges_found_something_correct_it_by_their_chances(planted: Planted, tmp_path: Path) -> None:
    planted.judge()
    judged = planted.study.judgments.frame("talks").select("transcript_id", "value")
    chance = pl.when(pl.col("value") == 1).then(0.8).otherwise(0.15)
    drawn = planted.truth.join(judged, on="transcript_id").with_columns(probability=chance)
    drawn = drawn.filter(pl.Series(np.random.default_rng(5).random(drawn.height)) < pl.col("probability"))
    label = pl.when(pl.col("truth") == 1).then(pl.lit("yes")).otherwise(pl.lit("no"))
    path = tmp_path / "drawn.csv"
    drawn.select("transcript_id", "probability", label=label).write_csv(path)
    calibrate(planted, path)
    sensitivity = planted.study.calibrate("talks").every.sensitivity
    assert sensitivity.low is not None and sensitivity.high is not None
    assert sensitivity.low < SENSITIVITY < sensitivity.high
    (trend,) = planted.study.trend("talks")
    for point in trend.points:
        truth = planted.truth.filter(pl.col("step") == point.step)["truth"].mean()
        labels = drawn.filter(pl.col("step") == point.step)["truth"].mean()
        assert isinstance(truth, float) and isinstance(labels, float)
        assert point.corrected_low is not None and point.corrected_high is not None
        assert point.corrected_low < truth < point.corrected_high < labels


def test_labels_that_were_drawn_by_chance_correct_as_well_as_those_that_say_nothing_of_it(planted: Planted, tmp_path: Path) -> None:
    planted.judge()
    labels = planted.label(150, tmp_path)
    calibrate(planted, labels)
    (plain,) = planted.study.trend("talks")
    folder = tmp_path / "drawn"
    drawn = Study.open(shutil.copytree(planted.study.folder, folder))
    (folder / "labels.sqlite").unlink()
    with Labels(folder / "labels.sqlite") as kept:
        rows = pl.read_csv(labels).iter_rows()
        told = {"annotator": "ada", "question": "talks", "sha": planted.grader.sha, "probability": 150 / (PROMPTS * REPS)}
        kept.add(*(Entry(**told, transcript_id=name, label=label, value=float(label == "yes")) for name, label in rows))
    (trend,) = drawn.trend("talks")
    for point, other in zip(trend.points, plain.points, strict=True):
        assert point.corrected is not None and point.corrected_low is not None and point.corrected_high is not None
        assert point.corrected == pytest.approx(other.corrected, abs=0.02)
        assert point.corrected_low < TRUE[point.step] < point.corrected_high


def test_labels_of_some_checkpoints_correct_all_and_it_says_what_it_takes_for_granted(planted: Planted, tmp_path: Path) -> None:
    planted.judge()
    calibrate(planted, planted.label(300, tmp_path, steps=(0, 100)))
    (trend,) = planted.study.trend("talks")
    assert any("as if the grader erred alike" in warning for warning in trend.warnings)
    middle = next(point for point in trend.points if point.step == 50)
    assert "Rogan-Gladen" in middle.corrected_method
    assert middle.corrected_low is not None and middle.corrected_high is not None
    assert middle.corrected_low < TRUE[50] < middle.corrected_high


@pytest.mark.parametrize(
    ("sensitivity", "kinds", "why"), [(0.0, ("yes", "no"), "no better than chance"), (SENSITIVITY, ("no",), "no labels of one kind")]
)
def test_where_labels_correct_nothing_it_says_why(
    planted: Planted, tmp_path: Path, sensitivity: float, kinds: tuple[str, ...], why: str
) -> None:
    planted.judge(sensitivity=sensitivity)
    labels = planted.label(300, tmp_path, steps=(0, 100))
    pl.read_csv(labels).filter(pl.col("label").is_in(kinds)).write_csv(labels)
    calibrate(planted, labels)
    (trend,) = planted.study.trend("talks")
    assert all(point.corrected is None for point in trend.points)
    assert not any("are corrected" in warning for warning in trend.warnings)
    assert any(why in warning for warning in trend.warnings)


def test_missing_judgments_bound_the_value(planted: Planted) -> None:
    planted.judge(missing=0.9)
    (trend,) = planted.study.trend("talks")
    for point in trend.points:
        assert point.missing > 300
        assert point.why == {"refusal": point.missing}
        assert point.bound_low is not None and point.bound_high is not None
        assert point.bound_low < TRUE[point.step] < point.bound_high
        assert point.bound_high - point.bound_low > 0.8
    assert trend.frame["bound_high"].to_list() == [point.bound_high for point in trend.points]


def test_a_judge_is_held_against_itself_and_judges_against_each_other(planted: Planted, tmp_path: Path) -> None:
    planted.judge("steady", repeats=True)
    planted.judge("deaf", sensitivity=0.05)
    found = planted.study.agree("talks")
    assert found.judges is not None and found.judges.alpha.value is not None
    itself = found.itself["steady"].alpha.value
    assert itself is not None
    assert found.judges.alpha.value < 0.2 < itself
    assert found.people is None


def test_people_are_held_against_people(planted: Planted, tmp_path: Path) -> None:
    planted.judge()
    labels = planted.label(50, tmp_path)
    for annotator in ("ada", "bo"):
        cli.main(
            ["calibrate", str(planted.study.folder), "talks", "--labels", str(labels), "--annotator", annotator, "--json"],
            standalone_mode=False,
        )
    found = planted.study.agree("talks")
    assert found.people is not None
    assert found.people.alpha.value == pytest.approx(1.0)


def test_details_and_categories_have_rates_of_their_own(planted: Planted, tmp_path: Path) -> None:
    planted.judge(repeats=True)
    (whole,), (pays,), (watches,) = (planted.study.trend(name) for name in ("talks", "talks.pay", "talks.watch"))
    assert [point.value for point in pays.points] == [point.value for point in whole.points]
    assert [point.value for point in watches.points] == [0.0] * len(TRUE)
    path = tmp_path / "what.md"
    path.write_text(CATEGORIES)
    kind = read_grader(path)
    planted.study._keep_grader(kind)
    ids = planted.truth["transcript_id"].to_list()
    with planted.study.judgments.writing() as writer:
        writer.add(said(kind, name, "a test" if at % 4 == 0 else "real work") for at, name in enumerate(ids))
    shares = [planted.study.values(f"what.{label}").frame["value"].mean() for label in ("a_test", "real_work", "other")]
    assert shares == pytest.approx([0.25, 0.75, 0.0], abs=0.001)
    with pytest.raises(UnknownName, match=r"what\.a_test"):
        planted.study.values("what")


def said(grader: Grader, transcript_id: str, label: str) -> Judgment:
    return Judgment(transcript_id=transcript_id, grader=grader.name, version=1, sha=grader.sha, judge="judge", label=label)


def test_without_labels_there_is_nothing_to_calibrate_on(planted: Planted) -> None:
    planted.judge()
    with pytest.raises(NotEnough, match="cotdrift label"):
        planted.study.calibrate("talks")
    with pytest.raises(UnknownName, match="talks"):
        planted.study.calibrate("talk")


def test_the_commands_say_it_in_sentences(planted: Planted, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    planted.judge(repeats=True)
    labels = planted.label(100, tmp_path)
    cli.main(["calibrate", str(planted.study.folder), "talks", "--labels", str(labels)], standalone_mode=False)
    told = capsys.readouterr().out
    assert "300 labels read in" in told and "Sensitivity" in told
    cli.main(["agree", str(planted.study.folder), "talks"], standalone_mode=False)
    assert "judge, against itself: 2 raters" in capsys.readouterr().out
    cli.main(["trend", str(planted.study.folder), "talks", "--json"], standalone_mode=False)
    (trend,) = json.loads(capsys.readouterr().out)
    assert {"missing", "bound_low", "bound_high", "corrected", "corrected_low", "corrected_high"} <= set(trend["points"][0])


# Several annotators


def drawn_labels(strata: dict[str, dict[str, list[str]]], designs: list[Design]) -> pl.DataFrame:
    """The labels of annotators who drew by these designs, all of them given."""
    rows = [
        {"transcript_id": name, "annotator": design.annotator, "sha": "s", "probability": chance, "repeat": False}
        for design in designs
        for name, chance in _drawn(strata[design.sample], design).items()
    ]
    return pl.DataFrame(rows)


@pytest.mark.parametrize(
    "annotators",
    [
        [("ana", "active", 300), ("bo", "active", 300)],
        [("ana", "active", 300), ("bo", "random", 300)],
        [("ana", "active", 150), ("bo", "active", 250), ("cy", "random", 150)],
    ],
    ids=["alike", "unlike", "three"],
)
def test_labels_of_several_annotators_give_the_rate_of_all_traces(annotators: list[tuple[str, How, int]]) -> None:
    rng, many, draws = np.random.default_rng(0), 1500, 120
    prompts = np.repeat(np.arange(many // 3), 3)
    truth = (rng.random(many) < rng.beta(1.2, 8.8, many // 3)[prompts]).astype(float)
    judged = np.where(rng.random(many) < np.where(truth == 1, 0.8, 0.1), 1.0, 0.0)
    ids = [f"t{number}" for number in range(many)]
    found = {kind: [name for name, value in zip(ids, judged, strict=True) if value == kind] for kind in (0.0, 1.0)}
    strata = {"active": {"bad": found[1.0], "good": found[0.0]}, "random": {"all": ids}}
    place = {name: number for number, name in enumerate(ids)}
    ours, largest, apart, covered = [], [], [], 0
    for seed in range(draws):
        labels = drawn_labels(strata, [Design(annotator=name, sample=how, limit=limit, seed=seed) for name, how, limit in annotators])
        known = chances_of(labels)
        where = [place[name] for name in known["transcript_id"]]
        told, chances = np.full(many, np.nan), np.full(many, np.nan)
        told[where], chances[where] = truth[where], known["chance"].to_numpy()
        ours.append(np.average(truth[where], weights=1 / chances[where]))
        others = labels.group_by("transcript_id").agg(most=pl.col("probability").max(), none=(1 - pl.col("probability")).product())
        where = [place[name] for name in others["transcript_id"]]
        largest.append(np.average(truth[where], weights=1 / others["most"].to_numpy()))
        apart.append(np.average(truth[where], weights=1 / (1 - others["none"].to_numpy())))
        corrected = corrected_mean(judged, told, prompts, chances=chances)
        assert corrected.low is not None and corrected.high is not None
        covered += corrected.low <= truth.mean() <= corrected.high
    error = 3 * np.std(ours) / draws**0.5
    assert abs(np.mean(ours) - truth.mean()) < error
    assert all(truth.mean() - np.mean(others) > 2 * error for others in (largest, apart))  # what else one might take says too little
    assert covered >= 0.92 * draws


def test_labels_without_a_chance_have_none_and_a_repeat_counts_once() -> None:
    row = {"transcript_id": "a", "annotator": "ana", "sha": "s", "probability": 0.5, "repeat": False}
    told = [row, row | {"repeat": True}, row | {"transcript_id": "b", "probability": None}, row | {"annotator": "bo", "probability": 0.2}]
    assert chances_of(pl.DataFrame(told)).rows() == [("a", pytest.approx(1 / (2 + 5)))]
    alike = [row, row | {"annotator": "bo"}, row | {"transcript_id": "b"}]
    assert chances_of(pl.DataFrame(alike)).sort("transcript_id").rows() == [("a", pytest.approx(1 / 3)), ("b", pytest.approx(1 / 3))]
