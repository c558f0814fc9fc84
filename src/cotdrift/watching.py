"""Watching: a study's traces with their truth and a monitor's score, as monitorability and its costs take them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from cotdrift.costs import Cost, costs
from cotdrift.errors import NotEnough, UnknownName
from cotdrift.monitorability import Monitorability, monitorability, over_runs
from cotdrift.resampled import decided
from cotdrift.values import WHO

if TYPE_CHECKING:
    from cotdrift.monitor import Intervention, Monitor, Watch
    from cotdrift.study import Study


def monitorability_of(study: Study, watch: Watch, *, run: str | None, seed: int) -> list[Monitorability]:
    """What each monitor is worth over the steps of each run; where runs are seeds, of their mean."""
    found = []
    for monitor in watch.monitors:
        frames = watched(study, watch, monitor, run=run)
        if watch.as_seeds:
            found.append(over_runs(frames, watch, monitor, seed=seed))
        else:
            found += [monitorability(frame, watch, monitor, run=name, seed=seed) for name, frame in frames.items()]
    return found


def costs_of(study: Study, watch: Watch, *, run: str | None, seed: int) -> list[Cost]:
    """What the study's measures go with, for each run and monitor; none for an intervention, where no single trace is right or wrong."""
    if watch.archetype == "intervention":
        return []
    drift = {name: study.values(name).frame.select("transcript_id", pl.col("value").alias(name)) for name in study.measures()}
    found = []
    for monitor in watch.monitors:
        measures = [measure for measure in drift if measure != monitor.name]
        for name, frame in watched(study, watch, monitor, run=run).items():
            judged = decided(frame, watch)
            for measure in {*measures, "reasoning_words"}:
                judged = judged.join(drift[measure], on="transcript_id", how="left")
            found += costs(judged, measures, run=name, monitor=monitor.name, seed=seed)
    return found


def watched(study: Study, watch: Watch, monitor: Monitor, *, run: str | None = None) -> dict[str, pl.DataFrame]:
    """The traces of each run whose truth is known: where each belongs, its truth, and the monitor's score (null where there is none)."""
    runs = study.chosen(run)
    scores = monitor.scores(study.corpus) if monitor.pattern else study.values(monitor.name).frame
    truth = study.values(watch.truth).frame.filter(pl.col("value").is_not_null()).select(*WHO, truth="value")
    frame = truth.join(scores.select("transcript_id", score="value"), on="transcript_id", how="left")
    if watch.environment is not None:
        known = study.corpus.scan().select(pl.col("environment").unique()).collect()["environment"]
        if watch.environment not in known:
            raise UnknownName("environment", watch.environment, known.drop_nulls().to_list())
        frame = frame.filter(pl.col("environment") == watch.environment)
    if watch.intervention is not None:
        frame = _in_arms(study, frame, watch.intervention)
    found = {name: frame.filter(pl.col("run") == name) for name in runs}
    if not any(part.height for part in found.values()):
        raise NotEnough(f"{watch.truth} is not known of any of these traces. Name an outcome that they have.")
    return {name: part for name, part in found.items() if part.height}


def _in_arms(study: Study, frame: pl.DataFrame, intervention: Intervention) -> pl.DataFrame:
    """The traces of the two arms; `treated` says which of them have the intervention."""
    column, levels = f"condition_{intervention.factor}", (intervention.without, intervention.with_it)
    known = [name.removeprefix("condition_") for name in study.corpus.scan().collect_schema().names() if name.startswith("condition_")]
    if intervention.factor not in known:
        raise UnknownName("condition", intervention.factor, known)
    arms = study.corpus.scan().select("transcript_id", level=column).collect()
    for level in levels:
        if level not in arms["level"]:
            raise UnknownName(f"level of {intervention.factor}", level, arms["level"].drop_nulls().unique().to_list())
    both = frame.join(arms.filter(pl.col("level").is_in(levels)), on="transcript_id")
    return both.with_columns(treated=pl.col("level") == intervention.with_it).drop("level")
