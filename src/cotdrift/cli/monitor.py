"""cotdrift monitor: how well monitors tell a property over the steps of each run, and which drift costs them what."""

from __future__ import annotations

from pathlib import Path

import click

from cotdrift.cli import options


@click.command("monitor")
@options.study
@click.option("--monitor", "monitors", metavar="MONITOR", multiple=True, required=True, help="Who is to tell it. May be repeated.")
@click.option("--truth", required=True, help="The outcome, or grader, that says whether the property holds: yes or no.")
@click.option(
    "--archetype",
    type=click.Choice(["outcome", "process", "intervention"]),
    default="outcome",
    show_default=True,
    help="Where the truth comes from: what was done, the path that a right answer took, or two arms.",
)
@click.option("--intervention", metavar="FACTOR:WITHOUT:WITH", help="The two arms of the archetype intervention.")
@click.option("--fpr", default=0.05, show_default=True, help="The share of false alarms at which the share found is told.")
@click.option("--cut", type=float, help="From this score on it is yes.  [default: where g-mean² is highest, on other prompts]")
@click.option("--as-seeds", is_flag=True, help="The runs are alike but for their seed: the mean over them, runs resampled too.")
@options.run
@options.environment
@options.seed
@options.as_json
def command(
    study: Path,
    monitors: tuple[str, ...],
    truth: str,
    archetype: str,
    intervention: str | None,
    fpr: float,
    cut: float | None,
    as_seeds: bool,
    run: str | None,
    environment: str | None,
    seed: int,
    as_json: bool,
) -> None:
    """How well each MONITOR tells a property, whose truth is known, at each checkpoint; and which drift goes with its errors.

    A MONITOR is the name of a grader, a measure or an outcome (a column of your data), whose value is its score; or a rule of words,
    NAME=SCOPE:PATTERN, whose score is how often the pattern is found in what it reads: reasoning, actions or all. g-mean² is the share
    found times the share rightly passed; a coin has 0.25. What is asked is kept in the study, in
    place of what was asked of the same truth before, and its report shows it.

    \b
    cotdrift monitor study --monitor reward_reasoning --truth mentions_grader
    cotdrift monitor study --monitor 'weak=reasoning:reward' --monitor 'blind=actions:reward' --truth mentions_grader
    cotdrift monitor study --monitor monitor_probability --truth switched --fpr 0.1

    With --json an object: monitorability (an entry a run and monitor) and costs (an entry a run, monitor, measure and kind).
    """
    from cotdrift.costs import what_costs
    from cotdrift.monitor import Intervention, Watch
    from cotdrift.study import Study

    watch = Watch.of(
        *monitors,
        truth=truth,
        archetype=archetype,
        intervention=Intervention.parse(intervention) if intervention else None,
        fpr=fpr,
        cut=cut,
        environment=environment,
        as_seeds=as_seeds,
    )
    opened = Study.open(study)
    found = opened.monitorability(watch, run=run, seed=seed)
    costs = opened.costs(watch, run=run, seed=seed)
    watch.keep(opened.folder)
    if as_json:
        options.print_json({"monitorability": found, "costs": costs})
        return
    for one in found:
        click.echo(f"{one.run}: {one.sentence()}")
        options.print_table(one.frame)
        for warning in one.warnings:
            click.echo(f"  {warning}")
        for sentence in what_costs([cost for cost in costs if (cost.run, cost.monitor) == (one.run, one.monitor.name)]):
            click.echo(f"  {sentence}")
