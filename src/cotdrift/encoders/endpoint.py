"""An embeddings endpoint that speaks OpenAI's way: the whole window is embedded, as such a server gives no states of single words."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from http.client import HTTPException
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import msgspec
import numpy as np
from msgspec import Struct

from cotdrift.encoders import Vectors, unit
from cotdrift.errors import InputError
from cotdrift.usage import Window

BATCH = 64
SECONDS = 120
KEY = "EMBEDDINGS_API_KEY"
"""The environment variable with the endpoint's key, where it wants one."""


class Row(Struct, frozen=True):
    """One embedding, as the endpoint gives it."""

    index: int
    embedding: list[float]


class Reply(Struct, frozen=True):
    """What the endpoint answers."""

    data: list[Row]


class Endpoint:
    """The encoder, ready. What stands behind an address can change: its fingerprint is of the address and the model's name alone."""

    def __init__(self, address: str, model: str) -> None:
        self.address, self.model = address, model
        self.name = f"{model} at {address}"
        self.sha = hashlib.sha256(f"{address} {model} window, version 1".encode()).hexdigest()[:16]

    def encode(self, windows: Sequence[Window]) -> Vectors:
        """A row a window, of length one."""
        rows = [row for at in range(0, len(windows), BATCH) for row in self._asked([window.text for window in windows[at : at + BATCH]])]
        return unit(np.array(rows, np.float32))

    def _asked(self, texts: Sequence[str]) -> list[list[float]]:
        body = msgspec.json.encode({"model": self.model, "input": texts, "encoding_format": "float"})
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {os.environ.get(KEY, 'none')}"}
        try:
            with urlopen(Request(f"{self.address}/embeddings", data=body, headers=headers), timeout=SECONDS) as answered:
                told = msgspec.json.decode(answered.read(), type=Reply)
        except HTTPError as fault:
            said = " ".join(fault.read(300).decode("utf-8", "replace").split())
            raise InputError(f"{self.address}: the endpoint answers {fault.code} ({said}). Vectors that came are kept.") from None
        except (OSError, ValueError, HTTPException, msgspec.MsgspecError) as fault:  # what is broken off while it comes is no URLError
            raise InputError(f"{self.address}: no embeddings can be had ({fault}). Vectors that came are kept; run it again.") from None
        found = [row.embedding for row in sorted(told.data, key=lambda row: row.index)]
        if len(found) != len(texts) or len({len(row) for row in found}) != 1:
            raise InputError(f"{self.address}: {len(texts)} texts were sent, and {len(found)} vectors came, or of unlike length.")
        return found
