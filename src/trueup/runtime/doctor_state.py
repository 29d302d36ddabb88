"""What `trueup doctor` sees of the state: that it can be opened, who may read it, how it grows, and what has waited for too long."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from trueup.errors import StateError, StateMissingError
from trueup.reports.table import counted, duration
from trueup.runtime.audit_file import examine_state
from trueup.runtime.credentials import as_access
from trueup.runtime.doctor_growth import look_at_growth
from trueup.runtime.reporting.late import late_by_itself
from trueup.runtime.status import standing_of
from trueup.store import Store, audit, credential, engine, indexes, schema
from trueup.store import run as run_table

if TYPE_CHECKING:
    from datetime import datetime

    from trueup.reports.health import Diagnosis
    from trueup.reports.standing import Standing
    from trueup.runtime.workspace import Workspace
    from trueup.store import Db

OLD_FAILURE = timedelta(days=7)
OLD_QUESTION = timedelta(days=30)
OLD_BACKUP = timedelta(days=7)
LARGE_BYTES = 20 * 1024**3
LARGE_LOG_BYTES = 512 * 1024**2
CHECKED_BYTES = 256 * 1024**2
"""Up to this size a state file is checked page by page."""
CHECKED_LINES = 200_000
"""Up to so many lines the audit trail is walked."""

_COUNTED = (
    "golden",
    "shadow",
    "history",
    "run",
    "failure",
    "conflict",
    "parked",
    "hold",
    "sending",
    "unsettled_key",
    "audit",
    "mapping_version",
)


def look_at_state(found: Diagnosis, workspace: Workspace) -> None:
    """Everything about the state; a state that is not there yet is nothing wrong."""
    target = workspace.state_target
    facts: dict[str, Any] = {"kind": engine.backend_of(target), "there": False}
    found.facts["state"] = facts
    if facts["kind"] == "sqlite":
        _files(found, Path(target))
    try:
        with Store.open(target, read_only=True) as store:
            facts["there"] = True
            with store.read() as db:
                _inside(found, db, workspace, facts)
    except StateMissingError:
        found.add("note", "state", "nothing was synced yet: there is no state", "`trueup check`, then `trueup plan`, then `trueup sync`")
    except StateError as error:
        found.add("broken", "state", "the state cannot be used", error.hint or "put back a backup: `trueup restore`", error.message)


def _files(found: Diagnosis, state: Path) -> None:
    """Who may read the files of a SQLite state, and how large they are."""
    facts = found.facts["state"]
    names = [state, *(state.with_name(state.name + ending) for ending in ("-wal", "-shm", ".lock"))]
    seen = {path: path.stat() for path in names[:3] if path.exists()}
    if any(stat.S_IMODE(about.st_mode) & 0o077 for about in seen.values()):
        message = "the state may be read by other users of this machine, and holds the records of every system"
        found.add("risk", "permissions", message, f"chmod 600 {state}*")
    if hasattr(os, "geteuid") and any(os.geteuid() not in (0, about.st_uid) for about in seen.values()):
        found.add("risk", "permissions", "the state belongs to another user", "run trueup as that user, or give it the files")
    with suppress(OSError):
        if state.parent.stat().st_mode & stat.S_IWOTH:
            message = "the folder of the state may be changed by every user of this machine: the state can be replaced"
            found.add("risk", "permissions", message, f"chmod o-w {state.parent}")
    with suppress(OSError):
        facts["bytes"] = state.stat().st_size
        if facts["bytes"] > LARGE_BYTES:
            message = f"the state has {facts['bytes'] / 1024**3:,.0f} GiB: backups and upgrades take long"
            found.add("risk", "size", message, "shorten what it remembers: `retention:` in the configuration, then `trueup compact`")
    with suppress(OSError):
        facts["log_bytes"] = names[1].stat().st_size
        if facts["log_bytes"] > LARGE_LOG_BYTES:
            message = f"the log beside the state has {facts['log_bytes'] // 1024**2:,} MiB: a program reads an old snapshot and never ends"
            found.add("risk", "size", message, "end programs that have the state open, and run `trueup sync`")


def _inside(found: Diagnosis, db: Db, workspace: Workspace, facts: dict[str, Any]) -> None:
    now = workspace.clock()
    facts["revision"] = schema.REVISION
    facts["rows"] = {name: _rows(db, name) for name in _COUNTED}
    _damage(found, db, facts)
    _indexes(found, db)
    look_at_growth(found, db, facts, workspace, now)
    _runs(found, db, facts, now)
    _waiting(found, db, now)
    standing = standing_of(db, workspace.config, "", now)
    _standing(found, standing, now)
    if facts["rows"]["audit"] <= CHECKED_LINES:
        verdict = examine_state(db, None)
        if verdict.flaw is not None:
            found.add("broken", "audit", f"the audit trail: {verdict.flaw.what}", "keep a copy of the state, and ask who could write to it")
    _backups(found, workspace, now)
    _report(found, db, workspace, now)
    _access(found, db, workspace, now)


def _access(found: Diagnosis, db: Db, workspace: Workspace, now: datetime) -> None:
    """Access to systems: since when, and what ended it."""
    known = {name: as_access(row) for name, row in credential.rows(db).items() if name in workspace.config.systems}
    found.facts["access"] = [{**one.as_json(), "trouble": one.trouble is not None} for one in known.values()]
    for name, one in known.items():
        if one.trouble is not None:
            found.add("broken", "access", f"access to {name} has ended; its work waits", f"trueup connect {name}", one.trouble)
        elif one.ends_soon(now):
            found.add("risk", "access", f"access to {name} ends soon, where it is not used before", f"trueup connect {name}")


def _report(found: Diagnosis, db: Db, workspace: Workspace, now: datetime) -> None:
    late = late_by_itself(db, workspace.config, now)
    if late is not None:
        found.add("risk", "report", late.what, late.remedy)


def _rows(db: Db, name: str) -> int:
    return int(db.execute(sa.select(sa.func.count()).select_from(schema.metadata.tables[name])).scalar_one())


def _damage(found: Diagnosis, db: Db, facts: dict[str, Any]) -> None:
    if db.backend != "sqlite" or facts.get("bytes", 0) > CHECKED_BYTES:
        return
    said = str(db.connection.exec_driver_sql("PRAGMA quick_check(1)").scalar_one())
    if said != "ok":
        found.add("broken", "state", "the state is damaged", "put back a backup: `trueup restore`", said)


def _indexes(found: Diagnosis, db: Db) -> None:
    """Indexes that somebody dropped: everything works without them, slower and slower."""
    inspector = sa.inspect(db.connection)
    for table in indexes.metadata.sorted_tables:
        there = {str(index["name"]) for index in inspector.get_indexes(table.name)}
        for index in table.indexes:
            if str(index.name) not in there:
                found.add(
                    "risk", "indexes", f"the state lacks the index {index.name}", "put back a backup, or make it as another state has it"
                )


def _runs(found: Diagnosis, db: Db, facts: dict[str, Any], now: datetime) -> None:
    runs = run_table.list_(db, 50)
    facts["runs"] = [
        {
            "run": one.id,
            "command": one.command.partition(" --record ")[0],
            "status": one.status,
            "started_at": one.started_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "seconds": one.seconds,
            "failed_with_words": bool(one.error),
        }
        for one in runs
    ]
    working = [one for one in runs if one.status == "running"]
    for one in working:
        found.add(
            "note",
            "lock",
            f"run {one.id} is at work: process {one.pid} on {one.host}, since {duration((now - one.started_at).total_seconds())}",
        )
    if runs and runs[0].status == "failed":
        found.add("risk", "runs", f"the last run ({runs[0].id}) failed", f"`trueup run {runs[0].id}` says why", runs[0].error or "")
    if runs and runs[0].started_at > now + timedelta(minutes=5):
        found.add(
            "risk", "clocks", "the last run began in the future: the clock of this machine was set back", "let it follow a time server"
        )
    intents = db.execute(sa.select(sa.func.count(), sa.func.min(schema.sending.c.at))).one()
    if intents[0] and not working:
        message = f"{counted(int(intents[0]), 'batch', 'batches')} of writes were interrupted, and nobody knows yet what became of them"
        found.add("risk", "intents", message, "`trueup sync` finds out")


def _waiting(found: Diagnosis, db: Db, now: datetime) -> None:
    """What a person should have looked at by now."""
    table = schema.failure
    old = _count(db, table, table.c.first_at < now - OLD_FAILURE)
    if old:
        found.add("risk", "failures", f"{counted(old, 'failure')} of more than {OLD_FAILURE.days} days ago still open", "`trueup failures`")
    hold = schema.hold
    held = _count(db, hold, hold.c.decision.is_(None))
    if held:
        found.add("risk", "holds", f"{counted(held, 'part')} held by a guard", "`trueup holds`, then approve, refuse or leave")
    open_ = schema.conflict
    asked = _count(db, open_, sa.and_(open_.c.closed_at.is_(None), open_.c.opened_at < now - OLD_QUESTION))
    if asked:
        found.add("note", "conflicts", f"{counted(asked, 'conflict')} open for more than {OLD_QUESTION.days} days", "`trueup conflicts`")
    rows = schema.parked
    parked = _count(db, rows, sa.and_(rows.c.decision.is_(None), rows.c.since < now - OLD_QUESTION))
    if parked:
        found.add("note", "matches", f"{counted(parked, 'row')} parked for more than {OLD_QUESTION.days} days", "`trueup matches`")


def _count(db: Db, table: sa.Table, only: sa.ColumnElement[bool]) -> int:
    return int(db.execute(sa.select(sa.func.count()).select_from(table).where(only)).scalar_one())


def _standing(found: Diagnosis, standing: Standing, now: datetime) -> None:
    if standing.paused:
        found.add("note", "paused", f"paused: {', '.join(standing.paused)}", "`trueup resume`")
    for entity, one in standing.entities.items():
        for system, item in one.systems.items():
            place = f"{entity} in {system}"
            if item.late and item.delay_s is not None:
                found.add(
                    "risk", "late", f"{place}: last complete pass {duration(item.delay_s)} ago, later than tolerated", "`trueup sync`"
                )
            elif item.last_complete_pass is not None and item.last_complete_pass < now - OLD_BACKUP:
                found.add("note", "late", f"{place}: last complete pass {duration(item.delay_s)} ago", "`trueup sync`, or a timer for it")


def _backups(found: Diagnosis, workspace: Workspace, now: datetime) -> None:
    """Whether there is a recent backup where `trueup backup` puts them."""
    target = workspace.state_target
    home = Path(target).parent if "://" not in target else Path(workspace.config.directory, ".trueup")
    taken = [path.stat().st_mtime for path in (home / "backups").glob("*.trueup")]
    if not taken:
        found.add("note", "backups", "no backup of the state where `trueup backup` puts them", "`trueup backup`, from a timer")
    elif now.timestamp() - max(taken) > OLD_BACKUP.total_seconds():
        found.add(
            "note",
            "backups",
            f"the newest backup of the state is {duration(now.timestamp() - max(taken))} old",
            "`trueup backup`, from a timer",
        )


def head_of(workspace: Workspace) -> str | None:
    """The head of the audit trail; None where there is none."""
    try:
        with Store.open(workspace.state_target, read_only=True) as store, store.read() as db:
            return str(audit.head(db))
    except StateError:
        return None
