"""cotdrift sense: whether terms have come to mean something else."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cotdrift.cli import options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cotdrift.sense import Point, Quoted, Sense
    from cotdrift.study import Study

SHOWN = 20
"""How many discovered words are listed."""
AROUND = 60
"""Characters on each side of a quoted use."""


@click.command("sense")
@options.study
@click.argument("terms", nargs=-1)
@options.run
@options.environment
@click.option(
    "--encoder",
    default="minilm",
    show_default=True,
    help="minilm, smollm2, a folder with a model, or the address of an embeddings endpoint: http://HOST/v1#MODEL.",
)
@click.option("--per-prompt", "a_prompt", type=click.IntRange(min=1), default=5, show_default=True, help="Uses of a prompt and checkpoint.")
@click.option(
    "--model-role",
    "roles",
    metavar="substituter=MODEL",
    multiple=True,
    help="Ask this model, as Inspect names it, for words that could stand in each term's place, early and late.",
)
@click.option("--pairs", type=click.IntRange(min=60), help="Draw so many pairs of uses for judges and people instead; 200 are plenty.")
@options.seed
@options.as_json
def command(
    study: Path,
    terms: tuple[str, ...],
    run: str | None,
    environment: str | None,
    encoder: str,
    a_prompt: int,
    roles: tuple[str, ...],
    pairs: int | None,
    seed: int,
    as_json: bool,
) -> None:
    """How far the uses of TERMS are at each checkpoint from those at the first, as a share of them replaced by another word's.

    What is found is kept in the study and shown in its report. With --json a list, one entry a run and term: points (step, and apart:
    energy, dose, p, p_adjusted, auc …), donors, controls, and the uses nearest to and strangest from the first checkpoint's.

    Without TERMS the whole vocabulary is looked through, without an encoder: the words whose nearest words changed, those first of which it
    is surest.

    With --model-role substituter=MODEL nothing is encoded: the words that this model would put in a term's place at the first checkpoint
    and at the last are told, those first whose share of the uses moved most.

    With --pairs nothing is encoded: pairs of uses, within the first checkpoint, within the last and across, are put into STUDY/pairs, a
    study of their own, whose grader same_sense asks how far they mean the same. Where that was answered, it is told here beside the rest.

    \b
    cotdrift sense study reward grader watchers
    cotdrift sense study
    cotdrift sense study reward --model-role substituter=MODEL
    cotdrift sense study reward --pairs 200
    cotdrift grade study/pairs same_sense --model-role grader=MODEL
    cotdrift label study/pairs same_sense
    """
    from cotdrift.sense_sentences import what_became, what_was_judged
    from cotdrift.study import Study

    opened = Study.open(study)
    if not terms:
        if pairs is not None or roles:
            raise click.UsageError("Name the terms whose uses are to be asked about.")
        _discover(opened, run, environment, seed, as_json=as_json)
        return
    if pairs is not None:
        _draw(opened, terms, run, environment, a_prompt, pairs, seed, as_json=as_json)
        return
    if roles:
        _substitute(opened, terms, run, environment, roles, seed, as_json=as_json)
        return
    found = opened.sense(*terms, run=run, encoder=encoder, environment=environment, a_prompt=a_prompt, seed=seed)
    if as_json:
        options.print_json(found)
        return
    for sense in found:
        click.echo(f"{sense.run}: {what_became(sense).sentence}")
        click.echo("\n".join(_table(sense)))
        for name, quoted in (("as at the first", sense.nearest_late), ("strangest to it", sense.strangest_late)):
            for use in quoted:
                click.echo(f"  {name}  {_passage(use)}")
    for judged in opened.same_sense(seed=seed):
        if judged.term in {sense.term for sense in found}:
            click.echo(f"{judged.run}: {what_was_judged(judged)}")


def _discover(study: Study, run: str | None, environment: str | None, seed: int, *, as_json: bool) -> None:
    found = study.discover_senses(run=run, environment=environment, seed=seed)
    if as_json:
        options.print_json(found)
        return
    for one in found:
        clear = [word for word in one.words if word.p_adjusted < 0.05]
        click.echo(
            f"{one.run}: of {one.vocabulary} words {len(clear)} have clearly other neighbours at step {one.last_step} than at step "
            f"{one.first_step} (Benjamini-Hochberg at 5%). The surest:"
        )
        for word in one.words[:SHOWN]:
            common = f"{word.across:.0%} of neighbours in common across, {word.within:.0%} within, adjusted p {word.p_adjusted:.3f}"
            click.echo(f"  {word.word:>20}  {common}  {', '.join(word.near_first)} → {', '.join(word.near)}")


def _substitute(
    study: Study, terms: tuple[str, ...], run: str | None, environment: str | None, roles: tuple[str, ...], seed: int, *, as_json: bool
) -> None:
    told = options.pairs_of(roles, option="--model-role", form="substituter=MODEL", example="substituter=openai/gpt-5-mini")
    if set(told) != {"substituter"}:
        raise click.BadParameter("the one role here is substituter. Write --model-role substituter=MODEL.", param_hint="--model-role")
    found = [
        study.substitutes(term, model=told["substituter"], run=name, environment=environment, seed=seed)
        for name in study.chosen(run)
        for term in terms
    ]
    if as_json:
        options.print_json(found)
        return
    for one in found:
        ends = f"at step {one.first_step} and at step {one.last_step}"
        click.echo(f"{one.run}: in the place of {one.term!r}, on {one.prompts} prompts, {one.model} puts {ends}:")
        for word in one.words:
            p = "" if word.p_adjusted is None else f"  adjusted p {word.p_adjusted:.4f}"
            click.echo(f"  {word.word:>24}  {word.early:>5.0%} → {word.late:>5.0%}{p}")
        click.echo(
            f"  cannot be made out: {one.unclear[0]} → {one.unclear[1]} uses; nothing to read came of {one.missing[0]} and {one.missing[1]}"
        )


def _draw(
    study: Study,
    terms: tuple[str, ...],
    run: str | None,
    environment: str | None,
    a_prompt: int,
    pairs: int,
    seed: int,
    *,
    as_json: bool,
) -> None:
    drawn = [
        study.sense_pairs(term, run=name, pairs=pairs, environment=environment, a_prompt=a_prompt, seed=seed)
        for name in study.chosen(run)
        for term in terms
    ]
    if as_json:
        options.print_json({"pairs": str(drawn[0]), "grader": "same_sense"})
        return
    click.echo(f"The pairs are in {drawn[0]}. Ask about them: cotdrift grade {drawn[0]} same_sense --model-role grader=MODEL")
    click.echo(f"or by hand: cotdrift label {drawn[0]} same_sense")


def _table(sense: Sense) -> Iterator[str]:
    yield f"  {'step':>8}  {'uses':>5}  {'prompts':>7}  {'energy':>8}  {'p':>6}  {'adj. p':>6}  {'dose %':>16}  {'AUC':>5}"
    for point in sense.points:
        yield _row(point)


def _row(point: Point) -> str:
    start = f"  {point.step:>8}  {point.uses:>5}  {point.prompts:>7}  "
    if point.apart is None:
        return start + point.note
    of = point.apart
    dose = f"{100 * of.dose.value:.0f} [{100 * of.dose.low:.0f}, {100 * of.dose.high:.0f}]" if of.dose else "none"
    return start + f"{of.energy:>8.4f}  {of.p:>6.4f}  {of.p_adjusted or of.p:>6.4f}  {dose:>16}  {of.auc:>5.2f}"


def _passage(use: Quoted) -> str:
    before, after = " ".join(use.before.split())[-AROUND:], " ".join(use.after.split())[:AROUND]
    return f"{use.step:>6}  {before:>{AROUND}} [{' '.join(use.hit.split())}] {after:<{AROUND}}  {use.transcript_id}"
