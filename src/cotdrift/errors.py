"""Faults the user can mend.

    CotdriftError
    ├── InputError        a file, record or option that cannot be used as it is
    │   ├── DuplicateId   two sources give the same trace
    │   └── UnknownName   no run, step, measure, term or file of that name
    └── NotEnough         too few traces, prompts or checkpoints for the question asked

Each is raised with one sentence that names the place, the fault and the way out. The command line prints it without a traceback.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class CotdriftError(Exception):
    """Something is wrong that the user can mend."""


class InputError(CotdriftError):
    """A file, a record or an option cannot be used as it is."""


class DuplicateId(InputError):
    """Two sources give the same trace."""


class UnknownName(InputError):
    """Nothing goes by that name.

    >>> str(UnknownName("measure", "hedgin", ["hedging", "mattr"]))
    "No measure is called 'hedgin'. Did you mean 'hedging'? There are: hedging, mattr."
    """

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        close = get_close_matches(name, names, n=1)
        meant = f" Did you mean {close[0]!r}?" if close else ""
        there = f" There are: {', '.join(names[:40])}{', …' if len(names) > 40 else ''}." if names else f" There is no {kind} at all."
        super().__init__(f"No {kind} is called {name!r}.{meant}{there}")


class NotEnough(CotdriftError):
    """Too few traces, prompts or checkpoints for the question asked."""
