"""The indexes of the state that hold a part of a table's rows only.

They stand apart from `schema.py` because SQLAlchemy loads the dialects of both databases to describe them, which every command would wait
for; only migrations need them.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from trueup.store import schema_people
from trueup.store.schema import conflict, former_key, golden, history, hold, metadata, run, shadow

__all__ = ["metadata", "schema_people"]


def _partial(name: str, only: sa.ColumnElement[bool], *columns: sa.Column[Any], unique: bool = False) -> None:
    sa.Index(name, *columns, unique=unique, sqlite_where=only, postgresql_where=only)


# Holds living records only: it counts them, and finds those that moved, without touching their data.
_partial("golden_alive", sa.and_(golden.c.deleted_at.is_(None), golden.c.alias_of.is_(None)), golden.c.entity, golden.c.version)
# The others by when they went: they are few, and whoever is told of changes is told of them, too.
_partial("golden_gone", sa.or_(golden.c.deleted_at.is_not(None), golden.c.alias_of.is_not(None)), golden.c.entity, golden.c.version)
# One link per system and golden record; its first two columns also find all systems of a record.
_partial("shadow_link", shadow.c.golden_id.is_not(None), shadow.c.entity, shadow.c.golden_id, shadow.c.system, unique=True)
_partial("shadow_sent", shadow.c.sent.is_not(None), shadow.c.entity, shadow.c.system)
_partial("shadow_not_present", shadow.c.state != sa.literal_column("0"), shadow.c.entity, shadow.c.system, shadow.c.state)
_partial("conflict_open", conflict.c.closed_at.is_(None), conflict.c.entity, conflict.c.golden_id, conflict.c.field, unique=True)
_partial("conflict_settled", conflict.c.closed_at.is_not(None), conflict.c.closed_at)
_partial("hold_undecided", hold.c.decision.is_(None), hold.c.entity, hold.c.system, hold.c.kind, unique=True)
# What is left apart is asked for by kind alone; nearly no line is of it.
_partial("history_apart", history.c.kind == sa.literal_column("'apart'"), history.c.entity)
_partial("former_key_due", former_key.c.due, former_key.c.entity)
_partial("run_running", run.c.status == sa.literal_column("'running'"), run.c.id)
