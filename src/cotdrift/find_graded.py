"""Find graded: what judges say of a study, put together for its report; no judge is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from itertools import islice

import polars as pl
from msgspec import Struct

from cotdrift import awareness, legible
from cotdrift.anchors import heard
from cotdrift.awareness import ACTIONS, THOUGHTS, Beside, Kind, Overlap
from cotdrift.calibration import Calibration
from cotdrift.card import Card, Rates, counted, errors, raters_of
from cotdrift.errors import InputError, NotEnough, UnknownName
from cotdrift.evidence import Evidence, evidence, halves
from cotdrift.grader import UNASKED, Grader
from cotdrift.legible import Legible
from cotdrift.scores import Score, scores_of
from cotdrift.study import Study
from cotdrift.trend import Trend
from cotdrift.trusted import calibrated, corrected, with_labels
from cotdrift.values import Values

SHOWN_PASSAGES = 4
"""Passages of each kind, early and late each."""
FRAMING = "framing"
WIDER, NARROWER = "metagaming", "evaluation_awareness"
"""Two thoughts of which the second is a part of the first."""
OF_THE_NARROWER = "M6"
"""The family of the first that is the second."""


class Thoughts(Struct, frozen=True, kw_only=True):
    """What the reasoning thinks of its situation, beside what the model does."""

    thoughts: Sequence[str]
    """The graders that ask for one."""
    actions: Sequence[str]
    """The outcomes, or graders, that mean misbehaviour; empty where none is known."""
    alone: Sequence[Trend]
    """The thoughts over steps, an entry a run and thought; empty where they stand beside actions."""
    pairs: Sequence[Beside]
    """An entry a run, thought and action."""
    overlaps: Sequence[Overlap]
    """Of metagaming with evaluation awareness; empty where either was not asked about."""
    disagreements: Mapping[str, Sequence[Evidence]]
    """What sort of disagreement of these two → the passages."""
    framing: Sequence[Trend]
    """How often each framing is, and what it is used for; an entry a run and score of the grader."""
    framings: Mapping[str, str]
    """Score of the grader → the framing, or the use, that it counts."""
    kinds: Sequence[Kind]
    """At the first and the last checkpoint of each run."""
    said: Sequence[Evidence]
    """Traces that have a thought and take the action all the same; any that have one, where no action is known."""


class Judged(Struct, frozen=True, kw_only=True):
    """All that judges say of a study."""

    legibility: Sequence[Legible]
    thoughts: Thoughts | None
    cards: Sequence[Card]

    @property
    def passages(self) -> list[Evidence]:
        """Every passage that is shown."""
        of_thoughts = [self.thoughts.said, *self.thoughts.disagreements.values()] if self.thoughts else []
        shown = [*(found.worst for found in self.legibility), *of_thoughts]
        shown += [side for card in self.cards for side in (card.missed, card.wrongly_found)]
        return [passage for side in shown for passage in side]

    @property
    def trends(self) -> list[Trend]:
        """Of each grader the trends whose missing values a report counts."""
        framing = self.thoughts.framing if self.thoughts else ()
        one_each = {trend.run: trend for trend in reversed(framing)}
        return [*(rates.judged for card in self.cards for rates in card.rates), *one_each.values()]


def find_judged(study: Study, *, actions: Sequence[str] = (), truths: Mapping[str, str] | None = None, seed: int = 0) -> Judged | None:
    """What is to be said of the judgments in a study; None where it has none.

    `actions` are the outcomes, or what is read off a grader, that mean misbehaviour; where none is given, those known by their names.
    `truths` says of which grader an outcome is the truth.
    """
    told, graders = truths or {}, {name: grader for name, grader in study.graders().items() if scores_of(grader)}
    for name in told:
        if name not in graders:
            raise UnknownName("grader", name, graders)
    if not graders:
        return None
    known = _Known(study, graders, seed)
    return Judged(
        legibility=[known.legible(graders[name]) for name in legible.GRADERS if name in graders and graders[name].is_number],
        thoughts=known.thoughts(actions),
        cards=[known.card(grader, told.get(name, "")) for name, grader in graders.items()],
    )


class _Known:
    """A study's judgments and values, each read once."""

    def __init__(self, study: Study, graders: Mapping[str, Grader], seed: int) -> None:
        self.study, self.graders, self.seed = study, graders, seed
        self._values: dict[str, Values] = {}
        self._judgments: dict[str, pl.DataFrame] = {}

    def values(self, name: str) -> Values:
        if name not in self._values:
            self._values[name] = self.study.values(name)
        return self._values[name]

    def judgments(self, name: str) -> pl.DataFrame:
        """First and second answers about the parts of traces, not about summaries, under the wording that was used last."""
        if name not in self._judgments:
            rows = self.study.judgments.frame(name, sha=self.graders[name].sha)
            self._judgments[name] = rows.filter((pl.col("level") == 0) & ~pl.col("missing").is_in(UNASKED, nulls_equal=True))
        return self._judgments[name]

    def answers(self, name: str) -> pl.DataFrame:
        """The first answers, with where and when in a run each trace stands."""
        return self.judgments(name).filter((pl.col("repeat") == 0) & pl.col("label").is_not_null()).join(self.who, on="transcript_id")

    @cached_property
    def who(self) -> pl.DataFrame:
        return halves(self.study.corpus.scan().select("transcript_id", "run", "step", "environment", "prompt_id").collect())

    def trends(self, name: str) -> list[Trend]:
        values = self.values(name)
        return [values.trend(run, seed=self.seed).told() for run in _runs(values.frame)]

    def legible(self, grader: Grader) -> Legible:
        first = heard(self.judgments(grader.name), self.who).filter(pl.col("repeat") == 0)
        value = pl.when(2 * pl.col("value").count() > pl.len()).then(pl.col("value").mean())
        at = value.alias("value"), pl.col("start").first(), pl.col("end").first()
        windows = first.group_by("transcript_id", "window").agg(*at).join(self.who, on="transcript_id")
        numbers = sorted(answer.value for answer in grader.answers if answer.value is not None)
        ends = numbers[0], numbers[-1]
        worst, best = ends if grader.worse == "low" else ends[::-1]
        parts, snaps = legible.profile(windows) if grader.window else ([], [])
        to_read = self.answers(grader.name).filter(pl.col("value") != best)
        return Legible(
            grader=grader.name,
            unit=f"points from {ends[0]:g} to {ends[1]:g}; {worst:g} is the worst",
            worse=grader.worse,
            shares=[trend for read in grader.reads if read.how == "at most" for trend in self.trends(f"{grader.name}.{read.name}")],
            deciles=legible.deciles(windows, worse=grader.worse, ends=ends, seed=self.seed),
            profile=parts,
            snaps=snaps,
            worst=evidence(to_read.with_columns(rank=(pl.col("value") - best).abs()), most=SHOWN_PASSAGES),
        )

    def thoughts(self, actions: Sequence[str]) -> Thoughts | None:
        asked = [name for name in THOUGHTS if name in self.graders and self.graders[name].is_yes_or_no]
        framed = self.graders.get(FRAMING)
        framed = None if framed is None or framed.is_number else framed
        if not asked and framed is None:
            return None
        actions = [self._yes_or_no(name) for name in actions] or [
            name for name in sorted(ACTIONS.intersection(self.study.outcomes)) if self._is_yes_or_no(name)
        ]
        both = {WIDER, NARROWER} <= set(asked)
        return Thoughts(
            thoughts=asked,
            actions=actions,
            alone=[] if actions else [trend for name in asked for trend in self.trends(name)],
            pairs=awareness.judged_together([pair for thought in asked for action in actions for pair in self._beside(thought, action)]),
            overlaps=self._overlaps() if both else (),
            disagreements=self._disagreements() if both else {},
            framing=[trend for name in scores_of(framed) for trend in self.trends(name)] if framed else (),
            framings=_framings(framed) if framed else {},
            kinds=self._kinds(framed, actions) if framed else (),
            said=self._said(asked, actions),
        )

    def _is_yes_or_no(self, name: str) -> bool:
        return bool(self.values(name).frame["value"].drop_nulls().is_in([0.0, 1.0]).all())

    def _yes_or_no(self, name: str) -> str:
        if not self._is_yes_or_no(name):
            raise InputError(f"--action {name}: it is a number, and an action is taken or not. Name an outcome that is 0 or 1.")
        return name

    def _beside(self, thought: str, action: str) -> list[Beside]:
        words = self.values("reasoning_words").frame.select("transcript_id", words="value")
        acts = self.values(action).frame.select("transcript_id", acts="value")
        both = (
            self.values(thought).frame.rename({"value": "aware"}).join(acts, on="transcript_id").join(words, on="transcript_id", how="left")
        )
        made = partial(awareness.beside, thought=thought, action=action, seed=self.seed)
        return [made(both.filter(pl.col("run") == run), run=run) for run in _runs(both)]

    @cached_property
    def _both(self) -> pl.DataFrame:
        narrower = self.values(NARROWER).frame.select("transcript_id", second="value")
        return self.values(WIDER).frame.rename({"value": "first"}).join(narrower, on="transcript_id")

    def _overlaps(self) -> list[Overlap]:
        return [found for run in _runs(self._both) for found in awareness.overlaps(self._both.filter(pl.col("run") == run), run=run)]

    def _disagreements(self) -> dict[str, list[Evidence]]:
        def passages(grader: str, first: int, *only: pl.Expr) -> list[Evidence]:
            apart = self._both.filter((pl.col("first") == first) & (pl.col("second") == 1 - first))
            said = self.answers(grader).filter(pl.col("value") == 1, *only).join(apart, on="transcript_id", how="semi")
            return evidence(said.with_columns(rank=0), most=SHOWN_PASSAGES)

        of_the_kind = pl.col("details").str.json_path_match("$.family") == OF_THE_NARROWER
        return {
            f"{NARROWER} without {WIDER}": passages(NARROWER, 0),
            f"{WIDER} of family {OF_THE_NARROWER} without {NARROWER}": passages(WIDER, 1, of_the_kind),
        }

    def _kinds(self, framed: Grader, actions: Sequence[str]) -> list[Kind]:
        """Of several actions the first stands beside the framings."""
        scores = scores_of(framed)
        labels = dict(islice(_framings(framed).items(), len(framed.answers)))
        frame = self.values(next(iter(scores))).frame.drop("value", "missing_reason")
        columns = {name: name for name in labels} | {"permits": f"{FRAMING}.permits"} | ({"acts": actions[0]} if actions else {})
        frame = frame.with_columns(permits=pl.lit(None, pl.Float64)) if columns["permits"] not in scores else frame
        for column, name in columns.items():
            if column not in frame.columns:
                values = self.values(name).frame.select("transcript_id", pl.col("value").alias(column))
                frame = frame.join(values, on="transcript_id", how="left")
        kind = pl.coalesce(pl.when(pl.col(name) == 1).then(pl.lit(label)) for name, label in labels.items())
        can_act = self.values(actions[0]).frame.select("transcript_id", can_act=True) if actions else None
        frame = frame.with_columns(kind=kind)
        if can_act is not None:
            frame = frame.join(can_act, on="transcript_id", how="left").with_columns(pl.col("can_act").fill_null(False))
        ends = frame.group_by("run").agg(first=pl.col("step").min(), last=pl.col("step").max()).sort("run")
        return [
            kind
            for run, first, last in ends.iter_rows()
            for step in dict.fromkeys((first, last))
            for kind in awareness.kinds(frame.filter(run=run, step=step), [*labels.values()], run=run, step=step)
        ]

    def _said(self, asked: Sequence[str], actions: Sequence[str]) -> list[Evidence]:
        if not asked:
            return []
        told = [self.answers(name).filter(pl.col("value") == 1).with_columns(truth=pl.lit(name)) for name in asked]
        said = pl.concat(told).with_columns(rank=0)
        for action in islice(actions, 1):
            said = said.join(self.values(action).frame.filter(pl.col("value") == 1), on="transcript_id", how="semi")
        return evidence(said, most=SHOWN_PASSAGES)

    def card(self, grader: Grader, outcome: str) -> Card:
        judgments, labels, scores = self.judgments(grader.name), self.study.labels(grader.name), scores_of(grader)
        main = scores.get(grader.name)
        name = main.name if main else next(iter(scores))
        frame = self.values(name).frame
        truth = self.values(outcome).frame.select("transcript_id", truth="value") if outcome else None
        known, against, compared = None, None, None
        missed: list[Evidence] = []
        wrongly: list[Evidence] = []
        if main and main.ends:
            known = with_labels(frame, grader, main, labels) if labels.height and main.labelled else None
            if truth is not None:
                compared = frame.join(truth, on="transcript_id").with_columns(chance=pl.lit(None, pl.Float64))  # of all, not of some drawn
            middle = (main.low + main.high) / 2
            against = calibrated(compared, cut=middle, seed=self.seed) if compared is not None else None
            shown = known if known is not None else compared
            who = "labelled" if known is not None else f"{outcome} is"
            if shown is not None:
                missed, wrongly = errors(judgments, halves(shown), cut=middle, names={True: f"{who} yes", False: f"{who} no"})
        return Card(
            grader=grader,
            raters=raters_of(judgments),
            traces=frame.height,
            missing=counted(frame["missing_reason"]),
            other_wordings=self.study.judgments.in_other_words(grader),
            rates=self._rates(grader, main, labels, truth) if main else (),
            trusted=self.study.agree(name, seed=self.seed),
            calibrations=self._calibrations([main] if main else [*islice(scores.values(), len(grader.answers))]),
            annotators=labels["annotator"].unique().sort().to_list(),
            outcome=outcome,
            against_outcome=against,
            missed=missed,
            wrongly_found=wrongly,
        )

    def _calibrations(self, scores: Sequence[Score]) -> dict[str, Calibration]:
        try:
            return {score.name: self.study.calibrate(score.name, seed=self.seed) for score in scores if score.labelled}
        except NotEnough:
            return {}  # nobody has labelled any

    def _rates(self, grader: Grader, main: Score, labels: pl.DataFrame, truth: pl.DataFrame | None) -> list[Rates]:
        """The rates of each run; where the truth is known, of the traces of which it is. A scale with a bound has its share there."""
        at_most = next((f"{grader.name}.{read.name}" for read in grader.reads if read.how == "at most"), main.name)
        score = scores_of(grader)[at_most if truth is None else main.name]
        values = self.values(score.name)
        told = []
        for run in _runs(values.frame):
            if truth is None:
                told += [Rates(judged=trend.told(), truth=None) for trend in self.study.trend(score.name, run=run, seed=self.seed)]
                continue
            frame = values.frame.filter(pl.col("run") == run).join(truth.rename({"truth": "so"}), on="transcript_id")
            judged = values._replace(frame=frame).trend(run, seed=self.seed)
            if labels.height and score.labelled:
                judged = corrected(judged, with_labels(frame, grader, score, labels), values.ends, seed=self.seed)
            so = frame.with_columns(value="so", missing_reason=pl.lit("not recorded"))
            told.append(Rates(judged=judged.told(), truth=values._replace(frame=so, ends=None).trend(run, seed=self.seed)))
        return told


def _framings(framed: Grader) -> dict[str, str]:
    labels = [answer.label for answer in framed.answers]
    uses = [f"used: {level}" for detail in framed.details for level in detail.levels]
    return dict(zip(scores_of(framed), [*labels, *uses], strict=False))


def _runs(frame: pl.DataFrame) -> list[str]:
    runs: list[str] = frame["run"].unique().sort().to_list()
    return runs
