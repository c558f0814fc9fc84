"""Term sense: the dose at each checkpoint, as a share of a term's uses replaced by another word's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cotdrift.figures.look import PAPER, PER_CENT, in_panels, run_colours, steps_across
from cotdrift.sense import Sense
from cotdrift.sense_sentences import clear

if TYPE_CHECKING:
    import altair as alt


def panel_of(sense: Sense, several: bool) -> str:
    """What a panel is called: the term, with its run where there are several."""
    where = f", {sense.environment}" if sense.environment else ""
    return f"{sense.term}{where} ({sense.run})" if several else f"{sense.term}{where}"


def rows_of(senses: Sequence[Sense]) -> list[dict[str, Any]]:
    """A row a run, term and checkpoint that could be compared; doses in per cent."""
    several = len({sense.run for sense in senses}) > 1
    rows = []
    for sense in senses:
        for point in sense.points:
            if (found := point.apart) is None:
                continue
            dose = found.dose
            rows.append(
                {
                    "panel": panel_of(sense, several),
                    "run": sense.run,
                    "term": sense.term,
                    "step": point.step,
                    "dose": 100 * dose.value if dose else None,
                    "low": 100 * dose.low if dose else None,
                    "high": 100 * dose.high if dose else None,
                    "energy": found.energy,
                    "energy_low": found.low,
                    "energy_high": found.high,
                    "p": found.p,
                    "p_adjusted": found.p_adjusted,
                    "auc": found.auc,
                    "within_first": found.within_first,
                    "within": found.within,
                    "uses_first": found.uses_first,
                    "uses": found.uses,
                    "prompts": found.prompts,
                    "is_clear": clear(point),
                    "encoder": sense.encoder,
                }
            )
    return rows


def over_steps(rows: Sequence[Mapping[str, Any]], runs: Sequence[str]) -> alt.FacetChart:
    """One panel a term and run: the dose with its interval; hollow where the uses are not clearly others than the first checkpoint's."""
    import altair as alt  # half a second to import

    step, colour = steps_across(), run_colours(runs)
    top = max([100.0, *(row["high"] for row in rows if row["high"] is not None)])
    scale = alt.Scale(domain=[0, min(top, 200.0)], clamp=True)
    up = alt.Y("dose:Q", title=None, axis=alt.Axis(tickCount=4, labelExpr=PER_CENT), scale=scale)
    about = [alt.Tooltip(f"{name}:Q") for name in ("step", "dose", "low", "high", "energy", "p_adjusted", "auc", "uses", "prompts")]
    filled = alt.condition("datum.is_clear", alt.value(1), alt.value(0))
    base = alt.Chart()
    layers = [
        base.mark_area(opacity=0.16, line=False).encode(step, alt.Y("low:Q", title=None, scale=scale), alt.Y2("high:Q"), colour),
        base.mark_line(strokeWidth=2, strokeJoin="round").encode(step, up, colour),
        base.mark_circle(size=40, opacity=1, color=PAPER).encode(step, up),
        base.mark_point(size=40, strokeWidth=1.5, filled=True).encode(step, up, colour, fillOpacity=filled, tooltip=about),
        base.mark_point(size=40, strokeWidth=1.5, filled=False).encode(step, up, colour),
    ]
    return in_panels(layers, rows, height=150)
