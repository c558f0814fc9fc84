"""What the page shows of the ladder of ambiguity: the words above each figure, the families, and the answers that are quoted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cotdrift.experiments.ladder import LEVELS as SAID
from cotdrift.exploited import is_clear, midpoint, signed_levels
from cotdrift.figures import ambiguity as drawn
from cotdrift.findings import Findings
from cotdrift.sentences import per_cent, share, signed_points

if TYPE_CHECKING:
    from cotdrift.ambiguity import Ambiguity, AtStep, InFamily
    from cotdrift.ordering import Order

QUOTED = 480
"""Characters of reasoning in a quoted answer; the whole trace opens from there."""
FIGURES = {"ambiguity": drawn.curves, "ambiguity_steps": drawn.over_steps, "ambiguity_order": drawn.order}


def rows(ambiguity: Ambiguity) -> dict[str, list[dict[str, Any]]]:
    """What the figures are drawn from."""
    return {
        "ambiguity": drawn.curve_rows(ambiguity),
        "ambiguity_steps": drawn.step_rows(ambiguity),
        "ambiguity_order": drawn.order_rows(ambiguity.order) if ambiguity.order else [],
    }


def section(findings: Findings) -> dict[str, Any] | None:
    """All that the section needs; None where nothing was tried."""
    ambiguity = findings.ambiguity
    if ambiguity is None:
        return None
    said: dict[str, list[str]] = {}
    for change in findings.exploited:
        said.setdefault(change.run, []).append(change.sentence)
    panels = drawn.step_rows(ambiguity)
    return {
        "said": list(said.items()),
        "levels": list(SAID.items()),
        "runs": [_panel(ambiguity, run) for run in ambiguity.runs],
        "panels": list({row["panel"]: row["unit"] for row in panels}.items()),
        "strictness": ambiguity.strictness,
        "families": [_family(one) for one in ambiguity.families] if len({one.family for one in ambiguity.families}) > 1 else [],
        "order": _order(ambiguity.order) if ambiguity.order else None,
        "examples": _examples(findings, ambiguity),
    }


def _panel(ambiguity: Ambiguity, run: str) -> dict[str, Any]:
    """What stands above the panel of a run, and under it."""
    steps, moved = ambiguity.of(run), ambiguity.last(run)
    shift = moved.shift.midpoint if moved else None
    return {
        "run": run,
        "from": f"{_place(steps[0], ambiguity)} → {_place(steps[-1], ambiguity)}",
        "by": signed_levels(shift, len(ambiguity.levels)) if shift else "",
        "is_clear": is_clear(shift),
        "read": _read(steps[-1]),
        "without": _without(steps),
    }


def _place(at: AtStep, ambiguity: Ambiguity) -> str:
    return midpoint(at.threshold.curve, ambiguity.levels).partition(" [")[0].partition(",")[0] if at.threshold.curve else "no curve"


def _read(at: AtStep) -> str:
    answers = sum(level.traces for level in at.threshold.levels)
    said = f"Step {at.step}: {answers:,} answers of {at.threshold.whole.prompts} scenarios"
    said += f", {at.missing:,} not judged" if at.missing else ""
    return said + (f", {at.unsure:,} may have been misread." if at.unsure else ".")


def _without(steps: Sequence[AtStep]) -> list[str]:
    """Where there is no curve, and why, each reason once."""
    told: dict[str, list[str]] = {}
    for at in steps:
        if at.threshold.why:
            told.setdefault(at.threshold.why.partition(" (p = ")[0], []).append(str(at.step))
    return [f"No curve at step{'s' * (len(where) > 1)} {', '.join(where)}: {why}." for why, where in told.items()]


def _family(one: InFamily) -> dict[str, Any]:
    return {
        "run": one.run,
        "family": one.family,
        "scenarios": one.whole.prompts,
        "forbidden": share(one.forbidden),
        "whole": share(one.whole),
        "moved": signed_points(one.moved) if one.moved else "",
    }


def _order(order: Order) -> dict[str, Any]:
    return {
        "agreed": share(order.agreed),
        "pairs": order.agreed.traces,
        "second": share(order.second),
        "raters": [(rater, share(found), found.traces) for rater, found in order.by_rater.items()],
        "inverted": [f"“{lower}” is found to leave more open than “{upper}”" for lower, upper in order.inverted],
        "close": [
            f"“{lower}” and “{upper}” ({per_cent(found.value)} as written)"
            for lower, upper, found in zip(order.levels, order.levels[1:], order.neighbours, strict=False)
            if found.value is not None and (lower, upper) not in order.inverted and (found.low is None or found.low <= 0.5)
        ],
    }


def _examples(findings: Findings, ambiguity: Ambiguity) -> list[tuple[str, list[tuple[str, list[dict[str, Any]]]]]]:
    """The quoted answers by run, early beside late."""
    traces = {trace.transcript_id: trace for trace in findings.traces}
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for example in ambiguity.examples:
        trace = traces.get(example.transcript_id)
        if trace is None:
            continue
        sides = found.setdefault(example.run, {"early": [], "late": []})
        sides[example.when].append(
            {
                "step": example.step,
                "level": example.level,
                "transcript_id": example.transcript_id,
                "prompt_id": trace.prompt_id,
                "reasoning": trace.reasoning[:QUOTED].strip() + (" …" if len(trace.reasoning) > QUOTED else ""),
                "answer": trace.answer[:QUOTED].strip(),
            }
        )
    return [(run, list(sides.items())) for run, sides in found.items()]
