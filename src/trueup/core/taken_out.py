"""Taken out: rows that a run made, of records of which nothing else is to be put back. The undo of a first run is made of these.

The same decision as `undo.reverse` and `reconcile` would reach, without looking at a value: the records are not asked for at all.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import polars as pl

from trueup.core.births import no_births
from trueup.core.cells import GID, KEY, SYSTEM
from trueup.core.facts import PRESENT, WITHDRAWN_SCHEMA
from trueup.core.frames import keep, one_of
from trueup.core.undo import TAKEN_OUT, Done, told_of

if TYPE_CHECKING:
    from datetime import datetime

    from trueup.core.facts import Decision
    from trueup.model import Entity


def taken_out(entity: Entity, done: Done, standing: pl.DataFrame, asked: pl.Series, now: datetime) -> tuple[Decision, pl.Series]:
    """The decision about the rows that can simply be taken out, and the ids of the records which that is all of.

    `standing` are all rows of records (gid, system, key, fingerprint, state, sent), `asked` the records about which a person is asked,
    or of which there is more to be said. That is all where the run did nothing else to a record, every system has its row and owes it
    nothing, nobody has edited it since, and a row that the run did not make remains. What to do, or to say, about any other one is for
    `undo.reverse`. A record that is deleted is none of these: its rows are gone, or owed that (`settle.mark_doomed`); nor is one that
    became part of another: its rows are that one's.
    """
    made = done.created.select(GID, SYSTEM).unique()
    rows = standing.select(
        pl.col("gid").alias(GID), pl.col("system").alias(SYSTEM), pl.col("key").alias(KEY), "fingerprint", "state", "sent"
    )
    rows = rows.join(made.with_columns(made=pl.lit(value=True)), on=[GID, SYSTEM], how="left", maintain_order="left")
    rows = rows.with_columns(pl.col("made").fill_null(value=False))
    as_agreed = (pl.col("state") == PRESENT) & pl.col("sent").is_null() & pl.col(SYSTEM).is_in(list(entity.mappings))
    fits = as_agreed & (~pl.col("made") | pl.col(SYSTEM).is_in(list(done.deletable)))
    known = rows.group_by(GID).agg(
        fits=fits.all(), everywhere=pl.len() == len(entity.mappings), made=pl.col("made").any(), stays=(~pl.col("made")).any()
    )
    plain = known.filter(pl.all_horizontal("fits", "everywhere", "made", "stays"))[GID]
    # What a run made is more than this finds where a row is linked otherwise now.
    moved = made.join(rows, on=[GID, SYSTEM], how="anti")[GID]
    others = pl.concat([done.lines[GID], done.standing[GID], asked.alias(GID), moved])
    plain = plain.filter(~one_of(plain, others))
    mine = keep(rows, rows["made"] & one_of(rows[GID], plain)).sort(GID)
    told = told_of(mine, now, done.run, TAKEN_OUT)
    return replace(no_births(entity, now), withdrawn=mine.select(list(WITHDRAWN_SCHEMA)), history=told), plain
