"""SQLite: reads without keeping the application waiting, writes set by set inside short immediate transactions.

A database in WAL mode is read in one snapshot. In any other journal mode a reader would keep the application from committing, so tables
are read page by page, each page a short statement of its own in the order of row numbers (views, queries and WITHOUT ROWID tables: one
statement). Full reads go through ADBC; `adbc_sqlite` takes a column's type from the first rows it sees, so each query is given a first row
of the right types, which is dropped again.

A `modified` column may hold numbers or text. Text is compared as text; a cursor that is an ISO moment is compared by whole seconds, with
the separator (space or T) that the column uses, so that mixed precision never hides a row. Text with differing zone offsets has no
such order: store UTC, or leave `modified` out.
"""

from __future__ import annotations

import re
import sqlite3
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

import polars as pl

from trueup.connectors.sql_read import OP, Select, conjunction, null_patterns, split_name
from trueup.connectors.sql_write import BusyError, Job, RowRefusedError, TransactionLostError, paired
from trueup.connectors.sqlbase import SqlConnector, checked_settings
from trueup.connectors.sqlite_lock import LockingConnector
from trueup.connectors.sqlite_pages import PageFile
from trueup.connectors.sqlite_rows import AdbcRows, PlainRows, frame_of, values_of
from trueup.connectors.sqlite_tables import DDL_TYPES, SqliteFacts, find_object, literal, load_query, load_table, quoted, sqlite_column
from trueup.connectors.sqlite_turns import clear, turn
from trueup.connectors.sqlite_watch import SETTING
from trueup.errors import (
    AccessRefusedError,
    ObjectMissingError,
    ObjectUnreadableError,
    SystemError_,
    SystemUnreachableError,
    WriteRefusedError,
)
from trueup.model import ObjectSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from trueup.connectors.sql_read import SqlColumn, Table
    from trueup.model import ObjectInfo

_VALUES = "trueup_values"  # the temporary table that carries a job's or a lookup's values
_LOOK = "SELECT 1 FROM sqlite_schema LIMIT 1"
_HALF_DONE = "SQLITE_READONLY_ROLLBACK"  # what has to be taken back first was begun by a program that was killed
_ISO_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)")


class SqliteConnector(LockingConnector):
    """One SQLite database file. It is never created, unless a mapping says `create: true` for a table in it."""

    caps = replace(SqlConnector.caps, marks=True, marks_once=True, watch=True, locks=True)
    fast_reads = True  # full reads through ADBC; the plain driver gives the same rows

    def __init__(self, name: str, path: Path, *, lock_timeout_s: float = 5.0, foreign_keys: bool = True) -> None:
        """Keep where the file is; nothing is opened yet."""
        self.name = name
        self.path = path
        self.lock_timeout_s = lock_timeout_s
        self.foreign_keys = foreign_keys
        self._tables = {}
        self._readings, self._asked = {}, {}
        self._reading: sqlite3.Connection | None = None
        self._read_from = ""
        self._writing: sqlite3.Connection | None = None
        self._in_write = False

    @classmethod
    def open(cls, name: str, settings: Mapping[str, Any], *, directory: str = ".") -> Self:
        """See base.Connector. Raises UsageError for unknown or missing settings."""
        given = checked_settings(cls, name, settings)
        path = Path(directory, given["path"]).expanduser().resolve()
        connector = cls(name, path, lock_timeout_s=float(given["lock_timeout_s"]), foreign_keys=given["foreign_keys"])
        connector.watch_setting = given.get("watch")
        return connector

    @classmethod
    def settings_schema(cls) -> dict[str, Any]:
        """See base.Connector."""
        return {
            "type": "object",
            "properties": {
                "path": {"type": "string", "title": "File", "description": "path of the database file, relative to the configuration"},
                "lock_timeout_s": {
                    "type": "number",
                    "title": "Lock timeout",
                    "description": "seconds to wait for another program's lock before trying again later",
                    "default": 5.0,
                    "minimum": 0,
                },
                "foreign_keys": {
                    "type": "boolean",
                    "title": "Foreign keys",
                    "description": "whether declared references are enforced for what is written",
                    "default": True,
                },
                "watch": SETTING,
            },
            "required": ["path"],
            "additionalProperties": False,
        }

    # ------------------------------------------------------------ connections and errors

    def close(self) -> None:
        """See base.Connector."""
        self.rest()
        self._tables.clear()

    def rest(self) -> None:
        """See sqlite_turns.Guest."""
        for connection in (self._reading, self._writing):
            if connection is not None:
                connection.close()
        self._reading = self._writing = None

    def _uri(self, mode: str) -> str:
        return f"file:{quote(str(self.path))}?{mode}"

    def _there(self) -> None:
        """Raises SystemUnreachableError when there is no such file."""
        if not self.path.is_file():
            message = f"there is no database file {self.path}"
            raise SystemUnreachableError(message, hint="correct `path`; relative paths start at the configuration file", system=self.name)

    def _read_uri(self) -> str:
        """How the file is opened for reading; found out by opening it."""
        self._reader()
        return self._read_from

    def _reader(self) -> sqlite3.Connection:
        """The connection for lookups."""
        with self._errors():
            if self._reading is None:
                self._there()
                self._reading = self._opened()
            elif self._has("-journal"):
                try:
                    self._reading.execute(_LOOK).fetchone()
                except sqlite3.OperationalError as error:
                    if error.sqlite_errorname != _HALF_DONE:
                        raise
                    self._take_back()
        return self._reading

    def _opened(self) -> sqlite3.Connection:
        """Open for reading; as a last resort (WAL in a directory that cannot be written) the file as it lies there."""
        self._read_from = self._uri("mode=ro")
        try:
            return self._connect(self._read_from)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname == _HALF_DONE:
                self._take_back()
                return self._connect(self._read_from)
            if not error.sqlite_errorname.startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY")):
                raise
            if self._has("-wal") or self._has("-journal"):
                raise
            self._read_from = self._uri("mode=ro&immutable=1")
            return self._connect(self._read_from)

    def _has(self, ending: str) -> bool:
        """Whether there is something in a file beside the database."""
        try:
            return Path(f"{self.path}{ending}").stat().st_size > 0
        except FileNotFoundError:
            return False

    def _take_back(self) -> None:
        """Have SQLite take back what a program had begun to write when it was killed: a reader alone may not, and sees a part of it.

        See https://www.sqlite.org/lockingv3.html, "Dealing with hot journals".
        """
        self._writer().execute(_LOOK).fetchone()

    def _writer(self) -> sqlite3.Connection:
        if self._writing is None:
            self._there()
            with self._errors():
                connection = self._connect(self._uri("mode=rw"))
                connection.execute("PRAGMA synchronous=FULL")
                connection.execute(f"PRAGMA foreign_keys={'ON' if self.foreign_keys else 'OFF'}")
                self._writing = connection
        return self._writing

    def _connect(self, uri: str) -> sqlite3.Connection:
        connection = sqlite3.connect(uri, uri=True, timeout=self.lock_timeout_s, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA temp_store=MEMORY")
            connection.execute(_LOOK).fetchone()
        except BaseException:
            connection.close()
            raise
        return connection

    def _current(self) -> sqlite3.Connection:
        """The connection that sees what this connector is just writing."""
        return self._writer() if self._in_write else self._reader()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Driver errors leave as `_trouble` says."""
        try:
            yield
        except sqlite3.Error as error:
            raise self._trouble(error) from error

    def _trouble(self, error: sqlite3.Error) -> SystemError_:
        """A driver's error in the words of the contract (https://www.sqlite.org/rescode.html)."""
        code = getattr(error, "sqlite_errorname", "") or ""
        text = str(error)
        if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")) or "is locked" in text:
            message = f"{self.path} is locked by another program"
            return BusyError(message, hint="trying again later is right; raise lock_timeout_s to wait longer", system=self.name)
        if code.startswith(("SQLITE_CONSTRAINT", "SQLITE_MISMATCH", "SQLITE_TOOBIG")):
            column = re.search(r"(?:UNIQUE|NOT NULL) constraint failed: [^,]*\.([^.,]+)$", text)
            return RowRefusedError(text, column=column.group(1) if column else None)
        if code.startswith("SQLITE_FULL"):
            return WriteRefusedError(f"no room is left to write {self.path}: {text}", hint="free space on the disk", system=self.name)
        if code == _HALF_DONE:
            message = f"{self.path} cannot be read: a program was stopped in the middle of a write, which has to be taken back first"
            hint = "open it once with its application, or let this user write to the file and its folder"
            return SystemUnreachableError(message, hint=hint, system=self.name)
        if code.startswith("SQLITE_READONLY"):
            return WriteRefusedError(
                f"{self.path} cannot be written: {text}", hint="check the file's and folder's rights", system=self.name
            )
        if code.startswith(("SQLITE_PERM", "SQLITE_AUTH")):
            return AccessRefusedError(f"access to {self.path} is refused: {text}", system=self.name)
        if code.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
            return ObjectUnreadableError(f"{self.path} is not a readable SQLite database: {text}", hint="check the file", system=self.name)
        if code.startswith(("SQLITE_CANTOPEN", "SQLITE_IOERR")):
            return SystemUnreachableError(
                f"{self.path} cannot be opened or read: {text}", hint="check the file and its folder", system=self.name
            )
        if re.search(r"no such (table|column|view)|has no column", text):
            self._tables.clear()
            return ObjectMissingError(text, hint="the database changed; compare it with the mapping", system=self.name)
        return RowRefusedError(text) if self._in_write else ObjectUnreadableError(text, system=self.name)

    # ------------------------------------------------------------ describing

    def clock(self) -> datetime:
        """See base.Timed. A file has no clock: SQLite's is that of this machine."""
        self._there()
        return datetime.now(UTC)

    def discover(self) -> list[ObjectInfo]:
        """See base.Connector."""
        with turn(self.path, self), self._errors():
            names = self._reader().execute(
                "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
                " AND name <> 'trueup_lock' ORDER BY name"
            )
            return [self._load(ObjectSpec(name=quoted(name), key=())).info for (name,) in names.fetchall()]

    def _load(self, obj: ObjectSpec) -> Table:
        with turn(self.path, self), self._errors():
            if obj.sql is not None:
                return load_query(self._reader(), obj)
            name = obj.name or ""
            parts = split_name(name)
            found = find_object(self._reader(), parts, parts[0] if len(parts) == 1 else name)
            if found is None:
                message = f"{self.path} has no table or view {name!r}"
                raise ObjectMissingError(message, hint=self._names_there(), system=self.name)
            return load_table(self._reader(), obj, found)

    def _names_there(self) -> str:
        rows = self._reader().execute("SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') ORDER BY name LIMIT 20").fetchall()
        return f"there are {', '.join(row[0] for row in rows)}" if rows else "the database is empty"

    # ------------------------------------------------------------ reading

    @contextmanager
    def _listing(self, *, paged: bool) -> Iterator[tuple[AdbcRows | PlainRows, PageFile | None]]:
        with turn(self.path, self), self._errors(), ExitStack() as closing_last_first:
            uri, file = self._read_uri(), None
            if paged and "immutable" not in uri:  # such a file is read without any lock
                with suppress(OSError):
                    file = closing_last_first.enter_context(PageFile(self.path))
            rows = (AdbcRows if self.fast_reads else PlainRows)(uri, self.lock_timeout_s)
            closing_last_first.callback(rows.close)
            closing_last_first.callback(clear, self.path)
            yield rows, file

    def _scan(self, select: Select, since: str | None, page_rows: int) -> Iterator[pl.DataFrame]:
        facts = _facts(select.table)
        with self._listing(paged=False) as (rows, _):
            if facts.rowid is None:
                yield from rows.frames(select, self._whole_query(select, since), page_rows)
                return
            if rows.row("PRAGMA journal_mode") == ("wal",):
                rows.run("BEGIN")
            yield from self._pages(rows, select, facts.rowid, since, page_rows)

    def _whole_query(self, select: Select, since: str | None) -> str:
        sql = f"SELECT {select.outputs} FROM {select.table.source} AS t"
        if since is None:
            return sql
        bound, modified = self._bound(select.table, since)
        order = ", ".join(f"t.{quoted(name)}" for name in (select.table.modified or "", *select.table.key))
        return f"{sql} WHERE {modified} >= {bound} ORDER BY {order} LIMIT -1"

    def _pages(
        self, rows: AdbcRows | PlainRows, select: Select, rowid: str, since: str | None, page_rows: int, *, after: int | None = None
    ) -> Iterator[pl.DataFrame]:
        """Pages by row number, or by modified and row number; each begins where the last ended."""
        positions, condition = [f"t.{rowid}"], "" if after is None else f"WHERE t.{rowid} > {after}"
        if since is not None:
            bound, modified = self._bound(select.table, since)
            positions, condition = [modified, *positions], f"WHERE {modified} >= {bound}"
        places = [*(f"quote({position})" for position in positions[:-1]), positions[-1]]
        place = "".join(f", {position} AS p{index}" for index, position in enumerate(places))
        base = f"SELECT {select.outputs}{place} FROM {select.table.source} AS t"
        while True:
            sql = f"{base} {condition} ORDER BY {', '.join(positions)} LIMIT {page_rows}"
            page = pl.concat([pl.DataFrame(schema=frame_of(select, len(positions))), *rows.frames(select, sql, page_rows, len(positions))])
            if page.height:
                yield page.select(pl.exclude("^p[0-9]+$"))
            if page.height < page_rows:
                return
            last = page.row(-1, named=True)
            condition = f"WHERE ({', '.join(positions)}) > ({', '.join(str(last[f'p{index}']) for index in range(len(positions)))})"

    def _bound(self, table: Table, since: str) -> tuple[str, str]:
        """The cursor as SQL, and the column to compare it with."""
        column = table.column(table.modified or "")
        cell = f"t.{quoted(column.info.name)}"
        if column.info.type in {"integer", "float", "decimal", "boolean"}:
            try:
                return literal(int(since) if column.info.type == "integer" else float(since)), cell
            except ValueError:
                message = f"the cursor {since!r} is no number, but {column.info.name} is {column.info.native_type}"
                raise ObjectMissingError(message, hint="the column changed its type; run with --full", system=self.name) from None
        moment = _ISO_MOMENT.match(since)
        if moment is None:
            return literal(since), cell
        day, clock = moment.groups()
        with_space = self._reader().execute(
            f"SELECT EXISTS (SELECT 1 FROM {table.source} AS t WHERE {cell} >= ? AND {cell} < ?)",
            (f"{day} ", f"{day}T"),
        )
        return literal(f"{day} {clock}" if with_space.fetchone()[0] else f"{day}T{clock}"), cell

    def _doubled(self, table: Table) -> pl.DataFrame:
        select = Select(table, table.key)
        reads = [f"{column.read} AS c{index}" for index, column in enumerate(select.columns[: len(table.key)])]
        places = ", ".join(str(index + 1) for index in range(len(reads)))
        sql = f"SELECT {', '.join(reads)} FROM {table.source} AS t GROUP BY {places} HAVING count(*) > 1"
        schema = {name: dtype for name, dtype in select.schema.items() if name in {f"c{index}" for index in range(len(reads))}}
        with turn(self.path, self), self._errors():
            return pl.DataFrame(self._reader().execute(sql).fetchall(), schema=schema, orient="row")

    def _lookup(self, select: Select, names: tuple[str, ...], values: pl.DataFrame) -> pl.DataFrame:
        found = [pl.DataFrame(schema=frame_of(select))]
        named = values.rename(dict(zip(values.columns, [f"k{index}" for index in range(len(names))], strict=True)))
        with turn(self.path, self), self._errors():
            connection = self._current()
            for present, absent, rows in null_patterns(named):
                columns = {alias: select.table.column(names[int(alias[1:])]) for alias in (*present, *absent)}
                matches = [_match(columns[alias], f"v.{alias}") for alias in present]
                empty = [f"t.{quoted(columns[alias].info.name)} IS NULL" for alias in absent]
                self._carry(connection, rows if present else pl.DataFrame({"k": [1]}), columns)
                by_value = all(_direct(columns[alias]) for alias in present)
                joined = f"temp.{_VALUES} AS v CROSS JOIN {select.table.source} AS t"
                if not by_value:
                    joined = f"{select.table.source} AS t CROSS JOIN temp.{_VALUES} AS v"
                sql = f"SELECT {select.outputs} FROM {joined} WHERE {conjunction([*matches, *empty])}"
                found.append(PlainRows.of(select, connection, sql))
        return pl.concat(found)

    def _carry(self, connection: sqlite3.Connection, rows: pl.DataFrame, columns: Mapping[str, SqlColumn]) -> None:
        """Put values into the temporary table, under the frame's own column names, exactly as they are (its columns have no type)."""
        connection.execute(f"DROP TABLE IF EXISTS temp.{_VALUES}")
        connection.execute(f"CREATE TEMP TABLE {_VALUES} ({', '.join(rows.columns)})")
        places = ", ".join("?" * rows.width)
        connection.executemany(f"INSERT INTO temp.{_VALUES} VALUES ({places})", values_of(rows, columns))

    # ------------------------------------------------------------ writing

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with turn(self.path, self):
            yield from self._transact()

    def _transact(self) -> Iterator[None]:
        connection = self._writer()
        with self._errors():
            connection.execute("BEGIN IMMEDIATE")
        self._in_write = True
        try:
            with self._errors():
                self._open_gate(connection)
                yield
                self._shut_gate(connection)
                connection.execute("COMMIT")
        finally:
            self._in_write = False
            if connection.in_transaction:
                connection.execute("ROLLBACK")

    @contextmanager
    def _savepoint(self) -> Iterator[None]:
        connection = self._writer()
        connection.execute("SAVEPOINT trueup_part")
        try:
            with self._errors():
                yield
        except BaseException as error:
            if not connection.in_transaction:  # RAISE(ROLLBACK) in a trigger ends the transaction
                if isinstance(error, RowRefusedError):
                    raise TransactionLostError(error.message, column=error.column) from error
                raise
            with suppress(sqlite3.OperationalError):  # a full disk may have ended the savepoint already
                connection.execute("ROLLBACK TO trueup_part")
                connection.execute("RELEASE trueup_part")
            raise
        connection.execute("RELEASE trueup_part")

    def _assign(self, table: Table, names: tuple[str, ...], count: int) -> pl.DataFrame | None:
        facts = _facts(table)
        connection = self._writer()
        if names == (facts.rowid_key,):
            first = self._next_number(table, names[0])
            if facts.autoincrement:
                row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (table.info.name,)).fetchone()
                first = max(first, row[0] + 1 if row else 1)
            return pl.DataFrame({names[0]: pl.int_range(first, first + count, eager=True)})
        defaults = [table.column(name).default for name in names]
        if any(default is None for default in defaults):
            return None
        reads = ", ".join(f"({default})" for default in defaults)
        sql = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) SELECT {reads} FROM n"
        schema = {name: table.column(name).dtype for name in names}
        return pl.DataFrame(connection.execute(sql).fetchall(), schema=schema, orient="row")

    def _next_number(self, table: Table, name: str) -> int:
        cell = f"t.{quoted(name)}"
        sql = f"SELECT max({cell}) FROM {table.source} AS t WHERE typeof({cell}) = 'integer'"
        row = self._writer().execute(sql).fetchone()
        return int(row[0] or 0) + 1

    def _create(self, table: Table, job: Job, select: Select) -> pl.DataFrame:
        connection = self._writer()
        names = ", ".join(quoted(name) for name in job.written)
        if job.written:
            values = job.frame.select("__op", *(f"n{index}" for index in range(len(job.written))))
            self._carry(connection, values, {f"n{index}": table.column(name) for index, name in enumerate(job.written)})
            given = ", ".join(f"n{index}" for index in range(len(job.written)))
            rows = f"({names}) SELECT {given} FROM temp.{_VALUES} WHERE 1 ORDER BY __op"
        else:
            rows = "DEFAULT VALUES"
        sql = f"INSERT INTO {table.target} AS t {rows}"
        if table.info.kind == "view" and set(table.key) <= set(job.written):
            return self._through_view(table, job, select, sql, job.frame.get_column("__op"))
        return self._returned(table, job, select, f"{sql} RETURNING {_bare(select)}")

    def _update(self, table: Table, job: Job, select: Select) -> pl.DataFrame:
        connection = self._writer()
        self._carry_job(connection, table, job)
        assignments = ", ".join(f"{quoted(name)} = v.n{index}" for index, name in enumerate(job.written))
        sql = f"UPDATE {table.target} AS t SET {assignments} FROM temp.{_VALUES} AS v WHERE {conjunction(_conditions(table, job))}"
        if table.info.kind == "view":
            return self._through_view(table, job, select, sql, self._matching(table, job))
        return self._returned(table, job, select, f"{sql} RETURNING {_bare(select)}")

    def _through_view(self, table: Table, job: Job, select: Select, sql: str, ops: pl.Series) -> pl.DataFrame:
        """Carry out a statement on a view, whose triggers do the work: nothing is returned, rows are known by the keys sent."""
        self._writer().execute(sql)
        sent = {name: f"n{job.written.index(name)}" if name in job.written else f"k{index}" for index, name in enumerate(table.key)}
        rows = job.frame.filter(pl.col("__op").is_in(ops.implode()))
        return rows.select(pl.col("__op").alias(OP), *(pl.col(alias).alias(select.alias(name)) for name, alias in sent.items()))

    def _matching(self, table: Table, job: Job) -> pl.Series:
        """The operations whose row is as last read, once for each such row; the write lock is held, so it stays so."""
        where = conjunction(_conditions(table, job))
        sql = f"SELECT v.__op FROM temp.{_VALUES} AS v CROSS JOIN {table.source} AS t WHERE {where}"
        return pl.Series("__op", [row[0] for row in self._writer().execute(sql).fetchall()], dtype=pl.Int64())

    def _returned(self, table: Table, job: Job, select: Select, sql: str) -> pl.DataFrame:
        raw = PlainRows.of(select, self._writer(), sql)
        if raw.is_empty():
            return raw.with_columns(pl.lit(None, dtype=pl.Int64()).alias(OP))
        return paired(table, job, raw, tuple(select.alias(name) for name in table.key))

    def _delete(self, table: Table, job: Job) -> pl.Series:
        connection = self._writer()
        self._carry_job(connection, table, job)
        where = conjunction(_conditions(table, job))
        matching = self._matching(table, job)
        facts = _facts(table)
        cells = [f"t.{facts.rowid}"] if facts.rowid else [f"t.{quoted(name)}" for name in table.key]
        chosen = ", ".join(cells)
        connection.execute(
            f"DELETE FROM {table.target} AS t WHERE ({chosen}) IN"
            f" (SELECT {chosen} FROM temp.{_VALUES} AS v CROSS JOIN {table.source} AS t WHERE {where})"
        )
        return matching

    def _carry_job(self, connection: sqlite3.Connection, table: Table, job: Job) -> None:
        by_alias: dict[str, SqlColumn] = {f"k{index}": table.column(name) for index, name in enumerate(table.key)}
        by_alias |= {f"n{index}": table.column(name) for index, name in enumerate(job.written)}
        by_alias |= {f"o{index}": table.column(name) for index, name in enumerate(job.compared)}
        values = job.frame.select("__op", *by_alias)
        self._carry(connection, values, by_alias)

    def prepare(self, obj: ObjectSpec, columns: Mapping[str, str]) -> None:
        """See base.Connector. A key that the system assigns is an INTEGER PRIMARY KEY whose numbers are never given twice."""
        if not obj.create or obj.name is None:
            return
        parts = split_name(obj.name)
        mode = "mode=rw" if self.path.is_file() else "mode=rwc"
        with turn(self.path, self), self._errors(), closing(self._connect(self._uri(mode))) as connection:
            if find_object(connection, parts, parts[0] if len(parts) == 1 else obj.name) is not None:
                return
            numbered = obj.assign == "system" and len(obj.key) == 1 and columns.get(obj.key[0], "integer") == "integer"
            key_type = "integer" if numbered else "text"
            wanted = {name: columns.get(name, key_type) for name in obj.key} | dict(columns)
            lines = [f"{quoted(name)} {DDL_TYPES.get(kind, 'TEXT')}" for name, kind in wanted.items()]
            if numbered:
                lines[0] += " PRIMARY KEY AUTOINCREMENT"
            elif obj.key:
                lines.append(f"PRIMARY KEY ({', '.join(quoted(name) for name in obj.key)})")
            connection.execute(f"CREATE TABLE {quoted(parts[-1] if len(parts) == 1 else obj.name)} ({', '.join(lines)})")
            self.rest()


def _facts(table: Table) -> SqliteFacts:
    facts = table.extra["sqlite"]
    if not isinstance(facts, SqliteFacts):
        message = "a table of another connector"
        raise TypeError(message)
    return facts


def _direct(column: SqlColumn) -> bool:
    """Whether stored values can be compared as they are, so that an index serves."""
    if column.info.type == "decimal":
        return "TEXT" not in column.info.native_type.upper()
    return column.info.type in {"integer", "text", "float"}


def _match(column: SqlColumn, value: str) -> str:
    """`column = value`, exact to the byte for text."""
    cell = f"t.{quoted(column.info.name)}"
    if column.info.type == "decimal" and not _direct(column):
        return f"({cell} = {value} OR CAST({cell} AS NUMERIC) = CAST({value} AS NUMERIC))"
    if not _direct(column):
        return f"{column.read} = {value}"
    exact = f" AND {cell} = {value} COLLATE BINARY" if column.info.type == "text" else ""
    return f"{cell} = {value}{exact}"


def _conditions(table: Table, job: Job) -> list[str]:
    """Key and precondition of a job's rows `v` against the table's rows `t`."""
    conditions = [_match(table.column(name), f"v.k{index}") for index, name in enumerate(table.key)]
    return [*conditions, *(_unchanged(table.column(name), f"v.o{index}") for index, name in enumerate(job.compared))]


def _unchanged(column: SqlColumn, value: str) -> str:
    """Whether the stored value is the one that was last read: what is compared is what was read, type and all."""
    same = f"{column.read} IS {value}" + (f" AND {column.fits}" if column.fits else "")
    if column.info.type != "decimal":
        return f"({same})"
    cell = f"t.{quoted(column.info.name)}"  # the digits read from a REAL may have been written out without exponent
    return f"({same} OR (typeof({cell}) = 'real' AND {cell} = CAST({value} AS REAL)))"


def _bare(select: Select) -> str:
    """The select list for RETURNING, which knows the table by no alias."""
    rowid = _facts(select.table).rowid_key
    columns = {name: sqlite_column(column.info, row="", rowid=name == rowid) for name, column in select.table.columns.items()}
    return replace(select, table=replace(select.table, columns=columns)).outputs
