"""What people may do with SQL on the state: read everything by views, change nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

import polars as pl
import pytest

from trueup.errors import StateError
from trueup.store import golden, history, shadow, views

if TYPE_CHECKING:
    from trueup.store import Store

NOW = datetime(2026, 3, 29, 1, 30, 0, 7, tzinfo=UTC)
FIELDS = {
    "customer": [
        ("name", "text"),
        ("visits", "integer"),
        ("rate", "float"),
        ("credit", "decimal"),
        ("active", "boolean"),
        ("odd \"'% :x", "text"),
    ],
    "run": [("id", "text"), ("Name", "text"), ("name", "text")],
}


def fill(store: Store) -> None:
    with store.write() as tx:
        golden.upsert(
            tx,
            "customer",
            pl.DataFrame(
                {
                    "id": [1, 2, 3, 4],
                    "data": [
                        """{"name":"Ann","visits":"-12","rate":"1.5","credit":"1.10","active":"true","odd \\"'% :x":"yes"}""",
                        '{"name":null,"visits":"many","rate":"x","credit":"?","active":"perhaps"}',
                        None,
                        '{"name":"gone"}',
                    ],
                    "version": [5, 5, 5, 6],
                    "deleted_at": [None, None, None, NOW],
                }
            ),
        )
        golden.upsert(tx, "run", pl.DataFrame({"id": [9], "data": ['{"id":"marathon","Name":"a","name":"b"}'], "version": [7]}))
        shadow.upsert(tx, "customer", "crm", pl.DataFrame({"key": ["x", "y"], "gid": [1, None], "khash": [1, 2]}))
        history.append(
            tx,
            "customer",
            pl.DataFrame(
                {
                    "version": [5],
                    "gid": [1],
                    "field": ["name"],
                    "kind": ["accepted"],
                    "system": ["crm"],
                    "at": [NOW],
                    "recorded_at": [NOW],
                    "after": ["Ann"],
                }
            ),
        )
        views.refresh(tx, FIELDS)


def test_golden_records_links_and_changes_are_readable(store: Store) -> None:
    fill(store)
    names, rows = store.query("SELECT * FROM customer ORDER BY id;")
    assert names == ["id", "name", "visits", "rate", "credit", "active", "odd \"'% :x", "version"]
    credit, yes = ("1.10", 1) if store.backend == "sqlite" else (Decimal("1.10"), True)
    assert rows[0] == (1, "Ann", -12, 1.5, credit, yes, "yes", 5)
    assert [row[2:4] for row in rows[1:]] == [(None, None)] * 2
    assert store.query("SELECT * FROM golden_run") == (["id", "field_id", "Name", "field_name", "version"], [(9, "marathon", "a", "b", 7)])
    assert store.query("SELECT * FROM links")[1] == [("customer", "crm", 1, "x", "present")]
    at = store.query("SELECT at FROM changes WHERE entity = 'customer' AND system = 'crm' AND field LIKE 'na%'")[1][0][0]
    assert at == ("2026-03-29T01:30:00.000007Z" if store.backend == "sqlite" else NOW)


def test_views_follow_the_configuration(store: Store) -> None:
    fill(store)
    with store.write() as tx:
        views.refresh(tx, {"customer": [("visits", "text")]})
        views.refresh(tx, {"customer": [("visits", "text")]})
    assert store.query("SELECT * FROM customer WHERE id = 2") == (["id", "visits", "version"], [(2, "many", 5)])
    with pytest.raises(StateError):
        store.query("SELECT * FROM golden_run")


def test_an_answer_is_cut_at_the_limit(store: Store) -> None:
    fill(store)
    assert [row[0] for row in store.query("SELECT id FROM customer ORDER BY id", 2)[1]] == [1, 2]
    with pytest.raises(StateError, match="selec reads nothing"):
        store.query("selec 1")
    assert store.query("WITH a AS (SELECT '50%' AS x) SELECT x FROM a WHERE x LIKE '%!%' ESCAPE '!'")[1] == [("50%",)]


CHANGES = [
    "",
    ";",
    "DELETE FROM golden",
    "UPDATE golden SET version = 0",
    "INSERT INTO paused VALUES ('all', '')",
    "DROP TABLE golden",
    "SELECT 1; DELETE FROM golden",
    "WITH a AS (SELECT 1) DELETE FROM golden",
    "WITH gone AS (DELETE FROM golden RETURNING id) SELECT * FROM gone",
    "ATTACH 'other.db' AS other",
    "PRAGMA query_only = OFF",
    "PRAGMA writable_schema = ON",
    "VACUUM INTO 'copy.db'",
    "COMMIT",
    "SET TRANSACTION READ WRITE",
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "CREATE TEMP TABLE x (a INTEGER)",
    "SELECT nextval('history_id_seq')",
    "SELECT load_extension('x')",
    "SELECT 1 INTO TEMP copied",
    "nonsense",
]


def test_anything_but_a_read_is_refused(store: Store) -> None:
    fill(store)
    for sql in CHANGES:
        with pytest.raises(StateError) as caught:
            store.query(sql)
        assert caught.value.hint
        with store.read() as db:
            assert golden.count(db, "customer") == 3


def test_an_endless_statement_is_stopped(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trueup.store.ask.TIMEOUT_S", 1)
    with pytest.raises(StateError, match="took longer"):
        store.query("WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n")
