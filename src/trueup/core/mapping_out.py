"""Cells to native rows: the writing half of a mapping, and the test that what is written would read back as meant."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import polars as pl

from trueup.core import quick
from trueup.core.cells import CELL_TIME, KEY, NULL, boolean_of, from_cells
from trueup.core.clean import clean_column
from trueup.core.coerce import coerce_columns, decimal_text, wall_clock
from trueup.core.expressions import CompiledExpression, evaluate
from trueup.core.frames import FEW_ROWS, constant, exchanged
from trueup.core.mapping_in import blank_to_null, read_fields
from trueup.core.number_format import number_format
from trueup.core.types import DECIMAL_DIGITS, DECIMAL_PLACES, UTC_TIME, Target, coerce_value, show

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from trueup.core.mapping import CompiledMapping
    from trueup.core.mapping_in import Reader
    from trueup.model import ColumnInfo, Field, FieldMapping

_DTYPES: dict[str, pl.DataType] = {
    "integer": pl.Int64(),
    "float": pl.Float64(),
    "boolean": pl.Boolean(),
    "date": pl.Date(),
    "datetime": UTC_TIME,
    "timestamp": pl.Datetime("us"),
    "list": pl.List(pl.String),
    "binary": pl.Binary(),
}
_TARGETS: dict[str, Any] = {name: name for name in ("integer", "float", "decimal", "boolean", "date", "datetime", "list")}
_TARGETS["timestamp"] = "datetime"
"""Column types with values of their own; all others hold text."""


@dataclass(frozen=True, slots=True)
class Writer:
    """How one field is written. `values` is cell -> native text, None where the values are as they are.

    `words` are for booleans in text columns: `yes/no`; None: `true/false`.
    """

    field: Field
    mapping: FieldMapping
    columns: tuple[str, ...]
    expressions: Mapping[str, CompiledExpression]
    target: Target
    values: Mapping[str, str | None] | None
    words: str | None = None


@dataclass(frozen=True, slots=True)
class Native:
    """Rows to write. All three frames begin with the bookkeeping columns of the cells (`__gid`, `__op`, …), untouched.

    rows      every row given, with the native columns of the fields, typed as the connector contract says. A field that was rejected
              for a row, and an absent cell, are null there: leave its columns (`columns_of`) out of what is written
    rejected  bookkeeping, field, reason: what cannot be written as meant, one line per row and field
    image     bookkeeping, cells: what reading each row back will give; absent where that cannot be told or was rejected
    """

    rows: pl.DataFrame
    rejected: pl.DataFrame
    image: pl.DataFrame


def native_dtype(column_type: str) -> pl.DataType:
    """The Polars type in which a connector gives and takes a column; decimals are exact text."""
    return _DTYPES.get(column_type, pl.String())


def expression_dtype(column_type: str) -> pl.DataType:
    """The Polars type that an expression sees."""
    return pl.Decimal(DECIMAL_DIGITS, DECIMAL_PLACES) if column_type == "decimal" else native_dtype(column_type)


def column_value(value: Any, column: ColumnInfo, zone: str) -> Any:
    """A constant of the configuration in a column's own type. Raises ValueError."""
    kind = _TARGETS.get(column.type)
    if value is None or kind is None:
        return None if value is None else coerce_value(value, Target("text"))
    typed = coerce_value(value, Target(kind, zone=zone))
    if column.type == "decimal":
        return coerce_value(typed, Target("text"))
    if column.type == "timestamp" and typed is not None:
        series = pl.Series([typed], dtype=UTC_TIME).dt.convert_time_zone(zone).dt.replace_time_zone(None)
        return series[0]
    return typed


def native_rows(mapping: CompiledMapping, cells: pl.DataFrame, writers: Sequence[Writer], *, new: bool) -> Native:
    """See `CompiledMapping.to_native`. Raises ValueError where a cell column that a field needs is missing (a caller's mistake)."""
    book = quick.chosen(cells, [name for name in cells.columns if name.startswith("__")])
    columns, issues = _plain_columns([writer for writer in writers if not writer.expressions], cells, mapping)
    for writer in writers:
        if writer.expressions:
            made, failed = _computed_columns(writer, cells, mapping)
            issues += failed
            columns.update(made)
    if new:
        _add_constants(mapping, columns, cells.height)
    issues += _too_long(mapping, writers, columns)
    image, differing = _read_back(mapping, cells, writers, columns)
    rows = pl.DataFrame([*book.get_columns(), *(column.alias(name) for name, column in columns.items())])
    image = book.hstack(image) if book.width else image
    if not issues and not differing:
        return Native(rows=rows, rejected=book.clear().hstack(_NO_REASONS) if book.width else _NO_REASONS, image=image)
    rejected = pl.concat([*issues, *differing])
    rejected = rejected.unique(["row", "field"], keep="first", maintain_order=True).sort("row", maintain_order=True)
    if rejected.height:
        image = _without_rejected(image, rejected)
    reasons = rejected.select("field", "reason")
    return Native(
        rows=rows,
        rejected=book[rejected["row"].to_list()].hstack(reasons) if book.width else reasons,
        image=image,
    )


_NO_REASONS = pl.DataFrame(schema={"field": pl.String, "reason": pl.String})


def _rejects(field: str, failures: pl.DataFrame) -> pl.DataFrame:
    return failures.select(
        pl.col("row").cast(pl.UInt32), pl.lit(field).alias("field"), (pl.lit(f"{field}: ") + pl.col("reason")).alias("reason")
    )


# ---------------------------------------------------------------- expressions


def _computed_columns(writer: Writer, cells: pl.DataFrame, mapping: CompiledMapping) -> tuple[dict[str, pl.Series], list[pl.DataFrame]]:
    """The native columns of a field with write expressions, and what could not be written. An absent field writes nothing."""
    name = writer.field.name
    made, issues = {}, []
    there = cells[name].is_not_null() if name in cells.columns else pl.repeat(value=True, n=cells.height, dtype=pl.Boolean, eager=True)
    for column, expression in writer.expressions.items():
        values, failed = evaluate(_typed(mapping, cells, expression.names), expression)
        native, refused = _as_column(values, mapping.columns[column], mapping.zone)
        made[column] = pl.DataFrame({"v": native, "there": there}).select(pl.when("there").then("v")).to_series()
        issues += [_rejects(name, frame) for frame in (failed, refused) if frame.height]
    return made, issues


def _typed(mapping: CompiledMapping, cells: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """Entity fields as expressions see them; a reference is the key text in the system at hand."""
    missing = [name for name in names if name not in cells.columns]
    if missing:
        message = f"the write expressions need the field {missing[0]!r}, which was not given"
        raise ValueError(message)
    exprs = []
    for name in names:
        field = mapping.entity.fields[name]
        cell = pl.col(name)
        exprs.append((pl.when(cell != NULL).then(cell) if field.type == "reference" else from_cells(cell, field)).alias(name))
    return cells.select(exprs) if exprs else pl.DataFrame({"__row": pl.int_range(cells.height, eager=True)})


def _as_column(values: pl.Series, column: ColumnInfo, zone: str) -> tuple[pl.Series, pl.DataFrame]:
    """What an expression gave, in the column's own type; failures as row, reason."""
    try:
        coerced = coerce_columns(pl.DataFrame({"v": values}), {"v": _column_target(column, zone, ";")})
    except ValueError:
        rows = values.is_not_null().arg_true()
        reason = f"a value of type {values.dtype} cannot be written to the {column.type} column {column.name!r}"
        nothing = pl.repeat(None, values.len(), dtype=native_dtype(column.type), eager=True)
        return nothing, pl.DataFrame({"row": rows.cast(pl.UInt32), "reason": pl.Series([reason] * len(rows), dtype=pl.String)})
    native = coerced.values.select(_in_column(pl.col("v"), column, zone)).to_series()
    return native, coerced.failures.get("v", pl.DataFrame(schema={"row": pl.UInt32, "reason": pl.String}))


def _column_target(column: ColumnInfo, zone: str, separator: str) -> Target:
    return Target(_TARGETS.get(column.type, "text"), zone=zone, separator=separator)


def _in_column(typed: pl.Expr, column: ColumnInfo, zone: str) -> pl.Expr:
    """A coerced value in the form of the connector contract."""
    if column.type == "decimal":
        return decimal_text(typed)
    if column.type == "timestamp":
        return typed.dt.convert_time_zone(zone).dt.replace_time_zone(None)
    return typed


# ---------------------------------------------------------------- plain fields


def _plain_columns(
    writers: Sequence[Writer], cells: pl.DataFrame, mapping: CompiledMapping
) -> tuple[dict[str, pl.Series], list[pl.DataFrame]]:
    """All plain fields at once: a source text per field, coerced to its column's type where that is not text."""
    if not writers:
        return {}, []
    infos = {writer.field.name: mapping.columns[writer.columns[0]] for writer in writers}
    issues: list[pl.DataFrame] = []
    looked_up = {}
    for writer in writers:
        if writer.values is not None:
            looked_up[writer.field.name], failed = _native_values(cells[writer.field.name], writer.values)
            issues += [_rejects(writer.field.name, failed)] if failed.height else []
    exact = {writer.field.name: writer for writer in writers if _is_exact(writer, infos[writer.field.name])}
    at_once = {name: _said(cells[name]) for name in exact} if cells.height <= FEW_ROWS else {}
    rest = [
        (
            pl.lit(looked_up[writer.field.name])
            if writer.values is not None
            else _source(pl.col(writer.field.name), writer, infos[writer.field.name], mapping.zone)
        ).alias(writer.field.name)
        for writer in writers
        if writer.field.name not in at_once
    ]
    made = {column.name: column for column in cells.select(rest).get_columns()} if rest else {}
    sources = quick.frame([at_once[name] if name in at_once else made[name] for name in (writer.field.name for writer in writers)])
    issues += [_rejects(writer.field.name, failed) for writer in writers if (failed := _formless(cells, sources, writer)).height]
    typed = _exact_columns(sources, exact)
    targets = {
        writer.field.name: _column_target(infos[writer.field.name], mapping.zone, writer.target.separator)
        for writer in writers
        if infos[writer.field.name].type in _TARGETS and writer.field.name not in typed
    }
    coerced = coerce_columns(sources, targets)
    issues += [_rejects(name, failed) for name, failed in coerced.failures.items()]
    if targets:
        done = coerced.values.select([_in_column(pl.col(name), infos[name], mapping.zone).alias(name) for name in targets])
        typed |= {column.name: column for column in done.get_columns()}
    columns = {}
    for writer in writers:
        name = writer.field.name
        column = typed[name] if name in typed else sources[name]
        if name not in typed and writer.values is None and writer.target.format and writer.field.type in _NUMBERS:
            column = _formatted(column, writer.target.format)
        if name not in typed and writer.values is None and writer.field.type == "list" and infos[name].type != "json":
            issues += _separator_inside(cells[name], writer)
        columns[writer.columns[0]] = column
    return columns, issues


def _formless(cells: pl.DataFrame, sources: pl.DataFrame, writer: Writer) -> pl.DataFrame:
    """Cells that are not of their field's type, as they may be after a change of the type: what would be written of them is nothing."""
    name = writer.field.name
    said = pl.col("c").is_not_null() & (pl.col("c") != NULL)
    if writer.values is not None or sources[name].null_count() == cells[name].null_count():
        return _NOT_FORMLESS
    both = pl.DataFrame({"c": cells[name], "s": sources[name]})
    rows = both.select(said & pl.col("s").is_null()).to_series().arg_true()
    reasons = [f"{show(cell)} is no {writer.field.type}" for cell in cells[name].gather(rows)]
    return pl.DataFrame({"row": rows.cast(pl.UInt32), "reason": pl.Series(reasons, dtype=pl.String)})


_NOT_FORMLESS = pl.DataFrame(schema={"row": pl.UInt32, "reason": pl.String})
_NUMBERS = frozenset({"integer", "decimal", "float"})
_EXACT: dict[str, Callable[[pl.Expr], pl.Expr]] = {
    "text": lambda text: text,
    "decimal": lambda text: text,
    "integer": lambda text: text.cast(pl.Int64, strict=False),
    "boolean": boolean_of,
    "date": lambda text: text.str.to_date("%Y-%m-%d", strict=False),
    "datetime": lambda text: text.str.to_datetime(CELL_TIME, time_unit="us", strict=False).dt.replace_time_zone("UTC"),
}
"""Types of a field that a column of the same type holds exactly: how the text of a cell becomes the value."""


def _is_exact(writer: Writer, column: ColumnInfo) -> bool:
    """Whether the column holds the field's values as they are, so that a cell needs no interpretation on its way."""
    return column.type == writer.field.type in _EXACT and writer.values is None and not writer.target.format


def _exact_columns(sources: pl.DataFrame, writers: Mapping[str, Writer]) -> dict[str, pl.Series]:
    """The native columns of such fields; one with a value that does not fit (a number too large) is left out, to be looked at closely."""
    columns = {name: sources[name] for name, writer in writers.items() if writer.field.type in ("text", "decimal")}
    rest = [_EXACT[writer.field.type](pl.col(name)).alias(name) for name, writer in writers.items() if name not in columns]
    made = sources.select(rest).get_columns() if rest else []
    return columns | {column.name: column for column in made if column.null_count() == sources[column.name].null_count()}


def _said(cells: pl.Series) -> pl.Series:
    """A few cells as `_source` tells them where the column holds the field's values exactly: their texts, null for absent and NULL."""
    texts = cells.to_list()
    return quick.series(cells.name, [None if text == NULL else text for text in texts], pl.String()) if NULL in texts else cells


def _source(cell: pl.Expr, writer: Writer, column: ColumnInfo, zone: str) -> pl.Expr:
    """The text (a list for list columns) that stands for a cell in this column; null for absent and NULL."""
    field, form = writer.field, writer.target.format
    text = pl.when(cell != NULL).then(cell)
    typed = text if field.type == "reference" else from_cells(cell, field)
    in_text = column.type not in _TARGETS
    if field.type == "list":
        return text if column.type == "json" else typed if column.type == "list" else typed.list.join(writer.target.separator)
    if field.type == "boolean" and in_text:
        true_word, false_word = (word.strip() for word in str(form or writer.words or "true/false").split("/", 1))
        return pl.when(typed).then(pl.lit(true_word)).when(~typed).then(pl.lit(false_word))
    if field.type == "boolean" and column.type in _NUMBERS:
        return pl.when(typed).then(pl.lit("1")).when(~typed).then(pl.lit("0"))
    if field.type == "datetime" and in_text:
        local = typed.dt.convert_time_zone(zone)
        return local.dt.strftime(form) if form else wall_clock(local.dt.replace_time_zone(None))
    if field.type == "date" and in_text and form:
        return typed.dt.strftime(form)
    return text


def _native_values(source: pl.Series, values: Mapping[str, str | None]) -> tuple[pl.Series, pl.DataFrame]:
    table = pl.DataFrame({"c": list(values), "v": list(values.values())}, schema={"c": pl.String, "v": pl.String})
    joined = source.to_frame("c").join(table.with_columns(known=pl.lit(value=True)), on="c", how="left", maintain_order="left")
    unknown = joined.select(pl.col("c").is_not_null() & (pl.col("c") != NULL) & pl.col("known").is_null()).to_series().arg_true()
    reasons = [f"{show(cell)} has no native value: values gives {', '.join(values)}" for cell in source.gather(unknown)]
    return joined["v"], pl.DataFrame({"row": unknown.cast(pl.UInt32), "reason": pl.Series(reasons, dtype=pl.String)})


def _separator_inside(source: pl.Series, writer: Writer) -> list[pl.DataFrame]:
    separator = writer.target.separator
    items = source.to_frame("c").select(from_cells(pl.col("c"), writer.field)).to_series()
    inside = items.list.eval(pl.element().str.contains(separator, literal=True)).list.any().fill_null(value=False).arg_true()
    if not len(inside):
        return []
    reason = f"{writer.field.name}: an item contains the separator {separator!r}, so the list cannot be written as text"
    return [pl.DataFrame({"row": inside.cast(pl.UInt32), "field": [writer.field.name] * len(inside), "reason": [reason] * len(inside)})]


def _formatted(texts: pl.Series, form: str) -> pl.Series:
    numbers = number_format(form)
    distinct = texts.drop_nulls().unique()
    plain = distinct if not distinct.str.contains("e", literal=True).any() else _without_exponent(distinct)
    table = pl.DataFrame({"c": distinct, "v": pl.Series([numbers.written(text) for text in plain], dtype=pl.String)})
    return texts.to_frame("c").join(table, on="c", how="left", maintain_order="left")["v"]


def _without_exponent(texts: pl.Series) -> pl.Series:
    return pl.Series([f"{Decimal(text):f}" for text in texts], dtype=pl.String)


# ---------------------------------------------------------------- the whole row


def _add_constants(mapping: CompiledMapping, columns: dict[str, pl.Series], height: int) -> None:
    """`set` for new rows; where a field is written to the same column, the constant fills its nulls."""
    for name, value in mapping.constants.items():
        constant = pl.Series(name, [value], dtype=native_dtype(mapping.columns[name].type)).new_from_index(0, height)
        columns[name] = columns[name].to_frame("v").select(pl.coalesce("v", pl.lit(constant))).to_series() if name in columns else constant


def _too_long(mapping: CompiledMapping, writers: Sequence[Writer], columns: Mapping[str, pl.Series]) -> list[pl.DataFrame]:
    issues = []
    for writer in writers:
        for name in writer.columns:
            limit, column = mapping.columns[name].max_length, columns[name]
            if limit is None or column.dtype != pl.String or mapping.columns[name].type == "decimal":
                continue
            rows = (column.str.len_chars() > limit).fill_null(value=False).arg_true()
            if len(rows):
                reasons = [
                    f"{show(text)} is too long for column {name!r}: {len(text)} characters, and it takes {limit}"
                    for text in column.gather(rows)
                ]
                issues.append(_rejects(writer.field.name, pl.DataFrame({"row": rows.cast(pl.UInt32), "reason": reasons})))
    return issues


def _read_back(
    mapping: CompiledMapping, cells: pl.DataFrame, writers: Sequence[Writer], columns: Mapping[str, pl.Series]
) -> tuple[pl.DataFrame, list[pl.DataFrame]]:
    """What the rows would read back as, and where that is not what was meant."""
    names = [writer.field.name for writer in writers]
    nothing = constant("", None, cells.height, pl.String())
    image = pl.DataFrame([nothing.alias(name) for name in names]) if names else pl.DataFrame()
    readers = [reader for reader in mapping.readers if reader.field.name in names and set(reader.columns) <= set(columns)]
    if not readers or cells.is_empty():
        return image, []
    as_written = _read_as_written(mapping, cells, writers, columns)
    image = exchanged(image, *(cells[name] for name in names if name in as_written))
    readers = [reader for reader in readers if reader.field.name not in as_written]
    if not readers:
        return image, []
    used = dict.fromkeys(name for reader in readers for name in reader.columns)
    native = pl.DataFrame([columns[name].alias(name) for name in used])
    native = blank_to_null(native) if mapping.empty_is_null else native
    if not native.width:  # a read expression without columns
        native = pl.DataFrame({KEY: constant(KEY, None, cells.height, pl.String())})
    back = read_fields(native, readers, mapping.decimals, mapping.column_types)
    unreadable = (
        {str(name): part for (name,), part in back.issues.partition_by("field", as_dict=True).items()} if back.issues.height else {}
    )
    seen = back.cells
    if unreadable:
        seen = _without_rejected(seen, back.issues)
    read_names = [reader.field.name for reader in readers]
    meant = cells.select(read_names)
    both = meant.hstack([seen[name].alias(f"__{name}") for name in read_names])
    seen = both.select([pl.when(pl.col(name).is_not_null()).then(pl.col(f"__{name}")).alias(name) for name in read_names])
    differs = both.select(
        [(pl.col(name).is_not_null() & pl.col(name).ne_missing(pl.col(f"__{name}"))).any().alias(name) for name in read_names]
    ).row(0)
    issues = []
    for reader, any_differs in zip(readers, differs, strict=True):
        name = reader.field.name
        if any_differs and not reader.mapping.lossy:
            issues += _differences(reader, meant[name], seen[name], unreadable.get(name), empty_is_null=mapping.empty_is_null)
    return image.with_columns(seen.get_columns()), issues


def _read_as_written(
    mapping: CompiledMapping, cells: pl.DataFrame, writers: Sequence[Writer], columns: Mapping[str, pl.Series]
) -> frozenset[str]:
    """Fields that read back as they are written, by how they are mapped: nobody needs to try."""
    writing = {writer.field.name: writer for writer in writers if not writer.expressions}
    found = set()
    for reader in mapping.readers:
        writer = writing.get(reader.field.name)
        plain = reader.expression is None and reader.values is None and not reader.target.format and not reader.field.clean
        if writer is None or not plain or reader.columns != writer.columns or not _is_exact(writer, mapping.columns[writer.columns[0]]):
            continue
        if reader.field.scale is not None or (reader.field.type == "text" and mapping.empty_is_null):
            continue
        if sum(set(reader.columns) <= set(other.columns) for other in writers) > 1:  # another field is written there, too
            continue
        cell, native = cells[reader.field.name], columns[writer.columns[0]]
        if native.null_count() == cell.null_count() + int((cell == NULL).sum()):
            found.add(reader.field.name)
    return frozenset(found)


def _differences(
    reader: Reader, meant: pl.Series, found: pl.Series, failed: pl.DataFrame | None, *, empty_is_null: bool
) -> list[pl.DataFrame]:
    """Rows whose meaning is lost; what the field's own cleaning or empty cells make of a value is no loss."""
    name = reader.field.name
    wanted, got = clean_column(meant, reader.field.clean, reader.field.type), found
    if empty_is_null or reader.expression is not None:  # nothing is nothing, whether a file or concat_ws makes "" or null of it
        wanted, got = (column.replace({"": NULL, "[]": NULL}) for column in (wanted, got))
    rows = (meant.is_not_null() & meant.ne_missing(found) & wanted.ne_missing(got)).arg_true()
    if not len(rows):
        return []
    why = dict(zip(failed["row"], failed["reason"], strict=True)) if failed is not None else {}
    reasons = [
        f"{name}: {_shown(cell)} could not be read back: {why[row].removeprefix(f'{name}: ')}"
        if row in why
        else f"{name}: {_shown(cell)} would read back as {_shown(other)} (lossy: true allows it)"
        for row, cell, other in zip(rows, meant.gather(rows), found.gather(rows), strict=True)
    ]
    return [pl.DataFrame({"row": rows.cast(pl.UInt32), "field": [name] * len(rows), "reason": reasons})]


def _shown(cell: str | None) -> str:
    return "nothing" if cell is None or cell == NULL else show(cell)


def _without_rejected(image: pl.DataFrame, rejected: pl.DataFrame) -> pl.DataFrame:
    rows = pl.int_range(image.height, dtype=pl.UInt32, eager=True)
    changes = []
    for (field,), part in rejected.partition_by("field", as_dict=True).items():
        if field in image.columns:
            bad = rows.is_in(part["row"].implode())
            changes.append(pl.when(~pl.lit(bad)).then(pl.col(str(field))).alias(str(field)))
    return image.with_columns(changes)
