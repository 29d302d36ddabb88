"""Reading an object: whole lists, what changed, rows by key and by value, and what is told to be deleted."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

from trueup.connectors.base import Page, Reject
from trueup.connectors.rest.jobs import JobListing
from trueup.connectors.rest.paging import Listing
from trueup.connectors.rest.pointer import at, parse
from trueup.connectors.rest.requests import built
from trueup.connectors.rest.tables import header_of
from trueup.connectors.rest.template import render
from trueup.connectors.rest.values import MisfitError, cells
from trueup.connectors.sql_types import cell_text, instant_of
from trueup.errors import ObjectUnreadableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from concurrent.futures import ThreadPoolExecutor

    from trueup.connectors.rest.client import Client
    from trueup.connectors.rest.objects import RestObject
    from trueup.connectors.rest.schema import ListShape

FEW_KEYS = 50
"""So many rows are asked for one by one; of more than that, the list is looked at first, which shows many at once."""

MANY_DOUBLED = 10_000
"""From so many records on that share their keys, if they are half of the list, the key is the wrong one."""


class Reader:
    """Reads one object. `parents` gives the reader of another object by name."""

    def __init__(self, client: Client, obj: RestObject, parents: Callable[[str], Reader], pool: ThreadPoolExecutor) -> None:
        """The object has been described."""
        self._client = client
        self._obj = obj
        self._parents = parents
        self._pool = pool

    # ---------------------------------------------------------------- lists

    def records(self, shape: ListShape, scope: Mapping[str, Any], ends: list[Listing]) -> Iterator[list[Any]]:
        """The records of a list, page by page; its listings are added to `ends`, to be asked for completeness."""
        if shape.of is None:
            yield from self._listed(shape, scope, ends)
            return
        for key, parent in self._parents(shape.of).each_parent():
            for records in self._listed(shape, {**scope, "parent": key}, ends):
                for record in records:
                    if isinstance(record, dict):
                        record.setdefault("$parent", parent)
                yield records

    def each_parent(self) -> Iterator[tuple[Any, str]]:
        """Key of every row, as requests spell it and as its text."""
        ends: list[Listing] = []
        for records in self.records(self._obj.shape.read.full, self._obj.scope, ends):
            for record in records:
                key = self._obj.key_of(record) if isinstance(record, dict) else None
                parts = self._obj.key_parts([key])[0] if key is not None else None
                if key is not None and parts is not None and not self._obj.is_gone(record):
                    yield self._obj.scope_of(key, parts)["id"], key

    def _listed(self, shape: ListShape, scope: Mapping[str, Any], ends: list[Listing]) -> Iterator[list[Any]]:
        what = f"{self._obj.name} ({shape.method} {shape.path})"
        if shape.job is not None:
            yield from JobListing(self._client, shape, shape.job, scope, what)
            return
        listing = Listing(self._client, shape, scope, what)
        ends.append(listing)
        for records in listing:
            if shape.header:
                self._obj.header = listing.header
            yield records

    def header(self) -> list[str | None]:
        """The columns of a table in their order, as they are now."""
        shape = self._obj.shape.read.header
        if shape is not None:
            for cells in self._listed(shape, self._obj.scope, []):
                self._obj.header = header_of(cells)
        elif not self._obj.header:
            for _ in self._listed(self._obj.shape.read.full, self._obj.scope, []):
                break
        return self._obj.header

    # ---------------------------------------------------------------- the contract

    def read(
        self, columns: Sequence[str], modified: str | None, since: str | None, keys: Sequence[str] | None, page_rows: int
    ) -> Iterator[Page]:
        """See base.Connector."""
        if keys is not None:
            return self._keyed(columns, keys, page_rows)
        if since is not None and modified is None:
            raise ObjectUnreadableError(
                f"{self._obj.name} cannot be read from a cursor",
                hint="name its `modified` column, or read everything",
                system=self._client.system,
            )
        return self._whole(columns, modified, since, page_rows)

    def _whole(self, columns: Sequence[str], modified: str | None, since: str | None, page_rows: int) -> Iterator[Page]:
        obj = self._obj
        changed = obj.shape.read.changed if since is not None else None
        is_sorted = changed is not None and changed.cursor is not None and changed.cursor.sorted
        scope, start = self._since(since, changed.cursor.overlap_s if changed is not None and changed.cursor is not None else 0.0)
        shape = changed or obj.shape.read.full
        newest = _Newest(obj, modified, since)
        sheet = _Sheet(obj, columns, page_rows, moments=changed is not None)
        ends: list[Listing] = []
        told: dict[str, None] = {}
        for records in self.records(shape, scope, ends):
            kept = sheet.fresh(records, told)
            if modified is not None:
                moments = newest.moments(kept)
                kept = newest.add(kept, moments, start if changed is not None else since)
            for rows, rejected in sheet.add(kept):
                yield Page(rows, newest.cursor if is_sorted else since, rejected=rejected)
        if obj.shape.read.deleted is not None:
            told |= dict.fromkeys(self._deleted(scope))
        gone = tuple(key for key in told if not sheet.shows(key))
        complete = all(listing.has_shown_all(sheet.count) for listing in ends) if shape.of is None else True
        rows, rejected = sheet.rest()
        yield Page(rows, newest.cursor if complete else since, complete=complete, rejected=rejected, gone=gone)

    def _since(self, since: str | None, overlap_s: float) -> tuple[dict[str, Any], str | None]:
        """What requests may use, and the cursor that they begin at."""
        if since is None:
            return {**self._obj.scope, "since": None}, None
        moment = instant_of(since)
        if moment is None or not since[:1].isdigit() or "-" not in since:
            return {**self._obj.scope, "since": int(since) if since.lstrip("-").isdigit() else since}, since
        try:
            moment -= timedelta(seconds=overlap_s)
        except OverflowError:
            moment = datetime.min.replace(tzinfo=moment.tzinfo)
        return {**self._obj.scope, "since": moment}, moment.isoformat()

    def _deleted(self, scope: Mapping[str, Any]) -> Iterator[str]:
        shape = self._obj.shape.read.deleted
        assert shape is not None
        for records in self.records(shape, scope, []):
            for record in records:
                shown = record if isinstance(record, dict) else {parse(self._obj.shape.key[0])[-1]: record}
                key = self._obj.key_of(shown)
                if key is not None:
                    yield key

    # ---------------------------------------------------------------- by key

    def _keyed(self, columns: Sequence[str], keys: Sequence[str], page_rows: int) -> Iterator[Page]:
        sheet = _Sheet(self._obj, columns, page_rows)
        told: dict[str, None] = {}
        for found in self.by_key(keys, told):
            etags = {id(record): etag for record, etag in found}
            records = sheet.fresh([record for record, _ in found], told)
            for rows, rejected in sheet.add(records, [etags[id(record)] for record in records]):
                yield Page(rows, rejected=rejected)
        rows, rejected = sheet.rest()
        yield Page(rows, complete=True, rejected=rejected, gone=tuple(key for key in told if not sheet.shows(key)))

    def by_key(self, keys: Sequence[str], told: dict[str, None] | None = None) -> Iterator[list[tuple[Any, str | None]]]:
        """Records with these keys, each once, with their ETag where they were asked for one by one."""
        asked = {
            key: parts for key, parts in zip(dict.fromkeys(keys), self._obj.key_parts(list(dict.fromkeys(keys))), strict=True) if parts
        }
        told = {} if told is None else told
        read = self._obj.shape.read
        if not asked:
            return
        if read.many is not None:
            yield from self._by_many(asked, told)
        elif read.one is None or (len(asked) > FEW_KEYS and not read.full.lags):
            yield from self._by_list(asked, told)
        else:
            yield from self._by_one(asked, told)

    def _by_many(self, asked: Mapping[str, Mapping[str, Any]], told: dict[str, None]) -> Iterator[list[tuple[Any, str | None]]]:
        shape = self._obj.shape.read.many
        assert shape is not None
        left = list(asked)
        for start in range(0, len(left), shape.max):
            part = left[start : start + shape.max]
            scopes = [self._obj.scope_of(key, asked[key]) for key in part]
            ids = [scope["id"] if shape.each is None else render(shape.each, scope) for scope in scopes]
            wanted = set(part)
            for records in self.records(shape, {**self._obj.scope, "ids": ids}, []):
                yield self._wanted(records, wanted, told)

    def _by_list(self, asked: Mapping[str, Mapping[str, Any]], told: dict[str, None]) -> Iterator[list[tuple[Any, str | None]]]:
        """Rows found in the list; those that it has not shown after as many pages as there are keys are asked for one by one."""
        wanted = set(asked)
        ends: list[Listing] = []
        shown = 0
        for records in self.records(self._obj.shape.read.full, self._obj.scope, ends):
            shown += len(records)
            yield self._wanted(records, wanted, told)
            if not wanted:
                return
            if self._obj.shape.read.one is not None and sum(listing.pages for listing in ends) > len(asked):
                yield from self._by_one({key: asked[key] for key in asked if key in wanted}, told)
                return
        if not all(listing.has_shown_all(shown) for listing in ends):
            if self._obj.shape.read.one is None:
                raise ObjectUnreadableError(
                    f"{self._obj.name}: its list changes faster than it can be read, and single rows cannot be asked for",
                    hint="describe how one row is read (`read: {one: …}`)",
                    system=self._client.system,
                )
            yield from self._by_one({key: asked[key] for key in asked if key in wanted}, told)

    def _wanted(self, records: Sequence[Any], wanted: set[str], told: dict[str, None]) -> list[tuple[Any, str | None]]:
        """Those records of which the keys are wanted, which they are not any more afterwards."""
        shown = [record for record in records if isinstance(record, dict)]
        found: list[tuple[Any, str | None]] = []
        keys = self._obj.keys_of(shown, {})
        doubled = self._obj.doubled(shown, keys) & wanted
        for record, key in zip(shown, keys, strict=True):
            if key is None or (key not in wanted and key not in doubled):
                continue
            wanted.discard(key)
            if self._obj.is_gone(record):
                told[key] = None
            else:
                found.append((record, None))
        return found

    def _by_one(self, asked: Mapping[str, Mapping[str, Any]], told: dict[str, None]) -> Iterator[list[tuple[Any, str | None]]]:
        for part in _parts(list(asked.items()), 256):
            found = []
            for (key, _), answer in zip(part, self._pool.map(lambda item: self.one(*item), part), strict=True):
                if answer is None:
                    continue
                if self._obj.is_gone(answer[0]):
                    told[key] = None
                else:
                    found.append(answer)
            yield found

    def one(self, key: str, parts: Mapping[str, Any]) -> tuple[Any, str | None] | None:
        """One record with its ETag, asked for by key; None where there is none. Raises what keeps it from being read."""
        shape = self._obj.shape.read.one
        if shape is None:
            many = self._obj.shape.read.many is not None
            looked_up = self._by_many({key: parts}, {}) if many else self._by_list({key: parts}, {})
            shown = [found for records in looked_up for found in records]
            if len(shown) > 1:
                raise ObjectUnreadableError(
                    f"{self._obj.name}: the key {key} occurs more than once", hint="tell the rows apart", system=self._client.system
                )
            return shown[0] if shown else None
        response, trouble = self._client.ask(built(shape, self._obj.scope_of(key, parts)), repeat=True)
        if trouble is not None:
            if trouble.means == "gone":
                return None
            raise self._client.error(trouble, f"{self._obj.name} {key}")
        record = at(response.json(), parse(shape.item))
        if isinstance(record, list):
            record = record[0] if record else None
        if not isinstance(record, dict) or self._obj.key_of(record) != key:  # others take `7` and `007`, or `a` and `A`, for one key
            return None
        return record, response.headers.get("etag")

    # ---------------------------------------------------------------- by value

    def find(self, columns: Sequence[str], values: pl.DataFrame) -> pl.DataFrame:
        """See base.Connector."""
        names = values.columns
        everything = list(dict.fromkeys([*columns, *names]))
        sheet = _Sheet(self._obj, everything, 1_000)
        frames = []
        wanted = _comparable(self._obj, values, names)
        for records in self._candidates(values):
            for rows, _ in sheet.add(sheet.fresh(records, {})):
                frames.append(_matching(self._obj, rows, wanted, names))
        frames.append(_matching(self._obj, sheet.rest()[0], wanted, names))
        found = pl.concat(frames, how="diagonal").filter(~pl.col("__key").is_in(list(sheet.doubled)))
        extra = [name for name in found.columns if name in {"__version", "__absent"}]
        if "__absent" in extra:
            found = found.with_columns(pl.col("__absent").list.set_intersection(list(columns)))
        return found.select("__key", *columns, *extra)

    def _candidates(self, values: pl.DataFrame) -> Iterator[list[Any]]:
        """Records among which all that are looked for are: asked for by value where the application can do that, else the whole list."""
        if values.is_empty():
            return
        shape = self._obj.shape.read.find
        searched = []
        for row in values.unique().to_dicts() if shape is not None else ():
            usable = [name for name in row if row[name] is not None and (not shape.columns or name in shape.columns)] if shape else []
            if not usable:
                break
            searched.append((usable[0], row[usable[0]]))
        if shape is None or len(searched) < values.unique().height:
            yield from self.records(self._obj.shape.read.full, self._obj.scope, [])
            return
        for name, value in dict.fromkeys(searched):
            try:
                spelled = self._obj.columns[name].write(value)
            except MisfitError:
                continue
            yield from self.records(shape, {**self._obj.scope, "column": name, "value": spelled}, [])


class _Sheet:
    """Collects records into pages that are no longer than asked for.

    A record that comes again, because rows moved, is shown once, as it came first. Different records with the text of one key are rejects:
    those of one answer that differ, and, wherever they stand in the list, those of which JSON tells the keys apart.
    """

    def __init__(self, obj: RestObject, columns: Sequence[str], page_rows: int, *, moments: bool = False) -> None:
        """`moments`: the list may show a record as it was at several moments."""
        self._obj = obj
        self._columns = list(columns)
        self._page_rows = page_rows
        self._moments = moments
        self._records: list[Any] = []
        self._etags: list[str | None] = []
        self._strays: list[Reject] = []
        self._known: dict[int, tuple[type, ...]] = {}  # hash of a key -> what JSON has there
        self._kinds: dict[tuple[type, ...], tuple[type, ...]] = {}  # each but once
        self.doubled: dict[str, list[Any]] = {}  # key -> different records that came after it was known, or together
        self._refused = 0
        self.count = 0

    def shows(self, key: str) -> bool:
        """Whether a record with this key was there."""
        return hash(key) in self._known or key in self.doubled

    def fresh(self, records: Sequence[Any], told: dict[str, None]) -> list[Any]:
        """Records that were not shown yet. What is no record is a reject; what is deleted is told.

        Raises ObjectUnreadableError where the key tells hardly any record from another.
        """
        shown = [record for record in records if isinstance(record, dict)]
        self._strays += [Reject(None, "there is no object where a record should be") for _ in range(len(records) - len(shown))]
        found = []
        keys = self._obj.keys_of(shown, {})
        gone = [self._obj.is_gone(record) for record in shown]
        doubled = self._obj.doubled(shown, [None if left else key for key, left in zip(keys, gone, strict=True)], moments=self._moments)
        for record, key, left in zip(shown, keys, gone, strict=True):
            if key is not None and left:
                told[key] = None
                continue
            if key is not None:
                if key in doubled or key in self.doubled:
                    self._double(key, record, together=key in doubled)
                    continue
                kinds = self._obj.kinds_of(record)
                known = self._known.get(hash(key))
                if known is not None:
                    if known != kinds:
                        self._double(key, record)
                    continue
                self._known[hash(key)] = self._kinds.setdefault(kinds, kinds)
            self.count += 1
            found.append(record)
        return found

    def _double(self, key: str, record: Any, *, together: bool = False) -> None:
        """Set a record aside that shares its key with others. Raises ObjectUnreadableError where most of the list do."""
        others = self.doubled.setdefault(key, [])
        again = not together and self._known.get(hash(key)) == self._obj.kinds_of(record)
        if again or not self._obj.is_another(record, others):
            return
        others.append(record)
        self.count += 1
        self._refuse(key, record)
        self._refused += 1
        if self._refused >= MANY_DOUBLED and self._refused * 2 >= self.count:
            raise ObjectUnreadableError(
                f"{self._refused} records of {self._obj.name} share their key ({', '.join(self._obj.key)}) with another one",
                hint="name the member, or the members, that tell records apart as `key` of the connector file",
                system=self._obj.system,
            )

    def _refuse(self, key: str, record: Any) -> None:
        names = ", ".join(self._obj.key)
        reason = f"the key ({names}) occurs more than once"
        self._strays.append(Reject(key, reason, self._obj.shown_key(record), self._obj.key[0], doubled=True))

    def add(self, records: Sequence[Any], etags: Sequence[str | None] | None = None) -> Iterator[tuple[pl.DataFrame, tuple[Reject, ...]]]:
        """Take records in; pages that are full come out, and one always stays for `rest`."""
        self._records += records
        self._etags += etags if etags is not None else [None] * len(records)
        while len(self._records) > self._page_rows:
            yield self._page(self._page_rows)

    def rest(self) -> tuple[pl.DataFrame, tuple[Reject, ...]]:
        """The last page."""
        return self._page(self._page_rows)

    def _page(self, rows: int) -> tuple[pl.DataFrame, tuple[Reject, ...]]:
        records, self._records = self._records[:rows], self._records[rows:]
        etags, self._etags = self._etags[:rows], self._etags[rows:]
        if self.doubled:  # some were taken in before they were known to share their key
            keys = self._obj.keys_of(records, {})
            for record, key in zip(records, keys, strict=True):
                if key in self.doubled:
                    self._refuse(key, record)
            kept = [number for number, key in enumerate(keys) if key not in self.doubled]
            records, etags = [records[number] for number in kept], [etags[number] for number in kept]
        versions = None
        if self._obj.version is not None and (self._obj.version != "etag" or any(etags)):
            versions = [self._obj.version_of(record, etag) for record, etag in zip(records, etags, strict=True)]
        frame, rejected = self._obj.frame(records, self._columns, versions)
        strays, self._strays = self._strays, []
        return frame, (*rejected, *strays)


class _Newest:
    """The newest moment of the rows of one read, as a cursor."""

    def __init__(self, obj: RestObject, modified: str | None, since: str | None) -> None:
        self._column = obj.columns[modified] if modified is not None else None
        self.cursor = since
        self._top = None if since is None or self._column is None else self._value(since)

    def _value(self, text: str) -> Any:
        kind = self._column.type if self._column is not None else "text"
        if kind in {"datetime", "timestamp"}:
            return instant_of(text)
        return int(text) if kind == "integer" and text.lstrip("-").isdigit() else text

    def moments(self, records: Sequence[Any]) -> pl.Series:
        """When each was changed."""
        assert self._column is not None
        return cells(self._column, records, {})

    def add(self, records: list[Any], moments: pl.Series, start: str | None) -> list[Any]:
        """Note the newest; where `start` is given, only those dated then or later stay."""
        assert self._column is not None
        values = moments.to_list()
        if start is not None:
            least = self._value(start)
            kept = [(record, value) for record, value in zip(records, values, strict=True) if value is not None and value >= least]
            records, values = [record for record, _ in kept], [value for _, value in kept]
        top = max((value for value in values if value is not None), default=None)
        if top is not None and (self._top is None or top > self._top):
            self._top = top
            dated = pl.Series("at", [top], dtype=moments.dtype)
            self.cursor = dated.to_frame().select(cell_text(pl.col("at"), self._column.type)).item()
        return records


def _comparable(obj: RestObject, rows: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    return rows.select(
        pl.col(name).list.join("\x00")
        if isinstance(rows.schema[name], pl.List)
        else cell_text(pl.col(name), obj.columns[name].type).cast(pl.String)
        for name in names
    )


def _matching(obj: RestObject, rows: pl.DataFrame, wanted: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    here = _comparable(obj, rows, names).with_columns(__key=rows["__key"])
    kept = here.join(wanted, on=list(names), how="semi", nulls_equal=True)
    return rows.join(kept.select("__key"), on="__key", how="semi", maintain_order="left")


def _parts(items: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
