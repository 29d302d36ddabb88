"""PostgreSQL: one snapshot per read, through ADBC where there are many rows; writes through psycopg in short transactions.

A read is one query inside a read-only transaction; it takes no lock that keeps anybody from reading or writing. New rows go straight
into a table with COPY where the stored row is known from the column types; otherwise, and for updates and deletes, values are carried
in arrays (small) or a temporary table (large) and one statement returns the rows as stored.

Nothing is set for a whole session, so that a connection pool in front of the server does no harm.
"""

from __future__ import annotations

import re
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

import polars as pl
import psycopg
from psycopg import conninfo

from trueup.connectors.postgres_marks import NUMBER, OLDEST
from trueup.connectors.postgres_rows import few_frames, many_frames, raw_schema, typed_frame
from trueup.connectors.postgres_session import SessionConnector, facts_of
from trueup.connectors.postgres_tables import (
    DDL_TYPES,
    all_relations,
    candidates,
    find_relation,
    literal,
    load_columns,
    query_table,
    quoted,
    relation_table,
)
from trueup.connectors.postgres_values import as_text, copy_data, kept
from trueup.connectors.postgres_watch import SETTING
from trueup.connectors.sql_read import OP, Select, conjunction, null_patterns, query_text, split_name
from trueup.connectors.sql_types import instant_of
from trueup.connectors.sql_write import Job, RowRefusedError, paired
from trueup.connectors.sqlbase import SqlConnector, checked_settings, server_settings
from trueup.core.frames import dropped, renamed, stacked
from trueup.errors import (
    AccessRefusedError,
    ObjectMissingError,
    UsageError,
)
from trueup.model import ObjectSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from trueup.connectors.sql_read import SqlColumn, Table
    from trueup.model import ObjectInfo

_VALUES = "trueup_values"
_ARRAY_ROWS = 2_000  # up to this many rows travel as arrays in the statement, more through a temporary table


class PostgresConnector(SessionConnector):
    """One PostgreSQL database, reached by a libpq URL."""

    caps = replace(SqlConnector.caps, marks=True, parts=True, fences=True, watch=True, locks=True, grants=True)

    def __init__(
        self, name: str, info: Mapping[str, Any], *, schema: str | None, lock_timeout_s: float, statement_timeout_s: float
    ) -> None:
        """Keep how to connect; nothing is opened yet."""
        super().__init__(name, info, lock_timeout_s=lock_timeout_s, statement_timeout_s=statement_timeout_s)
        self.schema = schema
        self._may_use_temp: bool | None = None
        self._own = {}

    @classmethod
    def open(cls, name: str, settings: Mapping[str, Any], *, directory: str = ".") -> Self:
        """See base.Connector. Raises UsageError for unknown, missing or unusable settings."""
        del directory
        given = checked_settings(cls, name, settings)
        try:
            info = conninfo.conninfo_to_dict(given["url"])
        except psycopg.Error as error:
            option = re.search(r'invalid URI query parameter: "([^"]*)"', str(error))
            message = f"the setting 'url' has an option {option[1]!r}" if option else "the setting 'url' is not a PostgreSQL URL"
            hint = "options behind the ? are libpq's" if option else "write postgresql://user:password@host:5432/database"
            raise UsageError(f"{message}, which PostgreSQL does not know" if option else message, hint=hint, system=name) from None
        timeouts = {name: float(given[name]) for name in ("lock_timeout_s", "statement_timeout_s")}
        connector = cls(name, info, schema=given.get("schema"), **timeouts)
        connector.watch_setting = given.get("watch")
        return connector

    @classmethod
    def settings_schema(cls) -> dict[str, Any]:
        """See base.Connector."""
        schema = {"type": "string", "title": "Schema", "description": "where unqualified names are looked up; default: the search path"}
        return server_settings(
            "postgresql://user:password@host:5432/database, with any libpq option after ?",
            more={"schema": schema, "watch": SETTING},
        )

    # ------------------------------------------------------------ describing

    def discover(self) -> list[ObjectInfo]:
        """See base.Connector. Partitions and system schemas are left out."""
        session = self._session()
        with self._errors(), self._read_only(session):
            relations = all_relations(session, self.schema)
            columns = load_columns(session, [relation["oid"] for relation in relations])
        nothing = ObjectSpec(name=None, key=())
        return [relation_table(relation, columns[relation["oid"]], nothing).info for relation in relations]

    def _load(self, obj: ObjectSpec) -> Table:
        session = self._session()
        if obj.sql is not None:
            return self._load_query(session, obj)
        name = obj.name or ""
        with self._errors(), self._read_only(session):
            relation = find_relation(session, candidates(split_name(name), name, self.schema))
            if relation is not None:
                return relation_table(relation, load_columns(session, [relation["oid"]])[relation["oid"]], obj)
        message = f"there is no table or view {name!r}"
        raise ObjectMissingError(message, hint=self._names_there(), system=self.name)

    def _load_query(self, session: psycopg.Connection[Any], obj: ObjectSpec) -> Table:
        sql = query_text(obj)
        with self._errors(), self._read_only(session):
            result = session.execute(f"SELECT * FROM ({sql}\n) AS t LIMIT 0".encode()).pgresult
            described = (
                []
                if result is None
                else [((result.fname(index) or b"").decode(), result.ftype(index), result.fmod(index)) for index in range(result.nfields)]
            )
        if not described:
            message = "the query gives no columns"
            raise ObjectMissingError(message, system=self.name)
        with self._errors():
            return query_table(session, obj, described)

    def _names_there(self) -> str:
        names = [info.name for info in self.discover()[:20]]
        return f"there are {', '.join(names)}" if names else "the database is empty"

    # ------------------------------------------------------------ reading

    def _scan(self, select: Select, since: str | None, page_rows: int) -> Iterator[pl.DataFrame]:
        del page_rows  # the driver sizes its batches in bytes
        sql = f"SELECT {select.outputs} FROM {select.table.source} AS t"
        if since is not None:
            modified = self._ordered(select.table.column(select.table.modified or ""))
            order = ", ".join([modified, *(f"t.{quoted(name)}" for name in select.table.key)])
            sql = f"{sql} WHERE {modified} >= {self._bound(select.table, since)} ORDER BY {order}"
        for _number, frame in self._frames([(select, sql)]):
            yield frame

    def _frames(self, queries: Sequence[tuple[Select, str]]) -> Iterator[tuple[int, pl.DataFrame]]:
        """See MarkingConnector. A view or a query of the mapping's own, which may take long, is not begun twice."""
        few = None
        if all(select.table.info.kind == "table" for select, _sql in queries):
            session = self._session()
            with self._errors():
                few = few_frames(session, self._read_limits(), queries)
        yield from self._many(queries) if few is None else few

    def _many(self, queries: Sequence[tuple[Select, str]], *settings: str) -> Iterator[tuple[int, pl.DataFrame]]:
        """Rows of queries as `_frames` gives them, through a connection of their own; `settings` are for its transaction."""
        with self._errors():
            yield from many_frames(self._place(), (*settings, *self._read_limits()), queries)

    def _read_limits(self) -> tuple[str, ...]:
        """As `_limits`, for a read, which may take as long as it takes, and shows a table from its beginning.

        The server would else begin where another reading is or was: pages of new rows would then not be those of a chunk.
        """
        return (f"SET LOCAL lock_timeout = {int(self.lock_timeout_s * 1000)}", "SET LOCAL synchronize_seqscans = off")

    @staticmethod
    def _ordered(column: SqlColumn) -> str:
        """The modified column in an order that does not depend on a language."""
        cell = f"t.{quoted(column.info.name)}"
        return f'{cell}::text COLLATE "C"' if column.info.type in {"text", "other"} else cell

    def _bound(self, table: Table, since: str) -> str:
        column = table.column(table.modified or "")
        kind = column.info.type
        usable = {
            "integer": re.fullmatch(r"-?\d+", since),
            "decimal": re.fullmatch(r"-?\d+(\.\d+)?", since),
            "float": re.fullmatch(r"[-+.\deE]+", since),
            "date": instant_of(since),
            "datetime": instant_of(since),
            "timestamp": instant_of(since),
        }.get(kind, True)
        if not usable:
            message = f"the cursor {since!r} does not fit {column.info.name}, which is {column.info.native_type}"
            raise ObjectMissingError(message, hint="the column changed its type; run with --full", system=self.name)
        return f"{literal(since)}::{column.compare_cast}"

    def _doubled(self, table: Table) -> pl.DataFrame:
        select = Select(table, table.key)
        reads = ", ".join(f"{column.read} AS c{index}" for index, column in enumerate(select.columns))
        places = ", ".join(str(index + 1) for index in range(len(select.columns)))
        sql = f"SELECT {reads} FROM {table.source} AS t GROUP BY {places} HAVING count(*) > 1"
        schema = {name: dtype for name, dtype in raw_schema(select).items() if name.startswith("c")}
        session = self._session()
        with self._errors(), self._read_only(session):
            rows = session.execute(sql.encode(), binary=True).fetchall()
        return typed_frame(select, pl.DataFrame(rows, schema=schema, orient="row"))

    def _lookup(self, select: Select, names: tuple[str, ...], values: pl.DataFrame) -> pl.DataFrame:
        found = []
        named = pl.DataFrame([column.alias(f"k{index}") for index, column in enumerate(values.get_columns())])
        for present, absent, rows in null_patterns(named):
            columns = {alias: select.table.column(names[int(alias[1:])]) for alias in (*present, *absent)}
            empty = [f"t.{quoted(columns[alias].info.name)} IS NULL" for alias in absent]
            matches = [self._match(select.table, columns[alias], f"v.{alias}") for alias in present]
            possible = self._possible(rows, {alias: columns[alias] for alias in present})
            if present and possible.is_empty():
                continue
            found.append(self._looked_up(select, as_text(possible), conjunction([*matches, *empty])))
        return stacked(found) if found else self._empty(select)

    def _looked_up(self, select: Select, texts: pl.DataFrame, where: str) -> pl.DataFrame:
        """Raw rows that meet `where`, joined to the values `v`: through psycopg when few, or inside our own transaction; else ADBC."""
        head = f"SELECT {select.outputs} FROM"
        if texts.height > _ARRAY_ROWS and not self._in_write:
            arrays = ", ".join(f"{_array_literal(texts.get_column(name))}::text[]" for name in texts.columns)
            sql = f"{head} unnest({arrays}) AS v({', '.join(texts.columns)}) JOIN {select.table.source} AS t ON {where}"
            return pl.concat([pl.DataFrame(schema=select.schema), *(frame for _number, frame in self._many([(select, sql)]))])
        session = self._session()
        relation, parameters = f"unnest({', '.join(['%s::text[]'] * texts.width)}) AS v({', '.join(texts.columns)}) JOIN", _lists(texts)
        if not texts.width:
            relation, parameters = "(SELECT 1) AS v JOIN", []
        sql = f"{head} {relation} {_percent(select.table.source)} AS t ON {_percent(where)}"
        sql = f"{_percent(head)}{sql[len(head) :]}"
        with self._errors():
            if self._in_write:
                rows = session.execute(sql.encode(), parameters or None, binary=True).fetchall()
            else:
                with self._read_only(session):
                    rows = session.execute(sql.encode(), parameters or None, binary=True).fetchall()
        return typed_frame(select, pl.DataFrame(rows, schema=raw_schema(select), orient="row"))

    @staticmethod
    def _possible(rows: pl.DataFrame, columns: Mapping[str, SqlColumn]) -> pl.DataFrame:
        """Values that the column's type can hold at all; others name no row (and would be an error to the server)."""
        for alias, column in columns.items():
            if column.pattern is not None:
                rows = rows.filter(pl.col(alias).str.contains(column.pattern))
        return rows

    @staticmethod
    def _match(table: Table, column: SqlColumn, value: str) -> str:
        """`column = value`, exact to the byte for text, in a form that an index serves where the type allows it."""
        pg = facts_of(table).types[column.info.name]
        cell = f"t.{quoted(column.info.name)}"
        match pg.name:
            case "text" | "varchar" if pg.loose_collation:
                return f'{cell} = {value} AND {cell} = {value} COLLATE "C"'
            case "text" | "varchar":
                return f"{cell} = {value}"
            case "citext" if not pg.is_domain:
                return f"{cell} = {value}::{pg.store} AND {cell}::text = {value}"
            case "uuid":
                return f"{cell} = {value}::uuid"
            case "bool" | "date" | "timestamp" | "timestamptz" | "numeric" | "int2" | "int4" | "int8" | "float8":
                return f"{cell} = {value}::{column.compare_cast}"
            case _:
                return f"{column.compare} = {value}::{column.compare_cast}"

    # ------------------------------------------------------------ writing

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        session = self._session()
        self._in_write = True
        try:
            with self._errors():
                session.execute(f"BEGIN; {self._limits()} SET CONSTRAINTS ALL IMMEDIATE; {self._held()}".encode())
                yield
                self._may_become_visible()
                session.execute("COMMIT")
        except BaseException:
            with suppress(psycopg.Error):  # the first error is the one to tell
                session.execute("ROLLBACK")
            raise
        finally:
            self._in_write = False

    @contextmanager
    def _savepoint(self) -> Iterator[None]:
        session = self._session()
        with self._errors():
            session.execute("SAVEPOINT trueup_part")
        try:
            with self._errors():
                yield
                session.execute("RELEASE SAVEPOINT trueup_part")
        except BaseException:
            with suppress(psycopg.Error):  # the first error is the one to tell
                session.execute("ROLLBACK TO SAVEPOINT trueup_part; RELEASE SAVEPOINT trueup_part")
            raise

    def _assign(self, table: Table, names: tuple[str, ...], count: int) -> pl.DataFrame | None:
        defaults = [table.column(name).default for name in names]
        if any(default is None for default in defaults):
            return None
        reads = ", ".join(
            _percent(f"({default})::text" if table.column(name).dtype == pl.String() else f"({default})")
            for name, default in zip(names, defaults, strict=True)
        )
        try:
            with self._savepoint():
                rows = self._session().execute(f"SELECT {reads} FROM generate_series(1, %s)".encode(), [count]).fetchall()
        except AccessRefusedError:  # no right to use the sequence: an identity column works all the same
            return None
        return pl.DataFrame(rows, schema={name: table.column(name).dtype for name in names}, orient="row")

    def _next_number(self, table: Table, name: str) -> int:
        sql = f"SELECT coalesce(max(t.{quoted(name)}), 0)::bigint + 1 FROM {table.source} AS t"
        row = self._session().execute(sql.encode()).fetchone()
        return int(row[0]) if row else 1

    def _create(self, table: Table, job: Job, select: Select) -> pl.DataFrame:
        stored = self._known_stored(table, job, select) if job.frame.height > 1 else None
        texts = as_text(job.frame.select([f"n{index}" for index in range(len(job.written))]))
        columns = ", ".join(quoted(name) for name in job.written)
        if stored is not None:
            if self._copied(f"{table.target} ({columns})", texts) == job.frame.height:
                return stored
            message = "the table kept fewer rows than it was given"
            raise RowRefusedError(message)
        if not job.written:
            sql = f"INSERT INTO {table.target} AS t DEFAULT VALUES RETURNING {select.outputs}"
            return self._inserted(table, job, select, sql, [])
        relation, parameters = self._carry(texts.insert_column(0, job.frame.get_column("__op").cast(pl.String()).alias("op")))
        values = ", ".join(self._stored_value(table.column(name), f"v.n{index}") for index, name in enumerate(job.written))
        overriding = " OVERRIDING SYSTEM VALUE" if facts_of(table).identities & set(job.written) else ""
        sql = (
            f"INSERT INTO {_percent(table.target or '')} AS t ({_percent(columns)}){overriding}"
            f" SELECT {_percent(values)} FROM {relation} ORDER BY v.op::bigint RETURNING {_percent(select.outputs)}"
        )
        return self._inserted(table, job, select, sql, parameters)

    def _inserted(self, table: Table, job: Job, select: Select, sql: str, parameters: Sequence[object]) -> pl.DataFrame:
        rows = self._session().execute(sql.encode(), parameters or None, binary=True).fetchall()
        raw = typed_frame(select, pl.DataFrame(rows, schema=raw_schema(select), orient="row"))
        if raw.is_empty():
            return raw.with_columns(pl.lit(None, dtype=pl.Int64()).alias(OP))
        return paired(table, job, raw, tuple(select.alias(name) for name in table.key))

    def _known_stored(self, table: Table, job: Job, select: Select) -> pl.DataFrame | None:
        """The stored rows where they follow from the values sent; None: the database has to return them."""
        facts = facts_of(table)
        if not facts.copies:
            return None
        columns: dict[str, pl.Series] = {OP: job.frame.get_column("__op")}
        for index, (name, column) in enumerate(zip(select.names, select.columns, strict=True)):
            if name in job.written:
                shown = kept(column, facts.types[name], job.frame.get_column(f"n{job.written.index(name)}"))
            elif column.info.has_default:
                shown = None
            else:
                shown = pl.Series([None], dtype=column.dtype).new_from_index(0, job.frame.height)
            if shown is None:
                return None
            columns[f"c{index}"] = shown
        return pl.DataFrame(columns)

    def _update(self, table: Table, job: Job, select: Select) -> pl.DataFrame:
        assignments = ", ".join(
            f"{quoted(name)} = {self._stored_value(table.column(name), f'v.n{index}')}" for index, name in enumerate(job.written)
        )
        relation, parameters = self._carry(self._job_texts(job))
        sql = (
            f"UPDATE {_percent(table.target or '')} AS t SET {_percent(assignments)} FROM {relation}"
            f" WHERE {_percent(conjunction(self._conditions(table, job)))} RETURNING v.op::bigint, {_percent(select.outputs)}"
        )
        session = self._session()
        numbered = self._numbers is not None and job.frame.height <= _ARRAY_ROWS and session.info.server_version >= OLDEST
        rows = session.execute((f"{sql}, {NUMBER}" if numbered else sql).encode(), parameters, binary=True).fetchall()
        if self._numbers is not None and numbered and rows:  # one exchange with the server less
            self._numbers.append(int(rows[0][-1]))
            rows = [row[:-1] for row in rows]
        return typed_frame(select, pl.DataFrame(rows, schema={OP: pl.Int64(), **raw_schema(select)}, orient="row"))

    def _delete(self, table: Table, job: Job) -> pl.Series:
        relation, parameters = self._carry(self._job_texts(job))
        sql = (
            f"DELETE FROM {_percent(table.target or '')} AS t USING {relation}"
            f" WHERE {_percent(conjunction(self._conditions(table, job)))} RETURNING v.op::bigint"
        )
        rows = self._session().execute(sql.encode(), parameters, binary=True).fetchall()
        return pl.Series("__op", [row[0] for row in rows], dtype=pl.Int64())

    @staticmethod
    def _job_texts(job: Job) -> pl.DataFrame:
        return as_text(dropped(renamed(job.frame, "__op", "op"), ["__key"]))

    @staticmethod
    def _stored_value(column: SqlColumn, value: str) -> str:
        """A text value as the column takes it. The cast leaves out length and scale: only an assignment refuses what is too long."""
        return f"decode({value}, 'hex')" if column.info.type == "binary" else f"{value}::{column.store}"

    def _conditions(self, table: Table, job: Job) -> list[str]:
        """Key and precondition of a job's rows `v` against the table's rows `t`."""
        conditions = [self._match(table, table.column(name), f"v.k{index}") for index, name in enumerate(table.key)]
        for index, name in enumerate(job.compared):
            column = table.column(name)
            conditions.append(f"{column.compare} IS NOT DISTINCT FROM v.o{index}::{column.compare_cast}")
        return conditions

    def _carry(self, texts: pl.DataFrame) -> tuple[str, Sequence[object]]:
        """The values as a relation `v` of text columns, and the statement's parameters."""
        names = ", ".join(texts.columns)
        if texts.height <= _ARRAY_ROWS or not self._temp_allowed():
            return f"unnest({', '.join(['%s::text[]'] * texts.width)}) AS v({names})", _lists(texts)
        session = self._session()
        columns = ", ".join(f"{name} text" for name in texts.columns)
        session.execute(f"DROP TABLE IF EXISTS pg_temp.{_VALUES}; CREATE TEMP TABLE {_VALUES} ({columns}) ON COMMIT DROP".encode())
        self._copied(f"pg_temp.{_VALUES}", texts)
        return f"pg_temp.{_VALUES} AS v", []

    def _copied(self, target: str, texts: pl.DataFrame) -> int:
        """Fill a table from text columns; the number of rows that it took."""
        with self._session().cursor() as cursor:
            with cursor.copy(f"COPY {target} FROM STDIN".encode()) as copy:
                copy.write(copy_data(texts))
            return cursor.rowcount

    def _temp_allowed(self) -> bool:
        if self._may_use_temp is None:
            row = self._session().execute("SELECT has_database_privilege(current_database(), 'TEMP')").fetchone()
            self._may_use_temp = bool(row and row[0])
        return self._may_use_temp

    def prepare(self, obj: ObjectSpec, columns: Mapping[str, str]) -> None:
        """See base.Connector. A key that the system assigns is an identity column."""
        if not obj.create or obj.name is None:
            return
        session = self._session()
        parts = split_name(obj.name)
        with self._errors():
            if find_relation(session, candidates(parts, obj.name, self.schema)) is not None:
                return
            numbered = obj.assign == "system" and len(obj.key) == 1 and columns.get(obj.key[0], "integer") == "integer"
            wanted = {name: columns.get(name, "integer" if numbered else "text") for name in obj.key} | dict(columns)
            lines = [f"{quoted(name)} {DDL_TYPES.get(kind, 'text')}" for name, kind in wanted.items()]
            if numbered:
                lines[0] += " GENERATED BY DEFAULT AS IDENTITY"
            if obj.key:
                lines.append(f"PRIMARY KEY ({', '.join(quoted(name) for name in obj.key)})")
            where = candidates(parts, obj.name, self.schema)[0]
            session.execute(f"CREATE TABLE {where} ({', '.join(lines)})".encode())


def _lists(texts: pl.DataFrame) -> list[list[str | None]]:
    return [texts.get_column(name).to_list() for name in texts.columns]


def _array_literal(column: pl.Series) -> str:
    """A text column without nulls as the SQL literal of an array."""
    items = column.str.replace_all("\\", "\\\\", literal=True).str.replace_all('"', '\\"', literal=True)
    return literal("{" + ",".join(f'"{item}"' for item in items.to_list()) + "}")


def _percent(sql: str) -> str:
    """SQL text inside a statement with parameters."""
    return sql.replace("%", "%%")
