"""States that come and go in the simulator: backups, restores of older ones, and rebuilds of one that is lost.

The systems go on as they are, so that every promise holds afterwards as it did before, but for what was known to the lost state alone:

    I2   a value that no row shows any more, and that the backup does not tell: nobody can say that it ever was. A counter that several
         systems changed to the same number: they agree. A counter that one system alone can tell: what was on its way there is void. A
         counter where systems meet as for the first time: the rules for that decide. So they do where none of the systems that agree had
         told the state of that value: a missing value never beats the one that is agreed on with a system that is away. A delivery
         that waited when the backup was taken is made where the system shows what it showed then: whether it had arrived since, and
         was taken back, nobody knows
    I15  a value whose cleaning is newer than the backup: it may be written once in the form that it has now
    I10  a row that is gone when the systems are met again: nobody knows whether it was deleted, so it is deleted nowhere else, and not
         made again; after a rebuild nobody knows that it ever was, and it is made again
"""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from unittest import mock

import orjson

from trueup.core.cells import cell_to_python
from trueup.core.facts import WITHDRAWN
from trueup.errors import StateError
from trueup.runtime.keeping import back_up, put_back
from trueup.runtime.rebuild import rebuild
from trueup.store import golden, mapping_version, names, restored, restoring
from trueup.store import shadow as shadow_table
from trueup.store.renames import fields_known
from trueup.testing.simulator_checks import BrokenPromiseError, alike, plain
from trueup.testing.simulator_people import tokens
from trueup.testing.simulator_scenario import DOUBTS, ENTITY, HERE, ORDER, REGION
from trueup.testing.simulator_world import Kill, MortalStore, one_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from random import Random

    from trueup.store import Db
    from trueup.testing.simulator import Simulation

Cells = dict[tuple[str, str, str], tuple[str, Any, int]]
"""(system, key, field) -> whose code, what it shows, and how often people typed that of this code."""
KEPT = 4
"""So many backups are kept."""


@dataclass
class Keeper:
    """Whoever looks after the state. `lacking`: (system, golden id) of orders of which no row is there since the state came back.

    `said`: (code, field) of values that a person has had taken back since then, or gave in answer to a question. `taken_out`: (system, key)
    of rows that are still to be deleted because a person has had a run undone. `anew`: the state began anew, and some rows are still to
    be met. `moved_back`: codes of counters that an undo has moved.
    """

    sim: Simulation
    backups: list[Path] = field(default_factory=list)
    lacking: set[tuple[str, int]] = field(default_factory=set)
    said: set[tuple[str, str]] = field(default_factory=set)
    taken_out: set[tuple[str, str]] = field(default_factory=set)
    anew: bool = False
    moved_back: set[str] = field(default_factory=set)
    taken: int = 0

    def back_up(self) -> None:
        """Keep the state as it is now."""
        self.taken += 1
        path = self.sim.folder / f"{self.taken:04}.trueup"
        back_up(self.sim.workspace, path, verify=False)
        self.backups.append(path)
        for old in self.backups[:-KEPT]:
            old.unlink()
        del self.backups[:-KEPT]

    def restore(self, random: Random) -> None:
        """Put one of the backups back, over the state that is there, or after it was lost."""
        sim = self.sim
        if not self.backups:
            return
        path = random.choice(self.backups)
        sim.workspace.close()
        if random.random() < 0.5:
            self._lose()
        die = random.choice((None, None, None, None, "before", "after"))
        try:
            with _dying_in_place(sim, die):
                self._put_back(path)
        except Kill:
            if die == "before":
                self._put_back(path)
        self._tidy()
        sim.workspace = sim.open()
        self.said.clear()
        self.anew = False
        with sim.workspace.store.read() as db:
            self._forget(_Told(sim, db))
            self._lack(db)
            known = names.list_(db, "system")
        for name in sim.worlds:
            if name not in known:
                sim.people.unsure |= sim.people.codes(name)

    def _put_back(self, path: Path) -> None:
        try:
            put_back(self.sim.workspace, path)
        except StateError as error:  # every system, or the entity, has another name than in that backup
            if "another installation" not in str(error):
                raise
            put_back(self.sim.workspace, path, from_another=True)

    def rebuild(self, random: Random) -> None:
        """Make the state anew from the systems; the process may be killed in it, and is then started once more."""
        sim = self.sim
        if sim.lagging:
            return  # who rebuilds a state waits until the systems show what they hold
        sim.workspace.close()
        replacing = random.random() < 0.5
        if not replacing:
            self._lose()
        for system in sim.systems.values():
            system.calls.clear()
        kill_at = random.randrange(1, 30) if random.random() < 0.3 else None
        try:
            self._rebuild(kill_at, replacing=replacing)
        except Kill:
            sim.kills[sim.killer.where.partition(" to ")[0]] += 1
            sim.revive()
            try:
                self._rebuild(None, replacing=replacing)
            except StateError:
                self._given_up(replacing=replacing)
                return
        except StateError:
            self._given_up(replacing=replacing)
            return
        finally:
            self._tidy()
        written = {name: system.calls.writes for name, system in sim.systems.items() if system.calls.writes}
        if written:
            raise BrokenPromiseError(f"I5: a rebuild wrote to systems: {written}")
        sim.workspace = sim.open()
        self._begin_anew()

    def _rebuild(self, kill_at: int | None, *, replacing: bool) -> None:
        sim = self.sim
        sim.killer.at = None if kill_at is None else sim.killer.passed + kill_at
        with one_thread(), mock.patch("trueup.runtime.workspace.Store", MortalStore), mock.patch.object(MortalStore, "killer", sim.killer):
            rebuild(sim.workspace, replacing=replacing, connectors=sim.systems)
        sim.killer.at = None

    def _given_up(self, *, replacing: bool) -> None:
        """Some system could not be read: the state that is there goes on, or else a new one begins with the next run."""
        self.sim.workspace = self.sim.open()
        if not replacing:
            self._begin_anew()

    def _begin_anew(self) -> None:
        """The state knows what the systems tell, and nothing else."""
        sim = self.sim
        with sim.workspace.store.read() as db:
            self._forget(_Told(sim, db))
        self.lacking.clear()
        self.anew = True
        sim.people.unsure |= _codes_with_other_counters(sim)

    def _lose(self) -> None:
        for path in self.sim.folder.glob("state.db*"):
            path.unlink()

    def _tidy(self) -> None:
        for path in self.sim.folder.glob("state.db.replaced-*"):
            path.unlink()

    def _forget(self, told: _Told) -> None:
        """What the state does not tell any more is asked of it only where a row tells it."""
        sim, people = self.sim, self.sim.people
        # Where no row that is read tells it, what it was is what the state at hand says.
        for code in sim.counters.keys() - _counters(sim, taking_part=True).keys():
            del sim.counters[code]
            people.sums.pop(code, None)
        # That somebody had a counter moved back only the lost state knew, unless it had been told to a system.
        people.unsure |= self.moved_back & people.sums.keys()
        self.moved_back.clear()
        kept = []
        for edit in people.edits:
            if told.tells(edit.field, edit.token):
                kept.append(edit)
            elif _shown(sim, edit.system, edit.key, edit.field, edit.token):
                plan = sim.scenario.systems.get(edit.system)
                edit.noticed = False
                edit.over |= plan is not None and edit.field not in plan.fields  # its column is not mapped any more
                kept.append(edit)
        people.edits[:] = kept
        people.unsure |= _codes_changed_alike(sim) | _codes_heard_once(sim)
        sim.doubted_since = dict.fromkeys(DOUBTS, told.version)

    def _lack(self, db: Db) -> None:
        """Orders of which a row was there when the backup was taken, and is not there now."""
        self.lacking.clear()
        for name in self.sim.clerks.places():
            rows = self.sim.clerks.table(name).rows
            for frame in shadow_table.keys(db, ORDER, name):
                self.lacking |= {(name, gid) for key, gid, state in frame.select("key", "gid", "state").rows() if gid and key not in rows}

    def before_run(self) -> Cells | None:
        """What all systems agree on, where the state came back from a backup and they are still to be met; None where they were."""
        with self.sim.workspace.store.read() as db:
            if self.anew:  # rows that the state does not know are met as for the first time: counters that differ by then are one counter
                new = _codes_with_new_rows(self.sim, db)
                self.sim.people.unsure |= new & _codes_with_other_counters(self.sim)
                self.anew = bool(new)
            after = restored.get(db)
            if after is None or after.stage(ENTITY) == "done":
                return None
            self.taken_out = _withdrawn(self.sim, db)
            new = _codes_with_new_rows(self.sim, db)
            told = _told_cells(self.sim, db)
            mixed, owed = _codes_of_others(self.sim, db), _owed_cells(self.sim, db)
        self.sim.people.unsure |= _codes_changed_alike(self.sim) | _codes_heard_once(self.sim)
        self.sim.people.unsure |= new & _codes_with_other_counters(self.sim)
        agreed = _agreed(self.sim, told)
        return {place: cell for place, cell in agreed.items() if cell[0] not in mixed and place not in owed}

    def check_first_run(self, before: Cells | None) -> None:
        """I2, I10: the run that meets the systems after a restore writes over nothing on which they agreed, and deletes nothing."""
        if before is None:
            return
        for name, system in self.sim.systems.items():
            deleted = [keys for kind, keys in system.calls.writes + system.others.writes if kind == "delete"]
            gone = [key for keys in deleted for key in keys if (name, key) not in self.taken_out]
            if gone:
                raise BrokenPromiseError(f"I10: the first run after a restore deleted {gone} in {name}")
        for (name, key, item), (code, shown, typings) in before.items():
            row = self.sim.worlds[name].tables["people"].rows.get(key)
            by_a_person = self.sim.people.typings[code, item] != typings or (code, item) in self.said
            if row is not None and not by_a_person and not alike(self.sim, item, row.values.get(f"c_{item}"), shown):
                now = row.values.get(f"c_{item}")
                raise BrokenPromiseError(f"I2: {name}:{key}.{item} was {shown!r} as everywhere, and a restored state made it {now!r}")


def _withdrawn(sim: Simulation, db: Db) -> set[tuple[str, str]]:
    """(system, key) of rows that an undo takes out, orders among them."""
    return {
        (name, key)
        for entity in (ENTITY, ORDER)
        for name in sim.worlds
        for frame in shadow_table.keys(db, entity, name)
        for key, state in frame.select("key", "state").rows()
        if state == WITHDRAWN
    }


def _told_cells(sim: Simulation, db: Db) -> dict[str, tuple[set[str], set[str]]]:
    """Per system the keys of rows, and the fields, of which the state was told before."""
    found = {}
    items = {name: item for item, name in [*sim.scenario.were.items(), *sim.scenario.called.items()]}
    for name in sim.worlds:
        keys = {key for frame in shadow_table.keys(db, ENTITY, name) for key in frame["key"]}
        mapped = [orjson.loads(version.spec)["mapping"]["fields"] for version in mapping_version.behind(db, ENTITY, name)]
        found[name] = keys, {items[field] for field in set.intersection(*map(set, mapped)) if field in items} if mapped else set()
    return found


def _codes_of_others(sim: Simulation, db: Db) -> set[str]:
    """Codes of rows that stand for one record with rows of other codes: what is typed there is about all of them."""
    found: dict[int, set[str]] = {}
    for name, world in sim.worlds.items():
        rows = world.tables["people"].rows
        for frame in shadow_table.keys(db, ENTITY, name):
            for key, gid in frame.select("key", "gid").rows():
                if key in rows:
                    found.setdefault(gid, set()).add(str(rows[key].values.get("c_code")))
    return set().union(*(codes for codes in found.values() if len(codes) > 1))


def _owed_cells(sim: Simulation, db: Db) -> set[tuple[str, str, str]]:
    """(system, key, item) of which a delivery waited when the backup was taken, and that show what they showed then.

    Whether it arrived since and was taken back, or never arrived, only the lost state knew: it is made.
    """
    found = set()
    for name, world in sim.worlds.items():
        plan, rows = sim.scenario.systems[name], world.tables["people"].rows
        for frame in shadow_table.differing(db, ENTITY, name):
            owed = frame.filter(frame["sent"].is_not_null() & frame["key"].is_in(list(rows)))
            for key, *texts in owed.select("key", "seen", "sent").rows():
                seen, sent = (orjson.loads(text) for text in texts)
                for item, called in sim.scenario.called.items():
                    if called in sent and called in seen and item in plan.fields:
                        shown = plan.meant(item, rows[key].values.get(f"c_{item}"))
                        if plain(shown, item) == plain(cell_to_python(seen[called], sim.entity.fields[called]), item):
                            found.add((name, key, item))
    return found


def _agreed(sim: Simulation, known: Mapping[str, tuple[set[str], set[str]]]) -> Cells:
    """The cells of customers who have one row in each of several systems, where these show the same, and the state was told by one."""
    rows: dict[str, list[tuple[str, str, dict[str, Any]]]] = {}
    for name, world in sim.worlds.items():
        for key, row in world.tables["people"].rows.items():
            rows.setdefault(str(row.values.get("c_code")), []).append((name, key, row.values))
    found: Cells = {}
    for code, mine in rows.items():
        if len({name for name, _key, _values in mine}) < len(mine):
            continue
        for item in sim.scenario.called:
            told = [(name, key, values.get(f"c_{item}")) for name, key, values in mine if item in sim.scenario.systems[name].fields]
            heard = any(key in known[name][0] and item in known[name][1] for name, key, _value in told)
            if (
                heard
                and len(told) > 1
                and len({repr(plain(sim.scenario.systems[name].meant(item, value), item)) for name, _key, value in told}) == 1
            ):
                found |= {(name, key, item): (code, value, sim.people.typings[code, item]) for name, key, value in told}
    return found


class _Told:
    """What a state tells about values, by the fields' own names: agreed ones, history, open questions."""

    def __init__(self, sim: Simulation, db: Db) -> None:
        known = fields_known(db, ENTITY)
        called = {name if name in known else sim.scenario.were.get(item): item for item, name in sim.scenario.called.items()}
        texts: dict[str, list[str]] = {item: [] for item in sim.scenario.called}
        for frame in golden.stream(db, ENTITY):
            for text in frame["data"].to_list():
                for name, value in orjson.loads(text or "{}").items():
                    if name in called:
                        texts[called[name]].append(orjson.dumps(value).decode())
        for statement in ("SELECT field, before, after FROM history", "SELECT field, candidates FROM conflict WHERE closed_at IS NULL"):
            for name, *said in db.connection.exec_driver_sql(statement).all():
                if name in called:
                    texts[called[name]] += [text for text in said if text is not None]
        self._texts = {item: "\n".join(lines) for item, lines in texts.items()}
        self.version = golden.current_version(db)

    def tells(self, item: str, token: str) -> bool:
        """Whether a value with this number is known."""
        return token in self._texts[item]


def _shown(sim: Simulation, system: str, key: str, item: str, token: str) -> bool:
    """Whether the row in which something was typed still shows it."""
    world = sim.worlds.get(system) or next((world for name, (_plan, world) in sim.away.items() if name == system), None)
    row = world.tables["people"].rows.get(key) if world is not None else None
    return row is not None and token in tokens(item, row.values.get(f"c_{item}"))


def _counters(sim: Simulation, *, taking_part: bool = False) -> dict[str, list[Any]]:
    """What the systems that take part show, by code; `taking_part`: in rows that fit their filters."""
    found: dict[str, list[Any]] = {}
    for name, world in sim.worlds.items():
        plan = sim.scenario.systems[name]
        if "points" in plan.fields:
            for row in world.tables["people"].rows.values():
                if taking_part and plan.filtered and row.values.get(REGION) != HERE:
                    continue
                found.setdefault(str(row.values.get("c_code")), []).append(row.values.get("c_points"))
    return found


def _codes_with_other_counters(sim: Simulation) -> set[str]:
    """Counters on which the systems do not agree: met for the first time, one of them is taken."""
    return {code for code, values in _counters(sim).items() if len({repr(value) for value in values}) > 1}


def _codes_with_new_rows(sim: Simulation, db: Db) -> set[str]:
    """Those of which a system holds a row that the state does not know: it is met there as for the first time."""
    found: set[str] = set()
    for name, world in sim.worlds.items():
        known = {key for frame in shadow_table.keys(db, ENTITY, name) for key in frame["key"]}
        found |= {str(row.values.get("c_code")) for key, row in world.tables["people"].rows.items() if key not in known}
    return found


def _codes_changed_alike(sim: Simulation) -> set[str]:
    """Counters that were changed since any run looked, and on which all systems agree: who is asked says that nothing happened."""
    fresh = {code for _name, code in sim.people.unread.keys() | sim.people.glimpsed}
    return fresh - _codes_with_other_counters(sim)


def _codes_heard_once(sim: Simulation) -> set[str]:
    """Counters that one system alone can tell, and one that is only written holds otherwise: what was on its way to either is void."""
    heard: Counter[str] = Counter()
    for name, world in sim.worlds.items():
        plan = sim.scenario.systems[name]
        if "points" in plan.fields and plan.direction != "write":
            heard.update(str(row.values.get("c_code")) for row in world.tables["people"].rows.values())
    fresh = {code for _name, code in sim.people.unread.keys() | sim.people.glimpsed}
    return {code for code in _codes_with_other_counters(sim) if heard[code] <= 1} - fresh


def _dying_in_place(sim: Simulation, when: str | None) -> ExitStack:
    """Let the process die right before, or right after, the state that was made is put in its place."""
    put_in_place: Callable[..., Any] = restoring.put_in_place

    def dying(*words: Any) -> Any:
        if when == "after":
            put_in_place(*words)
        sim.kills[f"{when} a restored state was in place"] += 1
        raise Kill(f"{when} the restored state was in place")

    stack = ExitStack()
    if when is not None:
        stack.enter_context(mock.patch("trueup.store.restoring.put_in_place", dying))
    return stack
