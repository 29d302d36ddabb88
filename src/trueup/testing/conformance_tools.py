"""What the conformance rules share: the table of rules, and short ways to read, write and compare.

A rule is a plain function of a `World` that raises `RuleBrokenError` when the connector breaks it; its `needs` are the abilities without
which it cannot be tried. It can run anywhere: in the pytest suite, against a mutant, in a notebook.
"""

from __future__ import annotations

import json
import math
import unicodedata
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, TypeVar

import polars as pl

from trueup.connectors.base import PAGE_ROWS, Reject, WriteBatch
from trueup.connectors.sql_types import dtype_of
from trueup.testing.conformance_world import Column, Row, Trial

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from trueup.connectors.base import Connector, Page
    from trueup.model import ColumnType, ObjectSpec, OperationKind
    from trueup.testing.conformance_world import World

E = TypeVar("E", bound=Exception)


class RuleBrokenError(AssertionError):
    """The connector does something else than the contract says."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One sentence of the contract with its check. `needs` are caps, traits, `type:…` and `refuses:…`."""

    name: str
    check: Callable[[World], None]
    needs: tuple[str, ...] = ()

    def missing(self, world: World) -> tuple[str, ...]:
        """What the rule needs and this connector or system does not declare."""
        declared = abilities(world)
        return tuple(need for need in self.needs if need not in declared)


class Rules:
    """A list of rules that grows by decorating functions; a function's docstring is its sentence."""

    def __init__(self) -> None:
        """Begin without rules."""
        self.all: list[Rule] = []

    def __call__(self, *needs: str) -> Callable[[Callable[[World], None]], Callable[[World], None]]:
        """Register the decorated function; the first line of its docstring, without the full stop, is the rule's name."""

        def register(check: Callable[[World], None]) -> Callable[[World], None]:
            name = (check.__doc__ or "").strip().splitlines()[0].removesuffix(".")
            self.all.append(Rule(name, check, needs))
            return check

        return register


def abilities(world: World) -> frozenset[str]:
    """All that this connector and system declare, in the words that rules use."""
    connector = world.open_plainly(world.settings())
    try:
        caps = connector.caps
    finally:
        connector.close()
    flags = ["stored_row", "incremental", "marks", "tombstones", "find", "creates", "updates", "deletes", "assigns_keys"]
    flags += ["takes_keys", "atomic", "fences", "watch", "browses", "clock", "parts"]
    traits = world.traits
    facts = [trait.name for trait in fields(traits) if isinstance(getattr(traits, trait.name), bool)]
    found = {name for name in flags if getattr(caps, name)} | {name for name in facts if getattr(traits, name)}
    found |= {f"type:{name}" for name in traits.types} | {f"refuses:{name}" for name in traits.refuses}
    if caps.precondition != "none":
        found.add("precondition")
    if caps.precondition == "native":
        found.add("native")
    return frozenset(found)


# ---------------------------------------------------------------- saying what is wrong


def require(holds: object, what: str) -> None:
    """Raise RuleBrokenError with `what` unless it holds."""
    if not holds:
        raise RuleBrokenError(what)


def equal(found: Any, wanted: Any, what: str) -> None:
    """Raise RuleBrokenError unless both are equal."""
    if found != wanted:
        message = f"{what}\n  found  {_short(found)}\n  wanted {_short(wanted)}"
        raise RuleBrokenError(message)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 600 else f"{text[:400]} … {text[-100:]} ({len(text)} characters)"


@contextmanager
def raises(wanted: type[E], what: str) -> Iterator[list[E]]:
    """Raise RuleBrokenError unless the block raises `wanted`; the list then holds the error."""
    caught: list[E] = []
    try:
        yield caught
    except wanted as error:
        caught.append(error)
        return
    except Exception as error:
        message = f"{what}: {type(error).__name__} was raised, not {wanted.__name__}: {error}"
        raise RuleBrokenError(message) from error
    message = f"{what}: nothing was raised, where {wanted.__name__} should be"
    raise RuleBrokenError(message)


# ---------------------------------------------------------------- objects


def people(**more: Column) -> Trial:
    """The object that most rules use: a text key and three text columns."""
    columns = {"id": Column(nullable=False, max_length=120), "name": Column(), "note": Column(), "city": Column()}
    return Trial(columns={**columns, **more})


def person(key: str, name: str | None = "Ada", note: str | None = "first", city: str | None = "Paris") -> Row:
    """One row of `people`."""
    return {"id": key, "name": name, "note": note, "city": city}


@contextmanager
def connected(world: World) -> Iterator[Connector]:
    """A connector to the world, closed afterwards."""
    connector = world.connect()
    try:
        yield connector
    finally:
        connector.close()


# ---------------------------------------------------------------- reading


@dataclass(slots=True)
class Listing:
    """A read, all pages together."""

    pages: list[Page] = field(default_factory=list)

    @property
    def rows(self) -> pl.DataFrame:
        """All rows. Raises RuleBrokenError where two pages have different columns or types."""
        try:
            return pl.concat([page.rows for page in self.pages])
        except (pl.exceptions.SchemaError, pl.exceptions.ShapeError) as error:
            message = f"two pages of one read differ in columns or types: {error}"
            raise RuleBrokenError(message) from error

    @property
    def keys(self) -> list[str]:
        """Key texts in the order shown."""
        return [key for page in self.pages for key in page.rows.get_column("__key").to_list()]

    @property
    def rejected(self) -> list[Reject]:
        """Rejects of all pages."""
        return [reject for page in self.pages for reject in page.rejected]

    @property
    def gone(self) -> list[str]:
        """Keys told to be deleted."""
        return [key for page in self.pages for key in page.gone]

    @property
    def complete(self) -> bool:
        """What the last page says."""
        return self.pages[-1].complete

    @property
    def cursor(self) -> str | None:
        """The last page's cursor."""
        return self.pages[-1].cursor

    def by_key(self) -> dict[str, Row]:
        """Key text -> native values, without the columns that begin with `__`; a doubled key breaks the rule."""
        equal(sorted(self.keys), sorted(set(self.keys)), "a key was shown more than once")
        return {row["__key"]: {name: value for name, value in row.items() if not name.startswith("__")} for row in self.rows.to_dicts()}


TEXTS = ("name", "note", "city")


def listing(
    connector: Connector,
    obj: ObjectSpec,
    columns: Sequence[str] = TEXTS,
    *,
    since: str | None = None,
    keys: Sequence[str] | None = None,
    page_rows: int = PAGE_ROWS,
) -> Listing:
    """Read to the end."""
    pages = list(connector.read(obj, columns, since=since, keys=keys, page_rows=page_rows))
    require(pages, "a read ended without any page, where one must say whether it was complete")
    return Listing(pages)


def shown(connector: Connector, obj: ObjectSpec, columns: Sequence[str] = TEXTS) -> dict[str, Row]:
    """All rows by key."""
    return listing(connector, obj, columns).by_key()


# ---------------------------------------------------------------- writing


def types_of(connector: Connector, obj: ObjectSpec) -> dict[str, ColumnType]:
    """Native column -> its type, as the connector describes it."""
    return {name: column.type for name, column in connector.describe(obj).columns.items()}


def batch_of(
    connector: Connector,
    obj: ObjectSpec,
    kind: OperationKind,
    operations: Sequence[tuple[str | None, Row]],
    *,
    expected: Sequence[Row] | None = None,
    returning: Sequence[str] = (),
    first_op: int = 100,
) -> WriteBatch:
    """A batch; each operation is (key, values), and an update's values are the columns written."""
    types = types_of(connector, obj)
    columns = list(dict.fromkeys(name for _, values in operations for name in values))
    data: dict[str, Any] = {
        "__op": pl.Series([first_op + number for number in range(len(operations))], dtype=pl.Int64),
        "__key": pl.Series([key for key, _ in operations], dtype=pl.String),
    }
    if kind == "update":
        data["__write"] = pl.Series([list(values) for _, values in operations], dtype=pl.List(pl.String))
    for name in columns:
        data[name] = _cells(name, types, [values.get(name) for _, values in operations])
    return WriteBatch(kind=kind, rows=pl.DataFrame(data), expected=_expected(types, expected, first_op), returning=tuple(returning))


def _expected(types: Mapping[str, ColumnType], rows: Sequence[Row] | None, first_op: int) -> pl.DataFrame | None:
    if rows is None:
        return None
    columns = list(dict.fromkeys(name for row in rows for name in row))
    data: dict[str, Any] = {"__op": pl.Series([first_op + number for number in range(len(rows))], dtype=pl.Int64)}
    data["__version"] = pl.Series([row.get("__version") for row in rows], dtype=pl.String)
    for name in columns:
        if name != "__version":
            data[name] = _cells(name, types, [row.get(name) for row in rows])
    return pl.DataFrame(data)


def _cells(name: str, types: Mapping[str, ColumnType], values: list[Any]) -> pl.Series:
    """Values as the contract has them for the column's described type; decimals become text."""
    require(name in types, f"describe() does not know the column {name!r}")
    dtype = dtype_of(types[name])
    try:
        return pl.Series([str(value) if isinstance(value, Decimal) else value for value in values], dtype=dtype)
    except TypeError as error:
        message = f"describe() says {types[name]} of {name!r}, which does not hold what the column was made for: {error}"
        raise RuleBrokenError(message) from error


def send(
    connector: Connector,
    obj: ObjectSpec,
    kind: OperationKind,
    operations: Sequence[tuple[str | None, Row]],
    *,
    expected: Sequence[Row] | None = None,
    returning: Sequence[str] = (),
) -> list[Row]:
    """Write a batch; outcomes in the order of the operations. An operation without exactly one outcome breaks the rule."""
    batch = batch_of(connector, obj, kind, operations, expected=expected, returning=returning)
    outcomes = {row["__op"]: row for row in connector.write(obj, batch).to_dicts()}
    ops = batch.rows.get_column("__op").to_list()
    equal(sorted(outcomes), ops, "not every operation has its outcome")
    return [outcomes[op] for op in ops]


def seen(connector: Connector, obj: ObjectSpec, key: str, columns: Sequence[str] = TEXTS) -> Row:
    """One row as read now, with `__version`: what a precondition expects."""
    rows = listing(connector, obj, columns, keys=[key]).rows.to_dicts()
    equal(len(rows), 1, f"reading the key {key!r} gave another number of rows than one")
    return {"__version": rows[0].get("__version"), **{name: rows[0][name] for name in columns}}


def statuses(outcomes: Sequence[Row]) -> list[str]:
    """The status of each outcome."""
    return [row["__status"] for row in outcomes]


# ---------------------------------------------------------------- the world as it is


def stored(world: World, obj: ObjectSpec, key: str = "id") -> dict[str, Row]:
    """All rows as stored, by the text of one key column."""
    return {str(row[key]): row for row in world.rows(obj)}


def texts(world: World, obj: ObjectSpec) -> dict[str, Row]:
    """All rows of a `people` object as stored, text columns only; an absent column is null."""
    return {key: {name: row.get(name) for name in TEXTS} for key, row in stored(world, obj).items()}


def canonical(value: Any, column_type: ColumnType) -> Any:
    """A value in a form in which equal means equal, whether a page, a driver or a file gave it. None stays None."""
    if value is None:
        return None
    try:
        return _canonical(value, column_type)
    except (ValueError, InvalidOperation, TypeError):
        return ("unreadable", value)


def _canonical(value: Any, column_type: ColumnType) -> Any:
    match column_type:
        case "integer":
            return int(value)
        case "decimal":
            return ("float", value) if isinstance(value, float) else Decimal(str(value))
        case "float":
            return "NaN" if math.isnan(float(value)) else float(value)
        case "boolean":
            return {"true": True, "false": False}[value] if isinstance(value, str) else bool(value)
        case "json":
            return ("json", json.loads(value) if isinstance(value, str | bytes) else value)
        case "binary":
            return value if isinstance(value, str) else bytes(value).hex()
        case "date":
            return _day(value)
        case "datetime":
            moment = datetime.fromisoformat(value) if isinstance(value, str) else value
            return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        case "timestamp":
            return datetime.fromisoformat(value) if isinstance(value, str) else value
        case _:
            return value


def _day(value: Any) -> date:
    if isinstance(value, str):
        return date.fromisoformat(value)
    return value.date() if isinstance(value, datetime) else value


def spelled(text: str) -> str:
    """A text with the names of its less common characters, for messages."""
    return "".join(char if char.isascii() else f"<{unicodedata.name(char, hex(ord(char)))}>" for char in text)
