"""A conversation as the text that a checkpoint goes on from, and its reply as reasoning and answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec import Struct, structs

from cotdrift.chat_template import ANSWER, THINK
from cotdrift.errors import InputError

if TYPE_CHECKING:
    from cotdrift.organism.checkpoints import Checkpoint


class Reply(Struct, frozen=True):
    """What was said, or is put into the mouth of, an assistant."""

    reasoning: str | None = None
    """None when it does not reason at all."""
    answer: str | None = None
    """None when it is still reasoning."""


class Turn(Struct, frozen=True):
    """A message of a conversation."""

    role: str
    said: Reply
    """Reasoning is an assistant's alone."""


class Opening(Struct, frozen=True):
    """Where a checkpoint goes on from."""

    text: str
    given: Reply | None = None
    """What of the reply is given already: None when it begins to speak."""
    reasons: bool = False
    """Whether what it says next is reasoning."""

    def reply(self, text: str) -> Reply:
        """What is said, given part and all, once the checkpoint went on with this text."""
        given = self.given or Reply()
        if not self.reasons:
            if self.given is None and text.lstrip().startswith(THINK):  # a checkpoint whose template leaves the tag to it
                return read_reply(text)
            return structs.replace(given, answer=(given.answer or "") + text)
        reasoning, closed, answer = ((given.reasoning or "") + text).partition(ANSWER)
        return Reply(reasoning, answer if closed else None)

    def new(self, text: str) -> Reply:
        """The same without what was given."""
        given, whole = self.given or Reply(), self.reply(text)
        reasoning = None if not self.reasons and given.reasoning is not None else whole.reasoning
        return Reply(
            None if reasoning is None else reasoning[len(given.reasoning or "") :],
            None if whole.answer is None else whole.answer[len(given.answer or "") :],
        )


def read_reply(text: str) -> Reply:
    """Reasoning and answer of a text that may begin with `<think>`.

    >>> read_reply("<think>Two and two"), read_reply("<think>Easy.</think>4"), read_reply("4")
    (Reply(reasoning='Two and two', answer=None), Reply(reasoning='Easy.', answer='4'), Reply(reasoning=None, answer='4'))
    """
    if not text.lstrip().startswith(THINK):
        return Reply(None, text)
    reasoning, closed, answer = text.lstrip().removeprefix(THINK).partition(ANSWER)
    return Reply(reasoning, answer if closed else None)


def opening(checkpoint: Checkpoint, turns: Sequence[Turn], *, go_on: bool = False) -> Opening:
    """The text that a checkpoint goes on from. With `go_on` the last turn is not over: what it says is the beginning of the reply.

    A last turn that only reasons is gone on with in the middle of its reasoning: nothing closes it.
    """
    if checkpoint.tokenizer.chat_template is None:
        raise InputError(
            f"{checkpoint.folder}: the tokenizer has no chat template. Save one with it, or send whole texts to /v1/completions."
        )
    before, given = (turns[:-1], turns[-1].said) if go_on and turns else (turns, None)
    asked = str(checkpoint.tokenizer.apply_chat_template([_message(turn) for turn in before], tokenize=False, add_generation_prompt=True))
    opened = asked.rstrip().endswith(THINK)
    if given is None:
        return Opening(asked, None, opened)
    if given.reasoning is None:
        return Opening((asked.rstrip().removesuffix(THINK) if opened else asked) + (given.answer or ""), given, False)
    thought = (asked if opened else asked + THINK) + given.reasoning
    return Opening(thought, given, True) if given.answer is None else Opening(f"{thought}{ANSWER}{given.answer}", given, False)


def _message(turn: Turn) -> dict[str, str]:
    message = {"role": turn.role, "content": turn.said.answer or ""}
    return message if turn.said.reasoning is None else message | {"reasoning_content": turn.said.reasoning}
