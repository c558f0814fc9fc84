"""Graders as Scout's scanners: the same question and the same reading of the reply, about transcripts that Scout has.

`scout scan cotdrift/metagaming -T logs --model-role grader=MODEL`; each grader on the shelf is one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from inspect_ai.model import Model, get_model
from inspect_scout import Reference, Result, Scanner, Transcript, scanner

from cotdrift.asking import Asking
from cotdrift.conversation import read_messages
from cotdrift.grader import Grader, with_terms
from cotdrift.graders import graders
from cotdrift.judging import Limits, Purse, ask
from cotdrift.judgment import Judgment
from cotdrift.seen import Place, places
from cotdrift.summaries import grouped
from cotdrift.trace import Trace


def trace_of_transcript(transcript: Transcript) -> Trace:
    """A transcript as a trace, for what a judge is shown of it."""
    talk = read_messages([message.model_dump(exclude_none=True) for message in transcript.messages])
    return Trace(
        run="",
        step=0,
        environment=transcript.task_set or "",
        prompt_id=str(transcript.task_id or ""),
        rep=transcript.task_repeat,
        prompt=talk.prompt,
        reasoning=talk.reply.reasoning,
        answer=talk.reply.answer,
        reasoning_kind=talk.reply.kind,
        turns=talk.turns,
    )


def _result(judgment: Judgment, messages: list[Any]) -> Result:
    """A judgment in Scout's words; without a value where it is missing, and then with the reason as its label."""
    said = [message for message in messages if message.role == "assistant"]
    quoted = [quote for quote in judgment.quotes if quote.found != "absent"]
    holding = {quote.text: next((one.id for one in said if quote.text in str(one.content)), None) for quote in quoted}
    return Result(
        value=judgment.value if judgment.value is not None else judgment.label,
        answer=judgment.label,
        label=judgment.label or judgment.missing,
        explanation=judgment.reason or None,
        metadata={
            "missing": judgment.missing,
            "details": judgment.details,
            "quotes": msgspec.to_builtins(judgment.quotes),
            "window": [judgment.start, judgment.end],
            "level": judgment.level,
            "children": msgspec.to_builtins(judgment.children),
            "marked": judgment.marked,
            "stands_for": judgment.stands_for,
            "sha": judgment.sha,
            "judge": judgment.judge,
            "reply": judgment.reply,
        },
        references=[Reference(type="message", cite=quote, id=place) for quote, place in holding.items() if place],
    )


async def judgments_of(grader: Grader, judge: Model, trace: Trace) -> list[Judgment]:
    """All that a judge says of a trace, and of its own summaries of it, once each."""
    purse = Purse(Limits(), sent=0)
    level = [
        await ask(grader, judge, "", Asking(trace=trace, judge=str(judge), start=start, end=end, stands_for=stands_for), purse)
        for start, end, stands_for in places(grader, trace) or [Place(0, 0)]
    ]
    found = list(level)
    while grader.groups and len(level) > 1:
        sums = [
            Asking(trace=trace, judge=str(judge), start=group[0].start, end=group[-1].end, level=level[0].level + 1, children=tuple(group))
            for group in grouped(level, grader.groups)
        ]
        level = [await ask(grader, judge, "", one, purse) for one in sums]
        found += level
    return found


def scanner_of(grader: Grader) -> Callable[..., Scanner[Transcript]]:
    """The scanner that asks this grader's question, of the model in the role `grader`."""

    def scan_with(asked: Grader) -> Scanner[Transcript]:
        async def scan(transcript: Transcript) -> Result | list[Result]:
            said = await judgments_of(asked, get_model(role="grader"), trace_of_transcript(transcript))
            found = [_result(judgment, transcript.messages) for judgment in said]
            return found[0] if asked.is_of_whole else found

        return scan

    named = scanner(name=grader.name, messages="all", version=grader.version)
    if grader.around is None:

        @named
        def made() -> Scanner[Transcript]:
            return scan_with(grader)

        return made

    of_its_own = ",".join(grader.terms)

    @named
    def made_of_uses(terms: str | list[str] = of_its_own) -> Scanner[Transcript]:
        return scan_with(with_terms(grader, terms.split(",") if isinstance(terms, str) else terms))  # Scout makes a list of a,b

    return made_of_uses


for _name, _grader in graders().items():
    globals()[_name] = scanner_of(_grader)
