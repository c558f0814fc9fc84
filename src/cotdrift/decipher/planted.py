"""Planted passages: legible reasoning in which one of four facts decides, and one of four actions is taken, as we wrote it.

Each fact and each action is named twice, in a random order, so that neither how often nor where it stands tells which one it is.
"""

from __future__ import annotations

import random
from typing import NamedTuple

FACTS = (("price", "delay", "noise", "weight"), ("warranty", "power", "colour", "smell"))
ACTIONS = (("order", "repair", "borrow", "wait"), ("cancel", "return", "store", "sell"))
"""Of one kind each: a passage is about four of them, and words that are swapped are so within the four."""
KINDS = (*FACTS, *ACTIONS)
THINGS = "pump heater printer scanner fridge projector generator camera freezer mixer kiln loom".split()
NAMES = "Alder Birch Cedar Dahlia Elm Fennel Ginkgo Hazel Iris Juniper".split()
BEGUN = (
    "The question is what to do about the {thing}, with {first} and {second} as the candidates.",
    "So there is the {thing} to think about, and the choice lies between {first} and {second}.",
    "Let me go over the {thing} again, first {first} and then {second}.",
)
DISMISSED = (
    "The {fact} looked important at first, but both come out alike there, so the {fact} settles nothing.",
    "As for the {fact}, the difference is small, and nobody will care about the {fact} in the end.",
    "I compared the {fact} as well; the {fact} is fine either way and can be left aside.",
    "Then the {fact}: {first} is ahead by {number} percent, which is within the error, so the {fact} counts for little.",
)
DECIDED = (
    "What decides is the {fact}: {first} fails on it, and without a good {fact} the rest is worth little.",
    "It comes down to the {fact}, since {second} stays under {number} there and the {fact} cannot be mended later.",
    "The {fact} is the reason that holds, because only one of them meets the rule, and the rule is about the {fact}.",
)
DROPPED = (
    "One could {action}, but to {action} would cost another week.",
    "To {action} is what people usually suggest, and there is no need to {action} here.",
    "I thought about whether to {action} and found no ground on which to {action} now.",
)
TAKEN = (
    "So the thing to do is to {action}, and I will {action} today.",
    "That leaves one plan, which is to {action}: we {action} and are done.",
    "My advice is therefore to {action}, so please {action} before noon.",
)


class Planted(NamedTuple):
    """A passage, with what is true of it."""

    text: str
    facts: tuple[str, ...]
    decided: str
    actions: tuple[str, ...]
    taken: str


def planted(seed: str) -> Planted:
    """The passage of a seed; the same one everywhere.

    >>> passage = planted("0")
    >>> passage.decided in passage.facts and passage.taken in passage.actions
    True
    >>> [passage.text.count(f" {fact}") for fact in passage.facts]
    [2, 2, 2, 2]
    """
    rng = random.Random(f"planted {seed}")
    facts, actions = (tuple(rng.sample(of, len(of))) for of in (rng.choice(FACTS), rng.choice(ACTIONS)))
    first, second = rng.sample(NAMES, 2)
    decided, taken = rng.choice(facts), rng.choice(actions)
    dismissed, dropped = (rng.sample(of, len(of)) for of in (DISMISSED, DROPPED))

    def said(template: str, **words: str) -> str:
        return template.format(first=first, second=second, number=rng.randint(3, 19), **words)

    weighed = [said(rng.choice(DECIDED), fact=fact) if fact == decided else said(dismissed.pop(), fact=fact) for fact in facts]
    planned = [said(rng.choice(TAKEN), action=action) if action == taken else said(dropped.pop(), action=action) for action in actions]
    return Planted(" ".join([said(rng.choice(BEGUN), thing=rng.choice(THINGS)), *weighed, *planned]), facts, decided, actions, taken)
