"""Lies about pages, listings, cursors, keys and descriptions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import polars as pl

from trueup.connectors.base import PAGE_ROWS, Page, WriteBatch
from trueup.errors import ObjectMissingError
from trueup.testing.mutants_base import Lie, lie, native

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trueup.model import ObjectInfo, ObjectSpec
    from trueup.testing.conformance_world import World


class _AsksOtherKeys(Lie):
    """A read by key that asks for something else."""

    _obj: ObjectSpec

    def _everything(self) -> list[str]:
        found: list[str] = self._all(self._obj).get_column("__key").to_list()
        return found

    def _asked(self, keys: list[str]) -> list[str]:
        return keys

    def read(
        self,
        obj: ObjectSpec,
        columns: Sequence[str],
        *,
        since: str | None = None,
        keys: Sequence[str] | None = None,
        page_rows: int = PAGE_ROWS,
    ) -> Iterator[Page]:
        """See base.Connector."""
        self._obj = obj
        asked = None if keys is None else self._asked(list(keys))
        return self.inner.read(obj, columns, since=since, keys=asked, page_rows=page_rows)


# ---------------------------------------------------------------- pages


@lie("pages_have_the_form_asked_for")
class ColumnsInTheirOwnOrder(Lie):
    """Columns come in alphabetical order."""

    def _rows(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows.select("__key", *sorted(name for name in rows.columns if name != "__key"))


@lie("pages_have_the_form_asked_for")
class ShowsMoreColumns(Lie):
    """A column that nobody asked for is shown too."""

    def _rows(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows.with_columns(pl.lit("x").alias("internal_remark"))


@lie("pages_agree_in_type")
class GuessesTypes(Lie):
    """A page's column in which everything is null has the null type."""

    def _rows(self, rows: pl.DataFrame) -> pl.DataFrame:
        empty = [name for name in native(rows) if rows.height and rows.get_column(name).null_count() == rows.height]
        return rows.with_columns(pl.lit(None).alias(name) for name in empty)


@lie("quiet_scans_are_quiet")
class NeverQuiet(Lie):
    """Every read differs a little from the one before."""

    reads = 0

    def _rows(self, rows: pl.DataFrame) -> pl.DataFrame:
        NeverQuiet.reads += 1
        return rows.with_columns(pl.col(native(rows, pl.String)) + f" ({NeverQuiet.reads})")


@lie("pages_lose_nothing", "keyed_pages_lose_nothing")
class DropsTheLastRow(Lie):
    """The last row of the first page is lost where there are more pages."""

    def _listing(self, pages: list[Page]) -> list[Page]:
        if len(pages) < 2:
            return pages
        return [replace(pages[0], rows=pages[0].rows.head(-1)), *pages[1:]]


@lie("pages_lose_nothing", "keyed_pages_lose_nothing")
class DoublesARow(Lie):
    """A page begins with the row that the page before ended with."""

    def _listing(self, pages: list[Page]) -> list[Page]:
        if len(pages) < 2:
            return pages
        return [pages[0], replace(pages[1], rows=pl.concat([pages[0].rows.tail(1), pages[1].rows])), *pages[2:]]


@lie("listings_survive_edits_meanwhile")
class PagesByOffset(Lie):
    """Each page is a new query that counts rows from the beginning."""

    def read(
        self,
        obj: ObjectSpec,
        columns: Sequence[str],
        *,
        since: str | None = None,
        keys: Sequence[str] | None = None,
        page_rows: int = PAGE_ROWS,
    ) -> Iterator[Page]:
        """See base.Connector."""
        start, ends = 0, False
        while not ends:
            rows = pl.concat([page.rows for page in self.inner.read(obj, columns, since=since, keys=keys)]).sort("__key")
            ends = start + page_rows >= rows.height
            yield Page(rows.slice(start, page_rows), complete=ends)
            start += page_rows


@lie("many_keys_can_be_asked_for")
class LooksAtAThousandKeys(_AsksOtherKeys):
    """Only the first thousand keys are looked at."""

    def _asked(self, keys: list[str]) -> list[str]:
        return keys[:1000]


@lie("pages_are_bounded")
class OneGreatPage(Lie):
    """Everything comes in one page."""

    def _listing(self, pages: list[Page]) -> list[Page]:
        return [replace(pages[-1], rows=pl.concat([page.rows for page in pages]))]


@lie("the_last_page_says_complete")
class AlwaysComplete(Lie):
    """Every page says that it is the last."""

    def _listing(self, pages: list[Page]) -> list[Page]:
        return [replace(page, complete=True) for page in pages]


@lie("the_last_page_says_complete", "an_empty_object_is_complete")
class NeverComplete(Lie):
    """No listing is ever complete."""

    def _listing(self, pages: list[Page]) -> list[Page]:
        return [replace(page, complete=False) for page in pages]


@lie("an_empty_object_is_complete")
class NothingWithoutColumns(Lie):
    """A page without rows has no columns either."""

    def _rows(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows if rows.height else rows.select("__key")


# ---------------------------------------------------------------- what is there


@lie("missing_objects_are_named")
class MissingIsEmpty(Lie):
    """An object that is not there reads as an empty one."""

    def read(
        self,
        obj: ObjectSpec,
        columns: Sequence[str],
        *,
        since: str | None = None,
        keys: Sequence[str] | None = None,
        page_rows: int = PAGE_ROWS,
    ) -> Iterator[Page]:
        """See base.Connector."""
        try:
            return iter(list(self.inner.read(obj, columns, since=since, keys=keys, page_rows=page_rows)))
        except ObjectMissingError:
            return iter([Page(pl.DataFrame(schema={"__key": pl.String} | dict.fromkeys(columns, pl.String)), complete=True)])


@lie("missing_columns_are_named")
class MissingColumnsAreNull(Lie):
    """A column that is not there reads as null."""

    def read(
        self,
        obj: ObjectSpec,
        columns: Sequence[str],
        *,
        since: str | None = None,
        keys: Sequence[str] | None = None,
        page_rows: int = PAGE_ROWS,
    ) -> Iterator[Page]:
        """See base.Connector."""
        known = self.inner.describe(obj).columns
        there = [name for name in columns if name in known]
        for page in self.inner.read(obj, there, since=since, keys=keys, page_rows=page_rows):
            nulls = [pl.lit(None, dtype=pl.String).alias(name) for name in columns if name not in known]
            yield replace(page, rows=page.rows.with_columns(nulls))


@lie("keys_give_exactly_those")
class UnknownKeysMeanAll(_AsksOtherKeys):
    """A key that is not there is ignored, and with it the whole restriction."""

    def _asked(self, keys: list[str]) -> list[str]:
        every = self._everything()
        return keys if set(keys) <= set(every) else every


@lie("keys_give_exactly_those")
class KeysWithoutCase(_AsksOtherKeys):
    """Upper and lower case keys are one."""

    def _asked(self, keys: list[str]) -> list[str]:
        wanted = {key.casefold() for key in keys}
        return [key for key in self._everything() if key.casefold() in wanted]


@lie("strange_keys_work")
class EscapesKeysTwice(_AsksOtherKeys):
    """Quotes and backslashes in keys are escaped once too often."""

    def _asked(self, keys: list[str]) -> list[str]:
        return [key.replace("\\", "\\\\").replace("'", "''") for key in keys]


@lie("number_keys_have_one_text")
class ReadsNumbersInKeys(_AsksOtherKeys):
    """A key text is taken for the number that it might mean."""

    def _asked(self, keys: list[str]) -> list[str]:
        return [str(int(float(key))) if key.strip().replace(".", "").isdecimal() and len(key) < 9 else key for key in keys]


@lie("number_keys_have_one_text")
class UpdatesNumbersInKeys(Lie):
    """The key text of an update is taken for the number that it might mean."""

    def _batch(self, batch: WriteBatch) -> WriteBatch:
        return replace(batch, rows=batch.rows.with_columns(pl.col("__key").str.replace(r"^0+(\d)", "$1")))


@lie("strange_column_names_work")
class FoldsColumnNames(Lie):
    """Column names are lower case."""

    def _rows(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows.rename(str.lower)


@lie("strange_keys_work")
class TrimsKeysOfUpdates(Lie):
    """The key of an update ends at the first blank or quote."""

    def _batch(self, batch: WriteBatch) -> WriteBatch:
        return replace(batch, rows=batch.rows.with_columns(pl.col("__key").str.extract("^([^ '\"]*)")))


@lie("composite_keys_round_trip")
class JoinsKeysPlainly(Lie):
    """The parts of a key are joined without escaping."""

    def _rows(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows.with_columns(pl.col("__key").str.replace_all("\\|", "|", literal=True))


@lie("doubled_keys_are_rejects")
class FirstOfDoubledKey(Lie):
    """Of rows that share a key one is shown as if it were the only one."""

    def _listing(self, pages: list[Page]) -> list[Page]:
        return [replace(page, rows=self._with(page), rejected=()) for page in pages]

    @staticmethod
    def _with(page: Page) -> pl.DataFrame:
        rows = {reject.key for reject in page.rejected if reject.key is not None}
        return pl.concat([page.rows, pl.DataFrame({"__key": sorted(rows)}, schema={"__key": pl.String})], how="diagonal")


@lie("doubled_keys_are_rejects")
class WritesDoubledKeys(Lie):
    """A write to a key that several rows share says that it is done."""

    def _outcomes(self, outcomes: pl.DataFrame) -> pl.DataFrame:
        return outcomes.with_columns(pl.lit("done").alias("__status"))


# ---------------------------------------------------------------- changes since


class _SeesTimes(Lie):
    """A read since a cursor that knows each row's time."""

    def _kept(self, rows: pl.DataFrame, time: pl.Expr) -> pl.DataFrame:
        raise TypeError(f"{type(self).__name__} has to say which of {rows.height} rows stay, by {time}")

    def read(
        self,
        obj: ObjectSpec,
        columns: Sequence[str],
        *,
        since: str | None = None,
        keys: Sequence[str] | None = None,
        page_rows: int = PAGE_ROWS,
    ) -> Iterator[Page]:
        """See base.Connector."""
        if since is None or obj.modified is None:
            yield from self.inner.read(obj, columns, since=since, keys=keys, page_rows=page_rows)
            return
        asked = list(dict.fromkeys((*columns, obj.modified)))
        for page in self.inner.read(obj, asked, since=since, page_rows=page_rows):
            rows = self._kept(page.rows, pl.col(obj.modified))
            yield replace(page, rows=rows.select(name for name in rows.columns if name in columns or name.startswith("__")))


@lie("cursors_are_inclusive")
class ExclusiveCursor(_SeesTimes):
    """Rows of the cursor's own moment are left out."""

    def _kept(self, rows: pl.DataFrame, time: pl.Expr) -> pl.DataFrame:
        return rows.filter(time != time.min())


@lie("cursors_are_inclusive", "resumed_reads_lose_nothing")
class LosesEqualTimes(_SeesTimes):
    """Of rows that share a moment only the first of a page is shown."""

    def _kept(self, rows: pl.DataFrame, time: pl.Expr) -> pl.DataFrame:
        return rows.filter(time.is_first_distinct())


@lie("resumed_reads_lose_nothing")
class CursorRunsAhead(Lie):
    """Every page has the cursor of the end."""

    def _listing(self, pages: list[Page]) -> list[Page]:
        return [replace(page, cursor=pages[-1].cursor) for page in pages]


@lie("edits_move_past_the_cursor")
class CursorStays(Lie):
    """The cursor does not move."""

    def _listing(self, pages: list[Page]) -> list[Page]:
        return [replace(page, cursor=self.since or page.cursor) for page in pages]


@lie("deletes_are_told")
class HidesDeletes(Lie):
    """Deletes are not told."""

    def _listing(self, pages: list[Page]) -> list[Page]:
        return [replace(page, gone=()) for page in pages]


@lie("versions_move_with_content", "written_versions_are_reported")
class VersionStays(Lie):
    """The version never moves."""

    def _rows(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows.with_columns(pl.lit("1").alias("__version"))


@lie("versions_move_with_content")
class VersionAlwaysMoves(Lie):
    """The version moves with every read."""

    reads = 0

    def _rows(self, rows: pl.DataFrame) -> pl.DataFrame:
        VersionAlwaysMoves.reads += 1
        return rows.with_columns(pl.lit(str(VersionAlwaysMoves.reads)).alias("__version"))


@lie("written_versions_are_reported")
class ForgetsVersions(Lie):
    """A write reports no version."""

    def _outcomes(self, outcomes: pl.DataFrame) -> pl.DataFrame:
        return outcomes.with_columns(pl.lit(None, dtype=pl.String).alias("__version"))


# ---------------------------------------------------------------- finding, describing


@lie("find_is_exact")
class FindsWithoutCase(Lie):
    """Finding does not look at case."""

    def find(self, obj: ObjectSpec, columns: Sequence[str], values: pl.DataFrame) -> pl.DataFrame:
        """See base.Connector."""
        rows = self._all(obj, list(dict.fromkeys((*columns, *values.columns))))
        folded = [pl.col(name).str.to_lowercase() for name in values.columns]
        found = rows.join(values.unique(), left_on=folded, right_on=folded, how="semi", nulls_equal=True)
        return found.select("__key", *columns)


@lie("find_is_exact")
class FindsByFirstColumn(Lie):
    """Finding looks at the first column alone."""

    def find(self, obj: ObjectSpec, columns: Sequence[str], values: pl.DataFrame) -> pl.DataFrame:
        """See base.Connector."""
        return self.inner.find(obj, columns, values.select(values.columns[0]))


@lie("find_knows_null")
class NullFindsNothing(Lie):
    """Null is compared with `=`, and so finds nothing."""

    def find(self, obj: ObjectSpec, columns: Sequence[str], values: pl.DataFrame) -> pl.DataFrame:
        """See base.Connector."""
        return self.inner.find(obj, columns, values.drop_nulls())


@lie("objects_are_described")
class DiscoversLess(Lie):
    """An object that was discovered lacks its last column."""

    def discover(self) -> list[ObjectInfo]:
        """See base.Connector."""
        return [replace(info, columns=dict(list(info.columns.items())[:-1])) for info in self.inner.discover()]


def _can_update(world: World) -> bool:
    connector = world.open_plainly(world.settings())
    try:
        return connector.caps.updates
    finally:
        connector.close()


@lie("reading_changes_nothing", applies=_can_update)
class MarksWhatItRead(Lie):
    """Rows that were read are marked as read."""

    def read(self, obj: ObjectSpec, columns: Sequence[str], **how: Any) -> Iterator[Page]:
        """See base.Connector."""
        pages = list(self.inner.read(obj, columns, **how))
        keys = [key for page in pages for key in page.rows.get_column("__key").to_list()]
        marks = pl.DataFrame({"__op": list(range(len(keys))), "__key": keys, "note": ["read"] * len(keys)})
        if keys:
            self.inner.write(obj, WriteBatch(kind="update", rows=marks.with_columns(pl.lit(["note"]).alias("__write"))))
        return iter(pages)
