"""What the page shows of prefixes: the words above each figure, and the continuations that are quoted."""

from __future__ import annotations

from typing import Any

from cotdrift.figures.continuations import panel_of
from cotdrift.findings import Findings
from cotdrift.sentences import number

QUOTED = 400
"""Characters of a quoted text, of a prefix its end; the whole trace opens from there."""


def section(findings: Findings, rows: dict[str, list[dict[str, Any]]]) -> dict[str, Any] | None:
    """All that the section needs; None where the experiment was not run."""
    found = findings.continued
    if not found:
        return None
    said: dict[str, list[str]] = {}
    for change in findings.went_on:
        said.setdefault(change.run, []).append(change.sentence)
    several = len(found) > 1
    return {
        "said": list(said.items()),
        "panels": [
            {"panel": panel_of(one, trend.run, several), "run": trend.run, "from": f"{_value(trend, 0)} → {_value(trend, -1)}"}
            for one in found
            for trend in one.shared
        ],
        "has_own": any(one.own for one in found),
        "has_onset": any(trend.onset for one in found for trend in one.shared),
        "margins": sorted({row["words_before"] for row in rows["prefix_margins"]}),
        "prefix_panels": list(dict.fromkeys((row["panel"], row["run"]) for row in rows["prefix_each"])),
        "examples": _examples(findings),
    }


def _value(trend: Any, place: int) -> str:
    value = trend.points[place].value
    if value is None:
        return "none"
    return f"{number(100 * value)}%" if trend.unit.startswith("share") else number(value)


def _examples(findings: Findings) -> list[tuple[str, list[dict[str, Any]]]]:
    """Continuations by run; of a prefix the end, of what is new the beginning."""
    traces = {trace.transcript_id: trace for trace in findings.traces}
    found: dict[str, list[dict[str, Any]]] = {}
    for example in findings.continued[0].examples:
        trace = traces.get(example.transcript_id)
        if trace is None:
            continue
        given, new = trace.begun, trace.reasoning
        found.setdefault(example.run, []).append(
            {
                "step": example.step,
                "shows": example.shows,
                "transcript_id": example.transcript_id,
                "prompt_id": trace.prompt_id,
                "given": ("… " if len(given) > QUOTED else "") + given[-QUOTED:],
                "new": new[:QUOTED] + (" …" if len(new) > QUOTED else ""),
                "answer": trace.answer[:QUOTED].strip(),
            }
        )
    return list(found.items())
