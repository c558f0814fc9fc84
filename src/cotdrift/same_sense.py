"""Pairs of uses of a term: how far they mean the same, as judges and people say, within checkpoints and across.

DURel's contrast (Schlechtweg et al., 2018): pairs of one use at the first checkpoint and one at the last, held against pairs within each.
What they mean less the same, on a scale from 1 to 4, is how far the sense moved. The pairs lie as traces in a study of their own inside the
study's folder, with nothing that says where they are from, so that every judge and the labelling page can be asked about them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import polars as pl
from msgspec import Struct

from cotdrift.corpus import Corpus
from cotdrift.errors import NotEnough
from cotdrift.estimate import Contrast, Floats, bootstrap
from cotdrift.seen import MARKS, UNMARKED
from cotdrift.usage import Use, Window, fingerprint

FOLDER, GRADER = "pairs", "same_sense"
Kind = Literal["early", "late", "across"]
KINDS: tuple[Kind, ...] = ("early", "late", "across")
LEAST_PAIRS = 10
"""Of each kind, judged by one rater."""
RESAMPLES = 2000
TRIES = 50


class Compared(Struct, frozen=True, kw_only=True):
    """What one rater, or several together, made of the pairs of a term."""

    run: str
    term: str
    first_step: int
    last_step: int
    rater: str
    """A judge's name, an annotator's, or `people` for the mean of several."""
    early: float
    """The mean, from 1 (unrelated) to 4 (identical), of pairs within the first checkpoint."""
    late: float
    across: float
    moved: Contrast
    """Across less the mean of the two within: below nought where the sense moved. `traces` are pairs, with prompts resampled."""
    undecided: int
    """Pairs of which this rater could not say it."""


def draw_pairs(early: Sequence[Use], late: Sequence[Use], *, pairs: int, seed: int = 0) -> list[tuple[Kind, Use, Use]]:
    """A third of the pairs of each kind, each of two prompts, every use as often as any other, the two in an order by chance."""
    rng = np.random.default_rng(seed)
    found = []
    for kind, ones, others in (("early", early, early), ("late", late, late), ("across", early, late)):
        if len({use.prompt for use in ones} | {use.prompt for use in others}) < 2:
            raise NotEnough("A pair is of uses in answer to two prompts, and there are not two at both checkpoints. Choose another term.")
        made = _drawn(ones, others, rng, pairs // len(KINDS))
        found += [(kind, *((one, other) if rng.random() < 0.5 else (other, one))) for one, other in made]
    return [found[at] for at in rng.permutation(len(found))]


def _drawn(ones: Sequence[Use], others: Sequence[Use], rng: np.random.Generator, many: int) -> list[tuple[Use, Use]]:
    known: dict[frozenset[str], tuple[Use, Use]] = {}
    for _ in range(TRIES):
        left, right = rng.permutation(len(ones)), rng.permutation(len(others))
        for at, to in zip(left, right, strict=False):
            one, other = ones[at], others[to]
            key = frozenset((f"{one.transcript_id} {one.start}", f"{other.transcript_id} {other.start}"))
            if one.prompt != other.prompt and len(known) < many:
                known.setdefault(key, (one, other))
        if len(known) == many:
            break
    return list(known.values())


def rows_of(drawn: Sequence[tuple[Kind, Use, Use]], *, run: str, term: str, first_step: int, last_step: int) -> list[dict[str, Any]]:
    """The pairs as records of traces. What would tell where a use is from stays out of all that is shown."""
    rows = []
    for kind, one, other in drawn:
        shown = "\n\n".join(f"[{place} passage]\n{_shown(use.window)}" for place, use in (("First", one), ("Second", other)))
        told = {"kind": kind, "of_run": run, "term": term, "first_step": first_step, "last_step": last_step}
        rows.append(
            {
                "run": "pairs",
                "step": 0,
                "environment": "pairs of uses",
                "prompt_id": fingerprint(run, term, kind, one.transcript_id, one.start, other.transcript_id, other.start),
                "prompt": shown,
                "answer": "",
                **told,
                "first_prompt": "\0".join(one.prompt),
                "second_prompt": "\0".join(other.prompt),
            }
        )
    return rows


def _shown(window: Window) -> str:
    before, after = window.text[: window.start].translate(UNMARKED), window.text[window.end :].translate(UNMARKED)
    return f"{before}{MARKS[0]}{window.term}{MARKS[1]}{after}"


def compared(corpus: Corpus, judgments: pl.DataFrame, labels: pl.DataFrame, *, seed: int = 0) -> list[Compared]:
    """The contrast for each run and term, by each judge, and by people: each by themselves and, where several, together."""
    names = ("kind", "of_run", "term", "first_step", "last_step", "first_prompt", "second_prompt")
    told = [pl.col("extra").str.json_path_match(f"$.{name}").alias(name) for name in names]
    pairs = corpus.scan().select("transcript_id", *told).collect()
    return [
        one
        for (run, term, first, last), of_term in sorted(
            pairs.group_by("of_run", "term", "first_step", "last_step"), key=lambda made: str(made[0])
        )
        for rater, answers in _by_rater(judgments, labels)
        if (
            one := _compared(of_term.join(answers, on="transcript_id"), (str(run), str(term), int(str(first)), int(str(last))), rater, seed)
        )
    ]


def _by_rater(judgments: pl.DataFrame, labels: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    first = judgments.filter((pl.col("repeat") == 0) & pl.col("label").is_not_null())
    for (judge,), said in sorted(first.group_by("judge"), key=lambda named: str(named[0])):
        yield str(judge), said.select("transcript_id", "value")
    given = labels.filter(~pl.col("repeat")).select("transcript_id", "annotator", "value")
    for (annotator,), said in sorted(given.group_by("annotator"), key=lambda named: str(named[0])):
        yield str(annotator), said.select("transcript_id", "value")
    if given["annotator"].n_unique() > 1:
        yield "people", given.group_by("transcript_id").agg(pl.col("value").mean())


def _compared(pairs: pl.DataFrame, of: tuple[str, str, int, int], rater: str, seed: int) -> Compared | None:
    decided = pairs.filter(pl.col("value").is_not_null())
    counts = {kind: decided.filter(pl.col("kind") == kind).height for kind in KINDS}
    if min(counts.values()) < LEAST_PAIRS:
        return None
    means = {kind: float(decided.filter(pl.col("kind") == kind)["value"].to_numpy().mean()) for kind in KINDS}
    run, term, first, last = of
    return Compared(
        run=run,
        term=term,
        first_step=first,
        last_step=last,
        rater=rater,
        **means,
        moved=contrast_of(decided, seed=seed),
        undecided=pairs.height - decided.height,
    )


def contrast_of(pairs: pl.DataFrame, *, seed: int = 0) -> Contrast:
    """Across less the mean of the two within; `pairs` has kind, value, first_prompt and second_prompt.

    A pair is drawn as often as both of its prompts together: prompts are what is resampled.
    """
    names = pl.concat([pairs["first_prompt"], pairs["second_prompt"]]).unique().sort().to_list()
    place = {name: at for at, name in enumerate(names)}
    one, other = (np.array([place[name] for name in pairs[column]], np.int64) for column in ("first_prompt", "second_prompt"))
    values = pairs["value"].to_numpy().astype(np.float64)
    of_kind = {kind: (pairs["kind"] == kind).to_numpy() for kind in KINDS}

    def statistic(weights: Floats) -> Floats:
        both = weights[:, one] * weights[:, other]
        means = {}
        for kind, here in of_kind.items():
            under = both[:, here].sum(axis=1)
            means[kind] = np.divide(both[:, here] @ values[here], under, out=np.full(len(under), np.nan), where=under > 0)
        made: Floats = means["across"] - (means["early"] + means["late"]) / 2
        return made

    value = float(statistic(np.ones((1, len(names))))[0])
    drawn = bootstrap(len(names), statistic, resamples=RESAMPLES, seed=seed)
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    method = "across less the mean of within; prompts resampled, a pair as often as both of its prompts"
    return Contrast(
        value=value, low=min(float(low), value), high=max(float(high), value), traces=pairs.height, prompts=len(names), method=method
    )
