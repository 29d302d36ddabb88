"""Lies about readings that several processes share."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from trueup.connectors.base import PAGE_ROWS, PART_BYTES, Page, Part
from trueup.testing.conformance_tools import TEXTS
from trueup.testing.mutants_base import Lie, lie

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trueup.model import ObjectSpec


@lie("parts_show_every_row_once", "parts_show_one_moment")
class LosesTheBorder(Lie):
    """The last row of a part is in no part."""

    def read_part(self, obj: ObjectSpec, columns: Sequence[str], part: Part, *, page_rows: int = PAGE_ROWS) -> Iterator[Page]:
        """See base.Parted."""
        *before, last = super().read_part(obj, columns, part, page_rows=page_rows)
        return iter([*before, replace(last, rows=last.rows.head(max(0, last.rows.height - 1)))])


@lie("parts_show_every_row_once", "parts_show_one_moment")
class DoublesTheBorder(Lie):
    """A part also shows the first row of the one that was read before."""

    _first: Page | None = None

    def read_part(self, obj: ObjectSpec, columns: Sequence[str], part: Part, *, page_rows: int = PAGE_ROWS) -> Iterator[Page]:
        """See base.Parted."""
        first, *rest = super().read_part(obj, columns, part, page_rows=page_rows - 1)
        before, self._first = self._first, replace(first, rows=first.rows.head(1))
        if before is None or before.rows.columns != first.rows.columns:
            return iter([first, *rest])
        return iter([replace(first, rows=before.rows.vstack(first.rows)), *rest])


@lie("parts_show_one_moment")
class ShowsEachPartAsItIsNow(Lie):
    """The rows of a part are read by key at the moment at which the part is."""

    def read_part(self, obj: ObjectSpec, columns: Sequence[str], part: Part, *, page_rows: int = PAGE_ROWS) -> Iterator[Page]:
        """See base.Parted."""
        pages = list(super().read_part(obj, columns, part, page_rows=page_rows))
        keys = [key for page in pages for key in page.rows["__key"].to_list()]
        return iter(self.inner.read(obj, columns, keys=keys, page_rows=page_rows))


@lie("parts_show_one_moment")
class EachConnectorHasItsOwnParts(Lie):
    """A part means something only to the connector that cut it."""

    _known: frozenset[Part] = frozenset()

    @contextmanager
    def parts(self, obj: ObjectSpec, *, count: int = 1, part_bytes: int = PART_BYTES) -> Iterator[Sequence[Part]]:
        """See base.Parted."""
        with super().parts(obj, count=count, part_bytes=part_bytes) as parts:
            self._known |= frozenset(parts)
            yield parts

    def read_part(self, obj: ObjectSpec, columns: Sequence[str], part: Part, *, page_rows: int = PAGE_ROWS) -> Iterator[Page]:
        """See base.Parted."""
        if part in self._known:
            return super().read_part(obj, columns, part, page_rows=page_rows)
        return iter([Page(self._all(obj, columns).clear(), complete=True)])


@lie("parts_end_with_their_moment")
class ShowsAnotherMoment(Lie):
    """A part whose moment is over shows what is there now."""

    _over = False

    @contextmanager
    def parts(self, obj: ObjectSpec, *, count: int = 1, part_bytes: int = PART_BYTES) -> Iterator[Sequence[Part]]:
        """See base.Parted."""
        with super().parts(obj, count=count, part_bytes=part_bytes) as parts:
            yield parts
        self._over = True

    def read_part(self, obj: ObjectSpec, columns: Sequence[str], part: Part, *, page_rows: int = PAGE_ROWS) -> Iterator[Page]:
        """See base.Parted."""
        if self._over:
            return iter(self.inner.read(obj, columns or TEXTS, page_rows=page_rows))
        return super().read_part(obj, columns, part, page_rows=page_rows)
