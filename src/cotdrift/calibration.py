"""Calibration: how often a grader says yes where the truth is yes, and no where it is no; and whether that changed over training.

A grader is measured on traces that people labelled, or whose truth is known. What it is worth at one checkpoint it need not be worth at the
next, so traces come with a code of their group of checkpoints too.
"""

from collections.abc import Sequence
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
from msgspec import Struct
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit, fdtrc, logit, stdtrit

from cotdrift.estimate import Estimate, Floats, Ints, Sums, checked_chances, effective_size, holm, mean, mean_of, sign_flip

What = Literal["sensitivity", "specificity", "AUROC"]

ALPHA = 0.05
ADVISED_LABELS = 200
"""Labelled traces a group should have before its calibration is leaned on."""


class GroupCalibration(Struct, frozen=True, kw_only=True):
    """What a grader is worth on the traces of one group of checkpoints."""

    name: str
    labels: int
    """Labelled traces, with and without a judgment."""
    positives: int
    """Those of them whose truth is yes."""
    sensitivity: Estimate
    """The share of true yes that the grader says yes to."""
    specificity: Estimate
    """The share of true no that the grader says no to."""
    auroc: Estimate
    """How often a trace whose truth is yes has a higher value than one whose truth is no."""


class Change(Struct, frozen=True, kw_only=True):
    """Whether something differs between groups."""

    what: What
    p: float | None
    """How often groups that do not differ look as different as these; None where fewer than two can be compared."""
    p_adjusted: float | None
    """Holm's, over all that was tested of this grader."""
    method: str


class Calibration(Struct, frozen=True, kw_only=True):
    """What a grader is worth, over all labelled traces and by group."""

    cut: float
    """From this value on, label and grader say yes."""
    every: GroupCalibration
    """All groups together."""
    prevalence: Estimate
    """The share of labels that say yes."""
    judged: Estimate
    """The share of judgments on labelled traces that say yes; missing are labelled traces without a judgment."""
    groups: tuple[GroupCalibration, ...]
    """By group, in the order of their codes; empty where there is one."""
    changes: tuple[Change, ...]
    """A test of each number's being the same in all groups; empty where there is one."""

    @property
    def is_stable(self) -> bool | None:
        """Whether no change between groups is seen; None where nothing could be compared."""
        known = [change.p_adjusted for change in self.changes if change.p_adjusted is not None]
        return min(known) >= ALPHA if known else None

    def sentence(self) -> str:
        """What the grader is worth, with numbers."""
        every = self.every
        told = (
            f"Sensitivity {_percent(every.sensitivity)}, specificity {_percent(every.specificity)}, AUROC {_number(every.auroc)}, on "
            f"{every.labels:,} labelled traces of {self.prevalence.prompts:,} prompts, {every.positives:,} of them yes"
        )
        told += f" ({self.judged.missing:,} have no judgment)." if self.judged.missing else "."
        changed = [change for change in self.changes if change.p_adjusted is not None and change.p_adjusted < ALPHA]
        for change in changed:
            told += f" Its {change.what} differs between checkpoints (p = {change.p_adjusted:.2g}): correct each by its own labels."
        if self.is_stable:
            least = min(change.p_adjusted for change in self.changes if change.p_adjusted is not None)
            told += f" No change between {len(self.groups)} groups of checkpoints is seen (smallest p = {least:.2g})."
        few = [group.name for group in self.groups or (every,) if group.labels < ADVISED_LABELS]
        return told + (f" Fewer than {ADVISED_LABELS} labels: {', '.join(few)}." if few else "")


class Placements(NamedTuple):
    """The area under the ROC curve, and what each trace does to it."""

    area: float
    influence: Floats
    """Sums to nought; the sum of its squares over independent traces is the area's variance."""


class Labelled(NamedTuple):
    """Traces with a label and a judgment."""

    judged: Floats
    truth: NDArray[np.bool_]
    prompts: Ints
    groups: Ints
    weights: Floats
    """How many traces each stands for, up to a factor."""

    def where(self, kept: NDArray[np.bool_]) -> "Labelled":
        """Some of them."""
        return Labelled(self.judged[kept], self.truth[kept], self.prompts[kept], self.groups[kept], self.weights[kept])


def calibrate(
    judged: ArrayLike,
    labels: ArrayLike,
    prompts: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    names: Sequence[str] = (),
    chances: ArrayLike | None = None,
    cut: float = 0.5,
    level: float = 0.95,
    seed: int = 0,
) -> Calibration:
    """What a grader is worth, from its values, labels (NaN where there is none) and prompt codes.

    `groups` has a code of its checkpoints for each trace, and `names` those groups' names. Where some traces were likelier to be labelled
    than others, as those that the grader said yes to, `chances` say how likely each was, and labels are weighted by their inverse (Begg and
    Greenes 1983). Traces without a label count for nothing; those with a label and no judgment (NaN) are counted as missing, and a grader's
    worth is said of those it judged.

    >>> found = calibrate([1, 0, 1, 0, 0, 1], [1, 1, 1, 0, 0, 0], [0, 1, 2, 0, 1, 2])
    >>> round(found.every.sensitivity.value, 3), round(found.every.specificity.value, 3), found.every.auroc.value
    (0.667, 0.667, 0.6666666666666666)
    """
    told = np.isfinite(np.asarray(labels, np.float64))
    codes = np.zeros(len(told), np.int64) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    every = Labelled(
        np.asarray(judged, np.float64)[told],
        np.asarray(labels, np.float64)[told] >= cut,
        np.unique(np.asarray(prompts), return_inverse=True)[1].astype(np.int64)[told],
        codes.astype(np.int64)[told],
        np.ones(int(told.sum())) if chances is None else 1 / checked_chances(chances, told),
    )
    made = partial(_group, cut=cut, level=level)
    present = np.unique(every.groups)
    several = len(present) > 1
    seen = every.where(np.isfinite(every.judged))
    tests = _changes(seen, cut, seed) if several else ()
    adjusted = holm([p for _, p, _ in tests])
    called = {code: names[code] if code < len(names) else str(code) for code in present.tolist()}
    return Calibration(
        cut=cut,
        every=made("all", every),
        prevalence=mean(every.truth, every.prompts, share=True, level=level),
        judged=mean(seen.judged >= cut, seen.prompts, share=True, missing=len(every.judged) - len(seen.judged), level=level),
        groups=tuple(made(called[code], every.where(every.groups == code)) for code in present.tolist()) if several else (),
        changes=tuple(
            Change(what=what, p=p, p_adjusted=least, method=method) for (what, p, method), least in zip(tests, adjusted, strict=True)
        ),
    )


def auroc(
    judged: ArrayLike, labels: ArrayLike, prompts: ArrayLike, *, weights: ArrayLike | None = None, missing: int = 0, level: float = 0.95
) -> Estimate:
    """How often a trace whose label is yes (1) has a higher value than one whose label is no; ties count half.

    `weights` say how many traces each stands for; None takes them for alike. The variance is DeLong's (1988) with prompts as clusters
    (Obuchowski 1997), on the log-odds scale.

    >>> auroc([0.9, 0.8, 0.3, 0.1], [1, 0, 1, 0], [0, 1, 2, 3]).value
    0.75
    """
    values, truth = np.asarray(judged, np.float64), np.asarray(labels, np.float64) > 0.5
    codes = np.unique(np.asarray(prompts), return_inverse=True)[1]
    n_prompts = int(codes.max(initial=-1)) + 1
    made = partial(Estimate, traces=len(values), prompts=n_prompts, missing=missing, level=level)
    stands = np.ones(len(values)) if weights is None else np.asarray(weights, np.float64)
    found = placements(values, truth, stands)
    if found is None:
        return made(value=None, method="AUROC; no trace of one of the two kinds")
    if n_prompts < 2:
        return made(value=found.area, method="AUROC; one prompt, so no interval")
    if found.area in (0.0, 1.0):  # no placement differs, so it is bounded like a share of none, or of all, of the smaller kind
        each = [(stands[kind] / stands[kind].mean(), codes[kind]) for kind in (truth, ~truth)]
        smaller = min(effective_size(Sums.of(part, where, exposure=part)) for part, where in each)
        gap = 1 - ((1 - level) / 2) ** (1 / smaller)
        low, high = (0.0, gap) if found.area == 0 else (1 - gap, 1.0)
        return made(value=found.area, low=low, high=high, method="AUROC; exact, with each prompt's traces counted as one")
    variance = _between(found.influence, codes)
    if variance <= 0:
        return made(value=found.area, method="AUROC; no prompt differs from another, so no interval")
    half = float(stdtrit(n_prompts - 1, (1 + level) / 2)) * variance**0.5 / (found.area * (1 - found.area))
    low, high = expit(logit(found.area) - half), expit(logit(found.area) + half)
    low, high = min(float(low), found.area), max(float(high), found.area)
    return made(value=found.area, low=low, high=high, method="AUROC; DeLong on the log-odds scale, clustered by prompt")


def placements(judged: Floats, truth: NDArray[np.bool_], weights: Floats | None = None) -> Placements | None:
    """The area and each trace's influence on it; None without a trace of each kind. `weights` say how many traces each stands for."""
    stands = np.ones(len(judged)) if weights is None else weights
    yes, no = float(stands[truth].sum()), float(stands[~truth].sum())
    if not (truth.any() and (~truth).any()):
        return None
    above = _below(judged, stands)
    for kind in (truth, ~truth):
        above[kind] -= _below(judged[kind], stands[kind])  # what is left is how many of the other kind are below, ties by half
    area = float(stands[truth] @ above[truth] / (yes * no))
    return Placements(area, stands * np.where(truth, (above / no - area) / yes, (1 - above / yes - area) / no))


def _below(values: Floats, weights: Floats) -> Floats:
    """What the weights of lower values add up to, with half of those of equal ones."""
    _, place = np.unique(values, return_inverse=True)
    alike = np.bincount(place, weights)
    return np.asarray((alike.cumsum() - alike / 2)[place])


def _group(name: str, traces: Labelled, *, cut: float, level: float) -> GroupCalibration:
    seen = np.isfinite(traces.judged)
    says = np.where(seen, traces.judged >= cut, False)

    def share(kind: NDArray[np.bool_], right: NDArray[np.bool_]) -> Estimate:
        inside = kind & seen
        each = traces.weights[inside] / (traces.weights[inside].mean() if inside.any() else 1.0)
        sums = Sums.of(right[inside] * each, traces.prompts[inside], exposure=each)
        return mean_of(sums, share=True, missing=int((kind & ~seen).sum()), level=level)

    return GroupCalibration(
        name=name,
        labels=len(seen),
        positives=int(traces.truth.sum()),
        sensitivity=share(traces.truth, says),
        specificity=share(~traces.truth, ~says),
        auroc=auroc(
            traces.judged[seen],
            traces.truth[seen],
            traces.prompts[seen],
            weights=traces.weights[seen],
            missing=int((~seen).sum()),
            level=level,
        ),
    )


def _changes(seen: Labelled, cut: float, seed: int) -> list[tuple[What, float | None, str]]:
    """What was tested, its p, and how."""
    says = seen.judged >= cut
    flips = "score test, whole prompts flipped"
    return [
        ("sensitivity", _same_share(says[seen.truth], seen.where(seen.truth), seed), flips),
        ("specificity", _same_share(~says[~seen.truth], seen.where(~seen.truth), seed), flips),
        ("AUROC", _same_area(seen), "Wald test with Hotelling's F, clustered by prompt"),
    ]


def _same_share(right: NDArray[np.bool_], traces: Labelled, seed: int) -> float | None:
    """How often a share that is the same in all groups looks as different as this.

    Each prompt scores, group by group, how far its traces are from the share of all; under the null its scores may as well have the other
    sign. That holds its size with few prompts, and where a group is right throughout.
    """
    present, groups = np.unique(traces.groups, return_inverse=True)
    prompts = np.unique(traces.prompts, return_inverse=True)[1]
    if len(present) < 2 or len(np.unique(prompts)) < 2:
        return None
    scores, each = np.zeros((int(prompts.max()) + 1, len(present))), traces.weights / traces.weights.mean()
    np.add.at(scores, (prompts, groups), each * (right - np.average(right, weights=each)))
    sizes = np.bincount(groups, each) / each.sum()
    return sign_flip(scores - scores.sum(axis=1, keepdims=True) * sizes, seed=seed)


def _same_area(traces: Labelled) -> float | None:
    """The same of the AUROC, by its influences: those of one prompt's traces go together, in whichever groups they are."""
    prompts = np.unique(traces.prompts, return_inverse=True)[1]
    areas, influences = [], []
    for group in np.unique(traces.groups):
        inside = traces.groups == group
        found = placements(traces.judged[inside], traces.truth[inside], traces.weights[inside])
        if found is not None:
            areas.append(found.area)
            influences.append(np.bincount(prompts[inside], found.influence, minlength=int(prompts.max()) + 1))
    many, free = len(influences[0]) if influences else 0, len(areas) - 1
    if free < 1 or many <= free + 1:
        return None
    apart: Floats = np.diff(np.stack(influences, axis=1), axis=1)
    variance = many / (many - 1) * apart.T @ apart
    if np.linalg.matrix_rank(variance) < free:
        return None
    difference = np.diff(areas)
    wald = float(difference @ np.linalg.solve(variance, difference))
    return float(fdtrc(free, many - free, wald * (many - free) / ((many - 1) * free)))


def _between(influence: Floats, prompts: Ints) -> float:
    """The variance that traces' influences add up to, when prompts are what is independent."""
    sums = np.bincount(prompts, influence)
    return float(len(sums) / (len(sums) - 1) * sums @ sums)


def _percent(estimate: Estimate) -> str:
    if estimate.value is None:
        return "unknown"
    bounds = "" if estimate.low is None or estimate.high is None else f" [{100 * estimate.low:.0f}, {100 * estimate.high:.0f}]"
    return f"{100 * estimate.value:.0f} %{bounds}"


def _number(estimate: Estimate) -> str:
    if estimate.value is None:
        return "unknown"
    bounds = "" if estimate.low is None or estimate.high is None else f" [{estimate.low:.2f}, {estimate.high:.2f}]"
    return f"{estimate.value:.2f}{bounds}"
