"""Watching PostgreSQL by triggers that NOTIFY: for users who may not replicate. Nothing is told of the time when nobody listens.

https://www.postgresql.org/docs/current/sql-notify.html. A notice holds at most 8,000 bytes and is told when its transaction commits. A
trigger must never make the application's own write fail: a key that is too long is told as "anything".
"""

from __future__ import annotations

import hashlib
import json
import time
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import conninfo

from trueup.connectors.postgres_keys import WRITTEN_OUT
from trueup.connectors.postgres_published import limited
from trueup.connectors.postgres_tables import literal, quoted
from trueup.connectors.waking import Alarm
from trueup.connectors.watching import HINT_KEYS, Hints, Lag, parted
from trueup.errors import AccessRefusedError, SystemUnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from trueup.connectors.postgres_published import Published
    from trueup.connectors.watching import Way
    from trueup.errors import SystemError_

_PING_S = 20.0
_LONGEST = 7_900  # bytes of a notice, its frame included
_ALL = "all"

_OURS = """
    SELECT t.tgrelid::bigint, format('%%I.%%I', n.nspname, c.relname), format('%%I.%%I', fn.nspname, f.proname), t.tgname,
        coalesce(obj_description(f.oid, 'pg_proc'), '')
    FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
        JOIN pg_proc f ON f.oid = t.tgfoid JOIN pg_namespace fn ON fn.oid = f.pronamespace
    WHERE t.tgname IN (%s, %s) AND NOT t.tgisinternal AND t.tgparentid = 0
"""
_FUNCTIONS = """
    SELECT format('%%I.%%I', n.nspname, f.proname) FROM pg_proc f JOIN pg_namespace n ON n.oid = f.pronamespace
    WHERE starts_with(f.proname, %s)
"""


class NotifyWatch:
    """See watching.Watch. Everything is fresh each time."""

    position = None

    def __init__(
        self, made: str, info: Mapping[str, Any], way: Way, published: Published, trouble: Callable[[psycopg.Error], SystemError_]
    ) -> None:
        """Listen on the channel `made`. Raises SystemError_'s children."""
        self.way = way
        self.fresh = frozenset(published.oids)
        self._published = published
        self._columns = key_columns(published)
        self._trouble = trouble
        self._alarm = Alarm()
        self._keys: dict[int, dict[str, None] | None] = {}
        self._asked_at = time.monotonic()
        try:
            self._session = psycopg.connect(conninfo.make_conninfo("", **info, keepalives_idle="30"), autocommit=True)
            self._session.execute(f"LISTEN {quoted(made)}".encode())
        except psycopg.Error as error:
            self._alarm.close()
            raise trouble(error) from error

    def wait(self, timeout_s: float) -> Hints | None:
        """See watching.Watch."""
        until_s = time.monotonic() + timeout_s
        try:
            while True:
                self._take()
                if time.monotonic() - self._asked_at > _PING_S:  # a connection that is silently gone would tell nothing for ever
                    self._asked_at = time.monotonic()
                    self._session.execute("SELECT 1")
                    self._take()
                if self._keys:
                    keys, self._keys, _left = parted(self._keys)
                    return Hints(keys)
                left_s = until_s - time.monotonic()
                if left_s <= 0 or self._alarm.wait(self._session.pgconn.socket, min(left_s, _PING_S)):
                    return None
        except psycopg.Error as error:
            raise self._trouble(error) from error

    def _take(self) -> None:
        """Take in the notices that have arrived."""
        if self._session.closed:
            raise SystemUnreachableError("PostgreSQL closed the connection", hint="it is opened again", system=self._published.system)
        count = sum(len(keys or ()) for keys in self._keys.values())
        for notice in self._session.notifies(timeout=0, stop_after=HINT_KEYS - count):
            self._told(notice.payload)

    def _told(self, payload: str) -> None:
        oid, _, rest = payload.partition(" ")
        if not oid.isdecimal():
            return
        columns = self._columns.get(int(oid), ())
        for index in self._published.objects_of(int(oid)):
            if rest == _ALL:
                self._keys[index] = None
                continue
            for values in json.loads(rest):
                named = dict(zip(columns, values, strict=True)) if len(columns) == len(values) else {}
                key = self._published.key(index, [named.get(name) for name in self._published.key_columns(index)])
                keys = self._keys.setdefault(index, {})
                if key is None:
                    self._keys[index] = None
                elif keys is not None:
                    keys[key] = None

    def confirm(self, position: str) -> None:
        """See watching.Watch; there is nothing to confirm."""

    def lag(self) -> Lag:
        """See watching.Watch; the server keeps nothing for it."""
        return Lag()

    def wake(self) -> None:
        """See watching.Watch."""
        self._alarm.ring()

    def close(self) -> None:
        """See watching.Watch."""
        self._session.close()
        self._alarm.close()


def key_columns(published: Published) -> dict[int, tuple[str, ...]]:
    """By table, the key columns of all objects that are this table: what a notice of it holds."""
    found: dict[int, tuple[str, ...]] = {}
    for index, oid in published.oids.items():
        found[oid] = tuple(dict.fromkeys((*found.get(oid, ()), *published.key_columns(index))))
    return found


def set_up(session: psycopg.Connection[Any], made: str, published: Published) -> None:
    """Make the triggers that are missing or of another form, and remove those of tables that are not watched any more."""
    tables = {oid: published.resolved[index].source for index, oid in published.oids.items()}
    columns = key_columns(published)
    wanted = {oid: _statements(made, oid, tables[oid], columns[oid]) for oid in tables}
    there: dict[int, list[str]] = {}
    for oid, *_names, remark in session.execute(_OURS, [made, f"{made}_all"]).fetchall():
        there.setdefault(oid, []).append(remark)
    for oid, (digest, statements) in wanted.items():
        if there.get(oid) == [digest, digest]:
            continue
        try:
            with session.transaction():
                session.execute("SET LOCAL lock_timeout = '10s'")  # as in `limited`
                for statement in statements:
                    session.execute(statement.encode())
        except psycopg.errors.InsufficientPrivilege as error:
            raise AccessRefusedError(
                f"the triggers on {tables[oid]} cannot be made: {error.diag.message_primary}",
                hint="grant TRIGGER on the table and CREATE on its schema to this user, or set `watch: poll`",
                system=published.system,
            ) from error
    remove(session, made, keep=frozenset(tables))


def _statements(made: str, oid: int, source: str, columns: Sequence[str]) -> tuple[str, list[str]]:
    """What makes the function and the triggers of one table, and a digest of it that the function bears as its comment."""
    schema = source.partition(".")[0] if not source.startswith('"') else source[: source.index('".') + 1]
    function = f"{schema}.{quoted(f'{made}_{oid}')}"
    new, old = (f"jsonb_build_array({', '.join(f'{row}.{quoted(name)}::text' for name in columns)})" for row in ("NEW", "OLD"))
    settings = " ".join(f"SET {name} = {literal(value)}" for name, value in WRITTEN_OUT.items())
    body = f"""
DECLARE said text;
BEGIN
    IF TG_LEVEL = 'STATEMENT' THEN
        said := '{_ALL}';
    ELSIF TG_OP = 'INSERT' THEN
        said := jsonb_build_array({new})::text;
    ELSIF TG_OP = 'DELETE' THEN
        said := jsonb_build_array({old})::text;
    ELSIF {new} = {old} THEN
        said := jsonb_build_array({new})::text;
    ELSE
        said := jsonb_build_array({old}, {new})::text;
    END IF;
    IF octet_length(said) > {_LONGEST - 20} THEN
        said := '{_ALL}';
    END IF;
    PERFORM pg_notify({literal(made)}, '{oid} ' || said);
    RETURN NULL;
END
"""
    manner = f"LANGUAGE plpgsql SET search_path = pg_catalog {settings}"
    make = [
        f"CREATE OR REPLACE FUNCTION {function}() RETURNS trigger {manner} AS $trueup${body}$trueup$",
        f"DROP TRIGGER IF EXISTS {quoted(made)} ON {source}",
        f"CREATE TRIGGER {quoted(made)} AFTER INSERT OR UPDATE OR DELETE ON {source} FOR EACH ROW EXECUTE FUNCTION {function}()",
        f"DROP TRIGGER IF EXISTS {quoted(f'{made}_all')} ON {source}",
        f"CREATE TRIGGER {quoted(f'{made}_all')} AFTER TRUNCATE ON {source} FOR EACH STATEMENT EXECUTE FUNCTION {function}()",
    ]
    digest = f"made by trueup: {hashlib.sha256(chr(10).join(make).encode()).hexdigest()[:16]}"
    return digest, [*make, f"COMMENT ON FUNCTION {function}() IS {literal(digest)}"]


def remove(session: psycopg.Connection[Any], made: str, *, keep: frozenset[int] = frozenset()) -> None:
    """Remove the triggers and functions of this name, but for those of the tables to keep."""
    for oid, source, _function, trigger, _remark in session.execute(_OURS, [made, f"{made}_all"]).fetchall():
        if oid not in keep:
            limited(session, f"DROP TRIGGER IF EXISTS {quoted(trigger)} ON {source}")
    for (function,) in session.execute(_FUNCTIONS, [f"{made}_"]).fetchall():
        number = function.rpartition("_")[2].rstrip('"')
        if number.isdecimal() and int(number) not in keep:
            limited(session, f"DROP FUNCTION IF EXISTS {function}()")
