"""Provenance: which run, step and environment a record belongs to, read off the names of files and models."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from cotdrift.errors import InputError
from cotdrift.format import Reading
from cotdrift.opening import bare_name

KEYWORDS = "global_?step|training_?step|steps?|checkpoint|ckpt|policy|iteration|iter|completions|adapter"
NAMED_STEP = re.compile(rf"(?i)(?:^|(?<=[^a-z]))(?:{KEYWORDS})[_\-=.]?(\d{{1,15}})(?!\d)")
AT_STEP = re.compile(r"@(?:[a-zA-Z_]*[_-])?(\d{1,15})$")
GENERIC = frozenset(
    [
        "completion",
        "completions",
        "data",
        "dump",
        "dumps",
        "eval",
        "evals",
        "generation",
        "generations",
        "jsonl",
        "log",
        "logs",
        "output",
        "outputs",
        "records",
        "result",
        "results",
        "rollout",
        "rollout_data",
        "rollouts",
        "run_default",
        "sample",
        "samples",
        "test",
        "trace",
        "traces",
        "train",
        "train_rollouts",
        "eval_rollouts",
        "training",
        "val",
        "valid",
        "validation",
    ]
)
"""Names of files and folders that say nothing of the run or the environment."""

LARGEST_STEP = 10**15


def step_in_name(name: str) -> int | None:
    """The step a file's, a checkpoint's or a model's name gives.

    >>> step_in_name("global_step_100"), step_in_name("organism/hinted@400"), step_in_name("lab/policy-1000"), step_in_name("gpt-4")
    (100, 400, 1000, None)
    """
    found = AT_STEP.search(name) or NAMED_STEP.search(name)
    if found:
        return int(found[1])
    return int(name) if name.isascii() and name.isdigit() and len(name) <= 15 else None


def without_step(name: str) -> str:
    """A name without the part that gives the step; of RUN@STEP the run alone, whichever provider or folder it is sampled from.

    An adapter on a base model, which Inspect writes BASE:ADAPTER, is the run.

    >>> without_step("organism/hinted@400"), without_step("step_100"), without_step("lab/policy-1000")
    ('hinted', '', 'lab/policy')
    >>> without_step("vllm/lab/base:org/hinted@step-400"), without_step("vllm/lab/base:/runs/hinted/checkpoint-400")
    ('hinted', 'hinted')
    """
    if name.isdigit():
        return ""
    base, colon, adapter = name.rpartition(":")
    if colon and step_in_name(adapter) is not None:
        return without_step(adapter).rpartition("/")[2] or base.rpartition("/")[2]
    if AT_STEP.search(name):
        name = name.rpartition("/")[2]
    return NAMED_STEP.sub(_of_any_step, AT_STEP.sub("", name)).strip(" _-.=@/")


def _of_any_step(found: re.Match[str]) -> str:
    """What is left of a name's part that gives the step: the word, where it says what the thing is."""
    return next((word for word in ("policy", "adapter") if found[0].lower().startswith(word)), "")


def place_in_series(pattern: str, step: int) -> dict[str, Any]:
    """The run and the step of one model of a series, where its name alone does not say them.

    >>> place_in_series("openai-api/lab/hinted-{step}", 400), place_in_series("organism/hinted@{step}", 400)
    ({'run': 'hinted', 'step': 400}, {})
    """
    if step_in_name(pattern.replace("{step}", str(step))) == step:
        return {}
    run = pattern.replace("{step}", "").rstrip(" _-.=@/:")
    return {"run": re.split("[/:]", run)[-1], "step": step}


def whole_number(value: Any) -> int:
    """A number or its text as an integer from 0 on; ValueError, with what is wrong, for anything else."""
    if type(value) is int and 0 <= value <= LARGEST_STEP:
        return value
    if isinstance(value, str):
        try:
            value = int(value)
        except ValueError:
            try:
                value = float(value)
            except ValueError:
                raise ValueError(f"{value[:60]!r} is no whole number") from None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{str(value)[:60]!r} is no whole number")
    if not 0 <= value <= LARGEST_STEP:
        raise ValueError(f"{str(value)[:60]} is not between 0 and {LARGEST_STEP}")
    return value


@dataclass(frozen=True)
class Provenance:
    """What a file's place and the user's words say of its records."""

    path: Path
    reading: Reading
    note: Callable[[str], None]

    @cached_property
    def stem(self) -> str:
        """The file's name up to its first dot."""
        return bare_name(self.path).partition(".")[0] if not self.path.is_dir() else self.path.name

    @cached_property
    def step(self) -> int | None:
        """The step that the user gave for the whole file; None where it may differ from record to record."""
        reading = self.reading
        if reading.step is not None:
            return reading.step
        for name in (self.path.name, bare_name(self.path), self.stem, str(self.path)):
            if name in reading.step_table:
                return reading.step_table[name]
        if reading.step_pattern is None:
            return None
        try:
            found = re.search(reading.step_pattern, str(self.path))
            return whole_number(found[1]) if found else None
        except (re.error, IndexError, ValueError) as fault:
            raise InputError(
                f"{self.path}: the step pattern {reading.step_pattern!r} gives no step here ({fault}). "
                "Write one group of digits, as in 'step_(\\d+)'."
            ) from None

    @cached_property
    def step_of_path(self) -> int | None:
        """The step the file's name gives, or one of the two folders around it."""
        if (step := step_in_name(self.stem)) is not None:
            return step
        folders = self.path.resolve().parts[-3:-1]
        return next((step for folder in reversed(folders) if (step := step_in_name(folder)) is not None and not without_step(folder)), None)

    @cached_property
    def run(self) -> str:
        """The nearest folder with a name of its own."""
        if self.reading.run is not None:
            return self.reading.run
        for folder in reversed(self.path.resolve().parts[1:-1]):
            name = without_step(folder)
            if name and name.lower() not in GENERIC:
                return name
        return self.stem or "run"

    @cached_property
    def environment(self) -> str:
        """The file's name without step and run; `default` when it says nothing more."""
        if self.reading.environment is not None:
            return self.reading.environment
        name = without_step(self.stem).replace(self.run, "").strip(" _-.=@/")
        return "default" if not name or name.lower() in GENERIC or name.isdigit() else name

    def step_told(self, *names: str) -> int | None:
        """The step the user gave: for the file, or for a checkpoint or model of these names."""
        if self.reading.step_table:
            for name in names:
                if name in self.reading.step_table:
                    return self.reading.step_table[name]
        return self.step
