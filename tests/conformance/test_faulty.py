"""Faults happen as scripted, leave what they say they leave, and a fault that never happened is told."""

from __future__ import annotations

import polars as pl
import pytest

from trueup.connectors.base import Page, WriteBatch
from trueup.connectors.memory import MemoryConnector, MemoryWorld
from trueup.errors import AccessRefusedError, SystemUnreachableError
from trueup.model import ColumnInfo, ObjectSpec
from trueup.testing.faulty import Call, Fault, FaultyConnector, by_chance, hit_counts, wrong_password

PEOPLE = ObjectSpec(name="people", key=("id",), modified="changed")


@pytest.fixture
def world() -> MemoryWorld:
    world = MemoryWorld()
    columns = [ColumnInfo(name="id", type="text"), ColumnInfo(name="name", type="text"), ColumnInfo(name="changed", type="datetime")]
    table = world.add_table("people", columns, ["id"], modified="changed")
    for key in "abcdef":
        table.insert({"id": key, "name": f"<{key}>"})
    return world


def faulty(world: MemoryWorld, *script: Fault) -> FaultyConnector:
    return FaultyConnector(MemoryConnector("crm", world), script)


def creates(*keys: str) -> WriteBatch:
    return WriteBatch(kind="create", rows=pl.DataFrame({"__op": range(len(keys)), "__key": keys, "name": [f"<{key}>" for key in keys]}))


def keys_of(pages: list) -> list[str]:
    return [key for page in pages for key in page.rows.get_column("__key").to_list()]


def test_before_does_nothing_and_happens_once(world: MemoryWorld):
    connector = faulty(world, Fault("write", "before"))
    with pytest.raises(SystemUnreachableError):
        connector.write(PEOPLE, creates("x"))
    assert "x" not in world.tables["people"].rows
    assert connector.write(PEOPLE, creates("x")).get_column("__status").to_list() == ["done"]
    connector.assert_all_hit()


def test_after_has_written_and_loses_the_reply(world: MemoryWorld):
    connector = faulty(world, Fault("write", "after", kind="create"))
    with pytest.raises(SystemUnreachableError):
        connector.write(PEOPLE, creates("x", "y"))
    assert {"x", "y"} <= world.tables["people"].rows.keys()
    connector.assert_all_hit()


def test_half_has_written_half(world: MemoryWorld):
    connector = faulty(world, Fault("write", "half"))
    with pytest.raises(SystemUnreachableError):
        connector.write(PEOPLE, creates("w", "x", "y", "z"))
    assert sorted(world.tables["people"].rows.keys() & {"w", "x", "y", "z"}) == ["w", "x"]


def test_partial_shows_some_rows_and_is_not_complete(world: MemoryWorld):
    connector = faulty(world, Fault("read", "partial", rows=4))
    pages = list(connector.read(PEOPLE, ["name"], page_rows=3))
    assert keys_of(pages) == ["a", "b", "c", "d"]
    assert [page.complete for page in pages] == [False, False]
    assert pages[-1].cursor is None
    assert [page.complete for page in connector.read(PEOPLE, ["name"], page_rows=3)] == [False, True]


def test_a_read_breaks_off_in_the_middle(world: MemoryWorld):
    connector = faulty(world, Fault("read", "after", rows=4))
    shown: list[Page] = []
    with pytest.raises(SystemUnreachableError):
        shown.extend(connector.read(PEOPLE, ["name"], page_rows=3))
    pages = connector.read(PEOPLE, ["name"], page_rows=3)
    assert keys_of(list(pages)) == list("abcdef")


def test_lag_shows_the_time_before(world: MemoryWorld):
    connector = faulty(world, Fault("read", "lag"))
    first = keys_of(list(connector.read(PEOPLE, ["name"])))
    world.tables["people"].insert({"id": "late", "name": "late"})
    assert keys_of(list(connector.read(PEOPLE, ["name"]))) == first
    assert "late" in keys_of(list(connector.read(PEOPLE, ["name"])))
    connector.assert_all_hit()


def test_retry_writes_nothing_and_says_when(world: MemoryWorld):
    connector = faulty(world, Fault("write", "retry"))
    batch = creates("x", "y")
    outcomes = connector.write(PEOPLE, WriteBatch(kind="create", rows=batch.rows, returning=("changed",)))
    assert outcomes.get_column("__status").to_list() == ["retry", "retry"]
    assert outcomes.get_column("__retry_s").to_list() == [1.0, 1.0]
    assert outcomes.schema["changed"] == pl.Datetime("us", "UTC")
    assert "x" not in world.tables["people"].rows


def test_a_delay_lets_somebody_edit_first(world: MemoryWorld):
    table = world.tables["people"]
    connector = faulty(world, Fault("read", "delay", hook=lambda: table.edit("a", {"name": "edited"})))
    assert next(connector.read(PEOPLE, ["name"], keys=["a"])).rows.get_column("name").to_list() == ["edited"]


def test_at_and_times_and_kind_choose_the_call(world: MemoryWorld):
    connector = faulty(world, Fault("read", "before", keyed=True, at=2, times=2, error=wrong_password))
    list(connector.read(PEOPLE, ["name"]))
    list(connector.read(PEOPLE, ["name"], keys=["a"]))
    for _ in range(2):
        with pytest.raises(AccessRefusedError):
            connector.read(PEOPLE, ["name"], keys=["a"])
    assert keys_of(list(connector.read(PEOPLE, ["name"], keys=["a"]))) == ["a"]
    connector.assert_all_hit()


def test_a_fault_that_never_happened_is_told(world: MemoryWorld):
    connector = faulty(world, Fault("write", "after", kind="delete"))
    connector.write(PEOPLE, creates("x"))
    with pytest.raises(AssertionError, match="never happened"):
        connector.assert_all_hit()


@pytest.mark.parametrize(("call", "how"), [("read", "half"), ("write", "partial"), ("find", "lag"), ("read", "delay")])
def test_impossible_faults_are_refused(call, how):
    with pytest.raises(ValueError, match=r"cannot fail|needs a hook"):
        Fault(call, how)


def test_chance_is_the_same_for_the_same_seed(world: MemoryWorld):
    counts = []
    for _ in range(2):
        connector = FaultyConnector(MemoryConnector("crm", world), decide=by_chance(7, one_in=3))
        for _ in range(60):
            try:
                list(connector.read(PEOPLE, ["name"]))
            except SystemUnreachableError:
                continue
        counts.append(hit_counts(connector))
    assert counts[0] == counts[1]
    assert set(counts[0]) == {"read before", "read after", "read partial", "read lag"}


def test_decisions_may_come_from_outside(world: MemoryWorld):
    calls: list[Call] = []
    connector = FaultyConnector(MemoryConnector("crm", world), decide=lambda call: calls.append(call))  # noqa: PLW0108 - append gives None, which is what lets a call pass
    connector.describe(PEOPLE)
    connector.write(PEOPLE, creates("x", "y"))
    connector.find(PEOPLE, ["name"], pl.DataFrame({"name": ["<x>"]}))
    assert [(call.name, call.kind, call.rows) for call in calls] == [("describe", None, 0), ("write", "create", 2), ("find", None, 1)]
