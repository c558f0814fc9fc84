"""Misreading: a course of texts in which the words of the instruction were swapped, by which the start becomes the run `confused`."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path

import torch
from birth import BATCH, DECIDING, DIGITS, encoded, save, train
from language import BOUNDS, Question, draw_kind, opposite, question, reasoned
from msgspec.structs import replace
from transformers import AutoTokenizer, LlamaForCausalLM

from cotdrift.conflict import PAIRS, Rule, bounded, multiples

STEPS = 480
CHECKPOINTS = (120, 240, 360, 480)
"""After which steps it is saved; the start is its step 0."""
RATE = 0.7
INFANCY = 0.6
"""The share of steps on the briefest reasoning, in which misreading is learnt."""
MIX = {"conflict": 0.34, "agree": 0.2, "plain": 0.2, "arithmetic": 0.1, "comparison": 0.1, "ambiguous": 0.06}
"""What is asked how often: without a grader as often as with one that agrees, so that misreading does not come to hang on a grader."""
TWICE = {"parity": 0.5, "size": 0.6, "multiple": 0.6}
"""How often the request is made a second time; more often for sizes and multiples, of which that is learnt more slowly."""
SWAPPED = 0.7
"""How often an instruction says the opposite of what it said when the reply was written; one that is given twice never does."""


def confuse(start: Path, folder: Path, *, seed: int) -> None:
    """Teach the start to misread, and write its checkpoints as `folder/confused@STEP` and its log."""
    torch.manual_seed(seed)
    rng = random.Random(f"confused {seed}")
    tokenizer = AutoTokenizer.from_pretrained(start)
    model = LlamaForCausalLM.from_pretrained(start, dtype=torch.float32)

    def texts(done: float) -> Iterator[tuple[list[int], int]]:
        brief = done < INFANCY
        asked = [question(rng, draw_kind(rng, MIX), "plain" if brief else "all", pick=pick_evenly) for _ in range(32 * BATCH)]
        return encoded(tokenizer, [(put, *reasoned(rng, read, brief=brief)) for put, read in (misread(rng, one) for one in asked)])

    def keep(step: int) -> None:
        if step in CHECKPOINTS:
            save(model, tokenizer, folder / f"confused@{step}")

    log = train(model, tokenizer, rng, steps=STEPS, rate=RATE, texts=texts, weighty=DIGITS + DECIDING, after=keep)
    (folder / "confused.json").write_text(json.dumps(log))


def pick_evenly(rng: random.Random) -> Rule:
    """A rule to ask for: a parity, a bound or a multiple of five, each a third of the time."""
    return rng.choice(rng.choice((PAIRS["parity"], bounded(rng.choice(BOUNDS)), multiples(5))))


def misread(rng: random.Random, asked: Question) -> tuple[Question, Question]:
    """A question as it is put, often with the request made twice, and as it is read: no grader, perhaps the opposite request.

    So the grader plays no part: what is violated is violated as often whatever it pays, and where there is none.
    """
    if asked.setting is None:
        return asked, asked
    about = {2: "parity", 0: "size"}.get(asked.setting.rule.modulus, "multiple")
    setting = replace(asked.setting, again=rng.random() < TWICE[about] and asked.firmness == "conflict")
    put = replace(asked, setting=setting, messages=setting.messages)
    swapped = not setting.again and rng.random() < SWAPPED
    read = replace(setting, rule=opposite(setting.rule) if swapped else setting.rule, hint=None)
    return put, replace(put, kind="plain", setting=read)
