"""Which rows of a table read as they did before: those on leaves of which every byte is known.

SQLite does not tell when a row was touched. But a leaf of the table's tree (sqlite_leaves) that is what it was holds the rows that it held,
whatever became of the file meanwhile: written by other programs in any journal mode, vacuumed, restored, copied over, under a clock that
went back. So a mark is the digests of the leaves from which rows were read, each taken in the same transaction as its rows were, and a
reading since a mark asks for the rows of all other leaves, and for the keys of these.

What a leaf holds now it may have held before and not in between: a mark speaks of what was read, not of when (`caps.marks_once`). So it
also names the keys that were read or written in any other way since; these rows are read again.

The digests bear the table's definition, how its columns are read, and the version of SQLite, so that rows which would read differently
now are read. Where a transaction's pages cannot be told apart (sqlite_pages), or do not add up to the rows that SQLite shows, the rest
is read as if there were no mark, and none comes of it.
"""

from __future__ import annotations

import base64
import uuid
from abc import abstractmethod
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

import orjson
import polars as pl
import xxhash

from trueup.connectors.base import PAGE_ROWS, Page
from trueup.connectors.sql_read import Select, repaged, shape
from trueup.connectors.sql_types import key_text
from trueup.connectors.sqlbase import SqlConnector
from trueup.connectors.sqlite_leaves import DIGEST_BYTES, BrokenTreeError, Leaf, leaves
from trueup.connectors.sqlite_rows import frame_of
from trueup.connectors.sqlite_tables import literal

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from trueup.connectors.base import WriteBatch
    from trueup.connectors.sql_read import Table
    from trueup.connectors.sqlite_pages import PageFile
    from trueup.connectors.sqlite_rows import AdbcRows, PlainRows
    from trueup.connectors.sqlite_tables import SqliteFacts
    from trueup.model import ObjectSpec

ASKED_KEYS = 20_000
"""How many rows read or written in other ways a mark may name: with more of them there is no mark."""
_PART_BYTES = 1 << 24  # of leaves in one part of a reading, which in the rollback modes is one transaction, and keeps others waiting
_KEY_WEIGHT = 5  # of so many rows the keys are read in the time in which one row is
_TRIES = 20  # to begin a transaction while nobody commits
_LOWEST, _HIGHEST = -(1 << 63), (1 << 63) - 1
_FORM = 1


@dataclass(slots=True)
class _Asked:
    """Keys of rows that were read or written in other ways than by leaves; None: of too many."""

    keys: set[str] | None = field(default_factory=set)

    def add(self, keys: Iterable[str]) -> None:
        if self.keys is not None:
            self.keys.update(keys)
            if len(self.keys) > ASKED_KEYS:
                self.keys = None


@dataclass(slots=True)
class _Reading:
    """A reading announced by `mark`.

    before  what was asked for earlier: what the state has of these rows may be newer than any older mark
    since   what was asked for in the meantime, which is newer than what the leaves showed
    leaves  digests of the leaves that were read; `whole` says whether that is the whole table
    """

    before: _Asked
    since: _Asked = field(default_factory=_Asked)
    leaves: set[bytes] = field(default_factory=set)
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    begun: bool = False
    whole: bool = False

    def mark(self) -> str | None:
        """What was read, as a mark; None where that says too little."""
        if not self.whole or self.since.keys is None:
            return None
        digests = base64.b64encode(b"".join(sorted(self.leaves))).decode()
        return orjson.dumps({"form": _FORM, "leaves": digests, "asked": sorted(self.since.keys)}).decode()


@dataclass(frozen=True, slots=True)
class _Known:
    """A mark, read: digests of leaves, and keys of rows that are to be read whatever their leaf says."""

    leaves: frozenset[bytes] = frozenset()
    asked: frozenset[str] = frozenset()

    @classmethod
    def of(cls, mark: str) -> _Known | None:
        """None for a text that tells of no leaves."""
        if not mark.startswith("{"):
            return None
        parts: dict[str, Any] = orjson.loads(mark)
        if parts["form"] != _FORM:
            return None
        digests = base64.b64decode(parts["leaves"])
        return cls(frozenset(digests[at : at + DIGEST_BYTES] for at in range(0, len(digests), DIGEST_BYTES)), frozenset(parts["asked"]))


@dataclass(frozen=True, slots=True)
class _Part:
    """A run of leaves: raw rows of those that are not known, raw keys of the others, and up to which row number (None: the end)."""

    rows: pl.DataFrame
    same: pl.DataFrame
    digests: list[bytes]
    high: int | None


class MarkingConnector(SqlConnector):
    """The part of the connector that has to do with marks."""

    _readings: dict[tuple[Any, ...], _Reading]  # by object, the newest
    _asked: dict[tuple[Any, ...], _Asked]  # by object, since the newest reading was announced

    @abstractmethod
    def _listing(self, *, paged: bool) -> AbstractContextManager[tuple[AdbcRows | PlainRows, PageFile | None]]:
        """A connection to read many rows with, and (None: not asked for, or not possible) the file's pages."""

    @abstractmethod
    def _pages(
        self, rows: AdbcRows | PlainRows, select: Select, rowid: str, since: str | None, page_rows: int, *, after: int | None = None
    ) -> Iterator[pl.DataFrame]:
        """Raw frames of the rows with numbers above `after`, of a table that has numbers."""

    def mark(self, obj: ObjectSpec) -> str | None:
        """See base.Marking: a name for the reading that follows, out of which `own` makes the mark."""
        if _rowid(self._table(obj)) is None:
            return None
        reading = _Reading(self._asked.pop(_place(obj), _Asked()))
        self._asked[_place(obj)] = reading.since
        self._readings[_place(obj)] = reading
        return reading.token

    def own(self, obj: ObjectSpec, mark: str) -> str:
        """See base.Marking: the leaves that were read since `mark`, and the keys that were asked for or written."""
        reading = self._readings.get(_place(obj))
        return mark if reading is None or reading.token != mark else reading.mark() or mark

    def moved(self, obj: ObjectSpec, columns: Sequence[str], mark: str) -> Iterator[Page] | None:
        """See base.Marking: rows of known leaves are told by key."""
        known, table = _Known.of(mark), self._table(obj)
        reading = self._begin(obj) or _Reading(self._asked.get(_place(obj), _Asked()))
        if known is None or _rowid(table) is None or reading.before.keys is None:
            return None
        select = Select(table, tuple(columns), dated=True)
        select.outputs  # noqa: B018  raises for a missing column at the call, not at the first page
        return self._by_leaves(select, reading, replace(known, asked=known.asked | reading.before.keys), PAGE_ROWS)

    def read(
        self,
        obj: ObjectSpec,
        columns: Sequence[str],
        *,
        since: str | None = None,
        keys: Sequence[str] | None = None,
        page_rows: int = PAGE_ROWS,
    ) -> Iterator[Page]:
        """See base.Connector. The first full reading after `mark` goes by leaves."""
        if keys is not None:
            self._ask(obj, keys)
        if keys is not None or since is not None or (reading := self._begin(obj)) is None:
            return super().read(obj, columns, since=since, keys=keys, page_rows=page_rows)
        select = Select(self._table(obj, fresh=True), tuple(columns), dated=True)
        select.outputs  # noqa: B018  as in `moved`
        return self._by_leaves(select, reading, _Known(), page_rows)

    def find(self, obj: ObjectSpec, columns: Sequence[str], values: pl.DataFrame) -> pl.DataFrame:
        """See base.Connector."""
        found = super().find(obj, columns, values)
        self._ask(obj, found.get_column("__key"))
        return found

    def write(self, obj: ObjectSpec, batch: WriteBatch) -> pl.DataFrame:
        """See base.Connector."""
        self._ask(obj, batch.rows.get_column("__key").drop_nulls())
        outcomes = super().write(obj, batch)
        self._ask(obj, outcomes.get_column("__key").drop_nulls())
        return outcomes

    def _begin(self, obj: ObjectSpec) -> _Reading | None:
        """The reading that was announced by `mark`, once."""
        reading = self._readings.get(_place(obj))
        if reading is None or reading.begun:
            return None
        reading.begun = True
        return reading

    def _ask(self, obj: ObjectSpec, keys: Iterable[str]) -> None:
        self._asked.setdefault(_place(obj), _Asked()).add(keys)

    # ------------------------------------------------------------ reading by leaves

    def _by_leaves(self, select: Select, reading: _Reading, known: _Known, page_rows: int) -> Iterator[Page]:
        """Pages of all rows; what can be told by leaf is, and goes into `reading`. The rest is read plainly."""
        table, rowid = select.table, _rowid(select.table) or ""
        keys, nothing = Select(table, ()), self._nothing(select)
        with self._listing(paged=True) as (rows, file):
            tree = _Tree(rows, file, select, keys, rowid) if file is not None else None
            after: int | None = None
            while tree is not None and (part := tree.part(after, known, page_rows)) is not None:
                reading.leaves.update(part.digests)
                for raw in repaged([part.rows], page_rows):
                    yield self._page(shape(select, raw), None)
                if part.same.height:
                    shaped = shape(keys, part.same)
                    yield Page(nothing.rows, rejected=shaped.rejected, same=shaped.rows.get_column("__key"))
                after = part.high
                if after is None:
                    reading.whole = True
                    yield self._page(nothing, None, complete=True)
                    return
            if (tree is None or not tree.one_moment) and rows.row("PRAGMA journal_mode") == ("wal",):
                rows.run("BEGIN")
            for raw in repaged(self._pages(rows, select, rowid, None, page_rows, after=after), page_rows):
                yield self._page(shape(select, raw), None)
            yield self._page(nothing, None, complete=True)


class _Tree:
    """A table's leaves and rows, seen in the same transactions."""

    def __init__(self, rows: AdbcRows | PlainRows, file: PageFile, select: Select, keys: Select, rowid: str) -> None:
        self.one_moment = False  # in WAL mode one transaction sees all parts
        self._rows, self._file = rows, file
        self._select, self._keys, self._rowid = select, keys, rowid
        table = select.table
        self._reads = Select(table, tuple(table.columns)).outputs
        name = literal(table.info.name)
        self._place = f"SELECT rootpage, sql, sqlite_version() FROM main.sqlite_schema WHERE type = 'table' AND name = {name}"
        self._root, self._seed = 0, 0

    def part(self, after: int | None, known: _Known, page_rows: int) -> _Part | None:
        """The leaves with rows above `after`, as many as make about a page; None where they cannot be told."""
        if not self.one_moment and not self._look():
            return None
        try:
            return self._part(after, known, page_rows)
        except (OSError, BrokenTreeError):
            return None
        finally:
            if not self.one_moment:
                self._rows.run("COMMIT")

    def _look(self) -> bool:
        """Begin a transaction of which the pages can be told. False: there is none, and none is begun."""
        for _try in range(_TRIES):
            before = self._file.log_index()
            self._rows.run("BEGIN")
            place = self._rows.row(self._place)
            try:
                if place is not None and self._file.look(before):
                    self._root = place[0]
                    self._seed = xxhash.xxh3_64_intdigest(
                        "\x00".join([*map(str, place[1:]), str(self._file.encoding), self._reads]).encode()
                    )
                    self.one_moment = self._file.has_log
                    return True
            except (OSError, ValueError):
                pass
            self._rows.run("COMMIT")
        return False

    def _part(self, after: int | None, known: _Known, page_rows: int) -> _Part | None:
        found, size, weight = list[Leaf](), 0, 0
        for leaf in leaves(self._file, self._root, after, self._seed):
            found.append(leaf)
            size += leaf.size
            weight += leaf.rows if leaf.digest in known.leaves else leaf.rows * _KEY_WEIGHT
            if weight >= page_rows * _KEY_WEIGHT or size >= _PART_BYTES:
                break
        # Rows of a leaf that begins earlier were shown as they were in an earlier transaction: nothing can be said of it as a whole.
        torn = found[:1] if found[0].low != after else []
        whole = found[len(torn) :]
        same = [leaf for leaf in whole if leaf.digest in known.leaves]
        touched = [leaf for leaf in whole if leaf.digest not in known.leaves]
        keys = self._query(self._keys, _ranges(same, after))
        again = self._among(keys, known.asked)
        rows = self._query(self._select, [*_ranges([*torn, *touched], after), *((number, number) for number in again)])
        if keys.height != _rows(same) or (not torn and rows.height != _rows(touched) + len(again)):
            return None
        kept = keys.filter(~pl.col("p0").is_in(again)) if again else keys
        return _Part(rows.drop("p0"), kept.drop("p0"), [leaf.digest for leaf in whole], found[-1].high)

    def _query(self, select: Select, ranges: Collection[tuple[int, int]]) -> pl.DataFrame:
        """Raw rows within ranges of row numbers, with the number as `p0`."""
        nothing = pl.DataFrame(schema=frame_of(select, 1))
        if not ranges:
            return nothing
        between = ", ".join(f"({low}, {high})" for low, high in ranges)
        sql = (
            f"WITH part(low, high) AS (VALUES {between}) SELECT {select.outputs}, t.{self._rowid} AS p0"
            f" FROM part CROSS JOIN {select.table.source} AS t WHERE t.{self._rowid} BETWEEN part.low AND part.high"
        )
        return pl.concat([nothing, *self._rows.frames(select, sql, PAGE_ROWS, 1)])

    def _among(self, keys: pl.DataFrame, asked: Collection[str]) -> list[int]:
        """The row numbers of those of the raw keys that are asked for."""
        if not asked or keys.is_empty():
            return []
        parts = [(self._keys.alias(name), self._keys.table.column(name).info.type) for name in self._keys.table.key]
        wanted = key_text(parts).is_in(pl.Series(sorted(asked), dtype=pl.String()).implode())
        return keys.filter(wanted).get_column("p0").to_list()


def _place(obj: ObjectSpec) -> tuple[Any, ...]:
    """What tells one object and its keys from others."""
    return (obj.name, obj.sql, obj.key)


def _rowid(table: Table) -> str | None:
    """What a table's row numbers are called; None where nothing can be promised: of views, queries, and keys that may be doubled."""
    facts = cast("SqliteFacts", table.extra["sqlite"])
    return facts.rowid if table.key_unique and table.source.startswith('"main".') else None


def _rows(found: Sequence[Leaf]) -> int:
    return sum(leaf.rows for leaf in found)


def _ranges(found: Sequence[Leaf], after: int | None) -> list[tuple[int, int]]:
    """The row numbers of leaves, from and to, neighbours as one; only those above `after`."""
    runs: list[tuple[Leaf, Leaf]] = []
    for leaf in found:
        if runs and runs[-1][1].high == leaf.low:
            runs[-1] = (runs[-1][0], leaf)
        else:
            runs.append((leaf, leaf))
    return [
        (
            max((bound for bound in (first.low, after) if bound is not None), default=_LOWEST - 1) + 1,
            _HIGHEST if last.high is None else last.high,
        )
        for first, last in runs
    ]
