"""What the page shows of ways of sampling: what they move, and what part of a difference between checkpoints they could explain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, get_args

from cotdrift.figures.arms import by_arm, setting_rows
from cotdrift.page.arms import Rows, arms_in, difference, panels, told_p
from cotdrift.sentences import ALPHA
from cotdrift.swayed import Verdict

if TYPE_CHECKING:
    import altair as alt

    from cotdrift.findings import Findings
    from cotdrift.swayed import Swayed

MOST_PANELS = 6
"""Measures of which settings are drawn."""
VERDICTS = get_args(Verdict)


def rows(findings: Findings) -> Rows:
    """What the figures are drawn from."""
    return {f"{name}_settings": setting_rows(_foremost(measures)) for name, measures in findings.swayed.items()}


def figures(findings: Findings, of: Rows) -> dict[str, alt.TopLevelMixin]:
    """The measures that settings move most surely, by setting."""
    return {name: by_arm(of[name], arms_in(of[name])) for name in (f"{one}_settings" for one in findings.swayed) if of[name]}


def section(findings: Findings, name: str, of: Rows) -> dict[str, Any] | None:
    """What the section on an experiment says of ways of sampling; None where it tried none."""
    measures = findings.swayed.get(name)
    if not measures:
        return None
    told = [one for one in measures if _is_told(one)]
    several = len({one.run for one in measures}) > 1
    drawn = of[f"{name}_settings"]
    return {
        "rows": [_row(one, several=several) for one in sorted(told, key=lambda one: (one.run, VERDICTS.index(one.verdict)))],
        "left_out": len(measures) - len(told),
        "several_runs": several,
        "arms": arms_in(drawn),
        "panels": panels(drawn),
        "sentences": [sentence for one in told if (sentence := _sentence(one, several=several))],
    }


def _foremost(measures: Sequence[Swayed]) -> list[Swayed]:
    """The measures that settings move most surely, those of each run."""
    surest = sorted((one for one in measures if one.p_settings is not None), key=lambda one: one.p_settings or 0.0)
    names = list(dict.fromkeys(one.measure for one in surest))[:MOST_PANELS]
    return [one for name in names for one in measures if one.measure == name]


def _is_told(one: Swayed) -> bool:
    """Whether the checkpoints clearly differ in it, or settings clearly move it."""
    return any(p is not None and p < ALPHA for p in (one.p_between, one.p_settings))


def _is_share(one: Swayed) -> bool:
    return one.is_share or one.unit.startswith("share")


def _row(one: Swayed, *, several: bool) -> dict[str, Any]:
    shift = one.largest
    return {
        "run": one.run if several else "",
        "measure": one.measure,
        "between": difference(one.between, share=_is_share(one)) if one.between else "",
        "p_between": told_p(one.p_between),
        "shift": f"{shift.setting} − {shift.against}, step {shift.step}" if shift else "",
        "by": difference(shift.contrast, share=_is_share(one)) if shift else "",
        "p": told_p(one.p_settings),
        "part": _part(one),
        "verdict": one.verdict,
    }


def _sentence(one: Swayed, *, several: bool) -> str:
    """The verdict in words; empty where the checkpoints do not clearly differ."""
    if one.between is None or one.part is None or one.verdict not in ("cannot explain it", "could explain it"):
        return ""
    whose = f"{one.run}: " if several else ""
    between = f"between steps {one.since} and {one.step}"
    differs = f"{whose}{one.measure.replace('_', ' ')} differs by {difference(one.between, share=_is_share(one))} {between}"
    if one.verdict == "could explain it" and one.largest:
        return (
            f"{differs}, and {one.largest.setting} in place of {one.largest.against} moves it at least as far: settings could explain it."
        )
    return f"{differs}; no setting that was tried moves it by more than {_per_cent(one.part_high)} of that."


def _part(one: Swayed) -> str:
    if one.part is None:
        return "cannot be told"
    ends = (
        "" if one.part_low is None else f" [{_per_cent(one.part_low)}, {_per_cent(one.part_high) if one.part_high is not None else 'any'}]"
    )
    return f"{_per_cent(one.part)}{ends}"


def _per_cent(part: float | None) -> str:
    return "any part" if part is None else f"{100 * part:,.0f}%"
