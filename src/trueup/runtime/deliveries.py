"""Deliveries of a pass: one lane per system, side by side; each chunk's rows are sent while the next chunk is being decided."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import polars as pl

from trueup.core.cells import GID, KEY, SYSTEM
from trueup.core.deliver import Due, due, due_restores
from trueup.errors import StateError, TrueupError
from trueup.runtime import marks
from trueup.runtime.book import Book, LeftOver
from trueup.runtime.commit import commit_results, put_troubles, ready_results
from trueup.runtime.following import follow
from trueup.runtime.hands import Sharing
from trueup.runtime.lane import Lane, Preparation, Prepared, Written, rest
from trueup.runtime.lookalikes import put_off
from trueup.runtime.obstacles import Obstacles
from trueup.runtime.outcomes import as_stored, settle_updates
from trueup.runtime.planned import note_planned
from trueup.runtime.recording import Recording
from trueup.store import outsider
from trueup.store import shadow as shadow_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime

    from trueup.core.facts import Decision
    from trueup.model import Entity, EntitySummary, PlannedChange
    from trueup.runtime.identify import Identified
    from trueup.runtime.outcomes import Results
    from trueup.runtime.pass_options import PassOptions
    from trueup.runtime.systems import Seat
    from trueup.store import Db, Store

    _Ready = tuple[Due, Preparation] | None
QUEUED = 1
"""So many chunks may wait for a lane that is busy: deciding about the next ones goes on meanwhile."""
ATTEMPTS = 3
"""How often a row is sent again within one chunk without the fields that the system rejected by name."""


class Deliveries:
    """Everything a pass delivers, and what it learns of it."""

    def __init__(
        self,
        store: Store,
        entity: Entity,
        seats: Mapping[str, Seat],
        options: PassOptions,
        *,
        run: int | Callable[[], int] | None,
        owner: str,
        clock: Callable[[], datetime],
    ) -> None:
        """`run` is None for a plan, which prepares everything and sends nothing; it may be how to begin a run."""
        self._store = store
        self._entity = entity
        self._seats = seats
        self._options = options
        self._run = run
        self._owner = owner
        self._clock = clock
        self._books: dict[str, Book] = {name: Book() for name in entity.precedence}
        self._pool: ThreadPoolExecutor | None = None
        self._tasks: dict[str, deque[Future[None]]] = defaultdict(deque)
        self._recording = Recording(len(seats))
        self._shared: dict[str, Sharing] = {}
        self._side_by_side: set[Future[None]] = set()
        self._obstacles = Obstacles(store, entity, seats, keeps=not options.plan, referred=bool(options.referrers))
        self._complete: frozenset[str] = frozenset()
        self._untold: set[str] = set()  # systems of which no row was known when the round began
        self._begun = 0.0
        self.detached: set[str] = set()  # systems whose lane was left to itself
        self.unsettled: dict[str, dict[str, str]] = {}
        self.alone = False  # the round has one decision only
        self.held: frozenset[str] = frozenset()  # systems whose edits a guard holds: what their rows became is not known yet

    @property
    def _number(self) -> int | None:
        return self._run() if callable(self._run) else self._run

    # -------------------------------------------------------------- rounds

    def begin_round(self, db: Db, found: Identified, complete: set[str]) -> None:
        """Learn what must not be written now: parked rows and their candidates, failures whose time has not come."""
        self._complete = frozenset(complete)
        self._begun = time.perf_counter()
        self._untold = {name for name in self._seats if not shadow_table.any_(db, self._entity.name, name)}
        self._obstacles.learn(db, found, self._clock())

    def mind_unreadable(self, db: Db, unreadable: Mapping[str, pl.DataFrame]) -> None:
        """Learn of rows (`Observation.unplaced`) that cannot be read, per system: they may be records that seem to lack."""
        self._obstacles.mind_unreadable(db, unreadable)

    def believed(self, gone: pl.DataFrame) -> pl.DataFrame:
        """Without rows that may stand there under another key: that they are gone is believed once nothing like them is left."""
        for name, doubtful, why in self._obstacles.doubtful(gone):
            self.unsettle(name, doubtful[KEY].to_list(), why)
            gone = gone.join(doubtful, on=[GID, SYSTEM], how="anti", maintain_order="left")
        return gone

    def undisturbed(self) -> AbstractContextManager[object]:
        """While the block runs, no lane that an earlier pass left to itself records anything.

        A pass reads what is known of its records, and writes the shadows of all their systems anew where a golden value moves. What such a
        lane recorded in between would be undone, and its own write then be taken for an edit.
        """
        lanes = self._options.lanes
        return nullcontext() if lanes is None or not lanes.busy else lanes.recording

    def submit(self, decision: Decision) -> None:
        """Deliver what follows from one decision, lane by lane, in the background.

        If it is the only one of its round, and one lane alone has something to do, then nothing is left to be done meanwhile.
        """
        lanes = {name: seat for name, seat in self._seats.items() if self._entity.written(name) and name not in self.detached}
        if self.alone and not self._options.plan and self._options.lanes is None and decision.restores.is_empty():
            todos = {name: todo for name in lanes if (todo := self._due(name, decision)).rows}
            if len(todos) < 2:
                for name, todo in todos.items():
                    if self._books[name].error is None:
                        self._deliver_due(name, lanes[name], decision, todo)
                return
        for name, seat in lanes.items():
            if self._options.plan or (len(self._seats) == 1 and self._options.lanes is None):
                if self._books[name].error is None:
                    self._deliver(name, seat, decision)
                continue
            asked = self._due(name, decision) if self._options.lanes is not None else None
            if asked is not None and not asked.rows and decision.restores.is_empty():
                continue
            self._put_in_line(name, seat, decision, asked)

    def _put_in_line(self, name: str, seat: Seat, decision: Decision, todo: Due | None) -> None:
        """A lane's next rows. Those that depend on nothing go side by side where there are several hands; others one after the other."""
        before = self._tasks[name]
        shared = self._sharing(name)
        early = (bool(before) or shared.count > 1) and self._books[name].error is None
        ready = self._plain(name, seat, decision) if early and shared.count > 1 else None
        while len(before) > QUEUED + (shared.count > 1):
            before.popleft().result()
        wait_for = list(before) if ready is None else [task for task in before if task not in self._side_by_side]
        task = self._threads().submit(self._next, name, seat, decision, todo, ready, wait_for, early=early and shared.count == 1)
        if ready is not None:
            self._side_by_side.add(task)
        before.append(task)

    def _threads(self) -> ThreadPoolExecutor:
        if self._options.lanes is not None:
            return self._options.lanes.pool
        if self._pool is None:
            count = sum(QUEUED + self._sharing(name).count for name in self._seats)
            self._pool = ThreadPoolExecutor(max_workers=count, thread_name_prefix="deliver")
        return self._pool

    def _sharing(self, name: str) -> Sharing:
        """Who writes to a system in this pass."""
        if name not in self._shared:
            self._shared[name] = Sharing(name, None if self._options.plan else self._options.hands)
        return self._shared[name]

    def finish_round(self) -> None:
        """Wait for every lane, and until everything is recorded; where lanes outlast the pass, a slow one is left to itself."""
        for name, tasks in self._tasks.items():
            if self._options.lanes is not None and tasks and not self._options.lanes.finished(name, tasks, self._begun):
                self.detached.add(name)
                self._options.lanes.keep(name, tasks, self._begun, partial(self._left_over, name))
                tasks.clear()
            while tasks:
                tasks.popleft().result()
        self._recording.finish(self.detached)
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    @contextmanager
    def not_outlasting(self) -> Iterator[None]:
        """Where the pass breaks off: begin nothing more, and wait for what was begun; nothing is closed under a thread that works."""
        try:
            yield
        except BaseException:
            if self._pool is not None:
                self._pool.shutdown(cancel_futures=True)
                self._pool = None
                self._recording.stop()
            raise

    def _left_over(self, name: str) -> LeftOver:
        """What came of a lane that was left to itself, once it is done; called in its thread."""
        book = self._books[name]
        try:
            self._recording.wait(name)
        except TrueupError as error:
            book.error = str(error)
        book.counts.failed = len(book.failed)
        book.counts.pending = max(0, book.counts.pending)
        return LeftOver(list(book.wake), book.counts, book.error)

    def take_wake(self) -> dict[str, list[str]]:
        """Keys to look at again, per system; asked once. Those of a lane that was left to itself are told when it is done."""
        books = {name: book for name, book in self._books.items() if name not in self.detached}
        wake = {name: list(book.wake) for name, book in books.items() if book.wake}
        for book in books.values():
            book.wake.clear()
        return wake

    def have_read(self, systems: frozenset[str]) -> None:
        """This pass has read these systems alone."""
        self._options = replace(self._options, only=systems)

    def unsettle(self, system: str, keys: Sequence[str], why: str) -> None:
        """Keys that must be read again before a cursor may pass them."""
        self.unsettled.setdefault(system, {}).update(dict.fromkeys(keys, why))

    def block_rows(self, rows: pl.DataFrame) -> None:
        """Rows (__system, __key) that were parked just now."""
        self._obstacles.park(rows)

    def outsiders(self, system: str) -> set[int]:
        """Records that were considered, and in whose place a row outside of the filter stands."""
        return self._books[system].outsiders

    @property
    def changes(self) -> list[PlannedChange]:
        """What a plan would write, system by system."""
        return [change for book in self._books.values() for change in book.changes]

    @property
    def considered(self) -> set[str]:
        """Systems in which every record that lacks a row was considered for creation."""
        if self._options.limit is not None or self._options.keys is not None or self._options.plan:
            limited = {name for name, book in self._books.items() if book.limited}
        else:
            limited = set()
        if self._options.keys is not None or self._options.plan:
            return set()
        return {
            name
            for name in self._seats
            if name not in limited
            and name not in self.detached
            and name not in self._options.mute
            and self._books[name].error is None
            and not self._books[name].left_creates
        }

    def count(self, summary: EntitySummary) -> None:
        """Put the lanes' counts into the summary."""
        for name, book in self._books.items():
            if name in self.detached:  # told when it is done
                continue
            target = summary.systems[name]
            target.delivered = book.counts
            book.counts.failed = len(book.failed)
            book.counts.pending = max(0, book.counts.pending)
            if book.error is not None:
                target.error = target.error or book.error

    # -------------------------------------------------------------- one lane

    def _plain(self, name: str, seat: Seat, decision: Decision) -> _Ready:
        """What is due, prepared; None where preparing it needs the system, or what is being recorded.

        Plain is what a first load is made of: new rows for a system that was seen completely, with nothing in the way. They can be
        prepared while the rows before them are still being sent, and sent while the outcomes of those are still being recorded.
        """
        waits = self._options.limit is not None or name in self._options.mute or name in self.held
        refers = any(field.type == "reference" for field in self._entity.fields.values())
        if waits or refers or self._obstacles.any_of(name) or name not in self._complete or seat.mapping.where is not None:
            return None
        todo = self._due(name, decision)
        if not todo.deletes.is_empty() or not todo.updates.is_empty() or todo.creates.is_empty():
            return None
        lane = Lane(self._store, self._entity, seat, run=self._number, owner=self._owner)
        return todo, lane.prepare(todo, must_find=False)

    def _due(self, name: str, decision: Decision) -> Due:
        return due(
            self._entity,
            name,
            decision,
            frozen=decision.frozen_pairs,
            blocked=self._obstacles.blocked(name),
            may_create=True,
        )

    def _next(
        self,
        name: str,
        seat: Seat,
        decision: Decision,
        todo: Due | None,
        ready: _Ready,
        before: Sequence[Future[None]],
        *,
        early: bool,
    ) -> None:
        """A lane's next rows, once those `before` are sent; `early`: prepared meanwhile. Of `ready` ones outcomes are recorded behind."""
        ready = self._plain(name, seat, decision) if early else ready
        for task in before:
            task.result()
        if self._books[name].error is not None:
            return
        if ready is None:
            self._recording.wait(name)
            self._deliver(name, seat, decision, todo)
        else:
            self._deliver_plain(name, seat, decision, *ready)

    def _deliver(self, name: str, seat: Seat, decision: Decision, todo: Due | None = None) -> None:
        self._deliver_due(name, seat, decision, todo)
        if not decision.restores.is_empty() and self._books[name].error is None and name not in self._options.mute:
            self._restore(name, seat, decision)

    def _restore(self, name: str, seat: Seat, decision: Decision) -> None:
        """Give a system back values of its own; what is agreed stays as it is."""
        book = self._books[name]
        todo, as_if = due_restores(self._entity, name, decision)
        if not todo.rows:
            return
        lane = Lane(self._store, self._entity, seat, run=self._number, owner=self._owner)
        agreed = {row[GID]: row for row in decision.records.join(todo.updates.select(GID), on=GID, how="semi").iter_rows(named=True)}
        try:
            ready = lane.prepare(todo, must_find=False)
            if self._options.plan:
                note_planned(book, self._entity, name, ready, as_if, every=self._options.every_change)
                return
            book.owe(todo.rows)
            self._send(name, lane, ready, as_if, todo, agreed)
        except TrueupError as error:
            error.system = error.system or name
            book.error = str(error)

    def _deliver_due(self, name: str, seat: Seat, decision: Decision, todo: Due | None = None) -> None:
        book = self._books[name]
        caps = seat.connector.caps
        in_full = name in self._complete
        may_create = in_full or caps.find
        todo = self._due(name, decision) if todo is None else todo
        if todo.creates.height and not may_create:
            book.left_creates = True
            todo = Due(todo.deletes, todo.creates.clear(), todo.updates)
        todo, owed = self._obstacles.allowed(name, todo, decision)
        book.owe(owed)
        if not todo.rows:
            return
        if name in self._options.mute:
            book.owe(todo.rows)
            return
        todo = self._limited(name, todo)
        if not self._options.reads(name) and not self._options.plan:
            marks.read_again(self._store, self._entity.name, seat, [*todo.deletes[KEY], *todo.updates[KEY]], self._clock())
        parked_keys = self._obstacles.parked_keys(name)
        # A row outside of the filter, one that is parked, or one whose edits are held may be this record, too: only asking for it tells.
        hidden = seat.mapping.where is not None or bool(parked_keys) or name in self.held
        must_find = not in_full or (caps.find and hidden)
        lane = Lane(self._store, self._entity, seat, run=self._number, owner=self._owner, parked=parked_keys)
        counted = False
        try:
            todo = self._unlike_unreadable(name, seat, todo, decision)
            for _attempt in range(ATTEMPTS):
                ready = lane.prepare(todo, must_find=must_find)
                if self._options.plan:
                    note_planned(book, self._entity, name, ready, decision, every=self._options.every_change)
                    return
                if not counted:
                    book.owe(todo.rows - ready.outside)
                    counted = True
                again = self._send(name, lane, ready, decision, todo)
                if not again.rows:
                    return
                todo = again
        except TrueupError as error:
            error.system = error.system or name
            book.error = str(error)
            book.owe(0 if counted else todo.rows)

    def _deliver_plain(self, name: str, seat: Seat, decision: Decision, todo: Due, ready: Preparation) -> None:
        """Send what was prepared, and record what became of it while the lane goes on."""
        book = self._books[name]
        book.owe(todo.rows - ready.outside)
        lane = Lane(self._store, self._entity, seat, run=self._number, owner=self._owner)
        try:
            self._take_troubles(name, ready)
            for batch in ready.batches:
                parts, trouble = self._sharing(name).write_parts(lane, batch, decision.records, self._clock())
                for part, written in parts:
                    self._recording.put(name, partial(self._record_plain, name, lane, part, written, decision.records))
                if trouble is not None:
                    raise trouble
        except TrueupError as error:
            error.system = error.system or name
            book.error = str(error)

    def _record_plain(self, name: str, lane: Lane, batch: Prepared, written: Written, records: pl.DataFrame) -> None:
        try:
            self._record(name, lane.settle(batch, written, records, self._clock()), written=True, kind=batch.kind)
        except TrueupError as error:
            error.system = error.system or name
            self._books[name].error = str(error)

    def _unlike_unreadable(self, name: str, seat: Seat, todo: Due, decision: Decision) -> Due:
        """Without creates that may double a row which cannot be read; they wait until it is mended."""
        alike = self._obstacles.alike(name, todo.creates, decision.records)
        if alike.is_empty():
            return todo
        book = self._books[name]
        book.failed.update(alike.to_list())
        book.owe(alike.len())
        if not self._options.plan:
            with self._store.write() as tx:
                put_troubles(tx, self._entity, seat, put_off(alike, name), now=self._clock())
        return Due(todo.deletes, todo.creates.filter(~pl.col(GID).is_in(alike.implode())), todo.updates)

    def _limited(self, name: str, todo: Due) -> Due:
        """At most `--limit` deliveries per system, and none to one that is left alone from now on; the rest stays pending."""
        book = self._books[name]
        rests = self._options.rests(name)
        if self._options.limit is None and not rests:
            return todo
        room = 0 if rests else max(0, (self._options.limit or 0) - book.sent)
        kept = []
        for rows in (todo.deletes, todo.creates, todo.updates):
            kept.append(rows.head(room))
            room -= kept[-1].height
        left = todo.rows - sum(rows.height for rows in kept)
        if left:
            book.limited = True
            book.owe(left)
        limited = Due(*kept)
        book.sent += limited.rows
        return limited

    def _send(
        self,
        name: str,
        lane: Lane,
        ready: Preparation,
        decision: Decision,
        todo: Due,
        agreed: dict[int, dict[str, str | None]] | None = None,
    ) -> Due:
        """Send what was prepared and record it. Returns the rows to be sent again without the fields that were rejected by name.

        `agreed` are the golden cells by record where it is not these that are sent.
        """
        seat = self._seats[name]
        self._take_troubles(name, ready)
        for settled in ready.settled:
            outcomes = as_stored(seat, settled)
            results = settle_updates(self._entity, seat, settled, outcomes, decision.records, self._clock())
            results.records = decision.records
            results.golden = agreed
            self._record(name, results, written=False)
        again: list[pl.DataFrame] = []
        for batch in ready.batches:
            parts, trouble = self._sharing(name).write_parts(lane, batch, decision.records, self._clock())
            for part, written in parts:
                results = lane.settle(part, written, decision.records, self._clock())
                results.golden = agreed
                self._record(name, results, written=True, kind=batch.kind)
                if batch.kind == "update" and not results.failed.is_empty():
                    again.append(rest(seat, todo.updates, results.failed))
            if trouble is not None:
                raise trouble
        rows = pl.concat(again) if again else todo.updates.clear()
        return Due(todo.deletes.clear(), todo.creates.clear(), rows)

    def _take_troubles(self, name: str, ready: Preparation) -> None:
        """Keep what preparing found out: keys to look at again, and records that cannot be written."""
        book = self._books[name]
        for key in ready.wake:
            book.wake[key] = None
        if ready.unread:
            forgotten = pl.DataFrame({"key": ready.unread, "fingerprint": None}, schema={"key": pl.String(), "fingerprint": pl.Int64()})
            with self._store.write() as tx:
                shadow_table.set_fingerprint(tx, self._entity.name, name, forgotten)
        for rows in ready.outsiders:
            book.outsiders.update(rows["gid"].to_list())
            with self._store.write() as tx:
                outsider.put(tx, self._entity.name, name, rows)
        if ready.troubles:
            troubles = pl.concat(ready.troubles)
            book.failed.update(troubles[GID].to_list())
            with self._store.write() as tx:
                put_troubles(tx, self._entity, self._seats[name], troubles, now=self._clock())

    def _record(self, name: str, results: Results, *, written: bool, kind: str = "update") -> None:
        book = self._books[name]
        with nullcontext() if self._options.lanes is None else self._options.lanes.recording:
            self._commit(name, results)
        book.owe(-results.done)
        if self._options.lanes is not None:
            self._options.lanes.wrote(name, [*results.created["key"], *results.written[KEY], *results.removed])
        if written:
            tally = {"create": "created", "update": "updated", "delete": "deleted"}[kind]
            setattr(book.counts, tally, getattr(book.counts, tally) + results.done)
            book.counts.stale += results.stale
            book.failed.update(results.failed[GID].to_list())
        for key in results.wake:
            book.wake[key] = None

    def _commit(self, name: str, results: Results) -> None:
        about: dict[str, Any] = {"run": self._number, "now": self._clock(), "referred": bool(self._options.referrers)}
        ready = results if name in self.detached else ready_results(results, self._store.backend)
        try:
            with self._store.write(lasting=False) as tx:  # lost, it is found again by its intent
                if name in self.detached:  # later passes may have moved the golden records
                    follow(tx, self._entity, name, results)
                commit_results(tx, self._entity, self._seats[name], ready, **about, all_new=name in self._untold)
        except StateError:
            if name not in self._untold:
                raise
            self._untold.discard(name)  # a system that gave a new row the key of one that it had lost in the meantime
            with self._store.write(lasting=False) as tx:
                commit_results(tx, self._entity, self._seats[name], results, **about)
