"""A bar with a rate, for work that takes longer than a second."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm


@contextmanager
def progress(what: str, unit: str = " traces", total: int | None = None) -> Iterator[Callable[[int], None]]:
    """A bar with a rate, for what takes longer than a second."""
    with tqdm(desc=what, unit=unit, total=total, delay=1, leave=False, disable=None) as bar:

        def step(traces: int) -> None:
            bar.update(traces)

        yield step
