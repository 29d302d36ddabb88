"""Writes cards: each under the ETag with which it was just read, and only where it still holds what is expected."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from trueup.connectors.base import Outcomes
from trueup.connectors.carddav_card import Card, CardError, Line, escaped, parsed
from trueup.connectors.carddav_columns import CardColumn, is_name, name_of, texted, typed
from trueup.connectors.carddav_http import quoted
from trueup.connectors.sql_types import dtype_of
from trueup.core.cells import KEY, OP
from trueup.errors import ObjectUnreadableError, WriteRefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import polars as pl

    from trueup.connectors.base import WriteBatch
    from trueup.connectors.carddav_http import Book, Dav, Reply

_TRIES = 4
_NAME_PARTS = ("prefix", "given", "additional", "family", "suffix")


@dataclass(slots=True)
class _Operation:
    """One operation, and what became of it. `version`: the ETag that the server gave the card as we sent it; None where it gave none."""

    number: int
    key: str | None
    values: dict[str, Any]
    expected: Mapping[str, Any] | None
    status: str = ""
    reason: str | None = None
    column: str | None = None
    version: str | None = None

    def end(self, status: str, reason: str | None = None, column: str | None = None) -> None:
        """Say what became of it."""
        self.status, self.reason, self.column = status, reason, column


class Writer:
    """Writes one batch to one address book."""

    def __init__(self, dav: Dav, book: Book, columns: Mapping[str, CardColumn], key: CardColumn, *, version: str, connections: int) -> None:
        """`version` is that of new cards."""
        self._dav = dav
        self._book = book
        self._columns = columns
        self._key = key
        self._version = version
        self._connections = connections

    def write(self, batch: WriteBatch) -> pl.DataFrame:
        """See base.Connector."""
        operations = self._operations(batch)
        if batch.kind == "create":
            groups = [[operation] for operation in operations if self._named(operation)]
            work = self._create
            fresh: dict[str, tuple[str, str]] = {}
        else:
            by_key: dict[str, list[_Operation]] = {}
            for operation in operations:
                by_key.setdefault(operation.key or "", []).append(operation)
            groups = list(by_key.values())
            work = self._update if batch.kind == "update" else self._delete
            fresh = self._dav.cards(self._book, [name_of(key) for key in by_key if is_name(key)])
        if batch.may_land is not None:
            batch.may_land()
        with ThreadPoolExecutor(self._connections, thread_name_prefix="carddav") as pool:
            for done in [pool.submit(_each, group, work, dict(fresh)) for group in groups]:
                done.result()
        return self._outcomes(batch, operations)

    def _operations(self, batch: WriteBatch) -> list[_Operation]:
        expected = {} if batch.expected is None else {row[OP]: row for row in batch.expected.iter_rows(named=True)}
        found = []
        for row in batch.rows.iter_rows(named=True):
            written = row.get("__write") if batch.kind == "update" else None
            names = batch.columns if written is None else written
            found.append(_Operation(row[OP], row[KEY], {name: row[name] for name in names}, expected.get(row[OP])))
        return found

    # ---------------------------------------------------------------- new cards

    def _named(self, operation: _Operation) -> bool:
        """Give a new card its key; False where it can have none."""
        given = operation.key or operation.values.get(self._key.name)
        key = f"{uuid.uuid4()}.vcf" if given is None else texted(given, self._key.type)
        operation.key = key
        if not is_name(key):
            operation.end("rejected", f"a card cannot have the key {key!r}", self._key.name)
            return False
        return True

    def _create(self, operation: _Operation, fresh: dict[str, tuple[str, str]]) -> None:
        del fresh
        assert operation.key is not None
        try:
            card = self._filled(self._empty(), operation)
            card = _complete(card, {self._columns[name].prop for name in operation.values})
        except CardError:
            return
        reply = self._put(operation.key, card, {"if-none-match": "*"})
        if reply.status in {200, 201, 204}:
            operation.end("done")
            operation.version = _strong(reply)
        elif reply.status == 412:
            operation.end("rejected", f"a card with the key {operation.key!r} exists already", self._key.name)
        else:
            self._refused(operation, reply)

    def _empty(self) -> Card:
        lines = [Line("VERSION", self._version), Line("UID", str(uuid.uuid4())), Line("REV", _now())]
        return Card(tuple(lines))

    # ---------------------------------------------------------------- cards that are there

    def _update(self, operation: _Operation, fresh: dict[str, tuple[str, str]]) -> None:
        moving = self._key.name in operation.values and operation.values[self._key.name] is not None
        if moving and texted(operation.values[self._key.name], self._key.type) != operation.key:
            operation.end("rejected", "a card's address stays what it is", self._key.name)
            return
        for _ in range(_TRIES):
            found = self._found(operation, fresh)
            if found is None:
                return
            etag, card = found
            if not self._as_expected(operation, card, operation.values):
                operation.end("stale", "the card changed since it was read")
                return
            try:
                filled = self._filled(card, operation)
            except CardError:
                return
            if filled.lines == card.lines:
                operation.end("done")
                return
            rev = filled.named("REV")
            filled = filled.with_lines(rev[:1], [rev[0].with_value(_now())]) if rev else filled
            assert operation.key is not None
            reply = self._put(operation.key, filled, {"if-match": etag})
            if reply.status in {200, 201, 204}:
                operation.end("done")
                operation.version = _strong(reply)
                return
            if reply.status not in {404, 410, 412}:
                self._refused(operation, reply)
                return
        operation.end("stale", "the card is being changed all the time")

    def _delete(self, operation: _Operation, fresh: dict[str, tuple[str, str]]) -> None:
        for _ in range(_TRIES):
            found = self._found(operation, fresh)
            if found is None:
                return
            etag, card = found
            if not self._as_expected(operation, card, None):
                operation.end("stale", "the card changed since it was read")
                return
            assert operation.key is not None
            reply = self._dav.ask("DELETE", self._address(operation.key), b"", {"if-match": etag})
            if reply.status in {200, 202, 204}:
                operation.end("done")
                return
            if reply.status not in {404, 410, 412}:
                self._refused(operation, reply)
                return
        operation.end("stale", "the card is being changed all the time")

    def _found(self, operation: _Operation, fresh: dict[str, tuple[str, str]]) -> tuple[str, Card] | None:
        """The card as it is, read ahead or now; None where it is gone, or cannot be read, which is said."""
        name = name_of(operation.key or "")
        told = fresh.pop(name, None)
        if told is None and is_name(operation.key or ""):
            told = self._dav.cards(self._book, [name]).get(name)
        if told is None:
            operation.end("gone", "there is no card with this key")
            return None
        etag, text = told
        if etag.startswith("W/"):
            raise ObjectUnreadableError(
                "the server gives weak ETags, under which no card can be written safely",
                hint="map it with direction: read",
                system=self._dav.system,
            )
        try:
            return etag, parsed(text)
        except CardError as error:
            operation.end("rejected", str(error))
            return None

    def _as_expected(self, operation: _Operation, card: Card, written: Mapping[str, Any] | None) -> bool:
        """Whether a card holds what was last read, null-safely: in the columns written, or in all that are expected of a delete."""
        for name, wanted in (operation.expected or {}).items():
            if name.startswith("__") or (written is not None and name not in written) or not self._columns[name].prop:
                continue
            try:
                if self._columns[name].read(card) != wanted:
                    return False
            except CardError:
                return False
        return True

    # ---------------------------------------------------------------- what both share

    def _filled(self, card: Card, operation: _Operation) -> Card:
        """The card with the values of an operation. Raises CardError for one that no card can hold, after it was said."""
        for name, value in operation.values.items():
            column = self._columns[name]
            if not column.prop:
                continue
            try:
                if not operation.expected and _holds(column, card, value):
                    continue
                card = column.written(card, value)
            except CardError as error:
                operation.end("rejected", str(error), name)
                raise
        return card

    def _put(self, key: str, card: Card, headers: dict[str, str]) -> Reply:
        told = {"content-type": "text/vcard; charset=utf-8", **headers}
        return self._dav.ask("PUT", self._address(key), card.written().encode(), told)

    def _address(self, key: str) -> str:
        return self._book.path + quoted(name_of(key))

    def _refused(self, operation: _Operation, reply: Reply) -> None:
        if reply.status == 507:
            raise WriteRefusedError("the server has no room left", hint="make room on it", system=self._dav.system)
        if reply.status == 405:
            raise WriteRefusedError("the address book can only be read", hint="map it with direction: read", system=self._dav.system)
        operation.end("rejected", f"the server refuses it ({reply.reason})")

    def _outcomes(self, batch: WriteBatch, operations: Sequence[_Operation]) -> pl.DataFrame:
        """The outcomes, with cards as stored: they are read once more, and count where nobody has changed them since."""
        outcomes = Outcomes(batch.returning, {name: dtype_of(self._columns[name].type) for name in batch.returning})
        done = [operation for operation in operations if operation.status == "done" and operation.key is not None]
        stored = self._dav.cards(self._book, [name_of(operation.key or "") for operation in done]) if batch.kind != "delete" else {}
        for operation in operations:
            row, version = None, None
            found = stored.get(name_of(operation.key or "")) if operation.status == "done" else None
            if found is not None:
                version = found[0]
                row = self._as_stored(batch, operation, *found)
            outcomes.add(
                operation.number,
                operation.status,
                key=operation.key,
                version=version,
                reason=operation.reason,
                column=operation.column,
                stored=row,
            )
        return outcomes.frame()

    def _as_stored(self, batch: WriteBatch, operation: _Operation, etag: str, text: str) -> dict[str, Any] | None:
        try:
            card = parsed(text)
            row = {name: self._shown(name, card, operation.key) for name in batch.returning}
            ours = etag == operation.version or all(
                _holds(self._columns[name], card, value) for name, value in operation.values.items() if self._columns[name].prop
            )
        except CardError:
            return None
        return row if ours else None

    def _shown(self, name: str, card: Card, key: str | None) -> Any:
        column = self._columns[name]
        return column.read(card) if column.prop else typed(key or "", column.type)


def _each(group: Sequence[_Operation], work: Any, fresh: dict[str, tuple[str, str]]) -> None:
    """Operations on one card, one after the other."""
    for operation in group:
        work(operation, fresh)


def _holds(column: CardColumn, card: Card, value: Any) -> bool:
    """Whether a card reads so already; a value that cannot be read is no such."""
    try:
        return bool(column.read(card) == value)
    except CardError:
        return False


def _complete(card: Card, written: set[str]) -> Card:
    """A new card with what every one must have: the name that is shown (FN), and in 3.0 its parts (N) as well."""
    names = card.named("N")
    if not card.named("FN"):
        parts = dict(zip(("family", "given", "additional", "prefix", "suffix"), names[0].fields(), strict=False)) if names else {}
        shown = " ".join(parts[part] for part in _NAME_PARTS if parts.get(part))
        instead = [line.fields()[0] for line in card.named("ORG")] + [line.text for line in card.named("EMAIL")]
        card = card.with_lines([], [Line("FN", escaped(shown or next((text for text in instead if text), "")))])
    if not names and card.version.startswith("3"):
        told = "" if "N" in written else escaped(card.named("FN")[0].text)
        card = card.with_lines([], [Line("N", f"{told};;;;")])
    return card


def _strong(reply: Reply) -> str | None:
    etag = reply.headers.get("etag")
    return None if etag is None or etag.startswith("W/") else etag


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
