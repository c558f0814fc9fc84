"""OpenAI chat: JSON lines of messages, or the output of a batch."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from cotdrift.fields import NAMES
from cotdrift.format import Format, Reading
from cotdrift.opening import field_names, lines, starts_with_lines
from cotdrift.records import Found, decoded, read_records
from cotdrift.trace import Rejected, Trace


def _matches(path: Path, first: bytes) -> int:
    names = field_names(first) if starts_with_lines(first) else frozenset()
    return 2 if names & {"messages", "conversations", "choices"} or {"custom_id", "response"} <= names else 0


def _read(path: Path, reading: Reading, note: Callable[[str], None]) -> Iterator[Trace | Rejected]:
    return read_records(path, reading, note, _choices(decoded(path, lines(path))))


def _choices(found: Iterable[Found | Rejected]) -> Iterator[Found | Rejected]:
    """A line for each choice of a completion; other lines as they are."""
    for one in found:
        if isinstance(one, Rejected):
            yield one
            continue
        response = one.fields.get("response")
        inner = response.get("body") if isinstance(response, dict) else one.fields
        body = inner if isinstance(inner, dict) else {}
        choices = body.get("choices")
        if not isinstance(choices, list) or not choices:
            yield one
            continue
        asked = one.fields.get("messages")
        rest = {name: value for name, value in one.fields.items() if name not in ("response", "choices", "messages", "id")}
        if "custom_id" in rest:
            rest.setdefault(NAMES["prompt_id"][0], rest.pop("custom_id"))
        for choice in choices:
            if isinstance(choice, dict) and isinstance(choice.get("message"), dict):
                said = {"prompt": asked if isinstance(asked, list) else None, "completion": [{"role": "assistant"} | choice["message"]]}
                about = {"model": body.get("model"), "finish_reason": choice.get("finish_reason")}
                yield one._replace(fields=rest | said | about)
            else:
                yield one


CHAT = Format(name="chat", looks_for="JSON lines with messages, or the output of an OpenAI batch", matches=_matches, read=_read)
