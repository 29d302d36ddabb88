"""Lies about marks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

import polars as pl

from trueup.testing.conformance_marks import ROWS
from trueup.testing.mutants_base import Lie, lie

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trueup.connectors.base import Marking, Page
    from trueup.model import ObjectSpec


@lie("touched_rows_are_read", "own_writes_are_touches")
class MissesEdits(Lie):
    """Rows that were touched are told by key alone."""

    def moved(self, obj: ObjectSpec, columns: Sequence[str], mark: str) -> Iterator[Page] | None:
        """See base.Marking."""
        pages = super().moved(obj, columns, mark)
        if pages is None:
            return None
        return iter([replace(page, rows=page.rows.clear(), same=_keys(page)) for page in pages])


@lie("touched_rows_are_read")
class LeavesOutWhatIsTheSame(Lie):
    """Rows that nobody touched are not told at all."""

    def moved(self, obj: ObjectSpec, columns: Sequence[str], mark: str) -> Iterator[Page] | None:
        """See base.Marking."""
        pages = super().moved(obj, columns, mark)
        return None if pages is None else iter([replace(page, same=None, rows=page.rows.head(1)) for page in pages])


@lie("marks_hold_from_when_they_were_taken")
class MarksMoveAlong(Lie):
    """A reading is since the newest mark, whichever is named."""

    _newest: str | None = None

    def mark(self, obj: ObjectSpec) -> str | None:
        """See base.Marking."""
        self._newest = super().mark(obj)
        return self._newest

    def own(self, obj: ObjectSpec, mark: str) -> str:
        """See base.Marking."""
        self._newest = super().own(obj, mark)
        return self._newest

    def moved(self, obj: ObjectSpec, columns: Sequence[str], mark: str) -> Iterator[Page] | None:
        """See base.Marking."""
        return super().moved(obj, columns, self._newest or mark)


@lie("only_own_writes_may_be_known")
class KnowsEverything(Lie):
    """What others wrote beside the connector counts as known."""

    def own(self, obj: ObjectSpec, mark: str) -> str:
        """See base.Marking."""
        del mark
        return _newest(self, obj)


@lie("what_was_put_back_is_shown")
class GoesByTheListing(Lie):
    """Rows that read as they did when they were listed are told by key alone, whatever was done with them since."""

    _listed: pl.DataFrame | None = None

    def _listing(self, pages: list[Page]) -> list[Page]:
        rows = pl.concat([page.rows for page in pages])
        self._listed = self._listed if rows.height < ROWS else rows
        return pages

    def moved(self, obj: ObjectSpec, columns: Sequence[str], mark: str) -> Iterator[Page] | None:
        """See base.Marking."""
        pages, listed = super().moved(obj, columns, mark), self._listed
        if pages is None or listed is None:
            return pages
        names = ["__key", *columns]
        return iter(
            [
                replace(
                    page,
                    rows=page.rows.join(listed, on=names, how="anti", nulls_equal=True),
                    same=_keys(replace(page, rows=page.rows.join(listed, on=names, how="semi", nulls_equal=True))),
                )
                for page in pages
            ]
        )


@lie("marks_are_of_one_object")
class MarksFitEverything(Lie):
    """A mark of any object is taken for one of the object read."""

    def moved(self, obj: ObjectSpec, columns: Sequence[str], mark: str) -> Iterator[Page] | None:
        """See base.Marking."""
        del mark
        return super().moved(obj, columns, _newest(self, obj))


def _newest(liar: Lie, obj: ObjectSpec) -> str:
    """A mark that knows everything that there is now."""
    connector = cast("Marking", liar.inner)
    mark = connector.mark(obj) or ""
    list(connector.read(obj, []))
    return connector.own(obj, mark)


def _keys(page: Page) -> pl.Series:
    own = page.rows.get_column("__key")
    return own if page.same is None else pl.concat([page.same, own])
