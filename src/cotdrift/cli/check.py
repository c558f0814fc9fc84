"""cotdrift check: whether the server can be trusted that the traces come from."""

from __future__ import annotations

from pathlib import Path

import click

from cotdrift.cli import options


@click.command("check")
@options.study
@options.seed
@options.as_json
def command(study: Path, seed: int, as_json: bool) -> None:
    """Whether the server can be trusted: answers as broken as the reasoning, marks in the text, settings that changed.

    Look here before anything is said of legibility; the report opens with what speaks against the server. With --json every check of
    every checkpoint, with its interval and the passages that show it.
    """
    import msgspec

    from cotdrift.sentences import of_serving
    from cotdrift.study import Study

    found = Study.open(study).check(seed=seed)
    if as_json:
        options.print_json({"trusted": found.is_trusted, "sentences": of_serving(found), **msgspec.structs.asdict(found)})
        return
    for sentence in of_serving(found):
        click.echo(sentence)
    for (run, check, where), (worst, *_) in found.by_failing.items():
        click.echo(f"\n{run}, step {worst.step}: {check} in the {where}")
        for seen in worst.passages:
            click.echo(f"  {seen.before[-40:]!r} [{seen.hit[:100]!r}]  {seen.transcript_id}")
