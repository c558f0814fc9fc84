"""cotdrift grade: a grader's question, put to judges about the traces of a study."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from cotdrift.cli import options

if TYPE_CHECKING:
    from cotdrift.judging import Judged

FAULTS = 5
"""So many are named; --json names all."""


@click.command("grade")
@options.study
@click.argument("graders", nargs=-1, required=True)
@click.option("--model-role", "role", metavar="grader=MODEL[,MODEL…]", help="Who judges, as Inspect names models.")
@click.option(
    "--from",
    "scan",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Ask nobody: read what Scout's scanners of these names found, from the folder of a scan.",
)
@click.option("--term", "terms", multiple=True, help="A word or phrase whose uses are judged, for graders of uses. May be repeated.")
@click.option("--sample", type=click.IntRange(min=1), help="So many traces of each checkpoint, on the same prompts; without it, all.")
@click.option(
    "--anchors",
    type=click.IntRange(min=1),
    help="So many traces of each checkpoint, of those that another judge judged: what the change of judges does is then known.",
)
@options.run
@options.environment
@click.option(
    "--only", "only", metavar="NAME=LEVEL", multiple=True, help="Only traces under a condition, such as arm=rubric. May be repeated."
)
@click.option("--max-cost", type=click.FloatRange(min=0), help="Dollars the pass may cost.")
@click.option("--max-tokens", type=click.IntRange(min=1), help="Tokens the pass may send and receive, together.")
@click.option("--price", metavar="IN,OUT", help="Dollars for a million tokens sent and received, where Inspect does not know.")
@click.option("-M", "model_args", metavar="NAME=VALUE", multiple=True, help="An argument of the judges' provider. May be repeated.")
@click.option("--reply-tokens", type=click.IntRange(min=1), help="How long a judge's reply may get.")
@click.option("--temperature", type=click.FloatRange(min=0), help="The temperature judges sample at.")
@click.option("--reasoning-effort", help="How hard a judge that reasons should: low, medium, high.")
@click.option("--max-connections", type=click.IntRange(min=1), help="How many requests a judge gets at once.")
@click.option(
    "--batch",
    is_flag=False,
    flag_value="true",
    metavar="[SIZE]",
    callback=lambda _context, _option, told: _batch(told),
    help="Ask by the provider's API for batches, as with Inspect's option of this name; ignored where there is none. "
    "Killed, what is in a batch is lost and paid for. Costs are counted in full: a lower price is told by --price.",
)
@click.option("--dry-run", is_flag=True, help="Say what it would ask for, and ask for nothing.")
@options.seed
@options.as_json
def command(
    study: Path,
    graders: tuple[str, ...],
    role: str | None,
    scan: Path | None,
    terms: tuple[str, ...],
    sample: int | None,
    anchors: int | None,
    run: str | None,
    environment: str | None,
    only: tuple[str, ...],
    max_cost: float | None,
    max_tokens: int | None,
    price: str | None,
    model_args: tuple[str, ...],
    dry_run: bool,
    seed: int,
    as_json: bool,
    **config: Any,
) -> None:
    """Put GRADERS to judges, about the traces of a study. A grader is a name on the shelf, or a file of your own.

    It says first what it will ask for and about what that costs. Stopped, the same command goes on where it was; no judgment that came is
    paid for again. What cannot be had (a refusal, a reply that says nothing) is kept as a row with its reason. The order of the traces is
    shuffled and their checkpoint is not told; one judgment in twenty is asked for twice, to hold the judge against itself.

    \b
    cotdrift grade study metagaming --model-role grader=openai/gpt-5-mini --sample 200 --max-cost 5
    cotdrift grade study metagaming --from scans/scan_id=…
    cotdrift trend study metagaming
    """
    from cotdrift.judging import Chosen, Limits
    from cotdrift.study import Study

    if scan is not None:
        _read_scan(study, scan, graders, as_json=as_json)
        return
    name, equals, models = (role or "").partition("=")
    if name != "grader" or not equals or not models:
        raise click.BadParameter(f"{role or ''!r} names no judge. Write for example grader=openai/gpt-5-mini.", param_hint="--model-role")
    config = {{"reply_tokens": "max_tokens"}.get(option, option): value for option, value in config.items() if value is not None}
    if sample is not None and anchors is not None:
        raise click.BadParameter("it says which traces are judged, and so does --sample. Leave one of them out.", param_hint="--anchors")
    opened = Study.open(study)
    done = opened.grade(
        *graders,
        judges=list(dict.fromkeys(models.split(","))),
        terms=terms,
        chosen=Chosen(per_checkpoint=sample, run=run, environment=environment, conditions=dict(map(_condition, only)), seed=seed),
        anchors=anchors,
        limits=Limits(cost=max_cost, tokens=max_tokens, price=price_of(price)),
        dry_run=dry_run,
        model_args=options.arguments_of(model_args, option="-M", example="model_path=models/judge"),
        tell=(lambda _: None) if as_json else click.echo,
        **config,
    )
    if as_json:
        options.print_json({"study": str(study), "graders": done})
    elif not dry_run:
        for judged in done:
            click.echo(sentence_of(judged))


def _read_scan(study: Path, scan: Path, graders: tuple[str, ...], *, as_json: bool) -> None:
    from cotdrift.study import Study

    context = click.get_current_context()
    given = [
        option.opts[0]
        for option in context.command.params
        if isinstance(option, click.Option)
        and option.name not in ("scan", "as_json")
        and context.get_parameter_source(option.name or "") is ParameterSource.COMMANDLINE
    ]
    if given:
        raise click.BadParameter(f"it asks nobody, so there is nothing that {given[0]} could tell. Leave that out.", param_hint="--from")
    done = Study.open(study).read_scan(scan, *graders)
    if as_json:
        options.print_json({"study": str(study), "graders": done})
        return
    for scanned in done:
        click.echo("\n".join([scanned.sentence(), *(f"  {fault}" for fault in scanned.faults[:FAULTS])]))


def sentence_of(judged: Judged) -> str:
    """What became of a pass, with the faults there were."""
    missing = ", ".join(f"{many:,} {reason}" for reason, many in sorted(judged.missing.items(), key=lambda one: -one[1]))
    cost = "" if judged.cost is None else f", ${judged.cost:,.2f}"
    first = (
        f"{judged.grader}: {judged.judgments:,} judgments; missing: {missing or 'none'}; {judged.misquoted:,} rest on words that are not "
        f"there. {judged.input_tokens:,} tokens sent, {judged.output_tokens:,} received{cost}."
    )
    return "\n".join([first, *(f"  {fault}" for fault in judged.faults[:FAULTS])])


def _batch(told: str | None) -> bool | int | None:
    if told in (None, "true"):
        return True if told else None
    if not told.isdecimal() or int(told) < 1:
        raise click.BadParameter(f"{told!r} is no number of requests. Write for example --batch 500, or --batch at the end.")
    return int(told)


def _condition(told: str) -> tuple[str, str]:
    name, equals, level = told.partition("=")
    if not (name and equals):
        raise click.BadParameter(f"{told!r} is not NAME=LEVEL. Write for example --only arm=rubric.", param_hint="--only")
    return name, level


def price_of(told: str | None) -> tuple[float, float] | None:
    """A price as it is told by --price."""
    if told is None:
        return None
    try:
        sent, received = map(float, told.split(","))
    except ValueError:
        raise click.BadParameter(f"{told!r} is not IN,OUT. Write for example --price 0.25,2.", param_hint="--price") from None
    return sent, received
