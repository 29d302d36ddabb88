"""The state store: golden records, shadows, links, history and everything still open. `Store.open` is the way in.

Each noun has a module of plain functions whose first argument is the `Db` that `Store.read()` or `Store.write()` gives. Entities and
systems go by name, times are Datetime("us", "UTC"), rows are Polars frames, JSON is text, and a golden id is called `gid`.
"""

from trueup.store import (
    activity,
    audit,
    conflict,
    created,
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
