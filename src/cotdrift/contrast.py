"""A contrast of conditions: the rate at each level of a factor, and how far each level is from the base one.

A frame has a row a trace: prompt_id, value (null where there is none), a column `condition_FACTOR` for each factor; and environment,
where a prompt's name means different prompts in different environments.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import polars as pl
from msgspec import Struct
from msgspec.structs import replace
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from cotdrift.estimate import Contrast, Estimate, Floats, Ints, Sums, holm, mean_of

LEAST_FREEDOM = 3
"""Prompts beyond the number of levels that a model of all factors needs; with fewer, each factor is looked at alone."""
NOTHING, ROUNDED = 1e-9, 1e-6
"""What is nought but for rounding; and what the root of that is nought to."""
NUMBERED = "\x00"
"""Stands for all levels that have a number; no level is called that."""

Factors = Mapping[str, Sequence[str]]
"""Factor to its levels in order, the base first; levels that a frame has beyond these come after, by name."""


class Level(Struct, frozen=True, kw_only=True):
    """One level of a factor: the mean over its traces, and how far that is from the base level."""

    factor: str
    level: str
    base: str
    """The level it is held against; itself for the base."""
    estimate: Estimate
    contrast: Contrast | None = None
    """This level minus the base, the other factors held fixed; None for the base, and where the prompts cannot tell it from others."""
    p_adjusted: float | None = None
    """Holm's, over all contrasts of all factors asked for together."""


class Band(Struct, frozen=True, kw_only=True):
    """How far a rate moves with something that should not matter, such as the wording."""

    levels: int
    lowest: float
    lowest_at: str
    highest: float
    highest_at: str
    between: Estimate
    """The mean, with an interval that takes the level as its unit."""


def by_level(frame: pl.DataFrame, factor: str, *, levels: Sequence[str] = ()) -> dict[str, Estimate]:
    """The mean over the traces at each level, clustered by prompt; `levels` gives an order.

    >>> asked = {"prompt_id": ["a", "a", "b", "b"], "condition_tone": ["kind", "kind", "curt", "curt"]}
    >>> frame = pl.DataFrame(asked | {"value": [1, 0, 1, None]})
    >>> {level: (found.value, found.missing) for level, found in by_level(frame, "tone").items()}
    {'curt': (1.0, 1), 'kind': (0.5, 0)}
    """
    value, share = pl.col("value"), _yes_and_no(frame["value"])
    if f"condition_{factor}" not in frame.columns:
        return {}
    cells = _numbered(frame).group_by(f"condition_{factor}", "prompt").agg(value.sum(), size=value.count(), missing=value.null_count())
    at = cells[f"condition_{factor}"].to_numpy()
    numbers = {name: cells[name].to_numpy() for name in ("value", "size", "missing")}
    found = {}
    for level in _ordered(frame, factor, levels):
        total, size, missing = (column[at == level] for column in numbers.values())
        found[level] = mean_of(Sums(total, size.astype(np.float64), size.astype(np.int64)), share=share, missing=int(missing.sum()))
    return found


def band_over(frame: pl.DataFrame, factor: str) -> Band | None:
    """The lowest and the highest level of a factor, and the mean with the level as the unit; None where no trace has a value."""
    found = {level: estimate.value for level, estimate in by_level(frame, factor).items() if estimate.value is not None}
    if not found:
        return None
    lowest, highest = min(found, key=found.__getitem__), max(found, key=found.__getitem__)
    valued = _numbered(frame).drop_nulls(["value", f"condition_{factor}"])
    codes = valued[f"condition_{factor}"].rank("dense").to_numpy() - 1
    share = _yes_and_no(frame["value"])
    between = mean_of(Sums.of(valued["value"], codes), share=share)
    if found[lowest] == found[highest]:  # nothing differs between levels: then prompts are the coarsest unit that might
        between = mean_of(Sums.of(valued["value"], valued["prompt"]), share=share)
        between = replace(between, method=f"{between.method}; all of {len(found)} levels are alike")
    else:
        between = replace(between, method=between.method.replace("prompt", factor))
    return Band(levels=len(found), lowest=found[lowest], lowest_at=lowest, highest=found[highest], highest_at=highest, between=between)


def bounds(estimate: Estimate) -> tuple[float, float] | None:
    """The lowest and the highest that a share can be, were all that is missing no, or all yes; None where there is nothing at all.

    >>> bounds(Estimate(value=0.5, traces=8, prompts=4, missing=2, method="share"))
    (0.4, 0.6)
    """
    every = estimate.traces + estimate.missing
    if not every:
        return None
    yes = (estimate.value or 0.0) * estimate.traces
    return yes / every, (yes + estimate.missing) / every


def main_effects(frame: pl.DataFrame, factors: Factors, *, held: Iterable[str] = ()) -> list[Level]:
    """Every level of every factor, each contrasted with its factor's base by one linear model of them all.

    A factor that does not vary is left out. Factors in `held` are in the model, and have no contrasts of their own.
    """
    varied, held = _varied(frame, factors), set(held)
    contrasts = _contrasts(frame, varied)
    found = [
        Level(
            factor=factor,
            level=level,
            base=order[0],
            estimate=estimate,
            contrast=None if factor in held else contrasts.get((factor, level)),
        )
        for factor, order in varied.items()
        for level, estimate in by_level(frame, factor, levels=order).items()
    ]
    adjusted = holm([level.contrast.p if level.contrast else None for level in found])
    return [replace(level, p_adjusted=p) for level, p in zip(found, adjusted, strict=True)]


def difference(frame: pl.DataFrame, factor: str, since: str, until: str, factors: Factors) -> Contrast | None:
    """One level of a factor minus another, the other factors held fixed; None where the prompts cannot tell."""
    levels = _ordered(frame, factor, ())
    if since not in levels or until not in levels:
        return None
    return _contrasts(frame, _varied(frame, {**factors, factor: [since, until]})).get((factor, until))


def slope(frame: pl.DataFrame, factor: str, numbers: Mapping[str, float], factors: Factors) -> Contrast | None:
    """How much the mean rises as the factor's number rises by one, the other factors held fixed.

    Levels without a number, such as `none`, have a mean of their own. None where fewer than two numbers were asked.
    """
    column = pl.col(f"condition_{factor}")
    if len(numbers.keys() & _ordered(frame, factor, ())) < 2:
        return None
    told = frame.with_columns(
        pl.when(column.is_in(list(numbers))).then(pl.lit(NUMBERED)).otherwise(column).alias(f"condition_{factor}"),
        number=column.replace_strict(list(numbers), [float(number) for number in numbers.values()], default=0.0, return_dtype=pl.Float64),
    )
    varied = _varied(told, {name: order for name, order in factors.items() if name != factor})
    return _contrasts(told, {**varied, factor: _ordered(told, factor, [NUMBERED])}, numbered=factor).get((factor, NUMBERED))


class Model(NamedTuple):
    """A linear model, and what each prompt does to its coefficients."""

    coefficients: Floats
    influence: Floats
    """A row a prompt; the sum of the squares of a column is the variance of a coefficient."""
    known: NDArray[np.bool_]
    """Whether the design tells a coefficient from the others."""
    shared: NDArray[np.bool_]
    """Whether more than one prompt tells it, so that its error can be known."""
    freedom: int


def fit(design: Floats, values: Floats, prompts: Ints) -> Model:
    """Least squares with errors clustered by prompt; `prompts` are codes without a gap.

    Residuals are corrected for leverage, or intervals would be far too short where levels are nearly as many as prompts (CR2: Bell and
    McCaffrey 2002; HC2 where a prompt has one row).
    """
    scale, turn = np.linalg.eigh(design.T @ design)
    real = scale > NOTHING * scale[-1]
    inverse = turn[:, real] @ (turn[:, real] / scale[real]).T @ design.T
    coefficients = inverse @ values
    residual = values - design @ coefficients
    n = int(prompts.max()) + 1
    influence, alone = np.zeros((n, len(scale))), np.zeros(len(scale))
    order = np.argsort(prompts, kind="stable")
    for prompt, here in enumerate(np.split(order, np.cumsum(np.bincount(prompts))[:-1])):
        left = np.eye(len(here)) - design[here] @ inverse[:, here]
        size, direction = np.linalg.eigh((left + left.T) / 2)
        free = size > NOTHING
        along = inverse[:, here] @ direction
        influence[prompt] = along[:, free] @ ((direction[:, free].T @ residual[here]) / np.sqrt(size[free]))
        alone = np.maximum(alone, np.abs(along[:, ~free]).max(axis=1, initial=0.0))
    known = np.abs(turn[:, ~real]).max(axis=1, initial=0.0) < ROUNDED
    return Model(coefficients, influence, known, alone < ROUNDED, n - int(real.sum()))


def _contrasts(frame: pl.DataFrame, factors: Factors, *, numbered: str = "") -> dict[tuple[str, str], Contrast]:
    """Each level against its factor's first: by a model of all factors, or where prompts are too few for that, of each by itself.

    With a factor `numbered`, its first level stands for all levels with a number, and what is found for it is the slope on `number`.
    """
    columns = [f"condition_{factor}" for factor in factors]
    number = ["number"] if numbered else []
    valued = _numbered(frame).drop_nulls(["value", *columns])
    cells = valued.group_by("prompt", *columns, *number, maintain_order=True).agg(pl.col("value").mean(), traces=pl.len())
    if not cells.height:
        return {}
    names = [(factor, level) for factor, levels in factors.items() for level in levels[1:]]
    design = [np.ones(cells.height), *((cells[f"condition_{factor}"] == level).to_numpy() for factor, level in names)]
    if numbered:
        names.append((numbered, NUMBERED))
        design.append(cells["number"].to_numpy())
    whole = np.column_stack(design).astype(np.float64)
    prompts = np.unique(cells["prompt"].to_numpy(), return_inverse=True)[1].astype(np.int64)
    told = partial(_read, values=cells["value"].to_numpy(), prompts=prompts, traces=cells["traces"].to_numpy())
    if int(prompts.max()) + 1 - whole.shape[1] >= LEAST_FREEDOM:
        return told(names, whole, how="linear model of all factors")
    found: dict[tuple[str, str], Contrast] = {}
    for factor in factors:
        places = [place for place, (name, _) in enumerate(names) if name == factor]
        alone = whole[:, [0, *(place + 1 for place in places)]]
        found |= told([names[place] for place in places], alone, how="this factor alone, as prompts are too few to hold the others fixed")
    return found


def _read(
    names: Sequence[tuple[str, str]], design: Floats, *, values: Floats, prompts: Ints, traces: Ints, how: str
) -> dict[tuple[str, str], Contrast]:
    """The coefficients that the prompts determine, each with its interval."""
    model, found = fit(design, values, prompts), {}
    if model.freedom < LEAST_FREEDOM:
        return {}
    for place, name in enumerate(names, 1):
        if not model.known[place]:
            continue
        inside = np.abs(design[:, place]) > 0
        made = partial(Contrast, traces=int(traces[inside].sum()), prompts=len(np.unique(prompts[inside])))
        value = float(model.coefficients[place])
        value = 0.0 if abs(value) < NOTHING else value
        error = float(np.sqrt(model.influence[:, place] @ model.influence[:, place]))
        if not model.shared[place]:
            found[name] = made(value=value, method=f"{how}; one prompt alone tells it, so no interval")
        elif error <= NOTHING:
            found[name] = made(value=value, method=f"{how}; no prompt differs from another, so no interval")
        else:
            half = float(stdtrit(model.freedom, 0.975)) * error
            p = float(2 * stdtr(model.freedom, -abs(value) / error))
            found[name] = made(value=value, low=value - half, high=value + half, p=p, method=f"{how}, clustered by prompt; t interval")
    return found


def _varied(frame: pl.DataFrame, factors: Factors) -> dict[str, list[str]]:
    """The factors of which a frame has two levels or more, with those levels."""
    ordered = {factor: _ordered(frame, factor, levels) for factor, levels in factors.items()}
    return {factor: levels for factor, levels in ordered.items() if len(levels) > 1}


def _numbered(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with a number for each prompt."""
    who = pl.struct(name for name in ("environment", "prompt_id") if name in frame.columns)
    return frame.with_columns(prompt=who.rank("dense").cast(pl.Int64) - 1, value=pl.col("value").cast(pl.Float64))


def _ordered(frame: pl.DataFrame, factor: str, levels: Sequence[str]) -> list[str]:
    """The levels a frame has, those named first."""
    if f"condition_{factor}" not in frame.columns:
        return []
    there = set(frame[f"condition_{factor}"].drop_nulls().unique().to_list())
    return [*(level for level in levels if level in there), *sorted(there - set(levels))]


def _yes_and_no(values: pl.Series) -> bool:
    return bool(values.drop_nulls().cast(pl.Float64).is_in([0.0, 1.0]).all())
