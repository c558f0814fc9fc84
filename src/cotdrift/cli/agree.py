"""cotdrift agree: whether judges agree, with each other and each with itself, and whether people do."""

from __future__ import annotations

from pathlib import Path

import click

from cotdrift.cli import options


@click.command("agree")
@options.study
@click.argument("grader")
@options.seed
@options.as_json
def command(study: Path, grader: str, seed: int, as_json: bool) -> None:
    """How far the judges of a GRADER agree with each other, each with its own second answers, and people with each other.

    Of traces that one judge judged and a later one again (cotdrift grade --anchors) it says how far the change moved what is found.
    """
    from cotdrift.study import Study

    found = Study.open(study).agree(grader, seed=seed)
    if as_json:
        options.print_json(found)
        return
    said = [("Judges", found.judges), *((f"{judge}, against itself", one) for judge, one in found.itself.items()), ("People", found.people)]
    told = [f"{who}: {one.sentence()}" for who, one in said if one is not None] + [shift.sentence() for shift in found.shifts]
    click.echo("\n".join(told) or "There is one judge and no second answer, so nothing to hold against anything.")
