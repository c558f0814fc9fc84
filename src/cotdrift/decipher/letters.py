"""Readers by letters: a model too weak to follow a grader's form, asked in few words which letter it would say first.

`letters/MODEL` is a model of Inspect that shows another one the passage and the question alone and asks for a single token. Its answer is
the letter that the passage makes likelier by the most, against the same question without the passage: small models say `A` whatever is
asked, and that is taken out (contextual calibration, Zhao et al., 2021, arXiv 2102.09690). Its confidence is the letter's share of what
remains. It needs a server that tells the likeliest tokens (logprobs).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from typing import Any

from inspect_ai.model import ChatMessage, ChatMessageUser, GenerateConfig, ModelAPI, ModelOutput, get_model, modelapi
from inspect_ai.tool import ToolChoice, ToolInfo

from cotdrift.decipher.items import NOTHING

PART = re.compile(r"<(scenario|reasoning)-([0-9a-f]{8})>\n(.*?)\n</\1-\2>", re.DOTALL)
"""What a grader shows of a trace, between its marks."""
OFFERED = re.compile(r"^([A-D]): ", re.MULTILINE)
"""A line that offers an answer, as `items.scenario` writes it."""
ASKED = "A passage:\n\n{passage}\n\nA question about it: {question}\n\nReply with the letter of the right answer and nothing else."
SURE = (25, 50, 75, 90, 99)
"""The levels of confidence that the grader `decipher` has."""
MOST_TOKENS = 20
LEAST = 1e-6
"""The share that a letter has which is not among the likeliest tokens."""


@modelapi(name="letters")
def letters() -> type[ModelAPI]:
    """The provider, for Inspect's registry."""
    return Letters


class Letters(ModelAPI):
    """A model asked for a letter by how much likelier the passage makes each."""

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig | None = None,
        **model_args: Any,
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config or GenerateConfig())
        self.asked = get_model(model_name, base_url=base_url, api_key=api_key, memoize=False, **model_args)
        self._without: dict[str, dict[str, float]] = {}

    async def generate(
        self,
        input: list[ChatMessage],  # noqa: A002  # as Inspect calls it
        tools: list[ToolInfo],
        tool_choice: ToolChoice,
        config: GenerateConfig,
    ) -> ModelOutput:
        """The letter, as the grader's JSON; nothing where no letter is among the likeliest tokens."""
        parts = {part: text for part, _, text in PART.findall(input[-1].text)}
        question, passage = parts.get("scenario", ""), parts.get("reasoning", "")
        offered = sorted(set(OFFERED.findall(question)))
        if question not in self._without:
            self._without[question] = shares_of(await self._first_token(question, NOTHING), offered)
        output = await self._first_token(question, passage)
        output.completion = answer_of(shares_of(output, offered), self._without[question])
        output.choices[0].stop_reason = "stop"
        return output

    async def _first_token(self, question: str, passage: str) -> ModelOutput:
        told = ChatMessageUser(content=ASKED.format(passage=passage, question=question))
        return await self.asked.generate(
            [told], config=GenerateConfig(max_tokens=1, temperature=0, logprobs=True, top_logprobs=MOST_TOKENS), cache=False
        )

    async def aclose(self) -> None:
        """Let go of the model."""
        await self.asked.api.aclose()

    def max_connections(self) -> int:
        """As many as the model takes."""
        return self.asked.api.max_connections()

    def connection_key(self) -> str:
        """The model's."""
        return self.asked.api.connection_key()


def shares_of(output: ModelOutput, offered: Sequence[str]) -> dict[str, float]:
    """How likely each letter is as the first token; empty where none is among the likeliest."""
    logprobs = output.choices[0].logprobs if output.choices else None
    likeliest = (logprobs.content[0].top_logprobs or []) if logprobs and logprobs.content else []
    found = dict.fromkeys(offered, 0.0)
    for one in likeliest:
        if (letter := one.token.strip()) in found:
            found[letter] += math.exp(one.logprob)
    return {letter: max(share, LEAST) for letter, share in found.items()} if any(found.values()) else {}


def answer_of(shares: dict[str, float], without: dict[str, float]) -> str:
    """The letter that gains the most from the passage, with its share of all gains as the confidence; nothing where no letter was said.

    >>> answer_of({"A": 0.6, "B": 0.3}, {"A": 0.8, "B": 0.1})
    '{"answer": "B", "confidence": "75"}'
    """
    if not shares:
        return ""
    gains = {letter: share / without.get(letter, 1.0) for letter, share in shares.items()}
    best = max(gains, key=gains.__getitem__)
    sure = 100 * gains[best] / sum(gains.values())
    return json.dumps({"answer": best, "confidence": f"{min(SURE, key=lambda level: abs(level - sure))}"})
