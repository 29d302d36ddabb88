"""What every connector of a file shares: finding the file, knowing whether it changed, and replacing it whole or not at all.

A file is never written in place. New content goes to a temporary file in the same directory, is forced to disk, and takes the old
file's name in one step (`os.replace`); a crash at any point leaves either the old content or the new. A lock file beside it keeps two
trueup processes from interleaving; other programs do not know that lock, so the old file is compared with what was read (size, time,
inode and a hash of the whole content) immediately before it is replaced. For files that lie elsewhere see `remotefile`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self

import xxhash

from trueup.connectors.remotefile import RemoteFile, of_system, remote_file
from trueup.errors import (
    AccessRefusedError,
    ChangedUnderneathError,
    ObjectUnreadableError,
    SystemUnreachableError,
    WriteRefusedError,
)
from trueup.remote.files import S3, SFTP, MovedOnError

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK_BYTES = 1 << 22
LOCK_WAIT_S = 10.0
REPLACE_TRIES = 5
TEMPORARY_SUFFIX = ".trueup-tmp"
LOCK_SUFFIX = ".trueup-lock"

_WINDOWS = os.name == "nt"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_READ_ONLY = {errno.EACCES, errno.EPERM, errno.EROFS}


FilePath = Path | RemoteFile


@dataclass(frozen=True, slots=True)
class Stamp:
    """Which content a file had: equal stamps mean the same bytes. `digest` is xxh3-128 of the whole content."""

    inode: int
    size: int
    modified_ns: int
    digest: str


def resolve(path: str, directory: str) -> Path:
    """The absolute path of `path`, which starts at `directory` when it is relative; `~` is the user's home."""
    return Path(os.path.abspath(Path(directory) / Path(path).expanduser()))  # noqa: PTH100 - abspath keeps links, resolve() does not


def place_of(path: str, directory: str, endings: tuple[str, ...]) -> FilePath:
    """As `resolve`, also for addresses of files elsewhere; `endings` tell a file from a folder there. Raises TrueupError."""
    return remote_file(path, endings) if path.startswith((S3, SFTP)) else resolve(path, directory)


def has_content(path: FilePath) -> bool:
    """Whether the file is there, with more than zero bytes."""
    if isinstance(path, RemoteFile):
        with path.opened() or contextlib.nullcontext() as file:
            return file is not None and bool(file.read(1))
    return path.exists() and path.stat().st_size > 0


def open_to_read(system: str, path: FilePath) -> IO[bytes]:
    """Open the file.

    Raises SystemUnreachableError when it is missing or held by another program, AccessRefusedError without the right to read it,
    ObjectUnreadableError when it is not a regular file.
    """
    if isinstance(path, RemoteFile):
        with of_system(system):
            copy = path.opened()
        if copy is None:
            raise _missing(system, path)
        return copy
    try:
        file = path.open("rb")
    except (FileNotFoundError, NotADirectoryError):
        raise _missing(system, path) from None
    except IsADirectoryError:
        raise _not_a_file(system, path) from None
    except PermissionError as error:
        if path.is_dir():  # how Windows refuses to open a directory
            raise _not_a_file(system, path) from None
        if sys.platform == "win32":
            message = f"the file {path} is open in another program"
            raise SystemUnreachableError(message, hint="close it there and run again", system=system) from None
        message = f"no right to read the file {path}: {error.strerror}"
        raise AccessRefusedError(message, hint="give the user that runs trueup the right to read it", system=system) from None
    except OSError as error:
        message = f"the file {path} cannot be opened: {error.strerror}"
        raise SystemUnreachableError(message, hint="check the path and the disk", system=system) from None
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise _not_a_file(system, path)
    return file


def _missing(system: str, path: FilePath) -> SystemUnreachableError:
    start = "" if isinstance(path, RemoteFile) else ", which starts at the configuration file's directory"
    return SystemUnreachableError(
        f"the file {path} does not exist", hint=f"check `path`{start}, or say `create: true` in the mapping", system=system
    )


def _not_a_file(system: str, path: Path) -> ObjectUnreadableError:
    return ObjectUnreadableError(f"{path} is not a file", hint="let `path` name the file itself", system=system)


def stamp(file: IO[bytes]) -> Stamp:
    """The stamp of an open file; the file's position is afterwards at its start."""
    facts = os.fstat(file.fileno())
    hasher = xxhash.xxh3_128()
    file.seek(0)
    while block := file.read(BLOCK_BYTES):
        hasher.update(block)
    file.seek(0)
    return Stamp(facts.st_ino, facts.st_size, facts.st_mtime_ns, hasher.hexdigest())


def check_untouched(system: str, path: FilePath, file: IO[bytes], known: Stamp) -> None:
    """Raise ChangedUnderneathError when the open file was written to since `known` was taken."""
    facts = os.fstat(file.fileno())
    if (facts.st_size, facts.st_mtime_ns) != (known.size, known.modified_ns):
        raise changed_underneath(system, path)


def changed_underneath(system: str, path: FilePath) -> ChangedUnderneathError:
    """The error for a file that another program wrote while it was in use."""
    message = f"the file {path} was changed by another program meanwhile; nothing was written"
    return ChangedUnderneathError(message, hint="run again: the change is read first", system=system)


@contextlib.contextmanager
def locked(system: str, path: FilePath, *, wait_s: float = LOCK_WAIT_S) -> Iterator[None]:
    """Hold the advisory lock of a file, on `.NAME.trueup-lock` beside it; the lock file is removed afterwards. Elsewhere there is none.

    Raises SystemUnreachableError when another process holds it longer than `wait_s`, WriteRefusedError when the directory is not
    writable.
    """
    if isinstance(path, RemoteFile):
        yield
        return
    real = Path(os.path.realpath(path))
    lock_path = real.with_name(f".{real.name}{LOCK_SUFFIX}")
    until = time.monotonic() + wait_s
    while (descriptor := _try_lock(system, real, lock_path)) is None:
        if time.monotonic() > until:
            message = f"another trueup process is writing the file {path}"
            raise SystemUnreachableError(message, hint="run again when it has finished", system=system)
        time.sleep(0.02)
    try:
        yield
    finally:
        # Unlinked while still held: who waits for this file finds its name gone and starts again with a new one.
        with contextlib.suppress(OSError):
            lock_path.unlink()
        os.close(descriptor)


def _try_lock(system: str, path: Path, lock_path: Path) -> int | None:
    """A descriptor that holds the lock, or None when it is held elsewhere."""
    try:
        descriptor = os.open(lock_path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        if sys.platform == "win32" and isinstance(error, PermissionError):
            return None  # the holder is just deleting it
        raise write_refused(system, path, error) from None
    try:
        _lock_exclusively(descriptor)
        held = os.fstat(descriptor)
        current = lock_path.stat()
    except OSError:
        os.close(descriptor)
        return None
    if (held.st_dev, held.st_ino) != (current.st_dev, current.st_ino):
        os.close(descriptor)
        return None
    return descriptor


if sys.platform == "win32":
    import msvcrt

    def _lock_exclusively(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock_exclusively(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def write_refused(system: str, path: Path, error: OSError) -> WriteRefusedError | SystemUnreachableError:
    """The error to raise when the operating system refused to write beside or over `path`."""
    if error.errno in _FULL:
        message = f"the disk is full: the file {path} was not changed"
        return WriteRefusedError(message, hint="make room on that disk and run again", system=system)
    if error.errno in _READ_ONLY:
        message = f"the file {path} or its directory is read-only"
        hint = "give the user that runs trueup the right to write both, or set `direction: read`"
        return WriteRefusedError(message, hint=hint, system=system)
    if error.errno == errno.EBUSY:
        message = f"the file {path} cannot be replaced: it is a mount point of its own"
        return WriteRefusedError(message, hint="mount its directory instead of the file alone", system=system)
    if isinstance(error, FileNotFoundError):
        message = f"the directory {path.parent} does not exist"
        return WriteRefusedError(message, hint="make the directory, or correct `path`", system=system)
    return WriteRefusedError(f"the file {path} cannot be written: {error.strerror}", hint="check the disk", system=system)


def replacement(system: str, path: FilePath) -> Replacement | RemoteReplacement:
    """New content for a file, here or elsewhere."""
    return RemoteReplacement(system, path) if isinstance(path, RemoteFile) else Replacement(system, path)


class RemoteReplacement:
    """As `Replacement`, for a file elsewhere: the new content is put there with `commit`."""

    def __init__(self, system: str, path: RemoteFile) -> None:
        """Prepare to replace `path`, which need not exist yet."""
        self._system = system
        self._path = path
        self._new = path.place.room()
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        """Open a file here."""
        self._file = self._new.open("xb")
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Remove it unless it has become the copy of the file."""
        if self._file is not None:
            self._file.close()
        if self._path.place.latest(self._path.name) != self._new:
            self._new.unlink(missing_ok=True)

    def write(self, data: bytes) -> None:
        """Append bytes. Raises WriteRefusedError when the disk here is full."""
        assert self._file is not None
        try:
            self._file.write(data)
        except OSError as error:
            raise write_refused(self._system, self._new, error) from None

    def commit(self, expected: Stamp | None) -> None:
        """See Replacement."""
        assert self._file is not None
        self._file.close()
        with of_system(self._system):
            read = self._path.place.latest(self._path.name)
            digest = self._digest(read, expected)
            try:
                self._path.place.replace(self._path.name, self._new, read, digest)
            except MovedOnError:
                raise changed_underneath(self._system, self._path) from None

    def _digest(self, read: Path | None, expected: Stamp | None) -> str:
        """Of the content that is to be replaced; of an empty file where none was to be there."""
        if read is None:
            return ""
        with read.open("rb") as file:
            found = stamp(file)
        if found != expected if expected is not None else found.size:
            raise changed_underneath(self._system, self._path)
        return found.digest


class Replacement:
    """New content for a file, which takes the file's place only with `commit`; left without it, nothing has changed.

    To be used as a context manager by the holder of the file's lock. Links are followed: the file that they lead to is replaced.
    """

    def __init__(self, system: str, path: Path) -> None:
        """Prepare to replace `path`, which need not exist yet."""
        self._system = system
        self._path = path
        self._real = Path(os.path.realpath(path))
        self._temporary = self._real.with_name(f".{self._real.name}.{secrets.token_hex(4)}{TEMPORARY_SUFFIX}")
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        """Open the temporary file. Raises WriteRefusedError."""
        self._refuse_read_only()
        self._remove_leftovers()
        try:
            self._file = self._temporary.open("xb")
        except OSError as error:
            raise write_refused(self._system, self._path, error) from None
        return self

    def __exit__(self, *_: object) -> None:
        """Close and remove the temporary file unless it has become the file."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # closing flushes, which fails again on a full disk
                self._file.close()
        with contextlib.suppress(FileNotFoundError):
            self._temporary.unlink()

    def write(self, data: bytes) -> None:
        """Append bytes. Raises WriteRefusedError when the disk is full."""
        try:
            self._open_file().write(data)
        except OSError as error:
            raise write_refused(self._system, self._path, error) from None

    def commit(self, expected: Stamp | None) -> None:
        """Put the new content in place, durably.

        Raises ChangedUnderneathError when the file no longer has the content of `expected` (None: it must not exist), or
        WriteRefusedError; in both cases the file is as it was.
        """
        file = self._open_file()
        try:
            if expected is not None:
                _copy_rights(self._real, file)
            file.flush()
            os.fsync(file.fileno())
            file.close()
        except OSError as error:
            raise write_refused(self._system, self._path, error) from None
        self._check_expected(expected)
        self._replace(expected)
        _sync_directory(self._real.parent)

    def _open_file(self) -> IO[bytes]:
        if self._file is None:
            message = "a Replacement is written inside its `with` block"
            raise ValueError(message)
        return self._file

    def _refuse_read_only(self) -> None:
        # The rename needs no right on the file itself, so a read-only file has to be respected on purpose, by the superuser too.
        if not self._real.exists():
            return
        if not os.access(self._real, os.W_OK) or not self._real.stat().st_mode & 0o222:
            raise write_refused(self._system, self._path, OSError(errno.EACCES, "read-only"))

    def _remove_leftovers(self) -> None:
        """Remove temporary files of a process that was killed; the lock guarantees that none of them is in use."""
        for name in self._real.parent.iterdir() if self._real.parent.is_dir() else ():
            if name.name.startswith(f".{self._real.name}.") and name.name.endswith(TEMPORARY_SUFFIX):
                with contextlib.suppress(OSError):
                    name.unlink()

    def _check_expected(self, expected: Stamp | None) -> None:
        if expected is None:
            if self._real.exists() and self._real.stat().st_size:
                raise changed_underneath(self._system, self._path)
            return
        with open_to_read(self._system, self._path) as current:
            if stamp(current) != expected:
                raise changed_underneath(self._system, self._path)

    def _replace(self, expected: Stamp | None) -> None:
        for attempt in range(REPLACE_TRIES):
            try:
                if expected is not None and self._real.stat().st_mtime_ns != expected.modified_ns:  # while its content was hashed
                    raise changed_underneath(self._system, self._path)
                self._temporary.replace(self._real)
            except OSError as error:
                if not (_WINDOWS and isinstance(error, PermissionError)):
                    raise write_refused(self._system, self._path, error) from None
                time.sleep(0.1 * 2**attempt)  # Windows refuses while any program has the file open
            else:
                return
        message = f"the file {self._path} is open in another program; nothing was written"
        raise SystemUnreachableError(message, hint="close it there and run again", system=self._system)


def _copy_rights(real: Path, file: IO[bytes]) -> None:
    """Give the new file the old one's mode, owner and extended attributes (access lists), as far as this user may."""
    facts = real.stat()
    if sys.platform == "win32":
        return
    with contextlib.suppress(PermissionError):  # only the superuser gives files away; the mode below still counts
        os.fchown(file.fileno(), facts.st_uid, facts.st_gid)
    os.fchmod(file.fileno(), stat.S_IMODE(facts.st_mode))
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # a file system without extended attributes
            for name in os.listxattr(real):
                os.setxattr(file.fileno(), name, os.getxattr(real, name))


def _sync_directory(directory: Path) -> None:
    if sys.platform == "win32":
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
