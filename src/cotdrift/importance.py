"""Importance: which sentences of a chain matter, by what a checkpoint answers when it goes on without each of them and with it.

After Thought Anchors (Bogdan et al. 2025) and Thought Branches (Macar et al. 2025), with chance taken off. What is particular to the
results of the experiment `importance` stands here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple, get_args

import msgspec
import numpy as np
import polars as pl
from msgspec import Struct
from numpy.typing import NDArray

from cotdrift.answer_shift import Shift, Shrunk, shift_of, shrunk
from cotdrift.estimate import Contrast, Floats, Ints, Sums, benjamini_yekutieli, paired_difference
from cotdrift.experiments.importance_design import ENVIRONMENTS, category_of
from cotdrift.experiments.prefix_design import pattern_of
from cotdrift.text import sentences, words

ALPHA = 0.05
FEWEST = 10
"""Answers on either side, without which a sentence is not weighed."""
MOST_CATEGORIES = 8
"""The commonest answers of a chain; all others are one more category."""
REST = "all others"
EXAMPLES, MOST_QUOTED = 2, 2
"""Continuations of each side that are shown of a sentence, and of how many sentences of a chain."""
BEHAVES = "outcome_answers_so"
OPEN, FORCED = ENVIRONMENTS["open"], ENVIRONMENTS["forced"]

How = Literal["resampled", "counterfactual", "absent", "forced"]
SAID: dict[How, str] = {
    "resampled": "the sentence is said anew, whatever comes",
    "counterfactual": "it is said anew, and says something else",
    "absent": "nothing like it is said in all that follows",
    "forced": "the answer is to be given at once, without the sentence",
}
"""What answers with a sentence are held against."""

Similar = Callable[[Sequence[tuple[str, str]]], Floats]
"""How alike the texts of each pair are: 1 where they say the same."""


class Weighed(Struct, frozen=True, kw_only=True):
    """How much one sentence matters, in one way of being without it."""

    shift: Shift
    shrunk: Shrunk
    p_adjusted: float
    """By Benjamini and Yekutieli over all sentences of the study that were weighed in this way: neighbours share answers."""
    change: float
    """By how much the sentence raises the share of answers that show the behaviour, -1 to 1."""
    change_low: float
    change_high: float

    @property
    def is_clear(self) -> bool:
        """Whether it is among those found, of which no more than 5% are false."""
        return self.p_adjusted < ALPHA


class Sentence(Struct, frozen=True, kw_only=True):
    """One sentence of a chain, or a piece of several."""

    place: int
    """From 1."""
    text: str
    kind: str
    """Empty where kinds are not told apart."""
    again: float | None
    """How often it says the same when it is said anew: what is nearly always said is overdetermined. None where it was not said anew."""
    weighed: Mapping[How, Weighed]
    missing: int
    """Continuations before it and after it that were cut off before they answered."""


class Chain(Struct, frozen=True, kw_only=True):
    """A chain whose sentences were weighed."""

    run: str
    step: int
    prompt_id: str
    chain: str
    of: str
    """The trace that it is the reasoning of."""
    own: str
    """The category of that trace's answer."""
    shows: str
    """What the behaviour looks like; empty where it is the own answer again."""
    categories: Sequence[str]
    sentences: Sequence[Sentence]
    samples: int
    """Continuations at each place, at most."""
    examples: Mapping[int, tuple[Sequence[str], Sequence[str]]]
    """Of sentences by their place, transcript ids of continuations without it and with it."""

    def clear(self, how: How) -> list[Sentence]:
        """The sentences that matter clearly."""
        return [one for one in self.sentences if how in one.weighed and one.weighed[how].is_clear]


class OfKind(Struct, frozen=True, kw_only=True):
    """What the sentences of one kind come to at one checkpoint."""

    run: str
    step: int
    how: How
    kind: str
    sentences: int
    clear: int
    mean: Contrast
    """Of the divergence, chance taken off and not shrunk: its distance from nought, prompt by prompt."""
    against: Contrast | None
    """Less that of all other sentences of the same chains; None where there are none."""


class Importance(Struct, frozen=True, kw_only=True):
    """What the experiment says."""

    chains: Sequence[Chain]
    kinds: Sequence[OfKind]
    """The weightiest first, within a run, step and way; empty where kinds are not told apart."""
    answers: int
    """How many answers it took."""
    alike: float | None
    """What counts as saying something else: being less alike than this. The median over sentences and what came in their place."""

    def hows(self) -> list[How]:
        """The ways in which sentences were weighed."""
        return [how for how in get_args(How) if any(how in one.weighed for chain in self.chains for one in chain.sentences)]


class Told(Struct, frozen=True):
    """What the samples of a chain say of it."""

    of: str
    ends: tuple[int, ...]
    kinds: tuple[str, ...] = ()
    shows: str = ""
    own: str = ""
    answers: str | None = None


class _InMetadata(Struct, frozen=True):
    chain: Told


class _Extra(Struct, frozen=True):
    metadata: _InMetadata


class _Answers(NamedTuple):
    """What was said from one place of a chain."""

    ids: list[str]
    codes: Ints
    """The category of each answer; −1 where there is none."""
    behaves: Floats
    """NaN where that is not known."""
    reasoning: list[str]

    def only(self, chosen: NDArray[np.bool_]) -> _Answers:
        keep = np.flatnonzero(chosen)
        return _Answers([self.ids[at] for at in keep], self.codes[keep], self.behaves[keep], [self.reasoning[at] for at in keep])


class _Read(NamedTuple):
    """A chain as it was read, before anything is weighed."""

    run: str
    step: int
    prompt_id: str
    chain: str
    told: Told
    texts: list[str]
    categories: list[str]
    places: dict[tuple[str, int], _Answers]
    anew: list[list[str]]
    """For each sentence what stood in its place, in each continuation from before it."""


def word_cosine(pairs: Sequence[tuple[str, str]]) -> Floats:
    """How alike two texts are: the cosine of how often each says each word; two texts without any are the same.

    >>> word_cosine([("Pick even.", "pick even"), ("Pick even.", "Take the grade."), ("", "Pick.")])
    array([1., 0., 0.])
    """
    counted = {text: Counter(words(text)) for text in {text for pair in pairs for text in pair}}
    lengths = {text: float(np.sqrt(sum(many * many for many in counts.values()))) for text, counts in counted.items()}
    found = np.empty(len(pairs))
    for at, (one, other) in enumerate(pairs):
        counts, others, length = counted[one], counted[other], lengths[one] * lengths[other]
        dot = sum(many * others[word] for word, many in counts.items())
        found[at] = min(dot / length, 1.0) if length else float(counts == others)
    return found


def importance_of(frame: pl.DataFrame, wholes: Mapping[str, str], *, similar: Similar = word_cosine, seed: int = 0) -> Importance | None:
    """What the traces of the experiment say; None where there are none.

    `frame` has a row a trace: transcript_id, run, step, environment, prompt_id, condition_chain, condition_kept, answer, reasoning,
    truncated, extra, and where it is known outcome_answers_so. `wholes` has the reasoning of each chain, `similar` says which sentences
    say the same.
    """
    if not {"condition_chain", "condition_kept"} <= set(frame.columns):
        return None
    ours = frame.filter(pl.col("environment").is_in([OPEN, FORCED]) & pl.col("condition_chain").is_not_null()).sort("transcript_id")
    if not ours.height:
        return None
    if BEHAVES not in ours.columns:
        ours = ours.with_columns(pl.lit(None, pl.Float64).alias(BEHAVES))
    ours = ours.with_columns(pl.col("condition_kept").cast(pl.Int64))
    of_chain = ours.group_by("run", "step", "condition_chain", maintain_order=True)
    read = [_read(part, wholes.get(str(name), "")) for (_, _, name), part in of_chain]
    read.sort(key=lambda one: (one.run, one.step, one.prompt_id, one.chain))
    scores, alike = _likeness(read, similar)
    sides = [[_sides(one, place, scores, alike) for place in range(1, len(one.texts) + 1)] for one in read]
    weighed = _weighed(read, sides, seed)
    chains = [_chain(one, of, scores, alike) for one, of in zip(read, weighed, strict=True)]
    return Importance(chains=chains, kinds=list(_kinds(chains)), answers=ours.height, alike=alike)


def _read(part: pl.DataFrame, whole: str) -> _Read:
    first = part.row(0, named=True)
    told = msgspec.json.decode(first["extra"], type=_Extra).metadata.chain
    pattern, shows = pattern_of("answers", told.answers), pattern_of("shows", told.shows)
    looked_for = pattern or shows
    said = [
        None if truncated and not (looked_for and looked_for.search(answer.strip())) else category_of(answer, pattern, shows)
        for answer, truncated in part.select("answer", "truncated").iter_rows()
    ]
    common = [name for name, _ in Counter(one for one in said if one is not None).most_common(MOST_CATEGORIES)]
    codes = np.array([-1 if one is None else common.index(one) if one in common else len(common) for one in said], np.int64)
    rows = part.select("transcript_id", "environment", "condition_kept", BEHAVES, "reasoning").with_row_index()
    places = {}
    for (where, kept), of in rows.group_by("environment", "condition_kept"):
        at = of["index"].to_numpy()
        behaves = of[BEHAVES].cast(pl.Float64).fill_null(np.nan).to_numpy()
        places[str(where), int(str(kept))] = _Answers(of["transcript_id"].to_list(), codes[at], behaves, of["reasoning"].to_list())
    starts = (0, *told.ends[:-1])
    texts = [whole[start:end].strip() for start, end in zip(starts, told.ends, strict=True) if end <= len(whole)]
    anew = [
        [_opening(reasoning, len(sentences(text))) for reasoning in places[OPEN, kept].reasoning] if (OPEN, kept) in places else []
        for kept, text in enumerate(texts)
    ]
    categories = [*common, REST] if len(common) == MOST_CATEGORIES and bool((codes == len(common)).any()) else common
    return _Read(first["run"], first["step"], first["prompt_id"], first["condition_chain"], told, texts, categories, places, anew)


def _opening(reasoning: str, many: int) -> str:
    """Its first so many sentences."""
    found = sentences(reasoning)[:many]
    return reasoning[found[0][0] : found[-1][1]] if found else ""


class _Scores:
    """How alike two texts are, asked once for all pairs."""

    def __init__(self, pairs: set[tuple[str, str]], similar: Similar) -> None:
        listed = sorted(pairs)
        self.of = dict(zip(listed, similar(listed).tolist(), strict=True)) if listed else {}

    def __call__(self, text: str, others: Sequence[str]) -> Floats:
        return np.array([self.of[text, other] for other in others])


def _likeness(read: Sequence[_Read], similar: Similar) -> tuple[_Scores, float | None]:
    """How alike each sentence is to all that was said from before it on, and the median over what came in its place."""
    instead = [(text, other) for one in read for text, others in zip(one.texts, one.anew, strict=True) for other in others]
    later = {
        (text, said)
        for one in read
        for kept, text in enumerate(one.texts)
        if (OPEN, kept) in one.places
        for reasoning in one.places[OPEN, kept].reasoning
        for said in _said_in(reasoning, text)
    }
    scores = _Scores(later | set(instead), similar)
    return scores, float(np.median([scores.of[pair] for pair in instead])) if instead else None


def _said_in(reasoning: str, text: str) -> list[str]:
    """All that is said of as many sentences in a row as a text has; the whole of it where it has fewer."""
    found, many = sentences(reasoning), len(sentences(text))
    return [reasoning[start:end] for (start, _), (_, end) in zip(found, found[many - 1 :] or found[-1:], strict=False)]


def _sides(one: _Read, place: int, scores: _Scores, alike: float | None) -> dict[How, tuple[_Answers, _Answers]]:
    """What is held against what, without the sentence and with it, in each way of being without it."""
    found: dict[How, tuple[_Answers, _Answers]] = {}
    ways: tuple[tuple[How, str], ...] = (("resampled", OPEN), ("forced", FORCED))
    for how, where in ways:
        if (where, place - 1) in one.places and (where, place) in one.places:
            found[how] = one.places[where, place - 1], one.places[where, place]
    if "resampled" in found and alike is not None:
        without, kept = found["resampled"]
        text = one.texts[place - 1]
        found["counterfactual"] = without.only(scores(text, one.anew[place - 1]) < alike), kept
        never = np.array([not (scores(text, _said_in(reasoning, text)) >= alike).any() for reasoning in without.reasoning])
        found["absent"] = without.only(never & (scores(text, one.anew[place - 1]) < alike)), kept
    return {how: both for how, both in found.items() if min(int((side.codes >= 0).sum()) for side in both) >= FEWEST}


Sides = Sequence[Sequence[Mapping[How, tuple[_Answers, _Answers]]]]


def _weighed(read: Sequence[_Read], sides: Sides, seed: int) -> list[list[dict[How, Weighed]]]:
    """Every sentence of every chain, in each way: all of one way are shrunk and adjusted together."""
    found: list[list[dict[How, Weighed]]] = [[{} for _ in of] for of in sides]
    for how in get_args(How):
        places = [(chain, at) for chain, of in enumerate(sides) for at, ways in enumerate(of) if how in ways]
        known: dict[tuple[tuple[int, ...], tuple[int, ...]], Shift] = {}
        shifts = []
        for chain, at in places:
            many = len(read[chain].categories)
            counts = tuple(np.bincount(side.codes[side.codes >= 0], minlength=many) for side in sides[chain][at][how])
            key = tuple(counts[0].tolist()), tuple(counts[1].tolist())
            if key not in known:
                known[key] = shift_of(*counts, tests=len(places), alpha=ALPHA, seed=seed)
            shifts.append(known[key])
        adjusted = benjamini_yekutieli([shift.p for shift in shifts])
        for (chain, at), shift, drawn, p in zip(places, shifts, shrunk(shifts), adjusted, strict=True):
            without, kept = sides[chain][at][how]
            change, low, high = _change(without.behaves, kept.behaves)
            found[chain][at][how] = Weighed(
                shift=shift, shrunk=drawn, p_adjusted=1.0 if p is None else p, change=change, change_low=low, change_high=high
            )
    return found


def _change(without: Floats, kept: Floats) -> tuple[float, float, float]:
    """How much more often the behaviour is there with the sentence, with Newcombe's interval."""
    from statsmodels.stats.proportion import confint_proportions_2indep  # a second of import that only this should cost

    known = [side[np.isfinite(side)] for side in (kept, without)]
    (yes, many), (other_yes, other_many) = ((float(side.sum()), len(side)) for side in known)
    if not many or not other_many:
        return 0.0, -1.0, 1.0
    low, high = confint_proportions_2indep(yes, many, other_yes, other_many, compare="diff", method="newcomb")
    return yes / many - other_yes / other_many, float(low), float(high)


def _chain(one: _Read, weighed: Sequence[Mapping[How, Weighed]], scores: _Scores, alike: float | None) -> Chain:
    made = []
    for place, (text, ways) in enumerate(zip(one.texts, weighed, strict=True), start=1):
        said = one.anew[place - 1]
        around = [one.places[where, at] for where in (OPEN, FORCED) for at in (place - 1, place) if (where, at) in one.places]
        made.append(
            Sentence(
                place=place,
                text=text,
                kind=one.told.kinds[place - 1] if one.told.kinds else "",
                again=float((scores(text, said) >= alike).mean()) if said and alike is not None else None,
                weighed=ways,
                missing=sum(int((side.codes < 0).sum()) for side in around),
            )
        )
    return Chain(
        run=one.run,
        step=one.step,
        prompt_id=one.prompt_id,
        chain=one.chain,
        of=one.told.of,
        own=one.told.own,
        shows=one.told.shows,
        categories=one.categories,
        sentences=made,
        samples=max(len(side.ids) for side in one.places.values()),
        examples=_examples(one, made),
    )


def _examples(one: _Read, made: Sequence[Sentence]) -> dict[int, tuple[Sequence[str], Sequence[str]]]:
    """Of the clear sentences, or where there are none of the weightiest, the first continuations of each side."""
    open_ones = [sentence for sentence in made if "resampled" in sentence.weighed]
    ranked = sorted(open_ones, key=lambda sentence: -sentence.weighed["resampled"].shift.kl)
    clear = [sentence for sentence in ranked if sentence.weighed["resampled"].is_clear]
    return {
        sentence.place: (one.places[OPEN, sentence.place - 1].ids[:EXAMPLES], one.places[OPEN, sentence.place].ids[:EXAMPLES])
        for sentence in (clear or ranked[:1])[:MOST_QUOTED]
    }


def _kinds(chains: Sequence[Chain]) -> Iterator[OfKind]:
    """The sentences of each kind at each checkpoint, prompts as the clusters, the weightiest kind first."""
    if not any(sentence.kind for chain in chains for sentence in chain.sentences):
        return
    for run, step in dict.fromkeys((chain.run, chain.step) for chain in chains):
        here = [chain for chain in chains if (chain.run, chain.step) == (run, step)]
        prompts = {prompt: code for code, prompt in enumerate(dict.fromkeys(chain.prompt_id for chain in here))}
        for how in get_args(How):
            rows = [
                (sentence.kind, prompts[chain.prompt_id], sentence.weighed[how])
                for chain in here
                for sentence in chain.sentences
                if how in sentence.weighed
            ]
            yield from sorted(
                (_of_kind(run, step, how, kind, rows, len(prompts)) for kind in dict.fromkeys(kind for kind, *_ in rows)),
                key=lambda one: -one.mean.value,
            )


def _of_kind(run: str, step: int, how: How, kind: str, rows: Sequence[tuple[str, int, Weighed]], prompts: int) -> OfKind:
    inside, outside = (
        Sums.of([w.shift.kl for _, _, w in part], [prompt for _, prompt, _ in part], n_prompts=prompts)
        for part in ([row for row in rows if row[0] == kind], [row for row in rows if row[0] != kind])
    )
    weighed = [w for name, _, w in rows if name == kind]
    from_nought = paired_difference(inside._replace(total=np.zeros_like(inside.total)), inside)
    assert from_nought is not None  # the kind is one that is there
    return OfKind(
        run=run,
        step=step,
        how=how,
        kind=kind,
        sentences=len(weighed),
        clear=sum(w.is_clear for w in weighed),
        mean=from_nought,
        against=paired_difference(outside, inside),
    )
