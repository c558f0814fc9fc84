"""What the page shows of the findings: facts, changes, the words above each figure, and what is left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from cotdrift.figures.sparkline import sparkline
from cotdrift.findings import Exclusion, Findings
from cotdrift.sentences import ALPHA, interval, number, signed_change

if TYPE_CHECKING:
    from cotdrift.trend import Trend


def facts(findings: Findings) -> list[tuple[str, str]]:
    """How much there is, as names and counts; what there is none of is left out."""
    steps = sorted({sampled.step for sampled in findings.sampled})
    environments = {name for sampled in findings.sampled for name in sampled.environments}
    most = max((sampled.prompts for sampled in findings.sampled), default=0)
    counted = [
        ("runs", f"{len(runs(findings))}"),
        ("checkpoints", f"{len(findings.sampled)}"),
        ("steps", f"{steps[0]:,} to {steps[-1]:,}" if steps else "none"),
        ("traces", f"{sum(sampled.traces for sampled in findings.sampled):,}"),
        ("prompts a checkpoint, at most", f"{most:,}"),
        ("environments", f"{len(environments):,}"),
        ("words of reasoning", f"{sum(sampled.words for sampled in findings.sampled):,}"),
    ]
    return [fact for fact in counted if fact[1] != "0"]


def runs(findings: Findings) -> list[str]:
    """Every run, in the order in which runs take their colours."""
    return list(dict.fromkeys([sampled.run for sampled in findings.sampled] + [trend.run for trend in findings.trends]))


def changes_by_run(findings: Findings) -> list[tuple[str, list[dict[str, Any]]]]:
    """The changes of each run, with the curve that shows each."""
    told: dict[str, list[dict[str, Any]]] = {}
    for change in findings.changes:
        spark = _spark(findings, change.run, change.measure)
        told.setdefault(change.run, []).append(
            {"measure": change.measure, "sentence": change.sentence, "spark": spark, "is_flag": change.is_flag}
        )
    return list(told.items())


def panels(trends: Iterable[Trend], told: Mapping[tuple[str, str], str], clear: Container[tuple[str, str]]) -> list[dict[str, Any]]:
    """What stands above each small figure: the name, and for each run its first value, its last, and the change.

    `told` says the change of a run and measure where the trend is not what says it; `clear` has those that changed.
    """
    panels: dict[str, dict[str, Any]] = {}
    for trend in trends:
        share = trend.unit.startswith("share")
        shown = [point for point in trend.points if point.value is not None]
        panel = panels.setdefault(
            trend.measure,
            {"measure": trend.measure, "unit": trend.unit.replace("share", "%", 1) if share else trend.unit, "runs": [], "warnings": []},
        )
        first, last = (number((100 if share else 1) * (shown[at].value or 0.0)) if shown else "none" for at in (0, -1))
        seen = trend.contrast
        panel["runs"].append(
            {
                "run": trend.run,
                "first": first,
                "last": last,
                "change": told.get((trend.run, trend.measure)) or (None if seen is None else signed_change(trend)),
                "is_clear": (trend.run, trend.measure) in clear,
                "onset": trend.onset,
                "missing": sum(point.missing for point in trend.points),
                "set_aside": sum(point.set_aside for point in trend.points),
            }
        )
        panel["warnings"] += trend.warnings
    return list(panels.values())


def by_strength(trends: Iterable[Trend], clear: dict[tuple[str, str], float]) -> list[Trend]:
    """Length comes first, for every count hangs on it, then the measures that changed; a measure's runs stand together."""
    listed = list(trends)
    order = {measure: place for place, measure in enumerate(dict.fromkeys(trend.measure for trend in listed))}
    moved = {measure for _, measure in clear}
    return sorted(listed, key=lambda trend: (trend.measure != "reasoning_words", trend.measure not in moved, order[trend.measure]))


def by_measure(trends: Iterable[Trend]) -> list[Trend]:
    """The runs of a measure stand together, the measures as they come."""
    listed = list(trends)
    order = list(dict.fromkeys(trend.measure for trend in listed))
    return sorted(listed, key=lambda trend: order.index(trend.measure))


def told_of_terms(findings: Findings) -> tuple[dict[tuple[str, str], str], set[tuple[str, str]]]:
    """The ratio of each term as the table has it, so that the page says one number for one thing; and which are clear."""
    rows = findings.terms.get("start", ())
    last: dict[str, int] = {}
    for row in rows:
        last[row["run"]] = max(row["step"], last.get(row["run"], row["step"]))
    latest = {(row["run"], row["term"]): row for row in rows if row["step"] == last[row["run"]]}
    told = {key: f"×{number(row['ratio'])}{interval(row['low'], row['high'])}" for key, row in latest.items() if row["ratio"]}
    return told, {key for key, row in latest.items() if row["p_adjusted"] is not None and row["p_adjusted"] < ALPHA}


def shared_warnings(panels: Sequence[dict[str, Any]]) -> list[str]:
    """What would stand under many panels, to be said once; taken away from them."""
    counted = Counter(warning for panel in panels for warning in set(panel["warnings"]))
    shared = [warning for warning, count in counted.items() if count > 2]
    for panel in panels:
        panel["warnings"] = [warning for warning in dict.fromkeys(panel["warnings"]) if warning not in shared]
    return shared


def exclusions(findings: Findings) -> list[tuple[Exclusion, str, int]]:
    """What is left out for one reason, with the count at each step and the sum."""
    groups: dict[tuple[str, str, str, str], list[Exclusion]] = {}
    for left in findings.exclusions:
        groups.setdefault((left.run, left.kind, left.measure, left.reason), []).append(left)
    return [
        (
            group[0],
            ", ".join(f"{left.step}: {left.traces:,}" for left in group if left.step is not None),
            sum(left.traces for left in group),
        )
        for group in groups.values()
    ]


def _spark(findings: Findings, run: str, measure: str) -> Markup:
    if not measure:
        return Markup()
    pairs = findings.judged.thoughts.pairs if findings.judged and findings.judged.thoughts else ()
    trends = [*findings.term_trends, *findings.trends, *(findings.gaming.trends if findings.gaming else ())]
    trends += [pair.awareness for pair in pairs]
    trend = next((trend for trend in trends if (trend.run, trend.measure) == (run, measure)), None)
    return Markup(sparkline(trend)) if trend is not None else Markup()
