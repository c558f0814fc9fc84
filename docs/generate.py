"""The pages that are made from the code: the table of measures and the command line. Run it to write them anew."""

import inspect
import sys
from pathlib import Path

import click

from cotdrift.cli import cli
from cotdrift.measure import Measure
from cotdrift.shelf import collect

HERE = Path(__file__).parent
BEGINS = """Numbers read off the raw reasoning of a trace with no model involved. Each is computed for every trace, and checkpoints are
compared by the trend over their means. A version goes up when the same trace would now give another number."""


def pages() -> dict[str, str]:
    """Each generated page, by file name."""
    return {"cli.md": command_line(), "measures.md": measures()}


def command_line() -> str:
    """Every command's own help."""
    top = cli.make_context("cotdrift", [], resilient_parsing=True)
    said = ["# Command line", "What each command says of itself with `--help`.", _help(top)]
    for name in cli.list_commands(top):
        command = cli.commands[name]
        context = command.make_context(name, [], parent=top, resilient_parsing=True)
        said += [f"## cotdrift {name}", _help(context)]
        for part in command.list_commands(context) if isinstance(command, click.Group) else ():
            said += [
                f"### cotdrift {name} {part}",
                _help(command.commands[part].make_context(part, [], parent=context, resilient_parsing=True)),
            ]
    return "\n\n".join(said) + "\n"


def measures() -> str:
    """Every measure, with its unit and what it says of itself."""
    found = collect("measures", Measure).values()
    said = [
        "# Measures",
        BEGINS,
        "| measure | unit | version | in one line |\n|---|---|---|---|\n"
        + "\n".join(
            f"| [`{measure.name}`](#{measure.name}) | {measure.unit} | {measure.version} | {measure.summary} |" for measure in found
        ),
    ]
    for measure in found:
        words, _, example = (inspect.getdoc(measure.of_trace) or "").partition(">>> ")
        said += [
            f"## {measure.name}",
            f"*{measure.unit}, version {measure.version}*",
            words.strip(),
            f"```pycon\n>>> {example.strip()}\n```",
        ]
    return "\n\n".join(said) + "\n"


def _help(context: click.Context) -> str:
    context.max_content_width = context.terminal_width = 100
    return f"```text\n{context.get_help()}\n```"


if __name__ == "__main__":
    for name, text in pages().items():
        (HERE / name).write_text(text, encoding="utf-8")
    sys.stdout.write(f"Written: {', '.join(pages())}\n")
