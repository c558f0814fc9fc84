"""What the page shows of gaming: the words above each figure, and the answers that are quoted."""

from __future__ import annotations

from typing import Any

from cotdrift.contrast import bounds
from cotdrift.estimate import Contrast
from cotdrift.figures.gaming import forest_panels
from cotdrift.findings import Findings
from cotdrift.gaming import AtStep, Gaming
from cotdrift.page import shown
from cotdrift.sentences import clear_changes, interval, per_cent, share, signed_points

QUOTED = 480
"""Characters of reasoning in a quoted answer; the whole trace opens from there."""


def section(findings: Findings, rows: dict[str, list[dict[str, Any]]]) -> dict[str, Any] | None:
    """All that the section on gaming needs; None where nothing was tried."""
    gaming = findings.gaming
    if gaming is None:
        return None
    beside = [*gaming.trends, *gaming.probes]
    said: dict[str, list[str]] = {}
    for change in findings.gamed:
        said.setdefault(change.run, []).append(change.sentence)
    return {
        "said": list(said.items()),
        "runs": [_panel(gaming, trend.run) for trend in gaming.trends],
        "has_ladder": len({row["label"] for row in rows["gaming_ladder"] if row["when"] != "between"}) > 1,
        "has_audit": any(row["said_to_be_checked"] is not None for row in rows["gaming_audit"]),
        "factors": forest_panels(rows["gaming_factors"]),
        "has_length": bool(rows["gaming_length"]),
        "probes": shown.panels(shown.by_measure(beside), {}, clear_changes(beside)) if gaming.probes else [],
        "examples": _examples(findings, gaming),
    }


def _panel(gaming: Gaming, run: str) -> dict[str, Any]:
    """What stands above the panels of one run, and under them."""
    steps = gaming.of(run)
    first, last = steps[0], steps[-1]
    (effects,) = (found for found in gaming.effects if (found.run, found.step) == (run, last.step))
    audit_is_clear, wanted_is_clear = effects.is_clear
    return {
        "run": run,
        "from": f"{per_cent(first.gaming.value or 0)} → {per_cent(last.gaming.value or 0)}",
        "band": f"wordings {per_cent(last.band.lowest)} to {per_cent(last.band.highest)}" if last.band and last.band.levels > 1 else "",
        "read": _read(last),
        "wanted": _signed(effects.wanted),
        "wanted_is_clear": wanted_is_clear,
        "audit": _signed(effects.audit),
        "audit_is_clear": audit_is_clear,
        "length": f"{_ratio(first)} → {_ratio(last)}",
    }


def _signed(contrast: Contrast | None) -> str:
    return signed_points(contrast) if contrast else "cannot be told"


def _ratio(at: AtStep) -> str:
    return f"×{at.words_ratio.value:.2f}" + interval(at.words_ratio.low, at.words_ratio.high) if at.words_ratio else "none"


def _read(at: AtStep) -> str:
    """How the answers of a checkpoint were read, and what the rate could be were all others known."""
    every, twins = at.gaming.traces + at.gaming.missing, at.twin.traces + at.twin.missing
    span = bounds(at.gaming)
    said = f"Step {at.step}: {at.gaming.missing:,} of {every:,} answers could not be read"
    if at.gaming.missing and span:
        said += f" (did none of these game, or all, {per_cent(span[0])} to {per_cent(span[1])})"
    said += f", {at.unsure:,} may have been misread."
    if twins:
        said += f" Twin: {share(at.twin)} of {twins:,} violate, {at.twin.missing:,} not read, {at.twin_unsure:,} unsure."
    return said


def _examples(findings: Findings, gaming: Gaming) -> list[tuple[str, list[tuple[str, list[dict[str, Any]]]]]]:
    """The quoted answers by run, early beside late."""
    traces = {trace.transcript_id: trace for trace in findings.traces}
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for example in gaming.examples:
        trace = traces.get(example.transcript_id)
        if trace is None:
            continue
        cut = len(trace.reasoning) > QUOTED
        sides = found.setdefault(example.run, {"early": [], "late": []})
        sides[example.when].append(
            {
                "step": example.step,
                "games": example.games,
                "transcript_id": example.transcript_id,
                "prompt_id": trace.prompt_id,
                "reasoning": trace.reasoning[:QUOTED].strip() + (" …" if cut else ""),
                "answer": trace.answer[:QUOTED].strip(),
            }
        )
    return [(run, list(sides.items())) for run, sides in found.items()]
