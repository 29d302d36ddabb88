"""Recover: find out what became of writes whose outcome was never recorded (a crash, a lost reply), before anything else is read.

A value equal to the recorded image is ours; a value equal to what was last seen was not written; anything else is a person's edit, and
the ordinary observation deals with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from trueup.core.cells import GID, KEY, OP, VERSION, json_to_records
from trueup.core.deliver import FIELDS
from trueup.core.fingerprint import cell_fingerprint, key_hash, native_fingerprint
from trueup.core.reconcile import SHADOW_SCHEMA
from trueup.core.shadow import encode_delta
from trueup.errors import SystemUnreachableError
from trueup.runtime.commit import commit_results
from trueup.runtime.outcomes import Results, Written
from trueup.store import golden as golden_table
from trueup.store import sending
from trueup.store import shadow as shadow_table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from trueup.model import Entity
    from trueup.runtime.systems import Seat
    from trueup.store import Store
    from trueup.store.sending import Sending

SENT = "sent:"


def recover(store: Store, entity: Entity, seat: Seat, now: datetime) -> int:
    """Settle every outstanding intent of one system; returns how many writes turned out to have landed.

    Raises the connector's error when the system cannot be read: its intents then stay, and it must be left out of this pass.
    """
    with store.read() as db:
        intents = sending.outstanding(db, entity.name, seat.name)
    landed = 0
    for intent in intents:
        results = {"create": _creates, "update": _updates, "delete": _deletes}[intent.kind](store, entity, seat, intent, now)
        results.intent = intent.id
        landed += results.done
        with store.write() as tx:
            commit_results(tx, entity, seat, results, now=now)
    return landed


def _deletes(store: Store, entity: Entity, seat: Seat, intent: Sending, now: datetime) -> Results:
    """A row that is not there any more was deleted, by us or otherwise, as was wanted."""
    del store, entity, now
    keys = intent.frame[KEY].to_list()
    here = {key for rows in _read(seat, keys) for key in rows[KEY].to_list()}
    removed = [key for key in keys if key not in here]
    return Results(removed=removed, done=len(removed))


def _updates(store: Store, entity: Entity, seat: Seat, intent: Sending, now: datetime) -> Results:
    """Rows that read like the image were written."""
    del now
    results = Results()
    wanted = {row[KEY]: row for row in intent.frame.iter_rows(named=True)}
    with store.read() as db:
        known = shadow_table.by_key(db, entity.name, seat.name, intent.frame[KEY])["key"].to_list()
    for native in _read(seat, [key for key in wanted if key in set(known)]):
        prints = native_fingerprint(native, seat.compiled.value_columns).to_list()
        numbers = {key: number for number, key in enumerate(native[KEY].to_list())}
        for row in seat.compiled.to_cells(native).rows.iter_rows(named=True):
            intended = wanted[row[KEY]]
            names = [name for name in intended[FIELDS] if name in row]
            if any(row[name] != intended[name] for name in names):
                continue
            sent = {name: intended[SENT + name] for name in intended[FIELDS]}
            is_reference = {name for name in names if entity.fields[name].type == "reference"}
            seen = {name: sent[name] if name in is_reference else row.get(name, sent[name]) for name in sent}
            results.written.append(
                Written(intended[GID], row[KEY], sent, seen, {}, prints[numbers[row[KEY]]], row.get(VERSION))
            )
    results.done = len(results.written)
    return results


def _creates(store: Store, entity: Entity, seat: Seat, intent: Sending, now: datetime) -> Results:
    """Unlinked rows that read like an image were created. Without a key every row is looked at."""
    frame = intent.frame
    names = sorted({name for names in frame[FIELDS].to_list() for name in names})
    compared = [name for name in names if name in frame.columns and name in entity.shown(seat.name) and entity.fields[name].type != "reference"]
    keyed = frame[KEY].null_count() == 0
    wanted = frame.with_columns(cell_fingerprint(frame, compared).alias("_image"))
    results = Results()
    complete = keyed
    made: list[pl.DataFrame] = []
    for page in seat.connector.read(
        seat.mapping.object, seat.compiled.read_columns, keys=frame[KEY].to_list() if keyed else None
    ):
        complete = page.complete
        if page.rows.is_empty():
            continue
        marks = page.rows.select(KEY).with_columns(native_fingerprint(page.rows, seat.compiled.value_columns).alias("_print"))
        cells = seat.compiled.to_cells(page.rows).rows
        cells = cells.with_columns(cell_fingerprint(cells, compared).alias("_image")).join(marks, on=KEY, how="left")
        on = [KEY, "_image"] if keyed else ["_image"]
        hit = cells.join(wanted.select(OP, GID, *([KEY] if keyed else []), "_image"), on=on, how="inner")
        with store.read() as db:
            taken = shadow_table.by_key(db, entity.name, seat.name, hit[KEY])["key"]
        made.append(hit.filter(~pl.col(KEY).is_in(taken.implode())))
    if not complete:
        raise SystemUnreachableError(
            "the listing was not complete, so it is not known which new rows were written before the interruption",
            system=seat.name,
            entity=entity.name,
            hint="nothing is written there until it can be listed completely",
        )
    if made:
        # Two equal rows for one record: the smaller key is ours to link, the other one is matched as any new row.
        rows = pl.concat(made, how="diagonal").sort(KEY).unique(GID, keep="first", maintain_order=True).unique(KEY, keep="first")
        results.created = _shadows(store, entity, seat, rows, now)
        results.done = results.created.height
    return results


def _shadows(store: Store, entity: Entity, seat: Seat, rows: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """Shadows of created rows: they stand for the golden record except where they read otherwise."""
    with store.read() as db:
        known = golden_table.fetch(db, entity.name, rows[GID])
        linked = shadow_table.by_golden(db, entity.name, rows[GID], [seat.name])["gid"]
    rows = rows.filter(~pl.col(GID).is_in(linked.implode()))
    agreed = pl.concat([known.select(pl.col("id").alias(GID)), json_to_records(known["data"], entity.fields)], how="horizontal")
    golden = {row[GID]: row for row in agreed.iter_rows(named=True)}
    shown = [name for name in entity.shown(seat.name) if name in rows.columns and entity.fields[name].type != "reference"]
    writable = set(entity.written(seat.name))
    made = []
    for row, khash in zip(rows.iter_rows(named=True), key_hash(rows[KEY]).to_list(), strict=True):
        said = golden.get(row[GID])
        if said is None:
            continue
        seen = {name: row[name] for name in shown if row[name] != said[name]}
        unsent = {name: seen.get(name) for name in shown if name in seen and name in writable and row[name] is None}
        made.append((row[GID], seat.name, row[KEY], khash, row["_print"], encode_delta(seen), encode_delta(unsent), None, now, row.get("__at"), row.get(VERSION), 0))
    return pl.DataFrame(made, schema=SHADOW_SCHEMA, orient="row")


def _read(seat: Seat, keys: list[str]) -> Iterator[pl.DataFrame]:
    for page in seat.connector.read(seat.mapping.object, seat.compiled.read_columns, keys=keys):
        if not page.rows.is_empty():
            yield page.rows
