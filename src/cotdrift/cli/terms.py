"""cotdrift terms: which words drifted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cotdrift.cli import options


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
@options.environment
@click.option("--step", type=int, help="The checkpoint to look at; the last one if not given.")
@click.option("--watch", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A watch-list of your own: a term a line.")
@options.seed
@options.as_json
def command(study: Path, as_json: bool, **asked: Any) -> None:
    """Which words a checkpoint's reasoning uses more, or less, than a reference does.

    With --json rows of term, rate, reference, ratio, low, high, p_adjusted, spread, traces, prompts and more.
    Rates are per million words, intervals clustered by prompt.
    """
    from cotdrift.study import Study

    rows = Study.open(study).terms(**asked)
    if as_json:
        options.print_json(rows.to_dicts())
    else:
        shown = ["run", "step", "term", "rate", "reference", "ratio", "low", "high", "p_adjusted", "spread", "traces", "prompts", "family"]
        options.print_table(rows.select(shown))
