"""What a grader's numbers are worth: its values beside people's labels, its judges beside each other, its rates corrected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from msgspec import Struct
from msgspec.structs import replace

from cotdrift.agreement import Agreement, Scale, agreement
from cotdrift.anchors import Shift
from cotdrift.calibration import Calibration, calibrate
from cotdrift.corrected import Corrected, corrected_mean, rogan_gladen
from cotdrift.estimate import Floats
from cotdrift.grader import UNASKED, Grader
from cotdrift.scores import Score, prompt_codes
from cotdrift.trend import Point, Trend

LEAST_LABELS = 20
"""Of each checkpoint, for it to be corrected by its own; with fewer anywhere, all of a run's labels correct all of its checkpoints."""
FEW = f"Fewer than {LEAST_LABELS} labels at some checkpoint"
GROUPS = 3
"""Early, middle and late checkpoints, whose calibrations are compared."""
PERSON = "person:"
"""What an annotator's name begins with where it stands among the judges'."""


class Trusted(Struct, frozen=True, kw_only=True):
    """How far a grader agrees with people, with its own second answers, and its judges with each other."""

    grader: str
    judges: Agreement | None
    """None with one judge."""
    itself: dict[str, Agreement]
    """Each judge against its own second answers."""
    people: Agreement | None
    """None with fewer than two annotators."""
    shifts: tuple[Shift, ...] = ()
    """Each judge beside every one before it, on the traces that both judged."""


def as_judgments(labels: pl.DataFrame) -> pl.DataFrame:
    """People's labels in the columns of judgments, so that what is read off the one is read off the other in the same way."""
    place = pl.struct(pl.col("start").fill_null(0), pl.col("end").fill_null(0))
    return labels.select(
        "transcript_id",
        "label",
        "value",
        "details",
        judge=pl.lit(PERSON) + pl.col("annotator"),
        level=pl.lit(0),
        marked=pl.lit(""),
        stands_for=pl.lit(1.0),
        window=place.rank("dense").over("transcript_id").cast(pl.Int64),
        repeat=pl.col("repeat").cast(pl.Int64),
        missing=pl.lit(None, pl.String),
    )


def with_labels(values: pl.DataFrame, grader: Grader, score: Score, labels: pl.DataFrame) -> pl.DataFrame:
    """A grader's values with what people say of the same traces as `truth`, and how likely each was to be labelled as `chance`."""
    truth = score.of(grader, as_judgments(labels)).select("transcript_id", truth="value")
    return values.join(truth, on="transcript_id", how="left").join(chances_of(labels), on="transcript_id", how="left")


def chances_of(labels: pl.DataFrame) -> pl.DataFrame:
    """The chance that each trace had of being labelled by anybody, up to a factor that all share: transcript_id and chance.

    Each annotator's labels, weighted by the inverse of their chances, stand for all traces; so do those of all annotators together, and a
    trace that several labelled counts for each (Birnbaum and Sirken 1965), whether or not they drew independently. Where all drew by the
    same chances, traces of one chance share their weight evenly. Traces that nobody drew by chance have none.
    """
    drawn = labels.filter(pl.col("probability").is_not_null() & ~pl.col("repeat"))
    chance = pl.col("probability")
    each = drawn.group_by("transcript_id").agg(weight=(1 / chance).sum(), first=chance.first(), alike=chance.n_unique() == 1)
    known = {tuple(sorted(set(part["probability"]))) for part in drawn.partition_by("annotator", "sha")}
    if len(known) == 1 and each["alike"].all():
        each = each.with_columns(weight=pl.col("weight").mean().over("first"))
    return each.select("transcript_id", chance=1 / pl.col("weight"))


def calibrated(frame: pl.DataFrame, *, cut: float, seed: int = 0) -> Calibration:
    """What a grader is worth against labels, and whether that changed over training; `frame` is that of `with_labels`."""
    steps = frame.filter(pl.col("truth").is_not_null())["step"].unique().sort().to_list()
    parts = [part.tolist() for part in np.array_split(steps, min(GROUPS, len(steps)))] if steps else []
    names = [f"step {part[0]}" if len(part) == 1 else f"steps {part[0]} to {part[-1]}" for part in parts]
    code = {step: place for place, part in enumerate(parts) for step in part}
    groups = [code.get(step, 0) for step in frame["step"].to_list()]
    truth, chances = _by_chance(frame)
    return calibrate(_numbers(frame["value"]), truth, prompt_codes(frame), groups=groups, names=names, chances=chances, cut=cut, seed=seed)


def corrected(trend: Trend, frame: pl.DataFrame, ends: tuple[float, float] | None, *, seed: int = 0) -> Trend:
    """A grader's trend with its errors taken out, where labels allow; `frame` is that of `with_labels`, for this run."""
    labelled = frame.filter(pl.col("truth").is_not_null() & pl.col("value").is_not_null())
    if not labelled.height:
        return trend
    each = dict(labelled.group_by("step").len().iter_rows())
    own = all(each.get(point.step, 0) >= LEAST_LABELS for point in trend.points)
    yes_or_no = bool(labelled.select(pl.col("truth", "value").is_in([0.0, 1.0]).all()).to_numpy().all())
    if not own and not yes_or_no:
        return replace(trend, warnings=(*trend.warnings, f"{FEW}: scores are not corrected."))
    points = []
    for point in trend.points:
        here = frame.filter(pl.col("step") == point.step)
        found = _own(here, ends, trend.level) if own else _borrowed(here, labelled, trend.level, seed)
        points.append(
            replace(point, corrected=found.value, corrected_low=found.low, corrected_high=found.high, corrected_method=found.method)
        )
    said = () if own else (_assumed(frame, points, seed),)
    return replace(trend, points=tuple(points), warnings=(*trend.warnings, *said))


def _own(here: pl.DataFrame, ends: tuple[float, float] | None, level: float) -> Corrected:
    truth, chances = _by_chance(here)
    return corrected_mean(_numbers(here["value"]), truth, prompt_codes(here), chances=chances, ends=ends, level=level)


def _by_chance(frame: pl.DataFrame) -> tuple[Floats, Floats | None]:
    """The labels to go by, and how likely each was: those that were drawn by chance, where they are enough, and else all of them."""
    known = frame["truth"].is_not_null() & frame["chance"].is_not_null()
    if int(known.sum()) < LEAST_LABELS:
        return _numbers(frame["truth"]), None
    return _numbers(frame["truth"].set(~known, None)), _numbers(frame["chance"])


def _borrowed(here: pl.DataFrame, labelled: pl.DataFrame, level: float, seed: int) -> Corrected:
    truth, chances = _by_chance(labelled)
    return rogan_gladen(
        _numbers(here["value"]),
        prompt_codes(here),
        labels=truth,
        label_judged=_numbers(labelled["value"]),
        label_prompts=prompt_codes(labelled),
        label_chances=chances,
        level=level,
        seed=seed,
    )


def _assumed(frame: pl.DataFrame, points: Sequence[Point], seed: int) -> str:
    if all(point.corrected is None for point in points):
        why = ", ".join(dict.fromkeys(point.corrected_method for point in points))
        return f"{FEW}, and the labels of all correct nothing: {why}."
    said = f"{FEW}: all are corrected by the labels of all, as if the grader erred alike throughout"
    changes = [
        change for change in calibrated(frame, cut=0.5, seed=seed).changes if change.p_adjusted is not None and change.p_adjusted < 0.05
    ]
    return f"{said}. It did not: {', '.join(change.what for change in changes)} changed." if changes else f"{said}."


def agreed(grader: Grader, judgments: pl.DataFrame, labels: pl.DataFrame, prompts: Mapping[str, str], *, seed: int = 0) -> Trusted:
    """How far judges, their second answers, and people agree, window by window; `prompts` has the prompt of each trace."""
    scale: Scale = "ordinal" if grader.is_number and not grader.is_yes_or_no else "nominal"
    codes = {answer.label: float(place) for place, answer in enumerate(grader.answers)}
    with_settings = pl.concat_str("judge", pl.when(pl.col("settings") != "").then(pl.format(" ({})", "settings")).otherwise(pl.lit("")))
    said = judgments.filter((pl.col("level") == 0) & ~pl.col("missing").is_in(UNASKED, nulls_equal=True)).with_columns(
        judge=with_settings,
        said=pl.col("value") if grader.is_number else pl.col("label").replace_strict(codes, default=None, return_dtype=pl.Float64),
    )
    judges = sorted(said["judge"].unique())
    first = said.filter(pl.col("repeat") == 0)
    twice = said.join(
        said.filter(pl.col("repeat") == 1).select("transcript_id", "window", "judge"), on=["transcript_id", "window", "judge"]
    )
    people = as_judgments(labels).filter(pl.col("repeat") == 0)
    people = people.with_columns(
        said=pl.col("value") if grader.is_number else pl.col("label").replace_strict(codes, default=None, return_dtype=pl.Float64)
    )

    def between(rows: pl.DataFrame, rater: str) -> Agreement | None:
        if rows[rater].n_unique() < 2:
            return None
        table = rows.pivot(on=rater, index=["transcript_id", "window"], values="said", aggregate_function="first").sort(
            "transcript_id", "window"
        )
        raters = [name for name in table.columns if name not in ("transcript_id", "window")]
        ratings = np.array([_numbers(table[name]) for name in raters])
        where = np.unique([prompts.get(transcript_id, transcript_id) for transcript_id in table["transcript_id"]], return_inverse=True)[1]
        return agreement(ratings, where, scale=scale, raters=raters, seed=seed)

    itself = {
        judge: between(twice.filter(pl.col("judge") == judge).with_columns(pl.col("repeat").cast(pl.String)), "repeat") for judge in judges
    }
    return Trusted(
        grader=grader.name,
        judges=between(first, "judge"),
        itself={judge: found for judge, found in itself.items() if found is not None},
        people=between(people, "judge"),
    )


def _numbers(column: pl.Series) -> Floats:
    return column.cast(pl.Float64).fill_null(np.nan).to_numpy()
