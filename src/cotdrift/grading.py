"""Graders in a study: put to judges, held against labels, and read as values."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
from msgspec.structs import replace

from cotdrift.anchors import Panel, Shift, across, all_of, heard, named, shift_of, shifts, who_judged
from cotdrift.calibration import Calibration
from cotdrift.corpus import Checkpoint, Corpus, whole_file
from cotdrift.errors import InputError, NotEnough, UnknownName
from cotdrift.grader import Grader, with_terms
from cotdrift.graders import grader as grader_called
from cotdrift.judging import Chosen, Judged, Limits, judge_all, judges_of, plan_pass, priced, settings_of
from cotdrift.judgment import Judgments
from cotdrift.labelling.labels import COLUMNS as LABEL_COLUMNS
from cotdrift.labelling.labels import FILE as LABELS
from cotdrift.labelling.labels import Labels
from cotdrift.progress import progress
from cotdrift.scanned import Scan, Scanned
from cotdrift.scores import Score, scores_of
from cotdrift.summaries import Node, trees
from cotdrift.trend import Trend
from cotdrift.trusted import Trusted, agreed, calibrated, corrected, with_labels
from cotdrift.values import WHO, Values


class Graded:
    """The part of a study that judges and people fill."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.corpus = Corpus(self.folder / "corpus")
        self.judgments = Judgments(self.folder / "judgments.sqlite")

    def grade(
        self,
        *graders: str | Path,
        judges: Sequence[str],
        terms: Sequence[str] = (),
        chosen: Chosen | None = None,
        limits: Limits | None = None,
        anchors: int | None = None,
        dry_run: bool = False,
        model_args: Mapping[str, Any] | None = None,
        tell: Callable[[str], None] = lambda _sentence: None,
        **config: Any,
    ) -> list[Judged]:
        """Put graders, by name or file, to judges, as Inspect names models; what is judged already is not asked again.

        `terms` are the words whose uses are judged, by graders that judge uses; without them the grader's own. `anchors` are so many traces
        of each checkpoint of those that another judge, or another wording, judged: the same ones each time.
        `model_args` are the providers' own, as Inspect's -M; they do not make a judge another one.
        `config` is Inspect's for generation: temperature, reasoning_effort, max_tokens (of one reply), max_connections, batch.
        """
        asked = [grader_called(name) for name in graders]
        if terms:
            if others := [grader.name for grader in asked if grader.around is None]:
                raise InputError(f"--term: {others[0]} is not asked about uses of terms. Leave --term out, or put that grader apart.")
            asked = [with_terms(grader, terms) for grader in asked]
        models = judges_of(judges, model_args, **config)
        known_price = priced(limits or Limits(), models.values())
        settings = settings_of(config)

        async def one_after_the_other() -> list[Judged]:
            done = []
            try:
                for grader in asked:
                    which = chosen or Chosen()
                    if anchors is not None:
                        which = replace(which, per_checkpoint=anchors, among=self._anchors(grader, judges, settings))
                    plan = plan_pass(self.corpus, grader, models, settings, self.judgments, which, known_price)
                    tell(f"{grader.name}: {plan.sentence()}")
                    if dry_run:
                        continue
                    self._keep_grader(grader)
                    with progress("judging", " judgments", plan.asked) as step:
                        judged = judge_all(self.corpus, grader, models, settings, self.judgments, plan, which, known_price, done=step)
                        done.append(await judged)
            finally:
                for model in models.values():
                    await model.api.aclose()
            return done

        return asyncio.run(one_after_the_other())

    def _anchors(self, grader: Grader, judges: Sequence[str], settings: str) -> frozenset[str]:
        """The traces that others judged than these."""
        rows = self.judgments.frame(grader.name)
        same = (pl.col("sha") == grader.sha) & pl.col("judge").is_in(list(judges)) & (pl.col("settings") == settings)
        found = frozenset(rows.filter(~same)["transcript_id"])
        if not found:
            raise NotEnough(f"{self.folder}: no other judge, and no other wording, has judged {grader.name!r}. Leave --anchors out.")
        return found

    def read_scan(self, folder: Path | str, *graders: str | Path) -> list[Scanned]:
        """Read the results of a Scout scan as judgments; the scanner of each grader's name answered its question.

        A scanner of ours asked the grader in its own words, and counts as the same judge. Any other is a wording of its own.
        """
        scans = [Scan(Path(folder), grader_called(name)) for name in graders]
        with self.judgments.writing() as writer:
            for scan in scans:
                self._keep_grader(scan.grader)
            return [scan.read(self.corpus, writer) for scan in scans]

    @property
    def runs(self) -> dict[str, list[Checkpoint]]:
        """The checkpoints of each run, in training order."""
        found: dict[str, list[Checkpoint]] = {}
        for checkpoint in self.corpus.checkpoints():
            found.setdefault(checkpoint.run, []).append(checkpoint)
        return found

    def chosen(self, run: str | None = None) -> dict[str, list[Checkpoint]]:
        """One run, or all of them; there is at least one."""
        runs = self.runs
        if not runs:
            raise NotEnough(f"{self.folder}: the study holds no traces. Add some: cotdrift ingest FILES --into {self.folder}")
        if run is None:
            return runs
        if run not in runs:
            raise UnknownName("run", run, runs)
        return {run: runs[run]}

    def _check_environment(self, environment: str | None) -> None:
        known = self.corpus.scan().select(pl.col("environment").unique()).collect()["environment"].to_list()
        if environment is not None and environment not in known:
            raise UnknownName("environment", environment, known)

    def _keep_grader(self, grader: Grader) -> None:
        kept = self.folder / "graders" / f"{grader.name}-{grader.sha}.json"
        before = msgspec.json.decode(kept.read_bytes(), type=Grader) if kept.exists() else None
        if before is not None:
            grader = with_terms(grader, [*before.terms, *grader.terms])
        if grader != before:
            with whole_file(kept) as path:
                path.write_bytes(msgspec.json.format(msgspec.json.encode(grader)))

    def graders(self) -> dict[str, Grader]:
        """The graders that judged in this study, each in the wording that was used last."""
        return {name: self._wording(name, sha) for name, sha in self.judgments.graders().items()}

    def _wording(self, name: str, sha: str) -> Grader:
        return msgspec.json.decode((self.folder / "graders" / f"{name}-{sha}.json").read_bytes(), type=Grader)

    def _who(self) -> pl.DataFrame:
        """Where each trace belongs, with its prompt as one name."""
        prompt = pl.concat_str("environment", "prompt_id", separator="\0", ignore_nulls=True)
        return self.corpus.scan().select(*WHO, prompt=prompt).collect()

    def judged(self, name: str, transcript_id: str) -> list[Node]:
        """What each judge said of one trace, the worst first; of what was summed up the summary, with all that stands below it."""
        grader, _ = self._score(name)
        return trees(grader, self.judgments.of_trace(grader, transcript_id))

    def worst(self, name: str, *, run: str | None = None, limit: int = 10) -> pl.DataFrame:
        """The traces that a grader finds the worst: transcript_id, run, step, environment, prompt_id and value, the worst first."""
        grader, score = self._score(name)
        frame = self._values_of(grader, score).frame.filter(pl.col("value").is_not_null())
        if run is not None:
            frame = frame.filter(pl.col("run") == run)
        ordered = frame.sort(pl.col("value"), "transcript_id", descending=[grader.worse == "high", False])
        return ordered.head(limit).select("transcript_id", "run", "step", "environment", "prompt_id", "value")

    def calibrate(self, name: str, *, cut: float | None = None, run: str | None = None, seed: int = 0) -> Calibration:
        """What a grader is worth against people's labels; values from `cut` up count as yes, the middle of the scale if none is given."""
        grader, score = self._score(name)
        labels = self.labels(grader.name)
        if not labels.height:
            raise NotEnough(f"{self.folder}: there are no labels of {grader.name!r}. Give some: cotdrift label {self.folder} {grader.name}")
        if not score.labelled:
            raise InputError(f"{name} is read off all parts of a trace together, and a label is of one. Calibrate {grader.name}.")
        frame = with_labels(self._values_of(grader, score).frame, grader, score, labels)
        if run is not None:
            frame = frame.filter(pl.col("run") == run)
        return calibrated(frame, cut=(score.low + score.high) / 2 if cut is None else cut, seed=seed)

    def agree(self, name: str, *, seed: int = 0) -> Trusted:
        """How far a grader's judges agree with each other, with those before them and each with itself, and how far people do."""
        grader, _ = self._score(name)
        who, every = self._who(), self.judgments.frame(grader.name)
        prompts = dict(who.select("transcript_id", "prompt").iter_rows())
        found = agreed(grader, every.filter(pl.col("sha") == grader.sha), self.labels(grader.name), prompts, seed=seed)
        return replace(found, shifts=tuple(shifts(name, every, partial(self._wording, grader.name), who, seed=seed)))

    def labels(self, question: str) -> pl.DataFrame:
        """People's labels of a question: one row for each annotator and trace, or window of one."""
        if not (self.folder / LABELS).exists():
            return pl.DataFrame(schema=LABEL_COLUMNS)
        with Labels(self.folder / LABELS) as kept:
            return kept.frame(question)

    def _score(self, name: str) -> tuple[Grader, Score]:
        """The grader and what is read off it by this name."""
        known = self.graders()
        grader = known.get(name.partition(".")[0])
        score = scores_of(grader).get(name) if grader else None
        if grader is None or score is None:
            raise UnknownName("grader", name, [score for grader in known.values() for score in scores_of(grader)])
        return grader, score

    def _graded(self, name: str) -> Values | None:
        """A grader's values; None where no grader of this study gives any of this name."""
        try:
            return self._values_of(*self._score(name))
        except UnknownName:
            return None

    def _values_of(self, grader: Grader, score: Score) -> Values:
        who = self.corpus.scan().select(*WHO, "reasoning_kind").collect()
        rows = heard(self.judgments.frame(grader.name, sha=grader.sha), who.drop("reasoning_kind"))
        found = who.join(score.of(grader, rows).join(who_judged(rows), on="transcript_id"), on="transcript_id")
        aside = pl.when(pl.col("missing_reason") == "redacted").then(pl.lit("reasoning is ") + pl.col("reasoning_kind"))
        frame = found.with_columns(missing_reason=aside.otherwise("missing_reason")).drop("reasoning_kind")
        return Values(score.name, score.unit, grader.version, frame, score.ends)

    def _judged(self, trend: Trend, values: Values, environment: str | None, seed: int) -> Trend:
        """A grader's trend, with what a change of judges did to it, and corrected where there are labels."""
        grader, score = self._score(values.measure)
        here = values.frame.filter(pl.col("run") == trend.run)
        if environment is not None:
            here = here.filter(pl.col("environment") == environment)

        def between(first: Panel, last: Panel) -> Shift | None:
            judgments = self.judgments.frame(grader.name, sha=grader.sha)
            old, new = (score.of(grader, all_of(judgments, panel)) for panel in (first, last))
            return shift_of(old, new, self._who(), score, names=(named(first), named(last)), seed=seed)

        trend = across(trend, here, between)
        labels = self.labels(grader.name)
        if not labels.height or not score.labelled:
            return trend
        return corrected(trend, with_labels(here, grader, score, labels), values.ends, seed=seed)
