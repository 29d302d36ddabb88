"""An inbox in a table of a state in PostgreSQL. Whoever waits is told by NOTIFY as soon as something was committed."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import psycopg
import sqlalchemy as sa

from trueup.errors import StateError, StateMissingError
from trueup.store import engine
from trueup.store.inbox import Event, Lag, Message
from trueup.store.inbox_sqlite import COMPACT, event_of
from trueup.store.moments import from_micros, to_micros

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from datetime import datetime

CHANNEL = "trueup_inbox_"
WAKE_S = 0.25
"""How long a wait for a notice may keep a process from ending."""
AGAIN_S = 1.0
"""After so long a lost connection is made anew."""

_INSERT = """
INSERT INTO inbox (system, object, key, event_id, item, at, record, body, received_at)
SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::int[], %s::bigint[], %s::text[], %s::bytea[], %s::bigint[])
ON CONFLICT DO NOTHING RETURNING system, event_id, item
"""


class PostgresDrawer:
    """A pool for work, and a connection of its own for notices."""

    def __init__(self, pool: sa.Engine, schema: str, shown: str) -> None:
        """Take over an opened pool."""
        self.shown = shown
        self._pool = pool
        self._channel = CHANNEL + schema
        self._listening: Any = None
        self._guard = threading.Lock()

    @classmethod
    def open(cls, state_target: str, *, create: bool) -> PostgresDrawer:
        """Open the pool. The table comes with the state's own tables, which are made or brought up to date if `create`."""
        shown = engine.shown(state_target)
        if create:
            from trueup.store.database import Store

            Store.open(state_target).close()
        pool, schema = engine.postgres_engine(state_target, read_only=False)
        drawer = cls(pool, schema, shown)
        try:
            drawer._check()
        except BaseException:
            drawer.close()
            raise
        return drawer

    def _check(self) -> None:
        with self._transaction() as connection:
            found = connection.exec_driver_sql("SELECT to_regclass('inbox')").scalar_one()
        if found is None:
            raise StateMissingError(
                f"there is no inbox in the state {self.shown} yet", hint="run `trueup sync` first, which makes its tables"
            )

    def close(self) -> None:
        """Close every connection."""
        with self._guard:
            self._hang_up()
        self._pool.dispose()

    def insert(self, events: Sequence[Event]) -> list[bool]:
        """Keep events in one transaction, in one statement."""
        columns = (
            [event.system for event in events],
            [event.object for event in events],
            [event.key for event in events],
            [event.event_id for event in events],
            [event.item for event in events],
            [None if event.at is None else to_micros(event.at) for event in events],
            [event.record for event in events],
            [event.body for event in events],
            [to_micros(event.received_at) for event in events],
        )
        with self._transaction() as connection:
            kept = connection.exec_driver_sql(_INSERT, columns).fetchall()
            connection.exec_driver_sql("SELECT pg_notify(%s, '')", (self._channel,))
        new = {(system, event_id, item) for system, event_id, item in kept if event_id is not None}
        stored = []
        for event in events:
            once = (event.system, event.event_id, event.item)
            stored.append(event.event_id is None or once in new)
            new.discard(once)  # the second of the same within one call is a repeat
        return stored

    def waiting(self, limit: int, but: Collection[int]) -> list[Event]:
        """The oldest that are not done."""
        query = (
            "SELECT id, system, object, key, event_id, item, at, record, received_at FROM inbox"
            " WHERE done_at IS NULL AND id <> ALL (%s::bigint[]) ORDER BY id LIMIT %s"
        )
        with self._transaction() as connection:
            return [event_of(row) for row in connection.exec_driver_sql(query, (list(but), limit))]

    def done(self, ids: Collection[int], at: datetime) -> None:
        """Mark them."""
        statement = (
            "UPDATE inbox SET done_at = %s, body = CASE WHEN record IS NULL THEN NULL ELSE body END"
            " WHERE id = ANY (%s::bigint[]) AND done_at IS NULL"
        )
        with self._transaction() as connection:
            connection.exec_driver_sql(statement, (to_micros(at), list(ids)))

    def lag(self) -> Lag:
        """How much waits."""
        with self._transaction() as connection:
            row = connection.exec_driver_sql("SELECT count(*), min(received_at) FROM inbox WHERE done_at IS NULL").one()
        return Lag(row[0], None if row[1] is None else from_micros(row[1]))

    def compact(self, before: datetime) -> int:
        """Take out what was done before, but the last message about each record."""
        statement = COMPACT.replace("event", "inbox").replace(
            "later.record = ", "md5(later.record) = md5(inbox.record) AND later.record = "
        )
        with self._transaction() as connection:
            return connection.exec_driver_sql(statement.replace(":before", "%s"), (to_micros(before),)).rowcount

    def pushed(self, system: str) -> list[int]:
        """All messages of a system that only pushes."""
        query = "SELECT id FROM inbox WHERE system = %s AND record IS NOT NULL"
        with self._transaction() as connection:
            return [row[0] for row in connection.exec_driver_sql(query, (system,))]

    def messages(self, ids: Collection[int]) -> list[Message]:
        """Messages by number."""
        query = (
            "SELECT id, object, coalesce(at, received_at), body FROM inbox WHERE id = ANY (%s::bigint[]) AND record IS NOT NULL"
            " ORDER BY coalesce(at, received_at), id"
        )
        with self._transaction() as connection:
            rows = connection.exec_driver_sql(query, (list(ids),)).fetchall()
        return [Message(row[0], row[1], from_micros(row[2]), bytes(row[3])) for row in rows]

    def news(self, stop: threading.Event, timeout_s: float) -> bool:
        """Wait for a notice. A lost connection counts as news: nobody knows what was missed."""
        until = time.monotonic() + timeout_s
        with self._guard:
            while not stop.is_set():
                left = until - time.monotonic()
                try:
                    if self._listening is None:
                        self._listen()
                        return True
                    for _notice in self._listening.notifies(timeout=max(min(WAKE_S, left), 0.0), stop_after=1):
                        return True
                except (psycopg.Error, sa.exc.SQLAlchemyError, StateError):
                    self._hang_up()
                    stop.wait(max(min(AGAIN_S, left), 0.0))
                    return not stop.is_set()
                if left <= 0:
                    return False
        return False

    def _listen(self) -> None:
        connection = self._pool.raw_connection()
        driver: Any = connection.driver_connection
        connection.detach()
        driver.rollback()
        driver.autocommit = True
        driver.execute(f'LISTEN "{self._channel}"')
        self._listening = driver

    def _hang_up(self) -> None:
        if self._listening is not None:
            with suppress(psycopg.Error):
                self._listening.close()
            self._listening = None

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        try:
            with self._pool.begin() as connection:
                yield connection
        except sa.exc.DataError:
            raise  # a value, not the database: the others can be kept
        except engine.driver_errors(self._pool) as error:
            told = engine.state_error(error, self.shown)
            raise StateError(told.message.replace("the state ", "the inbox in the state "), hint=told.hint) from error
