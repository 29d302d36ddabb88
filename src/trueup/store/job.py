"""What members of a state in PostgreSQL ask each other to do: a pass over an entity, rows to be written, a part of a system to be read.

Whoever asks waits for the answer and takes it away. A job belongs to the member that took it until it is answered, or that member is gone
(`member.bury`): a pass or a part is then somebody else's, and rows that were being written count as a write of which the answer was lost.
What nobody takes away any more is forgotten with whoever had asked, what was read for it among it.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import psycopg
import sqlalchemy as sa

from trueup.store.member import NOW

if TYPE_CHECKING:
    from collections.abc import Collection

    from trueup.store.db import Db

Kind = Literal["pass", "write", "read"]
AGAIN_S = 1.0
_TELL = "SELECT pg_notify('trueup_job_' || current_schema(), '')"


@dataclass(frozen=True, slots=True)
class Job:
    """A job that was taken; `tries` counts this time, too."""

    id: int
    kind: Kind
    entity: str
    tries: int
    payload: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Standing:
    """How a job stands. `answer` is None until it is done, and where its worker was gone before it answered."""

    done: bool
    worker: int | None
    answer: bytes | None = field(repr=False)


def ask(tx: Db, kind: Kind, entity: str, payload: bytes, *, agreed: str, asked_by: int, intent: int | None = None) -> int:
    """Ask for a job; its number. Rows are written only while their `intent` stands: nobody has looked yet what became of them."""
    if kind == "pass":  # an answer that nobody took away: whoever waited for it had lost the server
        left = "DELETE FROM job WHERE kind = 'pass' AND entity = %s AND asked_by = %s AND (done OR worker IS NULL)"
        tx.connection.exec_driver_sql(left, (entity, asked_by))
    number = tx.connection.exec_driver_sql(
        f"INSERT INTO job (kind, entity, agreed, asked_by, asked_at, payload, intent) VALUES (%s, %s, %s, %s, {NOW}, %s, %s) RETURNING id",
        (kind, entity, agreed, asked_by, payload, intent),
    ).scalar_one()
    tx.connection.exec_driver_sql(_TELL)
    return int(number)


def asked_for(db: Db, intent: int) -> int | None:
    """The job to write the rows of an intent; None where nobody was asked."""
    number = db.connection.exec_driver_sql("SELECT max(id) FROM job WHERE intent = %s", (intent,)).scalar_one()
    return None if number is None else int(number)


def waits(db: Db, kind: Kind, agreed: str, worker: int) -> bool:
    """Whether a job of this kind waits that this worker may take now."""
    given = {"kind": kind, "agreed": agreed, "worker": worker}
    return db.connection.exec_driver_sql(f"SELECT EXISTS ({_WAITING})", given).scalar_one() is True


def take(tx: Db, kind: Kind, agreed: str, worker: int) -> Job | None:
    """The oldest job of this kind that may be done now; None where there is none.

    A pass may not while anything of its entity is in work, and what an earlier pass had asked for and nobody has begun is void then.
    Nobody takes what it has asked for itself.
    """
    row = tx.connection.exec_driver_sql(
        f"UPDATE job SET worker = %(worker)s, begun_at = {NOW}, tries = tries + 1 WHERE id = ({_WAITING})"
        " RETURNING id, kind, entity, tries, payload",
        {"kind": kind, "agreed": agreed, "worker": worker},
    ).one_or_none()
    if row is not None and row[1] == "pass":
        clear(tx, row[2], but="pass")
    return None if row is None else Job(row[0], row[1], row[2], row[3], bytes(row[4]))


_WAITING = """
    SELECT j.id FROM job j WHERE NOT j.done AND j.worker IS NULL AND j.kind = %(kind)s AND j.agreed = %(agreed)s
    AND j.asked_by <> %(worker)s
    AND (j.kind <> 'write' OR EXISTS (SELECT 1 FROM sending s WHERE s.id = j.intent))
    AND (j.kind <> 'pass' OR NOT EXISTS (SELECT 1 FROM job o WHERE o.entity = j.entity AND NOT o.done AND o.worker IS NOT NULL))
    ORDER BY j.id LIMIT 1
"""


def answer(tx: Db, id_: int, answer: bytes) -> None:
    """The job is done. Where nobody waits for it any more, it is forgotten."""
    tx.connection.exec_driver_sql("UPDATE job SET done = true, answer = %s WHERE id = %s", (answer, id_))
    tx.connection.exec_driver_sql("DELETE FROM job WHERE id = %s AND asked_by IN (SELECT id FROM member WHERE gone)", (id_,))
    tx.connection.exec_driver_sql(_TELL)


def lost_by(db: Db, worker: int, known: Collection[int]) -> list[int]:
    """Jobs that a worker has taken without knowing it: the server failed just as it was told."""
    query = "SELECT id FROM job WHERE worker = %s AND NOT done AND id <> ALL (%s::bigint[])"
    return [int(row[0]) for row in db.connection.exec_driver_sql(query, (worker, list(known)))]


def put_back(tx: Db, ids: Collection[int], worker: int) -> None:
    """Let others take jobs that this worker has not begun."""
    statement = "UPDATE job SET worker = NULL, begun_at = NULL WHERE id = ANY (%s::bigint[]) AND worker = %s AND NOT done"
    tx.connection.exec_driver_sql(statement, (list(ids), worker))
    tx.connection.exec_driver_sql(_TELL)


def standing(db: Db, id_: int) -> Standing | None:
    """How a job stands; None where it is not there any more."""
    row = db.connection.exec_driver_sql("SELECT done, worker, answer FROM job WHERE id = %s", (id_,)).one_or_none()
    return None if row is None else Standing(row[0], row[1], None if row[2] is None else bytes(row[2]))


def forget(tx: Db, *ids: int) -> None:
    """Their answers were taken away, or nobody wants them any more."""
    tx.connection.exec_driver_sql("DELETE FROM job WHERE id = ANY (%s::bigint[])", (list(ids),))


def forget_all(tx: Db) -> None:
    """Nobody waits for anything any more."""
    tx.connection.exec_driver_sql("DELETE FROM job")


def withdraw(tx: Db, id_: int) -> bool:
    """Take a job back that nobody has begun; False where somebody has, or it is done."""
    return bool(tx.connection.exec_driver_sql("DELETE FROM job WHERE id = %s AND worker IS NULL AND NOT done", (id_,)).rowcount)


def clear(tx: Db, entity: str, *, but: Kind | None = None) -> None:
    """Forget what nobody has begun and what nobody took away, before a pass of this entity begins; all `but` those of one kind."""
    query = "DELETE FROM job WHERE entity = %s AND (done OR worker IS NULL) AND kind IS DISTINCT FROM %s"
    tx.connection.exec_driver_sql(query, (entity, but))


def in_work(db: Db, entity: str) -> bool:
    """Whether somebody is at work on an entity."""
    query = "SELECT EXISTS (SELECT 1 FROM job WHERE entity = %s AND NOT done AND worker IS NOT NULL)"
    return db.connection.exec_driver_sql(query, (entity,)).scalar_one() is True


class Bell(threading.Thread):
    """Hears when a job is asked for or answered, for all threads of a process that wait for either."""

    def __init__(self, pool: sa.Engine) -> None:
        """Nothing is connected yet."""
        super().__init__(name="bell", daemon=True)
        self._pool = pool
        self._rung = threading.Condition()
        self._count = 0
        self._ending = threading.Event()

    @property
    def count(self) -> int:
        """How often it has rung: to be asked before looking, and given to `wait`."""
        return self._count

    def wait(self, since: int, timeout_s: float) -> None:
        """Wait until it has rung since then, at most so long."""
        with self._rung:
            self._rung.wait_for(lambda: self._count != since, timeout_s)

    def ring(self) -> None:
        """Let everybody look."""
        with self._rung:
            self._count += 1
            self._rung.notify_all()

    def stop(self) -> None:
        """Make the thread end soon, and everybody look."""
        self._ending.set()
        self.ring()

    def run(self) -> None:
        """Listen until `stop`; a lost connection counts as a ring: nobody knows what was missed."""
        while not self._ending.is_set():
            driver: Any = None
            try:
                connection = self._pool.raw_connection()
                driver = connection.driver_connection
                connection.detach()
                driver.rollback()
                driver.autocommit = True
                schema = driver.execute("SELECT current_schema()").fetchone()[0]
                driver.execute(f'LISTEN "trueup_job_{schema}"')
                self.ring()
                while not self._ending.is_set():
                    for _notice in driver.notifies(timeout=AGAIN_S, stop_after=1):
                        self.ring()
            except (psycopg.Error, sa.exc.SQLAlchemyError):
                self.ring()
                self._ending.wait(AGAIN_S)
            finally:
                if driver is not None:
                    with suppress(psycopg.Error):
                        driver.close()
