"""Writing many rows in one request, each with an outcome of its own. A request refused as a whole is split until the bad row is found."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from trueup.connectors.jsonl_text import ABSENT
from trueup.connectors.rest.answers import Trouble, shortened
from trueup.connectors.rest.client import ReplyLostError
from trueup.connectors.rest.imports import Imports
from trueup.connectors.rest.lines import CONTENT_TYPES, bytes_of, cell
from trueup.connectors.rest.pointer import at, parse
from trueup.connectors.rest.requests import built
from trueup.connectors.rest.template import places, render
from trueup.errors import SystemUnreachableError, TrueupError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from trueup.connectors.rest.client import Client
    from trueup.connectors.rest.message import Request, Response
    from trueup.connectors.rest.objects import RestObject
    from trueup.connectors.rest.reading import Reader
    from trueup.connectors.rest.schema import BulkShape, ImportShape, RequestShape
    from trueup.connectors.rest.verdicts import Operation, Verdicts
    from trueup.connectors.rest.writing import Writer
    from trueup.model import OperationKind

_MEANS = {401: "reauth", 403: "forbidden", 404: "gone", 409: "duplicate", 410: "gone", 412: "stale", 429: "throttled"}


class Bulk:
    """The bulk requests of one object, for one batch."""

    def __init__(self, client: Client, obj: RestObject, reader: Reader, writer: Writer, verdicts: Verdicts) -> None:
        """As the writer's."""
        self._client = client
        self._obj = obj
        self._reader = reader
        self._writer = writer
        self._verdicts = verdicts
        self._imports = Imports(client, obj)
        self._open: SystemUnreachableError | None = None  # of a job nobody knows what it did, or does: no other is begun
        self._rows: dict[str, Any] = {}  # the rows that were read just before, by key

    def write(self, kind: OperationKind, operations: Sequence[Operation]) -> list[Operation]:
        """Write what can be written in bulk; what cannot comes back."""
        bulk = self._obj.shape.write.bulk
        shape = bulk.get(kind) or (bulk.get("upsert") if kind in {"create", "update"} else None)
        if shape is None or (len(operations) == 1 and self._writer.shape_for(kind) is not None):
            return list(operations)
        upserts = kind not in bulk
        mode = self._mode(kind)
        rows = list(operations)
        left: list[Operation] = []
        if kind != "create" and mode == "native" and any(operation.expected is not None for operation in rows):
            able = self._names(shape, "version")
            left = [operation for operation in rows if not able or (operation.expected or {}).get("__version") is None]
            rows = [operation for operation in rows if operation not in left]
        elif kind != "create" and (mode == "read_compare" or (upserts and mode == "none")):
            rows = self._compared(kind, rows, compare=mode == "read_compare")
        elif upserts:
            rows = self._new_ones(rows)
        for round_ in _rounds(rows):
            for alike in self._alike(kind, shape, round_):
                for start in range(0, len(alike), shape.max):
                    self._send(kind, shape, alike[start : start + shape.max])
        return left

    def _alike(self, kind: OperationKind, shape: BulkShape, operations: Sequence[Operation]) -> Iterable[Sequence[Operation]]:
        """Rows that may go together: in CSV those with the same columns, as an empty cell would be a value."""
        if shape.format != "csv":
            return [operations]
        groups: dict[tuple[str, ...], list[Operation]] = {}
        for operation in operations:
            groups.setdefault(tuple(self._item(kind, shape, operation, 0)), []).append(operation)
        return groups.values()

    def _mode(self, kind: OperationKind) -> str:
        shape = self._writer.shape_for(kind)
        return self._obj.write_precondition(shape) if shape is not None else "read_compare"

    def _names(self, shape: BulkShape, name: str) -> bool:
        return any(place.name.partition(".")[0] == name for place in places((shape.item, shape.body)))

    # ---------------------------------------------------------------- before

    def _compared(self, kind: OperationKind, operations: Sequence[Operation], *, compare: bool) -> list[Operation]:
        """Those of which the rows are there, and as expected; the others have their outcome."""
        records = self._rows = self._present(operations)
        kept = []
        for operation in operations:
            record = records.get(operation.key or "")
            if record is None:
                self._verdicts.add(operation, "gone", reason="there is no row with this key")
            elif compare and operation.expected is not None and not self._writer.is_as_expected(operation, record, kind):
                self._verdicts.add(operation, "stale", reason="the row changed since it was read")
            elif kind == "update" and not operation.values:
                self._verdicts.add(operation, "done")
            else:
                kept.append(operation)
        return kept

    def _new_ones(self, operations: Sequence[Operation]) -> list[Operation]:
        """Those of which the key is not taken yet: an upsert would write over the row that has it."""
        keyed = [operation for operation in operations if operation.parts is not None]
        records = self._present(keyed) if keyed else {}
        kept, seen = [], set()
        for operation in operations:
            key = operation.text_key(self._obj) if operation.parts is not None else None
            if key is not None and (key in records or key in seen):
                self._verdicts.taken(operation)
                continue
            seen.add(key)
            kept.append(operation)
        return kept

    def _present(self, operations: Sequence[Operation]) -> dict[str, Any]:
        keys = [operation.text_key(self._obj) for operation in operations]
        found = [record for records in self._reader.by_key(keys) for record, _ in records]
        known = self._obj.keys_of(found, {})
        doubled = self._obj.doubled(found, known)
        return {key: record for key, record in zip(known, found, strict=True) if key is not None and key not in doubled}

    # ---------------------------------------------------------------- one request

    def _send(self, kind: OperationKind, shape: BulkShape, operations: Sequence[Operation]) -> None:
        if self._open is not None:
            self._unanswered(kind, shape, operations, self._open)
            return
        try:
            items = [self._item(kind, shape, operation, number) for number, operation in enumerate(operations)]
            if shape.job is not None and shape.job.upload is not None:
                response, trouble = self._uploaded(shape, shape.job, items)
            else:
                request = _with_rows(shape, shape, {**self._obj.scope, "id": None, "key": {}}, items)
                response, trouble = self._client.ask(request, repeat=kind != "create" and shape.job is None)
        except TrueupError as error:
            self._unanswered(kind, shape, operations, error)
            return
        if trouble is None and shape.job is not None:
            self._await(kind, shape, shape.job, operations, response, items)
        elif trouble is None:
            self._settle(kind, shape, operations, response.json(), items)
        elif trouble.means in {"rejected", "page_size", "duplicate", "gone", "stale"} and len(operations) > 1:
            half = len(operations) // 2
            self._send(kind, shape, operations[:half])
            self._send(kind, shape, operations[half:])
        elif kind == "create" and trouble.means in {"transient", "broken"} and (shape.job is None or shape.job.upload is None):
            self._unsure(kind, operations, self._client.error(trouble, self._obj.name), later=shape.job is not None)
        else:
            for operation in operations:
                self._verdicts.trouble(operation, kind, trouble, self._client)

    def _uploaded(self, shape: BulkShape, job: ImportShape, items: Sequence[Any]) -> tuple[Response, Trouble | None]:
        """Make a job, and give it its rows. Until it is closed it writes nothing, so that an empty one too many does no harm."""
        try:
            response, trouble = self._client.ask(built(shape, {**self._obj.scope, "id": None, "key": {}}), repeat=True)
        except ReplyLostError as error:
            raise SystemUnreachableError(error.message, hint=error.hint, system=error.system) from error
        if trouble is None:
            trouble = self._imports.upload(job, response.json(), lambda upload, scope: _with_rows(shape, upload, scope, items))
        return response, trouble

    def _unanswered(self, kind: OperationKind, shape: BulkShape, operations: Sequence[Operation], error: TrueupError) -> None:
        if isinstance(error, ReplyLostError):
            self._unsure(kind, operations, error, later=shape.job is not None)
            return
        for operation in operations:
            if isinstance(error, SystemUnreachableError):
                self._verdicts.unreached(operation, error)
            else:
                self._verdicts.failed(operation, error)

    def _await(
        self,
        kind: OperationKind,
        shape: BulkShape,
        job: ImportShape,
        operations: Sequence[Operation],
        response: Response,
        items: Sequence[Any],
    ) -> None:
        try:
            told = self._imports.ended(job, response.json())
        except TrueupError as error:
            self._open = SystemUnreachableError(error.message, hint=error.hint, system=self._client.system)
            self._unsure(kind, operations, self._open, later=True)
            return
        self._settle(kind, shape, operations, told, items)

    def _item(self, kind: OperationKind, shape: BulkShape, operation: Operation, number: int) -> Any:
        template = shape.item
        if template is None:
            own = self._obj.shape.write.create
            template = (own.body if kind == "create" and own is not None else None) or ("${id}" if kind == "delete" else "${record}")
        version = (operation.expected or {}).get("__version")
        row = self._rows.get(operation.text_key(self._obj)) if self._rows and operation.parts is not None else None
        return render(template, {**self._writer.scope(operation, row=row, version=version), "number": number})

    def _unsure(self, kind: OperationKind, operations: Sequence[Operation], error: Exception, *, later: bool = False) -> None:
        """The request may have been carried out, or a part of it; `later`: it may still be, so that nothing is looked up yet."""
        for operation in operations:
            if kind != "create":
                self._verdicts.unreached(operation, error)
                continue
            if later:
                self._verdicts.unknown(operation, error)
                continue
            try:
                found = self._writer.looked_up(operation)
            except TrueupError:
                found = None
            if found is None:
                self._verdicts.unknown(operation, error)
            elif found:
                self._verdicts.found(operation, found[0])
            else:
                self._verdicts.add(operation, "retry", reason=str(getattr(error, "message", error)))

    # ---------------------------------------------------------------- results

    def _settle(self, kind: OperationKind, shape: BulkShape, operations: Sequence[Operation], body: Any, items: Sequence[Any]) -> None:
        told = [_list_at(body, pointer) for pointer in (shape.results, shape.errors)]
        if shape.pair_by == "row":
            results, failures = (_repeated(operations, items, rows) for rows in told)
        else:
            results = self._paired(shape, operations, told[0])
            failures = self._paired(shape, operations, told[1], only_failures=True)
        for operation in operations:
            failure = failures.get(operation.op)
            result = results.get(operation.op)
            if failure is None and result is not None and self._has_failed(shape, result):
                failure = result
            if failure is not None:
                self._verdicts.trouble(operation, kind, self._trouble(shape, failure), self._client)
            elif shape.results is not None and result is None:
                self._unsure(kind, [operation], SystemUnreachableError("the answer says nothing about this row"))
            else:
                self._done(kind, shape, operation, result)

    def _paired(
        self, shape: BulkShape, operations: Sequence[Operation], results: Sequence[Any], *, only_failures: bool = False
    ) -> dict[int, Any]:
        """Operation's number -> what is told of it."""
        if shape.pair_by == "key":
            assert shape.key is not None
            by_key = {operation.text_key(self._obj): operation.op for operation in operations if operation.parts is not None}
            told = {str(at(result, parse(shape.key))): result for result in results}
            return {op: told[key] for key, op in by_key.items() if key in told}
        found = {}
        index = (shape.error_index if only_failures else None) or shape.index
        for number, result in enumerate(results):
            place: Any = number
            if index is not None:
                place = at(result, parse(index))
                place = int(place) if isinstance(place, str) and place.isdecimal() else place
            elif only_failures and not isinstance(result, dict):
                continue
            if isinstance(place, int) and 0 <= place < len(operations):
                found[operations[place].op] = result
        return found

    def _has_failed(self, shape: BulkShape, result: Any) -> bool:
        if shape.error is not None and at(result, parse(shape.error)) not in (ABSENT, None, False, "", [], {}):
            return True
        status = at(result, parse(shape.status)) if shape.status is not None else ABSENT
        return str(status).isdigit() and int(str(status)) >= 400

    def _trouble(self, shape: BulkShape, failure: Any) -> Trouble:
        status = at(failure, parse(shape.status)) if shape.status is not None else ABSENT
        number = int(str(status)) if str(status).isdigit() else 0
        said = at(failure, parse(shape.message)) if shape.message is not None else at(failure, ("message",))
        if not isinstance(said, str) and shape.error is not None:
            said = at(failure, parse(shape.error))
        field = at(failure, parse(shape.field)) if shape.field is not None else None
        means = _MEANS.get(number) or ("transient" if number >= 500 else "rejected")
        reason = shortened(said) if isinstance(said, str) and said.strip() else f"it was refused{f' (status {number})' if number else ''}"
        return Trouble(means, reason, None, field if isinstance(field, str) else None, number)

    def _done(self, kind: OperationKind, shape: BulkShape, operation: Operation, result: Any) -> None:
        record = at(result, parse(shape.row)) if shape.row is not None and result is not None else None
        record = record if isinstance(record, dict) else None
        key = operation.text_key(self._obj) if operation.parts is not None else None
        if key is None and result is not None:
            value = at(result, parse(shape.id)) if shape.id is not None else ABSENT
            key = str(value) if value is not ABSENT and value is not None else self._obj.key_of(record) if record else None
        if key is None:
            self._unsure(kind, [operation], SystemUnreachableError("a row was made, and the answer does not tell its key"))
            return
        stored = self._verdicts.stored(record) if kind != "delete" else None
        version = self._obj.version_of(record) if record is not None else None
        self._verdicts.add(operation, "done", key=key, version=version, stored=stored)


def _list_at(body: Any, pointer: str | None) -> Sequence[Any]:
    if pointer is None:
        return ()
    found = at(body, parse(pointer))
    return found if isinstance(found, list) else ()


def _with_rows(shape: BulkShape, request: RequestShape, scope: Mapping[str, Any], items: Sequence[Any]) -> Request:
    """The request with the rows as its body, or within it."""
    if shape.format != "json":
        made = built(request, scope)
        return replace(made, headers={"content-type": CONTENT_TYPES[shape.format], **made.headers}, body=bytes_of(items, shape.format))
    return (
        built(request, scope, {f"body.{shape.items}": items}) if shape.items else built(request.model_copy(update={"body": items}), scope)
    )


def _repeated(operations: Sequence[Operation], items: Sequence[Any], told: Sequence[Any]) -> dict[int, Any]:
    """Operation's number -> the row that repeats its cells; of rows that were sent alike, each has one."""
    sent: dict[tuple[str, ...], list[int]] = {}
    for operation, item in zip(operations, items, strict=True):
        sent.setdefault(tuple(cell(value) for value in item.values()), []).append(operation.op)
    names = list(items[0])
    found = {}
    for row in told:
        same = sent.get(tuple(cell(row.get(name)) for name in names)) if isinstance(row, dict) else None
        if same:
            found[same.pop(0)] = row
    return found


def _rounds(operations: Sequence[Operation]) -> list[list[Operation]]:
    """Operations in rounds in which no row comes twice."""
    rounds: list[list[Operation]] = []
    times: dict[Any, int] = {}
    for operation in operations:
        place = tuple(operation.parts.values()) if operation.parts is not None else ("new", operation.op)
        number = times.get(place, 0)
        times[place] = number + 1
        if number == len(rounds):
            rounds.append([])
        rounds[number].append(operation)
    return rounds
