"""Observe one system: read, decide presence on native keys, and keep only rows that are new or read differently than before.

A row is compared with its shadow by the fingerprint of what was read, before any filter or mapping; only rows that differ are mapped.
A disappearance is believed only after those keys were read once more. A row under the key of one that is gone may be another record's:
it is matched as any new row, where the entity has match rules.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, cast

import polars as pl

from trueup.core import quick
from trueup.core.cells import ASIDE, AT, GID, KEY, STILL, SYSTEM, VERSION, WAS, beside
from trueup.core.facts import FILTERED, FINGERPRINT, KHASH, MISSING, PRESENT, WITHDRAWN
from trueup.core.fingerprint import key_hash, match_hash, native_fingerprint
from trueup.core.frames import FEW_ROWS, constant, differ, exchanged, is_given, keep, stacked, sure, typed
from trueup.errors import TrueupError
from trueup.runtime.cursors import step_back
from trueup.runtime.observation import FAILURE_SCHEMA, NO_FAILURES, Observation
from trueup.runtime.outsiders import Outsiders
from trueup.runtime.presence import Presence, census_of
from trueup.runtime.reconsidering import not_shared, take_back
from trueup.runtime.references import reference_fields, to_be_written, to_golden
from trueup.runtime.together import Together
from trueup.store import shadow as shadow_table

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence
    from datetime import datetime

    from trueup.connectors.base import Marking, Page, Reject
    from trueup.core.mapping import CompiledMapping
    from trueup.core.rereading import BothWays, Rereading
    from trueup.model import Entity
    from trueup.runtime.hands import Hands
    from trueup.runtime.spill import Spill
    from trueup.runtime.systems import Seat
    from trueup.store import Store

CONFIRM_ROWS = 10_000
KNOWN_BY_KEY = 100_000
"""How many touched rows are looked up by key in the state, before the index of all is loaded."""
_LOOKED_UP = {"at": pl.UInt32(), "fingerprint": pl.Int64(), GID: pl.Int64(), "state": pl.Int64()}
INDEX_SCHEMA = pl.Schema({KHASH: pl.Int64(), "fingerprint": pl.Int64(), GID: pl.Int64(), "state": pl.Int64()})


@dataclass(frozen=True)
class _Index:
    """Known rows of a system, to be searched page by page; sorted by key hash, if they are not few."""

    rows: pl.DataFrame

    def look(self, hashes: pl.Series) -> pl.DataFrame:
        """Per hash: `at` (position, null where unknown), fingerprint, __gid and state."""
        if 0 < self.rows.height <= FEW_ROWS and len(hashes) <= FEW_ROWS:
            return self._look_at_few(hashes)
        if self.rows.is_empty():
            return quick.frame([constant(name, None, len(hashes), kind) for name, kind in _LOOKED_UP.items()])
        at = self.rows[KHASH].search_sorted(hashes).clip(0, self.rows.height - 1).cast(pl.UInt32)
        found = self.rows[at]
        return found.select(
            pl.when(pl.col(KHASH) == hashes).then(pl.Series(at)).alias("at"),
            *[pl.when(pl.col(KHASH) == hashes).then(pl.col(name)).alias(name) for name in ("fingerprint", GID, "state")],
        )

    def _look_at_few(self, hashes: pl.Series) -> pl.DataFrame:
        rows = quick.chosen(self.rows, [KHASH, "fingerprint", GID, "state"]).rows()
        at = {khash: (number, *rest) for number, (khash, *rest) in enumerate(rows)}
        told = list(zip(*(at.get(khash, (None,) * 4) for khash in hashes.to_list()), strict=True)) or [()] * 4
        return quick.frame([quick.series(name, values, kind) for (name, kind), values in zip(_LOOKED_UP.items(), told, strict=True)])


class Observer:
    """Reads one system of one entity into a spill."""

    def __init__(
        self,
        store: Store,
        entity: Entity,
        seat: Seat,
        spill: Spill,
        tick: Callable[[int], None] | None,
        now: datetime,
        *,
        reread: Rereading | None = None,
        hands: Hands | None = None,
    ) -> None:
        """`tick` hears of every page's row count; `now` is the latest that an edit can have been made, whatever its system says.

        `reread` tells how rows were read before the mapping changed: they are read both ways. `hands` are others who read parts of large
        systems.
        """
        self._hands = hands
        self._reread = reread
        self._may_be_still = False
        self._now = now
        self._store = store
        self._rules = entity
        self._entity = entity.name
        self._seat = seat
        self._spill = spill
        self._tick = tick or (lambda _rows: None)
        self._outsiders = Outsiders(store, entity.name, seat.name) if seat.compiled.where is not None else None
        self._rejected: list[tuple[str | None, str, str | None, str]] = []
        self._doubled: set[str] = set()
        self._map_failures: list[pl.DataFrame] = []

    def sweep(self, *, mark: bool = False, in_parts: bool = False) -> Observation:
        """Read everything; rows that are not there any more are confirmed by key. `mark` takes a mark for a later `touched`.

        `in_parts`: of rows that nobody touched since a mapping changed, only the fields that read otherwise are kept.
        """
        self._may_be_still = in_parts
        result = Observation(self._seat.name, full=True, whole=True)
        if mark:
            result.mark = cast("Marking", self._seat.connector).mark(self._seat.mapping.object)
        index = self._index()
        result.known_rows = index.rows.filter(pl.col("state") != MISSING).height
        positions: list[pl.Series] = []
        highest: str | None = None
        with closing(self._all()) as everything, closing(_ahead(everything)) as ahead:  # nothing is fetched any more when it is closed
            for page in ahead:
                positions.append(self._take(page, index, result))
                result.complete = page.complete
                highest = page.cursor or highest
        result.cursor = highest
        if result.complete:
            self._find_gone(index, positions, result)
        return self._finish(result)

    def touched(self, mark: str, keys: Sequence[str]) -> Observation:
        """Like `sweep`, but of rows that nobody touched since a mark only the keys are read. `keys` are unsettled: they are read besides.

        An untouched row is known, or settled to be nothing to us (outside of the filter), or among `keys`: the mark was kept only then.
        """
        fresh = self._marking.mark(self._seat.mapping.object)
        pages = self._moved(mark) if fresh is not None else None
        if pages is None:
            return self.sweep(mark=True)
        result = Observation(self._seat.name, full=True, mark=fresh)
        presence = Presence()
        index: _Index | None = None
        for page in _ahead(pages):
            if page.same is not None:
                self._tick(page.same.len())
                presence.untouched(page.same)
                if self._outsiders is not None:
                    self._outsiders.untouched(page.same)
            if index is None and presence.read_rows > KNOWN_BY_KEY:
                index = self._index()
            known = index or self._known(_shown_keys(page))
            self._take(page, known, result)
            presence.read(_shown_keys(page), known.rows if index is None else None)
            result.complete = page.complete
        result.counts.read += presence.untouched_rows
        with self._store.read() as db:
            census = census_of(index.rows) if index else shadow_table.census(db, self._entity, self._seat.name)
            again = [*keys, *shadow_table.unsettled(db, self._entity, self._seat.name, census)]
            whole = presence.adds_up(census)
            if not whole:
                again += presence.reappeared(shadow_table.missing(db, self._entity, self._seat.name))
        result.known_rows = census.known
        if result.complete and not whole:
            index = index or self._index()
            self._confirm_gone(presence.vanished(index.rows), result)
        if again := presence.unread(again):
            read = result.counts.read
            self._by_key(again, result)
            result.counts.read = read  # they were counted when they were listed
        return self._finish(result)

    @property
    def _marking(self) -> Marking:
        return cast("Marking", self._seat.connector)

    def _moved(self, mark: str) -> Iterator[Page] | None:
        return self._marking.moved(self._seat.mapping.object, self._seat.compiled.read_columns, mark)

    def _index(self) -> _Index:
        with self._store.read() as db:
            rows = shadow_table.index(db, self._entity, self._seat.name)
        return _Index(rows.rename({"khash": KHASH, "gid": GID}).sort(KHASH))

    def changes(self, cursor: str, overlap_s: float, keys: Sequence[str]) -> Observation:
        """Read what was modified since a cursor (a little earlier, for late commits), and the given unsettled keys."""
        result = Observation(self._seat.name, cursor=cursor)
        for page in self._read(since=step_back(cursor, overlap_s)):
            self._take(page, self._known(page.rows[KEY]), result)
            result.cursor = page.cursor or result.cursor
        if keys:
            self._by_key(keys, result)
        return self._finish(result)

    def look(self, keys: Sequence[str]) -> Observation:
        """Read the given keys only; known ones that are not there are gone. Of those that rows share, only a list tells."""
        result = Observation(self._seat.name)
        self._by_key(not_shared(self._store, self._entity, self._seat.name, keys), result)
        return self._finish(result)

    # -------------------------------------------------------------- pages

    def _all(self) -> Generator[Page]:
        """Everything; with others where there are any, and the system can be shared."""
        hands, seat = self._hands, self._seat
        if hands is None or not seat.connector.caps.parts or not hands.count(seat.name):
            return self._read()
        return Together(seat, self._columns, hands).pages()

    @property
    def _columns(self) -> tuple[str, ...]:
        return self._seat.compiled.read_columns if self._reread is None else self._reread.columns

    def _read(self, since: str | None = None, keys: Sequence[str] | None = None) -> Generator[Page]:
        yield from self._seat.connector.read(self._seat.mapping.object, self._columns, since=since, keys=keys)

    def _known(self, keys: pl.Series) -> _Index:
        """The index of just these rows."""
        with self._store.read() as db:
            shadows = shadow_table.by_key(db, self._entity, self._seat.name, keys)
        columns = {KHASH: shadows["khash"], "fingerprint": shadows["fingerprint"], GID: shadows["gid"], "state": shadows["state"]}
        rows = typed(quick.table(columns), INDEX_SCHEMA)
        return _Index(rows if keys.len() <= FEW_ROWS else rows.sort(KHASH))

    def _take(self, page: Page, index: _Index, result: Observation) -> pl.Series:
        """Keep the page's rows that are new or differ. Returns the index positions that the page showed, rejected rows included."""
        compiled = self._seat.compiled
        native = page.rows
        self._tick(native.height)
        result.counts.read += native.height + len(page.rejected)
        self._reject(page.rejected)
        shown = native[KEY]
        named = [reject.key for reject in page.rejected if reject.key is not None]
        if page.gone:
            self._told_gone(page.gone, result)
        hashes = key_hash(shown)
        if self._outsiders is not None:
            self._outsiders.read(pl.concat([hashes, key_hash(pl.Series(KEY, named, dtype=pl.String))]) if named else hashes)
        known = index.look(hashes)
        prints = native_fingerprint(native, compiled.value_columns)
        state, gids = known["state"], known[GID]
        if self._rules.match and (state == MISSING).any():
            gids = known.select(pl.when(pl.col("state") != MISSING).then(GID))[GID]
        marks = native.hstack(
            [
                hashes.alias(KHASH),
                prints.alias(FINGERPRINT),
                gids,
                known["at"].alias("_at"),
                known["fingerprint"].alias("_known"),
                state.alias("_state"),
            ]
        )
        settled = sure((state == PRESENT) | (state == FILTERED) | (state == WITHDRAWN))
        asked = differ(known["fingerprint"], prints) | ~settled | ~is_given(known["at"])
        if self._outsiders is not None:
            self._outsiders.outside(keep(marks, sure(~asked & (state == FILTERED))))
        if self._reread is None:
            self._keep(keep(marks, asked), result)
        else:
            self._keep_otherwise(marks, asked, self._reread, result)
        places = known["at"]
        if named:
            places = pl.concat([places, index.look(key_hash(pl.Series(KEY, named, dtype=pl.String)))["at"]])
        return places.drop_nulls() if places.null_count() else places

    def _keep_otherwise(self, marks: pl.DataFrame, asked: pl.Series, reread: Rereading, result: Observation) -> None:
        """Keep the rows to look at, and those that read otherwise since the mapping changed; `_touched` marks those that somebody wrote.

        Of a row that stands there as it was last read, only what reads otherwise is kept: all else reads as it did.
        """
        kept = marks
        if not reread.every_row:
            rest = keep(marks, ~asked)
            both = reread.both_ways(_native(rest))
            full = both.otherwise
            if self._in_parts:
                still = both.otherwise & ~both.bad & (rest["_state"] == PRESENT)
                full &= ~still
                self._keep_still(keep(rest, still), both, still, reread, result)
            wanted = asked.clone().scatter((~asked).arg_true().filter(full), values=True) if full.any() else asked
            kept = keep(marks, wanted)
        known = {frozenset(self._seat.compiled.value_columns): kept[FINGERPRINT]}
        self._keep(kept.with_columns(~reread.untouched(kept, kept["_known"], known).alias("_touched")), result)

    def _keep_still(self, rows: pl.DataFrame, both: BothWays, still: pl.Series, reread: Rereading, result: Observation) -> None:
        """Put what reads otherwise of known rows that nobody touched, those that are `still` among `both`, into the spill."""
        if rows.is_empty():
            return
        compiled = self._seat.compiled
        matched = [name for name in dict.fromkeys(name for rule in self._rules.match for name in rule) if name not in reread.fields]
        rematched = any(name in reread.fields for rule in self._rules.match for name in rule)
        cells = keep(both.now, still)
        if rematched and matched:
            cells = cells.hstack(compiled.cells_of(_native(rows), matched).get_columns())
        version = [rows[VERSION]] if VERSION in rows.columns else []
        kept = quick.frame(
            [
                *quick.chosen(rows, [KEY, KHASH, FINGERPRINT, GID]).get_columns(),
                self._until_now(compiled.edited_at(rows)).alias(AT),
                *version,
                constant(STILL, value=True, rows=rows.height, dtype=pl.Boolean()),
                *cells.get_columns(),
                *reread.listed([keep(before, still) for before in both.past], rows.height).get_columns(),
            ]
        )
        if rematched:
            again = keep(kept, self._matches_otherwise(kept, kept))
            if not again.is_empty():
                result.known_again.append(self._match_rows(again, result.pages))
        result.gids.append(kept[GID])
        self._spill.add((self._seat.name, result.pages), kept)
        result.pages += 1

    @property
    def _in_parts(self) -> bool:
        """Whether rows may be kept in part: references are told as records, for which the whole row is looked at."""
        read = self._reread.fields if self._reread is not None else ()
        return self._may_be_still and not any(self._rules.fields[name].type == "reference" for name in read)

    def _keep(self, kept: pl.DataFrame, result: Observation) -> None:
        """Map the rows that take part and put them into the spill."""
        if kept.is_empty():
            return
        rows = self._mapped(kept if self._seat.compiled.where is None else self._inside(kept, result), result)
        linked = is_given(rows[GID])
        fresh, again = keep(rows, ~linked), keep(rows, linked)
        if self._reread is None:
            result.changed += again.height
        else:
            rows, again = self._both_ways(rows, again, kept, self._reread, result)
        if rows.is_empty():
            return
        result.gids.append(rows[GID].drop_nulls() if rows[GID].null_count() else rows[GID])
        if not fresh.is_empty():
            result.new_rows.append(self._match_rows(fresh, result.pages))
        if not again.is_empty() and self._rules.match:
            result.known_again.append(self._match_rows(again, result.pages))
        self._spill.add((self._seat.name, result.pages), rows)
        result.pages += 1

    def _mapped(self, kept: pl.DataFrame, result: Observation) -> pl.DataFrame:
        """Rows as cells, with their marks and references as golden ids; those that cannot be mapped are noted."""
        mapped = self._seat.compiled.to_cells(_native(kept))
        if not mapped.rejected.is_empty():
            self._map_failures.append(mapped.rejected.select(KEY, pl.lit("map").alias("stage"), "field", "reason"))
        rows = beside(mapped.rows, quick.chosen(kept, [KEY, KHASH, FINGERPRINT, GID]), KEY)
        rows = exchanged(rows, self._until_now(rows[AT]))
        if reference_fields(self._rules, self._seat.name) and not rows.is_empty():
            with self._store.read() as db:
                rows, waiting, outdated = to_golden(db, self._rules, self._seat.name, rows)
            rows = to_be_written(rows, outdated.filter(pl.col("field").is_in(self._rules.written(self._seat.name))))
            result.waiting.update(waiting)
            if waiting:
                rows = self._as_far_as_known(rows, waiting)
        return rows

    def _until_now(self, edited: pl.Series) -> pl.Series:
        """Times of edits, none of them in the future."""
        if edited.null_count() == edited.len():
            return edited
        now = constant(edited.name, self._now, edited.len(), edited.dtype)
        return now.zip_with(sure(edited > self._now), edited)

    # -------------------------------------------------------------- rows read under the mappings of before as well

    def _both_ways(
        self, rows: pl.DataFrame, again: pl.DataFrame, every: pl.DataFrame, reread: Rereading, result: Observation
    ) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The rows with what they read as before, known ones that take no part among them; and the known rows that are to be matched again.

        `every` are the native rows of which `rows` take part, `again` those of them that are known.
        """
        touched = again[KEY].is_in(every.filter("_touched")[KEY].implode())
        result.changed += int(touched.sum())
        if not reread.fields:
            return rows, again.filter(touched)
        was = reread.was(_native(every), partial(self._as_golden, every[KEY]))
        past = every.select(KEY).hstack(was).unique(KEY, keep="last", maintain_order=True)
        again = again.filter(touched | self._matches_otherwise(again, past))
        away = every.filter(pl.col(GID).is_not_null() & ~pl.col(KEY).is_in(rows[KEY].implode()))
        rows = rows.with_columns(pl.lit(value=False).alias(ASIDE)).join(past, on=KEY, how="left", maintain_order="left")
        if away.is_empty():
            return rows, again
        cells = self._as_golden(away[KEY], reread.now, reread.now.understood(_native(away), reread.fields))
        known = away.select(KEY, GID, pl.lit(value=True).alias(ASIDE)).hstack(cells).join(past, on=KEY, how="left", maintain_order="left")
        missing = [pl.lit(None, dtype=kind).alias(name) for name, kind in rows.schema.items() if name not in known.columns]
        return pl.concat([rows, known.with_columns(missing).select(rows.columns)]), again

    def _as_golden(self, keys: pl.Series, mapping: CompiledMapping, cells: pl.DataFrame) -> pl.DataFrame:
        """Cells read under a mapping, with golden ids for the keys in references."""
        if not reference_fields(mapping.entity, self._seat.name) or cells.is_empty():
            return cells
        with self._store.read() as db:
            return to_golden(db, mapping.entity, self._seat.name, cells.with_columns(keys.alias(KEY))).rows.drop(KEY)

    def _matches_otherwise(self, rows: pl.DataFrame, past: pl.DataFrame) -> pl.Series:
        """Boolean per row: a match field reads otherwise than it did."""
        names = [name for name in {name for rule in self._rules.match for name in rule} if WAS + name in past.columns]
        if not names:
            return pl.repeat(value=False, n=rows.height, dtype=pl.Boolean, eager=True)
        both = rows.select(KEY, *names).join(past.select(KEY, *(WAS + name for name in names)), on=KEY, how="left", maintain_order="left")
        return (
            both.select(pl.any_horizontal(~pl.col(WAS + name).list.contains(pl.col(name)) for name in names))
            .to_series()
            .fill_null(value=True)
        )

    def _inside(self, kept: pl.DataFrame, result: Observation) -> pl.DataFrame:
        """The rows that the mapping's `where` lets in; known ones that it does not are noted, and those on which it fails."""
        compiled, native = self._seat.compiled, _native(kept)
        part = compiled.takes_part(native)
        # One that is outside already is noted again where it reads differently: it is back when it does so once more.
        news = (pl.col("_state") != FILTERED) | pl.col("_known").ne_missing(pl.col(FINGERPRINT))
        if self._outsiders is not None:
            self._outsiders.outside(kept.filter(~part))
        outside = kept.filter(~part & pl.col("_at").is_not_null() & news)
        result.filtered += outside[KEY].to_list()
        result.outside.append(outside.select(pl.col(KEY).alias("key"), pl.col(FINGERPRINT).alias("fingerprint")))
        failing = compiled.where_rejects(native)
        if not failing.is_empty():
            self._map_failures.append(failing.select(KEY, pl.lit("map").alias("stage"), "field", "reason"))
        return kept.filter(part)

    def _as_far_as_known(self, rows: pl.DataFrame, waiting: Sequence[str]) -> pl.DataFrame:
        """Rows with a reference that nobody knows yet are to be looked at again; new ones that cannot be without it wait as a whole."""
        names = [name for name, _target in reference_fields(self._rules, self._seat.name) if name in rows.columns]
        needed = [pl.col(name).is_null() for name in names if self._rules.fields[name].required]
        waits = pl.col(KEY).is_in(waiting)
        rows = rows.with_columns(pl.when(~waits).then(FINGERPRINT).alias(FINGERPRINT))
        return rows.filter(~(waits & pl.col(GID).is_null() & pl.any_horizontal(needed))) if needed else rows

    def _match_rows(self, rows: pl.DataFrame, page: int) -> pl.DataFrame:
        """What matching needs to know about new rows; `place` numbers those of a page, as they stand in the spill."""
        shown = set(rows.columns)
        hashes = [
            match_hash(rows, rule, number).alias(f"h{number}")
            if shown.issuperset(rule)
            else constant(f"h{number}", None, rows.height, pl.Int64())
            for number, rule in enumerate(self._rules.match)
        ]
        page_of = constant("page", page, rows.height, pl.Int32())
        return quick.frame([rows[KEY], page_of, pl.int_range(rows.height, dtype=pl.Int32, eager=True).alias("place"), *hashes])

    def _reject(self, rejects: Sequence[Reject]) -> None:
        for reject in rejects:
            reason = f"{reject.where}: {reject.reason}" if reject.where else reject.reason
            self._rejected.append((reject.key, "read", reject.column, reason))
            if reject.doubled and reject.key is not None:
                self._doubled.add(reject.key)

    # -------------------------------------------------------------- keys

    def _by_key(self, keys: Sequence[str], result: Observation) -> None:
        """Read keys; known ones that do not come back are gone."""
        wanted = list(dict.fromkeys(keys))
        result.asked |= set(wanted)
        here: set[str] = set()
        complete = True
        for start in range(0, len(wanted), CONFIRM_ROWS):
            part = wanted[start : start + CONFIRM_ROWS]
            ended = False
            for page in self._read(keys=part):
                self._take(page, self._known(page.rows[KEY]), result)
                here.update(page.rows[KEY].to_list())
                here.update(reject.key for reject in page.rejected if reject.key is not None)
                ended = page.complete
            complete = complete and ended
        if complete:
            self._told_gone([key for key in wanted if key not in here], result)

    def _find_gone(self, index: _Index, positions: list[pl.Series], result: Observation) -> None:
        """Known rows that a complete listing did not show, read once more by key."""
        seen = pl.concat([pl.Series("at", [], dtype=pl.UInt32), *positions]).unique()
        known = index.rows.with_row_index("_at").filter(pl.col("state") != MISSING)
        self._confirm_gone(known.filter(~pl.col("_at").is_in(seen.implode())), result)

    def _confirm_gone(self, vanished: pl.DataFrame, result: Observation) -> None:
        """Read known rows (of an index) that a complete reading did not show once more by key."""
        if vanished.is_empty():
            return
        result.emptied = vanished.height == result.known_rows
        with self._store.read() as db:
            shadows = shadow_table.by_golden(db, self._entity, vanished[GID], [self._seat.name])
        self._by_key(shadows["key"].to_list(), result)

    def _told_gone(self, keys: Sequence[str], result: Observation) -> None:
        """Note known keys as gone; keys that nobody knows are nothing."""
        if not keys:
            return
        if self._outsiders is not None:
            self._outsiders.read(key_hash(pl.Series(KEY, list(keys), dtype=pl.String)))
        with self._store.read() as db:
            shadows = shadow_table.by_key(db, self._entity, self._seat.name, pl.Series(KEY, list(keys), dtype=pl.String))
        gone = shadows.filter(pl.col("state") != MISSING).select(
            pl.col("gid").alias(GID), pl.lit(self._seat.name, dtype=pl.String).alias(SYSTEM), pl.col("key").alias(KEY)
        )
        result.gone = pl.concat([result.gone, gone]).unique(KEY, keep="first", maintain_order=True)

    def _finish(self, result: Observation) -> Observation:
        if self._doubled:
            result.shared = frozenset(self._doubled)
            take_back(self._spill, result, result.shared)
        rejects = pl.DataFrame(self._rejected, schema=FAILURE_SCHEMA, orient="row") if self._rejected else NO_FAILURES
        if self._outsiders is not None:
            result.released = self._outsiders.released(complete=result.complete)
        result.failures = stacked([rejects, *[frame.cast(FAILURE_SCHEMA) for frame in self._map_failures]])
        # A reject is a row, also where several share a key; a row that cannot be mapped is one, however many of its fields are at fault.
        result.counts.rejected = rejects.height + keep(result.failures, result.failures["stage"] == "map")[KEY].n_unique()
        return result


def read_now(reader: Callable[[], Observation]) -> Future[Observation]:
    """Read in this thread, answering like a pool does."""
    task: Future[Observation] = Future()
    try:
        task.set_result(reader())
    except TrueupError as error:
        task.set_exception(error)
    return task


def _ahead(pages: Iterator[Page]) -> Generator[Page]:
    """The same pages, each fetched while the one before it is being worked on."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="read") as reader:
        coming = reader.submit(next, pages, None)
        while (page := coming.result()) is not None:
            coming = reader.submit(next, pages, None)
            yield page


def _shown_keys(page: Page) -> pl.Series:
    """Keys of the rows that a page shows, rejected ones included."""
    named = [reject.key for reject in page.rejected if reject.key is not None]
    return page.rows[KEY] if not named else pl.concat([page.rows[KEY], pl.Series(KEY, named, dtype=pl.String)])


def _native(kept: pl.DataFrame) -> pl.DataFrame:
    """The rows as they were read, without the marks of `Observer._take`."""
    return quick.chosen(kept, [name for name in kept.columns if name not in _MARKS])


_MARKS = {KHASH, FINGERPRINT, GID, "_at", "_known", "_state", "_touched"}
