"""The world of the memory connector: the simplest example of a `World`, and the one on which the mutants are tried first."""

from __future__ import annotations

import itertools
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar

from trueup.connectors.memory import FULL_CAPS, MemoryColumn, MemoryConnector, MemoryWorld, rounded
from trueup.model import ColumnInfo
from trueup.testing.conformance_world import DEFAULT_TYPES, Row, Traits, Trial, World, holds

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trueup.connectors.base import Connector
    from trueup.connectors.memory import MemoryTable
    from trueup.model import Caps, ColumnType, ObjectSpec

_WORLDS = itertools.count(1)
_TYPES: frozenset[ColumnType] = DEFAULT_TYPES | {"list", "json", "binary"}


class MemoryTrialWorld(World):
    """A memory world of its own with the given abilities; `plain` is one without versions, in which every column is present."""

    traits: ClassVar[Traits] = Traits(
        types=_TYPES,
        versions=True,
        absent=True,
        misfits=True,
        rounds=True,
        transactions=True,
        watch_keys=True,
        watch_durable=True,
        watch_remembered=True,
        refuses=frozenset({"length", "null", "unique", "number"}),
    )
    connector: ClassVar[type[Connector]] = MemoryConnector

    def __init__(self, caps: Caps = FULL_CAPS) -> None:
        """Make the world."""
        super().__init__()
        self.name = f"trial-{next(_WORLDS)}"
        self.memory = MemoryWorld.named(self.name)
        self.memory.caps = caps
        self.memory.versions = self.traits.versions
        self.memory.absent = self.traits.absent

    def settings(self) -> dict[str, Any]:
        """See World."""
        return {"world": self.name}

    def make(self, name: str, trial: Trial) -> None:
        """See World."""
        columns = [
            MemoryColumn(
                info=ColumnInfo(
                    name=column, type=said.type, nullable=said.nullable, max_length=said.max_length, has_default=column in trial.key
                ),
                unique=said.unique,
                stores=None if said.scale is None else rounded(said.scale),
            )
            for column, said in trial.columns.items()
        ]
        self.memory.add_table(name, columns, trial.key)

    def insert(self, obj: ObjectSpec, rows: Sequence[Row]) -> None:
        """See World."""
        for row in rows:
            self._table(obj).insert(_inside(row))

    def rows(self, obj: ObjectSpec) -> list[Row]:
        """See World."""
        table = self._table(obj)
        with self.memory.lock:
            return [dict(row.values) for row in (*table.rows.values(), *table.stray)]

    def edit(self, obj: ObjectSpec, where: Row, values: Row) -> None:
        """See World."""
        table = self._table(obj)
        for key in [key for key, row in table.rows.items() if holds(row.values, where)]:
            table.edit(key, _inside(values))

    def remove(self, obj: ObjectSpec, where: Row) -> None:
        """See World."""
        table = self._table(obj)
        for key in [key for key, row in table.rows.items() if holds(row.values, where)]:
            table.remove(key)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """See World."""
        with self.memory.transaction():
            yield

    def made(self) -> list[str]:
        """See World."""
        return sorted(self.memory.watched)

    def close(self) -> None:
        """See World."""
        MemoryWorld.forget(self.name)

    def _table(self, obj: ObjectSpec) -> MemoryTable:
        return self.memory.tables[obj.name or ""]


class PlainMemoryTrialWorld(MemoryTrialWorld):
    """A memory world whose rows have no versions and lack no column, as those of most databases."""

    traits: ClassVar[Traits] = replace(MemoryTrialWorld.traits, versions=False, absent=False)


def _inside(row: Row) -> Row:
    """Values as the table keeps them: decimals and binary as text."""
    return {name: _cell(value) for name, value in row.items()}


def _cell(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    return str(value) if isinstance(value, Decimal) else value
