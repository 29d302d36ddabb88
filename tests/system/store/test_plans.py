"""How SQLite finds things in the state: never by reading all rows of an entity. Its own guesses do just that."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import sqlalchemy as sa

from trueup.runtime.expected import look_for
from trueup.runtime.explain import explain_record, view_record
from trueup.runtime.past import as_of
from trueup.runtime.records import find_record
from trueup.runtime.workspace import open_workspace
from trueup.store import Db, Store, listing, match_key, notice, shadow

GIDS = pl.Series([1, 2, 3], dtype=pl.Int64)
KEYS = pl.Series(["a", "b"])


@pytest.mark.parametrize(
    ("ask", "plan"),
    [
        (lambda db: shadow.by_golden(db, "customer", GIDS), "shadow_link (entity=? AND golden_id=?)"),
        (lambda db: shadow.by_golden(db, "customer", GIDS, ["crm"]), "shadow_link (entity=? AND golden_id=?"),
        (lambda db: shadow.deltas(db, "customer", 1, 9), "shadow_link (entity=? AND golden_id>? AND golden_id<?)"),
        (lambda db: shadow.pending(db, "customer", "crm"), "shadow_sent (entity=? AND system=?)"),
        (lambda db: shadow.missing(db, "customer", "crm"), "shadow_not_present (entity=? AND system=? AND state=?)"),
        (lambda db: shadow.by_key(db, "customer", "crm", KEYS), "PRIMARY KEY (entity=? AND system=? AND key=?)"),
        (lambda db: shadow.any_(db, "customer", "crm"), "PRIMARY KEY (entity=? AND system=?)"),
        (lambda db: match_key.remove(db, "customer", GIDS), "match_key USING PRIMARY KEY (entity=? AND rule=? AND hash=? AND golden_id=?)"),
        (lambda db: match_key.of(db, "customer", GIDS), "match_golden USING PRIMARY KEY (entity=? AND golden_id=?)"),
        (lambda db: listing.living_records(db, "customer"), "SEARCH golden USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
        (lambda db: listing.records_saying(db, "customer", "Rome"), "SEARCH golden USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
    ],
)
def test_what_is_looked_for_is_found_by_its_index(tmp_path: Path, ask: Callable[[Db], object], plan: str) -> None:
    said: list[tuple[str, object]] = []
    with Store.open(str(tmp_path / "state.db")) as store:
        with store.write() as tx:
            tx.entity("customer")
            tx.system("crm")
        with store.write() as db:

            def note(_connection: object, _cursor: object, statement: str, parameters: object, *_more: object) -> None:
                said.append((statement, parameters))

            sa.event.listen(db.connection, "before_cursor_execute", note)
            ask(db)
            statement, parameters = next(one for one in said if any(name in one[0] for name in ("shadow", "match_", "golden.data")))
            driver = db.connection.connection.driver_connection
            assert driver is not None
            steps = [row[3] for row in driver.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)]
    assert any(plan in step for step in steps), steps


def test_what_moved_after_a_position_is_found_in_order_by_its_index(tmp_path: Path) -> None:
    steps: list[str] = []
    with Store.open(str(tmp_path / "state.db")) as store:
        with store.write() as tx:
            tx.entity("customer")
        with store.write() as db:

            def note(_connection: object, _cursor: object, statement: str, parameters: object, *_more: object) -> None:
                driver = db.connection.connection.driver_connection
                assert driver is not None
                steps.extend(row[3] for row in driver.execute(f"EXPLAIN QUERY PLAN {statement}", parameters))

            sa.event.listen(db.connection, "before_cursor_execute", note)
            notice.moved(db, "customer", (7, 3), 50)
    found = [re.search(r"USING (?:COVERING )?INDEX (\w+) \(entity=\? AND version>\?\)", step) for step in steps]
    assert [one[1] if one else None for one in found] == ["golden_alive", "golden_gone"], steps


CONFIGURATION = """
systems:
  crm: {connector: sqlite, path: crm.db}
  till: {connector: sqlite, path: till.db}
entities:
  customer:
    match: [[email]]
    precedence: [crm, till]
    fields: {email: {}, name: {conflict: last_write_wins}, boss: {type: reference, entity: customer}}
    mappings:
      crm: {object: people, key: id, fields: {email: email, name: name, boss: boss}}
      till: {object: people, key: id, fields: {email: email, name: name, boss: boss}, where: "name <> 'out'"}
"""
SMALL = {"entity_name", "system_name", "e", "s", "paused", "meta", "counter", "cursor", "hold", "CONSTANT"}
"""Tables of which there are a few rows, whatever happens, some by the names that views give them; the rest grows."""


ANY_ROWS = (
    "INSERT INTO conflict (entity, golden_id, field, kind, opened_at) VALUES (1, 9, 'name', 'conflict', 1)",
    "INSERT INTO failure (entity, system, subject, stage, reason, attempts, first_at, last_at) VALUES (1, 1, 'k9', 'write', '', 1, 1, 1)",
    "INSERT INTO parked (entity, system, key, candidates, why, since) VALUES (1, 1, '9', '[9]', 'may be one of several records', 1)",
    "INSERT INTO outsider VALUES (1, 1, 9, '9', NULL)",
    "INSERT INTO unsettled_key VALUES (1, 1, '9', 'parked', 1)",
    "INSERT INTO former_key VALUES (1, 1, '9', 9, 0, 7)",
)
"""A row in each table that is not asked while it is empty."""


def test_what_looks_at_one_record_reads_no_table_that_grows(tmp_path: Path) -> None:
    """Statement by statement, of a record for which everything has to be asked: one that waits in one system and lacks in the other."""
    (tmp_path / "trueup.yaml").write_text(CONFIGURATION, encoding="utf-8")
    for name in ("crm", "till"):
        with closing(sqlite3.connect(tmp_path / f"{name}.db")) as db, db:
            db.execute("CREATE TABLE people (id INTEGER PRIMARY KEY, email TEXT, name TEXT, boss INTEGER)")
            if name == "crm":
                db.executemany("INSERT INTO people VALUES (?, ?, ?, ?)", [(1, "a@b.c", "Ann", None), (2, "b@b.c", "out", 1)])
    workspace = open_workspace(tmp_path / "trueup.yaml")
    with workspace:
        workspace.sync()
        with closing(sqlite3.connect(tmp_path / "crm.db")) as db, db:
            db.execute("UPDATE people SET name = 'Anna', boss = 2 WHERE id = 1")
        workspace.sync(limit=0)
        with workspace.store.write() as tx:
            for statement in ANY_ROWS:
                tx.connection.exec_driver_sql(statement)
        said: list[tuple[str, Any]] = []
        entity = workspace.config.entities["customer"]
        with workspace.store.read() as state:

            def note(_connection: object, _cursor: object, statement: str, parameters: Any, *_more: object) -> None:
                said.append((statement, parameters))

            sa.event.listen(state.connection, "before_cursor_execute", note)
            for gid in (find_record(workspace, state, "customer", "crm:1"), find_record(workspace, state, "customer", "crm:2")):
                view = view_record(state, workspace.config, entity, gid)
                stories = explain_record(view, entity, "name")
                look_for(state, workspace.config, entity, view, stories[0], "nobody")
                as_of(state, view, datetime.now(UTC))
                state.connection.exec_driver_sql(f"SELECT * FROM changes WHERE record = {gid}").all()
                state.connection.exec_driver_sql(f"SELECT * FROM links WHERE record = {gid}").all()
                state.connection.exec_driver_sql(f"SELECT * FROM customer WHERE id = {gid}").all()
            driver = state.connection.connection.driver_connection
            assert driver is not None
            plans = {statement: driver.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall() for statement, parameters in said}
    assert {"history", "golden", "shadow", "run", "failure", "parked", "conflict"} <= {
        word for statement in plans for word in re.findall(r"\w+", statement)
    }
    for statement, steps in plans.items():
        scanned = {match[1] for *_numbers, step in steps if (match := re.match(r"SCAN (\w+)(?!.*VIRTUAL TABLE)", step))}
        newest_few = re.search(r"ORDER BY \w+\.id DESC\s+LIMIT", statement)
        assert newest_few or scanned <= SMALL, f"{scanned}: {statement}\n{steps}"
