"""Messages as systems send them by webhook: signed in each way, and many at once over many connections."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

STANDARD = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
"""The secret of the examples of Standard Webhooks."""


def standard(body: bytes, number: str = "msg_1", *, secret: str = STANDARD, at: float | None = None) -> dict[str, str]:
    """The headers of Standard Webhooks."""
    stamp = str(int(time.time() if at is None else at))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = hmac.digest(key, f"{number}.{stamp}.".encode() + body, "sha256")
    return {"webhook-id": number, "webhook-timestamp": stamp, "webhook-signature": "v1," + base64.b64encode(signed).decode()}


def hexed(secret: str, message: bytes, algorithm: str = "sha256") -> str:
    """An HMAC in hex digits."""
    return hmac.new(secret.encode(), message, getattr(hashlib, algorithm)).hexdigest()


def based(secret: str, message: bytes) -> str:
    """An HMAC in base64."""
    return base64.b64encode(hmac.digest(secret.encode(), message, "sha256")).decode()


def request(system: str, body: bytes, headers: Mapping[str, str], *, method: str = "POST") -> bytes:
    """A request as it goes over the wire, on a connection that is kept."""
    lines = [f"{method} /hooks/{system} HTTP/1.1", "host: localhost", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


@dataclass
class Sent:
    """What became of many messages: per message the status (0: no answer) and the seconds that it took."""

    statuses: dict[str, int] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    took_s: float = 0.0

    def accepted(self) -> set[str]:
        """The messages that were answered 202."""
        return {number for number, status in self.statuses.items() if status == 202}

    def percentile(self, share: float) -> float:
        """So many seconds were enough for this share of the messages."""
        ordered = sorted(self.seconds)
        return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


async def _answer(reader: asyncio.StreamReader) -> int:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
    await reader.readexactly(length)
    return int(head.split(b" ", 2)[1])


async def send_all(port: int, messages: Iterable[tuple[str, bytes]], *, connections: int, again: bool = False, per_s: float = 0) -> Sent:
    """Send messages (a name, and the request) over so many connections at once, each of them one after the other.

    `again`: what got no answer, or was asked to be sent again, is sent until it is accepted. `per_s`: not more than so many a second.
    """
    sent, line = Sent(), list(messages)[::-1]
    began = time.perf_counter()
    count = 0

    async def work() -> None:
        nonlocal count
        reader = writer = None
        while line:
            name, wire = line.pop()
            if per_s:
                count += 1
                await asyncio.sleep(max(began + count / per_s - time.perf_counter(), 0))
            start = time.perf_counter()
            while sent.statuses.get(name) != 202:
                try:
                    if writer is None:
                        reader, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.write(wire)
                    assert reader is not None
                    sent.statuses[name] = await asyncio.wait_for(_answer(reader), 30)
                except (OSError, asyncio.IncompleteReadError, TimeoutError):
                    sent.statuses[name] = 0
                    if writer is not None:
                        writer.close()
                    writer = None
                    await asyncio.sleep(0.02)
                if not again:
                    break
            sent.seconds.append(time.perf_counter() - start)
        if writer is not None:
            writer.close()

    await asyncio.gather(*(work() for _ in range(connections)))
    sent.took_s = time.perf_counter() - began
    return sent
