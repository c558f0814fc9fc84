"""Gaming: its rate over the steps, along labels and audits, what moves it, and how long the reasoning is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import ceil
from typing import TYPE_CHECKING, Any

from cotdrift.contrast import bounds
from cotdrift.figures.look import INK, NUMBERS, PAPER, PER_CENT, QUIET, in_panels, legend_above, run_colours, steps_across
from cotdrift.gaming import AUDITED
from cotdrift.sentences import ALPHA

if TYPE_CHECKING:
    import altair as alt

    from cotdrift.estimate import Contrast, Estimate
    from cotdrift.gaming import Gaming

FIRST, LAST, BETWEEN = "first checkpoint", "last checkpoint", "between"
CONFLICT, TWIN = "conflict", "agreeing twin"
LEVELS = {"apart": "system message", "false": "no", "true": "yes", "": "(empty)"}
"""What a level is called where its own name says too little."""

Rows = list[dict[str, Any]]


def gaming_rows(gaming: Gaming) -> Rows:
    """A row a checkpoint, in per cent: gaming, its band over wordings, the twin, and what could not be read."""
    rows = []
    for at in gaming.steps:
        band, least = at.band, bounds(at.gaming) or (None, None)
        rows.append(
            {
                "panel": at.run,
                "run": at.run,
                "step": at.step,
                "gaming": _percent(at.gaming.value),
                "low": _percent(at.gaming.low),
                "high": _percent(at.gaming.high),
                "wordings": band.levels if band else 0,
                "lowest_wording": _percent(band.lowest) if band else None,
                "highest_wording": _percent(band.highest) if band else None,
                "between_low": _percent(band.between.low) if band else None,
                "between_high": _percent(band.between.high) if band else None,
                "lowest_is": band.lowest_at if band else "",
                "highest_is": band.highest_at if band else "",
                "answers": at.gaming.traces + at.gaming.missing,
                "prompts": at.gaming.prompts,
                "not_read": at.gaming.missing,
                "unsure": at.unsure,
                "least_gaming": _percent(least[0]),
                "most_gaming": _percent(least[1]),
                "violations": _percent(at.conflict.value),
                "twin_violations": _percent(at.twin.value),
                "twin_low": _percent(at.twin.low),
                "twin_high": _percent(at.twin.high),
                "twin_answers": at.twin.traces + at.twin.missing,
                "twin_not_read": at.twin.missing,
                "twin_unsure": at.twin_unsure,
                **_contrasted("against_twin", at.against_twin, 100),
            }
        )
    return rows


def ladder_rows(gaming: Gaming) -> Rows:
    """A row a checkpoint and label, from no label to the last rung."""
    return [
        {"panel": at.run, "run": at.run, "step": at.step, "when": when, "label": level, "rung": rung, **_estimated(estimate)}
        for at, when in _placed(gaming)
        for rung, (level, estimate) in enumerate(at.ladder.items())
    ]


def audit_rows(gaming: Gaming) -> Rows:
    """A row a checkpoint and stated share of checked answers; null where nothing is said of it."""
    return [
        {
            "panel": at.run,
            "run": at.run,
            "step": at.step,
            "when": when,
            "said_to_be_checked": _percent(AUDITED.get(level)),
            **_estimated(estimate),
        }
        for at, when in _placed(gaming)
        for level, estimate in at.audited.items()
    ]


def effect_rows(gaming: Gaming) -> Rows:
    """A row a run, end of it, factor and level: the rate there, and how far it is from the factor's base."""
    ends = {run: max(effects.step for effects in gaming.effects if effects.run == run) for run in (at.run for at in gaming.steps)}
    rows = []
    for effects in gaming.effects:
        for rank, found in enumerate(effects.levels):
            level, base = (LEVELS.get(name, name) for name in (found.level, found.base))
            rows.append(
                {
                    "panel": f"{found.factor.replace('_', ' ')}, against {base}",
                    "run": effects.run,
                    "step": effects.step,
                    "when": LAST if effects.step == ends[effects.run] else FIRST,
                    "factor": found.factor,
                    "level": level,
                    "rank": rank,
                    **_estimated(found.estimate),
                    "base": base,
                    **_contrasted("difference", found.contrast, 100),
                    "p": found.contrast.p if found.contrast else None,
                    "p_adjusted": found.p_adjusted,
                    "is_clear": found.p_adjusted is not None and found.p_adjusted < ALPHA,
                }
            )
    return rows


def length_rows(gaming: Gaming) -> Rows:
    """Two rows a checkpoint: words of reasoning in the conflict and in the twin, with the ratio of the two on the cells that both have."""
    return [
        {
            "panel": at.run,
            "run": at.run,
            "step": at.step,
            "prompt": prompt,
            "words": words.value,
            "low": words.low,
            "high": words.high,
            "traces": words.traces,
            "prompts": words.prompts,
            **_contrasted("conflict_over_twin", at.words_ratio, 1),
        }
        for at in gaming.steps
        for prompt, words in ((CONFLICT, at.words), (TWIN, at.twin_words))
        if words.value is not None
    ]


def over_steps(rows: Sequence[Mapping[str, Any]], runs: Sequence[str]) -> alt.FacetChart:
    """One panel a run: the rate, the band between wordings, all of them from lowest to highest, and the twin."""
    import altair as alt  # half a second to import

    step, colour = steps_across(), run_colours(runs)
    scale = _to(rows, "highest_wording", "between_high", "gaming", "twin_violations")
    up = alt.Y("gaming:Q", title=None, axis=alt.Axis(tickCount=4, labelExpr=PER_CENT), scale=scale)
    base = alt.Chart()
    about = [alt.Tooltip(f"{name}:Q") for name in ("step", "gaming", "low", "high", "lowest_wording", "highest_wording", "twin_violations")]
    about += [alt.Tooltip(f"{name}:Q") for name in ("answers", "not_read", "unsure")]
    layers = [
        base.mark_area(opacity=0.13, line=False).encode(step, alt.Y("lowest_wording:Q", scale=scale), alt.Y2("highest_wording:Q"), colour),
        base.mark_area(opacity=0.26, line=False).encode(step, alt.Y("between_low:Q", scale=scale), alt.Y2("between_high:Q"), colour),
        base.mark_line(strokeWidth=1.3, strokeDash=[4, 3], color=QUIET).encode(step, alt.Y("twin_violations:Q", scale=scale)),
        base.mark_line(strokeWidth=2, strokeJoin="round").encode(step, up, colour),
        base.mark_circle(size=34, opacity=1, stroke=PAPER, strokeWidth=1).encode(step, up, colour, tooltip=about),
    ]
    return in_panels(layers, rows, height=150)


def ladder(rows: Sequence[Mapping[str, Any]], runs: Sequence[str]) -> alt.FacetChart:
    """One panel a run: the rate down the ladder of labels, at the first checkpoint and at the last."""
    import altair as alt  # half a second to import

    rungs = list(dict.fromkeys(row["label"] for row in sorted(rows, key=lambda row: row["rung"])))
    y = alt.Y("label:N", title=None, sort=rungs, axis=alt.Axis(grid=False, labelColor=INK, labelLimit=110, minExtent=72))
    scale, order = _to(rows, "high", "rate"), alt.Order("rung:Q")
    x = alt.X("rate:Q", title=None, axis=alt.Axis(tickCount=4, labelExpr=PER_CENT, grid=True), scale=scale)
    layers = []
    for when, colour, dash in _ends(runs):
        base = alt.Chart().transform_filter(f"datum.when === '{when}'")
        spans = base.mark_rule(strokeWidth=1.4, opacity=0.6)
        layers += [
            _coloured(spans.encode(alt.X("low:Q", title=None, scale=scale), alt.X2("high:Q"), y), colour),
            _coloured(base.mark_line(strokeWidth=1.6).encode(x, y, dash, order), colour),
            _coloured(base.mark_circle(size=46, opacity=1, stroke=PAPER, strokeWidth=1).encode(x, y, tooltip=_about("label:N")), colour),
        ]
    return in_panels(layers, rows, height=alt.Step(25))


def audit(rows: Sequence[Mapping[str, Any]], runs: Sequence[str]) -> alt.FacetChart:
    """One panel a run: the rate against the share said to be checked, and across it the rate where nothing is said of that."""
    import altair as alt  # half a second to import

    across = alt.X(
        "said_to_be_checked:Q",
        title="answers said to be checked",
        axis=alt.Axis(values=[0, 25, 50, 75, 100], labelExpr=PER_CENT),
        scale=alt.Scale(domain=[0, 100], padding=8, nice=False),
    )
    scale = _to(rows, "high", "rate")
    up = alt.Y("rate:Q", title=None, axis=alt.Axis(tickCount=4, labelExpr=PER_CENT), scale=scale)
    layers = []
    for when, colour, dash in _ends(runs):
        here = f"datum.when === '{when}'"
        unsaid = alt.Chart().transform_filter(f"{here} && !isValid(datum.said_to_be_checked)")
        base = alt.Chart().transform_filter(f"{here} && isValid(datum.said_to_be_checked)")
        layers += [
            _coloured(unsaid.mark_rule(strokeWidth=1, opacity=0.7, strokeDash=[1, 3]).encode(y=up), colour),
            _coloured(
                base.mark_rule(strokeWidth=1.4, opacity=0.6).encode(across, alt.Y("low:Q", title=None, scale=scale), alt.Y2("high:Q")),
                colour,
            ),
            _coloured(base.mark_line(strokeWidth=1.6).encode(across, up, dash), colour),
            _coloured(base.mark_circle(size=46, opacity=1, stroke=PAPER, strokeWidth=1).encode(across, up, tooltip=_about()), colour),
        ]
    return in_panels(layers, rows, height=150)


def forest(rows: Sequence[Mapping[str, Any]], runs: Sequence[str]) -> alt.FacetChart:
    """One panel a factor: how far each level is from the base, at the last checkpoint of each run; what is not clear is faint."""
    import altair as alt  # half a second to import

    drawn = [row for row in rows if _in_forest(row)]
    ends = [end for row in drawn for end in (row["difference_low"], row["difference_high"], row["difference"]) if end is not None]
    scale = alt.Scale(domain=[min(ends, default=0.0), max(ends, default=0.0)], nice=True, zero=True)
    y = alt.Y(
        "level:N",
        title=None,
        sort=alt.EncodingSortField("rank", op="min"),
        axis=alt.Axis(grid=False, labelColor=INK, labelLimit=110, minExtent=112),
    )
    x = alt.X("difference:Q", title=None, axis=alt.Axis(tickCount=4, labelExpr=NUMBERS, grid=True), scale=scale)
    several = len({row["run"] for row in drawn}) > 1
    offset, colour = alt.YOffset("run:N", sort="ascending") if several else alt.Undefined, run_colours(runs)
    faint = alt.condition("datum.is_clear", alt.value(1), alt.value(0.4))
    about = [alt.Tooltip(f"{name}:{kind}") for name, kind in (("level", "N"), ("run", "N"), ("difference", "Q"), ("difference_low", "Q"))]
    about += [alt.Tooltip(f"{name}:Q") for name in ("difference_high", "p_adjusted", "prompts")]
    base = alt.Chart().transform_filter(IN_FOREST)
    zero = alt.Chart().mark_rule(color=QUIET, strokeWidth=0.8).encode(x=alt.datum(0))
    spans = base.mark_rule(strokeWidth=1.6).encode(
        x=alt.X("difference_low:Q", title=None, scale=scale), x2="difference_high:Q", y=y, yOffset=offset, color=colour, opacity=faint
    )
    dots = base.mark_point(filled=True, size=52).encode(x=x, y=y, yOffset=offset, color=colour, opacity=faint, tooltip=about)
    return in_panels([zero, spans, dots], drawn, height=alt.Step(13 if several else 22))


def length(rows: Sequence[Mapping[str, Any]], runs: Sequence[str]) -> alt.FacetChart:
    """One panel a run: words of reasoning in the conflict and in its twin."""
    import altair as alt  # half a second to import

    step, colour, scale = steps_across(), run_colours(runs), _to(rows, "high", "words")
    up = alt.Y("words:Q", title=None, axis=alt.Axis(tickCount=4, labelExpr=NUMBERS), scale=scale)
    dash = alt.StrokeDash("prompt:N", scale=alt.Scale(domain=[CONFLICT, TWIN], range=[[1, 0], [4, 3]]), legend=legend_above())
    about = [alt.Tooltip("prompt:N"), *(alt.Tooltip(f"{name}:Q") for name in ("step", "words", "low", "high", "conflict_over_twin"))]
    bands = alt.Chart().mark_area(opacity=0.15, line=False)
    layers = [
        bands.encode(step, alt.Y("low:Q", title=None, scale=scale), alt.Y2("high:Q"), colour, detail="prompt:N"),
        alt.Chart().mark_line(strokeWidth=2, strokeJoin="round").encode(step, up, colour, dash),
        alt.Chart().mark_circle(size=30, opacity=1, stroke=PAPER, strokeWidth=1).encode(step, up, colour, detail="prompt:N", tooltip=about),
    ]
    return in_panels(layers, rows, height=150)


IN_FOREST = f"datum.when === '{LAST}' && isValid(datum.difference)"


def _in_forest(row: Mapping[str, Any]) -> bool:
    return row["when"] == LAST and row["difference"] is not None


def forest_panels(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The factors that have anything to show, in order."""
    return list(dict.fromkeys(row["panel"] for row in rows if _in_forest(row)))


def _placed(gaming: Gaming) -> Iterator[tuple[Any, str]]:
    for at in gaming.steps:
        steps = [other.step for other in gaming.of(at.run)]
        yield at, LAST if at.step == steps[-1] else FIRST if at.step == steps[0] else BETWEEN


def _to(rows: Sequence[Mapping[str, Any]], *names: str) -> alt.Scale:
    """From nought to beyond the largest number of all panels, so that panels can be compared by eye."""
    import altair as alt  # half a second to import

    most = max((row[name] for row in rows for name in names if row[name] is not None), default=1.0)
    return alt.Scale(domain=[0, max(10 * ceil(most / 10), 10)], nice=True)


def _ends(runs: Sequence[str]) -> list[tuple[str, Any, alt.StrokeDash]]:
    """The first checkpoint in grey and dashed, the last in the run's colour and whole."""
    import altair as alt  # half a second to import

    dash = alt.StrokeDash("when:N", scale=alt.Scale(domain=[FIRST, LAST], range=[[4, 3], [1, 0]]), legend=legend_above())
    return [(FIRST, alt.value(QUIET), dash), (LAST, run_colours(runs), dash)]


def _coloured(chart: Any, colour: Any) -> Any:
    return chart.encode(color=colour)


def _about(*first: str) -> list[alt.Tooltip]:
    import altair as alt  # half a second to import

    names = ("step", "rate", "low", "high", "traces", "prompts")
    return [alt.Tooltip(name) for name in first] + [alt.Tooltip(f"{name}:Q") for name in names]


def _estimated(estimate: Estimate) -> dict[str, Any]:
    return {
        "rate": _percent(estimate.value),
        "low": _percent(estimate.low),
        "high": _percent(estimate.high),
        "traces": estimate.traces,
        "prompts": estimate.prompts,
        "missing": estimate.missing,
    }


def _contrasted(name: str, contrast: Contrast | None, scale: float) -> dict[str, float | None]:
    value, low, high = (contrast.value, contrast.low, contrast.high) if contrast else (None, None, None)
    return {name: _times(scale, value), f"{name}_low": _times(scale, low), f"{name}_high": _times(scale, high)}


def _percent(value: float | None) -> float | None:
    return _times(100, value)


def _times(scale: float, value: float | None) -> float | None:
    return None if value is None else scale * value
