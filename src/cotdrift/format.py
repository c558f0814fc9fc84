"""A format: how one kind of file becomes traces."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cotdrift.trace import Rejected, Trace


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What the user said about the files, so that it need not be guessed."""

    fields: dict[str, str] = field(default_factory=dict)
    """Our field to theirs: `{"reasoning": "thinking", "outcome_correct": "is_right"}`; a dotted name goes down into a record."""
    run: str | None = None
    """The run all records belong to; None takes it from a field, else from the folder's name."""
    step: int | None = None
    """The step all records belong to; None takes it from a field, the pattern, the table or the file's name."""
    step_pattern: str | None = None
    """A regular expression with one group, searched in the file's path: `step[_-](\\d+)`."""
    step_table: dict[str, int] = field(default_factory=dict)
    """Step by file name, checkpoint name or model name."""
    environment: str | None = None
    """The environment all records belong to; None takes it from a field, else from the file's name."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """One kind of file."""

    name: str
    looks_for: str
    """What makes a file one of this kind, for the sentence about a file that is none."""
    matches: Callable[[Path, bytes], int]
    """How surely a file with this name and these first bytes (decompressed) is one: 0 no, 1 by its general shape, 2 by marks of its own."""
    read: Callable[[Path, Reading, Callable[[str], None]], Iterator[Trace | Rejected]]
    """Stream the traces of a file; the last argument is called with a sentence for each thing guessed."""
