"""One system's delivery lane: prepare what is due, record the intent, write under a precondition, record each row's outcome."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import polars as pl

from trueup.connectors.base import WriteBatch, join_key
from trueup.core.cells import GID, KEY, NULL, OP, VERSION, beside
from trueup.core.deliver import FIELDS, Due
from trueup.core.facts import MISSING
from trueup.core.fingerprint import native_fingerprint
from trueup.core.normal import may_be_stored_as
from trueup.runtime import trail
from trueup.runtime.outcomes import Results, settle_creates, settle_deletes, settle_updates
from trueup.runtime.recover import with_sent
from trueup.runtime.references import reference_fields, to_golden, to_native
from trueup.store import sending
from trueup.store import shadow as shadow_table

if TYPE_CHECKING:
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
    withheld  __gid, field: fields that are due but cannot be told yet
    moved     operations on rows in which another field no longer reads as last seen: somebody's edit, to be observed yet
    """

    kind: OperationKind
    rows: pl.DataFrame
    image: pl.DataFrame
    fields: pl.DataFrame
    expected: pl.DataFrame | None = None
    withheld: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema={GID: pl.Int64(), "field": pl.String()}))
    moved: frozenset[int] = frozenset()


@dataclass
class Preparation:
    """What preparing gave: batches, troubles to record, keys to look at again, rows that turned out to need no write."""

    batches: list[Prepared] = field(default_factory=list)
    troubles: list[pl.DataFrame] = field(default_factory=list)
    wake: list[str] = field(default_factory=list)
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
        with self._store.read() as db:
            known = shadow_table.by_key(db, self._entity.name, self._seat.name, here[KEY]).select(pl.col("key").alias(KEY), "fingerprint")
        prints = native_fingerprint(here, self._seat.compiled.value_columns)
        same = here.with_columns(prints.alias("_now")).join(known, on=KEY, how="left", maintain_order="left")
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
        rows = rows.join(stuck.select(GID).unique(), on=GID, how="anti", maintain_order="left")
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
                    dropped = set(bad.filter(pl.col(GID) == mine[GID][0])["field"].to_list())
                    kept = [name for name in names if name not in dropped]
                    self._prepare_create_group(mine.select(GID, *kept), kept, held, ready, must_find=must_find, retried=True)
        made = native.rows
        if made.is_empty():
            return
        fits = seat.compiled.takes_part(made)
        ready.outside += int((~fits).sum())
        made = made.filter(fits)
        keys = self._given_keys(rows.join(made.select(GID), on=GID, how="semi", maintain_order="right"))
        made = made.with_columns(keys.alias(KEY))
        if self._needs_key():
            ready.trouble(made.filter(pl.col(KEY).is_null()).select(GID, reason=pl.lit("has no value for the key that this system needs")))
            made = made.filter(pl.col(KEY).is_not_null())
            made = made.drop([name for name in seat.mapping.object.key if name in made.columns])
        if must_find:
            made = self._not_found(made, ready)
        if made.is_empty():
            return
        operations = made.with_row_index(OP).with_columns(pl.col(OP).cast(pl.Int64))
        image = operations.select(OP, GID).join(native.image, on=GID, how="left", maintain_order="left").drop(GID)
        fields = operations.select(OP).with_columns(pl.lit(names, dtype=pl.List(pl.String)).alias(FIELDS))
        mine = withheld.join(operations.select(GID), on=GID, how="semi")
        ready.batches.append(Prepared("create", operations, image, fields, None, mine))

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
            found = seat.connector.find(seat.mapping.object, seat.compiled.read_columns, values)
            if found.is_empty():
                continue
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
        """Rows that may be another record than was known: not linked yet, or linked and changed since they were read (their keys)."""
        with self._store.read() as db:
            known = shadow_table.by_key(db, self._entity.name, self._seat.name, found[KEY])
        linked = known.filter((pl.col("state") != MISSING) & ~pl.col("key").is_in(list(self._parked)))
        prints = native_fingerprint(found, self._seat.compiled.value_columns)
        same = found.select(KEY, prints.alias("_now")).join(linked.select(pl.col("key").alias(KEY), "fingerprint"), on=KEY)
        unchanged = pl.col("_now").eq_missing(pl.col("fingerprint"))
        return found.filter(~pl.col(KEY).is_in(same.filter(unchanged)[KEY].implode())), same.filter(~unchanged)[KEY].to_list()

    def _prepare_updates(self, rows: pl.DataFrame, ready: Preparation) -> None:
        seat = self._seat
        if rows.is_empty() or not seat.connector.caps.updates:
            return
        writable = list(self._entity.written(seat.name))
        here, gone = self._read_targets(rows)
        ready.wake += gone
        shown = seat.compiled.to_cells(here)
        unreadable = here.join(shown.rows.select(KEY), on=KEY, how="anti")[KEY].to_list()
        ready.wake += unreadable
        rows, stale = self._as_last_seen(rows, shown.rows)
        ready.wake += stale
        rows, withheld = self._translate(rows, writable)
        rows = _without_fields(rows, withheld)
        if rows.is_empty():
            return
        names = [name for name in writable if rows[FIELDS].list.contains(name).any()]
        native = seat.compiled.to_native(rows.select(GID, *writable), names, new=False)
        due = rows.select(GID, FIELDS).explode(FIELDS).rename({FIELDS: "field"})
        bad = native.rejected.select(GID, "field", "reason").join(due, on=[GID, "field"], how="semi")
        ready.trouble(bad.join(rows.select(GID, KEY), on=GID, how="left"))
        rows = _without_fields(rows, bad.select(GID, "field"))
        if rows.is_empty():
            return
        self._update_batch(rows, names, native.rows, native.image, here, withheld, ready)

    def _update_batch(
        self,
        rows: pl.DataFrame,
        names: list[str],
        native: pl.DataFrame,
        image: pl.DataFrame,
        here: pl.DataFrame,
        withheld: pl.DataFrame,
        ready: Preparation,
    ) -> None:
        seat = self._seat
        columns = {name: list(seat.compiled.columns_of(name)) for name in names}
        write = pl.Series(
            WRITE,
            [list(dict.fromkeys(column for name in due if name in columns for column in columns[name])) for due in rows[FIELDS].to_list()],
            dtype=pl.List(pl.String),
        )
        operations = (
            beside(rows.select(GID, KEY, FIELDS, MOVED).with_columns(write), native, GID)
            .with_row_index(OP)
            .with_columns(pl.col(OP).cast(pl.Int64))
        )
        expected = beside(operations.select(OP, KEY), here, KEY).drop(KEY)
        idle = _unchanged(operations, expected, [column for column in native.columns if not column.startswith("__")])
        for part, kind in ((operations.filter(idle), "settled"), (operations.filter(~idle), "batch")):
            if part.is_empty():
                continue
            prepared = Prepared(
                "update",
                part.drop(FIELDS, MOVED),
                beside(part.select(OP, GID), image, GID).drop(GID),
                part.select(OP, FIELDS),
                self._with_version(expected.join(part.select(OP), on=OP, how="semi", maintain_order="left")),
                withheld,
                frozenset(part.filter(MOVED)[OP].to_list()),
            )
            (ready.settled if kind == "settled" else ready.batches).append(prepared)

    def _as_last_seen(self, rows: pl.DataFrame, shown: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
        """Rows whose due fields still read as last seen, and the keys of those that do not."""
        readable = [name for name in self._entity.shown(self._seat.name) if f"seen:{name}" in rows.columns and name in shown.columns]
        shown = self._translated_back(shown)
        both = rows.join(
            shown.select(KEY, *[pl.col(name).alias(f"now:{name}") for name in readable]), on=KEY, how="inner", maintain_order="left"
        )
        if both.is_empty():
            return both, []
        checks = [
            ~pl.col(FIELDS).list.contains(name) | pl.col(f"now:{name}").is_null() | pl.col(f"now:{name}").eq_missing(pl.col(f"seen:{name}"))
            for name in readable
        ]
        fresh = both.select(pl.all_horizontal(checks).alias("ok"))["ok"] if checks else pl.Series("ok", [True] * both.height)
        others = [
            ~pl.col(FIELDS).list.contains(name)
            & pl.col(f"now:{name}").is_not_null()
            & pl.col(f"now:{name}").ne_missing(pl.col(f"seen:{name}"))
            for name in readable
        ]
        both = both.with_columns(pl.any_horizontal(others).alias(MOVED) if others else pl.lit(value=False).alias(MOVED))
        kept = [name for name in rows.columns if not name.startswith("seen:")]
        return both.filter(fresh).select(*kept, MOVED), both.filter(~fresh)[KEY].to_list()

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
        here = pl.concat([page.rows for page in pages], how="vertical_relaxed") if pages else pl.DataFrame({KEY: []})
        present = set(here[KEY].to_list())
        return here, [key for key in keys if key not in present]

    def _translate(self, rows: pl.DataFrame, columns: list[str]) -> tuple[pl.DataFrame, pl.DataFrame]:
        if not reference_fields(self._entity, self._seat.name):
            return rows, pl.DataFrame(schema={GID: pl.Int64(), "field": pl.String()})
        with self._store.read() as db:
            return to_native(db, self._entity, self._seat.name, rows, columns)

    def _with_version(self, expected: pl.DataFrame) -> pl.DataFrame | None:
        """The precondition, None where the system offers none (the reading just before is then all there is)."""
        if self._seat.connector.caps.precondition != "native":
            return None
        if VERSION not in expected.columns:
            expected = expected.with_columns(pl.lit(None, dtype=pl.String).alias(VERSION))
        return expected.drop([name for name in expected.columns if name.startswith("__") and name not in (OP, VERSION)])

    # -------------------------------------------------------------- send

    def _read_back(self, prepared: Prepared, outcomes: pl.DataFrame) -> pl.DataFrame:
        """Outcomes with the stored row read at once where the answer did not tell it.

        What is shown then counts as stored only under the row version that the write reported, or where it may be a normal form of what
        was given; anything else is somebody's edit, which the next reading finds. A system that fails here leaves the intent behind.
        """
        seat = self._seat
        untold = outcomes.filter((pl.col("__status") == "done") & ~pl.col("__stored") & pl.col(KEY).is_not_null())
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
        seat = self._seat
        payload = prepared.rows.select(OP, GID, KEY)
        if prepared.kind != "delete":
            payload = beside(payload, prepared.image, OP)
            if prepared.kind != "create":  # the image of a new row has just the fields that it is given
                payload = beside(payload, prepared.fields, OP)
            payload = with_sent(payload, golden.select(GID, *self._entity.written(seat.name)))
        with self._store.write() as tx:
            intent = sending.add(
                tx, self._entity.name, seat.name, kind=prepared.kind, run=self._run, at=now, owner=self._owner, frame=payload
            )
            trail.about_to_leave(tx, self._entity.name, seat.name, prepared, intent, self._run, at=now)
        batch = WriteBatch(
            kind=prepared.kind,
            rows=prepared.rows.drop(GID),
            expected=prepared.expected,
            returning=() if prepared.kind == "delete" else seat.returning,
        )
        outcomes = seat.connector.write(seat.mapping.object, batch)
        joined = beside(outcomes, prepared.rows.select(OP, GID, pl.col(KEY).alias("__known_key")), OP)
        joined = joined.with_columns(pl.coalesce(KEY, "__known_key").alias(KEY))
        if prepared.kind != "delete":
            joined = self._read_back(prepared, joined)
        return Written(intent, joined.drop("__known_key"))

    def settle(self, prepared: Prepared, written: Written, golden: pl.DataFrame, now: datetime) -> Results:
        """Turn outcomes into what the state must learn; the system is not asked any more."""
        settle = {"create": settle_creates, "update": settle_updates, "delete": settle_deletes}[prepared.kind]
        results = settle(self._entity, self._seat, prepared, written.outcomes, golden, now)
        results.intent = written.intent
        return results


def _marks(rows: pl.DataFrame) -> list[str]:
    """Columns that are not native, but for the golden id."""
    return [name for name in rows.columns if name.startswith("__") and name != GID]


def _by_said(rows: pl.DataFrame, names: list[str]) -> list[tuple[tuple[str, ...], pl.DataFrame]]:
    """Rows grouped by which of the fields have a value at all (null is one), so that nothing unsaid is written."""
    complete = rows.filter(pl.all_horizontal(pl.col(name).is_not_null() for name in names)) if names else rows
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


def _unchanged(operations: pl.DataFrame, expected: pl.DataFrame, columns: list[str]) -> pl.Series:
    """Per operation: whether every column to write already holds the value to write."""
    checks = []
    there = expected.select(OP, *[pl.col(name).alias(f"_{name}") for name in columns if name in expected.columns])
    frame = beside(operations.select(OP, WRITE, *columns), there, OP)
    for name in columns:
        if f"_{name}" not in frame.columns or frame.get_column(name).dtype != frame.get_column(f"_{name}").dtype:
            checks.append(~pl.col(WRITE).list.contains(name))
        else:
            checks.append(~pl.col(WRITE).list.contains(name) | pl.col(name).eq_missing(pl.col(f"_{name}")))
    if not checks:
        return pl.Series("idle", [False] * operations.height)
    return frame.select(pl.all_horizontal(checks).alias("idle"))["idle"]
