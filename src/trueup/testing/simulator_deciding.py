"""People who decide: what waits in the queues is approved, refused, taken or given, as the command line lets them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import polars as pl

from trueup.runtime.resolve import take_system, take_value
from trueup.store import conflict, golden, hold, parked
from trueup.store import shadow as shadow_table
from trueup.testing.simulator_scenario import ENTITY, GRADES, ORDER

if TYPE_CHECKING:
    from random import Random

    from trueup.testing.simulator import Simulation

CEILING = 1_000


def open_questions(sim: Simulation) -> str:
    """What waits for people, in short."""
    with sim.workspace.store.read() as db:
        frames = [conflict.open_of(db, ENTITY), parked.of(db, ENTITY), hold.of(db, ENTITY, decided=False)]
    return "; ".join(str(frame.rows(named=True)[:2]) for frame in frames if not frame.is_empty())


def decide(sim: Simulation, random: Random, some: float = 1.0) -> bool:
    """People settle what waits for them, each thing with the chance `some`; whether there was anything."""
    with sim.workspace.store.read() as db:
        conflicts = conflict.open_of(db, ENTITY)
        rows = parked.of(db, ENTITY).filter(pl.col("system").is_in(list(sim.worlds)))
        holds = hold.of(db, ENTITY, decided=False).filter(pl.col("system").is_in(list(sim.worlds)))
        orders = conflict.open_of(db, ORDER)  # after a restore, whatever their rules say
    for id_ in holds["id"].to_list():
        if random.random() < some:
            _decide_hold(sim, random, id_)
    for system, key, why in rows.select("system", "key", "why").rows():
        if random.random() < some:
            _place(sim, system, key, why)
    for row in conflicts.iter_rows(named=True):
        if random.random() < some and row["field"] in sim.entity.fields:
            _resolve(sim, random, row)
    if ORDER not in sim.workspace.config.entities:  # only one system has orders: nobody can answer until another one has them
        orders = orders.clear()
    for id_, sides in orders.select("id", "candidates").rows():
        systems = [item["system"] for item in orjson.loads(sides) if item["system"] in sim.clerks.places()]
        if systems and random.random() < some:
            take_system(sim.workspace.store, sim.workspace.config, id_, random.choice(systems), sim.clock())
    return not (conflicts.is_empty() and rows.is_empty() and holds.is_empty() and orders.is_empty())


def decided_against(sim: Simulation) -> dict[str, str]:
    """Systems of which a person refused, or left as it is, what a guard holds, and nobody carried that out yet: system -> kind."""
    with sim.workspace.store.read() as db:
        decided = hold.of(db, ENTITY, decided=True)
    return dict(decided.filter(pl.col("decision").is_in(["refused", "left"])).sort("kind").select("system", "kind").rows())


def _decide_hold(sim: Simulation, random: Random, id_: int) -> None:
    chance = random.random()
    with sim.workspace.store.write() as tx:
        if chance < 0.45:
            hold.decide(tx, id_, "approved", at=sim.clock(), ceiling=CEILING)
        else:
            hold.decide(tx, id_, "refused" if chance < 0.75 else "left", at=sim.clock())


def _place(sim: Simulation, system: str, key: str, why: str) -> None:
    """Second rows are deleted; a row that became another record is given its own key."""
    if system not in sim.worlds or key not in sim.people.table(system).rows:
        return
    if "another record" in why:
        sim.people.rename(system, key)
        return
    sim.people.remove(system, key)


def _resolve(sim: Simulation, random: Random, row: dict[str, object]) -> None:
    """A person takes one system's value, gives another, or refuses a change that was held."""
    items = {called: name for name, called in sim.scenario.called.items()}
    id_, gid, called = int(str(row["id"])), int(str(row["gid"])), str(row["field"])
    name = items[called]
    sides = orjson.loads(str(row["candidates"]))
    systems = sorted({item["system"] for item in sides if item["system"] in sim.worlds and item["value"] is not None})
    with sim.workspace.store.read() as db:
        ids = pl.Series([gid], dtype=pl.Int64)
        values = orjson.loads(golden.fetch(db, ENTITY, ids)["data"][0])
        links = shadow_table.by_golden(db, ENTITY, ids).select("system", "key").rows()
    code = str(values.get(sim.scenario.called["code"]))
    sim.keeper.said.add((code, name))
    if name == "points":
        sim.people.unsure.add(code)
    owner = sim.scenario.owners.get(name)
    chosen = random.choice(systems) if systems and random.random() < 0.6 else None
    if chosen is None or chosen != owner:
        sim.people.told_otherwise(name, links)
    if chosen is not None:
        take_system(sim.workspace.store, sim.workspace.config, id_, chosen, sim.clock())
        return
    given: object = {"price": f"{sim.people.token()}.5", "points": "12", "tags": sim.people.token(), "grade": random.choice(GRADES)}.get(
        name, f"{sim.people.token()}-OK"
    )
    if row["kind"] == "hold" and random.random() < 0.7:
        given = values.get(called)
    take_value(sim.workspace.store, sim.workspace.config, id_, given, sim.clock())
