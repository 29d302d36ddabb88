"""Lies about what is looked at without a key, and about the time."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from trueup.connectors.base import PAGE_ROWS
from trueup.testing.mutants_base import Lie, lie

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from trueup.connectors.base import Page
    from trueup.model import ObjectSpec


@lie("every_row_is_looked_at")
class LooksAtTheFirstPage(Lie):
    """Only the first page is shown, and said to be all."""

    def browse(self, obj: ObjectSpec, columns: Sequence[str], *, page_rows: int = PAGE_ROWS) -> Iterator[Page]:
        """See base.Browsing."""
        first = next(iter(super().browse(obj, columns, page_rows=page_rows)))
        return iter([replace(first, complete=True)])


@lie("every_row_is_looked_at", "rows_without_a_key_are_looked_at")
class LooksAtDistinctRows(Lie):
    """Rows that read alike are shown once; a row without a key is left out."""

    def browse(self, obj: ObjectSpec, columns: Sequence[str], *, page_rows: int = PAGE_ROWS) -> Iterator[Page]:
        """See base.Browsing."""
        pages = list(super().browse(obj, columns, page_rows=page_rows))
        return iter([replace(page, rows=page.rows.unique().filter(page.rows.unique().to_series() != "four")) for page in pages])


@lie("what_cannot_be_read_is_told_apart")
class HidesWhatCannotBeRead(Lie):
    """Rows that cannot be read are not told at all."""

    def browse(self, obj: ObjectSpec, columns: Sequence[str], *, page_rows: int = PAGE_ROWS) -> Iterator[Page]:
        """See base.Browsing."""
        return iter([replace(page, rejected=()) for page in super().browse(obj, columns, page_rows=page_rows)])


@lie("the_clock_is_the_systems")
class TellsAnotherZone(Lie):
    """The time of another zone is told as UTC."""

    def clock(self) -> datetime:
        """See base.Timed."""
        return super().clock() + timedelta(hours=1)
