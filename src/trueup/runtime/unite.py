"""Make one golden record of several in the state, and several of one again. Nothing is written to a system: the next run delivers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import orjson
import polars as pl

from trueup.core.cells import GID, KEY, SYSTEM
from trueup.core.facts import GOLDEN_SCHEMA, SHADOW_SCHEMA
from trueup.core.frames import typed
from trueup.core.match import ALIKE, DUPLICATE
from trueup.core.unite import UNITED, members, ranked, taken, unite
from trueup.errors import StateError
from trueup.runtime.commit import commit_decision
from trueup.runtime.former_keys import naming, referrers_of, wake
from trueup.store import audit, conflict, golden, history, parked, sending, shadow, unsettled_key

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from trueup.core.unite import Member, Taken, United
    from trueup.model import Config, Entity
    from trueup.store import Db, Store

GROUPS_AT_ONCE = 250
TOLD_APART = "told apart"
"""The kind of history that tells that a person said of a row that it is not this record's."""
_LINE_SCHEMA = {
    "version": pl.Int64(),
    "gid": pl.Int64(),
    "run": pl.Int64(),
    "kind": pl.String(),
    "at": pl.Datetime("us", "UTC"),
    "recorded_at": pl.Datetime("us", "UTC"),
    "rule": pl.String(),
    "detail": pl.String(),
}


@dataclass
class Joined:
    """What became of records that are the same: how many were taken in by others, values that changed, and rows parked as duplicates."""

    records: int = 0
    values: int = 0
    doubles: int = 0
    survivors: list[int] = field(default_factory=list)


def unite_records(
    store: Store, config: Config, entity: Entity, groups: Iterable[tuple[Sequence[int], str]], *, run: int | None, now: datetime
) -> Joined:
    """Make one record of each group of golden ids, and tell the history why; some hundred groups a transaction, each whole or not at all.

    A record that is not there any more, or has an open conflict, is left out of its group. Raises StateError where an earlier run was
    interrupted, so that it is not known what its rows hold.
    """
    done = Joined()
    waiting = list(groups)
    if waiting:
        with store.write() as tx:  # before anything: whoever is killed half-way has woken them all the same
            _wake(tx, config, entity, [gid for group, _why in waiting for gid in group], now)
    for first in range(0, len(waiting), GROUPS_AT_ONCE):
        some = waiting[first : first + GROUPS_AT_ONCE]
        with store.write() as tx:
            _settled(tx, entity)
            _unite_some(tx, entity, some, done, run=run, now=now)
    return done


def _settled(db: Db, entity: Entity) -> None:
    for system in entity.mappings:
        if sending.outstanding(db, entity.name, system):
            raise StateError(
                f"it is not known yet what became of the last rows sent to {system}", hint="`trueup sync` finds out; then run this again"
            )


def _unite_some(
    tx: Db, entity: Entity, groups: Sequence[tuple[Sequence[int], str]], done: Joined, *, run: int | None, now: datetime
) -> None:
    known = alive(tx, entity, pl.Series([gid for group, _why in groups for gid in group], dtype=pl.Int64))
    whole: list[list[Member]] = []
    why: dict[int, str] = {}
    for group, words in groups:
        here = ranked(entity, [known[gid] for gid in dict.fromkeys(group) if gid in known])
        if len(here) > 1:
            whole.append(here)
            why[here[0].id] = words
    if not whole:
        return
    result = unite(entity, whole, now)
    taken_in = [one.id for group in whole for one in group[1:]]
    _unpark(tx, entity, whole)
    version = commit_decision(tx, entity, result.decision, run=run, now=now, who=None if run is not None else audit.me())
    _tell(tx, entity, result, why, version=version, run=run, now=now)
    _park(tx, entity, result.doubles, run=run, now=now)
    done.records += len(taken_in)
    done.values += result.decision.history.filter(pl.col("kind") == "edit").height
    done.doubles += result.doubles.height
    done.survivors += [group[0].id for group in whole]


def alive(db: Db, entity: Entity, gids: pl.Series) -> dict[int, Member]:
    """The living records among these without an open conflict, with what they say and their rows."""
    known = golden.fetch(db, entity.name, gids)
    known = known.filter(pl.col("deleted_at").is_null() & pl.col("alias_of").is_null())
    asked = conflict.open_of(db, entity.name, known["id"])["gid"].unique()
    known = known.filter(~pl.col("id").is_in(asked.implode()))
    shadows = shadow.by_golden(db, entity.name, known["id"])
    return members(entity, typed(known, GOLDEN_SCHEMA), typed(shadows, SHADOW_SCHEMA))


def _unpark(tx: Db, entity: Entity, groups: Sequence[Sequence[Member]]) -> None:
    """Questions about the rows of these records are answered."""
    rows = {(row["system"], row["key"]) for group in groups for one in group for row in one.shadows}
    together = {one.id: group[0].id for group in groups for one in group}
    for system, key, candidates, why in parked.of(tx, entity.name).select("system", "key", "candidates", "why").rows():
        if not why.startswith(ALIKE) or (system, key) not in rows:
            continue
        own = next(one.id for group in groups for one in group if any((row["system"], row["key"]) == (system, key) for row in one.shadows))
        if any(together.get(gid) == together[own] for gid in orjson.loads(candidates or "[]")):
            parked.remove(tx, entity.name, system, pl.Series([key], dtype=pl.String))


def _tell(tx: Db, entity: Entity, result: United, why: Mapping[int, str], *, version: int, run: int | None, now: datetime) -> None:
    """The lines that say which records were taken in, and what their rows were, so that it can be undone."""
    who = None if run is not None else audit.me()
    rows = []
    for gid, text in result.told:
        detail = text if who is None else orjson.dumps(orjson.loads(text) | {"who": who}).decode()
        rows.append((version, gid, run, UNITED, now, now, why[gid], detail))
    history.append(tx, entity.name, pl.DataFrame(rows, schema=_LINE_SCHEMA, orient="row"))


def _park(tx: Db, entity: Entity, doubles: pl.DataFrame, *, run: int | None, now: datetime) -> None:
    moment = pl.lit(now).cast(pl.Datetime("us", "UTC"))
    rows = doubles.select(
        pl.col(SYSTEM).alias("system"),
        pl.col(KEY).alias("key"),
        pl.format("[{}]", GID).alias("candidates"),
        pl.lit(DUPLICATE).alias("why"),
        pl.lit(run, dtype=pl.Int64).alias("run"),
        moment.alias("since"),
    )
    for (system,), mine in rows.partition_by("system", as_dict=True).items():
        parked.remove(tx, entity.name, str(system), mine["key"])  # an older question and its decision
        unsettled_key.put(tx, entity.name, str(system), mine.select("key", pl.lit("parked").alias("why"), "since"))
    if not rows.is_empty():
        parked.put(tx, entity.name, rows)


def _wake(tx: Db, config: Config, entity: Entity, gids: Sequence[int], now: datetime) -> None:
    """Let the next reading look at every row that refers to one of these records: it refers to another one from now on."""
    due = pl.DataFrame({"gid": list(gids)}, schema={"gid": pl.Int64()})
    for other in referrers_of(entity.name, config.entities):
        fields = pl.DataFrame({"system": list(other.mappings)}, schema={"system": pl.String()})
        wake(tx, other, naming(tx, other, entity.name, fields.join(due, how="cross")), "refers to a record that is another one now", now)


def ask_about(tx: Db, entity: Entity, questions: Sequence[tuple[str, str, Sequence[int], str]], *, run: int | None, now: datetime) -> int:
    """Put rows (system, key, the records that their own may be the same as, why) before a person; those that wait already stay as they are.

    Returns how many are new.
    """
    waiting = set(parked.of(tx, entity.name).select("system", "key").rows())
    rows = [
        (system, key, orjson.dumps(list(gids)).decode(), f"{ALIKE}: {why}", run, now)
        for system, key, gids, why in questions
        if (system, key) not in waiting
    ]
    schema = {
        "system": pl.String(),
        "key": pl.String(),
        "candidates": pl.String(),
        "why": pl.String(),
        "run": pl.Int64(),
        "since": pl.Datetime("us", "UTC"),
    }
    if rows:
        parked.put(tx, entity.name, pl.DataFrame(rows, schema=schema, orient="row"))
    return len(rows)


def tell_apart(tx: Db, entity: str, system: str, key: str, gids: Sequence[int], now: datetime) -> None:
    """Remember that a person said of a row that it is none of these records: they are not asked about again."""
    version = golden.next_version(tx)
    detail = orjson.dumps({"who": audit.me(), "row": [system, key]}).decode()
    rule = f"a person said that {system}:{key} is another record"
    rows = [(version, gid, None, TOLD_APART, now, now, rule, detail) for gid in gids]
    history.append(tx, entity, pl.DataFrame(rows, schema=_LINE_SCHEMA, orient="row"))


def told_apart(db: Db, entity: str) -> set[tuple[int, int]]:
    """Pairs of golden ids (the smaller one first) of which a person said that they are two."""
    pairs: set[tuple[int, int]] = set()
    for gid, text in history.of_kind(db, entity, TOLD_APART).select("gid", "detail").rows():
        system, key = orjson.loads(text)["row"]
        linked = shadow.by_key(db, entity, system, pl.Series([key], dtype=pl.String))["gid"].drop_nulls()
        if linked.is_empty():
            continue
        both = golden.resolve_alias(db, entity, pl.Series([gid, linked[0]], dtype=pl.Int64))["gid"].unique().sort().to_list()
        if len(both) == 2:
            pairs.add((both[0], both[1]))
    return pairs


# ---------------------------------------------------------------- the way back


@dataclass
class Partable:
    """Of records that a run took in, those that can be their own again, and why others cannot: (the record that took it in, reason)."""

    taken: list[Taken]
    free: frozenset[tuple[str, str]]
    refused: list[tuple[int, str]]


def partable(db: Db, entity: Entity, lines: pl.DataFrame, edited: set[int]) -> Partable:
    """What can be undone of these lines of kind `united` (gid, detail); `edited` are records that somebody changed since."""
    found = Partable([], frozenset(), [])
    given_up: list[tuple[str, str]] = []
    for gid, text in lines.select("gid", "detail").rows():
        record = orjson.loads(text)["record"]
        row = golden.fetch(db, entity.name, pl.Series([record], dtype=pl.Int64)).row(0, named=True)
        if row["alias_of"] != gid or row["deleted_at"] is not None:
            continue  # it was undone already
        into = golden.fetch(db, entity.name, pl.Series([gid], dtype=pl.Int64)).row(0, named=True)
        if into["alias_of"] is not None:
            found.refused.append((gid, "united again"))
        elif into["deleted_at"] is not None:
            found.refused.append((gid, "deleted since"))
        elif gid in edited:
            found.refused.append((gid, "united and edited"))
        else:
            one = taken(text, {name: row[name] for name in GOLDEN_SCHEMA})
            found.taken.append(one)
            given_up += [(shadow_["system"], shadow_["key"]) for shadow_ in one.shadows]
    found.free = _free(db, entity, given_up)
    return found


def _free(db: Db, entity: Entity, places: Sequence[tuple[str, str]]) -> frozenset[tuple[str, str]]:
    """Those (system, key) under which no row of any record is known."""
    free = set(places)
    for system in {system for system, _key in places}:
        keys = pl.Series([key for name, key in places if name == system], dtype=pl.String)
        free -= {(system, key) for key in shadow.by_key(db, entity.name, system, keys)["key"].to_list()}
    return frozenset(free)


def parted(tx: Db, config: Config, entity: Entity, found: Partable, now: datetime) -> None:
    """After `part` was committed: the rows are not parked any more, and whoever refers to these records is looked at again."""
    for system in {system for system, _key in found.free}:
        keys = pl.Series([key for name, key in found.free if name == system], dtype=pl.String)
        parked.remove(tx, entity.name, system, keys)
    _wake(tx, config, entity, [int(one.row["alias_of"]) for one in found.taken], now)
