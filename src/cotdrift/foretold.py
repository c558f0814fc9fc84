"""What became of the predictions registered in a study: held, failed or undecided, by the whole interval."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from msgspec import Struct
from msgspec.structs import replace
from scipy.special import stdtrit

from cotdrift.contrast import difference, fit
from cotdrift.errors import InputError, UnknownName
from cotdrift.estimate import Contrast, Sums, paired_difference
from cotdrift.prediction import Prediction, Register, Registered, Traces, levels, read_prediction, read_register, register
from cotdrift.study import Study
from cotdrift.trend import trend_of
from cotdrift.values import Values

WHERE = ("transcript_id", "source_id", "truncated")
DECISIVE = 0.5
"""Where more than this share of the values is missing, nothing is decided."""


class Found(Struct, frozen=True, kw_only=True):
    """The number that a prediction is about."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    prompts: int = 0
    what: str
    """What it is, with the checkpoints it is of."""
    method: str


class Verdict(Struct, frozen=True, kw_only=True):
    """What became of one prediction."""

    name: str
    claim: str
    verdict: Literal["held", "failed", "undecided", "altered"]
    """Held: the whole interval is on the side that was predicted. Failed: it is on the other. Undecided: it reaches over the threshold, or
    there is none. Altered: what stands in the study is not what was registered, so that nothing can be said."""
    predicted: str
    """The side and the threshold, as `above 0.2`."""
    estimate: float | None = None
    low: float | None = None
    high: float | None = None
    level: float = 0.95
    unit: str = ""
    what: str = ""
    """What the estimate is of."""
    method: str = ""
    """How it was made; where there is no interval, why."""
    traces: int = 0
    prompts: int = 0
    missing: int = 0
    """Traces it speaks of that have no value."""
    excluded: int = 0
    """Traces of the run and its environments that its exclusions leave out."""
    registered: str
    sha256: str
    after_data: str = ""
    """What was there already when it was registered; empty where nothing was. A prediction after the data predicts nothing."""
    faults: tuple[str, ...] = ()
    """What has been done to it since."""

    def sentence(self) -> str:
        """What became of it, with the numbers."""
        said = f"Prediction {self.name}: {self.verdict}"
        if self.after_data and self.verdict != "altered":
            said += f", AFTER DATA ({self.after_data})"
        if self.verdict == "altered":
            return f"{said}. {' '.join(self.faults)}"
        interval = "" if self.low is None or self.high is None else f" [{_short(self.low)}, {_short(self.high)}]"
        number = "" if self.estimate is None else f" is {_short(self.estimate)}{interval}"
        said += f". {self.what[:1].upper()}{self.what[1:]}{number}; predicted {self.predicted}."
        if self.low is None or self.high is None:
            said += f" No interval: {self.method}."
        if self.missing:
            said += f" {self.missing:,} of {self.missing + self.traces:,} values are missing."
        return " ".join([said, *self.faults])


class Foretold(Struct, frozen=True, kw_only=True):
    """All predictions of a study, in the order in which they were registered; none can be left out."""

    verdicts: tuple[Verdict, ...]
    faults: tuple[str, ...] = ()
    """What is wrong with the register as a whole."""


def foretell(study: Study, path: Path) -> Registered:
    """Register the prediction in a file, with the count of what it speaks of that is there already."""
    prediction = read_prediction(path)
    read = {source.path for source in study.corpus.sources}
    if unread := [log.name for log in sorted((study.folder.resolve() / "logs").rglob("*.eval")) if str(log) not in read]:
        raise InputError(f"{study.folder}: {unread[0]} has answers that are not read yet. Let its run finish first: they are data as well.")
    values = _values(study, prediction)
    if values is None:
        return register(study.folder, path, prediction, {}, 0)
    rows, _ = _spoken_of(study, prediction, values)
    known = dict(rows.group_by("step").len().iter_rows())
    return register(study.folder, path, prediction, known, rows["value"].count())


def is_known(study: Study, said: Prediction) -> bool:
    """Whether there is a measure, an outcome or a grader of the name it gives."""
    return said.outcome in study.measures() or _values(study, said) is not None


def foretold(study: Study, *, seed: int = 0) -> Foretold:
    """What became of every prediction."""
    kept = read_register(study.folder)
    return Foretold(verdicts=tuple(_verdict(study, entry, seed) for entry in kept.entries), faults=_of_all(kept))


def _of_all(kept: Register) -> tuple[str, ...]:
    """What is not said of a single prediction anyhow."""
    return tuple(fault for fault in kept.faults if "is not what was registered" not in fault)


def _verdict(study: Study, entry: Registered, seed: int) -> Verdict:
    said = entry.prediction
    bound = "" if said.predicted != "within" else "±"
    verdict = Verdict(
        name=said.name,
        claim=said.claim,
        verdict="undecided",
        predicted=f"{said.predicted} {bound}{said.threshold:g}",
        registered=entry.registered,
        sha256=entry.sha256,
        faults=_file_faults(entry),
    )
    if entry.is_altered:
        return replace(verdict, verdict="altered", faults=("What stands in the study is not what was registered.",))
    values = _values(study, said)
    if values is None:
        return replace(verdict, what=said.outcome, method=f"nothing is known of {said.outcome!r} in this study")
    spoken_of, excluded = _spoken_of(study, said, values)
    rows = _decisive(said, spoken_of)
    valued = rows.drop_nulls("value")
    found = _found(said, rows, seed) if valued.height else Found(what=said.outcome, method="there are no traces that it speaks of")
    missing = rows.height - valued.height
    decision = decide(said, found) if missing <= DECISIVE * rows.height else "undecided"
    return replace(
        verdict,
        verdict=decision,
        estimate=found.value,
        low=found.low,
        high=found.high,
        unit=_unit(said, values),
        what=found.what,
        method=found.method,
        traces=valued.height,
        prompts=found.prompts,
        missing=missing,
        excluded=excluded,
        after_data=_known(study, entry, spoken_of),
    )


def decide(said: Prediction, found: Found) -> Literal["held", "failed", "undecided"]:
    """Held where the whole interval is on the side that was predicted, failed where it is on the other."""
    low, high, threshold = found.low, found.high, said.threshold
    if low is None or high is None:
        return "undecided"
    if said.predicted == "within":
        held, failed = -threshold < low and high < threshold, low > threshold or high < -threshold
    else:
        above, below = low > threshold, high < threshold
        held, failed = (above, below) if said.predicted == "above" else (below, above)
    return "held" if held else "failed" if failed else "undecided"


def _values(study: Study, said: Prediction) -> Values | None:
    """The outcome of every trace; None where the study knows of none of that name yet."""
    if not study.corpus.files:
        return None
    try:
        return study.values(said.outcome)
    except UnknownName:
        return None


def _spoken_of(study: Study, said: Prediction, values: Values) -> tuple[pl.DataFrame, int]:
    """The traces it speaks of, with their values, and how many its exclusions leave out."""
    named = {*said.only.conditions, *said.exclude.conditions, said.factor or "arm"} - {"environment"}
    known = study.corpus.scan().collect_schema().names()
    columns = [f"condition_{factor}" for factor in sorted(named) if f"condition_{factor}" in known]
    rows = values.frame.join(study.corpus.scan().select(*WHERE, *columns).collect(), on="transcript_id", how="left")
    rows = rows.filter(pl.col("run") == said.run)
    if said.since is not None:
        rows = rows.filter(pl.col("step") >= said.since)
    if said.until is not None:
        rows = rows.filter(pl.col("step") <= said.until)
    for one in _tests(said.only, rows):
        rows = rows.filter(one)
    left_out = _tests(said.exclude, rows)
    kept = rows.filter(~pl.any_horizontal(left_out)) if left_out else rows
    return kept, rows.height - kept.height


def _tests(of: Traces, rows: pl.DataFrame) -> list[pl.Expr]:
    told: dict[str, list[Any]] = {"environment": [*of.environments], "prompt_id": [*of.prompts], "step": [*of.steps]}
    told |= {f"condition_{factor}": [*levels(given)] for factor, given in of.conditions.items()}
    tests = [
        pl.col(column).is_in(given).fill_null(False) if column in rows.columns else pl.lit(False)
        for column, given in told.items()
        if given or column.startswith("condition_")
    ]
    return tests if of.truncated is None else [*tests, pl.col("truncated").fill_null(False) == of.truncated]


def _decisive(said: Prediction, rows: pl.DataFrame) -> pl.DataFrame:
    """Those of the traces that the estimate is made of: of the checkpoints, and the arms, that are compared."""
    steps = rows.drop_nulls("value")["step"].unique().sort().to_list()
    if not steps or said.estimand not in ("change", "arms"):
        return rows
    first, last = steps[0] if said.since is None else said.since, steps[-1] if said.until is None else said.until
    if said.estimand == "change":
        return rows.filter(pl.col("step").is_in([first, last]))
    column = _column(said)
    named = levels([level for level in (said.arm, said.against) if level is not None])
    return rows.filter(pl.col("step") == last, pl.col(column).is_in(named) if column in rows.columns else pl.lit(True))


def _column(said: Prediction) -> str:
    factor = said.factor or "arm"
    return factor if factor == "environment" else f"condition_{factor}"


def _found(said: Prediction, rows: pl.DataFrame, seed: int) -> Found:
    steps = rows.drop_nulls("value")["step"].unique().sort().to_list()
    lacking = [step for step in (said.since, said.until) if step is not None and step not in steps]
    if lacking:
        return Found(what=said.outcome, method=f"there are no values at step {lacking[0]}")
    if said.estimand == "change":
        return _change(said, rows, seed)
    if said.estimand == "arms":
        return _between_arms(said, rows, steps[0], seed)
    if said.estimand == "slope":
        return _slope(said, rows.drop_nulls("value"))
    trend = trend_of(rows, run=said.run, measure=said.outcome, unit="", version=1, seed=seed)
    what = f"the onset of the change of {said.outcome}"
    if trend.onset is None:
        return Found(what=what, method=trend.onset_note)
    onset = trend.onset
    prompts = rows.drop_nulls("value").select("environment", "prompt_id").n_unique()
    return Found(value=onset.step, low=onset.low, high=onset.high, prompts=prompts, what=what, method=trend.onset_note)


def _change(said: Prediction, rows: pl.DataFrame, seed: int) -> Found:
    contrast = trend_of(rows, run=said.run, measure=said.outcome, unit="", version=1, resamples=1, seed=seed).contrast
    what = f"the change of {said.outcome}"
    if contrast is None:
        return Found(what=what, method="there are no two checkpoints to compare")
    what = f"{what} from step {contrast.since} to step {contrast.step}"
    return Found(value=contrast.value, low=contrast.low, high=contrast.high, prompts=contrast.prompts, what=what, method=contrast.method)


def _between_arms(said: Prediction, rows: pl.DataFrame, step: int, seed: int) -> Found:
    factor = said.factor or "arm"
    column = _column(said)
    assert said.arm is not None and said.against is not None
    arm, against = levels([said.arm, said.against])
    what = f"{said.outcome} at step {step}, {arm} minus {against}"
    if column not in rows.columns:
        return Found(what=what, method=f"no trace has the condition {factor!r}")
    who = ["prompt_id"] if factor == "environment" else ["environment", "prompt_id"]
    both = rows.drop_nulls("value")
    prompts = both.select(who).unique().sort(who).with_row_index("place")
    both = both.join(prompts, on=who, how="left")
    base, other = (
        Sums.of(side["value"].to_numpy(), side["place"].to_numpy(), n_prompts=prompts.height)
        for side in (both.filter(pl.col(column) == level) for level in (against, arm))
    )
    shared = int(((base.traces > 0) & (other.traces > 0)).sum())
    contrast: Contrast | None
    if 2 * shared >= prompts.height:
        contrast = paired_difference(base, other, seed=seed)
    else:
        contrast = difference(both.with_columns(**{f"condition_{factor}": column}), factor, against, arm, {factor: [against, arm]})
    if contrast is None:
        return Found(what=what, method="there are too few prompts in the two")
    return Found(value=contrast.value, low=contrast.low, high=contrast.high, prompts=contrast.prompts, what=what, method=contrast.method)


def _slope(said: Prediction, rows: pl.DataFrame) -> Found:
    """Each prompt's own straight line on log(1 + step), taken together: least squares within prompts, errors clustered by prompt (CR2)."""
    what = f"the slope of {said.outcome} on log(1 + step)"
    cells = rows.group_by("environment", "prompt_id", "step").agg(pl.col("value").mean())
    cells = cells.with_columns(across=pl.col("step").log1p())
    within = [pl.col(name) - pl.col(name).mean().over("environment", "prompt_id") for name in ("across", "value")]
    cells = cells.with_columns(within).filter(pl.col("across").abs().max().over("environment", "prompt_id") > 0)
    codes = cells.select(pl.struct("environment", "prompt_id").rank("dense")).to_series().to_numpy().astype(np.int64) - 1
    prompts = len(np.unique(codes))
    if prompts < 3:
        return Found(what=what, method=f"{prompts} prompts at two checkpoints or more are too few")
    model = fit(cells.select("across").to_numpy(), cells["value"].to_numpy(), codes)
    value, error = float(model.coefficients[0]), float(np.sqrt(model.influence[:, 0] @ model.influence[:, 0]))
    if error <= 1e-12:
        return Found(value=value, prompts=prompts, what=what, method="no prompt differs from another, so no interval")
    half = float(stdtrit(model.freedom, 0.975)) * error
    method = "least squares within prompts, clustered by prompt; t interval"
    return Found(value=value, low=value - half, high=value + half, prompts=prompts, what=what, method=method)


def _known(study: Study, entry: Registered, rows: pl.DataFrame) -> str:
    """What was there before the prediction: by what the register says, and by the dates of what was read."""
    if entry.known:
        steps = f"at step{'s' * (len(entry.known) > 1)} {', '.join(entry.known)}"
        unread = "" if entry.known_values else ", though none had a value of it yet"
        return f"{sum(entry.known.values()):,} traces it speaks of were in the study, {steps}{unread}"
    registered = datetime.fromisoformat(entry.registered).timestamp()
    sources = {source.key: source for source in study.corpus.sources}
    for key in rows["source_id"].unique().sort():
        source = sources[key]
        path = Path(source.path)
        written = path.stat().st_mtime if path.is_file() else float("inf")
        if min(written, source.ingested / 1e9) < registered - 1:
            when = datetime.fromtimestamp(min(written, source.ingested / 1e9), UTC).isoformat(timespec="seconds")
            return f"{path.name} was there on {when}"
    return ""


def _file_faults(entry: Registered) -> tuple[str, ...]:
    """Whether the file says something else now."""
    path = Path(entry.file)
    if not path.is_file():
        return ()
    try:
        now = read_prediction(path)
    except InputError as fault:
        return (f"Its file can no longer be read ({fault}); what is judged is what was registered.",)
    if now.sha256 == entry.sha256:
        return ()
    return (f"Its file {path.name} has been changed since; what is judged is what was registered.",)


def _unit(said: Prediction, values: Values) -> str:
    if said.estimand == "onset":
        return "step"
    unit = "share" if values.unit.startswith("share") else values.unit
    return f"{unit} per unit of log(1 + step)" if said.estimand == "slope" else unit


def _short(number: float) -> str:
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.3g}".replace("-", "−")
