"""Tables: the rows of parquet files, some hundred at a time."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cotdrift.records import Found, reject
from cotdrift.trace import Rejected

MARK = b"PAR1"
ROWS = 200
"""Rows in memory at once; a row may hold a whole conversation."""


def is_table(first: bytes) -> bool:
    """Whether these are the first bytes of a parquet file."""
    return first.startswith(MARK)


def columns(path: Path) -> frozenset[str]:
    """The names of a parquet file's columns; none where it cannot be read."""
    import pyarrow as pa  # a second of loading, only for those who have such files
    import pyarrow.parquet as pq

    try:
        return frozenset(pq.read_schema(path).names)
    except (pa.ArrowException, OSError, ValueError):
        return frozenset()


def rows(path: Path, *, kept_as: Path | None = None) -> Iterator[Found | Rejected]:
    """The rows of a parquet file as records; a part that cannot be read is named, and what follows it is tried."""
    import pyarrow as pa  # a second of loading, only for those who have such files
    import pyarrow.parquet as pq

    source = kept_as or path
    within = f"{path.relative_to(source)} " if path != source else ""
    number = 0
    try:
        table = pq.ParquetFile(path, memory_map=True)
        for batch in table.iter_batches(batch_size=ROWS):
            for row in _row_by_row(batch):
                number += 1
                place = f"{within}row {number}"
                yield Found(place, row) if isinstance(row, dict) else reject(source, place, row, "Write the column as UTF-8 text", b"")
    except (pa.ArrowException, OSError, ValueError, OverflowError) as fault:
        what = " ".join(str(fault).split())[:200]
        yield reject(source, f"{within}row {number + 1}", f"this parquet file cannot be read on ({what})", "Write or fetch it anew", b"")


def _row_by_row(batch: Any) -> Iterator[dict[str, Any] | str]:
    try:
        yield from batch.to_pylist()
    except (UnicodeDecodeError, ValueError, OverflowError):
        for place in range(batch.num_rows):
            try:
                yield batch.slice(place, 1).to_pylist()[0]
            except (UnicodeDecodeError, ValueError, OverflowError) as fault:
                yield f"the row cannot be read ({fault})"
