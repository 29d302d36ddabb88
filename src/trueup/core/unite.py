"""Unite: golden records that turn out to be one. The first of them stays and takes the others in; these stand for it from then on.

    values    per field, from what each of the records says: the field's own rule, and where that decides nothing, the record that is the
              most complete, else the most recent, else the first by precedence (`ranked`)
    rows      a row of another record becomes a row of the one that stays; it holds what it held and stands for what it stood for, so that
              what is due there follows as after any change (`moved_rows`)
    doubles   in a system that has a row of the record already, the other one is a duplicate: its link goes, and it is parked

`part` is the way back: the rows are the other records' again, as they are now, and these live again as they were. Both take many groups
at once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson
import polars as pl

from trueup.core.cells import GID, NULL, cell_to_python, json_to_records
from trueup.core.facts import GOLDEN_SCHEMA, GONE_SCHEMA, MISSING, NOBODY, SHADOW_SCHEMA, Facts
from trueup.core.frames import stacked, without
from trueup.core.golden import match_index
from trueup.core.merge import CHANGE_SCHEMA, HISTORY_SCHEMA, NO_CANDIDATES, Merged
from trueup.core.reconcile import reconcile
from trueup.core.shadow import decode_delta, encode_delta

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trueup.core.facts import Decision
    from trueup.model import Entity, Field

UNITED = "united"
"""The kind of history that tells that a record took another one in; its detail says which, and what its rows were."""
PARTED = "parted"
"""The kind of history that tells that a record which was taken in is one of its own again."""
GAVE_WAY = "gave way"
"""The kind of history that tells a value of a record that was taken in, where another one stands."""
RULE = "the same record: "
"""Before the rule by which a value stands, in the history."""
COMPLETE, RECENT, FIRST, OLDER, ONLY = "most complete", "most recent", "precedence", "older record", "the only value"
NEVER = datetime(1, 1, 1, tzinfo=UTC)
_PAIR_SCHEMA = pl.Schema({"gid": pl.Int64(), "system": pl.String()})


@dataclass(frozen=True, slots=True)
class Said:
    """What one record says of a field: its cell (never absent or null), whose edit that is and when it was made (None: unknown)."""

    cell: str
    system: str | None
    at: datetime | None


@dataclass(frozen=True, slots=True)
class Member:
    """One golden record of a group: its golden row, its cells, what it says by field, and its shadows (rows of SHADOW_SCHEMA)."""

    id: int
    row: Mapping[str, Any]
    cells: Mapping[str, str | None]
    said: Mapping[str, Said]
    shadows: tuple[Mapping[str, Any], ...]

    @property
    def latest(self) -> datetime:
        """When anything of it was last said."""
        return max((one.at for one in self.said.values() if one.at is not None), default=NEVER)

    @property
    def systems(self) -> list[str]:
        """The systems in which it has a row, as far as is known."""
        return [row["system"] for row in self.shadows if row["state"] != MISSING]


@dataclass(frozen=True, slots=True)
class Standing:
    """The value of a field that stands, why, and the values that give way to it."""

    value: Said
    why: str
    beaten: tuple[Said, ...]


@dataclass(frozen=True)
class United:
    """Groups as one record each. `decision` is to be committed.

    told     (golden id, detail): a line of history for each record that was taken in (see `detail`)
    doubles  __gid, __system, __key: rows to be parked, with the record that they are a duplicate of
    """

    decision: Decision
    told: tuple[tuple[int, str], ...]
    doubles: pl.DataFrame


def members(entity: Entity, golden: pl.DataFrame, shadows: pl.DataFrame) -> dict[int, Member]:
    """The records of these golden rows (GOLDEN_SCHEMA), by id."""
    cells = json_to_records(golden["data"], entity.fields).rows(named=True)
    rows: dict[int, list[Mapping[str, Any]]] = {}
    for row in shadows.select(list(SHADOW_SCHEMA)).rows(named=True):
        rows.setdefault(row["gid"], []).append(row)
    found = {}
    for row, told in zip(golden.select(list(GOLDEN_SCHEMA)).rows(named=True), cells, strict=True):
        own = orjson.loads(row["origins"]) if row["origins"] else {}
        said = {}
        for name, cell in told.items():
            if cell is None or cell == NULL:
                continue
            system, at = own[name] if name in own else (row["origin_system"], row["origin_at"])
            said[name] = Said(cell, system, datetime.fromisoformat(at) if isinstance(at, str) else at)
        found[row["id"]] = Member(row["id"], row, told, said, tuple(rows.get(row["id"], ())))
    return found


def ranked(entity: Entity, group: Sequence[Member]) -> list[Member]:
    """The records of a group, the one that stays first: the most complete, the most recent, the first by precedence, the oldest."""
    return sorted(group, key=lambda one: (-len(one.said), NEVER - one.latest, _first_system(entity, one), one.id))


def _first_system(entity: Entity, one: Member) -> int:
    """The place of a record's first system in the order of precedence."""
    places = {name: place for place, name in enumerate(entity.precedence)}
    return min((places.get(name, len(places)) for name in one.systems), default=len(places))


def standing(entity: Entity, name: str, group: Sequence[Member]) -> Standing | None:
    """The value of a field that stands, of records in the order of `ranked`; None where none of them says anything."""
    said = [(place, one.said[name]) for place, one in enumerate(group) if name in one.said]
    if not said:
        return None
    if len({one.cell for _place, one in said}) == 1:
        return Standing(said[0][1], ONLY, ())
    among, why = _by_rule(entity.fields[name], said)
    best = among[0][1]
    return Standing(best, why or _order_words(entity, group, among), tuple(one for _place, one in said if one.cell != best.cell))


def _by_rule(item: Field, said: list[tuple[int, Said]]) -> tuple[list[tuple[int, Said]], str]:
    """The values among which the field's own rule leaves the choice, in order, and its name; an empty one where it decides nothing."""
    best, why = said, ""
    if item.source_of_truth is not None:
        best, why = [pair for pair in said if pair[1].system == item.source_of_truth], "source of truth"
    elif item.conflict == "union":
        items = sorted({text for _place, one in said for text in orjson.loads(one.cell)})
        latest = max((one for _place, one in said), key=lambda one: one.at or NEVER)
        best, why = [(0, Said(orjson.dumps(items).decode(), latest.system, latest.at))], "union"
    elif item.conflict in {"max", "min"}:
        values = {one.cell: cell_to_python(one.cell, item) for _place, one in said}
        end = max(values.values()) if item.conflict == "max" else min(values.values())
        best, why = [pair for pair in said if values[pair[1].cell] == end], item.conflict
    elif item.conflict in {"last_write_wins", "first_write_wins"}:
        dated = [one.at for _place, one in said if one.at is not None]
        end = (max if item.conflict == "last_write_wins" else min)(dated, default=None)
        best, why = [pair for pair in said if pair[1].at == end and end is not None], item.conflict
    if len({one.cell for _place, one in best}) == 1:
        return best, why
    return best or said, ""


def _order_words(entity: Entity, group: Sequence[Member], among: list[tuple[int, Said]]) -> str:
    """By what the first of these values comes before the next one."""
    first = group[among[0][0]]
    other = next(group[place] for place, one in among if one.cell != among[0][1].cell)
    if len(first.said) != len(other.said):
        return COMPLETE
    if first.latest != other.latest:
        return RECENT
    return FIRST if _first_system(entity, first) != _first_system(entity, other) else OLDER


def unite(entity: Entity, groups: Sequence[Sequence[Member]], now: datetime) -> United:
    """Make one record of several, per group, which is given in the order of `ranked`.

    None of them is deleted, an alias, or has an open conflict.
    """
    merged = _Merging(entity, now)
    for group in groups:
        merged.add(group)
    ruling = merged.ruling()
    facts = Facts(
        entity=entity,
        observed={},
        gone=pl.DataFrame(schema=GONE_SCHEMA),
        golden=pl.DataFrame([dict(group[0].row) for group in groups], schema=GOLDEN_SCHEMA),
        shadows=pl.DataFrame(merged.shadows, schema=SHADOW_SCHEMA, orient="row"),
        frozen=NO_CANDIDATES,
        now=now,
    )
    decision = _with_rows(reconcile(facts, ruling), pl.DataFrame(merged.arrived, schema=_PAIR_SCHEMA, orient="row"))
    aliases = [dict(one.row) | {"alias_of": group[0].id} for group in groups for one in group[1:]]
    survivors = facts.golden["id"]
    gone = pl.Series(GID, [row["id"] for row in aliases], dtype=pl.Int64)
    index, _indexed = match_index(entity, decision.records, ruling.changes, ruling, decision.after, survivors, NOBODY)
    decision = replace(
        decision,
        golden=stacked([decision.golden, pl.DataFrame(aliases, schema=GOLDEN_SCHEMA)]),
        removed=pl.DataFrame(merged.removed, schema=GONE_SCHEMA, orient="row"),
        index=index,
        indexed=pl.concat([survivors.alias(GID), gone]) if entity.match else NOBODY,
    )
    return United(decision, tuple(merged.told), pl.DataFrame(merged.doubles, schema=GONE_SCHEMA, orient="row"))


class _Merging:
    """What becomes of the values and rows of all groups, collected."""

    def __init__(self, entity: Entity, now: datetime) -> None:
        self._entity = entity
        self._now = now
        self._changes: list[tuple[Any, ...]] = []
        self._history: list[tuple[Any, ...]] = []
        self.shadows: list[Mapping[str, Any]] = []
        self.arrived: list[tuple[int, str]] = []
        self.removed: list[tuple[int, str, str]] = []
        self.doubles: list[tuple[int, str, str]] = []
        self.told: list[tuple[int, str]] = []

    def ruling(self) -> Merged:
        """The golden values that change, and the history of all that stood against them."""
        return Merged(
            changes=pl.DataFrame(self._changes, schema=CHANGE_SCHEMA, orient="row"),
            history=pl.DataFrame(self._history, schema=HISTORY_SCHEMA, orient="row"),
        )

    def add(self, group: Sequence[Member]) -> None:
        """One group."""
        survivor, *others = group
        for name in self._entity.fields:
            found = standing(self._entity, name, group)
            if found is not None:
                self._take_value(survivor, name, found)
        rows = {row["system"]: row for row in survivor.shadows}
        for other in others:
            came: list[Mapping[str, Any]] = []
            twice: list[Mapping[str, Any]] = []
            for row in other.shadows:
                system, place = row["system"], (other.id, row["system"], row["key"])
                here = rows.get(system)
                if row["state"] == MISSING or (here is not None and here["state"] != MISSING):
                    twice.append(row)
                    self.removed.append(place)
                    if row["state"] != MISSING:
                        self.doubles.append((survivor.id, system, row["key"]))
                    continue
                if here is not None:  # the one that vanished makes room
                    self.removed.append((survivor.id, system, here["key"]))
                rows[system] = retold(self._entity, row, other.cells, survivor.cells, survivor.id)
                came.append(row)
                self.arrived.append((survivor.id, system))
            self.told.append((survivor.id, detail(other.id, came, twice)))
        self.shadows += rows.values()

    def _take_value(self, survivor: Member, name: str, found: Standing) -> None:
        before, best = survivor.cells.get(name), found.value
        rule = f"{RULE}{found.why}"
        if best.cell != before:
            line = (survivor.id, name, before, best.cell, best.system, best.at or self._now, rule)
            self._changes.append(line)
            self._history.append((*line, "edit"))
        self._history += [
            (survivor.id, name, before, other.cell, other.system, other.at, rule, GAVE_WAY)
            for other in {one.cell: one for one in found.beaten}.values()
            if other.cell != before
        ]


def retold(
    entity: Entity, shadow: Mapping[str, Any], cells: Mapping[str, str | None], agreed: Mapping[str, str | None], gid: int
) -> dict[str, Any]:
    """A shadow beside other golden cells than before: what its row holds, and what it stands for, stay the same."""
    system = shadow["system"]
    known = system in entity.mappings
    names = entity.mapped(system) if known else tuple(entity.fields)
    writable = set(entity.written(system)) if known else set(names)
    seen, sent = decode_delta(shadow["seen"]), decode_delta(shadow["sent"])
    holds = {name: seen.get(name, cells.get(name)) for name in names}
    stands = {name: sent.get(name, cells.get(name)) for name in names if name in writable}
    told = {
        "seen": encode_delta({name: cell for name, cell in holds.items() if cell != agreed.get(name)}),
        "sent": encode_delta({name: cell for name, cell in stands.items() if cell != agreed.get(name)}),
    }
    return dict(shadow) | told | {"gid": gid}


def _with_rows(decision: Decision, pairs: pl.DataFrame) -> Decision:
    """The decision, with the shadows of these (gid, system) among those to write, whether a value of theirs moved or not."""
    mine = decision.after.join(pairs, on=["gid", "system"], how="semi", maintain_order="left")
    rest = without(decision.shadows, mine.select("gid", "system"), ("gid", "system"))
    return replace(decision, shadows=stacked([rest, mine]))


# ---------------------------------------------------------------- the way back


def detail(record: int, came: Sequence[Mapping[str, Any]], twice: Sequence[Mapping[str, Any]]) -> str:
    """What the history keeps of a record that was taken in: its rows that are the other's now, and its shadows that were given up."""
    rows = [[row["system"], row["key"]] for row in came]
    shadows = [{name: row[name] for name in ("system", "key", "khash", "seen", "sent", "state")} for row in twice]
    return orjson.dumps({"record": record, "rows": rows, "shadows": shadows}).decode()


@dataclass(frozen=True, slots=True)
class Taken:
    """A record that was taken in, as `detail` tells it: its golden row, the rows that came along and the shadows that were given up."""

    row: Mapping[str, Any]
    rows: frozenset[tuple[str, str]]
    shadows: tuple[Mapping[str, Any], ...]


def taken(text: str, row: Mapping[str, Any]) -> Taken:
    """Read a `detail` again; `row` is the golden row of the record."""
    told = orjson.loads(text)
    return Taken(row, frozenset((system, key) for system, key in told["rows"]), tuple(told["shadows"]))


def part(facts: Facts, taken_in: Sequence[Taken], free: frozenset[tuple[str, str]], ruling: Merged) -> Decision:
    """Give records that those of `facts` took in their rows back, and let them live again; `ruling` is what else becomes of the others.

    free   (system, key) of rows that were given up and are no record's now
    """
    entity = facts.entity
    cells = _cells(facts.golden, entity)
    again = pl.DataFrame([dict(one.row) | {"alias_of": None} for one in taken_in], schema=GOLDEN_SCHEMA)
    own = _cells(again, entity)
    theirs = {place: one.row["id"] for one in taken_in for place in one.rows}
    into = {one.row["id"]: one.row["alias_of"] for one in taken_in}
    mine, back = [], []
    for row in facts.shadows.rows(named=True):
        owner = theirs.get((row["system"], row["key"]))
        if owner is None or into[owner] != row["gid"]:
            mine.append(row)
        else:
            back.append(retold(entity, row, cells[row["gid"]], own[owner], owner))
    held = {(row["gid"], row["system"]) for row in back}
    back += [
        dict.fromkeys(SHADOW_SCHEMA) | dict(shadow) | {"gid": one.row["id"]}
        for one in taken_in
        for shadow in one.shadows
        if (shadow["system"], shadow["key"]) in free and (one.row["id"], shadow["system"]) not in held
    ]
    decision = reconcile(replace(facts, shadows=pl.DataFrame(mine, schema=SHADOW_SCHEMA, orient="row")), ruling)
    records = pl.concat([again.select(pl.col("id").alias(GID)), json_to_records(again["data"], entity.fields)], how="horizontal")
    shadows = pl.DataFrame(back, schema=SHADOW_SCHEMA, orient="row")
    after = stacked([decision.after, shadows])
    whole = pl.concat([decision.records, records.select(decision.records.columns)])
    index, _indexed = match_index(entity, whole, ruling.changes, ruling, after, whole[GID], decision.deleted)
    parted = [(gid, None, None, None, None, facts.now, "undone", PARTED) for gid in [*into.values(), *into]]
    return replace(
        decision,
        records=whole,
        golden=stacked([decision.golden, again]),
        shadows=stacked([decision.shadows, shadows]),
        after=after,
        index=index,
        indexed=whole[GID] if entity.match else NOBODY,
        history=stacked([decision.history, pl.DataFrame(parted, schema=HISTORY_SCHEMA, orient="row")]),
    )


def _cells(golden: pl.DataFrame, entity: Entity) -> dict[int, Mapping[str, str | None]]:
    return dict(zip(golden["id"].to_list(), json_to_records(golden["data"], entity.fields).rows(named=True), strict=True))
