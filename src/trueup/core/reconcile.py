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

from trueup.core.cells import GID, SYSTEM
from trueup.core.deletes import settle_deletes
from trueup.core.facts import GONE_SCHEMA, SHADOW_SCHEMA, Decision
from trueup.core.golden import apply_changes, golden_rows, match_index
from trueup.core.meet import looked_at_again, meet
from trueup.core.merge import HISTORY_SCHEMA, Situation, merge
from trueup.core.observe import changed_cells, holders, reused_keys, without_rows
from trueup.core.rebase import rebase
from trueup.core.settle import mark_dirty, mark_doomed, mark_spared, mark_withdrawn, settle_shadows
from trueup.core.shadow import long_deltas

if TYPE_CHECKING:
    from trueup.core.facts import Facts
    from trueup.core.merge import Merged
    from trueup.core.rebase import Rebased


def reconcile(facts: Facts, ruling: Merged | None = None) -> Decision:
    """Decide everything about one set of records; a pure function of its facts.

    `ruling` stands in the place of the merge: what a person decided about records of which nothing was observed now (`resolve`).
    """
    entity = facts.entity
    known = facts.shadows
    rebased = rebase(facts)
    facts, golden = rebased.facts, rebased.records
    deltas = {column: long_deltas(facts.shadows, column) for column in ("seen", "sent")}
    cells = changed_cells(facts, golden, deltas)
    reused = reused_keys(facts, cells, golden)
    if facts.meeting is not None:
        ruling = meet(facts, facts.meeting, golden, deltas, reused)
        facts, reused = looked_at_again(facts, cells, ruling), reused.clear()
    if not reused.is_empty():
        facts = without_rows(facts, reused)
        cells = cells.join(reused, on=[GID, SYSTEM], how="anti")
    merged = ruling or merge(
        Situation(
            entity=entity,
            cells=cells,
            holders=holders(facts),
            frozen=facts.frozen,
            records=golden,
            now=facts.now,
        )
    )
    merged = _with_thawed(merged, rebased)
    verdict = settle_deletes(facts, merged)
    changes = pl.concat([merged.changes, verdict.changes])
    records = apply_changes(golden, changes)
    removed = pl.concat([verdict.removed, merged.returned])
    after, touched = settle_shadows(facts, merged, changes, verdict.missing, removed, deltas, records)
    after, touched = mark_dirty(facts, after, touched)
    after, touched = mark_doomed(after, touched, verdict.deleted)
    after, touched = mark_spared(after, touched, verdict.revived, merged.spared)
    after, touched = mark_withdrawn(after, touched, merged.withdrawn)
    touched = _with_rebased(after, touched, rebased, known)
    rows, born = golden_rows(
        facts, records, changes, verdict.deleted, verdict.revived, pl.concat([verdict.restored, rebased.moved[GID].unique()])
    )
    # A record that lives again is to be found again, and so is one that is told otherwise.
    living = pl.concat([born, verdict.revived, _found_otherwise(facts, rebased)])
    index, indexed = match_index(entity, records, changes, merged, after, living, verdict.deleted)
    edits = cells.filter(~pl.col("first"))
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
        history=pl.concat([merged.history, verdict.history, rebased.apart]),
        apart=rebased.apart.height,
        frozen=merged.frozen,
        thawed=merged.thawed,
        edited={str(system): count for system, count in edits.group_by(SYSTEM).agg(pl.col(GID).n_unique()).rows()},
        reread=rebased.moved[GID].n_unique(),
        updated=changes.filter(~pl.col(GID).is_in(born.implode()))[GID].n_unique(),
        overruled=merged.overruled,
        deleted_now=verdict.deleted.len(),
        opened=_opened(facts, merged),
        frozen_pairs=_still_frozen(facts, merged),
        reused=reused,
        missing=verdict.missing.filter("told").height,
        missing_keys=verdict.missing.filter("told").select(list(GONE_SCHEMA)),
    )


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
        return merged.frozen.select(pairs).unique() if merged.frozen.height else merged.frozen.select(pairs)
    before = facts.frozen.select(pairs).unique().join(merged.thawed, on=pairs, how="anti")
    return pl.concat([before, merged.frozen.select(pairs)]).unique()
