"""A draw: the cases that a person is asked about, in which order, and the chance that each had to be among them.

Cases are drawn by strata, without replacement, in an order that a hash of the seed and of the trace's id gives: the same seed draws the
same cases, and a larger draw holds the smaller one. The chance is exact; what is estimated from labels is weighted by its inverse.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from math import sqrt
from typing import Literal

import polars as pl
from msgspec import Struct

from cotdrift.corpus import Corpus
from cotdrift.errors import InputError, NotEnough
from cotdrift.grader import Grader
from cotdrift.seen import places
from cotdrift.trace import Trace

How = Literal["stratified", "random", "active"]
JUDGED = ("transcript_id", "judge", "value")
"""The columns that a frame of judgments has; `quote` may stand beside them."""

APART = 20
"""Cases that lie between a case and its repeat; a third of all, where that is fewer."""
NEAR = 0.2
"""How far from the middle of the answers a judgment is near the threshold, where all answers lie between 0 and 1."""
GUESSED = {"judges disagree": 0.5, "near the threshold": 0.5, "bad": 0.7, "not judged": 0.2, "good": 0.03}
"""The share that people will find bad of what judges found so, for want of anything known: it moves the precision, never the estimate."""


class Case(Struct, frozen=True, kw_only=True):
    """One thing to answer: a trace, or one window or use of a term in it."""

    transcript_id: str
    start: int
    """Where the window or the use begins, in characters of the reasoning, or of the record where that is shown."""
    end: int
    probability: float
    """The chance that this trace, and of its windows this one, had of being drawn for this annotator."""
    repeat: bool = False
    """Whether it is asked for the second time, to hold the annotator against themselves."""
    quote: str = ""
    """What judges quoted, to be highlighted; empty where a person is to look with fresh eyes."""


class Design(Struct, frozen=True, kw_only=True):
    """How cases are drawn."""

    annotator: str
    sample: How = "stratified"
    """`stratified` takes as many from each checkpoint, `random` from all alike, `active` more where judges found something or disagree."""
    limit: int = 200
    """How many traces; repeats come on top."""
    common: float = 0.25
    """The share of them that all annotators are asked about."""
    repeated: float = 0.05
    """The share of them that comes a second time."""
    seed: int = 0
    quotes: bool = False
    """Whether what judges quoted is highlighted."""


def draw(corpus: Corpus, grader: Grader, design: Design, *, judgments: pl.DataFrame | None = None) -> list[Case]:
    """The cases for one annotator, in the order in which they are asked.

    `judgments` has a row a judgment: transcript_id, judge, value, and with `quotes` a quote. Reasoning that cannot be read is left out, and
    where uses of terms are asked about, traces without any.
    """
    strata = _strata(_readable(corpus, grader), grader, design, _checked(judgments))
    if not strata:
        raise NotEnough(f"There is no trace of which {grader.name!r} could be asked: its reasoning must be there, and raw.")
    chance = _drawn(strata, design)
    traces = {trace.transcript_id: trace for trace in corpus.traces(*chance)}
    quotes = _quotes(judgments) if design.quotes and judgments is not None else {}
    cases = [_case(grader, traces[name], chance[name], design.seed, quotes.get(name, "")) for name in _ordered(chance, design)]
    return _with_repeats(cases, design)


def seats(sizes: Mapping[str, int], weights: Mapping[str, float]) -> Iterator[str]:
    """The strata in the order in which they get one case more: first each one, then by weight (highest averages), as far as they have any.

    >>> Counter(islice(seats({"early": 50, "late": 3}, {"early": 1, "late": 1}), 10))
    Counter({'early': 7, 'late': 3})
    """
    given: Counter[str] = Counter(sizes.keys())
    yield from sizes
    for _ in range(sum(sizes.values()) - len(sizes)):
        chosen = max((name for name in sizes if given[name] < sizes[name]), key=lambda name: weights[name] / (2 * given[name] + 1))
        given[chosen] += 1
        yield chosen


def _drawn(strata: Mapping[str, Sequence[str]], design: Design) -> dict[str, float]:
    """The traces drawn, each with its chance: those that are common to all annotators, and of the rest this annotator's own."""
    sizes = {name: len(strata[name]) for name in sorted(strata, key=lambda name: _number(design.seed, "stratum", name))}
    many = min(design.limit, sum(sizes.values()))
    if many < len(sizes):
        raise InputError(
            f"--limit {design.limit}: there are {len(sizes)} strata, and each must have a case. Give as many or more, or --sample random."
        )
    order = list(islice(seats(sizes, _weights(sizes, design.sample)), many))
    shared, whole = Counter(order[: round(design.common * many)]), Counter(order)
    chance: dict[str, float] = {}
    for name, ids in strata.items():
        everyone = sorted(ids, key=lambda one: _number(design.seed, "common", one))
        together, others = everyone[: shared[name]], everyone[shared[name] :]
        own = sorted(others, key=lambda one: _number(design.seed, "own", design.annotator, one))
        chance |= dict.fromkeys(together + own[: whole[name] - shared[name]], whole[name] / sizes[name])
    return chance


def _weights(sizes: Mapping[str, int], sample: How) -> Mapping[str, float]:
    """How much of the draw each stratum gets; active sampling halves it between Neyman's allocation and equal parts.

    The first is the best for a rate over all traces, the second for learning what judges get wrong; so neither takes more than twice the
    cases that it would need alone.
    """
    if sample != "active":
        return dict.fromkeys(sizes, 1.0)
    spread = {name: size * sqrt(GUESSED[name] * (1 - GUESSED[name])) for name, size in sizes.items()}
    return {name: spread[name] / sum(spread.values()) + 1 / len(sizes) for name in sizes}


def _readable(corpus: Corpus, grader: Grader) -> pl.DataFrame:
    rows = corpus.scan().select("transcript_id", "run", "step", "reasoning_kind")
    if grader.reads_reasoning:
        rows = rows.filter(pl.col("reasoning_kind") == "raw")
    found = rows.sort("transcript_id").collect()
    if grader.around is None:
        return found
    with_uses = [trace.transcript_id for trace in corpus.traces(*found["transcript_id"]) if places(grader, trace)]
    return found.filter(pl.col("transcript_id").is_in(with_uses))


def _strata(rows: pl.DataFrame, grader: Grader, design: Design, judgments: pl.DataFrame | None) -> dict[str, list[str]]:
    if design.sample == "active":
        if judgments is None:
            raise InputError("--sample active looks at what judges said, and nothing was given. Give --judgments FILE.")
        rows = rows.join(found_by_judges(judgments, grader), on="transcript_id", how="left")
        names = pl.col("found").fill_null("not judged")
    elif design.sample == "stratified":
        names = pl.format("{} at {}", "run", "step")
    else:
        names = pl.lit("all")
    grouped = rows.with_columns(stratum=names).group_by("stratum", maintain_order=True).agg("transcript_id")
    return {str(name): ids for name, ids in grouped.iter_rows()}


def found_by_judges(judgments: pl.DataFrame, grader: Grader) -> pl.DataFrame:
    """What judges found in each trace: transcript_id, and found (`judges disagree`, `near the threshold`, `bad` or `good`).

    Of a trace's windows each judge's worst one counts. Bad is the half of the answers that the grader calls worse.
    """
    values = [answer.value for answer in grader.answers if answer.value is not None]
    if len(values) < len(grader.answers) or len(set(values)) < 2:
        raise InputError(f"--sample active needs answers that count as numbers, and {grader.name!r} has others. Give --sample random.")
    lowest, highest = min(values), max(values)
    bad = (pl.col("value").cast(pl.Float64) - lowest) / (highest - lowest)
    bad = bad if grader.worse == "high" else 1 - bad
    each = judgments.drop_nulls("value").group_by("transcript_id", "judge").agg(bad=bad.max())
    of_trace = each.group_by("transcript_id").agg(mildest=pl.col("bad").min(), worst=pl.col("bad").max(), mean=pl.col("bad").mean())
    found = (
        pl.when((pl.col("mildest") < 0.5) & (pl.col("worst") >= 0.5))
        .then(pl.lit("judges disagree"))
        .when((pl.col("mean") - 0.5).abs() < NEAR)
        .then(pl.lit("near the threshold"))
        .when(pl.col("mean") >= 0.5)
        .then(pl.lit("bad"))
        .otherwise(pl.lit("good"))
    )
    return of_trace.select("transcript_id", found=found).sort("transcript_id")


def _checked(judgments: pl.DataFrame | None) -> pl.DataFrame | None:
    lacking = [name for name in JUDGED if judgments is not None and name not in judgments.columns]
    if lacking:
        raise InputError(f"The judgments have no column {lacking[0]!r}. They need: {', '.join(JUDGED)}.")
    return judgments


def _quotes(judgments: pl.DataFrame) -> dict[str, str]:
    if "quote" not in judgments.columns:
        raise InputError("The judgments have no column 'quote', so there is nothing to highlight. Leave --show-quotes out.")
    quoted = judgments.filter(pl.col("quote").fill_null("") != "")
    longest = quoted.sort(pl.col("quote").str.len_chars(), "quote", descending=True).unique("transcript_id", keep="first")
    return dict(longest.select("transcript_id", "quote").iter_rows())


def _case(grader: Grader, trace: Trace, chance: float, seed: int, quote: str) -> Case:
    parts = places(grader, trace)
    part = parts[_number(seed, "window", trace.transcript_id) % len(parts)]
    return Case(transcript_id=trace.transcript_id, start=part.start, end=part.end, probability=chance / len(parts), quote=quote)


def _ordered(ids: Mapping[str, float], design: Design) -> list[str]:
    return sorted(ids, key=lambda one: _number(design.seed, "order", design.annotator, one))


def _with_repeats(cases: list[Case], design: Design) -> list[Case]:
    """The cases, and some of them again, at a random place well after the first time."""
    apart = min(APART, len(cases) // 3)
    could = sorted(range(len(cases) - apart), key=lambda place: _number(design.seed, "again", design.annotator, cases[place].transcript_id))
    places = [(float(place), case) for place, case in enumerate(cases)]
    for place in could[: round(design.repeated * len(cases))]:
        case = cases[place]
        share = _number(design.seed, "when", design.annotator, case.transcript_id) / 2**64
        again = Case(
            transcript_id=case.transcript_id,
            start=case.start,
            end=case.end,
            probability=case.probability,
            repeat=True,
            quote=case.quote,
        )
        places.append((place + apart + share * (len(cases) - place - apart), again))
    return [case for _, case in sorted(places, key=lambda pair: pair[0])]


def _number(*told: object) -> int:
    """A number from 0 up to 2**64 that looks random and is the same everywhere."""
    return int.from_bytes(hashlib.sha256("\0".join(map(str, told)).encode()).digest()[:8])
