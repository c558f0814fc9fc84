"""The ladder of ambiguity: the curve of each checkpoint, and where it stands over the steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cotdrift.figures.look import INK, NUMBERS, PAPER, PER_CENT, QUIET, in_panels, legend_above, run_colours, steps_across

if TYPE_CHECKING:
    import altair as alt

    from cotdrift.ambiguity import Ambiguity, AtStep
    from cotdrift.estimate import Estimate
    from cotdrift.ordering import Order

EVERY = 2
"""Of the places where a curve is known, how many make one that is drawn."""
MIDPOINT, FORBIDDEN, WHOLE, ARGUED = "midpoint", "where forbidden", "over all levels", "argument it took"

Rows = list[dict[str, Any]]


def curve_rows(ambiguity: Ambiguity) -> Rows:
    """A row a checkpoint and level, with what was seen there, and one for each place of its curve; rates in per cent, levels from 0 up."""
    rows: Rows = []
    for run in ambiguity.runs:
        steps = ambiguity.of(run)
        for place, at in enumerate(steps):
            shared = {
                "panel": run,
                "run": run,
                "step": at.step,
                "age": place / max(len(steps) - 1, 1),
                "end": place in (0, len(steps) - 1),
                "has_curve": at.threshold.curve is not None,
            }
            rows += [
                {**shared, "level": level, "name": name, **_rate(found), "fitted": None, "fitted_low": None, "fitted_high": None}
                for level, (name, found) in enumerate(zip(ambiguity.levels, at.threshold.levels, strict=True))
            ]
            rows += [{**shared, **point} for point in _curve(at, len(ambiguity.levels))]
    return rows


def _curve(at: AtStep, levels: int) -> Rows:
    if at.threshold.curve is None:
        return []
    band = at.threshold.curve.band
    known = list(zip(band.x, band.rate, band.low, band.high, strict=True))[::EVERY]
    nothing = {"name": None, "rate": None, "low": None, "high": None, "answers": None, "scenarios": None}
    return [
        {"level": (levels - 1) * x, **nothing, "fitted": 100 * rate, "fitted_low": 100 * low, "fitted_high": 100 * high}
        for x, rate, low, high in known
    ]


def step_rows(ambiguity: Ambiguity) -> Rows:
    """A row a checkpoint, quantity and strictness: the midpoint in levels, rates in per cent, and the argument from 0 to 4."""
    rows: Rows = []
    last = len(ambiguity.levels) - 1
    for quantity in (MIDPOINT, FORBIDDEN, WHOLE, ARGUED):
        for at in ambiguity.steps:
            found = {
                "panel": quantity,
                "run": at.run,
                "step": at.step,
                "strictness": at.strictness,
                "answers_without_a_judgment": at.missing,
            }
            if quantity == MIDPOINT:
                curve = at.threshold.curve
                told = (curve.midpoint.value, curve.midpoint.low, curve.midpoint.high) if curve else (None, None, None)
                value, low, high = (None if number is None else last * number for number in told)
                rows.append(
                    {**found, "unit": f"level, 0 to {last}", "value": value, "low": low, "high": high, "why_none": at.threshold.why}
                )
            elif quantity == ARGUED:
                if at.argued is not None and at.argued.value is not None:
                    rows.append({**found, "unit": "0 to 4", **_of(at.argued, 1), "why_none": ""})
            else:
                rate = at.threshold.levels[0] if quantity == FORBIDDEN else at.threshold.whole
                rows.append({**found, "unit": "% of answers", **_of(rate, 100), "why_none": ""})
    return rows


def order_rows(order: Order) -> Rows:
    """A row a level: how much more open than the lowest it is found, in log-odds, and how often it was found above the one below it."""
    return [
        {
            "panel": "order",
            "level": level,
            "rung": rung,
            "log_odds": one.value,
            "low": one.low,
            "high": one.high,
            "found_above_the_one_below": None if rung == 0 else _times(100, order.neighbours[rung - 1].value),
            "judgments": None if rung == 0 else order.neighbours[rung - 1].traces,
        }
        for rung, (level, one) in enumerate(zip(order.levels, order.strengths, strict=True))
    ]


def curves(rows: Sequence[Mapping[str, Any]], runs: Sequence[str]) -> alt.FacetChart:
    """One panel a run: what was seen at each level, and the curve through it, the later the stronger."""
    import altair as alt  # half a second to import

    names = [name for _, name in sorted({(row["level"], row["name"]) for row in rows if row["name"]})]
    label = f"{names!r}[datum.value]"
    axis = alt.Axis(values=list(range(len(names))), labelExpr=label, labelAngle=-40, labelOverlap=False, grid=False)
    across = alt.X("level:Q", title=None, axis=axis, scale=alt.Scale(domain=[0, len(names) - 1], padding=10, nice=False))
    scale = alt.Scale(domain=[0, 100])
    up = alt.Y("rate:Q", title=None, axis=alt.Axis(tickCount=4, labelExpr=PER_CENT), scale=scale)
    fitted = alt.Y("fitted:Q", title=None, axis=alt.Axis(tickCount=4, labelExpr=PER_CENT), scale=scale)
    colour, each = run_colours(runs), alt.Detail("step:Q")
    age = alt.Opacity("age:Q", scale=alt.Scale(domain=[0, 1], range=[0.28, 1]), legend=None)
    seen = alt.Chart().transform_filter("isValid(datum.rate)")
    curve = alt.Chart().transform_filter("isValid(datum.fitted)")
    ends = curve.transform_filter("datum.end")
    about = [
        alt.Tooltip("name:N", title="level"),
        *(alt.Tooltip(f"{name}:Q") for name in ("step", "rate", "low", "high", "answers", "scenarios")),
    ]
    layers = [
        ends.mark_area(opacity=0.13, line=False).encode(
            across, alt.Y("fitted_low:Q", title=None, scale=scale), alt.Y2("fitted_high:Q"), colour, each
        ),
        curve.mark_line(strokeWidth=2).encode(across, fitted, colour, age, each),
        seen.transform_filter("!datum.has_curve").mark_line(strokeWidth=1.2, strokeDash=[1, 3]).encode(across, up, colour, age, each),
        seen.mark_circle(size=34, stroke=PAPER, strokeWidth=1).encode(across, up, colour, age, tooltip=about),
    ]
    return in_panels(layers, rows, height=190)


def over_steps(rows: Sequence[Mapping[str, Any]], runs: Sequence[str]) -> alt.FacetChart:
    """One panel a quantity, one line a run and strictness."""
    import altair as alt  # half a second to import

    by = list(dict.fromkeys(row["strictness"] for row in rows))
    step, colour, scale = steps_across(), run_colours(runs), alt.Scale(zero=True, nice=True)
    dashes = [[1, 0], [4, 3], [1, 3]][: len(by)]
    dash = alt.StrokeDash("strictness:N", scale=alt.Scale(domain=by, range=dashes), legend=legend_above() if len(by) > 1 else None)
    up = alt.Y("value:Q", title=None, axis=alt.Axis(tickCount=4, labelExpr=NUMBERS), scale=scale)
    base = alt.Chart().transform_filter("isValid(datum.value)")
    foremost = base.transform_filter(f"datum.strictness === '{by[0]}' && isValid(datum.low)")
    low, high = alt.Y("low:Q", title=None, scale=scale), alt.Y2("high:Q")
    about = [alt.Tooltip("run:N"), alt.Tooltip("strictness:N"), *(alt.Tooltip(f"{name}:Q") for name in ("step", "value", "low", "high"))]
    each = alt.Detail("strictness:N")
    layers = [
        foremost.mark_area(opacity=0.15, line=False).encode(step, low, high, colour),
        foremost.mark_rule(strokeWidth=1.2, opacity=0.5).encode(step, low, high, colour),
        base.mark_line(strokeWidth=2, strokeJoin="round").encode(step, up, colour, dash),
        base.mark_circle(size=34, opacity=1, stroke=PAPER, strokeWidth=1).encode(step, up, colour, each, tooltip=about),
    ]
    return in_panels(layers, rows, height=150)


def order(rows: Sequence[Mapping[str, Any]], _runs: Sequence[str]) -> alt.FacetChart:
    """The levels as they were written, each where it was found."""
    import altair as alt  # half a second to import

    names = [row["level"] for row in sorted(rows, key=lambda row: row["rung"])]
    y = alt.Y("level:N", title=None, sort=names, axis=alt.Axis(grid=False, labelColor=INK, minExtent=72))
    x = alt.X("log_odds:Q", title="found more open than the lowest, log-odds", axis=alt.Axis(tickCount=4, labelExpr=NUMBERS, grid=True))
    about = [
        alt.Tooltip("level:N"),
        *(alt.Tooltip(f"{name}:Q") for name in ("log_odds", "low", "high", "found_above_the_one_below", "judgments")),
    ]
    base = alt.Chart()
    layers = [
        base.mark_rule(strokeWidth=1.4, color=QUIET).encode(alt.X("low:Q", title=None), alt.X2("high:Q"), y),
        base.mark_line(strokeWidth=1.2, color=QUIET).encode(x, y, alt.Order("rung:Q")),
        base.mark_circle(size=46, opacity=1, color=INK, stroke=PAPER, strokeWidth=1).encode(x, y, tooltip=about),
    ]
    return in_panels(layers, rows, height=alt.Step(25))


def _rate(found: Estimate) -> dict[str, Any]:
    return {
        "rate": _times(100, found.value),
        "low": _times(100, found.low),
        "high": _times(100, found.high),
        "answers": found.traces,
        "scenarios": found.prompts,
    }


def _of(found: Estimate, scale: float) -> dict[str, float | None]:
    return {"value": _times(scale, found.value), "low": _times(scale, found.low), "high": _times(scale, found.high)}


def _times(scale: float, value: float | None) -> float | None:
    return None if value is None else scale * value
