"""Raw harmony text: conversations of gpt-oss with their channels, one after the other."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cotdrift.conversation import HARMONY, harmony_message, join, merged
from cotdrift.format import Format, Reading
from cotdrift.opening import LONGEST_RECORD, BrokenOff, Piece, chunks
from cotdrift.records import Found, read_records, reject
from cotdrift.trace import Message, Rejected, Trace

END = re.compile(rb"<\|return\|>|(?=<\|start\|>system<\|message\|>)(?<!\A)")
"""Where a conversation ends: the model has returned, or the next one begins."""


def _matches(path: Path, first: bytes) -> int:
    return 2 if first[:100].lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"<|start|>", b"<|channel|>")) and b"<|message|>" in first else 0


def _read(path: Path, reading: Reading, note: Callable[[str], None]) -> Iterator[Trace | Rejected]:
    return read_records(path, reading, note, _conversations(path))


def _conversations(path: Path) -> Iterator[Found | Rejected]:
    for piece in _pieces(path):
        place = f"conversation {piece.number}"
        if piece.fault:
            yield reject(path, place, piece.fault, "Fetch or write the file anew", piece.content[:4096])
            continue
        try:
            text = piece.content.decode("utf-8")
        except UnicodeDecodeError as fault:
            yield reject(path, place, f"byte {fault.start + 1} of the conversation is no UTF-8", "Write the file as UTF-8", piece.content)
            continue
        messages = merged(harmony_message(match) for match in HARMONY.finditer(text))
        if not messages:
            yield reject(
                path,
                place,
                "there is no message in it",
                "Harmony has messages as <|start|>role<|channel|>name<|message|>text<|end|>",
                piece.content,
            )
            continue
        last = messages[-1]
        boilerplate = join(
            message.content for message in messages if message.role == "system"
        )  # it holds the date, and so no question's identity
        yield Found(
            place,
            {
                "messages": [_chat_message(message) for message in messages if message.role != "system"],
                "system": boilerplate,
                "truncated": bool(last.reasoning)
                and not last.content
                and not text.rstrip().endswith(("<|end|>", "<|return|>", "<|call|>")),
            },
            piece.content,
        )


def _chat_message(message: Message) -> dict[str, Any]:
    calls = [{"function": call.function, "arguments": call.arguments} for call in message.tool_calls]
    return {"role": message.role, "content": message.content, "reasoning_content": message.reasoning, "tool_calls": calls}


def _pieces(path: Path) -> Iterator[Piece]:
    number, waiting, fault = 1, b"", ""
    stream = chunks(path)
    more = True
    while more:
        fresh: list[bytes] = []
        more = False
        try:
            for chunk in stream:
                fresh.append(chunk)
                if more := sum(map(len, fresh)) >= len(waiting):  # what is looked through again must not be long against what is new
                    break
        except BrokenOff as broken:
            fault = f"{broken}; the conversations before are read, what follows is lost"
        waiting = b"".join((waiting, *fresh))
        start = 0
        for match in END.finditer(waiting):
            if waiting[start : match.end()].strip():
                yield Piece(number, waiting[start : match.end()])
                number += 1
            start = match.end()
        waiting = waiting[start:]
        if len(waiting) > LONGEST_RECORD:
            yield Piece(number, waiting, f"the conversation is longer than {LONGEST_RECORD} bytes, the most that is read as one record")
            return
    if waiting.strip() or fault:
        yield Piece(number, waiting, fault)


HARMONY_TEXT = Format(name="harmony", looks_for="text that begins with <|start|> or <|channel|>", matches=_matches, read=_read)
