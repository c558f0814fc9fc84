"""The command line, one command a file."""

import importlib
import pkgutil
import sys

import click

from cotdrift.errors import CotdriftError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="cotdrift")
def cli() -> None:
    """Measure how a reasoning model's chain of thought, and what the model does, drift over training.

    \b
    cotdrift report rollouts/*.jsonl      everything in one go: a page to read
    cotdrift ingest FILES --into STUDY    or step by step: measure, terms, trend, show, report
    """


for found in pkgutil.iter_modules(__path__):
    command = getattr(importlib.import_module(f"{__name__}.{found.name}"), "command", None)
    if command is not None:
        cli.add_command(command)


def main() -> None:
    """Run the command line; a fault the user can mend is one sentence, not a traceback."""
    try:
        sys.exit(cli.main(standalone_mode=False))
    except CotdriftError as fault:
        click.echo(f"cotdrift: {fault}", err=True)
        sys.exit(1)
    except click.exceptions.Abort:
        click.echo("cotdrift: stopped. What was finished is kept; the same command goes on from there.", err=True)
        sys.exit(130)
    except click.ClickException as fault:
        fault.show()
        sys.exit(fault.exit_code)
    except BrokenPipeError:
        sys.exit(141)
