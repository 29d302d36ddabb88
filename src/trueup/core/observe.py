"""Observe: what systems show now minus what their shadows say they showed before -> changed cells."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import orjson
import polars as pl

from trueup.core.cells import AT, GID, KEY, SYSTEM, json_to_records
from trueup.core.facts import GONE_SCHEMA, MISSING
from trueup.core.shadow import long_deltas

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trueup.core.facts import Facts


def golden_cells(facts: Facts) -> pl.DataFrame:
    """Golden cells, wide: __gid and one column per field; records being born have no values yet."""
    known = facts.golden
    cells = json_to_records(known["data"], facts.entity.fields)
    wide = pl.concat([known.select(pl.col("id").alias(GID)), cells], how="horizontal")
    observed = [frame.select(GID) for frame in facts.observed.values() if not frame.is_empty()]
    if not observed:
        return wide
    born = pl.concat(observed).unique(maintain_order=True).join(wide.select(GID), on=GID, how="anti", maintain_order="left")
    return pl.concat([wide, born], how="diagonal")


def holders(facts: Facts) -> pl.DataFrame:
    """(__gid, __system) of rows that are there now, with a link."""
    known = facts.shadows.filter(pl.col("state") != MISSING).select(pl.col("gid").alias(GID), pl.col("system").alias(SYSTEM))
    here = [
        frame.select(GID, pl.lit(system, dtype=pl.String).alias(SYSTEM)) for system, frame in facts.observed.items() if not frame.is_empty()
    ]
    return pl.concat([known, *here]).unique().join(facts.gone.select(GID, SYSTEM), on=[GID, SYSTEM], how="anti")


def changed_cells(facts: Facts, golden: pl.DataFrame, deltas: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Cell observations that say something new, in the form that `merge.Situation` wants, and `new_row` (no shadow before)."""
    parts = []
    golden_long = long_cells(golden, list(facts.entity.fields), "golden")
    for system, rows in facts.observed.items():
        shown = [name for name in facts.entity.shown(system) if name in rows.columns]
        if rows.is_empty() or not shown:
            continue
        known = facts.shadows.filter(pl.col("system") == system).select(pl.col("gid").alias(GID), pl.lit(value=False).alias("new_row"))
        writable = set(facts.entity.written(system))
        cells = (
            long_cells(rows, shown, "observed", keep=[AT])
            .filter(pl.col("observed").is_not_null())
            .join(golden_long, on=[GID, "field"], how="left")
            .join(known, on=GID, how="left")
            .with_columns(pl.col("new_row").fill_null(value=True))
        )
        mine = {column: named.filter(pl.col(SYSTEM) == system).drop(SYSTEM) for column, named in deltas.items()}
        cells, seen, has_sent = with_deltas(cells, mine)
        cells = cells.with_columns(seen=pl.when("new_row").then(None).otherwise(seen)).with_columns(
            sent=pl.when("new_row")
            .then(None)
            .when(has_sent)
            .then("_sent" if "_sent" in cells.columns else None)
            .when(pl.col("field").is_in(list(writable)))
            .then("golden")
            .otherwise("seen"),
            first=pl.col("new_row") | pl.col("seen").is_null(),
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
        rest = {
            AT: moment,
            "first": pl.Boolean(),
            "new_row": pl.Boolean(),
            "refused": pl.Boolean(),
            "old_window": pl.Boolean(),
            "origin": pl.String(),
            "origin_at": moment,
        }
        return pl.DataFrame(schema=schema | rest)
    return with_origin(facts.golden, pl.concat(parts))


def with_deltas(cells: pl.DataFrame, deltas: Mapping[str, pl.DataFrame]) -> tuple[pl.DataFrame, pl.Expr, pl.Expr]:
    """Cells with what the shadow names for them (`_seen`, `_sent`): also what each was seen to show, and whether `sent` names it.

    `deltas` are those of one system, without `__system`, or of all, with it. Most shadows name nothing: then nothing is joined.
    """
    has = {}
    for column in ("seen", "sent"):
        named = deltas[column]
        if named.is_empty():
            continue
        place = [name for name in (GID, SYSTEM, "field") if name in named.columns]
        mine = named.select(*place, pl.col("cell").alias(f"_{column}"), pl.lit(value=True).alias(f"_has_{column}"))
        cells = cells.join(mine, on=place, how="left")
        has[column] = pl.col(f"_has_{column}")
    seen = pl.when(has["seen"]).then("_seen").otherwise("golden") if "seen" in has else pl.col("golden")
    return cells, seen, has.get("sent", pl.lit(value=False))


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


def reused_keys(facts: Facts, cells: pl.DataFrame, golden: pl.DataFrame) -> pl.DataFrame:
    """Known rows of which every value changed at once, the match fields among them: perhaps another record under an old key."""
    entity = facts.entity
    matching = {name for rule in entity.match for name in rule}
    if not matching or cells.is_empty():
        return pl.DataFrame(schema=GONE_SCHEMA)
    del golden
    if cells.height == 1 and not facts.suspects:  # one value alone is an ordinary edit
        return pl.DataFrame(schema=GONE_SCHEMA)
    # What was not known before is no news, and says nothing against another record either.
    changed = (
        cells.filter(~pl.col("first") | pl.col("observed").ne_missing(pl.col("golden")))
        .group_by(GID, SYSTEM)
        .agg(pl.col("field").len().alias("changed"), pl.col("field").filter(~pl.col("first")))
    )
    suspects = ["\x1f".join(pair) for pair in facts.suspects]
    parts = [pl.DataFrame(schema=GONE_SCHEMA)]
    for system, rows in facts.observed.items():
        shown = [name for name in entity.shown(system) if name in rows.columns]
        needed = sorted(matching & set(shown))
        if rows.is_empty() or not needed:
            continue
        said = rows.select(GID, KEY, pl.sum_horizontal(pl.col(name).is_not_null() for name in shown).alias("said"))
        mine = changed.filter(pl.col(SYSTEM) == system).join(said, on=GID)
        differs = [pl.col("field").list.contains(name) for name in needed]
        exchanged = (pl.col("changed") >= pl.col("said")) & (pl.col("field").list.len() > 1) & pl.all_horizontal(differs)
        # Some value of the other record may come to equal this one's: only what tells records apart says whose row it is.
        still = pl.concat_str(SYSTEM, KEY, separator="\x1f").is_in(suspects) & pl.any_horizontal(differs)
        parts.append(mine.filter(exchanged | still).select(list(GONE_SCHEMA)))
    return pl.concat(parts).filter(~pl.concat_str(SYSTEM, KEY, separator="\x1f").is_in(list(facts.same_record)))


def without_rows(facts: Facts, rows: pl.DataFrame) -> Facts:
    """The facts without these readings: their rows are left as they were last seen."""
    observed = {
        system: frame.join(rows.filter(pl.col(SYSTEM) == system).select(GID), on=GID, how="anti", maintain_order="left")
        for system, frame in facts.observed.items()
    }
    return replace(facts, observed=observed)


def long_cells(wide: pl.DataFrame, fields: list[str], value: str, keep: list[str] | None = None) -> pl.DataFrame:
    """Wide cells as (__gid, …, field, value). No field is named as the columns made first: fields begin with a letter."""
    index = [GID, *(keep or [])]
    long = wide.select(*index, *fields).unpivot(index=index, on=fields, variable_name="__field", value_name="__value")
    return long.rename({"__field": "field", "__value": value})


def with_origin(golden: pl.DataFrame, cells: pl.DataFrame) -> pl.DataFrame:
    """Add `origin` and `origin_at`: where and when the golden value of each cell came from; null where it has none."""
    rows = golden.select(pl.col("id").alias(GID), pl.col("origin_system").alias("origin"), "origin_at")
    if golden["origins"].null_count() == golden.height:
        return cells.join(rows, on=GID, how="left")
    named = [
        (gid, name, system, at)
        for gid, text in golden.filter(pl.col("origins").is_not_null()).select("id", "origins").rows()
        for name, (system, at) in orjson.loads(text).items()
    ]
    overrides = pl.DataFrame(
        named, schema={GID: pl.Int64(), "field": pl.String(), "_by": pl.String(), "_at": pl.String()}, orient="row"
    ).with_columns(
        pl.col("_at").str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_unit="us", time_zone="UTC", strict=False),
        _named=pl.lit(value=True),  # a value that a person settled comes from no system
    )
    return (
        cells.join(rows, on=GID, how="left")
        .join(overrides, on=[GID, "field"], how="left")
        .with_columns(
            origin=pl.when("_named").then("_by").otherwise("origin"), origin_at=pl.when("_named").then("_at").otherwise("origin_at")
        )
        .drop("_by", "_at", "_named")
    )
