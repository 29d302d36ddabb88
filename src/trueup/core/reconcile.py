"""Reconcile: one set of records, from what was observed to what is agreed and what is due. READ THIS FIRST.

    rebase    where a mapping changed: what is known, told as it reads now (`rebase.rebase`)
    observe   rows of each system minus its shadow          -> changed cells            (`changed_cells`)
    match     came before: every row here has a golden id
    merge     per field: ownership, then the field's rule    -> golden changes           (`merge.merge`)
    deletes   who may delete, and whether the delete stands  -> tombstones, missing rows (`deletes.settle`)
    shadow    what each system holds and stands for now      -> deltas against golden    (`settle_shadows`)

The result is a `Decision`: frames to commit in one transaction. What must be written where follows from it (`deliver.due`), so that a
plan, a run, and a run after a crash derive the same deliveries from the same facts.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import polars as pl

from trueup.core import quick
from trueup.core.cells import GID, SYSTEM
from trueup.core.deletes import settle_deletes
from trueup.core.facts import GONE_SCHEMA, NO_FIELDS, NOBODY, SHADOW_SCHEMA, Decision
from trueup.core.frames import keep, one_of, stacked, sure, united, without
from trueup.core.golden import apply_changes, golden_rows, match_index
from trueup.core.meet import lapsed, looked_at_again, meet, returned, with_golden, without_golden
from trueup.core.merge import APART, HISTORY_SCHEMA, LEFT, Situation, merge
from trueup.core.observe import changed_cells, holders, reused_keys, without_rows
from trueup.core.rebase import rebase
from trueup.core.settle import mark_again, mark_dirty, mark_doomed, mark_spared, mark_withdrawn, settle_shadows
from trueup.core.shadow import long_deltas

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trueup.core.facts import Facts
    from trueup.core.merge import Merged
    from trueup.core.rebase import Rebased


def reconcile(facts: Facts, ruling: Merged | None = None, records: pl.DataFrame | None = None) -> Decision:
    """Decide everything about one set of records; a pure function of its facts.

    `ruling` stands in the place of the merge: what a person decided about records of which nothing was observed now (`resolve`).
    `records` are the `golden_cells` of the facts, if they are known already.
    """
    entity = facts.entity
    known = facts.shadows
    rebased = rebase(facts, records)
    facts, golden = rebased.facts, rebased.records
    deltas = {column: long_deltas(facts.shadows, column) for column in ("seen", "sent")}
    cells = changed_cells(facts, golden, deltas)
    reused = reused_keys(facts, cells, golden)
    if facts.meeting is not None:
        ruling = meet(facts, facts.meeting, golden, deltas, reused)
        facts, reused = looked_at_again(facts, cells, ruling), reused.clear()
    if not reused.is_empty():
        facts = without_rows(facts, reused)
        cells = without(cells, reused, [GID, SYSTEM])
    merged = ruling or _merged(facts, golden, deltas, cells)
    merged = _with_thawed(merged, rebased)
    # What is gone when the systems are met is for the look after it: it may be found under another key.
    verdict = settle_deletes(facts if facts.meeting is None else replace(facts, gone=facts.gone.clear()), merged)
    if not verdict.stated.is_empty():
        merged = replace(merged, updates=stacked([merged.updates, verdict.stated]))
    changes = stacked([merged.changes, verdict.changes])
    records = apply_changes(golden, changes)
    removed = stacked([verdict.removed, merged.returned])
    after, touched = settle_shadows(facts, merged, changes, verdict.missing, removed, deltas, records)
    after, touched = mark_dirty(facts, after, touched)
    after, touched = mark_doomed(after, touched, verdict.deleted)
    after, touched = mark_spared(after, touched, verdict.revived, merged.spared)
    after, touched = mark_withdrawn(after, touched, merged.withdrawn)
    after, touched = mark_again(after, touched, merged.again)
    touched = _with_rebased(after, touched, rebased, known)
    again = united([verdict.restored, rebased.moved[GID], merged.returned[GID]])
    rows, born = golden_rows(facts, records, changes, verdict.deleted, verdict.revived, again)
    # A record that lives again is to be found again, and so is one that is told otherwise.
    living = united([born, verdict.revived, _found_otherwise(facts, rebased)])
    index, indexed = match_index(entity, records, changes, merged, after, living, verdict.deleted)
    edits = keep(cells, ~cells["first"])
    missing = keep(verdict.missing, verdict.missing["told"])
    told = stacked([merged.history, verdict.history])
    return Decision(
        records=records,
        golden=rows,
        born=born,
        shadows=touched,
        removed=removed,
        after=after,
        deleted=verdict.dead,
        index=index,
        indexed=indexed,
        history=stacked([told, rebased.apart]),
        apart=rebased.apart.height,
        left=_left(told),
        again=merged.again,
        frozen=merged.frozen,
        thawed=merged.thawed,
        edited=_edited(edits, facts),
        reread=rebased.moved[GID].n_unique(),
        updated=keep(changes, ~one_of(changes[GID], born))[GID].n_unique(),
        overruled=merged.overruled + verdict.overruled,
        deleted_now=verdict.deleted.len(),
        opened=_opened(facts, merged),
        frozen_pairs=_still_frozen(facts, merged),
        reused=reused,
        missing=missing.height,
        missing_keys=quick.chosen(missing, list(GONE_SCHEMA)),
    )


def _merged(facts: Facts, golden: pl.DataFrame, deltas: Mapping[str, pl.DataFrame], cells: pl.DataFrame) -> Merged:
    """What the merge makes of the changed cells. In the first look since a restore, some of them have a past that nobody knows."""
    since, over = golden[GID].clear(), NO_FIELDS
    if facts.older:
        back = returned(facts, cells)
        over = lapsed(facts, golden, deltas, cells, back)
        since = pl.concat([golden[GID].filter(~golden[GID].is_in(facts.golden["id"].implode())), back[GID].unique()])
        cells = cells if over.is_empty() else without_golden(cells, over)
    situation = Situation(
        entity=facts.entity,
        cells=cells,
        holders=holders(facts),
        frozen=facts.frozen,
        records=golden,
        now=facts.now,
        left=facts.left,
        since=since,
    )
    merged = merge(situation)
    return merged if over.is_empty() else with_golden(merged, over, golden)


def _left(told: pl.DataFrame) -> int:
    """How many values a person left where they are."""
    apart = keep(told, sure(told["kind"] == APART))
    return keep(apart, sure(apart["rule"] == LEFT)).height


def _edited(edits: pl.DataFrame, facts: Facts) -> dict[str, int]:
    """How many rows of each system were edited."""
    counts = {system: keep(edits, edits[SYSTEM] == system)[GID].n_unique() for system in facts.observed}
    return {system: count for system, count in counts.items() if count}


def _with_thawed(merged: Merged, rebased: Rebased) -> Merged:
    """The merge, with the conflicts that a changed mapping settled, or of which it tells the candidates otherwise."""
    if rebased.frozen.is_empty() and rebased.thawed.is_empty():
        return merged
    pairs = [GID, "field"]
    done = pl.concat([merged.frozen.select(pairs), merged.thawed.select(pairs)])
    return replace(
        merged,
        changes=pl.concat([merged.changes, rebased.changes]),
        history=pl.concat([merged.history, rebased.changes.with_columns(kind=pl.lit("edit")).cast(HISTORY_SCHEMA)]),
        frozen=pl.concat([merged.frozen, rebased.frozen.join(done, on=pairs, how="anti")]),
        thawed=pl.concat([merged.thawed, rebased.thawed]),
    )


def _with_rebased(after: pl.DataFrame, touched: pl.DataFrame, rebased: Rebased, known: pl.DataFrame) -> pl.DataFrame:
    """The shadows to write, those that are told otherwise among them; where they say what they said, they are not."""
    if rebased.cells.is_empty():
        return touched
    pairs = rebased.cells.select(pl.col(GID).alias("gid"), pl.col(SYSTEM).alias("system")).unique()
    rest = after.join(pairs, on=["gid", "system"], how="semi").join(touched, on=["gid", "system"], how="anti")
    return pl.concat([touched, rest]).join(known.cast(SHADOW_SCHEMA), on=list(SHADOW_SCHEMA), how="anti", nulls_equal=True)


def _found_otherwise(facts: Facts, rebased: Rebased) -> pl.Series:
    """Living records of which a match value is told otherwise, in the golden record or in a system."""
    if rebased.moved.is_empty() and rebased.cells.is_empty():
        return NOBODY
    names = {name for rule in facts.entity.match for name in rule}
    told = pl.concat([rebased.moved, rebased.cells.select(GID, "field")]).filter(pl.col("field").is_in(list(names)))
    alive = facts.golden.filter(pl.col("deleted_at").is_null() & pl.col("alias_of").is_null())["id"]
    gids = told[GID].unique()
    return gids.filter(gids.is_in(alive.implode()))


def _opened(facts: Facts, merged: Merged) -> int:
    """How many conflicts and holds are new."""
    if merged.frozen.is_empty():
        return 0
    pairs = [GID, "field"]
    return merged.frozen.select(pairs).unique().join(facts.frozen.select(pairs).unique(), on=pairs, how="anti").height


def _still_frozen(facts: Facts, merged: Merged) -> pl.DataFrame:
    """(__gid, field) that a person must settle after this merge."""
    pairs = [GID, "field"]
    if facts.frozen.is_empty():
        return merged.frozen.select(pairs).unique() if merged.frozen.height else NO_FIELDS
    before = facts.frozen.select(pairs).unique().join(merged.thawed, on=pairs, how="anti")
    return pl.concat([before, merged.frozen.select(pairs)]).unique()
