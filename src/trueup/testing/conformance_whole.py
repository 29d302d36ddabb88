"""Rules about batches that land whole, for connectors that declare `atomic`, and not any more once they were ended (`fences`).

What nobody ever sees in part cannot be left in part by whoever is interrupted: one thread writes the batch, another looks at it.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from trueup.errors import StateError, SystemUnreachableError, TrueupError
from trueup.testing.conformance_tools import Rules, batch_of, connected, equal, people, person, require, send, statuses, stored

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trueup.connectors.base import Fenced
    from trueup.model import ObjectSpec, OperationKind
    from trueup.testing.conformance_world import Row, World

whole_rule = Rules()

ROWS = 400


def _watched(
    world: World, obj: ObjectSpec, kind: OperationKind, operations: Sequence[tuple[str | None, Row]], done: Callable[[dict[str, Row]], int]
) -> None:
    """Write a batch; whenever the object is looked at meanwhile, either no row of it is `done`, or every one."""

    def write() -> list[Row]:
        with connected(world) as connector:
            return send(connector, obj, kind, operations)

    found = set()
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        while not writing.done():
            found.add(done(stored(world, obj)))
    equal(set(statuses(writing.result())), {"done"}, "statuses of the batch")
    equal(done(stored(world, obj)), len(operations), "rows of the batch that are there in the end")
    equal(sorted(found - {0, len(operations)}), [], f"numbers of rows of a batch of {len(operations)} that were seen while it was written")


@whole_rule("atomic", "updates")
def updates_land_whole(world: World) -> None:
    """Nobody ever sees a part of a batch of updates."""
    obj = world.object(people(), [person(f"k{number}") for number in range(ROWS)])
    operations: list[tuple[str | None, Row]] = [(f"k{number}", {"name": "written"}) for number in range(ROWS)]
    _watched(world, obj, "update", operations, lambda rows: sum(row["name"] == "written" for row in rows.values()))


@whole_rule("atomic", "creates")
def creates_land_whole(world: World) -> None:
    """Nobody ever sees a part of a batch of new rows."""
    obj = world.object(people(), [person("first")])
    operations: list[tuple[str | None, Row]] = [(f"k{number}", person(f"k{number}")) for number in range(ROWS)]
    _watched(world, obj, "create", operations, lambda rows: len(rows) - 1)


@whole_rule("atomic", "deletes")
def deletes_land_whole(world: World) -> None:
    """Nobody ever sees a part of a batch of deletes."""
    obj = world.object(people(), [person(f"k{number}") for number in range(ROWS + 1)])
    operations: list[tuple[str | None, Row]] = [(f"k{number}", {}) for number in range(ROWS)]
    _watched(world, obj, "delete", operations, lambda rows: ROWS + 1 - len(rows))


# ---------------------------------------------------------------- writes that are ended


def _update(world: World, obj: ObjectSpec, lane: str, may_land: Callable[[], None]) -> TrueupError | None:
    """Write to the one row, asking `may_land`; what kept it from landing."""
    with connected(world) as connector:
        batch = batch_of(connector, obj, "update", [("a", {"name": "written"})])
        try:
            outcomes = connector.write(obj, replace(batch, lane=lane, may_land=may_land))
        except TrueupError as error:
            return error
        equal(outcomes["__status"].to_list(), ["done"], "statuses")
        return None


def _ending(world: World, lane: str, ended: list[bool]) -> Callable[[], None]:
    """Ends the writes of a lane by another connection, and notes whether that could be done."""

    def may_land() -> None:
        with connected(world) as other:
            try:
                cast("Fenced", other).end_writes(lane)
            except SystemUnreachableError:
                ended.append(False)
            else:
                ended.append(True)

    return may_land


@whole_rule("fences", "updates")
def an_ended_write_never_lands(world: World) -> None:
    """A write that was ended half-way changes nothing, and says so."""
    obj = world.object(people(), [person("a")])
    ended: list[bool] = []
    trouble = _update(world, obj, "lane", _ending(world, "lane", ended))
    require(ended, "nobody asked whether the write may land")
    equal(trouble is not None, ended[0], "whether the write was refused, and whether it was ended")
    equal(stored(world, obj)["a"]["name"], "Ada" if ended[0] else "written", "the row as stored")
    equal(_update(world, obj, "lane", lambda: None), None, "what keeps the next write of that lane")


@whole_rule("fences", "updates")
def writes_of_other_lanes_are_left_alone(world: World) -> None:
    """To end the writes of one lane harms no other one."""
    obj = world.object(people(), [person("a")])
    ended: list[bool] = []
    equal(_update(world, obj, "lane", _ending(world, "another", ended)), None, "what kept the write from landing")
    equal(ended, [True], "whether the other lane's writes could be ended")
    equal(stored(world, obj)["a"]["name"], "written", "the row as stored")


@whole_rule("fences", "updates")
def what_may_not_land_does_not(world: World) -> None:
    """A write that may not land is taken back."""
    obj = world.object(people(), [person("a")])

    def may_land() -> None:
        raise StateError("somebody else has taken over")

    equal(str(_update(world, obj, "lane", may_land)), "somebody else has taken over", "what kept the write from landing")
    equal(stored(world, obj)["a"]["name"], "Ada", "the row as stored")
