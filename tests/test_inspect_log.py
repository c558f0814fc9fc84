"""Inspect logs: equal to what Inspect itself reads, and readable where Inspect stops."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
import zstandard

from cotdrift.errors import InputError
from cotdrift.format import Reading
from cotdrift.formats import identify
from cotdrift.trace import Rejected, Trace


def read(path: Path, **reading: Any) -> tuple[list[Trace], list[Rejected], list[str]]:
    notes: list[str] = []
    found = list(identify(path).read(path, Reading(**reading), notes.append))
    return [one for one in found if isinstance(one, Trace)], [one for one in found if isinstance(one, Rejected)], notes


EVAL: dict[str, Any] = {
    "task": "sums",
    "model": "organism/hinted@400",
    "model_base_url": "http://localhost/v1",
    "model_generate_config": {"temperature": 0.7, "max_tokens": 100},
    "metadata": {"run": "r1", "checkpoint_step": 300},
}
REASONED = [{"type": "reasoning", "reasoning": "Two and two."}, {"type": "text", "text": "4"}]


def sample(number: int = 1, epoch: int = 1, content: Any = REASONED, **more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": "2+2?", "source": "input"}, {"role": "assistant", "content": content, "source": "generate"}]
    output = {"model": "m", "choices": [{"message": messages[1], "stop_reason": "stop"}]}
    return {
        "id": f"q{number}",
        "epoch": epoch,
        "input": "2+2?",
        "target": "4",
        "messages": messages,
        "output": output,
        "attachments": {},
        "events": [],
    } | more


def write_log(path: Path, *samples: dict[str, Any], header: str = "header.json", log: dict[str, Any] | None = None) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("_journal/start.json", json.dumps({"version": 2, "eval": log or EVAL, "plan": {"config": {"top_p": 0.9}}}))
        for one in samples:
            archive.writestr(f"samples/{one['id']}_epoch_{one['epoch']}.json", json.dumps(one))
        if header:
            archive.writestr(
                header, json.dumps({"version": 2, "status": "success", "eval": log or EVAL, "plan": {"config": {"top_p": 0.9}}})
            )
    return path


def test_a_sample_is_a_trace(tmp_path: Path) -> None:
    scores = {
        "match": {"value": "C"},
        "judge": {"value": {"honest": True, "tone": "warm"}},
        "length": {"value": 12},
        "said": {"value": "nothing of note"},
    }
    traces, rejected, _ = read(write_log(tmp_path / "l.eval", sample(scores=scores, metadata={"family": "f1"}), sample(epoch=2)))
    assert not rejected
    first = traces[0]
    assert [(trace.prompt_id, trace.rep) for trace in traces] == [("q1", 1), ("q1", 2)]
    assert (first.run, first.step, first.environment, first.model) == ("r1", 300, "sums", "organism/hinted@400")
    assert (first.prompt, first.reasoning, first.answer, first.reasoning_kind, first.turns) == ("2+2?", "Two and two.", "4", "raw", ())
    assert first.outcomes == {"match": 1.0, "judge_honest": 1.0, "length": 12.0}
    assert first.extra == {
        "metadata": {"family": "f1"},
        "target": "4",
        "stop_reason": "stop",
        "score_judge_tone": "warm",
        "score_said": "nothing of note",
    }
    assert first.serving["temperature"] == 0.7
    assert first.serving["top_p"] == 0.9
    assert first.serving["provider"] == "organism"
    assert first.source == f"{tmp_path}/l.eval:samples/q1_epoch_1.json"


def test_a_sample_whose_id_holds_slashes_is_read(tmp_path: Path) -> None:
    path = write_log(tmp_path / "l.eval", sample() | {"id": "HumanEval/0"}, sample() | {"id": "a/b/c"}, sample())
    traces, rejected, _ = read(path)
    assert rejected == []
    assert {trace.source.partition(":samples/")[2] for trace in traces} == {
        "HumanEval/0_epoch_1.json",
        "a/b/c_epoch_1.json",
        "q1_epoch_1.json",
    }


def test_metadata_become_factors_when_asked_for(tmp_path: Path) -> None:
    path = write_log(tmp_path / "l.eval", sample(metadata={"audit": 50, "step": 9}))
    [trace], _, _ = read(path, fields={"condition_audit": "metadata.audit", "step": "metadata.step", "run": "eval.task"})
    assert (trace.conditions, trace.step, trace.run) == ({"audit": "50"}, 9, "sums")
    with pytest.raises(InputError, match="no sample has such a field"):
        read(path, fields={"condition_audit": "metadata.oddit"})


def test_the_step_of_a_log_comes_from_its_metadata_or_its_model(tmp_path: Path) -> None:
    path = tmp_path / "l.eval"
    for more, run, step in (
        ({"metadata": {"step": 5}}, "hinted", 5),
        ({"metadata": None}, "hinted", 400),
        ({"metadata": None, "model": "openai/gpt-4"}, "openai/gpt-4", 0),
    ):
        [trace], _, notes = read(write_log(path, sample(), log=EVAL | more))
        assert (trace.run, trace.step) == (run, step)
    assert any("no step found" in note for note in notes)
    [trace], _, _ = read(path, step_table={"openai/gpt-4": 77})
    assert trace.step == 77


@pytest.mark.parametrize(
    ("content", "kind", "reasoning", "answer"),
    [
        ([{"type": "reasoning", "reasoning": "abc", "redacted": True}, {"type": "text", "text": "4"}], "redacted", "", "4"),
        (
            [{"type": "reasoning", "reasoning": "abc", "summary": "Sums.", "redacted": True}, {"type": "text", "text": "4"}],
            "summary",
            "Sums.",
            "4",
        ),
        ([{"type": "reasoning", "reasoning": "", "summary": "Sums."}, {"type": "text", "text": "4"}], "summary", "Sums.", "4"),
        ([{"type": "reasoning", "reasoning": "Raw.", "summary": "Sums."}, {"type": "text", "text": "4"}], "raw", "Raw.", "4"),
        ("<think>Hm.</think>\n4", "raw", "Hm.", "4"),
        ("Hm.</think>4", "raw", "Hm.", "4"),
        ([{"type": "text", "text": "4"}], "none", "", "4"),
    ],
)
def test_kinds_of_reasoning_are_told_apart(tmp_path: Path, content: Any, kind: str, reasoning: str, answer: str) -> None:
    [trace], _, _ = read(write_log(tmp_path / "l.eval", sample(content=content)))
    assert (trace.reasoning_kind, trace.reasoning, trace.answer, trace.truncated) == (kind, reasoning, answer, False)


def test_raw_reasoning_is_not_mixed_with_summaries(tmp_path: Path) -> None:
    one = sample()
    one["messages"].insert(
        1, {"role": "assistant", "content": [{"type": "reasoning", "reasoning": "x", "summary": "Summed up.", "redacted": True}]}
    )
    [trace], _, _ = read(write_log(tmp_path / "l.eval", one))
    assert (trace.reasoning_kind, trace.reasoning) == ("raw", "Two and two.")


def test_what_was_cut_off_is_truncated(tmp_path: Path) -> None:
    stopped = sample(1)
    stopped["output"]["choices"][0]["stop_reason"] = "max_tokens"
    failed = sample(3, error={"message": "boom", "traceback": "", "traceback_ansi": ""}, messages=[])
    path = write_log(tmp_path / "l.eval", stopped, sample(2, limit={"type": "token", "limit": 5}), failed, sample(4, content="<think>Hm"))
    traces, rejected, _ = read(path)
    assert not rejected
    assert [trace.truncated for trace in traces] == [True] * 4
    assert traces[2].extra["error"] == "boom"


def test_agents_keep_their_turns_and_what_they_were_shown_is_not_theirs(tmp_path: Path) -> None:
    messages = [
        {"role": "user", "content": "1+1?", "source": "input"},
        {"role": "assistant", "content": "An example: 2", "source": "input"},
        {"role": "user", "content": "2+2?", "source": "input"},
        {
            "role": "assistant",
            "content": [{"type": "reasoning", "reasoning": "Ask."}],
            "tool_calls": [{"id": "c", "function": "add", "arguments": {"a": 2}, "type": "function"}],
        },
        {"role": "tool", "content": "4", "tool_call_id": "c", "function": "add"},
        {"role": "assistant", "content": [{"type": "reasoning", "reasoning": "Four."}, {"type": "text", "text": "4"}]},
    ]
    [trace], _, _ = read(write_log(tmp_path / "l.eval", sample(messages=messages)))
    assert (trace.reasoning, trace.answer, len(trace.turns)) == ("Ask.\n\nFour.", "4", 6)
    assert [(call.function, call.arguments) for call in trace.actions] == [("add", {"a": 2})]


def test_attachments_are_put_in_their_places(tmp_path: Path) -> None:
    content = [{"type": "reasoning", "reasoning": "attachment://a1"}, {"type": "text", "text": "attachment://gone"}]
    [trace], _, _ = read(write_log(tmp_path / "l.eval", sample(content=content, attachments={"a1": "Long."})))
    assert (trace.reasoning, trace.answer) == ("Long.", "attachment://gone")


def test_an_unfinished_log_is_read(tmp_path: Path) -> None:
    traces, rejected, _ = read(write_log(tmp_path / "l.eval", sample(1), sample(2), header=""))
    assert ([(trace.run, trace.step) for trace in traces], rejected) == ([("r1", 300)] * 2, [])


def test_members_packed_by_zstandard_or_not_at_all_are_read(tmp_path: Path) -> None:
    path = write_log(tmp_path / "l.eval", sample(1))
    with zipfile.ZipFile(path, "a", zipfile.ZIP_STORED) as archive:
        archive.writestr("samples/q2_epoch_1.json", json.dumps(sample(2)))
        packed = zstandard.compress(json.dumps(sample(3)).encode())
        info = zipfile.ZipInfo("samples/q3_epoch_1.json")
        archive.writestr(info, packed)
        info.compress_type, info.file_size = 93, len(json.dumps(sample(3)))
        info.CRC = __import__("zlib").crc32(json.dumps(sample(3)).encode())
    traces, rejected, _ = read(path)
    assert ([trace.prompt_id for trace in traces], rejected) == (["q1", "q2", "q3"], [])


def test_a_log_that_breaks_off_is_read_up_to_there(tmp_path: Path) -> None:
    path = write_log(tmp_path / "l.eval", *(sample(number, content="x" * 50 + str(number)) for number in range(20)))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    traces, [rejected], _ = read(path)
    assert 3 < len(traces) < 20
    assert [trace.prompt_id for trace in traces] == [f"q{number}" for number in range(len(traces))]
    assert "breaks off" in str(rejected)
    path.write_bytes(b"")
    assert "the file is empty" in str(read(path)[1][0])


def test_a_bad_sample_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    bad = sample(2)
    bad["messages"][1]["role"] = "oracle"
    path = write_log(tmp_path / "l.eval", sample(1), bad, sample(3, messages="none"), sample(4))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("samples/q5_epoch_1.json", '{"id": 5, "epoch"')
    traces, rejected, _ = read(path)
    assert [trace.prompt_id for trace in traces] == ["q1", "q4"]
    assert [one.place for one in rejected] == [f"samples/q{number}_epoch_1.json" for number in (2, 3, 5)]
    assert "the role 'oracle' is none of" in str(rejected[0])
    assert json.loads(rejected[0].record)["id"] == "q2"


def test_a_damaged_sample_is_named(tmp_path: Path) -> None:
    path = write_log(tmp_path / "l.eval", sample(1), sample(2))
    with zipfile.ZipFile(path) as archive:
        offset = archive.getinfo("samples/q1_epoch_1.json").header_offset
    content = bytearray(path.read_bytes())
    content[offset + 120 : offset + 124] = b"\xff\xff\xff\xff"
    path.write_bytes(bytes(content))
    traces, [rejected], _ = read(path)
    assert [trace.prompt_id for trace in traces] == ["q2"]
    assert rejected.place == "samples/q1_epoch_1.json"


def test_an_unscored_sample_has_no_outcome(tmp_path: Path) -> None:
    [trace], rejected, _ = read(write_log(tmp_path / "l.eval", sample(scores={"match": {"value": float("nan")}, "other": {"value": 1}})))
    assert (trace.outcomes, rejected) == ({"other": 1.0}, [])


def test_a_json_log_reads_like_an_archive(tmp_path: Path) -> None:
    samples = [sample(number, scores={"match": {"value": float("nan") if number else "C"}}) for number in range(5)]
    log = {"version": 2, "status": "success", "eval": EVAL, "plan": {"config": {"top_p": 0.9}}, "samples": samples, "reductions": []}
    (tmp_path / "l.json").write_text(json.dumps(log, indent=2))
    assert identify(tmp_path / "l.json").name == "inspect_log"
    ours, rejected, _ = read(tmp_path / "l.json")
    assert not rejected
    other, _, _ = read(write_log(tmp_path / "l.eval", *samples))
    plain = [
        [(trace.transcript_id, trace.reasoning, trace.answer, trace.outcomes, trace.serving, trace.extra) for trace in traces]
        for traces in (ours, other)
    ]
    assert plain[0] == plain[1]
    (tmp_path / "l.json").write_text(json.dumps(log)[:2000])
    traces, rejected, _ = read(tmp_path / "l.json")
    assert traces
    assert "ends in the middle" in str(rejected[-1])


# --- against Inspect itself


def _by_inspect(path: Path) -> dict[tuple[str, int], tuple[str, str, dict[str, float]]]:
    from inspect_ai.log import read_eval_log, read_eval_log_samples
    from inspect_ai.scorer import value_to_float

    number = value_to_float()
    if path.suffix == ".json":
        samples = read_eval_log(str(path)).samples or []
    else:
        samples = list(read_eval_log_samples(str(path), all_samples_required=False))
    found = {}
    for one in samples:
        said = [message for message in one.messages if message.role == "assistant" and message.source != "input"]
        blocks = [block for message in said if isinstance(message.content, list) for block in message.content if block.type == "reasoning"]
        reasoning = "\n\n".join(block.reasoning for block in blocks if not block.redacted and block.reasoning)
        answer = "\n\n".join(message.text for message in said if message.text)
        found[str(one.id), one.epoch] = (reasoning, answer, {name: number(score.value) for name, score in (one.scores or {}).items()})
    return found


def _by_us(path: Path) -> dict[tuple[str, int | None], tuple[str, str, dict[str, float]]]:
    traces, rejected, _ = read(path)
    assert not rejected
    return {(trace.prompt_id, trace.rep): (trace.reasoning, trace.answer, trace.outcomes) for trace in traces}


def test_what_is_known_of_the_server_is_kept_and_no_key_is(tmp_path: Path) -> None:
    log = EVAL | {
        "model_args": {"quantization": "fp8", "chat_template": "{{ messages }}", "api_key": "secret"},
        "model_generate_config": {"temperature": 0.7, "extra_headers": {"Authorization": "secret"}, "extra_body": {"min_p": 0.1}},
        "metadata": {"run": "r1", "checkpoint_step": 300, "provider": "inner"},
    }
    [trace] = read(write_log(tmp_path / "a.eval", sample(), log=log))[0]
    kept = {"quantization": "fp8", "temperature": 0.7, "top_p": 0.9, "provider": "inner", "extra_body": {"min_p": 0.1}}
    assert kept.items() <= trace.serving.items() and len(trace.serving["chat_template_hash"]) == 12
    assert "secret" not in str(trace.serving)


def test_of_the_logged_probabilities_a_sum_is_kept(tmp_path: Path) -> None:
    said = sample()
    tokens = [{"token": "4", "logprob": value, "top_logprobs": [{"token": "5", "logprob": -0.1}]} for value in (-0.2, -10.5, -9999.0, None)]
    said["output"]["choices"][0]["logprobs"] = {"content": tokens}
    traces, rejected, _ = read(write_log(tmp_path / "a.eval", said, sample(number=2)))
    assert not rejected
    assert traces[0].serving["sampled"] == {"tokens": 3, "improbable": 2}
    assert "sampled" not in traces[1].serving


@pytest.fixture(scope="module")
def real_logs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Logs that Inspect itself makes, of a model that reasons: an archive, its JSON, and one in chunks."""
    pytest.importorskip("inspect_ai")
    from inspect_ai import Task
    from inspect_ai import eval as run_eval
    from inspect_ai.dataset import Sample
    from inspect_ai.log import convert_eval_logs
    from inspect_ai.model import ChatMessageAssistant, ContentReasoning, ContentText, ModelOutput, ModelUsage, get_model
    from inspect_ai.scorer import match
    from inspect_ai.solver import generate

    def outputs() -> Any:
        for number in range(100):
            content = [ContentReasoning(reasoning=f"Thought {number}. " * 100), ContentText(text=f"{number % 4}")]
            usage = ModelUsage(input_tokens=12, output_tokens=220, reasoning_tokens=200, total_tokens=232)
            yield ModelOutput(
                model="mockllm/model", choices=[{"message": ChatMessageAssistant(content=content), "stop_reason": "stop"}], usage=usage
            )

    folder = tmp_path_factory.mktemp("logs")
    task = Task(
        dataset=[Sample(id=f"q {number}", input=f"{number}?", target="2", metadata={"n": number}) for number in range(6)],
        solver=generate(),
        scorer=match(),
    )
    model = get_model("mockllm/model", custom_outputs=outputs(), memoize=False)
    run_eval(task, model=model, epochs=2, log_dir=str(folder / "eval"), display="none", metadata={"checkpoint_step": 1000, "run": "runA"})
    [archive] = (folder / "eval").glob("*.eval")
    convert_eval_logs(str(archive), to="json", output_dir=str(folder / "json"))
    logs = {"eval": archive, "json": next((folder / "json").glob("*.json"))}
    try:
        from inspect_ai.log._recorders.chunked import convert_eval_logs_to_chunked
    except ImportError:
        return logs
    convert_eval_logs_to_chunked(str(archive), str(folder / "chunked"))
    return logs | {"chunked": next((folder / "chunked").glob("*.eval"))}


@pytest.mark.filterwarnings("ignore")
def test_logs_that_inspect_makes_read_as_inspect_reads_them(real_logs: dict[str, Path]) -> None:
    theirs = _by_inspect(real_logs["eval"])
    assert len(theirs) == 12
    for kind, path in real_logs.items():
        assert _by_us(path) == theirs, kind
    trace = read(real_logs["eval"])[0][0]
    assert (trace.run, trace.step, trace.reasoning_kind, trace.environment) == ("runA", 1000, "raw", "task")


@pytest.mark.shared
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["theory-of-mind.eval", "unfinished.eval", "log_message_deduplication.eval", "log_formats.json"])
def test_shared_logs_read_as_inspect_reads_them(shared: Path, name: str) -> None:
    pytest.importorskip("inspect_ai")
    assert _by_us(shared / "eval_logs" / name) == _by_inspect(shared / "eval_logs" / name)


@pytest.mark.shared
def test_a_shared_log_is_read_without_its_end(shared: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(shared / "eval_logs" / "theory-of-mind.eval") as whole, zipfile.ZipFile(tmp_path / "cut.eval", "w") as cut:
        for name in whole.namelist():
            if name.startswith("samples/") or name == "_journal/start.json":
                cut.writestr(name, whole.read(name))
    traces, rejected, _ = read(tmp_path / "cut.eval")
    assert (len(traces), rejected) == (100, [])
