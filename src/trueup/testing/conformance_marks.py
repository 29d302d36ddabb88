"""Rules about marks: which rows nobody touched since a reading."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from trueup.testing.conformance_tools import TEXTS, Listing, Rules, connected, equal, people, person, require, send, texts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trueup.connectors.base import Connector, Marking
    from trueup.model import ObjectSpec
    from trueup.testing.conformance_world import Row, World

mark_rule = Rules()
ROWS = 10


def _ten(world: World) -> ObjectSpec:
    return world.object(people(), [person(f"k{number}", name=f"name {number}") for number in range(ROWS)])


def _mark(connector: Connector, obj: ObjectSpec) -> str:
    """Name this moment."""
    mark = cast("Marking", connector).mark(obj)
    require(mark is not None, "the connector declares marks and gives none for a plain object")
    return str(mark)


def _read(connector: Connector, obj: ObjectSpec, mark: str) -> str:
    """Read everything, as is done after a mark was taken; the mark that is kept then."""
    list(connector.read(obj, TEXTS))
    return cast("Marking", connector).own(obj, mark)


def _moved(connector: Connector, obj: ObjectSpec, mark: str) -> tuple[dict[str, Row], list[str]]:
    """What a reading since a mark shows: rows by key, and the keys told alone."""
    pages = cast("Marking", connector).moved(obj, TEXTS, mark)
    if pages is None:
        return Listing(list(connector.read(obj, TEXTS))).by_key(), []
    read = Listing(list(pages))
    require(read.complete, "a reading since a mark does not say that it was complete")
    equal([page.complete for page in read.pages[:-1]], [False] * (len(read.pages) - 1), "complete, of the pages before the last")
    same = [key for page in read.pages if page.same is not None for key in page.same.to_list()]
    return read.by_key(), same


def _shows(world: World, obj: ObjectSpec, rows: dict[str, Row], same: Sequence[str], touched: set[str]) -> None:
    """Every row that is there is shown once, and those touched as they are now."""
    now = texts(world, obj)
    equal(sorted([*rows, *same]), sorted(now), "keys of a reading since a mark, of rows and alone")
    equal({key: rows.get(key) for key in touched}, {key: now[key] for key in touched}, "rows touched since the mark")


@mark_rule("marks")
def touched_rows_are_read(world: World) -> None:
    """A reading since a mark shows every row once, and those touched since as they are now."""
    obj = _ten(world)
    with connected(world) as connector:
        mark = _read(connector, obj, _mark(connector, obj))
        _shows(world, obj, *_moved(connector, obj, mark), touched=set())
        world.edit(obj, {"id": "k3"}, {"name": "edited"})
        world.insert(obj, [person("new")])
        world.remove(obj, {"id": "k5"})
        _shows(world, obj, *_moved(connector, obj, mark), touched={"k3", "new"})
        world.edit(obj, {"id": "k3"}, {"name": "name 3"})
        put_back = set() if connector.caps.marks_once else {"k3"}
        _shows(world, obj, *_moved(connector, obj, mark), touched={"new"} | put_back)
    with connected(world) as connector:
        _shows(world, obj, *_moved(connector, obj, mark), touched={"new"} | put_back)


@mark_rule("marks")
def marks_hold_from_when_they_were_taken(world: World) -> None:
    """A row touched after a mark was taken is shown by a reading since it, whatever was read or marked in between."""
    obj = _ten(world)
    with connected(world) as connector:
        mark = _mark(connector, obj)
        world.edit(obj, {"id": "k1"}, {"name": "before the reading"})
        mark = _read(connector, obj, mark)
        world.edit(obj, {"id": "k2"}, {"name": "after the reading"})
        later = _read(connector, obj, _mark(connector, obj))
        seen_as_edited = set() if connector.caps.marks_once else {"k1"}
        _shows(world, obj, *_moved(connector, obj, mark), touched={"k2"} | seen_as_edited)
        world.edit(obj, {"id": "k3"}, {"name": "after both"})
        _shows(world, obj, *_moved(connector, obj, later), touched={"k3"})


@mark_rule("marks", "updates")
def own_writes_are_touches(world: World) -> None:
    """A row that the connector itself wrote is shown by a reading since an earlier mark."""
    obj = _ten(world)
    with connected(world) as connector:
        mark = _read(connector, obj, _mark(connector, obj))
        send(connector, obj, "update", [("k4", {"name": "written"})])
        _shows(world, obj, *_moved(connector, obj, mark), touched={"k4"})


@mark_rule("marks", "updates", "creates")
def only_own_writes_may_be_known(world: World) -> None:
    """A mark that knows what the connector wrote knows nothing of what others wrote, before or after, to those rows or others."""
    obj = _ten(world)
    with connected(world) as connector:
        mark = _mark(connector, obj)
        list(connector.read(obj, TEXTS))
        world.edit(obj, {"id": "k1"}, {"name": "before"})
        send(connector, obj, "update", [("k4", {"name": "written"}), ("k5", {"name": "written"})], returning=TEXTS)
        send(connector, obj, "create", [(key, person(key)) for key in ("n1", "n2", "n3")], returning=TEXTS)
        world.edit(obj, {"id": "k2"}, {"name": "after"})
        known = cast("Marking", connector).own(obj, mark)
        _shows(world, obj, *_moved(connector, obj, known), touched={"k1", "k2"})
        world.edit(obj, {"id": "k4"}, {"name": "edited"})
        world.edit(obj, {"id": "n2"}, {"name": "edited"})
        _shows(world, obj, *_moved(connector, obj, known), touched={"k1", "k2", "k4", "n2"})
    with connected(world) as connector:
        _shows(world, obj, *_moved(connector, obj, known), touched={"k1", "k2", "k4", "n2"})


@mark_rule("marks", "updates")
def what_was_put_back_is_shown(world: World) -> None:
    """A row that was written, or read by key, after the listing is shown by the next reading, although it is as it was listed."""
    obj = _ten(world)  # names as long as those before them leave a file's bytes as they were when they are put back
    with connected(world) as connector:
        mark = _mark(connector, obj)
        list(connector.read(obj, TEXTS))
        send(connector, obj, "update", [("k4", {"name": "NAME 4"})], returning=TEXTS)
        world.edit(obj, {"id": "k6"}, {"name": "NAME 6"})
        list(connector.read(obj, TEXTS, keys=["k6"]))
        known = cast("Marking", connector).own(obj, mark)
        world.edit(obj, {"id": "k4"}, {"name": "name 4"})
        world.edit(obj, {"id": "k6"}, {"name": "name 6"})
        _shows(world, obj, *_moved(connector, obj, known), touched={"k4", "k6"})
    with connected(world) as connector:
        _shows(world, obj, *_moved(connector, obj, known), touched={"k4", "k6"})


@mark_rule("marks")
def marks_are_of_one_object(world: World) -> None:
    """The mark of one object says nothing of another."""
    first, second = _ten(world), world.object(people(), [person(f"k{number}", name="another") for number in range(10)])
    with connected(world) as connector:
        mark = _read(connector, first, _mark(connector, first))
        _shows(world, second, *_moved(connector, second, mark), touched=set(texts(world, second)))
