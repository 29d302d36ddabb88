"""Jobs of the conformance service: lists that are made ready first, and rows that are handed over and written later."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trueup.connectors.jsonl_text import parse_line
from trueup.connectors.rest.message import json_bytes
from trueup.testing.rest_http import Answer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trueup.testing.rest_service import RestService


class RefusedError(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: int, message: str, field_: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.field = status, message, field_


class Exports:
    """`POST /exports/NAME` begins one, `GET /exports/JOB` tells of it, `GET /exports/JOB/rows` brings the rows.

    `GET /exports/JOB/table` brings them as CSV, `limit` on a page, and says in a header where the next page begins.
    """

    def __init__(self, service: RestService) -> None:
        self._service = service
        self._jobs: dict[str, tuple[str, int]] = {}

    def answer(self, method: str, name: str, more: list[str], query: Mapping[str, str]) -> Answer:
        """`name` is the collection's, and then the number of the job."""
        if method == "POST":
            self._service.collection(name)
            number = str(len(self._jobs) + 1)
            self._jobs[number] = (name, 2)
            return self._service.json({"job": number, "status": "waiting"}, 202)
        if name not in self._jobs:
            raise RefusedError(404, "there is no such job")
        collection, left = self._jobs[name]
        if more == ["table"]:
            start, size = int(query.get("from", 0)), int(query.get("limit", 100))
            found = [{"id": one["id"], **one["attributes"]} for one in self._service.shown_all(self._service.collection(collection))]
            return _table(found[start : start + size], str(start + size) if start + size < len(found) else None)
        if more:
            rows = self._service.shown_all(self._service.collection(collection))
            return Answer(200, b"\n".join(map(json_bytes, rows)), {"content-type": "application/jsonl"})
        self._jobs[name] = (collection, left - 1)
        if left > 1:
            return self._service.json({"job": name, "status": "running"})
        return self._service.json({"job": name, "status": "done", "url": f"{self._service.url}/exports/{name}/rows"})


@dataclass(slots=True)
class _Import:
    name: str
    op: str
    inputs: list[Any]
    left: int
    forgotten: bool
    status: str = "running"
    rows: list[dict[str, str]] = field(default_factory=list)
    results: list[dict[str, Any]] = field(default_factory=list)


class Imports:
    """`POST /imports/NAME` with `{"op", "inputs": […]}` begins one; the rows are written when it is done.

    `GET /imports/JOB` tells of it, with `results` as a batch has them, and `GET /imports` lists those that have not ended.

    With `{"op", "csv": true}` it waits for its rows, which come by `PUT /imports/JOB/rows` as CSV, until `PATCH /imports/JOB` says that
    these were all; `DELETE /imports/JOB` ends it. `GET /imports/JOB/written` and `…/failed` then show these rows again, two on a page.
    """

    def __init__(self, service: RestService) -> None:
        self._service = service
        self._jobs: dict[str, _Import] = {}

    def answer(self, method: str, more: list[str], body: bytes, query: Mapping[str, str]) -> Answer:
        """`more`: the collection's name, or the number of the job."""
        if method == "POST":
            return self._begun(more[0], parse_line(body))
        for job in self._jobs.values():
            self._go_on(job)
        if not more:
            open_ones = [{"job": number, "status": job.status} for number, job in self._jobs.items() if job.status in {"open", "running"}]
            return self._service.json({"data": open_ones})
        asked = self._jobs.get(more[0])
        if asked is None or asked.forgotten:
            raise RefusedError(404, "there is no such job")
        if method != "GET" or more[1:]:
            return self._in_steps(method, asked, tuple(more[1:]), body, query)
        told = {"job": more[0], "status": asked.status, "results": asked.results}
        return self._service.json({**told, "reason": "the disk is full"} if asked.status == "failed" else told)

    def _begun(self, name: str, said: Any) -> Answer:
        self._service.collection(name)
        number, traps = str(len(self._jobs) + 1), self._service.traps
        forgotten = traps.import_forgets > 0
        traps.import_forgets -= forgotten
        job = self._jobs[number] = _Import(name, str(said["op"]), list(said.get("inputs", ())), traps.import_looks, forgotten)
        if not said.get("csv"):
            return self._service.json({"job": number, "status": "waiting"}, 202)
        job.status = "open"
        return self._service.json({"job": number, "status": "open", "rows": f"/imports/{number}/rows"}, 201)

    def _in_steps(self, method: str, job: _Import, more: tuple[str, ...], body: bytes, query: Mapping[str, str]) -> Answer:
        match (method, *more):
            case ("PUT", "rows") if job.status == "open":
                job.rows += list(csv.DictReader(io.StringIO(body.decode(), newline="")))
                return Answer(204)
            case ("PATCH",) if job.status == "open":
                job.inputs = [{"id": row.get("id"), "attributes": {n: v for n, v in row.items() if n != "id"}} for row in job.rows]
                job.status = "running"
                return self._service.json({"status": "running"})
            case ("DELETE",) if job.status == "open":
                job.status = "cancelled"
                return Answer(204)
            case ("GET", "written" | "failed"):
                start = int(query.get("from", 0))
                told = [
                    (row, result)
                    for row, result in zip(job.rows, job.results, strict=False)
                    if ("error" in result) == (more[0] == "failed")
                ]
                return _as_csv(told[start : start + 2], str(start + 2) if start + 2 < len(told) else None)
        raise RefusedError(409, f"this cannot be done with a job that is {job.status}")

    def _go_on(self, job: _Import) -> None:
        if job.status != "running" or self._service.traps.import_stuck:
            return
        job.left -= 1
        if job.left > 0:
            return
        fails = self._service.traps.import_fails
        job.status = "failed" if fails else "done"
        inputs = job.inputs[: len(job.inputs) // 2] if fails else job.inputs
        results = self._service.carried_out(self._service.collection(job.name), job.op, inputs)
        job.results = [] if fails else results


def _as_csv(told: Sequence[tuple[dict[str, str], dict[str, Any]]], following: str | None) -> Answer:
    """Rows as they came, each with its key or with what was wrong."""
    rows = [{"sys__id": result.get("id"), "sys__error": result.get("error", {}).get("message"), **row} for row, result in told]
    return _table(rows, following)


def _table(rows: Sequence[Mapping[str, Any]], following: str | None) -> Answer:
    """Rows as CSV; `following`: where the next page begins."""
    lines = io.StringIO(newline="")
    out = csv.DictWriter(lines, list(dict.fromkeys(name for row in rows for name in row)), restval="")
    out.writeheader()
    out.writerows(rows)
    return Answer(200, lines.getvalue().encode(), {"content-type": "text/csv", **({} if following is None else {"x-next": following})})
