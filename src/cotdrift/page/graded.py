"""What the page shows of judgments: the words above each figure, the tables, the grader cards and the passages."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from cotdrift.contrast import bounds
from cotdrift.figures import graded as drawn
from cotdrift.findings import Findings
from cotdrift.page import shown
from cotdrift.seen import text_of
from cotdrift.sentences import interval, number, per_cent, share, signed_points

if TYPE_CHECKING:
    from cotdrift.agreement import Agreement
    from cotdrift.awareness import Beside, Kind, Table
    from cotdrift.calibration import Calibration
    from cotdrift.card import Card, Rater, Rates
    from cotdrift.estimate import Estimate
    from cotdrift.evidence import Evidence
    from cotdrift.find_graded import Judged, Thoughts
    from cotdrift.grader import Grader
    from cotdrift.legible import Decile, Legible
    from cotdrift.trace import Trace
    from cotdrift.trend import Point, Trend

Rows = dict[str, list[dict[str, Any]]]
QUOTED = 480
"""Characters of a passage; the whole trace opens from there."""
FIRST, SECOND = "metagaming", "evaluation_awareness"


def rows(judged: Judged) -> Rows:
    """What the figures are drawn from; a figure without rows is left out."""
    thoughts = judged.thoughts
    names = _pair_names(thoughts) if thoughts else {}
    found = {
        "legibility": [row for one in judged.legibility for row in _legible_rows(one)],
        "legibility_profile": [row for one in judged.legibility for row in drawn.profile_rows(one)],
        "thoughts": [
            *(drawn.curve_rows(thoughts.alone) if thoughts else ()),
            *(row for pair in (thoughts.pairs if thoughts else ()) for row in drawn.beside_rows(pair, names[pair.thought, pair.action])),
        ],
        "overlap": drawn.overlap_rows(thoughts.overlaps, FIRST, SECOND) if thoughts else [],
        "framing": drawn.curve_rows(thoughts.framing, panels=thoughts.framings) if thoughts else [],
        "rates": [row for card in judged.cards for row in drawn.rate_rows(card)],
    }
    return {name: listed for name, listed in found.items() if listed}


FIGURES = {
    "legibility": drawn.curves,
    "legibility_profile": drawn.profile,
    "thoughts": drawn.curves,
    "overlap": drawn.overlap,
    "framing": drawn.curves,
    "rates": drawn.rates,
}


def section(findings: Findings) -> dict[str, Any] | None:
    """All that the sections on judgments need; None where there are none."""
    judged = findings.judged
    if judged is None:
        return None
    traces = {trace.transcript_id: trace for trace in findings.traces}
    legibility = [_legible(one, traces) for one in judged.legibility]
    return {
        "legibility": legibility,
        "legibility_warnings": shown.shared_warnings([panel for one in legibility for panel in one["panels"]]),
        "thoughts": _thoughts(findings, judged.thoughts, traces) if judged.thoughts else None,
        "cards": [_card(card, traces) for card in judged.cards],
    }


def _legible_rows(one: Legible) -> list[dict[str, Any]]:
    names = {trend.measure: _share_panel(one, trend) for trend in one.shares}
    return [*drawn.curve_rows(one.shares, panels=names), *drawn.decile_rows(one, _decile_panel(one))]


def _share_panel(one: Legible, trend: Trend) -> str:
    return f"{one.grader.replace('_', ' ')} at most {trend.measure.rpartition('_')[2]}, {drawn.in_per_cent(trend.unit)}"


def _decile_panel(one: Legible) -> str:
    return f"{one.grader.replace('_', ' ')}, worst decile"


def _legible(one: Legible, traces: Mapping[str, Trace]) -> dict[str, Any]:
    panels = curves(one.shares, {trend.measure: _share_panel(one, trend) for trend in one.shares})
    decile: dict[str, Any] = {"measure": _decile_panel(one), "unit": one.unit, "runs": [], "warnings": []}
    for run, at in groupby(one.deciles, key=lambda decile: decile.run):
        steps = list(at)
        first, last = (_decile(steps[place]) for place in (0, -1))
        decile["runs"].append({"run": run, "first": first, "last": last, "change": None, "is_clear": True})
    snaps = [
        f"{snap.run}, {snap.when}: the last window differs from those before it by "
        f"{_signed(snap.estimate)} ({snap.estimate.traces:,} traces; {snap.one_window:,} have one window only)."
        for snap in one.snaps
    ]
    return {
        "grader": one.grader,
        "unit": one.unit,
        "panels": [*panels, decile],
        "profiles": list(dict.fromkeys(drawn.profile_panel(one, part.run) for part in one.profile)),
        "snaps": snaps,
        "worst": passages(one.worst, traces),
    }


def _decile(at: Decile) -> str:
    if at.value is None:
        return f"{number(at.bound_low)} to {number(at.bound_high)}"
    return f"{at.value:g}{_span(at.low, at.high)}"


def _span(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f" [{low:g}, {high:g}]"


def _signed(estimate: Estimate) -> str:
    value = estimate.value or 0.0
    bounds = "" if estimate.low is None or estimate.high is None else f" [{_plus(estimate.low)}, {_plus(estimate.high)}]"
    return f"{_plus(value)} points{bounds}"


def _plus(value: float) -> str:
    return f"{'+' if value > 0 else ''}{number(value)}"


def curves(trends: Iterable[Trend], names: Mapping[str, str] | None = None) -> list[dict[str, Any]]:
    """What stands above each panel of trends that judges make: the first value and the last, or their bounds, and the change."""
    panels: dict[str, dict[str, Any]] = {}
    for trend in trends:
        is_share = trend.unit.startswith("share")
        name = (names or {}).get(trend.measure, trend.measure.replace("_", " "))
        panel = panels.setdefault(name, {"measure": name, "unit": trend.unit, "runs": [], "warnings": []})
        seen = trend.contrast
        clear = seen is not None and seen.low is not None and seen.high is not None and not seen.low <= 0 <= seen.high
        change = None
        if seen is not None:
            change = signed_points(seen) if is_share else f"{_plus(seen.value)}{interval(seen.low, seen.high)}"
        first, last = (_value(trend.points[place], is_share) for place in (0, -1))
        panel["runs"].append({"run": trend.run, "first": first, "last": last, "change": change, "is_clear": clear})
        panel["warnings"] += trend.warnings
    return list(panels.values())


def _value(point: Point, is_share: bool) -> str:
    told = per_cent if is_share else number
    if point.value is not None:
        return told(point.value)
    if point.bound_low is None or point.bound_high is None:
        return "none"
    return f"{told(point.bound_low)} to {told(point.bound_high)}"


def _pair_names(thoughts: Thoughts) -> dict[tuple[str, str], tuple[str, str, str]]:
    """The names of the three panels of each pair."""
    several = len(thoughts.actions) > 1
    found = {}
    for pair in thoughts.pairs:
        aware, act = pair.thought.replace("_", " "), pair.action.replace("_", " ")
        thought = f"{aware} (where {act} is known)" if several else aware
        found[pair.thought, pair.action] = (thought, f"{act} (where {aware} is judged)", f"{thought}, at like length")
    return found


def _thoughts(findings: Findings, thoughts: Thoughts, traces: Mapping[str, Trace]) -> dict[str, Any]:
    names = _pair_names(thoughts)
    pairs: list[dict[str, Any]] = []
    for key, panels in names.items():
        same = [pair for pair in thoughts.pairs if (pair.thought, pair.action) == key]
        of_thought = curves([pair.awareness for pair in same], {key[0]: panels[0]})
        of_action = curves([pair.acts for pair in same], {key[1]: panels[1]})
        at_length = _at_length(same, panels[2])
        if not at_length["runs"]:
            of_thought[0]["warnings"] += at_length["warnings"]
        pairs.append(
            {
                "panels": [*of_thought, *of_action, *([at_length] if at_length["runs"] else [])],
                "thought": key[0],
                "action": key[1],
                "tables": [_table(table) for pair in same for table in pair.tables],
            }
        )
    alone, framing = curves(thoughts.alone), curves(thoughts.framing, thoughts.framings)
    said: dict[str, list[Any]] = {}
    for change in findings.thought:
        said.setdefault(change.run, []).append(change)
    return {
        "thoughts": thoughts.thoughts,
        "actions": thoughts.actions,
        "alone": alone,
        "pairs": pairs,
        "said": list(said.items()),
        "overlaps": _overlaps(thoughts),
        "overlap_runs": list(dict.fromkeys(at.run for at in thoughts.overlaps)),
        "disagreements": [(what, passages(found, traces)) for what, found in thoughts.disagreements.items()],
        "framing": framing,
        "warnings": shown.shared_warnings([*alone, *(panel for pair in pairs for panel in pair["panels"])]),
        "framing_warnings": shown.shared_warnings(framing),
        "kinds": [_kind(kind) for kind in thoughts.kinds if kind.share.value],
        "read": passages(thoughts.said, traces),
    }


def _at_length(pairs: Sequence[Beside], panel: str) -> dict[str, Any]:
    told = [
        {
            "run": pair.run,
            "first": _rate(pair.matched.points[0].matched),
            "last": _rate(pair.matched.points[-1].matched),
            "change": signed_points(pair.matched.matched),
            "is_clear": _is_clear(pair.matched.matched.low, pair.matched.matched.high),
        }
        for pair in pairs
        if pair.matched
    ]
    lost = [pair.run for pair in pairs if pair.matched is None and pair.awareness.contrast is not None]
    warnings = [f"{run}: no length of reasoning is common to all checkpoints, so rates at like length cannot be had." for run in lost]
    warnings += [
        f"{pair.run}: {per_cent(pair.matched.share)} of traces have a length that every checkpoint has; the matched rates rest on those."
        for pair in pairs
        if pair.matched and pair.matched.share < 0.8
    ]
    return {"measure": panel, "unit": "share of traces", "runs": told, "warnings": warnings}


def _is_clear(low: float | None, high: float | None) -> bool:
    return low is not None and high is not None and not low <= 0 <= high


def _rate(estimate: Estimate) -> str:
    return "none" if estimate.value is None else per_cent(estimate.value)


def _table(table: Table) -> dict[str, Any]:
    too_few = table.missing > table.aware.traces + table.unaware.traces
    difference = signed_points(table.difference) if table.difference else "cannot be told: one row is empty"
    return {
        "run": table.run,
        "step": table.step,
        "aware": (table.aware_acts, table.aware_refrains, "" if too_few else share(table.aware)),
        "unaware": (table.unaware_acts, table.unaware_refrains, "" if too_few else share(table.unaware)),
        "missing": table.missing,
        "difference": "not told: more than half is not known" if too_few else difference,
    }


def _overlaps(thoughts: Thoughts) -> list[dict[str, Any]]:
    """The ends of each run, and all its steps together."""
    told = []
    for run, at in groupby(thoughts.overlaps, key=lambda overlap: overlap.run):
        steps = list(at)
        ends = [(f"step {steps[place].step}", [steps[place]]) for place in dict.fromkeys((0, len(steps) - 1))]
        for when, counted in [*ends, *([("all steps", steps)] if len(steps) > 1 else [])]:
            names = ("both", "only_first", "only_second", "neither", "missing")
            told.append({"run": run, "when": when, "counts": [sum(getattr(one, name) for one in counted) for name in names]})
    return told


def _kind(kind: Kind) -> dict[str, Any]:
    acts = "" if kind.acts is None else _bounded(kind.acts)
    permits = _bounded(kind.permits)
    return {"run": kind.run, "step": kind.step, "kind": kind.kind, "share": _bounded(kind.share), "permits": permits, "acts": acts}


def _bounded(estimate: Estimate) -> str:
    """A share, or where more than half is missing what it could be."""
    span = bounds(estimate) if estimate.missing > estimate.traces else None
    return f"{per_cent(span[0])} to {per_cent(span[1])}" if span else share(estimate)


def passages(found: Iterable[Evidence], traces: Mapping[str, Trace], grader: Grader | None = None) -> list[dict[str, Any]]:
    """The passages by run, early beside late; those without their trace are left out. `grader` may have been shown another text than the
    reasoning."""
    sides: dict[str, dict[str, Any]] = {}
    for passage in found:
        trace = traces.get(passage.transcript_id)
        if trace is None:
            continue
        sides.setdefault(passage.run, {"run": passage.run, "early": [], "late": []})[passage.when].append(
            _passage(passage, trace, text_of(grader, trace) if grader else trace.reasoning)
        )
    return list(sides.values())


def hits(judged: Judged | None, traces: Iterable[Trace]) -> dict[str, str]:
    """What must stay in sight where a trace is cut."""
    known = {trace.transcript_id: trace for trace in traces}
    carried = [passage for passage in (judged.passages if judged else ()) if passage.transcript_id in known]
    return {passage.transcript_id: _hit(passage, known[passage.transcript_id]) for passage in carried}


def _hit(passage: Evidence, trace: Trace) -> str:
    """The quote as it stands in the trace."""
    quote = passage.quote
    if quote is None or quote.where is None or quote.start is None:
        return ""
    texts = {"reasoning": trace.reasoning, "record": trace.record, "answer": trace.answer, "scenario": trace.prompt}
    return texts.get(quote.where, "")[quote.start : quote.end]


def _passage(passage: Evidence, trace: Trace, judged: str) -> dict[str, Any]:
    quote, window = passage.quote, judged[passage.start : passage.end or None]
    text = quote.text if quote else window
    return {
        "step": passage.step,
        "transcript_id": passage.transcript_id,
        "prompt_id": trace.prompt_id,
        "judge": passage.judge,
        "label": passage.label,
        "truth": passage.truth,
        "text": text[:QUOTED].strip() + (" …" if len(text) > QUOTED else ""),
        "is_quote": quote is not None,
        "is_there": quote is None or quote.found != "absent",
        "hit": _hit(passage, trace),
        "reason": passage.reason[:QUOTED],
    }


def _card(card: Card, traces: Mapping[str, Trace]) -> dict[str, Any]:
    grader = card.grader
    calibrations = [(name, f"labels by {', '.join(card.annotators)}", found) for name, found in card.calibrations.items()]
    if card.against_outcome:
        calibrations.append((grader.name, f"the outcome {card.outcome}", card.against_outcome))
    return {
        "name": grader.name,
        "question": grader.question,
        "source": grader.source,
        "facts": [
            ("answers", ", ".join(answer.label for answer in grader.answers)),
            ("version", str(grader.version)),
            ("prompt", grader.sha),
            ("sees", ", ".join(sorted(grader.sees)) + (f", {grader.window} words at a time" if grader.window else "")),
            *([("each use of", ", ".join(grader.terms))] if grader.terms else ()),
            ("traces", f"{card.traces:,}"),
        ],
        "raters": [_rater(card, rater) for rater in card.raters],
        "lacking": card.lacking_sentence if card.missing else "",
        "other_wordings": card.other_wordings,
        "rates": [_rates(rates) for rates in card.rates],
        "rate": card.rates[0].judged.measure if card.rates else "",
        "has_corrected": any(point.corrected is not None for rates in card.rates for point in rates.judged.points),
        "has_truth": any(rates.truth for rates in card.rates),
        "warnings": list(dict.fromkeys(warning for rates in card.rates for warning in rates.judged.warnings)),
        "agreement": _agreement(card),
        "calibrations": [{"name": name, "on": on, "rows": _groups(found), "said": found.sentence()} for name, on, found in calibrations],
        "missed": passages(card.missed, traces, grader),
        "wrongly_found": passages(card.wrongly_found, traces, grader),
    }


def _rater(card: Card, rater: Rater) -> dict[str, Any]:
    itself = card.trusted.itself.get(f"{rater.judge} ({rater.settings})" if rater.settings else rater.judge)
    return {
        "judge": rater.judge,
        "settings": rater.settings,
        "judgments": rater.judgments,
        "missing": ", ".join(f"{why} {count:,}" for why, count in rater.missing.items()) or "none",
        "misquoted": f"{rater.misquoted:,} of {rater.quoting:,}",
        "repeats": rater.repeats,
        "itself": _agrees(itself) if itself else "not known",
    }


def _agrees(found: Agreement) -> str:
    if found.raw.value is None:
        return "not known"
    alpha = f", alpha {_decimal(found.alpha)}" if found.alpha.value is not None else ", alpha not known: all are one answer"
    return f"{share(found.raw)} agree{alpha}"


def _agreement(card: Card) -> list[tuple[str, str]]:
    told = (("Judges with each other", card.trusted.judges), ("People with each other", card.trusted.people))
    agree = [(who, found.sentence()) for who, found in told if found is not None]
    return agree + [("A change of judges", shift.sentence()) for shift in card.trusted.shifts]


def _groups(found: Calibration) -> list[dict[str, Any]]:
    return [
        {
            "name": group.name,
            "labels": group.labels,
            "positives": group.positives,
            "sensitivity": share(group.sensitivity),
            "specificity": share(group.specificity),
            "auroc": _decimal(group.auroc),
        }
        for group in (found.every, *found.groups)
    ]


def _decimal(estimate: Estimate) -> str:
    if estimate.value is None:
        return "not known"
    bounds = "" if estimate.low is None or estimate.high is None else f" [{estimate.low:.2f}, {estimate.high:.2f}]"
    return f"{estimate.value:.2f}{bounds}"


def _rates(rates: Rates) -> dict[str, Any]:
    """What stands above the rates of one run: the last checkpoint, as judged, corrected and true."""
    judged, truth = rates.judged, rates.truth
    last, is_share = judged.points[-1], judged.unit.startswith("share")
    told = per_cent if is_share else number
    scale = 100 if is_share else 1

    def around(value: float, low: float | None, high: float | None) -> str:
        bounds = (None, None) if low is None or high is None else (scale * low, scale * high)
        return f"{told(value)}{interval(*bounds)}"

    parts = [f"judged {around(last.value, last.low, last.high)}" if last.value is not None else f"judged {_value(last, is_share)}"]
    if last.corrected is not None:
        parts.append(f"corrected {around(last.corrected, last.corrected_low, last.corrected_high)}")
    if truth and truth.points and truth.points[-1].value is not None:
        parts.append(f"true {told(truth.points[-1].value)}")
    return {"panel": drawn.rates_panel(rates), "run": judged.run, "step": last.step, "told": "; ".join(parts)}
