"""Environments: the change of a measure within each, beside the change overall."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cotdrift.figures.look import INK, NUMBERS, PANEL, QUIET, dressed, panels, run_colours
from cotdrift.sentences import amount

if TYPE_CHECKING:
    import altair as alt

    from cotdrift.trend import Trend

OVERALL = "all environments"


def environment_rows(overall: Sequence[Trend], environments: Mapping[str, Sequence[Trend]]) -> list[dict[str, Any]]:
    """The change from the first checkpoint to the last, a row a measure, run and environment, the largest change first; overall leads."""
    rows = []
    for trend in overall:
        within = {
            name: found
            for name, trends in environments.items()
            for found in trends
            if (found.run, found.measure) == (trend.run, trend.measure)
        }
        compared = sorted((name for name, found in within.items() if found.contrast is not None), key=lambda name: amount(within[name])[1])
        if trend.contrast is None or not compared:
            continue
        ordered = compared if amount(trend)[1] < 0 else compared[::-1]
        rows.append(_row(OVERALL, trend, rank=0))
        rows += [_row(name, within[name], rank=rank) for rank, name in enumerate(ordered, 1)]
    return rows


def by_environment(rows: Sequence[Mapping[str, Any]], *, columns: int = 3, width: int = 200) -> alt.FacetChart:
    """One panel a measure, one line an environment. `rows` as `environment_rows` gives them."""
    import altair as alt  # half a second to import

    y = alt.Y(
        "environment:N", title=None, sort=alt.EncodingSortField("rank", op="min"), axis=alt.Axis(grid=False, labelColor=INK, labelLimit=130)
    )
    x = alt.X("change:Q", title=None, axis=alt.Axis(tickCount=4, labelExpr=NUMBERS, grid=True), scale=alt.Scale(zero=True))
    colour = run_colours([row["run"] for row in rows])
    # the order said outright: else Vega-Lite takes it from the names in an expression, which fails for a run called "constructor"
    offset = alt.YOffset("run:N", sort="ascending") if len({row["run"] for row in rows}) > 1 else alt.Undefined
    about = [
        alt.Tooltip(f"{name}:{kind}") for name, kind in (("environment", "N"), ("run", "N"), ("change", "Q"), ("low", "Q"), ("high", "Q"))
    ]
    about += [alt.Tooltip("unit:N"), alt.Tooltip("prompts:Q")]
    shape = alt.Shape("is_overall:N", scale=alt.Scale(domain=[False, True], range=["circle", "diamond"]), legend=None)
    size = alt.Size("is_overall:O", scale=alt.Scale(domain=[False, True], range=[48, 110]), legend=None)
    zero = alt.Chart().mark_rule(color=QUIET, strokeWidth=0.8).encode(x=alt.datum(0))
    spans = (
        alt.Chart()
        .mark_rule(strokeWidth=1.6, opacity=0.65)
        .encode(x=alt.X("low:Q", title=None), x2="high:Q", y=y, yOffset=offset, color=colour)
    )
    dots = (
        alt.Chart().mark_point(filled=True, opacity=1).encode(x=x, y=y, yOffset=offset, color=colour, shape=shape, size=size, tooltip=about)
    )
    drawn: alt.FacetChart = (
        alt.layer(zero, spans, dots, data=alt.InlineData(values=[]))
        .properties(width=width, height=alt.Step(22 if offset is alt.Undefined else 13))
        .facet(panels(rows), columns=columns)
        .transform_calculate(panel=PANEL)
        .resolve_scale(x="independent", y="independent")
    )
    return dressed(drawn, rows)


def _row(environment: str, trend: Trend, *, rank: int) -> dict[str, Any]:
    unit, change, low, high = amount(trend)
    seen = trend.contrast
    assert seen is not None
    return {
        "measure": trend.measure,
        "run": trend.run,
        "environment": environment,
        "is_overall": rank == 0,
        "rank": rank,
        "unit": unit,
        "since": seen.since,
        "step": seen.step,
        "change": change,
        "low": low,
        "high": high,
        "p": seen.p,
        "prompts": seen.prompts,
        "traces": seen.traces,
    }
