"""Facts about a few records, written by hand, and what a decision says about them, in plain values.

Cells are written as in the core: `None` is absent, `NULL` is null. Where a test does not say otherwise there is one record, number 1.
"""

from __future__ import annotations

from collections.abc import Mapping as MappingType
from collections.abc import Sequence
from dataclasses import fields as parts_of
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import polars as pl

from trueup.core.cells import ASIDE, AT, GID, KEY, SYSTEM, VERSION, WAS, json_to_records, records_to_json
from trueup.core.deliver import FIELDS, Due, due
from trueup.core.facts import FINGERPRINT, GOLDEN_SCHEMA, GONE_SCHEMA, KHASH, SHADOW_SCHEMA, Decision, Facts
from trueup.core.merge import FREEZE_SCHEMA
from trueup.core.shadow import decode_delta, encode_delta
from trueup.model import Entity, Field, FieldMapping, Mapping, ObjectSpec

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
THEN = NOW - timedelta(days=1)
"""When the golden values of these tests were said, where a test does not say otherwise."""

Cells = MappingType[str, str | None]
ADA = {"name": "Ada", "email": "ada@example.com"}
READ_SCHEMA = {
    GID: pl.Int64(),
    KEY: pl.String(),
    KHASH: pl.Int64(),
    FINGERPRINT: pl.Int64(),
    AT: pl.Datetime("us", "UTC"),
    VERSION: pl.String(),
}


def hours(number: float) -> datetime:
    """A moment so many hours from now (negative: ago)."""
    return NOW + timedelta(hours=number)


# ---------------------------------------------------------------- what is known


def entity(
    *fields: Field,
    systems: Sequence[str] = ("crm", "shop"),
    reads: Sequence[str] = (),
    writes: Sequence[str] = (),
    maps: MappingType[str, Sequence[FieldMapping]] | None = None,
    **options: Any,
) -> Entity:
    """An entity with a name, an e-mail address and `fields`, each a column of that name in every system.

    `reads` are systems that are only read, `writes` those that are only written; `maps` replaces what a system shows.
    """
    every = {"name": Field(name="name"), "email": Field(name="email")} | {item.name: item for item in fields}
    mappings = {}
    for system in systems:
        shown = (maps or {}).get(system) or [FieldMapping(field=name, column=name) for name in every]
        mappings[system] = Mapping(
            entity="customer",
            system=system,
            object=ObjectSpec(name=system, key=("id",)),
            fields={item.field: item for item in shown},
            direction="read" if system in reads else "write" if system in writes else "both",
        )
    return Entity(name="customer", fields=every, mappings=mappings, **({"precedence": tuple(systems)} | options))


def golden(shape: Entity, gid: int, cells: Cells, **columns: Any) -> dict[str, Any]:
    """A golden row; `columns` as in GOLDEN_SCHEMA."""
    data = records_to_json(pl.DataFrame([dict(cells)], schema=dict.fromkeys(cells, pl.String())), shape.fields)[0]
    return dict.fromkeys(GOLDEN_SCHEMA) | {"id": gid, "data": data, "origin_system": "crm", "origin_at": THEN, "version": 1} | columns


def shadow(gid: int, system: str, *, seen: Cells | None = None, sent: Cells | None = None, **columns: Any) -> dict[str, Any]:
    """What a system holds and stands for where that is not the golden value; `columns` as in SHADOW_SCHEMA."""
    deltas = {"seen": encode_delta(dict(seen or {})), "sent": encode_delta(dict(sent or {}))}
    return dict.fromkeys(SHADOW_SCHEMA) | {"gid": gid, "system": system, "key": f"k{gid}", "khash": gid, "state": 0} | deltas | columns


def candidate(system: str | None, value: str, *, gid: int = 1, field: str = "name", **columns: Any) -> dict[str, Any]:
    """One of the values that wait for a person; without a system it is the golden one."""
    base = {"at": THEN, "knew": True, "base": "Ada", "kind": "conflict"} | columns
    return {GID: gid, "field": field, SYSTEM: system, "value": value, AT: base["at"]} | {
        name: base[name] for name in ("knew", "base", "kind")
    }


def known(shape: Entity, goldens: Sequence[dict[str, Any]] = (), shadows: Sequence[dict[str, Any]] = (), **others: Any) -> Facts:
    """Facts in which nothing was observed yet; `gone` are (record, system) pairs, `frozen` candidates, `others` as in Facts."""
    gone = [(gid, system, f"k{gid}") for gid, system in others.pop("gone", ())]
    return Facts(
        entity=shape,
        observed={},
        gone=pl.DataFrame(gone, schema=GONE_SCHEMA, orient="row"),
        golden=pl.DataFrame(list(goldens), schema=GOLDEN_SCHEMA),
        shadows=pl.DataFrame(list(shadows), schema=SHADOW_SCHEMA),
        frozen=pl.DataFrame(others.pop("frozen", []), schema=FREEZE_SCHEMA),
        now=NOW,
        **others,
    )


def agreed(shape: Entity, records: MappingType[int, Cells] | None = None, **others: Any) -> Facts:
    """Facts in which every system holds these records as they are; `deltas` are shadows that say otherwise."""
    cells = {1: ADA} if records is None else records
    told = {(item["gid"], item["system"]): item for item in others.pop("deltas", ())}
    shadows = [told.get((gid, system)) or shadow(gid, system) for gid in cells for system in shape.mappings]
    return known(shape, [golden(shape, gid, row) for gid, row in cells.items()], shadows, **others)


def shows(facts: Facts, at: datetime | None = None, /, **systems: MappingType[int, Cells]) -> Facts:
    """These systems show these records; a field that is not named is as it was last seen there, in a new row absent."""
    observed = dict(facts.observed)
    for system, rows in systems.items():
        names = facts.entity.shown(system)
        before = absolute(facts.golden, facts.shadows, facts.entity, system, "seen")
        cells = [dict(before.get(gid, {})) | dict(row) for gid, row in rows.items()]
        keys = [
            {GID: gid, KEY: f"k{gid}", KHASH: gid, FINGERPRINT: 1000 + gid, AT: at} | {name: row.get(name) for name in names}
            for gid, row in zip(rows, cells, strict=True)
        ]
        frame = pl.DataFrame(keys, schema=READ_SCHEMA | dict.fromkeys(names, pl.String()))
        observed[system] = pl.concat([observed[system], frame]) if system in observed else frame
    return replace(facts, observed=observed)


def read_before(facts: Facts, /, **systems: MappingType[int, MappingType[str, Sequence[str]]]) -> Facts:
    """These systems' mappings changed: what the rows that they show read as under the mappings of before, field by field.

    A field named for one row is read otherwise in all; a row of which nothing is said could not be read before.
    """
    observed, reread = dict(facts.observed), dict(facts.reread)
    for system, rows in systems.items():
        names = sorted({name for row in rows.values() for name in row})
        lists = [[list(rows.get(gid, {}).get(name, ())) for gid in observed[system][GID]] for name in names]
        columns = [pl.Series(WAS + name, cells, dtype=pl.List(pl.String())) for name, cells in zip(names, lists, strict=True)]
        observed[system] = observed[system].with_columns(columns)
        reread[system] = frozenset(names)
    return replace(facts, observed=observed, reread=reread)


def set_aside(facts: Facts, system: str, *gids: int) -> Facts:
    """These rows take no part: they cannot be read as a whole, or are outside of the filter."""
    rows = facts.observed[system]
    marked = rows.with_columns(pl.col(GID).is_in(list(gids)).alias(ASIDE))
    return replace(facts, observed={**facts.observed, system: marked})


def absolute(goldens: pl.DataFrame, shadows: pl.DataFrame, shape: Entity, system: str, column: str) -> dict[int, dict[str, str | None]]:
    """Per record what `seen` or `sent` (`column`) of a system says, with the golden value where it names nothing."""
    cells = pl.concat([goldens.select("id"), json_to_records(goldens["data"], shape.fields)], how="horizontal")
    records = {row.pop("id"): row for row in cells.iter_rows(named=True)}
    mine = shadows.filter(pl.col("system") == system)
    return {
        gid: {name: records.get(gid, {}).get(name) for name in shape.mapped(system)} | decode_delta(text)
        for gid, text in mine.select("gid", column).rows()
    }


def edit(system: str, observed: str, seen: str | None, stands: str | None, **others: Any) -> dict[str, Any]:
    """What a system shows of one field, beside what it showed before and the golden value, as the merge hands it to its rules.

    It stood for what it showed; systems rank by their names' order in crm, shop, till.
    """
    row = {GID: 1, SYSTEM: system, "field": "points", "observed": observed, "seen": seen, "sent": seen, "golden": stands, AT: NOW}
    return row | {"rank": ("crm", "shop", "till").index(system), "origin": "crm", "origin_at": THEN} | others


def edits(*rows: dict[str, Any]) -> pl.DataFrame:
    """Such edits as a frame."""
    schema = pl.Schema({GID: pl.Int64(), "rank": pl.Int64()})
    schema |= dict.fromkeys((SYSTEM, "field", "observed", "seen", "sent", "golden", "origin"), pl.String())
    schema |= dict.fromkeys((AT, "origin_at"), pl.Datetime("us", "UTC"))
    return pl.DataFrame(list(rows), schema=schema)


# ---------------------------------------------------------------- what was decided


def value(decision: Decision, field: str = "name", gid: int = 1) -> str | None:
    """The golden value afterwards."""
    cell: str | None = decision.records.filter(pl.col(GID) == gid)[field].item()
    return cell


def holds(decision: Decision, system: str, gid: int = 1) -> dict[str, str | None]:
    """What a system is known to hold where that is not the golden value."""
    return _delta(decision, system, gid, "seen")


def stands(decision: Decision, system: str, gid: int = 1) -> dict[str, str | None]:
    """What a system stands for where that is not the golden value."""
    return _delta(decision, system, gid, "sent")


def _delta(decision: Decision, system: str, gid: int, column: str) -> dict[str, str | None]:
    return decode_delta(decision.after.filter((pl.col("gid") == gid) & (pl.col("system") == system))[column].item())


def state(decision: Decision, system: str, gid: int = 1) -> int | None:
    """The state of a shadow afterwards; None where there is none."""
    found = decision.after.filter((pl.col("gid") == gid) & (pl.col("system") == system))["state"].to_list()
    return found[0] if found else None


def waiting(decision: Decision, field: str = "name", gid: int = 1) -> set[tuple[str | None, str]]:
    """(system, value) of what waits for a person; the golden value has no system."""
    return set(decision.frozen.filter((pl.col(GID) == gid) & (pl.col("field") == field)).select(SYSTEM, "value").rows())


def told(decision: Decision, *kinds: str) -> set[tuple[str, str | None, str | None]]:
    """(kind, system, value) of the history of these kinds."""
    return set(decision.history.filter(pl.col("kind").is_in(kinds)).select("kind", SYSTEM, "after").rows())


def owed(facts: Facts, decision: Decision, system: str, **how: Any) -> Due:
    """What is due in a system; `how` as the arguments of `due`."""
    nobody: dict[str, Any] = {"frozen": decision.frozen_pairs, "blocked": pl.Series([], dtype=pl.Int64), "may_create": True}
    return due(facts.entity, system, decision, **(nobody | how))


def updates(todo: Due) -> dict[int, dict[str, str | None]]:
    """Per record the fields due, with the value to be written."""
    return {row[GID]: {name: row[name] for name in row[FIELDS]} for row in todo.updates.iter_rows(named=True)}


def delivered(facts: Facts, decision: Decision) -> Facts:
    """The facts of the next pass, when all that was due has been written and stored as it was given; nothing is observed yet."""
    shadows = {(row["gid"], row["system"]): row for row in decision.after.iter_rows(named=True)}
    for system in facts.entity.mappings:
        todo = owed(facts, decision, system)
        for gid in todo.deletes[GID]:
            del shadows[gid, system]
        for gid, fields in updates(todo).items():
            row = shadows[gid, system]
            for column in ("seen", "sent"):
                row[column] = encode_delta({name: cell for name, cell in decode_delta(row[column]).items() if name not in fields})
        for gid in todo.creates[GID]:
            shadows[gid, system] = shadow(gid, system)
    settled = pl.concat([decision.thawed, decision.frozen.select(GID, "field")])
    return replace(
        facts,
        observed={},
        gone=facts.gone.clear(),
        golden=pl.concat([facts.golden.join(decision.golden, on="id", how="anti"), decision.golden]),
        shadows=pl.DataFrame(list(shadows.values()), schema=SHADOW_SCHEMA),
        frozen=pl.concat([facts.frozen.join(settled, on=[GID, "field"], how="anti"), decision.frozen]),
    )


# ---------------------------------------------------------------- order


def shuffled(facts: Facts, random: Random) -> Facts:
    """The same facts, every frame and every system in another order."""

    def rows(frame: pl.DataFrame) -> pl.DataFrame:
        return frame[random.sample(range(frame.height), frame.height)]

    systems = random.sample(list(facts.observed), len(facts.observed))
    mappings = random.sample(list(facts.entity.mappings), len(facts.entity.mappings))
    return replace(
        facts,
        entity=replace(facts.entity, mappings={name: facts.entity.mappings[name] for name in mappings}),
        observed={system: rows(facts.observed[system]) for system in systems},
        gone=rows(facts.gone),
        golden=rows(facts.golden),
        shadows=rows(facts.shadows),
        frozen=rows(facts.frozen),
    )


def plain(decision: Decision) -> dict[str, Any]:
    """Everything that a decision says, without any order."""
    return {part.name: _plain(getattr(decision, part.name)) for part in parts_of(decision)}


def _plain(part: Any) -> Any:
    if isinstance(part, pl.Series):
        return sorted(part.to_list())
    if isinstance(part, pl.DataFrame):
        return sorted(repr(sorted(row.items())) for row in part.iter_rows(named=True))
    return part
