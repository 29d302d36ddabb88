"""How far an entity was moved to a single source of truth: one row per stage that was begun."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast

import sqlalchemy as sa

from trueup.store.schema import migration_stage as table
from trueup.store.schema import system_name

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from trueup.store.db import Db

Status = Literal["running", "done", "stopped", "accepted"]
"""running: begun, and not ended. stopped: it found what a person has to see to. accepted: a person went on all the same."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage. `finished_at` is None while it runs, and where it was broken off; `facts`: names, counts and checksums, no values."""

    name: str
    system: str
    status: Status
    started_at: datetime
    finished_at: datetime | None = None
    who: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def passed(self) -> bool:
        """Whether the next stage may follow."""
        return self.status in {"done", "accepted"}


def keep(tx: Db, entity: str, stage: Stage) -> None:
    """Keep a stage as it is now, in the place of what was known of it."""
    forget(tx, entity, [stage.name])
    tx.execute(
        table.insert().values(
            entity=tx.entity(entity),
            stage=stage.name,
            system=tx.system(stage.system),
            status=stage.status,
            started_at=stage.started_at,
            finished_at=stage.finished_at,
            who=stage.who,
            facts=json.dumps(stage.facts, ensure_ascii=False),
        )
    )


def of(db: Db, entity: str) -> dict[str, Stage]:
    """The stages of an entity that were begun, by name."""
    rows = db.execute(
        sa.select(table, system_name.c.name.label("to"))
        .join(system_name, system_name.c.id == table.c.system)
        .where(table.c.entity == db.entity(entity))
    )
    return {
        row.stage: Stage(row.stage, row.to, cast("Status", row.status), row.started_at, row.finished_at, row.who, json.loads(row.facts))
        for row in rows
    }


def forget(tx: Db, entity: str, names: list[str]) -> None:
    """Forget stages by name."""
    tx.execute(table.delete().where(table.c.entity == tx.entity(entity), table.c.stage.in_(names)))
