"""Lists that an application makes ready first: ask for the job, wait until it is done, fetch the rows."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from trueup.connectors.jsonl_text import ABSENT
from trueup.connectors.rest.paging import Listing
from trueup.connectors.rest.pointer import at, parse
from trueup.connectors.rest.requests import built
from trueup.connectors.rest.schema import ListShape
from trueup.errors import ObjectUnreadableError, SystemUnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from trueup.connectors.rest.client import Client
    from trueup.connectors.rest.schema import JobShape

_ROWS = 5_000


class JobListing:
    """One such list. `now` and `wait` are the time (tests put theirs in)."""

    def __init__(
        self,
        client: Client,
        shape: ListShape,
        job: JobShape,
        scope: Mapping[str, Any],
        what: str,
        *,
        now: Callable[[], float] = time.monotonic,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        """`what` names the list in errors."""
        self._client, self._shape, self._job, self._scope, self._what = client, shape, job, scope, what
        self._now, self._wait = now, wait

    def __iter__(self) -> Iterator[list[Any]]:
        begun = self._client.fetch(built(self._shape, self._scope), self._what).json()
        number = at(begun, parse(self._job.id))
        if number in (ABSENT, None):
            raise ObjectUnreadableError(
                f"{self._what}: the answer names no job", hint="correct `job: {id: …}` in the connector file", system=self._client.system
            )
        scope = {**self._scope, "job": number, "url": None}
        ended = self._done(scope)
        if self._job.url is not None:
            url = at(ended, parse(self._job.url))
            if url is ABSENT or url is None:  # nothing to fetch: the list is empty
                return
            scope["url"] = url
        yield from self._rows(scope)

    def _done(self, scope: Mapping[str, Any]) -> Any:
        until = self._now() + self._job.at_most_s
        while True:
            told = self._client.fetch(built(self._job.poll, scope), self._what).json()
            status = at(told, parse(self._job.status))
            if status in self._job.done:
                return told
            if status in self._job.failed:
                raise ObjectUnreadableError(
                    f"{self._what}: the job ended as {status!r}", hint="it is begun anew with the next run", system=self._client.system
                )
            if self._now() >= until:
                raise SystemUnreachableError(
                    f"{self._what}: the job is not done after {self._job.at_most_s:g} s",
                    hint="it is begun anew with the next run",
                    system=self._client.system,
                )
            self._wait(self._job.every_s)

    def _rows(self, scope: Mapping[str, Any]) -> Iterator[list[Any]]:
        """What the job made ready: read as a list of its own, with the pages that the list says."""
        told = {"items": self._shape.items, "page": self._shape.page, "format": self._job.format}
        download = ListShape(**{**self._job.download.model_dump(), **told})
        for records in Listing(self._client, download, scope, self._what):
            for start in range(0, len(records), _ROWS):
                yield records[start : start + _ROWS]
