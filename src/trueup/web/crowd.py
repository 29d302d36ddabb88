"""Connections on which something is still to come: only so many are kept, and those of whoever has most of them go first.

A client that sends a byte now and then holds a connection for as long as a request may take to come. Thousands of them would hold all
that this process may have open, and nobody else would get in. Who has a few is never touched as long as others have more: a network of
IPv6 addresses counts as one client, for whoever has one of them has all.
"""

from __future__ import annotations

import ipaddress
import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

TELL_S = 60.0
_log = logging.getLogger(__name__)


class Connection(Protocol):
    """What is in the crowd."""

    def drop(self) -> None:
        """Close it."""


class Crowd:
    """The connections of one server that wait for their client. Used by one thread."""

    def __init__(self, most: int, *, now: Callable[[], float] = time.monotonic) -> None:
        """At most so many wait at once."""
        self._most = most
        self._now = now
        self._client: dict[Connection, str] = {}
        self._of: dict[str, dict[Connection, None]] = {}  # in the order in which they began to wait
        self._with: list[dict[str, None]] = [{}, {}]  # clients by how many of theirs wait
        self._told_at: float | None = None

    def __len__(self) -> int:
        """How many wait."""
        return len(self._client)

    def waits(self, connection: Connection, address: str) -> None:
        """A connection waits for its client from now on; where that is one too many, the oldest of whoever has most is dropped."""
        if connection in self._client:
            return
        client = self._client[connection] = client_of(address)
        self._move(client, 1)
        self._of.setdefault(client, {})[connection] = None
        if len(self._client) > self._most:
            self._drop_one()

    def left(self, connection: Connection) -> None:
        """A connection has brought its request, or is gone."""
        client = self._client.pop(connection, None)
        if client is None:
            return
        self._move(client, -1)
        del self._of[client][connection]
        if not self._of[client]:
            del self._of[client]

    def _move(self, client: str, more: int) -> None:
        count = len(self._of.get(client, ()))
        self._with[count].pop(client, None)
        if count + more == len(self._with):
            self._with.append({})
        if count + more:
            self._with[count + more][client] = None
        while len(self._with) > 2 and not self._with[-1]:
            self._with.pop()

    def _drop_one(self) -> None:
        busiest = next(iter(self._with[-1]))
        oldest = next(iter(self._of[busiest]))
        count = len(self._of[busiest])
        self.left(oldest)
        oldest.drop()
        if self._told_at is None or self._now() - self._told_at >= TELL_S:
            self._told_at = self._now()
            words = "more than %d connections wait for their clients; %d of them are of %s, and the oldest of the busiest ones are closed"
            _log.warning(words, self._most, count, busiest)


def client_of(address: str) -> str:
    """Who has an address: of IPv6, all of a network of 64 bits."""
    with suppress(ValueError):
        found = ipaddress.ip_address(address.partition("%")[0])
        if isinstance(found, ipaddress.IPv6Address):
            if found.ipv4_mapped is not None:
                return str(found.ipv4_mapped)
            return str(ipaddress.IPv6Network((int(found) >> 64 << 64, 64)))
    return address
