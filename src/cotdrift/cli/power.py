"""cotdrift power: how many prompts, traces, raters and labels a question needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from cotdrift.cli import options

if TYPE_CHECKING:
    from msgspec import Struct

SHARE = click.FloatRange(0, 1, min_open=True, max_open=True)
TO_ALL = click.FloatRange(0, 1)

correlation = click.option(
    "--correlation", type=TO_ALL, default=0.2, show_default=True, help="Between two traces of one prompt: 0 makes them independent."
)
prompts = click.option("--prompts", type=click.IntRange(min=1), help="How many prompts these traces are of; each its own, if not given.")
level = click.option("--level", type=SHARE, default=0.95, show_default=True, help="Of the interval.")


@click.group("power")
def command() -> None:
    """How many prompts, traces, raters and labels a question needs.

    \b
    cotdrift power compare 0.2 0.3         to tell two checkpoints' rates apart
    cotdrift power correct 0.05 0.03       to correct a grader's rate of 5 % to an interval 3 points wide
    cotdrift power agree 0.7 0.2           to measure an alpha of 0.7 to an interval 0.2 wide
    cotdrift power exclude 0.001           to exclude a rate when nothing is found
    """


@command.command("compare")
@click.argument("before", type=SHARE)
@click.argument("after", type=SHARE)
@click.option("--samples", type=click.IntRange(min=1), multiple=True, default=(1, 2, 4, 8, 16), show_default=True, help="Traces a prompt.")
@correlation
@click.option("--kept", type=TO_ALL, default=0.5, show_default=True, help="Of prompts' differences, how much both checkpoints share.")
@click.option("--power", type=SHARE, default=0.8, show_default=True, help="How likely the difference is to be found.")
@options.as_json
def compare(before: float, after: float, samples: tuple[int, ...], correlation: float, kept: float, power: float, as_json: bool) -> None:
    """To tell apart a rate of BEFORE from one of AFTER, at two checkpoints on the same prompts.

    With --json a list, one entry a number of samples: before, after, samples, prompts, traces.
    """
    from cotdrift.power import tell_apart

    found = [tell_apart(before, after, samples=many, correlation=correlation, kept=kept, power=power) for many in samples]
    _print(found, as_json, f"To tell {before:g} from {after:g} at two checkpoints, with {power:.0%} power:")


@command.command("correct")
@click.argument("rate", type=SHARE)
@click.argument("width", type=SHARE)
@click.option("--sensitivity", type=SHARE, default=0.8, show_default=True, help="How often the grader says yes to a true yes.")
@click.option("--specificity", type=SHARE, default=0.97, show_default=True, help="How often it says no to a true no.")
@click.option("--traces", type=click.IntRange(min=1), default=10_000, show_default=True, help="How many are graded.")
@prompts
@correlation
@level
@options.as_json
def correct(rate: float, width: float, as_json: bool, **assumed: Any) -> None:
    """To correct a grader's rate, where the true one is RATE, to an interval so wide.

    With --json: rate, width, and the labels it takes: alone, corrected (on graded traces), separate (on others), positives among them.
    """
    from cotdrift.power import FEW
    from cotdrift.power import correct as needed

    found = needed(rate, width, **assumed)
    _print(found, as_json, f"Labels for an interval {width:g} wide around {rate:g}:")
    if not as_json and found.positives is not None and found.positives < FEW:
        click.echo(
            f"Only {found.positives:.0f} of them say yes: the interval is exact then, and wider than asked. Label more, or by strata."
        )
    if not as_json and found.corrected is None:
        click.echo(f"With {assumed['traces']:,} graded traces no number of labels makes it so narrow: grade more.")


@command.command("agree")
@click.argument("alpha", type=TO_ALL)
@click.argument("width", type=SHARE)
@click.option("--rate", type=SHARE, default=0.2, show_default=True, help="How often the answer is yes.")
@click.option(
    "--raters", type=click.IntRange(min=2), multiple=True, default=(2, 3, 5), show_default=True, help="How many answer each item."
)
@prompts
@correlation
@level
@options.as_json
def agree(alpha: float, width: float, raters: tuple[int, ...], as_json: bool, **assumed: Any) -> None:
    """To measure raters' agreement, where alpha is ALPHA, to an interval so wide.

    With --json a list, one entry a number of raters: alpha, rate, width, raters, items, ratings.
    """
    from cotdrift.power import agree as needed

    found = [needed(alpha, width, raters=many, **assumed) for many in raters]
    _print(found, as_json, f"Items for an interval {width:g} wide around an alpha of {alpha:g}:")


@command.command("exclude")
@click.argument("rate", type=SHARE)
@click.option("--traces-per-prompt", type=click.FloatRange(min=1), default=1.0, show_default=True, help="Of those labelled.")
@correlation
@level
@options.as_json
def exclude(rate: float, as_json: bool, **assumed: Any) -> None:
    """To exclude that something is as frequent as RATE, if none is found.

    With --json: rate, labels.
    """
    from cotdrift.power import exclude as needed

    _print(needed(rate, **assumed), as_json, f"Labels without one yes that exclude {rate:g}:")


def _print(found: Struct | Sequence[Struct], as_json: bool, what: str) -> None:
    if as_json:
        options.print_json(found)
        return
    import msgspec
    import polars as pl

    rows = msgspec.to_builtins(found)
    click.echo(what)
    options.print_table(pl.DataFrame(rows if isinstance(rows, list) else [rows], infer_schema_length=None))
