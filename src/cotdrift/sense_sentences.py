"""What became of terms' senses, in sentences with numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cotdrift.sentences import Change, interval, number

if TYPE_CHECKING:
    from cotdrift.comparisons.semantic import Dose
    from cotdrift.same_sense import Compared
    from cotdrift.sense import Point, Sense

ALPHA = 0.05


def what_became(sense: Sense) -> Change:
    """What the last checkpoint that can be compared makes of a term, with how much that is and what else moved."""
    compared = [point for point in sense.points if point.apart]
    if not compared:
        why = sense.points[-1].note if sense.points else "there is no later checkpoint."
        return Change(sentence=f"“{sense.term}” cannot be held against step {sense.first_step:,}: {why}", run=sense.run)
    said = [_moved(sense, compared[-1]), _from_when(compared), _beside(sense, compared[-1])]
    return Change(sentence=" ".join(part for part in said if part), run=sense.run)


def what_was_judged(found: Compared) -> str:
    """What a rater made of pairs of a term's uses, in a sentence."""
    moved, low, high = found.moved, found.moved.low, found.moved.high
    means = (
        f"{found.early:.2f} within step {found.first_step:,}, {found.late:.2f} within step {found.last_step:,}, {found.across:.2f} across"
    )
    is_clear = high is not None and high < 0
    what = "less the same" if is_clear else "not clearly less the same"
    undecided = f" Of {found.undecided:,} pairs it could not be said." if found.undecided else ""
    return (
        f"To {found.rater}, uses of “{found.term}” mean {what} across checkpoints than within them: by {number(moved.value)}"
        f"{interval(low, high)} on the scale from 1 to 4 ({means}; {moved.traces:,} pairs of {moved.prompts:,} prompts).{undecided}"
    )


def clear(point: Point) -> bool:
    """Whether a checkpoint's uses are clearly others than the first's."""
    found = point.apart
    return found is not None and (found.p if found.p_adjusted is None else found.p_adjusted) < ALPHA


def is_of_all_text(sense: Sense, point: Point) -> bool:
    """Whether half of the function words, or more, moved as far as the term: then it is no sign of a sense of its own."""
    return bool(sense.controls) and 2 * _as_far(sense, point) >= len(sense.controls)


def _as_far(sense: Sense, point: Point) -> int:
    return sum(point.apart is not None and control.energy >= point.apart.energy for control in sense.controls)


def _moved(sense: Sense, point: Point) -> str:
    found = point.apart
    assert found is not None
    on = f"{found.prompts:,} {'shared prompts' if found.paired else 'prompts a side, which differ'}"
    what = f"“{sense.term}” at step {point.step:,} against step {sense.first_step:,} (on {on}; p = {_p(found.p)})"
    if not clear(point):
        could = f", and a change as large as replacing {_percent(found.dose.high)} of its uses cannot be excluded" if found.dose else ""
        return f"{what} stands among the same words as before, as far as can be told{could}."
    if found.dose is None:
        return f"{what} stands among other words than before; of too few other words there are uses to say how much that is."
    return f"{what} stands among other words than before: like replacing {_dose(found.dose)} of its uses by another word’s."


def _from_when(compared: list[Point]) -> str:
    clears = [clear(point) for point in compared]
    if len(compared) < 2 or not clears[-1]:
        return ""
    since = next(at for at in range(len(compared)) if all(clears[at:]))
    return f"That is clear at every checkpoint from step {compared[since].step:,} on." if since < len(compared) - 1 else ""


def _beside(sense: Sense, point: Point) -> str:
    """What the controls say: where small words moved as well, it is the text around that changed."""
    if not clear(point) or not sense.controls or point.apart is None:
        return ""
    many, moved = len(sense.controls), [control for control in sense.controls if control.p < ALPHA]
    as_far = _as_far(sense, point)
    if not moved:
        return f"None of {many} function words moved."
    words = ", ".join(f"“{control.word}”" for control in moved)
    said = f"Of {many} function words {len(moved)} moved too ({words}), {as_far or 'none'} of them as far"
    if is_of_all_text(sense, point):
        return f"{said}: all text changed as much, so this is no sign of a sense of its own."
    return f"{said}: part of this is the text around, not the term."


def _dose(dose: Dose) -> str:
    return f"{_percent(dose.value)} [{number(100 * dose.low)}, {number(100 * dose.high)}]"


def _percent(share: float) -> str:
    return f"{number(100 * share)}%"


def _p(p: float) -> str:
    return "0.0005" if p <= 0.0005 else number(p)
