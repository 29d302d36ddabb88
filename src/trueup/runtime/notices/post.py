"""One message to one address, over a connection that is kept for the next one. Nothing that a receiver does takes longer than was said.

Written on sockets, for what libraries do not promise: one limit for everything from the name's address to the last byte of the answer's
head, no redirect, no proxy, no answer's body in memory, and a look at the very address that is then connected to.
"""

from __future__ import annotations

import re
import socket
import ssl
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from trueup import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

LONGEST_HEAD = 65_536
LONGEST_BODY = 65_536
"""So much of an answer's body is read, to use the connection again; of a longer one nothing more is taken."""
IDLE_S = 20.0
"""A connection that was not used for so long is not used again."""
LONGEST_PAUSE_S = 86_400.0
"""What a receiver may ask for with `Retry-After`."""
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])(?: [^\r\n]*)?")
SUCCESS, REDIRECT = range(200, 300), range(300, 400)


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one message. `why` None: it arrived; else what went wrong, in words without anything that the receiver said."""

    status: int | None = None
    why: str | None = None
    retry_after_s: float | None = None

    @property
    def gone(self) -> bool:
        """Whether nobody is there to be told any more."""
        return self.status == 410


class _SendingError(Exception):
    """Why a message could not be sent, in words."""


class _StaleError(Exception):
    """A connection that was kept has been closed by the other side meanwhile."""


class Poster:
    """Sends to one address; for one thread at a time."""

    def __init__(self, url: str, *, timeout_s: float, insecure: bool = False, headers: Mapping[str, str] | None = None) -> None:
        """Nothing is opened yet. `insecure`: http also to other machines. The address was checked with the configuration."""
        parts = urlsplit(url)
        self._tls = parts.scheme == "https"
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if self._tls else 80)
        self._insecure = insecure
        self._timeout_s = timeout_s
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        shown = f"[{self._host}]" if ":" in self._host else self._host
        place = shown if parts.port is None else f"{shown}:{parts.port}"
        fixed = {"Host": place, "User-Agent": f"trueup/{__version__}", "Content-Type": "application/json", **(headers or {})}
        self._head = f"POST {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fixed.items())
        self._socket: socket.socket | None = None
        self._used_at = 0.0

    def post(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Send one message. Whatever goes wrong is in the answer."""
        until = time.monotonic() + self._timeout_s
        head = self._head + "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        told = f"{head}Content-Length: {len(body)}\r\n\r\n".encode("latin-1") + body
        try:
            if self._socket is not None and time.monotonic() - self._used_at < IDLE_S:
                with suppress(_StaleError):  # it was closed while nobody used it: the same message, with the same id, once more
                    return self._exchange(told, until, fresh=False)
            self.close()
            return self._exchange(told, until, fresh=True)
        except TimeoutError:
            self.close()
            return Answer(why=f"no answer within {self._timeout_s:g} s")
        except _SendingError as trouble:
            self.close()
            return Answer(why=str(trouble))
        except ssl.SSLCertVerificationError as error:
            self.close()
            return Answer(why=f"its certificate is not to be trusted: {error.verify_message}")
        except (OSError, ssl.SSLError, _StaleError) as error:
            self.close()
            return Answer(why=_words(error))

    def close(self) -> None:
        """Give the connection back."""
        held, self._socket = self._socket, None
        if held is not None:
            with suppress(OSError):
                held.close()

    # -------------------------------------------------------------- connection

    def _connect(self, until: float) -> socket.socket:
        """A connection to an address that may be told."""
        try:
            found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise _SendingError("its name has no address") from None
        last: OSError | None = None
        refused = ""
        for family, kind, protocol, _name, place in found:
            refused = self._refusal(str(place[0])) or refused
            if self._refusal(str(place[0])):
                continue
            made = socket.socket(family, kind, protocol)
            try:
                made.settimeout(_left(until))
                made.connect(place)
                made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if not self._tls:
                    return made
                made.settimeout(_left(until))
                return _trust().wrap_socket(made, server_hostname=self._host)
            except (TimeoutError, ssl.SSLError):
                made.close()
                raise
            except OSError as error:
                made.close()
                last = error
        if last is not None:
            raise last
        raise _SendingError(refused or "its name has no address")

    def _refusal(self, text: str) -> str | None:
        """Why an address is not connected to; None: it may be. Addresses inside the company are: that is where such tools stand."""
        address: IPv4Address | IPv6Address = ip_address(text.partition("%")[0])
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        if address.is_link_local or address.is_multicast or address.is_unspecified:
            return "its address belongs to no receiver (link-local, multicast or unspecified)"
        if not (self._tls or self._insecure or address.is_loopback):
            return "its address is not on this machine, and http is only for this machine (unless insecure: true)"
        return None

    # -------------------------------------------------------------- exchange

    def _exchange(self, told: bytes, until: float, *, fresh: bool) -> Answer:
        held = self._socket = self._socket if not fresh and self._socket is not None else self._connect(until)
        read = b""
        try:
            held.settimeout(_left(until))
            held.sendall(told)
            read = self._read_head(held, until)
        except (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError) as error:
            if not fresh:
                raise _StaleError from error
            raise
        head, _, rest = read.partition(b"\r\n\r\n")
        status, fields = _parsed(head)
        self._used_at = time.monotonic()
        if not self._drained(held, status, fields, rest, until):
            self.close()
        return _answer(status, fields)

    def _read_head(self, held: socket.socket, until: float) -> bytes:
        """An answer up to the end of its head, and perhaps some more; 100 and the like are passed over."""
        read = b""
        while True:
            while b"\r\n\r\n" not in read:
                if len(read) > LONGEST_HEAD:
                    raise _SendingError("its answer has no end of its head")
                held.settimeout(_left(until))
                piece = held.recv(16_384)
                if not piece:
                    raise ConnectionResetError
                read += piece
            if not read.startswith(b"HTTP/1.1 1"):
                return read
            read = read.partition(b"\r\n\r\n")[2]

    def _drained(self, held: socket.socket, status: int, fields: Mapping[str, str], rest: bytes, until: float) -> bool:
        """Read the body where it is short; whether the connection may be used again."""
        length = "0" if status in {204, 304} else fields.get("content-length", "")
        if "close" in fields.get("connection", "").lower() or "transfer-encoding" in fields or not re.fullmatch("[0-9]{1,6}", length):
            return False
        left = int(length) - len(rest)
        if left < 0 or int(length) > LONGEST_BODY:
            return False
        try:
            while left > 0:
                held.settimeout(_left(until))
                piece = held.recv(min(left, 16_384))
                if not piece:
                    return False
                left -= len(piece)
        except OSError:
            return False
        return True


def _parsed(head: bytes) -> tuple[int, dict[str, str]]:
    """Status and fields, by lower-case name; of several of one name the last."""
    first, *lines = head.split(b"\r\n")
    found = _STATUS.fullmatch(first)
    if found is None:
        raise _SendingError("what it answers is not HTTP")
    pairs = [line.decode("latin-1").partition(":") for line in lines]
    return int(found[1]), {name.strip().lower(): value.strip() for name, _, value in pairs}


def _answer(status: int, fields: Mapping[str, str]) -> Answer:
    if status in SUCCESS:
        return Answer(status)
    if status in REDIRECT:
        return Answer(status, f"it answered {status}: redirects are not followed; write the address to which it leads")
    return Answer(status, f"it answered {status}", _pause(fields.get("retry-after", "")))


def _pause(text: str) -> float | None:
    """What `Retry-After` asks for: seconds, or a moment; None where it says neither."""
    if re.fullmatch("[0-9]{1,9}", text):
        return min(float(text), LONGEST_PAUSE_S)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(max(0.0, (moment - datetime.now(UTC)).total_seconds()), LONGEST_PAUSE_S)


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _words(error: BaseException) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "nobody listens there"
    if isinstance(error, ssl.SSLError):
        return "no secure connection can be made (TLS)"
    if isinstance(error, ConnectionError | _StaleError):
        return "it closed the connection without an answer"
    return (getattr(error, "strerror", None) or type(error).__name__).lower()


@lru_cache(maxsize=1)
def _trust() -> ssl.SSLContext:
    return ssl.create_default_context()
