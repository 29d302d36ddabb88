"""A new state in a file: its tables as all migrations together leave them, without running one after the other.

`fresh.sql` is written by `make generate`. One that is of another revision is left alone, and the migrations are run.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from trueup.store.schema import REVISION, VERSION_TABLE

if TYPE_CHECKING:
    import sqlalchemy as sa

_FILE = Path(__file__).with_name("fresh.sql")
_HEAD = f"-- revision {REVISION}"
_BETWEEN = "\n\n"


def make(connection: sa.Connection) -> bool:
    """Make the tables of a new state inside the transaction at hand; False where only the migrations can."""
    if connection.dialect.name != "sqlite":
        return False
    wanted = statements()
    for statement in wanted:
        connection.exec_driver_sql(statement)
    return bool(wanted)


@cache
def statements() -> tuple[str, ...]:
    """What makes the tables; nothing where the file is of another revision."""
    head, *parts = _FILE.read_text(encoding="utf-8").strip().split(_BETWEEN)
    return tuple(part.removesuffix(";") for part in parts) if head.endswith(_HEAD) else ()


def written(connection: sa.Connection) -> str:
    """The text of the file, from a new state that the migrations made."""
    made = connection.exec_driver_sql("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite!_%' ESCAPE '!'")
    tables = ["\n".join(line.rstrip() for line in sql.splitlines() if line.strip()) for (sql,) in made]
    counted = connection.exec_driver_sql("SELECT tbl, idx, stat FROM sqlite_stat1 ORDER BY tbl, idx")
    rows = [f"INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES ('{table}', '{index}', '{stat}')" for table, index, stat in counted]
    # ANALYZE of the catalogue alone makes the table of statistics, where there is none.
    tail = ["ANALYZE sqlite_master", "DELETE FROM sqlite_stat1", *rows, f"INSERT INTO {VERSION_TABLE} VALUES ('{REVISION}')"]
    head = f"-- Written by `make generate` from the migrations; do not edit.\n{_HEAD}"
    return _BETWEEN.join([head, *(f"{statement};" for statement in [*tables, *tail])]) + "\n"
