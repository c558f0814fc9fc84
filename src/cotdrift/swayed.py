"""Swayed: how far the way of sampling moves a measure, and what part of a difference between two checkpoints that could explain."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import permutations
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
import polars as pl
from msgspec import Struct
from msgspec.structs import replace
from scipy.special import stdtr, stdtrit

from cotdrift.declared import Declared
from cotdrift.estimate import Contrast, Estimate, Floats, Sums, holm, mean, paired_difference, sign_flip
from cotdrift.serving import address

Verdict = Literal["cannot explain it", "could explain it", "undecided", "no clear difference"]

SERVED = ("provider", "base_url", "engine", "quantization", "dtype", "kv_cache_dtype", "chat_template_hash", "system_fingerprint")
"""What tells two ways of serving the same weights apart."""
ALPHA = 0.05
LEVEL = 0.95
FEWEST = 3
"""Prompts that it takes to say anything of two settings."""


class Shift(Struct, frozen=True, kw_only=True):
    """What another setting does at one checkpoint, each prompt against itself."""

    setting: str
    against: str
    step: int
    contrast: Contrast


class Level(Struct, frozen=True, kw_only=True):
    """A measure under one setting at one checkpoint."""

    setting: str
    step: int
    estimate: Estimate


class Swayed(Struct, frozen=True, kw_only=True):
    """One measure of one run under several settings."""

    run: str
    measure: str
    unit: str
    is_share: bool
    since: int
    step: int
    """The first and the last checkpoint, which are compared."""
    settings: tuple[str, ...]
    """Those that were tried at either, the base first."""
    levels: Sequence[Level]
    """At every checkpoint."""
    between: Contrast | None
    """The last checkpoint minus the first, both under the base setting; None where no prompt has both."""
    p_between: float | None
    """Of this difference."""
    under: dict[str, Contrast]
    """The same under each setting."""
    largest: Shift | None
    """Of all pairs of settings at one of the two checkpoints, the one that goes furthest the way the checkpoints differ.

    Its interval is Bonferroni's, over all pairs at both.
    """
    p_settings: float | None
    """How often chance alone would move some setting as far from the base; None where prompts are too few."""
    part: float | None
    """The largest shift over the difference between checkpoints; None where that is not clear of nought."""
    part_low: float | None = None
    part_high: float | None = None
    p_beyond: float | None = None
    """How often settings that do explain the difference would look as if none could."""
    verdict: Verdict = "undecided"


class Cells(NamedTuple):
    """Each prompt's mean under each setting at each of the two checkpoints: settings × checkpoints × prompts, NaN where there is none."""

    means: Floats
    sums: Mapping[tuple[str, int], Sums]
    settings: list[str]
    steps: tuple[int, int]


class Ratio(NamedTuple):
    """A shift over a difference, by Fieller's theorem."""

    value: float
    low: float
    high: float
    p: float
    """That the shift is smaller than the difference by chance, one-sided."""


def settings_of(frame: pl.DataFrame) -> pl.Series:
    """What each trace was sampled under: its arm, and how it was served where that is not the same throughout a study.

    >>> told = ['{"provider": "a"}', '{"provider": "b"}']
    >>> settings_of(pl.DataFrame({"condition_arm": ["cold", "cold"], "serving": told})).to_list()
    ['cold, provider a', 'cold, provider b']
    """
    told = {one: _served(one) for one in frame["serving"].fill_null("{}").unique()}
    varied = [name for name in SERVED if len({served.get(name) for served in told.values()}) > 1]
    said = {one: "".join(f", {name} {served.get(name, 'not said')}" for name in varied) for one, served in told.items()}
    arms, served = frame["condition_arm"], frame["serving"].fill_null("{}")
    return pl.Series("setting", [f"{arm}{said[one]}" for arm, one in zip(arms, served, strict=True)], dtype=pl.String)


def _served(told: str) -> dict[str, str]:
    """How a trace was served; of an address the host alone."""
    served: dict[str, Any] = msgspec.json.decode(told)
    return {name: address(served[name]) if name == "base_url" else str(served[name]) for name in SERVED if name in served}


def swayed(frame: pl.DataFrame, declared: Declared, *, run: str, measure: str, unit: str, seed: int = 0) -> Swayed | None:
    """What settings do to one measure of one run, tested by itself; None with fewer than two settings, two checkpoints or three prompts.

    `frame` has a row a trace: run, step, environment, prompt_id, setting, and value (null where there is none).
    """
    ours = frame.filter((pl.col("run") == run) & pl.col("value").is_not_null()).sort("step")
    cells = _cells(ours, declared)
    if cells is None:
        return None
    base, (since, step) = cells.settings[0], cells.steps
    is_share = bool(ours["value"].is_in([0.0, 1.0]).all())
    under = {name: found for name in cells.settings if (found := _between(cells, name, seed))}
    between = under.get(base)
    way = -1.0 if between and between.value < 0 else 1.0
    shifts = _shifts(cells, way)
    furthest = max(shifts, key=lambda shift: shift[0], default=None)
    largest = None
    if furthest:
        _, setting, against, at = furthest
        level = 1 - 2 * (1 - LEVEL) / len(shifts)
        contrast = paired_difference(cells.sums[against, at], cells.sums[setting, at], level=level, seed=seed)
        largest = Shift(setting=setting, against=against, step=at, contrast=contrast) if contrast else None
    made = Swayed(
        run=run,
        measure=measure,
        unit=unit,
        is_share=is_share,
        since=since,
        step=step,
        settings=tuple(cells.settings),
        levels=list(_levels(ours, cells.settings, is_share=is_share)),
        between=between,
        p_between=between.p if between else None,
        under=under,
        largest=largest,
        p_settings=_moved(cells, seed),
        part=None,
    )
    return _explained(made, cells, shifts, way, is_share=is_share)


def adjusted(family: Iterable[Swayed]) -> list[Swayed]:
    """All measures of a run together: p-values by Holm, and the verdicts that they leave."""
    every = list(family)
    between = holm([one.p_between for one in every])
    beyond, moved = holm([one.p_beyond for one in every]), holm([one.p_settings for one in every])
    return [
        _judged(replace(one, p_between=differs, p_settings=settings, p_beyond=explained))
        for one, differs, settings, explained in zip(every, between, moved, beyond, strict=True)
    ]


def _judged(one: Swayed) -> Swayed:
    verdict: Verdict = "undecided"
    if one.p_between is not None and one.p_between >= ALPHA:
        verdict = "no clear difference"
    elif one.p_beyond is not None and one.p_beyond < ALPHA:
        verdict = "cannot explain it"
    elif one.part_low is not None and one.part_low >= 1:
        verdict = "could explain it"
    return replace(one, verdict=verdict)


def _levels(ours: pl.DataFrame, settings: Sequence[str], *, is_share: bool) -> Iterator[Level]:
    for setting in settings:
        for (step,), rows in ours.filter(pl.col("setting") == setting).group_by("step", maintain_order=True):
            prompts = np.unique((rows["environment"] + "\0" + rows["prompt_id"]).to_numpy(), return_inverse=True)[1]
            yield Level(setting=setting, step=int(str(step)), estimate=mean(rows["value"].to_numpy(), prompts, share=is_share))


def _cells(ours: pl.DataFrame, declared: Declared) -> Cells | None:
    steps = ours["step"].unique().sort().to_list()
    if len(steps) < 2:
        return None
    ends = ours.filter(pl.col("step").is_in([steps[0], steps[-1]]))
    prompts = ends.select("environment", "prompt_id").unique().sort("environment", "prompt_id").with_row_index("place")
    coded = ends.join(prompts, on=["environment", "prompt_id"], how="left", nulls_equal=True)
    sums = {
        (setting, step): Sums.of(rows["value"].to_numpy(), rows["place"].to_numpy(), n_prompts=prompts.height)
        for (setting, step), rows in coded.group_by("setting", "step")
    }
    sizes = dict(ends.group_by("setting").len().iter_rows())
    names = sorted(sizes, key=lambda name: (_place(name, declared.arms), -sizes[name], name))
    if len(names) < 2 or prompts.height < FEWEST:
        return None
    nothing = np.full(prompts.height, np.nan)
    means = np.array([[sums[name, at].means if (name, at) in sums else nothing for at in (steps[0], steps[-1])] for name in names])
    return Cells(means, sums, names, (steps[0], steps[-1]))


def _place(setting: str, arms: Sequence[str]) -> int:
    """Where a setting's arm stands; the longest that fits, as a name may begin with another."""
    fitting = [(len(arm), -place) for place, arm in enumerate(arms) if setting == arm or setting.startswith(f"{arm}, ")]
    return -max(fitting)[1] if fitting else len(arms)


def _between(cells: Cells, setting: str, seed: int) -> Contrast | None:
    first, last = ((setting, at) for at in cells.steps)
    if first not in cells.sums or last not in cells.sums:
        return None
    return paired_difference(cells.sums[first], cells.sums[last], seed=seed)


def _shifts(cells: Cells, way: float) -> list[tuple[float, str, str, int]]:
    """Each ordered pair of settings at each checkpoint, with how far it goes the way that is asked."""
    found = []
    for place, at in enumerate(cells.steps):
        for setting, against in permutations(range(len(cells.settings)), 2):
            apart = cells.means[setting, place] - cells.means[against, place]
            if np.isfinite(apart).sum() >= FEWEST:
                found.append((way * float(np.nanmean(apart)), cells.settings[setting], cells.settings[against], at))
    return found


def _moved(cells: Cells, seed: int) -> float | None:
    """Every setting minus the base at both checkpoints, tested together, over the prompts that have all of it."""
    apart = (cells.means[1:] - cells.means[:1]).reshape(-1, cells.means.shape[2])
    columns = apart[np.isfinite(apart).any(axis=1)]
    whole = columns[:, np.isfinite(columns).all(axis=0)].T
    return sign_flip(whole, seed=seed) if len(whole) >= FEWEST and whole.any() else None


def _explained(made: Swayed, cells: Cells, shifts: Sequence[tuple[float, str, str, int]], way: float, *, is_share: bool) -> Swayed:
    """The part of the difference that the largest shift is, with an interval that holds whichever pair is the largest.

    That none reaches the difference is said only where it is shown for every pair, so that no pair adds to the risk (an intersection-union
    test); the lower end is Bonferroni's over all pairs.
    """
    difference = way * (cells.means[0, 1] - cells.means[0, 0])
    ratios = []
    for _, setting, against, at in shifts:
        place = cells.steps.index(at)
        one, other = cells.settings.index(setting), cells.settings.index(against)
        shift = way * (cells.means[one, place] - cells.means[other, place])
        least = _least_error(cells, (setting, against), at) if is_share else 0.0
        ratios.append(_ratio(shift, difference, least, pairs=len(shifts)))
    known = [ratio for ratio in ratios if ratio]
    if not known or len(known) < len(ratios):
        return made
    high = max(ratio.high for ratio in known)
    return replace(
        made,
        part=max(ratio.value for ratio in known),
        part_low=max(0.0, *(ratio.low for ratio in known)),
        part_high=high if np.isfinite(high) else None,
        p_beyond=min(1.0, 2 * max(ratio.p for ratio in known)),
    )


def _least_error(cells: Cells, pair: tuple[str, str], at: int) -> float:
    """The least standard error to be had of a share: as if one answer more had come out otherwise."""
    return 1 / max(1, min(int(cells.sums[name, at].traces.sum()) for name in pair))


def _ratio(shift: Floats, difference: Floats, least: float, *, pairs: int) -> Ratio | None:
    """None where prompts are too few, or the difference is not clear of nought."""
    both = np.isfinite(shift) & np.isfinite(difference)
    n = int(both.sum())
    if n < FEWEST:
        return None
    x, y = shift[both], difference[both]
    top, under = float(x.mean()), float(y.mean())
    spread = np.cov(np.stack([x, y])) / n
    spread[0, 0], spread[1, 1] = max(spread[0, 0], least**2), max(spread[1, 1], least**2)
    t = float(stdtrit(n - 1, (1 + LEVEL) / 2))
    if under <= t * spread[1, 1] ** 0.5:
        return None
    error = float(spread[0, 0] + spread[1, 1] - 2 * spread[0, 1]) ** 0.5
    p = float(stdtr(n - 1, -(under - top) / error)) if error > 0 else float(top >= under)
    t_low = float(stdtrit(n - 1, 1 - (1 - LEVEL) / 2 / pairs))
    return Ratio(top / under, _fieller(top, under, spread, t_low)[0], _fieller(top, under, spread, t)[1], p)


def _fieller(top: float, under: float, spread: Floats, t: float) -> tuple[float, float]:
    """The ends of the ratio's interval; without end where the lower number may be nought (Fieller 1954)."""
    a = under**2 - t**2 * spread[1, 1]
    b = top * under - t**2 * spread[0, 1]
    c = top**2 - t**2 * spread[0, 0]
    if a <= 0:
        return -np.inf, np.inf
    root = max(b**2 - a * c, 0.0) ** 0.5
    return float((b - root) / a), float((b + root) / a)
