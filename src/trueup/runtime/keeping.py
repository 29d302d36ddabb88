"""Keeping the state: a verified backup while running, and putting one back. What a restored state then does is in `meeting.py`."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trueup import __version__, scratch
from trueup.errors import StateError, StateMissingError
from trueup.sealing import MasterKeys
from trueup.store import Store, audit, backup, engine, identity, restoring

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trueup.model import Config
    from trueup.runtime.workspace import Workspace
    from trueup.store.backup import Manifest

CHEAP_ROWS = 200_000
"""Up to so many rows a backup is always verified by restoring it: that takes a few seconds."""
ENDING = ".trueup"


@dataclass(frozen=True, slots=True)
class Kept:
    """A backup: where it is, what it says, how large it is, and whether it was restored for a test."""

    path: Path
    manifest: Manifest
    size_bytes: int
    verified: bool


@dataclass(frozen=True, slots=True)
class PutBack:
    """A restore: what was put back, where the state that was there is now (None: there was none), and whether it told what moved since."""

    manifest: Manifest
    aside: str | None
    informed: bool


def back_up(workspace: Workspace, place: Path | None = None, *, verify: bool | None = None, encrypt: bool = False) -> Kept:
    """Copy the state into a file (None, or a folder: named by the moment), while others may work on it.

    `verify` restores it for a test; None does so where that is cheap. `encrypt` seals it under the master key. Raises StateError,
    MasterKeyError.
    """
    at = workspace.clock()
    target = workspace.state_target
    masters = MasterKeys(workspace.config.master_key)
    with Store.open(target, read_only=True) as store, store.read() as db:
        known = identity.of(db)[0] is not None
    if not known:
        with Store.open(target, create=False) as store, store.write() as tx:
            identity.ensure(tx)
    path = _named(place or _folder(workspace), f"state-{at:%Y%m%dT%H%M%SZ}{ENDING}")
    if path.exists():
        raise StateError(f"{path} is there already", hint="name another file, or a folder: backups in it are named by the moment")
    with Store.open(target, read_only=True) as store, store.read() as db:
        manifest = backup.write(db, path, program=__version__, at=at, masters=masters if encrypt else None)
    verified = manifest.rows <= CHEAP_ROWS if verify is None else verify
    if verified:
        try:
            check(path, masters)
        except StateError:
            path.unlink(missing_ok=True)
            raise
    return Kept(path, manifest, path.stat().st_size, verified)


def check(path: Path, masters: MasterKeys) -> Manifest:
    """Restore a backup into a state that exists for a moment only, and compare every row. Raises StateError."""
    manifest = backup.read_manifest(path, masters)
    restoring.check_known(manifest, path)
    with scratch.folder_for("verify") as folder:
        restoring.build(path, manifest, str(Path(folder, "state.db")), lambda _tx: None)
    return manifest


def put_back(workspace: Workspace, path: Path, *, from_another: bool = False) -> PutBack:
    """Make a backup the state again; the one that is there is kept aside. Raises StateError, StateLockedError; nothing was changed then."""
    at = workspace.clock()
    target = workspace.state_target
    manifest = backup.read_manifest(path, MasterKeys(workspace.config.master_key))
    restoring.check_known(manifest, path)
    if not from_another:
        _same_names(path, manifest, workspace.config)
    with restoring.held(target, "restore", at):
        fresh = beside(target)
        restoring.remove(fresh)
        restoring.encrypted_like(target, fresh)
        with restoring.readable(target) as now:
            moved = replaced = None
            if now is not None:
                if not from_another:
                    _same_installation(now, path, manifest)
                moved = restoring.moved_since(now, path, manifest)
                with suppress(StateError), now.read() as db:
                    replaced = str(audit.head(db))
            restoring.build(path, manifest, fresh, restoring.as_restored(manifest, moved, at, now, replaced=replaced))
        try:
            aside = restoring.put_in_place(fresh, target, at)
        except BaseException:
            with suppress(StateError):
                restoring.remove(fresh)
            raise
    return PutBack(manifest, aside, moved is not None)


def beside(target: str) -> str:
    """Where a state is made that will take the place of the one at `target`."""
    if engine.backend_of(target) == "sqlite":
        return f"{target}.restoring"
    return engine.with_schema(target, f"{engine.schema_of(target)}_restoring")


def _folder(workspace: Workspace) -> Path:
    target = workspace.state_target
    home = Path(target).parent if engine.backend_of(target) == "sqlite" else Path(workspace.config.directory, ".trueup")
    return home / "backups"


def _named(place: Path, name: str) -> Path:
    """The file for a backup: in a folder under its own name."""
    return place / name if place.is_dir() or place.suffix == "" else place


def _same_installation(store: Store, path: Path, manifest: Manifest) -> None:
    with store.read() as db:
        mine = identity.of(db)[0]
    if mine is not None and mine != manifest.installation:
        raise StateError(
            f"the backup {path} is of another installation than the state that is here",
            hint="check `state:` and the file; --from-another takes it all the same. Nothing was changed",
        )


def _same_names(path: Path, manifest: Manifest, config: Config) -> None:
    """A backup that knows none of the configured entities or systems is of something else."""
    for table, mine in (("entity_name", config.entities), ("system_name", config.systems)):
        known = {name for frame in backup.pieces(path, manifest, table) for name in frame["name"].to_list()}
        if known and not known & _names(mine):
            raise StateError(
                f"the backup {path} is of another installation: it knows {', '.join(sorted(known))}",
                hint="check the file and the configuration; --from-another takes it all the same. Nothing was changed",
            )


def _names(configured: Mapping[str, object]) -> set[str]:
    return {name for item in configured.values() for name in (getattr(item, "name", None), getattr(item, "was", None)) if name}


def missing(target: str) -> bool:
    """Whether there is no state, or an empty one, at `target`. Raises StateError for one that cannot be read."""
    try:
        with Store.open(target, read_only=True) as store, store.read() as db:
            return not restoring.holds_anything(db)
    except StateMissingError:
        return True
