"""Decisions about different records, taken together."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime

import polars as pl

from trueup.core.births import births
from trueup.core.cells import AT, GID, KEY
from trueup.core.facts import FINGERPRINT, KHASH, Decision, joined
from trueup.model import Entity, Field, FieldMapping, Mapping, ObjectSpec

NOW = datetime(2026, 11, 20, tzinfo=UTC)
CRM = Mapping(
    entity="customer",
    system="crm",
    object=ObjectSpec(name="crm", key=("id",)),
    fields={"name": FieldMapping(field="name", column="name")},
    direction="both",
)
ENTITY = Entity(name="customer", fields={"name": Field(name="name")}, mappings={"crm": CRM}, match=(("name",),), precedence=("crm",))


def decision(gid: int) -> Decision:
    """A decision of which every part tells which record it is about."""
    rows = pl.DataFrame(
        {GID: [gid], KEY: [str(gid)], KHASH: [gid], FINGERPRINT: [gid], AT: [NOW], "name": [f"n{gid}"]},
        schema_overrides={AT: pl.Datetime("us", "UTC")},
    )
    made = births(ENTITY, "crm", rows, NOW)
    for part in fields(Decision):
        value = getattr(made, part.name)
        if isinstance(value, pl.DataFrame):
            empty = value.clear()
            one = pl.DataFrame({name: [gid if kind.is_integer() else None] for name, kind in empty.schema.items()}, schema=empty.schema)
            setattr(made, part.name, one)
        elif isinstance(value, pl.Series):
            setattr(made, part.name, pl.Series(value.name, [gid], dtype=value.dtype))
        elif isinstance(value, dict):
            setattr(made, part.name, {"crm": gid, f"only {gid}": 1})
        else:
            setattr(made, part.name, gid)
    return made


def test_no_part_of_a_decision_is_left_out():
    both = joined([decision(3), decision(4)])
    for part in fields(Decision):
        value = getattr(both, part.name)
        if isinstance(value, pl.DataFrame | pl.Series):
            assert len(value) == 2, part.name
        elif isinstance(value, dict):
            assert value == {"crm": 7, "only 3": 1, "only 4": 1}, part.name
        else:
            assert value == 7, part.name
