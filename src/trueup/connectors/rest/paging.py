"""Page after page of a list, in every style there is, until it ends; and whether it can be trusted to have shown every row.

A page size that is refused is halved; a list that is cut at a number of results is begun again behind its last row; a page that comes again
for ever is told; an offset is stepped back by a row, so that a row that moved up while others were deleted is seen.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from trueup.connectors.jsonl_text import ABSENT
from trueup.connectors.rest.lines import CONTENT_TYPES, rows_of
from trueup.connectors.rest.message import Request, json_bytes
from trueup.connectors.rest.pointer import at, parse, text_of
from trueup.connectors.rest.requests import built
from trueup.connectors.rest.tables import records_of
from trueup.connectors.rest.template import render
from trueup.errors import ObjectUnreadableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from trueup.connectors.rest.client import Client
    from trueup.connectors.rest.message import Response
    from trueup.connectors.rest.schema import ListShape, PageShape

_LINK = re.compile(r"<([^>]*)>\s*((?:;[^,<]*)*)")
_MOST_RESTARTS = 3
_MOST_SHOWN = 6


class Listing:
    """One reading of one list. Iterate over it for lists of records; then `complete` says whether all were shown."""

    def __init__(self, client: Client, shape: ListShape, scope: Mapping[str, Any], what: str) -> None:
        """`what` names the list in errors."""
        self._client = client
        self._shape = shape
        self._scope = scope
        self._what = what
        self._page = shape.page
        self._items = parse(shape.items)
        self._size = self._page.size.rows if self._page is not None and self._page.size is not None else None
        self._total: int | None = None
        self._more: dict[str, Any] = {}
        self._seen_pages: set[int] = set()
        self._last: list[Any] | None = None
        self.header: list[str | None] = []  # the names of a table's columns, once it was seen
        self.pages = 0
        self.restarted = 0
        self.moves = False  # rows moved faster than they could be read

    def has_shown_all(self, rows: int) -> bool:
        """Whether the list is known to have shown everything, after it was read to its end and so many different rows were in it."""
        return not self.moves and (self._total is None or rows >= self._total)

    def __iter__(self) -> Iterator[list[Any]]:
        return self._every()

    def _every(self) -> Iterator[list[Any]]:
        """All pages; where the list is cut at a number of results, the lists that follow it as well."""
        restart = self._shape.restart
        if restart is None:
            yield from self._one()
            return
        reached: Any = None
        while True:
            shown, last = 0, None
            for records in self._one():
                shown += len(records)
                last = records[-1] if records else last
                yield records
                if shown >= restart.after:
                    break
            if shown < restart.after:
                return
            value = at(last, parse(restart.from_))
            if value is ABSENT or value is None or value == reached:
                raise self._unreadable(
                    f"it shows no more than {restart.after:,} rows at once, and as many have the same {restart.from_} ({value!r})",
                    "choose a member for `restart` that tells rows better apart",
                )
            reached = value
            self._seen_pages.clear()
            self._last = None
            self._more[restart.to] = render(f"${{value|{restart.filter}}}", {"value": value})

    def _one(self) -> Iterator[list[Any]]:
        style = self._page.style if self._page is not None else "none"
        if self._page is not None and style == "offset":
            yield from self._by_offset(self._page)
            return
        following: dict[str, Any] | str | None = self._first(self._page)
        while following is not None:
            response, records = self._asked(following)
            if style in {"page", "keyset"} and records and self._comes_again(records):
                raise self._unreadable(
                    "it shows the same page again and again", "check `page` in the connector file: `to` may have no effect"
                )
            yield records
            following = self._next(self._page, response, records, following)

    def _first(self, page: PageShape | None) -> dict[str, Any]:
        if page is not None and page.style == "page" and page.to is not None:
            return {page.to: page.first if page.first is not None else 1}
        return {}

    def _asked(self, where: dict[str, Any] | str) -> tuple[Response, list[Any]]:
        """One page; a size that is refused is halved."""
        while True:
            response, trouble = self._client.ask(self._request(where), wants_json=self._shape.format == "json")
            if trouble is None:
                break
            if trouble.means == "broken" and response.headers.get("content-type", "").startswith("text/csv"):
                raise self._unreadable("the answer is CSV", "write `format: csv` beside the request in the connector file")
            size = self._page.size if self._page is not None else None
            too_large = trouble.means in {"page_size", "transient"} or trouble.status in {400, 413, 422}
            if size is None or self._size is None or not too_large or self._size <= size.least or isinstance(where, str):
                raise self._client.error(trouble, self._what)
            self._size = max(size.least, self._size // 2)
        self.pages += 1
        if self._shape.format != "json":
            self._learn_total(response, None)
            return response, self._lines(response)
        value = response.json()
        records = at(value, self._items)
        if records is ABSENT or not isinstance(records, list):
            if records is None or (records is ABSENT and self._shape.header):  # an empty sheet
                return response, []
            raise self._unreadable(
                f"there is no list at `{self._shape.items or '/'}` of the answer", f"correct `items` in the connector file: {_shown(value)}"
            )
        self._learn_total(response, value)
        if self._shape.header:
            try:
                self.header, records = records_of(records)
            except ValueError as error:
                raise self._unreadable(str(error), "give each column a name of its own in the first row") from error
        return response, records

    def _learn_total(self, response: Response, value: Any) -> None:
        told = self._shape.total
        if told is None:
            return
        header = told.removeprefix("header ")
        total = at(value, parse(told)) if header == told else response.headers.get(header.lower())
        if isinstance(total, int | str) and str(total).isdigit():
            self._total = int(total)

    def _lines(self, response: Response) -> list[Any]:
        try:
            if response.headers.get("content-type", "").startswith("text/html"):
                raise ValueError("it is a page for people")  # noqa: TRY301 - one sentence for all that is no such text
            return rows_of(response.body, self._shape.format)
        except ValueError as error:
            raise self._unreadable(f"the answer cannot be read as {self._shape.format}: {error}", "choose another `format`?") from error

    def _request(self, where: dict[str, Any] | str) -> Request:
        wanted = {} if self._shape.format == "json" else {"accept": CONTENT_TYPES[self._shape.format].partition(";")[0]}
        if isinstance(where, str):
            return Request("GET", where, {}, {**wanted, **{name: str(value) for name, value in self._shape.headers.items()}})
        more = dict(self._more)
        if self._page is not None and self._page.size is not None:
            more[self._page.size.to] = self._size
        return built(
            self._shape, self._scope, {**more, **where}, {name: said for name, said in wanted.items() if name not in self._shape.headers}
        )

    def _next(
        self, page: PageShape | None, response: Response, records: list[Any], where: dict[str, Any] | str
    ) -> dict[str, Any] | str | None:
        """What leads to the next page; None after the last one."""
        if page is None or page.style == "none":
            return None
        if page.more is not None and at(response.json(), parse(page.more)) in (ABSENT, None, False, "", 0, "false"):
            return None
        if page.style in {"cursor", "page_info", "next_url", "link_header"}:
            return self._told(page, response, where)
        if not records:
            return None
        if page.style == "page":
            return {str(page.to): int(where[str(page.to)]) + 1} if isinstance(where, dict) else None
        last = at(records[-1], parse(str(page.from_)))
        if last is ABSENT or last is None:
            raise self._unreadable(f"the last row of a page has no {page.from_}", "correct `page: {from: …}` in the connector file")
        return {str(page.to): last}

    def _told(self, page: PageShape, response: Response, where: dict[str, Any] | str) -> dict[str, Any] | str | None:
        """The next page as the answer itself tells it."""
        if page.style == "link_header":
            target: Any = _linked(response.headers.get("link", ""))
        elif page.header is not None:
            target = response.headers.get(page.header.lower()) or None
        else:
            found = at(response.json(), parse(str(page.from_)))
            if page.style == "page_info":
                found = found.get("endCursor") if isinstance(found, dict) and found.get("hasNextPage") else None
            target = None if found is ABSENT or found in (None, "", False) else found
        if target is None:
            return None
        if self._is_known(target):
            raise self._unreadable("it leads to the same page again and again", "tell who looks after it: the list never ends")
        if page.style in {"next_url", "link_header"}:
            own = where if isinstance(where, str) else built(self._shape, self._scope).url
            return urljoin(self._client.address(own), str(target))
        return {str(page.to): target}

    def _is_known(self, mark: Any) -> bool:
        number = hash(json_bytes(mark))
        known = number in self._seen_pages
        self._seen_pages.add(number)
        return known

    def _comes_again(self, records: list[Any]) -> bool:
        again = records == self._last
        self._last = records
        return again

    # ---------------------------------------------------------------- offsets

    def _by_offset(self, page: PageShape) -> Iterator[list[Any]]:
        """Each page begins with the last row of the one before. Where it does not, rows have moved: the list is read again from its start.

        Rows that were shown already are shown again then; whoever reads knows them by their key.
        """
        start = page.first or 0
        offset, before = start, None
        while True:
            overlap = min(page.overlap, len(before or ()))
            response, records = self._asked({str(page.to): offset - overlap})
            if before is not None and overlap and records[:overlap] != before[-overlap:]:
                self.restarted += 1
                if self.restarted > _MOST_RESTARTS:
                    self.moves = True
                    yield records
                    return
                offset, before = start, None
                continue
            fresh = records[overlap:]
            if fresh and before is not None and fresh == before:
                raise self._unreadable(
                    "it shows the same page again and again", "check `page` in the connector file: `to` may have no effect"
                )
            yield fresh
            ended = page.more is not None and at(response.json(), parse(page.more)) in (ABSENT, None, False, "", 0, "false")
            if not fresh or ended:
                return
            offset, before = offset + len(fresh), fresh

    def _unreadable(self, message: str, hint: str) -> ObjectUnreadableError:
        return ObjectUnreadableError(f"{self._what}: {message}", hint=hint, system=self._client.system)


def _shown(value: Any) -> str:
    """Where the lists of an answer are, for whoever looked in the wrong place."""
    if isinstance(value, list):
        return "the answer is a list itself, which needs no `items`"
    members = value if isinstance(value, dict) else {}
    inner = [(name, inside, more) for name, held in members.items() if isinstance(held, dict) for inside, more in held.items()]
    lists = [text_of((name,)) for name, held in members.items() if isinstance(held, list)]
    lists += [text_of((name, inside)) for name, inside, held in inner if isinstance(held, list)]
    if lists:
        return f"there is one at {' and at '.join(lists[:_MOST_SHOWN])}"
    return f"it has {', '.join(list(members)[:_MOST_SHOWN])}" if members else "it is empty, or no object"


def _linked(header: str) -> str | None:
    """The address of `rel="next"` in a Link header (RFC 8288)."""
    for address, parameters in _LINK.findall(header):
        if re.search(r';\s*rel\s*=\s*"?[^";]*\bnext\b', parameters, re.IGNORECASE):
            return str(address)
    return None
