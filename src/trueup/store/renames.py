"""What the state keeps of a system or a field, under another name (`was:`): everything that names it, in one transaction.

Ended conflicts and the history follow, so that they can be read under the names of today.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import polars as pl
import sqlalchemy as sa

from trueup.store import bulk, lanes, names, schema
from trueup.store.arrow import from_arrow, to_arrow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from trueup.store.db import Db

CHUNK_ROWS = 20_000
ABSENT = ""
"""Under this name a delta of a shadow lists the fields whose cell is absent."""


def rename_system(tx: Db, old: str, new: str) -> bool:
    """Everything kept of a system, under its new name. False where the state keeps nothing under the old one.

    Raises StateError where it keeps something under the new one already.
    """
    if not names.rename(tx, "system", old, new):
        return False
    tx.execute(schema.paused.update().where(schema.paused.c.kind == "system", schema.paused.c.name == old).values(name=new))
    tx.execute(schema.credential.delete().where(schema.credential.c.system == new))
    tx.execute(schema.credential.update().where(schema.credential.c.system == old).values(system=new))
    _rewrite(tx, schema.golden, ("origins",), lambda body: {name: [new if by == old else by, at] for name, (by, at) in body.items()}, old)
    _rewrite(
        tx, schema.conflict, ("candidates",), lambda sides: [{**side, "system": _other(side["system"], old, new)} for side in sides], old
    )
    _rewrite(tx, schema.mapping_version, ("spec",), lambda spec: _in_mapping(spec, system=_other(spec["mapping"]["system"], old, new)), old)
    return True


def rename_field(tx: Db, entity: str, old: str, new: str) -> None:
    """Everything kept of a field of an entity, under its new name."""
    mine = entity
    _rewrite(tx, schema.golden, ("data", "origins"), lambda body: _renamed(body, old, new), old, mine)
    _rewrite(tx, schema.shadow, ("seen", "sent", "before"), lambda delta: _in_delta(delta, old, new), old, mine)
    _rewrite(
        tx,
        schema.mapping_version,
        ("spec",),
        lambda spec: _in_mapping(spec, fields=_renamed(spec["mapping"]["fields"], old, new)),
        old,
        mine,
    )
    for table in (schema.history, schema.conflict, schema.failure):
        tx.execute(table.update().where(table.c.entity == tx.entity(entity), table.c.field == old).values(field=new))
    _rename_in_intents(tx, entity, old, new)


def fields_known(db: Db, entity: str) -> set[str]:
    """The fields that any mapping of an entity had when its system was last read completely."""
    table = schema.mapping_version
    newest = sa.select(sa.func.max(table.c.id)).where(table.c.entity == db.entity(entity)).group_by(table.c.system)
    specs = db.execute(sa.select(table.c.spec).where(table.c.id.in_(newest))).scalars()
    return {name for spec in specs for name in json.loads(spec)["mapping"]["fields"]}


def _other(name: Any, old: str, new: str) -> Any:
    return new if name == old else name


def _renamed(body: dict[str, Any], old: str, new: str) -> dict[str, Any]:
    """The same object with another name for one member, in its place."""
    return {_other(name, old, new): value for name, value in body.items()}


def _in_delta(delta: dict[str, Any], old: str, new: str) -> dict[str, Any]:
    """A shadow's delta, the list of its absent fields included."""
    body = _renamed(delta, old, new)
    return body | {ABSENT: [_other(name, old, new) for name in body[ABSENT]]} if ABSENT in body else body


def _in_mapping(spec: dict[str, Any], **parts: Any) -> dict[str, Any]:
    return spec | {"mapping": spec["mapping"] | parts}


def _rewrite(tx: Db, table: sa.Table, columns: Iterable[str], change: Callable[[Any], Any], old: str, entity: str | None = None) -> None:
    """Change the JSON in these columns of every row (of an entity) that names `old`."""
    keys = [column.name for column in table.primary_key]
    for name in columns:
        column = table.c[name]
        # Wherever it is a name it stands between quotation marks; what is found besides is looked at and left as it is.
        told = json.dumps(old, ensure_ascii=False)
        where = [column.contains(told, autoescape=True)]
        if entity is not None:
            where.append(table.c.entity == tx.entity(entity))
        page = sa.select(*(table.c[key] for key in keys), column).where(*where).order_by(*(table.c[key] for key in keys))
        after: tuple[Any, ...] | None = None
        while True:
            later = page if after is None else page.where(sa.tuple_(*(table.c[key] for key in keys)) > sa.tuple_(*after))
            frame = tx.frame(later.limit(CHUNK_ROWS))
            if frame.is_empty():
                break
            after = tuple(frame.select(keys).row(-1))
            texts = [json.dumps(change(json.loads(text)), ensure_ascii=False, separators=(",", ":")) for text in frame[name]]
            bulk.update(tx, table, frame.select(keys).with_columns(pl.Series(name, texts, dtype=pl.String)), keys=keys)


def _rename_in_intents(tx: Db, entity: str, old: str, new: str) -> None:
    """Writes whose outcome nobody knows: what was sent is compared under the new name."""
    table = schema.sending
    for row in tx.execute(sa.select(table).where(*lanes.within(tx, table, entity, None))).all():
        frame = from_arrow(row.payload)
        columns = {name: name[: -len(old)] + new for name in frame.columns if name in (old, f"sent:{old}")}
        listed = [name for name, kind in frame.schema.items() if kind == pl.List(pl.String)]
        frame = frame.with_columns(pl.col(name).list.eval(pl.element().replace(old, new)) for name in listed).rename(columns)
        tx.execute(table.update().where(table.c.id == row.id).values(payload=to_arrow(frame)))
