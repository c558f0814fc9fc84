"""Formats: how each kind of file becomes traces."""

import glob
from collections.abc import Iterable
from pathlib import Path

from cotdrift.errors import InputError
from cotdrift.format import Format
from cotdrift.opening import bare_name, head
from cotdrift.shelf import collect

SUFFIXES = (".eval", ".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".harmony")
"""Which files of a folder are taken; a file that is named is looked at whatever its name."""


def identify(path: Path) -> Format:
    """The format of a file, by its first bytes and its name."""
    if not path.exists():
        raise InputError(f"{path}: there is no such file. Check the path.")
    try:
        first = head(path)
    except OSError as fault:
        raise InputError(f"{path}: cannot be read ({fault.strerror}). Check that you may read it.") from None
    known: dict[str, Format] = collect("formats", Format)
    surest = max(known.values(), key=lambda kind: kind.matches(path, first))
    if not surest.matches(path, first):
        empty = "" if first or path.is_dir() else " The file is empty."
        sought = "; ".join(f"{kind.name} ({kind.looks_for})" for kind in known.values())
        raise InputError(f"{path}: this is no format I know.{empty} Looked for: {sought}.")
    return surest


def find_sources(paths: Iterable[Path]) -> list[Path]:
    """The files meant by paths, folders and patterns, in order and each once; a database that is a folder stays one source."""
    found: dict[Path, Path] = {}
    for path in paths:
        named = [path] if path.exists() else sorted(Path(name) for name in glob.glob(str(path), recursive=True))
        if not named:
            raise InputError(f"{path}: there is no such file or folder. Check the path.")
        for one in named:
            for source in _inside(one) if one.is_dir() else [one]:
                found.setdefault(source.resolve(), source)
    return list(found.values())


def _inside(folder: Path) -> list[Path]:
    if any(kind.matches(folder, b"") for kind in collect("formats", Format).values()):
        return [folder]
    found: list[Path] = []
    for inner in sorted(folder.iterdir()):
        if inner.name.startswith((".", "_")):
            continue
        if inner.is_dir():
            found += _inside(inner)
        elif bare_name(inner).lower().endswith(SUFFIXES):
            found.append(inner)
    return found
