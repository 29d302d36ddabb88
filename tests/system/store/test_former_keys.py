"""Keys under which rows stood, and whose they were."""

from __future__ import annotations

import polars as pl

from trueup.store import Store, former_key, shadow

KEYS = pl.Series(["a", "b", "c"])


def test_a_key_is_remembered_until_another_row_had_it(store: Store) -> None:
    with store.read() as db:
        assert former_key.due(db, "customer").is_empty()
        assert former_key.by_key(db, "customer", "crm", KEYS).is_empty()
    with store.write() as tx:
        rows = pl.DataFrame({"key": ["a", "b", "c"], "gid": [1, 2, None], "khash": [11, 12, 13], "state": [0, 0, 0]})
        shadow.upsert(tx, "customer", "crm", rows, new=True)
        former_key.note(tx, "customer", "crm", KEYS)
        shadow.delete(tx, "customer", "crm", KEYS)
        former_key.made_again(tx, "customer", "crm", pl.Series([2, 3]))
    with store.read() as db:
        assert sorted(former_key.by_key(db, "customer", "crm", KEYS).rows()) == [("a", 1), ("b", 2)]
        assert former_key.by_key(db, "customer", "shop", KEYS).is_empty()
        due = former_key.due(db, "customer")
        assert due.rows() == [("crm", 2)]
    with store.write() as tx:
        former_key.told(tx, "customer", due)
        shadow.upsert(tx, "customer", "crm", rows.head(1).with_columns(gid=pl.lit(7)), new=True)
        former_key.note(tx, "customer", "crm", pl.Series(["a"]))
    with store.read() as db:
        assert former_key.due(db, "customer").is_empty()
        assert sorted(former_key.by_key(db, "customer", "crm", KEYS).rows()) == [("a", 7), ("b", 2)]
