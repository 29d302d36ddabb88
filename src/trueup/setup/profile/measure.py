"""A profile measured: every object is read once, page by page, into temporary files by groups of columns, and measured group by group.

So memory is bounded by a few pages and one group of columns, however many rows or columns there are.
"""

from __future__ import annotations

import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, cast
from zoneinfo import ZoneInfo

import polars as pl

from trueup.core.fingerprint import match_hash
from trueup.core.forms import TEXT
from trueup.errors import SystemUnreachableError, TrueupError
from trueup.reports.profile_facts import SAMPLES, MatchDoubles, ObjectProfile, ProfileReport
from trueup.runtime.spill import Spill
from trueup.setup import words
from trueup.setup.profile.clocks import clock_by_modified
from trueup.setup.profile.columns import measure_column
from trueup.setup.profile.proposals import TRIED, country_of, propose_clean
from trueup.setup.profile.references import MOST_VALUES, Values, distinct_texts, find_orphans, may_refer

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from datetime import datetime

    from trueup.connectors.base import Browsing, Page
    from trueup.core.mapping import CompiledMapping
    from trueup.reports.profile_facts import SystemProfile
    from trueup.setup.profile.columns import Measured
    from trueup.setup.profile.places import Place

GROUP = 4
"""Columns that are held in memory at once."""
PAGE_ROWS, PAGE_CELLS = 20_000, 400_000
REASONS = 5


def measure(
    places: Sequence[Place],
    found: dict[str, SystemProfile],
    now: datetime,
    *,
    most_rows: int | None = None,
    tick: Callable[[str, str, int], None] | None = None,
) -> ProfileReport:
    """Look at every place; what goes wrong with one is noted there, and harms no other. `most_rows`: no more of each object."""
    begun = time.perf_counter()
    held: dict[str, list[Values]] = {}
    told = tick or (lambda _object, _system, _rows: None)
    for place in places:
        try:
            with Spill() as spill:
                values = _Look(place, spill, most_rows, told).run(now)
        except TrueupError as error:
            place.system.left_out[place.label] = error.message
            if isinstance(error, SystemUnreachableError):
                place.system.error = error.message
            continue
        place.system.objects.append(values.profile)
        held.setdefault(place.system.name, []).append(values)
    for objects in held.values():
        find_orphans(objects)
    report = ProfileReport(now, systems=found)
    report.seconds = time.perf_counter() - begun
    return report


@dataclass
class _Look:
    """One object being looked at."""

    place: Place
    spill: Spill
    most_rows: int | None
    tick: Callable[[str, str, int], None]
    reasons: Counter[str] = field(default_factory=Counter)
    matches: dict[tuple[str, ...], list[pl.DataFrame]] = field(default_factory=dict)

    def run(self, now: datetime) -> Values:
        """Read and measure."""
        place = self.place
        entity = None if place.seat is None else place.seat.mapping.entity
        profile = ObjectProfile(place.label, place.info.kind, entity, place.spec.key)
        groups = [place.columns[start : start + GROUP] for start in range(0, len(place.columns), GROUP)]
        self._read(profile, groups)
        profile.refused = self.reasons.total()
        profile.reasons = self.reasons.most_common(REASONS)
        if place.info.remark:
            profile.notes.append(place.info.remark)
        if not place.spec.key:
            profile.notes.append("it has no key: to be mapped, it needs a column, or several, that tell its rows apart")
        values = Values(profile, refers=_references(place))
        self._measure_groups(profile, values, groups, now)
        self._doubles(profile)
        return values

    # ------------------------------------------------------------ reading

    def _pages(self) -> Generator[Page, None, None]:
        place = self.place
        rows = max(SAMPLES * 100, min(PAGE_ROWS, PAGE_CELLS // max(1, len(place.columns))))
        if place.connector.caps.browses:
            yield from cast("Browsing", place.connector).browse(place.spec, place.columns, page_rows=rows)
        else:
            yield from place.connector.read(place.spec, place.columns, page_rows=rows)

    def _read(self, profile: ObjectProfile, groups: Sequence[tuple[str, ...]]) -> None:
        profile.whole = False
        with closing(self._pages()) as pages:
            for page in pages:
                profile.whole = page.complete
                self.reasons.update(reject.reason for reject in page.rejected)
                rows = self._taking_part(profile, page.rows.select(self.place.columns))
                self.tick(self.place.label, self.place.system.name, page.rows.height)
                if self.most_rows is not None and profile.rows + rows.height >= self.most_rows:
                    profile.whole = page.complete and profile.rows + rows.height == self.most_rows
                    rows = rows.head(self.most_rows - profile.rows)
                profile.rows += rows.height
                for number, names in enumerate(groups):
                    self.spill.add(number, rows.select(names))
                self._note_matches(rows)
                if profile.rows == self.most_rows:
                    break

    def _taking_part(self, profile: ObjectProfile, rows: pl.DataFrame) -> pl.DataFrame:
        """The rows inside the mapping's filter."""
        seat = self.place.seat
        if seat is None or seat.compiled.where is None or rows.is_empty():
            return rows
        part = seat.compiled.takes_part(rows)
        profile.outside += rows.height - int(part.sum())
        return rows.filter(part)

    def _empty(self, names: Sequence[str]) -> pl.DataFrame:
        return pl.DataFrame(schema=dict.fromkeys(names, pl.String()))

    # ------------------------------------------------------------ measuring

    def _measure_groups(self, profile: ObjectProfile, values: Values, groups: Sequence[tuple[str, ...]], now: datetime) -> None:
        """Measure every column and propose what would clean it; of what was measured, only the facts are kept.

        Phone numbers and postcodes wait until it is known in which country most records are.
        """
        waiting: list[Measured] = []
        country: str | None = None
        for number, names in enumerate(groups):
            frames = list(self.spill.take(number))
            frame = pl.concat(frames, how="vertical_relaxed") if frames else self._empty(names)
            for name in names:
                found = self._measured(frame[name], values, now)
                profile.columns[name] = found.profile
                country = country or country_of([found])
                if found.family == "phone" or found.means == "postcode":
                    waiting.append(replace(found, texts=found.texts.head(TRIED)))
                else:
                    found.profile.proposal = propose_clean(found)
        for found in waiting:
            found.profile.proposal = propose_clean(found, country)

    def _measured(self, column: pl.Series, values: Values, now: datetime) -> Measured:
        place, name = self.place, column.name
        info = place.info.columns[name]
        is_key = place.spec.key == (name,)
        referring = name in values.refers or may_refer(name)
        found = measure_column(info, column, about=words.about(place.label), is_key=is_key, names_others=referring)
        if column.len() <= MOST_VALUES and not column.dtype.is_nested() and (is_key or referring):
            texts = distinct_texts(column)
            if is_key:
                values.keys = {name: texts[TEXT]}
            if referring and not is_key:
                values.referring[name] = texts
        self._look_at_clock(column, found.means, now)
        return found

    def _look_at_clock(self, column: pl.Series, means: str, now: datetime) -> None:
        """A column of times of modification tells whether the clock that set them is ahead, where the system does not say itself."""
        clock = self.place.system.clock
        modified = self.place.spec.modified
        if (clock is not None and clock.by in {"asked", "modified"}) or (column.name != modified if modified else means != "modified"):
            return
        newest = _newest(column, self.place.zone)
        if newest is None:
            return
        told = clock_by_modified(newest, now)
        if clock is None or told.by == "modified":
            self.place.system.clock = told

    # ------------------------------------------------------------ rows that a match rule takes for one

    def _note_matches(self, rows: pl.DataFrame) -> None:
        seat = self.place.seat
        if seat is None or rows.is_empty():
            return
        for number, rule in enumerate(self._rules(seat.compiled)):
            cells = seat.compiled.cells_of(rows, rule)
            self.matches.setdefault(rule, []).append(cells.with_columns(match_hash(cells, rule, number).alias("hash")).drop_nulls("hash"))

    @staticmethod
    def _rules(compiled: CompiledMapping) -> list[tuple[str, ...]]:
        """Match rules of which every field is shown here."""
        return [rule for rule in compiled.entity.match if set(rule) <= set(compiled.readable)]

    def _doubles(self, profile: ObjectProfile) -> None:
        for rule, frames in self.matches.items():
            rows = pl.concat(frames)
            twice = rows.filter(pl.col("hash").is_duplicated())
            if twice.is_empty():
                continue
            records = twice.unique("hash", maintain_order=True)
            profile.doubles.append(
                MatchDoubles(profile.entity or "", rule, records.height, twice.height, tuple(records.select(rule).head(SAMPLES).rows()))
            )


def _references(place: Place) -> dict[str, str]:
    """Native columns that hold references by the configuration -> the entity that they refer to."""
    if place.seat is None:
        return {}
    return {
        reader.columns[0]: reader.field.entity or ""
        for reader in place.seat.compiled.readers
        if reader.field.type == "reference" and reader.expression is None
    }


def _newest(column: pl.Series, zone: str) -> datetime | None:
    """The latest moment in a column; naive ones are in `zone`."""
    if column.dtype == pl.String:
        texts = column.str.strip_chars()
        moments = texts.str.head(19).str.replace("T", " ", literal=True).str.to_datetime("%Y-%m-%d %H:%M:%S", strict=False)
        aware = texts.str.ends_with("Z")
        newest = moments.filter(aware | ~texts.str.contains(r"[+-]\d\d:?\d\d$")).max()
        zone = "UTC" if bool(aware.any()) else zone
    elif isinstance(column.dtype, pl.Datetime):
        newest = column.max()
    else:
        return None
    moment = cast("datetime | None", newest)
    if moment is None:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=ZoneInfo(zone))
