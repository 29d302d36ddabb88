"""Retelling: after a mapping changed, the records that all systems tell otherwise and alike, chunk by chunk (`core/retold.py`)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from trueup.core.births import no_births
from trueup.core.cells import GID, KEY
from trueup.core.frames import keep, one_of
from trueup.core.retold import candidates, fields_alike, index_of, retold
from trueup.store import conflict, golden
from trueup.store import shadow as shadow_table

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    import polars as pl

    from trueup.core.facts import Decision
    from trueup.model import Entity
    from trueup.runtime.observation import Observation
    from trueup.runtime.pass_options import PassOptions
    from trueup.store import Db, Store


def retelling_of(
    store: Store,
    entity: Entity,
    reread: Mapping[str, Collection[str]],
    observations: Mapping[str, Observation],
    options: PassOptions,
    now: datetime,
) -> Retelling | None:
    """What tells records otherwise, where every system was read whole and nobody else is at work in any; `reread` as in `Facts`."""
    whole = all(name in observations and observations[name].whole and observations[name].complete for name in entity.mappings)
    alone = options.lanes is None or not options.lanes.busy
    fields = fields_alike(entity, reread) if whole and alone and not options.older else ()
    return Retelling(store, entity, fields, now) if fields else None


class Retelling:
    """One round of a pass in which every system was read whole; nobody else writes to the shadows of this entity until it is over."""

    def __init__(self, store: Store, entity: Entity, fields: Sequence[str], now: datetime) -> None:
        """`fields` are those of `fields_alike`."""
        self._store = store
        self._entity = entity
        self._fields = fields
        self._now = now
        self._odd: pl.Series | None = None
        self._present: dict[str, pl.Series] = {}

    def taken_out(
        self, rows: Mapping[str, pl.DataFrame], others: pl.Series, overtaken: Mapping[str, pl.Series]
    ) -> tuple[list[Decision], dict[str, pl.DataFrame]]:
        """The decision about the records of a chunk that this can be told of, and the rows of all others.

        `others` are records that are to be looked at in full, `overtaken` keys by system of rows that somebody else read or wrote since.
        """
        in_time = {name: keep(mine, ~one_of(mine[KEY], overtaken[name])) if name in overtaken else mine for name, mine in rows.items()}
        said = candidates(self._entity, self._fields, in_time)
        said = keep(said, ~one_of(said[GID], others))
        if said.is_empty():
            return [], dict(rows)
        with self._store.read() as db:
            plain = self._plain(db, said[GID])
            asked = conflict.open_of(db, self._entity.name, plain)["gid"]
            known = golden.told(db, keep(plain.to_frame(), ~one_of(plain, asked))[GID])
        after, done = retold(self._entity, self._fields, said, known)
        index, indexed = index_of(self._entity, self._fields, after)
        decision = replace(no_births(self._entity, self._now), retold=after, reread=after.height, index=index, indexed=indexed)
        return [decision], {name: keep(mine, ~one_of(mine[GID], done)) for name, mine in rows.items()}

    def _plain(self, db: Db, gids: pl.Series) -> pl.Series:
        """Those of which each system has a row that is there, holds the golden record as it is, and stands for it; and no other system."""
        if self._odd is None:
            names = list(self._entity.mappings)
            self._odd = shadow_table.odd(db, self._entity.name, names)
            for name in names:  # rows of the others were just seen
                if not any(field in self._entity.mapped(name) for field in self._fields):
                    self._present[name] = shadow_table.index(db, self._entity.name, name)["gid"]
        plain = ~one_of(gids, self._odd)
        for present in self._present.values():
            plain &= one_of(gids, present)
        return gids.filter(plain)
