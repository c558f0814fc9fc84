"""A prediction: what is said of training before there are data to say it of, sealed and dated so that it stays what it was."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from math import isfinite
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct, field

from cotdrift.corpus import whole_file
from cotdrift.errors import InputError

FILE = "predictions.jsonl"
"""A study's register: a line a prediction, each sealed together with the one before it."""
NAME = re.compile(r"[a-z][a-z0-9_]*")
LARGEST, OPENERS, MOST_OPEN = 100_000, b"[{-?", 2_000
"""Bytes of a prediction's file, and how often it may open a level of YAML: far more than one needs, and fewer than upset a parser."""

Estimand = Literal["change", "arms", "slope", "onset"]
Level = str | int | float | bool


class Traces(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Some of a run's traces, by what they have in common."""

    environments: tuple[str, ...] = ()
    prompts: tuple[str, ...] = ()
    steps: tuple[int, ...] = ()
    conditions: dict[str, tuple[Level, ...]] = {}
    """Factor → levels."""
    truncated: bool | None = None
    """Those that were cut off, or those that were not."""


class Prediction(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is predicted: of which number, in which direction, and how far."""

    name: str
    claim: str = ""
    """In words, for whoever reads the report."""
    run: str
    outcome: str
    """A measure, an outcome, or a grader's score, as `cotdrift trend` takes it."""
    estimand: Estimand
    """`change`: the last checkpoint minus the first, each prompt against itself. `arms`: one arm minus another at one checkpoint.
    `slope`: the rise for each unit of log(1 + step). `onset`: the step from which on it changed."""
    since: int | None = field(default=None, name="from")
    """The checkpoint a change is counted from; the first there is, if not given."""
    until: int | None = field(default=None, name="to")
    """The checkpoint up to which, or at which; the last there is, if not given."""
    factor: str | None = None
    """What `arm` and `against` are levels of: a condition, or `environment`; `arm` if not given."""
    arm: Level | None = None
    against: Level | None = None
    predicted: Literal["above", "below", "within"]
    """The estimate lies above the threshold, below it, or within it on either side of nought."""
    threshold: float
    """In the outcome's own unit, a share from 0 to 1; of an onset, a step."""
    only: Traces = Traces()
    """What it is about, where it is not about all of the run: traces that have all of this."""
    exclude: Traces = Traces()
    """What is left out: traces that have any of this."""

    @property
    def sha256(self) -> str:
        """A fingerprint of all that it says, however the file is laid out."""
        return hashlib.sha256(_canonical(self)).hexdigest()


class Registered(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A prediction as it stands in a study."""

    prediction: Prediction
    sha256: str
    registered: str
    """When, as ISO 8601 in UTC."""
    file: str
    """Where it was read from."""
    known: dict[str, int] = {}
    """How many of the traces it speaks of were in the study by then, by step; empty where there were none."""
    known_values: int = 0
    """How many of those had a value already: a grader may not have been asked yet."""
    cotdrift: str
    before: str = ""
    """The seal of the prediction registered before; empty for the first."""
    seal: str = ""
    """A fingerprint of all the above, so that none can be changed, moved or taken out from between others unnoticed."""

    @property
    def sealed(self) -> str:
        """The seal it ought to have."""
        return hashlib.sha256(_canonical(msgspec.structs.replace(self, seal=""))).hexdigest()

    @property
    def is_altered(self) -> bool:
        """Whether what stands here is not what was registered."""
        return self.seal != self.sealed or self.sha256 != self.prediction.sha256


class Register(Struct, frozen=True, kw_only=True):
    """All predictions of a study, and what is wrong with how they were kept."""

    entries: tuple[Registered, ...]
    faults: tuple[str, ...]


def read_prediction(path: Path) -> Prediction:
    """The prediction in a YAML file; whatever is wrong with it is one sentence."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file. Check the path.") from None
    except OSError as fault:
        raise InputError(f"{path}: cannot be read ({fault.strerror}). Check that it is a file, and that you may read it.") from None
    if len(content) > LARGEST or sum(map(content.count, OPENERS)) > MOST_OPEN:
        raise InputError(f"{path}: this is too large for a prediction. Check that it is one, as in docs/experiments.md.")
    try:
        told = msgspec.yaml.decode(content)
        if not isinstance(told, dict):
            raise msgspec.ValidationError("it holds no fields")
        made = msgspec.convert(told, Prediction)
    except msgspec.MsgspecError as fault:
        said = re.sub(r"\s*\n\s*", " ", str(fault))
        raise InputError(f"{path}: {said}. A prediction has: {', '.join(Prediction.__struct_encode_fields__)}.") from None
    except Exception as fault:  # a date, a number or a depth that YAML leaves to Python, which has an exception for each
        said = re.sub(r"\s*\n\s*", " ", str(fault)) or type(fault).__name__
        raise InputError(
            f"{path}: this cannot be read as YAML ({said}). Put quotes around text that looks like a number or a date."
        ) from None
    _check(made, path)
    return made


def _check(said: Prediction, path: Path) -> None:
    def wrong(field: str, fault: str, way_out: str) -> InputError:
        return InputError(f"{path}: {field}: {fault}. {way_out}")

    if not NAME.fullmatch(said.name):
        raise wrong("name", f"{said.name!r} is no name of a prediction", "Use small letters, digits and underscores.")
    if not isfinite(said.threshold):
        raise wrong("threshold", f"{said.threshold} is no finite number", "Write one, in the outcome's own unit: a share is from 0 to 1.")
    if said.predicted == "within" and (said.threshold <= 0 or said.estimand == "onset"):
        raise wrong(
            "predicted", "`within` is so far from no change on either side", "Give a threshold above 0, and no onset; or above, below."
        )
    if said.estimand == "arms":
        if said.arm is None or said.against is None or said.arm == said.against:
            raise wrong("estimand", "`arms` holds one arm against another", "Name the two under `arm` and `against`.")
        if said.since is not None:
            raise wrong("from", "`arms` is of one checkpoint", "Name it under `to`, or leave it out for the last.")
    elif said.factor is not None or said.arm is not None or said.against is not None:
        raise wrong("estimand", f"`{said.estimand}` holds no arms against one another", "Write estimand: arms; or name an arm under only.")
    if said.since is not None and said.until is not None and said.since >= said.until:
        raise wrong("from", f"step {said.since} does not come before step {said.until}", "Write the earlier step under `from`.")


def read_register(folder: Path) -> Register:
    """The predictions registered in a study's folder, in order, and what has been done to them since."""
    path = folder / FILE
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    entries: list[Registered] = []
    faults: list[str] = []
    before = ""
    for number, line in enumerate(lines, 1):
        try:
            entry = msgspec.json.decode(line, type=Registered)
        except msgspec.MsgspecError as fault:
            faults.append(f"{path}:{number}: {fault}: this is no registered prediction. Put back the file as it was written.")
            before = "unknown"
            continue
        if entry.before != before and before != "unknown":
            faults.append(f"{path}:{number}: a prediction was taken out, put in or moved before {entry.prediction.name!r}.")
        if entry.is_altered:
            faults.append(f"{path}:{number}: {entry.prediction.name!r} is not what was registered; its seal does not fit what it says.")
        entries.append(entry)
        before = entry.seal
    return Register(entries=tuple(entries), faults=tuple(faults))


def register(folder: Path, path: Path, prediction: Prediction, known: dict[int, int], known_values: int) -> Registered:
    """Seal a prediction into a study, once; `known` are the traces it speaks of that are there already, by step."""
    there = read_register(folder)
    if there.faults:
        raise InputError(f"{' '.join(there.faults)} Nothing is registered after that.")
    for entry in there.entries:
        if entry.prediction.name == prediction.name and entry.sha256 == prediction.sha256:
            return entry
        if entry.prediction.name == prediction.name:
            raise InputError(
                f"{path}: a prediction {prediction.name!r} that says something else was registered on {entry.registered}, and stands. "
                "Give this one another name."
            )
    entry = Registered(
        prediction=prediction,
        sha256=prediction.sha256,
        registered=datetime.now(UTC).isoformat(timespec="seconds"),
        file=str(path.resolve()),
        known={str(step): traces for step, traces in sorted(known.items())},
        known_values=known_values,
        cotdrift=version("cotdrift"),
        before=there.entries[-1].seal if there.entries else "",
    )
    entry = msgspec.structs.replace(entry, seal=entry.sealed)
    with whole_file(folder / FILE) as unfinished:
        unfinished.write_bytes(msgspec.json.Encoder().encode_lines([*there.entries, entry]))
    return entry


def levels(told: Sequence[Level]) -> list[str]:
    """Levels as a corpus has them: YAML reads yes and no, and numbers, as such."""
    return [str(level).lower() if isinstance(level, bool) else str(level) for level in told]


def _canonical(of: Any) -> bytes:
    return msgspec.json.encode(of, order="deterministic")
