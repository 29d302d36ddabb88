"""The leaves of a table: pages of rows in the order of row numbers, each with a digest of all that its rows are made of.

A table is a tree of pages (https://www.sqlite.org/fileformat2.html#b_tree_pages). A page within tells which row numbers are below which
page; a leaf holds rows, of which long ones go on in a chain of pages of their own. Leaves with equal digests hold the same rows, byte for
byte and under the same row numbers, wherever in the file they are.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from operator import sub
from typing import TYPE_CHECKING

import xxhash

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trueup.connectors.sqlite_pages import PageFile

DIGEST_BYTES = 16
_WITHIN, _LEAF = 5, 13
_DEEPEST = 40  # no tree of at most 2**32 pages is as deep
_AT_ONCE = 64  # leaves read at a time


class BrokenTreeError(ValueError):
    """The pages are no tree of rows: the file is broken, or not in the form that is documented."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """One leaf: its rows have numbers above `low` and up to `high` (None: no bound); there are `rows` of them, on pages of `size` bytes."""

    low: int | None
    high: int | None
    rows: int
    size: int
    digest: bytes


def leaves(file: PageFile, root: int, after: int | None, seed: int) -> Iterator[Leaf]:
    """The leaves that may hold rows with numbers above `after` (None: all), in order. Raises OSError, BrokenTreeError."""
    try:
        waiting: list[tuple[int | None, int | None, int]] = []
        for place in _places(file, root, after):
            waiting.append(place)
            if len(waiting) == _AT_ONCE:
                yield from _read(file, waiting, seed)
                waiting = []
        yield from _read(file, waiting, seed)
    except (ValueError, IndexError, struct.error) as error:
        raise BrokenTreeError(str(error)) from error


def _read(file: PageFile, places: Sequence[tuple[int | None, int | None, int]], seed: int) -> Iterator[Leaf]:
    for (low, high, _number), page in zip(places, file.pages([number for _low, _high, number in places]), strict=True):
        yield Leaf(low, high, *_digest(file, page, seed))


def _places(file: PageFile, root: int, after: int | None) -> Iterator[tuple[int | None, int | None, int]]:
    """(low, high, page number) of the leaves; all of them are equally deep."""
    depth, number = 0, root
    while (page := file.page(number))[0] == _WITHIN:
        depth, number = depth + 1, _below(page)[0][0]
        if depth > _DEEPEST:
            raise BrokenTreeError("the tree has no end")
    yield from _under(file, root, depth, (None, None), after)


def _under(
    file: PageFile, number: int, depth: int, bounds: tuple[int | None, int | None], after: int | None
) -> Iterator[tuple[int | None, int | None, int]]:
    low, last = bounds
    if depth == 0:
        yield low, last, number
        return
    page = file.page(number)
    if page[0] != _WITHIN:
        raise BrokenTreeError(f"page {number} is not what it should be")
    for child, bound in _below(page):
        high = last if bound is None else bound
        if high is None or after is None or high > after:
            if depth == 1:
                yield low, high, child
            else:
                yield from _under(file, child, depth - 1, (low, high), after)
        low = high


def _below(page: bytes) -> list[tuple[int, int | None]]:
    """(page number, highest row number) of the pages below one within the tree; the last has no bound of its own."""
    cells = struct.unpack_from(f">{struct.unpack_from('>H', page, 3)[0]}H", page, 12)
    found: list[tuple[int, int | None]] = [(struct.unpack_from(">I", page, at)[0], _signed(_number(page, at + 4)[0])) for at in cells]
    return [*found, (struct.unpack_from(">I", page, 8)[0], None)]


def _digest(file: PageFile, page: bytes, seed: int) -> tuple[int, int, bytes]:
    """How many rows a leaf has, the bytes of its pages, and its digest; `seed` goes into it."""
    if page[0] != _LEAF:
        raise BrokenTreeError("a leaf is not what it should be")
    rows = page[3] << 8 | page[4]
    cells = struct.unpack_from(f">{rows}H", page, 8)
    # A row that goes on elsewhere takes at least so much of its leaf. Nearly always the space between rows shows that there is none.
    least = (file.usable - 12) * 32 // 255 - 23
    ends = sorted(cells)
    ends.append(file.usable)
    if rows and max(map(sub, ends[1:], ends)) >= least:
        chains = [chain for at in cells if (chain := _chain(file, page, at, least)) is not None]
        if chains:
            whole = xxhash.xxh3_128(page, seed=seed)
            size = len(page) + sum(_add_chain(file, whole, first, left) for first, left in chains)
            return rows, size, whole.digest()
    return rows, len(page), xxhash.xxh3_128_digest(page, seed)


def _chain(file: PageFile, page: bytes, at: int, least: int) -> tuple[int, int] | None:
    """Where a row goes on: first page, and how many bytes are there; None for a row that is whole in its leaf."""
    size, begin = _number(page, at)
    begin = _number(page, begin)[1]
    if size <= file.usable - 35:
        return None
    here = least + (size - least) % (file.usable - 4)
    if here > file.usable - 35:
        here = least
    return struct.unpack_from(">I", page, begin + here)[0], size - here


def _add_chain(file: PageFile, whole: xxhash.xxh3_128, number: int, left: int) -> int:
    """Digest the pages of a row that goes on; the bytes of these pages."""
    size = 0
    while left > 0:
        page = file.page(number)
        whole.update(page[4 : file.usable])
        number, left, size = struct.unpack_from(">I", page)[0], left - (file.usable - 4), size + len(page)
    return size


def _number(page: bytes, at: int) -> tuple[int, int]:
    """A number of one to nine bytes, and where it ends."""
    value = 0
    for end in range(at, at + 8):
        byte = page[end]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, end + 1
    return value << 8 | page[at + 8], at + 9


def _signed(number: int) -> int:
    return number - (1 << 64) if number >> 63 else number
