"""Term sense in a study: measured by an encoder, offered by models, judged in pairs, discovered over the vocabulary; and kept."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from cotdrift.discovered import Discovered, discovered
from cotdrift.encoders import DEFAULT, encoder_called
from cotdrift.errors import InputError, NotEnough
from cotdrift.grading import Graded
from cotdrift.progress import progress
from cotdrift.same_sense import FOLDER as PAIRS
from cotdrift.same_sense import GRADER as SAME_SENSE
from cotdrift.same_sense import Compared, compared
from cotdrift.sense import Sense, keep, kept_in, sense_of
from cotdrift.substitutes import FILE as OFFERS
from cotdrift.substitutes import Offers, Substituted, substituted
from cotdrift.substitutes import keep as keep_substitutes
from cotdrift.substitutes import kept_in as substitutes_in
from cotdrift.term import Term
from cotdrift.usage import A_PROMPT
from cotdrift.vectors import Kept
from cotdrift.wordcount import WordCounts, count_corpus


class Sensed(Graded):
    """The part of a study that says what terms stand among."""

    def __init__(self, folder: Path | str) -> None:
        super().__init__(folder)
        self.word_counts = WordCounts(self.folder / "words")

    def count_words(self) -> None:
        """Count the words of every checkpoint that was not counted yet."""
        with progress("counting words") as step:
            count_corpus(self.corpus, self.word_counts, threads=os.cpu_count() or 1, done=step)

    def sense(
        self,
        *terms: str,
        run: str | None = None,
        encoder: str | Path = DEFAULT,
        environment: str | None = None,
        a_prompt: int = A_PROMPT,
        seed: int = 0,
    ) -> list[Sense]:
        """How far each term's uses at every checkpoint are from those at its run's first, by an encoder; kept for the report.

        `encoder` is what `encoders.encoder_called` takes; `a_prompt` the most uses of a prompt at a checkpoint that are looked at.
        Vectors are kept in the study, so that the same command goes on where it stopped.
        """
        if not terms:
            raise InputError("No term is named. Name one or more: study.sense('reward', 'grader').")
        runs, wanted = self.chosen(run), list(dict.fromkeys(Term.parse(term) for term in terms))
        self._check_environment(environment)
        self.count_words()
        by, vectors = encoder_called(encoder), Kept(self.folder / "vectors.sqlite")
        found, faults = [], []
        with progress("reading uses", " uses") as step:
            for checkpoints in runs.values():
                try:
                    found += sense_of(
                        checkpoints,
                        self.word_counts,
                        wanted,
                        by,
                        vectors,
                        environment=environment,
                        a_prompt=a_prompt,
                        seed=seed,
                        done=step,
                    )
                except NotEnough as fault:
                    faults.append(fault)
        if not found:
            raise faults[0]
        keep(self.folder, found)
        return found

    def discover_senses(self, *, run: str | None = None, environment: str | None = None, seed: int = 0) -> list[Discovered]:
        """Which words of each run have other neighbours at its last checkpoint than at its first, over the whole vocabulary."""
        self._check_environment(environment)
        found, faults = [], []
        for checkpoints in self.chosen(run).values():
            try:
                found.append(discovered(checkpoints, environment=environment, seed=seed))
            except NotEnough as fault:
                faults.append(fault)
        if not found:
            raise faults[0]
        return found

    def same_sense(self, *, seed: int = 0) -> list[Compared]:
        """What was answered about pairs of uses: for each run, term and rater how far the sense moved."""
        held = Graded(self.folder / PAIRS)
        if not (held.folder / "study.json").is_file():
            return []
        sha = held.judgments.graders().get(SAME_SENSE)
        judgments = held.judgments.frame(SAME_SENSE, sha=sha)
        return compared(held.corpus, judgments, held.labels(SAME_SENSE), seed=seed)

    def substitutes(self, term: str, *, model: str, run: str, environment: str | None = None, seed: int = 0, **config: Any) -> Substituted:
        """What a model, as Inspect names it, would put in a term's place at a run's first checkpoint and at its last; kept for the report.

        `config` is Inspect's for generation. What was asked already is not asked again.
        """
        with progress("asking for substitutes", " uses") as step:
            found = substituted(
                self.chosen(run)[run],
                Term.parse(term),
                model,
                Offers(self.folder / OFFERS),
                environment=environment,
                seed=seed,
                done=step,
                **config,
            )
        keep_substitutes(self.folder, found)
        return found

    def kept_substitutes(self) -> list[Substituted]:
        """What `substitutes` found and still fits the traces."""
        return substitutes_in(self.folder, self.runs)

    def senses(self) -> tuple[list[Sense], list[str]]:
        """What `sense` found and still fits the traces; and of which terms it no longer does."""
        return kept_in(self.folder, self.runs)
