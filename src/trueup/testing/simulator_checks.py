"""What must be true when everything has settled: the invariants of docs/architecture.md, looked up in the systems and in the state."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import orjson
import polars as pl

from trueup.core.cells import cell_to_python, json_to_records
from trueup.core.facts import FILTERED, MISSING, PRESENT
from trueup.core.merge import LEFT
from trueup.runtime.apart import held_apart
from trueup.store import conflict, failure, golden, history, parked
from trueup.store import shadow as shadow_table
from trueup.testing.simulator_people import tokens
from trueup.testing.simulator_scenario import DOUBTS, ENTITY, HERE, REGION, SENTINEL

if TYPE_CHECKING:
    from trueup.store import Db
    from trueup.testing.simulator import Simulation
    from trueup.testing.simulator_scenario import SystemPlan


class BrokenPromiseError(AssertionError):
    """A promise is broken: which one, and how."""


def check_settled(sim: Simulation) -> None:
    """Everything that holds when edits have stopped, nothing is open, and every system works."""
    with sim.workspace.store.read() as db:
        state = _State(sim, db)
    _check_filters(sim, state)
    _check_agreement(sim, state)
    _check_presence(sim, state)
    _check_ownership(sim, state)
    _check_edits(sim, state)
    _check_sums(sim, state)
    _check_doubts(sim, state)
    check_always(sim)


def check_always(sim: Simulation) -> None:
    """What holds at any moment: nobody touches what is not mapped, and nothing is there twice by the engine's doing."""
    for name, world in sim.worlds.items():
        table = world.tables["people"]
        for key, row in table.rows.items():
            expected = sim.people.secrets.get((name, key))
            if row.values.get(SENTINEL) != expected:
                raise BrokenPromiseError(
                    f"I11: {name}:{key} has {row.values.get(SENTINEL)!r} in a column that is not mapped; it was {expected!r}"
                )
        by_code: dict[str, list[str]] = {}
        for key, row in table.rows.items():
            by_code.setdefault(str(row.values.get("c_code")), []).append(key)
        for code, keys in by_code.items():
            made = [key for key in keys if (name, key) not in sim.people.secrets]
            blind = not world.caps.find
            by_people = sim.people.doubled.get(name, set()) | {key for system, key in sim.people.unseen if system == name}
            if len(keys) > 1 and made and not blind and not set(keys) & by_people:
                raise BrokenPromiseError(f"I6: {name} holds {code} several times: {keys}; made by the engine: {made}")


class _State:
    """The state, read once: golden records by code, links, what is open."""

    def __init__(self, sim: Simulation, db: Db) -> None:  # noqa: C901, PLR0912 - one reading after the other
        items = {called: name for name, called in sim.scenario.called.items()}
        self.golden: dict[int, dict[str, Any]] = {}
        self.codes: dict[str, list[int]] = {}
        self.dead: set[int] = set()
        self.texts: dict[str, str] = {}
        self.edits: list[tuple[int, str, Any, Any, str, int]] = []  # golden changes: record, field, before, after, rule, version
        texts: dict[int, str] = {}
        for frame in golden.stream(db, ENTITY):
            texts.update(zip(frame["id"], frame["data"].fill_null("{}"), strict=True))
            for row in frame.iter_rows(named=True):
                values = {items[name]: value for name, value in orjson.loads(row["data"] or "{}").items()}
                if row["deleted_at"] is not None or row["alias_of"] is not None:
                    self.dead.add(row["id"])
                self.golden[row["id"]] = values
                self.codes.setdefault(str(values.get("code")), []).append(row["id"])
        self.links: dict[str, dict[str, tuple[int, int]]] = {}
        for name in sim.worlds:
            self.links[name] = {}
            for frame in shadow_table.keys(db, ENTITY, name):
                for key, gid, state in frame.select("key", "gid", "state").rows():
                    self.links[name][key] = (gid, state)
        shadows = shadow_table.by_golden(db, ENTITY, pl.Series("gid", list(self.golden), dtype=pl.Int64))
        cells = json_to_records(pl.Series(texts.values(), dtype=pl.String), sim.entity.fields)
        apart = held_apart(db, sim.entity, shadows, dict(zip(texts, cells.iter_rows(named=True), strict=True)))
        self.left = {
            (system, gid, items[called]) for (system, gid), rules in apart.items() for called, rule in rules.items() if rule == LEFT
        }
        self.parked = {(system, key) for system, key in parked.of(db, ENTITY).select("system", "key").rows()}
        self.parked_for: dict[str, set[int]] = {}
        for system, candidates in parked.of(db, ENTITY).select("system", "candidates").rows():
            self.parked_for.setdefault(system, set()).update(orjson.loads(candidates))
        self.failures = failure.of(db, ENTITY).select("system", "key", "gid", "stage", "field", "reason").rows()
        self.conflicts = [
            (gid, items[name], kind, sides)
            for gid, name, kind, sides in conflict.open_of(db, ENTITY).select("gid", "field", "kind", "candidates").rows()
        ]
        every: dict[str, list[str]] = {name: [] for name in items.values()}
        for gid in self.golden:
            lines = history.of(db, ENTITY, gid).select("field", "before", "after", "kind", "rule", "version").rows()
            for called, before, after, kind, rule, version in lines:
                if called not in items:  # a line about the whole record
                    continue
                name = items[called]
                every[name] += [text for text in (before, after) if text is not None]
                if kind == "edit":
                    was, now = (None if text is None else orjson.loads(text) for text in (before, after))
                    self.edits.append((gid, name, was, now, rule, version))
            for name, value in self.golden[gid].items():
                if name in every:
                    every[name].append(orjson.dumps(value).decode())
        for name in every:
            every[name] += [text for _gid, item, _kind, text in self.conflicts if item == name]
        self.texts = {name: "\n".join(texts) for name, texts in every.items()}

    def alive(self) -> dict[int, dict[str, Any]]:
        """Golden records that are neither deleted nor aliases."""
        return {gid: values for gid, values in self.golden.items() if gid not in self.dead}


def plain(value: Any, name: str) -> Any:
    """A value in the form in which equal values are equal."""
    if value is None:
        return None
    if name == "price":
        return Decimal(str(value)).normalize()
    if name == "tags":
        return sorted(value)
    return value


def alike(sim: Simulation, name: str, shown: Any, agreed: Any) -> bool:
    """Whether a system shows what is agreed, seen through the field's cleaning, of now and of before."""
    if name in sim.scenario.retold and isinstance(shown, str) and isinstance(agreed, str):
        return shown.casefold() == agreed.casefold()
    return bool(plain(shown, name) == plain(agreed, name))


def _check_agreement(sim: Simulation, state: _State) -> None:
    """I1, I9: every linked row shows the golden values, up to what its system does to them."""
    open_fields = {(gid, name) for gid, name, _kind, _candidates in state.conflicts}
    failed = {(system, gid) for system, _key, gid, stage, _field, _reason in state.failures if stage == "write"}
    for name, links in state.links.items():
        plan = sim.scenario.systems[name]
        rows = sim.worlds[name].tables["people"].rows
        for key, (gid, row_state) in links.items():
            if row_state == MISSING:
                if key in rows and not _is_nobodys(plan, rows[key].values, state):
                    raise BrokenPromiseError(f"I1: {name}:{key} is there, but the state takes it for missing")
                continue
            if key not in rows:
                raise BrokenPromiseError(f"I1: the state knows {name}:{key}, which is not there")
            if row_state != PRESENT or gid in state.dead or plan.direction == "read" or (name, key) in state.parked:
                continue
            for item in plan.fields:
                if (gid, item) in open_fields or (name, gid) in failed or (name, gid, item) in state.left:
                    continue
                agreed = state.golden[gid].get(item)
                shown = rows[key].values.get(f"c_{item}")
                if item in state.golden[gid] and not alike(sim, item, shown, plan.stored(item, agreed)):
                    raise BrokenPromiseError(f"I1: {name}:{key}.{item} is {shown!r}, agreed is {agreed!r} (record {gid})")


def _check_filters(sim: Simulation, state: _State) -> None:
    """I1: a row takes part again when it is back inside of its mapping's filter."""
    for name, links in state.links.items():
        rows = sim.worlds[name].tables["people"].rows
        for key in [key for key, (_gid, row_state) in links.items() if row_state == FILTERED and key in rows]:
            if not sim.scenario.systems[name].filtered or rows[key].values.get(REGION) == HERE:
                raise BrokenPromiseError(f"I1: {name}:{key} takes no part, although it is not outside of any filter")


def _check_presence(sim: Simulation, state: _State) -> None:  # noqa: C901 - every way in which a row may be accounted for
    """I1, I6, I10: every row is linked or waits for a person, and every record is wherever it belongs."""
    failed = {(system, key) for system, key, _gid, _stage, _field, _reason in state.failures}
    failed_records = {(system, gid) for system, _key, gid, _stage, _field, _reason in state.failures}
    for name, world in sim.worlds.items():
        plan = sim.scenario.systems[name]
        table = world.tables["people"]
        for key, row in table.rows.items():
            outside = plan.filtered and row.values.get(REGION) != HERE
            if key in state.links[name] or (name, key) in state.parked or (name, key) in failed or outside:
                continue
            if _is_nobodys(plan, row.values, state):
                continue
            raise BrokenPromiseError(f"I1: {name}:{key} ({row.values.get('c_code')}) is neither linked nor waiting for a person")
        if plan.direction == "read":
            continue
        linked = {gid for gid, _state in state.links[name].values()}
        for gid, values in state.alive().items():
            outside = plan.filtered and any(
                row.values.get(REGION) != HERE and takes_no_part(state.links[name].get(key)) and _same(sim, row.values, values)
                for key, row in table.rows.items()
            )
            waits = outside or gid in state.parked_for.get(name, set()) or (name, gid) in failed_records
            if gid not in linked and not waits:
                raise BrokenPromiseError(f"I1: record {gid} ({values.get('code')}) has no row in {name}")
    for gid in state.dead:
        for name, links in state.links.items():
            if sim.scenario.systems[name].direction != "read" and any(g == gid and s == PRESENT for g, s in links.values()):
                raise BrokenPromiseError(f"I1: record {gid} is deleted, but still has a row in {name}")
    for code in sim.unasked_deletes:
        raise BrokenPromiseError(f"I10: the engine deleted {code}, which nobody had deleted")


def takes_no_part(link: tuple[int, int] | None) -> bool:
    """Whether a row has no link, or one by which nobody looks at what it says: it may have become any record."""
    return link is None or link[1] == FILTERED


def _is_nobodys(plan: SystemPlan, row: dict[str, Any], state: _State) -> bool:
    """Whether a row of a system that is only written to is none of the agreed records: such a row takes no part."""
    known = {str(values.get("code")) for values in state.alive().values()}
    return plan.direction == "write" and str(row.get("c_code")) not in known


def _same(sim: Simulation, row: dict[str, Any], values: dict[str, Any]) -> bool:
    """Whether a row may be this record by any match rule."""
    return any(
        all(row.get(f"c_{name}") is not None and row[f"c_{name}"] == values.get(name) for name in rule) for rule in sim.scenario.match
    )


def _check_ownership(sim: Simulation, state: _State) -> None:
    """I4: where the owner holds a record, what it says stands."""
    for item, owner in sim.scenario.owners.items():
        for key, (gid, row_state) in state.links[owner].items():
            if row_state != PRESENT or gid in state.dead or (owner, key) in state.parked:
                continue
            typed = sim.people.typed.get((owner, key, item), ...)
            shown = sim.worlds[owner].tables["people"].rows[key].values.get(f"c_{item}")
            if typed is not ... and plain(typed, item) != plain(shown, item) and typed is not None:
                raise BrokenPromiseError(f"I4: {owner}:{key}.{item} was typed as {typed!r} by its owner and is {shown!r}")


def _check_edits(sim: Simulation, state: _State) -> None:
    """I2, I5: every edit is in the records, in the history, in the queue, or rejected."""
    excused = {(system, key) for system, key, _gid, _stage, _field, _reason in state.failures} | state.parked
    for edit in sim.people.edits:
        plan = sim.scenario.systems.get(edit.system)
        if plan is None or (edit.over and not edit.noticed) or (edit.system, edit.key) in excused:
            continue
        if edit.token in state.texts[edit.field]:
            continue
        row = sim.worlds[edit.system].tables["people"].rows.get(edit.key)
        link = state.links[edit.system].get(edit.key)
        if row is not None and plan.filtered and row.values.get(REGION) != HERE:
            continue
        if link is not None and link[1] == FILTERED:
            continue
        still_there = row is not None and edit.token in tokens(edit.field, row.values.get(f"c_{edit.field}"))
        if plan.direction == "write" and (link is None or still_there):
            continue  # nobody has said anything else about this field
        raise BrokenPromiseError(
            f"I2: {edit.system}:{edit.key}.{edit.field}: the edit {edit.token} ({edit.code}) is nowhere (noticed: {edit.noticed})"
        )


def _check_sums(sim: Simulation, state: _State) -> None:
    """I2 for counters: what they were, plus every change that anyone made."""
    for code, before in sim.counters.items():
        gids = [gid for gid in state.codes.get(code, []) if gid not in state.dead]
        if code in sim.people.unsure or len(gids) != 1:
            continue
        now = int(state.golden[gids[0]].get("points") or 0)
        wanted = before + sim.people.sums.get(code, 0)
        if now != wanted:
            raise BrokenPromiseError(f"I2: the counter of {code} is {now}; it was {before} and was changed by {wanted - before}")


def _check_doubts(sim: Simulation, state: _State) -> None:
    """I2: no change that a field's `hold_if` stops went on without a person."""
    for gid, item, before, after, rule, version in state.edits:
        if item not in sim.scenario.doubts or rule == "deletes: archive" or before is None or version <= sim.doubted_since.get(item, 0):
            continue
        if DOUBTS[item].holds(after, before):
            raise BrokenPromiseError(f"I2: {item} of record {gid} went from {before!r} to {after!r} ({rule}): nobody was asked")


def counters(sim: Simulation) -> dict[str, int]:
    """The counters of all living records, by code."""
    with sim.workspace.store.read() as db:
        state = _State(sim, db)
    return {str(values.get("code")): int(values.get("points") or 0) for values in state.alive().values()}


def candidate_values(sim: Simulation, text: str, name: str) -> list[Any]:
    """The values among which a person chooses."""
    field = sim.entity.fields[name]
    return [cell_to_python(item["value"], field) for item in orjson.loads(text)]


__all__ = ["BrokenPromiseError", "candidate_values", "check_always", "check_settled", "counters", "tokens"]
