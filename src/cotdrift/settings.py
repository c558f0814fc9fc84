"""Settings: how a trace was sampled, as its source says it, under one name each."""

import hashlib
from collections.abc import Mapping
from typing import Any

ALIASES = {
    "quantisation": "quantization",
    "max_new_tokens": "max_tokens",
    "max_completion_tokens": "max_tokens",
    "stop": "stop_seqs",
    "template": "chat_template",
}
"""Their names to ours."""
NESTED = frozenset({"serving", "sampling_args", "sampling_params", "generation_config"})
KNOWN = NESTED.union(
    ALIASES,
    """
    provider quantization dtype kv_cache_dtype temperature top_p top_k min_p max_tokens stop_seqs frequency_penalty presence_penalty
    repetition_penalty reasoning_effort reasoning_parser chat_template chat_template_hash system_fingerprint tokenizer engine
    """.split(),
)
"""Names that say how a text was sampled, wherever they stand; others are taken only where they are said to."""

IMPROBABLE = -10.0
"""Natural logarithm of the probability below which a sampled token counts as improbable: less than 1 in 22,000."""


def settings(*said: Mapping[str, Any], known: frozenset[str] | None = KNOWN) -> dict[str, Any]:
    """What is said of how a text was sampled, the later word before the earlier; `known` None takes every name.

    A chat template is kept as the beginning of its SHA-256.

    >>> settings({"sampling_args": {"temperature": 1.0}, "quantisation": "fp8", "colour": "red"})
    {'temperature': 1.0, 'quantization': 'fp8'}
    """
    found: dict[str, Any] = {}
    for names in said:
        for name, value in names.items():
            if value in (None, "", {}, []) or (known is not None and name not in known):
                continue
            if name in NESTED:
                found |= settings(value, known=None) if isinstance(value, dict) else {}
            elif name in ("chat_template", "template"):
                found["chat_template_hash"] = hashlib.sha256(str(value).encode(errors="replace")).hexdigest()[:12]
            else:
                found[ALIASES.get(name, name)] = value
    return found
