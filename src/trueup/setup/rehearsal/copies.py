"""Masked copies of what the systems hold, in this process's memory: read once, by reading only, and masked before anything is kept.

A real value is held for as long as its page is at hand, and is in no file. Which records are taken, where not all are, is decided by
hashes of what they are matched by: rows that are one record are taken together, and with them what they refer to.
"""

from __future__ import annotations

import secrets
from collections import defaultdict
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, cast

import polars as pl

from trueup.connectors.base import split_key
from trueup.connectors.memory import FULL_CAPS, MemoryColumn, MemoryWorld, rounded
from trueup.core.cells import ABSENT, KEY, NULL, VERSION
from trueup.core.fingerprint import match_hash
from trueup.errors import SystemUnreachableError, TrueupError, WriteRefusedError
from trueup.model import ColumnInfo
from trueup.runtime.limits import Limits
from trueup.runtime.order import in_order
from trueup.runtime.systems import Systems, native_columns
from trueup.runtime.unmade import Unmade
from trueup.setup.rehearsal.mask import PLAIN_KEY_DIGITS, Masker
from trueup.setup.rehearsal.stamps import stamps_like
from trueup.setup.rehearsal.treatment import Treatment, kept_words, label_of, treatments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    from trueup.connectors.base import Connector, Page, Reject
    from trueup.connectors.memory import MemoryTable
    from trueup.model import Caps, Config, Entity, ObjectInfo, ObjectSpec
    from trueup.runtime.systems import Seat

KEY_STEP = 10**PLAIN_KEY_DIGITS
"""Between the keys of a record and of its first copy."""


class OnlyLooking:
    """Stands before the connector of a real system: it lets nothing through but looking."""

    def __init__(self, inner: Connector) -> None:
        """Guard an open connector."""
        self._inner = inner
        self.can = inner.caps

    @property
    def caps(self) -> Caps:
        """See base.Connector. Nothing is written here, whatever the system can do."""
        return replace(self._inner.caps, creates=False, updates=False, deletes=False, marks=False, watch=False, locks=False, grants=False)

    def discover(self) -> list[ObjectInfo]:
        """See base.Connector."""
        return self._inner.discover()

    def describe(self, obj: ObjectSpec) -> ObjectInfo:
        """See base.Connector."""
        return self._inner.describe(obj)

    def read(self, obj: ObjectSpec, columns: Sequence[str], **how: Any) -> Iterator[Page]:
        """See base.Connector."""
        return self._inner.read(obj, columns, **how)

    def find(self, obj: ObjectSpec, columns: Sequence[str], values: pl.DataFrame) -> pl.DataFrame:
        """See base.Connector."""
        return self._inner.find(obj, columns, values)

    def write(self, obj: ObjectSpec, batch: object) -> pl.DataFrame:
        """Refuse."""
        del batch
        raise WriteRefusedError(f"a rehearsal writes nothing to {obj.label}", hint="this is a defect of trueup: report it")

    def prepare(self, obj: ObjectSpec, columns: Mapping[str, str]) -> None:
        """Refuse."""
        del columns
        raise WriteRefusedError(f"a rehearsal makes nothing ({obj.label})", hint="this is a defect of trueup: report it")

    def close(self) -> None:
        """See base.Connector."""
        self._inner.close()


@dataclass
class CopiedObject:
    """One native object. `rows` is how many there are, `copied` how many were taken (more, where they are multiplied)."""

    system: str
    label: str
    entities: tuple[str, ...]
    rows: int = 0
    copied: int = 0
    rejected: int = 0
    columns: dict[str, Treatment] = field(default_factory=dict)
    whole: bool = False


@dataclass
class Copies:
    """The stand-ins of all systems. `errors` are systems that could not be read, and why; `caps` what the real ones can do."""

    config: Config
    worlds: dict[str, MemoryWorld] = field(default_factory=dict)
    objects: dict[tuple[str, str], CopiedObject] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    treated: dict[tuple[str, str, str], Treatment] = field(default_factory=dict)
    words: tuple[frozenset[str], frozenset[str]] = (frozenset(), frozenset())

    def table(self, system: str, entity: str) -> MemoryTable | None:
        """The stand-in of a mapping's object; None where its system could not be read."""
        world = self.worlds.get(system)
        return None if world is None else world.tables.get(label_of(self.config.entities[entity].mappings[system]))


@dataclass(frozen=True, slots=True)
class Amount:
    """How much is copied: at most `records` of each entity (None: all), each `times` times."""

    records: int | None
    times: int = 1


def copy_systems(
    config: Config, amount: Amount, clock: Callable[[], datetime], tick: Callable[[str, str, int], None] | None = None
) -> Copies:
    """Read every system once and make its stand-in. Raises TrueupError where no entity has two systems that could be read."""
    tell = tick or (lambda _entity, _system, _rows: None)
    opened = Systems(config)
    copies = Copies(config, words=kept_words(config))
    try:
        real: dict[str, OnlyLooking] = {}
        seats = _seats(config, opened, copies, clock(), real)
        _enough(config, seats, copies)
        chosen = _choose(config, seats, amount.records, tell, copies)
        _fill(config, seats, real, chosen, amount, clock, tell, copies)
    finally:
        opened.close()
    _enough(
        config, {name: {system: one for system, one in mine.items() if system in copies.worlds} for name, mine in seats.items()}, copies
    )
    return copies


def _seats(config: Config, opened: Systems, copies: Copies, now: datetime, real: dict[str, OnlyLooking]) -> dict[str, dict[str, Seat]]:
    """Every entity's systems, opened for looking alone; their connectors are put into `real`."""
    for name, until in opened.limits.resting(config.systems, now).items():
        copies.errors[name] = f"left alone until {until:%Y-%m-%d %H:%M}Z by its `limits`"
    for name in config.systems:
        if name not in copies.errors:
            try:
                real[name] = OnlyLooking(opened.connector(name))
            except TrueupError as error:
                copies.errors[name] = str(error)
    looking = Systems(config, cast("Mapping[str, Connector]", real), limits=Limits({}))  # `opened` keeps to them
    seats: dict[str, dict[str, Seat]] = {}
    for name, entity in config.entities.items():
        away = frozenset(copies.errors)
        seats[name], errors = looking.seats(entity, make=False, away=away)
        copies.errors |= {system: str(error) for system, error in errors.items()}
    return {name: {system: seat for system, seat in mine.items() if system not in copies.errors} for name, mine in seats.items()}


def _enough(config: Config, seats: Mapping[str, Mapping[str, Seat]], copies: Copies) -> None:
    for name, mine in seats.items():
        mappings = config.entities[name].mappings
        if len(mine) > 1 and any(mappings[system].writes for system in mine):
            return
    why = "; ".join(copies.errors.values()) or "fewer than two systems are mapped"
    raise SystemUnreachableError(f"there is nothing to rehearse: {why}", hint="`trueup check` shows which systems can be reached")


# ---------------------------------------------------------------- which records


@dataclass
class _Reading:
    """What is read of an entity to choose among its records: rows by number, and where each stands."""

    system: list[str] = field(default_factory=list)
    key: list[str] = field(default_factory=list)
    above: list[int] = field(default_factory=list)
    refers: list[tuple[int, str, str, str]] = field(default_factory=list)  # row, entity, system, key

    def of(self, row: int) -> int:
        """The first row of the record that a row belongs to."""
        while self.above[row] != row:
            self.above[row] = self.above[self.above[row]]
            row = self.above[row]
        return row


def _choose(
    config: Config, seats: Mapping[str, Mapping[str, Seat]], records: int | None, tell: Callable[[str, str, int], None], copies: Copies
) -> dict[tuple[str, str], set[str]] | None:
    """The keys to copy by system and object; None: all of them."""
    if records is None:
        return None
    salt = secrets.token_bytes(16)
    wanted: dict[tuple[str, str], set[str]] = defaultdict(set)  # entity and system -> keys that others refer to
    chosen: dict[tuple[str, str], set[str]] = defaultdict(set)
    for name in reversed(in_order(config.entities, config.entities)):
        reading = _survey(config.entities[name], seats[name], tell)
        taken = _sample(reading, records, {system: wanted[name, system] for system in seats[name]}, salt, name)
        for row, system in enumerate(reading.system):
            if reading.of(row) in taken:
                chosen[system, label_of(config.entities[name].mappings[system])].add(reading.key[row])
        for row, entity, system, key in reading.refers:
            if reading.of(row) in taken:
                wanted[entity, system].add(key)
        total = len({reading.of(row) for row in range(len(reading.key))})
        if total > len(taken):
            copies.notes.append(f"{name}: {len(taken):,} of {total:,} records, chosen at random, with what they refer to")
    return chosen


def _survey(entity: Entity, seats: Mapping[str, Seat], tell: Callable[[str, str, int], None]) -> _Reading:
    """Read what records are matched by and what they refer to; rows that share any of it, by a rule, are one record."""
    reading, first = _Reading(), dict[tuple[int, int], int]()
    needed = {name for rule in entity.match for name in rule}
    needed |= {name for name, item in entity.fields.items() if item.type == "reference"}
    for system, seat in seats.items():
        names = [name for name in seat.compiled.readable if name in needed]
        columns = list(seat.compiled.read_columns)
        for page in _read(seat, columns):
            tell(entity.name, system, page.rows.height)
            cells = seat.compiled.understood(page.rows, names)
            start = len(reading.key)
            reading.key += page.rows[KEY].to_list()
            reading.system += [system] * page.rows.height
            reading.above += range(start, len(reading.key))
            for number, rule in enumerate(entity.match):
                if set(rule) <= set(names) and not cells.is_empty():
                    _join(reading, first, number, start, match_hash(cells, rule, number))
            for name in names:
                refers = entity.fields[name]
                if refers.type == "reference" and refers.entity is not None:
                    targets = enumerate(cells[name].to_list(), start)
                    reading.refers += [(row, refers.entity, system, key) for row, key in targets if key not in {None, NULL}]
    return reading


def _join(reading: _Reading, first: dict[tuple[int, int], int], rule: int, start: int, hashes: pl.Series) -> None:
    for row, number in enumerate(hashes.to_list(), start):
        if number is not None:
            other = first.setdefault((rule, number), row)
            one, two = reading.of(other), reading.of(row)
            if one != two:
                reading.above[max(one, two)] = min(one, two)


def _sample(reading: _Reading, records: int, wanted: Mapping[str, set[str]], salt: bytes, entity: str) -> set[int]:
    """The first rows of the records taken: all that are referred to, and others by chance up to the number."""
    heads = sorted({reading.of(row) for row in range(len(reading.key))}, key=lambda row: blake2b(f"{row}".encode(), key=salt).digest())
    taken = {reading.of(row) for row, key in enumerate(reading.key) if key in wanted.get(reading.system[row], ())}
    for head in heads:
        if len(taken) >= records:
            break
        taken.add(head)
    own = {(system, key): reading.of(row) for row, (system, key) in enumerate(zip(reading.system, reading.key, strict=True))}
    waiting = [own.get((system, key)) for row, to, system, key in reading.refers if to == entity and reading.of(row) in taken]
    while waiting:  # what refers to its own kind
        new = {head for head in waiting if head is not None} - taken
        taken |= new
        waiting = [own.get((system, key)) for row, to, system, key in reading.refers if to == entity and reading.of(row) in new]
    return taken


# ---------------------------------------------------------------- the copies


def _read(seat: Seat, columns: Sequence[str]) -> Iterator[Page]:
    if isinstance(seat.connector, Unmade):
        return
    try:
        yield from seat.connector.read(seat.mapping.object, columns)
    except TrueupError as error:
        error.system = error.system or seat.name
        raise


def _fill(
    config: Config,
    seats: Mapping[str, Mapping[str, Seat]],
    real: Mapping[str, OnlyLooking],
    chosen: Mapping[tuple[str, str], set[str]] | None,
    amount: Amount,
    clock: Callable[[], datetime],
    tell: Callable[[str, str, int], None],
    copies: Copies,
) -> None:
    objects: dict[tuple[str, str], list[tuple[Entity, Seat]]] = defaultdict(list)
    for name, mine in seats.items():
        for system, seat in mine.items():
            objects[system, label_of(config.entities[name].mappings[system])].append((config.entities[name], seat))
    columns = {place: _columns(users) for place, users in objects.items()}
    wanted = [
        (entity, system, label, {name: seat.info.columns[name].type for name in columns[system, label] if name in seat.info.columns})
        for (system, label), users in objects.items()
        for entity, seat in users
    ]
    copies.treated = treatments(config, wanted)
    key = secrets.token_bytes(32)
    exact, words = copies.words
    maskers = [Masker(key, copy=number, kept=exact, words=words, key_step=KEY_STEP) for number in range(amount.times)]
    for (system, label), users in objects.items():
        world = copies.worlds.get(system) or MemoryWorld(_caps(real[system].can), clock=clock)
        world.versions = False
        try:
            table = _table(world, label, users)
            told = CopiedObject(system, label, tuple(entity.name for entity, _seat in users))
            told.columns = {name: copies.treated[system, label, name] for name in columns[system, label]}
            for page in _read(users[0][1], columns[system, label]):
                tell(users[0][0].name, system, page.rows.height)
                _take(world, table, page, told, maskers, None if chosen is None else chosen[system, label])
        except TrueupError as error:
            error.system = error.system or system
            copies.errors[system] = str(error)
            copies.worlds.pop(system, None)
            continue
        _stamp(table, config.systems[system].timezone)
        copies.worlds[system] = world
        copies.objects[system, label] = told


def _columns(users: Sequence[tuple[Entity, Seat]]) -> list[str]:
    """The native columns that are read: those of its mappings, and its key."""
    names = [name for _entity, seat in users for name in (*seat.mapping.object.key, *seat.compiled.read_columns)]
    return list(dict.fromkeys(name for name in names if name in users[0][1].info.columns))


def _caps(real: Caps) -> Caps:
    """What the stand-in can do: what the real system can, as far as memory can."""
    return replace(FULL_CAPS, **{name: getattr(real, name) for name in _ALIKE})


_ALIKE = (
    "kind", "precondition", "stored_row", "incremental", "marks", "marks_once", "tombstones", "find", "creates", "updates", "deletes",
    "assigns_keys", "takes_keys", "atomic",
)  # fmt: skip


def _table(world: MemoryWorld, label: str, users: Sequence[tuple[Entity, Seat]]) -> MemoryTable:
    """An empty table of the same columns: types, lengths, places, what may be empty."""
    entity, seat = users[0]
    info, obj = seat.info, entity.mappings[seat.name].object
    columns = dict(info.columns)
    if isinstance(seat.connector, Unmade):
        made = native_columns(entity, seat.name)
        columns |= {name: ColumnInfo(name=name, type="integer") for name in obj.key if name not in made}
    made_columns = [
        MemoryColumn(info=column, stores=rounded(column.scale) if column.type == "decimal" and column.scale is not None else None)
        for column in columns.values()
    ]
    return world.add_table(label, made_columns, obj.key, modified=obj.modified)


def _stamp(table: MemoryTable, zone: str | None) -> None:
    """Let every write say when it was, as the real system does; a stand-in that cannot is read whole."""
    name = table.modified
    if name is None:
        return
    sample = next((value for row in table.rows.values() if (value := row.values.get(name)) is not None), None)
    table.stamps = stamps_like(table.columns[name].info.type, zone, sample)
    if table.stamps is None:
        table.modified = None


def _take(
    world: MemoryWorld, table: MemoryTable, page: Page, told: CopiedObject, maskers: Sequence[Masker], chosen: set[str] | None
) -> None:
    """The rows of a page into the stand-in, masked, and as often as asked for."""
    told.rows += page.rows.height + len(page.rejected)
    told.whole = page.complete
    rows = page.rows if chosen is None else page.rows.filter(pl.col(KEY).is_in(list(chosen)))
    names = list(told.columns)
    absent = rows[ABSENT].to_list() if ABSENT in rows.columns else None
    if VERSION in page.rows.columns:
        world.versions = True
    if absent is not None:
        world.absent = True
    for masker in maskers:
        columns = [_masked(masker, told.columns[name], rows[name], table.columns[name].info) for name in names]
        for number, values in enumerate(zip(*columns, strict=True)):
            row = dict(zip(names, values, strict=True))
            for name in (absent[number] or ()) if absent is not None else ():
                row.pop(name, None)
            table.insert(row)
        told.copied += rows.height
    for reject in page.rejected:
        if chosen is None or reject.key is None or reject.key in chosen or len(chosen) >= told.rows:
            _reject(table, told, maskers[0], reject)


def _masked(masker: Masker, treatment: Treatment, column: pl.Series, info: ColumnInfo) -> list[Any]:
    values = column.to_list()
    if info.type == "integer" and column.dtype == pl.String:  # too wide for the type
        values = [None if value is None else int(value) for value in values]
    if column.dtype.is_nested():
        return [treatment.mask(masker, value) for value in values]
    known: dict[Any, Any] = {}
    for value in values:
        if value not in known:
            known[value] = treatment.mask(masker, value)
    return [known[value] for value in values]


def _reject(table: MemoryTable, told: CopiedObject, masker: Masker, reject: Reject) -> None:
    """A row that cannot be read stands for one that cannot be read: without a key, with one that is there already, or of another type."""
    told.rejected += 1
    told.copied += 1
    row: dict[str, Any] = dict.fromkeys(table.columns)
    if reject.key is not None:
        try:
            parts = dict(zip(table.key, split_key(reject.key, len(table.key)), strict=True))
        except ValueError:
            return
        for name, text in parts.items():
            typed = int(text) if table.columns[name].info.type == "integer" and text.lstrip("-").isdigit() else text
            row[name] = told.columns[name].mask(masker, typed)
        if reject.column is not None and reject.column in table.columns and reject.column not in table.key:
            row[reject.column] = "?" if table.columns[reject.column].info.type in _TYPED else 0
            table.insert(row)
            return
        if table.key_of(row) in table.rows:
            return
        table.insert(dict(row))  # twice: nobody can say which one is meant
    table.insert(row)


_TYPED = {"integer", "float", "decimal", "boolean", "date", "datetime", "timestamp", "list"}
