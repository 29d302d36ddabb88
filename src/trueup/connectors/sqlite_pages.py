"""The pages of a database file, as they are while a transaction of the SQLite library keeps them so.

The library shows rows, never pages. They are read from the file itself, by its documented form (https://www.sqlite.org/fileformat2.html),
while a reading transaction is open on it elsewhere in this process:

in the rollback modes, nobody writes into the file before that transaction ends;
in WAL mode, what was committed may stand in the log, and be copied into the file at any time. The log's index tells how far the log goes
    (https://www.sqlite.org/walformat.html). Where it tells the same before the transaction began and after it, that is how far the
    transaction sees. If all of that was copied into the file, then the file alone is what it sees, and nobody writes into it;
    otherwise nobody begins the log anew, and pages are taken from it first.

Handles on the file that are closed drop this process's locks on it: see sqlite_turns.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

_MAGIC = b"SQLite format 3\x00"
_ROLLBACK, _WAL = b"\x01\x01", b"\x02\x02"  # the version numbers to write and to read
_PAGE_SIZES = [1 << power for power in range(9, 17)]
_INDEX_HEADER = 48  # there twice
_INDEX_VERSION = 3_007_000
_LOG_HEADER, _FRAME_HEADER = 32, 24
_RUN_BYTES = 1 << 20


class PageFile:
    """The pages of one database file; `look` is asked first, within the transaction."""

    def __init__(self, path: Path) -> None:
        """Open the file. Raises OSError."""
        self._path = str(path)
        self._handles: list[int] = []
        self._kept: dict[str, int] = {}
        self._in_log: dict[int, int] = {}  # page number -> where it stands in the log
        self.page_size = 0
        self.usable = 0
        self.encoding = 0
        self.has_log = False
        self._open("", os.O_RDONLY)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        while self._handles:
            os.close(self._handles.pop())

    def _open(self, suffix: str, flags: int) -> int:
        """The file that now goes by this name; opened again where it is another one. Raises OSError."""
        there = Path(self._path + suffix).stat()
        handle = self._kept.get(suffix)
        if handle is None or not os.path.samestat(os.fstat(handle), there):
            handle = os.open(self._path + suffix, flags | getattr(os, "O_CLOEXEC", 0))
            self._handles.append(handle)
            self._kept[suffix] = handle
        return handle

    def log_index(self) -> bytes | None:
        """How far the log goes, as its index has it at this moment; None where there is none, or it is just being written.

        It is opened for writing, although nothing is written: where that is refused, the library does not trust it either.
        """
        try:
            twice = os.pread(self._open("-shm", os.O_RDWR), 2 * _INDEX_HEADER, 0)
        except OSError:
            return None
        first, second = twice[:_INDEX_HEADER], twice[_INDEX_HEADER:]
        if first != second or len(first) < _INDEX_HEADER or struct.unpack_from("=I", first)[0] != _INDEX_VERSION or first[12] != 1:
            return None
        return first

    def look(self, index_before: bytes | None) -> bool:
        """See where the pages stand that the transaction just begun sees; `index_before` is `log_index` from before it began.

        False where that cannot be told: the file is another one by now, is no database, or its log went on meanwhile.
        Raises OSError, ValueError.
        """
        before, handle = self._kept[""], self._open("", os.O_RDONLY)
        header = os.pread(handle, 100, 0)
        if handle != before or len(header) < 100 or not header.startswith(_MAGIC):
            return False
        size = struct.unpack_from(">H", header, 16)[0]
        self.page_size = 65_536 if size == 1 else size
        self.usable = self.page_size - header[20]
        if self.page_size not in _PAGE_SIZES:
            return False
        self._in_log = {}
        self.has_log = header[18:20] == _WAL
        if not self.has_log and header[18:20] != _ROLLBACK:
            return False
        if self.has_log and (index_before is None or index_before != self.log_index() or not self._look_into_log(index_before)):
            return False
        self.encoding = struct.unpack_from(">I", self.page(1), 56)[0]
        return True

    def _look_into_log(self, index: bytes) -> bool:
        page_size, frames = struct.unpack_from("=HI", index, 14)
        copied = struct.unpack("=I", os.pread(self._kept["-shm"], 4, 2 * _INDEX_HEADER))[0]
        if copied >= frames:
            return True
        if (65_536 if page_size == 1 else page_size) != self.page_size:
            return False
        handle, salt = self._open("-wal", os.O_RDONLY), index[32:40]
        for at in range(_LOG_HEADER, _LOG_HEADER + frames * (_FRAME_HEADER + self.page_size), _FRAME_HEADER + self.page_size):
            head = os.pread(handle, _FRAME_HEADER, at)
            if len(head) < _FRAME_HEADER or head[8:16] != salt:
                return False
            self._in_log[struct.unpack_from(">I", head)[0]] = at + _FRAME_HEADER
        return True

    def page(self, number: int) -> bytes:
        """One page. Raises OSError; ValueError where there is no such page."""
        return self.pages([number])[0]

    def pages(self, numbers: Sequence[int]) -> list[bytes]:
        """Several pages; those that follow each other in the file are read at once. Raises as `page`."""
        size, found = self.page_size, list[bytes]()
        while len(found) < len(numbers):
            number, run = numbers[len(found)], 1
            if number < 1:
                raise ValueError(f"there is no page {number}")
            if number in self._in_log:
                block = os.pread(self._kept["-wal"], size, self._in_log[number])
            else:
                run = self._run(numbers, len(found))
                block = os.pread(self._kept[""], size * run, (number - 1) * size)
            if len(block) != size * run:
                raise ValueError(f"there is no page {number + len(block) // size}")
            found += [block[at : at + size] for at in range(0, size * run, size)]
        return found

    def _run(self, numbers: Sequence[int], first: int) -> int:
        """How many of the numbers from one on follow each other in the file."""
        last = min(len(numbers), first + _RUN_BYTES // self.page_size)
        end = first + 1
        while end < last and numbers[end] == numbers[end - 1] + 1 and numbers[end] not in self._in_log:
            end += 1
        return end - first
