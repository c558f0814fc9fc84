"""A trace: one answer a checkpoint gave, and the reasoning before it."""

import json
from functools import cached_property
from typing import Any, Literal, Self

from msgspec import Struct

ESCAPED = str.maketrans({":": "%3A", "/": "%2F", "\\": "%5C", "%": "%25"})
"""What a part of an id is written with, so that parts stay apart and no part names a folder."""
ReasoningKind = Literal["raw", "summary", "redacted", "none"]


class ToolCall(Struct, frozen=True):
    """One call the model made to a tool."""

    id: str
    function: str
    arguments: dict[str, Any] = {}


class Message(Struct, frozen=True, omit_defaults=True):
    """One turn of the conversation a trace comes from."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str = ""
    """What was said outside the reasoning."""
    reasoning: str = ""
    """What the model thought before it said that; empty for everyone but the assistant."""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    """Which call a tool's message answers; None for every other role."""
    given: bool = False
    """Whether an assistant's message was put into its mouth: the sample began after it, and nothing in it is the checkpoint's own."""


class Trace(Struct, frozen=True, kw_only=True, dict=True):
    """One sample: what was asked, how the model reasoned, what it answered, and where that came from.

    >>> trace = Trace.example("Maybe it is four.", answer="4")
    >>> trace.transcript_id
    'run:step-0:env:prompt:0'
    """

    run: str
    """The training run."""
    step: int
    """Optimizer steps since reinforcement learning began; 0 is the model before it."""
    checkpoint: str = ""
    """What the run calls this checkpoint; empty when it has no name but its step."""
    environment: str
    """What sort of task this is."""
    prompt_id: str
    """Which question: the unit that repeats over checkpoints, and the cluster of every error bar."""
    rep: int | None = None
    """Which sample of the question; None until it is numbered on ingest."""
    prompt: str = ""
    reasoning: str = ""
    """All reasoning of the trace, turns joined by a blank line; empty when the model gave none that can be read. Not what it was given."""
    answer: str = ""
    """Everything the model said outside its reasoning, turns joined by a blank line."""
    reasoning_kind: ReasoningKind = "none"
    turns: tuple[Message, ...] = ()
    """The conversation, when it is more than one question and one answer; empty otherwise."""
    conditions: dict[str, str] = {}
    """Factor to level, where an experiment varied something."""
    outcomes: dict[str, float] = {}
    """What is known of the behaviour: reward, correctness, labels. Yes and no are 1 and 0."""
    model: str = ""
    serving: dict[str, Any] = {}
    """Provider, quantisation, sampler, template hash: whatever is known of how this was sampled."""
    truncated: bool = False
    """Whether the model was cut off before it ended."""
    source: str = ""
    """The file, and the place in it, this was read from."""
    extra: dict[str, Any] = {}
    """Every field of the source that has no place above, as it was."""

    @cached_property
    def transcript_id(self) -> str:
        """The same trace has the same id wherever and whenever it is read. It holds no slash: Scout names files by it."""
        place = self.checkpoint or f"step-{self.step}"
        levels = "".join(f";{factor}={level}" for factor, level in sorted(self.conditions.items()))
        return ":".join(name.translate(ESCAPED) for name in (self.run, place, self.environment, f"{self.prompt_id}{levels}", str(self.rep)))

    @property
    def messages(self) -> tuple[Message, ...]:
        """The conversation as messages, also for a trace of one question and one answer."""
        if self.turns:
            return self.turns
        asked = (Message(role="user", content=self.prompt),) if self.prompt else ()
        return (*asked, Message(role="assistant", content=self.answer, reasoning=self.reasoning))

    @property
    def begun(self) -> str:
        """What the reply was begun with, reasoning and then words, where the model went on from a text that was put into its mouth."""
        first = next((at for at, message in enumerate(self.turns) if message.role == "assistant" and not message.given), 0)
        last = self.turns[first - 1] if first else None
        return "\n\n".join(part for part in (last.reasoning, last.content) if part) if last and last.given else ""

    @property
    def actions(self) -> tuple[ToolCall, ...]:
        """Every tool call, in order."""
        return tuple(call for message in self.turns if not message.given for call in message.tool_calls)

    @cached_property
    def record(self) -> str:
        """All that was thought, said and done once the model was asked, in order; each entry begins with what it is, in square brackets."""
        first = next((at for at, message in enumerate(self.messages) if message.role == "assistant" and not message.given), 0)
        entries = []
        for message in self.messages[first:]:
            if message.role != "assistant":
                entries.append(f"[{'result' if message.role == 'tool' else message.role}] {message.content}")
                continue
            entries += [f"[{what}] {said}" for what, said in (("thinks", message.reasoning), ("says", message.content)) if said]
            entries += [f"[calls {call.function}] {json.dumps(call.arguments, ensure_ascii=False)}" for call in message.tool_calls]
        return "\n\n".join(entries)

    @classmethod
    def example(cls, reasoning: str, *, answer: str = "", **fields: Any) -> Self:
        """A trace with this reasoning, for trying a measure out."""
        here: dict[str, Any] = {"run": "run", "step": 0, "environment": "env", "prompt_id": "prompt", "rep": 0}
        return cls(reasoning=reasoning, answer=answer, reasoning_kind="raw" if reasoning else "none", **(here | fields))


class Rejected(Struct, frozen=True, kw_only=True):
    """A record that could not be read as a trace, kept whole."""

    source: str
    """The file."""
    place: str
    """Where in the file: a line, a row, a member."""
    field: str = ""
    """Which field is at fault; empty when the record as a whole is."""
    fault: str
    way_out: str
    record: str
    """The record as it stood; bytes that are no text are written as backslash escapes."""

    def __str__(self) -> str:
        field = f"{self.field}: " if self.field else ""
        return f"{self.source}:{self.place}: {field}{self.fault}. {self.way_out}"
