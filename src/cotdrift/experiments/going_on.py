"""Going on: a reply that is begun for a checkpoint, sent so that nothing closes it, and the proof that the server goes on from there."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import msgspec
from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageTool,
    ChatMessageUser,
    ContentReasoning,
    ContentText,
    GenerateConfig,
    ModelName,
    ModelOutput,
)
from inspect_ai.model._generate_config import active_generate_config
from inspect_ai.tool import ToolCall
from msgspec import Struct

from cotdrift.chat_template import ANSWER, THINK, ChatTemplate
from cotdrift.errors import InputError
from cotdrift.text import spans
from cotdrift.trace import Message

if TYPE_CHECKING:
    from inspect_ai.model import Model

TEXTS = ("openai-api-completions", "vllm-completions")
"""Providers that send a text to /v1/completions as it is."""
OURS = "organism"
"""The provider that goes on from an assistant's message by itself."""
MAX_TOKENS = 2048
"""How long a reply may get where the user does not say; these providers' own default is 1."""
PROVED_TOKENS = 64
PROVED_WORDS = 3
"""Of what was said before, those that must be said again."""
WANTED, TRIED = 3, 12
"""Prefixes from which a server must be seen to go on, and how many are tried to find so many that tell."""


class Begun(Struct, frozen=True, kw_only=True):
    """A conversation, and how its next reply is begun."""

    before: tuple[Message, ...]
    reasoning: str = ""
    answer: str = ""
    closed: bool = False
    """Whether the reasoning is over, though nothing is said yet: what comes next is the answer."""

    @property
    def is_begun(self) -> bool:
        """Whether anything of the reply is given."""
        return bool(self.reasoning or self.answer or self.closed)

    @property
    def reply(self) -> list[ChatMessage]:
        """The reply as it is begun, as a log keeps it; none where it is not."""
        return [_assistant(self.reasoning, self.answer or None)] if self.is_begun else []

    @property
    def left_open(self) -> list[ChatMessage]:
        """The reply as it is begun, for a provider that goes on from a message."""
        if self.closed and not self.answer:
            return [ChatMessageAssistant(content=f"{THINK}{self.reasoning}{ANSWER}", source="input")]
        return self.reply


class New(Struct, frozen=True, kw_only=True):
    """What a checkpoint said from there on."""

    reasoning: str
    answer: str | None
    """None where it is still reasoning."""
    output: ModelOutput
    sent: str
    """The end of what was sent, as it was sent."""


class Way(Struct, frozen=True, kw_only=True):
    """How a model is made to go on."""

    name: str
    """The model's, as the user gave it."""
    template: ChatTemplate | None
    """None for a model that is sent messages."""

    @property
    def told(self) -> dict[str, str]:
        """How it is sent, for the log."""
        if self.template is None:
            return {"sent_as": "messages, the last of them an assistant's that is not over"}
        return {"sent_as": "text, to /v1/completions", "template_sha": hashlib.sha256(self.template.source.encode()).hexdigest()[:16]}

    async def go_on(self, model: Model, begun: Begun, **config: Any) -> New:
        """One reply, without what it was begun with."""
        if self.template is None:
            return await self._by_message(model, begun, config)
        asked = self.template
        if begun.is_begun:
            text = asked.begun(begun.before, begun.reasoning, begun.answer, closed=begun.closed)
            reasons = not (begun.answer or begun.closed)
        else:
            text, reasons = asked.rendered(begun.before, ask=True), asked.reasons(begun.before)
        output = await model.generate([ChatMessageUser(content=text)], config=_config(config))
        said = output.completion
        if not begun.is_begun and not reasons and said.lstrip().startswith(THINK):
            said, reasons = said.lstrip().removeprefix(THINK), True
        reasoning, closed, answer = said.partition(ANSWER) if reasons else ("", ANSWER, said)
        return New(reasoning=reasoning, answer=answer if closed else None, output=output, sent=text[-200:])

    async def _by_message(self, model: Model, begun: Begun, config: dict[str, Any]) -> New:
        output = await model.generate([*chat(begun.before), *begun.left_open], config=_config(config))
        content = output.message.content
        blocks: Sequence[Any] = [ContentText(text=content)] if isinstance(content, str) else content
        reasoning = "".join(block.reasoning for block in blocks if isinstance(block, ContentReasoning))
        said = [block.text for block in blocks if isinstance(block, ContentText)]
        answer = "".join(said)[len(begun.answer) :] if said else None
        return New(reasoning=reasoning[len(begun.reasoning) :], answer=answer, output=output, sent=(begun.answer or begun.reasoning)[-200:])


def way_of(model: Model, template: str | None) -> Way:
    """How this model is made to go on; a complaint where its provider cannot be made to."""
    name, api = str(model), ModelName(model).api
    if api == OURS:
        return Way(name=name, template=None)
    if api not in TEXTS:
        raise InputError(
            f"{name}: {api} sends messages, and closes an assistant's reasoning before it is sent, so that the model would go on after its "
            f"reasoning and not within it. Name the server as {TEXTS[0]}/SERVICE/MODEL, which sends text to its /v1/completions."
        )
    if template is None:
        raise InputError(
            f"{name}: what is sent is text, and how this model writes a conversation is not known. "
            f"Give -T template=FOLDER, the folder of its tokenizer or a chat template's file."
        )
    return Way(name=name, template=ChatTemplate.read(Path(template)))


async def prove(model: Model, way: Way, prefixes: Sequence[Begun]) -> int:
    """Show that the server goes on from within the reasoning; a complaint where it does not. Returns from how many prefixes it was seen to.

    At temperature 0 a text that is gone on with has one continuation. So when the first half of that is put behind the prefix, what comes
    must be the other half; a server that begins a new turn, or closes the reasoning, says something else.
    """
    inside = [one for one in prefixes if one.reasoning and not one.answer][:TRIED]
    if not inside:
        return 0
    seen = 0
    against: list[tuple[Begun, New, New | None]] = []
    for begun in inside:
        first = await way.go_on(model, begun, temperature=0.0, max_tokens=PROVED_TOKENS)
        half, rest = _halves(first.reasoning)
        if first.answer is not None and not first.reasoning.strip():
            continue  # it ends its reasoning here, and rightly: that tells nothing
        if not half:
            if first.output.stop_reason == "stop" and first.answer is None:
                against.append((begun, first, None))
            continue
        second = await way.go_on(model, _longer(begun, half), temperature=0.0, max_tokens=PROVED_TOKENS)
        if second.reasoning.split()[:PROVED_WORDS] == rest.split()[:PROVED_WORDS]:
            seen += 1
        else:
            against.append((begun, first, second))
        if seen == WANTED or len(against) == WANTED:
            break
    if seen > len(against):
        return seen
    if not against:
        raise InputError(
            f"{way.name}: none of {len(inside)} prefixes is gone on with for more than a few words of reasoning, so nothing shows that "
            f"the server goes on from within it. Cut further before the behaviour: -T margins=10."
        )
    raise InputError(f"{way.name}: the server does not go on from within the reasoning. {_why(*against[0])}")


class Proof:
    """The proof for a task's samples: made once for each way of going on, whoever of them comes first, and failed for all if for one."""

    def __init__(self, template: str | None, proved_on: Sequence[dict[str, Any]]) -> None:
        self._template, self._proved_on = template, proved_on
        self._faults: dict[str, str] = {}
        self._one_at_a_time = anyio.Lock()

    async def way(self, model: Model) -> Way:
        """How the model is asked to go on; InputError where its server does not."""
        way = way_of(model, self._template)
        async with self._one_at_a_time:
            if way.name not in self._faults:
                self._faults[way.name] = await self._fault(model, way)
        if self._faults[way.name]:
            raise InputError(self._faults[way.name])
        return way

    async def _fault(self, model: Model, way: Way) -> str:
        try:
            await prove(model, way, msgspec.convert(self._proved_on, list[Begun]))
        except InputError as fault:
            return str(fault)
        return ""


def _why(begun: Begun, first: New, second: New | None) -> str:
    end, said = _short(begun.reasoning[-60:], end=True), _short(_whole(first))
    way_out = "Have /v1/completions take the text as it is (vLLM and llama.cpp do), and give the model's own template."
    if second is None:
        return f"After “{end}” it said “{said}” and stopped without {ANSWER}: it closed the reasoning, or left a part out. {way_out}"
    half, rest = _halves(first.reasoning)
    return (
        f"After “{end}” it said “{said}”; begun with “{_short(half, end=True)}” too, it said “{_short(_whole(second))}” and not "
        f"“{_short(rest)}”: it begins a new turn, or closes the reasoning. {way_out}"
    )


def _halves(reasoning: str) -> tuple[str, str]:
    """A text in two, between words; nothing, where it is too short for that to tell anything."""
    words = reasoning.split()
    if len(words) < 2 * PROVED_WORDS:
        return "", ""
    at = 0
    for word in words[: len(words) // 2]:
        at = reasoning.index(word, at) + len(word)
    return reasoning[:at], reasoning[at:]


def _longer(begun: Begun, more: str) -> Begun:
    return Begun(before=begun.before, reasoning=begun.reasoning + more)


def _whole(new: New) -> str:
    return new.reasoning + ("" if new.answer is None else f"{ANSWER}{new.answer}")


def _short(text: str, *, end: bool = False) -> str:
    told = " ".join(text.split())
    if len(told) <= 60:
        return told
    return f"… {told[-60:]}" if end else f"{told[:60]} …"


def _config(told: dict[str, Any]) -> GenerateConfig:
    """What is told, over what the user set, over what these providers lack."""
    active = active_generate_config()
    lacking = {"max_tokens": MAX_TOKENS, "temperature": 1.0}
    return GenerateConfig(**({name: value for name, value in lacking.items() if getattr(active, name) is None} | told))


def chat(messages: Sequence[Message]) -> list[ChatMessage]:
    """Messages as Inspect has them; an assistant's are marked as given."""
    return [_chat(message) for message in messages]


def _chat(message: Message) -> ChatMessage:
    if message.role == "system":
        return ChatMessageSystem(content=message.content, source="input")
    if message.role == "tool":
        return ChatMessageTool(content=message.content, tool_call_id=message.tool_call_id, source="input")
    if message.role == "user":
        return ChatMessageUser(content=message.content, source="input")
    calls = [ToolCall(id=call.id, function=call.function, arguments=call.arguments) for call in message.tool_calls]
    return _assistant(message.reasoning, message.content, calls=calls)


def _assistant(reasoning: str, answer: str | None, *, calls: Sequence[ToolCall] = ()) -> ChatMessageAssistant:
    content: list[Any] = [ContentReasoning(reasoning=reasoning)] if reasoning else []
    content += [ContentText(text=answer)] if answer is not None else []
    return ChatMessageAssistant(content=content, tool_calls=list(calls) or None, source="input")


def given(begun: Begun) -> list[ChatMessage]:
    """The conversation with the reply as it is begun, as a log keeps it."""
    return [*chat(begun.before), *begun.reply]


def said(new: New) -> ChatMessageAssistant:
    """What is new, as a log keeps it."""
    content: list[Any] = [ContentReasoning(reasoning=new.reasoning)] if new.reasoning else []
    content += [ContentText(text=new.answer)] if new.answer is not None else []
    return ChatMessageAssistant(content=content, model=new.output.model, source="generate")


def cut_to(share: float, reasoning: str) -> str:
    """The first words of a text, as large a share of all of them.

    >>> cut_to(0.5, "Need an even number. The grader wants odd.")
    'Need an even number.'
    """
    starts = [start for _, start, _ in spans(reasoning)]
    many = round(share * len(starts))
    return reasoning[: starts[many]].rstrip() if many < len(starts) else reasoning.rstrip()
