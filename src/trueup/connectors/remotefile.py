"""Files of a system that lie elsewhere (`s3://…`, `sftp://…`): each is worked on as a copy here, and replaced there only as it was read.

A copy is never changed, only exchanged for another one. Copies lie in a folder that this user alone can read, until the system is closed.
"""

from __future__ import annotations

import itertools
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING

from trueup import scratch
from trueup.errors import SystemError_
from trueup.remote.files import Known, files_at

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from trueup.model import Caps
    from trueup.remote.files import Files


@dataclass(frozen=True, slots=True)
class _Copy:
    version: str
    path: Path


class Elsewhere:
    """The files of one folder, and the copies of those that were read."""

    def __init__(self, files: Files) -> None:
        """Nothing is asked yet."""
        self.files = files
        self._copies: dict[str, _Copy] = {}
        self._folder: Path | None = None
        self._numbers = itertools.count()

    def copy(self, name: str) -> Path | None:
        """A copy of the file as it is now; None where there is none. It stays as it is until the file was asked for again."""
        known, to = self._copies.get(name), self.room()
        version = self.files.fetch(name, to, known.version if known is not None else None)
        if known is not None and version == known.version and not to.exists():
            return known.path
        self._keep(name, None if version is None else _Copy(version, to))
        return None if version is None else to

    def replace(self, name: str, source: Path, read: Path | None, digest: str) -> None:
        """Put `source`, which is a path of `room`, in the place of the file that `read` is the copy of. Raises MovedOnError."""
        known = self._copies.get(name)
        expected = None if known is None or known.path != read else Known(known.version, digest)
        self._keep(name, _Copy(self.files.replace(name, source, expected), source))

    def room(self) -> Path:
        """A path for a new file."""
        if self._folder is None:
            self._folder = scratch.new_folder("files")
        return self._folder / str(next(self._numbers))

    def latest(self, name: str) -> Path | None:
        """The copy that was made last."""
        known = self._copies.get(name)
        return None if known is None else known.path

    def close(self) -> None:
        """Remove the copies."""
        self._copies.clear()
        folder, self._folder = self._folder, None
        if folder is not None:
            scratch.remove(folder)
        self.files.close()

    def _keep(self, name: str, new: _Copy | None) -> None:
        old = self._copies.pop(name, None)
        if old is not None:
            old.path.unlink(missing_ok=True)  # who has it open goes on with it
        if new is not None:
            self._copies[name] = new


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """The path of a file elsewhere, or of the folder (an empty name), with those methods of pathlib's that connectors of files use."""

    place: Elsewhere
    name: str = ""

    def __str__(self) -> str:
        return self.place.files.shown(self.name)

    def __truediv__(self, name: str) -> RemoteFile:
        return RemoteFile(self.place, name)

    @property
    def suffix(self) -> str:
        """See PurePath."""
        stem, point, ending = self.name.rpartition(".")
        return point + ending if stem else ""

    def with_name(self, name: str) -> RemoteFile:
        """See PurePath."""
        return RemoteFile(self.place, name)

    def exists(self) -> bool:
        """See Path."""
        return self.place.files.is_there(self.name)

    def is_dir(self) -> bool:
        """See Path."""
        return not self.name

    def is_file(self) -> bool:
        """See Path."""
        return bool(self.name)

    def iterdir(self) -> Iterator[RemoteFile]:
        """See Path; folders below are not told apart by their name."""
        return (RemoteFile(self.place, name) for name in self.place.files.names())

    def read_bytes(self) -> bytes:
        """See Path. Raises FileNotFoundError."""
        copy = self.place.copy(self.name)
        if copy is None:
            raise FileNotFoundError(str(self))
        return copy.read_bytes()

    def opened(self) -> IO[bytes] | None:
        """A copy of the file, open for reading; None where there is no such file."""
        copy = self.place.copy(self.name)
        return None if copy is None else copy.open("rb")


def remote_file(address: str, endings: tuple[str, ...]) -> RemoteFile:
    """The file of an address, or the folder where its last part has none of these endings. Raises TrueupError."""
    files, name = files_at(address, endings)
    return RemoteFile(Elsewhere(files), name)


def caps_of(path: object, caps: Caps) -> Caps:
    """What a file there offers: nothing elsewhere tells that it changed, and not every server refuses a write that comes too late."""
    if not isinstance(path, RemoteFile):
        return caps
    return replace(caps, watch=False, precondition="native" if path.place.files.conditional else "read_compare")


@contextmanager
def of_system(name: str) -> Iterator[None]:
    """Errors of this block are those of a system."""
    try:
        yield
    except SystemError_ as error:
        if error.system is None:
            error.system = name
        raise
