"""cotdrift label: a page on which a person answers a grader's question."""

from __future__ import annotations

from contextlib import suppress
from getpass import getuser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cotdrift.cli import options

if TYPE_CHECKING:
    import polars as pl

    from cotdrift.grader import Grader
    from cotdrift.labelling.labels import Labels
    from cotdrift.labelling.sitting import Sitting
    from cotdrift.study import Study


@click.command("label")
@options.study
@click.argument("question")
@click.option("--annotator", help="Who labels.  [default: your login name]")
@click.option("--limit", type=click.IntRange(min=1), default=200, show_default=True, help="How many traces are drawn; 5 % come twice.")
@click.option(
    "--sample",
    type=click.Choice(["stratified", "random", "active"]),
    default="stratified",
    show_default=True,
    help="As many from each checkpoint; from all alike; or more where judges found something, disagree or waver.",
)
@click.option("--common", type=click.FloatRange(0, 1), default=0.25, show_default=True, help="The share that all annotators get.")
@click.option(
    "--judgments",
    type=click.Path(dir_okay=False, path_type=Path),
    help="What judges said, if not in this study: columns transcript_id, judge, value.",
)
@click.option("--show-quotes", is_flag=True, help="Highlight what judges quoted: the column quote. Labels are then not blind to them.")
@options.seed
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Where the page is served.  [default: a free port]")
@click.option("--import", "read_from", type=click.Path(dir_okay=False, path_type=Path), help="Read labels from this file; serve nothing.")
@click.option("--export", "write_to", type=click.Path(dir_okay=False, path_type=Path), help="Write labels to this file; serve nothing.")
@options.as_json
def command(study: Path, question: str, read_from: Path | None, write_to: Path | None, as_json: bool, **told: Any) -> None:
    """Answer a QUESTION about traces of a study by hand, on a page that this machine alone can open.

    QUESTION is a grader's name or file. What you label is kept in the study's labels.sqlite at once; the same command goes on where you
    stopped. Files are CSV, JSONL or, called .scout.csv, Scout's validation sets. With --json, progress as a line at the beginning and
    at the end.
    """
    from cotdrift.graders import grader as grader_called
    from cotdrift.labelling.labels import FILE, Labels
    from cotdrift.study import Study

    opened = Study.open(study)
    grader = grader_called(question)
    annotator = told.pop("annotator") or getuser()
    with Labels(opened.folder / FILE) as labels:
        if read_from or write_to:
            _exchange(opened, labels, grader, annotator, read_from, write_to, as_json=as_json)
        else:
            port = told.pop("port")
            _serve(_sitting(opened, labels, grader, annotator, **told), port, as_json=as_json)


def _exchange(
    study: Study, labels: Labels, grader: Grader, annotator: str, read_from: Path | None, write_to: Path | None, *, as_json: bool
) -> None:
    from cotdrift.labelling.exchange import read_labels, write_labels

    taken = read_labels(labels, grader, read_from, annotator=annotator, ids=study.corpus.ids()) if read_from else None
    written = write_labels(labels, grader, write_to) if write_to else None
    if as_json:
        options.print_json({"import": taken, "export": written})
        return
    if taken:
        click.echo(taken.sentence())
    if written:
        left = f", {written.undecided} transcripts left out as annotators are split" if written.undecided else ""
        click.echo(f"{written.file}: {written.written} rows written{left}.")


def _sitting(
    study: Study, labels: Labels, grader: Grader, annotator: str, *, judgments: Path | None, show_quotes: bool, **design: Any
) -> Sitting:
    import polars as pl

    from cotdrift.labelling.draw import Design
    from cotdrift.labelling.sitting import sit

    told = Design(annotator=annotator, quotes=show_quotes, **design)
    had = (
        study.judgments.frame(grader.name, sha=grader.sha)
        .filter(pl.col("level") == 0)
        .with_columns(quote=pl.col("quotes").str.json_path_match("$[0].text"))
    )
    return sit(study.corpus, labels, grader, told, judgments=_frame(judgments) if judgments else had if had.height else None)


def _serve(sitting: Sitting, port: int, *, as_json: bool) -> None:
    import msgspec

    from cotdrift.errors import InputError

    try:
        from cotdrift.labelling.server import serving  # its web server is an extra
    except ModuleNotFoundError as fault:
        if (fault.name or "").partition(".")[0] not in ("starlette", "uvicorn"):
            raise
        raise InputError(f"The page needs a web server ({fault}). Install it: pip install 'cotdrift[label]'") from None

    def tell(then: str, **more: str) -> None:
        done = sitting.progress
        if as_json:
            click.echo(msgspec.json.encode(more | msgspec.to_builtins(done)).decode())
        else:
            click.echo(f"{done.labelled} of {done.cases} labelled by {done.annotator}. {then}")

    with suppress(KeyboardInterrupt), serving(sitting, port=port) as served:
        tell(f"Open {served.address} (Ctrl-C ends it).", address=served.address)
        served.wait()
    tell("The same command goes on from there.")


def _frame(path: Path) -> pl.DataFrame:
    """A table of judgments, whatever it is written as."""
    import polars as pl

    from cotdrift.errors import InputError

    readers: dict[str, Any] = {".csv": pl.read_csv, ".jsonl": pl.read_ndjson, ".parquet": pl.read_parquet}
    if path.suffix not in readers:
        raise InputError(f"{path}: judgments are read from CSV, JSONL or parquet. Write them as one of these.")
    try:
        frame: pl.DataFrame = readers[path.suffix](path)
    except (OSError, pl.exceptions.PolarsError) as fault:
        raise InputError(f"{path}: the judgments cannot be read: {' '.join(str(fault).split())}") from None
    return frame
