"""What the benchmark says, in sentences with numbers."""

from __future__ import annotations

from collections.abc import Sequence

from cotdrift.decipher.items import AS_IT_IS, LEGIBLE, PLANTED, SHUFFLED, WITHHELD
from cotdrift.decipher.scores import Condition, Scores, Standing, Together, is_clear
from cotdrift.sentences import interval, per_cent, share, signed_points


def what_is_read(scores: Scores) -> list[str]:
    """Whether each reader reads at all, where it stops, where checkpoints stand, and where agreement is no evidence."""
    told = [sentence for reader in scores.readers for sentence in _of_reader(scores, reader)]
    told += [_standing(list(group)) for group in _by_checkpoint(scores.standings)]
    return [*told, *where_apart(scores)]


def where_apart(scores: Scores) -> list[str]:
    """Where readers agree and are wrong: that they read alike is then no evidence that they read rightly."""
    told = []
    for one in scores.together:
        if one.encoding == WITHHELD or not (one.comes_apart or one.shares_a_reading):
            continue
        agreed = f"alpha {_number(one.agreement.alpha.value)}{interval(one.agreement.alpha.low, one.agreement.alpha.high)}"
        said = f"{passages(one).capitalize()}: readers agree ({agreed}) and are right in {share(one.right)}"
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


def passages(one: Together | Condition) -> str:
    """Which passages these are, as a phrase."""
    what = {
        LEGIBLE: "plain passages",
        AS_IT_IS: "the checkpoint's own words",
        SHUFFLED: "another passage in its place",
        WITHHELD: "no passage",
    }.get(one.encoding, f"passages with {one.encoding}")
    if isinstance(one, Condition) and one.dose:
        what += f" at {100 * one.dose:.0f} %"
    return what if one.material == PLANTED else f"{one.run}, step {one.step:,}, {what}"


def _of_reader(scores: Scores, reader: str) -> list[str]:
    told = []
    of = [one for one in scores.conditions if one.reader == reader and one.dose is None]
    for one in of:
        if one.encoding != LEGIBLE or one.above is None:
            continue
        beyond = f"{signed_points(one.above)} beyond what another passage in its place gives"
        said = f"{reader}, {passages(one)}: right in {share(one.right)}, {beyond}"
        missing = sum(other.right.missing for other in of if other.material == one.material)
        asked = sum(other.right.traces for other in of if other.material == one.material)
        said += f" ({missing:,} of {asked:,} answers could not be had, and count as guesses)." if missing else "."
        if not is_clear(one.above):
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


def _standing(group: Sequence[Standing]) -> str:
    first = group[0]
    known = [one for one in group if one.placed.off != "no scale"]
    whose = f"{first.run}, step {first.step:,}, to {first.reader}"
    if not known:
        return (
            f"{whose}: cannot be placed, as its answers about the first checkpoint do not clearly get worse with the dose of any encoding."
        )
    return f"{whose}: " + "; ".join(one.placed.said(one.encoding) for one in known) + "."


def _by_checkpoint(standings: Sequence[Standing]) -> list[list[Standing]]:
    """The last checkpoint of each run, for each reader."""
    last: dict[str, int] = {}
    for one in standings:
        last[one.run] = max(one.step, last.get(one.run, 0))
    groups: dict[tuple[str, str], list[Standing]] = {}
    for one in standings:
        if one.step == last[one.run]:
            groups.setdefault((one.run, one.reader), []).append(one)
    return list(groups.values())


def _times(value: float | None) -> float | None:
    return None if value is None else 100 * value


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f}"
