"""Jobs of the conformance service: lists that are made ready first, and rows that are handed over and written later."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from trueup.connectors.jsonl_text import parse_line
from trueup.connectors.rest.message import json_bytes
from trueup.testing.rest_http import Answer

if TYPE_CHECKING:
    from trueup.testing.rest_service import RestService


class RefusedError(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: int, message: str, field_: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.field = status, message, field_


class Exports:
    """`POST /exports/NAME` begins one, `GET /exports/JOB` tells of it, `GET /exports/JOB/rows` brings the rows."""

    def __init__(self, service: RestService) -> None:
        self._service = service
        self._jobs: dict[str, tuple[str, int]] = {}

    def answer(self, method: str, name: str, more: list[str]) -> Answer:
        """`name` is the collection's, and then the number of the job."""
        if method == "POST":
            self._service.collection(name)
            number = str(len(self._jobs) + 1)
            self._jobs[number] = (name, 2)
            return self._service.json({"job": number, "status": "waiting"}, 202)
        if name not in self._jobs:
            raise RefusedError(404, "there is no such job")
        collection, left = self._jobs[name]
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
    results: list[dict[str, Any]] = field(default_factory=list)


class Imports:
    """`POST /imports/NAME` with `{"op", "inputs": […]}` begins one; the rows are written when it is done.

    `GET /imports/JOB` tells of it, with `results` as a batch has them, and `GET /imports` lists those that have not ended.
    """

    def __init__(self, service: RestService) -> None:
        self._service = service
        self._jobs: dict[str, _Import] = {}

    def answer(self, method: str, more: list[str], body: bytes) -> Answer:
        """`more`: the collection's name, or the number of the job."""
        if method == "POST":
            self._service.collection(more[0])
            said, number = parse_line(body), str(len(self._jobs) + 1)
            traps = self._service.traps
            forgotten = traps.import_forgets > 0
            traps.import_forgets -= forgotten
            self._jobs[number] = _Import(more[0], str(said["op"]), list(said["inputs"]), traps.import_looks, forgotten)
            return self._service.json({"job": number, "status": "waiting"}, 202)
        for job in self._jobs.values():
            self._go_on(job)
        if not more:
            open_ones = [{"job": number, "status": job.status} for number, job in self._jobs.items() if job.status == "running"]
            return self._service.json({"data": open_ones})
        asked = self._jobs.get(more[0])
        if asked is None or asked.forgotten:
            raise RefusedError(404, "there is no such job")
        told = {"job": more[0], "status": asked.status, "results": asked.results}
        return self._service.json({**told, "reason": "the disk is full"} if asked.status == "failed" else told)

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
