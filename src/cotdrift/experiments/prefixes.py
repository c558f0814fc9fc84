"""prefixes: conversations that end just before a behaviour begins, gone on with by every checkpoint; only what is new is graded."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from math import nan
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import polars as pl
from inspect_ai import Epochs, Task, task
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ContentReasoning, get_model
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer, stderr
from inspect_ai.solver import Generate, Solver, TaskState, solver
from msgspec.structs import replace

from cotdrift.chat_template import ANSWER
from cotdrift.conversation import CUT_OFF
from cotdrift.errors import InputError
from cotdrift.experiment import Asked, Experiment
from cotdrift.experiments.going_on import TRIED, Begun, Proof, cut_to, given, prove, said, way_of
from cotdrift.experiments.prefix_design import ENVIRONMENTS, MOST, SAMPLES, Chosen, Prefix, Prefixes, levels, make_prefixes, margins_of

if TYPE_CHECKING:
    from inspect_ai.model import Model

    from cotdrift.study import Study

PREFIX = "prefix"
"""Under this name a sample's metadata hold what it goes on from."""


@task
def prefixes(
    examples: str | None = None,
    behaviour: str | None = None,
    least: float = 1.0,
    run: str | None = None,
    step: int | None = None,
    begins: str | None = None,
    shows: str | None = None,
    margins: str | int | list[int] | None = None,
    border: Literal["word", "sentence"] = "word",
    most: int = MOST,
    own: bool = True,
    samples: int = SAMPLES,
    template: str | None = None,
) -> Task:
    """At which checkpoint does a behaviour set in, where all go on from the same words?

    Args:
        examples: A file of traces in which the behaviour is, or a study.
        behaviour: The outcome, measure or grader by which traces are examples; without it all are.
        least: The least value of it that makes an example.
        run: Only examples of this run.
        step: Only examples of this step.
        begins: A regular expression; where it is first found the behaviour begins. A column `begins` or `quote` of the file, or what a
            grader's judges quoted, comes first.
        shows: A regular expression of the behaviour in what is new, in which `</think>` stands between reasoning and answer; a column
            `shows` comes first. Without it, graders and measures are to tell.
        margins: How many words before the behaviour prefixes end; several by commas.
        border: Whether they end between words, or between sentences.
        most: How many examples are cut, of as many prompts as there are.
        own: Whether each checkpoint also goes on from its own reasoning, cut as far in.
        samples: How often each prefix is gone on with.
        template: The folder of the model's tokenizer, or its chat template; needed for all but the organism.
    """
    made = _made(
        examples=examples,
        behaviour=behaviour,
        least=least,
        run=run,
        step=step,
        begins=begins,
        shows=shows,
        margins=margins,
        border=border,
        most=most,
    )
    asked = _samples(made, own=own)
    return Task(
        dataset=MemoryDataset(asked, name="prefixes"),
        solver=go_on(template=template, proved_on=[msgspec.to_builtins(_begun(prefix)) for prefix in made.prefixes[:TRIED]]),
        scorer=behaving() if any(prefix.example.shows for prefix in made.prefixes) else None,
        epochs=Epochs(samples, "mean"),
        version=_fingerprint(asked),
    )


def _made(*, examples: str | None = None, margins: Any = None, **told: Any) -> Prefixes:
    if not examples:
        raise InputError("prefixes needs examples of a behaviour. Give -T examples=FILE, or -T examples=STUDY with -T behaviour=NAME.")
    return make_prefixes(Chosen(examples=str(examples), margins=(0,) if margins is None else margins_of(margins), **told))


def _fingerprint(asked: list[Sample]) -> int:
    """Other examples in the same file make another task, so that they are not taken to be answered already."""
    return int.from_bytes(hashlib.sha256("\0".join(sorted(str(sample.id) for sample in asked)).encode()).digest()[:6])


def _begun(prefix: Prefix) -> Begun:
    return Begun(before=prefix.before, reasoning=prefix.reasoning, answer=prefix.answer)


def _samples(made: Prefixes, *, own: bool) -> list[Sample]:
    of_prompt = Counter(prefix.prompt_id for prefix in made.prefixes if prefix.margin == made.prefixes[0].margin)
    seen: set[tuple[str, int]] = set()
    asked = []
    for prefix in made.prefixes:
        asked.append(_sample(prefix, "shared", of_prompt))
        alone = prefix.prompt_id, prefix.margin
        if own and prefix.reasoning and not prefix.answer and alone not in seen:
            asked.append(_sample(prefix, "own", of_prompt))
        seen.add(alone)
    return asked


def _sample(prefix: Prefix, arm: str, of_prompt: Counter[str]) -> Sample:
    conditions = levels(prefix, arm, of_prompt)
    told = Asked(environment=ENVIRONMENTS[arm], prompt_id=prefix.prompt_id, conditions=conditions, scorer=behaving.__name__)
    begun = _begun(prefix) if arm == "shared" else Begun(before=prefix.before)
    more = {
        "example": prefix.example.trace.transcript_id,
        "shows": prefix.example.shows,
        "is_own": arm == "own",
        "share": prefix.share,
        "begun": msgspec.to_builtins(begun),
    }
    return Sample(
        id=f"{arm} {prefix.id} {prefix.margin} ({prefix.prompt_id})", input=given(begun), metadata=told.in_metadata() | {PREFIX: more}
    )


@solver
def go_on(template: str | None, proved_on: list[dict[str, Any]]) -> Solver:
    """Go on from where the sample's conversation ends, once it is shown that the server does; the log keeps what is new by itself.

    `proved_on` are the prefixes by which that is shown, as plain data.
    """
    proof = Proof(template, proved_on)

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        model = get_model()
        way = await proof.way(model)
        told = state.metadata[PREFIX]
        begun = msgspec.convert(told["begun"], Begun)
        if told["is_own"]:
            first = await way.go_on(model, begun)
            begun = replace(begun, reasoning=cut_to(told["share"], first.reasoning))
        new = await way.go_on(model, begun)
        state.messages = [*given(begun), said(new)]
        state.output = new.output.model_copy(update={"choices": [new.output.choices[0].model_copy(update={"message": said(new)})]})
        state.metadata[PREFIX] = told | {"begun": msgspec.to_builtins(begun), "sent_ends": new.sent} | way.told
        return state

    return solve


async def check(model: Model, *, template: str | None = None, own: bool = True, **told: Any) -> None:
    """Show, before anything is asked, that the model's server goes on from within its reasoning; a complaint where it does not."""
    await prove(model, way_of(model, template), [_begun(prefix) for prefix in _made(**told).prefixes])


@scorer(metrics={"shows": [mean(), stderr(cluster="prompt_id")]})
def behaving() -> Scorer:
    """Whether the behaviour is in what is new; NaN, which Inspect leaves out of every mean, where that was cut off before it could be."""

    async def score(state: TaskState, target: Target) -> Score:
        pattern = state.metadata[PREFIX]["shows"]
        if not pattern:
            return Score(value={"shows": nan})
        content = state.output.message.content
        blocks = content if isinstance(content, list) else []
        thought = "".join(block.reasoning for block in blocks if isinstance(block, ContentReasoning))
        found = re.search(pattern, f"{thought}{ANSWER}{state.output.completion}")
        cut_off = not found and state.output.stop_reason in CUT_OFF
        return Score(value={"shows": nan if cut_off else float(found is not None)}, answer=found[0] if found else "")

    return score


def plan(*, samples: int = SAMPLES, own: bool = True, template: str | None = None, **told: Any) -> list[str]:
    """What will be asked, and how small a difference it finds."""
    return _made(**told).sentences(samples=samples, own=own)


def look_over(study: Study) -> list[str]:
    """How the continuations were sent, and what they can be asked."""
    ours = study.corpus.scan().filter(pl.col("environment").is_in(list(ENVIRONMENTS.values())))
    sent: dict[tuple[str, str], set[str]] = {}
    for model, extra in ours.select("model", "extra").unique("model", maintain_order=True).collect().iter_rows():
        told = msgspec.json.decode(extra).get("metadata", {}).get(PREFIX, {})
        if "sent_as" in told:
            sent.setdefault((told["sent_as"], told["sent_ends"][-60:]), set()).add(model)
    return [
        *(f"{', '.join(sorted(models))}: sent as {how}; one of these ended in {end!r}." for (how, end), models in sorted(sent.items())),
        "Only what is new is in the study as reasoning and answer: graders and measures may be asked of it as it is.",
    ]


PREFIXES = Experiment(
    name="prefixes",
    summary="At which checkpoint does a behaviour set in, where all go on from the same words?",
    task=prefixes,
    plan=plan,
    check=check,
    look_over=look_over,
)
