"""A measure: a number read off a trace with no model involved."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cotdrift.tokens import Batch
from cotdrift.trace import Trace


@dataclass(frozen=True)
class Found:
    """A number with the place that shows it."""

    value: float
    start: int
    """Where the passage begins in the reasoning, in characters."""
    end: int


@dataclass(frozen=True)
class FoundInBatch:
    """A number for each text with the place that shows it; the place is -1 where there is none."""

    values: NDArray[np.float64]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]


Measured = float | Found | None
OfTrace = Callable[[Trace], Measured]
OfBatch = Callable[[Batch], NDArray[np.float64] | FoundInBatch]
Pool = Callable[[NDArray[np.float64]], NDArray[np.float64]]


@dataclass(eq=False)
class Measure:
    """A function of one trace's reasoning, with its unit and version."""

    of_trace: OfTrace
    name: str
    unit: str
    version: int
    pool: Pool | None
    """What turns the values of all traces of one checkpoint into the measure; None when each trace stands for itself."""
    of_batch: OfBatch | None = None
    """The same numbers for many traces at once, NaN where there is none; None when there is no faster way."""

    def __call__(self, trace: Trace) -> Measured:
        """The number of one trace."""
        return self.of_trace(trace)

    def batch(self, function: OfBatch) -> OfBatch:
        """Give the measure a faster way, which must return the same numbers."""
        self.of_batch = function
        return function

    @property
    def __doc__(self) -> str | None:  # type: ignore[override]  # so that help() and the reference show the function's own words
        """What the function says of itself."""
        return self.of_trace.__doc__

    @property
    def summary(self) -> str:
        """The first line of what it says of itself."""
        return (self.of_trace.__doc__ or "").strip().partition("\n")[0]


def measure(*, unit: str, version: int = 1, pool: Pool | None = None) -> Callable[[OfTrace], Measure]:
    """Make a function of a trace a measure. Raise the version when the same trace would now give another number.

    >>> @measure(unit="marks per trace")
    ... def questions(trace: Trace) -> float | None:
    ...     "Question marks in the reasoning."
    ...     return trace.reasoning.count("?") if trace.reasoning else None
    >>> questions(Trace.example("Even? Odd?"))
    2
    """

    def made(function: OfTrace) -> Measure:
        return Measure(function, function.__name__, unit, version, pool)

    return made
