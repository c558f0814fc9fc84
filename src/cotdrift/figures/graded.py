"""Graded: what judges say, over the steps and along a trace, with bounds for what is missing, and beside the truth."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from cotdrift.figures.look import INK, MORE, NEITHER, NUMBERS, PAPER, PER_CENT, QUIET, in_panels, legend_above, run_colours, steps_across
from cotdrift.legible import PARTS

if TYPE_CHECKING:
    import altair as alt

    from cotdrift.awareness import Beside, Overlap
    from cotdrift.card import Card, Rates
    from cotdrift.legible import Legible
    from cotdrift.trend import Trend

Rows = list[dict[str, Any]]

BOTH = "both"
EARLY, LATE = "early", "late"


def curve_rows(trends: Iterable[Trend], *, panels: Mapping[str, str] | None = None) -> Rows:
    """A row a checkpoint and measure, with bounds and reasons; shares in per cent. `panels` is what a measure's panel is called."""
    named = panels or {}
    return [
        _curve(
            named.get(trend.measure, trend.measure.replace("_", " ")),
            trend.run,
            point,
            unit=trend.unit,
            bounds=(point.bound_low, point.bound_high),
            traces=point.traces,
            missing=point.missing,
            why=_why(point.why),
        )
        for trend in trends
        for point in trend.points
    ]


def decile_rows(legible: Legible, panel: str) -> Rows:
    """The same of the worst tenth of passages."""
    return [
        _curve(panel, at.run, at, unit=legible.unit, bounds=(at.bound_low, at.bound_high), traces=at.passages, missing=at.missing)
        for at in legible.deciles
    ]


def beside_rows(pair: Beside, panels: tuple[str, str, str]) -> Rows:
    """Three panels: the thought, the action in the same traces, and the thought in traces of like length beside what it is."""
    thought, action, alike = panels
    rows = [*curve_rows([pair.awareness], panels={pair.thought: thought}), *curve_rows([pair.acts], panels={pair.action: action})]
    matched = pair.matched.points if pair.matched else ()
    made = partial(_curve, alike, pair.run, unit=pair.awareness.unit)
    return [*rows, *(made(at, of=at.matched, as_it_is=at.crude.value, traces=at.matched.traces) for at in matched)]


def in_per_cent(unit: str) -> str:
    """A unit as figures have it: shares are told in per cent."""
    return unit.replace("share", "%", 1) if unit.startswith("share") else unit


def _curve(
    panel: str,
    run: str,
    at: Any,
    *,
    unit: str,
    of: Any = None,
    bounds: tuple[float | None, float | None] = (None, None),
    as_it_is: float | None = None,
    traces: int,
    missing: int = 0,
    why: str = "",
) -> dict[str, Any]:
    """A row of a curve; `of` has its value and interval, if `at`, which has its step and prompts, does not."""
    seen, scale = of or at, _scale(unit)
    numbers = {
        "value": seen.value,
        "low": seen.low,
        "high": seen.high,
        "bound_low": bounds[0],
        "bound_high": bounds[1],
        "as_it_is": as_it_is,
    }
    scaled = {name: _times(scale, number) for name, number in numbers.items()}
    return {
        "panel": panel,
        "unit": in_per_cent(unit),
        "run": run,
        "step": at.step,
        **scaled,
        "traces": traces,
        "prompts": seen.prompts,
        "missing": missing,
        "why": why,
    }


def rate_rows(card: Card) -> Rows:
    """A row a checkpoint and run: what the judges say, its bounds, what is left of it once corrected, and the truth."""
    rows = []
    for rates in card.rates:
        scale = _scale(rates.judged.unit)
        truths = {point.step: point for point in rates.truth.points} if rates.truth else {}
        for point in rates.judged.points:
            truth = truths.get(point.step)
            rows.append(
                {
                    "panel": rates_panel(rates),
                    "unit": in_per_cent(rates.judged.unit),
                    "run": rates.judged.run,
                    "step": point.step,
                    "judged": _times(scale, point.value),
                    "judged_low": _times(scale, point.low),
                    "judged_high": _times(scale, point.high),
                    "bound_low": _times(scale, point.bound_low),
                    "bound_high": _times(scale, point.bound_high),
                    "corrected": _times(scale, point.corrected),
                    "corrected_low": _times(scale, point.corrected_low),
                    "corrected_high": _times(scale, point.corrected_high),
                    "corrected_how": point.corrected_method,
                    "true": _times(scale, truth.value if truth else None),
                    "true_low": _times(scale, truth.low if truth else None),
                    "true_high": _times(scale, truth.high if truth else None),
                    "traces": point.traces,
                    "missing": point.missing,
                    "why": _why(point.why),
                }
            )
    return rows


def rates_panel(rates: Rates) -> str:
    """What the panel of a grader and run is called."""
    return f"{rates.judged.measure.replace('_', ' ')} ({in_per_cent(rates.judged.unit)}), {rates.judged.run}"


def profile_rows(legible: Legible) -> Rows:
    """A row a run, half of it, and part of the trace."""
    return [
        {
            "panel": profile_panel(legible, part.run),
            "run": part.run,
            "when": part.when,
            "part": "last window" if part.place == PARTS else f"{100 * part.place // PARTS}%",
            "place": part.place,
            "value": part.estimate.value,
            "low": part.estimate.low,
            "high": part.estimate.high,
            "windows": part.estimate.traces,
            "prompts": part.estimate.prompts,
        }
        for part in legible.profile
    ]


def profile_panel(legible: Legible, run: str) -> str:
    """What the panel of a grader and run is called."""
    return f"{legible.grader.replace('_', ' ')}, {run}"


def overlap_rows(overlaps: Sequence[Overlap], first: str, second: str) -> Rows:
    """A row a checkpoint and kind of overlap: the traces that have either thought, and their share of all that were judged for both."""
    rows = []
    first, second = first.replace("_", " "), second.replace("_", " ")
    for at in overlaps:
        judged = at.both + at.only_first + at.only_second + at.neither
        for kind, count in ((BOTH, at.both), (f"only {first}", at.only_first), (f"only {second}", at.only_second)):
            share = 100 * count / judged if judged else None
            rows.append({"panel": at.run, "run": at.run, "step": at.step, "kind": kind, "traces": count, "share": share, "judged": judged})
    return rows


def curves(rows: Sequence[Mapping[str, Any]], runs: Sequence[str]) -> alt.FacetChart:
    """One line a run in each panel; a pale bar says what missing judgments leave open, a dashed line what the value is as it is."""
    step, colour, said = steps_across(), run_colours(runs), _numbers(rows)
    return in_panels(
        [
            _bounds(colour, said),
            *_line("value", "low", "high", colour, said, band=0.16),
            _valid("as_it_is").mark_line(strokeWidth=1.3, strokeDash=[4, 3]).encode(step, _up("as_it_is", said), colour),
        ],
        rows,
        height=140,
    )


def rates(rows: Sequence[Mapping[str, Any]], runs: Sequence[str]) -> alt.FacetChart:
    """One panel a grader and run: the judges' own rate dashed, the corrected one whole, the true one dotted, with a pale bar for bounds."""
    import altair as alt  # half a second to import

    step, colour, ink, said = steps_across(), run_colours(runs), alt.value(INK), _numbers(rows)
    dotted = _valid("true").mark_line(strokeWidth=2, strokeDash=[1, 3], strokeCap="round")
    judged = _valid("judged").mark_line(strokeWidth=1.6, strokeDash=[5, 3])
    return in_panels(
        [
            _bounds(colour, said),
            _band("judged_low", "judged_high", colour, opacity=0.08),
            *_line("corrected", "corrected_low", "corrected_high", colour, said, band=0.2),
            judged.encode(step, _up("judged", said), colour),
            _valid("judged").mark_circle(size=14, opacity=1).encode(step, _up("judged", said), colour, tooltip=_about("judged", "missing")),
            dotted.encode(step, _up("true", said), color=ink),
            _valid("true").mark_circle(size=14, opacity=1).encode(step, _up("true", said), color=ink, tooltip=_about("true")),
        ],
        rows,
        height=160,
    )


def profile(rows: Sequence[Mapping[str, Any]], runs: Sequence[str]) -> alt.FacetChart:
    """One panel a grader and run: from the start of a trace to its last window, early checkpoints dashed, late ones whole."""
    import altair as alt  # half a second to import

    parts = list(dict.fromkeys(row["part"] for row in sorted(rows, key=lambda row: row["place"])))
    x = alt.X("part:N", title=None, sort=parts, axis=alt.Axis(labelAngle=0, grid=False), scale=alt.Scale(padding=0.3))
    dash = alt.StrokeDash("when:N", scale=alt.Scale(domain=[EARLY, LATE], range=[[4, 3], [1, 0]]), legend=legend_above())
    layers = []
    for when, colour in ((EARLY, alt.value(QUIET)), (LATE, run_colours(runs))):
        base = alt.Chart().transform_filter(f"datum.when === '{when}'")
        low, up = alt.Y("low:Q", title=None, scale=alt.Scale(zero=False)), _up("value", zero=False)
        layers += [
            base.mark_rule(strokeWidth=1.4, opacity=0.6).encode(x, low, alt.Y2("high:Q"), color=colour),
            base.mark_line(strokeWidth=1.8).encode(x, up, dash, alt.Order("place:Q"), color=colour),
            base.mark_circle(size=40, opacity=1, stroke=PAPER, strokeWidth=1).encode(
                x, up, color=colour, tooltip=[alt.Tooltip("part:N"), *_about("value", "low", "high", "windows")]
            ),
        ]
    return in_panels(layers, rows, height=150)


def overlap(rows: Sequence[Mapping[str, Any]], runs: Sequence[str]) -> alt.FacetChart:
    """One panel a run, one bar a checkpoint: traces with both thoughts, with the wider one only, and with the narrower one only."""
    import altair as alt  # half a second to import

    x = alt.X("step:O", title=None, axis=alt.Axis(labelAngle=0, labelOverlap=True, labelExpr=NUMBERS), scale=alt.Scale(paddingInner=0.35))
    up = alt.Y("share:Q", title=None, stack=True, axis=alt.Axis(tickCount=4, labelExpr=PER_CENT))
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    colour = alt.Color("kind:N", scale=alt.Scale(domain=kinds, range=[INK, NEITHER, MORE]), legend=legend_above())
    about = [alt.Tooltip("kind:N"), *_about("share", "traces", "judged")]
    return in_panels([alt.Chart().mark_bar().encode(x, up, colour, tooltip=about)], rows, height=140)


def _numbers(rows: Sequence[Mapping[str, Any]]) -> str:
    return PER_CENT if all(row["unit"].startswith("%") for row in rows) else NUMBERS


def _valid(field: str) -> Any:
    import altair as alt  # half a second to import

    return alt.Chart().transform_filter(f"isValid(datum['{field}'])")


def _up(field: str, said: str = NUMBERS, *, zero: bool = True) -> alt.Y:
    import altair as alt  # half a second to import

    return alt.Y(f"{field}:Q", title=None, axis=alt.Axis(tickCount=4, labelExpr=said), scale=alt.Scale(zero=zero, nice=True))


def _bounds(colour: Any, said: str) -> Any:
    """What the missing leave open, at each checkpoint."""
    import altair as alt  # half a second to import

    rule = _valid("bound_low").transform_filter("datum.missing > 0").mark_rule(strokeWidth=7, opacity=0.17)
    about = _about("bound_low", "bound_high", "missing", "why")
    return rule.encode(steps_across(), _up("bound_low", said), alt.Y2("bound_high:Q"), colour, tooltip=about)


def _band(low: str, high: str, colour: Any, *, opacity: float) -> Any:
    import altair as alt  # half a second to import

    return _valid(low).mark_area(opacity=opacity, line=False).encode(steps_across(), _up(low), alt.Y2(f"{high}:Q"), colour)


def _line(value: str, low: str, high: str, colour: Any, said: str, *, band: float) -> list[Any]:
    step, up = steps_across(), _up(value, said)
    about = _about(value, low, high, "traces", "missing")
    return [
        _band(low, high, colour, opacity=band),
        _valid(value).mark_line(strokeWidth=2, strokeJoin="round").encode(step, up, colour),
        _valid(value).mark_circle(size=34, opacity=1, stroke=PAPER, strokeWidth=1).encode(step, up, colour, tooltip=about),
    ]


def _about(*fields: str) -> list[alt.Tooltip]:
    import altair as alt  # half a second to import

    return [alt.Tooltip("run:N"), alt.Tooltip("step:Q"), *(alt.Tooltip(f"{name}:{'N' if name == 'why' else 'Q'}") for name in fields)]


def _scale(unit: str) -> float:
    return 100.0 if unit.startswith("share") else 1.0


def _why(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{why} {count:,}" for why, count in sorted(reasons.items(), key=lambda pair: -pair[1]))


def _times(scale: float, value: float | None) -> float | None:
    return None if value is None else scale * value
