"""A conversation: what was asked, thought and said in it, however it was written down."""

import re
from collections.abc import Iterable
from typing import Any, Self

import msgspec
from msgspec.structs import replace

from cotdrift.trace import Message, ReasoningKind, ToolCall

ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "text": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
    "ai": "assistant",
    "tool": "tool",
    "function": "tool",
    "ipython": "tool",
    "tool_response": "tool",
}
"""Their roles to ours."""

REASONING_FIELDS = ("reasoning_content", "reasoning", "thinking")
CUT_OFF = frozenset({"length", "max_tokens", "model_length", "max_output_tokens"})
"""What servers call the end of a reply that ran out of tokens."""

THINKING = re.compile(r"<think(?:ing)?(?:\s[^>]*)?>(.*?)</think(?:ing)?>", re.DOTALL)
OPENING = re.compile(r"(?:\A|\n)\s*<think(?:ing)?(?:\s[^>]*)?>(?!.*</think)", re.DOTALL)
CLOSING = re.compile(r"</think(?:ing)?>")
HARMONY = re.compile(
    r"(?:<\|start\|>([^<]*))?(?:<\|channel\|>([^<]*))?(?:<\|constrain\|>[^<]*)?<\|message\|>(.*?)(<\|end\|>|<\|return\|>|<\|call\|>|(?=<\|start\|>)|\Z)",
    re.DOTALL,
)
BARE_HARMONY = re.compile(r"\A(?:assistant)?analysis(?=[^a-z])?(.*?)assistantfinal(.*)\Z", re.DOTALL)


class Reply(msgspec.Struct, frozen=True):
    """What a model gave at one time: its reasoning, and what it said beside it."""

    reasoning: str = ""
    answer: str = ""
    kind: ReasoningKind = "none"
    cut_off: bool = False
    """Whether it stops in the middle of the reasoning."""


class Conversation(msgspec.Struct, frozen=True, kw_only=True):
    """Messages, and what they amount to."""

    messages: tuple[Message, ...]
    prompt: str
    """What the user said before the model first spoke."""
    context: str
    """All that was said before the model first spoke: what tells one question from another."""
    reply: Reply

    def with_reasoning(self, reasoning: str) -> Self:
        """The same, with reasoning that was written down apart from it; it is taken for the last message's."""
        last = max((place for place, message in enumerate(self.messages) if message.role == "assistant"), default=-1)
        messages = tuple(replace(message, reasoning=reasoning) if place == last else message for place, message in enumerate(self.messages))
        return replace(self, messages=messages, reply=Reply(reasoning, self.reply.answer, "raw"))

    @property
    def turns(self) -> tuple[Message, ...]:
        """The messages, when they are more than one question and one answer."""
        plain = [message.role for message in self.messages] in (["user", "assistant"], ["assistant"])
        return () if plain and not self.messages[-1].tool_calls else self.messages


def split_reply(text: str, *, begun: bool = False) -> Reply:
    """The reasoning that is written into a reply, between think tags or in harmony channels, and the rest.

    >>> split_reply("<think>Two and two.</think>Four")
    Reply(reasoning='Two and two.', answer='Four', kind='raw', cut_off=False)

    The opening tag may be missing, when the chat template had given it; where the closing one is missing, the model was cut off.

    >>> split_reply("Two and two.</think>Four").answer
    'Four'
    >>> split_reply("<think>Two and").cut_off, split_reply("Two and", begun=True).cut_off
    (True, True)

    `begun` says that the prompt ended with the opening tag.
    """
    if "<|message|>" in text:
        return _said([harmony_message(match) for match in HARMONY.finditer(text)], text)
    if begun and not CLOSING.search(text):
        return Reply(text.strip(), "", "raw", True)
    if "think" not in text:
        bare = BARE_HARMONY.match(text) if text.startswith(("analysis", "assistantanalysis")) else None
        return Reply(bare[1].strip(), bare[2].strip(), "raw") if bare else Reply(answer=text)
    thoughts = []
    closing = CLOSING.search(text)
    opening = THINKING.search(text)
    if closing and not (opening and opening.start() < closing.start()):
        thoughts.append(text[: closing.start()])
        text = text[closing.end() :]
    thoughts += [match[1] for match in THINKING.finditer(text)]
    text = THINKING.sub("", text)
    left_open = OPENING.search(text) if "<think" in text else None
    if left_open:
        thoughts.append(text[left_open.end() :])
        text = text[: left_open.start()]
    reasoning = join(thought.strip() for thought in thoughts)
    answer = text.strip() if thoughts else text
    return Reply(reasoning, answer, "raw" if reasoning else "none", left_open is not None)


def _said(messages: list[Message], text: str) -> Reply:
    spoken = [message for message in messages if message.role == "assistant"]
    reasoning = join(message.reasoning for message in spoken)
    answer = join(message.content for message in spoken)
    return Reply(
        reasoning,
        answer,
        "raw" if reasoning else "none",
        bool(reasoning) and not answer and not text.rstrip().endswith(("<|end|>", "<|call|>", "<|return|>")),
    )


def harmony_message(match: re.Match[str]) -> Message:
    """One message of the harmony format (the channels of gpt-oss)."""
    head, channel, content = (match[1] or "assistant").strip(), (match[2] or "").strip(), match[3]
    role = head.split(" ")[0].split(":")[0] or "assistant"
    recipient = re.search(r"to=([^\s<]+)", f"{head} {channel}")
    if role not in ROLES:  # a tool speaks under its own name
        return Message(role="tool", content=content)
    if ROLES[role] != "assistant":
        return Message(role=ROLES[role], content=content)  # type: ignore[arg-type]
    if channel.startswith("analysis") and recipient is None:
        return Message(role="assistant", reasoning=content)
    if recipient is not None:
        return Message(
            role="assistant", tool_calls=(ToolCall(id="", function=recipient[1].removeprefix("functions."), arguments=_arguments(content)),)
        )
    return Message(role="assistant", content=content)


def merged(messages: Iterable[Message]) -> list[Message]:
    """Messages with what one speaker thought and then said in one."""
    found: list[Message] = []
    for message in messages:
        last = found[-1] if found else None
        if last and last.role == message.role == "assistant" and not last.content and not last.tool_calls:
            found[-1] = replace(message, reasoning=join((last.reasoning, message.reasoning)))
        else:
            found.append(message)
    return found


def join(parts: Iterable[str]) -> str:
    """Turns joined by a blank line, empty ones left out."""
    return "\n\n".join(part for part in parts if part)


def reasoning_of(raw: Iterable[str], summaries: Iterable[str], *, redacted: bool) -> tuple[str, ReasoningKind]:
    """The reasoning that can be read, and of what kind it is; a summary counts only where nothing raw is left."""
    if text := join(raw):
        return text, "raw"
    if text := join(summaries):
        return text, "summary"
    return "", "redacted" if redacted else "none"


def conversation(messages: Iterable[Message], *, kinds: Iterable[ReasoningKind] = (), given: int = 0) -> Conversation:
    """What messages amount to; the first `given` of them are context, whoever speaks in them."""
    listed = enumerate(messages)
    messages = tuple(replace(one, given=True) if place < given and one.role == "assistant" else one for place, one in listed)
    spoken = [message for message in messages[given:] if message.role == "assistant"]
    first = next((place for place, message in enumerate(messages) if place >= given and message.role == "assistant"), len(messages))
    before = messages[:first]
    reasoning = join(message.reasoning for message in spoken)
    known = set(kinds) - {"none"}
    kind: ReasoningKind = next(iter(known)) if len(known) == 1 else "raw" if reasoning else "none"
    return Conversation(
        messages=messages,
        prompt=join(message.content for message in before if message.role == "user"),
        context=join(f"{message.role}: {message.content}" for message in before),
        reply=Reply(reasoning, join(message.content for message in spoken), kind),
    )


def read_messages(said: list[Any], *, given: int = 0) -> Conversation:
    """A conversation in the shape of OpenAI's chat, or one of those that came from it.

    Context are its first `given` messages, and those up to the last of an assistant's that Inspect's `source` calls an input.
    Raises ValueError, with a sentence, where it is none.
    """
    given = max([given, *(place + 1 for place, one in enumerate(said) if _is_given(one))])
    messages: list[Message] = []
    kinds: list[ReasoningKind] = []
    cut_off = False
    for place, one in enumerate(said):
        if not isinstance(one, dict):
            raise ValueError(f"message {place + 1} is no object with role and content")
        message, kind, cut = _message(one, place)
        messages.append(message)
        if place >= given:
            kinds.append(kind)
            cut_off = cut
    if "raw" in kinds and ("summary" in kinds or "redacted" in kinds):  # what is no raw reasoning must not be measured with it
        marks = ["none"] * given + kinds
        messages = [replace(message, reasoning="") if mark == "summary" else message for message, mark in zip(messages, marks, strict=True)]
        kinds = ["raw"]
    whole = conversation(messages, kinds=kinds, given=given)
    return replace(whole, reply=replace(whole.reply, cut_off=cut_off)) if cut_off else whole


def _is_given(said: Any) -> bool:
    return isinstance(said, dict) and said.get("role") == "assistant" and said.get("source") == "input"


def _message(said: dict[str, Any], place: int) -> tuple[Message, ReasoningKind, bool]:
    role = said.get("role", said.get("from"))
    if not isinstance(role, str) or role.lower() not in ROLES:
        raise ValueError(f"message {place + 1} has the role {role!r}, which is none of {', '.join(ROLES)}")
    role = ROLES[role.lower()]
    text, raw, summaries, redacted, calls = _parts(said.get("content", said.get("value")), place)
    if role != "assistant":
        answers = said.get("tool_call_id")
        return Message(role=role, content=text, tool_call_id=str(answers) if answers is not None else None), "none", False  # type: ignore[arg-type]
    for name in REASONING_FIELDS:
        if isinstance(thought := said.get(name), str) and thought:
            raw.insert(0, thought)
            break
    reasoning, kind = reasoning_of(raw, summaries, redacted=redacted)
    cut_off = False
    if kind == "none":
        reply = split_reply(text)
        text, reasoning, kind, cut_off = reply.answer, reply.reasoning, reply.kind, reply.cut_off
    calls += [tool_call(call) for call in said.get("tool_calls") or ()]
    return Message(role="assistant", content=text, reasoning=reasoning, tool_calls=tuple(calls)), kind, cut_off


def _parts(content: Any, place: int) -> tuple[str, list[str], list[str], bool, list[ToolCall]]:
    """Content as text, raw reasoning, summaries, whether any was redacted, and tool calls."""
    if content is None or isinstance(content, str):
        return content or "", [], [], False, []
    if not isinstance(content, list):
        raise ValueError(f"message {place + 1} has content that is neither text nor a list of parts")
    texts: list[str] = []
    raw: list[str] = []
    summaries: list[str] = []
    redacted = False
    calls: list[ToolCall] = []
    for part in content:
        if isinstance(part, str):
            texts.append(part)
            continue
        kind = part.get("type", "text") if isinstance(part, dict) else ""
        if kind in ("text", "input_text", "output_text"):
            texts.append(_text(part.get("text")))
        elif kind in ("reasoning", "thinking"):
            if part.get("redacted"):
                redacted = True
                summaries.append(_text(part.get("summary")))
            else:
                raw.append(_text(part.get("reasoning") or part.get("thinking") or part.get("text")))
                summaries.append(_text(part.get("summary")))
        elif kind == "redacted_thinking":
            redacted = True
        elif kind == "tool_use":
            calls.append(tool_call(part))
        elif kind == "tool_result":
            texts.append(_parts(part.get("content"), place)[0])
    return "\n".join(text for text in texts if text), raw, summaries, redacted, calls


def _text(value: Any) -> str:
    if isinstance(value, list):  # a summary in parts
        return join(_text(part.get("text") if isinstance(part, dict) else part) for part in value)
    return value if isinstance(value, str) else ""


def tool_call(call: Any) -> ToolCall:
    """A tool call in any of the shapes there are; some write it as JSON text."""
    if isinstance(call, str):
        call = _arguments(call)
    if not isinstance(call, dict):
        raise ValueError("a tool call is no object")
    function = call.get("function", call.get("name", ""))
    arguments = call.get("arguments", call.get("input"))
    if isinstance(function, dict):
        arguments = function.get("arguments", arguments)
        function = function.get("name", "")
    return ToolCall(
        id=str(call.get("id") or ""), function=str(function), arguments=arguments if isinstance(arguments, dict) else _arguments(arguments)
    )


def _arguments(text: Any) -> dict[str, Any]:
    """Arguments written as JSON text; whatever is no JSON object is kept under one name."""
    if not isinstance(text, str) or not text.strip():
        return {}
    try:
        read = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return {"arguments": text}
    return read if isinstance(read, dict) else {"arguments": text}
