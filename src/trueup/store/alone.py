"""One at a time, in all processes that share a state, by a name: for work outside of the state that must not be done twice at once.

The turn belongs to the operating system (a lock on a file beside a state in a file) or to the database server (a session's advisory lock),
so that whoever dies gives it back. It says nothing about who may write to the state.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import xxhash

from trueup.errors import StateError, SystemUnreachableError
from trueup.store import engine
from trueup.store.locks import try_lock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import sqlalchemy as sa

ASK_AGAIN_S = 0.02
SLOWEST_S = 0.2


@contextmanager
def alone_with_file(path: Path, wait_s: float) -> Iterator[None]:
    """Hold the lock on a file, which is made and stays. Raises SystemUnreachableError after waiting, StateError where it cannot be made."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
    except OSError as error:
        raise StateError(f"the lock file {path} cannot be opened: {error.strerror}", hint="check the rights of its folder") from error
    try:
        _wait(lambda: try_lock(handle), wait_s)
        yield
    finally:
        os.close(handle)


@contextmanager
def alone_on_server(pool: sa.Engine, name: str, wait_s: float) -> Iterator[None]:
    """Hold an advisory lock, on a connection of its own. Raises as `alone_with_file`, and what the driver raises."""
    number = xxhash.xxh3_64_intdigest(name.encode()) - (1 << 63)
    connection = pool.connect().execution_options(isolation_level="AUTOCOMMIT")
    try:
        _wait(lambda: bool(connection.exec_driver_sql("SELECT pg_try_advisory_lock(%s)", (number,)).scalar_one()), wait_s)
        yield
    finally:
        with suppress(*engine.driver_errors(pool)):
            connection.invalidate()  # closed for good: the server then lets go of the lock
            connection.close()


def _wait(take: Callable[[], bool], wait_s: float) -> None:
    until, pause_s = time.monotonic() + wait_s, ASK_AGAIN_S
    while not take():
        if time.monotonic() >= until:
            raise SystemUnreachableError(
                f"another process has been renewing its credential for {wait_s:.0f} s", hint="look whether that process stands still"
            )
        time.sleep(pause_s)
        pause_s = min(SLOWEST_S, pause_s * 1.5)
