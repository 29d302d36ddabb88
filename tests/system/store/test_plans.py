"""How SQLite finds things in the state: never by reading all rows of an entity. Its own guesses do just that."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import sqlalchemy as sa

from trueup.store import Db, Store, match_key, shadow

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
            statement, parameters = next(one for one in said if "shadow" in one[0] or "match_" in one[0])
            driver = db.connection.connection.driver_connection
            assert driver is not None
            steps = [row[3] for row in driver.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)]
    assert any(plan in step for step in steps), steps
