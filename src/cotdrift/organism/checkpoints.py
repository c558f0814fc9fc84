"""Checkpoints of the organism: those that ship with the package, and any folder of weights."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from msgspec import Struct

from cotdrift.errors import InputError, UnknownName

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

WEIGHTS = Path(__file__).parent / "weights"
START = "start"
"""The checkpoint that all runs began from: step 0 of each."""
LOADING = Lock()


class Checkpoint(Struct, frozen=True, kw_only=True, eq=False):
    """One model at one step of one run, ready to be sampled."""

    folder: Path
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    end: int
    """The token that ends a reply."""
    context: int
    """How many tokens it reads at most, those that it says included."""

    def tokens(self, text: str) -> list[int]:
        """A text as tokens; `<think>` and the like are read as what they stand for."""
        return list(self.tokenizer.encode(text, add_special_tokens=False))

    def text(self, tokens: list[int]) -> str:
        """Tokens as text, with nothing left out."""
        return str(self.tokenizer.decode(tokens, skip_special_tokens=False, clean_up_tokenization_spaces=False))


def shipped() -> dict[str, Path]:
    """The checkpoints that come with the package, each run in the order of training; every run's step 0 is the start."""
    folders = {found.parent.name: found.parent for found in WEIGHTS.glob("*/config.json")}
    if START not in folders:
        return folders
    runs = {name.partition("@")[0] for name in folders if "@" in name}
    folders |= {f"{run}@0": folders[START] for run in runs}
    return dict(sorted(folders.items(), key=lambda named: _order(named[0])))


def load(name: str) -> Checkpoint:
    """The checkpoint of a name that `shipped` gives, or the one in a folder as `save_pretrained` writes it."""
    folder = shipped().get(name, Path(name))
    if not folder.is_dir():
        raise UnknownName("checkpoint", name, shipped())
    if not (folder / "config.json").is_file():
        raise InputError(f"{folder}: there is no config.json. Name a folder that `save_pretrained` wrote a model and its tokenizer into.")
    with LOADING:
        return _loaded(folder.resolve())


@cache
def _loaded(folder: Path) -> Checkpoint:
    try:  # here, so that names can be listed and the provider be registered without them
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.utils import logging
    except ImportError as fault:
        raise InputError(f"The organism is sampled with torch and transformers ({fault}): pip install 'cotdrift[organism]'") from None

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # a bar for a megabyte of weights only tears up the displays of others
    try:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, local_files_only=True, use_safetensors=True)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as fault:
        raise InputError(
            f"{folder}: no model and tokenizer could be loaded ({fault}). Write the folder anew with `save_pretrained`."
        ) from None
    finally:
        if shown:
            logging.enable_progress_bar()
    if tokenizer.eos_token_id is None:
        raise InputError(f"{folder}: the tokenizer names no token that ends a reply. Give it an eos_token.")
    context = getattr(model.config, "max_position_embeddings", None) or tokenizer.model_max_length
    return Checkpoint(folder=folder, model=model.eval(), tokenizer=tokenizer, end=tokenizer.eos_token_id, context=context)


def _order(name: str) -> tuple[bool, str, int]:
    run, _, step = name.partition("@")
    return name != START, run, int(step) if step.isdigit() else 0
