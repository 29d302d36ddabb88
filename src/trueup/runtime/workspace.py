"""A workspace: a configuration with its state and its systems, and what can be done with them. `trueup.open` gives one."""

from __future__ import annotations

import json
import os
import socket
import time
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

from trueup import scratch
from trueup.config.load import load_config
from trueup.errors import StateMissingError, TrueupError, UsageError
from trueup.model import EntitySummary, RunSummary, SystemSummary
from trueup.runtime import rules, trail
from trueup.runtime.changes import mapping_changes, remember_mappings
from trueup.runtime.compaction import compact_daily
from trueup.runtime.dispatch.helping import helped
from trueup.runtime.former_keys import referrers_of
from trueup.runtime.meeting import meet_systems, to_be_met
from trueup.runtime.order import in_order
from trueup.runtime.pass_options import PassOptions
from trueup.runtime.records import find_record, record_named
from trueup.runtime.renames import carry_out, with_new_names
from trueup.runtime.run_pass import Pass
from trueup.runtime.spill import Spill
from trueup.runtime.status import nothing_yet, standing_of
from trueup.runtime.summaries import summary_json
from trueup.runtime.systems import Systems
from trueup.store import Store, audit, conflict, failure, golden, identity, meta, paused, restored, sending, views
from trueup.store import run as run_table
from trueup.store.engine import shown as shown_state

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from types import TracebackType

    from trueup.connectors.base import Connector
    from trueup.core.chain import Head
    from trueup.model import Config, RunStatus
    from trueup.reports.findings import Findings
    from trueup.reports.morning_facts import Morning
    from trueup.reports.standing import Standing
    from trueup.reports.undone import Undone
    from trueup.reports.verify_facts import Agreement
    from trueup.runtime.limits import Limits

    Passed = tuple[EntitySummary, str | None]

VIEWS = "shapes of views"  # the name under which the state keeps what its views were made from
Tick = "Callable[[str, str, int], None]"


class Workspace:
    """One configuration at work. Use as a context manager, or `close()` it."""

    def __init__(
        self,
        config: Config,
        *,
        connectors: Mapping[str, Connector] | None = None,
        clock: Callable[[], datetime] | None = None,
        store: Store | None = None,
        limits: Limits | None = None,
    ) -> None:
        """Connect to nothing yet.

        `connectors` replaces systems' connectors, `clock` gives the moment (aware, UTC), `store` is an opened state, closed with this.
        `limits` are shared with others who work on this configuration in this process.
        """
        self.config = config
        self.systems = Systems(config, connectors, limits=limits)
        self.clock = clock or (lambda: datetime.now(UTC))
        self._store: Store | None = store
        self._views = ""  # the shapes of which the views are known to be there
        self.by_program = False  # the audit trail is to tell of what is asked for here
        self._is_copy = False  # the state at hand is a copy for a plan, and may be changed
        self.although_paused = False  # somebody asked for a few records while everything rests

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close connections and the state. May be called twice."""
        self.systems.close()
        if self._store is not None:
            self._store.close()
            self._store = None

    @property
    def state_target(self) -> str:
        """The path or URL of the state; a path is absolute."""
        target = self.config.state
        return target if "://" in target else str(Path(self.config.directory, target))

    @property
    def store(self) -> Store:
        """The state, opened (and made) when first needed."""
        if self._store is None:
            self._store = Store.open(self.state_target)
        return self._store

    def lock(self, purpose: str, wait_s: float | None = None) -> AbstractContextManager[None]:
        """Hold the state for this process. Raises StateLockedError."""
        return self.store.lock(purpose, wait_s, now=self.clock())

    def _asked(self, what: str, *, looks: bool = False, **arguments: Any) -> AbstractContextManager[None]:
        """While it runs, the audit trail tells that a program asked for this; `looks`: it is shown records, and changes nothing."""
        from trueup.runtime.asked import told

        if not self.by_program or audit.is_asked():
            return nullcontext()
        return told(self.config, self._store or self.state_target, what, arguments, self.clock(), looks=looks)

    # -------------------------------------------------------------- looking

    def check(self) -> Findings:
        """Compare the configuration with what is really there. Changes nothing, makes no state; problems are found, not raised."""
        from trueup.runtime.check import check
        from trueup.runtime.locks import kept_locks
        from trueup.runtime.reporting.late import kept_late

        with self._asked("check", looks=True):
            return check(self.config, self.systems, kept_locks(self.state_target), kept_late(self.state_target, self.config, self.clock()))

    def status(self) -> Standing:
        """How things stand, from the state alone. A state that is not there yet is not made. Raises StateError."""
        shown = shown_state(self.state_target)
        if self._store is not None:
            with self._store.read() as db:
                return standing_of(db, self.config, shown, self.clock())
        try:
            store = Store.open(self.state_target, read_only=True)
        except StateMissingError:
            return nothing_yet(self.config, shown)
        with store, store.read() as db:
            return standing_of(db, self.config, shown, self.clock())

    def verify(self, entities: Sequence[str] = (), *, tick: Callable[[str, str, int], None] | None = None) -> Agreement:
        """Compare all systems with the agreed records now; only reads. Raises UsageError, StateError."""
        from trueup.runtime.verify import verify_systems

        names = self._entities(entities)
        with self._asked("verify", looks=True, entities=list(entities)):
            return verify_systems(self.config, self.systems, self.store, names, tick)[0]

    def report(
        self, *, since: datetime | None = None, compare: bool = True, tick: Callable[[str, str, int], None] | None = None
    ) -> Morning:
        """The morning report; `compare=False` tells of the last comparison. Nothing is kept of it. Raises StateError.

        `since` None: since the last one that was handed over, else of 24 hours.
        """
        from trueup.runtime.reporting.making import make

        with self._asked("report", looks=True, compare=compare):
            found = self.verify(tick=tick) if compare else None
            return make(self.store, self.config, self.clock(), found, since=since)

    def end_of_trail(self) -> Head:
        """The head of the audit trail as it is now, and stays also after a power cut. Raises StateError."""
        self.store.reach_disk()
        with self.store.read() as db:
            return audit.head(db)

    # -------------------------------------------------------------- runs

    def plan(
        self,
        entities: Sequence[str] = (),
        *,
        full: bool = False,
        every_change: bool = False,
        tick: Callable[[str, str, int], None] | None = None,
    ) -> RunSummary:
        """What `sync` would do, without doing it; nothing is changed anywhere, and a state that is not there yet is not made."""
        names = self._entities(entities)
        options = PassOptions(plan=True, full=full, every_change=every_change)
        with self._asked("plan", looks=True, entities=list(entities), full=full), self._state_for_plan():
            return self._passes(dict.fromkeys(names, options), run=None, tick=tick)

    @contextmanager
    def _state_for_plan(self) -> Iterator[None]:
        """The state as it is; where there is none, an empty one for the time of the plan, away from where the real one will be."""
        own = self._store
        with ExitStack() as stack:
            store = own
            if store is None:
                try:
                    store = Store.open(self.state_target, read_only=True)
                except StateMissingError:
                    folder = stack.enter_context(scratch.folder_for("plan"))
                    store = Store.open(str(Path(folder, "state.db")))
                stack.callback(store.close)
            named = stack.enter_context(with_new_names(store, self.config))
            self._store = stack.enter_context(to_be_met(named))
            self._is_copy = self._store is not named
            try:
                yield
            finally:
                self._store, self._is_copy = own, False

    def sync(
        self,
        entities: Sequence[str] = (),
        *,
        full: bool = False,
        limit: int | None = None,
        record: tuple[str, str] | None = None,
        wait_s: float | None = None,
        command: str | None = None,
        tick: Callable[[str, str, int], None] | None = None,
    ) -> RunSummary:
        """One run. `record` is (entity, key) for a run over that record alone; `command` is what the list of runs shows, if not `sync`.

        Raises UsageError, StateError, StateLockedError.
        """
        names = self._entities([record[0]] if record else entities)
        asked = self._asked("sync", entities=names if record or entities else [], full=full, limit=limit, record=record is not None)
        with asked, self.lock(command or "sync", wait_s):
            keys, known = record_named(self, *record) if record is not None else (None, frozenset())
            options = PassOptions(full=full, limit=limit, keys=keys, records=known)
            words = command or _command(full=full, limit=limit, record=record)
            with helped(self.store, self.config, self.clock, wanted=record is None) as hands:
                return self._run(words, {name: replace(options, hands=hands(name)) for name in names}, tick)

    def look_again(self, entity: str, keys: Mapping[str, Sequence[str]], records: Iterable[int]) -> RunSummary:
        """One run over the given rows (system -> keys) and records alone. Raises StateError, StateLockedError."""
        with self._asked("verify --repair", entities=[entity]), self.lock("verify --repair"):
            return self._run("verify --repair", {entity: PassOptions(keys=keys, records=frozenset(records))}, None)

    def undo(
        self,
        run: int,
        *,
        record: tuple[str, str] | None = None,
        field: str | None = None,
        plan: bool = False,
        every_change: bool = False,
        wait_s: float | None = None,
        tick: Callable[[str, str, int], None] | None = None,
    ) -> tuple[Undone, RunSummary | None]:
        """Put back what a run changed, all of it or of one record (entity, key) or field; `plan`: say what that would do.

        Gives what was put back and what was refused, and the run that did it: None where there was nothing to put back, and none was
        needed. Raises UsageError, StateError, StateLockedError.
        """
        from trueup.runtime.undo import Undo, Wanted

        def begun() -> tuple[Undo, dict[str, PassOptions]]:
            with self.store.read() as db:
                gid = (record[0], find_record(self, db, *record)) if record is not None else None
            undo = Undo(self.store, self.config, Wanted(run, gid, field), self.clock())
            return undo, {
                name: PassOptions(
                    plan=plan,
                    every_change=every_change,
                    keys={},
                    records=gids,
                    ruling=undo.ruling,
                    outright=partial(undo.outright, name),
                    notice=undo.committed,
                )
                for name, gids in undo.records.items()
            }

        asked = self._asked("undo", looks=plan, run=run, plan=plan, record=record is not None, field=field)
        if plan:
            with asked, self._state_for_plan():
                undo, passes = begun()
                return undo.undone, self._passes(passes, run=None, tick=tick) if passes else None
        with asked, self.lock("undo", wait_s):
            carry_out(self.store, self.config)
            undo, passes = begun()
            words = [f"undo {run}", *(["--record", *record] if record else []), *(["--field", field] if field else [])]
            return undo.undone, self._run(" ".join(words), passes, tick) if passes else None

    def meet_all(self, command: str, tick: Callable[[str, str, int], None] | None = None) -> RunSummary:
        """One run over everything that writes to no system. Raises StateError, StateLockedError."""
        with self.lock(command):
            return self._run(command, dict.fromkeys(self._entities(()), PassOptions(full=True, limit=0)), tick)

    def _run(self, command: str, passes: Mapping[str, PassOptions], tick: Callable[[str, str, int], None] | None) -> RunSummary:
        """A run with a number, whatever becomes of it; the state is held."""
        carry_out(self.store, self.config)
        result = self.numbered_run(command, passes, tick)
        compact_daily(self.store, self.config.retention, self.clock())
        return result

    def numbered_run(
        self, command: str, passes: Mapping[str, PassOptions], tick: Callable[[str, str, int], None] | None = None
    ) -> RunSummary:
        """The passes as one run in the list of runs, also where they are broken off. The state is held. Raises StateError."""
        started = self.clock()
        with self.store.gathered():
            number = self.begin_run(command, list(passes))
        try:
            with self.store.gathered():
                result = self._passes(passes, run=number, tick=tick)
        except BaseException as error:
            self.end_run(number, "failed", started, None, str(error) if isinstance(error, TrueupError) else type(error).__name__)
            raise
        self.end_run(number, result.status, started, result, result.error)
        return result

    def begin_run(self, command: str, entities: Sequence[str]) -> int:
        """The number of a run that begins now. The state is held, and stays so until `end_run`. Raises StateError."""
        at = self.clock()
        with self.store.write() as tx:
            identity.ensure(tx)
            number = run_table.start(tx, command, at=at, who=audit.me())
            trail.run_begins(tx, number, command, entities, at=at)
        return number

    def end_run(self, number: int, status: RunStatus, started: datetime, result: RunSummary | None, error: str | None) -> None:
        """A run that began at `started` is over; `result` is None where it was broken off by `error`. Raises StateError."""
        at = self.clock()
        text = summary_json(result) if result is not None else None
        with self.store.write() as tx:
            run_table.finish(tx, number, status, at=at, seconds=(at - started).total_seconds(), summary=text, error=error)
            trail.run_ends(tx, number, status, result, at=at)

    def _passes(self, passes: Mapping[str, PassOptions], *, run: int | None, tick: Callable[[str, str, int], None] | None) -> RunSummary:
        """One pass per entity, in the order given."""
        started_at = self.clock()
        begun = time.perf_counter()
        result = RunSummary(run=run, status="done", started_at=started_at, seconds=0.0)
        stopped: list[str] = []
        for name, options in passes.items():
            summary, problem = self.one_pass(name, options, run=run, tick=tick)
            result.entities[name] = summary
            if problem is not None:
                stopped.append(problem)
        result.seconds = time.perf_counter() - begun
        result.status = status_of(result, stopped)
        result.error = "; ".join(stopped) or None
        return result

    def one_pass(
        self,
        name: str,
        options: PassOptions,
        *,
        run: int | Callable[[], int] | None,
        tick: Callable[[str, str, int], None] | None = None,
    ) -> tuple[EntitySummary, str | None]:
        """One entity's pass, or why there was none. The caller holds the state, and has begun the run; or `run()` begins it when needed."""
        parts = self.pass_in_parts(name, options, run=run, tick=tick)
        try:
            next(parts)
            parts.send({})
        except StopIteration as over:
            return cast("Passed", over.value)
        raise AssertionError

    def may_read_apart(self, name: str) -> bool:
        """Whether a pass may read while others run: not where it would begin by teaching the state something."""
        entity = self.config.entities[name]
        with self.store.read() as db:
            changed = mapping_changes(db, entity, self.config)
            return changed.nothing and restored.get(db) is None and not any(sending.outstanding(db, name, one) for one in entity.mappings)

    def pass_in_parts(
        self,
        name: str,
        options: PassOptions,
        *,
        run: int | Callable[[], int] | None,
        tick: Callable[[str, str, int], None] | None = None,
    ) -> Generator[None, Mapping[str, frozenset[str] | None], Passed]:
        """See `one_pass`: halts once everything was read. It is sent what others have read or written meanwhile: keys by system, or None.

        None: all of that system; what this pass has read of it is then forgotten.
        """
        entity = self.config.entities[name]
        resting = self.systems.limits.resting(entity.mappings, self.clock())
        options = replace(options, away=options.away | resting.keys(), rests=self._rests)
        seats, errors = self.systems.seats(entity, make=not options.plan, away=options.away, known_s=options.known_s)
        # A look at single rows is to be quick.
        drift = rules.drift(self.store, entity, self.systems, seats, errors) if options.keys is None else rules.Drift(errors)
        errors = drift.errors
        problem = _too_few(name, entity.mappings, seats, errors, options.away, resting)
        if problem is not None:
            summary = EntitySummary(systems={system: SystemSummary() for system in entity.precedence})
            with self.store.read() as db:
                summary.total = golden.count(db, name)
                summary.conflicts_open, summary.failures_open = conflict.count(db, name), failure.count(db, name)
            for system, error in errors.items():
                summary.systems[system].error = str(error)
            return summary, problem
        with self.store.read() as db:
            muted = frozenset(self._muted(dict.fromkeys(paused.list_(db)), name))
            changed = mapping_changes(db, entity, self.config)
            after = restored.get(db)
        older = after is not None and after.stage(name) != "done"
        options = replace(
            options, mute=muted, changes=changed, older=older, retyped=drift.retyped, referrers=referrers_of(name, self.config.entities)
        )
        if run is not None and (changed.behind or changed.rematch):
            changed.apply(self.store, entity, seats, self.clock())

        def new_pass() -> Pass:
            hears = (lambda system, rows: tick(name, system, rows)) if tick else (lambda _system, _rows: None)
            owner = f"{os.getpid()}@{socket.gethostname()}"
            return Pass(self.store, entity, dict(seats), errors, run, owner, self.clock, options, hears)

        notes = [f"{_left_alone(system, until)}: what is due there waits" for system, until in resting.items()]
        if after is not None and after.stage(name) == "meet" and (run is not None or self._is_copy):
            first = new_pass()
            problem = meet_systems(first, after, list(self.config.entities))
            if problem is not None:
                return first.summary, problem
            notes += first.summary.notes
        work = new_pass()
        with Spill() as spill:
            observations = work.read(spill)
            overtaken = yield
            if options.triggers is not None:
                with self.store.read() as db:
                    overtaken = options.triggers.put_off(db, entity, spill, observations)
            with work.deliveries.not_outlasting():
                summary = work.conclude(spill, observations, overtaken)
        summary.notes[:0] = [*notes, *drift.notes]
        if older and run is not None and options.keys is None and work.reread_whole >= set(entity.mappings) and not summary.held:
            with self.store.write() as tx:
                restored.advance(tx, name, "done", list(self.config.entities))
        if run is not None:
            # Rows whose disappearance is held are still known from the place before: what moved is not settled until that is decided.
            waiting = {system for system, guard in work.guards.items() if guard.held_deletes} & work.past.changes.moved
            remember_mappings(self.store, entity, self.config, work.reread_whole - waiting, self.clock())
            held = {system for system, guard in work.guards.items() if guard.held_updates}
            rules.remember(self.store, entity, self.config, seats if options.keys is None else {}, held=held)
            self._refresh_views()
        return summary, None

    def _rests(self, system: str) -> bool:
        """Whether a system is left alone now."""
        return bool(self.systems.limits.resting([system], self.clock()))

    def _refresh_views(self) -> None:
        """Make the views for plain SQL anew where the configured fields changed."""
        shapes = {item.name: [(field.name, field.type) for field in item.fields.values()] for item in self.config.entities.values()}
        text = json.dumps(shapes)
        if text == self._views:
            return
        self._views = text
        with self.store.read() as db:
            if meta.get(db, VIEWS) == text:
                return
        with self.store.write() as tx:
            views.refresh(tx, shapes)
            meta.set_(tx, VIEWS, text)

    def _muted(self, pauses: Mapping[tuple[str, str], None], entity: str) -> Iterator[str]:
        everything = (("all", "") in pauses and not self.although_paused) or ("entity", entity) in pauses
        for name, system in self.config.systems.items():
            if everything or system.paused or ("system", name) in pauses:
                yield name

    def _entities(self, wanted: Sequence[str]) -> list[str]:
        """Entity names in the order of a run. Raises UsageError for one that is not configured."""
        known = self.config.entities
        for name in wanted:
            if name not in known:
                raise UsageError(f"there is no entity {name!r}", hint=f"configured: {', '.join(known)}")
        return in_order(known, wanted or known)


def status_of(result: RunSummary, stopped: Sequence[str] = ()) -> RunStatus:
    """The outcome of a run from its parts; see the exit statuses. `stopped`: why entities could not run at all."""
    summaries = list(result.entities.values())
    if stopped and len(stopped) == len(summaries):
        return "failed"
    if any(summary.held for summary in summaries):
        return "held"
    troubled = bool(stopped)
    for summary in summaries:
        troubled = troubled or summary.missing > 0
        for system in summary.systems.values():
            troubled = troubled or system.error is not None or system.observed.rejected > 0 or system.delivered.failed > 0
        troubled = troubled or summary.failures_open > 0
    return "partial" if troubled else "done"


def _command(*, full: bool, limit: int | None, record: tuple[str, str] | None) -> str:
    """A run's command as the list of runs shows it."""
    parts = ["sync", *(["--full"] if full else []), *([f"--limit {limit}"] if limit is not None else [])]
    return " ".join([*parts, *(["--record", *record] if record else [])])


def _left_alone(system: str, until: datetime) -> str:
    return f"{system} is left alone until {until:%Y-%m-%d %H:%M}Z by its `limits`"


def _too_few(
    name: str,
    mappings: Mapping[str, object],
    seats: Mapping[str, object],
    errors: Mapping[str, TrueupError],
    away: frozenset[str],
    resting: Mapping[str, datetime],
) -> str | None:
    """Why an entity cannot run at all: fewer than two systems, or none that may be written. Those that are `away` will be back."""
    why = "; ".join([*(str(error) for error in errors.values()), *(_left_alone(*item) for item in resting.items())])
    if away and seats:
        return None
    if len(seats) < 2:
        left_out = sorted(mappings.keys() & away - resting.keys())
        reason = why or (f"{', '.join(left_out)}: left out for the moment" if left_out else f"{len(mappings)} mapped")
        return f"{name}: fewer than two systems can be reached: {reason}"
    if not any(getattr(seat, "mapping").writes for seat in seats.values()):  # noqa: B009
        return f"{name}: no system that may be written can be reached" + (f": {why}" if why else "")
    return None


def open_workspace(path: str | Path = "trueup.yaml", *, environ: Mapping[str, str] | None = None, by_program: bool = False) -> Workspace:
    """Read a configuration and make it ready to work. Raises ConfigError with every problem.

    `by_program`: no command line tells the audit trail what is asked of it.
    """
    workspace = Workspace(load_config(path, environ=environ))
    workspace.by_program = by_program
    return workspace
