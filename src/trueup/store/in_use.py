"""Whether any process has a state open, so that no file of it is exchanged under its hands."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from trueup.errors import StateError

if TYPE_CHECKING:
    from pathlib import Path

if sys.platform != "win32":
    import fcntl

_ASK_AGAIN_S = 0.1
WAIT_FOR_EXCHANGE_S = 60.0
WAIT_FOR_OTHERS_S = 5.0


class InUse:
    """Whether any process has a state's file open: a shared lock on its folder, held as long as a store is open.

    Who puts another file in its place must know that nobody has the old one open: SQLite finds the log of a file by its name, and would
    take the new file's log for the old one's.
    """

    def __init__(self, state: Path) -> None:
        """Prepare; nothing is locked yet."""
        self._folder = state.parent
        self._handle: int | None = None

    def share(self) -> None:
        """Have it open; nothing where that was said already, or the folder is not there yet. Raises StateError while it is exchanged."""
        if self._handle is None and sys.platform != "win32":
            with suppress(FileNotFoundError, NotADirectoryError, PermissionError):
                self._take(fcntl.LOCK_SH, "the state is being encrypted or decrypted by another process", WAIT_FOR_EXCHANGE_S)

    def alone(self) -> None:
        """Be the only one. Raises StateError where another process has a state of this folder open."""
        if sys.platform != "win32":
            self._take(fcntl.LOCK_EX, f"another trueup has a state in {self._folder} open", WAIT_FOR_OTHERS_S)

    def _take(self, kind: int, refused: str, wait_s: float) -> None:
        handle = os.open(self._folder, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        until = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(handle, kind | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= until:
                    os.close(handle)
                    raise StateError(refused, hint="run again when it has ended") from None
                time.sleep(_ASK_AGAIN_S)
            except OSError:  # a file system without such locks
                os.close(handle)
                return
            else:
                self._handle = handle
                return

    def end(self) -> None:
        """Let go; nothing where it is not held."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
