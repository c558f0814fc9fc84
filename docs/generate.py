"""The pages that are made from the code: the measures, the graders and the command line. Run it to write them anew."""

import inspect
import sys
from pathlib import Path

import click

from cotdrift.cli import cli
from cotdrift.grader import Grader, Read
from cotdrift.graders import graders as shelf
from cotdrift.measure import Measure
from cotdrift.shelf import collect

HERE = Path(__file__).parent
BEGINS = """Numbers read off the raw reasoning of a trace with no model involved. Each is computed for every trace, and checkpoints are
compared by the trend over their means. A version goes up when the same trace would now give another number."""
SHELF = "## The shelf\n"
"""The heading of the guide to graders from which on it is generated."""
PARTS = ("scenario", "reasoning", "record", "answer")


def pages() -> dict[str, str]:
    """Each generated page, by file name."""
    return {"cli.md": command_line(), "measures.md": measures(), "graders.md": graders()}


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


def graders() -> str:
    """The guide to graders, with the shelf after it."""
    guide, _, _ = (HERE / "graders.md").read_text(encoding="utf-8").partition(SHELF)
    found = shelf().values()
    rows = [f"| [`{one.name}`](#{one.name}) | {one.question} | {_scale(one)} | {_sees(one)} | {one.version} |" for one in found]
    table = "| grader | question | answers | sees | version |\n|---|---|---|---|---|\n" + "\n".join(rows)
    return guide + "\n\n".join([SHELF.strip(), table, *(_rubric(one) for one in found)]) + "\n"


def _rubric(grader: Grader) -> str:
    """What may be answered, and what is read off the answers."""
    said = [f"### {grader.name}", grader.question, _answers(grader)]
    for detail in grader.details:
        levels = "\n".join(f"- `{label}`: {meaning}" for label, meaning in detail.levels.items())
        said += [f"**{detail.name}**: {detail.asked}", levels]
    if grader.terms:
        said.append(f"Asked of each use of: {', '.join(f'`{term}`' for term in grader.terms)}.")
    if grader.groups:
        said.append(f"Summed up {grader.groups} at a time, up to one summary of the whole.")
    if grader.reads:
        said.append("Of each trace: " + "; ".join(_read(grader, read) for read in grader.reads) + ".")
    return "\n\n".join([*said, f"*{grader.source}.*"])


def _answers(grader: Grader) -> str:
    if not grader.is_number:
        rows = [f"| {answer.label} | {answer.meaning} |" for answer in grader.answers]
        return "| answer | means |\n|---|---|\n" + "\n".join(rows)
    rows = [f"| {answer.label} | {answer.value:g} | {answer.meaning} |" for answer in grader.answers]
    return "| answer | counts as | means |\n|---|---|---|\n" + "\n".join(rows)


def _scale(grader: Grader) -> str:
    labels = [answer.label for answer in grader.answers]
    if not all(label.isdecimal() for label in labels):
        return ", ".join(labels)
    numbers = sorted(int(label) for label in labels)
    return f"{numbers[0]} to {numbers[-1]}; {grader.worse} is worse"


def _sees(grader: Grader) -> str:
    cut = f" ({grader.window} words at a time)" if grader.window else f" ({grader.around} words around each use)" if grader.around else ""
    return ", ".join(part + (cut if part in ("reasoning", "record") else "") for part in PARTS if part in grader.sees)


def _read(grader: Grader, read: Read) -> str:
    name = f"{grader.name}.{read.name}" if read.name else grader.name
    how = f"{read.how} {read.bound:g}" if read.bound is not None else read.how
    return f"`{name}`, {how} ({read.unit})"


def _help(context: click.Context) -> str:
    context.max_content_width = context.terminal_width = 100
    return f"```text\n{context.get_help()}\n```"


if __name__ == "__main__":
    for name, text in pages().items():
        (HERE / name).write_text(text, encoding="utf-8")
    sys.stdout.write(f"Written: {', '.join(pages())}\n")
