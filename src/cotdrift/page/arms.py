"""What the page shows of an experiment without a page of its own: its outcomes by arm, and how far arms are apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cotdrift.arms import Apart, Tried
from cotdrift.figures.arms import apart, apart_rows, arm_rows, by_arm
from cotdrift.sentences import ALPHA, number

if TYPE_CHECKING:
    import altair as alt

    from cotdrift.estimate import Contrast
    from cotdrift.trend import LastAgainstFirst

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
        "panels": panels(of[f"{declared.name}_arms"]),
        "apart": panels(of[f"{declared.name}_apart"]),
        "contrasts": [_told(one, several=several) for one in sorted(ends, key=lambda one: (one.run, bool(one.environment)))],
        "has_environments": any(one.environment for one in ends),
        "several_runs": several,
    }


def difference(contrast: Contrast | LastAgainstFirst, *, share: bool) -> str:
    """A difference with its interval; of shares in points."""
    scale, unit = (100.0, " points") if share else (1.0, "")
    bounds = ""
    if contrast.low is not None and contrast.high is not None:
        bounds = f" [{_signed(scale * contrast.low)}, {_signed(scale * contrast.high)}]"
    return f"{_signed(scale * contrast.value)}{unit}{bounds}"


def told_p(p: float | None) -> str:
    """A p-value in few signs; nothing for none."""
    return "" if p is None else "< 0.001" if p < 0.001 else number(p)


def panels(of: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """Each panel with its unit."""
    return list({row["panel"]: row["unit"] for row in of}.items())


def _told(one: Apart, *, several: bool) -> dict[str, Any]:
    p = one.p_adjusted
    return {
        "run": one.run if several else "",
        "outcome": one.outcome,
        "arms": f"{one.arm} − {one.base}",
        "when": f"step {one.step}" if one.since is None else f"change since step {one.since}",
        "environment": one.environment,
        "difference": difference(one.contrast, share=one.is_share),
        "p": told_p(p),
        "is_clear": p is not None and p < ALPHA,
        "prompts": one.contrast.prompts,
    }


def _signed(value: float) -> str:
    return f"{'−' if value < 0 else '+' if value > 0 else ''}{number(abs(value))}"


def arms_in(of: Sequence[dict[str, Any]]) -> list[str]:
    """The arms of a figure, in its order."""
    return list(dict.fromkeys(row["arm"] for row in of))
