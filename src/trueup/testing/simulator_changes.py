"""Administrators: what they change in the configuration between two runs, on the state that is there.

Each change is one edit of `trueup.yaml` that the configuration's own checks would let pass; the next run is a new process with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from trueup.model import Deletes, Direction
from trueup.store import golden, names
from trueup.store.renames import fields_known
from trueup.testing.simulator_deciding import decided_against
from trueup.testing.simulator_people import TYPED
from trueup.testing.simulator_scenario import (
    CLEANS,
    DOUBTS,
    ENTITY,
    HERE,
    KEYS,
    MATCHES,
    PLACES,
    PLAIN_RULES,
    READS,
    REGION,
    TABLE,
    TABLES,
    WORDS,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from trueup.model import ConflictRule
    from trueup.testing.simulator import Simulation
    from trueup.testing.simulator_scenario import SystemPlan

OWNABLE = ("name", "status")
RULED = ("name", "status", "email", "price")


def configure(sim: Simulation, random: Random, name: str | None = None) -> None:
    """Change something, or the thing called `name`, and start the next process with it."""
    name = name or random.choice(list(CHANGES))
    sim.changes[name] += 1
    CHANGES[name](sim, random)
    sim.restart()


def add_field(sim: Simulation, random: Random) -> None:
    """A mapping shows one field more."""
    lacking = [(plan, item) for plan in sim.scenario.systems.values() for item in TYPED if item not in plan.fields]
    if lacking:
        plan, item = random.choice(lacking)
        plan.fields = (*plan.fields, item)
        _uncertain(sim, plan.name)


def remove_field(sim: Simulation, random: Random) -> None:
    """A mapping shows one field less; what stands in its column stays there."""
    owners = sim.scenario.owners
    shown = [(plan, item) for plan in sim.scenario.systems.values() for item in plan.fields if item != "code"]
    shown = [(plan, item) for plan, item in shown if owners.get(item) != plan.name]
    if shown:
        plan, item = random.choice(shown)
        plan.fields = tuple(name for name in plan.fields if name != item)
        sim.people.hidden(plan.name, item)
        _uncertain(sim, plan.name)


def change_clean(sim: Simulation, random: Random) -> None:
    """A field is cleaned in another way."""
    item = random.choice(list(CLEANS))
    sim.scenario.cleans[item] = random.choice((None, "lower", "upper"))
    sim.scenario.retold.add(item)


def change_reading(sim: Simulation, random: Random) -> None:
    """A system's values are read by another expression."""
    shown = [(plan, item) for plan in sim.scenario.systems.values() for item in CLEANS if item in plan.fields]
    if shown:
        plan, item = random.choice(shown)
        plan.reads[item] = random.choice(READS)
        sim.scenario.retold.add(item)


def change_filter(sim: Simulation, random: Random) -> None:
    """A mapping gets a `where`, or loses it."""
    plan = random.choice(list(sim.scenario.systems.values()))
    plan.filtered = not plan.filtered
    rows = sim.people.table(plan.name).rows.values()
    sim.people.unsure |= {str(row.values.get("c_code")) for row in rows if row.values.get(REGION) != HERE}


def change_modified(sim: Simulation, random: Random) -> None:
    """A mapping names the column that dates its rows, or does not name it any more."""
    plans = [plan for plan in sim.scenario.systems.values() if not plan.caps.incremental]
    if plans:
        plan = random.choice(plans)
        plan.dated = not plan.dated


def remove_system(sim: Simulation, random: Random) -> None:
    """A system is not connected any more; nothing in it is touched."""
    scenario = sim.scenario
    name = random.choice(list(scenario.systems))
    rest = [plan for other, plan in scenario.systems.items() if other != name]
    if len(rest) < 2 or all(plan.direction != "both" for plan in rest):
        return
    sim.away[name] = (scenario.systems.pop(name), sim.worlds.pop(name))
    sim.people.disconnected(name)
    scenario.owners = {item: owner for item, owner in scenario.owners.items() if owner != name}
    if scenario.deletes is not None:
        sources = tuple(source for source in scenario.deletes.sources if source != name)
        scenario.deletes = Deletes(sources, scenario.deletes.action, scenario.deletes.set) if sources else None


def add_system(sim: Simulation, random: Random) -> None:
    """A system is connected, for the first time or again; people have rows in it."""
    if not sim.away:
        return
    name = random.choice(list(sim.away))
    sim.scenario.systems[name], sim.worlds[name] = sim.away.pop(name)
    for _number in range(random.choice((0, 1, 3))):
        sim.people.add(random, name)
    _uncertain(sim, name)


def change_rule(sim: Simulation, random: Random) -> None:
    """Another rule settles the conflicts of a field."""
    free = [item for item in RULED if item not in sim.scenario.owners]
    rules: tuple[ConflictRule, ...] = PLAIN_RULES
    sim.scenario.rules[random.choice(free)] = random.choice(rules)


def change_owner(sim: Simulation, random: Random) -> None:
    """A field gets a source of truth, another one, or none."""
    item = random.choice(OWNABLE)
    holders = [plan.name for plan in sim.scenario.systems.values() if item in plan.fields and plan.direction != "write"]
    owner = random.choice([*holders, None])
    sim.scenario.owners.pop(item, None)
    sim.scenario.rules[item] = "manual"
    if owner is not None:
        sim.scenario.owners[item] = owner
    for place in [place for place in sim.people.typed if place[2] == item]:
        del sim.people.typed[place]  # what an owner typed before it was one


def change_match(sim: Simulation, random: Random) -> None:
    """Other fields say which rows are one record."""
    sim.scenario.match = random.choice([rules for rules in MATCHES if rules != sim.scenario.match])


def change_deletes(sim: Simulation, random: Random) -> None:
    """Others may delete, or something else follows."""
    sources = tuple(plan.name for plan in sim.scenario.systems.values() if plan.direction != "write" and random.random() < 0.7)
    sim.scenario.deletes = Deletes(sources, random.choice(("propagate", "ignore"))) if sources and random.random() < 0.7 else None


def change_precedence(sim: Simulation, random: Random) -> None:
    """The systems rank otherwise."""
    names = list(sim.scenario.systems)
    random.shuffle(names)
    sim.scenario.systems = {name: sim.scenario.systems[name] for name in names}
    sim.scenario.explicit = random.random() < 0.5


def change_guard(sim: Simulation, random: Random) -> None:
    """A guard is set, or taken away."""
    del random
    sim.scenario.guarded = not sim.scenario.guarded


def change_doubt(sim: Simulation, random: Random) -> None:
    """A field gets a `hold_if`, or loses it."""
    item = random.choice(list(DOUBTS))
    sim.scenario.doubts ^= {item}
    with sim.workspace.store.read() as db:
        sim.doubted_since[item] = golden.current_version(db)


def change_direction(sim: Simulation, random: Random) -> None:
    """A system is written from now on, or not any more, or not heard any more."""
    scenario = sim.scenario
    heard = {*scenario.owners.values(), *(scenario.deletes.sources if scenario.deletes else ())}
    plan = random.choice(list(scenario.systems.values()))
    others = [other for name, other in scenario.systems.items() if name != plan.name]
    able: list[Direction] = [item for item in get_args(Direction) if item != plan.direction and (item != "write" or plan.name not in heard)]
    if all(other.direction != "both" for other in others):
        able = [item for item in able if item == "both"]
    if able:
        plan.direction = random.choice(able)
        _uncertain(sim, plan.name)


def change_settle(sim: Simulation, random: Random) -> None:
    """A system is said to show old values for a while, or not to do so any more."""
    plan = random.choice(list(sim.scenario.systems.values()))
    plan.settles = not plan.settles
    sim.people.table(plan.name).lag(0)


def change_place(sim: Simulation, random: Random) -> None:
    """A system has moved to another address; some rows were left behind."""
    plan = random.choice(list(sim.scenario.systems.values()))
    plan.place = next(place for place in PLACES if place != plan.place)
    _move(sim, random, plan)


def change_object(sim: Simulation, random: Random) -> None:
    """The customers are in another table of the same system; some rows were left behind."""
    plan = random.choice(list(sim.scenario.systems.values()))
    plan.table = next(table for table in TABLES if table != plan.table)
    _move(sim, random, plan)


def _move(sim: Simulation, random: Random, plan: SystemPlan) -> None:
    """The rows stand in a new table, under their keys."""
    old = sim.people.table(plan.name)
    for key in random.sample(list(old.rows), min(len(old.rows), random.choice((0, 0, 1, 2)))):
        sim.people.left_behind(plan.name, key)
        old.remove(key)
    new = sim.worlds[plan.name].add_table(TABLE, old.columns.values(), old.key, modified=old.modified)
    for row in old.rows.values():
        new.insert(row.values)


def change_key(sim: Simulation, random: Random) -> None:
    """The rows of a system have a new key, in another column; what refers to them follows."""
    plan = random.choice(list(sim.scenario.systems.values()))
    table = sim.people.table(plan.name)
    table.next_number(sequence=False)  # no number is given again
    rows = dict(table.rows)
    plan.key = next(column for column in KEYS if column != plan.key)
    table.key = (plan.key,)
    table.rows.clear()
    table.tombstones.clear()
    table.lag(0)
    for old, row in rows.items():
        new = sim.people.new_key(plan.name)
        table.insert({**row.values, plan.key: sim.people.native_key(plan.name, new)})
        sim.people.has_key(plan.name, old, new)
    sim.clerks.expected.pop(plan.name, None)


def change_words(sim: Simulation, random: Random) -> None:
    """A system calls the grades otherwise, in its rows and in its mapping."""
    plan = random.choice(list(sim.scenario.systems.values()))
    words = random.choice([words for words in WORDS if words != plan.words])
    grades = {word: grade for grade, word in plan.words.items()}
    table = sim.people.table(plan.name)
    for key, row in list(table.rows.items()):
        said = row.values.get("c_grade")
        if said is not None:
            table.edit(key, {"c_grade": words[grades[said]]})
    plan.words = dict(words)


def rename_field(sim: Simulation, random: Random) -> None:
    """A field is called otherwise in the configuration, which says what it was called before."""
    scenario = sim.scenario
    with sim.workspace.store.read() as db:
        known = fields_known(db, ENTITY)
    able = [item for item, called in scenario.called.items() if called in known]
    if able:
        item = random.choice(able)
        scenario.were[item] = scenario.called[item]
        scenario.called[item] = f"{item}_{sim.people.token()}"


def rename_system(sim: Simulation, random: Random) -> None:
    """A system is called otherwise in the configuration, which says what it was called before."""
    with sim.workspace.store.read() as db:
        known = names.list_(db, "system")
    able = [name for name in sim.scenario.systems if name in known and name not in decided_against(sim)]
    if able:
        old = random.choice(able)
        new = f"{old.partition('_')[0]}_{sim.people.token()}"
        sim.scenario.systems[old].was = old
        sim.call(old, new)


def _uncertain(sim: Simulation, system: str) -> None:
    """Counters of rows that meet others without a common past: the sum of the changes does not say what they are."""
    sim.people.unsure |= sim.people.codes(system)


CHANGES: dict[str, Callable[[Simulation, Random], None]] = {
    "add a field": add_field,
    "remove a field": remove_field,
    "clean": change_clean,
    "read": change_reading,
    "where": change_filter,
    "modified": change_modified,
    "remove a system": remove_system,
    "add a system": add_system,
    "rule": change_rule,
    "source of truth": change_owner,
    "match": change_match,
    "deletes": change_deletes,
    "precedence": change_precedence,
    "guard": change_guard,
    "hold_if": change_doubt,
    "direction": change_direction,
    "settle": change_settle,
    "address": change_place,
    "object": change_object,
    "key": change_key,
    "values": change_words,
    "was of a field": rename_field,
    "was of a system": rename_system,
}
