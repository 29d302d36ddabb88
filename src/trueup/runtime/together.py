"""A large system read by several processes at once: in parts that together show one moment, of which this process reads some itself.

A system that is read quickly is read here alone. Where one takes its time, others are asked for parts, as many at once as keep them busy:
so what waits to be taken over is bounded. A part comes whole or not at all; what others could not read is read here.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from trueup.connectors.base import PAGE_ROWS, PART_BYTES, Page
from trueup.connectors.sql_read import later
from trueup.errors import LeaseLostError, TrueupError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    import polars as pl

    from trueup.connectors.base import Part, Parted
    from trueup.model import ColumnType
    from trueup.runtime.hands import Hands
    from trueup.runtime.systems import Seat

AHEAD = 2
"""So many parts are asked for per process: one that it reads, and one that it finds when it is done."""
FIRST_ROWS = 2_000
"""The first part is read in pages of so many rows, so that it soon shows how long the rest would take."""
PARTS_EACH = 8
"""So many parts there are for each reader at least, so that all of them are done at about the same time."""
WORTH_S = 2.0
"""Where the rest would take less time than that, nobody else is asked."""


class Together:
    """One full reading of a system. `pages` gives what a `read` would."""

    def __init__(self, seat: Seat, columns: Sequence[str], hands: Hands) -> None:
        """Nothing is read yet."""
        self._seat = seat
        self._object = seat.mapping.object
        self._columns = columns
        self._hands = hands
        self._connector = cast("Parted", seat.connector)
        self._waiting: deque[Part] = deque()
        self._asked: dict[int, Part] = {}
        self._trusted = True  # nobody has failed at a part yet
        self._ended = 0  # parts of which the last page said that it was complete
        self._own_s = 0.0
        self._cursor: str | None = None
        self._form: pl.DataFrame | None = None

    def pages(self) -> Generator[Page]:
        """Read everything; the order is that in which parts are done. Raises what keeps this process from reading."""
        count = PARTS_EACH * (1 + self._hands.count(self._seat.name))
        with self._connector.parts(self._object, count=count, part_bytes=PART_BYTES) as parts:
            if len(parts) < 2:
                yield from self._connector.read(self._object, self._columns)
                return
            try:
                self._waiting.extend(parts)
                yield from self._all()
            finally:
                self._hands.forget(self._asked)
        assert self._form is not None
        yield Page(self._form, self._cursor, complete=self._ended == len(parts))

    def _all(self) -> Iterator[Page]:
        while self._waiting or self._asked:
            heard = self._hands.heard()
            self._ask()
            yield from self._answered()
            if self._waiting:
                yield from self._own(self._waiting.popleft())
            elif self._asked and not self._took_back():
                self._hands.wait(heard)

    def _ask(self) -> None:
        """Keep the others busy where it is worth it, and leave the next part to this process."""
        if not self._trusted or self._own_s * len(self._waiting) <= WORTH_S:
            return
        wanted = AHEAD * self._hands.count(self._seat.name)
        while len(self._waiting) > 1 and len(self._asked) < wanted:
            part = self._waiting.pop()
            self._asked[self._hands.ask_to_read(self._seat.name, self._columns, part)] = part

    def _answered(self) -> Iterator[Page]:
        """Parts that others have read meanwhile."""
        for number, part in list(self._asked.items()):
            try:
                pages = self._hands.was_read(number)
            except LeaseLostError:
                raise
            except TrueupError:
                self._trusted = False
                self._waiting.append(self._asked.pop(number))
                continue
            if pages is not None:
                assert self._asked.pop(number) == part
                yield from map(self._passed_on, pages)

    def _took_back(self) -> bool:
        """Take over a part that nobody has begun."""
        number = next((number for number in reversed(self._asked) if self._hands.take_back(number)), None)
        if number is not None:
            self._waiting.append(self._asked.pop(number))
        return number is not None

    def _own(self, part: Part) -> Iterator[Page]:
        """Read a part here; how long the system took for it, without what was done with it meanwhile, is what the next may take."""
        page_rows = PAGE_ROWS if self._own_s else FIRST_ROWS
        pages = self._connector.read_part(self._object, self._columns, part, page_rows=page_rows)
        seconds = 0.0
        while True:
            began = time.monotonic()
            page = next(pages, None)
            seconds += time.monotonic() - began
            if page is None:
                break
            self._own_s = max(self._own_s, seconds)
            self._ask()
            yield self._passed_on(page)
        self._own_s = seconds

    def _passed_on(self, page: Page) -> Page:
        """A page of one part as a page of the whole, of which only the last one says whether it is complete, and has the cursor."""
        self._ended += page.complete
        self._cursor = later(self._cursor, page.cursor, self._modified)
        self._form = page.rows.clear()
        return replace(page, complete=False, cursor=None)

    @property
    def _modified(self) -> ColumnType | None:
        column = self._seat.info.columns.get(self._object.modified or "")
        return None if column is None else column.type
