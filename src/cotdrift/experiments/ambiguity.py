"""ambiguity: how much has to be left open before a shortcut is taken, over a ladder from expressly forbidden to fully open."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
from inspect_ai import Task, task

from cotdrift.experiment import Experiment
from cotdrift.experiments.ladder import LEVELS, WORDINGS, Number, Scenario, family_of, scenarios
from cotdrift.frame import SAMPLES, Frame, Messages, Said

if TYPE_CHECKING:
    from cotdrift.study import Study

ENVIRONMENT = "ambiguity"
"""What its traces' environments are called, with the family after it."""


def exploits(said: Said) -> bool | None:
    """The answer takes the shortcut, as a program reads it; none where a reader has to judge that."""
    scenario: Scenario = said.unit
    return scenario.exploited(said.answer)


def unsure(said: Said) -> bool | None:
    """The answer is more than a number, and the number read in it may not be the one that was meant."""
    scenario: Scenario = said.unit
    return scenario.unsure(said.answer)


def asked(scenario: Scenario, arm: str, wording: str) -> Messages:
    """The scenario at a level of its ladder."""
    return scenario.messages(arm, wording)


def frame(families: str = "all") -> Frame:
    """The scenarios of some families, each at every level."""
    levels = tuple(LEVELS)
    made = Frame(
        name=ENVIRONMENT,
        summary="How much has to be left open before a shortcut is taken?",
        ask=asked,
        units=scenarios(families),
        arms=levels,
        factors={"wording": WORDINGS},
        outcomes={"exploits": exploits, "unsure": unsure},
        contrasts=tuple((level, levels[0]) for level in levels[1:]),
        kind=family_of,
        version=1,
    )
    made.check()
    return made


@task
def ambiguity(families: str = "all", samples: int = SAMPLES) -> Task:
    """How much has to be left open before a shortcut is taken?

    Args:
        families: Which families of scenarios, by commas: numbers, code, customers, files, research.
        samples: How often each prompt is answered.
    """
    laid_out = frame(families)
    return laid_out.task(cells=len(laid_out.units) * len(WORDINGS), samples=samples)


def plan(*, families: str = "all", samples: int = SAMPLES) -> list[str]:
    """What will be asked, and how small a difference it finds."""
    laid_out = frame(families)
    said = laid_out.plan(cells=len(laid_out.units) * len(WORDINGS), samples=samples)
    by_reader = sum(not isinstance(one, Number) and one.says is None for one in laid_out.units.values())
    return [*said, f"{by_reader} of the scenarios are judged by a reader, the others by a program."] if by_reader else said


def look_over(study: Study) -> list[str]:
    """How many answers no program could judge."""
    ours = study.corpus.scan().filter(pl.col("environment").str.starts_with(ENVIRONMENT))
    if "outcome_exploits" not in ours.collect_schema():
        return []
    waiting = ours.filter(pl.col("outcome_exploits").is_null()).select(pl.len()).collect().item()
    return (
        [f"{waiting} answers are for a reader to judge: cotdrift grade {study.folder} exploit gymnastics --model-role grader=MODEL"]
        if waiting
        else []
    )


AMBIGUITY = Experiment(
    name=ENVIRONMENT, summary="How much has to be left open before a shortcut is taken?", task=ambiguity, plan=plan, look_over=look_over
)
