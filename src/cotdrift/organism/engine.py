"""The engine that answers requests for samples: those that come at the same time share a batch, whoever asks."""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import anyio.to_thread
from msgspec import Struct

from cotdrift.errors import InputError
from cotdrift.organism.checkpoints import Checkpoint

if TYPE_CHECKING:
    from cotdrift.organism.sample import Asked, Continued

# torch is imported where it is needed: whoever got there has a checkpoint, and without torch was told how to come by one

ROWS = 256
"""Continuations in one batch at most."""
QUIET, PATIENCE = 0.004, 0.06
"""Seconds without a new request after which a batch begins, and seconds after which it begins anyway."""

Found = TypeVar("Found")


class Request(Struct, frozen=True, kw_only=True):
    """Samples that are wanted from one prefix."""

    checkpoint: Checkpoint
    prefix: list[int]
    seeds: Sequence[int]
    """One for every sample."""
    max_tokens: int | None = None
    """None: until the checkpoint has read all that it can read."""
    temperature: float = 1.0
    top_p: float = 1.0
    stop: Sequence[str] = ()
    """Texts that end a sample; they are left out of it."""


class Sampled(Struct, frozen=True, kw_only=True):
    """One sample."""

    tokens: list[int]
    """With the token that ended it, if one did."""
    logprobs: list[float]
    """Of each token, under the checkpoint as it is (temperature 1)."""
    text: str
    """Without what ended it."""
    ended: bool
    """False when it ran out of tokens."""


class Scored(Struct, frozen=True, kw_only=True):
    """A token where it stands, and what else might have stood there."""

    token: int
    logprob: float
    likeliest: list[tuple[int, float]]


def seed_of(seed: int | None, *parts: object) -> int:
    """A seed for one sample, from the seed that a request gives and all that sets the sample apart; without one, by chance.

    >>> seed_of(7, "hinted@40", 1) == seed_of(7, "hinted@40", 1) != seed_of(7, "hinted@40", 2)
    True
    """
    if seed is None:
        return secrets.randbits(63)
    told = json.dumps([seed, *parts], ensure_ascii=True, separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(told.encode()).digest()[:8], "big")


def sample(request: Request) -> list[Sampled]:
    """The samples of a request, waited for."""
    from cotdrift.organism.sample import Asked

    checkpoint = request.checkpoint
    room = checkpoint.context - len(request.prefix)
    if not request.prefix:
        raise InputError("The prompt is empty. Give at least one token to go on from.")
    if room < 1:
        raise InputError(
            f"The prompt has {len(request.prefix)} tokens and {checkpoint.folder.name} reads {checkpoint.context}. Shorten it."
        )
    most = room if request.max_tokens is None else min(request.max_tokens, room)
    if most < 1:
        return [Sampled(tokens=[], logprobs=[], text="", ended=False) for _ in request.seeds]
    asked = [
        Asked(prefix=request.prefix, seed=seed, max_tokens=most, temperature=request.temperature, top_p=request.top_p)
        for seed in request.seeds
    ]
    return [_sampled(request, continued) for continued in BATCHES.continued(checkpoint, asked)]


def scored(checkpoint: Checkpoint, tokens: list[int], *, begin: int = 1, top: int = 0) -> list[Scored]:
    """How likely each token is, from the one at `begin` on, after all that stand before it; waited for."""
    return BATCHES.turn(lambda: _scored(checkpoint, tokens, begin, top))


def _scored(checkpoint: Checkpoint, tokens: list[int], begin: int, top: int) -> list[Scored]:
    import torch

    with torch.inference_mode():
        known = checkpoint.model(input_ids=torch.tensor([tokens[:-1]])).logits[0, begin - 1 :].float().log_softmax(1)
    best = known.topk(top, dim=1)
    return [
        Scored(token=token, logprob=float(row[token]), likeliest=list(zip(places, values, strict=True)))
        for token, row, places, values in zip(tokens[begin:], known, best.indices.tolist(), best.values.tolist(), strict=True)
    ]


def tokens_until(checkpoint: Checkpoint, tokens: list[int], text: str) -> int:
    """How many of the tokens it takes until a text is said; all of them and one when it is not."""
    return bisect_left(range(len(tokens) + 1), True, key=lambda many: text in checkpoint.text(tokens[:many]))


async def apart(work: Callable[[], Found]) -> Found:
    """What work comes to, done in a thread of its own: it waits for its batch, and the event loop does not."""
    return await anyio.to_thread.run_sync(work, limiter=anyio.CapacityLimiter(1), abandon_on_cancel=True)


class Batches:
    """Requests on their way into batches; one batch at a time is sampled."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[Checkpoint, list[Asked], Future[list[Continued]]]] = deque()
        self._worker = ThreadPoolExecutor(1, "organism", _one_thread)

    def continued(self, checkpoint: Checkpoint, asked: list[Asked]) -> list[Continued]:
        """Every continuation that is asked for; it waits for them, so call it in a thread."""
        future: Future[list[Continued]] = Future()
        self._waiting.append((checkpoint, asked, future))
        self._worker.submit(self._next)  # as many turns as requests: one that a batch took along finds nothing to do
        return future.result()

    def turn(self, work: Callable[[], Found]) -> Found:
        """What other work comes to, done between two batches."""
        return self._worker.submit(work).result()

    def _next(self) -> None:
        from cotdrift.organism.sample import continue_all

        if not self._waiting:
            return
        self._gather()
        checkpoint = self._waiting[0][0]
        taken, left, rows = [], [], 0
        for _ in range(len(self._waiting)):
            one = self._waiting.popleft()
            if one[0] is checkpoint and rows < ROWS:
                taken.append(one)
                rows += len(one[1])
            else:
                left.append(one)
        self._waiting.extendleft(reversed(left))
        asked = [row for one in taken for row in one[1]]
        try:
            found: list[Continued] = []
            for at in range(0, len(asked), ROWS):
                found += continue_all(checkpoint.model, asked[at : at + ROWS], end=checkpoint.end)
        except BaseException as fault:
            for _, _, future in taken:
                future.set_exception(fault)
            return
        for _, rows_of_one, future in taken:
            future.set_result(found[: len(rows_of_one)])
            del found[: len(rows_of_one)]

    def _gather(self) -> None:
        until, seen = time.monotonic() + PATIENCE, -1
        while seen != len(self._waiting) and time.monotonic() < until:
            seen = len(self._waiting)
            time.sleep(QUIET)


def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)  # more do not help so small a model, and where the cores are busy they slow it down many times over


def _sampled(request: Request, continued: Continued) -> Sampled:
    checkpoint, tokens = request.checkpoint, continued.tokens
    text = checkpoint.text(tokens)
    stops = [stop for stop in request.stop if stop in text]
    if stops:
        tokens = tokens[: min(tokens_until(checkpoint, tokens, stop) for stop in stops)]
        text = text[: min(text.index(stop) for stop in stops)]
        return Sampled(tokens=tokens, logprobs=continued.logprobs[: len(tokens)], text=text, ended=True)
    ended = [checkpoint.end] if continued.ended else []
    return Sampled(tokens=[*tokens, *ended], logprobs=continued.logprobs, text=text, ended=continued.ended)


BATCHES = Batches()
