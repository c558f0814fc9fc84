"""What the page shows of the three axes, each by itself with what to read, and of what monitors are worth."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from cotdrift.figures.monitors import cost_rows, environment_rows, monitor_rows, over_steps, panel
from cotdrift.figures.trends import small_multiples, trend_rows
from cotdrift.findings import Findings
from cotdrift.monitorability import bounded
from cotdrift.page import shown
from cotdrift.page.graded import passages
from cotdrift.page.sense import dose_of
from cotdrift.sense_sentences import clear, is_of_all_text
from cotdrift.sentences import interval, number, signed_change

if TYPE_CHECKING:
    import altair as alt

    from cotdrift.costs import Cost
    from cotdrift.find_axes import Axis, Watched
    from cotdrift.monitorability import Monitorability
    from cotdrift.sense import Sense
    from cotdrift.trend import Trend

Rows = dict[str, list[dict[str, Any]]]

ASKED = {
    "drift": ("Drift", "Are other words used, though the prompts are the same? Drift that anybody can follow is no loss by itself."),
    "illegibility": ("Illegibility", "Do readers fail? Text can be odd and readable, or plain and say nothing."),
    "loss": ("Loss of a property", "Can a monitor still tell what matters from it? That can be lost in words that everybody understands."),
}
SHOWN_TERMS = 4
SHOWN_COSTS = 3
FIGURES = {"monitors": over_steps}


def rows(findings: Findings) -> Rows:
    """What the figures are drawn from; a figure without rows is left out."""
    if findings.axes is None:
        return {}
    drawn = {f"axis_{axis.name}": trend_rows(shown.by_measure(axis.trends)) for axis in findings.axes.axes}
    found = [one for watched in findings.axes.watched for one in watched.found]
    drawn |= {"monitors": monitor_rows(found), "monitors_by_environment": environment_rows(found)}
    drawn["monitor_costs"] = cost_rows(cost for watched in findings.axes.watched for cost in watched.costs)
    return {name: listed for name, listed in drawn.items() if listed}


def figures(of: Rows) -> dict[str, alt.TopLevelMixin]:
    """The figure of each axis."""
    names = [f"axis_{name}" for name in ASKED if of.get(f"axis_{name}")]
    return {name: small_multiples(of[name], zero=name != "axis_illegibility") for name in names}


def section(findings: Findings, of: Rows) -> dict[str, Any] | None:
    """All that the sections on the axes and on monitors need; None where they were not looked at."""
    if findings.axes is None:
        return None
    told = [_axis(findings, axis) for axis in findings.axes.axes]
    return {
        "axes": told,
        "overview": [(run, [_short(findings, axis, run) for axis in findings.axes.axes]) for run in _runs(findings)],
        "watched": [_watched(watched) for watched in findings.axes.watched],
        "has_environments": "monitors_by_environment" in of,
        "has_costs": "monitor_costs" in of,
    }


def _runs(findings: Findings) -> list[str]:
    assert findings.axes is not None
    return list(dict.fromkeys([*shown.runs(findings), *(trend.run for axis in findings.axes.axes for trend in axis.trends)]))


def _axis(findings: Findings, axis: Axis) -> dict[str, Any]:
    title, question = ASKED[axis.name]
    clear = {(trend.run, trend.measure) for run in {trend.run for trend in axis.trends} for trend in axis.clear(run)}
    listed = shown.panels(shown.by_measure(axis.trends), {}, clear)
    for one in listed:
        one["warnings"] = []  # they stand beside the numbers themselves
    traces = {trace.transcript_id: trace for trace in findings.traces}
    return {
        "name": axis.name,
        "title": title,
        "question": question,
        "by": axis.by,
        "is_proxy": axis.is_proxy,
        "way_out": axis.way_out,
        "panels": listed,
        "terms": _terms(findings) if axis.name == "drift" else [],
        "has_senses": axis.name == "drift" and bool(findings.senses),
        "read": passages(axis.read, traces),
        "judged": axis.name == "illegibility" and not axis.is_proxy and bool(axis.trends),
    }


def _terms(findings: Findings) -> list[dict[str, Any]]:
    """For each run the terms that moved most, with one use early and one late, and where on the page the others stand."""
    told: dict[str, list[dict[str, Any]]] = {}
    for place, of_term in enumerate(findings.passages, 1):
        listed = told.setdefault(of_term.run, [])
        if len(listed) < SHOWN_TERMS and (of_term.early or of_term.late):
            listed.append({"term": of_term.term, "at": place, "lines": [*of_term.early[:1], *of_term.late[:1]]})
    return [{"run": run, "terms": terms} for run, terms in told.items() if terms]


def _short(findings: Findings, axis: Axis, run: str) -> dict[str, Any]:
    """What an axis says of a run, in a cell."""
    here = [trend for trend in axis.trends if trend.run == run]
    if not here:
        return {"title": ASKED[axis.name][0], "said": ["not measured"], "is_clear": False}
    clear = axis.clear(run)
    if axis.name == "drift":
        said = [_level(here[0])]
        said += [_sense(sense) for sense in findings.senses if sense.run == run and sense.last]
    elif axis.name == "loss":
        said = [f"{trend.measure}: {_ends(trend)}, {_change(trend)}{'' if trend in clear else ', not clear'}" for trend in here]
    else:
        what = "proxies" if axis.is_proxy else "numbers"
        said = [f"{trend.measure.replace('_', ' ')}: {signed_change(trend)} on shared prompts, {_way(axis, trend)}" for trend in clear]
        said = said or [f"no clear change in {len(here)} {what}"]
    return {"title": ASKED[axis.name][0] + (", by proxies" if axis.is_proxy else ""), "said": said, "is_clear": bool(clear)}


def _sense(sense: Sense) -> str:
    last = [point for point in sense.points if point.apart][-1]
    beside = ", not clear" if not clear(last) else ", as far as all text" if is_of_all_text(sense, last) else ""
    return f"sense of “{sense.term}”: dose {dose_of(sense)}{beside}"


def _way(axis: Axis, trend: Trend) -> str:
    """To which end a clear change goes."""
    is_up = trend.contrast is not None and trend.contrast.value > 0
    return "less legible" if is_up == (axis.worse[trend.measure] == "high") else "more legible"


def _change(trend: Trend) -> str:
    change = trend.contrast
    return "nothing to compare" if change is None else _signed(change.value, change.low, change.high)


def _level(trend: Trend) -> str:
    last = trend.points[-1]
    if last.value is None:
        return "not known at the last checkpoint"
    bounds = (None, None) if last.low is None or last.high is None else (100 * last.low, 100 * last.high)
    return f"{number(100 * last.value)}% of words{interval(*bounds)} at step {last.step:,}"


def _ends(trend: Trend) -> str:
    known = [point for point in trend.points if point.value is not None]
    share = trend.unit.startswith("share")
    first, last = (f"{number((100 if share else 1) * (point.value or 0.0))}{'%' if share else ''}" for point in (known[0], known[-1]))
    return f"{first} → {last}"


def _watched(watched: Watched) -> dict[str, Any]:
    told: dict[str, dict[str, Any]] = {}
    for one in watched.found:
        at = told.setdefault(panel(one), {"name": panel(one), "reads": one.monitor.scope or "", "pattern": one.monitor.pattern, "runs": []})
        at["runs"].append(_run(one))
    clear = [cost for cost in watched.costs if cost.is_clear]
    foremost = [one for of in _by_monitor(clear).values() for one in of[:SHOWN_COSTS]]
    return {
        "asked": watched.watch.sentence,
        "truth": watched.watch.truth,
        "fpr": f"{100 * watched.watch.fpr:g}%",
        "archetype": watched.watch.archetype,
        "panels": list(told.values()),
        "rows": [_table_row(one) for one in watched.found],
        "costs": [_cost(cost) for cost in foremost],
        "more_costs": len(clear) - len(foremost),
        "tested": len(watched.costs),
        "warnings": [f"{one.run}, {one.monitor.name}: {warning}" for one in watched.found for warning in one.warnings],
    }


def _by_monitor(costs: list[Cost]) -> dict[tuple[str, str], list[Cost]]:
    """The costs of each run and monitor, the surest first."""
    found: dict[tuple[str, str], list[Cost]] = {}
    for cost in costs:
        found.setdefault((cost.run, cost.monitor), []).append(cost)
    return found


def _run(one: Monitorability) -> dict[str, Any]:
    known = [at for at in one.points if at.frozen.g_mean2.value is not None]
    ends = [f"{known[place].frozen.g_mean2.value:.2f}" for place in (0, -1)] if known else ["unknown", "unknown"]
    change = one.lost.frozen if one.lost else None
    return {
        "run": one.run,
        "first": ends[0],
        "last": ends[1],
        "change": _signed(change.value, change.low, change.high) if change else None,
        "is_clear": bool(one.lost and one.lost.is_clear),
    }


def _table_row(one: Monitorability) -> dict[str, Any]:
    """The last checkpoint of which something is told."""
    known = [at for at in one.points if at.frozen.g_mean2.value is not None]
    at = known[-1] if known else one.points[-1]
    return {
        "run": one.run,
        "monitor": one.monitor.name,
        "reads": one.monitor.scope or "",
        "step": f"{at.step:,}",
        "frozen": bounded(at.frozen.g_mean2),
        "tuned": "" if one.is_flag else bounded(at.tuned.g_mean2),
        "tpr": bounded(at.frozen.tpr),
        "tnr": bounded(at.frozen.tnr),
        "tpr_at": bounded(at.frozen.tpr_at) if at.frozen.tpr_at.value is not None else "",
        "auroc": bounded(at.auroc) if at.auroc.value is not None else "",
        "counts": f"{at.yes:,} / {at.no:,}",
        "missing": at.missing,
    }


def _cost(cost: Cost) -> dict[str, Any]:
    points = partial(_signed, scale=100.0)
    return {
        "run": cost.run,
        "monitor": cost.monitor,
        "measure": cost.measure,
        "kind": "found" if cost.kind == "found" else "passed",
        "effect": points(cost.effect.value, cost.effect.low, cost.effect.high),
        "moved": "" if cost.moved is None else _signed(cost.moved, None, None),
        "over_training": points(*cost.over_training) if cost.over_training else "",
        "p": "< 0.001" if (cost.p_adjusted or 0.0) < 0.001 else number(cost.p_adjusted or 0.0),
    }


def _signed(value: float, low: float | None, high: float | None, *, scale: float = 1.0) -> str:
    digits = ".1f" if scale > 1 else ".2f"
    bounds = "" if low is None or high is None else f" [{scale * low:+{digits}}, {scale * high:+{digits}}]"
    return f"{scale * value:+{digits}}{bounds}".replace("-", "−")
