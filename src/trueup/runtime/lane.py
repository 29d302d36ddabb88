"""One system's delivery lane: prepare what is due, record the intent, write under a precondition, record each row's outcome."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import polars as pl

from trueup.connectors.base import WriteBatch, join_key
from trueup.core import quick
from trueup.core.cells import GID, KEY, NULL, OP, VERSION, beside
from trueup.core.deliver import FIELDS, Due
from trueup.core.facts import FILTERED, MISSING, NO_FIELDS
from trueup.core.fingerprint import native_fingerprint
from trueup.core.frames import (
    FEW_ROWS,
    constant,
    differ,
    dropped,
    exchanged,
    held,
    holding,
    is_given,
    keep,
    kept,
    one_of,
    only,
    renamed,
    without,
)
from trueup.core.normal import may_be_stored_as
from trueup.errors import AccessRefusedError
from trueup.runtime import trail
from trueup.runtime.former_keys import not_again, own_again
from trueup.runtime.lookalikes import put_off
from trueup.runtime.outcomes import Results, settle_creates, settle_deletes, settle_updates
from trueup.runtime.recover import with_sent
from trueup.runtime.references import reference_fields, to_golden, to_native, untouched
from trueup.store import sending
from trueup.store import shadow as shadow_table

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from trueup.model import Entity, OperationKind
    from trueup.runtime.systems import Seat
    from trueup.store import Store

WRITE = "__write"
MOVED = "__moved"
TROUBLE_SCHEMA = pl.Schema({GID: pl.Int64(), KEY: pl.String(), "field": pl.String(), "reason": pl.String(), "retry_s": pl.Float64()})


@dataclass
class Prepared:
    """Operations of one kind, ready to be sent.

    rows      __op, __gid, __key, `__write` (updates) and native columns
    image     __op and the cells that reading the rows back is expected to show, for the fields written
    expected  native rows as just read (`__op`, columns), None for creates
    before    cells of these rows (`__op`, fields), None where they are not told
    withheld  __gid, field: fields that are due but cannot be told yet
    moved     operations on rows in which another field no longer reads as last seen: somebody's edit, to be observed yet
    """

    kind: OperationKind
    rows: pl.DataFrame
    image: pl.DataFrame
    fields: pl.DataFrame
    expected: pl.DataFrame | None = None
    before: pl.DataFrame | None = None
    withheld: pl.DataFrame = field(default_factory=lambda: NO_FIELDS)
    moved: frozenset[int] = frozenset()


@dataclass
class Preparation:
    """What preparing gave: batches, troubles to record, keys to look at again, rows that turned out to need no write."""

    batches: list[Prepared] = field(default_factory=list)
    troubles: list[pl.DataFrame] = field(default_factory=list)
    wake: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)  # those of them that show what was never compared, whatever their fingerprint says
    settled: list[Prepared] = field(default_factory=list)
    outside: int = 0
    outsiders: list[pl.DataFrame] = field(default_factory=list)  # gid, key, fingerprint: what stands where a record's row would be

    def trouble(self, rows: pl.DataFrame) -> None:
        """Record rows of __gid, field, reason (and __key, retry_s where known)."""
        if rows.is_empty():
            return
        missing = [pl.lit(None, dtype=kind).alias(name) for name, kind in TROUBLE_SCHEMA.items() if name not in rows.columns]
        self.troubles.append(rows.with_columns(missing).select(list(TROUBLE_SCHEMA)).cast(TROUBLE_SCHEMA))


@dataclass(frozen=True, slots=True)
class Written:
    """What a system answered to one batch (`Connector.write`, with __gid), and the intent that stands until this is recorded."""

    intent: int
    outcomes: pl.DataFrame


class Lane:
    """Delivers to one system for one entity."""

    def __init__(
        self, store: Store, entity: Entity, seat: Seat, *, run: int | None, owner: str, parked: frozenset[str] = frozenset()
    ) -> None:
        """`owner` names the process in the intents that it records; `run` is None for a plan, which only prepares.

        `parked` are keys of rows of which nobody knows yet what they are: their links count for nothing when a row is looked for.
        """
        self._parked = parked
        self._store = store
        self._entity = entity
        self._seat = seat
        self._run = run
        self._owner = owner

    # -------------------------------------------------------------- prepare

    def prepare(self, due: Due, *, must_find: bool) -> Preparation:
        """Turn what is due into operations; nothing is written. `must_find`: look for each row before it is created."""
        ready = Preparation()
        self._prepare_deletes(due.deletes, ready)
        self._prepare_creates(due.creates, ready, must_find=must_find)
        self._prepare_updates(due.updates, ready)
        return ready

    def _prepare_deletes(self, rows: pl.DataFrame, ready: Preparation) -> None:
        if rows.is_empty():
            return
        here, gone = self._read_targets(rows)
        ready.wake += gone
        if here.is_empty():
            return
        prints = native_fingerprint(here, self._seat.compiled.value_columns)
        same = here.with_columns(prints.alias("_now")).join(rows.select(KEY, "fingerprint"), on=KEY, how="left", maintain_order="left")
        unchanged = same.filter(pl.col("_now").eq_missing(pl.col("fingerprint"))).drop("_now", "fingerprint")
        ready.wake += same.filter(pl.col("_now").ne_missing(pl.col("fingerprint")))[KEY].to_list()
        operations = rows.join(unchanged.select(KEY), on=KEY, how="semi").with_row_index(OP).with_columns(pl.col(OP).cast(pl.Int64))
        if operations.is_empty():
            return
        expected = operations.select(OP, KEY).join(unchanged, on=KEY, how="left", maintain_order="left").drop(KEY)
        empty = operations.select(OP)
        ready.batches.append(Prepared("delete", operations.select(OP, GID, KEY), empty, empty, self._with_version(expected)))

    def _prepare_creates(self, rows: pl.DataFrame, ready: Preparation, *, must_find: bool) -> None:
        seat = self._seat
        if rows.is_empty() or not seat.connector.caps.creates:
            return
        writable = list(self._entity.written(seat.name))
        rows, withheld = self._translate(rows, writable)
        required = [name for name in writable if self._entity.fields[name].required]
        stuck = withheld.filter(pl.col("field").is_in(required))
        ready.trouble(stuck.with_columns(reason=pl.lit("waits for a record that this system does not hold yet"), retry_s=pl.lit(0.0)))
        rows = without(rows, stuck, [GID])
        for names, group in _by_said(rows, writable):
            self._prepare_create_group(group.select(GID, *names), list(names), withheld, ready, must_find=must_find)

    def _prepare_create_group(
        self, rows: pl.DataFrame, names: list[str], withheld: pl.DataFrame, ready: Preparation, *, must_find: bool, retried: bool = False
    ) -> None:
        seat = self._seat
        native = seat.compiled.to_native(rows, names, new=True)
        if not native.rejected.is_empty():
            bad = native.rejected.select(GID, "field", "reason")
            if not retried:
                ready.trouble(bad)
            hopeless = bad.filter(pl.col("field").is_in(self._indispensable())).select(GID).unique()
            again = rows.join(bad.select(GID).unique(), on=GID, how="semi").join(hopeless, on=GID, how="anti")
            if not again.is_empty() and not retried:
                held = pl.concat([withheld, bad.select(GID, "field")])
                for mine in again.partition_by(GID):
                    refused = set(bad.filter(pl.col(GID) == mine[GID][0])["field"].to_list())
                    others = [name for name in names if name not in refused]
                    self._prepare_create_group(mine.select(GID, *others), others, held, ready, must_find=must_find, retried=True)
        made = native.rows
        if made.is_empty():
            return
        fits = seat.compiled.takes_part(made)
        ready.outside += int((~fits).sum())
        made = keep(made, fits)
        keys = self._given_keys(beside(quick.chosen(made, [GID]), rows, GID))
        made = exchanged(made, keys.alias(KEY))
        if self._needs_key():
            given = is_given(made[KEY])
            ready.trouble(keep(made, ~given).select(GID, reason=pl.lit("has no value for the key that this system needs")))
            made = keep(made, given)
            made = made.drop([name for name in seat.mapping.object.key if name in made.columns])
        if must_find:
            made = self._not_found(made, ready)
        if not self._needs_key() and not made.is_empty():
            made = exchanged(made, own_again(self._store, self._entity, seat, made))
        # Those whose key is known first: what a system makes of the others must not take one of these.
        for part in _keyed_first(made):
            self._add_creates(part, names, native.image, withheld, ready)

    def _add_creates(self, made: pl.DataFrame, names: list[str], images: pl.DataFrame, withheld: pl.DataFrame, ready: Preparation) -> None:
        operations = made.with_row_index(OP).with_columns(pl.col(OP).cast(pl.Int64))
        image = dropped(beside(quick.chosen(operations, [OP, GID]), images, GID), [GID])
        fields = operations.select(OP).with_columns(pl.lit(names, dtype=pl.List(pl.String)).alias(FIELDS))
        mine = only(withheld, operations, [GID])
        ready.batches.append(Prepared("create", operations, image, fields, withheld=mine))

    def _indispensable(self) -> list[str]:
        """Fields without which a row cannot be created here."""
        key = set(self._seat.mapping.object.key)
        mapping = self._seat.mapping.fields
        return [
            name
            for name in self._entity.written(self._seat.name)
            if self._entity.fields[name].required or mapping[name].column in key or any(name in rule for rule in self._entity.match)
        ]

    def _needs_key(self) -> bool:
        return bool(self._key_fields())

    def _key_fields(self) -> list[str]:
        """The fields whose values are the key columns, in their order; empty where the key comes from elsewhere."""
        spec = self._seat.mapping.object
        if spec.assign.startswith("field:"):
            return spec.assign.removeprefix("field:").split(",")
        by_column = {shown.column: name for name, shown in self._seat.mapping.fields.items() if shown.column is not None}
        names = [by_column.get(column) for column in spec.key]
        return [] if None in names else [name for name in names if name is not None]

    def _given_keys(self, rows: pl.DataFrame) -> pl.Series:
        """Key text per row where fields give it, else null."""
        names = self._key_fields()
        if not names or not set(names) <= set(rows.columns):
            return pl.Series(KEY, [None], dtype=pl.String).new_from_index(0, rows.height)
        if len(names) == 1:
            given = rows[names[0]].alias(KEY)
            return given.set(given == NULL, None) if (given == NULL).any() else given
        keys = [None if None in parts or NULL in parts else join_key(parts) for parts in rows.select(names).rows()]
        return pl.Series(KEY, keys, dtype=pl.String)

    def _not_found(self, made: pl.DataFrame, ready: Preparation) -> pl.DataFrame:
        """Leave out rows that the system already seems to hold; those are looked at again instead."""
        seat = self._seat
        if not seat.connector.caps.find:
            ready.trouble(made.select(GID, reason=pl.lit("waits for a complete reading of this system"), retry_s=pl.lit(0.0)))
            return made.clear()
        for number, rule in enumerate(self._entity.match):
            asked = self._plain_columns(rule, made)
            values = made.select(asked).drop_nulls().unique() if asked else made.clear()
            if not asked or values.is_empty():
                continue
            standing = seat.connector.find(seat.mapping.object, asked, values)
            if standing.is_empty():
                continue
            found, unread = self._read_targets(standing)
            made = self._without_unread(made, keep(standing, one_of(standing[KEY], pl.Series(KEY, unread, dtype=pl.String))), asked, ready)
            found, moved = self._unlinked(found)
            hits = made.drop([name for name in (KEY, *_marks(made)) if name in made.columns]).join(
                found.cast({column: made.schema[column] for column in asked}), on=asked, how="inner", suffix=":found"
            )
            for stronger in self._entity.match[:number]:
                for column in self._plain_columns(stronger, made) or []:
                    other = f"{column}:found"
                    if column not in asked and other in hits.columns:
                        hits = hits.filter(
                            pl.col(column).is_null() | pl.col(other).is_null() | (pl.col(column) == pl.col(other).cast(made.schema[column]))
                        )
            taking_part = found.filter(seat.compiled.takes_part(found))[KEY]
            outside = hits.filter(~pl.col(KEY).is_in(taking_part.implode())).unique(GID, keep="first", maintain_order=True)
            ready.outside += outside.height
            ready.outsiders.append(self._standing(outside, found))
            ready.wake += hits.filter(pl.col(KEY).is_in(taking_part.implode()))[KEY].unique().to_list()
            made = made.join(hits.select(GID).unique(), on=GID, how="anti", maintain_order="left")
            # Perhaps the row has become this record: it is looked at first, and this record is considered again afterwards.
            for keys, what in ((moved, "changed meanwhile"), (list(self._parked), "waits for a person")):
                doubtful = hits.filter(pl.col(KEY).is_in(keys)).select(GID).unique()
                ready.trouble(doubtful.with_columns(reason=pl.lit(f"a row that {what} may be this record"), retry_s=pl.lit(0.0)))
        return made

    def _without_unread(self, made: pl.DataFrame, unread: pl.DataFrame, asked: list[str], ready: Preparation) -> pl.DataFrame:
        """Leave out rows that look like one that is there and cannot be read: nobody knows which record that one is."""
        if unread.is_empty():
            return made
        alike = unread.select(asked).cast({column: made.schema[column] for column in asked})
        doubtful = made.join(alike, on=asked, how="semi").select(GID)
        ready.trouble(put_off(doubtful[GID], self._seat.name))
        return made.join(doubtful, on=GID, how="anti", maintain_order="left")

    def _standing(self, hits: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
        """The rows in the place of records, as the state keeps them."""
        rows = found.select(KEY, native_fingerprint(found, self._seat.compiled.value_columns).alias("fingerprint"))
        return hits.select(pl.col(GID).alias("gid"), KEY).join(rows, on=KEY, how="left").rename({KEY: "key"})

    def _plain_columns(self, rule: tuple[str, ...], made: pl.DataFrame) -> list[str] | None:
        """The native columns that hold a match rule's fields as they are; None where some field has no such column."""
        mapping = self._seat.mapping.fields
        columns = [mapping[name].column for name in rule if name in mapping]
        if len(columns) != len(rule):
            return None
        plain = [column for column in columns if column is not None and column in made.columns]
        return plain if len(plain) == len(rule) else None

    def _unlinked(self, found: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
        """Rows that may be another record than was known: not linked yet, or linked and changed since they were read (their keys).

        Of a linked row outside of the filter nobody has looked at the values: it may have become any record there.
        """
        with self._store.read() as db:
            known = shadow_table.by_key(db, self._entity.name, self._seat.name, found[KEY])
        linked = known.filter((pl.col("state") != MISSING) & ~pl.col("key").is_in(list(self._parked)))
        prints = native_fingerprint(found, self._seat.compiled.value_columns)
        same = found.select(KEY, prints.alias("_now")).join(linked.select(pl.col("key").alias(KEY), "fingerprint", "state"), on=KEY)
        unchanged = pl.col("_now").eq_missing(pl.col("fingerprint"))
        known_as = same.filter(unchanged & (pl.col("state") != FILTERED))[KEY]
        return found.filter(~pl.col(KEY).is_in(known_as.implode())), same.filter(~unchanged)[KEY].to_list()

    def _prepare_updates(self, rows: pl.DataFrame, ready: Preparation) -> None:
        seat = self._seat
        if rows.is_empty() or not seat.connector.caps.updates:
            return
        writable = list(self._entity.written(seat.name))
        here, gone = self._read_targets(rows)
        ready.wake += gone
        shown = seat.compiled.to_cells(here)
        unreadable = kept(here[KEY], ~one_of(here[KEY], shown.rows[KEY])).to_list()
        ready.wake += unreadable
        rows, stale, unread = self._as_last_seen(rows, shown.rows, here)
        ready.wake += stale
        ready.unread += unread
        rows, withheld = self._translate(rows, writable)
        rows = _without_fields(rows, withheld)
        if rows.is_empty():
            return
        wanted = set(held(rows[FIELDS]))
        names = [name for name in writable if name in wanted]
        native = seat.compiled.to_native(quick.chosen(rows, [GID, *writable]), names, new=False)
        if not native.rejected.is_empty():
            due = rows.select(GID, FIELDS).explode(FIELDS).rename({FIELDS: "field"})
            bad = native.rejected.select(GID, "field", "reason").join(due, on=[GID, "field"], how="semi")
            ready.trouble(bad.join(rows.select(GID, KEY), on=GID, how="left"))
            rows = _without_fields(rows, bad.select(GID, "field"))
            if rows.is_empty():
                return
        self._update_batch(rows, names, native.rows, native.image, here, shown.rows, withheld, ready)

    def _update_batch(
        self,
        rows: pl.DataFrame,
        names: list[str],
        native: pl.DataFrame,
        image: pl.DataFrame,
        here: pl.DataFrame,
        shown: pl.DataFrame,
        withheld: pl.DataFrame,
        ready: Preparation,
    ) -> None:
        seat = self._seat
        columns = {name: list(seat.compiled.columns_of(name)) for name in names}
        write = _columns_due(rows[FIELDS], columns)
        numbers = pl.int_range(rows.height, dtype=pl.Int64, eager=True).alias(OP)
        operations = beside(quick.frame([numbers, *quick.chosen(rows, [GID, KEY, FIELDS, MOVED]).get_columns(), write]), native, GID)
        expected = dropped(beside(quick.chosen(operations, [OP, KEY]), here, KEY), [KEY])
        idle = _unchanged(operations, expected, [column for column in native.columns if not column.startswith("__")])
        for part, kind in ((keep(operations, idle), "settled"), (keep(operations, ~idle), "batch")):
            if part.is_empty():
                continue
            prepared = Prepared(
                "update",
                dropped(part, [FIELDS, MOVED]),
                dropped(beside(quick.chosen(part, [OP, GID]), image, GID), [GID]),
                quick.chosen(part, [OP, FIELDS]),
                self._with_version(only(expected, part, [OP])),
                dropped(beside(quick.chosen(part, [OP, KEY]), shown, KEY), [KEY]),
                withheld,
                frozenset(kept(part[OP], part[MOVED]).to_list()),
            )
            (ready.settled if kind == "settled" else ready.batches).append(prepared)

    def _as_last_seen(self, rows: pl.DataFrame, shown: pl.DataFrame, native: pl.DataFrame) -> tuple[pl.DataFrame, list[str], list[str]]:
        """Rows whose due fields still read as last seen, the keys of those that do not, and those where nobody ever saw one.

        A reference that means another record now, because that one was given the key, is as last seen where nobody touched its row.
        """
        referring = dict(reference_fields(self._entity, self._seat.name))
        readable = [name for name in self._entity.shown(self._seat.name) if f"seen:{name}" in rows.columns and name in shown.columns]
        shown = self._translated_back(shown)
        here = keep(rows, one_of(rows[KEY], shown[KEY]))
        if here.is_empty():
            return here, [], []
        now = beside(quick.chosen(here, [KEY]), quick.chosen(shown, [KEY, *readable]), KEY)
        stale = moved = unread = constant(MOVED, value=False, rows=here.height, dtype=pl.Boolean())
        for name in readable:
            seen = here[f"seen:{name}"]
            other = is_given(now[name]) & differ(now[name], seen)
            if name in referring and other.any():
                with self._store.read() as db:
                    other &= ~untouched(db, self._entity.name, self._seat, here[KEY], native)
            if not other.any():
                continue
            due = holding(here[FIELDS], name)
            stale, moved = stale | (other & due), moved | (other & ~due)
            unread = unread | (other & due & ~is_given(seen))
        names = [name for name in rows.columns if not name.startswith("seen:")]
        here = here[names].hstack([moved.alias(MOVED)])
        return keep(here, ~stale), kept(here[KEY], stale).to_list(), kept(here[KEY], unread).to_list()

    def _translated_back(self, shown: pl.DataFrame) -> pl.DataFrame:
        if not reference_fields(self._entity, self._seat.name):
            return shown
        with self._store.read() as db:
            return to_golden(db, self._entity, self._seat.name, shown).rows

    def _read_targets(self, rows: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
        """The target's rows as they are now (native), and the keys that are not there."""
        seat = self._seat
        keys = rows[KEY].to_list()
        pages = list(seat.connector.read(seat.mapping.object, seat.compiled.read_columns, keys=keys))
        here = pages[0].rows if len(pages) == 1 else _together([page.rows for page in pages])
        present = set(here[KEY].to_list())
        return here, [key for key in keys if key not in present]

    def _translate(self, rows: pl.DataFrame, columns: list[str]) -> tuple[pl.DataFrame, pl.DataFrame]:
        if not reference_fields(self._entity, self._seat.name):
            return rows, NO_FIELDS
        with self._store.read() as db:
            return to_native(db, self._entity, self._seat.name, rows, columns)

    def _with_version(self, expected: pl.DataFrame) -> pl.DataFrame | None:
        """The precondition, None where the system offers none (the reading just before is then all there is)."""
        if self._seat.connector.caps.precondition != "native":
            return None
        if VERSION not in expected.columns:
            expected = expected.hstack([constant(VERSION, None, expected.height, pl.String())])
        return quick.chosen(expected, [name for name in expected.columns if not name.startswith("__") or name in (OP, VERSION)])

    # -------------------------------------------------------------- send

    def _read_back(self, prepared: Prepared, outcomes: pl.DataFrame) -> pl.DataFrame:
        """Outcomes with the stored row read at once where the answer did not tell it.

        What is shown then counts as stored only under the row version that the write reported, or where it may be a normal form of what
        was given; anything else is somebody's edit, which the next reading finds. A system that fails here leaves the intent behind.
        """
        seat = self._seat
        untold = keep(outcomes, (outcomes["__status"] == "done") & ~outcomes["__stored"] & is_given(outcomes[KEY]))
        if untold.is_empty():
            return outcomes
        pages = seat.connector.read(seat.mapping.object, seat.compiled.read_columns, keys=untold[KEY].to_list())
        native = pl.concat([page.rows for page in pages], how="vertical_relaxed")
        cells = {row[KEY]: row for row in seat.compiled.to_cells(native).rows.iter_rows(named=True)}
        images = {row[OP]: row for row in prepared.image.iter_rows(named=True)}
        fields = dict(prepared.fields.select(OP, FIELDS).rows())
        own = []
        for op, key, version in untold.select(OP, KEY, VERSION).rows():
            shown = cells.get(key)
            same_version = shown is not None and version is not None and shown.get(VERSION) == version
            if shown is not None and (same_version or self._as_given(images[op], shown, fields[op])):
                own.append((op, shown.get(VERSION)))
        if not own:
            return outcomes
        mine = pl.DataFrame(own, schema={OP: pl.Int64(), "_version": pl.String()}, orient="row")
        returned = [name for name in seat.returning if name in native.columns]
        told = (
            untold.select(OP, KEY)
            .join(mine, on=OP)
            .join(native.select(KEY, *returned), on=KEY)
            .select(OP, *returned, pl.col("_version").alias(VERSION), pl.lit(value=True).alias("__stored"))
        )
        return outcomes.update(told, on=OP, how="left")

    def _as_given(self, image: dict[str, str | None], shown: dict[str, str | None], names: list[str]) -> bool:
        """Whether every field written reads like a normal form of what was given."""
        kinds = {name: self._entity.fields[name].type for name in names if name in shown and name in image}
        return all(may_be_stored_as(image[name], shown[name], kind) for name, kind in kinds.items() if kind != "reference")

    def send(self, prepared: Prepared, golden: pl.DataFrame, now: datetime) -> Results:
        """Record the intent, write, and turn outcomes into what the state must learn. `golden` are the records' cells."""
        return self.settle(prepared, self.write(prepared, golden, now), golden, now)

    def write(self, prepared: Prepared, golden: pl.DataFrame, now: datetime) -> Written:
        """Record the intent, write, and read back what the answer does not tell."""
        return Written(self.intend(prepared, golden, now), self.carry_out(prepared))

    def intend(self, prepared: Prepared, golden: pl.DataFrame, now: datetime) -> int:
        """Record what is about to be written; the number of that intent."""
        seat = self._seat
        payload = quick.chosen(prepared.rows, [OP, GID, KEY])
        if prepared.kind != "delete":
            payload = beside(payload, prepared.image, OP)
            if prepared.kind != "create":  # the image of a new row has just the fields that it is given
                payload = beside(payload, prepared.fields, OP)
            payload = with_sent(payload, quick.chosen(golden, [GID, *self._entity.written(seat.name)]))
        packed = sending.packed(payload)  # before the state's turn is taken
        with self._store.write(lasting=True) as tx:
            intent = sending.add(
                tx, self._entity.name, seat.name, kind=prepared.kind, run=self._run, at=now, owner=self._owner, payload=packed
            )
            trail.about_to_leave(tx, self._entity.name, seat.name, prepared, intent, self._run, at=now)
        return intent

    def carry_out(self, prepared: Prepared) -> pl.DataFrame:
        """Write, and read back what the answer does not tell; its intent is recorded."""
        seat = self._seat
        batch = WriteBatch(
            kind=prepared.kind,
            rows=dropped(prepared.rows, [GID]),
            expected=prepared.expected,
            returning=() if prepared.kind == "delete" else seat.returning,
            lane=self._store.lane(self._entity.name, seat.name),
            may_land=self._store.must_be_ours,
        )
        self._store.must_be_ours()
        try:
            outcomes = seat.connector.write(seat.mapping.object, batch)
        except AccessRefusedError:  # perhaps keys are what may not be given
            self._not_again(prepared, prepared.rows)
            raise
        joined = beside(outcomes, renamed(quick.chosen(prepared.rows, [OP, GID, KEY]), KEY, "__known_key"), OP)
        key = joined[KEY] if KEY in outcomes.columns else joined["__known_key"]
        joined = dropped(exchanged(joined, key.zip_with(is_given(key), joined["__known_key"]).alias(KEY)), ["__known_key"])
        return self._read_back(prepared, joined) if prepared.kind != "delete" else joined

    def settle(self, prepared: Prepared, written: Written, golden: pl.DataFrame, now: datetime) -> Results:
        """Turn outcomes into what the state must learn; the system is not asked any more."""
        settle = {"create": settle_creates, "update": settle_updates, "delete": settle_deletes}[prepared.kind]
        self._not_again(prepared, keep(written.outcomes, written.outcomes["__status"] == "rejected"))
        results = settle(self._entity, self._seat, prepared, written.outcomes, golden, now)
        results.intent, results.records = written.intent, golden
        return results

    def _not_again(self, prepared: Prepared, refused: pl.DataFrame) -> None:
        if prepared.kind == "create" and not refused.is_empty() and not self._needs_key():
            not_again(self._store, self._entity, self._seat, refused[KEY])


def _together(pages: list[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(pages, how="vertical_relaxed") if pages else pl.DataFrame(schema={KEY: pl.String()})


def _keyed_first(made: pl.DataFrame) -> list[pl.DataFrame]:
    """New rows that have a key already, and those that do not; empty parts are left out."""
    given = is_given(made[KEY])
    return [part for part in (keep(made, given), keep(made, ~given)) if not part.is_empty()]


def _marks(rows: pl.DataFrame) -> list[str]:
    """Columns that are not native, but for the golden id."""
    return [name for name in rows.columns if name.startswith("__") and name != GID]


def _by_said(rows: pl.DataFrame, names: list[str]) -> list[tuple[tuple[str, ...], pl.DataFrame]]:
    """Rows grouped by which of the fields have a value at all (null is one), so that nothing unsaid is written."""
    some = [name for name in names if rows[name].null_count()]
    complete = rows.filter(pl.all_horizontal(pl.col(name).is_not_null() for name in some)) if some else rows
    groups = [(tuple(names), complete)] if complete.height else []
    if complete.height == rows.height:
        return groups
    rest = rows.join(complete.select(GID), on=GID, how="anti", maintain_order="left")
    marked = rest.with_columns(
        _said=pl.concat_list([pl.when(pl.col(name).is_not_null()).then(pl.lit(name)) for name in names]).list.drop_nulls()
    )
    for part in marked.partition_by("_said", maintain_order=True):
        said = tuple(part["_said"][0].to_list())
        if said:
            groups.append((said, part.drop("_said")))
    return groups


def _without_fields(rows: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    """Take fields (__gid, field) out of what is due; rows with nothing left go."""
    if pairs.is_empty():
        return rows
    held = pairs.group_by(GID).agg(pl.col("field").alias("_held"))
    return (
        rows.join(held, on=GID, how="left", maintain_order="left")
        .with_columns(pl.col(FIELDS).list.set_difference(pl.col("_held").fill_null([])).alias(FIELDS))
        .drop("_held")
        .filter(pl.col(FIELDS).list.len() > 0)
    )


def _columns_due(lists: pl.Series, columns: Mapping[str, list[str]]) -> pl.Series:
    """The native columns to write, per list of fields that are due."""

    def told(due: list[str]) -> list[str]:
        return list(dict.fromkeys(column for name in due for column in columns.get(name, ())))

    if lists.len() <= FEW_ROWS:
        return pl.Series(WRITE, [told(due) for due in lists.to_list()], dtype=pl.List(pl.String))
    kinds = lists.unique(maintain_order=True).to_frame(FIELDS)  # rows are many, and what is due in them is mostly alike
    kinds = kinds.with_columns(pl.Series(WRITE, [told(due) for due in kinds[FIELDS].to_list()], dtype=pl.List(pl.String)))
    return lists.to_frame(FIELDS).join(kinds, on=FIELDS, how="left", maintain_order="left")[WRITE]


def _unchanged(operations: pl.DataFrame, expected: pl.DataFrame, columns: list[str]) -> pl.Series:
    """Per operation: whether every column to write already holds the value to write."""
    there = beside(
        quick.chosen(operations, [OP]), quick.chosen(expected, [OP, *(name for name in columns if name in expected.columns)]), OP
    )
    idle = constant("idle", bool(columns), operations.height, pl.Boolean())
    for name in columns:
        same = name in there.columns and there[name].dtype == operations[name].dtype
        moves = differ(operations[name], there[name]) if same else constant(name, value=True, rows=operations.height, dtype=pl.Boolean())
        if moves.any():
            idle &= ~(moves & holding(operations[WRITE], name))
    return idle


def rest(seat: Seat, updates: pl.DataFrame, failed: pl.DataFrame) -> pl.DataFrame:
    """Rows of which the system rejected named fields: what is left of them, without those fields."""
    named = [
        (gid, name)
        for gid, column, retry_s in failed.select(GID, "field", "retry_s").rows()
        if column is not None and retry_s is None
        for name in seat.compiled.fields_of(column)
    ]
    if not named:
        return updates.clear()
    held = pl.DataFrame(named, schema={GID: pl.Int64(), "_held": pl.String()}, orient="row").group_by(GID).agg("_held")
    return (
        updates.join(held, on=GID, how="inner", maintain_order="left")
        .with_columns(pl.col(FIELDS).list.set_difference("_held").alias(FIELDS))
        .drop("_held")
        .filter(pl.col(FIELDS).list.len() > 0)
    )
