"""Watching PostgreSQL by logical replication: a publication of the mapped tables, and a slot from which their changes are streamed.

https://www.postgresql.org/docs/current/logical-replication.html, https://www.postgresql.org/docs/current/protocol-replication.html.

The slot makes the server keep its log until what is in it was confirmed. What others write in the same database moves on in the log too,
so an idle watch tells its position now and then. A transaction is in the log, and so in the stream, before others can see what it did: it
is told once they can. A table that is published for updates and deletes and has no replica identity would
refuse its application's own writes: such a table never gets into the publication.
"""

from __future__ import annotations

import select
import struct
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import conninfo, pq

from trueup.connectors.postgres_keys import WRITTEN_OUT
from trueup.connectors.postgres_pgoutput import Begun, Changed, Committed, Relation, Truncated, lsn_of, lsn_text, parse, status
from trueup.connectors.postgres_tables import literal, quoted
from trueup.connectors.waking import Alarm
from trueup.connectors.watching import HINT_KEYS, Hints, Lag
from trueup.errors import PositionLostError, SystemUnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from trueup.connectors.postgres_pgoutput import Tuple
    from trueup.connectors.postgres_published import Published
    from trueup.connectors.watching import OwnWrites, Way
    from trueup.errors import SystemError_

_MOVED_S = 30.0  # how often an idle watch tells that its position moved
_STATUS_S = 2.0  # how often the server hears of us; it gives up after wal_sender_timeout, usually a minute
_SILENCE_S = 60.0  # without any word from the server, which answers every status
_LOOK_S = 30.0  # how often slot, publication and tables are looked at
_MUTE_S = 5.0  # who holds the slot and tells the server nothing for so long stands still, and is ended
_IN_USE_S = 15.0  # how long a connection of ours that has just ended may still hold the slot

_HOLDER = """
    SELECT s.active_pid, r.reply_time FROM pg_replication_slots s LEFT JOIN pg_stat_replication r ON r.pid = s.active_pid
    WHERE s.slot_name = %s
"""
_STANDING = """
    SELECT s.active, s.wal_status, coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), s.confirmed_flush_lsn), 0)::bigint, s.safe_wal_size
    FROM pg_replication_slots s WHERE s.slot_name = %s AND s.database = current_database()
"""
_SHORTEST_S, _LONGEST_S = 0.001, 0.1  # how soon it is asked again whether others can see a transaction
_SEEN = """
    WITH now AS (SELECT txid_current_snapshot() AS snapshot, txid_snapshot_xmax(txid_current_snapshot()) AS newest)
    SELECT bool_and(txid_visible_in_snapshot(newest + ((xid - newest + (1::bigint << 31)) & 4294967295) - (1::bigint << 31), snapshot))
    FROM now, unnest(%s::bigint[]) AS told(xid)
"""
_STILL_THERE = """
    SELECT bool_and(to_regclass(w.source) = w.oid::oid AND EXISTS (
            SELECT 1 FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid WHERE p.pubname = %s AND r.prrelid = w.oid::oid))
    FROM unnest(%s::text[], %s::bigint[]) AS w(source, oid)
"""


class LogicalWatch:
    """See watching.Watch. `position` is `LSN oid,oid…`: which tables were looked at up to where."""

    def __init__(
        self,
        made: str,
        info: Mapping[str, Any],
        way: Way,
        published: Published,
        trouble: Callable[[psycopg.Error], SystemError_],
        own_of: Mapping[int, OwnWrites],
    ) -> None:
        """Begin to stream from the slot `made`. Raises SystemError_'s children."""
        self._own_of = own_of
        self.way = way
        self.fresh = published.fresh
        self._made = made
        self._info = {**info, "options": f"{info.get('options') or ''} {options()}".strip(), "keepalives_idle": "30"}
        self._published = published
        self._trouble = trouble
        self._alarm = Alarm()
        self._lock = threading.Lock()  # of the connection that looks after the slot, which any thread may ask
        self._looking: psycopg.Connection[Any] | None = None
        self._relations: dict[int, Relation] = {}
        self._keys: dict[int, dict[str, None] | None] = {}
        self._count = 0
        self._inside = False
        self._xid = 0  # of the transaction that is coming in
        self._unseen: dict[int, None] = {}  # transactions to be told, of which it is not known whether others can see them
        self._again_s = _SHORTEST_S
        self._at: datetime | None = None
        self._end = self._told = self._confirmed = lsn_of(published.lsn)
        self._unconfirmed_since: tuple[float, int] | None = None
        self._told_at = self._status_at = self._heard_at = self._looked_at = time.monotonic()
        self._stream = self._begin()
        self._pg = self._stream.pgconn
        for own in own_of.values():
            own.heeded = True

    @property
    def position(self) -> str | None:
        """See watching.Watch."""
        return self._published.position(self._published.lsn)

    # ------------------------------------------------------------ the stream

    def _begin(self) -> psycopg.Connection[Any]:
        until_s = time.monotonic() + _IN_USE_S
        heard: tuple[Any, float] | None = None
        while True:
            stream = None
            try:
                stream = psycopg.connect(conninfo.make_conninfo("", **self._info, replication="database"), autocommit=True)
                self._start(stream)
            except psycopg.Error as error:
                if stream is not None:
                    stream.close()
                # In use: by a connection of ours that has just ended, or of a process of ours that stands still.
                if error.sqlstate == "55006" and time.monotonic() < until_s:
                    heard = self._end_mute(heard)
                    time.sleep(0.1)
                    continue
                self._alarm.close()
                raise self._said(error) from error
            return stream

    def _end_mute(self, heard: tuple[Any, float] | None) -> tuple[Any, float]:
        """End whoever holds the slot and has told nothing since it was first looked at; gives what was heard of it, and since when."""
        with self._lock, suppress(psycopg.Error):  # without the rights for it the wait goes on
            session = self._session()
            row = session.execute(_HOLDER, [self._made]).fetchone()
            if heard is None or heard[0] != row:
                return row, time.monotonic()
            if row is not None and time.monotonic() - heard[1] > _MUTE_S:
                session.execute("SELECT pg_terminate_backend(%s)", [row[0]])
        return heard or (None, time.monotonic())

    def _start(self, stream: psycopg.Connection[Any]) -> None:
        wanted = f"proto_version '1', publication_names {literal(quoted(self._made))}"
        result = stream.pgconn.exec_(f"START_REPLICATION SLOT {quoted(self._made)} LOGICAL 0/0 ({wanted})".encode())
        if result.status != pq.ExecStatus.COPY_BOTH:
            raise psycopg.errors.error_from_result(result)

    def _said(self, error: psycopg.Error) -> SystemError_:
        """An error of the stream in the words of the contract."""
        words = error.diag.message_primary or str(error).strip()
        if error.sqlstate == "55006":
            return SystemUnreachableError(
                f"another process is streaming from the slot {self._made}: {words}",
                hint="only one may watch under one name; it is tried again",
                system=self._published.system,
            )
        if error.sqlstate in {"55000", "42704"}:  # the log it needs was removed; the slot or the publication was
            return lost(self._published.system, self._made, words)
        return self._trouble(error)

    # ------------------------------------------------------------ waiting

    def wait(self, timeout_s: float) -> Hints | None:
        """See watching.Watch."""
        until_s = time.monotonic() + timeout_s
        try:
            while True:
                self._take()
                self._speak()
                hints = self._hints()
                left_s = until_s - time.monotonic()
                if hints is not None or left_s <= 0:
                    return hints
                pause_s = 1.0
                if self._keys and not self._inside:
                    pause_s, self._again_s = self._again_s, min(_LONGEST_S, self._again_s * 2)
                if self._alarm.wait(self._pg.socket, min(left_s, pause_s)):
                    return None
                self._pg.consume_input()
        except psycopg.Error as error:
            raise self._said(error) from error

    def _take(self) -> None:
        """Take in what has arrived, up to as many keys as are told at once."""
        while self._count < HINT_KEYS:
            size, data = self._pg.get_copy_data(1)
            if size == 0:
                return
            if size < 0:
                self._ended()
            self._heard_at = time.monotonic()
            self._took(bytes(data))

    def _ended(self) -> None:
        """The stream is over: say why."""
        result = self._pg.get_result()
        if result is not None and result.error_message:
            raise psycopg.errors.error_from_result(result)
        raise SystemUnreachableError("PostgreSQL ended the stream of changes", hint="it is begun again", system=self._published.system)

    def _took(self, data: bytes) -> None:
        if data[:1] == b"k":
            self._heard(data)
            return
        message = parse(data[25:])
        self._inside = not isinstance(message, Committed)
        match message:
            case Begun():
                self._xid = message.xid
            case Changed():
                self._changed(message)
            case Committed():
                for own in self._own_of.values():
                    own.forget(self._xid)
                self._end, self._at = message.end, message.at
            case Truncated():
                for index in (index for oid in message.relations for index in self._published.objects_of(oid)):
                    self._told_all(index)
            case Relation():
                self._relations[message.oid] = message

    def _heard(self, data: bytes) -> None:
        """A sign of life, with how far the server has come; it may want to hear of us."""
        end, _at, ask = struct.unpack_from("!QQB", data, 1)
        if not self._keys and not self._inside:
            self._end = max(self._end, end)
        if ask:
            self._status_at = 0.0

    def _changed(self, change: Changed) -> None:
        relation = self._relations[change.relation]
        for index in self._published.objects_of(relation.oid):
            if change.new is not None:
                self._row(index, relation, change.new)
            if change.old is not None:
                known = None if change.whole else relation.identity
                self._row(index, relation, change.old, known)

    def _row(self, index: int, relation: Relation, values: Tuple, known: frozenset[str] | None = None) -> None:
        """The key of one row; `known` are the columns that it brings, None: all."""
        names = self._published.key_columns(index)
        if not (set(names) <= set(relation.columns) and (known is None or known.issuperset(names))):
            self._told_all(index)
            return
        key = self._published.key(index, [values[relation.columns.index(name)] for name in names])
        if key is None:
            self._told_all(index)
            return
        own = self._own_of.get(index)
        if own is not None and key in own.of(self._xid):
            return
        self._unseen[self._xid] = None
        keys = self._keys.setdefault(index, {})
        if keys is not None and key not in keys:
            keys[key] = None
            self._count += 1

    def _told_all(self, index: int) -> None:
        """Anything may have changed in an object."""
        self._unseen[self._xid] = None
        self._keys[index] = None

    def _hints(self) -> Hints | None:
        """What there is to tell: whole transactions that others can see, or a part of one that is too large."""
        now = time.monotonic()
        if self._keys and (not self._inside or self._count >= HINT_KEYS):
            if not self._seen():
                return None
            keys = {index: None if keys is None else tuple(keys) for index, keys in self._keys.items()}
            self._keys, self._count = {}, 0
        elif not self._keys and self._end > self._told and now - self._told_at >= _MOVED_S:
            keys = {}
        else:
            return None
        position = self._published.position(lsn_text(self._end)) if self._end > self._told else None
        if position is not None:
            self._told, self._told_at = self._end, now
            if keys and self._unconfirmed_since is None:
                self._unconfirmed_since = (now, self._end)
        return Hints(keys, position, self._at)

    def _seen(self) -> bool:
        """Whether everybody can see what was told. Until then a look at the rows would find them as they were."""
        if self._unseen:
            with self._lock:
                row = self._session().execute(_SEEN, [list(self._unseen)]).fetchone()
            if row is None or not row[0]:
                return False
            self._unseen.clear()
        self._again_s = _SHORTEST_S
        return True

    # ------------------------------------------------------------ telling the server

    def confirm(self, position: str) -> None:
        """See watching.Watch. The server hears of it within a second, or at the close."""
        self._confirmed = max(self._confirmed, lsn_of(position.partition(" ")[0]))
        if self._unconfirmed_since is not None and self._confirmed >= self._unconfirmed_since[1]:
            self._unconfirmed_since = (time.monotonic(), self._told) if self._told > self._confirmed else None
        self._status_at = 0.0

    def _speak(self) -> None:
        """Tell the server what was confirmed, and look whether all is as it should be, where it is time."""
        now = time.monotonic()
        if now - self._heard_at > _SILENCE_S:
            raise SystemUnreachableError(
                f"PostgreSQL has not answered for {_SILENCE_S:.0f} s",
                hint="check the network and the server",
                system=self._published.system,
            )
        if now - self._status_at >= _STATUS_S:
            self._status_at = now
            self._send_status()
        if now - self._looked_at >= _LOOK_S:
            self._looked_at = now
            self._look()

    def _send_status(self) -> None:
        self._pg.put_copy_data(status(self._confirmed, datetime.now(UTC), ask=True))
        until_s = time.monotonic() + _STATUS_S
        while self._pg.flush() and time.monotonic() < until_s:
            select.select([], [self._pg.socket], [], 0.1)

    def _look(self) -> None:
        """Raise PositionLostError where the slot is lost, or a table was made anew under its name."""
        with self._lock:
            session = self._session()
            row = session.execute(_STANDING, [self._made]).fetchone()
            there = session.execute(_STILL_THERE, [self._made, *self._published.tables()]).fetchone()
        if row is None or row[1] == "lost":
            raise lost(self._published.system, self._made, "the slot is gone" if row is None else "the log that it needs was removed")
        if there is None or there[0] is False:
            raise lost(self._published.system, self._made, "a table was made anew, or is not published any more")

    def _session(self) -> psycopg.Connection[Any]:
        if self._looking is None or self._looking.closed:
            self._looking = psycopg.connect(conninfo.make_conninfo("", **self._info), autocommit=True, prepare_threshold=None)
        return self._looking

    def lag(self) -> Lag:
        """See watching.Watch."""
        since = self._unconfirmed_since
        seconds = None if since is None else time.monotonic() - since[0]
        try:
            with self._lock:
                row = self._session().execute(_STANDING, [self._made]).fetchone()
        except psycopg.Error:
            row = None
        return Lag(seconds=seconds) if row is None else Lag(bytes=row[2], seconds=seconds, left_bytes=row[3])

    def wake(self) -> None:
        """See watching.Watch."""
        self._alarm.ring()

    def close(self) -> None:
        """See watching.Watch."""
        for own in self._own_of.values():
            own.heeded = False
        if not self._stream.closed:
            with suppress(psycopg.Error, OSError):
                self._send_status()
            self._stream.close()
        with self._lock:
            if self._looking is not None:
                self._looking.close()
        self._alarm.close()


def options() -> str:
    """The options of a connection in which values are written out as keys need them."""
    return " ".join(f"-c {name}={value}" for name, value in WRITTEN_OUT.items())


def lost(system: str, made: str, words: str) -> PositionLostError:
    """The error that says that changes may have been missed."""
    return PositionLostError(
        f"the watch {made} has missed changes: {words}", hint="everything is looked at once, and watched from then on", system=system
    )


def places(oids: Sequence[int]) -> str:
    """Tables in a position."""
    return ",".join(map(str, sorted(oids)))
