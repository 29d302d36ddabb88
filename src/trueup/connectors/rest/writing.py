"""Writing rows one by one: the precondition, the request, and what its answer means for the row."""

from __future__ import annotations

import threading
import uuid
from typing import TYPE_CHECKING, Any

import polars as pl

from trueup.connectors.rest.client import ReplyLostError
from trueup.connectors.rest.objects import canonical
from trueup.connectors.rest.pointer import at, last_name, parse
from trueup.connectors.rest.requests import built
from trueup.connectors.rest.tables import cells_of
from trueup.connectors.rest.template import places
from trueup.connectors.rest.values import MisfitError
from trueup.connectors.rest.verdicts import Operation, Verdicts
from trueup.errors import SystemUnreachableError, TrueupError, WriteRefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from concurrent.futures import ThreadPoolExecutor

    from trueup.connectors.base import WriteBatch
    from trueup.connectors.rest.answers import Trouble
    from trueup.connectors.rest.client import Client
    from trueup.connectors.rest.objects import RestObject
    from trueup.connectors.rest.reading import Reader
    from trueup.connectors.rest.schema import WriteShape
    from trueup.model import ObjectSpec, OperationKind

_MOST_CREATES = 2
_UNSURE = frozenset({"transient", "broken"})


class Writer:
    """Writes to one object."""

    def __init__(self, client: Client, obj: RestObject, reader: Reader, pool: ThreadPoolExecutor, spec: ObjectSpec) -> None:
        """The object has been described."""
        self._client = client
        self._obj = obj
        self._reader = reader
        self._pool = pool
        self._spec = spec
        self._down = threading.Event()
        self._header: list[str | None] | None = None

    def write(self, batch: WriteBatch) -> pl.DataFrame:
        """See base.Connector."""
        from trueup.connectors.rest.bulk import Bulk

        self._check(batch)
        verdicts = Verdicts(self._obj, batch.returning)
        operations = self._operations(batch, verdicts)
        bulk = Bulk(self._client, self._obj, self._reader, self, verdicts)
        left = bulk.write(batch.kind, operations) if operations else []
        self._each(batch.kind, left, verdicts)
        return verdicts.frame(self._client)

    def _check(self, batch: WriteBatch) -> None:
        obj = self._obj
        obj.need((*batch.columns, *batch.returning))
        obj.need(name for name in (batch.expected.columns if batch.expected is not None else ()) if not name.startswith("__"))
        for name in batch.columns:
            if not obj.columns[name].writable and name not in obj.key:
                raise WriteRefusedError(f"{obj.name}.{name} cannot be written", hint="map it for reading only", system=self._client.system)
        if self.shape_for(batch.kind) is None and not self._obj.shape.write.bulk:
            raise WriteRefusedError(
                f"the connector file does not say how to {batch.kind} {obj.name}",
                hint=f"add `write: {{{batch.kind}: …}}` to the object, or map it with direction: read",
                system=self._client.system,
            )

    def shape_for(self, kind: OperationKind) -> WriteShape | None:
        """The request for one row; a new row may be put in place by `upsert`."""
        write = self._obj.shape.write
        if kind == "create":
            return write.create or write.upsert
        return write.update or write.upsert if kind == "update" else write.delete

    # ---------------------------------------------------------------- operations

    def _operations(self, batch: WriteBatch, verdicts: Verdicts) -> list[Operation]:
        """What is to be done, without rows that cannot be done at all: those have their outcome."""
        expected = {} if batch.expected is None else {row["__op"]: row for row in batch.expected.to_dicts()}
        rows = batch.rows.to_dicts()
        keys = [row["__key"] for row in rows]
        parts = self._obj.key_parts([key if key is not None else "" for key in keys])
        found = []
        for row, own in zip(rows, parts, strict=True):
            op, key, chosen = row.pop("__op"), row.pop("__key"), row.pop("__write", None)
            values = row if chosen is None else {name: row[name] for name in chosen}
            operation = Operation(op, key, dict(own) if own is not None else None, values, expected.get(op))
            if self._prepared(batch.kind, operation, verdicts):
                found.append(operation)
        return found

    def _prepared(self, kind: OperationKind, operation: Operation, verdicts: Verdicts) -> bool:
        """Whether it can be tried; its key is put among the values of a new row, and taken out of others."""
        if kind == "create":
            return self._prepared_create(operation, verdicts)
        if operation.parts is None:
            verdicts.add(operation, "gone", reason="no row has such a key")
            return False
        for name in self._obj.key:
            if name in operation.values and operation.values[name] != operation.parts[name]:
                verdicts.add(operation, "rejected", reason="the key of a row cannot be changed", column=name)
                return False
            operation.values.pop(name, None)
        return self._spelled(operation, verdicts)

    def _prepared_create(self, operation: Operation, verdicts: Verdicts) -> bool:
        key = self._obj.key
        if operation.key is None and all(operation.values.get(name) is not None for name in key):
            operation.parts = {name: operation.values[name] for name in key}
        elif operation.key is None and self._spec.assign == "uuid":
            operation.parts = {name: str(uuid.uuid4()) for name in key}
        elif operation.key is not None and operation.parts is None:
            verdicts.add(operation, "rejected", reason="such a key cannot be stored", column=key[0])
            return False
        elif operation.key is None and not self._obj.shape.assigns_key:
            verdicts.add(operation, "rejected", reason="a new row needs a key here", column=key[0])
            return False
        if operation.parts is not None:
            operation.values = {**{name: operation.parts[name] for name in key}, **operation.values}
        return self._spelled(operation, verdicts)

    def _spelled(self, operation: Operation, verdicts: Verdicts) -> bool:
        """Whether all values have a form in this application."""
        for name, value in operation.values.items():
            column = self._obj.columns[name]
            try:
                column.write(value)
            except MisfitError as error:
                verdicts.add(operation, "rejected", reason=str(error), column=name)
                return False
        return True

    # ---------------------------------------------------------------- one by one

    def _each(self, kind: OperationKind, operations: Sequence[Operation], verdicts: Verdicts) -> None:
        """Operations on one row in their order; those on different rows side by side."""
        groups: dict[Any, list[Operation]] = {}
        for operation in operations:
            place = tuple(operation.parts.values()) if operation.parts is not None else ("new", operation.op)
            groups.setdefault(place, []).append(operation)

        def work(group: list[Operation]) -> None:
            for operation in group:
                self._try(kind, operation, verdicts)

        if len(groups) == 1:
            work(next(iter(groups.values())))
            return
        for _ in self._pool.map(work, groups.values()):
            pass

    def _try(self, kind: OperationKind, operation: Operation, verdicts: Verdicts) -> None:
        if self._down.is_set():
            verdicts.unreached(operation, None)
            return
        try:
            match kind:
                case "create":
                    self._create(operation, verdicts)
                case "update":
                    self._update(operation, verdicts)
                case _:
                    self._delete(operation, verdicts)
        except SystemUnreachableError as error:
            self._down.set()
            verdicts.unreached(operation, error)
        except TrueupError as error:
            verdicts.failed(operation, error)
        except ValueError as error:
            verdicts.add(operation, "rejected", reason=str(error))

    def scope(self, operation: Operation, *, row: Any = None, version: str | None = None) -> dict[str, Any]:
        """What requests about an operation may use."""
        inside, whole = self._obj.members(operation.values)
        scope: dict[str, Any] = {**self._obj.scope, "id": None, "key": {}}
        if operation.parts is not None:
            scope = self._obj.scope_of(operation.key or "", operation.parts)
            with_key = self._obj.members({**operation.parts, **operation.values})[1]
            whole = with_key
        merged = _merged(row, whole) if isinstance(row, dict) else whole
        if self._obj.is_table:
            scope["cells"] = cells_of(self._columns(row), {name: value for name, value in inside.items() if value is not None})
        scope["unique"] = str(uuid.uuid4())
        return {**scope, "fields": inside, "changed": inside, "record": whole, "row": merged, "version": version}

    def _columns(self, row: Any) -> list[str | None]:
        """The columns of a table: as they were when `row` was read just now, else asked for once for all new rows."""
        if isinstance(row, dict):
            return self._obj.header
        if self._header is None:
            self._header = self._reader.header()
        return self._header

    # ---------------------------------------------------------------- creating

    def _create(self, operation: Operation, verdicts: Verdicts) -> None:  # noqa: C901 - one page: ask, look again, ask once more
        shape = self.shape_for("create")
        if shape is None:
            verdicts.add(operation, "rejected", reason=f"the connector file does not say how a row of {self._obj.name} is made")
            return
        puts = shape is not self._obj.shape.write.create
        if puts and operation.parts is not None and self._reader.one(operation.text_key(self._obj), operation.parts) is not None:
            verdicts.taken(operation)
            return
        headers = {shape.idempotency.header: str(uuid.uuid4())} if shape.idempotency is not None else {}
        for attempt in range(1, _MOST_CREATES + 1):
            try:
                request = built(shape, self.scope(operation), headers=headers)
                response, trouble = self._client.ask(request, repeat=bool(headers) or puts)
            except ReplyLostError as error:
                lost: Exception = error
            else:
                if trouble is None:
                    verdicts.created(operation, shape, response)
                    return
                if trouble.means not in _UNSURE:
                    self._refused("create", operation, trouble, verdicts)
                    return
                lost = self._client.error(trouble, f"a new row of {self._obj.name}")
            found = self.looked_up(operation)
            if found is None:
                verdicts.unknown(operation, lost)
                return
            if found:
                verdicts.found(operation, found[0])
                return
            if attempt == _MOST_CREATES:
                verdicts.add(operation, "retry", reason=str(lost.args[0] if lost.args else lost))

    def looked_up(self, operation: Operation) -> list[Any] | None:
        """Rows that a create of unknown outcome may have made; None where nobody can tell."""
        if operation.parts is not None:
            found = self._reader.one(operation.text_key(self._obj), operation.parts)
            return [found[0]] if found is not None else []
        names = [name for name in self._obj.shape.match_on if operation.values.get(name) is not None]
        if not names:
            return None
        cells = {name: pl.Series(name, [operation.values[name]], dtype=verdict_type(self._obj, name)) for name in names}
        keys = self._reader.find(self._obj.key, pl.DataFrame(cells))["__key"].to_list()
        return [record for found in self._reader.by_key(keys) for record, _ in found] if keys else []

    # ---------------------------------------------------------------- changing

    def _update(self, operation: Operation, verdicts: Verdicts) -> None:
        shape = self.shape_for("update")
        if shape is None:
            verdicts.add(operation, "rejected", reason=f"the connector file does not say how a row of {self._obj.name} is changed")
            return
        if not operation.values:
            exists = self._reader.one(operation.text_key(self._obj), operation.parts or {}) is not None
            verdicts.add(operation, "done" if exists else "gone", reason=None if exists else "there is no row with this key")
            return
        self._change("update", shape, operation, verdicts)

    def _delete(self, operation: Operation, verdicts: Verdicts) -> None:
        shape = self.shape_for("delete")
        if shape is None:
            verdicts.add(operation, "rejected", reason=f"the connector file does not say how a row of {self._obj.name} is deleted")
            return
        self._change("delete", shape, operation, verdicts)

    def _change(self, kind: OperationKind, shape: WriteShape, operation: Operation, verdicts: Verdicts) -> None:
        mode = self._obj.write_precondition(shape)
        version = (operation.expected or {}).get("__version")
        needs_row = any(place.name.partition(".")[0] == "row" for place in places(shape.body))
        row = None
        if mode == "read_compare" or needs_row or (mode == "native" and operation.expected is not None and version is None):
            found = self._reader.one(operation.text_key(self._obj), operation.parts or {})
            if found is None or self._obj.is_gone(found[0]):
                verdicts.add(operation, "gone", reason="there is no row with this key")
                return
            row = found[0]
            if operation.expected is not None and (mode != "none") and not self.is_as_expected(operation, row, kind):
                verdicts.add(operation, "stale", reason="the row changed since it was read")
                return
            version = self._obj.version_of(row, found[1]) if version is None else version
        headers = {}
        if mode == "native" and not isinstance(shape.precondition, str) and shape.precondition is not None and shape.precondition.header:
            headers = {shape.precondition.header: version} if version is not None else {}
        response, trouble = self._client.ask(built(shape, self.scope(operation, row=row, version=version), headers=headers), repeat=True)
        if trouble is not None:
            self._refused(kind, operation, trouble, verdicts)
        elif kind == "delete":
            verdicts.add(operation, "done")
        else:
            verdicts.updated(operation, shape, response)

    def is_as_expected(self, operation: Operation, record: Any, kind: OperationKind) -> bool:
        """Whether a record still holds what was last read, null-safely: in the columns written, or in all that are expected of a delete."""
        for name, wanted in (operation.expected or {}).items():
            if name.startswith("__") or (kind == "update" and name not in operation.values):
                continue
            column = self._obj.columns[name]
            try:
                value = column.read(at(record, column.path))
            except MisfitError:
                return False
            if canonical(column, value) != canonical(column, wanted):
                return False
        return True

    def _refused(self, kind: OperationKind, operation: Operation, trouble: Trouble, verdicts: Verdicts) -> None:
        verdicts.trouble(operation, kind, trouble, self._client)


def verdict_type(obj: RestObject, name: str) -> pl.DataType:
    """The Polars type of a column."""
    from trueup.connectors.sql_types import dtype_of

    return dtype_of(obj.columns[name].type)


def _merged(row: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(row)
    for name, value in over.items():
        inner = merged.get(name)
        merged[name] = _merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    merged.pop("$parent", None)
    return merged


def column_at(obj: RestObject, told: str | None) -> str | None:
    """The column that an error names, by its name, or the pointer or path that ends with it; None where it names none."""
    if told is None:
        return None
    name = last_name(parse(told)) if told.startswith("/") else told
    for candidate in (told, name, name.rpartition(".")[2]):
        if candidate in obj.columns:
            return candidate
    return next((column.name for column in obj.columns.values() if column.path and column.path[-1] == name), None)
