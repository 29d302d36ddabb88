"""A request in one piece: httpcore sends its head and its body by themselves, which costs two calls and wakes the other side twice.

What is to be written waits until an answer is to be read, or until there is enough of it.
"""

from __future__ import annotations

import contextlib
import urllib.request
from typing import TYPE_CHECKING, Any

import httpcore2
import httpx2

if TYPE_CHECKING:
    import ssl

ENOUGH_BYTES = 1 << 16


def transport(*, limits: httpx2.Limits, verify: ssl.SSLContext | bool) -> JoinedTransport | None:
    """Connections on which a request goes out in one piece; None where a proxy of the environment leads elsewhere."""
    return None if urllib.request.getproxies() else JoinedTransport(limits=limits, verify=verify)


class JoinedTransport(httpx2.HTTPTransport):
    """Connections on which what is written waits."""

    def __init__(self, *, limits: httpx2.Limits, verify: ssl.SSLContext | bool) -> None:
        super().__init__(verify=verify, limits=limits)
        self._pool.close()
        self._context = httpx2.create_ssl_context(verify=verify)
        self._pool = self._made(limits)

    def single(self) -> httpcore2.ConnectionPool:
        """One such connection, for whoever closes it: nobody waits for the lock of a pool with many."""
        return self._made(httpx2.Limits(max_connections=1))

    def _made(self, limits: httpx2.Limits) -> httpcore2.ConnectionPool:
        return httpcore2.ConnectionPool(
            ssl_context=self._context,
            max_connections=limits.max_connections,
            max_keepalive_connections=limits.max_keepalive_connections,
            keepalive_expiry=limits.keepalive_expiry,
            network_backend=_Backend(),
        )


class _Backend(httpcore2.SyncBackend):
    def connect_tcp(self, *where: Any, **how: Any) -> httpcore2.NetworkStream:
        return _Stream(super().connect_tcp(*where, **how))


class _Stream(httpcore2.NetworkStream):
    def __init__(self, inner: httpcore2.NetworkStream) -> None:
        self._inner = inner
        self._waiting: list[bytes] = []
        self._size = 0
        self._timeout_s: float | None = None

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if buffer:
            self._waiting.append(buffer)
            self._size += len(buffer)
            self._timeout_s = timeout
            if self._size >= ENOUGH_BYTES:
                self._send()

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._waiting:
            with contextlib.suppress(httpcore2.WriteError):  # it may have answered before all was sent, as httpcore has it too
                self._send()
        return self._inner.read(max_bytes, timeout)

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)

    def _send(self) -> None:
        data, self._waiting, self._size = b"".join(self._waiting), [], 0
        self._inner.write(data, self._timeout_s)
