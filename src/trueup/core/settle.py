"""Settle shadows: what each system holds (`seen`) and stands for (`sent`) after a merge, as deltas against the golden record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import polars as pl

from trueup.core import quick
from trueup.core.cells import AT, DIRTY, GID, KEY, SYSTEM, VERSION
from trueup.core.facts import FINGERPRINT, KHASH, MISSING, PRESENT, SHADOW_SCHEMA, WITHDRAWN
from trueup.core.frames import (
    FEW_ROWS,
    constant,
    differ,
    exchanged,
    first_of_each,
    found,
    is_given,
    keep,
    long,
    mask_of,
    renamed,
    stacked,
    sure,
    typed,
    with_each,
    without,
)
from trueup.core.merge import UPDATE_SCHEMA
from trueup.core.observe import golden_cells, with_deltas
from trueup.core.shadow import decode_delta, encode_delta, encode_deltas

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
    shadows = stacked([typed(facts.shadows, SHADOW_SCHEMA), *_new_shadows(facts)])
    shadows = without(shadows, _named_as_shadows(removed), _PAIR)
    cells = _touched_cells(facts, merged, changes, shadows, deltas)
    told = rewritten(facts, cells, deltas, records) if not cells.is_empty() else _NOT_REWRITTEN
    after = found(found(found(shadows, told, _PAIR), _missing(missing), _PAIR), _observed_rows(facts), _PAIR)
    here, rewrote, left_alone = sure(after["_here"]), sure(after["_rewritten"]), is_given(after["_state"])
    # An edit saves a row that was to be deleted; a mere reading does not.
    present = here & ((after["state"] != WITHDRAWN) | rewrote)
    state = constant("state", PRESENT, after.height, pl.Int64()).zip_with(present, after["state"])
    modified = after["_modified"].zip_with(here & is_given(after["_modified"]), after["modified"])
    after_now = exchanged(
        quick.chosen(after, list(SHADOW_SCHEMA)),
        after["_seen"].zip_with(rewrote, after["seen"]).alias("seen"),
        after["_sent"].zip_with(rewrote, after["sent"]).alias("sent"),
        after["_fingerprint"].zip_with(here, after["fingerprint"]).alias("fingerprint"),
        modified.alias("modified"),
        after["_version"].zip_with(here, after["native_version"]).alias("native_version"),
        after["_state"].zip_with(left_alone, state).alias("state"),
    )
    return after_now, keep(after_now, rewrote | here | left_alone)


_PAIR = ("gid", "system")
_NOT_REWRITTEN = pl.DataFrame(
    schema={"gid": pl.Int64(), "system": pl.String(), "_seen": pl.String(), "_sent": pl.String(), "_rewritten": pl.Boolean()}
)


def _named_as_shadows(rows: pl.DataFrame) -> pl.DataFrame:
    """(__gid, __system) as shadows name them."""
    return quick.table({"gid": rows[GID], "system": rows[SYSTEM]})


def _missing(rows: pl.DataFrame) -> pl.DataFrame:
    return _named_as_shadows(rows).hstack([constant("_state", MISSING, rows.height, pl.Int64())])


def rewritten(facts: Facts, cells: pl.DataFrame, deltas: Mapping[str, pl.DataFrame], records: pl.DataFrame) -> pl.DataFrame:
    """The shadows (gid, system) of the touched cells, with their new deltas `_seen` and `_sent`."""
    names = set(cells["field"].to_list())
    cells = found(cells, long(records, [GID], [name for name in facts.entity.fields if name in names], "golden"), [GID, "field"])
    pairs = first_of_each(_named_as_shadows(cells), _PAIR)
    texts = []
    for column in ("seen", "sent"):
        differs = differ(cells[column], cells["golden"])
        new = keep(cells, differs if column == "seen" else differs & cells["writable"])
        named = quick.table({GID: new[GID], SYSTEM: new[SYSTEM], "field": new["field"], "cell": new[column]})
        old = without(deltas[column], cells, [GID, SYSTEM, "field"])
        texts.append(encode_deltas(pairs, stacked([old, named])).alias(f"_{column}"))
    return pairs.hstack([*texts, constant("_rewritten", value=True, rows=pairs.height, dtype=pl.Boolean())])


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


def mark_again(after: pl.DataFrame, touched: pl.DataFrame, again: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Let these rows (__gid, __system) be compared anew when they are next read, as rows that are there."""
    if again.is_empty():
        return after, touched
    present = pl.when(pl.col("state") == MISSING).then(pl.lit(PRESENT, dtype=pl.Int64)).otherwise("state")
    return _rewrite(after, touched, _among(again), state=present, fingerprint=pl.lit(None, dtype=pl.Int64))


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
    fresh = {}
    for system, rows in facts.observed.items():
        mine = keep(facts.shadows, facts.shadows["system"] == system)["gid"]
        new = without(rows, mine.alias(GID).to_frame(), [GID])
        if not new.is_empty():
            fresh[system] = new
    return fresh


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
    parts = [_NOT_READ]
    for system, rows in facts.observed.items():
        many = rows.height
        version = rows[VERSION] if VERSION in rows.columns else constant(VERSION, None, many, pl.String())
        read = {
            "gid": rows[GID],
            "system": constant("system", system, many, pl.String()),
            "_fingerprint": rows[FINGERPRINT],
            "_modified": rows[AT],
            "_version": version,
            "_here": constant("_here", value=True, rows=many, dtype=pl.Boolean()),
        }
        parts.append(typed(quick.table(read), _NOT_READ.schema))
    return stacked(parts)


_NOT_READ = pl.DataFrame(
    schema={
        "gid": pl.Int64(),
        "system": pl.String(),
        "_fingerprint": pl.Int64(),
        "_modified": pl.Datetime("us", "UTC"),
        "_version": pl.String(),
        "_here": pl.Boolean(),
    }
)


def _touched_cells(
    facts: Facts, merged: Merged, changes: pl.DataFrame, shadows: pl.DataFrame, deltas: Mapping[str, pl.DataFrame]
) -> pl.DataFrame:
    """Absolute `seen` and `sent` of every cell that may change its delta: observed ones, and those whose golden value moved."""
    told = quick.chosen(merged.updates, list(UPDATE_SCHEMA))
    told = told.hstack([is_among(facts, "written", told).alias("writable")])
    parts = [told]
    if not changes.is_empty():
        parts.append(quick.chosen(_moved_cells(facts, changes, shadows, deltas, told), told.columns))
    parts += [part.select(told.columns) for part in _unread_cells(facts, told)]
    parts = [part for part in parts if not part.is_empty()]
    return parts[0] if len(parts) == 1 else first_of_each(stacked(parts or [told]), [GID, SYSTEM, "field"])


def is_among(facts: Facts, what: Literal["written", "shown", "mapped"], cells: pl.DataFrame) -> pl.Series:
    """As `among`, for these cells."""
    if cells.height > FEW_ROWS:
        return cells.select(among(facts, what)).to_series()
    entity = facts.entity
    fields = {"written": entity.written, "shown": entity.shown, "mapped": entity.mapped}[what]
    mapped = {system: set(fields(system)) for system in entity.mappings}
    pairs = zip(cells[SYSTEM].to_list(), cells["field"].to_list(), strict=True)
    return mask_of([system not in mapped or name in mapped[system] for system, name in pairs])


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
    rows = quick.table({GID: shadows["gid"], SYSTEM: shadows["system"]})
    moved = with_each(quick.chosen(changes, [GID, "field", "before"]), rows, GID)
    moved = keep(moved, is_among(facts, "mapped", moved))
    moved = without(moved, told, [GID, SYSTEM, "field"])
    moved = with_deltas(renamed(moved, "before", "golden"), deltas)
    writable = is_among(facts, "written", moved)
    sent = moved["_sent"].zip_with(moved["_has_sent"], moved["golden"].zip_with(writable, moved["seen"]))
    return moved.hstack([sent.alias("sent"), writable.alias("writable")])


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
        golden = long(golden_cells(facts), [GID], list(facts.entity.fields), "golden")
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
