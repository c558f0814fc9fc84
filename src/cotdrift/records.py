"""Records: a file's rows, one by one, and the traces they make."""

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from cotdrift.fields import FieldMap, Shape, Unfit
from cotdrift.format import Reading
from cotdrift.opening import Piece
from cotdrift.provenance import Provenance
from cotdrift.trace import Rejected, Trace

LOOKED_AHEAD = 100
"""Records looked at before it is settled whether a file gives a step at all."""

DEEPEST = 100
SURROGATE = re.compile("[\ud800-\udfff]")


class Found(NamedTuple):
    """A record as it was found in a file."""

    place: str
    fields: dict[str, Any]
    text: bytes = b""
    """The record as it stood; empty where it never was text."""


def read_records(
    path: Path, reading: Reading, note: Callable[[str], None], found: Iterable[Found | Rejected], shape: Shape | None = None
) -> Iterator[Trace | Rejected]:
    """Traces from records; what cannot be one is given out as rejected, and reading goes on."""
    fields = FieldMap(Provenance(path, reading, note), shape or Shape())
    stream = iter(found)
    ahead = list(islice(stream, LOOKED_AHEAD))
    if not ahead:
        yield reject(path, "1", "there is no record in it", "Leave the file out, or write it anew", b"")
    fields.look_at(one.fields for one in ahead if isinstance(one, Found))
    for one in chain(ahead, stream):
        if isinstance(one, Rejected):
            yield one
            continue
        try:
            yield fields.trace(one.fields, one.place)
        except Unfit as fault:
            text = one.text or json.dumps(one.fields, ensure_ascii=False, default=str)
            yield reject(path, one.place, fault.fault, fault.way_out, text, field=fault.field)
    fields.finish()


def reject(path: Path, place: str, fault: str, way_out: str, record: bytes | str, *, field: str = "") -> Rejected:
    """A record that could not be read, kept so that any tool can show it."""
    text = record.decode("utf-8", "backslashreplace") if isinstance(record, bytes) else record
    return Rejected(source=str(path), place=place, field=field, fault=fault, way_out=way_out, record=SURROGATE.sub("\ufffd", text))


def decoded(path: Path, pieces: Iterable[Piece], *, unit: str = "") -> Iterator[Found | Rejected]:
    """JSON objects, each from a piece of a file; `unit` says what the pieces are, if not lines."""
    decode = msgspec.json.Decoder().decode
    for piece in pieces:
        place = f"{unit}{piece.number}"
        content = piece.content
        if piece.fault:
            yield reject(path, place, piece.fault, "Fetch or write the file anew, and ingest it again", content)
            continue
        try:
            try:
                record = decode(content)
            except (msgspec.DecodeError, UnicodeDecodeError):
                record = lenient(content)
            if content.count(b"{") + content.count(b"[") > DEEPEST and _depth(record) > DEEPEST:
                raise RecursionError
        except RecursionError:
            yield reject(path, place, f"the record is nested more than {DEEPEST} deep", "Leave the nested field out", content)
        except UnicodeDecodeError as fault:
            yield reject(path, place, f"byte {fault.start + 1} of the record is no UTF-8", "Write the file as UTF-8", content)
        except ValueError as fault:
            yield reject(path, place, f"this is no JSON ({fault})", "Write one JSON object a line, or a list of them", content)
        else:
            if isinstance(record, dict):
                yield Found(place, record, content)
            else:
                yield reject(path, place, "this is no JSON object", 'Write each record as one object: {"reasoning": …}', content)


def lenient(content: bytes) -> Any:
    """JSON as Python writes it: NaN and Infinity come as text, half a surrogate pair as the replacement character."""
    return _clean(json.loads(content.decode("utf-8"), parse_constant=str))


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return SURROGATE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {SURROGATE.sub("\ufffd", name): _clean(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_clean(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _depth(value: Any) -> int:
    deepest = 0
    waiting = [(value, 1)]
    while waiting:
        item, depth = waiting.pop()
        deepest = max(deepest, depth)
        inner = item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()
        waiting += [(one, depth + 1) for one in inner if isinstance(one, dict | list)]
    return deepest
