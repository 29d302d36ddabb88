"""The manners of a memory world that other systems are played with: lossy columns, lag, listings cut short, windows, keys."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from trueup.connectors.base import Page, WriteBatch
from trueup.connectors.memory import FULL_CAPS, MemoryColumn, MemoryConnector, MemoryWorld, recased, rounded, stripped, truncated
from trueup.errors import SystemUnreachableError, WriteRefusedError
from trueup.model import ColumnInfo, ObjectSpec

PEOPLE = ObjectSpec(name="people", key=("id",), modified="changed")


@pytest.fixture
def world() -> MemoryWorld:
    ticks = iter(range(10_000))
    world = MemoryWorld(clock=lambda: datetime(2026, 11, 20, tzinfo=UTC) + timedelta(seconds=next(ticks)))
    columns: list[MemoryColumn | ColumnInfo] = [
        ColumnInfo(name="id", type="text", has_default=True),
        MemoryColumn(info=ColumnInfo(name="short", type="text"), stores=truncated(3)),
        MemoryColumn(info=ColumnInfo(name="price", type="decimal"), stores=rounded(2)),
        MemoryColumn(info=ColumnInfo(name="code", type="text"), stores=lambda value: recased(stripped(value))),
        MemoryColumn(info=ColumnInfo(name="kind", type="text"), refuses=lambda value: "no such kind" if value == "bad" else None),
        ColumnInfo(name="total", type="decimal", writable=False),
        ColumnInfo(name="changed", type="datetime"),
    ]
    table = world.add_table("people", columns, ["id"], modified="changed")
    for key in "abcd":
        table.insert({"id": key, "short": key, "price": "1.00"})
    return world


@pytest.fixture
def connector(world: MemoryWorld) -> MemoryConnector:
    return MemoryConnector("crm", world)


def update(key: str, expected: dict[str, Any] | None = None, **values: Any) -> WriteBatch:
    rows = pl.DataFrame({"__op": [1], "__key": [key], "__write": [list(values)], **{name: [value] for name, value in values.items()}})
    before = None if expected is None else pl.DataFrame({"__op": [1], **{name: [value] for name, value in expected.items()}})
    return WriteBatch(kind="update", rows=rows, expected=before, returning=("short", "price", "code"))


def keys_of(pages: Iterator[Page]) -> list[str]:
    return [key for page in pages for key in page.rows.get_column("__key").to_list()]


def test_lossy_columns_keep_less_and_say_so(connector: MemoryConnector):
    outcome = connector.write(PEOPLE, update("a", short="abcdef", price="2.675", code=" x1 ")).to_dicts()[0]
    assert (outcome["__status"], outcome["short"], outcome["price"], outcome["code"]) == ("done", "abc", "2.68", "X1")
    assert next(connector.read(PEOPLE, ["short"], keys=["a"])).rows.get_column("short").to_list() == ["abc"]


def test_a_column_refuses_what_it_says(connector: MemoryConnector, world: MemoryWorld):
    outcome = connector.write(PEOPLE, update("a", kind="bad", short="zzz")).to_dicts()[0]
    assert (outcome["__status"], outcome["__reason"], outcome["__field"]) == ("rejected", "no such kind", "kind")
    assert world.tables["people"].rows["a"].values["short"] == "a"


def test_a_computed_column_cannot_be_written(connector: MemoryConnector):
    with pytest.raises(WriteRefusedError, match="total"):
        connector.write(PEOPLE, update("a", total="1"))


def test_lag_shows_the_past_for_a_while(connector: MemoryConnector, world: MemoryWorld):
    table = world.tables["people"]
    table.lag(reads=2)
    table.insert({"id": "new"})
    table.edit("a", {"short": "new"})
    assert keys_of(connector.read(PEOPLE, [])) == list("abcd")
    assert next(connector.read(PEOPLE, ["short"], keys=["a"])).rows.get_column("short").to_list() == ["a"]
    assert keys_of(connector.read(PEOPLE, [])) == [*"abcd", "new"]


def test_a_listing_held_back_is_not_complete_and_has_no_later_cursor(connector: MemoryConnector, world: MemoryWorld):
    world.tables["people"].hold_back(3)
    pages = list(connector.read(PEOPLE, []))
    assert (keys_of(iter(pages)), pages[-1].complete) == (["a"], False)
    again = list(connector.read(PEOPLE, []))
    assert again[-1].complete
    assert str(pages[-1].cursor) < str(again[-1].cursor)


def test_every_write_and_edit_is_stamped_by_the_clock(connector: MemoryConnector, world: MemoryWorld):
    cursor = list(connector.read(PEOPLE, []))[-1].cursor
    connector.write(PEOPLE, update("b", short="w"))
    world.tables["people"].edit("c", {"short": "e"})
    assert keys_of(connector.read(PEOPLE, [], since=cursor)) == ["d", "b", "c"]
    before = world.tables["people"].values()
    world.tables["people"].touch()
    after = world.tables["people"].values()
    assert all(after[key]["changed"] > before[key]["changed"] and after[key]["short"] == before[key]["short"] for key in before)


def test_a_window_is_open_unless_the_precondition_is_native(connector: MemoryConnector, world: MemoryWorld):
    table = world.tables["people"]
    world.in_window = lambda: table.edit("a", {"short": "hit"})
    assert connector.write(PEOPLE, update("a", {"short": "a"}, short="w")).get_column("__status").to_list() == ["done"]
    assert table.rows["a"].values["short"] == "w"
    world.caps = replace(FULL_CAPS, precondition="read_compare")
    assert connector.write(PEOPLE, update("a", {"short": "w"}, short="x")).get_column("__status").to_list() == ["done"]
    world.in_window = None
    assert connector.write(PEOPLE, update("a", {"short": "hit"}, short="y")).get_column("__status").to_list() == ["stale"]
    world.caps = replace(FULL_CAPS, precondition="none")
    assert connector.write(PEOPLE, update("a", {"short": "hit"}, short="y")).get_column("__status").to_list() == ["done"]


@pytest.mark.parametrize(("assign", "wanted"), [("system", ["8", "9"]), ("sequence", ["6", "7"]), ("uuid", ["id-1", "id-2"])])
def test_keys_are_assigned_as_the_mapping_says(connector: MemoryConnector, world: MemoryWorld, assign: str, wanted: list[str]):
    table = world.tables["people"]
    for key in ("5", "7"):
        table.insert({"id": key})
    ids = iter(["id-1", "id-2"])
    world.new_id = lambda: next(ids)
    rows = pl.DataFrame({"__op": [1], "__key": [None], "short": ["n"]}, schema_overrides={"__key": pl.String})
    obj = replace(PEOPLE, assign=assign)
    first = connector.write(obj, WriteBatch(kind="create", rows=rows)).get_column("__key").to_list()[0]
    if assign == "system":
        table.remove(first)  # a system's counter never goes back, a sequence does
    else:
        table.remove("7")
        wanted = wanted if assign == "uuid" else ["8", "9"]
    second = connector.write(obj, WriteBatch(kind="create", rows=rows)).get_column("__key").to_list()[0]
    assert [first, second] == wanted


def test_a_renamed_row_leaves_a_tombstone(connector: MemoryConnector, world: MemoryWorld):
    world.tables["people"].edit("a", {"id": "z"})
    page = list(connector.read(PEOPLE, []))[-1]
    assert (sorted(keys_of(iter([page]))), page.gone) == (["b", "c", "d", "z"], ("a",))


def test_a_world_that_is_down_answers_nothing(connector: MemoryConnector, world: MemoryWorld):
    world.down = "down for maintenance"
    for call in (connector.discover, lambda: connector.describe(PEOPLE), lambda: connector.read(PEOPLE, [])):
        with pytest.raises(SystemUnreachableError, match="maintenance"):
            call()


def test_worlds_are_found_by_name_until_forgotten():
    world = MemoryWorld.named("found-by-name")
    world.add_table("people", [ColumnInfo(name="id", type="text")], ["id"]).insert({"id": "a"})
    opened = MemoryConnector.open("crm", {"world": "found-by-name"})
    assert keys_of(opened.read(ObjectSpec(name="people", key=("id",)), [])) == ["a"]
    opened.close()
    MemoryWorld.forget("found-by-name")
    assert MemoryWorld.named("found-by-name").tables == {}
