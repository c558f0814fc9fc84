"""Find the axes: how far words drifted, whether reasoning can be read, and whether a property is lost to monitors; never one score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import polars as pl
from msgspec import Struct

from cotdrift.costs import Cost
from cotdrift.errors import CotdriftError, InputError
from cotdrift.estimate import holm
from cotdrift.evidence import Evidence, halves
from cotdrift.find_graded import Judged
from cotdrift.legible import GRADERS
from cotdrift.monitor import Watch, watches_in
from cotdrift.monitorability import Monitorability
from cotdrift.resampled import decided
from cotdrift.study import Study
from cotdrift.trend import LastAgainstFirst, Point, Trend, TrendTest
from cotdrift.values import Values
from cotdrift.watching import watched

Name = Literal["drift", "illegibility", "loss"]

PROXIES: dict[str, Literal["high", "low"]] = {
    "function_word_share": "low",
    "unknown_word_share": "high",
    "rare_word_share": "high",
    "non_latin_share": "high",
    "repeated_ngrams": "high",
    "glued_words": "high",
}
"""Measures that go with illegible text, and which end of each is the illegible one: each sees another way to be hard to read."""
SHOWN = 2
"""Traces of each kind to read, early and late each."""
ALPHA = 0.05


class Axis(Struct, frozen=True, kw_only=True):
    """One of the three: what it is measured by, over the steps of each run, and what to read."""

    name: Name
    by: str
    """What it is measured by, in a sentence."""
    trends: Sequence[Trend] = ()
    """An entry a run and number; empty where nothing measures it here."""
    worse: Mapping[str, str] = {}
    """Which end of each number is the illegible one: `high` or `low`."""
    is_proxy: bool = False
    """Whether these numbers stand in for what was not asked."""
    way_out: str = ""
    """How to have it measured, or measured better; empty where it is."""
    read: Sequence[Evidence] = ()

    def clear(self, run: str) -> list[Trend]:
        """What clearly moved in a run, by Holm over what is measured of it; where there are no p-values, by the interval."""
        here = [trend for trend in self.trends if trend.run == run and trend.contrast is not None]
        adjusted = holm([trend.contrast.p if trend.contrast else None for trend in here])
        return [trend for trend, p in zip(here, adjusted, strict=True) if (p < ALPHA if p is not None else _excludes_nought(trend))]


class Watched(Struct, frozen=True, kw_only=True):
    """What monitors of one property are worth in a study."""

    watch: Watch
    found: Sequence[Monitorability]
    """An entry a run and monitor."""
    costs: Sequence[Cost]
    read: Sequence[Evidence]
    """Traces that the first monitor misjudges."""


class Axes(Struct, frozen=True, kw_only=True):
    """The three axes of a study, and what monitors are worth in it."""

    axes: tuple[Axis, Axis, Axis]
    watched: Sequence[Watched]

    @property
    def passages(self) -> list[Evidence]:
        """Every trace that is shown."""
        sides = [*(axis.read for axis in self.axes), *(watched.read for watched in self.watched)]
        return [passage for side in sides for passage in side]


def find_axes(
    study: Study,
    judged: Judged | None,
    trends: Sequence[Trend],
    values: Mapping[str, Values],
    *,
    truths: Mapping[str, str] | None = None,
    seed: int = 0,
) -> Axes:
    """The three axes of a study.

    `trends` and `values` are those of its measures. Monitors are those that `cotdrift monitor` kept, and with them each grader of yes and
    no of which `truths` names an outcome that is its truth.
    """
    watches = watches_in(study.folder)
    known = {(watch.truth, monitor.name) for watch in watches for monitor in watch.monitors}
    graders = {name for name, grader in study.graders().items() if grader.is_yes_or_no}
    for grader, outcome in (truths or {}).items():
        truth = study.values(outcome).frame["value"].drop_nulls()
        if grader in graders and (outcome, grader) not in known and len(truth) and truth.is_in([0.0, 1.0]).all():
            watches.append(Watch.of(grader, truth=outcome))
    told = [_watched(study, watch, seed) for watch in watches]
    return Axes(axes=(_drift(study, seed), _illegibility(judged, trends, values), _loss(told)), watched=told)


def _drift(study: Study, seed: int) -> Axis:
    trends = study.word_distance(seed=seed)
    if not trends:
        way_out = "It takes two checkpoints of a run with raw reasoning on the same prompts."
        return Axis(name="drift", by="Nothing here measures it.", way_out=way_out)
    by = (
        "The share of words that are others than at the run's first checkpoint, on the same prompts: which words come more often is told "
        "by some prompts, and how much more by others, so that it is nought where nothing drifted."
    )
    return Axis(name="drift", by=by, trends=trends)


def _illegibility(judged: Judged | None, trends: Sequence[Trend], values: Mapping[str, Values]) -> Axis:
    if judged and judged.legibility:
        shares = {trend.measure: "high" for found in judged.legibility for trend in found.shares}
        told = [trend for found in judged.legibility for trend in found.shares]
        for card in judged.cards:  # a scale without bounds is told by its mean
            if card.grader.name in GRADERS and not any(measure.startswith(f"{card.grader.name}.") for measure in shares):
                told += [rates.judged for rates in card.rates]
                shares |= {rates.judged.measure: card.grader.worse for rates in card.rates}
        by = f"What judges say to {', '.join(found.grader for found in judged.legibility)}: by the share of passages at or below a bound."
        read = [passage for found in judged.legibility[:1] for passage in found.worst]
        return Axis(name="illegibility", by=by, trends=told, worse=shares, read=read)
    proxies = [trend for trend in trends if trend.measure in PROXIES and any(point.value for point in trend.points)]
    way_out = "Have it judged: cotdrift grade STUDY legibility --model-role grader=MODEL"
    if not proxies:
        return Axis(name="illegibility", by="Nothing here measures it.", way_out=way_out)
    by = (
        "Proxies, as no judge was asked: measures that go with text that is hard to read. Illegible is fewer function words, and more of "
        "each of the others. None of them knows whether anybody can read it."
    )
    runs = dict.fromkeys(trend.run for trend in proxies)
    read = [passage for run in runs for passage in _extreme(_foremost(proxies, run), values)]
    return Axis(name="illegibility", by=by, trends=proxies, worse=PROXIES, is_proxy=True, way_out=way_out, read=read)


def _foremost(proxies: Sequence[Trend], run: str) -> Trend:
    """The proxy that moved most surely, or the first."""
    of_run = [trend for trend in proxies if trend.run == run]
    return min(of_run, key=lambda trend: 1.0 if trend.contrast is None or trend.contrast.p is None else trend.contrast.p)


def _extreme(trend: Trend, values: Mapping[str, Values]) -> list[Evidence]:
    """The traces that are the most illegible by one measure, early and late."""
    worse = PROXIES[trend.measure]
    frame = halves(values[trend.measure].frame.filter((pl.col("run") == trend.run) & pl.col("value").is_not_null()))
    ordered = frame.sort("value", "transcript_id", descending=[worse == "high", False])
    shown = ordered.group_by("when", maintain_order=True).head(SHOWN)
    said = f"{'least' if worse == 'low' else 'most'} {trend.measure.replace('_', ' ')}"
    return [_to_read(row, f"{said}: {row['value']:.2g}", "") for row in shown.iter_rows(named=True)]


def _loss(told: Sequence[Watched]) -> Axis:
    way_out = "Hold a monitor against a truth: cotdrift monitor STUDY --monitor MONITOR --truth OUTCOME"
    found = [one for of_property in told for one in of_property.found]
    trends = [trend for one in found if (trend := as_trend(one)) is not None]
    if not trends:
        return Axis(name="loss", by="No monitor is held against a truth.", way_out=way_out)
    by = (
        "g-mean², the share of traces with the property that a monitor finds times the share of others that it passes, by the threshold of "
        f"the first checkpoint: {', '.join(dict.fromkeys(f'{one.monitor.name} on {one.truth}' for one in found))}. A coin has 0.25."
    )
    return Axis(name="loss", by=by, trends=trends, read=[passage for one in told for passage in one.read])


def as_trend(found: Monitorability) -> Trend | None:
    """g-mean² by the frozen threshold as a trend; None where nothing can be told."""
    points = [
        Point(
            step=at.step,
            value=at.frozen.g_mean2.value,
            low=at.frozen.g_mean2.low,
            high=at.frozen.g_mean2.high,
            traces=at.frozen.g_mean2.traces,
            prompts=at.frozen.g_mean2.prompts,
            missing=at.missing,
            set_aside=0,
            why={"not judged": at.missing} if at.missing else {},
            method=at.frozen.g_mean2.method,
            paired=None,
            poststratified=None,
        )
        for at in found.points
    ]
    if all(point.value is None for point in points):
        return None
    change = None
    if found.lost is not None:
        of = found.lost.frozen
        told = {name: getattr(of, name) for name in ("value", "low", "high", "p", "traces", "prompts", "method")}
        change = LastAgainstFirst(step=found.lost.step, since=found.lost.since, ratio=None, **told)
    return Trend(
        run=found.run,
        measure=f"{found.monitor.name} on {found.truth}",
        unit="g-mean²",
        version=1,
        level=0.95,
        points=tuple(points),
        contrast=change,
        trend=TrendTest(p=None, slope=None, method="not fitted: thresholds make it no mean over traces"),
        onset=None,
        onset_note="Not looked for.",
        warnings=(),
    )


def _watched(study: Study, watch: Watch, seed: int) -> Watched:
    try:
        found = study.monitorability(watch, seed=seed)
    except CotdriftError as fault:
        raise InputError(
            f"{study.folder}: monitors of {watch.truth} were kept, and cannot be had. {fault} Or remove {watch.file}."
        ) from None
    return Watched(watch=watch, found=found, costs=study.costs(watch, seed=seed), read=_misjudged(study, watch))


def _misjudged(study: Study, watch: Watch) -> list[Evidence]:
    """Traces that the first monitor gets wrong, early and late, of either kind; none for an intervention."""
    if watch.archetype == "intervention":
        return []
    read: list[Evidence] = []
    monitor = watch.monitors[0]
    for frame in watched(study, watch, monitor).values():
        wrong = halves(decided(frame, watch)).filter(pl.col("says") != pl.col("truth").cast(pl.Float64))
        kept = wrong.sort("step", "transcript_id").group_by("when", "truth", maintain_order=True)
        shown = kept.head(SHOWN).sort("when", "truth", "step").iter_rows(named=True)
        read += [_to_read(row, "missed" if row["truth"] else "false alarm", watch.truth, judge=monitor.name) for row in shown]
    return read


def _to_read(row: Mapping[str, Any], label: str, truth: str, *, judge: str = "") -> Evidence:
    told = {name: row[name] for name in ("run", "step", "when", "transcript_id")}
    return Evidence(judge=judge, label=label, quote=None, reason="", truth=truth, **told)


def _excludes_nought(trend: Trend) -> bool:
    change = trend.contrast
    return change is not None and change.low is not None and change.high is not None and not change.low <= 0 <= change.high
