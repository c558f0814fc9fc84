"""A scale of doses: how readers' answers get worse as a known encoding gets stronger, and where on it a checkpoint's own words stand.

The curve is the least-squares one that never rises (isotonic regression, Barlow et al., 1972) through the share of right answers at each
dose. A checkpoint is as hard to read as the dose at which the curve has the checkpoint's own share. Intervals resample whole prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from msgspec import Struct
from numpy.typing import ArrayLike

from cotdrift.estimate import Estimate, Floats, Sums, bootstrap, mean_of, sign_flip

RESAMPLES = 1000
ALPHA, LEAST_DROP = 0.05, 0.05
"""How unlikely by chance the fall must be, and how far, before anything is placed on a curve: one that never rises always seems to fall."""
ALIKE = 1e-9


class Answers(NamedTuple):
    """Answers of one reader: an entry an answer."""

    right: Floats
    """From 0 to 1."""
    prompts: Floats
    """A code each; the same over all answers of a study."""
    doses: Floats

    def at(self, dose: float) -> Answers:
        """Those at one dose."""
        here = np.isclose(self.doses, dose)
        return Answers(self.right[here], self.prompts[here], self.doses[here])


class Placed(Struct, frozen=True, kw_only=True):
    """Where something stands on a scale of doses."""

    dose: float | None
    """None where it is off the scale, or where there is none; `off` says which."""
    low: float | None = None
    high: float | None = None
    off: str = ""
    """`harder` than the highest dose, `easier` than plain text, `no scale`; empty where it is on the scale."""
    outside: float = 0.0
    """The share of resampled studies in which it was off the scale, or there was none."""

    def said(self, of: str) -> str:
        """As a phrase.

        >>> Placed(dose=0.4, low=0.25, high=0.6).said("glossary")
        'as hard to read as 40 % glossary [25, 60]'
        """
        if self.off == "no scale":
            return f"cannot be placed, as the answers do not clearly get worse with the dose of {of}"
        if self.off == "harder":
            return f"off the scale: harder to read than all of {of}"
        if self.off == "easier":
            return f"off the scale: no harder to read than plain text, by {of}"
        bounds = "" if self.low is None or self.high is None else f" [{100 * self.low:.0f}, {100 * self.high:.0f}]"
        return f"as hard to read as {100 * (self.dose or 0):.0f} % {of}{bounds}"


class Scale(Struct, frozen=True, kw_only=True):
    """How one reader's answers go with the dose of one encoding."""

    doses: Sequence[float]
    seen: Sequence[Estimate]
    """The share of right answers at each dose; the first is of plain text."""
    curve: Sequence[float]
    """The same as the curve has it."""
    drop: Estimate
    """From plain text to the highest dose: how much less is right."""
    p: float | None
    """How often chance alone would have the answers fall, or rise, as much, plain text against encoded within prompts."""
    half: Placed
    """The dose at which half of that drop is made."""

    @property
    def is_one(self) -> bool:
        """Whether the answers clearly get worse."""
        return self.p is not None and self.p < ALPHA and (self.drop.value or 0.0) >= LEAST_DROP


def scale(answers: Answers, *, seed: int = 0, resamples: int = RESAMPLES) -> Scale | None:
    """The scale of an encoding for one reader; None where fewer than two doses, plain text among them, were read."""
    doses = np.unique(answers.doses)
    if len(doses) < 2 or doses[0] != 0:
        return None
    sums, counts = _tables(answers, doses)
    values = sums.sum(axis=0) / counts.sum(axis=0)
    curve = falling(values[None], counts.sum(axis=0)[None])[0]
    prompts = len(sums)
    drawn = (
        bootstrap(prompts, partial(_curves, sums=sums, counts=counts), seed=seed, resamples=resamples)
        if prompts > 1
        else np.empty((0, len(doses)))
    )
    drop = _estimate(float(curve[0] - curve[-1]), drawn[:, 0] - drawn[:, -1], len(answers.right), prompts, "fall of the curve")
    seen = [_share(answers.at(dose)) for dose in doses]
    made = partial(Scale, doses=doses.tolist(), seen=seen, curve=curve.tolist(), drop=drop, p=_p(sums, counts, doses, seed))
    found = made(half=Placed(dose=None, off="no scale", outside=1.0))
    if not found.is_one:
        return found
    middle = (curve[0] + curve[-1]) / 2
    halves = np.array([_inverse(one, doses, (one[0] + one[-1]) / 2) for one in drawn if np.isfinite(one).all()])
    return made(half=_placed(_inverse(curve, doses, middle), halves))


def place(answers: Answers, of: Answers, *, seed: int = 0, resamples: int = RESAMPLES) -> Placed:
    """Where other answers stand on the scale of `answers`; prompts that both have are drawn together."""
    found = scale(answers, seed=seed, resamples=resamples)
    if found is None or not found.is_one or not len(of.right):
        return Placed(dose=None, off="no scale", outside=1.0)
    doses = np.asarray(found.doses)
    codes = np.unique(np.concatenate([answers.prompts, of.prompts]))
    sums, counts = _tables(answers, doses, codes)
    theirs = _tables(Answers(of.right, of.prompts, np.zeros(len(of.right))), np.zeros(1), codes)

    def drawn(weights: Floats) -> Floats:
        share = np.divide(weights @ theirs[0], weights @ theirs[1], out=np.full((len(weights), 1), np.nan), where=weights @ theirs[1] > 0)
        return np.hstack([_curves(weights, sums=sums, counts=counts), share])

    rows = bootstrap(len(codes), drawn, seed=seed, resamples=resamples)
    rows = rows[np.isfinite(rows).all(axis=1)]
    places = np.array([_inverse(row[:-1], doses, row[-1]) for row in rows])
    return _placed(_inverse(np.asarray(found.curve), doses, float(of.right.mean())), places)


def _p(sums: Floats, counts: Floats, doses: Floats, seed: int) -> float | None:
    """The chance of so much of a slope over doses, by flipping whole prompts."""
    asked = np.maximum(counts.sum(axis=1, keepdims=True), 1.0)
    apart = doses[None, :] - (counts @ doses)[:, None] / asked
    return sign_flip((sums * apart).sum(axis=1, keepdims=True), seed=seed)


def falling(values: Floats, weights: Floats) -> Floats:
    """The curve that never rises and is nearest to each row of values; a dose without answers is left out and filled in between.

    >>> falling(np.array([[0.9, 0.5, 0.7, 0.2]]), np.ones((1, 4))).round(2).tolist()
    [[0.9, 0.6, 0.6, 0.2]]
    """
    from scipy.optimize import isotonic_regression  # a second of import that only this should cost

    found = np.full(values.shape, np.nan)
    at = np.arange(values.shape[1])
    for row, (value, weight) in enumerate(zip(values, weights, strict=True)):
        known = weight > 0
        if known[0] and known[-1]:
            fitted = isotonic_regression(value[known], weights=weight[known], increasing=False).x
            found[row] = np.interp(at, at[known], fitted)
    return found


def _curves(weights: Floats, *, sums: Floats, counts: Floats) -> Floats:
    total, many = weights @ sums, weights @ counts
    return falling(np.divide(total, many, out=np.zeros_like(total), where=many > 0), many)


def _tables(answers: Answers, doses: Floats, codes: ArrayLike | None = None) -> tuple[Floats, Floats]:
    """Right answers, and all answers, of each prompt at each dose."""
    known = np.unique(answers.prompts) if codes is None else np.asarray(codes)
    rows, columns = np.searchsorted(known, answers.prompts), np.abs(answers.doses[:, None] - doses[None, :]).argmin(axis=1)
    sums, counts = np.zeros((len(known), len(doses))), np.zeros((len(known), len(doses)))
    np.add.at(sums, (rows, columns), answers.right)
    np.add.at(counts, (rows, columns), 1.0)
    return sums, counts


def _inverse(curve: Floats, doses: Floats, share: float) -> float:
    """The dose at which a falling curve has this share: the middle of them where it is flat; −inf above the curve, inf below it."""
    if share > curve[0] + ALIKE:
        return -np.inf
    if share < curve[-1] - ALIKE:
        return np.inf
    flat = np.flatnonzero(np.abs(curve - share) <= ALIKE)
    if len(flat):
        return float((doses[flat[0]] + doses[flat[-1]]) / 2)
    after = int(np.argmax(curve < share))
    before = after - 1
    way = (curve[before] - share) / (curve[before] - curve[after])
    return float(doses[before] + way * (doses[after] - doses[before]))


def _placed(dose: float, drawn: Floats) -> Placed:
    outside = float(np.mean(~np.isfinite(drawn))) if len(drawn) else 0.0
    if not np.isfinite(dose):
        return Placed(dose=None, off="harder" if dose > 0 else "easier", outside=outside)
    if not len(drawn):
        return Placed(dose=dose)
    low, high = np.quantile(np.clip(drawn, 0.0, 1.0), [0.025, 0.975])
    return Placed(dose=dose, low=min(float(low), dose), high=max(float(high), dose), outside=outside)


def _share(answers: Answers) -> Estimate:
    codes = np.unique(answers.prompts, return_inverse=True)[1]
    return mean_of(Sums.of(answers.right, codes), share=bool(np.isin(answers.right, (0, 1)).all()))


def _estimate(value: float, drawn: Floats, traces: int, prompts: int, name: str) -> Estimate:
    known = drawn[np.isfinite(drawn)]
    if len(known) < 2:
        return Estimate(value=value, traces=traces, prompts=prompts, method=f"{name}; one prompt, so no interval")
    low, high = np.quantile(known, [0.025, 0.975])
    return Estimate(
        value=value,
        low=min(float(low), value),
        high=max(float(high), value),
        traces=traces,
        prompts=prompts,
        method=f"{name}; prompts resampled",
    )
