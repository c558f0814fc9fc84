"""Trends as small multiples: one panel a measure, one line a run, intervals as bands."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from cotdrift.figures.look import NUMBERS, PANEL, PAPER, QUIET, RULE, dressed, panels, run_colours

if TYPE_CHECKING:
    import altair as alt

    from cotdrift.trend import Trend

Shown = Literal["level", "change"]


def trend_rows(trends: Iterable[Trend]) -> list[dict[str, Any]]:
    """A row a checkpoint and measure; shares in per cent. `change` is the paired difference from the first checkpoint."""
    rows = []
    for trend in trends:
        share = trend.unit.startswith("share")
        scale = 100.0 if share else 1.0
        for point in trend.points:
            paired = point.paired
            onset = trend.onset if trend.onset and trend.onset.step == point.step else None
            rows.append(
                {
                    "run": trend.run,
                    "measure": trend.measure,
                    "unit": trend.unit.replace("share", "%", 1) if share else trend.unit,
                    "step": point.step,
                    "value": _times(scale, point.value),
                    "low": _times(scale, point.low),
                    "high": _times(scale, point.high),
                    "change": _times(scale, paired.value if paired else None),
                    "change_low": _times(scale, paired.low if paired else None),
                    "change_high": _times(scale, paired.high if paired else None),
                    "poststratified": _times(scale, point.poststratified.value if point.poststratified else None),
                    "traces": point.traces,
                    "prompts": point.prompts,
                    "missing": point.missing,
                    "set_aside": point.set_aside,
                    "onset": onset.step if onset else None,
                    "onset_low": onset.low if onset else None,
                    "onset_high": onset.high if onset else None,
                }
            )
    return rows


def small_multiples(
    rows: Sequence[dict[str, Any]], *, show: Shown = "level", zero: bool = False, columns: int = 3, width: int = 200
) -> alt.FacetChart:
    """One panel a measure. `rows` as `trend_rows` gives them; the dashed line is the onset, the shade behind it its interval."""
    import altair as alt  # half a second to import

    value, low, high = ("value", "low", "high") if show == "level" else ("change", "change_low", "change_high")
    base = alt.Chart().transform_filter(f"isValid(datum.{value})")
    across = alt.Scale(nice=False, padding=4, zero=False)
    step = alt.X("step:Q", title=None, axis=alt.Axis(tickCount=4, labelExpr=NUMBERS, labelFlush=True), scale=across)
    scale = alt.Scale(zero=zero or show == "change", nice=True)
    up = alt.Y(f"{value}:Q", title=None, axis=alt.Axis(tickCount=4, labelExpr=NUMBERS), scale=scale)
    colour = run_colours([row["run"] for row in rows])
    about = [alt.Tooltip(f"{name}:{kind}") for name, kind in (("run", "N"), ("step", "Q"), (value, "Q"), (low, "Q"), (high, "Q"))]
    about += [alt.Tooltip("traces:Q"), alt.Tooltip("prompts:Q")]
    layers = [
        base.transform_filter("isValid(datum.onset)")
        .mark_rect(opacity=0.35, color=RULE)
        .encode(x=alt.X("onset_low:Q", title=None, scale=across), x2="onset_high:Q"),
        base.transform_filter("isValid(datum.onset)")
        .mark_rule(strokeDash=[3, 3], strokeWidth=1)
        .encode(x=alt.X("onset:Q", title=None, scale=across), color=colour),
        base.mark_area(opacity=0.16, line=False).encode(x=step, y=alt.Y(f"{low}:Q", title=None, scale=scale), y2=f"{high}:Q", color=colour),
        base.mark_line(strokeWidth=2, strokeJoin="round").encode(x=step, y=up, color=colour),
        base.mark_circle(size=34, opacity=1, stroke=PAPER, strokeWidth=1).encode(x=step, y=up, color=colour, tooltip=about),
    ]
    if show == "change":
        layers.insert(0, alt.Chart().mark_rule(color=QUIET, strokeWidth=0.8).encode(y=alt.datum(0)))
    drawn: alt.FacetChart = (
        alt.layer(*layers, data=alt.InlineData(values=[]))
        .properties(width=width, height=130)
        .facet(panels(rows), columns=columns)
        .transform_calculate(panel=PANEL)
        .resolve_scale(y="independent")
    )
    return dressed(drawn, rows)


def _times(scale: float, value: float | None) -> float | None:
    return None if value is None else scale * value
