"""cotdrift show: the passages behind a number."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cotdrift.cli import options

if TYPE_CHECKING:
    from cotdrift.judgment import Quote
    from cotdrift.study import Study
    from cotdrift.summaries import Node
    from cotdrift.trace import Trace

AROUND = 60
"""Characters on each side of a passage."""


@click.command("show")
@options.study
@click.argument("what", required=False)
@click.option("--grader", help="What a grader's judges said of the trace WHAT; without WHAT, which traces they find the worst.")
@options.run
@click.option("--limit", default=10, show_default=True, help="How many lines, early and late each; how many of the worst traces.")
@options.as_json
def command(study: Path, what: str | None, grader: str | None, run: str | None, limit: int, as_json: bool) -> None:
    """Show a term's uses, early beside late, or one whole trace by its id.

    With --grader what was judged: where summaries were summed up, from the summary of the whole down to the passages, the worst first.

    \b
    cotdrift show study overshadow
    cotdrift show study --grader review.whole
    cotdrift show study 'run:step-400:env:prompt:0' --grader review
    """
    from cotdrift.study import Study

    opened = Study.open(study)
    trace = None if what is None else opened.find_trace(what)
    if grader is not None:
        _show_judged(opened, grader, what, trace, run, limit, as_json)
    elif what is None:
        raise click.UsageError("Name a term or the id of a trace, or a --grader.")
    elif trace is None:
        _show_uses(opened, what, run, limit, as_json)
    elif as_json:
        options.print_json(trace)
    else:
        reasoning = f"--- reasoning ({trace.reasoning_kind})\n{trace.reasoning}"
        given = (f"--- given to it, up to here\n{trace.begun}",) if trace.begun else ()
        click.echo("\n\n".join((trace.transcript_id, trace.prompt, *given, reasoning, f"--- answer\n{trace.answer}")))


def _show_uses(study: Study, term: str, run: str | None, limit: int, as_json: bool) -> None:
    found = study.passages(term, run=run, limit=limit)
    if as_json:
        options.print_json({"term": term, "passages": found})
        return
    for passage in found:
        click.echo(f"{passage.run} {passage.step:>6}  {passage.before:>60} [{passage.hit}] {passage.after:<60}  {passage.transcript_id}")
    if not found:
        click.echo(f"No raw reasoning in this study uses {term!r}.")


def _show_judged(study: Study, grader: str, what: str | None, trace: Trace | None, run: str | None, limit: int, as_json: bool) -> None:
    if what is None:
        worst = study.worst(grader, run=run, limit=limit)
        options.print_json({"grader": grader, "worst": worst.to_dicts()}) if as_json else options.print_table(worst, rows=limit)
        return
    if trace is None:
        raise click.BadParameter(f"{what!r} is the id of no trace here. Leave it out to see the worst ones.", param_hint="WHAT")
    judged = study.judged(grader, trace.transcript_id)
    if as_json:
        options.print_json({"transcript_id": trace.transcript_id, "grader": grader, "judged": judged})
        return
    for node in judged:
        click.echo(f"{node.judge}{f' ({node.settings})' if node.settings else ''}")
        click.echo("\n".join(_lines(node, trace, "  ")))
    if not judged:
        click.echo(f"{grader} was not asked about this trace.")


def _lines(node: Node, trace: Trace, indent: str) -> Iterator[str]:
    """A judgment, the passages that it quotes, and those that it sums up."""
    details = ", ".join(level for level in node.details.values() if level != "none")
    answer = f"missing: {node.missing}" if node.missing else f"{node.label}{f' ({details})' if details else ''}"
    use = f" ⟦{node.marked}⟧" if node.marked else ""
    yield f"{indent}{answer}  [{node.start:,} to {node.end:,}]{use}  {' '.join(node.reason.split())}".rstrip()
    for quote in node.quotes:
        yield f"{indent}    {_passage(quote, trace)}"
    for child in node.children:
        yield from _lines(child, trace, f"{indent}  ")


def _passage(quote: Quote, trace: Trace) -> str:
    """A quote as it stands in the trace, with what is around it."""
    text = {"reasoning": trace.reasoning, "record": trace.record}.get(quote.where or "")
    if text is None or quote.start is None or quote.end is None:
        return f'"{" ".join(quote.text.split())}"{"" if quote.where else ", which is not there"}'
    parts = text[max(0, quote.start - AROUND) : quote.start], text[quote.start : quote.end], text[quote.end : quote.end + AROUND]
    before, said, after = (" ".join(part.split()) for part in parts)
    return f"{before} [{said}] {after}".strip()
