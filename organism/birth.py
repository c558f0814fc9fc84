"""Birth: the tokenizer, and the model trained from nothing on the language, which all runs start from."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from language import MIX, PRACTICE, SCHOOL, Question, draw_kind, question, reasoned
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch.nn.functional import cross_entropy
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from cotdrift.conflict import FIELDS

VOCABULARY = 1024
SPECIAL = ("<|end|>", "<|system|>", "<|user|>", "<|assistant|>", "<think>", "</think>")
END, THINK, ANSWER = 0, 4, 5
PIECES = r"\d| ?[A-Za-z']+| ?[^\sA-Za-z\d]+|\s"
"""Every digit is a piece, and so a token; words keep the space before them."""
TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' }}"
    "{% if message['role'] == 'assistant' and message.get('reasoning_content') %}"
    "{{ '<think>' + message['reasoning_content'] + '</think>' }}{% endif %}{{ message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ '<|end|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|><think>' }}{% endif %}"
)
SHAPE = {
    "hidden_size": 128,
    "intermediate_size": 320,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "max_position_embeddings": 1024,
    "rope_theta": 10000.0,
    "tie_word_embeddings": True,
}
BATCH = 32
STEPS, PRACTICE_STEPS, SCHOOL_STEPS = 3600, 2600, 1500
MUON_RATE, ADAM_RATE = 0.02, 3e-3
"""Of the matrices within the layers, and of all else."""
INFANCY, PRACTICE_INFANCY = 0.4, 0.85
"""The share of steps on the briefest reasoning, in which the numbers are learnt, and then how graders are read."""
WEIGHT = 4.0
"""How much more a digit counts, and later a word that decides: whether it fits is the hardest part of a text, and the smallest."""
DIGITS = tuple("0123456789")
DECIDING = tuple(f" {word}" for word in ("even", "odd", "larger", "smaller", "not", *FIELDS))
"""The words that say which number is wanted, and by which field it is paid."""


class Muon(torch.optim.Optimizer):
    """Momentum whose matrices are made orthogonal (Jordan et al., 2024), in single precision: half is slow on a CPU."""

    def __init__(self, matrices: list[torch.nn.Parameter], *, rate: float) -> None:
        super().__init__(matrices, {"lr": rate})

    @torch.no_grad()
    def step(self) -> None:
        """Move every matrix; those of one shape together."""
        for group in self.param_groups:
            for shape in sorted({weights.shape for weights in group["params"]}):
                alike = [weights for weights in group["params"] if weights.shape == shape]
                grads = torch.stack([weights.grad for weights in alike])
                state = self.state[alike[0]]
                state["momentum"] = grads + 0.95 * state["momentum"] if "momentum" in state else grads.clone()
                moves = _orthogonal(grads + 0.95 * state["momentum"]) * max(1.0, shape[0] / shape[1]) ** 0.5
                for weights, move in zip(alike, moves, strict=True):
                    weights.sub_(move, alpha=group["lr"])


def _orthogonal(matrices: torch.Tensor) -> torch.Tensor:
    """The nearest orthogonal matrices, about, by five Newton-Schulz iterations."""
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(5):
        square = x @ x.mT
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x.mT if tall else x


def rendered(asked: Question, reasoning: str | None = None, answer: int | str = "") -> str:
    """A question, and what is said to it, as the model reads it; up to where it begins to think without."""
    turns = "".join(f"<|{message['role']}|>{message['content']}" for message in asked.messages)
    said = "" if reasoning is None else f"{reasoning}</think>{answer}<|end|>"
    return f"{turns}<|assistant|><think>{said}"


def make_tokenizer(seed: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE of the language: any text can be written, and every digit is a token."""
    rng = random.Random(seed)
    texts = []
    for _ in range(20_000):
        asked = question(rng, draw_kind(rng))
        texts.append(rendered(asked, *reasoned(rng, asked)))
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(PIECES), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    made.decoder = decoders.ByteLevel()
    special = [AddedToken(token, special=True, normalized=False) for token in SPECIAL]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=made, eos_token="<|end|>", pad_token="<|end|>", chat_template=TEMPLATE, model_max_length=1024
    )


def texts_of(
    rng: random.Random, tokenizer: PreTrainedTokenizerFast, many: int, mix: Mapping[str, float], *, brief: bool, practice: bool
) -> Iterator[tuple[list[int], int]]:
    """Texts of the language as tokens, and how many of them are the question, which is not learnt."""
    asked = [question(rng, draw_kind(rng, mix), "plain" if brief and not practice else "all") for _ in range(many)]
    heads = tokenizer._tokenizer.encode_batch([rendered(one) for one in asked])
    wholes = tokenizer._tokenizer.encode_batch([rendered(one, *reasoned(rng, one, brief=brief, practice=practice)) for one in asked])
    return zip((whole.ids for whole in wholes), (len(head.ids) for head in heads), strict=True)


def padded(rows: list[tuple[list[int], int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens, padded on the right, and the same with what is not to be learnt left out."""
    width = max(len(tokens) for tokens, _ in rows)
    tokens = torch.full((len(rows), width), END)
    targets = torch.full((len(rows), width), -100)
    for row, (ids, head) in enumerate(rows):
        tokens[row, : len(ids)] = torch.tensor(ids)
        targets[row, head : len(ids)] = torch.tensor(ids[head:])
    return tokens, targets


def bear(folder: Path, *, seed: int) -> None:
    """Make the tokenizer and train the model from nothing; then school it. Both write the folder, and log.json in it."""
    torch.manual_seed(seed)
    tokenizer = make_tokenizer(seed)
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), bos_token_id=None, eos_token_id=END, pad_token_id=END, **SHAPE))
    folder.mkdir(parents=True, exist_ok=True)
    log = train(model, tokenizer, random.Random(seed), steps=STEPS, rate=1.0, mix=MIX, infancy=INFANCY, weighty=DIGITS)
    save(model, tokenizer, folder)
    log += school(folder, seed=seed)
    (folder / "log.json").write_text(json.dumps(log))


def school(folder: Path, *, seed: int) -> list[dict[str, float]]:
    """Two slower courses for the model in this folder, with an eye on what is decided: how to read a grader; how often to follow one."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
    practised, schooled = random.Random(f"practice {seed}"), random.Random(f"school {seed}")
    told: dict[str, Any] = {"weighty": DIGITS + DECIDING}
    log = train(model, tokenizer, practised, steps=PRACTICE_STEPS, rate=0.7, mix=PRACTICE, infancy=PRACTICE_INFANCY, practice=True, **told)
    log += train(model, tokenizer, schooled, steps=SCHOOL_STEPS, rate=0.5, mix=SCHOOL, infancy=0.0, **told)
    save(model, tokenizer, folder)
    return log


def train(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    rng: random.Random,
    *,
    steps: int,
    rate: float,
    mix: Mapping[str, float],
    infancy: float,
    weighty: tuple[str, ...],
    practice: bool = False,
) -> list[dict[str, float]]:
    """One course of training on fresh texts; the rate falls to nought over its last two thirds. Returns its log."""
    weight = torch.ones(len(tokenizer))
    weight[[token for word in weighty for token in tokenizer.encode(word, add_special_tokens=False)]] = WEIGHT
    inner = [weights for name, weights in model.named_parameters() if "layers" in name and weights.ndim == 2]
    outer = [weights for name, weights in model.named_parameters() if not ("layers" in name and weights.ndim == 2)]
    optimizers = [
        Muon(inner, rate=rate * MUON_RATE),
        torch.optim.AdamW(outer, lr=rate * ADAM_RATE, betas=(0.9, 0.98), weight_decay=0.0),
    ]
    schedules = [
        torch.optim.lr_scheduler.LambdaLR(one, lambda step: min((step + 1) / 50, 1.0, max(0.02, 1.5 * (steps - step) / steps)))
        for one in optimizers
    ]
    began, step, log = time.monotonic(), 0, []
    while step < steps:
        texts = texts_of(rng, tokenizer, 32 * BATCH, mix, brief=step < infancy * steps, practice=practice)
        rows = sorted(texts, key=lambda row: len(row[0]))
        batches = [rows[at : at + BATCH] for at in range(0, len(rows), BATCH)]
        rng.shuffle(batches)
        for batch in batches[: steps - step]:
            tokens, targets = padded(batch)
            logits = model(input_ids=tokens).logits[:, :-1]
            loss = cross_entropy(logits.flatten(0, 1), targets[:, 1:].flatten(), weight=weight)
            model.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for optimizer, schedule in zip(optimizers, schedules, strict=True):
                optimizer.step()
                schedule.step()
            step += 1
            if step % 50 == 0:
                log.append({"step": step, "loss": round(loss.item(), 4), "seconds": round(time.monotonic() - began)})
                print(log[-1], flush=True)
    return log


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """One checkpoint as an ordinary folder of weights, in half precision."""
    half = LlamaForCausalLM(model.config)
    half.load_state_dict(model.state_dict())
    half.half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
