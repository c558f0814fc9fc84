"""Vectors of usages, kept: no window is put to the same encoder twice."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np

from cotdrift.encoders import Encoder, Vectors
from cotdrift.usage import Window

AT_ONCE = 512
"""How many windows are encoded before their vectors are put on disk."""
ASKED_AT_ONCE = 500


class Kept:
    """The vectors of a study in one SQLite file, by the encoder's fingerprint and the window's."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def of(self, encoder: Encoder, windows: Sequence[Window], *, done: Callable[[int], None] = lambda _windows: None) -> Vectors:
        """A row a window, in their order; what is lacking is encoded, and on disk before the next is."""
        keys = [window.key for window in windows]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(self.path, timeout=60, isolation_level=None)) as opened:
            opened.execute("PRAGMA journal_mode=WAL")
            opened.execute("PRAGMA synchronous=NORMAL")
            opened.execute("CREATE TABLE IF NOT EXISTS vectors (encoder, window, vector, PRIMARY KEY (encoder, window)) WITHOUT ROWID")
            known = _read(opened, encoder.sha, list(dict.fromkeys(keys)))
            done(sum(key in known for key in keys))
            lacking = list({key: window for key, window in zip(keys, windows, strict=True) if key not in known}.items())
            lacking.sort(key=lambda one: len(one[1].text))  # of like length together, batch after batch
            for at in range(0, len(lacking), AT_ONCE):
                some = lacking[at : at + AT_ONCE]
                made = encoder.encode([window for _, window in some])
                rows = [(encoder.sha, key, row.tobytes()) for (key, _), row in zip(some, np.asarray(made, np.float32), strict=True)]
                opened.execute("BEGIN")
                opened.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", rows)
                opened.execute("COMMIT")
                known |= {key: row for (_, key, row) in rows}
                done(len(some))
        width = len(next(iter(known.values()), b"")) // 4
        return np.frombuffer(b"".join(known[key] for key in keys), np.float32).reshape(len(keys), width)


def _read(opened: sqlite3.Connection, sha: str, keys: Sequence[str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for at in range(0, len(keys), ASKED_AT_ONCE):
        some = keys[at : at + ASKED_AT_ONCE]
        asked = f"SELECT window, vector FROM vectors WHERE encoder = ? AND window IN ({', '.join('?' * len(some))})"
        found.update(opened.execute(asked, [sha, *some]))
    return found
