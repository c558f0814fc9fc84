"""What changed, in sentences with numbers."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from math import floor, log10
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from cotdrift.estimate import holm
from cotdrift.serving import SAID
from cotdrift.soup import MADE_OF

if TYPE_CHECKING:
    from cotdrift.awareness import Beside
    from cotdrift.contrast import Level
    from cotdrift.estimate import Contrast, Estimate
    from cotdrift.event_study import Onset
    from cotdrift.gaming import AtStep, Effects, Gaming
    from cotdrift.serving import Changed, Checked, Serving
    from cotdrift.trend import LastAgainstFirst, Trend

MOST_MEASURES = 3
MOST_TERMS = 4
MOST_LEVELS = 3
ALPHA = 0.05
GAMING = "gaming"
"""The outcome that says whether an answer follows the grader against the instruction."""

REFERENCES = {"start": "the first checkpoint", "human": "human text", "answers": "the model's own answers"}
"""What a term's rate is held against, in a reader's words."""


class Change(Struct, frozen=True, kw_only=True):
    """One thing that changed, or that did not."""

    sentence: str
    run: str = ""
    """Which run it is said of; empty when of all."""
    measure: str = ""
    """The measure or term it is about; empty when it sums up."""
    is_flag: bool = False
    """Whether it says that something is wrong that one would not see in either number alone."""


def what_changed(
    trends: Iterable[Trend],
    *,
    environments: Mapping[str, Sequence[Trend]],
    terms: Mapping[str, Sequence[Mapping[str, Any]]],
    term_trends: Iterable[Trend],
    gaming: Gaming | None = None,
    pairs: Sequence[Beside] = (),
) -> tuple[Change, ...]:
    """The sentences a report opens with: of each run its gaming, what is dissociated, its surface and worst environment, its words."""
    trends, curves = list(trends), {(trend.run, trend.measure): trend for trend in term_trends}
    runs = list(dict.fromkeys([trend.run for trend in trends] + [str(row["run"]) for rows in terms.values() for row in rows]))
    gamed = {trend.run: _games(trend, gaming.of(trend.run)) for trend in gaming.trends} if gaming else {}
    told: list[Change] = []
    for run in runs:
        headline = [Change(sentence=gamed[run], measure=GAMING)] if run in gamed else []
        headline += [change for change in what_is_thought(pairs, run) if change.is_flag]
        apart = {"reasoning_chars", GAMING} if headline else {"reasoning_chars"}
        found = [*headline, *_surface(run, trends, environments, apart), *_words(run, terms, curves)]
        told += [replace(change, run=run) for change in found]
    return tuple(told) or (Change(sentence="There are no two checkpoints to compare, so nothing can be said about change."),)


def what_games(gaming: Gaming) -> tuple[Change, ...]:
    """What is to be said of each run beside how much it games: what its twin does, and what moves it, at the last checkpoint."""
    told: list[Change] = []
    for trend in gaming.trends:
        last = gaming.of(trend.run)[-1]
        (effects,) = (found for found in gaming.effects if (found.run, found.step) == (trend.run, last.step))
        said = (_in_the_twin(last), _threatened(effects), _moved_by(effects))
        told += [Change(sentence=sentence, run=trend.run) for sentence in said if sentence]
    return tuple(told)


def what_is_thought(pairs: Iterable[Beside], run: str) -> list[Change]:
    """What is to be said of each thought and action of a run, what is dissociated first."""
    told = [
        Change(sentence=_thought(pair), run=run, measure=pair.thought, is_flag=pair.verdict == "dissociated")
        for pair in pairs
        if pair.run == run
    ]
    return sorted(told, key=lambda change: not change.is_flag)


def clear_changes(trends: Iterable[Trend]) -> dict[tuple[str, str], float]:
    """The measures of each run that differ between its first and last checkpoint, each with its p-value as Holm adjusts it."""
    found: dict[tuple[str, str], float] = {}
    by_run: dict[str, list[Trend]] = {}
    for trend in trends:
        if trend.contrast is not None:
            by_run.setdefault(trend.run, []).append(trend)
    for run, compared in by_run.items():
        for trend, p in zip(compared, holm([trend.contrast.p if trend.contrast else None for trend in compared]), strict=True):
            if p is not None and p < ALPHA:
                found[run, trend.measure] = p
    return found


def change_in_words(trend: Trend) -> str:
    """How far the last checkpoint is from the first, without its sign.

    A ratio from 2 on is said as times, below as per cent; a share in percentage points; anything else in its own unit.
    """
    seen = trend.contrast
    if seen is None:
        return "nothing to compare"
    if seen.ratio is not None and seen.ratio.value >= 2:
        return f"{number(seen.ratio.value)} times{interval(seen.ratio.low, seen.ratio.high)}"
    unit, value, low, high = amount(trend)
    sign = -1 if value < 0 else 1
    bounds = (None, None) if low is None or high is None else sorted((sign * low, sign * high))
    return f"{number(abs(value))}{'' if unit == '%' else ' '}{unit}{interval(*bounds)}"


def signed_change(trend: Trend) -> str:
    """The same with its sign, as it stands beside a figure."""
    seen = trend.contrast
    if seen is None:
        return "nothing to compare"
    if seen.ratio is not None and seen.ratio.value >= 2:
        return f"×{number(seen.ratio.value)}{interval(seen.ratio.low, seen.ratio.high)}"
    unit, value, low, high = amount(trend)
    bounds = "" if low is None or high is None else f" [{_minus(low)}, {_minus(high)}]"
    return f"{_minus(value)}{'%' if unit == '%' else ' points' if unit == 'percentage points' else ''}{bounds}"


def amount(trend: Trend) -> tuple[str, float, float | None, float | None]:
    """The change from the first checkpoint to the last with its interval, and the unit it is said in."""
    seen = trend.contrast
    assert seen is not None
    if seen.ratio is not None:
        return "%", *_scaled(100, 100, seen.ratio.value, seen.ratio.low, seen.ratio.high)
    if trend.unit.startswith("share"):
        return "percentage points", *_scaled(100, 0, seen.value, seen.low, seen.high)
    return trend.unit, seen.value, seen.low, seen.high


def number(value: float) -> str:
    """A number as one reads it.

    >>> [number(value) for value in (61.2, 1315.4, 0.0123, -12.34, 443.0, 2.5e-05)]
    ['61', '1,315', '0.012', '−12', '443', '0.000025']
    """
    if value < 0:
        return f"−{number(-value)}"
    if abs(value) >= 10:
        return f"{value:,.0f}"
    if abs(value) >= 1:
        return f"{value:.1f}"
    if abs(value) >= 1e-6:
        return f"{value:.{1 - floor(log10(abs(value)))}f}"
    return "0" if value == 0 else f"{value:.1e}"


def interval(low: float | None, high: float | None) -> str:
    """An interval in brackets, with the space before it; nothing when there is none."""
    if low is None and high is None:
        return ""
    return f" [{'' if low is None else number(low)}, {'∞' if high is None else number(high)}]"


def named(measure: str) -> str:
    """A measure's name as it stands in a sentence.

    >>> named("function_word_share")
    'function word share'
    """
    return measure.replace("_", " ")


def of_serving(serving: Serving) -> tuple[str, ...]:
    """Whether the server can be trusted: what speaks against it, or that nothing does, and what cannot be known."""
    told = [_failing(ones, serving) for ones in serving.by_failing.values()] + [_another(change) for change in serving.changed]
    if not told:
        told = [f"Of {serving.traces:,} traces that were looked at, none of the checks speaks against the server that they come from."]
    unknown = {names: [run for run in serving.unrecorded if serving.unrecorded[run] == names] for names in serving.unrecorded.values()}
    told += [
        f"{', '.join(runs)}: not recorded at every checkpoint, so that a change would not be seen: {', '.join(map(named, names))}."
        for names, runs in unknown.items()
    ]
    return tuple(told)


def _failing(ones: Sequence[Checked], serving: Serving) -> str:
    worst = ones[0]
    run, step, check = worst.run, worst.step, worst.check
    of = (
        "" if check == "improbable tokens" else {"answer": " of answers", "reasoning": " of reasoning texts"}.get(worst.where, " of traces")
    )
    said = f"{run}: at step {step}, {share(worst.share)}{of} {SAID[check]}"
    if check == "soup":
        made = [(serving.of(run, step, kind, "answer"), SAID[kind]) for kind in MADE_OF]
        parts = [f"{words} {per_cent(one.share.value)}" for one, words in made if one and one.share.value]
        beside = serving.of(run, step, check, "reasoning")
        said += f" ({'; '.join(parts)}), and {share(beside.share) if beside else 'none'} of reasoning texts are. What spoils answers too is"
        said += " likelier the server, the chat template or a collapsed model than a way of reasoning"
    if check == "no answer":
        said += ", and are not marked as cut off"
    if check == "cut off":
        first = next(one for one in serving.checked if (one.run, one.check) == (run, check))
        said += f", against {share(first.share)} at step {first.step}"
    return f"{said}{f'; so it is at {len(ones)} checkpoints, and this is the worst' if len(ones) > 1 else ''}."


def _another(change: Changed) -> str:
    def mix(of: Mapping[str, float]) -> str:
        return ", ".join(f"{'not recorded' if value == 'null' else value}{f' ({per_cent(n)})' if n < 1 else ''}" for value, n in of.items())

    said = f"{change.run}: from step {change.since} to step {change.step} the {named(change.setting)} goes from {mix(change.before)} to "
    said += f"{mix(change.after)}. What begins there may be the sampler’s and not training’s"
    return f"{said}: {', '.join(map(named, change.begins))}." if change.begins else f"{said}."


def _surface(run: str, trends: Sequence[Trend], environments: Mapping[str, Sequence[Trend]], apart: Container[str]) -> list[Change]:
    """What changed most surely; a measure that is `apart` says again what another sentence says."""
    compared = [trend for trend in trends if trend.run == run and trend.contrast is not None]
    if not compared:
        return []
    clear = clear_changes(compared)
    moved = sorted((trend for trend in compared if (run, trend.measure) in clear), key=_strength)
    foremost = [trend for trend in moved if trend.measure not in apart] or moved
    told = [Change(sentence=_moved(trend), measure=trend.measure) for trend in foremost[:MOST_MEASURES]]
    if moved:
        told[1:1] = _worst_environment(foremost[0], environments)
    others = len(compared) - len(moved)
    held = f"the other {others} show no clear difference" if moved else _nothing(compared)
    counted = f"Of {len(compared)} surface measures and outcomes, {len(moved) or 'none'} changed clearly (Holm-adjusted p below {ALPHA:g})"
    if others:
        counted += f"; {held}"
    return [*told, Change(sentence=f"{counted}.")]


def _strength(trend: Trend) -> tuple[int, float]:
    """Length first, since every count per trace hangs on it; then gaming, if that moved; then by how many half-intervals from zero."""
    seen = trend.contrast
    assert seen is not None
    width = (seen.high - seen.low) / 2 if seen.low is not None and seen.high is not None else 0.0
    place = {"reasoning_words": 0, GAMING: 1}.get(trend.measure, 2)
    return place, -abs(seen.value) / width if width else 0.0


def _moved(trend: Trend) -> str:
    seen = trend.contrast
    assert seen is not None
    up = seen.value > 0
    if trend.measure == "reasoning_words":
        subject, more = "reasoning", "longer" if up else "shorter"
    else:
        subject, more = f"“{named(trend.measure)}”", "higher" if up else "lower"
    against = f"at step {seen.step} against step {seen.since}, on {seen.prompts:,} shared prompts"
    if trend.onset:
        return f"{_from(trend.onset)}{subject} is {more}: by {change_in_words(trend)} {against}."
    return f"{subject[0].upper()}{subject[1:]} is {more}: by {change_in_words(trend)} {against}; from which step on cannot be told."


def _from(onset: Onset) -> str:
    return f"From step {onset.step}{interval(onset.low, onset.high) if onset.low < onset.high else ''} on, "


def _worst_environment(overall: Trend, environments: Mapping[str, Sequence[Trend]]) -> list[Change]:
    within = {
        environment: trend
        for environment, trends in environments.items()
        for trend in trends
        if (trend.run, trend.measure) == (overall.run, overall.measure) and trend.contrast is not None
    }
    if len(within) < 2:
        return []
    by_change = sorted(within, key=lambda environment: amount(within[environment])[1])
    most, least = (by_change[0], by_change[-1]) if amount(overall)[1] < 0 else (by_change[-1], by_change[0])
    return [
        Change(
            sentence=f"Of {len(within)} environments that change is largest in {most}, {signed_change(within[most])}, "
            f"and smallest in {least}, {signed_change(within[least])}."
        )
    ]


def _nothing(compared: Sequence[Trend]) -> str:
    length = next((trend for trend in compared if trend.measure == "reasoning_words"), compared[0])
    unit, _, low, high = amount(length)
    if low is None or high is None:
        return "what could have been found cannot be told from so few prompts"
    seen = f"{_minus(low)} to {_minus(high)}{'' if unit == '%' else ' '}{unit}"
    return f"for {named(length.measure)} the data allow a change of {seen}"


def _words(run: str, terms: Mapping[str, Sequence[Mapping[str, Any]]], curves: Mapping[tuple[str, str], Trend]) -> list[Change]:
    told: list[Change] = []
    for against, every in terms.items():
        rows = [row for row in every if row["run"] == run]
        last = max((row["step"] for row in rows), default=None)
        rows = [row for row in rows if row["step"] == last]
        tested = [row for row in rows if row["family"] == "discovered" and row["p_adjusted"] is not None]
        watched = [row for row in rows if row["family"] == "watch" and row["p_adjusted"] is not None]
        if against == "start" and (tested or watched):
            told += [_said(row, against, curves.get((run, row["term"]))) for row in _foremost([*tested, *watched])[:MOST_TERMS]]
            told.append(Change(sentence=_tested(tested, watched)))
        elif found := _foremost(watched or tested)[:3]:
            names = ", ".join(f"“{row['term']}” {_times(row)}" for row in found)
            told.append(Change(sentence=f"Against {REFERENCES.get(against, against)}, step {last} stands out by {names}."))
    return told


def _foremost(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """What is significant and not refuted by the other half of the prompts, the farthest from the reference first."""
    found = [row for row in rows if row["p_adjusted"] < ALPHA and row.get("confirmed") is not False]
    unique = {row["term"]: row for row in sorted(found, key=lambda row: row["family"] == "watch")}
    return sorted(unique.values(), key=lambda row: -abs(row.get("z") or 0.0))


def _tested(tested: Sequence[Mapping[str, Any]], watched: Sequence[Mapping[str, Any]]) -> str:
    changed = [row for row in tested if row["p_adjusted"] < ALPHA]
    held = sum(row.get("confirmed") is True for row in changed)
    parts = []
    if tested:
        kept = f", and {held or 'none'} of them did so in both halves of the prompts" if changed else ""
        parts.append(
            f"Of {len(tested):,} words tested, {len(changed) or 'none'} changed their rate (Benjamini-Hochberg at {ALPHA:.0%}){kept}"
        )
    if watched:
        moved = sum(row["p_adjusted"] < ALPHA for row in watched)
        parts.append(f"{moved or 'none'} of the {len(watched)} watched terms that could be tested did (Holm)")
    sentence = "; ".join(parts)
    return f"{sentence[0].upper()}{sentence[1:]}."


def _said(row: Mapping[str, Any], against: str, curve: Trend | None) -> Change:
    since = _from(curve.onset) if curve is not None and curve.onset else ""
    rate = f"{number(row['rate'])} per million words against {number(row['reference'])} at {REFERENCES[against]}"
    share = f", in {row['prompt_share']:.0%} of prompts" if row.get("prompt_share") is not None else ""
    return Change(sentence=f"{since}“{row['term']}” is said {_times(row)}: {rate}{share}.", measure=row["term"])


def _times(row: Mapping[str, Any]) -> str:
    ratio, low, high = row["ratio"], row["low"], row["high"]
    if ratio is None:
        return f"at least {number(low)} times as often" if low else "only here"
    if ratio == 0:
        return "not at all"
    if ratio < 1:
        return f"{number(100 * (1 - ratio))}% less often" + (
            "" if low is None or high is None else interval(100 * (1 - high), 100 * (1 - low))
        )
    return f"{number(ratio)} times as often{interval(low, high)}"


def _games(trend: Trend, steps: Sequence[AtStep]) -> str:
    last, first, seen = steps[-1], steps[0], trend.contrast
    said = f"At step {last.step}, {share(last.gaming)} of answers follow the grader against the instruction"
    if seen is not None:
        clear = seen.low is not None and seen.high is not None and not seen.low <= 0 <= seen.high
        since = f", from step {trend.onset.step}{interval(trend.onset.low, trend.onset.high)} on" if trend.onset else ""
        said += f"; at step {first.step} {share(first.gaming)} did{since if clear else ', no clear difference'}"
    band = last.band
    if band is None or band.levels < 2:
        return f"{said}. There is one wording only, and another may give another rate."
    bounds = interval(*_scaled(100, 0, band.between.low, band.between.high)).strip()
    over = f"{said}. Over {band.levels} wordings it goes from {per_cent(band.lowest)} to {per_cent(band.highest)}"
    return f"{over}; its interval with the wording as the unit is {bounds}." if bounds else f"{over}."


def _in_the_twin(last: AtStep) -> str:
    if last.twin.value is None or last.against_twin is None:
        return "The agreeing twin was not asked, so that errors and gaming cannot be told apart."
    return (
        f"Where the grader pays what is asked for, {share(last.twin)} violate the instruction: "
        f"{points(last.against_twin)} {'fewer' if last.against_twin.value > 0 else 'more'} on the same prompts."
    )


def _moved_by(effects: Effects) -> str:
    tested = [level for level in effects.levels if level.contrast is not None and level.contrast.p is not None]
    if not tested:
        return ""
    clear = sorted((level for level in tested if (level.p_adjusted or 0) < ALPHA), key=lambda level: -abs(_size(level)))
    said = f"Of {len(tested)} levels held against the base of their factor, {len(clear) or 'none'} "
    said += f"{'is' if len(clear) == 1 else 'are'} clearly apart from it (Holm-adjusted p below {ALPHA:g})"
    foremost = ", ".join(
        f"{named(level.factor)} “{level.level}” by {signed_points(level.contrast)}" for level in clear[:MOST_LEVELS] if level.contrast
    )
    return f"{said}{': ' if len(clear) <= MOST_LEVELS else '; the farthest: '}{foremost}." if foremost else f"{said}."


def _threatened(effects: Effects) -> str:
    """What the threat of a check does, and saying what is wanted."""
    told, (audit_is_clear, wanted_is_clear) = [], effects.is_clear
    if effects.audit is not None:
        from_none = "from none of the answers said to be checked to all of them"
        told.append(_planned("The threat of a check", effects.audit, from_none, is_clear=audit_is_clear))
    if effects.wanted is not None:
        from_wanted = "from “we want to see the instruction followed” to “we don't expect it”"
        told.append(_planned("What the prompt says is hoped for", effects.wanted, from_wanted, is_clear=wanted_is_clear))
    return " ".join(told)


def _planned(what: str, contrast: Contrast, way: str, *, is_clear: bool) -> str:
    if is_clear:
        return f"{what} {'lowers' if contrast.value < 0 else 'raises'} it: by {points(contrast)} {way}."
    return f"{what} does not clearly move it: {signed_points(contrast)} {way}."


def _thought(pair: Beside) -> str:
    thought, action, rise, change = f"“{named(pair.thought)}”", f"“{named(pair.action)}”", pair.awareness.contrast, pair.acts.contrast
    if rise is None or change is None or pair.verdict == "unknown":
        return f"Whether {action} follows {thought} over the steps cannot be told: {_why_unknown(pair)}."
    since = f"from step {rise.since} to step {rise.step}"
    moved = f"{action} changes by {signed_points(change)}"
    if pair.verdict == "not up":
        return f"{thought} does not clearly rise, {signed_points(rise)} {since}; in the same traces {moved}."
    said = f"{thought} rises, {signed_points(rise)} {since}"
    alike = f" In traces of like length {thought} changes by {signed_points(pair.matched.matched)}." if pair.matched else ""
    fall = f"a fall of {number(100 * (pair.expected or 0.0))} points"
    if pair.verdict == "dissociated":
        return (
            f"{thought} and {action} are dissociated: the first rises, {signed_points(rise)} {since}, and the second does not "
            f"fall with it, {signed_points(change)}, where {fall} would have come had all that took up the thought refrained.{alike}"
        )
    if pair.verdict == "falls with it":
        return f"{said}, and {action} falls, {signed_points(change)}.{alike}"
    return f"{said}; whether {action} falls with it is open, {signed_points(change)}, where {fall} would have come with it.{alike}"


def _why_unknown(pair: Beside) -> str:
    lacking = [trend.measure for trend in (pair.awareness, pair.acts) if any(point.missing > point.traces for point in trend.points)]
    return f"more than half of “{named(lacking[0])}” is missing" if lacking else "there are no two checkpoints that can be compared"


def _size(level: Level) -> float:
    return level.contrast.value if level.contrast else 0.0


def per_cent(value: float) -> str:
    """A share as a whole number of per cent, or two digits of it where it is small.

    >>> per_cent(0.384), per_cent(0.0123)
    ('38%', '1.2%')
    """
    return f"{number(100 * value)}%"


def share(estimate: Estimate) -> str:
    """A share with its interval, in per cent."""
    return "none" if estimate.value is None else per_cent(estimate.value) + interval(*_scaled(100, 0, estimate.low, estimate.high))


def points(contrast: Contrast) -> str:
    """The size of a difference of shares with its interval, without its sign."""
    sign = -100 if contrast.value < 0 else 100
    bounds = (None, None) if contrast.low is None or contrast.high is None else sorted((sign * contrast.low, sign * contrast.high))
    return f"{number(abs(100 * contrast.value))} percentage points{interval(*bounds)}"


def signed_points(contrast: Contrast | LastAgainstFirst) -> str:
    """The same with its sign, as it stands beside a figure."""
    bounds = "" if contrast.low is None or contrast.high is None else f" [{_minus(100 * contrast.low)}, {_minus(100 * contrast.high)}]"
    return f"{_minus(100 * contrast.value)} points{bounds}"


def _scaled(scale: float, shift: float, *numbers: float | None) -> tuple[Any, ...]:
    return tuple(None if value is None else scale * value - shift for value in numbers)


def _minus(value: float) -> str:
    return f"{'−' if value < 0 else '+' if value > 0 else ''}{number(abs(value))}"
