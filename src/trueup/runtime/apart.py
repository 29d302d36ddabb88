"""What systems hold apart, and is left as it is: values that were agreed until a mapping changed, and what a person left on purpose.

Such a value is `seen` in its system, which stands for the golden one: so nothing is due there, and an edit of either side counts as ever.
A line of history tells it from a form of the system's own. A row that was left is missing, and has such a line as well.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from trueup.core.cells import GID, json_to_records
from trueup.core.merge import APART, LEFT
from trueup.core.shadow import decode_delta, encode_delta
from trueup.core.undo import SETTING
from trueup.runtime.commit import value_json
from trueup.store import golden, history, shadow

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from trueup.model import Entity
    from trueup.store import Db


def held_apart(
    db: Db, entity: Entity, shadows: pl.DataFrame, cells: Mapping[int, Mapping[str, str | None]]
) -> dict[tuple[str, int], dict[str, str]]:
    """(system, golden id) -> the fields that the row holds apart still, each with the rule that left it so.

    Of these shadows (system, gid, seen, sent) and golden cells.
    """
    differing = shadows.filter(pl.col("seen").is_not_null())
    if differing.is_empty():
        return {}
    lines = history.lines(db, entity.name, differing["gid"].unique(), APART)
    if lines.is_empty():
        return {}
    told = {(system, gid, name): rule for system, gid, name, rule in lines.select("system", "gid", "field", "rule").rows()}
    as_told = set(lines.select("system", "gid", "field", "before", "after").rows())
    last = {(system, gid, name): number for system, gid, name, number in lines.select("system", "gid", "field", "id").rows()}
    edited: dict[tuple[str, int, str], int] = {}
    moved: dict[tuple[int, str], int] = {}
    for line in history.about(db, entity.name, lines["gid"].unique()).filter(pl.col("kind") != APART).iter_rows(named=True):
        if line["system"] is not None:
            edited[line["system"], line["gid"], line["field"]] = line["id"]
        if line["kind"] in SETTING and line["before"] != line["after"]:
            moved[line["gid"], line["field"]] = line["id"]
    found: dict[tuple[str, int], dict[str, str]] = {}
    for system, gid, seen, sent in differing.select("system", "gid", "seen", "sent").rows():
        due = decode_delta(sent)
        for name, cell in decode_delta(seen).items():
            if name in due or name not in entity.fields or gid not in cells or (system, gid, name) not in told:
                continue
            values = (system, gid, name, value_json(cell, entity, name), value_json(cells[gid][name], entity, name))
            touched = max(edited.get((system, gid, name), 0), moved.get((gid, name), 0)) > last[system, gid, name]
            # Both values may be cleaned otherwise since, and what is counted on is counted on both sides.
            if values in as_told or not touched or entity.fields[name].conflict == "add":
                found.setdefault((system, gid), {})[name] = told[system, gid, name]
    return found


def left_rows(db: Db, entity: Entity, system: str, gids: Iterable[int]) -> set[int]:
    """Those of these records of which the row is missing in a system because a person left it so."""
    chosen = pl.Series("gid", list(gids), dtype=pl.Int64)
    if chosen.is_empty():
        return set()
    told = history.lines(db, entity.name, chosen, APART)
    return set(told.filter(pl.col("field").is_null() & (pl.col("rule") == LEFT) & (pl.col("system") == system))["gid"].to_list())


def left_standing(db: Db, entity: Entity) -> dict[str, tuple[int, int]]:
    """Per system how many values, and how many missing rows, a person left apart and are so still; systems without any are not named."""
    told = history.of_kind(db, entity.name, APART).filter(pl.col("rule") == LEFT)
    if told.is_empty():
        return {}
    gids = told["gid"].unique()
    shadows = shadow.by_golden(db, entity.name, gids)
    records = golden.fetch(db, entity.name, gids).filter(pl.col("deleted_at").is_null() & pl.col("alias_of").is_null())
    values = json_to_records(records["data"], entity.fields).with_columns(records["id"].alias(GID))
    apart = held_apart(db, entity, shadows, {row[GID]: row for row in values.iter_rows(named=True)})
    rows = told.filter(pl.col("field").is_null()).select("gid", "system").unique()
    missing = shadows.filter((pl.col("state") == shadow.MISSING) & pl.col("gid").is_in(records["id"].implode()))
    gone = dict(missing.join(rows, on=["gid", "system"], how="semi").group_by("system").len().rows())
    found: dict[str, tuple[int, int]] = {}
    for system in entity.precedence:
        count = sum(list(rules.values()).count(LEFT) for (name, _gid), rules in apart.items() if name == system)
        if count or system in gone:
            found[system] = (count, gone.get(system, 0))
    return found


def bring_together(tx: Db, entity: Entity, gids: pl.Series) -> None:
    """Let the values that these records hold apart since a mapping changed be replaced by the agreed ones: these are due there now."""
    records = golden.fetch(tx, entity.name, gids)
    values = json_to_records(records["data"], entity.fields).with_columns(records["id"].alias(GID))
    cells = {row[GID]: row for row in values.iter_rows(named=True)}
    shadows = shadow.by_golden(tx, entity.name, gids)
    apart = held_apart(tx, entity, shadows, cells)
    for (system,), rows in shadows.partition_by("system", as_dict=True).items():
        due = []
        for key, gid, seen, sent in rows.select("key", "gid", "seen", "sent").rows():
            rules = apart.get((str(system), gid), {})
            names = {name for name, rule in rules.items() if rule != LEFT} & set(entity.written(str(system)))
            if names:
                held = decode_delta(seen)
                due.append((key, encode_delta(decode_delta(sent) | {name: held[name] for name in names})))
        if due:
            shadow.update(tx, entity.name, str(system), pl.DataFrame(due, schema={"key": pl.String(), "sent": pl.String()}, orient="row"))
