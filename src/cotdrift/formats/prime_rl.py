"""prime-rl's rollouts: `rollouts/step_STEP/train_rollouts.jsonl`, a rollout a line."""

from collections.abc import Callable, Iterator
from pathlib import Path

from cotdrift.format import Format, Reading
from cotdrift.opening import lines
from cotdrift.records import decoded, read_records
from cotdrift.rollouts import flattened, is_of_training, is_rollouts, shape
from cotdrift.trace import Rejected, Trace


def _matches(path: Path, first: bytes) -> int:
    return 2 if is_rollouts(first) and is_of_training(path) else 0


def _read(path: Path, reading: Reading, note: Callable[[str], None]) -> Iterator[Trace | Rejected]:
    return read_records(path, reading, note, flattened(path, decoded(path, lines(path))), shape())


PRIME_RL = Format(name="prime_rl", looks_for="rollouts of verifiers in a folder called step_N", matches=_matches, read=_read)
