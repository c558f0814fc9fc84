"""What a page carries: rows as columns, texts cut to size, and nothing in them that a browser would act on."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from cotdrift.figures.volcano import ALPHA, label_terms
from cotdrift.trace import Trace

MOST_TERMS = 6_000
"""Rows of terms in a page: about a megabyte."""
MOST_TEXT = 1_300_000
"""Bytes of reasoning in a page."""
MOST_AROUND = 500_000
"""Characters of prompts and answers in a page."""
LONGEST_LINE = 240
"""Characters either side of a hit in a concordance line."""

UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
"""Characters that show nothing, or turn the text around them; line breaks and tabs are not among them."""


def visible(text: str) -> str:
    """The text with every character that hides or reorders others written out.

    >>> visible("a\\x00b \\u202ereversed")
    'a␀b ⟨U+202E⟩reversed'
    """
    return UNSEEN.sub(_written_out, text.replace("\r\n", "\n"))


def _written_out(found: re.Match[str]) -> str:
    code = ord(found[0])
    return chr(0x2400 + code) if code < 0x20 else f"⟨U+{code:04X}⟩"


def columns(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Rows of one shape, their names said once; numbers to five digits, what is not finite as null.

    >>> columns([{"term": "wait", "rate": 1234.5678}])
    {'names': ['term', 'rate'], 'rows': [['wait', 1234.6]]}
    """
    listed = list(rows)
    names = list(listed[0]) if listed else []
    return {"names": names, "rows": [[_short(row[name]) for name in names] for row in listed]}


def _short(value: Any) -> Any:
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        if value == int(value) and abs(value) < 1e15:
            return int(value)
        return float(f"{value:.5g}")
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, (list, tuple)):
        return "; ".join(visible(str(part)) for part in value)
    return value


def script_json(data: Any) -> Markup:
    """JSON that may stand inside a script element: nothing in it can end the element or open another."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)  # escaped in the lines above


def chosen_terms(terms: Mapping[str, Sequence[Mapping[str, Any]]]) -> tuple[list[dict[str, Any]], int]:
    """The rows a page shows, with the reference of each and whether the figure names it, and how many are left out.

    Of every run, step and reference: what is watched, then what is significant, then what is farthest from the reference.
    """
    groups: dict[tuple[str, str, int], list[Mapping[str, Any]]] = {}
    for against, rows in terms.items():
        for row in rows:
            groups.setdefault((against, row["run"], row["step"]), []).append(row)
    most = max(40, MOST_TERMS // max(1, len(groups)))
    chosen: list[dict[str, Any]] = []
    for (against, _, _), rows in groups.items():
        kept = sorted(rows, key=_claim)[:most]
        chosen += [{"against": against, **row, "label": label} for row, label in zip(kept, label_terms(kept), strict=True)]
    return chosen, sum(map(len, groups.values())) - len(chosen)


def _claim(row: Mapping[str, Any]) -> tuple[bool, bool, float]:
    clear = row["p_adjusted"] is not None and row["p_adjusted"] < ALPHA
    return row["family"] != "watch", not clear, -abs(row["z"] or 0.0)


def whole_traces(traces: Iterable[Trace], hits: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """The traces by id, each cut to the same length if they would not all fit; `hits` says what must stay in sight."""
    listed = list(traces)
    sizes = [len(trace.reasoning.encode("utf-8", "replace")) for trace in listed]
    most, around = _longest(sizes, MOST_TEXT), MOST_AROUND // max(1, 2 * len(listed))
    carried = {}
    for trace, size in zip(listed, sizes, strict=True):
        start, longest = 0, len(trace.reasoning) if size <= most else most * len(trace.reasoning) // size
        if size > most:
            at = trace.reasoning.find(hits.get(trace.transcript_id, ""))
            start = max(0, min(at - longest // 2, len(trace.reasoning) - longest))
        shown = trace.reasoning[start : start + longest]
        carried[visible(trace.transcript_id)] = {
            "run": visible(trace.run),
            "step": trace.step,
            "environment": visible(trace.environment),
            "prompt_id": visible(trace.prompt_id),
            "prompt": _cut(trace.prompt, around),
            "begun": _cut(trace.begun, around),
            "reasoning": visible(shown),
            "answer": _cut(trace.answer, around),
            "before": start,
            "after": len(trace.reasoning) - start - len(shown),
        }
    return carried


def _cut(text: str, longest: int) -> str:
    cut = len(text) - longest
    return visible(text) if cut <= 0 else f"{visible(text[:longest])} … [{cut:,} more characters]"


def _longest(lengths: Sequence[int], most: int) -> int:
    """The length to which texts are cut so that together they are no longer than `most`."""
    left, remaining = most, len(lengths)
    for length in sorted(lengths):
        if length * remaining > left:
            return left // remaining
        left, remaining = left - length, remaining - 1
    return max(lengths, default=0)
