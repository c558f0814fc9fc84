"""What an experiment declares of itself: its arms, factors, outcomes and contrasts, kept in the study beside its traces."""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec import Struct

from cotdrift.corpus import whole_file
from cotdrift.errors import InputError

FOLDER = "experiments"
"""Where a study keeps what was declared of the experiments that were run into it."""


class Declared(Struct, frozen=True, kw_only=True):
    """What is compared in an experiment, as plain data: with it a report needs none of the experiment's code."""

    name: str
    summary: str
    """What it asks, in one sentence."""
    arms: tuple[str, ...]
    """What each prompt is put through, the base first; a trace says which one under the condition `arm`."""
    factors: dict[str, tuple[str, ...]] = {}
    """What varies besides, with its levels, the base first."""
    outcomes: dict[str, str]
    """What is read off each answer, and what that means."""
    contrasts: tuple[tuple[str, str], ...]
    """Which arm is held against which: (arm, base)."""
    environments: tuple[str, ...]
    """What its traces are called in a corpus."""

    def keep(self, folder: Path) -> None:
        """Write it into a study's folder; what an earlier version of the experiment declared is replaced."""
        with whole_file(folder / FOLDER / f"{self.name}.json") as path:
            path.write_bytes(msgspec.json.format(msgspec.json.encode(self)))


def declared_in(folder: Path) -> list[Declared]:
    """What was declared of the experiments in a study's folder, by name."""
    found = []
    for path in sorted((folder / FOLDER).glob("*.json")):
        try:
            found.append(msgspec.json.decode(path.read_bytes(), type=Declared))
        except msgspec.DecodeError as fault:
            raise InputError(f"{path}: {fault}. Remove the file, and run the experiment again: it asks nothing twice.") from None
    return found
