"""Where packages are put and fetched: a folder, a folder on an SFTP server (`sftp.py`), or one in a bucket of S3 (`s3.py`).

What is put there appears under its name only when all of it is on disk: it is written under a name that no package can have, forced to
disk, and renamed; S3, where nothing is renamed, has another way. A name that is taken is never replaced.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import time
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from trueup.errors import SystemUnreachableError, TrueupError
from trueup.exchange.naming import TEMPORARY

if TYPE_CHECKING:
    from trueup.exchange.naming import PackageName

SFTP, S3 = "sftp://", "s3://"
ELSEWHERE = (SFTP, S3)
"""How the address of a place begins that is no path here."""
LEFT_S = 3_600.0
"""What has been half-written for so long was left by a process that was killed."""


STAMP_BYTES = 1 << 16
"""The end of a zip lists its files with their checksums, that of a sealed one is a tag; of a folder all of the statement counts."""


def stamped(name: PackageName, size: int, end: bytes) -> str:
    """What a package is known by: not by its time, which a copy changes."""
    return f"{name.ending}:{size}:{blake2b(end, digest_size=8).hexdigest()}"


class TakenError(TrueupError):
    """A package of this name is there already."""


class Place(Protocol):
    """Where packages are. Every method raises SystemUnreachableError where the place cannot be used."""

    @property
    def shown(self) -> str:
        """Its address, without a password."""
        ...

    def names(self) -> list[str]:
        """All names there, in any order."""
        ...

    def examine(self, *, writes: bool) -> None:
        """Look whether packages can be found there and, with `writes`, put there, as far as that is seen without putting anything."""
        ...

    def stamp(self, name: PackageName) -> str:
        """A text that changes when the package is exchanged for another one; empty where it is not there."""
        ...

    def fetch(self, name: PackageName, to: Path) -> None:
        """Copy the package to this path, which is not there yet: a folder's files into a folder, else a file."""
        ...

    def publish(self, source: Path, name: PackageName) -> None:
        """Let a folder or a file appear there under this name. Raises TakenError."""
        ...

    def close(self) -> None:
        """Give back what was opened."""
        ...


def open_place(address: str, directory: str) -> Place:
    """The place of an address; a relative path starts at `directory`."""
    if address.startswith(SFTP):
        from trueup.exchange.sftp import SftpPlace

        return SftpPlace(address)
    if address.startswith(S3):
        from trueup.exchange.s3 import S3Place

        return S3Place(address)
    return FolderPlace(Path(os.path.abspath(Path(directory) / Path(address).expanduser())))  # noqa: PTH100 - keeps links


class FolderPlace:
    """A folder."""

    def __init__(self, folder: Path) -> None:
        """It must be there already: one that is not is more likely a wrong path, or a disk that is not mounted."""
        self.folder = folder

    @property
    def shown(self) -> str:
        """See Place."""
        return str(self.folder)

    def names(self) -> list[str]:
        """See Place."""
        try:
            return [path.name for path in self.folder.iterdir()]
        except OSError as error:
            raise self._unreachable(error) from None

    def examine(self, *, writes: bool) -> None:
        """See Place."""
        self.names()
        if writes and not os.access(self.folder, os.W_OK | os.X_OK):
            raise SystemUnreachableError(f"nothing can be put into the place {self.shown}", hint="let this user write to the folder")

    def stamp(self, name: PackageName) -> str:
        """See Place."""
        path = self.folder / str(name)
        if not name.ending:
            path /= "datapackage.json"
        try:
            with path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - STAMP_BYTES))
                return stamped(name, size, file.read())
        except OSError:
            return ""

    def fetch(self, name: PackageName, to: Path) -> None:
        """See Place. What is no plain file is left out."""
        source = self.folder / str(name)
        try:
            if name.ending:
                shutil.copyfile(source, to)
                return
            to.mkdir()
            for path in source.iterdir():
                if path.is_file() and not path.is_symlink():
                    shutil.copyfile(path, to / path.name)
        except OSError as error:
            raise self._unreachable(error) from None

    def publish(self, source: Path, name: PackageName) -> None:
        """See Place."""
        final = self.folder / str(name)
        half = self.folder / f".{name}.{secrets.token_hex(4)}{TEMPORARY}"
        self._remove_leftovers(name.entity)
        try:
            if source.is_dir():
                half.mkdir()
                for path in sorted(source.iterdir()):
                    _copy_durably(path, half / path.name)
                _sync(half)
            else:
                _copy_durably(source, half)
            _rename(half, final)
            _sync(self.folder)
        except OSError as error:
            if error.errno in {errno.EEXIST, errno.ENOTEMPTY}:
                raise TakenError(f"{final} is there already", hint="it is never replaced: move it away if it is not wanted") from None
            raise self._unreachable(error) from None
        finally:
            _remove(half)

    def close(self) -> None:
        """See Place."""

    def _remove_leftovers(self, entity: str) -> None:
        for name in self.names():
            if name.startswith(f".{entity}-") and name.endswith(TEMPORARY):
                with suppress(OSError):
                    if time.time() - (self.folder / name).stat().st_mtime > LEFT_S:
                        _remove(self.folder / name)

    def _unreachable(self, error: OSError) -> SystemUnreachableError:
        hint = (
            "make the folder, or correct the path" if isinstance(error, FileNotFoundError) else "check the folder, its rights and the disk"
        )
        return SystemUnreachableError(f"the place {self.shown} cannot be used: {error.strerror or error}", hint=hint)


def _copy_durably(source: Path, target: Path) -> None:
    with source.open("rb") as old, target.open("xb") as new:
        shutil.copyfileobj(old, new, 1 << 20)
        new.flush()
        os.fsync(new.fileno())


def _rename(half: Path, final: Path) -> None:
    """In one step, and only where the name is free."""
    if half.is_dir():
        if final.exists():
            raise FileExistsError(errno.EEXIST, "", str(final))
        half.rename(final)  # onto a folder that is not empty it fails
        return
    try:
        os.link(half, final)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if final.exists():
            raise FileExistsError(errno.EEXIST, "", str(final)) from None
        half.rename(final)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()
