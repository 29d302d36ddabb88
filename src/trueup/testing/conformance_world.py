"""The systems that the conformance rules examine, seen from outside their connector.

A `World` is one system under test. It makes objects, edits them and reads them back by its own means (a driver, a file library, an
admin API), never through the connector: a rule compares what the connector says with what is there.

Values that pass through a world are plain Python: str (also for json), int, `Decimal`, float, bool, date, datetime (aware UTC for
`datetime`, naive for `timestamp`), bytes for binary, list[str], None for null; a column that a row does not have is not in its dict.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from trueup.model import ColumnType, ObjectSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from trueup.connectors.base import Connector

PATIENCE_S = 20.0
"""How long a rule waits for what is to come: it comes long before, but a slow machine breaks no rule."""

Row = dict[str, Any]
Refusal = Literal["length", "null", "unique", "number"]
DEFAULT_TYPES: frozenset[ColumnType] = frozenset({"text", "integer", "decimal", "float", "boolean", "date", "datetime", "timestamp"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """Facts of a system that are not abilities of its connector. Every narrowing is shown in the generated table of connectors.

    types             column types that an object may have; rules use these alone, and describe() must report exactly these
    versions          rows carry a native version (`__version`)
    empty_text        "" is stored apart from null
    absent            a row may lack a column, which is not null
    unguarded_keys    an object can be made whose key may be null or doubled (what `Trial.guarded=False` asks for)
    declares_columns  columns are what a mapping declares them to be, so that discovery, which knows no mapping, shows others
    misfits           a column may hold a value that is not of its type, and the world can put one there
    composite_keys    an object may have several key columns
    strange_keys      any text may be a key: quotes, slashes, characters of several signs
    several_writers   two connectors may write the same object at once
    makes_objects     prepare() makes an object that is not there
    rounds            a decimal column of a given scale rounds what it stores
    transactions      the world can hold a transaction open
    watch_keys        a watch tells keys, not only that something changed
    watch_durable     a watch tells what happened while nobody watched
    watch_remembered  the system itself keeps something for a watch, which `unwatch` removes
    refuses           what the system itself refuses: text over a column's length, null, a value that another row has, text in a number
    assign            what a mapping says where the system gives keys (`system`, `sequence`, `uuid`)
    assigned_type     type of a key column that the system fills
    max_text          longest text, in characters
    controls          text may hold tabs and line ends of both kinds
    integer_digits    digits of a whole number that survive, of a decimal (`decimal_digits`), and of a fraction of a second
    first_date        first and last day that a date can be; `first_moment`, `last_moment`: that a point in time (datetime) can be on
    """

    types: frozenset[ColumnType] = DEFAULT_TYPES
    versions: bool = False
    empty_text: bool = True
    absent: bool = False
    unguarded_keys: bool = True
    declares_columns: bool = False
    misfits: bool = False
    composite_keys: bool = True
    strange_keys: bool = True
    several_writers: bool = True
    makes_objects: bool = True
    rounds: bool = False
    transactions: bool = False
    watch_keys: bool = False
    watch_durable: bool = False
    watch_remembered: bool = False
    refuses: frozenset[Refusal] = frozenset()
    assign: str = "system"
    assigned_type: ColumnType = "integer"
    max_text: int = 50_000
    controls: bool = True
    integer_digits: int = 19
    decimal_digits: int = 30
    fraction_digits: int = 6
    first_date: date = date(1, 1, 1)
    last_date: date = date(9999, 12, 31)
    first_moment: date = date(1, 1, 2)
    last_moment: date = date(9999, 12, 30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of an object to be made. `max_length` None: as long as the system allows; `scale`: decimal places, rounded to."""

    type: ColumnType = "text"
    nullable: bool = True
    unique: bool = False
    max_length: int | None = None
    scale: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """An object that a rule asks for.

    `columns` include the key. `guarded`: the system may itself keep the key unique and not null (a primary key), as objects usually do;
    False: it must not. `assigned`: the system gives new rows their key. `modified` names the column that dates a row; rules set it
    themselves, so that the world must not.
    """

    columns: Mapping[str, Column]
    key: tuple[str, ...] = ("id",)
    guarded: bool = True
    assigned: bool = False
    modified: str | None = None


class World(ABC):
    """One system under test. An author implements the abstract methods; `RowsWorld` and `SqlWorld` bring most of them."""

    traits: ClassVar[Traits] = Traits()
    connector: ClassVar[type[Connector]]

    def __init__(self, directory: str = ".") -> None:
        """`directory` is where the connector's relative paths start."""
        self.directory = directory
        self.opens: Callable[[World, Mapping[str, Any]], Connector] = World.open_plainly
        self.patience_s = PATIENCE_S
        self._names = itertools.count(1)

    # ------------------------------------------------------------ what an author writes

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """The connector's settings that lead to this world."""

    @abstractmethod
    def make(self, name: str, trial: Trial) -> None:
        """Make an empty object."""

    @abstractmethod
    def insert(self, obj: ObjectSpec, rows: Sequence[Row]) -> None:
        """Add rows."""

    @abstractmethod
    def rows(self, obj: ObjectSpec) -> list[Row]:
        """All rows as they are stored, in any order. Values may come as the world's own library gives them: `canonical` reads them."""

    @abstractmethod
    def edit(self, obj: ObjectSpec, where: Row, values: Row) -> None:
        """Change columns of the rows that hold all of `where`."""

    @abstractmethod
    def remove(self, obj: ObjectSpec, where: Row) -> None:
        """Delete the rows that hold all of `where`."""

    def spec(self, name: str, trial: Trial) -> ObjectSpec:
        """How a mapping would name the object. Override where it needs more (options, header_row) or where the object has no name."""
        assign = self.traits.assign if trial.assigned else f"field:{','.join(trial.key)}"
        return ObjectSpec(name=name, key=trial.key, modified=trial.modified, assign=assign)

    def spoil(self, obj: ObjectSpec, where: Row, column: str) -> None:
        """Put a value into `column` that is not of its type; needed where `traits.misfits`."""
        self.edit(obj, where, {column: "not a number"})

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """What is edited in the block is committed at its end; needed where `traits.transactions`."""
        yield

    def bulk(self, obj: ObjectSpec, rows: Sequence[Row]) -> None:
        """Add many rows in one transaction."""
        with self.transaction():
            self.insert(obj, rows)

    def clock(self) -> datetime:
        """What time it is in the system; needed where `caps.clock`. Override for a system with a clock of its own."""
        return datetime.now(UTC)

    def made(self) -> list[str]:
        """Names of all that stands in the system besides objects, where a watch may make such things (triggers, slots)."""
        return []

    # ------------------------------------------------------------ what rules use

    def object(self, trial: Trial, rows: Sequence[Row] = ()) -> ObjectSpec:
        """A new object with these rows, under a name of its own."""
        name = f"trial_{next(self._names)}"
        self.make(name, trial)
        obj = self.spec(name, trial)
        if rows:
            self.insert(obj, rows)
        return obj

    def unmade(self, trial: Trial, *, create: bool = False) -> ObjectSpec:
        """The name of an object that does not exist."""
        return replace(self.spec(f"trial_{next(self._names)}", trial), create=create)

    def open_plainly(self, settings: Mapping[str, Any]) -> Connector:
        """The connector itself, undisguised."""
        return self.connector.open("trial", settings, directory=self.directory)

    def open(self, settings: Mapping[str, Any]) -> Connector:
        """Open the connector with these settings, under the disguise of a mutant where one is tried."""
        return self.opens(self, settings)

    def connect(self) -> Connector:
        """A connector to this world; the caller closes it."""
        return self.open(self.settings())

    def close(self) -> None:  # noqa: B027 - most worlds hold nothing
        """Give back what the world holds."""


class RowsWorld(World):
    """A world that is read and written whole, as files are: an author writes `make`, `load` and `save`."""

    @abstractmethod
    def load(self, obj: ObjectSpec) -> list[Row]:
        """All rows as stored."""

    @abstractmethod
    def save(self, obj: ObjectSpec, rows: Sequence[Row]) -> None:
        """Put these rows in the place of all rows, keeping the object's columns."""

    def insert(self, obj: ObjectSpec, rows: Sequence[Row]) -> None:
        """See World."""
        self.save(obj, [*self.load(obj), *rows])

    def rows(self, obj: ObjectSpec) -> list[Row]:
        """See World."""
        return self.load(obj)

    def edit(self, obj: ObjectSpec, where: Row, values: Row) -> None:
        """See World."""
        self.save(obj, [{**row, **values} if holds(row, where) else row for row in self.load(obj)])

    def remove(self, obj: ObjectSpec, where: Row) -> None:
        """See World."""
        self.save(obj, [row for row in self.load(obj) if not holds(row, where)])


def holds(row: Row, where: Row) -> bool:
    """Whether a row has all the values of `where`; 7 and "7" are one key to a file of text."""
    return all(name in row and str(row[name]) == str(value) for name, value in where.items())
