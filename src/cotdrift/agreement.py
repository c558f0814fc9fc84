"""Agreement: whether raters, be they people or models, answer alike.

Ratings come as an array: a row a rater, a column an item, NaN where a rater gave no answer. A judge that is asked twice is two raters.
Items of one prompt are not independent, so intervals resample whole prompts. Raters are too few to be resampled: they are left out in turn.
"""

from collections.abc import Sequence
from functools import partial
from typing import Literal

import numpy as np
from msgspec import Struct
from numpy.typing import ArrayLike

from cotdrift.errors import InputError
from cotdrift.estimate import BATCH_CELLS, Estimate, Floats, bootstrap
from cotdrift.panel import count_answers, rows_of

Scale = Literal["nominal", "ordinal", "interval", "ratio"]
"""What the numbers mean: names, an order, distances, or shares of the way from nought."""

RELIABLE = 0.667
"""The least alpha from which Krippendorff (2004) lets tentative conclusions be drawn."""
UNDEFINED = 0.05
"""The share of draws in which all may give one answer, before there is no interval."""
MOST_ANSWERS = {"nominal": 32, "ordinal": 32, "ratio": 32, "interval": 1000}
"""Different answers up to which agreement is computed: pairs of them are counted, and on an interval scale only their distances."""


class Agreement(Struct, frozen=True, kw_only=True):
    """How far raters answer alike, beside how often each answer is given: a rare answer makes raw agreement high and alpha low."""

    scale: Scale
    items: int
    """Items that at least two raters answered; no other says anything of agreement."""
    raters: int
    missing: int
    """Ratings that were not given, of raters times items."""
    raw: Estimate
    """The share of pairs of raters that give the same answer."""
    alpha: Estimate
    """Krippendorff's: 1 where all agree, 0 where they do as often as by chance. No value where all give one answer."""
    ac1: Estimate
    """Gwet's (2008), which stays high where one answer is rare."""
    ac2: Estimate | None
    """Gwet's with ordinal weights, by which a near answer counts in part; None where answers have no order, or are fewer than three."""
    fleiss: float | None
    """Fleiss' kappa of the items that every rater answered; None where there are none, or all of them have one answer."""
    prevalence: dict[str, float]
    """How often each answer is given; every item counts once."""
    without: dict[str, float | None]
    """Rater to the alpha of all others; empty for fewer than three raters."""

    @property
    def range(self) -> tuple[float, float] | None:
        """The lowest and the highest alpha with one rater left out; None where that says nothing."""
        known = [alpha for alpha in self.without.values() if alpha is not None]
        return (min(known), max(known)) if known else None

    def sentence(self) -> str:
        """How far they agree, in one sentence with numbers."""
        who = f"{self.raters} raters on {self.items:,} items of {self.alpha.prompts:,} prompts"
        if self.raw.value is None:
            return f"{who}: no item has two answers, so nothing is known of agreement."
        raw = f"{who}: {100 * self.raw.value:.1f} % of pairs agree"
        rarest, share = min(self.prevalence.items(), key=lambda pair: pair[1])
        if self.alpha.value is None:
            only = max(self.prevalence, key=self.prevalence.__getitem__)
            return f"{raw}, but all give one answer ({only}), so nothing is known of alpha."
        around = f", {_number(self.range[0])} to {_number(self.range[1])} with one rater left out" if self.range else ""
        verdict = "" if self.alpha.value >= RELIABLE else "; single answers cannot be relied on"
        return (
            f"{raw}; alpha {_told(self.alpha)}{around}; AC1 {_told(self.ac1)}; the rarest answer, {rarest}, is given to "
            f"{100 * share:.1f} %{verdict}."
        )


def agreement(
    ratings: ArrayLike,
    prompts: ArrayLike | None = None,
    *,
    scale: Scale = "nominal",
    answers: Sequence[float] | None = None,
    raters: Sequence[str] = (),
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Agreement:
    """How far raters agree. `prompts` has a code an item; without it every item is a prompt of its own.

    `answers` are all that may be given, which AC1 and AC2 count; None takes those that are. `raters` are their names.

    >>> found = agreement([[1, 0, 0, 1], [1, 0, 1, 1], [1, 0, 0, float("nan")]], scale="nominal")
    >>> round(found.raw.value, 3), round(found.alpha.value, 3), found.missing
    (0.833, 0.667, 1)
    """
    table = rows_of(ratings)
    many, items = table.shape
    codes = np.arange(items) if prompts is None else np.unique(np.asarray(prompts), return_inverse=True)[1]
    values, counts = count_answers(table, answers)
    if len(values) > MOST_ANSWERS[scale]:
        raise InputError(f"{len(values)} different answers are too many on scale {scale!r}. Round them, or say scale='interval'.")
    columns = _columns(counts, values, scale)
    read = partial(_coefficients, values=values, scale=scale)
    per_prompt = np.zeros((int(codes.max(initial=-1)) + 1, columns.shape[1]))
    np.add.at(per_prompt, codes, columns)
    per_prompt = per_prompt[per_prompt.any(axis=1)]
    prompts_rated, rows = len(per_prompt), max(1, BATCH_CELLS // columns.shape[1])

    def statistic(weights: Floats) -> Floats:
        return np.concatenate([read(weights[start : start + rows] @ per_prompt) for start in range(0, len(weights), rows)])

    seen = read(per_prompt.sum(axis=0, keepdims=True))[0]
    drawn = bootstrap(prompts_rated, statistic, resamples=resamples, seed=seed) if prompts_rated > 1 else np.empty((0, 4))
    rated, missing = int((counts.sum(axis=1) > 1).sum()), int(np.isnan(table).sum())
    names = ("raw agreement", f"Krippendorff's alpha, {scale}", "Gwet's AC1", "Gwet's AC2, ordinal weights")
    made = [
        _estimate(float(seen[place]), drawn[:, place], name, items=rated, prompts=prompts_rated, missing=missing, level=level)
        for place, name in enumerate(names)
    ]
    ordered = scale != "nominal" and len(values) > 2
    given = counts[counts.any(axis=1)]
    shares = (given / given.sum(axis=1, keepdims=True)).mean(axis=0) if len(given) else np.zeros(len(values))
    return Agreement(
        scale=scale,
        items=rated,
        raters=many,
        missing=missing,
        raw=made[0],
        alpha=made[1],
        ac1=made[2],
        ac2=made[3] if ordered else None,
        fleiss=_fleiss(counts[counts.sum(axis=1) == many], many),
        prevalence={f"{value:g}": float(share) for value, share in zip(values, shares, strict=True)},
        without=_without(table, values, scale, [*raters] or [str(rater + 1) for rater in range(many)]),
    )


def _columns(counts: Floats, values: Floats, scale: Scale) -> Floats:
    """What each item adds to the coefficients: all are functions of sums over items."""
    many = counts.sum(axis=1, keepdims=True)
    pairs = np.where(many > 1, many * (many - 1), np.inf)
    alike = ((counts * (counts - 1)).sum(axis=1, keepdims=True)) / pairs
    near = (counts * (counts @ _ordinal_weights(len(values)) - 1)).sum(axis=1, keepdims=True) / pairs
    shares = counts / np.where(many, many, np.inf)
    return np.hstack([many > 1, alike, near, many > 0, shares, _coincidences(np.where(many > 1, counts, 0), values, scale)])


def _coincidences(counts: Floats, values: Floats, scale: Scale) -> Floats:
    """What each item adds to Krippendorff's disagreements: its pairs of answers, or on an interval scale the moments that say as much."""
    many = counts.sum(axis=1)
    others = np.where(many > 1, many - 1, np.inf)
    if scale == "interval":
        centred = values - values.mean() if len(values) else values
        total, squares = counts @ centred, counts @ centred**2
        return np.stack([many, total, squares, 2 * (many * squares - total**2) / others], axis=1)
    pairs = counts[:, :, None] * (counts[:, None, :] - np.eye(len(values))) / others[:, None, None]
    return pairs.reshape(len(counts), len(values) ** 2)


def _coefficients(sums: Floats, *, values: Floats, scale: Scale) -> Floats:
    """Raw agreement, alpha, AC1 and AC2 (columns) of each row of summed columns; NaN where one is not defined."""
    kinds = len(values)
    paired, alike, near, rated = sums[:, :4].T
    shares = _ratio(sums[:, 4 : 4 + kinds], rated[:, None])
    raw, close = _ratio(alike, paired), _ratio(near, paired)
    spread = (shares * (1 - shares)).sum(axis=1)
    weights = _ordinal_weights(kinds).sum()
    by_chance = [np.full(len(sums), np.nan)] * 2 if kinds < 2 else [spread / (kinds - 1), weights * spread / (kinds * (kinds - 1))]
    ac1, ac2 = (_ratio(seen - chance, 1 - chance) for seen, chance in zip((raw, close), by_chance, strict=True))
    return np.stack([raw, _alpha(sums[:, 4 + kinds :], values, scale), ac1, ac2], axis=1)


def _alpha(pairs: Floats, values: Floats, scale: Scale) -> Floats:
    """One minus the disagreement within items over that between any two answers."""
    if scale == "interval":
        many, total, squares, within = pairs.T
        between = 2 * (many * squares - total**2) / np.maximum(many, 1)
        nothing = 1e-12 * many * (np.ptp(values) if len(values) else 0.0) ** 2  # rounding, where all answers of a draw are the same
    else:
        table = pairs.reshape(len(pairs), len(values), len(values))
        seen = table.sum(axis=2)
        many, apart = seen.sum(axis=1), _apart(seen, values, scale)
        within = (table * apart).sum(axis=(1, 2))
        between = (seen[:, :, None] * seen[:, None, :] * apart).sum(axis=(1, 2)) / np.maximum(many, 1)
        nothing = np.zeros(len(pairs))
    between = np.where(between > nothing, between, 0.0)
    return 1 - _ratio((many - 1) * within, many * between) if len(values) else np.full(len(pairs), np.nan)


def _apart(seen: Floats, values: Floats, scale: Scale) -> Floats:
    """How far two answers are apart, squared; on an ordinal scale that depends on how many lie between."""
    if scale == "nominal":
        return 1 - np.eye(len(values))[None]
    if scale == "ordinal":
        ranks = seen.cumsum(axis=1) - seen / 2
        return np.asarray((ranks[:, :, None] - ranks[:, None, :]) ** 2)
    return np.asarray(_ratio(values[:, None] - values, values[:, None] + values, otherwise=0.0) ** 2)[None]


def _ordinal_weights(kinds: int) -> Floats:
    """Gwet's ordinal weights: 1 for the same answer, 0 for the two ends, by how many pairs of answers lie within."""
    places = np.arange(kinds)
    steps = np.abs(places[:, None] - places)
    within = (steps + 1) * steps / 2
    return np.asarray(1 - within / max(within.max(initial=0.0), 1.0))


def _ratio(above: Floats, below: Floats, *, otherwise: float = np.nan) -> Floats:
    above, below = np.broadcast_arrays(above, below)
    ratio: Floats = np.divide(above, below, out=np.full(above.shape, otherwise), where=below != 0)
    return ratio


def _estimate(value: float, drawn: Floats, name: str, *, items: int, prompts: int, missing: int, level: float) -> Estimate:
    made = partial(Estimate, traces=items, prompts=prompts, missing=missing, level=level)
    if not np.isfinite(value):
        return made(value=None, method=f"{name}; {'all give one answer' if items else 'no item has two answers'}")
    if prompts < 2:
        return made(value=value, method=f"{name}; one prompt, so no interval")
    known = drawn[np.isfinite(drawn)]
    if len(known) < (1 - UNDEFINED) * len(drawn):
        return made(value=value, method=f"{name}; an answer is too rare to resample, so no interval")
    if np.ptp(known) <= 1e-12:
        return made(value=value, method=f"{name}; no prompt differs from another, so no interval")
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return made(value=value, low=min(float(low), value), high=max(float(high), value), method=f"{name}; prompts resampled")


def _fleiss(counts: Floats, raters: int) -> float | None:
    if raters < 2 or counts.any(axis=0).sum() < 2:
        return None
    from statsmodels.stats.inter_rater import fleiss_kappa  # a second of import that only this should cost

    return float(fleiss_kappa(counts))


def _without(table: Floats, values: Floats, scale: Scale, names: Sequence[str]) -> dict[str, float | None]:
    if len(table) < 3:
        return {}
    found: dict[str, float | None] = {}
    for rater, name in enumerate(names):
        _, counts = count_answers(np.delete(table, rater, axis=0), values.tolist())
        alpha = float(_alpha(_coincidences(counts, values, scale).sum(axis=0, keepdims=True), values, scale)[0])
        found[name] = alpha if np.isfinite(alpha) else None
    return found


def _told(estimate: Estimate) -> str:
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return "unknown" if estimate.value is None else _number(estimate.value)
    return f"{_number(estimate.value)} [{_number(estimate.low)}, {_number(estimate.high)}]"


def _number(value: float) -> str:
    return f"{value:.2f}"
