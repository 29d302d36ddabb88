"""A person's word about one field: the golden value moves, and every shadow knows exactly what its system knows."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest

from trueup.core.cells import GID, KEY, NULL, SYSTEM
from trueup.core.facts import GOLDEN_SCHEMA, GONE_SCHEMA, SHADOW_SCHEMA, Decision, Facts
from trueup.core.merge import FREEZE_SCHEMA
from trueup.core.resolve import Ruling, resolve, settled_cell
from trueup.core.shadow import decode_delta, encode_delta
from trueup.model import CleanStep, Entity, Field, FieldMapping, Mapping, ObjectSpec

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
THEN = datetime(2026, 11, 19, 12, tzinfo=UTC)


def entity(**fields: Field) -> Entity:
    """An entity that three systems share; `reader` is only read."""
    every = {"name": Field(name="name"), "email": Field(name="email"), **fields}
    mappings = {
        system: Mapping(
            entity="customer",
            system=system,
            object=ObjectSpec(name=system, key=("id",)),
            fields={name: FieldMapping(field=name, column=name) for name in every},
            direction="read" if system == "reader" else "both",
        )
        for system in ("crm", "sheet", "reader")
    }
    return Entity(name="customer", fields=every, mappings=mappings, match=(("email",),), precedence=tuple(mappings))


def facts(seen: dict[str, dict[str, str]], sent: dict[str, dict[str, str]], candidates: dict[str, str]) -> Facts:
    """One record named Ada, what three systems hold and stand for, and an open conflict about its name."""
    golden = pl.DataFrame(
        [(1, '{"name":"Ada","email":"ada@example.com"}', "crm", THEN, None, 5, None, None)], schema=GOLDEN_SCHEMA, orient="row"
    )
    shadows = pl.DataFrame(
        [
            (
                1,
                system,
                "7",
                7,
                70,
                encode_delta(dict(seen.get(system, {}))),
                encode_delta(dict(sent.get(system, {}))),
                None,
                None,
                None,
                None,
                0,
            )
            for system in ("crm", "sheet", "reader")
        ],
        schema=SHADOW_SCHEMA,
        orient="row",
    )
    frozen = pl.DataFrame(
        [(1, "name", system, value, THEN, True, "Ada", "conflict") for system, value in candidates.items()],
        schema=FREEZE_SCHEMA,
        orient="row",
    )
    return Facts(
        entity=entity(), observed={}, gone=pl.DataFrame(schema=GONE_SCHEMA), golden=golden, shadows=shadows, frozen=frozen, now=NOW
    )


def disputed() -> Facts:
    """crm says One, sheet says Two; the golden value is still Ada, as the reader has it."""
    both = {"crm": {"name": "One"}, "sheet": {"name": "Two"}}
    return facts(both, both, {"crm": "One", "sheet": "Two"})


def deltas(decision: Decision, column: str) -> dict[str, Any]:
    return {row["system"]: decode_delta(row[column]) for row in decision.after.iter_rows(named=True)}


def test_taking_a_systems_value():
    decision = resolve(disputed(), Ruling(1, "name", "One", "crm", "a person took the value of crm"))
    assert decision.records["name"].to_list() == ["One"]
    assert deltas(decision, "seen") == {"crm": {}, "sheet": {"name": "Two"}, "reader": {"name": "Ada"}}
    assert deltas(decision, "sent") == {"crm": {}, "sheet": {"name": "Two"}, "reader": {}}, "only the sheet is still to be told"
    assert decision.thawed.rows() == [(1, "name")]
    assert decision.frozen.is_empty()
    assert decision.frozen_pairs.is_empty()
    told = {(row["kind"], row[SYSTEM], row["before"], row["after"]) for row in decision.history.iter_rows(named=True)}
    assert told == {("resolved", "crm", "Ada", "One"), ("lost", "sheet", "Ada", "Two")}
    assert decision.golden["origins"][0] == '{"name":["crm","2026-11-20T12:00:00.000000Z"]}'


def test_a_persons_own_value_is_due_everywhere():
    decision = resolve(disputed(), Ruling(1, "name", "Three", None, "a person gave this value"))
    assert deltas(decision, "seen") == {"crm": {"name": "One"}, "sheet": {"name": "Two"}, "reader": {"name": "Ada"}}
    assert deltas(decision, "sent") == {"crm": {"name": "One"}, "sheet": {"name": "Two"}, "reader": {}}
    assert decision.golden["origins"][0] == '{"name":[null,"2026-11-20T12:00:00.000000Z"]}'


def test_the_value_that_stands_is_confirmed():
    """Nothing moves, but the conflict ends and the others are told."""
    decision = resolve(disputed(), Ruling(1, "name", "Ada", None, "a person gave this value"))
    assert decision.golden.is_empty()
    assert deltas(decision, "sent")["sheet"] == {"name": "Two"}
    assert decision.thawed.height == 1
    assert decision.history["kind"].to_list() == ["resolved", "lost", "lost"]


def test_a_system_that_agreed_all_along_is_not_written():
    seen = {"crm": {"name": "One"}, "sheet": {"name": "One"}, "reader": {"name": "Two"}}
    decision = resolve(
        facts(seen, {"crm": {"name": "One"}, "sheet": {"name": "One"}}, {"crm": "One", "reader": "Two"}),
        Ruling(1, "name", "One", "crm", "x"),
    )
    assert deltas(decision, "sent") == {"crm": {}, "sheet": {}, "reader": {}}


def test_another_open_field_stays_open():
    base = disputed()
    more = pl.DataFrame([(1, "email", "crm", "x@y.z", THEN, True, "a", "conflict")], schema=FREEZE_SCHEMA, orient="row")
    base = Facts(
        entity=base.entity,
        observed={},
        gone=base.gone,
        golden=base.golden,
        shadows=base.shadows,
        frozen=pl.concat([base.frozen, more]),
        now=NOW,
    )
    decision = resolve(base, Ruling(1, "name", "One", "crm", "x"))
    assert decision.frozen_pairs.select(GID, "field").rows() == [(1, "email")]


def test_it_is_not_mixed_with_observations():
    base = disputed()
    mixed = Facts(
        entity=base.entity,
        observed={"crm": pl.DataFrame({GID: [1], KEY: ["7"]})},
        gone=base.gone,
        golden=base.golden,
        shadows=base.shadows,
        frozen=base.frozen,
        now=NOW,
    )
    with pytest.raises(ValueError, match="new observations"):
        resolve(mixed, Ruling(1, "name", "One", "crm", "x"))
    with pytest.raises(ValueError, match="no golden record 2"):
        resolve(base, Ruling(2, "name", "One", "crm", "x"))


def test_values_of_people_are_typed_cleaned_and_checked():
    shaped = entity(
        name=Field(name="name", required=True, clean=(CleanStep("trim"),)),
        tags=Field(name="tags", type="list"),
        price=Field(name="price", type="decimal", scale=2, minimum=0),
        open=Field(name="open", type="boolean"),
    )
    assert settled_cell("  Ada ", shaped, "name") == "Ada"
    assert settled_cell("b; a;b", shaped, "tags") == '["a","b"]'
    assert settled_cell("1.50", shaped, "price") == "1.5"
    assert settled_cell("yes", shaped, "open") == "true"
    assert settled_cell(None, shaped, "price") == NULL
    for value, name, reason in (
        (" ", "name", "required"),
        ("-1", "price", "minimum"),
        ("much", "price", "much"),
        ("perhaps", "open", "perhaps"),
    ):
        with pytest.raises(ValueError, match=reason):
            settled_cell(value, shaped, name)
