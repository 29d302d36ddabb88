"""Where master keys are kept: a file, an environment variable, the operating system's keyring, or a command that prints them.

A place holds one text with one or more keys: the first one seals, the others still open what was sealed before. No text that a place
gives, or a command prints, is ever part of a message.
"""

from __future__ import annotations

import os
import secrets
import stat
import subprocess
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from trueup.errors import MasterKeyError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from trueup.model import KeyPlace

KEYRING_SERVICE = "trueup"
COMMAND_LIMIT_S = 60
MOST_BYTES = 64 * 1024
OTHERS = stat.S_IRWXG | stat.S_IRWXO


def is_writable(place: KeyPlace) -> bool:
    """Whether trueup can put a key there by itself."""
    return place.kind in {"file", "keyring"}


def read_place(place: KeyPlace) -> str | None:
    """The text; None where there is none yet. Raises MasterKeyError where it cannot be had, or others could have read it."""
    if place.kind == "file":
        return _read_file(Path(place.where), "the key file")
    if place.kind == "env":
        if place.given is not None and place.given_in is not None:
            _read_file(Path(place.given_in), f"{place.where} stands in a file, and")
        return place.given or None
    return _keyring_get(place.where) if place.kind == "keyring" else _printed(place)


@contextmanager
def changing_place(place: KeyPlace) -> Iterator[tuple[str, Callable[[str], None]]]:
    """The text as it is (empty where there is none) and a function that puts another in its place, while nobody else does so."""
    if place.kind == "file":
        with alone(Path(place.where)) as path:
            yield _read_file(path, "the key file") or "", lambda text: replace_file(path, text)
    elif place.kind == "keyring":
        yield _keyring_get(place.where) or "", lambda text: _keyring_set(place.where, text)
    else:
        raise MasterKeyError(
            f"trueup cannot change {place}", hint="`trueup keys new` prints a key; put it there before the former one, and run this again"
        )


def _printed(place: KeyPlace) -> str:
    if not place.command:
        raise MasterKeyError("the command that prints the master key is empty", hint="write it under `master_key: {command: […]}`")
    by_hand = "run it by hand, as the same user, to see why; it must print the key and nothing else"
    try:
        done = subprocess.run(  # noqa: S603 - the words are the configuration's own, and no shell reads them
            place.command, cwd=place.directory, stdin=subprocess.DEVNULL, capture_output=True, timeout=COMMAND_LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise MasterKeyError(f"{place} was stopped: it took longer than {COMMAND_LIMIT_S} s", hint=by_hand) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it cannot be started"
        raise MasterKeyError(f"{place} cannot be run: {reason}", hint="install it, or correct `master_key:`") from None
    if done.returncode:
        raise MasterKeyError(f"{place} ended with status {done.returncode}", hint=by_hand)
    text = _decoded(done.stdout[:MOST_BYTES], str(place))
    if not text.strip():
        raise MasterKeyError(f"{place} printed nothing", hint=by_hand)
    return text


# ---------------------------------------------------------------- files


def _read_file(path: Path, what: str) -> str | None:
    """The text of a file that only its owner can read; None where there is none."""
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a path"
        raise MasterKeyError(f"{what} {path} cannot be read: {reason}", hint="check its rights, and those of its folder") from None
    try:
        info = os.fstat(handle)
        if not stat.S_ISREG(info.st_mode):
            raise MasterKeyError(f"{what} {path} is not a plain file", hint="name a file that only its owner can read")
        if os.name == "posix" and info.st_mode & OTHERS:
            raise MasterKeyError(
                f"{what} {path} may be read or changed by others (mode {stat.S_IMODE(info.st_mode):04o})",
                hint=f"run `chmod 600 {path}`, and make a new key if others may have read it (`trueup keys rotate`)",
            )
        return _decoded(os.read(handle, MOST_BYTES), f"{what} {path}")
    finally:
        os.close(handle)


def _decoded(content: bytes, what: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise MasterKeyError(f"{what} holds no key: it is not text", hint="a key is text, as `trueup keys new` prints it") from None


@contextmanager
def alone(path: Path) -> Iterator[Path]:
    """The file behind links, while no other process changes it; it is made, empty, where it is missing."""
    real = Path(os.path.realpath(path))
    try:
        real.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = _locked(real)
    except OSError as error:
        raise MasterKeyError(f"the key file {path} cannot be written: {error.strerror}", hint="check the rights of its folder") from None
    try:
        yield real
    finally:
        os.close(handle)


def _locked(path: Path) -> int:
    """An open, locked file; one that was replaced while this waited for the lock is opened again."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        if os.name != "posix":
            return handle
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), path.stat()):
                return handle
        os.close(handle)


def replace_file(path: Path, text: str) -> None:
    """Put the text there, whole or not at all, for the same owner, and durably before this returns. The file is held by `alone`."""
    for left in path.parent.glob(f".{path.name}.*.tmp"):  # by a process that was killed
        left.unlink(missing_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o600)
        with os.fdopen(handle, "wb") as file:
            if os.name == "posix":
                owner = path.stat()
                if (owner.st_uid, owner.st_gid) != (os.geteuid(), os.getegid()):
                    os.fchown(handle, owner.st_uid, owner.st_gid)
            file.write(text.encode())
            file.flush()
            os.fsync(handle)
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise MasterKeyError(
            f"the key file {path} cannot be written: {error.strerror}; it is as it was", hint="check its rights and the disk"
        ) from None


def sync_folder(folder: Path) -> None:
    """Make a rename in a folder durable, where the system can do that."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


# ---------------------------------------------------------------- the keyring


def _keyring_get(name: str) -> str | None:
    import_error = "the Python package keyring is not installed"
    try:
        import keyring
        from keyring.errors import KeyringError
    except ImportError:
        raise MasterKeyError(f"the keyring cannot be asked: {import_error}", hint="install trueup[keyring]") from None
    try:
        return keyring.get_password(KEYRING_SERVICE, name)
    except (KeyringError, RuntimeError, OSError) as error:
        raise _keyring_refused(error) from None


def _keyring_set(name: str, text: str) -> None:
    import keyring
    from keyring.errors import KeyringError

    try:
        keyring.set_password(KEYRING_SERVICE, name, text)
    except (KeyringError, RuntimeError, OSError) as error:
        raise _keyring_refused(error) from None


def _keyring_refused(error: Exception) -> MasterKeyError:
    kind = type(error).__name__
    return MasterKeyError(f"the keyring of this machine cannot be used ({kind})", hint="unlock it, or keep the master key in a file")
