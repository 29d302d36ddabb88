"""Single files in a folder that lies elsewhere: which version is there, a copy of it, and another one in its place.

A version is a text that is another one when the content is. S3 refuses by itself what would replace another version than the expected one
(`If-Match`, `If-None-Match`: https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html). An SFTP server cannot, so the
content there is read again just before the new one takes its name, in one step (posix-rename@openssh.com).
"""

from __future__ import annotations

import posixpath
import secrets
import time
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import xxhash

from trueup.errors import WriteRefusedError
from trueup.remote.s3 import Bucket, download, is_there
from trueup.remote.sftp import BLOCK_BYTES, SftpFolder, upload

if TYPE_CHECKING:
    from pathlib import Path

    from obstore.store import S3Store
    from paramiko import SFTPAttributes, SFTPClient

SFTP, S3 = "sftp://", "s3://"
MOST_BYTES = 5 << 30
"""What S3 takes in one request, which is what it can refuse."""
TEMPORARY = ".trueup-tmp"
LEFT_S = 3_600.0
"""What has been half-written for so long was left by a process that was killed."""
_SURE_S = 3.0
"""SFTP tells times in whole seconds: a copy that is younger than its file's second by less may have missed a later write in it."""


class MovedOnError(Exception):
    """There is another version than the expected one. Nothing was replaced."""


@dataclass(frozen=True, slots=True)
class Known:
    """A content as it was read: its version, and xxh3-128 of all of it in hexadecimal."""

    version: str
    digest: str


class Files(ABC):
    """The files of one folder. Every method raises SystemUnreachableError, AccessRefusedError. Used by one thread at a time."""

    conditional: bool
    """The server itself refuses to replace another version than the expected one."""

    @abstractmethod
    def shown(self, name: str) -> str:
        """The address of a file, or of the folder for an empty name, without a password."""

    @abstractmethod
    def names(self) -> list[str]:
        """The names in the folder."""

    @abstractmethod
    def is_there(self, name: str) -> bool:
        """Whether there is such a file."""

    @abstractmethod
    def fetch(self, name: str, to: Path, known: str | None) -> str | None:
        """Copy the file and give its version; nothing is copied where it is `known`. None: there is no such file."""

    @abstractmethod
    def replace(self, name: str, source: Path, known: Known | None) -> str:
        """Put a file in the place of the one that was `known` (None: where there is none); its version.

        Raises MovedOnError, WriteRefusedError; the file there is then as it was.
        """

    @abstractmethod
    def close(self) -> None:
        """Give back what was opened."""


def files_at(address: str, endings: tuple[str, ...]) -> tuple[Files, str]:
    """The folder of an address, and the name of the file that it leads to; empty where it leads to a folder. Raises TrueupError."""
    place = Bucket(address) if address.startswith(S3) else SftpFolder(address)
    folder, _, name = place.folder.rstrip("/").rpartition("/")
    if posixpath.splitext(name)[1].lower() in endings:
        place.folder = folder or ("/" if place.folder.startswith("/") else "")
    else:
        name = ""
    return (S3Files(place) if isinstance(place, Bucket) else SftpFiles(place)), name


class S3Files(Files):
    """Objects in a folder of a bucket. Their version is the ETag."""

    conditional = True

    def __init__(self, bucket: Bucket) -> None:
        """Nothing is asked yet."""
        self._bucket = bucket

    def shown(self, name: str) -> str:
        """See Files."""
        return f"s3://{self._bucket.name}/{self._bucket.path(name)}".rstrip("/")

    def names(self) -> list[str]:
        """See Files."""
        from obstore import list_with_delimiter

        found = self._bucket.done(lambda store: list_with_delimiter(store, self._bucket.folder or None))
        return [item["path"].rpartition("/")[2] for item in found["objects"] if item["path"] != self._bucket.folder]

    def is_there(self, name: str) -> bool:
        """See Files."""
        return self._bucket.done(lambda store: is_there(store, self._bucket.path(name)))

    def fetch(self, name: str, to: Path, known: str | None) -> str | None:
        """See Files."""
        from obstore.exceptions import NotFoundError, NotModifiedError

        def copy(store: S3Store) -> str | None:
            try:
                return str(download(store, self._bucket.path(name), to, known)["e_tag"])
            except NotModifiedError:
                return known
            except (NotFoundError, FileNotFoundError) as error:
                if "NoSuchBucket" in str(error):
                    raise
                return None

        return self._bucket.done(copy)

    def replace(self, name: str, source: Path, known: Known | None) -> str:
        """See Files. The version is looked at before as well: not all that speaks like S3 heeds the condition."""
        from obstore import head, put
        from obstore.exceptions import AlreadyExistsError, NotFoundError, NotSupportedError, PreconditionError

        if source.stat().st_size > MOST_BYTES:
            raise WriteRefusedError(f"{self.shown(name)} would pass 5 GiB", hint="move its records to a database")
        path = self._bucket.path(name)

        def change(store: S3Store) -> str:
            try:
                if known is None:
                    return str(put(store, path, source, mode="create", use_multipart=False)["e_tag"])
                if head(store, path)["e_tag"] != known.version:
                    raise MovedOnError
                return str(put(store, path, source, mode={"e_tag": known.version}, use_multipart=False)["e_tag"])
            except (AlreadyExistsError, PreconditionError, NotFoundError, FileNotFoundError):
                raise MovedOnError from None
            except NotSupportedError:
                raise WriteRefusedError(
                    f"{self.shown(name)}: this server cannot refuse a write that comes too late", hint="set `direction: read`"
                ) from None

        return self._bucket.done(change)

    def close(self) -> None:
        """See Files."""
        self._bucket.close()


class SftpFiles(Files):
    """Files in a folder of a server. Their version is their size and time."""

    conditional = False

    def __init__(self, server: SftpFolder) -> None:
        """Nothing is asked yet."""
        self._server = server
        self._seen: dict[str, tuple[str, float, bool]] = {}
        """By name: a version, when it was first seen, and whether it was copied long enough after that to be trusted."""

    def shown(self, name: str) -> str:
        """See Files."""
        return posixpath.join(self._server.shown, name) if name else self._server.shown

    def names(self) -> list[str]:
        """See Files."""
        return self._server.done(lambda sftp: sftp.listdir(self._server.folder or "."))

    def is_there(self, name: str) -> bool:
        """See Files."""
        return self._server.done(lambda sftp: _facts(sftp, self._server.path(name)) is not None)

    def fetch(self, name: str, to: Path, known: str | None) -> str | None:
        """See Files."""
        path = self._server.path(name)

        def copy(sftp: SFTPClient) -> str | None:
            facts = _facts(sftp, path)
            if facts is None:
                return None
            version, now = _version(facts), time.monotonic()
            seen, since, sure = self._seen.get(name, ("", now, False))
            if version == known == seen and sure:
                return known
            since = since if version == seen else now
            with suppress(FileNotFoundError):
                sftp.get(path, str(to))
                self._seen[name] = (version, since, now - since > _SURE_S)
                return version
            return None

        return self._server.done(copy)

    def replace(self, name: str, source: Path, known: Known | None) -> str:
        """See Files. The new file gets the rights of the old one."""
        final = self._server.path(name)
        half = self._server.path(f".{name}.{secrets.token_hex(4)}{TEMPORARY}")

        def change(sftp: SFTPClient) -> str:
            try:
                return self._change(sftp, source, (half, final), known)
            except PermissionError:
                raise WriteRefusedError(
                    f"{self.shown(name)} or its folder is read-only", hint="let its user write there, or set `direction: read`"
                ) from None
            finally:
                with suppress(OSError):
                    sftp.remove(half)

        version = self._server.done(change)
        self._seen.pop(name, None)
        return version

    def _change(self, sftp: SFTPClient, source: Path, ways: tuple[str, str], known: Known | None) -> str:
        half, final = ways
        facts = _facts(sftp, final)
        if (facts is None) != (known is None):
            raise MovedOnError
        if facts is not None and not (facts.st_mode or 0o200) & 0o222:
            raise PermissionError
        self._remove_leftovers(sftp, final)
        upload(sftp, source, half)
        if facts is not None and facts.st_mode is not None:
            sftp.chmod(half, facts.st_mode & 0o7777)
        if known is None:
            try:
                sftp.rename(half, final)  # refused by the server where the name is taken
            except OSError:
                if _facts(sftp, final) is None:
                    raise
                raise MovedOnError from None
        else:
            if _digest(sftp, final) != known.digest:
                raise MovedOnError
            try:
                sftp.posix_rename(half, final)
            except PermissionError:
                raise
            except OSError:
                raise WriteRefusedError(
                    f"{self._server.shown}: this server cannot replace a file in one step", hint="set `direction: read`"
                ) from None
        put = _facts(sftp, final)
        return "" if put is None else _version(put)

    def _remove_leftovers(self, sftp: SFTPClient, final: str) -> None:
        folder, _, name = final.rpartition("/")
        for facts in sftp.listdir_attr(folder or "."):
            is_ours = facts.filename.startswith(f".{name}.") and facts.filename.endswith(TEMPORARY)
            if is_ours and time.time() - (facts.st_mtime or time.time()) > LEFT_S:
                with suppress(OSError):
                    sftp.remove(posixpath.join(folder, facts.filename))

    def close(self) -> None:
        """See Files."""
        self._server.close()


def _facts(sftp: SFTPClient, path: str) -> SFTPAttributes | None:
    try:
        return sftp.stat(path)
    except FileNotFoundError:
        return None


def _version(facts: SFTPAttributes) -> str:
    return f"{facts.st_size}:{facts.st_mtime}"


def _digest(sftp: SFTPClient, path: str) -> str | None:
    """xxh3-128 of the whole content; None where it is gone."""
    hasher = xxhash.xxh3_128()
    try:
        with sftp.open(path, "rb") as file:
            file.prefetch()
            while block := file.read(BLOCK_BYTES):
                hasher.update(block)
    except FileNotFoundError:
        return None
    return hasher.hexdigest()
