"""MySQL (from 8.0.4) and MariaDB (from 10.6): one streamed snapshot per read, writes in short transactions.

Many values travel in one JSON document that the server turns into rows (JSON_TABLE). An update or delete first locks the rows that are
still as they were last read, then changes exactly those, then reads them as stored, all in one transaction. Text is compared to the
byte: collations that ignore case, accents or spaces at the end hide no change. Tables without transactions (MyISAM) keep half a batch
that failed.
"""

from __future__ import annotations

import re
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import parse_qsl, unquote, urlsplit

import orjson
import polars as pl
import pymysql

from trueup.connectors.mysql_errors import (
    ACCESS,
    BUSY,
    MISSING,
    NO_DATABASE,
    REFUSED_WHOLE,
    TOO_LARGE,
    UNREACHABLE,
    column_at_fault,
    in_words,
)
from trueup.connectors.mysql_grant import GrantingConnector
from trueup.connectors.mysql_session import Address, Session, as_text, frame_of
from trueup.connectors.mysql_tables import DDL_TYPES, KEY_TEXT, MyFacts, all_tables, find_table, load_query, load_table, match, quoted
from trueup.connectors.mysql_watching import SETTING
from trueup.connectors.sql_read import OP, Select, conjunction, null_patterns, split_name
from trueup.connectors.sql_types import instant_of
from trueup.connectors.sql_write import BusyError, Job, RowRefusedError, TransactionLostError
from trueup.connectors.sqlbase import SqlConnector, checked_settings, server_settings
from trueup.core.frames import kept
from trueup.errors import (
    AccessRefusedError,
    ObjectMissingError,
    ObjectUnreadableError,
    SystemError_,
    SystemUnreachableError,
    UsageError,
    WriteRefusedError,
)
from trueup.model import ObjectSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from trueup.connectors.mysql_session import Row
    from trueup.connectors.sql_read import SqlColumn, Table
    from trueup.model import ObjectInfo

_STATEMENT_BYTES = 1 << 20
_STATEMENT_ROWS = 5_000
_CONNECT_TIMEOUT_S = 10
_TLS = {"ssl_ca", "ssl_cert", "ssl_key"}
_SWITCHES = {"ssl_verify_cert", "ssl_verify_identity", "ssl_disabled"}
_USABLE_CURSOR = {"integer": r"-?\d+", "decimal": r"-?\d+(\.\d+)?", "float": r"[-+.\deE]+"}


class MysqlConnector(GrantingConnector):
    """One MySQL or MariaDB database, reached by a URL."""

    caps = replace(
        SqlConnector.caps, atomic=False, fences=True, watch=True, locks=True, grants=True
    )  # a MyISAM table keeps what an interrupted transaction wrote

    def __init__(self, name: str, address: Address, *, lock_timeout_s: float, statement_timeout_s: float) -> None:
        """Keep how to connect; nothing is opened yet."""
        self.name = name
        self.lock_timeout_s = lock_timeout_s
        self.statement_timeout_s = statement_timeout_s
        self._address = address
        self._tables = {}
        self._open_session: Session | None = None
        self._in_write = False
        self._packet_bytes = 0
        self._depth = 0
        self._stored_keys = set()

    @classmethod
    def open(cls, name: str, settings: Mapping[str, Any], *, directory: str = ".") -> Self:
        """See base.Connector. Raises UsageError for unknown, missing or unusable settings."""
        del directory
        given = checked_settings(cls, name, settings)
        address = _address(name, given["url"], float(given["statement_timeout_s"]))
        timeouts = {name: float(given[name]) for name in ("lock_timeout_s", "statement_timeout_s")}
        connector = cls(name, address, **timeouts)
        connector.watch_setting = given.get("watch")
        return connector

    @classmethod
    def settings_schema(cls) -> dict[str, Any]:
        """See base.Connector."""
        return server_settings(
            "mysql://user:password@host:3306/database; after ?: ssl_ca, ssl_cert, ssl_key, ssl_verify_cert,"
            " ssl_verify_identity, ssl_disabled, unix_socket, connect_timeout",
            least_lock_s=1,
            more={"watch": SETTING},
        )

    # ------------------------------------------------------------ connections and errors

    def close(self) -> None:
        """See base.Connector."""
        if self._open_session is not None:
            self._open_session.close()
        self._open_session = None
        self._tables.clear()

    def _session(self) -> Session:
        """The connection for lookups and writes, opened again after it broke (never inside a transaction)."""
        if self._open_session is None or not (self._open_session.is_open or self._in_write):
            with self._errors():
                self._open_session = self._connect(self.statement_timeout_s)
                self._packet_bytes = int(self._open_session.rows("SELECT @@max_allowed_packet")[0][0] or 0)
        return self._open_session

    def _connect(self, statement_timeout_s: float) -> Session:
        session = Session(self._address, lock_timeout_s=self.lock_timeout_s, statement_timeout_s=statement_timeout_s)
        if not session.has_json_table:
            version = ".".join(map(str, session.version))
            session.close()
            raise ObjectUnreadableError(
                f"the server's version {version} is too old", hint="MySQL 8.0.4 or MariaDB 10.6 and later are supported", system=self.name
            )
        return session

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Driver errors leave as `_trouble` says."""
        try:
            yield
        except pymysql.Error as error:
            raise self._trouble(error) from error
        except OSError as error:
            raise self._lost(error.strerror or type(error).__name__) from error

    def _trouble(self, error: pymysql.Error) -> SystemError_:
        """A driver's error in the words of the contract."""
        number = error.args[0] if error.args and isinstance(error.args[0], int) else 0
        words = self._scrubbed(str(error.args[1]) if len(error.args) > 1 else str(error))
        if number in BUSY:
            return BusyError(words, hint="trying again later is right", system=self.name)
        if number in ACCESS:
            return AccessRefusedError(words, hint="check the user, its password and its rights", system=self.name)
        if number in REFUSED_WHOLE and self._in_write:
            return WriteRefusedError(f"{REFUSED_WHOLE[number]}: {words}", system=self.name)
        if number == NO_DATABASE:
            return SystemUnreachableError(words, hint="create the database, or correct `url`", system=self.name)
        if number in UNREACHABLE:
            return self._lost(words)
        if number in MISSING:
            self._tables.clear()
            return ObjectMissingError(words, hint="the database changed; compare it with the mapping", system=self.name)
        if not self._in_write:
            return ObjectUnreadableError(words, system=self.name)
        refused = TransactionLostError if number == TOO_LARGE else RowRefusedError
        return refused(in_words(number, words), column=column_at_fault(words, self._unique_indexes()))

    def _unique_indexes(self) -> Mapping[str, Sequence[str]]:
        """Columns by unique index, of the tables in use; a name that several tables give to different columns names none."""
        found: dict[str, Sequence[str]] = {}
        for table in self._tables.values():
            for index, names in _facts(table).unique.items():
                found[index] = names if found.get(index, names) == names else ()
        return found

    def _scrubbed(self, text: str) -> str:
        return text.replace(self._address.password, "***") if self._address.password else text

    def _lost(self, words: str) -> SystemUnreachableError:
        return SystemUnreachableError(
            f"the server at {self._address.place} does not answer: {self._scrubbed(words)}",
            hint="check `url` and the server",
            system=self.name,
        )

    # ------------------------------------------------------------ describing

    def clock(self) -> datetime:
        """See base.Timed."""
        session = self._session()
        with self._errors():
            ((text,),) = session.rows("SELECT UTC_TIMESTAMP(6)")
        return datetime.fromisoformat(str(text)).replace(tzinfo=UTC)

    def discover(self) -> list[ObjectInfo]:
        """See base.Connector."""
        session = self._session()
        with self._errors():
            nothing = ObjectSpec(name=None, key=())
            return [load_table(session, relation, nothing).info for relation in all_tables(session)]

    def _load(self, obj: ObjectSpec) -> Table:
        session = self._session()
        with self._errors():
            if obj.sql is not None:
                return load_query(session, obj)
            name = obj.name or ""
            relation = find_table(session, split_name(name, '`"'), name)
            if relation is None:
                raise ObjectMissingError(f"there is no table or view {name!r}", hint=self._names_there(), system=self.name)
            return load_table(session, relation, obj)

    def _names_there(self) -> str:
        names = [relation["name"] for relation in all_tables(self._session())[:20]]
        return f"there are {', '.join(names)}" if names else "the database is empty"

    # ------------------------------------------------------------ reading

    def _scan(self, select: Select, since: str | None, page_rows: int) -> Iterator[pl.DataFrame]:
        sql = f"SELECT {select.outputs} FROM {select.table.source} AS t"
        if since is not None:
            column = select.table.column(select.table.modified or "")
            order = ", ".join([column.compare, *(f"t.{quoted(name)}" for name in select.table.key)])
            sql = f"{sql} WHERE {column.compare} >= {self._bound(column, since)} ORDER BY {order}"
        with self._errors(), self._connect(0) as session:
            session.run("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            session.run("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
            for rows in session.pages(sql, page_rows):
                yield frame_of(select, rows)

    def _bound(self, column: SqlColumn, since: str) -> str:
        kind = column.info.type
        usable: object = True
        if kind in _USABLE_CURSOR:
            usable = re.fullmatch(_USABLE_CURSOR[kind], since)
        elif kind in {"date", "datetime", "timestamp"}:
            usable = instant_of(since)
        if not usable:
            raise ObjectMissingError(
                f"the cursor {since!r} does not fit {column.info.name}, which is {column.info.native_type}",
                hint="the column changed its type; run with --full",
                system=self.name,
            )
        text = since.replace("T", " ").removesuffix("Z") if kind in {"datetime", "timestamp"} else since
        return column.compare_cast.format(self._session().text(text))

    def _doubled(self, table: Table) -> pl.DataFrame:
        select = Select(table, table.key)
        reads = ", ".join(f"{column.read} AS c{index}" for index, column in enumerate(select.columns))
        places = ", ".join(column.compare for column in select.columns)
        sql = f"SELECT {reads} FROM {table.source} AS t GROUP BY {places} HAVING COUNT(*) > 1"
        plain = replace(table, columns={name: replace(column, fits=None) for name, column in table.columns.items()})
        session = self._session()
        with self._errors():
            return frame_of(Select(plain, table.key), session.rows(sql))

    def _lookup(self, select: Select, names: tuple[str, ...], values: pl.DataFrame) -> pl.DataFrame:
        found = [pl.DataFrame(schema=select.schema)]
        named = values.rename(dict(zip(values.columns, [f"k{index}" for index in range(len(names))], strict=True)))
        for present, absent, rows in null_patterns(named):
            columns = {alias: select.table.column(names[int(alias[1:])]) for alias in (*present, *absent)}
            empty = [f"t.{quoted(columns[alias].info.name)} IS NULL" for alias in absent]
            matches = [self._match(select.table, columns[alias], f"v.{alias}") for alias in present]
            texts = as_text(rows) if present else pl.DataFrame({"k": ["1"]})
            found += [frame_of(select, rows) for rows in self._joined(select.outputs, texts, select.table, [*matches, *empty])]
        return pl.concat(found)

    @staticmethod
    def _match(table: Table, column: SqlColumn, value: str, *, loosely: bool = False) -> str:
        return match(column, _facts(table).natives[column.info.name], value, loosely=loosely)

    def _joined(
        self, outputs: str, texts: pl.DataFrame, table: Table, conditions: Sequence[str], index: str = "", suffix: str = ""
    ) -> Iterator[Sequence[Row]]:
        """Rows of the table joined to the values `v`, some values at a time."""
        session = self._session()
        for relation in self._relations(texts):
            with self._errors():
                yield session.rows(
                    f"SELECT {outputs} FROM {relation} STRAIGHT_JOIN {table.source} AS t{index} ON {conjunction(conditions)}{suffix}"
                )

    def _relations(self, texts: pl.DataFrame) -> Iterator[str]:
        """The values as relations `v` (`op` a number, everything else text), each small enough for one statement.

        Raises RowRefusedError for values that the server would not take even alone.
        """
        session = self._session()
        columns = ", ".join(f"{name} {'BIGINT' if name == OP else 'LONGTEXT'} PATH '$.{name}'" for name in texts.columns)
        for part in _parts(texts):
            rows = [{name: value for name, value in row.items() if value is not None} for row in part.iter_rows(named=True)]
            document = session.text(orjson.dumps(rows).decode())
            if len(document) * 2 > self._packet_bytes and len(document.encode()) + 10_000 > self._packet_bytes:
                if part.height == 1:
                    raise RowRefusedError(f"the row is larger than the server takes (max_allowed_packet is {self._packet_bytes} bytes)")
                yield from (relation for half in _halves(part) for relation in self._relations(half))
                continue
            yield f"JSON_TABLE({document}, '$[*]' COLUMNS ({columns})) AS v"

    # ------------------------------------------------------------ writing

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        session = self._session()
        self._in_write = True
        self._stored_keys.clear()
        name: str | None = None
        try:
            with self._errors():
                name = self._hold(session)
                session.run("START TRANSACTION")
                yield
                self._may_become_visible()
                with self._noted(session):
                    session.run("COMMIT")
        except BaseException:
            with suppress(pymysql.Error, OSError):  # the first error is the one to tell
                session.run("ROLLBACK")
            raise
        finally:
            self._let_go(session, name)
            self._in_write = False

    @contextmanager
    def _savepoint(self) -> Iterator[None]:
        """Savepoints nest under names of their own: a second one of the same name would end the first."""
        session, name = self._session(), f"trueup_{self._depth}"
        with self._errors():
            session.run(f"SAVEPOINT {name}")
        self._depth += 1
        try:
            with self._errors():
                yield
        except RowRefusedError as refused:
            try:
                session.run(f"ROLLBACK TO SAVEPOINT {name}")
            except pymysql.Error as error:  # the transaction has ended, with all that it had done
                raise TransactionLostError(refused.message, column=refused.column) from error
            raise
        finally:
            self._depth -= 1

    def _settle(self, table: Table, obj: ObjectSpec, job: Job) -> pl.DataFrame:
        outcomes = super()._settle(table, obj, job)
        if self.own_writes is not None:
            stored = outcomes.get_column("__stored") & (outcomes.get_column("__status") == "done")
            self._stored_keys.update(kept(outcomes.get_column("__key"), stored).drop_nulls().to_list())
        return outcomes

    def _assign(self, table: Table, names: tuple[str, ...], count: int) -> pl.DataFrame | None:
        """Only the insert itself can tell (AUTO_INCREMENT, defaults)."""
        del table, names, count
        return None

    def _next_number(self, table: Table, name: str) -> int:
        sql = f"SELECT COALESCE(MAX(t.{quoted(name)}), 0) + 1 FROM {table.source} AS t FOR UPDATE"
        return int(self._session().rows(sql)[0][0] or 1)

    def _carry_out_create(self, table: Table, obj: ObjectSpec, job: Job) -> pl.DataFrame:
        """Numbers that the server gives to the rows of one statement rise in their order, so such rows need not go one by one."""
        numbered = _facts(table).numbered
        by_server = obj.assign not in {"uuid", "sequence"} and table.key == (numbered,) and numbered not in job.written
        if not (by_server and self._session().returns_rows and job.frame.height > 1 and job.written):
            return super()._carry_out_create(table, obj, job)
        return self._stored(table, job, self._create(table, job, Select.of(table, job.returning)))

    def _create(self, table: Table, job: Job, select: Select) -> pl.DataFrame:
        if self._session().returns_rows and _facts(table).is_table:
            return self._create_returning(table, job, select)
        return self._create_and_read(table, job, select)

    def _insert_statements(self, table: Table, job: Job) -> Iterator[str]:
        if not job.written:
            yield f"INSERT INTO {table.target} () VALUES ()"
            return
        names = ", ".join(quoted(name) for name in job.written)
        given = ", ".join(table.column(name).store.format(f"v.n{index}") for index, name in enumerate(job.written))
        texts = as_text(job.frame.select(pl.col("__op").alias(OP), *(f"n{index}" for index in range(len(job.written)))))
        for relation in self._relations(texts):
            yield f"INSERT INTO {table.target} ({names}) SELECT {given} FROM {relation} ORDER BY v.op"

    def _create_returning(self, table: Table, job: Job, select: Select) -> pl.DataFrame:
        """Rows come back in the order in which they were inserted: that of their operations."""
        unnamed = Select(replace(table, columns=_facts(table).unnamed), select.asked)
        rows: list[Row] = []
        for statement in self._insert_statements(table, job):
            rows += self._session().rows(f"{statement} RETURNING {unnamed.outputs}")
        if len(rows) != job.frame.height:
            raise RowRefusedError("the database did not keep every row (a trigger dropped some)")
        ops = job.frame.get_column("__op").sort() if job.written else job.frame.get_column("__op")
        return frame_of(select, rows).insert_column(0, ops.alias(OP))

    def _create_and_read(self, table: Table, job: Job, select: Select) -> pl.DataFrame:
        """Insert, then read by key: as given, or the number that the server has just given to a single row."""
        for statement in self._insert_statements(table, job):
            self._session().run(statement)
        keys = job.frame.select(
            pl.col("__op").alias(OP),
            *(pl.col(f"n{job.written.index(name)}").alias(f"k{place}") for place, name in enumerate(table.key) if name in job.written),
        )
        texts = as_text(keys)
        for place, name in enumerate(table.key):
            if name not in job.written:
                number = self._session().rows("SELECT LAST_INSERT_ID()")[0][0]
                if not number or number == "0":
                    raise RowRefusedError(f"the database gave no value for {name}, and the mapping does not say who does", column=name)
                texts = texts.with_columns(pl.lit(number).alias(f"k{place}"))
        return self._read_stored(table, texts, select, loosely=True)

    def _read_stored(self, table: Table, texts: pl.DataFrame, select: Select, *, loosely: bool) -> pl.DataFrame:
        """The rows just written, by `op` and key (`k0`, …); `loosely` after the key was written, for CHAR drops spaces at its end."""
        matches = [self._match(table, table.column(name), f"v.k{place}", loosely=loosely) for place, name in enumerate(table.key)]
        rows = [row for page in self._joined(f"v.op, {select.outputs}", texts, table, matches, _key_index(table)) for row in page]
        if len({row[0] for row in rows}) < texts.height:
            raise RowRefusedError("the row could not be read again under its key after it was written, and was left as it was")
        return frame_of(select, rows, with_op=True)

    def _update(self, table: Table, job: Job, select: Select) -> pl.DataFrame:
        found = self._still_as_read(table, job)
        if found.is_empty():
            return pl.DataFrame(schema={OP: pl.Int64(), **select.schema})
        chosen = job.frame.filter(pl.col("__op").is_in(found.implode()))
        assignments = ", ".join(
            f"t.{quoted(name)} = {table.column(name).store.format(f'v.n{index}')}" for index, name in enumerate(job.written)
        )
        keys = [f"k{place}" for place in range(len(table.key))]
        texts = as_text(chosen.select(pl.col("__op").alias(OP), *keys, *(f"n{index}" for index in range(len(job.written)))))
        joined = f"STRAIGHT_JOIN {table.target} AS t{_key_index(table)} ON {conjunction(self._key_matches(table))}"
        for relation in self._relations(texts):
            self._session().run(f"UPDATE {relation} {joined} SET {assignments}")
        moved = {f"k{table.key.index(name)}": f"n{index}" for index, name in enumerate(job.written) if name in table.key}
        after = texts.select(OP, *(pl.col(moved.get(key, key)).alias(key) for key in keys))
        return self._read_stored(table, after, select, loosely=bool(moved))

    def _delete(self, table: Table, job: Job) -> pl.Series:
        found = self._still_as_read(table, job)
        if found.is_empty():
            return found
        chosen = job.frame.filter(pl.col("__op").is_in(found.implode()))
        texts = as_text(chosen.select(pl.col("__op").alias(OP), *(f"k{place}" for place in range(len(table.key)))))
        joined = f"STRAIGHT_JOIN {table.target} AS t{_key_index(table)} ON {conjunction(self._key_matches(table))}"
        deleted = sum(self._session().run(f"DELETE t FROM {relation} {joined}") for relation in self._relations(texts))
        if deleted > len(found):  # rows of the same key that are not as they were last read
            raise RowRefusedError(f"the key stands for several rows of {table.info.name}; none of them was deleted")
        return found

    def _key_matches(self, table: Table) -> list[str]:
        return [self._match(table, table.column(name), f"v.k{place}") for place, name in enumerate(table.key)]

    def _still_as_read(self, table: Table, job: Job) -> pl.Series:
        """The `__op` of each row that has the job's key and compared values; those rows are locked until the transaction ends."""
        conditions = self._key_matches(table)
        for index, name in enumerate(job.compared):
            column = table.column(name)
            conditions.append(f"{column.compare} <=> {column.compare_cast.format(f'v.o{index}')}")
        names = [f"k{place}" for place in range(len(table.key))] + [f"o{index}" for index in range(len(job.compared))]
        texts = as_text(job.frame.select(pl.col("__op").alias(OP), *names))
        rows = [row for page in self._joined("v.op", texts, table, conditions, _key_index(table), " FOR UPDATE") for row in page]
        return pl.Series("__op", [int(row[0] or 0) for row in rows], dtype=pl.Int64())

    def prepare(self, obj: ObjectSpec, columns: Mapping[str, str]) -> None:
        """See base.Connector. A key that the system assigns is an AUTO_INCREMENT column."""
        if not obj.create or obj.name is None:
            return
        session = self._session()
        parts = split_name(obj.name, '`"')
        with self._errors():
            if find_table(session, parts, obj.name) is not None:
                return
            numbered = obj.assign == "system" and len(obj.key) == 1 and columns.get(obj.key[0], "integer") == "integer"
            wanted = {name: columns.get(name, "integer" if numbered else "text") for name in obj.key} | dict(columns)
            lines = []
            for name, kind in wanted.items():
                native = DDL_TYPES.get(kind, "longtext")  # type: ignore[call-overload]
                lines.append(f"{quoted(name)} {KEY_TEXT if name in obj.key and native == 'longtext' else native}")
            if numbered:
                lines[0] += " AUTO_INCREMENT"
            if obj.key:
                lines.append(f"PRIMARY KEY ({', '.join(quoted(name) for name in obj.key)})")
            where = ".".join(quoted(part) for part in parts)
            session.run(f"CREATE TABLE {where} ({', '.join(lines)}) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")


def _facts(table: Table) -> MyFacts:
    facts = table.extra["mysql"]
    if not isinstance(facts, MyFacts):
        raise TypeError("a table of another connector")
    return facts


def _key_index(table: Table) -> str:
    """The hint that keeps the server to the key's index: a scan of the whole table would lock every row of it."""
    facts = _facts(table)
    names = [index for index, columns in facts.unique.items() if set(columns) <= set(table.key)]
    return f" FORCE INDEX ({quoted(names[0])})" if names and facts.is_table else ""


def _parts(texts: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Rows in parts of about a statement's size."""
    if texts.is_empty():
        return
    size = texts.select(pl.sum_horizontal(pl.all().cast(pl.String()).str.len_bytes().sum())).item() + 20 * texts.width * texts.height
    rows = max(1, min(_STATEMENT_ROWS, texts.height * _STATEMENT_BYTES // max(1, size)))
    yield from texts.iter_slices(rows)


def _halves(frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    middle = frame.height // 2
    return frame.slice(0, middle), frame.slice(middle)


def _address(name: str, url: str, statement_timeout_s: float) -> Address:
    """The parts of a `mysql://` URL. Raises UsageError, which never shows the URL."""
    hint = "write mysql://user:password@host:3306/database"
    try:
        parts = urlsplit(url)
        port = parts.port or 3306
    except ValueError:
        raise UsageError("the setting 'url' is not a MySQL URL", hint=hint, system=name) from None
    if parts.scheme not in {"mysql", "mariadb"} or not (parts.hostname or "unix_socket=" in parts.query):
        raise UsageError("the setting 'url' is not a MySQL URL", hint=hint, system=name)
    options: dict[str, Any] = {"connect_timeout": _CONNECT_TIMEOUT_S}
    if statement_timeout_s:
        options["write_timeout"] = max(1, round(statement_timeout_s))
    for key, value in parse_qsl(parts.query):
        if key in _TLS or key == "unix_socket":
            options[key] = value
        elif key in _SWITCHES:
            options[key] = value.lower() in {"1", "true", "yes"}
        elif key == "connect_timeout" and value.isdecimal():
            options[key] = int(value)
        elif key != "charset":  # always utf8mb4
            raise UsageError(f"unknown option {key!r} in the setting 'url'", hint=_known_options(), system=name)
    return Address(
        host=parts.hostname or "localhost",
        port=port,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        database=unquote(parts.path.lstrip("/")) or None,
        options=options,
    )


def _known_options() -> str:
    """The options that a URL may have."""
    return f"there are {', '.join(sorted(_TLS | _SWITCHES | {'unix_socket', 'connect_timeout'}))}"
