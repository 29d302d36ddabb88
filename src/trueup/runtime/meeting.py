"""The first look after a restore: every system of an entity is read whole and met (`core/meet.py`). Nothing is written to any of them.

Until that is done nothing may be: what the old state says is due may have been done, and undone by people, long since. So an entity waits
until all of its systems can be read.
"""

from __future__ import annotations

import itertools
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from trueup import scratch
from trueup.core.cells import GID, KEY, SYSTEM
from trueup.core.facts import GONE_SCHEMA, MISSING, Meeting, joined
from trueup.core.match import NEW_SINCE, PARKED_SCHEMA
from trueup.core.meet import MET
from trueup.core.reconcile import reconcile
from trueup.core.shadow import decode_delta
from trueup.errors import StateError
from trueup.runtime.commit import commit_decision
from trueup.runtime.identify import RELINK_SCHEMA, Identified
from trueup.runtime.observe import Observer
from trueup.runtime.run_pass import RECONCILED_ROWS
from trueup.runtime.spill import Spill
from trueup.store import Store, parked, restored
from trueup.store import shadow as shadow_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from trueup.core.facts import Decision
    from trueup.runtime.observation import Observation
    from trueup.runtime.run_pass import Pass
    from trueup.store.restored import Restored

AWAY_SCHEMA = pl.Schema({SYSTEM: pl.String(), KEY: pl.String()})


@contextmanager
def to_be_met(store: Store) -> Iterator[Store]:
    """The state as a plan may use it: itself, or a copy where systems are to be met first. Raises StateError where there is none."""
    with store.read() as db:
        after = restored.get(db)
    if after is None:
        yield store
        return
    if store.backend != "sqlite":
        raise StateError(
            "the state was restored from a backup, and a plan needs it compared with the systems first",
            hint="`trueup sync --limit 0` does that, and writes nothing to any system",
        )
    with scratch.folder_for("plan") as folder:
        path = Path(folder, "state.db")
        store.copy_to(path)
        with Store.open(str(path)) as copy:
            yield copy


def waits_for(work: Pass) -> str | None:
    """Why the systems of this entity cannot be met now; None where they can."""
    missing = [f"{name}: {error}" for name, error in work.errors.items()]
    if not missing:
        return None
    return (
        f"{work.entity.name}: the state was restored from a backup, and nothing is written before every system was read again; "
        f"{'; '.join(missing)}"
    )


def meet_systems(work: Pass, after: Restored, entities: Sequence[str]) -> str | None:
    """Meet the systems of an entity; says why that was not possible, or None. A note of what came of it is left in the summary."""
    if (problem := waits_for(work)) is not None:
        return problem
    entity = work.entity
    with Spill() as spill:
        readers = {
            name: partial(
                Observer(work.store, entity, seat, spill, partial(work.tick, name), work.now, reread=work.past.of(name)).sweep, mark=False
            )
            for name, seat in work.seats.items()
        }
        expected = set(readers)
        observations = work.observe(spill, readers)
        short = sorted(name for name in expected if name not in observations or not observations[name].complete)
        if short:
            why = "; ".join(work.summary.systems[name].error or f"{name} could not be read to its end" for name in short)
            return f"{entity.name}: the state was restored from a backup, and nothing is written before every system was read again; {why}"
        agreed, asked = _meet(work, spill, observations, _meeting(work, observations, after))
    kept_apart = _park_new(work, observations)
    with work.store.write() as tx:
        restored.advance(tx, entity.name, "compare", list(entities))
    work.summary.notes.append(_note(after, agreed, asked, kept_apart))
    return None


def _meet(work: Pass, spill: Spill, observations: Mapping[str, Observation], meeting: Meeting) -> tuple[int, int]:
    """Decide and commit chunk by chunk; returns how many values were taken, and about how many a person is asked."""
    nobody = Identified(
        {}, pl.DataFrame(schema=RELINK_SCHEMA), pl.DataFrame(schema=GONE_SCHEMA), pl.DataFrame(schema=PARKED_SCHEMA), set(), {}
    )
    gone = pl.concat([pl.DataFrame(schema=GONE_SCHEMA), *[seen.gone for seen in observations.values()]])
    chunks = work.regroup(spill, observations, nobody, pl.Series(GID, [], dtype=pl.Int64))
    agreed = asked = 0
    unheard = _unheard(work, meeting, gone)
    for rows in itertools.chain(map(chunks.frames, chunks.order), [{}]):
        read = [frame[GID] for frame in rows.values()]
        gids = pl.concat([pl.Series(GID, [], dtype=pl.Int64), *read]).unique().sort() if rows else unheard
        unheard = unheard.filter(~unheard.is_in(gids.implode()))
        decisions: list[Decision] = []
        for some in gids.to_frame().iter_slices(RECONCILED_ROWS):
            these = pl.col(GID).is_in(some[GID].implode())
            few = {name: frame.filter(these) for name, frame in rows.items()}
            decisions.append(reconcile(work.facts(few, gone.filter(these), some[GID], nobody, meeting=meeting)))
        if not decisions:
            continue
        decision = joined(decisions)
        agreed += decision.history.filter(pl.col("kind") == MET).height
        asked += decision.frozen.select(GID, "field").unique().height
        if decision.anything:
            with work.store.write() as tx:
                commit_decision(tx, work.entity, decision, run=work.number, now=work.now)
    return agreed, asked


def _unheard(work: Pass, meeting: Meeting, gone: pl.DataFrame) -> pl.Series:
    """Records of which a row is gone, or one that stood for another value than the agreed one is not to be read."""
    parts = [pl.Series(GID, [], dtype=pl.Int64), gone[GID]]
    with work.store.read() as db:
        for name in work.seats:
            away = pl.concat([meeting.away.select(SYSTEM, KEY), gone.select(SYSTEM, KEY)]).filter(pl.col(SYSTEM) == name)[KEY]
            for rows in shadow_table.differing(db, work.entity.name, name):
                mine = rows.filter(pl.col("key").is_in(away.implode()) | (pl.col("state") == MISSING))
                parts.append(mine["gid"].alias(GID))
            left = shadow_table.missing(db, work.entity.name, name)["key"]
            parts.append(shadow_table.by_key(db, work.entity.name, name, left)["gid"].alias(GID))
    return pl.concat(parts).drop_nulls().unique().sort()


def _meeting(work: Pass, observations: Mapping[str, Observation], after: Restored) -> Meeting:
    away = [pl.DataFrame(schema=AWAY_SCHEMA)]
    for name, seen in observations.items():
        keys = [*seen.filtered, *seen.unreadable, *seen.gone[KEY].to_list()]
        away.append(pl.DataFrame({SYSTEM: [name] * len(keys), KEY: keys}, schema=AWAY_SCHEMA))
    moved = None
    if after.moved is not None:
        pairs = after.moved.get(work.entity.name, [])
        moved = pl.DataFrame(pairs, schema={GID: pl.Int64(), "field": pl.String()}, orient="row")
    return Meeting(pl.concat(away), moved, _forms(work))


def _forms(work: Pass) -> frozenset[tuple[str, str]]:
    """The fields that a system is known to store in a form of its own: it stands for the golden value, and shows another one."""
    found: set[tuple[str, str]] = set()
    with work.store.read() as db:
        for name in work.seats:
            for rows in shadow_table.differing(db, work.entity.name, name):
                for seen, sent in rows.select("seen", "sent").rows():
                    found |= {(name, field) for field in decode_delta(seen).keys() - decode_delta(sent).keys()}
    return frozenset(found)


def _park_new(work: Pass, observations: Mapping[str, Observation]) -> int:
    """Rows that the state does not know, of an entity without match rules: nobody but a person can say which of them are one record."""
    if work.entity.match:
        return 0
    moment = pl.lit(work.now).cast(pl.Datetime("us", "UTC"))
    parts = [
        rows.select(
            pl.lit(name, dtype=pl.String).alias("system"),
            pl.col(KEY).alias("key"),
            pl.lit("[]").alias("candidates"),
            pl.lit(NEW_SINCE).alias("why"),
            pl.lit(work.run, dtype=pl.Int64).alias("run"),
            moment.alias("since"),
        )
        for name, seen in observations.items()
        for rows in seen.new_rows
    ]
    if not parts:
        return 0
    rows = pl.concat(parts)
    with work.store.write() as tx:
        known = parked.of(tx, work.entity.name).select("system", "key")
        rows = rows.join(known, on=["system", "key"], how="anti")
        parked.put(tx, work.entity.name, rows)
    return rows.height


def _note(after: Restored, agreed: int, asked: int, kept_apart: int) -> str:
    taken = after.taken_at[:16].replace("T", " ")
    said = [f"taken as the systems show them: {agreed}", f"different among them, in `trueup conflicts`: {asked}"]
    if kept_apart:
        said.append(f"rows that are new since, in `trueup matches`: {kept_apart}")
    return f"the state was restored from a backup of {taken} UTC; values {'; '.join(said)}"
