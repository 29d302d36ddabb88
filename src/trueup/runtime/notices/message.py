"""A golden record that moved, as the message that tells of it.

It says what became of the record and which fields changed, always of the record as it is now: a message that is sent late, or once more,
tells nothing old. Values go with it only where the configuration names their fields.
"""

from __future__ import annotations

import base64
import hmac
from collections import defaultdict
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import orjson
import polars as pl

from trueup.core.cells import cell_to_python, json_to_records
from trueup.core.undo import DELETED, REVIVED, SETTING
from trueup.store import golden, identity, notice, shadow

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from trueup.model import ChangeKind, Config, Entity, Subscription
    from trueup.store import Db
    from trueup.store.notice import Line, Open, Subscriber

CHANGED = (*SETTING, DELETED, REVIVED)


@dataclass(frozen=True, slots=True)
class Due:
    """A record of which a subscriber has to hear what happened after the version `since`; `open` is what was tried in vain before."""

    entity: str
    gid: int
    since: int
    born: bool = False
    open: Open | None = None
    place: tuple[int, int] | None = None  # where it stands in the order of changes; None: it was passed before


@dataclass(frozen=True, slots=True)
class Notice:
    """One message. `id` is the same whenever this is told of this version of the record; `wanted` False: nobody asked for it."""

    due: Due
    id: str
    version: int
    born: bool
    body: bytes
    wanted: bool


def signed(secrets: Iterable[str], number: str, body: bytes, now_s: int) -> dict[str, str]:
    """The headers of Standard Webhooks: a signature per secret, so that the receiver may know either."""
    told = f"{number}.{now_s}.".encode() + body
    signatures = [base64.b64encode(hmac.digest(_key(secret), told, "sha256")).decode() for secret in secrets]
    return {"webhook-id": number, "webhook-timestamp": str(now_s), "webhook-signature": " ".join(f"v1,{text}" for text in signatures)}


def _key(secret: str) -> bytes:
    text = secret.removeprefix("whsec_")
    return base64.b64decode(text + "=" * (-len(text) % 4))


def test_body(now: datetime) -> bytes:
    """A message that says only that messages arrive."""
    return _text("trueup.test", now, {})


def composed(db: Db, config: Config, to: Subscription, known: Subscriber, due: Sequence[Due], now: datetime) -> list[Notice]:
    """The messages about these records, in the same order; a record that the state does not hold any more is left out."""
    by_entity: dict[str, list[Due]] = defaultdict(list)
    for one in due:
        by_entity[one.entity].append(one)
    line = identity.of(db)[1] or ""
    found: dict[tuple[str, int], Notice] = {}
    for name, mine in by_entity.items():
        if name in config.entities and name in to.entities:
            found |= {(name, one.due.gid): one for one in _of_entity(db, config.entities[name], to, f"{line}:{known.token}", mine, now)}
    return [found[one.entity, one.gid] for one in due if (one.entity, one.gid) in found]


def _of_entity(db: Db, entity: Entity, to: Subscription, origin: str, due: Sequence[Due], now: datetime) -> Iterable[Notice]:
    gids = pl.Series([one.gid for one in due], dtype=pl.Int64)
    rows = {row["id"]: row for row in golden.fetch(db, entity.name, gids).iter_rows(named=True)}
    since = min(one.since for one in due)
    lines: dict[int, list[Line]] = defaultdict(list)
    for line in notice.lines(db, entity.name, gids.to_list(), since, CHANGED):
        lines[line.gid].append(line)
    births = notice.births_among(db, entity.name, gids.to_list(), since)
    keys = _keys(db, entity, to.keys, gids)
    for one in due:
        row = rows.get(one.gid)
        if row is None:
            continue
        told = [line for line in lines[one.gid] if line.version > one.since]
        born = one.born or any(version > one.since and first <= one.gid <= last for version, first, last in births)
        change = _change(row, told, born=born)
        values = _values(row["data"], entity)
        data: dict[str, Any] = {"entity": entity.name, "record": one.gid, "change": change, "version": row["version"]}
        data["fields"] = _fields(entity, change, told, values)
        if change == "merged":
            data["into"] = row["alias_of"]
        if sent := to.entities[entity.name]:
            data["values"] = {name: values[name] for name in sent if name in values} if change in {"created", "updated"} else {}
        if to.keys:
            data["keys"] = keys.get(one.gid, {})
        number = blake2b(f"{origin}:{one.gid}:{row['version']}".encode(), digest_size=16).hexdigest()
        at = max((line.recorded_at for line in told), default=one.open.first_at if one.open else now)
        body = _text(f"{entity.name}.{change}", at, data)
        yield Notice(one, f"trueup_{number}", row["version"], born, body, change in to.changes)


def _change(row: Mapping[str, Any], told: Sequence[Line], *, born: bool) -> ChangeKind:
    """What became of a record; one that was deleted, told as such, and came back is made anew for whoever was told."""
    if row["alias_of"] is not None:
        return "merged"
    if row["deleted_at"] is not None:
        return "deleted"
    turns = [line.kind for line in told if line.kind in {DELETED, REVIVED}]
    return "created" if born or turns[:1] == [REVIVED] else "updated"


def _fields(entity: Entity, change: ChangeKind, told: Sequence[Line], values: Mapping[str, Any]) -> list[str]:
    """The fields that changed, in the entity's order; of a new record those that it has, of one that is gone none."""
    if change == "created":
        return list(values)
    moved = {line.field for line in told if line.moved}
    return [name for name in entity.fields if name in moved] if change == "updated" else []


def _values(data: str | None, entity: Entity) -> dict[str, Any]:
    """What a record says, by field; a field that it does not have is left out."""
    cells = json_to_records(pl.Series([data], dtype=pl.String), entity.fields).row(0, named=True)
    return {name: cell_to_python(cell, entity.fields[name]) for name, cell in cells.items() if cell is not None}


def _keys(db: Db, entity: Entity, systems: Sequence[str], gids: pl.Series) -> dict[int, dict[str, str]]:
    """The keys of the records in the systems whose keys are sent."""
    found: dict[int, dict[str, str]] = defaultdict(dict)
    asked = [name for name in systems if name in entity.mappings]
    if asked:
        for gid, system, key in shadow.by_golden(db, entity.name, gids, asked).select("gid", "system", "key").rows():
            found[gid][system] = key
    return found


def _text(kind: str, at: datetime, data: Mapping[str, Any]) -> bytes:
    return orjson.dumps({"type": kind, "timestamp": at, "data": data}, default=str, option=orjson.OPT_UTC_Z)
