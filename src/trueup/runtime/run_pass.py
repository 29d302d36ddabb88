"""One pass over one entity: observe, match, merge, deliver. See core/reconcile.py for the decision itself.

    recover   what became of writes that an earlier process did not see the end of
    observe   every system that can be reached, side by side
    identify  links, people's decisions, match rules -> a golden record for every row
    guard     count what would change; hold what is too much
    chunks    facts -> decision -> commit -> deliver, some thousand records at a time
    again     rows that moved under our hands are read once more, by key

A plan is the same pass without the commits and the writes.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import polars as pl

from trueup.core.births import births, born_alone, no_births
from trueup.core.cells import AT, GID, KEY, SYSTEM
from trueup.core.facts import FILTERED, GOLDEN_SCHEMA, GONE_SCHEMA, SHADOW_SCHEMA, UNREADABLE, Decision, Facts, Meeting, joined
from trueup.core.frames import found as with_found
from trueup.core.frames import in_order, keep, one_of, sure, typed, united
from trueup.core.match import REUSED
from trueup.core.reconcile import reconcile
from trueup.core.shadow import standing_for_what_it_shows
from trueup.errors import TrueupError
from trueup.model import EntitySummary, SystemSummary
from trueup.runtime import marks
from trueup.runtime.changes import index_begun, index_whole
from trueup.runtime.chunks import NO_LINKS, UNLINKED, Chunks, Page, bare, bounds_of
from trueup.runtime.commit import commit_decision, commit_identified, commit_parked, commit_seen, frozen_candidates, ready_decision
from trueup.runtime.cursors import OVERLAP_S, not_ahead
from trueup.runtime.deliveries import Deliveries
from trueup.runtime.failures import mended_failures
from trueup.runtime.former_keys import wake_referrers
from trueup.runtime.guards import GuardState, KnownMatters, answers, guard_observations, held_lanes
from trueup.runtime.identify import Identified, identify, rekeyed
from trueup.runtime.observation import SHARED, Observation
from trueup.runtime.observe import Observer, read_now
from trueup.runtime.pass_options import PassOptions
from trueup.runtime.recover import recover
from trueup.runtime.rereadings import Rereadings
from trueup.runtime.retelling import retelling_of
from trueup.runtime.spill import Spill
from trueup.store import conflict, cursor, failure, golden, hold, outsider, parked, sending, unsettled_key
from trueup.store import shadow as shadow_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    from trueup.model import Entity
    from trueup.runtime.retelling import Retelling
    from trueup.runtime.systems import Seat
    from trueup.store import Db, Store

RECONCILED_ROWS = 2_500
"""How many records are compared cell by cell at once: a record of twelve fields in three systems makes thirty-six rows there."""
ROUNDS = 4
"""How often rows that moved under our hands are looked at again within one run; what still moves then waits for the next."""


@dataclass
class Pass:
    """One pass in work. `clock` gives the moment; `tick(system, rows)` hears of progress; `run` may be how to begin one."""

    store: Store
    entity: Entity
    seats: dict[str, Seat]
    errors: Mapping[str, TrueupError]
    run: int | Callable[[], int] | None
    owner: str
    clock: Callable[[], datetime]
    options: PassOptions = field(default_factory=PassOptions)
    tick: Callable[[str, int], None] = lambda _system, _rows: None
    summary: EntitySummary = field(default_factory=EntitySummary)

    def __post_init__(self) -> None:
        self.now = self.clock()
        self.complete: set[str] = set()
        self.touched: set[str] = set()
        self.marks: dict[str, str] = {}
        self.guards: dict[str, GuardState] = {}
        self._left_alone: dict[str, tuple[list[str], list[str]]] = {}
        self.reused: set[tuple[str, str]] = set()
        self.index_later: list[pl.DataFrame] | None = None
        self._uncounted = False
        self._overtaken: dict[str, pl.Series] = {}
        self.past = Rereadings(self.options.changes, self.entity, self.seats)
        self.deliveries = Deliveries(self.store, self.entity, self.seats, self.options, run=self.run, owner=self.owner, clock=self.clock)
        for name in self.entity.precedence:
            self.summary.systems[name] = SystemSummary()
        for name, error in self.errors.items():
            self.summary.systems[name].error = str(error)

    @property
    def number(self) -> int | None:
        """The run's number; where it begins with the first thing that is kept of it, it begins now."""
        return self.run() if callable(self.run) else self.run

    # -------------------------------------------------------------- the page

    def read(self, spill: Spill) -> dict[str, Observation]:
        """The first half: what every system shows. Where `options.apart`, other passes may run meanwhile. Raises StateError."""
        if self.options.keys is None:
            read = {name: seat for name, seat in self.seats.items() if self.options.reads(name)}
            self.marks = marks.take(self.store, self.entity.name, read, keep=self.options.plan)
        if not self.options.plan and not self.options.apart:
            self._recover()
        return self.observe(spill, self._first_readers(spill))

    def conclude(self, spill: Spill, observations: dict[str, Observation], overtaken: Mapping[str, frozenset[str] | None]) -> EntitySummary:
        """The second half. `overtaken`: what others have read or written since this was begun: their word is the newer.

        Keys by system; None: all of that system, so that this pass has not read it.
        """
        for name in overtaken.keys() & observations.keys():
            if (keys := overtaken[name]) is None:
                self._forget(spill, observations, name)
                continue
            observations[name].leave_out(keys)
            self.deliveries.unsettle(name, list(keys), "looked at by itself during a sweep")
        self._overtaken = {name: pl.Series(KEY, list(keys), dtype=pl.String) for name, keys in overtaken.items() if keys is not None}
        self._round(spill, observations, first=True)
        self._overtaken = {}
        for _number in range(0 if self.options.plan else ROUNDS - 1):
            wake = self.deliveries.take_wake()
            if not wake:
                break
            with Spill() as own:
                readers = {name: self._looker(own, name, keys) for name, keys in wake.items() if name in self.seats}
                again = self.observe(own, readers)
                self._round(own, again, first=False)
        self._finish(observations)
        return self.summary

    def _recover(self) -> None:
        with self.store.read() as db:
            unfinished = [name for name in self.seats if sending.outstanding(db, self.entity.name, name)]
        for name in unfinished:
            try:
                recover(self.store, *self.past.before(self.seats[name]), self.now, referred=bool(self.options.referrers))
            except TrueupError as error:
                self._leave_out(name, error)

    def _leave_out(self, name: str, error: TrueupError) -> None:
        """A system that cannot take part: the others proceed."""
        self.seats.pop(name, None)
        self.summary.systems[name].error = str(error)

    @property
    def reread_whole(self) -> frozenset[str]:
        """The systems of which every row was read and told as it reads now; the edits of none of them are held."""
        return frozenset(name for name in self.complete if name not in self.guards or not self.guards[name].held_updates)

    # -------------------------------------------------------------- observe

    def _first_readers(self, spill: Spill) -> dict[str, Callable[[], Observation]]:
        """How each system is read in this pass: whole, since its cursor, or by key."""
        if self.options.keys is not None:
            return {name: self._looker(spill, name, keys) for name, keys in self.options.keys.items() if name in self.seats}
        readers: dict[str, Callable[[], Observation]] = {}
        with self.store.read() as db:
            held = held_lanes(db, self.entity)
            for name, seat in self.seats.items():
                if not self.options.reads(name):
                    continue
                past = self.past.of(name)
                hands = None if self.options.plan else self.options.hands
                observer = Observer(self.store, self.entity, seat, spill, partial(self.tick, name), self.now, reread=past, hands=hands)
                standing = cursor.get(db, self.entity.name, name)
                incremental = seat.connector.caps.incremental and seat.compiled.modified is not None
                due_at = standing.full_at
                # A complete reading in the future is one under a wrong clock: nobody knows when it was.
                stale = name in held or due_at is None or not 0 <= (self.now - due_at).total_seconds() < self.entity.full_every_s
                again = unsettled_key.of(db, self.entity.name, name)
                whole = self.options.full or self.options.older or stale or past is not None or SHARED in again["why"]
                by_mark = seat.connector.caps.marks and not incremental
                if incremental and standing.cursor is not None and not whole:
                    readers[name] = partial(observer.changes, standing.cursor, OVERLAP_S, again["key"].to_list())
                elif by_mark and name in self.marks and not whole:
                    readers[name] = partial(observer.touched, self.marks[name], again["key"].to_list())
                else:
                    readers[name] = partial(observer.sweep, mark=by_mark, in_parts=True)
        return readers

    def _looker(self, spill: Spill, name: str, keys: Sequence[str]) -> Callable[[], Observation]:
        past = None if name in self.reread_whole else self.past.of(name)
        observer = Observer(self.store, self.entity, self.seats[name], spill, None, self.now, reread=past)
        if not self.options.reads(name) and not self.options.plan:
            marks.read_again(self.store, self.entity.name, self.seats[name], keys, self.now)
        return lambda: observer.look(keys)

    def observe(self, spill: Spill, readers: Mapping[str, Callable[[], Observation]]) -> dict[str, Observation]:
        """Read the systems side by side; one that fails is left out, and what it showed so far is forgotten."""
        observations: dict[str, Observation] = {}
        if not readers:
            return observations
        *others, last = readers
        if not others:
            tasks = {last: read_now(readers[last])}
        else:
            with ThreadPoolExecutor(max_workers=len(others), thread_name_prefix="observe") as pool:
                tasks = {name: pool.submit(readers[name]) for name in others}
                tasks[last] = read_now(readers[last])
        for name, task in tasks.items():
            try:
                observations[name] = task.result()
            except TrueupError as error:
                self._leave_out(name, error)
                spill.drop_of(name)
        for name, seen in observations.items():
            self.options.heard(name, seen.asked)
            if seen.complete:
                self.complete.add(name)
        return observations

    def _forget(self, spill: Spill, observations: dict[str, Observation], name: str) -> None:
        """As if a system had not been read by this pass; what is due there is delivered all the same."""
        del observations[name]
        spill.drop_of(name)
        self.complete.discard(name)
        self.options = replace(self.options, only=frozenset(observations))
        self.deliveries.have_read(frozenset(observations))

    # -------------------------------------------------------------- one round

    def _round(self, spill: Spill, observations: dict[str, Observation], *, first: bool) -> None:
        with self.store.read() as db:
            known = KnownMatters(failures=failure.any_(db), holds=hold.any_(db))
            found = identify(db, self.entity, observations)
            if first:  # later rounds look at single rows of the same pass: what is held stays held
                self.guards = guard_observations(db, self.entity, observations, found, self.now, self.options.retyped)
            leftovers = united([self._leftovers(db, found, first=first), *(item.released for item in observations.values())])
        if first and any(state.suspect for state in self.guards.values()):
            self._count_precisely(spill, observations, found)
        self.deliveries.held = frozenset(name for name, state in self.guards.items() if state.held_updates)
        self._settle_ids(found)
        for name, keys in found.unmatched.items():
            self.deliveries.unsettle(name, keys, "matches no record yet")
        self._count(observations, found, first=first)
        if self.options.plan:
            self._left_alone = {name: (seen.filtered, seen.failures[KEY].drop_nulls().to_list()) for name, seen in observations.items()}
        else:
            self._commit_identified(observations, found, known, first=first)
        with self.store.read() as db:
            self.deliveries.begin_round(db, found, self.complete)
            self.deliveries.mind_unreadable(db, {name: seen.unplaced for name, seen in observations.items()})
        found.gone = self.deliveries.believed(found.gone)
        chunks = self.regroup(spill, observations, found, leftovers)
        self.deliveries.alone = chunks.count == 1
        bulk = chunks.count > 1 and not self.options.plan and bool(self.entity.match)
        self.index_later = [] if bulk else None
        if bulk:
            index_begun(self.store, self.entity)
        retelling = retelling_of(self.store, self.entity, self.past.fields, observations, self.options, self.now) if first else None
        for number in chunks.order:
            with self.deliveries.undisturbed():
                decision = self._decide(chunks, number, found, retelling, first=first)
                self._take_in(decision)
            self._park_reused(decision)
            self.deliveries.submit(decision)
        if self._uncounted and any(state.counts for state in self.guards.values()):
            with self.store.write() as tx:
                self._count_edits(tx)
        self._uncounted = False
        self._unpark(found)
        if self.index_later is not None:
            index_whole(self.store, self.entity, self.index_later)
            self.index_later = None
        self.deliveries.finish_round()

    def _decide(self, chunks: Chunks, number: int, found: Identified, retelling: Retelling | None, *, first: bool) -> Decision:
        """Facts of one chunk, from the rows and the state, and the decision about them."""
        rows, gone, others = chunks.frames(number), chunks.gone(number), chunks.others(number)
        parts: list[Decision] = []
        if retelling is not None:
            parts, rows = retelling.taken_out(rows, united([gone[GID], others]), self._overtaken)
        single = born_alone(rows, found.is_born)
        rest: dict[str, pl.DataFrame] = {}
        for name, frame in rows.items():
            alone = one_of(frame[GID], single)
            mine = keep(frame, alone)
            if not mine.is_empty():
                parts.append(births(self.entity, name, mine, self.now))
            if mine.height < frame.height:
                rest[name] = keep(frame, ~alone)
        decide: Callable[[Facts], Decision] = reconcile
        gids = united([*[frame[GID] for frame in rest.values()], gone[GID], others]).alias(GID)
        if first and self.options.ruling is not None:
            seats = {name: seat for name, seat in self.seats.items() if name not in self.options.mute}
            decide = partial(self.options.ruling, seats)
            if self.options.outright is not None and not self.options.plan and not self.options.older and not rest and gone.is_empty():
                outright, gids = self.options.outright(seats, gids)
                parts.append(outright)
        at_once = RECONCILED_ROWS if rest else gids.len() or 1  # where nothing was read, nothing is compared cell by cell
        for some in in_order(gids).to_frame().iter_slices(at_once):
            these = some[GID]
            few = rest
            if gids.len() > at_once:
                few = {name: keep(frame, one_of(frame[GID], these)) for name, frame in rest.items()}
            parts.append(decide(self.facts(few, keep(gone, one_of(gone[GID], these)), these, found)))
        return joined(parts) if parts else no_births(self.entity, self.now)

    def facts(
        self, rows: Mapping[str, pl.DataFrame], gone: pl.DataFrame, gids: pl.Series, found: Identified, *, meeting: Meeting | None = None
    ) -> Facts:
        """Everything that is known about these records."""
        with self.store.read() as db:
            known = golden.fetch(db, self.entity.name, gids)
            shadows = typed(shadow_table.by_golden(db, self.entity.name, gids), SHADOW_SCHEMA)
            open_now = conflict.open_of(db, self.entity.name, gids)
        shadows = self._as_it_stands(rekeyed(shadows, found))
        observed = {name: self._in_time(name, frame, shadows) for name, frame in rows.items()}
        return Facts(
            entity=self.entity,
            observed=observed,
            gone=gone,
            golden=typed(known, GOLDEN_SCHEMA),
            shadows=typed(shadows, SHADOW_SCHEMA),
            frozen=frozen_candidates(open_now),
            now=self.now,
            **answers(self.guards),
            reread=self.past.fields,
            unread=frozenset(self.past.fields) - self.reread_whole,
            moved=self.past.changes.moved | (frozenset(self.entity.mappings) if self.options.older else frozenset()),
            meeting=meeting,
            older=self.options.older,
            files=frozenset(name for name, seat in self.seats.items() if seat.is_file),
            same_record=found.same_record,
            suspects=found.suspects,
            strangers=found.strangers,
        )

    def _as_it_stands(self, shadows: pl.DataFrame) -> pl.DataFrame:
        """What a plan has not stored: which rows it found outside of the filter or unreadable, and what newly written systems stand for."""
        for name, (outside, unreadable) in self._left_alone.items():
            mine = pl.col("system") == name
            state = (
                pl.when(mine & pl.col("key").is_in(unreadable)).then(UNREADABLE).when(mine & pl.col("key").is_in(outside)).then(FILTERED)
            )
            shadows = shadows.with_columns(state=state.otherwise("state").cast(pl.Int64))
        for name, fields in self.past.changes.opened.items() if self.options.plan else ():
            sent = [
                standing_for_what_it_shows(seen, sent, fields) if system == name else sent
                for system, seen, sent in shadows.select("system", "seen", "sent").rows()
            ]
            shadows = shadows.with_columns(pl.Series("sent", sent, dtype=pl.String))
        return shadows

    def _in_time(self, name: str, rows: pl.DataFrame, shadows: pl.DataFrame) -> pl.DataFrame:
        """Without late readings: what was overtaken and, where only changes were read, is older than what is known; read again later."""
        if name in self._overtaken:
            rows = keep(rows, ~one_of(rows[KEY], self._overtaken[name]))
        if rows.is_empty() or name in self.complete:
            return rows
        if rows[AT].null_count() == rows.height:
            return rows
        mine = keep(shadows, shadows["system"] == name)
        known = pl.DataFrame({GID: mine["gid"], "_modified": mine["modified"]})
        late = sure(with_found(rows[[GID]], known, [GID])["_modified"] > rows[AT])
        if late.any():
            self.deliveries.unsettle(name, rows.filter(late)[KEY].to_list(), "read later than it was written")
        return keep(rows, ~late)

    def _take_in(self, decision: Decision) -> None:
        """Count and commit one decision."""
        summary = self.summary
        summary.created += decision.born.len()
        summary.updated += decision.updated
        summary.reread += decision.reread
        summary.apart += decision.apart
        summary.left += decision.left
        summary.deleted += decision.deleted_now
        summary.overruled += decision.overruled
        summary.missing += decision.missing
        if decision.missing and self.entity.deletes is not None:
            summary.unbelieved += int(decision.missing_keys[SYSTEM].is_in(list(self.entity.deletes.sources)).sum())
        summary.conflicts_opened += decision.opened
        for name, rows in decision.edited.items():
            counts = summary.systems[name].observed
            counts.updated += rows
            counts.unchanged -= rows
        if not self.options.plan and decision.anything:
            later = self.index_later
            ready = ready_decision(decision, self.store.backend, hashes_later=later is not None)
            with self.store.write() as tx:
                commit_decision(tx, self.entity, ready, run=self.number, now=self.now, later=later)
                self._count_edits(tx)
            if self.options.notice is not None:
                self.options.notice(decision)

    def _park_reused(self, decision: Decision) -> None:
        if decision.reused.is_empty():
            return
        before = len(self.reused)
        self.reused.update(decision.reused.select(SYSTEM, KEY).rows())
        self.summary.parked += len(self.reused) - before  # one that is looked at again in this run was counted
        self.deliveries.block_rows(decision.reused)
        if self.options.plan:
            return
        rows = decision.reused.select(SYSTEM, KEY, pl.concat_list(GID).alias("candidates"), pl.lit(REUSED).alias("why"))
        with self.store.write() as tx:
            commit_parked(tx, self.entity.name, rows, run=self.number, now=self.now)
        for name, mine in decision.reused.partition_by(SYSTEM, as_dict=True).items():
            self.deliveries.unsettle(str(name[0]), mine[KEY].to_list(), "parked")

    def _unpark(self, found: Identified) -> None:
        """Rows that were parked as perhaps another record, and now read like their own again, or are gone."""
        held = {name for name, state in self.guards.items() if state.held_updates}
        over = [(system, key) for system, key in found.suspects - self.reused if system not in held]
        if not over or self.options.plan:
            return
        with self.store.write() as tx:
            for system in {system for system, _key in over}:
                keys = [key for name, key in over if name == system]
                parked.remove(tx, self.entity.name, system, pl.Series(keys, dtype=pl.String))

    # -------------------------------------------------------------- preparation of chunks

    def _leftovers(self, db: Db, found: Identified, *, first: bool) -> pl.Series:
        """Records that need attention although nobody moved them now: deliveries that wait, rows still to be created, freed candidates."""
        parts = [pl.Series(GID, sorted(found.freed | (self.options.records if first else frozenset())), dtype=pl.Int64)]
        if not first or self.options.keys is not None:
            return parts[0]
        for name, seat in self.seats.items():
            if not self.entity.written(name) or name in self.options.mute:
                continue
            parts.append(shadow_table.pending(db, self.entity.name, name).alias(GID))
            if seat.connector.caps.creates:
                done = cursor.get(db, self.entity.name, name).considered_version
                parts.append(golden.since(db, self.entity.name, 0 if name in self.past.changes.considered else done).alias(GID))
            waiting = failure.due(db, self.entity.name, name, self.now)["gid"].drop_nulls()
            parts.append(waiting.alias(GID))
        return united([part.cast(pl.Int64) for part in parts])

    def _settle_ids(self, found: Identified) -> None:
        """Real golden ids for the records that are born, also where parked rows may be one of them; a plan keeps provisional ones."""
        born = found.provisional
        if not born or self.options.plan:
            return
        with self.store.write() as tx:
            found.settle(golden.allocate(tx, self.entity.name, born))

    def regroup(self, spill: Spill, observations: Mapping[str, Observation], found: Identified, leftovers: pl.Series) -> Chunks:
        """Put the rows read into chunks of records: the same record's rows from all systems into the same chunk, deletes first."""
        held_updates = {name for name, state in self.guards.items() if state.held_updates}
        held_deletes = [name for name, state in self.guards.items() if state.held_deletes]
        gone = keep(found.gone, ~one_of(found.gone[SYSTEM], pl.Series(held_deletes, dtype=pl.String)))
        known = [gids for seen in observations.values() for gids in seen.gids]
        linked = {name: bare(links) for name, links in found.take_links().items()}
        bounds = bounds_of([*(links["_gid"] for links in linked.values()), leftovers, *known])
        chunks = Chunks(found.real_ids(bounds), spill, gone, leftovers)
        for name, seen in observations.items():
            mine = linked.pop(name, NO_LINKS)
            mine = mine if mine["page"].is_sorted() else mine.sort("page", maintain_order=True)
            pages = pl.Series(range(-1, seen.pages), dtype=pl.Int32)
            ends = mine["page"].search_sorted(pages, side="right").to_list() if mine.height else [0] * (seen.pages + 1)
            for page, (begin, end) in enumerate(pairwise(ends)):
                links = UNLINKED
                if end > begin:  # copies, so that each page's links go when its rows went; a slice would keep all of them
                    part = mine.slice(begin, end - begin)
                    links = part.select(pl.col("place").gather(pl.int_range(pl.len())), found.real(pl.col("_gid")))
                chunks.add(Page(name, page, links, seen.gids[page], held=name in held_updates))
        return chunks

    def _count_precisely(self, spill: Spill, observations: Mapping[str, Observation], found: Identified) -> None:
        """Count real edits of systems of which many rows read differently, and judge again."""
        for name, state in self.guards.items():
            if state.suspect:
                state.judge_precisely(self.store, self.entity, name, self._decided(spill, name, observations[name].pages, found))

    def _decided(self, spill: Spill, name: str, pages: int, found: Identified) -> Iterator[Decision]:
        """What would be decided about the rows of one system, page by page; the rows stay where they are."""
        for page in range(pages):
            for rows in list(spill.take((name, page))):
                known = rows.filter(pl.col(GID).is_not_null())
                if not known.is_empty():
                    yield reconcile(self.facts({name: known}, pl.DataFrame(schema=GONE_SCHEMA), known[GID], found))
                spill.add((name, page), rows)

    # -------------------------------------------------------------- counts and commits around the chunks

    def _count(self, observations: Mapping[str, Observation], found: Identified, *, first: bool) -> None:
        for name, seen in observations.items():
            counts = self.summary.systems[name].observed
            state = self.guards.get(name)
            gone = 0 if state is not None and state.held_deletes else keep(found.gone, found.gone[SYSTEM] == name).height
            created = found.links[name].height if name in found.links else 0
            if first:
                counts.read += seen.counts.read
                counts.rejected += seen.counts.rejected
                counts.unchanged += seen.counts.read - seen.counts.rejected - created
            counts.created += created
            counts.deleted += gone
        self.summary.parked += found.parked.height
        if first:
            self.summary.held += sum(state.held_count for state in self.guards.values())
            self.summary.decided += [word for state in self.guards.values() for word in state.words()]

    def _commit_identified(self, observations: Mapping[str, Observation], found: Identified, known: KnownMatters, *, first: bool) -> None:
        """What observing and matching found out, apart from values. That edits were made is counted with what is decided about them."""
        name_of = self.entity.name
        if self._nothing_learned(observations, found, known, first=first):
            self._uncounted = first
            return
        with self.store.write() as tx:
            moved = self.past.changes.moved if self.options.referrers else None
            commit_identified(tx, name_of, found, run=self.number, now=self.now, moved=moved)
            for name, seen in observations.items():
                commit_seen(tx, name_of, name, seen, self.now)
            for name, state in self.guards.items() if first else ():
                state.commit(tx, self.entity, name, self.now)

    def _nothing_learned(self, observations: Mapping[str, Observation], found: Identified, known: KnownMatters, *, first: bool) -> bool:
        """Whether the state knows all this already, so that no transaction is needed for it."""
        matched = not found.relinked.is_empty() or not found.parked.is_empty() or bool(found.resolved)
        if matched or known.failures or any(seen.filtered or not seen.failures.is_empty() for seen in observations.values()):
            return False
        return not (first and any(state.has_news(holds=known.holds) for state in self.guards.values()))

    def _count_edits(self, tx: Db) -> None:
        """For the rolling hour of the guards, once."""
        if self._uncounted:
            self._uncounted = False
            for name, state in self.guards.items():
                state.commit(tx, self.entity, name, self.now)

    def _finish(self, observations: Mapping[str, Observation]) -> None:
        """Cursors, counts and what is still due; only now may a cursor pass the rows that were read."""
        entity = self.entity.name
        self.deliveries.count(self.summary)
        if self.options.plan:
            with self.store.read() as db:
                self.summary.total = golden.count(db, entity) + self.summary.created
                self.summary.conflicts_open = conflict.count(db, entity) + self.summary.conflicts_opened
                open_ended = [name for name in self.seats if sending.outstanding(db, entity, name)]
            if open_ended:
                self.summary.notes.append(
                    f"writes to {', '.join(open_ended)} were interrupted or are on their way: `sync` finds out first what became of them,"
                    " and may then do more or less than this plan"
                )
            if names := ", ".join(self.deliveries.take_wake()):
                self.summary.notes.append(f"rows of {names} are not as last read: `sync` looks at them again, and may then do more")
            self.summary.changes = self.deliveries.changes
            return
        if self.options.keys is None:
            with self.store.write() as tx:
                for name in observations.keys() & self.seats.keys():  # not of one that failed when it was looked at again
                    self._advance(tx, name, observations[name])
                for name, state in self.guards.items():
                    state.carried_out(tx, self.entity, name)
        with self.store.read() as db:
            mended = mended_failures(db, self.entity, self.seats)
            self.summary.total = golden.count(db, entity)
            self.summary.conflicts_open = conflict.count(db, entity)
            self.summary.failures_open = failure.count(db, entity) - len(mended)
        if mended:
            with self.store.write() as tx:
                failure.drop(tx, mended)
        wake_referrers(self.store, entity, self.options.referrers, self.now)

    def _advance(self, tx: Db, name: str, seen: Observation) -> None:
        entity = self.entity.name
        state = self.guards.get(name)
        unsettled = dict.fromkeys(seen.waiting, "waits for a record that it refers to")
        unsettled |= dict.fromkeys(seen.failures[KEY].drop_nulls().to_list(), "cannot be read")
        unsettled |= dict.fromkeys(parked.of(tx, entity, name)["key"].to_list(), "parked")
        unsettled |= self.deliveries.unsettled.get(name, {}) | dict.fromkeys(seen.shared, SHARED)
        old = unsettled_key.of(tx, entity, name)["key"]
        gone_by = old if seen.complete else old.filter(old.is_in(list(seen.asked)))
        unsettled_key.remove(tx, entity, name, gone_by)
        if unsettled:
            rows = pl.DataFrame({"key": list(unsettled), "why": list(unsettled.values())}).with_columns(
                since=pl.lit(self.now).cast(pl.Datetime("us", "UTC"))
            )
            unsettled_key.put(tx, entity, name, rows)
        held = state is not None and (state.held_updates or state.held_deletes)
        changes: dict[str, object] = {}
        if seen.complete and not held:
            changes["full_rows"] = seen.counts.read
            if name not in self.deliveries.detached:  # its connector is at work: the mark of the reading before this one stays, if it may
                changes["mark"] = marks.after_writing(self.seats[name], seen.mark, self.summary.systems[name].error)
            if seen.whole:
                changes["full_at"] = self.now
        if seen.cursor is not None and not held and (seen.complete or not seen.full):
            changes["cursor"] = not_ahead(seen.cursor, self.now, self.seats[name].compiled.zone)
        if name in self.deliveries.considered and not sending.outstanding(tx, entity, name):
            changes["considered_version"] = golden.current_version(tx)
            outsider.remove(tx, entity, name, seen.released.filter(~seen.released.is_in(self.deliveries.outsiders(name))))
        if changes:
            cursor.set_(tx, entity, name, **changes)
