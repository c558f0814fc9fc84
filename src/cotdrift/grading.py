"""Graders in a study: put to judges, held against labels, and read as values."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from cotdrift.calibration import Calibration
from cotdrift.corpus import Corpus, whole_file
from cotdrift.errors import InputError, NotEnough, UnknownName
from cotdrift.grader import Grader, with_terms
from cotdrift.graders import grader as grader_called
from cotdrift.judging import Chosen, Judged, Limits, judge_all, judges_of, plan_pass, priced
from cotdrift.judgment import Judgments
from cotdrift.labelling.labels import COLUMNS as LABEL_COLUMNS
from cotdrift.labelling.labels import FILE as LABELS
from cotdrift.labelling.labels import Labels
from cotdrift.progress import progress
from cotdrift.scores import Score, scores_of
from cotdrift.summaries import Node, trees
from cotdrift.trend import Trend
from cotdrift.trusted import Trusted, agreed, calibrated, corrected, with_labels
from cotdrift.values import WHO, Values

NO_SETTINGS = frozenset({"max_connections", "max_retries", "timeout"})
"""How judges are reached, which does not make them others."""


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
        dry_run: bool = False,
        tell: Callable[[str], None] = lambda _sentence: None,
        **config: Any,
    ) -> list[Judged]:
        """Put graders, by name or file, to judges, as Inspect names models; what is judged already is not asked again.

        `terms` are the words whose uses are judged, by graders that judge uses; without them the grader's own.
        `config` is Inspect's for generation: temperature, reasoning_effort, max_tokens (of one reply), max_connections.
        """
        asked = [grader_called(name) for name in graders]
        if terms:
            if others := [grader.name for grader in asked if grader.around is None]:
                raise InputError(f"--term: {others[0]} is not asked about uses of terms. Leave --term out, or put that grader apart.")
            asked = [with_terms(grader, terms) for grader in asked]
        models, which = judges_of(judges, **config), chosen or Chosen()
        known_price = priced(limits or Limits(), models.values())
        settings = ",".join(f"{name}={value}" for name, value in sorted(config.items()) if name not in NO_SETTINGS)

        async def one_after_the_other() -> list[Judged]:
            done = []
            try:
                for grader in asked:
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
        kept = {name: self.folder / "graders" / f"{name}-{sha}.json" for name, sha in self.judgments.graders().items()}
        return {name: msgspec.json.decode(path.read_bytes(), type=Grader) for name, path in kept.items()}

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
        """How far a grader's judges agree with each other and each with itself, and how far people do."""
        grader, _ = self._score(name)
        prompts = (
            self.corpus.scan()
            .select("transcript_id", pl.concat_str("environment", "prompt_id", separator="\0", ignore_nulls=True))
            .collect()
        )
        judgments = self.judgments.frame(grader.name, sha=grader.sha)
        return agreed(grader, judgments, self.labels(grader.name), dict(prompts.iter_rows()), seed=seed)

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
        found = score.of(grader, self.judgments.frame(grader.name, sha=grader.sha))
        who = self.corpus.scan().select(*WHO).collect()
        return Values(score.name, score.unit, grader.version, who.join(found, on="transcript_id"), score.ends)

    def _corrected(self, trend: Trend, values: Values, environment: str | None, seed: int) -> Trend:
        """A grader's trend, corrected where there are labels."""
        grader, score = self._score(values.measure)
        labels = self.labels(grader.name)
        if not labels.height or not score.labelled:
            return trend
        frame = with_labels(values.frame.filter(pl.col("run") == trend.run), grader, score, labels)
        return corrected(
            trend, frame if environment is None else frame.filter(pl.col("environment") == environment), values.ends, seed=seed
        )
