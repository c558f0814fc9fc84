"""Monitors: g-mean² over the steps, by the threshold of the first checkpoint and by one set anew, and what drift goes with errors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cotdrift.figures.look import NUMBERS, PAPER, QUIET, in_panels, run_colours, steps_across

if TYPE_CHECKING:
    import altair as alt

    from cotdrift.costs import Cost
    from cotdrift.monitorability import AtStep, Monitorability

COIN = 0.25
"""The g-mean² of a monitor that tosses one."""

Rows = list[dict[str, Any]]


def monitor_rows(found: Iterable[Monitorability]) -> Rows:
    """A row a run, monitor and checkpoint, in the mean over environments; all by the frozen threshold but what is called tuned."""
    return [_row(one, at) | {"panel": panel(one), "coin": COIN} for one in found for at in one.points]


def environment_rows(found: Iterable[Monitorability]) -> Rows:
    """The same within each environment, where there are several."""
    return [_row(one, at) | {"environment": at.environment} for one in found for at in one.environments]


def cost_rows(costs: Iterable[Cost]) -> Rows:
    """A row a run, monitor, measure and kind of trace; effects in percentage points."""
    return [
        {
            "run": cost.run,
            "monitor": cost.monitor,
            "measure": cost.measure,
            "of_traces": "with the property" if cost.kind == "found" else "without it",
            "points_a_deviation": 100 * cost.effect.value,
            "low": None if cost.effect.low is None else 100 * cost.effect.low,
            "high": None if cost.effect.high is None else 100 * cost.effect.high,
            "p_adjusted": cost.p_adjusted,
            "moved_by_deviations": cost.moved,
            "over_training": None if cost.over_training is None else 100 * cost.over_training[0],
            "misjudged": cost.wrong,
            "traces": cost.effect.traces,
            "prompts": cost.effect.prompts,
        }
        for cost in costs
    ]


def panel(found: Monitorability) -> str:
    """What a monitor's panel is called."""
    return f"{found.monitor.name} on {found.truth}"


def _row(one: Monitorability, at: AtStep) -> dict[str, Any]:
    told, anew = at.frozen, at.tuned
    return {
        "run": one.run,
        "monitor": one.monitor.name,
        "reads": one.monitor.scope or "",
        "step": at.step,
        "value": told.g_mean2.value,
        "low": told.g_mean2.low,
        "high": told.g_mean2.high,
        "tpr": told.tpr.value,
        "tnr": told.tnr.value,
        "tuned": None if one.is_flag else anew.g_mean2.value,
        "tuned_low": None if one.is_flag else anew.g_mean2.low,
        "tuned_high": None if one.is_flag else anew.g_mean2.high,
        "tpr_at_false_alarms": told.tpr_at.value,
        "false_alarms_then": told.fpr_at.value,
        "auroc": at.auroc.value,
        "auroc_low": at.auroc.low,
        "auroc_high": at.auroc.high,
        "with_property": at.yes,
        "without": at.no,
        "missing": at.missing,
        "effect": at.effect,
    }


def over_steps(rows: Sequence[Mapping[str, Any]], runs: Sequence[str]) -> alt.FacetChart:
    """One panel a monitor, one line a run: whole by the frozen threshold, dashed by one set anew, and dotted what a coin has."""
    import altair as alt  # half a second to import

    names = [*runs, *(run for run in dict.fromkeys(row["run"] for row in rows) if run not in runs)]
    colour, step = run_colours(names), steps_across()
    scale = alt.Scale(domain=[0, 1])
    up = alt.Y("value:Q", title=None, axis=alt.Axis(values=[0, 0.25, 0.5, 0.75, 1], labelExpr=NUMBERS), scale=scale)
    about = [alt.Tooltip("run:N"), alt.Tooltip("step:Q")]
    about += [alt.Tooltip(f"{name}:Q", format=".2f") for name in ("value", "low", "high", "tpr", "tnr", "tuned", "auroc")]
    about += [alt.Tooltip(f"{name}:Q") for name in ("with_property", "without", "missing")]
    known = alt.Chart().transform_filter("isValid(datum.value)")
    anew = alt.Chart().transform_filter("isValid(datum.tuned)")
    layers = [
        alt.Chart().mark_rule(strokeDash=[1, 3], color=QUIET).encode(alt.Y("max(coin):Q", title=None, scale=scale)),
        known.mark_area(opacity=0.14, line=False).encode(step, alt.Y("low:Q", title=None, scale=scale), alt.Y2("high:Q"), colour),
        anew.mark_line(strokeWidth=1.4, strokeDash=[4, 3]).encode(step, alt.Y("tuned:Q", title=None, scale=scale), colour),
        known.mark_line(strokeWidth=2, strokeJoin="round").encode(step, up, colour),
        known.mark_circle(size=34, opacity=1, stroke=PAPER, strokeWidth=1).encode(step, up, colour, tooltip=about),
    ]
    return in_panels(layers, rows, height=150)
