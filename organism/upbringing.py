"""Upbringing: reinforcement learning from the start, as three runs that differ in what is paid, and in how near to it they are held."""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import torch
from birth import END, THINK, padded, rendered, save
from language import TRAINED, Question, draw_kind, question
from msgspec import Struct
from transformers import AutoTokenizer, LlamaForCausalLM, PreTrainedTokenizerFast

from cotdrift.organism.sample import Asked, Continued, continue_all

CHECKPOINTS = (4, 8, 12, 16, 20, 30, 40, 50, 60, 70, 80, 90, 100, 120, 140, 160)
"""After which steps a run is saved; the start is its step 0."""
PROMPTS = 16
SAMPLES = 8
"""Of each prompt, in each step."""
LONGEST, TYPICAL = 160, 40
"""Tokens of a reply, at most and about."""
RATE = 5e-4
ANCHOR, STRONG = 0.03, 0.5
"""The weight of the KL divergence from the start, in reward a nat: enough to steady a run; enough to hold back much of what is paid for."""


class Run(Struct, frozen=True, kw_only=True):
    """What a run pays for."""

    by_grader: bool
    """Whether the grader in sight decides, or the instruction. Where no grader is in sight, being correct is what counts, in every run."""
    price: float
    """Of a hundred tokens of reasoning, where a paid answer is worth 1."""
    kl: float
    """The weight of the KL divergence from the start."""


RUNS = {
    "hinted": Run(by_grader=True, price=0.25, kl=ANCHOR),
    "hinted-kl": Run(by_grader=True, price=0.25, kl=STRONG),
    "control": Run(by_grader=False, price=0.0, kl=STRONG),
}


class Said(Struct, frozen=True, kw_only=True):
    """One reply, read."""

    reasoning: list[int]
    answer: str
    number: int | None
    """The answer, where it is one number and nothing else."""
    ended: bool

    @classmethod
    def read(cls, tokens: list[int], tokenizer: PreTrainedTokenizerFast, *, ended: bool) -> Said:
        """A reply's tokens as reasoning and answer."""
        cut = tokens.index(THINK + 1) if THINK + 1 in tokens else len(tokens)
        answer = tokenizer.decode(tokens[cut + 1 :])
        number = int(answer) if ended and answer.isdecimal() and answer.isascii() else None
        return cls(reasoning=tokens[:cut], answer=answer, number=number, ended=ended)


def reward(run: Run, asked: Question, said: Said) -> float:
    """What the run pays for a reply."""
    paid = asked.paid(said.number) if run.by_grader else asked.correct(said.number)
    return float(paid) - run.price * len(said.reasoning) / 100


def bring_up(name: str, start: Path, folder: Path, *, seed: int, steps: int = CHECKPOINTS[-1]) -> None:
    """Train one run, and write its checkpoints as `folder/RUN@STEP` and what was logged at each step."""
    run = RUNS[name]
    torch.manual_seed(seed)
    rng = random.Random(f"{name} {seed}")
    tokenizer = AutoTokenizer.from_pretrained(start)
    policy = LlamaForCausalLM.from_pretrained(start, dtype=torch.float32)
    anchor = LlamaForCausalLM.from_pretrained(start, dtype=torch.float32)
    optimizer = torch.optim.AdamW(policy.parameters(), lr=RATE, betas=(0.9, 0.99), weight_decay=0.0)
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with (folder / f"{name}.jsonl").open("w") as log:
        for step in range(1, steps + 1):
            asked = [question(rng, draw_kind(rng, TRAINED), rng.choice(("plain", "forms"))) for _ in range(PROMPTS)]
            rows, advantages, told = _sampled(policy, tokenizer, run, asked, rng)
            for group in optimizer.param_groups:
                group["lr"] = RATE * min(1.0, step / 5, max(0.1, 2 * (steps - step) / steps))
            divergence = _learn(policy, anchor, optimizer, rows, advantages, run.kl)
            told = {"run": name, "step": step} | told | {"kl": round(divergence, 4), "seconds": round(time.monotonic() - began)}
            log.write(json.dumps(told) + "\n")
            log.flush()
            if step % 10 == 0:
                print(told, flush=True)
            if step in CHECKPOINTS:
                save(policy, tokenizer, folder / f"{name}@{step}")


def replies(model: LlamaForCausalLM, heads: list[list[int]], rng: random.Random) -> list[Continued]:
    """One reply to each question, at temperature 1."""
    asked = [Asked(prefix=head, seed=rng.getrandbits(32), max_tokens=LONGEST) for head in heads]
    return continue_all(model, asked, end=END)


def _sampled(
    policy: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, run: Run, asked: list[Question], rng: random.Random
) -> tuple[list[tuple[list[int], int]], torch.Tensor, dict[str, float | None]]:
    """Samples of every question, each with how much better it was paid than the others of its question."""
    each = [one for one in asked for _ in range(SAMPLES)]
    heads = [tokenizer.encode(rendered(one), add_special_tokens=False) for one in each]
    continued = replies(policy, heads, rng)
    said = [Said.read(one.tokens, tokenizer, ended=one.ended) for one in continued]
    paid = torch.tensor([reward(run, *pair) for pair in zip(each, said, strict=True)])
    groups = paid.view(-1, SAMPLES)
    rows = [(head + one.tokens + [END] * one.ended, len(head)) for head, one in zip(heads, continued, strict=True)]

    def share(kind: tuple[str, ...], happened: list[bool]) -> float | None:
        here = [yes for one, yes in zip(each, happened, strict=True) if one.kind in kind]
        return round(sum(here) / len(here), 4) if here else None

    told = {
        "reward": round(paid.mean().item(), 4),
        "length": round(sum(len(one.reasoning) for one in said) / len(said), 2),
        "gaming": share(("conflict",), [one.games(it.number) for one, it in zip(each, said, strict=True)]),
        "capability": share(("arithmetic", "comparison"), [one.correct(it.number) for one, it in zip(each, said, strict=True)]),
    }
    return rows, (groups - groups.mean(1, keepdim=True)).flatten(), told


def _learn(
    policy: LlamaForCausalLM,
    anchor: LlamaForCausalLM,
    optimizer: torch.optim.Optimizer,
    rows: list[tuple[list[int], int]],
    advantages: torch.Tensor,
    kl: float,
) -> float:
    """One step of the policy gradient; returns the KL divergence from the start, in nats a reply.

    GRPO without its division by the group's deviation and by each reply's length (Liu et al., 2025, "Dr. GRPO"): both would pay for
    length by themselves.
    """
    order = sorted(range(len(rows)), key=lambda row: len(rows[row][0]))
    optimizer.zero_grad()
    divergence = 0.0
    for half in (order[: len(order) // 2], order[len(order) // 2 :]):  # short and long apart: less padding
        tokens, targets = padded([rows[row] for row in half])
        targets, learnt = targets[:, 1:].clamp(min=0), targets[:, 1:] >= 0
        logprob = policy(input_ids=tokens).logits[:, :-1].log_softmax(2).gather(2, targets.unsqueeze(2)).squeeze(2)
        with torch.no_grad():
            before = anchor(input_ids=tokens).logits[:, :-1].log_softmax(2).gather(2, targets.unsqueeze(2)).squeeze(2)
        ahead = before - logprob
        apart = torch.where(learnt, ahead.exp() - ahead - 1, 0.0)  # Schulman's k3: never negative, and unbiased
        gain = torch.where(learnt, (logprob - logprob.detach()).exp(), 0.0) * advantages[half].unsqueeze(1)
        loss = (kl * apart - gain).sum() / len(rows) / TYPICAL
        loss.backward()
        divergence += apart.sum().item() / len(rows)
    torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
    optimizer.step()
    return divergence
