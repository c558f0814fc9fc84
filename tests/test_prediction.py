"""Predictions: said before the data, kept as they were said, and judged by the whole interval."""

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from cotdrift.cli import cli
from cotdrift.declared import Declared
from cotdrift.errors import InputError
from cotdrift.find import find
from cotdrift.foretold import Found, Verdict, decide, foretell, foretold
from cotdrift.prediction import FILE, Prediction, read_prediction, read_register
from cotdrift.report import page
from cotdrift.study import Study

DOCS = Path(__file__).resolve().parents[1] / "docs" / "experiments.md"
SAID = {
    "name": "pays",
    "run": "r",
    "outcome": "yes",
    "estimand": "arms",
    "arm": "hint",
    "against": "plain",
    "predicted": "above",
    "threshold": 0.1,
}

DECLARED = Declared(
    name="asks",
    summary="What is asked.",
    arms=("plain", "hint"),
    outcomes={"yes": "It says yes."},
    contrasts=(("hint", "plain"),),
    environments=("kind 0", "kind 1"),
)


def written(folder: Path, **changed: Any) -> Path:
    """A prediction's file; JSON is YAML."""
    said = {name: value for name, value in (SAID | changed).items() if value is not None}
    path = folder / f"{said['name']}.yaml"
    path.write_text(json.dumps(said), encoding="utf-8")
    return path


def predict(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["predict", *map(str, arguments)])


def traces(
    *, effect: float, steps: tuple[int, ...] = (0, 100, 200), prompts: int = 24, reps: int = 4, onset: int = 0, seed: int = 0
) -> pl.DataFrame:
    """Traces of two arms: from the step `onset` on the arm `hint` adds `effect` to the rate of yes, which is between 0.1 and 0.3 else."""
    rng = np.random.default_rng(seed)
    difficulty = rng.uniform(0.1, 0.3, prompts)
    rows = [
        {
            "run": "r",
            "step": step,
            "environment": f"kind {prompt % 2}",
            "prompt_id": f"p{prompt}",
            "rep": rep,
            "prompt": "?",
            "reasoning": "So it is.",
            "answer": "Yes.",
            "condition_arm": arm,
            "condition_field": ("reward", "points")[prompt % 2],
            "outcome_yes": float(rng.random() < difficulty[prompt] + (effect if arm == "hint" and step >= onset else 0)),
        }
        for step in steps
        for arm in ("plain", "hint")
        for prompt in range(prompts)
        for rep in range(reps)
    ]
    return pl.DataFrame(rows)


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """A study with nothing in it yet."""
    begun = Study.make(tmp_path / "study")
    begun.ingest([])
    return begun


def verdict_on(study: Study, **changed: Any) -> Verdict:
    foretell(study, written(study.folder.parent, **changed))
    study.ingest([traces(effect=0.5, onset=100)])
    [verdict] = foretold(study).verdicts
    return verdict


# Said before


def test_the_documented_prediction_is_registered_before_and_judged_after(tmp_path: Path) -> None:
    [shown] = re.findall(r"^```yaml\n(name: hinted_is_bought.*?)^```$", DOCS.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    path = tmp_path / "hinted_is_bought.yaml"
    path.write_text(shown, encoding="utf-8")
    done = predict(tmp_path / "study", path)
    assert done.exit_code == 0, done.output
    assert f"sha256 {read_prediction(path).sha256}" in done.output
    assert "Nothing is called 'disobeys' here yet" in done.stderr
    assert "AFTER DATA" not in done.output
    known = {"hint": "paid", "plain": "alone"}
    frame = traces(effect=0.6).with_columns(pl.col("condition_arm").replace(known), run=pl.lit("hinted"))
    study = Study.open(tmp_path / "study")
    study.ingest([frame.rename({"outcome_yes": "outcome_disobeys"})])
    told = predict(tmp_path / "study")
    assert told.exit_code == 0
    assert re.match(
        r"Prediction hinted_is_bought: held\. Disobeys at step 200, paid minus alone is 0\.\d+ \[0\.[\d, .]+\]; predicted above 0\.2\.",
        told.output,
    )


def test_a_verdict_opens_the_report_and_stands_in_what_it_says(study: Study) -> None:
    foretell(study, written(study.folder.parent, claim="Hints <b>move</b> it."))
    DECLARED.keep(study.folder)
    study.ingest([traces(effect=0.7, steps=(0, 100), prompts=8, reps=2)])
    findings = find(study)
    assert findings.sentences[0].startswith("Prediction pays: held.")
    [tried] = findings.tried
    assert {one.arm for one in tried.trends} == {"plain", "hint"}
    text = page(findings)
    assert text.index('id="changes"') < text.index('id="experiment-asks"')
    assert text.index('id="predictions"') < text.index('id="changes"')
    assert "Hints &lt;b&gt;move&lt;/b&gt; it." in text
    assert '<li class="held">' in text
    assert "Registered after data" not in text
    assert any(paragraph.startswith("A registered prediction held if") for paragraph in findings.methods)


def test_after_data_it_is_registered_and_marked_wherever_it_is_told(study: Study) -> None:
    study.ingest([traces(effect=0.5)])
    done = predict(study.folder, written(study.folder.parent))
    assert done.exit_code == 0
    assert "AFTER DATA: 576 traces it speaks of are in the study, at step 0, 100, 200." in done.stderr
    assert predict(study.folder).output.startswith("Prediction pays: held, AFTER DATA (576 traces it speaks of were in the study")


def test_data_of_another_run_or_step_are_not_its_data(study: Study) -> None:
    study.ingest([traces(effect=0.5, steps=(0, 100))])
    entry = foretell(study, written(study.folder.parent, name="later", to=200, only={"steps": [200]}))
    assert entry.known == {}
    assert foretell(study, written(study.folder.parent, name="other", run="control")).known == {}
    assert foretell(study, written(study.folder.parent, name="change", estimand="change", arm=None, against=None)).known == {
        "0": 192,
        "100": 192,
    }


def test_a_file_older_than_the_prediction_is_data_that_were_there(study: Study, tmp_path: Path) -> None:
    path = tmp_path / "old.jsonl"
    traces(effect=0.5).write_ndjson(path)
    foretell(study, written(tmp_path))
    os.utime(path, (0, 0))
    study.ingest([path])
    [verdict] = foretold(study).verdicts
    assert verdict.after_data == "old.jsonl was there on 1970-01-01T00:00:00+00:00"
    assert "AFTER DATA (old.jsonl was there" in verdict.sentence()


def test_a_run_that_was_stopped_is_data_too(study: Study, tmp_path: Path) -> None:
    log = study.folder / "logs" / "paid" / "2026_paid.eval"
    log.parent.mkdir(parents=True)
    log.write_bytes(b"")
    with pytest.raises(InputError, match=r"2026_paid\.eval has answers that are not read yet"):
        foretell(study, written(tmp_path))
    assert read_register(study.folder).entries == ()


# Kept as it was said


def test_the_hash_is_of_what_it_says_however_it_is_laid_out(tmp_path: Path) -> None:
    path = tmp_path / "laid_out.yaml"
    path.write_text(
        "threshold: 1.0e-1\npredicted: above\n# why not\nname: pays\nrun: 'r'\noutcome: yes_\nestimand: arms\narm: hint\nagainst: plain\n"
    )
    one = read_prediction(path)
    assert one.sha256 == read_prediction(written(tmp_path, outcome="yes_")).sha256
    changes: dict[str, Any] = {
        "threshold": 0.11,
        "predicted": "below",
        "run": "s",
        "arm": "other",
        "exclude": {"truncated": True},
        "to": 100,
    }
    others = {read_prediction(written(tmp_path, outcome="yes_", **{name: value})).sha256 for name, value in changes.items()}
    assert len(others | {one.sha256}) == len(changes) + 1


def test_the_same_is_registered_once_and_another_of_its_name_is_refused(study: Study, tmp_path: Path) -> None:
    first = foretell(study, written(tmp_path))
    assert foretell(study, written(tmp_path)) == first
    with pytest.raises(InputError, match=r"'pays' that says something else was registered .* and stands"):
        foretell(study, written(tmp_path, threshold=0.05))
    assert read_register(study.folder).entries == (first,)


@pytest.fixture
def three(study: Study, tmp_path: Path) -> Study:
    """A study with three predictions, and then its data."""
    for name in ("one", "two", "three"):
        foretell(study, written(tmp_path, name=name))
    study.ingest([traces(effect=0.5)])
    return study


def test_predictions_that_were_left_alone_are_whole(three: Study) -> None:
    assert read_register(three.folder).faults == ()
    done = predict(three.folder)
    assert done.exit_code == 0
    assert [line.split(".")[0] for line in done.output.splitlines()] == [f"Prediction {name}: held" for name in ("one", "two", "three")]


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"threshold":0.1', '"threshold":0.7'),
        ('"above"', '"below"'),
        ('"registered":"2', '"registered":"1'),
        ('"known":{}', '"known":{"0":9}'),
    ],
)
def test_a_prediction_changed_in_the_study_is_found_out(three: Study, place: int, old: str, new: str) -> None:
    path = three.folder / FILE
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    assert old in lines[place]
    lines[place] = lines[place].replace(old, new)
    path.write_text("".join(lines), encoding="utf-8")
    done = predict(three.folder)
    assert done.exit_code == 5
    told = done.output.splitlines()
    assert "altered. What stands in the study is not what was registered." in told[place]
    assert sum("altered" in line for line in told) == 1


def test_a_prediction_whose_own_seals_were_made_anew_does_not_fit_the_next(three: Study) -> None:
    import msgspec

    path = three.folder / FILE
    first, *rest = read_register(three.folder).entries
    changed = msgspec.structs.replace(first.prediction, threshold=0.7)
    forged = msgspec.structs.replace(first, prediction=changed, sha256=changed.sha256)
    forged = msgspec.structs.replace(forged, seal=forged.sealed)
    path.write_bytes(msgspec.json.Encoder().encode_lines([forged, *rest]))
    done = predict(three.folder)
    assert done.exit_code == 5
    assert "a prediction was taken out, put in or moved before 'two'" in done.output


@pytest.mark.parametrize("kept", [(1, 2), (0, 2), (1, 0, 2), (0, 0, 1, 2)])
def test_predictions_taken_out_or_moved_are_missed(three: Study, kept: tuple[int, ...]) -> None:
    path = three.folder / FILE
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(lines[place] for place in kept), encoding="utf-8")
    done = predict(three.folder)
    assert done.exit_code == 5
    assert "was taken out, put in or moved" in done.output
    with pytest.raises(InputError, match="Nothing is registered after that"):
        foretell(three, written(three.folder.parent, name="four"))


def test_a_line_that_is_no_prediction_is_named_and_the_others_are_judged(three: Study) -> None:
    path = three.folder / FILE
    first, _, third = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text(f"{first}not a line\n{third}", encoding="utf-8")
    done = predict(three.folder)
    assert done.exit_code == 5
    assert f"{FILE}:2:" in done.output
    assert done.output.count(": held") == 2


def test_a_file_that_says_something_else_now_is_named_and_what_was_registered_is_judged(study: Study, tmp_path: Path) -> None:
    verdict_on(study)
    path = written(tmp_path, threshold=0.9)
    told = predict(study.folder).output
    assert "held" in told and "predicted above 0.1" in told
    assert "pays.yaml has been changed since; what is judged is what was registered" in told
    path.write_text("name: [", encoding="utf-8")
    assert "can no longer be read" in predict(study.folder).output


# Judged by the whole interval


@given(
    low=st.floats(-2, 2),
    width=st.floats(0, 2),
    threshold=st.floats(0.001, 1),
    predicted=st.sampled_from(["above", "below", "within"]),
)
def test_it_held_or_failed_only_where_every_value_of_the_interval_says_so(
    low: float, width: float, threshold: float, predicted: str
) -> None:
    said = Prediction(name="n", run="r", outcome="o", estimand="change", predicted=predicted, threshold=threshold)  # type: ignore[arg-type]
    became = decide(said, Found(value=low, low=low, high=low + width, what="", method=""))

    def agrees(value: float) -> bool:
        return {"above": value > threshold, "below": value < threshold, "within": -threshold < value < threshold}[predicted]

    inside = [low + share * width for share in np.linspace(0, 1, 41)]
    if became == "held":
        assert all(map(agrees, inside))
    elif became == "failed":
        assert not any(map(agrees, inside))
    assert decide(said, Found(value=low, what="", method="")) == "undecided"


@pytest.mark.parametrize(
    ("changed", "became"),
    [
        ({}, "held"),
        ({"threshold": 0.6}, "undecided"),
        ({"threshold": 0.9}, "failed"),
        ({"predicted": "below", "threshold": 0.9}, "held"),
        ({"predicted": "below"}, "failed"),
        ({"predicted": "within"}, "failed"),
        ({"to": 0}, "failed"),
        ({"to": 0, "predicted": "within", "threshold": 0.3}, "held"),
        ({"to": 150}, "undecided"),
        ({"arm": "nosuch"}, "undecided"),
        ({"factor": "field", "arm": "reward", "against": "points", "predicted": "within", "threshold": 0.4}, "held"),
        ({"factor": "environment", "arm": "kind 0", "against": "kind 1", "predicted": "within", "threshold": 0.4}, "held"),
        ({"estimand": "change", "arm": None, "against": None}, "held"),
        ({"estimand": "change", "arm": None, "against": None, "only": {"conditions": {"arm": ["plain"]}}, "threshold": 0.2}, "failed"),
        ({"estimand": "change", "arm": None, "against": None, "exclude": {"conditions": {"arm": ["hint"]}}, "threshold": 0.2}, "failed"),
        ({"estimand": "change", "arm": None, "against": None, "from": 100, "predicted": "within", "threshold": 0.2}, "held"),
        ({"estimand": "slope", "arm": None, "against": None, "threshold": 0.02}, "held"),
        ({"estimand": "slope", "arm": None, "against": None, "threshold": 0.5}, "failed"),
        ({"outcome": "nothing_of_the_kind"}, "undecided"),
        ({"run": "another"}, "undecided"),
    ],
)
def test_a_planted_effect_of_a_half_from_step_100_on_is_judged_rightly(study: Study, changed: dict[str, Any], became: str) -> None:
    verdict = verdict_on(study, **changed)
    assert verdict.verdict == became, verdict.sentence()
    assert f"Prediction pays: {became}." in verdict.sentence()


def test_an_onset_is_judged_by_its_interval(study: Study) -> None:
    said = {"estimand": "onset", "arm": None, "against": None, "only": {"conditions": {"arm": ["hint"]}}}
    foretell(study, written(study.folder.parent, name="early", predicted="below", threshold=350, **said))
    foretell(study, written(study.folder.parent, name="late", predicted="above", threshold=350, **said))
    study.ingest([traces(effect=0.6, steps=(0, 100, 200, 300, 400, 500), onset=300, prompts=60)])
    early, late = foretold(study).verdicts
    assert early.estimate == 300
    assert (early.verdict, late.verdict) == ("held", "failed"), early.sentence()


def test_estimates_are_those_of_independent_tests(study: Study) -> None:
    found = verdict_on(study, to=200)
    frame = traces(effect=0.5, onset=100)
    means = frame.filter(pl.col("step") == 200).group_by("prompt_id", "condition_arm").agg(pl.col("outcome_yes").mean())
    wide = means.pivot("condition_arm", values="outcome_yes")
    interval = stats.ttest_rel(wide["hint"], wide["plain"]).confidence_interval()
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert (found.traces, found.prompts, found.excluded) == (192, 24, 0)


def test_exclusions_and_missing_values_are_counted_and_too_many_decide_nothing(study: Study, tmp_path: Path) -> None:
    foretell(study, written(tmp_path, exclude={"prompts": ["p1", "p2"]}))
    foretell(study, written(tmp_path, name="most_missing", only={"environments": ["kind 0"]}))
    gone = (pl.col("environment") == "kind 0") & (pl.col("rep") > 0)
    study.ingest([traces(effect=0.5).with_columns(outcome_yes=pl.when(~gone).then("outcome_yes"))])
    first, second = foretold(study).verdicts
    assert first.excluded == 2 * 3 * 2 * 4
    assert first.verdict == "held"
    assert second.verdict == "undecided"
    assert second.missing == 3 * second.traces
    assert f"{second.missing} of {second.missing + second.traces} values are missing" in second.sentence()


def test_where_nothing_happens_a_prediction_of_a_change_seldom_holds(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    said = read_prediction(written(tmp_path, threshold=0.0))
    held = 0
    for _ in range(400):
        far = rng.binomial(4, 0.3, 20) / 4 - rng.binomial(4, 0.3, 20) / 4
        interval = stats.ttest_1samp(far, 0).confidence_interval()
        held += decide(said, Found(value=far.mean(), low=interval.low, high=interval.high, what="", method="")) == "held"
    assert 3 <= held <= 18  # one in forty


# Files


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"predicted": "sideways"}, "Invalid enum value 'sideways'"),
        ({"treshold": 1}, "unknown field `treshold`"),
        ({"threshold": None}, "missing required field `threshold`"),
        ({"threshold": "much"}, "Expected `float`"),
        ({"name": "two words"}, "is no name of a prediction"),
        ({"predicted": "within", "threshold": -0.1}, "Give a threshold above 0"),
        ({"against": None}, "Name the two under `arm` and `against`"),
        ({"estimand": "change"}, "holds no arms against one another"),
        ({"estimand": "change", "arm": None, "against": None, "from": 100, "to": 50}, "does not come before step 50"),
        ({"from": 100}, "of one checkpoint"),
        ({"only": {"condition": {}}}, "unknown field `condition`"),
    ],
)
def test_a_prediction_that_cannot_be_judged_is_refused_in_a_sentence(changed: dict[str, Any], said: str, tmp_path: Path) -> None:
    done = predict(tmp_path / "study", written(tmp_path, **changed))
    assert isinstance(done.exception, InputError)
    assert re.search(re.escape(said), str(done.exception)), done.exception
    assert not (tmp_path / "study").exists()


@given(text=st.one_of(st.text(), st.text("[]{}&*!|>-:?%@`'\"\n\t 0x1.eE~<=#,"), st.binary().map(lambda raw: raw.decode("latin-1"))))
def test_any_file_is_a_prediction_or_a_sentence(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(text, encoding="utf-8", errors="replace")
    said = f"{path}: "
    try:
        read_prediction(path)
    except InputError as fault:
        said = str(fault)
    assert said.startswith(f"{path}: ")
    assert "\n" not in said


def test_a_yaml_bomb_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.yaml"
    path.write_text("[" * 5000, encoding="utf-8")
    with pytest.raises(InputError, match="too large for a prediction"):
        read_prediction(path)
    with pytest.raises(InputError, match="there is no such file"):
        read_prediction(tmp_path / "none.yaml")
    assert "No predictions are registered" in _shown(tmp_path)


def _shown(folder: Path) -> str:
    Study.make(folder / "empty").ingest([])
    return predict(folder / "empty").output


def test_all_files_can_be_read_or_none_is_registered(study: Study, tmp_path: Path) -> None:
    done = predict(study.folder, written(tmp_path), written(tmp_path, name="worse", predicted="sideways"))
    assert isinstance(done.exception, InputError)
    assert read_register(study.folder).entries == ()


def test_the_json_of_both_ways_to_call_it_holds_what_is_told(study: Study, tmp_path: Path) -> None:
    [entry] = json.loads(predict(study.folder, written(tmp_path), "--json").stdout)
    assert entry["prediction"]["name"] == "pays" and len(entry["seal"]) == 64
    study.ingest([traces(effect=0.5)])
    told = json.loads(predict(study.folder, "--json").stdout)
    assert told["verdicts"][0]["verdict"] == "held" and told["faults"] == []
