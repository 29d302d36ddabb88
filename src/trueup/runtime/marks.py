"""Marks between two passes: what a reading left behind, so that the next one need not read everything (`connectors.base.Marking`)."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import polars as pl

from trueup.core import quick
from trueup.core.frames import constant
from trueup.store import cursor, unsettled_key

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from trueup.connectors.base import Marking
    from trueup.runtime.systems import Seat
    from trueup.store import Store


def take(store: Store, entity: str, seats: Mapping[str, Seat], *, keep: bool) -> dict[str, str]:
    """The marks of these systems' lanes, by system.

    Those that are good only once are taken out of the state, unless they are to be kept: whatever the pass then teaches the state about
    single rows, and wherever it is interrupted, no later pass goes by them. A pass over single records keeps them (see `read_again`).
    """
    marks: dict[str, str] = {}
    with store.read() as db:
        for name in seats:
            if (mark := cursor.get(db, entity, name).mark) is not None:
                marks[name] = mark
    used_up = [name for name in marks if seats[name].connector.caps.marks_once]
    if used_up and not keep:
        with store.write() as tx:
            for name in used_up:
                cursor.set_(tx, entity, name, mark=None)
    return marks


def read_again(store: Store, entity: str, seat: Seat, keys: Sequence[str], now: datetime) -> None:
    """Have rows read by key in the next pass, before the state learns anything of them while a mark that is good once stays in it.

    Of a value that comes and goes again in the meantime that mark would show nothing.
    """
    if not seat.connector.caps.marks_once or not keys:
        return
    named = quick.series("key", list(dict.fromkeys(keys)), pl.String())
    why = constant("why", "looked at by itself", named.len(), pl.String())
    since = constant("since", now, named.len(), pl.Datetime("us", "UTC"))
    with store.write() as tx:
        unsettled_key.put(tx, entity, seat.name, quick.frame([named, why, since]))


def after_writing(seat: Seat, mark: str | None, error: str | None) -> str | None:
    """A mark that knows what was written in the pass, where every outcome was kept (no `error`)."""
    if mark is None or error is not None:
        return mark
    return cast("Marking", seat.connector).own(seat.mapping.object, mark)
