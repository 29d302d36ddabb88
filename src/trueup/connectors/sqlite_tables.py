"""What SQLite says about its objects: columns, keys, and the SQL that reads each column safely.

SQLite types values, not columns: any column may hold anything. So every column is read through an expression that shows only values of
the declared type, and says of the others that they do not fit (https://www.sqlite.org/datatype3.html).

Declared type -> column type: the first that applies of
    BOOL…                      boolean   0 and 1, or the words true and false
    DECIMAL, NUMERIC, MONEY    decimal   the stored number's text; `DECIMAL TEXT` keeps every digit, plain DECIMAL keeps 15
    …DATE…, …TIME…, UUID       text      ISO text mostly; SQLite has no such types. A number in there is shown as its digits
    JSON…                      json
    …INT…                      integer
    CHAR, CLOB, TEXT           text
    BLOB                       binary    lower-case hexadecimal
    REAL, FLOA, DOUB           float
    anything else, or nothing  other     text of whatever is stored
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trueup.connectors.sql_read import SqlColumn, Table, query_text
from trueup.errors import ObjectMissingError
from trueup.model import ColumnInfo, ColumnType, ObjectInfo, ObjectSpec

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

_TYPE_RULES: tuple[tuple[str, ColumnType], ...] = (
    (r"BOOL", "boolean"),
    (r"^(DECIMAL|NUMERIC|NUMBER|MONEY|CURRENCY)", "decimal"),
    (r"DATE|TIME|UUID|GUID", "text"),
    (r"JSON", "json"),
    (r"INT", "integer"),
    (r"CHAR|CLOB|TEXT", "text"),
    (r"BLOB|BINARY", "binary"),
    (r"REAL|FLOA|DOUB", "float"),
)

REAL_MARK = "~"
"""Stands before a number that is stored as REAL in a decimal column, until `sqlite_rows.decoded` takes it away."""

DDL_TYPES: Mapping[str, str] = {
    "text": "TEXT",
    "integer": "INTEGER",
    "decimal": "DECIMAL TEXT",
    "float": "REAL",
    "boolean": "BOOLEAN",
    "date": "DATE TEXT",
    "datetime": "DATETIME TEXT",
    "timestamp": "TIMESTAMP TEXT",
    "time": "TIME TEXT",
    "list": "JSON TEXT",
    "json": "JSON TEXT",
    "binary": "BLOB",
    "other": "TEXT",
}
"""Declared types for new tables. The word TEXT gives a column text affinity, so that SQLite stores what it is given, digit for digit."""

_HIDDEN, _GENERATED = 1, (2, 3)  # values of `hidden` in PRAGMA table_xinfo


@dataclass(frozen=True, slots=True)
class SqliteFacts:
    """What the connector needs to know of a table beyond its columns.

    rowid      a name for the row's number, None for views, queries and WITHOUT ROWID tables
    rowid_key  the key column that is the row's number (INTEGER PRIMARY KEY), None otherwise
    autoincrement  whether numbers of deleted rows are never given again
    """

    rowid: str | None
    rowid_key: str | None
    autoincrement: bool


def quoted(name: str) -> str:
    """A name as SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(value: str | float) -> str:
    """A value as SQL that no text can break out of: text with anything but plain characters goes as hexadecimal."""
    if isinstance(value, str):
        plain = re.fullmatch(r"[A-Za-z0-9 .:,+_TZ-]*", value)
        return f"'{value}'" if plain else f"CAST(x'{value.encode().hex()}' AS TEXT)"
    return repr(value)


def column_type(declared: str) -> ColumnType:
    """The contract's type of a declared SQLite type."""
    for pattern, found in _TYPE_RULES:
        if re.search(pattern, declared.upper()):
            return found
    return "other"


def sqlite_column(info: ColumnInfo, default: str | None = None, row: str = "t.", *, rowid: bool = False) -> SqlColumn:
    """The column with the SQL to read and compare it; `row` is what stands before its name, `rowid` says that it is the row's number."""
    cell = f"{row}{quoted(info.name)}"
    if rowid:  # nothing else than whole numbers can be in there
        return SqlColumn(info=info, read=cell, default=default)
    kind = f"typeof({cell})"
    read, fits, compare = f"CAST({cell} AS TEXT)", f"{kind} <> 'blob'", ""
    match info.type:
        case "integer":
            read, fits = f"CASE {kind} WHEN 'integer' THEN {cell} END", f"{kind} IN ('integer', 'null')"
        case "boolean":
            words = f"CASE lower({cell}) WHEN '1' THEN 1 WHEN 'true' THEN 1 WHEN '0' THEN 0 WHEN 'false' THEN 0 END"
            read = f"CASE WHEN {cell} = 1 THEN 1 WHEN {cell} = 0 THEN 0 ELSE {words} END"  # words are rare, and take longer
            fits = f"{cell} IS NULL OR {cell} = 1 OR {cell} = 0 OR lower({cell}) IN ('0', '1', 'true', 'false')"
        case "float":
            read, fits = f"CASE WHEN {kind} IN ('real', 'integer') THEN CAST({cell} AS REAL) END", f"{kind} NOT IN ('text', 'blob')"
        case "binary":
            read, fits = f"CASE {kind} WHEN 'blob' THEN lower(hex({cell})) END", f"{kind} IN ('blob', 'null')"
        case "decimal":
            compare = f"CASE {kind} WHEN 'real' THEN {cell} ELSE CAST({cell} AS TEXT) END"
            # Versions of SQLite write a REAL differently, and more than one may read this file: `decoded` gives it one form.
            read = f"CASE {kind} WHEN 'real' THEN '{REAL_MARK}' || printf('%!.17g', {cell}) ELSE CAST({cell} AS TEXT) END"
        case _:
            pass
    return SqlColumn(info=info, read=read, fits=fits, compare=compare, default=default)


def find_object(connection: sqlite3.Connection, parts: Sequence[str], whole: str) -> tuple[str, str, str, str] | None:
    """(schema, name, type, sql) of a table or view: the whole text as a name first, then `schema.name`; exact spelling before any case."""
    attached = [row[1] for row in connection.execute("PRAGMA database_list")]
    wanted = [("main", whole)]
    if len(parts) == 1:
        wanted.append(("main", parts[0]))
    elif len(parts) == 2:
        wanted += [(schema, parts[1]) for schema in attached if schema.lower() == parts[0].lower()]
    for schema, name in wanted:
        row = connection.execute(
            f"SELECT name, type, coalesce(sql, '') FROM {quoted(schema)}.sqlite_schema"
            " WHERE type IN ('table', 'view') AND name = ? COLLATE NOCASE ORDER BY name = ? DESC LIMIT 1",
            (name, name),
        ).fetchone()
        if row:
            return schema, row[0], row[1], row[2]
    return None


def load_columns(connection: sqlite3.Connection, schema: str, name: str, *, writable: bool) -> tuple[dict[str, SqlColumn], tuple[str, ...]]:
    """The columns of a table or view, and its primary key in order."""
    columns: dict[str, SqlColumn] = {}
    key: list[tuple[int, str]] = []
    for _, column, declared, not_null, default, key_position, hidden in connection.execute(
        f"PRAGMA {quoted(schema)}.table_xinfo({quoted(name)})"
    ):
        if hidden == _HIDDEN:
            continue
        scale = re.search(r"\(\s*\d+\s*,\s*(\d+)\s*\)", declared)
        info = ColumnInfo(
            name=column,
            type=column_type(declared),
            native_type=declared,
            nullable=not not_null and not key_position,
            writable=writable and hidden not in _GENERATED,
            has_default=default is not None,
            scale=int(scale.group(1)) if scale else None,
        )
        columns[column] = sqlite_column(info, default)
        if key_position:
            key.append((key_position, column))
    return columns, tuple(column for _, column in sorted(key))


def unique_sets(connection: sqlite3.Connection, schema: str, name: str) -> list[frozenset[str]]:
    """Sets of columns that a complete unique index keeps unique. Indexes over expressions say nothing."""
    found = []
    for _, index, unique, _origin, partial in connection.execute(f"PRAGMA {quoted(schema)}.index_list({quoted(name)})").fetchall():
        if not unique or partial:
            continue
        columns = [row[2] for row in connection.execute(f"PRAGMA {quoted(schema)}.index_info({quoted(index)})")]
        if all(columns):
            found.append(frozenset(columns))
    return found


def load_table(connection: sqlite3.Connection, obj: ObjectSpec, found: tuple[str, str, str, str]) -> Table:
    """A table or view resolved."""
    schema, name, kind, sql = found
    triggers = [
        row[0].upper()
        for row in connection.execute(
            f"SELECT sql FROM {quoted(schema)}.sqlite_schema WHERE type = 'trigger' AND tbl_name = ? COLLATE NOCASE AND sql IS NOT NULL"
            " AND substr(name, 1, 12) <> 'trueup_lock_'",  # a lock changes no row
            (name,),
        )
    ]
    writable = kind == "table" or any(re.search(r"\bINSTEAD\s+OF\b", trigger) for trigger in triggers)
    columns, primary = load_columns(connection, schema, name, writable=writable)
    key = obj.key or primary
    facts = _facts(connection, schema, name, kind, sql, columns, primary)
    if facts.rowid_key is not None:
        number = columns[facts.rowid_key]
        columns[facts.rowid_key] = sqlite_column(number.info, number.default, rowid=True)
    unique = [*unique_sets(connection, schema, name), *([frozenset(primary)] if primary else [])] if kind == "table" else []
    assigns = bool(key) and (key == (facts.rowid_key,) or all(name in columns and columns[name].default is not None for name in key))
    info = ObjectInfo(
        name=name if schema == "main" else f"{schema}.{name}",
        columns={column: facts_.info for column, facts_ in columns.items()},
        key=primary,
        kind="table" if kind == "table" else "view",
        assigns_key=assigns,
        rows=_estimate(connection, schema, name, facts.rowid),
    )
    source = f"{quoted(schema)}.{quoted(name)}"
    return Table(
        info=info,
        source=source,
        target=source,
        columns=columns,
        key=key,
        key_unique=any(columns_ <= set(key) for columns_ in unique),
        writable=writable,
        modified=obj.modified,
        reread=bool(triggers),
        extra={"sqlite": facts},
    )


def _facts(
    connection: sqlite3.Connection, schema: str, name: str, kind: str, sql: str, columns: Mapping[str, SqlColumn], primary: tuple[str, ...]
) -> SqliteFacts:
    if kind != "table":
        return SqliteFacts(None, None, autoincrement=False)
    listed: Any = connection.execute(f"PRAGMA {quoted(schema)}.table_list({quoted(name)})").fetchone()
    if listed is None or listed[2] != "table" or listed[4]:  # a virtual table, or WITHOUT ROWID
        return SqliteFacts(None, None, autoincrement=False)
    taken = {column.lower() for column in columns}
    rowid = next((word for word in ("rowid", "_rowid_", "oid") if word not in taken), None)
    single = primary[0] if len(primary) == 1 else None
    is_number = (
        single is not None and columns[single].info.native_type.upper() == "INTEGER" and not _has_own_index(connection, schema, name)
    )
    return SqliteFacts(rowid, single if is_number else None, autoincrement=bool(re.search(r"\bAUTOINCREMENT\b", sql.upper())))


def _has_own_index(connection: sqlite3.Connection, schema: str, name: str) -> bool:
    """Whether the primary key is an index of its own (`INTEGER PRIMARY KEY DESC` is, by an old quirk) and not the row's number."""
    return any(row[3] == "pk" for row in connection.execute(f"PRAGMA {quoted(schema)}.index_list({quoted(name)})"))


def _estimate(connection: sqlite3.Connection, schema: str, name: str, rowid: str | None) -> int | None:
    """The greatest row number, which no listing can exceed by much; None where rows have none."""
    if rowid is None:
        return None
    row = connection.execute(f"SELECT max({rowid}) FROM {quoted(schema)}.{quoted(name)}").fetchone()
    return max(int(row[0] or 0), 0)


def load_query(connection: sqlite3.Connection, obj: ObjectSpec) -> Table:
    """A read-only query resolved, by way of a temporary view (which also makes sure that it is one SELECT)."""
    sql = query_text(obj)
    view = "trueup_query"
    connection.execute(f"DROP VIEW IF EXISTS temp.{view}")
    connection.execute(f"CREATE TEMP VIEW {view} AS {sql}")
    try:
        columns, _ = load_columns(connection, "temp", view, writable=False)
    finally:
        connection.execute(f"DROP VIEW IF EXISTS temp.{view}")
    if not columns:
        message = "the query gives no columns"
        raise ObjectMissingError(message)
    return Table.of_query(obj, columns, {"sqlite": SqliteFacts(None, None, autoincrement=False)})
