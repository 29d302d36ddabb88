"""Connectors that lie: each is a thin wrapper around any connector that breaks one sentence of the contract in one small way.

Every conformance rule names here at least one lie that it must notice, and every lie a rule that must notice it. A rule that passes its
lie checks nothing. Lies that a whole class of systems cannot tell (a bad decimal where there are no decimals) are made only where the
rule's needs, and `applies`, are met.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import polars as pl

from trueup.connectors.base import PAGE_ROWS, PART_BYTES, Page

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime

    from trueup.connectors.base import Browsing, Connector, Fenced, Marking, Part, Parted, Timed, WriteBatch
    from trueup.connectors.watching import Watch, Watching, Way
    from trueup.model import Caps, ObjectInfo, ObjectSpec
    from trueup.testing.conformance_world import World


class Lie:
    """A connector that tells the truth; lies change one of its parts: `_listing`, `_batch`, `_outcomes`, or a whole method."""

    def __init__(self, inner: Connector) -> None:
        """Stand before a connector; `since` and `batch` are those of the call in hand."""
        self.inner = inner
        self.since: str | None = None
        self.batch: WriteBatch | None = None

    @classmethod
    def opens(cls, world: World, settings: Mapping[str, Any]) -> Connector:
        """Open the world's connector and stand before it."""
        return cls(world.open_plainly(settings))

    @classmethod
    def open(cls, name: str, settings: Mapping[str, Any], *, directory: str = ".") -> Connector:
        """See base.Connector; a lie is made by `opens`."""
        raise TypeError(f"{cls.__name__} is not opened by name: {name}, {sorted(settings)}, {directory}")

    @classmethod
    def settings_schema(cls) -> dict[str, Any]:
        """See base.Connector; the connector behind has the settings."""
        return {}

    @property
    def caps(self) -> Caps:
        """See base.Connector."""
        return self.inner.caps

    def discover(self) -> list[ObjectInfo]:
        """See base.Connector."""
        return self.inner.discover()

    def describe(self, obj: ObjectSpec) -> ObjectInfo:
        """See base.Connector."""
        return self.inner.describe(obj)

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
        pages = list(self.inner.read(obj, columns, since=since, keys=keys, page_rows=page_rows))
        self.since = since
        return iter(self._listing(pages))

    def find(self, obj: ObjectSpec, columns: Sequence[str], values: pl.DataFrame) -> pl.DataFrame:
        """See base.Connector."""
        return self.inner.find(obj, columns, values)

    def write(self, obj: ObjectSpec, batch: WriteBatch) -> pl.DataFrame:
        """See base.Connector."""
        self.batch = batch
        return self._outcomes(self.inner.write(obj, self._batch(batch)))

    def end_writes(self, lane: str) -> None:
        """See base.Fenced."""
        cast("Fenced", self.inner).end_writes(lane)

    def mark(self, obj: ObjectSpec) -> str | None:
        """See base.Marking."""
        return cast("Marking", self.inner).mark(obj)

    def own(self, obj: ObjectSpec, mark: str) -> str:
        """See base.Marking."""
        return cast("Marking", self.inner).own(obj, mark)

    def moved(self, obj: ObjectSpec, columns: Sequence[str], mark: str) -> Iterator[Page] | None:
        """See base.Marking."""
        return cast("Marking", self.inner).moved(obj, columns, mark)

    def parts(self, obj: ObjectSpec, *, count: int = 1, part_bytes: int = PART_BYTES) -> AbstractContextManager[Sequence[Part]]:
        """See base.Parted."""
        return cast("Parted", self.inner).parts(obj, count=count, part_bytes=part_bytes)

    def read_part(self, obj: ObjectSpec, columns: Sequence[str], part: Part, *, page_rows: int = PAGE_ROWS) -> Iterator[Page]:
        """See base.Parted."""
        return cast("Parted", self.inner).read_part(obj, columns, part, page_rows=page_rows)

    def browse(self, obj: ObjectSpec, columns: Sequence[str], *, page_rows: int = PAGE_ROWS) -> Iterator[Page]:
        """See base.Browsing."""
        return cast("Browsing", self.inner).browse(obj, columns, page_rows=page_rows)

    def clock(self) -> datetime:
        """See base.Timed."""
        return cast("Timed", self.inner).clock()

    def way(self, objects: Sequence[ObjectSpec]) -> Way:
        """See watching.Watching."""
        return cast("Watching", self.inner).way(objects)

    def watch(self, objects: Sequence[ObjectSpec], *, name: str, since: str | None = None) -> Watch:
        """See watching.Watching."""
        return cast("Watching", self.inner).watch(objects, name=name, since=since)

    def unwatch(self, *, name: str) -> None:
        """See watching.Watching."""
        cast("Watching", self.inner).unwatch(name=name)

    def prepare(self, obj: ObjectSpec, columns: Mapping[str, str]) -> None:
        """See base.Connector."""
        self.inner.prepare(obj, columns)

    def close(self) -> None:
        """See base.Connector."""
        self.inner.close()

    def _listing(self, pages: list[Page]) -> list[Page]:
        return [replace(page, rows=self._rows(page.rows)) for page in pages]

    def _rows(self, rows: pl.DataFrame) -> pl.DataFrame:
        return rows

    def _batch(self, batch: WriteBatch) -> WriteBatch:
        return batch

    def _outcomes(self, outcomes: pl.DataFrame) -> pl.DataFrame:
        return outcomes

    def _all(self, obj: ObjectSpec, columns: Sequence[str] = (), keys: Sequence[str] | None = None) -> pl.DataFrame:
        """All rows as the connector behind shows them."""
        return pl.concat([page.rows for page in self.inner.read(obj, columns, keys=keys)])


@dataclass(frozen=True, slots=True)
class Mutant:
    """A lie and the rule (its function's name) that must notice it. `applies` says whether a world gives the lie something to lie about."""

    lie: type[Lie]
    breaks: str
    applies: Callable[[World], bool]

    @contextmanager
    def at_work(self, world: World) -> Iterator[None]:
        """Every connector that the world opens inside the block lies."""
        world.opens = self.lie.opens
        patience_s, world.patience_s = world.patience_s, 1.0  # what a liar does not tell is not worth a long wait
        try:
            yield
        finally:
            world.patience_s = patience_s
            world.opens = type(world).open_plainly


MUTANTS: list[Mutant] = []


def lie(*rules: str, applies: Callable[[World], bool] = lambda _world: True) -> Callable[[type[Lie]], type[Lie]]:
    """Register the decorated lie; `rules` are the functions' names of all rules that must each notice it."""

    def register(cls: type[Lie]) -> type[Lie]:
        MUTANTS.extend(Mutant(cls, rule, applies) for rule in rules)
        return cls

    return register


def native(rows: pl.DataFrame, *types: pl.DataType | type[pl.DataType]) -> list[str]:
    """The native columns of a frame that have one of the types; all of them where none is given."""
    return [name for name, dtype in rows.schema.items() if not name.startswith("__") and (not types or dtype.base_type() in types)]


def each_text(frame: pl.DataFrame, change: Callable[[pl.Expr], pl.Expr]) -> pl.DataFrame:
    """A frame with every native text column changed."""
    return frame.with_columns(change(pl.col(name)).alias(name) for name in native(frame, pl.String))


def ops_where(batch: WriteBatch, condition: Callable[[dict[str, Any]], bool]) -> list[int]:
    """Numbers of the operations whose expected values meet a condition."""
    if batch.expected is None:
        return []
    return [
        row["__op"]
        for row in batch.expected.to_dicts()
        if condition({name: value for name, value in row.items() if not name.startswith("__")})
    ]


def only(batch: WriteBatch, ops: Sequence[int]) -> WriteBatch:
    """The part of a batch with these operations."""
    kept = pl.col("__op").is_in(list(ops))
    return replace(batch, rows=batch.rows.filter(kept), expected=None if batch.expected is None else batch.expected.filter(kept))


def restated(outcomes: pl.DataFrame, ops: Sequence[int], status: str) -> pl.DataFrame:
    """The outcomes with another status for these operations."""
    chosen = pl.col("__op").is_in(list(ops))
    reason = pl.lit(None if status == "done" else "a lie", dtype=pl.String)
    return outcomes.with_columns(
        pl.when(chosen).then(pl.lit(status)).otherwise("__status").alias("__status"),
        pl.when(chosen).then(reason).otherwise("__reason").alias("__reason"),
    )
