"""Records that all systems tell otherwise and alike: decided about at once, and just as the rebase decides about them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.core.tools import ADA, agreed, entity, golden, known, owed, read_before, shadow, shows
from trueup.core.cells import GID, NULL, STILL
from trueup.core.facts import Decision, Facts
from trueup.core.reconcile import reconcile
from trueup.core.retold import candidates, fields_alike, index_of, retold
from trueup.core.shadow import decode_delta
from trueup.model import Entity, Field, FieldMapping
from trueup.model import Mapping as SystemMapping

SHAPE = entity()
LOUD = {"name": "ADA", "email": "ada@example.com"}
QUIET = {"name": "ada"}


def still(facts: Facts) -> Facts:
    """The same rows, which nobody touched: only what may read otherwise is told of them."""
    observed = {}
    for system, rows in facts.observed.items():
        told = facts.reread.get(system, frozenset())
        other = [name for name in facts.entity.fields if name in rows.columns and name not in told]
        observed[system] = rows.drop(other).with_columns(pl.lit(value=True).alias(STILL))
    return replace(facts, observed=observed)


def told(facts: Facts) -> tuple[dict[int, dict[str, Any]], set[int]]:
    """What is told otherwise at once, and which records are decided about."""
    names = fields_alike(facts.entity, facts.reread)
    said = candidates(facts.entity, names, facts.observed) if names else pl.DataFrame(schema={GID: pl.Int64()})
    odd = {row["gid"] for row in facts.shadows.iter_rows(named=True) if row["seen"] or row["sent"] or row["state"]}
    plain = facts.golden.filter(~pl.col("id").is_in(list(odd)) & pl.col("deleted_at").is_null() & pl.col("alias_of").is_null())
    if said.is_empty():
        return {}, set()
    after, done = retold(facts.entity, names, said, plain.select("id", "data"))
    return {gid: orjson.loads(data) for gid, data in after.rows()}, set(done)


def lowered(*systems: str, shape: Entity = SHAPE, record: dict[str, str] | None = None, **others: Any) -> Facts:
    """One record, known in capital letters, of which the name is told in small ones now."""
    facts = agreed(shape, {1: LOUD | (record or {})}, **others)
    facts = shows(facts, **{system: {1: QUIET} for system in systems})
    return still(read_before(facts, **{system: {1: {"name": ["ADA"]}} for system in systems}))


def test_what_all_systems_tell_otherwise_and_alike_is_told_at_once():
    after, done = told(lowered("crm", "shop"))
    assert after == {1: ADA | QUIET}
    assert done == {1}


def test_told_again_there_is_nothing_to_do():
    facts = lowered("crm", "shop")
    facts = replace(facts, golden=pl.DataFrame([golden(SHAPE, 1, LOUD | QUIET)], schema=facts.golden.schema))
    both = {system: rows.with_columns(pl.Series("__was:name", [["ADA", "ada"]])) for system, rows in facts.observed.items()}
    assert told(replace(facts, observed=both)) == ({}, {1})


@pytest.mark.parametrize("name", ["Ann $1 ${name}", "安娜 🎉", 'Ann "the cat"', "a\\b", "{", 'x","name":"y', "O'Neil", "", NULL])
@pytest.mark.parametrize("other", ["ada@example.com", '{"name":"ADA"}', '","name":"ADA"', "back\\slash"])
def test_whatever_the_values_are(name: str, other: str) -> None:
    facts = shows(agreed(SHAPE, {1: {"name": "ADA", "email": other}}), crm={1: {"name": name}}, shop={1: {"name": name}})
    facts = still(read_before(facts, crm={1: {"name": ["ADA"]}}, shop={1: {"name": ["ADA"]}}))
    after, done = told(facts)
    assert after in ({}, {1: {"name": None if name == NULL else name, "email": other}})
    assert bool(after) == bool(done) == ("{" not in other), "a brace in it may be an object of a field that is gone"
    back = shows(agreed(SHAPE, {1: {"name": name, "email": other}}), crm={1: {"name": "ADA"}}, shop={1: {"name": "ADA"}})
    back = still(read_before(back, crm={1: {"name": [name]}}, shop={1: {"name": [name]}}))
    assert told(back)[0] in ({}, {1: {"name": "ADA", "email": other}})


@pytest.mark.parametrize(
    "facts",
    [
        lowered("crm"),
        lowered("crm", "shop", deltas=[shadow(1, "shop", seen={"name": "Ada"})]),
        lowered("crm", "shop", deltas=[shadow(1, "shop", sent={"email": "old@example.com"})]),
        lowered("crm", "shop", deltas=[shadow(1, "crm", state=1)]),
        replace(lowered("crm", "shop"), observed={}),
        lowered("crm", "shop", shape=entity(writes=["shop"])),
        lowered("crm", "shop", shape=entity(Field(name="name", type="list"))),
    ],
    ids=["one system", "a form of its own", "something due", "gone", "nothing read", "only written", "a list"],
)
def test_all_else_is_for_the_rebase(facts: Facts) -> None:
    assert told(facts) == ({}, set())


def test_an_owner_that_does_not_show_its_field_is_for_the_rebase():
    crm, shop = (
        SystemMapping(
            entity="customer", system=name, object=SHAPE.mappings[name].object, fields={n: FieldMapping(field=n, column=n) for n in shown}
        )
        for name, shown in (("crm", ("name", "email")), ("shop", ("email",)))
    )
    shape = replace(SHAPE, fields={**SHAPE.fields, "name": Field(name="name", source_of_truth="shop")}, mappings={"crm": crm, "shop": shop})
    assert fields_alike(shape, {"crm": frozenset({"name"})}) == ()
    assert fields_alike(SHAPE, {"crm": frozenset({"name"}), "shop": frozenset({"name"})}) == ("name",)
    assert fields_alike(SHAPE, {"crm": frozenset({"name"})}) == (), "the other one reads it as ever"


CELLS = st.sampled_from(["a", "b", NULL])


@st.composite
def several(draw: st.DrawFn) -> Facts:
    """A few records in two systems, of which most read otherwise now, and most of these alike."""
    owner = draw(st.sampled_from([None, "crm", "shop"]))
    shape = entity(Field(name="name", source_of_truth=owner), match=(("name",),))
    goldens, shadows = [], []
    now: dict[str, dict[int, dict[str, str]]] = {}
    was: dict[str, dict[int, dict[str, list[str]]]] = {}
    for gid in range(1, draw(st.integers(1, 4)) + 1):
        cell, after = draw(CELLS), draw(CELLS)
        goldens.append(golden(shape, gid, {"name": cell, "email": f"{gid}@example.org"}))
        for system in ("crm", "shop"):
            seen = draw(st.sampled_from([cell] * 5 + ["c"]))
            shadows.append(shadow(gid, system, seen={} if seen == cell else {"name": seen}))
            if draw(st.integers(0, 5)):
                now.setdefault(system, {})[gid] = {"name": draw(st.sampled_from([after] * 5 + ["a"]))}
                was.setdefault(system, {})[gid] = {"name": draw(st.sampled_from([[cell]] * 5 + [["a", cell], ["c"], []]))}
    return still(read_before(shows(known(shape, goldens, shadows), **now), **was))


@given(several())
@settings(max_examples=settings().max_examples // 4)  # each costs what a dozen others do
def test_the_rebase_decides_just_so(facts: Facts) -> None:
    after, done = told(facts)
    decision = reconcile(facts)
    names = fields_alike(facts.entity, facts.reread)
    mine = pl.col("id").is_in(list(done))
    assert {gid: orjson.loads(data) for gid, data in decision.golden.filter(mine).select("id", "data").rows()} == after
    origins = decision.golden.filter(mine).drop("data").join(facts.golden, on=["id", "origin_system", "origin_at"], how="anti")
    assert origins.is_empty(), "it came from where it came from"
    quiet(facts, decision, done)
    rows = pl.DataFrame(
        {"id": list(after), "data": [orjson.dumps(said).decode() for said in after.values()]}, schema={"id": pl.Int64, "data": pl.String}
    )
    index, indexed = index_of(facts.entity, names, rows)
    of_mine = pl.col(GID).is_in(indexed.implode())
    assert set(index.rows()) == set(decision.index.filter(of_mine).rows())
    assert set(indexed) >= set(decision.indexed) & done


def quiet(facts: Facts, decision: Decision, done: set[int]) -> None:
    """The rebase finds nothing else in these records: no shadow says anything, nobody need know of anything, and nothing is due."""
    after = decision.after.filter(pl.col("gid").is_in(list(done)))
    assert not any(decode_delta(row[column]) for row in after.iter_rows(named=True) for column in ("seen", "sent"))
    for frame in (decision.history, decision.frozen, decision.thawed):
        assert frame.filter(pl.col(GID).is_in(list(done))).is_empty()
    for system in facts.entity.mappings:
        assert owed(facts, decision, system).updates.filter(pl.col(GID).is_in(list(done))).is_empty()


@pytest.mark.slow
def test_most_of_them_are_decided_about_at_once():
    """That the comparison above is about something."""
    found = []

    @given(several())
    @settings(deadline=None, database=None)
    def look(facts: Facts) -> None:
        found.append(len(told(facts)[0]))

    look()
    assert sum(found) > len(found) / 5
