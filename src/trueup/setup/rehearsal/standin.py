"""What stands in for a system: its masked copy, which counts what it is asked, and of which the process may die."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from trueup.connectors.base import PAGE_ROWS
from trueup.connectors.memory import MemoryConnector

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import polars as pl

    from trueup.connectors.base import Page, WriteBatch
    from trueup.connectors.memory import MemoryWorld
    from trueup.model import ObjectSpec
    from trueup.setup.rehearsal.mortal import Killer


@dataclass
class Asked:
    """What one system was asked. `made` are the rows that were created, by object, whether or not their reply arrived."""

    calls: Counter[str] = field(default_factory=Counter)
    rows_read: int = 0
    rows_written: int = 0
    made: dict[str, list[str]] = field(default_factory=dict)


class StandIn(MemoryConnector):
    """Reads and writes a masked copy."""

    def __init__(self, name: str, world: MemoryWorld, killer: Killer, asked: Asked) -> None:
        """Stand in for the system called `name`, for the life of one process."""
        super().__init__(name, world)
        self._killer = killer
        self._asked = asked

    def read(
        self,
        obj: ObjectSpec,
        columns: Sequence[str],
        *,
        since: str | None = None,
        keys: Sequence[str] | None = None,
        page_rows: int = PAGE_ROWS,
    ) -> Iterator[Page]:
        """See base.Connector."""
        pages = list(super().read(obj, columns, since=since, keys=keys, page_rows=page_rows))
        self._asked.calls["read"] += len(pages)
        self._asked.rows_read += sum(page.rows.height for page in pages)
        return iter(pages)

    def find(self, obj: ObjectSpec, columns: Sequence[str], values: pl.DataFrame) -> pl.DataFrame:
        """See base.Connector."""
        self._asked.calls["find"] += 1
        return super().find(obj, columns, values)

    def write(self, obj: ObjectSpec, batch: WriteBatch) -> pl.DataFrame:
        """See base.Connector."""
        self._killer.point(f"before a write to {self.name}")
        self._asked.calls["write"] += 1
        outcomes = super().write(obj, batch)
        done = outcomes.filter(outcomes["__status"] == "done")
        self._asked.rows_written += done.height
        if batch.kind == "create":
            self._asked.made.setdefault(obj.name or "", []).extend(done["__key"].to_list())
        self._killer.point(f"after a write to {self.name}")
        return outcomes
