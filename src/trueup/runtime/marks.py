"""Marks between two passes: what a reading left behind, so that the next one need not read everything (`connectors.base.Marking`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from trueup.store import cursor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trueup.connectors.base import Marking
    from trueup.runtime.systems import Seat
    from trueup.store import Store


def take(store: Store, entity: str, seats: Mapping[str, Seat], *, plan: bool) -> dict[str, str]:
    """The marks of these systems' lanes, by system.

    Those that are good only once are taken out of the state, unless for a plan: whatever the pass then teaches the state about single
    rows, and wherever it is interrupted, no later pass goes by them.
    """
    marks: dict[str, str] = {}
    with store.read() as db:
        for name in seats:
            if (mark := cursor.get(db, entity, name).mark) is not None:
                marks[name] = mark
    used_up = [name for name in marks if seats[name].connector.caps.marks_once]
    if used_up and not plan:
        with store.write() as tx:
            for name in used_up:
                cursor.set_(tx, entity, name, mark=None)
    return marks


def after_writing(seat: Seat, mark: str | None, error: str | None) -> str | None:
    """A mark that knows what was written in the pass, where every outcome was kept (no `error`)."""
    if mark is None or error is not None:
        return mark
    return cast("Marking", seat.connector).own(seat.mapping.object, mark)
