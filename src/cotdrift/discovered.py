"""Which words of a run came to stand among other words: the whole vocabulary of its last checkpoint held against that of its first."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import polars as pl
from msgspec import Struct

from cotdrift.comparisons.neighbours import LEAST_USES, MOST_WORDS, Moved, Nearness, moved_neighbours, near_each_other
from cotdrift.corpus import Checkpoint
from cotdrift.errors import NotEnough
from cotdrift.estimate import Ints
from cotdrift.tokens import Batch, Tokens, Vocabulary

Spoken = dict[tuple[str, str], list[Tokens]]


class Discovered(Struct, frozen=True, kw_only=True):
    """What was found in one run."""

    run: str
    first_step: int
    last_step: int
    vocabulary: int
    """How many words were compared: those used fifty times at both checkpoints, on the prompts that both answered."""
    words: tuple[Moved, ...]
    """The surest first."""


def discovered(checkpoints: Sequence[Checkpoint], *, environment: str | None = None, seed: int = 0) -> Discovered:
    """Hold the neighbours of every word at the last checkpoint against those at the first."""
    first, last = checkpoints[0], checkpoints[-1]
    if first is last:
        raise NotEnough(f"{first.run} has one checkpoint, step {first.step}: there is none to hold against it. Ingest a later one.")
    known = Vocabulary()
    sides = [_spoken(each, known, environment) for each in (first, last)]
    shared = sorted(set(sides[0]) & set(sides[1]))
    words = known.words
    uses = [_counts([tokens for prompt in shared for tokens in side[prompt]], len(words)) for side in sides]
    fewer = np.minimum(*uses)
    often = np.flatnonzero(fewer >= LEAST_USES)
    chosen = np.sort(often[np.argsort(-fewer[often], kind="stable")][:MOST_WORDS])
    place = np.full(len(words), -1)
    place[chosen] = np.arange(len(chosen))
    one, other = ({prompt: _near(side[prompt], place, len(chosen)) for prompt in shared} for side in sides)
    found = moved_neighbours(one, other, [words[at] for at in chosen], (uses[0][chosen], uses[1][chosen]), seed=seed)
    return Discovered(run=first.run, first_step=first.step, last_step=last.step, vocabulary=len(chosen), words=tuple(found))


def _spoken(checkpoint: Checkpoint, known: Vocabulary, environment: str | None) -> Spoken:
    """The words of each prompt's raw reasoning."""
    found: Spoken = defaultdict(list)
    for rows in checkpoint.batches(["task_set", "task_id", "reasoning_kind", "reasoning"]):
        raw = rows.filter(pl.col("reasoning_kind") == "raw")
        raw = raw if environment is None else raw.filter(pl.col("task_set") == environment)
        for (task_set, task_id), texts in raw.group_by("task_set", "task_id", maintain_order=True):
            found[str(task_set), str(task_id)].append(_without_loops(Batch(texts["reasoning"], vocabulary=known)))
    return found


def _without_loops(batch: Batch) -> Tokens:
    """The words outside loops: what is said a hundred times over has no more neighbours than what is said once."""
    kept = ~batch.looped
    offsets = np.concatenate(([0], np.cumsum(batch.sums(kept))))
    told = batch.tokens
    return Tokens(told.known, told.ids[kept], offsets, told.starts[kept], told.ends[kept])


def _counts(spoken: Sequence[Tokens], size: int) -> Ints:
    counts = np.zeros(size, np.int64)
    for tokens in spoken:
        counts += np.bincount(tokens.ids, minlength=size)
    return counts


def _near(spoken: Sequence[Tokens], place: Ints, size: int) -> Nearness:
    first, *rest = (near_each_other(tokens.ids, tokens.offsets, place, size) for tokens in spoken)
    for one in rest:
        first = first + one
    return first
