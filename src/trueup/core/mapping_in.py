"""Native rows to cells: the reading half of a mapping."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import polars as pl

from trueup.core import quick
from trueup.core.cells import ABSENT, AT, DIRTY, KEY, NULL, VERSION, cell_of_typed, to_cells
from trueup.core.checks import Check, check_cells
from trueup.core.clean import clean_column, clean_native
from trueup.core.coerce import coerce_columns
from trueup.core.expressions import CompiledExpression, evaluate
from trueup.core.frames import FEW_ROWS, constant, exchanged
from trueup.core.shadow import encode_delta
from trueup.core.types import UTC_TIME, Target, show
from trueup.model import Field

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from trueup.model import FieldMapping, FieldType

_AS_TEXT = frozenset({"text", "reference"})
_CLEANED_AS_CELLS = frozenset({"text", "list"})
"""Fields of other types are cleaned before their values are read."""
_ISSUES = {"row": pl.UInt32(), "field": pl.String(), "reason": pl.String()}
_NO_ISSUES = pl.DataFrame(schema=_ISSUES)
_NO_REJECTS = pl.DataFrame(schema={KEY: pl.String(), "field": pl.String(), "reason": pl.String()})


@dataclass(frozen=True, slots=True)
class Reader:
    """How one field is read. `values` is native text -> cell, None where the values are as they are."""

    field: Field
    mapping: FieldMapping
    columns: tuple[str, ...]
    expression: CompiledExpression | None
    target: Target
    values: Mapping[str | None, str] | None


@dataclass(frozen=True, slots=True)
class Mapped:
    """`rows`: `__key`, `__at`, `__version` where given, `__dirty`, then a cell column per readable field, in the entity's order.

    `rejected`: `__key`, field ("" where the row as a whole is meant), reason. A row with any reject is in `rejected` alone, once per
    bad field. `cleaned` counts, per field with cleaning steps, the accepted rows that cleaning changed.
    """

    rows: pl.DataFrame
    rejected: pl.DataFrame
    cleaned: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Read:
    """Cells of some fields, row by row as in the native frame; `issues` says what is wrong: row, field, reason."""

    cells: pl.DataFrame
    uncleaned: Mapping[str, pl.Series]  # the cells before cleaning, of fields that have steps
    issues: pl.DataFrame


def no_issues() -> pl.DataFrame:
    """An empty frame of issues."""
    return _NO_ISSUES.clone()


def blank_to_null(native: pl.DataFrame) -> pl.DataFrame:
    """Empty texts as null, in all native columns: an empty cell of a file is nothing."""
    texts = [name for name, dtype in native.schema.items() if dtype == pl.String and not name.startswith("__")]
    return native.with_columns([pl.when(pl.col(name) != "").then(pl.col(name)).alias(name) for name in texts]) if texts else native


def run_expression(native: pl.DataFrame, expression: CompiledExpression, decimals: frozenset[str]) -> tuple[pl.Series, pl.DataFrame]:
    """An expression over native columns, exact-decimal texts taken as decimals. Values, and failures as row, reason."""
    inputs = native.select(expression.names) if expression.names else native
    texts = {name: Target("decimal") for name in expression.names if name in decimals and native.schema[name] == pl.String}
    if not texts:
        return evaluate(inputs, expression)
    coerced = coerce_columns(inputs, texts)
    values, failed = evaluate(inputs.with_columns(coerced.values.get_columns()), expression)
    bad = [frame.cast({"row": pl.Int64}) for frame in coerced.failures.values()]
    return values, pl.concat([failed, *bad]).unique("row", keep="last", maintain_order=True)


def read_fields(native: pl.DataFrame, readers: Sequence[Reader], decimals: frozenset[str], columns: Mapping[str, str]) -> Read:
    """Cells of the readers' fields; `columns` is native column -> column type. Cleaned, not yet checked."""
    raw, issues = _raw_columns(native, readers, decimals)
    for reader in readers:
        if reader.field.clean and reader.field.type not in _CLEANED_AS_CELLS:
            name = reader.field.name
            is_number = reader.expression is None and reader.columns[0] in decimals
            raw = exchanged(raw, clean_native(raw[name], reader.field.clean, reader.field.type, is_number=is_number))
    plain = {reader.field.name: reader.target for reader in readers if reader.values is None}
    coerced = coerce_columns(raw, plain)
    issues += [_issues(name, frame) for name, frame in coerced.failures.items()]
    fields = {reader.field.name: reader.field for reader in readers}
    cells = _cells(coerced.values, {name: fields[name].type for name in plain})
    for reader in readers:
        if reader.values is not None:
            cells[reader.field.name], frame = _looked_up(raw[reader.field.name], reader, columns)
            issues.append(_issues(reader.field.name, frame))
    if ABSENT in native.columns:
        cells = _without_absent(native, readers, cells)
    uncleaned = {}
    for reader in readers:
        if reader.field.clean and reader.field.type in _CLEANED_AS_CELLS:
            name = reader.field.name
            uncleaned[name] = cells[name]
            cells[name] = clean_column(cells[name], reader.field.clean, reader.field.type)
    frame = quick.frame([cells[reader.field.name].alias(reader.field.name) for reader in readers])
    found = [issue for issue in issues if issue.height]
    return Read(frame, uncleaned, pl.concat(found) if found else no_issues())


def _cells(values: pl.DataFrame, kinds: Mapping[str, FieldType]) -> dict[str, pl.Series]:
    """Cells of typed columns. Those of a few rows are made one by one where a value's text is simple."""
    few = values.height <= FEW_ROWS
    simple = {name: kind for name, kind in kinds.items() if few and kind in _SIMPLE}
    cells = {name: _SIMPLE[kind](values[name]) for name, kind in simple.items()}
    if len(cells) < len(kinds):
        rest = values.select([_cell(name, kind) for name, kind in kinds.items() if name not in cells])
        cells |= {column.name: column for column in rest.get_columns()}
    return cells


def _each(text: Callable[[Any], str]) -> Callable[[pl.Series], pl.Series]:
    def cells(column: pl.Series) -> pl.Series:
        return quick.series(column.name, [NULL if value is None else text(value) for value in column.to_list()], pl.String())

    return cells


_SIMPLE: dict[FieldType, Callable[[pl.Series], pl.Series]] = {
    "text": _each(str),
    "integer": _each(str),
    "boolean": _each(lambda value: "true" if value else "false"),
    "decimal": _each(partial(cell_of_typed, kind="decimal")),
    "date": _each(partial(cell_of_typed, kind="date")),
    "datetime": _each(partial(cell_of_typed, kind="datetime")),
}
"""Types of which single values are written as `core.cells` writes columns of them."""


@lru_cache(maxsize=4096)
def _cell(name: str, kind: FieldType) -> pl.Expr:
    return to_cells(pl.col(name), Field(name=name, type=kind)).alias(name)


def mapped_rows(
    native: pl.DataFrame, read: Read, checks: Sequence[Check], *, whole: pl.DataFrame, modified: pl.Series, returned: Collection[str]
) -> Mapped:
    """Checked rows and rejects. `whole` are issues of rows as such (`where` failed on them); `modified` their edit times.

    `returned` are fields whose cleaned values go back to the system.
    """
    broken = check_cells(read.cells, checks)
    parts = [frame for frame in (whole, read.issues, broken) if frame.height]
    version = [native[VERSION]] if VERSION in native.columns else []
    rows = quick.frame([native[KEY], modified.alias(AT), *version, _dirty(read, returned, native.height), *read.cells.get_columns()])
    if not parts:
        return Mapped(rows, _NO_REJECTS.clone(), _cleaned(read, None))
    issues = pl.concat(parts).unique(["row", "field"], keep="first", maintain_order=True).sort("row", maintain_order=True)
    good = ~pl.int_range(native.height, dtype=pl.UInt32, eager=True).is_in(issues["row"].unique().implode())
    return Mapped(rows.filter(good), _rejected(native, issues), _cleaned(read, good))


def edit_times(native: pl.DataFrame, column: str | None, zone: str) -> pl.Series:
    """When each row was edited, as far as its system says: Datetime(us, UTC), null where unknown or unreadable."""
    unknown = constant("modified", None, native.height, UTC_TIME)
    if column is None or column not in native.columns:
        return unknown
    try:
        return coerce_columns(native, {column: Target("datetime", zone=zone)}).values.to_series()
    except ValueError:  # a version counter, say: it orders rows, but dates nothing
        return unknown


def _raw_columns(native: pl.DataFrame, readers: Sequence[Reader], decimals: frozenset[str]) -> tuple[pl.DataFrame, list[pl.DataFrame]]:
    columns, issues = [], []
    for reader in readers:
        name = reader.field.name
        if reader.expression is None:
            column = native[reader.columns[0]]
            if reader.target.type in _AS_TEXT and reader.columns[0] in decimals and column.dtype == pl.String:
                column = plain_decimals(column)
            columns.append(column.alias(name))
            continue
        values, failed = run_expression(native, reader.expression, decimals)
        columns.append(values.alias(name))
        issues.append(_issues(name, failed))
    return quick.frame(columns), issues


def _issues(field: str, failures: pl.DataFrame) -> pl.DataFrame:
    return failures.select(
        pl.col("row").cast(pl.UInt32), pl.lit(field).alias("field"), (pl.lit(f"{field}: ") + pl.col("reason")).alias("reason")
    )


def native_text(values: pl.Series, column_type: str | None) -> pl.Series:
    """Native values as texts to look up: 1 and 1.0 are `1`, true is `true`, 1.50 in a decimal column is `1.5`."""
    text = coerce_columns(pl.DataFrame({"v": values}), {"v": Target("text")}).values.to_series()
    return plain_decimals(text) if column_type == "decimal" and values.dtype == pl.String else text


def plain_decimals(texts: pl.Series) -> pl.Series:
    """Exact decimal texts without trailing zeros: 1.50 and 1.5 in a decimal column are the same value."""
    stripped = pl.col("v").str.strip_chars_end("0").str.strip_chars_end(".")
    return (
        texts.to_frame("v")
        .select(pl.when(pl.col("v").str.contains(".", literal=True)).then(stripped).otherwise("v").alias("v"))
        .to_series()
    )


def _looked_up(raw: pl.Series, reader: Reader, columns: Mapping[str, str]) -> tuple[pl.Series, pl.DataFrame]:
    values = dict(reader.values or {})
    text = native_text(raw, columns.get(reader.columns[0]) if reader.expression is None else None)
    null_cell = values.pop(None, NULL)
    table = pl.DataFrame({"v": list(values), "cell": list(values.values())}, schema={"v": pl.String, "cell": pl.String})
    joined = pl.DataFrame({"v": text}).join(table, on="v", how="left", maintain_order="left")
    nothing = pl.col("v").is_null() | ((pl.col("v") == "") & pl.col("cell").is_null() & pl.lit(reader.field.type != "text"))
    cells = joined.select(pl.when(nothing).then(pl.lit(null_cell)).otherwise(pl.col("cell"))).to_series()
    bad = cells.is_null().arg_true()
    known = ", ".join(str(value) for value in values)
    reasons = [f"{show(value)} is not among the values given: {known}" for value in text.gather(bad)]
    return cells, pl.DataFrame({"row": bad.cast(pl.UInt32), "reason": pl.Series(reasons, dtype=pl.String)})


def _without_absent(native: pl.DataFrame, readers: Sequence[Reader], cells: Mapping[str, pl.Series]) -> dict[str, pl.Series]:
    frame = pl.DataFrame([native[ABSENT], *(cells[reader.field.name].alias(reader.field.name) for reader in readers)])
    absent = pl.col(ABSENT).fill_null([])
    exprs = []
    for reader in readers:
        missing = pl.any_horizontal([absent.list.contains(name) for name in reader.columns]) if reader.columns else pl.lit(value=False)
        exprs.append(pl.when(~missing).then(pl.col(reader.field.name)).alias(reader.field.name))
    return {column.name: column for column in frame.select(exprs).get_columns()}


def _dirty(read: Read, written: Collection[str], height: int) -> pl.Series:
    """What `write_back` fields that can be written here read as before cleaning, where cleaning changed it; see `DIRTY`."""
    changed = {}
    for name, before in read.uncleaned.items():
        if name in written:
            changed[name] = (read.cells[name].ne_missing(before) & before.is_not_null()).arg_true().to_list()
    rows: dict[int, dict[str, str | None]] = {}
    for name, places in changed.items():
        for place in places:
            rows.setdefault(place, {})[name] = read.uncleaned[name][place]
    if not rows:
        return constant(DIRTY, None, height, pl.String())
    return pl.Series(DIRTY, [encode_delta(rows[place]) if place in rows else None for place in range(height)], dtype=pl.String)


def _cleaned(read: Read, good: pl.Series | None) -> dict[str, int]:
    counts = {}
    for name, before in read.uncleaned.items():
        changed = read.cells[name].ne_missing(before)
        counts[name] = int((changed if good is None else changed & good).sum())
    return counts


def _rejected(native: pl.DataFrame, issues: pl.DataFrame) -> pl.DataFrame:
    return issues.select(native[KEY].gather(issues["row"]).alias(KEY), "field", "reason")
