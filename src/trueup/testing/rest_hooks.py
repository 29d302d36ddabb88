"""Webhooks of the conformance service: who subscribed, and messages that are sent, or lost on their way."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import queue
import random
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from trueup.connectors.rest.message import json_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

HEADER = "x-signature"
PATIENCE_S = 30.0


@dataclass(slots=True)
class Hook:
    """One subscription. `object` None: all of them; `active` False: the application has ended it by itself."""

    number: str
    url: str
    secret: str
    object: str | None
    active: bool = True
    renewed: int = 0

    def shown(self) -> dict[str, Any]:
        """As the application shows it."""
        return {"id": self.number, "url": self.url, "object": self.object, "status": "active" if self.active else "disabled"}


class Hooks:
    """The subscriptions. `lost`: this share of all messages never leaves, chosen by chance (`seed`)."""

    def __init__(self, *, seed: int = 0) -> None:
        """Nobody subscribed yet."""
        self.known: dict[str, Hook] = {}
        self.lost = 0.0
        self.sent = 0
        self.dropped = 0
        self.statuses: dict[int, int] = {}
        self._chance = random.Random(seed)
        self._number = 0
        self._events = 0
        self._waiting: queue.Queue[tuple[Hook, bytes] | None] = queue.Queue()
        self._thread: threading.Thread | None = None

    def subscribe(self, body: Mapping[str, Any]) -> Hook:
        """A new subscription. Raises KeyError where it has no address."""
        self._number += 1
        hook = Hook(str(self._number), str(body["url"]), str(body.get("secret") or ""), body.get("object"))
        self.known[hook.number] = hook
        return hook

    def tell(self, obj: str, key: tuple[Any, ...], kind: str) -> None:
        """Something changed: send a message to everybody who asked for it."""
        for hook in self.known.values():
            if not hook.active or hook.object not in {None, obj}:
                continue
            self._events += 1
            if self._chance.random() < self.lost:
                self.dropped += 1
                continue
            body = {"id": f"e{self._events}", "object": obj, "key": str(key[0]) if len(key) == 1 else list(map(str, key)), "kind": kind}
            self._waiting.put((hook, json_bytes(body)))
            if self._thread is None:
                self._thread = threading.Thread(target=self._send_all, name="rest-hooks", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Send no more."""
        thread, self._thread = self._thread, None
        if thread is not None:
            while not self._waiting.empty():
                with suppress(queue.Empty):
                    self._waiting.get_nowait()
            self._waiting.put(None)
            thread.join(PATIENCE_S)

    def _send_all(self) -> None:
        lines: dict[str, http.client.HTTPConnection] = {}
        while (message := self._waiting.get()) is not None:
            hook, body = message
            parts = urlsplit(hook.url)
            line = lines.setdefault(parts.netloc, http.client.HTTPConnection(parts.netloc, timeout=PATIENCE_S))
            signed = hmac.new(hook.secret.encode(), body, hashlib.sha256).hexdigest()
            try:
                line.request("POST", parts.path, body, {"content-type": "application/json", HEADER: signed})
                answer = line.getresponse()
                answer.read()
                self.statuses[answer.status] = self.statuses.get(answer.status, 0) + 1
                self.sent += 1
            except (OSError, http.client.HTTPException):  # it is never sent again, as with many applications
                self.dropped += 1
                line.close()
        for line in lines.values():
            line.close()
