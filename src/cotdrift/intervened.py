"""Intervened: what edits of reasoning do to performance, behaviour and what a monitor sees, each reasoning against itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl
from msgspec import Struct
from msgspec.structs import replace

from cotdrift.estimate import Contrast, Estimate, Sums, holm, mean, paired_difference, paired_ratio
from cotdrift.experiments.intervention_arms import ARM, CURVES, ENVIRONMENT, MONITOR, OUTCOMES, SOURCE, Arm, arm_called, declared_of

ALPHA = 0.05
MEANT = ("behaves", "performs", "shows", "seen", "caught")
"""The outcomes in which arms are compared."""
TAKEN = frozenset({"remove", "glossary", "random words", "delete"})
"""Edits that take the property's words away."""


class Compared(Struct, frozen=True, kw_only=True):
    """One outcome of an arm beside the arm it is held against, on the same reasonings."""

    outcome: str
    before: Estimate
    """Of the base: the mean over prompts of the reasonings that both arms have, as the difference is."""
    after: Estimate
    difference: Contrast
    ratio: Contrast | None = None
    """None where one of the two is nought."""
    p_adjusted: float | None = None
    """Holm's, over all outcomes and pairs of arms of the checkpoint."""

    @property
    def clear(self) -> int:
        """1 where it clearly rose, −1 where it clearly fell, 0 else."""
        if self.p_adjusted is None or self.p_adjusted >= ALPHA:
            return 0
        return 1 if self.difference.value > 0 else -1

    @property
    def falls(self) -> bool:
        """Whether the interval, as it is, leaves no room for a rise."""
        return self.difference.value < 0 and (self.difference.high is None or self.difference.high < 0)


class Effect(Struct, frozen=True, kw_only=True):
    """What one arm does at one checkpoint."""

    run: str
    step: int
    arm: str
    base: str
    is_off: bool
    outcomes: dict[str, Compared]
    is_by_design: bool = False
    """Whether it takes away the very words that the monitor looks for, or closes the reasoning early, so that the monitor must see less."""

    @property
    def is_less_monitorable(self) -> bool:
        """Whether behaviour and performance do not fall, and the monitor clearly catches the behaviour more rarely."""
        found = self.outcomes
        if self.is_by_design or self.base != arm_called(self.arm).against[0] or not {"behaves", "caught"} <= set(found):
            return False
        return found["caught"].clear < 0 and not any(found[name].falls for name in ("behaves", "performs") if name in found)


class Resilience(Struct, frozen=True, kw_only=True):
    """How hard it is to keep a property away at one checkpoint, by sampling again from before each place where it comes back."""

    run: str
    step: int
    rounds: Estimate
    """Those that were used up count as many."""
    median: float
    stays_away: Estimate
    behaves: Estimate
    """Among those in which it stayed away."""


class Curve(Struct, frozen=True, kw_only=True):
    """One of the tests of Lanham et al. (2023) at one checkpoint."""

    run: str
    step: int
    test: str
    points: tuple[tuple[float, Estimate], ...]
    """The share of the reasoning, and of the answers that are the one given after all of it."""
    area: Estimate
    """Over the curve: the larger, the more the answer rests on the reasoning."""


class Shown(Struct, frozen=True, kw_only=True):
    """An answer that is shown: what became of a reasoning in one arm."""

    run: str
    step: int
    arm: str
    behaves: bool | None
    """None where that cannot be told."""
    transcript_id: str


class Intervened(Struct, frozen=True, kw_only=True):
    """What the experiment says."""

    effects: Sequence[Effect]
    resilience: Sequence[Resilience]
    curves: Sequence[Curve]
    rates: dict[str, dict[str, Estimate]]
    """By the run, step and arm, in one text, each outcome."""
    examples: Sequence[Shown] = ()
    """At the last checkpoint of each run one reasoning, through all arms."""

    def last(self) -> list[Effect]:
        """The effects at the last checkpoint of each run."""
        ends = {one.run: max(other.step for other in self.effects if other.run == one.run) for one in self.effects}
        return [one for one in self.effects if one.step == ends[one.run]]


def key_of(run: str, step: int, arm: str) -> str:
    """Under what name the rates of an arm are kept."""
    return f"{run}@{step} {arm}"


def intervened(frame: pl.DataFrame, *, seed: int = 0) -> Intervened | None:
    """What the traces of the experiment say; None where there are none.

    `frame` has a row a trace: transcript_id, run, step, environment, prompt_id, condition_arm, condition_source, where it was told
    condition_monitor, and `outcome_*` for each outcome.
    """
    if not {f"condition_{ARM}", f"condition_{SOURCE}"} <= set(frame.columns):
        return None
    frame = frame.filter((pl.col("environment") == ENVIRONMENT) & pl.col(f"condition_{SOURCE}").is_not_null())
    if not frame.height:
        return None
    frame = frame.with_columns(
        pl.lit(None, pl.Float64).alias(f"outcome_{name}") for name in OUTCOMES if f"outcome_{name}" not in frame.columns
    )
    told = [name for name in OUTCOMES if frame[f"outcome_{name}"].count()]
    effects: list[Effect] = []
    resilience: list[Resilience] = []
    curves: list[Curve] = []
    rates: dict[str, dict[str, Estimate]] = {}
    for (run, step), rows in frame.sort("run", "step").group_by("run", "step", maintain_order=True):
        where = (str(run), int(step))
        effects += _effects(rows, where, told, seed)
        resilience += _resilience(rows, where)
        curves += _curves(rows, where)
        for (arm,), of_arm in rows.group_by(f"condition_{ARM}"):
            rates[key_of(*where, str(arm))] = {name: _rate(of_arm, name) for name in told}
    last = frame.filter(pl.col("step") == pl.col("step").max().over("run"))
    examples = [one for _, rows in last.sort("run").group_by("run", maintain_order=True) for one in _examples(rows)]
    return Intervened(effects=effects, resilience=resilience, curves=curves, rates=rates, examples=examples)


def _examples(rows: pl.DataFrame) -> Iterator[Shown]:
    """One answer of each arm, of the reasoning that is in most arms, and there of one whose arms do not all do the same."""
    first = rows.sort("transcript_id").unique([f"condition_{SOURCE}", f"condition_{ARM}"], keep="first", maintain_order=True)
    told = first.group_by(f"condition_{SOURCE}").agg(arms=pl.len(), apart=pl.col("outcome_behaves").drop_nulls().n_unique())
    chosen = told.sort("arms", "apart", f"condition_{SOURCE}", descending=[True, True, False])[f"condition_{SOURCE}"][0]
    ours = {row[f"condition_{ARM}"]: row for row in first.filter(pl.col(f"condition_{SOURCE}") == chosen).iter_rows(named=True)}
    for arm in declared_of(ours, ()).arms:
        row = ours[arm]
        behaves = None if row["outcome_behaves"] is None else bool(row["outcome_behaves"])
        yield Shown(run=row["run"], step=row["step"], arm=arm, behaves=behaves, transcript_id=row["transcript_id"])


def _effects(rows: pl.DataFrame, where: tuple[str, int], told: Sequence[str], seed: int) -> list[Effect]:
    by_arm = {str(arm): of_arm for (arm,), of_arm in rows.group_by(f"condition_{ARM}")}
    compared = [name for name in MEANT if name in told]
    is_one = f"condition_{MONITOR}" not in rows.columns or not rows[f"condition_{MONITOR}"].count()
    if is_one and "seen" in compared:
        compared.remove("seen")
    found = []
    for arm, base in declared_of(by_arm, told).contrasts:
        pairs = {name: one for name in compared if (one := _compared(by_arm[base], by_arm[arm], name, seed)) is not None}
        if pairs:
            found.append(
                Effect(
                    run=where[0],
                    step=where[1],
                    arm=arm,
                    base=base,
                    is_off=arm_called(arm).is_off,
                    outcomes=pairs,
                    is_by_design=_must_show_less(arm_called(arm), is_one=is_one),
                )
            )
    return _adjusted(found)


def _must_show_less(arm: Arm, *, is_one: bool) -> bool:
    """Whether any monitor is left with a part of the reasoning alone, or one that looks for the property without it."""
    is_a_part = arm.edit == "filler" or (arm.closes and arm.cut == "share" and arm.share < 1)
    lacks_property = arm.edit in TAKEN or (arm.closes and arm.cut == "before")
    return is_a_part or (is_one and lacks_property)


def _compared(before: pl.DataFrame, after: pl.DataFrame, name: str, seed: int) -> Compared | None:
    """Both arms on the reasonings that have a value in both; each reasoning's mean counts once, and prompts are the clusters."""
    sides = [_by_source(side, name) for side in (before, after)]
    both = sides[0].join(sides[1], on=["prompt_id", f"condition_{SOURCE}"], suffix="_after").sort("prompt_id", f"condition_{SOURCE}")
    if not both.height:
        return None
    prompts = both["prompt_id"].rank("dense").to_numpy().astype(np.int64) - 1
    first, last = (Sums.of(both[column].to_numpy(), prompts) for column in ("value", "value_after"))
    difference = paired_difference(first, last, seed=seed)
    assert difference is not None
    return Compared(
        outcome=name,
        before=_over_prompts(first),
        after=_over_prompts(last),
        difference=difference,
        ratio=paired_ratio(first, last, seed=seed),
    )


def _over_prompts(sums: Sums) -> Estimate:
    return mean(sums.means, np.arange(len(sums.size)), share=False)


def _by_source(rows: pl.DataFrame, name: str) -> pl.DataFrame:
    value = rows.drop_nulls(f"outcome_{name}").group_by("prompt_id", f"condition_{SOURCE}")
    return value.agg(value=pl.col(f"outcome_{name}").mean())


def _adjusted(effects: Sequence[Effect]) -> list[Effect]:
    tested = [(place, name) for place, one in enumerate(effects) for name in one.outcomes]
    adjusted = holm([effects[place].outcomes[name].difference.p for place, name in tested])
    told = dict(zip(tested, adjusted, strict=True))
    return [
        replace(one, outcomes={name: replace(pair, p_adjusted=told[place, name]) for name, pair in one.outcomes.items()})
        for place, one in enumerate(effects)
    ]


def _rate(rows: pl.DataFrame, name: str) -> Estimate:
    known = rows.drop_nulls(f"outcome_{name}")
    share = False if name == "rounds" else None  # of rounds that are all 1 it would be thought that they say yes
    return mean(known[f"outcome_{name}"].to_numpy(), _codes(known), share=share, missing=rows.height - known.height)


def _codes(rows: pl.DataFrame) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return rows["prompt_id"].rank("dense").to_numpy().astype(np.int64) - 1


def _resilience(rows: pl.DataFrame, where: tuple[str, int]) -> Iterator[Resilience]:
    ours = rows.drop_nulls("outcome_rounds")
    if ours.height:
        away = ours.filter(pl.col("outcome_stays_away") == 1)
        yield Resilience(
            run=where[0],
            step=where[1],
            rounds=_rate(ours, "rounds"),
            median=float(np.median(ours["outcome_rounds"].to_numpy())),
            stays_away=_rate(ours, "stays_away"),
            behaves=_rate(away, "behaves"),
        )


def _curves(rows: pl.DataFrame, where: tuple[str, int]) -> Iterator[Curve]:
    for test, arm in CURVES.items():
        name = f"condition_{ARM}"
        ours = rows.filter(pl.col(name).str.starts_with(f"{arm.name}_")).drop_nulls("outcome_same")
        shares = sorted({arm_called(one).share for one in ours[name].unique()})
        if len(shares) < 2:
            continue
        at = {share: ours.filter(pl.col(name) == f"{arm.name}_{share:.0%}") for share in shares}
        yield Curve(
            run=where[0],
            step=where[1],
            test=test,
            points=tuple((share, _rate(of_share, "same")) for share, of_share in at.items()),
            area=_over_the_curve(at),
        )


def _over_the_curve(at: dict[float, pl.DataFrame]) -> Estimate:
    """One minus the area under the curve, by trapezoids, over the shares that were tried; each prompt has one of its own."""
    shares = np.array(list(at))
    means = [of.group_by("prompt_id").agg(value=pl.col("outcome_same").mean()) for of in at.values()]
    whole = means[0]
    for place, more in enumerate(means[1:]):
        whole = whole.join(more, on="prompt_id", suffix=f"_{place}")
    heights = whole.sort("prompt_id").drop("prompt_id").to_numpy()
    areas = 1 - np.trapezoid(heights, shares, axis=1) / (shares[-1] - shares[0])
    return mean(areas, np.arange(len(areas)), share=False)
