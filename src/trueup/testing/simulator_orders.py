"""Orders: records that refer to customers. Who types them in, and what must be true of them when everything has settled.

In each system an order names its customer, and perhaps who recommended it, by the keys of that system. Some orders are there before the
customer that they name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson
import polars as pl

from trueup.connectors.memory import MemoryColumn
from trueup.core.facts import PRESENT
from trueup.core.undo import PUT_BACK, TAKEN_OUT
from trueup.model import ColumnInfo, Entity, Field, FieldMapping, Mapping, ObjectSpec
from trueup.store import failure, former_key, golden, history, parked
from trueup.store import shadow as shadow_table
from trueup.testing.simulator_checks import BrokenPromiseError
from trueup.testing.simulator_scenario import ENTITY, ORDER, ORDERS

if TYPE_CHECKING:
    from random import Random

    from trueup.connectors.memory import MemoryTable, MemoryWorld
    from trueup.store import Db
    from trueup.testing.simulator import Simulation
    from trueup.testing.simulator_scenario import Scenario

FIELDS = ("number", "customer", "advisor", "total")
REFERENCES = ("customer", "advisor")


def order_entity(scenario: Scenario) -> Entity:
    """The second entity of this moment: mapped by every system that has a table of orders and is still connected."""
    fields = {
        "number": Field(name="number"),
        "customer": Field(name="customer", type="reference", entity=ENTITY, required=True, conflict="last_write_wins"),
        "advisor": Field(name="advisor", type="reference", entity=ENTITY, conflict="last_write_wins"),
        "total": Field(name="total", type="integer", conflict="max"),
    }
    mappings = {
        name: Mapping(
            entity=ORDER,
            system=name,
            object=ObjectSpec(name=ORDERS, key=("id",), assign="system"),
            fields={item: FieldMapping(field=item, column=f"o_{item}") for item in FIELDS},
        )
        for name in scenario.systems
        if name in scenario.ordering
    }
    return Entity(name=ORDER, fields=fields, mappings=mappings, match=(("number",),), precedence=tuple(mappings), guard=None)


def add_table(world: MemoryWorld) -> None:
    """Give a system a table of orders."""
    columns = [MemoryColumn(info=ColumnInfo(name="id", type="integer", nullable=False, has_default=True))]
    columns += [MemoryColumn(info=ColumnInfo(name=f"o_{name}", type="integer" if name == "total" else "text")) for name in FIELDS]
    world.add_table(ORDERS, columns, ("id",))


@dataclass
class Clerks:
    """Those who type orders in. `expected` are keys that orders name, of customers that are not there yet; `made` the rows typed in."""

    sim: Simulation
    expected: dict[str, list[str]] = field(default_factory=dict)
    made: set[tuple[str, str]] = field(default_factory=set)

    def table(self, system: str) -> MemoryTable:
        """The orders of a system."""
        return self.sim.worlds[system].tables[ORDERS]

    def places(self) -> list[str]:
        """The systems with orders that are connected."""
        return [name for name in self.sim.worlds if name in self.sim.scenario.ordering]

    def work(self, random: Random) -> None:
        """Type an order in, let it name another customer, change its total, or type in a customer who was named before."""
        places = self.places()
        if not places:
            return
        system = random.choice(places)
        rows = list(self.table(system).rows)
        doing = random.choice(("add", "add", "edit", "edit", "total", "arrive"))
        if doing == "add" or not rows:
            self._add(random, system)
        elif doing == "arrive":
            self.arrive(random, system)
        elif doing == "total":
            self.table(system).edit(random.choice(rows), {"o_total": random.randrange(1_000)})
        else:
            name = random.choice(REFERENCES)
            said = self._customer(random, system, late=False) if name == "customer" or random.random() < 0.8 else None
            if said is not None or name == "advisor":
                self.table(system).edit(random.choice(rows), {f"o_{name}": said})

    def _add(self, random: Random, system: str) -> None:
        mine = {row.values["o_number"] for row in self.table(system).rows.values()}
        others = {row.values["o_number"] for name in self.places() for row in self.table(name).rows.values()} - mine
        number = random.choice(sorted(others)) if others and random.random() < 0.3 else f"N{self.sim.people.token()}"
        customer = self._customer(random, system, late=random.random() < 0.3)
        if customer is None:
            return
        advisor = self._customer(random, system, late=random.random() < 0.3) if random.random() < 0.5 else None
        key = self.table(system).next_number(sequence=False)
        values = {"id": key, "o_number": number, "o_customer": customer, "o_advisor": advisor, "o_total": random.randrange(1_000)}
        self.made.add((system, str(self.table(system).insert(values))))

    def _customer(self, random: Random, system: str, *, late: bool) -> str | None:
        if late:
            key = self.sim.people.new_key(system)
            self.expected.setdefault(system, []).append(key)
            return key
        keys = self.sim.people.keys(system)
        return random.choice(keys) if keys else None

    def arrive(self, random: Random, system: str) -> None:
        """Customers whom an order named already are typed in."""
        for key in self.expected.pop(system, []):
            if key not in self.sim.people.table(system).rows:
                self.sim.people.add(random, system, key=key)

    def called(self, old: str, new: str) -> None:
        """A system has another name from now on."""
        self.expected = {new if name == old else name: keys for name, keys in self.expected.items()}
        self.made = {(new if name == old else name, key) for name, key in self.made}

    def renamed(self, system: str, old: str, new: str) -> None:
        """A customer has another key: a system keeps its own references whole."""
        if system not in self.places():
            return
        for key, row in list(self.table(system).rows.items()):
            told = {f"o_{name}": new for name in REFERENCES if row.values.get(f"o_{name}") == old}
            if told:
                self.table(system).edit(key, told)


def check_orders(sim: Simulation) -> None:
    """I1, I6, I7, I10: every order is everywhere once, and names the same customers, as far as these can be named there."""
    places = sim.clerks.places()
    if len(places) < 2:
        return
    known = _Orders(sim)
    for name in places:
        rows = {key: row.values for key, row in sim.clerks.table(name).rows.items()}
        _check_rows(known, name, rows)
        for gid, values in known.golden.items():
            key = known.keys[name].get(gid)
            if key is not None:
                _check_order(known, name, key, rows[key], values)
            elif (name, gid) in known.taken_out | sim.keeper.lacking:
                continue
            elif known.native(name, values.get("customer")) is not None and not known.waits(name, rows, values["number"]):
                raise BrokenPromiseError(f"I1: the order {values['number']} is not in {name}, where its customer is: {known.failures}")


def _check_rows(known: _Orders, name: str, rows: dict[str, dict[str, Any]]) -> None:
    numbers = [values["o_number"] for values in rows.values()]
    if len(numbers) > len(set(numbers)):
        raise BrokenPromiseError(f"I6: {name} holds an order twice: {sorted(numbers)}")
    for key, values in rows.items():
        if key not in known.links[name] and not known.excused(name, values.get("o_customer")):
            raise BrokenPromiseError(f"I1: the order {name}:{key} ({values['o_number']}) is not linked: {known.failures}")
    for key in known.links[name]:
        if key not in rows:
            raise BrokenPromiseError(f"I10: the order {name}:{key} is gone, and nobody deletes orders")


def _check_order(known: _Orders, name: str, key: str, shown: dict[str, Any], agreed: dict[str, Any]) -> None:
    for item in REFERENCES:
        wanted, said = known.native(name, agreed.get(item)), shown.get(f"o_{item}")
        # A key that nobody ever knew says nothing: who comes there later is looked at again, and nothing is written over it.
        unknown = (wanted is None and agreed.get(item) is not None) or (said is not None and known.excused(name, said))
        if not unknown and said != wanted:
            text = f"{said!r}; agreed is customer {agreed.get(item)}, there {wanted!r}"
            raise BrokenPromiseError(f"I1: {item} of the order {name}:{key} is {text}")
    if shown.get("o_total") != agreed.get("total"):
        raise BrokenPromiseError(f"I1: the total of {name}:{key} is {shown.get('o_total')}; agreed is {agreed.get('total')}")


class _Orders:
    """What the state knows of orders, read once."""

    def __init__(self, sim: Simulation) -> None:
        self._tables = {name: sim.clerks.table(name) for name in sim.clerks.places()}
        with sim.workspace.store.read() as db:
            self.golden: dict[int, dict[str, Any]] = {
                row["id"]: orjson.loads(row["data"]) for frame in golden.stream(db, ORDER) for row in frame.iter_rows(named=True)
            }
            self.links = {name: _keys(shadow_table.keys(db, ORDER, name)) for name in sim.clerks.places()}
            self.customers = {name: _keys(shadow_table.keys(db, ENTITY, name)) for name in sim.clerks.places()}
            self.parked = set(parked.of(db, ENTITY).select("system", "key").rows())
            self.former = {name: self._former(db, name) for name in sim.clerks.places()}
            self.taken_out = self._taken_out(db)
            self.failures = failure.of(db, ORDER).select("system", "key", "gid", "field", "reason").rows()
        self.keys = {name: {gid: key for key, gid in links.items()} for name, links in self.links.items()}
        self.people = {name: {gid: key for key, gid in links.items()} for name, links in self.customers.items()}

    def native(self, system: str, gid: object) -> str | None:
        """The key of a customer in a system; None where it has no row there of which it is known whose it is."""
        key = self.people[system].get(int(str(gid))) if gid is not None else None
        return None if (system, key) in self.parked else key

    def waits(self, system: str, rows: dict[str, dict[str, Any]], number: object) -> bool:
        """Whether an order of this number stands there, of which nobody can tell at present whose it is."""
        return any(
            values["o_number"] == number and key not in self.links[system] and self.excused(system, values.get("o_customer"))
            for key, values in rows.items()
        )

    def excused(self, system: str, key: object) -> bool:
        """Whether nobody can tell at present which customer this key is."""
        if key is None or (system, str(key)) in self.parked:
            return True
        return str(key) not in self.customers[system] and self.former[system].get(str(key)) not in self.people[system]

    def _taken_out(self, db: Db) -> set[tuple[str, int]]:
        """(system, record) of rows that an undo took out, and no undo of it has put back."""
        gids = pl.Series(list(self.golden), dtype=pl.Int64)
        told = pl.concat([history.lines(db, ORDER, gids, kind) for kind in (TAKEN_OUT, PUT_BACK)]).sort("id")
        last = told.unique(["system", "gid"], keep="last")
        return set(last.filter(pl.col("kind") == TAKEN_OUT).select("system", "gid").rows())

    def _former(self, db: Db, system: str) -> dict[str, int]:
        """Whose rows stood under keys that orders name."""
        said = [str(row.values.get(f"o_{item}")) for row in self._tables[system].rows.values() for item in REFERENCES]
        return dict(former_key.by_key(db, ENTITY, system, pl.Series(said, dtype=pl.String)).rows())


def _keys(frames: Any) -> dict[str, int]:
    """Key -> record of the rows that are there."""
    return {key: gid for frame in frames for key, gid, state in frame.select("key", "gid", "state").rows() if state == PRESENT}
