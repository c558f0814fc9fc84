"""Opening a file: its bytes, unpacked where it is compressed, and the lines or JSON values in them."""

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LONGEST_RECORD = 256 * 2**20
"""Bytes of one record beyond which it is rejected and not read."""

CHUNK = 2**20
HEAD = 2**20
SHOWN = 4096
"""How much is kept of a record that is too long to keep whole."""

SUFFIXES = (".gz", ".zst")
GZIP = b"\x1f\x8b"
ZSTD = b"\x28\xb5\x2f\xfd"


class BrokenOff(Exception):
    """Compressed data that end too early or are damaged; what came before was given out."""


@dataclass(frozen=True)
class Piece:
    """A part of a file that should be one record."""

    number: int
    """Which line, or which element, counted from 1."""
    content: bytes
    fault: str = ""
    """Why it cannot be one; empty when nothing speaks against it."""


def bare_name(path: Path) -> str:
    """The file's name without what says how it is compressed.

    >>> bare_name(Path("runs/step_100.jsonl.gz"))
    'step_100.jsonl'
    """
    return path.name.removesuffix(path.suffix) if path.suffix in SUFFIXES else path.name


def head(path: Path) -> bytes:
    """The first bytes of a file, unpacked; fewer where they are damaged, none for a folder."""
    if path.is_dir():
        return b""
    parts: list[bytes] = []
    size = 0
    try:
        for chunk in chunks(path):
            parts.append(chunk)
            size += len(chunk)
            if size >= HEAD:
                break
    except BrokenOff:
        pass
    return b"".join(parts)[:HEAD]


def chunks(path: Path) -> Iterator[bytes]:
    """The bytes of a file, unpacked, about a megabyte at a time."""
    with path.open("rb") as opened:
        packed = iter(lambda: opened.read(CHUNK), b"")
        first = next(packed, b"")
        if first.startswith(GZIP):
            yield from _gunzip(_chain(first, packed))
        elif first.startswith(ZSTD):
            yield from _unzstd(_chain(first, packed))
        elif first:
            yield first
            yield from packed


def _chain(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _gunzip(packed: Iterator[bytes]) -> Iterator[bytes]:
    member = zlib.decompressobj(wbits=31)
    begun = False
    for data in packed:
        while data:
            if not begun and not (data := data.lstrip(b"\0")):  # members may be padded with zeros
                break
            begun = True
            try:
                out = member.decompress(data, CHUNK)
            except zlib.error as fault:
                raise BrokenOff(f"the gzip data are damaged ({fault})") from None
            if out:
                yield out
            data = member.unused_data if member.eof else member.unconsumed_tail
            if member.eof:
                member, begun = zlib.decompressobj(wbits=31), False
    if begun:
        raise BrokenOff("the gzip data end too early")


def _unzstd(packed: Iterator[bytes]) -> Iterator[bytes]:
    import zstandard  # only paid by who reads such files

    unpacker = zstandard.ZstdDecompressor(max_window_size=2**31)
    frame = unpacker.decompressobj()
    begun = False
    for data in packed:
        for start in range(0, len(data), 4096):  # small bites: what a bite unpacks to has no other bound
            bite = data[start : start + 4096]
            while bite:
                begun = True
                try:
                    out = frame.decompress(bite)
                except zstandard.ZstdError as fault:
                    raise BrokenOff(f"the zstd data are damaged ({fault})") from None
                if out:
                    yield out
                bite = frame.unused_data if frame.eof else b""
                if frame.eof:
                    frame, begun = unpacker.decompressobj(), False
    if begun:
        raise BrokenOff("the zstd data end too early")


def lines(path: Path) -> Iterator[Piece]:
    """The lines of a file that hold something, without their ends; never more of them in memory than one and a chunk."""
    number = 1
    begun: list[bytes] = []
    size = 0
    broken = ""
    stream = chunks(path)
    while True:
        try:
            chunk = next(stream, b"")
        except BrokenOff as fault:
            chunk, broken = b"", str(fault)
        if not chunk:
            break
        first, *others = chunk.split(b"\n")
        size += len(first)
        if size <= LONGEST_RECORD or not begun:
            begun.append(first)
        if others:
            yield from _line(number, b"".join(begun), size)
            for other in others[:-1]:
                number += 1
                yield from _line(number, other, len(other))
            number += 1
            begun, size = [others[-1]], len(others[-1])
    if broken:
        yield Piece(number, b"".join(begun), f"{broken}; the lines before are read, what follows is lost")
    else:
        yield from _line(number, b"".join(begun), size)


def _line(number: int, line: bytes, size: int) -> Iterator[Piece]:
    if number == 1:
        line = line.removeprefix(b"\xef\xbb\xbf")
    if size > LONGEST_RECORD:
        yield Piece(number, line[:SHOWN], f"the line is {size} bytes long, and {LONGEST_RECORD} are the most that is read as one record")
    elif line and not line.isspace():
        yield Piece(number, line)


TOKEN = re.compile(rb'[^"{}\[\]]*+("(?:[^"\\]++|\\.)*+"|[{}\[\]])', re.DOTALL)
"""The next text or bracket; none matches while a text has no end."""

SCALAR = re.compile(rb"[^\s,:\[\]{}\"]+")
SPACE = re.compile(rb"\s*")


def json_values(path: Path, *, within: str = "") -> Iterator[tuple[str, Piece]]:
    """The values of a JSON file one by one: the elements of its list, or all values when there are several, each with an empty name.

    With `within`, the file is one object: each field is given as (name, value), and the list in the field `within` element by element.
    No more than the value at hand is in memory. Where the JSON is not well formed, the last piece says so.
    """
    text = _Text(chunks(path))
    number = 1
    try:
        if within:
            number = 0
            text.take(b"{")
            while text.next() not in (b"}", b""):
                name = text.value()[1:-1].decode("utf-8", "replace")
                text.take(b":")
                if name == within and text.next() == b"[":
                    for number, value in enumerate(text.elements(), start=1):
                        yield within, Piece(number, value)
                    number += 1
                else:
                    yield name, Piece(0, text.value())
                text.skip(b",")
            text.take(b"}")
        elif text.next() == b"[":
            for value in text.elements():
                yield "", Piece(number, value)
                number += 1
        else:
            while text.next():
                yield "", Piece(number, text.value())
                number += 1
    except BrokenOff as fault:
        yield within, Piece(number, text.rest(), f"{fault}; the values before are read, what follows is lost")


class _Text:
    """JSON text that arrives in chunks; what was passed is forgotten."""

    def __init__(self, stream: Iterator[bytes]) -> None:
        self.stream = stream
        self.text = b""
        self.at = 0
        self.begun = False

    def next(self) -> bytes:
        """The next byte that is no space; empty at the end."""
        while True:
            self.at = SPACE.match(self.text, self.at).end()  # type: ignore[union-attr]  # matches the empty text too
            if self.at < len(self.text):
                return self.text[self.at : self.at + 1]
            if not self._more():
                return b""

    def take(self, mark: bytes) -> None:
        """Go past this byte, which must come next."""
        found = self.next()
        if found != mark:
            raise BrokenOff(
                f"the JSON is not well formed: {mark.decode()!r} is missing" if found else "the JSON ends in the middle of a value"
            )
        self.at += 1

    def skip(self, mark: bytes) -> None:
        if self.next() == mark:
            self.at += 1

    def elements(self) -> Iterator[bytes]:
        """The values of the list that comes next."""
        self.take(b"[")
        while self.next() not in (b"]", b""):
            yield self.value()
            self.skip(b",")
        self.take(b"]")

    def value(self) -> bytes:
        """The value that comes next, as it stands."""
        first = self.next()
        if first not in b'{["' or not first:
            return self._scalar()
        depth = 0
        seen = self.at
        while True:
            match = TOKEN.match(self.text, seen)
            if match is None:
                quote = self.text.find(b'"', seen)
                waits = (quote if quote >= 0 else len(self.text)) - self.at
                if not self._more():
                    raise BrokenOff("the JSON ends in the middle of a value")
                seen = self.at + waits
                continue
            token = match[1][:1]
            seen = match.end()
            depth += (token in b"{[") - (token in b"}]")
            if depth <= 0:
                value = self.text[self.at : seen]
                self.at = seen
                return value

    def _scalar(self) -> bytes:
        while (match := SCALAR.match(self.text, self.at)) is not None and match.end() == len(self.text):
            if not self._more():
                break
        match = SCALAR.match(self.text, self.at)
        if match is None or match.group()[:1] not in b"-0123456789tfnNI":
            raise BrokenOff("the JSON is not well formed")
        self.at = match.end()
        return match.group()

    def _more(self) -> bool:
        """Fetch at least as much as is waiting, so that a long value is not looked through again and again."""
        waiting = self.text[self.at :]
        if len(waiting) > LONGEST_RECORD:
            raise BrokenOff(f"a value is longer than {LONGEST_RECORD} bytes, the most that is read as one record")
        parts = [waiting]
        size = 0
        for chunk in self.stream:
            parts.append(chunk)
            size += len(chunk)
            if size >= len(waiting):
                break
        self.text, self.at = b"".join(parts), 0
        if not self.begun:
            self.text, self.begun = self.text.removeprefix(b"\xef\xbb\xbf"), True
        return size > 0

    def rest(self) -> bytes:
        return self.text[self.at : self.at + SHOWN]


def field_names(text: bytes) -> frozenset[str]:
    """The names of the fields of the first JSON object in a text, as far as the text goes.

    >>> sorted(field_names(b'{"input": "a", "more": {"deep": 1}, "output": "cut o'))
    ['input', 'more', 'output']
    """
    names = set()
    depth = 0
    at = 0
    while match := TOKEN.match(text, at):
        at = match.end()
        token = match[1][:1]
        if token == b'"':
            if depth == 1 and text[at : at + 2].lstrip()[:1] == b":":
                names.add(match[1][1:-1].decode("utf-8", "replace"))
        elif token == b"{" or depth:
            depth += 1 if token in b"{[" else -1
            if depth <= 0:
                break
    return frozenset(names)


def starts_with_lines(first: bytes) -> bool:
    """Whether a file that begins so has a JSON object on its first line.

    >>> starts_with_lines(b'{"a": 1}\\n{"a": 2}'), starts_with_lines(b'{\\n  "a": 1\\n}'), starts_with_lines(b"[1]")
    (True, False, False)
    """
    line, end, _ = first.removeprefix(b"\xef\xbb\xbf").lstrip().partition(b"\n")
    if not line.startswith(b"{"):
        return False
    return line.rstrip().endswith(b"}") or (not end and len(first) >= HEAD)
