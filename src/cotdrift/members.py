"""Members: the files in a zip archive, read straight from the mapped file, also from one that breaks off."""

import mmap
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from cotdrift.opening import LONGEST_RECORD, BrokenOff

LOCAL = b"PK\x03\x04"
STORED, DEFLATED, ZSTANDARD = 0, 8, 93
UNKNOWN = 0xFFFFFFFF
LOCAL_HEADER = struct.Struct("<4s2H1H2H3I2H")


class Member(NamedTuple):
    """One file in the archive, still packed."""

    name: str
    method: int
    crc: int
    start: int
    packed: int
    """Bytes it takes in the archive; -1 when its header does not say."""
    unpacked: int


class Archive:
    """A zip file; `broken` says what is wrong with it as a whole, and is empty when nothing is."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.broken = ""

    def __enter__(self) -> Self:
        self.opened = self.path.open("rb")
        self.bytes = mmap.mmap(self.opened.fileno(), 0, access=mmap.ACCESS_READ)
        try:
            self.members = dict(self._listed())
        except (zipfile.BadZipFile, struct.error, ValueError, OSError, NotImplementedError, UnicodeDecodeError) as fault:
            self.members = {member.name: member for member in self._found()}
            self.broken = f"the archive breaks off or is damaged ({str(fault) or type(fault).__name__})"
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> None:
        self.bytes.close()
        self.opened.close()

    def read(self, name: str) -> bytes:
        """What a member holds, unpacked; BrokenOff with a sentence where that cannot be had."""
        member = self.members[name]
        if member.unpacked > LONGEST_RECORD:
            raise BrokenOff(f"it is {member.unpacked} bytes long, and {LONGEST_RECORD} are the most that is read as one record")
        end = member.start + member.packed if member.packed >= 0 else len(self.bytes)
        content = _unpack(memoryview(self.bytes)[member.start : end], member)
        if member.packed >= 0 and zlib.crc32(content) != member.crc:
            raise BrokenOff("its checksum is wrong, so it is damaged")
        return content

    def _listed(self) -> Iterator[tuple[str, Member]]:
        """The members by the archive's own list."""
        with zipfile.ZipFile(self.path) as archive:
            for info in archive.infolist():
                header = self.bytes[info.header_offset : info.header_offset + LOCAL_HEADER.size]
                mark, *_, name, extra = LOCAL_HEADER.unpack(header)
                if mark != LOCAL or info.flag_bits & 1:
                    raise zipfile.BadZipFile(f"{info.filename} is encrypted, or not where the list says")
                start = info.header_offset + LOCAL_HEADER.size + name + extra
                yield info.filename, Member(info.filename, info.compress_type, info.CRC, start, info.compress_size, info.file_size)

    def _found(self) -> Iterator[Member]:
        """The members one after the other, for an archive whose list is missing; those that are there as a whole."""
        at = self.bytes.find(LOCAL)
        while at >= 0 and at + LOCAL_HEADER.size <= len(self.bytes):
            _, _, flags, method, _, _, crc, packed, unpacked, name_length, extra_length = LOCAL_HEADER.unpack_from(self.bytes, at)
            start = at + LOCAL_HEADER.size + name_length + extra_length
            name = self.bytes[at + LOCAL_HEADER.size : at + LOCAL_HEADER.size + name_length].decode("utf-8", "replace")
            if UNKNOWN in (packed, unpacked):
                unpacked, packed = _long_sizes(self.bytes[start - extra_length : start])
            if flags & 8 or packed < 0:  # the sizes stand behind the data, or nowhere
                member = Member(name, method, 0, start, -1, 0)
            else:
                member = Member(name, method, crc, start, packed, unpacked)
            if start + max(member.packed, 0) <= len(self.bytes):
                yield member
            at = self.bytes.find(LOCAL, max(start + max(member.packed, 0), at + 4))


def _long_sizes(extra: bytes) -> tuple[int, int]:
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == 1 and length >= 16:
            unpacked, packed = struct.unpack_from("<QQ", extra, at + 4)
            return unpacked, packed
        at += 4 + length
    return 0, -1


def _unpack(data: memoryview, member: Member) -> bytes:
    try:
        if member.method == STORED:
            return bytes(data)
        if member.method == DEFLATED:
            unpacker = zlib.decompressobj(-15)
            content = unpacker.decompress(data, LONGEST_RECORD)
            if not unpacker.eof:
                raise BrokenOff("it ends too early, or is too long to be one record")
            return content
        if member.method == ZSTANDARD:
            import zstandard  # only paid by who reads such files

            frame = zstandard.ZstdDecompressor(max_window_size=2**31).decompressobj()
            content = frame.decompress(data)
            if not frame.eof:
                raise BrokenOff("it ends too early")
            return content
    except (zlib.error, ValueError) as fault:
        raise BrokenOff(f"it cannot be unpacked ({fault})") from None
    except Exception as fault:  # zstandard's own error is known only where it is imported
        if type(fault).__name__ != "ZstdError":
            raise
        raise BrokenOff(f"it cannot be unpacked ({fault})") from None
    raise BrokenOff(f"it is packed by method {member.method}, which is none of stored, deflated and zstandard")
