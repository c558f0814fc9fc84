"""An experiment: prompts put to checkpoints under conditions, by Inspect, so that their traces can be compared."""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import inspect
import os
import shutil
import sys
import traceback
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import msgspec
from msgspec import Struct
from tqdm import tqdm

from cotdrift.declared import Declared
from cotdrift.errors import CotdriftError, InputError, UnknownName
from cotdrift.shelf import collect

if TYPE_CHECKING:
    from inspect_ai import Task
    from inspect_ai.log import EvalLog
    from inspect_ai.model import Model

    from cotdrift.study import Study

METADATA = "cotdrift"
"""Under this name a sample's metadata hold what it asks."""

SAMPLING = {"temperature": "--temperature", "max_tokens": "--max-tokens"}


class Asked(Struct, frozen=True, kw_only=True):
    """What a sample of an experiment says of itself: with it any Inspect log is read as traces under conditions.

    It stands in the sample's metadata as
    `{"cotdrift": {"environment": …, "prompt_id": …, "conditions": {…}, "scorer": …, "settings": {…}}}`.
    """

    environment: str
    prompt_id: str
    """The cell of the design, shared by prompts that are compared in pairs."""
    conditions: dict[str, str] = {}
    scorer: str = ""
    """The scorer whose values are outcomes under their own names; those of others bear their scorer's name too."""
    settings: dict[str, Any] = {}
    """How this sample is generated, where not as the whole log is."""

    def in_metadata(self) -> dict[str, Any]:
        """The sample's metadata; environment and prompt stand at the top as well, where Inspect's metrics group and cluster by them."""
        return {METADATA: msgspec.to_builtins(self), "environment": self.environment, "prompt_id": self.prompt_id}


class Experiment(Struct, frozen=True, kw_only=True):
    """One experiment on the shelf."""

    name: str
    summary: str
    task: Callable[..., Task]
    """The Inspect task; `inspect eval cotdrift/NAME` runs it too. Its argument `samples` is how often each prompt is answered."""
    plan: Callable[..., list[str]]
    """What the task's arguments come to, in sentences; takes the same ones."""
    look_over: Callable[[Study], list[str]]
    """What is left for a person to do once the traces are in the study, in sentences."""
    check: Callable[..., Awaitable[None]] | None = None
    """Asks a model whether it can be put to this at all: takes it and the task's arguments, and complains where it cannot."""
    own: Callable[[Task, str, Mapping[str, Any]], list[str]] | None = None
    """Takes the task, a model and what is known of its run and step, and gives the ids of the samples it is asked; None asks all."""
    roles: Callable[..., Sequence[str]] = lambda **_told: ()
    """The roles of other models that it needs, such as `grader`; takes the task's arguments."""
    declared: Declared | None = None
    """What is compared, for the report's own section on it; None where the experiment has a page of its own."""

    def arguments(self, told: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments that differ from the task's defaults; a complaint of those that it does not take."""
        known = inspect.signature(self.task).parameters
        told = {name: _as_taken(value, known[name].annotation) if name in known else value for name, value in told.items()}
        for name, value in told.items():
            if name not in known:
                raise UnknownName(f"argument of {self.name}", name, known)
            default = known[name].default
            if default is not None and type(value) is not type(default):
                raise InputError(f"-T {name}={value}: this is not of the same sort as the default, {str(default).lower()}.")
            if name == "samples" and value < 1:
                raise InputError(f"-T samples={value}: give 1 or more.")
        return {name: value for name, value in told.items() if value != known[name].default}


def _as_taken(value: Any, annotation: Any) -> Any:
    """What is no text as text, where text is what the argument takes: a pattern may be `4`, or `[13579]`."""
    takes_text = annotation in ("str", "str | None", str, str | None)
    return msgspec.json.encode(value).decode() if takes_text and isinstance(value, bool | int | float | list) else value


def as_text(value: Any) -> Any:
    """An argument that is text, as it was written: `inspect eval` makes a list of what has commas, and a number of what looks like one."""
    if isinstance(value, list | tuple):
        return ",".join(str(as_text(part)) for part in value)
    return value if value is None or isinstance(value, str) else msgspec.json.encode(value).decode()


def experiment_called(name: str) -> Experiment:
    """The experiment of this name on the shelf, or the one in a file: `PATH.py`, or `PATH.py@NAME` where it holds several."""
    path, _, one = name.partition(".py@") if ".py@" in name else (name.removesuffix(".py"), "", "")
    try:
        known: dict[str, Experiment] = _in_file(Path(f"{path}.py")) if path != name else collect("experiments", Experiment)
    except ModuleNotFoundError as fault:
        if (fault.name or "").partition(".")[0] != "inspect_ai":
            raise
        raise InputError("Experiments are run by Inspect, which is not installed. Install it: pip install 'cotdrift[inspect]'") from None
    if path == name:
        one = name
    elif not one and len(known) == 1:
        return next(iter(known.values()))
    elif not one:
        raise InputError(f"{name}: it holds {len(known)} experiments. Say which: {name}@{next(iter(known))}")
    if one not in known:
        raise UnknownName("experiment", one, known)
    return known[one]


def _in_file(path: Path) -> dict[str, Experiment]:
    """The experiments at the top of a file of the user's own, by name; the file is run."""
    name = f"cotdrift_experiment_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise InputError(f"{path}: there is no such file. Check the path, or give the name of an experiment on the shelf.")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)  # before it runs: what it defines looks itself up there
    try:
        spec.loader.exec_module(module)
    except CotdriftError as fault:
        raise InputError(f"{path}: {fault}") from fault
    except ModuleNotFoundError as fault:
        if (fault.name or "").partition(".")[0] == "inspect_ai":
            raise
        raise InputError(f"{path}: {_plain(fault)} Install it, or take the import out.") from fault
    except Exception as fault:  # the user's code may raise anything
        line = next((step.lineno for step in reversed(traceback.extract_tb(fault.__traceback__)) if step.filename == str(path)), None)
        place = getattr(fault, "lineno", None) or line
        raise InputError(
            f"{path}{f':{place}' if place else ''}: {type(fault).__name__}: {_first_line(str(fault))}. Mend the file."
        ) from fault
    found = {thing.name: thing for thing in vars(module).values() if isinstance(thing, Experiment)}
    if not found:
        raise InputError(f"{path}: it defines no experiment. Decorate a function with @experiment(…), as in docs/experiments.md.")
    return found


class Ran(Struct, frozen=True, kw_only=True):
    """What became of one model."""

    model: str
    log: str | None
    """None when the model could not be had."""
    samples: int
    """How many samples are in the log, those of earlier runs among them."""
    failed: tuple[str, ...]
    """A sentence for each sample that failed; what is in the log of it is kept."""


def checkpoints(pattern: str, steps: str) -> dict[str, int]:
    """The models of a series with their steps: one for each step, in the pattern's place of `{step}`.

    >>> checkpoints("vllm/olmo3@step_{step}", "0,100")
    {'vllm/olmo3@step_0': 0, 'vllm/olmo3@step_100': 100}
    """
    if "{step}" not in pattern:
        raise InputError(f"--series {pattern}: the name says nowhere where the step goes. Write for example 'organism/hinted@{{step}}'.")
    given = [step.strip() for step in steps.split(",") if step.strip()]
    for step in given:
        if not step.isdecimal():
            raise InputError(f"--steps {steps}: {step!r} is no step. Write for example 0,100,200.")
    if not given:
        raise InputError("--series needs --steps, as in --steps 0,100,200.")
    return {pattern.replace("{step}", step): int(step) for step in given}


def run(
    experiment: Experiment,
    models: Sequence[str],
    *,
    log_dir: Path,
    told: Mapping[str, Any],
    model_args: Mapping[str, Any] | None = None,
    limit: int | None = None,
    places: Mapping[str, Mapping[str, Any]] | None = None,
    roles: Mapping[str, str] | None = None,
    **config: Any,
) -> list[Ran]:
    """Put an experiment to every model, one after the other; what is in the folder of logs already is not asked again.

    `told` are the task's arguments, `config` Inspect's generation options; `places` has the run and step of models whose names do not say
    them. `roles` says which model has which role, where the experiment needs others. Nothing is paid for twice: a run that was killed
    takes finished samples from its log and other answers that came from a cache, and more `samples` are added to those there are.
    """
    told = experiment.arguments(told)
    roles = dict(roles or {})
    _check_roles(experiment, told, roles)
    asked_for = {name: value for name, value in told.items() if name != "samples"}  # more samples are no other task to Inspect
    task = experiment.task(**asked_for)
    samples: int = told.get("samples") or task.epochs or 1
    names = list(dict.fromkeys(models))
    many = min(len(task.dataset), limit or len(task.dataset)) * samples * (len(names) if experiment.own is None else 1)
    ran = []
    with _alone(log_dir), _cache(log_dir) as cache, _progress(experiment.name, many):
        _check_logs(experiment, log_dir, asked_for, config, task.version, roles)
        for name in names:  # no two at once: two local checkpoints may be more than the memory holds
            try:
                if experiment.check:
                    _checked(experiment.check, name, model_args or {}, asked_for)
                place = dict((places or {}).get(name, {}))
                which: dict[str, Any] = {"limit": limit}
                if experiment.own:
                    which = {"sample_id": experiment.own(task, name, place)[:limit]}
                told_of = {"log_dir": str(log_dir), "epochs": samples, "metadata": place or None}
                log = _evaluated(task, name, model_args or {}, roles, **told_of, **which, **config)
            except InputError as fault:
                ran.append(Ran(model=name, log=None, samples=0, failed=(str(fault),)))
            else:
                ran.append(_ran(log))
                _remove_superseded(log_dir, log)
        if not any(one.failed for one in ran):
            shutil.rmtree(cache, ignore_errors=True)
    if not any(one.log for one in ran):
        raise InputError(" ".join(sentence for one in ran for sentence in one.failed))
    return ran


def _check_roles(experiment: Experiment, told: Mapping[str, Any], given: Mapping[str, str]) -> None:
    needed = experiment.roles(**told)
    for role in needed:
        if role not in given:
            raise InputError(f"{experiment.name} needs a model in the role of {role}. Say which: --model-role {role}=MODEL.")
    for role in given:
        if role not in needed:
            raise InputError(f"{experiment.name} has no use for a {role}. Leave --model-role {role}=… out.")


def _evaluated(task: Task, name: str, model_args: Mapping[str, Any], others: Mapping[str, str], **config: Any) -> EvalLog:
    from inspect_ai import eval_set
    from inspect_ai._util.error import PrerequisiteError
    from inspect_ai.model import CachePolicy

    with redirect_stdout(StringIO()):  # Inspect talks where results are printed
        model, roles = _model(name, model_args), {role: _model(other, {}) for role, other in others.items()}
        try:
            _, logs = eval_set(
                task,
                model=model,
                model_roles=roles or None,
                cache=CachePolicy(expiry=None),
                continue_on_fail=True,  # one sample that fails does not keep the others from being asked
                retry_attempts=1,
                log_dir_allow_dirty=True,  # other models were asked before
                display="none",
                score_display=False,
                log_level="error",
                ctl_server=False,
                **config,
            )
        except PrerequisiteError as fault:
            raise InputError(_plain(fault)) from fault
        finally:
            for opened in (model, *roles.values()):
                with suppress(Exception):  # some clients cannot be closed from here; they end with the process
                    asyncio.run(_close(opened))
    if not logs:
        raise KeyboardInterrupt  # Inspect has caught it
    return logs[0]


def _model(name: str, model_args: Mapping[str, Any]) -> Model:
    from inspect_ai.model import get_model

    try:
        return get_model(name, memoize=False, **model_args)
    except CotdriftError:
        raise
    except Exception as fault:  # each provider has faults of its own: no key, no such file, no library, no memory
        raise InputError(f"--model {name}: {_plain(fault)}") from fault


def _checked(check: Callable[..., Awaitable[None]], name: str, model_args: Mapping[str, Any], told: Mapping[str, Any]) -> None:
    """Asked of a client of its own: one that was used in one event loop is of no use in the next."""

    async def ask() -> None:
        async with _model(name, model_args) as model:
            await check(model, **told)

    try:
        with redirect_stdout(StringIO()):
            asyncio.run(ask())
    except CotdriftError:
        raise
    except Exception as fault:  # no server, no such model, no key
        raise InputError(f"--model {name}: {_plain(fault)}") from fault


async def _close(model: Model) -> None:
    async with model:
        pass


@contextmanager
def _progress(name: str, samples: int) -> Iterator[None]:
    """A bar of the samples that are done."""
    from inspect_ai.hooks import Hooks, SampleEnd, hooks

    with tqdm(desc=name, unit=" samples", total=samples, leave=False, disable=None) as bar:

        @hooks(name="cotdrift_progress", description="Counts the samples that are done.")
        class Counting(Hooks):
            async def on_sample_end(self, data: SampleEnd) -> None:
                bar.update(1)

        yield


@contextmanager
def _alone(log_dir: Path) -> Iterator[None]:
    """Two runs into one folder would both pay for the same samples."""
    import fcntl  # not everywhere, and logs are read also where it is not

    log_dir.mkdir(parents=True, exist_ok=True)
    with (log_dir / ".running").open("w") as claim:
        try:
            fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(f"{log_dir}: another run is at work here. Wait until it is done, or give another study by --into.") from None
        yield


@contextmanager
def _cache(log_dir: Path) -> Iterator[Path]:
    """A place for answers until their samples are logged, of this folder of logs alone.

    It is the user's own and not in the study, which may come from anyone: Inspect unpickles what it finds there.
    """
    from inspect_ai._util.appdirs import inspect_cache_dir

    name = "INSPECT_CACHE_DIR"
    before = os.environ.get(name)
    place = Path(before or inspect_cache_dir(None)) / f"cotdrift-{hashlib.sha256(str(log_dir.resolve()).encode()).hexdigest()[:16]}"
    os.environ[name] = str(place)
    try:
        yield place
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _remove_superseded(log_dir: Path, log: EvalLog) -> None:
    """Remove what a killed run left of a log: the one that took its place has all of it. No other run is writing here."""
    from inspect_ai.log import list_eval_logs, read_eval_log

    for found in list_eval_logs(str(log_dir)):
        if _path(found.name) != _path(log.location) and read_eval_log(found, header_only=True).eval.task_id == log.eval.task_id:
            _path(found.name).unlink()


def _check_logs(
    experiment: Experiment,
    log_dir: Path,
    told: Mapping[str, Any],
    config: Mapping[str, Any],
    version: int | str,
    roles: Mapping[str, str],
) -> None:
    """A folder holds one design, sampled one way: where two share a prompt, one answer would stand twice."""
    from inspect_ai.log import list_eval_logs, read_eval_log

    for found in list_eval_logs(str(log_dir)):
        header = read_eval_log(found, header_only=True)
        was = _arguments(header.eval.task_args_passed, header.plan.config.model_dump())
        if was != _arguments(told, config):
            before = " ".join(was) or "none at all"
            raise InputError(
                f"{log_dir}: {experiment.name} was run here with other arguments ({before}). Give the same, or another study by --into."
            )
        for role, other in roles.items():
            before_it = getattr((header.eval.model_roles or {}).get(role), "model", other)
            if before_it != other:
                raise InputError(
                    f"{log_dir}: {before_it} was the {role} here. Give --model-role {role}={before_it}, or another study by --into."
                )
        if header.eval.task_version != version:
            raise InputError(
                f"{log_dir}: {experiment.name} was run here with other prompts or outcomes, or as another version. "
                "Undo the change, or give another study by --into."
            )


def _arguments(told: Mapping[str, Any], config: Mapping[str, Any]) -> list[str]:
    """What must be the same in all of a folder, as it is written on the command line."""
    of_task = [f"-T {name}={str(value).lower()}" for name, value in sorted(told.items())]
    return of_task + [f"{option} {config[name]:g}" for name, option in SAMPLING.items() if config.get(name) is not None]


def _ran(log: EvalLog) -> Ran:
    from inspect_ai.log import read_eval_log_sample_summaries

    samples = read_eval_log_sample_summaries(log.location)
    failed = [f"{log.eval.model}, {one.id!r}, sample {one.epoch}: {_first_line(one.error)}" for one in samples if one.error]
    if not samples and log.error:
        failed.append(f"{log.eval.model}: {_first_line(log.error.message)}")
    return Ran(model=log.eval.model, log=str(_path(log.location)), samples=len(samples), failed=tuple(failed))


def _path(location: str) -> Path:
    return Path(unquote(location.removeprefix("file://")) if location.startswith("file://") else location).resolve()


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0][:300]


def _plain(fault: Exception) -> str:
    from rich.text import Text

    lines = [line.strip() for line in Text.from_markup(str(fault)).plain.removeprefix("ERROR:").splitlines()]
    said = " ".join(line if line.endswith((".", ":", ",")) else f"{line}." for line in lines if line)
    return said or f"{type(fault).__name__}."
