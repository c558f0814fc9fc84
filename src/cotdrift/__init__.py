"""cotdrift measures how a reasoning model's chain of thought, and what the model does, drift over training."""

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cotdrift.corpus import Corpus
    from cotdrift.errors import CotdriftError
    from cotdrift.estimate import Estimate
    from cotdrift.format import Format, Reading
    from cotdrift.frame import Said, experiment
    from cotdrift.measure import Found, Measure, measure
    from cotdrift.report import report
    from cotdrift.study import Study
    from cotdrift.trace import Message, Trace
    from cotdrift.trend import Trend

_HOMES = {
    "Corpus": "corpus",
    "CotdriftError": "errors",
    "Estimate": "estimate",
    "Format": "format",
    "Found": "measure",
    "Measure": "measure",
    "Message": "trace",
    "Reading": "format",
    "Said": "frame",
    "Study": "study",
    "Trace": "trace",
    "Trend": "trend",
    "experiment": "frame",
    "measure": "measure",
    "report": "report",
}
"""Where each name of the front door lives: it is imported when it is first asked for, so that `cotdrift --help` waits for nothing."""

__all__ = [
    # what was sampled
    "Message",
    "Trace",
    "Format",
    "Reading",
    "Corpus",
    # what is tried
    "experiment",
    "Said",
    # what is measured
    "Measure",
    "measure",
    "Found",
    # what is said of it
    "Study",
    "Estimate",
    "Trend",
    "report",
    # what can go wrong
    "CotdriftError",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'cotdrift' has no attribute {name!r}")
    return getattr(importlib.import_module(f"cotdrift.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)


class _FrontDoor(ModuleType):
    """The package; `measure` and `report` are the functions of these names, also after the modules of these names were imported."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _FrontDoor
