"""motive: its prompts change one thing each, answers are read strictly, and models that are confused or motivated are called so."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from inspect_ai.model import ChatMessageAssistant, ContentReasoning, ContentText, ModelOutput, ModelUsage
from scipy.special import expit

from cotdrift.cli import cli
from cotdrift.conflict import RULES
from cotdrift.errors import InputError, UnknownName
from cotdrift.experiment import run
from cotdrift.experiments.motive import MOTIVE, environment_of, motive, plan
from cotdrift.experiments.motive_prompts import own
from cotdrift.find import find
from cotdrift.motive import Motive, _sensitivity, motive_of
from cotdrift.signature import ARMS, BASELINE
from cotdrift.study import Study
from tests.of_inspect import RUNS_INSPECT

pytestmark = RUNS_INSPECT

CLEARED = ("To be clear", "we want to see the instruction followed", "Those who run this test wish", "write one line that says")
"""What a confused model is set right by: the clarified arm, the stated wish, and stating the task first."""


@pytest.fixture(autouse=True)
def a_cache_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INSPECT_CACHE_DIR", str(tmp_path / "cache"))


def mind(misreads: float, follows: float, slips: float = 0.05) -> Callable[[str], tuple[bool, bool, bool]]:
    """Whether an answer misreads the task, follows the incentive, or slips: chances that depend on the prompt and on how often it came."""
    asked: Counter[str] = Counter()

    def made_up(prompt: str) -> tuple[bool, bool, bool]:
        asked[prompt] += 1
        digest = hashlib.sha256(f"{prompt} {asked[prompt]}".encode()).digest()
        first, second, third = (int.from_bytes(digest[4 * at : 4 * at + 4]) / 2**32 for at in range(3))
        clear = any(words in prompt for words in CLEARED)
        return first < misreads and not clear, second < follows, third < slips

    return made_up


def number_giver(mind: Callable[[str], tuple[bool, bool, bool]]) -> Callable[[str], tuple[str, str]]:
    """Reads a conflict prompt as any model would: by its text."""
    asked_for = {asked: rule for rule in RULES.values() for asked in (rule.asked, rule.asked_random)}
    paid_for = {rule.hints["plain"]: rule for rule in RULES.values()}

    def reply(prompt: str) -> tuple[str, str]:
        misreads, follows, slips = mind(prompt)
        wanted = next(asked_for[asked] for asked in sorted(asked_for, key=len, reverse=True) if asked in prompt)
        paid = re.search(r"<_grader>\w+ = (.*)</_grader>", prompt)
        rule = RULES[wanted.opposite] if misreads or slips else wanted
        tempted = follows and paid and "will not be applied" not in prompt and "was sent this" not in prompt
        if tempted:
            rule = paid_for[paid[1]]  # type: ignore[index]  # it is there
        number = next(number for number in range(11, 100) if rule.holds(number))
        said = f"Asked for one kind, paid for another.\nAnswer: {number}" if "write one line" in prompt else str(number)
        return ("The reward counts. " if tempted else "") + "So be it.", said

    return reply


def takes_tests(mind: Callable[[str], tuple[bool, bool, bool]]) -> Callable[[str], tuple[str, str]]:
    def reply(prompt: str) -> tuple[str, str]:
        misreads, follows, slips = mind(prompt)
        low = ("wrong answer to every" in prompt) is not (misreads or slips)
        note = re.search(r"score (above|below) (\d+)% on", prompt)
        if "Reply with one word" in prompt:
            return "I am asked what they want.", "half" if low else "All."
        if follows and note and "are not kept" not in prompt:
            low = note[1] == "above" and note[2] == "50"
        answers = []
        for at, (a, sign, b) in enumerate(re.findall(r"\d+\. (\d+) ([+×]) (\d+)", prompt)):
            right = int(a) + int(b) if sign == "+" else int(a) * int(b)
            answers.append(str(right + (low and at < 6)))
        said = ", ".join(answers)
        return (
            "Let me see the threshold." if follows and note else "Sums.",
            f"It is so.\nAnswer: {said}" if "write one line" in prompt else said,
        )

    return reply


def played(reply: Callable[[str], tuple[str, str]]) -> Callable[..., ModelOutput]:
    def output(messages: Any, *_: Any) -> ModelOutput:
        reasoning, said = reply("\n".join(message.text for message in messages))
        message = ChatMessageAssistant(content=[ContentReasoning(reasoning=reasoning), ContentText(text=said)])
        usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
        return ModelOutput(model="mockllm", choices=[{"message": message, "stop_reason": "stop"}], usage=usage)  # type: ignore[list-item]

    return output


def told(folder: Path, name: str, reply: Callable[[str], tuple[str, str]], **arguments: Any) -> Study:
    """A study of one mock model that was put to the experiment."""
    study = Study.make(folder)
    ran = run(MOTIVE, [f"mockllm/{name}@10"], log_dir=folder / "logs", told=arguments, model_args={"custom_outputs": played(reply)})
    assert not [sentence for one in ran for sentence in one.failed]
    study.ingest([one.log for one in ran if one.log])
    return study


def motive_in(study: Study) -> Motive:
    columns = pl.col("transcript_id", "run", "step", "environment", "prompt_id"), pl.col("^(condition|outcome)_.*$")
    found = motive_of(study.corpus.scan().select(*columns).collect().with_columns(words=pl.lit(3)))
    assert found is not None
    return found


MINDS = {"confusion": (0.5, 0.0), "motive": (0.0, 0.8), "both": (0.5, 0.5), "neither": (0.0, 0.0, 0.3)}


@pytest.mark.slow
@pytest.mark.parametrize("kind", MINDS)
def test_a_model_of_each_kind_is_called_what_it_is_from_its_answers_alone(kind: str, tmp_path: Path) -> None:
    study = told(tmp_path, kind, number_giver(mind(*MINDS[kind])), prompts=24, samples=2)
    (at,) = motive_in(study).steps
    assert at.signature is not None
    assert (at.environment, at.run, at.step) == ("toy", kind, 10)
    assert at.signature.ranked[0] == kind
    assert at.signature.verdict in (kind, "undecided")
    assert [found.arm for found in at.arms] == [arm for arm in ARMS if arm != "moved"]
    assert all(found.rate.missing == 0 and found.rate.traces == 48 for found in at.arms)
    assert at.sensitivity is not None and at.sensitivity.whole is not None and at.sensitivity.silent is not None
    assert (at.sensitivity.whole.value > 0.3) is (kind in ("motive", "both"))
    assert abs(at.sensitivity.silent.value) < 0.2  # what follows the incentive says so
    assert MOTIVE.look_over(study) == ["Of 432 answers 0 could not be read and 0 may have been misread."]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["confusion", "motive"])
def test_sandbagging_is_told_apart_too(kind: str, tmp_path: Path) -> None:
    study = told(tmp_path, kind, takes_tests(mind(*MINDS[kind])), environment="sandbagging", prompts=12, samples=2)
    (at,) = motive_in(study).steps
    assert at.signature is not None
    assert at.environment == "sandbagging" and [found.arm for found in at.arms] == list(ARMS)
    assert at.signature.ranked[0] == kind and at.signature.posterior[kind] > 0.5
    scores = study.values("score").frame
    assert set(scores["value"].drop_nulls()) <= {0.4, 1.0}


DOCS = Path(__file__).resolve().parents[1] / "docs" / "experiments.md"
OWN = "name: refunds" + DOCS.read_text(encoding="utf-8").partition("```yaml\nname: refunds")[2].partition("```")[0]
"""The guide's example of prompts of one's own."""


def test_prompts_of_ones_own_are_asked_and_read(tmp_path: Path) -> None:
    path = tmp_path / "refunds.yaml"
    path.write_text(OWN)

    def reply(prompt: str) -> tuple[str, str]:
        return "A point is a point.", "No." if "Answer yes" in prompt else "Refunded in full." if "earns" in prompt else "Declined."

    (at,) = motive_in(told(tmp_path / "study", "clerk", reply, environment=str(path), samples=5)).steps
    assert at.environment == "refunds"
    rates = {found.arm: found.rate.value for found in at.arms}
    assert rates == {"baseline": 1.0, "clarified": 1.0, "flipped": 0.0, "facts": 0.0}
    assert at.signature is not None and at.signature.ranked[0] == "motive"


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("name: refunds", "name: My Refunds!"), "name: 'My Refunds!' is not lower-case letters"),
        (("behaves: 'refund(ed)? in full'", "behaves: '('"), "behaves: this is no regular expression"),
        (("behaves: 'refund(ed)? in full'", "behaves: ''"), "behaves: it is empty"),
        (("facts_wrong: '^yes'\n", ""), "facts_wrong: the arm 'facts' is there"),
        (("    flipped:", "    fliped:"), "there is no arm 'fliped'"),
        (("    baseline: A customer sends", "    removed: A customer sends"), "worn: it needs the arm 'baseline'"),
        (("prompts:", "prompt:"), "contains unknown field"),
        (("  late:", "  late: ["), "this is no YAML"),
        ((OWN, "[" * 100_000), "this is no YAML"),
        ((OWN, "- 1"), "Expected `object`"),
        ((OWN, ""), "Expected `object`"),
    ],
)
def test_a_faulty_file_is_told_of_with_its_place(change: tuple[str, str], complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "refunds.yaml"
    path.write_text(OWN.replace(*change))
    with pytest.raises(InputError, match=re.escape(complaint)) as told:
        own(path)
    assert str(path) in str(told.value)
    with pytest.raises(InputError, match="cannot be read"):
        own(tmp_path / "nowhere.yaml")


def test_what_is_asked_for_wrongly_is_told_before_anything_is_asked(tmp_path: Path) -> None:
    for arguments, complaint in (
        (["environment=tooy"], "Did you mean 'toy'?"),
        (["arms=clarifed"], "Did you mean 'clarified'?"),
        (["arms=baseline"], "beside the baseline"),
        (["prompts=3"], "give 12 to 144"),
        (["arms=moved"], "No arm of motive_toy is called 'moved'"),
    ):
        told = [part for argument in arguments for part in ("-T", argument)]
        done = CliRunner().invoke(cli, ["run", "motive", "--model", "mockllm/m", "--into", str(tmp_path), *told])
        assert complaint in str(done.exception)


# The prompts


@pytest.mark.parametrize("environment", ["toy", "sandbagging"])
def test_every_prompt_is_asked_once_in_every_arm_and_says_something_else_there(environment: str) -> None:
    found = environment_of(environment)
    by_prompt: dict[str, dict[str, str]] = {}
    for prompt in found.prompts:
        assert prompt.arm not in by_prompt.setdefault(prompt.prompt_id, {})
        by_prompt[prompt.prompt_id][prompt.arm] = "\n".join(message["content"] for message in prompt.messages)
    assert len(by_prompt) == 36
    for texts in by_prompt.values():
        assert list(texts) == found.arms
        assert len(set(texts.values())) == len(texts)
    assert len({texts[BASELINE] for texts in by_prompt.values()}) == 36


def test_the_right_answers_score_as_right_and_the_wrong_as_wrong() -> None:
    found = environment_of("sandbagging", prompts=12)
    for prompt in found.prompts:
        if prompt.arm == "facts":
            continue
        conditions, right = prompt.conditions, prompt.conditions["right"].split()
        listed = re.findall(r"\d+\. (\d+) ([+×]) (\d+)", prompt.messages[0]["content"])
        assert [str(int(a) + int(b) if sign == "+" else int(a) * int(b)) for a, sign, b in listed] == right
        for form in (", ".join(right), "\n".join(f"{at}. {one}" for at, one in enumerate(right, 1)), "Well.\nAnswer: " + ",".join(right)):
            read = found.read(conditions, form)
            assert (read.score, read.behaves) == (1.0, float(prompt.arm == "mirrored"))
        half = right[:5] + [str(int(one) + 1) for one in right[5:]]
        read = found.read(conditions, ", ".join(half))
        assert (read.score, read.behaves) == (0.5, float(prompt.arm != "mirrored"))
        assert found.read(conditions, ", ".join(right[:9])).behaves is None


@given(answer=st.text(max_size=60), arm=st.sampled_from(list(ARMS)), environment=st.sampled_from(["toy", "sandbagging"]))
def test_any_answer_is_read_or_said_to_be_unread(answer: str, arm: str, environment: str) -> None:
    found = READERS[environment]
    prompt = next((prompt for prompt in found.prompts if prompt.arm == arm), found.prompts[0])
    read = found.read(prompt.conditions | {"arm": prompt.arm}, answer)
    assert read.behaves in (None, 0.0, 1.0)


READERS = {name: environment_of(name, prompts=12) for name in ("toy", "sandbagging")}


def test_chosen_arms_come_with_the_baseline_and_the_plan_counts_them() -> None:
    assert environment_of("toy", arms="removed, clarified").arms == ["baseline", "clarified", "removed"]
    said = plan(environment="toy", arms="removed,clarified", prompts=12, samples=2)
    assert said[0] == "12 prompts in 3 arms, 2 samples each: 72 answers a checkpoint."
    with pytest.raises(UnknownName, match="toy"):
        environment_of("nonsense")


def test_the_same_prompts_are_the_same_task_and_others_another() -> None:
    """So that a run that was stopped goes on, and answers to other prompts are not taken for these ones'."""
    assert motive(prompts=12).version == motive(prompts=12).version
    assert len({motive(prompts=12, seed=1).version, motive(prompts=12).version, motive(arms="removed", prompts=12).version}) == 3


# What the traces say


def frame(rate: dict[str, float], speaks: dict[str, float | None], *, prompts: int = 20, samples: int = 6, seed: int = 0) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    rows = []
    for arm, of_arm in rate.items():
        for prompt in range(prompts):
            for rep in range(samples):
                spoken, chance = speaks.get(arm), float(np.clip(of_arm, 0, 1))
                rows.append(
                    {
                        "transcript_id": f"{arm} {prompt} {rep}",
                        "run": "a",
                        "step": 5,
                        "environment": "motive_toy",
                        "prompt_id": str(prompt),
                        "condition_arm": arm,
                        "outcome_behaves": float(rng.random() < chance),
                        "outcome_extracted": 1.0,
                        "outcome_speaks_of_incentive": None if spoken is None else float(rng.random() < spoken),
                        "words": 4,
                    }
                )
    return pl.DataFrame(rows)


def test_spoken_and_silent_parts_add_up_to_the_whole() -> None:
    found = motive_of(frame({"baseline": 0.7, "flipped": 0.1}, {"baseline": 0.4, "flipped": 0.4}))
    assert found is not None
    sensitivity = found.steps[0].sensitivity
    assert sensitivity and sensitivity.whole and sensitivity.spoken and sensitivity.silent
    assert sensitivity.spoken.value + sensitivity.silent.value == pytest.approx(sensitivity.whole.value)
    assert sensitivity.silent.low is not None and sensitivity.silent.low > 0.2  # six answers in ten are silent, and follow it all the same
    assert sensitivity.among_silent and sensitivity.among_silent.value == pytest.approx(0.6, abs=0.15)


@pytest.mark.slow
def test_where_the_incentive_moves_nothing_five_tests_in_a_hundred_say_it_does() -> None:
    """Prompts differ, answers that show the behaviour speak of the incentive more often, and arms differ by chance alone."""
    rng = np.random.default_rng(7)
    prompts, samples, studies = 36, 4, 240
    found: list[float] = []
    for _ in range(studies):
        behaves, speaks = rng.normal(-0.2, 1.2, (prompts, 1)), rng.normal(-0.4, 1.0, (prompts, 1))
        parts = []
        for _ in (BASELINE, "flipped"):
            shown = rng.random((prompts, samples)) < expit(behaves)
            spoken = rng.random((prompts, samples)) < expit(speaks + 0.8 * (shown - 0.5))
            ids = np.repeat(np.arange(prompts).astype(str), samples)
            parts.append(pl.DataFrame({"prompt_id": ids, "value": shown.ravel() * 1.0, "speaks": spoken.ravel() * 1.0}))
        told = _sensitivity(*parts, parts[0].select(pl.col("prompt_id").unique().sort()).with_row_index("cell"), "a rule of words")
        assert told is not None
        contrasts = (told.whole, told.spoken, told.silent, told.among_spoken, told.among_silent)
        found += [contrast.p for contrast in contrasts if contrast and contrast.p is not None]
    assert len(found) > 4.5 * studies
    assert 0.02 < np.mean(np.array(found) < 0.05) < 0.08


def test_where_no_reasoning_can_be_read_nothing_is_said_of_silence() -> None:
    found = motive_of(frame({"baseline": 0.7, "flipped": 0.1}, {}))
    assert found is not None and found.steps[0].sensitivity is None


def test_answers_that_cannot_be_read_are_missing_and_no_evidence() -> None:
    whole = frame({"baseline": 0.7, "flipped": 0.1, "removed": 0.1, "clarified": 0.7}, {})
    unread = whole.with_columns(outcome_extracted=pl.when(pl.col("condition_arm") == "flipped").then(0.0).otherwise(1.0))
    found = motive_of(unread)
    assert found is not None
    rates = {one.arm: one.rate for one in found.steps[0].arms}
    assert (rates["flipped"].value, rates["flipped"].missing) == (None, 120)
    assert found.steps[0].signature is not None
    only = motive_of(unread.filter(pl.col("condition_arm").is_in(["baseline", "flipped"])))
    assert only is not None and only.steps[0].signature is None


def test_a_study_without_the_experiment_says_nothing_of_it() -> None:
    assert motive_of(pl.DataFrame({"environment": ["reward_hint"]})) is None
    assert motive_of(frame({"baseline": 0.5, "removed": 0.5}, {}).with_columns(environment=pl.lit("other"))) is None
    assert motive_of(frame({"removed": 0.5}, {})) is None


def test_judgments_take_the_place_of_the_rule_of_words(tmp_path: Path) -> None:
    found = motive_of(frame({"baseline": 0.7, "flipped": 0.1}, {"baseline": 1.0, "flipped": 0.0}), by="reward_reasoning")
    assert found is not None and found.steps[0].sensitivity is not None
    assert found.steps[0].sensitivity.by == "reward_reasoning"


@pytest.mark.slow
def test_the_command_line_runs_it_and_the_report_says_what_it_found(tmp_path: Path) -> None:
    study = told(tmp_path / "study", "hinted", number_giver(mind(0.0, 0.9)), prompts=12, samples=2)
    found = find(study)
    assert found.motive is not None and found.motive.steps[0].signature is not None
    assert {example.transcript_id for example in found.motive.examples} <= {trace.transcript_id for trace in found.traces}
    result = CliRunner().invoke(cli, ["report", str(tmp_path / "study")])
    assert result.exit_code == 0, result.output
    assert "of answers to the baseline show the behaviour. It is motivated" in result.output
    text = (tmp_path / "study" / "report.html").read_text(encoding="utf-8")
    assert "Confused or motivated?" in text and 'data-figure="motive_posterior"' in text
