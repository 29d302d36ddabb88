"""Verify: compare all systems with the golden records as they are now.

    checksum   every system is read whole and mapped; a fingerprint of each row's cells is compared with that of the cells expected
    row by row what differs is read once more, by key, and compared field by field with what the state says by then

Expected is the golden value; where a system is known to show it in its own form (`seen`, with nothing due), that form, unless it holds the
value apart since a mapping changed. What a person left apart is no difference, and is counted for itself. A field that this mapping cannot
write is expected as last seen. What waits for a person (rejected, parked, frozen, failed, vanished) is no difference.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl

from trueup.core.cells import GID, KEY, NULL, cell_to_python, json_to_records
from trueup.core.deliver import Due
from trueup.core.fingerprint import cell_fingerprint, checksum, checksums, key_hash
from trueup.core.merge import LEFT
from trueup.core.shadow import decode_delta
from trueup.errors import TrueupError
from trueup.reports.verify_facts import NOTED, SAMPLES, Agreement, Disagreement, EntityAgreement, SystemAgreement
from trueup.runtime.apart import held_apart, left_rows
from trueup.runtime.lane import Lane
from trueup.runtime.lookalikes import PERHAPS_UNREAD
from trueup.runtime.obstacles import PERHAPS_THERE
from trueup.runtime.questions import may_be_there, waiting_rows
from trueup.runtime.references import to_golden
from trueup.store import conflict, failure, golden, parked, unsettled_key
from trueup.store import shadow as shadow_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from trueup.model import Config, Entity
    from trueup.runtime.systems import Seat, Systems
    from trueup.store import Db, Store

BATCH_ROWS = 10_000
CHECKSUMS = 1 << 64
SEEN = "__seen"  # no field is named so: fields begin with a letter
SENT = "__sent"


def verify_systems(
    config: Config, systems: Systems, store: Store, names: Sequence[str], tick: Callable[[str, str, int], None] | None = None
) -> tuple[Agreement, dict[str, Suspects]]:
    """Compare; returns what was found, and per entity what a repair should look at. Only reads."""
    begun = time.perf_counter()
    found, again = Agreement(), {}
    for name in names:
        checker = _Checker(config.entities[name], store, tick or (lambda _entity, _system, _rows: None))
        found.entities[name] = checker.check(systems)
        again[name] = checker.suspects
    found.seconds = time.perf_counter() - begun
    return found, again


@dataclass
class Suspects:
    """Rows and records that differ: keys per system, and golden ids."""

    keys: dict[str, list[str]] = field(default_factory=dict)
    records: set[int] = field(default_factory=set)

    @property
    def anything(self) -> bool:
        """Whether there is anything to look at."""
        return bool(self.keys or self.records)


@dataclass
class _Side:
    """One system as it was read.

    index      __khash, gid, state of its known rows; `known`: gid, state, by gid
    seen       gid, print: fingerprints of the known rows that could be mapped, by gid
    strangers  keys of rows without a record
    waiting    golden ids whose row is there and cannot be understood; `lost` counts such rows without a record
    vanished   those of `waiting` whose row is gone, where nothing says that deletes are meant
    outside    golden ids whose row is outside of the mapping's filter
    left       golden ids of which a person left values, or the missing row, apart; how many
    doubt      golden ids whose row read otherwise at first: checksum of what it should show, and of what it did
    """

    seat: Seat
    fields: tuple[str, ...]
    index: pl.DataFrame
    counts: SystemAgreement = field(default_factory=SystemAgreement)
    seen: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema={"gid": pl.Int64(), "print": pl.Int64()}))
    known: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema={"gid": pl.Int64(), "state": pl.Int8()}))
    strangers: list[str] = field(default_factory=list)
    waiting: set[int] = field(default_factory=set)
    vanished: set[int] = field(default_factory=set)
    lost: int = 0
    outside: set[int] = field(default_factory=set)
    left: dict[int, int] = field(default_factory=dict)
    differing: set[int] = field(default_factory=set)
    doubt: dict[int, tuple[int, int]] = field(default_factory=dict)

    def add_up(self) -> None:
        """The checksums of the rows that were compared, now that it is known what became of those in doubt."""
        counts = self.counts
        counts.held = counts.agreed
        for gid, (agreed, held) in self.doubt.items():
            if gid in self.differing:
                counts.held += held - agreed
            elif gid in self.waiting or gid in self.outside:
                counts.agreed, counts.held, counts.compared = counts.agreed - agreed, counts.held - agreed, counts.compared - 1
        counts.agreed, counts.held = counts.agreed % CHECKSUMS, counts.held % CHECKSUMS


class _Checker:
    """One entity being verified."""

    def __init__(self, entity: Entity, store: Store, tick: Callable[[str, str, int], None]) -> None:
        self.entity = entity
        self.result = EntityAgreement()
        self.suspects = Suspects()
        self._store = store
        self._tick = tick
        self._sides: dict[str, _Side] = {}

    def check(self, systems: Systems) -> EntityAgreement:
        """Read every system, walk the golden records once, then look closely at what differs."""
        seats, errors = systems.seats(self.entity, make=False)
        self.result.left_out = {name: str(error) for name, error in errors.items()}
        self._read(seats)
        with self._store.read() as db:
            self._know_waiting(db)
            doubtful = self._walk(db)
        for name, gids in doubtful.items():
            self._look_closely(self._sides[name], sorted(gids))
        for side in self._sides.values():
            self._look_at_strangers(side)
            side.add_up()
            side.counts.waiting = len(side.waiting - side.differing) + side.lost
            side.counts.vanished = len(side.vanished - side.differing)
            side.counts.apart = sum(count for gid, count in side.left.items() if gid not in side.differing)
            self.result.systems[side.seat.name] = side.counts
        return self.result

    # ------------------------------------------------------------ read

    def _read(self, seats: Mapping[str, Seat]) -> None:
        if not seats:
            return
        with ThreadPoolExecutor(max_workers=len(seats), thread_name_prefix="verify") as pool:
            tasks = {name: pool.submit(self._read_side, seat) for name, seat in seats.items()}
        for name, task in tasks.items():
            try:
                self._sides[name] = task.result()
            except TrueupError as error:
                error.system = error.system or name
                self.result.left_out[name] = str(error)

    def _read_side(self, seat: Seat) -> _Side:
        name, compiled = seat.name, seat.compiled
        with self._store.read() as db:
            index = shadow_table.index(db, self.entity.name, name).rename({"khash": "__khash"}).select("__khash", "gid", "state")
        side = _Side(seat, self.entity.shown(name), index)
        seen = [side.seen]
        for page in seat.connector.read(seat.mapping.object, compiled.read_columns):
            self._tick(self.entity.name, name, page.rows.height)
            self._set_aside(side, [reject.key for reject in page.rejected])
            native = page.rows
            part = compiled.takes_part(native)
            failing = set(compiled.where_rejects(native)[KEY].to_list())
            outside = native.filter(~part & ~pl.col(KEY).is_in(list(failing)))[KEY]
            side.outside.update(self._linked(side, outside)["gid"].drop_nulls().to_list())
            cells, bad = self._map(seat, native.filter(part))
            self._set_aside(side, [*failing, *bad])
            side.counts.rows += cells.height
            known = self._linked(side, cells[KEY])
            prints = cell_fingerprint(_nothing_as_null(cells, side.fields), side.fields)
            rows = known.with_columns(prints.alias("print"), cells[KEY])
            side.strangers += rows.filter(pl.col("gid").is_null())[KEY].to_list()
            seen.append(rows.filter(pl.col("gid").is_not_null()).select("gid", "print"))
        side.seen = pl.concat(seen, rechunk=True).unique("gid", keep="last").sort("gid")
        side.known = side.index.select("gid", "state").drop_nulls("gid").sort("gid")
        return side

    def _map(self, seat: Seat, native: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
        """Cells of native rows, references as golden ids; and the keys of rows that cannot be mapped."""
        mapped = seat.compiled.to_cells(native)
        cells = mapped.rows
        if any(self.entity.fields[name].type == "reference" for name in self.entity.shown(seat.name)):
            with self._store.read() as db:
                cells = to_golden(db, self.entity, seat.name, cells).rows
        return cells, mapped.rejected[KEY].unique().to_list()

    def _linked(self, side: _Side, keys: pl.Series) -> pl.DataFrame:
        """Per key its golden id, null where there is none."""
        hashes = pl.DataFrame({"__khash": key_hash(keys)}, schema={"__khash": pl.Int64()})
        return hashes.join(side.index, on="__khash", how="left", maintain_order="left").select("gid")

    def _set_aside(self, side: _Side, keys: Iterable[str | None]) -> None:
        """Rows that are there and cannot be understood."""
        given = list(keys)
        named = pl.Series(KEY, list(dict.fromkeys(key for key in given if key is not None)), dtype=pl.String)
        rows = named.len() + given.count(None)
        gids = self._linked(side, named)["gid"].drop_nulls()
        side.counts.rows += rows
        side.waiting.update(gids.to_list())
        side.lost += rows - gids.len()

    # ------------------------------------------------------------ what waits for a person

    def _know_waiting(self, db: Db) -> None:
        entity = self.entity
        self._frozen: dict[int, set[str]] = {}
        for gid, name in conflict.open_of(db, entity.name).select("gid", "field").rows():
            self._frozen.setdefault(gid, set()).add(name)
        self._failing: dict[tuple[str, int], set[str | None]] = {}
        writes = failure.of(db, entity.name).filter((pl.col("stage") == "write") & pl.col("gid").is_not_null())
        for system, gid, name in writes.select("system", "gid", "field").rows():
            self._failing.setdefault((system, gid), set()).add(name)
        self._parked: dict[str, set[str]] = {}
        self._perhaps_there: dict[str, dict[str, str]] = {}
        for name in self._sides:
            unsettled = unsettled_key.of(db, entity.name, name).filter(pl.col("why").is_in(PERHAPS_THERE))
            self._perhaps_there[name] = dict(unsettled.select("key", "why").iter_rows())
        self._reserved: dict[str, set[int]] = {}
        waiting = waiting_rows(parked.of(db, entity.name))
        for system, key, candidates, linked in waiting.rows():
            if not linked:  # else it is known which record it shows
                self._parked.setdefault(system, set()).add(key)
            self._reserved.setdefault(system, set()).update(candidates)
        for system, gid in may_be_there(db, entity.name, waiting).rows():
            self._reserved.setdefault(system, set()).add(gid)
        for name, side in self._sides.items():
            here = set(side.seen["gid"].to_list()) if self._frozen else set()
            mapped = set(entity.mapped(name))
            side.waiting |= {gid for gid, fields in self._frozen.items() if gid in here and fields & mapped}

    def _expects_missing(self, system: str) -> bool:
        """Whether a row that vanished is wanted so, and nobody need hear of it."""
        deletes = self.entity.deletes
        return deletes is not None and system in deletes.sources and deletes.action != "propagate"

    # ------------------------------------------------------------ golden records

    def _walk(self, db: Db) -> dict[str, set[int]]:
        """Compare the golden records, chunk by chunk, with every system; returns golden ids to look at closely, per system."""
        doubtful: dict[str, set[int]] = {name: set() for name in self._sides}
        for rows in golden.stream(db, self.entity.name):
            alive = rows.filter(pl.col("deleted_at").is_null() & pl.col("alias_of").is_null())
            self.result.records += alive.height
            cells = pl.concat([alive.select(pl.col("id").alias(GID)), json_to_records(alive["data"], self.entity.fields)], how="horizontal")
            deltas = shadow_table.deltas(db, self.entity.name, int(rows["id"][0]), int(rows["id"][-1]))
            apart = self._apart(db, deltas, cells)
            dead = rows.join(alive.select("id"), on="id", how="anti").select(gid="id")
            for name, side in self._sides.items():
                doubtful[name].update(self._differing(db, side, cells, deltas.filter(pl.col("system") == name), apart))
                doubtful[name].update(dead.join(side.seen, on="gid", how="semi")["gid"].to_list())
        return doubtful

    def _apart(self, db: Db, deltas: pl.DataFrame, cells: pl.DataFrame) -> dict[tuple[str, int], dict[str, str]]:
        """What is held apart of these records; nearly always nothing."""
        mine = cells.filter(pl.col(GID).is_in(deltas["gid"].implode()))
        return held_apart(db, self.entity, deltas, {row[GID]: row for row in mine.iter_rows(named=True)})

    def _differing(
        self, db: Db, side: _Side, cells: pl.DataFrame, deltas: pl.DataFrame, apart: Mapping[tuple[str, int], Mapping[str, str]]
    ) -> list[int]:
        """Living records whose row reads otherwise than expected, or is not there."""
        writable = set(self.entity.written(side.seat.name))
        mine = {gid: rules for (name, gid), rules in apart.items() if name == side.seat.name}
        side.left |= {gid: count for gid, rules in mine.items() if (count := list(rules.values()).count(LEFT))}
        expected = _expected(cells, deltas, side.fields, writable, {gid: _by_mapping(rules) for gid, rules in mine.items()})
        prints = cell_fingerprint(_nothing_as_null(expected, side.fields), side.fields)
        both = expected.select(pl.col(GID).alias("gid"), prints.alias("expected"))
        if both.is_empty():
            return []
        first, last = int(cells[GID].min() or 0), int(cells[GID].max() or 0)  # type: ignore[arg-type]
        both = both.join(_between(side.seen, first, last), on="gid", how="left", maintain_order="left")
        there = both.filter(pl.col("print").is_not_null())
        side.counts.compared += there.height
        side.counts.agreed += checksum(there["gid"], there["expected"])
        doubtful = there.filter(pl.col("print") != pl.col("expected"))
        sums = (checksums(doubtful["gid"], doubtful[name]).to_list() for name in ("expected", "print"))
        side.doubt.update(zip(doubtful["gid"].to_list(), zip(*sums, strict=True), strict=True))
        other = doubtful["gid"].to_list()
        unread = both.filter(pl.col("print").is_null()).select("gid")
        states = unread.join(_between(side.known, first, last), on="gid", how="left", maintain_order="left")
        known = states.filter(pl.col("state").is_not_null())
        vanished = known.filter(pl.col("state") == shadow_table.MISSING)["gid"].to_list()
        left = left_rows(db, self.entity, side.seat.name, vanished)
        side.left |= dict.fromkeys(left, 1)
        side.outside |= left
        vanished = [gid for gid in vanished if gid not in left]
        if not self._expects_missing(side.seat.name):
            side.waiting.update(vanished)
            side.vanished.update(vanished)
        gone = set(vanished) | side.outside | side.waiting
        other += [gid for gid in known["gid"].to_list() if gid not in gone]
        self._lacking(side, cells.join(states.filter(pl.col("state").is_null()), left_on=GID, right_on="gid", how="semi"))
        return other

    def _lacking(self, side: _Side, cells: pl.DataFrame) -> None:
        """Records that have no row in a system: missing where a run would make one."""
        name = side.seat.name
        writable = list(self.entity.written(name))
        if cells.is_empty() or not writable or not side.seat.connector.caps.creates:
            return
        reserved = self._reserved.get(name, set())
        rows = cells.filter(~pl.col(GID).is_in(list(reserved))).select(GID, *writable)
        rows = rows.filter(pl.any_horizontal(pl.col(item).is_not_null() for item in writable))
        if rows.is_empty():
            return
        nothing = pl.DataFrame(schema={GID: pl.Int64(), KEY: pl.String()})
        lane = Lane(self._store, self.entity, side.seat, run=None, owner="verify")
        ready = lane.prepare(Due(nothing, rows, nothing), must_find=False)
        wanted = {gid for batch in ready.batches for gid in batch.rows[GID].to_list()}
        waiting = {gid for gid in rows[GID].to_list() if (name, gid) in self._failing}
        waiting |= {gid for trouble in ready.troubles for gid in trouble[GID].to_list()} - wanted
        side.waiting |= waiting
        for gid in sorted(wanted - waiting):
            self._found(side, "missing", gid, None)

    # ------------------------------------------------------------ row by row

    def _look_closely(self, side: _Side, gids: list[int]) -> None:
        for start in range(0, len(gids), BATCH_ROWS):
            self._look_at(side, gids[start : start + BATCH_ROWS])

    def _look_at(self, side: _Side, gids: list[int]) -> None:
        """Read rows once more and compare them field by field with the state of this moment."""
        name, seat = side.seat.name, side.seat
        with self._store.read() as db:
            ids = pl.Series("gid", gids, dtype=pl.Int64)
            shadows = {row["gid"]: row for row in shadow_table.by_golden(db, self.entity.name, ids, [name]).iter_rows(named=True)}
            records = golden.fetch(db, self.entity.name, ids)
            golden_cells = json_to_records(records["data"], self.entity.fields)
            agreed = dict(zip(records["id"].to_list(), golden_cells.iter_rows(named=True), strict=True))
            known = pl.DataFrame(list(shadows.values()), schema_overrides={"gid": pl.Int64()}).select("system", "gid", "seen", "sent")
            apart = held_apart(db, self.entity, known, agreed)
        keys = [row["key"] for row in shadows.values()]
        pages = list(seat.connector.read(seat.mapping.object, seat.compiled.read_columns, keys=keys)) if keys else []
        rejected = {reject.key for page in pages for reject in page.rejected}
        observed: dict[str, dict[str, str | None]] = {}
        for page in pages:
            part = seat.compiled.takes_part(page.rows)
            cells, bad = self._map(seat, page.rows.filter(part))
            rejected |= {*bad, *page.rows.filter(~part)[KEY].to_list()}
            observed |= {row[KEY]: row for row in cells.iter_rows(named=True)}
        dead = set(records.filter(pl.col("deleted_at").is_not_null())["id"].to_list())
        for gid in gids:
            row = shadows.get(gid)
            if row is None:
                continue
            if row["key"] in rejected or row["key"] in self._parked.get(name, set()):
                side.waiting.add(gid)
            elif row["key"] not in observed:
                self._not_there(side, gid, row["key"], dead=gid in dead)
            elif gid in dead:
                self._found(side, "extra", gid, row["key"])
            else:
                self._compare(side, row, agreed[gid], observed[row["key"]], _by_mapping(apart.get((name, gid), {})))

    def _not_there(self, side: _Side, gid: int, key: str, *, dead: bool) -> None:
        why = self._perhaps_there.get(side.seat.name, {}).get(key)
        if not dead and why is not None and (side.lost or why != PERHAPS_UNREAD):
            side.waiting.add(gid)  # a person mends, or settles, the row that it may be, and it is known whose that is
        elif not dead:
            self._found(side, "missing", gid, key)

    def _compare(
        self, side: _Side, row: Mapping[str, Any], agreed: Mapping[str, str | None], observed: Mapping[str, str | None], apart: set[str]
    ) -> None:
        gid = int(row["gid"])
        writable = set(self.entity.written(side.seat.name))
        expected = _overlaid(agreed, row["seen"], row["sent"], side.fields, writable, apart)
        other = [
            name
            for name in side.fields
            if observed[name] is not None and observed[name] != (NULL if expected[name] is None else expected[name])
        ]
        failing = self._failing.get((side.seat.name, gid), set())
        frozen = self._frozen.get(gid, set())
        real = [name for name in other if name not in frozen and name not in failing and None not in failing]
        if not real:
            if other:
                side.waiting.add(gid)
            return
        fields = {
            name: (cell_to_python(agreed[name], self.entity.fields[name]), cell_to_python(observed[name], self.entity.fields[name]))
            for name in real
        }
        self._found(side, "differ", gid, row["key"], fields)

    def _look_at_strangers(self, side: _Side) -> None:
        """Rows that no record is linked to."""
        waiting = self._parked.get(side.seat.name, set())
        for key in side.strangers:
            if key in waiting:
                side.lost += 1
            else:
                self._found(side, "extra", None, key)

    def _found(
        self, side: _Side, kind: str, gid: int | None, key: str | None, fields: Mapping[str, tuple[object, object]] | None = None
    ) -> None:
        setattr(side.counts, kind, getattr(side.counts, kind) + 1)
        if gid is not None:
            side.differing.add(gid)
            self.suspects.records.add(gid)
        if key is not None:
            self.suspects.keys.setdefault(side.seat.name, []).append(key)
        places = self.result.places.setdefault(side.seat.name, [])
        if len(places) < NOTED:
            places.append(f"k{key}" if gid is None else f"g{gid}")
        if len(self.result.examples) < SAMPLES:
            self.result.examples.append(Disagreement(side.seat.name, kind, gid, key, fields or {}))


# ---------------------------------------------------------------- expected cells


def _between(rows: pl.DataFrame, first: int, last: int) -> pl.DataFrame:
    """The rows with golden ids from `first` to `last`, of a frame sorted by them."""
    begin = int(rows["gid"].search_sorted(first, side="left"))
    end = int(rows["gid"].search_sorted(last, side="right"))
    return rows.slice(begin, end - begin)


def _expected(
    cells: pl.DataFrame, deltas: pl.DataFrame, fields: Sequence[str], writable: set[str], apart: Mapping[int, set[str]]
) -> pl.DataFrame:
    """What a system is expected to show, wide (__gid, fields): the golden cells, or the system's own known form of them."""
    plain = cells.select(GID, *fields)
    if deltas.is_empty():
        return plain
    named = deltas.select(pl.col("gid").alias(GID), pl.col("seen").alias(SEEN), pl.col("sent").alias(SENT))
    special = plain.join(named, on=GID)
    rows = [
        (row[GID], *_overlaid(row, row[SEEN], row[SENT], fields, writable, apart.get(row[GID], set())).values())
        for row in special.iter_rows(named=True)
    ]
    overlaid = pl.DataFrame(rows, schema=plain.schema, orient="row")
    return pl.concat([plain.join(special.select(GID), on=GID, how="anti"), overlaid])


def _overlaid(
    agreed: Mapping[str, str | None], seen: str | None, sent: str | None, fields: Sequence[str], writable: set[str], apart: set[str]
) -> dict[str, str | None]:
    """One row of `_expected`. Where a delivery is due, or would be but for a changed mapping, the golden value is expected.

    An absent cell expects nothing.
    """
    held, due = decode_delta(seen), decode_delta(sent).keys() | apart
    return {
        name: held[name] if name in held and not (name in due and name in writable and agreed[name] is not None) else agreed[name]
        for name in fields
    }


def _by_mapping(rules: Mapping[str, str]) -> set[str]:
    """The fields that are held apart because a mapping changed, and not because a person said so."""
    return {name for name, rule in rules.items() if rule != LEFT}


def _nothing_as_null(cells: pl.DataFrame, fields: Sequence[str]) -> pl.DataFrame:
    """Cells with absent ones as null: the close look tells the two apart."""
    return cells.select(pl.col(name).fill_null(NULL) for name in fields)


__all__ = ["Suspects", "verify_systems"]
