"""What the systems of an entity hold, as a count and a checksum: to see whether anything moved between two looks."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trueup.core.cells import KEY
from trueup.core.fingerprint import VERSION, native_fingerprint
from trueup.errors import TrueupError

if TYPE_CHECKING:
    from collections.abc import Callable

    from trueup.model import Entity
    from trueup.runtime.systems import Seat, Systems

_MASK = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Content:
    """One system's rows of one entity: how many take part, how many cannot be read, and the sum over all of them.

    The sum is of the keys and the mapped columns as the system has them, whatever the order of rows; `when modified` does not count.
    """

    rows: int
    unreadable: int
    checksum: str


def contents(
    systems: Systems, entity: Entity, tick: Callable[[str, str, int], None] | None = None
) -> tuple[dict[str, Content], dict[str, str]]:
    """What each system holds now, in the order of precedence; and why a system could not be read. Only reads."""
    seats, errors = systems.seats(entity, only_look=True, make=False)
    found: dict[str, Content] = {}
    problems = {name: str(error) for name, error in errors.items()}
    if not seats:
        return found, problems
    with ThreadPoolExecutor(max_workers=len(seats), thread_name_prefix="contents") as pool:
        tasks = {name: pool.submit(_content, entity, seat, tick) for name, seat in seats.items()}
    for name, task in tasks.items():
        try:
            found[name] = task.result()
        except TrueupError as error:
            error.system = error.system or name
            problems[name] = str(error)
    return found, problems


def _content(entity: Entity, seat: Seat, tick: Callable[[str, str, int], None] | None) -> Content:
    rows = unreadable = total = 0
    columns = [KEY, *seat.compiled.value_columns]
    for page in seat.connector.read(seat.mapping.object, seat.compiled.read_columns):
        if tick is not None:
            tick(entity.name, seat.name, page.rows.height)
        taking = page.rows.filter(seat.compiled.takes_part(page.rows))
        rows += taking.height
        unreadable += len(page.rejected)
        total += sum(native_fingerprint(taking, columns).to_list()) if taking.height else 0
    return Content(rows, unreadable, f"{VERSION}:{total & _MASK:016x}")
