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
    top = click.Context(cli, info_name="cotdrift")
    said = ["# Command line", "What each command says of itself with `--help`.", _help(top, cli)]
    for name in cli.list_commands(top):
        command = cli.get_command(top, name)
        assert command is not None
        said += [f"## cotdrift {name}", _help(click.Context(command, info_name=name, parent=top), command)]
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


def _help(context: click.Context, command: click.Command) -> str:
    context.max_content_width = 100
    context.terminal_width = 100
    return f"```text\n{command.get_help(context)}\n```"


if __name__ == "__main__":
    for name, text in pages().items():
        (HERE / name).write_text(text, encoding="utf-8")
    sys.stdout.write(f"Written: {', '.join(pages())}\n")
