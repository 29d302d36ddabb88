"""Small mappings, and rows for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from trueup.core.mapping import CompiledMapping, compile_mapping
from trueup.core.mapping_out import native_dtype
from trueup.model import ColumnInfo, Entity, Field, FieldMapping, Mapping, ObjectInfo, ObjectSpec

if TYPE_CHECKING:
    from collections.abc import Mapping as Mapping_
    from collections.abc import Sequence

LONDON = "Europe/London"


def entity(*fields: Field) -> Entity:
    return Entity(name="customer", fields={field.name: field for field in fields}, mappings={})


def mapping(*fields: FieldMapping, spec: ObjectSpec | None = None, **more) -> Mapping:
    spec = spec or ObjectSpec(name="contacts", key=("id",))
    return Mapping(entity="customer", system="crm", object=spec, fields={field.field: field for field in fields}, **more)


def info(kind: Any = "table", **columns: Any) -> ObjectInfo:
    known = {name: column if isinstance(column, ColumnInfo) else ColumnInfo(name=name, type=column) for name, column in columns.items()}
    return ObjectInfo(name="contacts", columns={"id": ColumnInfo(name="id", type="integer"), **known}, key=("id",), kind=kind)


def native(rows: Sequence[Mapping_[str, Any]], compiled: CompiledMapping) -> pl.DataFrame:
    """Native rows typed as a connector gives them."""
    schema = {name: native_dtype(compiled.columns[name].type) for name in compiled.read_columns}
    numbered = [{"__key": str(number), **row} for number, row in enumerate(rows)]
    extra = {name: dtype for name, dtype in (("__absent", pl.List(pl.String)), ("__version", pl.String)) if rows and name in rows[0]}
    return pl.DataFrame(numbered, schema={"__key": pl.String, **schema, **extra})


def cells(rows: list[dict]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=dict.fromkeys(rows[0], pl.String)).with_row_index("__op").cast({"__op": pl.Int64})


NAME = FieldMapping(
    field="name",
    read="concat_ws(' ', first_name, last_name)",
    write={
        "first_name": "split_part(name, ' ', 1)",
        "last_name": "CASE WHEN strpos(name, ' ') > 0 THEN substr(name, strpos(name, ' ') + 1) END",
    },
)


def one(field: Field, column: str | ColumnInfo, *, kind: str = "table", zone: str = "UTC", **more) -> CompiledMapping:
    """A mapping of one plain field."""
    return compile_mapping(entity(field), zone, mapping(FieldMapping(field=field.name, column="c", **more)), info(kind, c=column))


def cell_of(compiled: CompiledMapping, value: object) -> str | None:
    mapped = compiled.to_cells(native([{"c": value}], compiled))
    assert mapped.rejected.is_empty()
    cell: str | None = mapped.rows[compiled.readable[0]][0]
    return cell


def reason_of(compiled: CompiledMapping, value: object) -> str:
    mapped = compiled.to_cells(native([{"c": value}], compiled))
    assert mapped.rows.is_empty()
    reason: str = mapped.rejected["reason"][0]
    return reason
