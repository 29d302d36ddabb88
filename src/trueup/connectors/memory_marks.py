"""Marks of a system that does not number its rows: they are known by what they read like (`caps.marks_once`)."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from trueup.connectors.memory_world import MemoryRow, MemoryTable


@dataclass(slots=True)
class _Reading:
    """A reading announced by a mark: what its rows read like, and the keys that were asked for before and since."""

    before: set[str]
    since: set[str] = field(default_factory=set)
    name: str = field(default_factory=lambda: uuid.uuid4().hex)
    rows: dict[str, str] | None = None


class ContentMarks:
    """The readings of one connector, by table."""

    def __init__(self) -> None:
        """Nothing was read yet."""
        self._readings: dict[str, _Reading] = {}
        self._asked: dict[str, set[str]] = {}

    def announce(self, table: str) -> str:
        """A name for the reading that follows."""
        reading = self._readings[table] = _Reading(self._asked.pop(table, set()))
        self._asked[table] = reading.since
        return reading.name

    def ask(self, table: str, keys: Iterable[str]) -> None:
        """Rows are read or written in another way than by a listing."""
        self._asked.setdefault(table, set()).update(keys)

    def listed(self, table: MemoryTable, rows: Mapping[str, MemoryRow]) -> None:
        """A listing shows these rows; the first one after `announce` counts."""
        reading = self._readings.get(table.name)
        if reading is not None and reading.rows is None:
            reading.rows = {key: _content(table, row) for key, row in rows.items()}

    def mark(self, table: str, name: str) -> str:
        """What the reading of that name showed, as a mark; the name itself where there was none."""
        reading = self._readings.get(table)
        if reading is None or reading.name != name or reading.rows is None:
            return name
        return json.dumps({"table": table, "rows": reading.rows, "asked": sorted(reading.since)})

    def same(self, table: MemoryTable, mark: str) -> list[str] | None:
        """Keys of the rows that read as they did in the reading of a mark; None where it says nothing of this table."""
        if not mark.startswith("{") or (known := json.loads(mark))["table"] != table.name:
            return None
        reading = self._readings.get(table.name)
        again = {*known["asked"], *(reading.before if reading is not None else self._asked.get(table.name, ()))}
        return [key for key, row in table.rows.items() if key not in again and known["rows"].get(key) == _content(table, row)]


def _content(table: MemoryTable, row: MemoryRow) -> str:
    """What a row reads like, whenever it was written."""
    return repr(sorted((name, value) for name, value in row.values.items() if name != table.modified))
