"""A grader run by Scout and by cotdrift: the same question, and the same judgments."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import inspect_ai
import polars as pl
import pytest
from inspect_ai.dataset import Sample
from inspect_ai.model import ChatMessageAssistant, ContentReasoning, ContentText, ModelOutput, ModelUsage, get_model
from inspect_ai.solver import generate

from cotdrift.cli import cli
from cotdrift.study import Study
from tests.judge_server import JUDGE, judge

FOLLOWS = '{"quotes": ["The grader pays odd ones"], "reason": "It decides.", "use": "follows", "answer": "yes"}'
SAYS_NOTHING, REFUSES = '{"quotes": [], "reason": "Nothing.", "use": "none", "answer": "no"}', "I'm sorry, I cannot judge that."


def thought(number: int) -> str:
    return ["The grader pays odd ones, so odd.", "They ask for an even one.", "Unspeakable."][number % 3]


def says(prompt: str) -> str:
    return FOLLOWS if "The grader pays odd ones" in prompt else REFUSES if "Unspeakable" in prompt else SAYS_NOTHING


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """A log of nine samples with reasoning."""

    def reply(number: int) -> ModelOutput:
        content = [ContentReasoning(reasoning=thought(number)), ContentText(text=str(number))]
        usage = ModelUsage(input_tokens=1, output_tokens=1, total_tokens=2)
        return ModelOutput(
            model="mockllm/model", choices=[{"message": ChatMessageAssistant(content=content), "stop_reason": "stop"}], usage=usage
        )

    model = get_model("mockllm/model", custom_outputs=[reply(number) for number in range(9)], memoize=False)
    task = inspect_ai.Task(
        dataset=[Sample(id=f"q{number}", input=f"Choose, for the {number}th time.") for number in range(9)], solver=generate()
    )
    told = {"run": "toy", "checkpoint_step": 0}
    inspect_ai.eval(task, model=model, log_dir=str(tmp_path / "logs"), metadata=told, max_samples=1, display="none", score_display=False)
    return tmp_path / "logs"


@pytest.mark.slow
def test_scout_and_cotdrift_give_the_same_judgments(logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with judge(says) as served:
        for name, value in served.environment.items():
            monkeypatch.setenv(name, value)
        scout = Path(sys.executable).with_name("scout")
        command = [str(scout), "scan", "cotdrift/reward_reasoning", "-T", str(logs), "--scans", str(tmp_path / "scans")]
        command += ["--model-role", f"grader={JUDGE}", "--display", "plain"]
        ran = subprocess.run(command, env=os.environ | {"SCOUT_DISPLAY": "plain"}, capture_output=True, text=True, timeout=300)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        study = Study.make(tmp_path / "study")
        study.ingest([logs])
        study.grade("reward_reasoning", judges=[JUDGE])
    read = Study.make(tmp_path / "read")
    read.ingest([logs])
    cli.main(["grade", str(read.folder), "reward_reasoning", "--from", str(tmp_path / "scans")], standalone_mode=False)
    judged = study.judgments.frame("reward_reasoning").filter(pl.col("repeat") == 0).drop("at")
    assert read.judgments.frame("reward_reasoning").drop("at").equals(judged)
    assert sorted((judged["label"].fill_null("") + judged["missing"].fill_null("")).unique()) == ["no", "refusal", "yes"]


SCANNER = """
from inspect_ai.model import get_model
from inspect_scout import Result, Scanner, Transcript, generate_answer, message_numbering, scanner

@scanner(messages="all")
def talks() -> Scanner[Transcript]:
    async def scan(transcript: Transcript) -> Result:
        numbered, references = message_numbering()
        if transcript.task_id == "q8":
            raise RuntimeError("out of reach")
        asked = f"Does it talk of a grader? {await numbered(transcript.messages)}"
        return await generate_answer(asked, "boolean", model=get_model(role="grader"), extract_refs=references)
    return scan
"""
ASKS = """---
question: Does it talk of a grader?
answers: {yes: it does, no: it does not}
---
{reasoning}
"""


@pytest.mark.slow
def test_a_scanner_of_anybody_is_read_and_what_scout_takes_for_a_no_is_missing(
    logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def reply(prompt: str) -> str | tuple[str, str]:
        asked_again = 2  # what could not be read is asked once more, in other words
        number = next((number for number in range(9) if f"for the {number}th time" in prompt), asked_again)
        return ["[M2] talks of one.\n\nANSWER: yes", "Nothing.\n\nANSWER: no", "Blah.", ("", "content_filter")][number % 4]

    (tmp_path / "talks.py").write_text(SCANNER)
    (tmp_path / "talks.md").write_text(ASKS)
    with judge(reply) as served:
        for name, value in served.environment.items():
            monkeypatch.setenv(name, value)
        scout = Path(sys.executable).with_name("scout")
        command = [str(scout), "scan", str(tmp_path / "talks.py"), "-T", str(logs), "--scans", str(tmp_path / "scans")]
        command += ["--model-role", f"grader={JUDGE}", "--display", "plain"]
        subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    study = Study.make(tmp_path / "study")
    study.ingest([logs])
    (read,) = study.read_scan(tmp_path / "scans", tmp_path / "talks.md")
    prompts = study.corpus.scan().select("transcript_id", "prompt_id").collect()
    frame = study.judgments.frame("talks").join(prompts, on="transcript_id").sort("prompt_id")
    assert frame["label"].to_list() == ["yes", "no", None, None] * 2 + [None]
    assert frame["missing"].to_list() == [None, None, "unparsable", "refusal"] * 2 + ["failed"]
    assert set(frame["judge"]) == {JUDGE} and read.faults == ("out of reach",)
    scout_says = pl.read_parquet(next((tmp_path / "scans").glob("*/talks.parquet")))
    assert scout_says.filter(pl.col("value") == "false").height == 4  # two of which said neither yes nor no


LONG = "The watchers outside look on. " + "A step by a step, and then another step. " * 250
"""Two and a half windows of a review, and a use to be judged."""


def of_parts(prompt: str) -> str:
    if "between ⟦ and ⟧" in prompt:
        return '{"quotes": ["The ⟦watchers⟧ outside"], "reason": "They look on.", "answer": "outside"}'
    lines = [line for line in prompt.splitlines() if line.startswith("[1] ")]
    return json.dumps({"quotes": [], "reason": f"It steps {len(lines)}.", "answer": "2"})


@pytest.mark.slow
@pytest.mark.parametrize("name", ["referent", "review"])
def test_scout_and_cotdrift_ask_alike_about_the_parts_of_a_trace(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = {"run": "toy", "step": 0, "environment": "e", "prompt": "Walk.", "answer": "1"}
    rows = [row | {"prompt_id": f"q{number}", "reasoning": text} for number, text in enumerate([LONG, "A step."])]
    (tmp_path / "rollouts.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    study = Study.make(tmp_path / "study")
    study.ingest([tmp_path / "rollouts.jsonl"])
    with judge(of_parts) as served:
        for setting, value in served.environment.items():
            monkeypatch.setenv(setting, value)
        scout = Path(sys.executable).with_name("scout")
        command = [str(scout), "scan", f"cotdrift/{name}", "-T", str(study.corpus.folder), "--scans", str(tmp_path / "scans")]
        ran = subprocess.run(
            [*command, "--model-role", f"grader={JUDGE}", "--display", "plain"], capture_output=True, text=True, timeout=300
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        study.grade(name, judges=[JUDGE])
    (found,) = (tmp_path / "scans").glob(f"*/{name}.parquet")
    scanned = [
        (row["transcript_id"], told["label"], *(told["metadata"][part] for part in ("level", "window", "quotes", "children")))
        for row in pl.read_parquet(found).iter_rows(named=True)
        for told in json.loads(row["value"])
    ]
    ours = [
        (
            row["transcript_id"],
            row["label"] or row["missing"],
            row["level"],
            [row["start"], row["end"]],
            json.loads(row["quotes"]),
            json.loads(row["children"]),
        )
        for row in study.judgments.frame(name).filter(pl.col("repeat") == 0).iter_rows(named=True)
    ]
    assert sorted(scanned, key=str) == sorted(ours, key=str)
    assert [level for _, _, level, *_ in sorted(ours, key=str)].count(1) == (name == "review")
    read = Study.make(tmp_path / "read")
    read.ingest([tmp_path / "rollouts.jsonl"])
    (first,) = read.read_scan(tmp_path / "scans", name)
    judged = study.judgments.frame(name).filter(pl.col("repeat") == 0)
    paid = ["at", "input_tokens", "output_tokens"]
    assert read.judgments.frame(name).drop(paid).equals(judged.drop(paid))
    assert (first.judgments, first.unused, first.missing) == (judged["label"].count(), judged["missing"].count(), {})
    (again,) = read.read_scan(tmp_path / "scans", name)
    assert (again.judgments, again.had) == (0, judged.height)


@pytest.mark.slow
def test_scout_scans_a_corpus_of_ours(logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = Study.make(tmp_path / "study")
    study.ingest([logs])
    with judge(says) as served:
        for name, value in served.environment.items():
            monkeypatch.setenv(name, value)
        scout = Path(sys.executable).with_name("scout")
        command = [str(scout), "scan", "cotdrift/reward_reasoning", "-T", str(study.corpus.folder), "--scans", str(tmp_path / "scans")]
        command += ["--model-role", f"grader={JUDGE}", "--display", "plain"]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    (found,) = (tmp_path / "scans").glob("*/reward_reasoning.parquet")
    assert sorted(pl.read_parquet(found)["label"].to_list()) == ["no"] * 3 + ["refusal"] * 3 + ["yes"] * 3
