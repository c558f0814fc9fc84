"""The look of every figure: quiet axes, and colours that colour-blind readers tell apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    import altair as alt

RUNS = ("#0b6399", "#c2541b", "#0e8265", "#a3528c", "#8a6d00", "#5b5f66")
"""One colour a run, after Okabe and Ito, darkened until lines hold on white; the page swaps each for a lighter one in the dark."""
MORE, LESS, NEITHER = "#c2541b", "#0b6399", "#a9a69e"
INK, QUIET, RULE, PAPER = "#1d1c1a", "#6a675f", "#dedbd3", "#ffffff"
FONT = "-apple-system, BlinkMacSystemFont, 'Segoe UI', Roboto, 'Helvetica Neue', 'Liberation Sans', Arial, sans-serif"

NUMBERS = "datum.value == 0 ? '0' : abs(datum.value) >= 10000 ? format(datum.value, '.3~s') : format(datum.value, ',.4~g')"
PER_CENT = "format(datum.value, ',.3~g') + '%'"
"""How an axis says its numbers."""

Drawn = TypeVar("Drawn", bound="alt.TopLevelMixin")


def dressed(chart: Drawn, rows: Sequence[Mapping[str, Any]]) -> Drawn:
    """The chart with the look of every figure here, and its data, which come last: Altair copies what it has at every turn."""
    import altair as alt  # half a second to import

    look: dict[str, Any] = {
        "background": PAPER,
        "font": FONT,
        "view": {"stroke": None},
        "aria": False,  # a figure is read out as its caption and its table, not as hundreds of marks
        "axis": {
            "domain": False,
            "grid": True,
            "gridColor": RULE,
            "gridWidth": 0.7,
            "labelColor": QUIET,
            "labelFontSize": 11,
            "labelPadding": 6,
            "ticks": False,
            "titleColor": QUIET,
            "titleFontSize": 11,
            "titleFontWeight": "normal",
            "titlePadding": 8,
        },
        "axisX": {"grid": False, "domain": True, "domainColor": RULE, "ticks": True, "tickColor": RULE, "tickSize": 4, "labelPadding": 3},
        "axisY": {"minExtent": 32},
        "header": {"labelAnchor": "start", "labelColor": INK, "labelFontSize": 12, "labelFontWeight": "bold", "title": None},
        "legend": {"labelColor": INK, "titleColor": QUIET, "titleFontWeight": "normal", "symbolStrokeWidth": 2},
    }
    drawn: Any = chart.configure(**look)
    drawn.data = alt.InlineData(values=[dict(row) for row in rows])
    return cast(Drawn, drawn)


PANEL = "replace(datum.measure, regexp('_', 'g'), ' ') + ', ' + datum.unit"


def panels(rows: Sequence[Mapping[str, Any]]) -> alt.Facet:
    """A panel a measure, in the order of the rows, headed by its name and unit; needs `PANEL` calculated."""
    import altair as alt  # half a second to import

    order = list(dict.fromkeys(f"{row['measure'].replace('_', ' ')}, {row['unit']}" for row in rows))
    return alt.Facet("panel:N", sort=order)


def run_colours(runs: Sequence[str]) -> alt.Color:
    """A run keeps its colour through every figure; a key is drawn only when there are several."""
    import altair as alt  # half a second to import

    names = list(dict.fromkeys(runs))
    colours = [RUNS[place % len(RUNS)] for place in range(len(names))]
    key = alt.Legend(title=None, orient="top", symbolOpacity=1) if len(names) > 1 else None
    return alt.Color("run:N", scale=alt.Scale(domain=names, range=colours), legend=key)


def steps_across() -> alt.X:
    """Training steps, from left to right."""
    import altair as alt  # half a second to import

    axis = alt.Axis(tickCount=4, labelExpr=NUMBERS, labelFlush=True)
    return alt.X("step:Q", title=None, axis=axis, scale=alt.Scale(nice=False, padding=4, zero=False))


def legend_above() -> alt.Legend:
    """A key over the figure, as its file has it; the page has its own."""
    import altair as alt  # half a second to import

    return alt.Legend(title=None, orient="top")


def in_panels(layers: Sequence[Any], rows: Sequence[Mapping[str, Any]], *, height: Any) -> alt.FacetChart:
    """The layers once for each `panel` of the rows, in their order."""
    import altair as alt  # half a second to import

    order = list(dict.fromkeys(row["panel"] for row in rows))
    layered: Any = alt.layer(*layers, data=alt.InlineData(values=[])).properties(width=220, height=height)
    facet = layered.facet(alt.Facet("panel:N", sort=order), columns=3)
    drawn: alt.FacetChart = facet.resolve_scale(x="independent", y="independent")
    return dressed(drawn, rows)
