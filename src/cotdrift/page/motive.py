"""What the page shows of motive: the verdict on each checkpoint and what it rests on, and the answers that are quoted."""

from __future__ import annotations

from typing import Any

from cotdrift.estimate import Contrast
from cotdrift.figures.motive import COLOURS, drawn_steps, named, panel_of
from cotdrift.findings import Findings
from cotdrift.motive import AtStep, Motive, Sensitivity
from cotdrift.page.gaming import QUOTED
from cotdrift.sentences import interval, share, signed_points
from cotdrift.signature import ARMS, BASELINE, MOST_GAIN, SAID, SURE, Share, Signature

CLAIMS = {
    "confusion": "confused: clarity moves it, and the consequence does not",
    "motive": "motivated: the consequence moves it, and clarity does not",
    "both": "both: clarity moves it, and so does the consequence",
    "neither": "neither: what is left is a habit, a slip or a leaning that no arm moves",
}


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
            {"run": steps[0].run, "name": named(motive, *key), "said": _sentences(steps[-1]), "verdicts": _verdicts(steps)}
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
    chance = _chance(at.signature.posterior[leading])
    return f"undecided, {SAID[leading]} {chance}" if at.signature.verdict == "undecided" else f"{SAID[at.signature.verdict]}, {chance}"


def _verdicts(steps: list[AtStep]) -> str:
    return ", ".join(f"step {at.step:,} {SAID[at.signature.verdict] if at.signature else 'not told'}" for at in steps)


def _sentences(at: AtStep) -> list[str]:
    """What is to be said of a run's last checkpoint."""
    baseline = at.rate(BASELINE)
    assert baseline is not None
    told = [f"At step {at.step:,} {share(baseline)} of answers to the baseline show the behaviour."]
    if at.signature is None:
        return [*told, "No other arm could be read, so nothing can be said of its cause."]
    told += [_claim(at.signature), _owed(at.signature), _next(at.signature)]
    if at.signature.surprising:
        told.append(
            f"What that does not foretell: the rate in {', '.join(at.signature.surprising)} (less than 1% under it). "
            "Something is at work that the four signatures do not know of; read answers from there."
        )
    if at.sensitivity:
        told.append(_silence(at.sensitivity))
    return told


def _claim(found: Signature) -> str:
    leading = found.ranked[0]
    chance, under = found.posterior[leading], found.under
    weakest = min(under, key=lambda name: under[name])
    least, most = _chance(under[weakest]), _chance(max(under.values()))
    spread = least if least == most else f"between {least} and {most}"
    others = f"{spread} under {len(under)} other priors (least if {weakest})"
    if found.verdict == "undecided":
        why = f"{_chance(chance)} is less than {SURE:g}" if chance < SURE else "another signature leads under one of the priors"
        return f"Undecided: it looks most like {CLAIMS[leading]}, with posterior {_chance(chance)}, {others}; {why}."
    return f"It is {CLAIMS[leading]}. Posterior {_chance(chance)}, {others}."


def _owed(found: Signature) -> str:
    parts = found.parts
    return (
        f"Of 100 answers {_part(parts['motive'])} show the behaviour for a motive, {_part(parts['confusion'])} from confusion, "
        f"and {_part(parts['base'])} for neither."
    )


def _next(found: Signature) -> str:
    first, second = (SAID[kind] for kind in found.ranked[:2])
    arm, gain = next(iter(found.gains.items()), ("", 0.0))
    if gain < MOST_GAIN:
        return f"To tell {first} from {second}, as many answers again are expected to help in no arm."
    return f"To tell {first} from {second}, ask next: {arm}, which {ARMS[arm].does} ({gain:.2f} bits expected of as many answers again)."


def _silence(found: Sensitivity) -> str:
    speaks = f"Reasoning speaks of the incentive in {share(found.speaks)} of answers to the baseline, by {_by(found.by)}."
    split = f"{_points(found.spoken)} in answers that speak of it, {_points(found.silent)} in answers that are silent"
    among = f"Among silent answers alone the difference is {_points(found.among_silent)}."
    return f"{speaks} Against the flipped consequence the behaviour is {_points(found.whole)}: {split}. {among}"


def _by(by: str) -> str:
    return by if by.startswith("a ") else f"the grader {by}"


def _points(contrast: Contrast | None) -> str:
    return signed_points(contrast) if contrast else "not to be told"


def _part(part: Share) -> str:
    return f"{100 * part.value:.0f}{interval(100 * part.low, 100 * part.high)}"


def _chance(value: float) -> str:
    """A posterior, which is never said to be certain."""
    return "over 0.99" if value > 0.99 else "under 0.01" if value < 0.01 else f"{value:.2f}"


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
