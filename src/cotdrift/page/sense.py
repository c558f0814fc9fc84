"""What the page shows of term sense: what became of each term, the numbers behind it, and uses to read."""

from __future__ import annotations

from typing import Any

from cotdrift.figures.sense import over_steps, panel_of
from cotdrift.findings import Findings
from cotdrift.page import shown
from cotdrift.sense import Sense
from cotdrift.sense_sentences import ALPHA, clear
from cotdrift.sentences import clear_changes, interval, number
from cotdrift.substitutes import Substituted

FIGURES = {"sense": over_steps}
KINDS = (
    ("most like step {first}", "nearest_early", "nearest_late"),
    ("strangest to step {first}", "strangest_early", "strangest_late"),
)


def section(findings: Findings) -> dict[str, Any] | None:
    """All that the section needs; None where no term was measured."""
    if not (findings.senses or findings.same_sense or findings.referents or findings.substitutes):
        return None
    said: dict[str, list[str]] = {}
    for change in findings.meant:
        said.setdefault(change.run, []).append(change.sentence)
    several = len({sense.run for sense in findings.senses}) > 1
    return {
        "said": list(said.items()),
        "panels": [_panel(sense, several) for sense in findings.senses if any(point.apart for point in sense.points)],
        "table": [row for sense in findings.senses if (row := _row(sense))],
        "read": [_read(sense, several) for sense in findings.senses if sense.last],
        "warnings": _warnings(findings),
        "substitutes": [_substitutes(found) for found in findings.substitutes],
        "referents": shown.panels(shown.by_measure(findings.referents), {}, clear_changes(findings.referents)),
    }


def _panel(sense: Sense, several: bool) -> dict[str, Any]:
    last = [point for point in sense.points if point.apart][-1]
    return {"panel": panel_of(sense, several), "run": sense.run, "told": dose_of(sense), "is_clear": clear(last)}


def dose_of(sense: Sense) -> str:
    """The dose at the last checkpoint that could be compared, in few words."""
    dose = sense.last.dose if sense.last else None
    return f"{number(100 * dose.value)}%{interval(100 * dose.low, 100 * dose.high)}" if dose else "no dose"


def _row(sense: Sense) -> dict[str, Any] | None:
    point = next((point for point in reversed(sense.points) if point.apart), None)
    if point is None or (found := point.apart) is None:
        return None
    moved = sum(control.p < ALPHA for control in sense.controls)
    furthest = max((control.energy for control in sense.controls), default=0.0)
    return {
        "run": sense.run,
        "term": sense.term,
        "step": point.step,
        "uses": f"{found.uses_first:,} / {found.uses:,}",
        "prompts": f"{found.prompts:,}{'' if found.paired else ', not shared'}",
        "energy": f"{number(found.energy)}{interval(found.low, found.high)}",
        "p": number(found.p if found.p_adjusted is None else found.p_adjusted),
        "halves": "too few" if sense.halves is None else number(sense.halves),
        "auc": f"{found.auc:.2f}",
        "within": f"{found.within_first:.3f} / {found.within:.3f}",
        "controls": f"{moved} of {len(sense.controls)}, up to {number(furthest)}",
        "donors": ", ".join(donor.word for donor in sense.donors),
        "encoder": sense.encoder,
    }


def _read(sense: Sense, several: bool) -> dict[str, Any]:
    sides = [
        (kind.format(first=f"{sense.first_step:,}"), [("early", getattr(sense, early)), ("late", getattr(sense, late))])
        for kind, early, late in KINDS
    ]
    return {"name": panel_of(sense, several), "run": sense.run, "kinds": sides}


def _substitutes(found: Substituted) -> dict[str, Any]:
    def listed(rises: bool) -> list[dict[str, Any]]:
        return [
            {
                "word": one.word,
                "shares": f"{number(100 * one.early)}% → {number(100 * one.late)}%",
                "is_clear": one.p_adjusted is not None and one.p_adjusted < ALPHA,
            }
            for one in found.words
            if one.moved.value and (one.moved.value > 0) == rises
        ]

    return {"found": found, "sides": [("Rather late", listed(True)), ("Rather early", listed(False))]}


def _warnings(findings: Findings) -> list[str]:
    said = [f"“{sense.term}” of {sense.run}: {warning}" for sense in findings.senses if sense.last for warning in sense.last.warnings]
    said += [
        f"Of “{sense.term}” {sense.unseen:,} uses are written so that the encoder sees nothing of them."
        for sense in findings.senses
        if sense.unseen
    ]
    if findings.senses_stale:
        said.append(f"Measured before more traces came, and not shown: {', '.join(findings.senses_stale)}. Run cotdrift sense again.")
    return said
