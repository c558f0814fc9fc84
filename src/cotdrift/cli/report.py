"""cotdrift report: one page that says how the reasoning drifted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cotdrift.cli import options

ACTION_HELP = "An outcome, or what is read off a grader, that means misbehaviour. May be repeated.  [default: those known by their names]"


@click.command("report")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--into", type=click.Path(path_type=Path), help="The study to make of FILES.  [default: cotdrift-study]")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Where the page goes.  [default: report.html in the study]")
@click.option("--watch", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A watch-list of your own: a term a line.")
@click.option("--action", "actions", metavar="NAME", multiple=True, help=ACTION_HELP)
@click.option(
    "--truth", "truths", metavar="GRADER=OUTCOME", multiple=True, help="An outcome that is the truth of a grader. May be repeated."
)
@options.reading
@options.seed
@options.as_json
def command(
    files: tuple[Path, ...],
    into: Path | None,
    output: Path | None,
    watch: Path | None,
    actions: tuple[str, ...],
    truths: tuple[str, ...],
    seed: int,
    as_json: bool,
    **told: Any,
) -> None:
    """Write the report of a study, or of FILES in one go: ingest, measure, compare, write.

    The page is one file that opens in any browser without a network.
    """
    from cotdrift.report import report
    from cotdrift.sentences import of_serving

    reading = options.make_reading(**told)
    known = options.pairs_of(truths, option="--truth", form="GRADER=OUTCOME", example="reward_reasoning=mentions_grader")
    done = report(*files, into=into, output=output, watch=watch, reading=reading, actions=actions, truths=known, seed=seed)
    server = of_serving(done.findings.serving) if done.findings.serving else ()
    rejected = sum(source.rejected for source in done.ingested)
    if as_json:
        told = {"report": str(done.page), "study": str(done.study.folder), "rejected": rejected}
        options.print_json(told | {"serving": server, "predictions": done.findings.foretold, "sentences": done.findings.sentences})
    else:
        for sentence in server[:1]:
            click.echo(f"{sentence} All that was looked at: cotdrift check {done.study.folder}")
        for sentence in done.findings.sentences:
            click.echo(sentence)
        click.echo(f"The report is {done.page.resolve()}")
    if rejected:
        click.echo(f"{rejected} records could not be read; they are kept whole in {done.study.rejected}.", err=True)
        click.get_current_context().exit(options.REJECTED)
