r"""The connector contract. A connector reads and writes one kind of system and knows nothing else: no policy, no state, no other system.

Keys
    Outside a connector a row is known by its *key text*. One key column: its canonical text (integer `42`, text as it is, uuid in
    lower case, date ISO, decimal without trailing zeros). Several: the texts joined by `|`, with `\` before any `\` or `|` inside
    (`join_key`, `split_key`). The connector turns key text into native values and back; nobody else does.

Rows
    A page's `rows` has the column `__key` first, then exactly the columns asked for, under their native names. Types by
    `ColumnInfo.type`: text, other, json and decimal as String (a decimal's exact text; no float in between), integer Int64 (wider ones
    String), float Float64, boolean Boolean, date Date, datetime Datetime("us", "UTC"), timestamp Datetime("us"), list List(String).
    The same type on every page. A value that does not fit its column's declared type (text in a SQLite INTEGER column) is a reject of
    that row, with its key, never an error of the page. `__absent` (List(String), optional) names columns which that row does not have;
    `__version` (String, optional) is the row's native version.

Writing
    `write` takes one `WriteBatch` and returns one outcome row per operation, in any order. One operation's failure never harms another's.
    Values arrive in the types above, decimals as String. Outcomes are a frame with
        __op       Int64    the operation's number
        __status   String   done | stale | retry | rejected | gone
        __key      String   key of the row (a created row's new key)
        __version  String   new native version, null where there is none
        __reason   String   for people, the system's own words; null when done
        __field    String   native column at fault where the system names it, else null
        __retry_s  Float64  when to try again, null: the caller decides
        __stored   Boolean  whether the `returning` columns hold the row as stored
        and the columns in `WriteBatch.returning`, typed as `read` gives them (null where __stored is false)
    done: written and durable. stale: the precondition failed, nothing written. retry: the same call may succeed later, nothing written.
    rejected: it never will as it is. gone: the row to update or delete is not there. For a create, `rejected` with reason "exists" text
    when the key is taken.

A whole call fails by raising one of `errors.SystemError_`'s children. A connector is used by one thread at a time; `open` makes another.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import polars as pl

from trueup.connectors.keytext import join_key, split_key

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime

    from trueup.model import Caps, ObjectInfo, ObjectSpec, OperationKind

__all__ = [
    "OUTCOME_SCHEMA",
    "PAGE_ROWS",
    "PART_BYTES",
    "Browsing",
    "Connector",
    "Letterbox",
    "Marking",
    "Outcomes",
    "Page",
    "Part",
    "Parted",
    "Received",
    "Receiving",
    "Reject",
    "Timed",
    "WriteBatch",
    "join_key",
    "split_key",
]

PAGE_ROWS = 20_000
PART_BYTES = 4 * 1024 * 1024

OUTCOME_SCHEMA: dict[str, pl.DataType] = {
    "__op": pl.Int64(),
    "__status": pl.String(),
    "__key": pl.String(),
    "__version": pl.String(),
    "__reason": pl.String(),
    "__field": pl.String(),
    "__retry_s": pl.Float64(),
    "__stored": pl.Boolean(),
}


@dataclass(frozen=True, slots=True)
class Reject:
    """A row that exists but cannot be read. `key` is None where not even the key can; `where` locates it (`line 12`, `row 7`).

    `doubled`: another row has this key, and may have been shown as a row before that was known: it counts no more.
    """

    key: str | None
    reason: str
    where: str = ""
    column: str | None = None
    doubled: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a read.

    `cursor` is where an incremental read may resume after this page (None: the read is not incremental); it is inclusive: rows that
    share the last value are read again. `complete` is True only on the last page of a read that is known to have shown every row asked
    for. `gone` are keys the system tells to be deleted. `same` (String) are keys of rows that are there and were not touched since
    the mark of a `moved` reading; None: none, or another reading.
    """

    rows: pl.DataFrame
    cursor: str | None = None
    complete: bool = False
    rejected: tuple[Reject, ...] = ()
    gone: tuple[str, ...] = ()
    same: pl.Series | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteBatch:
    """Operations of one kind on one object.

    rows       `__op`, `__key` (null: the system, sequence or uuid assigns it), then the native columns to write
    writes     update only: `__write` in `rows` (List(String)) names the columns written for that row; no other column is touched
    expected   update and delete: `__op`, `__version`, and native columns as last read; the write must find exactly these values
               (null-safe) in the columns that it writes (update) or in all columns given (delete). None: no precondition
    returning  columns of the stored row to report
    lane       whose write this is: the name by which `Fenced.end_writes` finds it
    may_land   asked by connectors that are `Fenced` just before a write becomes visible; what it raises keeps the write from that
    """

    kind: OperationKind
    rows: pl.DataFrame
    expected: pl.DataFrame | None = None
    returning: tuple[str, ...] = ()
    lane: str = ""
    may_land: Callable[[], None] | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The native columns that may be written."""
        return tuple(name for name in self.rows.columns if not name.startswith("__"))


class Connector(Protocol):
    """What every connector offers; see the module's text for the meaning of each value."""

    @property
    def caps(self) -> Caps:
        """What this connector can do; a plain attribute will do."""
        ...

    @classmethod
    def open(cls, name: str, settings: Mapping[str, Any], *, directory: str = ".") -> Connector:
        """Prepare to use the system called `name`; it need not connect yet.

        Relative paths start at `directory`. Raises UsageError-like ConfigProblem for unknown or missing settings.
        """
        ...

    @classmethod
    def settings_schema(cls) -> dict[str, Any]:
        """JSON Schema of `settings`: properties with title/description, `required`; used by the configuration check and the docs."""
        ...

    def discover(self) -> list[ObjectInfo]:
        """The objects that can be mapped, with columns and keys. Raises SystemUnreachableError, AccessRefusedError."""
        ...

    def describe(self, obj: ObjectSpec) -> ObjectInfo:
        """One object, `sql` objects included. Raises ObjectMissingError when it, or its key column, is not there."""
        ...

    def read(
        self,
        obj: ObjectSpec,
        columns: Sequence[str],
        *,
        since: str | None = None,
        keys: Sequence[str] | None = None,
        page_rows: int = PAGE_ROWS,
    ) -> Iterator[Page]:
        """Rows of an object: all, those modified at or after cursor `since`, or those with the given keys (missing ones are left out).

        Always ends with exactly one page whose `complete` says whether everything asked for was shown; that page may be empty. A NULL
        or doubled key is a Reject, never a row; a system that can only be read page by page may show one of several rows with a key before
        it comes upon the next, which is then a Reject that is `doubled`. Memory stays bounded by a few pages.
        """
        ...

    def find(self, obj: ObjectSpec, columns: Sequence[str], values: pl.DataFrame) -> pl.DataFrame:
        """Rows equal to any row of `values` in all of its columns (null-safe). Same form as a page's rows. Needs caps.find."""
        ...

    def write(self, obj: ObjectSpec, batch: WriteBatch) -> pl.DataFrame:
        """Carry out one batch; see the module's text for outcomes."""
        ...

    def prepare(self, obj: ObjectSpec, columns: Mapping[str, str]) -> None:
        """Make the object where `obj.create` allows it and it is not there; `columns` is native column -> ColumnType. Otherwise nothing."""
        ...

    def close(self) -> None:
        """Give back connections and temporary files. May be called twice."""
        ...


class Received(Protocol):
    """One message of a system that only pushes: its number, its object (None: not told), the moment that counts, the record as JSON."""

    @property
    def id(self) -> int:
        """Its number."""
        ...

    @property
    def object(self) -> str | None:
        """The native object that it is about."""
        ...

    @property
    def at(self) -> datetime:
        """When it happened, as the sender says, else when it came."""
        ...

    @property
    def body(self) -> bytes:
        """What came."""
        ...


class Letterbox(Protocol):
    """Where the messages of systems that only push are kept. Raises SystemUnreachableError."""

    def pushed(self, system: str) -> list[int]:
        """The numbers of all messages of a system; numbers are given once."""
        ...

    def messages(self, ids: Collection[int]) -> Iterable[Received]:
        """Messages by number; those that are gone are left out."""
        ...


class Receiving(Connector, Protocol):
    """What a connector offers besides where its `caps.kind` is `push`: its records come to us, and are kept by somebody else."""

    def receive_from(self, letterbox: Letterbox) -> None:
        """Read messages there from now on."""
        ...


class Fenced(Connector, Protocol):
    """What a connector offers besides where its `caps.fences` says so: nobody needs to fear a write of which the writer stands still.

    A write takes hold of its lane's name before it asks whether it may land, and has it until it landed. Several writes may have the same
    name at once.
    """

    def end_writes(self, lane: str) -> None:
        """Let no write land later on that holds this name now: it is ended, or has landed. Raises SystemUnreachableError."""
        ...


class Browsing(Connector, Protocol):
    """What a connector offers besides where its `caps.browses` says so: to be looked at by somebody who knows of no key."""

    def browse(self, obj: ObjectSpec, columns: Sequence[str], *, page_rows: int = PAGE_ROWS) -> Iterator[Page]:
        """Every row of an object, those without a key or with the key of another row among them; `obj.key` is not looked at.

        As a full `read`, but for this: pages show the columns asked for and nothing else (no `__key`), and a reject has no key. A row is
        refused only for a value that cannot be read.
        """
        ...


class Timed(Connector, Protocol):
    """What a connector offers besides where its `caps.clock` says so."""

    def clock(self) -> datetime:
        """What time it is by the system's own clock, aware. Raises SystemUnreachableError, AccessRefusedError."""
        ...


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a full reading. Texts that other processes are told: `moment` names what is read, `place` which of its rows."""

    moment: str
    place: str


class Parted(Connector, Protocol):
    """What a connector offers besides where its `caps.parts` says so: one full reading that several processes share.

    Together the parts show the object in one moment, as a `read` at that moment would: whatever is edited, made, renamed or removed
    meanwhile, each row that was there is in exactly one part, as it was.
    """

    def parts(self, obj: ObjectSpec, *, count: int = 1, part_bytes: int = PART_BYTES) -> AbstractContextManager[Sequence[Part]]:
        """Cut an object, as it is now, into about so many parts, or more, of so many bytes at most; none where it cannot be cut.

        They can be read while the block runs, by any connector of this system, in any order and again.
        """
        ...

    def read_part(self, obj: ObjectSpec, columns: Sequence[str], part: Part, *, page_rows: int = PAGE_ROWS) -> Iterator[Page]:
        """As a full `read`, of one part. Raises one of SystemError_'s children where its moment is over."""
        ...


class Marking(Connector, Protocol):
    """What a connector offers besides where its `caps.marks` says so.

    Where rows bear no sign of when they were touched (`caps.marks_once`), they are known by what they read like. Such a mark says nothing
    of a row that was another one in between: the caller forgets it before it learns anything more about its rows, and the rows that this
    connector read by key, found or wrote besides the listing are read again.
    """

    def mark(self, obj: ObjectSpec) -> str | None:
        """Name this moment in the life of an object; ask before reading everything, or what moved. None where nothing can be promised."""
        ...

    def moved(self, obj: ObjectSpec, columns: Sequence[str], mark: str) -> Iterator[Page] | None:
        """Read everything; rows that certainly read as they did at `mark` may be told by key alone (`Page.same`).

        Every row that is there is in exactly one of `rows`, `rejected`, `same`. None where `mark` says nothing any more (another
        object, a restored database, columns that were altered): then everything is to be read. Otherwise like a full `read`.
        """
        ...

    def own(self, obj: ObjectSpec, mark: str) -> str:
        """The newest mark of an object as it is to be kept, when the reading that followed is over and all that came of it is stored.

        It may count what this connector has written since as untouched: rows of which the outcomes told the form as stored. Where
        `caps.marks_once`, a mark knows rows only from here on.
        """
        ...


@dataclass(slots=True)
class Outcomes:
    """Collects outcomes row by row for connectors that write one row at a time, and makes the frame of the contract."""

    returning: tuple[str, ...] = ()
    schema: Mapping[str, pl.DataType] = field(default_factory=dict)  # types of the returning columns
    _rows: list[dict[str, Any]] = field(default_factory=list)

    def add(
        self,
        op: int,
        status: str,
        *,
        key: str | None = None,
        version: str | None = None,
        reason: str | None = None,
        column: str | None = None,
        retry_s: float | None = None,
        stored: Mapping[str, Any] | None = None,
    ) -> None:
        """Add one outcome; `stored` is the row as stored, None where it is not known."""
        row: dict[str, Any] = {
            "__op": op,
            "__status": status,
            "__key": key,
            "__version": version,
            "__reason": reason,
            "__field": column,
            "__retry_s": retry_s,
            "__stored": stored is not None,
        }
        row.update({name: (stored or {}).get(name) for name in self.returning})
        self._rows.append(row)

    def frame(self) -> pl.DataFrame:
        """All outcomes as the contract's frame."""
        types = dict(OUTCOME_SCHEMA) | {name: self.schema.get(name, pl.String()) for name in self.returning}
        return pl.DataFrame(self._rows, schema=types, orient="row")
