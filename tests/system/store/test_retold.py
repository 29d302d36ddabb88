"""Golden records that are told otherwise, and which of them are as every system holds them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import polars as pl

from trueup.core.fingerprint import key_hash
from trueup.store import Store, golden, shadow

NOW = datetime(2026, 3, 29, 1, 30, 0, 123456, tzinfo=UTC)


def rows(**columns: dict[str, object]) -> pl.DataFrame:
    """Shadows by key, each linked to the record of that number."""
    keys = [name.removeprefix("k") for name in columns]
    schema = {"key": pl.String, "gid": pl.Int64, "seen": pl.String, "sent": pl.String, "state": pl.Int64}
    told = [{"key": key, "gid": int(key), "state": 0} | dict(more) for key, more in zip(keys, columns.values(), strict=True)]
    frame = pl.DataFrame(told, schema=schema)
    return frame.with_columns(key_hash(frame["key"]).alias("khash"))


def test_the_odd_ones(store: Store) -> None:
    with store.write() as tx:
        shadow.upsert(tx, "customer", "crm", rows(k1={}, k2={"seen": "{}"}, k3={}, k4={}, k5={}), new=True)
        shadow.upsert(tx, "customer", "shop", rows(k1={}, k2={}, k3={"sent": "{}"}, k4={"state": 1}, k5={}), new=True)
        shadow.upsert(tx, "customer", "till", rows(k5={}), new=True)
        shadow.upsert(tx, "product", "crm", rows(k11={"seen": "{}"}), new=True)
        shadow.link(tx, "customer", "crm", pl.DataFrame({"key": ["2"], "gid": pl.Series([None], dtype=pl.Int64)}))
    with store.read() as db:
        assert set(shadow.odd(db, "customer", ["crm", "shop"])) == {3, 4, 5}
        assert set(shadow.odd(db, "customer", ["crm", "shop", "till"])) == {3, 4}
        assert set(shadow.odd(db, "product", ["crm"])) == {11}
        assert shadow.odd(db, "order", ["crm"]).is_empty()


def test_records_are_told_otherwise(store: Store) -> None:
    many = 300
    ids = list(range(1, many + 1))
    said = {"id": ids, "data": [f'{{"name":"Ann {id_}"}}' for id_ in ids], "version": [1] * many, "origin_system": ["crm"] * many}
    gone = {"deleted_at": [NOW if id_ == 7 else None for id_ in ids], "alias_of": [1 if id_ == 8 else None for id_ in ids]}
    types: dict[str, Any] = {"deleted_at": pl.Datetime("us", "UTC"), "alias_of": pl.Int64}
    with store.write() as tx:
        golden.upsert(tx, "customer", pl.DataFrame(said | gone, schema_overrides=types), new=True)
    with store.read() as db:
        asked = pl.Series([*ids, many + 1])
        assert golden.told(db, asked)["id"].to_list() == [id_ for id_ in ids if id_ not in (7, 8)]
    after = pl.DataFrame({"id": ids[10:], "data": [f'{{"name":"ANN {id_}"}}' for id_ in ids[10:]], "version": [2] * (many - 10)})
    with store.write() as tx:
        golden.retell(tx, "customer", after)
    with store.read() as db:
        known = golden.fetch(db, "customer", pl.Series([10, 11]))
        assert known["data"].to_list() == ['{"name":"Ann 10"}', '{"name":"ANN 11"}']
        assert known["origin_system"].to_list() == ["crm", "crm"]
        assert golden.since(db, "customer", 1).to_list() == ids[10:]
        assert golden.count(db, "customer") == many - 2
