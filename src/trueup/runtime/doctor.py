"""`trueup doctor`: looks at an installation from outside and within, and changes nothing."""

from __future__ import annotations

import platform
import re
import shutil
import sqlite3
import stat
import tempfile
from contextlib import suppress
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from trueup.config.load import load_config
from trueup.core.cells import KEY
from trueup.errors import AccessRefusedError, ConfigError, TrueupError
from trueup.model import ObjectSpec
from trueup.reports.health import Diagnosis
from trueup.reports.lock_facts import WELL, remedy
from trueup.runtime.doctor_indexes import look_for_index
from trueup.runtime.doctor_state import look_at_state
from trueup.runtime.locks import kept_locks, look
from trueup.runtime.packages.examined import unusable
from trueup.runtime.workspace import Workspace

if TYPE_CHECKING:
    from collections.abc import Callable

    from trueup.model import Mapping

OLDEST_SQLITE = (3, 37, 0)
LITTLE_SPACE_BYTES = 64 * 1024 * 1024
SOME_SPACE_BYTES = 512 * 1024 * 1024
CLOCK_APART_S = 5.0

_CLOCKS = {
    "postgres": "SELECT 1 AS id, to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US') AS at",
    "mysql": "SELECT 1 AS id, date_format(utc_timestamp(6), '%Y-%m-%dT%H:%i:%s.%f') AS at",
}
"""What asks a database for its time; the others have this machine's."""

_WRITTEN_LOGIN = re.compile(r"://[^\s/:@${}]+:[^\s@${}]+@")


def diagnose(path: Path, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> Diagnosis:
    """Everything that is wrong with the installation of this configuration. Never raises for what it finds."""
    found = Diagnosis()
    _program(found)
    _files(found, path)
    usable = True
    try:
        config = load_config(path)
    except ConfigError as error:
        usable = False
        for problem in error.problems:
            place = f"line {problem.line} of the configuration" if problem.line else "the configuration"
            found.add("broken", "configuration", f"{place} cannot be used", "mend it; `trueup check` says more", str(problem))
        try:
            config = load_config(path, connects=False)  # what is said about systems may be wrong, and the state be there all the same
        except ConfigError:
            return found
    with Workspace(config, clock=clock) as workspace:
        look_at_state(found, workspace)
        _space(found, workspace)
        if usable:
            _systems(found, workspace)
            _locks(found, workspace)
            _places(found, workspace)
    return found


def _program(found: Diagnosis) -> None:
    from trueup import __version__

    found.facts["versions"] = {
        "trueup": __version__,
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        found.add(
            "broken", "sqlite", f"SQLite {sqlite3.sqlite_version} is too old for the state", "install a Python built with a newer one"
        )
    with suppress(metadata.PackageNotFoundError):
        for requirement in metadata.requires("trueup") or ():
            name = re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0]
            if "extra ==" not in requirement and _version(name) is None:
                found.add(
                    "broken", "packages", f"the package {name} is missing", "install trueup again: pip install --force-reinstall trueup"
                )


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


# ---------------------------------------------------------------- files


def _files(found: Diagnosis, path: Path) -> None:
    """The configuration and `.env` beside it: who may read and change them."""
    folder = path.absolute().parent
    written = ""
    with suppress(OSError, UnicodeDecodeError):
        written = path.read_text(encoding="utf-8")
    if _WRITTEN_LOGIN.search(written):
        found.add("risk", "secrets", f"a password is written into {path.name}", "put it into .env beside it, and write ${NAME} instead")
        _closed(found, path, "the configuration, which holds a password,", 0o640)
    _closed(found, folder / ".env", ".env, which holds secrets,", 0o600)
    _unchangeable(found, path, "the configuration")
    _unchangeable(found, folder / ".env", ".env")


def _closed(found: Diagnosis, path: Path, what: str, mode: int) -> None:
    """Nobody but its owner (and, where the mode says so, the group) may read it."""
    with suppress(OSError):
        if stat.S_IMODE(path.stat().st_mode) & ~mode & 0o077:
            found.add("risk", "permissions", f"{what} may be read by other users of this machine", f"chmod {mode:o} {path}")


def _unchangeable(found: Diagnosis, path: Path, what: str) -> None:
    with suppress(OSError):
        if path.stat().st_mode & stat.S_IWOTH:
            found.add("risk", "permissions", f"{what} may be changed by every user of this machine", f"chmod o-w {path}")


def _space(found: Diagnosis, workspace: Workspace) -> None:
    """Room on the disks that are written to: of the state, of temporary files, and of systems in files."""
    places = {Path(tempfile.gettempdir()): "temporary files"}
    for name, system in workspace.config.systems.items():
        if isinstance(path := system.settings.get("path"), str) and "://" not in path:
            places[Path(workspace.config.directory, path).parent] = f"the system {name}"
    size = found.facts.get("state", {}).get("bytes", 0)
    if "://" not in workspace.state_target:
        places[Path(workspace.state_target).parent] = "the state"
    for place, what in places.items():
        there = next((one for one in (place, *place.parents) if one.exists()), None)
        if there is None:
            continue
        free = shutil.disk_usage(there).free
        needed = max(SOME_SPACE_BYTES, size if what == "the state" else 0)
        if free < LITTLE_SPACE_BYTES:
            found.add(
                "broken", "space", f"the disk of {what} is full: {free // 1024**2:,} MiB are free", "make room now: runs stop without"
            )
        elif free < needed:
            message = f"the disk of {what} is nearly full: {free // 1024**2:,} MiB are free, {needed // 1024**2:,} should be"
            found.add("risk", "space", message, "make room")


# ---------------------------------------------------------------- systems


def _systems(found: Diagnosis, workspace: Workspace) -> None:
    """Each system: whether it answers, its clock, and whether its objects are there and have keys."""
    facts = found.facts["systems"] = {}
    for name, system in workspace.config.systems.items():
        try:
            workspace.systems.connector(name)
            answers = _objects(found, workspace, name)
            if answers and system.connector in _CLOCKS:
                _clock(found, workspace, name, system.connector)
        except TrueupError as error:
            answers = False
            _unreachable(found, name, error)
        facts[name] = {"connector": system.connector, "answers": answers, "paused": system.paused}


def _locks(found: Diagnosis, workspace: Workspace) -> None:
    """The locks that were made in systems: whether they are there, and as they were made."""
    known = kept_locks(workspace.state_target)
    if not known:
        return
    locks = look(workspace.config, workspace.systems, known)
    for one in locks.findings:
        if one.standing not in WELL and one.standing != "unknown":  # a system that does not answer is told by itself
            message, _, what = remedy(one).partition(": ")
            found.add("risk", "locks", f"{one.place} {message}", what)
    found.facts["locks"] = {"made": len(known), "well": sum(one.standing == "locked" for one in locks.findings)}


def _places(found: Diagnosis, workspace: Workspace) -> None:
    """The places of packages: whether they can be used, as far as is seen without putting anything there."""
    if not workspace.config.packages:
        return
    wrong = unusable(workspace.config)
    for one in wrong:
        error = one.error
        found.add("broken", "places", f"packages {one.packages}: {error.message}", error.hint or "look at the place")
    names = {one.packages for one in wrong}
    found.facts["places"] = {name: name not in names for name in workspace.config.packages}


def _unreachable(found: Diagnosis, name: str, error: TrueupError) -> None:
    refused = isinstance(error, AccessRefusedError)
    remedy = "check user and password, and the rights of that user" if refused else "check its address, and that it is running"
    found.add("broken", "systems", f"the system {name} {'refuses access' if refused else 'cannot be used'}", remedy, str(error))


def _objects(found: Diagnosis, workspace: Workspace, name: str) -> bool:
    """Look at every mapped object of a system; False where one cannot be looked at."""
    connector = workspace.systems.connector(name)
    answers = True
    for entity in workspace.config.entities.values():
        mapping = entity.mappings.get(name)
        if mapping is None:
            continue
        try:
            if workspace.systems.is_unmade(mapping):
                continue
            info = connector.describe(mapping.object)
        except TrueupError as error:
            _unreachable(found, name, error)
            answers = False
            break
        if connector.caps.kind == "database" and info.kind == "table" and not info.key:
            _no_key(found, entity.name, name, mapping)
        kind = workspace.config.systems[name].connector
        look_for_index(found, connector, kind, f"{entity.name} in {name}", mapping.object, info)
    return answers


def _no_key(found: Diagnosis, entity: str, system: str, mapping: Mapping) -> None:
    columns = ", ".join(mapping.object.key)
    found.add(
        "risk",
        "keys",
        f"{entity} in {system}: the table has no primary key; nothing keeps {columns} unique, and each row is looked for in all of them",
        f"add a primary key, or a unique index on {columns}",
    )


def _clock(found: Diagnosis, workspace: Workspace, name: str, kind: str) -> None:
    """How far the clock of a database is from that of this machine: edits are dated by both."""
    asked = ObjectSpec(name=None, sql=_CLOCKS[kind], key=("id",))
    before = datetime.now(UTC)
    with suppress(TrueupError):
        for page in workspace.systems.connector(name).read(asked, ["at"], keys=["1"]):
            for row in page.rows.drop(KEY, strict=False).iter_rows(named=True):
                theirs = datetime.fromisoformat(str(row["at"])).replace(tzinfo=UTC)
                after = datetime.now(UTC)
                apart = max((before - theirs).total_seconds(), (theirs - after).total_seconds(), 0.0)
                found.facts.setdefault("clocks_apart_s", {})[name] = round(apart, 3)
                if apart > CLOCK_APART_S:
                    message = f"the clock of {name} and that of this machine are {apart:,.0f} s apart"
                    found.add("risk", "clocks", message, "let both follow a time server: the order of edits is judged by them")
