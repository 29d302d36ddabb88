"""Rows that an application takes as a job, and writes later: handed over, waited for, and told of one by one once it has ended.

Until then nobody can say what it has done. So nothing is read, looked up or written while such a job is under way, whoever began it: who
was killed between handing over and asking finds, in the next run, what became of the rows, and neither sends one again that the job still
makes, nor has an older value written over a newer one.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from trueup.connectors.jsonl_text import ABSENT
from trueup.connectors.rest.paging import Listing
from trueup.connectors.rest.pointer import at, parse
from trueup.connectors.rest.requests import built
from trueup.errors import SystemUnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable

    from trueup.connectors.rest.client import Client
    from trueup.connectors.rest.objects import RestObject
    from trueup.connectors.rest.schema import ImportShape


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
        ended = (*job.done, *job.failed)
        return sum(at(one, parse(job.status)) not in ended for found in listed for one in found)

    def ended(self, job: ImportShape, begun: Any) -> Any:
        """What is told of the rows of a job, which was `begun` with this answer.

        Raises SystemUnreachableError where that cannot be known: the job is not named, failed as a whole or did not end in time; and
        what a question raises that cannot be asked.
        """
        number = at(begun, parse(job.id))
        if number is ABSENT or number is None:
            raise self._unclear("the answer names no import job", "correct `job: {id: …}` in the connector file")
        what, scope = f"import job {number} of {self._obj.name}", {**self._obj.scope, "job": number}
        until = self._now() + job.at_most_s
        while True:
            told = self._client.fetch(built(job.poll, scope), what).json()
            status = at(told, parse(job.status))
            if status in job.done:
                return told if job.outcome is None else self._client.fetch(built(job.outcome, scope), what).json()
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

    def _unclear(self, message: str, hint: str) -> SystemUnreachableError:
        return SystemUnreachableError(message, hint=hint, system=self._client.system)
