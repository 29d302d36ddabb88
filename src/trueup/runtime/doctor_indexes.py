"""Whether a database can find what was modified lately: an index that begins with the `modified` column, asked of its own catalogue."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from trueup.core.cells import KEY
from trueup.errors import TrueupError
from trueup.model import ObjectSpec

if TYPE_CHECKING:
    from trueup.connectors.base import Connector
    from trueup.model import ObjectInfo
    from trueup.reports.health import Diagnosis

_ASKED = {
    "postgres": """SELECT 1 AS id, count(*) AS found FROM pg_index i
        JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
        WHERE i.indisvalid AND i.indpred IS NULL AND i.indrelid = to_regclass({quoted}) AND a.attname = {column}""",
    "mysql": """SELECT 1 AS id, count(*) AS found FROM information_schema.statistics
        WHERE seq_in_index = 1 AND table_schema = coalesce({schema}, database()) AND table_name = {table} AND column_name = {column}""",
    "sqlite": """SELECT 1 AS id, count(*) AS found FROM pragma_index_list({table}) AS l, pragma_index_info(l.name) AS i
        WHERE i.seqno = 0 AND NOT l.partial AND lower(i.name) = lower({column})""",
}
"""For a table and a column, both as text: how many indexes that hold every row begin with it."""


def look_for_index(found: Diagnosis, connector: Connector, kind: str, place: str, asked: ObjectSpec, info: ObjectInfo) -> None:
    """Say where rows are read since a moment, and no index helps. A database that cannot be asked is left out."""
    column = asked.modified
    if kind not in _ASKED or column is None or asked.name is None or info.kind != "table" or info.key[:1] == (column,):
        return
    if "\\" in asked.name + column:  # which databases read differently within quotes
        return
    schema, _dot, table = asked.name.rpartition(".")
    if kind == "sqlite":
        schema, table = "", asked.name
    quoted = ".".join('"' + part.replace('"', '""') + '"' for part in (schema, table) if part)
    words = {
        "quoted": _text(quoted),
        "schema": _text(schema) if schema else "NULL",
        "table": _text(table),
        "column": _text(column),
    }
    statement = ObjectSpec(name=None, sql=_ASKED[kind].format(**words), key=("id",))
    with suppress(TrueupError):
        for page in connector.read(statement, ["found"], keys=["1"]):
            for row in page.rows.drop(KEY, strict=False).iter_rows(named=True):
                if int(row["found"]) == 0:
                    message = (
                        f"{place}: no index begins with {column}, by which changes are read: every run looks at all rows of {asked.name}"
                    )
                    found.add("note", "modified", message, f"CREATE INDEX ON {asked.name} ({column}), as that database writes it")


def _text(text: str) -> str:
    """Text as a literal of SQL."""
    return "'" + text.replace("'", "''") + "'"
