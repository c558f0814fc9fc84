"""What the page shows of interventions: performance, behaviour and what a monitor sees by arm, and how hard a property is to remove."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cotdrift.experiments.intervention_arms import ENVIRONMENT, arm_called, declared_of
from cotdrift.intervened import Compared, Effect, Intervened, key_of
from cotdrift.page.prefixes import QUOTED
from cotdrift.sentences import interval, number, share, signed_points

if TYPE_CHECKING:
    from cotdrift.estimate import Estimate
    from cotdrift.findings import Findings

SHOWN = {
    "behaves": "Behaviour",
    "performs": "Performance",
    "shows": "Property",
    "seen": "Monitor sees",
    "caught": "Caught, of those that behave",
}


def section(findings: Findings, name: str) -> dict[str, Any] | None:
    """All that the section needs beside what is shown of every experiment; None for another one."""
    found = findings.intervened
    if name != ENVIRONMENT or found is None:
        return None
    several = len({one.run for one in findings.edited}) > 1
    return {
        "said": [f"{one.run}: {one.sentence}" if several else one.sentence for one in findings.edited],
        "tables": [_table(found, run, step) for run, step in _ends(found)],
        "resilience": [
            {
                "run": one.run,
                "step": one.step,
                "median": number(one.median),
                "mean": _mean(one.rounds),
                "away": share(one.stays_away),
                "behaves": share(one.behaves),
                "traces": one.rounds.traces,
            }
            for one in found.resilience
        ],
        "examples": _examples(findings, found),
        "curves": [
            {
                "run": one.run,
                "step": one.step,
                "test": one.test.replace("_", " "),
                "area": _mean(one.area),
                "points": ", ".join(f"{at:.0%}: {share(of)}" for at, of in one.points),
            }
            for one in found.curves
        ],
    }


def _examples(findings: Findings, found: Intervened) -> list[tuple[str, list[dict[str, Any]]]]:
    """What became of one reasoning of each run in every arm; of what was given the end, of what is new the beginning."""
    traces = {trace.transcript_id: trace for trace in findings.traces}
    told: dict[str, list[dict[str, Any]]] = {}
    for one in found.examples:
        trace = traces[one.transcript_id]
        given, new = trace.begun, trace.reasoning
        told.setdefault(one.run, []).append(
            {
                "arm": one.arm.replace("_", " "),
                "is_off": arm_called(one.arm).is_off,
                "tag": {True: "shows the behaviour", False: "does not", None: "not told"}[one.behaves],
                "step": one.step,
                "transcript_id": one.transcript_id,
                "given": ("… " if len(given) > QUOTED else "") + given[-QUOTED:],
                "new": new[:QUOTED] + (" …" if len(new) > QUOTED else ""),
                "answer": trace.answer[:QUOTED].strip(),
            }
        )
    return list(told.items())


def _ends(found: Intervened) -> list[tuple[str, int]]:
    """Every checkpoint, the last of each run first."""
    every = sorted({(one.run, one.step) for one in found.effects}, key=lambda where: (where[0], -where[1]))
    last = {run: max(step for name, step in every if name == run) for run, _ in every}
    return sorted(every, key=lambda where: where[1] != last[where[0]])


def _table(found: Intervened, run: str, step: int) -> dict[str, Any]:
    ours = [one for one in found.effects if (one.run, one.step) == (run, step)]
    told = {name for one in ours for name in one.outcomes}
    shown = {name: heading for name, heading in SHOWN.items() if name in told}
    arms = declared_of([key.partition(" ")[2] for key in found.rates if key.startswith(f"{key_of(run, step, '')}")], ()).arms
    return {
        "run": run,
        "step": step,
        "is_last": step == max(one.step for one in found.effects if one.run == run),
        "columns": list(shown.values()),
        "rows": [_row(found, ours, (run, step, arm), list(shown)) for arm in arms],
        "more": [_pair(one, list(shown)) for one in ours if one.base != _base(ours, one.arm)],
    }


def _row(found: Intervened, ours: Sequence[Effect], where: tuple[str, int, str], shown: Sequence[str]) -> dict[str, Any]:
    arm = where[2]
    base = _base(ours, arm)
    effect = next((one for one in ours if (one.arm, one.base) == (arm, base)), None)
    rates = found.rates[key_of(*where)]
    return {
        "arm": arm.replace("_", " "),
        "does": arm_called(arm).does,
        "is_off": arm_called(arm).is_off,
        "base": base.replace("_", " "),
        "flag": bool(effect and effect.is_less_monitorable),
        "cells": [
            {"rate": share(rates[name]) if rates[name].value is not None else "", **_difference(effect, name)} if name in rates else {}
            for name in shown
        ],
    }


def _pair(one: Effect, shown: Sequence[str]) -> dict[str, Any]:
    return {
        "arms": f"{one.arm} − {one.base}".replace("_", " "),
        "flag": one.is_less_monitorable,
        "cells": [_difference(one, name) for name in shown],
    }


def _difference(effect: Effect | None, name: str) -> dict[str, Any]:
    pair = effect.outcomes.get(name) if effect else None
    return {"difference": "", "ratio": "", "is_clear": False} if pair is None else _told(pair)


def _told(pair: Compared) -> dict[str, Any]:
    ratio = "" if pair.ratio is None else f"×{number(pair.ratio.value)}{interval(pair.ratio.low, pair.ratio.high)}"
    return {"difference": signed_points(pair.difference), "ratio": ratio, "is_clear": pair.clear != 0}


def _base(ours: Sequence[Effect], arm: str) -> str:
    there = [one.base for one in ours if one.arm == arm]
    return next((base for base in arm_called(arm).against if base in there), "")


def _mean(of: Estimate) -> str:
    return "" if of.value is None else f"{number(of.value)}{interval(of.low, of.high)}"
