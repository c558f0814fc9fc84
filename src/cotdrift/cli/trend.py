"""cotdrift trend: one measure over the steps of each run."""

from __future__ import annotations

from pathlib import Path

import click

from cotdrift.cli import options


@click.command("trend")
@options.study
@click.argument("measure")
@options.run
@options.environment
@click.option("--term", is_flag=True, help="MEASURE is a word or phrase: its rate per million words.")
@options.seed
@options.as_json
def command(study: Path, measure: str, run: str | None, environment: str | None, term: bool, seed: int, as_json: bool) -> None:
    """How a MEASURE, or an outcome, moves over the steps of each run, and from which step on.

    With --json a list, one entry a run: run, points (step, value, low, high, traces, prompts, …), contrast, trend, onset.
    """
    from cotdrift.study import Study

    trends = Study.open(study).trend(measure, run=run, environment=environment, term=term, seed=seed)
    if as_json:
        options.print_json(trends)
        return
    for found in trends:
        click.echo(f"{found.run}: {found.sentence()}")
        options.print_table(found.frame)
        for warning in found.warnings:
            click.echo(f"  {warning}")
