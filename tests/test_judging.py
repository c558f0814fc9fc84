"""Judges put to work on a study: what they are asked, what of it is kept, and what becomes of what they do not say."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from cotdrift.asking import REPEATED
from cotdrift.cli import cli
from cotdrift.errors import InputError
from cotdrift.judging import Chosen, Limits, judges_of
from cotdrift.study import Study
from tests.judge_server import JUDGE, Served, judge

YES, NO = ('{"quotes": ["grader"], "answer": "yes"}', '{"quotes": [], "answer": "no"}')
GRADER = """---
question: Does it talk of a grader?
answers: {yes: it does, no: it does not}
---
Read this.

{reasoning}
"""
WINDOWED = """---
question: How clear is it?
answers: {0: not at all, 1: half, 2: wholly}
worse: low
window: 20
reads:
  - {name: "", how: worst decile, unit: points}
  - {name: at_most_1, how: at most, bound: 1, unit: share of windows}
---
{reasoning}
"""


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """Two checkpoints of ten prompts, two samples each; at step 100 four in five name the grader, at step 0 one in five."""
    rows = [
        {
            "run": "toy",
            "step": step,
            "environment": "env",
            "prompt_id": f"p{prompt}",
            "prompt": f"Question {prompt}.",
            "reasoning": f"The grader pays, so {prompt}." if prompt % 5 < often else f"They ask for {prompt}.",
            "answer": str(prompt),
        }
        for step, often in ((0, 1), (100, 4))
        for prompt in range(10)
        for _ in range(2)
    ]
    source = tmp_path / "rollouts.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    made = Study.make(tmp_path / "study")
    made.ingest([source])
    return made


@pytest.fixture
def talks(tmp_path: Path) -> Path:
    path = tmp_path / "talks.md"
    path.write_text(GRADER)
    return path


def heed(prompt: str) -> str:
    return YES if "grader pays" in prompt else NO


def test_a_grader_is_put_to_a_judge_and_becomes_a_trend(study: Study, talks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with judge(heed) as served:
        use(served, monkeypatch)
        (judged,) = study.grade(talks, judges=[JUDGE])
    assert judged.judgments == len(served.asked) == judged.plan.asked
    assert judged.missing == {}
    (trend,) = study.trend("talks")
    assert [round(point.value or 0, 2) for point in trend.points] == [0.2, 0.8]
    assert [(point.bound_low, point.bound_high) for point in trend.points] == [(0.2, 0.2), (0.8, 0.8)]
    quotes = study.judgments.frame("talks").filter(pl.col("label") == "yes")["quotes"]
    assert all(json.loads(quote)[0]["found"] == "exact" for quote in quotes)


def test_the_judge_is_told_of_the_text_alone_in_no_order_of_training(study: Study, talks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with judge(heed) as served:
        use(served, monkeypatch)
        study.grade(talks, judges=[JUDGE], max_connections=1)
    assert not any(word in prompt for prompt in served.asked for word in ("toy", "step", "100", "checkpoint"))
    early = ["grader pays" in prompt for prompt in served.asked[: len(served.asked) // 2]]
    assert 0.25 < sum(early) / len(early) < 0.75


def test_what_was_judged_is_not_asked_again_and_another_judge_is(study: Study, talks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with judge(heed) as served:
        use(served, monkeypatch)
        study.grade(talks, judges=[JUDGE])
        once = len(served.asked)
        (again,) = study.grade(talks, judges=[JUDGE])
        assert (len(served.asked), again.plan.asked, again.plan.had) == (once, 0, once)
        study.grade(talks, judges=[JUDGE, f"{JUDGE}-2"])
        assert len(served.asked) == 2 * once


def test_one_in_twenty_is_asked_twice(tmp_path: Path, talks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "many.jsonl"
    row = {"run": "r", "step": 0, "environment": "e", "reasoning": "A thought.", "answer": "1"}
    source.write_text("".join(json.dumps(row | {"prompt_id": f"p{number}"}) + "\n" for number in range(600)))
    study = Study.make(tmp_path / "many")
    study.ingest([source])
    with judge(heed) as served:
        use(served, monkeypatch)
        (judged,) = study.grade(talks, judges=[JUDGE], dry_run=True) or study.grade(talks, judges=[JUDGE], limits=Limits(tokens=1))
    assert served.asked == []
    assert abs(judged.plan.asked / 600 - 1 - REPEATED) < 0.03


def test_a_judge_that_mostly_refuses_leaves_bounds_not_a_mean(study: Study, talks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def mostly(prompt: str) -> str | tuple[str, str]:
        number = sum(map(ord, prompt)) % 10
        return heed(prompt) if number == 0 else ["I'm sorry, I cannot judge that.", "Blah.", ("{", "length")][number % 3]

    with judge(mostly) as served:
        use(served, monkeypatch)
        (judged,) = study.grade(talks, judges=[JUDGE])
    assert {"refusal", "unparsable", "truncated"} >= set(judged.missing) and sum(judged.missing.values()) > 0.6 * judged.plan.asked
    (trend,) = study.trend("talks")
    for point in trend.points:
        assert point.traces + point.missing == 20
        assert sum(point.why.values()) == point.missing
        assert point.bound_low is not None and point.bound_high is not None
        assert point.bound_high - point.bound_low == pytest.approx(point.missing / 20)


def test_a_judge_that_is_not_there_fails_in_rows_and_is_asked_again(study: Study, talks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with judge(heed) as served:
        pass  # the port is free again
    use(served, monkeypatch)
    (judged,) = study.grade(talks, judges=[JUDGE], max_retries=0)
    assert judged.missing == {"failed": judged.plan.asked}
    assert judged.faults
    with judge(heed) as served:
        use(served, monkeypatch)
        (again,) = study.grade(talks, judges=[JUDGE], max_retries=0)
    assert again.judgments == judged.plan.asked


def test_a_judge_asked_in_batches_is_the_same_judge_and_gets_all_at_once(
    study: Study, talks: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    waiting = threading.Barrier(28, timeout=60)

    def together(prompt: str) -> str:
        with suppress(threading.BrokenBarrierError):  # broken unless all are under way at once
            waiting.wait()
        return heed(prompt)

    monkeypatch.setattr("cotdrift.asking.REPEATED", 0.0)
    command = ["grade", str(study.folder), str(talks), "--model-role", f"grader={JUDGE}", "--sample", "15"]
    with judge(heed) as served:
        use(served, monkeypatch)
        study.grade(talks, judges=[JUDGE], chosen=Chosen(per_checkpoint=1), max_connections=1)
    with judge(together) as served:
        use(served, monkeypatch)
        assert judges_of([JUDGE], batch=500)[JUDGE].config.batch == 500  # of which Inspect makes batches where it can
        cli.main([*command, "--batch", "500"], standalone_mode=False)
        assert not waiting.broken  # though a pass before was content with one at a time
        assert len(served.asked) == 28 and "28 judgments; missing: none" in capsys.readouterr().out
        cli.main([*command, "--batch"], standalone_mode=False)
        cli.main(command, standalone_mode=False)
        assert len(served.asked) == 28
    with pytest.raises(Exception, match="no number of requests"):
        cli.main([*command, "--batch", "none"], standalone_mode=False)


def test_a_limit_on_tokens_holds_and_says_what_it_left_out(study: Study, talks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with judge(heed) as served:
        use(served, monkeypatch)
        (judged,) = study.grade(talks, judges=[JUDGE], limits=Limits(tokens=2_000))
        assert judged.input_tokens + judged.output_tokens <= 2_000
        assert judged.missing["over budget"] == judged.plan.asked - len(served.asked) > 0
        (again,) = study.grade(talks, judges=[JUDGE])
        assert again.judgments == judged.missing["over budget"]


def test_a_limit_in_dollars_needs_a_price(study: Study, talks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with judge(heed) as served:
        use(served, monkeypatch)
        with pytest.raises(InputError, match="--price"):
            study.grade(talks, judges=[JUDGE], limits=Limits(cost=1.0))
        (judged,) = study.grade(talks, judges=[JUDGE], limits=Limits(cost=0.001, price=(1.0, 2.0)))
    assert judged.cost is not None
    assert 0 < judged.cost <= 0.001


def test_a_sample_is_of_the_same_prompts_at_every_checkpoint(study: Study, talks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with judge(heed) as served:
        use(served, monkeypatch)
        study.grade(talks, judges=[JUDGE], chosen=Chosen(per_checkpoint=6))
    values = study.values("talks").frame
    assert values.group_by("step").len()["len"].to_list() == [6, 6]
    by_step = values.group_by("step").agg(pl.col("prompt_id").sort())["prompt_id"].to_list()
    assert by_step[0] == by_step[1]
    assert len(set(by_step[0])) == 6


def test_judges_are_heard_by_strict_majority(study: Study, talks: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with judge(heed) as served:
        use(served, monkeypatch)
        study.grade(talks, judges=[JUDGE])
    with judge(lambda _: YES) as served:
        use(served, monkeypatch)
        study.grade(talks, judges=[f"{JUDGE}-2"])
    (trend,) = study.trend("talks")
    assert [point.value for point in trend.points] == [1.0, 1.0]  # where the two disagree there is none
    assert [point.why for point in trend.points] == [{"no majority of the judges": 16}, {"no majority of the judges": 4}]
    with judge(lambda _: NO) as served:
        use(served, monkeypatch)
        study.grade(talks, judges=[f"{JUDGE}-3"])
    (trend,) = study.trend("talks")
    assert [round(point.value or 0, 2) for point in trend.points] == [0.2, 0.8]


def test_windows_are_judged_apart_and_the_worst_of_them_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, source = tmp_path / "clear.md", tmp_path / "long.jsonl"
    path.write_text(WINDOWED)
    clear, odd = "This is a clear sentence of seven words. " * 3, "Vantage marinade overshadow parted. " * 6
    source.write_text(
        "".join(
            json.dumps({"run": "r", "step": 0, "environment": "e", "prompt_id": f"p{at}", "reasoning": text, "answer": "1"}) + "\n"
            for at, text in enumerate([clear * 2, clear + odd, odd])
        )
    )
    study = Study.make(tmp_path / "study")
    study.ingest([source])
    with judge(lambda prompt: '{"answer": 0}' if "arinade" in prompt else '{"answer": 2}') as served:
        use(served, monkeypatch)
        study.grade(path, judges=[JUDGE])
    worst = study.values("clear").frame.sort("prompt_id")
    share = study.values("clear.at_most_1").frame.sort("prompt_id")
    assert worst["value"].to_list() == [2.0, 0.0, 0.0]
    assert share["value"][0] == 0 < share["value"][1] < share["value"][2] == 1


def test_killed_and_run_again_it_pays_for_no_judgment_twice(study: Study, talks: Path) -> None:
    def slowly(prompt: str) -> str:
        time.sleep(0.05)
        return heed(prompt)

    at_once = 2
    command = [sys.executable, "-m", "cotdrift", "grade", str(study.folder), str(talks), "--model-role", f"grader={JUDGE}"]
    command += ["--max-connections", str(at_once), "--json"]
    with judge(slowly) as served:
        environment = os.environ | served.environment
        running = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while len(served.asked) < 15 and running.poll() is None:
            time.sleep(0.01)
        os.kill(running.pid, signal.SIGKILL)
        running.wait()
        kept = study.judgments.frame("talks").height
        assert 0 < kept < 40
        before = len(served.asked)
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        after = len(served.asked) - before
    told = json.loads(done.stdout)["graders"][0]
    assert after == told["plan"]["asked"] == 40 + told_twice(study) - kept
    assert before - kept <= at_once  # only what was on its way when it was killed


def told_twice(study: Study) -> int:
    return study.judgments.frame("talks").filter(pl.col("repeat") == 1).height


def test_the_command_says_what_came_and_the_trend_what_it_means(
    study: Study, talks: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with judge(heed) as served:
        use(served, monkeypatch)
        cli.main(["grade", str(study.folder), str(talks), "--model-role", f"grader={JUDGE}"], standalone_mode=False)
    assert "missing: none" in capsys.readouterr().out
    cli.main(["trend", str(study.folder), "talks", "--json"], standalone_mode=False)
    (told,) = json.loads(capsys.readouterr().out)
    assert [round(point["value"], 2) for point in told["points"]] == [0.2, 0.8]
    assert {"missing", "bound_low", "bound_high"} <= set(told["points"][0])


def use(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in served.environment.items():
        monkeypatch.setenv(name, value)


def test_what_cannot_be_read_is_drawn_like_any_other_trace_and_counted_as_set_aside(
    tmp_path: Path, talks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = ("raw", "redacted", "summary")
    texts = {"raw": "The grader pays.", "redacted": "", "summary": "It summed up."}
    rows = [
        {"run": "toy", "step": step, "prompt_id": f"p{prompt}", "reasoning": texts[kind], "reasoning_kind": kind, "answer": "4"}
        for step in (0, 100)
        for prompt in range(60)
        for kind in (kinds[prompt % 3] if step else "raw",)
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    study = Study.make(tmp_path / "redacted")
    study.ingest([tmp_path / "rows.jsonl"])
    said: list[str] = []
    with judge(heed) as served:
        use(served, monkeypatch)
        chosen = Chosen(per_checkpoint=30)
        (judged,) = study.grade(talks, judges=[JUDGE], chosen=chosen, tell=said.append)
        asked = len(served.asked)
        (again,) = study.grade(talks, judges=[JUDGE], chosen=chosen)
        assert len(served.asked) == asked and again.plan.had == judged.plan.asked
    assert "set aside, as their reasoning cannot be read" in said[0]
    assert judged.missing == {} and judged.plan.traces + judged.plan.set_aside == 60
    first, last = study.trend("talks")[0].points
    assert (first.traces, first.set_aside) == (30, 0)
    assert last.set_aside == judged.plan.set_aside == 30 - last.traces and 10 < last.set_aside < 30
    assert set(last.why) == {"reasoning is redacted", "reasoning is summary"}
    assert last.missing == 0 and (last.bound_low, last.bound_high) == (last.value, last.value)


def test_a_plan_says_where_there_is_no_prompt_to_show(tmp_path: Path, study: Study) -> None:
    (tmp_path / "bare.jsonl").write_text(
        "".join(json.dumps({"prompt_id": f"p{n}", "reasoning": "So.", "answer": "4"}) + "\n" for n in range(7))
    )
    bare = Study.make(tmp_path / "bare")
    bare.ingest([tmp_path / "bare.jsonl"])
    for asked, without in ((bare, True), (study, False)):
        said: list[str] = []
        asked.grade("metagaming", judges=["mockllm/model"], dry_run=True, tell=said.append)
        assert ("no prompt, which this grader is to see" in said[0]) == without
    told = ["grade", str(bare.folder), "metagaming", "--model-role", "grader=mockllm/model", "-M", "default_output=no", "--dry-run"]
    assert "Of 7 traces there is no prompt" in CliRunner().invoke(cli, told, catch_exceptions=False).output
