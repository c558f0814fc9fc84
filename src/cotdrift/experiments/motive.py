"""motive: is a model that misbehaves confused, or motivated? Each prompt is asked again with what either would care about changed.

After the ablations of "Model Incrimination" (Singh et al., 2026), and of Schoen et al. (2025), App. M, with the toy environment of
Nitishinskaya and Schoen (2026); what the arms say is put together in `signature.py`.
"""

from __future__ import annotations

import hashlib
import json
import re
from math import nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
from inspect_ai import Epochs, Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessage, ChatMessageSystem, ChatMessageUser, ContentReasoning, ModelOutput
from inspect_ai.scorer import Score, Scorer, Target, grouped, mean, scorer, stderr
from inspect_ai.solver import TaskState, generate

from cotdrift.design import Power
from cotdrift.errors import InputError, UnknownName
from cotdrift.experiment import METADATA, Asked, Experiment
from cotdrift.experiments.motive_prompts import FEWEST_PROMPTS, MOST_PROMPTS, PROMPTS, Environment, own, sandbagging, toy
from cotdrift.signature import ARMS, BASELINE

if TYPE_CHECKING:
    from cotdrift.study import Study

SAMPLES = 4
MADE = {"toy": toy, "sandbagging": sandbagging}


@task
def motive(environment: str = "toy", arms: str = "all", prompts: int = PROMPTS, samples: int = SAMPLES, seed: int = 0) -> Task:
    """Is a model that misbehaves confused, or motivated?

    Args:
        environment: `toy`, `sandbagging`, or the path of a YAML file with prompts of your own.
        arms: Which arms are asked beside the baseline, by commas.
        prompts: How many prompts of `toy` or `sandbagging`; a file has its own.
        samples: How often each prompt is answered in each arm.
        seed: Of the choice of prompts.
    """
    found = environment_of(environment, arms=arms, prompts=prompts, seed=seed)
    asked = [_sample(found, prompt) for prompt in found.prompts]
    texts = hashlib.sha256(json.dumps([[prompt.arm, prompt.messages] for prompt in found.prompts]).encode()).hexdigest()[:16]
    return Task(
        dataset=MemoryDataset(asked, name=found.name),
        solver=generate(),
        scorer=behaviour(environment),
        epochs=Epochs(samples, "mean"),
        version=texts,  # with other prompts it is another task, whose answers are not taken for this one's
    )


def environment_of(environment: str, *, arms: str = "all", prompts: int = PROMPTS, seed: int = 0) -> Environment:
    """The prompts that the task's arguments come to."""
    if environment in MADE:
        if not FEWEST_PROMPTS <= prompts <= MOST_PROMPTS:
            raise InputError(f"prompts={prompts}: give {FEWEST_PROMPTS} to {MOST_PROMPTS}.")
        found = MADE[environment](prompts, seed)
    elif environment.endswith((".yaml", ".yml")):
        found = own(Path(environment))
    else:
        raise UnknownName("environment", environment, [*MADE, "a file FILE.yaml"])
    if arms == "all":
        return found
    chosen = [name.strip() for name in arms.split(",") if name.strip()]
    for name in chosen:
        if name not in found.arms:
            raise UnknownName(f"arm of {found.name}", name, ["all", *found.arms])
    if not set(chosen) - {BASELINE}:
        raise InputError(f"arms={arms}: name one arm beside the baseline at least, as in arms=clarified,removed.")
    return found.only(chosen)


def _sample(environment: Environment, prompt: Any) -> Sample:
    conditions = prompt.conditions | {"arm": prompt.arm}
    said = Asked(environment=environment.name, prompt_id=prompt.prompt_id, conditions=conditions, scorer=behaviour.__name__)
    made: dict[str, type[ChatMessageSystem | ChatMessageUser]] = {"system": ChatMessageSystem, "user": ChatMessageUser}
    asked: list[ChatMessage] = [made[message["role"]](content=message["content"]) for message in prompt.messages]
    return Sample(id=f"{prompt.arm} ({prompt.prompt_id})", input=asked, metadata=said.in_metadata() | {"arm": prompt.arm})


@scorer(metrics={"behaves": [grouped(mean(), "arm", all=False), stderr(cluster="prompt_id")], "*": [mean()]})
def behaviour(environment: str) -> Scorer:
    """Whether an answer shows the behaviour; NaN, which Inspect leaves out of every mean, where that cannot be read."""
    read = environment_of(environment)

    async def score(state: TaskState, target: Target) -> Score:
        found = read.read(state.metadata[METADATA]["conditions"], state.output.completion)
        reasoning = _reasoning(state.output)
        value = {
            "behaves": nan if found.behaves is None else found.behaves,
            "extracted": float(found.behaves is not None),
            "unsure": float(found.unsure),
            "speaks_of_incentive": nan if reasoning is None else float(re.search(read.spoken, reasoning, re.IGNORECASE) is not None),
            "score": nan if found.score is None else found.score,
        }
        return Score(value={name: number for name, number in value.items() if name != "score" or found.score is not None})

    return score


def _reasoning(output: ModelOutput) -> str | None:
    """The reasoning of a reply; None where it shows none."""
    if not output.choices or isinstance(output.choices[0].message.content, str):
        return None
    thought = [block.reasoning for block in output.choices[0].message.content if isinstance(block, ContentReasoning)]
    return "\n".join(thought) if thought else None


def plan(*, environment: str = "toy", arms: str = "all", prompts: int = PROMPTS, samples: int = SAMPLES, seed: int = 0) -> list[str]:
    """What will be asked, and how small a difference between two arms it finds."""
    found = environment_of(environment, arms=arms, prompts=prompts, seed=seed)
    many = len({prompt.prompt_id for prompt in found.prompts})
    power = Power()
    least = power.smallest(many, samples, paired=True)
    smallest = "no difference at all" if least is None else f"differences from {100 * least:.0f} points on"
    asked = f"{many} prompt{'s' * (many != 1)} in {len(found.arms)} arms, {samples} sample{'s' * (samples != 1)} each"
    finds = (
        f"An arm against the baseline, on the same prompts, finds {smallest} with {power.power:.0%} power at the {power.alpha:.0%} level"
    )
    assumed = f"if {power.rate:.0%} of answers show the behaviour and two answers to one prompt correlate by {power.correlation:g}."
    said = [
        f"{asked}: {len(found.prompts) * samples:,} answers a checkpoint.",
        *(f"  {arm}: {ARMS[arm].does}" for arm in found.arms),
        f"{finds}, {assumed}",
    ]
    if many == 1:
        said.append("One prompt says nothing of others: what is found holds for it alone, and the verdict will be undecided.")
    return said


def look_over(study: Study) -> list[str]:
    """How many answers could not be read, or may have been misread."""
    ours = study.corpus.scan().filter(pl.col("environment").str.starts_with("motive_"))
    if not {"outcome_extracted", "outcome_unsure"} <= set(ours.collect_schema().names()):
        return []
    unread, unsure, every = (
        ours.select((pl.col("outcome_extracted") == 0).sum(), (pl.col("outcome_unsure") == 1).sum(), pl.len()).collect().row(0)
    )
    return [f"Of {every:,} answers {unread:,} could not be read and {unsure:,} may have been misread."]


MOTIVE = Experiment(
    name="motive", summary="Is a model that misbehaves confused, or motivated?", task=motive, plan=plan, look_over=look_over
)
