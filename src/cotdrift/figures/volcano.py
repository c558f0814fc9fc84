"""The volcano: how far each term's rate moved, against how evenly it is spread over the prompts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log2
from typing import TYPE_CHECKING, Any, cast

from cotdrift.figures.look import INK, LESS, MORE, NEITHER, PAPER, QUIET, dressed

if TYPE_CHECKING:
    import altair as alt

ALPHA = 0.05
WIDTH, HEIGHT = 640, 400
MARGIN = 34
"""Pixels left free at either side, for names."""
MOST_LABELS = 30

PLACE = (
    "isValid(datum.ratio) ? (datum.ratio > 0 ? log(datum.ratio) : isValid(datum.high) && datum.high > 0 ? log(datum.high) : null)"
    " : isValid(datum.low) && datum.low > 0 ? log(datum.low) : null"
)
MARK = "!isValid(datum.ratio) ? 'never before' : datum.ratio == 0 ? 'no longer' : datum.family == 'watch' ? 'watched' : 'other'"
GROUP = f"isValid(datum.p_adjusted) && datum.p_adjusted < {ALPHA} ? (datum.doublings > 0 ? 'more often' : 'less often') : 'unclear'"
RATIOS = "datum.value == 0 ? 'same' : (datum.value > 0 ? '×' : '÷') + format(pow(2, abs(datum.value)), ',.2~f')"


def place(row: Mapping[str, Any]) -> float | None:
    """Where a term stands: how often its rate doubled. A term never seen before, or no longer, stands at the end of its interval."""
    ratio, low, high = row["ratio"], row["low"], row["high"]
    told = low if ratio is None else high if ratio == 0 else ratio
    return log2(told) if told else None


def label_terms(rows: Sequence[Mapping[str, Any]], *, width: int = WIDTH, height: int = HEIGHT) -> list[int]:
    """Which terms to name in the figure without their names running into each other.

    0 none, 1 where there is room, 2 also on a phone; below zero the name stands to the left of its mark.
    """
    placed = [
        (number, where, row["spread"]) for number, row in enumerate(rows) if (where := place(row)) is not None and row["spread"] is not None
    ]
    labels = [0] * len(rows)
    if not placed:
        return labels
    left, right = (bound(0.0, *(where for _, where, _ in placed)) for bound in (min, max))
    span = right - left or 1.0
    clear = [spot for spot in placed if (rows[spot[0]]["p_adjusted"] or 0.0) < ALPHA and rows[spot[0]]["p_adjusted"] is not None]
    clear.sort(key=lambda spot: -abs(rows[spot[0]]["z"] or 0.0))
    for level, across, most in ((2, 300, MOST_LABELS // 3), (1, width, MOST_LABELS)):
        spots = {n: (MARGIN + (where - left) / span * (across - 2 * MARGIN), y * height) for n, where, y in clear}
        taken = [_name(rows[n]["term"], *spots[n], labels[n]) for n in spots if labels[n]] + [_dot(*spot) for spot in spots.values()]
        for n, spot in spots.items():
            for side in (1, -1):
                name = _name(rows[n]["term"], *spot, side)
                if not labels[n] and most and name[0] >= 0 and name[2] <= across and not any(_overlap(name, other) for other in taken):
                    labels[n], most = side * level, most - 1
                    taken.append(name)
    return labels


def volcano(rows: Sequence[Mapping[str, Any]], *, width: int = WIDTH) -> alt.LayerChart:
    """Terms of one run, step and reference. `rows` as `cotdrift terms --json` gives them, with `label` from `label_terms`."""
    import altair as alt  # half a second to import

    points = (
        alt.Chart()
        .transform_calculate(natural=PLACE)
        .transform_filter("isValid(datum.natural) && isValid(datum.spread)")
        .transform_calculate(doublings="datum.natural / LN2", mark=MARK)
        .transform_calculate(group=GROUP)
    )
    x = alt.X(
        "doublings:Q",
        title="rate, times the reference",
        axis=alt.Axis(labelExpr=RATIOS, tickCount=7, tickMinStep=1, grid=True),
        scale=alt.Scale(nice=False, padding=MARGIN),
    )
    y = alt.Y(
        "spread:Q", title="in few prompts  ←  spread (DPnorm)  →  in all alike", scale=alt.Scale(reverse=True, domain=[0, 1], padding=6)
    )
    colour = alt.Color(
        "group:N",
        scale=alt.Scale(domain=["more often", "less often", "unclear"], range=[MORE, LESS, NEITHER]),
        legend=alt.Legend(title=None, orient="top"),
    )
    shape = alt.Shape(
        "mark:N",
        scale=alt.Scale(
            domain=["other", "watched", "never before", "no longer"], range=["circle", "diamond", "triangle-right", "triangle-left"]
        ),
        legend=None,
    )
    size = alt.Size("count:Q", scale=alt.Scale(type="sqrt", range=[14, 320]), legend=None)
    about = [
        alt.Tooltip(f"{name}:{kind}") for name, kind in (("term", "N"), ("rate", "Q"), ("reference", "Q"), ("ratio", "Q"), ("low", "Q"))
    ]
    about += [alt.Tooltip(f"{name}:Q") for name in ("high", "p_adjusted", "spread", "count", "prompts")]
    dots = points.mark_point(filled=True, opacity=0.78, stroke=PAPER, strokeWidth=0.6).encode(x, y, color=colour, shape=shape, size=size)
    named = points.transform_filter("abs(datum.label) == 2 || (abs(datum.label) == 1 && width > 480)")
    right = named.transform_filter("datum.label > 0").mark_text(align="left", dx=8, fontSize=11.5, color=INK)
    left = named.transform_filter("datum.label < 0").mark_text(align="right", dx=-8, fontSize=11.5, color=INK)
    names = [text.encode(x, y, text="term:N") for text in (right, left)]
    same = alt.Chart().mark_rule(color=QUIET, strokeWidth=0.8).encode(x=alt.datum(0))
    quiet = dots.transform_filter("datum.group == 'unclear'").encode(tooltip=about)
    loud = dots.transform_filter("datum.group != 'unclear'").encode(tooltip=about)
    drawn: Any = alt.layer(same, quiet, loud, *names, data=alt.InlineData(values=[])).properties(width=width, height=HEIGHT)
    return cast("alt.LayerChart", dressed(drawn, rows))


Box = tuple[float, float, float, float]


def _name(term: str, x: float, y: float, side: int) -> Box:
    wide = 9 + 6.4 * len(term)
    return (x + 6, y - 7, x + wide, y + 7) if side > 0 else (x - wide, y - 7, x - 6, y + 7)


def _dot(x: float, y: float) -> Box:
    return x - 4, y - 4, x + 4, y + 4


def _overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
