"""Confused or motivated, in sentences with numbers."""

from __future__ import annotations

from cotdrift.estimate import Contrast
from cotdrift.motive import AtStep, Motive, Sensitivity
from cotdrift.sentences import Change, interval, share, signed_points
from cotdrift.signature import ARMS, BASELINE, MOST_GAIN, SAID, SURE, Share, Signature

CLAIMS = {
    "confusion": "confused: clarity moves it, and the consequence does not",
    "motive": "motivated: the consequence moves it, and clarity does not",
    "both": "both: clarity moves it, and so does the consequence",
    "neither": "neither: what is left is a habit, a slip or a leaning that no arm moves",
}


def what_moves(motive: Motive) -> tuple[Change, ...]:
    """How often the last checkpoint of each run shows the behaviour, and whether it is confused or motivated."""
    series = motive.series()
    several = len({environment for environment, _ in series}) > 1
    return tuple(
        Change(sentence=(f"{environment}: " if several else "") + " ".join(said_of(steps[-1])[:2]), run=run)
        for (environment, run), steps in series.items()
    )


def said_of(at: AtStep) -> list[str]:
    """What is to be said of one checkpoint: how often, why, what to ask next, and what follows the incentive in silence."""
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
    least, most = chance_of(under[weakest]), chance_of(max(under.values()))
    spread = least if least == most else f"between {least} and {most}"
    others = f"{spread} under {len(under)} other priors (least if {weakest})"
    if found.verdict == "undecided":
        why = f"{chance_of(chance)} is less than {SURE:g}" if chance < SURE else "another signature leads under one of the priors"
        return f"Undecided: it looks most like {CLAIMS[leading]}, with posterior {chance_of(chance)}, {others}; {why}."
    return f"It is {CLAIMS[leading]}. Posterior {chance_of(chance)}, {others}."


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


def chance_of(value: float) -> str:
    """A posterior, which is never said to be certain."""
    return "over 0.99" if value > 0.99 else "under 0.01" if value < 0.01 else f"{value:.2f}"
