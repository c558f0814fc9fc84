"""The organism as a model provider of Inspect: `organism/hinted@40`, `organism/start`, or `organism/` and a folder of weights.

**Prefixes.** Where the last message is an assistant's, the checkpoint goes on from it. One that ends in a `ContentReasoning` block, or
whose text begins with `<think>` and never says `</think>`, is gone on with in the middle of its reasoning; one with text after that, in the
middle of its answer. To close the reasoning and say nothing yet, write it as text that ends in `</think>`. The reply holds all of it, given
and new; the output's metadata says how much was given: `prefix_chars` of the reasoning, `answer_prefix_chars` of the answer.

**Seeds.** Inspect hands the same seed to every sample and every epoch. So that they do not all say the same, a reply's seed is made of the
configured seed, the checkpoint's name, the tokens it goes on from, the sample's id and epoch, how often this sample has asked the very same
before, and the choice's place among `num_choices`. Nothing of that depends on which request comes first, so a task run again with its seed
gives the same replies. Outside of a sample the same request with the same seed gives the same reply. Without a seed, chance decides.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from weakref import WeakKeyDictionary

from inspect_ai.log._samples import ActiveSample, sample_active
from inspect_ai.model import (
    ChatCompletionChoice,
    ChatMessage,
    ChatMessageAssistant,
    ContentReasoning,
    ContentText,
    GenerateConfig,
    Logprob,
    Logprobs,
    ModelAPI,
    ModelCall,
    ModelOutput,
    ModelUsage,
    TopLogprob,
    modelapi,
)
from inspect_ai.tool import ToolChoice, ToolInfo

from cotdrift.chat_template import ANSWER
from cotdrift.errors import InputError
from cotdrift.organism.chat import Opening, Reply, Turn, opening, read_reply
from cotdrift.organism.checkpoints import Checkpoint, load
from cotdrift.organism.engine import Request, Sampled, apart, sample, scored, seed_of, tokens_until

UNKNOWN = ("best_of", "frequency_penalty", "logit_bias", "presence_penalty", "prompt_logprobs", "response_schema", "top_k")
"""Settings that would change what is sampled, and that this sampler has not."""


@modelapi(name="organism")
def organism() -> type[ModelAPI]:
    """The provider, for Inspect's registry."""
    return Organism


class Organism(ModelAPI):
    """A checkpoint of the organism, sampled in this process."""

    def __init__(
        self, model_name: str, base_url: str | None = None, api_key: str | None = None, config: GenerateConfig | None = None
    ) -> None:
        super().__init__(model_name, base_url, api_key, [], config or GenerateConfig())
        self.checkpoint: Checkpoint = load(model_name)
        self._asked: WeakKeyDictionary[ActiveSample, Counter[tuple[int, ...]]] = WeakKeyDictionary()

    async def generate(
        self,
        input: list[ChatMessage],  # noqa: A002  # as Inspect calls it
        tools: list[ToolInfo],
        tool_choice: ToolChoice,
        config: GenerateConfig,
    ) -> tuple[ModelOutput, ModelCall]:
        """Sample what is asked for; a last message of the assistant's is gone on with."""
        unknown = [name for name in UNKNOWN if getattr(config, name) is not None] + ["tools"] * bool(tools)
        if unknown:
            raise InputError(f"organism/{self.model_name}: {', '.join(unknown)} cannot be set here. Leave it out.")
        began = opening(self.checkpoint, [_turn(message) for message in input], go_on=input[-1].role == "assistant")
        prefix = self.checkpoint.tokens(began.text)
        told = self._apart(prefix)
        seeds = [seed_of(config.seed, *told, choice) for choice in range(config.num_choices or 1)]
        request = Request(
            checkpoint=self.checkpoint,
            prefix=prefix,
            seeds=seeds,
            max_tokens=config.max_tokens,
            temperature=1.0 if config.temperature is None else config.temperature,
            top_p=1.0 if config.top_p is None else config.top_p,
            stop=config.stop_seqs or (),
        )
        since = time.monotonic()
        samples, choices = await apart(lambda: self._sampled(began, request, config))
        given = began.given or Reply()
        output = ModelOutput(
            model=self.model_name,
            choices=choices,
            usage=self._usage(began, prefix, samples),
            time=time.monotonic() - since,
            metadata={"prefix_chars": len(given.reasoning or ""), "answer_prefix_chars": len(given.answer or "")},
        )
        asked = {"prompt": began.text, "prompt_token_ids": prefix, "seeds": seeds} | config.model_dump(exclude_none=True)
        return output, ModelCall.create(asked, {"choices": [{"text": one.text, "token_ids": one.tokens} for one in samples]})

    async def count_text_tokens(self, text: str) -> int:
        """Tokens as this checkpoint counts them."""
        return len(self.checkpoint.tokens(text))

    async def count_tokens(
        self,
        input: str | list[ChatMessage],  # noqa: A002  # as Inspect calls it
        config: GenerateConfig | None = None,
    ) -> int:
        """Tokens of a text, or of a conversation with what the template puts around it."""
        if isinstance(input, str):
            return await self.count_text_tokens(input)
        return len(self.checkpoint.tokens(opening(self.checkpoint, [_turn(message) for message in input]).text))

    async def tokenize(self, text: str) -> list[int]:
        """A text as this checkpoint's tokens."""
        return self.checkpoint.tokens(text)

    def max_connections(self) -> int:
        """As many as sample well together."""
        return 64

    def connection_key(self) -> str:
        """All checkpoints share the machine."""
        return "organism"

    def _apart(self, prefix: list[int]) -> list[object]:
        """What sets this request apart from others with the same seed."""
        name, active = Path(self.model_name).name, sample_active()
        if active is None:
            return [name, prefix]
        asked = self._asked.setdefault(active, Counter())
        asked[tuple(prefix)] += 1
        return [name, prefix, str(active.sample.id), active.epoch, asked[tuple(prefix)]]

    def _sampled(self, began: Opening, request: Request, config: GenerateConfig) -> tuple[list[Sampled], list[ChatCompletionChoice]]:
        samples = sample(request)
        return samples, [self._choice(began, request.prefix, one, config) for one in samples]

    def _choice(self, began: Opening, prefix: list[int], sampled: Sampled, config: GenerateConfig) -> ChatCompletionChoice:
        reply = began.reply(sampled.text)
        content: list[ContentReasoning | ContentText] = []
        if reply.reasoning is not None:
            content.append(ContentReasoning(reasoning=reply.reasoning))
        if reply.answer is not None:
            content.append(ContentText(text=reply.answer))
        return ChatCompletionChoice(
            message=ChatMessageAssistant(content=list(content), model=self.model_name, source="generate"),
            stop_reason="stop" if sampled.ended else "max_tokens",
            logprobs=self._logprobs(prefix, sampled, config.top_logprobs or 0) if config.logprobs else None,
        )

    def _logprobs(self, prefix: list[int], sampled: Sampled, top: int) -> Logprobs:
        """Of the new tokens, the one that ended them included."""
        word = self.checkpoint.text
        likeliest: list[list[TopLogprob] | None] = [None] * len(sampled.tokens)
        if top and sampled.tokens:
            found = scored(self.checkpoint, prefix + sampled.tokens, begin=len(prefix), top=top)
            likeliest = [[TopLogprob(token=word([token]), logprob=value) for token, value in one.likeliest] for one in found]
        rows = zip(sampled.tokens, sampled.logprobs, likeliest, strict=True)
        return Logprobs(content=[Logprob(token=word([token]), logprob=value, top_logprobs=best) for token, value, best in rows])

    def _usage(self, began: Opening, prefix: list[int], samples: Sequence[Sampled]) -> ModelUsage:
        said = sum(len(one.tokens) for one in samples)
        thought = [min(tokens_until(self.checkpoint, one.tokens, ANSWER), len(one.tokens)) for one in samples if began.reasons]
        return ModelUsage(input_tokens=len(prefix), output_tokens=said, total_tokens=len(prefix) + said, reasoning_tokens=sum(thought))


def _turn(message: ChatMessage) -> Turn:
    if message.role == "tool":
        raise InputError("The organism uses no tools. Leave tool messages out.")
    if isinstance(message.content, str):
        return Turn(message.role, read_reply(message.content) if message.role == "assistant" else Reply(None, message.content))
    other = [block.type for block in message.content if not isinstance(block, ContentReasoning | ContentText)]
    if other:
        raise InputError(f"The organism reads text, and a message holds {other[0]}. Leave it out.")
    thought = [block.reasoning for block in message.content if isinstance(block, ContentReasoning)]
    said = [block.text for block in message.content if isinstance(block, ContentText)]
    if thought:
        return Turn(message.role, Reply("".join(thought), "".join(said) or None))
    return Turn(message.role, read_reply("".join(said)) if message.role == "assistant" else Reply(None, "".join(said)))
