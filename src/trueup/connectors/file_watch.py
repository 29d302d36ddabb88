"""Watching files: what a file looks like from outside (its number, size and time) tells that it changed; never what.

Events of the operating system only say when to look, so that one which never comes costs a minute at most. A file that is being written
is waited out: it is told when it has looked the same for a moment, or, where that never comes (a log), every few seconds. A file that is
not there is waited for: it may be about to be replaced.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from trueup.connectors.watching import Hints, Lag, Way
from trueup.errors import SystemUnreachableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from watchfiles._rust_notify import RustNotify

    from trueup.connectors.filebase import FilePath

Look = tuple[tuple[int, int, int] | None, ...]

SETTING = {
    "type": "string",
    "title": "Watch",
    "description": (
        "how changes are noticed as they happen: events (of the operating system), look (at the file every second: for network drives,"
        " which tell no events), poll (on a schedule only), off; left out: look on a network drive, else events"
    ),
    "enum": ["events", "look", "poll", "off"],
}

_LOOK_S = 1.0
_ANYWAY_S = 60.0  # between two looks without an event
_STEP_MS = 50
_NETWORK = {
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "9p",
    "afs",
    "ceph",
    "davfs",
    "fuse.sshfs",
    "fuse.rclone",
    "fuse.glusterfs",
    "fuse.davfs2",
}
_MOUNTS = Path("/proc/self/mounts")


@dataclass(kw_only=True)
class Watched:
    """What is looked at for some objects: `paths` together tell of a change; a change of `also` is told only when such a file goes away."""

    paths: tuple[Path, ...]
    objects: tuple[int, ...]
    also: tuple[Path, ...] = ()
    told: Look = ()
    seen: Look = ()
    seen_at: float = 0.0
    since: float = 0.0
    open_elsewhere: bool = field(default=False)


class FileWatch:
    """See watching.Watch. It knows nothing of the time before it began, so everything is fresh."""

    position = None

    def __init__(self, system: str, way: Way, watched: Sequence[Watched], *, events: bool, quiet_s: float, longest_s: float) -> None:
        """Begin to look, on `events` or else every second; raises SystemUnreachableError where a folder is not there."""
        self.way = way
        self.fresh = frozenset(index for one in watched for index in one.objects)
        self._system = system
        self._watched = list(watched)
        self._quiet_s = quiet_s
        self._longest_s = longest_s
        self._woken = threading.Event()
        self._events = self._listen() if events else None
        for one in self._watched:
            one.told = one.seen = _look(one.paths)
            one.open_elsewhere = any(path.exists() for path in one.also)

    def _listen(self) -> RustNotify:
        from watchfiles._rust_notify import RustNotify

        folders = sorted({str(folder) for one in self._watched for path in one.paths for folder in {path.parent, path.resolve().parent}})
        try:
            return RustNotify(folders, False, False, 0, False, True)
        except OSError as error:
            raise SystemUnreachableError(
                f"the folder of {self._watched[0].paths[0]} cannot be watched: {error}",
                hint="check the folder; where the system has no more file watches, set `watch: look`",
                system=self._system,
            ) from None

    def wait(self, timeout_s: float) -> Hints | None:
        """See watching.Watch."""
        until_s = time.monotonic() + timeout_s
        while True:
            told, next_s = self._changes()
            left_s = until_s - time.monotonic()
            if told:
                return Hints(dict.fromkeys(told))
            if left_s <= 0 or self._rest(min(left_s, next_s)):
                return None

    def _changes(self) -> tuple[list[int], float]:
        """The objects that changed and are quiet now, and when to look again."""
        told: list[int] = []
        now, next_s = time.monotonic(), _ANYWAY_S if self._events is not None else _LOOK_S
        for one in self._watched:
            looks = _look(one.paths)
            if looks != one.seen:
                if one.seen == one.told:
                    one.since = now
                one.seen, one.seen_at = looks, now
            elsewhere, one.open_elsewhere = one.open_elsewhere, any(path.exists() for path in one.also)
            if elsewhere and not one.open_elsewhere:
                told.extend(one.objects)  # what could not be written while a person had it open can be now
            if looks == one.told or looks[0] is None:
                one.told, one.since = looks if looks[0] is not None else (), now
                continue
            if now - one.seen_at >= self._quiet_s:
                told.extend(one.objects)
                one.told = looks
            elif now - one.since >= self._longest_s:
                told.extend(one.objects)
                one.since = now
                next_s = min(next_s, self._quiet_s)
            else:
                next_s = min(next_s, self._quiet_s)
        return list(dict.fromkeys(told)), next_s

    def _rest(self, seconds: float) -> bool:
        """Wait for an event, or so long. True where somebody woke us."""
        if self._events is None or seconds <= self._quiet_s:
            woken = self._woken.wait(seconds)
        else:
            said = self._events.watch(_STEP_MS, _STEP_MS, max(1, round(seconds * 1000)), self._woken)
            woken = said in {"stop", "signal"}
        self._woken.clear()
        return woken

    def confirm(self, position: str) -> None:
        """See watching.Watch; there is nothing to confirm."""

    def lag(self) -> Lag:
        """See watching.Watch; nothing is kept for it."""
        return Lag()

    def wake(self) -> None:
        """See watching.Watch."""
        self._woken.set()

    def close(self) -> None:
        """See watching.Watch."""
        if self._events is not None:
            self._events.close()


def _look(paths: Sequence[Path]) -> Look:
    """How files look from outside; None for one that is not there, or empty beside the first."""
    found: list[tuple[int, int, int] | None] = []
    for path in paths:
        try:
            facts = path.stat()
        except OSError:
            found.append(None)
            continue
        found.append((facts.st_ino, facts.st_size, facts.st_mtime_ns) if facts.st_size or not found else None)
    return tuple(found)


def file_way(setting: str | None, paths: Sequence[FilePath]) -> tuple[Way, bool]:
    """How files are watched with this setting, and whether by events."""
    if setting == "poll":
        return Way("poll", "the settings say so"), False
    if setting == "off":
        return Way("off", "the settings say so"), False
    here = [path for path in paths if isinstance(path, Path)]
    if len(here) < len(paths):
        return Way("poll", "nothing tells when a file elsewhere changes"), False
    network = next((kind for path in here if (kind := file_system(path)) in _NETWORK), None) if setting is None else None
    if setting == "look" or network is not None:
        return Way("file", f"it is looked at every second: {f'its drive is {network}' if network else 'the settings say so'}"), False
    return Way("file", "the operating system tells when the file changes"), True


def file_system(path: Path) -> str | None:
    """The type of the file system that a file is on; None where it cannot be told."""
    try:
        mounts = [line.split()[1:3] for line in _MOUNTS.read_text().splitlines()]
    except OSError:
        return None
    real = path.resolve()
    fitting = [(place, kind) for place, kind in mounts if real.is_relative_to(place.replace("\\040", " "))]
    return max(fitting, key=lambda found: len(found[0]))[1] if fitting else None


def watch_files(
    system: str,
    setting: str | None,
    objects: Mapping[int, FilePath],
    unwatched: Mapping[int, str],
    also: Callable[[Path], tuple[Path, ...]],
) -> FileWatch:
    """Watch the file of each object. `also` are files beside one which say that a person has it open."""
    way, events = file_way(setting, list(objects.values()))
    if not way.pushes:
        raise UsageError(f"this system is not watched: {way.why}", hint="set `watch` for it", system=system)
    by_path: dict[Path, list[int]] = {}
    for index, path in objects.items():
        assert isinstance(path, Path)  # elsewhere nothing is pushed
        by_path.setdefault(path, []).append(index)
    watched = [Watched(paths=(path,), objects=tuple(found), also=also(path)) for path, found in by_path.items()]
    way = Way(way.how, way.why, unwatched=unwatched)
    return FileWatch(system, way, watched, events=events, quiet_s=0.5, longest_s=5.0)


def excel_lock(path: Path) -> tuple[Path, ...]:
    """The file that Excel keeps beside a workbook while a person has it open."""
    return (path.with_name(f"~${path.name}"),)


def no_lock(path: Path) -> tuple[Path, ...]:
    """Nothing tells that this file is open elsewhere."""
    del path
    return ()
