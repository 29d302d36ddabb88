"""Lists that an application makes ready first: ask for the job, wait until it is done, fetch the rows."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from trueup.connectors.jsonl_text import ABSENT, parse_line
from trueup.connectors.rest.pointer import at, parse
from trueup.connectors.rest.requests import built
from trueup.errors import ObjectUnreadableError, SystemUnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from trueup.connectors.rest.client import Client
    from trueup.connectors.rest.schema import JobShape, ListShape

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
        request = built(self._job.download, scope)
        response, trouble = self._client.ask(request, repeat=True, wants_json=self._job.format == "json")
        if trouble is not None:
            raise self._client.error(trouble, self._what)
        if self._job.format == "json":
            records = at(response.json(), parse(self._shape.items))
            if not isinstance(records, list):
                raise ObjectUnreadableError(
                    f"{self._what}: there is no list at `{self._shape.items or '/'}`", hint="correct `items`", system=self._client.system
                )
            yield records
            return
        lines = [line for line in response.body.splitlines() if line.strip()]
        for start in range(0, len(lines), _ROWS):
            try:
                yield [parse_line(line) for line in lines[start : start + _ROWS]]
            except ValueError as error:
                raise ObjectUnreadableError(
                    f"{self._what}: a line of the download is no JSON", hint="choose `format: json`?", system=self._client.system
                ) from error
