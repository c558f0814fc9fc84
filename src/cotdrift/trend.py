"""A trend: one measure over the steps of a run, and the step from which it changed."""

import warnings
from functools import partial
from html import escape
from typing import Any

import numpy as np
import polars as pl
from msgspec import Struct
from msgspec.structs import replace
from scipy.special import stdtr, stdtrit

from cotdrift.estimate import Contrast, Estimate, Floats, Ints, Sums, mean_of, paired_difference, paired_ratio, poststratified_of, rate_of
from cotdrift.event_study import ROUGH_PROMPTS, Cells, Grid, Onset, event_study, grid_of, onset

ADVISED_PROMPTS = 60
"""From this many prompts on, intervals hold what they promise whatever the values look like."""
LARGEST_GEE = (200, 5_000)
"""Prompts and cells up to which working correlations are estimated; it takes seconds from there on, and changes little."""
CONTRASTED = ("value", "low", "high", "traces", "prompts", "method")


class Point(Struct, frozen=True, kw_only=True):
    """One checkpoint: what its traces say, crude and set against the first checkpoint."""

    step: int
    value: float | None
    """The mean over traces, or the rate; None when no trace has a value."""
    low: float | None
    high: float | None
    traces: int
    """Traces with a value."""
    prompts: int
    missing: int
    """Traces that should have had a value and have none."""
    set_aside: int
    """Traces whose reasoning is a summary, redacted or absent, so that nothing was measured."""
    why: dict[str, int]
    """How many traces have no value, by reason."""
    method: str
    paired: Estimate | None
    """Difference from the first checkpoint, each prompt against itself; None where the two cannot be compared."""
    poststratified: Estimate | None
    """The value under the run's average mix of environments; None when there is one environment."""
    bound_low: float | None = None
    """The value were every missing one the lowest there is; None where missing values are not bounded."""
    bound_high: float | None = None
    corrected: float | None = None
    """The value with a grader's errors taken out by labels; None where there are none, or too few."""
    corrected_low: float | None = None
    corrected_high: float | None = None
    corrected_method: str = ""


class LastAgainstFirst(Struct, frozen=True, kw_only=True):
    """The last checkpoint against the first, on the prompts they share."""

    step: int
    since: int
    value: float
    """Last minus first."""
    low: float | None
    high: float | None
    p: float | None
    traces: int
    prompts: int
    method: str
    ratio: Contrast | None
    """Last over first; None for shares, and for measures that can be zero on average or below it."""


class TrendTest(Struct, frozen=True, kw_only=True):
    """Whether the measure goes up or down with log(1 + step)."""

    p: float | None
    """None when no model could be fitted; the method then says why."""
    slope: float | None
    """Per unit of log(1 + step); on the log-odds scale where the method says so."""
    method: str


class Trend(Struct, frozen=True, kw_only=True):
    """One measure over the steps of one run."""

    run: str
    measure: str
    unit: str
    version: int
    level: float
    points: tuple[Point, ...]
    contrast: LastAgainstFirst | None
    """None when there is nothing to compare."""
    trend: TrendTest
    onset: Onset | None
    onset_note: str
    """Why there is no onset, or how it was found."""
    warnings: tuple[str, ...]

    @property
    def frame(self) -> pl.DataFrame:
        """The points as a table; with the bounds where judgments are missing, and the corrected values where there are some."""
        numbers = ["step", "value", "low", "high", "traces", "prompts", "missing", "set_aside"]
        if any(point.missing and point.bound_low is not None for point in self.points):
            numbers += ["bound_low", "bound_high"]
        if any(point.corrected is not None for point in self.points):
            numbers += ["corrected", "corrected_low", "corrected_high"]
        return pl.DataFrame([{name: getattr(point, name) for name in numbers} for point in self.points], infer_schema_length=None)

    def told(self) -> "Trend":
        """The trend without values that more than half of their traces lack: of those only the bounds and the reasons are told."""
        names = ("value", "low", "high", "paired", "poststratified", "corrected", "corrected_low", "corrected_high")
        nothing_told: dict[str, Any] = dict.fromkeys(names)
        points = tuple(replace(point, **nothing_told) if point.missing > point.traces else point for point in self.points)
        if points == self.points:
            return self
        whole = points[0].value is not None and points[-1].value is not None
        nothing = TrendTest(p=None, slope=None, method="not fitted: at some checkpoints more than half of the traces have no value")
        note = "Not looked for: at some checkpoints more than half of the traces have no value."
        return replace(self, points=points, contrast=self.contrast if whole else None, trend=nothing, onset=None, onset_note=note)

    def _repr_html_(self) -> str:
        return f"<p>{escape(self.run)}: {escape(self.sentence())}</p>{self.frame._repr_html_()}"

    def sentence(self) -> str:
        """What changed, in one sentence with numbers."""
        if self.contrast is None:
            return f"{self.measure}: no two checkpoints to compare."
        seen, ratio = self.contrast, self.contrast.ratio
        if ratio is not None and ratio.value >= 2:
            value, low, high = ratio.value, ratio.low, ratio.high
            clear = low is not None and low > 1
            told = f"{_short(value)} times as high at step {seen.step} as at step {seen.since}"
        else:
            value, low, high = _change(ratio) if ratio else (seen.value, seen.low, seen.high)
            unit, scale = ("%", 1) if ratio else ("percentage points", 100) if self.unit.startswith("share") else (self.unit, 1)
            scale = -scale if value < 0 else scale
            low, high = (None, None) if low is None or high is None else sorted((scale * low, scale * high))
            clear = low is not None and low > 0
            told = f"{_short(scale * value)} {unit} {'lower' if value < 0 else 'higher'} at step {seen.step} than at step {seen.since}"
        bounds = "" if low is None or high is None else f" [{_short(low)}, {_short(high)}]"
        onset = f", from step {self.onset.step} on [{self.onset.low}, {self.onset.high}]" if self.onset else ""
        return f"{self.measure}: {'' if clear else 'no clear difference, '}{told}{bounds}{onset}"


def trend_of(
    frame: pl.DataFrame,
    *,
    run: str,
    measure: str,
    unit: str,
    version: int,
    ends: tuple[float, float] | None = None,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Trend:
    """The trend of one measure in one run.

    `frame` has a row a trace: step, environment, prompt_id, value (null where there is none); and, where there are any, missing_reason,
    checkpoint, and exposure, which makes the value a count and the measure a rate. With a column `traces` a row stands for so many. `ends`,
    the lowest and the highest value there can be, bound what the missing ones might have been.
    """
    frame = frame.with_columns(value=pl.when(pl.col("value").cast(pl.Float64).is_finite()).then(pl.col("value").cast(pl.Float64)))
    cells = _cells(frame)
    rate = "exposure" in frame.columns
    share = not rate and _yes_and_no(frame["value"], unit)
    grid = grid_of(cells, seed=seed)
    paired = event_study(cells, grid, level)
    positive = not share and not unit.startswith("share") and float(cells.sums.total.min(initial=0.0)) >= 0
    strata = _poststratified(cells, share=share, rate=rate, level=level)
    lacking = _lacking(frame, cells.steps)
    points = []
    for code, step in enumerate(cells.steps):
        why = lacking.get(step, {})
        aside = sum(count for reason, count in why.items() if reason.startswith("reasoning is "))
        missing = sum(why.values()) - aside
        here, _ = cells.at(code)
        seen = rate_of(here, missing=missing, level=level) if rate else mean_of(here, share=share, missing=missing, level=level)
        points.append(
            Point(
                step=step,
                value=seen.value,
                low=seen.low,
                high=seen.high,
                traces=seen.traces,
                prompts=seen.prompts,
                missing=missing,
                set_aside=aside,
                why=why,
                method=seen.method,
                paired=paired[code],
                poststratified=strata[code],
                **_bounds(seen, ends),
            )
        )
    contrast = _last_against_first(cells, grid, paired, positive=positive, level=level, seed=seed)
    began, note = onset(cells, grid, level=level, resamples=resamples, seed=seed)
    return Trend(
        run=run,
        measure=measure,
        unit=unit,
        version=version,
        level=level,
        points=tuple(points),
        contrast=contrast,
        trend=_trend_test(cells, share=share),
        onset=began,
        onset_note=note,
        warnings=tuple(_warnings(frame, cells, grid, points)),
    )


def _bounds(seen: Estimate, ends: tuple[float, float] | None) -> dict[str, Any]:
    every = seen.traces + seen.missing
    if ends is None or not every:
        return {}
    known = (seen.value or 0.0) * seen.traces
    low, high = ((known + seen.missing * end) / every for end in ends)
    return {"bound_low": low, "bound_high": high}


def _cells(frame: pl.DataFrame) -> Cells:
    steps = sorted(frame["step"].unique().to_list())
    size = pl.col("exposure").sum() if "exposure" in frame.columns else pl.len()
    summed = (
        frame.drop_nulls("value")
        .group_by("environment", "prompt_id", "step")
        .agg(total=pl.col("value").sum(), size=size.cast(pl.Float64), traces=_n_traces(frame).cast(pl.Int64))
        .filter(pl.col("size") > 0)
        .sort("environment", "prompt_id", "step")
    )
    who = summed.select("environment", "prompt_id").unique(maintain_order=True).with_row_index("prompt")
    summed = summed.join(who, on=["environment", "prompt_id"], how="left", maintain_order="left", nulls_equal=True)
    environments = who["environment"].unique().sort()
    return Cells(
        steps=steps,
        environments=environments.to_list(),
        step=np.searchsorted(steps, summed["step"].to_numpy()) if steps else np.zeros(0, np.int64),
        prompt=summed["prompt"].to_numpy().astype(np.int64),
        sums=Sums(*(summed[name].to_numpy() for name in ("total", "size", "traces"))),
        environment=np.unique(who["environment"].fill_null("").to_numpy(), return_inverse=True)[1],
    )


def _n_traces(frame: pl.DataFrame) -> pl.Expr:
    return pl.col("traces").sum() if "traces" in frame.columns else pl.len()


def _yes_and_no(values: pl.Series, unit: str) -> bool:
    kinds = set(values.drop_nulls().unique().head(3).to_list())
    return kinds == {0.0, 1.0} or (len(kinds) == 1 and kinds < {0.0, 1.0} and unit.startswith("share"))


def _lacking(frame: pl.DataFrame, steps: list[int]) -> dict[int, dict[str, int]]:
    """How many traces of each step have no value, by reason."""
    reason = pl.col("missing_reason").fill_null("no reason given") if "missing_reason" in frame.columns else pl.lit("no reason given")
    counted = frame.filter(pl.col("value").is_null()).group_by("step", reason.alias("why")).agg(_n_traces(frame)).sort("step", "why")
    found: dict[int, dict[str, int]] = {step: {} for step in steps}
    for step, why, count in counted.iter_rows():
        found[step][why] = count
    return found


def _poststratified(cells: Cells, *, share: bool, rate: bool, level: float) -> list[Estimate | None]:
    """Every step under the run's average mix of the environments that all its steps have."""
    everywhere = _everywhere(cells)
    if len(everywhere) < 2:
        return [None] * len(cells.steps)
    mix = _mix(cells)[:, everywhere]
    weights = np.zeros(len(cells.environments))
    weights[everywhere] = (mix / mix.sum(axis=1, keepdims=True)).mean(axis=0)
    told = partial(poststratified_of, weights=weights, share=share, rate=rate, level=level)
    return [told(*cells.at(code)) for code in range(len(cells.steps))]


def _mix(cells: Cells) -> Floats:
    """How many traces of each environment each step has, for the steps that have any."""
    mix: Floats = np.zeros((len(cells.steps), len(cells.environments)))
    np.add.at(mix, (cells.step, cells.environment[cells.prompt]), cells.sums.traces)
    sampled: Floats = mix[mix.sum(axis=1) > 0]
    return sampled


def _everywhere(cells: Cells) -> Ints:
    """The environments that all steps have."""
    return np.flatnonzero((_mix(cells) > 0).all(axis=0))


def _last_against_first(
    cells: Cells, grid: Grid, paired: list[Estimate | None], *, positive: bool, level: float, seed: int
) -> LastAgainstFirst | None:
    if len(cells.steps) < 2:
        return None
    first, last = cells.aligned(0), cells.aligned(len(cells.steps) - 1)
    made = partial(LastAgainstFirst, step=cells.steps[-1], since=cells.steps[0])
    if grid.paired and (seen := paired_difference(first, last, level=level, seed=seed)):
        ratio = paired_ratio(first, last, level=level, seed=seed) if positive else None
        return made(**{name: getattr(seen, name) for name in CONTRASTED}, p=seen.p, ratio=ratio)
    if not (across := paired[-1]):
        return None
    p = None
    if across.low is not None and across.high is not None and across.value is not None:
        error = (across.high - across.low) / 2 / float(stdtrit(across.prompts - 1, (1 + level) / 2))
        p = float(2 * stdtr(across.prompts - 1, -abs(across.value) / error))
    return made(**{name: getattr(across, name) for name in CONTRASTED}, p=p, ratio=None)


def _trend_test(cells: Cells, *, share: bool) -> TrendTest:
    """Generalised estimating equations on each prompt's mean at each step, with environments held fixed."""
    prompts, steps, environments = len(cells.environment), len(np.unique(cells.step)), len(cells.environments)
    held = environments if 1 < environments <= min(20, prompts / 3) else 1
    if steps < 2 or prompts < held + 3:
        return TrendTest(p=None, slope=None, method=f"not fitted: {prompts} prompts at {steps} checkpoints are too few")
    y = cells.sums.means
    if np.ptp(y) <= 1e-12 * np.abs(y).max():
        return TrendTest(p=None, slope=None, method="not fitted: every prompt has the same value at every checkpoint")
    columns = [np.log1p(np.array(cells.steps, np.float64) - min(cells.steps[0], 0))[cells.step]]
    where = cells.environment[cells.prompt]
    columns += [(where == code).astype(np.float64) for code in range(held)] if held > 1 else [np.ones(len(y))]
    design = np.column_stack(columns)
    for family in ("logit", "linear") if share else ("linear",):
        fitted = _fit(y, design, cells.prompt, family)
        if fitted is not None:
            slope, error, how = fitted
            freedom = prompts - design.shape[1]
            p = float(2 * stdtr(freedom, -abs(slope) / error))
            return TrendTest(p=p, slope=slope, method=f"{how}, {family}, on log(1 + step); t with {freedom} degrees of freedom")
    return TrendTest(p=None, slope=None, method="not fitted: the model did not converge")


def _fit(y: Floats, design: Floats, prompt: Ints, family: str) -> tuple[float, float, str] | None:
    from statsmodels.genmod import cov_struct, families  # with all it needs, a second or two of import
    from statsmodels.genmod.generalized_estimating_equations import GEE
    from statsmodels.genmod.generalized_linear_model import GLM

    kind = families.Binomial() if family == "logit" else families.Gaussian()
    large = prompt[-1] >= LARGEST_GEE[0] or len(y) > LARGEST_GEE[1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what does not converge is told by its numbers, below
        try:
            if large or np.bincount(prompt).max() == 1:
                how = "GEE, working independence"
                clustered = {"groups": prompt, "use_correction": True}
                fit: Any = GLM(y, design, family=kind).fit(cov_type="cluster", cov_kwds=clustered)
            else:
                how = "GEE, exchangeable within prompt, bias-reduced"
                model = GEE(y, design, groups=prompt, family=kind, cov_struct=cov_struct.Exchangeable())
                fit = model.fit(cov_type="bias_reduced")
        except (np.linalg.LinAlgError, ValueError, ZeroDivisionError, FloatingPointError):
            return None
        slope, error = float(fit.params[0]), float(fit.bse[0])  # a variance below nought is told by its root, which is no number
    if not fit.converged or not np.isfinite([slope, error]).all() or error <= 0 or (family == "logit" and np.abs(fit.params).max() > 20):
        return None
    return slope, error, how


def _warnings(frame: pl.DataFrame, cells: Cells, grid: Grid, points: list[Point]) -> list[str]:
    """What a reader of the trend should know first."""
    said = []
    if "checkpoint" in frame.columns:
        named = frame.group_by("step").agg(pl.col("checkpoint").unique().sort()).filter(pl.col("checkpoint").list.len() > 1).sort("step")
        said += [f"Step {step} has {len(names)} checkpoints ({', '.join(names)}); they are pooled." for step, names in named.iter_rows()]
    if len(points) < 2:
        return said
    prompts, visits = len(cells.environment), np.bincount(cells.prompt, minlength=len(cells.environment))
    shared = int((visits == len(points)).sum())
    both = int(((cells.aligned(0).size > 0) & (cells.aligned(len(points) - 1).size > 0)).sum())
    if not grid.paired:
        said.append("Checkpoints share hardly any prompts: they are compared within environments, not pairwise, and that is less sure.")
    elif shared < prompts:
        said.append(
            f"{prompts - shared} of {prompts} prompts are not at every checkpoint; the crude values mix what is asked with training."
        )
    if grid.paired and not both:
        said.append("The first and the last checkpoint share no prompt: they are compared over the checkpoints between, if at all.")
    elif grid.paired and both < ROUGH_PROMPTS:
        said.append(f"Only {both} prompts are shared by the first and the last checkpoint: intervals and p-values are rough.")
    elif grid.paired and both < ADVISED_PROMPTS:
        said.append(f"{both} prompts are shared by the first and the last checkpoint; {ADVISED_PROMPTS} or more are advised.")
    said += _left_out(len(_everywhere(cells)), len(cells.environments))
    said += _disagreements(points)
    lost = [(point.missing + point.set_aside) / max(point.missing + point.set_aside + point.traces, 1) for point in points]
    if max(lost) - min(lost) > 0.05:
        most, least = int(np.argmax(lost)), int(np.argmin(lost))
        said.append(
            f"{100 * lost[most]:.0f} % of traces have no value at step {points[most].step}, {100 * lost[least]:.0f} % at step "
            f"{points[least].step}: the difference may be one of which traces could be measured."
        )
    return said


def _left_out(everywhere: int, environments: int) -> list[str]:
    if everywhere == environments:
        return []
    then = "the post-stratified values leave out the others" if everywhere > 1 else "too few to post-stratify by"
    return [f"{everywhere} of {environments} environments {'is' if everywhere == 1 else 'are'} at every checkpoint: {then}."]


def _disagreements(points: list[Point]) -> list[str]:
    """Where the crude values say something else than the paired or the post-stratified ones."""
    base, paired, mixed = points[0].value, [], []
    for point in points:
        if point.value is None:
            continue
        if base is not None and point.paired is not None and _outside(point.value - base, point.paired):
            paired.append(point.step)
        if point.poststratified is not None and _outside(point.value, point.poststratified):
            mixed.append(point.step)
    said = []
    if paired:
        said.append(f"At {_steps(paired)} the crude change lies outside the interval of the paired one: trust the paired one.")
    if mixed:
        said.append(f"At {_steps(mixed)} the crude value lies outside the post-stratified interval: the mix of environments moves it.")
    return said


def _outside(value: float, estimate: Estimate) -> bool:
    return estimate.low is not None and estimate.high is not None and not estimate.low <= value <= estimate.high


def _steps(steps: list[int]) -> str:
    return (
        f"step {steps[0]}" if len(steps) == 1 else f"{len(steps)} steps ({', '.join(map(str, steps[:6]))}{', …' if len(steps) > 6 else ''})"
    )


def _change(ratio: Contrast) -> tuple[float, float | None, float | None]:
    """A ratio as a change in per cent."""
    low, high = (None if bound is None else 100 * (bound - 1) for bound in (ratio.low, ratio.high))
    return 100 * (ratio.value - 1), low, high


def _short(number: float) -> str:
    return f"{number:,.0f}" if abs(number) >= 10 else f"{number:.2g}"
