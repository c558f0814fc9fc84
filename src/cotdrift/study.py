"""A study: a folder with a corpus, what was measured of it, and the report."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, Self

import msgspec
import polars as pl
from tqdm import tqdm

from cotdrift.calibration import Calibration
from cotdrift.comparison import Counts
from cotdrift.comparisons.lexical import Term, concordance, count_terms, terms, watch_list
from cotdrift.corpus import Checkpoint, Corpus, clear_unfinished, whole_file
from cotdrift.errors import InputError, NotEnough, UnknownName
from cotdrift.format import Reading
from cotdrift.formats import find_sources, identify
from cotdrift.graded import Score, scores_of
from cotdrift.grader import Grader
from cotdrift.graders import grader as grader_called
from cotdrift.ingest import Ingested, ingest_file, rejected_records
from cotdrift.judging import Chosen, Judged, Limits, judge_all, judges_of, plan_pass, priced
from cotdrift.judgment import Judgments
from cotdrift.labelling.labels import COLUMNS as LABEL_COLUMNS
from cotdrift.labelling.labels import FILE as LABELS
from cotdrift.labelling.labels import Labels
from cotdrift.measure import Measure
from cotdrift.measurement import Measurements, measure_corpus
from cotdrift.references.human import human
from cotdrift.shelf import collect
from cotdrift.trend import Trend, trend_of
from cotdrift.trusted import Trusted, agreed, calibrated, corrected, with_labels
from cotdrift.wordcount import Said, WordCounts, count_corpus

if TYPE_CHECKING:
    from cotdrift.trace import Trace

Against = Literal["start", "human", "answers"]
WHO = ["transcript_id", "run", "checkpoint", "step", "environment", "prompt_id"]
NO_SETTINGS = frozenset({"max_connections", "max_retries", "timeout"})
"""How judges are reached, which does not make them others."""


class Frame(Protocol):
    """A table that hands out its columns as Arrow: Polars, pandas and PyArrow ones do."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """The columns."""


class Passage(msgspec.Struct, frozen=True, kw_only=True):
    """One use of a term, with what stands around it."""

    run: str
    step: int
    transcript_id: str
    before: str
    hit: str
    after: str


class Values(NamedTuple):
    """One measure, outcome or term of every trace of a study."""

    measure: str
    unit: str
    version: int
    frame: pl.DataFrame
    """A row a trace: transcript_id, run, checkpoint, step, environment, prompt_id, value (null where there is none) and missing_reason.

    For a term a row a prompt and step: the value is its uses, exposure the words of the reasoning, in millions, traces how many there are.
    """
    ends: tuple[float, float] | None = None
    """The lowest and the highest that a value can be, where missing ones are to be bounded; None where they are not."""

    def trend(self, run: str, *, environment: str | None = None, seed: int = 0) -> Trend:
        """The trend over the steps of one run, in one environment or all."""
        frame = self.frame.filter(pl.col("run") == run)
        if environment is not None:
            frame = frame.filter(pl.col("environment") == environment)
        return trend_of(frame, run=run, measure=self.measure, unit=self.unit, version=self.version, ends=self.ends, seed=seed)


class Study:
    """A folder with a corpus, measurements and word counts; each grows by what is missing, and is never half written."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.corpus = Corpus(self.folder / "corpus")
        self.measurements = Measurements(self.folder / "measurements")
        self.word_counts = WordCounts(self.folder / "words")
        self.judgments = Judgments(self.folder / "judgments.sqlite")

    @classmethod
    def is_one(cls, folder: Path | str) -> bool:
        """Whether this folder is a study."""
        return (Path(folder) / "study.json").is_file()

    @classmethod
    def open(cls, folder: Path | str) -> Self:
        """The study in this folder."""
        if not cls.is_one(folder):
            raise InputError(f"{folder}: there is no study here. Make one: cotdrift ingest FILES --into {folder}")
        return cls(folder)

    @classmethod
    def make(cls, folder: Path | str) -> Self:
        """The study in this folder; where there is none, it begins with the first file that is ingested."""
        study = cls(folder)
        if not cls.is_one(folder) and study.folder.exists() and (not study.folder.is_dir() or any(study.folder.iterdir())):
            raise InputError(f"{folder}: this is no study, and not empty. Name a new folder, or an existing study.")
        return study

    @property
    def rejected(self) -> Path:
        """The file that keeps every record that could not be read."""
        return self.folder / "rejected.jsonl"

    def ingest(self, sources: Iterable[Path | str | Frame], reading: Reading | None = None) -> list[Ingested]:
        """Read files, folders of them, or frames (Polars, pandas, Arrow) into the study."""
        with _progress("reading") as step:
            paths = [Path(source) if isinstance(source, str | Path) else self._keep(source) for source in sources]
            known = [(path, identify(path)) for path in find_sources(paths)]
            if not self.is_one(self.folder):
                with whole_file(self.folder / "study.json") as begun:
                    begun.write_bytes(msgspec.json.format(msgspec.json.encode({"cotdrift": _version()})))
            done = [ingest_file(self.corpus, path, kind, reading or Reading(), done=step) for path, kind in known]
        clear_unfinished(self.folder)
        with whole_file(self.rejected) as path, path.open("wb") as kept:
            kept.writelines(rejected_records(self.corpus))
        if not self.rejected.stat().st_size:
            self.rejected.unlink()
        return done

    def forget_lost(self, folder: Path) -> None:
        """Take out what came from files in this folder that are no longer there: another log took their place."""
        for source in self.corpus.sources:
            path = Path(source.path)
            if path.parent == folder.resolve() and not path.exists():
                self.corpus.forget(source)

    def _keep(self, frame: Frame) -> Path:
        """A frame as a file of the study, named by its content."""
        rows = pl.DataFrame(frame)
        told = hashlib.sha256(str(rows.schema).encode() + rows.hash_rows().to_numpy().tobytes()).hexdigest()[:20]
        kept = self.folder / "frames" / f"{told}.parquet"
        if not kept.exists():
            with whole_file(kept) as path:
                rows.write_parquet(path)
        return kept

    def measures(self, *names: str) -> dict[str, Measure]:
        """The measures of these names; all there are, if none is named."""
        known = collect("measures", Measure)
        for name in names:
            if name not in known:
                raise UnknownName("measure", name, known)
        return {name: known[name] for name in names or known}

    def measure(self, *names: str) -> int:
        """Measure every trace by what it lacks; returns how many traces were read."""
        with _progress("measuring") as step:
            return measure_corpus(self.corpus, self.measures(*names).values(), self.measurements, threads=os.cpu_count() or 1, done=step)

    def grade(
        self,
        *graders: str | Path,
        judges: Sequence[str],
        chosen: Chosen | None = None,
        limits: Limits | None = None,
        dry_run: bool = False,
        tell: Callable[[str], None] = lambda _sentence: None,
        **config: Any,
    ) -> list[Judged]:
        """Put graders, by name or file, to judges, as Inspect names models; what is judged already is not asked again.

        `config` is Inspect's for generation: temperature, reasoning_effort, max_tokens (of one reply), max_connections.
        """
        asked = [grader_called(name) for name in graders]
        models, which = judges_of(judges, **config), chosen or Chosen()
        known_price = priced(limits or Limits(), models.values())
        settings = ",".join(f"{name}={value}" for name, value in sorted(config.items()) if name not in NO_SETTINGS)

        async def one_after_the_other() -> list[Judged]:
            done = []
            try:
                for grader in asked:
                    self._keep_grader(grader)
                    plan = plan_pass(self.corpus, grader, models, settings, self.judgments, which, known_price)
                    tell(f"{grader.name}: {plan.sentence()}")
                    if dry_run:
                        continue
                    with _progress("judging", " judgments", plan.asked) as step:
                        judged = judge_all(self.corpus, grader, models, settings, self.judgments, plan, which, known_price, done=step)
                        done.append(await judged)
            finally:
                for model in models.values():
                    await model.api.aclose()
            return done

        return asyncio.run(one_after_the_other())

    def _keep_grader(self, grader: Grader) -> None:
        kept = self.folder / "graders" / f"{grader.name}-{grader.sha}.json"
        if not kept.exists():
            with whole_file(kept) as path:
                path.write_bytes(msgspec.json.format(msgspec.json.encode(grader)))

    def graders(self) -> dict[str, Grader]:
        """The graders that judged in this study, each in the wording that was used last."""
        found = {}
        for name in self.judgments.graders():
            sha = self.judgments.frame(name).sort("at")["sha"][-1]
            found[name] = msgspec.json.decode((self.folder / "graders" / f"{name}-{sha}.json").read_bytes(), type=Grader)
        return found

    def calibrate(self, name: str, *, cut: float | None = None, run: str | None = None, seed: int = 0) -> Calibration:
        """What a grader is worth against people's labels; values from `cut` up count as yes, the middle of the scale if none is given."""
        grader, score = self._score(name)
        labels = self.labels(grader.name)
        if not labels.height:
            raise NotEnough(f"{self.folder}: there are no labels of {grader.name!r}. Give some: cotdrift label {self.folder} {grader.name}")
        frame = with_labels(self.values(name).frame, grader, score, labels)
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
            grader, score = self._score(name)
        except UnknownName:
            return None
        found = score.of(grader, self.judgments.frame(grader.name, sha=grader.sha))
        who = self.corpus.scan().select(*WHO).collect()
        return Values(name, score.unit, grader.version, who.join(found, on="transcript_id"), (score.low, score.high))

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

    @property
    def outcomes(self) -> list[str]:
        """What the corpus knows of the behaviour of its traces."""
        return [name.removeprefix("outcome_") for name in self.corpus.scan().collect_schema().names() if name.startswith("outcome_")]

    def values(self, name: str, *, term: bool = False, run: str | None = None) -> Values:
        """What a measure, an outcome or a term is for each trace; what is not measured yet is measured now. A term's may be of one run."""
        if term:
            return Values(name, "uses per million words", 1, self._term_values(name, run))
        measures = self.measures()
        if name in measures:
            self.measure(name)
            version = measures[name].version
            rows = self.measurements.scan().filter((pl.col("measure") == name) & (pl.col("version") == version))
            names = self.corpus.scan().select("transcript_id", "checkpoint")
            return Values(
                name, measures[name].unit, version, rows.join(names, on="transcript_id").select(*WHO, "value", "missing_reason").collect()
            )
        if name in self.outcomes:
            value = pl.col(f"outcome_{name}")
            reason = pl.when(value.is_null()).then(pl.lit("not recorded"))
            recorded = value.is_not_null().any().over("environment")  # an outcome says nothing of environments that never record it
            frame = self.corpus.scan().filter(recorded).select(*WHO, value=value, missing_reason=reason).collect()
            yes_and_no = frame["value"].drop_nulls().is_in([0.0, 1.0]).all()
            return Values(name, "share of traces" if yes_and_no else "points", 1, frame)
        if graded := self._graded(name):
            return graded
        judged = [score for grader in self.graders().values() for score in scores_of(grader)]
        raise UnknownName("measure, outcome or grader", name, [*measures, *self.outcomes, *judged])

    def _term_values(self, text: str, run: str | None) -> pl.DataFrame:
        term = Term.parse(text)
        self.count_words()
        parts = [self._set_aside()]
        for checkpoint in (checkpoint for checkpoints in self.chosen(run).values() for checkpoint in checkpoints):
            if term.in_vocabulary:
                found = self.word_counts.uses(checkpoint, term.text)
            else:
                found = self._count_others([term], checkpoint, "reasoning")
            uses = found.select("environment", "prompt_id", "n")
            parts.append(
                self.word_counts.tables(checkpoint)[1]
                .join(uses, on=["environment", "prompt_id"], how="left")
                .select(
                    "environment",
                    "prompt_id",
                    "traces",
                    run=pl.lit(checkpoint.run),
                    step=pl.lit(checkpoint.step, pl.Int64),
                    value=pl.col("n").fill_null(0).cast(pl.Float64),
                    exposure=pl.col("words") / 1e6,
                    missing_reason=pl.lit(None, pl.String),
                )
            )
        return pl.concat(parts, how="diagonal_relaxed")

    def _set_aside(self) -> pl.DataFrame:
        reason = pl.lit("reasoning is ") + pl.col("reasoning_kind")
        aside = self.corpus.scan().filter(pl.col("reasoning_kind") != "raw")
        by_prompt = aside.group_by("run", "step", "environment", "prompt_id", missing_reason=reason).agg(traces=pl.len().cast(pl.Int64))
        return by_prompt.with_columns(value=pl.lit(None, pl.Float64), exposure=pl.lit(None, pl.Float64)).collect()

    def trend(self, name: str, *, run: str | None = None, environment: str | None = None, term: bool = False, seed: int = 0) -> list[Trend]:
        """How one measure, outcome or term moves over the steps of each run, in one environment or all."""
        runs = self.chosen(run)
        self._check_environment(environment)
        values = self.values(name, term=term, run=run)
        trends = [values.trend(chosen, environment=environment, seed=seed) for chosen in runs]
        return trends if values.ends is None else [self._corrected(trend, values, environment, seed) for trend in trends]

    def _corrected(self, trend: Trend, values: Values, environment: str | None, seed: int) -> Trend:
        """A grader's trend, corrected where there are labels."""
        grader, score = self._score(values.measure)
        labels = self.labels(grader.name)
        if not labels.height:
            return trend
        frame = with_labels(values.frame.filter(pl.col("run") == trend.run), grader, score, labels)
        return corrected(
            trend, frame if environment is None else frame.filter(pl.col("environment") == environment), values.ends, seed=seed
        )

    def _check_environment(self, environment: str | None) -> None:
        known = self.corpus.scan().select(pl.col("environment").unique()).collect()["environment"].to_list()
        if environment is not None and environment not in known:
            raise UnknownName("environment", environment, known)

    def count_words(self) -> None:
        """Count the words of every checkpoint that was not counted yet."""
        with _progress("counting words") as step:
            count_corpus(self.corpus, self.word_counts, threads=os.cpu_count() or 1, done=step)

    def terms(
        self,
        *,
        against: Against = "start",
        run: str | None = None,
        step: int | None = None,
        environment: str | None = None,
        watch: Path | None = None,
        seed: int = 0,
    ) -> pl.DataFrame:
        """Which words a checkpoint uses more, or less, than a reference does; the last checkpoint of each run, if no step is given.

        A run that has nothing to compare, such as no checkpoint before this one, gives no rows.
        """
        runs = self.chosen(run)
        self._check_environment(environment)
        self.count_words()
        watched = watch_list(watch)
        tables, faults = [], []
        for name, checkpoints in runs.items():
            late = _at(checkpoints, step)
            try:
                focal = self._counts(late, "reasoning", watched, environment)
                if against == "human":
                    found = terms(focal, human, watch=watched, seed=seed)
                elif against == "answers":
                    found = terms(focal, self._counts(late, "answer", watched, environment), watch=watched, seed=seed)
                else:
                    start = self._counts(_before(late, checkpoints), "reasoning", watched, environment)
                    found = terms(focal, start, watch=watched, seed=seed)
            except NotEnough as fault:
                faults.append(fault)
            else:
                tables.append(found.select(pl.lit(name).alias("run"), pl.lit(late.step).alias("step"), pl.all()))
        if not tables:
            raise faults[0]
        return pl.concat(tables)

    def _counts(self, checkpoint: Checkpoint, said: Said, watched: Iterable[Term], environment: str | None) -> Counts:
        """The counts of single words, and with them those of the watched phrases and cased terms, from which loops are not taken out."""
        counts, totals = self.word_counts.tables(checkpoint, said)
        others = [term for term in watched if not term.in_vocabulary]
        found = self._count_others(others, checkpoint, said) if others else counts.clear()
        both = pl.concat([counts, found.select(counts.columns)], how="vertical_relaxed")
        here = pl.lit(True) if environment is None else pl.col("environment") == environment
        return Counts(both.filter(here), totals.filter(here), f"the {said} of {checkpoint.run} at step {checkpoint.step}")

    def _count_others(self, others: list[Term], checkpoint: Checkpoint, said: Said) -> pl.DataFrame:
        parts = []
        for rows in checkpoint.batches(["task_set", "task_id", "reasoning_kind", said]):
            raw = rows.filter(pl.col("reasoning_kind") == "raw")
            uses = count_terms(raw[said], others)
            for term, column in zip(others, uses.T, strict=True):
                counts = pl.Series(column, dtype=pl.Int64)
                of_term = raw.select(environment="task_set", prompt_id="task_id", word=pl.lit(term.text), n=counts)
                parts.append(of_term.filter(pl.col("n") > 0))
        n = pl.col("n").sum()
        return pl.concat(parts).group_by("environment", "prompt_id", "word").agg(n, kept=n, traces=pl.len())

    def passages(self, term: str, *, run: str | None = None, limit: int = 10) -> list[Passage]:
        """Uses of a term, one a trace: from a run's beginning on through its first half, then from its end back through its second."""
        wanted = Term.parse(term)
        self.count_words()
        found = []
        for checkpoints in self.chosen(run).values():
            half = max(1, len(checkpoints) // 2)
            found += self._uses(wanted, checkpoints[:half], limit)
            found += self._uses(wanted, checkpoints[: half - 1 : -1], limit)
        return found

    def _uses(self, term: Term, checkpoints: Iterable[Checkpoint], limit: int) -> list[Passage]:
        """The first use in each of some traces."""
        may_hold = pl.col("reasoning").str.contains(
            "(?i)" + re.escape(term.words[0].partition("'")[0])
        )  # cheap, and never wrong to say yes
        found: list[Passage] = []
        for checkpoint in checkpoints:
            if term.in_vocabulary and not self.word_counts.uses(checkpoint, term.text).height:
                continue
            for rows in checkpoint.batches(["transcript_id", "reasoning_kind", "reasoning"]):
                for transcript_id, reasoning in (
                    rows.filter((pl.col("reasoning_kind") == "raw") & may_hold).select("transcript_id", "reasoning").iter_rows()
                ):
                    for hit in islice(concordance(reasoning, term), 1):
                        place = {"run": checkpoint.run, "step": checkpoint.step, "transcript_id": transcript_id}
                        found.append(Passage(**place, before=hit.before, hit=hit.hit, after=hit.after))
                    if len(found) == limit:
                        return found
        return found

    def find_trace(self, transcript_id: str) -> Trace | None:
        """The trace with this id, if there is one."""
        known = self.corpus.scan().filter(pl.col("transcript_id") == transcript_id).select("transcript_id").collect()
        return self.corpus.trace(transcript_id) if known.height else None


def _at(checkpoints: list[Checkpoint], step: int | None) -> Checkpoint:
    if step is None:
        return checkpoints[-1]
    for checkpoint in checkpoints:
        if checkpoint.step == step:
            return checkpoint
    raise UnknownName("step", str(step), [str(checkpoint.step) for checkpoint in checkpoints])


def _before(late: Checkpoint, checkpoints: list[Checkpoint]) -> Checkpoint:
    """The start of the run."""
    if checkpoints[0] is late:
        way_out = "Try --against human or --against answers"
        raise NotEnough(f"{late.run} has no checkpoint before step {late.step}, so nothing can be held against its start. {way_out}.")
    return checkpoints[0]


@contextmanager
def _progress(what: str, unit: str = " traces", total: int | None = None) -> Iterator[Callable[[int], None]]:
    """A bar with a rate, for what takes longer than a second."""
    with tqdm(desc=what, unit=unit, total=total, delay=1, leave=False, disable=None) as bar:

        def step(traces: int) -> None:
            bar.update(traces)

        yield step


def _version() -> str:
    from importlib.metadata import version  # reads the installed packages: not worth it before it is asked for

    return version("cotdrift")
