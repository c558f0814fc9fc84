"""Arms of an experiment: each outcome by arm over the steps, and how far arms are apart on the same prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cotdrift.figures.look import NUMBERS, PAPER, QUIET, RUNS, dressed

if TYPE_CHECKING:
    import altair as alt

    from cotdrift.arms import Apart, Tried
    from cotdrift.rewarded import Rewarded
    from cotdrift.swayed import Level, Swayed
    from cotdrift.trend import Trend

Rows = list[dict[str, Any]]


def arm_rows(tried: Tried) -> Rows:
    """A row an outcome, run, arm and checkpoint; shares in per cent."""
    several = len({one.trend.run for one in tried.trends}) > 1
    rows: Rows = []
    outcomes = list(tried.declared.outcomes)
    for one in sorted(tried.trends, key=lambda one: outcomes.index(one.trend.measure)):  # runs beside one another
        trend, scale = one.trend, 100.0 if one.trend.unit.startswith("share") else 1.0
        rows += [
            {
                "panel": panel(trend.measure, trend.run, several=several),
                "outcome": trend.measure,
                "run": trend.run,
                "arm": one.arm,
                "step": point.step,
                "unit": trend.unit.replace("share", "%", 1),
                "value": _times(scale, point.value),
                "low": _times(scale, point.low),
                "high": _times(scale, point.high),
                "traces": point.traces,
                "prompts": point.prompts,
                "missing": point.missing,
            }
            for point in trend.points
        ]
    return _by_panel(rows)


def setting_rows(measures: Sequence[Swayed]) -> Rows:
    """A row a measure, run, setting and checkpoint; shares in per cent. The setting stands as the arm."""
    several = len({one.run for one in measures}) > 1
    return _by_panel([_level_row(one, level, several=several) for one in measures for level in one.levels])


def _level_row(one: Swayed, level: Level, *, several: bool) -> dict[str, Any]:
    scale = 100.0 if one.is_share or one.unit.startswith("share") else 1.0
    return {
        "panel": panel(one.measure, one.run, several=several),
        "outcome": one.measure,
        "run": one.run,
        "arm": level.setting,
        "step": level.step,
        "unit": one.unit.replace("share", "%", 1),
        "value": _times(scale, level.estimate.value),
        "low": _times(scale, level.estimate.low),
        "high": _times(scale, level.estimate.high),
        "traces": level.estimate.traces,
        "prompts": level.estimate.prompts,
        "missing": 0,
    }


def point_rows(found: Rewarded) -> Rows:
    """A row a run, kind of point and checkpoint, in per cent of points. The kind stands as the arm, in a panel a run."""
    return _by_panel([row for kind, trends in found.kinds.items() for row in _point_rows("points for", kind, trends)])


def meant_rows(found: Rewarded) -> Rows:
    """A row a run, thing tested and checkpoint: the per cent of points that reward it. The thing tested stands as the arm."""
    every = {"all": found.meant, **found.by_tested}
    return _by_panel([row for kind, trends in every.items() for row in _point_rows("for what is tested", kind, trends)])


def _point_rows(called: str, kind: str, trends: Sequence[Trend]) -> Rows:
    return [
        {
            "panel": f"{called}, {trend.run}",
            "outcome": trend.measure,
            "run": trend.run,
            "arm": kind,
            "step": point.step,
            "unit": "% of points",
            "value": _times(100, point.value),
            "low": _times(100, point.low),
            "high": _times(100, point.high),
            "traces": point.traces,
            "prompts": point.prompts,
            "missing": point.missing,
        }
        for trend in trends
        for point in trend.points
    ]


def apart_rows(tried: Tried) -> Rows:
    """A row a contrast of arms, at every checkpoint and in each environment at the last; differences of shares in points."""
    several = len({one.trend.run for one in tried.trends}) > 1
    outcomes = list(tried.declared.outcomes)
    arms = [arm for arm, _ in tried.declared.contrasts]
    by_base = len(set(arms)) < len(arms)  # an arm that is held against two others is two lines
    told = sorted(tried.apart, key=lambda one: outcomes.index(one.outcome))
    return _by_panel([_apart_row(one, several=several, by_base=by_base) for one in told])


def _apart_row(one: Apart, *, several: bool, by_base: bool) -> dict[str, Any]:
    scale = 100.0 if one.is_share else 1.0
    return {
        "panel": panel(one.outcome, one.run, several=several) + (f", against {one.base.replace('_', ' ')}" if by_base else ""),
        "outcome": one.outcome,
        "run": one.run,
        "arm": one.arm,
        "base": one.base,
        "step": one.step,
        "since": one.since,
        "environment": one.environment,
        "unit": "percentage points" if one.is_share else "",
        "difference": scale * one.contrast.value,
        "low": _times(scale, one.contrast.low),
        "high": _times(scale, one.contrast.high),
        "p": one.contrast.p,
        "p_adjusted": one.p_adjusted,
        "traces": one.contrast.traces,
        "prompts": one.contrast.prompts,
    }


def by_arm(rows: Sequence[Mapping[str, Any]], arms: Sequence[str]) -> alt.FacetChart:
    """One panel an outcome and run, one line an arm. `rows` as `arm_rows` gives them."""
    about = ("arm", "step", "value", "low", "high", "traces", "prompts", "missing")
    return _lines(rows, arms, "value", about, zero_line=False)


def apart(rows: Sequence[Mapping[str, Any]], arms: Sequence[str]) -> alt.FacetChart:
    """One panel an outcome and run: each arm minus its base at every checkpoint. `rows` as `apart_rows` gives them."""
    about = ("arm", "base", "step", "difference", "low", "high", "prompts")
    return _lines(rows, arms, "difference", about, zero_line=True)


def panel(outcome: str, run: str, *, several: bool) -> str:
    """What a panel is called."""
    return f"{outcome.replace('_', ' ')}, {run}" if several else outcome.replace("_", " ")


def _lines(rows: Sequence[Mapping[str, Any]], arms: Sequence[str], value: str, about: Sequence[str], *, zero_line: bool) -> alt.FacetChart:
    import altair as alt  # half a second to import

    colours = [RUNS[place % len(RUNS)] for place in range(len(arms))]
    legend = alt.Legend(title=None, orient="top")
    colour = alt.Color("arm:N", scale=alt.Scale(domain=list(arms), range=colours), legend=legend)
    axis = alt.Axis(tickCount=4, labelExpr=NUMBERS, labelFlush=True)
    step = alt.X("step:Q", title=None, axis=axis, scale=alt.Scale(nice=False, padding=4, zero=False))
    scale = alt.Scale(zero=True, nice=True)
    up = alt.Y(f"{value}:Q", title=None, axis=alt.Axis(tickCount=4, labelExpr=NUMBERS), scale=scale)
    here = "isValid(datum.{}) && !isValid(datum.since) && !datum.environment" if zero_line else "isValid(datum.{})"
    base = alt.Chart().transform_filter(here.format(value))
    known = alt.Chart().transform_filter(here.format("low"))
    low, high = alt.Y("low:Q", title=None, scale=scale), alt.Y2("high:Q")
    layers = [
        known.mark_area(opacity=0.14, line=False).encode(step, low, high, colour),
        known.mark_rule(strokeWidth=1.2, opacity=0.6).encode(step, low, high, colour),
        base.mark_line(strokeWidth=2, strokeJoin="round").encode(step, up, colour),
        base.mark_circle(size=34, opacity=1, stroke=PAPER, strokeWidth=1).encode(
            step, up, colour, tooltip=[alt.Tooltip(f"{name}:{'N' if name in ('arm', 'base') else 'Q'}") for name in about]
        ),
    ]
    if zero_line:
        layers.insert(0, alt.Chart().mark_rule(color=QUIET, strokeWidth=0.8).encode(y=alt.datum(0)))
    order = list(dict.fromkeys(row["panel"] for row in rows))
    layered: Any = alt.layer(*layers, data=alt.InlineData(values=[])).properties(width=220, height=150)
    drawn: alt.FacetChart = layered.facet(alt.Facet("panel:N", sort=order), columns=3).resolve_scale(y="independent")
    return dressed(drawn, rows)


def _by_panel(rows: Rows) -> Rows:
    order = list(dict.fromkeys(row["panel"] for row in rows))
    return sorted(rows, key=lambda row: order.index(row["panel"]))


def _times(scale: float, value: float | None) -> float | None:
    return None if value is None else scale * value
