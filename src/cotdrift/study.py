"""A study: a folder with a corpus, what was measured of it, and the report."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import msgspec
import polars as pl
from tqdm import tqdm

from cotdrift.comparisons.lexical import Term, concordance, terms, watch_list
from cotdrift.corpus import Corpus
from cotdrift.errors import InputError, NotEnough, UnknownName
from cotdrift.format import Reading
from cotdrift.formats import find_sources, identify
from cotdrift.ingest import Ingested, ingest_file, rejected_records
from cotdrift.measure import Measure
from cotdrift.measurement import Measurements, measure_corpus
from cotdrift.shelf import collect
from cotdrift.trend import Trend, trend_of
from cotdrift.wordcount import WordCounts

if TYPE_CHECKING:
    from cotdrift.trace import Trace

Against = Literal["start", "human", "answers"]


class Passage(msgspec.Struct, frozen=True, kw_only=True):
    """One use of a term, with what stands around it."""

    run: str
    step: int
    transcript_id: str
    before: str
    hit: str
    after: str


class Study:
    """A folder with a corpus, measurements and word counts; each grows by what is missing, and is never half written."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.corpus = Corpus(self.folder / "corpus")
        self.measurements = Measurements(self.folder / "measurements")
        self.word_counts = WordCounts(self.folder / "words")

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
        """The study in this folder, begun if there is none."""
        study = cls(folder)
        if not cls.is_one(folder):
            if study.folder.exists() and (not study.folder.is_dir() or any(study.folder.iterdir())):
                raise InputError(f"{folder}: this is no study, and not empty. Name a new folder, or an existing study.")
            study.folder.mkdir(parents=True, exist_ok=True)
            (study.folder / "study.json").write_bytes(msgspec.json.format(msgspec.json.encode({"cotdrift": version()})))
        return study

    @property
    def rejected(self) -> Path:
        """The file that keeps every record that could not be read."""
        return self.folder / "rejected.jsonl"

    def ingest(self, paths: Iterable[Path | str], reading: Reading | None = None) -> list[Ingested]:
        """Read files, or folders of them, into the study."""
        done = []
        with _progress("reading", unit=" traces") as step:
            for path in find_sources([Path(path) for path in paths]):
                done.append(ingest_file(self.corpus, path, identify(path), reading or Reading(), done=step))
        with _atomically(self.rejected) as unfinished, unfinished.open("wb") as kept:
            kept.writelines(rejected_records(self.corpus))
        if not self.rejected.stat().st_size:
            self.rejected.unlink()
        return done

    def measures(self, *names: str) -> dict[str, Measure]:
        """The measures of these names; all there are, if none is named."""
        known = collect("measures", Measure)
        for name in names:
            if name not in known:
                raise UnknownName("measure", name, known)
        return {name: known[name] for name in names or known}

    def measure(self, *names: str) -> int:
        """Measure every trace by what it lacks; returns how many traces were read."""
        with _progress("measuring", unit=" traces") as step:
            return measure_corpus(self.corpus, self.measures(*names).values(), self.measurements, threads=os.cpu_count() or 1, done=step)

    @property
    def runs(self) -> dict[str, list[int]]:
        """The steps of each run, in order."""
        found: dict[str, list[int]] = {}
        for run, step in self.corpus.checkpoints():
            found.setdefault(run, []).append(step)
        return found

    def _chosen(self, run: str | None) -> dict[str, list[int]]:
        runs = self.runs
        if not runs:
            raise NotEnough(f"{self.folder}: the study holds no traces. Add some: cotdrift ingest FILES --into {self.folder}")
        if run is None:
            return runs
        if run not in runs:
            raise UnknownName("run", run, runs)
        return {run: runs[run]}

    def outcomes(self) -> list[str]:
        """What the corpus knows of the behaviour of its traces."""
        return [name.removeprefix("outcome_") for name in self.corpus.scan().collect_schema().names() if name.startswith("outcome_")]

    def values(self, name: str, *, term: bool = False) -> tuple[pl.LazyFrame, str]:
        """One measure, outcome or term, a row a trace, and its unit.

        Columns: transcript_id, run, checkpoint, step, environment, prompt_id, value (null where there is none) and missing_reason; for a term
        also exposure, in million words.
        """
        who = ["transcript_id", "run", "checkpoint", "step", "environment", "prompt_id"]
        if term:
            return self._term_values(name, who), "uses per million words"
        known = self.measures()
        if name in known:
            self.measure(name)
            rows = self.measurements.scan().filter((pl.col("measure") == name) & (pl.col("version") == known[name].version))
            checkpoints = self.corpus.scan().select("transcript_id", "checkpoint")
            return rows.join(checkpoints, on="transcript_id", how="left").select(*who, "value", "missing_reason"), known[name].unit
        if name in self.outcomes():
            value = pl.col(f"outcome_{name}")
            reason = pl.when(value.is_null()).then(pl.lit("not recorded"))
            return self.corpus.scan().select(*who, value=value, missing_reason=reason), "outcome"
        raise UnknownName("measure or outcome", name, [*known, *self.outcomes()])
