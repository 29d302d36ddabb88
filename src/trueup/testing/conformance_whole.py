"""Rules about batches that land whole, for connectors that declare `atomic`.

What nobody ever sees in part cannot be left in part by whoever is interrupted: one thread writes the batch, another looks at it.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from trueup.testing.conformance_tools import Rules, connected, equal, people, person, send, statuses, stored

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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
