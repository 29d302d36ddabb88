"""Outcomes, row by row, as the answers say; collected by several threads."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from trueup.connectors.base import OUTCOME_SCHEMA, join_key
from trueup.connectors.jsonl_text import ABSENT
from trueup.connectors.rest.pointer import at, parse, place
from trueup.connectors.rest.values import MisfitError, series
from trueup.errors import AccessRefusedError, SystemUnreachableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trueup.connectors.rest.answers import Trouble
    from trueup.connectors.rest.client import Client
    from trueup.connectors.rest.message import Response
    from trueup.connectors.rest.objects import RestObject
    from trueup.connectors.rest.schema import WriteShape
    from trueup.model import OperationKind


@dataclass(slots=True)
class Operation:
    """One row to write. `key` None: the application gives it; `parts`: the key's native values; `expected`: what must be found."""

    op: int
    key: str | None
    parts: dict[str, Any] | None
    values: dict[str, Any]
    expected: dict[str, Any] | None

    def text_key(self, obj: RestObject) -> str:
        """The key's text."""
        if self.key is not None:
            return self.key
        parts = [obj.key_part(name, value) for name, value in (self.parts or {}).items()]
        return parts[0] if len(parts) == 1 else join_key(parts)


class Verdicts:
    """The outcomes of one batch."""

    def __init__(self, obj: RestObject, returning: Sequence[str]) -> None:
        """`returning` are the columns to report where the application shows the row as stored."""
        self._obj = obj
        self._returning = tuple(returning)
        self._turn = threading.Lock()
        self._rows: list[tuple[Any, ...]] = []
        self._stored: list[dict[str, Any] | None] = []
        self._troubles: list[Exception] = []
        self._unknown: list[tuple[Operation, Exception]] = []
        self._forbidden = 0

    def add(
        self,
        operation: Operation,
        status: str,
        *,
        key: str | None = None,
        version: str | None = None,
        reason: str | None = None,
        column: str | None = None,
        retry_s: float | None = None,
        stored: dict[str, Any] | None = None,
    ) -> None:
        """Note one outcome."""
        row = (operation.op, status, key if key is not None else operation.key, version, reason, column, retry_s, stored is not None)
        with self._turn:
            self._rows.append(row)
            self._stored.append(stored)

    # ---------------------------------------------------------------- what answers say

    def created(self, operation: Operation, shape: WriteShape, response: Response) -> None:
        """A new row is there."""
        body = response.json()
        record = at(body, parse(shape.item)) if shape.item is not None else None
        key = self._new_key(shape, body, record)
        if key is None and operation.parts is not None:
            key = operation.text_key(self._obj)
        if key is None:
            found = at(body, ())
            key = self._obj.key_of(found) if isinstance(found, dict) else None
        if key is None:
            found_key = self._located(response)
            if found_key is None:
                raise SystemUnreachableError(
                    f"a row of {self._obj.name} was made, and the answer does not tell its key",
                    hint="say where it stands: `create: {id: /pointer}` in the connector file",
                )
            key = found_key
        self._done(operation, key, record, response)

    def _new_key(self, shape: WriteShape, body: Any, record: Any) -> str | None:
        if shape.id is not None:
            value = at(body, parse(shape.id))
            if value is not ABSENT and value is not None and len(self._obj.key) == 1:
                holder: dict[str, Any] = {}

                place(holder, self._obj.columns[self._obj.key[0]].path, value)
                return self._obj.key_of(holder)
        return self._obj.key_of(record) if isinstance(record, dict) else None

    def _located(self, response: Response) -> str | None:
        """The key as the last step of the Location header."""
        place_ = response.headers.get("location", "").rstrip("/").rpartition("/")[2]
        return place_ or None

    def updated(self, operation: Operation, shape: WriteShape, response: Response) -> None:
        """A row was changed."""
        record = at(response.json(), parse(shape.item)) if shape.item is not None else None
        self._done(operation, operation.key or operation.text_key(self._obj), record, response)

    def found(self, operation: Operation, record: Any) -> None:
        """A create of unknown outcome turned out to have been carried out."""
        key = self._obj.key_of(record) or operation.key
        self.add(operation, "done", key=key, version=self._obj.version_of(record), stored=self.stored(record))

    def _done(self, operation: Operation, key: str, record: Any, response: Response) -> None:
        shown = record if isinstance(record, dict) else None
        etag = response.headers.get("etag")
        version = self._obj.version_of(shown, etag) if shown is not None else (etag if self._obj.version == "etag" else None)
        self.add(operation, "done", key=key, version=version, stored=self.stored(shown))

    def stored(self, record: Any) -> dict[str, Any] | None:
        """The reported columns of a row as stored; None where it is not shown, or one of them cannot be read."""
        if not isinstance(record, dict):
            return None
        try:
            return {name: self._obj.columns[name].read(at(record, self._obj.columns[name].path)) for name in self._returning}
        except MisfitError:
            return None

    def taken(self, operation: Operation) -> None:
        """A new row's key belongs to another one."""
        self.add(operation, "rejected", reason=f"a row with the key {operation.text_key(self._obj)} exists", column=self._obj.key[0])

    def trouble(self, operation: Operation, kind: OperationKind, trouble: Trouble, client: Client) -> None:
        """An answer that is no success, as an outcome."""
        from trueup.connectors.rest.writing import column_at

        column = column_at(self._obj, trouble.column)
        match trouble.means:
            case "gone" if kind != "create":
                self.add(operation, "gone", reason="there is no row with this key")
            case "stale" if kind != "create":
                self.add(operation, "stale", reason=trouble.reason)
            case "duplicate" if kind == "create":
                self.add(operation, "rejected", reason=f"it exists: {trouble.reason}", column=column)
            case "throttled" | "transient" | "broken":
                self.add(operation, "retry", reason=trouble.reason, retry_s=trouble.wait_s)
            case "reauth":
                self.failed(operation, client.error(trouble, self._obj.name))
            case "forbidden":
                with self._turn:
                    self._forbidden += 1
                    self._troubles.append(client.error(trouble, self._obj.name))
                self.add(operation, "rejected", reason=trouble.reason, column=column)
            case _:
                self.add(operation, "rejected", reason=trouble.reason, column=column)

    # ---------------------------------------------------------------- what keeps the whole from being done

    def unreached(self, operation: Operation, error: Exception | None) -> None:
        """The system does not answer any more."""
        with self._turn:
            if error is not None:
                self._troubles.append(error)
        self.add(operation, "retry", reason=_told(error) if error is not None else "the system does not answer")

    def failed(self, operation: Operation, error: Exception) -> None:
        """The call as a whole cannot be carried on with."""
        with self._turn:
            self._troubles.append(error)
        if isinstance(error, AccessRefusedError):
            self.add(operation, "retry", reason=_told(error))
            with self._turn:
                self._forbidden += 1
        else:
            self.add(operation, "rejected", reason=_told(error))

    def unknown(self, operation: Operation, error: Exception) -> None:
        """A create of which nobody can tell whether it was carried out."""
        with self._turn:
            self._unknown.append((operation, error))

    # ---------------------------------------------------------------- the end

    def frame(self, client: Client) -> pl.DataFrame:
        """All outcomes. Raises where nothing at all was done, or where a create may have been carried out and nobody can tell."""
        if self._unknown:
            rows = f"{len(self._unknown)} new row{'s' if len(self._unknown) > 1 else ''}"
            raise SystemUnreachableError(
                f"{self._obj.name}: it is not known whether {rows} arrived: {_told(self._unknown[0][1])}",
                hint="they are looked for before anything is sent again; `match_on` in the connector file says by what",
                system=client.system,
            )
        statuses = {row[1] for row in self._rows}
        if self._troubles and "done" not in statuses:
            away = [error for error in self._troubles if isinstance(error, SystemUnreachableError)]
            if away and statuses == {"retry"}:
                raise away[0]
            if self._forbidden == len(self._rows):
                raise next(error for error in self._troubles if isinstance(error, AccessRefusedError))
        cells = zip(*self._rows, strict=True) if self._rows else ([] for _ in OUTCOME_SCHEMA)
        columns = [pl.Series(name, list(part), dtype=dtype) for (name, dtype), part in zip(OUTCOME_SCHEMA.items(), cells, strict=True)]
        columns += [
            series(name, [None if kept is None else kept.get(name) for kept in self._stored], self._obj.columns[name].type)
            for name in self._returning
        ]
        return pl.DataFrame(columns)


def _told(error: Exception) -> str:
    return str(getattr(error, "message", error))
