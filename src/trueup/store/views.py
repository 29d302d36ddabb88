"""Views for people: one per entity, `links` and `changes`, for `trueup sql` and any SQL tool on the state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trueup.store import schema, shadow, viewlist

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trueup.store.db import Db

LINKS = "links"
CHANGES = "changes"


def refresh(tx: Db, entities: Mapping[str, Sequence[tuple[str, str]]]) -> None:
    """Make the views say what the configuration says: entity -> (field, type) in order. Views that did not change are left alone.

    `links` has a row per linked native row: entity, system, record, key, and state: present, missing (it vanished and is left alone),
    outside (of its mapping's filter) or unreadable.

    An entity's view has `id`, one column per field and `version`, of its living records. Whole numbers, floats and booleans are typed;
    a decimal is numeric in PostgreSQL and exact text in SQLite, which has no decimals; dates and times are ISO text in SQLite. A
    value of another form than its field's type (as after a change of the type, until the next run) is null. An entity named as one of
    the tables gets a view named `golden_…`; a field named `id` or `version` a column `field_…`.
    """
    wanted = {LINKS: _links(), CHANGES: _changes(tx)}
    taken = {name.lower() for name in (*schema.metadata.tables, schema.VERSION_TABLE, *wanted)}
    for entity, fields in entities.items():
        name = entity
        while name.lower() in taken:
            name = f"golden_{name}"
        taken.add(name.lower())
        wanted[name] = _entity(tx, entity, fields)
    made = viewlist.made(tx.connection)
    if made == wanted:
        return
    for name in made:
        if made[name] != wanted.get(name):
            viewlist.drop(tx.connection, name)
    for name, definition in wanted.items():
        if made.get(name) != definition:
            viewlist.create(tx.connection, name, definition)
    viewlist.keep(tx.connection, wanted)


def _entity(tx: Db, entity: str, fields: Sequence[tuple[str, str]]) -> str:
    columns, taken = ["id"], {"id", "version"}
    for field, kind in fields:
        name = field
        while name.lower() in taken:
            name = f"field_{name}"
        taken.add(name.lower())
        value = _sqlite_value(field, kind) if tx.backend == "sqlite" else _postgres_value(field, kind)
        columns.append(f"{value} AS {viewlist.quoted(name)}")
    columns.append("version")
    alive = f"entity = {tx.entity(entity)} AND deleted_at IS NULL AND alias_of IS NULL"
    return f"SELECT {', '.join(columns)} FROM golden WHERE {alive}"


def _sqlite_value(field: str, kind: str) -> str:
    path = f'$."{field}"'
    value = f"json_extract(data, {_text(path)})"
    if '"' in field or "\\" in field:  # which SQLite's paths cannot say
        value = f"(SELECT value FROM json_each(data) WHERE key = {_text(field)})"
    if kind in {"integer", "reference"}:
        number = f"CAST({value} AS INTEGER)"
        return f"CASE WHEN CAST({number} AS TEXT) = CAST({value} AS TEXT) THEN {number} END"
    if kind == "float":
        return f"CASE WHEN {value} GLOB '*[0-9]*' THEN CAST({value} AS REAL) END"
    if kind == "boolean":
        return f"CASE {value} WHEN 'true' THEN 1 WHEN 'false' THEN 0 WHEN 1 THEN 1 WHEN 0 THEN 0 END"
    return value


_POSTGRES_FORMS = {
    "integer": (r"^-?[0-9]+$", "numeric"),
    "reference": (r"^[0-9]{1,18}$", "bigint"),
    "decimal": (r"^-?[0-9]+(\.[0-9]+)?$", "numeric"),
    "float": (r"^-?[0-9.]+([eE][-+]?[0-9]+)?$", "double precision"),
    "boolean": (r"^(true|false)$", "boolean"),
    "date": (r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", "date"),
    "datetime": (r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z$", "timestamp with time zone"),
}


def _postgres_value(field: str, kind: str) -> str:
    value = f"(data::json ->> {_text(field)})"
    if kind not in _POSTGRES_FORMS:
        return value
    form, target = _POSTGRES_FORMS[kind]
    return f"CASE WHEN {value} ~ {_text(form)} THEN {value}::{target} END"


def _links() -> str:
    return (
        "SELECT e.name AS entity, s.name AS system, h.golden_id AS record, h.key AS key, CASE h.state"
        f" WHEN {shadow.MISSING} THEN 'missing' WHEN {shadow.OUTSIDE} THEN 'outside' WHEN {shadow.UNREADABLE} THEN 'unreadable'"
        f" WHEN {shadow.WITHDRAWN} THEN 'withdrawn'"
        " ELSE 'present' END AS state FROM shadow h"
        " JOIN entity_name e ON e.id = h.entity JOIN system_name s ON s.id = h.system WHERE h.golden_id IS NOT NULL"
    )


def _changes(tx: Db) -> str:
    return (
        "SELECT h.id, h.version, e.name AS entity, h.golden_id AS record, h.run, h.field, h.kind, s.name AS system,"
        f" {_moment(tx, 'h.at')} AS at, {_moment(tx, 'h.recorded_at')} AS recorded_at, h.rule, h.before, h.after, h.detail FROM history h"
        " JOIN entity_name e ON e.id = h.entity LEFT JOIN system_name s ON s.id = h.system"
    )


def _moment(tx: Db, column: str) -> str:
    if tx.backend == "postgresql":
        return f"timestamp with time zone 'epoch' + {column} * interval '1 microsecond'"
    # Whole seconds by SQLite, the rest by hand: its own fractions are rounded to milliseconds.
    rest = f"(({column} % 1000000) + 1000000) % 1000000"
    return f"strftime('%Y-%m-%dT%H:%M:%S', ({column} - {rest}) / 1000000, 'unixepoch') || printf('.%06dZ', {rest})"


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
