"""What the simulator puts around the engine: systems that misbehave on request, a state that can be killed, and a clock.

Everything here is deterministic: faults are armed by count, never by chance, and the lanes of a pass run one after the other.
"""

from __future__ import annotations

from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Self
from unittest import mock

import polars as pl

from trueup.connectors.base import PAGE_ROWS, Page
from trueup.connectors.memory import MemoryConnector
from trueup.errors import SystemUnreachableError
from trueup.setup.rehearsal.mortal import Kill, Killer, MortalStore
from trueup.testing.simulator_scenario import TABLE, TABLES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from trueup.connectors.base import WriteBatch
    from trueup.connectors.memory import MemoryWorld
    from trueup.model import ObjectInfo, ObjectSpec

__all__ = ["Kill", "Killer", "MortalStore"]

START = datetime(2026, 1, 5, 8, tzinfo=UTC)


class Clock:
    """The moment, moved by the simulator and a little by every look at it."""

    def __init__(self) -> None:
        """Start on a Monday morning."""
        self.now = START

    def __call__(self) -> datetime:
        """The moment; a microsecond passes."""
        self.now += timedelta(microseconds=1)
        return self.now

    def pass_by(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)


@dataclass
class Faults:
    """What goes wrong in a system, as numbers of calls still to go wrong.

    `intrude` is called between the engine's last look at a row and its write, `intrude_early` before that last look.
    """

    reads_fail: int = 0
    reads_break: int = 0  # after the first page
    writes_fail: int = 0
    replies_lost: int = 0
    halves: int = 0  # the first half of a batch is written, then the connection breaks
    retries: int = 0  # the first row of a batch is told to be tried again
    intrude: Callable[[], None] | None = None
    intrude_early: Callable[[], None] | None = None

    def take(self, name: str) -> bool:
        """Whether this call goes wrong in this way."""
        left = int(getattr(self, name))
        if left > 0:
            setattr(self, name, left - 1)
        return left > 0


@dataclass
class Calls:
    """What the engine asked of a system since the last `clear`."""

    listings: int = 0
    increments: int = 0
    keyed: int = 0
    compared: int = 0  # readings of what tells records apart, while a row waits that may be any record
    writes: list[tuple[str, tuple[str | None, ...]]] = field(default_factory=list)  # kind, keys

    def clear(self) -> None:
        """Forget."""
        self.listings = self.increments = self.keyed = self.compared = 0
        self.writes.clear()


class SimulatedSystem(MemoryConnector):
    """A memory system with faults. `columns` are those that the engine may name (None: all); `page_rows` makes small pages."""

    def __init__(self, name: str, world: MemoryWorld, killer: Killer | None = None, columns: frozenset[str] | None = None) -> None:
        """Connect to `world`."""
        super().__init__(name, world)
        self.killer = killer or Killer()
        self.columns = columns
        self.faults = Faults()
        self.calls = Calls()
        self.others = Calls()  # what is asked about objects other than the customers
        self.page_rows = PAGE_ROWS
        self.backwards = False
        self.deleted: Callable[[str, dict[str, Any]], None] = lambda _key, _values: None

    def _stay_inside(self, names: Sequence[str]) -> None:
        outside = set(names) - (set(names) if self.columns is None else self.columns)
        if outside:
            message = f"{self.name}: the engine touched columns that are not mapped: {sorted(outside)}"
            raise AssertionError(message)

    def _unreachable(self, what: str) -> SystemUnreachableError:
        return SystemUnreachableError(what, system=self.name, hint="simulated")

    def describe(self, obj: ObjectSpec) -> ObjectInfo:
        """See base.Connector."""
        return super().describe(_by_its_name(obj))

    def find(self, obj: ObjectSpec, columns: Sequence[str], values: pl.DataFrame) -> pl.DataFrame:
        """See base.Connector."""
        return super().find(_by_its_name(obj), columns, values)

    def mark(self, obj: ObjectSpec) -> str | None:
        """See base.Marking."""
        return super().mark(_by_its_name(obj))

    def moved(self, obj: ObjectSpec, columns: Sequence[str], mark: str) -> Iterator[Page] | None:
        """See base.Marking."""
        return super().moved(_by_its_name(obj), columns, mark)

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
        obj = _by_its_name(obj)
        self._stay_inside([*columns, *([obj.modified] if obj.modified else [])])
        calls = self.calls if obj.name == TABLE else self.others
        if keys is not None:
            calls.keyed += 1
            if self.faults.intrude_early is not None:
                intrude, self.faults.intrude_early = self.faults.intrude_early, None
                intrude()
        elif since is not None:
            calls.increments += 1
        elif obj.key != self.world.tables[obj.name or ""].key:
            calls.compared += 1
        else:
            calls.listings += 1
        if self.faults.take("reads_fail"):
            raise self._unreachable("the connection was refused")
        pages = list(super().read(obj, columns, since=since, keys=keys, page_rows=min(page_rows, self.page_rows)))
        if self.backwards:
            pages = _backwards(pages)
        return self._breaking(pages) if self.faults.take("reads_break") else iter(pages)

    def _breaking(self, pages: list[Page]) -> Iterator[Page]:
        yield Page(pages[0].rows.head(max(1, pages[0].rows.height // 2)))
        raise self._unreachable("the connection broke while reading")

    def write(self, obj: ObjectSpec, batch: WriteBatch) -> pl.DataFrame:
        """See base.Connector."""
        obj = _by_its_name(obj)
        self._stay_inside([*batch.columns, *batch.returning])
        self.killer.point(f"before a write to {self.name}")
        self.calls.writes.append((batch.kind, tuple(batch.rows["__key"].to_list())))
        if self.faults.take("writes_fail"):
            raise self._unreachable("the connection was refused")
        if self.faults.intrude is not None:
            intrude, self.faults.intrude = self.faults.intrude, None
            intrude()
        half = self.faults.take("halves")
        told_later = batch.rows.head(1 if self.faults.take("retries") else 0)
        rows = batch.rows.slice(told_later.height)
        rows = rows.head(rows.height // 2) if half else rows
        table = self.world.tables[obj.name or ""]
        watched = batch.kind == "delete" and obj.name == TABLE
        held = {key: row.values for key, row in table.rows.items()} if watched else {}
        outcomes = super().write(obj, _with_rows(batch, rows))
        for key, values in held.items():
            if key not in table.rows:
                self.deleted(key, values)
        self.killer.point(f"after a write to {self.name}")
        if half or self.faults.take("replies_lost"):
            raise self._unreachable("the connection broke while writing")
        if told_later.is_empty():
            return outcomes
        later = told_later.select(
            "__op",
            "__key",
            pl.lit("retry").alias("__status"),
            pl.lit("busy").alias("__reason"),
            pl.lit(5.0).alias("__retry_s"),
            pl.lit(value=False).alias("__stored"),
        )
        return pl.concat([outcomes, later.cast({"__op": pl.Int64})], how="diagonal").select(outcomes.columns)


def _by_its_name(obj: ObjectSpec) -> ObjectSpec:
    """The object as the table of this world is called, whatever its system calls it at present."""
    return replace(obj, name=TABLE) if obj.name in TABLES else obj


def _with_rows(batch: WriteBatch, rows: pl.DataFrame) -> WriteBatch:
    return replace(batch, rows=rows)


def _backwards(pages: list[Page]) -> list[Page]:
    """The same pages with their rows in reverse order; what the last page says stays with the last."""
    rows = [page.rows.reverse() for page in reversed(pages)]
    return [Page(frame, page.cursor, page.complete, page.rejected, page.gone) for frame, page in zip(rows, pages, strict=True)]


class OneAfterTheOther:
    """A ThreadPoolExecutor that runs each task at once, so that a run can be repeated exactly."""

    def __init__(self, **_settings: object) -> None:
        """Take any settings."""

    def __enter__(self) -> Self:
        """The executor itself."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Nothing is left to wait for."""

    def submit(self, call: Callable[..., Any], *arguments: Any, **named: Any) -> Future[Any]:
        """Run it."""
        task: Future[Any] = Future()
        try:
            task.set_result(call(*arguments, **named))
        except BaseException as error:  # noqa: BLE001 - the pool hands every error to whoever asks for the result
            task.set_exception(error)
        return task

    def shutdown(self) -> None:
        """Nothing is left to wait for."""


class AtTheLastMoment(OneAfterTheOther):
    """A ThreadPoolExecutor that runs each task when its result is asked for: what is killed before that never ran."""

    def submit(self, call: Callable[..., Any], *arguments: Any, **named: Any) -> Future[Any]:
        """Remember it."""
        return _Remembered(partial(call, *arguments, **named))


class _Remembered(Future[Any]):
    def __init__(self, call: Callable[[], Any]) -> None:
        super().__init__()
        self._call = call

    def result(self, timeout: float | None = None) -> Any:
        """Run it now."""
        del timeout
        return self._call()


@contextmanager
def one_thread() -> Iterator[None]:
    """Passes inside this block read and write their systems one after the other."""
    with (
        mock.patch("trueup.runtime.run_pass.ThreadPoolExecutor", OneAfterTheOther),
        mock.patch("trueup.runtime.deliveries.ThreadPoolExecutor", OneAfterTheOther),
        mock.patch("trueup.runtime.recording.ThreadPoolExecutor", AtTheLastMoment),
    ):
        yield
