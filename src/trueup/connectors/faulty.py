"""A connector whose calls fail on purpose: scripted, or decided call by call, around any connector.

A script is a list of `Fault`s. Each waits for its own call (the `at`-th that it matches) and happens `times` times. A test that scripted
a fault ends with `assert_all_hit()`: a fault that never happened proves nothing.

    crm = FaultyConnector(inner, [Fault("write", "after", kind="create")])      # the rows land, the reply is lost
    …
    crm.assert_all_hit()
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, cast

import polars as pl

from trueup.connectors.base import OUTCOME_SCHEMA, PAGE_ROWS, PART_BYTES
from trueup.connectors.sql_types import dtype_of
from trueup.errors import AccessRefusedError, SystemUnreachableError, TrueupError, WriteRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime

    from trueup.connectors.base import Browsing, Connector, Fenced, Marking, Page, Part, Parted, Timed, WriteBatch
    from trueup.connectors.watching import Watch, Watching, Way
    from trueup.model import Caps, ObjectInfo, ObjectSpec, OperationKind

CallName = Literal["discover", "describe", "read", "find", "write", "prepare"]
How = Literal["before", "after", "half", "partial", "lag", "retry", "delay"]


def timed_out() -> TrueupError:
    """No answer in time."""
    return SystemUnreachableError("the system did not answer within 30 seconds", hint="it is tried again")


def wrong_password() -> TrueupError:
    """The password is wrong."""
    return AccessRefusedError("the system refused the password", hint="correct it in the configuration")


def read_only() -> TrueupError:
    """Nothing can be written."""
    return WriteRefusedError("the system is read-only", hint="ask its administrator")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong.

    call    which call; `kind` narrows a write, `keyed` a read (True: by keys, False: listings)
    how     before    raise `error`, nothing was done
            after     do it, then raise `error`: a write has landed and its reply is lost; a read breaks off after `rows` rows
            half      write: do the first `rows` operations (None: half of them), then raise `error`
            partial   read: show `rows` rows (None: half of them) and say that the listing is not complete
            lag       read: show what the same read showed the time before; waits for one that has been made before
            retry     write: do nothing, every outcome says retry
            delay     run `hook` before the call: somebody edits, a process is killed, time passes
    at      the how-manieth matching call it is, from 1
    times   how often it happens from then on
    """

    call: CallName
    how: How
    kind: OperationKind | None = None
    keyed: bool | None = None
    at: int = 1
    times: int = 1
    rows: int | None = None
    error: Callable[[], TrueupError] = timed_out
    hook: Callable[[], None] | None = None
    name: str = ""  # for reports

    def __post_init__(self) -> None:
        """Refuse what can never happen."""
        more = {"read": {"partial", "lag"}, "write": {"half", "retry"}}
        if self.how not in {"before", "after", "delay"} | more.get(self.call, set()):
            message = f"a {self.call} cannot fail as {self.how!r}"
            raise ValueError(message)
        if self.how == "delay" and self.hook is None:
            message = "a delay needs a hook"
            raise ValueError(message)


@dataclass(frozen=True, slots=True)
class Call:
    """A call about to be made. `rows` is the number of operations of a write or of keys asked for, 0 otherwise."""

    name: CallName
    object: str
    kind: OperationKind | None = None
    keyed: bool | None = None
    rows: int = 0


def by_chance(seed: int, *, one_in: int = 10, faults: Sequence[Fault] = ()) -> Callable[[Call], Fault | None]:
    """A decision for `FaultyConnector`: about one call in `one_in` meets one of the faults that fit it, the same ones for the same seed."""
    dice = random.Random(seed)  # noqa: S311 - what goes wrong is no secret
    possible = list(faults) or [
        Fault("read", "before"),
        Fault("read", "after"),
        Fault("read", "partial"),
        Fault("read", "lag"),
        Fault("find", "before"),
        Fault("write", "before"),
        Fault("write", "after"),
        Fault("write", "half"),
        Fault("write", "retry"),
    ]

    def decide(call: Call) -> Fault | None:
        if dice.randrange(one_in):
            return None
        fitting = [fault for fault in possible if _fits(fault, call)]
        return dice.choice(fitting) if fitting else None

    return decide


def _fits(fault: Fault, call: Call) -> bool:
    return fault.call == call.name and fault.kind in {None, call.kind} and fault.keyed in {None, call.keyed}


@dataclass(slots=True)
class _Waiting:
    """A scripted fault, the calls until it happens, and how often it is still to happen."""

    fault: Fault
    calls: int
    left: int


class FaultyConnector:
    """Does what the connector behind it does, but for the faults of its script and those that `decide` asks for.

    `decide` is asked at every call that the script lets pass; it may draw from Hypothesis or from a seed (`by_chance`). `hits` are the
    faults that happened, in order.
    """

    def __init__(
        self, inner: Connector, script: Sequence[Fault] = (), *, decide: Callable[[Call], Fault | None] | None = None, lags: bool = True
    ) -> None:
        """Stand before a connector. `lags=False`: `decide` never asks for `lag`, so that nothing has to be remembered."""
        self.inner = inner
        self.hits: list[Fault] = []
        self._waiting = [_Waiting(fault, fault.at, fault.times) for fault in script]
        self._decide = decide
        self._remembered: dict[tuple[Any, ...], list[Page]] = {}
        self._halves = decide is not None or any(fault.how == "half" for fault in script)
        self._remembers = (decide is not None and lags) or any(fault.how == "lag" for fault in script)

    def assert_all_hit(self) -> None:
        """Raise AssertionError where a scripted fault has not happened as often as it was scripted."""
        missed = [f"{entry.fault} ({entry.left} of {entry.fault.times} times)" for entry in self._waiting if entry.left]
        if missed:
            raise AssertionError("scripted faults that never happened: " + "; ".join(missed))

    @classmethod
    def open(cls, name: str, settings: Mapping[str, Any], *, directory: str = ".") -> Connector:
        """See base.Connector; a faulty connector is put around one that is open."""
        raise TypeError(f"wrap an open connector instead of opening {name!r} ({len(settings)} settings, in {directory})")

    @classmethod
    def settings_schema(cls) -> dict[str, Any]:
        """See base.Connector; the connector behind has the settings."""
        return {}

    @property
    def caps(self) -> Caps:
        """See base.Connector. Where half a batch may be done, nothing is whole or not at all."""
        return replace(self.inner.caps, atomic=False) if self._halves else self.inner.caps

    # ------------------------------------------------------------ which fault

    def _fault(self, call: Call, *, lag_possible: bool = False) -> Fault | None:
        """The fault that this call meets; counted as hit."""
        for entry in self._waiting:
            if not entry.left or not _fits(entry.fault, call) or (entry.fault.how == "lag" and not lag_possible):
                continue
            entry.calls -= 1
            if entry.calls <= 0:
                entry.left -= 1
                return self._hit(entry.fault)
        chosen = self._decide(call) if self._decide else None
        return None if chosen is None or (chosen.how == "lag" and not lag_possible) else self._hit(chosen)

    def _hit(self, fault: Fault) -> Fault:
        self.hits.append(fault)
        return fault

    @staticmethod
    def _begin(fault: Fault | None) -> None:
        """What happens before the call is made."""
        if fault is not None and fault.how == "before":
            raise fault.error()
        if fault is not None and fault.hook is not None:
            fault.hook()

    @staticmethod
    def _end(fault: Fault | None) -> None:
        """What happens after the call was made."""
        if fault is not None and fault.how == "after":
            raise fault.error()

    # ------------------------------------------------------------ the calls

    def discover(self) -> list[ObjectInfo]:
        """See base.Connector."""
        fault = self._fault(Call("discover", ""))
        self._begin(fault)
        found = self.inner.discover()
        self._end(fault)
        return found

    def describe(self, obj: ObjectSpec) -> ObjectInfo:
        """See base.Connector."""
        fault = self._fault(Call("describe", obj.label))
        self._begin(fault)
        info = self.inner.describe(obj)
        self._end(fault)
        return info

    def prepare(self, obj: ObjectSpec, columns: Mapping[str, str]) -> None:
        """See base.Connector."""
        fault = self._fault(Call("prepare", obj.label))
        self._begin(fault)
        self.inner.prepare(obj, columns)
        self._end(fault)

    def find(self, obj: ObjectSpec, columns: Sequence[str], values: pl.DataFrame) -> pl.DataFrame:
        """See base.Connector."""
        fault = self._fault(Call("find", obj.label, rows=values.height))
        self._begin(fault)
        found = self.inner.find(obj, columns, values)
        self._end(fault)
        return found

    def read(
        self,
        obj: ObjectSpec,
        columns: Sequence[str],
        *,
        since: str | None = None,
        keys: Sequence[str] | None = None,
        page_rows: int = PAGE_ROWS,
    ) -> Iterator[Page]:
        """See base.Connector. What is to go wrong is settled at the call."""
        same = (obj.label, tuple(columns), since, None if keys is None else tuple(sorted(keys)), page_rows)
        old = self._remembered.get(same)
        call = Call("read", obj.label, keyed=keys is not None, rows=len(keys or ()))
        fault = self._fault(call, lag_possible=old is not None)
        self._begin(fault)
        if fault is not None and fault.how == "lag" and old is not None:
            return iter(old)
        pages: Iterator[Page] = self.inner.read(obj, columns, since=since, keys=keys, page_rows=page_rows)
        if self._remembers:
            self._remembered[same] = list(pages)
            pages = iter(self._remembered[same])
        if fault is None or fault.how not in {"after", "partial"}:
            return pages
        return _cut_short(list(pages), fault)

    def end_writes(self, lane: str) -> None:
        """See base.Fenced."""
        cast("Fenced", self.inner).end_writes(lane)

    def mark(self, obj: ObjectSpec) -> str | None:
        """See base.Marking. What lags behind can promise nothing."""
        return None if self._remembers else cast("Marking", self.inner).mark(obj)

    def own(self, obj: ObjectSpec, mark: str) -> str:
        """See base.Marking."""
        return cast("Marking", self.inner).own(obj, mark)

    def moved(self, obj: ObjectSpec, columns: Sequence[str], mark: str) -> Iterator[Page] | None:
        """See base.Marking. It meets the faults of a listing."""
        fault = self._fault(Call("read", obj.label, keyed=False))
        self._begin(fault)
        pages = cast("Marking", self.inner).moved(obj, columns, mark)
        if pages is None or fault is None or fault.how not in {"after", "partial"}:
            return pages
        return _cut_short(list(pages), fault)

    def parts(self, obj: ObjectSpec, *, count: int = 1, part_bytes: int = PART_BYTES) -> AbstractContextManager[Sequence[Part]]:
        """See base.Parted."""
        return cast("Parted", self.inner).parts(obj, count=count, part_bytes=part_bytes)

    def read_part(self, obj: ObjectSpec, columns: Sequence[str], part: Part, *, page_rows: int = PAGE_ROWS) -> Iterator[Page]:
        """See base.Parted. It meets the faults of a listing."""
        fault = self._fault(Call("read", obj.label, keyed=False))
        self._begin(fault)
        pages = cast("Parted", self.inner).read_part(obj, columns, part, page_rows=page_rows)
        if fault is None or fault.how not in {"after", "partial"}:
            return pages
        return _cut_short(list(pages), fault)

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
        """See watching.Watching; its hints meet no faults."""
        return cast("Watching", self.inner).watch(objects, name=name, since=since)

    def unwatch(self, *, name: str) -> None:
        """See watching.Watching."""
        cast("Watching", self.inner).unwatch(name=name)

    def write(self, obj: ObjectSpec, batch: WriteBatch) -> pl.DataFrame:
        """See base.Connector."""
        fault = self._fault(Call("write", obj.label, kind=batch.kind, rows=batch.rows.height))
        self._begin(fault)
        if fault is not None and fault.how == "retry":
            return self._put_off(obj, batch)
        if fault is not None and fault.how == "half":
            self.inner.write(obj, _first_operations(batch, fault.rows))
            raise fault.error()
        outcomes = self.inner.write(obj, batch)
        self._end(fault)
        return outcomes

    def close(self) -> None:
        """See base.Connector; closing never fails."""
        self.inner.close()

    def _put_off(self, obj: ObjectSpec, batch: WriteBatch) -> pl.DataFrame:
        """Outcomes that say retry for every operation."""
        types = {name: dtype_of(column.type) for name, column in self.inner.describe(obj).columns.items()} if batch.returning else {}
        schema = dict(OUTCOME_SCHEMA) | {name: types[name] for name in batch.returning}
        said = {
            "__op": pl.col("__op"),
            "__key": pl.col("__key"),
            "__status": pl.lit("retry"),
            "__reason": pl.lit("the system is busy"),
            "__retry_s": pl.lit(1.0),
            "__stored": pl.lit(value=False),
        }
        return batch.rows.select([said.get(name, pl.lit(None)).cast(dtype).alias(name) for name, dtype in schema.items()])


def _first_operations(batch: WriteBatch, rows: int | None) -> WriteBatch:
    """The first operations of a batch, half of them where no number is given."""
    kept = batch.rows.head(batch.rows.height // 2 if rows is None else rows)
    expected = batch.expected
    if expected is not None:
        expected = expected.filter(pl.col("__op").is_in(kept.get_column("__op").implode()))
    return replace(batch, rows=kept, expected=expected)


def _cut_short(pages: list[Page], fault: Fault) -> Iterator[Page]:
    """The first rows of a read; then the error, or an end that says it is not the whole."""
    left = sum(page.rows.height for page in pages) // 2 if fault.rows is None else fault.rows
    for number, page in enumerate(pages):
        rows = page.rows.head(left)
        left -= rows.height
        page = replace(page, same=None)  # noqa: PLW2901  told at the end, which is cut off
        ends = number == len(pages) - 1 or not left
        if ends and fault.how == "after":
            if rows.height:
                yield replace(page, rows=rows, complete=False)
            raise fault.error()
        # The cursor of a page that is cut would skip what was cut off.
        cut = rows.height < page.rows.height
        yield replace(page, rows=rows, complete=False, cursor=None if cut else page.cursor)
        if ends:
            return


def hit_counts(connector: FaultyConnector) -> Counter[str]:
    """How often each way of failing happened, as `write after`; for a summary of a random run."""
    return Counter(f"{fault.call} {fault.how}" for fault in connector.hits)
