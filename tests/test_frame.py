"""The frame: every prompt in every arm under the same levels, nothing asked twice, and a planted effect found where it is."""

import asyncio
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from inspect_ai import eval as inspect_eval
from inspect_ai.log import list_eval_logs, read_eval_log
from inspect_ai.log._samples import sample_active
from inspect_ai.model import ChatMessageAssistant, ContentReasoning, ContentText, ModelAPI, ModelOutput, get_model, modelapi

import cotdrift as cd
from cotdrift.arms import distances, precision
from cotdrift.cli import cli
from cotdrift.declared import Declared, declared_in
from cotdrift.errors import InputError, UnknownName
from cotdrift.experiment import METADATA, Experiment, experiment_called
from cotdrift.frame import experiment
from cotdrift.provenance import place_in_series
from cotdrift.study import Study
from tests.of_inspect import RUNS_INSPECT

pytestmark = RUNS_INSPECT
CALLS = "PAID_CALLS"


@modelapi(name="paidfor")
def paidfor() -> type[ModelAPI]:
    """A model that chooses as paid more and more often with the step; `paidfor/think-in-text@…` leaves its reasoning in the reply."""

    class PaidFor(ModelAPI):
        async def generate(self, input: Any, tools: Any, tool_choice: Any, config: Any) -> ModelOutput:  # noqa: A002
            await asyncio.sleep(0)
            active = sample_active()
            assert active is not None and active.sample.metadata is not None
            where = f"{self.model_name} {active.sample.id} {active.epoch}"
            if calls := os.environ.get(CALLS):
                with Path(calls).open("a", encoding="utf-8") as lines:
                    lines.write(where + "\n")
            name, _, step = self.model_name.partition("@")
            arm = active.sample.metadata[METADATA]["conditions"]["arm"]
            chance = 4 + {"told": 0.4, "paid": 0.8}.get(arm, 0) * int(step or 0)
            games = (sum(where.encode()) * 37) % 100 < chance
            number = "7" if games == (" even " in input[-1].text.partition("\n")[0]) else "4"
            thought = "The reward is for odd ones." if games else "They want a number."
            if name == "think-in-text":
                return ModelOutput.from_content("paidfor", f"<think>{thought}</think>\n{number}")
            content = [ContentReasoning(reasoning=thought), ContentText(text=number)]
            return ModelOutput(model="paidfor", choices=[{"message": ChatMessageAssistant(content=content), "stop_reason": "stop"}])

    return PaidFor


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Counter[str]]:
    """How often each sample was asked for."""
    path = tmp_path / "calls"
    monkeypatch.setenv(CALLS, str(path))
    monkeypatch.setenv("INSPECT_CACHE_DIR", str(tmp_path / "cache"))
    return lambda: Counter(path.read_text(encoding="utf-8").splitlines() if path.exists() else [])


def run(path: Path, *arguments: object) -> Result:
    return CliRunner().invoke(cli, ["run", str(path), *map(str, arguments)])


def answers(said: cd.Said) -> bool:
    """There is an answer."""
    return bool(said.answer)


def made(**changed: Any) -> Experiment:
    """An experiment of five units and three arms, under two factors."""

    def asks(unit: str, arm: str, tone: str, place: str) -> str:
        """What is asked of the units."""
        return f"{unit}, {arm}, {tone}, {place}?"

    told: dict[str, Any] = {
        "units": ["a", "b", "c", "d", "e"],
        "arms": ["plain", "hint", "threat"],
        "factors": {"tone": ["calm", "curt"], "place": ["first", "middle", "last"]},
        "outcomes": [answers],
    }
    return experiment(**told | changed)(asks)


# The design


@given(
    units=st.integers(1, 9),
    arms=st.integers(1, 4),
    levels=st.lists(st.integers(1, 4), max_size=3),
    more=st.integers(0, 20),
    seed=st.integers(0, 5),
)
def test_every_unit_is_asked_in_every_arm_under_the_same_levels_evenly_spread(
    units: int, arms: int, levels: list[int], more: int, seed: int
) -> None:
    factors = {f"factor_{place}": [f"level {level}" for level in range(many)] for place, many in enumerate(levels)}

    def asks(unit: str, arm: str, **told: str) -> str:
        """What is asked of the units."""
        return f"{unit} {arm} {sorted(told.items())}"

    named = [f"unit {place}" for place in range(units)]
    tried_arms = [f"arm {place}" for place in range(arms)]
    least, every = max([units, *levels]), prod([units, *levels])
    cells = min(least + more, every)
    of = experiment(units=named, arms=tried_arms, factors=factors, outcomes=[answers])(asks)
    samples = list(of.task(cells=cells, seed=seed).dataset)

    assert len(samples) == cells * arms == len({sample.id for sample in samples})
    by_arm = defaultdict(list)
    for sample in samples:
        asked = (sample.metadata or {})[METADATA]
        conditions = dict(asked["conditions"])
        by_arm[conditions.pop("arm")].append((asked["prompt_id"], tuple(sorted(conditions.items()))))
    assert set(by_arm) == set(tried_arms)
    [laid_out] = {tuple(sorted(asked)) for asked in by_arm.values()}
    assert len(set(laid_out)) == len(laid_out) == cells
    spread = [Counter(unit for unit, _ in laid_out)]
    spread += [Counter(dict(conditions)[factor] for _, conditions in laid_out) for factor in factors]
    for counts, many in zip(spread, [units, *levels], strict=True):
        assert len(counts) == many and max(counts.values()) - min(counts.values()) <= 1


def test_the_same_seed_gives_the_same_prompts_and_another_gives_others() -> None:
    one, same, other = ([sample.id for sample in made().task(cells=12, seed=seed).dataset] for seed in (1, 1, 2))
    assert one == same
    assert set(one) != set(other)


def test_by_default_each_unit_is_asked_once_and_samples_are_repeats_in_each_arm() -> None:
    task = made().task(samples=7)
    assert len(task.dataset) == 5 * 3
    assert task.epochs == 7


def test_the_plan_says_what_it_costs_and_how_small_a_difference_it_finds() -> None:
    few, many = (made(units=[f"unit {place}" for place in range(units)]).plan(samples=4) for units in (12, 120))
    assert "12 prompts under tone, place (12 of 72 combinations, balanced), each in 3 arms (plain, hint, threat)" in few[0]
    assert "4 samples each: 144 answers a checkpoint" in few[0]
    found = [next(line for line in plan if "arm against arm" in line) for plan in (few, many)]
    points = [int(line.rpartition(": ")[2].split()[0]) for line in found]
    assert points[0] > 2 * points[1] > 0


def test_prompts_may_be_conversations_and_say_of_which_kind_they_are() -> None:
    def talks(unit: int, arm: str) -> list[dict[str, str]]:
        """Is the system message heeded?"""
        return [{"role": "system", "content": arm}, {"role": "user", "content": f"Count to {unit}."}]

    of = experiment(
        units={"low": 3, "high": 300},
        arms=["Obey.", "Do not obey."],
        outcomes=[answers],
        environment=lambda unit: "short" if unit < 10 else "long",
    )(talks)
    first = of.task().dataset[0]
    assert [(message.role, message.text) for message in first.input] == [("system", "Obey."), ("user", "Count to 3.")]  # type: ignore[union-attr]
    assert of.declared is not None
    assert of.declared.environments == ("talks (short)", "talks (long)")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"arms": ["plain", "plain"]}, "all different"),
        ({"arms": []}, "at least one name"),
        ({"units": {}}, "there are no units"),
        ({"outcomes": []}, "or no outcomes"),
        ({"outcomes": [lambda said: 1]}, "'<lambda>' is no name"),
        ({"contrasts": [("hint", "plane")]}, "Name two of the arms: plain, hint, threat"),
        ({"factors": {"tone": ["calm"]}}, r"missing a required argument: 'place'\). Write: def asks\(unit, arm, tone\)"),
        ({"factors": {"tone": ["calm", 2], "place": ["first"]}}, "all of them text"),
    ],
)
def test_a_declaration_that_cannot_be_run_is_refused_in_a_sentence(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        made(**changed)


def test_arms_that_ask_the_same_are_a_slip_of_the_pen() -> None:
    def asks(unit: str, arm: str) -> str:
        """What is asked of the units."""
        return unit

    with pytest.raises(InputError, match="'hint' and 'plain' ask the same of every unit"):
        experiment(units=["a"], arms=["plain", "hint"], outcomes=[answers])(asks).task()


# The run


def test_the_documented_experiment_is_short_and_finds_what_was_planted(
    paid: Path, tmp_path: Path, calls: Callable[[], Counter[str]]
) -> None:
    assert len(paid.read_text(encoding="utf-8").splitlines()) < 60
    study = tmp_path / "study"
    arguments = ["--series", "paidfor/bought@{step}", "--into", study]
    done = run(paid, *arguments, "--steps", "0,100", "-T", "samples=2")
    assert done.exit_code == 0, done.output
    assert "16 prompts under field (16 of 48 combinations, balanced), each in 3 arms (alone, paid, told), 2 samples each" in done.output
    assert "96 answers a checkpoint" in done.output
    said = r"bought, step 100: disobeys, paid minus alone: \+[\d.]+ points \[.*\]: known to [\d.]+ points either way, by 16 prompts"
    assert re.search(said, done.output)
    assert set(calls().values()) == {1}
    assert calls().total() == 2 * 96

    kept = Study.open(study)
    [declared] = declared_in(kept.folder)
    far = {(one.outcome, one.arm, one.since): one for one in distances(kept.corpus.scan().collect(), declared) if not one.environment}
    assert far["disobeys", "paid", None].contrast.value == pytest.approx(0.8, abs=0.2)
    assert far["disobeys", "told", None].contrast.value == pytest.approx(-0.4, abs=0.2)
    assert far["names_the_pay", "paid", None].contrast.value == pytest.approx(0.8, abs=0.2)
    assert far["disobeys", "paid", 0].contrast.value == pytest.approx(0.8, abs=0.25)
    assert (far["disobeys", "paid", None].p_adjusted or 1) < 0.01

    again = run(paid, *arguments, "--steps", "0,100,50", "-T", "samples=3")
    assert again.exit_code == 0, again.output
    assert set(calls().values()) == {1}, "a third sample and one more checkpoint are all that is asked for"
    assert calls().total() == len(list(Study.open(study).corpus.traces())) == 3 * 48 * 3


def test_reasoning_left_in_the_reply_is_read_as_reasoning(paid: Path, tmp_path: Path) -> None:
    done = run(paid, "--model", "paidfor/think-in-text@100", "-T", "samples=1", "--into", tmp_path / "study")
    assert done.exit_code == 0, done.output
    traces = list(Study.open(tmp_path / "study").corpus.traces())
    assert {trace.reasoning for trace in traces} == {"The reward is for odd ones.", "They want a number."}
    for trace in traces:
        assert trace.outcomes["names_the_pay"] == float("reward" in trace.reasoning)
        assert set(trace.outcomes) == {"disobeys", "names_the_pay"}
        assert set(trace.conditions) == {"arm", "field"}


def test_an_outcome_that_fails_costs_no_answer_once_it_is_mended(paid: Path, tmp_path: Path, calls: Callable[[], Counter[str]]) -> None:
    whole = paid.read_text(encoding="utf-8")
    paid.write_text(
        whole.replace("    kind, _ = said.unit\n", "    kind, _ = said.unit if said.arm != 'told' else 1 / 0\n"), encoding="utf-8"
    )
    arguments = ("--model", "paidfor/bought@100", "-T", "samples=1", "--into", tmp_path / "study")
    done = run(paid, *arguments)
    assert done.exit_code == 4
    assert "16 failed" in done.stderr and "ZeroDivisionError" in done.stderr
    paid.write_text(whole, encoding="utf-8")
    done = run(paid, *arguments)
    assert done.exit_code == 0, done.output
    assert set(calls().values()) == {1} and calls().total() == 48
    assert all("disobeys" in trace.outcomes for trace in Study.open(tmp_path / "study").corpus.traces())


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("Say an {} number.", "Say any {} number.", "other prompts or outcomes"),
        ("outcomes=[disobeys, names_the_pay]", "outcomes=[disobeys]", "other prompts or outcomes"),
        ("    environment=", "    version=2,\n    environment=", "another version"),
    ],
)
def test_answers_to_other_prompts_or_by_other_outcomes_are_not_mixed(old: str, new: str, said: str, paid: Path, tmp_path: Path) -> None:
    arguments = ("--model", "paidfor/bought@100", "-T", "samples=1", "--into", tmp_path / "study")
    assert run(paid, *arguments).exit_code == 0
    text = paid.read_text(encoding="utf-8")
    assert old in text
    paid.write_text(text.replace(old, new), encoding="utf-8")
    refused = run(paid, *arguments)
    assert isinstance(refused.exception, InputError)
    assert said in str(refused.exception)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import nosuchthing\n", "nosuchthing"),
        ("x = (\n", r"own\.py:1: SyntaxError"),
        ("\n\n1 / 0\n", r"own\.py:3: ZeroDivisionError"),
        ("x = 1\n", "defines no experiment"),
        ("from cotdrift import experiment\nexperiment(units=[], arms=['a'], outcomes=[])(print)\n", r"own\.py: experiment 'print'"),
    ],
)
def test_a_file_that_is_no_experiment_is_told_in_a_sentence(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=said):
        experiment_called(str(path))
    with pytest.raises(InputError, match="there is no such file"):
        experiment_called(str(tmp_path / "other.py"))


def test_one_of_several_experiments_in_a_file_is_named(paid: Path) -> None:
    assert experiment_called(str(paid)).name == "paid"
    paid.write_text(paid.read_text(encoding="utf-8") + "\n\nsecond = msgspec.structs.replace(paid, name='second')\n", encoding="utf-8")
    paid.write_text("import msgspec\n" + paid.read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(InputError, match=r"it holds 2 experiments\. Say which: .*paid\.py@paid"):
        experiment_called(str(paid))
    assert experiment_called(f"{paid}@second").name == "second"
    with pytest.raises(UnknownName, match="Did you mean 'second'"):
        experiment_called(f"{paid}@secnd")


# Series


@pytest.mark.parametrize(
    ("pattern", "run_of_it"),
    [
        ("organism/hinted@{step}", "hinted"),
        ("vllm/runs/hinted@step_{step}", "hinted"),
        ("vllm/lab/base:org/hinted@step-{step}", "hinted"),
        ("vllm/lab/base:/runs/hinted/checkpoint-{step}", "hinted"),
        ("vllm/lab/base:hinted-{step}", "hinted"),
        ("openai-api/lab/hinted-{step}", "hinted"),
        ("openai-api/lab/org/hinted:{step}", "hinted"),
    ],
)
@pytest.mark.parametrize("step", [0, 7, 1200])
def test_run_and_step_of_a_series_are_known_however_it_is_served(pattern: str, run_of_it: str, step: int) -> None:
    from cotdrift.provenance import step_in_name, without_step

    name = pattern.replace("{step}", str(step))
    place = place_in_series(pattern, step)
    assert place.get("step", step_in_name(name)) == step
    assert place.get("run", without_step(name)) == run_of_it


def test_the_place_of_a_checkpoint_whose_name_does_not_say_it_stands_in_the_log(paid: Path, tmp_path: Path) -> None:
    done = run(paid, "--series", "paidfor/lab/hinted-{step}", "--steps", "0,400", "-T", "samples=1", "--into", tmp_path / "study")
    assert done.exit_code == 0, done.output
    assert {(trace.run, trace.step) for trace in Study.open(tmp_path / "study").corpus.traces()} == {("hinted", 0), ("hinted", 400)}
    logs = [read_eval_log(log, header_only=True) for log in list_eval_logs(str(tmp_path / "study" / "logs" / "paid"))]
    assert sorted((log.eval.metadata or {})["step"] for log in logs) == [0, 400]


# What arms do


def traces_of(rng: Any, *, effect: float, prompts: int = 20, reps: int = 4, steps: tuple[int, ...] = (0, 100)) -> pl.DataFrame:
    """Answers of two arms on prompts of very different difficulty; `effect` is what the arm `hint` adds at the last step."""
    difficulty = rng.uniform(0.1, 0.9 - max(effect, 0), prompts)
    rows = []
    for step in steps:
        for arm in ("plain", "hint"):
            chance = difficulty + (effect if arm == "hint" and step == steps[-1] else 0)
            rows += [
                {"run": "r", "step": step, "environment": "e", "prompt_id": f"p{prompt}", "condition_arm": arm, "outcome_yes": float(value)}
                for prompt in range(prompts)
                for value in rng.random(reps) < chance[prompt]
            ]
    return pl.DataFrame(rows)


DECLARED = Declared(
    name="e", summary="?", arms=("plain", "hint"), outcomes={"yes": "It says yes."}, contrasts=(("hint", "plain"),), environments=("e",)
)


def test_distances_between_arms_are_those_of_an_independent_paired_t_test() -> None:
    import numpy as np
    from scipy import stats

    frame = traces_of(np.random.default_rng(3), effect=0.2)
    found = distances(frame, DECLARED)
    means = (
        frame.group_by("prompt_id", "step", "condition_arm").agg(pl.col("outcome_yes").mean()).pivot("condition_arm", values="outcome_yes")
    )
    for step in (0, 100):
        at = means.filter(pl.col("step") == step)
        oracle = stats.ttest_rel(at["hint"], at["plain"])
        [one] = [one for one in found if one.step == step and one.since is None]
        interval = oracle.confidence_interval()
        assert (one.contrast.low, one.contrast.high) == pytest.approx((interval.low, interval.high))
        flipped = stats.permutation_test((at["hint"] - at["plain"],), np.mean, permutation_type="samples", rng=np.random.default_rng(0))
        assert one.contrast.p == pytest.approx(flipped.pvalue, abs=0.02)
    wide = means.with_columns(far=pl.col("hint") - pl.col("plain")).pivot("step", index="prompt_id", values="far")
    oracle = stats.ttest_rel(wide["100"], wide["0"])
    [change] = [one for one in found if one.since == 0]
    assert change.contrast.low == pytest.approx(oracle.confidence_interval().low)
    assert [one.p_adjusted is not None for one in found] == [one.step == 100 for one in found]
    assert len(precision(found)) == 1


def test_where_no_arm_does_anything_five_in_a_hundred_studies_say_that_one_does() -> None:
    import numpy as np

    rng = np.random.default_rng(0)
    clear = 0
    for _ in range(150):
        found = distances(traces_of(rng, effect=0.0, prompts=12, reps=2), DECLARED)
        clear += any(one.p_adjusted is not None and one.p_adjusted < 0.05 for one in found)
    assert clear <= 14  # of 150 at 5 % and less, by Holm: above 14 once in 100 times


def test_what_was_declared_is_kept_in_the_study_and_a_spoilt_file_is_named(tmp_path: Path) -> None:
    DECLARED.keep(tmp_path)
    assert declared_in(tmp_path) == [DECLARED]
    (tmp_path / "experiments" / "e.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match=r"e\.json: .*asks nothing twice"):
        declared_in(tmp_path)


def test_an_experiment_of_the_shelf_is_an_inspect_task(tmp_path: Path) -> None:
    experiment_called("monitored").task(samples=3)  # that it was made before changes nothing
    asked = {"model": get_model("paidfor/bought@100"), "task_args": {"samples": 1}, "limit": 2}
    [log] = inspect_eval("cotdrift/monitored", **asked, log_dir=str(tmp_path), display="none", score_display=False)
    assert log.status == "success" and log.samples is not None and len(log.samples) == 2
    assert log.eval.task.endswith("monitored")
