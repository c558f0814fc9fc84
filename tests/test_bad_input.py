"""Bad input: each record that cannot be read is named and kept, the others are read, and nothing worse happens."""

import gzip
import json
import time
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from cotdrift import opening
from cotdrift.corpus import Corpus
from cotdrift.errors import CotdriftError, InputError
from cotdrift.format import Format, Reading
from cotdrift.formats import identify
from cotdrift.ingest import ingest_file
from cotdrift.shelf import collect
from cotdrift.trace import Rejected, Trace

RECORD = {"run": "a", "step": 3, "environment": "sums", "prompt_id": "q1", "reasoning": "One and one.", "answer": "2"}
GOOD = json.dumps(RECORD).encode() + b"\n"


def read(path: Path, **reading: Any) -> tuple[list[Trace], list[Rejected]]:
    found = list(identify(path).read(path, Reading(**reading), lambda _: None))
    return [one for one in found if isinstance(one, Trace)], [one for one in found if isinstance(one, Rejected)]


def file(folder: Path, content: bytes, name: str = "t.jsonl") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def line(**fields: Any) -> bytes:
    return json.dumps(RECORD | fields).encode() + b"\n"


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (b"{not json}\n", "2: this is no JSON"),
        (b"[1, 2]\n", "2: this is no JSON object"),
        (b'{"prompt_id": "q", "reasoning": "\xff\xfe"}\n', "2: byte 34 of the record is no UTF-8. Write the file as UTF-8"),
        (b"\x00\x01\x02\x89PNG\n", "2: "),
        (b'{"a": ' * 5000 + b"1" + b"}" * 5000 + b"\n", "2: the record is nested more than 100 deep"),
        (b'{"a":' + b"[" * 150 + b"]" * 150 + b"}\n", "2: the record is nested more than 100 deep"),
        (line(step=-1), "2: step: -1 is not between 0 and 1000000000000000"),
        (line(step=10**30), "2: step: 1000000000000000000000000000000 is not between"),
        (line(step=True), "2: step: 'True' is no whole number"),
        (line(step=1.5), "2: step: '1.5' is no whole number"),
        (line(step="late"), "2: step: 'late' is no whole number"),
        (line(step=float("nan")), "2: step: 'nan' is no whole number"),
        (line(step=None), "2: step: other records of the file have one, this one has none"),
        (line(reward=float("nan")), "2: reward: 'NaN' is not a finite number"),
        (line(reward=float("-inf")), "2: reward: '-Infinity' is not a finite number"),
        (b'{"prompt_id": "q", "reasoning": "r", "step": 1, "reward": 1e999}\n', "2: reward: 'inf' is not a finite number"),
        (b'{"prompt_id": "q", "reasoning": "r", "step": ' + b"1" * 5000 + b"}\n", "2: this is no JSON"),
        (
            line(prompt_id=None),
            "2: prompt_id: there is none, and no prompt to tell the question by. Name the field that tells questions apart: --map",
        ),
        (line(prompt_id=["q"]), "2: prompt_id: \"['q']\" is neither text nor a number"),
        (line(reasoning={"a": 1}), "2: reasoning: dict is no text"),
        (line(rep=-1), "2: rep: -1 is not between"),
        (line(messages=[{"role": "oracle", "content": "x"}]), "2: messages: message 1 has the role 'oracle', which is none of"),
        (line(messages=[3]), "2: messages: message 1 is no object"),
        (line(messages=[{"role": "user", "content": 3}]), "2: messages: message 1 has content that is neither"),
        (line(condition_audit=[1]), "2: condition_audit: list is no level of a condition"),
        (line(outcome_right="perhaps"), "2: outcome_right: 'perhaps' is neither a number nor yes or no"),
        (b'{"step": 1, "prompt_id": "q"}\n', "2: no field holds reasoning or an answer"),
    ],
)
def test_a_bad_line_is_named_and_the_others_are_read(tmp_path: Path, bad: bytes, said: str) -> None:
    path = file(tmp_path, GOOD + bad + GOOD)
    traces, [rejected] = read(path)
    assert len(traces) == 2
    assert str(rejected).startswith(f"{path}:{said}")
    assert rejected.way_out
    assert rejected.record.strip().encode() == bad.decode("utf-8", "backslashreplace").strip().encode()


def test_a_mapped_outcome_that_is_no_number_is_named(tmp_path: Path) -> None:
    traces, [rejected] = read(file(tmp_path, line(label="yes") + line(label="maybe")), fields={"outcome_label": "label"})
    assert traces[0].outcomes == {"label": 1.0}
    assert "label: 'maybe' is neither a number nor yes or no" in str(rejected)


def test_an_unmapped_outcome_that_is_no_number_is_kept_beside(tmp_path: Path) -> None:
    traces, rejected = read(file(tmp_path, line(score=1) + line(score="good")))
    assert not rejected
    assert [(trace.outcomes, trace.extra) for trace in traces] == [({"score": 1.0}, {}), ({}, {"score": "good"})]


def test_numbers_without_end_stay_as_text_where_they_measure_nothing(tmp_path: Path) -> None:
    [trace], rejected = read(file(tmp_path, line(logprobs=[float("nan"), -1.0], big=10**30)))
    assert not rejected
    assert trace.extra == {"logprobs": ["NaN", -1.0], "big": 10**30}
    msgspec.json.encode(trace)


def test_half_a_surrogate_pair_becomes_the_replacement_character(tmp_path: Path) -> None:
    traces, rejected = read(file(tmp_path, b'{"prompt_id": "q", "reasoning": "a\\ud800b", "\\udfff": "\\ud83d\\ude00"}\n'))
    assert not rejected
    assert traces[0].reasoning == "a\ufffdb"
    assert traces[0].extra == {"\ufffd": "😀"}


def test_odd_characters_pass_through_a_corpus(tmp_path: Path) -> None:
    odd = ["../../etc/passwd", "a/b\\c", "nul\x00byte", "con", " ", "x" * 3000, "😀\u202e", "..", "%2e", "'; drop"]
    path = file(
        tmp_path, b"".join(line(prompt_id=name, run=name, checkpoint=name, environment=name, reasoning=f"{name}\x00\u2028") for name in odd)
    )
    corpus = Corpus(tmp_path / "study" / "corpus")
    done = ingest_file(corpus, path, identify(path), Reading())
    assert (done.traces, done.rejected) == (len(odd), 0)
    assert {trace.prompt_id for trace in corpus.traces()} == set(odd)
    assert sorted(one.name for one in tmp_path.iterdir()) == ["study", "t.jsonl"]


def test_a_line_of_100_mb_is_read_in_reasonable_time(tmp_path: Path) -> None:
    path = file(tmp_path, GOOD + line(reasoning="word" * 25_000_000) + GOOD)
    begun = time.perf_counter()
    traces, rejected = read(path)
    assert ([len(trace.reasoning) for trace in traces], rejected) == ([12, 100_000_000, 12], [])
    assert time.perf_counter() - begun < 30  # seconds; it takes about one


def test_a_line_that_is_too_long_is_named_and_the_others_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "LONGEST_RECORD", 10_000)
    monkeypatch.setattr(opening, "CHUNK", 1000)
    traces, [rejected] = read(file(tmp_path, GOOD + line(reasoning="word " * 200_000) + GOOD))
    assert len(traces) == 2
    assert "the line is 1000097 bytes long, and 10000 are the most" in str(rejected)
    listed = b"[" + GOOD + b"," + line(reasoning="word " * 200_000) + b"]"
    traces, [rejected] = read(file(tmp_path, listed, "t.json"))
    assert len(traces) == 1
    assert "longer than 10000 bytes" in str(rejected)


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_compressed_data_that_end_too_early_are_read_up_to_there(tmp_path: Path, pack: Any) -> None:
    said = [f"{number * 7919 % 10007:x} {number**3:x} " * 5 for number in range(5_000)]
    text = b"".join(line(reasoning=one) for one in said)
    table = b"prompt_id,step,reasoning\n" + b"".join(f"q,1,{one}\n".encode() for one in said)
    for name, content in (("t.jsonl", text), ("t.json", b"[" + b",".join(text.splitlines()) + b"]"), ("t.csv", table)):
        packed = pack(content)
        traces, rejected = read(file(tmp_path, packed[: len(packed) * 3 // 4], name))
        assert len(traces) > 1000, name
        assert "too early" in str(rejected[-1]), name
        assert len(rejected) == 1, name


def test_a_damaged_gzip_is_named(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(b"".join(line(reasoning=str(number**5)) for number in range(5000))))
    packed[len(packed) // 2] ^= 0xFF
    _, rejected = read(file(tmp_path, bytes(packed)))
    assert any("gzip data" in str(one) for one in rejected)


@pytest.mark.parametrize("name", ["t.jsonl", "t.ndjson", "t.eval"])
@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xef\xbb\xbf"])
def test_a_file_with_nothing_in_it_says_so(tmp_path: Path, name: str, content: bytes) -> None:
    traces, [rejected] = read(file(tmp_path, content, name))
    assert not traces
    assert str(rejected).startswith(f"{tmp_path}/{name}:1: ")


@pytest.mark.parametrize("name", ["t.json", "t.csv", "t.parquet", "t.txt"])
def test_an_empty_file_that_nothing_knows_is_no_format(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="The file is empty"):
        read(file(tmp_path, b"", name))


def test_a_broken_parquet_file_is_named(tmp_path: Path) -> None:
    pl.DataFrame([RECORD] * 100).write_parquet(tmp_path / "t.parquet")
    whole = (tmp_path / "t.parquet").read_bytes()
    traces, [rejected] = read(file(tmp_path, whole[:-20], "t.parquet"))
    assert not traces
    assert "this parquet file cannot be read on" in str(rejected)


def test_an_outcome_that_is_nan_in_a_table_is_named(tmp_path: Path) -> None:
    pl.DataFrame([RECORD | {"reward": 1.0}, RECORD | {"reward": float("nan")}, RECORD | {"reward": None}]).write_parquet(
        tmp_path / "t.parquet"
    )
    traces, [rejected] = read(tmp_path / "t.parquet")
    assert [trace.outcomes for trace in traces] == [{"reward": 1.0}, {}]
    assert f"{tmp_path}/t.parquet:row 2: reward: 'nan' is not a finite number" in str(rejected)


def test_bad_rows_of_a_csv_are_named(tmp_path: Path) -> None:
    rows = b"prompt_id,reasoning,step\nq,r,1\nq,r,1,more\nq,\xff,1\nq,r\x00,\nq,r,-1\n\nq,r,2\n"
    traces, rejected = read(file(tmp_path, rows, "t.csv"))
    assert [trace.step for trace in traces] == [1, 2]
    assert [one.place for one in rejected] == ["3", "4", "5", "6"]
    assert "the row has 4 fields, and there are 3 names" in str(rejected[0])


def test_a_list_that_breaks_off_is_read_up_to_there(tmp_path: Path) -> None:
    for content, whole in ((b"[" + GOOD + b"," + GOOD[:30], 1), (b"[" + GOOD + b",}", 1), (b"[" + GOOD + b", nonsense", 1), (b"[", 0)):
        traces, rejected = read(file(tmp_path, content, "t.json"))
        assert len(traces) == whole
        assert "JSON" in str(rejected[0])


def test_a_step_pattern_that_gives_no_number_is_the_users_fault(tmp_path: Path) -> None:
    for pattern in ("(", "t", "(t)"):
        with pytest.raises(InputError, match="gives no step here"):
            read(file(tmp_path, GOOD), step_pattern=pattern)


# --- anything at all


TEXTS = st.sampled_from(
    [
        b'{"',
        b'"',
        b"[",
        b"]",
        b"{",
        b"}",
        b",",
        b":",
        b"\n",
        b"\\",
        b"reasoning",
        b"prompt_id",
        b"step",
        b"messages",
        b"nodes",
        b"task",
        b"NaN",
        b"1e999",
    ]
)
PIECES = st.lists(st.one_of(TEXTS, st.binary(max_size=8)), max_size=40).map(b"".join)
HEADS = st.sampled_from(
    [
        b"",
        b"PK\x03\x04",
        b"PAR1",
        gzip.compress(b"x")[:10],
        b"\x28\xb5\x2f\xfd",
        b"<|start|>assistant<|message|>",
        b"\xef\xbb\xbf{",
        b"[",
        b'{"eval": {}, "version": 2, "samples": [',
    ]
)
NAMES = st.sampled_from(["t.jsonl", "t.json", "t.csv", "t.tsv", "t.parquet", "t.eval", "t.txt", "t.jsonl.gz"])
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(st.characters(), max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=5), inner, max_size=4)),
    max_leaves=6,
)
FIELDS = st.sampled_from(
    "prompt prompt_id step run reasoning answer messages completion output input score "
    "example_id reward nodes task gts response choices rep finish_reason".split()
)


@settings(max_examples=150)
@given(head=HEADS, body=PIECES, name=NAMES)
def test_any_bytes_are_read_or_refused(tmp_path_factory: pytest.TempPathFactory, head: bytes, body: bytes, name: str) -> None:
    path = file(tmp_path_factory.getbasetemp(), head + body, name)
    try:
        traces, rejected = read(path)
    except CotdriftError:
        return
    for one in (*traces, *rejected):
        msgspec.json.encode(one)


@settings(max_examples=100)
@given(content=st.binary(max_size=200), packed=st.booleans())
def test_every_format_stands_any_bytes(tmp_path_factory: pytest.TempPathFactory, content: bytes, packed: bool) -> None:
    path = file(tmp_path_factory.getbasetemp(), gzip.compress(content) if packed else content, "t.any")
    for kind in collect("formats", Format).values():
        for one in kind.read(path, Reading(), lambda _: None):
            msgspec.json.encode(one)


@settings(max_examples=60)
@given(records=st.lists(st.dictionaries(FIELDS, JSON, max_size=8), min_size=1, max_size=4))
def test_any_record_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, records: list[dict[str, Any]]) -> None:
    path = file(tmp_path_factory.getbasetemp(), b"".join(json.dumps(record).encode() + b"\n" for record in records))
    traces, rejected = read(path)
    assert len(traces) + len(rejected) >= len(records)
    for one in (*traces, *rejected):
        msgspec.json.encode(one)


@settings(max_examples=100)
@given(
    sample=st.dictionaries(st.sampled_from("id epoch messages output scores metadata attachments limit input".split()), JSON, max_size=8)
)
def test_any_sample_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, sample: dict[str, Any]) -> None:
    log = {"version": 2, "eval": {"task": "t", "model": "m"}, "samples": [sample, {"id": 1, "epoch": 1}]}
    path = file(tmp_path_factory.getbasetemp(), json.dumps(log).encode(), "log.json")
    traces, rejected = read(path)
    assert len(traces) + len(rejected) == 2
    for one in (*traces, *rejected):
        msgspec.json.encode(one)
