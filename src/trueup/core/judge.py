"""Expressions that judge: a field's `rule` on every incoming edit, and its `hold_if` on every golden change.

They see `incoming`, `golden`, `base`, `incoming_system`, `golden_system`, `incoming_at`, `golden_at`, typed as the field, and the record's
other fields under their own names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from trueup.core.cells import AT, GID, NULL, SYSTEM, from_cells, to_cells
from trueup.core.expressions import evaluate, parse_expression

if TYPE_CHECKING:
    from trueup.model import Entity, Field

RECORD_FIELD = [GID, "field"]
JUDGE_NAMES = ("incoming", "golden", "base", "incoming_system", "golden_system", "incoming_at", "golden_at")


def judge_edits(entity: Entity, cells: pl.DataFrame, records: pl.DataFrame) -> pl.DataFrame:
    """Fold each record's edits through the field's `rule`, oldest first, ties by precedence (the first system judged last).

    Cells have observed, seen, golden, origin, origin_at. Returns __gid, field, golden, value, __system, __at; a rule that fails on a
    record leaves its golden value (the edit is then due to be restored, and told by the caller's history as judged).
    """
    settled = []
    for (name,), group in cells.partition_by("field", as_dict=True, maintain_order=True).items():
        field = entity.fields[str(name)]
        ordered = group.sort([GID, AT, "rank"], descending=[False, False, True])
        ordered = ordered.with_columns(_round=pl.int_range(pl.len()).over(GID), value=pl.col("golden"))
        state = ordered.unique(GID, keep="first", maintain_order=True).with_columns(
            _by=pl.col("origin"), _by_at=pl.col("origin_at"), **{SYSTEM: pl.col("origin"), AT: pl.col("origin_at")}
        )
        for number in range(int(ordered["_round"].max() or 0) + 1):  # type: ignore[arg-type]
            state = _judge_round(entity, field, state, ordered.filter(pl.col("_round") == number), records)
        settled.append(state.select(GID, "field", "golden", "value", pl.col("_by").alias(SYSTEM), pl.col("_by_at").alias(AT)))
    return pl.concat(settled)


def _judge_round(entity: Entity, field: Field, state: pl.DataFrame, edits: pl.DataFrame, records: pl.DataFrame) -> pl.DataFrame:
    """One edit per record judged against the value that stands so far."""
    incoming = edits.select(
        GID,
        pl.col("observed").alias("_incoming"),
        pl.col("seen").alias("_base"),
        pl.col(SYSTEM).alias("_from"),
        pl.col(AT).alias("_from_at"),
    )
    both = state.join(incoming, on=GID, how="left", maintain_order="left")
    frame = _environment(
        entity,
        field,
        both.select(
            GID,
            pl.col("_incoming").alias("incoming"),
            pl.col("value").alias("golden"),
            pl.col("_base").alias("base"),
            pl.col("_from").alias("incoming_system"),
            pl.col("_by").alias("golden_system"),
            pl.col("_from_at").alias("incoming_at"),
            pl.col("_by_at").alias("golden_at"),
        ),
        records,
    )
    judged, failed = evaluate(frame, parse_expression(field.rule or "golden", None))
    verdict = judged.to_frame("typed").select(to_cells(_as_type(judged, field), field).alias("verdict"))["verdict"]
    bad = pl.Series("bad", [False] * both.height)
    if not failed.is_empty():
        bad = pl.int_range(both.height, eager=True).is_in(failed["row"].implode())
    both = both.with_columns(_verdict=verdict, _bad=bad)
    no_golden = pl.col("value").is_null() | (pl.col("value") == NULL)
    taken = pl.when(pl.col("_incoming").is_null() | pl.col("_bad")).then("value").when(no_golden).then("_incoming").otherwise("_verdict")
    both = both.with_columns(_next=taken)
    by_incoming = pl.col("_next").eq_missing(pl.col("_incoming")) & pl.col("_next").ne_missing(pl.col("value"))
    return both.with_columns(
        value=pl.col("_next"),
        _by=pl.when(by_incoming | pl.col("_by").is_null()).then("_from").otherwise("_by"),
        _by_at=pl.when(by_incoming | pl.col("_by").is_null()).then("_from_at").otherwise("_by_at"),
    ).select(state.columns)


def held_changes(entity: Entity, changes: pl.DataFrame, records: pl.DataFrame) -> pl.DataFrame:
    """The golden changes (__gid, field) that a `hold_if` stops; a condition that cannot be judged stops the change too."""
    held = []
    for (name,), group in changes.partition_by("field", as_dict=True, maintain_order=True).items():
        field = entity.fields[str(name)]
        known = group.filter(pl.col("before").is_not_null())  # a first value is no change
        if not field.hold_if or known.is_empty():
            continue
        frame = _environment(
            entity,
            field,
            known.select(
                GID,
                pl.col("after").alias("incoming"),
                pl.col("before").alias("golden"),
                pl.col("before").alias("base"),
                pl.col(SYSTEM).alias("incoming_system"),
                pl.lit(None, dtype=pl.String).alias("golden_system"),
                pl.col(AT).alias("incoming_at"),
                pl.lit(None, dtype=pl.Datetime("us", "UTC")).alias("golden_at"),
            ),
            records,
        )
        verdict, failed = evaluate(frame, parse_expression(field.hold_if, None))
        stopped = verdict.cast(pl.Boolean).fill_null(value=False)
        if not failed.is_empty():
            stopped = stopped | pl.int_range(known.height, eager=True).is_in(failed["row"].implode())
        held.append(known.filter(stopped).select(RECORD_FIELD))
    return pl.concat(held) if held else changes.select(RECORD_FIELD).clear()


def _environment(entity: Entity, field: Field, frame: pl.DataFrame, records: pl.DataFrame) -> pl.DataFrame:
    """The names an expression may use, typed: the judged values as the field's type, the other fields from the record."""
    judged = [from_cells(pl.col(name), field).alias(name) for name in ("incoming", "golden", "base")]
    others = [
        from_cells(pl.col(name), other).alias(name)
        for name, other in entity.fields.items()
        if name not in JUDGE_NAMES and name in records.columns
    ]
    wide = records.select(GID, *others)
    return frame.with_columns(judged).join(wide, on=GID, how="left", maintain_order="left")


def _as_type(judged: pl.Series, field: Field) -> pl.Expr:
    """An expression's result as the field's type; a number is rounded, half away from zero, to whole numbers or the field's scale."""
    value = pl.col("typed")
    if field.type == "integer" and (judged.dtype.is_float() or judged.dtype.is_decimal()):
        value = value.round(0, mode="half_away_from_zero")
    targets: dict[str, pl.DataType] = {
        "text": pl.String(),
        "integer": pl.Int64(),
        "decimal": pl.Decimal(38, field.scale if field.scale is not None else 12),
        "float": pl.Float64(),
        "boolean": pl.Boolean(),
        "date": pl.Date(),
        "datetime": pl.Datetime("us", "UTC"),
    }
    target = targets.get(field.type)
    return value if target is None else value.cast(target, strict=False)
