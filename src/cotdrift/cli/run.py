"""cotdrift run: an experiment over checkpoints, into a study."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cotdrift.cli import options

if TYPE_CHECKING:
    from cotdrift.experiment import Experiment
    from cotdrift.study import Study

FAILED = 4
"""The exit code when samples failed."""
NAMED = 10


@click.command("run")
@click.argument("experiment")
@click.option("--model", "models", multiple=True, help="A model as Inspect names it, such as organism/hinted@40. May be repeated.")
@click.option("--series", metavar="PATTERN", help="A series of checkpoints: a model's name with {step} in it.")
@click.option("--steps", metavar="STEPS", help="The steps of the series, by commas: 0,100,200.")
@click.option("--into", required=True, type=click.Path(path_type=Path), help="The study: a folder, made if it is not there.")
@click.option("-T", "told", metavar="NAME=VALUE", multiple=True, help="An argument of the task, such as cells=84. May be repeated.")
@click.option("-M", "model_args", metavar="NAME=VALUE", multiple=True, help="An argument of the model's provider. May be repeated.")
@click.option(
    "--model-role", "roles", metavar="ROLE=MODEL", multiple=True, help="Another model that an experiment needs, such as grader=MODEL."
)
@click.option("--max-connections", type=click.IntRange(min=1), help="How many requests a model gets at once.")
@click.option("--max-tokens", type=click.IntRange(min=1), help="How long an answer may get.")
@click.option("--temperature", type=click.FloatRange(min=0), help="The temperature to sample at.")
@click.option("--limit", type=click.IntRange(min=1), help="Only the first so many prompts.")
@options.as_json
def command(
    experiment: str,
    models: tuple[str, ...],
    series: str | None,
    steps: str | None,
    into: Path,
    told: tuple[str, ...],
    model_args: tuple[str, ...],
    roles: tuple[str, ...],
    limit: int | None,
    as_json: bool,
    **config: Any,
) -> None:
    """Put an EXPERIMENT to checkpoints, and read the answers into a study.

    EXPERIMENT is the name of one on the shelf, or a file of your own, PATH.py.

    It says first what it will ask and how small a difference that finds. Stopped, the same command goes on where it was; given more
    models or samples, it asks for those alone. The logs stay in the study. Samples that fail are named; the exit code is then 4.

    \b
    cotdrift run reward_hint --series 'organism/hinted@{step}' --steps 0,40 -T cells=84 -T samples=2 --into study
    cotdrift trend study gaming
    """
    from cotdrift.experiment import checkpoints, experiment_called, run
    from cotdrift.provenance import place_in_series
    from cotdrift.study import Study

    if steps and not series:
        raise click.UsageError("--steps are those of a --series: give its pattern too, such as --series 'organism/hinted@{step}'.")
    in_series = checkpoints(series, steps or "") if series else {}
    asked = [*models, *in_series]
    if not asked:
        raise click.UsageError("Which checkpoints? Give --model, or --series and --steps.")
    others = dict(_role(told) for told in roles)
    known = experiment_called(experiment)
    arguments = known.arguments(options.arguments_of(told, option="-T", example="cells=84"))
    study = Study.make(into)
    study.ingest([])  # begins the study, so that a run that is stopped leaves one to go on with
    plan = known.plan(**arguments)
    if not as_json:
        for sentence in [*plan, f"{len(asked)} checkpoint{'s' * (len(asked) != 1)}: {', '.join(asked)}"]:
            click.echo(sentence)
    config = {name: value for name, value in config.items() if value is not None}
    args = options.arguments_of(model_args, option="-M", example="model_path=checkpoints/100")
    places = {name: place_in_series(series or "", step) for name, step in in_series.items()}
    logs = into / "logs" / known.name
    ran = run(known, asked, log_dir=logs, told=arguments, model_args=args, limit=limit, places=places, roles=others, **config)
    had = [one for one in ran if one.log]
    study.forget_lost(logs)
    ingested = study.ingest([one.log for one in had if one.log])
    left, reached = known.look_over(study), _reached(study, known)
    if as_json:
        options.print_json({"study": str(into), "plan": plan, "models": ran, "sources": ingested, "reached": reached, "left": left})
    else:
        for one, source in zip(had, ingested, strict=True):
            click.echo(f"{one.model}: {source.traces} traces, {source.status}, from {one.log}")
        for sentence in [*reached, *left]:
            click.echo(sentence)
    failed = [sentence for one in ran for sentence in one.failed]
    for sentence in failed[:NAMED]:
        click.echo(sentence, err=True)
    if failed:
        more = f", {len(failed) - NAMED} more than are named here; --json names all" if len(failed) > NAMED else ""
        click.echo(f"{len(failed)} failed{more}. The same command asks for them again.", err=True)
        click.get_current_context().exit(FAILED)
    if any(source.rejected for source in ingested):
        click.echo(f"Some samples could not be read; they are kept whole in {study.rejected}.", err=True)
        click.get_current_context().exit(options.REJECTED)


def _role(told: str) -> tuple[str, str]:
    role, given, model = told.partition("=")
    if not (role and given and model):
        raise click.BadParameter(f"{told!r} names no model. Write for example grader=openai/gpt-5-mini.", param_hint="--model-role")
    return role, model


def _reached(study: Study, known: Experiment) -> list[str]:
    """How precisely arms are known to differ, for an experiment of the frame; what it compares is kept in the study for the report."""
    from cotdrift.arms import distances, precision

    if known.declared is None:
        return []
    known.declared.keep(study.folder)
    return precision(distances(study.corpus.scan().drop("messages", "reasoning", "answer", "prompt").collect(), known.declared))
