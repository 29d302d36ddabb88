"""A rehearsal: copies, a first run, rounds of edits and runs in bad weather, people's answers, quiet runs, and what all that came to.

Everything happens in a state and in systems of its own. Of the configuration it takes what says how records are kept in agreement, and
nothing that reaches out: no alerts, notices, packages or reports, and no address of a system.
"""

from __future__ import annotations

import time
from collections import Counter
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TYPE_CHECKING, Any, Literal, cast

import orjson

from trueup import scratch
from trueup.connectors.faulty import FaultyConnector
from trueup.errors import StateError
from trueup.model import Alerts, Retention
from trueup.reports.rehearsal_facts import CopyFacts, FlowFacts, HeldFacts, LoadFacts, MoveFacts, Rehearsal, RejectFacts
from trueup.runtime.workspace import Workspace
from trueup.setup.rehearsal.copies import Amount, Copies, copy_systems
from trueup.setup.rehearsal.judging import Judge, Met
from trueup.setup.rehearsal.mortal import Kill, Killer, MortalStore
from trueup.setup.rehearsal.people import People, Played, links_of
from trueup.setup.rehearsal.script import drawn_from
from trueup.setup.rehearsal.standin import Asked, StandIn
from trueup.setup.rehearsal.treatment import WORDS, label_of
from trueup.setup.rehearsal.weather import Weather, fault_decider
from trueup.setup.rehearsal.words import advice, said
from trueup.store import conflict, failure, golden, hold, parked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from trueup.connectors.base import Connector
    from trueup.model import Config, RunSummary
    from trueup.reports.rehearsal_facts import Outcome
    from trueup.setup.rehearsal.script import Round

RUNS_A_ROUND = 3
QUIET_RUNS = 12
BETWEEN_RUNS = timedelta(minutes=15)
BETWEEN_ROUNDS = timedelta(hours=25)
LAST_KILL = 12
"""Trueup is killed at one of its first so many commits and writes after people's edits."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be rehearsed. `script` None: one is drawn from the configuration, for so many `rounds`."""

    amount: Amount
    rounds: int = 3
    seed: int = 1
    weather: Weather = "rough"
    script: tuple[Round, ...] | None = None
    keep: Path | None = None


class Clock:
    """The moment: it moves on its own as time does, and by leaps from round to round."""

    def __init__(self) -> None:
        """Begin now."""
        self._leapt = timedelta()

    def __call__(self) -> datetime:
        """The moment, aware, in UTC."""
        return datetime.now(UTC) + self._leapt

    def leap(self, over: timedelta) -> None:
        """Let time pass."""
        self._leapt += over


def rehearse(config: Config, wish: Wish, tick: Callable[[str, str, int], None] | None = None) -> Rehearsal:
    """Rehearse. Raises TrueupError where nothing can be rehearsed; nothing real is written, whatever happens."""
    began = time.perf_counter()
    found = Rehearsal(datetime.now(UTC), wish.seed, wish.weather, config.file)
    clock = Clock()
    copies = copy_systems(config, wish.amount, clock, tick)
    found.copy_seconds = time.perf_counter() - began
    with private_folder() as folder:
        stage = Stage(_inward(config, copies, folder), copies, clock, wish)
        try:
            stage.play(found)
            stage.judge(found)
            if wish.keep is not None:
                from trueup.setup.rehearsal.keeping import keep

                stage.close()
                keep(wish.keep, folder, copies)
        finally:
            stage.close()
    found.left_out = dict(copies.errors)
    found.notes = list(copies.notes)
    found.copies = [
        CopyFacts(
            one.system,
            one.label,
            one.entities,
            one.rows,
            one.copied,
            one.rejected,
            {name: WORDS[how.kind] for name, how in one.columns.items()},
        )
        for one in copies.objects.values()
    ]
    found.seconds = time.perf_counter() - began
    found.advice = advice(found, config)
    return found


@contextmanager
def private_folder() -> Iterator[Path]:
    """A folder that nobody else may look into, removed in any case. Raises StateError where there is no room for one."""
    try:
        folder = scratch.new_folder("rehearsal")
    except OSError as error:
        raise StateError(
            f"no temporary folder can be made: {error.strerror}", hint="make room, or name another folder in TMPDIR"
        ) from error
    try:
        yield folder
    finally:
        scratch.remove(folder)


def _inward(config: Config, copies: Copies, folder: Path) -> Config:
    """The configuration of the rehearsal: its systems are memory, its state is its own, and it tells nobody anything."""
    here = {name: system for name, system in config.systems.items() if name in copies.worlds}
    systems = {
        name: replace(system, connector="memory", settings={}, limits={}, paused=False, webhook=None, was=None)
        for name, system in here.items()
    }
    entities = {}
    for name, entity in config.entities.items():
        mappings = {}
        for system, mapping in entity.mappings.items():
            table = copies.table(system, name)
            if table is None:
                continue
            assign = mapping.object.assign
            if assign == "auto":
                assign = "sequence" if all(key.isdecimal() for key in table.rows) else "uuid"
            obj = replace(mapping.object, name=label_of(mapping), sql=None, create=False, assign=assign)
            mappings[system] = replace(mapping, object=obj, direction=mapping.direction if mapping.writes else "read")
        if len(mappings) > 1:
            entities[name] = replace(entity, mappings=mappings, precedence=tuple(item for item in entity.precedence if item in mappings))
    return replace(
        config,
        directory=str(folder),
        state=str(folder / "state.db"),
        systems=systems,
        entities=entities,
        retention=Retention(),
        alerts=Alerts(),
        notices={},
        packages={},
        report=None,
        manual={},
        runbooks=None,
        metrics_token=None,
    )


@dataclass
class Stage:
    """Where the rehearsal is played: the copies, one process after the other at work on them, and what was counted."""

    config: Config
    copies: Copies
    clock: Clock
    wish: Wish
    asked: dict[str, Asked] = field(default_factory=dict)
    troubles: dict[str, Counter[str]] = field(default_factory=dict)
    played: list[Played] = field(default_factory=list)
    held: dict[tuple[str, str, str], HeldFacts] = field(default_factory=dict)
    rejected: dict[tuple[Any, ...], RejectFacts] = field(default_factory=dict)
    flows: dict[tuple[str, str], FlowFacts] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Nothing has been asked yet."""
        self.random = Random(self.wish.seed)  # noqa: S311 - which records are edited is no secret
        self.asked = {name: Asked() for name in self.copies.worlds}
        self.troubles = {name: Counter() for name in self.copies.worlds}
        self.people = People(self.config, self.copies, self.random)
        self.met = Met()
        self.killer = Killer()
        self.processes = 0
        self.faulty: dict[str, FaultyConnector] = {}
        self.workspace: Workspace | None = None

    # ------------------------------------------------------------ processes

    def begin(self, weather: Weather) -> Workspace:
        """A new process, in this weather."""
        self.close()
        self.killer = Killer()
        self.processes += 1
        store = MortalStore.open(self.config.state)
        store.killer = self.killer  # type: ignore[attr-defined]
        self.faulty = {}
        for number, (name, world) in enumerate(self.copies.worlds.items()):
            inner = cast("Connector", StandIn(name, world, self.killer, self.asked[name]))
            seed = self.wish.seed * 1000 + self.processes * 50 + number
            self.faulty[name] = FaultyConnector(inner, decide=fault_decider(weather, seed, world.caps), lags=False)
        self.workspace = Workspace(self.config, connectors=cast("Mapping[str, Connector]", self.faulty), clock=self.clock, store=store)
        return self.workspace

    def close(self) -> None:
        """End the process at work, whatever state it is in."""
        for name, connector in self.faulty.items():
            self.troubles[name].update(fault.name for fault in connector.hits)
            connector.hits.clear()
        if self.workspace is not None:
            self.killer.at = None
            with suppress(Kill):
                self.workspace.close()
            self.workspace = None

    def run(self, found: Rehearsal, *, kill: bool = False) -> RunSummary | None:
        """One run of the process at work; None where it was killed."""
        workspace = self.workspace
        assert workspace is not None
        found.runs += 1
        if kill:
            self.killer.at = self.killer.passed + self.random.randint(1, LAST_KILL)
        try:
            result = workspace.sync()
        except Kill:
            return None
        for name, summary in result.entities.items():
            for system, part in summary.systems.items():
                seen, wrote = part.observed, part.delivered
                old = self.flows.get((name, system), FlowFacts(name, system))
                self.flows[name, system] = FlowFacts(
                    name,
                    system,
                    old.read + seen.read,
                    old.rejected + seen.rejected,
                    old.created + wrote.created,
                    old.updated + wrote.updated,
                    old.deleted + wrote.deleted,
                    old.failed + wrote.failed,
                )
        return result

    # ------------------------------------------------------------ the play

    def play(self, found: Rehearsal) -> None:
        """The first run, the rounds, people's answers, and the quiet at the end."""
        self._first(found)
        rounds = list(self.wish.script) if self.wish.script is not None else drawn_from(self.copies, self.config.entities, self.wish.rounds)
        for number, one in enumerate(rounds):
            self._round(found, number, one)
        self._decide_holds("script")
        self._settle(found)
        self._note("script")
        found.after = list(self.flows.values())
        self.rounds = rounds

    def _first(self, found: Rehearsal) -> None:
        workspace = self.begin("calm")
        begun = time.perf_counter()
        result = self.run(found)
        found.first_seconds = time.perf_counter() - begun
        assert result is not None
        found.first = list(self.flows.values())
        found.first_status = result.status
        with workspace.store.read() as db:
            found.first_conflicts, found.first_parked = conflict.count(db), parked.count(db)
        self._note("first")
        self._decide_holds("first")
        self.flows = {}

    def _round(self, found: Rehearsal, number: int, one: Round) -> None:
        assert self.workspace is not None
        self.clock.leap(BETWEEN_ROUNDS)
        with self.workspace.store.read() as db:
            version = golden.current_version(db)
        links = links_of(self.config, self.workspace.store, self.copies)
        kill = False
        for move in one.moves:
            kill = kill or move.do == "kill"
            self.played.append(self.people.play(move, len(self.played), number, links, version))
        self.begin(one.weather or self.wish.weather)
        for turn in range(RUNS_A_ROUND):
            if self.run(found, kill=kill and turn == 0) is None:
                found.kills.append(self.killer.where)
                self.begin(one.weather or self.wish.weather)
            self._note("script")
            self.clock.leap(BETWEEN_RUNS)
        self.people.introduce(links_of(self.config, self.workspace.store, self.copies), self.played)

    def _settle(self, found: Rehearsal) -> None:
        """Runs in calm weather until nothing moves any more."""
        self.begin("calm")
        found.quiet = False
        for _turn in range(QUIET_RUNS):
            self.clock.leap(BETWEEN_ROUNDS)
            result = self.run(found)
            assert result is not None
            self._note("script")
            self._decide_holds("script")
            if not _moved(result):
                found.quiet = True
                break

    def _note(self, when: Literal["first", "script"]) -> None:
        """Remember what is held and rejected at this moment."""
        assert self.workspace is not None
        with self.workspace.store.read() as db:
            for row in hold.of(db, decided=False).iter_rows(named=True):
                place = (row["entity"], row["system"], row["kind"])
                counts, limit = orjson.loads(row["counts"]), orjson.loads(row["limit_"])
                if place not in self.held:
                    self.held[place] = HeldFacts(*place, counts["count"], counts.get("rows"), limit.get("count"), when)
            failures = failure.of(db)
            self.met.refused |= set(failures.select("entity", "system", "key").rows())
            counted = failures.group_by("entity", "system", "field", "stage", "reason").len() if not failures.is_empty() else None
            for row in counted.iter_rows(named=True) if counted is not None else ():
                what = {name: row[name] for name in ("entity", "system", "field", "stage", "reason")}
                old = self.rejected.get(tuple(what.values()))
                if old is None or old.count < row["len"]:
                    self.rejected[tuple(what.values())] = RejectFacts(**what, count=row["len"], when=old.when if old else when)

    def _decide_holds(self, when: Literal["first", "script"]) -> None:
        """What a guard stopped in the script was an accident: a person refuses it. What it stops in the first run is let pass."""
        assert self.workspace is not None
        with self.workspace.store.write() as tx:
            for row in hold.of(tx, decided=False).iter_rows(named=True):
                ceiling = int(orjson.loads(row["counts"])["count"])
                if when == "first":
                    hold.decide(tx, row["id"], "approved", at=self.clock(), ceiling=ceiling, who="rehearsal")
                else:
                    hold.decide(tx, row["id"], "refused", at=self.clock(), who="rehearsal")

    # ------------------------------------------------------------ what it came to

    def judge(self, found: Rehearsal) -> None:
        """Compare everything, and ask what became of each edit."""
        workspace = self.workspace
        assert workspace is not None
        found.agreement = workspace.verify()
        self.people.introduce(links_of(self.config, workspace.store, self.copies), self.played)
        self.met.held = {(entity, system) for entity, system, _kind in self.held}
        judge = Judge(self.config, workspace.store, self.copies, self.played, self.met)
        for number, play in enumerate(self.played):
            outcomes: Mapping[Outcome, int] = judge.outcomes(number)
            if play.move.do != "kill":
                found.moves.append(MoveFacts(self.rounds[play.round].name, said(play.move, play.systems), play.many, dict(outcomes)))
        found.settled = judge.settled()
        found.held = list(self.held.values())
        found.rejected = list(self.rejected.values())
        found.made, found.duplicates = judge.duplicates(self.asked)
        self.close()
        found.loads = [self._load(name, found.first) for name in self.copies.worlds]

    def _load(self, name: str, first: Sequence[FlowFacts]) -> LoadFacts:
        """What a system was asked, and what a first load of all its rows would ask of it."""
        asked = self.asked[name]
        objects = [one for one in self.copies.objects.values() if one.system == name]
        rows, copied = sum(one.rows for one in objects), sum(one.copied for one in objects)
        written = sum(flow.created + flow.updated for flow in first if flow.system == name)
        others = sum(one.rows for one in self.copies.objects.values()), sum(one.copied for one in self.copies.objects.values())
        expected = rows + round(written * (others[0] / others[1] if others[1] else 1))
        limit = self.copies.config.systems[name].limits.get("rows_per_s")
        del copied
        return LoadFacts(
            name,
            {call: asked.calls[call] for call in ("read", "find", "write")},
            asked.rows_read,
            asked.rows_written,
            dict(self.troubles[name]),
            limit,
            expected,
            None if limit is None else expected / float(limit),
        )


def _moved(result: RunSummary) -> bool:
    """Whether a run changed or wrote anything, or could not look everywhere."""
    for summary in result.entities.values():
        if summary.created or summary.updated or summary.deleted or summary.held:
            return True
        for part in summary.systems.values():
            if part.error or part.delivered.created or part.delivered.updated or part.delivered.deleted or part.delivered.stale:
                return True
    return result.error is not None
