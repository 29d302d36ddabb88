"""A state from before rows outside of a filter were noted: where a mapping has one, every record is considered anew."""

from __future__ import annotations

from datetime import UTC, datetime

from trueup.store import Store, cursor, mapping_version
from trueup.store.schema import VERSION_TABLE

NOW = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)


def test_records_are_considered_anew_where_there_is_a_filter(target: str) -> None:
    with Store.open(target) as store, store.write() as tx:
        for system, where in (("crm", '"active = 1"'), ("shop", "null")):
            mapping_version.put(tx, "customer", system, f'{{"mapping":{{"where":{where},"fields":{{}}}}}}', at=NOW)
            cursor.set_(tx, "customer", system, considered_version=9)
        tx.connection.exec_driver_sql("DROP TABLE outsider")
        tx.connection.exec_driver_sql(f"UPDATE {VERSION_TABLE} SET version_num = '0006'")
    with Store.open(target) as store, store.read() as db:
        assert cursor.get(db, "customer", "crm").considered_version == 0
        assert cursor.get(db, "customer", "shop").considered_version == 9
