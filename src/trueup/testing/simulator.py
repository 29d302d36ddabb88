"""The simulator: people, systems with manners and faults, and kills, against the real engine on a real state.

    python -m trueup.testing.simulator --operations 1000000 --seed 7

A *game* is one scenario and a list of moves, each of them a name and a number from which it draws its chances; the same game always goes
the same way. Every few moves the game is settled: faults end, people decide what waits for them, and the promises are checked.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Self

from trueup.errors import TrueupError
from trueup.runtime.workspace import Workspace
from trueup.store import hold, parked
from trueup.store import shadow as shadow_table
from trueup.testing.simulator_checks import BrokenPromiseError, check_always, check_settled, counters
from trueup.testing.simulator_deciding import decide, decided_against, open_questions
from trueup.testing.simulator_moves import MOVES, WEIGHTS
from trueup.testing.simulator_orders import Clerks, add_table, check_orders, order_entity
from trueup.testing.simulator_people import People
from trueup.testing.simulator_scenario import ENTITY, Scenario, draw_scenario
from trueup.testing.simulator_states import Keeper
from trueup.testing.simulator_world import Clock, Faults, Kill, Killer, MortalStore, SimulatedSystem, one_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType

    from trueup.model import Entity, RunSummary
    from trueup.testing.simulator_people import Edit

Move = tuple[str, int]


def any_left(faults: Faults) -> bool:
    """Whether anything is still to go wrong."""
    return faults != type(faults)()


MOVES_PER_GAME = 120
SETTLING_PASSES = 4
LATER_S = 8 * 3_600.0
DECIDING_ROUNDS = 12


def _scratch() -> Path:
    """A folder for the state, in memory where the machine has such a place."""
    memory = Path("/dev/shm")  # noqa: S108 - only for a simulated state
    return Path(tempfile.mkdtemp(prefix="trueup-simulator-", dir=memory if memory.is_dir() else None))


class Simulation:
    """One game. Use as a context manager."""

    def __init__(self, seed: int, scenario: Scenario | None = None) -> None:
        """Draw the scenario from `seed` (or take the one given), and set up the systems, empty."""
        self.seed = seed
        random = Random(seed)
        self.scenario = scenario or draw_scenario(random)
        self.clock = Clock()
        self.killer = Killer()
        self.worlds = {name: plan.world(self.clock, timedelta(seconds=plan.ahead_s)) for name, plan in self.scenario.systems.items()}
        self.away = {name: (plan, plan.world(self.clock, timedelta(seconds=plan.ahead_s))) for name, plan in self.scenario.later.items()}
        self.doubted_since: dict[str, int] = {}
        for world in [*self.worlds.values(), *(world for _plan, world in self.away.values())]:
            add_table(world)
        self.people = People(self.worlds, self.scenario)
        self.clerks = Clerks(self)
        self.people.renamed = self.clerks.renamed
        self.folder = _scratch()
        self.counters: dict[str, int] = {}
        self.unasked_deletes: list[str] = []
        self.undone: set[str] = set()  # codes of records of which an undo takes rows out
        self.undoing = False
        self.moves: Counter[str] = Counter()
        self.kills: Counter[str] = Counter()
        self.changes: Counter[str] = Counter()
        self.syncs = 0
        self.systems: dict[str, SimulatedSystem] = {}
        self.keeper = Keeper(self)
        self.workspace = self.open()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.workspace.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def entity(self) -> Entity:
        """The entity as configured now."""
        return self.workspace.config.entities[ENTITY]

    def revive(self) -> None:
        """A new process, which has opened nothing yet: everything that was in memory is gone."""
        self.killer = Killer()
        faults = {name: system.faults for name, system in self.systems.items()}
        self.systems = {
            name: SimulatedSystem(name, self.worlds[name], self.killer, plan.columns()) for name, plan in self.scenario.systems.items()
        }
        for name, system in self.systems.items():
            system.page_rows = self.scenario.systems[name].page_rows
            system.faults = faults.get(name, system.faults)
            system.deleted = partial(self._watch_delete, name)

    def open(self) -> Workspace:
        """A new process at work."""
        self.revive()
        state = str(self.folder / "state.db")
        store = MortalStore.open(state)
        store.killer = self.killer  # type: ignore[attr-defined]
        orders = order_entity(self.scenario)
        config = self.scenario.config(state, orders) if len(orders.mappings) > 1 else self.scenario.config(state)
        return Workspace(config, connectors=self.systems, clock=self.clock, store=store)

    def restart(self) -> None:
        """End the process in peace and start another one, with the configuration as it is now."""
        self.workspace.close()
        self.workspace = self.open()

    def call(self, old: str, new: str) -> None:
        """A system has another name from now on."""
        scenario = self.scenario
        scenario.systems = {new if name == old else name: plan for name, plan in scenario.systems.items()}
        scenario.systems[new].name = new
        scenario.owners = {item: new if name == old else name for item, name in scenario.owners.items()}
        if scenario.deletes is not None:
            sources = tuple(new if name == old else name for name in scenario.deletes.sources)
            scenario.deletes = replace(scenario.deletes, sources=sources)
        scenario.ordering = {new if name == old else name for name in scenario.ordering}
        self.worlds[new] = self.worlds.pop(old)
        self.systems[new] = self.systems.pop(old)
        self.systems[new].faults = Faults()  # who was to come in between looked for the old name
        self.people.called(old, new)
        self.clerks.called(old, new)

    def _watch_delete(self, system: str, key: str, values: dict[str, Any]) -> None:
        code = str(values.get("c_code"))
        self.people.deleted_by_engine(system, key)
        if code not in self.people.removed | self.undone and not self.undoing:
            self.unasked_deletes.append(f"{system}:{key} ({code})")

    # ------------------------------------------------------------ moves

    def play(self, move: Move) -> None:
        """Make one move. Raises BrokenPromiseError, or whatever the engine let through."""
        name, number = move
        self.moves[name] += 1
        self.clock.pass_by(1.0)
        MOVES[name](self, Random(number))

    def some_row(self, random: Random) -> tuple[str, str] | None:
        """A row somewhere; None where there is none."""
        rows = sorted(
            ((name, key) for name in self.worlds for key in self.people.keys(name)),
            key=lambda row: (row[0], self.people.code(*row), row[1]),
        )
        return random.choice(rows) if rows else None

    def sync(self, *, kill_at: int | None = None, full: bool = False) -> RunSummary | None:
        """One run; None where the process was killed in it (a new one is then at work)."""
        self.syncs += 1
        self.killer.at = None if kill_at is None else self.killer.passed + kill_at
        for system in self.systems.values():
            system.calls.clear()
            system.others.clear()
        refused = decided_against(self)
        before = list(self.people.edits)  # who edits while the run is at work may come too late for it
        counted = self.people.looked_at()
        agreed = self.keeper.before_run()
        try:
            with one_thread():
                summary = self.workspace.sync(full=full)
        except Kill:
            self.kills[self.killer.where.partition(" to ")[0]] += 1
            self.workspace.close()
            self.workspace = self.open()
            return None
        finally:
            self.people.refused(refused)
            counted -= self.people.unread.keys()  # changed once more meanwhile
            self.people.looked_at()
        self.killer.at = None
        self.keeper.check_first_run(agreed)
        self._look_at(summary, before, counted)
        return summary

    def _look_at(self, summary: RunSummary, before: Sequence[Edit], counted: set[tuple[str, str]]) -> None:
        """What a finished run tells about what was noticed."""
        entity = summary.entities[ENTITY]
        with self.workspace.store.read() as db:
            held = set(hold.of(db, ENTITY, decided=False)["system"].to_list())
        calm = [
            name
            for name, system in entity.systems.items()
            if system.error is None and system.observed.rejected == 0 and self.systems[name].calls.listings and name not in held
        ]
        if summary.status != "failed" and not self.worlds_lag():
            with self.workspace.store.read() as db:
                waiting = set(parked.of(db, ENTITY).select("system", "key").rows())
                links = {
                    name: {
                        key
                        for frame in shadow_table.keys(db, ENTITY, name)
                        for key, state in frame.select("key", "state").rows()
                        if state == 0 and (name, key) not in waiting  # a parked row is left as it was last seen
                    }
                    for name in calm
                    if not self.people.doubled.get(name)
                }
            self.people.noticed(links, before, counted)
        check_always(self)

    def worlds_lag(self) -> bool:
        """Whether any system may have shown something old or incomplete."""
        return self.lagging

    lagging = False

    def plan_and_sync(self) -> RunSummary | None:
        """I13: a plan shows what the run after it does, where nothing goes wrong and nobody edits in between. Gives such a run."""
        if (
            self.lagging
            or any(world.down for world in self.worlds.values())
            or any(any_left(item.faults) for item in self.systems.values())
        ):
            return None
        with one_thread():
            planned = self.workspace.plan(every_change=True)
        done = self.sync()
        # After a kill the run finds out first what became of writes on their way, and says so.
        told = [note for note in planned.entities[ENTITY].notes if not note.startswith("the state was restored")]
        if done is None or planned.status == "failed" or done.entities[ENTITY].held or told:
            return done
        for name, system in planned.entities[ENTITY].systems.items():
            wanted, made = system.delivered, done.entities[ENTITY].systems[name].delivered
            for kind in ("created", "updated", "deleted"):
                if getattr(wanted, kind) != getattr(made, kind):
                    raise BrokenPromiseError(f"I13: {name}: planned {kind} {getattr(wanted, kind)}, done {getattr(made, kind)}")
        return done

    def reread_in_silence(self) -> None:
        """I15: that values are read otherwise is nobody's edit: nothing is written, overruled, held or asked for it."""
        done = self.plan_and_sync()
        if done is None:
            return
        entity = done.entities[ENTITY]
        noise = {
            "written": [name for name, system in self.systems.items() if system.calls.writes],
            "edited": [name for name, system in entity.systems.items() if system.observed.updated],
            "updated": entity.updated,
            "overruled": entity.overruled,
            "held": entity.held,
            "opened": entity.conflicts_opened,
        }
        if any(noise.values()):
            raise BrokenPromiseError(f"I15: a changed mapping made itself felt: {noise}")

    # ------------------------------------------------------------ settling

    def settle(self) -> None:
        """End all faults, let people decide everything, and check the promises."""
        self._calm()
        for name in self.clerks.places():
            self.clerks.arrive(Random(self.people.numbers), name)
        for number in range(DECIDING_ROUNDS):
            self._run_calm(full=number == 0)  # the complete look finds what readings by cursor do not show
            if not decide(self, Random(number)):
                break
        else:
            raise BrokenPromiseError(f"I1: people still have something to decide after {DECIDING_ROUNDS} rounds: {open_questions(self)}")
        passes = 0
        while self._wrote(self._run_calm()):
            passes += 1
            if passes > SETTLING_PASSES:
                writes = {name: system.calls.writes for name, system in self.systems.items() if system.calls.writes}
                raise BrokenPromiseError(f"I3: the engine still writes after {passes} quiet passes: {writes}")
        self._check_quiet()
        check_settled(self)
        check_orders(self)
        self.counters = counters(self)
        self.people.agreed()
        self.people.unsure = {code for code in self.people.unsure if code not in self.counters}

    def _calm(self) -> None:
        for name, system in self.systems.items():
            system.faults = type(system.faults)()
            self.worlds[name].down = None
            self.people.mend()
            table = self.people.table(name)
            table.lag(0)
            table.hold_back(0, 0)
        self.lagging = False
        self.clock.pass_by(LATER_S)

    def _run_calm(self, *, full: bool = False) -> RunSummary:
        summary = self.sync(full=full)
        self.clock.pass_by(LATER_S)
        if summary is None:
            raise BrokenPromiseError("a run was killed that nobody wanted to kill")
        for entity in summary.entities.values():
            for name, system in entity.systems.items():
                if system.error is not None:
                    raise BrokenPromiseError(f"I7: {name} was left out although nothing is wrong with it: {system.error}")
        return summary

    def _wrote(self, _summary: RunSummary) -> bool:
        return any(system.calls.writes for system in self.systems.values())

    def _check_quiet(self) -> None:
        """I3, I14: the last pass wrote nothing, and read each system once."""
        for name, system in self.systems.items():
            reads = system.calls.listings + system.calls.increments
            if reads != 1 or system.others.listings > 1:
                raise BrokenPromiseError(f"I14: a quiet pass read {name} {reads} times, and its orders {system.others.listings} times")
            if system.calls.compared > len(self.entity.match) or system.others.compared > 1:
                raise BrokenPromiseError(f"I14: a quiet pass looked for records among the rows of {name} again and again")


# ---------------------------------------------------------------- comparing whole games


def contents(sim: Simulation) -> dict[str, list[tuple[str, ...]]]:
    """What every system holds in its mapped columns, whatever the keys: for comparing the ends of two games."""
    found = {}
    for name, world in sim.worlds.items():
        columns = [f"c_{item}" for item in sim.scenario.systems[name].fields]
        rows = world.tables["people"].rows.values()
        found[name] = sorted(tuple(repr(row.values.get(column)) for column in columns) for row in rows)
    return found


def story(seed: int, *, kill_at: int | None = None, backwards: bool = False) -> tuple[dict[str, list[tuple[str, ...]]], bool]:
    """A fixed course of events in the scenario of `seed`: rows, a run, edits, a run, deletes, a run. Returns its end.

    The runs are killed at point `kill_at` of the course, and started again; the second result says whether it came to that.
    `backwards` shows every listing in small pages, from the last row to the first.
    """
    random = Random(seed)
    with Simulation(seed) as sim:
        for system in sim.systems.values():
            system.backwards = backwards
            system.page_rows = 2 if backwards else system.page_rows
        left = kill_at
        for moves in (["add"] * 8, ["edit"] * 6 + ["edit twice"] * 2, ["remove"] + ["edit"] * 3):
            for name in moves:
                sim.play((name, random.randrange(1 << 30)))
            before = sim.killer.passed
            if sim.sync(kill_at=left) is None:
                left = None
                sim.sync()
            elif left is not None:
                left -= sim.killer.passed - before
        sim.settle()
        return contents(sim), kill_at is not None and left is None


# ---------------------------------------------------------------- games


@dataclass
class Failure:
    """A game that broke a promise, with the fewest moves that were found to do so."""

    seed: int
    moves: list[Move]
    error: str

    def __str__(self) -> str:
        lines = [f"seed {self.seed}: {self.error}", f"  moves ({len(self.moves)}):"]
        return "\n".join(lines + [f"    {move}" for move in self.moves])


def draw_moves(seed: int, count: int = MOVES_PER_GAME, weights: Mapping[str, int] = WEIGHTS) -> list[Move]:
    """The moves of a game; the last one settles it."""
    random = Random(seed * 1_000_003 + 1)
    names = random.choices(list(weights), list(weights.values()), k=count)
    return [(name, random.randrange(1 << 30)) for name in names] + [("settle", 0)]


def play_game(seed: int, moves: Sequence[Move], tally: Counter[str] | None = None) -> str | None:
    """Play one game; what went wrong (one line), or None."""
    with Simulation(seed) as sim:
        try:
            for move in moves:
                sim.play(move)
        except (BrokenPromiseError, TrueupError) as error:
            return f"{type(error).__name__}: {error}"
        except Exception as error:  # noqa: BLE001 - whatever the engine lets through is a finding
            return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        finally:
            if tally is not None:
                tally.update(sim.moves)
                tally.update({f"configure: {name}": count for name, count in sim.changes.items()})
                tally.update({f"killed {place}": count for place, count in sim.kills.items()})
                tally["(runs)"] += sim.syncs
    return None


def _kind(error: str) -> str:
    """What sort of failure: the promise, or the type of the error."""
    return error.split(":")[1].strip()[:3] if error.startswith("BrokenPromiseError") else error.split(":", maxsplit=1)[0]


def shrink(seed: int, moves: list[Move], error: str, limit_s: float = 60.0) -> Failure:
    """Leave out moves for as long as the same promise stays broken."""
    deadline = time.monotonic() + limit_s
    size = max(1, len(moves) // 2)
    while size and time.monotonic() < deadline:
        start = 0
        while start < len(moves) and time.monotonic() < deadline:
            fewer = moves[:start] + moves[start + size :]
            found = play_game(seed, fewer) if fewer else None
            if found is not None and _kind(found) == _kind(error):
                moves, error = fewer, found
            else:
                start += size
        size //= 2
    return Failure(seed, moves, error)


def soak(operations: int, seed: int, *, say: Callable[[str], None] = print, shrink_s: float = 60.0) -> Failure | None:
    """Play games until `operations` moves were made; the first failure, shrunk, or None."""
    tally: Counter[str] = Counter()
    made, games = 0, 0
    began = told = time.monotonic()
    while made < operations:
        moves = draw_moves(seed + games)[: max(2, operations - made)]
        if moves[-1][0] != "settle":
            moves[-1] = ("settle", 0)
        error = play_game(seed + games, moves, tally)
        if error is not None:
            say(_played(tally, made, games, time.monotonic() - began))
            say(f"game {seed + games} failed: {error}; shrinking …")
            return shrink(seed + games, moves, error, shrink_s)
        made += len(moves)
        games += 1
        if time.monotonic() - told > 10:
            told = time.monotonic()
            say(f"{made:,} of {operations:,} operations, {games:,} games, {told - began:.0f} s")
    say(_played(tally, made, games, time.monotonic() - began))
    say("nothing is broken")
    return None


def _played(tally: Mapping[str, int], made: int, games: int, seconds: float) -> str:
    """What was played: how much of each move, of each change of a configuration, and where runs were killed."""
    lines = [f"{made:,} operations in {games:,} games, {seconds:.0f} s", *(f"  {name} {tally[name]:,}" for name in sorted(tally))]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 0 when nothing broke."""
    parser = argparse.ArgumentParser(prog="python -m trueup.testing.simulator", description="Plays random games against the engine.")
    parser.add_argument("--operations", type=int, default=1_000_000, help="how many moves to make (default: a million)")
    parser.add_argument("--seed", type=int, default=1, help="the first game's seed; the following games count up")
    parser.add_argument("--shrink-seconds", type=float, default=120.0, help="how long to look for a shorter history of a failure")
    chosen = parser.parse_args(arguments)
    failure = soak(chosen.operations, chosen.seed, shrink_s=chosen.shrink_seconds)
    if failure is not None:
        sys.stdout.write(f"{failure}\n")
    return 0 if failure is None else 1


if __name__ == "__main__":
    sys.exit(main())
