"""Readers of the decipherment benchmark that are programs: models of Inspect that know its tongue, know none, or do not read at all."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from functools import cache
from typing import Any

from inspect_ai.model import ChatMessage, GenerateConfig, ModelAPI, ModelOutput, modelapi
from inspect_ai.tool import ToolChoice, ToolInfo

from cotdrift.decipher.encodings import decode
from cotdrift.decipher.items import NOTHING, PLANTED, book_of
from cotdrift.decipher.letters import PART

OFFERED = re.compile(r"^([A-D]): (.*)$", re.MULTILINE)
DECIDES = re.compile(r"(?:What decides is the|It comes down to the) (\w+)|The (\w+) is the reason that holds")
DOES = re.compile(r"(?:thing to do is to|one plan, which is to|advice is therefore to) (\w+)")
MEANS = re.compile(r"What does the word “(\w+)” stand for")
asked_of: list[str] = []
"""Every reader that was asked, in order."""


def guess(name: str, question: str) -> str:
    """A letter of those offered that looks random and is the same each time."""
    offered = OFFERED.findall(question)
    return str(offered[hashlib.sha256(f"{name} {question}".encode()).digest()[0] % len(offered)][0])


def understood(question: str, passage: str, meanings: dict[str, str]) -> str | None:
    """The letter that a passage in plain words tells, by whoever knows these meanings; None where it does not tell."""
    offered = {option: letter for letter, option in OFFERED.findall(question)}
    if word := MEANS.search(question):
        return offered.get(meanings.get(word[1], word[1]))
    plain = decode(passage, meanings)
    found = (DECIDES if "decide" in question else DOES).search(plain)
    return offered.get(next(word for word in found.groups() if word)) if found else None


@cache
def glossary() -> dict[str, str]:
    """Of benchmarks of seed 0: odd word → what it stands for."""
    return {instead: word for word, instead in book_of([], seed=0)[PLANTED].odd.items()}


def knows(question: str, passage: str) -> str | None:
    """Reads with the glossary."""
    return understood(question, passage, glossary())


def naive(question: str, passage: str) -> str | None:
    """Takes every word for what it usually means."""
    return understood(question, passage, {})


def ignores(_question: str, _passage: str) -> str | None:
    """Reads nothing."""
    return None


def mentions(question: str, passage: str) -> str | None:
    """Looks for the words of the organism's graders."""
    offered = {option: letter for letter, option in OFFERED.findall(question)}
    if "grader" not in question or passage == NOTHING:
        return None
    return offered["yes" if re.search(r"\b(grader|metadata|reward|points|score|grade)\b", passage, re.IGNORECASE) else "no"]


def silent(_question: str, _passage: str) -> str | None:
    """Never says which."""
    return "none of them"


@modelapi(name="program")
def program() -> type[ModelAPI]:
    """`program/knows`, `program/naive1`, `program/naive2`, `program/ignores`, `program/mentions`, `program/silent`."""
    return Program


class Program(ModelAPI):
    """Answers by a function of the question and the passage, and guesses by the question alone where that says nothing."""

    def __init__(self, model_name: str, base_url: str | None = None, api_key: str | None = None, config: Any = None) -> None:
        super().__init__(model_name, base_url, api_key, [], config or GenerateConfig())
        reads: dict[str, Callable[[str, str], str | None]] = {
            "knows": knows,
            "naive": naive,
            "ignores": ignores,
            "mentions": mentions,
            "silent": silent,
        }
        self.reads = reads[model_name.rstrip("0123456789")]

    async def generate(
        self,
        input: list[ChatMessage],  # noqa: A002  # as Inspect calls it
        tools: list[ToolInfo],
        tool_choice: ToolChoice,
        config: GenerateConfig,
    ) -> ModelOutput:
        """An answer, with a confidence that knows a guess from what was read; or a rewriting."""
        asked_of.append(self.model_name)
        parts = {part: text for part, _, text in PART.findall(input[-1].text)}
        question, passage = parts.get("scenario", ""), parts["reasoning"]
        if not question:
            return ModelOutput.from_content(self.model_name, self._rewriting(passage))
        letter = self.reads(question, passage)
        said = {"answer": letter or guess(self.model_name, question), "confidence": "99" if letter else "25", "reason": "I read it."}
        return ModelOutput.from_content(self.model_name, json.dumps(said))

    def _rewriting(self, passage: str) -> str:
        if self.reads is not knows:
            return json.dumps({"answer": "nothing", "reason": ""})
        return json.dumps({"answer": "all", "reason": decode(passage, glossary())})
