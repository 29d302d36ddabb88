"""What a pass must not write now: parked rows and what they may be, failures whose time has not come, and rows that cannot be read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from trueup.core.cells import GID, KEY, SYSTEM
from trueup.core.deliver import Due
from trueup.core.frames import by_value, keep, one_of
from trueup.errors import TrueupError
from trueup.runtime.failures import without_failing
from trueup.runtime.lookalikes import PERHAPS_UNREAD, Lookalikes
from trueup.runtime.moved_out import PERHAPS_OUTSIDE, keep_links, moved_out
from trueup.runtime.questions import may_be_there, waiting_rows
from trueup.store import failure, parked

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from trueup.core.facts import Decision
    from trueup.model import Entity
    from trueup.runtime.identify import Identified
    from trueup.runtime.systems import Seat
    from trueup.store import Db, Store

_NOBODY = pl.Series(GID, [], dtype=pl.Int64)
PERHAPS_PARKED = "a row that waits for a person may be this one"
"""Why a row that is gone is not believed to be: it may stand there under another key, parked."""
PERHAPS_THERE = (PERHAPS_UNREAD, PERHAPS_PARKED, PERHAPS_OUTSIDE)


class Obstacles:
    """What stands in the way of the deliveries of one round, system by system."""

    def __init__(self, store: Store, entity: Entity, seats: Mapping[str, Seat], *, keeps: bool, referred: bool) -> None:
        """Know of nothing yet. `keeps`: what is found out is kept; `referred`: other entities refer to this one."""
        self._keeps = keeps
        self._referred = referred
        self._store = store
        self._entity = entity
        self._seats = seats
        self._blocked: dict[str, pl.Series] = {}
        self._parked_keys: dict[str, set[str]] = {}
        self._perhaps_parked: dict[str, pl.DataFrame] = {}  # __key of a row that waits, and __gid of what it may be
        self._failing: dict[str, pl.DataFrame] = {}
        self._lookalikes: dict[str, Lookalikes] = {}

    def learn(self, db: Db, found: Identified, now: datetime) -> None:
        """Learn, as a round begins, of parked rows and their candidates, and of failures whose time has not come."""
        standing = parked.of(db, self._entity.name)
        nobody = standing.is_empty() and found.parked.is_empty()
        failing = {}
        for name in self._seats:
            known = failure.of(db, self._entity.name, name)
            if known.is_empty():
                continue
            known = known.filter(pl.col("stage") == "write")
            late = pl.col("next_try_at").is_null() | (pl.col("next_try_at") > now)
            failing[name] = known.filter(late & pl.col("gid").is_not_null()).select(pl.col("gid").alias(GID), "field")
        self._failing = failing
        waiting = None if nobody else self._waiting(standing, found)
        self._blocked, self._parked_keys = ({}, {}) if waiting is None else self._questions(db, waiting)
        self._perhaps_parked = {}
        if waiting is not None:
            for name, rows in by_value(waiting.filter(~pl.col("linked")), "system"):
                self._perhaps_parked[name] = (
                    rows.select(pl.col("key").alias(KEY), pl.col("candidates").alias(GID)).explode(GID).drop_nulls()
                )

    def _questions(self, db: Db, waiting: pl.DataFrame) -> tuple[dict[str, pl.Series], dict[str, set[str]]]:
        """Per system: the records that parked rows, or another one's row, may be; and the rows that are nobody's yet."""
        there = may_be_there(db, self._entity.name, waiting)
        blocked, keys = {}, {}
        for name in self._seats:
            mine = waiting.filter(pl.col("system") == name)
            perhaps = there.filter(pl.col("system") == name)["gid"]
            blocked[name] = pl.concat([mine["candidates"].explode().drop_nulls(), perhaps]).unique()
            keys[name] = set(mine.filter(~pl.col("linked"))["key"].to_list())
        return blocked, keys

    def _waiting(self, standing: pl.DataFrame, found: Identified) -> pl.DataFrame:
        """Parked rows with their candidates, those of now among them."""
        waiting = waiting_rows(standing, found.parked)
        settled = [(system, key) for system, keys in found.resolved.items() for key in keys]  # a plan has not taken them out
        over = pl.DataFrame(settled, schema={"system": pl.String(), "key": pl.String()}, orient="row")
        return waiting.join(over, on=["system", "key"], how="anti")

    def mind_unreadable(self, db: Db, unreadable: Mapping[str, pl.DataFrame]) -> None:
        """Learn of rows (`Observation.unplaced`) that cannot be read, per system: they may be records that seem to lack."""
        for name, seen in unreadable.items():
            known = failure.of(db, self._entity.name, name)
            standing = known if known.is_empty() else known.filter(pl.col("stage").is_in(["read", "map"]))
            if seen.is_empty() and standing.is_empty():
                continue
            # A row without a key is seen by a complete reading only.
            rows = pl.concat([seen.select(KEY, "stage", "field"), standing.select(pl.col("key").alias(KEY), "stage", "field")])
            nameless = not rows.filter(_nameless(self._seats[name].mapping.object.key)).is_empty()
            looks = Lookalikes(self._store, self._entity, self._seats[name], rows[KEY].drop_nulls().unique(), nameless=nameless)
            self._lookalikes.setdefault(name, looks)

    def park(self, rows: pl.DataFrame) -> None:
        """Rows (__system, __key) that were parked just now."""
        for system, key in rows.select(SYSTEM, KEY).rows():
            self._parked_keys.setdefault(system, set()).add(key)

    # -------------------------------------------------------------- what is known

    def doubtful(self, gone: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame, str]]:
        """Per system, rows of `gone` that may stand there under another key, and why that is not known."""
        for name, rows in by_value(gone, SYSTEM):
            looks = self._lookalikes.get(name)
            if looks is not None:
                yield name, keep(rows, one_of(rows[GID], looks.among_known(rows[GID]))), PERHAPS_UNREAD
            yield name, keep(rows, one_of(rows[GID], self._parked_still(name, rows))), PERHAPS_PARKED
            yield name, self._moved_out(name, rows), PERHAPS_OUTSIDE

    def _parked_still(self, name: str, gone: pl.DataFrame) -> pl.Series:
        """Records that parked rows of a system may be, but for rows that are gone themselves."""
        waiting = self._perhaps_parked.get(name)
        return _NOBODY if waiting is None else keep(waiting, ~one_of(waiting[KEY], gone[KEY]))[GID]

    def _moved_out(self, name: str, gone: pl.DataFrame) -> pl.DataFrame:
        """Rows of `gone` that may stand outside of the filter; the links of those that do are kept, except by a plan."""
        try:
            found = moved_out(self._store, self._entity, self._seats[name], gone[GID])
        except TrueupError:
            return gone
        clear = found.filter(~pl.col(GID).is_duplicated() & ~pl.col(KEY).is_duplicated())
        if self._keeps and not clear.is_empty():
            with self._store.write() as tx:
                keep_links(tx, self._entity.name, name, keep(gone, one_of(gone[GID], clear[GID])), clear, referred=self._referred)
        return keep(gone, one_of(gone[GID], found[GID]))

    def blocked(self, system: str) -> pl.Series:
        """Records that are not to be made in a system: a parked row may be one of them."""
        return self._blocked.get(system, _NOBODY)

    def parked_keys(self, system: str) -> frozenset[str]:
        """Rows of a system of which nobody knows yet whose they are."""
        return frozenset(self._parked_keys.get(system, ()))

    def any_of(self, system: str) -> bool:
        """Whether anything stands in the way of a system."""
        failing = self._failing.get(system)
        return system in self._lookalikes or (failing is not None and not failing.is_empty()) or bool(self._parked_keys.get(system))

    def alike(self, system: str, creates: pl.DataFrame, records: pl.DataFrame) -> pl.Series:
        """Records among `creates` that a row which cannot be read may be; golden ids. Raises the connector's errors."""
        looks = self._lookalikes.get(system)
        if looks is None or creates.is_empty():
            return _NOBODY
        return looks.among(records.join(creates.select(GID), on=GID, how="semi"))

    def allowed(self, system: str, todo: Due, decision: Decision) -> tuple[Due, int]:
        """Without parked rows, and without failures whose time has not come unless the record has changed since; and how much is owed."""
        owed = 0
        if keys := self._parked_keys.get(system):
            stopped = pl.col(KEY).is_in(list(keys))
            owed = todo.updates.filter(stopped).height
            todo = Due(todo.deletes.filter(~stopped), todo.creates, todo.updates.filter(~stopped))
        failing = self._failing.get(system)
        if failing is None or failing.is_empty():
            return todo, owed
        before = todo.rows
        todo = without_failing(todo, failing.filter(~pl.col(GID).is_in(decision.golden["id"].implode())))
        return todo, owed + before - todo.rows


def _nameless(key: Sequence[str]) -> pl.Expr:
    """Boolean per row that cannot be read (__key, stage, field): its key is unknown, or at fault itself (doubled, of another type).

    The failure of a row without a key is kept under its place, in brackets.
    """
    lost = pl.col(KEY).is_null() | (pl.col(KEY).str.starts_with("(") & pl.col(KEY).str.ends_with(")"))
    at_fault = pl.col("field").is_in([*key, ", ".join(key)])
    return (pl.col("stage") == "read") & (lost | at_fault.fill_null(value=False))
