"""Undoing in the simulator: somebody takes back what an earlier run did, and what people did meanwhile must still stand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
import polars as pl

from trueup.core.facts import MISSING, WITHDRAWN
from trueup.core.undo import DELETED, TAKEN_OUT
from trueup.runtime.undo import UNDONE_KINDS
from trueup.store import golden, history, shadow
from trueup.testing.simulator_checks import BrokenPromiseError
from trueup.testing.simulator_scenario import ENTITY
from trueup.testing.simulator_world import Kill, one_thread

if TYPE_CHECKING:
    from random import Random

    from trueup.testing.simulator import Simulation

RUNS_BACK = 4
COUNTER = "points"


def undo_some_run(sim: Simulation, random: Random) -> None:
    """Undo one of the last runs, all of it or one field of it; the process may be killed in it."""
    store = sim.workspace.store
    with store.read() as db:
        runs = _runs_that_did_something(db)
        newest = _newest_line(db)
    if not runs:
        return
    run = random.choice(runs)
    field = random.choice(list(sim.entity.fields)) if random.random() < 0.2 else None
    kill_at = random.randrange(1, 15) if random.random() < 0.3 else None
    sim.killer.at = None if kill_at is None else sim.killer.passed + kill_at
    for system in sim.systems.values():
        system.calls.clear()
        system.others.clear()
    sim.undoing = True
    try:
        with one_thread():
            sim.workspace.undo(run, field=field)
    except Kill:
        sim.kills[sim.killer.where.partition(" to ")[0]] += 1
        sim.restart()
    finally:
        sim.undoing = False
        sim.people.looked_at()  # it reads the rows that it is about
    sim.killer.at = None
    _take_note(sim, run, newest)


def _runs_that_did_something(db: Any) -> list[int]:
    """The last runs of which anything could be put back."""
    kinds = ", ".join(f"'{kind}'" for kind in UNDONE_KINDS)
    found: set[int] = set()
    for table in (f"history WHERE run IS NOT NULL AND kind IN ({kinds})", "created"):
        asked = f"SELECT DISTINCT run FROM {table} ORDER BY run DESC LIMIT {RUNS_BACK}"  # noqa: S608 - words of our own
        found |= set(db.connection.exec_driver_sql(asked).scalars())
    return sorted(found)


def _newest_line(db: Any) -> int:
    return int(db.connection.exec_driver_sql("SELECT coalesce(max(id), 0) FROM history").scalar_one())


def _take_note(sim: Simulation, run: int, newest: int) -> None:
    """What was taken back is not what people say any more."""
    fields = {called: name for name, called in sim.scenario.called.items()}
    people = sim.people
    with sim.workspace.store.read() as db:
        ids = db.connection.exec_driver_sql(f"SELECT DISTINCT golden_id FROM history WHERE id > {newest}").scalars().all()  # noqa: S608 - a number
        for gid in ids:
            known = golden.fetch(db, ENTITY, pl.Series([gid], dtype=pl.Int64))
            if known.is_empty():
                continue  # an order
            code = str(orjson.loads(known["data"][0] or "{}").get(sim.scenario.called["code"]))
            every = history.of(db, ENTITY, gid)
            lines = every.filter(pl.col("id") > newest)
            _check_what_stands(sim, every.filter(pl.col("id") <= newest), lines, run, gid)
            _check_rows_left(db, lines, gid)
            if not lines.filter(pl.col("kind").is_in([DELETED, TAKEN_OUT])).is_empty():
                sim.undone.add(code)
            for called, before, after in (
                lines.filter((pl.col("kind") == "undo") & pl.col("field").is_not_null()).select("field", "before", "after").rows()
            ):
                name = fields.get(called)
                sim.keeper.said.add((code, str(name)))
                if name == COUNTER:
                    sim.keeper.moved_back.add(code)
                    people.sums[code] = people.sums.get(code, 0) + _number(after) - _number(before)
                here = [place for place in people.typed if place[0] in people.worlds and place[2] == name]
                for place in [place for place in here if people.code(*place[:2]) == code]:
                    del people.typed[place]


def _check_what_stands(sim: Simulation, before: pl.DataFrame, lines: pl.DataFrame, run: int, gid: int) -> None:
    """I2: no value that somebody set after the run is replaced by its undo, but for sums, sets and texts, which keep all edits.

    What somebody set, and had taken back since, stands no more.
    """
    whole = [name for name, item in sim.entity.fields.items() if item.conflict not in {"add", "union", "text"}]
    later = _set_after(before, run)
    for name in lines.filter((pl.col("kind") == "undo") & pl.col("field").is_in(whole))["field"].to_list():
        if name in later:
            message = f"I2: the undo of run {run} took back {name} of record {gid}, which was edited after that run"
            raise BrokenPromiseError(message)


def _set_after(lines: pl.DataFrame, run: int) -> set[str]:
    """The fields that somebody set after a run, in a run that is not undone; or is again, because its undo is."""
    found: set[str] = set()
    undone: set[tuple[str, int]] = set()
    for name, kind, number, rule in lines.sort("id", descending=True).select("field", "kind", "run", "rule").rows():
        if kind == "undo" and name is not None and (name, number) not in undone:
            undone.add((name, int(rule.rpartition(" ")[2])))
        elif kind in {"edit", "resolved"} and number is not None and number > run and (name, number) not in undone:
            found.add(name)
    return found


def _check_rows_left(db: Any, lines: pl.DataFrame, gid: int) -> None:
    """I2: no record loses its last row by an undo."""
    if lines.filter(pl.col("kind") == TAKEN_OUT).is_empty():
        return
    states = shadow.by_golden(db, ENTITY, pl.Series([gid], dtype=pl.Int64))["state"].to_list()
    if set(states) <= {MISSING, WITHDRAWN}:
        message = f"I2: the undo of a run took the last row of record {gid}"
        raise BrokenPromiseError(message)


def _number(text: str | None) -> int:
    return int(orjson.loads(text) or 0) if text is not None else 0
