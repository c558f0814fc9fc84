"""Graders as Scout's scanners: the same question and the same reading of the reply, about transcripts that Scout has.

`scout scan cotdrift/metagaming -T logs --model-role grader=MODEL`; each grader on the shelf is one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from inspect_ai.model import get_model
from inspect_scout import Reference, Result, Scanner, Transcript, scanner

from cotdrift.conversation import read_messages
from cotdrift.grader import Grader
from cotdrift.graders import graders
from cotdrift.judging import Asking, Limits, Purse, ask
from cotdrift.judgment import Judgment
from cotdrift.seen import windows
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
            "sha": judgment.sha,
            "judge": judgment.judge,
            "reply": judgment.reply,
        },
        references=[Reference(type="message", cite=quote, id=place) for quote, place in holding.items() if place],
    )


def scanner_of(grader: Grader) -> Callable[[], Scanner[Transcript]]:
    """The scanner that asks this grader's question, of the model in the role `grader`."""

    @scanner(name=grader.name, messages="all", version=grader.version)
    def made() -> Scanner[Transcript]:
        async def scan(transcript: Transcript) -> Result | list[Result]:
            judge, trace, purse = get_model(role="grader"), trace_of_transcript(transcript), Purse(Limits(), sent=0)
            asked = [
                Asking(trace=trace, judge=str(judge), window=window, start=start, end=end, repeat=0, attempt=0)
                for window, (start, end) in enumerate(windows(grader, trace))
            ]
            found = [_result(await ask(grader, judge, "", one, purse), transcript.messages) for one in asked]
            return found[0] if grader.window is None else found

        return scan

    return made


for _name, _grader in graders().items():
    globals()[_name] = scanner_of(_grader)
