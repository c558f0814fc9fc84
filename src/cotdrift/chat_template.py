"""A chat template: a conversation as the text that a model was trained to read, left open where its reply goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn, Self

from jinja2.exceptions import TemplateError
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment
from msgspec import Struct

from cotdrift.errors import InputError
from cotdrift.trace import Message

THINK, ANSWER = "<think>", "</think>"
OPENING, CLOSING = f"{THINK}\n", f"\n{ANSWER}\n\n"
"""How reasoning begins and ends where the template shows no reasoning of its own."""
THOUGHT, SAID = "cotdrift-thought", "cotdrift-said"
"""What stands for reasoning and answer when a template is asked what it puts around them."""


class ChatTemplate(Struct, frozen=True, kw_only=True):
    """The template of one model, as Hugging Face's `apply_chat_template` would render it."""

    path: str
    source: str
    tokens: Mapping[str, str] = {}
    """What the template may call by name, such as `bos_token`."""
    begins: str = ""
    """What a server puts before any text by itself, and is therefore left out; empty where it puts nothing."""

    @classmethod
    def read(cls, path: Path) -> Self:
        """The template of a tokenizer's folder (`chat_template.jinja`, or `chat_template` in tokenizer_config.json), or in one file."""
        if not path.exists():
            raise InputError(f"template={path}: there is no such file or folder. Name the folder of the model's tokenizer, or a template.")
        folder = path if path.is_dir() else path.parent
        told = _json(folder / "tokenizer_config.json") if path.is_dir() or path.suffix == ".json" else {}
        alone = path / "chat_template.jinja" if path.is_dir() else path
        if alone.is_file() and alone.suffix != ".json":
            source = alone.read_text(encoding="utf-8")
        else:
            source = _source((told if path.is_dir() else _json(path)).get("chat_template"))
        if not source:
            raise InputError(f"template={path}: there is no chat template in it. Name the folder of the model's tokenizer, or a template.")
        tokens = {name: _token(token) for name, token in told.items() if name.endswith("_token") and _token(token)}
        begins = tokens.get("bos_token", "") if told.get("add_bos_token") is not False else ""
        return cls(path=str(path), source=source, tokens=tokens, begins=begins)

    def rendered(self, messages: Sequence[Message], *, ask: bool) -> str:
        """The conversation as text; with `ask` up to where a reply begins."""
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
        environment.filters["tojson"] = _to_json
        environment.globals |= {"raise_exception": _refuse, "strftime_now": lambda how: datetime.now().strftime(how)}
        try:
            text = environment.from_string(self.source).render(
                messages=[_chat(message) for message in messages], add_generation_prompt=ask, **self.tokens
            )
        except (TemplateError, TypeError, KeyError, ValueError) as fault:
            raise InputError(f"template={self.path}: a conversation cannot be written by it ({fault}). Give the model's own.") from None
        return text.removeprefix(self.begins)

    def begun(self, before: Sequence[Message], reasoning: str, answer: str = "", *, closed: bool = False) -> str:
        """The text that ends where the reasoning does, not closed unless that is asked; with an answer, where that ends."""
        asked = self.rendered(before, ask=True)
        opening, closing = self._around(before, asked)
        text = f"{asked}{opening}{reasoning}"
        return f"{text}{closing}{answer}" if answer or closed else text

    def reasons(self, before: Sequence[Message]) -> bool:
        """Whether a reply to this begins within its reasoning."""
        return self.rendered(before, ask=True).rstrip().endswith(THINK)

    def _around(self, before: Sequence[Message], asked: str) -> tuple[str, str]:
        """What stands between what was asked and the reasoning, and between that and the answer."""
        whole = self.rendered([*before, Message(role="assistant", content=SAID, reasoning=THOUGHT)], ask=False)
        opened = asked.rstrip().endswith(THINK)
        head, found, tail = whole.partition(THOUGHT)
        closing, said, _ = tail.partition(SAID)
        if not (found and said and ANSWER in closing):
            return "" if opened else OPENING, CLOSING
        opening = head.removeprefix(asked) if head.startswith(asked) else OPENING
        return "" if opened else opening, closing


def _chat(message: Message) -> dict[str, Any]:
    told: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.reasoning:
        told["reasoning_content"] = message.reasoning
    if message.tool_calls:
        told["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.function, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    return told if message.tool_call_id is None else told | {"tool_call_id": message.tool_call_id}


def _json(path: Path) -> dict[str, Any]:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as fault:
        raise InputError(f"{path}: this is no JSON ({fault}). Fetch the tokenizer anew.") from None
    return told if isinstance(told, dict) else {}


def _source(told: Any) -> str:
    """The template itself, or of several the one that is used where none is asked for."""
    if isinstance(told, list):
        told = next((one.get("template") for one in told if isinstance(one, dict) and one.get("name") == "default"), None)
    return told if isinstance(told, str) else ""


def _token(told: Any) -> str:
    told = told.get("content") if isinstance(told, dict) else told
    return told if isinstance(told, str) else ""


def _to_json(value: Any, indent: int | None = None, **how: Any) -> str:
    return json.dumps(value, ensure_ascii=how.get("ensure_ascii", False), indent=indent, separators=how.get("separators"))


def _refuse(said: str) -> NoReturn:
    raise TemplateError(said)
