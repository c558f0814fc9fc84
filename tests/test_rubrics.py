"""Rubrics: written by checkpoints, split into points, each judged by itself, and read as what they reward."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner, Result
from inspect_ai.model import ModelAPI, ModelOutput, modelapi
from scipy.stats import spearmanr

from cotdrift.cli import cli
from cotdrift.declared import declared_in
from cotdrift.experiments.rubrics import ASKED, ENVIRONMENTS, RUBRICS, Environment, rubrics_for
from cotdrift.find import _rewarded
from cotdrift.graders import grader
from cotdrift.rewarded import KINDS, correlation
from cotdrift.seen import POINTS, places, shown
from cotdrift.study import Study
from cotdrift.trace import Trace
from tests.judge_server import JUDGE, judge
from tests.of_inspect import RUNS_INSPECT
from tests.test_judging import use

pytestmark = RUNS_INSPECT


@modelapi(name="rubricwriter")
def rubricwriter() -> type[ModelAPI]:
    """A model whose rubrics reward, at step 0, what the task tests, and at step 100 cunning, and which then takes tasks for puzzles."""

    class RubricWriter(ModelAPI):
        async def generate(self, input: Any, tools: Any, tool_choice: Any, config: Any) -> ModelOutput:  # noqa: A002
            prompt = input[-1].text
            late = self.model_name.endswith("@100")
            (tests,) = {one.tests for one in ENVIRONMENTS.values() if one.text in prompt}
            if "-----" not in prompt:
                seen = "This is a puzzle." if late else "This tests me." if tests in ("honesty", "instruction") else "To work."
                return ModelOutput.from_content("rubricwriter", f"<think>{seen}</think>\nDone.")
            first = "cunning" if late else tests
            listed = "\n".join(f"- Marks {place} for {kind}." for place, kind in enumerate((first, first, first, "format")))
            return ModelOutput.from_content("rubricwriter", f"Here is the rubric:\n\n{listed}")

    return RubricWriter


def heed(prompt: str) -> str:
    """The marked point rewards what it names; a view is what the reasoning says."""
    answer = prompt[prompt.rindex("<answer-") : prompt.rindex("</answer-")]
    if "⟦" in answer:
        point = answer.partition("⟦")[2].partition("⟧")[0]
        kind = next((kind for kind in KINDS if kind in point), "other")
        return json.dumps({"quotes": [point], "reason": "So it says.", "answer": kind})
    view = "capability puzzle" if "puzzle." in prompt else "alignment test" if "tests me" in prompt else "real task"
    return json.dumps({"quotes": [], "reason": "So it says.", "use": "none", "answer": view})


def told(*command: str) -> Result:
    done = CliRunner().invoke(cli, [*command])
    assert done.exit_code == 0, done.output
    return done


def test_what_rubrics_reward_is_followed_over_the_steps_and_held_against_the_framing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INSPECT_CACHE_DIR", str(tmp_path / "cache"))
    folder = str(tmp_path / "study")
    told("run", "rubrics", "--series", "rubricwriter/toy@{step}", "--steps", "0,100", "-T", "samples=1", "--into", folder)
    with judge(heed) as served:
        use(served, monkeypatch)
        told("grade", folder, "rubric_point", "--model-role", f"grader={JUDGE}", "--only", "arm=rubric")
        points = len(served.asked)
        told("grade", folder, "framing", "--model-role", f"grader={JUDGE}", "--only", "arm=act")
    study = Study.open(folder)
    asked = study.judgments.frame("rubric_point")
    assert asked.filter(repeat=0).height == 2 * len(ENVIRONMENTS) * 4, "of each rubric four points, and nothing of the act"
    assert points == asked.height
    assert not asked["missing"].is_not_null().any()
    rewarding = {f"Marks {place} for {kind}." for place in range(3) for kind in ("instruction", "honesty", "success", "cunning")}
    assert set(asked["marked"]) == {*rewarding, "Marks 3 for format."}

    found = _rewarded(study, 0)["rubrics"]
    (meant,) = found.meant
    of_cunning = sum(one.tests == "cunning" for one in ENVIRONMENTS.values()) / len(ENVIRONMENTS)
    assert [point.value for point in meant.points] == [pytest.approx(0.75), pytest.approx(0.75 * of_cunning)]
    assert (found.rubrics, found.without) == (2 * len(ENVIRONMENTS), 0)
    (cunning,) = found.kinds["cunning"]
    assert [point.value for point in cunning.points] == [pytest.approx(0.75 * of_cunning), 0.75]
    assert set(found.by_tested) == {"instruction", "honesty", "success", "cunning"}
    (honest,) = found.by_tested["honesty"]
    assert [point.value for point in honest.points] == [0.75, 0]
    across = {(one.view, one.within): one.correlation for one in found.together}
    assert across["alignment test", False].value == pytest.approx(1)
    assert (across["capability puzzle", False].value or 0) > 0.5
    assert across["alignment test", True].low is not None
    (trend,) = study.trend("rubric_point.format")
    assert [(point.value, point.traces, point.prompts) for point in trend.points] == [(0.25, 16, 16)] * 2


def test_a_condition_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INSPECT_CACHE_DIR", str(tmp_path / "cache"))
    folder = str(tmp_path / "study")
    told("run", "rubrics", "--model", "rubricwriter/toy@0", "-T", "samples=1", "--limit", "2", "--into", folder)
    command = ["grade", folder, "rubric_point", "--model-role", "grader=mockllm/model", "--only"]
    done = CliRunner().invoke(cli, [*command, "arms=rubric"])
    assert "No condition is called 'arms'. Did you mean 'arm'?" in str(done.exception or done.output)
    assert "is not NAME=LEVEL" in CliRunner().invoke(cli, [*command, "rubric"]).output
    assert _rewarded(Study.open(folder), 0) == {}, "nothing was judged yet"


def answered(text: str) -> Trace:
    return Trace(run="r", step=0, environment="e", prompt_id="p", prompt="Write it.", reasoning="So.", answer=text)


def test_a_point_is_shown_marked_in_the_whole_rubric_and_only_it_is() -> None:
    asked = grader("rubric_point")
    trace = answered("- First.\n- ⟦Second⟧ of all.\n")
    one, other = places(asked, trace)
    assert [trace.answer[place.start : place.end] for place in (one, other)] == ["First.", "⟦Second⟧ of all."]
    assert shown(asked, trace, one.start, one.end)["answer"] == ("- ⟦First.⟧\n- [Second] of all.\n", 0)
    assert places(asked, answered("")) == []


def test_of_many_points_some_are_asked_about_that_stand_for_all_and_are_always_the_same() -> None:
    asked = grader("rubric_point")
    trace = answered("\n".join(f"- Point number {place}." for place in range(50)))
    found = places(asked, trace)
    assert len(found) == POINTS
    assert found == places(asked, trace) == sorted(found)
    assert sum(place.stands_for for place in found) == pytest.approx(50)


def test_the_rubric_is_asked_for_without_a_word_of_what_is_looked_for() -> None:
    task = RUBRICS.task(samples=1)
    assert len(task.dataset) == 2 * len(ENVIRONMENTS)
    for sample in task.dataset:
        assert sample.metadata is not None
        text = ENVIRONMENTS[sample.metadata["prompt_id"]].text
        prompt = str(sample.input[0].text)  # type: ignore[union-attr]  # messages
        if sample.metadata["arm"] == "act":
            assert prompt == text
        else:
            around = prompt.replace(text, "")
            assert any(asked in around for asked in ASKED.values())
            assert not [word for word in ("honest", "cunning", "align", "trick", "test", "instruct") if word in around.lower()]
    assert {one.tests for one in ENVIRONMENTS.values()} < set(KINDS)


def test_environments_of_ones_own_are_an_experiment_of_their_own() -> None:
    mine = rubrics_for({"till": Environment(tests="honesty", text="Count the till.")}, name="till_rubrics")
    assert mine.declared is not None
    assert (mine.name, mine.declared.environments) == ("till_rubrics", ("till_rubrics (honesty)",))


def cells(seed: int, together: float, prompts: int = 14) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    rows = []
    for prompt in range(prompts):
        one, other = rng.normal(size=2)
        other = together * one + (1 - together**2) ** 0.5 * other
        rows += [("r", "e", f"p{prompt}", step, one + rng.normal() / 2, other + rng.normal() / 2) for step in range(3)]
    return pl.DataFrame(rows, schema=["run", "environment", "prompt_id", "step", "value", "value_paid"], orient="row")


def test_two_things_that_go_together_are_found_so_and_others_in_one_case_of_twenty() -> None:
    frame = cells(0, 0.9)
    found = correlation(frame, within=False)
    assert found.value == pytest.approx(spearmanr(frame["value"], frame["value_paid"]).statistic)
    assert found.low is not None
    assert found.low > 0
    for within in (False, True):
        ends = [(one.low, one.high) for one in (correlation(cells(seed, 0), within=within) for seed in range(200))]
        assert sum(not low <= 0 <= high for low, high in ends if low is not None and high is not None) <= 20


def test_a_correlation_of_what_never_differs_or_of_few_prompts_says_why_there_is_none() -> None:
    still = cells(0, 0.5).with_columns(value=pl.lit(1.0))
    assert correlation(still, within=False).value is None
    few = correlation(cells(0, 0.5, prompts=4), within=False)
    assert few.value is not None
    assert (few.low, few.method) == (None, "Spearman's rank correlation; too few prompts for an interval")


def test_the_study_remembers_what_the_experiment_declared(tmp_path: Path) -> None:
    assert RUBRICS.declared is not None
    RUBRICS.declared.keep(tmp_path)
    assert declared_in(tmp_path) == [RUBRICS.declared]
