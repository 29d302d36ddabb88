"""Undo a run: find what it did, decide record by record what can be put back, and deliver that as any other change."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import polars as pl

from trueup.core.births import no_births
from trueup.core.cells import AT, GID, KEY, SYSTEM
from trueup.core.facts import GONE_SCHEMA
from trueup.core.frames import one_of
from trueup.core.merge import APART
from trueup.core.observe import golden_cells
from trueup.core.reconcile import reconcile
from trueup.core.taken_out import taken_out
from trueup.core.undo import (
    DELETED,
    LINE_SCHEMA,
    LOOKED_AT_AGAIN,
    OWN,
    PUT_BACK,
    RESTORED,
    REVIVED,
    SETTING,
    TAKEN_OUT,
    Done,
    edits_since,
    reverse,
)
from trueup.core.unite import UNITED, part
from trueup.errors import UsageError
from trueup.reports.undone import Refused, Undone
from trueup.runtime.unite import Partable, partable, parted
from trueup.store import conflict, created, history, shadow
from trueup.store import run as run_table
from trueup.store.retention import refuse_compacted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

    from trueup.core.facts import Decision, Facts
    from trueup.core.merge import Merged
    from trueup.model import Config
    from trueup.runtime.systems import Seat
    from trueup.store import Db, Store

UNDONE_KINDS = (*SETTING, DELETED, REVIVED, TAKEN_OUT, PUT_BACK, *OWN, RESTORED, APART, UNITED)
"""Kinds of history that say that a run changed something in some system; the others tell what it did not."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to undo: a run, all of it or only this record (entity, golden id) and this field."""

    run: int
    record: tuple[str, int] | None = None
    field: str | None = None


class Undo:
    """One run, ready to be turned round. `undone` tells what came of it."""

    def __init__(self, store: Store, config: Config, wanted: Wanted, now: datetime) -> None:
        """Read what the run did. Raises UsageError for a run that is not known, or a field that no entity has."""
        self._store = store
        self._now = now
        self._config = config
        self.wanted = wanted
        self.undone = Undone(wanted.run)
        self._united: dict[str, pl.DataFrame] = {}
        self._parting: list[tuple[str, Partable]] = []
        if wanted.field is not None and not any(wanted.field in entity.fields for entity in config.entities.values()):
            raise UsageError(f"no entity has a field {wanted.field!r}", hint="`trueup run N` and `trueup record` show the fields")
        with store.read() as db:
            run = run_table.get(db, wanted.run)
            if run is None:
                raise UsageError(f"there is no run {wanted.run}", hint="`trueup runs` lists them")
            refuse_compacted(db, wanted.run)
            self._ended_at: datetime = run.finished_at or run.started_at
            self._lines = self._lines_of(db)
            self._created = self._created_of(db)
        for name in sorted({*self._lines, *self._created} - set(config.entities)):
            self.undone.refused.append(Refused(name, None, None, None, "unknown entity"))

    def _lines_of(self, db: Db) -> dict[str, pl.DataFrame]:
        """The run's history by entity."""
        rows = history.of_run(db, self.wanted.run).filter(pl.col("kind").is_in(UNDONE_KINDS))
        if self.wanted.record is not None:
            entity, gid = self.wanted.record
            rows = rows.filter((pl.col("entity") == entity) & (pl.col("gid") == gid))
        if self.wanted.field is not None:
            rows = rows.filter(pl.col("field") == self.wanted.field)
        united = rows.filter(pl.col("kind") == UNITED)
        self._united = {str(name): mine.select("gid", "detail") for (name,), mine in united.partition_by("entity", as_dict=True).items()}
        return {str(name): _as_lines(part) for (name,), part in rows.partition_by("entity", as_dict=True, maintain_order=True).items()}

    def _created_of(self, db: Db) -> dict[str, pl.DataFrame]:
        """The rows that the run made, by entity (__gid, __system, __key)."""
        if self.wanted.field is not None:
            return {}
        parts: dict[str, list[pl.DataFrame]] = {}
        for entity, system, rows in created.of_run(db, self.wanted.run):
            mine = rows.select(pl.col("gid").alias(GID), pl.lit(system).alias(SYSTEM), pl.col("key").alias(KEY))
            if self.wanted.record is not None:
                mine = mine.filter(pl.col(GID) == self.wanted.record[1]) if entity == self.wanted.record[0] else mine.clear()
            if not mine.is_empty():
                parts.setdefault(entity, []).append(mine)
        return {entity: pl.concat(rows) for entity, rows in parts.items()}

    @property
    def records(self) -> dict[str, frozenset[int]]:
        """The golden ids that the run did something to, by configured entity; in the order in which entities are undone.

        Where rows are taken out, those that refer to others go before these.
        """
        from trueup.runtime.order import in_order

        names = [name for name in in_order(self._config.entities, self._config.entities) if name in self._lines or name in self._created]
        return {name: frozenset(self._gids(name)) for name in (reversed(names) if self._created else names)}

    def _gids(self, name: str) -> Iterator[int]:
        for frames in (self._lines, self._created):
            if name in frames:
                yield from frames[name][GID].unique().to_list()

    def ruling(self, seats: Mapping[str, Seat], facts: Facts) -> Decision:
        """Decide about some of these records; `seats` are the systems that can be written to now."""
        entity = facts.entity.name
        with self._store.read() as db:
            done = self._done(db, entity, facts.golden["id"], seats)
        records = golden_cells(facts)
        reversal = reverse(facts, done, records)
        merged = reversal.merged
        parting = self._to_part(facts, done, merged)
        self.undone.values += merged.changes.height + reversal.restores.height + merged.thawed.height
        self.undone.left += merged.history.filter(pl.col("kind") == LOOKED_AT_AGAIN).height
        self.undone.records += merged.revived.len() + merged.deleted.len()
        self.undone.rows += merged.withdrawn.height + merged.spared.height + merged.returned.height
        self.undone.refused += [
            Refused(entity, gid, system, field, why, by, at, run)
            for gid, system, field, why, by, at, run in reversal.refused.select(GID, SYSTEM, "field", "why", "by", AT, "run").iter_rows()
        ]
        decision = part(facts, parting.taken, parting.free, merged) if parting.taken else reconcile(facts, merged, records)
        decision.restores = reversal.restores
        return decision

    def outright(self, entity: str, seats: Mapping[str, Seat], gids: pl.Series) -> tuple[Decision, pl.Series]:
        """Decide about those of these records of which rows are taken out and no value is put back; the other ids."""
        configured = self._config.entities[entity]
        if self._created.get(entity) is None:
            return no_births(configured, self._now), gids
        with self._store.read() as db:
            done = replace(self._done(db, entity, gids.clear(), seats), created=_among(self._created[entity], gids))
            apart = [conflict.open_of(db, entity, gids)["gid"], self._lines_about(entity, gids)[GID].alias("gid")]
            apart.append(history.perhaps_edited(db, entity, gids, self.wanted.run, self._ended_at))
            decision, taken = taken_out(configured, done, shadow.standing(db, entity, gids), pl.concat(apart), self._now)
        self.undone.rows += decision.withdrawn.height
        return decision, gids.filter(~one_of(gids, taken))

    def _done(self, db: Db, entity: str, gids: pl.Series, seats: Mapping[str, Seat]) -> Done:
        """What the run did to these records, and what happened to them since."""
        written = {name: seat.connector.caps for name, seat in seats.items() if seat.mapping.writes}
        return Done(
            run=self.wanted.run,
            lines=self._lines_about(entity, gids),
            later=_as_lines(history.after_run(db, entity, gids, self.wanted.run, self._ended_at)),
            created=_among(self._created.get(entity, pl.DataFrame(schema=GONE_SCHEMA)), gids),
            deletable=frozenset(name for name, caps in written.items() if caps.deletes),
            writable=frozenset(name for name, caps in written.items() if caps.updates),
        )

    def _lines_about(self, entity: str, gids: pl.Series) -> pl.DataFrame:
        """What the run did to these records."""
        return _among(self._lines.get(entity, pl.DataFrame(schema=LINE_SCHEMA)), gids)

    def _to_part(self, facts: Facts, done: Done, merged: Merged) -> Partable:
        """The records that the run united and that can be two again; of the others, nothing is put back."""
        entity = facts.entity
        lines = self._united.get(entity.name, pl.DataFrame(schema={"gid": pl.Int64(), "detail": pl.String()}))
        lines = lines.filter(pl.col("gid").is_in(facts.golden["id"].implode()))
        if lines.is_empty():
            return Partable([], frozenset(), [])
        edited = edits_since(done, lines["gid"].unique())
        with self._store.read() as db:
            found = partable(db, entity, lines, set(edited[GID].to_list()))
        last = {row[GID]: row for row in edited.rows(named=True)}
        for gid, why in found.refused:
            by = last.get(gid, {})
            self.undone.refused.append(Refused(entity.name, gid, None, by.get("field"), why, by.get("by"), by.get(AT), by.get("run")))
        stays = pl.col(GID).is_in([gid for gid, _why in found.refused])
        merged.changes, merged.history = merged.changes.filter(~stays), merged.history.filter(~stays)
        self.undone.records += len(found.taken)
        self._parting.append((entity.name, found))
        return found

    def committed(self, decision: Decision) -> None:
        """Hears of what was kept: of records that are two again, nothing waits for a person any more."""
        gids = set(decision.records[GID].to_list())
        for name, found in list(self._parting):
            if {one.row["id"] for one in found.taken} <= gids:
                self._parting.remove((name, found))
                with self._store.write() as tx:
                    parted(tx, self._config, self._config.entities[name], found, self._now)


def _among(rows: pl.DataFrame, gids: pl.Series) -> pl.DataFrame:
    """The rows that are about these records."""
    return rows.filter(pl.col(GID).is_in(gids.implode()))


def _as_lines(rows: pl.DataFrame) -> pl.DataFrame:
    """History as the core wants it; values that were not read are null."""
    names = {GID: "gid", SYSTEM: "system", AT: "at"}
    columns = [pl.col(names.get(name, name)).alias(name) for name in LINE_SCHEMA if names.get(name, name) in rows.columns]
    unread = [pl.lit(None, dtype=kind).alias(name) for name, kind in LINE_SCHEMA.items() if names.get(name, name) not in rows.columns]
    return rows.select(*columns, *unread).select(list(LINE_SCHEMA)).cast(LINE_SCHEMA)
