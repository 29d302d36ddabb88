"""Watches address books: the server is asked every few seconds whether its sync token moved, and then which cards were touched.

Servers keep no list of who watches; the token that was confirmed last says what to ask for, so that nothing that happened meanwhile is
lost. Where a server has forgotten a token, all of that book may have changed.
"""

from __future__ import annotations

import json
import threading
import time
from typing import TYPE_CHECKING

from trueup.connectors.carddav_columns import key_of
from trueup.connectors.carddav_http import Book, Dav
from trueup.connectors.watching import Hints, Lag, Way, parted

if TYPE_CHECKING:
    from collections.abc import Mapping


def way_of(settings: Mapping[str, object], dav: Dav, places: Mapping[int, Book | str]) -> Way:
    """How these address books are watched; a place that is a text says why it is none."""
    unwatched = {number: place for number, place in places.items() if isinstance(place, str)}
    if settings.get("watch") == "off":
        return Way("off", "the settings say `watch: off`", unwatched=unwatched)
    for number, place in places.items():
        if isinstance(place, Book) and dav.token(place) is None:
            unwatched[number] = "the server gives no sync tokens: it is looked at on a schedule"
    if len(unwatched) == len(places):
        return Way("poll", "the server gives no sync tokens", unwatched=unwatched)
    return Way("tokens", "the server is asked for what changed since the last sync token", durable=True, unwatched=unwatched)


class CardWatch:
    """See watching.Watch. A position is the token of each address book, by path."""

    def __init__(self, dav: Dav, way: Way, places: Mapping[int, Book | str], since: str | None, *, look_s: float) -> None:
        """Begin; the connection is the watch's own."""
        self.way = way
        self._dav = dav
        self._look_s = look_s
        self._woken = threading.Event()
        self._books = {number: place for number, place in places.items() if isinstance(place, Book) and number not in way.unwatched}
        known: dict[str, str] = json.loads(since) if since else {}
        self._tokens: dict[str, str] = {}
        fresh = set()
        for number, book in self._books.items():
            if book.path in known:
                self._tokens[book.path] = known[book.path]
            else:
                self._tokens.setdefault(book.path, dav.token(book) or "")
                fresh.add(number)
        self.fresh = frozenset(fresh)
        self.position: str | None = self._place()
        self._left: dict[int, dict[str, None] | None] = {}
        self._next_s = time.monotonic()

    def _place(self) -> str:
        return json.dumps(self._tokens, sort_keys=True)

    def wait(self, timeout_s: float) -> Hints | None:
        """See watching.Watch."""
        until_s = time.monotonic() + timeout_s
        while True:
            if not self._left and time.monotonic() >= self._next_s:
                self._look()
                self._next_s = time.monotonic() + self._look_s
            if self._left:
                told, self._left, _ = parted(self._left)
                return Hints(told, None if self._left else self._place())
            rest_s = min(until_s, self._next_s) - time.monotonic()
            if self._woken.wait(max(0.0, rest_s)) or time.monotonic() >= until_s:
                self._woken.clear()
                return None

    def _look(self) -> None:
        """Ask which cards were touched; an address book that several objects name is asked once."""
        found: dict[str, dict[str, None] | None] = {}
        for book in {book.path: book for book in self._books.values()}.values():
            now = self._dav.token(book)
            if now is None or now == self._tokens[book.path]:
                continue
            told = self._dav.changes(book, self._tokens[book.path])
            if told is None:
                found[book.path], self._tokens[book.path] = None, now
            else:
                touched, self._tokens[book.path] = told
                found[book.path] = dict.fromkeys(key_of(name) for name in touched)
        self._left = {number: found[book.path] for number, book in self._books.items() if book.path in found}

    def confirm(self, position: str) -> None:
        """See watching.Watch; the server keeps nothing for us."""

    def wake(self) -> None:
        """See watching.Watch."""
        self._woken.set()

    def lag(self) -> Lag:
        """See watching.Watch."""
        return Lag()

    def close(self) -> None:
        """See watching.Watch."""
        self._dav.close()
