"""What takes its time: a run, a plan, a comparison, an undo, a report. Each is done by the command itself, in a process of its own.

So it delays no page, costs no memory here once it is over, and says what the command says. The audit trail tells who asked for it, and why.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import subprocess
import sys
import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import orjson
from fastapi import APIRouter, Query
from pydantic import Field, StrictBool, StrictInt, StrictStr
from starlette.requests import Request
from starlette.responses import Response

from trueup.errors import UsageError
from trueup.web.access.problems import Problem
from trueup.web.access.user import User
from trueup.web.api.deciding import Body
from trueup.web.api.parts import LARGEST, Here, Number, Once, Operator, Reviewer, Viewer, Why, answer
from trueup.web.desk.place import Place

if TYPE_CHECKING:
    from collections.abc import Sequence

router = APIRouter(prefix="/api/v1", route_class=Once, tags=["do"])
MOST_AT_ONCE = 2
KEPT = 100
PATIENCE_S = 60
"""A run waits so long for whoever works on the state."""
Wait = Annotated[float, Query(ge=0, le=60, description="Wait so many seconds for the end, and answer with the result if it comes.")]
ENDS = {0: "done", 1: "could not run", 2: "wrong usage", 3: "done, and something needs a person", 4: "held by a guard"}


@dataclass
class Job:
    """One command at work, or ended: `exit` is its status, `result` what it printed, `error` what it complained of."""

    id: str
    command: str
    by: str
    began_at: datetime
    process: subprocess.Popen[bytes]
    exit: int | None = None
    result: Any = None
    error: str | None = None
    ended_at: datetime | None = None
    over: threading.Event = field(default_factory=threading.Event)

    def plain(self) -> dict[str, Any]:
        """As it is told."""
        state = "running" if self.exit is None else "ended"
        told = {name: getattr(self, name) for name in ("id", "command", "by", "began_at", "ended_at", "exit", "error", "result")}
        return told | {"state": state, "means": None if self.exit is None else ENDS.get(self.exit, "stopped")}


class Jobs:
    """The jobs of one desk."""

    def __init__(self) -> None:
        """None yet."""
        self._all: deque[Job] = deque()
        self._guard = threading.Lock()

    def begin(self, here: Place, user: User, command: Sequence[str], why: str, shown: str) -> Job:
        """Begin a command. Raises Problem where too many are at work."""
        with self._guard:
            if sum(job.exit is None for job in self._all) >= MOST_AT_ONCE:
                raise Problem(503, f"{MOST_AT_ONCE} jobs are at work", kind="busy", hint="try again when one has ended", retry_after_s=10)
            while len(self._all) >= KEPT and self._all[0].exit is not None:
                self._all.popleft()
            process = subprocess.Popen(
                [sys.executable, "-m", "trueup.cli.for_somebody"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
            job = Job(secrets.token_hex(8), shown, user.name, here.clock(), process)
            self._all.append(job)
        actor = user.actor
        order = {"name": actor.name, "through": actor.through, "key": actor.key, "why": why, "command": ["-c", here.config.file, *command]}
        threading.Thread(target=self._follow, args=(job, here, orjson.dumps(order)), name="job", daemon=True).start()
        return job

    def get(self, number: str) -> Job:
        """One. Raises Problem where there is none."""
        with self._guard:
            for job in self._all:
                if job.id == number:
                    return job
        raise Problem(404, f"there is no job {number[:40]!r}", kind="not-found", hint="jobs are forgotten with the server")

    def all(self) -> list[Job]:
        """All of them, the newest first."""
        with self._guard:
            return list(reversed(self._all))

    def stop(self) -> None:
        """Interrupt whatever is at work: what was done stands, and the next run goes on from there."""
        for job in self.all():
            if job.exit is None:
                with suppress(OSError):
                    os.killpg(job.process.pid, signal.SIGINT)

    @staticmethod
    def _follow(job: Job, here: Place, order: bytes) -> None:
        out, err = job.process.communicate(order)
        with suppress(orjson.JSONDecodeError):
            job.result = orjson.loads(out) if out.strip() else None
        job.error = " ".join(err.decode("utf-8", "replace").removeprefix("trueup: ").split())[:2000] or None
        job.ended_at = here.clock()
        job.exit = job.process.returncode
        job.over.set()


class Sync(Body):
    """What a run is to look at; nothing: everything."""

    entities: list[StrictStr] = Field(default_factory=list, max_length=200)
    full: StrictBool = Field(default=False, description="Complete listings.")
    limit: StrictInt | None = Field(None, ge=0, le=LARGEST, description="At most so many deliveries per system.")
    entity: StrictStr | None = Field(None, description="With `record`: only this record.")
    record: StrictStr | None = Field(None, description="A golden id, or system:key.")


class Compare(Body):
    """What is to be compared; nothing: everything."""

    entities: list[StrictStr] = Field(default_factory=list, max_length=200)
    repair: StrictBool = Field(default=False, description="Look again at rows that differ, as a run does.")


class Plan(Body):
    """What is to be planned; nothing: everything."""

    entities: list[StrictStr] = Field(default_factory=list, max_length=200)


class Nothing(Body):
    """There is nothing to say."""


class TakeBack(Body):
    """What of a run is to be put back; nothing: all of it."""

    entity: StrictStr | None = Field(None, description="With `record`: only this record.")
    record: StrictStr | None = Field(None, description="A golden id, or system:key.")
    field: StrictStr | None = Field(None, description="Only this field.")


@router.get("/jobs", summary="What was begun here, the newest first")
def jobs(user: Viewer, request: Request) -> Response:
    """Those of this server since it began, without their results."""
    del user
    items = [{name: value for name, value in job.plain().items() if name != "result"} for job in jobs_of(request).all()]
    return answer({"items": items, "next": None})


@router.get("/jobs/{job}", summary="One job, and its result once it has ended")
def one_job(user: Viewer, request: Request, job: str) -> Response:
    """`exit` is the status of the command, `result` what its `--json` says."""
    del user
    return answer(jobs_of(request).get(job).plain())


@router.delete("/jobs/{job}", summary="Interrupt a job")
def interrupt(user: Operator, request: Request, job: str) -> Response:
    """What was done stands, and the next run goes on from there."""
    del user
    found = jobs_of(request).get(job)
    if found.exit is None:
        with suppress(OSError):
            os.killpg(found.process.pid, signal.SIGINT)
    return answer(found.plain(), 202)


@router.post("/jobs/sync", summary="Sync now", status_code=202)
async def sync(user: Operator, here: Here, request: Request, said: Sync, *, wait_s: Wait = 0, why: Why = "") -> Response:
    """As `trueup sync --json`."""
    command = ["sync", *_entities(here, said.entities), "--wait", str(PATIENCE_S)]
    command += ["--full"] if said.full else []
    command += [] if said.limit is None else ["--limit", str(said.limit)]
    command += _record(here, said.entity, said.record)
    return await _begun(here, request, user, command, wait_s, why)


@router.post("/jobs/plan", summary="What a sync would do", status_code=202)
async def plan(user: Reviewer, here: Here, request: Request, said: Plan, *, wait_s: Wait = 0, why: Why = "") -> Response:
    """As `trueup plan --json`; changes nothing."""
    return await _begun(here, request, user, ["plan", *_entities(here, said.entities)], wait_s, why)


@router.post("/jobs/verify", summary="Compare all systems with what is agreed", status_code=202)
async def verify(user: Operator, here: Here, request: Request, said: Compare, *, wait_s: Wait = 0, why: Why = "") -> Response:
    """As `trueup verify --json`."""
    command = ["verify", *_entities(here, said.entities), *(["--repair"] if said.repair else [])]
    return await _begun(here, request, user, command, wait_s, why)


@router.post("/jobs/report", summary="Make the morning report", status_code=202)
async def report(user: Operator, here: Here, request: Request, said: Nothing, *, wait_s: Wait = 0, why: Why = "") -> Response:
    """As `trueup report --json`; hands it to nobody."""
    del said
    return await _begun(here, request, user, ["report"], wait_s, why)


@router.post("/runs/{number}/undo-plan", summary="What an undo would put back", status_code=202)
async def undo_plan(
    user: Reviewer, here: Here, request: Request, number: Number, said: TakeBack, *, wait_s: Wait = 0, why: Why = ""
) -> Response:
    """As `trueup undo RUN --plan --json`; changes nothing."""
    return await _begun(here, request, user, [*_undo(here, number, said), "--plan"], wait_s, why)


@router.post("/runs/{number}/undo", summary="Put back what a run changed", status_code=202)
async def undo(
    user: Operator, here: Here, request: Request, number: Number, said: TakeBack, *, wait_s: Wait = 0, why: Why = ""
) -> Response:
    """As `trueup undo RUN --json`: what somebody has edited since stays, and is told with the reason."""
    return await _begun(here, request, user, [*_undo(here, number, said), "--wait", str(PATIENCE_S)], wait_s, why)


def _undo(here: Place, number: int, said: TakeBack) -> list[str]:
    command = ["undo", str(number), *_record(here, said.entity, said.record)]
    if said.field is not None:
        if not any(said.field in entity.fields for entity in here.config.entities.values()):
            raise UsageError(f"there is no field {said.field[:100]!r}")
        command += ["--field", said.field]
    return command


async def _begun(here: Place, request: Request, user: User, command: list[str], wait_s: float, why: str) -> Response:
    shown = " ".join(command[: command.index("--record")] if "--record" in command else command)  # a key may be a value
    job = await asyncio.to_thread(jobs_of(request).begin, here, user, [*command, "--json"], why, shown)
    if wait_s:
        await asyncio.to_thread(job.over.wait, wait_s)
    return answer(job.plain(), 202 if job.exit is None else 200, {"location": f"/api/v1/jobs/{job.id}"})


def _entities(here: Place, names: Sequence[str]) -> list[str]:
    """Names of entities. Raises UsageError for one that is not configured: nothing else of a request becomes an argument."""
    for name in names:
        if name not in here.config.entities:
            raise UsageError(f"there is no entity {name[:100]!r}", hint=f"configured: {', '.join(here.config.entities)}")
    return list(names)


def _record(here: Place, entity: str | None, record: str | None) -> list[str]:
    if (entity is None) != (record is None):
        raise Problem(422, "`entity` and `record` belong together", kind="not-valid")
    if entity is None or record is None:
        return []
    _entities(here, [entity])
    if record.startswith("-") or "\x00" in record or not record:
        raise UsageError(f"there is no {entity} {record[:100]!r}", hint="give a golden id, or system:key")
    return ["--record", entity, record]


def jobs_of(request: Request) -> Jobs:
    """The jobs of the application that answers this request."""
    found: Jobs = request.app.state.jobs
    return found
