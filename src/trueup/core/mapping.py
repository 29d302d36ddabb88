"""How one system shows one entity, ready to run both ways: native rows to cells, and cells to native rows.

`compile_mapping` finds everything that is wrong with a mapping before the first row moves. Naive times are wall clock readings in the
system's zone; see `types` for the rules of each type, `mapping_in` and `mapping_out` for the two directions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import polars as pl

from trueup.core.cells import ABSENT, AT, GID, KEY, OP, SYSTEM, VERSION, cell_from_python
from trueup.core.checks import Check, field_checks
from trueup.core.clean import step_problem
from trueup.core.coerce import boolean_words, convertible
from trueup.core.expressions import CompiledExpression, did_you_mean, parse_expression, result_type
from trueup.core.mapping_in import Mapped, Reader, blank_to_null, edit_times, mapped_rows, no_issues, read_fields, run_expression
from trueup.core.mapping_out import Native, Writer, column_value, expression_dtype, native_dtype, native_rows
from trueup.core.types import Target, coerce_value, format_problem

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from trueup import model


class MappingError(ValueError):
    """A mapping that cannot work. `problems` holds every reason, in the order of the mapping, each a sentence for people."""

    def __init__(self, problems: Sequence[str]) -> None:
        """Keep all problems; never empty."""
        self.problems = tuple(problems)
        super().__init__("\n".join(problems))


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledMapping:
    """A mapping that fits its native object.

    read_columns   every native column to read, in a stable order: fields, `where`, modified (key columns only where mapped)
    value_columns  those whose content counts in a fingerprint: read_columns, without a modified column that nothing else uses
    modified       native column that dates edits, None where there is none
    """

    entity: model.Entity
    mapping: model.Mapping
    zone: str
    read_columns: tuple[str, ...]
    value_columns: tuple[str, ...]
    modified: str | None
    where: CompiledExpression | None
    readers: tuple[Reader, ...]
    writers: tuple[Writer, ...]
    checks: tuple[Check, ...]
    columns: Mapping[str, model.ColumnInfo]
    constants: Mapping[str, Any]  # native column -> value in the column's own type, for new rows
    empty_is_null: bool

    @property
    def decimals(self) -> frozenset[str]:
        """Native columns that come as exact decimal text."""
        return frozenset(name for name, column in self.columns.items() if column.type == "decimal")

    @property
    def column_types(self) -> dict[str, str]:
        """Native column -> column type."""
        return {name: column.type for name, column in self.columns.items()}

    def takes_part(self, native: pl.DataFrame) -> pl.Series:
        """Boolean per row: whether `where` holds. Null, and a row on which it fails (see `where_rejects`), count as no.

        Columns that the frame lacks are null, so that an outgoing row can be asked before it is written.
        """
        if self.where is None:
            return pl.repeat(value=True, n=native.height, dtype=pl.Boolean, eager=True)
        missing = [name for name in self.where.names if name not in native.columns]
        whole = native.with_columns([pl.lit(None, dtype=native_dtype(self.columns[name].type)).alias(name) for name in missing])
        return self._where(whole)[0]

    def where_rejects(self, native: pl.DataFrame) -> pl.DataFrame:
        """Rows on which `where` itself fails: `__key`, field (""), reason."""
        issues = self._where(native)[1]
        return issues.select(native[KEY].gather(issues["row"]).alias(KEY), "field", "reason")

    def to_cells(self, native: pl.DataFrame) -> Mapped:
        """Native rows (as a connector's page gives them) as cells: cleaned, checked, rejects apart.

        `where` is not applied as a filter, but a row on which it fails is rejected.
        """
        rows = blank_to_null(native) if self.empty_is_null else native
        whole = self._where(native)[1] if self.where is not None else no_issues()
        read = read_fields(rows, self.readers, self.decimals, self.column_types)
        returned = [writer.field.name for writer in self.writers if writer.field.write_back]
        modified = edit_times(rows, self.modified, self.zone)
        return mapped_rows(rows, read, self.checks, whole=whole, modified=modified, returned=returned)

    def edited_at(self, native: pl.DataFrame) -> pl.Series:
        """When each row was edited, as far as its system says: Datetime(us, UTC), null where unknown."""
        return edit_times(blank_to_null(native) if self.empty_is_null else native, self.modified, self.zone)

    def cells_of(self, native: pl.DataFrame, fields: Collection[str]) -> pl.DataFrame:
        """Cells of some readable fields alone, cleaned but not checked; a value that cannot be understood is null."""
        rows = blank_to_null(native) if self.empty_is_null else native
        return read_fields(rows, [reader for reader in self.readers if reader.field.name in fields], self.decimals, self.column_types).cells

    def understood(self, native: pl.DataFrame, fields: Collection[str]) -> pl.DataFrame:
        """Cells of some readable fields alone, cleaned but not checked; a value that cannot be understood is absent."""
        rows = blank_to_null(native) if self.empty_is_null else native
        readers = [reader for reader in self.readers if reader.field.name in fields]
        read = read_fields(rows, readers, self.decimals, self.column_types)
        if read.issues.is_empty():
            return read.cells
        faults = {str(name): issues["row"] for (name,), issues in read.issues.partition_by("field", as_dict=True).items()}
        row = pl.int_range(native.height, dtype=pl.UInt32, eager=True)
        return read.cells.with_columns(
            pl.when(~row.is_in(rows_at_fault.implode())).then(pl.col(name)).alias(name) for name, rows_at_fault in faults.items()
        )

    def to_native(self, cells: pl.DataFrame, fields: Sequence[str] | None = None, *, new: bool = False) -> Native:
        """Cells as native rows to write; `fields` None: every field that may be written. See `Native`."""
        wanted = set(self.writable if fields is None else fields)
        writers = [writer for writer in self.writers if writer.field.name in wanted]
        return native_rows(self, cells, writers, new=new)

    @property
    def readable(self) -> tuple[str, ...]:
        """Fields that this system shows, in the entity's order."""
        return tuple(reader.field.name for reader in self.readers)

    @property
    def writable(self) -> tuple[str, ...]:
        """Fields that may be delivered to this system, in the entity's order."""
        return tuple(writer.field.name for writer in self.writers)

    def with_words_of(self, native: pl.DataFrame) -> CompiledMapping:
        """The same mapping, writing booleans into text columns in the words that these rows use (yes/no, 1/0 …)."""
        writers = []
        for writer in self.writers:
            column = writer.columns[0]
            words = boolean_words(native[column]) if writer.field.type == "boolean" and column in native.columns else None
            writers.append(replace(writer, words=words) if words and not writer.target.format else writer)
        return replace(self, writers=tuple(writers))

    def columns_of(self, field: str) -> tuple[str, ...]:
        """Native columns written for a field; empty where it is not written."""
        return next((writer.columns for writer in self.writers if writer.field.name == field), ())

    def fields_of(self, column: str) -> tuple[str, ...]:
        """Fields that are written into a native column."""
        return tuple(writer.field.name for writer in self.writers if column in writer.columns)

    def _where(self, native: pl.DataFrame) -> tuple[pl.Series, pl.DataFrame]:
        if self.where is None:
            return self.takes_part(native), no_issues()
        rows = blank_to_null(native) if self.empty_is_null else native
        values, failed = run_expression(rows, self.where, self.decimals)
        issues = failed.select(
            pl.col("row").cast(pl.UInt32),
            pl.lit("").alias("field"),
            (pl.lit("where fails on this row: ") + pl.col("reason")).alias("reason"),
        )
        return values.cast(pl.Boolean).fill_null(value=False), issues


def compile_mapping(
    entity: model.Entity,
    system: model.System | str | None,
    mapping: model.Mapping,
    info: model.ObjectInfo,
    *,
    empty_is_null: bool | None = None,
) -> CompiledMapping:
    """Fit a mapping to its native object. `system` is the system, or the zone of its naive times (None: UTC).

    `empty_is_null` says whether an empty text cell is null; by default it is in sheets and files, unless the object says otherwise.
    Raises MappingError with every problem.
    """
    zone = (system if system is None or isinstance(system, str) else system.timezone) or "UTC"
    if empty_is_null is None:
        empty_is_null = info.kind in {"sheet", "file"} and not mapping.object.empty_is_text
    compiler = _Compiler(entity, mapping, info, zone)
    compiler.check_zone()
    readers = compiler.readers()
    writers = compiler.writers() if mapping.writes else []
    where = compiler.where()
    modified = compiler.modified()
    compiler.keys()
    checks = compiler.checks()
    constants = compiler.constants()
    if compiler.problems:
        raise MappingError(compiler.problems)
    values = [name for reader in readers for name in reader.columns] + list(where.names if where else ())
    value_columns = tuple(dict.fromkeys(values))
    read_columns = tuple(dict.fromkeys([*value_columns, *([modified] if modified else [])]))
    return CompiledMapping(
        entity=entity,
        mapping=mapping,
        zone=zone,
        read_columns=read_columns,
        value_columns=value_columns,
        modified=modified,
        where=where,
        readers=tuple(readers),
        writers=tuple(writers),
        checks=tuple(checks),
        columns=info.columns,
        constants=constants,
        empty_is_null=empty_is_null,
    )


RESERVED = frozenset(
    (
        KEY,
        AT,
        VERSION,
        ABSENT,
        GID,
        SYSTEM,
        OP,
        "__row",
        "__was",
        "__constant",
        "__round",
        "__khash",
        "__fingerprint",
        "__status",
        "__stored",
    )
)
"""A native column of such a name could not be told from the columns that stand beside it in a frame of rows."""

T = TypeVar("T")
ValueMaps: TypeAlias = "tuple[dict[str | None, str], dict[str, str | None]]"  # native text -> cell, and cell -> native text


class _Compiler:
    """Collects what is wrong while it compiles; what could not be compiled is left out, so that all problems show at once."""

    def __init__(self, entity: model.Entity, mapping: model.Mapping, info: model.ObjectInfo, zone: str) -> None:
        self.entity = entity
        self.mapping = mapping
        self.info = replace(info, columns={name: column for name, column in info.columns.items() if name not in RESERVED})
        self.zone = zone
        self.problems: list[str] = []

    def check_zone(self) -> None:
        """The zone exists; else UTC is taken so that the rest can be checked."""
        try:
            ZoneInfo(self.zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            self._problem("timezone", f"unknown time zone {self.zone!r}: use a name such as Europe/London")
            self.zone = "UTC"

    def readers(self) -> list[Reader]:
        """One reader per readable field."""
        shown = [(name, field) for name, field in self._fields() if field.readable]
        return [reader for name, field in shown if (reader := self._reader(self.entity.fields[name], field)) is not None]

    def writers(self) -> list[Writer]:
        """One writer per writable field; no native column is written by two fields."""
        written = [(name, field) for name, field in self._fields() if field.writable]
        writers = [writer for name, field in written if (writer := self._writer(self.entity.fields[name], field)) is not None]
        owner: dict[str, str] = {}
        for writer in writers:
            for column in writer.columns:
                if column in owner:
                    self._problem(f"fields.{writer.field.name}", f"column {column!r} is already written by the field {owner[column]!r}")
                owner.setdefault(column, writer.field.name)
        return writers

    def where(self) -> CompiledExpression | None:
        """The filter, None where there is none or it cannot be used."""
        if self.mapping.where is None:
            return None
        expression = self._expression("where", self.mapping.where, self.info.columns)
        if expression is not None and self._result_type("where", expression) not in {None, pl.Boolean()}:
            self._problem("where", f"{self.mapping.where!r} is not a condition: it gives no yes or no")
        return expression

    def modified(self) -> str | None:
        """The column that dates edits."""
        column = self.mapping.object.modified
        if column is not None:
            self._column("modified", column)
        return column

    def keys(self) -> None:
        """The key columns are there."""
        for column in self.mapping.object.key:
            self._column("key", column)

    def checks(self) -> list[Check]:
        """The checks of every readable field."""
        checks: list[Check] = []
        for name, mapped in self._fields():
            if mapped.readable:
                found = self._tried(f"fields.{name}", partial(field_checks, self.entity.fields[name]))
                checks += found or []
        return checks

    def constants(self) -> dict[str, Any]:
        """`set`, each value in its column's own type."""
        constants = {}
        for column, value in self.mapping.set.items():
            info = self._column("set", column)
            if info is not None:
                constants[column] = self._tried(f"set.{column}", partial(column_value, value, info, self.zone))
        return constants

    def _fields(self) -> list[tuple[str, model.FieldMapping]]:
        for name in self.mapping.fields:
            if name not in self.entity.fields:
                self._problem(f"fields.{name}", f"unknown field {name!r}{did_you_mean(name, self.entity.fields)}", once=True)
        return [(name, self.mapping.fields[name]) for name in self.entity.fields if name in self.mapping.fields]

    def _reader(self, field: model.Field, mapped: model.FieldMapping) -> Reader | None:
        place = f"fields.{field.name}"
        target = Target(field.type, scale=field.scale, zone=self.zone, format=mapped.format, separator=mapped.separator)
        expression: CompiledExpression | None = None
        columns: tuple[str, ...] = ()
        if mapped.read is not None:
            expression = self._expression(f"{place}.read", mapped.read, self.info.columns)
            columns = expression.names if expression else ()
            dtype = self._result_type(f"{place}.read", expression) if expression else None
        else:
            info = self._column(place, str(mapped.column))
            columns = (str(mapped.column),)
            dtype = native_dtype(info.type) if info is not None else None
        for step in field.clean:
            self._noted(place, step_problem(step, field.type))
        form = format_problem(target)
        self._noted(place, form)
        notation = next((step.name for step in field.clean if step.name in {"date", "money"}), None)
        if mapped.format is not None and notation is not None and field.type not in {"text", "list"}:
            self._problem(place, f"`format` and the cleaning step {notation!r} both say how its values are written: keep one of them")
        maps = self._value_maps(place, field, mapped)
        if dtype is not None and maps is None and form is None and not convertible(dtype, target):
            self._problem(place, f"{mapped.column or mapped.read!r} holds {_words(dtype)}, which cannot be read as {field.type}")
        if (mapped.read is not None and expression is None) or dtype is None:
            return None
        return Reader(field, mapped, columns, expression, target, maps[0] if maps else None)

    def _writer(self, field: model.Field, mapped: model.FieldMapping) -> Writer | None:
        place = f"fields.{field.name}"
        target = Target(field.type, scale=field.scale, zone=self.zone, format=mapped.format, separator=mapped.separator)
        expressions = {}
        for column, text in mapped.write.items():
            expression = self._expression(f"{place}.write.{column}", text, self.entity.fields)
            if expression is not None:
                expressions[column] = expression
        columns = tuple(mapped.write) or (str(mapped.column),)
        for column in columns:
            info = self._column(f"{place}.write" if mapped.write else place, column, quiet=not mapped.write and mapped.readable)
            if info is None:
                return None
            if not info.writable:
                self._problem(place, f"column {column!r} cannot be written (it is computed); map it with read alone, or direction: read")
            if info.type == "binary":
                self._problem(place, f"column {column!r} holds binary data, which cannot be written")
        if len(expressions) != len(mapped.write):
            return None
        maps = self._value_maps(place, field, mapped, quiet=mapped.readable)
        words = self.mapping.object.options.get("booleans")
        return Writer(field, mapped, columns, expressions, target, maps[1] if maps else None, words if isinstance(words, str) else None)

    def _value_maps(self, place: str, field: model.Field, mapped: model.FieldMapping, *, quiet: bool = False) -> ValueMaps | None:
        if not mapped.values:
            return None
        inward: dict[str | None, str] = {}
        outward: dict[str, str | None] = {}
        for canonical, native in mapped.values.items():
            cell = self._tried(f"{place}.values", partial(_value_cell, canonical, field), quiet=quiet)
            if cell is None:
                continue
            text = None if native is None else _value_text(native)
            if text in inward and not mapped.lossy and not quiet:
                self._problem(
                    f"{place}.values",
                    f"{native!r} stands for both {inward[text]!r} and {canonical!r}, and reading it would lose one (lossy: true allows it)",
                )
            inward.setdefault(text, cell)
            outward[cell] = text
        return inward, outward

    def _column(self, place: str, column: str, *, quiet: bool = False) -> model.ColumnInfo | None:
        if column in RESERVED and not quiet:
            self._problem(place, f"the column name {column!r} is trueup's own: rename the column, or show it under another name by a view")
            return None
        info = self.info.columns.get(column)
        if info is None and not quiet:
            known = did_you_mean(column, self.info.columns) + (f"; {self.info.remark}" if self.info.remark else "")
            self._problem(place, f"unknown column {column!r} in {self.mapping.object.label}{known}")
        return info

    def _expression(self, place: str, text: str, names: Collection[str]) -> CompiledExpression | None:
        return self._tried(place, partial(parse_expression, text, names))

    def _result_type(self, place: str, expression: CompiledExpression) -> pl.DataType | None:
        """What a native expression gives; None, with the problem noted, where it cannot even run on no rows."""
        schema = {name: expression_dtype(self.info.columns[name].type) for name in expression.names}
        return self._tried(place, partial(result_type, expression, schema))

    def _tried(self, place: str, make: Callable[[], T], *, quiet: bool = False) -> T | None:
        try:
            return make()
        except ValueError as error:
            if not quiet:
                self._problem(place, str(error))
            return None

    def _noted(self, place: str, problem: str | None) -> None:
        if problem is not None:
            self._problem(place, problem)

    def _problem(self, place: str, message: str, *, once: bool = False) -> None:
        text = f"{place}: {message}"
        if not once or text not in self.problems:
            self.problems.append(text)


def _value_cell(canonical: Any, field: model.Field) -> str:
    if field.type == "reference":
        return str(coerce_value(canonical, Target("reference")))
    return cell_from_python(canonical, field)


def _value_text(native: Any) -> str:
    return str(coerce_value(native, Target("text")))


_TYPE_WORDS = {
    pl.String: "text",
    pl.Int64: "whole numbers",
    pl.Float64: "floating-point numbers",
    pl.Decimal: "decimal numbers",
    pl.Boolean: "yes or no",
    pl.Date: "dates",
    pl.Datetime: "dates with times",
    pl.List: "lists",
    pl.Binary: "binary data",
}


def _words(dtype: pl.DataType) -> str:
    return _TYPE_WORDS.get(type(dtype), str(dtype))
