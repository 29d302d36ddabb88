"""Waiting for a socket that another thread can cut short."""

from __future__ import annotations

import os
import select
import threading
from contextlib import suppress


class Alarm:
    """A pipe that makes a `select` return; ringing once is enough, whether somebody waits already or not."""

    def __init__(self) -> None:
        """Open the pipe."""
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        self._closed = False
        self._lock = threading.Lock()  # a handle given back may be another's in no time

    def ring(self) -> None:
        """Make the wait in progress, or else the next one, return."""
        with self._lock, suppress(BlockingIOError):
            if not self._closed:
                os.write(self._write, b"!")

    def wait(self, handle: int, timeout_s: float) -> bool:
        """Wait until the handle can be read. True where the alarm rang, which is then over."""
        poll = select.poll()
        poll.register(self._read, select.POLLIN)
        if handle >= 0:
            poll.register(handle, select.POLLIN)
        rang = any(found == self._read for found, _ in poll.poll(max(0.0, timeout_s) * 1000))
        if rang:
            with suppress(BlockingIOError):
                os.read(self._read, 4096)
        return rang

    def close(self) -> None:
        """Give back the pipe."""
        with self._lock:
            if not self._closed:
                self._closed = True
                os.close(self._read)
                os.close(self._write)
