"""What several commands share: how files are read, how results are printed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    import polars as pl

    from cotdrift.format import Reading

REJECTED = 3
"""The exit code when something could not be read."""

study = click.argument("study", type=click.Path(path_type=Path))
as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
run = click.option("--run", help="Only this run.")
environment = click.option("--environment", help="Only this environment.")
seed = click.option("--seed", default=0, show_default=True, help="Seed of every random draw.")

READING = (
    click.option(
        "--map",
        "fields",
        metavar="OURS=THEIRS",
        multiple=True,
        help="Read our field from theirs: --map reasoning=thinking. May be repeated.",
    ),
    click.option("--run", help="The run these files belong to."),
    click.option("--step", type=click.IntRange(min=0), help="The step these files belong to."),
    click.option("--step-pattern", metavar="REGEX", help="Read the step off the file's path by a pattern with one group."),
    click.option(
        "--step-table",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="A CSV of name,step: names of files, checkpoints or models.",
    ),
    click.option("--environment", help="The environment these files belong to."),
)


def reading(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say how files are read."""
    for option in reversed(READING):
        command = option(command)
    return command


def make_reading(
    *,
    fields: tuple[str, ...],
    run: str | None,
    step: int | None,
    step_pattern: str | None,
    step_table: Path | None,
    environment: str | None,
) -> Reading:
    """The options as one object."""
    from cotdrift.format import Reading  # not paid by --help

    pairs = pairs_of(fields, option="--map", form="OURS=THEIRS", example="reasoning=thinking")
    table = _step_table(step_table) if step_table else {}
    return Reading(fields=pairs, run=run, step=step, step_pattern=step_pattern, step_table=table, environment=environment)


def pairs_of(given: tuple[str, ...], *, option: str, form: str, example: str) -> dict[str, str]:
    """What is on either side of the equals signs."""
    found = {}
    for pair in given:
        ours, equals, theirs = pair.partition("=")
        if not (ours and equals and theirs):
            raise click.BadParameter(f"{pair!r} is not {form}. Write for example {option} {example}.", param_hint=option)
        found[ours] = theirs
    return found


def arguments_of(given: tuple[str, ...], *, option: str, example: str) -> dict[str, Any]:
    """NAME=VALUE each, the value as JSON where it is some, and else as text."""
    import msgspec

    found: dict[str, Any] = {}
    for name, value in pairs_of(given, option=option, form="NAME=VALUE", example=example).items():
        try:
            found[name] = msgspec.json.decode(value)
        except msgspec.DecodeError:
            found[name] = value
    return found


def _step_table(path: Path) -> dict[str, int]:
    steps = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        name, comma, step = (part.strip() for part in line.rpartition(","))
        if not line.strip() or (number == 1 and step == "step"):
            continue
        if not (comma and name and step.isdecimal()):
            raise click.BadParameter(
                f"{path}:{number}: {line!r} is not name,step. Write for example: policy-final,1200.", param_hint="--step-table"
            )
        steps[name] = int(step)
    return steps


def print_json(value: Any) -> None:
    """Print anything made of records, lists and numbers."""
    import msgspec

    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2))


def print_table(frame: pl.DataFrame, *, rows: int = 40) -> None:
    """Print a frame so that it can be read, and say what was left out."""
    import polars as pl

    with pl.Config(
        tbl_formatting="NOTHING",
        tbl_hide_dataframe_shape=True,
        tbl_hide_column_data_types=True,
        tbl_rows=rows,
        tbl_cols=-1,
        fmt_str_lengths=60,
        float_precision=3,
        tbl_width_chars=200,
    ):
        click.echo(str(frame.head(rows)))
    if frame.height > rows:
        click.echo(f"… and {frame.height - rows} more; --json has them all.")
