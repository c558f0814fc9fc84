"""A corpus: traces on disk, as parquet that Inspect Scout opens too, scanned lazily."""

import hashlib
import os
import shutil
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, Self
from urllib.parse import quote

import msgspec
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from cotdrift.errors import UnknownName
from cotdrift.trace import Message, Rejected, ToolCall, Trace

COLUMNS: dict[str, Any] = {
    "transcript_id": pl.String,
    "source_type": pl.String,
    "source_id": pl.String,
    "source_uri": pl.String,
    "task_set": pl.String,
    "task_id": pl.String,
    "task_repeat": pl.Int64,
    "model": pl.String,
    "message_count": pl.Int64,
    "messages": pl.String,
    "run": pl.String,
    "checkpoint": pl.String,
    "step": pl.Int64,
    "prompt": pl.String,
    "reasoning": pl.String,
    "answer": pl.String,
    "reasoning_kind": pl.String,
    "truncated": pl.Boolean,
    "serving": pl.String,
    "extra": pl.String,
}
"""The columns every file has; `condition_*` (text) and `outcome_*` (numbers) stand beside them where there are any."""

SPOKEN = {"task_set": "environment", "task_id": "prompt_id", "task_repeat": "rep", "source_uri": "source"}
"""What Scout calls a column, and what we do."""

BUFFERED_BYTES = 64 * 2**20
"""How much text waits for its file before it is written."""

ROWS_A_GROUP = 2_000


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """One file that was ingested, and how it was read."""

    key: str
    """Hash of the file's content and of how it was read: the name of its folder in the corpus."""
    path: str
    content: str
    """Hash of the file's content."""
    format: str
    bytes: int
    fields: dict[str, str] = {}
    traces: int = 0
    rejected: int = 0
    guessed: tuple[str, ...] = ()
    """What the reader had to guess, a sentence each."""
    by_run: dict[str, dict[str, int]] = {}
    """Traces by run and step."""
    ingested: int = 0
    """When, in nanoseconds since 1970: of several readings of one path the last counts."""


class Checkpoint(NamedTuple):
    """The files that hold the traces of one run and step."""

    run: str
    step: int
    files: tuple[Path, ...]

    @property
    def name(self) -> str:
        """A folder name for what is derived from these files: another one when the files change."""
        contents = "\n".join(f"{path.parts[-3]}/{path.name}" for path in self.files)
        return f"{folder_name(self.run)}-{self.step:012d}-{hashlib.sha256(contents.encode()).hexdigest()[:16]}"

    def batches(self, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """The rows, some thousand at a time."""
        for path in self.files:
            for batch in pq.ParquetFile(path).iter_batches(batch_size=ROWS_A_GROUP, columns=list(columns)):
                yield pl.DataFrame(pl.from_arrow(batch))


@cache
def _run_and_step(path: Path) -> tuple[str, int]:
    """What a file holds; a file never changes, since its folder's name stands for its source's content."""
    written = pq.read_metadata(path).metadata
    return written[b"run"].decode(), int(written[b"step"])


class Corpus:
    """Traces in a folder: one folder a source, in it a file for each run and step."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)

    @property
    def sources(self) -> list[Source]:
        """What was ingested, by path."""
        found = [msgspec.json.decode(path.read_bytes(), type=Source) for path in self.folder.glob("*/source.json")]
        latest = {source.path: source for source in sorted(found, key=lambda source: source.ingested)}
        return sorted(latest.values(), key=lambda source: source.path)

    def forget(self, source: Source) -> None:
        """Take a source and its traces out; what is half taken out is cleared away by the next that is written."""
        folder = self.folder / source.key
        (folder / "source.json").unlink()
        shutil.rmtree(folder)

    @property
    def files(self) -> list[Path]:
        """Every parquet file, in a fixed order."""
        return sorted(path for source in self.sources for path in (self.folder / source.key).glob("*/*.parquet"))

    def checkpoints(self) -> list[Checkpoint]:
        """The files of each run and step, in training order."""
        found: dict[tuple[str, int], list[Path]] = defaultdict(list)
        for path in self.files:
            found[_run_and_step(path)].append(path)
        return [Checkpoint(run, step, tuple(files)) for (run, step), files in sorted(found.items())]

    def missing(self, folder: Path, lacks: Callable[[Path, Checkpoint], bool]) -> list[Checkpoint]:
        """The checkpoints of which a folder of derived data, one folder a checkpoint, lacks something.

        What stems from files that are no longer here is cleared away.
        """
        checkpoints = self.checkpoints()
        clear_unfinished(folder)
        for left in {path.name for path in folder.glob("*")} - {checkpoint.name for checkpoint in checkpoints}:
            shutil.rmtree(folder / left)
        return [checkpoint for checkpoint in checkpoints if lacks(folder / checkpoint.name, checkpoint)]

    def scan(self) -> pl.LazyFrame:
        """All traces, lazily, under the names of the words we use (`environment`, `prompt_id`, `rep`)."""
        files = self.files
        if not files:
            empty = pl.LazyFrame(schema=COLUMNS)
            return empty.rename(SPOKEN)
        by_schema: dict[tuple[str, ...], list[Path]] = defaultdict(list)
        for path in files:
            by_schema[tuple(pq.read_schema(path).names)].append(path)
        parts = [pl.scan_parquet(paths, hive_partitioning=False) for paths in by_schema.values()]
        frame = parts[0] if len(parts) == 1 else pl.concat(parts, how="diagonal")
        return frame.rename(SPOKEN)

    def ids(self) -> dict[str, str]:
        """What Scout may call each trace → its id here: that, a log's id of the sample, or the id in Scout's own database."""
        extra = pl.col("extra")
        theirs = (extra.str.json_path_match("$.transcript_id"), extra.str.json_path_match("$.uuid"))
        rows = self.scan().select("transcript_id", database=theirs[0], log=theirs[1]).collect().iter_rows()
        return {name: ours for ours, database, log in rows for name in (database, log, ours) if name}

    def traces(self, *ids: str) -> Iterator[Trace]:
        """Whole traces, all of them or those with these ids, in the corpus's order."""
        for path in self.files:
            wanted = pq.ParquetFile(path).iter_batches(batch_size=ROWS_A_GROUP) if not ids else [_rows_with(path, ids)]
            for rows in wanted:
                yield from map(trace_of, rows.to_pylist())

    def trace(self, transcript_id: str) -> Trace:
        """The trace with this id."""
        row = self.scan().filter(pl.col("transcript_id") == transcript_id).collect()
        if not row.height:
            raise UnknownName("trace", transcript_id, self.scan().select("transcript_id").head(5).collect()["transcript_id"])
        return trace_of(row.rename({ours: theirs for theirs, ours in SPOKEN.items()}).row(0, named=True))


class SourceWriter:
    """Writes the traces of one source beside the corpus, and makes them part of it all at once.

    Nothing of a source is seen in the corpus before `commit`; a killed writer leaves a folder that the next one clears away.
    """

    def __init__(self, corpus: Corpus, source: Source) -> None:
        self.corpus = corpus
        self.source = source
        self.staging = corpus.folder.with_name(f".{corpus.folder.name}-staging") / f"{source.key}-{os.getpid()}"
        self.waiting: dict[tuple[str, int, str], list[Trace]] = defaultdict(list)
        self.waiting_bytes = 0
        self.parts: Counter[str] = Counter()
        self.by_run: dict[str, Counter[str]] = defaultdict(Counter)
        self.rejected = 0

    def __enter__(self) -> Self:
        for left in self.staging.parent.glob("*"):
            if not _runs(int(left.name.rpartition("-")[2])):
                shutil.rmtree(left, ignore_errors=True)
        self.staging.mkdir(parents=True)
        self.refused = (self.staging / "rejected.jsonl").open("wb")
        return self

    def __exit__(self, *fault: object) -> None:
        self.refused.close()
        shutil.rmtree(self.staging, ignore_errors=True)

    def add(self, trace: Trace) -> None:
        """Take a trace; it is written when enough of its kind wait."""
        self.waiting[trace.run, trace.step, trace.checkpoint].append(trace)
        self.by_run[trace.run][str(trace.step)] += 1
        self.waiting_bytes += 2 * (len(trace.reasoning) + len(trace.answer) + len(trace.prompt)) + 500
        if self.waiting_bytes > BUFFERED_BYTES:
            self._write()

    def refuse(self, rejected: Rejected) -> None:
        """Keep a record that could not be read."""
        self.rejected += 1
        self.refused.write(msgspec.json.encode(rejected) + b"\n")

    def commit(self, guessed: tuple[str, ...] = ()) -> Source:
        """Make what was added part of the corpus, in the place of any older reading of the same file."""
        self._write()
        self.refused.close()
        done = msgspec.structs.replace(
            self.source,
            traces=sum(sum(steps.values()) for steps in self.by_run.values()),
            rejected=self.rejected,
            guessed=guessed,
            by_run={run: dict(steps) for run, steps in self.by_run.items()},
            ingested=time.time_ns(),
        )
        (self.staging / "source.json").write_bytes(msgspec.json.format(msgspec.json.encode(done)))
        self.corpus.folder.mkdir(parents=True, exist_ok=True)
        place = self.corpus.folder / self.source.key
        if place.exists():  # left by a reading that another replaced
            shutil.rmtree(place)
        self.staging.rename(place)
        current = {source.key for source in self.corpus.sources}
        for folder in self.corpus.folder.iterdir():
            if folder.name not in current:
                shutil.rmtree(folder)
        return done

    def _write(self) -> None:
        for (run, step, checkpoint), traces in self.waiting.items():
            folder = self.staging / folder_name(run)
            folder.mkdir(exist_ok=True)
            name = f"{step:012d}" + (f"-{folder_name(checkpoint)}" if checkpoint else "")
            self.parts[f"{run}/{name}"] += 1
            frame = pl.DataFrame([_row(trace, self.source) for trace in traces], schema=_schema(traces), orient="row")
            frame.write_parquet(
                folder / f"{name}-{self.parts[f'{run}/{name}']}.parquet",
                compression="zstd",
                compression_level=3,
                row_group_size=ROWS_A_GROUP,
                metadata={"run": run, "step": str(step)},
            )
        self.waiting.clear()
        self.waiting_bytes = 0


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A place to write a file that is at `path` only when the block ends well; a killed writer leaves it for `clear_unfinished`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.unfinished-{os.getpid()}")
    yield unfinished
    unfinished.replace(path)


def clear_unfinished(folder: Path) -> None:
    """Remove what writers that no longer run left unfinished."""
    for left in folder.rglob("*.unfinished-*"):
        if not _runs(int(left.name.rpartition("-")[2])):
            left.unlink(missing_ok=True)


def folder_name(name: str) -> str:
    """A name as one folder or file, whatever is in it: no path, not too long, never hidden.

    >>> folder_name("../etc"), folder_name("a b")
    ('%2E%2E%2Fetc', 'a%20b')
    """
    safe = quote(name, safe="").replace(".", "%2E") or "%"
    return safe if len(safe) <= 100 else f"{safe[:80]}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def _schema(traces: list[Trace]) -> dict[str, Any]:
    conditions = sorted({f"condition_{factor}" for trace in traces for factor in trace.conditions})
    outcomes = sorted({f"outcome_{name}" for trace in traces for name in trace.outcomes})
    return COLUMNS | dict.fromkeys(conditions, pl.String) | dict.fromkeys(outcomes, pl.Float64)


def _row(trace: Trace, source: Source) -> dict[str, Any]:
    messages = trace.messages
    return {
        "transcript_id": trace.transcript_id,
        "source_type": source.format,
        "source_id": source.key,
        "source_uri": trace.source,
        "task_set": trace.environment,
        "task_id": trace.prompt_id,
        "task_repeat": trace.rep,
        "model": trace.model,
        "message_count": len(messages),
        "messages": msgspec.json.encode([_chat_message(message, trace) for message in messages]).decode(),
        "run": trace.run,
        "checkpoint": trace.checkpoint,
        "step": trace.step,
        "prompt": trace.prompt,
        "reasoning": trace.reasoning,
        "answer": trace.answer,
        "reasoning_kind": trace.reasoning_kind,
        "truncated": trace.truncated,
        "serving": msgspec.json.encode(trace.serving).decode(),
        "extra": msgspec.json.encode(trace.extra).decode(),
        **{f"condition_{factor}": level for factor, level in trace.conditions.items()},
        **{f"outcome_{name}": value for name, value in trace.outcomes.items()},
    }


def _chat_message(message: Message, trace: Trace) -> dict[str, Any]:
    """A message as Inspect writes it."""
    said: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.role == "assistant" and (message.reasoning or trace.reasoning_kind == "redacted"):
        thought: dict[str, Any] = {"type": "reasoning", "reasoning": message.reasoning}
        if trace.reasoning_kind == "redacted":
            thought["redacted"] = True
        elif trace.reasoning_kind == "summary":
            thought |= {"reasoning": "", "summary": message.reasoning, "redacted": True}
        said["content"] = [thought, {"type": "text", "text": message.content}]
    if message.tool_calls:
        said["tool_calls"] = [
            {"id": call.id, "function": call.function, "arguments": call.arguments, "type": "function"} for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        said["tool_call_id"] = message.tool_call_id
    if message.given:
        said["source"] = "input"
    return said


def _rows_with(path: Path, ids: tuple[str, ...]) -> pa.Table:
    """The rows with these ids; what the file says of others is not decoded."""
    return pl.scan_parquet(path).filter(pl.col("transcript_id").is_in(list(ids))).collect().to_arrow()


def _message(said: dict[str, Any]) -> Message:
    blocks = said["content"] if isinstance(said["content"], list) else [{"type": "text", "text": said["content"]}]
    return Message(
        role=said["role"],
        content="".join(block["text"] for block in blocks if block["type"] == "text"),
        reasoning="".join(block["reasoning"] or block.get("summary", "") for block in blocks if block["type"] == "reasoning"),
        tool_calls=tuple(ToolCall(call["id"], call["function"], call["arguments"]) for call in said.get("tool_calls", ())),
        tool_call_id=said.get("tool_call_id"),
        given=said.get("source") == "input",
    )


def trace_of(row: dict[str, Any]) -> Trace:
    """A row of the corpus's files as a trace; columns that were not read are left empty."""
    given = {
        name: row[name]
        for name in ("run", "step", "checkpoint", "prompt", "reasoning", "answer", "reasoning_kind", "model", "truncated")
        if name in row
    }
    trace = Trace(
        environment=row["task_set"],
        prompt_id=row["task_id"],
        rep=row["task_repeat"],
        source=row.get("source_uri") or "",
        conditions={
            key.removeprefix("condition_"): level for key, level in row.items() if key.startswith("condition_") and level is not None
        },
        outcomes={key.removeprefix("outcome_"): value for key, value in row.items() if key.startswith("outcome_") and value is not None},
        serving=msgspec.json.decode(row.get("serving") or "{}"),
        extra=msgspec.json.decode(row.get("extra") or "{}"),
        **given,
    )
    turns = tuple(_message(said) for said in msgspec.json.decode(row.get("messages") or "[]"))
    return trace if turns in ((), trace.messages) else msgspec.structs.replace(trace, turns=turns)


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
