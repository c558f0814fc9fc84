"""A model in a folder, read by transformers: any encoder or language model as Hugging Face writes it, on this machine alone.

The vector of a use is the mean of the states of the pieces that the term is written with, over the layers from the middle up, scaled to
length one. A model that was trained with marks around the term (`<t>` and `</t>`, as XL-LEXEME of Cassotti et al., 2023) is given those,
and its states are averaged over the whole window, as it was trained to be read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from transformers import AutoModel, AutoTokenizer

from cotdrift.encoders import Vectors, around_term, by_length, pieces_of_term, unit
from cotdrift.errors import InputError
from cotdrift.usage import Window

METHOD = "term's pieces, mean of the layers from the middle up, version 1"
MARKED = "marked term, mean of the window's last states, version 1"
MARKS = "<t>", "</t>"
BATCH = 16
LONGEST = 512


class Folder:
    """The encoder, ready."""

    def __init__(
        self, model: Any, tokenizer: Any, *, name: str, files: str, layers: Sequence[int] | None = None, method: str = METHOD
    ) -> None:
        if not tokenizer.is_fast:
            raise InputError(f"{name}: its tokenizer does not say where each piece stands. Give a folder with a tokenizer.json.")
        self.model, self.tokenizer, self.name = model.eval(), tokenizer, name
        self.marked = set(MARKS) <= set(tokenizer.get_vocab())
        self.sha = hashlib.sha256(f"{files} {MARKED if self.marked else method}".encode()).hexdigest()[:16]
        deep = int(model.config.num_hidden_layers)
        self.layers = list(layers or range((deep + 1) // 2, deep + 1))
        self.special: list[int] = list(tokenizer("")["input_ids"])
        self.padding = int(tokenizer.pad_token_id or 0)
        self.most = min(LONGEST, int(getattr(model.config, "max_position_embeddings", LONGEST))) - len(self.special) - 2

    def encode(self, windows: Sequence[Window]) -> Vectors:
        """A row a window, of length one; a row of NaN where the term has no pieces."""
        read = [self._pieces(_marked(window) if self.marked else window) for window in windows]
        vectors = np.zeros((len(windows), int(self.model.config.hidden_size)), np.float32)
        for places in by_length([len(ids) for ids, _ in read], BATCH):
            longest = max(len(read[place][0]) for place in places)
            ids = torch.full((len(places), longest), self.padding)
            mask = torch.zeros((len(places), longest), dtype=torch.long)
            for row, place in enumerate(places):
                ids[row, : len(read[place][0])] = torch.tensor(read[place][0])
                mask[row, : len(read[place][0])] = 1
            with torch.inference_mode():
                told = self.model(input_ids=ids, attention_mask=mask, output_hidden_states=True)
            states = (
                told.hidden_states[-1] if self.marked else torch.stack([told.hidden_states[layer] for layer in self.layers]).mean(dim=0)
            )
            for row, place in enumerate(places):
                at = list(range(len(read[place][0]))) if self.marked else read[place][1]
                if at:
                    vectors[place] = states[row, at].mean(dim=0).float().numpy()
        return unit(vectors)

    def _pieces(self, window: Window) -> tuple[list[int], list[int]]:
        told = self.tokenizer(window.text, add_special_tokens=False, return_offsets_mapping=True)
        first, last = around_term(told["offset_mapping"], window, self.most)
        of_term = pieces_of_term(told["offset_mapping"][first:last], window)
        before = (len(self.special) + 1) // 2  # what begins a text, and what ends it, where there is any
        ids = [*self.special[:before], *told["input_ids"][first:last], *self.special[before:]]
        return ids, [place + before for place in of_term]


def load(folder: Path) -> Folder:
    """The model in a folder; its weights are read from safetensors alone, and no code that lies beside them is run."""
    try:
        model = AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, SafetensorError) as fault:
        said = " ".join(str(fault).split())
        raise InputError(
            f"{folder}: no model can be read there ({said}). Name a folder that `save_pretrained` wrote a model into."
        ) from None
    read = sorted(path for path in folder.iterdir() if path.suffix in (".safetensors", ".json", ".txt", ".model"))
    return Folder(model, tokenizer, name=folder.resolve().name, files=" ".join(f"{path.name}:{sha_of(path)}" for path in read))


def _marked(window: Window) -> Window:
    text = f"{window.text[: window.start]}{MARKS[0]} {window.term} {MARKS[1]}{window.text[window.end :]}"
    start = window.start + len(MARKS[0]) + 1
    return Window(text, start, start + len(window.term))


def sha_of(path: Path) -> str:
    """The fingerprint of a file."""
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
