"""Encoders: what turns a term in its context into a vector."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cotdrift.errors import InputError, UnknownName
from cotdrift.usage import Window

Vectors = NDArray[np.float32]

DEFAULT = "minilm"
KNOWN = {"minilm": "cotdrift.encoders.minilm", "smollm2": "cotdrift.encoders.smollm2"}
NEEDS = "onnx", "onnxruntime", "tokenizers", "safetensors", "torch", "transformers", "gguf", "accelerate"


class Encoder(Protocol):
    """What is wanted of an encoder."""

    name: str
    """As it is named in tables and on the page."""
    sha: str
    """A fingerprint of its files and of how vectors are read off it: another one is another instrument."""

    def encode(self, windows: Sequence[Window]) -> Vectors:
        """A row a window, of length one; a row of NaN where the term cannot be seen."""


def encoder_called(name: str | Path = DEFAULT) -> Encoder:
    """The encoder of a name: `minilm`, `smollm2`, a folder that holds a model, or the address of an embeddings endpoint.

    An endpoint is written http://HOST/v1#MODEL and speaks OpenAI's way. Nothing is ever fetched from a model hub.
    """
    from importlib import import_module  # each brings an engine of its own, which takes seconds

    told = str(name)
    try:
        if told in KNOWN:
            made: Encoder = import_module(KNOWN[told]).load()
            return made
        if told.startswith(("http://", "https://")):
            return _endpoint(told)
        if Path(told).is_dir():
            from cotdrift.encoders.folder import load

            return load(Path(told))
    except ModuleNotFoundError as fault:
        if (fault.name or "").partition(".")[0] not in NEEDS:
            raise
        extra = "embed" if told == DEFAULT else "organism"
        raise InputError(f"The encoder {told!r} needs {fault.name}, which is not installed. pip install 'cotdrift[{extra}]'") from None
    raise UnknownName("encoder", told, [*KNOWN, "a folder with a model", "http://HOST/v1#MODEL"])


def _endpoint(told: str) -> Encoder:
    from cotdrift.encoders.endpoint import Endpoint

    address, mark, model = told.partition("#")
    if not (mark and model):
        raise InputError(f"{told}: an endpoint needs the name of its model. Write {address}#MODEL.")
    return Endpoint(address.rstrip("/"), model)


def unit(rows: NDArray[Any]) -> Vectors:
    """Rows of length one; a row without length becomes NaN."""
    long = np.linalg.norm(rows, axis=1, keepdims=True)
    made: Vectors = np.divide(rows, long, out=np.full(rows.shape, np.nan, np.float32), where=long > 0, casting="same_kind")
    return made


def by_length(sizes: Sequence[int], batch: int) -> list[list[int]]:
    """The places of the items, those of like length together: so little is spent on padding.

    >>> by_length([3, 9, 2, 8], 2)
    [[2, 0], [3, 1]]
    """
    order = sorted(range(len(sizes)), key=sizes.__getitem__)
    return [order[at : at + batch] for at in range(0, len(order), batch)]


def around_term(offsets: Sequence[tuple[int, int]], window: Window, most: int) -> tuple[int, int]:
    """Which of the pieces are kept where there are more than a model takes: `most`, with the term in the middle."""
    if len(offsets) <= most:
        return 0, len(offsets)
    at = next((place for place, (_, end) in enumerate(offsets) if end > window.start), len(offsets) - 1)
    first = min(max(0, at - most // 2), len(offsets) - most)
    return first, first + most


def pieces_of_term(offsets: Sequence[tuple[int, int]], window: Window) -> list[int]:
    """The pieces that the term is written with."""
    return [place for place, (start, end) in enumerate(offsets) if start < window.end and end > window.start and end > start]
