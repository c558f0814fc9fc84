"""A server of the organism that speaks OpenAI's API as vLLM does, on this machine only: python -m cotdrift.organism.server --port 8765.

A request's `model` is a checkpoint's name (`hinted@40`) or a folder of weights. A text is gone on with by `/v1/completions`, or by
`/v1/chat/completions` with `continue_final_message` and without `add_generation_prompt`; what comes back is what is new. A final message
with `reasoning_content` and no content is gone on with in the middle of its reasoning. With a seed, the same request gives the same reply.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Annotated, Any, TypeVar
from uuid import uuid4

import click
import msgspec
import uvicorn
from msgspec import Meta, Struct
from starlette.applications import Starlette
from starlette.requests import Request as Asked
from starlette.responses import Response
from starlette.routing import Route

from cotdrift.chat_template import ANSWER
from cotdrift.errors import CotdriftError, InputError, UnknownName
from cotdrift.loopback import HOST, loopback
from cotdrift.organism.chat import Opening, Reply, Turn, opening, read_reply
from cotdrift.organism.checkpoints import Checkpoint, load, shipped
from cotdrift.organism.engine import Request, Sampled, apart, sample, scored, seed_of, tokens_until

COMPLETION_TOKENS = 16
"""What `max_tokens` is for a completion that does not say, in OpenAI's API."""
MOST_LOGPROBS = 20

Positive = Annotated[int, Meta(ge=1)]
Top = Annotated[int, Meta(ge=0, le=MOST_LOGPROBS)]
Body = TypeVar("Body", bound="Wanted")


class Wanted(Struct, kw_only=True, forbid_unknown_fields=True):
    """What both kinds of requests may say; a setting that is not here is refused, since it would be ignored."""

    model: str
    n: Positive | None = None
    seed: int | None = None
    max_tokens: Annotated[int, Meta(ge=0)] | None = None
    temperature: Annotated[float, Meta(ge=0)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    stop: str | list[str] | None = None
    stream: bool | None = None
    user: str | None = None
    return_token_ids: bool | None = None


class WantedText(Wanted, kw_only=True):
    """A request for texts that go on."""

    prompt: str | list[str | int | list[int]]
    logprobs: Top | None = None
    echo: bool | None = None


class Part(Struct):
    """A piece of a message's content."""

    type: str
    text: str = ""


class Said(Struct):
    """A message."""

    role: str
    content: str | list[Part] | None = None
    reasoning_content: str | None = None


class WantedReply(Wanted, kw_only=True):
    """A request for replies."""

    messages: Annotated[list[Said], Meta(min_length=1)]
    max_completion_tokens: Annotated[int, Meta(ge=0)] | None = None
    logprobs: bool | None = None
    top_logprobs: Top | None = None
    add_generation_prompt: bool = True
    continue_final_message: bool = False


class Counts(Struct):
    """What a server was asked for since it began."""

    requests: int = 0
    sampled_tokens: int = 0


class Served(Struct, frozen=True):
    """A server that is running."""

    url: str
    """The `base_url` for clients of OpenAI's API."""
    counts: Counts


def application(counts: Counts) -> Starlette:
    """The server, which counts in `counts`."""

    def answered(work: Callable[[bytes, Counts], object]) -> Callable[[Asked], Awaitable[Response]]:
        async def answer(asked: Asked) -> Response:
            body = await asked.body()
            try:
                return _json(await apart(lambda: work(body, counts)))
            except CotdriftError as fault:
                missing = isinstance(fault, UnknownName)
                told = {"message": str(fault), "type": "invalid_request_error", "param": "model" if missing else None}
                return _json({"error": told | {"code": "model_not_found" if missing else None}}, 404 if missing else 400)

        return answer

    async def models(asked: Asked) -> Response:
        return _json(
            {"object": "list", "data": [{"id": name, "object": "model", "created": 0, "owned_by": "cotdrift"} for name in shipped()]}
        )

    async def metrics(asked: Asked) -> Response:
        return _json(counts)

    return Starlette(
        routes=[
            Route("/v1/models", models),
            Route("/v1/completions", answered(_texts), methods=["POST"]),
            Route("/v1/chat/completions", answered(_replies), methods=["POST"]),
            Route("/metrics", metrics),
        ]
    )


@contextlib.contextmanager
def serving(port: int = 0) -> Iterator[Served]:
    """A server in a thread, for as long as the block runs; port 0 takes a free one."""
    counts = Counts()
    with loopback(application(counts), name="organism server", port=port) as (address, _):
        yield Served(f"{address}/v1", counts)


def _json(told: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(told), status, media_type="application/json")


def _read(body: bytes, kind: type[Body], counts: Counts) -> Body:
    counts.requests += 1
    try:
        wanted = msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        raise InputError(f"The request cannot be answered as it is: {fault}. Mend that, or leave it out.") from None
    if wanted.stream:
        raise InputError("`stream` is not offered here. Ask with stream: false.")
    return wanted


def _sample(wanted: Wanted, checkpoint: Checkpoint, prefix: list[int], most: int | None, counts: Counts) -> list[Sampled]:
    request = Request(
        checkpoint=checkpoint,
        prefix=prefix,
        seeds=[seed_of(wanted.seed, wanted.model, prefix, choice) for choice in range(wanted.n or 1)],
        max_tokens=most,
        temperature=1.0 if wanted.temperature is None else wanted.temperature,
        top_p=1.0 if wanted.top_p is None else wanted.top_p,
        stop=[wanted.stop] if isinstance(wanted.stop, str) else wanted.stop or (),
    )
    found = sample(request)
    counts.sampled_tokens += sum(len(one.tokens) for one in found)
    return found


def _answer(kind: str, name: str, wanted: Wanted, answers: list[dict[str, Any]], usage: dict[str, Any]) -> dict[str, Any]:
    told = [answer | {"index": place} for place, answer in enumerate(answers)]
    total = usage["prompt_tokens"] + usage["completion_tokens"]
    return {
        "id": f"{name}-{uuid4().hex}",
        "object": kind,
        "created": int(time.time()),
        "model": wanted.model,
        "choices": told,
        "usage": usage | {"total_tokens": total},
    }


def _texts(body: bytes, counts: Counts) -> dict[str, Any]:
    wanted = _read(body, WantedText, counts)
    checkpoint = load(wanted.model)
    most = COMPLETION_TOKENS if wanted.max_tokens is None else wanted.max_tokens
    answers, read, said = [], 0, 0
    for prefix in _prompts(checkpoint, wanted.prompt):
        found = _sample(wanted, checkpoint, prefix, most, counts)
        read += len(prefix)
        said += sum(len(one.tokens) for one in found)
        answers += [_text(wanted, checkpoint, prefix, one) for one in found]
    return _answer("text_completion", "cmpl", wanted, answers, {"prompt_tokens": read, "completion_tokens": said})


def _prompts(checkpoint: Checkpoint, prompt: str | list[str | int | list[int]]) -> list[list[int]]:
    if isinstance(prompt, str):
        return [checkpoint.tokens(prompt)]
    numbers = [one for one in prompt if isinstance(one, int)]
    prompts = (
        [numbers] if numbers else [checkpoint.tokens(one) if isinstance(one, str) else one for one in prompt if not isinstance(one, int)]
    )
    if not prompt or len(numbers) not in (0, len(prompt)):
        raise InputError("`prompt` is a text, a list of tokens, or a list of either, and at least one of them. Send one of these.")
    size = len(checkpoint.tokenizer)
    strange = next((token for one in prompts for token in one if not 0 <= token < size), None)
    if strange is not None:
        raise InputError(f"`prompt` holds the token {strange}, and {checkpoint.folder.name} has those from 0 to {size - 1}.")
    return prompts


def _text(wanted: WantedText, checkpoint: Checkpoint, prefix: list[int], sampled: Sampled) -> dict[str, Any]:
    answer: dict[str, Any] = {"text": sampled.text, "finish_reason": "stop" if sampled.ended else "length", "logprobs": None}
    if wanted.echo:
        answer["text"] = checkpoint.text(prefix) + sampled.text
    if wanted.logprobs is not None:
        tokens = prefix + sampled.tokens
        words = [checkpoint.text([token]) for token in tokens]
        ends = [len(checkpoint.text(tokens[:many])) for many in range(len(tokens))]
        found = scored(checkpoint, tokens, top=wanted.logprobs) if len(tokens) > 1 else []
        known = [None, *(one.logprob for one in found)]
        best = [None, *({checkpoint.text([token]): value for token, value in one.likeliest} for one in found)]
        begin = 0 if wanted.echo else len(prefix)
        answer["logprobs"] = {
            "tokens": words[begin:],
            "token_logprobs": known[begin:],
            "top_logprobs": best[begin:],
            "text_offset": [end - ends[begin] for end in ends[begin:]] if begin < len(ends) else [],
        }
    return answer | _ids(wanted, prefix, sampled)


def _ids(wanted: Wanted, prefix: list[int], sampled: Sampled) -> dict[str, Any]:
    return {"prompt_token_ids": prefix, "token_ids": sampled.tokens} if wanted.return_token_ids else {}


def _replies(body: bytes, counts: Counts) -> dict[str, Any]:
    wanted = _read(body, WantedReply, counts)
    if wanted.continue_final_message and wanted.add_generation_prompt:
        raise InputError("`continue_final_message` and `add_generation_prompt` cannot both be true. Set the second to false.")
    if wanted.continue_final_message and wanted.messages[-1].role != "assistant":
        raise InputError("`continue_final_message` goes on with an assistant's message, and the last one is not. Add one.")
    if not wanted.continue_final_message and not wanted.add_generation_prompt:
        raise InputError("A reply begins with `add_generation_prompt` or `continue_final_message`. Set one of them to true.")
    checkpoint = load(wanted.model)
    began = opening(checkpoint, [_turn(said) for said in wanted.messages], go_on=wanted.continue_final_message)
    prefix = checkpoint.tokens(began.text)
    most = wanted.max_tokens if wanted.max_completion_tokens is None else wanted.max_completion_tokens
    found = _sample(wanted, checkpoint, prefix, most, counts)
    thought = [min(tokens_until(checkpoint, one.tokens, ANSWER), len(one.tokens)) for one in found if began.reasons]
    usage = {
        "prompt_tokens": len(prefix),
        "completion_tokens": sum(len(one.tokens) for one in found),
        "completion_tokens_details": {"reasoning_tokens": sum(thought)},
    }
    return _answer("chat.completion", "chatcmpl", wanted, [_reply(wanted, checkpoint, began, prefix, one) for one in found], usage)


def _reply(wanted: WantedReply, checkpoint: Checkpoint, began: Opening, prefix: list[int], sampled: Sampled) -> dict[str, Any]:
    new = began.new(sampled.text)
    answer: dict[str, Any] = {
        "message": {"role": "assistant", "content": new.answer, "reasoning_content": new.reasoning},
        "finish_reason": "stop" if sampled.ended else "length",
        "logprobs": None,
    }
    if wanted.logprobs:
        found = scored(checkpoint, prefix + sampled.tokens, begin=len(prefix), top=wanted.top_logprobs or 0) if sampled.tokens else []
        content = [
            _known(checkpoint, one.token, one.logprob) | {"top_logprobs": [_known(checkpoint, *other) for other in one.likeliest]}
            for one in found
        ]
        answer["logprobs"] = {"content": content}
    return answer | _ids(wanted, prefix, sampled)


def _known(checkpoint: Checkpoint, token: int, logprob: float) -> dict[str, Any]:
    return {"token": checkpoint.text([token]), "logprob": logprob, "bytes": None}


def _turn(said: Said) -> Turn:
    parts: Sequence[Part] = said.content if isinstance(said.content, list) else ()
    if any(part.type != "text" for part in parts):
        raise InputError("The organism reads text, and a message holds something else. Leave it out.")
    text = said.content if isinstance(said.content, str) else "".join(part.text for part in parts)
    if said.reasoning_content is not None:
        return Turn(said.role, Reply(said.reasoning_content, text or None))
    return Turn(said.role, read_reply(text) if said.role == "assistant" else Reply(None, text))


@click.command(help="Serve the organism on this machine, as OpenAI's API.")
@click.option("--port", default=8765, show_default=True, help="Where it listens; 0 takes a free port.")
def main(port: int) -> None:
    """Serve until interrupted."""
    uvicorn.run(application(Counts()), host=HOST, port=port, lifespan="off")


if __name__ == "__main__":
    main()
