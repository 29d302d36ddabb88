"""A state from before rows outside of a filter were noted: where a mapping has one, every record is considered anew."""

from __future__ import annotations

from tests.system.store.older import make_state_of
from trueup.store import Store, cursor

SPEC = '{"mapping":{"where":%s,"fields":{}}}'


def test_records_are_considered_anew_where_there_is_a_filter(target: str) -> None:
    specs = [SPEC % '"active = 1"', SPEC % "null"]
    make_state_of(
        target,
        "0006",
        [
            "INSERT INTO entity_name (id, name) VALUES (1, 'customer')",
            "INSERT INTO system_name (id, name) VALUES (1, 'crm'), (2, 'shop')",
            *(
                f"INSERT INTO mapping_version (id, entity, system, spec, at) VALUES ({system}, 1, {system}, '{spec}', 0)"
                for system, spec in enumerate(specs, 1)
            ),
            *(f"INSERT INTO cursor (entity, system, considered_version) VALUES (1, {system}, 9)" for system in (1, 2)),
        ],
    )
    with Store.open(target) as store, store.read() as db:
        assert cursor.get(db, "customer", "crm").considered_version == 0
        assert cursor.get(db, "customer", "shop").considered_version == 9
