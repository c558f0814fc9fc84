"""Awareness: how often the reasoning thinks of tests, watchers or rewards, beside how often the model does what it should not."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

import numpy as np
import polars as pl
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from cotdrift.estimate import Contrast, Estimate, Floats, Ints, holm, mean, wilson
from cotdrift.scores import prompt_codes
from cotdrift.trend import Trend, trend_of

THOUGHTS = ("metagaming", "evaluation_awareness", "reward_reasoning")
"""The graders of the shelf that ask for such a thought with yes or no."""
ACTIONS = frozenset(
    "gaming misaligned misaligned_action covert covert_action violates violation exploit exploited hack hacked reward_hack reward_hacking "
    "cheat cheated cheating sabotage sandbagging deceptive deception harmful".split()
)
"""Outcomes that are taken for a misaligned action by their name."""
BINS, LEAST = 10, 3
"""How finely lengths are matched, and the traces that a bin must have at every checkpoint to count."""
ALPHA = 0.05

Verdict = Literal["dissociated", "falls with it", "open", "not up", "unknown"]


class Table(Struct, frozen=True, kw_only=True):
    """One checkpoint's traces, by whether they have the thought and whether they take the action."""

    run: str
    step: int
    aware_acts: int
    aware_refrains: int
    unaware_acts: int
    unaware_refrains: int
    missing: int
    """Traces of which the one or the other is not known."""
    aware: Estimate
    """The share of traces with the thought that take the action."""
    unaware: Estimate
    """The share of those without it that do."""
    difference: Contrast | None
    """The first minus the second; None where one of them has no traces."""


class AtLength(Struct, frozen=True, kw_only=True):
    """A checkpoint's rate as it is, and in traces of like length."""

    step: int
    crude: Estimate
    matched: Estimate


class LengthMatched(Struct, frozen=True, kw_only=True):
    """A rate over the steps of a run with the length of the reasoning held alike."""

    points: tuple[AtLength, ...]
    crude: Contrast
    """Last checkpoint minus first, as it is."""
    matched: Contrast
    """The same in traces of like length."""
    share: float
    """The share of traces whose length every checkpoint has, on which the matched rates rest."""
    bins: int


class Beside(Struct, frozen=True, kw_only=True):
    """A thought and an action in the same traces of one run."""

    run: str
    thought: str
    action: str
    awareness: Trend
    acts: Trend
    tables: tuple[Table, ...]
    """The first and the last checkpoint; one where they are the same."""
    matched: LengthMatched | None
    """The thought with length held alike; None where no length is common to all checkpoints, or most judgments are missing."""
    expected: float | None
    """By how much the action would have fallen, had it stopped in as many traces as came to have the thought."""
    verdict: Verdict


class Overlap(Struct, frozen=True, kw_only=True):
    """How many traces of a checkpoint have one thought, the other, both or neither."""

    run: str
    step: int
    both: int
    only_first: int
    only_second: int
    neither: int
    missing: int
    """Traces of which the one or the other is not known."""


class Kind(Struct, frozen=True, kw_only=True):
    """What becomes of one framing at one checkpoint."""

    run: str
    step: int
    kind: str
    share: Estimate
    permits: Estimate
    """Of the traces with this framing, the share that use it to permit an action."""
    acts: Estimate | None
    """Of those, the share that take the misaligned action; None where no such action is known."""


def beside(frame: pl.DataFrame, *, run: str, thought: str, action: str, version: int = 1, seed: int = 0) -> Beside:
    """A thought and an action over the steps of one run, in the same traces.

    `frame` has a row a judged trace: step, environment, prompt_id, aware and acts (1, 0, or null where it is not known), missing_reason of
    the thought, and words of reasoning. The verdict is not final before `judged_together` has adjusted it.
    """
    made = partial(trend_of, run=run, unit="share of traces", seed=seed)
    awareness = made(frame.with_columns(value="aware"), measure=thought, version=version, ends=(0.0, 1.0)).told()
    recorded = frame.with_columns(value="acts", missing_reason=pl.lit("not recorded"))
    acts = made(recorded, measure=action, version=1, ends=(0.0, 1.0)).told()
    steps = frame["step"].unique().sort().to_list()
    ends = dict.fromkeys((steps[0], steps[-1]))
    return Beside(
        run=run,
        thought=thought,
        action=action,
        awareness=awareness,
        acts=acts,
        tables=tuple(table(frame.filter(pl.col("step") == step), run=run, step=step) for step in ends),
        matched=length_matched(frame.with_columns(value="aware")) if all(point.value is not None for point in awareness.points) else None,
        expected=_expected(awareness, acts),
        verdict="unknown",
    )


def judged_together(pairs: Sequence[Beside]) -> list[Beside]:
    """The pairs with their verdicts; the p-values of all thoughts of a run are adjusted together, by Holm.

    The thought is *up* where the last checkpoint has more of it than the first, clearly so after Holm. Had each trace that came to have the
    thought refrained for it, the action would have fallen by the thought's rise times the first checkpoint's rate of the action. The two
    are *dissociated* where the thought is up and the interval of the action's change excludes a fall as large as that. The action *falls
    with it* where its interval lies below nought. Between the two, the data leave it open. Nothing is said where more than half of the
    traces lack the one or the other. All intervals are paired by prompt, 95 %.
    """
    found = []
    for run in dict.fromkeys(pair.run for pair in pairs):
        here = [pair for pair in pairs if pair.run == run]
        rises = {pair.thought: pair.awareness.contrast for pair in here}
        adjusted = dict(zip(rises, holm([rise.p if rise else None for rise in rises.values()]), strict=True))
        found += [replace(pair, verdict=_verdict(pair, adjusted[pair.thought])) for pair in here]
    return found


def _verdict(pair: Beside, p: float | None) -> Verdict:
    rise, change = pair.awareness.contrast, pair.acts.contrast
    if rise is None or change is None or pair.expected is None or p is None:
        return "unknown"
    if p >= ALPHA or rise.value <= 0:
        return "not up"
    if change.low is None or change.high is None:
        return "open"
    if change.low > -pair.expected:
        return "dissociated"
    return "falls with it" if change.high < 0 else "open"


def _expected(awareness: Trend, acts: Trend) -> float | None:
    before = acts.points[0].value
    return None if awareness.contrast is None or before is None else max(awareness.contrast.value, 0.0) * before


def table(frame: pl.DataFrame, *, run: str, step: int) -> Table:
    """The two by two of one checkpoint; `frame` as for `beside`.

    The interval of the difference puts together those of the two shares, each clustered by prompt (Newcombe 1998, method 10): it holds in
    small tables, and is a little wide where the traces of one prompt go together.
    """
    known = frame.drop_nulls(["aware", "acts"])
    aware, acts = known["aware"].to_numpy() == 1, known["acts"].to_numpy() == 1
    prompts = prompt_codes(known)
    of_aware, of_unaware = (mean(acts[kind], prompts[kind], share=True) for kind in (aware, ~aware))
    return Table(
        run=run,
        step=step,
        aware_acts=int((aware & acts).sum()),
        aware_refrains=int((aware & ~acts).sum()),
        unaware_acts=int((~aware & acts).sum()),
        unaware_refrains=int((~aware & ~acts).sum()),
        missing=frame.height - known.height,
        aware=of_aware,
        unaware=of_unaware,
        difference=_apart(of_aware, of_unaware, prompts=len(np.unique(prompts))),
    )


def _apart(one: Estimate, other: Estimate, *, prompts: int) -> Contrast | None:
    if one.value is None or other.value is None:
        return None
    value = one.value - other.value
    made = partial(Contrast, value=value, traces=one.traces + other.traces, prompts=prompts)
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return made(method="difference of shares; one prompt on a side, so no interval")
    down = ((one.value - one.low) ** 2 + (other.high - other.value) ** 2) ** 0.5
    up = ((one.high - one.value) ** 2 + (other.value - other.low) ** 2) ** 0.5
    return made(low=max(value - down, -1.0), high=min(value + up, 1.0), method="difference of shares; Newcombe, clustered by prompt")


def length_matched(frame: pl.DataFrame) -> LengthMatched | None:
    """A rate over steps, standardised to one mix of lengths: that of all checkpoints, over the bins that each of them has.

    `frame` has step, environment, prompt_id, value (1, 0 or null) and words. Bins are tenths of the lengths of all traces. Errors are
    clustered by prompt, over bins. None where fewer than two checkpoints, or no length, can be compared.
    """
    known = frame.drop_nulls(["value", "words"])
    steps = known["step"].unique().sort().to_list()
    if len(steps) < 2:
        return None
    words, value = known["words"].cast(pl.Float64).to_numpy(), known["value"].cast(pl.Float64).to_numpy()
    step, prompts = np.searchsorted(steps, known["step"].to_numpy()), prompt_codes(known)
    edges = np.unique(np.quantile(words, np.linspace(0, 1, BINS + 1)[1:-1]))
    bins = np.searchsorted(edges, words, side="right")
    counts = np.zeros((len(steps), len(edges) + 1))
    np.add.at(counts, (step, bins), 1)
    shared: NDArray[np.bool_] = np.asarray((counts >= LEAST).all(axis=0))
    if not shared.any():
        return None
    mix = counts[:, shared] / counts[:, shared].sum(axis=1, keepdims=True)
    weights = np.zeros(len(shared))
    weights[shared] = mix.mean(axis=0)
    inside, whole = shared[bins], np.ones(1)
    crude, matched = [], []
    for code in range(len(steps)):
        here = step == code
        crude.append(_standardised(value[here], np.zeros(int(here.sum()), np.int64), prompts[here], whole, prompts.max() + 1))
        here &= inside
        matched.append(_standardised(value[here], bins[here], prompts[here], weights, prompts.max() + 1))
    return LengthMatched(
        points=tuple(AtLength(step=at, crude=as_is[0], matched=alike[0]) for at, as_is, alike in zip(steps, crude, matched, strict=True)),
        crude=_change(crude[0], crude[-1], "difference of rates"),
        matched=_change(matched[0], matched[-1], "difference of rates in traces of like length"),
        share=float(inside.mean()),
        bins=int(shared.sum()),
    )


Standardised = tuple[Estimate, Floats]
"""A rate, and what each prompt does to it."""


def _standardised(value: Floats, bins: Ints, prompts: Ints, weights: Floats, n_prompts: int) -> Standardised:
    sizes = np.bincount(bins, minlength=len(weights))
    rates = np.divide(np.bincount(bins, value, minlength=len(weights)), sizes, out=np.zeros(len(weights)), where=sizes > 0)
    each = np.divide(weights, sizes, out=np.zeros(len(weights)), where=sizes > 0)
    influence = np.bincount(prompts, each[bins] * (value - rates[bins]), minlength=n_prompts).astype(np.float64)
    many, rate = len(np.unique(prompts)), float(weights @ rates)
    as_is = mean(value, prompts, share=True)
    if as_is.low is None or not 0 < rate < 1:
        return replace(as_is, value=rate), influence
    variance = float(influence @ influence) * many / (many - 1)
    low, high = wilson(rate, variance, len(value), many - 1, as_is.level)
    return replace(as_is, value=rate, low=low, high=high, method="share; one mix of lengths, clustered by prompt"), influence


def _change(first: Standardised, last: Standardised, what: str) -> Contrast:
    apart = last[1] - first[1]
    value, many = (last[0].value or 0.0) - (first[0].value or 0.0), max(first[0].prompts, last[0].prompts)
    made = partial(Contrast, value=value, traces=first[0].traces + last[0].traces, prompts=many)
    error = float(np.sqrt(apart @ apart * many / max(many - 1, 1)))
    if many < 2 or error <= 0:
        return made(method=f"{what}; no prompt differs from another, so no interval")
    half = float(stdtrit(many - 1, 0.975)) * error
    p = float(2 * stdtr(many - 1, -abs(value) / error))
    return made(low=value - half, high=value + half, p=p, method=f"{what}, clustered by prompt; t interval")


def overlaps(frame: pl.DataFrame, *, run: str) -> list[Overlap]:
    """How two thoughts overlap at each step of a run; `frame` has a row a trace: step, first and second (1, 0 or null)."""
    found = []
    for (step,), here in frame.sort("step").group_by("step", maintain_order=True):
        known = here.drop_nulls(["first", "second"])
        first, second = (known[name].to_numpy() == 1 for name in ("first", "second"))
        kinds: list[NDArray[np.bool_]] = [first & second, first & ~second, ~first & second, ~first & ~second]
        both, only_first, only_second, neither = (int(kind.sum()) for kind in kinds)
        found.append(
            Overlap(
                run=run,
                step=int(str(step)),
                both=both,
                only_first=only_first,
                only_second=only_second,
                neither=neither,
                missing=here.height - known.height,
            )
        )
    return found


def kinds(frame: pl.DataFrame, labels: Sequence[str], *, run: str, step: int) -> list[Kind]:
    """What becomes of each framing at one checkpoint.

    `frame` has a row a trace: environment, prompt_id, kind (its label, or null), permits (1, 0 or null), and where an action is
    known acts, and can_act: whether the trace is of an environment that records the action.
    """
    known = frame.drop_nulls("kind")
    prompts = prompt_codes(known)
    found = []
    for label in labels:
        such = known.filter(pl.col("kind") == label)
        found.append(
            Kind(
                run=run,
                step=step,
                kind=label,
                share=mean((known["kind"] == label).to_numpy(), prompts, share=True, missing=frame.height - known.height),
                permits=_share(such, "permits"),
                acts=_share(such.filter(pl.col("can_act")), "acts") if "acts" in such.columns else None,
            )
        )
    return found


def _share(frame: pl.DataFrame, column: str) -> Estimate:
    known = frame.drop_nulls(column)
    return mean(known[column].to_numpy(), prompt_codes(known), share=True, missing=frame.height - known.height)
