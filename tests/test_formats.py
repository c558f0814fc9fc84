"""Every format: files in exactly the shapes that trainers and tools write, as traces."""

import csv
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from cotdrift.corpus import Corpus
from cotdrift.errors import InputError
from cotdrift.format import Format, Reading
from cotdrift.formats import find_sources, identify
from cotdrift.ingest import ingest_file
from cotdrift.shelf import collect
from cotdrift.trace import Rejected, Trace


def read(path: Path, **reading: Any) -> tuple[list[Trace], list[Rejected], list[str]]:
    notes: list[str] = []
    found = list(identify(path).read(path, Reading(**reading), notes.append))
    return [one for one in found if isinstance(one, Trace)], [one for one in found if isinstance(one, Rejected)], notes


def write_lines(path: Path, *records: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


RECORD = {
    "run": "a",
    "step": 3,
    "environment": "sums",
    "prompt_id": "q1",
    "rep": 2,
    "prompt": "1+1?",
    "reasoning": "One and one.",
    "answer": "2",
}


# --- mapped records


def test_our_own_names_need_no_guess(tmp_path: Path) -> None:
    [trace], rejected, notes = read(
        write_lines(tmp_path / "t.jsonl", RECORD | {"reward": 1.0, "condition_audit": 50, "outcome_hinted": "yes", "note": [1]})
    )
    assert (trace.run, trace.step, trace.environment, trace.prompt_id, trace.rep) == ("a", 3, "sums", "q1", 2)
    assert (trace.prompt, trace.reasoning, trace.answer, trace.reasoning_kind) == ("1+1?", "One and one.", "2", "raw")
    assert trace.outcomes == {"reward": 1.0, "hinted": 1.0}
    assert trace.conditions == {"audit": "50"}
    assert trace.extra == {"note": [1]}
    assert trace.source.endswith("t.jsonl:1")
    assert rejected == []
    assert notes == ["t.jsonl: 'reward' is taken as an outcome"]


def test_a_guess_is_said_once(tmp_path: Path) -> None:
    record = {"Thinking": "Hm.", "response": "2", "prompt_sha": "abc", "model": "m", "domain": "sums", "sample_id": 7}
    traces, _, notes = read(write_lines(tmp_path / "step_20.jsonl", record, record))
    assert [trace.rep for trace in traces] == [None, None]
    assert {(trace.run, trace.step, trace.environment, trace.prompt_id) for trace in traces} == {("m", 20, "sums", "abc")}
    assert notes == [
        "step_20.jsonl: reasoning is read from 'Thinking'",
        "step_20.jsonl: answer is read from 'response'",
        "step_20.jsonl: prompt_id is read from 'prompt_sha'",
        "step_20.jsonl: run is read from 'model'",
        "step_20.jsonl: environment is read from 'domain'",
        "step_20.jsonl: step 20 is read from the file's path",
    ]


def test_the_user_map_beats_every_guess(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "t.jsonl", RECORD | {"inner": {"why": "Because."}, "audit": True, "right": "no", "n": 4})
    fields = {"reasoning": "inner.why", "condition_audit": "audit", "outcome_right": "right", "step": "n"}
    [trace], _, _ = read(path, fields=fields)
    assert (trace.reasoning, trace.conditions, trace.outcomes, trace.step) == ("Because.", {"audit": "true"}, {"right": 0.0}, 4)


def test_a_map_to_no_field_of_ours_names_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no field 'reasning'. There are: messages, reasoning"):
        read(write_lines(tmp_path / "t.jsonl", RECORD), fields={"reasning": "thinking"})


def test_a_map_from_a_field_that_no_record_has_names_those_seen(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no record has a field 'thinking'. There are: run, step"):
        read(write_lines(tmp_path / "t.jsonl", RECORD), fields={"reasoning": "thinking"})


def test_without_a_prompt_id_the_prompt_tells_questions_apart(tmp_path: Path) -> None:
    traces, _, notes = read(write_lines(tmp_path / "t.jsonl", *({"prompt": asked, "answer": "x", "step": 1} for asked in ("a", "a", "b"))))
    first, second, third = (trace.prompt_id for trace in traces)
    assert first == second != third
    assert len(first) == 12
    assert "t.jsonl: prompt_id is made from the text of the prompt" in notes


def test_the_step_comes_from_the_likeliest_place(tmp_path: Path) -> None:
    bare = {name: RECORD[name] for name in ("prompt_id", "reasoning")}
    path = write_lines(tmp_path / "checkpoint-40" / "out.jsonl", bare)
    assert read(path)[0][0].step == 40
    assert read(path, step=7)[0][0].step == 7
    assert read(path, step_pattern=r"point-(\d)")[0][0].step == 4
    assert read(path, step_table={"out.jsonl": 9})[0][0].step == 9
    named = write_lines(tmp_path / "x.jsonl", bare | {"model": "organism/hinted@400"}, bare | {"model": "lab/policy-1000"})
    assert [(trace.run, trace.step) for trace in read(named)[0]] == [("hinted", 400), ("lab/policy", 1000)]
    by_table = read(named, step_table={"lab/policy-1000": 3, "organism/hinted@400": 1})[0]
    assert [trace.step for trace in by_table] == [1, 3]
    assert read(write_lines(tmp_path / "100.jsonl", bare))[0][0].step == 100
    assert read(write_lines(tmp_path / "global_step_30" / "train.jsonl", bare))[0][0].step == 30


def test_no_step_at_all_is_step_0_and_said(tmp_path: Path) -> None:
    [trace], _, notes = read(write_lines(tmp_path / "t.jsonl", {"prompt_id": "q", "reasoning": "r", "model": "gpt-4"}))
    assert (trace.step, trace.run) == (0, "gpt-4")
    assert any("no step found: all taken as step 0" in note for note in notes)


def test_a_step_that_only_some_records_have_is_missed_in_the_others(tmp_path: Path) -> None:
    traces, rejected, _ = read(write_lines(tmp_path / "t.jsonl", {"prompt_id": "q", "reasoning": "r"}, RECORD))
    assert len(traces) == 1
    assert str(rejected[0]).startswith(f"{tmp_path}/t.jsonl:1: step: other records of the file have one, this one has none.")


def test_a_run_is_named_after_its_folder(tmp_path: Path) -> None:
    bare = {"prompt_id": "q", "reasoning": "r"}
    assert read(write_lines(tmp_path / "run7" / "rollouts" / "step_5" / "algebra.jsonl", bare))[0][0].run == "run7"
    assert read(write_lines(tmp_path / "run7" / "rollouts" / "step_5" / "algebra.jsonl", bare))[0][0].environment == "algebra"
    assert read(write_lines(tmp_path / "run7" / "step_5" / "traces.jsonl", bare))[0][0].environment == "default"


def test_the_same_records_read_alike_from_every_kind_of_file(tmp_path: Path) -> None:
    records = [RECORD | {"rep": rep, "reward": 0.5, "answer": 'two, "2"\nlines'} for rep in range(3)]
    text = "".join(json.dumps(record) + "\n" for record in records).encode()
    (tmp_path / "a.jsonl").write_bytes(text)
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(text))
    (tmp_path / "a.jsonl.zst").write_bytes(zstandard.compress(text))
    (tmp_path / "crlf.jsonl").write_bytes(b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n"))
    (tmp_path / "a.json").write_text(json.dumps(records, indent=2))
    (tmp_path / "several.json").write_text("\n".join(json.dumps(record, indent=1) for record in records))
    (tmp_path / "a.json.gz").write_bytes(gzip.compress(json.dumps(records).encode()))
    pl.DataFrame(records).write_parquet(tmp_path / "a.parquet")
    with (tmp_path / "a.csv").open("w", newline="", encoding="utf-8-sig") as opened:
        table = csv.DictWriter(opened, list(records[0]))
        table.writeheader()
        table.writerows(records)
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress((tmp_path / "a.csv").read_bytes()))
    paths = find_sources([tmp_path])
    assert len(paths) == 10
    for path in paths:
        traces, rejected, _ = read(path)
        assert not rejected, path
        seen = [(trace.run, trace.step, trace.prompt_id, trace.rep, trace.reasoning, trace.answer, trace.outcomes) for trace in traces]
        assert seen == [("a", 3, "q1", rep, "One and one.", 'two, "2"\nlines', {"reward": 0.5}) for rep in range(3)], path


def test_reasoning_in_the_answer_is_split_off(tmp_path: Path) -> None:
    for said in (
        "<think>\nHm.\n</think>\n\nTwo",
        "Hm.\n</think>\nTwo",
        "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Two",
    ):
        [trace], _, _ = read(write_lines(tmp_path / "t.jsonl", {"prompt": "?", "output": said, "step": 1}))
        assert (trace.reasoning, trace.answer, trace.reasoning_kind, trace.truncated) == ("Hm.", "Two", "raw", False)
    for asked, said in (("?", "<think>\nHm."), ("?<think>\n", "Hm.")):
        [trace], _, _ = read(write_lines(tmp_path / "t.jsonl", {"prompt": asked, "output": said, "step": 1}))
        assert (trace.reasoning, trace.answer, trace.truncated) == ("Hm.", "", True)


def test_a_big_json_list_is_read_one_by_one(tmp_path: Path) -> None:
    path = tmp_path / "big.json"
    path.write_text("[" + ",".join(json.dumps(RECORD | {"rep": rep, "reasoning": 'say "}]" \\ ' * 40}) for rep in range(3000)) + "]")
    traces, rejected, _ = read(path)
    assert [trace.rep for trace in traces] == list(range(3000))
    assert not rejected


# --- what trainers write


def test_verl_rollouts(tmp_path: Path) -> None:
    """`_dump_generations` writes a file a step: input, output, gts, score, step, and what the reward function gave besides."""
    rows = [
        {
            "input": "user\n2+2?\nassistant\n",
            "output": "<think>\nTwo and two.\n</think>\n4",
            "gts": "4",
            "score": 1.0,
            "step": 20,
            "acc": True,
            "pred": "4",
        },
        {"input": "user\n2+2?\nassistant\n", "output": "<think>\nTwo and", "gts": "4", "score": -1.0, "step": 20, "acc": False, "pred": ""},
    ]
    path = write_lines(tmp_path / "grpo-a" / "rollout_data" / "20.jsonl", *rows)
    assert identify(path).name == "verl"
    traces, rejected, _ = read(path)
    assert not rejected
    assert [(trace.run, trace.step, trace.environment) for trace in traces] == [("grpo-a", 20, "default")] * 2
    assert [trace.reasoning for trace in traces] == ["Two and two.", "Two and"]
    assert [trace.truncated for trace in traces] == [False, True]
    assert traces[0].outcomes == {"score": 1.0, "acc": 1.0}
    assert traces[0].extra == {"gts": "4", "pred": "4"}
    assert traces[0].prompt_id == traces[1].prompt_id


def test_trl_completions(tmp_path: Path) -> None:
    """`log_completions` writes a parquet file a step: step, prompt, completion, a column a reward function, advantage."""
    path = tmp_path / "Qwen-GRPO" / "completions" / "completions_00100.parquet"
    path.parent.mkdir(parents=True)
    pl.DataFrame(
        {
            "step": [100, 100],
            "prompt": ["2+2?", "3+3?"],
            "completion": ["<think>Hm.</think>4", "6"],
            "accuracy_reward": [1.0, float("nan")],
            "format_reward": [0.5, 0.0],
            "advantage": [0.7, -0.7],
        }
    ).write_parquet(path)
    assert identify(path).name == "trl"
    traces, rejected, _ = read(path)
    assert not rejected
    assert [(trace.run, trace.step) for trace in traces] == [("Qwen-GRPO", 100)] * 2
    assert (traces[0].reasoning, traces[0].answer) == ("Hm.", "4")
    assert [trace.outcomes for trace in traces] == [{"accuracy_reward": 1.0, "format_reward": 0.5}, {"format_reward": 0.0}]
    assert traces[0].extra == {"advantage": 0.7}


FLAT = {
    "example_id": 3,
    "prompt": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2+2?"}],
    "completion": [{"role": "assistant", "content": "4", "reasoning_content": "Two and two."}],
    "answer": "4",
    "reward": 1.0,
    "timing": {"total_ms": 12.0},
    "is_completed": True,
    "is_truncated": True,
    "stop_condition": "max_output_tokens",
    "metrics": {"correct_answer": 1.0},
    "correct_answer": 1.0,
    "task": "arithmetic",
}


def test_verifiers_results(tmp_path: Path) -> None:
    folder = tmp_path / "outputs" / "evals" / "arithmetic--lab--policy-300" / "ab12cd34"
    path = write_lines(folder / "results.jsonl", {name: value for name, value in FLAT.items() if name != "task"})
    assert identify(path).name == "verifiers"
    [trace], _, _ = read(path)
    assert (trace.run, trace.step, trace.environment, trace.prompt_id) == ("lab/policy", 300, "arithmetic", "3")
    metadata = {"env_id": "sums", "model": "lab/policy-200", "base_url": "http://localhost:8000/v1", "sampling_args": {"temperature": 0.7}}
    (folder / "metadata.json").write_text(json.dumps(metadata))
    [trace], rejected, _ = read(path)
    assert not rejected
    assert (trace.run, trace.step, trace.environment) == ("lab/policy", 200, "sums")
    assert trace.serving == {"model": "lab/policy-200", "base_url": "http://localhost:8000/v1", "temperature": 0.7}
    assert (trace.prompt, trace.reasoning, trace.answer, trace.truncated) == ("2+2?", "Two and two.", "4", True)
    assert [turn.role for turn in trace.turns] == ["system", "user", "assistant"]
    assert trace.outcomes == {"reward": 1.0, "correct_answer": 1.0}
    assert trace.extra["answer"] == "4"


def test_prime_rl_rollouts(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "run9" / "rollouts" / "step_12" / "train_rollouts.jsonl", FLAT | {"advantage": 0.4})
    assert identify(path).name == "prime_rl"
    [trace], rejected, _ = read(path)
    assert not rejected
    assert (trace.run, trace.step, trace.environment, trace.prompt_id) == ("run9", 12, "arithmetic", "3")
    assert trace.outcomes == {"reward": 1.0, "correct_answer": 1.0}


GRAPH = {
    "version": 1,
    "id": "f00",
    "task": {"type": "ArithmeticTask", "data": {"idx": 5, "prompt": "2+2?"}, "key": "sum-5", "hash": "9a"},
    "agent": {"config": {}, "name": "agent", "trainable": True},
    "nodes": [
        {"parent": None, "message": {"role": "user", "content": "2+2?"}, "sampled": False, "token_ids": [1, 2]},
        {"parent": 0, "message": {"role": "assistant", "content": "Not on this branch."}, "sampled": True},
        {
            "parent": 0,
            "message": {
                "role": "assistant",
                "reasoning_content": "Ask.",
                "tool_calls": [{"id": "c", "name": "add", "arguments": '{"a": 2}'}],
            },
            "sampled": True,
        },
        {"parent": 2, "message": {"role": "tool", "tool_call_id": "c", "content": "4"}, "sampled": False},
        {"parent": 3, "message": {"role": "assistant", "content": "4", "reasoning_content": "So four."}, "sampled": True},
    ],
    "calls": [{"node": 4, "model": "policy", "finish_reason": "length"}],
    "rewards": {"right": {"score": 1.0, "weight": 2.0}, "unscored": None},
    "metrics": {"turns": 2.0},
    "info": {"prime_rl": {"env_name": "arithmetic"}},
    "stop_condition": None,
}


def test_prime_rl_message_graphs(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "run9" / "rollouts" / "step_12" / "train_rollouts.jsonl", GRAPH)
    assert identify(path).name == "prime_rl"
    [trace], rejected, _ = read(path)
    assert not rejected
    assert (trace.step, trace.environment, trace.prompt_id, trace.prompt, trace.truncated) == (12, "arithmetic", "sum-5", "2+2?", True)
    assert (trace.reasoning, trace.answer) == ("Ask.\n\nSo four.", "4")
    assert [(call.function, call.arguments) for call in trace.actions] == [("add", {"a": 2})]
    assert trace.outcomes == {"right": 2.0, "turns": 2.0, "reward": 2.0}


def test_a_message_graph_that_does_not_hold_together_is_named(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "step_1" / "train_rollouts.jsonl", GRAPH | {"nodes": [{"parent": 8}]}, GRAPH)
    traces, rejected, _ = read(path)
    assert (len(traces), [one.field for one in rejected]) == (1, ["nodes"])


def test_openai_chat(tmp_path: Path) -> None:
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "2+2?"}]},
        {
            "role": "assistant",
            "content": None,
            "reasoning": "Add.",
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "4"},
        {"role": "assistant", "content": "<think>Done.</think>4"},
    ]
    path = write_lines(tmp_path / "chat.jsonl", {"messages": messages}, {"messages": messages[1:2] + messages[4:]})
    assert identify(path).name == "chat"
    (long, short), rejected, _ = read(path)
    assert not rejected
    assert (long.prompt, long.reasoning, long.answer, len(long.turns)) == ("2+2?", "Add.\n\nDone.", "4", 5)
    assert (short.prompt, short.reasoning, short.answer, short.turns) == ("2+2?", "Done.", "4", ())
    assert long.prompt_id != short.prompt_id  # another system prompt makes it another question


def test_the_output_of_an_openai_batch(tmp_path: Path) -> None:
    body = {
        "model": "policy-7",
        "choices": [
            {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "4", "reasoning_content": "Hm."}},
            {"index": 1, "finish_reason": "length", "message": {"role": "assistant", "content": "5"}},
        ],
    }
    path = write_lines(
        tmp_path / "batch.jsonl", {"id": "b1", "custom_id": "q1", "response": {"status_code": 200, "body": body}, "error": None}
    )
    traces, rejected, _ = read(path)
    assert not rejected
    assert [(trace.prompt_id, trace.step, trace.reasoning, trace.answer, trace.truncated) for trace in traces] == [
        ("q1", 7, "Hm.", "4", False),
        ("q1", 7, "", "5", True),
    ]


def test_kinds_of_reasoning_are_told_apart(tmp_path: Path) -> None:
    asked = {"role": "user", "content": "?"}
    blocks = {
        "raw": [{"type": "thinking", "thinking": "Hm."}],
        "redacted": [{"type": "redacted_thinking", "data": "x"}],
        "summary": [{"type": "reasoning", "reasoning": "x", "summary": "Thought.", "redacted": True}],
        "none": [],
    }
    for kind, parts in blocks.items():
        said = {"role": "assistant", "content": [*parts, {"type": "text", "text": "4"}]}
        [trace], _, _ = read(write_lines(tmp_path / "chat.jsonl", {"messages": [asked, said]}))
        assert (trace.reasoning_kind, trace.answer) == (kind, "4")
        assert trace.reasoning == {"raw": "Hm.", "summary": "Thought."}.get(kind, "")


def test_harmony_text(tmp_path: Path) -> None:
    first = (
        "<|start|>system<|message|>Current date: 2025-08-05<|end|><|start|>user<|message|>2+2?<|end|>"
        "<|start|>assistant<|channel|>analysis<|message|>Ask.<|end|>"
        '<|start|>assistant<|channel|>commentary to=functions.add <|constrain|>json<|message|>{"a": 2}<|call|>'
        "<|start|>functions.add to=assistant<|channel|>commentary<|message|>4<|end|>"
        "<|start|>assistant<|channel|>analysis<|message|>So four.<|end|><|start|>assistant<|channel|>final<|message|>4<|return|>"
    )
    second = (
        "\n<|start|>system<|message|>Current date: 2026-01-01<|end|><|start|>user<|message|>2+2?<|end|>"
        "<|start|>assistant<|channel|>analysis<|message|>Well"
    )
    path = tmp_path / "gpt-oss" / "step_50.harmony"
    path.parent.mkdir()
    path.write_text(first + second)
    assert identify(path).name == "harmony"
    (whole, cut), rejected, _ = read(path)
    assert not rejected
    assert (whole.run, whole.step, whole.prompt, whole.reasoning, whole.answer) == ("gpt-oss", 50, "2+2?", "Ask.\n\nSo four.", "4")
    assert [(call.function, call.arguments) for call in whole.actions] == [("add", {"a": 2})]
    assert (cut.reasoning, cut.answer, cut.truncated, whole.truncated) == ("Well", "", True, False)
    assert cut.prompt_id == whole.prompt_id


# --- Scout


def test_a_scout_database(tmp_path: Path) -> None:
    messages = [
        {"role": "user", "content": "2+2?"},
        {"role": "assistant", "content": [{"type": "reasoning", "reasoning": "Hm."}, {"type": "text", "text": "4"}]},
    ]
    rows = [
        {
            "transcript_id": f"t{rep}",
            "task_set": "sums",
            "task_id": "q1",
            "task_repeat": rep,
            "model": "lab/policy-30",
            "score": "C",
            "messages": json.dumps(messages),
            "step": 30,
        }
        for rep in range(2)
    ]
    folder = tmp_path / "db"
    (folder / "_index").mkdir(parents=True)
    pl.DataFrame(rows).write_parquet(folder / "transcripts_1.parquet")
    assert find_sources([tmp_path]) == [folder]
    assert identify(folder).name == "scout"
    traces, rejected, _ = read(folder)
    assert not rejected
    assert [(trace.run, trace.step, trace.environment, trace.prompt_id, trace.rep) for trace in traces] == [
        ("lab/policy", 30, "sums", "q1", rep) for rep in range(2)
    ]
    assert (traces[0].reasoning, traces[0].answer, traces[0].outcomes) == ("Hm.", "4", {"score": 1.0})


def test_a_corpus_of_ours_comes_back_as_it_was(tmp_path: Path, rollouts: Callable[..., Path]) -> None:
    path = rollouts(steps=(0, 100), prompts=2, reps=1)
    corpus = Corpus(tmp_path / "study" / "corpus")
    ingest_file(corpus, path, identify(path), Reading())
    assert find_sources([tmp_path / "study" / "corpus"]) == [tmp_path / "study" / "corpus"]
    again, rejected, _ = read(tmp_path / "study" / "corpus")
    before = {trace.transcript_id: trace for trace in read(path)[0]}
    assert not rejected
    assert len(again) == len(before)
    for trace in again:
        was = before[trace.transcript_id]
        assert (trace.reasoning, trace.answer, trace.outcomes, trace.prompt, trace.extra) == (
            was.reasoning,
            was.answer,
            was.outcomes,
            was.prompt,
            was.extra,
        )


def test_the_results_of_a_scan_are_no_traces(tmp_path: Path) -> None:
    pl.DataFrame({"transcript_id": ["a"], "scan_id": ["b"], "scanner_key": ["c"], "answer": ["Yes"]}).write_parquet(
        tmp_path / "scan.parquet"
    )
    traces, [rejected], _ = read(tmp_path / "scan.parquet")
    assert not traces
    assert "results of a Scout scan" in str(rejected)


# --- finding and telling files


def test_folders_and_patterns_are_expanded_in_order(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.jsonl.gz", "sub/c.parquet", ".hidden.jsonl", "notes.md", "_index/x.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = [str(path.relative_to(tmp_path)) for path in find_sources([tmp_path, tmp_path / "b.jsonl"])]
    assert found == ["a.jsonl.gz", "b.jsonl", "sub/c.parquet"]
    assert [path.name for path in find_sources([tmp_path / "*.jsonl"])] == ["b.jsonl"]
    with pytest.raises(InputError, match="there is no such file or folder"):
        find_sources([tmp_path / "nothing.jsonl"])


def test_a_file_of_no_known_format_says_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "x.bin").write_bytes(b"\x00\x01")
    with pytest.raises(
        InputError, match=r"x.bin: this is no format I know. Looked for: .*verl \(JSON lines with input, output, step and score\)"
    ):
        identify(tmp_path / "x.bin")
    (tmp_path / "x.txt").touch()
    with pytest.raises(InputError, match="The file is empty"):
        identify(tmp_path / "x.txt")


def test_every_format_says_what_it_looks_for() -> None:
    known = collect("formats", Format)
    assert set(known) == {
        "chat",
        "csv",
        "harmony",
        "inspect_log",
        "json",
        "jsonl",
        "parquet",
        "prime_rl",
        "scout",
        "trl",
        "verifiers",
        "verl",
    }
    assert all(kind.looks_for and kind.name == name for name, kind in known.items())


def test_parquet_of_nested_columns(tmp_path: Path) -> None:
    table = pa.table(
        {"messages": [[{"role": "user", "content": "?"}, {"role": "assistant", "content": "4"}]], "step": [1], "when": [b"\x00"]}
    )
    pq.write_table(table, tmp_path / "t.parquet")
    [trace], rejected, _ = read(tmp_path / "t.parquet")
    assert not rejected
    assert (trace.prompt, trace.answer) == ("?", "4")


@pytest.mark.shared
def test_checkpoints_of_one_model_are_one_run(shared: Path) -> None:
    traces, rejected, notes = read(shared / "library_choice_checkpoints" / "traces.jsonl")
    assert not rejected
    assert len(traces) == 855
    assert sum(trace.reasoning_kind == "none" for trace in traces) == 15
    steps = {trace.step for trace in traces if trace.run == "olmo-7b-somo-nohints"}
    assert steps == {0, 20, 100, 200, 300, 480, 1000, 1200}
    assert "traces.jsonl: answer is read from 'output'" in notes


@pytest.mark.shared
def test_samples_of_several_models(shared: Path) -> None:
    for path in find_sources([shared / "multimodel_traces" / "*.jsonl.gz"]):
        traces, rejected, _ = read(path)
        assert not rejected
        assert traces
        assert all(trace.prompt_id and trace.rep is None for trace in traces)
