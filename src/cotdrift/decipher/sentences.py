"""What the benchmark says, in sentences with numbers."""

from __future__ import annotations

from collections.abc import Sequence

from cotdrift.decipher.items import AS_IT_IS, LEGIBLE, PLANTED
from cotdrift.decipher.scores import Condition, Scores, Standing, Together, is_clear
from cotdrift.estimate import Contrast
from cotdrift.sentences import interval, per_cent, share, signed_points


def what_is_read(scores: Scores) -> list[str]:
    """Whether each reader reads at all, where it stops, where checkpoints stand, and where agreement is no evidence."""
    told = [sentence for reader in scores.readers for sentence in _of_planted(scores, reader)]
    if scores.without:
        least, most = min(scores.without.values()), max(scores.without.values())
        told.append(f"Readers together are right of {per_cent(least)} to {per_cent(most)} of encoded passages with one of them left out.")
    return [*told, *_of_traces(scores), *_standings(scores.standings), *where_apart(scores)]


def where_apart(scores: Scores) -> list[str]:
    """Where readers agree and are wrong: that they read alike is then no evidence that they read rightly."""
    told = []
    for one in scores.together:
        if not (one.comes_apart or one.shares_a_reading):
            continue
        agreed = f"to alpha {_number(one.agreement.alpha.value)}{interval(one.agreement.alpha.low, one.agreement.alpha.high)}"
        said = f"{passages(one).capitalize()}: readers agree {agreed} and are right in {share(one.right)}"
        if one.above is not None:
            said += f", {signed_points(one.above)} beyond what another passage in its place gives"
        said += "."
        if one.shares_a_reading:
            said += (
                f" Where two are both wrong they give the same wrong answer in {share(one.wrong_alike)}; by chance it would be "
                f"{per_cent(one.by_chance)}. They share a reading that is not the truth."
            )
        if one.comes_apart:
            said += " Agreement and accuracy come apart here: that readers agree is no evidence that the passage was read."
        told.append(said)
    return told


def passages(one: Together) -> str:
    """Which passages these are, as a phrase."""
    what = {LEGIBLE: "plain passages", AS_IT_IS: "the checkpoint's own words"}.get(one.encoding, f"passages with {one.encoding}")
    return what if one.material == PLANTED else f"{one.run}, step {one.step:,}, {what}"


def _plain(scores: Scores) -> list[tuple[Condition, Contrast]]:
    """What is known of plain passages, over what the same reader says with others in their place."""
    return [(one, one.above) for one in scores.conditions if one.encoding == LEGIBLE and one.dose is None and one.above is not None]


def _of_planted(scores: Scores, reader: str) -> list[str]:
    told = []
    for one, above in _plain(scores):
        if (one.reader, one.material) != (reader, PLANTED):
            continue
        beyond = f"{signed_points(above)} beyond what another passage in its place gives"
        said = f"{reader}, plain passages: right in {share(one.right)}, {beyond}{_lacking(scores, one)}."
        if not is_clear(above):
            said += " Nothing shows that it reads them, so nothing it says of other passages shows whether these can be read."
        told.append(said)
    halves = [
        f"{100 * (half.dose or 0):.0f} % {found.encoding}{interval(_times(half.low), _times(half.high))}"
        for found in scores.dosed
        if found.reader == reader and found.material == PLANTED and (half := found.scale.half).dose is not None
    ]
    if halves:
        told.append(f"{reader} loses half of what it loses at {', '.join(halves)}.")
    return told


def _lacking(scores: Scores, of: Condition) -> str:
    here = [
        one.right for one in scores.conditions if (one.reader, one.material, one.run, one.dose) == (of.reader, of.material, of.run, None)
    ]
    missing, asked = sum(right.missing for right in here), sum(right.traces for right in here)
    return f" ({missing:,} of {asked:,} answers to such passages could not be had, and count as guesses)" if missing else ""


def _of_traces(scores: Scores) -> list[str]:
    """Of each run, who reads its first checkpoint."""
    told = []
    plain = [(one, above) for one, above in _plain(scores) if one.material != PLANTED]
    for run, step in dict.fromkeys((one.run, one.step) for one, _ in plain):
        here = [(one, above) for one, above in plain if (one.run, one.step) == (run, step)]
        reads = [f"{one.reader} {signed_points(above)}{_lacking(scores, one)}" for one, above in here if is_clear(above)]
        others = [one.reader for one, above in here if not is_clear(above)]
        said = f"{run}, step {step:,}, in its own words"
        said += f", right beyond what another passage in its place gives: {', '.join(reads)}." if reads else ":"
        told.append(said + (f" Nothing shows that {', '.join(others)} can tell its truth." if others else ""))
    return told


def _standings(standings: Sequence[Standing]) -> list[str]:
    """Where the last checkpoint of each run stands, for each reader that has a scale; and who has none."""
    last: dict[str, int] = {}
    for one in standings:
        last[one.run] = max(one.step, last.get(one.run, 0))
    told = []
    for run, step in last.items():
        here = [one for one in standings if (one.run, one.step) == (run, step)]
        known: dict[str, list[str]] = {}
        for one in here:
            if one.placed.off != "no scale":
                known.setdefault(one.reader, []).append(one.placed.said(one.encoding))
        told += [f"{run}, step {step:,}, to {reader}: {'; '.join(places)}." for reader, places in known.items()]
        if not known:
            told.append(
                f"{run}, step {step:,}, cannot be placed: nobody's answers about the first checkpoint clearly get worse with the dose of "
                "any encoding."
            )
    return told


def _times(value: float | None) -> float | None:
    return None if value is None else 100 * value


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f}"
