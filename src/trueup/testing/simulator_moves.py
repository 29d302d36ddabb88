"""The moves of a game: what people, machines and administrators do between two looks of the engine."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from trueup.testing.simulator_changes import configure
from trueup.testing.simulator_deciding import decide
from trueup.testing.simulator_undo import undo_some_run

if TYPE_CHECKING:
    from collections.abc import Callable

    from trueup.testing.simulator import Simulation


def _add(sim: Simulation, random: Random) -> None:
    sim.people.add(random, random.choice(list(sim.worlds)))


def _edit(sim: Simulation, random: Random) -> None:
    row = sim.some_row(random)
    if row is not None:
        sim.people.edit(random, *row)


def _edit_twice(sim: Simulation, random: Random) -> None:
    """The same field of one customer, in two systems."""
    row = sim.some_row(random)
    if row is None:
        return
    code = sim.people.code(*row)
    places = [(name, key) for name in sim.worlds for key in sim.people.keys(name) if sim.people.code(name, key) == code]
    fields = {name: set(sim.scenario.systems[name].fields) for name, _key in places}
    shared = sorted(set.intersection(*fields.values()) - {"code"})
    if not shared:
        return
    item = random.choice(shared)
    for name, key in places[: random.choice((2, 3))]:
        sim.people.edit(random, name, key, item)
        sim.clock.pass_by(random.choice((0, 1, 60)))


def _sync(sim: Simulation, random: Random) -> None:
    sim.sync(full=random.random() < 0.1)


def _kill(sim: Simulation, random: Random) -> None:
    """A run that is killed somewhere, perhaps several times in a row."""
    for _number in range(random.choice((1, 1, 2))):
        sim.sync(kill_at=random.randrange(1, 25))


def _settle(sim: Simulation, random: Random) -> None:
    del random
    sim.settle()


def _wait(sim: Simulation, random: Random) -> None:
    sim.clock.pass_by(random.choice((1, 61, 400, 4_000, 90_000)))


def _remove(sim: Simulation, random: Random) -> None:
    row = sim.some_row(random)
    if row is not None:
        sim.people.remove(*row)


def _rename(sim: Simulation, random: Random) -> None:
    row = sim.some_row(random)
    if row is not None:
        sim.people.rename(*row)


def _move(sim: Simulation, random: Random) -> None:
    row = sim.some_row(random)
    if row is not None and sim.scenario.systems[row[0]].filtered:
        sim.people.move(*row)


def _double(sim: Simulation, random: Random) -> None:
    row = sim.some_row(random)
    if row is not None:
        sim.people.double(random, *row)


def _reuse(sim: Simulation, random: Random) -> None:
    row = sim.some_row(random)
    if row is not None:
        sim.people.reuse(*row)


def _spoil(sim: Simulation, random: Random) -> None:
    row = sim.some_row(random)
    if row is not None:
        sim.people.spoil(*row)


def _touch(sim: Simulation, random: Random) -> None:
    sim.people.table(random.choice(list(sim.worlds))).touch()


def _fault(sim: Simulation, random: Random) -> None:
    """Something will go wrong in the next run, and somebody may edit in the middle of it."""
    name = random.choice(list(sim.worlds))
    faults = sim.systems[name].faults
    kind = random.choice(
        ("reads_fail", "reads_break", "writes_fail", "replies_lost", "halves", "retries", "intrude", "intrude", "early", "early")
    )
    number = random.randrange(1 << 30)
    if kind == "early":
        faults.intrude_early = lambda: _intrude(sim, name, Random(number))
    elif kind != "intrude":
        setattr(faults, kind, random.choice((1, 1, 2)))
    elif sim.worlds[name].caps.precondition == "native":
        faults.intrude = lambda: _intrude(sim, name, Random(number))
    _sync(sim, random)


def _intrude(sim: Simulation, name: str, random: Random) -> None:
    keys = sim.people.keys(name)
    for key in random.sample(keys, min(len(keys), 3)):
        sim.people.edit(random, name, key)


def _listing(sim: Simulation, random: Random) -> None:
    """A listing that ends early, or one that shows an old state."""
    name = random.choice(list(sim.worlds))
    if sim.scenario.systems[name].settles and random.random() < 0.6:
        sim.sync()
        sim.people.table(name).lag(random.choice((1, 2, 3)))
        sim.lagging = True
    else:
        sim.people.table(name).hold_back(random.choice((1, 2, 50)), random.choice((1, 2)))
        sim.lagging = True
    if random.random() < 0.6:
        sim.people.add(random, name)
    _edit(sim, random)
    _sync(sim, random)


def _decide(sim: Simulation, random: Random) -> None:
    """Somebody settles some of what waits, in the middle of everything."""
    decide(sim, random, 0.5)


def _configure(sim: Simulation, random: Random) -> None:
    """Somebody edits the configuration; the next process has the new one. Perhaps a person wants to see the plan of it first."""
    configure(sim, random)
    if random.random() < 0.3:
        sim.plan_and_sync()


def _reread(sim: Simulation, random: Random) -> None:
    """Everything agrees, and then some values are read otherwise."""
    sim.settle()
    configure(sim, random, random.choice(("clean", "read", "values")))
    sim.reread_in_silence()


def _order(sim: Simulation, random: Random) -> None:
    sim.clerks.work(random)


def _down(sim: Simulation, random: Random) -> None:
    world = sim.worlds[random.choice(list(sim.worlds))]
    world.down = None if world.down else "nobody answers"


def _undo(sim: Simulation, random: Random) -> None:
    undo_some_run(sim, random)


def _backup(sim: Simulation, random: Random) -> None:
    del random
    sim.keeper.back_up()


def _restore(sim: Simulation, random: Random) -> None:
    """The state is one of before again; perhaps a person wants to see the plan of it first."""
    sim.keeper.restore(random)
    if random.random() < 0.3:
        sim.plan_and_sync()


def _rebuild(sim: Simulation, random: Random) -> None:
    sim.keeper.rebuild(random)


def _plan(sim: Simulation, random: Random) -> None:
    del random
    sim.plan_and_sync()


def _burst(sim: Simulation, random: Random) -> None:
    """Many people at work."""
    for _number in range(25):
        (_edit_twice if random.random() < 0.1 else _edit)(sim, random)


MOVES: dict[str, Callable[[Simulation, Random], None]] = {
    "add": _add,
    "edit": _edit,
    "edit twice": _edit_twice,
    "sync": _sync,
    "kill": _kill,
    "wait": _wait,
    "settle": _settle,
    "remove": _remove,
    "rename": _rename,
    "move": _move,
    "double": _double,
    "reuse": _reuse,
    "spoil": _spoil,
    "touch": _touch,
    "fault": _fault,
    "listing": _listing,
    "down": _down,
    "decide": _decide,
    "reread": _reread,
    "order": _order,
    "configure": _configure,
    "plan": _plan,
    "undo": _undo,
    "burst": _burst,
    "backup": _backup,
    "restore": _restore,
    "rebuild": _rebuild,
}
WEIGHTS = {
    "add": 14,
    "edit": 25,
    "edit twice": 10,
    "sync": 8,
    "kill": 4,
    "wait": 3,
    "settle": 2,
    "remove": 3,
    "rename": 2,
    "move": 2,
    "double": 1,
    "reuse": 1,
    "spoil": 1,
    "touch": 1,
    "fault": 4,
    "listing": 2,
    "down": 2,
    "decide": 2,
    "order": 8,
    "configure": 6,
    "reread": 1,
    "plan": 1,
    "undo": 2,
    "burst": 1,
    "backup": 3,
    "restore": 2,
    "rebuild": 1,
}
HARSH = {"add": 6, "edit": 14, "edit twice": 4, "burst": 6, "kill": 22, "fault": 24, "listing": 10, "settle": 4}
"""Little but trouble: for games that are to break what is fragile."""
