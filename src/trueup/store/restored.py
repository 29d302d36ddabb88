"""A state that was put back from a backup is older than the systems: what is kept of that until every system was met again.

`meta` holds one text. Each entity goes through two stages: at first its systems are met (`MEET`), then they are compared once more while
no disappearance is believed (`COMPARE`); an entity that is not named has not begun.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Literal

import orjson

from trueup.store import meta

if TYPE_CHECKING:
    from trueup.store.db import Db

META_KEY = "restored"
Stage = Literal["meet", "compare", "done"]


@dataclass(frozen=True, slots=True)
class Restored:
    """When the backup was taken and put back.

    `moved`: entity -> values (record, field) that were agreed otherwise after that; None: nobody knows, and all may have been.
    """

    taken_at: str
    restored_at: str
    moved: dict[str, list[tuple[int, str]]] | None = None
    stages: dict[str, Stage] = field(default_factory=dict)

    def stage(self, entity: str) -> Stage:
        """How far an entity is."""
        return self.stages.get(entity, "meet")


def get(db: Db) -> Restored | None:
    """What is still to be done after a restore; None where nothing is."""
    text = meta.get(db, META_KEY)
    return None if text is None else Restored(**orjson.loads(text))


def put(tx: Db, restored: Restored | None) -> None:
    """Keep it; None: every entity is done."""
    meta.set_(tx, META_KEY, None if restored is None else orjson.dumps(asdict(restored)).decode())


def advance(tx: Db, entity: str, to: Stage, entities: list[str]) -> None:
    """An entity has reached a stage; once all of `entities` are done, nothing is left to be done."""
    known = get(tx)
    if known is None:
        return
    stages = {**known.stages, entity: to}
    over = all(stages.get(name) == "done" for name in entities)
    put(tx, None if over else Restored(known.taken_at, known.restored_at, known.moved, stages))
