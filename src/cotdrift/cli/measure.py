"""cotdrift measure: numbers off every trace."""

from __future__ import annotations

from pathlib import Path

import click

from cotdrift.cli import options


@click.command("measure")
@options.study
@click.argument("measures", nargs=-1)
@options.as_json
def command(study: Path, measures: tuple[str, ...], as_json: bool) -> None:
    """Measure every trace of a study; without MEASURES, by all there are.

    What is measured already is not measured again. A pass that was stopped goes on where it was.
    """
    from cotdrift.study import Study

    opened = Study.open(study)
    read = opened.measure(*measures)
    names = sorted(opened.measures(*measures))
    if as_json:
        options.print_json({"study": str(study), "measures": names, "traces": read})
    else:
        click.echo(f"{read} traces measured by {', '.join(names)}.")
