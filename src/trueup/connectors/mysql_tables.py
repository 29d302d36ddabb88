"""What information_schema says about an object: columns, keys, and the SQL that reads, matches and stores each column exactly.

https://dev.mysql.com/doc/refman/8.0/en/information-schema.html, https://mariadb.com/kb/en/information-schema/. Facts that hold for both are
used where possible; a difference is named where it matters.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trueup.connectors.sql_read import SqlColumn, Table, query_text
from trueup.model import ColumnInfo, ColumnType, ObjectInfo, ObjectSpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trueup.connectors.mysql_session import Session

DDL_TYPES: Mapping[ColumnType, str] = {
    "text": "longtext",
    "integer": "bigint",
    "decimal": "decimal(38,12)",
    "float": "double",
    "boolean": "tinyint(1)",
    "date": "date",
    "datetime": "timestamp(6) NULL",
    "timestamp": "datetime(6)",
    "time": "time(6)",
    "list": "longtext",
    "json": "json",
    "binary": "longblob",
    "other": "longtext",
}
KEY_TEXT = "varchar(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"  # texts without a length cannot be indexed

_TYPES: dict[str, ColumnType] = {
    "tinyint": "integer",
    "smallint": "integer",
    "mediumint": "integer",
    "int": "integer",
    "bigint": "integer",
    "year": "integer",
    "decimal": "decimal",
    "float": "float",
    "double": "float",
    "date": "date",
    "datetime": "timestamp",
    "timestamp": "datetime",
    "time": "time",
    "json": "json",
    "binary": "binary",
    "varbinary": "binary",
    "tinyblob": "binary",
    "blob": "binary",
    "mediumblob": "binary",
    "longblob": "binary",
    "char": "text",
    "varchar": "text",
    "tinytext": "text",
    "text": "text",
    "mediumtext": "text",
    "longtext": "text",
    "enum": "text",
    "set": "text",
    "uuid": "text",
    "inet4": "text",
    "inet6": "text",
}
_SPATIAL = {
    "geometry",
    "point",
    "linestring",
    "polygon",
    "multipoint",
    "multilinestring",
    "multipolygon",
    "geometrycollection",
    "geomcollection",
}
_SYSTEM_SCHEMAS = "('mysql', 'information_schema', 'performance_schema', 'sys')"
_TEXT_LENGTHS = {"char", "varchar"}


@dataclass(frozen=True, slots=True)
class Native:
    """A column's type as the server has it. `charset` and `collation` are empty where it holds no text."""

    name: str
    whole: str = ""
    charset: str = ""
    collation: str = ""
    precision: int = 0

    @property
    def unsigned(self) -> bool:
        """Whether it holds no negative numbers."""
        return "unsigned" in self.whole


@dataclass(frozen=True, slots=True, kw_only=True)
class MyFacts:
    """What the connector needs to know of an object beyond its columns.

    numbered     the AUTO_INCREMENT column, None where there is none
    natives      Native by column
    unnamed      the columns without a name for the row, for RETURNING
    unique       columns by the name of each unique index
    is_table     False for views and queries
    """

    numbered: str | None = None
    natives: Mapping[str, Native] = field(default_factory=dict)
    unnamed: Mapping[str, SqlColumn] = field(default_factory=dict)
    unique: Mapping[str, Sequence[str]] = field(default_factory=dict)
    is_table: bool = True


def quoted(name: str) -> str:
    """A name as SQL."""
    return "`" + name.replace("`", "``") + "`"


def column_type(native: Native, *, is_json: bool = False) -> ColumnType:
    """The contract's type of a column. BIGINT UNSIGNED and wide BIT may exceed 64 bits with sign and are decimals without a scale."""
    if is_json:
        return "json"
    if native.whole.startswith("tinyint(1)") or (native.name == "bit" and native.precision == 1):
        return "boolean"
    if native.name == "bit":
        return "integer" if native.precision < 64 else "decimal"
    if native.name == "bigint" and native.unsigned:
        return "decimal"
    return _TYPES.get(native.name, "other")


def sql_column(info: ColumnInfo, native: Native, row: str = "t.") -> SqlColumn:
    """How to read, compare and store a column of the row named `row`. Parameters arrive as LONGTEXT in place of `{}`."""
    cell = f"{row}{quoted(info.name)}"
    read, fits, compare, cast, store = cell, None, "", "{}", "{}"
    if native.name == "bit":
        read, cast, store = f"({cell} + 0)", "CAST({} AS UNSIGNED)", "CAST({} AS UNSIGNED)"
    elif info.type == "boolean":
        fits, cast = f"{cell} IS NULL OR {cell} IN (0, 1)", "CAST({} AS SIGNED)"
    elif info.type == "integer":
        cast = "CAST({} AS SIGNED)"
    elif info.type == "decimal":
        cast = "CAST({} AS UNSIGNED)" if native.name == "bigint" else "CAST({} AS DECIMAL(65, 30))"
    elif info.type == "float":
        # The text form of a FLOAT has six digits only; as a DOUBLE it is exact.
        read, cast = f"({cell} + 0e0)", "(CAST({} AS FLOAT) + 0e0)" if native.name == "float" else "CAST({} AS DOUBLE)"
    elif info.type in {"date", "timestamp", "datetime"}:
        fits = f"{cell} IS NULL OR (MONTH({cell}) > 0 AND DAYOFMONTH({cell}) > 0)"  # 0000-00-00 and its like are no dates
        cast = "CAST({} AS DATE)" if info.type == "date" else "CAST({} AS DATETIME(6))"
    elif info.type == "time":
        cast = "CAST({} AS TIME(6))"
    elif info.type == "binary":
        read, compare, cast, store = f"LOWER(HEX({cell}))", cell, "UNHEX({})", "UNHEX({})"
    elif native.name in _SPATIAL:
        read, compare, cast = f"ST_AsText({cell})", f"CAST(ST_AsText({cell}) AS BINARY)", "CAST({} AS BINARY)"
    else:
        read = cell if native.charset else f"CAST({cell} AS CHAR CHARACTER SET utf8mb4)"
        compare = f"CAST(CONVERT({read} USING utf8mb4) AS BINARY)"  # to the byte: collations ignore case, accents and spaces at the end
        cast = "CAST({} AS BINARY)"
    return SqlColumn(info=info, read=read, fits=fits, compare=compare or read, compare_cast=cast, store=store)


def match(column: SqlColumn, native: Native, value: str, *, loosely: bool = False) -> str:
    """`column = value`, in a form that an index serves; text to the byte, unless `loosely`: then as the column's collation has it."""
    exact = f"{column.compare} = {column.compare_cast.format(value)}"
    cell = f"t.{quoted(column.info.name)}"
    if native.charset and column.info.type == "text":
        alike = f"{cell} = CONVERT({value} USING {native.charset}) COLLATE {native.collation}"
        return alike if loosely else f"{alike} AND {exact}"
    if native.name == "uuid":
        return f"{cell} = {value}"
    return exact


# ---------------------------------------------------------------- asking the server


def find_table(session: Session, parts: Sequence[str], whole: str) -> dict[str, Any] | None:
    """The table or view of a name of one or two parts; an exact spelling before one that differs in case only; None when there is none."""
    names = [(None, whole)] if len(parts) == 1 else [(parts[0], parts[1]), (None, whole)]
    for schema, name in names:
        rows = session.rows(
            "SELECT TABLE_SCHEMA AS s, TABLE_NAME AS n, TABLE_TYPE AS k, TABLE_ROWS AS r, DATABASE() AS d FROM information_schema.TABLES"
            f" WHERE TABLE_SCHEMA = {session.text(schema) if schema is not None else 'DATABASE()'}"
            f" AND TABLE_NAME = {session.text(name)} ORDER BY BINARY TABLE_NAME = {session.text(name)} DESC LIMIT 1"
        )
        if rows:
            return dict(zip(("schema", "name", "kind", "rows", "database"), rows[0], strict=True))
    return None


def all_tables(session: Session) -> list[dict[str, Any]]:
    """Tables and views of the session's database; of all databases where it has none."""
    rows = session.rows(
        "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE, TABLE_ROWS, DATABASE() FROM information_schema.TABLES"
        f" WHERE TABLE_SCHEMA = DATABASE() OR (DATABASE() IS NULL AND TABLE_SCHEMA NOT IN {_SYSTEM_SCHEMAS}) ORDER BY 1, 2"
    )
    return [dict(zip(("schema", "name", "kind", "rows", "database"), row, strict=True)) for row in rows]


def load_table(session: Session, relation: Mapping[str, Any], obj: ObjectSpec) -> Table:
    """A table or view resolved."""
    schema, name = session.text(relation["schema"]), session.text(relation["name"])
    is_view = "VIEW" in relation["kind"]
    writable = not is_view or _is_updatable(session, schema, name)
    json_columns = _json_columns(session, schema, name)
    columns: dict[str, SqlColumn] = {}
    natives: dict[str, Native] = {}
    numbered = None
    for row in _column_rows(session, schema, name):
        native = Native(
            name=row["type"].lower(),
            whole=row["whole"].lower(),
            charset=row["charset"] or "",
            collation=row["collation"] or "",
            precision=int(row["precision"] or 0),
        )
        kind = column_type(native, is_json=row["name"] in json_columns)
        extra = row["extra"].lower()
        generated = "generated" in extra and "default_generated" not in extra
        numbered = row["name"] if "auto_increment" in extra else numbered
        info = ColumnInfo(
            name=row["name"],
            type=kind,
            native_type=row["whole"],
            nullable=row["nullable"] == "YES",
            writable=writable and not generated and native.name not in _SPATIAL,
            has_default="auto_increment" in extra or (row["default"] is not None and row["default"] != "NULL"),
            max_length=int(row["length"]) if row["length"] and native.name in _TEXT_LENGTHS else None,
            scale=int(row["scale"]) if row["scale"] is not None and kind == "decimal" else None,
        )
        natives[info.name] = native
        columns[info.name] = sql_column(info, native)
    unique = _unique_indexes(session, schema, name)
    primary = tuple(unique.get("PRIMARY", ()))
    key = obj.key or primary
    shown = relation["name"] if relation["schema"] == relation["database"] else f"{relation['schema']}.{relation['name']}"
    target = f"{quoted(relation['schema'])}.{quoted(relation['name'])}"
    return Table(
        info=ObjectInfo(
            name=shown,
            columns={column: facts.info for column, facts in columns.items()},
            key=primary,
            kind="view" if is_view else "table",
            assigns_key=len(key) == 1 and key[0] == numbered,
            rows=int(relation["rows"]) if relation["rows"] is not None else None,
        ),
        source=target,
        target=target,
        columns=columns,
        key=key,
        key_unique=any(set(names) <= set(key) for names in unique.values()),
        writable=writable,
        modified=obj.modified,
        extra={
            "mysql": MyFacts(
                numbered=numbered,
                natives=natives,
                unnamed={name: sql_column(column.info, natives[name], row="") for name, column in columns.items()},
                unique=unique,
                is_table=not is_view,
            )
        },
    )


def _column_rows(session: Session, schema: str, name: str) -> list[dict[str, Any]]:
    names = ("name", "type", "whole", "charset", "collation", "nullable", "default", "extra", "length", "scale", "precision")
    rows = session.rows(
        "SELECT COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, CHARACTER_SET_NAME, COLLATION_NAME, IS_NULLABLE, COLUMN_DEFAULT, EXTRA,"
        " CHARACTER_MAXIMUM_LENGTH, NUMERIC_SCALE, NUMERIC_PRECISION FROM information_schema.COLUMNS"
        f" WHERE TABLE_SCHEMA = {schema} AND TABLE_NAME = {name} ORDER BY ORDINAL_POSITION"
    )
    return [dict(zip(names, row, strict=True)) for row in rows]


def _json_columns(session: Session, schema: str, name: str) -> set[str]:
    """MariaDB's JSON columns: LONGTEXT with a check that the value is JSON, under the column's own name."""
    if not session.is_mariadb:
        return set()
    rows = session.rows(
        f"SELECT CHECK_CLAUSE FROM information_schema.CHECK_CONSTRAINTS WHERE CONSTRAINT_SCHEMA = {schema} AND TABLE_NAME = {name}"
    )
    found = (re.fullmatch(r"json_valid\(`(.+)`\)", clause or "") for (clause,) in rows)
    return {check.group(1).replace("``", "`") for check in found if check}


def _unique_indexes(session: Session, schema: str, name: str) -> dict[str, list[str]]:
    """Columns by unique index; indexes over expressions or the first characters of a column do not count."""
    rows = session.rows(
        "SELECT INDEX_NAME, COLUMN_NAME, SUB_PART FROM information_schema.STATISTICS"
        f" WHERE TABLE_SCHEMA = {schema} AND TABLE_NAME = {name} AND NON_UNIQUE = 0 ORDER BY INDEX_NAME, SEQ_IN_INDEX"
    )
    found: dict[str, list[str]] = {}
    partial = {index for index, column, part in rows if column is None or part is not None}
    for index, column, _ in rows:
        if index is not None and column is not None and index not in partial:
            found.setdefault(index, []).append(column)
    return found


def _is_updatable(session: Session, schema: str, name: str) -> bool:
    rows = session.rows(f"SELECT IS_UPDATABLE FROM information_schema.VIEWS WHERE TABLE_SCHEMA = {schema} AND TABLE_NAME = {name}")
    return bool(rows) and rows[0][0] == "YES"


def load_query(session: Session, obj: ObjectSpec) -> Table:
    """A read-only query resolved: its columns as the server describes its result."""
    sql = query_text(obj)
    columns, natives = {}, {}
    for name, native, nullable in session.described(f"SELECT * FROM ({sql}\n) AS t LIMIT 0"):
        column = ColumnInfo(name=name, type=column_type(native), native_type=native.whole, nullable=nullable, writable=False)
        natives[name] = native
        columns[name] = sql_column(column, native)
    return Table.of_query(obj, columns, {"mysql": MyFacts(natives=natives, is_table=False)})
