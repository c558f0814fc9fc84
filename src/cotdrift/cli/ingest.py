"""cotdrift ingest: files into a study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cotdrift.cli import options


@click.command("ingest")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--into", required=True, type=click.Path(path_type=Path), help="The study: a folder, made if it is not there.")
@options.reading
@options.as_json
def command(files: tuple[Path, ...], into: Path, as_json: bool, **told: Any) -> None:
    """Read rollouts or logs into a study.

    FILES are Inspect logs, rollout dumps of verl, TRL, prime-rl or verifiers, JSONL, JSON, CSV, parquet, or folders of these.
    A file that is already there is left as it is; one that changed is read again.
    Records that cannot be read are named, and kept whole in the study's rejected.jsonl; the exit code is then 3.
    """
    from cotdrift.study import Study

    study = Study.make(into)
    ingested = study.ingest(files, options.make_reading(**told))
    rejected = sum(source.rejected for source in ingested)
    if as_json:
        totals = {"traces": sum(source.traces for source in ingested), "rejected": rejected}
        options.print_json({"study": str(into), **totals, "rejected_file": str(study.rejected) if rejected else None, "sources": ingested})
    else:
        for source in ingested:
            click.echo(f"{source.path}: {source.traces} traces ({source.format}), {source.status}")
            for guess in source.guessed:
                click.echo(f"  {guess}")
    for source in ingested:
        for fault in source.faults:
            click.echo(fault, err=True)
    if rejected:
        click.echo(f"{rejected} records could not be read; they are kept whole in {study.rejected}.", err=True)
        click.get_current_context().exit(options.REJECTED)
