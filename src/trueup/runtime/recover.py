"""Recover: find out what became of writes whose outcome was never recorded (a crash, a lost reply), before anything else is read.

A value equal to the recorded image is ours; a value equal to what was last seen was not written; anything else is a person's edit, and
the ordinary observation deals with it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import polars as pl

from trueup.core import quick
from trueup.core.cells import GID, KEY, NULL, OP, VERSION, beside, json_to_records
from trueup.core.deliver import FIELDS
from trueup.core.facts import SHADOW_SCHEMA
from trueup.core.fingerprint import key_hash, native_fingerprint
from trueup.core.normal import letters, may_be_stored_as
from trueup.core.shadow import decode_delta, encode_delta
from trueup.errors import SystemUnreachableError
from trueup.runtime.commit import commit_results
from trueup.runtime.outcomes import CELL_SCHEMA, WRITTEN_SCHEMA, Doubt, Results
from trueup.store import golden as golden_table
from trueup.store import sending
from trueup.store import shadow as shadow_table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from trueup.connectors.base import Fenced
    from trueup.model import Entity
    from trueup.runtime.systems import Seat
    from trueup.store import Db, Store
    from trueup.store.sending import Sending

SENT = "sent:"


def recover(store: Store, entity: Entity, seat: Seat, now: datetime, *, referred: bool = False) -> int:
    """Settle every outstanding intent of one system; returns how many writes turned out to have landed. `referred`: see `commit_results`.

    Nobody is at work on these writes any more: what stands still half-way is ended first, where the system knows of it.
    Raises the connector's error when the system cannot be read: its intents then stay, and it must be left out of this pass.
    """
    with store.read() as db:
        intents = sending.outstanding(db, entity.name, seat.name)
    if intents and seat.connector.caps.fences:  # whoever began them may stand still, and land only after we have looked
        cast("Fenced", seat.connector).end_writes(store.lane(entity.name, seat.name))
    landed = 0
    for intent in intents:
        settle = {"create": _creates, "update": _updates, "delete": _deletes}[intent.kind]
        results = settle(store, entity, seat, _whole(intent, entity), now)
        results.intent = intent.id
        landed += results.done
        with store.write() as tx:
            commit_results(tx, entity, seat, results, run=intent.run, now=now, referred=referred)
    return landed


def with_sent(payload: pl.DataFrame, golden: pl.DataFrame) -> pl.DataFrame:
    """An intent's payload with the golden cells that are sent (`sent:FIELD`), where these are not the image itself in every row."""
    rows = beside(quick.chosen(payload, [GID]), golden, GID)
    sent = [rows[name].alias(SENT + name) for name in golden.columns if name != GID]
    told = [
        column for column in sent if (name := column.name.removeprefix(SENT)) not in payload.columns or not payload[name].equals(column)
    ]
    return payload.hstack(told)


def _whole(intent: Sending, entity: Entity) -> Sending:
    """An intent as it was before `with_sent` left out what is the image, and with the fields of each row."""
    frame = intent.frame
    names = [name for name in entity.fields if name in frame.columns]
    if FIELDS not in frame.columns:
        frame = frame.with_columns(pl.lit(names, dtype=pl.List(pl.String)).alias(FIELDS))
    return replace(intent, frame=frame.with_columns(pl.col(name).alias(SENT + name) for name in names if SENT + name not in frame.columns))


def _deletes(store: Store, entity: Entity, seat: Seat, intent: Sending, now: datetime) -> Results:
    """A row that is not there any more was deleted, by us or otherwise, as was wanted."""
    del store, entity, now
    keys = intent.frame[KEY].to_list()
    here = {key for rows in _read(seat, keys) for key in rows[KEY].to_list()}
    removed = [key for key in keys if key not in here]
    return Results(removed=removed, done=len(removed))


def _updates(store: Store, entity: Entity, seat: Seat, intent: Sending, now: datetime) -> Results:
    """Fields that read like the image were written; the others are left to the ordinary observation."""
    del now
    results = Results(golden={})
    wanted = {row[KEY]: row for row in intent.frame.iter_rows(named=True)}
    with store.read() as db:
        shadows = {row["key"]: row for row in shadow_table.by_key(db, entity.name, seat.name, intent.frame[KEY]).iter_rows(named=True)}
        results.golden = _golden_cells(db, entity, intent.frame[GID])
    rows: list[tuple[dict[str, Any], int, dict[str, str | None], _SortedOut]] = []
    for native in _read(seat, [key for key in wanted if key in shadows]):
        prints = native_fingerprint(native, seat.compiled.value_columns).to_list()
        marks = dict(zip(native[KEY].to_list(), prints, strict=True))
        for row in seat.compiled.to_cells(native).rows.iter_rows(named=True):
            intended, shadow = wanted[row[KEY]], shadows[row[KEY]]
            if shadow["gid"] != intended[GID] or intended[GID] not in results.golden:
                continue
            agreed = results.golden[intended[GID]]
            last = {name: decode_delta(shadow["seen"]).get(name, agreed[name]) for name in entity.mapped(seat.name)}
            rows.append((row, marks[row[KEY]], last, _sorted_out(entity, intended, row, last)))
    fate = _fate_of_all([found for *_, found in rows]) if seat.connector.caps.atomic else None
    written: list[tuple[Any, ...]] = []
    cells: list[tuple[Any, ...]] = []
    for row, mark, last, unjudged in rows:
        intended = wanted[row[KEY]]
        found = unjudged if fate is None else unjudged.knowing(landed=fate)
        sent = {name: intended[SENT + name] for name in (*found.ours, *found.over)}
        as_given = {*found.over, *(name for name in found.ours if entity.fields[name].type == "reference")}
        seen = {name: sent[name] if name in as_given else row.get(name, sent[name]) for name in sent}
        for name in found.doubtful:
            sent[name] = seen[name] = row[name]
            agreed = results.golden[intended[GID]]
            results.doubtful.append(Doubt(intended[GID], name, seat.name, row[name], agreed[name], last[name]))
        if not sent:
            continue
        # The fingerprint speaks for the whole row: it may be kept only where nobody else changed anything in it.
        as_known = {**last, **seen}
        whole = all(name in found.ours or row[name] == as_known[name] for name in entity.shown(seat.name) if name in row)
        written.append((intended[GID], row[KEY], mark if whole else None, row.get(VERSION) if whole else None))
        cells += [(intended[GID], row[KEY], name, cell, seen[name], None, False) for name, cell in sent.items()]
    results.written = pl.DataFrame(written, schema=WRITTEN_SCHEMA, orient="row")
    results.cells = pl.DataFrame(cells, schema=CELL_SCHEMA, orient="row")
    results.done = len(written)
    return results


@dataclass(frozen=True, slots=True)
class _SortedOut:
    """Fields of one row whose write has no recorded outcome.

    ours      show what was sent
    over      were written, and changed by somebody afterwards: other fields prove that the write landed
    doubtful  counters of which nobody can tell whether the change that they show was made before the write, after it, or instead; and
              whatever does not show what was sent in a row that tells both: that it was written, and that it was not
    landed    the row proves that it was written
    missed    a field proves that it was not written
    """

    ours: list[str]
    over: list[str]
    doubtful: list[str]
    landed: bool
    missed: bool

    def knowing(self, *, landed: bool) -> _SortedOut:
        """The same, where it is known what became of the whole batch."""
        if not self.doubtful:
            return self
        return replace(self, over=self.doubtful if landed else [], doubtful=[])


def _sorted_out(entity: Entity, intended: dict[str, Any], row: dict[str, Any], last: dict[str, str | None]) -> _SortedOut:
    """What a row tells about the write that may have reached it; a row is written whole or not at all."""
    readable = [name for name in intended[FIELDS] if name in row]
    ours = [name for name in readable if _is_ours(entity, name, intended, row, last[name])]
    landed = any(intended[name] != last[name] for name in ours)
    left = [name for name in readable if name not in ours and row[name] == last[name]]
    # What the system makes of both values alike is no sign of either.
    silent = [name for name in left if may_be_stored_as(intended[name], row[name], entity.fields[name].type)]
    missed = len(left) > len(silent)
    if landed and not missed:
        ours += silent
    others = [name for name in intended[FIELDS] if name not in ours]
    if landed and missed:  # what tells nothing is written again
        return _SortedOut(ours, [], [name for name in others if name in row and name not in silent], landed=True, missed=True)
    if landed:
        return _SortedOut(ours, others, [], landed=True, missed=False)
    doubtful = [name for name in others if name in row and not missed and entity.fields[name].conflict == "add"]
    return _SortedOut(ours, [], doubtful, landed=False, missed=missed)


def _fate_of_all(rows: list[_SortedOut]) -> bool | None:
    """Whether a batch that is written whole or not at all was written, as its rows tell; None where they do not, or contradict."""
    fates = {row.landed for row in rows if row.landed != row.missed}
    return fates.pop() if len(fates) == 1 else None


def _is_ours(entity: Entity, name: str, intended: dict[str, Any], row: dict[str, Any], last: str | None) -> bool:
    """Whether a field shows what was sent: exactly, or a normal form of it that is not what stood there before."""
    if row[name] == intended[name]:
        return True
    return row[name] != last and may_be_stored_as(intended[name], row[name], entity.fields[name].type)


def _creates(store: Store, entity: Entity, seat: Seat, intent: Sending, now: datetime) -> Results:
    """Unlinked rows that read like an image, but for counters, were created. Without a key every row is looked at."""
    frame = intent.frame
    keyed = frame[KEY].null_count() == 0
    hopes = _Hopes(entity, seat, frame)
    results = Results()
    complete = keyed
    made: list[tuple[int, dict[str, Any]]] = []
    for page in seat.connector.read(seat.mapping.object, seat.compiled.read_columns, keys=frame[KEY].to_list() if keyed else None):
        complete = page.complete
        if page.rows.is_empty():
            continue
        cells = seat.compiled.to_cells(page.rows).rows
        with store.read() as db:
            taken = shadow_table.by_key(db, entity.name, seat.name, cells[KEY])["key"]
        made += hopes.among(cells.filter(~pl.col(KEY).is_in(taken.implode())))
    if not complete:
        raise SystemUnreachableError(
            "the listing was not complete, so it is not known which new rows were written before the interruption",
            system=seat.name,
            entity=entity.name,
            hint="nothing is written there until it can be listed completely",
        )
    if made:
        # Two equal rows for one record: the smaller key is ours to link, the other one is matched as any new row.
        first: dict[int, dict[str, Any]] = {}
        for op, row in sorted(made, key=lambda item: (len(item[1][KEY]), item[1][KEY])):
            first.setdefault(op, row)
        results.created = _shadows(store, entity, seat, [(hopes.intended[op], row) for op, row in first.items()], now)
        results.done = results.created.height
    return results


class _Hopes:
    """Rows that were to be created, findable by the values that a created row would show."""

    def __init__(self, entity: Entity, seat: Seat, frame: pl.DataFrame) -> None:
        """`frame` is an intent's: __op, __gid, __key, the image, __fields."""
        self.intended: dict[int, dict[str, Any]] = {row[OP]: row for row in frame.iter_rows(named=True)}
        self._entity = entity
        named = {name for row in self.intended.values() for name in row[FIELDS]}
        shown = [name for name in entity.shown(seat.name) if name in named and entity.fields[name].type != "reference"]
        self._keyed = frame[KEY].null_count() == 0
        rules = [rule for rule in entity.match if set(rule) <= set(shown)]
        # A new row may be counted on at once. It had not been there before: so it is ours, and what it shows more came on top.
        known_by = self._keyed or bool(rules)
        self._compared = [name for name in shown if not (known_by and entity.fields[name].conflict == "add")]
        self._rule = rules[0] if rules else tuple(shown)
        self._index: dict[tuple[str, ...], list[int]] = {}
        for op, row in self.intended.items():
            self._index.setdefault(self._handle(row), []).append(op)

    def _handle(self, row: dict[str, Any]) -> tuple[str, ...]:
        """What a created row and its image have in common whatever the system does to case and punctuation."""
        return (row[KEY],) if self._keyed else tuple(letters(row[name] or "") for name in self._rule if name in row)

    def among(self, rows: pl.DataFrame) -> list[tuple[int, dict[str, Any]]]:
        """The rows that may be one of those hoped for: (op, row)."""
        if set(self._rule) - set(rows.columns) and not self._keyed:
            return []
        return [(op, row) for row in rows.iter_rows(named=True) for op in self._index.get(self._handle(row), ()) if self._alike(op, row)]

    def _alike(self, op: int, row: dict[str, Any]) -> bool:
        image = self.intended[op]
        names = [name for name in self._compared if name in image[FIELDS] and name in row]
        return all(_stored(self._entity, name, image, row) for name in names)


def _stored(entity: Entity, name: str, image: dict[str, Any], row: dict[str, Any]) -> bool:
    """Whether a field may show what was sent, in a form of the system's own."""
    return may_be_stored_as(image[name], row[name], entity.fields[name].type)


def _golden_cells(db: Db, entity: Entity, gids: pl.Series) -> dict[int, dict[str, str | None]]:
    """Golden cells as they are now, by golden id."""
    known = golden_table.fetch(db, entity.name, gids)
    frame = pl.concat([known.select(pl.col("id").alias(GID)), json_to_records(known["data"], entity.fields)], how="horizontal")
    return {row[GID]: row for row in frame.iter_rows(named=True)}


def _shadows(store: Store, entity: Entity, seat: Seat, pairs: list[tuple[dict[str, Any], dict[str, Any]]], now: datetime) -> pl.DataFrame:
    """Shadows of created rows: they stand for what was sent then, and hold what they show."""
    gids = pl.Series(GID, [intended[GID] for intended, _row in pairs], dtype=pl.Int64)
    with store.read() as db:
        golden = _golden_cells(db, entity, gids)
        linked = set(shadow_table.by_golden(db, entity.name, gids, [seat.name])["gid"].to_list())
    writable, shown = set(entity.written(seat.name)), set(entity.shown(seat.name))
    hashes = dict(zip([row[KEY] for _, row in pairs], key_hash(pl.Series([row[KEY] for _, row in pairs])).to_list(), strict=True))
    made = []
    for intended, row in pairs:
        agreed = golden.get(intended[GID])
        if agreed is None or intended[GID] in linked:
            continue
        linked.add(intended[GID])
        seen: dict[str, str | None] = {}
        sent: dict[str, str | None] = {}
        for name in entity.mapped(seat.name):
            stood_for = intended[SENT + name] if name in intended[FIELDS] else None
            is_told = name in shown and entity.fields[name].type != "reference" and name in row
            holds = row[name] if is_told else stood_for
            if is_told and name in intended[FIELDS] and entity.fields[name].conflict == "add" and not _stored(entity, name, intended, row):
                holds = intended[name]  # counted on since: that is an edit
            if name not in intended[FIELDS] and holds not in (None, NULL):  # a default, or somebody was quick: news, to be looked at
                holds = None
            if holds != agreed[name]:
                seen[name] = holds
            if name in writable and stood_for != agreed[name]:
                sent[name] = stood_for
        made.append(
            (
                intended[GID],
                seat.name,
                row[KEY],
                hashes[row[KEY]],
                None,  # whatever else the row shows is looked at
                encode_delta(seen),
                encode_delta(sent),
                None,
                now,
                row.get("__at"),
                row.get(VERSION),
                0,
            )
        )
    return pl.DataFrame(made, schema=SHADOW_SCHEMA, orient="row")


def _read(seat: Seat, keys: list[str]) -> Iterator[pl.DataFrame]:
    for page in seat.connector.read(seat.mapping.object, seat.compiled.read_columns, keys=keys):
        if not page.rows.is_empty():
            yield page.rows
