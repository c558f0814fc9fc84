"""What a corpus owes its users: what goes in comes out, all at once or not at all."""

import asyncio
import random
import string
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cotdrift.corpus import Corpus, Source, SourceWriter, folder_name
from cotdrift.errors import UnknownName
from cotdrift.trace import Message, Rejected, ToolCall, Trace

SOURCE = Source(key="k1", path="/rollouts.jsonl", content="c", format="jsonl", bytes=3)
AGENT = Trace.example(
    "First look.\n\nThen act.",
    answer="I looked.\n\nDone.",
    rep=7,
    turns=(
        Message(role="user", content="fix it"),
        Message(role="assistant", content="I looked.", reasoning="First look.", tool_calls=(ToolCall("1", "bash", {"cmd": "ls"}),)),
        Message(role="tool", content="a.py", tool_call_id="1"),
        Message(role="assistant", content="Done.", reasoning="Then act."),
    ),
)


def write(corpus: Corpus, *traces: Trace, source: Source = SOURCE) -> Source:
    with SourceWriter(corpus, source) as writer:
        for trace in traces:
            writer.add(trace)
        return writer.commit()


text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
traces = st.builds(
    Trace,
    run=text,
    step=st.integers(0, 10**12),
    checkpoint=text,
    environment=text,
    prompt_id=text,
    rep=st.integers(0, 2**40),
    prompt=text,
    reasoning=text,
    answer=text,
    reasoning_kind=st.sampled_from(["raw", "summary", "none"]),
    conditions=st.dictionaries(st.text(string.ascii_lowercase, min_size=1), text, max_size=2),
    outcomes=st.dictionaries(st.text(string.ascii_lowercase, min_size=1), st.floats(allow_nan=False, allow_infinity=False), max_size=2),
    model=text,
    truncated=st.booleans(),
    extra=st.dictionaries(text, text, max_size=2),
)


@given(st.lists(traces, max_size=4, unique_by=lambda trace: trace.transcript_id))
def test_what_goes_in_comes_out(tmp_path_factory: pytest.TempPathFactory, given_traces: list[Trace]) -> None:
    corpus = Corpus(tmp_path_factory.mktemp("corpus") / "corpus")
    write(corpus, *given_traces)
    assert {trace.transcript_id: trace for trace in corpus.traces()} == {trace.transcript_id: trace for trace in given_traces}


def test_an_agent_s_turns_come_back(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path / "corpus")
    write(corpus, AGENT)
    assert corpus.trace(AGENT.transcript_id) == AGENT
    assert [call.function for call in AGENT.actions] == ["bash"]


def test_some_traces_are_asked_for_by_their_ids(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path / "corpus")
    write(corpus, AGENT, *(Trace.example("hm", step=step) for step in (0, 100)))
    assert list(corpus.traces(AGENT.transcript_id, "nope")) == [AGENT]


def test_an_unknown_trace_is_named(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path / "corpus")
    write(corpus, AGENT)
    with pytest.raises(UnknownName, match="No trace is called 'nope'"):
        corpus.trace("nope")


def test_checkpoints_come_back_in_training_order(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path / "corpus")
    steps = [1000, 0, 20, 100]
    random.Random(0).shuffle(steps)
    write(corpus, *(Trace.example("hm", step=step) for step in steps))
    assert [checkpoint.step for checkpoint in corpus.checkpoints()] == [0, 20, 100, 1000]


def test_conditions_and_outcomes_of_different_sources_stand_side_by_side(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path / "corpus")
    write(corpus, Trace.example("a", outcomes={"correct": 1.0}))
    write(
        corpus,
        Trace.example("b", rep=1, conditions={"audit": "50"}),
        source=Source(key="k2", path="/b", content="d", format="jsonl", bytes=1),
    )
    frame = corpus.scan().sort("rep").collect()
    assert frame["outcome_correct"].to_list() == [1.0, None]
    assert frame["condition_audit"].to_list() == [None, "50"]
    assert {"environment", "prompt_id", "rep", "source"} <= set(frame.columns)


def test_nothing_is_seen_before_it_is_whole(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path / "corpus")
    with SourceWriter(corpus, SOURCE) as writer:
        writer.add(AGENT)
        assert corpus.sources == [] and corpus.files == []
    assert corpus.sources == [] and corpus.files == []


def test_a_file_read_again_replaces_its_older_reading(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path / "corpus")
    write(corpus, Trace.example("old"))
    write(corpus, Trace.example("new"), source=Source(key="k2", path=SOURCE.path, content="d", format="jsonl", bytes=1))
    assert [trace.reasoning for trace in corpus.traces()] == ["new"]
    assert [folder.name for folder in corpus.folder.iterdir()] == ["k2"]


def test_refused_records_are_kept_whole(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path / "corpus")
    refused = Rejected(source="a.jsonl", place="3", field="step", fault="not a number", way_out="Mend it", record='{"step": "x"}')
    with SourceWriter(corpus, SOURCE) as writer:
        writer.refuse(refused)
        writer.commit()
    assert b'{\\"step\\": \\"x\\"}' in (corpus.folder / "k1" / "rejected.jsonl").read_bytes()
    assert str(refused) == "a.jsonl:3: step: not a number. Mend it"


@given(text)
def test_no_name_leaves_its_folder(name: str) -> None:
    safe = folder_name(name)
    assert safe not in {"", ".", ".."}
    assert "/" not in safe and "\\" not in safe and not safe.startswith(".")
    assert len(safe) <= 120


def test_scout_opens_the_corpus(tmp_path: Path) -> None:
    scout = pytest.importorskip("inspect_scout")
    corpus = Corpus(tmp_path / "corpus")
    write(corpus, AGENT, Trace.example("Maybe.", prompt="2+2?", answer="4", step=100, outcomes={"correct": 1.0}))

    async def read() -> list[tuple[str, int, list[object]]]:
        from inspect_scout._transcript.types import TranscriptContent

        async with scout.transcripts_db(str(corpus.folder)) as db:
            rows = [await db.read(info, TranscriptContent(messages="all")) async for info in db.select()]
            return [(row.transcript_id, row.metadata["step"], row.messages) for row in rows]

    found = {name: (step, messages) for name, step, messages in asyncio.run(read())}
    assert set(found) == {trace.transcript_id for trace in corpus.traces()}
    step, messages = found["run:step-100:env:prompt:0"]
    assert step == 100
    assert messages[-1].content[0].reasoning == "Maybe."  # type: ignore[attr-defined]


def test_a_scan_of_nothing_has_the_columns(tmp_path: Path) -> None:
    empty = Corpus(tmp_path / "corpus").scan().collect()
    assert empty.height == 0 and empty.schema["step"] == pl.Int64
