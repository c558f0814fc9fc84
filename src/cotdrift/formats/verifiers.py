"""verifiers' evaluations: `ENV--MODEL/ID/results.jsonl`, with `metadata.json` beside it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from cotdrift.format import Format, Reading
from cotdrift.opening import lines
from cotdrift.records import decoded, read_records
from cotdrift.rollouts import flattened, is_of_training, is_rollouts, shape
from cotdrift.trace import Rejected, Trace


def _matches(path: Path, first: bytes) -> int:
    return 2 if is_rollouts(first) and not is_of_training(path) else 0


def _read(path: Path, reading: Reading, note: Callable[[str], None]) -> Iterator[Trace | Rejected]:
    return read_records(path, reading, note, flattened(path, decoded(path, lines(path))), shape(**_told_beside(path)))


def _told_beside(path: Path) -> dict[str, Any]:
    """What the metadata say of all rollouts, or else the name of the folder."""
    try:
        metadata = msgspec.json.decode((path.parent / "metadata.json").read_bytes())
    except (OSError, msgspec.DecodeError, RecursionError):
        metadata = {}
    if not isinstance(metadata, dict):
        metadata = {}
    environment, _, model = path.resolve().parent.parent.name.partition("--")
    model = str(metadata.get("model") or model.replace("--", "/"))
    sampling = metadata.get("sampling_args")
    serving = {"model": model, "base_url": metadata.get("base_url")} | (sampling if isinstance(sampling, dict) else {})
    whole = {"model": model, "run": model, "environment": str(metadata.get("env_id") or (environment if model else ""))}
    return {name: value for name, value in whole.items() if value} | {
        "serving": {name: value for name, value in serving.items() if value is not None}
    }


VERIFIERS = Format(name="verifiers", looks_for="JSON lines with example_id, prompt, completion and reward", matches=_matches, read=_read)
