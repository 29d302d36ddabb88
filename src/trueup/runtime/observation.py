"""What a reading of one system has shown: what is there, what is gone, what cannot be read, and what is to be matched."""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from trueup.core.cells import KEY
from trueup.core.facts import NO_ROWS, NOBODY
from trueup.core.frames import dropped, keep, one_of
from trueup.model import Observed

FAILURE_SCHEMA = pl.Schema({KEY: pl.String(), "stage": pl.String(), "field": pl.String(), "reason": pl.String()})
NO_FAILURES = pl.DataFrame(schema=FAILURE_SCHEMA)
SHARED = "shares its key with another row"
"""Why a key is unsettled under which a list shows several rows: asked for by key, the system would show one of them alone."""


@dataclass
class Observation:
    """What was seen in one system. Rows themselves are in the spill, in buckets (system, page).

    complete   every row of the object was shown
    full       the whole object was asked for (not only changes, not only keys)
    gone       rows confirmed to be gone; filtered: keys of known rows that are there but outside of the filter
    failures   rows that could not be read or mapped; their known keys are `unreadable`
    changed    known rows that read differently: an upper bound of the edits
    cursor     where the next incremental read may start, None where nothing was learned about that
    mark       what the next reading may ask for rows touched since, None where the system cannot tell
    whole      every row was read, none was told by key alone
    shared     keys of several rows, of which one was shown before that was known
    """

    system: str
    complete: bool = False
    full: bool = False
    pages: int = 0
    counts: Observed = field(default_factory=Observed)
    gone: pl.DataFrame = field(default_factory=lambda: NO_ROWS)
    filtered: list[str] = field(default_factory=list)
    outside: list[pl.DataFrame] = field(default_factory=list)  # key, fingerprint: how those rows stand there
    failures: pl.DataFrame = field(default_factory=lambda: NO_FAILURES)
    changed: int = 0
    known_rows: int = 0
    emptied: bool = False
    cursor: str | None = None
    mark: str | None = None
    whole: bool = False
    gids: list[pl.Series] = field(default_factory=list)  # golden ids of the known rows that were kept
    new_rows: list[pl.DataFrame] = field(default_factory=list)  # __key, page, place, one hash column per match rule
    known_again: list[pl.DataFrame] = field(default_factory=list)  # known rows that read differently, in the same form
    waiting: set[str] = field(default_factory=set)  # keys of rows with a reference that nobody knows yet
    asked: set[str] = field(default_factory=set)  # keys that were read one by one
    shared: frozenset[str] = frozenset()
    released: pl.Series = field(default_factory=lambda: NOBODY)  # records that may get a row now: see Outsiders

    def take_new_rows(self) -> list[pl.DataFrame]:
        """The new rows, given away: of a first load they are many."""
        rows, self.new_rows = self.new_rows, []
        return rows

    def leave_out(self, keys: frozenset[str]) -> None:
        """Forget what was read of these rows. Rows that wait in the spill stay there: whoever takes them out leaves out these as well."""
        left = pl.Series(KEY, sorted(keys), dtype=pl.String)
        self.new_rows = [keep(rows, ~one_of(rows[KEY], left)) for rows in self.new_rows]
        self.known_again = [keep(rows, ~one_of(rows[KEY], left)) for rows in self.known_again]
        self.gone = keep(self.gone, ~one_of(self.gone[KEY], left))
        self.failures = keep(self.failures, ~one_of(self.failures[KEY], left))
        self.filtered = [key for key in self.filtered if key not in keys]
        self.outside = [keep(rows, ~one_of(rows["key"], left)) for rows in self.outside]
        self.waiting -= keys

    @property
    def unreadable(self) -> frozenset[str]:
        """Keys of rows that are there and cannot be read or mapped."""
        return frozenset(key for key in self.failures[KEY].to_list() if key is not None)

    @property
    def unplaced(self) -> pl.DataFrame:
        """Rows (`__key`, null: unknown; stage, field) that are there and may be any record: unreadable, or waiting for another one."""
        unreadable = dropped(self.failures, ("reason",))
        if not self.waiting:
            return unreadable
        return pl.concat([unreadable, pl.DataFrame({KEY: sorted(self.waiting)}, schema={KEY: pl.String()})], how="diagonal")
