"""What the page shows of an experiment without a page of its own: its outcomes by arm, and how far arms are apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cotdrift.arms import Apart, Tried
from cotdrift.figures.arms import apart, apart_rows, arm_rows, by_arm
from cotdrift.sentences import ALPHA, number

if TYPE_CHECKING:
    import altair as alt

Rows = dict[str, list[dict[str, Any]]]


def rows(experiments: Sequence[Tried]) -> Rows:
    """What the figures of each experiment are drawn from."""
    drawn: Rows = {}
    for one in experiments:
        drawn |= {f"{one.declared.name}_arms": arm_rows(one), f"{one.declared.name}_apart": apart_rows(one)}
    return drawn


def figures(experiments: Sequence[Tried], of: Rows) -> dict[str, alt.TopLevelMixin]:
    """The figures of each experiment."""
    drawn: dict[str, alt.TopLevelMixin] = {}
    for one in experiments:
        name, arms = one.declared.name, one.declared.arms
        drawn[f"{name}_arms"] = by_arm(of[f"{name}_arms"], arms)
        if of[f"{name}_apart"]:
            drawn[f"{name}_apart"] = apart(of[f"{name}_apart"], arms)
    return drawn


def section(tried: Tried, of: Rows) -> dict[str, Any]:
    """All that the section on one experiment needs."""
    declared, ends = tried.declared, tried.at_the_end()
    several = len({one.trend.run for one in tried.trends}) > 1
    return {
        "name": declared.name,
        "summary": declared.summary,
        "arms": declared.arms,
        "outcomes": list(declared.outcomes.items()),
        "varied": [(factor, levels) for factor, levels in declared.factors.items() if len(levels) > 1],
        "panels": _panels(of[f"{declared.name}_arms"]),
        "apart": _panels(of[f"{declared.name}_apart"]),
        "contrasts": [_told(one, several=several) for one in sorted(ends, key=lambda one: (one.run, bool(one.environment)))],
        "has_environments": any(one.environment for one in ends),
        "several_runs": several,
    }


def _panels(of: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """Each panel with its unit."""
    return list({row["panel"]: row["unit"] for row in of}.items())


def _told(one: Apart, *, several: bool) -> dict[str, Any]:
    scale, unit = (100.0, " points") if one.is_share else (1.0, "")
    contrast = one.contrast
    bounds = ""
    if contrast.low is not None and contrast.high is not None:
        bounds = f" [{_signed(scale * contrast.low)}, {_signed(scale * contrast.high)}]"
    p = one.p_adjusted
    return {
        "run": one.run if several else "",
        "outcome": one.outcome,
        "arms": f"{one.arm} − {one.base}",
        "when": f"step {one.step}" if one.since is None else f"change since step {one.since}",
        "environment": one.environment,
        "difference": f"{_signed(scale * contrast.value)}{unit}{bounds}",
        "p": "" if p is None else "< 0.001" if p < 0.001 else number(p),
        "is_clear": p is not None and p < ALPHA,
        "prompts": contrast.prompts,
    }


def _signed(value: float) -> str:
    return f"{'−' if value < 0 else '+' if value > 0 else ''}{number(abs(value))}"
