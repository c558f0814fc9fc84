"""Term sense: what a term stands among at each checkpoint of a run, held against the run's first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
import polars as pl
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray

from cotdrift.comparisons.energy import LEAST_PROMPTS, Cloud, Prompt, halves, held_against
from cotdrift.comparisons.semantic import Apart, Donor, apart
from cotdrift.corpus import Checkpoint, whole_file
from cotdrift.encoders import Encoder
from cotdrift.errors import NotEnough
from cotdrift.estimate import Floats, benjamini_hochberg
from cotdrift.measures.function_words import FUNCTION_WORDS
from cotdrift.seen import drawn
from cotdrift.term import Term
from cotdrift.usage import A_PROMPT, Use, Window, collect_uses, corpus_name, fingerprint
from cotdrift.vectors import Kept
from cotdrift.wordcount import WordCounts

MOST_PROMPTS = 200
"""Of a term the uses in answer to so many prompts are looked at, the same ones at every checkpoint wherever they use it."""
DONORS = 10
BESIDE = 60
"""Of donors and controls one use is looked at in answer to each of so many prompts."""
CONTROLS = 5
"""Function words: what moves them as well is no change of one term's sense."""
QUOTED = 4
"""How many uses of each kind are quoted."""
SAME_STEM = 4
"""Words that begin with as many of the same letters may be forms of one word, and are no donors."""
FOLDER = "senses"


class Quoted(Struct, frozen=True, kw_only=True):
    """A use, with how near it is to what the term stood among at the first checkpoint."""

    transcript_id: str
    step: int
    before: str
    hit: str
    after: str
    near: float
    """The cosine with the mean of the first checkpoint's uses in answer to other prompts."""


class Point(Struct, frozen=True, kw_only=True):
    """One checkpoint."""

    step: int
    uses: int
    """That are looked at, before any are left out for want of a partner."""
    prompts: int
    apart: Apart | None = None
    note: str = ""
    """Why nothing is compared."""


class Control(Struct, frozen=True, kw_only=True):
    """A function word at the last checkpoint at which the term could be compared, against the first."""

    word: str
    energy: float
    p: float


class Sense(Struct, frozen=True, kw_only=True):
    """What a run made of a term."""

    run: str
    term: str
    environment: str | None
    encoder: str
    encoder_sha: str
    first_step: int
    points: tuple[Point, ...]
    """Every later checkpoint, in training order."""
    donors: tuple[Donor, ...]
    halves: float | None
    """How far random halves of the first checkpoint's prompts are apart in 19 of 20 draws, at most; None with too few prompts."""
    controls: tuple[Control, ...]
    nearest_early: tuple[Quoted, ...]
    strangest_early: tuple[Quoted, ...]
    nearest_late: tuple[Quoted, ...]
    strangest_late: tuple[Quoted, ...]
    unseen: int = 0
    """Uses of which the encoder sees nothing."""
    corpus: str = ""
    """A fingerprint of the checkpoints that it was read off."""

    @property
    def quoted(self) -> tuple[Quoted, ...]:
        """Every use that is quoted."""
        return (*self.nearest_early, *self.strangest_early, *self.nearest_late, *self.strangest_late)

    @property
    def last(self) -> Apart | None:
        """The last checkpoint that could be compared."""
        return next((point.apart for point in reversed(self.points) if point.apart), None)


class Reader:
    """Collects uses and has them encoded."""

    def __init__(self, encoder: Encoder, kept: Kept, environment: str | None, a_prompt: int, done: Callable[[int], None]) -> None:
        self.encoder, self.kept, self.done = encoder, kept, done
        self.environment, self.a_prompt = environment, a_prompt

    def uses(self, checkpoint: Checkpoint, terms: Sequence[Term], first: Sequence[Sequence[Use]] = ()) -> list[list[Use]]:
        """The uses of each term that are looked at; if they are too many, of prompts that use it at the first checkpoint too."""
        found = collect_uses(checkpoint, terms, environment=self.environment, a_prompt=self.a_prompt)
        before = [{use.prompt for use in of_term} for of_term in first] or [set[Prompt]()] * len(terms)
        return [_of_some_prompts(of_term, known, MOST_PROMPTS) for of_term, known in zip(found, before, strict=True)]

    def beside(self, checkpoint: Checkpoint, terms: Sequence[Term], near: set[Prompt]) -> list[list[Use]]:
        """A use a prompt of each of these, of these prompts wherever they use it."""
        found = collect_uses(checkpoint, terms, environment=self.environment, a_prompt=1)
        return [_of_some_prompts(of_term, near, BESIDE) for of_term in found]

    def cloud(self, uses: Sequence[Use], written: str | None = None) -> tuple[list[Use], Cloud]:
        """The uses that the encoder sees, and their vectors; with `written`, of that term in the place of the word that is there."""
        windows = [_written(use.window, written) for use in uses]
        vectors = self.kept.of(self.encoder, windows, done=self.done)
        seen: NDArray[np.bool_] = np.asarray(np.isfinite(vectors).all(axis=1))
        left = [use for use, is_seen in zip(uses, seen, strict=True) if is_seen]
        return left, Cloud(vectors[seen].astype(np.float64), [use.prompt for use in left])


def sense_of(
    checkpoints: Sequence[Checkpoint],
    counts: WordCounts,
    terms: Sequence[Term],
    encoder: Encoder,
    kept: Kept,
    *,
    environment: str | None = None,
    a_prompt: int = A_PROMPT,
    seed: int = 0,
    done: Callable[[int], None] = lambda _uses: None,
) -> list[Sense]:
    """What a run made of each term. A term that its first checkpoint hardly uses has points that say so."""
    first, *later = checkpoints
    if not later:
        raise NotEnough(f"{first.run} has one checkpoint, step {first.step}: there is none to hold against it. Ingest a later one.")
    reader = Reader(encoder, kept, environment, a_prompt, done)
    told = words_of(counts, first, environment)
    at_first = reader.uses(first, terms)
    started = [reader.cloud(of_term) for of_term in at_first]
    planted = [_planted(reader, first, term, cloud, told) for term, (_, cloud) in zip(terms, started, strict=True)]
    points: list[list[Point]] = [[] for _ in terms]
    donors: list[list[Donor]] = [[] for _ in terms]
    unseen = [len(of_term) - len(uses) for of_term, (uses, _) in zip(at_first, started, strict=True)]
    ended: list[tuple[list[Use], Cloud, int]] = []
    compared_at = [later[-1]] * len(terms)
    for checkpoint in later:
        found = reader.uses(checkpoint, terms, at_first)
        ended = []
        for number, (of_term, (_, cloud)) in enumerate(zip(found, started, strict=True)):
            uses, here = reader.cloud(of_term)
            unseen[number] += len(of_term) - len(uses)
            made = apart(cloud, here, donors=planted[number], seed=seed)
            if made:
                donors[number], compared_at[number] = made[1], checkpoint
            points[number].append(_point(checkpoint.step, cloud, here, made[0] if made else None))
            ended.append((uses, here, checkpoint.step))
    controls = {step: _controls(reader, told, first, at, seed) for step, at in {at.step: at for at in compared_at}.items()}
    corpus = corpus_name(checkpoints)
    return [
        Sense(
            run=first.run,
            term=term.text,
            environment=environment,
            encoder=encoder.name,
            encoder_sha=encoder.sha,
            first_step=first.step,
            points=of_term,
            donors=tuple(planted_as),
            halves=_halves(cloud, seed),
            controls=tuple(control for control in controls[at.step] if control.word != term.text),
            **_quoted((uses, cloud, first.step), late),
            unseen=lost,
            corpus=corpus,
        )
        for term, of_term, planted_as, (uses, cloud), late, lost, at in zip(
            terms, _adjusted(points), donors, started, ended, unseen, compared_at, strict=True
        )
    ]


def words_of(counts: WordCounts, checkpoint: Checkpoint, environment: str | None) -> pl.DataFrame:
    """word, prompts (how many use it) and n, at one checkpoint."""
    said, _ = counts.tables(checkpoint)
    here = said if environment is None else said.filter(pl.col("environment") == environment)
    return here.group_by(pl.col("word").cast(pl.String)).agg(prompts=pl.len(), n=pl.col("n").sum())


def donors_for(term: Term, words: pl.DataFrame, *, many: int = DONORS) -> list[str]:
    """Words that are about as frequent as a term at the first checkpoint, as `words_of` has them.

    None is a form of it, and function words are held against function words alone.
    """
    own = {word.lower() for word in term.words}
    is_small = own <= FUNCTION_WORDS
    said = words.filter(pl.col("word").is_in(list(own)))["n"].to_list()
    stem = "".join(term.words[:1]).lower()[:SAME_STEM]
    could = words.filter((pl.col("prompts") >= LEAST_PROMPTS) & ~pl.col("word").is_in(list(own)) & ~pl.col("word").str.starts_with(stem))
    could = could.filter(pl.col("word").is_in(list(FUNCTION_WORDS)) == is_small)
    ordered = could.with_columns(apart=(pl.col("n").log() - float(np.log(min(said, default=1)))).abs()).sort("apart", "word")
    return ordered["word"].head(many).to_list()


def _planted(reader: Reader, first: Checkpoint, term: Term, own: Cloud, words: pl.DataFrame) -> dict[str, Cloud]:
    """Uses of other words at the first checkpoint, with the term in their place; none where the term cannot be compared."""
    if len(set(own.prompts)) < LEAST_PROMPTS:
        return {}
    donors = donors_for(term, words)
    found = reader.beside(first, [Term.parse(word) for word in donors], set(own.prompts))
    return {word: reader.cloud(of_word, term.text)[1] for word, of_word in zip(donors, found, strict=True)}


def _of_some_prompts(uses: Sequence[Use], before: set[Prompt], many: int) -> list[Use]:
    prompts = sorted({use.prompt for use in uses}, key=lambda prompt: (prompt not in before, drawn("prompt", *prompt)))
    kept = set(prompts[:many])
    return [use for use in uses if use.prompt in kept]


def _written(window: Window, term: str | None) -> Window:
    return window if term is None else window.with_term(term)


def _point(step: int, first: Cloud, here: Cloud, found: Apart | None) -> Point:
    prompts = len(set(here.prompts))
    note = ""
    if found is None:
        fewest = min((len(set(cloud.prompts)), when) for cloud, when in ((first, "the first checkpoint"), (here, "this one")))
        note = f"{fewest[0]} prompts use it at {fewest[1]}; {LEAST_PROMPTS} are needed, in environments that both have."
    return Point(step=step, uses=len(here.prompts), prompts=prompts, apart=found, note=note)


def _adjusted(points: Sequence[Sequence[Point]]) -> list[tuple[Point, ...]]:
    """With p adjusted over the terms, checkpoint by checkpoint."""
    steps = []
    for of_step in zip(*points, strict=True):
        p = benjamini_hochberg([point.apart.p if point.apart else None for point in of_step])
        steps.append(
            [
                replace(point, apart=replace(point.apart, p_adjusted=value)) if point.apart else point
                for point, value in zip(of_step, p, strict=True)
            ]
        )
    return [tuple(of_term) for of_term in zip(*steps, strict=True)]


def _controls(reader: Reader, words: pl.DataFrame, first: Checkpoint, last: Checkpoint, seed: int) -> list[Control]:
    often = words.filter(pl.col("word").is_in(list(FUNCTION_WORDS))).sort("prompts", "word", descending=[True, False])["word"]
    terms = [Term.parse(word) for word in often.head(CONTROLS)]
    found = []
    for term in terms:
        [before] = reader.beside(first, [term], set())
        [after] = reader.beside(last, [term], {use.prompt for use in before})
        sides = held_against(reader.cloud(before)[1], reader.cloud(after)[1])
        if sides is not None:
            found.append(Control(word=term.text, energy=sides.energy(), p=sides.p(draws=1999, seed=seed)))
    return found


def _halves(cloud: Cloud, seed: int) -> float | None:
    if len(set(cloud.prompts)) < 2 * LEAST_PROMPTS:
        return None
    return float(np.quantile(halves(cloud, seed=seed), 0.95))


def _quoted(early: tuple[list[Use], Cloud, int], late: tuple[list[Use], Cloud, int]) -> Mapping[str, tuple[Quoted, ...]]:
    """The uses nearest to how the first checkpoint used the term, and those strangest to it, of either end."""
    sums: dict[Prompt, Floats] = {}
    for prompt, vector in zip(early[1].prompts, early[1].vectors, strict=True):
        sums[prompt] = sums[prompt] + vector if prompt in sums else vector
    whole, nothing = early[1].vectors.sum(axis=0), np.zeros(early[1].vectors.shape[1])
    found: dict[str, tuple[Quoted, ...]] = {}
    for name, (uses, cloud, step) in (("early", early), ("late", late)):
        near = []
        for prompt, vector in zip(cloud.prompts, cloud.vectors, strict=True):
            rest = whole - sums.get(prompt, nothing)  # a use is not near for being in answer to the same prompt
            long = float(np.linalg.norm(rest))
            near.append(float(vector @ rest) / long if long else 0.0)
        order = sorted(range(len(near)), key=lambda at: -near[at])
        quoted = [_quote(uses[at], step, near[at]) for at in order]
        found[f"nearest_{name}"], found[f"strangest_{name}"] = tuple(quoted[:QUOTED]), tuple(quoted[::-1][:QUOTED])
    return found


def _quote(use: Use, step: int, near: float) -> Quoted:
    window = use.window
    return Quoted(
        transcript_id=use.transcript_id,
        step=step,
        before=window.text[: window.start],
        hit=window.term,
        after=window.text[window.end :],
        near=near,
    )


def keep(folder: Path, senses: Iterable[Sense]) -> None:
    """Put these into a study's folder, each in the place of the one of the same run, term, environment and encoder."""
    for sense in senses:
        name = fingerprint(sense.run, sense.term, sense.environment, sense.encoder_sha)
        with whole_file(folder / FOLDER / f"{name}.json") as path:
            path.write_bytes(msgspec.json.format(msgspec.json.encode(sense)))


def kept_in(folder: Path, runs: Mapping[str, Sequence[Checkpoint]]) -> tuple[list[Sense], list[str]]:
    """What was measured of terms, and which of it no longer fits the study, in words."""
    found, stale = [], []
    for path in sorted((folder / FOLDER).glob("*.json")):
        sense = msgspec.json.decode(path.read_bytes(), type=Sense)
        if sense.run in runs and corpus_name(runs[sense.run]) == sense.corpus:
            found.append(sense)
        else:
            stale.append(f"{sense.term!r} of {sense.run}")
    return sorted(found, key=lambda sense: (sense.run, sense.term, sense.encoder, sense.environment or "")), stale
