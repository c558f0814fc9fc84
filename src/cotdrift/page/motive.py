"""What the page shows of motive: the verdict on each checkpoint and what it rests on, and the answers that are quoted."""

from __future__ import annotations

from typing import Any

from cotdrift.figures.motive import COLOURS, drawn_steps, named, panel_of
from cotdrift.findings import Findings
from cotdrift.motive import AtStep, Motive
from cotdrift.motive_sentences import chance_of, said_of
from cotdrift.page.gaming import QUOTED
from cotdrift.signature import ARMS, SAID


def section(findings: Findings) -> dict[str, Any] | None:
    """All that the section on motive needs; None where nothing was tried."""
    motive = findings.motive
    if motive is None:
        return None
    series = motive.series()
    return {
        "kinds": list(COLOURS),
        "arms": {arm: ARMS[arm].does for arm in ARMS if any(at.rate(arm) for at in motive.steps)},
        "series": [
            {"run": steps[0].run, "name": named(motive, *key), "said": said_of(steps[-1]), "verdicts": _verdicts(steps)}
            for key, steps in series.items()
        ],
        "panels": [
            {"name": panel_of(motive, at), "run": at.run, "verdict": _verdict(at), "read": _read(at)}
            for steps in series.values()
            for at in drawn_steps(steps)
        ],
        "has_silent": any(at.sensitivity for at in motive.steps),
        "quoted": _quoted(findings, motive),
    }


def _verdict(at: AtStep) -> str:
    if at.signature is None:
        return "too little could be read"
    leading = at.signature.ranked[0]
    chance = chance_of(at.signature.posterior[leading])
    return f"undecided, {SAID[leading]} {chance}" if at.signature.verdict == "undecided" else f"{SAID[at.signature.verdict]}, {chance}"


def _verdicts(steps: list[AtStep]) -> str:
    return ", ".join(f"step {at.step:,} {SAID[at.signature.verdict] if at.signature else 'not told'}" for at in steps)


def _read(at: AtStep) -> str:
    every = sum(found.rate.traces + found.rate.missing for found in at.arms)
    missing = {found.arm: found.rate.missing for found in at.arms if found.rate.missing}
    if not missing:
        return f"All {every:,} answers could be read."
    return f"Not read: {', '.join(f'{many:,} in {arm}' for arm, many in missing.items())}, of {every:,} answers."


def _quoted(findings: Findings, motive: Motive) -> list[dict[str, Any]]:
    """The quoted answers of each run's last checkpoint: those that show the behaviour beside those that do not."""
    traces = {trace.transcript_id: trace for trace in findings.traces}
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for example in motive.examples:
        trace = traces.get(example.transcript_id)
        if trace is None:
            continue
        key = (example.environment, example.run)
        of_run = found.setdefault(
            key, {"run": example.run, "name": f"{named(motive, *key)}, step {example.step:,}", "sides": {"behaves": [], "does not": []}}
        )
        of_run["sides"]["behaves" if example.behaves else "does not"].append(
            {
                "arm": example.arm,
                "step": example.step,
                "transcript_id": example.transcript_id,
                "prompt_id": trace.prompt_id,
                "reasoning": trace.reasoning[:QUOTED].strip() + (" …" if len(trace.reasoning) > QUOTED else ""),
                "answer": trace.answer[:QUOTED].strip(),
            }
        )
    return list(found.values())
