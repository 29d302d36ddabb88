"""How things stand, from the state alone: no system is asked."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import orjson
import polars as pl

from trueup.reports.standing import EntityStanding, Spent, Standing, SystemStanding
from trueup.runtime.apart import left_standing
from trueup.runtime.credentials import as_access
from trueup.runtime.limits import resting_until
from trueup.store import allowance, audit, conflict, credential, cursor, failure, golden, hold, parked, paused, retention
from trueup.store import run as run_table
from trueup.store import shadow as shadow_table

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from trueup.model import Config, Entity
    from trueup.store import Db

RUNS_LOOKED_AT = 200
LATELY = timedelta(days=30)

Passes = dict[tuple[str, str], "datetime"]


def nothing_yet(config: Config, shown: str) -> Standing:
    """The standing before the first sync."""
    standing = Standing(shown)
    for name, entity in config.entities.items():
        standing.entities[name] = EntityStanding(
            max_delay_s=entity.max_delay_s, systems={system: SystemStanding() for system in entity.precedence}
        )
    return standing


def standing_of(db: Db, config: Config, shown: str, now: datetime) -> Standing:
    """Read how things stand. `shown` names the state without a password."""
    pauses = paused.list_(db)
    access = {name: as_access(row) for name, row in credential.rows(db).items() if name in config.systems}
    standing = Standing(
        shown,
        synced=True,
        at=now,
        access=access,
        trail=audit.head(db),
        paused=[_pause_words(kind, name) for kind, name in pauses],
    )
    rests = allowance.resting(db, config.state, now)
    standing.spent = {name: Spent(rest.until, rest.why) for name, rest in rests.items() if name in config.systems}
    standing.paused += [f"system {name} (in the configuration)" for name, system in config.systems.items() if system.paused]
    runs = run_table.list_(db, RUNS_LOOKED_AT)
    if runs:
        standing.last_run, standing.last_status, standing.last_started_at = runs[0].id, runs[0].status, runs[0].started_at
    size = retention.size(db, now, now - LATELY)
    standing.size_bytes, standing.history_lines, standing.lines_a_day = size.size_bytes, size.lines, size.lines_lately / size.days
    passes = _passes(runs)
    for name, entity in config.entities.items():
        everything = ("all", "") in pauses or ("entity", name) in pauses
        one = EntityStanding(max_delay_s=entity.max_delay_s, paused=everything)
        one.total = golden.count(db, name)
        one.conflicts = conflict.count(db, name)
        left = left_standing(db, entity)
        for system in entity.precedence:
            item = one.systems[system] = _system(db, entity, system, passes, now)
            values, rows = left.get(system, (0, 0))
            item.apart, item.missing = values + rows, item.missing - rows
            item.resting_until = resting_until(config.systems[system], now)
            item.paused = everything or config.systems[system].paused or ("system", system) in pauses
            one.parked += item.parked
            one.failures += item.failures
            one.holds += item.holds
        standing.entities[name] = one
    return standing


def _system(db: Db, entity: Entity, system: str, passes: Passes, now: datetime) -> SystemStanding:
    name = entity.name
    missing = shadow_table.count(db, name, system, shadow_table.MISSING)
    failures = failure.of(db, name, system)
    item = SystemStanding(
        links=shadow_table.count(db, name, system) - missing,
        failures=failures.height,
        parked=parked.count(db, name, system),
        holds=hold.of(db, name, system, decided=False).height,
        missing=missing,
    )
    standing = cursor.get(db, name, system)
    if entity.written(system):
        waiting = [shadow_table.pending(db, name, system), failures.filter(pl.col("stage") == "write")["gid"].drop_nulls()]
        fresh = golden.since(db, name, standing.considered_version)
        linked = shadow_table.by_golden(db, name, fresh, [system])["gid"]
        waiting.append(fresh.filter(~fresh.is_in(linked.implode())))
        item.pending = pl.concat([part.cast(pl.Int64).alias("gid") for part in waiting]).n_unique()
    item.last_complete_pass = max(filter(None, (passes.get((name, system)), standing.full_at)), default=None)
    if item.last_complete_pass is not None:
        item.delay_s = max(0.0, (now - item.last_complete_pass).total_seconds())
        item.late = entity.max_delay_s is not None and item.delay_s > entity.max_delay_s
    return item


def _passes(runs: list[run_table.Run]) -> Passes:
    """When each (entity, system) last took part, without an error, in a run over all records."""
    found: Passes = {}
    for run in runs:
        if run.summary is None or run.finished_at is None or not run.command.startswith("sync") or "--record" in run.command:
            continue
        entities: Mapping[str, Mapping[str, Mapping[str, Mapping[str, object]]]] = orjson.loads(run.summary).get("entities", {})
        for entity, part in entities.items():
            for system, said in part.get("systems", {}).items():
                if "error" not in said:
                    found.setdefault((entity, system), run.started_at)
    return found


def _pause_words(kind: str, name: str) -> str:
    return "everything" if kind == "all" else f"{kind} {name}"
