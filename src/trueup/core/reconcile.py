"""Reconcile: one set of records, from what was observed to what is agreed and what is due. READ THIS FIRST.

    observe   rows of each system minus its shadow          -> changed cells            (`_changed_cells`)
    match     came before: every row here has a golden id
    merge     per field: ownership, then the field's rule    -> golden changes           (`merge.merge`)
    deletes   who may delete, and whether the delete stands  -> tombstones, missing rows (`deletes.settle`)
    shadow    what each system holds and stands for now      -> deltas against golden    (`_settle_shadows`)

The result is a `Decision`: frames to commit in one transaction. What must be written where follows from it (`deliver.due`), so that a
plan, a run, and a run after a crash derive the same deliveries from the same facts.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import orjson
import polars as pl

from trueup.core.cells import AT, GID, KEY, SYSTEM, VERSION, json_to_records, records_to_json
from trueup.core.deletes import settle_deletes
from trueup.core.fingerprint import match_hash
from trueup.core.merge import CHANGE_SCHEMA, FREEZE_SCHEMA, HISTORY_SCHEMA, UPDATE_SCHEMA, Merged, Situation, merge
from trueup.core.shadow import DELTA_SCHEMA, encode_deltas, long_deltas

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from trueup.model import Entity

KHASH = "__khash"
FINGERPRINT = "__fingerprint"
PRESENT, MISSING, FILTERED, UNREADABLE = 0, 1, 2, 3
"""States of a shadow: its row is there; vanished and left alone; outside of the mapping's filter; there, but cannot be read."""

GONE_SCHEMA = {GID: pl.Int64(), SYSTEM: pl.String(), KEY: pl.String()}
SHADOW_SCHEMA = {
    "gid": pl.Int64(),
    "system": pl.String(),
    "key": pl.String(),
    "khash": pl.Int64(),
    "fingerprint": pl.Int64(),
    "seen": pl.String(),
    "sent": pl.String(),
    "before": pl.String(),
    "written_at": pl.Datetime("us", "UTC"),
    "modified": pl.Datetime("us", "UTC"),
    "native_version": pl.String(),
    "state": pl.Int64(),
}
GOLDEN_SCHEMA = {
    "id": pl.Int64(),
    "data": pl.String(),
    "origin_system": pl.String(),
    "origin_at": pl.Datetime("us", "UTC"),
    "origins": pl.String(),
    "version": pl.Int64(),
    "deleted_at": pl.Datetime("us", "UTC"),
    "alias_of": pl.Int64(),
}


@dataclass(frozen=True)
class Facts:
    """What is known about a set of records at one moment.

    observed  per system: __gid, __key, __khash, __fingerprint, __at, __version, then the cells of the fields that it shows; only rows
              that are new to it or read differently than before
    gone      __gid, __system, __key: rows confirmed to be gone
    golden    the golden rows (GOLDEN_SCHEMA); records that are being born are not among them
    shadows   all shadows of these records, in every system (SHADOW_SCHEMA); a renamed row's shadow already bears its new key
    frozen    candidates of open conflicts and holds of these records (FREEZE_SCHEMA)
    refused   systems whose edits a person refused as a whole: they are overruled
    refused_deletes  systems whose disappearances a person refused as a whole: those rows are made again
    remapped  per system: fields whose mapping is new or changed; they are at first contact there
    moved     systems that are another object than before: no disappearance from them is believed
    same_record  "system\\x1fkey" of rows that a person declared to be the same record in spite of everything having changed
    files     systems that people edit by saving a whole file over them
    """

    entity: Entity
    observed: Mapping[str, pl.DataFrame]
    gone: pl.DataFrame
    golden: pl.DataFrame
    shadows: pl.DataFrame
    frozen: pl.DataFrame
    now: datetime
    refused: frozenset[str] = frozenset()
    refused_deletes: frozenset[str] = frozenset()
    files: frozenset[str] = frozenset()
    same_record: frozenset[str] = frozenset()
    remapped: Mapping[str, frozenset[str]] = field(default_factory=dict)
    moved: frozenset[str] = frozenset()


@dataclass
class Decision:
    """What to commit. `records` are the golden cells (wide, __gid first) of all records at hand as they are after the merge.

    golden      rows to write (GOLDEN_SCHEMA without version); `born` tells which of them are new
    shadows     rows to write (SHADOW_SCHEMA), whole
    removed     shadows to drop: __gid, __system, __key
    after       every shadow as it stands afterwards (SHADOW_SCHEMA)
    deleted     golden ids that are deleted after this
    index       (rule, hash, __gid) to store instead of what was stored for `indexed`
    """

    records: pl.DataFrame
    golden: pl.DataFrame
    born: pl.Series
    shadows: pl.DataFrame
    removed: pl.DataFrame
    after: pl.DataFrame
    deleted: pl.Series
    index: pl.DataFrame
    indexed: pl.Series
    history: pl.DataFrame
    frozen: pl.DataFrame
    thawed: pl.DataFrame
    edited: dict[str, int] = field(default_factory=dict)  # system -> rows with a changed value
    updated: int = 0  # golden records changed
    overruled: int = 0
    missing: int = 0
    deleted_now: int = 0
    opened: int = 0
    frozen_pairs: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema={GID: pl.Int64(), "field": pl.String()}))
    reused: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=GONE_SCHEMA))
    missing_keys: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=GONE_SCHEMA))

    @property
    def anything(self) -> bool:
        """Whether there is anything to commit."""
        frames = (self.golden, self.shadows, self.removed, self.history, self.frozen, self.thawed)
        return any(not frame.is_empty() for frame in frames)


def reconcile(facts: Facts) -> Decision:
    """Decide everything about one set of records; a pure function of its facts."""
    entity = facts.entity
    golden = _golden_cells(facts)
    deltas = {column: long_deltas(facts.shadows, column) for column in ("seen", "sent")}
    cells = _changed_cells(facts, golden, deltas)
    reused = _reused_keys(facts, cells, golden)
    if not reused.is_empty():
        facts = _without_rows(facts, reused)
        cells = cells.join(reused, on=[GID, SYSTEM], how="anti")
    merged = merge(
        Situation(
            entity=entity,
            cells=cells,
            holders=_holders(facts),
            frozen=facts.frozen,
            records=golden,
            now=facts.now,
        )
    )
    verdict = settle_deletes(facts, merged)
    changes = pl.concat([merged.changes, verdict.changes])
    records = _apply(golden, changes)
    removed = verdict.removed
    after, touched = _settle_shadows(facts, merged, changes, verdict.missing, removed, deltas, records)
    after, touched = _mark_doomed(after, touched, verdict.deleted)
    golden_rows, born = _golden_rows(facts, records, changes, verdict.deleted, verdict.revived, verdict.restored)
    index, indexed = _match_index(entity, records, changes, merged, after, born, verdict.deleted)
    edits = cells.filter(~pl.col("first"))
    return Decision(
        records=records,
        golden=golden_rows,
        born=born,
        shadows=touched,
        removed=removed,
        after=after,
        deleted=verdict.dead,
        index=index,
        indexed=indexed,
        history=pl.concat([merged.history, verdict.history]),
        frozen=merged.frozen,
        thawed=merged.thawed,
        edited={
            str(system): count
            for system, count in edits.group_by(SYSTEM).agg(pl.col(GID).n_unique()).rows()
        },
        updated=changes.filter(~pl.col(GID).is_in(born.implode()))[GID].n_unique(),
        overruled=merged.overruled,
        deleted_now=verdict.deleted.len(),
        opened=_opened(facts, merged),
        frozen_pairs=_still_frozen(facts, merged),
        reused=reused,
        missing=verdict.missing.filter("told").height,
        missing_keys=verdict.missing.filter("told").select(list(GONE_SCHEMA)),
    )


def _golden_cells(facts: Facts) -> pl.DataFrame:
    """Golden cells, wide: __gid and one column per field; records being born have no values yet."""
    known = facts.golden
    cells = json_to_records(known["data"], facts.entity.fields)
    wide = pl.concat([known.select(pl.col("id").alias(GID)), cells], how="horizontal")
    observed = [frame.select(GID) for frame in facts.observed.values() if not frame.is_empty()]
    if not observed:
        return wide
    born = pl.concat(observed).unique(maintain_order=True).join(wide.select(GID), on=GID, how="anti", maintain_order="left")
    return pl.concat([wide, born], how="diagonal")


def _holders(facts: Facts) -> pl.DataFrame:
    """(__gid, __system) of rows that are there now, with a link."""
    known = facts.shadows.filter(pl.col("state") != MISSING).select(pl.col("gid").alias(GID), pl.col("system").alias(SYSTEM))
    here = [
        frame.select(GID, pl.lit(system, dtype=pl.String).alias(SYSTEM)) for system, frame in facts.observed.items() if not frame.is_empty()
    ]
    return pl.concat([known, *here]).unique().join(facts.gone.select(GID, SYSTEM), on=[GID, SYSTEM], how="anti")


def _changed_cells(facts: Facts, golden: pl.DataFrame, deltas: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Cell observations that say something new, in the form that `merge.Situation` wants, and `new_row` (no shadow before)."""
    parts = []
    golden_long = _long(golden, list(facts.entity.fields), "golden")
    for system, rows in facts.observed.items():
        shown = [name for name in facts.entity.shown(system) if name in rows.columns]
        if rows.is_empty() or not shown:
            continue
        known = facts.shadows.filter(pl.col("system") == system).select(pl.col("gid").alias(GID), pl.lit(value=False).alias("new_row"))
        writable = set(facts.entity.written(system))
        cells = (
            _long(rows, shown, "observed", keep=[AT])
            .filter(pl.col("observed").is_not_null())
            .join(golden_long, on=[GID, "field"], how="left")
            .join(known, on=GID, how="left")
            .with_columns(pl.col("new_row").fill_null(value=True))
        )
        for column in ("seen", "sent"):
            named = deltas[column].filter(pl.col(SYSTEM) == system).select(
                GID, "field", pl.col("cell").alias(f"_{column}"), pl.lit(value=True).alias(f"_has_{column}")
            )
            cells = cells.join(named, on=[GID, "field"], how="left")
        cells = cells.with_columns(
            seen=pl.when("new_row").then(None).when("_has_seen").then("_seen").otherwise("golden"),
        ).with_columns(
            sent=pl.when("new_row")
            .then(None)
            .when("_has_sent")
            .then("_sent")
            .when(pl.col("field").is_in(list(writable)))
            .then("golden")
            .otherwise("seen"),
            first=pl.col("new_row") | pl.col("seen").is_null() | pl.col("field").is_in(list(facts.remapped.get(system, ()))),
            refused=pl.lit(system in facts.refused),
            **{SYSTEM: pl.lit(system, dtype=pl.String)},
        )
        cells = _mark_old_windows(facts, system, cells)
        parts.append(
            cells.filter(pl.col("first") | pl.col("observed").ne_missing(pl.col("seen"))).select(
                GID, SYSTEM, "field", "observed", "seen", "sent", "golden", AT, "first", "new_row", "refused", "old_window"
            )
        )
    if not parts:
        schema = {GID: pl.Int64(), SYSTEM: pl.String(), "field": pl.String()} | dict.fromkeys(
            ("observed", "seen", "sent", "golden"), pl.String()
        )
        moment = pl.Datetime("us", "UTC")
        rest = {AT: moment, "first": pl.Boolean(), "new_row": pl.Boolean(), "refused": pl.Boolean(), "old_window": pl.Boolean(), "origin": pl.String(), "origin_at": moment}
        return pl.DataFrame(schema=schema | rest)
    return _with_origin(facts.golden, pl.concat(parts))


def _mark_old_windows(facts: Facts, system: str, cells: pl.DataFrame) -> pl.DataFrame:
    """Mark edits in a file back to what it showed before our last delivery: perhaps an old window saved over it."""
    if system not in facts.files:
        return cells.with_columns(old_window=pl.lit(value=False))
    earlier = long_deltas(facts.shadows.filter(pl.col("system") == system), "before").select(GID, "field", pl.col("cell").alias("_earlier"))
    return (
        cells.join(earlier, on=[GID, "field"], how="left")
        .with_columns(old_window=(pl.col("_earlier") == pl.col("observed")).fill_null(value=False))
        .drop("_earlier")
    )


def _reused_keys(facts: Facts, cells: pl.DataFrame, golden: pl.DataFrame) -> pl.DataFrame:
    """Known rows of which every value changed at once, the match fields among them: perhaps another record under an old key."""
    entity = facts.entity
    matching = {name for rule in entity.match for name in rule}
    if not matching or cells.is_empty():
        return pl.DataFrame(schema=GONE_SCHEMA)
    del golden
    changed = cells.filter(~pl.col("first")).group_by(GID, SYSTEM).agg(pl.col("field").len().alias("changed"), "field")
    parts = [pl.DataFrame(schema=GONE_SCHEMA)]
    for system, rows in facts.observed.items():
        shown = [name for name in entity.shown(system) if name in rows.columns]
        needed = sorted(matching & set(shown))
        if rows.is_empty() or not needed:
            continue
        said = rows.select(GID, KEY, pl.sum_horizontal(pl.col(name).is_not_null() for name in shown).alias("said"))
        mine = changed.filter(pl.col(SYSTEM) == system).join(said, on=GID)
        parts.append(
            mine.filter(
                (pl.col("changed") >= pl.col("said"))
                & (pl.col("said") >= 2)  # noqa: PLR2004 - a single value that changes is an ordinary edit
                & pl.all_horizontal(pl.col("field").list.contains(name) for name in needed)
            ).select(list(GONE_SCHEMA))
        )
    return pl.concat(parts).filter(~pl.concat_str(SYSTEM, KEY, separator="\x1f").is_in(list(facts.same_record)))


def _without_rows(facts: Facts, rows: pl.DataFrame) -> Facts:
    """The facts without these readings: their rows are left as they were last seen."""
    observed = {
        system: frame.join(rows.filter(pl.col(SYSTEM) == system).select(GID), on=GID, how="anti", maintain_order="left")
        for system, frame in facts.observed.items()
    }
    return replace(facts, observed=observed)


def _opened(facts: Facts, merged: Merged) -> int:
    """How many conflicts and holds are new."""
    pairs = [GID, "field"]
    return merged.frozen.select(pairs).unique().join(facts.frozen.select(pairs).unique(), on=pairs, how="anti").height


def _still_frozen(facts: Facts, merged: Merged) -> pl.DataFrame:
    """(__gid, field) that a person must settle after this merge."""
    pairs = [GID, "field"]
    before = facts.frozen.select(pairs).unique().join(merged.thawed, on=pairs, how="anti")
    return pl.concat([before, merged.frozen.select(pairs)]).unique()


def _long(wide: pl.DataFrame, fields: list[str], value: str, keep: list[str] | None = None) -> pl.DataFrame:
    """Wide cells as (__gid, …, field, value)."""
    return wide.select(GID, *(keep or []), *fields).unpivot(index=[GID, *(keep or [])], on=fields, variable_name="field", value_name=value)


def _with_origin(golden: pl.DataFrame, cells: pl.DataFrame) -> pl.DataFrame:
    """Add `origin` and `origin_at`: where and when the golden value of each cell came from; null where it has none."""
    rows = golden.select(pl.col("id").alias(GID), pl.col("origin_system").alias("origin"), "origin_at")
    named = [
        (gid, name, system, at)
        for gid, text in golden.filter(pl.col("origins").is_not_null()).select("id", "origins").rows()
        for name, (system, at) in orjson.loads(text).items()
    ]
    overrides = pl.DataFrame(
        named, schema={GID: pl.Int64(), "field": pl.String(), "_by": pl.String(), "_at": pl.String()}, orient="row"
    ).with_columns(pl.col("_at").str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="us", time_zone="UTC", strict=False))
    return (
        cells.join(rows, on=GID, how="left")
        .join(overrides, on=[GID, "field"], how="left")
        .with_columns(origin=pl.coalesce("_by", "origin"), origin_at=pl.when(pl.col("_by").is_not_null()).then("_at").otherwise("origin_at"))
        .drop("_by", "_at")
    )


def _apply(golden: pl.DataFrame, changes: pl.DataFrame) -> pl.DataFrame:
    """The golden cells with the changes put in."""
    for (name,), rows in changes.partition_by("field", as_dict=True, maintain_order=True).items():
        moved = rows.select(GID, pl.col("after").alias("_after"), pl.lit(value=True).alias("_moved"))
        golden = (
            golden.join(moved, on=GID, how="left", maintain_order="left")
            .with_columns(pl.when("_moved").then("_after").otherwise(pl.col(str(name))).alias(str(name)))
            .drop("_after", "_moved")
        )
    return golden


def _settle_shadows(  # noqa: PLR0913 - one step of the page above, split from it only for length
    facts: Facts,
    merged: Merged,
    changes: pl.DataFrame,
    missing: pl.DataFrame,
    removed: pl.DataFrame,
    deltas: Mapping[str, pl.DataFrame],
    records: pl.DataFrame,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Every shadow as it stands afterwards, and those among them to write.

    A golden change is written out into the shadows that had no delta for that field (copy on write), so that nobody who was not told
    seems to know it.
    """
    shadows = pl.concat([facts.shadows.cast(SHADOW_SCHEMA), _new_shadows(facts)])
    shadows = shadows.join(removed.select(pl.col(GID).alias("gid"), pl.col(SYSTEM).alias("system")), on=["gid", "system"], how="anti")
    cells = _touched_cells(facts, merged, changes, shadows, deltas)
    golden = _long(records, list(facts.entity.fields), "golden") if not cells.is_empty() else None
    if golden is not None:
        cells = cells.join(golden, on=[GID, "field"], how="left")
    fresh = {}
    for column in ("seen", "sent"):
        old = deltas[column].join(cells.select(GID, SYSTEM, "field"), on=[GID, SYSTEM, "field"], how="anti")
        new = (
            cells.filter(pl.col(column).ne_missing(pl.col("golden")) & (pl.lit(column == "seen") | pl.col("writable"))).select(
                GID, SYSTEM, "field", pl.col(column).alias("cell")
            )
            if golden is not None
            else old.clear()
        )
        fresh[column] = pl.concat([old, new.cast(DELTA_SCHEMA)])
    pairs = cells.select(pl.col(GID).alias("gid"), pl.col(SYSTEM).alias("system")).unique(maintain_order=True)
    rewritten = pairs.with_columns(
        **{f"_{column}": pl.Series(encode_deltas(pairs.rows(), fresh[column]), dtype=pl.String) for column in ("seen", "sent")},
        _rewritten=pl.lit(value=True),
    )
    seen_now = _observed_rows(facts)
    gone = missing.select(pl.col(GID).alias("gid"), pl.col(SYSTEM).alias("system"), pl.lit(MISSING).cast(pl.Int64).alias("_state"))
    after = (
        shadows.join(rewritten, on=["gid", "system"], how="left", maintain_order="left")
        .join(seen_now, on=["gid", "system"], how="left", maintain_order="left")
        .join(gone, on=["gid", "system"], how="left", maintain_order="left")
        .with_columns(
            seen=pl.when("_rewritten").then("_seen").otherwise("seen"),
            sent=pl.when("_rewritten").then("_sent").otherwise("sent"),
            fingerprint=pl.when("_here").then("_fingerprint").otherwise("fingerprint"),
            modified=pl.when("_here").then(pl.coalesce("_modified", "modified")).otherwise("modified"),
            native_version=pl.when("_here").then("_version").otherwise("native_version"),
            state=pl.coalesce("_state", pl.when("_here").then(pl.lit(PRESENT).cast(pl.Int64)).otherwise("state")),
        )
    )
    touched = after.filter(pl.col("_rewritten") | pl.col("_here") | pl.col("_state").is_not_null())
    return after.select(list(SHADOW_SCHEMA)), touched.select(list(SHADOW_SCHEMA))


def _mark_doomed(after: pl.DataFrame, touched: pl.DataFrame, deleted: pl.Series) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Give the remaining rows of deleted records an empty `sent`: it names no field, but says that something is due there."""
    doomed = pl.col("gid").is_in(deleted.implode())
    after = after.with_columns(sent=pl.when(doomed).then(pl.col("sent").fill_null("{}")).otherwise("sent"))
    touched = pl.concat([touched.filter(~doomed), after.filter(doomed)])
    return after, touched


def _new_shadows(facts: Facts) -> pl.DataFrame:
    """Shadows for observed rows that had none; their deltas follow from what the merge says they hold."""
    parts = [pl.DataFrame(schema=SHADOW_SCHEMA)]
    for system, rows in facts.observed.items():
        if rows.is_empty():
            continue
        known = facts.shadows.filter(pl.col("system") == system).select(pl.col("gid").alias(GID))
        fresh = rows.join(known, on=GID, how="anti", maintain_order="left")
        parts.append(
            fresh.select(
                pl.col(GID).alias("gid"),
                pl.lit(system).alias("system"),
                pl.col(KEY).alias("key"),
                pl.col(KHASH).alias("khash"),
                *[pl.lit(None, dtype=SHADOW_SCHEMA[name]).alias(name) for name in list(SHADOW_SCHEMA)[4:-1]],
                pl.lit(PRESENT, dtype=pl.Int64).alias("state"),
            ).cast(SHADOW_SCHEMA)
        )
    return pl.concat(parts)


def _observed_rows(facts: Facts) -> pl.DataFrame:
    """(gid, system) of the rows read, with what the shadow keeps of the reading."""
    parts = [
        rows.select(
            pl.col(GID).alias("gid"),
            pl.lit(system).alias("system"),
            pl.col(FINGERPRINT).alias("_fingerprint"),
            pl.col(AT).alias("_modified"),
            (pl.col(VERSION) if VERSION in rows.columns else pl.lit(None, dtype=pl.String)).alias("_version"),
            pl.lit(value=True).alias("_here"),
        )
        for system, rows in facts.observed.items()
        if not rows.is_empty()
    ]
    moment = pl.Datetime("us", "UTC")
    schema = {
        "gid": pl.Int64(),
        "system": pl.String(),
        "_fingerprint": pl.Int64(),
        "_modified": moment,
        "_version": pl.String(),
        "_here": pl.Boolean(),
    }
    return pl.concat([pl.DataFrame(schema=schema), *[part.cast(schema) for part in parts]])


def _touched_cells(
    facts: Facts, merged: Merged, changes: pl.DataFrame, shadows: pl.DataFrame, deltas: Mapping[str, pl.DataFrame]
) -> pl.DataFrame:
    """Absolute `seen` and `sent` of every cell that may change its delta: observed ones, and those whose golden value moved."""
    mapped = pl.DataFrame(
        [
            (system, name, name in facts.entity.written(system), name in facts.entity.shown(system))
            for system in facts.entity.mappings
            for name in facts.entity.mapped(system)
        ],
        schema={SYSTEM: pl.String(), "field": pl.String(), "writable": pl.Boolean(), "shown": pl.Boolean()},
        orient="row",
    )
    pairs = shadows.select(pl.col("gid").alias(GID), pl.col("system").alias(SYSTEM))
    told = merged.updates.select(list(UPDATE_SCHEMA)).join(mapped, on=[SYSTEM, "field"])
    moved = (
        changes.select(GID, "field", "before")
        .join(pairs, on=GID)
        .join(mapped, on=[SYSTEM, "field"])
        .join(told.select(GID, SYSTEM, "field"), on=[GID, SYSTEM, "field"], how="anti")
    )
    for column in ("seen", "sent"):
        named = deltas[column].rename({"cell": f"_{column}"}).with_columns(pl.lit(value=True).alias(f"_has_{column}"))
        moved = moved.join(named, on=[GID, SYSTEM, "field"], how="left")
    moved = moved.with_columns(seen=pl.when("_has_seen").then("_seen").otherwise("before")).with_columns(
        sent=pl.when("_has_sent").then("_sent").when("writable").then("before").otherwise("seen")
    )
    unread = _unread_cells(facts, mapped, told)
    columns = [*UPDATE_SCHEMA, "writable"]
    return pl.concat([told.select(columns), moved.select(columns), unread.select(columns)]).unique(
        [GID, SYSTEM, "field"], keep="first", maintain_order=True
    )


def _unread_cells(facts: Facts, mapped: pl.DataFrame, told: pl.DataFrame) -> pl.DataFrame:
    """Cells of newly linked rows that showed nothing: unknown where the field can be read, still to be sent where it cannot."""
    parts = [pl.DataFrame(schema=UPDATE_SCHEMA | {"writable": pl.Boolean(), "shown": pl.Boolean()})]
    for system, rows in facts.observed.items():
        if rows.is_empty():
            continue
        known = facts.shadows.filter(pl.col("system") == system).select(pl.col("gid").alias(GID))
        fresh = rows.select(GID).join(known, on=GID, how="anti")
        if fresh.is_empty():
            continue
        cells = fresh.join(mapped.filter(pl.col(SYSTEM) == system), how="cross").join(
            told.select(GID, SYSTEM, "field"), on=[GID, SYSTEM, "field"], how="anti"
        )
        golden = _long(_golden_cells(facts), list(facts.entity.fields), "golden")
        parts.append(
            cells.join(golden, on=[GID, "field"], how="left").select(
                GID,
                SYSTEM,
                "field",
                pl.lit(None, dtype=pl.String).alias("seen"),
                pl.when("shown").then("golden").otherwise(None).alias("sent"),
                "writable",
                "shown",
            )
        )
    return pl.concat(parts)


def _golden_rows(  # noqa: PLR0913 - one step of the page above, split from it only for length
    facts: Facts, records: pl.DataFrame, changes: pl.DataFrame, deleted: pl.Series, revived: pl.Series, restored: pl.Series
) -> tuple[pl.DataFrame, pl.Series]:
    """The golden rows to write, with the origin of every value, and the ids among them that are new.

    A record of which a row is to be made again is written as it is: its new version makes sure that every later run considers it, too.
    """
    known = facts.golden
    born = records.join(known.select(pl.col("id").alias(GID)), on=GID, how="anti", maintain_order="left")[GID]
    touched = pl.concat([changes[GID], deleted, revived, restored, born]).unique(maintain_order=True)
    if touched.is_empty():
        return pl.DataFrame(schema=GOLDEN_SCHEMA), born
    rows = records.filter(pl.col(GID).is_in(touched.implode()))
    data = records_to_json(rows, facts.entity.fields)
    origins = _origins(known, changes)
    before = known.select(pl.col("id").alias(GID), "origin_system", "origin_at", "origins", "version", "deleted_at", "alias_of")
    written = (
        rows.select(pl.col(GID), data.alias("data"))
        .join(before, on=GID, how="left", maintain_order="left")
        .join(origins, on=GID, how="left", maintain_order="left")
        .with_columns(
            id=pl.col(GID),
            origin_system=pl.coalesce("origin_system", "_system"),
            origin_at=pl.when(pl.col("origin_system").is_null()).then("_at").otherwise("origin_at"),
            origins=pl.when(pl.col("_named").is_not_null()).then("_origins").otherwise("origins"),
            deleted_at=pl.when(pl.col(GID).is_in(deleted.implode()))
            .then(pl.lit(facts.now))
            .when(pl.col(GID).is_in(revived.implode()))
            .then(None)
            .otherwise("deleted_at"),
        )
    )
    return written.select(list(GOLDEN_SCHEMA)).cast(GOLDEN_SCHEMA), born


def _origins(known: pl.DataFrame, changes: pl.DataFrame) -> pl.DataFrame:
    """Per changed record: the system and time of the row as a whole, and of the fields that came from elsewhere."""
    base = {gid: (system, at, text) for gid, system, at, text in known.select("id", "origin_system", "origin_at", "origins").rows()}
    stamped = changes.select(
        GID, "field", SYSTEM, AT, pl.col(AT).dt.to_string("%Y-%m-%dT%H:%M:%S%.6fZ").alias("text")
    ).rows()
    grouped: dict[int, list[tuple[str, str | None, datetime | None, str | None]]] = {}
    for gid, name, system, at, text in stamped:
        grouped.setdefault(gid, []).append((name, system, at, text))
    rows = []
    for gid, items in grouped.items():
        system, at, text = base.get(gid, (None, None, None))
        if system is None:
            system, at = items[0][1], items[0][2]
        named = orjson.loads(text) if text else {}
        for name, by, when, stamp in items:
            if by == system and when == at:
                named.pop(name, None)
            else:
                named[name] = [by, stamp]
        rows.append((gid, system, at, orjson.dumps(named).decode() if named else None, True))
    schema = {
        GID: pl.Int64(),
        "_system": pl.String(),
        "_at": pl.Datetime("us", "UTC"),
        "_origins": pl.String(),
        "_named": pl.Boolean(),
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def _match_index(  # noqa: PLR0913 - one step of the page above, split from it only for length
    entity: Entity,
    records: pl.DataFrame,
    changes: pl.DataFrame,
    merged: Merged,
    after: pl.DataFrame,
    born: pl.Series,
    deleted: pl.Series,
) -> tuple[pl.DataFrame, pl.Series]:
    """The match hashes of records whose match values moved: of the golden values, and of what linked systems show instead."""
    schema = {"rule": pl.Int64(), "hash": pl.Int64(), GID: pl.Int64()}
    if not entity.match:
        return pl.DataFrame(schema=schema), pl.Series(dtype=pl.Int64)
    names = {name for rule in entity.match for name in rule}
    moved = pl.concat([frame.filter(pl.col("field").is_in(list(names)))[GID] for frame in (changes, merged.updates)])
    indexed = pl.concat([moved, born, deleted]).unique(maintain_order=True)
    alive = indexed.filter(~indexed.is_in(deleted.implode()))
    rows = records.filter(pl.col(GID).is_in(alive.implode()))
    variants = [rows]
    shown = long_deltas(after.filter(pl.col("gid").is_in(alive.implode()) & pl.col("seen").is_not_null()), "seen")
    shown = shown.filter(pl.col("field").is_in(list(names)))
    for (_system,), cells in shown.partition_by(SYSTEM, as_dict=True, maintain_order=True).items():
        variant = rows.filter(pl.col(GID).is_in(cells[GID].unique().implode()))
        named = cells.select(GID, "field", pl.col("cell").alias("after"))
        variants.append(_apply(variant, named))
    every = pl.concat(variants)
    parts = [
        pl.DataFrame({"rule": [number], GID: [0]}, schema={"rule": pl.Int64(), GID: pl.Int64()}).clear()
        if every.is_empty()
        else every.select(pl.lit(number, dtype=pl.Int64).alias("rule"), match_hash(every, rule, number).alias("hash"), GID)
        for number, rule in enumerate(entity.match)
    ]
    return pl.concat(parts, how="diagonal").select(
        "rule", pl.col("hash") if not every.is_empty() else pl.lit(None, dtype=pl.Int64).alias("hash"), GID
    ).drop_nulls("hash").unique(), indexed


__all__ = [
    "CHANGE_SCHEMA",
    "FINGERPRINT",
    "FREEZE_SCHEMA",
    "GOLDEN_SCHEMA",
    "GONE_SCHEMA",
    "HISTORY_SCHEMA",
    "KHASH",
    "SHADOW_SCHEMA",
    "Decision",
    "Facts",
    "reconcile",
]
