"""Rules about readings that several processes share: the parts together are one reading of one moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from trueup.errors import SystemError_
from trueup.testing.conformance_tools import TEXTS, Listing, Rules, connected, equal, people, person, raises, require, texts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trueup.connectors.base import Connector, Part, Parted
    from trueup.model import ObjectSpec
    from trueup.testing.conformance_world import Row, World

part_rule = Rules()
ROWS = 120
PART_BYTES = 8_000
PAGE_ROWS = 10
LONG = "a note that makes the row long enough, so that the object is worth cutting: " * 4


def _many(world: World) -> ObjectSpec:
    return world.object(people(), [person(f"k{number:03}", name=f"name {number}", note=LONG) for number in range(ROWS)])


def _read(connector: Connector, obj: ObjectSpec, parts: Sequence[Part], columns: Sequence[str] = TEXTS) -> dict[str, Row]:
    """All parts, one after the other: rows by key."""
    pages = []
    for part in parts:
        read = list(cast("Parted", connector).read_part(obj, columns, part, page_rows=PAGE_ROWS))
        require(read, "a part ended without any page, where one must say whether it was complete")
        equal([page.complete for page in read], [False] * (len(read) - 1) + [True], "complete, page by page of a part")
        require(max(page.rows.height for page in read) <= PAGE_ROWS, f"a page has more rows than the {PAGE_ROWS} asked for")
        pages += read
    return Listing(pages).by_key()


@part_rule("parts")
def parts_show_every_row_once(world: World) -> None:
    """The parts of a reading show every row once, as one reading would."""
    obj, empty = _many(world), world.object(people())
    wanted = texts(world, obj)
    with connected(world) as connector:
        with cast("Parted", connector).parts(obj, part_bytes=PART_BYTES) as parts:
            require(len(parts) > 1, f"{ROWS} rows are not cut into parts of {PART_BYTES:,} bytes")
            equal(_read(connector, obj, parts), wanted, "rows of all parts")
            equal(_read(connector, obj, [*reversed(parts)]), wanted, "rows of all parts, the last one first")
            equal(sorted(_read(connector, obj, parts, [])), sorted(wanted), "keys of all parts")
        with cast("Parted", connector).parts(obj, count=3) as parts:
            equal(_read(connector, obj, parts) if parts else wanted, wanted, "rows of about three parts")
        with cast("Parted", connector).parts(empty) as parts:
            equal(_read(connector, empty, parts) if parts else {}, {}, "rows of an empty object")


@part_rule("parts")
def parts_show_one_moment(world: World) -> None:
    """What is edited, made, renamed or removed meanwhile changes no part, whoever reads it."""
    obj = _many(world)
    wanted = texts(world, obj)
    with connected(world) as connector, connected(world) as other, cast("Parted", connector).parts(obj, part_bytes=PART_BYTES) as parts:
        half = len(parts) // 2
        shown = _read(connector, obj, parts[:half])
        world.edit(obj, {"id": "k001"}, {"name": "edited before its part was read again"})
        world.edit(obj, {"id": "k118"}, {"name": "edited before its part was read"})
        world.insert(obj, [person("k000 first", note=LONG), person("z last", note=LONG)])
        world.remove(obj, {"id": "k119"})
        world.remove(obj, {"id": "k002"})
        shown |= _read(other, obj, parts[half:])
        equal(shown, wanted, "rows of the parts, of which the second half was read by another connector after the edits")
        equal(_read(other, obj, parts), wanted, "rows of the same parts, read again")


@part_rule("parts")
def parts_end_with_their_moment(world: World) -> None:
    """A part whose moment is over is refused, and shows nothing of another one."""
    obj = _many(world)
    with connected(world) as connector, connected(world) as other:
        with cast("Parted", connector).parts(obj, part_bytes=PART_BYTES) as parts:
            _read(connector, obj, parts[:1])
        for reader in (connector, other):
            with raises(SystemError_, "a part that is read after its block has ended"):
                _read(reader, obj, parts[:1])
