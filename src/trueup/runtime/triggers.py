"""What may wake an immediate pass (`triggers`): of what such a pass has read, changes that nobody asked for at once wait for a sweep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from trueup.core.cells import GID, KEY, json_to_records
from trueup.core.frames import is_given, keep
from trueup.core.shadow import decode_delta
from trueup.store import golden
from trueup.store import shadow as shadow_table

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import polars as pl

    from trueup.model import Entity
    from trueup.runtime.observation import Observation
    from trueup.runtime.spill import Spill
    from trueup.store import Db


@dataclass(frozen=True, slots=True)
class Triggers:
    """`events` are of created, updated, deleted; `fields` are those whose changes count among the updates, None: all."""

    events: frozenset[str]
    fields: frozenset[str] | None

    @classmethod
    def of(cls, entity: Entity) -> Triggers | None:
        """What an entity's configuration says; None: everything counts."""
        if not entity.triggers:
            return None
        return cls(frozenset(entity.triggers["events"]), frozenset(entity.triggers["fields"]) or None)

    def put_off(self, db: Db, entity: Entity, spill: Spill, observations: Mapping[str, Observation]) -> dict[str, frozenset[str]]:
        """The keys, by system, of rows that were read and are to wait.

        A new row of a complete listing never does: whoever has seen all of a system makes rows there without looking for them.
        """
        left: dict[str, frozenset[str]] = {}
        for name, seen in observations.items():
            keys: set[str] = set()
            if "deleted" not in self.events:
                keys.update(seen.gone[KEY].to_list())
            for page in range(seen.pages):
                for rows in spill.look((name, page)):
                    known = is_given(rows[GID])
                    if "created" not in self.events and not seen.complete:
                        keys.update(keep(rows, ~known)[KEY].to_list())
                    keys.update(self._updates(db, entity, name, keep(rows, known)))
            if keys:
                left[name] = frozenset(keys)
        return left

    def _updates(self, db: Db, entity: Entity, system: str, rows: pl.DataFrame) -> Collection[str]:
        """Keys of known rows of which nothing changed that counts."""
        if rows.is_empty() or ("updated" in self.events and self.fields is None):
            return ()
        if "updated" not in self.events:
            return rows[KEY].to_list()
        names = [name for name in self.fields or () if name in rows.columns]
        known = golden.fetch(db, entity.name, rows[GID])
        cells = json_to_records(known["data"], {name: entity.fields[name] for name in names})
        agreed = dict(zip(known["id"].to_list(), cells.rows(named=True), strict=True))
        shadows = shadow_table.by_golden(db, entity.name, rows[GID], [system])
        seen = {key: agreed.get(gid, {}) | decode_delta(delta) for key, gid, delta in shadows.select("key", "gid", "seen").rows()}
        return [
            row[KEY]
            for row in rows.select(KEY, *names).iter_rows(named=True)
            if row[KEY] in seen and all(row[name] is None or row[name] == seen[row[KEY]].get(name) for name in names)
        ]
