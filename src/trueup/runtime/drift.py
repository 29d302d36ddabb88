"""Drift: how far systems disagree, measured before anything is connected for writing. Reads only; no state is needed or made.

read      every system, page by page: map, note what is wrong with values, keep cells in a spill and match hashes in memory
match     by the match rules, as a first sync would
compare   chunk by chunk of matched records: every field, every pair of systems
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import combinations
from typing import TYPE_CHECKING, Any

import polars as pl

from trueup.core.cells import GID, KEY, NULL, SYSTEM, cell_to_python
from trueup.core.fingerprint import match_hash
from trueup.core.match import INDEX_SCHEMA, PAIR_SCHEMA, SEVERAL, match, rule_columns
from trueup.core.quality import inspect_rows, same_but_for_form
from trueup.errors import TrueupError
from trueup.reports.drift_facts import (
    SAMPLES,
    Difference,
    Dirty,
    DriftReport,
    EntityDrift,
    FieldDrift,
    PairDrift,
    Pairing,
    Presence,
    SystemDrift,
)
from trueup.runtime.order import in_order
from trueup.runtime.spill import Spill

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from trueup.connectors.base import Page
    from trueup.model import Config, Entity, Field
    from trueup.runtime.systems import Seat, Systems

CHUNK_ROWS = 50_000
KIND_ORDER = ("unreadable", "invalid", "reference", "unclear", "clean", "untidy")
LINKS = {SYSTEM: pl.String(), KEY: pl.String(), "page": pl.Int32(), GID: pl.Int64()}


def measure_drift(
    config: Config, systems: Systems, entities: Sequence[str], now: datetime, tick: Callable[[str, str, int], None] | None = None
) -> DriftReport:
    """Read everything and compare. `entities` are names of configured entities; `tick(entity, system, rows)` hears of progress.

    A system that cannot be reached or read is left out and named in `EntityDrift.left_out`.
    """
    begun = time.perf_counter()
    report = DriftReport(measured_at=now)
    told = tick or (lambda _entity, _system, _rows: None)
    with Spill() as spill:
        surveys: dict[str, _Survey] = {}
        for name in in_order(config.entities, _with_referred(config.entities, entities)):
            survey = _Survey(config.entities[name], spill, surveys, told)
            survey.read(systems)
            surveys[name] = survey
        for name, survey in surveys.items():
            if name in entities:
                survey.compare()
                report.entities[name] = survey.result
    report.seconds = time.perf_counter() - begun
    return report


def _with_referred(entities: Mapping[str, Entity], wanted: Iterable[str]) -> set[str]:
    """The wanted entities and those that they refer to, however far: their links tell what a reference means."""
    found: set[str] = set()
    waiting = list(wanted)
    while waiting:
        name = waiting.pop()
        if name in found or name not in entities:
            continue
        found.add(name)
        waiting += [field.entity for field in entities[name].fields.values() if field.type == "reference" and field.entity]
    return found


@dataclass
class _Reading:
    """What reading one system gave, beside the cells in the spill."""

    facts: SystemDrift = field(default_factory=SystemDrift)
    dirty: dict[tuple[str, str], Dirty] = field(default_factory=dict)
    match_rows: list[pl.DataFrame] = field(default_factory=list)
    pages: int = 0
    complete: bool = False


class _Survey:
    """One entity being measured."""

    def __init__(self, entity: Entity, spill: Spill, others: Mapping[str, _Survey], tick: Callable[[str, str, int], None]) -> None:
        self.entity = entity
        self.result = EntityDrift(entity.name)
        self.links = pl.DataFrame(schema=LINKS)
        self._spill = spill
        self._others = others
        # References to entities that are not matched yet (its own, or in a circle) are made comparable after matching.
        self._open = {name for name, item in entity.fields.items() if item.type == "reference" and item.entity not in others}
        self._tick = tick
        self._readings: dict[str, _Reading] = {}
        self._shown: dict[str, tuple[str, ...]] = {}
        self._masks = pl.DataFrame(schema={GID: pl.Int64(), "mask": pl.Int64()})

    # ------------------------------------------------------------ read

    def read(self, systems: Systems) -> None:
        """Read every system side by side and match what was read."""
        seats, errors = systems.seats(self.entity, only_look=True)
        self.result.left_out = {name: str(error) for name, error in errors.items()}
        if seats:
            with ThreadPoolExecutor(max_workers=len(seats), thread_name_prefix="drift") as pool:
                tasks = {name: pool.submit(self._read_system, seat) for name, seat in seats.items()}
            for name, task in tasks.items():
                try:
                    self._readings[name] = task.result()
                except TrueupError as error:
                    error.system = error.system or name
                    self.result.left_out[name] = str(error)
                    self._forget(name)
        for name, reading in self._readings.items():
            self.result.systems[name] = reading.facts
            self._shown[name] = seats[name].compiled.readable
            if not reading.complete:
                self.result.notes.append(f"{name} did not list all its rows, so that some may be missing here")
        self._match()

    def _forget(self, system: str) -> None:
        mine = (self.entity.name, system)
        for bucket in self._spill.buckets():
            if isinstance(bucket, tuple) and bucket[:2] == mine:
                self._spill.drop(bucket)

    def _read_system(self, seat: Seat) -> _Reading:
        reading = _Reading()
        for page in seat.connector.read(seat.mapping.object, seat.compiled.read_columns):
            reading.complete = page.complete
            self._tick(self.entity.name, seat.name, page.rows.height)
            self._take_rejects(reading, seat, page)
            self._take_rows(reading, seat, page.rows)
        return reading

    def _take_rejects(self, reading: _Reading, seat: Seat, page: Page) -> None:
        for reject in page.rejected:
            reading.facts.rows += 1
            reading.facts.refused += 1
            reading.facts.unkeyed += 1
            reason = f"{reject.where}: {reject.reason}" if reject.where else reject.reason
            found = _dirty(reading, seat.name, reject.column or "", "unreadable")
            found.count += 1
            _add_sample(found, reject.key, None, None, reason)

    def _take_rows(self, reading: _Reading, seat: Seat, native: pl.DataFrame) -> None:
        if native.is_empty():
            return
        compiled = seat.compiled
        part = compiled.takes_part(native)
        failing = compiled.where_rejects(native)
        reading.facts.rows += int(part.sum()) + failing.height
        reading.facts.outside += native.height - int(part.sum()) - failing.height
        reading.facts.refused += failing.height
        for key, reason in failing.select(KEY, "reason").rows():
            found = _dirty(reading, seat.name, "", "unreadable")
            found.count += 1
            _add_sample(found, key, None, None, reason)
        inspected = inspect_rows(compiled, native.filter(part))
        reading.facts.refused += inspected.refused.len()
        self._note(reading, seat.name, inspected.findings)
        rows = self._resolved(reading, seat.name, inspected.rows)
        if rows.is_empty():
            return
        reading.match_rows.append(self._match_rows(rows, reading.pages))
        self._spill.add((self.entity.name, seat.name, reading.pages), rows)
        reading.pages += 1

    def _note(self, reading: _Reading, system: str, findings: pl.DataFrame) -> None:
        if findings.is_empty():
            return
        for (name, kind), mine in findings.partition_by("field", "kind", as_dict=True, maintain_order=True).items():
            found = _dirty(reading, system, str(name), str(kind))
            found.count += mine.height
            for key, value, becomes, reason in mine.head(SAMPLES).select(KEY, "value", "becomes", "reason").rows():
                _add_sample(found, key, self._python(value, str(name)), self._python(becomes, str(name)), reason)

    def _python(self, cell: str | None, name: str) -> Any:
        return cell_to_python(cell, self.entity.fields[name]) if name in self.entity.fields else cell

    def _match_rows(self, rows: pl.DataFrame, page: int) -> pl.DataFrame:
        """What matching needs to know; a reference to records that are not matched yet never matches."""
        usable = set(rows.columns) - self._open
        hashes = [
            match_hash(rows, rule, number).alias(column) if usable.issuperset(rule) else pl.lit(None, dtype=pl.Int64).alias(column)
            for number, (rule, column) in enumerate(zip(self.entity.match, rule_columns(len(self.entity.match)), strict=True))
        ]
        place = pl.int_range(pl.len(), dtype=pl.Int32).alias("place")
        return rows.select(KEY, pl.lit(page, dtype=pl.Int32).alias("page"), place, *hashes)

    # ------------------------------------------------------------ references

    def _resolved(self, reading: _Reading, system: str, rows: pl.DataFrame, *, late: bool = False) -> pl.DataFrame:
        """Native keys in reference fields replaced by the numbers of the matched records, so that systems can be compared."""
        for name in rows.columns:
            known = self.entity.fields.get(name)
            if known is None or known.type != "reference" or (name in self._open) != late:
                continue
            target = self if known.entity == self.entity.name else self._others.get(known.entity or "")
            links = target.links if target is not None else pl.DataFrame(schema=LINKS)
            mine = links.filter(pl.col(SYSTEM) == system).select(pl.col(KEY).alias(name), pl.col(GID).cast(pl.String).alias("_to"))
            joined = rows.join(mine, on=name, how="left", maintain_order="left")
            lost = pl.col(name).is_not_null() & (pl.col(name) != NULL) & pl.col("_to").is_null()
            unknown = joined.filter(lost)
            if not unknown.is_empty():
                found = _dirty(reading, system, name, "reference")
                found.count += unknown.height
                for key, value in unknown.head(SAMPLES).select(KEY, name).rows():
                    _add_sample(found, key, value, None, f"no {known.entity} with this key could be matched in {system}")
            rows = joined.with_columns(pl.when(pl.col(name) == NULL).then(pl.col(name)).otherwise("_to").alias(name)).drop("_to")
        return rows

    # ------------------------------------------------------------ match

    def _match(self) -> None:
        fresh = {name: pl.concat(reading.match_rows) for name, reading in self._readings.items() if reading.match_rows}
        if not fresh:
            return
        rules = len(self.entity.match)
        if not rules:
            self.result.notes.append("there are no match rules, so no record can be recognised across systems: add `match:` to this entity")
        for name in self._readings:
            if rules and not any(set(rule) <= set(self._shown[name]) for rule in self.entity.match):
                self.result.notes.append(f"{name} shows the fields of no match rule, so none of its rows can be matched")
        nobody, nothing = pl.DataFrame(schema=INDEX_SCHEMA), pl.DataFrame(schema=PAIR_SCHEMA)
        found = match(fresh, self.entity.precedence, rules, nobody, nothing, 1, ())
        self.links = pl.concat([links.select(pl.lit(name).alias(SYSTEM), KEY, "page", GID) for name, links in found.links.items()])
        self._count_presence()
        self._tell_parked(found.parked)
        for reading in self._readings.values():
            reading.match_rows.clear()

    def _count_presence(self) -> None:
        names = list(self._readings)
        bits = {name: 1 << number for number, name in enumerate(names)}
        self._masks = self.links.group_by(GID).agg(pl.col(SYSTEM).replace_strict(bits, return_dtype=pl.Int64).sum().alias("mask"))
        counts = self._masks.group_by("mask").len().sort("mask").rows()
        found = [(tuple(name for name in names if bits[name] & mask), count) for mask, count in counts]
        self.result.presence = [Presence(held_by, count) for held_by, count in sorted(found, key=lambda item: (-len(item[0]), item[0]))]

    def _tell_parked(self, parked: pl.DataFrame) -> None:
        """Rows that may be several records, and rows that look like another one of their own system."""
        for (system,), mine in parked.partition_by(SYSTEM, as_dict=True, maintain_order=True).items():
            name, facts = str(system), self.result.systems[str(system)]
            for several, target in ((True, self.result.ambiguous), (False, self.result.duplicates)):
                rows = mine.filter((pl.col("why") == SEVERAL) == several)
                if several:
                    facts.ambiguous = rows.height
                else:
                    facts.duplicates = rows.height
                if not rows.is_empty():
                    target[name] = [self._pairing(name, key, ids) for key, ids in rows.head(SAMPLES).select(KEY, "candidates").rows()]

    def _pairing(self, system: str, key: str, candidates: list[int]) -> Pairing:
        links = self.links.filter(pl.col(GID).is_in(candidates))
        own = links.filter((pl.col(SYSTEM) == system) & (pl.col(KEY) != key))
        other = own if not own.is_empty() else links
        where = str(other[SYSTEM][0]) if not other.is_empty() else system
        return Pairing(key, where, tuple(other.filter(pl.col(SYSTEM) == where)[KEY].sort().to_list()))

    # ------------------------------------------------------------ compare

    def compare(self) -> None:
        """Compare every pair of systems over the records that both hold."""
        names = list(self._readings)
        for name in self.entity.fields:
            pairs = [PairDrift(pair) for pair in combinations(names, 2) if all(name in self._shown[system] for system in pair)]
            for pair in pairs:
                pair.missing = dict.fromkeys(pair.systems, 0)
            if pairs:
                self.result.fields[name] = FieldDrift(self._decided_by(name), pairs)
        samples = self._sampled()
        several = self._masks.filter(~pl.col("mask").is_in([1 << number for number in range(len(names))]))[GID]
        wanted = pl.concat([several, pl.Series(GID, list(samples), dtype=pl.Int64)]).unique()
        count = max(1, -(-self.links.height // CHUNK_ROWS))
        self._deal(wanted, count)
        for number in range(count):
            frames = {}
            for name in names:
                parts = list(self._spill.take((self.entity.name, name, "chunk", number)))
                if parts:
                    frames[name] = pl.concat(parts) if len(parts) > 1 else parts[0]
            self._take_samples(frames, samples)
            self._compare_chunk(frames)
        self._show_samples(samples)
        found = [item for reading in self._readings.values() for item in reading.dirty.values()]
        self.result.dirty = sorted(found, key=lambda item: (KIND_ORDER.index(item.kind), -item.count, item.system, item.field))

    def _deal(self, wanted: pl.Series, count: int) -> None:
        """Put the cells of the wanted records into chunks, all systems' rows of a record into the same one."""
        for name, reading in self._readings.items():
            links = self.links.filter((pl.col(SYSTEM) == name) & pl.col(GID).is_in(wanted.implode())).select(KEY, "page", GID)
            by_page = links.partition_by("page", as_dict=True)
            for page in range(reading.pages):
                mine = by_page.get((page,))
                for rows in self._spill.take((self.entity.name, name, page)):
                    if mine is None:
                        continue
                    linked = self._resolved(reading, name, rows.join(mine.select(KEY, GID), on=KEY, how="inner"), late=True)
                    for number, part in _parts(linked, count):
                        self._spill.add((self.entity.name, name, "chunk", number), part)

    def _compare_chunk(self, frames: Mapping[str, pl.DataFrame]) -> None:
        differing: dict[str, list[pl.Series]] = {}
        hearing = {name for name, mapping in self.entity.mappings.items() if mapping.direction != "write"}
        for first, second in combinations(list(self._readings), 2):
            if first not in frames or second not in frames:
                continue
            both = frames[first].join(frames[second], on=GID, how="inner", suffix="\x1fother", maintain_order="left")
            if both.is_empty():
                continue
            for name, drift in self.result.fields.items():
                pair = next((item for item in drift.pairs if item.systems == (first, second)), None)
                if pair is None:
                    continue
                unequal = self._compare_field(both, name, pair)
                if {first, second} <= hearing:
                    differing.setdefault(name, []).append(unequal)
        for name, parts in differing.items():
            drift = self.result.fields[name]
            drift.differing += pl.concat(parts).n_unique()

    def _compare_field(self, both: pl.DataFrame, name: str, pair: PairDrift) -> pl.Series:
        """Count one field of one pair; returns the golden ids of which both systems show values that are not the same."""
        first, second = pair.systems
        cells = both.select(
            GID,
            pl.col(KEY).alias("first_key"),
            pl.col(f"{KEY}\x1fother").alias("second_key"),
            pl.col(name).alias("first"),
            pl.col(f"{name}\x1fother").alias("second"),
        )
        empty = {side: (pl.col(side).is_null() | (pl.col(side) == NULL)) for side in ("first", "second")}
        verdict = cells.with_columns(
            _verdict=pl.when(empty["first"] & empty["second"])
            .then(0)
            .when(empty["first"])
            .then(2)
            .when(empty["second"])
            .then(3)
            .otherwise((pl.col("first") != pl.col("second")).cast(pl.Int32))
        )
        counts = dict(verdict["_verdict"].value_counts().rows())
        pair.agree += counts.get(0, 0)
        pair.missing[first] += counts.get(2, 0)
        pair.missing[second] += counts.get(3, 0)
        unequal = verdict.filter(pl.col("_verdict") == 1)
        pair.differ += unequal.height
        if unequal.height and self.entity.fields[name].type == "text":
            pair.in_form += int(unequal.select(same_but_for_form(pl.col("first"), pl.col("second")).sum()).item())
        self._sample_differences(pair, verdict, unequal, name)
        return unequal[GID]

    def _sample_differences(self, pair: PairDrift, verdict: pl.DataFrame, unequal: pl.DataFrame, name: str) -> None:
        """Keep examples: differing values before missing ones."""
        room = SAMPLES - len(pair.samples)
        if room <= 0:
            return
        rows = unequal.head(room)
        if rows.height < room and pair.differ <= SAMPLES:
            rows = pl.concat([rows, verdict.filter(pl.col("_verdict") > 1).head(room - rows.height)])
        known: Field = self.entity.fields[name]
        first, second = pair.systems
        for first_key, second_key, first_cell, second_cell in rows.select("first_key", "second_key", "first", "second").rows():
            values = {first: cell_to_python(first_cell, known), second: cell_to_python(second_cell, known)}
            if known.type == "reference":
                values = {
                    system: self._native_key(known.entity, system, cell) for system, cell in ((first, first_cell), (second, second_cell))
                }
            pair.samples.append(Difference({first: first_key, second: second_key}, values))

    def _native_key(self, entity: str | None, system: str, cell: str | None) -> str | None:
        """What a system itself says where it refers to a matched record."""
        target = self if entity == self.entity.name else self._others.get(entity or "")
        if cell is None or cell == NULL or target is None:
            return None
        keys = target.links.filter((pl.col(SYSTEM) == system) & (pl.col(GID) == int(cell)))[KEY]
        return str(keys[0]) if keys.len() else None

    def _decided_by(self, name: str) -> str | None:
        known = self.entity.fields[name]
        if known.source_of_truth is not None:
            return f"{known.source_of_truth} is the source of truth"
        order = ", ".join(self.entity.precedence)
        match known.conflict:
            case "last_write_wins":
                return "the last edit wins"
            case "first_write_wins":
                return "the first edit wins"
            case "max" | "min":
                return f"the {'largest' if known.conflict == 'max' else 'smallest'} value wins"
            case "union":
                return "the lists are joined"
            case "rule":
                return "the field's rule"
            case "add":
                return f"precedence: {order}"
            case _:
                return f"precedence: {order}" if self.entity.explicit_precedence else None

    # ------------------------------------------------------------ samples of presence

    def _sampled(self) -> dict[int, dict[str, Any]]:
        """A few records for each set of systems that is not all of them: golden id -> what will be shown."""
        whole = (1 << len(self._readings)) - 1
        few = self._masks.filter(pl.col("mask") != whole).sort(GID).group_by("mask", maintain_order=True).head(SAMPLES)
        return {gid: {"mask": mask, "keys": {}, "values": {}} for mask, gid in few.select("mask", GID).rows()}

    def _take_samples(self, frames: Mapping[str, pl.DataFrame], samples: Mapping[int, dict[str, Any]]) -> None:
        wanted = pl.Series(GID, list(samples), dtype=pl.Int64)
        telling = list(dict.fromkeys([name for rule in self.entity.match for name in rule] + list(self.entity.fields)))[:4]
        for system, frame in frames.items():
            names = [name for name in telling if name in frame.columns and self.entity.fields[name].type != "reference"]
            for row in frame.filter(pl.col(GID).is_in(wanted.implode())).iter_rows(named=True):
                sample = samples[row[GID]]
                sample["keys"][system] = row[KEY]
                for name in names:
                    if row[name] is not None:
                        sample["values"].setdefault(name, cell_to_python(row[name], self.entity.fields[name]))

    def _show_samples(self, samples: Mapping[int, dict[str, Any]]) -> None:
        bits = {name: 1 << number for number, name in enumerate(self._readings)}
        shown = []
        for item in self.result.presence:
            mask = sum(bits[name] for name in item.systems)
            mine = tuple({"keys": found["keys"], "values": found["values"]} for found in samples.values() if found["mask"] == mask)
            shown.append(Presence(item.systems, item.records, mine))
        self.result.presence = shown


def _parts(rows: pl.DataFrame, count: int) -> Iterable[tuple[int, pl.DataFrame]]:
    """Rows dealt into `count` parts by golden id."""
    if count == 1:
        return [(0, rows)]
    dealt = rows.with_columns((pl.col(GID) % count).alias("_part")).partition_by("_part", as_dict=True, include_key=False)
    return [(int(number), part) for (number,), part in dealt.items()]


def _dirty(reading: _Reading, system: str, name: str, kind: str) -> Dirty:
    return reading.dirty.setdefault((name, kind), Dirty(system, name, kind))


def _add_sample(found: Dirty, key: str | None, value: Any, becomes: Any, reason: str | None) -> None:
    if len(found.samples) < SAMPLES:
        found.samples.append({"key": key, "value": value, "becomes": becomes, "reason": reason})
