"""cotdrift calibrate: what a grader is worth, against labels by people."""

from __future__ import annotations

from pathlib import Path

import click

from cotdrift.cli import options


@click.command("calibrate")
@options.study
@click.argument("grader")
@click.option("--labels", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Read these labels in first: CSV or JSONL.")
@click.option("--annotator", default="labels", show_default=True, help="Who gave those that name nobody.")
@click.option("--cut", type=float, help="Values from here up count as yes.  [default: the middle of the scale]")
@options.run
@options.seed
@options.as_json
def command(
    study: Path, grader: str, labels: Path | None, annotator: str, cut: float | None, run: str | None, seed: int, as_json: bool
) -> None:
    """What a GRADER is worth against people's labels: sensitivity, specificity and AUROC, and whether they changed over training.

    Once there are labels, `cotdrift trend STUDY GRADER` has the rate with the grader's errors taken out beside the grader's own.
    """
    from cotdrift.graders import grader as grader_called
    from cotdrift.labelling.exchange import read_labels
    from cotdrift.labelling.labels import FILE, Labels
    from cotdrift.study import Study

    opened = Study.open(study)
    if labels is not None:
        name = grader.partition(".")[0]
        asked = opened.graders().get(name) or grader_called(name)
        with Labels(opened.folder / FILE) as kept:
            taken = read_labels(kept, asked, labels, annotator=annotator, ids=opened.corpus.ids())
        if not as_json:
            click.echo(taken.sentence())
    found = opened.calibrate(grader, cut=cut, run=run, seed=seed)
    if as_json:
        options.print_json(found)
    else:
        click.echo(found.sentence())
