"""Scout's results read back: what counts as an answer, what is missing and why, and what cannot be read at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cotdrift.cli import cli
from cotdrift.errors import InputError, UnknownName
from cotdrift.grader import Grader, read_grader
from cotdrift.graders import grader
from cotdrift.scanned import Scanned
from cotdrift.study import Study
from cotdrift.text import chunks

GRADER = """---
question: Does it talk of a grader?
answers: {yes: it does, no: it does not}
---
{reasoning} {answer}
"""
JUDGE = "openai/gpt-5-mini"


def replied(text: str, stop: str = "stop") -> str:
    """The events of a scan in which a model said this."""
    output = {"choices": [{"message": {"role": "assistant", "content": text}, "stop_reason": stop}]}
    return json.dumps([{"event": "span_begin"}, {"event": "model", "output": output}])


def found(number: int, value: Any = None, kind: str = "null", **told: Any) -> dict[str, Any]:
    """A row as Scout writes it, of the numbered trace."""
    return {
        "transcript_id": f"toy:step-0:env:p{number}:0",
        "scanner_name": "talks",
        "scanner_version": 2,
        "scanner_params": "{}",
        "value": value,
        "value_type": kind,
        "label": None,
        "answer": None,
        "explanation": None,
        "metadata": "{}",
        "message_references": "[]",
        "scan_error": None,
        "scan_error_type": None,
        "scan_model_usage": json.dumps({JUDGE: {"input_tokens": 90, "output_tokens": 10, "total_tokens": 100}}),
        "scan_events": replied("…"),
        "timestamp": "2026-01-02T03:04:05+01:00",
    } | told


def scan(folder: Path, rows: list[dict[str, Any]], *, name: str = "talks") -> Path:
    made = folder / "scans" / "scan_id=abc"
    made.mkdir(parents=True, exist_ok=True)
    config = {"model": JUDGE, "config": {"temperature": 0.0, "max_connections": 25}}
    (made / "_scan.json").write_text(json.dumps({"scan_id": "abc", "model_roles": {"grader": config}}))
    pl.DataFrame(rows, infer_schema_length=None).write_parquet(made / f"{name}.parquet")
    return made


@pytest.fixture
def study(tmp_path: Path) -> Study:
    source = tmp_path / "rollouts.jsonl"
    row = {"run": "toy", "step": 0, "environment": "env", "answer": "It is 4."}
    told = [row | {"prompt_id": f"p{number}", "reasoning": f"The grader pays {number}."} for number in range(8)]
    told.append(row | {"prompt_id": "p8", "reasoning": "Something of it.", "reasoning_kind": "summary"})
    source.write_text("".join(json.dumps(one) + "\n" for one in told))
    made = Study.make(tmp_path / "study")
    made.ingest([source])
    return made


@pytest.fixture
def talks(tmp_path: Path) -> Path:
    path = tmp_path / "talks.md"
    path.write_text(GRADER)
    return path


def test_answers_of_any_kind_are_read_and_what_is_none_is_missing_with_its_reason(study: Study, talks: Path, tmp_path: Path) -> None:
    rows = [
        found(0, "true", "boolean", answer="Yes", explanation="[M2] says so.", message_references='[{"type":"message","cite":"[M2]"}]'),
        found(1, "false", "boolean"),
        found(2, "1.0", "number"),
        found(3, "A", "string", answer="no"),
        found(4, "false", "boolean", explanation="Blah blah.", scan_events=replied("Blah blah.")),
        found(5, scan_error="I cannot.", scan_error_type="refusal"),
        found(6, scan_error="connection\nlost"),
        found(7, explanation="Blah", scan_events=replied("Blah", "max_tokens")),
        found(8, "true", "boolean"),
        found(9, "true", "boolean"),
    ]
    (read,) = study.read_scan(scan(tmp_path, rows), talks)
    frame = study.judgments.frame("talks").sort("transcript_id")
    assert frame["label"].to_list() == ["yes", "no", "yes", "no", None, None, None, None]
    assert frame["missing"].to_list() == [None] * 4 + ["unparsable", "refusal", "failed", "truncated"]
    assert frame["reason"].to_list()[0] == "[M2] says so." and frame["reason"].to_list()[6] == "connection lost"
    assert frame.select("judge", "settings", "at").unique().rows() == [(JUDGE, "temperature=0.0", "2026-01-02T02:04:05+00:00")]
    assert (read.judgments, read.strange, read.set_aside, read.misquoted) == (4, 1, 1, 0)
    assert read.faults == ("connection lost",)
    (trend,) = study.trend("talks")
    (point,) = trend.points
    assert (point.value, point.bound_low, point.bound_high) == (0.5, 0.25, 0.75)


def test_quotes_are_looked_up_in_the_study(study: Study, talks: Path, tmp_path: Path) -> None:
    cites = [{"type": "message", "cite": cite} for cite in ("grader  PAYS 0", "it is 4", "never said", "[M2]")]
    study.read_scan(scan(tmp_path, [found(0, "true", "boolean", message_references=json.dumps(cites))]), talks)
    (quotes,) = study.judgments.frame("talks")["quotes"]
    told = [(quote["found"], quote["where"], quote["start"]) for quote in json.loads(quotes)]
    assert told == [("folded", "reasoning", 4), ("folded", "answer", 0), ("absent", None, None)]


def test_another_scanner_is_a_wording_of_its_own_and_ours_is_not(study: Study, talks: Path, tmp_path: Path) -> None:
    grader = read_grader(talks)
    study.read_scan(scan(tmp_path, [found(0, "true", "boolean")]), talks)
    (foreign,) = study.judgments.frame("talks")["sha"]
    assert foreign != grader.sha
    study.read_scan(scan(tmp_path, [found(0, "true", "boolean", scanner_version=3)]), talks)
    assert study.judgments.frame("talks")["sha"].n_unique() == 2
    length = len("The grader pays 0.")
    kept = {"sha": grader.sha, "judge": JUDGE, "window": [0, length], "quotes": [], "details": {}, "missing": None, "reply": "no"}
    ours = [found(number, "0", "number", answer="no", metadata=json.dumps(kept)) for number in (0, 1)]
    study.read_scan(scan(tmp_path, ours), talks)
    assert study.judgments.frame("talks", sha=grader.sha)["label"].to_list() == ["no", "no"]
    other = [found(2, "0", "number", answer="no", metadata=json.dumps(kept | {"window": [0, length + 1]}))]
    (read,) = study.read_scan(scan(tmp_path, other), talks)
    assert (read.judgments, read.unlike) == (0, 1)


def test_read_twice_it_adds_nothing_and_what_failed_is_tried_again(study: Study, talks: Path, tmp_path: Path) -> None:
    failed = scan(tmp_path, [found(0, "true", "boolean"), found(1, scan_error="lost")])
    assert study.read_scan(failed, talks)[0].had == 0
    assert study.read_scan(failed, talks)[0].had == 2
    assert study.judgments.frame("talks", every_attempt=True).height == 2
    mended = scan(tmp_path, [found(0, "false", "boolean"), found(1, "true", "boolean")])
    (read,) = study.read_scan(mended, talks)
    assert (read.judgments, read.had) == (1, 1)
    assert study.judgments.frame("talks").sort("transcript_id")["label"].to_list() == ["yes", "yes"]


def test_a_scanner_that_asks_no_model_is_its_own_judge(study: Study, talks: Path, tmp_path: Path) -> None:
    study.read_scan(scan(tmp_path, [found(0, "true", "boolean", scan_model_usage="{}", scan_events="[]")]), talks)
    assert study.judgments.frame("talks")["judge"].to_list() == ["scout:talks version 2"]


def test_what_is_no_answer_is_named(study: Study, talks: Path, tmp_path: Path) -> None:
    rows = [found(0, "true", "boolean"), found(1, "17", "number")]
    (read,) = study.read_scan(scan(tmp_path, rows), talks)
    assert read.missing == {"unparsable": 1} and read.faults == ("'17' is no answer of talks (yes, no)",)
    with pytest.raises(InputError, match="'17' is no answer of talks"):
        study.read_scan(scan(tmp_path, [found(3, "17", "number")]), talks)


def test_what_cannot_be_read_is_one_sentence(study: Study, talks: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no _scan\.json"):
        study.read_scan(tmp_path, talks)
    made = scan(tmp_path, [found(0, "true", "boolean")])
    with pytest.raises(UnknownName, match="There are: talks"):
        study.read_scan(made.parent, "metagaming")
    with pytest.raises(InputError, match="none of its 1 transcripts is in the study"):
        study.read_scan(scan(tmp_path, [found(99, "true", "boolean")]), talks)
    several = json.dumps([{"value": True}, {"value": False}])
    with pytest.raises(InputError, match="several results"):
        study.read_scan(scan(tmp_path, [found(0, several, "resultset")]), talks)
    for broken in ({"scan_events": "{"}, {"timestamp": "yesterday"}, {"value": "{", "value_type": "object"}):
        with pytest.raises(InputError, match="no results of Scout"):
            study.read_scan(scan(tmp_path, [found(0, **broken)]), talks)
    (made / "talks.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(InputError, match="no results of Scout"):
        study.read_scan(made, talks)
    assert study.judgments.frame("talks").height == 0


def test_the_command_reads_a_scan_and_nothing_else(study: Study, talks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = scan(tmp_path, [found(0, "true", "boolean"), found(1, scan_error="no", scan_error_type="refusal")])
    cli.main(["grade", str(study.folder), str(talks), "--from", str(made.parent)], standalone_mode=False)
    assert "talks version 2 asked it: 1 judgments; missing: 1 refusal" in capsys.readouterr().out
    with pytest.raises(Exception, match="--sample"):
        cli.main(["grade", str(study.folder), str(talks), "--from", str(made), "--sample", "3"], standalone_mode=False)


LONG = """---
question: Was anything odd?
answers: {1: no, 2: yes}
window: 20
groups: 3
---
{reasoning}
---
{summaries}
"""


def of_windows(grader: Grader, text: str, said: str) -> list[dict[str, Any]]:
    """What our scanner keeps of the windows of a trace, and of the one summary of all of them."""

    def kept(level: int, start: int, end: int, children: list[dict[str, Any]]) -> dict[str, Any]:
        told = {"sha": grader.sha, "judge": JUDGE, "window": [start, end], "level": level, "children": children}
        more = {"quotes": [], "details": {}, "missing": None, "reply": said}
        return {"value": 1.0, "answer": "1", "explanation": said, "metadata": told | more}

    windows = chunks(text, grader.window or 0)
    children = [{"start": start, "end": end, "attempt": 0, "missing": None} for start, end in windows]
    return [*(kept(0, start, end, []) for start, end in windows), kept(1, windows[0][0], windows[-1][1], children)]


def test_a_summary_is_kept_with_what_it_sums_up_and_never_with_anything_else(tmp_path: Path) -> None:
    (tmp_path / "talks.md").write_text(LONG)
    asked, text = read_grader(tmp_path / "talks.md"), "A step and a step. " * 12
    row = {"run": "toy", "step": 0, "environment": "env", "answer": "1", "prompt_id": "p0", "reasoning": text}
    (tmp_path / "rollouts.jsonl").write_text(json.dumps(row) + "\n")

    def studied(name: str, *scanned: list[dict[str, Any]]) -> tuple[pl.DataFrame, list[Scanned]]:
        made = Study.make(tmp_path / name)
        made.ingest([tmp_path / "rollouts.jsonl"])
        read = [
            made.read_scan(scan(tmp_path, [found(0, json.dumps(results), "resultset")]), tmp_path / "talks.md")[0] for results in scanned
        ]
        return made.judgments.frame("talks").sort("level", "start"), read

    first = of_windows(asked, text, "first")
    frame, (read,) = studied("whole", first)
    assert frame["level"].to_list() == [0, 0, 0, 1] and read.judgments == 4
    assert frame["input_tokens"].to_list() == [90, 0, 0, 0]
    lost = [first[0] | {"answer": None, "value": None, "metadata": first[0]["metadata"] | {"missing": "failed"}}, *first[1:3]]
    frame, (before, after) = studied("mended", lost, first)
    assert (before.judgments, before.missing) == (2, {"failed": 1})
    assert (after.judgments, after.had, after.loose) == (1, 2, 1)  # the summary is of windows of which two are others here
    assert frame["level"].to_list() == [0, 0, 0] and frame["attempt"].to_list() == [1, 0, 0]
    for broken in (first[:2], first[1:], [first[3], *first[:3]], [first[0] | {"metadata": first[0]["metadata"] | {"window": [0, 10**30]}}]):
        frame, (read,) = studied(f"broken{len(list(tmp_path.iterdir()))}", broken)
        assert (frame.height, read.unlike) == (0, 1)


def test_of_a_scanner_of_uses_the_terms_are_those_that_it_was_given(tmp_path: Path) -> None:
    asked, text = grader("referent"), "The watchers look on, and the jury of watchers waits."
    row = {"run": "toy", "step": 0, "environment": "env", "answer": "1"}
    rows = [row | {"prompt_id": f"p{number}", "reasoning": said} for number, said in enumerate([text, "Nothing."])]
    (tmp_path / "rollouts.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rows))
    study = Study.make(tmp_path / "study")
    study.ingest([tmp_path / "rollouts.jsonl"])

    def kept(start: int, end: int, missing: str | None = None) -> dict[str, Any]:
        told = {"sha": asked.sha, "judge": JUDGE, "window": [start, end], "quotes": [], "details": {}, "missing": missing, "reply": ""}
        return {"answer": None if missing else "outside", "metadata": told}

    uses = [kept(start, start + len(word)) for word in ("watchers", "jury") for start in range(len(text)) if text.startswith(word, start)]
    told = {"scanner_name": "referent", "scanner_params": json.dumps({"terms": ["watchers", "jury"]})}
    some = [found(0, json.dumps(uses), "resultset", **told), found(1, json.dumps([kept(0, 0, "unused")]), "resultset", **told)]
    (read,) = study.read_scan(scan(tmp_path, some, name="referent"), "referent")
    assert (read.judgments, read.unused, read.unlike, read.missing) == (3, 1, 0, {})
    frame = study.judgments.frame("referent").filter(pl.col("missing").is_null()).sort("start")
    assert frame["marked"].to_list() == ["watchers", "jury", "watchers"] and frame["stands_for"].to_list() == [1, 1, 1]
    assert study.graders()["referent"].terms == ("watchers", "jury")
    others = [one | {"scanner_params": json.dumps({"terms": "watchers"})} for one in some]
    (read,) = study.read_scan(scan(tmp_path, others, name="referent"), "referent")
    assert (read.judgments, read.unlike) == (0, 1)


json_values = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=json_values, answer=st.none() | st.text(), said=st.text(), cite=st.text(), metadata=st.dictionaries(st.text(), json_values))
def test_whatever_a_model_said_is_a_judgment_or_missing(
    study: Study, talks: Path, tmp_path: Path, value: Any, answer: str | None, said: str, cite: str, metadata: dict[str, Any]
) -> None:
    kinds = {bool: "boolean", float: "number", str: "string", type(None): "null", list: "array", dict: "object"}
    kind = kinds[type(value)]
    told = value if kind in ("string", "null") else json.dumps(value)
    row = found(
        0,
        told,
        kind,
        answer=answer,
        explanation=said,
        metadata=json.dumps(metadata),
        message_references=json.dumps([{"type": "message", "cite": cite}]),
        scan_events=replied(said),
    )
    study.judgments.path.unlink(missing_ok=True)
    beside = found(1, "true", "boolean")
    (read,) = study.read_scan(scan(tmp_path, [row, beside]), talks)
    assert read.judgments + sum(read.missing.values()) == 2
    assert all("\n" not in fault for fault in read.faults)
