"""Records that become one: which values stand, which rows come along, and the way back."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import polars as pl
import pytest

from trueup.core.cells import GID
from trueup.core.facts import GOLDEN_SCHEMA, GONE_SCHEMA, MISSING, PRESENT, SHADOW_SCHEMA, Facts
from trueup.core.merge import NO_CANDIDATES, Merged
from trueup.core.shadow import decode_delta
from trueup.core.unite import COMPLETE, FIRST, GAVE_WAY, OLDER, ONLY, RECENT, Member, members, part, ranked, standing, taken, unite
from trueup.model import Entity, Field, FieldMapping, Mapping, ObjectSpec

EARLY, LATE = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 6, 1, tzinfo=UTC)
NOW = datetime(2026, 11, 1, tzinfo=UTC)
FIELDS = ("name", "phone", "tags")


def entity(**rules: Any) -> Entity:
    """Customers in a shop and a list; `rules` are what a field is beside its name."""
    plain: dict[str, dict[str, Any]] = {"name": {}, "phone": {}, "tags": {"type": "list", "conflict": "union"}}
    fields = {name: Field(name=name, **(plain[name] | rules.get(name, {}))) for name in FIELDS}
    columns = {name: FieldMapping(field=name, column=name) for name in FIELDS}
    mappings = {
        system: Mapping(entity="customer", system=system, object=ObjectSpec(name="t", key=("id",)), fields=columns)
        for system in ("shop", "list")
    }
    return Entity(name="customer", fields=fields, mappings=mappings, match=(("phone",),), precedence=("shop", "list"))


def golden(gid: int, data: dict[str, Any], system: str = "shop", at: datetime = EARLY, alias_of: int | None = None) -> dict[str, Any]:
    return {
        "id": gid,
        "data": orjson.dumps(data).decode(),
        "origin_system": system,
        "origin_at": at,
        "origins": None,
        "version": gid,
        "deleted_at": None,
        "alias_of": alias_of,
    }


def shadow(gid: int, system: str, key: str, **more: Any) -> dict[str, Any]:
    return dict.fromkeys(SHADOW_SCHEMA) | {"gid": gid, "system": system, "key": key, "khash": 1, "state": PRESENT} | more


def known(one: Entity, rows: list[dict[str, Any]], shadows: list[dict[str, Any]]) -> list[Member]:
    frames = pl.DataFrame(rows, schema=GOLDEN_SCHEMA), pl.DataFrame(shadows, schema=SHADOW_SCHEMA)
    return ranked(one, list(members(one, *frames).values()))


@pytest.mark.parametrize(
    ("rule", "mine", "other", "stands", "why"),
    [
        ({}, ("Ann", "shop", EARLY), (None, "list", LATE), "Ann", ONLY),
        ({"conflict": "last_write_wins"}, ("Ann", "shop", EARLY), ("Anne", "list", LATE), "Anne", "last_write_wins"),
        ({"conflict": "first_write_wins"}, ("Ann", "shop", LATE), ("Anne", "list", EARLY), "Anne", "first_write_wins"),
        ({"conflict": "max"}, ("Ann", "shop", EARLY), ("Bea", "list", EARLY), "Bea", "max"),
        ({"conflict": "min"}, ("Bea", "shop", EARLY), ("Ann", "list", EARLY), "Ann", "min"),
        ({"source_of_truth": "list"}, ("Ann", "shop", LATE), ("Anne", "list", EARLY), "Anne", "source of truth"),
        ({}, ("Ann", "list", EARLY), ("Anne", "shop", LATE), "Anne", RECENT),
        ({}, ("Ann", "list", EARLY), ("Anne", "shop", EARLY), "Anne", FIRST),
        ({}, ("Ann", "shop", EARLY), ("Anne", "shop", EARLY), "Ann", OLDER),
    ],
)
def test_which_value_stands(rule, mine, other, stands, why):
    one = entity(name=rule)
    rows = [
        golden(gid, {"name": name, "phone": "1"} if name else {"phone": "1"}, system, at)
        for gid, (name, system, at) in ((1, mine), (2, other))
    ]
    shadows = [shadow(gid, system, str(gid)) for gid, (_name, system, _at) in ((1, mine), (2, other))]
    for order in (1, -1):
        found = standing(one, "name", known(one, rows[::order], shadows))
        assert found is not None
        assert (found.value.cell, found.why) == (stands, why)


def test_the_most_complete_record_stays_and_a_missing_value_never_wins():
    one = entity()
    rows = [golden(1, {"name": "Ann"}, at=LATE), golden(2, {"name": "Anne", "phone": "5"}, "list")]
    first, other = known(one, rows, [])
    assert (first.id, other.id) == (2, 1)
    found = standing(one, "name", [first, other])
    assert found is not None
    assert (found.value.cell, found.why) == ("Anne", COMPLETE)
    assert standing(one, "tags", [first, other]) is None


def test_rows_come_along_holding_what_they_held():
    """The list's row shows a form of its own; afterwards it still does, and the agreed value is due there."""
    one = entity()
    rows = [golden(1, {"name": "Ann", "phone": "5", "tags": ["a"]}), golden(2, {"name": "Anne", "tags": ["b"]}, "list")]
    seen = orjson.dumps({"name": "ANNE"}).decode()
    group = known(one, rows, [shadow(1, "shop", "s1"), shadow(2, "list", "l2", seen=seen), shadow(2, "shop", "s2")])
    done = unite(one, [group], NOW)
    after = {row["system"]: row for row in done.decision.after.rows(named=True)}
    assert {system: (row["gid"], row["key"]) for system, row in after.items()} == {"shop": (1, "s1"), "list": (1, "l2")}
    assert decode_delta(after["list"]["seen"])["name"] == "ANNE"
    assert decode_delta(after["list"]["sent"])["name"] == "Anne", "it stands for what it was given, so that Ann is due there"
    assert decode_delta(after["shop"]["sent"]).keys() == {"tags"}, "the list of both is due in the shop"
    assert done.doubles.rows() == [(1, "shop", "s2")]
    assert done.decision.removed.rows() == [(2, "shop", "s2")]
    aliases = done.decision.golden.filter(pl.col("alias_of").is_not_null())
    assert aliases.select("id", "alias_of", "data").rows() == [(2, 1, rows[1]["data"])], "what it was stays known"
    told = done.decision.history.filter(pl.col("kind") == GAVE_WAY)
    assert ("name", "Anne") in told.select("field", "after").rows()
    assert set(done.decision.indexed.to_list()) == {1, 2}


def test_a_row_that_vanished_makes_room():
    one = entity()
    rows = [golden(1, {"name": "Ann", "phone": "5"}), golden(2, {"name": "Ann"}, "list")]
    group = known(one, rows, [shadow(1, "list", "l1", state=MISSING), shadow(1, "shop", "s1"), shadow(2, "list", "l2")])
    done = unite(one, [group], NOW)
    assert done.doubles.is_empty()
    assert {row["system"]: row["key"] for row in done.decision.after.rows(named=True)} == {"shop": "s1", "list": "l2"}
    assert done.decision.removed.rows() == [(1, "list", "l1")]


def test_parting_gives_back_what_was_there():
    one = entity()
    rows = [golden(1, {"name": "Ann", "phone": "5"}), golden(2, {"name": "Anne"}, "list")]
    shadows = [shadow(1, "shop", "s1"), shadow(2, "list", "l2"), shadow(2, "shop", "s2", seen=orjson.dumps({"name": "ANNE"}).decode())]
    done = unite(one, [known(one, rows, shadows)], NOW)
    ((_gid, detail),) = done.told
    facts = Facts(
        entity=one,
        observed={},
        gone=pl.DataFrame(schema=GONE_SCHEMA),
        golden=pl.DataFrame(rows[:1], schema=GOLDEN_SCHEMA),
        shadows=done.decision.after,
        frozen=NO_CANDIDATES,
        now=NOW,
    )
    back = part(facts, [taken(detail, rows[1] | {"alias_of": 1})], frozenset({("shop", "s2")}), Merged())
    after = {(row["gid"], row["system"]): row for row in back.after.rows(named=True)}
    assert {place: row["key"] for place, row in after.items()} == {(1, "shop"): "s1", (2, "list"): "l2", (2, "shop"): "s2"}
    assert after[2, "list"]["sent"] is None, "it was told nothing else, so that nothing is due there"
    assert decode_delta(after[2, "shop"]["seen"]) == {"name": "ANNE"}
    assert back.golden.filter(pl.col("id") == 2)["alias_of"].to_list() == [None]
    assert set(back.records[GID].to_list()) == {1, 2}
