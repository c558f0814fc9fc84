"""importance: which sentences of a chain of reasoning matter, by what its checkpoint says when it goes on without each and with it."""

from __future__ import annotations

import hashlib
import re
from math import nan
from typing import TYPE_CHECKING, Any

import msgspec
import polars as pl
from inspect_ai import Epochs, Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.scorer import Score, Scorer, Target, grouped, mean, scorer
from inspect_ai.solver import TaskState

from cotdrift.conversation import CUT_OFF
from cotdrift.errors import InputError
from cotdrift.experiment import Asked, Experiment, as_text
from cotdrift.experiments.going_on import TRIED, Begun, given, prove, way_of
from cotdrift.experiments.importance_design import ENVIRONMENTS, MOST, PIECES, SAMPLES, Chain, Chains, Chosen, category_of, make_chains
from cotdrift.experiments.prefixes import PREFIX, go_on
from cotdrift.experiments.self_review import of_checkpoint

if TYPE_CHECKING:
    from inspect_ai.model import Model

    from cotdrift.study import Study

CHAIN = "chain"
"""Under this name a sample's metadata hold what it is a part of."""


@task
def importance(
    traces: str | None = None,
    behaviour: str | None = None,
    least: float = 1.0,
    environment: str | None = None,
    answers: str | None = None,
    shows: str | None = None,
    kinds: str | None = None,
    most: int = MOST,
    pieces: int = PIECES,
    forced: bool = True,
    samples: int = SAMPLES,
    template: str | None = None,
) -> Task:
    """Which sentences of a checkpoint's reasoning decide what it answers?

    Args:
        traces: A file of traces, or a study.
        behaviour: The outcome, measure or grader by which traces are chosen; without it all are.
        least: The least value of it that chooses a trace.
        environment: Only traces of this environment.
        answers: A regular expression that sorts answers: the name of the group that is found is the category, as in
            `(?P<even>[02468]$)|(?P<odd>[13579]$)`. Without it, each other wording is another answer.
        shows: A regular expression of the behaviour in an answer; a column `shows` comes first. Without it, the behaviour is that the
            answer falls where the trace's own did.
        kinds: A YAML file of kinds of sentences, each with a regular expression, which are then ranked.
        most: How many traces of each checkpoint are taken apart, of as many prompts as there are.
        pieces: A chain of more sentences is cut into so many pieces of whole sentences.
        forced: Whether the checkpoint has to answer at once, too, after each sentence.
        samples: How often each is gone on with.
        template: The folder of the model's tokenizer, or its chat template; needed for all but the organism.
    """
    made = _made(
        traces=traces,
        behaviour=behaviour,
        least=least,
        environment=environment,
        answers=answers,
        shows=shows,
        kinds=kinds,
        most=most,
        pieces=pieces,
    )
    asked = [
        _sample(chain, kept, how, as_text(answers))
        for chain in made.chains
        for how in (ENVIRONMENTS if forced else ["open"])
        for kept in range(len(chain.ends) + 1)
    ]
    return Task(
        dataset=MemoryDataset(asked, name="importance"),
        solver=go_on(template=template, proved_on=[msgspec.to_builtins(one) for one in _proved_on(made)]),
        scorer=answering(),
        epochs=Epochs(samples, "mean"),
        version=int.from_bytes(hashlib.sha256("\0".join(sorted(str(sample.id) for sample in asked)).encode()).digest()[:6]),
    )


def _made(*, traces: str | None = None, **told: Any) -> Chains:
    if not traces:
        raise InputError("importance needs traces to take apart. Give -T traces=FILE, or -T traces=STUDY.")
    texts = ("behaviour", "environment", "answers", "shows", "kinds")
    return make_chains(Chosen(traces=str(traces), **{name: as_text(value) if name in texts else value for name, value in told.items()}))


def _begun(chain: Chain, kept: int, how: str) -> Begun:
    return Begun(before=chain.before, reasoning=chain.kept(kept), closed=how == "forced")


def _proved_on(made: Chains) -> list[Begun]:
    """The beginnings by which it is shown that a server goes on: after the first sentences, where most is still to be said."""
    ahead = [(kept, chain) for chain in made.chains for kept in range(1, len(chain.ends))]
    return [_begun(chain, kept, "open") for kept, chain in sorted(ahead, key=lambda one: one[0])][:TRIED]


def _sample(chain: Chain, kept: int, how: str, answers: str | None) -> Sample:
    conditions = {"chain": chain.id, "kept": str(kept)}
    told = Asked(environment=ENVIRONMENTS[how], prompt_id=chain.prompt_id, conditions=conditions, scorer=answering.__name__)
    begun = _begun(chain, kept, how)
    of_chain = {
        "of": chain.trace.transcript_id,
        "ends": chain.ends,
        "kinds": chain.kinds,
        "shows": chain.shows,
        "own": chain.own,
        "answers": answers,
    }
    place = {"run": chain.trace.run, "step": chain.trace.step}
    more = {PREFIX: {"is_own": False, "begun": msgspec.to_builtins(begun)}, CHAIN: of_chain, "how": how}
    return Sample(id=f"{how} {chain.id} {kept} ({chain.prompt_id})", input=given(begun), metadata=told.in_metadata() | place | more)


async def check(model: Model, *, template: str | None = None, forced: bool = True, **told: Any) -> None:
    """Show, before anything is asked, that the model's server goes on from within its reasoning; a complaint where it does not."""
    await prove(model, way_of(model, template), _proved_on(_made(**told)))


@scorer(metrics={"answers_so": [grouped(mean(), "how", all=False)]})
def answering() -> Scorer:
    """Whether the answer shows the behaviour; NaN, which Inspect leaves out of every mean, where it was cut off before it could."""

    async def score(state: TaskState, target: Target) -> Score:
        told, answer = state.metadata[CHAIN], state.output.completion
        shows = re.compile(told["shows"]) if told["shows"] else None
        category = category_of(answer, re.compile(told["answers"]) if told["answers"] else None, shows)
        found = bool(shows.search(answer.strip())) if shows else category == told["own"]
        cut_off = not found and state.output.stop_reason in CUT_OFF
        return Score(value={"answers_so": nan if cut_off else float(found)}, answer=category)

    return score


def plan(*, samples: int = SAMPLES, forced: bool = True, template: str | None = None, **told: Any) -> list[str]:
    """What will be asked, what it costs, and how small a difference it finds."""
    return _made(**told).sentences(samples=samples, forced=forced)


def look_over(study: Study) -> list[str]:
    """How many answers there are of each checkpoint."""
    ours = study.corpus.scan().filter(pl.col("environment").is_in(list(ENVIRONMENTS.values())))
    return [
        f"{run}, step {step}: {chains} chains, {answers:,} answers."
        for run, step, chains, answers in ours.group_by("run", "step")
        .agg(pl.col("condition_chain").n_unique(), pl.len().alias("answers"))
        .sort("run", "step")
        .collect()
        .iter_rows()
    ]


IMPORTANCE = Experiment(
    name="importance",
    summary="Which sentences of a checkpoint's reasoning decide what it answers?",
    task=importance,
    plan=plan,
    check=check,
    look_over=look_over,
    own=of_checkpoint,
)
