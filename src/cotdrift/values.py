"""One measure, outcome, term or grader, for every trace of a study."""

from typing import NamedTuple

import polars as pl

from cotdrift.trend import Trend, trend_of

WHO = ["transcript_id", "run", "checkpoint", "step", "environment", "prompt_id"]


class Values(NamedTuple):
    """One measure, outcome or term of every trace of a study."""

    measure: str
    unit: str
    version: int
    frame: pl.DataFrame
    """A row a trace: transcript_id, run, checkpoint, step, environment, prompt_id, value (null where there is none) and missing_reason.

    For a grader also judges: who is heard of it, a list of raters.
    For a term a row a prompt and step: the value is its uses, exposure the words of the reasoning, in millions, traces how many there are.
    """
    ends: tuple[float, float] | None = None
    """The lowest and the highest that a value can be, where missing ones are to be bounded; None where they are not."""

    def trend(self, run: str, *, environment: str | None = None, seed: int = 0) -> Trend:
        """The trend over the steps of one run, in one environment or all."""
        frame = self.frame.filter(pl.col("run") == run)
        if environment is not None:
            frame = frame.filter(pl.col("environment") == environment)
        return trend_of(frame, run=run, measure=self.measure, unit=self.unit, version=self.version, ends=self.ends, seed=seed)
