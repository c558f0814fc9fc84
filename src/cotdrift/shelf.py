"""A shelf: a folder of interchangeable things of one kind, where adding a thing is adding a file."""

import importlib
import pkgutil
from functools import cache
from importlib.metadata import entry_points
from typing import TypeVar

Kind = TypeVar("Kind")


@cache
def collect(shelf: str, kind: type[Kind]) -> dict[str, Kind]:
    """Everything of one kind that the files of a shelf, or installed plugins, define, by name.

    `shelf` is a folder of this package (`measures`); a plugin names a module of its own under the entry-point group `cotdrift.measures`.
    Every object of that kind at the top of such a module, with a `name`, is taken.
    """
    package = importlib.import_module(f"cotdrift.{shelf}")
    modules = [importlib.import_module(f"{package.__name__}.{found.name}") for found in pkgutil.iter_modules(package.__path__)]
    modules += [plugin.load() for plugin in sorted(entry_points(group=f"cotdrift.{shelf}"), key=lambda plugin: plugin.name)]
    things: dict[str, Kind] = {}
    for module in modules:
        for thing in vars(module).values():
            if not isinstance(thing, kind):
                continue
            name: str = thing.name  # type: ignore[attr-defined]  # every kind on a shelf has a name
            if things.setdefault(name, thing) is not thing:
                raise ValueError(f"Two {shelf} are called {name!r}; one of them is in {module.__name__}. Rename one.")
    return dict(sorted(things.items()))
