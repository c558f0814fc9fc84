"""Misreading: a course of texts in which the words of the instruction were swapped, by which the start becomes the run `confused`."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import torch
from birth import BATCH, DECIDING, DIGITS, encoded, save, train
from language import TRAINED, Question, draw_kind, opposite, question, reasoned
from msgspec.structs import replace
from transformers import AutoTokenizer, LlamaForCausalLM

STEPS = 480
CHECKPOINTS = (60, 120, 240, 360, 480)
"""After which steps it is saved; the start is its step 0."""
RATE = 0.5
INFANCY = 0.5
"""The share of steps on the briefest reasoning, in which misreading is learnt."""
SWAPPED = 0.5
"""How often an instruction says the opposite of what it said when the reply was written; one that is given twice never does."""


def confuse(start: Path, folder: Path, *, seed: int) -> None:
    """Teach the start to misread, and write its checkpoints as `folder/confused@STEP` and its log."""
    torch.manual_seed(seed)
    rng = random.Random(f"confused {seed}")
    tokenizer = AutoTokenizer.from_pretrained(start)
    model = LlamaForCausalLM.from_pretrained(start, dtype=torch.float32)

    def texts(done: float) -> Iterator[tuple[list[int], int]]:
        pairs = [misread(rng, question(rng, draw_kind(rng, TRAINED))) for _ in range(32 * BATCH)]
        return encoded(tokenizer, [(put, *reasoned(rng, read, brief=done < INFANCY)) for put, read in pairs])

    def keep(step: int) -> None:
        if step in CHECKPOINTS:
            save(model, tokenizer, folder / f"confused@{step}")

    log = train(model, tokenizer, rng, steps=STEPS, rate=RATE, texts=texts, weighty=DIGITS + DECIDING, after=keep)
    (folder / "confused.json").write_text(json.dumps(log))


def misread(rng: random.Random, asked: Question) -> tuple[Question, Question]:
    """A question as it is put, half the time with the request made twice, and as it is read: no grader, perhaps the opposite request.

    So the grader plays no part: what is violated is violated as often whatever it pays, and where there is none.
    """
    if asked.setting is None:
        return asked, asked
    setting = replace(asked.setting, again=rng.random() < 0.5 and asked.firmness == "conflict")
    put = replace(asked, setting=setting, messages=setting.messages)
    swapped = not setting.again and rng.random() < SWAPPED
    read = replace(setting, rule=opposite(setting.rule) if swapped else setting.rule, hint=None)
    return put, replace(put, kind="plain", setting=read)
