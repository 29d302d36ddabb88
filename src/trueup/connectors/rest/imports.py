"""Rows that an application takes as a job, and writes later: handed over, waited for, and told of one by one once it has ended.

Until then nobody can say what it has done. So nothing is read, looked up or written while such a job is under way, whoever began it: who
was killed between handing over and asking finds, in the next run, what became of the rows, and neither sends one again that the job still
makes, nor has an older value written over a newer one. A job that waits for its rows writes nothing: who was killed then left one behind
that is in nobody's way.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

from trueup.connectors.jsonl_text import ABSENT
from trueup.connectors.rest.client import ReplyLostError
from trueup.connectors.rest.paging import Listing
from trueup.connectors.rest.pointer import at, parse
from trueup.connectors.rest.requests import built
from trueup.errors import SystemUnreachableError, TrueupError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from trueup.connectors.rest.answers import Trouble
    from trueup.connectors.rest.client import Client
    from trueup.connectors.rest.message import Request
    from trueup.connectors.rest.objects import RestObject
    from trueup.connectors.rest.schema import ImportShape, RequestShape


class Imports:
    """The jobs that write one object. `now` and `wait` are the time (tests put theirs in)."""

    def __init__(
        self,
        client: Client,
        obj: RestObject,
        *,
        now: Callable[[], float] = time.monotonic,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        """Nothing is asked yet."""
        self._client, self._obj, self._now, self._wait = client, obj, now, wait

    def wait_for_others(self) -> None:
        """Come back when no job is under way. Raises SystemUnreachableError where one does not end in time, and as a reading."""
        shapes = [bulk.job for bulk in self._obj.shape.write.bulk.values() if bulk.job is not None]
        for job in {str(shape.running): shape for shape in shapes}.values():
            until = self._now() + job.at_most_s
            while count := self._under_way(job):
                if self._now() >= until:
                    what = "an import job is" if count == 1 else f"{count} import jobs are"
                    raise SystemUnreachableError(
                        f"{self._obj.name}: {what} still under way after {job.at_most_s:g} s: nothing is known of its rows yet",
                        hint="it goes on when they have ended; end them in the application, or raise `job: {at_most_s: …}`",
                        system=self._client.system,
                    )
                self._wait(job.every_s)

    def _under_way(self, job: ImportShape) -> int:
        listed = Listing(self._client, job.running, self._obj.scope, f"the import jobs of {self._obj.name}")
        idle = (*job.done, *job.failed, *job.open)
        return sum(at(one, parse(job.status)) not in idle for found in listed for one in found)

    def upload(self, job: ImportShape, begun: Any, rows: Callable[[RequestShape, Mapping[str, Any]], Request]) -> Trouble | None:
        """Give a job that was `begun` with this answer its rows; `rows` puts them into a request. None: it is at work now.

        Where something comes back or is raised, the job never began, and writes nothing. Raises ReplyLostError where that is not known.
        """
        assert job.upload is not None
        scope = {**self._obj.scope, "job": self._number(job, begun), "url": None if job.url is None else at(begun, parse(job.url))}
        if job.url is not None and not isinstance(scope["url"], str):
            raise self._unclear(
                "the answer does not say where the rows of an import job go", "correct `job: {url: …}` in the connector file"
            )
        at_last = job.close is None
        try:
            _, trouble = self._client.ask(rows(job.upload, scope), repeat=False, wants_json=False)  # a job may take rows twice
            if trouble is None and job.close is not None:
                at_last = True
                _, trouble = self._client.ask(built(job.close, scope), wants_json=False)
        except ReplyLostError as error:
            if at_last:
                raise
            self._cancel(job, scope)
            raise SystemUnreachableError(error.message, hint=error.hint, system=error.system) from error
        except TrueupError:
            self._cancel(job, scope)
            raise
        if trouble is None:
            return None
        if at_last and trouble.means in {"transient", "broken"}:
            raise ReplyLostError(trouble.reason, hint="it is tried again later", system=self._client.system)
        self._cancel(job, scope)
        return trouble

    def _cancel(self, job: ImportShape, scope: Mapping[str, Any]) -> None:
        """Leave no job behind that waits for rows; where that fails it waits on, and writes nothing."""
        if job.cancel is not None:
            with contextlib.suppress(TrueupError):
                self._client.ask(built(job.cancel, scope), repeat=True, wants_json=False)

    def _number(self, job: ImportShape, begun: Any) -> Any:
        number = at(begun, parse(job.id))
        if number is ABSENT or number is None:
            raise self._unclear("the answer names no import job", "correct `job: {id: …}` in the connector file")
        return number

    def ended(self, job: ImportShape, begun: Any) -> Any:
        """What is told of the rows of a job, which was `begun` with this answer.

        Raises SystemUnreachableError where that cannot be known: the job is not named, failed as a whole or did not end in time; and
        what a question raises that cannot be asked.
        """
        number = self._number(job, begun)
        what, scope = f"import job {number} of {self._obj.name}", {**self._obj.scope, "job": number}
        until = self._now() + job.at_most_s
        while True:
            told = self._client.fetch(built(job.poll, scope), what).json()
            status = at(told, parse(job.status))
            if status in job.done:
                return self._told(job, scope, what, told)
            if status in job.failed:
                why = at(told, parse(job.reason)) if job.reason is not None else None
                said = f": {why}" if isinstance(why, str) and why.strip() else ""
                raise self._unclear(f"{what} ended as {status}{said}", "its rows are looked for, and sent again where they are not there")
            if self._now() >= until:
                raise self._unclear(
                    f"{what} has not ended after {job.at_most_s:g} s",
                    "nothing is sent while it is under way; end it in the application, or raise `job: {at_most_s: …}`",
                )
            self._wait(job.every_s)

    def _told(self, job: ImportShape, scope: Mapping[str, Any], what: str, told: Any) -> Any:
        if job.tells_lists:
            return [row for shape in job.outcome for rows in Listing(self._client, shape, scope, what) for row in rows]
        return self._client.fetch(built(job.outcome[0], scope), what).json() if job.outcome else told

    def _unclear(self, message: str, hint: str) -> SystemUnreachableError:
        return SystemUnreachableError(message, hint=hint, system=self._client.system)
