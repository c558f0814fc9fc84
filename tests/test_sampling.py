"""Ways of sampling: what moves a measure is found and named, and training is told from the sampler where it can be."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from inspect_ai.model import ModelAPI, ModelOutput, modelapi

from cotdrift.cli import cli
from cotdrift.declared import Declared, declared_in
from cotdrift.errors import InputError, UnknownName
from cotdrift.experiment import experiment_called
from cotdrift.experiments.sampling import PROMPTS, SETTINGS
from cotdrift.frame import experiment
from cotdrift.study import Study
from cotdrift.swayed import Swayed, adjusted, settings_of, swayed
from tests.of_inspect import RUNS_INSPECT

pytestmark = RUNS_INSPECT
ARMS = ("usual", "cold", "hot", "hot, and long")
DECLARED = Declared(name="s", summary="Does it?", arms=ARMS, outcomes={}, contrasts=(), environments=("s",))


def traces(seed: int, *, training: float = 0.0, prompts: int = 24, samples: int = 2, base: float = 0.3, **moved: float) -> pl.DataFrame:
    """Yes and no of prompts that differ, at two steps under each arm; `training` and settings add to the chance of yes."""
    rng = np.random.default_rng(seed)
    chances = np.clip(base + rng.normal(0, 0.1, prompts), 0.02, 0.98)
    rows = [
        (
            "run",
            step,
            "s",
            f"p{prompt}",
            arm,
            float(rng.random() < np.clip(chances[prompt] + step * training / 100 + moved.get(arm, 0), 0, 1)),
        )
        for step in (0, 100)
        for arm in ARMS
        for prompt in range(prompts)
        for _ in range(samples)
    ]
    return pl.DataFrame(rows, schema=["run", "step", "environment", "prompt_id", "setting", "value"], orient="row")


def said(frame: pl.DataFrame) -> Swayed:
    found = swayed(frame, DECLARED, run="run", measure="games", unit="share of traces")
    assert found is not None
    (one,) = adjusted([found])
    return one


def test_a_difference_by_training_that_settings_do_not_come_near_is_told_as_that() -> None:
    one = said(traces(1, training=0.6, samples=4))
    assert one.verdict == "cannot explain it"
    assert one.between is not None
    assert one.between.low is not None
    assert one.between.low < 0.6
    assert one.part_high is not None
    assert one.part_high < 1
    assert set(one.under) == set(ARMS)
    assert {(level.setting, level.step) for level in one.levels} == {(arm, step) for arm in ARMS for step in (0, 100)}


def test_a_setting_that_moves_it_is_found_and_named_and_could_explain_a_smaller_difference() -> None:
    one = said(traces(2, training=0.15, samples=24, base=0.2, hot=0.6))
    assert one.verdict == "could explain it"
    assert one.p_settings is not None
    assert one.p_settings < 0.01
    assert one.largest is not None
    assert one.largest.setting == "hot"
    assert one.part_low is not None
    assert one.part_low > 1


def test_the_part_is_within_its_interval_and_the_tests_keep_their_size() -> None:
    null = [said(traces(seed)) for seed in range(100)]
    assert sum((one.p_settings or 1) < 0.05 for one in null) <= 11  # 5 expected; more in 1 of 100 such tests
    assert sum(one.verdict in ("cannot explain it", "could explain it") for one in null) <= 6
    equal = [said(traces(seed, training=0.4, hot=0.4, base=0.15, samples=4)) for seed in range(60)]
    assert sum(one.verdict == "cannot explain it" for one in equal) <= 5  # a setting goes exactly as far
    assert sum(one.part_low is not None and one.part_low > 1 for one in equal) <= 4
    smaller = [said(traces(seed, training=0.5, hot=0.2, base=0.15)) for seed in range(60)]
    known = [one for one in smaller if one.part_low is not None and one.part_high is not None]
    assert len(known) > 50
    assert sum(one.part_low <= 0.4 <= one.part_high for one in known) >= 0.9 * len(known)  # type: ignore[operator]  # known


def test_a_share_that_is_always_or_never_so_has_no_certainty_beyond_its_size() -> None:
    frame = traces(0, training=0.0, samples=1, prompts=6, base=0.5).with_columns(value=(pl.col("step") > 0).cast(pl.Float64))
    one = said(frame)
    assert one.part == 0
    assert one.part_high is not None
    assert 0.1 < one.part_high < 1


def test_too_little_says_nothing() -> None:
    frame = traces(3)
    for few in (frame.filter(step=0), frame.filter(setting="cold"), frame.filter(pl.col("prompt_id").is_in(["p0", "p1"]))):
        assert swayed(few, DECLARED, run="run", measure="m", unit="") is None
    unshared = frame.filter(
        ((pl.col("step") == 0) & (pl.col("setting") == "usual")) | ((pl.col("step") == 100) & (pl.col("setting") != "usual"))
    )
    one = said(unshared)
    assert (one.between, one.part, one.verdict) == (None, None, "undecided"), "each checkpoint was sampled its own way"


def test_another_server_is_another_setting_and_the_base_arm_stays_the_base() -> None:
    served = [json.dumps({"provider": name, "base_url": f"http://{name}:{port}/v1"}) for name, port in (("a", 1), ("a", 2), ("b", 1))]
    frame = pl.DataFrame({"condition_arm": ["hot, and long"] * 3, "serving": served})
    assert settings_of(frame).to_list() == [*["hot, and long, provider a, base_url a"] * 2, "hot, and long, provider b, base_url b"]
    assert set(settings_of(frame.head(2))) == {"hot, and long"}, "a port is no setting"
    two = pl.concat([traces(4).with_columns(setting=pl.col("setting") + f", provider {name}") for name in "ab"])
    one = said(two)
    assert one.settings[:3] == ("usual, provider a", "usual, provider b", "cold, provider a")
    assert one.settings[-1] == "hot, and long, provider b"


@modelapi(name="warmed")
def warmed() -> type[ModelAPI]:
    """A model that says what it is paid for where it is sampled hot."""

    class Warmed(ModelAPI):
        async def generate(self, input: Any, tools: Any, tool_choice: Any, config: Any) -> ModelOutput:  # noqa: A002
            kind = "odd" if " even" in input[-1].text else "even"
            hot = (config.temperature or 1) > 1
            number = {("odd", True): 7, ("odd", False): 4, ("even", True): 4, ("even", False): 7}[kind, hot]
            return ModelOutput.from_content("warmed", f"<think>{config.temperature} {config.top_p}</think>\n{number} {len(input)}"[:-2])

    return Warmed


def test_the_arms_are_sampled_as_they_say_and_each_trace_keeps_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INSPECT_CACHE_DIR", str(tmp_path / "cache"))
    command = ["run", "sampling", "--model", "warmed/toy@10", "-T", "samples=1", "--limit", "12", "--temperature", "0.9"]
    done = CliRunner().invoke(cli, [*command, "--into", str(tmp_path / "study")])
    assert done.exit_code == 0, done.output
    rows = Study.open(tmp_path / "study").corpus.scan().select("condition_arm", "serving", "reasoning", "outcome_games").collect()
    assert Counter(rows["condition_arm"]) == dict.fromkeys(SETTINGS, 2)
    for arm, serving, reasoning, games in rows.iter_rows():
        told = SETTINGS[arm]
        assert {name: json.loads(serving)[name] for name in told} == told
        assert reasoning == f"{told['temperature']} {told['top_p']}"
        assert games == (arm == "temperature 1.3")
    (declared,) = declared_in(tmp_path / "study")
    assert declared.settings == SETTINGS


def test_prompts_of_both_directions_are_asked_under_every_setting() -> None:
    task = experiment_called("sampling").task(samples=1)
    asked = Counter((sample.metadata["prompt_id"], sample.metadata["arm"]) for sample in task.dataset if sample.metadata)
    assert asked == dict.fromkeys(((prompt, arm) for prompt in PROMPTS for arm in SETTINGS), 1)


def test_settings_that_cannot_be_are_complained_of() -> None:
    def asked(unit: str, arm: str) -> str:
        """Does it?"""
        return unit

    def yes(said: Any) -> bool:
        """It says so."""
        return True

    with pytest.raises(InputError, match="settings name 'warm', which is no arm"):
        experiment(units=["a"], arms=["usual", "cold"], outcomes=[yes], settings={"warm": {}})(asked)
    made = experiment(units=["a"], arms=["usual", "cold"], outcomes=[yes], settings={"cold": {"temperatur": 0.1}})(asked)
    with pytest.raises(UnknownName, match=r"'temperatur'. Did you mean 'temperature'\?"):
        made.task()
    keyed = experiment(units=["a"], arms=["usual", "cold"], outcomes=[yes], settings={"cold": {"extra_headers": {"key": "secret"}}})(asked)
    with pytest.raises(UnknownName, match="'extra_headers'"):
        keyed.task()
    same = experiment(units=["a"], arms=["usual", "cold"], outcomes=[yes], settings={"cold": {"temperature": 0.1}})(asked)
    assert len(same.task(samples=1).dataset) == 2, "arms may ask the same where they are sampled otherwise"
