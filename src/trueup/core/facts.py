"""Facts and decisions: what is known about a set of records at one moment, and what follows from it."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

import polars as pl

from trueup.core.cells import GID, KEY, SYSTEM

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from trueup.model import Entity

KHASH = "__khash"
FINGERPRINT = "__fingerprint"
PRESENT, MISSING, FILTERED, UNREADABLE, WITHDRAWN = 0, 1, 2, 3, 4
"""States of a shadow: its row is there; vanished and left alone; outside of the mapping's filter; there, but cannot be read; there, and to
be deleted although its record lives (an undone create), after which it is left alone."""

GONE_SCHEMA = pl.Schema({GID: pl.Int64(), SYSTEM: pl.String(), KEY: pl.String()})
NO_ROWS = pl.DataFrame(schema=GONE_SCHEMA)
SHADOW_SCHEMA = pl.Schema(
    {
        "gid": pl.Int64(),
        "system": pl.String(),
        "key": pl.String(),
        "khash": pl.Int64(),
        "fingerprint": pl.Int64(),
        "seen": pl.String(),
        "sent": pl.String(),
        "before": pl.String(),
        "written_at": pl.Datetime("us", "UTC"),
        "modified": pl.Datetime("us", "UTC"),
        "native_version": pl.String(),
        "state": pl.Int64(),
    }
)
RESTORE_SCHEMA = pl.Schema({GID: pl.Int64(), SYSTEM: pl.String(), "field": pl.String(), "cell": pl.String()})
_NO_RESTORES = pl.DataFrame(schema=RESTORE_SCHEMA)
NO_FIELDS = pl.DataFrame(schema={GID: pl.Int64(), "field": pl.String()})
NOBODY = pl.Series(GID, [], dtype=pl.Int64)
"""No rows, no values, no records: frames are never changed in place, so that these can be shared."""
GOLDEN_SCHEMA = pl.Schema(
    {
        "id": pl.Int64(),
        "data": pl.String(),
        "origin_system": pl.String(),
        "origin_at": pl.Datetime("us", "UTC"),
        "origins": pl.String(),
        "version": pl.Int64(),
        "deleted_at": pl.Datetime("us", "UTC"),
        "alias_of": pl.Int64(),
    }
)
TOLD_SCHEMA = pl.Schema({"id": pl.Int64(), "data": pl.String()})
NOTHING_RETOLD = pl.DataFrame(schema=TOLD_SCHEMA)
"""Golden records, and what they say: two columns of GOLDEN_SCHEMA."""

WITHDRAWN_SCHEMA = pl.Schema({**GONE_SCHEMA, "fingerprint": pl.Int64()})
NOTHING_WITHDRAWN = pl.DataFrame(schema=WITHDRAWN_SCHEMA)
"""Rows, and the fingerprints under which they were last read."""


@dataclass(frozen=True, slots=True)
class Meeting:
    """What is known where the state is older than the systems, and meets them for the first time since (`core/meet.py`).

    away   __system, __key: known rows that are not there, or cannot be read now
    moved  __gid, field: values that were agreed otherwise after the state was copied; None: nobody knows
    forms  (system, field) of which the state knows that the system stores values in a form of its own
    """

    away: pl.DataFrame
    moved: pl.DataFrame | None
    forms: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True)
class Facts:
    """What is known about a set of records at one moment.

    observed  per system: __gid, __key, __khash, __fingerprint, __at, __version, then the cells of the fields that it shows; only rows
              that are new to it or read differently than before; where a mapping changed also `__was:FIELD` (List: see cells.WAS) and
              `__aside`
    gone      __gid, __system, __key: rows confirmed to be gone
    golden    the golden rows (GOLDEN_SCHEMA); records that are being born are not among them
    shadows   all shadows of these records, in every system (SHADOW_SCHEMA); a renamed row's shadow already bears its new key
    frozen    candidates of open conflicts and holds of these records (FREEZE_SCHEMA)
    refused   systems whose edits a person refused as a whole: they are overruled
    refused_deletes  systems whose disappearances a person refused as a whole: those rows are made again
    left      systems whose edits a person wants to stay where they are: neither they nor the agreed values are told to anybody
    left_deletes  systems whose disappearances stay where they are: those rows are not made again, and their records live on elsewhere
    reread    per system: fields that it may be read otherwise in than when its shadows were written; what each row read as then is beside
              what it reads as now (`__was:FIELD`)
    unread    systems among those of `reread` of which not every row that reads otherwise is known
    moved     systems that are another object than before: no disappearance from them is believed, nor a key of which most values changed
    same_record  "SYSTEM KEY" (joined by U+001F) of rows that a person declared to be the same record in spite of everything having changed
    suspects     (system, key) of rows that are parked as perhaps another record: until their match fields are their own again
    strangers  (system, key) of rows that were so until they vanished: that says nothing of the record's own row
    files     systems that people edit by saving a whole file over them
    meeting   the state is older than the systems: nothing is merged, they are only met
    older     it was met, and this is the first ordinary look since: of a disappearance only that of a whole record is believed
    """

    entity: Entity
    observed: Mapping[str, pl.DataFrame]
    gone: pl.DataFrame
    golden: pl.DataFrame
    shadows: pl.DataFrame
    frozen: pl.DataFrame
    now: datetime
    refused: frozenset[str] = frozenset()
    refused_deletes: frozenset[str] = frozenset()
    left: frozenset[str] = frozenset()
    left_deletes: frozenset[str] = frozenset()
    files: frozenset[str] = frozenset()
    same_record: frozenset[str] = frozenset()
    suspects: frozenset[tuple[str, str]] = frozenset()
    strangers: frozenset[tuple[str, str]] = frozenset()
    reread: Mapping[str, frozenset[str]] = field(default_factory=dict)
    unread: frozenset[str] = frozenset()
    moved: frozenset[str] = frozenset()
    meeting: Meeting | None = None
    older: bool = False


@dataclass
class Decision:
    """What to commit. `records` are the golden cells (wide, __gid first) of all records at hand as they are after the merge.

    golden      rows to write (GOLDEN_SCHEMA without version); `born` tells which of them are new
    shadows     rows to write (SHADOW_SCHEMA), whole
    removed     shadows to drop: __gid, __system, __key
    after       every shadow as it stands afterwards (SHADOW_SCHEMA)
    deleted     golden ids that are deleted after this
    index       (rule, hash, __gid) to store instead of what was stored for `indexed`
    retold      (TOLD_SCHEMA) golden records that are told otherwise and alike by all systems, besides `golden`; nothing follows from it
    withdrawn   (WITHDRAWN_SCHEMA) rows to be deleted although their records live, about which nothing else is to be said
    restores    (RESTORE_SCHEMA) values that single systems are to hold although they are not golden: theirs from before an undone run
    """

    records: pl.DataFrame
    golden: pl.DataFrame
    born: pl.Series
    shadows: pl.DataFrame
    removed: pl.DataFrame
    after: pl.DataFrame
    deleted: pl.Series
    index: pl.DataFrame
    indexed: pl.Series
    history: pl.DataFrame
    frozen: pl.DataFrame
    thawed: pl.DataFrame
    edited: dict[str, int] = field(default_factory=dict)  # system -> rows with a changed value
    updated: int = 0  # golden records changed
    reread: int = 0  # golden records that are told otherwise, because a mapping changed
    apart: int = 0  # values of systems that were the golden ones and are others now, for the same reason
    left: int = 0  # values and rows that a person wants to differ
    again: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=GONE_SCHEMA))  # rows to be compared anew when next read
    overruled: int = 0
    missing: int = 0
    deleted_now: int = 0
    opened: int = 0
    frozen_pairs: pl.DataFrame = field(default_factory=lambda: NO_FIELDS)
    reused: pl.DataFrame = field(default_factory=lambda: NO_ROWS)
    missing_keys: pl.DataFrame = field(default_factory=lambda: NO_ROWS)
    retold: pl.DataFrame = field(default_factory=lambda: NOTHING_RETOLD)
    restores: pl.DataFrame = field(default_factory=lambda: _NO_RESTORES)
    withdrawn: pl.DataFrame = field(default_factory=lambda: NOTHING_WITHDRAWN)

    @property
    def anything(self) -> bool:
        """Whether there is anything to commit."""
        frames = (self.golden, self.shadows, self.removed, self.history, self.frozen, self.thawed, self.retold, self.withdrawn)
        return any(not frame.is_empty() for frame in frames)


def joined(parts: list[Decision]) -> Decision:
    """Decisions about different records as one. Part by part of what a decision holds, so that none can be forgotten."""
    if len(parts) == 1:
        return parts[0]
    whole: dict[str, Any] = {}
    for name in (item.name for item in fields(Decision)):
        values = [getattr(part, name) for part in parts]
        if isinstance(values[0], pl.DataFrame):
            whole[name] = pl.concat([value.select(values[0].columns) for value in values])
        elif isinstance(values[0], pl.Series):
            whole[name] = pl.concat(values)
        elif isinstance(values[0], dict):
            whole[name] = {key: sum(value.get(key, 0) for value in values) for value in values for key in value}
        else:
            whole[name] = sum(values)
    return Decision(**whole)
