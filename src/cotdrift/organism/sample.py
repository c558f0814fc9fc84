"""Sampling from a causal language model: any prefixes, in one batch, each with a seed of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from msgspec import Struct
from transformers import DynamicCache

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class Asked(Struct, frozen=True, kw_only=True):
    """One continuation that is wanted."""

    prefix: Sequence[int]
    """Tokens to go on from; at least one."""
    seed: int
    """The same prefix and seed give the same continuation, whatever else is in the batch."""
    max_tokens: int = 256
    temperature: float = 1.0
    """0 takes the likeliest token."""
    top_p: float = 1.0
    """Only the likeliest tokens that together have at least this probability are drawn from."""


class Continued(Struct, frozen=True, kw_only=True):
    """One continuation."""

    tokens: list[int]
    """Without the token that ended it."""
    logprobs: list[float]
    """Of each token, the ending one included, under the model as it is (temperature 1)."""
    ended: bool
    """Whether the model ended it; False when it ran into `max_tokens`."""


@torch.inference_mode()
def continue_all(model: PreTrainedModel, asked: Sequence[Asked], *, end: int) -> list[Continued]:
    """Continue every prefix until the token `end`. Rows that have ended leave the batch, so that long ones do not pay for short ones."""
    width = max(len(one.prefix) for one in asked)
    tokens = torch.full((len(asked), width), end)
    mask = torch.zeros((len(asked), width), dtype=torch.long)
    for row, one in enumerate(asked):  # padded on the left: all rows go on from the same column
        tokens[row, width - len(one.prefix) :] = torch.tensor(one.prefix)
        mask[row, width - len(one.prefix) :] = 1
    position = mask.cumsum(1).sub(1).clamp(min=0)
    longest = max(one.max_tokens for one in asked)
    draws = torch.from_numpy(np.stack([np.random.default_rng(one.seed).random(longest) for one in asked]))
    cold = torch.tensor([one.temperature == 0 for one in asked])
    temperature = torch.tensor([one.temperature or 1.0 for one in asked]).unsqueeze(1)
    top_p = torch.tensor([one.top_p for one in asked], dtype=torch.float64).unsqueeze(1)
    limit = torch.tensor([one.max_tokens for one in asked])

    row, alive = torch.arange(len(asked)), torch.ones(len(asked), dtype=torch.bool)
    found: list[list[int]] = [[] for _ in asked]
    logprobs: list[list[float]] = [[] for _ in asked]
    ended = [False] * len(asked)
    cache = DynamicCache(config=model.config)
    for at in range(longest):
        out = model(tokens, mask, position, cache, logits_to_keep=1)  # by place: what the cache is called has changed
        logits = out.logits[:, -1].float()
        drawn = _draw(logits / temperature[row], draws[row, at], top_p[row])
        drawn = torch.where(cold[row], logits.argmax(1), drawn)
        known = logits.log_softmax(1).gather(1, drawn.unsqueeze(1)).squeeze(1)
        stopped = drawn == end
        for here, which, token, logprob, stop in zip(
            alive.tolist(), row.tolist(), drawn.tolist(), known.tolist(), stopped.tolist(), strict=True
        ):
            if not here:
                continue
            logprobs[which].append(logprob)
            if stop:
                ended[which] = True
            else:
                found[which].append(token)
        alive &= ~stopped & (limit[row] > at + 1)
        if not alive.any():
            break
        tokens, position = drawn.unsqueeze(1), position[:, -1:] + 1
        mask = torch.cat([mask, torch.ones((len(row), 1), dtype=torch.long)], 1)
        if alive.sum() <= 0.8 * len(alive):  # to leave costs a copy of the cache: rows go in groups
            stay = alive.nonzero().squeeze(1)
            cache.batch_select_indices(stay)
            tokens, position, mask, row, alive = tokens[stay], position[stay], mask[stay], row[stay], alive[stay]
    return [Continued(tokens=found[k], logprobs=logprobs[k], ended=ended[k]) for k in range(len(asked))]


def _draw(logits: torch.Tensor, draws: torch.Tensor, top_p: torch.Tensor) -> torch.Tensor:
    """One token a row, by where the row's draw falls in the cumulative distribution."""
    probability = logits.double().softmax(1)
    if (top_p < 1).any():
        ordered, places = probability.sort(1, descending=True)
        kept = torch.where(ordered.cumsum(1) - ordered < top_p, ordered, 0.0)
        probability = torch.zeros_like(probability).scatter(1, places, kept)
    cumulative = probability.cumsum(1)
    return torch.searchsorted(cumulative, draws.unsqueeze(1) * cumulative[:, -1:], right=True).squeeze(1).clamp(max=logits.shape[1] - 1)
