"""Settle shadows: what each system holds (`seen`) and stands for (`sent`) after a merge, as deltas against the golden record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import polars as pl

from trueup.core.cells import AT, DIRTY, GID, KEY, SYSTEM, VERSION
from trueup.core.facts import FINGERPRINT, KHASH, MISSING, PRESENT, SHADOW_SCHEMA, WITHDRAWN
from trueup.core.fingerprint import FEW_ROWS
from trueup.core.merge import UPDATE_SCHEMA
from trueup.core.observe import golden_cells, long_cells
from trueup.core.shadow import DELTA_SCHEMA, decode_delta, encode_delta, encode_deltas

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trueup.core.facts import Facts
    from trueup.core.merge import Merged

NOTHING = "{}"
"""A delta that names no field."""


def settle_shadows(
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
    shadows = pl.concat([facts.shadows.cast(SHADOW_SCHEMA), *_new_shadows(facts)])
    if not removed.is_empty():
        shadows = shadows.join(removed.select(pl.col(GID).alias("gid"), pl.col(SYSTEM).alias("system")), on=["gid", "system"], how="anti")
    cells = _touched_cells(facts, merged, changes, shadows, deltas)
    after = shadows.with_columns(_rewritten=pl.lit(value=None, dtype=pl.Boolean))
    if not cells.is_empty():
        after = shadows.join(
            rewritten(facts, cells, deltas, records), on=["gid", "system"], how="left", maintain_order="left"
        ).with_columns(
            seen=pl.when("_rewritten").then("_seen").otherwise("seen"), sent=pl.when("_rewritten").then("_sent").otherwise("sent")
        )
    gone = missing.select(pl.col(GID).alias("gid"), pl.col(SYSTEM).alias("system"), pl.lit(MISSING).cast(pl.Int64).alias("_state"))
    after = (
        after.with_columns(_state=pl.lit(None, dtype=pl.Int64))
        if gone.is_empty()
        else after.join(gone, on=["gid", "system"], how="left", maintain_order="left")
    )
    # An edit saves a row that was to be deleted; a mere reading does not.
    unedited = (pl.col("state") == WITHDRAWN) & pl.col("_rewritten").is_null()
    after = after.join(_observed_rows(facts), on=["gid", "system"], how="left", maintain_order="left").with_columns(
        fingerprint=pl.when("_here").then("_fingerprint").otherwise("fingerprint"),
        modified=pl.when("_here").then(pl.coalesce("_modified", "modified")).otherwise("modified"),
        native_version=pl.when("_here").then("_version").otherwise("native_version"),
        state=pl.coalesce("_state", pl.when(pl.col("_here") & ~unedited).then(pl.lit(PRESENT).cast(pl.Int64)).otherwise("state")),
    )
    touched = after.filter(pl.col("_rewritten") | pl.col("_here") | pl.col("_state").is_not_null())
    return after.select(list(SHADOW_SCHEMA)), touched.select(list(SHADOW_SCHEMA))


def rewritten(facts: Facts, cells: pl.DataFrame, deltas: Mapping[str, pl.DataFrame], records: pl.DataFrame) -> pl.DataFrame:
    """The shadows (gid, system) of the touched cells, with their new deltas `_seen` and `_sent`."""
    names = cells["field"].unique().to_list()
    cells = cells.join(
        long_cells(records, [name for name in facts.entity.fields if name in names], "golden"), on=[GID, "field"], how="left"
    )
    pairs = cells.select(pl.col(GID).alias("gid"), pl.col(SYSTEM).alias("system")).unique(maintain_order=True)
    texts = {}
    for column in ("seen", "sent"):
        differs = pl.col(column).ne_missing(pl.col("golden")) & (pl.lit(column == "seen") | pl.col("writable"))
        new = cells.filter(differs).select(GID, SYSTEM, "field", pl.col(column).alias("cell")).cast(DELTA_SCHEMA)
        if not deltas[column].is_empty():
            old = deltas[column].join(cells.select(GID, SYSTEM, "field"), on=[GID, SYSTEM, "field"], how="anti")
            new = pl.concat([old, new])
        texts[f"_{column}"] = pl.Series(encode_deltas(pairs.rows(), new), dtype=pl.String)
    return pairs.with_columns(**texts, _rewritten=pl.lit(value=True))


def mark_doomed(after: pl.DataFrame, touched: pl.DataFrame, deleted: pl.Series) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Give the remaining rows of deleted records an empty `sent`: it names no field, but says that something is due there."""
    if deleted.is_empty():
        return after, touched
    doomed = pl.col("gid").is_in(deleted.implode())
    after = after.with_columns(sent=pl.when(doomed).then(pl.col("sent").fill_null(NOTHING)).otherwise("sent"))
    touched = pl.concat([touched.filter(~doomed), after.filter(doomed)])
    return after, touched


def mark_spared(after: pl.DataFrame, touched: pl.DataFrame, revived: pl.Series, spared: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Take the marks of `mark_doomed` and `mark_withdrawn` off rows that are not deleted yet.

    They are those of `revived` records, and the rows `spared` (__gid, __system).
    """
    if revived.is_empty() and spared.is_empty():
        return after, touched
    chosen = (pl.col("gid").is_in(revived.implode()) & (pl.col("sent") == NOTHING)) | _among(spared)
    present = pl.when(pl.col("state") == WITHDRAWN).then(pl.lit(PRESENT, dtype=pl.Int64)).otherwise("state")
    return _rewrite(after, touched, chosen, state=present, sent=pl.when(pl.col("sent") != NOTHING).then("sent"))


def mark_withdrawn(after: pl.DataFrame, touched: pl.DataFrame, withdrawn: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Mark the rows (__gid, __system) that are to be deleted although their records live."""
    if withdrawn.is_empty():
        return after, touched
    return _rewrite(after, touched, _among(withdrawn), state=pl.lit(WITHDRAWN, dtype=pl.Int64), sent=pl.col("sent").fill_null(NOTHING))


def _among(rows: pl.DataFrame) -> pl.Expr:
    """Whether a shadow is that of one of these rows (__gid, __system)."""
    pairs = rows.select(pl.struct(pl.col(GID).alias("gid"), pl.col(SYSTEM).alias("system")).alias("pair"))["pair"]
    return pl.struct("gid", "system").is_in(pairs.implode())


def _rewrite(after: pl.DataFrame, touched: pl.DataFrame, chosen: pl.Expr, **values: pl.Expr) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Change some shadows, which are then among those to write."""
    after = after.with_columns(_chosen=chosen.fill_null(value=False))
    mine = after.filter("_chosen").with_columns(**values).drop("_chosen")
    if mine.is_empty():
        return after.drop("_chosen"), touched
    rest = touched.join(mine, on=["gid", "system"], how="anti", maintain_order="left")
    return pl.concat([after.filter(~pl.col("_chosen")).drop("_chosen"), mine]), pl.concat([rest, mine])


def mark_dirty(facts: Facts, after: pl.DataFrame, touched: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Systems that show a golden value only once it is cleaned stand for what they really hold, where it is to be written back."""
    dirty = {
        (gid, system): text
        for system, rows in facts.observed.items()
        if DIRTY in rows.columns and rows[DIRTY].null_count() < rows.height
        for gid, text in rows.filter(pl.col(DIRTY).is_not_null()).select(GID, DIRTY).rows()
    }
    if not dirty:
        return after, touched
    sent = []
    for gid, system, seen, now in after.select("gid", "system", "seen", "sent").rows():
        raw = decode_delta(dirty.get((gid, system)))
        told, shows = decode_delta(now), decode_delta(seen)
        more = {name: cell for name, cell in raw.items() if name not in told and name not in shows}
        sent.append(encode_delta(told | more) if more else now)
    after = after.with_columns(pl.Series("sent", sent, dtype=pl.String))
    pairs = touched.select("gid", "system")
    return after, after.join(pairs, on=["gid", "system"], how="semi", maintain_order="left")


def _fresh_rows(facts: Facts) -> dict[str, pl.DataFrame]:
    """Observed rows that had no shadow, per system; a system without any is left out."""
    found = {}
    known = set(facts.shadows.select("system", "gid").rows()) if facts.shadows.height <= FEW_ROWS else None
    for system, rows in facts.observed.items():
        if known is not None and rows.height <= FEW_ROWS and all((system, gid) in known for gid in rows[GID].to_list()):
            continue
        mine = facts.shadows.filter(pl.col("system") == system).select(pl.col("gid").alias(GID))
        fresh = rows.join(mine, on=GID, how="anti", maintain_order="left")
        if not fresh.is_empty():
            found[system] = fresh
    return found


def _new_shadows(facts: Facts) -> list[pl.DataFrame]:
    """Shadows for observed rows that had none; their deltas follow from what the merge says they hold."""
    return [
        fresh.select(
            pl.col(GID).alias("gid"),
            pl.lit(system).alias("system"),
            pl.col(KEY).alias("key"),
            pl.col(KHASH).alias("khash"),
            *[pl.lit(None, dtype=SHADOW_SCHEMA[name]).alias(name) for name in list(SHADOW_SCHEMA)[4:-1]],
            pl.lit(PRESENT, dtype=pl.Int64).alias("state"),
        ).cast(SHADOW_SCHEMA)
        for system, fresh in _fresh_rows(facts).items()
    ]


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
    schema = pl.Schema(
        {
            "gid": pl.Int64(),
            "system": pl.String(),
            "_fingerprint": pl.Int64(),
            "_modified": pl.Datetime("us", "UTC"),
            "_version": pl.String(),
            "_here": pl.Boolean(),
        }
    )
    return pl.concat([pl.DataFrame(schema=schema), *[part.cast(schema) for part in parts]])


def _touched_cells(
    facts: Facts, merged: Merged, changes: pl.DataFrame, shadows: pl.DataFrame, deltas: Mapping[str, pl.DataFrame]
) -> pl.DataFrame:
    """Absolute `seen` and `sent` of every cell that may change its delta: observed ones, and those whose golden value moved."""
    told = merged.updates.select(list(UPDATE_SCHEMA)).with_columns(writable=among(facts, "written"))
    columns = [*UPDATE_SCHEMA, "writable"]
    parts = [told]
    if not changes.is_empty():
        parts.append(_moved_cells(facts, changes, shadows, deltas, told).select(columns))
    parts += [part.select(columns) for part in _unread_cells(facts, told)]
    return told if len(parts) == 1 else pl.concat(parts).unique([GID, SYSTEM, "field"], keep="first", maintain_order=True)


def among(facts: Facts, what: Literal["written", "shown", "mapped"]) -> pl.Expr:
    """Whether a cell's (system, field) is one that is written, shown, or mapped at all.

    A system that is not configured at present stands for what it stood for: when it comes back, it must not seem to know better.
    """
    entity = facts.entity
    fields = {"written": entity.written, "shown": entity.shown, "mapped": entity.mapped}[what]
    pairs = [f"{system}\x1f{name}" for system in entity.mappings for name in fields(system)]
    return pl.concat_str(SYSTEM, "field", separator="\x1f").is_in(pairs) | ~pl.col(SYSTEM).is_in(list(entity.mappings))


def _moved_cells(
    facts: Facts, changes: pl.DataFrame, shadows: pl.DataFrame, deltas: Mapping[str, pl.DataFrame], told: pl.DataFrame
) -> pl.DataFrame:
    """Cells of systems that said nothing now, of which the golden value moved: they hold and stand for what they did."""
    moved = (
        changes.select(GID, "field", "before")
        .join(shadows.select(pl.col("gid").alias(GID), pl.col("system").alias(SYSTEM)), on=GID)
        .filter(among(facts, "mapped"))
        .join(told.select(GID, SYSTEM, "field"), on=[GID, SYSTEM, "field"], how="anti")
        .with_columns(writable=among(facts, "written"))
    )
    has = {}
    for column in ("seen", "sent"):
        has[column] = pl.lit(value=False)
        if not deltas[column].is_empty():
            named = deltas[column].rename({"cell": f"_{column}"}).with_columns(pl.lit(value=True).alias(f"_has_{column}"))
            moved = moved.join(named, on=[GID, SYSTEM, "field"], how="left")
            has[column] = pl.col(f"_has_{column}")
        else:
            moved = moved.with_columns(pl.lit(None, dtype=pl.String()).alias(f"_{column}"))
    return moved.with_columns(seen=pl.when(has["seen"]).then("_seen").otherwise("before")).with_columns(
        sent=pl.when(has["sent"]).then("_sent").when("writable").then("before").otherwise("seen")
    )


def _unread_cells(facts: Facts, told: pl.DataFrame) -> list[pl.DataFrame]:
    """Cells of newly linked rows that showed nothing: unknown where the field can be read, still to be sent where it cannot."""
    parts = []
    for system, fresh in _fresh_rows(facts).items():
        names = pl.DataFrame(
            {"field": list(facts.entity.mapped(system)), SYSTEM: system}, schema={"field": pl.String(), SYSTEM: pl.String()}
        )
        cells = (
            fresh.select(GID)
            .join(names, how="cross")
            .join(told.select(GID, SYSTEM, "field"), on=[GID, SYSTEM, "field"], how="anti")
            .with_columns(writable=among(facts, "written"), shown=among(facts, "shown"))
        )
        golden = long_cells(golden_cells(facts), list(facts.entity.fields), "golden")
        parts.append(
            cells.join(golden, on=[GID, "field"], how="left").select(
                GID,
                SYSTEM,
                "field",
                pl.lit(None, dtype=pl.String).alias("seen"),
                pl.when("shown").then("golden").otherwise(None).alias("sent"),
                "writable",
            )
        )
    return parts
