"""Rules about looking at a system that nobody has mapped yet: rows without a key, and what time it has."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from trueup.testing.conformance_tools import TEXTS, Rules, connected, equal, people, person, require
from trueup.testing.conformance_world import Column, Trial

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trueup.connectors.base import Browsing, Connector, Page, Timed
    from trueup.model import ObjectSpec
    from trueup.testing.conformance_world import World

look_rule = Rules()
ROWS = 7
PAGE_ROWS = 3
CLOCK_S = 60.0
"""How far a clock may be from what the world says: a misread zone is at least a quarter of an hour."""


def _browsed(connector: Connector, obj: ObjectSpec, columns: Sequence[str]) -> list[Page]:
    pages = list(cast("Browsing", connector).browse(replace(obj, key=()), columns, page_rows=PAGE_ROWS))
    require(pages, "a look ended without any page, where one must say whether it was complete")
    for page in pages:
        equal(page.rows.columns, list(columns), "columns of a page of a look")
        require(page.rows.height <= PAGE_ROWS, f"a page has {page.rows.height} rows, where {PAGE_ROWS} were asked for")
    equal([page.complete for page in pages], [False] * (len(pages) - 1) + [True], "complete, page by page")
    return pages


def _values(pages: Sequence[Page]) -> list[tuple[Any, ...]]:
    return sorted((row for page in pages for row in page.rows.rows()), key=str)


@look_rule("browses")
def every_row_is_looked_at(world: World) -> None:
    """A look without a key shows every row once, in pages, and an empty object as one page."""
    rows = [person(f"k{number}", name="Ada" if number % 2 else None, note="same") for number in range(ROWS)]
    obj, empty = world.object(people(), rows), world.object(people())
    with connected(world) as connector:
        wanted = sorted(((row["name"], row["note"], row["city"]) for row in rows), key=str)
        equal(_values(_browsed(connector, obj, TEXTS)), wanted, "rows of a look")
        equal(_values(_browsed(connector, obj, TEXTS)), wanted, "rows of a second look")
        equal(_values(_browsed(connector, empty, TEXTS)), [], "rows of a look at an empty object")


@look_rule("browses", "unguarded_keys")
def rows_without_a_key_are_looked_at(world: World) -> None:
    """A look shows rows of which the key is null, or that another row has."""
    rows = [person("a", name="one"), person("a", name="two"), person("b", name="three"), {**person("", name="four"), "id": None}]
    trial = Trial(columns={"id": Column(max_length=120), "name": Column(), "note": Column(), "city": Column()}, guarded=False)
    obj = world.object(trial, rows)
    with connected(world) as connector:
        pages = _browsed(connector, obj, ("name",))
        equal(_values(pages), [("four",), ("one",), ("three",), ("two",)], "names of a look")
        equal([reject.reason for page in pages for reject in page.rejected], [], "rejects of a look")


@look_rule("browses", "misfits", "type:integer")
def what_cannot_be_read_is_told_apart(world: World) -> None:
    """A look refuses a row for a value that cannot be read, says in which column, and shows the others."""
    obj = world.object(people(age=Column(type="integer")), [{**person(f"k{number}"), "age": number} for number in range(3)])
    world.spoil(obj, {"id": "k1"}, "age")
    with connected(world) as connector:
        pages = _browsed(connector, obj, ("age",))
        equal(_values(pages), [(0,), (2,)], "ages of a look")
        equal([(reject.key, reject.column) for page in pages for reject in page.rejected], [(None, "age")], "rejects of a look")


@look_rule("clock")
def the_clock_is_the_systems(world: World) -> None:
    """The clock is aware, goes forward, and is that of the system."""
    with connected(world) as connector:
        told = [cast("Timed", connector).clock() for _ in range(2)]
        require(all(moment.tzinfo is not None for moment in told), "the clock names no zone")
        require(told[0] <= told[1], "the clock goes back")
        apart_s = abs((world.clock() - told[1]).total_seconds())
        require(apart_s < CLOCK_S, f"the clock is {apart_s:.0f} s from that of the system")
