"""Writing a zip file again with a few members changed: every other member keeps its bytes, compressed as they are, in the same order.

Source: PKWARE APPNOTE 6.3.10 (§4.3.7 local header, §4.3.12 central directory, §4.3.16 end record).
"""

from __future__ import annotations

import struct
import tempfile
import zlib
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    import zipfile
    from collections.abc import Callable, Iterable, Mapping

COPY_BYTES = 1 << 20
IN_MEMORY_BYTES = 32 * 1024 * 1024
LIMIT = 0xFFFF_FFFF  # beyond, a zip file needs fields that this module does not write
MAX_MEMBERS = 0xFFFF

_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_UTF8_NAME = 0x800
_DEFLATED = 8
_ZIP64_EXTRA = 1
_VERSION = 20
_FIRST_DAY = (0, 0x21)  # midnight of 1 January 1980, as zip files count


class TooLargeError(Exception):
    """The new file would pass the 4 GB that a plain zip file can hold."""


@dataclass(slots=True)
class _Member:
    """A member's central record (mutable copy) and where its bytes stand in the old file."""

    name: str
    record: bytearray
    start: int
    end: int


def rewrite(
    file: IO[bytes],
    archive: zipfile.ZipFile,
    changed: Mapping[str, Iterable[bytes]],
    write: Callable[[bytes], None],
    *,
    added: Mapping[str, bytes] | None = None,
) -> None:
    """Write the archive in `file` again through `write`, with new content for the members in `changed`, and `added` ones at the end.

    Raises TooLargeError, and whatever `write` and the contents raise.
    """
    members = _members(file, archive)
    position = 0
    for member in sorted(members, key=lambda each: each.start):
        if position > LIMIT:
            raise TooLargeError
        new_start = position
        if member.name in changed:
            position += _write_changed(file, member, changed[member.name], write)
        else:
            position += _copy(file, member.start, member.end, write)
        struct.pack_into("<L", member.record, 42, new_start)
    for name, content in (added or {}).items():
        members.append(_Member(name, _new_record(name), 0, 0))
        struct.pack_into("<L", members[-1].record, 42, position)
        position += _write_member(members[-1].record, name.encode(), b"", (_UTF8_NAME, *_FIRST_DAY), [content], write)
    size = 0
    for member in members:
        write(bytes(member.record))
        size += len(member.record)
    if position + size > LIMIT or len(members) > MAX_MEMBERS:
        raise TooLargeError
    comment = archive.comment
    write(_END.pack(b"PK\x05\x06", 0, 0, len(members), len(members), size, position, len(comment)) + comment)


def _members(file: IO[bytes], archive: zipfile.ZipFile) -> list[_Member]:
    """All members in the order of the central directory."""
    infos = archive.infolist()
    starts = sorted(info.header_offset for info in infos)
    following = dict(zip(starts, [*starts[1:], archive.start_dir], strict=True))
    file.seek(archive.start_dir)
    members = []
    for info in infos:
        fixed = file.read(_CENTRAL.size)
        fields = _CENTRAL.unpack(fixed)
        record = bytearray(fixed + file.read(fields[10] + fields[11] + fields[12]))
        if fields[16] == LIMIT:
            raise TooLargeError
        members.append(_Member(info.filename, record, info.header_offset, following[info.header_offset]))
    return members


def _copy(file: IO[bytes], start: int, end: int, write: Callable[[bytes], None]) -> int:
    file.seek(start)
    left = end - start
    while left:
        block = file.read(min(left, COPY_BYTES))
        if not block:
            raise EOFError
        write(block)
        left -= len(block)
    return end - start


def _write_changed(file: IO[bytes], member: _Member, content: Iterable[bytes], write: Callable[[bytes], None]) -> int:
    """Write a member's new content under its old name, time and attributes; its central record is brought up to date."""
    file.seek(member.start)
    fields = _LOCAL.unpack(file.read(_LOCAL.size))
    name = file.read(fields[9])
    extra = _without_zip64(file.read(fields[10]))
    return _write_member(member.record, name, extra, (fields[2] & _UTF8_NAME, *fields[4:6]), content, write)


def _write_member(
    record: bytearray,
    name: bytes,
    extra: bytes,
    head: tuple[int, int, int],
    content: Iterable[bytes],
    write: Callable[[bytes], None],
) -> int:
    """Write one member compressed, and its facts into its central record; `head` is flags, time, date. Returns the bytes written."""
    with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES) as packed:
        crc, size = _deflate(content, packed.write)
        packed_size = packed.tell()
        if max(size, packed_size) >= LIMIT:
            raise TooLargeError
        flags, *when = head
        local = _LOCAL.pack(b"PK\x03\x04", _VERSION, flags, _DEFLATED, *when, crc, packed_size, size, len(name), len(extra))
        write(local + name + extra)
        packed.seek(0)
        while block := packed.read(COPY_BYTES):
            write(block)
    _update_record(record, flags, crc, packed_size, size)
    return len(local) + len(name) + len(extra) + packed_size


def _new_record(name: str) -> bytearray:
    encoded = name.encode()
    fields = (_VERSION, _VERSION, _UTF8_NAME, _DEFLATED, *_FIRST_DAY, 0, 0, 0, len(encoded), 0, 0, 0, 0, 0, 0)
    return bytearray(_CENTRAL.pack(b"PK\x01\x02", *fields) + encoded)


def _deflate(content: Iterable[bytes], write: Callable[[bytes], int]) -> tuple[int, int]:
    """Checksum and size of the content, after writing it compressed."""
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    crc = size = 0
    for block in content:
        crc = zlib.crc32(block, crc)
        size += len(block)
        write(packer.compress(block))
    write(packer.flush())
    return crc, size


def _update_record(record: bytearray, flags: int, crc: int, packed_size: int, size: int) -> None:
    name_length, extra_length = struct.unpack_from("<2H", record, 28)
    extra_start = _CENTRAL.size + name_length
    extra = _without_zip64(bytes(record[extra_start : extra_start + extra_length]))
    record[extra_start : extra_start + extra_length] = extra
    struct.pack_into("<3H", record, 6, _VERSION, flags, _DEFLATED)
    struct.pack_into("<3L", record, 16, crc, packed_size, size)
    struct.pack_into("<H", record, 30, len(extra))


def _without_zip64(extra: bytes) -> bytes:
    kept, place = b"", 0
    while place + 4 <= len(extra):
        identity, length = struct.unpack_from("<2H", extra, place)
        if identity != _ZIP64_EXTRA:
            kept += extra[place : place + 4 + length]
        place += 4 + length
    return kept + extra[place:]
