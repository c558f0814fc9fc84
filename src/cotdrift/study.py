"""A study: a folder with a corpus, what was measured of it, and the report."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, Self

import msgspec
import polars as pl

from cotdrift import watching
from cotdrift.comparison import Counts
from cotdrift.comparisons.distance import words_apart
from cotdrift.comparisons.lexical import Term, concordance, count_terms, terms, watch_list
from cotdrift.corpus import Checkpoint, clear_unfinished, whole_file
from cotdrift.errors import InputError, NotEnough, UnknownName
from cotdrift.format import Reading
from cotdrift.formats import find_sources, identify
from cotdrift.ingest import Ingested, ingest_file, rejected_records
from cotdrift.measure import Measure
from cotdrift.measurement import Measurements, measure_corpus
from cotdrift.progress import progress
from cotdrift.references.human import human
from cotdrift.same_sense import FOLDER as PAIRS
from cotdrift.same_sense import draw_pairs, rows_of
from cotdrift.scores import scores_of
from cotdrift.sensing import Sensed
from cotdrift.serving import Serving, check_serving
from cotdrift.shelf import collect
from cotdrift.trend import Trend, trend_of
from cotdrift.usage import A_PROMPT, collect_uses
from cotdrift.values import WHO, Values
from cotdrift.wordcount import Said

if TYPE_CHECKING:
    from cotdrift.costs import Cost
    from cotdrift.monitor import Watch
    from cotdrift.monitorability import Monitorability
    from cotdrift.trace import Trace

Against = Literal["start", "human", "answers"]


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


class Study(Sensed):
    """A folder with a corpus, measurements and word counts; each grows by what is missing, and is never half written."""

    def __init__(self, folder: Path | str) -> None:
        super().__init__(folder)
        self.measurements = Measurements(self.folder / "measurements")

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
        with progress("reading") as step:
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
        with progress("measuring") as step:
            return measure_corpus(self.corpus, self.measures(*names).values(), self.measurements, threads=os.cpu_count() or 1, done=step)

    def check(self, trends: Sequence[Trend] = (), *, seed: int = 0) -> Serving:
        """What speaks against the server that the traces come from. `trends` say what begins to move where a setting changed."""
        self.chosen()
        with progress("checking the server") as step:
            return check_serving(self.corpus, trends, seed=seed, done=step)

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
        return trends if "judges" not in values.frame.columns else [self._judged(trend, values, environment, seed) for trend in trends]

    def monitorability(self, watch: Watch, *, run: str | None = None, seed: int = 0) -> list[Monitorability]:
        """What each monitor is worth over the steps of each run: an entry a run and monitor."""
        return watching.monitorability_of(self, watch, run=run, seed=seed)

    def costs(self, watch: Watch, *, run: str | None = None, seed: int = 0) -> list[Cost]:
        """Which drift goes with the errors of each monitor: an entry a run, monitor, measure and kind; none for an intervention."""
        return watching.costs_of(self, watch, run=run, seed=seed)

    def word_distance(self, *, run: str | None = None, seed: int = 0) -> list[Trend]:
        """How far the words of each checkpoint are from those of its run's first one, on shared prompts; a run of one has no trend."""
        self.count_words()
        found = []
        for name, checkpoints in self.chosen(run).items():
            first, *others = [self._counts(checkpoint, "reasoning", (), None) for checkpoint in checkpoints]
            parts = [
                words_apart(first, other).with_columns(step=pl.lit(at.step, pl.Int64))
                for at, other in zip(checkpoints[1:], others, strict=True)
            ]
            if not any(part.height for part in parts):
                continue
            every = pl.concat(parts)
            at_first = every.unique(["environment", "prompt_id"], maintain_order=True).with_columns(
                step=pl.lit(checkpoints[0].step, pl.Int64), value=pl.lit(0.0)
            )
            found.append(
                trend_of(pl.concat([at_first, every]), run=name, measure="word_distance", unit="share of words", version=1, seed=seed)
            )
        return found

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

    def sense_pairs(
        self, term: str, *, run: str, pairs: int, environment: str | None = None, a_prompt: int = A_PROMPT, seed: int = 0
    ) -> Path:
        """Draw pairs of a term's uses, within the run's first checkpoint, within its last and across; the study that holds them.

        `Study(that).grade("same_sense", judges=…)` puts them to judges, `cotdrift label` to people; the same seed draws the same pairs.
        """
        checkpoints, wanted = self.chosen(run)[run], Term.parse(term)
        first, last = _before(checkpoints[-1], checkpoints), checkpoints[-1]
        [early], [late] = (collect_uses(each, [wanted], environment=environment, a_prompt=a_prompt) for each in (first, last))
        drawn = draw_pairs(early, late, pairs=pairs, seed=seed)
        rows = rows_of(drawn, run=run, term=wanted.text, first_step=first.step, last_step=last.step)
        held = Study.make(self.folder / PAIRS)
        held.ingest([pl.DataFrame(rows)])
        return held.folder

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


def _version() -> str:
    from importlib.metadata import version  # reads the installed packages: not worth it before it is asked for

    return version("cotdrift")
