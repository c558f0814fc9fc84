"""cotdrift terms: which words drifted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cotdrift.cli import options

if TYPE_CHECKING:
    from cotdrift.study import Against


@click.command("terms")
@options.study
@click.option(
    "--against",
    type=click.Choice(["start", "human", "answers"]),
    default="start",
    show_default=True,
    help="The run's first checkpoint, human text, or the model's own answers.",
)
@options.run
@click.option("--step", type=int, help="The checkpoint to look at; the last one if not given.")
@click.option("--watch", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A watch-list of your own: a term a line.")
@options.seed
@options.as_json
def command(study: Path, against: Against, run: str | None, step: int | None, watch: Path | None, seed: int, as_json: bool) -> None:
    """Which words a checkpoint's reasoning uses more, or less, than a reference does.

    With --json rows of term, rate, reference, ratio, low, high, p_adjusted, spread, traces, prompts and more.
    Rates are per million words, intervals clustered by prompt.
    """
    from cotdrift.study import Study

    rows = Study.open(study).terms(against=against, run=run, step=step, watch=watch, seed=seed)
    if as_json:
        options.print_json(rows.to_dicts())
    else:
        shown = ["run", "step", "term", "rate", "reference", "ratio", "low", "high", "p_adjusted", "spread", "traces", "prompts", "family"]
        options.print_table(rows.select(shown))
