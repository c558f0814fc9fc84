"""verl's rollout dumps: `rollout_data_dir/STEP.jsonl`, with input, output, gts, score and step."""

from collections.abc import Callable, Iterator
from pathlib import Path

from cotdrift.fields import OUTCOMES, Shape
from cotdrift.format import Format, Reading
from cotdrift.opening import field_names, lines, starts_with_lines
from cotdrift.records import decoded, read_records
from cotdrift.trace import Rejected, Trace

SHAPE = Shape(
    fields={"prompt": "input", "answer": "output", "step": "step", "environment": "data_source"},
    outcome=lambda name: name in OUTCOMES or name.endswith(("_score", "_reward")),
)


def _matches(path: Path, first: bytes) -> int:
    names = field_names(first) if starts_with_lines(first) else frozenset()
    return 2 if {"input", "output", "step"} <= names and names & {"score", "gts"} else 0


def _read(path: Path, reading: Reading, note: Callable[[str], None]) -> Iterator[Trace | Rejected]:
    return read_records(path, reading, note, decoded(path, lines(path)), SHAPE)


VERL = Format(name="verl", looks_for="JSON lines with input, output, step and score", matches=_matches, read=_read)
