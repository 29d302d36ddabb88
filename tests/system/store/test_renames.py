"""Everything that the state keeps of a field or a system, under its new name, on both back ends."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import polars as pl
import pytest

from trueup.errors import StateError
from trueup.store import Store, conflict, failure, golden, history, mapping_version, names, paused, renames, sending, shadow

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
OLD, NEW = 'first "name"', "näme"


def fill(store: Store) -> None:
    """One record, linked in one system, with everything that can name its field or its system."""
    spec = {"mapping": {"system": "crm", "fields": {OLD: {"mapping": {}}, "other": {}}}, "place": {"path": "crm"}}
    sides = [{"system": "crm", "value": "Ann", "at": None}, {"system": None, "value": OLD, "at": None}]
    with store.write() as tx:
        first = golden.allocate(tx, "customer", 1)
        rows = {
            "id": [first],
            "data": [json.dumps({OLD: OLD, "other": "crm"})],
            "origins": [json.dumps({OLD: ["crm", "2026"], "other": ["shop", None]})],
        }
        golden.upsert(tx, "customer", pl.DataFrame(rows | {"version": [1]}), new=True)
        texts = {"seen": [json.dumps({OLD: "A", "": ["other"]})], "sent": [json.dumps({"": [OLD]})], "before": [json.dumps({OLD: None})]}
        shadow.upsert(tx, "customer", "crm", pl.DataFrame({"key": ["1"], "gid": [first], "khash": [1], **texts, "state": [0]}), new=True)
        line = {"version": [1], "gid": [first], "kind": ["edit"], "field": [OLD], "system": ["crm"], "recorded_at": [NOW], "rule": [OLD]}
        history.append(tx, "customer", pl.DataFrame(line))
        asked = {
            "gid": [first],
            "field": [OLD],
            "kind": ["conflict"],
            "golden": [OLD],
            "candidates": [json.dumps(sides)],
            "opened_at": [NOW],
        }
        conflict.open_(tx, "customer", pl.DataFrame(asked))
        trouble = {"system": ["crm"], "key": ["1"], "gid": [first], "stage": ["write"], "field": [OLD], "reason": ["no"], "at": [NOW]}
        failure.put(tx, "customer", pl.DataFrame(trouble))
        frame = pl.DataFrame({"__op": [0], "__gid": [first], OLD: ["Ann"], f"sent:{OLD}": ["Anna"], "__fields": [[OLD, "other"]]})
        sending.add(tx, "customer", "crm", "update", sending.packed(frame), run=None, at=NOW)
        mapping_version.put(tx, "customer", "crm", json.dumps(spec), at=NOW)
        paused.set_(tx, "system", "crm")


def test_a_field_under_its_new_name(store: Store) -> None:
    fill(store)
    with store.read() as db:
        assert renames.fields_known(db, "customer") == {OLD, "other"}
    with store.write() as tx:
        renames.rename_field(tx, "customer", OLD, NEW)
    with store.read() as db:
        (row,) = golden.fetch(db, "customer", pl.Series([1])).iter_rows(named=True)
        assert json.loads(row["data"]) == {NEW: OLD, "other": "crm"}
        assert list(json.loads(row["origins"])) == [NEW, "other"]
        (link,) = shadow.by_golden(db, "customer", pl.Series([1])).iter_rows(named=True)
        assert json.loads(link["seen"]) == {NEW: "A", "": ["other"]}
        assert json.loads(link["sent"]) == {"": [NEW]}
        assert json.loads(link["before"]) == {NEW: None}
        assert history.of(db, "customer", 1).select("field", "rule").rows() == [(NEW, OLD)]
        assert conflict.open_of(db, "customer").select("field", "golden").rows() == [(NEW, OLD)]
        assert failure.of(db, "customer", "crm")["field"].to_list() == [NEW]
        (intent,) = sending.outstanding(db, "customer", "crm")
        assert intent.frame.row(0, named=True) == {"__op": 0, "__gid": 1, NEW: "Ann", f"sent:{NEW}": "Anna", "__fields": [NEW, "other"]}
        assert renames.fields_known(db, "customer") == {NEW, "other"}


def test_another_entitys_field_of_that_name_stays(store: Store) -> None:
    fill(store)
    with store.write() as tx:
        renames.rename_field(tx, "order", OLD, NEW)
    with store.read() as db:
        assert OLD in json.loads(golden.fetch(db, "customer", pl.Series([1]))["data"][0])
        assert renames.fields_known(db, "customer") == {OLD, "other"}


def test_a_system_under_its_new_name(store: Store) -> None:
    fill(store)
    with store.write() as tx:
        assert renames.rename_system(tx, "crm", "sales")
        assert not renames.rename_system(tx, "crm", "sales"), "it is done once"
    with store.read() as db:
        assert "crm" not in names.list_(db, "system")
        (row,) = golden.fetch(db, "customer", pl.Series([1])).iter_rows(named=True)
        assert json.loads(row["data"])["other"] == "crm", "a value is a value"
        assert json.loads(row["origins"]) == {OLD: ["sales", "2026"], "other": ["shop", None]}
        assert shadow.by_golden(db, "customer", pl.Series([1]))["system"].to_list() == ["sales"]
        (text,) = conflict.open_of(db, "customer")["candidates"].to_list()
        assert [side["system"] for side in json.loads(text)] == ["sales", None]
        latest = mapping_version.latest(db, "customer", "sales")
        assert latest is not None
        assert (json.loads(latest.spec)["mapping"]["system"], json.loads(latest.spec)["place"]) == ("sales", {"path": "crm"})
        assert paused.list_(db) == [("system", "sales")]
        assert len(sending.outstanding(db, "customer", "sales")) == 1


def test_a_system_that_is_known_takes_no_other_ones_place(store: Store) -> None:
    fill(store)
    with store.write() as tx:
        tx.system("shop")
    with pytest.raises(StateError, match="shop"), store.write() as tx:
        renames.rename_system(tx, "crm", "shop")
