"""Processes that work on one state in PostgreSQL at the same time, each under a lease that it keeps renewing.

A member whose lease has run out is declared gone by whoever notices first, in one transaction; from then on nothing that it writes is
accepted: every transaction of a member asks, under the lock that lets one transaction write at a time, whether it is still one. Its number
is never given again. Leases run by the clock of the database server; the member itself counts from the moment before it asked, so that it
stops before the others stop waiting for it, however far their clocks are apart.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trueup.errors import LeaseLostError
from trueup.store import engine
from trueup.store.moments import from_micros, to_micros

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    import sqlalchemy as sa

    from trueup.store.db import Db

LEASE_S = 5.0
GRACE_S = 2.0
"""What a member began to send just before its lease ran out has so long to arrive, before anybody looks what became of it."""
LOCK_WAIT_S = 2.0
FORGOTTEN_US = 24 * 3600 * 1_000_000
NOW = "(extract(epoch from clock_timestamp()) * 1000000)::bigint"
# After a restart of the server nobody could renew for a while: everybody gets the time for it once more.
_LAPSED = (
    f"NOT gone AND until + %(grace)s < {NOW}"
    f" AND (extract(epoch from pg_postmaster_start_time()) * 1000000)::bigint + %(lease)s + %(grace)s < {NOW}"
)


def _times() -> dict[str, Any]:
    """Microseconds, for statements."""
    return {"lease": int(LEASE_S * 1e6), "grace": int(GRACE_S * 1e6)}


def moving_s() -> float:
    """Seconds of a clock that goes on while this process is stopped, and where it can, while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if sys.platform == "linux" else time.monotonic()


@dataclass(frozen=True, slots=True)
class Member:
    """One process. `agreed` is the digest of what all must agree on; `leads`: it holds the watchers and the clock."""

    id: int
    role: str
    host: str
    pid: int
    agreed: str
    joined_at: datetime
    leads: bool


@dataclass
class Lease:
    """This process's own membership. `until_s` is by `moving_s`: the moment after which it may not begin anything."""

    id: int
    pool: sa.Engine
    until_s: float
    lost: bool = False
    _told: str = field(default="", repr=False)

    @property
    def holds(self) -> bool:
        """Whether it may begin something now, as far as it knows itself."""
        return not self.lost and moving_s() < self.until_s

    def must_hold(self) -> None:
        """Raise LeaseLostError where it may not: asked just before something is sent to a system."""
        if not self.holds:
            raise LeaseLostError("this process was out of touch with the state for too long, and others have taken over what it did")

    def check(self, connection: sa.Connection) -> None:
        """Raise LeaseLostError inside a write transaction where others have declared this process gone."""
        found = connection.exec_driver_sql("SELECT 1 FROM member WHERE id = %s AND NOT gone", (self.id,)).first()
        if found is None:
            self.lost = True
            self.must_hold()

    def renew(self) -> None:
        """Renew it. Raises LeaseLostError where it is too late; the driver's errors where the server does not answer."""
        asked = moving_s()
        with alone(self.pool) as connection:
            renewed = connection.exec_driver_sql(
                f"UPDATE member SET until = {NOW} + %(lease)s WHERE id = %(id)s AND NOT gone", {**_times(), "id": self.id}
            )
            if renewed.rowcount == 0:
                self.lost = True
                self.must_hold()
        self.until_s = asked + LEASE_S

    def leave(self) -> None:
        """Be no member any more: at once, nobody waits."""
        self.lost = True
        with suppress(*engine.driver_errors(self.pool)), self.pool.begin() as connection:
            connection.exec_driver_sql("UPDATE member SET gone = true, leads = false WHERE id = %s", (self.id,))
            give_back(connection, [self.id])


@contextmanager
def alone(pool: sa.Engine) -> Iterator[sa.Connection]:
    """A connection on which every statement is its own transaction."""
    with pool.connect() as plain:
        yield plain.execution_options(isolation_level="AUTOCOMMIT")


def join(pool: sa.Engine, role: str, session: str, agreed: str, at: datetime) -> Lease:
    """Become a member; `session` is how the server names this process's connections."""
    asked = moving_s()
    values: dict[str, Any] = {
        **_times(),
        "role": role,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "session": session,
        "agreed": agreed,
        "at": to_micros(at),
    }
    with alone(pool) as connection:
        number = connection.exec_driver_sql(
            "INSERT INTO member (role, host, pid, session, agreed, joined_at, until)"
            f" VALUES (%(role)s, %(host)s, %(pid)s, %(session)s, %(agreed)s, %(at)s, {NOW} + %(lease)s) RETURNING id",
            values,
        ).scalar_one()
    return Lease(int(number), pool, asked + LEASE_S)


def lead(tx: Db, id_: int) -> bool:
    """Become the leader, where no living member is; called inside a write transaction of that member."""
    taken = tx.connection.exec_driver_sql("SELECT id FROM member WHERE leads AND NOT gone").first()
    if taken is not None:
        return bool(taken[0] == id_)
    tx.connection.exec_driver_sql("UPDATE member SET leads = true WHERE id = %s", (id_,))
    return True


def living(pool: sa.Engine) -> list[Member]:
    """Everybody whose lease has not run out, the leader among them as long as nobody may take its place; oldest first."""
    with alone(pool) as connection:
        rows = connection.exec_driver_sql(
            f"SELECT id, role, host, pid, agreed, joined_at, leads FROM member WHERE NOT gone AND (leads OR until > {NOW}) ORDER BY id"
        ).fetchall()
    return [Member(row[0], row[1], row[2], row[3], row[4], from_micros(row[5]), row[6]) for row in rows]


def bury(pool: sa.Engine, writer_lock: int) -> list[int]:
    """Declare members gone whose lease has run out, and give back what they had taken; returns their numbers.

    Their connections are ended first: one that stands still in the middle of a transaction would keep everybody waiting.
    """
    with alone(pool) as connection:
        lapsed = connection.exec_driver_sql(f"SELECT id, session FROM member WHERE {_LAPSED}", _times()).fetchall()
        for _id, session in lapsed:
            connection.exec_driver_sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s AND usename = current_user", (session,)
            )
    if not lapsed:
        return []
    with pool.begin() as connection:
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {int(LOCK_WAIT_S * 1000)}")
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (writer_lock,))
        gone = connection.exec_driver_sql(
            f"UPDATE member SET gone = true, leads = false WHERE id = ANY (%(ids)s) AND {_LAPSED} RETURNING id",
            {**_times(), "ids": [row[0] for row in lapsed]},
        )
        numbers = [int(row[0]) for row in gone]
        give_back(connection, numbers)
    return numbers


def give_back(connection: sa.Connection, numbers: list[int]) -> None:
    """What these members were doing for others is to be done by others; what they had asked for, nobody waits for any more.

    A pass is done again by whoever takes it. What became of rows that were being written is found out by the pass that sent them.
    """
    if not numbers:
        return
    connection.exec_driver_sql("UPDATE job SET done = true WHERE worker = ANY (%s) AND NOT done AND kind = 'write'", (numbers,))
    connection.exec_driver_sql("UPDATE job SET worker = NULL, begun_at = NULL WHERE worker = ANY (%s) AND NOT done", (numbers,))
    connection.exec_driver_sql("DELETE FROM job WHERE (done OR worker IS NULL) AND asked_by IN (SELECT id FROM member WHERE gone)")
    connection.exec_driver_sql(
        f"DELETE FROM member WHERE gone AND until < {NOW} - %s AND id NOT IN (SELECT asked_by FROM job)", (FORGOTTEN_US,)
    )
