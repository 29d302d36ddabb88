"""Which webhooks systems were asked to send: what to renew, to ask after and to end, whatever the configuration says by now."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import orjson

from trueup.store import meta

if TYPE_CHECKING:
    from collections.abc import Iterable

    from trueup.store.db import Db

KEY = "webhook subscriptions"


@dataclass(frozen=True, slots=True)
class Subscription:
    """One. `object` empty: all of the system; `number` None: it is being asked for, and no answer is known; empty: it has no name.

    `trouble`: what keeps it from being there, since `trouble_at`; `lapsed_at`: when it was last found to have ended by itself.
    """

    system: str
    object: str
    callback: str
    number: str | None = None
    made_at: datetime | None = None  # or renewed
    ends_at: datetime | None = None
    looked_at: datetime | None = None
    trouble: str | None = None
    trouble_at: datetime | None = None
    lapsed_at: datetime | None = None

    @property
    def place(self) -> tuple[str, str]:
        """What it is about."""
        return self.system, self.object


def list_(db: Db) -> dict[tuple[str, str], Subscription]:
    """All of them, by system and object."""
    told = meta.get(db, KEY)
    if told is None:
        return {}
    found = [_read(one) for one in orjson.loads(told)]
    return {one.place: one for one in found}


def keep(tx: Db, all_: Iterable[Subscription]) -> None:
    """These are all there are."""
    text = orjson.dumps([asdict(one) for one in all_]).decode()
    meta.set_(tx, KEY, text if text != "[]" else None)


def _read(said: dict[str, str | None]) -> Subscription:
    moments = ("made_at", "ends_at", "looked_at", "trouble_at", "lapsed_at")
    times = {name: None if said.get(name) is None else datetime.fromisoformat(str(said[name])) for name in moments}
    texts = {name: said.get(name) for name in ("number", "trouble")}
    return Subscription(str(said["system"]), str(said["object"]), str(said["callback"]), **texts, **times)  # type: ignore[arg-type]
