"""Decipherment: how often each reader is right, over the dose of each encoding, beside what it answers without the passage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cotdrift.decipher.items import PLANTED
from cotdrift.figures.look import PAPER, PER_CENT, RUNS, in_panels, legend_above

if TYPE_CHECKING:
    import altair as alt

    from cotdrift.decipher.deciphered import Deciphered
    from cotdrift.decipher.scores import Dosed

Rows = list[dict[str, Any]]


def rows_of(found: Deciphered) -> dict[str, Rows]:
    """The rows of the figure and of the table of placed checkpoints; shares and doses in per cent."""
    return {
        "decipher_dose": [row for one in found.scores.dosed for row in _dosed(one)],
        "decipher_placed": [
            {
                "run": one.run,
                "step": one.step,
                "reader": one.reader,
                "encoding": one.encoding,
                "dose": _percent(one.placed.dose),
                "low": _percent(one.placed.low),
                "high": _percent(one.placed.high),
                "off_the_scale": one.placed.off,
                "draws_off_the_scale": _percent(one.placed.outside),
            }
            for one in found.scores.standings
        ],
    }


def panel_of(one: Dosed) -> str:
    """What a panel is called: the encoding, and whose passages they are."""
    return one.encoding if one.material == PLANTED else f"{one.encoding}, traces"


def _dosed(one: Dosed) -> Rows:
    return [
        {
            "panel": panel_of(one),
            "material": one.material,
            "encoding": one.encoding,
            "reader": one.reader,
            "dose": 100 * dose,
            "right": _percent(seen.value),
            "low": _percent(seen.low),
            "high": _percent(seen.high),
            "curve": 100 * curve,
            "control": _percent(one.control.value),
            "answers": seen.traces,
            "prompts": seen.prompts,
            "missing": seen.missing,
        }
        for dose, seen, curve in zip(one.scale.doses, one.scale.seen, one.scale.curve, strict=True)
    ]


def dose_response(rows: Sequence[Mapping[str, Any]], runs: Sequence[str]) -> alt.FacetChart:
    """One panel an encoding: for each reader the curve, what was seen with its interval, and dashed what it says without the passage."""
    import altair as alt  # half a second to import

    readers = list(dict.fromkeys(row["reader"] for row in rows))
    colours = alt.Scale(domain=readers, range=[RUNS[place % len(RUNS)] for place in range(len(readers))])
    colour = alt.Color("reader:N", scale=colours, legend=legend_above())
    hundred = alt.Scale(domain=[0, 100])
    x = alt.X("dose:Q", title=None, scale=hundred, axis=alt.Axis(values=[0, 20, 40, 60, 80, 100], labelExpr=PER_CENT))
    at = [0, 25, 50, 75, 100]
    y = alt.Y("right:Q", title=None, scale=hundred, axis=alt.Axis(values=at, labelExpr=PER_CENT))
    about = [
        alt.Tooltip("reader:N"),
        *(alt.Tooltip(f"{name}:Q") for name in ("dose", "right", "low", "high", "control", "answers", "prompts")),
    ]
    base = alt.Chart()
    layers = [
        base.mark_rule(strokeWidth=1, strokeDash=[4, 3], opacity=0.8).encode(alt.Y("max(control):Q", title=None, scale=hundred), colour),
        base.mark_line(strokeWidth=2, interpolate="linear").encode(x, alt.Y("curve:Q", title=None, scale=hundred), colour),
        base.mark_rule(strokeWidth=1.2, opacity=0.5).encode(x, alt.Y("low:Q", title=None, scale=hundred), alt.Y2("high:Q"), colour),
        base.mark_circle(size=36, opacity=1, stroke=PAPER, strokeWidth=1).encode(x, y, colour, tooltip=about),
    ]
    return in_panels(layers, rows, height=150)


FIGURES = {"decipher_dose": dose_response}


def _percent(value: float | None) -> float | None:
    return None if value is None else 100 * value
