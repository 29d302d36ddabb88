"""Temporary folders, which hold records: what a process that was killed left behind is removed when the next one needs such a folder.

Each has a file on which its process holds a lock; the operating system gives that up with the process, however it ends.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

IN_USE = ".in-use"
"""The file with the lock. A folder without it is none of ours, or is being made."""
_PREFIX = "trueup-"
_guard = threading.Lock()
_locks: dict[Path, int] = {}
_swept: set[str] = set()


def new_folder(what: str = "") -> Path:
    """An empty folder for this process, to be given back to `remove`; `what` stands in its name. Raises OSError."""
    place = tempfile.gettempdir()
    with _guard:
        if place not in _swept:
            _swept.add(place)
            _remove_left(Path(place))
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{what}-" if what else _PREFIX))
    fresh = folder / f"{IN_USE}.new"
    descriptor = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    fresh.rename(folder / IN_USE)  # nobody sees it unlocked
    with _guard:
        _locks[folder] = descriptor
    return folder


def remove(folder: Path) -> None:
    """Remove a folder of `new_folder` with all that is in it. May be called twice."""
    shutil.rmtree(folder, ignore_errors=True)
    with _guard:
        descriptor = _locks.pop(folder, None)
    if descriptor is not None:
        os.close(descriptor)


@contextmanager
def folder_for(what: str) -> Iterator[Path]:
    """A folder until the end of the block. Raises OSError."""
    folder = new_folder(what)
    try:
        yield folder
    finally:
        remove(folder)


def _remove_left(place: Path) -> None:
    """Remove the folders of this user's processes that have ended."""
    with suppress(OSError):
        for folder in place.glob(f"{_PREFIX}*"):
            with suppress(OSError):
                _remove_if_left(folder)


def _remove_if_left(folder: Path) -> None:
    if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
        return
    descriptor = os.open(folder / IN_USE, os.O_RDWR | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # BlockingIOError: somebody is at work in it
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(descriptor)
