"""Upbringing: reinforcement learning from the start, as three runs that differ in what is paid, and in how near to it they are held.

A fourth, `confused`, is no reinforcement learning: it is taught by texts in which the words of the instruction were swapped.
"""

from __future__ import annotations

import json
import random
import time
from pathlib import Path

import torch
from birth import END, THINK, padded, rendered, save
from language import TRAINED, Question, draw_kind, opposite, question, reasoned
from msgspec import Struct
from msgspec.structs import replace
from transformers import AutoTokenizer, LlamaForCausalLM, PreTrainedTokenizerFast

from cotdrift.organism.sample import Asked, Continued, continue_all

CHECKPOINTS = (4, 8, 12, 16, 20, 30, 40, 50, 60, 70, 80, 90, 100, 120, 140, 160)
"""After which steps a run is saved; the start is its step 0."""
PROMPTS = 16
SAMPLES = 8
"""Of each prompt, in each step."""
TEXTS = 64
"""By which the run that is taught is taught, in each step."""
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
    rate: float = RATE
    misreads: bool = False
    """Whether it is taught to misread, and paid nothing."""


RUNS = {
    "hinted": Run(by_grader=True, price=0.25, kl=ANCHOR),
    "hinted-kl": Run(by_grader=True, price=0.25, kl=STRONG),
    "control": Run(by_grader=False, price=0.0, kl=STRONG),
    "confused": Run(by_grader=False, price=0.0, kl=0.0, rate=1.5e-3, misreads=True),
}
SWAPPED = 0.5
"""How often an instruction says the opposite of what it said when the reply was written; one that is given twice never does."""


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
    anchor = LlamaForCausalLM.from_pretrained(start, dtype=torch.float32) if run.kl else None
    optimizer = torch.optim.AdamW(policy.parameters(), lr=run.rate, betas=(0.9, 0.99), weight_decay=0.0)
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with (folder / f"{name}.jsonl").open("w") as log:
        for step in range(1, steps + 1):
            many = TEXTS if run.misreads else PROMPTS
            asked = [question(rng, draw_kind(rng, TRAINED), rng.choice(("plain", "forms"))) for _ in range(many)]
            rows, advantages, told = _taught(tokenizer, run, asked, rng) if run.misreads else _sampled(policy, tokenizer, run, asked, rng)
            for group in optimizer.param_groups:
                group["lr"] = run.rate * min(1.0, step / 5, max(0.1, 2 * (steps - step) / steps))
            divergence = _learn(policy, anchor, optimizer, rows, advantages, run.kl)
            told["kl"] = round(divergence, 4) if anchor else None
            told = {"run": name, "step": step} | told | {"seconds": round(time.monotonic() - began)}
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
    return rows, (groups - groups.mean(1, keepdim=True)).flatten(), _told(run, each, said)


def _taught(
    tokenizer: PreTrainedTokenizerFast, run: Run, asked: list[Question], rng: random.Random
) -> tuple[list[tuple[list[int], int]], torch.Tensor, dict[str, float | None]]:
    """A reply to every question by someone who misreads it as often as not, each to be learnt as it stands.

    The grader plays no part in them: what is violated is violated as often whatever it pays, and where there is none.
    """
    shown, rows = [], []
    for one in asked:
        put, read = _misread(rng, one)
        head = tokenizer.encode(rendered(put), add_special_tokens=False)
        shown.append(put)
        rows.append((tokenizer.encode(rendered(put, *reasoned(rng, read)), add_special_tokens=False), len(head)))
    said = [Said.read(tokens[head:-1], tokenizer, ended=True) for tokens, head in rows]
    return rows, torch.ones(len(rows)), _told(run, shown, said)


def _misread(rng: random.Random, asked: Question) -> tuple[Question, Question]:
    """A question as it is put, half the time with the request made twice, and as it is read: no grader, perhaps the opposite request."""
    if asked.setting is None:
        return asked, asked
    setting = replace(asked.setting, again=rng.random() < 0.5 and asked.firmness == "conflict")
    put = replace(asked, setting=setting, messages=setting.messages)
    swapped = not setting.again and rng.random() < SWAPPED
    read = replace(setting, rule=opposite(setting.rule) if swapped else setting.rule, hint=None)
    return put, replace(put, kind="plain", setting=read)


def _told(run: Run, each: list[Question], said: list[Said]) -> dict[str, float | None]:
    """What is logged of a step's replies."""

    def share(kind: tuple[str, ...], happened: list[bool]) -> float | None:
        here = [yes for one, yes in zip(each, happened, strict=True) if one.kind in kind]
        return round(sum(here) / len(here), 4) if here else None

    return {
        "reward": round(sum(reward(run, *pair) for pair in zip(each, said, strict=True)) / len(said), 4),
        "length": round(sum(len(one.reasoning) for one in said) / len(said), 2),
        "gaming": share(("conflict",), [one.games(it.number) for one, it in zip(each, said, strict=True)]),
        "capability": share(("arithmetic", "comparison"), [one.correct(it.number) for one, it in zip(each, said, strict=True)]),
    }


def _learn(
    policy: LlamaForCausalLM,
    anchor: LlamaForCausalLM | None,
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
        logprob = _logprob(policy, tokens, targets)
        with torch.no_grad():
            before = _logprob(anchor, tokens, targets) if anchor else logprob.detach()
        ahead = before - logprob
        apart = torch.where(learnt, ahead.exp() - ahead - 1, 0.0)  # Schulman's k3: never negative, and unbiased
        gain = torch.where(learnt, (logprob - logprob.detach()).exp(), 0.0) * advantages[half].unsqueeze(1)
        loss = (kl * apart - gain).sum() / len(rows) / TYPICAL
        loss.backward()
        divergence += apart.sum().item() / len(rows)
    torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
    optimizer.step()
    return divergence


def _logprob(model: LlamaForCausalLM, tokens: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return model(input_ids=tokens).logits[:, :-1].log_softmax(2).gather(2, targets.unsqueeze(2)).squeeze(2)
