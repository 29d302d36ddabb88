"""The state store: golden records, shadows, links, history and everything still open. `Store.open` is the way in.

Each noun has a module of plain functions whose first argument is the `Db` that `Store.read()` or `Store.write()` gives. Entities and
systems go by name, times are Datetime("us", "UTC"), rows are Polars frames, JSON is text, and a golden id is called `gid`.

Nothing is loaded before it is asked for: a process that only receives webhooks needs the inbox, and neither SQLAlchemy nor Polars.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trueup.store import (
        activity,
        audit,
        conflict,
        created,
        credential,
        cursor,
        failure,
        former_key,
        golden,
        history,
        hold,
        mapping_version,
        match_key,
        meta,
        names,
        notice,
        outsider,
        parked,
        paused,
        run,
        secret,
        sending,
        shadow,
        unsettled_key,
        views,
    )
    from trueup.store.database import Store
    from trueup.store.db import Db

__all__ = [
    "Db",
    "Store",
    "activity",
    "audit",
    "conflict",
    "created",
    "credential",
    "cursor",
    "failure",
    "former_key",
    "golden",
    "history",
    "hold",
    "mapping_version",
    "match_key",
    "meta",
    "names",
    "notice",
    "outsider",
    "parked",
    "paused",
    "run",
    "secret",
    "sending",
    "shadow",
    "unsettled_key",
    "views",
]

_CLASSES = {"Db": "trueup.store.db", "Store": "trueup.store.database"}


def __getattr__(name: str) -> Any:
    """A class or a noun module, loaded now."""
    if name in _CLASSES:
        return getattr(importlib.import_module(_CLASSES[name]), name)
    if name in __all__:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(name)
