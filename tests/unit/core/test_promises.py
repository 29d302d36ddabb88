"""What one pass promises whatever systems hold and show: no order, no echo, no lost edit, agreement after delivery."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import polars as pl
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.unit.core.tools import absolute, candidate, delivered, entity, golden, hours, known, owed, plain, shadow, shows, shuffled, value
from trueup.core.cells import GID, NULL, SYSTEM
from trueup.core.facts import FILTERED, PRESENT, SHADOW_SCHEMA, Facts
from trueup.core.reconcile import reconcile
from trueup.model import Deletes, Field

SYSTEMS = ("crm", "shop", "till")
PHASES = [phase for phase in Phase if phase is not Phase.explain]  # which takes minutes, and says little here
FIELDS = (
    Field(name="phone", source_of_truth="crm"),
    Field(name="town", conflict="last_write_wins"),
    Field(name="referrer", conflict="first_write_wins"),
    Field(name="points", type="integer", conflict="add"),
    Field(name="record", type="integer", conflict="max"),
    Field(name="tags", type="list", conflict="union"),
    Field(name="notes", conflict="text"),
    Field(name="limit", type="integer", conflict="rule", rule="least(incoming, golden)", hold_if="incoming < 2"),
)
MERGED = ("points", "tags", "notes")
"""Fields of which every side's work is kept, so that no single edit need be found again."""
DELETES = Deletes(sources=("crm", "shop"), action="propagate")
ENTITIES = [
    entity(*FIELDS, systems=SYSTEMS, match=(("email",),), deletes=DELETES, **more)
    for more in ({}, {"reads": ["till"]}, {"writes": ["till"]}, {"explicit_precedence": True})
]
TEXTS = st.sampled_from([NULL, "", "a", "b"])
NUMBERS = ["1", "2", "30"]
VALUES = dict.fromkeys(("name", "email", "phone", "town", "referrer"), TEXTS) | {
    "points": st.sampled_from(NUMBERS),
    "record": st.sampled_from([NULL, *NUMBERS]),
    "limit": st.sampled_from([NULL, *NUMBERS]),
    "notes": st.sampled_from([NULL, "", "a\nb\nc", "x\nb\nc", "a\nb\ny", "a\nz\nc"]),
    "tags": st.sampled_from([NULL, "[]", '["x"]', '["x","y"]']),
}
CELLS = st.fixed_dictionaries(VALUES)
SOME = st.fixed_dictionaries({}, optional=VALUES)
MOMENTS = st.sampled_from([None, hours(-30), hours(-2), hours(3)])


@st.composite
def worlds(draw: st.DrawFn, *, settled: bool = False) -> Facts:
    """Three records, what systems hold and stand for, and what they show now; `settled`: before that all agreed, and nobody vanishes."""
    shape = draw(st.sampled_from(ENTITIES))
    records = {gid: draw(CELLS) for gid in (1, 2, 3)}
    shadows = []
    for gid in records:
        for system in SYSTEMS:
            if settled:
                shadows.append(shadow(gid, system))
            elif draw(st.integers(0, 4)):
                deltas = (draw(SOME), draw(SOME)) if draw(st.booleans()) else ({}, {})
                shadows.append(
                    shadow(gid, system, seen=deltas[0], sent=deltas[1], state=draw(st.sampled_from([PRESENT, PRESENT, FILTERED])))
                )
    facts = known(shape, [golden(shape, gid, cells) for gid, cells in records.items()], shadows)
    for system in SYSTEMS:
        linked = {row["gid"] for row in shadows if row["system"] == system}
        shown = {gid: draw(SOME if gid in linked else CELLS) for gid in records if draw(st.booleans())}
        facts = shows(facts, draw(MOMENTS), **{system: shown})
    if not settled and draw(st.booleans()):
        others = draw(st.dictionaries(st.sampled_from(SYSTEMS), st.sampled_from("ab"), min_size=1))
        waiting = [candidate(None, records[1]["name"]), *(candidate(system, said) for system, said in others.items())]
        facts = replace(facts, frozen=known(shape, frozen=waiting).frozen)
    if not settled and draw(st.booleans()):
        there = [(row["gid"], row["system"]) for row in shadows]
        silent = [pair for pair in there if pair[0] not in facts.observed[pair[1]][GID].to_list()]
        gone = draw(st.lists(st.sampled_from(silent), unique=True, max_size=3)) if silent else []
        facts = replace(facts, gone=known(shape, gone=gone).gone)
    return facts


@settings(max_examples=25, phases=PHASES)
@given(worlds(), st.randoms(use_true_random=False))
def test_the_order_of_systems_and_rows_never_matters(facts: Facts, random: Random) -> None:
    assert plain(reconcile(shuffled(facts, random))) == plain(reconcile(facts))


@settings(max_examples=15, phases=PHASES)
@given(worlds())
def test_the_same_facts_give_the_same_decision_and_stay_as_they_are(facts: Facts) -> None:
    frames = {name: getattr(facts, name).clone() for name in ("gone", "golden", "shadows", "frozen")}
    assert plain(reconcile(facts)) == plain(reconcile(facts))
    assert all(getattr(facts, name).equals(frame) for name, frame in frames.items())


@settings(max_examples=25, phases=PHASES)
@given(worlds())
def test_an_edit_is_agreed_or_its_value_is_in_the_history(facts: Facts) -> None:
    """Or in the queue, or it says what was agreed before; null says nothing at first contact, and a reused key nothing at all."""
    shape = facts.entity
    decision = reconcile(facts)
    stood, stand = facts.golden, decision.records.unpivot(index=GID)
    agreed_values = {(gid, name): cell for gid, name, cell in stand.rows()}
    kept = {
        row
        for frame, said in ((decision.history, "after"), (decision.frozen, "value"))
        for row in frame.select(GID, "field", said).rows()  # two systems that said the same are told as one
    }
    reused = set(decision.reused.select(GID, SYSTEM).rows())
    for system, rows in facts.observed.items():
        seen = absolute(stood, facts.shadows, shape, system, "seen")
        before = absolute(stood, pl.DataFrame([shadow(gid, system) for gid in (1, 2, 3)], schema=SHADOW_SCHEMA), shape, system, "seen")
        for row in rows.filter(~pl.col(GID).is_in([gid for gid, where in reused if where == system])).iter_rows(named=True):
            gid = row[GID]
            for name in (name for name in shape.shown(system) if name not in MERGED):
                said = row[name]
                if said not in (NULL, before[gid][name], seen.get(gid, {}).get(name)):
                    assert said == agreed_values[gid, name] or (gid, name, said) in kept, (gid, name, system, said)


@settings(max_examples=25, phases=PHASES)
@given(worlds(settled=True))
def test_after_delivery_all_hold_what_is_agreed_and_the_next_pass_is_quiet(facts: Facts) -> None:
    """A system that is only read holds what it likes."""
    decision = reconcile(facts)
    after = delivered(facts, decision)
    open_cells = set(decision.frozen_pairs.rows())
    reused = set(decision.reused.select(GID, SYSTEM).rows())
    shown = {system: absolute(after.golden, after.shadows, facts.entity, system, "seen") for system in SYSTEMS}
    for system, records in shown.items():
        for gid, cells in records.items():
            written = [name for name in facts.entity.written(system) if (gid, name) not in open_cells]
            assert all(cells[name] == value(decision, name, gid) for name in written) or (gid, system) in reused
    again = shows(after, **shown)
    quiet = reconcile(again)
    assert quiet.golden.is_empty()
    assert quiet.history.is_empty()
    assert [owed(again, quiet, system).rows for system in SYSTEMS] == [0, 0, 0]
