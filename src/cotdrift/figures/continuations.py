"""Continuations: how often checkpoints go on with a behaviour over the steps, and after which prefixes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import TYPE_CHECKING, Any

from cotdrift.continuations import ALPHA, Continued, Pooled
from cotdrift.figures.look import INK, NUMBERS, PAPER, QUIET, RULE, in_panels, run_colours, steps_across

if TYPE_CHECKING:
    import altair as alt

    from cotdrift.trend import Trend

SHARED, OWN = "the same prefixes", "its own reasoning"
LONGEST = 44
"""Characters of a prefix that stand beside its row."""

Rows = list[dict[str, Any]]


def panel_of(continued: Continued, run: str, several: bool) -> str:
    """What a panel is called: the run, and the behaviour where there are several."""
    return f"{run}, {continued.behaviour.replace('_', ' ')}" if several else run


def step_rows(found: Sequence[Continued]) -> Rows:
    """A row a behaviour, run, arm and checkpoint; shares in per cent."""
    rows = []
    for continued in found:
        for arm, trends in ((SHARED, continued.shared), (OWN, continued.own)):
            for trend in trends:
                rows += [row | {"from": arm} for row in _points(continued, trend, len(found) > 1)]
    return rows


def margin_rows(found: Sequence[Continued]) -> Rows:
    """A row a behaviour, run, margin and checkpoint; empty where all prefixes end as far before the behaviour."""
    rows = []
    for continued in found:
        for margin, trends in continued.margins.items():
            for trend in trends:
                rows += [row | {"words_before": margin} for row in _points(continued, trend, len(found) > 1)]
    return rows


def prefix_rows(found: Sequence[Continued]) -> Rows:
    """A row a behaviour, run and prompt, those that rose most first; pooled rates in per cent at the first checkpoint and at the last."""
    rows: Rows = []
    for continued in found:
        for run in dict.fromkeys(prefix.run for prefix in continued.prefixes):
            pairs = [(one, one.first, one.last) for one in continued.of(run) if one.first and one.last]
            for rank, (prefix, first, last) in enumerate(sorted(pairs, key=lambda pair: -(pair[2].value - pair[1].value))):
                ends = prefix.ends if len(prefix.ends) <= LONGEST else f"…{prefix.ends[-LONGEST:]}"
                rows.append(
                    {
                        "panel": panel_of(continued, run, len(found) > 1),
                        "run": run,
                        "behaviour": continued.behaviour,
                        "prompt_id": prefix.prompt_id,
                        "prefix_ends": ends,
                        "label": ends + "\u200b" * rank,  # two prompts may end alike, and are two rows
                        "rank": rank,
                        **_pooled("first", first),
                        **_pooled("last", last),
                        "p": prefix.p,
                        "p_holm": prefix.holm,
                        "p_bh": prefix.bh,
                        "is_clear": prefix.bh is not None and prefix.bh < ALPHA,
                    }
                )
    return rows


def over_steps(rows: Sequence[Mapping[str, Any]], runs: Sequence[str]) -> alt.FacetChart:
    """One panel a run: the rate after the same prefixes with its band, and, dashed, from the checkpoint's own reasoning."""
    import altair as alt  # half a second to import

    step = steps_across()
    scale, colour = _to(rows), run_colours(runs)
    up = alt.Y("rate:Q", title=None, axis=alt.Axis(tickCount=4, labelExpr=NUMBERS), scale=scale)
    about = [
        alt.Tooltip("from:N"),
        *(alt.Tooltip(f"{name}:Q") for name in ("step", "rate", "low", "high", "answers", "prompts", "missing")),
    ]
    shared, own = (alt.Chart().transform_filter(f"datum.from === '{arm}'") for arm in (SHARED, OWN))
    onset = shared.transform_filter("isValid(datum.onset)")
    layers = [
        onset.mark_rect(opacity=0.35, color=RULE).encode(x=alt.X("onset_low:Q", title=None), x2="onset_high:Q"),
        onset.mark_rule(strokeDash=[3, 3], strokeWidth=1).encode(x=alt.X("onset:Q", title=None), color=colour),
        own.mark_area(opacity=0.1, line=False, color=QUIET).encode(step, alt.Y("low:Q", title=None, scale=scale), alt.Y2("high:Q")),
        shared.mark_area(opacity=0.16, line=False).encode(step, alt.Y("low:Q", title=None, scale=scale), alt.Y2("high:Q"), colour),
        own.mark_line(strokeWidth=1.4, strokeDash=[4, 3], color=QUIET).encode(step, up),
        own.mark_circle(size=22, opacity=1, color=QUIET).encode(step, up, tooltip=about),
        shared.mark_line(strokeWidth=2, strokeJoin="round").encode(step, up, colour),
        shared.mark_circle(size=34, opacity=1, stroke=PAPER, strokeWidth=1).encode(step, up, colour, tooltip=about),
    ]
    return in_panels(layers, rows, height=150)


def by_margin(rows: Sequence[Mapping[str, Any]], runs: Sequence[str]) -> alt.FacetChart:
    """One panel a run: a line for each number of words that prefixes end before the behaviour, the fainter the more."""
    import altair as alt  # half a second to import

    step = steps_across()
    margins, scale, colour = sorted({row["words_before"] for row in rows}), _to(rows), run_colours(runs)
    up = alt.Y("rate:Q", title=None, axis=alt.Axis(tickCount=4, labelExpr=NUMBERS), scale=scale)
    faint = alt.Opacity(
        "words_before:O",
        legend=None,
        scale=alt.Scale(domain=margins, range=[1 - 0.65 * at / max(len(margins) - 1, 1) for at in range(len(margins))]),
    )
    about = [alt.Tooltip(f"{name}:Q") for name in ("words_before", "step", "rate", "low", "high", "answers", "prompts")]
    layers = [
        alt.Chart().mark_line(strokeWidth=1.8, strokeJoin="round").encode(step, up, colour, faint, detail="words_before:N"),
        alt.Chart().mark_circle(size=28, stroke=PAPER, strokeWidth=1).encode(step, up, colour, faint, tooltip=about),
    ]
    return in_panels(layers, rows, height=150)


def by_prefix(rows: Sequence[Mapping[str, Any]], runs: Sequence[str]) -> alt.FacetChart:
    """One panel a run: each prefix with its pooled rate at the first checkpoint and at the last; faint where no change is clear."""
    import altair as alt  # half a second to import

    y = alt.Y(
        "label:N",
        title=None,
        sort=alt.EncodingSortField("rank", op="min"),
        axis=alt.Axis(grid=False, labelColor=INK, labelLimit=230, labelFontSize=10, minExtent=140),
    )
    scale, colour = alt.Scale(domain=[0, 100]), run_colours(runs)
    faint = alt.condition("datum.is_clear", alt.value(1), alt.value(0.4))
    about = [alt.Tooltip("prefix_ends:N"), alt.Tooltip("prompt_id:N")]
    about += [
        alt.Tooltip(f"{name}:Q") for name in ("first", "last", "last_low", "last_high", "first_answers", "last_answers", "p_holm", "p_bh")
    ]
    base = alt.Chart()

    def x(name: str) -> alt.X:
        return alt.X(f"{name}:Q", title=None, scale=scale, axis=alt.Axis(tickCount=4, labelExpr=NUMBERS, grid=True))

    layers = [
        base.mark_rule(strokeWidth=5, opacity=0.16).encode(x("last_low"), alt.X2("last_high:Q"), y, colour),
        base.mark_rule(strokeWidth=1.4).encode(x("first"), alt.X2("last:Q"), y, colour, opacity=faint),
        base.mark_point(filled=False, size=30, color=QUIET).encode(x("first"), y, tooltip=about),
        base.mark_circle(size=46).encode(x("last"), y, colour, opacity=faint, tooltip=about),
    ]
    return in_panels(layers, rows, height=alt.Step(14))


def _points(continued: Continued, trend: Trend, several: bool) -> Rows:
    scale = 100.0 if trend.unit.startswith("share") else 1.0
    rows = []
    for point in trend.points:
        began = trend.onset if trend.onset and trend.onset.step == point.step else None
        rows.append(
            {
                "panel": panel_of(continued, trend.run, several),
                "run": trend.run,
                "behaviour": continued.behaviour,
                "step": point.step,
                "rate": _times(scale, point.value),
                "low": _times(scale, point.low),
                "high": _times(scale, point.high),
                "answers": point.traces,
                "prompts": point.prompts,
                "missing": point.missing,
                "set_aside": point.set_aside,
                "onset": began.step if began else None,
                "onset_low": began.low if began else None,
                "onset_high": began.high if began else None,
            }
        )
    return rows


def _pooled(name: str, rate: Pooled) -> dict[str, Any]:
    return {
        name: 100 * rate.value,
        f"{name}_low": 100 * rate.low,
        f"{name}_high": 100 * rate.high,
        f"{name}_yes": rate.yes,
        f"{name}_answers": rate.answers,
    }


def _times(scale: float, value: float | None) -> float | None:
    return None if value is None else scale * value


def _to(rows: Sequence[Mapping[str, Any]]) -> alt.Scale:
    """From nought to beyond the largest number of all panels, so that panels can be compared by eye."""
    import altair as alt  # half a second to import

    most = max((row[name] for row in rows for name in ("rate", "high") if row[name] is not None), default=1.0)
    return alt.Scale(domain=[0, 10 * ceil(most / 10) or 10], nice=True)
