"""Most of a `World` for any SQL database with a Python driver: an author says how to connect and what the types are called."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar

from trueup.testing.conformance_world import Column, Row, Trial, World

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from trueup.model import ColumnType, ObjectSpec


class SqlWorld(World):
    """Objects are tables, made and edited through a plain driver connection that commits every statement.

    An author gives `connection()` and `type_names`, and overrides `quote`, `mark`, `assigned_key`, `bound` or `sized` where the dialect
    differs from the usual. `type_names` is column type -> what CREATE TABLE calls it; text without a limit is `type_names["text"]`.
    """

    type_names: ClassVar[Mapping[ColumnType, str]]
    mark: ClassVar[str] = "?"
    """How a statement marks a parameter: `?` or `%s`."""
    assigned_key: ClassVar[str] = "INTEGER PRIMARY KEY"
    """What follows the name of a key column that the database fills."""
    key_length: ClassVar[int] = 120

    @abstractmethod
    def connection(self) -> Any:
        """A driver connection (DB-API) in autocommit mode, the same one each time."""

    def quote(self, name: str) -> str:
        """A name as SQL writes it."""
        return '"' + name.replace('"', '""') + '"'

    def name(self, name: str) -> str:
        """A name as `execute` takes it: quoted, and with `%` doubled where `%s` marks a parameter."""
        return self.quote(name).replace("%", "%%") if self.mark == "%s" else self.quote(name)

    def sized(self, length: int) -> str:
        """The type of text with a limit that the database enforces."""
        return f"VARCHAR({length})"

    def scaled(self, scale: int) -> str:
        """The type of a decimal that is rounded to `scale` places; used where `traits.rounds`."""
        return f"DECIMAL(20, {scale})"

    def bound(self, value: Any) -> Any:
        """A Python value as the driver takes it."""
        return value

    def definition(self, name: str, column: Column) -> str:
        """One column of CREATE TABLE."""
        kind = self.type_names[column.type]
        if column.type == "text" and column.max_length is not None:
            kind = self.sized(column.max_length)
        elif column.type == "decimal" and column.scale is not None:
            kind = self.scaled(column.scale)
        return f"{self.name(name)} {kind}{'' if column.nullable else ' NOT NULL'}{' UNIQUE' if column.unique else ''}"

    def make(self, name: str, trial: Trial) -> None:
        """See World."""
        parts = []
        for column, said in trial.columns.items():
            assigned = trial.assigned and column in trial.key
            parts.append(f"{self.name(column)} {self.assigned_key}" if assigned else self.definition(column, said))
        if trial.guarded and not trial.assigned:
            parts.append(f"PRIMARY KEY ({', '.join(map(self.name, trial.key))})")
        self.execute(f"CREATE TABLE {self.name(name)} ({', '.join(parts)})")

    def insert(self, obj: ObjectSpec, rows: Sequence[Row]) -> None:
        """See World."""
        for row in rows:
            names = ", ".join(map(self.name, row))
            marks = ", ".join(self.mark for _ in row)
            self.execute(f"INSERT INTO {self._table(obj)} ({names}) VALUES ({marks})", list(row.values()))  # noqa: S608 - names are quoted

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """See World."""
        self.execute("BEGIN")
        try:
            yield
        except BaseException:
            self.execute("ROLLBACK")
            raise
        self.execute("COMMIT")

    def bulk(self, obj: ObjectSpec, rows: Sequence[Row]) -> None:
        """See World."""
        names, marks = ", ".join(map(self.name, rows[0])), ", ".join(self.mark for _ in rows[0])
        with self.transaction():
            statement = f"INSERT INTO {self._table(obj)} ({names}) VALUES ({marks})"  # noqa: S608 - names are quoted
            self.connection().cursor().executemany(statement, [[self.bound(value) for value in row.values()] for row in rows])

    def rows(self, obj: ObjectSpec) -> list[Row]:
        """See World."""
        cursor = self.execute(f"SELECT * FROM {self._table(obj)}")  # noqa: S608 - names are quoted
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def edit(self, obj: ObjectSpec, where: Row, values: Row) -> None:
        """See World."""
        changes = ", ".join(f"{self.name(name)} = {self.mark}" for name in values)
        statement = f"UPDATE {self._table(obj)} SET {changes} WHERE {self._condition(where)}"  # noqa: S608 - names are quoted
        self.execute(statement, [*values.values(), *where.values()])

    def remove(self, obj: ObjectSpec, where: Row) -> None:
        """See World."""
        self.execute(f"DELETE FROM {self._table(obj)} WHERE {self._condition(where)}", list(where.values()))  # noqa: S608 - names are quoted

    def execute(self, statement: str, values: Sequence[Any] = ()) -> Any:
        """Run one statement; the driver's cursor."""
        cursor = self.connection().cursor()
        cursor.execute(statement, [self.bound(value) for value in values])
        return cursor

    def close(self) -> None:
        """See World."""
        self.connection().close()

    def _table(self, obj: ObjectSpec) -> str:
        return self.name(obj.name or "")

    def _condition(self, where: Row) -> str:
        return " AND ".join(f"{self.name(name)} = {self.mark}" for name in where)


def as_text(value: Any) -> Any:
    """`bound` for drivers that know neither decimals nor times: their usual text (SQLite)."""
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime):
        naive = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
        return f"{naive.isoformat(sep=' ')}{'Z' if value.tzinfo else ''}"
    return value.isoformat() if hasattr(value, "isoformat") else value
