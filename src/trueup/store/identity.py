"""Which installation a state belongs to, and of which line it is: a restored state begins a line of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

from trueup.store import meta

if TYPE_CHECKING:
    from trueup.store.db import Db

INSTALLATION = "installation"
LINE = "line"


def ensure(tx: Db) -> None:
    """Give a state that has none its identity."""
    for name in (INSTALLATION, LINE):
        if meta.get(tx, name) is None:
            meta.set_(tx, name, uuid4().hex)


def of(db: Db) -> tuple[str | None, str | None]:
    """Installation and line; None before the first run."""
    return meta.get(db, INSTALLATION), meta.get(db, LINE)


def begin_line(tx: Db) -> None:
    """From here on this state goes another way than every other copy of it."""
    meta.set_(tx, LINE, uuid4().hex)
