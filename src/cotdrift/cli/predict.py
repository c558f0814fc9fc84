"""cotdrift predict: say beforehand what training will do, and see what became of it."""

from __future__ import annotations

from pathlib import Path

import click

from cotdrift.cli import options

ALTERED = 5
"""The exit code when what stands in the study is not what was registered."""


@click.command("predict")
@options.study
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@options.seed
@options.as_json
def command(study: Path, files: tuple[Path, ...], seed: int, as_json: bool) -> None:
    """Register the predictions in FILES (YAML) in a STUDY; without FILES, say what became of those that are registered.

    A prediction is hashed, dated and sealed with those before it. Where traces it speaks of are in the study already it is registered
    all the same, and marked AFTER DATA wherever it is told. It held if its whole 95% interval is on the side that was predicted, failed
    if it is on the other, and is undecided else. What was changed in the study afterwards is found; the exit code is then 5.

    \b
    cotdrift predict study hinted_games_more.yaml
    cotdrift run reward_hint --series 'organism/hinted@{step}' --steps 0,160 --into study
    cotdrift predict study
    """
    from cotdrift.foretold import foretell, foretold, is_known
    from cotdrift.prediction import read_prediction
    from cotdrift.study import Study

    if not files:
        found = foretold(Study.open(study), seed=seed)
        if as_json:
            options.print_json(found)
        else:
            for sentence in [*(verdict.sentence() for verdict in found.verdicts), *found.faults]:
                click.echo(sentence)
            if not found.verdicts and not found.faults:
                click.echo(f"No predictions are registered. Register one: cotdrift predict {study} FILE.yaml")
        if found.faults or any(verdict.verdict == "altered" for verdict in found.verdicts):
            click.get_current_context().exit(ALTERED)
        return
    for path in files:
        read_prediction(path)  # all can be read, or none is registered
    begun = Study.make(study)
    begun.ingest([])
    entries = [foretell(begun, path) for path in files]
    if as_json:
        options.print_json(entries)
        return
    for entry in entries:
        click.echo(f"{entry.prediction.name}: registered on {entry.registered}, sha256 {entry.sha256}")
        if entry.known:
            many = sum(entry.known.values())
            click.echo(f"  AFTER DATA: {many:,} traces it speaks of are in the study, at step {', '.join(entry.known)}.", err=True)
        if not is_known(begun, entry.prediction):
            click.echo(f"  Nothing is called {entry.prediction.outcome!r} here yet: it must come with the traces.", err=True)
    click.echo(f"The seal of all of them: {entries[-1].seal}. Whoever has it can tell that nothing was changed: publish it.")
