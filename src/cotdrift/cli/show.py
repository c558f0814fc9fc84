"""cotdrift show: the passages behind a number."""

from __future__ import annotations

from pathlib import Path

import click

from cotdrift.cli import options


@click.command("show")
@options.study
@click.argument("what")
@options.run
@click.option("--limit", default=10, show_default=True, help="How many lines, early and late each.")
@options.as_json
def command(study: Path, what: str, run: str | None, limit: int, as_json: bool) -> None:
    """Show a term's uses, early beside late, or one whole trace by its id."""
    from cotdrift.study import Study

    opened = Study.open(study)
    trace = opened.find_trace(what)
    if trace is not None:
        if as_json:
            options.print_json(trace)
        else:
            reasoning = f"--- reasoning ({trace.reasoning_kind})\n{trace.reasoning}"
            click.echo("\n\n".join((trace.transcript_id, trace.prompt, reasoning, f"--- answer\n{trace.answer}")))
        return
    found = opened.passages(what, run=run, limit=limit)
    if as_json:
        options.print_json({"term": what, "passages": found})
        return
    for passage in found:
        click.echo(f"{passage.run} {passage.step:>6}  {passage.before:>60} [{passage.hit}] {passage.after:<60}  {passage.transcript_id}")
    if not found:
        click.echo(f"No raw reasoning in this study uses {what!r}.")
